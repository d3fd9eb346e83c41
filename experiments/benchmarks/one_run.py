"""How fast and in how much memory a run is preprocessed: ``python -m experiments.benchmarks.one_run``.

Writes one run of noise as FIF (270 channels, 1200 Hz, an event every 1.5 s), then reads, filters,
resamples, cuts and judges it in a process of its own, and prints times real time and peak memory
against the run's size in float32.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write_run(path: Path, n_chans: int, sfreq: float, seconds: float) -> None:
    """A run of white noise with a trigger channel, written in pieces."""
    import mne

    info = mne.create_info(
        [f"MLO{i:03d}" for i in range(n_chans)] + ["STI"], sfreq, ["mag"] * n_chans + ["stim"]
    )
    signal = np.zeros((n_chans + 1, int(sfreq * seconds)), np.float32)
    rng = np.random.default_rng(0)
    for row in signal[:-1]:
        row[:] = rng.standard_normal(len(row), np.float32) * 1e-12
    mne.io.RawArray(signal, info, verbose="error").save(path, fmt="single", verbose="error")


def peak_memory() -> int:
    """Peak resident memory of this process, KiB (Linux; unlike getrusage it forgets the parent)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def measure(path: Path) -> None:
    """Preprocess the run and print what it took."""
    import mne

    from neurovis.signals.chain import Steps, process_run
    from neurovis.signals.channels import pick_channels
    from neurovis.signals.recording import channel_facts, open_recording, read_signal

    steps = Steps(picks=("meg",), notch=(50.0, 100.0), sfreq=120.0, tmin=-0.2, tmax=1.0)
    steps.chain(1200.0).response(1 << 17)  # imports are paid once per process, not per run
    mne.set_log_level("error")
    base = peak_memory()
    start = time.perf_counter()
    raw = open_recording(path)
    names, types, position = channel_facts(raw)
    picks = pick_channels(names, types, steps.picks)
    signal = read_signal(raw, picks, path)
    read = time.perf_counter() - start
    seconds = signal.shape[1] / raw.info["sfreq"]
    onset = np.arange(1.0, seconds - 2.0, 1.5)
    names, types = [names[i] for i in picks], [types[i] for i in picks]
    run = process_run(steps, signal, raw.info["sfreq"], onset, names, types, position[picks])
    total = time.perf_counter() - start
    peak = peak_memory()
    size = signal.nbytes / 1024
    print(
        f"{seconds:.0f} s x {len(picks)} channels, {len(run.signal)} trials: read {read:.2f} s, "
        f"all {total:.2f} s = {seconds / total:.0f} x real time; peak {peak / 1024:.0f} MiB, of which "
        f"{base / 1024:.0f} imports; above these {(peak - base) / size:.2f} x the run ({size / 1024:.0f} MiB)"
    )


def main() -> None:
    """Write the run and measure in a fresh process, so that its peak is its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--n-chans", type=int, default=270)
    parser.add_argument("--sfreq", type=float, default=1200.0)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run_raw.fif"
        write_run(path, options.n_chans, options.sfreq, options.seconds)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        command = [sys.executable, "-m", "experiments.benchmarks.one_run"]
        subprocess.run([*command, "--measure", path], env={**os.environ, **threads}, check=True)


if __name__ == "__main__":
    main()
