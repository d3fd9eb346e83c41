"""Causal filters: any portions give the same bits, nothing looks ahead, bands are the zero-phase ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal as sp

from neurovis.config import fingerprint, to_dict
from neurovis.errors import UsageError
from neurovis.signals.causal import Causal
from neurovis.signals.chain import Steps, linear_chain, process_run
from neurovis.signals.filters import Chain

RATES = st.sampled_from([(1000.0, 100.0), (1200.0, 120.0), (1024.0, 100.0), (250.0, None)])


def noise(n_chans: int, n_times: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n_chans, n_times)) + 30).astype(np.float32)


def portions(n: int, cuts: list[int]) -> list[slice]:
    edges = [0, *sorted({c for c in cuts if 0 < c < n}), n]
    return [slice(a, b) for a, b in pairwise(edges)]


@settings(max_examples=25, deadline=None)
@given(RATES, st.lists(st.integers(1, 899), max_size=60), st.integers(1, 3))
def test_portions_do_not_matter(rates, cuts, n_chans):
    sfreq, wanted = rates
    chain = Causal(sfreq, 0.5, 40.0, (50.0,), wanted)
    x = noise(n_chans, 900)
    (whole,) = (out for _, out, _ in chain.blocks(x))
    stream = chain.stream(n_chans)
    parts = np.concatenate([stream(x[:, part]) for part in portions(900, cuts)], axis=1)
    assert np.array_equal(parts, whole[:, : parts.shape[1]])
    # at most what would need the next recorded sample is not there yet
    assert whole.shape[1] - parts.shape[1] <= chain.ratio
    assert stream.n_out == parts.shape[1]


def test_channels_do_not_matter():
    chain, x = Causal(500.0, 0.1, 40.0, (50.0,), 100.0), noise(5, 700)
    together = chain(x)
    for row in range(5):
        assert np.array_equal(chain(x[row : row + 1])[0], together[row])


@pytest.mark.parametrize(("sfreq", "wanted"), [(1000.0, 100.0), (1024.0, 100.0)])
def test_nothing_looks_ahead(sfreq, wanted):
    chain, x = Causal(sfreq, 0.1, 40.0, (50.0,), wanted), noise(2, 800)
    other = x.copy()
    other[:, 500:] += 100
    a, b = chain.stream(2), chain.stream(2)
    first, second = a(x), b(other)
    until = 499 * chain.ratio.numerator // chain.ratio.denominator + 1
    assert np.array_equal(first[:, :until], second[:, :until])
    assert not np.allclose(first[:, until:], second[:, until:])


def test_filters_are_minimum_phase_and_stable():
    zeros, poles, _ = sp.sos2zpk(Causal(1200.0, 0.1, 40.0, (50.0, 100.0), 120.0).sections)
    assert (np.abs(zeros) <= 1 + 1e-6).all()
    assert (np.abs(poles) < 1).all()


def test_bands_are_those_of_the_zero_phase_filter():
    options = (1000.0, 1.0, 40.0, (50.0,), 100.0)
    causal, zero = Causal(*options), Chain(*options)
    n = 1 << 15
    impulse = np.zeros((1, n), np.float32)
    impulse[0, n // 2] = 1
    plain = Causal(1000.0, 1.0, 40.0, (50.0,)).stream(1, "zero")(impulse)[0]
    frequency = np.fft.rfftfreq(n, 1e-3)
    gain, other = np.abs(np.fft.rfft(plain)), np.abs(zero.response(n))
    inside = (frequency > 3) & (frequency < 34)
    assert np.allclose(gain[inside], 1, atol=0.02)
    assert np.allclose(other[inside], 1, atol=0.02)
    at = lambda f: np.interp(f, frequency, gain)  # noqa: E731
    assert at(40) > 10 ** (-1.1 / 20)
    assert gain[frequency > 50].max() < 10 ** (-39.9 / 20)
    # half amplitude in the middle of the lower transition, as the other has it
    assert at(0.5) == pytest.approx(0.5, abs=0.01)
    assert at(50) < 1e-3
    assert causal.every == zero.every == 10


@pytest.mark.parametrize("frequency", [2.0, 10.0, 30.0])
def test_the_delay_is_as_stated(frequency):
    chain, times = Causal(1000.0, None, 40.0), np.arange(4000) / 1000
    burst = np.exp(-(((times - 2) / 0.3) ** 2)) * np.cos(2 * np.pi * frequency * (times - 2))
    out = chain.stream(1, "zero")(burst[None])[0]
    center = (times * out**2).sum() / (out**2).sum()
    assert center - 2 == pytest.approx(chain.delay(frequency), abs=2e-3)


def test_rates_that_are_no_divisor_are_interpolated():
    chain, times = Causal(1024.0, None, 40.0, (), 100.0), np.arange(3000) / 1024
    out = chain.stream(1)(np.sin(2 * np.pi * 7 * times)[None])[0]
    reference = Causal(1024.0, None, 40.0, (), None)
    same = Causal(1024.0, None, 40.0, (), 100.0).sections
    assert len(reference.sections) == len(same)
    filtered = sp.sosfilt(same, np.sin(2 * np.pi * 7 * times))
    grid = np.arange(len(out)) / chain.filtered_sfreq
    assert np.allclose(out[200:], np.interp(grid, times, filtered)[200:], atol=1e-5)


def test_a_stream_may_begin_on_a_grid_that_began_earlier():
    chain, x = Causal(1024.0, None, 40.0, (), 100.0), noise(1, 600)
    late = chain.stream(1, first=1000)
    out = late(x)
    times = np.arange(-(-1000 * chain.ratio.numerator // chain.ratio.denominator), late.n_out)
    assert len(times) == out.shape[1]
    assert times[0] / chain.filtered_sfreq >= 1000 / 1024
    assert times[-1] / chain.filtered_sfreq <= 1599 / 1024 + 1e-9


def test_an_offset_far_above_the_signal_costs_nothing():
    chain, x = Causal(1000.0, 0.1, 40.0), noise(1, 5000).astype(np.float64)
    lifted = chain.stream(1)(x + 1e4)
    assert np.allclose(lifted, chain.stream(1)(x), atol=1e-3)


def test_the_option_changes_no_fingerprint_at_its_default():
    assert "phase" not in to_dict(Steps(), how_too=False)
    assert fingerprint(Steps()) != fingerprint(Steps(phase="minimum"))
    assert isinstance(Steps(phase="minimum").chain(500.0), Causal)
    assert not isinstance(Steps().chain(500.0), Causal)


def test_preprocessing_runs_with_it_and_agrees_with_the_linear_chain():
    steps = Steps(phase="minimum", baseline=None, detect=False, sfreq=100.0, tmin=0, tmax=0.5)
    x, onset = noise(3, 4000), np.array([1.0, 2.5])
    run = process_run(
        steps, x.copy(), 1000.0, onset, ["a", "b", "c"], ["eeg"] * 3, np.zeros((3, 3))
    )
    course, rate = linear_chain(steps, x, 1000.0, pad="reflect")
    assert rate == 100
    assert np.array_equal(run.signal[1], course[:, 250:300])
    assert run.before.shape == run.after.shape == (3, 500)
    assert len(run.frequency) == 500
    # white noise of SD 1: its power is 2 / sfreq below the upper edge, and gone above
    assert np.median(run.after[:, 3:38]) == pytest.approx(2e-3, rel=0.15)
    assert run.after[:, 60:].max() < 1e-5


def test_frequencies_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="h_freq"):
        Causal(100.0, None, 60.0)
