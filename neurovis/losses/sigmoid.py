"""Pairwise sigmoid loss: every pair of a prediction and an image is a yes-or-no question of its own.

The sum over pairs is divided by the number of rows, as in the paper. A pair's weight is one over the
rows of its image in the batch: each image is asked about once per row, however often it is repeated.
Pairs of one image are positives, all of them. A batch of one image has positives alone.

Reference: Zhai et al. 2023, arXiv 2303.15343 (scale 10 and bias -10 at the start, both learned).
"""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic

from neurovis.losses.base import Loss, unit_pairs
from neurovis.losses.contrastive import held, log_scale, roles_of


class Sigmoid(Loss, name="sigmoid"):
    """-log sigmoid(z (scale x cosine + bias)), z = 1 for pairs of one image and -1 for others.

    Parameters
    ----------
    temperature : float
        One over the scale at the start.
    bias : float
        At the start; the paper's -10 suits its batch of 32,768. Training of some thousand steps
        cannot move it far: about -ln(batch size) is where it belongs.
    learn : bool
        Learn scale and bias.
    max_scale : float
        Largest scale.
    """

    takes_mixed: ClassVar[bool] = True

    temperature: pydantic.PositiveFloat = 0.1
    bias: float = -10.0
    learn: bool = True
    max_scale: pydantic.PositiveFloat = 100.0

    def build(self) -> Any:
        """Build the torch module."""
        import torch
        from torch.nn import functional

        config = self

        class Pairs(torch.nn.Module):
            """See `Sigmoid`."""

            def __init__(self):
                super().__init__()
                self.log_scale = log_scale(config.temperature, config.learn)
                self.bias = torch.nn.Parameter(
                    torch.tensor(config.bias), requires_grad=config.learn
                )

            def forward(
                self, prediction: dict, target: dict, image: Any, mixed: Any = None, **_: Any
            ) -> dict:
                scale = held(self.log_scale, config.max_scale)
                (own, share), *others = roles_of(image, mixed)
                yes = own.to(self.bias)
                if share is not None:
                    ((partner, rest),) = others
                    yes = yes * share + partner * rest
                n = own.sum(1)
                total, n_targets = 0.0, 0
                for _, brain, seen in unit_pairs(prediction, target):
                    logits = scale * brain @ seen.T + self.bias
                    # a mixed pair is a share of a yes and a share of a no
                    per_pair = yes * functional.softplus(-logits)
                    per_pair = per_pair + (1 - yes) * functional.softplus(logits)
                    total = total + (per_pair / n).sum(1).mean()
                    n_targets += 1
                total = total / n_targets
                return {"loss": total, "contrastive": total.detach()}

        return Pairs()
