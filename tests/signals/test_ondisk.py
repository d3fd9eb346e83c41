import mne
import numpy as np
import pandas as pd
import pytest
from fakes.ctf import ADC, CLOCK, channels, sensor_names, write_ds

from neurovis.errors import NeurovisError
from neurovis.signals.ondisk import GROUP, Meg4, OnDisk
from neurovis.signals.recording import open_recording


@pytest.mark.parametrize("block", [None, 600])
def test_ctf_files_hold_what_was_given_to_the_bit(tmp_path, block):
    rng = np.random.default_rng(0)
    chs = channels(["MLO11", "MRO11", "MZC01"], references=12, inputs=2)
    signal = np.stack([rng.integers(-(2**30), 2**30, 2400) * c.quantum for c in chs])
    bad = [c.name for c in chs][13:14]
    path = write_ds(
        tmp_path / "a_meg.ds", chs, signal, 2400, trial=block, bad=["MLO11"], segments=[(0.5, 0.75)]
    )
    raw = mne.io.read_raw_ctf(path, verbose="error")
    np.testing.assert_array_equal(raw.get_data(verbose="error")[1:], signal[1:])
    assert raw.ch_names == [c.name for c in chs]
    assert raw.info["sfreq"] == 1200
    types = dict(zip(raw.ch_names, raw.get_channel_types()))
    assert types["MLO11-1609"] == "mag"
    assert types["UPPT001"] == "stim"
    assert types["BG1-1609"] == types["G11-1609"] == "ref_meg"
    assert {types[c.name] for c in chs if c.kind == ADC} == {"misc"}
    assert raw.info["bads"] == bad == ["MLO11-1609"]
    assert raw.annotations.onset.tolist() == [0.5]
    assert raw.annotations.duration.tolist() == [0.25]
    assert raw.info["comps"][0]["data"]["row_names"] == ["MLO11-1609", "MRO11-1609", "MZC01-1609"]
    left, right = (
        raw.info["chs"][raw.ch_names.index(f"M{side}O11-1609")]["loc"][:3] for side in "LR"
    )
    head = [mne.transforms.apply_trans(raw.info["dev_head_t"], place) for place in (left, right)]
    assert head[0][0] < 0 < head[1][0]
    assert head[0][1] < 0


def test_ctf_recording_that_stopped_early_is_cut_where_its_clock_stops(tmp_path):
    chs = channels(["MLO11"], references=9, inputs=1)
    path = write_ds(
        tmp_path / "a_meg.ds", chs, np.zeros((len(chs), 3600)), 3600, trial=1200, stopped=1500
    )
    assert mne.io.read_raw_ctf(path, verbose="error").n_times == 1500


def test_montage_is_the_real_one(real_data):
    file = next(
        (real_data / "bids_skeletons" / "ds004212").glob("sub-*/ses-*/meg/sub*_channels.tsv")
    )
    table = pd.read_csv(file, sep="\t")
    assert [c.name for c in channels()] == table["name"].tolist()
    assert len(sensor_names()) == 272


def noise(chs, n_times, seed=0):
    """Signals that the format holds exactly, array (channel, time)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(-(2**30), 2**30, n_times) * c.quantum for c in chs])


@pytest.mark.parametrize("block", [None, 500])
def test_channels_are_those_that_mne_reads(tmp_path, block):
    sensors = sensor_names()[: GROUP + 5]
    chs = channels(sensors, references=9, inputs=2)
    path = write_ds(tmp_path / "a_meg.ds", chs, noise(chs, 4000), 4000, trial=block, stopped=3700)
    raw = open_recording(path)
    assert raw.n_times == 3700
    signal = Meg4(raw)
    assert signal.shape == (len(chs), 3700)
    expected = raw.get_data().astype(np.float32)
    order = np.random.default_rng(1).permutation(len(chs))
    for row in order:
        np.testing.assert_array_equal(signal[int(row)], expected[row])
        assert signal[int(row)].dtype == np.float32


def test_two_files_of_one_run_follow_each_other(tmp_path):
    chs = channels(["MLO11", "MRO11"], references=1, inputs=1)
    given = noise(chs, 4000)
    clock = next(i for i, c in enumerate(chs) if c.kind == CLOCK)
    first = write_ds(tmp_path / "a_meg.ds", chs, given[:, :2000], 2000, trial=1000)
    second = write_ds(tmp_path / "b_meg.ds", chs, given[:, 2000:], 2000, trial=1000)
    (second / "b_meg.meg4").rename(first / "a_meg.1_meg4")
    signal = Meg4(open_recording(first))
    assert signal.shape == (len(chs), 4000)
    for row in set(range(len(chs))) - {clock}:
        np.testing.assert_array_equal(signal[row], given[row].astype(np.float32))


def test_lost_samples_are_missing_or_the_median(tmp_path):
    chs = channels(["MLO11", "MRO11"], references=1, inputs=1)
    given = noise(chs, 3000)
    path = write_ds(tmp_path / "a_meg.ds", chs, given, 3000)
    signal = Meg4(open_recording(path))
    row = [c.name for c in chs].index("MRO11-1609")
    signal.blank(100, 50, "reject")
    assert np.flatnonzero(np.isnan(signal[row])).tolist() == list(range(100, 150))
    signal.blank(100, 50, "median")
    np.testing.assert_array_equal(signal[row][100:150], np.median(given[row].astype(np.float32)))
    np.testing.assert_array_equal(signal[row][150:], given[row, 150:].astype(np.float32))


def test_a_file_that_shrinks_after_it_was_opened(tmp_path):
    chs = channels(["MLO11"], references=1, inputs=1)
    path = write_ds(tmp_path / "a_meg.ds", chs, noise(chs, 3000), 3000)
    signal = Meg4(open_recording(path))
    with (path / "a_meg.meg4").open("r+b") as handle:
        handle.truncate(5000)
    with pytest.raises(NeurovisError, match=r"a_meg.meg4: cannot be read.*fetch"):
        signal[len(chs) - 1]


def test_epochs_are_read_by_blocks(tmp_path):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((30, 3, 40))
    info = mne.create_info(3, 100.0, "mag")
    events = np.c_[np.arange(30) * 100, np.zeros(30), 1 + np.arange(30)].astype(int)
    path = tmp_path / "a-epo.fif"
    mne.EpochsArray(data, info, events, verbose="error").save(path, verbose="error")
    epochs = mne.read_epochs(path, preload=False, verbose="error")
    rows = np.array([1, 2, 5, 8, 29])
    signal = OnDisk(epochs, rows)
    assert signal.shape == (5, 3, 40)
    np.testing.assert_allclose(signal[1:4], data[[2, 5, 8]], rtol=1e-6)
    np.testing.assert_allclose(signal[4:9], data[[29]], rtol=1e-6)
    assert signal[0:2].dtype == np.float32
    assert epochs.preload is False
