"""Features without weights against direct computations, and properties that every feature has."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from neurovis.config import components, resolve, to_dict
from neurovis.errors import UsageError
from neurovis.images import ImageEncoder, encoder, open_picture
from neurovis.images.classical import (
    Classical,
    Color,
    Feature,
    Gabor,
    Hog,
    Pixels,
    dead_leaves,
    luminance,
    opponent,
    windows,
)

FEATURES = sorted(n for n, c in components(ImageEncoder).items() if issubclass(c, Feature))
LEAVES = dead_leaves(6, 96)


def grating(wavelength: float, angle: float, contrast: float, phase: float = 0.3) -> np.ndarray:
    """array (1, 3, 96, 96) around gray."""
    y, x = np.mgrid[:96, :96]
    wave = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength + phase)
    return np.broadcast_to(0.5 + contrast * wave, (1, 3, 96, 96)).astype(np.float32)


@pytest.mark.parametrize("name", FEATURES)
def test_one_is_the_same_as_many_in_any_order(name):
    feature = encoder(name)
    many = feature.features(LEAVES)
    assert many.dtype == np.float32
    assert many.ndim == (3 if name == "maps" else 2)
    assert np.isfinite(many).all()
    assert len(np.unique(many.reshape(len(many), -1), axis=0)) == len(many)
    for i in range(len(LEAVES)):
        np.testing.assert_array_equal(feature.features(LEAVES[i : i + 1])[0], many[i])
    np.testing.assert_array_equal(feature.features(LEAVES[::-1]), many[::-1])


@pytest.mark.parametrize("name", FEATURES)
def test_blank_pictures_are_finite_and_input_is_untouched(name):
    images = np.stack([np.full((3, 96, 96), v, np.float32) for v in (0.0, 0.5, 1.0)])
    before = images.copy()
    assert np.isfinite(encoder(name).features(images)).all()
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", FEATURES)
def test_config_round_trip(name):
    feature = encoder(name)
    assert resolve(ImageEncoder, to_dict(feature)) == feature


@pytest.mark.parametrize("size", [64, 97, 100, 130])
def test_any_size_sees_the_same(size):
    """A grating of as many cycles per picture gives the same at every size."""
    x = np.arange(size) / size
    wave = 0.5 + 0.3 * np.cos(2 * np.pi * 8 * x)
    image = np.broadcast_to(wave, (1, 3, size, size)).astype(np.float32)
    gabor = Gabor(
        size=size, wavelengths=(size / 8, size / 4), grids=(3, 3), bandwidth=0.4, texture=False
    )
    found = gabor.features(image)[0].reshape(2, 6, 3, 3)
    np.testing.assert_allclose(found[0, 0], 0.3, rtol=0.03)
    assert found[1].max() < 0.06


def test_working_dimension_of_the_default():
    assert 500 <= encoder("classical").features(LEAVES[:1]).shape[1] <= 1500


@pytest.mark.parametrize(("index", "grid"), [(0, 6), (1, 6), (2, 4)])
def test_gabor_is_a_direct_convolution(index, grid):
    """Energy of an explicit pair of kernels, by a sum over space, in explicit windows."""
    from scipy.signal import fftconvolve

    gabor = Gabor(texture=False)
    wavelength, n = gabor.wavelengths[index], gabor.n_orientations
    border = 64  # mirrored further than any kernel reaches
    screen = np.pad(luminance(LEAVES[:1])[0].astype(float), border, mode="symmetric")
    sigma = 0.56 * wavelength
    y, x = np.mgrid[-border : border + 1, -border : border + 1]
    envelope = np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    expected = []
    for k in range(n):
        angle = np.pi * k / n
        along = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength
        constant = (envelope * np.cos(along)).sum() / envelope.sum()
        even = 2 * envelope * (np.cos(along) - constant)
        odd = 2 * envelope * np.sin(along)
        energy = sum(fftconvolve(screen, kernel, "same") ** 2 for kernel in (even, odd))
        inside = energy[border:-border, border:-border]
        weight = windows(grid, 96).astype(float)
        expected.append(np.sqrt(weight @ inside @ weight.T))
    start = sum(n * g * g for g in gabor.grids[:index])
    found = gabor.features(LEAVES[:1])[0, start : start + n * grid * grid].reshape(n, grid, grid)
    expected = np.array(expected)
    # coarse maps are sampled every few pixels and end at a nearer mirror
    assert np.abs(found - expected).max() < (0.005, 0.015, 0.03)[index] * expected.max()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


@settings(max_examples=20, deadline=None)
@given(
    index=st.integers(0, 2),
    orientation=st.integers(0, 5),
    contrast=st.floats(0.05, 0.45),
    phase=st.floats(0, 6.28),
)
def test_gabor_gives_the_contrast_of_its_grating_whatever_the_phase(
    index, orientation, contrast, phase
):
    gabor = Gabor(texture=False)
    wave = grating(gabor.wavelengths[index], np.pi * orientation / 6, contrast, phase)
    maps = [energy[0].mean(axis=(1, 2)) for energy in gabor.energy(wave)]
    middle = np.sqrt(gabor.energy(wave)[index][0])
    quarter = slice(middle.shape[1] // 3, -middle.shape[1] // 3)
    best = [np.argmax([m.max() for m in maps]), np.argmax(maps[index])]
    assert best == [index, orientation]
    assert np.allclose(middle[orientation][quarter, quarter], contrast, rtol=0.05)


def test_normalised_gabor_ignores_contrast():
    weak, strong = (grating(8, 0.5, c) for c in (0.2, 0.4))
    gabor = Gabor(normalise=True, texture=False)
    plain = Gabor(texture=False)
    ratio = plain.features(strong).max() / plain.features(weak).max()
    normalised = gabor.features(strong).max() / gabor.features(weak).max()
    assert ratio == pytest.approx(2, rel=1e-3)
    assert 1 <= normalised < 1.15


def test_hog_is_scikit_image():
    from skimage.feature import hog

    found = Hog(cell=16, block=2, orientations=9).features(LEAVES[:2])
    for row, image in zip(found, LEAVES):
        gray = image.transpose(1, 2, 0).astype(np.float64) @ [0.299, 0.587, 0.114]
        expected = hog(gray, 9, (16, 16), (2, 2))
        assert np.abs(row - expected).mean() < 1e-3


def test_pixels_are_window_averages():
    found = Pixels(side=4, color=False).features(LEAVES[:1])[0].reshape(4, 4)
    weight = windows(4, 96)
    expected = np.einsum("iy,jx,yx->ij", weight, weight, luminance(LEAVES[:1])[0] - 128 / 255)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(weight.sum(axis=1), 1, atol=1e-6)


def test_colour_by_hand():
    image = np.zeros((1, 3, 96, 96), np.float32)
    image[0, 0] = 1  # pure red
    assert opponent(image)[0, :, 0, 0] == pytest.approx([2 * 0.299 - 1, 1, -0.5])
    found = Color(grid=2, bins=4).features(image)[0]
    np.testing.assert_allclose(found[4:8], 1, atol=1e-6)  # red against green, four windows
    np.testing.assert_allclose(found[12:24], 0, atol=2e-3)  # no contrast
    shares = (found[24:] / 0.5).reshape(3, 4) ** 2
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert shares[1] == pytest.approx([0, 0, 0, 1])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), bins=st.integers(2, 12))
def test_histograms_share_all_pixels(seed, bins):
    image = np.random.default_rng(seed).random((2, 3, 32, 32)).astype(np.float32)
    found = Color(size=32, grid=1, bins=bins).features(image)
    shares = (found[:, 6:] * 4).reshape(2, 3, bins) ** 2
    np.testing.assert_allclose(shares.sum(axis=2), 1, atol=1e-4)
    # places are means of shares: the first moment is that of the pixels
    place = np.sign(opponent(image)) * np.sqrt(np.abs(opponent(image)))
    expected = (place.mean(axis=(2, 3)) + 1) * (bins - 1) / 2
    np.testing.assert_allclose(shares @ np.arange(bins), expected, atol=1e-3)


def test_blocks_of_a_sum_weigh_alike_and_keep_their_order():
    leaves = dead_leaves(96, 96)
    both = encoder("color+pixels").features(leaves)
    color, pixels = both[:, :240], both[:, 240:]
    for block, plain in ((color, Color()), (pixels, Pixels())):
        assert (block**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-3)
        np.testing.assert_allclose(block.mean(axis=0), 0, atol=1e-5)
        rows = plain.features(leaves)
        assert np.corrcoef(block[:, 3], rows[:, 3])[0, 1] == pytest.approx(1, abs=1e-4)


def test_wide_and_transparent_pictures_stand_on_gray(tmp_path):
    from PIL import Image

    wide = np.asarray(Pixels().prepare(Image.new("RGB", (200, 100), (255, 0, 0))))
    assert wide.shape == (3, 96, 96)
    assert wide[:, 48, 48] == pytest.approx([1, 0, 0])
    assert wide[:, 2, 48] == pytest.approx(128 / 255)
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png").getpixel((4, 4)) == (128, 128, 128)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "gabor", "wavelengths": (8.0,)}, "one grid per wavelength"),
        ({"name": "gabor", "wavelengths": (4.0, 80.0), "grids": (4, 4)}, "size/2"),
        ({"name": "hog", "cell": 64, "block": 2}, "does not fit"),
        ({"name": "classical", "parts": ["hog", "classical"]}, "cannot be part"),
        ({"name": "classical", "parts": [{"name": "hog", "size": 64}]}, "size 96"),
        ({"name": "classical", "parts": []}, "at least one"),
        ({"name": "hog", "cel": 8}, "did you mean 'cell'"),
    ],
)
def test_wrong_options_are_said(options, says):
    with pytest.raises(UsageError, match=says):
        encoder(options)


def test_photographs_differ_more_than_copies_of_them(real_data):
    """A mirrored or slightly darker copy is nearer to its picture than any other picture is."""
    files = sorted((real_data / "photos" / "kodak").glob("*.png"))[:10]
    classical = Classical()
    images = np.stack([classical.prepare(open_picture(f)) for f in files])
    rows, darker = classical.features(images), classical.features(images * 0.9)
    distance = np.linalg.norm(rows[:, None] - darker[None], axis=2)
    assert (distance.argmin(axis=1) == np.arange(len(files))).all()


@pytest.mark.parametrize(
    ("side", "size", "color"), [(8, 96, True), (10, 160, False), (10, 96, True), (32, 96, False)]
)
def test_pixels_lead_back_to_the_picture(side, size, color):
    """A picture of even squares is blurred by overlapping windows, and unblurred."""
    rng = np.random.default_rng(0)
    pixels = Pixels(side=side, size=size, color=color)
    squares = rng.random((3, 3 if color else 1, side, side))
    edge = np.arange(size + 1) * side / size
    # area of every square in every pixel, by its definition
    share = np.array(
        [
            [max(0.0, min(edge[i + 1], j + 1) - max(edge[i], j)) for j in range(side)]
            for i in range(size)
        ]
    )
    share /= share.sum(axis=1, keepdims=True)
    screens = np.broadcast_to(share @ squares @ share.T, (3, 3, size, size))
    found = pixels.pictures(pixels.features(screens.astype(np.float32)))
    assert found.shape == (3, side, side, 3)
    assert found.dtype == np.uint8
    expected = np.broadcast_to(255 * squares.transpose(0, 2, 3, 1), found.shape)
    assert np.abs(found - expected).max() <= 1.0


def test_encoders_without_an_inverse_say_so():
    assert Pixels.invertible
    assert not Gabor.invertible
    with pytest.raises(UsageError, match="gabor: has no inverse"):
        Gabor().pictures(np.zeros((1, 5)))
    with pytest.raises(
        UsageError, match=r"pixels: expected vectors \(image, dim=64\), found \(2, 192\)"
    ):
        Pixels(color=False).pictures(np.zeros((2, 192)))
    bright = Pixels(side=4, color=False).pictures(np.full((1, 16), 9.0))
    assert (bright == 255).all()
