"""Preprocessing at the size of published datasets: ``python -m experiments.benchmarks.preprocessing``.

Runs the benchmarks of THINGS-MEG, NSD and THINGS-EEG2 and of one plain run, one after the other, and
prints what each found: recordings of full size in the owners' formats, against a plain script that does
the same in memory, or against reading every byte once. Each is a script of its own with options of its own.
``--small`` runs miniatures, whose ratios mean nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

FULL = {
    "one_run": "",
    "things_meg": "--runs 10",
    "nsd": "--sessions 40",
    "things_eeg2": "--n-jobs 2",
}
SMALL = {
    "one_run": "--seconds 10 --n-chans 30",
    "things_meg": "--runs 1",
    "nsd": "--sessions 2 --shape 9 10 8 --n-voxels 60",
    "things_eeg2": "--scale 0.002 --n-jobs 1",
}


def main() -> None:
    """One after the other, since each wants the machine for itself."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=FULL, action="append", help="one of them; repeatable")
    parser.add_argument("--small", action="store_true", help="miniatures, to see that all runs")
    options = parser.parse_args()
    words = SMALL if options.small else FULL
    for name in options.only or FULL:
        print(f"== {name} {words[name]}", flush=True)
        command = [sys.executable, "-m", f"experiments.benchmarks.{name}", *words[name].split()]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
