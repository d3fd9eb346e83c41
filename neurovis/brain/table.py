"""What each tower has in weights and says in shapes, found by building and running it.

Comes in: towers of the registry. Goes out: a table of parameter counts at published shapes, and for one
tower what each of its modules gives. Nothing is written down by hand.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurovis.brain.base import Shape


def published(
    kind: str, n_chans: int, n_times: int, sfreq: float, dim: int, n_subjects: int = 1
) -> Callable[..., Shape]:
    """A function that makes a shape as published, or with fewer channels.

    Positions are spread evenly: over a hemisphere for sensors, in a cube for voxels.
    """

    def make(shrink: int = 1) -> Shape:
        n = max(2, n_chans // shrink)
        if kind == "voxel":
            side = int(np.ceil(n ** (1 / 3)))
            grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1)
            position = 0.002 * grid.reshape(-1, 3)[:n]
        else:
            turn = np.arange(n) * np.pi * (3 - 5**0.5)
            height = 1 - (np.arange(n) + 0.5) / n
            ring = np.sqrt(1 - height**2)
            position = 0.1 * np.stack([ring * np.cos(turn), ring * np.sin(turn), height], 1)
        names = tuple(f"{kind}{number}" for number in range(n))
        subjects = tuple(f"{number + 1:02d}" for number in range(n_subjects))
        return Shape(
            n_times, sfreq, names, (kind,) * n, position.astype(np.float32), subjects,
            {"image": dim},
        )  # fmt: skip

    return make


PUBLISHED = {
    "meg": published("mag", 271, 181, 120.0, 768, 4),
    "eeg": published("eeg", 63, 250, 250.0, 1024),
    "fmri": published("voxel", 15724, 1, 1.0, 768),
}
"""Shapes of the papers: 271 sensors at 120 Hz for 1.5 s, 63 at 250 Hz for 1 s, betas of one subject."""
