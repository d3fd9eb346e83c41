"""Real BOLD of one person seeing eight categories, from the files to the report, by the commands.

Both layouts: one file with a label per volume (half a slice), and the tree with a run per folder (one
slice, and the whole brain at 25 mm). Bounds lie below what plain linear methods reach (0.72, 0.61 and
0.22; chance 0.125), so that a break of the chain shows and nothing is tuned on the runs left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from neurovis.cli import main
from neurovis.evaluate import read_scores
from neurovis.records import Split, Stimuli, Trials
from neurovis.signals.fmri.subject import read_voxels
from neurovis.store import read_json

MASKS = "sub{subject}/masks/25mm/"
SETS = {
    "slab": ("labelled-volumes", ".", [], 0.72, 530),
    "slice": ("openfmri", "haxby2001", ["bold=bold_1slice.nii.gz"], 0.61, 530),
    "brain": (
        "openfmri", "haxby2001",
        ["bold=bold_25mm.nii.gz", f"mask={MASKS}brain.nii.gz", f"rois={MASKS}*.nii.gz"], 0.22, 129,
    ),
}  # fmt: skip


def command(*words: object) -> None:
    assert main([*map(str, words), "--quiet"]) == 0


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module", params=SETS)
def run(request, real_data, tmp_path_factory) -> tuple[str, Path, Path]:
    """A layout's name, its prepared folder and its run."""
    dataset, place, options, *_ = SETS[request.param]
    root = real_data / "fmri_haxby" / place
    if not root.is_dir():
        pytest.skip("no fmri_haxby")
    out = tmp_path_factory.mktemp(request.param)
    command("preprocess", dataset, "--root", root, "--out", out, *options)
    prepared = only(out / "prepared")
    experiment = ROOT / "experiments" / "haxby.yaml"
    command("train", experiment, "--out", out, f"data.path={prepared}", "device=cpu")
    folder = only(out / "runs")
    command("report", folder)
    return request.param, prepared, folder


def scores_of(folder: Path, system: str) -> dict:
    plain = [s for s in read_scores(folder) if "comparison" not in s.about]
    return {s.name: s for s in plain if (s.about["system"], s.about["subject"]) == (system, "all")}


def test_categories_are_told_apart_as_plain_methods_do_and_shuffled_labels_are_not(run):
    name, _, folder = run
    expected = SETS[name][3]
    (score,) = scores_of(folder, "tower").values()
    assert (score.name, score.chance, score.n) == ("8-way", 0.125, 96)
    assert score.chance < score.low < score.value < score.high
    assert score.high > expected
    assert score.value > expected - 0.05
    # one person and twelve runs: an interval that claims more would not be honest
    assert score.high - score.low > 0.08
    assert len(score.per_item) == len(score.about["recordings"]) == 12
    (control,) = scores_of(folder, "shuffled").values()
    assert control.low <= 0.125 <= control.high
    assert read_json(folder / "scores.json")["control_at_chance"] is True


def test_blocks_are_the_trials_and_their_voxels_are_known(run):
    name, prepared, folder = run
    (path,) = prepared.glob("sub-*/trials.h5")
    trials = Trials.open(path)
    assert len(trials) == 96
    assert trials.sfreq == pytest.approx(0.4)
    images, counts = np.unique(trials.image, return_counts=True)
    assert counts.tolist() == [12] * 8
    assert {"face", "house", "scrambledpix"} < set(images.tolist())
    assert all(len(set(trials.image[trials.run == r])) == 8 for r in np.unique(trials.run))
    voxels, stated = read_voxels(path)
    assert len(voxels) == SETS[name][4]
    assert 50 < np.median(stated["tsnr"]) < 300
    if name == "brain":
        assert voxels.roi["vt"].sum() == 1
        # the one voxel of ventral temporal cortex says more than white matter does
        ceiling = stated["noise_ceiling"]
        assert ceiling[voxels.roi["vt"]][0] > np.median(ceiling[voxels.roi["white"]]) + 0.1
    assert Stimuli.read(prepared / "stimuli.csv").category.all()
    folds = Split.read_folds(folder)
    assert len(folds) == 12
    for fold in folds:
        assert not {*fold.test} & {*fold.train, *fold.validation}
    page = next(prepared.glob("sub-*/qc.html")).read_text(encoding="utf-8")
    assert page.count('class="figure-img') >= 4


def test_both_layouts_hold_the_same_runs(real_data, tmp_path):
    root = real_data / "fmri_haxby"
    if not root.is_dir():
        pytest.skip("no fmri_haxby")
    found = []
    for dataset, place, options, *_ in (SETS["slab"], SETS["slice"]):
        out = tmp_path / dataset
        command("preprocess", dataset, "--root", root / place, "--out", out, *options)
        (path,) = only(out / "prepared").glob("sub-*/trials.h5")
        found.append(Trials.open(path))
    one, other = found
    assert one.image.tolist() == other.image.tolist()
    np.testing.assert_allclose(one.onset, other.onset)
    assert [n[-8:] for n in one.channel_name] == [n[-8:] for n in other.channel_name]
    assert np.corrcoef(one.read().ravel(), other.read().ravel())[0, 1] > 0.99


def test_the_report_stands_alone_and_says_what_is_known(run):
    _, _, folder = run
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "identified among 8" in page
    assert "8 categories" in page
    assert "Recording by recording" in page
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"|url\(([^)]*)\)", page)
    assert all(a.startswith("#") or (a or b).strip("\"'").startswith("data:") for a, b in sources)
    assert str(folder.parent.parent) not in page
