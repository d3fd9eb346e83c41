"""What a simulated brain responds to: pictures in, standardised source features out.

Three stages with different contents. Early: contrast, orientation energy and colour opponency in a
centre and two rings of the visual field. Intermediate: how orientations and scales go together
within each quadrant, and the statistics of colour. Late: the meaning of the concept, with a little
of the picture as a whole. A compressive nonlinearity follows; the brain is linear in the outcome,
so that an observer who knows these features knows everything but their weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurovis.errors import NeurovisError

SIZE = 64
EXPONENT = 0.7
STAGES = ("early", "intermediate", "late")
ORIENTATIONS = np.deg2rad([0, 45, 90, 135])
CENTRES = np.array(
    [(0.0, 0.0)]
    + [(0.34 * np.cos(a), 0.34 * np.sin(a)) for a in np.deg2rad([45, 135, 225, 315])]
    + [(0.78 * np.cos(a), 0.78 * np.sin(a)) for a in np.deg2rad([45, 135, 225, 315])]
)
"""Pooling fields (field, xy) of the early stage, in half picture widths, y up."""


@dataclass(frozen=True)
class Features:
    """Source features of a set of pictures.

    Parameters
    ----------
    z : array (image, feature), float32
        Standardised over the training images.
    image : array (image,) of str
    stage : array (feature,) of str
        ``early``, ``intermediate`` or ``late``; ``modulated`` in what `modulated` gives.
    field : array (feature,) of int
        Pooling field of an early feature (row of `CENTRES`), -1 elsewhere.
    """

    z: np.ndarray
    image: np.ndarray
    stage: np.ndarray
    field: np.ndarray


def source_features(
    pictures: np.ndarray, meaning: np.ndarray, image: Sequence[str], train: np.ndarray
) -> Features:
    """Features that drive the simulated sources.

    Parameters
    ----------
    pictures : array (image, height, width, colour), uint8
        Square pictures of `SIZE` pixels.
    meaning : array (image, dim)
        Semantic vector of each picture's concept.
    image : sequence of str
    train : array (image,) of bool
        Images over which features are standardised.

    Returns
    -------
    Features

    Raises
    ------
    NeurovisError
        If the pictures have another size or there are fewer than two training images.
    """
    if pictures.shape[1:] != (SIZE, SIZE, 3):
        raise NeurovisError(
            f"pictures: expected (image, {SIZE}, {SIZE}, 3), found {pictures.shape}; resize them."
        )
    if train.sum() < 2:
        raise NeurovisError(
            f"train: expected two or more training images, found {int(train.sum())}; add some."
        )
    early, intermediate, whole = [], [], []
    for start in range(0, len(pictures), 128):
        parts = _picture_features(pictures[start : start + 128].astype(np.float32) / 255)
        for store, part in zip((early, intermediate, whole), parts, strict=True):
            store.append(part)
    early, intermediate, whole = (np.concatenate(x) for x in (early, intermediate, whole))
    late = np.concatenate([meaning.astype(np.float32), whole], axis=1)
    raw = np.concatenate([early, intermediate, late], axis=1)
    z = _standardise(raw, train)
    z = _standardise(np.sign(z) * np.abs(z) ** EXPONENT, train)
    stage = np.repeat(STAGES, [early.shape[1], intermediate.shape[1], late.shape[1]])
    field = np.full(z.shape[1], -1)
    field[: early.shape[1]] = np.tile(np.arange(len(CENTRES)), early.shape[1] // len(CENTRES))
    return Features(z.astype(np.float32), np.asarray(image, dtype=str), stage, field)


def modulated(features: Features, direction: np.ndarray) -> Features:
    """The same features, and behind them the early ones with a sign that what is shown decides.

    A brain that is linear in these answers to the picture's look more, or less, by what it shows:
    no sum over windows and channels alone gives that.

    Parameters
    ----------
    features : Features
    direction : array (late feature,)
        Its side decides the sign.
    """
    late, early = features.stage == "late", features.stage == "early"
    sign = np.where(features.z[:, late] @ direction > 0, 1.0, -1.0)
    product = features.z[:, early] * sign[:, None]
    product = _standardise(product, np.ones(len(product), bool)).astype(np.float32)
    return Features(
        np.concatenate([features.z, product], 1),
        features.image,
        np.concatenate([features.stage, np.repeat("modulated", product.shape[1])]),
        np.concatenate([features.field, np.full(product.shape[1], -1)]),
    )


def read_pictures(files: Iterable[Path]) -> np.ndarray:
    """Read pictures at the size of the simulated retina.

    Returns
    -------
    array (image, height, width, colour), uint8
    """
    from PIL import Image

    pictures = []
    for file in files:
        with Image.open(file) as picture:
            small = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX)
            pictures.append(np.asarray(small))
    return np.stack(pictures)


def _standardise(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    spread = values[train].std(0)
    return (values - values[train].mean(0)) / np.where(spread > 1e-6, spread, 1.0)


def _picture_features(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw early, intermediate and whole-picture features of one block of pictures."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    light = 0.3 * red + 0.59 * green + 0.11 * blue
    red_green, blue_yellow = red - green, blue - (red + green) / 2
    fine, coarse = (_energy(light, cycles) for cycles in (12.0, 5.0))
    contrast = np.sqrt(fine.mean(1) ** 2 + coarse.mean(1) ** 2)
    maps = np.stack([light, contrast, red_green, blue_yellow], 1)
    maps = np.concatenate([maps, (fine + coarse) / 2], 1)
    pool = _pooling_fields()
    early = np.einsum("nmhw,phw->nmp", maps, pool, optimize=True)

    quadrants = _quadrants()
    saturation = rgb.max(-1) - rgb.min(-1)
    scale = np.log((fine.mean(1) + 0.01) / (coarse.mean(1) + 0.01))
    surface = np.stack([scale, saturation, red_green * saturation, blue_yellow * saturation], 1)
    surface = np.einsum("nmhw,qhw->nmq", surface, quadrants, optimize=True)
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    crossing = np.stack([np.sqrt(coarse[:, a] * coarse[:, b]) for a, b in pairs], 1)
    crossing = crossing.mean((2, 3)) / (coarse.mean((1, 2, 3))[:, None] + 0.01)
    across = (fine * coarse).mean((2, 3)) / (fine.mean((1, 2, 3))[:, None] + 0.01)
    spread = np.stack([light, red_green, blue_yellow, saturation], 1).std((2, 3))
    intermediate = np.concatenate([surface.reshape(len(rgb), -1), crossing, across, spread], 1)
    whole = np.stack(
        [light.mean((1, 2)), saturation.mean((1, 2)), contrast.mean((1, 2)), contrast.std((1, 2))],
        axis=1,
    )
    return early.reshape(len(rgb), -1), intermediate, whole


def _energy(light: np.ndarray, cycles: float) -> np.ndarray:
    """Orientation energy (image, orientation, height, width) of one-sided log-Gabor filters."""
    from scipy import fft

    y, x = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij")
    radius = np.hypot(x, y) * SIZE
    radius[0, 0] = 1
    radial = np.exp(-(np.log(radius / cycles) ** 2) / (2 * 0.45**2))
    radial[0, 0] = 0
    turn = np.arctan2(y, x)[None] - ORIENTATIONS[:, None, None]
    turn = np.angle(np.exp(1j * turn))
    bank = (2 * radial * np.exp(-(turn**2) / (2 * 0.5**2))).astype(np.complex64)
    spectrum = fft.fft2(light.astype(np.complex64))
    return np.abs(fft.ifft2(spectrum[:, None] * bank)).astype(np.float32)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    return np.meshgrid(axis, -axis)


def _pooling_fields() -> np.ndarray:
    x, y = _grid()
    distance = (x - CENTRES[:, 0, None, None]) ** 2 + (y - CENTRES[:, 1, None, None]) ** 2
    width = np.array([0.17] + [0.2] * 4 + [0.3] * 4)[:, None, None]
    fields = np.exp(-distance / (2 * width**2))
    return (fields / fields.sum((1, 2), keepdims=True)).astype(np.float32)


def _quadrants() -> np.ndarray:
    x, y = _grid()
    masks = np.stack([(x * sx > 0) & (y * sy > 0) for sx in (1, -1) for sy in (1, -1)])
    return (masks / masks.sum((1, 2), keepdims=True)).astype(np.float32)
