"""The Natural Scenes Dataset: single-trial betas of 7 T fMRI, 8 subjects, COCO pictures.

Comes in: the owners' folders (``nsddata``, ``nsddata_betas``, ``nsddata_stimuli``) as the public bucket has
them; volumes at 1.8 mm (``.hdf5`` or ``.nii.gz``), fsaverage or the subject's own surface. Goes out: the
prepared folder, percent signal change z-scored per session. Images are called ``nsd00000`` to
``nsd72999``, by their row in ``imgBrick``, which counts from 0; everything in ``nsd_expdesign.mat`` counts
from 1. An ``.hdf5`` volume holds one voxel's 750 trials side by side, so that only the wanted voxels'
bytes are read, in the file's order, once.

Run: ``python -m preprocessing.nsd --root NSD --out OUT --subject 1 --sessions 40 --roi "[nsdgeneral]"``
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.datasets import Recording, VoxelData
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import main
from neurovis.progress import progress
from neurovis.records import Split, Stimuli
from neurovis.signals.fmri.steps import FmriSteps
from neurovis.signals.fmri.subject import Responses
from neurovis.signals.fmri.volumes import grid, open_image, read_map, voxels_in
from neurovis.signals.fmri.voxels import Voxels
from neurovis.store import sha256

from .nsd_files import (
    DESIGN,
    PICTURES,
    PIXELS,
    Betas,
    Design,
    concepts_of,
    information,
    is_labels,
    name_of,
    regions_of,
    write_pictures,
)

TR = 4 / 3  # s, of the 1.8 mm preparation
VERSIONS = {
    "b1": "betas_assumehrf",
    "b2": "betas_fithrf",
    "b3": "betas_fithrf_GLMdenoise_RR",
}


class Nsd(VoxelData, name="nsd"):
    """NSD (Allen et al. 2022, doi:10.1038/s41593-021-00962-x).

    Parameters
    ----------
    version : {"b2", "b3"}
        Betas with a fitted response (b2), or denoised and regularised, too (b3). The first version
        (b1, an assumed response) is refused.
    space : {"func1pt8mm", "fsaverage", "nativesurface"}
    sessions : int, optional
        Only the first so many of each subject; None: all that the subject completed.
    held_back : int
        Leave out each subject's last sessions: 3 gives the first public release (37 sessions and 982
        test images for subjects 1, 2, 5, 7), 0 the full one (40 and 1000).
    test_repeats : int, optional
        Keep as test only the shared images that every subject under the root saw at least so often
        within these sessions; None: all that any of them saw.
    pictures : bool
        Write the pictures seen as PNG beside ``nsd_stimuli.hdf5`` (once; about 0.3 MB each).
    annotations : str
        Folder under the root with COCO's ``instances_train2017.json`` and ``instances_val2017.json``.
        Where they are, an image's concept is the category that fills most of what was shown; else
        every concept is ``coco``.
    """

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {"fmri": {"learn": "all"}},
        "mindeye1": {"held_back": 3, "fmri": {"learn": "all"}},
        "brain-diffuser": {"held_back": 3, "validation": 0.0, "fmri": {"standardise": "subject"}},
    }

    fmri: FmriSteps = FmriSteps(roi=("nsdgeneral",), standardise="session")
    version: str = "b3"
    space: Literal["func1pt8mm", "fsaverage", "nativesurface"] = "func1pt8mm"
    sessions: int | None = pydantic.Field(None, ge=1, le=40)
    held_back: int = pydantic.Field(0, ge=0, le=10)
    test_repeats: int | None = pydantic.Field(None, ge=1, le=3)
    pictures: bool = False
    annotations: str = "annotations"

    @pydantic.field_validator("version")
    @classmethod
    def _refuse_the_first(cls, value: str) -> str:
        if value not in ("b2", "b3"):
            old = " (betas_assumehrf, the first version, with one assumed response for all voxels)"
            raise UsageError(
                f"version: {value!r}{old if value == 'b1' else ''}; expected b3 "
                "(betas_fithrf_GLMdenoise_RR) or b2 (betas_fithrf), as the field reports."
            )
        return value

    @pydantic.model_validator(mode="after")
    def _betas_have_no_time(self) -> Nsd:
        if self.fmri.window is not None:
            raise UsageError(
                "fmri.window: the owners' betas have no time course, expected none; leave it out."
            )
        return self

    def recordings(self, root: Path) -> list[Recording]:
        """One per session; a session that is not there is a problem of its subject alone."""
        out = []
        for subject in self._subjects(root):
            folder = self._betas(root, subject)
            for number in range(1, self._count(subject) + 1):
                names = self._names(number)
                there = [folder / name for name in names if (folder / name).is_file()]
                surfaces = 1 if self.space == "func1pt8mm" else 2
                problem = "" if len(there) >= surfaces else self._missing(root, subject, names)
                file = there[0] if there else root / DESIGN
                out.append(Recording(subject, f"{number:02d}", "all", file, problem=problem))
        return out

    def companions(self, root: Path, recording: Recording) -> list[Path]:
        """The design, masks and regions, and the other hemisphere."""
        other = recording.file.with_name("rh" + recording.file.name[2:])
        masks = root / f"nsddata/ppdata/subj{recording.subject}/func1pt8mm"
        if self.space == "func1pt8mm":
            files = [masks / "brainmask.nii.gz", *sorted((masks / "roi").glob("*.nii.gz"))]
        else:
            owner = "fsaverage" if self.space == "fsaverage" else f"subj{recording.subject}"
            files = [other, *sorted((root / "nsddata/freesurfer" / owner / "label").glob("*.mgz"))]
        return [file for file in (root / DESIGN, *files) if file.is_file()]

    def voxels(self, root: Path, subject: str) -> Voxels:
        """Voxels of the owners' liberal brain mask, or vertices, with every region they drew."""
        if self.space == "func1pt8mm":
            folder = root / f"nsddata/ppdata/subj{subject}/func1pt8mm"
            mask = folder / "brainmask.nii.gz"
            like = grid(mask)
            found = voxels_in(mask, like)
            maps = {
                path.name.removesuffix(".nii.gz"): read_map(path, like)[tuple(found.index.T)]
                for path in sorted((folder / "roi").glob("*.nii.gz"))
                if not path.name.startswith(("lh.", "rh."))
            }
        else:
            owner = "fsaverage" if self.space == "fsaverage" else f"subj{subject}"
            folder = root / "nsddata/freesurfer" / owner / "label"
            maps, sizes = {}, [0, 0]
            for left in sorted(folder.glob("lh.*.mgz")):
                side = _vertices(left)
                # pRF angles, t values and the like lie beside the regions
                if not is_labels(side):
                    continue
                sides = [side, _vertices(left.with_name("rh" + left.name[2:]))]
                sizes = [len(side) for side in sides]
                maps[left.name[3:].removesuffix(".mgz")] = np.concatenate(sides)
            if not maps:
                raise NeurovisError(
                    f"{folder}: no lh.*.mgz, expected the owners' regions on the surface; fetch them: "
                    f"{self._fetch(root, subject)}"
                )
            names = [f"{s}{i:06d}" for s, n in zip(("lh", "rh"), sizes) for i in range(n)]
            space = "fsaverage" if self.space == "fsaverage" else ""
            nowhere = np.full((len(names), 3), np.nan, np.float32)
            found = Voxels(np.array(names), nowhere, space=space)
            odd = [name for name, values in maps.items() if len(values) != len(names)]
            if odd:
                raise NeurovisError(
                    f"{folder}: lh.{odd[0]}.mgz and rh.{odd[0]}.mgz have {len(maps[odd[0]])} vertices, "
                    f"expected {len(names)} as the other regions; fetch them again."
                )
        owners = [f"nsddata/freesurfer/{owner}/label" for owner in (f"subj{subject}", "fsaverage")]
        return replace(found, roi=regions_of(maps, [root / owner for owner in owners]))

    def responses(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        """One session's betas, read when they are first sliced."""
        image, run, onset = Design.of(root).session(recording.subject, int(recording.session))
        signal = Betas(recording.file, self.space, voxels, self._fetch(root, recording.subject))
        absent = int(signal.absent.sum())
        notes = (f"{absent} voxels without data in this session",) if absent else ()
        return Responses(
            signal=signal, image=np.array([name_of(i) for i in image]), onset=onset, run=run,
            sfreq=1 / TR if self.space == "func1pt8mm" else 1.0, unit="%", notes=notes,
        )  # fmt: skip

    def stimuli(self, root: Path) -> Stimuli:
        """All images that the subjects saw in these sessions; the shared ones are test."""
        design = Design.of(root)
        seen = [design.until(who, self._count(who)) for who in self._subjects(root)]
        images = np.unique(np.concatenate(seen))
        info = information(root, design)
        names = [name_of(i) for i in images]
        if self.pictures:
            write_pictures(root, images)
        folder = root / PICTURES
        files = [f"{name}.png" if (folder / f"{name}.png").is_file() else "" for name in names]
        sums = [
            sha256(folder / file) if file else ""
            for file in progress(files, "pictures", quiet=not any(files), unit="picture")
        ]
        side = np.full(len(names), PIXELS)
        concepts = concepts_of(root / self.annotations, images, info)
        sets = np.where(np.isin(images, design.shared), "test", "train")
        return Stimuli(
            np.array(names), [(file,) for file in files], np.array(sums), side, side, concepts, sets,
            folder=folder,
        )  # fmt: skip

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """The shared images against the subjects' own; single images of the latter validate.

        Test images show the same categories as the others, so that validation images do, too.
        """
        test = stimuli.image[stimuli.set == "test"]
        if self.test_repeats is not None:
            root = next(p for p in recordings[0].file.parents if (p / DESIGN).is_file())
            design = Design.of(root)
            for who in self._subjects(root):
                images, count = np.unique(design.until(who, self._count(who)), return_counts=True)
                often = [name_of(i) for i in images[count >= self.test_repeats]]
                test = test[np.isin(test, often)]
            if not len(test):
                raise UsageError(
                    f"test_repeats: no shared image was seen {self.test_repeats} times by every subject "
                    "in these sessions, expected some; take more sessions or a smaller number."
                )
        train = stimuli.image[stimuli.set == "train"]
        order = np.random.default_rng(self.seed).permutation(len(train))
        held = np.zeros(len(train), bool)
        held[order[: round(self.validation * len(train))]] = True
        split = Split(train[~held], train[held], test, self.recipe)
        split.check(stimuli)
        return [split]

    def _subjects(self, root: Path) -> list[str]:
        known = read_manifest("nsd").subjects
        folder = root / "nsddata_betas/ppdata"
        found = [who for who in known if (folder / f"subj{who}").is_dir()]
        if not found:
            raise NeurovisError(
                f"{folder}: no folder subj01 to subj{known[-1]}, expected the owners' betas as in their "
                f"bucket; give its root, or fetch them: {self._fetch(root, '01')}"
            )
        return found

    def _count(self, subject: str) -> int:
        """Sessions to use of a subject."""
        done = read_manifest("nsd").facts["completed_sessions"][int(subject) - 1]
        done = max(1, done - self.held_back)
        return done if self.sessions is None else min(done, self.sessions)

    def _betas(self, root: Path, subject: str) -> Path:
        return root / f"nsddata_betas/ppdata/subj{subject}/{self.space}/{VERSIONS[self.version]}"

    def _names(self, session: int) -> list[str]:
        if self.space == "func1pt8mm":
            return [f"betas_session{session:02d}{end}" for end in (".hdf5", ".nii.gz")]
        end = ".mgh" if self.space == "fsaverage" else ".hdf5"
        return [f"{side}.betas_session{session:02d}{end}" for side in ("lh", "rh")]

    def _missing(self, root: Path, subject: str, names: list[str]) -> str:
        folder = self._betas(root, subject)
        others = [
            f"{other.parent.name} ({version})"
            for version, name in VERSIONS.items()
            for other in [folder.with_name(name) / n for n in names]
            if other.is_file() and version != self.version
        ]
        instead = f", found it in {', '.join(sorted(set(others)))}" if others else ""
        lacking = [n for n in names if not (folder / n).is_file()]
        return (
            f"{folder / lacking[0]}: no such file, expected the session's betas of version "
            f"{self.version}{instead}; fetch it: {self._fetch(root, subject)}, or set sessions to how "
            "many are there."
        )

    def _fetch(self, root: Path, subject: str) -> str:
        return f"neurovis fetch nsd --root {root} --subject {subject} --accept nsd"


def _vertices(path: Path) -> np.ndarray:
    image = open_image(path)
    return np.asarray(image.dataobj, np.float32).ravel()


if __name__ == "__main__":
    sys.exit(main("nsd"))
