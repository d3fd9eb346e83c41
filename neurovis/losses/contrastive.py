"""Symmetric contrastive loss with a learned, clamped temperature, aware of repeated images.

Plain InfoNCE over a batch in which every image appears r times has a floor of ln r, because the other
repeats count as negatives. Here each positive is compared with the negatives alone: the floor is 0,
and where all images differ the loss is InfoNCE itself.

References: Radford et al. 2021, arXiv 2103.00020 (symmetric form, temperature); Zhang et al. 2022,
arXiv 2010.00747 (direction weight); Khosla et al. 2020, arXiv 2004.11362 (several positives).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import pydantic

from neurovis.config import added
from neurovis.losses.base import Loss, same_image, unit_pairs


class Clip(Loss, name="clip"):
    """Symmetric contrastive loss on cosine similarities.

    Parameters
    ----------
    temperature : float
        At the start; CLIP's 0.07.
    learn_temperature : bool
    max_scale : float
        Largest inverse temperature; CLIP's 100.
    direction : float
        Weight of brain-to-image; the rest goes to image-to-brain.
    brain_length : {"unit", "own"}
        Own: similarities are dot products of the tower's vector, as long as it is, with a unit vector of
        the image, as in the code of arXiv 2403.07721, 2503.04207 and 2511.06836. Image-to-brain then
        depends on it; retrieval by cosine does not.
    """

    takes_mixed: ClassVar[bool] = True

    temperature: pydantic.PositiveFloat = 0.07
    learn_temperature: bool = True
    max_scale: pydantic.PositiveFloat = 100.0
    direction: float = pydantic.Field(0.5, ge=0, le=1)
    brain_length: Literal["unit", "own"] = added("unit")

    def build(self) -> Any:
        """Build the torch module."""
        import torch

        config = self

        class Contrastive(torch.nn.Module):
            """See `Clip`."""

            def __init__(self):
                super().__init__()
                self.log_scale = log_scale(config.temperature, config.learn_temperature)

            def forward(
                self, prediction: dict, target: dict, image: Any, mixed: Any = None, **_: Any
            ) -> dict:
                scale = held(self.log_scale, config.max_scale)
                roles = roles_of(image, mixed)
                total, n = 0.0, 0
                for _, brain, seen in unit_pairs(prediction, target, config.brain_length == "own"):
                    logits = scale * brain @ seen.T
                    for same, weight in roles:
                        total = total + config.direction * one_direction(logits, same, weight)
                        back = one_direction(logits.T, *turned(same, weight))
                        total = total + (1 - config.direction) * back
                    n += 1
                total = total / n
                return {"loss": total, "contrastive": total.detach()}

        return Contrastive()


def log_scale(temperature: float, learn: bool) -> Any:
    """Logarithm of an inverse temperature, as a parameter."""
    import torch

    return torch.nn.Parameter(torch.tensor(math.log(1 / temperature)), requires_grad=learn)


def held(log_scale: Any, most: float) -> Any:
    """The scale, held at or below its largest value.

    Held in place: a clamp inside the graph would stop its gradient for good.
    """
    import torch

    with torch.no_grad():
        log_scale.clamp_(max=math.log(most))
    return log_scale.exp()


def roles_of(image: Any, mixed: Any) -> list[tuple[Any, Any]]:
    """Positives of a batch with the weight of each row: of its own image, and of its partner's.

    Returns
    -------
    list of (tensor of bool (row, column), tensor (row, 1) or None)
    """
    own = same_image(image)
    if mixed is None:
        return [(own, None)]
    partner, weight = (part.to(image.device) for part in mixed)
    weight = weight[:, None]
    return [(own, weight), (same_image(image, image[partner]), 1 - weight)]


def turned(same: Any, weight: Any) -> tuple[Any, Any]:
    """Positives and weights with columns as rows; without weights they are symmetric."""
    return (same, None) if weight is None else (same.T, weight.T)


def one_direction(logits: Any, same: Any, weight: Any = None) -> Any:
    """Mean over rows of -log p(positive against the negatives alone).

    Parameters
    ----------
    logits : tensor (row, column)
    same : bool tensor (row, column)
        Where row and column are the same image.
    weight : tensor (row, column), optional
        Of each pair; broadcast.

    Returns
    -------
    tensor ()
    """
    import torch
    from torch.nn import functional

    negatives = logits.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
    # a batch of one image has no negatives: its loss is 0, with no gradient
    per_pair = functional.softplus(negatives - logits)
    per_pair = torch.where(same & torch.isfinite(negatives), per_pair, torch.zeros_like(per_pair))
    if weight is not None:
        per_pair = per_pair * weight
    return (per_pair.sum(1) / same.sum(1).clamp(min=1)).mean()
