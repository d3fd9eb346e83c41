"""A tower together with what is learned on the image side.

Comes in: a tower, the widths of its targets, and the kind of projection. Goes out: a torch module that
is trained, saved and loaded as one. The projection decides which part of an embedding counts when
images are compared: what the brain does not carry only adds noise to a cosine. Frozen embeddings stay
frozen; with ``none`` they are compared as they are.

References: projection of the image side in brain decoding: arXiv 2601.21948, 2511.06836; its place
beside a locked image tower: arXiv 2305.16999.
"""

from __future__ import annotations

from typing import Any

from neurovis.errors import UsageError

PROJECTED = "@projected"


def decoder(tower: Any, outputs: dict[str, int], projection: str) -> Any:
    """Join tower and projection.

    Parameters
    ----------
    tower : torch.nn.Module
    outputs : dict of int
        Width of each target.
    projection : {"none", "scale", "linear"}
        One factor per dimension, or a full linear map; both start as the identity.

    Returns
    -------
    torch.nn.Module
        Called like the tower; ``seen(target)`` adds ``<target>@projected``.
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
            make = {"scale": torch.ones, "linear": torch.eye}.get(projection)
            start = [make(width) for width in outputs.values()] if make else []
            self.projection = torch.nn.ParameterList(start)

        def forward(self, *batch: Any) -> dict[str, Any]:
            return self.tower(*batch)

        def project(self, name: str, vector: Any) -> Any:
            """Project vectors (row, dim) of one target."""
            if not len(self.projection):
                return vector
            weight = self.projection[self.names.index(name)]
            return vector * weight if weight.ndim == 1 else vector @ weight

        def seen(self, target: dict[str, Any]) -> dict[str, Any]:
            """Targets with their projections beside them."""
            if not len(self.projection):
                return target
            return target | {k + PROJECTED: self.project(k, v) for k, v in target.items()}

        def gallery(self, target: dict[str, Any]) -> dict[str, Any]:
            """What predictions are compared with: vectors of images, projected."""
            return {name: self.project(name, vector) for name, vector in target.items()}

        def starting(self, target: dict[str, Any]) -> dict[str, Any]:
            """What a tower that starts from a closed form starts towards."""
            return target

        def back(self, name: str, vector: Any) -> Any:
            """Move the projection to the brain's side: p . (W g) = (W' p) . g."""
            if not len(self.projection):
                return vector
            weight = self.projection[self.names.index(name)]
            return vector * weight if weight.ndim == 1 else vector @ weight.T

        @torch.no_grad()
        def begin(self, **examples: Any) -> None:
            """Let a tower that has a closed-form start take it."""
            start = self.tower.start(**examples)
            for name, weight in zip(self.names, self.projection):
                root = torch.from_numpy(start[name]).to(weight)
                # vectors are rows, and the root is symmetric
                weight.copy_(root.diagonal() if weight.ndim == 1 else root)

    return Decoder()
