"""The default recipe against ridge, published recipes and the limit, at three noise levels.

    python -m experiments.benchmarks.decoding --folder DIR
    python -m experiments.benchmarks.decoding --folder DIR --modality meg --level middle --recipe default ubp

Simulates four people who see 2,000 training pictures twice and 200 test pictures of other concepts twelve times, at
signal-to-noise ratios at which the informed observer names about 8, 30 and 70 % of single trials, and prints
one table. Every recipe is trained on the same trials and scored on the same rows; a published recipe is its YAML
in `experiments`, aimed at the default's features of the pictures, since no published encoder knows these drawings,
with batches and epochs cut to so few pictures. What is complete in the folder is not done again.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from neurovis.config import build, load_yaml, resolve
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
PAPERS: dict[str, tuple[str, dict[str, int]]] = {
    "conv": ("benchetrit2024/dinov2", {}),
    "atm": ("atm2024/clean", SLOWER),
    "nice": ("nice2024/eeg", SLOWER),
    "ubp": ("ubp2025/clean", {}),
    "shallow-alignment": ("shallow_alignment2026/clean", {}),
}
"""Recipes in `experiments`, and what of their towers follows the sampling rate."""
BATCH, N_STEPS, N_TRAIN = 128, 1000, 1800
"""Rows of a batch, batches that a tower sees at most, and images of each subject beside validation. Published batches
of 1,000 are a sixteenth of the images there; the same share of these is 112."""


def recipe(name: str, n_subjects: int, epochs: int | None, small: bool = False) -> dict[str, Any]:
    """An experiment without its data: the default, or a paper's with the default's target."""
    targets = {k: {**v, **({"components": 16} if small else {})} for k, v in TARGETS.items()}
    if name == "default":
        return {**EXPERIMENT, "name": "default", "targets": targets}
    file, tower = PAPERS[name]
    made = load_yaml(Path(__file__).parents[1] / f"{file}.yaml")
    brain, train = made["brain"], made["train"]
    if tower:
        made["brain"] = {**(brain if isinstance(brain, dict) else {"name": brain}), **tower}
    rows = N_TRAIN * (2 if train["average"] == "none" else 1)
    rows *= n_subjects if made["subjects"] == "joint" else 1
    most = epochs or max(1, N_STEPS * BATCH // rows)
    train = {**train, "epochs": min(most, train["epochs"]), "batch_size": BATCH}
    return {**made, "name": name, "targets": targets, "train": train, "control": "none"}


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
        help=f"of the published recipes (default: theirs, up to {N_STEPS} batches)",
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
                        **recipe(name, options.n_subjects, options.epochs, options.small),
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
