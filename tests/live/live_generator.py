"""Generators that a process of its own can import: what they are told shows in the picture."""

from __future__ import annotations

import time

import numpy as np

from neurovis.generate.base import Cue, Generator, Painter


class Grey(Generator):
    """A picture whose grey is the mean of its vector, in 1/1000; green is the number of steps, if it has any."""

    width: int = 6
    seconds: float = 0.0
    fails: bool = False
    steps: int = 0

    def quick(self) -> Grey | None:
        """See `Generator`."""
        return self.model_copy(update={"steps": 1}) if self.steps > 1 else None

    def build(self) -> Painter:
        """See `Generator`."""
        if self.fails:
            raise RuntimeError("no weights")

        def paint(cue: Cue, seeds: np.ndarray) -> np.ndarray:
            time.sleep(self.seconds)
            grey = np.round(1000 * cue.vector.mean(axis=1)).astype(np.uint8)
            made = np.tile(grey[:, None, None, None], (1, 4, 4, 3))
            made[..., 1] = self.steps or made[..., 1]
            return made

        return Painter(paint, self.width, 4)
