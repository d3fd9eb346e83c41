"""``world:kinds``: what kind of thing is in a picture of the image world, with small shipped weights.

Comes in: a picture. Goes out: probabilities of its family (animal, vehicle, ... by shape) and superclass, which
say of things never seen in training what they are alike. A perceptron reads them from features without
weights; ``experiments/world/kinds.py`` trained it, and the card beside the weights says on what and how well.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.images.base import Encoder, ImageEncoder
from neurovis.images.classical import Color, Feature, Gabor, Hog

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 64
PARTS: tuple[Feature, ...] = (
    Color(size=SIZE, grid=4),
    Gabor(size=SIZE, wavelengths=(4.0, 8.0, 16.0), grids=(8, 8, 6)),
    Hog(size=SIZE, cell=8, block=1, orientations=8),
)
HEADS = ("family", "superclass")
WEIGHTS = Path(__file__).resolve().parents[1] / "world" / "weights" / "kinds.safetensors"


class Kinds(ImageEncoder, name="world_kinds"):
    """Probabilities of families and superclasses of the image world; named ``world:kinds``.

    It has learned from drawings of this world alone, and is of no use for photographs.
    """

    @property
    def label(self) -> str:
        return "world-kinds"

    def build(self) -> Encoder:
        """Read the shipped weights."""
        weights = read_weights()
        return Encoder(
            prepare=self.prepare,
            embed=lambda images: read_out(weights, self.plain(images)),
            weights=hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(),
        )

    def prepare(self, picture: Image) -> np.ndarray:
        """Fit a picture into the screen: array (3, size, size) float32 in 0..1."""
        return PARTS[0].prepare(picture)

    def plain(self, images: np.ndarray) -> np.ndarray:
        """Features that the perceptron reads.

        Parameters
        ----------
        images : array (image, 3, size, size), 0..1

        Returns
        -------
        array (image, feature) float32
        """
        parts = [part.features(images) for part in PARTS]
        return np.concatenate(parts, axis=1).astype(np.float32)


@lru_cache(maxsize=1)
def read_weights() -> dict[str, np.ndarray]:
    """The shipped weights, float32.

    Raises
    ------
    NeurovisError
        If they are absent or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        stored = load_file(WEIGHTS)
    except (FileNotFoundError, SafetensorError) as error:
        raise NeurovisError(
            f"{WEIGHTS.name}: expected the weights of world:kinds beside the package, found none or "
            f"damaged ones ({error}); install neurovis again."
        ) from None
    return {name: value.astype(np.float32) for name, value in stored.items()}


def read_out(weights: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """What the perceptron says of features.

    Parameters
    ----------
    weights : dict of array
        ``mean``, ``spread`` (feature,), and per layer ``weight`` (out, in) and ``bias`` (out,).
    features : array (image, feature)

    Returns
    -------
    array (image, answer) float32
        Probabilities of families, then of superclasses; each sums to 1.
    """
    from scipy.special import erf, softmax

    x = (features - weights["mean"]) / weights["spread"]
    for layer in ("first", "second"):
        x = x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        x = 0.5 * x * (1 + erf(x / np.sqrt(2)))
    said = [x @ weights[f"{head}.weight"].T + weights[f"{head}.bias"] for head in HEADS]
    return np.concatenate([softmax(one, axis=1) for one in said], axis=1).astype(np.float32)
