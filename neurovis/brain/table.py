"""What each tower has in weights and says in shapes, found by building and running it.

Comes in: towers of the registry. Goes out: a table of parameter counts at published shapes, and for one
tower what each of its modules gives. Nothing is written down by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.layers import size
from neurovis.errors import NeurovisError


def published(
    kind: str, n_chans: int, n_times: int, sfreq: float, dim: int, n_subjects: int = 1
) -> Callable[..., Shape]:
    """A function that makes a shape as published, or with fewer channels.

    Positions are spread evenly: over a hemisphere for sensors, in a cube for voxels.
    """

    def make(shrink: int = 1) -> Shape:
        n = max(2, n_chans // shrink)
        if kind == "voxel":
            side = int(np.ceil(n ** (1 / 3)))
            grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1)
            position = 0.002 * grid.reshape(-1, 3)[:n]
        else:
            turn = np.arange(n) * np.pi * (3 - 5**0.5)
            height = 1 - (np.arange(n) + 0.5) / n
            ring = np.sqrt(1 - height**2)
            position = 0.1 * np.stack([ring * np.cos(turn), ring * np.sin(turn), height], 1)
        names = tuple(f"{kind}{number}" for number in range(n))
        subjects = tuple(f"{number + 1:02d}" for number in range(n_subjects))
        return Shape(
            n_times, sfreq, names, (kind,) * n, position.astype(np.float32), subjects,
            {"image": dim},
        )  # fmt: skip

    return make


PUBLISHED = {
    "meg": published("mag", 271, 181, 120.0, 768, 4),
    "eeg": published("eeg", 63, 250, 250.0, 1024),
    "fmri": published("voxel", 15724, 1, 1.0, 768),
}
"""Shapes of the papers: 271 sensors at 120 Hz for 1.5 s, 63 at 250 Hz for 1 s, betas of one subject."""


def table(towers: dict[str, type[BrainEncoder]]) -> list[tuple[str, ...]]:
    """Rows of a table: learned weights of each tower with its defaults, at each published shape.

    Parameters
    ----------
    towers : dict of BrainEncoder
        By name.
    """
    shapes = {kind: make() for kind, make in PUBLISHED.items()}
    titles = [f"{kind} {shape.n_chans} x {shape.n_times}" for kind, shape in shapes.items()]
    rows = [("name", *titles)]
    for name, cls in towers.items():
        if cls.closed_form:
            rows.append((name, *["closed form"] * len(shapes)))
            continue
        counts = []
        for shape in shapes.values():
            try:
                counts.append(f"{size(cls().build(shape)):,}")
            except NeurovisError:
                counts.append("does not fit")
        rows.append((name, *counts))
    return rows


def passes(config: BrainEncoder, shape: Shape) -> list[tuple[str, ...]]:
    """Rows of a table: what each module of a tower gives in one forward pass, and its weights.

    Weights stand at the innermost module that is called; modules that only call others are left out.

    Parameters
    ----------
    config : BrainEncoder
    shape : Shape
    """
    import torch

    tower = config.build(shape).eval()
    names = {module: name for name, module in tower.named_modules()}
    called: list[tuple[Any, Any]] = []
    for module in names:
        module.register_forward_hook(lambda module, _, said: called.append((module, said)))
    subject = torch.zeros(2, dtype=torch.int64)
    present = torch.ones(2, shape.n_chans, dtype=torch.bool)
    with torch.inference_mode():
        said = tower(torch.zeros(2, shape.n_chans, shape.n_times), subject, present)
    working = {module for module, _ in called}
    rows, listed = [("module", "kind", "gives", "weights")], set()
    for module, value in called:
        inside = (set(module.modules()) - {module}) & working
        own = set(module.parameters()) - {p for other in inside for p in other.parameters()}
        own -= listed
        listed |= own
        if own or not inside:
            count = sum(p.numel() for p in own if p.requires_grad)
            name = names[module] or "(tower)"
            rows.append((name, type(module).__name__, _sizes(value), f"{count:,}"))
    rows += [("", target, _sizes(vector), "") for target, vector in said.items()]
    return [*rows, ("", "all", "", f"{size(tower):,}")]


def _sizes(value: Any) -> str:
    """Shape of what a module gives for one row."""
    if isinstance(value, dict):
        return ", ".join(_sizes(part) for part in value.values())
    if isinstance(value, tuple | list):
        return _sizes(value[0])
    return " x ".join(map(str, value.shape[1:])) if hasattr(value, "shape") else "?"
