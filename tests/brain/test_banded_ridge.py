"""Banded ridge against solving its equations, against plain ridge, and against leaving one out."""

from __future__ import annotations

import numpy as np
import pytest

from neurovis.brain.banded_ridge import BandedRidge, BandedRidgeModel
from neurovis.brain.base import Shape
from neurovis.brain.ridge import RidgeModel
from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError

PENALTIES = np.logspace(-2, 2, 9)


def make_shape(n_chans=6, n_times=8, kinds=("mag", "grad")):
    rng = np.random.default_rng(0)
    return Shape(
        n_times, 100.0, tuple(f"c{i}" for i in range(n_chans)),
        tuple(kinds[i % len(kinds)] for i in range(n_chans)),
        rng.standard_normal((n_chans, 3)) / 10, ("01",), {"image": 3},
    )  # fmt: skip


def planted(n=40, sizes=(20, 30), n_targets=3, seed=0):
    """The first band carries the targets, the second is large and says nothing."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, sum(sizes))) + 2
    x[:, sizes[0] :] *= 5
    weight = np.zeros((sum(sizes), n_targets))
    weight[: sizes[0]] = rng.standard_normal((sizes[0], n_targets))
    y = x @ weight + 0.5 * rng.standard_normal((n, n_targets)) + 3
    return x.astype(np.float32), y, np.repeat([0, 1], sizes)


def solved(x, y, band, share, penalty):
    """Weights of the penalised least squares problem itself, one penalty per feature."""
    xc, yc = x - x.mean(0), y - y.mean(0)
    mean_eigenvalue = np.array([(xc[:, band == b] ** 2).sum() / len(x) for b in np.unique(band)])
    gain = (share / mean_eigenvalue)[band]
    total = sum(share[b] for b in np.unique(band))
    keep = gain > 0
    system = xc[:, keep].T @ xc[:, keep] + np.diag(penalty * total / gain[keep])
    weight = np.zeros((x.shape[1], y.shape[1]))
    weight[keep] = np.linalg.solve(system, xc[:, keep].T @ yc)
    return weight, y.mean(0) - x.mean(0) @ weight


@pytest.mark.parametrize("n", [30, 90])  # the kernel of rows, and that of features
@pytest.mark.parametrize("share", [[0.5, 0.5], [0.9, 0.1], [0.0, 1.0]])
def test_weights_solve_their_equations(n, share):
    x, y, band = planted(n)
    share = np.array(share)
    model = BandedRidgeModel(band, share[None], np.array([0.3])).fit(x, y)
    weight, intercept = solved(x.astype(float), y, band, share, 0.3)
    scale = np.abs(weight).max()
    np.testing.assert_allclose(model.coef_, weight, atol=1e-4 * scale)
    np.testing.assert_allclose(model.intercept_, intercept, atol=2e-3)


@pytest.mark.parametrize("n", [25, 80])
def test_one_band_is_plain_ridge(n):
    x, y, _ = planted(n)
    banded = BandedRidgeModel(np.zeros(50, int), np.eye(1), PENALTIES).fit(x, y)
    plain = RidgeModel(PENALTIES).fit(x, y)
    np.testing.assert_allclose(banded.penalty_, plain.penalty_)
    np.testing.assert_allclose(banded.predict(x), plain.predict(x), atol=2e-3)
    np.testing.assert_allclose(banded.explained_, plain.explained_, atol=1e-4)


@pytest.mark.parametrize("n", [16, 60])
def test_shares_and_penalty_are_those_that_leaving_one_out_prefers(n):
    x, y, band = planted(n)
    x64 = x.astype(float)
    shares = np.array([[0.5, 0.5], [0.95, 0.05], [0.05, 0.95]])
    penalties = np.array([0.01, 0.1, 1.0])
    xc = x64 - x64.mean(0)
    power = np.array([(xc[:, band == b] ** 2).sum() / n for b in (0, 1)])
    error = np.zeros((3, 3, y.shape[1]))
    for i, share in enumerate(shares):
        gain = (share / power)[band]
        for j, penalty in enumerate(penalties):
            for left in range(n):
                rest = np.arange(n) != left
                xr, yr = x64[rest] - x64[rest].mean(0), y[rest] - y[rest].mean(0)
                system = xr.T @ xr + np.diag(penalty / gain)
                weight = np.linalg.solve(system, xr.T @ yr)
                said = (x64[left] - x64[rest].mean(0)) @ weight + y[rest].mean(0)
                error[i, j] += (said - y[left]) ** 2 / n
    model = BandedRidgeModel(band, shares, penalties).fit(x, y)
    flat = error.reshape(9, -1).argmin(0)
    np.testing.assert_allclose(model.share_, shares[flat // 3])
    np.testing.assert_allclose(model.penalty_, penalties[flat % 3])
    np.testing.assert_allclose(
        model.explained_, 1 - error.reshape(9, -1).min(0) / y.var(0), atol=1e-3
    )


def test_a_large_band_that_says_nothing_is_turned_down():
    x, y, band = planted(260, (30, 200))
    (x, new), (y, truth) = np.split(x, [60]), np.split(y, [60])
    model = BandedRidge(n_draws=8).build(make_shape(1, 2))
    shares, penalties = model.shares, model.penalties
    banded = BandedRidgeModel(band, shares, penalties).fit(x, y)
    plain = RidgeModel(penalties).fit(x, y)
    error = [((m.predict(new) - truth) ** 2).mean() / truth.var() for m in (banded, plain)]
    assert error[0] < 0.5 * error[1]
    assert (banded.share_[:, 0] > 0.8).all()


def test_bands_are_types_regions_or_windows():
    shape = make_shape()
    band = BandedRidge(bands="type").build(shape).band.reshape(6, 8)
    assert (band == np.array([1, 0, 1, 0, 1, 0])[:, None]).all()
    band = BandedRidge(bands="time", n_bands=4).build(shape).band.reshape(6, 8)
    assert (band == [0, 0, 1, 1, 2, 2, 3, 3]).all()
    assert BandedRidge(bands="time", n_bands=4).build(make_shape(n_times=1)).band.max() == 0
    band = BandedRidge(bands="region", n_bands=3).build(shape).band.reshape(6, 8)
    assert (band == band[:, :1]).all()
    counts = np.bincount(band[:, 0])
    assert counts.sum() == 6
    assert len(counts) >= 3
    assert counts.max() <= 2
    shape.channel_position[2] = np.nan
    with pytest.raises(UsageError, match="bands: expected channels with known positions"):
        BandedRidge(bands="region").build(shape)


def test_shares_lie_on_the_simplex_and_the_seed_decides_them():
    shares = BandedRidge(n_draws=5).build(make_shape()).shares
    np.testing.assert_allclose(shares.sum(1), 1)
    assert len(shares) == 1 + 4 + 5
    assert (shares[0] == 0.25).all()
    np.testing.assert_array_equal(shares[1:5], np.eye(4))
    again = BandedRidge(n_draws=5).build(make_shape()).shares
    np.testing.assert_array_equal(shares, again)
    assert not np.array_equal(shares, BandedRidge(n_draws=5, seed=1).build(make_shape()).shares)


def test_constant_bands_and_constant_targets_stay_finite():
    x, y, band = planted()
    x[:, band == 1] = 4.0
    y[:, 1] = -2.0
    model = BandedRidgeModel(band, np.array([[0.5, 0.5], [1, 0], [0, 1]]), PENALTIES).fit(x, y)
    assert np.isfinite(model.coef_).all()
    assert np.abs(model.coef_[band == 1]).max() == 0
    np.testing.assert_allclose(model.predict(x)[:, 1], -2.0, atol=1e-4)
    flat = np.ones((20, 50), np.float32)
    said = BandedRidgeModel(band, np.eye(2), PENALTIES).fit(flat, y[:20]).predict(flat)
    np.testing.assert_allclose(said, np.tile(y[:20].mean(0), (20, 1)), atol=1e-4)


def test_weights_come_back_as_tensors():
    x, y, band = planted()
    model = BandedRidgeModel(band, np.eye(2), PENALTIES).fit(x, y)
    tensors = model.tensors()
    said = x @ tensors["coef"].numpy() + tensors["intercept"].numpy()
    np.testing.assert_allclose(said, model.predict(x), rtol=1e-5, atol=1e-4)


def test_ill_fitting_rows_and_options_are_refused():
    model = BandedRidge().build(make_shape())
    with pytest.raises(NeurovisError, match="at least 3 rows of 48 features"):
        model.fit(np.ones((2, 6, 8)), np.ones((2, 1)))
    with pytest.raises(NeurovisError, match="found 5 rows of 40 features"):
        model.fit(np.ones((5, 5, 8)), np.ones((5, 1)))
    with pytest.raises(UsageError, match=r"BandedRidge\.bands"):
        build(BandedRidge, {"bands": "colour"})
