"""Subjects who answer alike, tiny experiments on them, and what tests look at in their runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from conftest import write_prepared

from neurovis import train
from neurovis.batches import Recordings
from neurovis.config import build
from neurovis.decoder import decoder
from neurovis.evaluate import evaluate_run
from neurovis.experiment import Experiment
from neurovis.records import Trials, opened
from neurovis.store import load_tensors

TOWER = {"name": "conv", "n_virtual": 8, "n_harmonics": 4, "n_hidden": 16, "n_blocks": 1}
TOWER |= {"n_features": 32}
INVERTED = {"name": "inverted", "n_hidden": 8}


def experiment(folder: Path, **changes) -> Experiment:
    fields = {
        "name": "tiny",
        "data": {"path": str(folder)},
        "targets": {"image": {"encoder": "planted", "embeddings": str(folder / "embeddings.h5")}},
        "brain": TOWER,
        "train": {"epochs": 3, "batch_size": 50, "lr": 3e-3},
        "control": "none",
        "predict": {"draws": 1},
        "device": "cpu",
    }
    for name in ("train", "data"):
        fields[name] = {**fields[name], **changes.pop(name, {})}
    return build(Experiment, {**fields, **changes})


def run_of(folder: Path, out: Path, **changes) -> Path:
    return train.main(experiment(folder, **changes), out, quiet=True)


def rewrite(path: Path, keep: np.ndarray | None = None, **columns) -> None:
    """Write trials again, some of them or with other columns."""
    with opened(path) as old:
        fields = {k: v for k, v in vars(old).items() if k != "signal"} | columns
        block = fields.pop("signal", None)
        block = old.read() if block is None else block
    if keep is not None:
        block = block[keep]
        for name in ("image", "session", "run", "set", "onset"):
            fields[name] = fields[name][keep]
    Trials(block, **fields).write(path)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_tensors(path)


def same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def pooled(run: Path, metric: str = "top5", n_averaged: int = 4, subject: str = "all") -> dict:
    """Score per system."""
    return {
        s.about["system"]: s
        for s in evaluate_run(run, quiet=True)
        if s.name == metric
        and (s.about["n_averaged"], s.about["subject"]) == (n_averaged, subject)
        and "comparison" not in s.about
    }


def write_alike(folder: Path) -> Path:
    """Three subjects who answer alike: what one of them teaches serves the others."""
    write_prepared(folder, n_train=90, n_test=20, subjects=("01", "02", "03"))
    with opened(folder / "sub-01" / "trials.h5") as first:
        block = first.read()
    for number in (2, 3):
        noise = np.random.default_rng(number).standard_normal(block.shape)
        rewrite(folder / f"sub-0{number}" / "trials.h5", signal=(block + noise).astype(np.float32))
    return folder


def setup_of(folder: Path, run: Path, **changes) -> train.Setup:
    """A setup as `main` makes it."""
    config = experiment(folder, **changes)
    recordings = Recordings(config.data)
    split = recordings.folds[0]
    found = config.targets["image"].vectors(recordings.stimuli, split, run, True)
    device = torch.device("cpu")
    return train.Setup(config, recordings, split, "", {"image": found}, run, device, True)


def decoder_of(setup: train.Setup, subjects: tuple, state: dict):
    shape = replace(setup.recordings.shape({"image": 8}), subjects=subjects)
    model = decoder(setup.experiment.brain.build(shape), {"image": 8}, "linear")
    model.load_state_dict(state)
    return model.eval()
