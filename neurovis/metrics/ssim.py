"""Structural similarity of gray pictures, in the two variants that stand behind published numbers.

scikit-image took ``multichannel=True`` for a gray picture's last axis being channels until it ignored the
argument from version 0.20 on. The same code thus computes two numbers: plain SSIM of the plane, or the mean
over columns of a one-dimensional SSIM, which is higher by several points. Here each has its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from neurovis.metrics.picture import PixelMetric
from neurovis.resize import FIRST, weights

LUMA = np.array([0.2125, 0.7154, 0.0721])
"""Of red, green, blue; ITU-R BT.709 as scikit-image's ``rgb2gray`` rounds it."""
SIGMA, RADIUS = 1.5, 5
C1, C2 = 0.01**2, 0.03**2
STRIP = 83


@lru_cache(maxsize=8)
def window(n: int) -> Any:
    """Gaussian window along an axis where it fits whole: sparse array (n - 10, n)."""
    from scipy import sparse

    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    taps /= taps.sum()
    return sparse.diags_array(taps, offsets=range(len(taps)), shape=(n - 2 * RADIUS, n)).tocsr()


@lru_cache(maxsize=32)
def smoothing(n: int, size: int) -> Any:
    """Resizing and window in one, along one axis: sparse array (size - 10, n)."""
    return (window(size) @ weights(n, (FIRST, size))).tocsr()


@dataclass(frozen=True, eq=False)
class Gray:
    """A gray picture with its local moments.

    Parameters
    ----------
    plane : array (y, x)
        Luma, 0..1, resized.
    mean, square, variance : array (y or x, x or y)
        Local means, their squares, and variances under the window.
    columns : bool
        The window runs along columns alone.
    """

    plane: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    variance: np.ndarray
    columns: bool


def gray(picture: np.ndarray, columns: bool = False, size: int = 425) -> Gray:
    """Prepare a picture (height, width, 3) uint8 for `similarity`."""
    luma = np.asarray(picture, np.float64) @ (LUMA / 255)
    down, along = (weights(n, (FIRST, size)) for n in luma.shape)
    plane = along @ (down @ luma).T
    if columns:
        mean = smoothing(luma.shape[0], size) @ (along @ luma.T).T
    else:
        mean = smoothing(luma.shape[1], size) @ (smoothing(luma.shape[0], size) @ luma).T
    # planes stand transposed, so that every product runs along the first axis
    square, variance = mean * mean, np.empty_like(mean)
    for near, here in strips(len(plane), columns):
        at = (slice(None), here) if columns else here
        np.subtract(smoothed(plane[near] ** 2, columns), square[at], out=variance[at])
    return Gray(plane, mean, square, variance, columns)


def strips(n: int, columns: bool) -> Iterator[tuple[slice, slice]]:
    """Rows of a transposed plane with what the window needs of it, and where their local means stand.

    A strip's arrays stay in the processor's cache.
    """
    margin = 0 if columns else 2 * RADIUS
    for start in range(0, n - margin, STRIP):
        stop = min(start + STRIP, n - margin)
        yield slice(start, stop + margin), slice(start, stop)


def smoothed(strip: np.ndarray, columns: bool) -> np.ndarray:
    """Local means of a strip of a transposed plane (x, y): array (y, x) along columns, else (x, y)."""
    down = window(strip.shape[1]) @ strip.T
    return down if columns else window(len(strip)) @ down.T


def similarity(seen: Gray, painted: Gray) -> float:
    """Mean structural similarity of two prepared pictures."""
    total, columns = 0.0, seen.columns
    for near, here in strips(len(seen.plane), columns):
        at = (slice(None), here) if columns else here
        product = seen.mean[at] * painted.mean[at]
        both = smoothed(seen.plane[near] * painted.plane[near], columns)
        both -= product
        both *= 2
        both += C2
        product *= 2
        product += C1
        both *= product
        np.add(seen.square[at], painted.square[at], out=product)
        product += C1
        both /= product
        np.add(seen.variance[at], painted.variance[at], out=product)
        product += C2
        both /= product
        total += both.sum()
    return float(total / seen.mean.size)


def ssim(seen: np.ndarray, painted: np.ndarray, columns: bool = False, size: int = 425) -> float:
    """Structural similarity of two pictures' luma, data range 1, Gaussian window of sigma 1.5.

    Parameters
    ----------
    seen, painted : array (height, width, 3) uint8
        Of any size each; first squeezed to 256, then to `size`.
    columns : bool
        Along columns alone, as scikit-image before 0.20 computed it with ``multichannel=True``.
    size : int
        Pixels along a side.

    Returns
    -------
    float
        Between -1 and 1; the mean over places where the window fits whole. Covariances are those of the
        window itself (``use_sample_covariance=False``).

    References
    ----------
    Wang et al. 2004, doi:10.1109/TIP.2003.819861
    """
    return similarity(gray(seen, columns, size), gray(painted, columns, size))


class Ssim(PixelMetric, name="ssim"):
    """Structural similarity of gray pictures (higher is better, chance that of wrong pairs).

    It rewards blur: a smooth picture of nothing is often more alike than a sharp one of the right thing.

    Parameters
    ----------
    variant : {"plane", "columns"}
        ``plane``: as scikit-image computes it from 0.20 on; named ``ssim``. ``columns``: as before, with
        ``multichannel=True``, which most tables up to 2023 rest on; named ``ssim-columns``.
    """

    variant: Literal["plane", "columns"] = "plane"

    @property
    def label(self) -> str:
        return super().label + ("-columns" if self.variant == "columns" else "")

    def prepare(self, picture):
        return gray(picture, self.variant == "columns", self.size)

    def compare(self, seen, painted):
        return similarity(seen, painted)
