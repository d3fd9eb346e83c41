"""What a dataset's reader gives: a run's place, its events, its signal however it is stored.

Comes in: nothing but names and arrays that may still be on disk. Goes out: `Recording`, `Events`, and the
two ways in which signals come besides MNE's ``Raw``: `Continuous`, whole channels on disk, and `Epochs`,
what the owners cut. Neither is read before it is needed, nor whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError


@dataclass(frozen=True)
class Recording:
    """One run of one subject, not yet opened.

    Parameters
    ----------
    subject, session, run : str
    file : Path
    problem : str
        A sentence on why it cannot be prepared, such as a missing file: its subject fails with it,
        the others go on.
    """

    subject: str
    session: str
    run: str
    file: Path
    problem: str = ""

    @property
    def name(self) -> str:
        """``ses-<session>_run-<run>``, as in splits."""
        return f"ses-{self.session}_run-{self.run}"


@dataclass(frozen=True)
class Events:
    """What was shown when in one run.

    Parameters
    ----------
    onset : array (event,), s from the recording's first sample
    image : array of str (event,)
    notes : tuple of str
        What was found on the way, for the QC page.
    """

    onset: np.ndarray
    image: np.ndarray
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Continuous:
    """A run stored channel by channel, so that wanted channels are read alone and a few at a time.

    Parameters
    ----------
    signal : array-like (channel, time)
        On disk; rows are read one by one.
    sfreq : float, Hz
    names, types : sequence of str (channel,)
        Types as MNE names them.
    position : array (channel, 3), m, head coordinates
        NaN where unknown.
    factor : float
        What to multiply by to get V or T.
    bads : sequence of str
        Channels that the dataset marks as bad.
    spans : sequence of (start, stop, label), s
        Stretches that the dataset marks as bad.
    """

    signal: Any
    sfreq: float
    names: Sequence[str]
    types: Sequence[str]
    position: np.ndarray
    factor: float = 1.0
    bads: Sequence[str] = ()
    spans: Sequence[tuple[float, float, str]] = ()

    def rows(self, picks: Sequence[int]) -> Rows:
        """Channels in a given order, each read when it is asked for."""
        return Rows(self.signal, tuple(int(i) for i in picks), self.factor)


@dataclass(frozen=True)
class Rows:
    """Channels of an array on disk as float32 in SI units; looks like an array (channel, time)."""

    signal: Any
    picks: tuple[int, ...]
    factor: float

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        return len(self.picks), int(self.signal.shape[1])

    def __len__(self) -> int:
        return len(self.picks)

    def __getitem__(self, which: slice) -> np.ndarray:
        out = np.empty((len(self.picks[which]), self.shape[1]), np.float32)
        return self.into(out, which)

    def into(self, out: np.ndarray, which: slice) -> np.ndarray:
        """Read channels into an array (channel, time) float32 that is there already."""
        for row, pick in zip(out, self.picks[which]):
            _read_row(self.signal, pick, row)
            row *= np.float32(self.factor)
        return out


READ = 1 << 17  # values at a time, so that they stay in the cache


def _read_row(signal: Any, row: int, out: np.ndarray) -> None:
    """One channel; of a mapped file by reading, as pages of a map would count as memory in use."""
    values = signal[row]
    root = values
    while isinstance(root, np.memmap) and isinstance(root.base, np.memmap):
        root = root.base
    if not isinstance(root, np.memmap) or not values.flags.c_contiguous or root.filename is None:
        out[:] = values
        return
    buffer = np.empty(READ, values.dtype)
    with open(root.filename, "rb", buffering=0) as handle:
        handle.seek(root.offset + values.ctypes.data - root.ctypes.data)
        for start in range(0, values.size, READ):
            part = buffer[: values.size - start]
            if handle.readinto(memoryview(part).cast("B")) != part.nbytes:
                raise NeurovisError(f"{root.filename}: ends early; fetch it again.")
            out[start : start + len(part)] = part


@dataclass(frozen=True)
class Epochs:
    """Epochs that the owners of a dataset cut.

    Parameters
    ----------
    signal : array-like (trial, channel, time)
        Sliced in blocks of trials: a mapped file, an HDF5 dataset, or an object with ``shape`` and
        ``__getitem__(slice)``.
    image : array of str (trial,)
    sfreq : float, Hz
    tmin : float, s
        Of the first sample.
    names, types : sequence of str (channel,)
    position : array (channel, 3), m
        NaN where unknown.
    factor : float
        What to multiply by to get V or T.
    unit : str
        ``1`` where the owners scaled or whitened already; empty for V or T.
    onset : array (trial,), s, optional
        Where in its run a trial began, if that is known.
    session, run : array of str (trial,), optional
        Where a file holds several; else the recording's.
    notes : tuple of str
    """

    signal: Any
    image: np.ndarray
    sfreq: float
    tmin: float
    names: Sequence[str]
    types: Sequence[str]
    position: np.ndarray
    factor: float = 1.0
    unit: str = ""
    onset: np.ndarray | None = None
    session: np.ndarray | None = None
    run: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.signal.shape)
        if len(shape) != 3 or shape[:2] != (len(self.image), len(self.names)):
            raise NeurovisError(
                f"Epochs.signal: expected (trial={len(self.image)}, channel={len(self.names)}, time), "
                f"found {shape}; give one image per trial and one name per channel."
            )
        for name in ("onset", "session", "run"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.image):
                raise NeurovisError(
                    f"Epochs.{name}: expected {len(self.image)} values, one per trial, found "
                    f"{len(value)}."
                )

    @property
    def times(self) -> np.ndarray:
        """Times of the samples in s."""
        return self.tmin + np.arange(self.signal.shape[2]) / self.sfreq


__all__ = ["Continuous", "Epochs", "Events", "Recording", "Rows"]
