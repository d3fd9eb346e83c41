"""NICE: a shallow temporal-spatial convolution and a projection.

Comes in: epochs (row, channel, time). Goes out: one vector per target. Two linear filters with pooling and
ELU, all windows flattened, and a residual head: the baseline that most papers on EEG compare with.

Reference: Song et al. 2024, arXiv 2308.13234 (ICLR). In their code the projection is 768 wide, as the
image embedding is, and repeats are averaged in training.
"""

from __future__ import annotations

from typing import Any

import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.layers import by_target, masked, residual_head, temporal_spatial


class Nice(BrainEncoder, name="nice"):
    """Shallow temporal-spatial convolution and a residual head per target.

    Parameters
    ----------
    n_filters : int
        Temporal filters, and spatial ones.
    kernel, pool, stride : int, samples
        Of the temporal convolution and of the average pooling; the paper's are meant for 250 Hz.
    dropout : float
        After the convolution.
    head_dropout : float
    """

    n_filters: pydantic.PositiveInt = 40
    kernel: pydantic.PositiveInt = 25
    pool: pydantic.PositiveInt = 51
    stride: pydantic.PositiveInt = 5
    dropout: float = pydantic.Field(0.5, ge=0, lt=1)
    head_dropout: float = pydantic.Field(0.5, ge=0, lt=1)

    def build(self, shape: Shape) -> Any:
        """Build the torch module; see `BrainEncoder.build`."""
        from torch import nn

        config = self

        class Tower(nn.Module):
            """See `Nice`."""

            def __init__(self):
                super().__init__()
                self.convolution = temporal_spatial(
                    shape.n_chans, shape.n_times, config.n_filters, config.kernel, config.pool,
                    config.stride, config.dropout, who="nice",
                )  # fmt: skip
                width = self.convolution.n_windows * config.n_filters
                self.heads = by_target(
                    shape.outputs, lambda dim: residual_head(width, dim, config.head_dropout)
                )

            def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
                return self.heads(self.convolution(masked(signal, present)).flatten(1))

        return Tower()
