"""Power laws come back, and nothing is said of more data where the points do not tell."""

from __future__ import annotations

import numpy as np
import pytest

from neurovis.analysis.curves import Fit, fitted, power_law

AMOUNT = np.array([50, 100, 200, 400, 800, 1600.0])


def draws(score, n=80, error=0.004, seed=0):
    rng = np.random.default_rng(seed)
    return score + error * rng.standard_normal((n, len(score)))


@pytest.mark.parametrize("exponent", [0.3, 0.8, 1.5])
def test_an_exact_law_comes_back(exponent):
    score = 0.9 - 0.02 * (AMOUNT / 1600) ** -exponent
    one = power_law(AMOUNT, score, np.full(6, 0.01))
    assert one.best == pytest.approx(0.9, abs=2e-3)
    assert one.exponent == pytest.approx(exponent, rel=0.03)
    assert one.at(2) == pytest.approx(0.9 - 0.02 * 2**-exponent, abs=1e-3)


def test_more_data_is_told_with_an_interval_that_holds_the_truth():
    law = Fit(0.9, 0.08, 0.6)
    score = np.array([law.at(a / 1600) for a in AMOUNT])
    drawn = draws(score)
    found = fitted(AMOUNT, score + 0.002 * np.array([1, -1, 1, -1, 1, -1]), drawn, 0.5)
    assert [f["ratio"] for f in found["further"]] == [2, 4]
    for one in found["further"]:
        assert one["n"] == one["ratio"] * 1600
        assert one["low"] <= law.at(one["ratio"]) <= one["high"]
        assert one["low"] <= one["value"] <= one["high"] <= 1
    value, low, high = found["exponent"]
    assert low <= 0.6 <= high
    assert low <= value <= high
    assert "extrapolation" in found["said"]
    assert len(found["line"]) == 6


def test_there_is_no_more_than_the_whole():
    law = Fit(0.9, 0.08, 0.6)
    score = np.array([law.at(a / 1600) for a in AMOUNT])
    assert fitted(AMOUNT, score, draws(score), 0.5, whole=1600)["further"] == []
    assert len(fitted(AMOUNT, score, draws(score), 0.5, whole=3200)["further"]) == 1


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (np.full(6, 0.5), "do not rise"),
        (np.linspace(0.6, 0.5, 6), "do not rise"),
    ],
)
def test_what_does_not_rise_is_not_extrapolated(score, said):
    found = fitted(AMOUNT, score, draws(score, error=0.01), 0.5)
    assert said in found["said"]
    assert "further" not in found


def test_three_points_are_too_few():
    score = np.array([0.6, 0.7, 0.75])
    assert "3 points" in fitted(AMOUNT[:3], score, draws(score), 0.5)["said"]


def test_noisy_points_leave_the_exponent_open():
    score = np.array([0.55, 0.6, 0.58, 0.63, 0.61, 0.66])
    found = fitted(AMOUNT, score, draws(score, error=0.03), 0.5)
    assert not found.get("further")
    assert "cannot be said" in found["said"] or "No fit" in found["said"]


def test_no_score_is_better_than_perfect():
    score = 1.05 - 0.3 * (AMOUNT / 50) ** -0.3
    one = power_law(AMOUNT, score.clip(max=0.999), np.full(6, 0.01))
    assert one.best <= 1 + 1e-6
    assert one.at(1000) <= 1 + 1e-6
