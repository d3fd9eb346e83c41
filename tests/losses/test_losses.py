"""Losses against numbers worked out by hand, open_clip, torch and scipy; repeats are never negatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from scipy.special import logsumexp

from neurovis.brain.base import REGRESSION
from neurovis.config import components, resolve
from neurovis.errors import UsageError
from neurovis.losses.base import Loss
from neurovis.losses.contrastive import one_direction

quick = settings(max_examples=30, deadline=None)


def batch(n=6, dim=5, seed=0, targets=("image",), repeats=1):
    """Predictions with a regression head for each target, truth and image ids."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.arange(n) // repeats
    truth = {t: torch.randn(n, dim, generator=generator)[image * repeats] for t in targets}
    said = {t: torch.randn(n, dim, generator=generator) for t in targets}
    said |= {t + REGRESSION: torch.randn(n, dim, generator=generator) for t in targets}
    return said, truth, image


def loss(config, *content):
    return float(resolve(Loss, config).build()(*content)["loss"].detach())


# ---- every component


@pytest.mark.parametrize("name", components(Loss))
def test_every_loss_is_finite_differentiable_and_says_its_parts(name):
    said, truth, image = batch(8, repeats=2, targets=("image", "text"))
    said = {k: v.requires_grad_() for k, v in said.items()}
    parts = resolve(Loss, name).build()(said, truth, image)
    assert all(torch.isfinite(v) for v in parts.values())
    assert len(parts) > 1
    parts["loss"].backward()
    reached = [k for k, v in said.items() if v.grad is not None and bool(v.grad.abs().sum() > 0)]
    assert reached
    assert all(bool(torch.isfinite(said[k].grad).all()) for k in reached)


@pytest.mark.parametrize("name", components(Loss))
@quick
@given(st.integers(0, 1000), st.integers(1, 3))
def test_no_loss_depends_on_the_order_of_the_rows(name, seed, repeats):
    said, truth, image = batch(6, seed=seed, repeats=repeats)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    other = [{k: v[order] for k, v in said.items()}, {k: v[order] for k, v in truth.items()}]
    assert loss(name, said, truth, image) == pytest.approx(
        loss(name, *other, image[order]), rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize("name", components(Loss))
def test_no_loss_depends_on_how_images_are_numbered(name):
    said, truth, image = batch(8, repeats=2)
    other = torch.tensor([70, 3, 1000, 5])[image]
    assert loss(name, said, truth, image) == pytest.approx(loss(name, said, truth, other), rel=1e-6)


@pytest.mark.parametrize("name", components(Loss))
def test_one_image_alone_has_a_finite_loss_and_gradient(name):
    for n in (1, 4):
        said, truth, _ = batch(n, repeats=n)
        said = {k: v.requires_grad_() for k, v in said.items()}
        module = resolve(Loss, name).build()
        parts = module(said, truth, torch.zeros(n, dtype=torch.int64))
        parts["loss"].backward()
        grads = [v.grad for v in [*said.values(), *module.parameters()] if v.grad is not None]
        assert all(bool(torch.isfinite(g).all()) for g in grads)
        if name == "clip":
            assert float(parts["loss"].detach()) == 0


# ---- contrastive


def test_the_contrastive_loss_of_three_images_by_hand():
    # orthonormal truth, scale 1: the logits are the predictions' cosines themselves
    rows = np.array([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0], [0.8, 0.0, 0.6]])
    by_row = [
        math.log(math.exp(0.6) + math.exp(0.8) + 1) - 0.6,
        math.log(1 + math.exp(1.0) + 1) - 1.0,
        math.log(math.exp(0.8) + 1 + math.exp(0.6)) - 0.6,
    ]
    by_column = [
        math.log(math.exp(0.6) + 1 + math.exp(0.8)) - 0.6,
        math.log(math.exp(0.8) + math.exp(1.0) + 1) - 1.0,
        math.log(1 + 1 + math.exp(0.6)) - 0.6,
    ]
    said = {"image": torch.tensor(rows, dtype=torch.float32)}
    truth = {"image": torch.eye(3)}
    image = torch.arange(3)
    for direction in (0.0, 0.3, 0.5, 1.0):
        config = {"name": "clip", "temperature": 1.0, "direction": direction}
        expected = direction * np.mean(by_row) + (1 - direction) * np.mean(by_column)
        assert loss(config, said, truth, image) == pytest.approx(expected, abs=1e-6)


@quick
@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from([0.07, 0.3, 1.0]))
def test_different_images_give_infonce(seed, n, temperature):
    said, truth, image = batch(n, seed=seed)
    a, b = (x["image"].numpy().astype(float) for x in (said, truth))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    logits = a @ b.T / temperature
    rows = (logsumexp(logits, axis=1) - np.diag(logits)).mean()
    columns = (logsumexp(logits, axis=0) - np.diag(logits)).mean()
    found = loss({"name": "clip", "temperature": temperature}, said, truth, image)
    assert found == pytest.approx((rows + columns) / 2, rel=1e-4, abs=1e-5)


def test_different_images_give_the_loss_of_open_clip():
    from open_clip.loss import ClipLoss

    for seed in range(5):
        said, truth, image = batch(16, 32, seed)
        a, b = (torch.nn.functional.normalize(x["image"], dim=1) for x in (said, truth))
        expected = float(ClipLoss()(a, b, torch.tensor(1 / 0.07)))
        assert loss("clip", said, truth, image) == pytest.approx(expected, abs=1e-6, rel=1e-6)


def test_repeats_cost_nothing_where_plain_infonce_has_a_floor():
    truth = torch.eye(5).repeat_interleave(4, 0)
    image = torch.arange(5).repeat_interleave(4)
    config = {"name": "clip", "temperature": 0.01}
    perfect = ({"image": truth.clone()}, {"image": truth})
    assert loss(config, *perfect, image) == pytest.approx(0, abs=1e-6)
    # the same rows as if every trial were an image of its own: the repeats count as negatives
    assert loss(config, *perfect, torch.arange(20)) == pytest.approx(math.log(4), abs=1e-4)


def test_repeats_are_never_negatives_of_themselves():
    said, truth, image = batch(6, repeats=2)
    before = loss("clip", said, truth, image)
    # moving a prediction towards its own image's truth lowers the loss, whatever its repeat says
    closer = {"image": said["image"].clone()}
    closer["image"][0] = truth["image"][0]
    assert loss("clip", closer, truth, image) < before
    # and the term of one row is that of this row against other images alone
    logits = torch.randn(6, 6, dtype=torch.float64)
    same = image[:, None] == image[None]
    expected = []
    for i in range(6):
        others = logits[i][~same[i]]
        for j in torch.nonzero(same[i]).flatten():
            pair = torch.cat([logits[i, j][None], others])
            expected.append(float(pair.logsumexp(0) - logits[i, j]))
    assert float(one_direction(logits, same)) == pytest.approx(np.mean(expected), rel=1e-12)


def test_the_gradient_is_that_of_the_loss():
    generator = torch.Generator().manual_seed(0)
    for repeats in (1, 2, 3):
        image = torch.arange(6) // repeats
        logits = torch.randn(6, 6, generator=generator, dtype=torch.float64, requires_grad=True)
        same = image[:, None] == image[None]
        assert torch.autograd.gradcheck(lambda x, same=same: one_direction(x, same), logits)


def test_the_temperature_is_learned_and_held_and_can_come_back():
    said, truth, image = batch()
    module = resolve(Loss, {"name": "clip", "temperature": 0.01, "max_scale": 20}).build()
    assert float(module.log_scale.detach().exp()) == pytest.approx(100)
    held = module(said, truth, image)["loss"]
    assert float(module.log_scale.detach().exp()) == pytest.approx(20, rel=1e-5)
    # predictions are random: a lower scale is better, and the gradient says so at the limit too
    held.backward()
    assert float(module.log_scale.grad) > 0
    assert float(held.detach()) == pytest.approx(
        loss({"name": "clip", "temperature": 1 / 20, "max_scale": 100}, said, truth, image),
        rel=1e-5,
    )
    fixed = resolve(Loss, {"name": "clip", "learn_temperature": False}).build()
    assert not any(p.requires_grad for p in fixed.parameters())


def test_similarities_are_cosines():
    said, truth, image = batch()
    larger = {k: 7 * v for k, v in said.items()}
    assert loss("clip", larger, truth, image) == pytest.approx(loss("clip", said, truth, image))


# ---- regression and sums


def test_mse_and_cosine_against_torch_and_scipy():
    said, truth, image = batch(targets=("image", "text"))
    expected = np.mean(
        [float(((said[t + REGRESSION] - truth[t]) ** 2).mean()) for t in ("image", "text")]
    )
    assert loss("mse", said, truth, image) == pytest.approx(expected, rel=1e-5)
    distances = [
        [cosine(a, b) for a, b in zip(said[t + REGRESSION].numpy(), truth[t].numpy())]
        for t in ("image", "text")
    ]
    assert loss("cosine", said, truth, image) == pytest.approx(np.mean(distances), rel=1e-5)


def test_regression_falls_back_on_the_only_head():
    said, truth, image = batch()
    only = {"image": said["image"]}
    expected = float(torch.nn.functional.mse_loss(said["image"], truth["image"]))
    assert loss("mse", only, truth, image) == pytest.approx(expected)


def test_a_mix_is_the_weighted_sum_of_its_parts():
    content = batch(8, repeats=2)
    pure = {name: loss(name, *content) for name in ("clip", "mse", "cosine")}
    for weight in (0.0, 0.25, 1.0):
        found = loss({"name": "clip_mse", "weight": weight}, *content)
        assert found == pytest.approx(weight * pure["clip"] + (1 - weight) * pure["mse"], rel=1e-5)
    parts = {"name": "sum", "parts": ["clip", "cosine"], "weights": [2, 0.5]}
    assert loss(parts, *content) == pytest.approx(2 * pure["clip"] + 0.5 * pure["cosine"], rel=1e-5)


def test_sums_that_cannot_be_are_refused():
    for weights in ([1.0], [0.0, 0.0]):
        with pytest.raises(UsageError, match="one weight per part"):
            resolve(Loss, {"name": "sum", "parts": ["clip", "mse"], "weights": weights})
    with pytest.raises(UsageError, match="less than or equal to 1"):
        resolve(Loss, {"name": "clip_mse", "weight": 1.5})


def test_half_precision_is_computed_in_full():
    said, truth, image = batch()
    half = {k: v.bfloat16() for k, v in said.items()}
    full = {k: v.float() for k, v in half.items()}
    assert loss("clip_mse", half, truth, image) == loss("clip_mse", full, truth, image)
