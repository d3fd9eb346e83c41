"""ATM: a transformer over channels (S) or over time (E), a temporal-spatial convolution, residual heads.

Comes in: epochs (row, channel, time). Goes out: one vector per target. S attends over channels, each one
token, then convolves as NICE does. E attends over time samples and convolves with EEGNet.

References: Li et al. 2024, arXiv 2403.07721 (NeurIPS); Liu et al. 2024, arXiv 2310.06625 (channels as
tokens); Lawhern et al. 2018, doi:10.1088/1741-2552/aace8c (EEGNet). What E is made of is taken from the
authors' repository alone: unverified against the paper. The 3,183,990 parameters that the paper prints are
those of S's convolution and head and of two of E's transformer layers, of which one stays unused.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.layers import (
    attention,
    by_target,
    cheap_dropout,
    masked,
    residual_head,
    temporal_spatial,
)
from neurovis.errors import NeurovisError


class Atm(BrainEncoder, name="atm"):
    """Transformer over channel tokens, temporal-spatial convolution, a residual head per target.

    Parameters
    ----------
    variant : {"S", "E"}
        S: channel tokens, then the shallow convolution. E: time tokens, then EEGNet.
    n_layers, n_heads, n_ff : int
        Of S's transformer, which is as wide as an epoch has samples. E's is as wide as there are
        channels, with one layer, one head and 2048 hidden units.
    token_dropout : float
        In S's transformer; E's has 0.1.
    subject_token : bool
        One more token, of the subject; off in the paper's code.
    n_filters, kernel, pool, stride : int
        Of S's convolution; see `Nice`.
    dropout : float
        After S's convolution; E's has 0.25.
    n_features : int
        Width between E's convolution and the heads.
    head_dropout : float
    """

    variant: Literal["S", "E"] = "S"
    n_layers: pydantic.PositiveInt = 1
    n_heads: pydantic.PositiveInt = 4
    n_ff: pydantic.PositiveInt = 256
    token_dropout: float = pydantic.Field(0.25, ge=0, lt=1)
    subject_token: bool = False
    n_filters: pydantic.PositiveInt = 40
    kernel: pydantic.PositiveInt = 25
    pool: pydantic.PositiveInt = 51
    stride: pydantic.PositiveInt = 5
    dropout: float = pydantic.Field(0.5, ge=0, lt=1)
    n_features: pydantic.PositiveInt = 1440
    head_dropout: float = pydantic.Field(0.5, ge=0, lt=1)

    def build(self, shape: Shape) -> Any:
        """Build the torch module; see `BrainEncoder.build`."""
        if shape.n_times < self.n_heads:
            raise NeurovisError(
                f"atm: expected at least n_heads = {self.n_heads} samples, found {shape.n_times}; "
                "lower brain.n_heads."
            )
        return _channel_tower(self, shape) if self.variant == "S" else _time_tower(self, shape)


def _channel_tower(config: Atm, shape: Shape) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    width, n_heads = shape.n_times, config.n_heads
    inner = width // n_heads * n_heads

    class Layer(nn.Module):
        """Attention between tokens, then a perceptron on each; both with skip and normalisation."""

        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(width, 3 * inner)
            self.out = nn.Linear(inner, width)
            self.first = nn.Linear(width, config.n_ff)
            self.second = nn.Linear(config.n_ff, width)
            self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
            self.attend = attention(n_heads, config.token_dropout)
            self.drop = cheap_dropout(config.token_dropout)

        def forward(self, x: Any, use: Any) -> Any:
            y = self.out(self.attend(self.qkv(x), use))
            x = self.norms[0](x + self.drop(y))
            y = self.drop(functional.gelu(self.first(x)))
            return self.norms[1](x + self.drop(self.second(y)))

    class Tower(nn.Module):
        """See `Atm`, variant S."""

        def __init__(self):
            super().__init__()
            self.embedding = nn.Linear(shape.n_times, width)
            if config.subject_token:
                self.subject_token = nn.Embedding(len(shape.subjects), width)
            self.drop = cheap_dropout(config.token_dropout)
            self.layers = nn.ModuleList(Layer() for _ in range(config.n_layers))
            self.norm = nn.LayerNorm(width)
            self.convolution = temporal_spatial(
                shape.n_chans, width, config.n_filters, config.kernel, config.pool,
                config.stride, config.dropout, who="atm",
            )  # fmt: skip
            n_in = self.convolution.n_windows * config.n_filters
            self.heads = by_target(
                shape.outputs, lambda dim: residual_head(n_in, dim, config.head_dropout)
            )

        def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
            x = self.embedding(masked(signal, present))
            use = None if bool(present.all()) else present
            if config.subject_token:
                x = torch.cat([self.subject_token(subject)[:, None], x], 1)
                use = None if use is None else functional.pad(use, (1, 0), value=True)
            x = self.drop(x)
            for layer in self.layers:
                x = layer(x, use)
            x = self.norm(x)[:, -shape.n_chans :]
            # an absent channel's token has heard the others: the convolution must not
            return self.heads(self.convolution(masked(x, present)).flatten(1))

    return Tower()


def _time_tower(config: Atm, shape: Shape) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    n_chans, n_times = shape.n_chans, shape.n_times
    if n_times < 32:
        raise NeurovisError(
            f"atm: expected at least 32 samples for variant E's pooling, found {n_times}; use "
            "brain.variant=S with a smaller brain.pool and brain.kernel."
        )

    class EegNet(nn.Module):
        """EEGNet with F1 = 8, D = 20, F2 = 160, kernel 4, as ATM-E uses it."""

        def __init__(self):
            super().__init__()
            self.temporal = nn.Conv2d(1, 8, (1, 4), bias=False)
            self.spatial = nn.Conv2d(8, 160, (n_chans, 1), groups=8, bias=False)
            self.depth = nn.Conv2d(160, 160, (1, 16), groups=160, bias=False)
            self.point = nn.Conv2d(160, 160, 1, bias=False)
            sizes = (8, 160, 160)
            self.norms = nn.ModuleList(nn.BatchNorm2d(n, momentum=0.01, eps=1e-3) for n in sizes)
            self.drop = nn.Dropout(0.25)
            self.last = nn.Conv2d(160, config.n_features, (1, n_times // 32))

        def forward(self, x: Any) -> Any:
            # padded to the same length
            x = self.norms[0](self.temporal(functional.pad(x, (1, 2))[:, None]))
            # each spatial filter has at most unit norm
            x = functional.conv2d(x, self.spatial.weight.renorm(2, 0, 1.0), groups=8)
            x = functional.elu(self.norms[1](x))
            x = self.drop(functional.avg_pool2d(x, (1, 4)))
            x = self.depth(functional.pad(x, (7, 8)))
            x = functional.elu(self.norms[2](self.point(x)))
            x = self.drop(functional.avg_pool2d(x, (1, 8)))
            return self.last(x).flatten(1)

    class Tower(nn.Module):
        """See `Atm`, variant E."""

        def __init__(self):
            super().__init__()
            self.attention = nn.TransformerEncoderLayer(n_chans, 1, batch_first=True)
            place = torch.arange(n_times)[:, None]
            rate = torch.exp(torch.arange(0, n_chans, 2) * (-math.log(10000.0) / n_chans))
            waves = torch.stack([torch.sin(place * rate), torch.cos(place * rate)], 2)
            self.register_buffer("place", waves.flatten(1)[:, :n_chans].clone(), persistent=False)
            self.subject = nn.ModuleList(nn.Linear(n_times, n_times) for _ in shape.subjects)
            self.convolution = EegNet()
            self.heads = by_target(
                shape.outputs,
                lambda dim: residual_head(config.n_features, dim, config.head_dropout),
            )

        def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
            x = masked(signal, present).transpose(1, 2) + self.place
            x = self.attention(x).transpose(1, 2)
            y = torch.empty_like(x)
            for number in subject.unique().tolist():
                rows = subject == number
                y[rows] = self.subject[number](x[rows]).to(y.dtype)
            return self.heads(self.convolution(y))

    return Tower()
