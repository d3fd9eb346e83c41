"""Response-optimised networks: a small convolutional network that is learned with its readout.

Comes in: maps, such as the picture's pixels. Goes out: feature maps. With rotations its filters come in
turned copies that share their weights, and what the network says of a turned picture is turned itself.

References: Cohen & Welling 2016, arXiv 1602.07576 (group convolutions); Weiler & Cesa 2019, arXiv
1911.08251; Khosla & Wehbe 2022, doi:10.1101/2022.03.16.484578 (response-optimised models of visual cortex).
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from neurovis.config import Config


class Cnn(Config):
    """A compact network: blocks of convolution, batch normalisation and ReLU.

    The default is plain. The third core paper's (arXiv 2410.14031) has 8 blocks of 48 features under 8
    rotations, which ``{n_blocks: 8, n_features: 48, rotations: 8}`` gives.

    Parameters
    ----------
    n_blocks : int
    n_features : int
        Filters of each block, times `rotations`.
    kernel : int
    rotations : {1, 4, 8}
        Angles under which each filter is applied; 4 is exact, 8 interpolates.
    stride : int
        Of the pooling after the first block and every second one after it.
    """

    n_blocks: pydantic.PositiveInt = 4
    n_features: pydantic.PositiveInt = 32
    kernel: int = pydantic.Field(3, ge=1)
    rotations: Literal[1, 4, 8] = 1
    stride: pydantic.PositiveInt = 2

    def build(self, n_channels: int) -> Any:
        """Make the network for maps of so many channels: (image, channel, y, x) to the same."""
        from torch import nn

        layers: list[Any] = []
        for number in range(self.n_blocks):
            first = number == 0
            before = n_channels if first else self.n_features
            if self.rotations == 1:
                layers.append(
                    nn.Conv2d(before, self.n_features, self.kernel, padding="same", bias=False)
                )
                layers.append(nn.BatchNorm2d(self.n_features))
            else:
                layers.append(
                    turning(before, self.n_features, self.kernel, self.rotations, lift=first)
                )
                # one mean and variance for all turned copies
                layers += [nn.Unflatten(1, (self.n_features, self.rotations))]
                layers += [nn.BatchNorm3d(self.n_features), nn.Flatten(1, 2)]
            layers.append(nn.ReLU())
            if number % 2 == 0 and self.stride > 1:
                layers.append(nn.AvgPool2d(self.stride, ceil_mode=True))
        return nn.Sequential(*layers)

    def width(self) -> int:
        """Channels of what comes out."""
        return self.n_features * self.rotations


def turning(n_in: int, n_out: int, kernel: int, rotations: int, lift: bool) -> Any:
    """A convolution whose filters come in turned copies.

    Parameters
    ----------
    n_in, n_out : int
        Features, not counting turned copies.
    kernel, rotations : int
    lift : bool
        Whether maps come without turned copies: the first layer.

    Returns
    -------
    torch.nn.Module
        Maps (image, n_in [x rotations], y, x) to (image, n_out x rotations, y, x).
    """
    import math

    import torch
    from torch import nn
    from torch.nn import functional

    class Turning(nn.Module):
        """Filters are turned with the picture, and with them which turned copy they look at."""

        def __init__(self):
            super().__init__()
            copies = 1 if lift else rotations
            weight = torch.randn(n_out, n_in, copies, kernel, kernel)
            self.weight = nn.Parameter(weight / math.sqrt(n_in * copies * kernel**2 / 2))
            angles = torch.arange(rotations) * 2 * math.pi / rotations
            turn = torch.stack(
                [
                    torch.stack([angles.cos(), -angles.sin(), torch.zeros(rotations)], 1),
                    torch.stack([angles.sin(), angles.cos(), torch.zeros(rotations)], 1),
                ],
                1,
            )
            # what lies outside the circle in the square of a filter cannot be turned
            axis = torch.linspace(-1, 1, kernel) if kernel > 1 else torch.zeros(1)
            inside = axis[:, None] ** 2 + axis**2 <= (2.01 if rotations == 4 else 1.3)
            self.register_buffer("turn", turn, persistent=False)
            self.register_buffer("inside", inside.float(), persistent=False)

        def bank(self) -> Any:
            """All turned filters (n_out, rotation, n_in, copy, y, x)."""
            flat = (self.weight * self.inside).flatten(1, 2)
            turned = []
            for number in range(rotations):
                size = (len(flat), *flat.shape[1:])
                grid = functional.affine_grid(
                    self.turn[number].expand(len(flat), 2, 3), size, align_corners=True
                )
                one = functional.grid_sample(flat, grid, align_corners=True)
                one = one.unflatten(1, self.weight.shape[1:3])
                turned.append(one if lift else one.roll(number, 2))
            return torch.stack(turned, 1)

        def forward(self, maps: Any) -> Any:
            bank = self.bank().flatten(0, 1).flatten(1, 2)
            return functional.conv2d(maps, bank, padding="same")

    return Turning()
