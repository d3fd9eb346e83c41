"""Ridge regression from embeddings to small pictures: what an embedding says of pixels in a linear way.

Comes in: training pictures and their embeddings. Goes out: the mean of the pictures that an embedding
allows, blurred where it leaves things open. The penalty is chosen per pixel by leaving training images
out one by one.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar

import numpy as np
import pydantic

from neurovis.brain.ridge import RidgeModel
from neurovis.config import how
from neurovis.generate.base import Cue, Generator, Painter
from neurovis.generate.training import read_training

PENALTIES = 10.0 ** np.arange(-3, 4)
"""Relative to the mean eigenvalue of the embeddings' covariance."""


class Linear(Generator, name="linear"):
    """Ridge regression from embeddings to small pictures; needs no weights, is fitted in seconds.

    Parameters
    ----------
    size : int
        Pixels along a side; each takes a regression of its own.
    low_weight : float
        Share of the rough picture in the result, where there is one.
    training : str
        File of training pictures; ``neurovis generate`` gives it.
    """

    deterministic: ClassVar[bool] = True
    learns: ClassVar[bool] = True

    size: int = pydantic.Field(32, ge=8, le=128)
    low_weight: float = pydantic.Field(0.5, ge=0, le=1)
    training: str = how("")

    def build(self) -> Painter:
        """Fit it."""
        known = read_training(self.training, self.component)
        pictures = known.pictures(np.arange(len(known.image)), self.size)
        flat = pictures.reshape(len(pictures), -1).astype(np.float32) / np.float32(255)
        fitted = RidgeModel(PENALTIES).fit(known.vector, flat)
        weight, start = fitted.coef_.astype(np.float64), fitted.intercept_.astype(np.float64)

        def paint(cue: Cue, seeds: np.ndarray) -> np.ndarray:
            rows = [one @ weight + start for one in np.asarray(cue.vector, np.float64)]
            made = np.stack(rows).reshape(-1, self.size, self.size, 3)
            if cue.low is not None and self.low_weight:
                made = (1 - self.low_weight) * made + self.low_weight * self._at_size(cue.low)
            return np.round(255 * made.clip(0, 1)).astype(np.uint8)

        # fitted in a moment, so that its pictures are what it was fitted to
        digest = hashlib.sha256(flat.tobytes() + np.ascontiguousarray(known.vector).tobytes())
        details = {"n_training_pictures": len(flat), "explained": float(fitted.explained_.mean())}
        return Painter(paint, known.vector.shape[1], self.size, digest.hexdigest(), details)

    def _at_size(self, low: np.ndarray) -> np.ndarray:
        from PIL import Image

        size = (self.size, self.size)
        rows = [Image.fromarray(one).resize(size, Image.Resampling.BICUBIC) for one in low]
        return np.stack([np.asarray(one, np.float64) / 255 for one in rows])
