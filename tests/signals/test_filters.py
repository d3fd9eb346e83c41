import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.errors import UsageError
from neurovis.signals.chain import Steps, linear_chain
from neurovis.signals.filters import Chain


def pink(n_chans, n_times, seed=0):
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((n_chans, n_times)))
    spectrum /= np.maximum(np.arange(spectrum.shape[1]), 1) ** 0.5
    return np.fft.irfft(spectrum, n_times) * 1e-12


def raw_of(signal, sfreq):
    import mne

    info = mne.create_info(len(signal), sfreq, "mag")
    return mne.io.RawArray(signal.copy(), info, verbose="error")


@pytest.mark.parametrize(
    ("sfreq", "l_freq", "h_freq", "notch", "new"),
    [
        (600.0, 0.5, 40.0, (50.0, 100.0), 120.0),
        (600.0, None, 40.0, (50.0,), None),
        (256.0, 1.0, 30.0, (), 128.0),
        (1200.0, 1.0, None, (50.0, 100.0, 150.0), None),
    ],
)
def test_equals_the_chain_of_mne(sfreq, l_freq, h_freq, notch, new):
    """Within 1e-4 of the signal's SD away from the ends, where MNE pads once per step."""
    signal = pink(3, int(40 * sfreq))
    raw = raw_of(signal, sfreq)
    if notch:
        raw.notch_filter(notch, verbose="error")
    width = (
        "auto" if new is None or h_freq is None else min(max(0.25 * h_freq, 2), new / 2 - h_freq)
    )
    raw.filter(l_freq, h_freq, h_trans_bandwidth=width, verbose="error")
    expected = raw.get_data()[:, :: round(sfreq / new) if new else 1]
    found, rate = linear_chain(
        Steps(l_freq=l_freq, h_freq=h_freq, notch=notch, sfreq=new), signal, sfreq, pad="reflect"
    )
    assert rate == pytest.approx(new or sfreq)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    middle = slice(round(12 * rate), -round(12 * rate))
    error = np.abs(found - expected)[:, middle].max()
    assert error < 1e-4 * expected.std()


def test_a_rate_that_does_not_divide_moves_nothing():
    """Against a cubic spline through MNE's filtered signal."""
    from scipy.interpolate import CubicSpline

    sfreq, new = 500.0, 120.0
    signal = pink(2, int(30 * sfreq))
    raw = raw_of(signal, sfreq).filter(1.0, 40.0, verbose="error")
    times = np.arange(round(30 * new)) / new
    expected = CubicSpline(raw.times, raw.get_data(), axis=1)(times)
    found, rate = linear_chain(
        Steps(l_freq=1.0, h_freq=40.0, sfreq=new), signal, sfreq, pad="reflect"
    )
    assert rate == pytest.approx(new)
    middle = slice(round(5 * new), -round(5 * new))
    assert np.abs(found[:, middle] - expected[:, middle]).max() < 2e-3 * expected.std()


def test_a_sine_in_the_band_keeps_phase_and_amplitude_and_the_line_goes():
    sfreq = 600.0
    times = np.arange(int(30 * sfreq)) / sfreq
    signal = np.sin(2 * np.pi * 10 * times)[None] + 3 * np.sin(2 * np.pi * 50 * times)[None]
    steps = Steps(l_freq=0.5, h_freq=40.0, notch=(50.0,), sfreq=100.0)
    found, rate = linear_chain(steps, signal, sfreq)
    middle = slice(1000, 2000)
    expected = np.sin(2 * np.pi * 10 * np.arange(found.shape[1]) / rate)
    np.testing.assert_allclose(found[0, middle], expected[middle], atol=0.01)


@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(-100, 100, width=32),
    shift=st.integers(0, 20),
    n_chans=st.integers(1, 20),
)
def test_linear_and_time_invariant(scale, shift, n_chans):
    steps = Steps(l_freq=2.0, h_freq=20.0, sfreq=60.0)
    rng = np.random.default_rng(n_chans)
    signal = np.zeros((n_chans, 1800), np.float32)
    signal[:, 600:700] = rng.standard_normal((n_chans, 100))
    base, _ = linear_chain(steps, signal, 300.0)
    scaled, _ = linear_chain(steps, np.float32(scale) * signal, 300.0)
    np.testing.assert_allclose(scaled, scale * base, atol=1e-4 * max(1, abs(scale)))
    moved, _ = linear_chain(steps, np.roll(signal, 5 * shift, axis=1), 300.0)
    np.testing.assert_allclose(
        moved[:, 100:300], np.roll(base, shift, axis=1)[:, 100:300], atol=1e-3
    )


def test_channels_do_not_touch_each_other():
    chain = Chain(300.0, 1.0, 40.0, (50.0,), 100.0)
    signal = pink(40, 3000).astype(np.float32) * 1e12
    together = chain(signal)
    apart = np.concatenate([chain(row[None]) for row in signal])
    np.testing.assert_allclose(together, apart, atol=1e-5 * np.abs(apart).max())


def test_a_large_offset_costs_no_digits():
    """An EEG amplifier's 0.3 V under a signal of microvolts."""
    signal = pink(2, 5000) * 1e6
    lifted = (signal + 0.3 * signal.std() * 1e4).astype(np.float32)
    chain = Chain(250.0, 1.0, 40.0)
    expected = chain(lifted - lifted.mean(axis=1, keepdims=True))
    assert np.abs(chain(lifted) - expected).max() < 1e-3 * expected.std()
    plain = Chain(250.0)(lifted)
    np.testing.assert_allclose(plain, lifted, rtol=1e-6)


def test_power_equals_the_variance_and_drops_where_filtered():
    chain = Chain(500.0, None, 40.0)
    signal = np.random.default_rng(0).standard_normal((2, 50_000)).astype(np.float32)
    before, after = (
        np.concatenate(p) for p in zip(*[b[2] for b in chain.blocks(signal, power=True)])
    )
    assert before.shape == (2, 250)
    np.testing.assert_allclose(before.sum(axis=1), 1.0, rtol=0.05)
    np.testing.assert_allclose(before.mean(), 1 / 250, rtol=0.05)
    assert after[:, 60:].max() < 1e-4 * before.mean()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"h_freq": 60.0, "new_sfreq": 100.0}, "h_freq"),
        ({"h_freq": 200.0}, "h_freq"),
        ({"l_freq": 50.0, "h_freq": 40.0}, "l_freq"),
        ({"notch": (150.0,)}, "notch"),
        ({"new_sfreq": 400.0}, "sfreq"),
    ],
)
def test_impossible_frequencies_are_refused(options, word):
    with pytest.raises(UsageError, match=f"^{word}.*expected"):
        Chain(300.0, **options)


@pytest.mark.parametrize("pad", ["reflect", "zero"])
@pytest.mark.parametrize(
    ("sfreq", "new_sfreq", "l_freq", "h_freq"),
    [
        (250.0, None, 1.0, 40.0),
        (300.0, 100.0, 0.5, None),
        (512.0, 120.0, 2.0, 30.0),
        (256.0, 100.0, None, None),
    ],
)
@pytest.mark.parametrize("n_times", [997, 6001, 20000])
def test_segments_make_no_difference(monkeypatch, pad, sfreq, new_sfreq, l_freq, h_freq, n_times):
    from neurovis.signals import filters

    rng = np.random.default_rng(n_times)
    signal = (5 + rng.standard_normal((6, n_times)).cumsum(axis=1)).astype(np.float32)
    chain = filters.Chain(sfreq, l_freq, h_freq, (50.0,), new_sfreq)
    whole = chain(signal, pad=pad)
    assert chain._segment(n_times, chain.reach) >= n_times + 2 * chain.reach
    monkeypatch.setattr(filters, "SEGMENT", 1500)
    if n_times == 20000:
        assert chain._segment(n_times, chain.reach) < n_times
    np.testing.assert_allclose(chain(signal, pad=pad), whole, atol=2e-6 * np.abs(signal).max())


def test_power_of_segments_is_that_of_the_run(monkeypatch):
    from neurovis.signals import filters

    rng = np.random.default_rng(1)
    times = np.arange(60000) / 250.0
    signal = rng.standard_normal((2, 60000)) + 3 * np.sin(2 * np.pi * 20.5 * times)
    chain = filters.Chain(250.0, 1.0, 40.0)
    monkeypatch.setattr(filters, "SEGMENT", 4000)
    ((_, _, (before, after)),) = chain.blocks(signal.astype(np.float32), power=True)
    assert before.shape == after.shape == (2, 125)
    # white noise of variance 1 has 2 / sfreq per Hz; a sine of amplitude 3 has power 4.5 in one bin
    np.testing.assert_allclose(np.median(before, axis=1), 2 / 250, rtol=0.05)
    np.testing.assert_allclose(before[:, 20], 4.5 + 2 / 250, rtol=0.02)
    np.testing.assert_allclose(after[:, 20], before[:, 20], rtol=0.02)
    assert after[:, 60].max() < 1e-4 * before[:, 60].min()
