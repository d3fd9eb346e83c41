"""Pictures resized as the field's code for reconstruction metrics does it, in plain numbers.

Comes in: 8-bit pictures. Goes out: pictures in 0..1 of another size, never rounded to 8 bits on the way.
Published scores depend on how pictures were resized, so it is spelt out here once, for the metrics on
pixels and for the networks that metrics look through.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

FIRST = 256
"""Pixels along a side that the reference code gives every picture before anything else."""


@lru_cache(maxsize=32)
def weights(n_in: int, sizes: tuple[int, ...]) -> Any:
    """Bilinear interpolation along one axis, one size after another: sparse array (last size, n_in).

    Pixels are areas whose middles are interpolated (``align_corners=False``); shrinking does not
    average (``antialias=False``).
    """
    from scipy import sparse

    whole = sparse.eye_array(n_in, format="csr")
    for n_out in sizes:
        n = whole.shape[0]
        place = np.clip((np.arange(n_out) + 0.5) * (n / n_out) - 0.5, 0, n - 1)
        left = np.minimum(place.astype(int), max(n - 2, 0))
        share = place - left
        row = np.tile(np.arange(n_out), 2)
        column = np.concatenate([left, np.minimum(left + 1, n - 1)])
        value = np.concatenate([1 - share, share])
        whole = sparse.csr_array((value, (row, column)), shape=(n_out, n)) @ whole
    return whole


def bilinear(pictures: np.ndarray, *sizes: int) -> np.ndarray:
    """Squeeze whole pictures into a square, once per size, without crop.

    torchvision's ``Resize((size, size))`` of tensors as it was before version 0.17, which did not
    antialias them; that is what the code behind published tables ran on.

    Parameters
    ----------
    pictures : array (picture, height, width, 3) uint8
    *sizes : int
        Pixels along a side, in turn: ``256, 425`` first goes to 256.

    Returns
    -------
    array (picture, size, size, 3) float64, 0..1
    """
    n, height, width, n_colours = pictures.shape
    size = sizes[-1]
    x = np.asarray(pictures, np.float64) / 255
    x = x.transpose(1, 0, 2, 3).reshape(height, -1)
    x = (weights(height, sizes) @ x).reshape(size, n, width, n_colours)
    x = x.transpose(2, 1, 0, 3).reshape(width, -1)
    x = (weights(width, sizes) @ x).reshape(size, n, size, n_colours)
    return np.ascontiguousarray(x.transpose(1, 2, 0, 3))
