"""THINGS-fMRI: 3 subjects, 8,740 object pictures (Hebart et al. 2023, doi:10.7554/eLife.82580).

Comes in: the owners' single-trial responses (``betas_csv``), or the BIDS dataset ds004192 with BOLD as
fMRIPrep leaves it. Goes out: the prepared folder. An image's id is its file's stem and its concept comes
from the stem, as the folder is wrong for five test images. Catch trials are modelled and dropped. All
100 test concepts occur in training: ``split=zero-shot`` leaves their training images out.

Run: ``python -m preprocessing.things_fmri --root THINGS --out OUT --subject 1 --roi "[V1, V2, hV4]"``
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.datasets import Recording, VoxelData, split_images
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import main
from neurovis.progress import progress
from neurovis.records import Split, Stimuli
from neurovis.signals.fmri.confounds import read_confounds
from neurovis.signals.fmri.glm import first_level
from neurovis.signals.fmri.steps import FmriSteps
from neurovis.signals.fmri.subject import Responses
from neurovis.signals.fmri.volumes import (
    brain_mask,
    grid,
    read_map,
    read_series,
    repetition_time,
    voxels_in,
)
from neurovis.signals.fmri.voxels import Voxels
from neurovis.store import sha256

from .bids import numbers, read_table
from .things_fmri_tables import Table, mask_of, table_voxels

PLACES = ("betas_csv", "derivatives/betas_csv", ".")
SETS = {"exp": "train", "train": "train", "test": "test", "catch": "catch"}


class ThingsFmri(VoxelData, name="things_fmri"):
    """THINGS-fMRI.

    Parameters
    ----------
    source : {"betas", "bids"}, optional
        The owners' responses (tables), or BOLD through the first-level model here; None takes the
        tables where they are.
    split : {"native", "zero-shot"}
        ``native``: the owners' 720 concepts x 12 images against 100 repeated images of concepts that
        occur in training. ``zero-shot``: the training images of these concepts are left out.
    derivatives : str, optional
        Folder of fMRIPrep's output under the root; None takes the raw BOLD, not corrected for motion.
    space : str
        Of the images that fMRIPrep wrote.
    rois : dict
        For BOLD: region to an image on its grid, such as ``{V1: rois/sub-{subject}_V1.nii.gz}``.
    images : str
        Folder of the THINGS pictures under the root; it may be absent.
    """

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {
            "fmri": {
                "standardise": "none", "drift": "polynomial", "drift_order": 4, "high_pass": None,
                "value": "raw",
            }
        },
    }  # fmt: skip

    fmri: FmriSteps = FmriSteps(standardise="run")
    source: Literal["betas", "bids"] | None = None
    split: Literal["native", "zero-shot"] = "native"
    derivatives: str | None = "derivatives/fmriprep"
    space: str = "T1w"
    rois: dict[str, str] = pydantic.Field(default_factory=dict)
    images: str = "images"

    def kind(self, root: Path) -> str:
        """Which of the two publications lies under the root."""
        if self.source is not None:
            return self.source
        if _tables(root):
            return "betas"
        if any(root.glob("sub-*/ses-things*/func/*_events.tsv")):
            return "bids"
        raise NeurovisError(
            f"{root}: expected betas_csv/sub-01_ResponseData.h5 (the owners' responses) or "
            "sub-01/ses-things01/func (BIDS), found neither; give their folder, or fetch them: neurovis "
            f"fetch things-fmri --root {root} --source betas"
        )

    # ---- recordings ----------------------------------------------------------------------------

    def recordings(self, root: Path) -> list[Recording]:
        """One per session (tables) or run (BOLD); what is missing is said of its subject."""
        return list(self._of_tables(root) if self.kind(root) == "betas" else self._of_bids(root))

    def _of_tables(self, root: Path) -> Iterator[Recording]:
        if self.fmri.window is not None:
            raise UsageError(
                "fmri.window: the owners' responses have no time course, expected none; leave it out, "
                "or set source=bids."
            )
        found = _tables(root)
        if not found:
            raise NeurovisError(
                f"{root}: no sub-01_ResponseData.h5 in betas_csv, expected the owners' responses; fetch "
                f"them: neurovis fetch things-fmri --root {root} --source betas"
            )
        for subject, folder in found.items():
            files = [
                folder / f"sub-{subject}_{name}"
                for name in ("ResponseData.h5", "StimulusMetadata.csv", "VoxelMetadata.csv")
            ]
            lacking = [file for file in files if not file.is_file()]
            if lacking:
                there = next(file for file in files if file.is_file())
                yield Recording(subject, "01", "all", there, problem=f"{lacking[0]}: no such file, expected the three "
                f"tables of sub-{subject}; fetch them: neurovis fetch things-fmri --root {root} --source betas")  # fmt: skip
                continue
            try:
                sessions = np.unique(_shown(files[1], "betas")["session"])
            except NeurovisError as error:
                yield Recording(subject, "01", "all", files[1], problem=str(error))
                continue
            for session in sessions:
                yield Recording(subject, str(session), "all", files[0])

    def _of_bids(self, root: Path) -> Iterator[Recording]:
        known = set(read_manifest("things_fmri").facts["runs_without_bold"])
        for folder in sorted(root.glob("sub-*/ses-things*/func")):
            subject, session = (folder.parts[i].split("-", 1)[1] for i in (-3, -2))
            tables = sorted(folder.glob("*_task-things_run-*_events.tsv"))
            bolds = sorted(folder.glob("*_task-things_run-*_bold.nii.gz"))
            runs = sorted({_run(path) for path in (*tables, *bolds)})
            for run in runs:
                stem = f"sub-{subject}_ses-{session}_task-things_run-{run:02d}"
                file = self._bold(root, subject, session, run)
                problem = ""
                if file is None:
                    if stem in known:
                        continue
                    file = tables[0]
                    problem = (
                        f"{folder / stem}_bold.nii.gz: there are events but neither BOLD nor an image in "
                        f"{self.derivatives}, expected one; fetch it: neurovis fetch things-fmri --root "
                        f"{root} --subject {subject}"
                    )
                elif not (folder / f"{stem}_events.tsv").is_file():
                    problem = f"{folder / stem}_events.tsv: no such file, expected the run's events; fetch them again."
                yield Recording(subject, session, f"{run:02d}", file, problem=problem)

    def _bold(self, root: Path, subject: str, session: str, run: int) -> Path | None:
        """A run's image: fMRIPrep's where asked for, whose run number may lack the zero."""
        place = f"sub-{subject}/ses-{session}/func"
        folder, ending = root / place, "_bold.nii.gz"
        if self.derivatives is not None:
            folder = root / self.derivatives / place
            ending = f"_space-{self.space}_desc-preproc_bold.nii.gz"
        found = [f for f in sorted(folder.glob(f"*_task-things_run-*{ending}")) if _run(f) == run]
        return found[0] if found else None

    def companions(self, root: Path, recording: Recording) -> list[Path]:
        """Tables of trials, voxels and events; masks, regions and confounds."""
        who, when, file = recording.subject, recording.session, recording.file
        if self.kind(root) == "betas":
            names = ("StimulusMetadata.csv", "VoxelMetadata.csv")
            mask = mask_of(root, who)
            events = root.glob(f"sub-{who}/ses-things{when}/func/*_task-things_run-*_events.tsv")
            tables = [file.parent / f"sub-{who}_{name}" for name in names]
            found = [*tables, *([mask] if mask else []), *sorted(events)]
        else:
            stem = f"sub-{who}_ses-{when}_task-things_run-{recording.run}_events.tsv"
            endings = ("_desc-brain_mask.nii.gz", "_desc-confounds_timeseries.tsv")
            beside = [self._beside(file, ending) for ending in endings]
            regions = [root / path.replace("{subject}", who) for path in self.rois.values()]
            found = [root / f"sub-{who}/ses-{when}/func" / stem, *filter(None, beside), *regions]
        return [file for file in found if file.is_file()]

    # ---- stimuli -------------------------------------------------------------------------------

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures of the split; one that trains and tests is refused."""
        out, side = self._left_out(root), {}
        kind = self.kind(root)
        listed = _listed(root, kind)
        for _, file in progress(listed, "events", quiet=len(listed) < 200, unit="run"):
            table = _shown(file, kind)
            for image, value in zip(table["stem"].tolist(), table["kind"].tolist()):
                if value == "catch" or (value == "train" and _concept(image) in out):
                    continue
                if side.setdefault(image, value) != value:
                    raise NeurovisError(
                        f"{file}: picture {image!r} is in training and in test, expected it on one side; "
                        "are files of two datasets mixed?"
                    )
        if not side:
            raise NeurovisError(f"{root}: no trial in any table of events, expected some.")
        names = sorted(side)
        files = [_picture(root / self.images, name) for name in names]
        sums, sizes = [], []
        for file in progress(files, "pictures", quiet=not any(files), unit="picture"):
            sums.append(sha256(root / self.images / file) if file else "")
            sizes.append(_size(root / self.images / file) if file else (0, 0))
        width, height = np.array(sizes).T
        return Stimuli(
            np.array(names), [(file,) for file in files], np.array(sums), width, height,
            np.array([_concept(name) for name in names]), np.array([side[n] for n in names]),
            folder=root / self.images,
        )  # fmt: skip

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """The owners' test images; whole training concepts validate."""
        protocol = self.recipe if self.split == "native" else f"{self.recipe}, {self.split}"
        split = split_images(stimuli, self.validation, self.seed, protocol)
        split.check(stimuli, concepts=self.split == "zero-shot")
        return [split]

    def _left_out(self, root: Path) -> frozenset[str]:
        """Training concepts that the split leaves out: those of test images, for zero-shot."""
        if self.split == "native":
            return frozenset()
        kind = self.kind(root)
        files = [file for _, file in _listed(root, kind)]
        return _tested(tuple((file, file.stat().st_mtime_ns) for file in files), kind)

    # ---- responses -----------------------------------------------------------------------------

    def voxels(self, root: Path, subject: str) -> Voxels:
        """Voxels of the owners' table, or in every run's brain mask."""
        if self.kind(root) == "betas":
            return table_voxels(root, _tables(root)[subject] / f"sub-{subject}_VoxelMetadata.csv")
        mine = [r for r in self.recordings(root) if r.subject == subject and not r.problem]
        place = grid(mine[0].file)
        masks = [m for r in mine if (m := self._beside(r.file, "_desc-brain_mask.nii.gz"))]
        inside = np.ones(place.shape, bool) if masks else brain_mask(mine[0].file)
        for mask in masks:
            inside &= np.nan_to_num(read_map(mask, place)) > 0
        rois = {name: root / path.replace("{subject}", subject) for name, path in self.rois.items()}
        return voxels_in(inside, place, rois)

    def responses(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        """Responses of one session (tables) or run (BOLD), without catch trials."""
        if self.kind(root) == "betas":
            return self._from_table(root, recording, voxels)
        return self._first_level(root, recording, voxels)

    def _wanted(self, root: Path, table: dict[str, np.ndarray]) -> np.ndarray:
        """Trials that the split uses: array of bool (trial,)."""
        out = self._left_out(root)
        dropped = np.array([_concept(stem) in out for stem in table["stem"]], bool)
        return (table["kind"] == "test") | ((table["kind"] == "train") & ~dropped)

    def _from_table(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        folder = recording.file.parent
        table = _shown(folder / f"sub-{recording.subject}_StimulusMetadata.csv", "betas")
        rows = np.flatnonzero(table["session"] == recording.session)
        onset, notes = self._onsets(root, recording, table, rows)
        mine = self._wanted(root, table)[rows]
        everything = table_voxels(root, folder / f"sub-{recording.subject}_VoxelMetadata.csv")
        place = {name: row for row, name in enumerate(everything.name.tolist())}
        row = np.array([place[name] for name in voxels.name.tolist()])
        whole = (len(everything), len(table["stem"]))
        return Responses(
            signal=Table(recording.file, whole, row, rows[mine]), image=table["stem"][rows][mine],
            run=table["run"][rows][mine], onset=onset[mine], notes=notes,
        )  # fmt: skip

    def _onsets(
        self, root: Path, recording: Recording, table: dict[str, np.ndarray], rows: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """From the BIDS events where these are under the root, too; they must name the same pictures."""
        onset = np.full(len(rows), np.nan)
        folder = root / f"sub-{recording.subject}/ses-things{recording.session}/func"
        for run in np.unique(table["run"][rows]):
            mine = np.flatnonzero(table["run"][rows] == run)
            file = folder / (
                f"sub-{recording.subject}_ses-things{recording.session}_task-things_run-{run}_events.tsv"
            )
            if not file.is_file():
                return onset, ("onsets are not in the owners' tables, nor are BIDS events there",)
            events = _shown(file, "bids")
            shown = events["kind"] != "catch"
            if events["stem"][shown].tolist() != table["stem"][rows][mine].tolist():
                raise NeurovisError(
                    f"{file}: it names other pictures than the owners' table of sub-{recording.subject}, "
                    f"session {recording.session}, run {run}; are they of one release? Fetch both again."
                )
            onset[mine] = events["onset"][shown]
        return onset, ()

    def _first_level(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        file = recording.file
        raw = root / f"sub-{recording.subject}" / f"ses-{recording.session}" / "func"
        stem = f"sub-{recording.subject}_ses-{recording.session}_task-things_run-{recording.run}"
        events = _shown(raw / f"{stem}_events.tsv", "bids")
        series = read_series(file, voxels)
        notes = []
        known = read_manifest("things_fmri").facts["runs_without_bold"]
        same = [
            k for k in known if k.startswith(f"sub-{recording.subject}_ses-{recording.session}_")
        ]
        lacking = [
            k
            for k in same
            if self._bold(root, recording.subject, recording.session, int(k[-2:])) is None
        ]
        if lacking:
            notes.append(f"{lacking[0]} has events but the owners publish no BOLD of it: left out")
        confounds, names = None, ()
        if self.fmri.confounds:
            table = self._beside(file, "_desc-confounds_timeseries.tsv")
            if table is None:
                raise NeurovisError(
                    f"{file}: no *_desc-confounds_timeseries.tsv beside it, expected fMRIPrep's table; fetch "
                    "it, or set fmri.confounds=[]."
                )
            confounds, names = read_confounds(table, self.fmri.confounds, len(series))
        if self.derivatives is None:
            notes.append("raw BOLD: no motion correction; give derivatives for it")
        tr = repetition_time(file) or float(read_manifest("things_fmri").facts["tr"])
        # catch trials are in the model, so that their response goes to no other trial
        made = first_level(
            series, tr, events["onset"], events["duration"], events["stem"], self.fmri, confounds,
            names, notes,
        )  # fmt: skip
        keep = np.flatnonzero(np.isin(made.image, events["stem"][self._wanted(root, events)]))
        return replace(
            made, signal=made.signal[keep], image=made.image[keep], onset=made.onset[keep]
        )

    def _beside(self, file: Path, ending: str) -> Path | None:
        """A run's other file by fMRIPrep; confounds are of no space."""
        stem = file.name.split("_desc-")[0]
        stems = (stem, stem.split("_space-")[0])
        return next((f for s in stems if (f := file.with_name(s + ending)).is_file()), None)


def _tables(root: Path) -> dict[str, Path]:
    """Folder of the owners' tables of each subject."""
    for place in PLACES:
        files = sorted((root / place).glob("sub-*_ResponseData.h5"))
        files += sorted((root / place).glob("sub-*_StimulusMetadata.csv"))
        if files:
            return {re.match(r"sub-([^_]+)_", file.name)[1]: root / place for file in files}
    return {}


def _listed(root: Path, kind: str) -> list[tuple[str, Path]]:
    """Subject and file of every table that says which pictures were shown."""
    if kind == "betas":
        files = [
            (who, folder / f"sub-{who}_StimulusMetadata.csv")
            for who, folder in _tables(root).items()
        ]
        return [(who, file) for who, file in files if file.is_file()]
    files = sorted(root.glob("sub-*/ses-things*/func/*_task-things_run-*_events.tsv"))
    return [(file.name.split("_")[0].removeprefix("sub-"), file) for file in files]


def _shown(file: Path, kind: str) -> dict[str, np.ndarray]:
    """Columns stem and kind (train, test, catch); and session, run, or onset, duration: (trial,)."""
    return _shown_once(file, kind, file.stat().st_mtime_ns if file.is_file() else 0)


@lru_cache(maxsize=1024)
def _shown_once(file: Path, kind: str, _changed: int) -> dict[str, np.ndarray]:
    column, name = ("stimulus", "session") if kind == "betas" else ("file_path", "onset")
    table = read_table(file, ["trial_type", column, name])
    odd = ~table["trial_type"].isin(list(SETS))
    if odd.any():
        row = int(odd.to_numpy().argmax())
        raise NeurovisError(
            f"{file}: line {row + 2}: trial_type {table['trial_type'].iloc[row]!r}, expected one of "
            f"{', '.join(SETS)}; fetch the owners' file again."
        )
    # the folder is wrong for five test images; the stem is right
    stem = (
        table[column]
        .str.replace("\\", "/")
        .str.rsplit("/", n=1)
        .str[-1]
        .str.rsplit(".", n=1)
        .str[0]
    )
    out = {
        "stem": stem.to_numpy(str),
        "kind": np.array([SETS[value] for value in table["trial_type"]]),
    }
    names = ("session", "run") if kind == "betas" else ("onset", "duration")
    for name in names:
        values = numbers(table, name, file)
        out[name] = values if kind == "bids" else np.array([f"{int(v):02d}" for v in values])
    return out


@lru_cache(maxsize=4)
def _tested(stamped: tuple[tuple[Path, int], ...], kind: str) -> frozenset[str]:
    """Concepts of all test images; files with their times, so that a changed one is read anew."""
    found = set()
    for file, _ in stamped:
        table = _shown(file, kind)
        found |= {_concept(stem) for stem in table["stem"][table["kind"] == "test"]}
    return frozenset(found)


def _run(file: Path) -> int:
    return int(re.search(r"_run-(\d+)_", file.name)[1])


def _concept(stem: str) -> str:
    return stem.rsplit("_", 1)[0]


def _picture(folder: Path, stem: str) -> str:
    """Place of a picture under the folder of THINGS pictures; empty where it is not there."""
    places = (f"{_concept(stem)}/{stem}.jpg", f"{stem}.jpg")
    return next((place for place in places if (folder / place).is_file()), "")


def _size(file: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return picture.size
    except OSError as error:
        raise NeurovisError(
            f"{file}: cannot be read as a picture ({error}); fetch the THINGS pictures again."
        ) from error


if __name__ == "__main__":
    sys.exit(main("things_fmri"))
