"""fMRI in the layout of OpenfMRI, from before BIDS: one folder per run, onsets by condition.

Comes in: ``sub001/BOLD/task001_run001/bold.nii.gz`` and, of the first-level model that its owners fitted,
``sub001/model/model001/onsets/task001_run001/cond001.txt`` with ``models/model001/condition_key.txt``
(or ``bold_events.tsv`` beside the volumes). Goes out: the prepared folder; the stimulus is the condition,
one trial per block, and runs are left out in turn.

Run: ``python -m preprocessing.openfmri --root DIR --out OUT --bold bold_25mm.nii.gz``
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.datasets import FmriSteps, Recording, Responses, VoxelData, Voxels, split_recordings
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import main
from neurovis.records import Split, Stimuli

from .bids_func import globbed, region_name
from .tables import categories, numbers, read_table

MOTION = tuple(f"motion{i}" for i in range(1, 7))


class OpenFmri(VoxelData, name="openfmri"):
    """One task of an OpenfMRI tree.

    Parameters
    ----------
    task : int
    model : int
        Whose onsets are read.
    bold : str
        Name of the volumes' file in a run's folder.
    mask : str, optional
        Glob of the subject's mask, relative to the root, ``{subject}`` for the subject (``001``); None
        takes what the first run's mean volume gives.
    rois : str, optional
        Glob of mask images, one per region.
    tr : float, optional, s
        None takes ``scan_key.txt``, or the header's.
    motion : str
        Name of the motion parameters' file in a run's folder; its columns are the confounds
        ``motion1`` to ``motion6``.
    """

    task: int = pydantic.Field(1, ge=1)
    model: int = pydantic.Field(1, ge=1)
    bold: str = "bold.nii.gz"
    mask: str | None = None
    rois: str | None = None
    tr: float | None = pydantic.Field(None, gt=0)
    motion: str = "bold_moest.txt"
    # with runs left out, nothing may be learned from training trials: t-values make voxels comparable
    fmri: FmriSteps = FmriSteps(standardise="none", value="t")

    def recordings(self, root: Path) -> list[Recording]:
        """All runs of the task."""
        out = []
        for folder in sorted(root.glob(f"sub*/BOLD/task{self.task:03d}_run*")):
            run = folder.name.partition("_run")[2]
            subject = folder.parts[-3].removeprefix("sub")
            file = folder / self.bold
            lost = "" if file.is_file() else self._instead(folder)
            out.append(Recording(subject, "1", run, file, lost))
        return out

    def _instead(self, folder: Path) -> str:
        found = sorted(p.name for p in folder.glob("*.nii*"))
        return (
            f"{folder / self.bold}: no such volumes, found {', '.join(found) or 'none'}; set bold, or "
            "fetch the run again."
        )

    def companions(self, root: Path, recording: Recording) -> list[Path]:
        """Onsets, conditions, masks, TR and motion."""
        subject, name = recording.file.parts[-4], recording.file.parts[-2]
        model = f"model{self.model:03d}"
        out = sorted((root / subject / "model" / model / "onsets" / name).glob("cond*.txt"))
        out += [root / "models" / model / "condition_key.txt", root / "scan_key.txt"]
        out += [recording.file.with_name(n) for n in ("bold_events.tsv", self.motion)]
        for pattern in (self.mask, self.rois):
            out += globbed(root, pattern, recording.subject) if pattern else []
        return [path for path in out if path.is_file()]

    def stimuli(self, root: Path) -> Stimuli:
        """One stimulus per condition."""
        return categories([n for r in self.recordings(root) for n in self.events(root, r)[2]])

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """Runs left out in turn."""
        return split_recordings([r.name for r in recordings], self.validation > 0, self.recipe)

    def events(self, root: Path, recording: Recording) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Onset (s), duration (s) and condition of a run's events, in the order of time.

        Raises
        ------
        NeurovisError
            If there are none, a line holds no numbers, or a condition has no name.
        """
        subject, name = recording.file.parts[-4], recording.file.parts[-2]
        model = f"model{self.model:03d}"
        folder = root / subject / "model" / model / "onsets" / name
        if folder.is_dir():
            rows = _condition_files(folder, self._conditions(root / "models" / model))
        else:
            path = recording.file.with_name("bold_events.tsv")
            table = read_table(path, ["onset", "duration", "trial_type"])
            onset, duration = (numbers(table, column, path) for column in ("onset", "duration"))
            rows = list(zip(onset.tolist(), duration.tolist(), table["trial_type"]))
        if not rows:
            raise NeurovisError(f"{folder}: no event in it, expected some; fetch the onsets again.")
        onset, duration, condition = zip(*sorted(rows))
        return np.array(onset), np.array(duration), list(condition)

    def _conditions(self, folder: Path) -> dict[str, str]:
        path = folder / "condition_key.txt"
        if not path.is_file():
            raise NeurovisError(f"{path}: no such file, expected the conditions' names; fetch it.")
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        mine = [line for line in lines if len(line) > 2 and line[0] == f"task{self.task:03d}"]
        return {number: " ".join(name) for _, number, *name in mine}

    def voxels(self, root: Path, subject: str) -> Voxels:
        """Voxels of the mask, with the regions."""
        from neurovis.signals.fmri.volumes import brain_mask, grid, voxels_in

        first = next(r for r in self.recordings(root) if r.subject == subject).file
        mask: Any = None
        if self.mask is not None:
            found = globbed(root, self.mask, subject)
            if len(found) != 1:
                raise UsageError(
                    f"{root}: mask: {self.mask} matches {len(found)} files, expected one; correct it."
                )
            mask = found[0]
        rois = {region_name(p): p for p in (globbed(root, self.rois, subject) if self.rois else [])}
        return voxels_in(brain_mask(first) if mask is None else mask, grid(first), rois)

    def responses(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        """Responses of one run: its first-level model."""
        from neurovis.signals.fmri.confounds import read_columns
        from neurovis.signals.fmri.glm import first_level
        from neurovis.signals.fmri.volumes import read_series

        onset, duration, condition = self.events(root, recording)
        series = read_series(recording.file, voxels)
        confounds, names = None, []
        if self.fmri.confounds:
            path = recording.file.with_name(self.motion)
            confounds, names = read_columns(path, MOTION, self.fmri.confounds, len(series))
        return first_level(
            series, self._tr(root, recording.file), onset, duration, condition, self.fmri,
            confounds, names,
        )  # fmt: skip

    def _tr(self, root: Path, file: Path) -> float:
        from neurovis.signals.fmri.volumes import repetition_time

        if self.tr is not None:
            return self.tr
        path = root / "scan_key.txt"
        told = re.search(r"^TR\s+([\d.]+)", path.read_text(), re.M) if path.is_file() else None
        tr = float(told[1]) if told else repetition_time(file)
        if tr is None:
            raise NeurovisError(
                f"{file}: no TR in its header and none in {path.name}, expected one; set tr."
            )
        return tr


def _condition_files(folder: Path, names: dict[str, str]) -> list[tuple[float, float, str]]:
    rows = []
    for path in sorted(folder.glob("cond*.txt")):
        if path.stem not in names:
            raise NeurovisError(
                f"{path}: condition {path.stem!r} has no name, expected one of "
                f"{', '.join(sorted(names))}; correct condition_key.txt."
            )
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                onset, duration = map(float, line.split()[:2])
            except ValueError:
                raise NeurovisError(
                    f"{path}: line {number} is {line!r}, expected onset, duration and weight; correct it."
                ) from None
            rows.append((onset, duration, names[path.stem]))
    return rows


if __name__ == "__main__":
    sys.exit(main("openfmri"))
