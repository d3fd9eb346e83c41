"""Views: each transform against an independent computation, and encoders behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from neurovis.config import components, fingerprint
from neurovis.errors import NeurovisError
from neurovis.images import embed, encoder
from neurovis.images.views import (
    Blur,
    Crop,
    Fovea,
    LowResolution,
    Mosaic,
    Noise,
    Plain,
    View,
)
from neurovis.records import Embeddings, Stimuli

VIEWS = sorted(components(View))


def pixels(height=60, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def seen(view, array):
    return np.asarray(view(Image.fromarray(array)), np.float64)


def torch_blur(array, kernel, sigma):
    from torchvision.transforms.functional import gaussian_blur

    image = torch.from_numpy(array.astype(np.float64).transpose(2, 0, 1))
    return (
        gaussian_blur(image, [kernel, kernel], sigma and [sigma, sigma]).numpy().transpose(1, 2, 0)
    )


def test_blur_is_torchvision_s_at_the_reference_size():
    """With the published kernel, and torchvision's rule for the deviation it goes with."""
    array = pixels(224, 300)
    np.testing.assert_allclose(seen(Blur(), array), torch_blur(array, 51, None), atol=0.51)
    other = seen(Blur(kernel=15, sigma=2.5), array)
    np.testing.assert_allclose(other, torch_blur(array, 15, 2.5), atol=0.51)


def test_blur_is_scipy_s_where_the_kernel_is_long():
    array = pixels()
    expected = gaussian_filter(array.astype(float), (2, 2, 0), mode="mirror", truncate=10)
    found = seen(Blur(kernel=41, sigma=2, reference=0), array)
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_blur_is_the_same_share_of_a_larger_picture():
    small = np.asarray(Image.fromarray(pixels(56, 56)).resize((112, 112)))
    large = np.asarray(Image.fromarray(small).resize((448, 448), Image.Resampling.BICUBIC))
    one, two = seen(Blur(), small), Image.fromarray(seen(Blur(), large).astype(np.uint8))
    shrunk = np.asarray(two.resize((112, 112), Image.Resampling.BOX), float)
    assert np.abs(one - shrunk).mean() < 2


def test_the_fovea_is_sharper_in_the_middle():
    array = pixels(225, 225)
    blurred = torch_blur(array, 51, None)
    y, x = np.mgrid[-112:113, -112:113]
    weight = 0.5 * np.exp(-3 * np.hypot(x, y) / np.hypot(112, 112))[..., None]
    found = seen(Fovea(reference=225), array)
    np.testing.assert_allclose(found, weight * array + (1 - weight) * blurred, atol=0.51)
    assert np.array_equal(seen(Fovea(peak=0), array), seen(Blur(), array))
    assert np.array_equal(seen(Fovea(peak=1, decay=0), array), array)


def test_a_mosaic_is_block_means():
    array = pixels(64, 96)
    blocks = array.reshape(8, 8, 12, 8, 3).mean((1, 3), dtype=float)
    expected = np.repeat(np.repeat(blocks, 8, 0), 8, 1)
    # averaged along one axis after the other, each rounded to a byte
    np.testing.assert_allclose(seen(Mosaic(side=8), array), expected, atol=1.01)


def test_low_resolution_keeps_what_is_coarse():
    array = pixels(64, 96)
    small = Image.fromarray(array).resize((12, 8), Image.Resampling.BOX)
    expected = np.asarray(small.resize((96, 64), Image.Resampling.BICUBIC), float)
    np.testing.assert_array_equal(seen(LowResolution(side=8), array), expected)
    assert np.array_equal(seen(LowResolution(side=64), array), array)


def test_a_crop_is_that_part():
    array = pixels(40, 80)
    expected = np.asarray(
        Image.fromarray(array[20:, 40:]).resize((80, 40), Image.Resampling.BICUBIC), float
    )
    found = seen(Crop(share=0.5, x=1, y=1), array)
    np.testing.assert_allclose(found[6:, 8:], expected[6:, 8:], atol=1)
    assert np.array_equal(seen(Crop(share=1), array), array)


def test_noise_has_its_deviation_and_belongs_to_the_picture():
    gray = np.full((200, 200, 3), 128, np.uint8)
    found = seen(Noise(deviation=0.1), gray)
    assert abs(found.std() - 25.5) < 0.3
    assert abs(found.mean() - 128) < 0.5
    assert np.array_equal(found, seen(Noise(), gray))
    other = gray.copy()
    other[0, 0] = 0
    assert np.abs(seen(Noise(), other) - found)[1:].mean() > 10
    assert np.abs(seen(Noise(seed=1), gray) - found).mean() > 10


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(VIEWS), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_every_view_keeps_size_and_input_and_repeats_itself(name, height, width, seed):
    view = components(View)[name]()
    array = pixels(height, width, seed)
    picture = Image.fromarray(array)
    first, again = view(picture), view(picture)
    assert first.size == picture.size
    assert first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert np.array_equal(np.asarray(picture), array)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(VIEWS), st.integers(0, 255))
def test_an_even_picture_stays_even(name, value):
    array = np.full((30, 20, 3), value, np.uint8)
    found = seen(components(View)[name](), array)
    if name == "noise":
        assert abs(found.mean() - value) < 30
    else:
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "blur", "kernel": 50}, "odd number of pixels, found 50"),
        ({"name": "blur", "kernal": 51}, "did you mean 'kernel'"),
        ({"name": "crop", "share": 0}, "greater than 0"),
        ({"name": "mosaik"}, "did you mean 'mosaic'"),
    ],
)
def test_wrong_views_are_refused(options, says):
    with pytest.raises(NeurovisError, match=says) as error:
        encoder({"name": "viewed", "encoder": "hog", "view": options})
    assert "\n" not in str(error.value)


# ---- encoders behind views


@pytest.fixture
def stimuli(tmp_path):
    (tmp_path / "pictures").mkdir()
    for i in range(4):
        Image.fromarray(pixels(40, 48, i)).save(tmp_path / "pictures" / f"{i}.png")
    ids, zero = [f"i{i}" for i in range(4)], [0] * 4
    paths = [f"pictures/{i}.png" for i in range(4)]
    Stimuli(ids, paths, [""] * 4, zero, zero, ids, ["train"] * 4).write(tmp_path / "stimuli.csv")
    return Stimuli.read(tmp_path / "stimuli.csv")


def test_an_encoder_behind_a_view_sees_the_changed_picture(stimuli, tmp_path):
    view = {"name": "mosaic", "side": 4}
    folder = embed(
        {"name": "viewed", "encoder": "pixels", "view": view}, stimuli, tmp_path, quiet=True
    )
    found = Embeddings.read(folder / "embeddings.h5")
    plain = encoder("pixels").build()
    for i in range(4):
        picture = Mosaic(side=4)(Image.open(stimuli.files(i)[0]))
        expected = plain.embed(plain.prepare(picture)[None])[0]
        np.testing.assert_array_equal(found.vector[i], expected)
    assert found.encoder["view"] == {"name": "mosaic", "side": 4}
    assert found.encoder["encoder"]["name"] == "pixels"
    assert "pixels-mosaic-side-4" in folder.name
    sharp = embed("pixels", stimuli, tmp_path, quiet=True)
    assert sharp.name.startswith("pixels-")
    assert not np.array_equal(Embeddings.read(sharp / "embeddings.h5").vector, found.vector)


def test_views_enter_the_fingerprint():
    def named(**view):
        return encoder({"name": "viewed", "encoder": "gabor", "view": view})

    prints = {
        fingerprint(named(**view).identity(""))
        for view in ({"name": "blur"}, {"name": "blur", "kernel": 45}, {"name": "fovea"})
    }
    assert len(prints | {fingerprint(encoder("gabor").identity(""))}) == 4
    assert named(name="blur", kernel=45).label == "gabor-blur-kernel=45"
    assert named(name="plain").view == Plain()
    assert isinstance(named(name="noise").view, Noise)
