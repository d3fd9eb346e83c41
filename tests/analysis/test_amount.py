"""Scores rise with data as they should, parts are parts, and no test image teaches."""

from __future__ import annotations

import numpy as np
import pytest
from planted_study import N_CHANS, write_study

from neurovis import cli
from neurovis.analysis import amount_fits
from neurovis.analysis.amount import amount
from neurovis.analysis.base import PART, assess, lay_out
from neurovis.analysis.command import configured
from neurovis.batches import Recordings
from neurovis.brain.ridge import Ridge
from neurovis.records import Score
from neurovis.report import report_run
from neurovis.store import read_h5, read_json


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("amount")
    return write_study(folder, n_train=150, n_test=32, repeats=(4, 8), noise=5.0)


@pytest.fixture(scope="module")
def made(study, tmp_path_factory):
    words = ["bin=0.05", "n_permutations=20", "n_points=5", "n_bootstrap=20", "draws=2"]
    config, run = configured(str(study), "amount", words)
    return amount(config, tmp_path_factory.mktemp("out"), run, quiet=True)


@pytest.fixture(scope="module")
def data(made):
    return read_json(made / "analysis.json", "neurovis-analysis")


def test_every_kind_of_data_has_a_curve_per_level(data):
    found = {(c["of"], c["level"]): [p["n"] for p in c["points"]] for c in data["curves"]}
    assert len(found) == 10
    assert found["repeats", "low"] == [1, 2, 4]
    assert found["test_repeats", "high"] == [1, 2, 4, 8]
    assert found["subjects", "low"] == [1, 2]
    assert found["images", "low"][-1] == 150
    assert found["channels", "low"][-1] == N_CHANS


@pytest.mark.parametrize("of", ["images", "repeats", "test_repeats", "subjects", "channels"])
def test_more_is_better(data, of):
    for c in data["curves"]:
        if c["of"] == of:
            value = [Score.from_dict(p["scores"][0]).value for p in c["points"]]
            assert value[-1] > value[0] + 0.01


def test_scores_say_what_they_are(data):
    for c in data["curves"]:
        for p in c["points"]:
            score = Score.from_dict(p["scores"][0])
            assert score.n == 32
            assert score.name == "2-way"
            assert score.low <= score.value <= score.high
            assert score.about["amount"] == p["n"]
        assert c["fit"]["said"]


def test_the_whole_is_the_same_by_every_way(data):
    """All images, all channels, all repeats: one model, one score."""
    for level in ("low", "high"):
        last = {
            c["of"]: c["points"][-1]["scores"][0]["value"]
            for c in data["curves"]
            if c["level"] == level and c["of"] != "subjects"
        }
        one = next(c for c in data["curves"] if c["of"] == "subjects" and c["level"] == level)
        last["subjects"] = one["points"][0]["scores"][0]["value"]
        assert np.ptp(list(last.values())) < 0.004, last


@pytest.fixture(scope="module")
def layout(study, tmp_path_factory):
    config, _ = configured(str(study), "amount", ["bin=0.1"])
    recordings = Recordings(config.data)
    found = lay_out(config, recordings, tmp_path_factory.mktemp("p"), study.parent, quiet=True)
    yield found, recordings
    recordings.close()


@pytest.mark.parametrize("of", ["images", "channels"])
def test_a_part_is_a_fit_of_the_part(layout, of, tmp_path):
    found, _ = layout
    amount_fits.fit_part(found, Ridge(), "02", of, 12, 1, tmp_path / "x.h5")
    x, y, new = found.signal("02", "fit"), found.aims("02"), found.signal("02", "test")
    some = amount_fits.drawn(found, of, 12, 1, len(x) if of == "images" else N_CHANS)
    assert len(set(some.tolist())) == 12
    if of == "images":
        x, y = x[some], y[some]
    else:
        x, new = x[:, some], new[:, some]
    said = Ridge().build().fit(x, y).predict(new)
    wanted = assess(found, "02", 1, found.parts(said)[1], 0)["above"]
    np.testing.assert_array_equal(read_h5(tmp_path / "x.h5", PART, ("above",))["above"][1], wanted)


def test_parts_of_one_draw_hold_each_other(layout):
    found, _ = layout
    small, large = (amount_fits.drawn(found, "images", n, 0, 100) for n in (20, 60))
    assert set(small) <= set(large)
    assert set(small) != set(amount_fits.drawn(found, "images", 20, 1, 100))


def test_repeats_are_means_of_so_many(layout):
    found, recordings = layout
    amount_fits.lay_repeats(recordings, found, "01", [2, 8], 2)
    items = amount_fits._mine(recordings, "01", "test")
    all_ = np.load(found.folder / "01-test_repeats-000008-00.npy")
    np.testing.assert_allclose(all_, found.signal("01", "test"), atol=1e-6)
    two = np.load(found.folder / "01-test_repeats-000002-01.npy")
    single = recordings.read(0, items[0][1])
    single = single.reshape(8, N_CHANS, 5, 10).mean(3)
    pairs = [(single[i] + single[j]) / 2 for i in range(8) for j in range(i)]
    assert min(np.abs(pair - two[0]).max() for pair in pairs) < 1e-5


def test_people_are_summed_by_their_cosines(layout, tmp_path):
    found, _ = layout
    for subject in found.subjects:
        path = amount_fits.part(found.folder, subject, "whole", 0, 0)
        amount_fits.fit_whole(found, Ridge(), subject, [], 1, path)
    (rows,) = amount_fits.rows_at(found, "subjects", 2, True, 1, 0)
    total = 0.0
    for subject in found.subjects:
        model = Ridge().build().fit(found.signal(subject, "fit"), found.aims(subject))
        said = found.parts(model.predict(found.signal(subject, "test")))[0]
        total = total + found.similarity(0, said)
    true = total[np.arange(32), rows["item"]][:, None]
    np.testing.assert_array_equal(rows["above"], (total > true).sum(1))


def test_the_command_and_the_report(made, study, tmp_path, capsys):
    words = ["analyse", str(study), "amount", "of=[images, subjects]", "bin=0.1", "n_points=3"]
    words += [
        "n_permutations=20",
        "n_bootstrap=20",
        "--quiet",
        "--n-jobs",
        "1",
        "--out",
        str(tmp_path),
    ]
    assert cli.main(words) == 0
    assert "twice as much would give" in capsys.readouterr().out
    page = report_run(made, tmp_path / "r.html", quiet=True).read_text()
    assert "Two-way retrieval against training images" in page
    assert "An extrapolation is no measurement" in page
    assert page.count("<svg") >= 5
