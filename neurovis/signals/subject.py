"""One subject, first pass: recordings to epochs in SI units on disk.

Comes in: a function that opens each run with its events. Goes out: ``epochs.h5`` and a log of what was
rejected and why. Each process holds one run; runs may be worked on by several, and are written in
order. `neurovis.signals.standardise` follows with what the training trials of all runs teach.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, UsageError
from neurovis.parallel import Workers
from neurovis.progress import progress
from neurovis.records import Stimuli, TrialsWriter
from neurovis.signals.chain import Run, Steps, process_run
from neurovis.signals.channels import pick_channels
from neurovis.signals.epochs import n_samples, rejections, subtract_baseline
from neurovis.signals.filters import Chain
from neurovis.signals.recording import bad_spans, channel_facts, read_signal
from neurovis.signals.sources import Continuous, Epochs, Recording

BLOCK = 512  # trials at a time
POSITION_TOLERANCE = 0.02  # m; re-digitised caps differ by millimetres

Source = Any
"""What a dataset's reader gives: mne.io.BaseRaw or `Continuous`, or `Epochs`."""


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
    unit: str = ""

    def add(self, recording: Recording, run: Run, sets: np.ndarray, notes: Sequence[str]) -> None:
        """Take in one run; `sets` (trial,) tells training from test."""
        reasons: dict[str, int] = {}
        for reason in run.rejected.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        self._count(recording, len(run.kept), reasons, run.bad, notes)
        self.frequency = run.frequency
        self.before, self.after = self.before + run.before, self.after + run.after
        for name in np.unique(sets):
            total = _sum(run.signal, np.flatnonzero(sets == name))
            self.evoked[name] = self.evoked.get(name, 0) + total
            self.n_evoked[name] = self.n_evoked.get(name, 0) + int((sets == name).sum())

    def _count(
        self,
        recording: Recording,
        trials: int,
        reasons: dict[str, int],
        bad: dict[str, str],
        notes: Sequence[str],
    ) -> None:
        """One entry per recording, however many parts it comes in."""
        if not self.runs or self.runs[-1]["name"] != recording.name:
            self.runs.append(
                {"name": recording.name, "trials": 0, "rejected": {}, "bad": {}, "notes": []}
            )
        entry = self.runs[-1]
        entry["trials"] += trials
        for reason, count in reasons.items():
            entry["rejected"][reason] = entry["rejected"].get(reason, 0) + count
        entry["bad"] |= bad
        entry["notes"] += notes

    def summary(self) -> dict[str, Any]:
        """Plain data: runs with what was rejected and why, and channels dropped."""
        return {
            "subject": self.subject,
            "runs": self.runs,
            "dropped": self.dropped,
            # JSON keys are text
            "repeats": {s: {str(k): n for k, n in c.items()} for s, c in self.repeats.items()},
        }


@dataclass(frozen=True)
class Montage:
    """The wanted channels of a subject, as its first recording has them."""

    names: list[str]
    types: list[str]
    position: np.ndarray
    sfreq: float
    file: str

    def order(self, other: Montage) -> np.ndarray:
        """Order that brings another run's channels into this one's, or a sentence on what differs."""
        if abs(other.sfreq - self.sfreq) > 1e-6 * other.sfreq:
            raise NeurovisError(
                f"sampling rate {other.sfreq:g} Hz, expected {self.sfreq:g} Hz as in {self.file}; leave "
                "this run out or resample it beforehand."
            )
        odd = sorted(set(other.names) ^ set(self.names))
        if odd:
            which = "missing" if odd[0] in self.names else "new"
            raise NeurovisError(
                f"channel {odd[0]!r} is {which} ({len(odd)} differ), expected the montage of "
                f"{self.file}; pick channels that all runs have."
            )
        order = np.array([other.names.index(name) for name in self.names])
        far = np.linalg.norm(other.position[order] - self.position, axis=1)
        if (far > POSITION_TOLERANCE).any():
            worst = int(np.nanargmax(far))
            raise NeurovisError(
                f"channel {self.names[worst]!r} is {1000 * far[worst]:.0f} mm from where it is in "
                f"{self.file}, expected the same montage (within "
                f"{1000 * POSITION_TOLERANCE:.0f} mm); correct the positions or leave this run out."
            )
        return order


def montage_of(source: Source, picks: Sequence[str], file: Path) -> tuple[np.ndarray, Montage]:
    """Rows of the wanted channels, and what they are."""
    if isinstance(source, Continuous | Epochs):
        names, types = list(source.names), list(source.types)
        position, sfreq = np.asarray(source.position, float), float(source.sfreq)
    else:
        names, types, position = channel_facts(source)
        sfreq = float(source.info["sfreq"])
    chosen = pick_channels(names, types, picks)
    return chosen, Montage(
        [names[i] for i in chosen], [types[i] for i in chosen], position[chosen], sfreq, file.name
    )


def write_epochs(
    path: Path,
    steps: Steps,
    recordings: Sequence[Recording],
    read: Callable[[Path, Recording], Any],
    root: Path,
    stimuli: Stimuli,
    name: str,
    workers: Workers | None = None,
    quiet: bool = False,
) -> SubjectLog:
    """First pass: runs to epochs in SI units.

    Parameters
    ----------
    path : path
        Written as `Trials`.
    steps : Steps
    recordings : sequence of Recording
        Of one subject.
    read : callable
        Opens a recording under `root`: signals, not loaded, and events; or `Epochs`.
    root : Path
    stimuli : Stimuli
        Every event's image must be in it.
    name : str
        Of the dataset.
    workers : Workers
        For the runs; the file does not depend on it.
    quiet : bool

    Raises
    ------
    NeurovisError
        If rate or montage differ between runs, or a run cannot be read; the file is named.
    """
    workers = workers or Workers()
    log = SubjectLog(recordings[0].subject, name)
    with _named(recordings[0]):
        source = read(root, recordings[0])
        cut = isinstance(source, Epochs)
        _, montage = montage_of(source if cut else source[0], steps.picks, recordings[0].file)
    log.names, log.types, log.position = montage.names, montage.types, montage.position
    log.recorded_sfreq, log.sfreq = montage.sfreq, steps.sfreq or montage.sfreq
    log.tmin, _ = steps.kept(log.sfreq)
    log.unit = source.unit if cut else ""
    del source
    threads, workers = (workers.n_jobs, Workers()) if workers.cluster == "none" else (1, workers)
    alone = workers.n_jobs == 1 or len(recordings) == 1
    spill = None if alone else path.parent
    given = (steps, read, root, stimuli, montage, spill, threads)
    with TrialsWriter(path, **about_channels(log)) as writer:
        if cut:
            shown = progress(recordings, f"sub-{log.subject}", quiet=quiet, unit="file")
            parts = (part for recording in shown for part in epoch_parts(recording, *given[:-2]))
        else:
            tasks = [(recording, *given) for recording in recordings]
            parts = workers.map(continuous_part, tasks, path.parent, f"sub-{log.subject}", quiet)
        for part in parts:
            _append(writer, log, part, stimuli)
    return log


@dataclass(frozen=True)
class Part:
    """A run, or a block of trials of it, on its way to disk."""

    recording: Recording
    run: Run
    onset: np.ndarray
    image: np.ndarray
    session: Any
    number: Any
    notes: tuple[str, ...] = ()
    spilled: Path | None = None


def continuous_part(
    recording: Recording,
    steps: Steps,
    read: Callable[[Path, Recording], Any],
    root: Path,
    stimuli: Stimuli,
    montage: Montage,
    spill: Path | None,
    threads: int = 1,
) -> Part:
    """Trials of one continuous run; for another process to take over, left in a file under `spill`."""
    with _named(recording):
        source, events = read(root, recording)
        picks, mine = montage_of(source, steps.picks, recording.file)
        picks = picks[montage.order(mine)]
        stimuli.index(events.image)
        if isinstance(source, Continuous):
            signal: Any = source.rows(picks)
            bads, spans = source.bads, source.spans
        else:
            signal = read_signal(source, picks, recording.file)
            bads, spans = source.info["bads"], bad_spans(source)
        run = process_run(
            steps, signal, montage.sfreq, events.onset, montage.names, montage.types,
            montage.position, bads, spans, threads,
        )  # fmt: skip
    file = None
    if spill is not None:
        file = spill / f"{recording.name}.npy"
        np.save(file, run.signal)
        run = replace(run, signal=np.zeros(0, np.float32))
    return Part(
        recording, run, events.onset[run.kept], events.image[run.kept], recording.session,
        recording.run, events.notes, file,
    )  # fmt: skip


def epoch_parts(
    recording: Recording,
    steps: Steps,
    read: Callable[[Path, Recording], Any],
    root: Path,
    stimuli: Stimuli,
    montage: Montage,
) -> Iterator[Part]:
    """Trials of a file of epochs, some at a time.

    Raises
    ------
    UsageError
        If steps ask for what epochs no longer allow.
    """
    with _named(recording):
        epochs = read(root, recording)
        picks, mine = montage_of(epochs, steps.picks, recording.file)
        picks = picks[montage.order(mine)]
        stimuli.index(epochs.image)
        cut = _Cut.of(steps, epochs)
    for start in range(0, len(epochs.image), BLOCK):
        block = slice(start, min(start + BLOCK, len(epochs.image)))
        with _named(recording):
            signal = cut(np.asarray(epochs.signal[block])[:, picks])
        reasons = np.full(len(signal), "", object)
        finite = np.isfinite(signal).all(axis=(1, 2))
        reasons[~finite] = "samples missing"
        judged = rejections(signal[finite], mine.types, mine.names, steps.reject)
        reasons[np.flatnonzero(finite)] = judged
        kept = np.flatnonzero(reasons == "")
        of = lambda values, other, kept=kept, block=block: (  # noqa: E731
            other if values is None else np.asarray(values)[block][kept]
        )
        yield Part(
            recording,
            Run(
                signal[kept], kept, {int(i): str(reasons[i]) for i in np.flatnonzero(reasons != "")}
            ),
            of(epochs.onset, np.full(len(kept), np.nan)),
            np.asarray(epochs.image)[block][kept],
            of(epochs.session, recording.session),
            of(epochs.run, recording.run),
            epochs.notes if start == 0 else (),
        )


@dataclass(frozen=True)
class _Cut:
    """Resampling, window and baseline of epochs."""

    chain: Chain
    factor: np.float32
    window: slice
    times: np.ndarray
    baseline: Any
    crop: slice

    @classmethod
    def of(cls, steps: Steps, epochs: Epochs) -> _Cut:
        asked = [n for n in ("l_freq", "h_freq") if getattr(steps, n) is not None]
        asked += ["notch"] if steps.notch else []
        if asked:
            raise UsageError(
                f"steps.{asked[0]}: the owners cut these recordings into epochs, which are too short "
                f"to filter; expected {asked[0]}={'()' if asked[0] == 'notch' else 'null'}, found "
                f"{getattr(steps, asked[0])}: leave it out, or start from the raw recordings."
            )
        chain = Chain(epochs.sfreq, None, None, (), steps.sfreq)
        sfreq = steps.sfreq or epochs.sfreq
        count = n_samples(steps.tmin, steps.tmax, sfreq)
        first = round((steps.tmin - epochs.tmin) * sfreq)
        there = int(epochs.signal.shape[2] * sfreq / epochs.sfreq + 1e-6)
        if first < 0 or first + count > there:
            raise UsageError(
                f"steps.tmin, steps.tmax: expected a window inside the epochs' {epochs.tmin:g} to "
                f"{epochs.tmin + epochs.signal.shape[2] / epochs.sfreq:g} s, found {steps.tmin:g} to "
                f"{steps.tmax:g} s; narrow it."
            )
        times = steps.tmin + np.arange(count) / sfreq
        return cls(
            chain, np.float32(epochs.factor), slice(first, first + count), times, steps.baseline,
            steps.kept(sfreq)[1],
        )  # fmt: skip

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Trials (trial, channel, time) of the wanted rate and window, float32."""
        block = block.astype(np.float32)
        block *= self.factor
        if self.chain.every > 1 or self.chain.ratio != 1:
            flat = self.chain(block.reshape(-1, block.shape[2]))
            block = flat.reshape(*block.shape[:2], -1)
        block = np.ascontiguousarray(block[:, :, self.window])
        subtract_baseline(block, self.times, self.baseline)
        return np.ascontiguousarray(block[:, :, self.crop])


def _append(writer: TrialsWriter, log: SubjectLog, part: Part, stimuli: Stimuli) -> None:
    """Write what a run gave, some trials at a time, and note it."""
    run = part.run
    if part.spilled is not None:
        run = replace(run, signal=np.load(part.spilled, mmap_mode="r"))
    sets = stimuli.set[stimuli.index(part.image)]
    log.add(part.recording, run, sets, part.notes)
    of = lambda value, rows: value if isinstance(value, str) else value[rows]  # noqa: E731
    for start in range(0, len(run.signal), BLOCK):
        rows = slice(start, start + BLOCK)
        writer.append(
            run.signal[rows],
            image=part.image[rows],
            session=of(part.session, rows),
            run=of(part.number, rows),
            set=sets[rows],
            onset=part.onset[rows],
        )
    if part.spilled is not None:
        part.spilled.unlink()


def _sum(signal: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sum over some trials in double precision, a block at a time."""
    total = np.zeros(signal.shape[1:])
    for start in range(0, len(rows), BLOCK):
        total += signal[rows[start : start + BLOCK]].sum(axis=0, dtype=np.float64)
    return total


@contextlib.contextmanager
def _named(recording: Recording) -> Iterator[None]:
    """Put the recording's name before an error that does not tell it."""
    try:
        yield
    except NeurovisError as error:
        if recording.file.name in str(error):
            raise
        raise type(error)(f"{recording.file.name}: {error}") from error


def about_channels(log: SubjectLog) -> dict[str, Any]:
    """What `TrialsWriter` wants to know beside the trials."""
    modality = "meg" if {"mag", "grad"} & set(log.types) else "eeg"
    return {
        "channel_name": log.names,
        "channel_type": log.types,
        "channel_position": log.position,
        "sfreq": log.sfreq,
        "tmin": log.tmin,
        "modality": modality,
        "unit": log.unit or {"meg": "T", "eeg": "V"}[modality],
        "subject": log.subject,
        "dataset": log.dataset,
    }
