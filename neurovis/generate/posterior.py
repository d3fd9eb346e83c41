"""What embeddings a decoded vector allows, by Bayes' rule, with the training images as what is known before.

Comes in: training images in the decoder's space and in that of embeddings, and what the decoder says of validation
images. Goes out: the mean of the embeddings that a decoded vector allows. Every training image is widened into a
Gaussian of the shape of all of them: of full width, they are one Gaussian and the mean is linear; the narrower, the more
a decoded vector is told from the images that lie near it.

References: West 1993, J. R. Stat. Soc. B 55:409 (kernels about moved points, which keep mean and covariance); Ledoit & Wolf
2004, doi:10.1016/S0047-259X(03)00096-4 (how far a covariance is shrunk).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Tensors = dict[str, np.ndarray]
LEAST = 0.02
"""Variance that is left of any direction where noise is taken off, relative to the mean of all."""
BLOCK = 2**23
"""Rows times images that are looked at together."""


@dataclass(frozen=True, eq=False)
class Images:
    """Training images in both spaces.

    Parameters
    ----------
    aimed : array (image, dim)
        In the decoder's.
    train : array (image, out)
        Embeddings.
    """

    aimed: np.ndarray
    train: np.ndarray

    @cached_property
    def middle(self) -> np.ndarray:
        """Mean in the decoder's space: array (dim,)."""
        return self.aimed.mean(0, dtype=np.float64)

    @cached_property
    def target(self) -> np.ndarray:
        """Mean embedding: array (out,)."""
        return self.train.mean(0, dtype=np.float64)

    @cached_property
    def vector(self) -> np.ndarray:
        """About the mean: array (image, dim) float64."""
        return self.aimed - self.middle

    @cached_property
    def embedding(self) -> np.ndarray:
        """About the mean: array (image, out) float64."""
        return self.train - self.target

    @cached_property
    def covariance(self) -> np.ndarray:
        """Of vectors: array (dim, dim)."""
        return self.vector.T @ self.vector / len(self.vector)

    @cached_property
    def shared(self) -> np.ndarray:
        """Covariance of vectors and embeddings: array (dim, out)."""
        return self.vector.T @ self.embedding / len(self.vector)


class Posterior:
    """The mean of the embeddings that a decoded vector allows.

    A decoded vector is taken for a multiple of its image's vector under Gaussian noise, whose covariance has few rows
    to be estimated from and is shrunk towards that of directions that are all alike.

    Parameters
    ----------
    images : Images
    said, meant : array (row, dim)
        Decoded vectors, and their images' own.
    excess : array (dim, dim), optional
        Noise that `said` has beyond that of the rows to be mapped.
    """

    def __init__(
        self,
        images: Images,
        said: np.ndarray,
        meant: np.ndarray,
        excess: np.ndarray | None = None,
    ):
        from scipy.linalg import eigh

        self.images = images
        said, meant = (np.asarray(a, np.float64) for a in (said, meant))
        x, y = meant - meant.mean(0), said - said.mean(0)
        # a decoder that answers the wrong way round is not turned
        spread = (x**2).sum() or 1.0
        slope = max((x * y).sum(), 1e-3 * np.sqrt(spread * (y**2).sum()), 1e-9) / spread
        noise = _noise(y - slope * x, excess)
        self.start = said.mean(0) - slope * (meant.mean(0) - images.middle)
        # along these axes noise is 1 and images vary by `power`, each by itself
        self.power, self.axes = eigh(slope**2 * images.covariance, noise)
        self.points = slope * (images.vector @ self.axes)
        self.shared = slope * (self.axes.T @ images.shared)

    def __call__(self, vector: np.ndarray, width: float = 1.0) -> np.ndarray:
        """Embeddings (row, out) of decoded vectors (row, dim); `width` of the Gaussians, from 0 to 1."""
        return estimator(self.tensors(width))(vector)

    def tensors(self, width: float = 1.0) -> Tensors:
        """All that `estimator` needs: ``weight`` (dim, out), ``bias`` (out,); unless `width` is 1 also ``whiten``
        (dim, dim), ``points`` (image, dim) and ``near`` (image, out)."""
        images, scale = self.images, 1 / np.sqrt(width**2 * self.power.clip(0) + 1)
        whiten, weight = self.axes * scale, (width**2 * scale)[:, None] * self.shared
        if width == 1:
            weight = whiten @ weight
            return {"weight": weight, "bias": images.target - self.start @ weight}
        moved = np.sqrt(1 - width**2)
        return {
            "weight": weight,
            "bias": images.target,
            "whiten": whiten,
            "points": moved * self.points * scale + self.start @ whiten,
            "near": moved * images.embedding,
        }


def estimator(tensors: Tensors) -> Callable[[np.ndarray], np.ndarray]:
    """Embeddings (row, out) float64 of decoded vectors (row, dim), by what was learned.

    Parameters
    ----------
    tensors : dict of array
        Of `Posterior.tensors`, or an affine map.
    """
    names = ("weight", "bias", "whiten", "points", "near")
    kept = {name: np.asarray(tensors[name], np.float64) for name in names if name in tensors}
    if "points" in kept:
        # what images stand for, and where they lie
        both = np.hstack([kept.pop("near"), kept["points"]])

    def said(vector: np.ndarray) -> np.ndarray:
        vector = np.asarray(vector, np.float64)
        if "points" not in kept:
            return vector @ kept["weight"] + kept["bias"]
        along = vector @ kept["whiten"]
        near, at = np.split(_mean_of_near(along, kept["points"], both), [len(kept["bias"])], axis=1)
        return kept["bias"] + near + (along - at) @ kept["weight"]

    return said


def _mean_of_near(vector: np.ndarray, points: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Mean of values (image, any) for vectors (row, dim), weighed by how likely points (image, dim) make them.

    Points are alike before, noise is 1.
    """
    from scipy.special import softmax

    out, size = np.empty((len(vector), value.shape[1])), max(1, BLOCK // len(points))
    length = (points**2).sum(1) / 2
    for start in range(0, len(vector), size):
        rows = slice(start, start + size)
        out[rows] = softmax(vector[rows] @ points.T - length, axis=1) @ value
    return out


def _noise(rest: np.ndarray, excess: np.ndarray | None) -> np.ndarray:
    """Covariance (dim, dim) of noise (row, dim), shrunk."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    noise = rest.T @ rest / len(rest)
    least = max(LEAST * np.trace(noise), 1e-9) / len(noise)
    share = ledoit_wolf_shrinkage(rest, assume_centered=True)
    if excess is not None:
        noise = noise - excess
    noise = (1 - share) * noise + share * np.trace(noise) / len(noise) * np.eye(len(noise))
    value, axes = np.linalg.eigh(noise)
    return (axes * value.clip(least)) @ axes.T
