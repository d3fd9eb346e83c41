"""Names, events and files of BOLD5000: which picture each trial shows, by one id per picture.

Comes in: what the owners publish of names: events, one list per subject, or a list per run. Goes out:
ids without the prefixes, endings and cases in which these differ, and files found whatever folder
their archive was unpacked to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, unknown
from neurovis.manifest import read_manifest

TASK = "5000scenes"
MISSPELT = {"LHLO": "LHLOC", "RHLO": "RHLOC", "RHRRSC": "RHRSC"}
"""Names of some files of CSI2 and CSI3, and what they are."""

STIMULI = "BOLD5000_Stimuli/Scene_Stimuli"
FOLDERS = {"coco": "COCO", "imagenet": "ImageNet", "scenes": "Scene"}


def runs_of(subject: str) -> dict[int, int]:
    """Runs of each session of a subject, as the manifest says."""
    known = read_manifest("bold5000").facts["n_runs"]
    if subject not in known:
        raise NeurovisError(f"bold5000: {unknown('subject', subject, known)}")
    return dict(enumerate(known[subject], start=1))


# ---- pictures ----------------------------------------------------------------------------------


def image_id(name: str) -> str:
    """One id for a picture, whatever its folder, prefix and ending.

    Examples
    --------
    >>> image_id(" rep_n01641577_1229.JPEG"), image_id("dining_car.jpg")
    ('n01641577_1229', 'dining_car')
    """
    name = name.strip().replace("\\", "/").rsplit("/", 1)[-1].removeprefix("rep_")
    return re.sub(r"\.(jpe?g|png)$", "", name, flags=re.IGNORECASE)


def kind_of(image: str) -> str:
    """Which set a picture is from: coco, imagenet or scenes."""
    if image.startswith("COCO_"):
        return "coco"
    return "imagenet" if re.fullmatch(r"n\d{8}_\d+", image) else "scenes"


def concept_of(image: str) -> str:
    """Synset of an ImageNet picture, kind of a scene; a COCO picture, of no single kind, is its own."""
    kind = kind_of(image)
    if kind == "coco":
        return image
    return image.split("_")[0] if kind == "imagenet" else re.sub(r"\d+$", "", image)


def region_of(name: str) -> str:
    """A region's name with its slips corrected."""
    return MISSPELT.get(name, name)


def refuse_cases(names: dict[str, str]) -> None:
    lower: dict[str, str] = {}
    for image in names:
        other = lower.setdefault(image.lower(), image)
        if other != image:
            raise NeurovisError(
                f"pictures {other!r} and {image!r} differ in upper and lower case alone, expected one id per "
                "picture; correct the names."
            )


def files_by_id(root: Path) -> dict[str, str]:
    """Picture files by id in lower case: their endings differ from those in the lists."""
    out: dict[str, str] = {}
    for folder in FOLDERS.values():
        for file in sorted((root / STIMULI / "Presented_Stimuli" / folder).glob("*")):
            out.setdefault(image_id(file.name).lower(), file.relative_to(root).as_posix())
    return out


def size_of(file: Path) -> tuple[int, int]:
    from neurovis.images.base import open_picture

    return open_picture(file).size


# ---- what was shown ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RunEvents:
    """Onset and duration (s) and name of each picture of one run."""

    onset: np.ndarray
    duration: np.ndarray
    name: np.ndarray


def read_events(path: Path) -> RunEvents:
    """Pictures of one run from its events table.

    Raises
    ------
    NeurovisError
        If it is missing, lacks a column, or is another run's.
    """
    import pandas as pd

    if not path.is_file():
        raise NeurovisError(f"{path}: no such events table; fetch it: neurovis fetch bold5000.")
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    missing = [c for c in ("onset", "duration", "ImgName", "Sess", "Run") if c not in table]
    if missing:
        raise NeurovisError(
            f"{path}: no column {missing[0]!r}, expected onset, duration, Sess, Run and ImgName; found "
            f"{', '.join(table)}: is it a localiser's, or half downloaded?"
        )
    told = re.search(r"_ses-(\d+)_.*_run-(\d+)_", path.name)
    inside = {(int(a), int(b)) for a, b in zip(table["Sess"], table["Run"])}
    if inside != {(int(told[1]), int(told[2]))}:
        raise NeurovisError(
            f"{path}: its rows are of session and run {sorted(inside)}, expected {(int(told[1]), int(told[2]))} as its "
            "name says; is it renamed? Fetch it again."
        )
    return RunEvents(
        table["onset"].to_numpy(float),
        table["duration"].to_numpy(float),
        table["ImgName"].to_numpy(str),
    )


def names_of(root: Path, subject: str) -> dict[tuple[int, int], list[str]]:
    """Names of the pictures by session and run, in order, from events, one list, or a list per run.

    Raises
    ------
    NeurovisError
        If a list has another length than the manifest says, or list and events disagree.
    """
    runs = [(s, r) for s, n in runs_of(subject).items() for r in range(1, n + 1)]
    n = int(read_manifest("bold5000").facts["trials_per_run"])
    events = {}
    for s, r in runs:
        name = f"sub-{subject}_ses-{s:02d}_task-{TASK}_run-{r:02d}_events.tsv"
        path = root / f"sub-{subject}" / f"ses-{s:02d}" / "func" / name
        if path.is_file():
            events[s, r] = read_events(path).name.tolist()
    listed = {}
    for file in found(root, f"{subject}_imgnames.txt")[:1]:
        names = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        if len(names) != n * len(runs):
            raise NeurovisError(
                f"{file}: {len(names)} names, expected {n * len(runs)} ({len(runs)} runs of {n} trials); fetch it again."
            )
        listed = {run: names[n * i : n * i + n] for i, run in enumerate(runs)}
        for run, some in events.items():
            for row, (one, other) in enumerate(zip(some, listed[run])):
                if image_id(one) != image_id(other):
                    raise NeurovisError(
                        f"{file}: trial {row + 1} of session {run[0]}, run {run[1]} is {other!r}, the events say {one!r}; "
                        "expected the same order: use names and events of one subject."
                    )
    if not listed and len(events) < len(runs):
        for s, r in runs:
            lists = root / "BOLD5000_Stimuli" / "Stimuli_Presentation_Lists" / subject
            path = lists / f"{subject}_sess{s:02d}" / f"CSI_sess{s:02d}_run{r:02d}.txt"
            if path.is_file():
                listed[s, r] = [
                    t for t in path.read_text(encoding="utf-8").splitlines() if t.strip()
                ]
    return {run: (events.get(run) or listed[run]) for run in runs if run in events or run in listed}


# ---- files -------------------------------------------------------------------------------------


def found(root: Path, pattern: str) -> list[Path]:
    """Files under the root, at most three folders deep: archives unpack to folders of their own."""
    return sorted(f for deep in ("", "*/", "*/*/", "*/*/*/") for f in root.glob(deep + pattern))


def on_grid(values: np.ndarray, file: Path, place: Any) -> np.ndarray:
    """A mask on the grid of the betas, by index: the owners' betas and masks state different origins."""
    if values.shape != place.shape:
        raise NeurovisError(
            f"{file}: shape {' x '.join(map(str, values.shape))}, expected {' x '.join(map(str, place.shape))} as in "
            f"{place.file}; use the masks of the same subject and release."
        )
    return np.nan_to_num(values) != 0


def matrix(file: Path) -> np.ndarray:
    """Betas of a region, memory-mapped: array (trial, voxel)."""
    try:
        data = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise NeurovisError(
            f"{file}: no whole plain array ({str(error).splitlines()[0]}); fetch it again: neurovis fetch bold5000."
        ) from None
    if data.ndim != 2:
        raise NeurovisError(f"{file}: shape {data.shape}, expected (trial, voxel); fetch it again.")
    return data
