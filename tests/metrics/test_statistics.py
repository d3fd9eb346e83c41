"""Bootstrap, intervals and permutation against brute force and planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.errors import NeurovisError
from neurovis.metrics.statistics import (
    bootstrap_mean,
    bootstrap_median,
    compare,
    interval,
    permutation_null,
    resample_counts,
    stratified_counts,
    t_interval,
    widen_difference,
    widen_mean,
    wilson,
)


def test_counts_are_seeded_resamples():
    counts = resample_counts(7, 500, seed=3)
    assert counts.shape == (500, 7)
    assert (counts.sum(axis=1) == 7).all()
    resample_counts.cache_clear()
    np.testing.assert_array_equal(counts, resample_counts(7, 500, seed=3))
    assert (counts != resample_counts(7, 500, seed=4)).any()
    # multinomial moments: mean 1, variance 1 - 1/n
    many = resample_counts(7, 20000)
    np.testing.assert_allclose(many.mean(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(many.var(axis=0), 6 / 7, atol=0.05)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_strata_keep_their_size(labels):
    counts = stratified_counts(np.array(labels), 30)
    for name in set(labels):
        inside = np.array(labels) == name
        assert (counts[:, inside].sum(axis=1) == inside.sum()).all()


def test_draws_equal_resampled_rows():
    rng = np.random.default_rng(0)
    item = rng.integers(6, size=25)
    item[:6] = np.arange(6)
    value = rng.integers(5, size=25) / 2
    counts = resample_counts(6, 200)
    means = bootstrap_mean(np.stack([value, value**2], axis=1), item, counts)
    medians = bootstrap_median(value, item, counts)
    for draw, n in enumerate(counts.astype(int)):
        rows = np.concatenate([np.flatnonzero(item == i) for i in np.repeat(np.arange(6), n)])
        assert means[draw].tolist() == pytest.approx(
            [value[rows].mean(), (value[rows] ** 2).mean()]
        )
        assert medians[draw] == np.median(value[rows])


def test_repeats_of_an_image_do_not_narrow_its_interval():
    rng = np.random.default_rng(0)
    value = rng.random(50)
    counts = resample_counts(50)
    once = interval(bootstrap_mean(value, np.arange(50), counts))
    repeated = interval(bootstrap_mean(np.repeat(value, 20), np.repeat(np.arange(50), 20), counts))
    assert repeated == pytest.approx(once)


def test_intervals_cover_the_truth():
    """Nominal 95 %; loose bounds, also where successes are rare."""
    rng = np.random.default_rng(0)
    n, identity = 100, np.arange(100)
    counts = resample_counts(n, 500)
    for truth in (0.005, 0.05, 0.3, 0.995):
        hits = (rng.random((300, n)) < truth).astype(float)
        draws = bootstrap_mean(hits.T, identity, counts)
        limits = [widen_mean(interval(d), h) for d, h in zip(draws.T, hits)]
        covered = np.mean([low <= truth <= high for low, high in limits])
        assert covered > 0.88, f"{truth}: {covered}"
        assert all(high > low for low, high in limits)


def test_paired_differences_cover_the_truth():
    rng = np.random.default_rng(1)
    n, identity = 100, np.arange(100)
    counts = resample_counts(n, 500)
    for first, second in ((0.5, 0.3), (0.02, 0.01), (0.01, 0.01)):
        luck = rng.random((300, n))
        one, two = (luck < first).astype(float), (luck < second).astype(float)
        draws = [bootstrap_mean(hits.T, identity, counts) for hits in (one, two)]
        limits = [
            widen_difference(compare(draws[0][:, i], draws[1][:, i]), one[i] - two[i])
            for i in range(300)
        ]
        covered = np.mean([low <= first - second <= high for low, high in limits])
        assert covered > 0.88, f"{first} {second}: {covered}"


def test_few_informative_items_widen_by_what_they_weigh():
    """One miss among 12 repeats of one image weighs a twelfth of a missed image."""
    per_item = np.ones(40)
    per_item[0] = 11 / 12
    low, high = widen_mean((0.995, 1.0), per_item)
    assert 1 - wilson(1 / 40, 40)[1] / 12 == pytest.approx(low)
    assert high == 1
    assert widen_mean((0.9, 0.95), np.linspace(0.1, 0.9, 40)) == (0.9, 0.95)


def test_wilson_and_student_equal_scipy():
    stats = pytest.importorskip("scipy.stats")
    for k, n in ((0, 20), (3, 20), (20, 20)):
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    value = np.array([0.5, 0.61, 0.72, 0.55])
    expected = stats.t.interval(0.95, 3, value.mean(), stats.sem(value))
    assert t_interval(value) == pytest.approx(expected)


def test_ratio_needs_a_positive_reference():
    first = np.array([1.0, 2.0, 3.0])
    assert compare(first, first, "ratio") == (1, 1)
    with pytest.raises(NeurovisError, match="above 0 in every draw"):
        compare(first, np.array([1.0, 0.0, 1.0]), "ratio")


def test_permutation_null_is_uniform_under_the_null_and_keeps_strata():
    rng = np.random.default_rng(0)
    stratum = np.repeat([0, 1], 20)
    label = np.arange(40)

    def strata_kept(shuffled):
        return float(sorted(shuffled[:20]) == list(range(20)))

    assert permutation_null(strata_kept, label, 20, stratum=stratum).all()
    assert not permutation_null(strata_kept, label, 20).any()
    p_values = []
    for seed in range(60):
        value, label = rng.standard_normal(20), rng.integers(2, size=20)
        null = permutation_null(value.dot, label, 99, seed=seed)
        p_values.append((1 + (null >= label @ value).sum()) / 100)
    assert 0.3 < np.mean(p_values) < 0.7
    planted = np.arange(20) >= 10
    null = permutation_null(np.arange(20).dot, planted, 99)
    assert (null >= np.arange(20) @ planted).sum() == 0
