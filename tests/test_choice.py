"""Which weights a training ends with, against direct computation; batch normalisation is measured anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurovis.choice import Choice, mean, measure_norms
from neurovis.protocols import BestOnTest, Clean, Last, MeanOfLast

VALUES = [0.9, 0.4, 0.6, 0.4, 0.5, 0.8]


def states(n: int = len(VALUES)) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "w": torch.from_numpy(rng.standard_normal((3, 2)).astype(np.float32)),
            "n": torch.tensor(i),
        }
        for i in range(n)
    ]


def chosen(choice: Choice, some: list[dict]) -> list[dict]:
    for value, state in zip(VALUES, some):
        choice.offer(value, state)
    return choice.weights()


def direct(some: list[dict], which: list[int]) -> torch.Tensor:
    total = torch.zeros(3, 2, dtype=torch.float64)
    for i in which:
        total += some[i]["w"].double()
    return (total / len(which)).float()


@pytest.mark.parametrize(
    ("n", "of", "which"),
    [
        (1, "best", [1]),  # of two as good the first
        (2, "best", [1, 3]),
        (3, "best", [1, 3, 4]),
        (20, "best", [0, 1, 2, 3, 4, 5]),
        (1, "last", [5]),
        (3, "last", [3, 4, 5]),
    ],
)
def test_means_of_the_best_and_the_last_epochs(n, of, which):
    some = states()
    (found,) = chosen(Choice(Clean(), n, of), some)
    torch.testing.assert_close(found["w"], direct(some, which), rtol=1e-6, atol=1e-7)
    assert found["n"].dtype == torch.int64


def test_without_a_judge_the_last_counts():
    some = states()
    (found,) = chosen(Choice(Last(), 1), some)
    assert torch.equal(found["w"], some[-1]["w"])
    (found,) = chosen(Choice(Last(), 2, "best"), some)
    torch.testing.assert_close(found["w"], direct(some, [4, 5]))


def test_scores_of_the_last_epochs_need_one_model_each():
    some = states()
    found = chosen(Choice(MeanOfLast(n_epochs=3)), some)
    assert [int(one["n"]) for one in found] == [3, 4, 5]
    found = chosen(Choice(MeanOfLast(n_epochs=3), 2), some)
    for one, which in zip(found, ([2, 3], [3, 4], [4, 5]), strict=True):
        torch.testing.assert_close(one["w"], direct(some, which))


def test_what_judges_is_the_column_that_the_protocol_names():
    report = {"validation_loss": 2.0, "validation_top5": 0.5, "validation_top1": 0.1}
    assert Choice(Clean()).value(report) == 2.0
    assert Choice(BestOnTest(metric="top1")).value(report) == -0.1
    assert Choice(BestOnTest(metric="top5")).value(report) == -0.5
    assert Choice(BestOnTest(metric="loss")).value(report) == 2.0
    assert Choice(Last()).value({}) == 0.0


def test_kept_weights_are_copies():
    weights = {"w": torch.ones(2)}
    choice = Choice(Clean())
    choice.offer(1.0, weights)
    weights["w"] += 5
    assert torch.equal(choice.weights()[0]["w"], torch.ones(2))


def test_a_mean_of_one_is_that_one():
    (one,) = states(1)
    assert mean([one]) is one


def test_running_statistics_are_the_mean_over_batches():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 1)
    )
    norm = model[2]
    norm.running_mean += 100  # what a mean of weights leaves behind
    batches = [(torch.randn(n, 4) + n,) for n in (8, 8, 6)]
    measure_norms(model, iter(batches))
    with torch.no_grad():
        seen = [model[0](x) for (x,) in batches]  # no dropout: as in prediction
    expected = sum(x.mean(0) for x in seen) / 3
    spread = sum(x.var(0, unbiased=True) for x in seen) / 3
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(norm.running_var, spread, rtol=1e-5, atol=1e-5)
    assert norm.momentum == 0.1
    assert not any(module.training for module in model.modules())
