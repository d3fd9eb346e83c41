"""Gaussian 2-D readout: each target sees maps through a round window with a place and a size.

Comes in: maps (image, channel, y, x). Goes out: a weight per channel of what the window averages.

References: St-Yves & Naselaris 2018, doi:10.1016/j.neuroimage.2017.06.035; Lurz et al. 2021, arXiv
2010.12395 (places learned by descent).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurovis.encode.descent import Descent
from neurovis.encode.fields import Fields, places
from neurovis.encode.readouts.maps import NAME, MapReadout


class Gaussian(MapReadout, name="gaussian"):
    """A Gaussian window for each target; by default as the search finds it, without descent."""

    train: Descent = Descent(epochs=0)

    def module(self, side: int, n_channels: int, n_targets: int, content: int) -> Any:
        """The torch module."""
        import torch
        from torch import nn

        class Window(nn.Module):
            """Centre (target, xy), log size (target,), weights (target, channel)."""

            def __init__(self):
                super().__init__()
                self.centre = nn.Parameter(torch.zeros(n_targets, 2))
                self.log_size = nn.Parameter(torch.full((n_targets,), -0.5))
                self.weight = nn.Parameter(0.01 * torch.randn(n_targets, n_channels))
                self.bias = nn.Parameter(torch.zeros(n_targets))
                where = torch.from_numpy(places(side).astype(np.float32))
                self.register_buffer("where", where, persistent=False)

            def forward(self, maps: Any) -> dict[str, Any]:
                apart = (self.centre[:, None] - self.where).square().sum(2)
                # a window narrower than half a place would see nothing between places
                size = self.log_size.exp().clamp(min=1 / side)
                mask = torch.softmax(-apart / (2 * size[:, None] ** 2), 1)
                seen = maps.flatten(2) @ mask.T
                return {NAME: torch.einsum("bct,tc->bt", seen, self.weight) + self.bias}

        return Window()

    def begin(self, module: Any, fields: Fields) -> None:
        import torch

        with torch.no_grad():
            module.centre.copy_(torch.from_numpy(fields.centre))
            module.log_size.copy_(torch.from_numpy(np.log(fields.size)))
            module.weight.copy_(torch.from_numpy(fields.weight))
            module.bias.copy_(torch.from_numpy(fields.bias))

    def describe(self, module: Any) -> dict[str, np.ndarray]:
        size = module.log_size.detach().exp().cpu().numpy()
        return {"field_centre": module.centre.detach().cpu().numpy(), "field_size": size}
