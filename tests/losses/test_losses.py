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
from neurovis.decoder import SPREAD
from neurovis.errors import NeurovisError, UsageError
from neurovis.losses.base import Loss, mix_signals
from neurovis.losses.contrastive import one_direction
from neurovis.losses.multi_positive import some_positive

quick = settings(max_examples=30, deadline=None)


def batch(n=6, dim=5, seed=0, targets=("image",), repeats=1):
    """Predictions with a regression head for each target, truth and image ids."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.arange(n) // repeats
    truth = {t: torch.randn(n, dim, generator=generator)[image * repeats] for t in targets}
    said = {t: torch.randn(n, dim, generator=generator) for t in targets}
    said |= {t + REGRESSION: torch.randn(n, dim, generator=generator) for t in targets}
    said |= {t + SPREAD: 0.3 * torch.randn(n, 1, generator=generator) for t in targets}
    return said, truth, image


def loss(config, *content, **about):
    return float(resolve(Loss, config).build()(*content, **about)["loss"].detach())


def mixture(n, seed=0):
    """Partners, a permutation, and own shares between 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(n, generator=generator), torch.rand(n, generator=generator)


# temperatures at which finite differences are of use
GENTLE = {
    "soft_clip": {"name": "soft_clip", "start": 0.3, "end": 0.5, "teacher": 0.4},
    "mixco": {"name": "mixco", "temperature": 0.3, "learn_temperature": True},
    "clip": {"name": "clip", "temperature": 0.3},
    "multi_positive": {"name": "multi_positive", "temperature": 0.3},
    "hedged": {"name": "hedged", "temperature": 0.3},
    "sigmoid": {"name": "sigmoid", "temperature": 0.3, "bias": -1.0},
}
GENTLE["schedule"] = {"name": "schedule", "parts": [GENTLE["mixco"], GENTLE["soft_clip"]]}
MIXED = [name for name, cls in components(Loss).items() if cls().takes_mixed]


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


@pytest.mark.parametrize("name", components(Loss))
@pytest.mark.parametrize("repeats", [1, 2])
def test_every_gradient_is_that_of_the_loss(name, repeats):
    said, truth, image = batch(6, 4, repeats=repeats, targets=("image", "text"))
    heads = {k: v.double().requires_grad_() for k, v in said.items()}
    truth = {k: v.double() for k, v in truth.items()}
    module = resolve(Loss, GENTLE.get(name, name)).build().double()
    learned = {k: v for k, v in module.named_parameters() if v.requires_grad}
    partner, share = mixture(6)
    cases = [{"done": 0.1}, {"done": 0.9}]
    cases += [{"mixed": (partner, share.double()), "done": 0.1}] if name in MIXED else []
    for about in cases:

        def value(*content, about=about):
            said = dict(zip(heads, content))
            own = dict(zip(learned, content[len(heads) :]))
            found = torch.func.functional_call(module, own, (said, truth, image), about)
            return found["loss"]

        content = [
            *heads.values(),
            *(v.detach().clone().requires_grad_() for v in learned.values()),
        ]
        assert torch.autograd.gradcheck(value, content)


@pytest.mark.parametrize("name", MIXED)
@quick
@given(st.integers(0, 1000), st.integers(1, 3))
def test_no_loss_of_mixed_signals_depends_on_the_order_of_the_rows(name, seed, repeats):
    said, truth, image = batch(6, seed=seed, repeats=repeats)
    partner, share = mixture(6, seed)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed + 1))
    other = [{k: v[order] for k, v in said.items()}, {k: v[order] for k, v in truth.items()}]
    moved = order.argsort()[partner[order]]
    before = loss(name, said, truth, image, mixed=(partner, share), done=0.0)
    after = loss(name, *other, image[order], mixed=(moved, share[order]), done=0.0)
    assert after == pytest.approx(before, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", MIXED)
def test_a_share_of_all_or_nothing_is_no_mixture(name):
    said, truth, image = batch(6, repeats=2)
    partner, _ = mixture(6)
    whole = loss(name, said, truth, image, mixed=(partner, torch.ones(6)))
    assert whole == pytest.approx(loss(name, said, truth, image), rel=1e-5)
    # with all of the partner's signal, the rows are the partners'
    said = {k: v[partner.argsort()] for k, v in said.items()}
    other = {k: v[partner] for k, v in said.items()}
    theirs = loss(name, other, truth, image, mixed=(partner, torch.zeros(6)))
    again = {k: v[partner.argsort()] for k, v in other.items()}
    assert theirs == pytest.approx(loss(name, again, truth, image), rel=1e-4, abs=2e-6)


COUNTED_ONCE = {"soft_clip", "schedule", "sigmoid", "relation", "mse", "cosine"}
# more rows are more negatives
COUNTED_EACH = {"clip", "mixco", "multi_positive", "hedged", "sum", "clip_mse"}


@pytest.mark.parametrize("name", components(Loss))
def test_what_a_batch_with_every_row_twice_costs(name):
    said, truth, image = batch(6)
    twice = [{k: v.repeat(2, 1) for k, v in part.items()} for part in (said, truth)]
    before = loss(name, said, truth, image)
    after = loss(name, *twice, image.repeat(2))
    assert (name in COUNTED_ONCE) != (name in COUNTED_EACH)
    assert (after == pytest.approx(before, rel=1e-5)) == (name in COUNTED_ONCE)
    if name in ("clip", "mixco", "multi_positive", "hedged"):
        # each negative counts twice, each positive is one still
        assert before < after < before + math.log(2) + 1e-5


@pytest.mark.parametrize("name", components(Loss))
def test_no_repeat_is_pushed_from_its_image(name):
    """Alone with its repeats, a prediction that nears its image never costs."""
    said, truth, _ = batch(4, repeats=4)
    image = torch.zeros(4, dtype=torch.int64)
    said = {k: v.double().requires_grad_() for k, v in said.items()}
    truth = {k: v.double() for k, v in truth.items()}
    total = resolve(Loss, name).build().double()(said, truth, image)["loss"]
    if total.requires_grad:
        total.backward()
    for head in ("image", "image" + REGRESSION):
        slope = said[head].grad
        if slope is not None:
            step = truth["image"] - said[head].detach()
            unit = torch.nn.functional.normalize(said[head].detach(), dim=1)
            if name != "mse":  # cosines: along the sphere
                step = truth["image"] - (truth["image"] * unit).sum(1, keepdim=True) * unit
            assert ((slope * step).sum(1) <= 1e-12).all()


@pytest.mark.parametrize("name", components(Loss))
def test_predictions_that_are_all_the_same_have_a_finite_gradient(name):
    said, truth, image = batch(6, repeats=2)
    said = {k: torch.ones_like(v).requires_grad_() for k, v in said.items()}
    parts = resolve(Loss, name).build()(said, truth, image)
    assert bool(torch.isfinite(parts["loss"]))
    parts["loss"].backward()
    assert all(bool(torch.isfinite(v.grad).all()) for v in said.values() if v.grad is not None)


@pytest.mark.parametrize("name", components(Loss))
def test_scales_are_held(name):
    module = resolve(Loss, name).build()
    scales = [v for k, v in module.named_parameters() if k.endswith("log_scale")]
    for scale in scales:
        torch.nn.init.constant_(scale, 20.0)
    said, truth, image = batch(6)
    found = [module(said, truth, image, done=done)["loss"] for done in (0.0, 1.0)]
    assert all(bool(torch.isfinite(v)) for v in found)
    assert all(float(v.detach().exp()) <= 250.01 for v in scales)
    assert (len(scales) > 0) == (name not in ("mse", "cosine", "relation", "soft_clip"))


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


@pytest.mark.parametrize("direction", [0.0, 0.3, 1.0])
def test_the_brain_may_keep_its_length(direction):
    said, truth, image = batch(7)
    a, b = (x["image"].numpy().astype(float) for x in (said, truth))
    logits = a @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T / 0.4
    rows = (logsumexp(logits, axis=1) - np.diag(logits)).mean()
    columns = (logsumexp(logits, axis=0) - np.diag(logits)).mean()
    config = {"name": "clip", "temperature": 0.4, "direction": direction, "brain_length": "own"}
    found = loss(config, said, truth, image)
    assert found == pytest.approx(direction * rows + (1 - direction) * columns, rel=1e-5)
    # longer vectors are surer; with unit length they are what they were
    longer = {name: 3 * value for name, value in said.items()}
    assert loss(config, longer, truth, image) != pytest.approx(found, rel=1e-3)
    config["brain_length"] = "unit"
    assert loss(config, longer, truth, image) == pytest.approx(loss(config, said, truth, image))


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


# ---- the others, against numpy


def cosines(said, truth):
    a, b = (x["image"].numpy().astype(float) for x in (said, truth))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T, b @ b.T, a @ a.T


def log_softmax(logits):
    return logits - logsumexp(logits, axis=1, keepdims=True)


@quick
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_sigmoid_is_a_sum_over_pairs_per_row(seed, n):
    said, truth, image = batch(n, seed=seed)
    logits = cosines(said, truth)[0] / 0.1 - 4
    sign = 2 * np.eye(n) - 1
    expected = np.log1p(np.exp(-sign * logits)).sum() / n
    found = loss({"name": "sigmoid", "bias": -4.0}, said, truth, image)
    assert found == pytest.approx(expected, rel=1e-4, abs=2e-6)


def test_sigmoid_asks_about_each_image_once():
    said, truth, image = batch(6, repeats=2)
    logits = cosines(said, truth)[0] / 0.1 - 10
    sign = np.where(image[:, None] == image[None], 1, -1)
    expected = (np.logaddexp(0, -sign * logits) / 2).sum() / 6
    assert loss("sigmoid", said, truth, image) == pytest.approx(expected, rel=1e-5)
    partner, share = mixture(6)
    yes = share[:, None] * (image[:, None] == image) + (1 - share[:, None]) * (
        image[partner][:, None] == image
    )
    yes = yes.numpy()
    per_pair = yes * np.logaddexp(0, -logits) + (1 - yes) * np.logaddexp(0, logits)
    found = loss("sigmoid", said, truth, image, mixed=(partner, share))
    assert found == pytest.approx((per_pair / 2).sum() / 6, rel=1e-4, abs=2e-6)


@quick
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_soft_clip_is_the_published_cross_entropy(seed, n):
    said, truth, image = batch(n, seed=seed)
    student, teacher, _ = cosines(said, truth)
    config = {"name": "soft_clip", "start": 0.1, "end": 0.2}
    for done, temperature in ((0.0, 0.1), (0.5, 0.15), (1.0, 0.2)):
        wanted = np.exp(log_softmax(teacher / temperature))
        rows = -(log_softmax(student / temperature) * wanted).sum(1).mean()
        columns = -(log_softmax(student.T / temperature) * wanted).sum(1).mean()
        found = loss(config, said, truth, image, done=done)
        assert found == pytest.approx((rows + columns) / 2, rel=1e-4, abs=2e-6)
    own = loss({**config, "teacher": 0.4}, said, truth, image)
    wanted = np.exp(log_softmax(teacher / 0.4))
    halves = [-(log_softmax(x / 0.2) * wanted).sum(1).mean() for x in (student, student.T)]
    assert own == pytest.approx(np.mean(halves), rel=1e-4, abs=2e-6)


def test_soft_clip_with_repeats_is_that_of_images_and_their_mean_answers():
    said, truth, image = batch(6, repeats=2)
    student, teacher, _ = cosines(said, truth)
    student, teacher = student[:, ::2] / 0.3, teacher[::2, ::2] / 0.3  # one column per image
    wanted = np.exp(log_softmax(teacher))
    rows = -(log_softmax(student) * np.repeat(wanted, 2, 0)).sum(1).mean()
    together = (student[::2] + student[1::2]) / 2
    columns = -(log_softmax(together.T) * wanted).sum(1).mean()
    config = {"name": "soft_clip", "start": 0.3, "end": 0.3}
    assert loss(config, said, truth, image) == pytest.approx((rows + columns) / 2, rel=1e-5)


@quick
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_mixco_is_the_published_cross_entropy_both_ways(seed, n):
    said, truth, image = batch(n, seed=seed)
    partner, share = mixture(n, seed)
    wanted = np.zeros((n, n))
    wanted[np.arange(n), np.arange(n)] += share.numpy()
    wanted[np.arange(n), partner] += 1 - share.numpy()
    logits = cosines(said, truth)[0] / 0.2
    rows = -(log_softmax(logits) * wanted).sum(1).mean()
    columns = -(log_softmax(logits.T) * wanted.T).sum(1).mean()
    config = {"name": "mixco", "temperature": 0.2}
    found = loss(config, said, truth, image, mixed=(partner, share))
    assert found == pytest.approx((rows + columns) / 2, rel=1e-4, abs=1e-5)


def test_what_is_mixed():
    config = resolve(Loss, "mixco")
    group = np.repeat([3, 1, 2], [400, 300, 1])
    partner, weight = config.mix(np.random.default_rng(0), group, 0.5)
    assert (group[partner] == group).all()
    assert sorted(partner) == list(range(701))
    assert (partner != np.arange(701)).mean() > 0.95
    assert 0.4 < (weight < 1).mean() < 0.6
    assert weight.min() >= 0
    # Beta(0.15, 0.15): most shares are near 0 or 1, their mean is a half, their variance known
    share = weight[weight < 1]
    assert share.mean() == pytest.approx(0.5, abs=0.08)
    assert share.var() == pytest.approx(0.25 / 1.3, abs=0.03)
    again = config.mix(np.random.default_rng(0), group, 0.5)
    np.testing.assert_array_equal(again[0], partner)
    np.testing.assert_array_equal(again[1], weight)
    signal = np.random.default_rng(1).standard_normal((701, 2, 3)).astype(np.float32)
    kept = signal.copy()
    mixed = mix_signals(signal, (partner, weight))
    expected = [
        w * signal[i] + (1 - w) * signal[p] for i, (p, w) in enumerate(zip(partner, weight))
    ]
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(signal, kept)
    assert mix_signals(signal, None) is signal
    for name in components(Loss):
        found = resolve(Loss, name).mix(np.random.default_rng(0), group, 0.1)
        assert (
            (found is not None) == (name in ("mixco", "schedule")) == components(Loss)[name]().mixes
        )


@quick
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 3]))
def test_multi_positive_averages_inside_the_logarithm(seed, repeats):
    said, truth, image = batch(6, seed=seed, repeats=repeats)
    logits = cosines(said, truth)[0] / 0.3
    same = (image[:, None] == image[None]).numpy()
    terms = []
    for matrix in (logits, logits.T):
        for i in range(6):
            positive = np.exp(matrix[i][same[i]]).mean()
            terms.append(-np.log(positive / (positive + np.exp(matrix[i][~same[i]]).sum())))
    config = {"name": "multi_positive", "temperature": 0.3}
    assert loss(config, said, truth, image) == pytest.approx(np.mean(terms), rel=1e-4, abs=2e-6)
    if repeats == 1:
        clip = loss({"name": "clip", "temperature": 0.3}, said, truth, image)
        assert loss(config, said, truth, image) == pytest.approx(clip, rel=1e-5)


def test_pairs_of_one_image_gain_and_others_lose_by_nearing():
    image = torch.arange(6) // 2
    same = image[:, None] == image[None]
    for direction in (one_direction, some_positive):
        logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
        direction(logits, same).backward()
        assert (logits.grad[same] < 0).all()
        assert (logits.grad[~same] > 0).all()


@quick
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 3]))
def test_relations_against_numpy(seed, repeats):
    said, truth, image = batch(9, seed=seed, repeats=repeats)
    _, wanted, found = cosines(said, truth)
    apart = (image[:, None] != image[None]).numpy()
    a, b = found[apart], wanted[apart]
    assert loss("relation", said, truth, image) == pytest.approx(
        1 - np.corrcoef(a, b)[0, 1], abs=1e-4
    )
    a, b = (np.sqrt(2 - 2 * x) for x in (a, b))
    gap = np.abs(a / a.mean() - b / b.mean())
    huber = np.where(gap < 1, gap**2 / 2, gap - 0.5).mean()
    config = {"name": "relation", "kind": "distance"}
    assert loss(config, said, truth, image) == pytest.approx(huber, rel=1e-3, abs=1e-5)


def test_a_rotation_keeps_relations():
    said, truth, image = batch(6)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)))[0]
    said["image"] = 3 * truth["image"] @ turn
    for kind in ("correlation", "distance"):
        config = {"name": "relation", "kind": kind}
        assert loss(config, said, truth, image) == pytest.approx(0, abs=1e-5)


def test_two_images_have_no_structure_to_compare():
    said, truth, image = batch(2)
    assert loss("relation", said, truth, image) == 0


@quick
@given(st.integers(0, 10_000))
def test_hedged_is_a_likelihood_with_a_temperature_per_row(seed):
    said, truth, image = batch(6, seed=seed)
    logits = cosines(said, truth)[0] / 0.2
    spread = np.exp(said["image" + SPREAD].numpy().astype(float))
    rows = -np.diag(log_softmax(logits / spread)).mean()
    columns = -np.diag(log_softmax(logits.T)).mean()
    for direction in (0.0, 0.5, 1.0):
        config = {"name": "hedged", "temperature": 0.2, "direction": direction}
        expected = direction * rows + (1 - direction) * columns
        assert loss(config, said, truth, image) == pytest.approx(expected, rel=1e-4, abs=2e-6)
    said["image" + SPREAD] = torch.zeros(6, 1)
    assert loss("hedged", said, truth, image) == pytest.approx(loss("clip", said, truth, image))


def test_a_hedged_loss_without_its_head_is_refused():
    said, truth, image = batch()
    with pytest.raises(NeurovisError, match="expected a head image@spread"):
        loss("hedged", {"image": said["image"]}, truth, image)


# ---- sums and turns of them


def test_losses_take_turns_and_validation_sees_the_last():
    said, truth, image = batch(6)
    mixed = mixture(6)
    config = {"name": "schedule", "parts": [GENTLE["mixco"], "mse", GENTLE["soft_clip"]]}
    config["until"] = [0.25, 0.5]
    for done, part, inside in (
        (0.0, 0, 0),
        (0.24, 0, 0.96),
        (0.25, 1, 0),
        (0.6, 2, 0.2),
        (1.0, 2, 1),
    ):
        about = {"mixed": mixed} if part == 0 else {}
        expected = loss(config["parts"][part], said, truth, image, done=inside, **about)
        found = loss(config, said, truth, image, done=done, **about)
        assert found == pytest.approx(expected, rel=1e-6)
    assert loss(config, said, truth, image) == loss(config, said, truth, image, done=1.0)
    built = resolve(Loss, config)
    for done, mixes in ((0.0, True), (0.2, True), (0.25, False), (0.9, False)):
        found = built.mix(np.random.default_rng(0), np.zeros(6, int), done)
        assert (found is not None) == mixes


@pytest.mark.parametrize("until", [[], [0.5, 0.6], [0.0], [1.0]])
def test_turns_that_cannot_be_are_refused(until):
    with pytest.raises(UsageError, match="expected rising shares between 0 and 1"):
        resolve(Loss, {"name": "schedule", "until": until})


def test_sums_pass_on_what_they_are_told():
    said, truth, image = batch(6)
    mixed = mixture(6)
    config = {"name": "sum", "parts": ["mixco", "mse"], "weights": [1, 30]}
    parts = [loss(part, said, truth, image, mixed=mixed) for part in config["parts"]]
    found = loss(config, said, truth, image, mixed=mixed)
    assert found == pytest.approx(parts[0] + 30 * parts[1], rel=1e-5)
    soft = {"name": "sum", "parts": ["schedule", "mse"]}
    assert loss(soft, said, truth, image, done=0.4) == pytest.approx(
        loss("schedule", said, truth, image, done=0.4) + loss("mse", said, truth, image), rel=1e-5
    )
    assert resolve(Loss, soft).mix(np.random.default_rng(0), np.zeros(6, int), 0.2) is not None
    assert resolve(Loss, {"name": "sum", "parts": ["hedged", "mse"]}).spread
    assert not resolve(Loss, "clip_mse").spread
    for parts in (["mixco", "soft_clip"], ["relation", "schedule"]):
        with pytest.raises(UsageError, match=r"mixes signals, expected parts that take mixed"):
            resolve(Loss, {"name": "sum", "parts": parts})


def test_the_mean_squared_error_of_a_mixture_has_the_gradient_of_both():
    said, truth, image = batch(6)
    partner, share = mixture(6)
    head = said["image" + REGRESSION].requires_grad_()
    resolve(Loss, "mse").build()(said, truth, image, mixed=(partner, share))["loss"].backward()
    found, head.grad = head.grad, None
    errors = [(head - v) ** 2 for v in (truth["image"], truth["image"][partner])]
    (share[:, None] * errors[0] + (1 - share[:, None]) * errors[1]).mean().backward()
    torch.testing.assert_close(found, head.grad)
