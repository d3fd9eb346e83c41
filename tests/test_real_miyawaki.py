"""Figures that one person saw, reconstructed to pixels and identified, by the commands.

797 voxels of V1, 10 figures, 8 repeats. A plain ridge whose penalty is not fitted to the figures names
0.58 of them (chance 0.10), one whose penalty is chosen on training trials more: bounds lie where a
break of the chain shows. Figures that were never in training are not found beyond chance: nine
figures are too few to learn pixels from, and the report must say so.
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
from neurovis.store import read_h5, read_json

CHANCE, EXPECTED = 0.10, 0.58


def command(*words: object) -> None:
    assert main([*map(str, words), "--quiet"]) == 0


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def finished(real_data: Path, out: Path, *options: str) -> Path:
    """A run from the file to the report."""
    root = real_data / "fmri_miyawaki"
    if not root.is_dir():
        pytest.skip("no fmri_miyawaki")
    command("preprocess", "miyawaki", "--root", root, "--out", out, *options)
    data = f"data.path={only(out / 'prepared')}"
    command("train", ROOT / "experiments" / "miyawaki.yaml", "--out", out, data, "device=cpu")
    command("report", only(out / "runs"))
    return only(out / "runs")


@pytest.fixture(scope="module")
def run(real_data, tmp_path_factory) -> Path:
    return finished(real_data, tmp_path_factory.mktemp("repeats"))


def top1(run: Path, system: str, n_averaged: int = 1):
    (found,) = [
        s for s in read_scores(run)
        if s.name == "top1" and "comparison" not in s.about
        and (s.about["system"], s.about["subject"], s.about["n_averaged"]) == (system, "all", n_averaged)
    ]  # fmt: skip
    return found


def test_figures_are_identified_and_shuffled_labels_are_not(run):
    found = top1(run, "tower")
    assert found.chance == pytest.approx(CHANCE)
    assert found.high >= EXPECTED
    assert found.value > EXPECTED
    assert found.low > CHANCE
    control = top1(run, "shuffled")
    assert control.low <= CHANCE <= control.high
    assert read_json(run / "scores.json")["control_at_chance"] is True


def test_two_repeats_left_out_together_are_still_identified(real_data, tmp_path):
    """What is near in time is not in training either: the score rests on no neighbour."""
    run = finished(real_data, tmp_path, "--recipe", "two-repeats")
    assert len(Split.read_folds(run)) == 4
    assert top1(run, "tower").value > EXPECTED
    assert top1(run, "tower").protocol.startswith("two-repeats, 4 folds")


def test_every_trial_is_reconstructed_once_without_its_repeat(run):
    folds = Split.read_folds(run)
    assert len(folds) == 8
    for fold in folds:
        assert not {*fold.test} & {*fold.train, *fold.validation}
    rows = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    names, counts = np.unique(rows.image, return_counts=True)
    assert len(names) == 10
    assert (counts == 8).all()
    pairs = {*zip(rows.image.tolist(), rows.recording.tolist())}
    assert len(pairs) == 80


def test_reconstructions_are_the_figures(run):
    """Pixels of the mean reconstruction against those of the figure, read from the picture itself."""
    from PIL import Image

    made = read_h5(
        run / "systems" / "tower" / "reconstruction.h5",
        "neurovis-reconstruction",
        ("image", "picture/pixels"),
    )
    assert made["picture/pixels"].shape == (80, 10, 10, 3)
    stimuli = Stimuli.read(only(run.parent.parent / "prepared") / "stimuli.csv")
    for row, image in enumerate(stimuli.image.tolist()):
        seen = np.asarray(Image.open(stimuli.files(row)[0]), float)[8::16, 8::16] / 255
        mean = made["picture/pixels"][made["image"] == image, :, :, 0].mean(axis=0) / 255
        assert np.corrcoef(seen.ravel(), mean.ravel())[0, 1] > 0.8


def test_the_report_shows_them_side_by_side(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Seen and reconstructed" in page
    section = page.split('id="reconstructions"')[1].split("</section>")[0]
    tiles = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]+)"', section)
    assert len(tiles) == 160  # the control's, too
    assert tiles[0] == "small-square reconstructed, ses-01_run-01"
    assert "96" in page.split("<h1")[1].split("</h1>")[0]


def test_a_figure_never_seen_in_training_is_another_question(real_data, tmp_path):
    run = finished(real_data, tmp_path, "--recipe", "new-figure")
    found = top1(run, "tower", 8)
    assert found.chance == pytest.approx(CHANCE)
    assert found.low <= CHANCE
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "not found beyond chance" in re.sub("<[^>]+>", "", page.replace("\n", " "))
