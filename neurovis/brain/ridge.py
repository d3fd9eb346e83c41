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
from neurovis.errors import NeurovisError, UsageError


class Ridge(BrainEncoder, name="ridge"):
    """Ridge regression with a leave-one-out penalty per target dimension.

    Parameters
    ----------
    log10_low, log10_high : float
        Range of penalties, relative to the mean eigenvalue of the row kernel.
    n_penalties : int
    smoothness : float, m
        Channels that lie within about this of each other are taken to have alike weights, as voxels
        of one region have: a Gaussian kernel with this standard deviation; 0 for none.
    """

    closed_form: ClassVar[bool] = True
    log10_low: float = -3.0
    log10_high: float = 4.0
    n_penalties: pydantic.PositiveInt = 15
    smoothness: float = pydantic.Field(0.0, ge=0, le=0.1)

    def build(self, shape: Shape | None = None) -> RidgeModel:
        """Build the unfitted model; of the shape only positions count, where weights are smooth."""
        penalties = np.logspace(self.log10_low, self.log10_high, self.n_penalties)
        if not self.smoothness:
            return RidgeModel(penalties)
        if shape is None or not np.isfinite(shape.channel_position).all():
            raise UsageError(
                "ridge.smoothness: expected channels with known positions, found some without; set "
                "smoothness=0."
            )
        return RidgeModel(penalties, neighbours(shape.channel_position, self.smoothness))


def neighbours(position: np.ndarray, smoothness: float) -> np.ndarray:
    """Gaussian kernel of distances (channel, channel) float32, columns of unit norm.

    Parameters
    ----------
    position : array (channel, 3), m
    smoothness : float, m
        Standard deviation.
    """
    position = np.asarray(position, np.float64) / smoothness
    square = (position**2).sum(1)
    apart = square[:, None] + square - 2 * position @ position.T
    kernel = np.exp(-apart.clip(0) / 2)
    return (kernel / np.linalg.norm(kernel, axis=0)).astype(np.float32)


def penalty_scale(value: np.ndarray, y: np.ndarray) -> float:
    """Mean eigenvalue of the row kernel, which penalties are relative to."""
    return value.sum() / len(y) or 1.0


def left_out(
    value: np.ndarray,
    vector: np.ndarray,
    rotated: np.ndarray,
    y: np.ndarray,
    penalties: np.ndarray,
    group: np.ndarray | None = None,
) -> np.ndarray:
    """Mean squared error of rows left out one by one, or group by group: array (penalty, dim).

    Parameters
    ----------
    value : array (component,)
        Eigenvalues of the centred row kernel.
    vector : array (row, component)
    rotated : array (component, dim)
        ``vector.T @ y``.
    y : array (row, dim)
        Centred targets.
    penalties : array (penalty,)
    group : array (row,), optional
        Rows that are left out together, such as several subjects' of one picture.
    """
    blocks = [] if group is None else _blocks(group)
    # leave-one-out residual of row i is r_i / (1 - H_ii), with the mean's share 1/n in H; of rows G
    # together it is (I - H_GG)^-1 r_G
    error = np.empty((len(penalties), y.shape[1]))
    for i, penalty in enumerate(penalties):
        shrink = value / (value + penalty)
        hat = (vector**2) @ shrink + 1 / len(y)
        residual = y - vector @ (shrink[:, None] * rotated)
        for rows in blocks:
            some = vector[rows]
            block = (some * shrink) @ some.transpose(0, 2, 1) + 1 / len(y)
            # as below, what a row says of itself is held under 1
            rest = (1 + 1e-6) * np.eye(rows.shape[1]) - block
            residual[rows] = np.linalg.solve(rest, residual[rows])
        if blocks:
            error[i] = (residual**2).mean(0)
            continue
        error[i] = ((residual / np.maximum(1 - hat, 1e-6)[:, None]) ** 2).mean(0)
    return error


def _blocks(group: np.ndarray) -> list[np.ndarray]:
    """Rows of each group: one array (group, row) for every size of groups."""
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    order, size = np.argsort(code, kind="stable"), size[code]
    return [order[size[order] == n].reshape(-1, n) for n in np.unique(size)]


class RidgeModel:
    """Ridge regression in its dual form, or in its primal form where rows outnumber features.

    Parameters
    ----------
    penalties : array (penalty,)
        Relative to the mean eigenvalue of the centred row kernel.
    kernel : array (channel, channel), optional
        Weights are sums of its columns, of which the penalty counts the squares: their prior
        covariance over channels is ``kernel @ kernel.T``.

    Attributes
    ----------
    coef_ : array (feature, dim) float32
    intercept_ : array (dim,) float32
        Of the control, too, where there is one.
    penalty_ : array (dim,)
        The one chosen for each target dimension.
    explained_ : array (dim,)
        Share of variance explained in left-out rows.
    """

    def __init__(self, penalties: np.ndarray, kernel: np.ndarray | None = None):
        self.penalties = np.asarray(penalties, float)
        self.kernel = kernel

    def fit(
        self,
        signal: np.ndarray,
        target: np.ndarray,
        group: np.ndarray | None = None,
        control: np.ndarray | None = None,
    ) -> RidgeModel:
        """Fit on training rows.

        Parameters
        ----------
        signal : array (row, feature)
        target : array (row, dim)
        group : array (row,), optional
            Rows that are left out together where the penalty is chosen.
        control : array (row, k * dim), optional
            Shuffled targets, fitted with the penalties that the true ones choose; predicted after
            these.

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
        signal = np.asarray(signal, np.float32)
        plain_mean = signal.mean(0).ravel()
        signal = self._through_kernel(signal).reshape(len(signal), -1)
        target = np.asarray(target, np.float64)
        mean = signal.mean(0)
        self.signal_mean_, target_mean = plain_mean, target.mean(0)
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
        scale = penalty_scale(value, y)
        rotated = vector.T @ y
        error = left_out(value, vector, rotated, y, self.penalties * scale, group)
        self.penalty_ = self.penalties[error.argmin(0)]
        variance = np.maximum((y**2).mean(0), 1e-12)
        self.explained_ = 1 - error.min(0) / variance
        penalty = self.penalty_
        if control is not None:
            control = np.asarray(control, np.float64)
            target_mean = np.concatenate([target_mean, control.mean(0)])
            rotated = np.concatenate([rotated, vector.T @ (control - control.mean(0))], axis=1)
            penalty = np.tile(penalty, 1 + control.shape[1] // len(penalty))
        dual = rotated / (value[:, None] + penalty[None] * scale)
        coef = (x.T @ (vector @ dual).astype(kind)).astype(np.float32, copy=False)
        if self.kernel is not None:
            coef = (self.kernel @ coef.reshape(len(self.kernel), -1)).reshape(coef.shape)
        self.coef_ = coef
        self.intercept_ = (target_mean - plain_mean @ self.coef_).astype(np.float32)
        return self

    def _through_kernel(self, signal: np.ndarray) -> np.ndarray:
        if self.kernel is None:
            return signal
        if signal.ndim < 2 or signal.shape[1] != len(self.kernel):
            raise NeurovisError(
                f"ridge: expected {len(self.kernel)} channels, as smoothness was set up for, found "
                f"{signal.shape[1:]}; fit the channels whose positions were given."
            )
        if signal.ndim == 2:
            return signal @ self.kernel
        return np.einsum("rct,cd->rdt", signal, self.kernel, optimize=True)

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
