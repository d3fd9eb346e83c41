"""Coverage: how much of what was seen lies near something that was painted."""

from __future__ import annotations

import numpy as np
import pydantic

from neurovis.metrics.picture import SetMetric


def set_coverage(seen: np.ndarray, painted: np.ndarray, k: int = 5) -> float:
    """Share of seen pictures with a painted one at most as far as their k-th nearest seen one.

    Parameters
    ----------
    seen : array (image, dim)
    painted : array (picture, dim)
    k : int
        Below the number of seen pictures; 5 in the paper.

    Returns
    -------
    float
        Between 0 and 1.

    References
    ----------
    Naeem et al. 2020, arXiv 2002.09797, equation 8
    """
    from scipy.spatial.distance import cdist

    x, y = np.asarray(seen, np.float64), np.asarray(painted, np.float64)
    step, covered = max(1, 2**24 // max(len(x), len(y))), 0
    for start in range(0, len(x), step):
        some = x[start : start + step]
        # the nearest seen picture is the picture itself
        radius = np.partition(cdist(some, x), k, axis=1)[:, k]
        covered += int((cdist(some, y).min(axis=1) <= radius).sum())
    return covered / len(x)


class SetCoverage(SetMetric, name="set_coverage"):
    """Share of seen pictures with a painted one nearby (higher is better, chance see `expected`).

    A painter who paints few things well covers little.

    Parameters
    ----------
    k : int
        Near is as near as the k-th nearest other seen picture.
    """

    k: int = pydantic.Field(5, ge=1)

    def least(self, n_dims: int) -> int:
        return max(50, 10 * self.k)

    def of_sets(self, seen, painted):
        return set_coverage(seen, painted, self.k)

    def expected(self, seen, n_painted):
        i = np.arange(1, self.k + 1)
        return float(1 - ((len(seen) - i) / (len(seen) + n_painted - i)).prod())
