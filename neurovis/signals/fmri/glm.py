"""The first-level model: BOLD of one run to one response per trial.

Comes in: a run's time series and its events. Goes out: `Responses`, betas with one regressor per trial
(all in one model, or one model per trial in closed form), or the volumes around each event. The model
is nilearn's design matrix; for ordinary least squares all betas of a run are one matrix product, since
the weights depend on the design alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from neurovis.errors import NeurovisError, UsageError, missing_package
from neurovis.signals.fmri.responses import Responses
from neurovis.signals.fmri.steps import FmriSteps
from neurovis.signals.fmri.volumes import tsnr

BEFORE = -24.0  # s; earlier events leave no trace in the scan
FAINT = 0.1  # of the median regressor's energy: below it a response is hardly in the scan
BLOCK = 8192  # voxels at a time where float64 or nilearn is needed


@dataclass(frozen=True, eq=False)
class Design:
    """A first-level model.

    Parameters
    ----------
    matrix : array (volume, regressor) float64
        One regressor per trial first, in the order of events; then derivatives, confounds, drifts.
    name : list of str (regressor,)
    n_trials : int
    """

    matrix: np.ndarray
    name: list[str]
    n_trials: int

    @property
    def nuisance(self) -> np.ndarray:
        """What is no trial, array (volume, regressor)."""
        return self.matrix[:, self.n_trials :]


def merge_blocks(
    onset: np.ndarray, duration: np.ndarray, image: Sequence[str], within: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join events of one stimulus that follow each other within `within` s to blocks.

    Returns
    -------
    onset, duration, image : array (block,)
        In the order of time where `within` is given; otherwise as they came.

    Examples
    --------
    >>> merge_blocks([0, 2, 4, 6], [1, 1, 1, 1], ["a", "a", "b", "b"], 1.5)[:2]
    (array([0., 4.]), array([3., 3.]))
    """
    onset, duration = np.asarray(onset, float), np.asarray(duration, float)
    image = np.asarray(image).astype(str)
    if within is None or len(onset) == 0:
        return onset, duration, image
    order = np.argsort(onset, kind="stable")
    onset, duration, image = onset[order], duration[order], image[order]
    end = onset + duration
    new = (image[1:] != image[:-1]) | (onset[1:] - end[:-1] > within + 1e-6)
    first = np.flatnonzero(np.r_[True, new])
    last = np.r_[first[1:], len(onset)] - 1
    return onset[first], end[last] - onset[first], image[first]


def design_matrix(
    onset: np.ndarray,
    duration: np.ndarray,
    n_volumes: int,
    tr: float,
    steps: FmriSteps,
    confounds: np.ndarray | None = None,
    confound_names: Sequence[str] = (),
) -> Design:
    """One regressor per trial, drifts and confounds.

    Parameters
    ----------
    onset, duration : array (trial,), s
        From the start of the first volume.
    n_volumes : int
    tr : float, s
    steps : FmriSteps
    confounds : array (volume, confound), optional

    Raises
    ------
    NeurovisError
        If an event lies outside the scan, two start together, or the model has no unique solution.
    """
    try:
        from nilearn.glm.first_level import make_first_level_design_matrix
    except ImportError:
        raise missing_package("nilearn", "fmri") from None
    import pandas as pd

    onset, duration = np.asarray(onset, float), np.asarray(duration, float)
    _check_events(onset, duration, n_volumes, tr)
    n = len(onset)
    events = pd.DataFrame(
        {"onset": onset, "duration": duration, "trial_type": [f"trial{i:05d}" for i in range(n)]}
    )
    with warnings.catch_warnings():
        # events of no duration and early events are meant so; rank is checked below
        warnings.simplefilter("ignore")
        table = make_first_level_design_matrix(
            (np.arange(n_volumes) + steps.slice_time_ref) * tr,
            events if n else None,
            hrf_model=steps.hrf,
            drift_model=None if steps.drift == "none" else steps.drift,
            high_pass=steps.high_pass or 0.01,
            drift_order=steps.drift_order,
            add_regs=confounds if confounds is not None and confounds.shape[1] else None,
            add_reg_names=list(confound_names) or None,
            min_onset=BEFORE,
        )
    mine = [f"trial{i:05d}" for i in range(n)]
    rest = [name for name in table.columns if name not in set(mine)]
    matrix = table[[*mine, *rest]].to_numpy(float)
    made = Design(matrix, [*mine, *rest], n)
    if steps.window is None:
        _check_rank(made, n_volumes, steps.method)
    return made


def _check_events(onset: np.ndarray, duration: np.ndarray, n_volumes: int, tr: float) -> None:
    end = n_volumes * tr
    if not (np.isfinite(onset).all() and np.isfinite(duration).all() and (duration >= 0).all()):
        worst = int(np.argmax(~(np.isfinite(onset) & np.isfinite(duration) & (duration >= 0))))
        raise NeurovisError(
            f"event {worst}: onset {onset[worst]} s, duration {duration[worst]} s, expected finite "
            "numbers and no negative duration; correct the events file."
        )
    outside = (onset >= end) | (onset < BEFORE)
    if outside.any():
        worst = int(outside.argmax())
        raise NeurovisError(
            f"event {worst} is at {onset[worst]:.3f} s, expected within the scan ({n_volumes} volumes "
            f"of {tr:g} s: {end:g} s); is the scan truncated, the TR wrong, or are these another run's "
            "events?"
        )
    order = np.argsort(onset)
    close = np.flatnonzero(np.diff(onset[order]) < 1e-3)
    if len(close):
        one, other = sorted(order[close[0] : close[0] + 2].tolist())
        raise NeurovisError(
            f"events {one} and {other} both start at {onset[one]:.3f} s ({len(close)} such pairs), "
            "expected one trial at a time; leave one out with where, or correct the events file."
        )


def _check_rank(design: Design, n_volumes: int, method: str) -> None:
    matrix, n = design.matrix, design.n_trials
    needed = matrix.shape[1] if method == "lsa" else min(n, 2) + design.nuisance.shape[1]
    if needed >= n_volumes:
        raise NeurovisError(
            f"design: {needed} regressors ({n} trials) for {n_volumes} volumes, expected fewer than "
            "volumes; use fewer confounds, method=lss, or merge events to blocks."
        )
    norm = np.linalg.norm(matrix, axis=0)
    lost = norm[:n] <= 1e-3 * np.median(norm[:n]) if n else np.zeros(0, bool)
    if lost.any():
        raise NeurovisError(
            f"design: the response to event {int(lost.argmax())} is not in the scan, expected "
            "volumes after it; leave it out with where."
        )
    part = matrix if method == "lsa" else design.nuisance
    if part.shape[1] == 0:
        return
    scale = np.linalg.norm(part, axis=0)
    if (scale == 0).any():
        raise NeurovisError(
            f"design: regressor {_named(design, part, int(scale.argmin()))!r} is zero throughout, "
            "expected variation; leave it out of confounds."
        )
    value, vector = np.linalg.svd(part / scale, full_matrices=False)[1:]
    if value[-1] < 1e-7 * value[0]:
        guilty = np.argsort(-np.abs(vector[-1]))[:2]
        names = " and ".join(repr(_named(design, part, int(i))) for i in guilty)
        raise NeurovisError(
            f"design: regressors depend on each other ({names} the most), expected full rank; leave one "
            "of them out of confounds, or merge events that coincide."
        )


def _named(design: Design, part: np.ndarray, column: int) -> str:
    return design.name[column + design.matrix.shape[1] - part.shape[1]]


def weights(design: Design, method: str = "lsa") -> np.ndarray:
    """Matrix that turns a series into betas, array (trial, volume) float64.

    ``lsa`` (least squares, all): rows of the pseudo-inverse. ``lss`` (least squares, separate): for
    each trial the model of this trial, the sum of the others, and the nuisance; solved from 2 x 2 normal
    equations after the nuisance is projected out once, which gives what refitting every model would.

    Raises
    ------
    NeurovisError
        If a trial cannot be told from the others and the nuisance.

    References
    ----------
    Mumford et al. 2012, doi:10.1016/j.neuroimage.2011.08.076
    """
    if method == "lsa" or design.n_trials < 2:
        scale = np.linalg.norm(design.matrix, axis=0)
        inverse = np.linalg.pinv(design.matrix / scale)
        return (inverse / scale[:, None])[: design.n_trials]
    one, others, square, _ = _separate(design)
    aa, bb, ab = square
    return ((bb * one - ab * others) / (aa * bb - ab**2)).T


def _separate(design: Design) -> tuple[np.ndarray, np.ndarray, tuple, np.ndarray]:
    """Each trial and the sum of the others, (volume, trial) both, free of nuisance; their products."""
    trials = design.matrix[:, : design.n_trials]
    basis = np.linalg.qr(design.nuisance)[0]
    one = trials - basis @ (basis.T @ trials)
    others = one.sum(axis=1, keepdims=True) - one
    aa, bb, ab = ((x * y).sum(axis=0) for x, y in ((one, one), (others, others), (one, others)))
    told = aa * bb - ab**2 > 1e-10 * aa * bb
    if not told.all():
        raise NeurovisError(
            f"design: trial {int((~told).argmax())} cannot be told from the others, expected responses "
            "that differ in time; merge events that coincide, or use fewer confounds."
        )
    return one, others, (aa, bb, ab), basis


def betas(series: np.ndarray, design: Design, steps: FmriSteps) -> np.ndarray:
    """Response of every voxel in every trial, in the unit that ``steps.value`` states.

    Parameters
    ----------
    series : array (volume, voxel) float32
        Not modified.
    design : Design
    steps : FmriSteps

    Returns
    -------
    array (trial, voxel) float32
        NaN in voxels that are constant or not finite, and, in percent, where the mean does not exceed
        the SD: such a mean is no baseline.
    """
    mean = series.mean(axis=0, dtype=np.float64)
    good = np.isfinite(mean) & (np.ptp(series, axis=0) > 0)
    out = np.full((design.n_trials, series.shape[1]), np.nan, np.float32)
    if steps.value == "percent":
        spread = series.std(axis=0, dtype=np.float64)
        baseline = good & (mean > spread)
        if good.any() and baseline.sum() < 0.5 * good.sum():
            raise UsageError(
                f"value: percent needs a mean signal above its SD, found so in {int(baseline.sum())} of "
                f"{int(good.sum())} voxels (was the mean removed before?); set value=t or value=raw."
            )
        good = baseline
    columns = np.flatnonzero(good)
    solve = partial(_ar1, design, steps) if steps.noise == "ar1" else _LeastSquares(design, steps)
    for start in range(0, len(columns), BLOCK):
        part = columns[start : start + BLOCK]
        # the constant is in the model: without the mean, float32 keeps seven digits of the response
        block = series[:, part] - mean[part].astype(np.float32)
        out[:, part] = solve(block)
        if steps.value == "percent":
            out[:, part] *= (100 / mean[part]).astype(np.float32)
    return out


class _LeastSquares:
    """Betas, or betas over their standard error, of blocks of voxels (volume, voxel) without mean."""

    def __init__(self, design: Design, steps: FmriSteps):
        self.design, self.steps = design, steps
        self.matrix = weights(design, steps.method)
        self.separate = steps.method == "lss" and design.n_trials > 1

    def __call__(self, block: np.ndarray) -> np.ndarray:
        found = self.matrix.astype(np.float32) @ block
        if self.steps.value != "t":
            return found
        spread = np.sqrt(np.maximum(self._variance(block.astype(np.float64)), 1e-30))
        return (found / spread).astype(np.float32)

    def _variance(self, block: np.ndarray) -> np.ndarray:
        """Squared standard error, array (trial, voxel)."""
        n, total = len(block), (block**2).sum(axis=0)
        if not self.separate:
            basis = np.linalg.qr(self.design.matrix)[0]
            left = total - ((basis.T @ block) ** 2).sum(axis=0)
            left /= n - self.design.matrix.shape[1]
            return left * (self.matrix**2).sum(axis=1)[:, None]
        one, others, (aa, bb, ab), basis = _separate(self.design)
        free = total - ((basis.T @ block) ** 2).sum(axis=0)
        ay, by = one.T @ block, others.T @ block
        aa, bb, ab = aa[:, None], bb[:, None], ab[:, None]
        told = (bb * ay**2 - 2 * ab * ay * by + aa * by**2) / (aa * bb - ab**2)
        return (free - told) / (n - basis.shape[1] - 2) * bb / (aa * bb - ab**2)


def _ar1(design: Design, steps: FmriSteps, block: np.ndarray) -> np.ndarray:
    """By nilearn: voxels grouped by their autocorrelation, each group prewhitened."""
    from nilearn.glm.first_level import run_glm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels, results = run_glm(block.astype(np.float64), design.matrix, noise_model="ar1")
    found = np.empty((design.n_trials, block.shape[1]), np.float32)
    for label, result in results.items():
        mine = labels == label
        theta = result.theta[: design.n_trials]
        if steps.value == "t":
            spread = np.sqrt(np.diag(result.cov)[: design.n_trials, None] * result.dispersion)
            theta = theta / spread
        found[:, mine] = theta
    return found


def cut_windows(
    series: np.ndarray, design: Design, onset: np.ndarray, tr: float, steps: FmriSteps
) -> tuple[np.ndarray, np.ndarray]:
    """Volumes around each event, free of drifts and confounds.

    Between two volumes the signal is interpolated linearly, so that samples lie at the same times after
    every event, one TR apart.

    Returns
    -------
    windows : array (trial, voxel, time) float32
        In the unit that ``steps.value`` states (``t``: of the SD of what is left).
    kept : array of int
        Events whose window lies in the scan.
    """
    low, high = steps.window
    times = low + tr * np.arange(int(np.floor((high - low) / tr + 1e-6)) + 1)
    frame = (np.asarray(onset)[:, None] + times) / tr - steps.slice_time_ref
    kept = np.flatnonzero(((frame >= -1e-6) & (frame <= len(series) - 1 + 1e-6)).all(axis=1))
    if not len(kept):
        raise NeurovisError(
            f"window: none of {len(onset)} events has volumes from {low:g} to {high:g} s after it, "
            "expected some; shorten the window."
        )
    frame = np.clip(frame[kept], 0, len(series) - 1)
    before = np.minimum(np.floor(frame).astype(int), len(series) - 2)
    share = (frame - before).astype(np.float32)[..., None]
    constant = np.ptp(series, axis=0) == 0
    mean = series.mean(axis=0, dtype=np.float64).astype(np.float32)
    out = np.empty((len(kept), series.shape[1], len(times)), np.float32)
    # drifts and confounds are estimated beside the responses, not instead of them
    fitted = np.linalg.pinv(design.matrix)[design.n_trials :]
    moving = np.array([name != "constant" for name in design.name[design.n_trials :]])
    for start in range(0, series.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        block = series[:, part] - mean[part]
        clean = block - (design.nuisance[:, moving] @ (fitted[moving] @ block)).astype(np.float32)
        if steps.value == "percent":
            with np.errstate(divide="ignore", invalid="ignore"):
                clean *= 100 / mean[part]
        elif steps.value == "t":
            with np.errstate(divide="ignore", invalid="ignore"):
                clean /= clean.std(axis=0)
        values = (1 - share) * clean[before] + share * clean[before + 1]
        out[:, part] = values.transpose(0, 2, 1)
    out[:, constant] = np.nan
    return out, kept


def first_level(
    series: np.ndarray,
    tr: float,
    onset: np.ndarray,
    duration: np.ndarray,
    image: Sequence[str],
    steps: FmriSteps,
    confounds: np.ndarray | None = None,
    confound_names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Responses:
    """Responses of one run to its trials.

    Parameters
    ----------
    series : array (volume, voxel) float32
    tr : float, s
    onset, duration : array (event,), s
        From the start of the first volume.
    image : sequence of str (event,)
    steps : FmriSteps
    confounds : array (volume, confound), optional
    confound_names, notes : sequence of str

    Returns
    -------
    Responses

    Raises
    ------
    NeurovisError
        As in `design_matrix`.
    """
    notes = list(notes)
    count = len(onset)
    onset, duration, image = merge_blocks(onset, duration, image, steps.merge)
    if len(onset) < count:
        notes.append(f"{count} events merged to {len(onset)} blocks")
    design = design_matrix(
        onset, duration, len(series), tr, steps, confounds, confound_names
    )  # fmt: skip
    if steps.window is None:
        signal = betas(series, design, steps)
        energy = (design.matrix[:, : len(onset)] ** 2).sum(axis=0)
        faint = int((energy < FAINT * np.median(energy)).sum()) if len(onset) else 0
        if faint:
            notes.append(f"{faint} trials whose response is hardly in the scan")
        tmin = 0.0
    else:
        signal, kept = cut_windows(series, design, onset, tr, steps)
        if len(kept) < len(onset):
            notes.append(
                f"{len(onset) - len(kept)} trials whose window is not in the scan left out"
            )
        onset, image, tmin = onset[kept], image[kept], float(steps.window[0])
    return Responses(
        signal=signal, image=image, onset=onset, tsnr=tsnr(series),
        design=(design.matrix.astype(np.float32), design.name), sfreq=1 / tr, tmin=tmin,
        unit={"percent": "%", "t": "1", "raw": ""}[steps.value], notes=tuple(notes),
    )  # fmt: skip
