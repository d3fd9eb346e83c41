"""What a tower is trained to say: frozen embeddings, centred and reduced by training statistics.

Comes in: an encoder's name and the images of a split. Goes out: one float32 vector per image. Centre,
components and scales are estimated on training images alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.config import Config, how
from neurovis.errors import NeurovisError
from neurovis.records import Embeddings, Split, Stimuli
from neurovis.spaces import Aimed, Space


class Target(Config):
    """One target of a tower.

    Parameters
    ----------
    encoder : str or dict
        Name of a frozen encoder, such as ``classical`` or ``timm:...@0.66``, or a mapping with its
        name and options.
    centre : bool
        Subtract the mean over training images.
    components : int, optional
        Keep so many principal components of the training images.
    whiten : float
        0 keeps the components' variances, 1 makes them equal, between is a power of them.
    embeddings : str
        Path of an ``embeddings.h5`` to use instead of running the encoder.
    """

    encoder: str | dict[str, Any] = "classical"
    centre: bool = True
    components: pydantic.PositiveInt | None = None
    whiten: float = pydantic.Field(0.0, ge=0, le=1)
    embeddings: str = how("")

    def vectors(
        self,
        stimuli: Stimuli,
        split: Split,
        out: Path,
        quiet: bool = False,
        shown: np.ndarray | None = None,
    ) -> Embeddings:
        """Vectors of all images: `Embeddings` (image, dim).

        Parameters
        ----------
        stimuli : Stimuli
        split : Split
            Its training images give centre, components and scales.
        out : Path
            Where embeddings are kept (``<out>/embeddings/``).
        shown : array of str (trial,), optional
            Category of each training trial, where stimuli are categories: the centre is their mean, so
            that a regression tells categories apart by evidence alone, not by how frequent they are.
        """
        if self.embeddings:
            found = Embeddings.read(self.embeddings)
        else:
            from neurovis.images import embed

            found = Embeddings.read(
                embed(self.encoder, stimuli, out, quiet=quiet) / "embeddings.h5"
            )
        vector = found.at(stimuli.image)
        if vector.ndim == 3:
            vector = vector.reshape(len(vector), -1)
        train = split.train if split.unit == "image" else stimuli.image
        reference = found.at(list(train)).reshape(len(train), -1)
        encoder = {**found.encoder, "target": {"centre": self.centre, "whiten": self.whiten}}
        encoder["target"]["components"] = self.components
        centre = None
        if shown is not None:
            centre = found.at(shown).reshape(len(shown), -1).mean(0, dtype=np.float64)
        space = replace(self.space(reference, centre), encoder=encoder)
        return Aimed(space.apply(vector), stimuli.image, encoder, space)

    def pictures(self, vectors: np.ndarray) -> np.ndarray | None:
        """Pictures that vectors of this target stand for: array (row, height, width, 3) uint8.

        None where they stand for none: the encoder has no inverse, or its vectors were changed.
        """
        from neurovis.images import encoder

        if self.centre or self.components is not None or self.embeddings:
            return None
        config = encoder(self.encoder)
        return config.pictures(vectors) if config.invertible else None

    def space(self, reference: np.ndarray, centre: np.ndarray | None = None) -> Space:
        """What is learned from training images.

        Parameters
        ----------
        reference : array (image, dim)
            Vectors of the training images.
        centre : array (dim,), optional
            Instead of their mean.
        """
        if not self.centre and self.components is None:
            return Space()
        middle = reference.mean(0, dtype=np.float64)
        reference = reference - middle
        centre = middle if centre is None else centre
        if self.components is None:
            scale = np.sqrt((reference**2).sum(1).mean() / reference.shape[1]) or 1.0
            return Space(centre, scale=scale)
        if self.components > min(len(reference) - 1, reference.shape[1]):
            raise NeurovisError(
                f"targets.components: expected at most {min(len(reference) - 1, reference.shape[1])} "
                f"(training images less one, or the embedding's width), found {self.components}."
            )
        _, size, basis = np.linalg.svd(reference, full_matrices=False)
        size, basis = size[: self.components], basis[: self.components]
        deviation = size / np.sqrt(len(reference) - 1)
        # unit mean variance, so that regression losses weigh the same for every encoder
        spread = np.sqrt(((deviation ** (1 - self.whiten)) ** 2).mean())
        return Space(centre, basis, deviation**self.whiten, spread)


def named(targets: dict[str, Any]) -> dict[str, Any]:
    """Targets written as ``name: encoder`` or ``name: {encoder: ..., ...}`` as mappings."""
    return {k: {"encoder": v} if isinstance(v, str) else v for k, v in targets.items()}
