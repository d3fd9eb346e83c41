"""Training against views, levels, common spaces and three towers, from prepared folder to scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_prepared
from PIL import Image

from neurovis import train
from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import evaluate_run, read_scores
from neurovis.experiment import Experiment
from neurovis.records import Embeddings, Prediction, Split
from neurovis.report import report_run
from neurovis.store import load_tensors

TOWER = {"name": "conv", "n_virtual": 8, "n_harmonics": 4, "n_hidden": 16, "n_blocks": 1}
TOWER |= {"n_features": 32}
MOSAIC = {"name": "mosaic", "side": 4}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Bits are compared here, and the order of sums depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Signals that say what is in ``embeddings.h5``; ``half.h5`` and ``rest.h5`` are its parts."""
    folder = write_prepared(tmp_path_factory.mktemp("planted") / "p", n_train=120, n_test=30)
    whole = Embeddings.read(folder / "embeddings.h5")
    parts = {"half": whole.vector[:, :5], "rest": 20 * whole.vector[:, 5:] + 3}
    for name, vector in parts.items():
        Embeddings(vector, whole.image, {"name": name}).write(folder / f"{name}.h5")
    return folder


def experiment(folder, **changes) -> Experiment:
    train_ = {"epochs": 5, "batch_size": 50, "lr": 3e-3, **changes.pop("train", {})}
    parts = {name: {"embeddings": str(folder / f"{name}.h5")} for name in ("half", "rest")}
    fields = {"name": "tiny", "data": {"path": str(folder)}, "targets": parts, "brain": TOWER}
    fields |= {"train": train_, "control": "none", "device": "cpu"}
    return build(Experiment, {**fields, **changes})


def top1(run, system="tower", target="all"):
    scores = evaluate_run(run, quiet=True)
    (found,) = [
        s
        for s in scores
        if s.name == "top1" and s.about["subject"] == "all" and "comparison" not in s.about
        and (s.about["system"], s.about["target"], s.about["n_averaged"]) == (system, target, 4)
    ]  # fmt: skip
    return found


@pytest.mark.parametrize(
    "projection",
    [
        {"name": "adapter", "width": 8},
        {"name": "adapter", "width": 6, "n_hidden": 4},
        {"name": "three_towers", "width": 8, "frozen": ["rest"]},
    ],
    ids=["adapter", "perceptron", "three-towers"],
)
def test_a_common_space_decodes_what_is_planted(planted, tmp_path, projection):
    one = experiment(planted, projection=projection, train={"epochs": 30})
    run = train.main(one, tmp_path, quiet=True)
    prediction = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    assert {k: v.shape[1] for k, v in prediction.vector.items()} == {"all": projection["width"]}
    gallery = Embeddings.read(run / "systems" / "tower" / "gallery" / "all.h5")
    assert set(gallery.encoder["targets"]) == {"half", "rest"}
    found = top1(run)
    assert found.low > 3 * found.chance
    assert report_run(run, quiet=True).stat().st_size > 10_000
    # ridge predicts each target; its similarities are summed, so that both are compared
    assert top1(run, "ridge").value > 0
    assert any(
        s.about.get("comparison") == "tower - ridge" and s.about["target"] == "all"
        for s in read_scores(run)
    )


def test_a_tower_that_starts_from_a_closed_form_starts_in_the_common_space(planted, tmp_path):
    brain = {"name": "inverted", "n_folds": 2, "n_hidden": 0, "n_steps": 1}
    one = experiment(planted, brain=brain, projection={"name": "adapter", "width": 8})
    run = train.main(one, tmp_path, quiet=True)
    found = top1(run)
    assert found.low > 3 * found.chance


def views(folder, **options):
    target = {"encoder": {"name": "pixels", "side": 4}, "components": 8, **options}
    return experiment(folder, targets={"image": target}, train={"epochs": 2})


def test_every_score_says_what_was_trained_on_and_compared_with(planted, tmp_path):
    for gallery in ("plain", "views"):
        one = views(planted, views=["blur", MOSAIC], gallery=gallery)
        run = train.main(one, tmp_path, quiet=True)
        said = {s.gallery for s in evaluate_run(run, quiet=True)}
        expected = {
            "plain": "plain pictures, trained on blur and mosaic-side=4",
            "views": "mean over views blur",
        }
        assert all(expected[gallery] in text for text in said), said
        for system in ("tower", "ridge"):
            assert Prediction.read(run / "systems" / system / "prediction.h5").vector["image"].shape
    report = report_run(run, quiet=True).read_text(encoding="utf-8")
    assert "mean over views blur" in report
    plain = train.main(views(planted), tmp_path, quiet=True)
    assert {s.gallery for s in evaluate_run(plain, quiet=True)} == {"30 test images (shown image)"}


LEVELS = {"views": [{"name": "low_resolution", "side": n} for n in (12, 6, 3)], "deviations": 1.0}


def test_levels_change_as_the_tower_learns_and_a_resumed_run_is_the_same(
    planted, tmp_path, monkeypatch
):
    chosen = []
    choose = train.Truth.choose

    def watched(self):
        choose(self)
        chosen.append(self.level["image"].clone())

    monkeypatch.setattr(train.Truth, "choose", watched)
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    one = views(planted, adaptive=LEVELS)
    whole = train.main(one, tmp_path / "whole", quiet=True)
    assert len(chosen) == 2
    counts = torch.bincount(chosen[0], minlength=3)
    assert (counts > 0).all()
    assert not torch.equal(*chosen)

    def stops(self):
        watched(self)
        if len(chosen) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Truth, "choose", stops)
    with pytest.raises(KeyboardInterrupt):
        train.main(one, tmp_path / "again", quiet=True)
    monkeypatch.setattr(train.Truth, "choose", watched)
    again = train.main(one, tmp_path / "again", quiet=True)
    assert torch.equal(chosen[1], chosen[-1])
    first, second = (load_tensors(run / "model.safetensors") for run in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    # without levels the first epoch is the same, and the second is not
    monkeypatch.setattr(train.Truth, "choose", choose)
    other = train.main(views(planted, views=[LEVELS["views"][1]]), tmp_path, quiet=True)
    losses = [pd.read_csv(run / "log.csv")["loss"] for run in (whole, other)]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_missing_pictures_and_vectors_are_counted_before_training(planted, tmp_path):
    whole = Embeddings.read(planted / "half.h5")
    Embeddings(whole.vector[:-4], whole.image[:-4]).write(tmp_path / "few.h5")
    few = {"image": {"embeddings": str(tmp_path / "few.h5")}}
    with pytest.raises(
        NeurovisError, match=r"4 of 150 images have no vector, the first is '\w+_146'"
    ):
        train.main(experiment(planted, targets=few), tmp_path, quiet=True)
    folder = write_prepared(tmp_path / "p", n_train=36, n_test=6)
    gone = sorted((folder / "pictures").iterdir())[:3]
    for path in gone:
        path.unlink()
    with pytest.raises(NeurovisError, match=f"{gone[0].name}.*3 of 42 pictures") as error:
        train.main(views(folder), tmp_path, quiet=True)
    assert "\n" not in str(error.value)


def test_folds_have_no_common_space(planted, tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=36, n_test=6)
    whole = Split.read(folder / "split.json")
    (folder / "split.json").unlink()
    for i in (1, 2):
        whole.write(folder / f"split-0{i}.json")
    for name in ("half", "rest"):
        found = Embeddings.read(folder / "embeddings.h5")
        Embeddings(found.vector, found.image).write(folder / f"{name}.h5")
    with pytest.raises(UsageError, match="found 2 folds; use linear"):
        train.main(experiment(folder, projection="adapter"), tmp_path, quiet=True)


def test_pictures_of_the_fixture_are_small(planted):
    """The levels above leave something to see: pictures are 16 pixels wide."""
    with Image.open(next((planted / "pictures").iterdir())) as picture:
        assert picture.size == (16, 16)
        assert np.asarray(picture).std() > 10
