"""Fréchet distance between Gaussians fitted to the features of two sets of pictures."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from neurovis.metrics.picture import SetMetric

DRAWS = 20


def frechet(seen: np.ndarray, painted: np.ndarray) -> float:
    """Squared distance of means plus what the covariances differ by.

    ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``; the trace of the root is the sum of the singular
    values of the product of the two centred sets, which needs no root of a matrix.

    Parameters
    ----------
    seen : array (image, dim)
    painted : array (picture, dim)

    Returns
    -------
    float
        0 for sets of equal mean and covariance.

    References
    ----------
    Heusel et al. 2017, arXiv 1706.08500, equation 6; Dowson and Landau 1982,
    doi:10.1016/0047-259X(82)90077-X
    """
    means, roots = [], []
    for features in (seen, painted):
        x = np.asarray(features, np.float64)
        means.append(x.mean(axis=0))
        centred = (x - means[-1]) / np.sqrt(len(x) - 1)
        # rows beyond the number of dims say nothing more about the covariance
        roots.append(np.linalg.qr(centred, mode="r") if len(x) > x.shape[1] else centred)
    traces = sum((root**2).sum() for root in roots)
    common = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(max(((means[0] - means[1]) ** 2).sum() + traces - 2 * common, 0.0))


class Frechet(SetMetric, name="frechet"):
    """Fréchet distance between Gaussians fitted to both sets (lower is better, chance see `expected`).

    Covariances of few pictures are far from those of many: it is computed only for twice as many
    pictures as dims, and beside it stands what two sets as large get that share the seen ones' Gaussian.
    """

    higher_is_better: ClassVar[bool] = False

    def least(self, n_dims: int) -> int:
        return max(50, 2 * n_dims)

    def of_sets(self, seen, painted):
        return frechet(seen, painted)

    def expected(self, seen, n_painted):
        rng = np.random.default_rng(0)
        x = np.asarray(seen, np.float64)
        root = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
        found = []
        for _ in range(DRAWS):
            drawn = (rng.standard_normal((n, len(x))) @ root for n in (len(x), n_painted))
            found.append(frechet(*drawn))
        return float(np.mean(found))
