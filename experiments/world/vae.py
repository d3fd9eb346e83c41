"""Train ``world:vae``, a small autoencoder of the image world's pictures.

    python -m experiments.world.vae --folder DIR

Comes in: nothing; pictures are drawn. Goes out: ``neurovis/world/weights/vae/`` and its card. Diffusers' deep compression
autoencoder (arXiv 2410.10733) from 64 pixels to 4 x 16 x 16 latents, with a little noise on them so that near
latents are near pictures. The same command goes on where it was stopped. About twenty minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.world.loop import Average, half, train
from experiments.world.pictures import SIZE, Drawings, draw
from neurovis.images.world import SHIPPED, VAE_FILE
from neurovis.store import atomic

CHANNELS, WIDTHS = 4, (24, 48, 96)
STEPS, BATCH, LR, DECAY, SEED = 1000, 32, 2e-3, 0.01, 0
NOISE, SHARP = 0.05, 0.1
"""Noise on latents, relative to theirs; weight of the absolute error beside the squared one."""


def autoencoder() -> Any:
    """The network, untrained."""
    from diffusers import AutoencoderDC

    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (
            ("block_types", "ResBlock"),
            ("block_out_channels", WIDTHS),
            ("qkv_multiscales", ((), (), ())),
        )
    }
    return AutoencoderDC(
        in_channels=3,
        latent_channels=CHANNELS,
        encoder_layers_per_block=(0, 1, 1),
        decoder_layers_per_block=(0, 1, 2),
        downsample_block_type="pixel_unshuffle",
        upsample_block_type="pixel_shuffle",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        **sides,
    )


def fit(drawings: Drawings, folder: Path, steps: int = STEPS) -> Any:
    """Train; give the moving average."""
    import torch

    torch.manual_seed(SEED)
    model = autoencoder().to(memory_format=torch.channels_last)
    average = Average(model, 0.995)

    def loss(step: int, rng: np.random.Generator) -> Any:
        x = torch.from_numpy(drawings.at(*drawings.some(rng, BATCH))) * 2 - 1
        x = x.flip(3) if rng.random() < 0.5 else x
        x = x.contiguous(memory_format=torch.channels_last)
        latents = model.encode(x).latent
        latents = latents + NOISE * latents.detach().std() * torch.randn_like(latents)
        error = model.decode(latents).sample - x
        return error.square().mean() + SHARP * error.abs().mean()

    modules = {"model": model, "average": average.mean}
    train(folder, modules, steps, LR, DECAY, loss, average.update, SEED)
    return average.mean


def judge(model: Any, drawings: Drawings) -> dict[str, Any]:
    """Mean PSNR of held-out pictures in dB, and moments of their latents per channel."""
    import torch

    ratios, latents = [], []
    at = np.arange(len(drawings))
    with torch.inference_mode():
        for exemplar in drawings.held:
            for rows in np.array_split(at, -(-len(at) // 64)):
                shown = drawings.at(rows, np.full(len(rows), exemplar))
                found = model.encode(torch.from_numpy(shown) * 2 - 1).latent
                again = (model.decode(found).sample.numpy() + 1) / 2
                error = np.square(np.clip(again, 0, 1) - shown).mean((1, 2, 3))
                ratios.append(-10 * np.log10(error))
                latents.append(found.numpy())
    ratio, found = np.concatenate(ratios), np.concatenate(latents)
    moments = {"mean": found.mean((0, 2, 3)).tolist(), "std": found.std((0, 2, 3)).tolist()}
    return {
        "psnr": float(ratio.mean()),
        "low": float(np.quantile(ratio, 0.05)),
        "n": len(ratio),
    } | (moments)


CARD = """# world:vae

An autoencoder of neurovis' image world ({params:.2f} M weights; diffusers' AutoencoderDC): pictures of {size} pixels to {channels} x 16 x 16
latents and back.

- Trained by `experiments/world/vae.py` for {steps:,} steps of {batch} pictures of the 423 concepts that no simulated study tests on.
- Pictures never trained on (n = {n:,}): PSNR {psnr:.1f} dB on average, 5th percentile {low:.1f} dB.
- It knows drawings of this world alone, no photographs. {megabytes:.1f} MB in half precision. Licence: BSD-3-Clause.
"""


def write(model: Any, drawings: Drawings, out: Path) -> None:
    """Weights in half precision, moments of latents, card with scores of what is shipped."""
    from safetensors.torch import save_file

    rounded = half(model)
    model.load_state_dict(rounded)
    found = judge(model, drawings)
    out.mkdir(parents=True, exist_ok=True)
    model.save_config(out)
    with atomic(out / VAE_FILE) as partial:
        save_file(rounded, partial, metadata={"format": "pt"})
    latents = {"mean": found.pop("mean"), "std": found.pop("std"), "size": SIZE}
    (out / "latents.json").write_text(json.dumps(latents, indent=2) + "\n")
    card = CARD.format(
        params=sum(p.numel() for p in model.parameters()) / 1e6, size=SIZE, channels=CHANNELS,
        steps=STEPS, batch=BATCH, megabytes=(out / VAE_FILE).stat().st_size / 1e6, **found,
    )  # fmt: skip
    (out / "README.md").write_text(card, encoding="utf-8")
    print(card)


def main() -> None:
    """Draw, train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for pictures and checkpoints")
    parser.add_argument("--out", type=Path, default=SHIPPED / "vae")
    options = parser.parse_args()
    drawings = draw(options.folder / "drawings")
    write(fit(drawings, options.folder / "vae").eval(), drawings, options.out)


if __name__ == "__main__":
    main()
