"""Every brain tower of the registry: shapes, gradients, learning, seeds, absent channels, documentation."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.benchmarks.training import BODIES, TOWERS, transcription
from neurovis.brain.base import REGRESSION, BrainEncoder, Shape, layout
from neurovis.brain.braindecode import NONCOMMERCIAL
from neurovis.brain.layers import size
from neurovis.brain.voxel_tokens import patches
from neurovis.config import components, resolve
from neurovis.errors import NeurovisError, UsageError
from neurovis.losses.base import Loss

SMALL = {"n_virtual": 6, "n_harmonics": 4, "n_hidden": 12, "n_features": 16}
# what makes each component of the registry small; a new component runs with its defaults
TINY: dict[str, list[dict]] = {
    "atm": [{}, {"variant": "E"}, {"subject_token": True}],
    "mlp": [{"n_hidden": 32}, {"n_hidden": 32, "subject_layer": "ridge"}],
    "voxel_tokens": [{"patch": 3, "n_hidden": 16, "n_components": 4, "n_harmonics": 8}],
    "conv": [
        {**SMALL},
        {**SMALL, "spatial": "learned", "time": "mean", "subject_layer": False},
        {**SMALL, "time": "attention", "n_blocks": 1, "kernel": 5},
        {**SMALL, "n_blocks": 0, "subject_layer": "embedding", "heads": "one"},
        {**SMALL, "subject_layer": "linear", "heads": "shared"},
    ],
    "braindecode": [
        {"model": "EEGNet"},
        {"model": "ShallowFBCSPNet", "options": {"pool_time_length": 20, "pool_time_stride": 5}},
        {
            "model": "ATCNet",
            "options": {"conv_block_pool_size_1": 2, "conv_block_pool_size_2": 2},
        },
        {"model": "EEGConformer"},
    ],
}


def trained(root=BrainEncoder):
    return {k: v for k, v in components(root).items() if not v.closed_form}


def cases() -> list:
    found = []
    for name in trained():
        for options in TINY.get(name, [{}]):
            label = "-".join(
                str(v) for k, v in options.items() if k not in SMALL and k != "options"
            )
            found.append(pytest.param({"name": name, **options}, id=f"{name}-{label or 'small'}"))
    return found


def make_shape(n_chans=8, n_times=128, subjects=("01", "02"), **outputs):
    rng = np.random.default_rng(0)
    position = rng.standard_normal((n_chans, 3))
    position *= 0.1 / np.linalg.norm(position, axis=1, keepdims=True)
    position[:, 2] = np.abs(position[:, 2])
    return Shape(
        n_times=n_times,
        sfreq=128.0,
        channel_name=tuple(f"EEG {i}" for i in range(n_chans)),
        channel_type=("eeg",) * n_chans,
        channel_position=position.astype(np.float32),
        subjects=subjects,
        outputs=outputs or {"image": 5, "text": 3},
    )


def make_batch(shape, n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(n, shape.n_chans, shape.n_times, generator=generator)
    subject = torch.arange(n) % len(shape.subjects)
    return signal, subject, torch.ones(n, shape.n_chans, dtype=torch.bool)


def built(config, shape, seed=0):
    torch.manual_seed(seed)
    return resolve(BrainEncoder, config).build(shape)


# ---- whatever is in the registry


@pytest.mark.parametrize("config", cases())
def test_a_tower_says_a_vector_per_target(config):
    shape = make_shape()
    tower = built(config, shape)
    said = tower(*make_batch(shape))
    for target, dim in shape.outputs.items():
        assert said[target].shape == (6, dim)
        assert said.get(target + REGRESSION, said[target]).shape == (6, dim)
    assert set(said) <= {t + end for t in shape.outputs for end in ("", REGRESSION)}
    tower.eval()
    with torch.inference_mode():
        one = tower(*(x[:1] for x in make_batch(shape)))
        many = tower(*make_batch(shape))
    for target in said:
        assert bool(torch.isfinite(one[target]).all())
        # in evaluation no row sees another one
        torch.testing.assert_close(one[target], many[target][:1], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("config", cases())
def test_the_gradient_reaches_every_weight(config):
    shape = make_shape()
    tower = built(config, shape)
    truth = {k: torch.randn(6, dim) for k, dim in shape.outputs.items()}
    loss_of = resolve(Loss, "clip_mse").build()
    learned = {k: v for k, v in tower.named_parameters() if v.requires_grad}
    optimiser = torch.optim.SGD(learned.values(), lr=0.01)
    reached = set()
    for _ in range(2):  # a layer that starts at zero lets nothing through before the first step
        optimiser.zero_grad()
        loss_of(tower(*make_batch(shape)), truth, torch.arange(6))["loss"].backward()
        optimiser.step()
        for name, weight in learned.items():
            assert weight.grad is not None, name
            assert bool(torch.isfinite(weight.grad).all()), name
            reached |= {name} if bool(weight.grad.abs().sum() > 0) else set()
    # a bias before a normalisation cannot change what is said
    assert {k for k, v in learned.items() if v.ndim > 1} <= reached


@pytest.mark.parametrize("config", cases())
def test_a_tower_learns_eight_trials_by_heart(config):
    shape = make_shape(image=4)
    tower = built(config, shape)
    batch = make_batch(shape, 8)
    truth = {"image": torch.eye(8)[:, :4] + torch.randn(8, 4, generator=torch.manual_seed(1))}
    loss_of = resolve(Loss, {"name": "clip", "temperature": 0.1}).build()
    optimiser = torch.optim.Adam(tower.parameters(), lr=0.01)
    for module in tower.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    losses = []
    for _ in range(120):
        loss = loss_of(tower(*batch), truth, torch.arange(8))["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        if losses[-1] < 0.1 * losses[0]:
            break
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("config", cases())
def test_a_seed_decides_a_tower(config):
    shape = make_shape()
    first, again, other = (built(config, shape, seed).state_dict() for seed in (3, 3, 4))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("config", cases())
def test_what_stands_in_absent_channels_does_not_matter(config):
    shape = make_shape()
    signal, subject, present = make_batch(shape)
    present = present.clone()
    present[::2, [1, 4]] = False
    other = signal.clone()
    other[::2, [1, 4]] = 1000.0
    tower = built(config, shape).eval()
    with torch.inference_mode():
        first, second = tower(signal, subject, present), tower(other, subject, present)
        whole = tower(signal, subject, torch.ones_like(present))
    for target in first:
        torch.testing.assert_close(first[target], second[target])
        # but channels that are there do matter, and rows without absent ones are as before
        assert not torch.allclose(first[target][0], whole[target][0])
        torch.testing.assert_close(first[target][1], whole[target][1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", cases())
def test_rows_keep_their_order_and_evaluation_is_deterministic(config):
    shape = make_shape()
    tower = built(config, shape).eval()
    batch = make_batch(shape)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.inference_mode():
        first, again = tower(*batch), tower(*batch)
        moved = tower(*(part[order] for part in batch))
    for target, value in first.items():
        assert torch.equal(value, again[target])
        torch.testing.assert_close(moved[target], value[order], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("config", cases())
def test_nan_in_absent_channels_stays_out_in_training_too(config):
    shape = make_shape()
    signal, subject, present = make_batch(shape)
    present[:, 2] = False
    signal[:, 2] = float("nan")
    tower = built(config, shape)
    said = tower(signal, subject, present)
    sum((value**2).sum() for value in said.values()).backward()
    assert all(bool(torch.isfinite(value).all()) for value in said.values())
    slopes = [p.grad for p in tower.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(slope).all()) for slope in slopes)


@pytest.mark.parametrize("name", trained())
def test_weights_are_found_again_by_name(name):
    shape = make_shape()
    config = {"name": name, **TINY.get(name, [{}])[0]}
    first, second = built(config, shape, 0).eval(), built(config, shape, 1).eval()
    second.load_state_dict(first.state_dict())
    with torch.inference_mode():
        for target, value in first(*make_batch(shape)).items():
            assert torch.equal(value, second(*make_batch(shape))[target])


# ---- the convolutional tower


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(8)))
def test_attention_goes_by_position_and_not_by_order(order):
    shape = make_shape()
    other = Shape(
        **{
            **vars(shape),
            "channel_name": tuple(shape.channel_name[i] for i in order),
            "channel_position": shape.channel_position[order],
        }
    )
    tower = built({"name": "conv", **SMALL}, shape).eval()
    moved = built({"name": "conv", **SMALL}, other).eval()
    moved.load_state_dict(tower.state_dict())
    signal, subject, present = make_batch(shape)
    with torch.inference_mode():
        expected = tower(signal, subject, present)
        found = moved(signal[:, order], subject, present)
    for target in expected:
        torch.testing.assert_close(found[target], expected[target], atol=1e-4, rtol=1e-4)


def test_channels_without_a_position_are_left_out_of_attention():
    shape = make_shape()
    shape.channel_position[3] = np.nan
    tower = built({"name": "conv", **SMALL}, shape).eval()
    signal, subject, present = make_batch(shape)
    with torch.inference_mode():
        before = tower(signal, subject, present)["image"]
        signal[:, 3] = 100.0
        assert torch.equal(tower(signal, subject, present)["image"], before)


def test_without_any_position_attention_says_what_to_do():
    shape = make_shape()
    shape.channel_position[:] = np.nan
    with pytest.raises(NeurovisError, match="set a montage, or use spatial='learned'"):
        built({"name": "conv", **SMALL}, shape)
    tower = built({"name": "conv", **SMALL, "spatial": "learned"}, shape)
    assert tower(*make_batch(shape))["image"].shape == (6, 5)


def test_each_subject_has_a_layer_of_its_own():
    shape = make_shape()
    tower = built({"name": "conv", **SMALL}, shape).eval()
    signal, _, present = make_batch(shape)
    first, second = torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.int64)
    with torch.no_grad():
        before = [tower(signal, s, present)["image"] for s in (first, second)]
        tower.subject.weight[1] *= 2
        after = [tower(signal, s, present)["image"] for s in (first, second)]
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_spatial_dropout_acts_in_training_alone():
    shape = make_shape()
    config = {"name": "conv", **SMALL, "spatial_dropout": 0.5, "dropout": 0.0, "n_blocks": 0}
    tower = built(config, shape)
    batch = make_batch(shape)
    trains = [tower(*batch)["image"] for _ in range(12)]
    assert any(not torch.allclose(trains[0], other) for other in trains[1:])
    assert all(bool(torch.isfinite(said).all()) for said in trains)
    tower.eval()
    assert torch.equal(tower(*batch)["image"], tower(*batch)["image"])


def test_the_layout_keeps_neighbours_and_sides():
    # one in the middle, one at each side: x right, y front
    position = np.array(
        [[0, 0, 0.1], [0.1, 0, 0], [-0.1, 0, 0], [0, 0.1, 0], [0, -0.1, 0], [np.nan] * 3],
        np.float32,
    )
    flat = layout(position)
    assert np.nanmin(flat) == 0
    assert np.nanmax(flat) == 1
    middle, right, left, front, back, unknown = flat
    np.testing.assert_allclose(middle, [0.5, 0.5], atol=0.02)
    assert right[0] > 0.9 > 0.1 > left[0]
    assert front[1] > 0.9 > 0.1 > back[1]
    assert np.isnan(unknown).all()


def test_layers_and_heads_of_the_ablations():
    shape = make_shape(image=4)
    sizes = {}
    for heads in ("separate", "shared", "one"):
        tower = built({"name": "conv", **SMALL, "heads": heads}, shape)
        said = tower(*make_batch(shape))
        assert set(said) == ({"image"} if heads == "one" else {"image", "image" + REGRESSION})
        sizes[heads] = size(tower)
    head = 2 * 16 + 17 * 4
    assert sizes["separate"] - sizes["one"] == head
    assert sizes["shared"] - sizes["one"] == 17 * 16 + 17 * 4
    layers = {}
    for kind in ("linear", "embedding", "none", True, False):
        layers[kind] = size(built({"name": "conv", **SMALL, "subject_layer": kind}, shape))
    assert layers[True] == layers["linear"] == layers["none"] + 2 * 36
    assert layers["embedding"] == layers["none"] + 2 * 6
    assert layers[False] == layers["none"]


# ---- ATM


def test_atm_has_the_parameters_that_its_paper_prints():
    shape = make_shape(63, 250, ("01",), image=1024)
    small, large = (built({"name": "atm", "variant": v}, shape) for v in "SE")
    shared = size(small.convolution) + size(small.heads)
    assert shared == 2_630_912
    # the paper's count is of the two layers that its code registers for one transformer over time
    assert shared + 2 * size(large.attention) == 3_183_990
    # channel tokens: embedding, queries, keys, values (4 heads of 62), output, perceptron, 3 norms
    tokens = 250 * 251 + 3 * 251 * 248 + 249 * 250 + 251 * 256 + 257 * 250 + 3 * 2 * 250
    assert size(small) == shared + tokens == 3_072_662


def test_epochs_that_are_too_short_for_atm_and_nice_are_refused():
    short = make_shape(n_times=60)
    for config in ({"name": "atm"}, {"name": "nice"}):
        with pytest.raises(NeurovisError, match=r"= 75 samples, found 60; lower brain\.pool"):
            built(config, short)
    with pytest.raises(NeurovisError, match="at least 32 samples for variant E"):
        built({"name": "atm", "variant": "E"}, make_shape(n_times=31))
    with pytest.raises(NeurovisError, match="at least n_heads = 4 samples"):
        built({"name": "atm"}, make_shape(n_times=3))


def test_tokens_of_absent_channels_are_not_heard():
    # the other channels say what they would say if the absent one had never been
    shape, tower = make_shape(), None
    config = {"name": "atm", "subject_token": True}
    tower = built(config, shape).eval()
    signal, subject, present = make_batch(shape)
    present[:, 5] = False
    said = []
    handle = tower.norm.register_forward_hook(lambda _, __, value: said.append(value))
    with torch.inference_mode():
        tower(signal, subject, present)
        rest = [i for i in range(8) if i != 5]
        x = torch.cat([tower.subject_token(subject)[:, None], tower.embedding(signal[:, rest])], 1)
        for layer in tower.layers:
            x = layer(x, None)
        tower.norm(x)
    handle.remove()
    torch.testing.assert_close(
        said[0][:, [0, *(i + 1 for i in rest)]], said[1], atol=1e-5, rtol=1e-4
    )


# ---- fMRI


def test_each_subject_has_a_layer_as_wide_as_its_voxels():
    present = np.zeros((2, 8), bool)
    present[0, :5], present[1, 3:] = True, True
    present[1, 7] = False
    shape = replace(make_shape(n_times=1, image=3), present=present)
    tower = built({"name": "mlp", "n_hidden": 16}, shape).eval()
    assert [layer.in_features for layer in tower.subject] == [5, 4]
    signal, subject, _ = make_batch(shape)
    mask = torch.from_numpy(present)[subject]
    with torch.inference_mode():
        said = tower(signal, subject, mask)["image"]
        # one subject alone, by hand
        x = tower.subject[1](signal[1::2, 3:7].flatten(1))
        x = tower.start_of(x)
        for block in tower.blocks:
            x = x + block(x)
        torch.testing.assert_close(said[1::2], tower.heads(x)["image"], atol=1e-5, rtol=1e-4)
    again = Shape.from_dict(json.loads(json.dumps(shape.to_dict())))
    np.testing.assert_array_equal(again.present, present)
    assert [list(again.channels_of(n)) for n in (0, 1)] == [[0, 1, 2, 3, 4], [3, 4, 5, 6]]


def test_ridge_layers_decay_by_themselves():
    from neurovis.train import parameter_groups

    shape = make_shape(n_times=1)
    loss_of = resolve(Loss, "clip").build()
    for kind, count in (("linear", 0), ("ridge", 2)):
        config = {"name": "mlp", "n_hidden": 16, "subject_layer": kind, "ridge_decay": 0.2}
        tower = built(config, shape)
        groups = parameter_groups(tower, loss_of, 0.05)
        own = [group for group in groups if group["weight_decay"] == 0.2]
        assert [group["params"][0] is layer.weight for group, layer in zip(own, tower.subject)] == [
            True
        ] * count
        listed = [p for group in groups for p in group["params"]]
        assert len({id(p) for p in listed}) == len(listed)
        assert {id(p) for p in tower.parameters()} <= {id(p) for p in listed}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 99))
def test_patches_hold_every_voxel_once_and_neighbours_together(n, most, seed):
    rng = np.random.default_rng(seed)
    position = rng.standard_normal((n, 3))
    position[rng.random(n) < 0.2] = np.nan
    groups = patches(position, most)
    known = np.flatnonzero(np.isfinite(position).all(1))
    assert sorted(np.concatenate(groups or [np.array([], int)])) == list(known)
    assert all(0 < len(group) <= most for group in groups)
    line = np.stack([np.arange(n), np.zeros(n), np.zeros(n)], 1)
    assert all(np.ptp(group) == len(group) - 1 for group in patches(line, most))


def test_voxel_tokens_go_by_position_and_take_any_number_of_voxels():
    shape = make_shape(30, 2)
    config = {"name": "voxel_tokens", "patch": 4, "n_hidden": 16}
    tower = built(config, shape).eval()
    order = np.random.default_rng(1).permutation(30)
    other = replace(
        shape,
        channel_name=tuple(shape.channel_name[i] for i in order),
        channel_position=shape.channel_position[order],
    )
    moved = built(config, other, 1).eval()
    moved.load_state_dict(tower.state_dict())
    signal, subject, present = make_batch(shape)
    with torch.inference_mode():
        expected = tower(signal, subject, present)["image"]
        found = moved(signal[:, order], subject, present)["image"]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    more = built(config, make_shape(90, 2)).eval()
    more.load_state_dict(tower.state_dict())
    assert more(*make_batch(make_shape(90, 2)))["image"].shape == (6, 5)
    # nobody's voxels at all still give finite vectors
    none = tower(signal, subject, torch.zeros_like(present))["image"]
    assert bool(torch.isfinite(none).all())
    shape.channel_position[:] = np.nan
    with pytest.raises(NeurovisError, match="found none; set a montage, or use the tower 'mlp'"):
        built(config, shape)
    with pytest.raises(NeurovisError, match="multiple of n_heads = 4"):
        built({**config, "n_hidden": 18}, make_shape())


# ---- transcriptions of the benchmark


@pytest.mark.parametrize("name", BODIES)
def test_towers_say_what_their_plain_transcriptions_say(name):
    n_times = 1 if name == "mlp" else 90
    shape = make_shape(7, n_times, ("01",) if name == "mlp" else ("01", "02"), image=4)
    config = resolve(BrainEncoder, {**TOWERS[name][0], **(SMALL if name == "conv" else {})})
    torch.manual_seed(0)
    tower = config.build(shape)
    for module in tower.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    plain = transcription(name, tower, config)
    for training in (True, False):
        found = []
        for module in (tower, plain):
            module.train(training)
            signal, subject, present = make_batch(shape)
            signal.requires_grad_()
            torch.manual_seed(0)  # both leave out the same disc of sensors
            said = module(signal, subject, present)
            # a plain sum would not do: a normalisation lets nothing of it through
            slopes = [
                torch.sin(torch.arange(value.numel()).view(value.shape)) for value in said.values()
            ]
            torch.autograd.backward(list(said.values()), slopes)
            found.append((said, signal.grad))
        (said, slope), (expected, slope_too) = found
        assert said.keys() == expected.keys()
        for target in said:
            torch.testing.assert_close(said[target], expected[target], atol=1e-5, rtol=1e-4)
        scale = float(slope_too.abs().max())
        torch.testing.assert_close(slope, slope_too, atol=1e-4 * scale, rtol=1e-3)


# ---- braindecode


def test_noncommercial_models_are_those_that_say_so():
    import braindecode.models

    folder = Path(braindecode.models.__file__).parent
    said = set()
    for path in folder.glob("*.py"):
        head = path.read_text(encoding="utf-8").split("\nclass ")[0]
        names = re.findall(
            r"^class (\w+)\([^)]*EEGModuleMixin", path.read_text("utf-8"), re.M | re.S
        )
        if re.search(r"non-?commercial|by-nc", head, re.I):
            assert names, path.name
            said |= set(names)
        licensed = r"^class (\w+)\([^)]*license\s*=\s*[\"']cc-by-nc"
        said |= set(re.findall(licensed, path.read_text("utf-8"), re.M | re.S))
    assert said == set(NONCOMMERCIAL)
    assert all(hasattr(braindecode.models, name) for name in NONCOMMERCIAL)


@pytest.mark.parametrize("model", NONCOMMERCIAL)
def test_noncommercial_models_are_refused_unless_accepted(model):
    with pytest.raises(NeurovisError, match=r"CC BY-NC.*accept_noncommercial"):
        built({"name": "braindecode", "model": model}, make_shape())


def test_an_accepted_noncommercial_model_is_built():
    config = {"name": "braindecode", "model": "BrainModule", "accept_noncommercial": True}
    shape = make_shape(subjects=("01",), image=4)
    assert built(config, shape)(*make_batch(shape))["image"].shape == (6, 4)


def test_unknown_and_ill_fitting_models_are_refused():
    with pytest.raises(NeurovisError, match="'EEGnet' is unknown; did you mean 'EEGNet'"):
        built({"name": "braindecode", "model": "EEGnet"}, make_shape())
    with pytest.raises(
        NeurovisError, match=r"does not fit 8 channels x 128 times .*brain\.options"
    ):
        built({"name": "braindecode", "options": {"colour": 3}}, make_shape())
    with pytest.raises(NeurovisError, match="does not fit 8 channels x 4 times"):
        built({"name": "braindecode", "model": "EEGConformer"}, make_shape(n_times=4))
    with pytest.raises(UsageError, match="did you mean 'braindecode'"):
        resolve(BrainEncoder, "braindecod")


def test_a_shape_comes_back_from_its_plain_data():
    shape = make_shape()
    shape.channel_position[2] = np.nan
    found = Shape.from_dict(json.loads(json.dumps(shape.to_dict())))
    np.testing.assert_allclose(found.channel_position, shape.channel_position, atol=1e-6)
    rest = [{k: v for k, v in vars(s).items() if k != "channel_position"} for s in (found, shape)]
    assert rest[0] == rest[1]
