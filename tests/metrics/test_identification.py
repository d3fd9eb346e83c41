"""Category metrics against scikit-learn, recording by recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.errors import NeurovisError
from neurovis.metrics.identification import (
    Auc,
    Identification,
    auc,
    balanced,
    by_recording,
    projection_blocks,
    wider_interval,
)
from neurovis.metrics.retrieval import cosine_blocks
from neurovis.metrics.statistics import stratified_counts

metrics = pytest.importorskip("sklearn.metrics")

cases = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({positive for _, positive in rows}) == 2
)


@settings(deadline=None)
@given(cases)
def test_auc_equals_sklearn(rows):
    decision, positive = map(np.array, zip(*rows))
    assert auc(decision, positive) == pytest.approx(metrics.roc_auc_score(positive, decision))
    assert auc(-decision, positive) == pytest.approx(1 - auc(decision, positive))


@settings(deadline=None)
@given(cases)
def test_balanced_equals_sklearn(rows):
    decision, positive = map(np.array, zip(*rows))
    answer = decision > 2
    credit = (answer == positive).astype(float)
    expected = metrics.balanced_accuracy_score(positive, answer)
    assert balanced(credit, positive) == pytest.approx(expected)


def test_draws_equal_the_statistic_of_repeated_rows():
    rng = np.random.default_rng(0)
    positive = rng.random(30) > 0.7
    decision = np.round(rng.standard_normal(30) + positive, 1)
    credit = rng.random(30)
    counts = stratified_counts(positive, 20)
    fast = auc(decision, positive, counts), balanced(credit, positive, counts)
    for draw, n in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(30), n)
        assert fast[0][draw] == pytest.approx(auc(decision[rows], positive[rows]), abs=1e-6)
        assert fast[1][draw] == pytest.approx(balanced(credit[rows], positive[rows]), abs=1e-6)


def test_recordings_are_scored_apart():
    """A shift of scale between recordings (folds) does not enter."""
    rng = np.random.default_rng(0)
    recording = np.repeat(["a", "b", "c"], 40)
    shown = rng.integers(2, size=120)
    similarity = rng.standard_normal((120, 2)) + np.eye(2)[shown]
    shift = np.array([0.0, 50.0, -50.0])[np.repeat(np.arange(3), 40)]
    moved = similarity + np.stack([shift, -shift], axis=1)
    plain, shifted = (by_recording((Auc(),), s, shown, recording) for s in (similarity, moved))
    np.testing.assert_allclose(plain[0], shifted[0])
    np.testing.assert_allclose(plain[1], shifted[1])
    assert plain[0].shape == (1, 3)
    assert plain[1].mean() == pytest.approx(plain[0].mean(), abs=0.01)


def test_constant_answers_score_chance():
    shown = np.array([0, 1, 1, 1, 0, 1])
    for n, some in ((2, (Auc(), Identification())), (5, (Identification(),))):
        for metric in some:
            assert metric.of_recording(np.zeros((6, n)), shown) == pytest.approx(metric.chance(n))
    always_frequent = np.tile([0.0, 1.0], (6, 1))
    assert Identification().of_recording(always_frequent, shown) == 0.5


def test_wider_interval_is_over_recordings_where_they_differ():
    draws = np.random.default_rng(0).normal(0.7, 0.01, 2000)
    low, high = wider_interval(np.array([0.5, 0.7, 0.9]), draws)
    assert low < 0.3
    assert high > 1.1
    low, high = wider_interval(np.array([0.7]), draws)
    assert (low, high) == pytest.approx((0.68, 0.72), abs=0.003)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_interval_covers_the_truth_with_six_recordings(spread):
    """Recordings that differ in effect and those that do not; nominal 95 %, loose bound."""
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    recording, covered = np.repeat(np.arange(6), 50), []
    many = 0.7 + spread * rng.standard_normal(20000)
    truth = stats.norm.cdf(many / np.sqrt(2)).mean()
    for _ in range(100):
        shown = (rng.random(300) > 0.5).astype(int)
        effect = 0.7 + spread * rng.standard_normal(6)
        decision = rng.standard_normal(300) + effect[recording] * shown
        similarity = np.stack([-decision, decision], axis=1)
        value, draws = by_recording((Auc(),), similarity, shown, recording, n_draws=200)
        low, high = wider_interval(value[0], draws[0])
        covered.append(low <= truth <= high)
    assert np.mean(covered) > 0.88


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.floats(1e-3, 1e3))
def test_projections_answer_as_cosines_do_and_keep_the_length(seed, dim, factor):
    rng = np.random.default_rng(seed)
    vector, gallery = rng.standard_normal((7, dim)), rng.standard_normal((3, dim))
    ((_, plain),) = projection_blocks([(vector, gallery)])
    ((_, cosine),) = cosine_blocks([(vector, gallery)])
    unit = np.linalg.norm(gallery, axis=1)
    np.testing.assert_allclose(plain, vector @ (gallery.T / unit) / unit.mean(), atol=1e-4)
    np.testing.assert_array_equal(np.argsort(plain, axis=1), np.argsort(cosine, axis=1))
    ((_, larger),) = projection_blocks([(factor * vector, gallery)])
    np.testing.assert_allclose(larger, factor * plain, rtol=1e-3, atol=1e-5 * factor)
    # targets are summed, each in units of its own categories
    ((_, two),) = projection_blocks([(vector, gallery), (factor * vector, factor * gallery)])
    np.testing.assert_allclose(two, 2 * plain, rtol=1e-3, atol=1e-4)


def test_bad_input_is_one_sentence():
    with pytest.raises(NeurovisError, match="found 0 of one and 3 of the other"):
        auc(np.arange(3.0), np.zeros(3, bool))
    with pytest.raises(NeurovisError, match="NaN in row 1"):
        auc(np.array([0, np.nan]), np.array([True, False]))
