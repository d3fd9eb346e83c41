"""A miniature of the Natural Scenes Dataset as its owners store it, with a planted response.

Folders, file names, dtypes, axis orders, chunking and attributes are the owners'; volumes have a few
hundred voxels. Wrong bits included: indices that start at 1, voxels outside the liberal brain mask and
voxels without data in one session are all 0, regions carry -1 outside cortex, every region exists
per hemisphere, too. `design` has the owners' counts: how many shared images, and how many trials
with them, fall into the sessions that each subject completed.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

SESSIONS = (40, 40, 32, 30, 40, 32, 40, 30)
TRIALS = 750
# of the shared images: last session of a stretch, trials in it, images shown there for the first time
STRETCHES = (
    (27, 1985, 890),
    (29, 128, 5),
    (30, 75, 12),
    (32, 183, 23),
    (37, 399, 52),
    (40, 230, 18),
)
SHAPE = (7, 8, 6)
FOLDERS = {
    "b1": "betas_assumehrf",
    "b2": "betas_fithrf",
    "b3": "betas_fithrf_GLMdenoise_RR",
}
LABELS = {
    "prf-visualrois": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"),
    "streams": (
        "early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal",
    ),
    "floc-faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
}  # fmt: skip


def shared_trials(rng: np.random.Generator) -> list[np.ndarray]:
    """Shared images (1 to 1000) of each stretch of sessions, each three times in all."""
    left = np.full(1001, 3)
    first = 1
    out = []
    for _, count, fresh in STRETCHES:
        new = np.arange(first, first + fresh)
        first += fresh
        out.append(new)
        left[new] -= 1
        seen = np.repeat(np.arange(first), np.r_[0, left[1:first]])
        more = rng.permutation(seen)[: count - fresh]
        np.subtract.at(left, more, 1)
        out[-1] = np.concatenate([new, more])
    assert not left[1:].any()
    return out


def design(seed: int = 0) -> dict[str, np.ndarray]:
    """What ``nsd_expdesign.mat`` holds, in MATLAB's shapes and types, indices from 1."""
    rng = np.random.default_rng(seed)
    shared = shared_trials(rng)
    others = rng.permutation(np.repeat(np.arange(1001, 10001), 3))
    ordering = np.empty(0, int)
    start = 0
    for (stop, count, _), images in zip(STRETCHES, shared):
        n = (stop - start) * TRIALS
        filling = others[: n - count]
        others = others[n - count :]
        ordering = np.concatenate([ordering, rng.permutation(np.concatenate([images, filling]))])
        start = stop
    sharedix = np.sort(rng.choice(73000, 1000, replace=False)) + 1
    rest = rng.permutation(np.setdiff1d(np.arange(1, 73001), sharedix))
    own = [np.sort(rest[9000 * s : 9000 * (s + 1)]) for s in range(8)]
    pattern = np.zeros((40, 12, 75), np.uint8)
    for run in range(12):
        # 63 and 62 pictures in turn; three blank trials first, four last, the others among them
        blanks = rng.choice(np.arange(4, 70), 5 + run % 2, replace=False)
        pattern[:, run, 3:71] = 1
        pattern[:, run, blanks] = 0
    return {
        "masterordering": ordering[None].astype(np.uint16),
        "subjectim": np.stack([np.concatenate([sharedix, o]) for o in own]).astype(np.float64),
        "sharedix": sharedix[None].astype(np.float64),
        "stimpattern": pattern,
        "basiccnt": np.zeros((3, 40)),
    }


def response(image: np.ndarray, n_voxels: int, subject: int) -> np.ndarray:
    """Planted percent signal change: array (trial, voxel), whole multiples of 1 / 300."""
    voxel = np.arange(n_voxels)
    phase = 2.4 * np.asarray(image)[:, None] * (1 + voxel % 7) + 0.7 * voxel + subject
    return np.round(600 * np.sin(phase)) / 300


def shown(mat: dict[str, np.ndarray], subject: int, session: int) -> np.ndarray:
    """Images of a session's trials, rows of ``imgBrick`` from 0, written out as the owners say it."""
    out = []
    for trial in range(TRIALS * (session - 1), TRIALS * session):
        which = int(mat["masterordering"][0, trial])
        out.append(int(mat["subjectim"][subject - 1, which - 1]) - 1)
    return np.array(out)


def write_nsd(
    root: Path,
    subjects: tuple[int, ...] = (1,),
    sessions: int | None = 2,
    version: str = "b3",
    space: str = "func1pt8mm",
    suffix: str = ".hdf5",
    shape: tuple[int, int, int] = SHAPE,
    noise: float = 0.0,
    pictures: bool = False,
    chunks: tuple[int, ...] | None = (TRIALS, 1, 1, 1),
) -> dict[str, np.ndarray]:
    """Write some subjects' first sessions (None: all that they completed); give the design."""
    from scipy.io import savemat

    mat = design()
    folder = root / "nsddata" / "experiments" / "nsd"
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "nsd_expdesign.mat", mat, do_compression=True)
    write_info(folder / "nsd_stim_info_merged.csv", mat)
    rng = np.random.default_rng(5)
    for subject in subjects:
        n = SESSIONS[subject - 1] if sessions is None else sessions
        # a subject's volume has a size of its own
        own = (shape[0], shape[1] + subject - 1, shape[2])
        places = write_regions(root, subject, own)
        for session in range(1, n + 1):
            image = shown(mat, subject, session)
            where = root / "nsddata_betas" / "ppdata" / f"subj{subject:02d}" / space
            where = where / FOLDERS[version]
            where.mkdir(parents=True, exist_ok=True)
            name = f"betas_session{session:02d}"
            if space == "func1pt8mm":
                betas = response(image, int(np.prod(own)), subject)
                betas += noise * rng.standard_normal(betas.shape)
                betas[:, ~places["brainmask"].ravel()] = 0
                if session == 2:
                    betas[:, np.flatnonzero(places["nsdgeneral"].ravel() > 0)[3]] = 0
                stored = np.round(300 * betas).astype(np.int16).reshape(TRIALS, *own)
                write_volume(where / f"{name}{suffix}", stored, chunks)
            else:
                for hemisphere, count in (("lh", 40), ("rh", 36)):
                    betas = response(image, count, subject + 10 * (hemisphere == "rh"))
                    write_surface(where, f"{hemisphere}.{name}", betas, space)
    if pictures:
        write_pictures(root, mat, subjects, n)
    return mat


def write_volume(path: Path, stored: np.ndarray, chunks: tuple[int, ...] | None) -> None:
    """Trials (trial, X, Y, Z) as MATLAB's h5write (so h5py finds them reversed) or as NIfTI."""
    import h5py
    import nibabel

    if path.suffix == ".hdf5":
        with h5py.File(path, "w") as file:
            file.create_dataset("betas", data=stored.transpose(0, 3, 2, 1), chunks=chunks)
        return
    image = nibabel.Nifti1Image(stored.transpose(1, 2, 3, 0), affine())
    image.header.set_zooms((1.8, 1.8, 1.8, 4 / 3))
    path.write_bytes(gzip.compress(image.to_bytes(), 1))


def write_surface(folder: Path, name: str, betas: np.ndarray, space: str) -> None:
    """Vertices: fsaverage as float .mgh in percent, the subject's own surface as int16 .hdf5."""
    import h5py
    import nibabel

    if space == "fsaverage":
        data = betas.T.astype(np.float32)[:, None, None, :]
        nibabel.save(nibabel.MGHImage(data, np.eye(4)), folder / f"{name}.mgh")
    else:
        with h5py.File(folder / f"{name}.hdf5", "w") as file:
            stored = np.round(300 * betas).astype(np.int16)
            file.create_dataset("betas", data=stored, chunks=(TRIALS, 1))


def affine() -> np.ndarray:
    """As in the owners' files: 1.8 mm, left-right as stored."""
    matrix = np.diag([1.8, 1.8, 1.8, 1.0])
    matrix[:3, 3] = -72.0, -93.0, -74.0
    return matrix


def regions(shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Label volumes: -1 outside cortex, 0 in no region of the collection, then 1, 2, ..."""
    x, y, _ = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    cortex = (x > 0) & (x < shape[0] - 1)
    out = {"nsdgeneral": np.where(cortex, (y < 4).astype(int), -1)}
    for name, labels in LABELS.items():
        inside = np.where(y < 3, 1 + (x + y) % len(labels), 0)
        out[name] = np.where(cortex, inside, -1)
    out["brainmask"] = (x >= 0) & (y < shape[1] - 1)
    return out


def write_regions(root: Path, subject: int, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Region volumes of both hemispheres and each, surface labels, and the names of labels."""
    import nibabel

    places = regions(shape)
    where = root / "nsddata" / "ppdata" / f"subj{subject:02d}" / "func1pt8mm"
    (where / "roi").mkdir(parents=True, exist_ok=True)

    def save(values: np.ndarray, path: Path) -> None:
        image = nibabel.Nifti1Image(values.astype(np.int16), affine())
        path.write_bytes(gzip.compress(image.to_bytes(), 1))

    save(places["brainmask"], where / "brainmask.nii.gz")
    left = np.zeros(shape, bool)
    left[: shape[0] // 2] = True
    for name in ("nsdgeneral", *LABELS):
        save(places[name], where / "roi" / f"{name}.nii.gz")
        save(np.where(left, places[name], -1), where / "roi" / f"lh.{name}.nii.gz")
        save(np.where(left, -1, places[name]), where / "roi" / f"rh.{name}.nii.gz")
    for owner in (f"subj{subject:02d}", "fsaverage"):
        labels = root / "nsddata" / "freesurfer" / owner / "label"
        labels.mkdir(parents=True, exist_ok=True)
        for hemisphere, count in (("lh", 40), ("rh", 36)):
            for name in ("nsdgeneral", *LABELS):
                n = len(LABELS.get(name, "1"))
                values = np.where(np.arange(count) < 30, 1 + np.arange(count) % n, 0)
                if name == "nsdgeneral":
                    values = (np.arange(count) < 24).astype(int)
                data = values.astype(np.float32)[:, None, None]
                nibabel.save(nibabel.MGHImage(data, np.eye(4)), labels / f"{hemisphere}.{name}.mgz")
            # results of the retinotopic mapping lie beside the regions
            angle = np.linspace(0, 359.5, count, dtype=np.float32)[:, None, None]
            nibabel.save(nibabel.MGHImage(angle, np.eye(4)), labels / f"{hemisphere}.prfangle.mgz")
        if owner != "fsaverage":
            for name, names in LABELS.items():
                lines = [f"{number} {label}" for number, label in enumerate(("Unknown", *names))]
                (labels / f"{name}.mgz.ctab").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return places


def write_info(path: Path, mat: dict[str, np.ndarray]) -> None:
    """One row per image, its number from 0; COCO's number, split and the crop that was shown."""
    shared = set((mat["sharedix"][0].astype(int) - 1).tolist())
    owners = [set((row.astype(int) - 1).tolist()) for row in mat["subjectim"]]
    names = ["", "cocoId", "cocoSplit", "cropBox", "loss", "nsdId", "flagged", "BOLD5000"]
    names += ["shared1000", *(f"subject{s}" for s in range(1, 9))]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(names)
        for number in range(73000):
            split = "val2017" if number % 20 == 0 else "train2017"
            row = [number, 100000 + number, split, "(0.0, 0.0, 0.125, 0.125)", 0.1, number]
            row += [False, False, number in shared, *(number in own for own in owners)]
            writer.writerow(row)


def write_pictures(
    root: Path, mat: dict[str, np.ndarray], subjects: tuple[int, ...], sessions: int
) -> None:
    """``nsd_stimuli.hdf5``: all 73,000 places, pixels where somebody saw them in these sessions."""
    import h5py

    folder = root / "nsddata_stimuli" / "stimuli" / "nsd"
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "nsd_stimuli.hdf5", "w") as file:
        bricks = file.create_dataset(
            "imgBrick", (73000, 425, 425, 3), np.uint8, chunks=(1, 425, 425, 3), compression=1
        )
        seen = [shown(mat, s, n) for s in subjects for n in range(1, sessions + 1)]
        for image in np.unique(np.concatenate(seen))[:40]:
            bricks[image] = picture(int(image))


def picture(image: int) -> np.ndarray:
    """Pixels that tell the image's number: array (425, 425, 3) uint8."""
    out = np.zeros((425, 425, 3), np.uint8)
    out[..., 0], out[..., 1], out[..., 2] = image % 251, image // 251, 7
    return out
