"""Last pass: ``trials.h5`` of fMRI, and what it says of its voxels.

Comes in: the first pass's files, what was learned, the voxels to keep. Goes out: ``trials.h5``, trial by
trial, with the groups ``scaling`` (as in M/EEG, by recording) and ``voxels``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import to_dict
from neurovis.records import TrialsWriter
from neurovis.signals.epochs import repeat_index
from neurovis.signals.fmri.responses import TRIALS, TrialTable
from neurovis.signals.fmri.steps import FmriSteps
from neurovis.signals.fmri.voxels import Voxels
from neurovis.store import dataset, open_h5

CEILING = (
    "share of the variance of single trials that images explain: ncsnr**2 / (ncsnr**2 + 1/n) with n = 1, "
    "Allen et al. 2022, doi:10.1038/s41593-021-00962-x"
)
RELIABILITY = "one-way intraclass correlation ICC(1,1) over repeats"


@dataclass
class FmriLog:
    """What the QC page of one subject shows.

    `stated` is about the voxels in ``trials.h5``: reliability, noise_ceiling, ncsnr, tsnr, each
    array (voxel,).
    """

    subject: str
    dataset: str
    voxels: Voxels
    runs: list[dict[str, Any]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    repeats: dict[str, dict[int, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stated: dict[str, np.ndarray] = field(default_factory=dict)
    measured_on: str = ""
    asked: int = 0
    design: tuple[np.ndarray, list[str]] | None = None
    unit: str = "1"
    sfreq: float = 1.0

    def summary(self) -> dict[str, Any]:
        """Plain data: runs, voxels dropped and why, medians of what voxels are worth."""
        return {
            "subject": self.subject,
            "runs": self.runs,
            "n_voxels": len(self.voxels),
            "dropped": [f"{n} voxels: {reason}" for reason, n in self.dropped.items() if n],
            "repeats": {s: {str(k): n for k, n in c.items()} for s, c in self.repeats.items()},
            "median": {k: round(float(np.median(v)), 4) for k, v in self.stated.items()},
            "measured_on": self.measured_on,
            "notes": self.notes,
        }


@dataclass
class Learned:
    """What the pass over voxels found; `constant` and `missing` are voxels to drop."""

    label: np.ndarray
    member: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    missing: np.ndarray
    constant: np.ndarray
    stated: dict[str, np.ndarray]
    trained: np.ndarray | None


def write_voxel_trials(
    path: Path,
    steps: FmriSteps,
    table: TrialTable,
    learned: Learned,
    keep: np.ndarray,
    voxels: Voxels,
    log: FmriLog,
) -> None:
    """Write ``trials.h5``: the voxels to keep, standardised; `log` takes in what is stated of them.

    Parameters
    ----------
    path : Path
    steps : FmriSteps
    table : TrialTable
    learned : Learned
    keep : array of int
        Rows of `voxels`.
    voxels : Voxels
        Those of the first pass.
    log : FmriLog
    """
    import h5py

    voxels = voxels.take(keep)
    own = "" if voxels.space else f"sub-{log.subject}/"
    scaled = steps.standardise != "none"
    log.voxels = voxels
    log.stated = {k: v[keep] for k, v in learned.stated.items()}
    record = {"steps": to_dict(steps), "unit": log.unit, **log.summary()}
    about = {
        "channel_name": np.char.add(own, voxels.name),
        "channel_type": np.full(len(voxels), "voxel"),
        "channel_position": voxels.position,
        "sfreq": table.sfreq,
        "tmin": table.tmin,
        "modality": "fmri",
        "unit": "1" if scaled else log.unit,
        "subject": log.subject,
        "dataset": log.dataset,
    }
    center, scale = learned.center[:, keep], learned.scale[:, keep]
    log.unit = about["unit"]
    with TrialsWriter(path, **about, provenance=record) as writer:
        for file, start, stop in zip(table.paths, table.start, table.start[1:]):
            with h5py.File(file, "r") as source:
                for first in range(start, stop, TRIALS):
                    rows = np.arange(first, min(first + TRIALS, stop))
                    block = source["signal"][first - start : rows[-1] + 1 - start][:, keep]
                    if scaled:
                        mine = learned.member[rows]
                        # one row for all where these trials are of one group
                        mine = mine[:1] if (mine == mine[0]).all() else mine
                        block -= center[mine][..., None]
                        block /= scale[mine][..., None]
                    columns = {
                        n: getattr(table, n)[rows]
                        for n in ("image", "session", "run", "set", "onset")
                    }
                    writer.append(block, **columns)
        text = h5py.string_dtype()
        stored = writer.file.create_group("scaling")
        stored.attrs.update(
            {"clamp": np.inf,
             "by": {"run": "recording", "session": "session"}.get(steps.standardise, "subject")}
        )  # fmt: skip
        stored.create_dataset("group", data=learned.label.astype(object), dtype=text)
        stored["center"], stored["scale"] = center, scale
        writer.file["repeat"] = repeat_index(table.image)
        _write_voxels(writer.file.create_group("voxels"), voxels, log)


def _write_voxels(group: Any, voxels: Voxels, log: FmriLog) -> None:
    group.attrs["ceiling"] = CEILING
    group.attrs["reliability"] = RELIABILITY
    group.attrs["measured_on"] = log.measured_on
    group.attrs["space"] = voxels.space
    if voxels.index is not None:
        group["index"] = voxels.index.astype(np.int32)
        group.attrs["shape"] = np.asarray(voxels.shape)
        if voxels.affine is not None:
            group.attrs["affine"] = np.asarray(voxels.affine, float)
    for name, values in log.stated.items():
        group[name] = values
    regions = group.create_group("roi")
    for name, member in voxels.roi.items():
        regions[name.replace("/", "-")] = member


def read_voxels(path: str | Path) -> tuple[Voxels, dict[str, np.ndarray]]:
    """Voxels of a ``trials.h5``, and what is stated of each: reliability, noise_ceiling, ncsnr, tsnr.

    Raises
    ------
    NeurovisError
        If the file holds no voxels.
    """
    with open_h5(path, "neurovis-trials") as file:
        stored = dataset(path, file, "voxels")
        names = dataset(path, file, "channel_name")[()]
        stated = {k: v[()] for k, v in stored.items() if k not in ("index", "roi")}
        return replace(
            Voxels(names, dataset(path, file, "channel_position")[()]),
            roi={name: member[()] for name, member in stored["roi"].items()},
            index=stored["index"][()] if "index" in stored else None,
            shape=tuple(map(int, stored.attrs["shape"])) if "shape" in stored.attrs else None,
            affine=stored.attrs.get("affine"),
            space=str(stored.attrs["space"]),
        ), stated
