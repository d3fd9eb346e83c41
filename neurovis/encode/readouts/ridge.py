"""Ridge regression: one penalty for all features of a target, families side by side.

Comes in: one or several families. Goes out: a linear map. Every family weighs the same, whatever it
says: what `BandedRidge` gains over it is what choosing between families is worth.
"""

from __future__ import annotations

import numpy as np

from neurovis.encode.readouts.banded_ridge import BandedRidge


class Ridge(BandedRidge, name="ridge"):
    """Ridge regression with one penalty per target; options as of `BandedRidge`, without draws."""

    n_draws: int = 0

    def _shares(self, n_bands: int) -> np.ndarray:
        return np.full((1, n_bands), 1 / n_bands)
