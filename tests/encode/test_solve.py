"""The blockwise solver against himalaya and scikit-learn: the same choice, the same weights."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import PredefinedSplit

from neurovis.encode import solve as module
from neurovis.encode.solve import folds_of, learn, simplex, solve
from neurovis.errors import NeurovisError

PENALTIES = np.logspace(-1, 4, 6)


def planted(n=100, widths=(15, 20), n_targets=23, noise=4.0, seed=0):
    rng = np.random.default_rng(seed)
    bands = [rng.standard_normal((n, p)).astype(np.float32) for p in widths]
    weights = [rng.standard_normal((p, n_targets)) * (rng.random(n_targets) > 0.5) for p in widths]
    y = sum(x @ w for x, w in zip(bands, weights)) + noise * rng.standard_normal((n, n_targets))
    return bands, (y + 1).astype(np.float32)


def folds(part):
    return [(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in np.unique(part)]


@pytest.mark.filterwarnings("ignore:Solving banded ridge is slower")  # asked on purpose
@pytest.mark.parametrize("n", [100, 30], ids=["tall", "wide"])
def test_equals_himalaya(n, monkeypatch):
    from himalaya.ridge import solve_group_ridge_random_search
    from himalaya.scoring import l2_neg_loss

    monkeypatch.setattr(module, "BLOCK", 7)  # several blocks, the last one smaller
    bands, y = planted(n)
    # shares of 0 are the solver's own: himalaya divides by them
    shares = simplex(2, 5, 1.0, 0)[[0, 3, 4, 5, 6, 7]]
    part = np.arange(n) % 4
    found = solve(bands, y, folds(part), shares, PENALTIES)
    deltas, coef, _, intercept = solve_group_ridge_random_search(
        [b.astype(float) for b in bands], y.astype(float), n_iter=shares, alphas=PENALTIES,
        cv=PredefinedSplit(part), fit_intercept=True, return_weights=True, score_func=l2_neg_loss,
        progress_bar=False, jitter_alphas=False,
    )  # fmt: skip
    assert np.abs(found.coef - coef).max() < 1e-4 * np.abs(coef).max()
    np.testing.assert_allclose(found.intercept, intercept, atol=1e-4)
    np.testing.assert_allclose(
        np.log(found.share / found.penalty[:, None]).T, deltas, rtol=1e-6, atol=1e-6
    )


def test_one_band_is_ridge():
    bands, y = planted()
    found = solve(bands[:1], y, folds(np.arange(100) % 5), np.ones((1, 1)), PENALTIES)
    for target in (0, 11):
        model = Ridge(alpha=found.penalty[target]).fit(bands[0], y[:, target])
        np.testing.assert_allclose(found.coef[:, target], model.coef_, atol=1e-4)
        assert found.intercept[target] == pytest.approx(model.intercept_, abs=1e-4)


def test_a_corner_leaves_the_other_band_out():
    bands, y = planted()
    found = solve(bands, y, folds(np.arange(100) % 5), np.array([[1.0, 0.0]]), PENALTIES)
    alone = solve(bands[:1], y, folds(np.arange(100) % 5), np.ones((1, 1)), PENALTIES)
    assert not found.coef[15:].any()
    np.testing.assert_allclose(found.coef[:15], alone.coef, atol=1e-5)


def test_weights_of_other_rows_keep_what_was_chosen():
    bands, y = planted()
    rows = np.arange(60)
    found = solve(bands, y, folds(np.arange(100) % 5), simplex(2, 3, 1.0, 0), PENALTIES)
    coef, intercept = learn([b[rows] for b in bands], y[rows], found)
    share, penalty = found.share[3], found.penalty[3]
    scaled = np.concatenate([b[rows] * np.sqrt(s) for b, s in zip(bands, share)], 1)
    model = Ridge(alpha=penalty).fit(scaled, y[rows, 3])
    np.testing.assert_allclose(
        coef[:, 3], model.coef_ * np.repeat(np.sqrt(share), (15, 20)), atol=1e-4
    )
    assert intercept[3] == pytest.approx(model.intercept_, abs=1e-4)


def test_the_right_band_gets_the_share():
    rng = np.random.default_rng(1)
    bands = [rng.standard_normal((300, 10)).astype(np.float32) for _ in range(2)]
    y = (bands[1] @ rng.standard_normal((10, 8)) + rng.standard_normal((300, 8))).astype(np.float32)
    found = solve(bands, y, folds(np.arange(300) % 3), simplex(2, 10, 0.5, 0), PENALTIES)
    assert (found.share[:, 1] > 0.8).all()
    assert (found.error < 0.5 * found.variance).all()


def test_the_simplex():
    shares = simplex(3, 20, 0.5, 0)
    assert shares.shape == (24, 3)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert simplex(1, 20, 0.5, 0).tolist() == [[1.0]]


def test_folds_keep_concepts_whole():
    group = np.repeat([f"c{i}" for i in range(7)], 3)
    found = folds_of(group, 3, 0)
    assert sorted(np.concatenate([held for _, held in found]).tolist()) == list(range(21))
    for train, held in found:
        assert not set(group[train]) & set(group[held])
    with pytest.raises(NeurovisError, match="at least 8 concepts"):
        folds_of(group, 8, 0)


def test_refuses_what_cannot_be_solved():
    bands, y = planted()
    with pytest.raises(NeurovisError, match="as many rows"):
        solve([bands[0][:-1]], y, folds(np.arange(100) % 5), np.ones((1, 1)), PENALTIES)
    with pytest.raises(NeurovisError, match="penalties above 0"):
        solve(bands[:1], y, folds(np.arange(100) % 5), np.ones((1, 1)), np.array([0.0, 1.0]))
    with pytest.raises(NeurovisError, match="one to choose by"):
        solve(bands[:1], y, [(np.arange(100), np.zeros(0, int))], np.ones((1, 1)), PENALTIES)


@pytest.mark.parametrize(
    "value",
    [
        np.geomspace(1e-3, 500, 400),
        np.r_[np.zeros(20), np.geomspace(1e-4, 1e-3, 40), np.full(30, 7.0), np.arange(8.0, 40)],
        np.r_[np.zeros(3), 5.0],
        np.zeros(4),
    ],
    ids=["falling", "steps", "one", "none"],
)
@pytest.mark.parametrize("n", [4, 15])
def test_penalties_are_mixed_from_few_weightings(value, n):
    import torch

    value = np.sort(value)
    penalties = np.logspace(-3, 4, n)
    parts, mix = module.interpolation(torch.from_numpy(value), torch.from_numpy(penalties))
    found, number = np.zeros((len(value), n)), 0
    for columns, weight in parts:
        rows = mix[number : number + weight.shape[1]].double()
        found[columns] = (weight.double() @ rows).numpy()
        number += weight.shape[1]
    assert number == len(mix)
    left = value[:, None] / (value[:, None] + penalties)
    np.testing.assert_allclose(found * value[:, None], left, atol=3e-7)
    if n == 15 and len(value) == 400:
        # fewer products than one for each component and penalty
        assert sum(w.numel() for _, w in parts) < 0.45 * len(value) * n


def test_many_penalties_equal_one_after_the_other():
    bands, y = planted(n=150)
    part, shares = folds(np.arange(150) % 3), simplex(2, 4, 1.0, 0)
    many = solve(bands, y, part, shares, np.logspace(-3, 4, 15))
    alone = [solve(bands, y, part, shares, np.array([p])) for p in np.logspace(-3, 4, 15)]
    errors = np.stack([one.error for one in alone])
    np.testing.assert_allclose(many.error, errors.min(0), rtol=1e-5)
    assert (many.penalty == np.logspace(-3, 4, 15)[errors.argmin(0)]).all()


@pytest.mark.parametrize("n", [60, 20], ids=["tall", "wide"])
def test_penalties_too_small_to_help(n):
    # the same column twice: no penalty, no inverse
    bands, y = planted(n)
    twice = [np.repeat(bands[0][:, :10], 2, 1)]
    part = folds(np.arange(n) % 2)
    found = solve(twice, y, part, np.ones((1, 1)), np.array([1e-18]))
    model = Ridge(alpha=1e-6, solver="svd").fit(twice[0].astype(float), y)
    np.testing.assert_allclose(
        twice[0] @ found.coef + found.intercept, model.predict(twice[0]), atol=2e-2
    )
