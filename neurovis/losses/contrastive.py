"""Symmetric contrastive loss with a learned, clamped temperature, aware of repeated images.

Plain InfoNCE over a batch in which every image appears r times has a floor of ln r, because the other
repeats count as negatives. Here each positive is compared with the negatives alone: the floor is 0,
and where all images differ the loss is InfoNCE itself.

References: Radford et al. 2021, arXiv 2103.00020 (symmetric form, temperature); Zhang et al. 2022,
arXiv 2010.00747 (direction weight); Khosla et al. 2020, arXiv 2004.11362 (several positives).
"""

from __future__ import annotations

import math
from typing import Any

import pydantic

from neurovis.decoder import PROJECTED
from neurovis.losses.base import Loss


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
    """

    temperature: pydantic.PositiveFloat = 0.07
    learn_temperature: bool = True
    max_scale: pydantic.PositiveFloat = 100.0
    direction: float = pydantic.Field(0.5, ge=0, le=1)

    def build(self) -> Any:
        """Build the torch module."""
        import torch
        from torch.nn import functional

        config = self

        class Contrastive(torch.nn.Module):
            """See `Clip`."""

            def __init__(self):
                super().__init__()
                start = torch.tensor(math.log(1 / config.temperature))
                self.log_scale = torch.nn.Parameter(start, requires_grad=config.learn_temperature)

            def forward(self, prediction: dict, target: dict, image: Any) -> dict:
                # held in place: a clamp inside the graph would stop its gradient for good
                with torch.no_grad():
                    self.log_scale.clamp_(max=math.log(config.max_scale))
                scale = self.log_scale.exp()
                same = image[:, None] == image[None, :]
                total = 0.0
                names = [name for name in target if "@" not in name]
                for name in names:
                    truth = target.get(name + PROJECTED, target[name])
                    brain = functional.normalize(prediction[name].float(), dim=1)
                    seen = functional.normalize(truth.float(), dim=1)
                    logits = scale * brain @ seen.T
                    total = total + config.direction * one_direction(logits, same)
                    total = total + (1 - config.direction) * one_direction(logits.T, same)
                total = total / len(names)
                return {"loss": total, "contrastive": total.detach()}

        return Contrastive()


def one_direction(logits: Any, same: Any) -> Any:
    """Mean over rows of -log p(positive against the negatives alone).

    Parameters
    ----------
    logits : tensor (row, column)
    same : bool tensor (row, column)
        Where row and column are the same image.

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
    return (per_pair.sum(1) / same.sum(1)).mean()
