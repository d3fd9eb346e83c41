"""Levels of blur: which item sees which, by how well it is matched; kept in checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurovis.decoder import PROJECTED
from neurovis.errors import NeurovisError
from neurovis.levels import Truth
from neurovis.records import Embeddings
from neurovis.targets import Adaptive, Target

N = 40
IMAGES = np.array([f"i{i:02d}" for i in range(N)])


def embeddings(level: float, seed=0) -> Embeddings:
    vector = np.random.default_rng(seed).standard_normal((N, 6)) + 10 * level
    return Embeddings(vector, IMAGES)


def truth(rate=0.3, n=3) -> Truth:
    levels = tuple(embeddings(i) for i in range(n))
    targets = {"a": Target(adaptive=Adaptive(views=["blur"] * n, rate=rate)), "b": Target()}
    vectors = {"a": embeddings(-1), "b": embeddings(0, 1)}
    return Truth(targets, vectors, {"a": levels}, IMAGES[::-1])


class Side:
    """An image side that leaves targets as they are, or projects them to others."""

    def __init__(self, projected=None):
        self.projected = projected or {}

    def seen(self, target, side=0):
        return target | self.projected


def pairs(similarity):
    """Unit vectors with these cosines to the first axis, and an image side."""
    cosine = torch.as_tensor(similarity, dtype=torch.float32)
    said = torch.stack([cosine, (1 - cosine**2).sqrt()], dim=1)
    return {"a": said}, {"a": torch.tensor([[1.0, 0.0]]).expand(len(cosine), 2)}, Side()


def test_items_start_in_the_middle_and_targets_without_levels_have_one():
    found = truth().at(np.array([0, 3]))
    ids = IMAGES[::-1][[0, 3]]
    np.testing.assert_array_equal(found["a"], embeddings(1).at(ids))
    np.testing.assert_array_equal(found["b"], embeddings(0, 1).at(ids))


def test_well_matched_items_get_sharper_and_badly_matched_ones_blurred():
    one = truth()
    similarity = np.full(N, 0.5) + 0.01 * np.random.default_rng(0).standard_normal(N)
    similarity[5], similarity[9] = 0.9, 0.1
    one.learn(np.arange(N), *pairs(similarity))
    one.choose()
    z = (similarity - similarity.mean()) / similarity.std(ddof=1)
    expected = 1 - np.trunc(z / 1.96).clip(-1, 1).astype(int)
    np.testing.assert_array_equal(one.level["a"].numpy(), expected)
    assert expected[5] == 0
    assert expected[9] == 2
    assert (np.delete(expected, [5, 9]) == 1).all()
    np.testing.assert_array_equal(one.at(np.array([5]))["a"], embeddings(0).at(IMAGES[::-1][[5]]))


def test_similarity_is_a_moving_average_against_the_projected_target():
    one, rows = truth(rate=0.25), np.array([2, 7])
    said, seen, _ = pairs([0.8, 0.4])
    other = {"a": -seen["a"]}
    for _ in range(2):
        one.learn(rows, said, other, Side({"a" + PROJECTED: seen["a"]}))
    one.learn(rows, *pairs([0.0, 0.4]))
    found = one.similarity["a"][rows]
    torch.testing.assert_close(found, torch.tensor([0.75 * 0.8, 0.4]))
    assert one.similarity["a"].isnan().sum() == N - 2


def test_the_newest_similarity_is_held_against_the_smoothed_ones():
    """Bounds are of smoothed similarities, which move less than what is held against them."""
    one, rng = truth(), np.random.default_rng(1)
    first, second = 0.2 * rng.standard_normal((2, N)).clip(-3, 3) + 0.1
    second[4] = 0.98
    one.learn(np.arange(N), *pairs(first))
    one.learn(np.arange(N), *pairs(second))
    one.choose()
    smoothed = 0.3 * second + 0.7 * first
    far = (second - smoothed.mean()) / (1.96 * smoothed.std(ddof=1))
    expected = 1 - np.trunc(far).clip(-1, 1).astype(int)
    np.testing.assert_array_equal(one.level["a"].numpy(), expected)
    assert expected[4] == 0
    assert len(set(expected)) == 3
    # levels are those of the next epoch alone
    one.learn(np.arange(N), *pairs(np.full(N, 0.1)))
    np.testing.assert_array_equal(one.level["a"].numpy(), expected)


def test_equal_similarities_move_nothing():
    one = truth()
    one.learn(np.arange(N), *pairs(np.full(N, 0.3)))
    one.choose()
    assert (one.level["a"] == 1).all()


def test_a_checkpoint_goes_on_where_it_was():
    one, other = truth(), truth()
    one.learn(np.arange(N), *pairs(np.linspace(-0.9, 0.9, N) ** 3))
    one.choose()
    other.load(one.state())
    rows = np.arange(N)
    assert torch.equal(one.at(rows)["a"], other.at(rows)["a"])
    with pytest.raises(NeurovisError, match="expected levels of"):
        other.load({"level": {}, "similarity": {}})
