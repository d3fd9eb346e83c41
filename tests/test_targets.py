"""Targets: centred and reduced by what the training images alone say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from neurovis.config import build, fingerprint, to_dict
from neurovis.errors import NeurovisError, UsageError
from neurovis.experiment import Experiment
from neurovis.images.views import altered
from neurovis.records import Embeddings, Split, Stimuli
from neurovis.targets import Target, named

N, TRAIN, DIM = 40, 30, 6
IMAGES = [f"i{i:02d}" for i in range(N)]
SPLIT = Split(IMAGES[: TRAIN - 5], IMAGES[TRAIN - 5 : TRAIN], IMAGES[TRAIN:])
SEEN = TRAIN - 5
"""Training images: validation images take no part either."""


def stimuli() -> Stimuli:
    sets = ["train"] * TRAIN + ["test"] * (N - TRAIN)
    zero = np.zeros(N, int)
    return Stimuli(IMAGES, [f"{i}.png" for i in IMAGES], [""] * N, zero, zero, IMAGES, sets)


def raw(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((N, DIM)) * np.geomspace(5, 0.2, DIM) + 3).astype(np.float32)


def vectors(tmp_path, vector, **options) -> np.ndarray:
    path = tmp_path / "embeddings.h5"
    Embeddings(vector, IMAGES, {"name": "planted"}).write(path)
    return Target(embeddings=str(path), **options).vectors(stimuli(), SPLIT, tmp_path).vector


WAYS = [{"centre": True}, {"components": 3}, {"components": 4, "whiten": 1.0}]
WAYS += [{"components": 5, "whiten": 0.5}]


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("where", ["test", "validation"])
def test_what_is_not_for_training_changes_nothing_for_training(options, where, tmp_path):
    plain = vectors(tmp_path, raw(), **options)
    other = raw()
    row = N - 1 if where == "test" else TRAIN - 1
    other[row] = 1e3
    changed = vectors(tmp_path, other, **options)
    np.testing.assert_array_equal(np.delete(changed, row, 0), np.delete(plain, row, 0))
    assert np.abs(changed[row] - plain[row]).max() > 1


@pytest.mark.parametrize("options", WAYS)
def test_training_images_are_centred_with_unit_mean_variance(options, tmp_path):
    out = vectors(tmp_path, raw(), **options)[:SEEN]
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    ddof = 1 if "components" in options else 0
    assert out.var(0, ddof=ddof).mean() == pytest.approx(1, rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, DIM), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 99))
def test_components_are_those_of_scikit_learn(components, whiten, seed):
    vector = raw(seed).astype(np.float64)
    out = Target(components=components, whiten=whiten).space(vector[:SEEN]).apply(vector)
    model = PCA(components).fit(vector[:SEEN])
    deviation = np.sqrt(model.explained_variance_)
    expected = model.transform(vector) / deviation**whiten
    expected /= np.sqrt((deviation ** (2 - 2 * whiten)).mean())
    sign = np.sign((out * expected).sum(0))
    np.testing.assert_allclose(out * sign, expected, atol=2e-4)


def test_full_whitening_makes_components_equal(tmp_path):
    out = vectors(tmp_path, raw(), components=4, whiten=1.0)[:SEEN]
    np.testing.assert_allclose(np.cov(out.T), np.eye(4), atol=1e-4)


def test_centring_keeps_directions_and_nothing_asked_keeps_all(tmp_path):
    out = vectors(tmp_path, raw())
    centred = raw() - raw()[:SEEN].mean(0)
    ratio = out / centred
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)
    np.testing.assert_array_equal(vectors(tmp_path, raw(), centre=False), raw())


def test_tokens_stand_side_by_side(tmp_path):
    tokens = raw().reshape(N, 2, 3)
    np.testing.assert_array_equal(vectors(tmp_path, tokens), vectors(tmp_path, raw()))


def test_more_components_than_there_can_be_are_refused(tmp_path):
    with pytest.raises(NeurovisError, match=r"expected at most 6 .* found 7"):
        vectors(tmp_path, raw(), components=7)


def test_plain_strings_are_encoders():
    given_ = {"a": "hog", "b": {"encoder": "pixels", "components": 3}}
    assert named(given_) == {"a": {"encoder": "hog"}, "b": given_["b"]}


def test_vectors_stand_for_pictures_only_as_the_encoder_made_them():
    vector = np.zeros((2, 100), np.float32)
    pixels = {"name": "pixels", "side": 10, "size": 160, "color": False}
    made = Target(encoder=pixels, centre=False).pictures(vector)
    assert made.shape == (2, 10, 10, 3)
    assert (made == 128).all()
    assert Target(encoder=pixels).pictures(vector) is None
    assert Target(encoder=pixels, centre=False, components=3).pictures(vector) is None
    assert Target(encoder="gabor", centre=False).pictures(vector) is None
    assert Target(centre=False, embeddings="vectors.h5").pictures(vector) is None


def test_images_without_a_vector_are_counted(tmp_path):
    path = tmp_path / "few.h5"
    Embeddings(raw()[:35], IMAGES[:35], {"name": "planted"}).write(path)
    with pytest.raises(NeurovisError, match="5 of 40 images have no vector, the first is 'i35'"):
        Target(embeddings=str(path)).vectors(stimuli(), SPLIT, tmp_path)


# ---- views


@pytest.fixture
def drawn(tmp_path):
    """Stimuli of which there are pictures."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for image in IMAGES:
        pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((24, 24)).save(tmp_path / f"{image}.png")
    stimuli().write(tmp_path / "stimuli.csv")
    return Stimuli.read(tmp_path / "stimuli.csv")


PLAIN = {"encoder": "pixels", "centre": False}


def embedded(config, drawn, tmp_path):
    from neurovis.images import embed

    return Embeddings.read(embed(config, drawn, tmp_path, quiet=True) / "embeddings.h5").vector


def through(view):
    return {"name": "viewed", "encoder": "pixels", "view": view}


def test_views_are_averaged_in_training_alone_or_in_the_gallery_too(drawn, tmp_path):
    views = ["blur", {"name": "mosaic", "side": 3}]
    mean = np.mean([embedded(through(view), drawn, tmp_path) for view in views], 0)
    for gallery in ("plain", "views"):
        target = Target(**PLAIN, views=views, gallery=gallery)
        (trained,) = target.training(drawn, SPLIT, tmp_path, quiet=True)
        np.testing.assert_allclose(trained.vector, mean, atol=1e-6)
        found = target.vectors(drawn, SPLIT, tmp_path, quiet=True)
        expected = mean if gallery == "views" else embedded("pixels", drawn, tmp_path)
        np.testing.assert_allclose(found.vector, expected, atol=1e-6)
        about = found.encoder["target"]
        assert about["trained"] == ["blur", "mosaic-side=3"]
        assert about["gallery"] == gallery
        said = altered(found.encoder)
        assert (
            said
            == {
                "plain": "; plain pictures, trained on blur and mosaic-side=3",
                "views": "; mean over views blur (kernel=51, sigma=0.0, reference=224), mosaic (side=3)",
            }[gallery]
        )


def test_levels_share_scales_and_have_their_own_centre(drawn, tmp_path):
    views = [{"name": "low_resolution", "side": side} for side in (20, 3, 1)]
    target = Target(encoder="pixels", components=4, whiten=1.0, adaptive={"views": views})
    levels = target.training(drawn, SPLIT, tmp_path, quiet=True)
    gallery = target.vectors(drawn, SPLIT, tmp_path, quiet=True)
    sides = [embedded(through(view), drawn, tmp_path) for view in views]
    model = PCA(4).fit(sides[1][:SEEN].astype(float))
    plain = embedded("pixels", drawn, tmp_path)
    for found, side in zip([*levels, gallery], [*sides, plain]):
        centred = side - side[:SEEN].mean(0)
        expected = centred @ model.components_.T / np.sqrt(model.explained_variance_)
        sign = np.sign((found.vector * expected).sum(0))
        np.testing.assert_allclose(found.vector * sign, expected, atol=2e-2)
        np.testing.assert_allclose(found.vector[:SEEN].mean(0), 0, atol=1e-4)
    assert gallery.encoder["target"]["gallery"] == "plain"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"views": ["blur"], "adaptive": {}}, "give one"),
        ({"views": ["blur"], "embeddings": "x.h5"}, "leave one of both out"),
        ({"gallery": "views"}, "no views are given"),
        ({"adaptive": {"views": ["blur", "fovea"]}}, "odd number of views"),
        ({"views": ["blurr"]}, "did you mean 'blur'"),
    ],
)
def test_views_that_do_not_go_together(options, says):
    with pytest.raises(UsageError, match=says):
        build(Target, options)


def test_targets_of_before_keep_their_fingerprint():
    """Options that came later are not in it while they are not used."""
    plain = to_dict(Target(), how_too=False)
    assert set(plain) == {"encoder", "centre", "components", "whiten"}
    assert fingerprint(Target()) != fingerprint(Target(views=["blur"]))
    assert fingerprint(Target(views=["blur"])) != fingerprint(Target(views=["fovea"]))
    assert fingerprint(Target()) == fingerprint(plain)
    assert "projection" in to_dict(Experiment(), how_too=False)


def test_galleries_of_texts_and_views_say_so():
    text = {"name": "open_clip_text", "template": "a {concept}"}
    viewed = {"name": "viewed", "view": {"name": "mosaic", "side": 4}, "encoder": {}}
    assert altered(text) == "; texts 'a {concept}'"
    assert altered(viewed) == "; pictures seen through mosaic (side=4)"
    assert altered({"name": "hog"}) == altered({}) == ""
    both = {"name": "joint", "targets": {"a": text, "b": {"name": "hog"}}}
    assert altered(both) == "; texts 'a {concept}' [a]"
