"""Accuracy against coverage: against sums written out, scikit-learn, torchmetrics; ties; planted calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from neurovis.errors import NeurovisError
from neurovis.metrics.coverage import (
    bins_of,
    calibration_error,
    confidence,
    coverage,
    fit_temperature,
    kept,
    margin,
    posterior,
    risk_coverage_area,
)

quick = settings(max_examples=40, deadline=None)
COMMON = {"gallery": "20 images", "protocol": "clean", "about": {"system": "tower"}}


def planted(n=4000, n_items=20, temperature=0.15, seed=0):
    """Cosines, and items shown that are drawn from their softmax: a calibrated world."""
    rng = np.random.default_rng(seed)
    similarity = np.tanh(rng.standard_normal((n, n_items)) * 0.3)
    spread = np.exp(0.5 * rng.standard_normal(n))
    p = softmax(similarity / (temperature * spread)[:, None], axis=1)
    shown = (rng.random((n, 1)) > np.cumsum(p, axis=1)).sum(1).clip(max=n_items - 1)
    return similarity, shown, spread, p


def test_probabilities_and_margins_of_rows():
    similarity, _, spread, p = planted(50)
    np.testing.assert_allclose(posterior(similarity, 0.15 * spread), p.max(1))
    ordered = np.sort(similarity, axis=1)
    np.testing.assert_allclose(margin(similarity), ordered[:, -1] - ordered[:, -2])
    assert margin(np.ones((3, 4))).tolist() == [0, 0, 0]
    part = slice(10, 20)
    np.testing.assert_allclose(confidence(similarity[part], 0.15 * spread, part), p.max(1)[part])
    np.testing.assert_allclose(confidence(similarity, None, part), margin(similarity))
    with pytest.raises(NeurovisError, match="two items or more"):
        margin(np.ones((3, 1)))
    # temperatures at which exponentials overflow
    assert posterior(np.array([[1.0, -1.0]]), np.array([1e-3])) == 1


def test_a_row_says_the_same_whatever_other_rows_there_are():
    similarity, _, spread, _ = planted(50)
    for some in (slice(0, 1), slice(7, 9)):
        np.testing.assert_array_equal(
            posterior(similarity[some], spread[some]), posterior(similarity, spread)[some]
        )
        np.testing.assert_array_equal(margin(similarity[some]), margin(similarity)[some])


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_the_temperature_that_was_planted_is_found(temperature):
    similarity, shown, spread, _ = planted(20000, temperature=temperature)
    assert fit_temperature(similarity, shown, spread) == pytest.approx(temperature, rel=0.1)
    # a grid finds nothing better
    best = min(
        np.geomspace(1e-3, 10, 200),
        key=lambda t: -log_softmax(similarity / t, axis=1)[np.arange(20000), shown].mean(),
    )
    assert fit_temperature(similarity, shown) == pytest.approx(best, rel=0.05)


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.floats(0.05, 1))
def test_kept_rows_are_the_surest_and_ties_share(levels, share):
    sure = np.array(levels, float)
    weight = kept(sure, share)
    assert weight.sum() == pytest.approx(share * len(sure))
    assert ((weight >= 0) & (weight <= 1)).all()
    for one in np.unique(sure):
        assert len(np.unique(weight[sure == one])) == 1
        if (weight[sure == one] > 0).any():
            assert (weight[sure > one] == 1).all()


@quick
@given(st.integers(0, 1000), st.integers(1, 30))
def test_the_area_is_the_mean_error_of_all_prefixes(seed, n):
    rng = np.random.default_rng(seed)
    sure, right = rng.permutation(n).astype(float), rng.integers(0, 2, n)
    order = np.argsort(-sure)
    expected = np.mean([1 - right[order[: k + 1]].mean() for k in range(n)])
    assert risk_coverage_area(sure, right) == pytest.approx(expected)
    # repeated rows as weights
    times = rng.integers(0, 3, (2, n)) + (np.arange(n) == 0)
    found = risk_coverage_area(sure, right, times.astype(float))
    for row, value in zip(times, found):
        ranked = np.repeat(order, row[order])
        risk = 1 - np.cumsum(right[ranked]) / np.arange(1, len(ranked) + 1)
        # a repeated row enters whole, so the risk after it counts for each repeat
        last = np.cumsum(row[order])[row[order] > 0] - 1
        assert value == pytest.approx(np.average(risk[last], weights=row[order][row[order] > 0]))


@quick
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=6))
def test_ties_have_the_mean_area_of_their_orders(rows):
    from itertools import permutations

    sure, right = np.array(rows, float).T
    areas = []
    for order in permutations(range(len(rows))):
        if (np.diff(sure[list(order)]) <= 0).all():
            risk = 1 - np.cumsum(right[list(order)]) / np.arange(1, len(rows) + 1)
            areas.append(risk.mean())
    assert risk_coverage_area(sure, right) == pytest.approx(np.mean(areas))


def test_a_confidence_that_says_nothing_has_the_error_as_its_area():
    right = np.array([1, 0, 0, 1, 0])
    assert risk_coverage_area(np.ones(5), right) == pytest.approx(0.6)
    assert risk_coverage_area(right.astype(float), right) == pytest.approx(
        np.mean([0, 0, 1 / 3, 0.5, 0.6])
    )


def test_the_calibration_error_is_that_of_scikit_learn():
    calibration = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(0)
    sure = rng.random(200)
    right = rng.random(200) < 0.6 * sure
    true, said = calibration.calibration_curve(right, sure, n_bins=10, strategy="quantile")
    # bins of equally many rows
    assert calibration_error(sure, right) == pytest.approx(np.abs(true - said).mean(), abs=1e-12)


def test_bins_hold_equally_many_and_ties_together():
    sure = np.random.default_rng(0).random(1000)
    assert np.bincount(bins_of(sure)).tolist() == [100] * 10
    tied = np.repeat([0.2, 0.7], 50)
    assert len(np.unique(bins_of(tied)[:50])) == len(np.unique(bins_of(tied)[50:])) == 1


def test_a_calibrated_world_is_called_calibrated_and_a_sure_one_is_not():
    similarity, shown, spread, p = planted(4000)
    image = np.array([f"i{k}" for k in np.arange(4000) // 4])
    right = (p.argmax(1) == shown).astype(float)
    true = coverage(p.max(1), right, image, 20, True, COMMON)
    scores = {s["name"]: s for s in true["scores"]}
    assert set(scores) == {"aurc", "top1@100", "top1@80", "top1@50", "top1@20", "ece"}
    assert scores["ece"]["value"] < 2 * scores["ece"]["chance"] < 0.04
    assert scores["top1@20"]["value"] > scores["top1@50"]["value"] > scores["top1@100"]["value"]
    assert scores["aurc"]["high"] < scores["aurc"]["chance"] == pytest.approx(1 - right.mean())
    assert scores["aurc"]["about"]["oracle"] < scores["aurc"]["low"]
    assert scores["top1@100"]["value"] == pytest.approx(right.mean())
    assert scores["top1@50"]["about"]["n_rows"] == pytest.approx(2000)
    assert scores["top1@100"]["n"] == 1000
    order = np.argsort(-p.max(1))
    assert scores["top1@20"]["value"] == pytest.approx(right[order[:800]].mean())
    assert true["coverage"][-1] == 1
    assert true["accuracy"][-1] == pytest.approx(right.mean(), abs=1e-6)
    assert all(
        low <= v <= high for low, v, high in zip(true["low"], true["accuracy"], true["high"])
    )
    sure = coverage(posterior(similarity, 0.03 * spread), right, image, 20, True, COMMON)
    wrong = {s["name"]: s for s in sure["scores"]}["ece"]
    assert wrong["low"] > 5 * scores["ece"]["chance"]
    plain = coverage(margin(similarity), right, image, 20, False, COMMON)
    assert "ece" not in {s["name"] for s in plain["scores"]}
    assert plain["about"]["confidence"] == "margin"
    area = {s["name"]: s for s in plain["scores"]}["aurc"]["value"]
    # spreads that are true rank better than margins that do not know them
    assert scores["aurc"]["value"] < area


def test_intervals_hold_the_truth_as_often_as_they_say():
    inside = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sure = rng.random(300)
        right = (rng.random(300) < sure).astype(float)
        image = np.arange(300).astype(str)
        scores = {s["name"]: s for s in coverage(sure, right, image, 20, True, COMMON)["scores"]}
        # the most confident half of uniform confidences is right in 75 % of the cases
        inside.append(scores["top1@50"]["low"] <= 0.75 <= scores["top1@50"]["high"])
    assert np.mean(inside) > 0.85


def test_few_images_and_perfect_answers_have_honest_intervals():
    scores = coverage(np.arange(6.0), np.ones(6), np.array(list("abcdef")), 20, False, COMMON)[
        "scores"
    ]
    for one in scores[1:]:
        assert one["value"] == one["high"] == 1
        assert one["low"] < 0.85
    assert scores[0]["value"] == 0
