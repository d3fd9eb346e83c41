"""What an engine gives out, one by one: notes, samples, events, decisions; and its options."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from neurovis.live.decode import Decision
from neurovis.live.markers import Marker

BACK = 10.0  # s of signal kept for markers that come late


@dataclass(frozen=True)
class Note:
    """One sentence on something odd.

    Parameters
    ----------
    text : str
    kind : str
        ``samples``, ``marker``, ``epoch``, ``stream`` or ``start``.
    at : float, s from the stream's first sample
    """

    text: str
    kind: str
    at: float = 0.0


@dataclass(frozen=True)
class Block:
    """Samples as everything after the stream sees them.

    Parameters
    ----------
    start : int
        Number of the first.
    signal : array (channel, time) float32, SI
        The run's channels; missing samples are bridged.
    missing : tuple of (start, stop, channel or None)
        Which of them are not measured; None stands for all channels.
    """

    start: int
    signal: np.ndarray
    missing: tuple[tuple[int, int, int | None], ...] = ()


@dataclass(frozen=True)
class Taken:
    """An event as it was taken in.

    Parameters
    ----------
    marker : Marker
    onset : float, s from the stream's first sample
    at : int
        Number of the sample that was awaited when it came.
    """

    marker: Marker
    onset: float
    at: int


@dataclass(frozen=True)
class Shown:
    """A decision with the epoch that it is of, and when its steps were done.

    Parameters
    ----------
    decision : Decision
    epoch : array (channel, time)
        As the tower saw it.
    done : dict of float, s
        Time of each step by `time.perf_counter`: ``filter``, ``tower``, ``retrieval``.
    """

    decision: Decision
    epoch: np.ndarray
    done: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How a stream is decoded.

    Parameters
    ----------
    warm : float, s
        Signal from which bad channels, and scales where the run knows none, are learned; decisions
        follow it.
    early : tuple of float, s
        Ends of growing windows. The tower was trained on whole windows: what is not there yet is set
        to zero (masked time), and gets no probability.
    average : bool
        Also decide on the mean of all repeats of an image so far, where markers name images.
    back : float, s
        Signal kept for markers that come late.
    """

    warm: float = 10.0
    early: tuple[float, ...] = ()
    average: bool = True
    back: float = BACK
