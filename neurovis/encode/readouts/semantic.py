"""Semantic spatial-transformer readout: what the picture is about moves windows and weighs channels.

Comes in: maps, and a vector of the picture's content. Goes out: the factorised readout, in which the content
gives every target an affine warp of its window and an affine change of each channel it sees. It starts
as the factorised readout, which is trained first: what it gains over that is the content's doing. What content
does to all channels alike is then found in closed form, as descent loses it in noise, and descent goes on.

Reference: Saha, Chadha & Khosla, arXiv 2410.14031 (there content is a frozen ResNet-50 trained on ImageNet;
sizes of hidden layers are ours: unverified). Warps: Jaderberg et al. 2015, arXiv 1506.02025.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pydantic

from neurovis.encode.descent import descend, says
from neurovis.encode.features import components
from neurovis.encode.fields import PENALTIES, Fields
from neurovis.encode.readouts.base import Problem
from neurovis.encode.readouts.factorised import middles, start
from neurovis.encode.readouts.maps import NAME, MapReadout

SLOPE = 0.3
"""Of the hidden units that stand for components of the content at first."""


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
        self.begin_content(module, head, problem, inputs, y)
        return descend(module, problem, self.train, inputs, y, varies)

    def begin_content(
        self, module: Any, head: Any, problem: Problem, inputs: Any, y: np.ndarray
    ) -> None:
        """Start from what content does to all channels of a target alike, and adds to it.

        Both are linear in principal components of the content: Bayesian regression of what the factorised
        readout leaves, its penalties and nothing at all weighed by their evidence. Kept where
        validation images are predicted better, all targets together.
        """
        import torch

        def said(rows: np.ndarray, modulated: bool) -> np.ndarray:
            head.modulated = modulated
            found = says(module, problem.image[rows], inputs, self.train.batch_size)
            return np.concatenate(list(found))

        train, held = problem.train, problem.held
        if not len(held):
            return
        plain = said(train, False)
        about = np.concatenate(
            [inputs(problem.image[train[i : i + 512]])[1] for i in range(0, len(train), 512)]
        ).astype(np.float64)
        middle = about.mean(0)
        n = min(self.n_hidden, about.shape[1], len(train) - 1)
        axes = components(about - middle, n)
        axes /= ((about - middle) @ axes.T).std(0).clip(1e-9)[:, None]
        z = (about - middle) @ axes.T
        bias = head.bias.detach().cpu().numpy()
        driven = plain - bias
        weight, offset = _alike(z, driven, y[train] - plain)
        before = {k: v.detach().clone() for k, v in head.state_dict().items()}
        n_targets, n_channels = head.weight.shape
        with torch.no_grad():
            first, place = head.hidden[0], head.weight.device
            put = lambda values: torch.from_numpy(values.astype(np.float32)).to(place)  # noqa: E731
            # so little that tanh is nearly straight
            first.weight[:n] = put(SLOPE * axes)
            first.bias[:n] = put(-SLOPE * axes @ middle)
            add, gain = put(weight[:, :n] / SLOPE), put(weight[:, n:] / SLOPE)
            head.gain.weight.view(n_targets, n_channels, -1)[:, :, :n] = gain[:, None]
            share = head.weight / head.weight.square().sum(1, keepdim=True).clamp(min=1e-12)
            head.shift.weight.view(n_targets, n_channels, -1)[:, :, :n] = (
                add[:, None] * share[:, :, None]
            )
            head.bias += put(offset)
        errors = [float(((said(held, m) - y[held] - d) ** 2).mean()) for m, d in ((False, offset), (True, 0.0))]  # fmt: skip
        if errors[1] >= errors[0]:
            head.load_state_dict(before)
        head.modulated = True


def _alike(z: np.ndarray, driven: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What content adds to each target and how it changes its gain.

    Parameters
    ----------
    z : array (image, component)
    driven : array (image, target)
        What the plain readout says, without its bias.
    left : array (image, target)
        What it leaves of the responses.

    Returns
    -------
    weight : array (target, 2 x component)
        Of `z`, and of `z` times `driven`.
    offset : array (target,)
    """
    n, n_components = z.shape
    weight = np.zeros((driven.shape[1], 2 * n_components))
    offset = np.zeros(driven.shape[1])
    for target in range(driven.shape[1]):
        x = np.concatenate([z, z * driven[:, target, None]], 1).astype(np.float64)
        # both parts count alike, however strongly the target is driven
        scale = np.repeat(np.sqrt((x**2).mean(0).reshape(2, -1).mean(1)).clip(1e-9), n_components)
        x /= scale
        mean = x.mean(0)
        x -= mean
        y = left[:, target] - left[:, target].mean(dtype=np.float64)
        value, vector = np.linalg.eigh(x.T @ x)
        value = value.clip(0)
        along = vector.T @ (x.T @ y)
        power = float(y @ y)
        logs, found = [-0.5 * (n - 1) * np.log(max(power, 1e-30))], [np.zeros_like(value)]
        for penalty in PENALTIES * (value.mean() or 1.0):
            unexplained = power - (along**2 / (value + penalty)).sum()
            log = -0.5 * (n - 1) * np.log(max(unexplained, 1e-30))
            logs.append(log - 0.5 * np.log1p(value / penalty).sum())
            found.append(vector @ (along / (value + penalty)))
        share = np.exp(np.array(logs) - max(logs))
        coef = (share / share.sum()) @ np.stack(found)
        weight[target] = coef / scale
        offset[target] = left[:, target].mean() - mean @ coef
    return weight, offset
