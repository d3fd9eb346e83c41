"""Two limits for decoders of simulated recordings, computed on the very trials they decode.

Comes in: preprocessed trials and the truth behind them. Goes out: the log posterior of every gallery
image for single trials and averages. Both observers know the covariance of the noise. The optimal
observer knows each image's noiseless response too; the informed observer knows the source features
but learns their weights from the training trials, by exact Bayesian regression, and takes what it
is left unsure of into account. Signals are read in blocks, a few times over; memory stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Trials
from neurovis.store import read_h5

TRUTH_FORMAT = "neurovis-truth"
BLOCK = 256
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
        mean = along @ self.weight + self.signal_mean
        # sum over directions of along^2 scale / (1 + scale scatter): scale takes few values
        values, which = np.unique(self.scale, return_inverse=True)
        unsure = along**2 @ (values / (1 + np.outer(self.scatter, values)))
        return mean, unsure[:, which] + 1 / self.count


def regress(z: np.ndarray, blocks: Iterable[np.ndarray]) -> Regression:
    """Bayesian linear regression whose prior comes from the marginal likelihood.

    Weights are Gaussian, independent between features and components, and have a covariance over
    time that all components share; in its eigenvectors, each component and mode has a variance of
    its own, for which the evidence of neighbouring components and modes is pooled.

    Parameters
    ----------
    z : array (trial, feature)
    blocks : iterable of array (trial, component, time)
        Signals with unit noise, in the order of `z`.

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

    z = z.astype(np.float64)
    centre = z.mean(0)
    z = z - centre
    scatter, axis = np.linalg.eigh(z.T @ z)
    scatter = scatter.clip(0)
    along = (z @ axis).astype(np.float32)
    product, total, start = 0.0, 0.0, 0
    for block in blocks:
        product = product + np.tensordot(along[start : start + len(block)].T, block, 1)
        total = total + block.sum(0, dtype=np.float64)
        start += len(block)
    modes = _time_modes(product.astype(np.float64), scatter)
    b = (product @ modes).reshape(len(scatter), -1)
    shrink = SCALES / (1 + np.outer(scatter, SCALES))
    evidence = (b**2).T @ shrink - np.log1p(np.outer(scatter, SCALES)).sum(0)
    evidence = evidence.reshape(*product.shape[1:], len(SCALES))
    pooled = gaussian_filter(evidence, (*POOLED, 0))
    scale = SCALES[pooled.argmax(2)].ravel()
    weight = b * scale / (1 + np.outer(scatter, scale))
    signal_mean = (total / start @ modes).ravel()
    return Regression(axis, scatter, modes, weight, scale, centre, signal_mean, start)


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
        mean = b * (scale / (1 + load))[:, None]
        second = np.tensordot(mean, mean, ((0, 1), (0, 1)))
        second[np.diag_indices(n_times)] += b.shape[1] * (scale / (1 + load)).sum(0)
        turn = np.linalg.eigh(second)[1]
        modes, b, scale = modes @ turn, b @ turn, (turn**2 * scale[:, None]).sum(0)
        for _ in range(3):
            load = np.outer(scatter, scale)
            mean = b * (scale / (1 + load))[:, None]
            known = b.shape[1] * (load / (1 + load)).sum(0)
            scale = ((mean**2).sum((0, 1)) / known.clip(1e-9)).clip(1e-10, 1e3)
    return modes


def identify(
    signal: np.ndarray, mean: np.ndarray, variance: np.ndarray | float, n_averaged: int
) -> np.ndarray:
    """Log posterior of each image for averages of unit noise, all images equally likely before.

    Parameters
    ----------
    signal : array (row, dimension)
    mean : array (image, dimension)
        Expected response.
    variance : array (image, dimension) or 0
        How unsure it is.
    n_averaged : int
        Trials in each average.

    Returns
    -------
    array (row, image) float32
    """
    precision = np.broadcast_to(1 / (1 / n_averaged + variance), mean.shape)
    # only differences between images count; without what they share float32 is exact enough
    middle = mean.mean(0)
    mean, signal = mean - middle, (signal - middle).astype(np.float32)
    offset = (precision * mean**2 - np.log(precision)).sum(1)
    score = 2 * signal @ (precision * mean).T.astype(np.float32)
    if np.ndim(variance):
        score -= signal**2 @ (precision - precision.mean(0)).T.astype(np.float32)
    score = 0.5 * (score.astype(np.float64) - offset)
    score -= score.max(1, keepdims=True)
    score -= np.log(np.exp(score).sum(1, keepdims=True))
    return score.astype(np.float32)


@dataclass(frozen=True)
class Truth:
    """What drives one subject's recordings, as `neurovis.world.simulate` stores it.

    The expected response of a channel is the sum over sources of
    ``topography * (weight @ z + constant) * course``.
    """

    image: np.ndarray
    z: np.ndarray
    weight: np.ndarray
    constant: np.ndarray
    course: np.ndarray
    topography: np.ndarray
    channel_name: np.ndarray
    bad: np.ndarray
    sfreq: float

    @classmethod
    def read(cls, path: str | Path) -> Truth:
        from neurovis.store import open_h5

        names = tuple(f for f in cls.__dataclass_fields__ if f != "sfreq")
        with open_h5(path, TRUTH_FORMAT) as file:
            sfreq = float(file.attrs["sfreq"])
        return cls(**read_h5(path, TRUTH_FORMAT, names), sfreq=sfreq)

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """Rows of image ids; an unknown one is named."""
        place = {image: row for row, image in enumerate(self.image)}
        try:
            return np.array([place[image] for image in ids])
        except KeyError as error:
            raise NeurovisError(
                f"truth: image {error.args[0]!r} is not among its {len(place)} images; "
                "use the truth of the same simulation."
            ) from None


def observe(
    trials: Trials,
    truth: str | Path,
    train: np.ndarray,
    rows: Sequence[np.ndarray],
    gallery: Sequence[str],
) -> dict[str, np.ndarray]:
    """Log posterior of both observers for averages of trials.

    Parameters
    ----------
    trials : Trials
        Of one subject, made by `neurovis.prepare`.
    truth : path
        The subject's ``truth.h5``.
    train : array of int
        Trials from which the informed observer learns.
    rows : sequence of array of int
        Trials that each row averages.
    gallery : sequence of str
        Image ids to choose from.

    Returns
    -------
    dict of array (row, gallery) float32
        ``optimal_observer`` and ``informed_observer``.

    Raises
    ------
    NeurovisError
        If an image or channel is unknown to the truth, or a row is empty.
    """
    known = Truth.read(truth)
    train = np.asarray(train)
    for name, groups in (("train", [train]), ("rows", rows)):
        if not len(groups) or not all(len(group) for group in groups):
            raise NeurovisError(f"observe: {name} holds no trials; choose some for each.")
    keep, topography = _channels(trials, known)
    signals = physical(trials, keep)
    course = _through_preprocessing(trials, known)
    kernel = np.einsum("cs,st->sct", topography, course).astype(np.float32)
    drive = (known.z @ known.weight.T + known.constant).astype(np.float32)
    shown = known.rows(trials.image)

    def response(images: np.ndarray) -> np.ndarray:
        return np.tensordot(drive[images], kernel, 1)

    def residuals() -> Iterator[np.ndarray]:
        for index in _blocks(np.arange(len(trials))):
            yield signals(index) - response(shown[index])

    noise = estimate_noise(residuals)
    learned = regress(
        known.z[shown[train]], (noise.whiten(signals(index)) for index in _blocks(train))
    )
    wanted = known.rows(gallery)
    expected = noise.whiten(response(wanted) + noise.mean).reshape(len(wanted), -1)
    mean, variance = learned.predict(known.z[wanted])
    out = {
        name: np.empty((len(rows), len(wanted)), np.float32)
        for name in ("optimal_observer", "informed_observer")
    }
    size = np.array([len(row) for row in rows])
    for n_averaged in np.unique(size):
        for chunk in _blocks(np.flatnonzero(size == n_averaged)):
            white = _averages(chunk, rows, signals, noise)
            flat, turned = white.reshape(len(white), -1), learned.rotate(white)
            out["optimal_observer"][chunk] = identify(flat, expected, 0.0, n_averaged)
            out["informed_observer"][chunk] = identify(turned, mean, variance, n_averaged)
    return out


def _blocks(index: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    for start in range(0, len(index), size):
        yield index[start : start + size]


def _averages(
    chunk: np.ndarray,
    rows: Sequence[np.ndarray],
    signals: Callable[[np.ndarray], np.ndarray],
    noise: Noise,
) -> np.ndarray:
    """Whitened averages (row, component, time), every trial read once."""
    used, which = np.unique(np.concatenate([rows[i] for i in chunk]), return_inverse=True)
    share = np.zeros((len(chunk), len(used)), np.float32)
    owner = np.repeat(np.arange(len(chunk)), [len(rows[i]) for i in chunk])
    np.add.at(share, (owner, which), 1 / len(rows[chunk[0]]))
    total = 0.0
    for part in _blocks(np.arange(len(used))):
        total = total + np.tensordot(share[:, part], signals(used[part]), 1)
    return noise.whiten(total)


def _channels(trials: Trials, known: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Channels that carry the truth (bad ones hold nothing of their own), and their topography."""
    place = {name: row for row, name in enumerate(known.channel_name)}
    unknown = [name for name in trials.channel_name if name not in place]
    if unknown:
        raise NeurovisError(
            f"trials: channel {unknown[0]!r} is not in the truth; use the truth of this recording."
        )
    keep = np.flatnonzero(~np.isin(trials.channel_name, known.bad))
    return keep, known.topography[[place[name] for name in trials.channel_name[keep]]]


def _through_preprocessing(trials: Trials, known: Truth) -> np.ndarray:
    """Time courses (source, time) after the filters, resampling and baseline of the trials."""
    from neurovis.signals.chain import Steps, linear_chain
    from neurovis.signals.epochs import epoch, subtract_baseline

    steps = Steps(**trials.provenance["steps"])
    before, after = 2.0, 2.0
    lead, tail = round(before * known.sfreq), round(after * known.sfreq)
    course = np.pad(known.course, ((0, 0), (lead, tail))).astype(np.float32)
    course, sfreq = linear_chain(steps, course, known.sfreq)
    stop = trials.tmin + trials.signal.shape[2] / sfreq
    cut = epoch(course, sfreq, np.array([lead / known.sfreq]), trials.tmin, stop)
    return subtract_baseline(cut, trials.times, steps.baseline)[0]


def physical(trials: Trials, keep: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A reader of trials in V or T, scaling and whitening undone, some channels kept.

    Clamped samples stay clamped; directions that whitening removed stay removed.

    Parameters
    ----------
    trials : Trials
    keep : array of int
        Channels.

    Returns
    -------
    callable
        From trial numbers to an array (trial, channel, time) float32.
    """
    file = getattr(trials.signal, "file", None)
    if file is None or "scaling" not in file:
        return lambda index: trials.read(index)[:, keep]
    stored = file["scaling"]
    group = np.array(stored["group"].asstr()[()])
    center, scale = stored["center"][()], stored["scale"][()]
    matrices = None
    if "whitener" in stored:
        inverse = np.linalg.pinv(stored["whitener"][()].astype(float), rcond=1e-7, hermitian=True)
        matrices = (scale[:, :, None] * inverse)[:, keep].astype(np.float32)
    member = np.zeros(len(trials), int)
    if len(group) > 1:
        member = np.array([int(np.flatnonzero(group == name)[0]) for name in trials.session])

    def read(index: np.ndarray) -> np.ndarray:
        signal = trials.read(index)
        out = np.empty((len(index), len(keep), signal.shape[2]), np.float32)
        for number in np.unique(member[index]):
            mine = np.flatnonzero(member[index] == number)
            if matrices is None:
                part = signal[mine][:, keep] * scale[number][keep, None]
            else:
                part = np.matmul(matrices[number], signal[mine])
            out[mine] = part + center[number][keep, None]
        return out

    return read
