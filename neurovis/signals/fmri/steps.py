"""Options of fMRI preprocessing.

Comes in: YAML or words of the command line. Goes out: one frozen record, checked as a whole. Defaults
are the clean ones: whatever is learned comes from training trials, `learn` alone departs from it.
"""

from __future__ import annotations

from typing import Literal

import pydantic

from neurovis.config import Config
from neurovis.errors import UsageError

Hrf = Literal[
    "spm", "spm + derivative", "spm + derivative + dispersion",
    "glover", "glover + derivative", "glover + derivative + dispersion",
]  # fmt: skip


class FmriSteps(Config):
    """From BOLD runs, or from betas that others made, to trials.

    Parameters
    ----------
    roi : tuple of str
        Voxels of any of these regions; ``-NAME`` leaves a region out. Empty: the whole mask.
    n_voxels : int, optional
        Keep this many voxels, the most reliable over repeats of training images.
    reliability : float, optional
        Keep voxels at least so reliable (one-way intraclass correlation, over repeats of training
        images).
    standardise : {"run", "session", "subject", "none"}
        z-score each voxel within this.
    learn : {"training", "all"}
        Which trials means and SDs come from; ``all`` looks at test trials, too (transductive).
    hrf : str
        Haemodynamic response of the first-level model; derivatives become regressors of their own.
    high_pass : float or None, Hz
        Drifts slower than this go into the model.
    drift : {"cosine", "polynomial", "none"}
    drift_order : int
        Of the polynomial.
    confounds : tuple of str
        Columns of the confounds table that go into the model; ``*`` stands for any text.
    noise : {"ols", "ar1"}
    method : {"lsa", "lss"}
        Least squares, all trials in one model, or one model per trial with the others summed.
    value : {"percent", "t", "raw"}
        Betas in percent of the run's mean signal, divided by their standard error, or as they are.
    slice_time_ref : float
        Fraction of the TR at which volumes are taken to be recorded.
    merge : float, optional, s
        Events of one stimulus that follow within this are one block, and one trial.
    window : (float, float), optional, s
        Volumes from and to these times after the event instead of betas (``tmin``, ``tmax``).
    """

    roi: tuple[str, ...] = ()
    n_voxels: int | None = pydantic.Field(None, ge=1)
    reliability: float | None = pydantic.Field(None, ge=-1, le=1)
    standardise: Literal["run", "session", "subject", "none"] = "run"
    learn: Literal["training", "all"] = "training"
    hrf: Hrf = "glover"
    high_pass: float | None = pydantic.Field(0.01, gt=0)
    drift: Literal["cosine", "polynomial", "none"] = "cosine"
    drift_order: int = pydantic.Field(1, ge=0)
    confounds: tuple[str, ...] = ()
    noise: Literal["ols", "ar1"] = "ols"
    method: Literal["lsa", "lss"] = "lsa"
    value: Literal["percent", "t", "raw"] = "percent"
    slice_time_ref: float = pydantic.Field(0.5, ge=0, le=1)
    merge: float | None = pydantic.Field(None, ge=0)
    window: tuple[float, float] | None = None

    @pydantic.model_validator(mode="after")
    def _fit_together(self) -> FmriSteps:
        if self.window is not None and not self.window[0] < self.window[1]:
            raise UsageError(
                f"FmriSteps.window: expected a start before its end, found {self.window} s; swap them."
            )
        if self.drift == "cosine" and self.high_pass is None:
            raise UsageError(
                "FmriSteps.high_pass: expected a frequency (Hz) for cosine drifts, found none; set it, "
                "or drift=none."
            )
        if self.method == "lss" and (self.noise == "ar1" or "+" in self.hrf):
            raise UsageError(
                "FmriSteps.method: lss goes with noise=ols and an hrf without derivatives, found "
                f"noise={self.noise} and hrf={self.hrf}; use method=lsa for these."
            )
        return self

    @property
    def learns(self) -> bool:
        """Whether anything depends on which trials are training."""
        selects = self.n_voxels is not None or self.reliability is not None
        return selects or (self.standardise != "none" and self.learn == "training")
