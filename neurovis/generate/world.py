"""``world``: latent diffusion of the image world, with small shipped weights.

Comes in: embeddings of ``world:clip``, optionally rough pictures. Goes out: pictures of 64 pixels. A U-Net of diffusers
takes noise out of latents of ``world:vae``, told of the embedding by cross-attention and beside its clock, and of a
rough picture's latents beside the noisy ones. ``experiments/world/diffusion.py`` trained it on drawings of
concepts that no study tests on; the card beside the weights says how well it paints.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pydantic

from neurovis.device import choose_device
from neurovis.errors import NeurovisError
from neurovis.generate.base import Cue, Generator, Painter
from neurovis.images.weights import load_errors
from neurovis.images.world import read_vae, shipped

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "diffusion_pytorch_model.safetensors"
TOKENS = 8
"""Parts of an embedding that cross-attention chooses from."""
BLOCK = 16
"""Rows that pass the network together, always as many: sums in another order would be other pictures."""
QUICK = 5
"""Steps of a first picture, which takes a quarter of the time."""
FOLD = 2
"""Neighbouring latents along each side that make one place of the network."""


class World(Generator, name="world"):
    """Latent diffusion with classifier-free guidance, weights shipped.

    Parameters
    ----------
    steps : int
        Of the sampler (DDIM, arXiv 2010.02502).
    guidance : float
        How far to go beyond what the network says without embedding and rough picture (arXiv 2207.12598); 1 for not.
    rescale : float
        How far contrast, which guidance raises, is brought back (arXiv 2305.08891, which has 0.7 too).
    """

    takes: ClassVar[str] = "world:clip"

    steps: pydantic.PositiveInt = 20
    guidance: float = pydantic.Field(3.0, ge=0)
    rescale: float = pydantic.Field(0.7, ge=0, le=1)

    def build(self) -> Painter:
        """Read the shipped networks."""
        return self._painter(BLOCK)

    def build_for_one(self) -> Painter:
        """See `Generator.build_for_one`."""
        return self._painter(1)

    def quick(self) -> World | None:
        """See `Generator.quick`."""
        return self.model_copy(update={"steps": QUICK}) if self.steps > QUICK else None

    def _painter(self, block: int) -> Painter:
        device = choose_device(self.device)
        unet, schedule = read_unet(device)
        vae = read_vae(self.device)
        digest = hashlib.sha256((shipped("diffusion", WEIGHTS) / WEIGHTS).read_bytes()).hexdigest()

        def paint(cue: Cue, seeds: np.ndarray) -> np.ndarray:
            latents = sample(
                unet, schedule, cue.vector, low_latents(vae, cue.low, len(cue)), seeds, self.steps,
                self.guidance, self.rescale, block=block,
            )  # fmt: skip
            return vae.pictures(latents)

        details = {name: getattr(self, name) for name in ("steps", "guidance", "rescale")}
        details["licence"] = "BSD-3-Clause"
        width = unet.config.projection_class_embeddings_input_dim
        return Painter(paint, width, vae.size, digest, details)


@lru_cache(maxsize=2)
def read_unet(device: Any) -> tuple[Any, Any]:
    """The shipped U-Net and its noise schedule.

    Raises
    ------
    NeurovisError
        If they are absent or damaged.
    """
    import torch
    from diffusers import DDIMScheduler, UNet2DConditionModel

    folder = shipped("diffusion", WEIGHTS)
    try:
        unet = UNet2DConditionModel.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,  # which would ask for accelerate
        )
        schedule = DDIMScheduler.from_pretrained(folder, local_files_only=True)
    except load_errors() as error:
        raise NeurovisError(
            f"world: expected whole weights, found damaged ones ({error}); install neurovis again."
        ) from error
    return unet.eval().requires_grad_(False).to(device), schedule


def low_latents(vae: Any, low: np.ndarray | None, n: int) -> np.ndarray:
    """Latents (row, dim) of rough pictures (row, y, x, 3); zeros, which say nothing, where there are none."""
    from PIL import Image

    if low is None:
        return np.zeros((n, int(np.prod(vae.shape))), np.float32)
    return vae.latents(np.stack([vae.prepare(Image.fromarray(picture)) for picture in low]))


def sample(
    unet: Any,
    schedule: Any,
    vector: np.ndarray,
    low: np.ndarray,
    seeds: np.ndarray,
    steps: int,
    guidance: float,
    rescale: float,
    block: int = BLOCK,
) -> np.ndarray:
    """Latents that the diffusion ends with.

    Parameters
    ----------
    unet, schedule
        Of `read_unet`.
    vector : array (row, dim)
        Embeddings; their length does not matter.
    low : array (row, latent)
        Latents of rough pictures, or zeros.
    seeds : array of int (row,)
    steps : int
    guidance, rescale : float
    block : int
        Rows that pass the network together.

    Returns
    -------
    array (row, latent) float32
    """
    import torch

    device = next(unet.parameters()).device
    parts = []
    for start in range(0, len(vector), block):
        rows = np.minimum(np.arange(start, start + block), len(vector) - 1)
        told = condition(torch.from_numpy(np.float32(vector[rows])).to(device))
        rough = fold(torch.from_numpy(np.float32(low[rows])).to(device))
        noise = [np.random.default_rng(int(seed)) for seed in seeds[rows]]
        noise = np.stack([rng.standard_normal(rough.shape[1:], np.float32) for rng in noise])
        x = torch.from_numpy(noise).to(device)
        schedule.set_timesteps(steps, device=device)
        with torch.inference_mode():
            for t in schedule.timesteps:
                made = _guided(unet, x, rough, t, told, guidance, rescale)
                x = schedule.step(made, t, x).prev_sample
        parts.append(unfold(x).cpu().numpy()[: len(vector) - start])
    return np.concatenate(parts)


def _guided(
    unet: Any, x: Tensor, rough: Tensor, t: Any, told: Tensor, guidance: float, rescale: float
) -> Tensor:
    import torch

    both = torch.cat([x, rough], 1)
    if guidance == 1:
        return predict(unet, both, t, told)
    alone = torch.cat([x, torch.zeros_like(rough)], 1)
    twice = predict(unet, torch.cat([alone, both]), t, torch.cat([torch.zeros_like(told), told]))
    without, with_it = twice.chunk(2)
    made = without + guidance * (with_it - without)
    deviation = [a.std((1, 2, 3), keepdim=True) for a in (with_it, made)]
    return made * (1 - rescale + rescale * deviation[0] / deviation[1])


def predict(unet: Any, x: Tensor, t: Any, told: Tensor) -> Tensor:
    """What the network says of noisy latents, told of embeddings (row, dim)."""
    tokens = told.reshape(len(told), TOKENS, -1)
    return unet(x, t, encoder_hidden_states=tokens, class_labels=told).sample


def condition(vector: Tensor) -> Tensor:
    """Embeddings as the network is told of them: entries of about unit size."""
    from torch.nn import functional

    return functional.normalize(vector, dim=-1) * vector.shape[-1] ** 0.5


def fold(latents: Tensor) -> Tensor:
    """Latents (row, dim) as maps (row, channel, y, x) of the network."""
    from torch.nn import functional

    side = round((latents.shape[1] // CHANNELS) ** 0.5)
    return functional.pixel_unshuffle(latents.reshape(len(latents), CHANNELS, side, side), FOLD)


def unfold(maps: Tensor) -> Tensor:
    """The inverse of `fold`."""
    from torch.nn import functional

    return functional.pixel_shuffle(maps, FOLD).flatten(1)


CHANNELS = 4
"""Of the latents of ``world:vae``."""
