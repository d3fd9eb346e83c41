"""Reconstruct, then identify: the seen picture found among all by what was painted."""

from __future__ import annotations

import numpy as np
import pydantic

from neurovis.metrics.picture import FeatureMetric
from neurovis.metrics.retrieval import place, top_credit


class Identify(FeatureMetric, name="identify"):
    """Share of painted pictures whose seen one is among the k nearest (higher is better, chance k/N).

    Nearest by cosine of embeddings, ties shared, as in retrieval: what is lost from decoding to
    painting is the difference between the two scores.

    Parameters
    ----------
    k : int
    """

    k: int = pydantic.Field(1, ge=1)

    @property
    def label(self) -> str:
        return f"top{self.k}"

    def title(self, n_gallery: int) -> str:
        return f"{self.label} of {n_gallery}"

    def fits(self, n_gallery: int) -> bool:
        return n_gallery > self.k

    def chance(self, n_gallery: int) -> float:
        return min(self.k / n_gallery, 1.0)

    def values(self, pairs):
        credit = np.empty(len(pairs.painted))
        for rows, similarity in pairs.similarities(centre=False):
            credit[rows] = top_credit(*place(similarity, pairs.shown[rows]), self.k)
        return credit
