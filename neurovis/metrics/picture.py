"""Metrics of painted pictures: what they compare, and how their chance is told.

Comes in: seen and painted pictures, or a network's features of both. Goes out: one value per painted
picture, or one per set. Where no formula gives chance (two unlike pictures are still somewhat alike),
the same pictures are compared with each other wrongly paired: what is left then is chance.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from neurovis.metrics.base import Metric
from neurovis.metrics.pairs import Pairs


class PictureMetric(Metric):
    """A metric of painted pictures."""

    measured_chance: ClassVar[bool] = False
    """Whether chance is measured on the pictures themselves, by pairing them wrongly."""


class PixelMetric(PictureMetric):
    """A metric of two pictures as they are, squeezed to one size.

    Parameters
    ----------
    size : int
        Pixels along a side at which pictures are compared; they go to 256 first, as all do.
    """

    measured_chance: ClassVar[bool] = True
    n_wrong: ClassVar[int] = 1
    """Wrong seen pictures that each painted one is compared with to measure chance."""

    size: int = pydantic.Field(425, ge=16)

    @property
    def label(self) -> str:
        standard = type(self).model_fields["size"].default
        return self.component + (f"-{self.size}px" if self.size != standard else "")

    def prepare(self, picture: np.ndarray) -> Any:
        """What is needed of one picture, seen or painted, to compare it with others.

        Parameters
        ----------
        picture : array (height, width, 3) uint8
        """
        raise NotImplementedError

    def compare(self, seen: Any, painted: Any) -> float:
        """Compare two prepared pictures."""
        raise NotImplementedError


class FeatureMetric(PictureMetric):
    """A metric of what an image encoder says of two pictures."""

    bounded: ClassVar[bool] = True
    """Whether values are credits between 0 and 1."""

    def title(self, n_gallery: int) -> str:
        """Name of the metric with what its chance depends on."""
        return self.label

    def fits(self, n_gallery: int) -> bool:
        """Whether it says anything among so many seen pictures."""
        return n_gallery > 1

    def step(self, n_gallery: int) -> float:
        """Smallest change of a value that stops being perfect."""
        return 1.0

    def values(self, pairs: Pairs) -> np.ndarray:
        """One value per painted picture: array (row,)."""
        raise NotImplementedError

    def mismatched(self, pairs: Pairs) -> np.ndarray:
        """What wrong pairs get, where chance is measured: array (row,)."""
        raise NotImplementedError


class SetMetric(PictureMetric):
    """A metric of all painted pictures together against all seen ones."""

    measured_chance: ClassVar[bool] = True

    def least(self, n_dims: int) -> int:
        """Pictures below which it is not computed, for features of so many dims."""
        return 50

    def of_sets(self, seen: np.ndarray, painted: np.ndarray) -> float:
        """Compare two sets of features.

        Parameters
        ----------
        seen : array (image, dim)
        painted : array (picture, dim)
        """
        raise NotImplementedError

    def expected(self, seen: np.ndarray, n_painted: int) -> float:
        """What so many pictures get that were drawn as the seen ones were: how good it can be."""
        raise NotImplementedError
