"""A tower together with what is learned on the image side.

Comes in: a tower, the widths of its targets, and the kind of projection. Goes out: a torch module that is
trained, saved and loaded as one. The projection decides which part of an embedding counts when images are compared:
what the brain does not carry only adds noise to a cosine. That part differs from brain to brain: with ``own`` each
subject has a map and a gallery of its own, and training compares rows of one subject at a time. Frozen embeddings
stay frozen. Where a loss asks for it, a small head reads each prediction, its length (which a cosine leaves free)
and the power of its signal, and says how sure the tower is of it.

References: arXiv 2601.21948, 2511.06836 (projection of the image side); 2305.16999 (beside a locked image tower).
"""

from __future__ import annotations

from typing import Any

from neurovis.errors import UsageError

PROJECTED = "@projected"
SPREAD = "@spread"
MOST_SPREAD = 3.0
"""Bound of the logarithm of a spread, either way."""


def decoder(
    tower: Any, outputs: dict[str, int], projection: str, spread: bool = False, n_subjects: int = 1
) -> Any:
    """Join tower and projection.

    Parameters
    ----------
    tower : torch.nn.Module
    outputs : dict of int
        Width of each target.
    projection : {"none", "scale", "linear", "own"}
        One factor per dimension, a full linear map, or such a map per subject; all start as the identity.
    spread : bool
        Also learn ``<target>@spread`` (row, 1), the logarithm of each prediction's spread; 0 at the
        start.
    n_subjects : int
        How many maps ``own`` makes.

    Returns
    -------
    torch.nn.Module
        Called like the tower; ``seen(target)`` adds ``<target>@projected``. ``n_sides`` is the number of
        image sides, of which its methods take one, `side`.
    """
    import torch

    if not isinstance(projection, str):
        raise UsageError(
            f"projection {projection.component}: joins the targets, expected a map of each; make it with "
            "neurovis.joint.image_side."
        )

    class Decoder(torch.nn.Module):
        """See `decoder`."""

        def __init__(self):
            super().__init__()
            self.tower = tower
            self.names = tuple(outputs)
            self.n_sides = n_subjects if projection == "own" else 1
            make = {"scale": torch.ones, "linear": torch.eye, "own": torch.eye}.get(projection)
            start = [make(width) for width in outputs.values()] if make else []
            if projection == "own":
                start = [one.repeat(n_subjects, 1, 1) for one in start]
            self.projection = torch.nn.ParameterList(start)
            if spread:
                self.spread = torch.nn.ModuleList(_head(width) for width in outputs.values())

        def forward(self, *batch: Any) -> dict[str, Any]:
            said = self.tower(*batch)
            if not spread:
                return said
            # noise shows in a signal's power, which towers with norms inside do not pass on
            power = batch[0].flatten(1).square().mean(1, keepdim=True).clamp(min=1e-12).log()
            names = enumerate(self.names)
            return said | {k + SPREAD: self._spread(i, said[k], power) for i, k in names}

        def _spread(self, number: int, vector: Any, power: Any) -> Any:
            length = vector.norm(dim=1, keepdim=True).clamp(min=1e-6) / vector.shape[1] ** 0.5
            said = self.spread[number](torch.cat([vector / length, length.log(), power], 1))
            # towers that start from a closed form take few and small steps: the head takes larger ones
            return MOST_SPREAD * torch.tanh(10 * said / MOST_SPREAD)

        def weight(self, name: str, side: int = 0) -> Any:
            """Projection of one target: tensor (dim,) or (dim, dim)."""
            weight = self.projection[self.names.index(name)]
            return weight[side] if weight.ndim == 3 else weight

        def project(self, name: str, vector: Any, side: int = 0) -> Any:
            """Project vectors (row, dim) of one target."""
            if not len(self.projection):
                return vector
            weight = self.weight(name, side)
            return vector * weight if weight.ndim == 1 else vector @ weight

        def seen(self, target: dict[str, Any], side: int = 0) -> dict[str, Any]:
            """Targets with their projections beside them."""
            if not len(self.projection):
                return target
            return target | {k + PROJECTED: self.project(k, v, side) for k, v in target.items()}

        def gallery(self, target: dict[str, Any], side: int = 0) -> dict[str, Any]:
            """What predictions are compared with: vectors of images, projected."""
            return {name: self.project(name, vector, side) for name, vector in target.items()}

        def starting(self, target: dict[str, Any]) -> dict[str, Any]:
            """What a tower that starts from a closed form starts towards."""
            return target

        def back(self, name: str, vector: Any) -> Any:
            """Move the projection to the brain's side: p . (W g) = (W' p) . g."""
            if not len(self.projection):
                return vector
            weight = self.weight(name)
            return vector * weight if weight.ndim == 1 else vector @ weight.T

        @torch.no_grad()
        def begin(self, **examples: Any) -> None:
            """Let a tower that has a closed-form start take it."""
            apart = {"apart": True} if self.n_sides > 1 else {}
            start = self.tower.start(**examples, **apart)
            for name, weight in zip(self.names, self.projection):
                root = torch.from_numpy(start[name]).to(weight)
                # vectors are rows, and the root is symmetric
                weight.copy_(root.diagonal() if weight.ndim == 1 else root)

    return Decoder()


def _head(width: int) -> Any:
    from torch import nn

    last = nn.Linear(32, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width + 2, 32), nn.GELU(), last)
