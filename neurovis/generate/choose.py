"""The best of several painted pictures: whichever agrees most with what was decoded.

Comes in: several pictures per row, and the decoded embeddings that they were painted from. Goes out: an
order and the agreement that made it. The seen picture has no place among the arguments: choosing by it
would be choosing by the answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.images.base import Encoder

AT_ONCE = 32  # pictures


def embedded(pictures: Any, encoder: Encoder) -> np.ndarray:
    """What an image encoder says of pictures.

    Parameters
    ----------
    pictures : array (picture, height, width, 3) uint8
    encoder : Encoder

    Returns
    -------
    array (picture, dim) float32
        Tokens one after the other, as targets hold them.
    """
    from PIL import Image

    out = []
    for start in range(0, len(pictures), AT_ONCE):
        some = [encoder.prepare(Image.fromarray(one)) for one in pictures[start : start + AT_ONCE]]
        out.append(np.asarray(encoder.embed(np.stack(some)), np.float32))
    found = np.concatenate(out)
    return found.reshape(len(found), -1)


def choose(painted: Any, decoded: np.ndarray, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Order the candidates of each row by their agreement with the decoded embedding.

    Parameters
    ----------
    painted : array (row, sample, height, width, 3) uint8
        Candidates, in memory or of an open file.
    decoded : array (row, dim)
        The embeddings that they were painted from.
    encoder : Encoder
        The generator's own, ready to run (``generator.image_encoder().build()``).

    Returns
    -------
    array (row, sample) int
        Candidates of each row from best to worst, the earlier first where they agree alike.
    array (row, sample) float32
        Cosine of each candidate's embedding and the decoded one, in the order of `painted`.

    Raises
    ------
    NeurovisError
        If shapes do not fit, or an embedding has no direction.

    References
    ----------
    Choosing by agreement with the brain's own embedding: Scotti et al. 2023, arXiv 2305.18274.
    """
    shape = tuple(painted.shape)
    if len(shape) != 5 or shape[4] != 3 or painted.dtype != np.uint8 or 0 in shape:
        raise NeurovisError(
            f"choose: expected candidates (row, sample, height, width, 3) uint8, found {shape} "
            f"{painted.dtype}; give pictures of that form."
        )
    decoded = np.asarray(decoded, np.float32)
    if decoded.ndim != 2 or len(decoded) != shape[0]:
        raise NeurovisError(
            f"choose: expected decoded embeddings ({shape[0]}, dim), found {decoded.shape}; give one for "
            "each row of candidates."
        )
    agreement = np.empty(shape[:2], np.float32)
    for row in range(shape[0]):
        said = embedded(np.asarray(painted[row]), encoder)
        if said.shape[1] != decoded.shape[1]:
            raise NeurovisError(
                f"choose: expected decoded embeddings of {said.shape[1]} dims, as the encoder makes them, "
                f"found {decoded.shape[1]}; give the encoder that the target is of."
            )
        agreement[row] = _unit(said) @ _unit(decoded[row : row + 1])[0]
    return np.argsort(-agreement, axis=1, kind="stable"), agreement


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        raise NeurovisError(
            "choose: expected embeddings with a direction, found zeros or values that are no numbers; mend "
            "the model that made them."
        )
    return vector / length
