"""One subject: responses of its runs to ``trials.h5`` in two passes.

Comes in: a function that gives the `Responses` of each recording. Goes out: ``trials.h5`` with the group
``voxels``, and a log for the QC page. The first pass puts responses on disk as they are; the second goes
through them once in blocks of voxels (standardisation, reliability, ceilings) and once in blocks of
trials. Memory is bounded by one recording and by blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.parallel import Workers
from neurovis.records import Split, Stimuli
from neurovis.signals.fmri.responses import CHUNK, Responses, TrialTable, write_responses
from neurovis.signals.fmri.steps import FmriSteps
from neurovis.signals.fmri.storage import FmriLog, Learned, read_voxels, write_voxel_trials
from neurovis.signals.fmri.voxels import (
    Repeats,
    Voxels,
    intraclass,
    noise_ceiling,
    reliability,
    repeated,
    snr,
)
from neurovis.signals.sources import Recording

__all__ = ["FmriLog", "Responses", "read_voxels", "write_fmri_subject"]

BYTES = 1 << 25  # held at a time in the pass over voxels
FEWEST = 10  # training trials that a mean and an SD are learned from
WIDER = {"run": ("run", "session", "subject"), "session": ("session", "subject")}


def write_fmri_subject(
    folder: Path,
    *,
    steps: FmriSteps,
    recordings: Sequence[Recording],
    voxels: Voxels,
    read: Callable[[Path, Recording, Voxels], Responses],
    root: Path,
    stimuli: Stimuli,
    split: Split,
    name: str,
    workers: Workers | None = None,
    quiet: bool = False,
) -> FmriLog:
    """Write ``trials.h5`` of one subject.

    Parameters
    ----------
    folder : Path
        Of the subject; holds the first pass's files meanwhile.
    steps : FmriSteps
    recordings : sequence of Recording
    voxels : Voxels
        Those of ``steps.roi`` are read.
    read : callable
        ``read(root, recording, voxels)`` gives the `Responses` of one recording.
    root : Path
    stimuli : Stimuli
        Every trial's image must be in it.
    split : Split
        What is learned comes from its training side.
    name : str
        Of the dataset.
    workers : Workers, optional
        Over recordings.
    quiet : bool

    Raises
    ------
    NeurovisError
        If recordings do not fit together, a recording cannot be read, or no voxel is left.
    """
    asked = len(voxels)
    voxels = voxels.take(voxels.select(steps.roi))
    log = FmriLog(recordings[0].subject, name, voxels, asked=asked)
    log.dropped["outside the regions asked for"] = asked - len(voxels)
    paths = [folder / f"responses-{number:04d}.h5" for number in range(len(recordings))]
    tasks = [(read, root, r, voxels, path) for r, path in zip(recordings, paths)]
    made = (workers or Workers()).map(
        write_responses, tasks, folder / "jobs", f"sub-{log.subject}", quiet
    )
    parts = list(made)
    table = TrialTable(recordings, parts, paths, stimuli)
    if not len(table):
        raise NeurovisError(
            f"sub-{log.subject}: no trial in {len(recordings)} recordings, expected some; check the "
            "events files and where."
        )
    log.design, log.unit, log.sfreq = parts[0]["design"], parts[0]["unit"], parts[0]["sfreq"]
    for recording, part, sets in zip(recordings, parts, table.sets):
        log.runs.append(
            {"name": recording.name, "trials": len(sets), "rejected": {}, "bad": {},
             "notes": part["notes"]}
        )  # fmt: skip
    for kind in np.unique(table.set):
        counts = np.bincount(np.unique(table.image[table.set == kind], return_counts=True)[1])
        log.repeats[str(kind)] = {int(n): int(counts[n]) for n in np.flatnonzero(counts)}
    learned = _learn(steps, table, split, parts, log)
    keep = _select(steps, learned, log)
    write_voxel_trials(folder / "trials.h5", steps, table, learned, keep, voxels, log)
    for path in paths:
        path.unlink()
    return log


def _learn(
    steps: FmriSteps, table: TrialTable, split: Split, parts: list[dict[str, Any]], log: FmriLog
) -> Learned:
    """Means and SDs of every group, and what voxels are worth, block by block of voxels."""
    training = split.rows("train", table)
    kind = steps.standardise
    label, member = table.groups("subject" if kind == "none" else kind)
    sources = _sources(steps, table, training, label, member, log) if kind != "none" else None
    n, n_groups = table.n_voxels, len(label)
    center = np.zeros((n_groups, n), np.float32)
    scale = np.ones((n_groups, n), np.float32)
    constant = np.zeros(n, bool)
    missing = np.any([part["missing"] for part in parts], axis=0)
    # what is told of all voxels comes from training images where these were repeated
    pools = {"training": np.flatnonzero(table.set == "train"), "test": np.arange(len(table))}
    pools = {k: v[repeated(table.image[v])] for k, v in pools.items()}
    pools = {k: v for k, v in pools.items() if len(np.unique(table.image[v])) > 1}
    log.measured_on = next(iter(pools), "")
    shown = pools.get(log.measured_on)
    selects = steps.n_voxels is not None or steps.reliability is not None
    trained = np.zeros(n, np.float32) if selects else None
    stated = (
        {k: np.zeros(n, np.float32) for k in ("reliability", "ncsnr")} if shown is not None else {}
    )
    repeats = Repeats(table.image, shown) if shown is not None else None
    width = max(1, BYTES // max(1, 4 * len(table) * table.n_times))
    # whole chunks of the first pass, each read once
    width = width // CHUNK[1] * CHUNK[1] or width
    for start in range(0, n, width):
        part = slice(start, min(start + width, n))
        signal = table.columns(part)
        # missing voxels are dropped; zeros keep their columns out of the way of warnings
        signal[:, missing[part]] = 0
        constant[part] = np.ptp(signal, axis=(0, 2)) == 0
        if sources is not None:
            for number, rows in enumerate(sources):
                chosen = signal[rows]
                mean = chosen.mean(axis=(0, 2), dtype=np.float64)
                spread = chosen.std(axis=(0, 2), dtype=np.float64)
                still = spread <= 1e-6 * np.maximum(np.abs(mean), 1e-30)
                constant[part] |= still
                spread[still] = 1
                center[number, part], scale[number, part] = mean, spread
            signal -= center[member, part][..., None]
            signal /= scale[member, part][..., None]
        signal = signal.mean(axis=2)
        if shown is not None:
            found = repeats.components(signal)
            stated["reliability"][part], stated["ncsnr"][part] = intraclass(found), snr(found)
        if trained is not None:
            trained[part] = reliability(signal[training], table.image[training])
    if stated:
        stated["noise_ceiling"] = noise_ceiling(stated["ncsnr"])
    known = [part["tsnr"] for part in parts if part["tsnr"] is not None]
    if known:
        stated["tsnr"] = np.mean(known, axis=0).astype(np.float32)
    return Learned(label, member, center, scale, missing, constant & ~missing, stated, trained)


def _sources(
    steps: FmriSteps,
    table: TrialTable,
    training: np.ndarray,
    label: np.ndarray,
    member: np.ndarray,
    log: FmriLog,
) -> list[np.ndarray]:
    """Trials that each group's mean and SD come from.

    A run whose training trials are too few (a run of test images has none) takes those of its session,
    or of the subject.
    """
    allowed = np.arange(len(table)) if steps.learn == "all" else training
    is_allowed = np.isin(np.arange(len(table)), allowed)
    out, borrowed = [], {}
    for number in range(len(label)):
        mine = np.flatnonzero(member == number)
        for kind in WIDER.get(steps.standardise, ("subject",)):
            _, group = table.groups(kind)
            rows = np.flatnonzero((group == group[mine[0]]) & is_allowed)
            enough = 2 if kind == "subject" or steps.learn == "all" else FEWEST
            if len(rows) >= enough:
                break
        else:
            raise NeurovisError(
                f"standardise: {len(rows)} training trials of sub-{log.subject}, expected at least two; "
                "set standardise=none."
            )
        if kind != steps.standardise:
            borrowed.setdefault(kind, []).append(str(label[number]))
        out.append(rows)
    for kind, names in borrowed.items():
        log.notes.append(
            f"{len(names)} of {len(label)} {steps.standardise}s have fewer than {FEWEST} training "
            f"trials ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}): mean and SD are "
            f"those of the {kind}"
        )
    return out


def _select(steps: FmriSteps, learned: Learned, log: FmriLog) -> np.ndarray:
    """Voxels to keep, in order: array of int."""
    good = ~(learned.missing | learned.constant)
    log.dropped["missing in some trial"] = int(learned.missing.sum())
    log.dropped["constant"] = int(learned.constant.sum())
    keep = np.flatnonzero(good)
    if not len(keep):
        raise NeurovisError(
            f"sub-{log.subject}: all {len(good)} voxels are missing in some trial or constant, expected "
            "some that are not; check the mask and the images."
        )
    if steps.reliability is not None:
        chosen = keep[learned.trained[keep] >= steps.reliability]
        if not len(chosen):
            raise NeurovisError(
                f"reliability: no voxel reaches {steps.reliability:g}, the best is "
                f"{learned.trained[keep].max():.3f}; expected a lower bound, or n_voxels."
            )
        log.dropped[f"reliability below {steps.reliability:g}"] = len(keep) - len(chosen)
        keep = chosen
    if steps.n_voxels is not None:
        if steps.n_voxels > len(keep):
            log.notes.append(f"n_voxels asks for {steps.n_voxels}, there are {len(keep)}")
        order = np.argsort(-learned.trained[keep], kind="stable")[: steps.n_voxels]
        log.dropped["not among the most reliable"] = len(keep) - len(order)
        keep = np.sort(keep[order])
    return keep
