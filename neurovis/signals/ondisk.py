"""Signals on disk as array-likes that give only what is asked for.

Comes in: a recording or epochs that MNE opened, not loaded. Goes out: `Meg4`, the channels of a CTF run,
and `OnDisk`, epochs of a FIF file, to be the `signal` of `Continuous` and `Epochs`. MNE reads a CTF file by
its blocks of samples, which may be as long as the run; read by channels, a run never is in memory whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurovis.signals.recording import foreign

__all__ = ["Meg4", "OnDisk"]

GROUP = 16  # channels per read
TRIALS = 32  # epochs per read: MNE gives them in double precision


class Meg4:
    """Channels of a CTF recording as float32 in SI units, read `GROUP` at a time.

    Looks like an array (channel, time) whose rows are asked for one by one. The file stores blocks of
    samples, in each of them channel after channel; blocks may be as long as the run, so that reading a
    few seconds of all channels, as MNE does, would read all of it each time.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Of one ``.meg4`` file; of several, channels are read through MNE.
    """

    def __init__(self, raw: Any) -> None:
        self._raw, self._lost, self._group = raw, (0, 0, ""), (-1, np.zeros((0, 0), np.int32))
        self.shape = (len(raw.ch_names), int(raw.n_times))
        self._gain = [ch["cal"] * ch["range"] for ch in raw.info["chs"]]
        self._block = round(raw.buffer_size_sec * raw.info["sfreq"])

    def blank(self, start: int, count: int, how: str) -> None:
        """Give `count` samples from `start` as missing (``reject``) or as the channel's ``median``."""
        self._lost = (start, start + count, how)

    def __getitem__(self, row: int) -> np.ndarray:
        if len(self._raw.filenames) > 1:
            file = Path(self._raw.filenames[0])
            values = foreign(file, lambda: self._raw.get_data([row], verbose="error"))[0]
        else:
            values = self._stored(row) * self._gain[row]
        values = values.astype(np.float32)
        start, stop, how = self._lost
        if stop > start:
            values[start:stop] = np.nan if how == "reject" else np.median(values)
        return values

    def _stored(self, row: int) -> np.ndarray:
        """Integers of one channel, array (time,); its neighbours are kept for the next question."""
        first = row // GROUP * GROUP
        if self._group[0] != first:
            file = Path(self._raw.filenames[0])
            self._group = (first, foreign(file, lambda: self._read(file, first)))
        return self._group[1][row - first]

    def _read(self, file: Path, first: int) -> np.ndarray:
        """Some channels of the whole run, array (channel, time) of int."""
        n_chans, n_times = self.shape
        count, block = min(GROUP, n_chans - first), self._block
        out = np.empty((count, -(-n_times // block) * block), np.int32)
        with file.open("rb") as handle:
            for start in range(0, out.shape[1], block):
                handle.seek(8 + 4 * (start * n_chans + first * block))
                part = np.fromfile(handle, ">i4", count * block)
                out[:, start : start + block] = part.reshape(count, block)
        return out[:, :n_times]


class OnDisk:
    """Some of the epochs of a file, array-like (trial, channel, time), read when they are sliced."""

    def __init__(self, epochs: Any, rows: np.ndarray) -> None:
        self._epochs, self._rows = epochs, rows
        self.shape = (len(rows), len(epochs.ch_names), len(epochs.times))

    def __getitem__(self, which: slice) -> np.ndarray:
        file, rows = Path(self._epochs.filename), self._rows[which]
        out = np.empty((len(rows), *self.shape[1:]), np.float32)
        for start in range(0, len(rows), TRIALS):
            part = rows[start : start + TRIALS]
            out[start : start + TRIALS] = foreign(
                file, lambda part=part: self._epochs.get_data(item=part, verbose="error")
            )
        return out
