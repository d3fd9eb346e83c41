"""A training loop that goes on where it was stopped, shared by the networks of the image world.

Comes in: modules by name, an optimiser, and what one step does. Goes out: trained modules. A checkpoint holds
everything that a step depends on; random numbers are those of the step's number, so that a run that was stopped
ends like one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.progress import progress
from neurovis.store import atomic

EVERY = 200
"""Steps between checkpoints."""


def one_cycle(steps: int, warmup: float = 0.08, last: float = 0.02) -> Callable[[int], float]:
    """Share of the rate at a step: a linear rise, then a cosine down to `last`."""

    def rate(step: int) -> float:
        down = (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
        return min(1.0, (step + 1) / (warmup * steps)) * (last + (1 - last) * down)

    return rate


def optimiser(modules: dict[str, Any], lr: float, decay: float) -> Any:
    """AdamW; vectors and scalars do not decay."""
    import torch

    weights = [p for module in modules.values() for p in module.parameters()]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)


def train(
    folder: Path,
    modules: dict[str, Any],
    steps: int,
    lr: float,
    decay: float,
    loss: Callable[[int, np.random.Generator], Any],
    after: Callable[[int], None] | None = None,
    seed: int = 0,
) -> None:
    """Train modules in place.

    Parameters
    ----------
    folder : Path
        For checkpoint and log.
    modules : dict of torch.nn.Module
    steps : int
    lr, decay : float
        Of AdamW; the rate follows `one_cycle`.
    loss : callable
        (step, random numbers) -> loss.
    after : callable, optional
        Done after each step, such as a moving average.
    seed : int
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    optimise = optimiser(modules, lr, decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimise, one_cycle(steps))
    parts = {**modules, "optimiser": optimise, "schedule": schedule}
    checkpoint, start = folder / "checkpoint.pt", 0
    if checkpoint.is_file():
        stored = torch.load(checkpoint, weights_only=True)
        start = stored.pop("step")
        for name, state in stored.items():
            parts[name].load_state_dict(state)
    began = time.monotonic()
    weights = [p for group in optimise.param_groups for p in group["params"] if p.requires_grad]
    for step in progress(range(start, steps), folder.name):
        torch.manual_seed(seed + step)
        found = loss(step, np.random.default_rng([seed, step]))
        optimise.zero_grad()
        found.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimise.step()
        schedule.step()
        if after:
            after(step)
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            state = {name: part.state_dict() for name, part in parts.items()}
            with atomic(checkpoint) as partial:
                torch.save({**state, "step": step + 1}, partial)
            line = {
                "step": step + 1,
                "loss": float(found.detach()),
                "seconds": time.monotonic() - began,
            }
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")


def fast() -> Any:
    """A context in which matrix products are bfloat16 where the CPU computes in it; weights stay float32."""
    import torch

    found = getattr(torch.cpu, "get_capabilities", dict)()
    native = any(found.get(unit) for unit in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.autocast("cpu", torch.bfloat16, enabled=native)


class Average:
    """A moving average of a module's weights, as a module of its own.

    Parameters
    ----------
    module : torch.nn.Module
    decay : float
    """

    def __init__(self, module: Any, decay: float):
        import copy

        self.module, self.decay = module, decay
        self.mean = copy.deepcopy(module).eval().requires_grad_(False)

    def update(self, step: int) -> None:
        """Take the weights in, more of them at the start."""
        import torch

        keep = min(self.decay, (step + 1) / (step + 20))
        with torch.no_grad():
            for mine, theirs in zip(
                self.mean.state_dict().values(), self.module.state_dict().values()
            ):
                if mine.is_floating_point():
                    mine.lerp_(theirs, 1 - keep)
                else:
                    mine.copy_(theirs)


def half(module: Any) -> dict[str, Any]:
    """Weights in half precision, for shipping."""
    return {
        name: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for name, value in module.state_dict().items()
    }
