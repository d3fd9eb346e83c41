"""Regression losses: mean squared error and cosine distance between prediction and embedding.

They read the regression head of a tower where it has one (``<target>@regression``), else its only head.
A mixed signal is drawn to the same mixture of the two images' vectors: for squared errors this has the
gradient of the mixture of both errors.
"""

from __future__ import annotations

from typing import Any, ClassVar

from neurovis.brain.base import REGRESSION
from neurovis.losses.base import Loss, full


class Mse(Loss, name="mse"):
    """Mean squared error over target dimensions."""

    takes_mixed: ClassVar[bool] = True
    compares: ClassVar[bool] = False

    def build(self) -> Any:
        """Build the torch module."""
        from torch.nn import functional

        return _pairwise("mse", functional.mse_loss)


class Cosine(Loss, name="cosine"):
    """One minus the cosine similarity."""

    takes_mixed: ClassVar[bool] = True
    compares: ClassVar[bool] = False

    def build(self) -> Any:
        """Build the torch module."""
        from torch.nn import functional

        return _pairwise("cosine", lambda a, b: 1 - functional.cosine_similarity(a, b).mean())


def _pairwise(part: str, distance: Any) -> Any:
    import torch

    class Pairwise(torch.nn.Module):
        """Mean of a distance over targets."""

        def forward(
            self, prediction: dict, target: dict, image: Any, mixed: Any = None, **_: Any
        ) -> dict:
            names = [name for name in target if "@" not in name]
            heads = {k: full(prediction.get(k + REGRESSION, prediction[k])) for k in names}
            wanted = {k: _mixture(full(target[k]), mixed) for k in names}
            total = sum(distance(heads[k], wanted[k]) for k in names) / len(names)
            return {"loss": total, part: total.detach()}

    return Pairwise()


def _mixture(vector: Any, mixed: Any) -> Any:
    if mixed is None:
        return vector
    partner, weight = (part.to(vector.device) for part in mixed)
    return weight[:, None] * vector + (1 - weight[:, None]) * vector[partner]
