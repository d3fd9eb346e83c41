"""Two processes against one, and batches in parts against whole ones: time and memory as ratios.

    python -m experiments.benchmarks.scaling --batch-size 4096 --micro-batch 128 512

Steps of the convolutional tower on random signals held in memory. Each row is a process (or two) of
its own; every process has one thread. Memory is the largest of a process, less what it held before.
Ratios are to one process with the whole batch, which is 1. At the end, the share of training in which
steps wait for their data, where signals are in memory and where each batch is read from disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path


def main() -> None:
    """Run each case in processes of its own, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--micro-batch", type=int, nargs="*", default=[64, 256])
    parser.add_argument("--n-chans", type=int, default=63)
    parser.add_argument("--n-times", type=int, default=100)
    parser.add_argument("--n-hidden", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--case", default="", help="run one case here, for the others")
    options = parser.parse_args()
    if options.case:
        measure(options, json.loads(options.case))
        return
    cases = [(1, 0), *((1, most) for most in options.micro_batch), (2, 0)]
    cases += [(2, options.micro_batch[-1])] if options.micro_batch else []
    print(f"conv, {options.n_chans} x {options.n_times}, batch of {options.batch_size}")
    print("processes  micro-batch  s/step  memory MB     time   memory  loss")
    first: dict = {}
    for n, most in cases:
        found = start(n, most)
        first = first or found
        print(
            f"{n:9}  {most or 'whole':>11}  {found['seconds']:6.2f}  {found['memory']:9.0f}  "
            f"{found['seconds'] / first['seconds']:6.2f}x  {found['memory'] / first['memory']:6.2f}x"
            f"  {found['loss']:.5f}",
            flush=True,
        )
    for place, share in waited(options).items():
        print(f"waiting for signals {place}: {100 * share:.1f} % of the time of training")


def start(n: int, most: int) -> dict:
    """Measure one case in new processes."""
    words = [sys.executable]
    if n > 1:
        words += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    words += ["-m", "experiments.benchmarks.scaling", *sys.argv[1:]]
    words += ["--case", json.dumps({"micro_batch": most})]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(options: argparse.Namespace, case: dict) -> None:
    """Time some steps; the first process prints what all of them found."""
    import numpy as np
    import torch

    from neurovis.brain.base import Shape
    from neurovis.brain.conv import Conv
    from neurovis.decoder import decoder
    from neurovis.distributed import job, normalise_together
    from neurovis.losses.combine import ClipMse
    from neurovis.step import Batch, backward

    torch.set_num_threads(1)
    n, chans, times, dim = options.batch_size, options.n_chans, options.n_times, 128
    rng = np.random.default_rng(0)
    names = tuple(f"E{i}" for i in range(chans))
    place = rng.standard_normal((chans, 3)).astype(np.float32)
    shape = Shape(times, 250.0, names, ("eeg",) * chans, place, ("01",), {"image": dim})
    width = options.n_hidden
    # nothing drawn at random: losses can be compared
    tower = Conv(
        n_hidden=width,
        n_virtual=width,
        n_blocks=3,
        n_features=2 * width,
        dropout=0,
        spatial_dropout=0,
    )
    with job() as world:
        torch.manual_seed(0)
        model = decoder(tower.build(shape), shape.outputs, "linear")
        loss_of = ClipMse().build()
        world.alike(model, loss_of)
        normalise_together(model, world)
        parameters = [*model.parameters(), *loss_of.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=1e-4)
        shares = world.shares(n, case["micro_batch"])
        mine = np.concatenate([part[world.rank] for part in shares])
        signal = torch.from_numpy(rng.standard_normal((n, chans, times), np.float32)[mine])
        inputs = [signal, torch.zeros(len(mine), dtype=torch.long)]
        inputs += [torch.ones(len(mine), chans, dtype=torch.bool)]
        target = {"image": torch.from_numpy(rng.standard_normal((n, dim), np.float32))}
        before = resident()
        seconds = []
        for step in range(options.steps + 1):
            started = time.perf_counter()
            batch = Batch(inputs, target, torch.arange(n), shares, step)
            said, _ = backward(model, loss_of, batch, world, nullcontext())
            world.average(parameters)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            seconds.append(time.perf_counter() - started)
        memory = torch.tensor(resident(most=True) - before)
        if world.size > 1:
            torch.distributed.all_reduce(memory, torch.distributed.ReduceOp.MAX)
        if world.first:
            found = {"seconds": float(np.median(seconds[1:])), "memory": float(memory)}
            print(json.dumps(found | {"loss": float(said["loss"])}))


def waited(options: argparse.Namespace) -> dict[str, float]:
    """Share of an epoch's steps spent waiting for data, by where the signals are."""
    import csv

    import torch

    from neurovis import train
    from neurovis.config import build
    from neurovis.experiment import Experiment

    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = prepared(Path(name) / "prepared", options.n_chans, options.n_times)
        width = options.n_hidden
        brain = {"name": "conv", "n_hidden": width, "n_virtual": width, "n_blocks": 3}
        for place, memory in (("in memory", 6), ("on disk", 0)):
            config = {
                "data": {"path": str(folder), "memory": memory},
                "targets": {"image": {"embeddings": str(folder / "embeddings.h5")}},
                "brain": {**brain, "n_features": 2 * width},
                "train": {"epochs": 2, "batch_size": 128},
                "baseline": "ridge",
                "control": "none",
            }
            run = train.main(build(Experiment, config), Path(name) / place, quiet=True)
            with (run / "log.csv").open(newline="") as handle:
                found[place] = max(float(row["waited"]) for row in csv.DictReader(handle))
    return found


def prepared(folder: Path, n_chans: int, n_times: int) -> Path:
    """A prepared folder of noise: one subject, 1,024 training images seen four times."""
    import numpy as np

    from neurovis.config import write_yaml
    from neurovis.records import Embeddings, Split, Stimuli, Trials
    from neurovis.store import write_json

    rng = np.random.default_rng(0)
    images = [f"{i:04d}" for i in range(1104)]
    n = len(images)
    sets = ["train"] * (n - 40) + ["test"] * 40
    folder.mkdir(parents=True)
    paths = [f"{image}.png" for image in images]
    Stimuli(images, paths, [f"{i:064x}" for i in range(n)], [1] * n, [1] * n, images, sets).write(
        folder / "stimuli.csv"
    )
    Split(images[:-80], images[-80:-40], images[-40:]).write(folder / "split.json")
    vector = rng.standard_normal((n, 64)).astype(np.float32)
    Embeddings(vector, images, {"name": "noise"}).write(folder / "embeddings.h5")
    shown = rng.permutation(np.repeat(np.arange(n), 4))
    rows = len(shown)
    place = rng.standard_normal((n_chans, 3)) / 10
    Trials(
        rng.standard_normal((rows, n_chans, n_times), np.float32), np.array(images)[shown],
        ["1"] * rows, ["1"] * rows, np.array(sets)[shown], np.arange(rows) * 1.0,
        [f"E{i}" for i in range(n_chans)], ["eeg"] * n_chans, place, sfreq=250.0, tmin=0.0,
        modality="eeg", unit="1", subject="01", dataset="noise",
    ).write(folder / "sub-01" / "trials.h5")  # fmt: skip
    write_yaml(folder / "config.yaml", {"name": "noise"})
    write_json(folder / "provenance.json", {"inputs": {}, "seed": 0})
    return folder


def resident(most: bool = False) -> float:
    """Memory of this process in MB: now, or the most it ever had."""
    if most:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
