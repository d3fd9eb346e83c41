"""Sums of losses: any weighted sum, and the contrastive + regression mix of the first core paper.

Reference: Benchetrit, Banville & King 2024, arXiv 2310.19812: weight x contrastive
+ (1 - weight) x MSE.
"""

from __future__ import annotations

from typing import Any

import pydantic

from neurovis.errors import UsageError
from neurovis.losses.base import Loss


class Sum(Loss, name="sum"):
    """Weighted sum of losses.

    Parameters
    ----------
    parts : list of Loss
    weights : list of float
        One per part.
    """

    parts: tuple[Loss, ...] = ("clip", "mse")
    weights: tuple[float, ...] = (1.0, 1.0)

    @pydantic.model_validator(mode="after")
    def _one_weight_per_part(self) -> Sum:
        if len(self.parts) != len(self.weights) or not any(self.weights):
            raise UsageError(
                f"loss sum: expected one weight per part, not all 0, found {len(self.parts)} parts and "
                f"weights {self.weights}."
            )
        return self

    def build(self) -> Any:
        """Build the torch module."""
        return _weighted([part.build() for part in self.parts], self.weights)


class ClipMse(Loss, name="clip_mse"):
    """``weight`` x contrastive + (1 - ``weight``) x MSE.

    Parameters
    ----------
    weight : float
        Share of the contrastive part; 1 and 0 are the pure losses.
    clip, mse : Loss
        The two parts.
    """

    weight: float = pydantic.Field(0.75, ge=0, le=1)
    clip: Loss = "clip"
    mse: Loss = "mse"

    def build(self) -> Any:
        """Build the torch module."""
        return _weighted([self.clip.build(), self.mse.build()], (self.weight, 1 - self.weight))


def _weighted(modules: list, weights: tuple[float, ...]) -> Any:
    import torch

    class Weighted(torch.nn.Module):
        """Weighted sum; a part of weight 0 is not computed."""

        def __init__(self):
            super().__init__()
            self.modules_ = torch.nn.ModuleList(modules)

        def forward(self, prediction: dict, target: dict, image: Any) -> dict:
            total, parts = 0.0, {}
            for module, weight in zip(self.modules_, weights):
                if weight:
                    result = module(prediction, target, image)
                    total = total + weight * result.pop("loss")
                    parts |= result
            return {"loss": total, **parts}

    return Weighted()
