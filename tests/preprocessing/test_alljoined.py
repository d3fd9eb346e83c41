import shutil
import sys

import mne
import numpy as np
import pandas as pd
import pytest
from fakes.alljoined import (
    N_IMAGES,
    NAMES,
    PEAK,
    SHARED,
    TEST_MARKS,
    epoch,
    marks_of,
    number_of,
    pattern,
    write_bids,
    write_design,
    write_osf,
    write_parquet,
)
from scipy.io import savemat

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials
from neurovis.store import read_json

alljoined = load_datasets()["alljoined"]
module = sys.modules[alljoined.__module__]
UNTOUCHED = {
    "l_freq": None, "h_freq": None, "sfreq": None, "baseline": None, "detect": False, "bads": "keep",
    "scaling": "none", "tmin": -0.1, "tmax": 0.4,
}  # fmt: skip
PLAIN = {"scaling": "none", "clamp": None}


def made(root, out, subject=None, **options):
    dataset = resolve(Dataset, {"name": "alljoined", **options})
    return prepare(dataset, root, out, subject=subject, quiet=True)


def opened(folder, subject="01"):
    return Trials.open(folder / f"sub-{subject}" / "trials.h5")


def name(mark):
    return f"nsd{number_of(mark):05d}"


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    return write_bids(tmp_path_factory.mktemp("bids"))


@pytest.fixture(scope="module")
def osf(tmp_path_factory):
    return write_osf(tmp_path_factory.mktemp("osf"))


@pytest.mark.parametrize("form", ["bids", "osf"])
def test_trials_are_the_recordings_cut_at_the_sample_of_their_mark(form, request, tmp_path):
    root = request.getfixturevalue(form)
    folder = made(root, tmp_path, "1", steps=UNTOUCHED, reference="recorded")
    trials = opened(folder)
    expected = marks_of(1, 1) + marks_of(1, 2)
    assert trials.image.tolist() == [name(mark) for _, mark in expected]
    np.testing.assert_array_equal(
        np.round(trials.onset * 512).astype(int), [s for s, _ in expected]
    )
    assert trials.session.tolist() == ["01"] * 48 + ["02"] * 48
    assert trials.channel_name.tolist() == NAMES
    assert np.isfinite(trials.channel_position).all()
    file = next(root.rglob("*ses-02*_eeg.bdf" if form == "bids" else "subj01_session2_eeg.fif"))
    raw = mne.io.read_raw(file, verbose="error")
    start = marks_of(1, 2)[5][0] - 51
    whole = raw.get_data(NAMES, start, start + 256, verbose="error")
    np.testing.assert_allclose(trials.read([48 + 5])[0], whole, atol=1e-10)


@pytest.mark.parametrize("form", ["bids", "osf"])
def test_every_trial_holds_its_own_picture_through_the_default_chain(form, request, tmp_path):
    trials = opened(made(request.getfixturevalue(form), tmp_path, "2", steps=PLAIN), "02")
    at = int(np.argmin(np.abs(trials.times - PEAK)))
    found = trials.read()[:, :, at]
    like = np.corrcoef(found, pattern().T)[: len(found), len(found) :]
    assert [name(1 + i) for i in like.argmax(axis=1)] == trials.image.tolist()
    # the noise that all electrodes shared is gone
    assert np.abs(found.mean(axis=1)).max() < 1e-10


def test_split_is_the_same_whatever_is_there(bids, osf, tmp_path):
    few = Split.read(made(bids, tmp_path, "1") / "split.json")
    many = Split.read(made(osf, tmp_path, "1") / "split.json")
    shown = {name(mark) for mark in range(1, N_IMAGES + 1)}
    assert set(few.test) == set(many.test) & shown
    assert set(few.train) | set(few.validation) | set(few.test) == shown
    assert 150 < len(many.test) < 230
    assert len(many.train) + len(many.validation) + len(many.test) == 960
    other = Split.read(made(bids, tmp_path, "1", seed=3) / "split.json")
    assert set(other.test) != set(few.test)
    stimuli = Stimuli.read(made(bids, tmp_path, "1") / "stimuli.csv")
    first = stimuli.index([name(1)])[0]
    assert stimuli.path[first][0].endswith(f"stimuli/nsd/{number_of(1)}.png")


def test_lost_sessions_are_told_and_others_go_on(bids, tmp_path, capsys):
    folder = made(bids, tmp_path)
    assert "sub-02: session 2 is broken at its owners" in capsys.readouterr().err
    notes = read_json(folder / "sub-02" / "qc.json")["runs"][0]["notes"]
    assert notes[0] == "session 2 is broken at its owners and not published"
    assert notes[-1].startswith("48 presentations (12 images 4 times)")
    assert "broken" not in str(read_json(folder / "sub-01" / "qc.json")["runs"])


def test_a_broken_file_of_a_lost_session_leaves_the_others_of_its_subject(osf, tmp_path):
    copy = shutil.copytree(osf, tmp_path / "copy")
    (copy / "subj02_session2_eeg.fif").write_bytes(b"half a recording")
    trials = opened(made(copy, tmp_path, "2", steps=UNTOUCHED), "02")
    assert trials.session.tolist() == ["01"] * 48


def test_a_subject_follows_the_design_that_names_its_pictures(tmp_path):
    root = write_osf(tmp_path / "root", ((2, 1),))
    steps = {**UNTOUCHED, "tmin": 0.0, "tmax": 0.1}
    before = opened(made(root, tmp_path, steps=steps), "02").image
    savemat(root / "nsd_expdesign.mat", {"sharedix": SHARED[::-1][None]})
    after = opened(made(root, tmp_path, steps=steps), "02").image
    numbers = dict(zip(SHARED.tolist(), SHARED[::-1].tolist()))
    assert after.tolist() == [f"nsd{numbers[int(n[3:]) + 1] - 1:05d}" for n in before]


def test_a_missing_session_fails_its_subject_and_leaves_the_others(bids, tmp_path):
    copy = shutil.copytree(bids, tmp_path / "copy")
    shutil.rmtree(copy / "sub-01" / "ses-02")
    with pytest.raises(
        NeurovisError, match=r"1 of 2 subjects failed .*sub-01: session 02 is missing"
    ):
        made(copy, tmp_path)
    assert [p.parent.name for p in tmp_path.rglob("qc.json")] == ["sub-02"]


def test_an_older_copy_names_coco_and_needs_the_design(tmp_path):
    root = write_bids(tmp_path / "coco", ((2, 1),), coco=True)
    with pytest.raises(NeurovisError, match=r"nothing says which picture of NSD a mark means"):
        made(root, tmp_path)
    write_design(root / "code" / "0_data_collection")
    trials = opened(made(root, tmp_path, steps=UNTOUCHED), "02")
    assert trials.image.tolist() == [name(mark) for _, mark in marks_of(2, 1)]


def test_pictures_that_two_files_number_differently(tmp_path):
    root = write_bids(tmp_path / "bids", ((2, 1),))
    savemat(root / "nsd_expdesign.mat", {"sharedix": SHARED[None] + 1})
    with pytest.raises(
        NeurovisError, match=r"line 2: picture \d+ is nsd/\d+.png, elsewhere .*shifted"
    ):
        made(root, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="value"), "column 'value' is missing"),
        (
            lambda t: t.assign(trial_type=t["trial_type"].where(t.index != 3, "image/1000")),
            r"line 5: trial_type is 'image/1000' and value \d+, expected image/<value>",
        ),
        (lambda t: t.assign(sample=t["sample"].astype(int) + 5), "line 2: onset and sample differ by 5"),
        (
            lambda t: t.assign(value="961", trial_type="image/961", stim_file="train2017/1.jpg"),
            "mark 961 names no picture",
        ),
        (lambda t: t.assign(onset=(t["onset"].astype(float) + 900).astype(str)).drop(columns="sample"),
         "truncated"),
    ],
)  # fmt: skip
def test_wrong_events_are_told(tmp_path, change, said):
    root = write_bids(tmp_path / "bids", ((2, 1),))
    write_design(root)
    (path,) = root.rglob("*_events.tsv")
    table = pd.read_csv(path, sep="\t", dtype=str)
    change(table).to_csv(path, sep="\t", index=False)
    with pytest.raises(NeurovisError, match=said):
        made(root, tmp_path)


def test_wrong_recordings_are_told(osf, tmp_path):
    root = tmp_path / "osf"
    root.mkdir()
    write_design(root)
    raw = mne.io.read_raw_fif(osf / "subj02_session1_eeg.fif", preload=True, verbose="error")
    file = root / "subj02_session1_eeg.fif"
    raw.copy().drop_channels(["Oz"]).save(file, verbose="error")
    with pytest.raises(NeurovisError, match="electrode 'Oz' is missing"):
        made(root, tmp_path)
    raw.copy().drop_channels(["Status"]).save(file, overwrite=True, verbose="error")
    with pytest.raises(NeurovisError, match="no channel 'Status'"):
        made(root, tmp_path)
    file.write_bytes((osf / file.name).read_bytes()[:200_000])
    with pytest.raises(NeurovisError, match=r"subj02_session1_eeg\.fif"):
        made(root, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NeurovisError, match="expected the root of Alljoined1"):
        made(tmp_path / "empty", tmp_path)


def test_real_rows(tmp_path):
    """Rows of the published copy (nm000133, sub-01, session 1), typed in."""
    folder = tmp_path / "sub-01" / "ses-01" / "eeg"
    folder.mkdir(parents=True)
    file = folder / "sub-01_ses-01_task-images_events.tsv"
    rows = (
        "onset duration trial_type value sample stim_file",
        "2.240234375 0.0 image/99 99 1147 nsd/8631.png",
        "3.048828125 0.0 image/11 11 1561 nsd/3434.png",
        "3.83984375 0.0 image/103 103 1966 nsd/8925.png",
    )
    file.write_text("\n".join(row.replace(" ", "\t") for row in rows))
    images = module.shared_images(tmp_path)
    onset, mark = module.shown_in_table(file, 512.0, images)
    assert (onset * 512).tolist() == [1147.0, 1561.0, 1966.0]
    assert [module.image_of(images[m]) for m in mark.tolist()] == [
        "nsd08631",
        "nsd03434",
        "nsd08925",
    ]


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    pytest.importorskip("pyarrow")
    return write_parquet(tmp_path_factory.mktemp("parquet"))


def test_owners_epochs_in_the_order_of_presentation(parquet, tmp_path):
    steps = {"sfreq": None, "tmin": -26 / 512, "tmax": 0.6, **PLAIN}
    folder = made(parquet, tmp_path, recipe="epochs", steps=steps)
    trials = opened(folder, "06")
    kept = [n for n in range(1, 49) if n % 9 != 4]
    marks = marks_of(6, 2)
    assert trials.image.tolist() == [name(marks[n - 1][1]) for n in kept]
    np.testing.assert_allclose(trials.onset, [marks[n - 1][0] / 512 for n in kept], atol=1e-5)
    assert trials.signal.shape[1] == 64
    assert trials.unit == "V"
    for row in (0, 17, len(kept) - 1):
        expected = epoch(6, 2, kept[row])[:, : trials.signal.shape[2]]
        np.testing.assert_allclose(trials.read([row])[0], expected, atol=1e-11)
    assert {p.name for p in folder.glob("sub-*")} == {"sub-01", "sub-03", "sub-06"}
    notes = read_json(folder / "sub-03" / "qc.json")["runs"][0]["notes"]
    assert notes[0].startswith("the owners' epochs of session 1 are missing")


def test_owners_test_part(parquet, tmp_path):
    folder = made(parquet, tmp_path, recipe="epochs", split="owners")
    split = Split.read(folder / "split.json")
    assert split.test == tuple(name(mark) for mark in TEST_MARKS)
    assert split.protocol == "epochs, owners' test part"
    trials = opened(made(parquet, tmp_path, recipe="epochs", steps=PLAIN), "06")
    assert (trials.sfreq, trials.signal.shape[2]) == (128.0, 77)
    at = int(np.argmin(np.abs(trials.times - PEAK)))
    found = trials.read()[:, :, at]
    like = np.corrcoef(found, pattern().T)[: len(found), len(found) :]
    assert [name(1 + i) for i in like.argmax(axis=1)] == trials.image.tolist()
    with pytest.raises(UsageError, match="the owners' test part belongs to their epochs"):
        made(write_osf(tmp_path / "osf", ((2, 1),)), tmp_path, split="owners")


def test_a_session_depends_on_all_of_its_files(parquet):
    dataset = resolve(Dataset, {"name": "alljoined", "recipe": "epochs"})
    names = {
        (r.subject, r.session): [p.name[:11] for p in dataset.companions(parquet, r)]
        for r in dataset.recordings(parquet)
    }
    # the fake's training rows are cut in two in the middle of the second of three sessions
    assert names == {
        ("06", "02"): ["test-00000-", "train-00000"],
        ("01", "01"): ["test-00000-", "train-00000", "train-00001"],
        ("03", "02"): ["test-00000-", "train-00001"],
    }


def test_releases_with_shifted_numbers_are_refused(tmp_path):
    pytest.importorskip("pyarrow")
    root = write_parquet(tmp_path / "old", ((1, 1),), n_chans=63)
    with pytest.raises(NeurovisError, match="every trial carries the number of the next picture"):
        made(root, tmp_path, recipe="epochs")


def test_broken_shards_are_told(parquet, tmp_path):
    copy = shutil.copytree(parquet, tmp_path / "copy")
    file = copy / "data" / "train-00001-of-00002.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(NeurovisError, match=r"train-00001-of-00002\.parquet"):
        made(copy, tmp_path, recipe="epochs")
    shutil.copy(parquet / "data" / "train-00000-of-00002.parquet", file)
    with pytest.raises(NeurovisError, match=r"trial \d+ of subject \d, session \d is there twice"):
        made(copy, tmp_path, recipe="epochs")


def test_code_and_manifest_agree(osf):
    manifest = read_manifest("alljoined")
    assert manifest.reader == "alljoined"
    assert set(manifest.protocols) == set(alljoined.recipes)
    assert set(manifest.splits) == set(alljoined.model_fields["split"].annotation.__args__)
    assert manifest.fact("n_chans") == len(module.NAMES) == len(NAMES)
    assert module.NAMES == NAMES
    assert manifest.fact("n_sessions") == [len(s) for s in manifest.fact("sessions").values()]
    assert list(osf.glob(manifest.expects[0]))
