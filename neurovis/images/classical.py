"""Features that need no weights: oriented energy, opponent colour, gradients, pixels.

Comes in: pictures on a square gray screen, array (image, 3, size, size) in 0..1. Goes out: array
(image, dim) float32. They say linearly what early and intermediate visual cortex responds to
(oriented energy, local contrast, colour opponency on a retinotopic grid, texture, coarse shape), run
offline and depend on nothing but the picture: no constant is fitted to a data set.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pydantic

from neurovis.errors import UsageError
from neurovis.images.base import GRAY, Encoder, ImageEncoder

if TYPE_CHECKING:
    from PIL.Image import Image

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class Feature(ImageEncoder):
    """A feature of pictures on a square gray screen.

    Parameters
    ----------
    size : int
        Pixels along one side of the screen; pictures are fitted into it whole.
    """

    size: int = pydantic.Field(96, ge=16, le=1024)

    def build(self) -> Encoder:
        """Make the encoder; there is nothing to load."""
        return Encoder(prepare=self.prepare, embed=self.features)

    def prepare(self, picture: Image) -> np.ndarray:
        """Fit a picture into the screen: array (3, size, size) float32 in 0..1."""
        from PIL import Image, ImageOps

        if picture.size != (self.size, self.size):
            picture = ImageOps.pad(
                picture, (self.size, self.size), Image.Resampling.BICUBIC, (GRAY, GRAY, GRAY)
            )
        return np.asarray(picture, np.float32).transpose(2, 0, 1) / np.float32(255)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features of a stack of screens.

        Parameters
        ----------
        images : array (image, 3, size, size), 0..1

        Returns
        -------
        array (image, dim) float32
        """
        raise NotImplementedError


@lru_cache(maxsize=64)
def windows(grid: int, size: int, step: int = 1) -> np.ndarray:
    """Gaussian receptive fields along one axis: array (grid, size / step), rows sum to 1.

    Samples lie at every `step`-th pixel. The standard deviation is half the distance between windows,
    so that a small shift changes little.
    """
    distance = size / grid
    centre = (np.arange(grid) + 0.5) * distance - 0.5
    place = np.arange(0, size, step)
    weight = np.exp(-0.5 * ((place - centre[:, None]) / (0.5 * distance)) ** 2)
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def pool(maps: np.ndarray, grid: int, size: int, step: int = 1) -> np.ndarray:
    """Average maps (..., y, x) of `size` pixels, sampled every `step`: array (..., grid, grid)."""
    window = windows(grid, size, step)
    return window @ maps @ window.T


def luminance(images: np.ndarray) -> np.ndarray:
    """Luma of pictures: array (image, height, width), 0..1."""
    red, green, blue = (images[:, i] * LUMA[i] for i in range(3))
    return red + green + blue


class Gabor(Feature, name="gabor"):
    """Complex cells: quadrature energy of Gabor filters in Gaussian windows on a grid, square-rooted.

    One response is the root of the mean energy in one window, as a population of complex cells of
    one orientation and spatial frequency would give it; a grating of contrast c gives c. Filters are
    applied in the Fourier domain to a mirrored border; coarse ones on a coarse grid of samples, which
    costs a tenth and differs by one to three per cent.

    Parameters
    ----------
    wavelengths : tuple of float, pixels
        From fine to coarse.
    grids : tuple of int
        Windows along one side, per wavelength.
    n_orientations : int
    bandwidth : float
        Standard deviation of the envelope in wavelengths; 0.56 is one octave.
    normalise : bool
        Divide by the root of the energy of all orientations of that wavelength in that window.
    texture : bool
        Add per wavelength how patchy each orientation is and how orientations go together.

    References
    ----------
    Adelson & Bergen 1985, doi:10.1364/JOSAA.2.000284 (energy); Heeger 1992,
    doi:10.1017/S0952523800009640 (normalisation); Portilla & Simoncelli 2000,
    doi:10.1023/A:1026553619983 (texture).
    """

    wavelengths: tuple[pydantic.PositiveFloat, ...] = (4.0, 8.0, 16.0, 32.0)
    grids: tuple[pydantic.PositiveInt, ...] = (6, 6, 4, 3)
    n_orientations: int = pydantic.Field(6, ge=1)
    bandwidth: pydantic.PositiveFloat = 0.56
    normalise: bool = False
    texture: bool = True

    @pydantic.model_validator(mode="after")
    def _check(self) -> Gabor:
        if len(self.grids) != len(self.wavelengths):
            raise UsageError(
                f"gabor: expected one grid per wavelength, found {len(self.grids)} grids and "
                f"{len(self.wavelengths)} wavelengths; give as many of both."
            )
        if min(self.wavelengths) < 3 or max(self.wavelengths) > self.size / 2:
            raise UsageError(
                f"gabor: expected wavelengths from 3 to size/2 = {self.size / 2:g} pixels, found "
                f"{min(self.wavelengths):g} to {max(self.wavelengths):g}; change them or the size."
            )
        return self

    def step(self, wavelength: float) -> int:
        """Pixels between samples of a filter's output: a power of two, at most wavelength / 4."""
        return 2 ** max(0, int(np.floor(np.log2(wavelength / 4))))

    def energy(self, images: np.ndarray) -> list[np.ndarray]:
        """Energy maps per wavelength: arrays (image, orientation, y, x), y and x in steps."""
        parts = [self._energy(image[None]) for image in images]  # one stays in the cache
        return [np.concatenate(maps) for maps in zip(*parts)]

    def _energy(self, image: np.ndarray) -> list[np.ndarray]:
        from scipy import fft

        steps = max(map(self.step, self.wavelengths))
        border = -(-self.size // (3 * steps)) * steps
        side = -(-(self.size + 2 * border) // steps) * steps
        margin = (border, side - self.size - border)
        screen = np.pad(luminance(image)[0], (margin, margin), mode="symmetric")
        spectrum = fft.fft2(screen.astype(np.float32))
        maps = []
        for wavelength in self.wavelengths:
            step = self.step(wavelength)
            n = side // step
            keep = np.fft.fftfreq(n, 1 / n).astype(int) % side
            bank = _bank(side, n, wavelength, self.bandwidth, self.n_orientations)
            inside = slice(border // step, border // step - (-self.size // step))
            response = fft.ifft2(spectrum[keep[:, None], keep] * bank, overwrite_x=True)
            response = response[:, inside, inside]
            maps.append((response.real**2 + response.imag**2)[None])
        return maps

    def features(self, images: np.ndarray) -> np.ndarray:
        maps = self.energy(images)
        blocks, textures = [], []
        for energy, grid, wavelength in zip(maps, self.grids, self.wavelengths):
            pooled = np.sqrt(pool(energy, grid, self.size, self.step(wavelength)))
            if self.normalise:
                local = np.sqrt((pooled**2).sum(axis=1, keepdims=True) + 0.05**2)
                pooled = pooled / local
            blocks.append(pooled.reshape(len(images), -1))
            if self.texture:
                textures.append(_texture(np.sqrt(energy)))
        return np.concatenate(blocks + textures, axis=1)


@lru_cache(maxsize=64)
def _bank(side: int, n: int, wavelength: float, bandwidth: float, n_orientations: int):
    """Transfer functions (orientation, n, n) of complex Gabor filters on the n lowest frequencies.

    Scaled by (n / side)**2, as the inverse FFT of n samples divides by n**2 instead of side**2, and
    so that a grating of amplitude 1 at the centre frequency gives 1. No response to a constant.
    """
    sigma = bandwidth * wavelength
    frequency = np.fft.fftfreq(n, 1 / n) / side
    y, x = frequency[:, None], frequency[None, :]
    angle = np.pi * np.arange(n_orientations)[:, None, None] / n_orientations
    blur = lambda dy, dx: np.exp(-2 * (np.pi * sigma) ** 2 * (dy**2 + dx**2))  # noqa: E731
    carrier = blur(y - np.sin(angle) / wavelength, x - np.cos(angle) / wavelength)
    constant = np.exp(-2 * (np.pi * sigma / wavelength) ** 2)
    return (2 * (n / side) ** 2 * (carrier - constant * blur(y, x))).astype(np.float32)


def _texture(amplitude: np.ndarray) -> np.ndarray:
    """Patchiness of each orientation and correlations between orientations: array (image, dim)."""
    n, n_orientations = amplitude.shape[:2]
    flat = amplitude.reshape(n, n_orientations, -1)
    mean = flat.mean(axis=2, keepdims=True)
    flat = flat - mean
    covariance = flat @ flat.transpose(0, 2, 1) / flat.shape[2]
    spread = np.sqrt(np.maximum(np.einsum("noo->no", covariance), 0))
    # 0.01 of full contrast: below that a picture is blank and its texture undefined
    patchiness = spread / (mean[..., 0] + 0.01)
    pairs = np.array(list(combinations(range(n_orientations), 2)), int).reshape(-1, 2)
    first, second = pairs.T
    scale = (spread[:, first] + 0.01) * (spread[:, second] + 0.01)
    together = covariance[:, first, second] / scale
    # these are numbers near 1 beside contrasts near 0.1: scaled so as not to drown them
    return np.concatenate([patchiness, together], axis=1) / np.float32(n_orientations)


class Color(Feature, name="color"):
    """Opponent colour: mean and contrast in Gaussian windows on a grid, and histograms.

    Lightness, red-green and blue-yellow. Contrasts are standard deviations within a window; the
    histograms (of the whole picture, bins denser near gray) are square-rooted.

    Parameters
    ----------
    grid : int
        Windows along one side.
    bins : int
        Per channel.

    References
    ----------
    van de Sande et al. 2010, doi:10.1109/TPAMI.2009.154 (opponent histograms).
    """

    grid: int = pydantic.Field(6, ge=1)
    bins: int = pydantic.Field(8, ge=2)

    def features(self, images: np.ndarray) -> np.ndarray:
        channels = opponent(images)
        mean = pool(channels, self.grid, self.size)
        contrast = np.sqrt(np.maximum(pool(channels**2, self.grid, self.size) - mean**2, 0))
        histogram = np.sqrt(_histogram(channels, self.bins))
        parts = [mean, contrast, histogram * np.float32(self.grid / 4)]
        return np.concatenate([part.reshape(len(images), -1) for part in parts], axis=1)


def opponent(images: np.ndarray) -> np.ndarray:
    """Lightness, red-green and blue-yellow of pictures: array (image, 3, height, width), -1..1."""
    red, green, blue = images[:, 0], images[:, 1], images[:, 2]
    lightness = 2 * luminance(images) - 1
    return np.stack([lightness, red - green, blue - (red + green) / 2], axis=1)


def _histogram(channels: np.ndarray, bins: int) -> np.ndarray:
    """Shares of pixels per bin, shared between neighbouring bins: array (image, channel, bin)."""
    n, n_channels = channels.shape[:2]
    # the signed root spreads colours near gray, where most of a picture lies
    place = (np.sign(channels) * np.sqrt(np.abs(channels)) + 1) * np.float32((bins - 1) / 2)
    place = np.clip(place, 0, bins - 1).reshape(n * n_channels, -1)
    low = np.minimum(place.astype(np.int64), bins - 2)
    upper = place - low
    row = np.arange(n * n_channels)[:, None] * bins
    size = n * n_channels * bins
    count = np.bincount((row + low).ravel(), (1 - upper).ravel(), size)
    count += np.bincount((row + low + 1).ravel(), upper.ravel(), size)
    return (count / place.shape[1]).reshape(n, n_channels, bins).astype(np.float32)


class Hog(Feature, name="hog"):
    """Histograms of oriented gradients, by scikit-image.

    Parameters
    ----------
    cell : int, pixels
    block : int
        Cells along one side of a block, over which contrast is normalised.
    orientations : int

    References
    ----------
    Dalal & Triggs 2005, doi:10.1109/CVPR.2005.177
    """

    cell: int = pydantic.Field(24, ge=4)
    block: int = pydantic.Field(2, ge=1)
    orientations: int = pydantic.Field(8, ge=2)

    @pydantic.model_validator(mode="after")
    def _check(self) -> Hog:
        if self.size // self.cell < self.block:
            raise UsageError(
                f"hog: a block of {self.block} x {self.block} cells of {self.cell} pixels does not fit "
                f"into {self.size} pixels; choose smaller cells or a larger size."
            )
        return self

    def features(self, images: np.ndarray) -> np.ndarray:
        from skimage.feature import hog

        options = {
            "orientations": self.orientations,
            "pixels_per_cell": (self.cell, self.cell),
            "cells_per_block": (self.block, self.block),
        }
        rows = [hog(image, **options) for image in luminance(images)]
        return np.array(rows, np.float32)


class Pixels(Feature, name="pixels"):
    """The picture itself, at a few pixels, gray being 0.

    Parameters
    ----------
    side : int
        Pixels along one side.
    color : bool
    """

    invertible: ClassVar[bool] = True

    side: int = pydantic.Field(8, ge=1)
    color: bool = True

    def features(self, images: np.ndarray) -> np.ndarray:
        channels = images if self.color else luminance(images)[:, None]
        small = pool(channels - np.float32(GRAY / 255), self.side, self.size)
        return np.ascontiguousarray(small.reshape(len(images), -1))

    def pictures(self, vectors: np.ndarray) -> np.ndarray:
        """The picture of `side` x `side` even squares that has these features, clipped to 0..255.

        Windows overlap, so that a vector is a blurred picture: the blur of such pictures is undone.
        """
        n_channels = 3 if self.color else 1
        if vectors.ndim != 2 or vectors.shape[1] != n_channels * self.side**2:
            raise UsageError(
                f"pixels: expected vectors (image, dim={n_channels * self.side**2}), found {vectors.shape}; use "
                "the side and color that they were made with."
            )
        blurred = np.asarray(vectors, np.float64).reshape(-1, n_channels, self.side, self.side)
        sharpen = np.linalg.inv(windows(self.side, self.size).astype(np.float64) @ self._squares())
        picture = sharpen @ blurred @ sharpen.T + GRAY / 255
        picture = np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:3], 3)))

    def _squares(self) -> np.ndarray:
        """Share of each square in each pixel along one axis: array (size, side)."""
        edge = np.arange(self.size + 1) * self.side / self.size
        low, high = edge[:-1, None], edge[1:, None]
        square = np.arange(self.side)
        inside = np.clip(np.minimum(high, square + 1) - np.maximum(low, square), 0, None)
        return inside / inside.sum(axis=1, keepdims=True)


class Classical(Feature, name="classical"):
    """Several features side by side, each of the same weight; the default target offline.

    Each block is centred on its mean over 96 fixed pictures of dead leaves and divided by the root
    mean square distance from that mean there, so that blocks weigh alike and nothing depends on the
    data set.

    Parameters
    ----------
    parts : tuple of features
        Names or configs.
    """

    parts: tuple[ImageEncoder, ...] = (Gabor(), Color(), Hog(), Pixels())

    @pydantic.model_validator(mode="after")
    def _check(self) -> Classical:
        if not self.parts:
            raise UsageError("classical: expected at least one part, found none; name some.")
        for part in self.parts:
            if not isinstance(part, Feature) or isinstance(part, Classical):
                raise UsageError(
                    f"classical: {part.component!r} cannot be part of a sum, only features without "
                    "weights can: gabor, color, hog, pixels."
                )
            if part.size != self.size:
                raise UsageError(
                    f"classical: expected parts of size {self.size}, found {part.component} of size "
                    f"{part.size}; give all the same size."
                )
        return self

    @property
    def label(self) -> str:
        default = self.parts == type(self).model_fields["parts"].default
        return self.component if default else "+".join(part.component for part in self.parts)

    def features(self, images: np.ndarray) -> np.ndarray:
        blocks = []
        for part in self.parts:
            centre, spread = _on_leaves(part)
            blocks.append((part.features(images) - centre) / spread)
        return np.concatenate(blocks, axis=1)


@lru_cache(maxsize=32)
def _on_leaves(part: Feature) -> tuple[np.ndarray, np.float32]:
    """Mean (dim,) of a feature over dead leaves, and the root mean square distance from it."""
    block = part.features(dead_leaves(96, part.size))
    centre = block.mean(axis=0)
    return centre, np.sqrt(((block - centre) ** 2).sum(axis=1).mean())


def dead_leaves(n: int, size: int) -> np.ndarray:
    """Discs of all sizes that hide one another: array (image, 3, size, size) in 0..1.

    The simplest pictures with the edges, scales and uneven patches of photographs.

    References
    ----------
    Lee, Mumford & Huang 2001, doi:10.1023/A:1011109015675
    """
    rng = np.random.default_rng(0)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    images = np.full((n, 3, size, size), GRAY / 255, np.float32)
    for image in images:
        # radii fall with the cube, which makes the statistics the same at every scale
        radius = 0.03 / np.sqrt(1 - rng.random(120) * (1 - (0.03 / 0.6) ** 2))
        light = rng.normal(rng.normal(0.5, 0.12), rng.uniform(0.05, 0.25), 120)
        tint = rng.normal(0, 0.04, 3) + rng.normal(0, 0.07, (120, 3))
        for r, (cx, cy), color in zip(radius, rng.random((120, 2)), light[:, None] + tint):
            image[:, (x - cx) ** 2 + (y - cy) ** 2 < r**2] = color[:, None]
    return np.clip(images, 0, 1)
