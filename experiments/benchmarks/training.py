"""What a training step of each tower costs, at published shapes.

A step is forward, loss, backward and AdamW. Floating-point work is counted by torch, and set against the
rate of a float32 matrix product measured in the same run: once as done here, once as a plain PyTorch
transcription of the same tower (below, with the same weights) and torch's default AdamW do it. A tower in
which linear steps are merged does less than its transcription for the same numbers; tests compare the
two. Times are the best of some rounds, ratios and shares the median over rounds.

    python -m experiments.benchmarks.training --towers nice atm-S --threads 1
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.layers import size
from neurovis.brain.table import PUBLISHED
from neurovis.config import resolve
from neurovis.losses.base import Loss
from neurovis.train import parameter_groups

TOWERS: dict[str, tuple[dict, tuple[str, ...]]] = {
    "conv": ({"name": "conv"}, ("meg", "eeg")),
    "atm-S": ({"name": "atm"}, ("meg", "eeg")),
    "atm-E": ({"name": "atm", "variant": "E"}, ("eeg",)),
    "nice": ({"name": "nice"}, ("meg", "eeg")),
    "ubp": ({"name": "ubp"}, ("meg", "eeg")),
    "mlp": ({"name": "mlp"}, ("fmri",)),
    "voxel_tokens": ({"name": "voxel_tokens"}, ("fmri",)),
}
"""Towers, and the modalities that they are meant for."""


# ---- transcriptions: each paper's modules as one would write them down, around a tower's own weights


class Plain(nn.Module):
    """A tower from modules that take (row, channel, time) and say features, and its heads."""

    def __init__(self, body: nn.Module, heads: nn.Module):
        super().__init__()
        self.body, self.heads = body, heads

    def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
        """See `neurovis.brain.base`; every channel is taken to be there."""
        return self.heads(self.body(signal, subject))


def shallow(made: Any, pool: int, stride: int) -> nn.Module:
    """The temporal-spatial convolution as its paper lists it."""
    return nn.Sequential(
        made.temporal, nn.AvgPool2d((1, pool), (1, stride)), made.first_norm, nn.ELU(),
        made.spatial, made.second_norm, nn.ELU(), made.drop, made.mix,
    )  # fmt: skip


class PlainNice(nn.Module):
    """NICE up to its head."""

    def __init__(self, tower: Any, config: Any):
        super().__init__()
        self.convolution = shallow(tower.convolution, config.pool, config.stride)

    def forward(self, signal: Any, subject: Any) -> Any:
        """Features (row, feature)."""
        return self.convolution(signal[:, None])[:, :, 0].transpose(1, 2).flatten(1)


class PlainAtm(nn.Module):
    """ATM-S up to its head: queries, keys and values one by one, attention spelled out."""

    def __init__(self, tower: Any, config: Any):
        super().__init__()
        self.embedding, self.drop, self.norm = tower.embedding, tower.drop, tower.norm
        self.layers = tower.layers
        self.n_heads = config.n_heads
        self.projections = nn.ModuleList()
        for layer in tower.layers:
            for weight, bias in zip(layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3)):
                linear = nn.Linear(*reversed(weight.shape))
                linear.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
                self.projections.append(linear)
        self.convolution = shallow(tower.convolution, config.pool, config.stride)

    def forward(self, signal: Any, subject: Any) -> Any:
        """Features (row, feature)."""
        x = self.drop(self.embedding(signal))
        for number, layer in enumerate(self.layers):
            three = self.projections[3 * number : 3 * number + 3]
            q, k, v = (p(x).unflatten(2, (self.n_heads, -1)) for p in three)
            score = torch.einsum("blhe,bshe->bhls", q, k) / math.sqrt(q.shape[3])
            weight = self.drop(score.softmax(-1))
            y = torch.einsum("bhls,bshe->blhe", weight, v).flatten(2)
            x = layer.norms[0](x + self.drop(layer.out(y)))
            y = self.drop(functional.gelu(layer.first(x)))
            x = layer.norms[1](x + self.drop(layer.second(y)))
        x = self.convolution(self.norm(x)[:, None])
        return x[:, :, 0].transpose(1, 2).flatten(1)


class PlainConv(nn.Module):
    """The convolutional tower up to its heads: a weight per row's subject, aggregation last."""

    def __init__(self, tower: Any, config: Any):
        super().__init__()
        for name in ("attention", "mix", "subject", "blocks", "features", "over_time", "drop"):
            setattr(self, name, getattr(tower, name))

    def forward(self, signal: Any, subject: Any) -> Any:
        """Features (row, feature)."""
        score = self.attention.weight @ self.attention.basis.T
        if self.training:
            points = self.attention.points
            near = (points - points[torch.randint(len(points), (1,))]).norm(dim=1) < 0.1
            score = score.masked_fill(near, -torch.inf)
        x = torch.einsum("vc,bct->bvt", score.softmax(1), signal)
        x = self.mix(x)
        x = torch.einsum("boi,bit->bot", self.subject.weight[subject], x)
        for block in self.blocks:
            y = block.first(x)
            x = functional.gelu(block.norms[0](y + x if block.skip else y))
            x = functional.gelu(block.norms[1](block.second(x) + x))
            x = functional.glu(block.third(x), dim=1)
        return self.drop(self.over_time(self.features(x))[..., 0])


class PlainHeads(nn.Module):
    """Every head of the convolutional tower by itself."""

    def __init__(self, tower: Any):
        super().__init__()
        self.names, self.each = tower.head_names, tower.heads

    def forward(self, x: Any) -> dict[str, Any]:
        """Vectors by target."""
        return {name: head(x) for name, head in zip(self.names, self.each)}


class Flat(nn.Module):
    """Epochs as vectors."""

    def __init__(self, tower: Any, config: Any):
        super().__init__()

    def forward(self, signal: Any, subject: Any) -> Any:
        """Features (row, feature)."""
        return signal.flatten(1)


class PlainMlp(nn.Module):
    """The residual perceptron of one subject up to its heads."""

    def __init__(self, tower: Any, config: Any):
        super().__init__()
        self.first = nn.Sequential(tower.subject[0], *tower.start_of)
        self.blocks = tower.blocks

    def forward(self, signal: Any, subject: Any) -> Any:
        """Features (row, feature)."""
        x = self.first(signal.flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return x


BODIES: dict[str, Any] = {
    "conv": PlainConv, "atm-S": PlainAtm, "nice": PlainNice, "ubp": Flat, "mlp": PlainMlp,
}  # fmt: skip


def transcription(name: str, tower: Any, config: Any) -> Plain | None:
    """A plain tower with copies of a tower's weights; None where the tower is written plainly."""
    if name not in BODIES:
        return None
    tower = copy.deepcopy(tower)
    heads = PlainHeads(tower) if name == "conv" else tower.heads
    return Plain(BODIES[name](tower, config), heads)


# ---- measuring


def matrix_rate(n: int = 2048, repeats: int = 8) -> float:
    """Operations per second of a float32 matrix product, the best of some."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    return 2 * n**3 / min(timed(lambda: a @ b) for _ in range(repeats))


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def make_step(tower: Any, shape: Shape, batch: int, fused: bool) -> Callable[[], Any]:
    """One training step on one random batch."""
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(batch, shape.n_chans, shape.n_times, generator=generator)
    subject = torch.arange(batch) % len(shape.subjects)
    present = torch.ones(batch, shape.n_chans, dtype=torch.bool)
    truth = {k: torch.randn(batch, dim, generator=generator) for k, dim in shape.outputs.items()}
    loss_of = resolve(Loss, "clip_mse").build()
    groups = parameter_groups(tower, loss_of, 0.05)
    optimiser = torch.optim.AdamW(groups, lr=3e-4, fused=fused)

    def step() -> None:
        loss = loss_of(tower(signal, subject, present), truth, torch.arange(batch))["loss"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def work(step: Callable[[], Any]) -> int:
    """Floating-point operations of one step's matrix products and convolutions."""

    def added(_: Any, left: Any, right: Any, **__: Any) -> int:
        return 2 * left[0] * left[1] * right[1]

    # torch counts products by name, and does not know the one that adds into its first argument
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: added})
    with counter:
        step()
    return counter.get_total_flops()


def main() -> None:
    """Print a row per tower and modality."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--towers", nargs="+", default=list(TOWERS), choices=TOWERS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of the processor (default: all)")
    parser.add_argument("--shrink", type=int, default=1, help="divide channels by this, for tests")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"batch {options.batch}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"{'tower':<13}{'shape':<17}{'weights':>12}{'ms':>8}{'plain':>8}{'ratio':>7}{'GFLOP':>8}"
        f"{'plain':>8}{'share':>8}{'of plain':>10}"
    )
    best = 0.0
    for name in options.towers:
        value, kinds = TOWERS[name]
        for kind in kinds:
            shape = PUBLISHED[kind](options.shrink)
            config = resolve(BrainEncoder, value)
            torch.manual_seed(0)
            tower = config.build(shape)
            plain = transcription(name, tower, config)
            steps = [
                make_step(one, shape, options.batch, fused=one is tower)
                for one in (tower, plain)
                if one is not None
            ]
            works = [work(step) for step in steps]
            # in turn, and compared within a round: what disturbs the machine meets all of them
            rounds = [
                [matrix_rate(repeats=2), *(timed(step) for step in steps)]
                for _ in range(options.repeats)
            ]
            rates, seconds = np.array(rounds)[:, 0], np.array(rounds)[:, 1:].T
            best = max(best, rates.max())
            shares = [100 * np.median(one / seconds[0] / rates) for one in works]
            row = f"{name:<13}{f'{kind} {shape.n_chans} x {shape.n_times}':<17}{size(tower):>12,}"
            row += f"{1000 * seconds[0].min():>8.0f}"
            if plain is None:
                row += f"{'-':>8}{'-':>7}{works[0] / 1e9:>8.1f}{'-':>8}{shares[0]:>7.0f}%{'-':>10}"
            else:
                ratio = np.median(seconds[1] / seconds[0])
                row += f"{1000 * seconds[1].min():>8.0f}{ratio:>7.2f}{works[0] / 1e9:>8.1f}"
                row += f"{works[1] / 1e9:>8.1f}{shares[0]:>7.0f}%{shares[1]:>9.0f}%"
            print(row, flush=True)
    print(
        f"share: of {best / 1e9:.0f} GFLOP/s, a float32 matrix product's rate; of plain: had the "
        "transcription's work been done in that time"
    )


if __name__ == "__main__":
    main()
