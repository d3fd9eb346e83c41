"""Train ``world:dino``, a small vision transformer that sees neither labels nor captions.

    python -m experiments.world.dino --folder DIR

Comes in: nothing; pictures are drawn. Goes out: ``neurovis/world/weights/dino/`` and its card. Two views of a picture
are made; a student says of one what its teacher, a moving average of it, says of the other, rather than what the teacher
says of other pictures (MoCo v3, arXiv 2104.02057, in DINO's form, arXiv 2104.14294: no labels, teacher by averaging).
Its predecessor, DINO's own loss with answers spread over 512 prototypes by batches of 64, learned next to nothing: with fewer
pictures than prototypes every answer is alike. The same command goes on where it was stopped. About an hour on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.world.loop import Average, fast, half, train
from experiments.world.pictures import SIZE, Drawings, draw
from neurovis.images.world import SHIPPED
from neurovis.store import atomic

SHAPE = {"img_size": SIZE, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4}
STEPS, BATCH, LR, DECAY, SEED = 2000, 128, 1.5e-3, 0.05, 0
VIEW = 48
"""Pixels along a side of views."""
SHARE = (0.25, 1.0)
"""Of the picture's area that a view shows."""
WIDTH, TEMPERATURE = 128, 0.2
MEAN, SPREAD = 0.5, 0.25


def vit() -> Any:
    """The transformer, untrained."""
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(num_classes=0, dynamic_img_size=True, **SHAPE)


def head(width: int) -> Any:
    """Two layers, from vectors of some width to those that are compared."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, 2 * SHAPE["embed_dim"], bias=False), nn.BatchNorm1d(2 * SHAPE["embed_dim"]),
        nn.GELU(), nn.Linear(2 * SHAPE["embed_dim"], WIDTH),
    )  # fmt: skip


def view(images: Any, rng: np.random.Generator) -> Any:
    """A random part of each image (image, 3, y, x), mirrored or not, in other light."""
    import torch
    from torch.nn import functional

    n = len(images)
    share = np.sqrt(rng.uniform(*SHARE, n))
    place = rng.uniform(-1, 1, (2, n)) * (1 - share)
    mirror = np.where(rng.random(n) < 0.5, -1, 1)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 1, 1] = share * mirror, share
    theta[:, 0, 2], theta[:, 1, 2] = place
    grid = functional.affine_grid(torch.from_numpy(theta), (n, 3, VIEW, VIEW), align_corners=False)
    part = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = torch.from_numpy(rng.uniform(0.5, 1.5, (n, 3, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.15, 0.15, (n, 1, 1, 1)).astype(np.float32))
    gray = torch.from_numpy(rng.random((n, 1, 1, 1)) < 0.25)
    part = torch.where(gray, part.mean(1, keepdim=True).expand_as(part), part)
    return ((part - MEAN) * gain + shift) / SPREAD


def agreement(said: Any, goal: Any) -> Any:
    """Loss of saying of each view (view, dim) what the teacher says of the same picture's other view."""
    import torch
    from torch.nn import functional

    scores = functional.normalize(said, dim=-1) @ functional.normalize(goal, dim=-1).T
    return functional.cross_entropy(scores / TEMPERATURE, torch.arange(len(said)))


def fit(drawings: Drawings, folder: Path, steps: int = STEPS) -> Any:
    """Train; give the teacher."""
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    student = nn.ModuleDict({"vit": vit(), "head": head(SHAPE["embed_dim"])})
    predictor = head(WIDTH)
    teacher = Average(student, 0.99)
    n = len(drawings), drawings.n_train

    def loss(step: int, rng: np.random.Generator) -> Any:
        images = torch.from_numpy(
            drawings.at(rng.integers(n[0], size=BATCH), rng.integers(n[1], size=BATCH))
        )
        one, other = view(images, rng), view(images, rng)
        with fast():
            with torch.no_grad():
                goal = teacher.mean["head"](teacher.mean["vit"](torch.cat([other, one])))
            vectors = student["head"](student["vit"](torch.cat([one, other])))
            said = predictor(vectors)
        pairs = zip(said.float().chunk(2), goal.float().chunk(2))
        return sum(agreement(*pair) for pair in pairs) / 2

    modules = {"student": student, "teacher": teacher.mean, "predictor": predictor}
    train(folder, modules, steps, LR, DECAY, loss, teacher.update, SEED)
    return teacher.mean["vit"]


def features(network: Any, images: np.ndarray) -> np.ndarray:
    """Mean of the patches of each block, side by side by block: array (block, image, dim)."""
    import torch

    parts = []
    with torch.inference_mode():
        for block in np.array_split(images, max(1, len(images) // 128)):
            x = (torch.from_numpy(block) - MEAN) / SPREAD
            maps = network.forward_intermediates(x, intermediates_only=True)
            parts.append(np.stack([m.mean((2, 3)).numpy() for m in maps]))
    return np.concatenate(parts, axis=1)


def probe(network: Any, drawings: Drawings, n: int = 12) -> list[dict[str, float]]:
    """Per block: what a linear classifier reads from `n` pictures of each concept, scored on held-out ones."""
    from sklearn.linear_model import RidgeClassifier

    every = np.arange(len(drawings))
    train_at = np.repeat(every, n), np.tile(np.arange(n), len(every))
    shown = features(network, drawings.at(*train_at))
    n_held = len(drawings.held)
    held = [drawings.at(np.full(n_held, c), np.array(drawings.held)) for c in every]
    asked = features(network, np.concatenate(held))
    out = []
    for x, y in zip(shown, asked):
        mean, std = x.mean(0), x.std(0) + 1e-6
        scores = {}
        for question in ("name", "family"):
            names = np.array([getattr(c, question) for c in drawings.concept])
            model = RidgeClassifier(10.0).fit((x - mean) / std, np.repeat(names, n))
            right = model.predict((y - mean) / std) == np.repeat(names, n_held)
            scores[question] = 100 * float(right.mean())
        out.append(scores)
    return out


CARD = """# world:dino

A vision transformer ({params:.2f} M weights, patches of 8 pixels, {depth} blocks of width {width}) that was trained on drawings of
neurovis' image world without labels and without captions.

- Trained by `python -m experiments.world.dino` for {steps:,} steps of {batch} pictures ({seen:,} in all) of the 423 concepts that
  no simulated study tests on; its moving average is what is shipped.
- A linear classifier on the mean of a block's patches, fitted to 12 pictures of each of 423 concepts, scored on exemplars
  never trained on (n = {n:,}; chance 0.2 % and {chance:.1f} %). In brackets the same network before training.

| block | concept % | family % |
|---|---|---|
{rows}

- It knows drawings of this world alone, no photographs. {megabytes:.1f} MB in half precision. Licence: BSD-3-Clause.
"""


def main() -> None:
    """Draw, train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for pictures and checkpoints")
    parser.add_argument("--out", type=Path, default=SHIPPED / "dino")
    options = parser.parse_args()
    import torch
    from safetensors.torch import save_file

    drawings = draw(options.folder / "drawings")
    torch.manual_seed(SEED)
    before = probe(vit().eval(), drawings)
    network = fit(drawings, options.folder / "dino").eval()
    after = probe(network, drawings)
    options.out.mkdir(parents=True, exist_ok=True)
    about = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 0,
        "model_args": {**SHAPE, "dynamic_img_size": True},
        "pretrained_cfg": {
            "input_size": [3, SIZE, SIZE], "mean": [MEAN] * 3, "std": [SPREAD] * 3, "num_classes": 0,
            "interpolation": "bicubic", "crop_pct": 1.0, "first_conv": "patch_embed.proj",
            "classifier": "head", "license": "bsd-3-clause",
        },
    }  # fmt: skip
    (options.out / "config.json").write_text(json.dumps(about, indent=2) + "\n")
    with atomic(options.out / "model.safetensors") as partial:
        save_file(half(network), partial)
    rows = [
        f"| {i + 1} | {a['name']:.1f} ({b['name']:.1f}) | {a['family']:.1f} ({b['family']:.1f}) |"
        for i, (a, b) in enumerate(zip(after, before))
    ]
    card = CARD.format(
        params=sum(p.numel() for p in network.parameters()) / 1e6,
        depth=SHAPE["depth"],
        width=SHAPE["embed_dim"],
        steps=STEPS,
        batch=BATCH,
        seen=STEPS * BATCH,
        n=len(drawings.held) * len(drawings),
        chance=100 / len({c.family for c in drawings.concept}),
        rows="\n".join(rows),
        megabytes=(options.out / "model.safetensors").stat().st_size / 1e6,
    )
    (options.out / "README.md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
