"""A transformer whose tokens are patches of neighbouring voxels, or sensors, by their position.

Comes in: responses (row, voxel, time) and where each voxel is. Goes out: one vector per target. How a voxel
enters its patch's token is a function of its position alone, so that any number of voxels will do, subjects
share all weights, and a new subject needs none of their own. A few learned queries read the tokens.

References: Tancik et al. 2020, arXiv 2006.10739 (Fourier features of positions); Jaegle et al. 2021, arXiv
2103.03206 (learned queries that read many inputs). How voxels are grouped is our own choice.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.layers import by_target, cheap_dropout, masked
from neurovis.errors import NeurovisError


class VoxelTokens(BrainEncoder, name="voxel_tokens"):
    """Patches of voxels as tokens, one shared weighting by position, learned queries, a head per target.

    Parameters
    ----------
    patch : int
        At most so many voxels per token.
    n_components : int
        Weighted sums of a patch's voxels, at each time.
    n_harmonics : int
        Random Fourier features of a position.
    scale : float
        Standard deviation of their frequencies, in cycles across the layout.
    n_hidden : int
        Width of the tokens.
    n_queries, n_layers, n_heads : int
        Queries read the tokens `n_layers` times.
    dropout : float
    """

    patch: pydantic.PositiveInt = 64
    n_components: pydantic.PositiveInt = 32
    n_harmonics: pydantic.PositiveInt = 64
    scale: pydantic.PositiveFloat = 2.0
    n_hidden: pydantic.PositiveInt = 256
    n_queries: pydantic.PositiveInt = 8
    n_layers: pydantic.PositiveInt = 2
    n_heads: pydantic.PositiveInt = 4
    dropout: float = pydantic.Field(0.1, ge=0, lt=1)

    def build(self, shape: Shape) -> Any:
        """Build the torch module; see `BrainEncoder.build`."""
        if self.n_hidden % self.n_heads:
            raise NeurovisError(
                f"voxel_tokens: expected n_hidden to be a multiple of n_heads = {self.n_heads}, found "
                f"{self.n_hidden}; change brain.n_hidden or brain.n_heads."
            )
        return _tower(self, shape)


def patches(position: np.ndarray, most: int) -> list[np.ndarray]:
    """Group neighbours: the largest extent is halved at its median until no group is too large.

    Parameters
    ----------
    position : array (channel, 3), m
        Groups hold channels with a known position alone.
    most : int
        Channels per group.

    Returns
    -------
    list of array of int (channel,)
    """
    groups, out = [np.flatnonzero(np.isfinite(position).all(1))], []
    while groups:
        group = groups.pop()
        if len(group) <= most:
            out += [group] if len(group) else []
            continue
        axis = np.ptp(position[group], axis=0).argmax()
        order = group[np.argsort(position[group, axis], kind="stable")]
        groups += [order[len(order) // 2 :], order[: len(order) // 2]]
    return out


def _tower(config: VoxelTokens, shape: Shape) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    position = np.asarray(shape.channel_position, np.float64)
    groups = patches(position, config.patch)
    if not groups:
        raise NeurovisError(
            "channel_position: expected at least one known position of a voxel or sensor, found none; "
            "set a montage, or use the tower 'mlp'."
        )
    known = np.isfinite(position).all(1)
    centre = position[known].mean(0)
    extent = max(float(np.ptp(position[known], axis=0).max()), 1e-9)
    place = np.where(known[:, None], (position - centre) / extent, 0.0)
    widest = max(map(len, groups))
    # rows of a patch beyond its voxels point at a column of zeros
    index = np.full((len(groups), widest), shape.n_chans)
    for row, group in zip(index, groups):
        row[: len(group)] = group
    middle = np.stack([place[group].mean(0) for group in groups])
    width, n_heads = config.n_hidden, config.n_heads

    class Reader(nn.Module):
        """Queries read the tokens, then a perceptron on each; normalised before, with skips."""

        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
            self.query = nn.Linear(width, width)
            self.key_value = nn.Linear(width, 2 * width)
            self.out = nn.Linear(width, width)
            self.perceptron = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )
            self.drop = cheap_dropout(config.dropout)

        def forward(self, x: Any, tokens: Any, use: Any) -> Any:
            q = self.query(self.norms[0](x)).unflatten(2, (n_heads, -1)).transpose(1, 2)
            k, v = self.key_value(tokens).unflatten(2, (2, n_heads, -1)).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(q, k, v, use)
            x = x + self.drop(self.out(y.transpose(1, 2).flatten(2)))
            return x + self.drop(self.perceptron(self.norms[1](x)))

    class Tower(nn.Module):
        """See `VoxelTokens`."""

        def __init__(self):
            super().__init__()
            self.register_buffer("index", torch.from_numpy(index), persistent=False)
            wave = torch.randn(3, config.n_harmonics) * (2 * math.pi * config.scale)
            self.register_buffer("wave", wave)
            for name, points in (("place", place), ("middle", middle)):
                points = torch.from_numpy(points.astype(np.float32))
                self.register_buffer(name, points, persistent=False)
            n_waves = 2 * config.n_harmonics
            self.weigh = nn.Sequential(
                nn.Linear(n_waves, width), nn.GELU(), nn.Linear(width, config.n_components)
            )
            self.embed = nn.Linear(config.n_components * shape.n_times, width)
            self.where = nn.Linear(n_waves, width)
            self.norm = nn.LayerNorm(width)
            self.queries = nn.Parameter(torch.randn(config.n_queries, width) / width**0.5)
            self.readers = nn.ModuleList(Reader() for _ in range(config.n_layers))
            self.last = nn.LayerNorm(config.n_queries * width)
            n_in = config.n_queries * width
            self.heads = by_target(shape.outputs, lambda dim: nn.Linear(n_in, dim))

        def waves(self, points: Any) -> Any:
            """Fourier features of positions (point, 3)."""
            phase = points @ self.wave
            return torch.cat([phase.cos(), phase.sin()], 1)

        def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
            signal = functional.pad(masked(signal, present), (0, 0, 0, 1))
            weight = functional.pad(self.weigh(self.waves(self.place)), (0, 0, 0, 1))
            there = functional.pad(present, (0, 1))[:, self.index].sum(2)  # (row, patch)
            x = signal[:, self.index].permute(1, 0, 3, 2)  # (patch, row, time, voxel)
            n_patches, n_rows = x.shape[:2]
            x = x.reshape(n_patches, -1, widest) @ weight[self.index]
            x = x.view(n_patches, n_rows, -1).transpose(0, 1)
            # of unit variance for white signals, however many voxels of a patch a subject has
            x = x * there.clamp(min=1).rsqrt()[:, :, None].to(x.dtype)
            tokens = self.norm(self.embed(x) + self.where(self.waves(self.middle)))
            # a patch of which a subject has nothing is not read, unless there is no other
            use = (there > 0) | (there.sum(1, keepdim=True) == 0)
            said = self.queries.expand(n_rows, -1, -1)
            for reader in self.readers:
                said = reader(said, tokens, None if bool(use.all()) else use[:, None, None])
            return self.heads(self.last(said.flatten(1)))

    return Tower()
