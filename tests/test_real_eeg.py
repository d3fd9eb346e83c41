"""Real recordings, from the raw CSV with its marker column to the report, by the commands.

One person, four electrodes; which picture of a category was shown is not known. Bounds lie below what
plain linear methods reach (areas under the curve of about 0.70 and 0.80), so that a break of the
chain shows and nothing is tuned on the recordings left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from neurovis.cli import main
from neurovis.evaluate import read_scores
from neurovis.records import Prediction, Split, Stimuli
from neurovis.store import read_json

SETS = {
    "faces_houses": {
        "markers": "{1: house, 2: face}",
        "pictures": "{house: stimuli/houses/*.jpg, face: stimuli/faces/*.jpg}",
        # the experiment's own tower, trained for a few epochs
        "changes": ["train.epochs=8", "train.batch_size=32"],
        "n_recordings": 6,
        "least": 0.62,
    },
    "cats_dogs": {
        "markers": "{1: dog, 2: cat}",
        "pictures": "{dog: stimuli/nontarget*.jpg, cat: stimuli/target*.jpg}",
        "changes": ["brain=ridge"],
        "n_recordings": 16,
        "least": 0.70,
    },
}


def command(*words: object) -> None:
    assert main([*map(str, words), "--quiet"]) == 0


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module", params=SETS)
def run(request, real_data, tmp_path_factory) -> tuple[str, Path]:
    """A data set's name and its run, from raw recordings to the report."""
    name = request.param
    root = real_data / f"eeg_{name}"
    if not root.is_dir():
        pytest.skip(f"no eeg_{name}")
    given, out = SETS[name], tmp_path_factory.mktemp(name)
    options = [f"{key}={given[key]}" for key in ("markers", "pictures")]
    command("preprocess", "lsl-csv", "--root", root, "--out", out, *options)
    data = f"data.path={only(out / 'prepared')}"
    experiment = ROOT / "experiments" / f"{name}.yaml"
    command("train", experiment, "--out", out, data, "device=cpu", *given["changes"])
    folder = only(out / "runs")
    command("report", folder)
    return name, folder


def scores_of(run: Path, system: str) -> dict:
    plain = [s for s in read_scores(run) if "comparison" not in s.about]
    return {s.name: s for s in plain if (s.about["system"], s.about["subject"]) == (system, "all")}


def test_categories_are_told_apart_beyond_chance_and_shuffled_labels_are_not(run):
    name, folder = run
    for system in ("tower", "ridge"):
        found = scores_of(folder, system)
        assert set(found) == {"auc", "2-way"}
        for score in found.values():
            assert score.chance == 0.5 < score.low < score.value < score.high
        area = found["auc"]
        assert area.value > SETS[name]["least"]
        # one person and few recordings: an interval that claims more would not be honest
        assert area.high - area.low > 0.03
        assert len(area.per_item) == len(area.about["recordings"]) == SETS[name]["n_recordings"]
        assert np.mean(area.per_item) == pytest.approx(area.value, abs=1e-4)
    control = scores_of(folder, "shuffled")["auc"]
    assert control.low <= 0.5 <= control.high
    assert read_json(folder / "scores.json")["control_at_chance"] is True


def test_every_trial_is_predicted_once_by_models_that_never_saw_its_recording(run):
    name, folder = run
    folds = Split.read_folds(folder)
    assert len(folds) == SETS[name]["n_recordings"]
    assert sorted(i for fold in folds for i in fold.test) == sorted(
        {i for fold in folds for i in (*fold.train, *fold.validation)}
    )
    for fold in folds:
        assert not {*fold.test} & {*fold.train, *fold.validation}
    rows = [
        Prediction.read(folder / "systems" / system / "prediction.h5")
        for system in ("tower", "ridge", "shuffled")
    ]
    for one in rows:
        assert (one.n_averaged == 1).all()
        np.testing.assert_array_equal(one.image, rows[0].image)
        np.testing.assert_array_equal(one.recording, rows[0].recording)
    assert set(rows[0].recording) == {i for fold in folds for i in fold.test}
    stimuli = Stimuli.read(folder / "stimuli.csv")
    assert stimuli.category.all()


def test_the_report_stands_alone_and_says_what_is_known(run):
    _, folder = run
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Single trials told" in page
    assert "not which picture" in page
    assert "Recording by recording" in page
    assert "at chance" in page
    for recording in scores_of(folder, "tower")["auc"].about["recordings"]:
        assert recording.removeprefix("01/") in page
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"|url\(([^)]*)\)", page)
    assert sources
    assert all(a.startswith("#") or (a or b).strip("\"'").startswith("data:") for a, b in sources)
    assert str(folder.parent.parent) not in page
    assert "@import" not in page
