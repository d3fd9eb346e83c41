"""Recordings left out in turn, stimuli known by category: training as on a small real recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from test_train import experiment

from neurovis import train
from neurovis.batches import Data, Recordings, shuffled
from neurovis.records import Embeddings, Prediction, Split, Stimuli, Trials, opened
from neurovis.store import write_json

# ---- recordings left out in turn, stimuli known by category


@dataclass
class LeftOut:
    """A prepared folder in which only the category of each picture is known."""

    folder: Path
    runs: tuple[str, ...] = ("1", "2", "3")


@pytest.fixture(scope="module")
def left_out(tmp_path_factory):
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("left_out")
    kinds = ["face", "house"]
    paths = [tuple(f"{kind}/{i}.png" for i in range(3)) for kind in kinds]
    Stimuli(kinds, paths, ["", ""], [8, 8], [8, 8], kinds, ["train", "train"]).write(
        folder / "stimuli.csv"
    )
    Embeddings(np.array([[1.0, 0, 0.2], [0, 1.0, 0.2]]), kinds).write(folder / "embeddings.h5")
    pattern = rng.standard_normal((2, 6, 10))
    n = 90
    kind = rng.integers(0, 2, n)
    clean = pattern[kind] + rng.standard_normal((n, 6, 10))
    angle = np.linspace(0, 6, 6)
    position = 0.1 * np.stack([np.cos(angle), np.sin(angle), np.full(6, 0.5)], 1)
    Trials(
        clean.astype(np.float32),
        np.array(kinds)[kind],
        ["1"] * n,
        np.repeat(["1", "2", "3"], n // 3),
        ["train"] * n,
        np.arange(n) * 1.0,
        [f"C{i}" for i in range(6)],
        ["eeg"] * 6,
        position,
        sfreq=100.0,
        tmin=0.0,
        modality="eeg",
        unit="1",
        subject="01",
    ).write(folder / "sub-01" / "trials.h5")
    name = "ses-1_run-{}".format
    for fold, (test, held) in enumerate([("1", "2"), ("2", "3"), ("3", "1")], 1):
        rest = [r for r in "123" if r not in (test, held)]
        split = Split([name(r) for r in rest], [name(held)], [name(test)], unit="recording")
        split.write(folder / f"split-{fold:02d}.json")
    (folder / "config.yaml").write_text("name: planted\n")
    write_json(folder / "provenance.json", {"inputs": {}, "seed": 0})
    return LeftOut(folder)


def test_recordings_are_left_out_in_turn(left_out, tmp_path):
    config = experiment(
        left_out.folder,
        targets={
            "image": {
                "encoder": "planted",
                "embeddings": str(left_out.folder / "embeddings.h5"),
                "centre": False,
            }
        },
        train={"epochs": 15, "batch_size": 10},
        control="baseline",
    )
    run = train.main(config, tmp_path, quiet=True)
    assert len(Split.read_folds(run)) == 3
    with opened(left_out.folder / "sub-01" / "trials.h5") as trials:
        for system in ("tower", "ridge", "shuffled"):
            said = Prediction.read(run / "systems" / system / "prediction.h5")
            # every trial is predicted once, by the fold that left its recording out
            np.testing.assert_array_equal(said.image, trials.image)
            np.testing.assert_array_equal(said.recording, trials.recording)
            assert (said.n_averaged == 1).all()
            right = np.where(
                said.vector["image"][:, 0] > said.vector["image"][:, 1], "face", "house"
            )
            if system == "shuffled":
                assert 0.25 < (right == said.image).mean() < 0.75
            else:
                assert (right == said.image).mean() > 0.85, system


def test_shuffling_stays_within_each_recording(left_out):
    recordings = Recordings(Data(path=str(left_out.folder)))
    split = recordings.folds[0]
    items, images = recordings.items(split, "train")
    items2, images2 = recordings.items(split, "validation")
    items, images = items + items2, np.concatenate([images, images2])
    other = shuffled(images, items, recordings, split, seed=0)
    place = np.array([recordings.trials[0].recording[rows[0]] for _, rows in items])
    for recording in np.unique(place):
        mine = place == recording
        assert sorted(other[mine]) == sorted(images[mine])
        assert (other[mine] != images[mine]).any()
    recordings.close()
