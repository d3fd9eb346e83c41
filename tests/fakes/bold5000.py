"""A miniature of BOLD5000 as its owners publish it: betas per session and region, lists, masks, BIDS.

Runs and trials are as many as the owners', voxels few. Every picture has a response of its own, so that
one given to the wrong trial shows. Lists and files differ in prefix, ending and case as the owners' do.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

SHAPE = (4, 4, 3)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
N = int(np.prod(SHAPE))
EACH = 37
RUNS = {"CSI3": [10, 9, 10, 9, 10, 10, 10, 9, 9, 9, 10, 9, 9, 9, 10],
        "CSI4": [10, 9, 9, 10, 9, 9, 9, 9, 10]}  # fmt: skip
REPEATED = ["COCO_train2014_000000488558.jpg", "n01641577_1229.JPEG", "shootingrange5.jpg",
            "dining_car.jpg", "elevatorOutside4.jpg", "beach1.jpeg"]  # fmt: skip
REGIONS = {
    "LHEarlyVis": range(0, 6), "RHEarlyVis": range(6, 12), "LHLOC": range(12, 18),
    "RHLOC": range(18, 24), "LHPPA": range(22, 28), "RHPPA": range(28, 30), "LHRSC": range(30, 32),
    "RHRSC": range(32, 34), "LHOPA": range(34, 36), "RHOPA": range(36, 38),
}  # fmt: skip
"""Flat places in the volume; two regions overlap."""

MISSPELT = {"CSI3": {"LHLOC": "LHLO", "RHLOC": "RHLO", "RHRSC": "RHRRSC"}, "CSI4": {}}
BRAIN = range(0, 40)


def names(subject: str) -> list[str]:
    """Pictures of all trials in order; six are repeated, to CSI4 some of them once alone."""
    rng = np.random.default_rng(zlib.crc32(subject.encode()))
    total = EACH * sum(RUNS[subject])
    times = [4, 4, 3, 4, 4, 4] if subject != "CSI4" else [3, 2, 2, 1, 2, 3]
    shown = [name for name, n in zip(REPEATED, times) for _ in range(n)]
    kinds = ("COCO_train2014_{:012d}.jpg", "n{:08d}_15.JPEG", "kitchen{}.jpg")
    shown += [kinds[i % 3].format(1000000 + i) for i in range(total - len(shown))]
    return [shown[i] for i in rng.permutation(total)]


def trials(subject: str) -> list[tuple[int, int, str]]:
    """Session, run and picture of every trial."""
    runs = [(s, r) for s, n in enumerate(RUNS[subject], start=1) for r in range(1, n + 1)]
    return [(*runs[i // EACH], name) for i, name in enumerate(names(subject))]


def image_id(name: str) -> str:
    """What the picture is to be called."""
    return name.rsplit(".", 1)[0]


def response(name: str) -> np.ndarray:
    """What a picture does to each voxel, %: array (voxel,)."""
    return np.random.default_rng(zlib.crc32(image_id(name).encode())).standard_normal(N)


def _image(values: np.ndarray, affine: np.ndarray = AFFINE):
    import nibabel

    return nibabel.Nifti1Image(values.astype(np.float32), affine)


def write_masks(root: Path, subject: str, shape: tuple[int, ...] = SHAPE) -> None:
    """``derivatives/spm``, with the owners' slips in names and origin."""
    import nibabel

    folder = root / "derivatives" / "spm" / f"sub-{subject}"
    folder.mkdir(parents=True, exist_ok=True)
    moved = AFFINE.copy()
    moved[:3, 3] = 1.0  # betas and masks state different origins
    for region, voxels in REGIONS.items():
        member = np.zeros(int(np.prod(shape)))
        member[[v for v in voxels if v < len(member)]] = 1
        name = MISSPELT[subject].get(region, region)
        nibabel.save(
            _image(member.reshape(shape), moved), folder / f"sub-{subject}_mask-{name}.nii.gz"
        )


def write_list(root: Path, subject: str) -> None:
    """``CSI4_imgnames.txt``: repeats with a prefix, one name with a space behind it."""
    seen: set[str] = set()
    lines = []
    for name in names(subject):
        lines.append(f"rep_{name}" if name in seen else name)
        seen.add(name)
    lines[7] += " "
    (root / f"{subject}_imgnames.txt").write_text("\n".join(lines) + "\n")


def write_betas(
    root: Path, subject: str = "CSI4", version: str = "TYPED-FITHRF-GLMDENOISE-RR"
) -> Path:
    """Release 2: one image of betas per session, a brain mask, the list of names, region masks."""
    import nibabel

    root.mkdir(parents=True, exist_ok=True)
    rows = trials(subject)
    for session in range(1, len(RUNS[subject]) + 1):
        # sessions drift in mean and size, as betas do
        mine = np.stack([response(name) for s, _, name in rows if s == session])
        betas = mine * (1 + 0.1 * session) + session
        betas[:, 39] = 0.0  # in the mask, and dead
        name = f"{subject}_GLMbetas-{version}_ses-{session:02d}.nii.gz"
        nibabel.save(_image(betas.T.reshape(*SHAPE, len(mine))), root / name)
    brain = np.zeros(N)
    brain[list(BRAIN)] = 1
    nibabel.save(_image(brain.reshape(SHAPE)), root / f"{subject}_brainmask.nii.gz")
    write_list(root, subject)
    write_masks(root, subject)
    return root


def write_regions(
    root: Path, subject: str = "CSI3", version: str = "TYPED-FITHRF-GLMDENOISE-RR"
) -> Path:
    """Release 2 by region: ``BOLD5000_GLMsingle_ROI_betas/py``."""
    folder = root / "BOLD5000_GLMsingle_ROI_betas" / "py"
    folder.mkdir(parents=True, exist_ok=True)
    data = np.stack([response(name) for _, _, name in trials(subject)]).astype(np.float32)
    for region, voxels in REGIONS.items():
        name = MISSPELT[subject].get(region, region)
        np.save(folder / f"{subject}_GLMbetas-{version}_allses_{name}.npy", data[:, list(voxels)])
    write_list(root, subject)
    return root


def write_pictures(root: Path, subject: str = "CSI4", n: int = 30) -> None:
    """The first pictures shown and all repeated ones, with endings of another case than the lists'."""
    from PIL import Image

    stimuli = root / "BOLD5000_Stimuli" / "Scene_Stimuli"
    for name in {*names(subject)[:n], *REPEATED}:
        kind = (
            "COCO" if name.startswith("COCO") else "ImageNet" if name.startswith("n0") else "Scene"
        )
        folder = stimuli / "Presented_Stimuli" / kind
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(zlib.crc32(name.encode())).integers(
            0, 255, (5, 5, 3), dtype=np.uint8
        )
        ending = {".JPEG": ".jpeg", ".jpg": ".JPG", ".jpeg": ".jpg"}[Path(name).suffix]
        Image.fromarray(pixels).save(folder / (Path(name).stem + ending), "JPEG")
    (stimuli / "repeated_stimuli_113_list.txt").write_text("\n".join(REPEATED) + "\n")


HEADER = [
    "onset",
    "duration",
    "Subj",
    "Sess",
    "Run",
    "Trial",
    "ImgName",
    "ImgType",
    "StimOn(s)",
    "StimOff(s)",
    "Response",
    "RT",
    "stim_file",
]
TR, VOLUMES = 2.0, 194


def write_events(
    root: Path, subject: str, sessions: tuple[int, ...]
) -> dict[tuple[int, int], np.ndarray]:
    """``events.tsv`` of some sessions with the owners' columns; onsets by session and run."""
    rows, onsets = trials(subject), {}
    rng = np.random.default_rng(1)
    seen: set[str] = set()
    for session, run in dict.fromkeys((s, r) for s, r, _ in rows):
        shown = [name for s, r, name in rows if (s, r) == (session, run)]
        onset = 6 + 10 * np.arange(EACH) + rng.uniform(-0.01, 0.04, EACH).round(4)
        lines = [HEADER]
        for i, (name, at) in enumerate(zip(shown, onset), start=1):
            kind = (
                "coco"
                if name.startswith("COCO")
                else "imagenet"
                if name.startswith("n0")
                else "scenes"
            )
            kind = f"rep_{kind}" if name in seen else kind
            seen.add(name)
            lines.append([f"{at:.4f}", "1.0009", subject[-1], session, run, i, name, kind, f"{at:.4f}",
                          f"{at + 1.0009:.4f}", 2, "3.6309", name])  # fmt: skip
        if session not in sessions:
            continue
        func = root / f"sub-{subject}" / f"ses-{session:02d}" / "func"
        func.mkdir(parents=True, exist_ok=True)
        text = "\n".join("\t".join(map(str, line)) for line in lines) + "\n"
        (
            func / f"sub-{subject}_ses-{session:02d}_task-5000scenes_run-{run:02d}_events.tsv"
        ).write_text(text)
        onsets[session, run] = onset
    return onsets


def write_bids(
    root: Path, subject: str = "CSI4", session: int = 2, runs: tuple[int, ...] = (1, 2)
) -> Path:
    """ds001499: BOLD of some runs under fMRIPrep's old names, a localiser, masks, events."""
    import nibabel
    from nilearn.glm.first_level import compute_regressor

    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "fake", "BIDSVersion": "1.0.2"}')
    (root / "task-5000scenes_bold.json").write_text(
        json.dumps({"RepetitionTime": 2, "TaskName": "5000scenes"})
    )
    onsets = write_events(root, subject, (session,))
    func = root / f"sub-{subject}" / f"ses-{session:02d}" / "func"
    (func / f"sub-{subject}_ses-{session:02d}_task-localizer_events.tsv").write_text(
        "onset\tduration\n0\t1\n"
    )
    made = root / "derivatives" / "fmriprep" / f"sub-{subject}" / f"ses-{session:02d}" / "func"
    made.mkdir(parents=True, exist_ok=True)
    frames = (np.arange(VOLUMES) + 0.5) * TR
    rng = np.random.default_rng(0)
    for run in range(1, RUNS[subject][session - 1] + 1):
        stem = f"sub-{subject}_ses-{session:02d}_task-5000scenes_run-{run:02d}"
        motion = rng.standard_normal((VOLUMES, 2))
        series = np.full((VOLUMES, N), 100.0)
        if run in runs:
            shown = [name for s, r, name in trials(subject) if (s, r) == (session, run)]
            for name, at in zip(shown, onsets[session, run], strict=True):
                series += compute_regressor([[at], [1.0009], [1]], "glover", frames)[0] * response(
                    name
                )
            series += motion @ np.array([[3.0], [-2.0]])
        else:
            series += rng.standard_normal(series.shape)
        image = _image(series.T.reshape(*SHAPE, VOLUMES))
        image.header.set_zooms((2, 2, 2, TR))
        nibabel.save(image, made / f"{stem}_bold_space-T1w_preproc.nii.gz")
        brain = np.zeros(N)
        brain[list(BRAIN)] = 1
        nibabel.save(_image(brain.reshape(SHAPE)), made / f"{stem}_bold_space-T1w_brainmask.nii.gz")
        table = "X\tY\n" + "\n".join(f"{a:.6f}\t{b:.6f}" for a, b in motion) + "\n"
        (made / f"{stem}_bold_confounds.tsv").write_text(table)
    write_masks(root, subject)
    return root
