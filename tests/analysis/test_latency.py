"""Thresholds hold for all windows at once; latencies are those of the curve, intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from neurovis.analysis.latency import corrected, latencies, power, threshold, times_of
from neurovis.errors import NeurovisError

TIMES = np.arange(-0.1, 0.5, 0.01)


@given(st.integers(0, 1000), st.integers(19, 200))
@settings(max_examples=30, deadline=None)
def test_the_threshold_is_the_smallest_score_that_is_significant(seed, n_draws):
    null = np.random.default_rng(seed).standard_normal((n_draws, 7))
    above = threshold(null)
    # by counting: p of a score is the share of permutations, itself included, that reach it
    p = lambda score: (1 + sum(row.max() >= score for row in null)) / (1 + n_draws)  # noqa: E731
    assert p(np.nextafter(above, np.inf)) <= 0.05 < p(np.nextafter(above, -np.inf))
    value = np.linspace(-1, 4, 9)
    np.testing.assert_allclose(corrected(value, null), [p(v) for v in value])


def test_noise_passes_in_five_per_cent_of_studies():
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(400):
        null = np.cumsum(rng.standard_normal((100, 20)), axis=1)  # windows depend on each other
        passed += bool((null[1:21].max() > 0) and (null[0] > threshold(null[1:])).any())
    assert 4 <= passed <= 36  # 20 expected; six standard deviations either way would be 0 and 46


def test_latencies_of_a_triangle():
    curve = 0.5 + 0.4 * np.clip(1 - np.abs(TIMES - 0.2) / 0.1, 0, None)
    found = times_of(curve, curve - 0.5, TIMES, 0.6)
    # above 0.6: within 75 ms of the peak, in windows of 10 ms
    assert found["onset"] == pytest.approx(0.13)
    assert found["offset"] == pytest.approx(0.27)
    assert found["peak"] == pytest.approx(0.2)
    assert found["rise"] == pytest.approx(0.15)
    assert found["fall"] == pytest.approx(0.25)
    assert found["middle"] == pytest.approx(0.2)
    assert found["most"] == pytest.approx(0.195)


def test_a_flat_curve_has_no_latency_and_a_curve_that_ends_high_no_fall():
    flat, line = np.full(len(TIMES), 0.5), np.linspace(0.5, 0.9, len(TIMES))
    assert set(times_of(flat, flat - 0.5, TIMES, 0.55).values()) == {None}
    rising = times_of(line, line - 0.5, TIMES, 0.6)
    assert rising["fall"] is None
    assert rising["middle"] is None
    assert rising["rise"] == pytest.approx((TIMES[0] + TIMES[-1]) / 2)


def test_power_is_that_of_the_response():
    rng = np.random.default_rng(0)
    course = np.array([0.0, 0.1, 0.25, 0.5, 1.0])
    true = 2.0 * np.sqrt(course) + rng.standard_normal((400_000, 5))
    score = (true > rng.standard_normal((400_000, 5))).mean(0)
    np.testing.assert_allclose(power(score), 4.0 * course, atol=0.05)
    assert (power(np.array([0.0, 0.3, 0.5])) == 0).all()
    assert np.isfinite(power(np.array([1.0])))
    # how good a decoder is does not move where half of the power is reached
    course = np.exp(-0.5 * ((TIMES - 0.15) / 0.03) ** 2)
    for best in (0.5, 1.5, 3.0):
        score = norm.cdf(best * np.sqrt(course / 2))
        found = times_of(score, power(score), TIMES, 0.51)
        assert found["rise"] == pytest.approx(0.15 - 0.03 * np.sqrt(2 * np.log(2)), abs=0.001)


def test_intervals_hold_what_was_planted():
    rng = np.random.default_rng(1)
    course = np.exp(-0.5 * ((TIMES - 0.15) / 0.03) ** 2)
    score = norm.cdf(2.0 * np.sqrt(course) / np.sqrt(2))  # d' of 2 at the peak
    credit = score + 0.12 * rng.standard_normal((150, len(TIMES)))
    half = 0.03 * np.sqrt(2 * np.log(2))
    found = {
        one.name: one
        for one in latencies(np.repeat(credit, 2, 0), np.repeat(range(150), 2), TIMES, 0.58)
    }
    for name, value in (("peak", 0.15), ("rise", 0.15 - half), ("fall", 0.15 + half)):
        one = found[name]
        assert one.low - 0.005 <= value <= one.high + 0.005
        assert one.low <= one.value <= one.high
        assert one.high - one.low < 0.05
        assert one.found == 1


def test_a_latency_that_few_draws_have_gets_no_interval():
    rng = np.random.default_rng(2)
    credit = 0.5 + 0.2 * rng.standard_normal((40, len(TIMES)))
    credit -= credit.mean(0) - 0.5  # the mean is flat
    found = latencies(credit, np.arange(40), TIMES, 0.9)
    assert all(one.value is None and one.low is None and one.high is None for one in found)


@pytest.mark.parametrize(
    ("null", "said"),
    [
        (np.full((50, 3), np.nan), "finite"),
        (np.zeros((0, 3)), "at least once"),
        (np.zeros((18, 3)), "at least 19 permutations"),
    ],
)
def test_a_null_that_says_nothing_is_refused(null, said):
    with pytest.raises(NeurovisError, match=said):
        threshold(null)
