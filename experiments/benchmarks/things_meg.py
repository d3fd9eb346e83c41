"""One session of THINGS-MEG against a plain MNE script: ``python -m experiments.benchmarks.things_meg``.

Writes a session of full size in the owners' format (10 CTF runs of 310 channels, 1200 Hz, about 350 s, 5 GB),
or ``--runs`` of it, then preprocesses it twice, each time in a process of its own: by the plain script below
(load, filter, epoch, decimate, scale, all in memory) and by ``preprocessing.things_meg``. Prints seconds,
peak memory above the imports against one run's size in float32, and how far the numbers are apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.benchmarks.one_run import peak_memory

TESTS = Path(__file__).resolve().parents[2] / "tests"
N_CHANS, RUN_SECONDS = 272, 348
STEPS = {
    "l_freq": 0.1, "h_freq": 40.0, "sfreq": 120.0, "tmin": -0.2, "tmax": 1.0, "baseline": (None, 0.0),
    "detect": False, "bads": "keep", "scaling": "session z", "scope": "session", "clamp": 20.0,
}  # fmt: skip


def plain(root: Path, out: Path) -> tuple[float, int]:
    """What a straightforward script does; seconds, and KiB of memory in use after the imports."""
    import mne
    import pandas as pd

    mne.set_log_level("error")
    mne.filter.create_filter(None, 1200.0, 0.1, 40.0)  # brings in what is imported late
    base = peak_memory()
    start = time.perf_counter()
    attributes = pd.read_csv(root / "sourcedata" / "sample_attributes_P1.csv")
    test = attributes["trial_type"] == "test"
    tested = set(attributes["things_category_nr"][test])
    once = (attributes["trial_type"] == "exp") & ~attributes["things_category_nr"].isin(tested)
    signals = []
    for ds in sorted(root.glob("sub-BIGMEG1/ses-*/meg/*_meg.ds")):
        raw = mne.io.read_raw_ctf(ds, preload=True)
        raw.drop_channels("MRO11-1609")
        raw.pick("mag")
        raw.filter(0.1, 40.0)
        table = pd.read_csv(str(ds).replace("_meg.ds", "_events.tsv"), sep="\t")
        used = (table["trial_type"] == "test") | ~table["things_category_nr"].isin(tested)
        used &= table["trial_type"] != "catch"
        sample = table["sample"][used].to_numpy()
        events = np.c_[sample, 0 * sample, 1 + 0 * sample]
        epochs = mne.Epochs(
            raw, events, tmin=-0.2, tmax=1.0 - 1 / 120, baseline=None, preload=True
        ).decimate(10)
        signals.append(epochs.apply_baseline((None, 0)).get_data())
    signal = np.concatenate(signals)
    training = once[once | test].to_numpy()
    mean = signal[training].mean(axis=(0, 2), keepdims=True)
    scale = signal[training].std(axis=(0, 2), keepdims=True)
    signal = np.clip((signal - mean) / scale, -20, 20).astype(np.float32)
    np.save(out / "plain.npy", signal)
    return time.perf_counter() - start, base


def ours(root: Path, out: Path) -> tuple[float, int]:
    """The same through the command's own function, with its QC page and checks."""
    import matplotlib.pyplot  # noqa: F401  imports are paid once per process, not per session
    import mne
    import pandas  # noqa: F401

    from neurovis.config import resolve
    from neurovis.datasets import Dataset, load_datasets
    from neurovis.prepare import prepare
    from neurovis.signals.filters import Chain

    load_datasets()
    mne.filter.create_filter(None, 1200.0, 0.1, 40.0, verbose="error")
    Chain(1200.0, 0.1, 40.0, (), 120.0).response(1 << 17)
    base = peak_memory()
    start = time.perf_counter()
    dataset = resolve(Dataset, {"name": "things_meg", "validation": 0.0, "steps": STEPS})
    folder = prepare(dataset, root, out, ["1"], quiet=True)
    seconds = time.perf_counter() - start
    (out / "prepared.txt").write_text(str(folder))
    return seconds, base


def measured(way: str, root: Path, out: Path) -> dict:
    """Run one way in a fresh process with one thread, so that time and peak are its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "experiments.benchmarks.things_meg", "--measure", way]
    command += ["--root", root, "--out", out]
    done = subprocess.run(
        command, env={**os.environ, **threads}, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def difference(out: Path) -> tuple[float, int]:
    """Greatest difference of both in SDs, and the number of trials."""
    from neurovis.records import Trials

    expected = np.load(out / "plain.npy", mmap_mode="r")
    worst = 0.0
    folder = Path((out / "prepared.txt").read_text())
    trials = Trials.open(folder / "sub-1" / "trials.h5")
    if trials.signal.shape != expected.shape:
        raise SystemExit(
            f"trials: {trials.signal.shape} against {expected.shape} of the plain script"
        )
    for start in range(0, len(trials), 128):
        rows = np.arange(start, min(start + 128, len(trials)))
        worst = max(worst, float(np.abs(trials.read(rows) - expected[rows]).max()))
    return worst, len(trials)


def main() -> None:
    """Write the session, measure both ways, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="of the session; 10 is full size")
    parser.add_argument(
        "--block", type=float, default=0.0, help="s per block of a file; 0: one block"
    )
    parser.add_argument("--folder", type=Path, help="where the session is written, and kept")
    parser.add_argument("--measure", choices=("plain", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        seconds, base = (plain if options.measure == "plain" else ours)(options.root, options.out)
        print(json.dumps({"seconds": seconds, "base": base, "peak": peak_memory()}))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        root, out = (options.folder or Path(scratch)) / f"ds004212-{options.runs}", Path(scratch)
        if not root.is_dir():
            write_session(root, options.runs, options.block or None)
        print_table(measured("plain", root, out), measured("ours", root, out), *difference(out))


def write_session(root: Path, runs: int, block: float | None) -> None:
    """Some runs of one session of the first person, in the owners' format."""
    sys.path.insert(0, str(TESTS))
    from fakes.things_meg import FULL, write_things_meg

    share = runs / len(FULL.runs)
    design = replace(
        FULL, runs=FULL.runs[:runs], concepts=round(FULL.concepts * share),
        tested=round(FULL.tested * share), block=block,
    )  # fmt: skip
    start = time.perf_counter()
    write_things_meg(root, ("1",), design)
    print(f"wrote {runs} runs in {time.perf_counter() - start:.0f} s")


def print_table(script: dict, command: dict, worst: float, trials: int) -> None:
    """Both ways, and their ratios."""
    run = N_CHANS * RUN_SECONDS * 1200 * 4 / 1024
    print(f"{trials} trials; one run of {N_CHANS} sensors in float32 is {run / 1024:.0f} MiB")
    print(f"{'':22}{'seconds':>9}{'peak MiB':>10}{'above imports':>15}{'in runs':>9}")
    above = []
    for name, row in (("plain MNE script", script), ("preprocessing", command)):
        above.append(row["peak"] - row["base"])
        print(
            f"{name:22}{row['seconds']:9.1f}{row['peak'] / 1024:10.0f}{above[-1] / 1024:15.0f}"
            f"{above[-1] / run:9.2f}"
        )
    faster = script["seconds"] / command["seconds"]
    print(
        f"{faster:.1f} times faster (to reach: 3), {above[0] / above[1]:.1f} times less memory, peak "
        f"{above[1] / run:.2f} runs (to reach: under 2), numbers within {worst:.1e} SD (to reach: 1e-5)"
    )


if __name__ == "__main__":
    main()
