"""Encoders side by side: one vector that holds those of several.

Comes in: encoders. Goes out: an encoder whose vector is theirs, one after the other. A target
made of it is learned as one: what one part says is read in the light of what the others say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pydantic

from neurovis.config import added
from neurovis.errors import UsageError
from neurovis.images.base import GRAY, Encoder, ImageEncoder


class Beside(ImageEncoder, name="beside"):
    """Vectors of several encoders side by side: ``{name: beside, parts: [gabor+color, world:clip_kinds]}``.

    A part whose vectors are ten times longer weighs ten times more in principal components: see
    `scales`.

    Parameters
    ----------
    parts : tuple of str, dict or ImageEncoder
        Two or more encoders of pictures that give vectors.
    scales : tuple of float
        What each part's vectors are multiplied by; as they are where none is given.
    """

    parts: tuple[ImageEncoder, ...]
    scales: tuple[pydantic.PositiveFloat, ...] = added(())

    @pydantic.field_validator("parts", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        from neurovis.images.names import encoder

        return tuple(encoder(one) for one in value) if isinstance(value, list | tuple) else value

    @pydantic.model_validator(mode="after")
    def _check(self) -> Beside:
        if len(self.parts) < 2:
            raise UsageError(
                f"beside: expected two encoders or more, found {len(self.parts)}; name them in parts."
            )
        if self.scales and len(self.scales) != len(self.parts):
            raise UsageError(
                f"beside.scales: expected one for each of {len(self.parts)} parts, found "
                f"{len(self.scales)}; give as many, or none."
            )
        for part in self.parts:
            if not part.of_pictures:
                raise UsageError(
                    f"beside: {part.label} looks at no picture, expected encoders of pictures; make it a "
                    "target of its own."
                )
        return self

    @property
    def label(self) -> str:
        return "+".join(part.label for part in self.parts)

    def build(self) -> Encoder:
        """Make all of them; a prepared picture holds what each of them prepares, flat."""
        from PIL import Image

        built = [part.model_copy(update={"device": self.device}).build() for part in self.parts]
        blank = Image.new("RGB", (64, 64), (GRAY, GRAY, GRAY))
        shapes = [one.prepare(blank).shape for one in built]
        cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])

        def prepare(picture: Any) -> np.ndarray:
            return np.concatenate([one.prepare(picture).ravel() for one in built])

        def embed(pictures: np.ndarray) -> np.ndarray:
            vectors, scales = [], self.scales or [1.0] * len(built)
            for one, part, shape, scale in zip(
                built, np.split(pictures, cuts[:-1], axis=1), shapes, scales
            ):
                found = one.embed(np.ascontiguousarray(part.reshape(-1, *shape)))
                vectors.append(found if scale == 1 else np.float32(scale) * found)
                if vectors[-1].ndim != 2:
                    raise UsageError(
                        f"beside: expected one vector per picture, found tokens {vectors[-1].shape[1:]} of "
                        f"{self.parts[len(vectors) - 1].label}; pool them (+mean)."
                    )
            return np.concatenate(vectors, axis=1)

        return Encoder(prepare, embed, "+".join(one.weights for one in built))

    def identity(self, weights: str) -> dict[str, Any]:
        own = weights.split("+") if weights else [""] * len(self.parts)
        parts = [part.identity(one) for part, one in zip(self.parts, own)]
        return {"name": self.component, "parts": parts}
