"""The last stretch of a signal, addressed by sample numbers that never start over.

Comes in: samples (channel, time). Goes out: any stretch that is still there. The memory is mirrored, so
that every stretch lies in one piece.
"""

from __future__ import annotations

import numpy as np

from neurovis.errors import NeurovisError


class Ring:
    """A ring of samples.

    Parameters
    ----------
    n_chans : int
    capacity : int
        Samples kept.

    Attributes
    ----------
    n : int
        Samples put in so far.
    """

    def __init__(self, n_chans: int, capacity: int, dtype: type = np.float32):
        if capacity < 1:
            raise NeurovisError(f"ring: expected room for one sample or more, found {capacity}.")
        self.capacity, self.n, self._floor = capacity, 0, 0
        self._data = np.zeros((n_chans, 2 * capacity), dtype)

    @property
    def first(self) -> int:
        """Number of the oldest sample that is still there."""
        return max(self._floor, self.n - self.capacity)

    def jump(self, n: int) -> None:
        """The next sample has number `n`; those between are zero, or were never there at the start."""
        if self.n == self._floor:
            self.n = self._floor = n
            return
        gap = min(n - self.n, self.capacity)
        self.n = n - gap
        self.put(np.zeros((len(self._data), gap), self._data.dtype))

    def put(self, samples: np.ndarray) -> None:
        """Add samples (channel, time)."""
        skip = max(0, samples.shape[1] - self.capacity)
        begin, samples = self.n + skip, samples[:, skip:]
        self.n += skip + samples.shape[1]
        while samples.shape[1]:
            place = begin % self.capacity
            count = min(samples.shape[1], self.capacity - place)
            for start in (place, place + self.capacity):
                self._data[:, start : start + count] = samples[:, :count]
            begin, samples = begin + count, samples[:, count:]

    def get(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop): array (channel, time), a view that new samples will change.

        Raises
        ------
        NeurovisError
            If some are gone, or not there yet.
        """
        if start < self.first or stop > self.n or start >= stop:
            raise NeurovisError(
                f"ring: expected samples between {self.first} and {self.n}, found {start} to {stop}."
            )
        place = start % self.capacity
        return self._data[:, place : place + stop - start]
