"""Maps without weights: what stands where in the picture stands there in the map."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from neurovis.errors import UsageError
from neurovis.images import encoder
from neurovis.images.maps import Maps


def said(picture, **options):
    config = Maps(**options)
    built = config.build()
    found = built.embed(built.prepare(picture)[None])
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    return found[0].reshape(config.grid, config.grid, -1)


def test_places_and_channels():
    pixels = np.full((96, 96, 3), 128, np.uint8)
    pixels[:32, 64:] = (255, 0, 0)
    found = said(Image.fromarray(pixels), grid=6, parts=("rgb",))
    red = found[..., 0] - found[..., 1]
    assert np.unravel_index(red.argmax(), red.shape) in [(0, 5), (0, 4), (1, 5), (1, 4)]
    assert abs(red[5, 0]) < 1e-3
    assert said(Image.fromarray(pixels), grid=6).shape == (6, 6, 2 * 4 + 2 + 3)


def test_energy_follows_orientation_and_place():
    x = np.arange(96)
    pixels = np.full((96, 96), 128.0)
    pixels[:, :48] += 100 * np.sin(2 * np.pi * x[:48] / 8)
    found = said(Image.fromarray(pixels.astype(np.uint8)).convert("RGB"), grid=4, parts=("energy",))
    assert found.shape == (4, 4, 8)
    assert (found[:, 0, 0] > 5 * found[:, 3, 0]).all()  # upright lines on the left alone
    assert (found[:, 0, 0] > 3 * found[:, 0, 2]).all()


def test_options_are_checked():
    assert encoder("{name: maps, grid: 8, parts: [rgb]}").label == "maps-8-rgb"
    for wrong in ({"parts": ()}, {"parts": ("rgb", "rgb")}, {"grid": 200}, {"wavelengths": (1.0,)}):
        with pytest.raises(UsageError):
            encoder({"name": "maps", **wrong})
