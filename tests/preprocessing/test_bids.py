import shutil

import mne
import numpy as np
import pandas as pd
import pytest
from fakes.bids import CONCEPTS, PEAK, TEST, TRAIN, edit_events, events_of, raw_of, write_bids

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials

load_datasets()

STEPS = {"sfreq": 125.0, "tmax": 0.4, "l_freq": 0.5, "h_freq": 40.0, "scaling": "robust"}
OPTIONS = {"name": "bids", "set_column": "trial_type", "concept_column": "concept", "steps": STEPS}


def made(root, out, **options):
    steps = {**STEPS, **options.pop("steps", {})}
    dataset = resolve(Dataset, {**OPTIONS, **options, "steps": steps})
    return prepare(dataset, root, out, quiet=True)


def peak(trials):
    """Time of the greatest mean deviation, s."""
    signal = trials.read()
    strength = sum(
        signal[trials.image == i].mean(axis=0).std(axis=0) for i in np.unique(trials.image)
    )
    return trials.times[strength.argmax()]


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    return write_bids(tmp_path_factory.mktemp("bids"))


@pytest.fixture
def copy(bids, tmp_path):
    return shutil.copytree(bids, tmp_path / "bids")


@pytest.mark.parametrize(
    ("format", "trigger"), [("FIF", "auto"), ("BrainVision", "auto"), ("EDF", None)]
)
def test_formats_give_the_planted_response_at_its_time(tmp_path, format, trigger):
    root = write_bids(tmp_path / "bids", format)
    folder = made(root, tmp_path, trigger=trigger)
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    assert len(trials) == 2 * (TRAIN + 3 * TEST)
    assert trials.modality == ("meg" if format == "FIF" else "eeg")
    assert trials.signal.shape[1:] == (16, 62)
    assert peak(trials) == pytest.approx(PEAK, abs=0.009)
    table = pd.read_csv(events_of(root), sep="\t")
    first = trials.run == "01"
    assert trials.image[first].tolist() == table["stim_file"].tolist()
    np.testing.assert_allclose(trials.onset[first], table["onset"], atol=1e-3)
    assert np.isfinite(trials.channel_position).all()
    stimuli = Stimuli.read(folder / "stimuli.csv")
    assert all(stimuli.files(i)[0].is_file() for i in range(len(stimuli)))
    assert set(stimuli.width) == {8}
    split = Split.read(folder / "split.json")
    assert len(split.test) == TEST
    assert len(split.train) + len(split.validation) == TRAIN
    assert (folder / "sub-01" / "qc.html").stat().st_size > 1e5
    trials.close()


def test_lag_is_what_separates_trigger_from_event(bids, tmp_path):
    right = Trials.open(made(bids, tmp_path, trigger="auto") / "sub-01" / "trials.h5")
    late = Trials.open(
        made(bids, tmp_path, trigger="auto", steps={"lag": 0.0}) / "sub-01" / "trials.h5"
    )
    written = Trials.open(made(bids, tmp_path) / "sub-01" / "trials.h5")
    np.testing.assert_allclose(late.onset - right.onset, 0.04, atol=1e-9)
    np.testing.assert_allclose(right.onset, written.onset, atol=1e-9)
    np.testing.assert_array_equal(right.read(), written.read())
    assert peak(right) - peak(late) == pytest.approx(0.04, abs=0.009)


def test_epochs_equal_the_plain_chain_of_mne(bids, tmp_path):
    steps = {"scaling": "none", "detect": False, "tmin": -0.08, "baseline": None}
    trials = Trials.open(made(bids, tmp_path, steps=steps) / "sub-01" / "trials.h5")
    file = next(bids.glob("sub-01/**/*run-01_meg.fif"))
    raw = mne.io.read_raw_fif(file, preload=True, verbose="error").pick("mag")
    raw.filter(0.5, 40.0, verbose="error")
    samples = pd.read_csv(events_of(bids), sep="\t")["sample"].to_numpy() + raw.first_samp
    events = np.c_[samples, 0 * samples, 1 + 0 * samples]
    epochs = mne.Epochs(
        raw, events, tmin=-0.08, tmax=0.392, baseline=None, decim=2, preload=True, verbose="error"
    )
    first = np.flatnonzero(trials.run == "01")
    expected = epochs.get_data()
    found = trials.read(first)
    assert np.abs(found - expected).max() < 1e-4 * expected.std()


def test_sets_by_repeats_file_and_where(bids, tmp_path):
    by_repeats = made(bids, tmp_path, set_column=None, test_repeats=6)
    by_column = made(bids, tmp_path)
    assert Split.read(by_repeats / "split.json").test == Split.read(by_column / "split.json").test
    with pytest.raises(UsageError, match="test_repeats"):
        made(bids, tmp_path, set_column=None)
    with pytest.raises(NeurovisError, match=r"Split.train.*found none"):
        made(bids, tmp_path, where={"trial_type": ["test"]})
    with pytest.raises(NeurovisError, match=r"Split.test.*found none"):
        made(bids, tmp_path, where={"trial_type": ["train"]})
    with pytest.raises(UsageError, match="did you mean 'trial_type'"):
        made(bids, tmp_path, where={"trial_typ": ["train"]})


def test_unknown_channel_is_answered_with_the_nearest(bids, tmp_path):
    with pytest.raises(NeurovisError, match="did you mean 'MEG003'"):
        made(bids, tmp_path, steps={"picks": ("MEG0003",)})


def test_event_without_image(copy, tmp_path):
    edit_events(copy, lambda t: t.assign(stim_file=t["stim_file"].where(t.index != 4, "n/a")))
    with pytest.raises(NeurovisError, match="line 6 has no image"):
        made(copy, tmp_path)


def test_image_in_training_and_test_is_named(copy, tmp_path):
    edit_events(
        copy, lambda t: t.assign(trial_type=np.where(t["value"] == "3", "test", t["trial_type"]))
    )
    with pytest.raises(NeurovisError, match=r"thing02.png' is in"):
        made(copy, tmp_path)


def test_same_picture_under_two_names_is_a_leak(copy, tmp_path):
    shutil.copy(copy / "stimuli" / "thing00.png", copy / "stimuli" / "thing15.png")
    with pytest.raises(NeurovisError, match="same picture"):
        made(copy, tmp_path)


def test_missing_and_truncated_recordings_are_named(copy, tmp_path):
    events_of(copy, 2).unlink()
    with pytest.raises(NeurovisError, match=r"run-02_events.tsv: no such events table"):
        made(copy, tmp_path)
    shutil.rmtree(copy)
    write_bids(copy)
    file = next(copy.glob("sub-01/**/*run-02_meg.fif"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NeurovisError, match=r"run-02_meg.fif") as error:
        made(copy, tmp_path)
    assert "truncated" in str(error.value) or "cannot be read" in str(error.value)
    file.write_bytes(b"no recording")
    with pytest.raises(NeurovisError, match=r"run-02_meg.fif: cannot be read"):
        made(copy, tmp_path)


def test_other_rate_and_other_montage_are_refused(tmp_path):
    root = write_bids(tmp_path / "rate", n_runs=1)
    other = write_bids(tmp_path / "other", n_runs=2, sfreq=500.0)
    take_run(other, root)
    with pytest.raises(NeurovisError, match="sampling rate 500 Hz, expected 250 Hz"):
        made(root, tmp_path)
    root = write_bids(tmp_path / "montage", n_runs=1)
    other = write_bids(tmp_path / "fewer", n_runs=2, n_chans=15)
    take_run(other, root)
    with pytest.raises(NeurovisError, match=r"channel 'MEG015' is missing \(1 differ"):
        made(root, tmp_path)


def take_run(source, target):
    for path in source.glob("sub-01/ses-01/meg/*run-02*"):
        shutil.copy(path, target / "sub-01" / "ses-01" / "meg" / path.name)


def test_moved_sensors_are_another_montage(tmp_path):
    root = write_bids(tmp_path / "bids")
    file = next(root.glob("sub-01/**/*run-02_meg.fif"))
    raw = mne.io.read_raw_fif(file, preload=True, verbose="error")
    raw.info["chs"][3]["loc"][:3] += 0.05
    raw.save(file, overwrite=True, verbose="error")
    with pytest.raises(NeurovisError, match="'MEG003' is 87 mm from"):
        made(root, tmp_path)


def test_triggers_that_do_not_match_the_events(copy, tmp_path):
    edit_events(copy, lambda t: t.iloc[:-1])
    with pytest.raises(NeurovisError, match="marks 24 events, the events file has 23"):
        made(copy, tmp_path, trigger="STI 014")
    with pytest.raises(NeurovisError, match="did you mean 'STI 014'"):
        made(copy, tmp_path, trigger="STI 015")
    edit_events(copy, lambda t: t, run=1)
    shutil.rmtree(copy)
    write_bids(copy)
    edit_events(copy, lambda t: t.assign(onset=[f"{2 + 0.52 * i:.3f}" for i in range(len(t))]))
    with pytest.raises(NeurovisError, match="not the same events"):
        made(copy, tmp_path, trigger="auto")


def test_an_event_beyond_the_recording_tells_of_truncation(copy, tmp_path):
    edit_events(copy, lambda t: t.assign(onset=t["onset"].where(t.index != 23, "900.0")))
    with pytest.raises(NeurovisError, match=r"event 23 is at 900.000 s.*truncated"):
        made(copy, tmp_path)


def rewrite(root, change, run=1):
    """Change the signal of one run's FIF file."""
    file = next(root.glob(f"sub-01/**/*run-{run:02d}_meg.fif"))
    raw = mne.io.read_raw_fif(file, preload=True, verbose="error")
    change(raw._data)
    raw.save(file, overwrite=True, verbose="error")


def test_flat_and_missing_channels_are_repaired_and_gaps_rejected(copy, tmp_path):
    clean = Trials.open(made(copy, tmp_path, steps={"scaling": "none"}) / "sub-01" / "trials.h5")

    def damage(data):
        data[4] = 0
        data[9] = np.nan
        data[2, 2500:2510] = np.nan

    rewrite(copy, damage)
    folder = made(copy, tmp_path, steps={"scaling": "none"})
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    run = trials.provenance["runs"][0]
    assert run["bad"]["MEG004"] == "flat"
    assert "not finite" in run["bad"]["MEG009"]
    assert run["rejected"] == {"samples missing": 1}
    shared = np.isin(clean.onset, trials.onset[trials.run == "01"]) & (clean.run == "01")
    for channel in (4, 9):
        before = clean.read(np.flatnonzero(shared))[:, channel].ravel()
        after = trials.read(np.flatnonzero(trials.run == "01"))[:, channel].ravel()
        assert np.corrcoef(before, after)[0, 1] > 0.7
    dropped = made(copy, tmp_path, steps={"bads": "drop"})
    assert Trials.open(dropped / "sub-01" / "trials.h5").signal.shape[1] == 14


def test_when_half_of_the_channels_are_dead_the_run_is_refused(copy, tmp_path):
    def damage(data):
        data[:9] = np.nan

    rewrite(copy, damage)
    with pytest.raises(NeurovisError, match=r"run-01_meg.fif: channels: 9 of 16 are bad"):
        made(copy, tmp_path)


def test_plain_recordings_with_a_table(tmp_path):
    root = tmp_path / "plain"
    root.mkdir()
    tables = []
    for run, suffix in ((1, "_raw.fif"), (2, "_eeg.edf")):
        raw, table = raw_of("eeg", run, stim=False)
        name = f"run{run}{suffix}"
        if suffix.endswith("edf"):
            mne.export.export_raw(root / name, raw, verbose="error")
        else:
            raw.save(root / name, verbose="error")
        tables.append(table.assign(file=name, image=table["value"], set=table["trial_type"]))
    table = pd.concat(tables)[["file", "sample", "image", "set", "concept"]]
    table.to_csv(root / "events.tsv", sep="\t", index=False)
    options = {
        "name": "table", "table": "events.tsv", "set_column": "set", "concept_column": "concept",
        # EDF keeps no sensor positions
        "steps": {**STEPS, "bads": "keep", "detect": False},
    }  # fmt: skip
    folder = prepare(resolve(Dataset, options), root, tmp_path, quiet=True)
    trials = Trials.open(folder / "sub-1" / "trials.h5")
    assert np.unique(trials.run).tolist() == ["01", "02"]
    assert peak(trials) == pytest.approx(PEAK, abs=0.009)
    assert set(Stimuli.read(folder / "stimuli.csv").concept) == set(CONCEPTS)
    (root / "run2_eeg.edf").unlink()
    with pytest.raises(NeurovisError, match=r"run2_eeg.edf: no such recording"):
        prepare(resolve(Dataset, options), root, tmp_path, quiet=True)


REAL = {
    "SSS/sample_audvis_trunc_raw_sss.fif": ("mag", "meg"),
    "CTF/testdata_ctf_short_discontinuous.ds": ("mag", "meg"),
    "Brainvision/test_NO.vhdr": ("eeg", "eeg"),
    "EDF/test_reduced.edf": ("eeg", "eeg"),
    "BDF/test_bdf_stim_channel.bdf": ("eeg", "eeg"),
    "EEGLAB_continuous/eeglab_data.set": ("eeg", "eeg"),
    "GDF/test_1ch.gdf": ("eeg", "eeg"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_go_through_the_same_reader(real_data, tmp_path, name):
    source = real_data / "formats" / name
    if not source.exists():
        pytest.skip(f"no {name}")
    kind, modality = REAL[name]
    raw = mne.io.read_raw(source, verbose="error")
    onset = np.linspace(0.3, raw.times[-1] - 0.3, 8)[1:-1]
    sets = ["train", "train", "train", "train", "test", "test"]
    table = pd.DataFrame(
        {"file": str(source), "onset": onset, "image": list("abcdef"), "set": sets}
    )
    table.to_csv(tmp_path / "events.csv", index=False)
    steps = {
        "picks": (kind,), "l_freq": None, "h_freq": None, "sfreq": None, "tmin": 0.0, "tmax": 0.1,
        "baseline": None, "detect": False, "bads": "keep", "scaling": "none",
    }  # fmt: skip
    dataset = resolve(Dataset, {"name": "table", "set_column": "set", "steps": steps})
    folder = prepare(dataset, tmp_path, tmp_path / "out", quiet=True)
    trials = Trials.open(folder / "sub-1" / "trials.h5")
    assert trials.modality == modality
    picks = mne.pick_types(
        raw.info,
        meg=kind if modality == "meg" else False,
        eeg=modality == "eeg",
        ref_meg=False,
        exclude=[],
    )
    start = round(onset[2] * raw.info["sfreq"])
    expected = raw.get_data(picks)[:, start : start + trials.signal.shape[2]]
    row = trials.image.tolist().index("c")
    np.testing.assert_allclose(
        trials.read([row])[0], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )


def test_a_real_bids_dataset(real_data, tmp_path):
    source = real_data / "formats" / "tiny_bids"
    if not source.exists():
        pytest.skip("no tiny_bids")
    root = shutil.copytree(source, tmp_path / "tiny", copy_function=shutil.copyfile)
    (path,) = root.glob("**/*_events.tsv")
    found = pd.read_csv(path, sep="\t")
    path.chmod(0o644)
    rows = pd.DataFrame(
        {
            "onset": [0.05, 0.15, 0.25],
            "duration": 0,
            "image": list("abc"),
            "set": ["train", "train", "test"],
        }
    )
    rows.to_csv(path, sep="\t", index=False)
    steps = {"picks": ("eeg",), "tmin": 0.0, "tmax": 0.03, "l_freq": None, "h_freq": None, "sfreq": None,
             "baseline": None, "detect": False, "bads": "keep", "scaling": "constant"}  # fmt: skip
    dataset = resolve(Dataset, {"name": "bids", "set_column": "set", "steps": steps})
    folder = prepare(dataset, root, tmp_path / "out", quiet=True)
    assert len(Trials.open(folder / "sub-01" / "trials.h5")) == 3
    assert "onset" in found
