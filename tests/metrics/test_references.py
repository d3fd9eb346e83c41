"""Every metric against implementations by others: scikit-learn, SciPy, torchmetrics, to 1e-6.

Where the others break ties by position, they are averaged over all orders of the gallery: that mean
is what an even share of tied places must equal.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn

from neurovis.metrics.identification import auc, balanced, projection_blocks
from neurovis.metrics.retrieval import cosine_blocks, k_way, place, rank, top_credit
from neurovis.metrics.scoring import RETRIEVAL, score_images
from neurovis.metrics.statistics import t_interval, wilson

N_ROWS, N_ITEMS = 60, 5


def cases(levels: int | None, n_items: int, n_rows: int = N_ROWS, seed: int = 0):
    """Similarities (row, item) with ties where there are few `levels`, and the item shown."""
    rng = np.random.default_rng(seed)
    if levels is None:
        similarity = rng.standard_normal((n_rows, n_items))
    else:
        similarity = rng.integers(levels, size=(n_rows, n_items)).astype(float)
    shown = rng.permutation(np.arange(n_rows) % n_items)
    return similarity.astype(np.float32), shown


def over_orders(similarity: np.ndarray, shown: np.ndarray, measure) -> float:
    """Mean of a measure that breaks ties by position, over all orders of the gallery."""
    values = []
    for order in itertools.permutations(range(similarity.shape[1])):
        values.append(measure(similarity[:, list(order)], np.argsort(order)[shown]))
    return float(np.mean(values))


@pytest.fixture(scope="module")
def torchmetrics():
    return pytest.importorskip("torchmetrics")


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("levels", [None, 2, 3])
def test_top_k_equals_sklearn_over_all_orders_of_ties(k, levels):
    similarity, shown = cases(levels, N_ITEMS)
    ours = top_credit(*place(similarity, shown), k).mean()
    measure = lambda s, y: sklearn.top_k_accuracy_score(y, s, k=k, labels=range(N_ITEMS))  # noqa: E731
    if levels is None:
        assert ours == pytest.approx(measure(similarity, shown), abs=1e-6)
    assert ours == pytest.approx(over_orders(similarity, shown, measure), abs=1e-6)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_top_k_equals_torchmetrics_in_a_gallery_of_200(torchmetrics, k):
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy
    from torchmetrics.functional.retrieval import retrieval_hit_rate

    similarity, shown = cases(None, 200, 400)
    similarity[np.arange(400), shown] += 1.5
    credit = top_credit(*place(similarity, shown), k)
    theirs = multiclass_accuracy(
        torch.from_numpy(similarity), torch.from_numpy(shown), 200, average="micro", top_k=k
    )
    assert 0.1 < credit.mean() == pytest.approx(float(theirs), abs=1e-6)
    for row in range(40):
        hit = retrieval_hit_rate(
            torch.from_numpy(similarity[row]), torch.arange(200) == shown[row], top_k=k
        )
        assert credit[row] == pytest.approx(float(hit), abs=1e-6)


@pytest.mark.parametrize("levels", [2, 3])
def test_top_1_with_ties_equals_torchmetrics_over_all_orders(torchmetrics, levels):
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy

    similarity, shown = cases(levels, 4, 30)
    measure = lambda s, y: float(  # noqa: E731
        multiclass_accuracy(torch.from_numpy(s), torch.from_numpy(y), 4, average="micro")
    )
    ours = top_credit(*place(similarity, shown), 1).mean()
    assert ours == pytest.approx(over_orders(similarity, shown, measure), abs=1e-6)


@pytest.mark.parametrize("levels", [None, 2, 5])
def test_places_and_ranks_equal_scipy(levels):
    similarity, shown = cases(levels, 23)
    above, tied = place(similarity, shown)
    of = {
        way: stats.rankdata(-similarity, method=way, axis=1)[np.arange(N_ROWS), shown]
        for way in ("min", "max", "average")
    }
    np.testing.assert_array_equal(above, of["min"] - 1)
    np.testing.assert_array_equal(tied, of["max"] - of["min"])
    np.testing.assert_allclose(rank(above, tied), of["average"] - 1, atol=1e-6)


@pytest.mark.parametrize("levels", [None, 2, 5])
def test_two_way_is_the_area_under_the_curve_of_the_shown_item(levels):
    similarity, shown = cases(levels, 23)
    ours = k_way(*place(similarity, shown), 23, 2)
    for row, item in enumerate(shown):
        theirs = sklearn.roc_auc_score(np.arange(23) == item, similarity[row])
        assert ours[row] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("levels", [None, 2, 5])
def test_auc_equals_three_others(torchmetrics, levels):
    import torch
    from torchmetrics.functional.classification import binary_auroc

    decision, _ = cases(levels, 1, 80)
    decision, positive = decision[:, 0], np.random.default_rng(1).random(80) < 0.3
    ours = auc(decision, positive)
    u = stats.mannwhitneyu(decision[positive], decision[~positive]).statistic
    n = positive.sum() * (~positive).sum()
    assert ours == pytest.approx(sklearn.roc_auc_score(positive, decision), abs=1e-6)
    assert ours == pytest.approx(u / n, abs=1e-6)
    # torchmetrics takes probabilities: ranks keep order and ties
    squeezed = torch.from_numpy(stats.rankdata(decision) / 81)
    theirs = binary_auroc(squeezed, torch.from_numpy(positive).int())
    assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_identification_equals_sklearn_and_torchmetrics(torchmetrics):
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy

    similarity, shown = cases(None, N_ITEMS)
    shown[:20] = 0  # categories of unlike size
    similarity[np.arange(N_ROWS), shown] += 1
    ours = balanced(top_credit(*place(similarity, shown), 1), shown)
    theirs = sklearn.balanced_accuracy_score(shown, similarity.argmax(axis=1))
    assert ours == pytest.approx(theirs, abs=1e-6)
    macro = multiclass_accuracy(
        torch.from_numpy(similarity), torch.from_numpy(shown), N_ITEMS, average="macro"
    )
    assert ours == pytest.approx(float(macro), abs=1e-6)


def test_cosines_equal_sklearn_and_torchmetrics(torchmetrics):
    import torch
    from torchmetrics.functional.pairwise import pairwise_cosine_similarity

    rng = np.random.default_rng(0)
    prediction = rng.standard_normal((30, 64)).astype(np.float32)
    gallery = rng.standard_normal((50, 64)).astype(np.float32)
    ours = np.concatenate([block for _, block in cosine_blocks([(prediction, gallery)], 7)])
    theirs = sklearn.pairwise.cosine_similarity(prediction, gallery)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    theirs = pairwise_cosine_similarity(torch.from_numpy(prediction), torch.from_numpy(gallery))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
    along = np.concatenate([block for _, block in projection_blocks([(prediction, gallery)])])
    length = np.linalg.norm(gallery, axis=1)
    np.testing.assert_allclose(along, prediction @ (gallery / length[:, None]).T / length.mean(),
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("levels", [None, 3])
def test_scores_equal_the_references_end_to_end(levels):
    """What stands in a `Score` is the references' number, pooled over rows."""
    similarity, shown = cases(levels, 12, 48)
    above, tied = place(similarity, shown)
    common = {"gallery": "", "protocol": "", "about": {}}
    metrics = tuple(m for m in RETRIEVAL if m.fits(12))
    found = score_images(metrics, shown.astype(str), above, tied, 12, common)
    value = {s.score.name: s.score.value for s in found}
    place_of = stats.rankdata(-similarity, axis=1)[np.arange(48), shown] - 1
    assert value["median_rank"] == pytest.approx(np.median(place_of), abs=1e-6)
    assert value["relative_rank"] == pytest.approx(place_of.mean() / 12, abs=1e-6)
    one = [sklearn.roc_auc_score(np.arange(12) == i, s) for i, s in zip(shown, similarity)]
    assert value["2-way"] == pytest.approx(np.mean(one), abs=1e-6)
    if levels is None:
        top = sklearn.top_k_accuracy_score(shown, similarity, k=5, labels=range(12))
        assert value["top5"] == pytest.approx(top, abs=1e-6)


@pytest.mark.parametrize(("hits", "n"), [(0, 200), (3, 40), (20, 40), (40, 40)])
def test_wilson_equals_scipy(hits, n):
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(hits / n, n), [theirs.low, theirs.high], atol=1e-6)


def test_student_interval_equals_scipy():
    value = np.random.default_rng(0).normal(size=7)
    theirs = stats.t.interval(0.95, 6, loc=value.mean(), scale=stats.sem(value))
    np.testing.assert_allclose(t_interval(value), theirs, atol=1e-6)
