"""First pass: responses of each recording to disk, and one table of all trials over the files.

Comes in: `Responses`, wherever their numbers lie. Goes out: one HDF5 file per recording, in chunks that
are cheap to read by trials and by voxels alike, so that a later pass may go either way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Stimuli
from neurovis.signals.fmri.voxels import Voxels
from neurovis.signals.sources import Recording

CHUNK = (64, 256)  # trials, voxels
TRIALS = 64  # at a time


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses to the trials of one recording (a run, or a session of several runs).

    Parameters
    ----------
    signal : array-like (trial, voxel) or (trial, voxel, time)
        Sliced in blocks of trials: an array, a memmap, or anything with ``shape`` and
        ``__getitem__(slice)``; columns follow the subject's `Voxels`. NaN marks what is missing.
    image : array of str (trial,)
    onset : array (trial,), s
    run, session : array of str (trial,), optional
        Where they differ from the recording's.
    tsnr : array (voxel,), optional
        Mean over SD of the voxel's signal in time.
    design : (array (volume, regressor), list of str), optional
        First-level model, for the QC page.
    sfreq : float, Hz
        1 / TR; 1 where the owners of betas state none.
    tmin : float, s
        Of the first sample after the event, for TR windows.
    unit : str
        Of the signal: ``%`` of the mean, ``1``, ...
    notes : tuple of str
    """

    signal: Any
    image: np.ndarray
    onset: np.ndarray
    run: np.ndarray | None = None
    session: np.ndarray | None = None
    tsnr: np.ndarray | None = None
    design: tuple[np.ndarray, list[str]] | None = None
    sfreq: float = 1.0
    tmin: float = 0.0
    unit: str = "1"
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("image", np.asarray(self.image).astype(str))
        put("onset", np.asarray(self.onset, np.float64))
        n = int(self.signal.shape[0])
        if len(self.signal.shape) not in (2, 3):
            raise NeurovisError(
                f"Responses.signal: expected (trial, voxel) or (trial, voxel, time), found "
                f"{tuple(self.signal.shape)}; reshape it."
            )
        for name in ("image", "onset", "run", "session"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise NeurovisError(
                    f"Responses.{name}: expected one value for each of {n} trials, found {len(value)}; "
                    "check what the recording's events name."
                )
        for name in ("run", "session"):
            if getattr(self, name) is not None:
                put(name, np.asarray(getattr(self, name)).astype(str))


def write_responses(
    read: Callable[[Path, Recording, Voxels], Responses],
    root: Path,
    recording: Recording,
    voxels: Voxels,
    path: Path,
) -> dict[str, Any]:
    """First pass over one recording: its responses to disk; gives all else that is known of it."""
    import h5py

    if recording.problem:
        raise NeurovisError(recording.problem)
    try:
        found = read(root, recording, voxels)
        shape = tuple(found.signal.shape)
        if shape[1] != len(voxels):
            raise NeurovisError(
                f"{shape[1]} voxels, expected {len(voxels)} as in the subject's mask; is it another "
                "subject's, or another version?"
            )
    except NeurovisError as error:
        if recording.file.name in str(error):
            raise
        raise type(error)(f"{recording.file.name}: {error}") from error
    n_times = shape[2] if len(shape) == 3 else 1
    missing = np.zeros(len(voxels), bool)
    with h5py.File(path, "w") as file:
        size = (shape[0], len(voxels), n_times)
        chunks = (min(CHUNK[0], max(1, shape[0])), min(CHUNK[1], len(voxels)), n_times)
        stored = file.create_dataset("signal", size, np.float32, chunks=chunks)
        for start in range(0, shape[0], TRIALS):
            block = np.asarray(found.signal[start : start + TRIALS], np.float32)
            block = block.reshape(len(block), len(voxels), n_times)
            missing |= ~np.isfinite(block).all(axis=(0, 2))
            stored[start : start + len(block)] = block
    n = shape[0]
    return {
        "image": found.image,
        "onset": found.onset,
        "run": np.full(n, recording.run) if found.run is None else found.run,
        "session": np.full(n, recording.session) if found.session is None else found.session,
        "missing": missing,
        "tsnr": found.tsnr,
        "design": found.design,
        "sfreq": float(found.sfreq),
        "tmin": float(found.tmin),
        "n_times": n_times,
        "unit": found.unit,
        "notes": list(found.notes),
    }


class TrialTable:
    """All trials of a subject over the files of the first pass."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        parts: list[dict[str, Any]],
        paths: list[Path],
        stimuli: Stimuli,
    ):
        first = parts[0]
        for recording, part in zip(recordings, parts):
            for fact, what in (("sfreq", "Hz (1 / TR)"), ("n_times", "samples"), ("unit", "unit")):
                same = part[fact] == first[fact]
                if fact == "sfreq":
                    same = abs(part[fact] - first[fact]) < 1e-4 * first[fact]
                if not same:
                    raise NeurovisError(
                        f"{recording.file.name}: {what} {part[fact]}, expected {first[fact]} as in "
                        f"{recordings[0].file.name}; leave this recording out."
                    )
        self.paths = paths
        self.sets = []
        for recording, part in zip(recordings, parts):
            try:
                self.sets.append(stimuli.set[stimuli.index(part["image"])] if len(part["image"])
                                 else np.zeros(0, str))  # fmt: skip
            except NeurovisError as error:
                raise NeurovisError(f"{recording.file.name}: {error}") from error
        self.set = np.concatenate(self.sets)
        for name in ("image", "onset", "run", "session"):
            setattr(self, name, np.concatenate([part[name] for part in parts]))
        self.recording = np.array([f"ses-{s}_run-{r}" for s, r in zip(self.session, self.run)], str)
        self.start = np.cumsum([0, *[len(part["image"]) for part in parts]])
        self.n_times, self.sfreq, self.tmin = first["n_times"], first["sfreq"], first["tmin"]
        self.n_voxels = len(first["missing"])

    def __len__(self) -> int:
        return len(self.image)

    def columns(self, voxels: slice) -> np.ndarray:
        """All trials of some voxels, array (trial, voxel, time) float32."""
        import h5py

        width = len(range(*voxels.indices(self.n_voxels)))
        out = np.empty((len(self), width, self.n_times), np.float32)
        for path, start, stop in zip(self.paths, self.start, self.start[1:]):
            if stop > start:
                with h5py.File(path, "r") as file:
                    out[start:stop] = file["signal"][:, voxels]
        return out

    def groups(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Labels, and the number of each trial's label, of runs, sessions or the subject."""
        if kind == "subject":
            return np.array(["all"]), np.zeros(len(self), int)
        names = self.recording if kind == "run" else self.session
        return np.unique(names, return_inverse=True)
