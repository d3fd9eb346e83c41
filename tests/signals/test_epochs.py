import mne
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurovis.errors import NeurovisError
from neurovis.signals.epochs import (
    epoch,
    read_triggers,
    rejections,
    repeat_index,
    subtract_baseline,
)


@given(
    gaps=st.lists(
        st.tuples(st.integers(2, 30), st.integers(1, 9), st.integers(1, 255)), max_size=20
    )
)
def test_triggers_equal_mne(gaps):
    values, expected = [0, 0], []
    for gap, width, value in gaps:
        values += [0] * gap
        expected.append((len(values), value))
        values += [value] * width
    values += [0]
    channel = np.array(values, float)
    onset, value = read_triggers(channel, 100.0)
    info = mne.create_info(["STI"], 100.0, "stim")
    raw = mne.io.RawArray(channel[None], info, verbose="error")
    events = mne.find_events(raw, shortest_event=1, verbose="error")
    np.testing.assert_allclose(onset * 100, events[:, 0])
    np.testing.assert_array_equal(value, events[:, 2])
    assert [(round(o * 100), v) for o, v in zip(onset, value)] == expected


def test_lag_is_subtracted_exactly():
    channel = np.zeros(1000)
    channel[[100, 101, 102, 500, 501]] = 7
    onset, value = read_triggers(channel, 1000.0, lag=0.025)
    np.testing.assert_allclose(onset, [0.075, 0.475])
    assert value.tolist() == [7, 7]


def test_transients_are_skipped_and_bits_masked():
    channel = np.zeros(100)
    channel[10:20] = 6
    channel[10] = 4  # one bit switched a sample early
    onset, value = read_triggers(channel, 100.0, min_duration=0.02)
    assert value.tolist() == [6]
    assert onset.tolist() == [0.11]
    onset, value = read_triggers(channel + 256, 100.0, mask=255, min_duration=0.02)
    assert value.tolist() == [6]


def test_no_trigger_is_no_event():
    assert len(read_triggers(np.zeros(10), 100.0)[0]) == 0
    assert len(read_triggers(np.zeros(0), 100.0)[0]) == 0


def test_epochs_equal_mne():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((2, 1000))
    info = mne.create_info(2, 100.0, "eeg")
    raw = mne.io.RawArray(signal, info, verbose="error")
    events = np.c_[[50, 400, 700], np.zeros(3, int), np.ones(3, int)]
    options = {
        "tmin": -0.2,
        "tmax": 0.49,
        "baseline": (-0.2, 0),
        "preload": True,
        "verbose": "error",
    }
    expected = mne.Epochs(raw, events, **options).get_data()
    found = epoch(signal, 100.0, events[:, 0] / 100, -0.2, 0.5)
    found = subtract_baseline(found, -0.2 + np.arange(70) / 100, (None, 0))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_window_beyond_the_signal_and_empty_windows_are_refused():
    with pytest.raises(NeurovisError, match="event 1 at"):
        epoch(np.zeros((1, 100)), 100.0, np.array([0.5, 0.9]), 0, 0.2)
    with pytest.raises(NeurovisError, match="tmin, tmax"):
        epoch(np.zeros((1, 100)), 100.0, np.array([0.5]), 0.2, 0.2)
    with pytest.raises(NeurovisError, match="baseline"):
        subtract_baseline(np.zeros((1, 1, 5)), np.arange(5) / 10, (-0.3, -0.1))


def test_rejection_names_the_worst_channel_and_ignores_bad_ones():
    signal = np.zeros((3, 2, 10))
    signal[1, 1, 4] = 2e-4
    signal[2, 0, 4] = 9e-4
    reasons = rejections(signal, ["eeg", "eeg"], ["Fp1", "Oz"], {"eeg": 1e-4})
    assert reasons[0] == ""
    assert "Oz" in reasons[1]
    assert "Fp1" in reasons[2]
    assert rejections(signal, ["eeg"] * 2, ["Fp1", "Oz"], {"eeg": 1e-4}, [0])[2] == ""


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_repeat_index_counts_showings(images):
    seen = {}
    expected = []
    for image in images:
        expected.append(seen.get(image, 0))
        seen[image] = expected[-1] + 1
    assert repeat_index(images).tolist() == expected
