"""A small diffusion model of embeddings: a residual perceptron, with the noise schedule of `diffusers`.

Comes in: embeddings of training images and how a decoder answers to them. Goes out: weights, and
embeddings drawn for what a decoder says of new rows. What is drawn for a row depends on its own seed and
vector; a killed training goes on from its last checkpoint as if undisturbed.

References: Ho et al. 2020, arXiv 2006.11239; Song et al. 2021, arXiv 2010.02502 (few steps); Ho &
Salimans 2022, arXiv 2207.12598 (guidance); Ramesh et al. 2022, arXiv 2204.06125 (the embedding itself
is predicted, not the noise).
"""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurovis.store import atomic

if TYPE_CHECKING:
    from neurovis.generate.prior import Diffusion

N_NOISE_STEPS = 1000
CHECKPOINT_SECONDS = 10.0
PREFIX = "denoiser/"


def network(config: Diffusion, dim: int) -> Any:
    """The perceptron: noisy embedding, what is said, whether anything is said, time -> embedding."""
    import torch
    from diffusers.models.embeddings import TimestepEmbedding, Timesteps
    from torch import nn

    n = config.n_hidden

    class Block(nn.Module):
        """Two layers beside a shortcut, moved by the time."""

        def __init__(self):
            super().__init__()
            self.norm, self.first, self.second = nn.LayerNorm(n), nn.Linear(n, n), nn.Linear(n, n)
            self.time = nn.Linear(n, n)

        def forward(self, x: Any, time: Any) -> Any:
            inner = self.first(self.norm(x)) + self.time(time)
            return x + self.second(nn.functional.silu(inner))

    class Network(nn.Module):
        """See `network`."""

        def __init__(self):
            super().__init__()
            self.steps = Timesteps(64, flip_sin_to_cos=True, downscale_freq_shift=0)
            self.time = TimestepEmbedding(64, n)
            self.start = nn.Linear(2 * dim + 1, n)
            self.blocks = nn.ModuleList(Block() for _ in range(config.n_blocks))
            self.norm, self.end = nn.LayerNorm(n), nn.Linear(n, dim)
            nn.init.zeros_(self.end.weight)
            nn.init.zeros_(self.end.bias)

        def forward(self, noisy: Any, said: Any, told: Any, step: Any) -> Any:
            said = said * told
            time = self.time(self.steps(step))
            x = self.start(torch.cat([noisy, said, told], 1))
            for block in self.blocks:
                x = block(x, time)
            return said + self.end(nn.functional.silu(self.norm(x)))

    return Network()


def schedule() -> Any:
    """Noise that grows by the square of a cosine; the embedding itself is predicted."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=N_NOISE_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )


def train(
    config: Diffusion,
    rows: np.ndarray,
    answers: dict[str, np.ndarray],
    seed: int = 0,
    checkpoint: Path | None = None,
) -> dict[str, np.ndarray]:
    """Train the perceptron.

    Parameters
    ----------
    config : Diffusion
    rows : array (image, dim)
        Embeddings of training images, centred, of unit variance on average over dims.
    answers : dict of array
        ``response`` (dim,) and ``errors`` (row, dim) of `neurovis.generate.prior.channel`, and
        ``scale``, what `rows` were divided by.
    seed : int
    checkpoint : Path, optional

    Returns
    -------
    dict of array
        Weights, their names beginning with ``denoiser/``.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network(config, rows.shape[1]).to(config.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.01)
    noise_of = schedule()
    known = torch.from_numpy(np.asarray(rows, np.float32))
    response = torch.from_numpy(np.asarray(answers["response"], np.float32))
    errors = torch.from_numpy(np.asarray(answers["errors"] / answers["scale"], np.float32))
    done = _load(checkpoint, model, optimiser, seed)
    saved = time.monotonic()
    for step in range(done, config.n_train_steps):
        # what is drawn follows from seed and step: a resumed training is the same training
        draw = torch.Generator().manual_seed(1_000_003 * seed + step)
        n = min(config.batch_size, len(known))
        true = known[torch.randint(len(known), (n,), generator=draw)]
        wrong = errors[torch.randint(len(errors), (n,), generator=draw)]
        told = (torch.rand(n, 1, generator=draw) >= config.drop).float()
        at = torch.randint(N_NOISE_STEPS, (n,), generator=draw)
        noise = torch.randn(true.shape, generator=draw)
        noisy = noise_of.add_noise(true, noise, at)
        parts = (t.to(config.device) for t in (noisy, true * response + wrong, told, at))
        loss = torch.nn.functional.mse_loss(model(*parts), true.to(config.device))
        # a plain float: a checkpoint is read back without running what is in it
        fall = 0.5 * (1 + math.cos(math.pi * step / config.n_train_steps))
        optimiser.param_groups[0]["lr"] = config.lr * fall
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            _save(checkpoint, model, optimiser, seed, step + 1)
            saved = time.monotonic()
    return {f"{PREFIX}{k}": v.detach().cpu().numpy() for k, v in model.state_dict().items()}


def _save(path: Path, model: Any, optimiser: Any, seed: int, step: int) -> None:
    import torch

    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    with atomic(path) as partial:
        torch.save({**state, "seed": seed, "step": step}, partial)


def _load(path: Path | None, model: Any, optimiser: Any, seed: int) -> int:
    """Steps that an interrupted training did; 0 where there is none to go on from."""
    import torch

    if path is None or not path.is_file():
        return 0
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError):
        return 0  # damaged: begun anew
    if saved["seed"] != seed:
        return 0
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    return int(saved["step"])


def sampler(
    config: Diffusion, tensors: dict[str, np.ndarray], dim: int
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function that draws embeddings.

    Parameters
    ----------
    config : Diffusion
    tensors : dict of array
        From `train`.
    dim : int
        Of the embeddings.

    Returns
    -------
    callable
        What regression says (row, dim), centred and scaled as in training, and seeds (row,) ->
        array (row, dim) float64.
    """
    import torch

    model = network(config, dim)
    state = {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}
    model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state.items()})
    model = model.to(config.device).eval()
    noise_of = schedule()
    noise_of.set_timesteps(config.num_inference_steps)

    @torch.inference_mode()
    def draw(said: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        # another stream than that of the generator, which gets the same seed
        noise = [np.random.default_rng([int(seed), 1]).standard_normal(dim) for seed in seeds]
        x, told = (
            torch.from_numpy(np.asarray(part, np.float32).reshape(-1, dim)).to(config.device)
            for part in (noise, said)
        )
        some, none = torch.ones(len(x), 1).to(x), torch.zeros(len(x), 1).to(x)
        for step in noise_of.timesteps:
            at = step.expand(len(x)).to(x.device)
            made = model(x, told, some, at)
            if config.guidance_scale != 1:
                length = made.norm(dim=1, keepdim=True)
                away = model(x, told, none, at)
                made = away + config.guidance_scale * (made - away)
                made = made * (length / made.norm(dim=1, keepdim=True).clamp(min=1e-12))
            x = noise_of.step(made, step, x).prev_sample
        return x.cpu().numpy().astype(np.float64)

    return draw
