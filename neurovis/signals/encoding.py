"""Encoding models in closed form: what signals an image's features would evoke, and how surely.

Comes in: features of images, and trials in blocks. Goes out: the noise of the trials (`Noise`), and a
Bayesian linear regression from features to signals with the prior that the data make most likely
(`Regression`). Everything is learned from sums (`Moments`), so that data are read once, and leaving a
part of them out is a subtraction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

SCALES = np.geomspace(1e-9, 1e3, 49)
"""Prior variances of a weight among which the marginal likelihood chooses, noise being 1."""
POOLED = (2.0, 1.0)
"""Width over components and modes of the Gaussian window in which evidence is pooled."""


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, independent between spatial components, each with its own covariance in time.

    Parameters
    ----------
    pattern : array (component, channel)
        Projects channels on the eigenvectors of the noise covariance.
    root : array (component, time, time)
        Whitens a component in time; symmetric, so that time stays time.
    mean : array (channel, time)
        What trials contain beside the response and noise of zero mean: their neighbours' responses.
    """

    pattern: np.ndarray
    root: np.ndarray
    mean: np.ndarray

    def whiten(self, signal: np.ndarray) -> np.ndarray:
        """Signals of unit, uncorrelated noise: (trial, channel, time) -> (trial, component, time)."""
        components = np.matmul(self.pattern, signal - self.mean).transpose(1, 0, 2)
        return np.matmul(components, self.root).transpose(1, 0, 2)


def estimate_noise(residuals: Callable[[], Iterator[np.ndarray]]) -> Noise:
    """Noise from residuals: spatial eigenvectors, then one temporal covariance for each.

    Parameters
    ----------
    residuals : callable
        Gives blocks (trial, channel, time) of trials minus their true responses, anew at each call.

    Returns
    -------
    Noise
    """
    count, total, square = 0, 0.0, 0.0
    for block in residuals():
        flat = np.ascontiguousarray(block.transpose(1, 0, 2)).reshape(block.shape[1], -1)
        square = square + (flat @ flat.T).astype(np.float64)
        total = total + block.sum(0, dtype=np.float64)
        count += len(block)
    mean = total / count
    covariance = square / (count * mean.shape[1]) - mean @ mean.T / mean.shape[1]
    value, vector = np.linalg.eigh(covariance)
    # what interpolation or a reference left without variance carries nothing
    pattern = vector[:, value > 1e-7 * value[-1]].T.astype(np.float32)
    mean = mean.astype(np.float32)
    within = 0.0
    for block in residuals():
        components = np.matmul(pattern, block - mean).transpose(1, 2, 0)
        within = within + np.matmul(components, components.transpose(0, 2, 1))
    value, vector = np.linalg.eigh(within.astype(np.float64) / count)
    # the filters leave some directions in time empty; they are not blown up
    inverse = np.where(value > 1e-6 * value[:, -1:], 1 / np.sqrt(value.clip(1e-300)), 0.0)
    root = np.matmul(vector * inverse[:, None], vector.transpose(0, 2, 1)).astype(np.float32)
    return Noise(pattern, root, mean)


@dataclass(frozen=True)
class Moments:
    """Sums over trials from which `regress` learns.

    Parameters
    ----------
    count : int
    feature : array (feature,)
        Sum of features.
    signal : array (component, time)
        Sum of signals.
    square : array (feature, feature)
        Sum of products of features.
    product : array (feature, component, time)
        Sum of products of features and signals.
    """

    count: int
    feature: np.ndarray
    signal: np.ndarray
    square: np.ndarray
    product: np.ndarray

    @classmethod
    def of(cls, z: np.ndarray, blocks: Iterable[np.ndarray]) -> Moments:
        """Sum over trials.

        Parameters
        ----------
        z : array (trial, feature)
        blocks : iterable of array (trial, component, time)
            Signals with unit noise, in the order of `z`.
        """
        z = np.asarray(z, np.float64)
        # products are summed about the mean, where float32 is exact enough
        centre = z.mean(0)
        product, total, start = 0.0, 0.0, 0
        for block in blocks:
            part = (z[start : start + len(block)] - centre).astype(np.float32)
            product = product + np.tensordot(part.T, block, 1)
            total = total + block.sum(0, dtype=np.float64)
            start += len(block)
        product = product + centre[:, None, None] * total
        return cls(start, z.sum(0), total, z.T @ z, product)

    def _combined(self, other: Moments, sign: int) -> Moments:
        names = ("count", "feature", "signal", "square", "product")
        return Moments(*(getattr(self, n) + sign * getattr(other, n) for n in names))

    def of_features(self, turn: np.ndarray) -> Moments:
        """Sums of other features, linear in these: `turn` is (feature, new feature)."""
        square = turn.T @ self.square @ turn
        product = np.tensordot(turn.T, self.product, 1)
        return Moments(self.count, self.feature @ turn, self.signal, square, product)

    def __add__(self, other: Moments) -> Moments:
        return self._combined(other, 1)

    def __sub__(self, other: Moments) -> Moments:
        return self._combined(other, -1)


@dataclass(frozen=True)
class Regression:
    """Posterior of a linear map from features to signals with unit noise.

    Parameters
    ----------
    axis : array (feature, direction)
        Eigenvectors of the features' scatter.
    scatter : array (direction,)
        Its eigenvalues.
    modes : array (time, mode)
        Eigenvectors of the prior covariance of the weights over time.
    weight : array (direction, component * mode)
        Posterior mean along the axes and modes.
    scale : array (component * mode,)
        Prior variance of the weights.
    feature_mean : array (feature,)
    signal_mean : array (component * mode,)
    count : int
        Training trials.
    """

    axis: np.ndarray
    scatter: np.ndarray
    modes: np.ndarray
    weight: np.ndarray
    scale: np.ndarray
    feature_mean: np.ndarray
    signal_mean: np.ndarray
    count: int

    def rotate(self, signal: np.ndarray) -> np.ndarray:
        """Express signals in the modes: (row, component, time) -> (row, component * mode)."""
        return (signal @ self.modes.astype(signal.dtype)).reshape(len(signal), -1)

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (image, component * mode) of the response, given what is not known."""
        along = (z - self.feature_mean) @ self.axis
        return along @ self.weight + self.signal_mean, self._variance(along**2)

    def mean_variance(self, z: np.ndarray) -> np.ndarray:
        """Variance of the response averaged over images: array (component * mode,)."""
        along = (z - self.feature_mean) @ self.axis
        return self._variance((along**2).mean(0, keepdims=True))[0]

    def _variance(self, square: np.ndarray) -> np.ndarray:
        # sum over directions of along^2 scale / (1 + scale scatter): scale takes few values
        values, which = np.unique(self.scale, return_inverse=True)
        unsure = square @ (values / (1 + np.outer(self.scatter, values)))
        return unsure[:, which] + 1 / self.count


def regress(moments: Moments) -> Regression:
    """Bayesian linear regression whose prior comes from the marginal likelihood.

    Weights are Gaussian, independent between features and components, and have a covariance over
    time that all components share; in its eigenvectors, each component and mode has a variance of
    its own, for which the evidence of neighbouring components and modes is pooled.

    Parameters
    ----------
    moments : Moments
        Of signals with unit noise.

    Returns
    -------
    Regression

    Notes
    -----
    With scatter matrix V diag(s) V' of the centred features and b = V' Z' y, a prior variance a
    gives the posterior mean a b / (1 + a s), covariance diag(a / (1 + a s)), and the log evidence
    1/2 sum(a b^2 / (1 + a s) - log(1 + a s)) up to a constant. The mean has a flat prior.

    References
    ----------
    MacKay 1992, doi:10.1162/neco.1992.4.3.415
    """
    from scipy.ndimage import gaussian_filter

    count, centre = moments.count, moments.feature / moments.count
    scatter, axis = np.linalg.eigh(moments.square - count * np.outer(centre, centre))
    scatter = scatter.clip(0)
    product = moments.product - centre[:, None, None] * moments.signal
    product = np.tensordot(axis.T, product, 1)
    modes = _time_modes(product.astype(np.float32), scatter)
    b = (product @ modes).reshape(len(scatter), -1)
    shrink = SCALES / (1 + np.outer(scatter, SCALES))
    evidence = (b**2).T @ shrink - np.log1p(np.outer(scatter, SCALES)).sum(0)
    evidence = evidence.reshape(*product.shape[1:], len(SCALES))
    pooled = gaussian_filter(evidence, (*POOLED, 0))
    scale = SCALES[pooled.argmax(2)].ravel()
    weight = b * scale / (1 + np.outer(scatter, scale))
    signal_mean = (moments.signal / count @ modes).ravel()
    return Regression(axis, scatter, modes, weight, scale, centre, signal_mean, count)


def favour(moments: Moments, n_steps: int) -> np.ndarray:
    """Learn which features the signals follow: scales and rotates features for `regress`.

    The prior of `regress` treats all features alike. Expectation maximisation of a prior covariance
    over features, shared by all signals, gives those that the brain responds to more room.

    Parameters
    ----------
    moments : Moments
    n_steps : int

    Returns
    -------
    array (feature, feature)
        For `Moments.of_features`; the identity for no steps.
    """
    n_features = len(moments.feature)
    turn = np.eye(n_features)
    for _ in range(n_steps):
        model = regress(moments.of_features(turn))
        values, which = np.unique(model.scale, return_inverse=True)
        unsure = np.bincount(which) @ (values[:, None] / (1 + np.outer(values, model.scatter)))
        second = (model.weight @ model.weight.T + np.diag(unsure)) / model.scale.sum()
        value, vector = np.linalg.eigh(model.axis @ second @ model.axis.T)
        turn = turn @ (vector * np.sqrt(value.clip(1e-8))) @ vector.T
        turn *= np.sqrt(n_features / (turn**2).sum())
    return turn


def _time_modes(b: np.ndarray, scatter: np.ndarray, n_steps: int = 15) -> np.ndarray:
    """Eigenvectors (time, mode) of the weights' covariance over time, by expectation maximisation.

    `b` is (direction, component, time). It starts from one variance for all, so that the first step
    already turns the modes far; then MacKay's fixed point finds their variances, which plain
    expectation maximisation approaches slowly.
    """
    n_times = b.shape[2]
    square = (b**2).sum((1, 2))
    load = np.outer(scatter, SCALES)
    evidence = square @ (SCALES / (1 + load)) - b[0].size * np.log1p(load).sum(0)
    modes, scale = np.eye(n_times), np.full(n_times, SCALES[evidence.argmax()])
    for _ in range(n_steps):
        load = np.outer(scatter, scale)
        mean = (b * (scale / (1 + load)).astype(b.dtype)[:, None]).reshape(-1, n_times)
        second = (mean.T @ mean).astype(np.float64)
        second[np.diag_indices(n_times)] += b.shape[1] * (scale / (1 + load)).sum(0)
        turn = np.linalg.eigh(second)[1]
        modes, b = modes @ turn, b @ turn.astype(b.dtype)
        scale = (turn**2 * scale[:, None]).sum(0)
        for _ in range(3):
            load = np.outer(scatter, scale)
            mean = b * (scale / (1 + load)).astype(b.dtype)[:, None]
            known = b.shape[1] * (load / (1 + load)).sum(0)
            scale = (np.einsum("ijk,ijk->k", mean, mean) / known.clip(1e-9)).clip(1e-10, 1e3)
    return modes
