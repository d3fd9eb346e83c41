"""Two limits for decoders of simulated recordings, computed on the very trials they decode.

Comes in: preprocessed trials and the truth behind them. Goes out: the log posterior of every gallery
image for single trials and averages. Both observers know the covariance of the noise. The optimal
observer knows each image's noiseless response too; the informed observer knows the source features
but learns their weights from the training trials, by exact Bayesian regression, and takes what it
is left unsure of into account. Signals are read in blocks, a few times over; memory stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Trials
from neurovis.signals.encoding import Moments, Noise, estimate_noise, regress
from neurovis.store import open_h5, read_h5

TRUTH_FORMAT = "neurovis-truth"
BLOCK = 256


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
    """What drives one subject's M/EEG, as `neurovis.world.simulate` stores it.

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
        """Read what the simulation stored."""
        names = tuple(f for f in cls.__dataclass_fields__ if f != "sfreq")
        with open_h5(path, TRUTH_FORMAT) as file:
            sfreq = float(file.attrs["sfreq"])
        return cls(**read_h5(path, TRUTH_FORMAT, names), sfreq=sfreq)


def rows_of(known: Sequence[str], ids: Sequence[str]) -> np.ndarray:
    """Rows of image ids in the truth; an unknown one is named."""
    place = {image: row for row, image in enumerate(known)}
    try:
        return np.array([place[image] for image in ids])
    except KeyError as error:
        raise NeurovisError(
            f"truth: image {error.args[0]!r} is not among its {len(place)} images; "
            "use the truth of the same simulation."
        ) from None


@dataclass(frozen=True)
class Model:
    """What generates the trials of one subject.

    Parameters
    ----------
    image : array of str (image,)
    z : array (image, feature)
    signals : callable
        From trial numbers to an array (trial, channel, time), preprocessing undone where it can be.
    response : callable
        From rows of `image` to the expected signals (image, channel, time).
    noise : Noise
        Of a single trial.
    """

    image: np.ndarray
    z: np.ndarray
    signals: Callable[[np.ndarray], np.ndarray]
    response: Callable[[np.ndarray], np.ndarray]
    noise: Noise


def sensor_model(trials: Trials, path: str | Path) -> Model:
    """The model of MEG and EEG trials."""
    known = Truth.read(path)
    keep, topography = _channels(trials, known)
    signals = physical(trials, keep)
    course = _through_preprocessing(trials, known)
    kernel = np.einsum("cs,st->sct", topography, course).astype(np.float32)
    drive = (known.z @ known.weight.T + known.constant).astype(np.float32)
    shown = rows_of(known.image, trials.image)

    def response(images: np.ndarray) -> np.ndarray:
        return np.tensordot(drive[images], kernel, 1)

    def residuals() -> Iterator[np.ndarray]:
        for index in blocks(np.arange(len(trials))):
            yield signals(index) - response(shown[index])

    return Model(known.image, known.z, signals, response, estimate_noise(residuals))


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
    train = np.asarray(train)
    for name, groups in (("train", [train]), ("rows", rows)):
        if not len(groups) or not all(len(group) for group in groups):
            raise NeurovisError(f"observe: {name} holds no trials; choose some for each.")
    with open_h5(truth, TRUTH_FORMAT) as file:
        modality = str(file.attrs.get("modality", ""))
    if modality == "fmri":
        from neurovis.world.betas import voxel_model

        model = voxel_model(trials, truth, train)
    else:
        model = sensor_model(trials, truth)
    signals, noise = model.signals, model.noise
    shown = rows_of(model.image, trials.image)
    seen = Moments.of(
        model.z[shown[train]], (noise.whiten(signals(index)) for index in blocks(train))
    )
    learned = regress(seen)
    wanted = rows_of(model.image, gallery)
    expected = noise.whiten(model.response(wanted) + noise.mean).reshape(len(wanted), -1)
    mean, variance = learned.predict(model.z[wanted])
    out = {
        name: np.empty((len(rows), len(wanted)), np.float32)
        for name in ("optimal_observer", "informed_observer")
    }
    size = np.array([len(row) for row in rows])
    for n_averaged in np.unique(size):
        for chunk in blocks(np.flatnonzero(size == n_averaged)):
            white = _averages(chunk, rows, signals, noise)
            flat, turned = white.reshape(len(white), -1), learned.rotate(white)
            out["optimal_observer"][chunk] = identify(flat, expected, 0.0, n_averaged)
            out["informed_observer"][chunk] = identify(turned, mean, variance, n_averaged)
    return out


def linear_response(
    trials: Trials, path: str | Path, images: Sequence[str], levels: Sequence[np.ndarray]
) -> list[np.ndarray] | None:
    """How strongly noiseless responses depend on vectors of the images.

    Parameters
    ----------
    trials : Trials
        Of one subject, made by `neurovis.prepare`.
    path : path
        The subject's ``truth.h5``.
    images : sequence of str (image,)
    levels : sequence of array (image, dim)

    Returns
    -------
    list of array (channel, time)
        Per level: root mean square over images of the least-squares prediction of the response from
        the vectors, in the units of the trials; 0 in channels that hold nothing of their own. None
        where channels were whitened: then a channel is a mixture.
    """
    file = getattr(trials.signal, "file", None)
    stored = file["scaling"] if file is not None and "scaling" in file else {}
    if "whitener" in stored:
        return None
    with open_h5(path, TRUTH_FORMAT) as known:
        modality = str(known.attrs.get("modality", ""))
    if modality == "fmri":
        from neurovis.world.betas import BetaTruth

        truth = BetaTruth.read(path)
        names, course = truth.voxels(trials.channel_name), np.ones((1, trials.signal.shape[2]))
        place = np.full(len(truth.channel_name), -1)
        place[truth.responds] = np.arange(len(truth.responds))
        keep = np.flatnonzero(place[names] >= 0)
        weight, mix = truth.weight[place[names[keep]]], None
    else:
        truth = Truth.read(path)
        keep, mix = _channels(trials, truth)
        weight, course = truth.weight, _through_preprocessing(trials, truth)
    drive = truth.z[rows_of(truth.image, images)] @ weight.T
    drive = (drive - drive.mean(0)) / np.sqrt(len(drive))
    scale = stored["scale"][()].mean(0)[keep, None] if "scale" in stored else 1.0
    out = []
    for vector in levels:
        basis = np.linalg.svd(vector - vector.mean(0), full_matrices=False)
        basis = basis[0][:, basis[1] > 1e-6 * max(basis[1][0], 1e-300)]
        along = basis.T @ drive  # (direction, source) or (direction, voxel)
        found = np.zeros((len(trials.channel_name), trials.signal.shape[2]))
        if mix is None:
            found[keep] = np.sqrt((along**2).sum(0))[:, None] * course / scale
        else:
            whole = np.einsum("ds,cs,st->dct", along, mix, course, optimize=True)
            found[keep] = np.sqrt((whole**2).sum(0)) / scale
        out.append(found)
    return out


def blocks(index: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    """Parts of an array, so many at a time."""
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
    for part in blocks(np.arange(len(used))):
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
    member = member_of(trials, group, str(stored.attrs.get("by", "session")))

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


def member_of(trials: Trials, group: np.ndarray, by: str) -> np.ndarray:
    """Group of scaling of each trial: array of int (trial,)."""
    if len(group) == 1:
        return np.zeros(len(trials), int)
    names = trials.recording if by == "recording" else trials.session
    place = {name: number for number, name in enumerate(group.tolist())}
    return np.array([place[name] for name in names.tolist()])
