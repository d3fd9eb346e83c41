"""Train the generator ``world``: latent diffusion conditioned on embeddings of ``world:clip``.

    python -m experiments.world.diffusion --folder DIR

Comes in: nothing; pictures are drawn, and ``world:clip`` and ``world:vae`` are the shipped ones. Goes out:
``neurovis/world/weights/diffusion/`` and its card. A U-Net of diffusers predicts v (arXiv 2202.00512) of noisy latents. It is told of
the embedding, now and then of none (classifier-free guidance, arXiv 2207.12598), and in half of the cases of latents of a
picture. Both are mostly rough, as a decoder of brain signals would make them: what a linear estimate keeps under noise
of some strength. So it learns what pictures an uncertain embedding allows. The same command goes on where it was
stopped. Some hours on one core; the card says how many steps the shipped weights had.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from experiments.world.loop import Average, fast, half, train
from experiments.world.pictures import Drawings, draw
from neurovis.generate.world import (
    CHANNELS,
    FOLD,
    TOKENS,
    WEIGHTS,
    World,
    condition,
    fold,
    predict,
    sample,
)  # fmt: skip
from neurovis.images import encoder
from neurovis.images.world import SHIPPED, read_vae
from neurovis.progress import progress
from neurovis.store import atomic

DIM, SIDE = 256, 8
WIDTHS = (128, 160)
STEPS, BATCH, LR, DECAY, SEED = 22_000, 64, 6e-4, 0.01, 0
N_USED = 190
"""Exemplars of each concept."""
NO_EMBEDDING, NO_ROUGH = 0.1, 0.5
"""Shares of pictures whose embedding, or rough latents, the network is not told of."""
EXACT = 0.35
"""Share of embeddings that are the pictures' own; the rest are rough."""
NOISE = (0.3, 10.0)
"""Least and most noise on which rough latents are estimated, relative to their deviation."""
NOISE_EMBEDDING = (0.5, 15.0)
"""The same of embeddings; under the most a twentieth of their variance is kept."""


def unet() -> Any:
    """The network, untrained."""
    from diffusers import UNet2DConditionModel

    n = len(WIDTHS)
    return UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=2 * CHANNELS * FOLD**2,
        out_channels=CHANNELS * FOLD**2,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * n,
        up_block_types=("UpBlock2D",) * n,
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=DIM // TOKENS,
        attention_head_dim=32,
        norm_num_groups=16,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=DIM,
    )


def scheduler() -> Any:
    """The noise, in a thousand steps."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )


def seen(drawings: Drawings, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (image, dim) and latents (image, latent), float16; goes on where it was stopped."""
    clip, vae = encoder("world:clip").build(), read_vae()
    folder.mkdir(parents=True, exist_ok=True)
    parts, n = [], min(N_USED, drawings.n_train)
    for c, concept in enumerate(progress(drawings.concept, "encoding")):
        file = folder / f"{concept.name.replace(' ', '_')}.npz"
        if not file.is_file():
            images = drawings.at(np.full(n, c), np.arange(n))
            embedded = clip.embed(((images - 0.5) / 0.25).astype(np.float32))
            latents = vae.latents(images * 2 - 1)
            with atomic(file) as partial, partial.open("wb") as stream:
                np.savez(stream, clip=np.float16(embedded), vae=np.float16(latents))
        with np.load(file) as stored:
            parts.append((stored["clip"], stored["vae"]))
    return tuple(np.concatenate(part) for part in zip(*parts))


def rough_maker(vectors: np.ndarray) -> tuple[Any, Any, float]:
    """What a linear estimate keeps of vectors (row, dim) under noise.

    With principal axes of variance v and noise of variance s, the estimate keeps v / (v + s) of each axis.

    Returns
    -------
    callable
        (vectors, strength of noise for each) -> estimates.
    array (dim,)
        Their mean.
    float
        Their deviation from it, root mean square over rows and dims.
    """
    import torch

    some = vectors[:: max(1, len(vectors) // 12_000)].astype(np.float32)
    mean = some.mean(0)
    variance, axes = np.linalg.eigh(np.cov(some - mean, rowvar=False))
    deviation = float(np.sqrt(variance.mean()))
    variance = torch.from_numpy(np.float32(variance.clip(1e-6)))
    axes, mean = torch.from_numpy(np.float32(axes)), torch.from_numpy(mean)

    def rough(x: Any, strength: Any) -> Any:
        along = (x - mean) @ axes
        noise = deviation * strength[:, None]
        along = along + noise * torch.randn_like(along)
        return (along * variance / (variance + noise**2)) @ axes.T + mean

    return rough, mean, deviation


def fit(vectors: np.ndarray, latents: np.ndarray, folder: Path, steps: int = STEPS) -> Any:
    """Train; give the moving average."""
    import torch

    torch.manual_seed(SEED)
    model, schedule, (rough_latents, *_) = unet(), scheduler(), rough_maker(latents)
    rough_vectors, mean, deviation = rough_maker(vectors)
    model = model.to(memory_format=torch.channels_last)
    average = Average(model, 0.998)

    def strengths(rng: np.random.Generator, least: float, most: float) -> Any:
        return torch.from_numpy(np.float32(np.exp(rng.uniform(*np.log([least, most]), BATCH))))

    def uncertain(true: Any, rng: np.random.Generator) -> Any:
        """Embeddings as rough as decoded ones; in half of the cases as long as true ones, as priors leave them."""
        rest = rough_vectors(true, strengths(rng, *NOISE_EMBEDDING)) - mean
        full = rest * (deviation * rest.shape[1] ** 0.5 / rest.norm(dim=1, keepdim=True))
        rest = torch.where(torch.rand(BATCH, 1) < 0.5, full, rest)
        return torch.where(torch.rand(BATCH, 1) < EXACT, true, rest + mean)

    def loss(step: int, rng: np.random.Generator) -> Any:
        rows = rng.integers(len(latents), size=BATCH)
        x = torch.from_numpy(latents[rows].astype(np.float32))
        told = condition(uncertain(torch.from_numpy(vectors[rows].astype(np.float32)), rng))
        told = told * (torch.rand(BATCH, 1) >= NO_EMBEDDING)
        rough = rough_latents(x, strengths(rng, *NOISE)) * (torch.rand(BATCH, 1) >= NO_ROUGH)
        x, rough = fold(x), fold(rough)
        noise, t = torch.randn_like(x), torch.randint(1000, (BATCH,))
        both = torch.cat([schedule.add_noise(x, noise, t), rough], 1)
        both = both.contiguous(memory_format=torch.channels_last)
        goal = schedule.get_velocity(x, noise, t)
        with fast():
            said = predict(model, both, t, told)
        return (said.float() - goal).square().mean()

    modules = {"model": model, "average": average.mean}
    train(folder, modules, steps, LR, DECAY, loss, average.update, SEED)
    return average.mean


def judge(model: Any, drawings: Drawings, best_of: int = 4) -> dict[str, Any]:
    """Share of 200 held-out pictures that ``world:clip`` finds from what is painted of their embeddings.

    One picture of each of 200 concepts, its embedding true; among the 200 seen pictures, with the first picture painted
    and with the one of `best_of` that agrees best with the embedding.
    """
    clip, vae = encoder("world:clip").build(), read_vae()
    plain = lambda pictures: np.float32((pictures - 0.5) / 0.25)  # noqa: E731
    concept = np.linspace(0, len(drawings) - 1, 200).astype(int)
    shown = drawings.at(concept, np.full(200, drawings.held[0]))
    true = clip.embed(plain(shown))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    painted = []
    for k in range(best_of):
        nothing = np.zeros((200, int(np.prod(vae.shape))), np.float32)
        seeds, paint = 1000 * k + np.arange(200), World()
        said = sample(
            model, scheduler(), true, nothing, seeds, paint.steps, paint.guidance, paint.rescale
        )
        pictures = vae.pictures(said).transpose(0, 3, 1, 2) / np.float32(255)
        painted.append(unit(clip.embed(plain(pictures))))
    agree = np.stack([(p * unit(true)).sum(1) for p in painted])
    best = np.stack(painted)[agree.argmax(0), np.arange(200)]
    first, chosen = (
        100 * float(((p @ unit(true).T).argmax(1) == np.arange(200)).mean())
        for p in (painted[0], best)
    )
    return {"first": first, "chosen": chosen, "best_of": best_of}


CARD = """# world (generator)

Latent diffusion of neurovis' image world ({params:.2f} M weights; diffusers' UNet2DConditionModel): from embeddings of world:clip, and
rough pictures where there are some, to latents of world:vae.

- Trained by `experiments/world/diffusion.py` for {steps:,} steps of {batch} pictures of the 423 concepts that no simulated study
  tests on. Embeddings, and rough pictures, were mostly as uncertain as decoded ones.
- From true embeddings of pictures never trained on, world:clip finds the seen one among 200: {first:.1f} % with one picture painted,
  {chosen:.1f} % with the best of {best_of} by agreement with the embedding (n = 200, chance 0.5 %).
- It paints drawings of this world alone, no photographs. {megabytes:.1f} MB in half precision. Licence: BSD-3-Clause.
"""


def write(model: Any, drawings: Drawings, out: Path, steps: int = STEPS) -> None:
    """Weights in half precision, schedule, card with scores of what is shipped."""
    from safetensors.torch import save_file

    rounded = half(model)
    model.load_state_dict(rounded)
    found = judge(model, drawings)
    out.mkdir(parents=True, exist_ok=True)
    model.save_config(out)
    scheduler().save_config(out)
    with atomic(out / WEIGHTS) as partial:
        save_file(rounded, partial, metadata={"format": "pt"})
    card = CARD.format(
        params=sum(p.numel() for p in model.parameters()) / 1e6, steps=steps, batch=BATCH,
        megabytes=(out / WEIGHTS).stat().st_size / 1e6, **found,
    )  # fmt: skip
    (out / "README.md").write_text(card, encoding="utf-8")
    print(card)


def main() -> None:
    """Draw, train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for pictures and checkpoints")
    parser.add_argument("--out", type=Path, default=SHIPPED / "diffusion")
    options = parser.parse_args()
    drawings = draw(options.folder / "drawings")
    vectors, latents = seen(drawings, options.folder / "seen")
    write(fit(vectors, latents, options.folder / "diffusion").eval(), drawings, options.out)


if __name__ == "__main__":
    main()
