"""Reading recordings of any format that MNE reads, in bounded memory.

Comes in: a file. Goes out: channel facts and one run's signal as float32, read some seconds at a time,
so that MNE's double-precision buffers never hold a whole run. What is wrong with a file is said in one
sentence that names it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError

SECONDS = 10.0  # read at a time


def foreign(path: Path, read: Callable[[], Any]) -> Any:
    """Run a reader of a foreign file; whatever it raises becomes one sentence that names the file."""
    try:
        with warnings.catch_warnings():
            # readers warn about missing digitisation, odd units and annotations outside the data;
            # what matters of it is checked by us
            warnings.simplefilter("ignore")
            return read()
    except NeurovisError:
        raise
    except Exception as error:  # a damaged file can make a reader raise anything
        said = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise NeurovisError(
            f"{path}: cannot be read as a recording, expected a whole file in a format that MNE reads; "
            f"found: {said}; fetch or export the file again."
        ) from error


def open_recording(path: str | Path) -> Any:
    """Open a recording (FIF, CTF, BrainVision, EDF, BDF, GDF, EEGLAB, ...) without loading it.

    Returns
    -------
    mne.io.BaseRaw

    Raises
    ------
    NeurovisError
        If the file is missing, truncated or of no known format.
    """
    import mne

    path = Path(path)
    if not path.exists():
        raise NeurovisError(
            f"{path}: no such recording; check the path or fetch the dataset again."
        )
    return foreign(path, lambda: mne.io.read_raw(path, preload=False, verbose="error"))


def channel_facts(raw: Any) -> tuple[list[str], list[str], np.ndarray]:
    """Names, MNE types and positions (channel, 3) in m of a recording's channels.

    Positions are in head coordinates where the file knows the head (device coordinates otherwise),
    NaN where a sensor's place is unknown.
    """
    names, types = list(raw.ch_names), raw.get_channel_types()
    position = np.array([channel["loc"][:3] for channel in raw.info["chs"]], float)
    position[~position.any(axis=1)] = np.nan
    transform = raw.info["dev_head_t"]
    if transform is not None:
        meg = np.isin(types, ("mag", "grad", "ref_meg"))
        matrix = transform["trans"]
        position[meg] = position[meg] @ matrix[:3, :3].T + matrix[:3, 3]
    return names, types, position


def read_signal(raw: Any, picks: np.ndarray, file: str | Path = "recording") -> np.ndarray:
    """One run's signal.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    picks : array of int
        Channels wanted.
    file : path
        Named in errors.

    Returns
    -------
    array (channel, time) float32, SI
    """
    signal = np.empty((len(picks), raw.n_times), np.float32)
    if _mixed_rates(raw):
        # MNE resamples the slower channels stretch by stretch: only whole channels have no seams
        for row, pick in zip(signal, picks):
            row[:] = foreign(Path(file), lambda p=pick: raw.get_data([p], verbose="error"))[0]
        return signal
    step = max(1, int(SECONDS * raw.info["sfreq"]))
    for start in range(0, raw.n_times, step):
        stop = min(start + step, raw.n_times)
        signal[:, start:stop] = foreign(
            Path(file), lambda a=start, b=stop: raw.get_data(picks, a, b, verbose="error")
        )
    return signal


def _mixed_rates(raw: Any) -> bool:
    """Whether an EDF-like file holds channels of several rates (MNE tells it nowhere public)."""
    extras = next(iter(getattr(raw, "_raw_extras", [])), None)
    counts = extras.get("n_samps") if isinstance(extras, dict) else None
    return counts is not None and len(np.unique(counts)) > 1


def bad_spans(raw: Any) -> list[tuple[float, float, str]]:
    """Annotated bad stretches: start, stop in s from the first sample, and the label."""
    first = raw.first_time if raw.annotations.orig_time is not None else 0.0
    return [
        (note["onset"] - first, note["onset"] - first + note["duration"], str(note["description"]))
        for note in raw.annotations
        if str(note["description"]).lower().startswith(("bad", "edge"))
    ]
