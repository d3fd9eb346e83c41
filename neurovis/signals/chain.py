"""The steps of preprocessing in order, and their options.

Comes in: one run's signal (channel, time) and its events. Goes out: trials (trial, channel, time) in
SI units, with what was rejected or repaired and why. Everything up to the baseline is linear, so that
`linear_chain` can push a noiseless response through exactly the same steps. Scaling, clamping and
whitening need the training trials of all runs and follow later (`neurovis.prepare`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from neurovis.config import Config, added
from neurovis.errors import NeurovisError, UsageError
from neurovis.signals.causal import Causal
from neurovis.signals.channels import find_bad_channels, repair
from neurovis.signals.epochs import inside, n_samples, rejections, subtract_baseline, windows
from neurovis.signals.filters import Chain

CUT = 512  # trials cut at a time


class Steps(Config):
    """Options of M/EEG preprocessing, in the order in which the steps run.

    Parameters
    ----------
    picks : tuple of str
        Channel types, regions or names; ``-name`` leaves out.
    l_freq, h_freq : float or None, Hz
        Pass band of a zero-phase FIR filter.
    notch : tuple of float, Hz
    sfreq : float or None, Hz
        Rate of the trials; None keeps the recording's.
    tmin, tmax : float, s
        Half-open window around the onset.
    lag : float or None, s
        By how much trigger marks follow the events; None takes what the dataset states.
    baseline : (start, end) or None, s
        Its mean is subtracted per trial and channel.
    crop : (start, end) or None, s
        Half-open part of the window that is kept after the baseline.
    detect : bool
        Look for bad channels beyond those marked in the dataset.
    bads : {"interpolate", "drop", "keep"}
        ``drop`` leaves out what is bad in any run of the subject.
    reject : dict of float
        Greatest peak-to-peak amplitude per channel type (V, T, T/m); the same in training and test.
    scaling : {"robust", "session z", "constant", "none"}
        ``robust``: median and interquartile range; ``session z``: mean and SD, both from training
        trials; ``constant``: typical units that look at no data.
    scope : {"session", "subject"}
        Which training trials scaling and whitening learn from.
    clamp : float or None
        Largest absolute value after scaling.
    whiten : {"training", "none"}
        Multivariate noise normalisation after scaling.
    phase : {"zero", "minimum"}
        ``minimum``: causal filters, as a stream that is decoded live has them; see
        `neurovis.signals.causal`.
    """

    picks: tuple[str, ...] = ("data",)
    l_freq: float | None = 0.1
    h_freq: float | None = 40.0
    notch: tuple[float, ...] = ()
    sfreq: float | None = 100.0
    tmin: float = -0.1
    tmax: float = 0.6
    lag: float | None = None
    baseline: tuple[float | None, float | None] | None = (None, 0.0)
    crop: tuple[float, float] | None = None
    detect: bool = True
    bads: Literal["interpolate", "drop", "keep"] = "interpolate"
    reject: dict[str, float] = Field(default_factory=dict)
    scaling: Literal["robust", "session z", "constant", "none"] = "robust"
    scope: Literal["session", "subject"] = "session"
    clamp: float | None = 20.0
    whiten: Literal["none", "training", "mvnn", "mvnn all"] = "none"
    phase: Literal["zero", "minimum"] = added("zero")

    @model_validator(mode="after")
    def _crop_the_window(self) -> Steps:
        if self.crop and not self.tmin <= self.crop[0] < self.crop[1] <= self.tmax:
            raise UsageError(
                f"Steps.crop: expected a part of {self.tmin:g} to {self.tmax:g} s, found "
                f"{self.crop[0]:g} to {self.crop[1]:g} s; widen tmin and tmax or narrow it."
            )
        return self

    def kept(self, sfreq: float) -> tuple[float, slice]:
        """Time of the first sample kept (s), and samples of the window that are kept, at `sfreq` Hz."""
        start, stop = self.crop or (self.tmin, self.tmax)
        first = round((start - self.tmin) * sfreq)
        return self.tmin + first / sfreq, slice(first, first + n_samples(start, stop, sfreq))

    def chain(self, sfreq: float) -> Chain:
        """The linear steps for recordings at `sfreq` Hz."""
        kind = Causal if self.phase == "minimum" else Chain
        return _chain(kind, sfreq, self.l_freq, self.h_freq, self.notch, self.sfreq)


@lru_cache(maxsize=4)
def _chain(kind: type[Chain], *options: Any) -> Chain:
    """All runs of a dataset share one design."""
    return kind(*options)


def linear_chain(
    steps: Steps, signal: np.ndarray, sfreq: float, pad: str = "zero"
) -> tuple[np.ndarray, float]:
    """Filter and resample a signal exactly as `process_run` does before it cuts trials.

    Parameters
    ----------
    steps : Steps
    signal : array (channel, time)
        A recording, or noiseless responses: with `pad` ``zero`` nothing lies beyond its ends.
    sfreq : float, Hz
    pad : {"zero", "reflect"}

    Returns
    -------
    array (channel, time) float32
        Sample 0 is the input's sample 0. Follow with `epochs.epoch` and `epochs.subtract_baseline`.
    float
        The new rate, Hz.
    """
    chain = steps.chain(sfreq)
    return chain(signal, pad=pad), chain.filtered_sfreq / chain.every


@dataclass(frozen=True)
class Run:
    """Trials of one run, with what was left out or repaired.

    Parameters
    ----------
    signal : array (trial, channel, time) float32, SI
    kept : array (trial,) of int
        Event of each trial.
    rejected : dict of int to str
        Event and reason.
    bad : dict of str
        Channel and reason.
    frequency : array (frequency,), Hz
    before, after : array (channel, frequency)
        Power spectral density, unit squared per Hz.
    """

    signal: np.ndarray
    kept: np.ndarray
    rejected: dict[int, str] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    frequency: np.ndarray = field(default_factory=lambda: np.zeros(0))
    before: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    after: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))


def process_run(
    steps: Steps,
    signal: np.ndarray,
    sfreq: float,
    onset: np.ndarray,
    names: Sequence[str],
    types: Sequence[str],
    position: np.ndarray,
    known_bad: Sequence[str] = (),
    spans: Sequence[tuple[float, float, str]] = (),
    threads: int = 1,
) -> Run:
    """Trials of one run: filter, resample, cut, baseline, judge channels and trials.

    Parameters
    ----------
    steps : Steps
    signal : array or array-like (channel, time) float32, SI
        Sliced some channels at a time. Missing samples are NaN; they are bridged **in place**, and
        trials over them rejected.
    sfreq : float, Hz
    onset : array (event,), s from the first sample
    names, types : sequence of str (channel,)
    position : array (channel, 3), m
    known_bad : sequence of str
        Channels that the dataset marks as bad.
    spans : sequence of (start, stop, label), s
        Stretches that the dataset marks as bad.

    Raises
    ------
    NeurovisError
        If an event lies beyond the recording, or half of the channels are bad.
    """
    onset = np.asarray(onset, float)
    duration = signal.shape[1] / sfreq
    beyond = np.flatnonzero((onset < 0) | (onset > duration))
    if len(beyond):
        raise NeurovisError(
            f"events: event {beyond[0]} is at {onset[beyond[0]]:.3f} s, the recording lasts "
            f"{duration:.3f} s; it is truncated, or these are another run's events: fetch it again."
        )
    chain = steps.chain(sfreq)
    count = n_samples(steps.tmin, steps.tmax, steps.sfreq or sfreq)
    index = windows(onset, steps.tmin, count, chain.filtered_sfreq, chain.every)
    n_filtered = -(-signal.shape[1] * chain.ratio.numerator // chain.ratio.denominator)
    reasons = np.where(inside(index, n_filtered), "", "window beyond the recording").astype(object)

    def leave_out(spans: Sequence[tuple[float, float, str]]) -> None:
        for start, stop, label in spans:
            hit = (onset + steps.tmin < stop) & (onset + steps.tmax > start) & (reasons == "")
            reasons[hit] = label

    leave_out(spans)
    kept = np.flatnonzero(reasons == "")
    out = np.empty((len(kept), len(signal), count), np.float32)
    before, after = [], []
    lost: dict[int, str] = {}
    gone = np.zeros(signal.shape[1], bool)
    starts = index[kept, 0]
    blocks = chain.blocks(
        signal,
        power=True,
        mend=lambda block, first: _bridge(block, first, lost, gone),
        threads=threads,
    )
    for where, filtered, power in blocks:
        _cut_trials(out, where, filtered, starts, chain.every)
        before.append(power[0])
        after.append(power[1])
    edges = np.flatnonzero(np.diff(gone.astype(np.int8), prepend=0, append=0))
    leave_out([(a / sfreq, b / sfreq, "samples missing") for a, b in zip(edges[::2], edges[1::2])])
    whole = reasons[kept] == ""
    if not whole.all():
        kept, out = kept[whole], out[whole]
    times = steps.tmin + np.arange(count) / (steps.sfreq or sfreq)
    subtract_baseline(out, times, steps.baseline)
    _, kept_samples = steps.kept(steps.sfreq or sfreq)
    if kept_samples != slice(0, count):
        out = np.ascontiguousarray(out[:, :, kept_samples])
    bad = dict.fromkeys((n for n in known_bad if n in names), "marked in the dataset")
    if steps.detect and len(kept):
        for channel, reason in find_bad_channels(out, types).items():
            bad.setdefault(names[channel], reason)
    bad |= {names[channel]: reason for channel, reason in lost.items()}
    rows = [i for i, name in enumerate(names) if name in bad]
    if 2 * len(rows) > len(names):
        raise NeurovisError(
            f"channels: {len(rows)} of {len(names)} are bad ({names[rows[0]]}: {bad[names[rows[0]]]}), "
            "expected fewer than half; leave this run out or set detect=false."
        )
    if rows and steps.bads == "interpolate" and len(kept):
        repair(out, types, position, rows)
    judged = rejections(out, types, names, steps.reject, rows if steps.bads == "drop" else ())
    reasons[kept] = judged
    good = np.array([reason == "" for reason in judged], bool)
    return Run(
        signal=out if good.all() else out[good],
        kept=kept[good],
        rejected={int(i): str(reasons[i]) for i in np.flatnonzero(reasons != "")},
        bad=bad,
        frequency=np.arange(before[0].shape[1], dtype=float) + 0.5,
        before=np.concatenate(before),
        after=np.concatenate(after),
    )


def _cut_trials(
    out: np.ndarray, where: slice, filtered: np.ndarray, starts: np.ndarray, every: int
) -> None:
    """Trials (trial, channel, time) of some channels, from their filtered signal (channel, time)."""
    count = out.shape[2]
    last = filtered.shape[1] - (count - 1) * every
    for channel, row in zip(range(where.start, where.stop), filtered):
        # all windows as a view, of which one gather takes those of some trials
        steps = (row.strides[0], row.strides[0] * every)
        every_window = np.lib.stride_tricks.as_strided(row, (last, count), steps, writeable=False)
        for first in range(0, len(starts), CUT):
            rows = slice(first, first + CUT)
            out[rows, channel] = every_window[starts[rows]]


def _bridge(block: np.ndarray, first: int, lost: dict[int, str], gone: np.ndarray) -> None:
    """Fill missing samples of some channels in place.

    Parameters
    ----------
    block : array (channel, time)
    first : int
        Number of its first channel.
    lost : dict of int to str
        Takes in the channels of which too much is missing, and why.
    gone : array (time,) of bool
        Takes in where samples are missing in others.
    """
    for number, row in enumerate(block, start=first):
        # a sum is finite exactly where all samples are, and needs no memory
        if np.isfinite(row.sum(dtype=np.float64)):
            continue
        hole = ~np.isfinite(row)
        if hole.mean() > 0.2:
            lost[number] = f"{100 * hole.mean():.0f} % not finite"
            row[:] = 0
            continue
        where = np.flatnonzero(hole)
        row[where] = np.interp(where, np.flatnonzero(~hole), row[~hole])
        gone |= hole
