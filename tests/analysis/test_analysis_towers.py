"""A run's trained tower in windows of time and in maps of saliency."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from planted_study import PEAK, PLACE, strongest_of, write_study

from neurovis import cli
from neurovis.analysis import windows
from neurovis.analysis.base import PART, assess, lay_out
from neurovis.analysis.command import configured
from neurovis.analysis.towers import loaded, tower_layouts
from neurovis.batches import Recordings
from neurovis.evaluate import evaluate_run
from neurovis.pretrained import Pretrained
from neurovis.records import Trials
from neurovis.report import report_run
from neurovis.store import open_h5, read_json
from neurovis.train import train


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("towers"), n_train=100, n_test=24, noise=1.0)


def given(study):
    """What a run's config says without folders: where the recordings and vectors are."""
    words = [f"data.path={study.parent / 'prepared'}"]
    return words + [f"targets.{level}.embeddings={study.parent / level}.h5" for level in PEAK]


@pytest.fixture(scope="module")
def run(study, tmp_path_factory):
    """A run with a tower per subject."""
    words = ["brain={name: inverted, n_hidden: 8}", "subjects=single", "train.epochs=3"]
    words += ["train.batch_size=40", "device=cpu", "control=none", "train.lr=0.001"]
    folder = train(study, words, tmp_path_factory.mktemp("out"), quiet=True)
    evaluate_run(folder, quiet=True)
    return folder


def test_gradients_of_a_tower_are_those_of_small_changes(run, study):
    prepared = yaml.safe_load(study.read_text())["data"]["path"]
    trials = Trials.open(f"{prepared}/sub-02/trials.h5")
    signal = torch.from_numpy(trials.read(range(3)))
    model = Pretrained(run, subject="02")
    said = model.forward(signal, "02")
    predicted = model.predict_trials(trials, range(3))
    for name, value in said.items():
        np.testing.assert_allclose(value.detach(), predicted[name], atol=1e-5)
    signal.requires_grad_(True)
    model.forward(signal, "02")["low"].pow(2).sum().backward()
    slope = signal.grad
    assert float(slope.abs().sum()) > 0
    away = torch.randn_like(slope)
    with torch.no_grad():
        value = [model.forward(signal + s * 0.01 * away, "02")["low"].pow(2).sum() for s in (1, -1)]
    assert float((value[0] - value[1]) / 0.02) == pytest.approx(
        float((slope * away).sum()), rel=0.05
    )
    trials.close()


def test_masked_time_of_a_tower(run, study, tmp_path):
    words = ["model=tower", *given(study), "n_permutations=40"]
    words += ["step=0.02", "kinds=[sliding]", "n_bootstrap=50"]
    assert cli.main(["analyse", str(run), "when", *words, "--quiet"]) == 0
    (folder,) = (run / "analyses").glob("when-*")
    data = read_json(folder / "analysis.json")
    for level, peak in PEAK.items():
        (found,) = (c for c in data["curves"] if c["level"] == level and c["subject"] == "all")
        assert not found["control"]
        lags = {one["name"]: one["value"] for one in found["latencies"]}
        assert abs(lags["peak"] - peak) <= 0.03
        assert "the run's tower" in found["scores"][0][0]["protocol"]
    # by hand, in one window
    config, _ = configured(str(run), "when", words)
    recordings = Recordings(config.data)
    layout = lay_out(config, recordings, tmp_path, run, quiet=True)
    own = tower_layouts(config, recordings, layout, run, run)["01"]
    signal = np.tile(layout.signal("01", "fit").mean(0), (24, 1, 1))
    signal[:, :, 12:17] = layout.signal("01", "test")[:, :, 12:17]
    said = loaded(run, "01").predict(
        signal,
        recordings.channel_name,
        recordings.trials[0].sfreq,
        float(recordings.times[0]),
        "01",
    )
    names = dict.fromkeys(layout.subjects, recordings.channel_name)
    windows.fit_tower(own, run, "01", names, "01", {"sliding": [(12, 17)]}, 25, tmp_path)
    with open_h5(windows.part(tmp_path, "01", "sliding", (12, 17)), PART) as file:
        above = file["above"][()]
    for level, name in enumerate(own.levels):
        np.testing.assert_array_equal(
            above[level, 0], assess(own, "01", level, said[name], 0)["above"]
        )
    recordings.close()


def test_saliency_of_a_tower_and_the_report_of_its_run(run, study):
    words = ["saliency=tower", "parts=[saliency]", "n_steps=16", *given(study)]
    assert cli.main(["analyse", str(run), "where", *words, "--quiet", "--n-jobs", "1"]) == 0
    (folder,) = (run / "analyses").glob("where-*")
    data = read_json(folder / "analysis.json")
    with open_h5(folder / "analysis.h5", "neurovis-analysis") as file:
        found = {s: file[f"{s}/saliency"][()] for s in ("01", "02")}
    for e in data["saliency"]:
        assert e["decoder"] == "tower"
        assert abs(e["short"]) < 1e-3
        one = found[e["subject"]][list(PLACE).index(e["level"])]
        assert one.sum() == pytest.approx(e["explained"], abs=2e-3)
        assert one.sum(1).argmax() in strongest_of(e["level"], 6)
    page = report_run(run, quiet=True).read_text()
    assert 'id="where"' in page
    assert "Integrated gradients of the tower decoder" in page


def test_a_tower_is_asked_for_what_it_was_trained_on(run, study, capsys):
    path = f"data.path={study.parent / 'prepared'}"
    low = f"targets={{low: {{encoder: low, embeddings: {study.parent / 'low.h5'}}}}}"
    for words, said in (
        (["model=tower", low, path], "expected those of the run"),
        (["model=tower", "bin=0.02", "step=0.02", *given(study)], "neither with the run's tower"),
        (["model=tower"], "data.path"),
    ):
        assert cli.main(["analyse", str(run), "when", *words, "--quiet"]) in (1, 2)
        assert said in capsys.readouterr().err


def test_other_recordings_than_the_runs_are_refused(run, tmp_path, capsys):
    other = write_study(tmp_path, n_train=60, n_test=12, seed=5)
    config = tmp_path / "prepared" / "config.yaml"
    config.write_text(config.read_text() + "changed: 1\n")
    words = [*given(other), "--quiet"]
    assert cli.main(["analyse", str(run), "amount", *words]) == 1
    assert "trained on other recordings" in capsys.readouterr().err
