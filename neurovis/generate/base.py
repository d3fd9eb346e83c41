"""The family of generators: what they are told of each picture, and what they paint.

Comes in: a `Cue` (decoded embeddings of one target, and optionally a rough picture to start from and words)
and one seed per row. Goes out: pictures. A generator is a small frozen config; ``build`` makes of it a
`Painter`. What a row's picture looks like depends on its cue and its seed alone, never on the rows beside
it, so that shards and batches of any size paint the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from neurovis.config import Family, how
from neurovis.errors import NeurovisError
from neurovis.images.base import ImageEncoder
from neurovis.images.names import encoder


@dataclass(frozen=True, eq=False)
class Cue:
    """What a generator is told of each row.

    Parameters
    ----------
    vector : array (row, dim) float32
        Embeddings as the generator's encoder would make them, norms restored.
    low : array (row, height, width, 3) uint8, optional
        Rough pictures to start from.
    text : tuple of str (row,), optional
    """

    vector: np.ndarray
    low: np.ndarray | None = None
    text: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.vector)


@dataclass(frozen=True)
class Painter:
    """A generator ready to run.

    Parameters
    ----------
    paint : callable
        (Cue, seeds (row,) int64) -> array (row, height, width, 3) uint8.
    width : int
        Of the embeddings that it takes.
    size : int
        Pixels along a side of its pictures.
    weights : str
        SHA-256 of the weights; empty where there are none.
    details : dict
        Plain data for provenance and report: licence, precision, steps.
    """

    paint: Callable[[Cue, np.ndarray], np.ndarray]
    width: int
    size: int
    weights: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def __call__(self, cue: Cue, seeds: np.ndarray) -> np.ndarray:
        """Paint rows, after a look at what it is told.

        Parameters
        ----------
        cue : Cue
        seeds : array of int (row,)

        Returns
        -------
        array (row, height, width, 3) uint8

        Raises
        ------
        NeurovisError
            If vectors have another width or are NaN, rough pictures are none, or rows differ in number.
        """
        vector = np.asarray(cue.vector)
        if vector.ndim != 2 or vector.shape[1] != self.width or not len(vector):
            raise NeurovisError(
                f"generator: expected embeddings (row, dim={self.width}), found {vector.shape}; give those "
                "of the encoder that it takes, or choose another generator."
            )
        wrong = ~np.isfinite(vector).all(axis=1)
        if wrong.any():
            raise NeurovisError(
                f"generator: expected finite embeddings, found NaN or infinity in {wrong.sum()} of "
                f"{len(wrong)} rows, first in row {int(wrong.argmax())}; mend the model that made them."
            )
        for name in ("low", "text"):
            value = getattr(cue, name)
            if value is not None and len(value) != len(vector):
                raise NeurovisError(
                    f"generator: expected {name} for {len(vector)} rows, found {len(value)}; give one each."
                )
        low = cue.low
        if low is not None and (low.ndim != 4 or low.shape[3] != 3 or low.dtype != np.uint8):
            raise NeurovisError(
                f"generator: expected rough pictures (row, height, width, 3) uint8, found {low.shape} "
                f"{low.dtype}; give pictures of that form."
            )
        if np.shape(seeds) != (len(vector),):
            raise NeurovisError(
                f"generator: expected a seed for each of {len(vector)} rows, found {np.shape(seeds)}; give "
                "one each."
            )
        picture = self.paint(cue, np.asarray(seeds, np.int64))
        if picture.dtype != np.uint8 or picture.shape != (len(vector), self.size, self.size, 3):
            raise NeurovisError(
                f"generator: expected to paint ({len(vector)}, {self.size}, {self.size}, 3) uint8, found "
                f"{picture.shape} {picture.dtype}; mend its paint."
            )
        return picture


class Generator(Family, family="generators"):
    """Root of the generators: decoded embeddings in, pictures out.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda``, ...
    batch_size : int
        Pictures at a time; changes no picture.
    """

    takes: ClassVar[str] = ""
    """Name of the image encoder whose embeddings it takes, as `neurovis.images.encoder` reads it; empty for any."""

    deterministic: ClassVar[bool] = False
    """Whether a cue alone decides the picture, whatever the seed."""

    reads_text: ClassVar[bool] = False
    """Whether a cue's words change the picture."""

    learns: ClassVar[bool] = False
    """Whether it is made of training pictures: then it has a field ``training``, a file written by
    `neurovis.generate.training.write_training`, which ``neurovis generate`` gives."""

    device: str = how("auto")
    batch_size: int = how(16, ge=1)

    def image_encoder(self) -> ImageEncoder:
        """Config of the encoder whose embeddings it takes, such as to embed what it painted."""
        return encoder(self.takes)

    def build(self) -> Painter:
        """Load weights; make it ready to paint.

        Raises
        ------
        NeurovisError
            If weights are missing (with what gets them) or do not fit.
        """
        raise NotImplementedError

    def build_for_one(self) -> Painter:
        """As `build`, for one picture at a time, soon.

        Where a network passes rows in blocks, so that a picture does not depend on those beside it, a
        picture alone may differ from the same in a block by rounding.
        """
        return self.build()

    def quick(self) -> Generator | None:
        """The same with so few steps that a picture comes sooner; None where it is as it is."""
        return None
