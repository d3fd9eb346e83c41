"""THINGS-EEG2, one subject of full size, against a plain script: ``python -m experiments.benchmarks.things_eeg2``.

Writes four sessions of noise in the owners' format (63 channels and ``stim``, 1000 Hz, double precision, 16,540
training presentations and 4,000 of test pictures each: 14 GB, with what is made of them 27 GB), runs the
command and a plain MNE script on them, each in processes of its own, and prints one table of ratios.
The plain script loads a session, filters, cuts, resamples and whitens it with scikit-learn's covariance of
every trial, and keeps all in memory. ``--scale 0.02`` takes a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SFREQ, SOA, BREAK, SESSIONS = 1000.0, 0.2, 2.5, 4
NAMES = (
    "Fp1 F3 F7 FT9 FC5 FC1 C3 T7 TP9 CP5 CP1 Pz P3 P7 O1 Oz O2 P4 P8 TP10 CP6 CP2 Cz C4 T8 FT10 FC6 FC2 F4 F8 "
    "Fp2 AF7 AF3 AFz F1 F5 FT7 FC3 FCz C1 C5 TP7 CP3 P1 P5 PO7 PO3 POz PO4 PO8 P6 P2 CPz CP4 TP8 C6 C2 FC4 FT8 "
    "F6 F2 AF4 AF8"
)
STEPS = {"sfreq": 250.0, "h_freq": 100.0, "width": 25.0, "tmin": -0.2, "tmax": 1.0}
COMPARED = 97  # one trial in so many is compared


def write_subject(root: Path, scale: float) -> None:
    """The subject's raw sessions and the list of pictures."""
    n_concepts, n_test = max(12, round(1654 * scale)), max(4, round(200 * scale))
    train = [
        (f"{c + 1:05d}_kind{c}", f"kind{c}_{i:02d}b.jpg")
        for c in range(n_concepts)
        for i in range(10)
    ]
    test = [(f"{c + 1:05d}_novel{c}", f"novel{c}_01s.jpg") for c in range(n_test)]
    content = {
        f"{side}_img_{what}": [pair[i] for pair in pairs]
        for side, pairs in (("train", train), ("test", test))
        for i, what in enumerate(("concepts", "files"))
    }
    (root / "images").mkdir(parents=True)
    np.save(root / "images" / "image_metadata.npy", content, allow_pickle=True)
    for session in range(1, SESSIONS + 1):
        half = np.flatnonzero(np.arange(len(train)) % 2 == session % 2) + 1
        folder = root / "sub-01" / f"ses-{session:02d}"
        folder.mkdir(parents=True)
        write_part(folder / "raw_eeg_training.npy", np.repeat(half, 2), 2 * session)
        write_part(
            folder / "raw_eeg_test.npy", np.repeat(np.arange(n_test) + 1, 20), 2 * session + 1
        )


def write_part(path: Path, code: np.ndarray, seed: int) -> None:
    """One file: correlated noise of 10 uV, and the codes in random order."""
    rng = np.random.default_rng(seed)
    code = rng.permutation(code)
    sample = 1000 + (SOA * SFREQ * np.arange(len(code))).astype(int)
    sample += int(BREAK * SFREQ) * (np.arange(len(code)) // 20)
    names = NAMES.split()
    data = np.zeros((len(names) + 1, sample[-1] + 2000))
    mixing = np.exp(-(np.subtract.outer(range(len(names)), range(len(names))) ** 2) / 50).astype(
        np.float32
    )
    mixing += 0.3 * np.eye(len(names), dtype=np.float32)
    for start in range(0, data.shape[1], 1 << 18):
        part = data[:-1, start : start + (1 << 18)]
        part[:] = 5e-6 * (mixing @ rng.standard_normal(part.shape, np.float32))
    data[-1, sample] = code
    content = {
        "raw_eeg_data": data,
        "ch_names": [*names, "stim"],
        "ch_types": ["eeg"] * len(names) + ["stim"],
        "sfreq": 1000,
        "highpass": 0.01,
        "lowpass": 100,
    }
    with path.open("wb") as handle:
        about = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(handle, about)
        pickle.dump(np.array(content, object), handle, 5)


def ours(root: Path, out: Path, n_jobs: int) -> None:
    """The command, and a sample of what it wrote."""
    from neurovis.config import resolve
    from neurovis.datasets import Dataset, load_datasets
    from neurovis.prepare import prepare

    load_datasets()
    start = time.perf_counter()
    dataset = resolve(Dataset, {"name": "things_eeg2", "validation": 0.0})
    folder = prepare(dataset, root, out, n_jobs=n_jobs, quiet=True)
    seconds = {"all": time.perf_counter() - start}
    (out / "ours.json").write_text(json.dumps({"seconds": seconds, "folder": str(folder)}))


def plain(root: Path, out: Path) -> None:
    """The same steps, written down one after the other."""
    import mne
    from scipy.linalg import fractional_matrix_power
    from sklearn.discriminant_analysis import _cov

    mne.set_log_level("error")
    start = time.perf_counter()
    seconds: dict[str, float] = {}

    def spent(step: str) -> None:
        nonlocal start
        now = time.perf_counter()
        seconds[step] = seconds.get(step, 0.0) + now - start
        start = now

    results, labels = [], []
    for session in range(1, SESSIONS + 1):
        made = {}
        for part in ("training", "test"):
            file = root / "sub-01" / f"ses-{session:02d}" / f"raw_eeg_{part}.npy"
            content = np.load(file, allow_pickle=True).item()
            info = mne.create_info(content["ch_names"], content["sfreq"], content["ch_types"])
            raw = mne.io.RawArray(content.pop("raw_eeg_data"), info)
            spent("read")
            events = mne.find_events(raw, stim_channel="stim")
            events = events[events[:, 2] != 99999]
            raw.pick("eeg")
            raw.filter(None, STEPS["h_freq"], h_trans_bandwidth=STEPS["width"])
            spent("filter")
            decim = round(SFREQ / STEPS["sfreq"])
            last = STEPS["tmax"] - decim / SFREQ
            epochs = mne.Epochs(
                raw, events, tmin=STEPS["tmin"], tmax=last, baseline=None, decim=decim, preload=True
            )
            epochs.apply_baseline((None, 0))
            made[part] = epochs.get_data(copy=False), epochs.events[:, 2]
            del raw, epochs
            spent("epoch")
        data, code = made["training"]
        by_image = [
            np.mean([_cov(data[i].T, "auto") for i in np.flatnonzero(code == c)], axis=0)
            for c in np.unique(code)
        ]
        inverse = fractional_matrix_power(np.mean(by_image, axis=0), -0.5)
        for part, (data, code) in made.items():
            results.append((inverse @ data).astype(np.float32))
            labels += [(f"{session:02d}", part, int(c)) for c in code]
        del data, made
        spent("whiten")
    results = np.concatenate(results)
    spent("whiten")
    # not timed: the script's result stays in memory
    np.save(out / "plain.npy", results[::COMPARED])
    (out / "plain.json").write_text(
        json.dumps({"seconds": seconds, "labels": labels[::COMPARED], "trials": len(results)})
    )


def tree_memory(pid: int) -> int:
    """Bytes in use by a process and its children, shared pages counted once (Linux)."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += 1024 * int(line.split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return total
    return total + sum(tree_memory(int(child)) for child in children)


def measured(words: list[str]) -> tuple[float, float, int]:
    """Seconds, seconds of all its processors and peak memory of one command.

    One thread for linear algebra in either: on matrices of 63 channels more are slower.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, "1")}
    start, peak = time.perf_counter(), 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "experiments.benchmarks.things_eeg2", *words]
    process = subprocess.Popen(command, env=environment)
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: failed with exit code {process.returncode}")
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, busy, peak


def difference(out: Path) -> tuple[float, int]:
    """Greatest difference of the compared trials over the greatest value, and the number of trials."""
    from neurovis.records import Trials

    said = json.loads((out / "plain.json").read_text())
    found = json.loads((out / "ours.json").read_text())
    trials = Trials.open(Path(found["folder"]) / "sub-01" / "trials.h5")
    if len(trials) != said["trials"]:
        raise SystemExit(f"{len(trials)} trials, the plain script has {said['trials']}")
    order = np.lexsort((trials.onset, trials.run != "training", trials.session))[::COMPARED]
    rows = [(trials.session[i], trials.run[i]) for i in order]
    if rows != [(session, part) for session, part, _ in said["labels"]]:
        raise SystemExit("the trials are not in the same order")
    expected = np.load(out / "plain.npy", mmap_mode="r")
    worst, largest = 0.0, 0.0
    for row, other in zip(order, expected):
        worst = max(worst, float(np.abs(trials.read(np.array([row]))[0] - other).max()))
        largest = max(largest, float(np.abs(other).max()))
    return worst / largest, len(trials)


def main() -> None:
    """Write, run both, print the table, remove everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary one by default")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--only", choices=("ours", "plain"), help="run one of them")
    parser.add_argument("--keep", action="store_true", help="leave the written files")
    parser.add_argument("--run", choices=("ours", "plain", "write"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        root, out = options.folder / "raw", options.folder / "out"
        {
            "write": lambda: write_subject(root, options.scale),
            "ours": lambda: ours(root, out, options.n_jobs),
            "plain": lambda: plain(root, out),
        }[options.run]()
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        out = folder / "out"
        out.mkdir(parents=True, exist_ok=True)
        same = [
            "--folder",
            str(folder),
            "--scale",
            str(options.scale),
            "--n-jobs",
            str(options.n_jobs),
        ]
        if not (folder / "raw").is_dir():
            measured(["--run", "write", *same])
        size = sum(f.stat().st_size for f in folder.glob("raw/**/*.npy"))
        print(f"one subject at scale {options.scale:g}: {size / 1e9:.1f} GB")
        rows = {}
        for name in ("plain", "ours"):
            if options.only in (None, name):
                rows[name] = measured(["--run", name, *same])
                inner = json.loads((out / f"{name}.json").read_text())["seconds"]
                steps = ", ".join(f"{step} {value:.1f}" for step, value in inner.items())
                seconds, busy, peak = rows[name]
                print(
                    f"{name:6} {seconds:7.1f} s, {busy:7.1f} s of processors, {peak / 1e9:6.2f} GB "
                    f"({steps})",
                    flush=True,
                )
        if len(rows) == 2:
            worst, n_trials = difference(out)
            faster, busy, less = (rows["plain"][i] / rows["ours"][i] for i in range(3))
            print(
                f"{faster:.1f} x faster (at least 4; {busy:.1f} x less of processors' time), 1/{less:.1f} of "
                "the memory (at most 1/4),"
            )
            print(
                f"greatest difference {worst:.1e} of the greatest value (at most 1e-5), {n_trials} trials"
            )
        if not options.keep:
            shutil.rmtree(folder / "raw", ignore_errors=True)
            shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
