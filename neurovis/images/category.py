"""Categories as vectors: for stimuli of which no picture is known, or where only the category counts.

Comes in: the concepts of `Stimuli`. Goes out: one 1 per row, in the column of its concept. No picture is
opened, so that it works where there is none; a decoder of such vectors is a classifier.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from neurovis.errors import UsageError
from neurovis.images.base import Encoder, ImageEncoder
from neurovis.records import Stimuli


class Category(ImageEncoder, name="category"):
    """One column per concept, in alphabetical order."""

    of_pictures: ClassVar[bool] = False

    def build(self) -> Encoder:
        """Refused: a picture alone does not tell its category."""
        raise UsageError(
            "encoder 'category': is made from the concepts of a stimuli.csv, expected no single picture; "
            "embed with another encoder."
        )

    def of_stimuli(self, stimuli: Stimuli) -> np.ndarray:
        """Vectors of all stimuli.

        Returns
        -------
        array (image, concept) float32

        Raises
        ------
        UsageError
            If there is one concept alone.
        """
        names, column = np.unique(stimuli.concept, return_inverse=True)
        if len(names) < 2:
            raise UsageError(
                f"encoder 'category': all stimuli are {str(names[0])!r}, expected two concepts or more; "
                "choose another encoder."
            )
        return np.eye(len(names), dtype=np.float32)[column]
