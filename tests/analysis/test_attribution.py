"""Attributions add up to what they explain; patterns are where the signal is, filters are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from neurovis.analysis.attribution import completeness, explained, integrated_gradients, patterns
from neurovis.errors import NeurovisError


def network(seed=0, double=True):
    torch.manual_seed(seed)
    layers = [torch.nn.Flatten(), torch.nn.Linear(12, 16), torch.nn.GELU(), torch.nn.Linear(16, 1)]
    model = torch.nn.Sequential(*layers)
    return (model.double() if double else model), torch.randn(5, 3, 4, dtype=torch.float64)


def test_attributions_sum_to_the_difference():
    model, signal = network()
    function = lambda x: model(x)[:, 0]  # noqa: E731
    baseline = 0.3 * torch.randn(3, 4, dtype=torch.float64)
    found = integrated_gradients(function, signal, baseline, 48)
    with torch.no_grad():
        wanted = function(signal) - function(baseline[None])
    np.testing.assert_allclose(found.flatten(1).sum(1), wanted, atol=1e-9)
    assert np.abs(completeness(function, signal, baseline, found)).max() < 1e-9


def test_attributions_agree_with_the_integral_by_brute_force():
    model, signal = network(1)
    function = lambda x: model(x)[:, 0]  # noqa: E731
    baseline = torch.zeros_like(signal)
    found = integrated_gradients(function, signal, baseline, 40)
    total = torch.zeros_like(signal)
    n = 400
    for k in range(n):
        here = (signal * (k + 0.5) / n).requires_grad_(True)
        total += torch.autograd.grad(function(here).sum(), here)[0] / n
    np.testing.assert_allclose(found, signal * total, atol=1e-5)


def test_a_linear_function_is_explained_exactly_in_one_step():
    weight = torch.arange(12.0).reshape(3, 4)
    signal, baseline = torch.ones(2, 3, 4), torch.full((3, 4), 0.5)
    found = integrated_gradients(lambda x: (x * weight).sum((1, 2)), signal, baseline, 1)
    np.testing.assert_allclose(found, 0.5 * weight.expand(2, 3, 4))
    # what plays no part gets nothing (sensitivity)
    assert (found[:, 0, 0] == 0).all()


def test_gradients_that_are_not_finite_are_refused():
    with pytest.raises(NeurovisError, match="not finite"):
        integrated_gradients(
            lambda x: x.sqrt().sum((1, 2)), torch.zeros(1, 2, 2), torch.zeros(2, 2), 3
        )
    with pytest.raises(NeurovisError, match="n_steps"):
        integrated_gradients(lambda x: x, torch.zeros(1), torch.zeros(1), 0)


def test_the_pattern_is_the_signal_and_the_filter_is_not():
    """The paper's first example: a channel that holds noise alone has a weight, but no pattern."""
    rng = np.random.default_rng(0)
    source, noise = rng.standard_normal((2, 4000))
    signal = np.stack([source + noise, noise], axis=1)[:, :, None]
    weight = LinearRegression().fit(signal[:, :, 0], source)
    assert abs(weight.coef_[1]) > 0.9
    found = patterns(signal, weight.predict(signal[:, :, 0])[:, None])[:, 0, 0]
    np.testing.assert_allclose(found, [1, 0], atol=0.05)


def test_patterns_are_those_of_the_papers_formula():
    rng = np.random.default_rng(1)
    signal = rng.standard_normal((300, 4, 3)) @ rng.standard_normal((3, 3))
    x = signal.reshape(300, -1)
    filters = rng.standard_normal((12, 2))
    said = x @ filters
    wanted = np.cov(x.T) @ filters @ np.linalg.inv(np.cov(said.T))
    np.testing.assert_allclose(patterns(signal, said).reshape(12, 2), wanted, rtol=1e-6, atol=1e-9)


def test_what_is_explained_does_not_depend_on_the_components_axes():
    rng = np.random.default_rng(2)
    signal = rng.standard_normal((200, 3, 2))
    said = signal.reshape(200, -1) @ rng.standard_normal((6, 3))
    turn = rng.standard_normal((3, 3))
    first, second = explained(signal, said), explained(signal, said @ turn)
    np.testing.assert_allclose(first, second, rtol=1e-6)
    # by regression: standard deviation of what a linear model of the components says
    fit = LinearRegression().fit(said, signal.reshape(200, -1))
    wanted = fit.predict(said).std(0, ddof=1).reshape(3, 2)
    np.testing.assert_allclose(first, wanted, rtol=1e-6)
