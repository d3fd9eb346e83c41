"""Events and epochs: reading triggers, correcting their lag, cutting, baseline, rejection, repeats.

Comes in: a trigger channel, onsets in seconds of the run, a filtered signal. Goes out: trials (trial,
channel, time). Windows are half-open, [tmin, tmax), so that a window of 0.7 s at 100 Hz has 70 samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurovis.errors import NeurovisError


def read_triggers(
    channel: np.ndarray, sfreq: float, lag: float = 0.0, min_duration: float = 0.0, mask: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Onsets of the events that a trigger channel marks.

    Parameters
    ----------
    channel : array (time,)
        Trigger values; an event begins where the value changes to another one that is not zero.
    sfreq : float, Hz
    lag : float, s
        By how much marks follow the events: onset = time of the mark - lag.
    min_duration : float, s
        Shorter marks are switching transients: an event then takes the value that follows them.
    mask : int
        Bits to look at; 0 for all.

    Returns
    -------
    onset : array (event,), s from the recording's first sample
    value : array (event,) of int
    """
    value = np.rint(np.asarray(channel)).astype(np.int64)
    if mask:
        value = value & mask
    change = np.flatnonzero(np.diff(value, prepend=value[:1])) if len(value) else np.zeros(0, int)
    length = np.diff(np.append(change, len(value)))
    keep = length >= max(1, round(min_duration * sfreq))
    change = change[keep]
    previous = np.r_[value[:1] if len(value) else 0, value[change[:-1]]] if len(change) else change
    start = (value[change] != 0) & (value[change] != previous)
    return change[start] / sfreq - lag, value[change[start]]


def n_samples(tmin: float, tmax: float, sfreq: float) -> int:
    """Samples of the half-open window [tmin, tmax) in s at sfreq in Hz.

    Raises
    ------
    NeurovisError
        If the window is empty.
    """
    count = round((tmax - tmin) * sfreq)
    if count < 1:
        raise NeurovisError(
            f"tmin, tmax: the window from {tmin:g} to {tmax:g} s holds no sample at {sfreq:g} Hz; "
            "widen it."
        )
    return count


def windows(onset: np.ndarray, tmin: float, count: int, sfreq: float, every: int = 1) -> np.ndarray:
    """Sample indices of every epoch.

    Parameters
    ----------
    onset : array (event,), s from the first sample
    tmin : float, s
    count : int
        Samples per epoch.
    sfreq : float, Hz
        Rate of the signal to index, `every` times the epochs' rate.
    every : int
        Take one sample of so many.

    Returns
    -------
    array (event, time) of int
        May reach beyond the recording: check with `inside`.
    """
    start = np.rint(np.asarray(onset, float) * sfreq).astype(np.int64) + round(tmin * sfreq)
    return start[:, None] + np.arange(count) * every


def inside(index: np.ndarray, n_times: int) -> np.ndarray:
    """Which windows, array (event, time), lie within a recording: array (event,) of bool."""
    return (index[:, 0] >= 0) & (index[:, -1] < n_times)


def epoch(
    signal: np.ndarray, sfreq: float, onset: np.ndarray, tmin: float, tmax: float
) -> np.ndarray:
    """Cut epochs from a continuous signal.

    Parameters
    ----------
    signal : array (channel, time)
    sfreq : float, Hz
    onset : array (event,), s from the first sample
    tmin, tmax : float, s
        Half-open window around the onset.

    Returns
    -------
    array (event, channel, time)

    Raises
    ------
    NeurovisError
        If a window reaches beyond the signal, naming the event.
    """
    index = windows(onset, tmin, n_samples(tmin, tmax, sfreq), sfreq)
    ok = inside(index, signal.shape[1])
    if not ok.all():
        event = int(np.flatnonzero(~ok)[0])
        raise NeurovisError(
            f"event {event} at {np.asarray(onset)[event]:.3f} s: its window from {tmin:g} to {tmax:g} s "
            f"reaches beyond the signal of {signal.shape[1] / sfreq:.3f} s; leave it out."
        )
    return np.ascontiguousarray(signal[:, index].transpose(1, 0, 2))


def subtract_baseline(
    signal: np.ndarray, times: np.ndarray, window: tuple[float | None, float | None] | None
) -> np.ndarray:
    """Subtract each channel's mean over a window of the trial, in place.

    Parameters
    ----------
    signal : array (trial, channel, time)
    times : array (time,), s
    window : (start, end) in s, both included, None for the trial's end; or None for no baseline

    Returns
    -------
    array (trial, channel, time)
        The input.

    Raises
    ------
    NeurovisError
        If no sample lies in the window.
    """
    if window is None:
        return signal
    low = times[0] if window[0] is None else window[0]
    high = times[-1] if window[1] is None else window[1]
    half = 1e-6 + 0 * times[0]
    inside_window = (times >= low - half) & (times <= high + half)
    if not inside_window.any():
        raise NeurovisError(
            f"baseline: no sample lies from {low:g} to {high:g} s, the trial spans {times[0]:g} to "
            f"{times[-1]:g} s; choose a window inside."
        )
    signal -= signal[..., inside_window].mean(axis=-1, keepdims=True)
    return signal


def rejections(
    signal: np.ndarray,
    types: Sequence[str],
    names: Sequence[str],
    limits: dict[str, float],
    leave_out: Sequence[int] = (),
) -> list[str]:
    """Why each trial is rejected, ``""`` where it is not.

    Parameters
    ----------
    signal : array (trial, channel, time), SI
    types, names : sequence of str (channel,)
    limits : dict of float
        Greatest peak-to-peak amplitude per channel type, in its unit; the same for every trial.
    leave_out : sequence of int
        Bad channels, which judge no trial.
    """
    reasons = np.full(len(signal), "", dtype=object)
    types = np.asarray(types)
    for kind, limit in limits.items():
        group = np.setdiff1d(np.flatnonzero(types == kind), leave_out)
        if not len(group) or not len(signal):
            continue
        span = np.ptp(signal[:, group], axis=-1)
        for trial in np.flatnonzero(span.max(axis=1) > limit):
            if not reasons[trial]:
                worst = group[span[trial].argmax()]
                reasons[trial] = f"peak-to-peak over {limit:.3g} ({names[worst]})"
    return list(reasons)


def repeat_index(image: Sequence[str]) -> np.ndarray:
    """How many times each trial's image was shown before: 0 at its first showing, array (trial,).

    Examples
    --------
    >>> repeat_index(["cat", "dog", "cat"]).tolist()
    [0, 0, 1]
    """
    image = np.asarray(image)
    order = np.argsort(image, kind="stable")
    _, first, count = np.unique(image[order], return_index=True, return_counts=True)
    repeat = np.empty(len(image), int)
    repeat[order] = np.arange(len(image)) - np.repeat(first, count)
    return repeat
