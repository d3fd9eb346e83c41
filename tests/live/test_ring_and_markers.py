"""The ring holds what a list would; markers become events, copies and losses are said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.errors import NeurovisError
from neurovis.live.markers import Markers
from neurovis.live.ring import Ring


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.lists(st.integers(0, 45), max_size=12))
def test_the_ring_holds_what_an_array_would(capacity, sizes):
    ring, whole = Ring(2, capacity), np.zeros((2, 0), np.float32)
    for size in sizes:
        new = np.arange(whole.shape[1], whole.shape[1] + size) * np.ones((2, 1), np.float32)
        ring.put(new)
        whole = np.concatenate([whole, new], axis=1)
        assert ring.n == whole.shape[1]
        first = ring.first
        assert first == max(0, ring.n - capacity)
        if ring.n > first:
            assert np.array_equal(ring.get(first, ring.n), whole[:, first:])


def test_what_is_gone_or_not_there_is_refused():
    ring = Ring(1, 10)
    ring.put(np.zeros((1, 25)))
    for a, b in ((14, 20), (20, 26), (20, 20)):
        with pytest.raises(NeurovisError, match="between 15 and 25"):
            ring.get(a, b)
    with pytest.raises(NeurovisError, match="room"):
        Ring(1, 0)


def test_a_jump_keeps_what_was_before_it():
    ring = Ring(1, 10)
    ring.jump(100)  # the start
    assert ring.first == ring.n == 100
    ring.put(np.ones((1, 4)))
    ring.jump(107)
    ring.put(np.full((1, 2), 2.0))
    assert ring.get(100, 109)[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 2, 2]
    ring.jump(1000)
    assert ring.get(990, 1000)[0].tolist() == [0] * 10


def events(markers, pairs):
    out = [markers.take(label, stamp) for label, stamp in pairs]
    return [m for m, _ in out if m], [text for _, said in out for text in said]


def test_labels_become_events_with_their_images():
    markers = Markers({"7": "cat_01"}, lag=0.025)
    made, said = events(markers, [("7", 1.0), ("8", 1.5)])
    assert [(m.number, m.label, m.image) for m in made] == [(0, "7", "cat_01"), (1, "8", "")]
    assert [m.stamp for m in made] == [0.975, 1.475]
    assert not said


def test_only_some_labels_are_events():
    made, _ = events(Markers({}, only=("stim*",)), [("stim1", 1), ("fixation", 2), ("stim2", 3)])
    assert [m.label for m in made] == ["stim1", "stim2"]


def test_copies_are_left_out_and_said():
    pairs = [("a", 1.0), ("a", 1.01), ("b", 1.02), ("a", 2.0)]
    made, said = events(Markers({}), pairs)
    assert [m.label for m in made] == ["a", "b", "a"]
    assert said == ["marker 'a': came twice, 10 ms apart; the copy was left out"]


def test_a_marker_that_is_missing_among_regular_ones_is_suspected():
    times = [0.6 * i for i in range(20) if i not in (12, 15, 16)]
    _, said = events(Markers({}), [(str(i), t) for i, t in enumerate(times)])
    assert [text.split(" may")[0] for text in said] == ["marker: 1", "marker: 2"]


def test_pauses_of_any_length_are_no_suspicion():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.5, 3, 60))
    assert not events(Markers({}), [(str(i), t) for i, t in enumerate(times)])[1]


def test_a_time_that_is_no_number_is_left_out():
    made, said = events(Markers({}), [("a", float("nan"))])
    assert not made
    assert "not a number" in said[0]
