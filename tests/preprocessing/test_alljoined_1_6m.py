import os
import pickle
import shutil
import sys

import mne
import numpy as np
import pandas as pd
import pytest
from fakes.alljoined_1_6m import (
    NAMES,
    PEAK,
    SHOWN,
    TEST,
    TRAIN,
    edf_of,
    epoch,
    marks_of,
    pattern,
    write_alljoined_1_6m,
    write_bids_copy,
    write_block,
    write_preprocessed,
)

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials
from neurovis.store import read_json

alljoined = load_datasets()["alljoined_1_6m"]
module = sys.modules[alljoined.__module__]
UNTOUCHED = {
    "l_freq": None, "h_freq": None, "sfreq": None, "baseline": None, "detect": False, "bads": "keep",
    "scaling": "none", "tmin": -0.1, "tmax": 0.4,
}  # fmt: skip


def made(root, out, subject=None, **options):
    dataset = resolve(Dataset, {"name": "alljoined_1_6m", "sessions": [1], **options})
    return prepare(dataset, root, out, subject=subject, quiet=True)


def opened(folder, subject="01"):
    return Trials.open(folder / f"sub-{subject}" / "trials.h5")


def shown(subject, run):
    rows = [(s, t.split(",")) for s, t in marks_of(subject, 1, run)]
    return [(s, f"{int(t[1]):05d}") for s, t in rows if t[0].startswith("stim")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_alljoined_1_6m(tmp_path_factory.mktemp("alljoined"))


@pytest.fixture(scope="module")
def untouched(root, tmp_path_factory):
    return made(root, tmp_path_factory.mktemp("out"), steps=UNTOUCHED)


@pytest.mark.parametrize("subject", ["01", "08"])
def test_trials_are_the_blocks_cut_at_the_sample_of_their_mark(root, untouched, subject):
    trials = opened(untouched, subject)
    expected = [row for run in range(1, 20) for row in shown(int(subject), run)]
    assert trials.image.tolist() == [image for _, image in expected]
    np.testing.assert_array_equal(
        np.round(trials.onset * 256).astype(int), [s for s, _ in expected]
    )
    assert len(trials) == 4 * 3 * len(TEST) + 15 * len(TRAIN)
    assert trials.set.tolist() == ["test" if int(i) >= 16540 else "train" for i in trials.image]
    assert trials.channel_name.tolist() == [n.replace("Afz", "AFz") for n in NAMES]
    assert np.isfinite(trials.channel_position).all()
    (file,) = (root / f"raw_eeg/sub-{subject}/session_01/block_07").glob("*.edf")
    raw = mne.io.read_raw_edf(file, verbose="error")
    first = int(np.flatnonzero(trials.run == "07")[0])
    start = shown(int(subject), 7)[0][0] - 26
    whole = raw.get_data(raw.ch_names[:32], start, start + 128, verbose="error")
    np.testing.assert_allclose(trials.read([first])[0], whole, atol=1e-10)


def test_every_trial_holds_its_own_image_through_the_default_chain(root, tmp_path):
    trials = opened(made(root, tmp_path, "1", steps={"scaling": "none", "clamp": None}))
    at = int(np.argmin(np.abs(trials.times - PEAK)))
    found = trials.read()[:, :, at]
    like = np.corrcoef(found, pattern().T)[: len(found), len(found) :]
    assert [f"{SHOWN[i]:05d}" for i in like.argmax(axis=1)] == trials.image.tolist()


def test_paper_recipe_whitens_by_training_trials(root, tmp_path):
    folder = made(root, tmp_path, "1", recipe="paper")
    trials = opened(folder)
    assert (trials.sfreq, trials.signal.shape[2], trials.unit) == (250.0, 300, "1")
    noise = trials.read(np.flatnonzero(trials.set == "train"))[:, :, :40]
    spread = np.cov(noise.transpose(1, 0, 2).reshape(32, -1))
    off = spread - np.diag(np.diag(spread))
    assert np.abs(off).max() < 0.2 * np.diag(spread).min()
    assert Split.read(folder / "split.json").protocol == "paper"


def test_split_and_stimuli(untouched):
    split, stimuli = Split.read(untouched / "split.json"), Stimuli.read(untouched / "stimuli.csv")
    assert len(stimuli) == 16740
    assert split.test == tuple(f"{i:05d}" for i in range(16540, 16740))
    assert len(split.train) + len(split.validation) == 16540
    held = {int(i) // 10 for i in split.validation}
    assert not held & {int(i) // 10 for i in split.train}
    assert stimuli.path[16641][0].endswith("stimuli/images/16641.jpg")


def test_oddities_are_told(untouched):
    runs = read_json(untouched / "sub-08" / "qc.json")["runs"]
    assert "the file calls itself 'Subject 19, Session 1, Block 2'" in " ".join(runs[1]["notes"])
    assert not any("calls itself" in note for note in runs[0]["notes"])
    assert "2 behav, 1 oddball" in " ".join(runs[0]["notes"])
    assert {run["name"][:6] for run in runs} == {"ses-01"}


def test_marks_on_one_instant_are_left_out():
    onset = np.array([0.5, 0.7, 0.7, 0.9, 1.1, 1.1])
    marks = [
        "stim_train,1,-1,1", "stim_train,2,-1,2", "stim_train,3,-1,3", "stim_train,4,-1,4",
        "stim_train,5,-1,5", "behav,3,-1,6",
    ]  # fmt: skip
    events = module.pictures_shown("x.edf", onset, marks, 256.0)
    assert events.image.tolist() == ["00001", "00004"]
    assert events.onset.tolist() == [0.5, 0.9]
    assert events.notes == ("marks left out: 1 behav, 3 of pictures on a shared instant",)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("stim_test,12,-1,1", r"mark 0 \('stim_test,12,-1,1'\) names no picture"),
        ("stim_train,16600,-1,1", "names no picture"),
        ("stim_train,x,-1,1", "names no picture"),
        ("pause", "names no picture"),
        ("behav,3,-1,1", "none of 1 marks names a picture"),
    ],
)
def test_marks_that_name_no_picture(mark, said):
    with pytest.raises(NeurovisError, match=said):
        module.pictures_shown("x.edf", np.array([1.0]), [mark], 256.0)


def test_real_marks():
    """Marks as the BIDS copy has them (nm000134, sub-01, first block), typed in."""
    marks = [
        "stim_test,16641,-1,1",
        "stim_test,16733,-1,2",
        "behav,3,-1,21",
        "oddball,16748,-1,454",
    ]
    onset = np.array([0.453125, 0.671875, 5.91796875, 78.1328125])
    events = module.pictures_shown("x.edf", onset, marks, 256.0)
    assert events.image.tolist() == ["16641", "16733"]
    assert (events.onset * 256).tolist() == [116.0, 172.0]


def test_the_bids_copy_gives_the_same_kind_of_trials(tmp_path):
    root = write_bids_copy(tmp_path / "nm000134")
    trials = opened(made(root, tmp_path, steps=UNTOUCHED), "03")
    expected = [row for run in range(1, 20) for row in shown(3, run)]
    assert trials.image.tolist() == [image for _, image in expected]
    np.testing.assert_array_equal(
        np.round(trials.onset * 256).astype(int), [s for s, _ in expected]
    )


def test_a_missing_block_fails_its_subject_and_leaves_the_others(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "copy")
    shutil.rmtree(copy / "raw_eeg/sub-01/session_01/block_11")
    said = r"1 of 2 subjects failed .*sub-01: session 1, block 11: found 0 recordings"
    with pytest.raises(NeurovisError, match=said):
        made(copy, tmp_path, steps=UNTOUCHED)
    assert [p.parent.name for p in tmp_path.rglob("qc.json")] == ["sub-08"]
    write_block(copy, 1, 1, 11)
    (file,) = (copy / "raw_eeg/sub-01/session_01/block_11").glob("*.edf")
    shutil.copy(file, file.with_name("another.edf"))
    with pytest.raises(NeurovisError, match="block 11: found 2 recordings"):
        made(copy, tmp_path, steps=UNTOUCHED)


def test_a_session_missing_is_told(root, tmp_path):
    with pytest.raises(
        NeurovisError, match=r"session 2, block 1: found 0 recordings.*set sessions"
    ):
        made(root, tmp_path, "1", sessions=[1, 2])


def test_broken_blocks_are_named(tmp_path):
    root = write_alljoined_1_6m(tmp_path / "one", (1,))
    (file,) = (root / "raw_eeg/sub-01/session_01/block_02").glob("*.edf")
    raw = edf_of(marks_of(1, 1, 2), 5)
    raw.drop_channels(["Oz"]).export(file, overwrite=True, verbose="error")
    with pytest.raises(NeurovisError, match="found 31 electrodes among 37 channels, expected 32"):
        made(root, tmp_path, steps=UNTOUCHED)
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(NeurovisError, match=r"Block 2 .*edf"):
        made(root, tmp_path, steps=UNTOUCHED)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        NeurovisError, match="expected the root of Alljoined-1.6M".replace(".", r"\.")
    ):
        made(tmp_path / "empty", tmp_path)


def test_owners_epochs(tmp_path):
    pytest.importorskip("pyarrow")
    order = write_preprocessed(tmp_path / "root")
    folder = made(tmp_path / "root", tmp_path, recipe="preprocessed", sessions=[1, 2, 3, 4])
    trials = opened(folder)
    kept = order[~order["dropped"]]
    expected = pd.concat([kept[kept["partition"] == p] for p in ("stim_train", "stim_test")])
    numbers = [int(path[-9:-4]) for path in expected["image_path"]]
    assert trials.image.tolist() == [f"{n:05d}" for n in numbers]
    assert trials.session.tolist() == [f"{s:02d}" for s in expected["session"]]
    assert (trials.unit, trials.sfreq, trials.tmin) == ("1", 250.0, 0.0)
    assert trials.signal.shape[1:] == (32, 250)
    for row in (0, len(trials) - 1):
        np.testing.assert_allclose(trials.read([row])[0], epoch(numbers[row]), atol=1e-6)
    assert Split.read(folder / "split.json").protocol == "preprocessed"
    notes = read_json(folder / "sub-01" / "qc.json")["runs"][0]["notes"]
    assert "whitened per session" in notes[0]
    # where the owners correct their table, the prepared subject follows it
    first, last = expected.index[0], kept[kept["partition"] == "stim_train"].index[-1]
    order.loc[first, "image_path"] = order.loc[last, "image_path"]
    order.to_parquet(tmp_path / "root/preprocessed_eeg/sub-01/experiment_metadata.parquet")
    assert folder == made(tmp_path / "root", tmp_path, recipe="preprocessed", sessions=[1, 2, 3, 4])
    assert opened(folder).image[0] == order.loc[last, "image_path"][-9:-4] != trials.image[0]


def test_owners_epochs_that_do_not_fit_their_table(tmp_path):
    pytest.importorskip("pyarrow")
    root = tmp_path / "root"
    order = write_preprocessed(root)
    options = {"recipe": "preprocessed", "sessions": [1, 2, 3, 4]}
    folder = root / "preprocessed_eeg" / "sub-01"
    with pytest.raises(NeurovisError, match="sessions: the owners' epochs come in one file"):
        made(root, tmp_path, recipe="preprocessed")
    order.assign(dropped=False).to_parquet(folder / "experiment_metadata.parquet")
    with pytest.raises(
        NeurovisError,
        match="experiment_metadata.parquet keeps 32 of stim_train".replace(".", r"\."),
    ):
        made(root, tmp_path, **options)
    shutil.copy(folder / "stim_order.parquet", folder / "experiment_metadata.parquet")
    with pytest.raises(NeurovisError, match=r"'dropped' is missing.*not stim_order"):
        made(root, tmp_path, **options)
    (folder / "experiment_metadata.parquet").unlink()
    with pytest.raises(NeurovisError, match=r"experiment_metadata.parquet: missing"):
        made(root, tmp_path, **options)


class Payload:
    def __reduce__(self):
        return (os.system, ("touch /tmp/neurovis-was-here",))


def test_a_crafted_pickle_runs_nothing(tmp_path):
    folder = tmp_path / "root" / "preprocessed_eeg" / "sub-01"
    folder.mkdir(parents=True)
    for part in ("training", "test"):
        with (folder / f"preprocessed_eeg_{part}_flat.npy").open("wb") as handle:
            pickle.dump({"preprocessed_eeg_data": Payload()}, handle)
    (folder / "experiment_metadata.parquet").write_bytes(b"")
    with pytest.raises(NeurovisError, match="posix.system; nothing was run".replace(".", r"\.")):
        made(tmp_path / "root", tmp_path, recipe="preprocessed", sessions=[1, 2, 3, 4])
    assert not os.path.exists("/tmp/neurovis-was-here")


def test_code_and_manifest_agree(root):
    manifest = read_manifest("alljoined-1-6m")
    assert manifest.reader == "alljoined_1_6m"
    assert set(manifest.protocols) == set(alljoined.recipes)
    assert manifest.terms.flag == "alljoined"
    assert list(root.glob(manifest.expects[0].format(subject="01")))
    assert manifest.fact("n_chans") == len(NAMES)
    with pytest.raises(UsageError, match="recipe 'papre' is unknown"):
        made(root, root, recipe="papre")
