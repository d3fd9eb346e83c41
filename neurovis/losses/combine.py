"""Sums of losses, the contrastive + regression mix of the first core paper, and losses in turn.

A sum mixes signals where one of its parts asks for it; parts that cannot take mixed signals are then
refused.

Reference: Benchetrit, Banville & King 2024, arXiv 2310.19812: weight x contrastive
+ (1 - weight) x MSE.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pydantic

from neurovis.errors import UsageError
from neurovis.losses.base import Loss, Mix


class Combined(Loss):
    """What losses made of losses share."""

    @property
    def weighted(self) -> list[tuple[Loss, float]]:
        """Parts that count, with their weights."""
        raise NotImplementedError

    @property
    def mixes(self) -> bool:
        return any(part.mixes for part, _ in self.weighted)

    @property
    def takes_mixed(self) -> bool:
        return all(part.takes_mixed for part, _ in self.weighted)

    @property
    def compares(self) -> bool:
        return any(part.compares for part, _ in self.weighted)

    @property
    def spread(self) -> bool:
        return any(part.spread for part, _ in self.weighted)


class WeightedSum(Combined):
    """Parts that are computed on the same batch and added."""

    @pydantic.model_validator(mode="after")
    def _all_take_mixed(self) -> WeightedSum:
        parts = [part for part, _ in self.weighted]
        for asking in (part for part in parts if part.mixes):
            refusing = [p.component for p in parts if p is not asking and not p.takes_mixed]
            if refusing:
                raise UsageError(
                    f"loss {self.component}: {asking.component} mixes signals, expected parts that take "
                    f"mixed signals, found {refusing[0]}; put them one after the other with 'schedule'."
                )
        return self

    def mix(self, generator: np.random.Generator, group: np.ndarray, done: float) -> Mix | None:
        found = (part.mix(generator, group, done) for part, _ in self.weighted)
        return next((mix for mix in found if mix is not None), None)

    def build(self) -> Any:
        """Build the torch module."""
        import torch

        weights = [weight for _, weight in self.weighted]
        modules = [part.build() for part, _ in self.weighted]

        class Weighted(torch.nn.Module):
            """Weighted sum; a part of weight 0 is not computed."""

            def __init__(self):
                super().__init__()
                self.modules_ = torch.nn.ModuleList(modules)

            def forward(self, *batch: Any, **about: Any) -> dict:
                total, parts = 0.0, {}
                for module, weight in zip(self.modules_, weights):
                    result = module(*batch, **about)
                    total = total + weight * result.pop("loss")
                    parts |= result
                return {"loss": total, **parts}

        return Weighted()


class Sum(WeightedSum, name="sum"):
    """Weighted sum of losses.

    Parameters
    ----------
    parts : list of Loss
    weights : list of float
        One per part.
    """

    parts: tuple[Loss, ...] = ("clip", "mse")
    weights: tuple[float, ...] = (1.0, 1.0)

    @pydantic.model_validator(mode="after")
    def _one_weight_per_part(self) -> Sum:
        if len(self.parts) != len(self.weights) or not any(self.weights):
            raise UsageError(
                f"loss sum: expected one weight per part, not all 0, found {len(self.parts)} parts and "
                f"weights {self.weights}."
            )
        return self

    @property
    def weighted(self) -> list[tuple[Loss, float]]:
        return [(part, weight) for part, weight in zip(self.parts, self.weights) if weight]


class ClipMse(WeightedSum, name="clip_mse"):
    """``weight`` x contrastive + (1 - ``weight``) x MSE.

    Parameters
    ----------
    weight : float
        Share of the contrastive part; 1 and 0 are the pure losses.
    clip, mse : Loss
        The two parts.
    """

    weight: float = pydantic.Field(0.75, ge=0, le=1)
    clip: Loss = "clip"
    mse: Loss = "mse"

    @property
    def weighted(self) -> list[tuple[Loss, float]]:
        pairs = [(self.clip, self.weight), (self.mse, 1 - self.weight)]
        return [(part, weight) for part, weight in pairs if weight]


class Schedule(Combined, name="schedule"):
    """One loss after the other; each sees its own part of training as the whole.

    The default is MindEye's (arXiv 2305.18274): contrastive on mixed signals in the first third, then
    soft targets. Validation uses the last loss throughout, so that epochs compare and early stopping
    chooses by what training ends with.

    Parameters
    ----------
    parts : list of Loss
    until : list of float
        Share of training at which each part but the last ends, rising.
    """

    parts: tuple[Loss, ...] = ("mixco", "soft_clip")
    until: tuple[float, ...] = (1 / 3,)

    @pydantic.model_validator(mode="after")
    def _ends_rise(self) -> Schedule:
        ends = (0.0, *self.until, 1.0)
        if len(self.parts) != len(self.until) + 1 or any(a >= b for a, b in pairwise(ends)):
            raise UsageError(
                f"loss schedule: expected rising shares between 0 and 1, one fewer than the "
                f"{len(self.parts)} parts, found until={list(self.until)}."
            )
        return self

    @property
    def weighted(self) -> list[tuple[Loss, float]]:
        return [(part, 1.0) for part in self.parts]

    def at(self, done: float) -> tuple[int, float]:
        """Number of the part in use, and the share of it that is done."""
        ends = (0.0, *self.until, 1.0)
        number = sum(done >= end for end in self.until)
        begin, end = ends[number : number + 2]
        return number, (done - begin) / (end - begin)

    def mix(self, generator: np.random.Generator, group: np.ndarray, done: float) -> Mix | None:
        number, inside = self.at(done)
        return self.parts[number].mix(generator, group, inside)

    def build(self) -> Any:
        """Build the torch module."""
        import torch

        config, modules = self, [part.build() for part in self.parts]

        class InTurn(torch.nn.Module):
            """See `Schedule`."""

            def __init__(self):
                super().__init__()
                self.modules_ = torch.nn.ModuleList(modules)

            def forward(self, *batch: Any, done: float = 1.0, **about: Any) -> dict:
                number, inside = config.at(done)
                return self.modules_[number](*batch, done=inside, **about)

        return InTurn()
