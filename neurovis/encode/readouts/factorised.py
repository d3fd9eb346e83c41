"""Spatial x feature factorised readout: a window on the map and a weight per channel for each target.

Comes in: maps (image, channel, y, x). Goes out: ``sum_c w[c] sum_xy m[x, y] map[c, x, y] + b``.

Reference: Klindt, Ecker, Euler & Bethge 2017, arXiv 1711.02653.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurovis.encode.fields import Fields, windows
from neurovis.encode.readouts.maps import NAME, MapReadout


class Factorised(MapReadout, name="factorised"):
    """A free window and channel weights for each target."""

    def module(self, side: int, n_channels: int, n_targets: int, content: int) -> Any:
        """The torch module."""
        import torch
        from torch import nn

        class Factors(nn.Module):
            """Windows (target, y, x) and weights (target, channel)."""

            def __init__(self):
                super().__init__()
                self.mask = nn.Parameter(torch.full((n_targets, side, side), 1 / side**2))
                self.weight = nn.Parameter(0.01 * torch.randn(n_targets, n_channels))
                self.bias = nn.Parameter(torch.zeros(n_targets))

            def forward(self, maps: Any) -> dict[str, Any]:
                seen = maps.flatten(2) @ self.mask.flatten(1).T
                return {NAME: torch.einsum("bct,tc->bt", seen, self.weight) + self.bias}

        return Factors()

    def begin(self, module: Any, fields: Fields) -> None:
        start(module, fields)

    def describe(self, module: Any) -> dict[str, np.ndarray]:
        return middles(module)


def start(module: Any, fields: Fields) -> None:
    """Set windows, weights and bias to what the search found."""
    import torch

    side = module.mask.shape[-1]
    mask = windows(fields.centre, fields.size, side).reshape(-1, side, side)
    with torch.no_grad():
        module.mask.copy_(torch.from_numpy(mask))
        module.weight.copy_(torch.from_numpy(fields.weight))
        module.bias.copy_(torch.from_numpy(fields.bias))


def middles(module: Any) -> dict[str, np.ndarray]:
    """Centre (target, xy) and size (target,) of free windows: moments of their squares."""
    from neurovis.encode.fields import places

    mask = module.mask.detach().cpu().numpy().reshape(len(module.mask), -1) ** 2
    mask = mask / mask.sum(1, keepdims=True).clip(1e-12)
    where = places(module.mask.shape[-1])
    centre = mask @ where
    square = (mask * ((where - centre[:, None]) ** 2).sum(2)).sum(1)
    # the square of a Gaussian is narrower by the root of two, and two axes add up
    return {"field_centre": centre, "field_size": np.sqrt(square)}
