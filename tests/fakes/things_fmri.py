"""A miniature of THINGS-fMRI as its owners publish it, with a planted response.

Event files have the true columns, order of kinds, onsets and wrong bits: five test images stand in the
folder of the first half of their concept, catch trials have a picture of their own, and one run has
events but no BOLD. Every subject has all its sessions' trials; volumes have a few dozen voxels.
``ResponseData.h5`` is laid out as pandas stores a frame, whose column names are a pickled object.
"""

from __future__ import annotations

import csv
import gzip
import json
import pickle
from pathlib import Path

import numpy as np

COLUMNS = (
    "onset", "duration", "trial_type", "category_nr", "exemplar_nr", "test_image_nr",
    "things_category_nr", "things_exemplar_nr", "response_time", "file_path",
)  # fmt: skip
CONCEPTS = ("coat_rack", "mosquito_net", "ferris_wheel", "sim_card", "hula_hoop", "dog", "camera1")
CONCEPTS += tuple(f"thing_{i:03d}" for i in range(720 - len(CONCEPTS)))
TESTS = ("coat_rack_13s", "mosquito_net_13s", "ferris_wheel_20s", "sim_card_13s", "hula_hoop_16s")
TESTS += tuple(f"{concept}_14s" for concept in CONCEPTS[5:100])
SHAPE = (5, 4, 3)
TR, VOLUMES, SOA, FIRST = 1.5, 284, 4.5, 3.0
REGIONS = ("V1", "V2", "hV4", "LO1 (prf)", "lFFA", "rFFA", "lPPA", "glasser-V1")
PRF = ("prf-eccentricity", "prf-polarangle", "prf-rsquared", "prf-size")


def events(subject: int) -> dict[tuple[int, int], list[dict[str, str]]]:
    """Rows of each (session, run), as text."""
    rng = np.random.default_rng(1000 + subject)
    out = {}
    exemplar = np.stack([rng.permutation(12) for _ in CONCEPTS])
    for session in range(1, 13):
        train, test = rng.permutation(720).reshape(10, 72), rng.permutation(100).reshape(10, 10)
        for run in range(1, 11):
            rows = [_train(c, int(exemplar[c, session - 1])) for c in train[run - 1].tolist()]
            rows += [_test(t) for t in test[run - 1].tolist()]
            rows += [_catch(c, rng) for c in rng.choice(100, 10, replace=False).tolist()]
            rows = [rows[i] for i in rng.permutation(92)]
            for place, row in enumerate(rows):
                row.update(onset=str(FIRST + SOA * place), duration="0.5")
            out[session, run] = rows
    return out


def _train(concept: int, exemplar: int) -> dict[str, str]:
    name = CONCEPTS[concept]
    return {
        "trial_type": "exp", "category_nr": str(concept + 1), "exemplar_nr": str(exemplar + 1),
        "test_image_nr": "n/a", "things_category_nr": f"{2 * concept + 1:.1f}",
        "things_exemplar_nr": f"{exemplar + 1:.1f}", "response_time": "n/a",
        "file_path": f"{name}/{name}_{exemplar + 1:02d}s.jpg",
    }  # fmt: skip


def _test(number: int) -> dict[str, str]:
    stem = TESTS[number]
    concept = stem.rsplit("_", 1)[0]
    # the owners' folder lacks the second word of these five
    folder = concept.split("_")[0] if number < 5 else concept
    return {
        "trial_type": "test", "category_nr": str(CONCEPTS.index(concept) + 1), "exemplar_nr": "13",
        "test_image_nr": f"{number + 1:.1f}", "things_category_nr": "1.0",
        "things_exemplar_nr": "14.0", "response_time": "n/a",
        "file_path": f"{folder}/{stem}.jpg",
    }  # fmt: skip


def _catch(number: int, rng: np.random.Generator) -> dict[str, str]:
    return {
        "trial_type": "catch", "category_nr": "721", "exemplar_nr": str(number + 1),
        "test_image_nr": "n/a", "things_category_nr": "n/a", "things_exemplar_nr": "n/a",
        "response_time": f"{rng.uniform(0.5, 1.2):.3f}", "file_path": f"catch{number + 1:03d}.jpg",
    }  # fmt: skip


def stem_of(row: dict[str, str]) -> str:
    """Name of the picture without folder and ending."""
    return row["file_path"].rsplit("/", 1)[-1].removesuffix(".jpg")


def response(stem: str, n_voxels: int, subject: int) -> np.ndarray:
    """Planted response to a picture: array (voxel,), between -1 and 1."""
    number = sum(ord(letter) * 31**place for place, letter in enumerate(stem)) % 9973
    return np.sin(
        1.7 * number * (1 + np.arange(n_voxels) % 5) + 0.9 * np.arange(n_voxels) + subject
    )


def write_betas(
    root: Path, subjects: tuple[int, ...] = (1,), missing: tuple[int, ...] = ()
) -> None:
    """``betas_csv``; `missing` voxels are NaN."""
    import h5py

    folder = root / "betas_csv"
    folder.mkdir(parents=True, exist_ok=True)
    for subject in subjects:
        stem = folder / f"sub-{subject:02d}"
        index = np.argwhere(np.ones(SHAPE)) + np.array([1, 2, 0])
        n = len(index)
        rows, values = [], []
        for (session, run), shown in events(subject).items():
            for row in shown:
                if row["trial_type"] == "catch":
                    continue
                kind = {"exp": "train", "test": "test"}[row["trial_type"]]
                rows.append([kind, session, run, subject, len(rows), stem_of(row) + ".jpg"])
                values.append(response(stem_of(row), n, subject))
        names = ("trial_type", "session", "run", "subject_id", "trial_id", "stimulus")
        _write_csv(Path(f"{stem}_StimulusMetadata.csv"), names, rows)
        data = np.array(values).T
        data[list(missing)] = np.nan
        _write_frame(Path(f"{stem}_ResponseData.h5"), data, h5py)
        names = ("voxel_id", "subject_id", "voxel_x", "voxel_y", "voxel_z", "nc_singletrial",
                 "nc_testset", "splithalf_uncorrected", "splithalf_corrected", *PRF, *REGIONS)  # fmt: skip
        rows = []
        for voxel, (x, y, z) in enumerate(index.tolist()):
            member = [int((x + y + z) % len(REGIONS) == r) for r in range(len(REGIONS))]
            rows.append(
                [voxel, subject, x, y, z, 1.5, 20.5, 0.1, 0.2, 3.3, 0.0, 12.5, 1.0, *member]
            )
        _write_csv(Path(f"{stem}_VoxelMetadata.csv"), names, rows)


def _write_csv(path: Path, names: tuple[str, ...], rows: list[list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(names)
        writer.writerows(rows)


class Hostile:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def _write_frame(path: Path, data: np.ndarray, h5py) -> None:
    """A DataFrame with the columns voxel_id, 0, 1, ..., as ``DataFrame.to_hdf`` stores it.

    Names of mixed types are pickled; here the pickle would touch ``<path>.executed``.
    """
    with h5py.File(path, "w") as file:
        group = file.create_group("ResponseData")
        group.attrs.update({"CLASS": "GROUP", "pandas_type": "frame", "pandas_version": "0.15.2"})
        group.attrs.update({"ndim": 2, "nblocks": 2, "encoding": "UTF-8"})
        pickled = np.frombuffer(pickle.dumps(Hostile(Path(f"{path}.executed"))), np.uint8)
        for name in ("axis0", "block0_items"):
            items = group.create_dataset(name, (1,), h5py.vlen_dtype(np.uint8))
            items[0] = pickled
            items.attrs["PSEUDOATOM"] = "object"
        group["axis1"] = np.arange(len(data))
        group["block0_values"] = data.astype(np.float64)
        group["block1_values"] = np.arange(len(data))[:, None]


def write_bids(
    root: Path,
    subjects: tuple[int, ...] = (1,),
    sessions: tuple[int, ...] = (1,),
    runs: tuple[int, ...] = (1, 2),
    derivatives: bool = True,
    noise: float = 1.0,
) -> None:
    """BIDS with events of all runs asked for, raw BOLD, and what fMRIPrep makes of it."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "THINGS-fMRI", "BIDSVersion": "1.6.0", "License": "CC0"})
    )
    for subject in subjects:
        shown = events(subject)
        for session in sessions:
            for run in runs:
                _write_run(root, subject, session, run, shown[session, run], derivatives, noise)


def known_missing(subject: int, session: int, run: int) -> bool:
    """The run that the owners have events of, but no BOLD."""
    return (subject, session, run) == (2, 3, 7)


def _write_run(
    root: Path, subject: int, session: int, run: int, rows: list, derivatives: bool, noise: float
) -> None:
    who, when = f"sub-{subject:02d}", f"ses-things{session:02d}"
    stem = f"{who}_{when}_task-things_run-{run:02d}"
    folder = root / who / when / "func"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{stem}_events.tsv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if known_missing(subject, session, run):
        return
    rng = np.random.default_rng(subject * 10000 + session * 100 + run)
    series, motion = bold(rows, subject, noise, rng)
    _save(series, folder / f"{stem}_bold.nii.gz", TR)
    (folder / f"{stem}_bold.json").write_text(json.dumps({"RepetitionTime": TR}))
    if derivatives:
        place = root / "derivatives" / "fmriprep" / who / when / "func"
        place.mkdir(parents=True, exist_ok=True)
        # fMRIPrep writes numbers of runs without the leading zero
        stem = f"{who}_{when}_task-things_run-{run}"
        _save(series, place / f"{stem}_space-T1w_desc-preproc_bold.nii.gz", TR)
        mask = np.ones(SHAPE, np.uint8)
        mask[0] = 0
        _save(mask, place / f"{stem}_space-T1w_desc-brain_mask.nii.gz")
        lines = ["trans_x\trot_z\tframewise_displacement"]
        lines += [
            f"{v:.6f}\t{0.1 * v:.6f}\t{'n/a' if i == 0 else 0.1}" for i, v in enumerate(motion)
        ]
        (place / f"{stem}_desc-confounds_timeseries.tsv").write_text("\n".join(lines) + "\n")


def bold(rows: list, subject: int, noise: float, rng: np.random.Generator) -> tuple:
    """Series (x, y, z, volume) int16 around 1000, and the head's motion (volume,)."""
    n = int(np.prod(SHAPE))
    step = 0.1
    fine = np.zeros((round(VOLUMES * TR / step), n))
    for row in rows:
        start = round(float(row["onset"]) / step)
        strength = response(stem_of(row), n, subject)
        fine[start : start + round(0.5 / step)] += (
            3 * strength if row["trial_type"] != "catch" else 9
        )
    times = np.arange(0, 32, step)
    # a difference of two gammas (Glover 1999), sampled by hand
    shape = times**5 * np.exp(-times / 0.9) / 0.9**6 / 120
    shape = shape - 0.35 * times**12 * np.exp(-times / 0.9) / 0.9**13 / 479001600
    moved = np.stack([np.convolve(fine[:, v], shape)[: len(fine)] for v in range(n)], axis=1)
    volume = moved[np.round((np.arange(VOLUMES) + 0.5) * TR / step).astype(int)]
    motion = np.cumsum(rng.standard_normal(VOLUMES)) * 0.02
    series = 1000 * (1 + 0.3 * volume) + 3 * np.linspace(-1, 1, VOLUMES)[:, None]
    series += noise * rng.standard_normal(series.shape)
    return np.round(series).astype(np.int16).T.reshape(*SHAPE, VOLUMES), motion


def _save(values: np.ndarray, path: Path, tr: float | None = None) -> None:
    import nibabel

    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = -10.0, -20.0, 5.0
    image = nibabel.Nifti1Image(values, matrix)
    if tr is not None:
        image.header.set_zooms((2.0, 2.0, 2.0, tr))
        image.header.set_xyzt_units("mm", "sec")
    path.write_bytes(gzip.compress(image.to_bytes(), 1))
