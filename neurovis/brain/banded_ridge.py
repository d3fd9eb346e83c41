"""Ridge regression whose features come in bands, each with a penalty of its own.

Comes in: signals averaged per training image (row, channel, time) and targets (row, dim). Goes out: a linear
map per subject. Channel types, regions or time windows differ in how much they say; one penalty for all
shrinks the good with the bad. Shares of the bands are drawn from the simplex; exact leave-one-out on the
training rows chooses shares and penalty for each target dimension.

References: Nunez-Elizalde, Huth & Gallant 2019, doi:10.1016/j.neuroimage.2019.04.012 (banded ridge);
Dupré la Tour et al. 2022, doi:10.1016/j.neuroimage.2022.119728 (random search over the simplex).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.ridge import left_out, penalty_scale
from neurovis.brain.voxel_tokens import patches
from neurovis.errors import NeurovisError, UsageError


class BandedRidge(BrainEncoder, name="banded_ridge"):
    """Ridge regression with a penalty per band of features, chosen by leave-one-out.

    Parameters
    ----------
    bands : {"type", "region", "time"}
        Channel types, groups of neighbouring channels, or windows of equal length.
    n_bands : int
        Windows, or at least so many regions.
    n_draws : int
        Points of the simplex tried besides its centre and its corners.
    concentration : float
        Of the Dirichlet distribution they are drawn from; below 1 prefers a few bands.
    log10_low, log10_high, n_penalties
        As in `Ridge`.
    seed : int
        Of the draws.
    """

    closed_form: ClassVar[bool] = True
    bands: Literal["type", "region", "time"] = "time"
    n_bands: pydantic.PositiveInt = 4
    n_draws: pydantic.NonNegativeInt = 10
    concentration: pydantic.PositiveFloat = 0.5
    log10_low: float = -3.0
    log10_high: float = 4.0
    n_penalties: pydantic.PositiveInt = 15
    seed: int = 0

    def build(self, shape: Shape) -> BandedRidgeModel:
        """Build the unfitted model; the shape says which feature is in which band."""
        penalties = np.logspace(self.log10_low, self.log10_high, self.n_penalties)
        band = self._band(shape)
        n = int(band.max()) + 1
        draws = np.random.default_rng(self.seed).dirichlet([self.concentration] * n, self.n_draws)
        shares = np.concatenate([np.full((1, n), 1 / n), np.eye(n), draws]) if n > 1 else np.eye(1)
        return BandedRidgeModel(band, shares, penalties)

    def _band(self, shape: Shape) -> np.ndarray:
        """Band of each feature: array of int (channel, time)."""
        band = np.zeros((shape.n_chans, shape.n_times), int)
        if self.bands == "time":
            return (
                band + np.arange(shape.n_times) * min(self.n_bands, shape.n_times) // shape.n_times
            )
        if self.bands == "type":
            return band + np.unique(shape.channel_type, return_inverse=True)[1][:, None]
        if not np.isfinite(shape.channel_position).all():
            raise UsageError(
                "banded_ridge.bands: expected channels with known positions for regions, found some "
                "without; use bands=type or bands=time."
            )
        most = -(-shape.n_chans // self.n_bands)
        for number, group in enumerate(patches(shape.channel_position, most)):
            band[group] = number
        return band


class BandedRidgeModel:
    """Ridge regression on features scaled by band, in the dual form or the primal, whichever is smaller.

    Parameters
    ----------
    band : array of int (channel, time)
        Each feature's band.
    shares : array (draw, band)
        Points of the simplex to try: the share of each band in the variance of the row kernel.
    penalties : array (penalty,)
        Relative to the mean eigenvalue of the centred row kernel.

    Attributes
    ----------
    coef_ : array (feature, dim) float32
    intercept_ : array (dim,) float32
    share_ : array (dim, band)
        Chosen for each target dimension.
    penalty_ : array (dim,)
    explained_ : array (dim,)
        Share of variance explained in left-out rows.
    """

    def __init__(self, band: np.ndarray, shares: np.ndarray, penalties: np.ndarray):
        self.band = np.asarray(band).ravel()
        self.shares = np.asarray(shares, float)
        self.penalties = np.asarray(penalties, float)

    def fit(
        self, signal: np.ndarray, target: np.ndarray, group: np.ndarray | None = None
    ) -> BandedRidgeModel:
        """Fit on training rows.

        Parameters
        ----------
        signal : array (row, channel, time)
        target : array (row, dim)
        group : array (row,), optional
            Rows that are left out together where shares and penalties are chosen.

        Raises
        ------
        NeurovisError
            If rows disagree, there are fewer than three, or features are not those of the bands.
        """
        x = np.asarray(signal, np.float32).reshape(len(signal), -1)
        if len(x) != len(target) or len(x) < 3 or x.shape[1] != len(self.band):
            raise NeurovisError(
                f"banded_ridge: expected at least 3 rows of {len(self.band)} features with one target "
                f"each, found {len(x)} rows of {x.shape[1]} features and {len(target)} targets; check "
                "the split and the channels."
            )
        target = np.asarray(target, np.float64)
        mean, target_mean = x.mean(0), target.mean(0)
        y = target - target_mean
        tall = x.shape[1] < len(x)
        x = (x - mean).astype(np.float64 if tall else np.float32, copy=False)
        # a band's kernel has unit mean eigenvalue: shares do not depend on units or numbers of features
        power = (x.astype(np.float64) ** 2).sum(0)
        sums = np.bincount(self.band, power, self.shares.shape[1]) / len(x)
        gains = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
        kernels = None if tall else self._kernels(x)
        gram = x.T @ x if tall else None
        best = np.full(y.shape[1], np.inf)
        chosen = np.zeros((2, y.shape[1]), int)
        for draw, share in enumerate(self.shares):
            root = np.sqrt(share * gains)[self.band]
            if not root.any():
                continue
            value, vector = _spectrum(x, root, gram, kernels, share * gains)
            rotated = vector.T @ y
            penalties = self.penalties * penalty_scale(value, y)
            error = left_out(value, vector, rotated, y, penalties, group)
            better = error.min(0) < best
            best = np.where(better, error.min(0), best)
            chosen[:, better] = np.stack([np.full(y.shape[1], draw), error.argmin(0)])[:, better]
        self.share_ = self.shares[chosen[0]]
        self.penalty_ = self.penalties[chosen[1]]
        self.explained_ = 1 - np.where(np.isfinite(best), best, (y**2).mean(0)) / np.maximum(
            (y**2).mean(0), 1e-12
        )
        self.coef_ = np.zeros((x.shape[1], y.shape[1]), np.float32)
        for draw in np.unique(chosen[0]):
            mine = chosen[0] == draw
            root = np.sqrt(self.shares[draw] * gains)[self.band]
            if not root.any():
                continue
            value, vector = _spectrum(x, root, gram, kernels, self.shares[draw] * gains)
            scale = penalty_scale(value, y)
            dual = (vector.T @ y[:, mine]) / (value[:, None] + self.penalty_[mine] * scale)
            weights = x.T @ (vector @ dual).astype(x.dtype)
            self.coef_[:, mine] = weights * (root**2)[:, None]
        self.intercept_ = (target_mean - mean @ self.coef_).astype(np.float32)
        return self

    def _kernels(self, x: np.ndarray) -> np.ndarray:
        """One kernel of rows per band: array (band, row, row) float64."""
        kernels = np.zeros((self.shares.shape[1], len(x), len(x)))
        for number, kernel in enumerate(kernels):
            mine = x[:, self.band == number]
            kernel += mine @ mine.T
        return kernels

    def predict(self, signal: np.ndarray) -> np.ndarray:
        """Predict targets: array (row, dim) float32."""
        flat = np.asarray(signal, np.float32).reshape(len(signal), -1)
        return flat @ self.coef_ + self.intercept_

    def tensors(self) -> dict[str, Any]:
        """Weights as torch tensors, for safetensors."""
        import torch

        return {
            "coef": torch.from_numpy(self.coef_),
            "intercept": torch.from_numpy(self.intercept_),
        }


def _spectrum(
    x: np.ndarray, root: np.ndarray, gram: Any, kernels: Any, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors (row, component) of the kernel of scaled rows."""
    if gram is None:
        value, vector = np.linalg.eigh(np.tensordot(weights, kernels, 1))
        return value.clip(0), vector
    value, vector = np.linalg.eigh(gram * root[:, None] * root)
    keep = value > 1e-12 * max(value[-1], 0)
    value, vector = value[keep], vector[:, keep]
    return value, (x * root) @ (vector / np.sqrt(value))
