"""Closed-form ridge regression from epochs to embeddings, the baseline of every report.

Comes in: signals averaged per training image (row, feature = channel x time) and targets (row, dim).
Goes out: a linear map per subject whose penalty is chosen per target dimension by exact leave-one-out
on the training rows. One eigendecomposition serves all penalties: of the row kernel, or of the
features' where rows are more.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.errors import NeurovisError


class Ridge(BrainEncoder, name="ridge"):
    """Ridge regression with a leave-one-out penalty per target dimension.

    Parameters
    ----------
    log10_low, log10_high : float
        Range of penalties, relative to the mean eigenvalue of the row kernel.
    n_penalties : int
    """

    closed_form: ClassVar[bool] = True
    log10_low: float = -3.0
    log10_high: float = 4.0
    n_penalties: pydantic.PositiveInt = 15

    def build(self, shape: Shape | None = None) -> RidgeModel:
        """Build the unfitted model; the shape is taken from the data."""
        return RidgeModel(np.logspace(self.log10_low, self.log10_high, self.n_penalties))


class RidgeModel:
    """Ridge regression in its dual form, or in its primal form where rows outnumber features.

    Parameters
    ----------
    penalties : array (penalty,)
        Relative to the mean eigenvalue of the centred row kernel.

    Attributes
    ----------
    coef_ : array (feature, dim) float32
    intercept_ : array (dim,) float32
    penalty_ : array (dim,)
        The one chosen for each target dimension.
    explained_ : array (dim,)
        Share of variance explained in left-out rows.
    """

    def __init__(self, penalties: np.ndarray):
        self.penalties = np.asarray(penalties, float)

    def fit(self, signal: np.ndarray, target: np.ndarray) -> RidgeModel:
        """Fit on training rows.

        Parameters
        ----------
        signal : array (row, feature)
        target : array (row, dim)

        Raises
        ------
        NeurovisError
            If rows disagree or there are fewer than three.
        """
        if len(signal) != len(target) or len(signal) < 3:
            raise NeurovisError(
                f"ridge: expected at least 3 rows with one target each, found {len(signal)} signals "
                f"and {len(target)} targets; check the split."
            )
        signal = np.asarray(signal, np.float32).reshape(len(signal), -1)
        target = np.asarray(target, np.float64)
        mean = signal.mean(0)
        self.signal_mean_, target_mean = mean, target.mean(0)
        tall = signal.shape[1] < len(signal)
        kind = np.float64 if tall else np.float32
        x, y = (signal - mean).astype(kind, copy=False), target - target_mean
        # the kernel of rows or that of features, whichever is smaller, has the eigenvalues of both
        value, vector = np.linalg.eigh((x.T @ x if tall else x @ x.T).astype(np.float64))
        value = np.clip(value, 0, None)
        if tall:
            keep = value > 1e-12 * value[-1]
            value = value[keep]
            vector = x @ (vector[:, keep] / np.sqrt(value))
        scale = value.sum() / len(y) or 1.0
        rotated = vector.T @ y
        # leave-one-out residual of row i is r_i / (1 - H_ii), with the mean's share 1/n in H
        error = np.empty((len(self.penalties), y.shape[1]))
        for i, penalty in enumerate(self.penalties * scale):
            shrink = value / (value + penalty)
            hat = (vector**2) @ shrink + 1 / len(y)
            residual = y - vector @ (shrink[:, None] * rotated)
            error[i] = ((residual / np.maximum(1 - hat, 1e-6)[:, None]) ** 2).mean(0)
        self.penalty_ = self.penalties[error.argmin(0)]
        variance = np.maximum((y**2).mean(0), 1e-12)
        self.explained_ = 1 - error.min(0) / variance
        dual = rotated / (value[:, None] + self.penalty_[None] * scale)
        self.coef_ = (x.T @ (vector @ dual).astype(kind)).astype(np.float32, copy=False)
        self.intercept_ = (target_mean - mean @ self.coef_).astype(np.float32)
        return self

    def predict(self, signal: np.ndarray) -> np.ndarray:
        """Predict targets: array (row, dim) float32."""
        return (
            np.asarray(signal, np.float32).reshape(len(signal), -1) @ self.coef_ + self.intercept_
        )

    def tensors(self) -> dict[str, Any]:
        """Weights as torch tensors, for safetensors."""
        import torch

        return {
            "coef": torch.from_numpy(self.coef_),
            "intercept": torch.from_numpy(self.intercept_),
        }
