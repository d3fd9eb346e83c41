"""Every registered generator, built small: what `test_generators` runs over.

A new generator gets an entry here: a function of a folder that gives its config, and the names of
options that make it small. One with weights builds them tiny and random, of the same classes as the real
ones, in that folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from fakes.pipelines import PUBLISHED, small

from neurovis.config import resolve
from neurovis.generate.base import Generator
from neurovis.generate.linear import Linear
from neurovis.generate.nearest import Nearest
from neurovis.generate.training import write_training

DIM = 6


def training(folder: Path, n: int = 20) -> str:
    """Training pictures whose colours follow their embeddings."""
    from PIL import Image

    rng = np.random.default_rng(0)
    vector = rng.standard_normal((n, DIM)).astype(np.float32)
    colour = (255 / (1 + np.exp(-vector[:, :3]))).astype(np.uint8)
    paths = []
    for i, one in enumerate(colour):
        paths.append(folder / f"{i:02d}.png")
        pixels = np.tile(one, (24, 16, 1)).astype(np.uint8)
        Image.fromarray(pixels).save(paths[-1])
    path = folder / "training.h5"
    write_training(path, vector, np.array([p.stem for p in paths]), paths)
    return str(path)


TINY: dict[str, Callable[[Path], Generator]] = {
    "linear": lambda folder: Linear(size=8, training=training(folder)),
    "nearest": lambda folder: Nearest(size=12, training=training(folder)),
}


def published(name: str) -> Callable[[Path], Generator]:
    """A published generator a few channels wide, loaded as the real one is."""
    return lambda folder: resolve(Generator, small(name, folder))


TINY |= {name: published(name) for name in PUBLISHED}


def world(folder: Path) -> Generator:
    """The generator of the image world, weights shipped, in few steps."""
    from neurovis.generate.world import World

    return World(steps=2)


TINY["world"] = world
