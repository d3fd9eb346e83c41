"""A miniature BIDS dataset of BOLD, raw and as fMRIPrep leaves it, with a response to every image.

Wrong bits: the second run's header states a TR of 1 s (the JSON file is right), one voxel is constant
and one is missing, the confounds' first row says n/a, blank trials have no image.
"""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import gamma

SHAPE, TR, VOLUMES = (8, 7, 6), 2.0, 110
TRAIN, TEST, RUNS = 10, 4, 3
IMAGES = [f"thing{i:02d}.png" for i in range(TRAIN + TEST)]
AFFINE = np.array([[-3.0, 0, 0, 10], [0, 3, 0, -40], [0, 0, 3, -5], [0, 0, 0, 1]])
MNI = AFFINE + np.array([[0, 0, 0, 2]] + [[0] * 4] * 3)
BASE = "task-see"


def brain() -> np.ndarray:
    """Mask of the brain, array of bool (x, y, z)."""
    x, y, z = np.mgrid[:8, :7, :6]
    return (x - 3.5) ** 2 + (y - 3) ** 2 + (z - 2.5) ** 2 < 9


DEAD, LOST = tuple(np.argwhere(brain())[5]), tuple(np.argwhere(brain())[40])


def regions() -> dict[str, np.ndarray]:
    """Masks of two regions of the brain."""
    y = np.mgrid[:8, :7, :6][1]
    return {"V1": brain() & (y < 3), "faces": brain() & (y > 3)}


def patterns(subject: str = "01") -> np.ndarray:
    """Response of every voxel to every image, % of the mean: array (image, x, y, z)."""
    rng = np.random.default_rng(99 + int(subject))
    return rng.standard_normal((TRAIN + TEST, *SHAPE)) * brain()


def haemodynamic(times: np.ndarray) -> np.ndarray:
    """Double gamma of Glover 1999 as nilearn parametrises it, peak 1."""
    shape = gamma.pdf(times, 6 / 0.9, scale=0.9) - 0.48 * gamma.pdf(times, 12 / 0.9, scale=0.9)
    return np.where(times > 0, shape / shape.max(), 0)


def events(run: int) -> pd.DataFrame:
    """Each training image once, each test image twice, and two blanks."""
    rng = np.random.default_rng(run)
    image = rng.permutation(
        np.r_[np.arange(TRAIN), np.tile(np.arange(TRAIN, TRAIN + TEST), 2), -1, -1]
    )
    onset = np.round(8 + 9.5 * np.arange(len(image)) + rng.uniform(0, 1.5, len(image)), 3)
    return pd.DataFrame(
        {
            "onset": onset,
            "duration": 1.0,
            "trial_type": np.where(image < 0, "blank", np.where(image < TRAIN, "train", "test")),
            "stim_file": [f"stimuli/{IMAGES[i]}" if i >= 0 else "n/a" for i in image],
            "response_time": "n/a",
        }
    )


def series(run: int, subject: str, table: pd.DataFrame, noise: float) -> tuple:
    """Volumes (x, y, z, volume) and head motion (volume, 2) that leaks into them."""
    rng = np.random.default_rng(100 * int(subject) + run)
    frame = TR * (np.arange(VOLUMES) + 0.5)
    motion = np.cumsum(rng.standard_normal((VOLUMES, 2)), axis=0)
    motion -= motion.mean(axis=0)
    change = 0.2 * np.einsum("tm,mxyz->xyzt", motion, rng.standard_normal((2, *SHAPE)))
    pattern, fine = patterns(subject), np.arange(0, 1.0, 0.05)
    for row in table.itertuples():
        if row.stim_file != "n/a":
            # one second of stimulation: the sum of brief ones
            course = np.mean([haemodynamic(frame - row.onset - lag) for lag in fine], axis=0)
            change += pattern[IMAGES.index(Path(row.stim_file).name)][..., None] * course
    change += noise * rng.standard_normal(change.shape)
    level = np.where(brain(), 900 + 100 * run, 25)[..., None]
    data = level * (1 + change / 100)
    data[DEAD] = 700
    data[LOST] = 0
    return data, motion


def save(
    path: Path, data: np.ndarray, affine: np.ndarray = AFFINE, tr: float | None = None
) -> None:
    """A NIfTI file of int16 with a slope (or uint8 for a mask)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if data.dtype == bool else np.int16
    image = nibabel.Nifti1Image(data.astype(np.uint8 if data.dtype == bool else np.float64), affine)
    image.set_data_dtype(kind)
    if tr is not None:
        image.header.set_zooms((3, 3, 3, tr))
        image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def write_bids_fmri(
    root: Path, subjects: tuple[str, ...] = ("01",), n_runs: int = RUNS, noise: float = 0.3
) -> Path:
    """Raw runs, stimuli, ``derivatives/fmriprep`` in two spaces and ``derivatives/rois``."""
    write = lambda path, data: (  # noqa: E731
        path.parent.mkdir(parents=True, exist_ok=True), path.write_text(json.dumps(data))
    )  # fmt: skip
    write(root / "dataset_description.json", {"Name": "fake", "BIDSVersion": "1.8.0"})
    write(root / f"{BASE}_bold.json", {"RepetitionTime": TR, "TaskName": "see"})
    prep, rois = root / "derivatives" / "fmriprep", root / "derivatives" / "rois"
    write(prep / "dataset_description.json", {"Name": "fMRIPrep", "DatasetType": "derivative"})
    for subject in subjects:
        for name, mask in {"brain": brain(), **regions()}.items():
            save(rois / f"sub-{subject}" / f"sub-{subject}_label-{name}_mask.nii.gz", mask)
        for run in range(1, n_runs + 1):
            table = events(run)
            data, motion = series(run, subject, table, noise)
            stem = f"sub-{subject}_ses-01_{BASE}_run-{run:02d}"
            raw, clean = (base / f"sub-{subject}" / "ses-01" / "func" for base in (root, prep))
            save(raw / f"{stem}_bold.nii.gz", data, tr=1.0 if run == 2 else TR)
            table.to_csv(raw / f"{stem}_events.tsv", sep="\t", index=False)
            for space, affine in (("", AFFINE), ("_space-MNI152NLin2009cAsym", MNI)):
                save(clean / f"{stem}{space}_desc-preproc_bold.nii.gz", 10 * data, affine, TR)
                save(clean / f"{stem}{space}_desc-brain_mask.nii.gz", brain(), affine)
            confounds = pd.DataFrame(motion, columns=["trans_x", "rot_y"])
            confounds["framewise_displacement"] = ["n/a", *np.abs(np.diff(motion[:, 0]))]
            path = clean / f"{stem}_desc-confounds_timeseries.tsv"
            confounds.to_csv(path, sep="\t", index=False)
    (root / "stimuli").mkdir(exist_ok=True)
    for number, name in enumerate(IMAGES):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / "stimuli" / name)
    return root


def run_file(root: Path, run: int = 1, subject: str = "01") -> Path:
    """The raw volumes of one run."""
    (path,) = root.glob(f"sub-{subject}/ses-01/func/*run-{run:02d}_bold.nii.gz")
    return path


def events_file(root: Path, run: int = 1, subject: str = "01") -> Path:
    """The events of one run."""
    (path,) = root.glob(f"sub-{subject}/ses-01/func/*run-{run:02d}_events.tsv")
    return path
