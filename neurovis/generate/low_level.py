"""The low-level stage: a rough picture, decoded by itself, that a generator starts from.

Comes in: decoded vectors, and an image encoder whose vectors are pictures (`ImageEncoder.invertible`),
such as ``pixels`` or the latents of an autoencoder. Goes out: rough pictures, kept beside what is painted
from them so that they are scored by themselves.

References: Ozcelik & VanRullen 2023, arXiv 2303.05334; Li et al. 2024, arXiv 2403.07721 (both start
diffusion from a rough picture that is decoded into an autoencoder's latent).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, UsageError
from neurovis.generate.posterior import Tensors
from neurovis.generate.regression import Known, regress
from neurovis.images import encoder as encoder_of
from neurovis.images.base import ImageEncoder


def invertible(name: str | dict[str, Any]) -> ImageEncoder:
    """An encoder whose vectors are pictures.

    Raises
    ------
    UsageError
        If its vectors are none.
    """
    config = encoder_of(name)
    if not config.invertible:
        raise UsageError(
            f"low: {config.label} has no inverse, expected an encoder whose vectors are pictures, such as "
            "pixels or {name: pixels, side: 16}; choose another."
        )
    return config


def fit_low(known: Known) -> Tensors:
    """Learn a map from decoded vectors to an invertible encoder's.

    By regression on held-out validation images where there are some; else, where the decoder's own
    target is that encoder, by going back through its space.

    Parameters
    ----------
    known : Known
        Embeddings are the invertible encoder's.

    Returns
    -------
    dict of array
        What `estimator` needs.
    """
    if known.said is not None:
        fitted, _ = regress(known)
        return {k: np.asarray(v, np.float32) for k, v in fitted.items()}
    if known.plain is None:
        raise NeurovisError(
            "low: a ridge from decoded vectors to rough pictures needs decoded validation images, found "
            "none; name a target of the run whose vectors are pictures, or leave low out."
        )
    weight, origin = known.plain
    return {"weight": np.asarray(weight, np.float32), "bias": np.asarray(origin, np.float32)}


def rough(
    config: ImageEncoder, said: Callable[[np.ndarray], np.ndarray], vector: np.ndarray
) -> np.ndarray:
    """Rough pictures (row, height, width, 3) uint8 of decoded vectors, by `estimator` of what `fit_low` learned."""
    # one row at a time: products of several differ in the last digit
    return config.pictures(np.concatenate([said(one[None]) for one in vector]).astype(np.float32))
