import mne
import numpy as np
import pytest

from neurovis.errors import NeurovisError, UsageError
from neurovis.signals.channels import (
    find_bad_channels,
    interpolation,
    pick_channels,
    region,
    repair,
)

NAMES = ["MLO11-1609", "MRT21", "MZC01", "Oz", "PO3", "Fp1", "STI 014", "EOG"]
TYPES = ["mag", "mag", "mag", "eeg", "eeg", "eeg", "stim", "eog"]


def picked(*picks):
    return [NAMES[i] for i in pick_channels(NAMES, TYPES, picks)]


def test_picks_by_type_region_and_name():
    assert picked("meg") == NAMES[:3]
    assert picked("eeg", "-Fp1") == ["Oz", "PO3"]
    assert picked("occipital") == ["MLO11-1609", "Oz", "PO3"]
    assert picked("EOG", "MZC01") == ["MZC01", "EOG"]
    assert picked("data", "-frontal") == NAMES[:5]


def test_unknown_channel_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'PO3'"):
        picked("P03")
    with pytest.raises(UsageError, match="no channel is 'grad'"):
        picked("grad")
    with pytest.raises(UsageError, match="leaves no channel"):
        picked("Oz", "-eeg")


def test_regions_of_known_systems():
    assert region("MRF14-1609") == "frontal"
    assert region("T7") == region("TP10") == "temporal"
    assert region("CPz") == "parietal"
    assert region("FC3") == "central"
    assert region("AF7") == "frontal"
    assert region("MEG0111") == region("Right AUX") == ""


def montage_signal(n_times=4000, seed=0):
    """Smooth topographies on the 64 channels of a real montage."""
    names = mne.channels.make_standard_montage("biosemi64").ch_names
    places = mne.channels.make_standard_montage("biosemi64").get_positions()["ch_pos"]
    position = np.array([places[name] for name in names])
    rng = np.random.default_rng(seed)
    unit = position / np.linalg.norm(position, axis=1, keepdims=True)
    centres = rng.standard_normal((30, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    topography = np.exp(2 * (unit @ centres.T - 1))
    signal = topography @ rng.standard_normal((30, n_times))
    return names, position, (signal + 0.05 * rng.standard_normal(signal.shape)) * 1e-5


def test_planted_bad_channels_are_found_and_good_ones_left():
    _, _, signal = montage_signal()
    types = ["eeg"] * len(signal)
    assert find_bad_channels(signal, types) == {}
    rng = np.random.default_rng(1)
    signal[3] = 0
    signal[10] *= 30
    signal[20] = rng.standard_normal(signal.shape[1]) * signal[20].std()
    signal[40, 5] = np.nan
    bad = find_bad_channels(signal, types)
    assert sorted(bad) == [3, 10, 20, 40]
    assert bad[3] == "flat"
    assert "amplitude" in bad[10]
    assert "correlation" in bad[20]
    assert bad[40] == "not finite"


def test_a_burst_condemns_nobody():
    _, _, signal = montage_signal()
    signal[7, :200] += 1e-3
    assert find_bad_channels(signal, ["eeg"] * len(signal)) == {}


def test_interpolation_equals_mne():
    names, position, signal = montage_signal(200)
    info = mne.create_info(names, 100.0, "eeg")
    raw = mne.io.RawArray(signal, info, verbose="error").set_montage("biosemi64")
    raw.info["bads"] = [names[5], names[30]]
    expected = raw.copy().interpolate_bads(verbose="error").get_data([5, 30])
    found = signal[None].astype(np.float32)
    repair(found, ["eeg"] * 64, position, [5, 30])
    assert np.abs(found[0, [5, 30]] - expected).max() < 0.02 * expected.std()
    np.testing.assert_array_equal(
        np.delete(found[0], [5, 30], 0), np.delete(signal, [5, 30], 0).astype("f4")
    )


def test_interpolation_restores_a_constant_and_needs_positions():
    _, position, _ = montage_signal(10)
    weights = interpolation(position, [0, 9])
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    position[4] = np.nan
    with pytest.raises(NeurovisError, match="bads=drop"):
        interpolation(position, [0])
    with pytest.raises(NeurovisError, match="gradiometers"):
        repair(np.zeros((1, 64, 2), "f4"), ["grad"] * 64, position, [0])
