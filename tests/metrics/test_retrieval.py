"""Retrieval metrics against loops, enumeration of all draws, and a case computed by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurovis.config import components, resolve
from neurovis.errors import NeurovisError
from neurovis.metrics.base import Metric
from neurovis.metrics.retrieval import (
    KWay,
    MedianRank,
    RankMetric,
    RelativeRank,
    Top,
    best,
    cosine_blocks,
    k_way,
    merge_gallery,
    place,
    rank,
    top_credit,
    unit_rows,
)


def cosine(prediction, gallery):
    return np.concatenate([block for _, block in cosine_blocks([(prediction, gallery)])])


@st.composite
def similarities(draw, least=2):
    """Few distinct values, so that ties are common."""
    n_rows, n_items = draw(st.integers(1, 8)), draw(st.integers(least, 7))
    values = draw(arrays(np.int64, (n_rows, n_items), elements=st.integers(0, 3)))
    shown = draw(arrays(np.int64, n_rows, elements=st.integers(0, n_items - 1)))
    return values.astype(np.float32), shown


def test_three_by_three_by_hand():
    similarity = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.3, 0.2, 0.2]])
    above, tied = place(similarity, np.arange(3))
    assert above.tolist() == [0, 0, 1]
    assert tied.tolist() == [0, 1, 1]
    assert rank(above, tied).tolist() == [0, 0.5, 1.5]
    assert top_credit(above, tied, 1).tolist() == [1, 0.5, 0]
    assert top_credit(above, tied, 2).tolist() == [1, 1, 0.5]
    assert k_way(above, tied, 3, 2).tolist() == [1, 0.75, 0.25]


@settings(max_examples=50, deadline=None)
@given(similarities())
def test_places_and_credits_equal_a_mean_over_orders_of_the_ties(case):
    similarity, shown = case
    above, tied = place(similarity, shown)
    for row in range(len(shown)):
        places = []
        for jitter in itertools.permutations(range(similarity.shape[1])):
            value = similarity[row] + np.array(jitter) * 1e-3
            places.append(int((value > value[shown[row]]).sum()))
        assert rank(above, tied)[row] == pytest.approx(np.mean(places))
        for k in (1, 2, 5):
            assert top_credit(above, tied, k)[row] == pytest.approx(np.mean(np.array(places) < k))


@settings(max_examples=50, deadline=None)
@given(similarities(), st.integers(2, 7))
def test_k_way_equals_all_draws_of_distractors(case, k):
    similarity, shown = case
    n_items = similarity.shape[1]
    k = min(k, n_items)
    found = k_way(*place(similarity, shown), n_items, k)
    for row, true in enumerate(shown):
        others = [i for i in range(n_items) if i != true]
        credit = []
        for draw in itertools.combinations(others, k - 1):
            rivals = similarity[row, list(draw)]
            won = (rivals <= similarity[row, true]).all()
            credit.append(won / (1 + (rivals == similarity[row, true]).sum()))
        assert found[row] == pytest.approx(np.mean(credit))


@settings(max_examples=50, deadline=None)
@given(similarities())
def test_relations_between_metrics(case):
    similarity, shown = case
    n_items = similarity.shape[1]
    above, tied = place(similarity, shown)
    np.testing.assert_allclose(
        k_way(above, tied, n_items, 2), 1 - rank(above, tied) / (n_items - 1), atol=1e-12
    )
    np.testing.assert_allclose(
        k_way(above, tied, n_items, n_items), top_credit(above, tied, 1), atol=1e-12
    )


@settings(max_examples=50, deadline=None)
@given(similarities(), st.randoms(use_true_random=False))
def test_order_of_the_gallery_does_not_matter(case, random):
    similarity, shown = case
    order = list(range(similarity.shape[1]))
    random.shuffle(order)
    moved = place(similarity[:, order], np.argsort(order)[shown])
    np.testing.assert_array_equal(moved, place(similarity, shown))


@pytest.mark.parametrize("metric", [Top(k=1), Top(k=5), KWay(k=2), KWay(k=4)])
@pytest.mark.parametrize("n_items", [6, 40])
def test_constant_predictor_scores_chance(metric, n_items):
    above, tied = place(np.zeros((3, n_items)), np.arange(3))
    np.testing.assert_allclose(metric.credit(above, tied, n_items), metric.chance(n_items))
    # the same vector for every image: each image has its fixed place, their mean is chance
    rng = np.random.default_rng(0)
    prediction = np.repeat(rng.standard_normal((1, 5)), n_items, axis=0)
    similarity = cosine(prediction, rng.standard_normal((n_items, 5)))
    credit = metric.credit(*place(similarity, np.arange(n_items)), n_items)
    assert credit.mean() == pytest.approx(metric.chance(n_items))


def test_chance_of_every_metric_by_permutation():
    rng = np.random.default_rng(1)
    n_items = 30
    similarity = np.round(rng.standard_normal((4000, n_items)), 1)
    above, tied = place(similarity, rng.integers(n_items, size=4000))
    for metric in (Top(k=1), Top(k=5), RelativeRank(), KWay(k=2), KWay(k=10)):
        credit = metric.credit(above, tied, n_items)
        error = 4 * credit.std() / np.sqrt(len(credit))
        assert credit.mean() == pytest.approx(metric.chance(n_items), abs=error), metric.label
    median = np.median(MedianRank().credit(above, tied, n_items))
    assert median == pytest.approx(MedianRank().chance(n_items), abs=1)


def test_cosine_equals_scipy_and_blocks_equal_the_whole():
    distance = pytest.importorskip("scipy.spatial.distance")
    rng = np.random.default_rng(0)
    prediction, gallery = rng.standard_normal((11, 6)), rng.standard_normal((7, 6))
    expected = 1 - distance.cdist(prediction, gallery, "cosine")
    np.testing.assert_allclose(cosine(prediction, gallery), expected, atol=1e-6)
    pairs = [(prediction, gallery), (2 * prediction[:, :3], gallery[:, :3])]
    whole = np.concatenate([b for _, b in cosine_blocks(pairs)])
    rows, blocks = zip(*cosine_blocks(pairs, block=4))
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)
    assert [r.indices(11)[:2] for r in rows] == [(0, 4), (4, 8), (8, 11)]
    expected += 1 - distance.cdist(prediction[:, :3], gallery[:, :3], "cosine")
    np.testing.assert_allclose(whole, expected, atol=1e-6)


def test_equal_vectors_tie_exactly_wherever_they_stand():
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((203, 37)).astype(np.float32)
    gallery[[5, 100, 202]] = gallery[50]
    similarity = cosine(rng.standard_normal((40, 37)), gallery)
    assert (similarity[:, [5, 100, 202]] == similarity[:, [50]]).all()
    _, tied = place(similarity, np.full(40, 50))
    assert (tied == 3).all()


def test_batch_of_one_equals_the_batch():
    rng = np.random.default_rng(0)
    prediction, gallery = rng.standard_normal((9, 6)), rng.standard_normal((20, 6))
    shown = rng.integers(20, size=9)
    whole = np.array(place(cosine(prediction, gallery), shown))
    for i in range(9):
        one = place(cosine(prediction[i : i + 1], gallery), shown[i : i + 1])
        np.testing.assert_array_equal(np.ravel(one), whole[:, i])


def test_scale_of_vectors_does_not_matter():
    rng = np.random.default_rng(0)
    vector = rng.standard_normal((5, 4)).astype(np.float32)
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(
            unit_rows(vector * np.float32(scale), "x"), unit_rows(vector, "x"), rtol=1e-5
        )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12))
def test_duplicate_gallery_ids_are_one_item(ids):
    vectors = {name: np.full(3, i + 1.0) for i, name in enumerate("abcde")}
    image, vector = merge_gallery(ids, np.array([vectors[i] for i in ids]))
    assert image.tolist() == list(dict.fromkeys(ids))
    np.testing.assert_array_equal(vector, [vectors[i] for i in image])


def test_best_orders_items_and_keeps_gallery_order_in_ties():
    assert best(np.array([[1.0, 3.0, 2.0, 3.0]]), 3).tolist() == [[1, 3, 2]]
    rng = np.random.default_rng(0)
    similarity = rng.standard_normal((6, 30))
    expected = np.argsort(-similarity, axis=1)[:, :10]
    np.testing.assert_array_equal(best(similarity, 10), expected)
    assert best(similarity[:, :4], 10).shape == (6, 4)


def test_bad_input_is_one_sentence():
    with pytest.raises(NeurovisError, match="NaN in row 1"):
        place(np.array([[0.0, 1.0], [np.nan, 1.0]]), np.zeros(2, int))
    with pytest.raises(NeurovisError, match="NaN in row 101"):
        place(np.array([[0.0, 1.0], [np.nan, 1.0]]), np.zeros(2, int), 100)
    with pytest.raises(NeurovisError, match="at least one row"):
        place(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(NeurovisError, match="found 0 and 3"):
        list(cosine_blocks([(np.zeros((0, 4)), np.ones((3, 4)))]))
    vector = np.ones((8, 2))
    vector[5] = 0
    with pytest.raises(NeurovisError, match="only zeros in row 5"):
        list(cosine_blocks([(vector, np.ones((3, 2)))], block=3))
    with pytest.raises(NeurovisError, match="NaN or infinity in row 0"):
        unit_rows(np.array([[np.inf, 1]]), "prediction")
    with pytest.raises(NeurovisError, match="has 4 dims, the gallery has 5"):
        list(cosine_blocks([(np.ones((1, 4)), np.ones((3, 5)))]))
    with pytest.raises(NeurovisError, match="'a' has two different vectors"):
        merge_gallery(["b", "a", "a"], np.array([[1.0], [2.0], [3.0]]))
    with pytest.raises(NeurovisError, match="between 2 and the gallery's 5"):
        k_way(np.zeros(1), np.zeros(1), 5, 6)


@pytest.mark.parametrize("name", sorted(components(Metric)))
def test_every_metric_is_documented(name):
    metric = resolve(Metric, name)
    direction = "higher" if metric.higher_is_better else "lower"
    assert f"({direction} is better, chance " in metric.__doc__.splitlines()[0]
    if not getattr(metric, "measured_chance", False):  # else it depends on the pictures
        assert 0 < metric.chance(100) < 100
    if isinstance(metric, RankMetric):
        perfect = metric.credit(np.zeros(1), np.zeros(1), 100)[0]
        worst = metric.credit(np.full(1, 99), np.zeros(1), 100)[0]
        assert (perfect > worst) is np.bool_(metric.higher_is_better)
