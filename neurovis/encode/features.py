"""Families of features: what is known of each image, as vectors or as maps of the visual field.

Comes in: an encoder's name, or an ``embeddings.h5``. Goes out: a `Source` per family, which reads vectors
(image, feature) or maps (image, channel, y, x) of any images from disk. Means, components and scales
are learned from the images that a readout learns from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.config import Config, how
from neurovis.encode.cores import Cnn
from neurovis.errors import NeurovisError, UsageError
from neurovis.records import Embeddings, Stimuli
from neurovis.store import dataset, open_h5, sha256

NEARLY = 0.95
"""Linear CKA above which two families are said to be nearly the same."""


class Features(Config):
    """One family of features.

    Parameters
    ----------
    encoder : str or dict
        Name of a frozen encoder at any layer, such as ``open_clip:ViT-B-32/openai@0.5`` or, for words,
        ``open_clip_text:ViT-B-32/openai+caption``; tokens (``+tokens``, ``maps``) are maps.
    components : int, optional
        Of vectors: keep so many principal components of the images learned from.
    core : Cnn, optional
        Learned with the readout, on top of the maps: a response-optimised network.
    embeddings : str
        Path of an ``embeddings.h5`` to use instead of running the encoder.
    """

    encoder: str | dict[str, Any] = "classical"
    components: pydantic.PositiveInt | None = None
    core: Cnn | None = None
    embeddings: str = how("")

    @property
    def identity(self) -> str:
        """Checksum of a file given by path; empty without one."""
        return sha256(self.embeddings) if self.embeddings else ""


@dataclass(frozen=True, eq=False)
class Scaling:
    """An affine map after which a family has mean 0 and mean square length 1.

    Parameters
    ----------
    mean : array (feature,)
    scale : float
    basis : array (component, feature), optional
    """

    mean: np.ndarray
    scale: float
    basis: np.ndarray | None = None

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        out = vector - self.mean
        if self.basis is not None:
            out = out @ self.basis.T
        return (out / self.scale).astype(np.float32)

    def of_tensor(self, vector: Any) -> Any:
        """The same of a tensor."""
        import torch

        out = vector - torch.from_numpy(self.mean).to(vector)
        if self.basis is not None:
            out = out @ torch.from_numpy(self.basis).to(vector).T
        return out / self.scale


class Source:
    """One family of features on disk.

    Parameters
    ----------
    name : str
    config : Features
    path : path
        Of its ``embeddings.h5``.

    Attributes
    ----------
    image : array of str (image,)
    shape : tuple of int
        Of one image's features: (dim,) or (token, dim).
    """

    def __init__(self, name: str, config: Features, path: str | Path):
        self.name, self.config, self.path = name, config, Path(path)
        with open_h5(path, "neurovis-embeddings") as file:
            self.kind = "token" if "token" in file else "vector"
            self.shape = tuple(dataset(path, file, self.kind).shape[1:])
            self.image = dataset(path, file, "image")[()]
        self._place = {image: row for row, image in enumerate(self.image.tolist())}
        self._vectors: np.ndarray | None = None
        self._file: Any = None

    @property
    def side(self) -> int:
        """Rows and columns of its maps; 0 where it has none."""
        side = math.isqrt(self.shape[0]) if self.kind == "token" else 0
        return side if side > 1 and side**2 == self.shape[0] else 0

    @property
    def n_channels(self) -> int:
        """Channels of its maps."""
        return self.shape[-1]

    def __contains__(self, image: str) -> bool:
        return image in self._place

    def _rows(self, images: Sequence[str]) -> np.ndarray:
        try:
            return np.array([self._place[str(image)] for image in images], np.int64)
        except KeyError as error:
            raise NeurovisError(
                f"features {self.name!r}: image {error.args[0]!r} has none; embed it, or leave it out."
            ) from None

    def vectors(self, images: Sequence[str]) -> np.ndarray:
        """Features of images as vectors, tokens side by side: array (image, feature) float32."""
        if self._vectors is None:
            found = Embeddings.read(self.path).vector
            self._vectors = found.reshape(len(found), -1)
        return self._vectors[self._rows(images)]

    def maps(self, images: Sequence[str]) -> np.ndarray:
        """Features of images as maps, read from disk: array (image, channel, y, x) float32.

        Raises
        ------
        UsageError
            If the family has no square of tokens.
        """
        if not self.side:
            raise UsageError(
                f"features {self.name!r}: expected a square of tokens to read as maps, found "
                f"{self.shape}; use an encoder with +tokens, or {{name: maps}}."
            )
        if self._file is None:
            self._file = open_h5(self.path, "neurovis-embeddings")
        rows = self._rows(images)
        unique, back = np.unique(rows, return_inverse=True)
        # neighbours on disk are one read
        pieces = np.split(unique, np.flatnonzero(np.diff(unique) > 8) + 1)
        blocks = [self._file["token"][p[0] : p[-1] + 1][p - p[0]] for p in pieces if len(p)]
        found = np.concatenate(blocks)[back].astype(np.float32, copy=False)
        found = found.reshape(len(rows), self.side, self.side, -1)
        return np.ascontiguousarray(found.transpose(0, 3, 1, 2))

    def scaling(self, images: Sequence[str]) -> Scaling:
        """What makes the family comparable with others, learned from some images.

        Raises
        ------
        NeurovisError
            If all of them have the same features, or more components are asked for than there are.
        """
        vector = self.vectors(images).astype(np.float64)
        mean = vector.mean(0)
        vector -= mean
        basis, n = None, self.config.components
        if n is not None:
            if n > min(len(vector) - 1, vector.shape[1]):
                raise NeurovisError(
                    f"features.{self.name}.components: expected at most "
                    f"{min(len(vector) - 1, vector.shape[1])} (images less one, or the width), found {n}."
                )
            basis = components(vector, n)
            vector = vector @ basis.T
        scale = float(np.sqrt((vector**2).sum(1).mean()))
        if scale < 1e-12:
            raise NeurovisError(
                f"features {self.name!r}: are the same for all {len(vector)} images, expected some "
                "difference; leave the family out."
            )
        return Scaling(mean, scale, basis)

    def close(self) -> None:
        """Close the file that maps are read from."""
        if self._file is not None:
            self._file.close()
            self._file = None


def components(vector: np.ndarray, n: int) -> np.ndarray:
    """First `n` principal axes of centred rows: array (component, feature)."""
    tall = len(vector) >= vector.shape[1]
    value, axes = np.linalg.eigh(vector.T @ vector if tall else vector @ vector.T)
    axes = axes[:, ::-1][:, :n]
    if tall:
        return np.ascontiguousarray(axes.T)
    size = np.sqrt(np.maximum(value[::-1][:n], 1e-300))
    return axes.T @ vector / size[:, None]


def sources_of(
    families: dict[str, Features], stimuli: Stimuli, out: Path, quiet: bool = False
) -> dict[str, Source]:
    """Embed what is not embedded yet, and open every family."""
    from neurovis.images import embed

    found = {}
    for name, config in families.items():
        path = config.embeddings or embed(config.encoder, stimuli, out, quiet=quiet)
        path = Path(path) if config.embeddings else Path(path) / "embeddings.h5"
        found[name] = Source(name, config, path)
    return found


def missing(sources: dict[str, Source], images: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Images that every family knows, and a sentence for each family that lacks some.

    Raises
    ------
    NeurovisError
        If no image is left.
    """
    known, notes = np.ones(len(images), bool), []
    for name, source in sources.items():
        there = np.array([image in source for image in images.tolist()], bool)
        if not there.all():
            first = str(images[~there][0])
            notes.append(
                f"features {name!r}: {int((~there).sum())} of {len(images)} images have none, the first is "
                f"{first!r}; they are left out of every model."
            )
        known &= there
    if not known.any():
        raise NeurovisError(
            f"features: no image is known to every family, expected some of {len(images)}; "
            f"{notes[0] if notes else 'check the split.'}"
        )
    return images[known], notes


def alike(sources: dict[str, Source], images: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """How alike the families' geometries are, and a sentence for each pair that is nearly the same.

    Linear centred kernel alignment: 1 where one family is a rotation of the other, times a number.

    References
    ----------
    Kornblith et al. 2019, arXiv 1905.00414
    """
    images = np.asarray(images)[:: max(1, len(images) // 1500)]
    kernels = {}
    for name, source in sources.items():
        x = source.vectors(images).astype(np.float64)
        x -= x.mean(0)
        kernel = x @ x.T
        kernels[name] = kernel / max(np.linalg.norm(kernel), 1e-300)
    names, found, notes = list(kernels), {}, []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            value = float((kernels[first] * kernels[second]).sum())
            found[f"{first}, {second}"] = value
            if value > NEARLY:
                notes.append(
                    f"features {first!r} and {second!r} are nearly collinear (linear CKA {value:.3f}): "
                    "what each explains alone cannot be told apart."
                )
    return found, notes
