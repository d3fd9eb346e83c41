"""Planted latencies come back, shuffled labels stay flat, an interrupted analysis goes on."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from planted_study import PEAK, WIDTH, write_study

from neurovis import cli
from neurovis.analysis import windows
from neurovis.analysis.command import configured
from neurovis.analysis.when import when
from neurovis.records import Score
from neurovis.report import report_run
from neurovis.store import read_h5, read_json

QUICK = ["n_permutations=99", "n_bootstrap=200", "n_shuffles=12"]
COARSE = [*QUICK, "step=0.04", "growing_step=0.1"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("when"), noise=1.5)


@pytest.fixture(scope="module")
def made(study, tmp_path_factory):
    config, run = configured(str(study), "when", [*QUICK, "generalise=false"])
    return when(config, tmp_path_factory.mktemp("out"), run, quiet=True)


@pytest.fixture(scope="module")
def coarse(study, tmp_path_factory):
    config, run = configured(str(study), "when", COARSE)
    return when(config, tmp_path_factory.mktemp("out"), run, quiet=True)


@pytest.fixture(scope="module")
def data(made):
    return read_json(made / "analysis.json", "neurovis-analysis")


def curve(data, level, kind="sliding", control=False, subject="all"):
    wanted = {"level": level, "kind": kind, "control": control, "subject": subject}
    (found,) = (c for c in data["curves"] if all(c[k] == v for k, v in wanted.items()))
    return found


def latency(found):
    return {one["name"]: one for one in found["latencies"]}


@pytest.mark.parametrize("level", PEAK)
def test_planted_latencies_come_back_within_20_ms(data, level):
    half = WIDTH[level] * np.sqrt(2 * np.log(2))
    for subject in ("all", "01", "02"):
        found = latency(curve(data, level, subject=subject))
        assert abs(found["peak"]["value"] - PEAK[level]) <= 0.02
        assert abs(found["middle"]["value"] - PEAK[level]) <= 0.02
        assert found["onset"]["value"] <= found["peak"]["value"] <= found["offset"]["value"]
        # a credit saturates: half of it is reached further out than half of the amplitude
        assert PEAK[level] - 3 * half <= found["rise"]["value"] <= PEAK[level] - half + 0.02
        assert PEAK[level] + half - 0.02 <= found["fall"]["value"] <= PEAK[level] + 3 * half
        for one in found.values():
            assert one["low"] <= one["high"]
    pooled = latency(curve(data, level))["peak"]
    assert pooled["low"] - 0.01 <= PEAK[level] <= pooled["high"] + 0.01


def test_levels_are_told_apart_in_time(data):
    low, high = (latency(curve(data, level)) for level in ("low", "high"))
    assert low["peak"]["high"] < high["peak"]["low"]


@pytest.mark.parametrize("kind", ["sliding", "growing"])
@pytest.mark.parametrize("level", PEAK)
def test_shuffled_labels_stay_flat(data, level, kind):
    flat = curve(data, level, kind, control=True)
    value = np.array([window[0]["value"] for window in flat["scores"]])
    assert (value <= flat["threshold"]).all()
    assert {one["value"] for one in flat["latencies"]} == {None}
    assert min(flat["p"]) > 0.05
    for subject in ("all", "01", "02"):
        # 24 curves: one in twenty may pass its threshold by chance, none by much
        flat = curve(data, level, kind, control=True, subject=subject)
        true = curve(data, level, kind, subject=subject)
        value = np.array([window[0]["value"] for window in flat["scores"]])
        best = max(window[0]["value"] for window in true["scores"])
        assert best > true["threshold"] + 0.1
        assert value.max() < 0.5 + 0.4 * (best - 0.5)


def test_nothing_is_there_before_the_picture(data):
    for level in PEAK:
        found = curve(data, level)
        before = [i for i, t in enumerate(found["times"]) if t < PEAK[level] - 4 * WIDTH[level]]
        assert len(before) > 2
        assert all(found["scores"][i][0]["value"] <= found["threshold"] for i in before)


def test_every_score_says_what_it_is(data):
    for c in data["curves"]:
        for window in c["scores"]:
            for entry in window:
                score = Score.from_dict(entry)
                assert score.n == 40
                assert score.low <= score.value <= score.high
                assert score.gallery == "40 test images (shown image)"
                assert "means of 4 trials" in score.protocol
                assert "one ridge regression per window" in score.protocol
    names = {s["name"]: s["chance"] for s in data["curves"][0]["scores"][0]}
    assert names == {"2-way": 0.5, "top1": 1 / 40, "top5": 5 / 40}


def test_growing_windows_know_more_and_more(data):
    found = curve(data, "low", "growing")
    value = [window[0]["value"] for window in found["scores"]]
    assert value[0] <= found["threshold"] < value[-1]
    lags = latency(found)
    assert PEAK["low"] - 0.06 <= lags["onset"]["value"] <= PEAK["low"] + 0.06
    assert lags["most"]["value"] <= lags["peak"]["value"]


def test_what_lasts_generalises_and_what_moves_on_does_not(coarse):
    data = read_json(coarse / "analysis.json")
    score = read_h5(coarse / "analysis.h5", "neurovis-analysis", ("general/score",))[
        "general/score"
    ]
    for level, name in enumerate(PEAK):
        sliding = curve(data, name)
        own = [window[0]["value"] for window in sliding["scores"]]
        np.testing.assert_allclose(np.diagonal(score[level]), own, atol=1e-6)
        about = data["general"][level]
        # a threshold for all pairs is above that for the diagonal alone
        assert about["threshold"] >= sliding["threshold"]
        # one topography per level: what one window learns holds in the others of that level
        peak = int(np.argmin(np.abs(np.array(sliding["times"]) - PEAK[name])))
        assert (
            score[level][peak, peak + (1 if sliding["times"][peak] < PEAK[name] else -1)]
            > about["threshold"]
        )
        assert about["furthest"] < 0.35


def test_a_stopped_analysis_goes_on_and_ends_the_same(study, coarse, tmp_path, monkeypatch):
    config, run = configured(str(study), "when", COARSE)
    real, calls = windows.fit_window, []

    def stops(*about):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(about)
        real(*about)

    monkeypatch.setattr(windows, "fit_window", stops)
    with pytest.raises(KeyboardInterrupt):
        when(config, tmp_path, run, quiet=True)
    (partial,) = (tmp_path / "analyses").iterdir()
    assert partial.name.startswith(".")
    monkeypatch.setattr(windows, "fit_window", lambda *a: (calls.append(a), real(*a)))
    folder = when(config, tmp_path, run, quiet=True)
    n_windows = 2 * len(curve(read_json(coarse / "analysis.json"), "low")["times"])
    assert len(calls) == n_windows  # none twice
    assert (folder / "analysis.json").read_text() == (coarse / "analysis.json").read_text()
    assert not (folder / "parts").exists()
    assert folder.name == coarse.name
    monkeypatch.setattr(windows, "fit_window", stops)
    assert when(config, tmp_path, run, quiet=True) == folder  # complete: nothing is done


def test_one_masked_model_says_so_and_finds_the_same_times(study, tmp_path):
    config, run = configured(
        str(study), "when", [*QUICK, "model=masked", "kinds=[sliding]", "step=0.02"]
    )
    found = read_json(when(config, tmp_path, run, quiet=True) / "analysis.json")
    assert found["general"] == []
    for level, peak in PEAK.items():
        one = curve(found, level)
        assert abs(latency(one)["peak"]["value"] - peak) <= 0.02
        assert "whole epoch" in one["scores"][0][0]["protocol"]


def test_the_command_and_the_report(study, tmp_path, capsys):
    words = ["analyse", str(study), "when", "width=0.05", "step=0.05", *QUICK, "--quiet"]
    words += ["--out", str(tmp_path), "--n-jobs", "1"]
    assert cli.main([*words, "--print-config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["width"] == 0.05
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "onset" in said
    folder = next((tmp_path / "analyses").glob("when-*"))
    assert (folder / "provenance.json").is_file()
    assert (folder / "config.yaml").is_file()
    page = report_run(folder, quiet=True).read_text()
    assert "Half rise (ms)" in page
    assert "shuffled labels" in page
    assert "Nichols" in page


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["when", "width=9"], "whole epoch", 2),
        (["when", "step=0.001"], "step: expected at least", 2),
        (["when", "windth=0.1"], "did you mean 'width'", 2),
        (["when", "model=tower"], "expected a run", 2),
        (["when", "apart=true", "targets={low: gabor}"], "apart", 2),
        (["when", "n_permutations=3"], "n_permutations", 2),
        (["when", "level=0.001", "n_permutations=99"], "expected at least 999", 2),
        (["where", "regions={all: [MEG*]}"], "another name", 2),
        (["when", "data.path=nowhere"], "data.path", 1),
        (["where", "regions={back: [XYZ*]}"], "matches no channel", 2),
        (["amount", "of=[subjects]", "data.subjects=['01']"], "one alone", 2),
    ],
)
def test_bad_input_is_one_sentence(study, tmp_path, capsys, words, said, code):
    done = cli.main(["analyse", str(study), *words, "--out", str(tmp_path), "--quiet"])
    err = capsys.readouterr().err
    assert said in err
    assert done == code
    assert len(err.strip().splitlines()) == 1


def test_a_source_that_is_neither_run_nor_yaml_is_refused(tmp_path, capsys):
    assert cli.main(["analyse", str(tmp_path), "when"]) == 2
    assert "neurovis train finished" in capsys.readouterr().err
    assert cli.main(["analyse", str(tmp_path / "no.yaml"), "when"]) == 2
    assert "no such file" in capsys.readouterr().err
