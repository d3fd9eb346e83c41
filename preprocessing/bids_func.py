"""Where BIDS keeps what belongs to a BOLD run: volumes, events, TR, masks, regions, confounds.

Comes in: a BIDS root and, where there are such, derivatives as fMRIPrep writes them. Goes out: paths and
numbers; entities (``sub-``, ``ses-``, ``task-``, ``run-``) say what belongs together, and a file nearer to
the run prevails over one further up (the inheritance principle).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neurovis.datasets import Recording
from neurovis.errors import NeurovisError, UsageError
from neurovis.signals.fmri.volumes import (
    brain_mask,
    grid,
    read_map,
    repetition_time,
    voxels_in,
)
from neurovis.signals.fmri.voxels import Voxels
from neurovis.store import read_json

TIME = ("sub", "ses", "task", "acq", "ce", "dir", "run")  # what tells runs apart
OWN = ("", "T1w", "T2w", "func", "bold", "boldref", "individual", "native")


def entities(path: Path) -> dict[str, str]:
    """Entities of a file name, ``space-`` and ``desc-`` included."""
    return dict(re.findall(r"(?:^|_)([a-zA-Z]+)-([^_.]+)", path.name))


def is_bold(file: Path) -> bool:
    """Whether a recording is BOLD volumes."""
    return file.name.endswith(("_bold.nii.gz", "_bold.nii"))


def bold_files(root: Path, derivatives: Path | None, space: str | None) -> list[Path]:
    """BOLD volumes of all runs: those of the derivatives where such are given.

    Raises
    ------
    UsageError
        If the derivatives hold no preprocessed run, or runs in several spaces and none was named.
    """
    base, name = (root, "*_bold") if derivatives is None else (derivatives, "*_desc-preproc_bold")
    found = sorted(
        p for end in (".nii", ".nii.gz") for p in base.glob(f"sub-*/**/func/{name}{end}")
    )
    if derivatives is None:
        return [p for p in found if "desc" not in entities(p)]
    if not found:
        raise UsageError(
            f"{derivatives}: derivatives: no *_desc-preproc_bold.nii.gz in it, expected runs as fMRIPrep "
            "writes them; correct the folder, or leave derivatives out."
        )
    spaces = sorted({entities(p).get("space", "") for p in found})
    if space is None and len(spaces) > 1:
        named = ", ".join(s or "(none: the run's own)" for s in spaces)
        raise UsageError(
            f"{derivatives}: runs are there in the spaces {named}, expected one; set space."
        )
    wanted = spaces[0] if space is None else space
    some = [p for p in found if entities(p).get("space", "") == wanted]
    if not some:
        raise UsageError(
            f"{derivatives}: space: no run in space {wanted!r}, found {', '.join(spaces)}; set another."
        )
    return some


def nearest(file: Path, tree: Path, suffix: str) -> Path | None:
    """The file of a tree that applies to a run: its entities are among the run's, the deepest first.

    Parameters
    ----------
    file : Path
        Of the run, in this tree or in another.
    tree : Path
        Root of a BIDS dataset or of derivatives.
    suffix : str
        Such as ``events.tsv`` or ``bold.json``.
    """
    mine = {k: v for k, v in entities(file).items() if k in TIME}
    folders = [tree, tree / f"sub-{mine['sub']}"]
    if "ses" in mine:
        folders.append(folders[-1] / f"ses-{mine['ses']}")
    folders += [folder / "func" for folder in folders[1:]]
    for folder in reversed(folders):
        fitting = []
        for path in sorted(folder.glob(f"*{suffix}")):
            rest = path.name.removesuffix(suffix)
            told = {k: v for k, v in entities(path).items() if k in TIME}
            if (rest == "" or rest.endswith("_")) and told.items() <= mine.items():
                fitting.append((len(told), path))
        if fitting:
            return max(fitting, key=lambda found: found[0])[1]
    return None


def run_tr(file: Path, trees: Sequence[Path], stated: float | None) -> tuple[float, str]:
    """TR of a run in s, and a note where the header disagrees.

    By the option, the run's JSON file, or the header, in this order.

    Raises
    ------
    NeurovisError
        If nothing states it.
    """
    if stated is not None:
        return stated, ""
    header = repetition_time(file)
    for tree in trees:
        sidecar = nearest(file, tree, "bold.json")
        told = read_json(sidecar).get("RepetitionTime") if sidecar else None
        if isinstance(told, int | float) and told > 0:
            if header is not None and abs(header - told) > 0.01 * told:
                return float(told), (
                    f"TR {told:g} s by {sidecar.name}, {header:g} s by the header: the former is used"
                )
            return float(told), ""
    if header is None:
        raise NeurovisError(
            f"{file}: no TR in its header and no RepetitionTime in a *_bold.json, expected one; set tr."
        )
    return header, ""


def globbed(root: Path, pattern: str, subject: str) -> list[Path]:
    """Files of a pattern in which ``{subject}`` stands for the subject."""
    return sorted(p for p in root.glob(pattern.replace("{subject}", subject)) if p.is_file())


def region_name(path: Path) -> str:
    """``label-`` of a mask's name, or the name itself."""
    return entities(path).get("label") or path.name.split(".")[0]


def subject_voxels(
    root: Path, runs: Sequence[Recording], mask: str | None, rois: str | None
) -> Voxels:
    """Voxels of one subject.

    The mask is the one named; or the region ``brain``; or the voxels in all runs'
    ``desc-brain_mask`` files; or what a threshold on the first run's mean volume gives.

    Parameters
    ----------
    root : Path
    runs : sequence of Recording
        Of the subject.
    mask, rois : str, optional
        Globs relative to the root.

    Raises
    ------
    NeurovisError
        If a mask that was named is not there, or an image is on another grid.
    """
    subject, first = runs[0].subject, grid(runs[0].file)
    regions = globbed(root, rois, subject) if rois else []
    named = {region_name(path): path for path in regions}
    brain = named.pop("brain", None)
    if mask is not None:
        found = globbed(root, mask, subject)
        if len(found) != 1:
            raise UsageError(
                f"{root}: mask: {mask.replace('{subject}', subject)} matches {len(found)} files, "
                "expected one; correct the glob."
            )
        inside = read_map(found[0], first)
    elif brain is not None:
        inside = read_map(brain, first)
    else:
        masks = [p for r in runs if (p := brain_beside(r.file)) is not None]
        if len(masks) == len(runs):
            inside = np.all([np.nan_to_num(read_map(p, first)) != 0 for p in masks], axis=0)
        else:
            inside = brain_mask(runs[0].file)
    space = entities(runs[0].file).get("space", "")
    return voxels_in(np.nan_to_num(inside) != 0, first, named, "" if space in OWN else space)


def brain_beside(file: Path) -> Path | None:
    """The brain mask that fMRIPrep writes beside a run."""
    stem = re.sub(r"_desc-[^_.]+", "", file.name)
    path = file.with_name(re.sub(r"_bold\.nii(\.gz)?$", "_desc-brain_mask.nii.gz", stem))
    return path if path.is_file() else None


def confounds_tables(file: Path, root: Path, derivatives: Path | None) -> list[Path]:
    """Confounds tables of a run, wherever derivatives hold them."""
    mine = {k: v for k, v in entities(file).items() if k in TIME}
    base = [derivatives] if derivatives is not None else sorted((root / "derivatives").glob("*"))
    return [
        path
        for folder in base
        for name in ("timeseries", "regressors")
        for path in sorted(folder.glob(f"sub-{mine['sub']}/**/*_desc-confounds_{name}.tsv"))
        if {k: v for k, v in entities(path).items() if k in TIME} == mine
    ]


def confounds_of(file: Path, root: Path, derivatives: Path | None) -> Path:
    """The confounds table of a run.

    Raises
    ------
    NeurovisError
        If there is none, or several.
    """
    found = confounds_tables(file, root, derivatives)
    if len(found) != 1:
        raise NeurovisError(
            f"{file.name}: {len(found)} tables *_desc-confounds_timeseries.tsv of this run in "
            f"{derivatives or 'derivatives'}, expected one; set derivatives, or confounds=[]."
        )
    return found[0]
