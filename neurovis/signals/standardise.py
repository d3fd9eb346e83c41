"""One subject, second pass: scale, clamp and whiten with what training trials alone teach.

Comes in: ``epochs.h5`` of the first pass. Goes out: ``trials.h5``, with the numbers that made it, so that
`Scaling` can undo them or do the same to something else. Trials pass in blocks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from neurovis.config import to_dict
from neurovis.errors import NeurovisError
from neurovis.records import Split, Trials, TrialsWriter, opened
from neurovis.signals.chain import Steps
from neurovis.signals.epochs import repeat_index
from neurovis.signals.scaling import (
    apply_scale,
    constant_scale,
    mvnn_covariance,
    mvnn_weights,
    noise_covariance,
    robust_scale,
    standard_scale,
    whiten,
    whitener,
)
from neurovis.signals.subject import SubjectLog, about_channels
from neurovis.store import atomic, dataset, existing_h5, new_h5, open_h5

BLOCK = 128  # trials at a time
ROBUST_TRIALS = 512  # median and quartiles are taken over at most so many, evenly spread


def write_trials(
    path: Path, steps: Steps, split: Split, epochs: Path, log: SubjectLog, threads: int = 1
) -> None:
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
    threads : int
        Groups of trials to learn from at a time; the file does not depend on it.
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
        with ThreadPoolExecutor(threads) as pool:
            learned = list(
                pool.map(
                    lambda label: _learn(
                        steps, trials, keep, np.flatnonzero(group == label), training, label
                    ),
                    labels,
                )
            )
        repeat = repeat_index(trials.image)
        for name in np.unique(trials.set):
            counts = np.bincount(np.unique(trials.image[trials.set == name], return_counts=True)[1])
            log.repeats[str(name)] = {int(n): int(counts[n]) for n in np.flatnonzero(counts)}
        scaled = steps.scaling != "none" or steps.whiten != "none"
        about = about_channels(log)
        about["unit"] = "1" if scaled else about["unit"]
        for name in ("channel_name", "channel_type", "channel_position"):
            about[name] = np.asarray(about[name])[keep]
        record = {
            "steps": to_dict(steps),
            "recorded_sfreq": log.recorded_sfreq,
            "dropped": log.dropped,
            "runs": log.runs,
        }

        def standardised(block: np.ndarray, rows: slice) -> np.ndarray:
            for label, (center, scale, matrix) in zip(labels, learned):
                mine = np.flatnonzero(group[rows] == label)
                if len(mine):
                    part = apply_scale(block[mine], center, scale, _clamp(steps))
                    block[mine] = whiten(part, matrix) if matrix is not None else part
            return block

        def describe(file: h5py.File) -> None:
            stored = file.create_group("scaling")
            stored.attrs["clamp"] = np.inf if _clamp(steps) is None else _clamp(steps)
            stored.create_dataset("group", data=labels.astype(object), dtype=h5py.string_dtype())
            stored["center"] = np.stack([center for center, _, _ in learned])
            stored["scale"] = np.stack([scale for _, scale, _ in learned])
            stored.attrs["by"] = steps.scope
            if steps.whiten != "none":
                stored["whitener"] = np.stack([matrix for _, _, matrix in learned])
            file["repeat"] = repeat

        blocks = [slice(a, min(a + BLOCK, len(trials))) for a in range(0, len(trials), BLOCK)]
        if log.dropped:
            with TrialsWriter(path, **about, provenance=record) as writer:
                for rows in blocks:
                    columns = {
                        n: getattr(trials, n)[rows]
                        for n in ("image", "session", "run", "set", "onset")
                    }
                    writer.append(standardised(trials.signal[rows][:, keep], rows), **columns)
                describe(writer.file)
            return
    # where no channel goes, trials are changed where they lie instead of being written twice
    with atomic(path) as partial:
        os.replace(epochs, partial)
        with existing_h5(partial) as file:
            describe(file)
            file.attrs["unit"] = about["unit"]
            file.attrs["provenance"] = json.dumps(record)
            signal = file["signal"]
            with ThreadPoolExecutor(1) as pool:
                # the next block is read and standardised while one is written
                work = lambda rows: standardised(signal[rows], rows)  # noqa: E731
                ahead = None
                for rows in [*blocks, None] if scaled else ():
                    task = (rows, pool.submit(work, rows)) if rows is not None else None
                    if ahead is not None:
                        signal[ahead[0]] = ahead[1].result()
                    ahead = task


def learns(steps: Steps) -> bool:
    """Whether scaling or whitening learns from training trials."""
    return steps.scaling in ("robust", "session z") or steps.whiten in ("training", "mvnn")


def _clamp(steps: Steps) -> float | None:
    return None if steps.scaling == "none" else steps.clamp


def _learn(
    steps: Steps,
    trials: Trials,
    keep: np.ndarray,
    group: np.ndarray,
    training: np.ndarray,
    label: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Center, scale and whitening matrix of one session, or of the subject (`group`: its trials)."""
    n = len(keep)
    rows = np.intersect1d(group, training)
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

    def scaled(some: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(some), BLOCK):
            part = slice(start, start + BLOCK)
            block = trials.read(some[part])[:, keep]
            yield part, apply_scale(block, center, scale, _clamp(steps))

    if steps.whiten == "training":
        mean = sum(block.sum(axis=0, dtype=np.float64) for _, block in scaled(rows)) / len(rows)
        blocks = (block for _, block in scaled(rows))
        return center, scale, whitener(noise_covariance(blocks, mean.astype(np.float32)))
    some = group if steps.whiten == "mvnn all" else rows
    weight = mvnn_weights(trials.image[some], trials.set[some])
    return center, scale, whitener(mvnn_covariance((b, weight[p]) for p, b in scaled(some)))


@dataclass(frozen=True)
class Scaling:
    """How trials were scaled, so that it can be undone, or done to something else.

    A trial x (channel, time) in SI units became
    ``whitener @ clip((x - center) / scale, -clamp, clamp)``.

    Parameters
    ----------
    group : array of str (group,)
        Sessions, recordings, or ``all``.
    by : {"subject", "session", "recording"}
        What a group is.
    center, scale : array (group, channel)
    clamp : float
    whitener : array (group, channel, channel) or None
    """

    group: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    clamp: float
    whitener: np.ndarray | None
    by: str = "session"

    @classmethod
    def read(cls, path: str | Path, format: str = "neurovis-trials") -> Scaling:
        """Read it from ``trials.h5``, or from what `keep_scaling` wrote (``neurovis-scaling``)."""
        with open_h5(path, format) as file:
            stored = dataset(path, file, "scaling")
            return cls(
                group=stored["group"].asstr()[()].astype(str),
                center=stored["center"][()],
                scale=stored["scale"][()],
                clamp=float(stored.attrs["clamp"]),
                whitener=stored["whitener"][()] if "whitener" in stored else None,
                by=str(stored.attrs.get("by", "session")),
            )

    @cached_property
    def _inverse(self) -> np.ndarray | None:
        return None if self.whitener is None else np.linalg.pinv(self.whitener, hermitian=True)

    def member(self, trials: Trials) -> np.ndarray:
        """Number of the group of each trial: array of int (trial,).

        Raises
        ------
        NeurovisError
            If a trial's session or recording was never scaled.
        """
        if self.by == "subject" or self.group.tolist() == ["all"]:
            return np.zeros(len(trials), int)
        names = trials.recording if self.by == "recording" else trials.session
        place = {name: number for number, name in enumerate(self.group.tolist())}
        missing = sorted(set(names.tolist()) - place.keys())
        if missing:
            raise NeurovisError(
                f"trials.h5: scaling has no {self.by} {missing[0]!r}, expected one of "
                f"{', '.join(self.group[:6])}; preprocess again."
            )
        return np.array([place[name] for name in names.tolist()], int)

    def undo(self, signal: np.ndarray, member: np.ndarray) -> np.ndarray:
        """Trials in SI units: array (trial, channel, time); what was clamped stays so.

        Parameters
        ----------
        signal : array (trial, channel, time)
            As stored in ``trials.h5``.
        member : array of int (trial,)
            Group of each, from `member`.
        """
        out = np.empty_like(signal)
        for number in np.unique(member):
            mine = np.asarray(member) == number
            part = signal[mine]
            if self._inverse is not None:
                part = np.matmul(self._inverse[number], part)
            out[mine] = part * self.scale[number][:, None] + self.center[number][:, None]
        return out


def keep_scaling(trials: Trials, path: Path) -> None:
    """Keep what scaled a subject's M/EEG trials beside a model, where ``trials.h5`` says it.

    Parameters
    ----------
    trials : Trials
        Open.
    path : path
        Written with the group ``scaling`` and the channels' names.
    """
    import h5py

    source = getattr(trials.signal, "file", None)
    if trials.modality == "fmri" or source is None or "center" not in source.get("scaling", ()):
        return
    with new_h5(path, "neurovis-scaling") as file:
        source.copy("scaling", file)
        names = trials.channel_name.tolist()
        file.create_dataset("channel_name", data=names, dtype=h5py.string_dtype())
