"""Distance of a painted picture's features from those of the seen one."""

from __future__ import annotations

from typing import ClassVar

from neurovis.metrics.picture import FeatureMetric


class CorrelationDistance(FeatureMetric, name="correlation_distance"):
    """One minus the correlation of both pictures' features (lower is better, chance that of wrong pairs).

    Features that are all alike correlate with nothing: distance 1.

    References
    ----------
    EfficientNet and SwAV distances of Ozcelik and VanRullen 2023, doi:10.1038/s41598-023-42891-8.
    """

    higher_is_better: ClassVar[bool] = False
    measured_chance: ClassVar[bool] = True
    bounded: ClassVar[bool] = False

    @property
    def label(self) -> str:
        return "distance"

    def values(self, pairs):
        return 1 - pairs.matched()

    def mismatched(self, pairs):
        return 1 - pairs.mismatched()
