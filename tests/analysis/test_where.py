"""Planted places come back by every way of looking; nothing is chosen on test images."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from planted_study import N_CHANS, PLACE, positions, strongest_of, topography, write_study

from neurovis import cli
from neurovis.analysis import greedy, places, where_fits
from neurovis.analysis.base import PART, assess, lay_out, two_way
from neurovis.analysis.command import configured
from neurovis.analysis.where import where
from neurovis.batches import Recordings
from neurovis.brain.ridge import Ridge
from neurovis.errors import NeurovisError
from neurovis.records import Score
from neurovis.report import report_run
from neurovis.store import open_h5, read_h5, read_json

REGIONS = "regions={back: [%s], left: [%s], rest: [%s]}"


def named():
    back, left = strongest_of("low", 5), strongest_of("high", 5)
    rest = np.setdiff1d(np.arange(N_CHANS), [*back, *left])
    return REGIONS % tuple(", ".join(f"MEG{i:03d}" for i in some) for some in (back, left, rest))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("where"), n_train=120, n_test=32, noise=1.5)


@pytest.fixture(scope="module")
def made(study, tmp_path_factory):
    words = [named(), "n_permutations=60", "n_sensors=6", "n_random=4", "n_steps=4", "bin=0.02"]
    config, run = configured(str(study), "where", [*words, "radius=0.05", "greedy_bins=5"])
    return where(config, tmp_path_factory.mktemp("out"), run, quiet=True)


@pytest.fixture(scope="module")
def data(made):
    return read_json(made / "analysis.json", "neurovis-analysis")


@pytest.fixture(scope="module")
def arrays(made):
    with open_h5(made / "analysis.h5", "neurovis-analysis") as file:
        return {f"{s}/{k}": v[()] for s in ("01", "02", "all") for k, v in file[s].items()}


def entry(data, level, region, subject="all"):
    (found,) = (
        e
        for e in data["ablation"]
        if (e["level"], e["region"], e["subject"]) == (level, region, subject)
    )
    return found


@pytest.mark.parametrize(
    ("level", "home", "other"), [("low", "back", "left"), ("high", "left", "back")]
)
def test_planted_regions_come_back(data, level, home, other):
    for subject in ("all", "01", "02"):
        here = entry(data, level, home, subject)
        alone = {
            r: entry(data, level, r, subject)["keep"][0]["value"] for r in ("back", "left", "rest")
        }
        assert max(alone, key=alone.get) == home
        lost = {r: entry(data, level, r, subject)["loses"]["value"] for r in alone}
        assert max(lost, key=lost.get) == home
        assert here["loses"]["low"] > 0
        assert alone[home] > alone[other] + 0.1
    whole = entry(data, level, "all")
    assert whole["n_chans"] == [N_CHANS, N_CHANS]
    assert whole["leave"] is None
    assert whole["keep"][0]["value"] > alone[other]


def test_shuffled_labels_stay_below_the_threshold_of_all_regions(data):
    for e in data["ablation"]:
        if e["subject"] == "all":
            assert e["control"][0]["value"] <= e["threshold"] < e["keep"][0]["value"] + 0.2


def test_a_loss_is_the_difference_of_paired_scores(data):
    for region in ("back", "left", "rest"):
        e = entry(data, "low", region)
        whole = entry(data, "low", "all")["keep"][0]
        lost = Score.from_dict(e["loses"])
        assert lost.value == pytest.approx(whole["value"] - e["leave"][0]["value"])
        assert lost.low <= lost.value <= lost.high
        assert lost.chance == 0


@pytest.mark.parametrize("level", PLACE)
@pytest.mark.parametrize("kind", ["searchlight", "pattern"])
def test_maps_are_like_what_was_planted(arrays, level, kind):
    for subject in ("01", "02"):
        found = arrays[f"{subject}/{kind}"][list(PLACE).index(level)]
        found = np.sqrt((found**2).mean(1)) if found.ndim == 2 else found
        assert np.corrcoef(found, topography(level))[0, 1] > 0.6
        assert found.argmax() in strongest_of(level, 6)


@pytest.mark.parametrize("level", PLACE)
def test_saliency_points_to_the_planted_sensors_and_adds_up(arrays, data, level):
    for subject in ("01", "02"):
        (about,) = (e for e in data["saliency"] if (e["level"], e["subject"]) == (level, subject))
        found = arrays[f"{subject}/saliency"][list(PLACE).index(level)]
        assert found.sum() == pytest.approx(about["explained"], abs=about["short"] + 1e-4)
        assert about["short"] < 1e-4  # a linear decoder: exact but for rounding
        assert 0 < about["explained"] < 1
        assert found.sum(1).argmax() in strongest_of(level, 6)


def test_the_searchlight_says_how_many_places_pass(data, arrays):
    for e in data["searchlight"]:
        found = arrays[f"{e['subject']}/searchlight"][list(PLACE).index(e["level"])]
        assert e["n_above"] == (found > e["threshold"]).sum()
        assert 0 < e["n_above"] < e["n_places"] == N_CHANS
        assert e["chance"] == 0.5


def test_chosen_sensors_are_planted_ones_and_beat_random_ones(data):
    (found,) = data["greedy"]
    assert len(found["order"]) == len(set(found["order"])) == 6
    planted = {f"MEG{i:03d}" for level in PLACE for i in strongest_of(level, 7)}
    assert set(found["order"][:4]) <= planted
    assert found["validation"] == sorted(found["validation"])
    point = next(p for p in found["points"] if p["n_sensors"] == 4 and p["level"] == "low")
    both = [p for p in found["points"] if p["n_sensors"] == 4]
    chosen = np.mean([p["chosen"]["value"] for p in both])
    random = np.mean([r["value"] for p in both for r in p["random"]])
    assert chosen > random + 0.05
    assert len(point["random"]) == 4


def test_choosing_looks_at_no_test_image(study, tmp_path):
    """With the test signals replaced by noise the same sensors are chosen."""
    config, _ = configured(str(study), "where", [])
    recordings = Recordings(config.data)
    layout = lay_out(config, recordings, tmp_path / "a", study.parent, quiet=True)
    where_fits.choose(layout, np.arange(N_CHANS), 5, 3, tmp_path / "first.h5")
    for subject in layout.subjects:
        path = layout.folder / f"{subject}-test.npy"
        np.save(path, np.random.default_rng(0).standard_normal(np.load(path).shape))
    where_fits.choose(layout, np.arange(N_CHANS), 5, 3, tmp_path / "second.h5")
    first, second = (
        read_h5(tmp_path / f"{n}.h5", PART, ("order", "score")) for n in ("first", "second")
    )
    np.testing.assert_array_equal(first["order"], second["order"])
    np.testing.assert_array_equal(first["score"], second["score"])
    recordings.close()


def test_a_set_is_scored_as_ridge_scores_it():
    from sklearn.linear_model import Ridge as Other

    rng = np.random.default_rng(0)
    x, held = rng.standard_normal((60, 12)), rng.standard_normal((20, 12))
    weight = rng.standard_normal((12, 3))
    y = x @ weight + rng.standard_normal((60, 3))
    wanted = held @ weight + rng.standard_normal((20, 3))
    middle, aim = x.mean(0), y.mean(0)
    c = x - middle
    data = greedy.Products(c.T @ c, c.T @ (y - aim), held - middle, wanted - aim, 60)
    some = np.array([0, 1, 6, 7])
    scale = 0.4 * np.trace(c[:, some].T @ c[:, some]) / 60
    said = Other(alpha=scale).fit(x[:, some], y).predict(held[:, some])
    value = np.mean([np.corrcoef(said[:, i], wanted[:, i])[0, 1] for i in range(3)])
    assert data.score(some, 0.4) == pytest.approx(value, abs=1e-8)


def test_each_step_takes_the_best_sensor_there_is():
    rng = np.random.default_rng(1)
    x, held = rng.standard_normal((80, 5)), rng.standard_normal((30, 5))
    weight = np.array([[0.0], [3.0], [0.1], [1.0], [0.0]])
    y, wanted = x @ weight, held @ weight
    c = x - x.mean(0)
    data = greedy.Products(c.T @ c, c.T @ (y - y.mean(0)), held - x.mean(0), wanted, 80)
    order, score = greedy.select([data], 5, 3)
    assert order[:2] == [1, 3]
    best = max(
        data.score(np.array(pair), p)
        for pair in combinations(range(5), 2)
        for p in greedy.PENALTIES
    )
    assert score[1] == pytest.approx(best, abs=1e-6)


def test_a_searchlight_is_a_fit_of_its_channels(study, tmp_path):
    config, _ = configured(str(study), "where", ["bin=0.05"])
    recordings = Recordings(config.data)
    layout = lay_out(config, recordings, tmp_path, study.parent, quiet=True)
    recordings.close()
    near = places.around(positions(), 0.05)
    for i, some in enumerate(near):
        apart = np.linalg.norm(positions() - positions()[i], axis=1)
        np.testing.assert_array_equal(some, np.flatnonzero(apart <= 0.05))
    where_fits.fit_lights(layout, Ridge(), "01", near[:2], 25, tmp_path / "light.h5")
    found = read_h5(tmp_path / "light.h5", PART, ("score", "n_chans"))
    model = Ridge().build().fit(layout.signal("01", "fit")[:, near[1]], layout.aims("01"))
    said = layout.parts(model.predict(layout.signal("01", "test")[:, near[1]]))[1]
    wanted = assess(layout, "01", 1, said, 0)
    value = two_way(wanted["above"], wanted["tied"], len(layout.gallery)).mean()
    assert found["score"][1, 1] == pytest.approx(value)
    assert found["n_chans"].tolist() == [len(near[0]), len(near[1])]


def test_parts_of_a_head_are_where_they_are_called():
    spot = np.array(
        [
            [-1, -1, 0],
            [1, -1, 0],
            [-1, 0, 0],
            [1, 0, 0],
            [0, 1, 0],
            [0.1, 0, 1],
            [-0.2, -1, 0.1],
            [0, 0.1, 1],
        ]
    )
    spot = 0.1 * spot / np.linalg.norm(spot, axis=1, keepdims=True) + [0, 0, 0.04]
    found = places._by_position(np.vstack([spot, [[np.nan] * 3]]))
    assert {k: v.tolist() for k, v in found.items()} == {
        "back left": [0, 6], "back right": [1], "side left": [2], "side right": [3], "front": [4],
        "top": [5, 7],
    }  # fmt: skip


def test_regions_by_position_are_used_where_none_are_named(study, tmp_path):
    config, run = configured(str(study), "where", ["parts=[ablation]", "n_permutations=40"])
    found = read_json(where(config, tmp_path, run, quiet=True) / "analysis.json")
    alone = {
        e["region"]: e["keep"][0]["value"]
        for e in found["ablation"]
        if e["level"] == "low" and e["subject"] == "all" and e["region"] != "all"
    }
    assert max(alone, key=alone.get) in ("back left", "back right")
    assert found["searchlight"] == []


def test_unknown_positions_are_refused(tmp_path):
    spot = positions()
    spot[3] = np.nan
    with pytest.raises(NeurovisError, match="known positions, found 1 without"):
        places.around(spot, 0.05)
    with pytest.raises(NeurovisError, match="name them by patterns"):
        places._by_position(np.full((20, 3), np.nan))


def test_the_command_and_the_report(made, data, study, tmp_path, capsys):
    words = [
        "analyse",
        str(study),
        "where",
        "parts=[ablation]",
        named(),
        "n_permutations=40",
        "--quiet",
    ]
    assert cli.main([*words, "--out", str(tmp_path), "--n-jobs", "1"]) == 0
    assert "without it" in capsys.readouterr().out
    page = report_run(made, tmp_path / "r.html", quiet=True).read_text()
    for said in ("What is lost without it", "Searchlight", "Activation pattern", "Few sensors"):
        assert said in page
    assert page.count("data:image/png;base64") == 2 * 2 * 3
    value = entry(data, "low", "back")["keep"][0]["value"]
    assert f"{100 * value:.1f}\u202f%" in page
