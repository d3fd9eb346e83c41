"""The family of losses: predictions and targets in, named parts and their total out.

Each builds a torch module ``(prediction {head: (row, dim)}, target {target: (row, dim)}, image (row,)
int, mixed=None, done=1.0) -> {"loss": total, part: value}``. Image ids decide what is a positive: rows
of one image are never negatives of each other. ``done`` is the share of training done, for losses
that change on the way; validation keeps its default, the loss of the end, so that epochs compare.
``mixed`` is ``(partner (row,) int, weight (row,))`` where the signals were mixed (`Loss.mix`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from neurovis.config import Family

Mix = tuple[np.ndarray, np.ndarray]
"""Partner of each row, and the share of the row's own signal; the partner's is the rest."""


class Loss(Family, family="losses"):
    """A training loss."""

    mixes: ClassVar[bool] = False
    """Whether `mix` asks for mixed signals."""
    takes_mixed: ClassVar[bool] = False
    """Whether it is defined for mixed signals."""
    compares: ClassVar[bool] = True
    """Whether rows are compared with those of other images: a batch then holds two or more."""

    @property
    def spread(self) -> bool:
        """Whether it reads ``<target>@spread``, a head that says how sure the tower is of each row."""
        return False

    def mix(self, generator: np.random.Generator, group: np.ndarray, done: float) -> Mix | None:
        """Which signals of a batch to mix, before the tower sees them; None for none.

        Parameters
        ----------
        generator : numpy.random.Generator
        group : array of int (row,)
            Rows of one group may be mixed with each other: one subject's, and one part of the
            training images where a tower is cross-fitted.
        done : float
            Share of training done.
        """
        return None

    def build(self) -> Any:
        """Build the torch module."""
        raise NotImplementedError


def mix_signals(signal: np.ndarray, mix: Mix | None) -> np.ndarray:
    """Weighted sums of each signal and its partner's: array (row, channel, time) float32."""
    if mix is None:
        return signal
    partner, weight = mix
    weight = weight.astype(np.float32)[:, None, None]
    return weight * signal + (1 - weight) * signal[partner]


def full(value: Any) -> Any:
    """Half precision as float32; others as they are."""
    return value.float() if value.element_size() < 4 else value


def unit_pairs(
    prediction: dict, target: dict, own_length: bool = False
) -> Iterator[tuple[str, Any, Any]]:
    """Name of each target, with unit vectors of brain and image: tensors (row, dim).

    The image's are projected where the decoder learns a projection. With ``own_length`` the brain's keep
    the length that the tower gives them.
    """
    from torch.nn import functional

    from neurovis.decoder import PROJECTED

    for name in target:
        if "@" not in name:
            truth = target.get(name + PROJECTED, target[name])
            brain = full(prediction[name])
            brain = brain if own_length else functional.normalize(brain, dim=1)
            yield name, brain, functional.normalize(full(truth), dim=1)


def same_image(image: Any, other: Any = None) -> Any:
    """Where two rows are of one image: tensor of bool (row, row)."""
    return (image if other is None else other)[:, None] == image[None, :]
