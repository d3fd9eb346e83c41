"""One subject: recordings to ``trials.h5`` in two passes.

Comes in: a function that opens each run with its events. Goes out: the subject's trials on disk and a
log of what was rejected and why. The first pass holds one run in memory and writes epochs in SI units;
the second scales, clamps and whitens them in blocks, with what the training trials of all runs taught.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import to_dict
from neurovis.errors import NeurovisError
from neurovis.progress import progress
from neurovis.records import Split, Stimuli, Trials, TrialsWriter, opened
from neurovis.signals.chain import Run, Steps, process_run
from neurovis.signals.channels import pick_channels
from neurovis.signals.epochs import repeat_index
from neurovis.signals.recording import bad_spans, channel_facts, read_signal
from neurovis.signals.scaling import (
    apply_scale,
    constant_scale,
    noise_covariance,
    robust_scale,
    standard_scale,
    whiten,
    whitener,
)
from neurovis.store import dataset, open_h5

BLOCK = 128  # trials at a time in the second pass
ROBUST_TRIALS = 512  # median and quartiles are taken over at most so many, evenly spread
POSITION_TOLERANCE = 0.02  # m; re-digitised caps differ by millimetres


@dataclass(frozen=True)
class Recording:
    """One run of one subject, not yet opened."""

    subject: str
    session: str
    run: str
    file: Path

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


@dataclass
class SubjectLog:
    """What the QC page of one subject shows, gathered run by run."""

    subject: str
    dataset: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    position: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    dropped: list[str] = field(default_factory=list)
    repeats: dict[str, dict[int, int]] = field(default_factory=dict)
    evoked: dict[str, np.ndarray] = field(default_factory=dict)
    n_evoked: dict[str, int] = field(default_factory=dict)
    frequency: np.ndarray = field(default_factory=lambda: np.zeros(0))
    before: Any = 0.0
    after: Any = 0.0
    sfreq: float = 0.0
    recorded_sfreq: float = 0.0
    tmin: float = 0.0

    def add(self, recording: Recording, run: Run, sets: np.ndarray, notes: Sequence[str]) -> None:
        """Take in one run; `sets` (trial,) tells training from test."""
        reasons: dict[str, int] = {}
        for reason in run.rejected.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        self.runs.append(
            {
                "name": recording.name,
                "trials": len(run.kept),
                "rejected": reasons,
                "bad": run.bad,
                "notes": list(notes),
            }
        )
        self.frequency = run.frequency
        self.before, self.after = self.before + run.before, self.after + run.after
        for name in np.unique(sets):
            total = run.signal[sets == name].sum(axis=0, dtype=np.float64)
            self.evoked[name] = self.evoked.get(name, 0) + total
            self.n_evoked[name] = self.n_evoked.get(name, 0) + int((sets == name).sum())

    def summary(self) -> dict[str, Any]:
        """Plain data: runs with what was rejected and why, and channels dropped."""
        return {
            "subject": self.subject,
            "runs": self.runs,
            "dropped": self.dropped,
            # JSON keys are text
            "repeats": {s: {str(k): n for k, n in c.items()} for s, c in self.repeats.items()},
        }


def write_epochs(
    path: Path,
    steps: Steps,
    recordings: Sequence[Recording],
    read: Callable[[Recording], tuple[Any, Events]],
    stimuli: Stimuli,
    name: str,
    quiet: bool = False,
) -> SubjectLog:
    """First pass: runs to epochs in SI units, one run in memory at a time.

    Parameters
    ----------
    path : path
        Written as `Trials`.
    steps : Steps
    recordings : sequence of Recording
        Of one subject.
    read : callable
        Opens a recording: mne.io.BaseRaw, not loaded, and its events.
    stimuli : Stimuli
        Every event's image must be in it.
    name : str
        Of the dataset.
    quiet : bool

    Raises
    ------
    NeurovisError
        If rate or montage differ between runs, or a run cannot be read; the file is named.
    """
    log = SubjectLog(recordings[0].subject, name)
    with contextlib.ExitStack() as stack:
        writer = None
        for recording in progress(recordings, f"sub-{log.subject}", quiet=quiet, unit="run"):
            with _named(recording):
                raw, events = read(recording)
                sfreq = float(raw.info["sfreq"])
                names, types, position = channel_facts(raw)
                picks = pick_channels(names, types, steps.picks)
                facts = [names[i] for i in picks], [types[i] for i in picks], position[picks]
                if writer is None:
                    log.names, log.types, log.position = facts
                    log.recorded_sfreq, log.sfreq = sfreq, steps.sfreq or sfreq
                    log.tmin = steps.tmin
                    writer = stack.enter_context(TrialsWriter(path, **_about(log)))
                picks = picks[_same_as_first(log, recordings[0], facts, sfreq)]
                row = stimuli.index(events.image)
                signal = read_signal(raw, picks, recording.file)
                run = process_run(
                    steps, signal, sfreq, events.onset, log.names, log.types, log.position,
                    raw.info["bads"], bad_spans(raw),
                )  # fmt: skip
                sets = stimuli.set[row[run.kept]]
                log.add(recording, run, sets, events.notes)
                if len(run.kept):
                    writer.append(
                        run.signal,
                        image=events.image[run.kept],
                        session=recording.session,
                        run=recording.run,
                        set=sets,
                        onset=events.onset[run.kept],
                    )
    return log


@contextlib.contextmanager
def _named(recording: Recording) -> Iterator[None]:
    """Put the recording's name before an error that does not tell it."""
    try:
        yield
    except NeurovisError as error:
        if recording.file.name in str(error):
            raise
        raise type(error)(f"{recording.file.name}: {error}") from error


def _about(log: SubjectLog) -> dict[str, Any]:
    modality = "meg" if {"mag", "grad"} & set(log.types) else "eeg"
    return {
        "channel_name": log.names,
        "channel_type": log.types,
        "channel_position": log.position,
        "sfreq": log.sfreq,
        "tmin": log.tmin,
        "modality": modality,
        "unit": {"meg": "T", "eeg": "V"}[modality],
        "subject": log.subject,
        "dataset": log.dataset,
    }


def _same_as_first(
    log: SubjectLog, first: Recording, facts: tuple[list, list, np.ndarray], sfreq: float
) -> np.ndarray:
    """Order that brings a run's channels into that of the first run, or a sentence on what differs."""
    names, _, position = facts
    if abs(sfreq - log.recorded_sfreq) > 1e-6 * sfreq:
        raise NeurovisError(
            f"sampling rate {sfreq:g} Hz, expected {log.recorded_sfreq:g} Hz as in "
            f"{first.file.name}; leave this run out or resample it beforehand."
        )
    odd = sorted(set(names) ^ set(log.names))
    if odd:
        which = "missing" if odd[0] in log.names else "new"
        raise NeurovisError(
            f"channel {odd[0]!r} is {which} ({len(odd)} differ), expected the montage of "
            f"{first.file.name}; pick channels that all runs have."
        )
    order = np.array([names.index(name) for name in log.names])
    far = np.linalg.norm(position[order] - log.position, axis=1)
    if (far > POSITION_TOLERANCE).any():
        worst = int(np.nanargmax(far))
        raise NeurovisError(
            f"channel {log.names[worst]!r} is {1000 * far[worst]:.0f} mm from where it is in "
            f"{first.file.name}, expected the same montage (within "
            f"{1000 * POSITION_TOLERANCE:.0f} mm); correct the positions or leave this run out."
        )
    return order


def write_trials(path: Path, steps: Steps, split: Split, epochs: Path, log: SubjectLog) -> None:
    """Second pass: scale, clamp and whiten with what training trials alone teach.

    Parameters
    ----------
    path : path
        ``trials.h5``, with `repeat` (trial,) and the numbers of `Scaling` added.
    steps : Steps
    split : Split
        Its training side is what scaling and whitening learn from.
    epochs : path
        What `write_epochs` wrote.
    log : SubjectLog
        Takes in the channels dropped and the counts of repeats.
    """
    import h5py

    with opened(epochs) as trials:
        if steps.bads == "drop":
            bad = {name for run in log.runs for name in run["bad"]}
            log.dropped = [name for name in log.names if name in bad]
        keep = np.flatnonzero(~np.isin(trials.channel_name, log.dropped))
        training = split.rows("train", trials)
        group = trials.session if steps.scope == "session" else np.full(len(trials), "all")
        labels = np.unique(group)
        learned = [
            _learn(
                steps, trials, keep, np.intersect1d(np.flatnonzero(group == label), training), label
            )
            for label in labels
        ]
        repeat = repeat_index(trials.image)
        for name in np.unique(trials.set):
            counts = np.bincount(np.unique(trials.image[trials.set == name], return_counts=True)[1])
            log.repeats[str(name)] = {int(n): int(counts[n]) for n in np.flatnonzero(counts)}
        scaled = steps.scaling != "none" or steps.whiten != "none"
        about = _about(log)
        about["unit"] = "1" if scaled else about["unit"]
        for name in ("channel_name", "channel_type", "channel_position"):
            about[name] = np.asarray(about[name])[keep]
        record = {
            "steps": to_dict(steps),
            "recorded_sfreq": log.recorded_sfreq,
            "dropped": log.dropped,
            "runs": log.runs,
        }
        with TrialsWriter(path, **about, provenance=record) as writer:
            for start in range(0, len(trials), BLOCK):
                rows = np.arange(start, min(start + BLOCK, len(trials)))
                block = trials.read(rows)[:, keep]
                for label, (center, scale, matrix) in zip(labels, learned):
                    mine = np.flatnonzero(group[rows] == label)
                    if len(mine):
                        part = apply_scale(block[mine], center, scale, _clamp(steps))
                        block[mine] = whiten(part, matrix) if matrix is not None else part
                columns = {
                    n: getattr(trials, n)[rows] for n in ("image", "session", "run", "set", "onset")
                }
                writer.append(block, **columns)
            stored = writer.file.create_group("scaling")
            stored.attrs["clamp"] = np.inf if _clamp(steps) is None else _clamp(steps)
            stored.create_dataset("group", data=labels.astype(object), dtype=h5py.string_dtype())
            stored["center"] = np.stack([center for center, _, _ in learned])
            stored["scale"] = np.stack([scale for _, scale, _ in learned])
            if steps.whiten == "training":
                stored["whitener"] = np.stack([matrix for _, _, matrix in learned])
            writer.file["repeat"] = repeat


def learns(steps: Steps) -> bool:
    """Whether scaling or whitening learns from training trials."""
    return steps.scaling in ("robust", "session z") or steps.whiten == "training"


def _clamp(steps: Steps) -> float | None:
    return None if steps.scaling == "none" else steps.clamp


def _learn(
    steps: Steps, trials: Trials, keep: np.ndarray, rows: np.ndarray, label: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Center, scale and whitening matrix of one session, or of the subject."""
    n = len(keep)
    if learns(steps) and len(rows) < 2:
        raise NeurovisError(
            f"scaling: session {label!r} has {len(rows)} training trials, expected at least two; "
            "set scope=subject, or scaling=constant with whiten=none."
        )
    parts = np.array_split(rows, max(1, -(-len(rows) // BLOCK)))
    if steps.scaling == "robust":
        every = max(1, -(-len(rows) // ROBUST_TRIALS))
        center, scale = robust_scale(trials.read(rows[::every])[:, keep])
    elif steps.scaling == "session z":
        center, scale = standard_scale(trials.read(part)[:, keep] for part in parts)
    elif steps.scaling == "constant":
        center, scale = constant_scale(trials.channel_type[keep])
    else:
        center, scale = np.zeros(n, np.float32), np.ones(n, np.float32)
    if steps.whiten == "none":
        return center, scale, None

    def scaled() -> Iterator[np.ndarray]:
        for part in parts:
            yield apply_scale(trials.read(part)[:, keep], center, scale, _clamp(steps))

    mean = sum(block.sum(axis=0, dtype=np.float64) for block in scaled()) / len(rows)
    return center, scale, whitener(noise_covariance(scaled(), mean.astype(np.float32)))


@dataclass(frozen=True)
class Scaling:
    """How trials were scaled, so that it can be undone, or done to something else.

    A trial x (channel, time) in SI units became
    ``whitener @ clip((x - center) / scale, -clamp, clamp)``.

    Parameters
    ----------
    group : array of str (group,)
        Sessions, or ``all``.
    center, scale : array (group, channel)
    clamp : float
    whitener : array (group, channel, channel) or None
    """

    group: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    clamp: float
    whitener: np.ndarray | None

    @classmethod
    def read(cls, path: str | Path) -> Scaling:
        """Read it from ``trials.h5``."""
        with open_h5(path, "neurovis-trials") as file:
            stored = dataset(path, file, "scaling")
            return cls(
                group=stored["group"].asstr()[()].astype(str),
                center=stored["center"][()],
                scale=stored["scale"][()],
                clamp=float(stored.attrs["clamp"]),
                whitener=stored["whitener"][()] if "whitener" in stored else None,
            )

    @cached_property
    def _inverse(self) -> np.ndarray | None:
        return None if self.whitener is None else np.linalg.pinv(self.whitener, hermitian=True)

    def undo(self, signal: np.ndarray, session: np.ndarray) -> np.ndarray:
        """Trials in SI units: array (trial, channel, time); what was clamped stays so.

        Parameters
        ----------
        signal : array (trial, channel, time)
            As stored in ``trials.h5``.
        session : array of str (trial,)
        """
        out = np.empty_like(signal)
        for number, label in enumerate(self.group):
            mine = np.full(len(signal), True) if label == "all" else np.asarray(session) == label
            part = signal[mine]
            if self._inverse is not None:
                part = np.matmul(self._inverse[number], part)
            out[mine] = part * self.scale[number][:, None] + self.center[number][:, None]
        return out
