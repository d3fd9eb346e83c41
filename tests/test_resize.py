"""Bilinear resizing against torchvision and against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import Resize

from neurovis.resize import bilinear, weights


@pytest.mark.parametrize("shape", [(64, 64), (17, 40), (300, 260), (1, 5)])
@pytest.mark.parametrize("sizes", [(256,), (256, 425), (256, 224), (32, 7)])
def test_it_equals_torchvision_without_antialias(shape, sizes):
    pictures = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).double() / 255
    for size in sizes:
        x = Resize((size, size), antialias=False)(x)
    found = bilinear(pictures, *sizes)
    assert found.shape == (2, sizes[-1], sizes[-1], 3)
    np.testing.assert_allclose(found, x.permute(0, 2, 3, 1).numpy(), atol=1e-6)


@pytest.mark.parametrize(("n_in", "n_out"), [(3, 8), (8, 3), (5, 5), (1, 4)])
def test_weights_interpolate_between_the_middles_of_pixels(n_in, n_out):
    found = weights(n_in, (n_out,)).toarray()
    for row in range(n_out):
        place = min(max((row + 0.5) * n_in / n_out - 0.5, 0), n_in - 1)
        expected = [max(0.0, 1 - abs(place - column)) for column in range(n_in)]
        np.testing.assert_allclose(found[row], expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_one_colour_stays_and_the_own_size_changes_nothing():
    flat = np.full((1, 30, 50, 3), 77, np.uint8)
    np.testing.assert_allclose(bilinear(flat, 256, 425), 77 / 255, atol=1e-12)
    picture = np.random.default_rng(1).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8)
    np.testing.assert_allclose(bilinear(picture, 24), picture / 255, atol=1e-12)
