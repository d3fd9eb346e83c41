"""Targets: centred and reduced by what the training images alone say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from neurovis.errors import NeurovisError
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
