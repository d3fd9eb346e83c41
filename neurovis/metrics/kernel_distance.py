"""Kernel distance between the features of two sets of pictures, unbiased for any number of them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from neurovis.metrics.picture import SetMetric


def kernel_distance(seen: np.ndarray, painted: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel ``(x.y / dim + 1)^3``.

    Parameters
    ----------
    seen : array (image, dim)
    painted : array (picture, dim)

    Returns
    -------
    float
        0 on average for two sets of one distribution, so at times below 0.

    References
    ----------
    Binkowski et al. 2018, arXiv 1801.01401
    """
    x, y = np.asarray(seen, np.float64), np.asarray(painted, np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def among(a: np.ndarray) -> float:
        found = kernel(a, a)
        return (found.sum() - np.trace(found)) / (len(a) * (len(a) - 1))

    return float(among(x) + among(y) - 2 * kernel(x, y).mean())


class KernelDistance(SetMetric, name="kernel_distance"):
    """Unbiased kernel distance between both sets (lower is better, chance see `expected`)."""

    higher_is_better: ClassVar[bool] = False

    def of_sets(self, seen, painted):
        return kernel_distance(seen, painted)

    def expected(self, seen, n_painted):
        return 0.0
