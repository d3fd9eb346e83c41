"""Banded ridge regression: each family of features has a penalty of its own, for every target.

Comes in: one or several families. Goes out: a linear map whose shares and penalty were chosen, target by
target, on validation images or by folds. With one family it is ridge regression.

References: Nunez-Elizalde, Huth & Gallant 2019, doi:10.1016/j.neuroimage.2019.04.012; Dupré la Tour
et al. 2022, doi:10.1016/j.neuroimage.2022.119728.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pydantic

from neurovis.encode.evidence import log_evidence
from neurovis.encode.readouts.base import Fitted, Problem, Readout
from neurovis.encode.solve import Solution, folds_of, learn, simplex, solve


class BandedRidge(Readout, name="banded_ridge"):
    """Ridge regression with a penalty per family of features.

    Parameters
    ----------
    choose : {"validation"} or int
        What shares and penalties are chosen by: the split's validation images, after which weights
        are learned from training and validation images together; or so many folds of all of
        these, which keep concepts whole.
    n_draws : int
        Points of the simplex tried besides its centre and its corners.
    concentration : float
        Of the Dirichlet distribution they are drawn from; below 1 prefers a few families.
    log10_low, log10_high : float
        Range of penalties, relative to the mean eigenvalue of the kernel of training images.
    n_penalties : int
    seed : int
        Of draws and folds.
    """

    joins: ClassVar[bool] = True
    choose: Literal["validation"] | int = pydantic.Field("validation")
    n_draws: pydantic.NonNegativeInt = 17
    concentration: pydantic.PositiveFloat = 0.7
    log10_low: float = -3.0
    log10_high: float = 4.0
    n_penalties: pydantic.PositiveInt = 15
    seed: int = 0

    @pydantic.field_validator("choose")
    @classmethod
    def _enough(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 2:
            raise ValueError("expected validation, or two folds or more")
        return value

    def fit(self, problem: Problem) -> Fitted:
        """Solve for all targets, in blocks."""
        import torch

        sources = problem.sources
        scaled = {name: source.scaling(problem.image) for name, source in sources.items()}
        bands = [scaled[name](source.vectors(problem.image)) for name, source in sources.items()]
        if self.choose == "validation":
            folds = [(problem.train, problem.held)]
        else:
            folds = folds_of(problem.concept, self.choose, self.seed)
        penalties = np.logspace(self.log10_low, self.log10_high, self.n_penalties)
        found = solve(
            bands,
            problem.y,
            folds,
            self._shares(len(bands)),
            penalties,
            problem.device,
            problem.quiet,
        )
        cuts = np.cumsum([one.shape[1] for one in bands])[:-1]
        coefs = dict(zip(sources, np.split(found.coef, cuts)))

        def parts(images: Sequence[str]) -> dict[str, np.ndarray]:
            return {n: scaled[n](sources[n].vectors(images)) @ coefs[n] for n in sources}

        def predict(images: Sequence[str]) -> np.ndarray:
            return sum(parts(images).values()) + found.intercept

        def gradient(vector: torch.Tensor) -> torch.Tensor:
            (name,) = sources
            coef = torch.from_numpy(coefs[name])
            return scaled[name].of_tensor(vector) @ coef + torch.from_numpy(found.intercept)

        explained = 1 - found.error / np.maximum(found.variance, 1e-30)
        per_target = {"share": found.share, "penalty": found.penalty}
        per_target["explained_in_validation"] = np.where(found.variance > 0, explained, 0.0)
        if len(bands) == 1:
            per_target["log_evidence"] = log_evidence(
                bands[0], problem.y, penalties, problem.device
            )
        tensors = {f"coef.{name}": torch.from_numpy(coef) for name, coef in coefs.items()}
        tensors["intercept"] = torch.from_numpy(found.intercept)
        held = None
        if problem.hold and len(problem.held):
            held = self._held(problem, bands, found)
        return Fitted(
            predict, parts, per_target, tensors, held, gradient if len(sources) == 1 else None
        )

    def _held(self, problem: Problem, bands: list[np.ndarray], found: Solution) -> np.ndarray:
        """What is said of validation rows by weights, shares and penalties that did not see them.

        Penalties that were chosen on the very rows would make thousands of targets look a little better.
        """
        train = problem.train
        some, y = [b[train] for b in bands], problem.y[train]
        n_folds = min(6, len(np.unique(problem.concept[train])))
        if n_folds > 1:
            fold = folds_of(problem.concept[train], n_folds, self.seed)[:1]
            penalties = np.logspace(self.log10_low, self.log10_high, self.n_penalties)
            inner = solve(some, y, fold, self._shares(len(bands)), penalties, problem.device, problem.quiet)  # fmt: skip
            coef, intercept = inner.coef, inner.intercept
        else:
            coef, intercept = learn(some, y, found, problem.device)
        return np.concatenate([b[problem.held] for b in bands], 1) @ coef + intercept

    def _shares(self, n_bands: int) -> np.ndarray:
        return simplex(n_bands, self.n_draws, self.concentration, self.seed)
