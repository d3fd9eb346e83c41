"""The family of image encoders, and how a picture is opened.

Comes in: pictures. Goes out: one vector, or one row of tokens, per picture. An encoder is a small
frozen config; ``build`` makes of it an `Encoder`: ``prepare`` turns one opened picture into an array
(deterministic, never the transform that a network was trained with) and may run in any thread,
``embed`` turns a stack of these into vectors.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from neurovis.config import Family, how, to_dict
from neurovis.errors import NeurovisError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

GRAY = 128  # of a byte: the screen behind pictures that are not square or are see-through


@dataclass(frozen=True)
class Encoder:
    """An encoder ready to run.

    Parameters
    ----------
    prepare : callable
        Opened RGB picture -> array (channel, height, width) float32.
    embed : callable
        array (image, channel, height, width) -> array (image, dim) or (image, token, dim) float32.
    weights : str
        SHA-256 of the weights and the transform's settings; empty where there are none.
    temperature : float, optional
        Of a text tower: softmax(cosine / temperature) over texts is how likely each is.
    """

    prepare: Callable[[Image], np.ndarray]
    embed: Callable[[np.ndarray], np.ndarray]
    weights: str = ""
    temperature: float | None = None


class ImageEncoder(Family, family="images"):
    """Root of the frozen image encoders; `neurovis.images.encoder` makes one from a string.

    Parameters
    ----------
    device : str
        Where a network runs: ``auto``, ``cpu``, ``cuda``, ...
    """

    invertible: ClassVar[bool] = False
    """Whether `pictures` makes pictures of vectors."""

    of_pictures: ClassVar[bool] = True
    """Whether it looks at pictures; others make vectors of what `Stimuli` say in words."""

    device: str = how("auto")

    @property
    def label(self) -> str:
        """Short name for folders and reports."""
        return self.component

    def build(self) -> Encoder:
        """Make the encoder, weights loaded."""
        raise NotImplementedError

    def pictures(self, vectors: np.ndarray) -> np.ndarray:
        """Pictures that have these vectors: array (image, height, width, 3) uint8.

        Raises
        ------
        UsageError
            If the encoder has no inverse.
        """
        raise UsageError(
            f"{self.label}: has no inverse, expected an encoder whose vectors are pictures such as pixels; "
            "choose that target, or generate pictures from this one."
        )

    def identity(self, weights: str) -> dict[str, Any]:
        """What the vectors depend on beside the picture: plain data, no paths."""
        return to_dict(self, how_too=False) | ({"weights_sha256": weights} if weights else {})


def weights_of(identity: Any) -> set[str]:
    """Fingerprints of all weights that an `ImageEncoder.identity`, which may be of several, names."""
    if isinstance(identity, dict):
        own = {identity["weights_sha256"]} if "weights_sha256" in identity else set()
        return own.union(*map(weights_of, identity.values()))
    return set().union(*map(weights_of, identity)) if isinstance(identity, list) else set()


def open_picture(source: str | Path | bytes, name: str | Path | None = None) -> Image:
    """Open and decode a picture as 8-bit RGB; see-through parts show mid-gray.

    Parameters
    ----------
    source : path or bytes
        A file, or its content.
    name : path, optional
        What to call it in errors.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, fully decoded.

    Raises
    ------
    NeurovisError
        If the file is absent, no picture, damaged, or has more than 8 bits per channel.
    """
    from PIL import Image

    name = name or (source if isinstance(source, str | Path) else "picture")
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except FileNotFoundError:
        raise NeurovisError(
            f"{name}: no such picture; put it there, or correct the path in stimuli.csv."
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NeurovisError(
            f"{name}: expected a whole picture, found a damaged or foreign file ({error}); "
            "replace the file."
        ) from None
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        raise NeurovisError(
            f"{name}: expected 8 bits per channel, found mode {picture.mode!r}; save it as 8-bit."
        )
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        screen = Image.new("RGBA", picture.size, (GRAY, GRAY, GRAY, 255))
        picture = Image.alpha_composite(screen, picture)
    return picture.convert("RGB")
