"""Feature maps that need no weights: oriented energy, contrast, colour and pixels on a grid, as tokens.

Comes in: pictures on a square gray screen. Goes out: tokens (image, place, channel), places row by row from
the upper left: what readouts with a receptive field look at.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pydantic

from neurovis.errors import UsageError
from neurovis.images.classical import Feature, Gabor, opponent, pool


class Maps(Feature, name="maps"):
    """Amplitude of oriented filters, opponent colour or pixels, in Gaussian windows on a grid.

    Parameters
    ----------
    grid : int
        Places along one side.
    parts : tuple of {"energy", "contrast", "color", "rgb"}
        Amplitude of each orientation and wavelength; its root mean square over orientations; lightness,
        red-green and blue-yellow; the colours themselves.
    wavelengths : tuple of float, pixels
    n_orientations : int
    """

    grid: int = pydantic.Field(12, ge=2)
    parts: tuple[Literal["energy", "contrast", "color", "rgb"], ...] = (
        "energy",
        "contrast",
        "color",
    )
    wavelengths: tuple[pydantic.PositiveFloat, ...] = (8.0, 16.0)
    n_orientations: int = pydantic.Field(4, ge=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> Maps:
        if not self.parts or len(set(self.parts)) < len(self.parts) or self.grid > self.size:
            raise UsageError(
                f"maps: expected different parts, at least one, and a grid of at most {self.size} (size), "
                f"found {', '.join(self.parts) or 'none'} and {self.grid}; correct them."
            )
        if min(self.wavelengths, default=0) < 3 or max(self.wavelengths) > self.size / 2:
            raise UsageError(
                f"maps: expected wavelengths from 3 to size/2 = {self.size / 2:g} pixels, found "
                f"{', '.join(map(str, self.wavelengths)) or 'none'}; change them or the size."
            )
        return self

    @property
    def label(self) -> str:
        return f"maps-{self.grid}-{'+'.join(self.parts)}"

    def _filters(self) -> Gabor:
        n = len(self.wavelengths)
        return Gabor(
            size=self.size, wavelengths=self.wavelengths, grids=(1,) * n,
            n_orientations=self.n_orientations,
        )  # fmt: skip

    def features(self, images: np.ndarray) -> np.ndarray:
        found = []
        if {"energy", "contrast"} & set(self.parts):
            filters = self._filters()
            for energy, wavelength in zip(filters.energy(images), self.wavelengths):
                step = filters.step(wavelength)
                amplitude = pool(np.sqrt(energy), self.grid, self.size, step)
                if "energy" in self.parts:
                    found.append(amplitude)
                if "contrast" in self.parts:
                    whole = np.sqrt(energy.mean(1, keepdims=True))
                    found.append(pool(whole, self.grid, self.size, step))
        if "color" in self.parts:
            found.append(pool(opponent(images), self.grid, self.size))
        if "rgb" in self.parts:
            found.append(pool(images, self.grid, self.size))
        maps = np.concatenate(found, axis=1).astype(np.float32)
        return np.ascontiguousarray(maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1))
