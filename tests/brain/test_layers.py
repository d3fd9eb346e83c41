"""Layers against plain PyTorch: values, gradients, statistics; dropout against its probabilities."""

from __future__ import annotations

import copy
from types import MethodType

import pytest
import torch
from torch import nn
from torch.nn import functional

from neurovis.brain import layers
from neurovis.brain.layers import attention, cheap_dropout, masked, residual_head, temporal_spatial
from neurovis.errors import NeurovisError

SIZES = {"n_filters": 5, "kernel": 4, "pool": 6, "stride": 3, "dropout": 0.0}


def as_listed(made, pool, stride):
    """The modules of the paper, one after the other, around copies of the same weights."""
    made = copy.deepcopy(made)
    chain = [made.temporal, nn.AvgPool2d((1, pool), (1, stride)), made.first_norm, nn.ELU()]
    chain += [made.spatial, made.second_norm, nn.ELU(), made.drop, made.mix]
    return nn.Sequential(*chain)


def both(made, plain, x):
    """Values and gradients of both, by the same slope."""
    out = []
    for module, reshape in ((made, lambda y: y), (plain, lambda y: y[:, :, 0].transpose(1, 2))):
        leaf = x.clone().requires_grad_()
        said = reshape(module(leaf if module is made else leaf[:, None]))
        slope = torch.randn(said.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
        said.backward(slope)
        weights = {k: p.grad for k, p in module.named_parameters()}
        out.append((said.detach(), leaf.grad, list(weights.values())))
    return out


# as with several processes, as on a GPU, one row at a time, all at once
@pytest.mark.parametrize("cache", [-1, 0, 1, 2**18])
@pytest.mark.parametrize(("n_times", "stride"), [(20, 3), (9, 3), (31, 5), (25, 1)])
def test_the_convolution_is_the_papers_modules(cache, n_times, stride, monkeypatch):
    monkeypatch.setattr(layers, "CACHE", cache)
    torch.manual_seed(0)
    made = temporal_spatial(7, n_times, **{**SIZES, "stride": stride}).double()
    made.by_block = cache > 0
    if cache < 0:
        norm = made.first_norm
        norm.forward = MethodType(nn.BatchNorm2d.forward, norm)
    with torch.no_grad():
        made.first_norm.weight.uniform_(0.5, 2)
        made.first_norm.bias.normal_()
    plain = as_listed(made, 6, stride)
    x = 1.5 * torch.randn(6, 7, n_times, dtype=torch.float64) + 0.3
    close = {"atol": 1e-9, "rtol": 1e-9}
    for training in (True, False):
        for module in (made, plain):
            module.train(training)
            module.zero_grad()
        (said, along, weights), (expected, along_too, weights_too) = both(made, plain, x)
        torch.testing.assert_close(said, expected, **close)
        torch.testing.assert_close(along, along_too, **close)
        # both list their weights in the order in which they are applied
        for one, other in zip(weights, weights_too, strict=True):
            torch.testing.assert_close(one, other, **close)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        one, other = getattr(made.first_norm, name), getattr(plain[2], name)
        torch.testing.assert_close(one, other, **close)
    assert made.first_norm.num_batches_tracked == 1


def test_the_published_sizes_are_exact_too():
    torch.manual_seed(0)
    made = temporal_spatial(63, 250, dropout=0.0)
    assert made.n_windows == 36
    x = torch.randn(3, 63, 250)
    (said, along, _), (expected, along_too, _) = both(made, as_listed(made, 51, 5), x)
    torch.testing.assert_close(said, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(along, along_too, atol=1e-5, rtol=1e-4)


def test_epochs_shorter_than_a_window_are_refused():
    with pytest.raises(NeurovisError, match=r"nice: expected .* = 75 samples, found 74; lower"):
        temporal_spatial(3, 74, who="nice")


def test_absent_channels_are_set_to_zero_whatever_they_hold():
    signal = torch.full((2, 3, 4), float("nan"))
    signal[0] = 1.0
    present = torch.tensor([[True, True, False], [False] * 3])
    assert masked(signal, present)[0, :2].eq(1).all()
    assert masked(signal, present)[0, 2].eq(0).all()
    assert masked(signal, present)[1].eq(0).all()
    whole = torch.ones(2, 3, dtype=torch.bool)
    assert masked(signal, whole) is signal


def test_the_head_is_a_residual_branch_and_a_normalisation():
    torch.manual_seed(0)
    head = residual_head(6, 4, 0.5).eval()
    x = torch.randn(3, 6)
    first = x @ head.first.weight.T + head.first.bias
    inner = 0.5 * first * (1 + torch.erf(first / 2**0.5)) @ head.second.weight.T + head.second.bias
    total = first + inner
    centred = total - total.mean(1, keepdim=True)
    expected = centred / (total.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(head(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5])
def test_dropout_keeps_its_share_and_the_mean(rate):
    torch.manual_seed(0)
    drop = cheap_dropout(rate)
    x = torch.ones(257, 1001, requires_grad=True)
    y = drop(x)
    gone = float((y == 0).float().mean())
    assert abs(gone - rate) < 5 * (rate * (1 - rate) / x.numel()) ** 0.5
    kept = y[y != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)), rtol=1e-4, atol=0)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # the same values are dropped in the backward pass
    # neighbours are dropped independently, also those that one random number decides
    zero = (y.detach() == 0).flatten().double()
    for lag in (1, 2, 3, 4):
        together = float((zero[lag:] * zero[:-lag]).mean())
        assert abs(together - rate**2) < 5 * rate / len(zero) ** 0.5
    assert drop.eval()(x) is x


def test_dropout_follows_the_seed():
    drop, x = cheap_dropout(0.5), torch.ones(50)
    said = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        said.append(drop(x))
    assert torch.equal(said[0], said[1])
    assert not torch.equal(said[0], said[2])


def referenced(qkv, use, n_heads):
    q, k, v = qkv.unflatten(2, (3, n_heads, -1)).permute(2, 0, 3, 1, 4)
    mask = None if use is None else use[:, None, None]
    return functional.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("cache", [1, 2**18])
@pytest.mark.parametrize("some", [False, True])
def test_attention_is_that_of_pytorch(cache, some, monkeypatch):
    monkeypatch.setattr(layers, "CACHE", cache)
    torch.manual_seed(0)
    use = torch.rand(5, 7) < 0.6 if some else None
    if some:
        use[:, 0] = True
    x = torch.randn(5, 7, 3 * 2 * 4)
    slope, found = torch.randn(5, 7, 8), []
    for attend in (attention(2, 0.3).eval(), lambda x, use: referenced(x, use, 2)):
        leaf = x.clone().requires_grad_()
        said = attend(leaf, use)
        said.backward(slope)
        found.append((said.detach(), leaf.grad))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-6, rtol=1e-4)


def test_gradients_of_attention_with_dropout_are_those_of_its_values():
    x = torch.randn(2, 5, 3 * 2 * 3, dtype=torch.float64, requires_grad=True)
    attend = attention(2, 0.4)

    def same_draw(x):
        torch.manual_seed(3)
        return attend(x)

    assert torch.autograd.gradcheck(same_draw, x)
    said = same_draw(x)
    assert not torch.allclose(said, attend.eval()(x))


def test_attention_with_dropout_is_right_on_average():
    torch.manual_seed(0)
    x, attend = torch.randn(1, 6, 3 * 4), attention(1, 0.25)
    mean = torch.stack([attend(x) for _ in range(3000)]).mean(0)
    torch.testing.assert_close(mean, attend.eval()(x), atol=0.06, rtol=0)


def test_layers_work_in_mixed_precision():
    torch.manual_seed(0)
    made, attend, drop = temporal_spatial(5, 30, **SIZES), attention(2, 0.2), cheap_dropout(0.2)
    x = torch.randn(4, 5, 30, requires_grad=True)
    expected = made(x).detach()
    linear = nn.Linear(30, 24)
    with torch.autocast("cpu", torch.bfloat16):
        said = made(x)
        tokens = drop(attend(linear(x)))
        total = said.float().sum() + tokens.float().sum()
    total.backward()
    torch.testing.assert_close(said.float(), expected, atol=0.1, rtol=0.1)
    assert bool(torch.isfinite(x.grad).all())
    assert bool(torch.isfinite(linear.weight.grad).all())
