"""A miniature OpenfMRI tree, and the same runs as one file with a label per volume.

Blocks of four conditions, one of each per run; each condition has a pattern of its own.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from fakes.bids_fmri import haemodynamic

SHAPE, TR, RUNS = (6, 5, 4), 2.0, 4
NAMES = ("face", "house", "shoe", "scrambled pix")
BLOCK, GAP, FIRST = 8, 6, 4  # volumes
VOLUMES = FIRST + len(NAMES) * (BLOCK + GAP)


def order(run: int) -> list[int]:
    """Conditions in the order of a run's blocks."""
    return np.random.default_rng(run).permutation(len(NAMES)).tolist()


def patterns() -> np.ndarray:
    """Response to each condition, % of the mean: array (condition, x, y, z)."""
    return np.random.default_rng(7).standard_normal((len(NAMES), *SHAPE))


def volumes(run: int) -> np.ndarray:
    """One run, array (x, y, z, volume)."""
    rng = np.random.default_rng(50 + run)
    fine = np.arange(0, BLOCK * TR, 0.5)
    frame = TR * (np.arange(VOLUMES) + 0.5)
    change = 1.0 * rng.standard_normal((*SHAPE, VOLUMES))
    for block, condition in enumerate(order(run)):
        start = TR * (FIRST + block * (BLOCK + GAP))
        course = np.sum([haemodynamic(frame - start - lag) for lag in fine], axis=0)
        change += patterns()[condition][..., None] * course / course.max()
    return 1000 * (1 + change / 100)


def save(path: Path, data: np.ndarray) -> None:
    """A NIfTI file of int16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.round(data).astype(np.int16), np.diag([-3.0, 3, 3, 1]))
    if data.ndim == 4:
        image.header.set_zooms((3, 3, 3, TR))
        image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def write_openfmri(root: Path, subject: str = "sub001") -> Path:
    """Volumes, condition files, keys, masks and motion parameters."""
    model = root / "models" / "model001"
    model.mkdir(parents=True)
    (root / "scan_key.txt").write_text(f"TR {TR}\n")
    lines = [f"task001 cond{i:03d} {name}" for i, name in enumerate(NAMES, start=1)]
    (model / "condition_key.txt").write_text("\n".join(lines) + "\n")
    for run in range(1, RUNS + 1):
        name = f"task001_run{run:03d}"
        folder = root / subject / "BOLD" / name
        save(folder / "bold.nii.gz", volumes(run))
        motion = np.cumsum(0.01 * np.random.default_rng(run).standard_normal((VOLUMES, 6)), axis=0)
        text = "\n".join("  ".join(f"{v:g}" for v in row) + "  " for row in motion)
        (folder / "bold_moest.txt").write_text(text + "\n")
        onsets = root / subject / "model" / "model001" / "onsets" / name
        onsets.mkdir(parents=True)
        for block, condition in enumerate(order(run)):
            start = TR * (FIRST + block * (BLOCK + GAP))
            line = f"{start}\t{BLOCK * TR}\t1\n"
            (onsets / f"cond{condition + 1:03d}.txt").write_text(line)
    mask = np.ones(SHAPE)
    mask[0] = 0
    save(root / subject / "masks" / "brain.nii.gz", mask)
    mask[:3] = 0
    save(root / subject / "masks" / "vt.nii.gz", mask)
    return root


def labels() -> list[tuple[str, int]]:
    """Label and run of each volume of all runs."""
    out = []
    for run in range(RUNS):
        line = ["rest"] * VOLUMES
        for block, condition in enumerate(order(run + 1)):
            start = FIRST + block * (BLOCK + GAP)
            line[start : start + BLOCK] = [NAMES[condition].replace(" ", "")] * BLOCK
        out += [(name, run) for name in line]
    return out


def write_labelled(root: Path) -> Path:
    """All runs in one file, with a mask and labels."""
    save(root / "bold.nii.gz", np.concatenate([volumes(run + 1) for run in range(RUNS)], axis=3))
    save(root / "mask.nii.gz", np.ones(SHAPE))
    text = "".join(f"{label} {run}\n" for label, run in labels())
    (root / "attributes_literal.txt").write_text(text)
    return root
