"""Semantic spatial-transformer readout: what the picture is about moves windows and weighs channels.

Comes in: maps, and a vector of the picture's content. Goes out: the factorised readout, in which the content
gives every target an affine warp of its window and an affine change of each channel it sees. It starts
as the factorised readout, which is trained first: what it gains over that is the content's doing.

Reference: Saha, Chadha & Khosla, arXiv 2410.14031 (there content is a frozen ResNet-50 trained on ImageNet;
sizes of hidden layers are ours: unverified). Warps: Jaderberg et al. 2015, arXiv 1506.02025.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pydantic

from neurovis.encode.descent import descend
from neurovis.encode.fields import Fields
from neurovis.encode.readouts.base import Problem
from neurovis.encode.readouts.factorised import middles, start
from neurovis.encode.readouts.maps import NAME, MapReadout


class Semantic(MapReadout, name="semantic"):
    """A window that content moves, and channel weights that content changes.

    Parameters
    ----------
    content : str
        Name of the family, of vectors, that says what a picture is about.
    n_hidden : int
        Units between content and what it does to targets.
    """

    content: str = pydantic.Field(min_length=1)
    n_hidden: pydantic.PositiveInt = 16

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.content,)

    def module(self, side: int, n_channels: int, n_targets: int, content: int) -> Any:
        """The torch module."""
        import torch
        from torch import nn
        from torch.nn import functional

        class Transformer(nn.Module):
            """Windows, weights, and what content does to both; nothing at first."""

            def __init__(self):
                super().__init__()
                self.mask = nn.Parameter(torch.full((n_targets, side, side), 1 / side**2))
                self.weight = nn.Parameter(0.01 * torch.randn(n_targets, n_channels))
                self.bias = nn.Parameter(torch.zeros(n_targets))
                self.hidden = nn.Sequential(nn.Linear(content, n_hidden), nn.Tanh())
                self.warp = nn.Linear(n_hidden, 6 * n_targets)
                self.gain = nn.Linear(n_hidden, n_channels * n_targets)
                self.shift = nn.Linear(n_hidden, n_channels * n_targets)
                for layer in (self.warp, self.gain, self.shift):
                    nn.init.zeros_(layer.weight)
                    nn.init.zeros_(layer.bias)
                identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
                self.register_buffer("identity", identity, persistent=False)
                self.modulated = True

            def forward(self, maps: Any, about: Any) -> dict[str, Any]:
                if not self.modulated:
                    seen = maps.flatten(2) @ self.mask.flatten(1).T
                    return {NAME: torch.einsum("bct,tc->bt", seen, self.weight) + self.bias}
                n = len(maps)
                hidden = self.hidden(about)
                theta = self.identity + self.warp(hidden).reshape(n * n_targets, 2, 3)
                mask = self.mask.repeat(n, 1, 1)[:, None]
                grid = functional.affine_grid(theta, mask.shape, align_corners=False)
                mask = functional.grid_sample(mask, grid, align_corners=False)
                mask = mask.reshape(n, n_targets, -1)
                seen = mask @ maps.flatten(2).transpose(1, 2)
                gain = 1 + self.gain(hidden).reshape(n, n_targets, n_channels)
                seen = gain * seen + self.shift(hidden).reshape(n, n_targets, n_channels)
                return {NAME: torch.einsum("btc,tc->bt", seen, self.weight) + self.bias}

        n_hidden = self.n_hidden
        return Transformer()

    def begin(self, module: Any, fields: Fields) -> None:
        start(module, fields)

    def describe(self, module: Any) -> dict[str, np.ndarray]:
        import torch

        with torch.no_grad():
            bias = module.warp.bias.abs().reshape(len(module.mask), -1)
            moved = module.warp.weight.reshape(len(module.mask), -1).norm(dim=1) + bias.norm(dim=1)
        return {**middles(module), "content_warp": moved.cpu().numpy()}

    def train_module(
        self, module: Any, problem: Problem, inputs: Any, y: np.ndarray, varies: np.ndarray
    ) -> Any:
        """Train windows and weights alone, then everything."""
        head = getattr(module, "readout", module)
        head.modulated = False
        first = replace(problem, name=f"{problem.name}-factorised")
        module = descend(module, first, self.train, inputs, y, varies)
        head.modulated = True
        return descend(module, problem, self.train, inputs, y, varies)
