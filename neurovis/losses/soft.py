"""SoftCLIP: the cosines among the images themselves say how much each other image is a positive.

The teacher is the softmax over a batch of the cosines between frozen embeddings, the student that of
the cosines between prediction and embedding; the loss is their cross-entropy, both ways. Its floor is
the teacher's entropy. Every image counts once, however often it is in the batch: brain-to-image its
equal columns share one place, image-to-brain its rows answer together by their mean similarity, so
that they never compete. Where all images differ the loss is MindEye's.

Reference: Scotti et al. 2023, arXiv 2305.18274 (temperature from 0.004 to 0.0075 along a cosine).
"""

from __future__ import annotations

import math
from typing import Any

import pydantic

from neurovis.losses.base import Loss, full, same_image, unit_pairs


class SoftClip(Loss, name="soft_clip"):
    """Cross-entropy between similarities of predictions and similarities among images.

    Parameters
    ----------
    start, end : float
        Temperature of the student at the start and the end of training.
    teacher : float, optional
        Temperature of the teacher; the student's if None.
    direction : float
        Weight of brain-to-image.
    """

    start: pydantic.PositiveFloat = 0.004
    end: pydantic.PositiveFloat = 0.0075
    teacher: pydantic.PositiveFloat | None = None
    direction: float = pydantic.Field(0.5, ge=0, le=1)

    def temperature(self, done: float) -> float:
        """Temperature of the student after a share of training: from start to end along a cosine."""
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * done)) / 2

    def build(self) -> Any:
        """Build the torch module."""
        import torch
        from torch.nn import functional

        config = self

        class Soft(torch.nn.Module):
            """See `SoftClip`."""

            def forward(
                self, prediction: dict, target: dict, image: Any, done: float = 1.0, **_: Any
            ) -> dict:
                temperature = config.temperature(done)
                same = same_image(image)
                n = same.sum(1)
                total, n_targets = 0.0, 0
                for name, brain, seen in unit_pairs(prediction, target):
                    truth = functional.normalize(full(target[name]), dim=1)
                    guide = truth @ truth.T / (config.teacher or temperature)
                    logits = brain @ seen.T / temperature
                    together = same.to(logits) @ logits / n[:, None]
                    forth = one_way(logits, guide, n)
                    back = one_way(together.T, guide, n)
                    total = total + config.direction * forth + (1 - config.direction) * back
                    n_targets += 1
                total = total / n_targets
                return {"loss": total, "contrastive": total.detach()}

        return Soft()


def one_way(logits: Any, guide: Any, n: Any) -> Any:
    """Mean over rows of the cross-entropy between softmax(guide) and softmax(logits) over images.

    Parameters
    ----------
    logits, guide : tensor (row, column)
    n : tensor of int (column,)
        Columns of the same image, itself included.

    Returns
    -------
    tensor ()
    """
    once = n.to(logits).log()
    wanted = (guide - once).softmax(1)
    said = logits - (logits - once).logsumexp(1, keepdim=True)
    return -(wanted * said).sum(1).mean()
