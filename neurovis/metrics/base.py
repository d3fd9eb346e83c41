"""Metrics: pure numpy functions, and a thin component for each so that it can be listed and named.

Comes in: similarities between predictions (rows) and a gallery, and which item each row is of. Goes
out: one credit per row, which `neurovis.evaluate` turns into a `Score` with chance and interval. The
function is the metric; the component only adds its options, chance level and direction.
"""

from __future__ import annotations

from typing import ClassVar

from neurovis.config import Family


class Metric(Family, family="metrics"):
    """Root of the metrics.

    The first line of a component's docstring says its direction and its chance level in N, the size of
    the gallery: it is what ``neurovis list metrics`` shows.
    """

    higher_is_better: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """Name of the metric with its options, such as ``top5``."""
        return self.component

    def chance(self, n_gallery: int) -> float:
        """Value expected of a predictor that knows nothing, for a gallery of this size."""
        raise NotImplementedError
