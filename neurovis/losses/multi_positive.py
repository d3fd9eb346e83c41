"""Contrastive loss with several positives whose average is taken inside the logarithm.

Supervised contrastive learning averages over the positives of a row outside the logarithm (L_out) or
inside (L_in). Its denominators hold the other positives, so that r repeats have a floor of ln r and
push each other away. Without them L_out is `clip`: every repeat is asked for, the weakest gives most
gradient. This is L_in without them: -log(mean exp(positives) / (mean exp(positives) + sum
exp(negatives))). It asks that some repeat be found, and forgives trials that carry nothing; the floor
is 0, and where all images differ both are InfoNCE. Brain-to-image repeats have equal columns, so that
the two differ image-to-brain alone.

Reference: Khosla et al. 2020, arXiv 2004.11362 (equations 2 and 3).
"""

from __future__ import annotations

from typing import Any, ClassVar

from neurovis.losses.base import same_image, unit_pairs
from neurovis.losses.contrastive import Clip, held, log_scale


class MultiPositive(Clip, name="multi_positive"):
    """`clip` with the average over repeats inside the logarithm.

    Parameters
    ----------
    temperature : float
        At the start.
    learn_temperature : bool
    max_scale : float
        Largest inverse temperature.
    direction : float
        Weight of brain-to-image.
    """

    takes_mixed: ClassVar[bool] = False

    def build(self) -> Any:
        """Build the torch module."""
        import torch

        config = self

        class Several(torch.nn.Module):
            """See `MultiPositive`."""

            def __init__(self):
                super().__init__()
                self.log_scale = log_scale(config.temperature, config.learn_temperature)

            def forward(self, prediction: dict, target: dict, image: Any, **_: Any) -> dict:
                scale = held(self.log_scale, config.max_scale)
                same = same_image(image)
                total, n_targets = 0.0, 0
                for _, brain, seen in unit_pairs(prediction, target):
                    logits = scale * brain @ seen.T
                    forth, back = some_positive(logits, same), some_positive(logits.T, same)
                    total = total + config.direction * forth + (1 - config.direction) * back
                    n_targets += 1
                total = total / n_targets
                return {"loss": total, "contrastive": total.detach()}

        return Several()


def some_positive(logits: Any, same: Any) -> Any:
    """Mean over rows of -log p(the mean of the positives against the negatives alone).

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

    positives = logits.masked_fill(~same, -torch.inf).logsumexp(1) - same.sum(1).log()
    negatives = logits.masked_fill(same, -torch.inf).logsumexp(1)
    per_row = functional.softplus(negatives - positives)
    # a batch of one image has no negatives: its loss is 0, with no gradient
    return torch.where(torch.isfinite(negatives), per_row, torch.zeros_like(per_row)).mean()
