"""Generators for tests: one that follows its seed, and ones that memory or time fails."""

from __future__ import annotations

import time
import zlib
from typing import ClassVar

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.generate.base import Cue, Painter
from neurovis.generate.linear import Linear


class Seeded(Linear):
    """The linear picture under noise of a row's own seed."""

    deterministic: ClassVar[bool] = False
    noise: float = 30.0

    def build(self) -> Painter:
        """See `Generator.build`."""
        plain = super().build()

        def paint(cue: Cue, seeds: np.ndarray) -> np.ndarray:
            made = plain.paint(cue, seeds).astype(float)
            for row, seed in zip(made, seeds):
                row += self.noise * np.random.default_rng(int(seed)).standard_normal(row.shape)
            return made.clip(0, 255).astype(np.uint8)

        return Painter(paint, plain.width, plain.size, plain.weights, plain.details)


class Slow(Seeded):
    """Takes a while for every batch."""

    seconds: float = 0.3

    def build(self) -> Painter:
        """See `Generator.build`."""
        plain = super().build()

        def paint(cue: Cue, seeds: np.ndarray) -> np.ndarray:
            time.sleep(self.seconds)
            return plain.paint(cue, seeds)

        return Painter(paint, plain.width, plain.size)


class Hungry(Seeded):
    """Memory holds so many pictures, and so many batches."""

    holds: int = 2
    error: str = "torch"
    lasts: int = 0

    def build(self) -> Painter:
        """See `Generator.build`."""
        import torch

        plain, done = super().build(), []
        errors = {
            "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
            "cpu": RuntimeError(
                "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
            ),
            "numpy": MemoryError("Unable to allocate 9.00 GiB"),
            "other": RuntimeError("shapes do not fit"),
        }

        def paint(cue: Cue, seeds: np.ndarray) -> np.ndarray:
            done.append(len(cue))
            if len(cue) > self.holds and len(done) > self.lasts:
                raise errors[self.error]
            return plain.paint(cue, seeds)

        return Painter(paint, plain.width, plain.size)


class Colors(Seeded):
    """Takes the embeddings of an encoder that needs no weights."""

    takes: ClassVar[str] = "{name: color, size: 16, grid: 2, bins: 2}"


class Reader(Seeded):
    """Paints what it is told in words: one gray for each text."""

    takes: ClassVar[str] = "world:clip"
    reads_text: ClassVar[bool] = True

    def build(self) -> Painter:
        """See `Generator.build`."""
        plain = super().build()

        def paint(cue: Cue, seeds: np.ndarray) -> np.ndarray:
            gray = [zlib.crc32(text.encode()) % 256 for text in cue.text]
            shape = (len(cue), plain.size, plain.size, 3)
            return np.broadcast_to(np.array(gray, np.uint8)[:, None, None, None], shape).copy()

        return Painter(paint, plain.width, plain.size)


class Foreign(Seeded):
    """Takes embeddings of a width that no encoder here has."""

    def build(self) -> Painter:
        """See `Generator.build`."""
        plain = super().build()
        return Painter(plain.paint, 12345, plain.size)


class Absent(Linear):
    """Has weights that are not there."""

    learns: ClassVar[bool] = False

    def build(self) -> Painter:
        """See `Generator.build`."""
        raise NeurovisError(
            "absent: model.safetensors of somebody/absent is not in the Hugging Face cache; run `hf download "
            "somebody/absent model.safetensors` where there is a network."
        )
