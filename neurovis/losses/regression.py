"""Regression losses: mean squared error and cosine distance between prediction and embedding.

They read the regression head of a tower where it has one (``<target>@regression``), else its only head.
"""

from __future__ import annotations

from typing import Any

from neurovis.brain.base import REGRESSION
from neurovis.losses.base import Loss


class Mse(Loss, name="mse"):
    """Mean squared error over target dimensions."""

    def build(self) -> Any:
        """Build the torch module."""
        from torch.nn import functional

        return _pairwise("mse", functional.mse_loss)


class Cosine(Loss, name="cosine"):
    """One minus the cosine similarity."""

    def build(self) -> Any:
        """Build the torch module."""
        from torch.nn import functional

        return _pairwise("cosine", lambda a, b: 1 - functional.cosine_similarity(a, b).mean())


def _pairwise(part: str, distance: Any) -> Any:
    import torch

    class Pairwise(torch.nn.Module):
        """Mean of a distance over targets."""

        def forward(self, prediction: dict, target: dict, image: Any) -> dict:
            names = [name for name in target if "@" not in name]
            heads = {k: prediction.get(k + REGRESSION, prediction[k]).float() for k in names}
            total = sum(distance(heads[k], target[k].float()) for k in names) / len(names)
            return {"loss": total, part: total.detach()}

    return Pairwise()
