"""NSD's betas to ``trials.h5``, against reading the files: ``python -m experiments.benchmarks.nsd``.

Writes one subject's sessions at full size (750 trials x 83 x 104 x 81 voxels int16, one chunk a voxel, about
1.1 GB each, as the owners store them) with 15,724 voxels of cortex in ``nsdgeneral``. A few files are
written, the other sessions are hard links to them: the same bytes, read again from the disk, as all
caches of the files are dropped before each measurement. Prints one table: reading every byte once, and
``neurovis preprocess nsd`` with its page, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FOLDER = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
TRIALS = 750


def write_design(root: Path) -> None:
    """A design with the owners' shapes: 10,000 images three times each over 40 sessions."""
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    folder = root / "nsddata/experiments/nsd"
    folder.mkdir(parents=True)
    images = rng.permutation(73000)[:64000] + 1
    subjects = [np.r_[images[:1000], images[1000 + 7000 * s : 8000 + 7000 * s]] for s in range(8)]
    rest = [np.setdiff1d(np.arange(1, 73001), s)[:2000] for s in subjects]
    pattern = np.zeros((40, 12, 75), np.uint8)
    for run in range(12):
        pattern[:, run, : 63 - run % 2] = 1
    design = {
        "masterordering": rng.permutation(np.repeat(np.arange(1, 10001), 3))[None],
        "subjectim": np.stack([np.r_[s, r] for s, r in zip(subjects, rest)]),
        "sharedix": images[None, :1000],
        "stimpattern": pattern,
    }
    savemat(folder / "nsd_expdesign.mat", design, do_compression=True)


def write_masks(root: Path, shape: tuple[int, int, int], n_voxels: int) -> None:
    """An ellipsoid of brain, and a sheet of cortex at its back."""
    import nibabel

    folder = root / "nsddata/ppdata/subj01/func1pt8mm"
    (folder / "roi").mkdir(parents=True)
    centred = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((centred**2).sum(axis=0))
    apart = np.abs(radius + 0.06 * np.sin(25 * centred[0]) * np.cos(20 * centred[2]) - 0.8)
    apart[(centred[1] > -0.1) | (radius >= 1)] = np.inf
    general = np.zeros(shape, np.int16)
    general.ravel()[np.argsort(apart, axis=None)[:n_voxels]] = 1
    affine = np.diag([1.8, 1.8, 1.8, 1.0])
    for name, mask in (("brainmask", radius < 1), ("roi/nsdgeneral", general)):
        image = nibabel.Nifti1Image(np.asarray(mask, np.int16), affine)
        nibabel.save(image, folder / f"{name}.nii.gz")


def write_sessions(root: Path, shape: tuple[int, int, int], n: int, distinct: int) -> int:
    """Betas of noise with a little of the image in them; give the size of all sessions in bytes."""
    import h5py

    folder = root / FOLDER
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    x, y, z = shape
    base = rng.normal(0, 450, (TRIALS, y, x)).astype(np.int16)
    total = 0
    for session in range(n):
        path = folder / f"betas_session{session + 1:02d}.hdf5"
        if session >= distinct:
            os.link(folder / f"betas_session{session % distinct + 1:02d}.hdf5", path)
        else:
            with h5py.File(path, "w") as file:
                chunks = (TRIALS, 1, 1, 1)
                betas = file.create_dataset("betas", (TRIALS, z, y, x), np.int16, chunks=chunks)
                for plane in range(z):
                    betas[:, plane] = np.roll(base, plane + session, axis=0) + np.int16(plane)
        total += path.stat().st_size
    return total


def forget(root: Path) -> None:
    """Drop the files from the system's cache, so that the next reader meets the disk."""
    for path in (root / FOLDER).iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_all(root: Path, cold: bool) -> None:
    """Every byte of every session once, and no more."""
    buffer = bytearray(1 << 24)
    for path in sorted((root / FOLDER).iterdir()):
        if cold:
            # a hard link's bytes may have been read under another name just before
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def preprocess(root: Path, n_jobs: int) -> None:
    """What ``neurovis preprocess nsd`` does."""
    from neurovis.config import resolve
    from neurovis.datasets import Dataset, load_datasets
    from neurovis.prepare import prepare

    load_datasets()
    n = len(list((root / FOLDER).iterdir()))
    dataset = resolve(Dataset, {"name": "nsd", "sessions": n})
    prepare(dataset, root, root / "out", n_jobs=n_jobs, quiet=True)


def peak_memory() -> float:
    """Peak resident memory of this process, MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measured(root: Path, what: str, n_jobs: int = 1) -> tuple[float, float]:
    """Seconds and peak MiB of one thing in a fresh process, caches dropped."""
    forget(root)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "experiments.benchmarks.nsd", "--measure", what]
    command += ["--n-jobs", str(n_jobs)]
    done = subprocess.run(
        [*command, "--folder", root], env={**os.environ, **threads}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    seconds, memory = done.stdout.split()[-2:]
    return float(seconds), float(memory)


def main() -> None:
    """Write, measure, print, delete."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--distinct", type=int, default=4, help="files written; the rest are links")
    parser.add_argument("--shape", type=int, nargs=3, default=(81, 104, 83))
    parser.add_argument("--n-voxels", type=int, default=15724)
    parser.add_argument("--n-jobs", type=int, default=1, help="processes over sessions")
    parser.add_argument("--folder", type=Path, help="where there is room (9 GB at full size)")
    parser.add_argument("--measure", choices=["read", "preprocess"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        start = time.perf_counter()
        if options.measure == "read":
            read_all(options.folder, cold=True)
        else:
            preprocess(options.folder, options.n_jobs)
        print(f"{time.perf_counter() - start:.3f} {peak_memory():.1f}")
        return
    root = Path(tempfile.mkdtemp(dir=options.folder)) / "nsd"
    try:
        shape = tuple(options.shape)
        write_design(root)
        write_masks(root, shape, options.n_voxels)
        total = write_sessions(
            root, shape, options.sessions, min(options.distinct, options.sessions)
        )
        read, _ = measured(root, "read")
        made, memory = measured(root, "preprocess", options.n_jobs)
        trials = next((root / "out").rglob("trials.h5")).stat().st_size
    finally:
        shutil.rmtree(root.parent)
    n = min(options.distinct, options.sessions)
    print(
        f"{options.sessions} sessions of {TRIALS} trials, {' x '.join(map(str, shape))} voxels, "
        f"{options.n_voxels} of them wanted: {total / 1e9:.1f} GB of betas ({n} files written, the other "
        f"{options.sessions - n} hard links to them), caches dropped\n"
        f"{'reading every byte once':34s}{read:8.1f} s\n"
        f"{'betas to trials.h5 and its page':34s}{made:8.1f} s{made / read:8.2f} x reading once, "
        f"{options.n_jobs} processes\n"
        f"{'peak memory of the first process':34s}{memory:8.0f} MiB\n"
        f"{'trials.h5':34s}{trials / 1e9:8.2f} GB"
    )


if __name__ == "__main__":
    main()
