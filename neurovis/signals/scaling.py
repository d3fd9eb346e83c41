"""Scaling, clamping and multivariate noise normalisation.

Comes in: trials (trial, channel, time). Goes out: trials without unit, and the numbers that made them,
so that anyone can repeat the step on something else. Statistics come from training trials alone: `fit`
functions take blocks of them, so that a file larger than memory is no obstacle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from neurovis.errors import NeurovisError

# One unit of each channel type under scaling="constant": about one SD of a filtered recording.
TYPICAL = {"eeg": 1e-5, "mag": 1e-13, "grad": 1e-11}

UNITS = {
    "v": 1.0, "volt": 1.0, "volts": 1.0, "mv": 1e-3, "millivolts": 1e-3, "uv": 1e-6, "µv": 1e-6,
    "μv": 1e-6, "microvolt": 1e-6, "microvolts": 1e-6, "nv": 1e-9, "t": 1.0, "tesla": 1.0,
    "pt": 1e-12, "ft": 1e-15, "t/m": 1.0, "ft/cm": 1e-13,
}  # fmt: skip
"""What a unit is in V, T or T/m."""


def robust_scale(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and interquartile range of each channel.

    Parameters
    ----------
    signal : array (trial, channel, time)
        Training trials.

    Returns
    -------
    center, scale : array (channel,)
        Scale is the range from the first to the third quartile, over 1.349: the SD of a Gaussian.

    Raises
    ------
    NeurovisError
        If a channel does not vary.
    """
    flat = np.moveaxis(signal, 1, 0).reshape(signal.shape[1], -1)
    low, center, high = np.percentile(flat, [25, 50, 75], axis=1)
    return center.astype(np.float32), _positive((high - low) / 1.349)


def standard_scale(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of each channel over blocks of trials, array (channel,) each."""
    count, total, square = 0, 0.0, 0.0
    for block in blocks:
        count += block.shape[0] * block.shape[2]
        total = total + block.sum(axis=(0, 2), dtype=np.float64)
        square = square + np.einsum("nct,nct->c", block, block, dtype=np.float64)
    mean = total / count
    return mean.astype(np.float32), _positive(np.sqrt(np.maximum(square / count - mean**2, 0)))


def _positive(scale: np.ndarray) -> np.ndarray:
    if not (scale > 0).all():
        raise NeurovisError(
            f"scaling: channel {int(np.argmin(scale))} (counted from 0) does not vary in the training "
            "trials; expected variation: detect bad channels (detect=true) or drop it from picks."
        )
    return scale.astype(np.float32)


def constant_scale(types: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Center 0 and one typical unit per channel type (eeg 10 uV, mag 100 fT, grad 10 pT/m)."""
    scale = np.array([TYPICAL[kind] for kind in types], np.float32)
    return np.zeros(len(scale), np.float32), scale


def apply_scale(
    signal: np.ndarray, center: np.ndarray, scale: np.ndarray, clamp: float | None = None
) -> np.ndarray:
    """``clip((signal - center) / scale, -clamp, clamp)``, in place; array (trial, channel, time)."""
    signal -= center[:, None]
    signal /= scale[:, None]
    if clamp is not None:
        np.clip(signal, -clamp, clamp, out=signal)
    return signal


def noise_covariance(blocks: Iterable[np.ndarray], mean: np.ndarray | None = None) -> np.ndarray:
    """Covariance of channels over training trials, shrunk towards a multiple of the identity.

    Parameters
    ----------
    blocks : iterable of array (trial, channel, time)
        Training trials alone; test trials here would leak.
    mean : array (channel, time), optional
        Mean response, subtracted from each trial.

    Returns
    -------
    array (channel, channel), float64

    Notes
    -----
    A trial is one sample and its time-averaged outer product one estimate; Ledoit and Wolf's formula
    then weighs the spread of these over trials against the distance to the target. Samples of one
    trial are not independent, so the trial is the honest unit.

    References
    ----------
    Guggenmos et al. 2018, doi:10.1016/j.neuroimage.2018.02.044; Ledoit and Wolf 2004,
    doi:10.1016/S0047-259X(03)00096-4
    """
    count, total, squares = 0, 0.0, 0.0
    for block in blocks:
        block = block if mean is None else block - mean
        n_chans, n_times = block.shape[1:]
        flat = np.ascontiguousarray(block.transpose(1, 0, 2)).reshape(n_chans, -1)
        total = total + (flat @ flat.T).astype(np.float64) / n_times
        # |x x'| = |x' x| in the Frobenius norm: take the smaller of the two
        small = "nct,nds->ncd" if n_chans <= n_times else None
        gram = (
            np.matmul(block, block.transpose(0, 2, 1))
            if small
            else np.matmul(block.transpose(0, 2, 1), block)
        )
        squares += float(np.einsum("nij,nij->", gram, gram, dtype=np.float64)) / n_times**2
        count += len(block)
    if count < 2:
        raise NeurovisError(
            f"whitening: {count} training trials, expected at least two; set whiten=none."
        )
    covariance = total / count
    level = np.trace(covariance) / len(covariance)
    distance = np.sum((covariance - level * np.eye(len(covariance))) ** 2)
    spread = (squares / count - np.sum(covariance**2)) / count
    weight = 1.0 if distance == 0 else float(np.clip(spread / distance, 0, 1))
    return (1 - weight) * covariance + weight * level * np.eye(len(covariance))


def mvnn_weights(image: Sequence[str], part: Sequence[str] | None = None) -> np.ndarray:
    """What each trial counts in a covariance averaged over repeats, then images, then parts.

    Parameters
    ----------
    image : array of str (trial,)
        What was shown; its repeats share one weight.
    part : array of str (trial,), optional
        ``train`` or ``test`` where both are whitened together; each then counts half.

    Returns
    -------
    array (trial,), float64
        Sums to one.

    Examples
    --------
    >>> mvnn_weights(["cat", "cat", "dog"]).tolist()
    [0.25, 0.25, 0.5]
    """
    image = np.asarray(image)
    part = np.zeros(len(image), int) if part is None else np.unique(part, return_inverse=True)[1]
    _, unit = np.unique(image, return_inverse=True)
    _, unit, repeats = np.unique(
        np.stack([part, unit]), axis=1, return_inverse=True, return_counts=True
    )
    unit = unit.reshape(-1)
    images = np.bincount(part[np.unique(unit, return_index=True)[1]])
    return 1 / (len(images) * images[part] * repeats[unit])


def mvnn_covariance(blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Mean over trials of each trial's own shrunk covariance of channels over time.

    Parameters
    ----------
    blocks : iterable of (array (trial, channel, time), array (trial,))
        Trials and what each counts (`mvnn_weights`), some at a time. Float64 input is computed in
        float64; float32 is good to about 1e-7 of the greatest entry.

    Returns
    -------
    array (channel, channel), float64
        In the square of the signal's unit; `whitener` gives its power of -1/2.

    Raises
    ------
    NeurovisError
        If there is no trial, or a trial is too short to estimate from.

    Notes
    -----
    Samples of a trial are centred and standardised per channel, shrunk by Ledoit and Wolf towards a
    multiple of the identity and scaled back: the target is the diagonal of variances, so that loud
    and quiet channels are shrunk alike. With z (channel, time) and R = zz'/time, the weight is
    (mean over time of |z_t|^4 - |R|^2) / time over |R|^2 - trace(R)^2 / channel, cut to [0, 1]:
    three products for a whole block. A channel that is flat in a trial adds nothing there.

    References
    ----------
    Guggenmos et al. 2018, doi:10.1016/j.neuroimage.2018.02.044 (normalisation per epoch); Ledoit and
    Wolf 2004, doi:10.1016/S0047-259X(03)00096-4
    """
    total, weights = 0.0, 0.0
    for block, weight in blocks:
        n_chans, n_times = block.shape[1:]
        if n_times < 2:
            raise NeurovisError(
                f"whitening: trials of {n_times} sample, expected at least two to estimate a "
                "covariance per trial; widen tmin and tmax or set whiten=none."
            )
        mean = block.mean(axis=2, keepdims=True)
        centred = block - mean
        covariance = np.matmul(centred, centred.transpose(0, 2, 1)) / block.dtype.type(n_times)
        variance = np.einsum("ncc->nc", covariance).astype(np.float64)
        # what rounding alone leaves of a flat channel
        variance[variance <= (8 * np.finfo(block.dtype).eps * mean[:, :, 0]) ** 2] = 0
        inverse = np.divide(1, variance, out=np.zeros_like(variance), where=variance > 0)
        np.square(centred, out=centred)
        energy = np.matmul(inverse[:, None].astype(block.dtype), centred)[:, 0]
        fourth = np.einsum("nt,nt->n", energy, energy, dtype=np.float64) / n_times
        root = np.sqrt(inverse).astype(block.dtype)
        squares = np.einsum(
            "nij,nij->n", *(covariance * root[:, :, None] * root[:, None],) * 2, dtype=np.float64
        )
        trace = (variance > 0).sum(axis=1)
        distance = squares - trace**2 / n_chans
        spread = np.minimum((fourth - squares) / n_times, distance)
        shrink = np.divide(spread, distance, out=np.zeros(len(block)), where=distance > 0)
        shrink = np.clip(shrink, 0, 1)
        level = trace / n_chans
        if not variance.all():
            covariance *= (variance > 0)[:, :, None] & (variance > 0)[:, None]
        total = total + np.tensordot(weight * (1 - shrink), covariance.astype(np.float64), axes=1)
        total[np.diag_indices(n_chans)] += (weight * shrink * level) @ variance
        weights += float(np.sum(weight))
    if not weights:
        raise NeurovisError("whitening: no training trial, expected at least one; set whiten=none.")
    return total / weights


def whitener(covariance: np.ndarray) -> np.ndarray:
    """Inverse symmetric square root of a covariance, array (channel, channel) float32.

    Directions with less than 1e-10 of the greatest variance are removed instead of blown up, as
    interpolated channels leave them.
    """
    value, vector = np.linalg.eigh(covariance)
    inverse = np.where(value > 1e-10 * value[-1], 1 / np.sqrt(np.maximum(value, 1e-300)), 0.0)
    return ((vector * inverse) @ vector.T).astype(np.float32)


def whiten(signal: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Multiply channels by a whitening matrix: array (trial, channel, time), unit 1."""
    return np.matmul(matrix, signal)
