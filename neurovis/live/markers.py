"""Markers as they come: which one is an event, which one a copy, which one may be missing.

Comes in: labels with time stamps, in the order of arrival. Goes out: events, each with its image where
the label names one, and a sentence for what is odd.
"""

from __future__ import annotations

import fnmatch
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

KEPT = 64  # events that a copy is looked for among
LEARN = 8  # intervals before a missing marker can be suspected


@dataclass(frozen=True)
class Marker:
    """One event.

    Parameters
    ----------
    number : int
        Of the event, from 0, in the order of arrival.
    label : str
    image : str
        Id of the image; empty where the label names none.
    stamp : float, s
        When the picture appeared: the mark less its lag.
    """

    number: int
    label: str
    image: str
    stamp: float


class Markers:
    """Turns labels into events.

    Parameters
    ----------
    images : mapping of str to str
        Label to image.
    only : sequence of str
        Patterns of the labels that are events, such as ``stim*``; everything if empty.
    lag : float, s
        By how much marks follow the events.
    same : float, s
        Marks with one label within this time are copies of one event.
    """

    def __init__(
        self,
        images: Mapping[str, str],
        only: Sequence[str] = (),
        lag: float = 0.0,
        same: float = 0.05,
    ):
        self.images, self.only, self.lag, self.same = images, tuple(only), lag, same
        self.n = 0
        self._recent: deque[tuple[str, float]] = deque(maxlen=KEPT)
        self._intervals: deque[float] = deque(maxlen=KEPT)
        self._latest: float | None = None

    def take(self, label: str, stamp: float) -> tuple[Marker | None, list[str]]:
        """An event, or None where it is none or a copy; and what there is to say."""
        label = str(label)
        if self.only and not any(fnmatch.fnmatchcase(label, pattern) for pattern in self.only):
            return None, []
        if not np.isfinite(stamp):
            return None, [f"marker {label!r}: its time is not a number; it was left out"]
        onset = float(stamp) - self.lag
        for other, time in self._recent:
            if other == label and abs(time - onset) <= self.same:
                apart = 1000 * abs(time - onset)
                return None, [
                    f"marker {label!r}: came twice, {apart:.0f} ms apart; the copy was left out"
                ]
        said = self._missing(onset)
        self._recent.append((label, onset))
        marker = Marker(self.n, label, str(self.images.get(label, "")), onset)
        self.n += 1
        return marker, said

    def _missing(self, onset: float) -> list[str]:
        """Whether an interval looks as if markers were lost between two events."""
        said = []
        if self._latest is not None and onset > self._latest:
            interval = onset - self._latest
            if len(self._intervals) >= LEARN:
                usual, widest = np.median(self._intervals), max(self._intervals)
                times = interval / usual
                # regular pictures alone: where pauses are usual, a pause says nothing
                if widest < 1.5 * usual and times > 1.7 and abs(times - round(times)) < 0.25:
                    said.append(
                        f"marker: {round(times) - 1} may be missing, as {interval:.2f} s passed before "
                        f"this event where {usual:.2f} s are usual"
                    )
                    interval = float(usual)
            self._intervals.append(interval)
        self._latest = max(onset, self._latest if self._latest is not None else onset)
        return said
