"""Priors: as independent references compute them, learning what is planted and nothing from shuffled labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from neurovis.config import build, components
from neurovis.errors import NeurovisError, UsageError
from neurovis.generate import denoiser
from neurovis.generate.low_level import fit_low, invertible, rough
from neurovis.generate.posterior import estimator
from neurovis.generate.prior import Diffusion, NoPrior, Prior, Regression, channel, gap
from neurovis.generate.regression import FEWEST, Known, regress
from neurovis.generate.repeats import between_repeats
from neurovis.spaces import Space

SMALL = {"n_hidden": 32, "n_blocks": 1, "n_train_steps": 60, "batch_size": 64}
SMALL |= {"num_inference_steps": 4}
PRIORS = {"none": NoPrior(), "regression": Regression(), "diffusion": Diffusion(**SMALL)}


def planted(seed=0, n_train=200, n_held=60, dim=6, out=8, noise=0.3, aimed=True) -> tuple:
    """A linear decoder of known embeddings, and a function that decodes more of them."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((out, out)) * np.linspace(1.5, 0.2, out)
    draw = lambda n: rng.standard_normal((n, out)) @ root + 3  # noqa: E731
    way = rng.standard_normal((out, dim))
    decode = lambda x: 0.2 * (x - 3) @ way + noise * rng.standard_normal((len(x), dim))  # noqa: E731
    train, held = draw(n_train), draw(n_held)
    image = np.array([f"i{i:03d}" for i in range(n_held)])
    more = {"aimed": (train - 3) @ way, "meant": (held - 3) @ way} if aimed else {}
    plain = (way.T / dim, np.full(out, 3.0))
    return Known(train, decode(held), held, image, plain=plain, **more), draw, decode


# ---- against independent references


def test_regression_is_the_ridge_whose_left_out_images_fit_best():
    known, *_ = planted(aimed=False)
    known = Known(known.train, known.said, known.true, known.image)  # nothing but ridge
    tensors, held = regress(known)
    images = np.unique(known.image)
    fold = (np.random.default_rng(0).permutation(len(images)) % 5)[
        np.searchsorted(images, known.image)
    ]
    errors, said = {}, {}
    for penalty in 10.0 ** np.arange(-2, 5):
        said[penalty] = np.empty_like(known.true)
        for number in range(5):
            rows = fold == number
            x, y = known.said[~rows], known.true[~rows]
            alpha = penalty * ((x - x.mean(0)) ** 2).sum() / x.shape[1]
            said[penalty][rows] = Ridge(alpha=alpha).fit(x, y).predict(known.said[rows])
        errors[penalty] = ((said[penalty] - known.true) ** 2).mean()
    best = min(errors, key=errors.get)
    assert tensors["error"] == pytest.approx(errors[best], rel=1e-9)
    np.testing.assert_allclose(held, said[best], rtol=1e-6, atol=1e-9)
    x = known.said
    alpha = best * ((x - x.mean(0)) ** 2).sum() / x.shape[1]
    model = Ridge(alpha=alpha).fit(x, known.true)
    np.testing.assert_allclose(x @ tensors["weight"] + tensors["bias"], model.predict(x), rtol=1e-6)


def test_rows_of_one_image_are_on_one_side():
    """Copies of every row must not let it look as if its image could be told from them."""
    rng = np.random.default_rng(3)
    said, true = rng.standard_normal((40, 30)), rng.standard_normal((40, 5))
    image = np.array([f"i{i}" for i in range(40)])
    known = Known(rng.standard_normal((50, 5)), said, true, image)
    four = [np.concatenate([a] * 4) for a in (said, true, image)]
    near = regress(Known(known.train, *four))[0]
    assert near["error"] > 0.9 * near["error_of_mean"]


def test_the_gap_is_what_loops_say():
    rng = np.random.default_rng(4)
    image = np.array(["a", "a", "b", "c", "c", "c"])
    truth = {name: rng.standard_normal(5) for name in "abc"}
    true = np.stack([truth[name] for name in image])
    said = true + rng.standard_normal(true.shape)
    found = gap(said, true, image)
    unit = lambda v: v / np.linalg.norm(v)  # noqa: E731
    same = np.mean([unit(a) @ unit(b) for a, b in zip(said, true)])
    other = np.mean(
        [
            unit(a) @ unit(truth[name])
            for a, mine in zip(said, image)
            for name in "abc"
            if name != mine
        ]
    )
    means = [np.mean([unit(a) for a, i in zip(said, image) if i == name], 0) for name in "abc"]
    distance = np.linalg.norm(np.mean(means, 0) - np.mean([unit(truth[n]) for n in "abc"], 0))
    assert found.n == 6
    assert found.cosine == pytest.approx(same)
    assert found.distance == pytest.approx(distance)
    # others are averaged over rows, each over the other images
    rows = [
        np.mean([unit(a) @ unit(truth[n]) for n in "abc" if n != mine])
        for a, mine in zip(said, image)
    ]
    assert found.cosine_others == pytest.approx(np.mean(rows))
    assert found.cosine_others == pytest.approx(other)
    assert gap(true, true, image).distance == pytest.approx(0, abs=1e-12)


# ---- what they learn


@pytest.mark.parametrize("name", ["regression", "diffusion"])
def test_priors_find_what_is_planted(name):
    known, draw, decode = planted()
    test = draw(80)
    said, image, seeds = decode(test), np.arange(80).astype(str), np.arange(80)
    prior = PRIORS[name]
    if name == "diffusion":
        prior = prior.model_copy(update={"n_train_steps": 400, "num_inference_steps": 10})
    origin = known.train.mean(0)
    found = gap(prior.ready(prior.fit(known))(said, seeds), test, image, origin)
    assert found.cosine > 0.6
    assert abs(found.cosine_others) < 0.1
    plain = PRIORS["none"]
    before = gap(plain.ready(plain.fit(known))(said, seeds), test, image, origin)
    assert found.cosine > before.cosine - 0.02


def test_nothing_is_learned_from_shuffled_labels():
    known, draw, decode = planted()
    test = draw(80)
    said, image, seeds = decode(test), np.arange(80).astype(str), np.arange(80)
    rng, prior, lost = np.random.default_rng(5), PRIORS["regression"], []
    for _ in range(30):
        deal = rng.permutation(len(known.image))
        wrong = replace(
            known, true=known.true[deal], image=known.image[deal], meant=known.meant[deal]
        )
        # a control says of an image what it would of any other
        made = prior.ready(prior.fit(wrong))(said[rng.permutation(80)], seeds)
        found = gap(made, test, image, known.train.mean(0))
        # what is said of every image alike agrees with its own as with others
        lost.append(found.cosine - found.cosine_others)
    # one deal is a map by chance, that few dims follow somewhat one way or the other
    assert abs(np.mean(lost)) < 3 * np.std(lost) / np.sqrt(len(lost))


def test_maps_of_training_images_help_where_validation_is_small():
    known, draw, decode = planted(n_held=FEWEST + 2, noise=0.2)
    few = Known(known.train, known.said, known.true, known.image)
    test = draw(100)
    said, ids, seeds = decode(test), np.arange(100).astype(str), np.arange(100)
    prior = Regression()
    origin = known.train.mean(0)
    with_maps = gap(prior.ready(prior.fit(known))(said, seeds), test, ids, origin)
    without = gap(prior.ready(prior.fit(few))(said, seeds), test, ids, origin)
    assert with_maps.cosine > without.cosine


def test_no_prior_goes_back_through_the_space():
    rng = np.random.default_rng(6)
    raw = rng.standard_normal((30, 7)) * 2 + 1
    centre = raw.mean(0)
    basis = np.linalg.svd(raw - centre, full_matrices=False)[2]
    space = Space(centre, basis, np.linspace(1, 3, 7), 2.5)
    weight, origin = space.back(7)
    aimed = space.apply(raw).astype(np.float64)
    np.testing.assert_allclose(aimed @ weight + origin, raw, atol=1e-5)
    prior = NoPrior()
    tensors = prior.fit(Known(raw, plain=(weight, origin)))
    # a cosine leaves lengths free: they are those of training images again
    said = prior.ready(tensors)(aimed * rng.uniform(0.1, 9, (30, 1)), np.arange(30))
    length = np.linalg.norm(said - origin, axis=1)
    np.testing.assert_allclose(length, np.linalg.norm(raw - origin, axis=1).mean(), rtol=1e-5)
    cosine = ((said - origin) * (raw - origin)).sum(1) / length
    np.testing.assert_allclose(cosine, np.linalg.norm(raw - origin, axis=1), rtol=1e-5)


@pytest.mark.parametrize("shape", [(5, 5), (5,)])
def test_a_learned_projection_moves_to_the_brains_side(shape):
    rng = np.random.default_rng(7)
    space = Space(projection=rng.standard_normal(shape).astype(np.float32))
    raw, said = rng.standard_normal((9, 5)), rng.standard_normal((4, 5))
    weight, origin = space.back(5)
    np.testing.assert_allclose(
        (said @ weight + origin) @ raw.T, said @ space.apply(raw).T, rtol=1e-4
    )


def test_the_channel_finds_the_response_and_its_errors():
    rng = np.random.default_rng(8)
    true = rng.standard_normal((4000, 3)) * [1, 2, 3]
    slope = np.array([0.2, 0.5, 0.9])
    said = true * slope + 0.4 * rng.standard_normal(true.shape)
    found = channel(said, true, np.arange(4000).astype(str), true)
    np.testing.assert_allclose(found["response"], slope, atol=0.03)
    np.testing.assert_allclose(found["errors"].std(0), 0.4, atol=0.02)


# ---- lengths, seeds, rows by themselves


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("norms", ["norm", "moments", "none"])
def test_lengths_are_restored_from_training_statistics(name, norms):
    known, draw, decode = planted()
    prior = PRIORS[name].model_copy(update={"norms": norms})
    said = prior.ready(prior.fit(known))(decode(draw(400)), np.arange(400))
    origin = np.full(8, 3.0) if name == "none" else known.train.mean(0)
    if norms == "norm":
        wanted = np.linalg.norm(known.train - origin, axis=1).mean()
        np.testing.assert_allclose(np.linalg.norm(said - origin, axis=1), wanted, rtol=1e-4)
    elif norms == "moments":
        np.testing.assert_allclose(said.mean(0), known.train.mean(0), atol=1.5)
        np.testing.assert_allclose(said.std(0), known.train.std(0), rtol=0.6)
    assert np.isfinite(said).all()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 11))
@pytest.mark.parametrize("name", PRIORS)
def test_a_row_depends_on_its_vector_and_seed_alone(name, seed, cut):
    _, draw, decode = planted()
    ready = _fitted(name)
    rng = np.random.default_rng(seed)
    vector, seeds = decode(draw(12)), rng.integers(0, 2**48, 12)
    whole = ready(vector, seeds)
    assert whole.dtype == np.float32
    parts = [ready(vector[:cut], seeds[:cut]), ready(vector[cut:], seeds[cut:])]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(ready(vector, seeds), whole)
    other = ready(vector, seeds + 1)
    assert PRIORS[name].draws == (not np.array_equal(other, whole))


_KEPT: dict[str, object] = {}


def _fitted(name):
    if name not in _KEPT:
        _KEPT[name] = PRIORS[name].ready(PRIORS[name].fit(planted()[0]))
    return _KEPT[name]


def test_guidance_keeps_the_length_and_moves_towards_what_is_said():
    known, draw, decode = planted()
    base = Diffusion(**{**SMALL, "n_train_steps": 400}, norms="none")
    tensors = base.fit(known)
    vector = decode(draw(60))
    said = {}
    for scale in (0.0, 1.0, 4.0):
        prior = base.model_copy(update={"guidance_scale": scale})
        said[scale] = prior.ready(tensors)(vector, np.arange(60)) - known.train.mean(0)
    length = {k: np.linalg.norm(v, axis=1).mean() for k, v in said.items()}
    assert length[4.0] == pytest.approx(length[1.0], rel=0.15)
    regression = vector @ tensors["weight"] + tensors["bias"] - known.train.mean(0)
    cosine = {
        k: np.mean(
            (v * regression).sum(1) / np.linalg.norm(v, axis=1) / np.linalg.norm(regression, axis=1)
        )
        for k, v in said.items()
    }
    # without the brain nothing of it is said; with it all the way, so that guidance cannot add to the direction
    assert cosine[0.0] < 0.2
    assert min(cosine[1.0], cosine[4.0]) > 0.9


def test_a_killed_training_goes_on_as_if_undisturbed(tmp_path, monkeypatch):
    known, *_ = planted()
    prior, path = PRIORS["diffusion"], tmp_path / "prior.checkpoint"
    undisturbed = prior.fit(known, 3)
    monkeypatch.setattr(denoiser, "CHECKPOINT_SECONDS", -1.0)
    steps = []
    plain = torch.nn.utils.clip_grad_norm_

    def dies(*args):
        steps.append(1)
        if len(steps) == 25:
            raise KeyboardInterrupt
        return plain(*args)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", dies)
    with pytest.raises(KeyboardInterrupt):
        prior.fit(known, 3, path)
    assert path.is_file()
    again = prior.fit(known, 3, path)
    assert len(steps) == 25 + prior.n_train_steps - 24
    for name, value in undisturbed.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)
    path.write_bytes(path.read_bytes()[:50])
    damaged = prior.fit(known, 3, path)  # begun anew
    np.testing.assert_array_equal(damaged["weight"], undisturbed["weight"])


# ---- completeness, bad input


def test_every_prior_is_tested():
    assert set(components(Prior)) == set(PRIORS)


@pytest.mark.parametrize("name", PRIORS)
def test_wrong_widths_are_refused(name):
    with pytest.raises(NeurovisError, match=r"dim=6\), found \(2, 5\)"):
        _fitted(name)(np.zeros((2, 5)), np.zeros(2, int))


def test_what_is_missing_is_said():
    known, *_ = planted()
    with pytest.raises(NeurovisError, match="use prior=none"):
        Regression().fit(Known(known.train))
    few = slice(0, 4)
    with pytest.raises(NeurovisError, match="at least 10 validation images, found 4"):
        Diffusion().fit(Known(known.train, known.said[few], known.true[few], known.image[few]))
    with pytest.raises(NeurovisError, match="use prior=regression"):
        NoPrior().fit(Known(known.train, known.said, known.true, known.image))
    with pytest.raises(NeurovisError, match=r"use prior\.norms=norm"):
        NoPrior(norms="moments").fit(Known(known.train, plain=known.plain))
    with pytest.raises(NeurovisError, match="of one encoder"):
        Known(known.train[:, 1:], known.said, known.true, known.image)
    with pytest.raises(NeurovisError, match="a true embedding and an image for each"):
        Known(known.train, known.said, known.true[1:], known.image)
    with pytest.raises(UsageError, match=r"prior\.drop is 0"):
        build(Diffusion, {"drop": 0.0})


# ---- the low-level stage


def test_rough_pictures_are_those_of_the_vectors_that_are_decoded():
    rng = np.random.default_rng(9)
    pixels = invertible("{name: pixels, side: 4}")
    true = rng.uniform(-0.3, 0.3, (60, 48))
    way = rng.standard_normal((48, 48))
    image = np.arange(60).astype(str)
    tensors = fit_low(Known(true, true @ way, true, image, aimed=true @ way, meant=true @ way))
    made = rough(pixels, estimator(tensors), (true @ way)[:5])
    assert made.shape == (5, 4, 4, 3)
    expected = pixels.pictures(true[:5].astype(np.float32)).astype(int)
    assert np.abs(made - expected).max() <= 3
    back = fit_low(Known(true, plain=(np.eye(48), np.zeros(48))))
    np.testing.assert_array_equal(rough(pixels, estimator(back), true[:5]), expected)


def test_only_encoders_with_an_inverse_make_rough_pictures():
    with pytest.raises(UsageError, match="gabor has no inverse"):
        invertible("gabor")
    with pytest.raises(NeurovisError, match="name a target of the run"):
        fit_low(Known(np.ones((3, 2))))


# ---- means of more trials than validation images have


def test_noise_between_repeats_is_that_of_single_trials():
    rng = np.random.default_rng(0)
    truth, spread = rng.standard_normal((300, 3)), np.array([0.5, 1.0, 2.0])
    image = np.repeat(np.arange(300).astype(str), 2)
    vector = np.repeat(truth, 2, axis=0) + spread * rng.standard_normal((600, 3))
    found = between_repeats(vector, image, np.full(600, "01"))
    np.testing.assert_allclose(np.diag(found), spread**2, rtol=0.2)
    assert np.abs(found - np.diag(np.diag(found))).max() < 0.3
    # people are not repeats of each other
    assert between_repeats(vector, image, np.tile(["01", "02"], 300)) is None


def test_a_map_for_means_of_more_trials_is_the_one_that_such_means_teach():
    """Fitted to single trials and told of their noise, against fitted to means of 12."""
    rng = np.random.default_rng(1)
    n, dim = 100_000, 4  # so many that their own chance does not blur what is compared
    true, mix = rng.standard_normal((n, dim)), rng.standard_normal((dim, dim))
    noise = np.array([2.0, 1.0, 0.5, 3.0])
    single = true @ mix + noise * rng.standard_normal((n, dim))
    mean = true @ mix + noise / np.sqrt(12) * rng.standard_normal((n, dim))
    image = np.arange(n).astype(str)
    excess = (1 - 1 / 12) * np.diag(noise**2)
    plain, _ = regress(Known(true, single, true, image))
    told, _ = regress(Known(true, single, true, image, excess=excess))
    goal, _ = regress(Known(true, mean, true, image))
    few = true[:200]
    more = {"aimed": few @ mix, "meant": true @ mix}
    told_more, _ = regress(Known(few, single, true, image, excess=excess, **more))
    goal_more, _ = regress(Known(few, mean, true, image, **more))
    far = lambda tensors: np.abs(tensors["weight"] - goal["weight"]).max()  # noqa: E731
    assert far(told) < 0.15 * far(plain)
    plain_more, _ = regress(Known(few, single, true, image, **more))
    far = lambda tensors: np.abs(tensors["weight"] - goal_more["weight"]).max()  # noqa: E731
    assert far(told_more) < 0.15 * far(plain_more)
