"""Generic Object Decoding: responses of the ventral stream to ImageNet pictures, seen and imagined.

Comes in: the owners' ``Subject1.h5`` (one table per subject: samples by columns, and what each column
is), or the BIDS dataset ds001246 with its events and masks. Goes out: the prepared folder. 1,200
pictures seen once train, 50 of other categories seen 35 times test. Pictures are ImageNet's and not
published: ids keep their stems, and files are used where someone has them.

Run: ``python -m preprocessing.god --root DIR --out OUT --roi "[V1, V2]"``

References: Horikawa & Kamitani 2017, doi:10.1038/ncomms15037
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from neurovis.datasets import FmriSteps, Recording, Responses, VoxelData, Voxels
from neurovis.errors import NeurovisError
from neurovis.prepare import main
from neurovis.records import Stimuli
from neurovis.signals.fmri.sample_table import SampleTable
from neurovis.store import read_json, sha256

KINDS = {"perceptionTraining": 1, "perceptionTest": 2, "imageryTest": 3}
"""Sessions, and the number that the owners' table gives them."""

IDS = ("stimulus_id", "Label")  # its name in the second and in the first release
DERIVATIVES = ("derivatives/preproc-spm/output", "derivatives/fmriprep")
PREPROCESSED = ("_bold_preproc.nii.gz", "_space-T1w_desc-preproc_bold.nii.gz")
SUFFIXES = (".JPEG", ".jpeg", ".jpg", ".JPG", ".png")


class God(VoxelData, name="god"):
    """Generic Object Decoding (Horikawa & Kamitani 2017).

    Parameters
    ----------
    source : {"h5", "bids"}, optional
        What is read; found out from the root where it is not said.
    test : {"perception", "imagery"}
        Test trials: pictures seen, or their categories imagined (another question: never pooled).
    images : str
        Folder with ``training/`` and ``test/``, relative to the root; it may be absent.
    derivatives : str, optional
        Of the BIDS dataset: folder of preprocessed BOLD; None takes the first that is there of the
        owners' ``derivatives/preproc-spm/output`` and ``derivatives/fmriprep``, else the raw BOLD.
    """

    # the owners' way: mean and SD of the training samples, over the whole recording
    fmri: FmriSteps = FmriSteps(standardise="subject")
    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {"validation": 0.0},
        "run-z": {"fmri": {"standardise": "run", "learn": "all"}},
        "imagery": {"test": "imagery"},
    }
    source: Literal["h5", "bids"] | None = None
    test: Literal["perception", "imagery"] = "perception"
    images: str = "images"
    derivatives: str | None = None

    def kind(self, root: Path) -> str:
        """Which of the two publications lies under the root."""
        if self.source is not None:
            return self.source
        if _tables(root):
            return "h5"
        if any(root.glob("sub-*/ses-perception*/func")):
            return "bids"
        other = next(iter([*root.glob("Subject*.mat"), *root.glob("*/Subject*.mat")]), None)
        there = (
            f"{other.name} (MATLAB), of which the .h5 of the same release is read"
            if other
            else "neither"
        )
        raise NeurovisError(
            f"{root}: expected Subject1.h5 ... Subject5.h5 (preprocessed) or sub-01/ses-perception*/func "
            f"(BIDS), found {there}; run neurovis fetch god --root DIR, or give their folder."
        )

    def wanted(self, session: str) -> bool:
        """Whether a session's trials are used: training, and the test that was asked for."""
        return session.startswith(("perceptionTraining", f"{self.test}Test"))

    def recordings(self, root: Path) -> list[Recording]:
        """One per run; what is missing or damaged is said of its subject."""
        return list(self._of_tables(root) if self.kind(root) == "h5" else self._of_bids(root))

    def _of_tables(self, root: Path) -> Iterator[Recording]:
        for subject, file in _tables(root).items():
            try:
                table = read_tables(file)
            except NeurovisError as error:
                yield Recording(subject, "", "", file, str(error))
                continue
            kind, run = table.label("DataType"), table.label("Run")
            for session, number in KINDS.items():
                mine = np.unique(run[kind == number]).astype(int)
                if not len(mine) and self.wanted(session):
                    why = f"{file}: no sample of DataType {number} ({session}), expected some; fetch it again."
                    yield Recording(subject, session, "", file, why)
                elif self.wanted(session):
                    yield from (Recording(subject, session, f"{i:02d}", file) for i in mine)

    def _of_bids(self, root: Path) -> Iterator[Recording]:
        for folder in sorted(root.glob("sub-*/ses-*/func")):
            subject, session = (folder.parts[i].split("-", 1)[1] for i in (-3, -2))
            tables = sorted(folder.glob("*_task-*_run-*_events.tsv"))
            bolds = sorted(folder.glob("*_task-*_run-*_bold.nii.gz"))
            if not self.wanted(session) or not (tables or bolds):
                continue
            names = sorted(
                {re.sub(r"_(events\.tsv|bold\.nii\.gz)$", "", f.name) for f in (*tables, *bolds)}
            )
            runs = {int(re.search(r"_run-(\d+)$", name)[1]): name for name in names}
            for run in range(1, max(runs) + 1):
                if run not in runs:
                    why = f"{folder}: run-{run:02d} is missing between others; fetch it: neurovis fetch god."
                    yield Recording(subject, session, f"{run:02d}", folder, why)
                    continue
                file, why = folder / f"{runs[run]}_bold.nii.gz", ""
                for needed in (file, folder / f"{runs[run]}_events.tsv"):
                    if not needed.is_file() and not why:
                        why = f"{needed}: no such file; fetch it: neurovis fetch god --root {root}."
                yield Recording(subject, session, f"{run:02d}", file, why)

    # ---- stimuli -------------------------------------------------------------------------------

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures shown; one that trains for one subject and tests for another is refused."""
        found: dict[str, str] = {}
        recordings = self.recordings(root)
        for subject, session, images in self._shown(root, recordings):
            side = "train" if session.startswith("perceptionTraining") else "test"
            for image in images:
                if found.setdefault(image, side) != side:
                    raise NeurovisError(
                        f"sub-{subject} ses-{session}: picture {image!r} is in training and in test, "
                        "expected it on one side; are the sessions' files mixed up?"
                    )
        if not found:
            problems = [r.problem for r in recordings if r.problem]
            raise NeurovisError(
                problems[0] if problems else f"{root}: no stimulus in any events file."
            )
        names = sorted(found)
        files = [_picture(root, self.images, name, found[name]) for name in names]
        there = [(root / file).is_file() for file in files]
        sizes = np.array([_size(root / f) if t else (0, 0) for f, t in zip(files, there)])
        return Stimuli(
            np.array(names), files, np.array([sha256(root / f) if t else "" for f, t in zip(files, there)]),
            sizes[:, 0], sizes[:, 1], np.array([name.split("_")[0] for name in names]),
            np.array([found[name] for name in names]), folder=root,
        )  # fmt: skip

    def _shown(
        self, root: Path, recordings: list[Recording]
    ) -> Iterator[tuple[str, str, list[str]]]:
        good = [r for r in recordings if not r.problem]
        if self.kind(root) == "h5":
            for file in dict.fromkeys(r.file for r in good):
                table = read_tables(file)
                images, kind = pictures_of(table), table.label("DataType")
                for session, number in KINDS.items():
                    mine = [r for r in good if r.file == file and r.session == session]
                    if mine:
                        yield mine[0].subject, session, np.unique(images[kind == number]).tolist()
            return
        for recording in good:
            if recording.session.startswith("perception"):
                events = read_events(_events(recording.file))
                yield recording.subject, recording.session, list(dict.fromkeys(events.image))
        if self.test == "imagery":
            for recording in good:
                if recording.session.startswith("imagery"):
                    images = self._imagined(root, recording, read_events(_events(recording.file)))
                    yield recording.subject, recording.session, list(dict.fromkeys(images))

    # ---- responses -----------------------------------------------------------------------------

    def voxels(self, root: Path, subject: str) -> Voxels:
        """Voxels of the visual cortex with the owners' regions."""
        if self.kind(root) == "h5":
            return read_tables(_tables(root)[subject]).voxels()
        return self._bids_voxels(root, subject)

    def responses(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        """Responses of one run."""
        if self.kind(root) == "h5":
            table = read_tables(recording.file)
            kind, run = table.label("DataType"), table.label("Run")
            rows = np.flatnonzero((kind == KINDS[recording.session]) & (run == int(recording.run)))
            notes = ("onsets are not published: the place within the run instead",)
            return Responses(
                table.signal(rows, voxels),
                pictures_of(table)[rows],
                np.arange(len(rows)),
                notes=notes,
            )
        return self._first_level(root, recording, voxels)

    def _bold(self, root: Path, recording: Recording) -> Path:
        """The preprocessed image of a run, or the raw one."""
        stem = recording.file.name.removesuffix("_bold.nii.gz")
        for folder in [self.derivatives] if self.derivatives else DERIVATIVES:
            place = root / folder / f"sub-{recording.subject}" / f"ses-{recording.session}" / "func"
            for ending in PREPROCESSED:
                if (place / (stem + ending)).is_file():
                    return place / (stem + ending)
        if self.derivatives:
            raise NeurovisError(
                f"{root / self.derivatives}: no preprocessed image of {stem}, expected {stem}_bold_preproc.nii.gz "
                "under its subject and session; fetch it, or leave derivatives out."
            )
        return recording.file

    def _bids_voxels(self, root: Path, subject: str) -> Voxels:
        from neurovis.signals.fmri.volumes import brain_mask, grid, read_map, voxels_in

        mine = [r for r in self.recordings(root) if r.subject == subject and not r.problem]
        bold = self._bold(root, mine[0])
        place = grid(bold)
        masks = sorted(
            (root / "sourcedata" / f"sub-{subject}" / "anat").glob("*_mask_[LR]H_*.nii.gz")
        )
        if not masks:
            return voxels_in(brain_mask(bold), place)
        inside, members = np.zeros(place.shape, bool), {}
        for file in masks:
            area = file.name.removesuffix(".nii.gz").rsplit("H_", 1)[1]
            member = np.nan_to_num(read_map(file, place)) != 0
            inside |= member
            # the dorsal and ventral halves of V1 to V3 also make the whole
            for name in dict.fromkeys((area, re.sub(r"^(V\d)[dv]$", r"\1", area))):
                members[name] = members.get(name, False) | member
        voxels = voxels_in(inside, place)
        return replace(voxels, roi={n: m[tuple(voxels.index.T)] for n, m in members.items()})

    def _first_level(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        from neurovis.signals.fmri.glm import first_level
        from neurovis.signals.fmri.volumes import read_series, repetition_time

        bold, events = self._bold(root, recording), read_events(_events(recording.file))
        task = "imagery" if recording.session.startswith("imagery") else "perception"
        sidecar = root / f"task-{task}_bold.json"
        stated = read_json(sidecar).get("RepetitionTime") if sidecar.is_file() else None
        tr = float(stated or repetition_time(bold) or 0)
        if tr <= 0:
            raise NeurovisError(
                f"{bold}: no repetition time in its header or in {sidecar.name}; add it there."
            )
        images = self._imagined(root, recording, events) if task == "imagery" else events.image
        notes = [f"{int((~events.first).sum())} one-back repeats are modelled and left out"]
        if task == "imagery":
            notes = ["cue and evaluation periods are not modelled"]
        if bold == recording.file:
            notes.append("raw BOLD: no motion correction; fetch the owners' derivatives for it")
        made = first_level(
            read_series(bold, voxels), tr, events.onset, events.duration, images, self.fmri, notes=notes
        )  # fmt: skip
        # a repeat is in the model, so that its response goes to no other trial
        keep = np.flatnonzero(np.isin(made.onset, events.onset[events.first]))
        return replace(
            made, signal=made.signal[keep], image=made.image[keep], onset=made.onset[keep]
        )

    def _imagined(self, root: Path, recording: Recording, events: RunEvents) -> np.ndarray:
        """The test picture of each category that was imagined."""
        pictures: dict[str, str] = {}
        for path in sorted(root.glob("sub-*/ses-perceptionTest*/func/*_events.tsv")):
            pictures |= {image.split("_")[0]: image for image in read_events(path).image}
        lost = [c for c in events.image if c not in pictures]
        if lost:
            raise NeurovisError(
                f"{_events(recording.file)}: category {lost[0]} was imagined and no perceptionTest run shows "
                "a picture of it, expected one; fetch the perceptionTest events."
            )
        return np.array([pictures[c] for c in events.image])


def stem_of(number: float, file: Path) -> str:
    """Stem of an ImageNet picture from the owners' number: synset, decimal point, six digits.

    Raises
    ------
    NeurovisError
        If the digits of the picture are lost.

    Examples
    --------
    >>> stem_of(1518878.010042, Path("Subject1.h5"))
    'n01518878_10042'
    """
    synset = int(np.floor(number)) if np.isfinite(number) else 0
    picture = (number - synset) * 1e6 if synset else 0.0
    if synset <= 0 or round(picture) == 0 or abs(picture - round(picture)) > 0.1:
        raise NeurovisError(
            f"{file}: stimulus number {number!r}, expected synset.picture with six digits after the point; "
            "the table is stored in too few digits: fetch it again."
        )
    return f"n{synset:08d}_{round(picture)}"


@lru_cache(maxsize=2)
def pictures_of(table: SampleTable) -> np.ndarray:
    """Stems of the pictures, array of str (sample,); the owners' running index must agree.

    Raises
    ------
    NeurovisError
        If digits are lost, or a picture goes by two indices.
    """
    key = next(name for name in IDS if name in table.meta)
    if table.digits < 15:
        raise NeurovisError(
            f"{table.file}: {key} is stored in {table.digits} digits, expected at least 13 (double "
            "precision), as the last six name the picture; fetch the file again."
        )
    kind, number = table.label("DataType"), table.label(key)
    seen = kind != KINDS["imageryTest"]
    values, place = np.unique(number[seen], return_inverse=True)
    stems = np.full(len(number), "", "U32")
    stems[seen] = np.array([stem_of(float(value), table.file) for value in values])[place]
    if "image_index" in table.meta:
        index = table.label("image_index")
        for one in (KINDS["perceptionTraining"], KINDS["perceptionTest"]):
            mine = kind == one
            pairs = {*zip(index[mine].tolist(), stems[mine].tolist())}
            if not len(pairs) == len(np.unique(index[mine])) == len(np.unique(stems[mine])):
                raise NeurovisError(
                    f"{table.file}: image_index and {key} disagree among samples of DataType {one}, expected "
                    "one index per picture; fetch the file again."
                )
    # what was imagined is a category: it goes by the test picture of that category
    shown = {stem.split("_")[0]: stem for stem in np.unique(stems[kind == KINDS["perceptionTest"]])}
    for row in np.flatnonzero(~seen):
        category = f"n{int(number[row]):08d}"
        if category not in shown:
            raise NeurovisError(
                f"{table.file}: category {category} was imagined and no test picture is of it, expected "
                "one; fetch the file again."
            )
        stems[row] = shown[category]
    return stems


def read_tables(file: Path) -> SampleTable:
    """Read a subject's table, which must say data type, run and picture of each sample."""
    about = file.stat()
    return _read_table(file, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=2)
def _read_table(file: Path, size: int, changed: int) -> SampleTable:
    """The table, read once for all runs of a subject, unless the file changes."""
    table = SampleTable.read(file, ("VoxelData", "DataType", "Run"))
    if not any(name in table.meta for name in IDS):
        raise NeurovisError(
            f"{file}: no column {' or '.join(IDS)}, expected the picture's number; found "
            f"{', '.join(table.meta)}: use the owners' release."
        )
    return table


@dataclass(frozen=True, eq=False)
class RunEvents:
    """Stimuli of one run: onset and duration (s), picture or category, whether it is no one-back repeat."""

    onset: np.ndarray
    duration: np.ndarray
    image: np.ndarray
    first: np.ndarray


def read_events(path: Path) -> RunEvents:
    """Stimuli, or imagery periods, of an events table.

    Raises
    ------
    NeurovisError
        If a column is missing, or a picture's number and name disagree.
    """
    import pandas as pd

    if not path.is_file():
        raise NeurovisError(f"{path}: no such events table; fetch it: neurovis fetch god.")
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    seen = "stimulus_name" in table
    named = "stimulus_name" if seen else "category_name"
    missing = [c for c in ("onset", "duration", "event_type", named) if c not in table]
    if missing:
        raise NeurovisError(
            f"{path}: no column {missing[0]!r}, expected onset, duration, event_type and stimulus_name or "
            f"category_name; found {', '.join(table)}: fetch it again."
        )
    table = table[table["event_type"] == ("stimulus" if seen else "imagery")]
    image = table[named].to_numpy(str)
    if seen and "stimulus_id" in table:
        told = [stem_of(float(number), path) for number in table["stimulus_id"]]
        wrong = [(a, b) for a, b in zip(image, told) if a != b]
        if wrong:
            raise NeurovisError(
                f"{path}: stimulus_name {wrong[0][0]} and stimulus_id of {wrong[0][1]} disagree "
                f"({len(wrong)} such), expected one picture; fetch the table again."
            )
    first = (
        np.r_[True, image[1:] != image[:-1]][: len(image)] if seen else np.ones(len(image), bool)
    )
    return RunEvents(
        table["onset"].to_numpy(float), table["duration"].to_numpy(float), image, first
    )


def _tables(root: Path) -> dict[str, Path]:
    found = [*root.glob("Subject*.h5"), *root.glob("*/Subject*.h5")]
    numbers = {re.fullmatch(r"Subject(\d+)\.h5", f.name): f for f in sorted(found)}
    return {f"{int(m[1]):02d}": f for m, f in numbers.items() if m}


def _events(bold: Path) -> Path:
    return bold.with_name(bold.name.removesuffix("_bold.nii.gz") + "_events.tsv")


def _picture(root: Path, folder: str, stem: str, side: str) -> str:
    """Path of a picture under the root: the one that is there, else the owners' name for it."""
    place = f"{folder}/{'training' if side == 'train' else 'test'}/{stem}"
    return next(
        (place + s for s in SUFFIXES if (root / (place + s)).is_file()), place + SUFFIXES[0]
    )


def _size(file: Path) -> tuple[int, int]:
    from neurovis.images.base import open_picture

    return open_picture(file).size


if __name__ == "__main__":
    sys.exit(main("god"))
