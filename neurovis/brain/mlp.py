"""A residual perceptron behind one linear layer per subject, for fMRI.

Comes in: responses (row, voxel, time), voxels of all subjects side by side. Goes out: one vector per target.
Subjects differ in how many voxels they have: each has a layer of that many, into a space that all share.

References: Scotti et al. 2023, arXiv 2305.18274 (linear 4096 with dropout 0.5, four residual blocks with
dropout 0.15); Scotti et al. 2024, arXiv 2403.11207 (a linear layer per subject with weight decay 0.01, which
they call ridge).
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.layers import by_target, cheap_dropout, masked


class Mlp(BrainEncoder, name="mlp"):
    """One linear layer per subject, residual blocks that all share, a linear head per target.

    Parameters
    ----------
    n_hidden : int
        Width of the shared space; 4096 in the papers, where one subject has 30,000 trials.
    n_blocks : int
        Residual blocks: linear, normalisation, GELU, dropout, and a skip.
    dropout, block_dropout : float
        After the first layer, and in the blocks.
    subject_layer : {"linear", "ridge"}
        Ridge: the layers of the subjects decay by `ridge_decay`, whatever the other weights do.
    ridge_decay : float
    """

    n_hidden: pydantic.PositiveInt = 1024
    n_blocks: pydantic.NonNegativeInt = 4
    dropout: float = pydantic.Field(0.5, ge=0, lt=1)
    block_dropout: float = pydantic.Field(0.15, ge=0, lt=1)
    subject_layer: Literal["linear", "ridge"] = "linear"
    ridge_decay: pydantic.NonNegativeFloat = 0.01

    def build(self, shape: Shape) -> Any:
        """Build the torch module; see `BrainEncoder.build`."""
        return _tower(self, shape)


def _tower(config: Mlp, shape: Shape) -> Any:
    import torch
    from torch import nn

    width = config.n_hidden
    voxels = [shape.channels_of(number) for number in range(len(shape.subjects))]

    def part(n_in: int, dropout: float) -> Any:
        return nn.Sequential(
            nn.Linear(n_in, width), nn.LayerNorm(width), nn.GELU(), cheap_dropout(dropout)
        )

    class Tower(nn.Module):
        """See `Mlp`."""

        def __init__(self):
            super().__init__()
            self.subject = nn.ModuleList(
                nn.Linear(len(mine) * shape.n_times, width) for mine in voxels
            )
            if config.subject_layer == "ridge":
                for layer in self.subject:
                    layer.weight.weight_decay = config.ridge_decay
            for number, mine in enumerate(voxels):
                index = None if len(mine) == shape.n_chans else torch.from_numpy(mine)
                self.register_buffer(f"voxels{number}", index, persistent=False)
            self.start_of = nn.Sequential(
                nn.LayerNorm(width), nn.GELU(), cheap_dropout(config.dropout)
            )
            self.blocks = nn.ModuleList(
                part(width, config.block_dropout) for _ in range(config.n_blocks)
            )
            self.heads = by_target(shape.outputs, lambda dim: nn.Linear(width, dim))

        def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
            signal = masked(signal, present)
            numbers = subject.unique().tolist()
            x = signal.new_empty(len(signal), width)
            for number in numbers:
                index = getattr(self, f"voxels{number}")
                rows = slice(None) if len(numbers) == 1 else subject == number
                mine = signal[rows] if index is None else signal[rows][:, index]
                said = self.subject[number](mine.flatten(1))
                x = said if len(numbers) == 1 else x.to(said.dtype).index_put((rows,), said)
            x = self.start_of(x)
            for block in self.blocks:
                x = x + block(x)
            return self.heads(x)

    return Tower()
