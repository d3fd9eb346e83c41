"""Time stamps to sample numbers: gaps found, tremble borne, wrong rates refused, portions of no matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.errors import NeurovisError
from neurovis.live.clock import Clock


def ticked(stamps, sfreq=1000.0, cuts=()):
    clock, gaps = Clock(sfreq), []
    for part in np.split(np.asarray(stamps), sorted(cuts)):
        gaps += clock.tick(part)
    return clock, gaps


def test_regular_stamps_count():
    clock, gaps = ticked(50 + np.arange(3000) / 1000)
    assert not gaps
    assert clock.n == 3000
    assert clock.place(51.5) == pytest.approx(1500, abs=1e-6)
    assert clock.place(60.0) == pytest.approx(10_000, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(300, 4000), st.integers(2, 800)), max_size=5),
    st.lists(st.integers(1, 4000), max_size=30),
)
def test_lost_samples_have_their_place_whatever_the_portions(losses, cuts):
    keep = np.ones(6000, bool)
    for start, count in losses:
        keep[start : start + count] = False
    keep[[0, -1]] = True
    number = np.flatnonzero(keep)
    clock, gaps = ticked(9 + number / 1000, cuts=[c for c in cuts if c < len(number)])
    edges = np.diff(number)
    expected = [(int(number[i]) + 1, int(edges[i]) - 1) for i in np.flatnonzero(edges > 1)]
    assert [(g.start, g.count) for g in gaps] == expected
    assert clock.n == 6000


def test_one_lost_sample_is_found_among_regular_stamps():
    number = np.r_[0:500, 501:900]
    clock, gaps = ticked(number / 250, 250.0)
    assert [(g.start, g.count) for g in gaps] == [(500, 1)]
    assert clock.n == 900


@pytest.mark.parametrize("tremble", [0.001, 0.004])
def test_a_tremble_of_stamps_loses_nothing(tremble):
    rng = np.random.default_rng(0)
    stamps = np.arange(20_000) / 500 + tremble * rng.random(20_000)
    clock, gaps = ticked(stamps, 500.0)
    assert not gaps
    assert clock.place(20.0 + tremble / 2) == pytest.approx(10_000, abs=1)


def test_clocks_that_drift_are_followed():
    # 100 parts in a million: 36 ms in six minutes
    stamps = np.arange(90_000) / 250 * (1 + 1e-4)
    clock, gaps = ticked(stamps, 250.0)
    assert not gaps
    assert clock.place(stamps[-1]) == pytest.approx(89_999, abs=0.5)


def test_a_clock_that_goes_back_is_said_and_loses_nothing():
    stamps = np.r_[np.arange(1000) / 500, 1.5 + np.arange(500) / 500]
    clock, gaps = ticked(stamps, 500.0)
    assert [(g.start, g.count) for g in gaps] == [(1000, -250)]
    assert clock.n == 1500


@pytest.mark.parametrize("actual", [400.0, 495.0, 505.0, 1000.0])
def test_a_wrong_rate_is_refused(actual):
    with pytest.raises(NeurovisError, match="declares 500 Hz"):
        ticked(np.arange(20_000) / actual, 500.0)


def test_an_event_before_any_sample_is_refused():
    with pytest.raises(NeurovisError, match="found none"):
        Clock(100.0).place(1.0)
