"""Encoding models learn from sums: order, blocks and parts left out change nothing but what they must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.signals.encoding import Moments, favour, regress

NAMES = ("count", "feature", "signal", "square", "product")


def data(n: int = 60, seed: int = 0):
    """Features with a large mean, signals that follow them in part."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 3)) + 40
    weight = rng.standard_normal((3, 4, 5))
    signal = 0.3 * np.tensordot(z - 40, weight, 1) + rng.standard_normal((n, 4, 5))
    return z, signal.astype(np.float32)


def direct(z, signal):
    """The sums in double precision."""
    signal = signal.astype(np.float64)
    product = np.einsum("nf,nct->fct", z, signal)
    return len(z), z.sum(0), signal.sum(0), z.T @ z, product


def assert_same(moments, expected, scale: float = 1e-3):
    for name, value in zip(NAMES, expected):
        np.testing.assert_allclose(
            getattr(moments, name), value, rtol=1e-5, atol=scale, err_msg=name
        )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 99))
def test_sums_over_blocks_equal_direct_sums(sizes, seed):
    z, signal = data(sum(sizes), seed)
    cuts = np.cumsum(sizes)[:-1]
    assert_same(Moments.of(z, np.split(signal, cuts)), direct(z, signal))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 59), st.integers(0, 99))
def test_parts_add_up_and_can_be_left_out(n, seed):
    z, signal = data(60, seed)
    whole = Moments.of(z, [signal])
    part, rest = Moments.of(z[:n], [signal[:n]]), Moments.of(z[n:], [signal[n:]])
    assert_same(part + rest, direct(z, signal))
    assert_same(whole - part, direct(z[n:], signal[n:]))
    assert (whole - part).count == rest.count


def test_leaving_out_equals_never_having_seen():
    z, signal = data(200)
    whole, part = Moments.of(z, [signal]), Moments.of(z[:50], [signal[:50]])
    left, never = regress(whole - part), regress(Moments.of(z[50:], [signal[50:]]))
    new = data(7, 9)[0]
    for one, two in zip(responses(left, new), responses(never, new)):
        np.testing.assert_allclose(one, two, atol=2e-3)
    seen = responses(regress(whole), new)[0]
    assert np.abs(seen - responses(never, new)[0]).max() > 0.02  # it would have mattered


def responses(model, z):
    """Mean and uncertainty in time, where the sign and order of modes do not matter."""
    mean, unsure = model.predict(z)
    turn = model.modes
    mean = mean.reshape(len(z), -1, turn.shape[1]) @ turn.T
    return mean, unsure.reshape(len(z), -1, turn.shape[1]) @ (turn.T**2)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 99))
def test_turned_features_equal_having_turned_them_before(width, seed):
    z, signal = data(seed=seed)
    turn = np.random.default_rng(seed).standard_normal((3, width))
    assert_same(Moments.of(z, [signal]).of_features(turn), direct(z @ turn, signal), 5e-3)


def test_features_that_signals_follow_are_given_room():
    rng = np.random.default_rng(2)
    z = rng.standard_normal((400, 6))
    weight = rng.standard_normal((2, 4, 5)) * 0.4
    clean = np.tensordot(z[:, :2], weight, 1)
    signal = (clean + rng.standard_normal(clean.shape)).astype(np.float32)
    moments = Moments.of(z, [signal])
    np.testing.assert_array_equal(favour(moments, 0), np.eye(6))
    room = (favour(moments, 4) ** 2).sum(1)
    assert room.sum() == pytest.approx(6)
    assert room[:2].min() > 5 * room[2:].max()


def test_order_of_trials_does_not_matter():
    z, signal = data()
    order = np.random.default_rng(1).permutation(len(z))
    one, two = Moments.of(z, [signal]), Moments.of(z[order], [signal[order]])
    assert_same(two, [getattr(one, name) for name in NAMES])


def test_a_large_mean_of_the_features_costs_no_digits():
    z, signal = data(500)
    near = regress(Moments.of(z - 40, [signal]))
    far = regress(Moments.of(z + 4000, [signal]))
    new = data(7, 9)[0]
    one, two = responses(near, new - 40)[0], responses(far, new + 4000)[0]
    np.testing.assert_allclose(one, two, atol=5e-3)
    assert one.std() == pytest.approx(two.std(), rel=1e-2)
