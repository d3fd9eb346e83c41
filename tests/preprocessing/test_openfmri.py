"""OpenfMRI trees and labelled volumes: which block shows what, and what does not fit."""

import shutil

import numpy as np
import pytest
from fakes.openfmri import (
    BLOCK,
    FIRST,
    GAP,
    NAMES,
    RUNS,
    SHAPE,
    TR,
    VOLUMES,
    order,
    patterns,
    save,
    volumes,
    write_labelled,
    write_openfmri,
)

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials
from neurovis.signals.fmri.subject import read_voxels

load_datasets()


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    """Drawing takes longer than all else; tests of its own look at the page."""
    monkeypatch.setattr("neurovis.report.qc_fmri.write_fmri_page", lambda *_: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_openfmri(tmp_path_factory.mktemp("tree")), write_labelled(
        tmp_path_factory.mktemp("labelled")
    )


@pytest.fixture
def tree(whole, tmp_path):
    return shutil.copytree(whole[0], tmp_path / "tree")


@pytest.fixture
def labelled(whole, tmp_path):
    return shutil.copytree(whole[1], tmp_path / "labelled")


def opened(dataset, root, out, **options):
    if dataset == "openfmri":
        options = {"mask": "sub{subject}/masks/brain.nii.gz", **options}
    folder = prepare(resolve(Dataset, {"name": dataset, **options}), root, out, quiet=True)
    (path,) = folder.glob("sub-*/trials.h5")
    return folder, Trials.open(path), read_voxels(path)[0]


@pytest.mark.parametrize("dataset", ["openfmri", "labelled_volumes"])
def test_every_block_shows_its_condition(whole, tmp_path, dataset):
    folder, trials, voxels = opened(dataset, whole[dataset != "openfmri"], tmp_path)
    names = [n if dataset == "openfmri" else n.replace(" ", "") for n in NAMES]
    shown = [names[i] for run in range(1, RUNS + 1) for i in order(run)]
    assert trials.image.tolist() == shown
    onset = TR * (FIRST + np.arange(len(NAMES)) * (BLOCK + GAP))
    np.testing.assert_allclose(trials.onset, np.tile(onset, RUNS))
    width = 3 if dataset == "openfmri" else 2
    first = 1 if dataset == "openfmri" else 0
    runs = [f"{run + first:0{width}d}" for run in range(RUNS)]
    assert trials.run.tolist() == np.repeat(runs, len(NAMES)).tolist()
    pattern = patterns()[:, *voxels.index.T]
    signal = trials.read()[..., 0]
    likeness = np.corrcoef(pattern, signal)[: len(NAMES), len(NAMES) :]
    assert [names[i] for i in likeness.argmax(axis=0)] == shown
    assert trials.sfreq == 1 / TR
    stimuli = Stimuli.read(folder / "stimuli.csv")
    assert stimuli.image.tolist() == sorted(names)
    assert stimuli.category.all()
    folds = Split.read_folds(folder)
    assert [fold.test[0] for fold in folds] == [f"ses-1_run-{run}" for run in runs]


def test_both_layouts_give_the_same_numbers(whole, tmp_path):
    _, one, _ = opened("openfmri", whole[0], tmp_path)
    _, other, _ = opened("labelled_volumes", whole[1], tmp_path)
    shared = [n[-8:] for n in one.channel_name], [n[-8:] for n in other.channel_name]
    both = sorted(set(shared[0]) & set(shared[1]))
    assert len(both) > 20
    rows = [[side.index(name) for name in both] for side in shared]
    np.testing.assert_allclose(one.read()[:, rows[0]], other.read()[:, rows[1]], rtol=1e-3)


def test_regions_motion_and_events_beside_the_volumes(tree, tmp_path):
    given = {"rois": "sub{subject}/masks/*.nii.gz"}
    _, trials, voxels = opened("openfmri", tree, tmp_path, **given)
    assert sorted(voxels.roi) == ["brain", "vt"]
    assert voxels.roi["vt"].sum() == np.prod(SHAPE) / 2
    _, moved, _ = opened("openfmri", tree, tmp_path, **given, fmri={"confounds": ["motion*"]})
    assert np.abs(moved.read() - trials.read()).max() > 0.05
    motion = tree / "sub001" / "BOLD" / "task001_run002" / "bold_moest.txt"
    motion.write_text(motion.read_text()[:-40])
    with pytest.raises(NeurovisError, match=r"task001_run002/bold_moest.txt: (line 60|59 rows)"):
        opened("openfmri", tree, tmp_path, **given, fmri={"confounds": ["motion*"]})
    for run in range(1, RUNS + 1):
        rows = [f"{t}\t{d}\t{n}" for t, d, n in zip(*resolve(Dataset, "openfmri").events(
            tree, resolve(Dataset, "openfmri").recordings(tree)[run - 1]))]  # fmt: skip
        file = tree / "sub001" / "BOLD" / f"task001_run{run:03d}" / "bold_events.tsv"
        file.write_text("\n".join(["onset\tduration\ttrial_type", *rows]) + "\n")
    shutil.rmtree(tree / "sub001" / "model")
    _, again, _ = opened("openfmri", tree, tmp_path, **given)
    np.testing.assert_array_equal(again.read(), trials.read())


def test_changed_onsets_are_noticed(tree, tmp_path):
    _, before, _ = opened("openfmri", tree, tmp_path)
    signal = before.read()
    before.close()
    file = next(tree.glob("sub001/model/**/task001_run002/cond001.txt"))
    onset, rest = file.read_text().split("\t", 1)
    file.write_text(f"{float(onset) + 3}\t{rest}")
    _, after, _ = opened("openfmri", tree, tmp_path)
    assert np.abs(after.read() - signal).max() > 0.1


def test_a_tree_that_does_not_fit_is_named(tree, tmp_path):
    run = tree / "sub001" / "BOLD" / "task001_run003"
    with pytest.raises(
        NeurovisError, match=r"bold_1slice.nii.gz: no such volumes, found bold.nii.gz"
    ):
        opened("openfmri", tree, tmp_path, bold="bold_1slice.nii.gz")
    key = tree / "models" / "model001" / "condition_key.txt"
    text = key.read_text()
    key.write_text(text.replace("cond002", "cond022"))
    with pytest.raises(NeurovisError, match=r"condition 'cond002' has no name"):
        opened("openfmri", tree, tmp_path)
    key.write_text(text)
    file = next(tree.glob("sub001/model/**/task001_run002/cond001.txt"))
    line = file.read_text()
    file.write_text("12,5\n")
    with pytest.raises(NeurovisError, match=r"cond001.txt: line 1 is '12,5', expected onset"):
        opened("openfmri", tree, tmp_path)
    file.write_text(line)
    save(run / "bold.nii.gz", volumes(3)[..., :20])
    with pytest.raises(NeurovisError, match=r"bold.nii.gz: event . is at .*20 volumes of 2 s"):
        opened("openfmri", tree, tmp_path)
    save(run / "bold.nii.gz", volumes(3)[:-1])
    with pytest.raises(NeurovisError, match=r"task001_run003/bold.nii.gz: shape 5 x 5 x 4"):
        opened("openfmri", tree, tmp_path)
    with pytest.raises(NeurovisError, match=r"mask: .* matches 0 files"):
        opened("openfmri", tree, tmp_path, mask="none.nii")
    with pytest.raises(UsageError, match="left-out recordings"):
        opened("openfmri", tree, tmp_path, fmri={"standardise": "run"})


def test_labels_that_do_not_fit_are_named(labelled, tmp_path):
    path = labelled / "attributes_literal.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(
        NeurovisError, match=rf"{RUNS * VOLUMES - 1} lines, expected {RUNS * VOLUMES}"
    ):
        opened("labelled_volumes", labelled, tmp_path)
    path.write_text("".join([*lines[:-1], "rest\n"]))
    with pytest.raises(NeurovisError, match=rf"line {RUNS * VOLUMES} is 'rest', expected a label"):
        opened("labelled_volumes", labelled, tmp_path)
    path.write_text("".join([*lines[:-1], "rest 0\n"]))
    with pytest.raises(NeurovisError, match="run '0' comes in several pieces"):
        opened("labelled_volumes", labelled, tmp_path)
    path.write_text("".join("rest " + line.split()[1] + "\n" for line in lines))
    with pytest.raises(NeurovisError, match="found 0 categories"):
        opened("labelled_volumes", labelled, tmp_path)
    path.unlink()
    with pytest.raises(NeurovisError, match="no such labels"):
        opened("labelled_volumes", labelled, tmp_path)
    with pytest.raises(NeurovisError, match="found no recording"):
        opened("labelled_volumes", labelled, tmp_path, bold="none.nii")
