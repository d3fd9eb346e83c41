"""BOLD5000: slow event-related fMRI of four people and 4,916 pictures of scenes, COCO and ImageNet.

Comes in: release 2 (GLMsingle betas per session as NIfTI, or per region as ``.npy``), or the BIDS dataset
ds001499 with its fMRIPrep derivatives. Goes out: the prepared folder. 113 pictures were repeated and
test. Localiser runs are left out; the same picture goes by one id whatever its prefix and ending.

Run: ``python -m preprocessing.bold5000 --root DIR --out OUT --roi "[LOC, PPA]"``

References: Chang et al. 2019, doi:10.1038/s41597-019-0052-3 (data); Prince et al. 2022,
doi:10.7554/eLife.77599 (GLMsingle)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from neurovis.datasets import FmriSteps, Recording, Responses, VoxelData, Voxels
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import main
from neurovis.records import Stimuli
from neurovis.store import read_json, sha256

from .bold5000_files import (
    FOLDERS,
    STIMULI,
    TASK,
    concept_of,
    files_by_id,
    found,
    image_id,
    kind_of,
    matrix,
    names_of,
    on_grid,
    read_events,
    refuse_cases,
    region_of,
    runs_of,
    size_of,
)

VERSIONS = {
    "A": "TYPEA-ASSUMEHRF",
    "B": "TYBEB-FITHRF",  # as the owners spell it
    "C": "TYPEC-FITHRF-GLMDENOISE",
    "D": "TYPED-FITHRF-GLMDENOISE-RR",
}
REGIONS = ("EarlyVis", "LOC", "OPA", "PPA", "RSC")


class Bold5000(VoxelData, name="bold5000"):
    """BOLD5000 (Chang et al. 2019).

    Parameters
    ----------
    source : {"betas", "rois", "bids"}, optional
        Whole-brain betas (``CSI1_GLMbetas-..._ses-01.nii.gz``), betas of regions
        (``CSI1_GLMbetas-..._allses_LHPPA.npy``), or BOLD through a first-level model; found out from the
        root where it is not said.
    version : {"A", "B", "C", "D"}
        Of the betas: assumed response; fitted response; and denoised; and ridge regression.
    sessions : tuple of int
        Only these; all that the manifest names if empty.
    derivatives : str
        fMRIPrep's output, under the root.
    masks : str
        Region masks ``sub-{subject}_mask-LHPPA.nii.gz`` in a folder per subject, under the root.
    """

    # the owners advise to z-score within session; mean and SD come from training trials
    fmri: FmriSteps = FmriSteps(roi=REGIONS, standardise="session")
    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {"fmri": {"learn": "all"}},
    }
    source: Literal["betas", "rois", "bids"] | None = None
    version: Literal["A", "B", "C", "D"] = "D"
    sessions: tuple[int, ...] = ()
    derivatives: str = "derivatives/fmriprep"
    masks: str = "derivatives/spm"

    def kind(self, root: Path) -> str:
        """Which of the publications lies under the root."""
        if self.source is not None:
            return self.source
        if found(root, "CSI*_GLMbetas-*_ses-*.nii.gz"):
            return "betas"
        if found(root, "CSI*_GLMbetas-*_allses_*.npy"):
            return "rois"
        if any(root.glob(f"sub-CSI*/ses-*/func/*task-{TASK}*")):
            return "bids"
        old = found(root, "CSI*_ROIs_TR*")
        there = f"{old[0].name} of release 1, which is not read" if old else "none of them"
        raise NeurovisError(
            f"{root}: expected CSI1_GLMbetas-*_ses-01.nii.gz, CSI1_GLMbetas-*_allses_*.npy or "
            f"sub-CSI1/ses-01/func, found {there}; run neurovis fetch bold5000 --root DIR, or give their folder."
        )

    # ---- recordings ----------------------------------------------------------------------------

    def recordings(self, root: Path) -> list[Recording]:
        """Sessions (betas) or runs (BOLD) of every subject that is there; what is missing is said."""
        kind = self.kind(root)
        if kind == "bids":
            return list(self._of_bids(root))
        out = []
        for subject in self._subjects(root, kind):
            named = {session for session, _ in names_of(root, subject)}
            for session in self._sessions_of(subject):
                name = f"{subject}_GLMbetas-{VERSIONS[self.version]}_ses-{session:02d}.nii.gz"
                if kind == "betas":
                    files = found(root, name)
                    why = self._missing(root, name, "*_GLMbetas-*_ses-*")
                else:
                    name = f"{subject}_GLMbetas-{VERSIONS[self.version]}_allses_*.npy"
                    files = found(root, name)
                    why = self._missing(root, name, "*_GLMbetas-*_allses_*")
                file = files[0] if files else root / name
                problem = "" if files else why
                if files and session not in named:
                    problem = (
                        f"{file}: nothing says which pictures session {session} shows, expected {subject}_imgnames.txt, the "
                        f"events of ds001499 or {STIMULI.split('/')[0]}/Stimuli_Presentation_Lists; fetch one of them."
                    )
                out.append(Recording(subject, f"{session:02d}", "all", file, problem))
        return out

    def _missing(self, root: Path, name: str, like: str) -> str:
        others = sorted(
            {m[1] for f in found(root, like) if (m := re.search(r"GLMbetas-(TY.*?)_", f.name))}
        )
        others = [v for v in others if v != VERSIONS[self.version]]
        hint = f"; of other versions there are {', '.join(others)}: set version" if others else ""
        return f"{root}: {name} is missing{hint}; fetch it: neurovis fetch bold5000, or choose sessions."

    def _subjects(self, root: Path, kind: str) -> list[str]:
        pattern = (
            "CSI*_GLMbetas-*_ses-*.nii.gz" if kind == "betas" else "CSI*_GLMbetas-*_allses_*.npy"
        )
        return sorted({f.name.split("_")[0] for f in found(root, pattern)})

    def _sessions_of(self, subject: str) -> list[int]:
        known = runs_of(subject)
        most = max(len(runs) for runs in read_manifest("bold5000").facts["n_runs"].values())
        wrong = [s for s in self.sessions if not 1 <= s <= most]
        if wrong:
            raise UsageError(f"sessions: expected numbers from 1 to {most}, found {wrong[0]}.")
        return [s for s in known if not self.sessions or s in self.sessions]

    def _of_bids(self, root: Path) -> Iterator[Recording]:
        for folder in sorted(root.glob("sub-CSI*")):
            subject = folder.name.removeprefix("sub-")
            for session in self._sessions_of(subject):
                for run in range(1, runs_of(subject)[session] + 1):
                    stem = f"sub-{subject}_ses-{session:02d}_task-{TASK}_run-{run:02d}"
                    func = folder / f"ses-{session:02d}" / "func"
                    bold = self._bold(root, func, stem)
                    lost = [f for f in (bold, func / f"{stem}_events.tsv") if not f.is_file()]
                    why = "no such file; fetch it: neurovis fetch bold5000, or choose sessions."
                    problem = f"{lost[0]}: {why}" if lost else ""
                    yield Recording(subject, f"{session:02d}", f"{run:02d}", bold, problem)

    def _bold(self, root: Path, func: Path, stem: str) -> Path:
        """Preprocessed BOLD of a run under either of fMRIPrep's names, else the raw one."""
        made = root / self.derivatives / func.relative_to(root)
        for ending in ("_bold_space-T1w_preproc.nii.gz", "_space-T1w_desc-preproc_bold.nii.gz"):
            if (made / (stem + ending)).is_file():
                return made / (stem + ending)
        return func / f"{stem}_bold.nii.gz"

    # ---- stimuli -------------------------------------------------------------------------------

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures that anyone saw; those repeated for anyone, or in the owners' list, test."""
        names: dict[str, str] = {}
        repeated: set[str] = set()
        subjects = dict.fromkeys(r.subject for r in self.recordings(root))
        for subject in subjects:
            shown = [name for some in names_of(root, subject).values() for name in some]
            ids, counts = np.unique([image_id(name) for name in shown], return_counts=True)
            repeated |= set(ids[counts > 1].tolist())
            names |= {image_id(name): name for name in reversed(shown)}
        if not names:
            problems = [r.problem for r in self.recordings(root) if r.problem]
            raise NeurovisError(
                problems[0] if problems else f"{root}: no picture is named anywhere."
            )
        refuse_cases(names)
        listed = found(root / STIMULI, "repeated_stimuli_113_list.txt")
        if listed:
            known = {
                image_id(line)
                for line in listed[0].read_text(encoding="utf-8").splitlines()
                if line
            }
            odd = sorted(repeated - known)
            if odd:
                raise NeurovisError(
                    f"{listed[0]}: picture {odd[0]!r} was repeated and is not in the list ({len(odd)} such), "
                    "expected all of them; are list and names of one release?"
                )
            repeated = known & names.keys()
        order = sorted(names)
        there = files_by_id(root)
        files = [there.get(i.lower(), (f"{STIMULI}/Presented_Stimuli/{FOLDERS[kind_of(i)]}/{names[i]}"))
                 for i in order]  # fmt: skip
        exist = [(root / f).is_file() for f in files]
        sizes = np.array([size_of(root / f) if e else (0, 0) for f, e in zip(files, exist)])
        return Stimuli(
            np.array(order), files, np.array([sha256(root / f) if e else "" for f, e in zip(files, exist)]),
            sizes[:, 0], sizes[:, 1], np.array([concept_of(i) for i in order]),
            np.where(np.isin(order, list(repeated)), "test", "train"), folder=root,
        )  # fmt: skip

    # ---- responses -----------------------------------------------------------------------------

    def voxels(self, root: Path, subject: str) -> Voxels:
        """Voxels of the brain mask with the owners' regions, by hemisphere and both together."""
        from neurovis.signals.fmri.volumes import brain_mask, grid, read_map, voxels_in

        kind = self.kind(root)
        if kind == "rois":
            return self._region_voxels(root, subject)
        first = next(r for r in self.recordings(root) if r.subject == subject and not r.problem)
        place = grid(first.file)
        masks = {} if kind == "bids" else {"brain": found(root, f"{subject}_brainmask.nii.gz")}
        if kind == "bids":
            stem = first.file.name.split("_bold")[0].split("_space")[0]
            masks["brain"] = [
                f
                for ending in (
                    "_bold_space-T1w_brainmask.nii.gz",
                    "_space-T1w_desc-brain_mask.nii.gz",
                )
                if (f := first.file.with_name(stem + ending)).is_file()
            ]
        if masks["brain"]:
            inside = on_grid(read_map(masks["brain"][0]), masks["brain"][0], place)
        elif kind == "bids":
            inside = brain_mask(first.file)
        else:
            raise NeurovisError(
                f"{root}: {subject}_brainmask.nii.gz is missing, expected it beside the betas; fetch it: neurovis "
                "fetch bold5000."
            )
        members = {}
        for file in sorted((root / self.masks / f"sub-{subject}").glob("*_mask-[LR]H*.nii.gz")):
            region = region_of(file.name.removesuffix(".nii.gz").split("_mask-")[1])
            member = on_grid(read_map(file), file, place)
            for name in (region, region[2:]):
                members[name] = members.get(name, False) | member
        if self.fmri.roi and not members:
            raise NeurovisError(
                f"{root / self.masks}/sub-{subject}: no region mask, expected sub-{subject}_mask-LHPPA.nii.gz and "
                "others for roi; fetch them: neurovis fetch bold5000 --source masks, or set roi=[]."
            )
        for member in members.values():
            inside = inside | member
        voxels = voxels_in(inside, place)
        return replace(voxels, roi={n: m[tuple(voxels.index.T)] for n, m in members.items()})

    def responses(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        """Betas of one session, or of one run through the model."""
        if self.kind(root) == "bids":
            return self._first_level(root, recording, voxels)
        shown, runs = names_of(root, recording.subject), runs_of(recording.subject)
        session, each = (
            int(recording.session),
            int(read_manifest("bold5000").facts["trials_per_run"]),
        )
        mine = range(1, runs[session] + 1)
        lost = [run for run in mine if (session, run) not in shown]
        if lost:
            raise NeurovisError(
                f"{recording.file}: nothing says which pictures run {lost[0]} of session {session} shows; fetch the "
                f"events of ds001499 or {recording.subject}_imgnames.txt."
            )
        names = [name for run in mine for name in shown[session, run]]
        if self.kind(root) == "betas":
            signal = self._betas(recording, voxels, len(names))
        else:
            before = each * sum(n for s, n in runs.items() if s < session)
            rows = slice(before, before + len(names))
            signal = self._region_betas(root, recording, voxels, rows, each * sum(runs.values()))
        return Responses(
            signal, np.array([image_id(name) for name in names]), np.arange(len(names)),
            run=np.array([f"{run:02d}" for run in mine for _ in shown[session, run]]), unit="%",
            notes=("onsets are not published with betas: the place within the session instead",),
        )  # fmt: skip

    def _betas(self, recording: Recording, voxels: Voxels, n: int) -> np.ndarray:
        from neurovis.signals.fmri.volumes import n_volumes, read_series

        there = n_volumes(recording.file)
        if there != n:
            raise NeurovisError(
                f"{recording.file}: {there} betas, expected {n} (the trials of session {recording.session}); fetch "
                "the file again, or the names of the same release."
            )
        return read_series(recording.file, voxels)

    def _region_files(self, root: Path, subject: str) -> dict[str, Path]:
        name = f"{subject}_GLMbetas-{VERSIONS[self.version]}_allses_*.npy"
        return {region_of(f.stem.rsplit("_", 1)[1]): f for f in found(root, name)}

    def _region_voxels(self, root: Path, subject: str) -> Voxels:
        names, members = [], []
        for region, file in sorted(self._region_files(root, subject).items()):
            n = matrix(file).shape[1]
            names += [f"{region}-{i:05d}" for i in range(n)]
            members += [region] * n
        regions = np.array(members)
        both = {name: np.char.endswith(regions, name) for name in {r[2:] for r in members}}
        roi = {name: regions == name for name in np.unique(regions).tolist()} | both
        return Voxels(np.array(names), np.full((len(names), 3), np.nan), roi)

    def _region_betas(
        self, root: Path, recording: Recording, voxels: Voxels, rows: slice, total: int
    ) -> np.ndarray:
        files = self._region_files(root, recording.subject)
        region = np.array([name.split("-")[0] for name in voxels.name])
        column = np.array([int(name.split("-")[1]) for name in voxels.name])
        out = np.empty((rows.stop - rows.start, len(voxels)), np.float32)
        for name in np.unique(region).tolist():
            data = matrix(files[name])
            if len(data) != total:
                raise NeurovisError(
                    f"{files[name]}: {len(data)} trials, expected {total} as {recording.subject}'s names say; fetch "
                    "the file again."
                )
            mine = region == name
            out[:, mine] = data[rows][:, column[mine]]
        return out

    def _first_level(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        from neurovis.signals.fmri.confounds import read_confounds
        from neurovis.signals.fmri.glm import first_level
        from neurovis.signals.fmri.volumes import read_series, repetition_time

        stem = recording.file.name.split("_bold")[0].split("_space")[0]
        func = root / f"sub-{recording.subject}" / f"ses-{recording.session}" / "func"
        events = read_events(func / f"{stem}_events.tsv")
        sidecar = root / f"task-{TASK}_bold.json"
        stated = read_json(sidecar).get("RepetitionTime") if sidecar.is_file() else None
        tr = float(stated or repetition_time(recording.file) or 0)
        if tr <= 0:
            raise NeurovisError(
                f"{recording.file}: no repetition time in its header or in {sidecar.name}; add it there."
            )
        series, table, columns = read_series(recording.file, voxels), None, []
        if self.fmri.confounds:
            old = recording.file.with_name(f"{stem}_bold_confounds.tsv")
            new = recording.file.with_name(f"{stem}_desc-confounds_timeseries.tsv")
            path = old if old.is_file() else new
            table, columns = read_confounds(path, self.fmri.confounds, len(series))
        raw = recording.file.parent == func
        return first_level(
            series, tr, events.onset, events.duration, [image_id(n) for n in events.name], self.fmri,
            table, columns, ("raw BOLD: no motion correction",) if raw else (),
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main("bold5000"))
