"""Diversity: whether painted pictures differ from each other as much as the seen ones do."""

from __future__ import annotations

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.metrics.pairs import FLAT
from neurovis.metrics.picture import SetMetric


def spread(features: np.ndarray) -> float:
    """Mean correlation distance between two different rows; rows without variation differ from all."""
    x = np.asarray(features, np.float64)
    varied = np.ptp(x, axis=1, keepdims=True) > FLAT * np.abs(x).max(axis=1, keepdims=True)
    x = x - x.mean(axis=1, keepdims=True)
    length = np.linalg.norm(x, axis=1, keepdims=True) * varied
    unit = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    n = len(unit)
    return float(1 - ((unit.sum(axis=0) ** 2).sum() - (unit**2).sum()) / (n * (n - 1)))


class Diversity(SetMetric, name="diversity"):
    """Mean distance between painted pictures over that between seen ones (higher is better, chance see `expected`).

    Below 1, painted pictures resemble each other more than seen ones do: the mark of a painter who says
    the same of everything. It asks nothing about being right; 1 is what the seen pictures have.
    """

    def of_sets(self, seen, painted):
        whole = spread(seen)
        if whole < FLAT:
            raise NeurovisError(
                "diversity: expected seen pictures that differ, found features all alike; use another "
                "encoder."
            )
        return spread(painted) / whole

    def expected(self, seen, n_painted):
        return 1.0
