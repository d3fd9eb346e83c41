import shutil

import mne
import numpy as np
import pandas as pd
import pytest
from fakes.things_eeg1 import (
    CONCEPTS,
    IMAGES,
    PEAK,
    PER_CONCEPT,
    REPEATS,
    TEST,
    pattern,
    table_of,
    test_images,
    train_images,
    write_subject,
    write_things_eeg1,
)

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials
from neurovis.store import read_json

things_eeg1 = load_datasets()["things_eeg1"]
module = __import__(things_eeg1.__module__, fromlist=["read_events"])
test_images.__test__ = False

UNTOUCHED = {
    "l_freq": None, "h_freq": None, "sfreq": None, "baseline": None, "detect": False, "bads": "keep",
    "scaling": "none", "tmin": -0.1, "tmax": 0.3,
}  # fmt: skip
N_TRAIN, N_TEST = len(CONCEPTS) * PER_CONCEPT, TEST * REPEATS


def made(root, out, subject=None, **options):
    dataset = resolve(Dataset, {"name": "things_eeg1", **options})
    return prepare(dataset, root, out, subject=subject, quiet=True)


def opened(folder, subject):
    return Trials.open(folder / f"sub-{subject}" / "trials.h5")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_things_eeg1(tmp_path_factory.mktemp("eeg1") / "ds003825")


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "copy")


@pytest.fixture(scope="module")
def untouched(root, tmp_path_factory):
    return made(root, tmp_path_factory.mktemp("out"), steps=UNTOUCHED)


@pytest.mark.parametrize("subject", ["01", "02", "49"])
def test_trials_are_the_recording_cut_at_the_sample_of_their_row(root, untouched, subject):
    trials = opened(untouched, subject)
    table = table_of(subject, subject != "01")
    assert trials.image.tolist() == [n.removesuffix(".jpg") for n in table["stimname"]]
    np.testing.assert_array_equal(np.round(trials.onset * 1000).astype(int), table["onset"])
    assert trials.set.tolist() == ["test" if t else "train" for t in table["isteststim"]]
    assert trials.signal.shape == (len(table), 63, 400)
    raw = mne.io.read_raw(
        root / f"sub-{subject}" / "eeg" / f"sub-{subject}_task-rsvp_eeg.vhdr", verbose="error"
    )
    for row in (0, 7, len(table) - 1):
        start = int(table["onset"][row]) - 100
        expected = raw.get_data(list(range(63)), start, start + 400, verbose="error")
        np.testing.assert_allclose(trials.read([row])[0], expected, atol=1e-10)


def test_every_trial_holds_its_own_image_through_the_default_chain(root, tmp_path):
    folder = made(root, tmp_path, "02", steps={"scaling": "none", "clamp": None})
    trials = opened(folder, "02")
    assert (trials.sfreq, len(trials)) == (100.0, N_TRAIN + N_TEST)
    at = int(np.argmin(np.abs(trials.times - PEAK)))
    found = trials.read()[:, :, at]
    expected = pattern(63)
    like = np.corrcoef(found, expected.T)[: len(found), len(found) :]
    assert [IMAGES[i] for i in like.argmax(axis=1)] == trials.image.tolist()
    assert np.isfinite(trials.channel_position).all()


def test_splits(root, tmp_path):
    folder = made(root, tmp_path, "02", steps=UNTOUCHED)
    split, stimuli = Split.read(folder / "split.json"), Stimuli.read(folder / "stimuli.csv")
    assert set(split.test) == {image for _, image in test_images()}
    tested = {concept for concept, _ in test_images()}
    zero_shot = {image for concept, image in train_images() if concept not in tested}
    assert set(split.train) | set(split.validation) == zero_shot
    assert split.protocol == "clean"
    assert len(stimuli) == len(IMAGES)
    assert stimuli.concept[stimuli.index(["aircraft_carrier_13s"])][0] == "aircraft_carrier"
    assert stimuli.path[0][0].endswith("ds003825/stimuli/aircraft_carrier/aircraft_carrier_01b.jpg")
    native = Split.read(made(root, tmp_path, "02", steps=UNTOUCHED, split="native") / "split.json")
    assert set(native.train) | set(native.validation) == {image for _, image in train_images()}
    assert native.protocol == "clean, native split"


def test_oddities_are_told(untouched):
    notes = {
        who: " ".join(read_json(untouched / f"sub-{who}" / "qc.json")["runs"][0]["notes"])
        for who in ("01", "02", "49")
    }
    assert "no test presentations" in notes["01"]
    assert "owners suggest leaving this subject out: No data for final" in notes["01"]
    assert "onsets in samples" in notes["02"]
    assert "onsets in seconds" in notes["49"]
    assert "64 channels after the first 63 were not connected" in notes["49"]
    assert "windows of neighbouring trials overlap" in notes["02"]
    assert "not connected" not in notes["02"]


def test_paper_recipe_refers_to_the_average_of_all_channels(root, tmp_path):
    steps = {"l_freq": None, "h_freq": None, "sfreq": None, "tmax": 0.3, "picks": ("O1", "Fp1")}
    folder = made(root, tmp_path, "02", recipe="paper", steps=steps)
    trials = opened(folder, "02")
    table = table_of("02")
    raw = mne.io.read_raw(root / "sub-02/eeg/sub-02_task-rsvp_eeg.vhdr", verbose="error")
    start = int(table["onset"][3]) - 100
    whole = raw.get_data(None, start, start + 400, verbose="error")
    rows = [raw.ch_names.index(name) for name in trials.channel_name]
    expected = (whole - whole.mean(axis=0))[rows]
    np.testing.assert_allclose(trials.read([3])[0], expected, atol=1e-10)
    assert Split.read(folder / "split.json").protocol == "paper"
    assert things_eeg1(recipe="paper").steps.sfreq == 250.0


def test_suggested_exclusions_can_be_left_out(root, tmp_path):
    listed = things_eeg1(suggested="leave out").recordings(root)
    assert [r.subject for r in listed] == ["02", "49"]
    with pytest.raises(UsageError, match="subject '01' is unknown"):
        made(root, tmp_path, "01", suggested="leave out")


def test_code_and_manifest_agree(root):
    manifest = read_manifest("things-eeg1")
    assert manifest.reader == "things_eeg1"
    assert set(manifest.protocols) == set(things_eeg1.recipes)
    assert set(manifest.splits) == set(things_eeg1.model_fields["split"].annotation.__args__)
    for pattern_ in manifest.expects:
        assert list(root.glob(pattern_.format(subject="02"))), pattern_


@pytest.mark.parametrize(("subject", "trials", "test"), [("01", 22248, 0), ("02", 24648, 2400)])
def test_true_events(real_data, subject, trials, test):
    file = (
        real_data / f"bids_skeletons/ds003825/sub-{subject}/eeg/sub-{subject}_task-rsvp_events.tsv"
    )
    if not file.is_file():
        pytest.skip("no ds003825 text")
    facts = read_manifest("things-eeg1")
    shown = module.read_events(file)
    assert (len(shown.image), int(shown.test.sum()), shown.unit) == (trials, test, "samples")
    assert shown.strays < 0.001
    assert shown.soa == pytest.approx(1 / facts.fact("presentations_per_second"), abs=1e-3)
    train, counts = np.unique(shown.image[~shown.test], return_counts=True)
    assert len(train) == 22248
    assert (counts == facts.fact("train_repeats")).all()
    assert len({module.concept_of(i) for i in train}) == facts.fact("n_concepts")
    tested, counts = np.unique(shown.image[shown.test], return_counts=True)
    assert len(tested) == (200 if test else 0)
    assert (counts == facts.fact("test_repeats")).all()
    text = pd.read_csv(file, sep="\t", dtype=str)
    assert (np.round(shown.onset * 1000).astype(int) == text["onset"].astype(int)).all()
    assert (shown.path == text["stim"].str.removeprefix("stimuli\\").str.replace("\\", "/")).all()
    if test:
        known = {module.concept_of(i) for i in tested}
        assert len(known) == 200
        assert known <= {module.concept_of(i) for i in train}
        left = [i for i in train if module.concept_of(i) not in known]
        assert len(left) == 19848


def test_true_participants(real_data):
    root = real_data / "bids_skeletons" / "ds003825"
    if not root.is_dir():
        pytest.skip("no ds003825 text")
    people = module.participants(root)
    manifest = read_manifest("things-eeg1")
    assert sorted(people) == list(manifest.subjects)
    excluded = [who for who, (mark, _) in people.items() if mark == "1"]
    assert sorted(excluded) == manifest.fact("suggested_exclusions")


def edit(root, change, subject="02"):
    path = root / f"sub-{subject}/eeg/sub-{subject}_task-rsvp_events.tsv"
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    change(table).to_csv(path, sep="\t", index=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="stim"), r"column 'stim' is missing"),
        (lambda t: t.assign(stim=t["stim"].where(t.index != 6, "stimuli\\x\\y.png")), "line 8: stim is"),
        (lambda t: t.assign(onset=t["onset"].where(t.index != 5, "n/a")), "line 7: onset is 'n/a'"),
        (lambda t: t.assign(onset=t["onset"].where(t.index != 5, "1")), "line 7: onset 1 does not follow"),
        (lambda t: t.assign(onset=(t["onset"].astype(int) * 2).astype(str)), "onset advances by 2000 per"),
        (
            lambda t: t.assign(onset=(t["onset"].astype(int) + 100 * (t.index > 30)).astype(str)),
            r"line 33: onsets are up to \d+ ms off the stimulus computer's clock",
        ),
        (
            lambda t: t.assign(sample=(t["onset"].astype(int) + 9 * (t.index == 4)).astype(str)),
            "line 6: onset and sample differ by 9 samples",
        ),
        (lambda t: t.iloc[:1], "found 1 events, expected a whole run"),
    ],
)  # fmt: skip
def test_wrong_events_are_told_by_line(copy, tmp_path, change, said):
    edit(copy, change)
    with pytest.raises(NeurovisError, match=said):
        made(copy, tmp_path)


def test_an_image_in_training_and_test_is_named(copy, tmp_path):
    edit(copy, lambda t: t.assign(isteststim=(t["object"] == "dog").astype(int)))
    with pytest.raises(NeurovisError, match=r"image 'dog_\d\d\w' is a test image here"):
        made(copy, tmp_path)


def test_half_a_download_fails_its_subject_and_leaves_the_others(copy, tmp_path):
    (copy / "sub-49/eeg/sub-49_task-rsvp_eeg.eeg").unlink()
    with pytest.raises(NeurovisError, match=r"1 of 3 subjects failed .*_eeg.eeg: missing \(1 of 4"):
        made(copy, tmp_path, steps=UNTOUCHED)
    assert {p.parent.name for p in tmp_path.rglob("qc.json")} == {"sub-01", "sub-02"}


def test_a_truncated_recording_is_told(copy, tmp_path):
    path = copy / "sub-02/eeg/sub-02_task-rsvp_eeg.eeg"
    whole = path.read_bytes()
    path.write_bytes(whole[: 63 * 4 * 5000])
    with pytest.raises(NeurovisError, match=r"sub-02.*(truncated|cannot be read)"):
        made(copy, tmp_path, steps=UNTOUCHED)


def test_without_anyone_who_saw_the_test_images(tmp_path):
    root = write_things_eeg1(tmp_path / "alone", ("01",))
    with pytest.raises(NeurovisError, match="fetch another subject, such as sub-02"):
        made(root, tmp_path)
    write_subject(root, "02")
    assert len(opened(made(root, tmp_path, "01", steps=UNTOUCHED), "01")) == N_TRAIN


def test_not_a_dataset(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NeurovisError, match=r"no dataset_description\.json"):
        made(tmp_path / "empty", tmp_path)
    with pytest.raises(UsageError, match="recipe 'papr' is unknown; did you mean 'paper'"):
        made(tmp_path / "empty", tmp_path, recipe="papr")
