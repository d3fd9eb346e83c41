"""Two-way identification of painted pictures by features, exactly over all pairs, ties lost.

The published number has two readings. Code compares the painted picture's features with those of its own
and of another seen picture (per reconstruction); some papers' text compares the seen picture's features
with those of its own and of another painted picture (per seen). Both are here, the direction in the name.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.metrics.pairs import Pairs
from neurovis.metrics.picture import FeatureMetric


def per_reconstruction(pairs: Pairs) -> np.ndarray:
    """Share of the other seen pictures that correlate less with the painted one than its own does.

    Parameters
    ----------
    pairs : Pairs

    Returns
    -------
    array (row,)
        Strictly less; divisor N - 1.

    References
    ----------
    The code behind Ozcelik and VanRullen 2023 (doi:10.1038/s41598-023-42891-8) and arXiv 2403.11207.
    """
    n = len(pairs.seen)
    _several(n, "seen pictures")
    credit = np.empty(len(pairs.painted))
    for rows, similarity in pairs.similarities(centre=True):
        true = np.take_along_axis(similarity, pairs.shown[rows][:, None], axis=1)
        credit[rows] = (similarity < true).sum(axis=1) / (n - 1)
    return credit


def per_seen(pairs: Pairs) -> np.ndarray:
    """Share of painted pictures of other images that correlate less with the seen one than its own does.

    Parameters
    ----------
    pairs : Pairs
        Rows are compared within their group.

    Returns
    -------
    array (row,)
        Strictly less; divisor the number of the group's rows of other images.

    References
    ----------
    arXiv 2403.11207, appendix A.9 (its text)
    """
    n, shown, group = len(pairs.painted), pairs.shown, pairs.group
    true, below = np.empty(n, np.float32), np.zeros(n)
    for rows, similarity in pairs.similarities(centre=True):
        true[rows] = similarity[np.arange(len(rows)), shown[rows]]
    others = np.zeros(n)
    step = max(1, 2**24 // n)
    for rows, similarity in pairs.similarities(centre=True):
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            rival = (shown[some][:, None] != shown) & (group[some][:, None] == group)
            below += (rival & (similarity[start : start + step][:, shown] < true)).sum(axis=0)
            others += rival.sum(axis=0)
    _several(int(others.min()) + 1, "images in each group of rows")
    return below / others


def _several(n: int, what: str) -> None:
    if n < 2:
        raise NeurovisError(
            f"two_way: expected two {what} or more, found {n}; paint pictures of more images."
        )


class TwoWay(FeatureMetric, name="two_way"):
    """Share of wrong pictures that fit worse than the right one (higher is better, chance 1/2).

    Parameters
    ----------
    direction : {"reconstruction", "seen"}
        ``reconstruction``: the right and a wrong seen picture for each painted one. ``seen``: the right
        and a wrong painted picture for each seen one.
    """

    direction: Literal["reconstruction", "seen"] = "reconstruction"

    @property
    def label(self) -> str:
        return f"2-way per {self.direction}"

    def title(self, n_gallery: int) -> str:
        return f"{self.label} of {n_gallery}"

    def chance(self, n_gallery: int) -> float:
        return 0.5

    def step(self, n_gallery: int) -> float:
        return 1 / (n_gallery - 1)

    def values(self, pairs):
        return (per_seen if self.direction == "seen" else per_reconstruction)(pairs)
