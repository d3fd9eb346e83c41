"""UBP's projector: a linear map of the flattened epoch and a residual head.

Comes in: epochs (row, channel, time). Goes out: one vector per target. Which channels enter is said when
trials are prepared (``steps.picks``); the paper uses the 17 occipital and parietal ones of its EEG.

References: Wu et al. 2025, arXiv 2503.04207 (CVPR); the same projector in arXiv 2511.06836, 2601.21948.
"""

from __future__ import annotations

from typing import Any

import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.layers import by_target, masked, residual_head


class Ubp(BrainEncoder, name="ubp"):
    """Linear projector of the flattened epoch with a residual GELU head and a normalisation.

    Parameters
    ----------
    dropout : float
        In the residual branch.
    """

    dropout: float = pydantic.Field(0.3, ge=0, lt=1)

    def build(self, shape: Shape) -> Any:
        """Build the torch module; see `BrainEncoder.build`."""
        from torch import nn

        n_in, dropout = shape.n_chans * shape.n_times, self.dropout

        class Tower(nn.Module):
            """See `Ubp`."""

            def __init__(self):
                super().__init__()
                self.heads = by_target(shape.outputs, lambda dim: residual_head(n_in, dim, dropout))

            def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
                return self.heads(masked(signal, present).flatten(1))

        return Tower()
