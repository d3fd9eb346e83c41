"""Targets brought into one common space: starts as principal components, stays fixed where it must."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from neurovis.config import build
from neurovis.decoder import PROJECTED, decoder
from neurovis.errors import NeurovisError, UsageError
from neurovis.experiment import Experiment
from neurovis.joint import Adapter, ThreeTowers, heads, image_side, paired, start_maps
from neurovis.losses.contrastive import Clip
from neurovis.losses.regression import Mse

OUTPUTS = {"clip": 6, "dino": 4}


def vectors(n=50, seed=0):
    rng = np.random.default_rng(seed)
    scales = {"clip": 1.0, "dino": 30.0}
    return {
        k: (scales[k] * rng.standard_normal((n, d)) * np.geomspace(3, 0.3, d)).astype(np.float32)
        for k, d in OUTPUTS.items()
    }


class Tower(torch.nn.Module):
    """Says what it is given."""

    def forward(self, signal):
        return {"all": signal}

    def start(self, **examples):
        root = np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)
        return {"all": root + root.T}


def model(config, seed=0):
    torch.manual_seed(seed)
    return image_side(Tower(), OUTPUTS, config, vectors())


def tensors(seed=3, n=8):
    return {k: torch.from_numpy(v) for k, v in vectors(n, seed).items()}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 10), st.integers(0, 50))
def test_maps_start_as_scikit_learn_s_components_of_standardised_blocks(width, seed):
    examples = vectors(40, seed)
    maps = start_maps(examples, width)
    blocks = [v - v.mean(0) for v in examples.values()]
    joined = np.hstack([b / np.sqrt((b**2).sum(1).mean()) for b in blocks]).astype(float)
    expected = PCA(width).fit_transform(joined)
    expected /= np.sqrt((expected**2).mean())
    found = sum((examples[k] - examples[k].mean(0)) @ maps[k] for k in OUTPUTS)
    sign = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found * sign, expected, atol=2e-3)


@pytest.mark.parametrize("config", [Adapter(width=5), ThreeTowers(width=5, n_hidden=3)])
def test_the_learned_space_starts_at_the_fixed_one(config):
    side = model(config)
    target = tensors()
    seen = side.seen(target)
    maps = start_maps(vectors(), 5)
    expected = sum(v @ torch.from_numpy(maps[k]) for k, v in target.items())
    torch.testing.assert_close(seen["all"], expected)
    torch.testing.assert_close(seen["all" + PROJECTED], expected)
    torch.testing.assert_close(side.gallery(target)["all"], expected)
    arrays = side.starting({k: v.numpy() for k, v in target.items()})["all"]
    np.testing.assert_allclose(arrays, expected.numpy(), atol=1e-5)
    assert heads(OUTPUTS, config) == {"all": 5}
    assert heads({"clip": 6}, config) == {"clip": 5}
    assert heads(OUTPUTS, "linear") == OUTPUTS


def test_regression_reaches_for_what_is_fixed():
    """No gradient of a regression moves the image side, so that it cannot collapse."""
    side = model(Adapter(width=5, n_hidden=2))
    said = torch.randn(8, 5, requires_grad=True)
    Mse().build()({"all": said}, side.seen(tensors()), torch.arange(8))["loss"].backward()
    assert said.grad.abs().sum() > 0
    assert all(p.grad is None or not p.grad.abs().sum() for p in side.parameters())


def test_the_maps_are_trained_and_saved():
    side = model(Adapter(width=5, n_hidden=2))
    said = torch.randn(8, 5)
    loss = Clip().build()({"all": said}, side.seen(tensors()), torch.arange(8))["loss"]
    loss.backward()
    assert all(one.grad.abs().sum() > 0 for one in side.maps)
    with torch.no_grad():
        for p in side.parameters():
            p.add_(0.1)
    names = [name.partition(".")[0] for name in side.state_dict()]
    assert names.count("maps") == 2
    assert set(names) == {"start0", "start1", "maps", "hidden"}
    again = image_side(Tower(), OUTPUTS, Adapter(width=5, n_hidden=2))
    again.load_state_dict(side.state_dict())
    target = tensors()
    for name, value in side.seen(target).items():
        torch.testing.assert_close(again.seen(target)[name], value)


def test_a_closed_form_turns_the_maps():
    side = model(Adapter(width=5))
    side.begin()
    root = torch.from_numpy(side.tower.start()["all"])
    target = tensors()
    fixed = side.starting(target)["all"]
    torch.testing.assert_close(side.gallery(target)["all"], fixed @ root, rtol=1e-4, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99))
def test_three_towers_contrast_every_pair(seed):
    """The loss is the mean of three contrastive losses, computed here one by one."""
    side = model(ThreeTowers(width=5, frozen=("dino",)))
    with torch.no_grad():
        for p in side.parameters():
            p.add_(0.3 * torch.randn_like(p))
    target, signal, image = tensors(seed), torch.randn(8, 5), torch.arange(8) // 2
    said = side(signal)
    whole = paired(Clip().build(), ThreeTowers())(said, side.seen(target), image)["loss"]

    def contrast(brain, seen):
        return Clip().build()({"x": brain}, {"x": seen}, image)["loss"]

    picture = side.gallery(target)["all"]
    frozen = target["dino"] @ torch.from_numpy(start_maps({"dino": vectors()["dino"]}, 4)["dino"])
    turns = side.turns
    pairs = [(signal, picture), (signal @ turns[0], frozen @ turns[2])]
    pairs += [(picture @ turns[1], frozen @ turns[3])]
    expected = sum(contrast(*pair) for pair in pairs) / 3
    torch.testing.assert_close(whole, expected)
    # one target alone, of whatever name, has its pairs as well
    alone = image_side(Tower(), {"image": 6}, ThreeTowers(width=5), {"image": vectors()["clip"]})
    seen = alone.seen({"image": target["clip"]})
    assert sum("@" not in name for name in seen) == 3
    assert paired("loss", Adapter()) == "loss"
    assert paired("loss", "linear") == "loss"


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ("adaptor", "did you mean 'adapter'"),
        ("linaer", "did you mean 'linear'"),
        ({"name": "adapter", "widht": 5}, "did you mean 'width'"),
        ({"name": "adapter", "width": 0}, "greater than 0"),
    ],
)
def test_wrong_projections_are_refused(given_, says):
    with pytest.raises(UsageError, match=says) as error:
        build(Experiment, {"projection": given_})
    assert "\n" not in str(error.value)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(NeurovisError, match=r"at most 10 .* found 11"):
        model(Adapter(width=11))
    with pytest.raises(UsageError, match="did you mean 'dino'"):
        model(ThreeTowers(width=3, frozen=("dinu",)))
    with pytest.raises(UsageError, match="expected a map of each"):
        decoder(Tower(), OUTPUTS, Adapter())
    with pytest.raises(UsageError, match="trained, found ridge"):
        build(Experiment, {"projection": "adapter", "brain": "ridge"})
    with pytest.raises(UsageError, match="'all' stands for"):
        build(Experiment, {"targets": {"all": "hog", "b": "gabor"}})


def test_plain_projections_stay_what_they_were():
    for name in ("linear", "scale", "none"):
        assert build(Experiment, {"projection": name}).projection == name
    assert build(Experiment, {}).projection == "linear"
    assert build(Experiment, {"projection": "adapter"}).projection == Adapter()
