"""Scores and ceilings against scipy, scikit-learn and planted variances."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from neurovis.encode import ceilings, scores
from neurovis.encode.evidence import likeliest, log_evidence
from neurovis.errors import NeurovisError, UsageError
from neurovis.metrics.statistics import resample_counts
from neurovis.signals.fmri.voxels import Repeats


def pair(n=40, t=9, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((n, t)) * 3 + 2
    return (y + rng.standard_normal((n, t))).astype(np.float32), y.astype(np.float32)


def test_correlation_and_r2():
    said, y = pair()
    r = [stats.pearsonr(a, b).statistic for a, b in zip(said.T, y.T)]
    np.testing.assert_allclose(scores.pearson(said, y), r, rtol=1e-5)
    np.testing.assert_allclose(
        scores.r2(said, y), r2_score(y, said, multioutput="raw_values"), rtol=1e-4
    )


def test_what_does_not_vary_scores_nothing():
    said, y = pair()
    y[:, 2], said[:, 4] = 5, -1
    assert scores.pearson(said, y)[[2, 4]].tolist() == [0, 0]
    assert scores.r2(said, y)[2] == 0
    ((_block, r, explained),) = scores.bootstrap(said, y, resample_counts(40, 50))
    assert np.isfinite(r).all()
    assert np.isfinite(explained).all()
    assert not r[:, [2, 4]].any()
    assert not explained[:, 2].any()


def test_bootstrap_is_scoring_drawn_images():
    said, y = pair(n=12)
    counts = resample_counts(12, 60)
    ((_, r, explained),) = scores.bootstrap(said, y, counts)
    for draw in (0, 31):
        rows = np.repeat(np.arange(12), counts[draw].astype(int))
        np.testing.assert_allclose(r[draw], scores.pearson(said[rows], y[rows]), atol=1e-4)
        np.testing.assert_allclose(explained[draw], scores.r2(said[rows], y[rows]), atol=1e-3)


def test_permutation_test():
    rng = np.random.default_rng(3)
    said, y = rng.standard_normal((2, 60, 6)).astype(np.float32)
    y[:, 0] = said[:, 0] + 0.3 * y[:, 0]
    p, p_max = scores.permutation(said, y, 400)
    assert p[0] == p_max[0] == 1 / 401
    # an exact reference for a target without effect
    known = [stats.pearsonr(a, b, alternative="greater").pvalue for a, b in zip(said.T, y.T)]
    np.testing.assert_allclose(p[1:], known[1:], atol=0.08)
    assert (p_max >= p).all()


def test_the_maximum_keeps_the_family_wise_rate():
    hits = 0
    for seed in range(60):
        said, y = np.random.default_rng(seed).standard_normal((2, 25, 20)).astype(np.float32)
        _, p_max = scores.permutation(said, y, 60, seed)
        hits += (p_max < 0.1).any()
    assert hits <= 13  # 6 expected; 99.5 % of binomial draws lie at or below


def test_corrections():
    p = np.array([0.001, 0.02, 0.03, 0.9])
    np.testing.assert_allclose(scores.corrected(p, p, "fdr_bh"), [0.004, 0.04, 0.04, 0.9])
    np.testing.assert_allclose(
        scores.corrected(p, p, "fdr_by"), stats.false_discovery_control(p, method="by")
    )
    assert scores.corrected(p, p + 0.05, "max").tolist() == (p + 0.05).tolist()
    assert scores.corrected(p, p, "none") is p
    with pytest.raises(UsageError, match="correction 'fdr_b' is unknown"):
        scores.corrected(p, p, "fdr_b")


def test_partition_of_independent_families():
    rng = np.random.default_rng(0)
    names = ("a", "b", "c")
    x = rng.standard_normal((20000, 3))
    y = (x @ [1.0, 0.5, 0.2] + rng.standard_normal(20000))[:, None]
    total = y.var()
    explained = {}
    for k in (1, 2, 3):
        for part in combinations(range(3), k):
            some = x[:, part]
            said = some @ np.linalg.lstsq(some, y, rcond=None)[0]
            explained[tuple(names[i] for i in part)] = scores.r2(said, y)
    found = scores.partition(explained, names)
    for name, weight in zip(names, (1.0, 0.25, 0.04)):
        assert found[name][0] == pytest.approx(weight / total, abs=0.01)
    shared = [v[0] for k, v in found.items() if "&" in k]
    np.testing.assert_allclose(shared, 0, atol=0.01)
    assert sum(v[0] for v in found.values()) == pytest.approx(explained[names][0])


def test_partition_is_that_of_a_venn_diagram():
    # sets of cells stand for what each family explains: unions are what models of several explain
    cells = {"a": {1, 2, 4, 5}, "b": {2, 3, 5, 6}, "c": {4, 5, 6, 7, 8}}
    size = {i: 0.01 * i for i in range(1, 9)}
    explained = {
        part: np.array([sum(size[c] for c in set().union(*(cells[n] for n in part)))])
        for part in scores.subsets(tuple(cells))
    }
    found = {k: v[0] for k, v in scores.partition(explained, tuple(cells)).items()}
    assert found == pytest.approx(
        {
            "a": 0.01,
            "b": 0.03,
            "c": 0.15,
            "a & b": 0.02,
            "a & c": 0.04,
            "b & c": 0.06,
            "a & b & c": 0.05,
        }
    )


def test_partition_of_many_families_is_what_each_adds():
    names = tuple("abcd")
    needed = scores.subsets(names)
    assert len(needed) == 9
    explained = {part: np.array([0.1 * len(part)]) for part in needed}
    assert {
        k: round(v[0], 6) for k, v in scores.partition(explained, names).items()
    } == dict.fromkeys(names, 0.1)


def test_split_sums_to_r2_and_equals_himalaya():
    from himalaya.scoring import r2_score_split

    rng = np.random.default_rng(2)
    parts = {k: rng.standard_normal((50, 4)) for k in "ab"}
    y = parts["a"] + 0.5 * parts["b"] + rng.standard_normal((50, 4))
    centred = {k: v - v.mean(0) for k, v in parts.items()}
    found = scores.split_r2(parts, y)
    y = y - y.mean(0)
    np.testing.assert_allclose(
        np.stack(list(found.values())), r2_score_split(y, np.stack(list(centred.values())))
    )
    np.testing.assert_allclose(sum(found.values()), scores.r2(sum(centred.values()), y))


def test_best_and_how_surely():
    winner, sure = scores.best(
        [np.array([0.5, 0.1]), np.array([0.2, 0.3])],
        [np.array([[0.5, 0.1], [0.4, 0.4]]), np.array([[0.2, 0.3], [0.3, 0.3]])],
    )
    assert winner.tolist() == [0, 1]
    assert sure.tolist() == [1.0, 0.5]


def dense_evidence(x, y, penalty):
    """The same by its definition: y's density, its mean and the noise's variance integrated over."""
    n = len(y)
    q = np.linalg.svd(np.ones((1, n)))[2][1:]  # orthogonal to the mean
    covariance = q @ (np.eye(n) + x @ x.T / penalty) @ q.T
    inside = np.einsum("nt,nm,mt->t", q @ y, np.linalg.inv(covariance), q @ y)
    return -0.5 * (np.linalg.slogdet(covariance)[1] + (n - 1) * np.log(inside))


@pytest.mark.parametrize("dim", [3, 40])
def test_evidence_is_that_of_the_definition(dim):
    rng = np.random.default_rng(dim)
    x = rng.standard_normal((25, dim)).astype(np.float32) + 1
    y = (x @ rng.standard_normal((dim, 4)) + rng.standard_normal((25, 4))).astype(np.float32)
    penalties = np.array([0.1, 1.0, 30.0])
    each = np.stack([dense_evidence(x.astype(float), y.astype(float), p) for p in penalties])
    np.testing.assert_allclose(log_evidence(x, y, penalties), each.max(0), rtol=1e-5)
    np.testing.assert_allclose(log_evidence(x, y, penalties[1:2]), each[1], rtol=1e-5)
    # another mean changes nothing, and a response that does not vary says nothing
    np.testing.assert_allclose(log_evidence(x + 5, y - 3, penalties), each.max(0), rtol=1e-4)
    assert log_evidence(x, np.ones((25, 1), np.float32), penalties).tolist() == [0.0]


def test_evidence_finds_the_family_be_it_large_or_small():
    rng = np.random.default_rng(0)
    n, n_targets = 300, 200
    large = rng.standard_normal((n, 120)).astype(np.float32) / np.sqrt(120)
    turn = rng.standard_normal((120, 4)) / np.sqrt(120)
    small = (large @ turn * np.sqrt(120) + 0.5 * rng.standard_normal((n, 4))).astype(np.float32) / 2
    y = large @ rng.standard_normal((120, n_targets)) + 1.5 * rng.standard_normal((n, n_targets))
    penalties = np.logspace(-3, 4, 15)
    found = [log_evidence(x, y.astype(np.float32), penalties) for x in (large, small)]
    winner, probability = likeliest(found)
    assert (winner == 0).mean() > 0.95
    assert np.allclose(probability, 1 / (1 + np.exp(-np.abs(found[0] - found[1]))))
    # and the small one where that drives the responses
    y = small @ rng.standard_normal((4, n_targets)) + rng.standard_normal((n, n_targets))
    found = [log_evidence(x, y.astype(np.float32), penalties) for x in (large, small)]
    assert (likeliest(found)[0] == 1).mean() > 0.95


# ---- ceilings


def repeated_trials(n=400, repeats=6, snr=(0.0, 0.5, 1.0, 2.0), seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n, len(snr))) * np.array(snr)
    image = np.repeat([f"i{i:03d}" for i in range(n)], repeats)
    order = rng.permutation(len(image))
    trials = np.repeat(signal, repeats, 0) + rng.standard_normal((len(image), len(snr)))
    return trials[order], image[order], np.array(snr)


def test_both_ceilings_find_the_planted_share():
    trials, image, snr = repeated_trials(n=1500)
    truth = snr**2 / (snr**2 + 1 / 6)
    found = ceilings.streamed(lambda rows: trials[rows], image, np.arange(len(image)))
    np.testing.assert_allclose(ceilings.ncsnr_ceiling(found, np.full(1500, 6)), truth, atol=0.06)
    np.testing.assert_allclose(ceilings.split_half_ceiling(trials, image), truth, atol=0.06)


def test_streamed_sums_are_those_of_whole_matrices():
    trials, image, _ = repeated_trials(n=30, repeats=3)
    keep = np.arange(len(image)) % 7 != 0  # repeats differ in number, some images are shown once
    trials, image = trials[keep], image[keep]
    whole = Repeats(image).components(trials)
    for step in (1, 10, 1000):
        found = ceilings.streamed(lambda rows: trials[rows], image, np.arange(len(image)), step)
        for name in ("between", "within", "variance"):
            np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-6)
        assert sorted(found.n.tolist()) == sorted(whole.n.tolist())
    assert (
        ceilings.streamed(lambda rows: trials[rows], np.arange(9).astype(str), np.arange(9)) is None
    )


def test_split_half_refuses_too_few():
    with pytest.raises(NeurovisError, match="three images"):
        ceilings.split_half_ceiling(np.ones((4, 1)), np.array(["a", "a", "b", "b"]))


@pytest.mark.parametrize(
    "n", [np.full(80, 2), np.full(30, 6), np.r_[np.full(60, 2), np.full(10, 8)]]
)
def test_one_in_twenty_silent_targets_is_above_the_silent_ceiling(n):
    rng = np.random.default_rng(0)
    image = np.repeat([f"i{i:02d}" for i in range(len(n))], n)
    signal = rng.standard_normal((len(image), 6000)).astype(np.float32)
    found = ceilings.streamed(lambda rows: signal[rows], image, np.arange(len(image)))
    repeats = np.full(10, 8)
    above = ceilings.ncsnr_ceiling(found, repeats) > ceilings.silent_ceiling(found.n, repeats)
    assert above.mean() == pytest.approx(0.05, abs=0.012)
