"""The image side of a tower: starts as the identity, moves to the brain's side, is saved with the tower."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.decoder import MOST_SPREAD, PROJECTED, SPREAD, decoder

OUTPUTS = {"image": 5, "colour": 3}


class Plain(torch.nn.Module):
    """A tower that says what it is given; `start` gives symmetric roots."""

    def __init__(self, seed: int = 0):
        super().__init__()
        rng = np.random.default_rng(seed)
        blocks = {k: rng.standard_normal((n, n)).astype(np.float32) for k, n in OUTPUTS.items()}
        self.roots = {k: block + block.T for k, block in blocks.items()}
        self.begun = {}

    def forward(self, signal):
        return {"image": signal}

    def start(self, **examples):
        self.begun = examples
        return self.roots


def random(projection: str, seed: int = 0):
    """A decoder whose projection is no longer the identity."""
    torch.manual_seed(seed)
    model = decoder(Plain(), OUTPUTS, projection)
    with torch.no_grad():
        for weight in model.projection:
            weight.copy_(torch.randn_like(weight))
    return model


@pytest.mark.parametrize("projection", ["none", "scale", "linear"])
def test_a_projection_starts_as_the_identity(projection):
    model = decoder(Plain(), OUTPUTS, projection)
    target = {name: torch.randn(4, width) for name, width in OUTPUTS.items()}
    for name, vector in target.items():
        assert torch.equal(model.project(name, vector), vector)
        assert torch.equal(model.back(name, vector), vector)
    seen = model.seen(target)
    assert all(seen[name] is vector for name, vector in target.items())
    added = {name + PROJECTED for name in OUTPUTS} if projection != "none" else set()
    assert set(seen) - set(target) == added
    signal = torch.randn(2, 5)
    assert torch.equal(model(signal)["image"], signal)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["scale", "linear"]), st.sampled_from([*OUTPUTS]), st.integers(0, 99))
def test_either_side_gives_the_same_products(projection, name, seed):
    """(p, W g) = (W' p, g) for every pair of brain's and image's vectors."""
    model = random(projection, seed)
    said, image = torch.randn(6, OUTPUTS[name]), torch.randn(7, OUTPUTS[name])
    with torch.no_grad():
        forward = said @ model.project(name, image).T
        backward = model.back(name, said) @ image.T
    torch.testing.assert_close(forward, backward, rtol=1e-4, atol=1e-4)
    weight = model.projection[[*OUTPUTS].index(name)].detach()
    dense = torch.diag(weight) if weight.ndim == 1 else weight
    torch.testing.assert_close(forward, said @ (image @ dense).T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("projection", ["none", "scale", "linear"])
def test_a_tower_with_a_closed_form_starts_the_projection(projection):
    model = decoder(Plain(3), OUTPUTS, projection)
    model.begin(trials="some", fold="others")
    assert model.tower.begun == {"trials": "some", "fold": "others"}
    assert len(model.projection) == (0 if projection == "none" else 2)
    for weight, root in zip(model.projection, model.tower.roots.values()):
        expected = torch.from_numpy(root)
        assert torch.equal(weight, expected.diagonal() if projection == "scale" else expected)
        assert weight.requires_grad


def test_the_projection_is_trained_and_saved_with_the_tower():
    model = random("linear")
    vector = torch.randn(4, 3)
    model.seen({"colour": vector})["colour" + PROJECTED].sum().backward()
    assert model.projection[1].grad.abs().sum() > 0
    again = decoder(Plain(), OUTPUTS, "linear")
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.project("colour", vector), model.project("colour", vector))


def test_each_subject_may_have_an_image_side_of_its_own():
    model = decoder(Plain(), OUTPUTS, "own", n_subjects=3)
    assert model.n_sides == 3
    target = {name: torch.randn(4, width) for name, width in OUTPUTS.items()}
    for side in range(3):
        assert all(torch.equal(v, target[k]) for k, v in model.gallery(target, side).items())
    with torch.no_grad():
        for weight in model.projection:
            weight.copy_(torch.randn_like(weight))
    for side in range(3):
        plain = decoder(Plain(), OUTPUTS, "linear")
        plain.load_state_dict({k: v[side] for k, v in model.state_dict().items()})
        for name, vector in plain.gallery(target).items():
            assert torch.equal(model.gallery(target, side)[name], vector)
            assert torch.equal(model.seen(target, side)[name + PROJECTED], vector)
    # what one subject's rows teach is taught to its own map
    model.seen(target, 1)["image" + PROJECTED].sum().backward()
    assert [bool(part.any()) for part in model.projection[0].grad] == [False, True, False]


def test_spreads_start_at_one_are_bounded_and_saved():
    model = decoder(Plain(), {"image": 5}, "none", spread=True)
    signal = torch.randn(6, 5)
    said = model(signal)
    assert torch.equal(said["image"], signal)
    assert torch.equal(said["image" + SPREAD], torch.zeros(6, 1))
    with torch.no_grad():
        model.spread[0][2].weight.normal_(0, 0.5)
    found = model(signal)["image" + SPREAD]
    assert found.abs().max() <= MOST_SPREAD
    assert len(found.unique()) > 1
    # the cosine does not see a length, the spread does
    assert not torch.equal(model(3 * signal)["image" + SPREAD], found)
    again = decoder(Plain(), {"image": 5}, "none", spread=True)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(signal)["image" + SPREAD], found)
    assert bool(torch.isfinite(model(torch.zeros(2, 5))["image" + SPREAD]).all())
    assert "spread" not in dict(decoder(Plain(), OUTPUTS, "linear").named_children())
