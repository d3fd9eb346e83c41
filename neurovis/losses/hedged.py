"""Contrastive loss in which the tower also says how sure it is of each row.

A second head gives the spread of a row; its inverse multiplies the row's cosines. This is the
posterior over images under a von Mises-Fisher density around the prediction, whose normaliser cancels
in a softmax over images, so the loss is a likelihood: a row is sure where that pays, and its
probabilities are calibrated as far as training generalises (a temperature is refitted on validation).
Sampled embeddings (HIB) need many draws and a second calibration to say the same. Image-to-brain the
normaliser would not cancel, so rows share one scale there.

References: Kirchhof et al. 2023, arXiv 2302.02865 (concentration per input); Guo et al. 2017, arXiv
1706.04599 (temperature); Oh et al. 2019, arXiv 1810.00319 (HIB).
"""

from __future__ import annotations

from typing import Any, ClassVar

from neurovis.errors import NeurovisError
from neurovis.losses.base import full, same_image, unit_pairs
from neurovis.losses.contrastive import Clip, held, log_scale, one_direction


class Hedged(Clip, name="hedged"):
    """`clip` with a temperature per row, said by ``<target>@spread`` (row, 1): its logarithm.

    Parameters
    ----------
    temperature : float
        At the start, where all spreads are 1.
    learn_temperature : bool
    max_scale : float
        Largest inverse temperature of a row of spread 1.
    direction : float
        Weight of brain-to-image.
    """

    takes_mixed: ClassVar[bool] = False

    @property
    def spread(self) -> bool:
        return True

    def build(self) -> Any:
        """Build the torch module."""
        import torch

        from neurovis.decoder import SPREAD

        config = self

        class Unsure(torch.nn.Module):
            """See `Hedged`."""

            def __init__(self):
                super().__init__()
                self.log_scale = log_scale(config.temperature, config.learn_temperature)

            def forward(self, prediction: dict, target: dict, image: Any, **_: Any) -> dict:
                scale = held(self.log_scale, config.max_scale)
                same = same_image(image)
                total, n_targets = 0.0, 0
                for name, brain, seen in unit_pairs(prediction, target):
                    if name + SPREAD not in prediction:
                        raise NeurovisError(
                            f"loss hedged: expected a head {name + SPREAD}, found "
                            f"{', '.join(prediction)}; build the decoder with spread=True."
                        )
                    logits = scale * brain @ seen.T
                    sure = (-full(prediction[name + SPREAD])).exp()
                    forth = one_direction(sure * logits, same)
                    back = one_direction(logits.T, same)
                    total = total + config.direction * forth + (1 - config.direction) * back
                    n_targets += 1
                total = total / n_targets
                return {"loss": total, "contrastive": total.detach()}

        return Unsure()
