"""A miniature of Generic Object Decoding, as its owners publish it: the table per subject, and BIDS.

Every picture has a response of its own in every voxel, so that a picture given to the wrong row shows.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

CATEGORIES = [f"n{1518878 + 7919 * i:08d}" for i in range(12)]
TRAIN = [f"{c}_{number}" for i, c in enumerate(CATEGORIES) for number in (640 + i, 10042 + 31 * i)]
"""Two pictures of each category; numbers of three and five digits: their zeros are easily lost."""

TEST = ["n04252077_10859", "n02190790_15121", "n03942813_7"]
ROIS = ("V1", "V2", "LOC", "VC")
N_VOXELS = 30
TEST_RUNS, IMAGERY_RUNS = 5, 2
TYPES = {"perceptionTraining": 1, "perceptionTest": 2, "imageryTest": 3}


def response(stem: str, n: int = N_VOXELS) -> np.ndarray:
    """What a picture does to each voxel: array (voxel,)."""
    return np.random.default_rng(zlib.crc32(stem.encode())).standard_normal(n)


def number_of(stem: str) -> float:
    """The owners' number of a picture: synset, decimal point, six digits."""
    synset, picture = stem[1:].split("_")
    return float(f"{int(synset)}.{int(picture):06d}")


def trials(subject: int) -> list[tuple[int, int, str]]:
    """Data type, run and picture of every sample, in the file's order."""
    rng = np.random.default_rng(subject)
    train = rng.permutation(TRAIN)
    rows = [(1, 1 + i // 12, str(stem)) for i, stem in enumerate(train)]
    for run in range(TEST_RUNS):
        rows += [(2, 1 + run, str(stem)) for stem in rng.permutation(TEST)]
    for run in range(IMAGERY_RUNS):
        rows += [(3, 1 + run, str(stem)) for stem in rng.permutation(TEST)]
    return rows


def write_table(path: Path, subject: int = 1, old: bool = False, dtype: type = float) -> None:
    """``Subject1.h5``: samples by columns, and what each column is.

    `old` is the layout of the first release: names with capitals, ``Label`` and voxels last.
    """
    import h5py

    rows = trials(subject)
    kinds = np.array([r[0] for r in rows], float)
    runs = np.array([r[1] for r in rows], float)
    ids = np.array([number_of(r[2]) for r in rows])
    index = np.array([1.0 + (TRAIN if r[0] == 1 else TEST).index(r[2]) for r in rows])
    imagined = np.where(kinds == 3, 0.5, 1.0)[:, None]
    voxels = 5 + 2 * imagined * np.stack([response(r[2]) for r in rows])
    voxels[:, 4] = 7.0  # does not vary
    voxels[:, 9] = np.nan
    parts = {"VoxelData": voxels, "DataType": kinds[:, None], "Run": runs[:, None]}
    parts |= {"Label" if old else "stimulus_id": ids[:, None]}
    parts |= {} if old else {"category_index": np.floor(index)[:, None]}
    parts |= {} if old else {"image_index": index[:, None]}
    if old:
        parts = dict(reversed(parts.items()))
    data = np.concatenate(list(parts.values()), axis=1)
    widths = [part.shape[1] for part in parts.values()]
    starts = np.cumsum([0, *widths])
    meta, place = {}, {}
    for name, start, width in zip(parts, starts, widths):
        place[name] = slice(start, start + width)
        meta[name] = np.full(data.shape[1], np.nan)
        meta[name][place[name]] = 1
    xyz = np.array(
        [[-12 + 3 * (i % 3), -90 + 3 * (i // 3 % 5), 3 * (i // 15)] for i in range(N_VOXELS)]
    )
    for axis, name in enumerate(("voxel_x", "voxel_y", "voxel_z")):
        meta[name] = np.full(data.shape[1], np.nan)
        meta[name][place["VoxelData"]] = xyz[:, axis]
    for number, name in enumerate(ROIS):
        member = np.full(N_VOXELS, np.nan)
        member[(slice(None) if name == "VC" else slice(10 * number, 10 * number + 10))] = 1
        meta[f"ROI_{name}"] = np.full(data.shape[1], np.nan)
        meta[f"ROI_{name}"][place["VoxelData"]] = member
    path.parent.mkdir(parents=True, exist_ok=True)
    group = "metaData" if old else "metadata"
    with h5py.File(path, "w") as file:
        file["dataSet" if old else "dataset"] = data.astype(dtype)
        file[f"{group}/key"] = [name.encode() for name in meta]
        file[f"{group}/description"] = [f"1 = {name}".encode() for name in meta]
        file[f"{group}/value"] = np.stack(list(meta.values()))


def write_images(root: Path) -> None:
    """Pictures under ``images/training`` and ``images/test``, where someone has them."""
    from PIL import Image

    for folder, stems in (("training", TRAIN), ("test", TEST)):
        (root / "images" / folder).mkdir(parents=True, exist_ok=True)
        for stem in stems:
            rng = np.random.default_rng(zlib.crc32(stem.encode()))
            picture = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(picture).save(root / "images" / folder / f"{stem}.JPEG", "JPEG")


# ---- BIDS --------------------------------------------------------------------------------------

TR = 3.0
SHAPE = (4, 4, 3)
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
HEADER = [
    "onset",
    "duration",
    "trial_no",
    "event_type",
    "stimulus_id",
    "stimulus_name",
    "category_index",
    "image_index",
    "response_time",
]
IMAGERY_HEADER = [
    "onset",
    "duration",
    "trial_no",
    "event_type",
    "category_id",
    "category_name",
    "category_index",
    "response_time",
    "evaluation",
]


def sessions(subject: int) -> dict[tuple[str, int], list[str]]:
    """Pictures of each session and run, one-back repeats included."""
    rng = np.random.default_rng(100 + subject)
    train = [str(s) for s in rng.permutation(TRAIN)]
    out = {("perceptionTraining01", 1): train[:12], ("perceptionTraining01", 2): train[12:]}
    for run in range(3):
        out["perceptionTest01", 1 + run] = [str(s) for s in rng.permutation(TEST)]
    out["perceptionTest02", 1] = [str(s) for s in rng.permutation(TEST)]
    out["imageryTest01", 1] = [str(s) for s in rng.permutation(TEST)]
    for key, stems in out.items():
        if key[0].startswith("perception"):
            # the third picture comes twice in a row, once seen and once pressed
            out[key] = [*stems[:3], stems[2], *stems[3:]]
    return out


def events(session: str, stems: list[str]) -> tuple[list[str], list[list[object]]]:
    """Rows of ``events.tsv`` as the owners write them: rests, whole seconds, n/a."""
    if session.startswith("perception"):
        pool = TRAIN if "Training" in session else TEST
        rows: list[list[object]] = [[0, 33, 1, "rest", *["n/a"] * 5]]
        for i, stem in enumerate(stems):
            again = i > 0 and stem == stems[i - 1]
            pressed = f"{33 + 9 * i + 0.6:.6f}" if again else "n/a"
            place = 1 + pool.index(stem)
            rows.append(
                [
                    33 + 9 * i,
                    9,
                    2 + i,
                    "stimulus",
                    f"{number_of(stem):.6f}",
                    stem,
                    place,
                    place,
                    pressed,
                ]
            )
        rows.append([33 + 9 * len(stems), 6, 2 + len(stems), "rest", *["n/a"] * 5])
        return HEADER, rows
    rows = [[0, 33, 1, "rest", *["n/a"] * 5]]
    for i, stem in enumerate(stems):
        synset = stem.split("_")[0]
        about = [int(synset[1:]), synset, 1 + TEST.index(stem), "52.728104", "5.0"]
        parts = (("cue", 0, 3), ("imagery", 3, 15), ("evaluation", 18, 3), ("inter_rest", 21, 3))
        rows += [[33 + 24 * i + at, length, 2 + i, kind, *about] for kind, at, length in parts]
    rows.append([33 + 24 * len(stems), 6, 2 + len(stems), "rest", *["n/a"] * 5])
    return IMAGERY_HEADER, rows


def write_bids(root: Path, subjects: tuple[int, ...] = (1,), masks: bool = True) -> Path:
    """ds001246: BOLD of 3 s, the owners' SPM derivative, masks per hemisphere; signals planted."""
    import nibabel
    from nilearn.glm.first_level import compute_regressor

    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "fake", "BIDSVersion": "1.0.2"}')
    for task in ("perception", "imagery"):
        (root / f"task-{task}_bold.json").write_text(
            json.dumps({"RepetitionTime": 3, "TaskName": task})
        )
    n = int(np.prod(SHAPE))
    inside = np.zeros(n, bool)
    inside[:N_VOXELS] = True
    for subject in subjects:
        name = f"sub-{subject:02d}"
        for (session, run), stems in sessions(subject).items():
            task = "imagery" if session.startswith("imagery") else "perception"
            header, rows = events(session, stems)
            stem = f"{name}_ses-{session}_task-{task}_run-{run:02d}"
            folder = root / name / f"ses-{session}" / "func"
            folder.mkdir(parents=True, exist_ok=True)
            text = "\n".join("\t".join(map(str, row)) for row in [header, *rows])
            (folder / f"{stem}_events.tsv").write_text(text + "\n")
            n_volumes = int((rows[-1][0] + rows[-1][1]) / TR) + 4
            frames = (np.arange(n_volumes) + 0.5) * TR
            shown = [r for r in rows if r[3] in ("stimulus", "imagery")]
            series = np.zeros((n_volumes, n))
            for row, picture in zip(shown, stems, strict=True):
                course = compute_regressor([[row[0]], [row[1]], [1]], "glover", frames)[0]
                series[:, inside] += course * response(picture) * (0.5 if task == "imagery" else 1)
            series[:, inside] += 100
            volume = series.T.reshape(*SHAPE, n_volumes).astype(np.float32)
            image = nibabel.Nifti1Image(volume, AFFINE)
            image.header.set_zooms((3, 3, 3, TR))
            nibabel.save(image, folder / f"{stem}_bold.nii.gz")
            made = (
                root / "derivatives" / "preproc-spm" / "output" / name / f"ses-{session}" / "func"
            )
            made.mkdir(parents=True, exist_ok=True)
            nibabel.save(image, made / f"{stem}_bold_preproc.nii.gz")
        if masks:
            place = root / "sourcedata" / name / "anat"
            place.mkdir(parents=True, exist_ok=True)
            for number, roi in enumerate(("LH_V1d", "RH_V1v", "LH_LOC")):
                member = np.zeros(n, np.float32)
                member[10 * number : 10 * number + 10] = 1
                mask = nibabel.Nifti1Image(member.reshape(SHAPE), AFFINE)
                nibabel.save(mask, place / f"{name}_mask_{roi}.nii.gz")
    return root
