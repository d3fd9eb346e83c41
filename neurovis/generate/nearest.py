"""The training picture whose embedding is nearest to the decoded one: nothing is made up.

It is the baseline of every other generator: what it shows is a clear picture of the right kind of thing
wherever decoding is good, so that a generator has to beat it to have added anything.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pydantic

from neurovis.config import how
from neurovis.generate.base import Cue, Generator, Painter
from neurovis.generate.training import Training, read_training


class Nearest(Generator, name="nearest"):
    """The training picture with the nearest embedding; needs no weights.

    Nearest by cosine about the training images' mean, without which all embeddings of one encoder
    point much the same way.

    Parameters
    ----------
    size : int
        Pixels along a side.
    training : str
        File of training pictures; ``neurovis generate`` gives it.
    """

    deterministic: ClassVar[bool] = True
    learns: ClassVar[bool] = True

    size: int = pydantic.Field(128, ge=8, le=2048)
    training: str = how("")

    def build(self) -> Painter:
        """Read the training images' embeddings."""
        known = read_training(self.training, self.component)
        find = nearest(known)

        def paint(cue: Cue, seeds: np.ndarray) -> np.ndarray:
            return known.pictures(find(cue.vector), self.size)

        details = {"n_training_pictures": len(known.image)}
        return Painter(paint, known.vector.shape[1], self.size, details=details)


def nearest(known: Training):
    """A function of embeddings (row, dim) that gives the number of the nearest training image."""
    centre = known.vector.mean(0, dtype=np.float64)
    rows = _directions(known.vector - centre)

    def find(vector: np.ndarray) -> np.ndarray:
        # one by one: the same sums whatever stands beside a row
        return np.array([(rows @ one).argmax() for one in _directions(vector - centre)], int)

    return find


def _directions(x: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)
