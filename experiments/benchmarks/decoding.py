"""The default recipe against ridge, published recipes and the limit, at three noise levels.

    python -m experiments.benchmarks.decoding --folder DIR
    python -m experiments.benchmarks.decoding --folder DIR --modality meg --level middle --recipe default ubp

Simulates four people who see 2,000 training pictures twice and 200 test pictures of other concepts twelve times, at
signal-to-noise ratios at which the informed observer names about 8, 30 and 70 % of single trials, and prints
one table. Every recipe is trained on the same trials and scored on the same rows; a published recipe is its
tower, loss and training as `experiments` has them, aimed at the same pictures' features, since no published
encoder knows these drawings. What is complete in the folder is not done again.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from neurovis.config import build, resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.demo import EXPERIMENT
from neurovis.evaluate import evaluate_run, read_scores
from neurovis.experiment import Experiment
from neurovis.prepare import prepare
from neurovis.records import Score
from neurovis.train import main as train
from neurovis.world.simulate import simulate

LEVELS = {
    "meg": {"low": 0.055, "middle": 0.092, "high": 0.16},
    "eeg": {"low": 0.057, "middle": 0.095, "high": 0.165},
}
"""Signal-to-noise ratios; what the informed observer makes of them is a column of the table."""

TARGETS = EXPERIMENT["targets"]
SLOWER = {"kernel": 10, "pool": 20, "stride": 2}
"""100, 204 and 20 ms, as published for 250 Hz, at the 100 Hz of these trials."""
ONE = {"projection": "none", "control": "none", "subjects": "single"}
PAPERS: dict[str, dict[str, Any]] = {
    # arXiv 2310.19812: single trials, lr 3e-4, batches of 128
    "conv": {
        "brain": {"name": "conv"},
        "loss": {"name": "clip_mse", "weight": 0.75},
        "train": {"average": "none", "lr": 3e-4, "batch_size": 128, "weight_decay": 0.0},
    },
    # arXiv 2403.07721: single trials, lr 3e-4
    "atm": {
        "brain": {"name": "atm", **SLOWER},
        "loss": {"name": "clip"},
        "train": {"average": "none", "lr": 3e-4, "batch_size": 256, "weight_decay": 0.01},
    },
    # arXiv 2308.13234: repeats averaged, lr 2e-4, batches of 1000
    "nice": {
        "brain": {"name": "nice", **SLOWER},
        "loss": {"name": "clip", "learn_temperature": False},
        "train": {"average": "all", "lr": 2e-4, "batch_size": 1000, "weight_decay": 0.0},
    },
    # arXiv 2503.04207, without blur: repeats averaged, lr 1e-4, batches of 1024
    "ubp": {
        "brain": {"name": "ubp"},
        "loss": {"name": "clip"},
        "train": {"average": "all", "lr": 1e-4, "batch_size": 1024, "weight_decay": 1e-4},
    },
    # arXiv 2601.21948: as above, with linear maps on both sides
    "shallow-alignment": {
        "brain": {"name": "ubp"},
        "projection": "linear",
        "loss": {"name": "clip"},
        "train": {"average": "all", "lr": 1e-4, "batch_size": 1024, "weight_decay": 1e-4},
    },
}


N_STEPS, N_TRAIN = 2000, 1800
"""Batches that published recipes train on, and images of each subject beside validation: papers' epochs are of eight
times as many images, and as many epochs of these would be no training."""


def epochs_of(train: dict[str, Any]) -> int:
    """As many epochs as `N_STEPS` batches take."""
    n = N_TRAIN * (2 if train["average"] == "none" else 1)
    return -(-N_STEPS // max(1, n // train["batch_size"]))


def recipe(name: str, epochs: int | None, small: bool = False) -> dict[str, Any]:
    """An experiment without its data: the default, or a paper's with the default's target."""
    targets = {k: {**v, **({"components": 16} if small else {})} for k, v in TARGETS.items()}
    if name == "default":
        return {**EXPERIMENT, "name": "default", "targets": targets}
    made = {"version": 1, "name": name, "targets": targets, **ONE, **PAPERS[name]}
    epochs = epochs or epochs_of(made["train"])
    return {**made, "train": {"epochs": epochs, "patience": max(10, epochs // 5), **made["train"]}}


SMALL = {"n_train_concepts": 12, "n_exemplars": 10, "n_test": 12, "test_repeats": 4, "n_runs": 2}
"""A miniature, to see that all runs."""


def prepared(folder: Path, modality: str, level: str, n_jobs: int, **design: int) -> Path:
    """Trials of one modality and level; raw recordings are removed once they are prepared."""
    place = folder / f"{modality}-{level}"
    found = sorted((place / "prepared").glob("synthetic-*"))
    if found:
        return found[0]
    raw = place / "raw"
    snr = LEVELS[modality][level]
    simulate(raw, modality, n_jobs=n_jobs, quiet=True, snr=snr, **design)
    made = prepare(resolve(Dataset, "synthetic"), raw, place, n_jobs=n_jobs, quiet=True)
    for person in raw.glob("sub-*"):
        shutil.rmtree(person)
    return made


def row(scores: list[Score], system: str, single: bool) -> Score | None:
    """Top-1 of a system, all subjects and targets together, single trials or the most repeats."""
    some = [
        s for s in scores
        if s.name == "top1" and "comparison" not in s.about
        and (s.about["system"], s.about["subject"]) == (system, "all")
    ]  # fmt: skip
    targets = {s.about["target"] for s in some}
    some = [s for s in some if s.about["target"] == ("all" if "all" in targets else min(targets))]
    return (min if single else max)(some, key=lambda s: s.about["n_averaged"]) if some else None


def line(level: str, name: str, scores: list[Score], system: str, limit: Score | None) -> str:
    """One line of the table: averaged, single trials, share of the limit."""
    averaged, single = (row(scores, system, alone) for alone in (False, True))
    if averaged is None or single is None:
        return ""
    share = f"{100 * averaged.value / limit.value:6.0f} %" if limit and limit.value else " " * 8
    said = [
        f"{100 * s.value:5.1f} [{100 * s.low:4.1f}, {100 * s.high:5.1f}]"
        for s in (averaged, single)
    ]
    return f"{level:12}{name:20}{said[0]}  {said[1]}{share}"


def main() -> None:
    """Simulate, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="kept, and gone on with; else a temporary one")
    parser.add_argument("--modality", nargs="+", default=list(LEVELS), choices=LEVELS)
    parser.add_argument("--level", nargs="+", default=["low", "middle", "high"])
    parser.add_argument("--recipe", nargs="+", default=["default", *PAPERS])
    parser.add_argument(
        "--epochs",
        type=int,
        help=f"of the published recipes (default: as many as {N_STEPS} batches take)",
    )
    parser.add_argument("--n-subjects", type=int, default=4)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument(
        "--small", action="store_true", help="a miniature, whose numbers mean nothing"
    )
    options = parser.parse_args()
    design = {"n_subjects": options.n_subjects, **(SMALL if options.small else {})}
    load_datasets()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        heads = f"{'all repeats averaged':22}{'single trials':22}of the limit"
        print(f"{'top-1, % [95 % interval]':32}{heads}", flush=True)
        for modality in options.modality:
            for level in options.level:
                data = prepared(folder, modality, level, options.n_jobs, **design)
                for number, name in enumerate(options.recipe):
                    content = {
                        **recipe(name, options.epochs, options.small),
                        "data": {"path": data.as_posix()},
                    }
                    run = train(build(Experiment, content), data.parents[1], quiet=True)
                    if not (run / "scores.json").is_file():
                        evaluate_run(run, quiet=True)
                    scores = read_scores(run)
                    limit = row(scores, "informed_observer", False)
                    where, lines = f"{modality} {level}", []
                    if number == 0:
                        systems = ("optimal_observer", "informed_observer", "ridge", "shuffled")
                        lines = [line(where, s, scores, s, limit) for s in systems]
                    lines.append(line(where, name, scores, "tower", limit))
                    print("\n".join(filter(None, lines)), flush=True)


if __name__ == "__main__":
    main()
