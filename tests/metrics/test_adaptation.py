"""Corrections at test time against direct loops, SciPy and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.errors import NeurovisError
from neurovis.metrics import adaptation
from neurovis.metrics.retrieval import cosine_blocks, place, top_credit


def cosine(prediction, gallery):
    return np.concatenate([block for _, block in cosine_blocks([(prediction, gallery)])])


def hubs(n_items=60, n_rows=60, dim=12, strength=3.0, seed=0):
    """Predictions that lean to one direction, so that items along it are near to all of them."""
    rng = np.random.default_rng(seed)
    gallery = rng.standard_normal((n_items, dim))
    lean = strength * rng.standard_normal(dim)
    shown = (
        rng.permutation(n_items)[:n_rows]
        if n_rows <= n_items
        else rng.integers(n_items, size=n_rows)
    )
    prediction = gallery[shown] + 0.8 * rng.standard_normal((n_rows, dim)) + lean
    return prediction, gallery, shown


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 15), st.integers(2, 15), st.integers(1, 20))
def test_csls_equals_the_papers_equation(n_rows, n_items, k):
    similarity = np.random.default_rng(n_rows * n_items).standard_normal((n_rows, n_items))
    found = adaptation.csls(similarity, k)
    for i, j in itertools.product(range(n_rows), range(n_items)):
        near_items = np.mean(sorted(similarity[i])[::-1][:k])
        near_rows = np.mean(sorted(similarity[:, j])[::-1][:k])
        assert found[i, j] == pytest.approx(
            2 * similarity[i, j] - near_items - near_rows, abs=1e-12
        )


def test_inductive_csls_orders_rows_as_csls_does_when_validation_is_the_test_set():
    prediction, gallery, _ = hubs()
    similarity = cosine(prediction, gallery)
    ours = similarity - adaptation.csls_bias(similarity, 5)
    np.testing.assert_array_equal(
        np.argsort(-ours, axis=1), np.argsort(-adaptation.csls(similarity, 5), axis=1)
    )
    np.testing.assert_allclose(adaptation.mean_bias(similarity), similarity.mean(0), atol=1e-7)


def test_inductive_corrections_look_at_one_row_at_a_time():
    prediction, gallery, _ = hubs(n_rows=40)
    held, _, _ = hubs(n_rows=50, seed=0)
    for bias in adaptation.BIASES.values():
        learned = bias(cosine(held, gallery))
        whole = cosine(prediction, gallery) - learned
        alone = np.concatenate([cosine(p[None], gallery) - learned for p in prediction])
        np.testing.assert_allclose(whole, alone, atol=1e-6)


def test_hubs_are_corrected_by_every_method():
    prediction, gallery, shown = hubs()
    held = hubs(n_rows=300, seed=0)[0]  # the same lean, other noise

    def top1(similarity):
        return top_credit(*place(similarity, shown), 1).mean()

    plain = top1(cosine(prediction, gallery))
    learned = cosine(held, gallery)
    better = {name: top1(cosine(prediction, gallery) - bias(learned))
              for name, bias in adaptation.BIASES.items()}  # fmt: skip
    better["csls over test rows"] = top1(adaptation.csls(cosine(prediction, gallery)))
    for name, method in adaptation.VECTOR.items():
        better[name] = top1(cosine(*method(prediction, gallery)))
    assert all(value > plain + 0.05 for value in better.values()), (plain, better)


def test_moments_and_whitening_do_what_they_say():
    from sklearn.covariance import LedoitWolf

    prediction, gallery, _ = hubs(n_rows=50)
    said, same = adaptation.moments(prediction, gallery)
    np.testing.assert_array_equal(same, gallery)
    np.testing.assert_allclose(said.mean(0), gallery.mean(0), atol=1e-10)
    np.testing.assert_allclose(said.std(0), gallery.std(0), atol=1e-10)
    for found, vector in zip(adaptation.whiten(prediction, gallery), (prediction, gallery)):
        covariance = LedoitWolf().fit(vector).covariance_
        root = found.T @ found / len(vector)
        centred = vector - vector.mean(0)
        # (x - m) C^-1/2, whose own square is C^-1
        expected = centred @ np.linalg.inv(covariance) @ centred.T
        np.testing.assert_allclose(found @ found.T, expected, atol=1e-8)
        assert np.abs(root - np.eye(root.shape[0])).max() < 0.7
    with pytest.raises(NeurovisError, match="3 test rows or more, found 2"):
        adaptation.whiten(prediction[:2], gallery)
    with pytest.raises(NeurovisError, match="found all alike"):
        adaptation.whiten(np.ones((5, 4)), gallery[:, :4])


@pytest.mark.parametrize("shape", [(5, 5), (4, 6)])
def test_one_to_one_equals_trying_all_assignments(shape):
    similarity = np.random.default_rng(1).standard_normal(shape)
    best = max(
        itertools.permutations(range(shape[1]), shape[0]),
        key=lambda items: sum(similarity[i, j] for i, j in enumerate(items)),
    )
    assert tuple(adaptation.one_to_one(similarity)) == best
    with pytest.raises(NeurovisError, match="at most as many rows"):
        adaptation.one_to_one(similarity.repeat(2, axis=0))


def test_one_to_one_gives_a_constant_predictor_chance():
    hits = [
        (adaptation.one_to_one(np.ones((20, 20)), seed) == np.arange(20)).mean()
        for seed in range(200)
    ]
    assert np.mean(hits) == pytest.approx(1 / 20, abs=0.015)


def test_row_sets_take_one_row_of_each_image():
    image = np.array(["b", "a", "a", "b", "a", "b", "a", "b"])
    subject = np.array(["1", "1", "1", "1", "2", "2", "1", "1"])
    n = np.array([1, 1, 1, 1, 1, 1, 4, 4])
    sets, once = adaptation.row_sets(image, subject, n)
    assert once
    assert sorted(sorted(rows.tolist()) for rows in sets) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    sets, once = adaptation.row_sets(image[:3], subject[:3], n[:3])
    assert not once
    assert [sorted(rows) for rows in sets] == [[0, 1, 2]]


def test_temperature_is_that_of_the_data_and_calibrates():
    rng = np.random.default_rng(0)
    similarity = rng.standard_normal((20000, 6))
    true = 0.37
    p = np.exp(adaptation.log_probability(similarity, true))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    shown = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1)
    found = adaptation.fit_temperature(similarity, shown)
    assert found == pytest.approx(true, rel=0.03)
    grid = np.geomspace(0.1, 1, 400)
    losses = [
        -adaptation.log_probability(similarity, t)[np.arange(20000), shown].mean() for t in grid
    ]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.01)
    right = p.argmax(axis=1) == shown
    assert adaptation.calibration_error(p.max(axis=1), right) < 0.02
    sharp = np.exp(adaptation.log_probability(similarity, 0.05)).max(axis=1)
    assert adaptation.calibration_error(sharp, right) > 0.2


def test_calibration_error_equals_torchmetrics():
    pytest.importorskip("torchmetrics")
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(0)
    sure, right = rng.random(500), rng.random(500) < 0.6
    # torchmetrics bins what it is given; for two classes that is the probability of class 1
    theirs = binary_calibration_error(
        torch.from_numpy(sure), torch.from_numpy(right).int(), n_bins=15, norm="l1"
    )
    assert adaptation.calibration_error(sure, right) == pytest.approx(float(theirs), abs=1e-6)
