"""The family of losses: predictions and targets in, named parts and their total out.

Each builds a torch module ``(prediction {head: (row, dim)}, target {target: (row, dim)},
image (row,) int) -> {"loss": total, part: value}``. Image ids decide what is a positive: rows of one
image are never negatives of each other.
"""

from __future__ import annotations

from typing import Any

from neurovis.config import Family


class Loss(Family, family="losses"):
    """A training loss."""

    def build(self) -> Any:
        """Build the torch module."""
        raise NotImplementedError
