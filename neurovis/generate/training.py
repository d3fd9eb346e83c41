"""Training pictures beside their embeddings, for generators that are made of them.

Comes in: embeddings and picture files. Goes out: one small file that names the pictures, and pictures of
a size as they are needed: a generator of thousands of pictures need not hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurovis.errors import NeurovisError, UsageError
from neurovis.images.base import GRAY, open_picture
from neurovis.store import read_h5, write_h5

FORMAT = "neurovis-training-pictures"


@dataclass(frozen=True, eq=False)
class Training:
    """Training pictures and their embeddings.

    Parameters
    ----------
    vector : array (image, dim) float32
    image, path : array of str (image,)
    """

    vector: np.ndarray
    image: np.ndarray
    path: np.ndarray

    def pictures(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Pictures of some images: array (row, size, size, 3) uint8."""
        return pictures_of([self.path[row] for row in rows], size)


def pictures_of(paths: Sequence[str | Path], size: int) -> np.ndarray:
    """Pictures fitted whole into squares of mid-gray, as encoders see them: (path, size, size, 3) uint8."""
    from PIL import Image, ImageOps

    out = np.empty((len(paths), size, size, 3), np.uint8)
    for place, path in zip(out, paths):
        picture = open_picture(path)
        if picture.size != (size, size):
            gray = (GRAY, GRAY, GRAY)
            picture = ImageOps.pad(picture, (size, size), Image.Resampling.BICUBIC, gray)
        place[...] = np.asarray(picture)
    return out


def write_training(
    path: str | Path, vector: np.ndarray, image: np.ndarray, paths: Sequence[str | Path]
) -> None:
    """Write the file that a generator's ``training`` names.

    Parameters
    ----------
    path : path
    vector : array (image, dim)
    image : array of str (image,)
    paths : sequence of path (image,)
        Of the pictures.
    """
    places = np.array([str(Path(p).resolve()) for p in paths], dtype=str)
    data = {"vector": np.asarray(vector, np.float32), "image": image, "path": places}
    write_h5(path, FORMAT, data)


def read_training(path: str | Path, name: str) -> Training:
    """Read it.

    Parameters
    ----------
    path : path
    name : str
        Of the generator, for errors.

    Raises
    ------
    NeurovisError
        If none is given, it is damaged, or holds fewer than three images.
    """
    if not path:
        raise UsageError(
            f"generators.{name}: is made of training pictures, found none; neurovis generate gives them, "
            "in Python write_training does."
        )
    found = Training(**read_h5(path, FORMAT, ("vector", "image", "path")))
    n = len(found.image)
    if found.vector.ndim != 2 or len(found.vector) != n or len(found.path) != n or n < 3:
        raise NeurovisError(
            f"{path}: expected vectors, ids and paths of three images or more, found "
            f"{found.vector.shape}, {n} and {len(found.path)}; write it anew."
        )
    if not np.isfinite(found.vector).all():
        raise NeurovisError(f"{path}: expected finite embeddings, found NaN; write it anew.")
    return found
