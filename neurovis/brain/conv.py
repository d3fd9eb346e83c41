"""The convolutional tower of the first core paper, written from its description.

Spatial attention over sensor positions -> 1x1 -> one linear layer per subject -> residual dilated
blocks -> temporal aggregation -> two heads per target (contrastive, regression).

References: Benchetrit, Banville & King 2024, arXiv 2310.19812 (tower, aggregation, heads);
Défossez et al. 2023, doi:10.1038/s42256-023-00714-5 (spatial attention, subject layer, blocks).
Widths marked unverified in the project's notes: 270 virtual channels, 320 hidden, 2 blocks.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.brain.base import REGRESSION, BrainEncoder, Shape, layout
from neurovis.brain.layers import masked
from neurovis.config import added


class Conv(BrainEncoder, name="conv"):
    """Spatial attention, subject layer, dilated residual blocks, temporal aggregation, two heads.

    Parameters
    ----------
    spatial : {"attention", "learned"}
        Attention by sensor position, or a plain 1x1 over the channels (no positions needed).
    n_virtual : int
        Virtual channels after spatial attention.
    n_harmonics : int
        Fourier harmonics per axis of the attention maps.
    spatial_dropout : float
        Radius, as a share of the layout, of the disc of sensors ignored in each training batch.
    n_hidden, n_blocks, kernel : int
        Width, number and kernel of the residual blocks.
    time : {"affine", "mean", "attention"}
        Temporal aggregation.
    n_features : int
        Width between aggregation and heads.
    dropout : float
        After the aggregation.
    subject_layer : bool or {"linear", "embedding", "none"}
        One linear map of the virtual channels per subject (also ``true``), one learned vector per subject
        added to them, or nothing (``false``).
    heads : {"separate", "shared", "one"}
        One head per target and loss, as in the paper; one that all share, with a linear map per target
        and loss behind it; or one per target, for both losses.
    """

    spatial: Literal["attention", "learned"] = "attention"
    n_virtual: pydantic.PositiveInt = 270
    n_harmonics: pydantic.PositiveInt = 32
    spatial_dropout: float = pydantic.Field(0.1, ge=0, lt=1)
    n_hidden: pydantic.PositiveInt = 320
    n_blocks: pydantic.NonNegativeInt = 2
    kernel: pydantic.PositiveInt = 3
    time: Literal["affine", "mean", "attention"] = "affine"
    n_features: pydantic.PositiveInt = 1024
    dropout: float = pydantic.Field(0.1, ge=0, lt=1)
    subject_layer: bool | Literal["linear", "embedding", "none"] = True
    heads: Literal["separate", "shared", "one"] = added("separate")

    def build(self, shape: Shape) -> Any:
        """Build the torch module; see `BrainEncoder.build`."""
        return _tower(self, shape)


def _tower(config: Conv, shape: Shape) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    class SpatialAttention(nn.Module):
        """Each virtual channel is a softmax-weighted sum of sensors, smooth in their position."""

        def __init__(self):
            super().__init__()
            flat = layout(shape.channel_position)
            known = np.isfinite(flat).all(1)
            # the margin keeps the Fourier basis from wrapping one side of the head to the other
            points = 0.1 + 0.8 * np.where(known[:, None], flat, 0.5)
            k = np.arange(config.n_harmonics)
            phase = (
                2 * math.pi * (points[:, :1, None] * k[:, None] + points[:, 1:, None] * k[None, :])
            )
            phase = phase.reshape(len(points), -1)
            basis = np.concatenate([np.cos(phase), np.sin(phase)], 1).astype(np.float32)
            self.register_buffer("basis", torch.from_numpy(basis), persistent=False)
            self.register_buffer("points", torch.from_numpy(points.astype(np.float32)), False)
            self.register_buffer("known", torch.from_numpy(known), persistent=False)
            weight = torch.randn(config.n_virtual, basis.shape[1]) / math.sqrt(basis.shape[1])
            self.weight = nn.Parameter(weight * 2.0)

        def forward(self, signal: Any, present: Any) -> Any:
            score = self.weight @ self.basis.T
            use = present & self.known
            if self.training and config.spatial_dropout:
                centre = self.points[torch.randint(len(self.points), (1,))]
                near = (self.points - centre).norm(dim=1) < config.spatial_dropout
                kept = use & ~near
                use = torch.where(kept.any(1, keepdim=True), kept, use)
            if bool(use.all()):
                return torch.einsum("vc,bct->bvt", score.softmax(1), signal)
            score = score[None].masked_fill(~use[:, None], -torch.inf)
            return torch.einsum("bvc,bct->bvt", score.softmax(2), signal)

    class SubjectLayer(nn.Module):
        """One linear map of the virtual channels per subject, identity at the start."""

        def __init__(self, width: int):
            super().__init__()
            eye = torch.eye(width)[None].repeat(len(shape.subjects), 1, 1)
            self.weight = nn.Parameter(eye + 0.01 * torch.randn_like(eye))

        def forward(self, signal: Any, subject: Any) -> Any:
            if len(self.weight) == 1:
                return torch.einsum("oi,bit->bot", self.weight[0], signal)
            out = torch.empty_like(signal)
            for number in subject.unique().tolist():
                rows = subject == number
                mapped = torch.einsum("oi,bit->bot", self.weight[number], signal[rows])
                out[rows] = mapped.to(out.dtype)
            return out

    class SubjectEmbedding(nn.Module):
        """A vector per subject, added to the virtual channels at all times."""

        def __init__(self, width: int):
            super().__init__()
            self.weight = nn.Parameter(0.01 * torch.randn(len(shape.subjects), width))

        def forward(self, signal: Any, subject: Any) -> Any:
            return signal + self.weight[subject][:, :, None]

    class Block(nn.Module):
        """Two dilated convolutions with skips, then one gated convolution."""

        def __init__(self, index: int, n_in: int):
            super().__init__()
            width, kernel = config.n_hidden, config.kernel
            dilation = [2 ** ((2 * index) % 5), 2 ** ((2 * index + 1) % 5)]
            self.first = nn.Conv1d(n_in, width, kernel, padding="same", dilation=dilation[0])
            self.second = nn.Conv1d(width, width, kernel, padding="same", dilation=dilation[1])
            self.third = nn.Conv1d(width, 2 * width, kernel, padding="same")
            self.norms = nn.ModuleList([nn.BatchNorm1d(width), nn.BatchNorm1d(width)])
            self.skip = n_in == width

        def forward(self, x: Any) -> Any:
            y = self.first(x)
            x = functional.gelu(self.norms[0](y + x if self.skip else y))
            x = functional.gelu(self.norms[1](self.second(x) + x))
            return functional.glu(self.third(x), dim=1)

    class Tower(nn.Module):
        """The whole of it."""

        def __init__(self):
            super().__init__()
            if config.spatial == "attention":
                self.attention = SpatialAttention()
                n_in = config.n_virtual
            else:
                n_in = shape.n_chans
            self.mix = nn.Conv1d(n_in, config.n_virtual, 1)
            self.subject = None
            if config.subject_layer in (True, "linear"):
                self.subject = SubjectLayer(config.n_virtual)
            elif config.subject_layer == "embedding":
                self.subject = SubjectEmbedding(config.n_virtual)
            width = config.n_hidden if config.n_blocks else config.n_virtual
            self.blocks = nn.ModuleList(
                Block(i, config.n_hidden if i else config.n_virtual) for i in range(config.n_blocks)
            )
            self.features = nn.Conv1d(width, config.n_features, 1)
            if config.time == "affine":
                self.over_time = nn.Linear(shape.n_times, 1)
                nn.init.constant_(self.over_time.weight, 1 / shape.n_times)
            elif config.time == "attention":
                self.over_time = nn.Linear(config.n_features, 1)
            self.drop = nn.Dropout(config.dropout)
            width = config.n_features
            trunk = [nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width), nn.GELU()]
            self.trunk = nn.Sequential(*trunk) if config.heads == "shared" else nn.Identity()
            ends = ("",) if config.heads == "one" else ("", REGRESSION)
            heads = {}
            for target, dim in shape.outputs.items():
                for end in ends:
                    head = [nn.Linear(width, dim)]
                    if config.heads != "shared":
                        head = [nn.LayerNorm(width), nn.GELU(), *head]
                    heads[target + end] = nn.Sequential(*head)
            # dots are not allowed in names of submodules
            self.head_names = tuple(heads)
            self.heads = nn.ModuleList(heads.values())

        def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
            x = masked(signal, present)
            if config.spatial == "attention":
                x = self.attention(x, present)
            x = self.mix(x)
            if self.subject is not None:
                x = self.subject(x, subject)
            for block in self.blocks:
                x = block(x)
            if config.time == "affine":
                # linear in time commutes with the 1x1 that follows, and is cheaper first
                weight = self.over_time.weight[0]
                x = torch.einsum("bct,t->bc", x, weight)[..., None]
                x = self.features(x)[..., 0] + self.over_time.bias
            elif config.time == "mean":
                x = self.features(x.mean(2, keepdim=True))[..., 0]
            else:
                x = self.features(x)
                weight = self.over_time(x.transpose(1, 2)).softmax(1)
                x = torch.einsum("bct,bto->bc", x, weight)
            x = self.trunk(self.drop(x))
            return {name: head(x) for name, head in zip(self.head_names, self.heads)}

    return Tower()
