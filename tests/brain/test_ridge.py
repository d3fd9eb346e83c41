"""Ridge against scikit-learn, and its leave-one-out choice against leaving one out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.brain.base import Shape
from neurovis.brain.ridge import Ridge, RidgeModel, left_out, neighbours
from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError


def planted(n=30, n_features=50, n_targets=4, seed=0, noise=(0.1, 0.5, 2.0, 8.0)):
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n, n_features)).astype(np.float32)
    signal += 3 * rng.standard_normal(n_features).astype(np.float32)
    weight = rng.standard_normal((n_features, n_targets)) / np.sqrt(n_features)
    target = signal @ weight + 5
    return signal, target + np.array(noise)[:n_targets] * rng.standard_normal(target.shape)


def absolute(signal, penalty):
    """The penalty as others count it."""
    x = signal - signal.mean(0)
    return penalty * (x**2).sum() / len(x)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([(20, 60), (60, 20), (30, 30)]),
    st.sampled_from([1e-3, 1e-1, 1.0, 100.0]),
    st.integers(0, 1000),
)
def test_every_penalty_gives_the_weights_of_scikit_learn(shape, penalty, seed):
    from sklearn.linear_model import Ridge as Reference

    signal, target = planted(*shape, seed=seed)
    found = RidgeModel(np.array([penalty])).fit(signal, target)
    reference = Reference(alpha=absolute(signal, penalty)).fit(signal.astype(float), target)
    # signals are float32: errors are relative to the largest weight
    scale = np.abs(reference.coef_).max()
    np.testing.assert_allclose(found.coef_, reference.coef_.T, atol=1e-4 * scale, rtol=0)
    np.testing.assert_allclose(found.intercept_, reference.intercept_, atol=1e-3, rtol=1e-3)
    fresh = planted(*shape, seed=seed + 1)[0]
    np.testing.assert_allclose(found.predict(fresh), reference.predict(fresh), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("shape", [(14, 30), (25, 6)])
def test_the_penalty_is_the_one_that_leaving_one_out_prefers(shape):
    from sklearn.linear_model import Ridge as Reference

    penalties = np.logspace(-2, 3, 11)
    chosen = set()
    for seed in range(4):
        signal, target = planted(*shape, seed=seed)
        error = np.zeros((len(penalties), target.shape[1]))
        for i, penalty in enumerate(penalties):
            for left in range(len(signal)):
                rest = np.arange(len(signal)) != left
                reference = Reference(alpha=absolute(signal, penalty))
                reference.fit(signal[rest].astype(float), target[rest])
                error[i] += (reference.predict(signal[~rest])[0] - target[left]) ** 2
        found = RidgeModel(penalties).fit(signal, target)
        np.testing.assert_allclose(found.penalty_, penalties[error.argmin(0)])
        chosen |= set(found.penalty_)
    assert len(chosen) > 3  # each target has its own


@pytest.mark.parametrize("shape", [(16, 30), (25, 6)])
def test_rows_of_a_group_are_left_out_together(shape):
    """Groups of three sizes, in no order: errors are those of refitting without each group."""
    from sklearn.linear_model import Ridge as Reference

    signal, target = planted(*shape)
    n = len(signal)
    group = np.random.default_rng(1).permutation(
        np.r_[np.repeat(np.arange((n - 4) // 3), 3), 90, 91, 91, 92][:n]
    )
    x, y = signal - signal.mean(0, dtype=np.float64), target - target.mean(0)
    value, vector = np.linalg.eigh(x @ x.T)
    value = value.clip(0)
    penalties = np.array([0.5, 20.0, 1e3])
    found = left_out(value, vector, vector.T @ y, y, penalties, group)
    for penalty, errors in zip(penalties, found, strict=True):
        expected = np.zeros(y.shape)
        for one in np.unique(group):
            mine = group == one
            reference = Reference(alpha=penalty).fit(x[~mine], y[~mine])
            expected[mine] = reference.predict(x[mine]) - y[mine]
        np.testing.assert_allclose(errors, (expected**2).mean(0), rtol=1e-3)
    alone = left_out(value, vector, vector.T @ y, y, penalties)
    one_by_one = left_out(value, vector, vector.T @ y, y, penalties, np.arange(n))
    np.testing.assert_allclose(one_by_one, alone, rtol=1e-3)


def test_answers_to_one_picture_ask_for_a_larger_penalty_when_left_out_together():
    """Three people answer alike to pictures that say nothing: one by one, the others tell the answer."""
    rng = np.random.default_rng(0)
    picture = np.tile(np.arange(20), 3)
    signal = np.tile(rng.standard_normal((20, 40)), (3, 1)) + 0.1 * rng.standard_normal((60, 40))
    target = np.tile(rng.standard_normal((20, 2)), (3, 1))
    penalties = np.logspace(-3, 4, 15)
    alone = RidgeModel(penalties).fit(signal, target)
    together = RidgeModel(penalties).fit(signal, target, picture)
    assert (alone.explained_ > 0.9).all()
    assert (together.explained_ < 0.1).all()
    assert (together.penalty_ > 100 * alone.penalty_).all()


def test_each_target_is_fitted_as_if_it_were_alone():
    signal, target = planted()
    together = Ridge().build().fit(signal, target)
    for i in range(target.shape[1]):
        alone = Ridge().build().fit(signal, target[:, i : i + 1])
        np.testing.assert_allclose(alone.coef_[:, 0], together.coef_[:, i], rtol=1e-4, atol=1e-6)
        assert alone.penalty_[0] == together.penalty_[i]


def test_constant_columns_and_constant_targets_stay_finite():
    signal, target = planted()
    signal[:, 7] = 3.0
    target[:, 1] = -2.0
    found = Ridge().build().fit(signal, target)
    assert np.isfinite(found.coef_).all()
    assert np.abs(found.coef_[7]).max() == 0
    np.testing.assert_allclose(found.predict(signal)[:, 1], -2.0, atol=1e-5)


def test_signals_that_say_nothing_give_the_mean():
    _, target = planted()
    found = Ridge().build().fit(np.ones((30, 5)), target)
    np.testing.assert_allclose(found.predict(np.ones((2, 5))), [target.mean(0)] * 2, rtol=1e-5)


def test_units_do_not_matter():
    signal, target = planted()
    volts = Ridge().build().fit(signal * 1e-6, target).predict(signal * 1e-6)
    np.testing.assert_allclose(
        volts, Ridge().build().fit(signal, target).predict(signal), atol=1e-3
    )


def test_noise_is_shrunk_to_the_mean_and_signal_is_not():
    rng = np.random.default_rng(3)
    signal, target = planted(200, 20, 1, noise=(0.01,))
    found = Ridge().build().fit(signal, np.column_stack([target, rng.standard_normal(200)]))
    fresh, truth = signal[:50], target[:50, 0]
    said = found.predict(fresh)
    assert np.corrcoef(said[:, 0], truth)[0, 1] > 0.99
    assert said[:, 1].std() < 0.5


def test_weights_come_back_as_tensors():
    signal, target = planted()
    found = Ridge().build().fit(signal.reshape(30, 5, 10), target)
    tensors = found.tensors()
    said = signal @ tensors["coef"].numpy() + tensors["intercept"].numpy()
    np.testing.assert_allclose(said, found.predict(signal.reshape(30, 5, 10)), rtol=1e-5, atol=1e-5)


def test_too_few_rows_and_wrong_options_are_refused():
    with pytest.raises(NeurovisError, match="at least 3 rows"):
        Ridge().build().fit(np.ones((2, 3)), np.ones((2, 1)))
    with pytest.raises(NeurovisError, match="found 4 signals and 5 targets"):
        Ridge().build().fit(np.ones((4, 3)), np.ones((5, 1)))
    with pytest.raises(UsageError, match=r"Ridge\.n_penalties"):
        build(Ridge, {"n_penalties": 0})


def test_many_rows_cost_what_their_features_cost():
    import tracemalloc

    signal, target = planted(6000, 8)
    tracemalloc.start()
    found = RidgeModel(np.logspace(-3, 4, 15)).fit(signal, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25  # the kernel of the rows alone would take nine times as much
    assert (found.explained_[:2] > 0.5).all()


def test_smooth_weights_are_ridge_with_their_prior_covariance():
    """The dual form with kernel x C x', C the prior covariance over channels, gives the same predictions."""
    rng = np.random.default_rng(4)
    position = 0.01 * rng.standard_normal((15, 3))
    x, new = rng.standard_normal((40, 15, 2)), rng.standard_normal((6, 15, 2))
    y = rng.standard_normal((40, 3))
    model = RidgeModel(np.array([0.3]), neighbours(position, 0.008)).fit(x, y)
    apart = np.linalg.norm(position[:, None] - position, axis=2)
    kernel = np.exp(-((apart / 0.008) ** 2) / 2)
    kernel /= np.sqrt((kernel**2).sum(0))
    prior = np.kron(kernel @ kernel.T, np.eye(2))
    flat, other = (a.reshape(len(a), -1) - x.mean(0).ravel() for a in (x, new))
    gram = flat @ prior @ flat.T
    penalty = 0.3 * np.trace(gram) / len(gram)
    dual = np.linalg.solve(gram + penalty * np.eye(40), y - y.mean(0))
    expected = other @ prior @ flat.T @ dual + y.mean(0)
    np.testing.assert_allclose(model.predict(new), expected, rtol=1e-3, atol=1e-4)


def test_smooth_weights_find_what_neighbours_share():
    rng = np.random.default_rng(5)
    position = np.stack(np.meshgrid(*[np.arange(12.0)] * 2, [0.0]), -1).reshape(-1, 3) * 0.003
    weight = neighbours(position, 0.008) @ rng.standard_normal((144, 4))
    y = rng.standard_normal((360, 4))
    x = (y @ weight.T + 8 * rng.standard_normal((360, 144)))[:, :, None]
    shape = Shape(1, 1.0, ("v",) * 144, ("voxel",) * 144, position, ("01",), {"t": 4})
    explained = {}
    for smoothness in (0.0, 0.006):
        model = Ridge(smoothness=smoothness).build(shape).fit(x[:200], y[:200])
        explained[smoothness] = 1 - ((model.predict(x[200:]) - y[200:]) ** 2).mean() / y[200:].var()
    assert explained[0.006] > explained[0.0] + 0.1
    unknown = Shape(1, 1.0, ("v",), ("voxel",), np.full((1, 3), np.nan), ("01",), {"t": 4})
    for missing in (None, unknown):
        with pytest.raises(UsageError, match="smoothness: expected channels with known positions"):
            Ridge(smoothness=0.006).build(missing)
    with pytest.raises(NeurovisError, match="expected 144 channels"):
        Ridge(smoothness=0.006).build(shape).fit(x[:, :100], y)
