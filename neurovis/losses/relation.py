"""Relation-preserving loss: images that are alike should be predicted alike.

What is compared is the structure within a batch: similarities between predictions against those
between the images' vectors. Pairs of one image are left out: they say nothing about structure. Nothing
draws a prediction to its own image, so this is a part of a sum, not a loss by itself. Projected
vectors are compared as they are, without gradient: else the projection could make structure trivial.

References: Park et al. 2019, arXiv 1904.05068 (distance-wise relational distillation); Kriegeskorte et
al. 2008, doi:10.3389/neuro.06.004.2008 (correlation of similarity matrices).
"""

from __future__ import annotations

from typing import Any, Literal

from neurovis.losses.base import Loss, same_image, unit_pairs


class Relation(Loss, name="relation"):
    """Difference between the similarity structures of predictions and of targets.

    Parameters
    ----------
    kind : {"correlation", "distance"}
        One minus Pearson's correlation of the cosines over all pairs; or the Huber loss (delta 1)
        between distances of unit vectors, each over its mean distance.
    """

    kind: Literal["correlation", "distance"] = "correlation"

    def build(self) -> Any:
        """Build the torch module."""
        import torch

        compare = {"correlation": uncorrelated, "distance": distances_apart}[self.kind]

        class Structure(torch.nn.Module):
            """See `Relation`."""

            def forward(self, prediction: dict, target: dict, image: Any, **_: Any) -> dict:
                apart = ~same_image(image)
                total, n_targets = 0.0, 0
                for _, brain, seen in unit_pairs(prediction, target):
                    seen = seen.detach()
                    total = total + compare(brain @ brain.T, seen @ seen.T, apart)
                    n_targets += 1
                total = total / n_targets
                return {"loss": total, "relation": total.detach()}

        return Structure()


def uncorrelated(said: Any, wanted: Any, apart: Any) -> Any:
    """One minus the correlation of cosines over pairs of different images.

    0 without gradient where there are fewer than two kinds of pair.

    Parameters
    ----------
    said, wanted : tensor (row, row)
    apart : tensor of bool (row, row)

    Returns
    -------
    tensor ()
    """
    import torch

    n = apart.sum().clamp(min=1)
    parts = []
    for cosine in (said, wanted):
        centred = torch.where(apart, cosine - (cosine * apart).sum() / n, torch.zeros_like(cosine))
        parts.append((centred, (centred**2).sum()))
    (a, of_a), (b, of_b) = parts
    # rounding leaves equal cosines a variance of its own size
    least = n * torch.finfo(said.dtype).eps ** 2 * 16
    if not bool((of_a > least) & (of_b > least)):
        return 0.0 * said.sum()
    return 1 - (a * b).sum() / (of_a * of_b).sqrt()


def distances_apart(said: Any, wanted: Any, apart: Any) -> Any:
    """Huber loss between relative distances over pairs of different images.

    Parameters
    ----------
    said, wanted : tensor (row, row)
        Cosines.
    apart : tensor of bool (row, row)

    Returns
    -------
    tensor ()
    """
    import torch
    from torch.nn import functional

    n = apart.sum().clamp(min=1)
    parts = []
    for cosine in (said, wanted):
        # the root has no slope at 0, where two vectors are one
        square = (2 - 2 * cosine).clamp(min=1e-6)
        distance = torch.where(apart, square.sqrt(), torch.zeros_like(square))
        parts.append(distance / (distance.sum() / n).clamp(min=1e-6))
    return functional.huber_loss(*parts, reduction="sum") / n
