"""MixCo in both directions: contrastive on signals that were mixed within the batch.

A mixed signal w a + (1 - w) b is drawn to the image of a with weight w and to that of b with 1 - w.
Both compete, as published, because the ratio is what is learned; rows that hold an image in the same
role (as a, or as b) are never negatives of each other, and where images differ and partners are a
permutation the loss is BiMixCo itself. Validation is not mixed.

References: Kim et al. 2020, arXiv 2010.06300 (MixCo); Scotti et al. 2023, arXiv 2305.18274 (BiMixCo).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pydantic

from neurovis.losses.base import Mix
from neurovis.losses.contrastive import Clip


class Mixco(Clip, name="mixco"):
    """`clip` on mixed signals; the defaults are MindEye's.

    Parameters
    ----------
    temperature : float
        MindEye's 0.006, for CLIP's last hidden layer; towers and targets of fewer dims want more.
    learn_temperature : bool
    max_scale : float
        Largest inverse temperature.
    direction : float
        Weight of brain-to-image.
    brain_length : {"unit", "own"}
        As in `Clip`.
    beta : float
        Own shares are drawn from Beta(beta, beta).
    share : float
        Share of the rows that are mixed.
    """

    mixes: ClassVar[bool] = True

    temperature: pydantic.PositiveFloat = 0.006
    learn_temperature: bool = False
    max_scale: pydantic.PositiveFloat = 250.0
    beta: pydantic.PositiveFloat = 0.15
    share: float = pydantic.Field(0.5, ge=0, le=1)

    def mix(self, generator: np.random.Generator, group: np.ndarray, done: float) -> Mix | None:
        n = len(group)
        partner = np.arange(n)
        for one in np.unique(group):
            rows = np.flatnonzero(group == one)
            partner[rows] = generator.permutation(rows)
        weight = generator.beta(self.beta, self.beta, n)
        weight[generator.random(n) > self.share] = 1.0
        return partner, weight.astype(np.float32)
