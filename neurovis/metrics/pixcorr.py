"""Pixel correlation: how well the pixels of a painted picture go along with those of the seen one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from neurovis.metrics.picture import PixelMetric
from neurovis.resize import FIRST, weights

FLAT = 1e-12
"""Variance of pixels in 0..1 below which a picture is of one colour: what interpolation rounds."""


@lru_cache(maxsize=32)
def products(first: int, second: int, size: int) -> Any:
    """Inner products of the weights of two pictures' pixels along one axis: array (second, first)."""
    return (weights(second, (FIRST, size)).T @ weights(first, (FIRST, size))).tocsr()


@dataclass(frozen=True, eq=False)
class Centred:
    """A picture with the mean and the standard deviation that it has once it is resized.

    Parameters
    ----------
    pixels : array (height, width, 3), 0..1
    mean, deviation : float
    size : int
        Pixels along a side once resized.
    """

    pixels: np.ndarray
    mean: float
    deviation: float
    size: int


def centred(picture: np.ndarray, size: int = 425) -> Centred:
    """Prepare a picture (height, width, 3) uint8 for `correlation`."""
    x = np.asarray(picture, np.float64) / 255
    down, along = (weights(n, (FIRST, size)).sum(axis=0) for n in x.shape[:2])
    mean = float(np.einsum("y,yxc,x->", down, x, along) / (3 * size**2))
    variance = inner(x, x, size) / (3 * size**2) - mean**2
    return Centred(x, mean, float(np.sqrt(variance)) if variance > FLAT else 0.0, size)


def inner(first: np.ndarray, second: np.ndarray, size: int) -> float:
    """Sum over pixels of the product of two pictures once they are resized, without resizing them.

    Resizing is linear, so that the sum is one of products of the original pixels, weighted by how much
    their shares overlap.
    """
    (height, width, _), (other_height, other_width, _) = first.shape, second.shape
    x = products(height, other_height, size) @ first.reshape(height, -1)
    x = x.reshape(other_height, width, 3).transpose(1, 0, 2).reshape(width, -1)
    x = products(width, other_width, size) @ x
    return float(np.vdot(x, second.transpose(1, 0, 2)))


def correlation(seen: Centred, painted: Centred) -> float:
    """Pearson's correlation over all pixels and colours; 0 where a picture is of one gray."""
    if not seen.deviation or not painted.deviation:
        return 0.0
    mean = inner(seen.pixels, painted.pixels, seen.size) / (3 * seen.size**2)
    return float((mean - seen.mean * painted.mean) / (seen.deviation * painted.deviation))


def pixcorr(seen: np.ndarray, painted: np.ndarray, size: int = 425) -> float:
    """Pearson's correlation over all pixels and colours of two resized pictures.

    A picture of one gray correlates with nothing; it gets 0, not NaN.

    Parameters
    ----------
    seen, painted : array (height, width, 3) uint8
        Of any size each; first squeezed to 256, then to `size`.
    size : int
        Pixels along a side.

    Returns
    -------
    float
        Between -1 and 1.

    References
    ----------
    Ozcelik and VanRullen 2023, doi:10.1038/s41598-023-42891-8; at 425 pixels as in arXiv 2403.11207.
    """
    return correlation(centred(seen, size), centred(painted, size))


class PixCorr(PixelMetric, name="pixcorr"):
    """Correlation over pixels of each pair (higher is better, chance that of wrong pairs)."""

    n_wrong: ClassVar[int] = 5

    def prepare(self, picture):
        return centred(picture, self.size)

    def compare(self, seen, painted):
        return correlation(seen, painted)
