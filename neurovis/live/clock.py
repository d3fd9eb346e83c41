"""From time stamps to sample numbers: what was lost on the way, and where an event falls.

Comes in: the time stamp of every sample, s. Goes out: the number of each sample on one regular grid, on
which lost samples have their place. The rule looks at samples one by one, so that it does not matter in
which portions they arrive. Stamps that amplifiers give on arrival tremble: a step counts as a loss where it
is larger than `LEAST`, or than three quarters of a sample where stamps were regular so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurovis.errors import NeurovisError

LEAST = 0.02  # s
MEMORY = 1.0  # s over which a drift of the clocks is followed
STEADY = 0.02  # tremble in samples below which stamps are regular
LEARNED = 200  # samples before that can be said
JUMPS = 12  # steps in a row, alike in size and distance, that say that the rate is wrong


@dataclass(frozen=True)
class Gap:
    """Samples that are missing.

    Parameters
    ----------
    start : int
        Number of the first one missing.
    count : int
        How many; below zero where the clock went back by as much, and none is missing.
    stamp : float, s
        Of the sample after it.
    """

    start: int
    count: int
    stamp: float


class Clock:
    """The grid of one stream.

    Parameters
    ----------
    sfreq : float, Hz
        The rate that the stream declares.

    Attributes
    ----------
    n : int
        Number of the next sample.
    """

    def __init__(self, sfreq: float):
        self.sfreq, self.n = float(sfreq), 0
        self._time: float | None = None  # where the grid expects the next sample
        self._tremble = self._off = 0.0
        self._seen = 0
        self._steps: list[tuple[float, int]] = []

    def tick(self, stamps: np.ndarray) -> list[Gap]:
        """Take the stamps of new samples: array (time,), s; give the gaps before some of them.

        Raises
        ------
        NeurovisError
            If the stamps say that the declared rate is wrong.
        """
        period, gaps = 1 / self.sfreq, []
        follow = 1 - 0.5 ** (period / MEMORY)
        for stamp in np.asarray(stamps, float).tolist():
            if self._time is None:
                self._time = stamp
            off = stamp - self._time
            regular = self._seen >= LEARNED and self._tremble < STEADY
            loose = max(LEAST, 1.5 * period, 8 * self._tremble * period)
            if abs(off) > (0.75 * period if regular else loose):
                gaps.append(self._step(round(off * self.sfreq), stamp))
                off = self._off = 0.0
            # from sample to sample: a drift of the clocks is no tremble
            self._tremble += 0.01 * (abs(off - self._off) * self.sfreq - self._tremble)
            self._off = off
            self._time += period + follow * off
            self._seen += 1
            self.n += 1
        return gaps

    def _step(self, count: int, stamp: float) -> Gap:
        self._steps = [*self._steps[-JUMPS:], (stamp, count)]
        if len(self._steps) > JUMPS:
            at, size = np.array(self._steps).T
            apart, size = np.diff(at), size[1:]
            alike = [np.std(x) < 0.3 * abs(np.mean(x)) for x in (apart, size)]
            if all(alike):
                found = self.sfreq * (1 - size.mean() / (apart.mean() * self.sfreq))
                raise NeurovisError(
                    f"stream: declares {self.sfreq:g} Hz, but its time stamps are those of about "
                    f"{found:.4g} Hz; expected samples at the declared rate: correct the amplifier's rate."
                )
        gap = Gap(self.n, count, stamp)
        self.n += max(count, 0)
        self._time = stamp
        return gap

    def place(self, stamp: float) -> float:
        """Number of the sample at a time (s), with its fraction; may lie ahead.

        Raises
        ------
        NeurovisError
            If no sample came yet.
        """
        if self._time is None:
            raise NeurovisError("clock: expected a sample before an event, found none yet.")
        return self.n + (stamp - self._time) * self.sfreq
