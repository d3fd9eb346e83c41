"""What generates single-trial betas of simulated fMRI: for the observers of `neurovis.world.observers`.

Comes in: ``trials.h5`` and the truth. Goes out: a `Model`. Division by the scale of each run is undone;
what centring took away is put back as one offset per run. The first-level model assumes its own
haemodynamics, so that betas are the true responses times one number, estimated over all voxels. With as
many voxels as trials no covariance can be counted out: noise is independent between voxels, plus
what a few known patterns share. That neighbouring voxels prefer alike things is known to both observers
(not what they prefer): weights are learned along the eigenvectors of that covariance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Trials
from neurovis.signals.encoding import Noise
from neurovis.store import open_h5, read_h5
from neurovis.world.observers import TRUTH_FORMAT, Model, blocks, member_of, rows_of

N_RESPONSES = 20
"""Patterns of responses along which the amplitudes of trials vary, beside that to any picture."""
N_STEPS = 4


@dataclass(frozen=True)
class BetaTruth:
    """What drives one subject's betas.

    Parameters
    ----------
    image : array of str (image,)
    z : array (image, feature)
    channel_name : array of str (voxel,)
    base : array (voxel,)
    responds : array of int (row,)
        Voxels that respond; rows of `weight` and `constant`.
    weight : array (row, feature), %
    constant : array (row,), %
    noise_pattern : array (voxel, component), %
    position : array (voxel, 3), m
    smoothness : float, m
        Standard deviation of the Gaussian covariance of weights along the cortex.
    """

    image: np.ndarray
    z: np.ndarray
    channel_name: np.ndarray
    base: np.ndarray
    responds: np.ndarray
    weight: np.ndarray
    constant: np.ndarray
    noise_pattern: np.ndarray
    position: np.ndarray
    smoothness: float

    @classmethod
    def read(cls, path: str | Path) -> BetaTruth:
        """Read what the simulation stored."""
        names = tuple(f for f in cls.__dataclass_fields__ if f != "smoothness")
        with open_h5(path, TRUTH_FORMAT) as file:
            smoothness = float(file.attrs["smoothness"])
        return cls(**read_h5(path, TRUTH_FORMAT, names), smoothness=smoothness)

    def voxels(self, names: np.ndarray) -> np.ndarray:
        """Rows of voxels by name; what stands before a slash (the subject) does not count."""
        place = {name: row for row, name in enumerate(self.channel_name.tolist())}
        short = [str(name).rsplit("/", 1)[-1] for name in names]
        unknown = [name for name in short if name not in place]
        if unknown:
            raise NeurovisError(
                f"trials: voxel {unknown[0]!r} is not in the truth; use the truth of this recording."
            )
        return np.array([place[name] for name in short])


def voxel_model(trials: Trials, path: str | Path, train: np.ndarray) -> Model:
    """The model of single-trial betas.

    Parameters
    ----------
    trials : Trials
        Of one subject, one sample per trial.
    path : path
        The subject's ``truth.h5``.
    train : array of int
        Trials that offsets, gain and noise are learned from.

    Raises
    ------
    NeurovisError
        If the trials are no betas, a voxel or image is not in the truth, or a run has no training trial.
    """
    if trials.signal.shape[2] != 1:
        raise NeurovisError(
            f"observe: expected betas (one sample per trial), found {trials.signal.shape[2]} samples; "
            "the limits of TR windows are not known: preprocess without fmri.window."
        )
    known = BetaTruth.read(path)
    rows = known.voxels(trials.channel_name)
    place = np.full(len(known.channel_name), -1)
    place[known.responds] = np.arange(len(known.responds))
    keep = np.flatnonzero(place[rows] >= 0)
    rows = rows[keep]
    if not len(rows):
        raise NeurovisError(
            "trials: no voxel responds to pictures, expected some; preprocess with other regions."
        )
    weight = known.weight[place[rows]].astype(np.float64)
    constant = known.constant[place[rows]].astype(np.float64)
    unit = _unit(trials, known.base[rows])
    drive = (known.z @ weight.T + constant) * unit
    shown = rows_of(known.image, trials.image)
    scaled, member = _unscaled(trials, keep)
    gain, offset = _gain(scaled, drive[shown], member, train)

    def signals(index: np.ndarray) -> np.ndarray:
        return (scaled(index) + offset[member[index]])[:, :, None].astype(np.float32)

    def response(images: np.ndarray) -> np.ndarray:
        return (gain * drive[images])[:, :, None].astype(np.float32)

    left = np.concatenate(
        [scaled(i) + offset[member[i]] - gain * drive[shown[i]] for i in blocks(train)]
    )
    together = np.corrcoef(known.z.T)
    value, vector = np.linalg.eigh(together)
    spread = (unit[:, None] * weight) @ (vector * np.sqrt(value.clip(0)))
    patterns = [unit[:, None] * known.noise_pattern[rows], (unit * constant)[:, None]]
    patterns.append(np.linalg.svd(spread, full_matrices=False)[0][:, :N_RESPONSES])
    noise = structured_noise(left, np.concatenate(patterns, 1))
    alike = covariance_in_space(known.position[rows], known.smoothness) * np.outer(unit, unit)
    noise = turned(noise, alike)
    return Model(known.image, known.z, signals, response, noise)


def _unit(trials: Trials, base: np.ndarray) -> np.ndarray:
    """What 1 % of a voxel's mean signal is in the betas (voxel,)."""
    value = trials.provenance.get("steps", {}).get("value", "percent")
    if value == "t":
        raise NeurovisError(
            "observe: expected betas in percent or raw, found t values; preprocess with "
            "fmri.value=percent to have the limits."
        )
    return (base / 100 if value == "raw" else np.ones(len(base))).astype(np.float64)


def _unscaled(trials: Trials, keep: np.ndarray) -> tuple[Callable, np.ndarray]:
    """A reader of betas without scaling (trial, voxel), means of groups aside, and those groups."""
    file = getattr(trials.signal, "file", None)
    if file is None or "scaling" not in file:
        return lambda index: trials.read(index)[:, keep, 0], np.zeros(len(trials), int)
    stored = file["scaling"]
    group = np.array(stored["group"].asstr()[()])
    scale = stored["scale"][()][:, keep]
    member = member_of(trials, group, str(stored.attrs.get("by", "session")))
    return lambda index: trials.read(index)[:, keep, 0] * scale[member[index]], member


def covariance_in_space(position: np.ndarray, smoothness: float) -> np.ndarray:
    """How alike the preferences of voxels are: Gaussian in their distance (voxel, voxel)."""
    square = (position.astype(np.float64) ** 2).sum(1)
    apart = square[:, None] + square - 2 * position.astype(np.float64) @ position.T
    return np.exp(-apart.clip(0) / (2 * smoothness**2))


def turned(noise: Noise, prior: np.ndarray) -> Noise:
    """The same noise, whitened along the eigenvectors of a prior covariance of weights.

    Components come in the order of their prior variance, so that neighbours are alike.
    """
    whitened = noise.pattern @ prior.astype(np.float32) @ noise.pattern.T
    vector = np.linalg.eigh((whitened + whitened.T) / 2)[1][:, ::-1]
    return Noise(vector.T @ noise.pattern, noise.root, noise.mean)


def _gain(
    scaled: Callable, drive: np.ndarray, member: np.ndarray, train: np.ndarray
) -> tuple[float, np.ndarray]:
    """Betas over true responses, one number; and what to add to each group (group, voxel)."""
    both, square = 0.0, 0.0
    means: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for number in np.unique(member):
        mine = train[member[train] == number]
        if not len(mine):
            raise NeurovisError(
                "observe: a run has no training trial, expected some in each; choose other rows."
            )
        found, true = scaled(mine), drive[mine]
        means[int(number)] = found.mean(0), true.mean(0)
        both += float(((found - found.mean(0)) * true).sum())
        square += float(((true - true.mean(0)) ** 2).sum())
    gain = both / square if square else 1.0
    offset = np.zeros((int(member.max()) + 1, drive.shape[1]))
    for number, (found, true) in means.items():
        offset[number] = gain * true - found
    return gain, offset


def structured_noise(residual: np.ndarray, pattern: np.ndarray) -> Noise:
    """Noise that is independent between voxels but for what known patterns share.

    The covariance is D + U K U' with U given: D and K are found in turns, each given the other. Along
    the patterns noise is at least what independent voxels have.

    Parameters
    ----------
    residual : array (trial, voxel)
    pattern : array (voxel, component)

    Returns
    -------
    Noise
        Its `pattern` is the inverse square root of the covariance.
    """
    n, n_voxels = residual.shape
    mean = residual.mean(0)
    residual = residual - mean
    size = np.linalg.norm(pattern, axis=0)
    pattern = pattern[:, size > 1e-12] / size[size > 1e-12]
    pattern = pattern[:, : max(0, min(pattern.shape[1], n_voxels // 2, n // 2))]
    independent = residual.var(0) + 1e-30
    for _ in range(N_STEPS):
        root = np.sqrt(independent)
        basis = _orthonormal(pattern / root[:, None])
        white = residual / root
        along = white @ basis
        rest = white - along @ basis.T
        free = np.maximum(1 - (basis**2).sum(1), 0.05)
        independent = independent * ((rest**2).mean(0) / free).clip(1e-3)
    root = np.sqrt(independent)
    basis = _orthonormal(pattern / root[:, None])
    along = (residual / root) @ basis
    value, vector = np.linalg.eigh(along.T @ along / max(n - 1, 1))
    turned = basis @ vector
    matrix = turned * (1 / np.sqrt(value.clip(1)) - 1) @ turned.T
    matrix[np.diag_indices(n_voxels)] += 1
    whole = (matrix / root).astype(np.float32)
    return Noise(whole, np.ones((n_voxels, 1, 1), np.float32), mean[:, None].astype(np.float32))


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the span of columns."""
    left, size, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, size > 1e-9 * (size[:1].sum() or 1)]
