"""fMRI as one file of volumes with one label per volume, as PyMVPA and others keep examples.

Comes in: a 4-D NIfTI, a mask on its grid, and a text file with a line per volume: label and run. Goes
out: the prepared folder; the stimulus is the label, successive volumes of one label are a block and one
trial (through a first-level model per run), and runs are left out in turn.

Run: ``python -m preprocessing.labelled_volumes --root DIR --out OUT --labels attributes.txt``
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydantic

from neurovis.datasets import FmriSteps, Recording, Responses, VoxelData, Voxels, split_recordings
from neurovis.errors import NeurovisError
from neurovis.prepare import main
from neurovis.records import Split, Stimuli

from .tables import categories


class LabelledVolumes(VoxelData, name="labelled_volumes"):
    """Volumes with labels.

    Parameters
    ----------
    bold, labels : str
        Files, relative to the root.
    mask : str, optional
        None takes what the mean volume gives.
    rois : dict of str
        Region to its mask image, relative to the root.
    rest : tuple of str
        Labels of volumes without stimulus.
    tr : float, optional, s
        None takes the header's.
    subject : str
    """

    bold: str = "bold.nii.gz"
    labels: str = "attributes_literal.txt"
    mask: str | None = "mask.nii.gz"
    rois: dict[str, str] = pydantic.Field(default_factory=dict)
    rest: tuple[str, ...] = ("rest", "0")
    tr: float | None = pydantic.Field(None, gt=0)
    subject: str = "01"
    # with runs left out, nothing may be learned from training trials: t-values make voxels comparable
    fmri: FmriSteps = FmriSteps(standardise="none", value="t")

    def recordings(self, root: Path) -> list[Recording]:
        """One per run that the labels tell."""
        if not (root / self.bold).is_file():
            return []
        width = max(2, *(len(run) for run in self.lines(root)[1]))
        runs = dict.fromkeys(self.lines(root)[1].tolist())
        return [Recording(self.subject, "1", run.zfill(width), root / self.bold) for run in runs]

    def companions(self, root: Path, recording: Recording) -> list[Path]:
        """Labels, mask and regions."""
        names = [self.labels, *([self.mask] if self.mask else []), *self.rois.values()]
        return [root / name for name in names if (root / name).is_file()]

    def lines(self, root: Path) -> tuple[np.ndarray, np.ndarray]:
        """Label and run of every volume.

        Raises
        ------
        NeurovisError
            If a line is no label and run, a run comes twice, or lines and volumes disagree.
        """
        from neurovis.signals.fmri.volumes import n_volumes

        path = root / self.labels
        if not path.is_file():
            raise NeurovisError(f"{path}: no such labels; set labels to a file of the root.")
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        for number, row in enumerate(rows, start=1):
            if len(row) != 2:
                raise NeurovisError(
                    f"{path}: line {number} is {' '.join(row)!r}, expected a label and a run; correct it."
                )
        count = n_volumes(root / self.bold)
        if len(rows) != count:
            raise NeurovisError(
                f"{path}: {len(rows)} lines, expected {count}, one per volume of {self.bold}; take the "
                "labels of this recording."
            )
        label, run = np.array(rows).T
        pieces = run[np.r_[True, run[1:] != run[:-1]]].tolist()
        again = [name for name in dict.fromkeys(pieces) if pieces.count(name) > 1]
        if again:
            raise NeurovisError(
                f"{path}: run {again[0]!r} comes in several pieces, expected its volumes in one; name "
                "runs apart."
            )
        return label, run

    def stimuli(self, root: Path) -> Stimuli:
        """One stimulus per label."""
        label = self.lines(root)[0]
        return categories(label[~np.isin(label, self.rest)])

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """Runs left out in turn."""
        return split_recordings([r.name for r in recordings], self.validation > 0, self.recipe)

    def voxels(self, root: Path, subject: str) -> Voxels:
        """Voxels of the mask."""
        from neurovis.signals.fmri.volumes import brain_mask, grid, voxels_in

        file = root / self.bold
        mask = brain_mask(file) if self.mask is None else root / self.mask
        return voxels_in(mask, grid(file), {n: root / p for n, p in self.rois.items()})

    def responses(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        """Responses of one run: its first-level model."""
        from neurovis.signals.fmri.glm import first_level
        from neurovis.signals.fmri.volumes import blocks, repetition_time

        label, run = self.lines(root)
        width = len(recording.run)
        mine = np.flatnonzero(np.char.zfill(run, width) == recording.run)
        parts, start = [], 0
        for block in blocks(recording.file, voxels):
            inside = mine[(mine >= start) & (mine < start + len(block))] - start
            parts.append(block[inside])
            start += len(block)
        tr = self.tr or repetition_time(recording.file)
        if tr is None:
            raise NeurovisError(f"{recording.file}: no TR in its header, expected one; set tr.")
        label = label[mine]
        first = np.flatnonzero(np.r_[True, label[1:] != label[:-1]])
        length = np.diff(np.r_[first, len(label)])
        shown = ~np.isin(label[first], self.rest)
        return first_level(
            np.concatenate(parts), tr, tr * first[shown], tr * length[shown], label[first][shown],
            self.fmri,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main("labelled_volumes"))
