"""What decides which weights are reported, and that what was selected on test says so everywhere."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.planted import INVERTED, experiment, pooled, run_of, same, setup_of, weights, write_alike

from neurovis import train, turns
from neurovis.batches import View
from neurovis.config import fingerprint, to_dict
from neurovis.evaluate import evaluate_prediction, evaluate_run, read_scores, table
from neurovis.flags import FLAG, PUBLISHED, warning
from neurovis.records import Embeddings, Prediction, Split
from neurovis.report import report_run
from neurovis.store import read_json


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The order of sums depends on the number of threads; bits are compared here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """Three subjects who answer alike."""
    return write_alike(tmp_path_factory.mktemp("alike") / "p")


# ---- what decides which weights are reported


def outputs(run: Path) -> dict[str, str]:
    """Every text that shows this run's numbers."""
    scores = evaluate_run(run, quiet=True)
    said = Prediction.read(run / "systems/tower/prediction.h5")
    gallery = Embeddings.read(run / "gallery" / "image.h5")
    bare = evaluate_prediction(said, gallery, quiet=True)
    return {
        "scores.json": (run / "scores.json").read_text(),
        "notes": " ".join(read_json(run / "scores.json")["notes"]),
        "table": table(scores),
        "report": report_run(run, quiet=True).read_text(),
        "split": (run / "split.json").read_text(),
        "score": str(scores[0]),
        "the prediction alone": table(bare),
    }


@pytest.mark.parametrize(
    ("protocol", "subjects"),
    [
        ("best_on_test", "joint"),
        ({"name": "best_on_test", "metric": "loss"}, "leave_one_out"),
        ("best_on_others_test", "leave_one_out"),
    ],
)
def test_selection_on_test_is_said_in_every_output(alike, tmp_path, protocol, subjects):
    run = run_of(
        alike, tmp_path, protocol=protocol, subjects=subjects, data={"subjects": ("01", "02")}
    )
    found = outputs(run)
    for name, text in found.items():
        assert FLAG in text, name
    for score in read_scores(run):  # comparisons included
        assert FLAG in score.protocol
        assert "clean" not in score.protocol
    page = found["report"]
    assert page.index(FLAG) < page.index("<h1")  # before the first number
    assert "overstate" in page
    assert "play no part" not in page
    # the flag lives in the scores: a report made from another config has it too
    (run / "config.yaml").unlink()
    assert FLAG in report_run(run, quiet=True).read_text()


@pytest.mark.parametrize("protocol", ["last", {"name": "mean_of_last", "n_epochs": 2}])
def test_published_procedures_without_selection_are_named(alike, tmp_path, protocol):
    found = outputs(run_of(alike, tmp_path, protocol=protocol))
    for name, text in found.items():
        assert PUBLISHED in text, name
        assert FLAG not in text, name
        assert "nothing selected" in text, name
    assert "play no part" not in found["report"]


def test_the_clean_protocol_warns_of_nothing(alike, tmp_path):
    run = run_of(alike, tmp_path)
    for name, text in outputs(run).items():
        assert FLAG not in text, name
        assert PUBLISHED not in text, name
    assert (run / "split.json").read_text() == (alike / "split.json").read_text()
    assert warning("clean") == ""


@pytest.mark.parametrize("subjects", ["joint", {"name": "leave_one_out", "test": ("02",)}])
def test_the_epoch_reported_is_the_best_of_all_on_test(alike, tmp_path, monkeypatch, subjects):
    validate, found = train.validate, []

    def judging(setup, *args):
        report = validate(setup, *args)
        found.append((setup.recordings.subjects, report["validation_top1"]))
        return report

    monkeypatch.setattr(train, "validate", judging)
    options = {"epochs": 8, "lr": 1e-2, "patience": 1}
    run = run_of(alike, tmp_path, protocol="best_on_test", subjects=subjects, train=options)
    assert len(found) == 8  # nothing stops it
    tested = ("01", "02", "03") if subjects == "joint" else ("02",)
    assert {who for who, _ in found} == {tested}
    values = [value for _, value in found]
    assert max(values) > values[-1] or max(values) > values[0]
    assert pooled(run, "top1")["tower"].value == pytest.approx(max(values))


def test_who_trains_and_who_judges_under_each_protocol(alike, tmp_path):
    split = Split.read(alike / "split.json")
    for protocol, trained, judges in (
        ("clean", split.train, split.validation),
        ("last", (*split.train, *split.validation), ()),
        ("best_on_test", (*split.train, *split.validation), split.test),
        ("best_on_others_test", (*split.train, *split.validation), split.test),
    ):
        setup = setup_of(alike, tmp_path, protocol=protocol)
        setup = replace(setup, tested=replace(setup, recordings=View(setup.recordings, (2,))))
        items, images, held, held_images = turns.sides(setup)
        assert set(images) == set(trained)
        assert set(held_images) == set(judges)
        assert (len(items), len(held)) == (len(images), len(held_images))
        if held:
            assert len(held) == len(judges) * (1 if protocol == "best_on_test" else 3)
        setup.recordings.close()


def test_without_validation_every_epoch_runs_and_nothing_is_judged(alike, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "validate", None)
    run = run_of(alike, tmp_path, protocol="last", brain=INVERTED, train={"patience": 1})
    with (run / "log.csv").open() as handle:
        rows = [row for row in csv.DictReader(handle) if row["stage"] == "tower"]
    assert [row["validation_loss"] for row in rows] == ["", "", ""]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_the_mean_over_the_last_epochs_is_the_mean_of_their_scores(alike, tmp_path):
    options = {"name": "mean_of_last", "n_epochs": 3}
    run = run_of(alike, tmp_path, protocol=options, train={"epochs": 5, "lr": 1e-2})
    last = run_of(alike, tmp_path, protocol="last", train={"epochs": 5, "lr": 1e-2})
    same(weights(run / "model-02.safetensors"), weights(last / "model.safetensors"))
    said = Prediction.read(run / "systems/tower/prediction.h5")
    n = len(said) // 3
    values = []
    for epoch in range(3):
        found = Embeddings.read(run / f"systems/tower/galleries/{epoch:03d}/image.h5")
        rows = slice(epoch * n, (epoch + 1) * n)
        keep = said.n_averaged[rows] == 4
        p, g = said.vector["image"][rows][keep], found.vector
        cosine = (p / np.linalg.norm(p, axis=1, keepdims=True)) @ (
            g / np.linalg.norm(g, axis=1, keepdims=True)
        ).T
        values.append((found.image[cosine.argmax(1)] == said.image[rows][keep]).mean())
    assert len(set(values)) > 1
    assert pooled(run, "top1")["tower"].value == pytest.approx(np.mean(values))
    assert pooled(last, "top1")["tower"].value == pytest.approx(values[-1])


# ---- averages of epochs, resuming, names


def test_averaged_epochs_measure_their_normalisation(alike, tmp_path):
    run = run_of(alike, tmp_path, train={"average_epochs": 2, "average_epochs_of": "last"})
    plain = run_of(alike, tmp_path, train={"average_epochs_of": "last"})
    a, b = (weights(r / "model.safetensors") for r in (run, plain))
    assert not torch.equal(a["tower.mix.weight"], b["tower.mix.weight"])
    # as many batches as an epoch has, whatever training had seen
    assert int(a["tower.blocks.0.norms.0.num_batches_tracked"]) == 3 * 75 // 50
    assert all(bool(torch.isfinite(v).all()) for v in a.values())


def test_a_run_that_stops_between_two_subjects_goes_on_to_the_same_result(
    alike, tmp_path, monkeypatch
):
    whole = run_of(alike, tmp_path / "whole", subjects="leave_one_out")
    calls, fit = [], train.fit

    def failing(setup, *args, **kwargs):
        calls.append(setup.part)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(setup, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(train, "fit", failing)
        with pytest.raises(KeyboardInterrupt):
            run_of(alike, tmp_path / "cut", subjects="leave_one_out")
    run = run_of(alike, tmp_path / "cut", subjects="leave_one_out")
    for who in ("01", "02", "03"):
        name = f"model-without-{who}.safetensors"
        same(weights(run / name), weights(whole / name))
    a, b = (Prediction.read(r / "systems/tower/prediction.h5") for r in (run, whole))
    np.testing.assert_array_equal(a.vector["image"], b.vector["image"])


def test_a_mix_of_subjects_trains_and_is_the_same_again(alike, tmp_path):
    options = {"subject_mix": 0.5, "average": 1, "augment": ["smooth", "drop_channels"]}
    first, second = (run_of(alike, tmp_path / n, train=options) for n in ("a", "b"))
    same(weights(first / "model.safetensors"), weights(second / "model.safetensors"))
    plain = run_of(alike, tmp_path, train={"average": 1})
    a, b = (weights(r / "model.safetensors") for r in (first, plain))
    assert not torch.equal(a["tower.mix.weight"], b["tower.mix.weight"])


def test_options_that_came_later_leave_earlier_runs_their_folders(alike):
    plain = experiment(alike)
    assert not {"subjects", "protocol"} & to_dict(plain, how_too=False).keys()
    assert {"subjects", "protocol"} <= to_dict(plain).keys()  # config.yaml has them
    assert fingerprint(plain) == fingerprint(experiment(alike, subjects="joint", protocol="clean"))
    assert fingerprint(plain) == fingerprint(experiment(alike, train={"augment": []}))
    changed = [
        {"subjects": "single"},
        {"subjects": "leave_one_out"},
        {"subjects": {"name": "leave_one_out", "unseen": "shared"}},
        {"protocol": "last"},
        {"protocol": {"name": "best_on_test", "metric": "loss"}},
        {"train": {"subject_mix": 0.1}},
        {"train": {"augment": ["noise"]}},
        {"data": {"scale": "used"}},
    ]
    assert len({fingerprint(experiment(alike, **c)) for c in [{}, *changed]}) == len(changed) + 1
