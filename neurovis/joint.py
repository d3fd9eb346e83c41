"""Several frozen embeddings brought into one common space, by maps that are trained with the tower.

Comes in: a tower, the widths of its targets, and vectors of training images. Goes out: a torch module
that is called like `neurovis.decoder.decoder`'s, whose tower has one head: its width is the common
space's. What regression losses aim at stays fixed, so that nothing collapses: the first principal
components of all embeddings side by side, each of the same total variance. The maps start there.

References: three towers: arXiv 2305.16999 (that both sides of a pair with the frozen tower have a linear
head of their own is unverified).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pydantic

from neurovis.config import Family, components, resolve
from neurovis.decoder import PROJECTED, decoder
from neurovis.errors import NeurovisError, UsageError, unknown

PLAIN = ("linear", "scale", "none", "own")
ALL = "all"
FROZEN, IMAGE = "~frozen", "~image"
SAID = "@said"
"""What the image side itself says of the frozen tower, handed to the loss beside its target."""


class Projection(Family, family="projections"):
    """What is learned on the image side of all targets together.

    Parameters
    ----------
    width : int
        Dims of the common space; at most the embeddings' together, and training images less one.
    n_hidden : int
        Width of a residual perceptron beside the linear map of each target; 0 for none.
    """

    width: pydantic.PositiveInt = 256
    n_hidden: pydantic.NonNegativeInt = 0


class Adapter(Projection, name="adapter"):
    """A small map from each frozen embedding to one common space; a picture is the sum of its maps."""


class ThreeTowers(Projection, name="three_towers"):
    """Brain tower, adapted image side and a frozen tower, each pair of them contrasted.

    The loss is the mean over the three pairs; test images are compared between brain and image side.

    Parameters
    ----------
    frozen : tuple of str
        Targets whose embeddings are the third tower; all if empty.
    """

    frozen: tuple[str, ...] = ()


def projection_of(value: Any) -> Any:
    """A projection from YAML: one of `PLAIN`, or a component of `Projection`.

    Raises
    ------
    UsageError
        If it is unknown, with the nearest right one.
    """
    if isinstance(value, str) and value not in components(Projection) and ":" not in value:
        if value not in PLAIN:
            raise UsageError(unknown("projection", value, [*PLAIN, *components(Projection)]))
        return value
    return resolve(Projection, value)


def heads(outputs: dict[str, int], projection: Any) -> dict[str, int]:
    """Heads of the tower: one per target, or one where targets are joined.

    Parameters
    ----------
    outputs : dict of int
        Width of each target.
    projection : str or Projection
    """
    if isinstance(projection, str):
        return outputs
    return {ALL if len(outputs) > 1 else next(iter(outputs)): projection.width}


def refuse_folds(projection: Any, n_folds: int) -> None:
    """Refuse a common space, or one per subject, where several folds share one gallery."""
    if n_folds > 1 and projection not in ("linear", "scale", "none"):
        said = projection if isinstance(projection, str) else projection.component
        raise UsageError(
            f"projection {said}: folds share one gallery, which a space of their own cannot have, found "
            f"{n_folds} folds; use linear, scale or none."
        )


def paired(loss: Any, projection: Any) -> Any:
    """The loss, with what the image side says of the frozen tower among its predictions."""
    if not isinstance(projection, ThreeTowers):
        return loss
    import torch

    class Paired(torch.nn.Module):
        """See `ThreeTowers`."""

        def __init__(self):
            super().__init__()
            self.loss = loss

        def forward(self, prediction: dict, target: dict, image: Any, **about: Any) -> dict:
            own = {k.removesuffix(SAID): v for k, v in target.items() if k.endswith(SAID)}
            target = {k: v for k, v in target.items() if not k.endswith(SAID)}
            return self.loss(prediction | own, target, image, **about)

    return Paired()


def start_maps(examples: dict[str, np.ndarray], width: int) -> dict[str, np.ndarray]:
    """Maps whose sum is the first principal components of all embeddings side by side.

    Parameters
    ----------
    examples : dict of array (image, dim)
        Vectors of training images, per target; each target gets the same total variance.
    width : int

    Returns
    -------
    dict of array (dim, width) float32
        The components have unit variance on average.

    Raises
    ------
    NeurovisError
        If there are fewer components.
    """
    blocks = {k: v - v.mean(0, dtype=np.float64) for k, v in examples.items()}
    scale = {k: 1 / (np.sqrt((v**2).sum(1).mean()) or 1.0) for k, v in blocks.items()}
    joined = np.concatenate([blocks[k] * scale[k] for k in blocks], axis=1)
    most = min(len(joined) - 1, joined.shape[1])
    if width > most:
        raise NeurovisError(
            f"projection.width: expected at most {most} (training images less one, or the targets' "
            f"dims together), found {width}; give a smaller one."
        )
    _, size, basis = np.linalg.svd(joined, full_matrices=False)
    spread = np.sqrt((size[:width] ** 2).mean() / len(joined)) or 1.0
    cuts = np.cumsum([v.shape[1] for v in blocks.values()])[:-1]
    parts = np.split(basis[:width].T / spread, cuts)
    return {k: (scale[k] * part).astype(np.float32) for k, part in zip(blocks, parts)}


def image_side(
    tower: Any,
    outputs: dict[str, int],
    projection: Any,
    examples: dict[str, np.ndarray] | None = None,
    **options: Any,
) -> Any:
    """Join a tower and what is learned on the image side.

    Parameters
    ----------
    tower : torch.nn.Module
        With the heads that `heads` names.
    outputs : dict of int
        Width of each target.
    projection : str or Projection
    examples : dict of array (image, dim), optional
        Vectors of training images, which joined maps start from; not needed where weights are loaded.
    **options
        Of `neurovis.decoder.decoder`.

    Returns
    -------
    torch.nn.Module
    """
    if isinstance(projection, str):
        return decoder(tower, outputs, projection, **options)
    return _joint(tower, outputs, projection, examples, options)


def _joint(tower: Any, outputs: dict[str, int], config: Any, examples: Any, options: dict) -> Any:
    import torch
    from torch import nn

    width, head = config.width, next(iter(heads(outputs, config)))
    third = tuple(outputs) if isinstance(config, ThreeTowers) else ()
    third = getattr(config, "frozen", ()) or third
    for name in third:
        if name not in outputs:
            raise UsageError(unknown("target of projection.frozen", name, outputs))

    # the frozen tower alone may have fewer dims than the common space
    thin = min(width, sum(outputs[k] for k in third)) if third else 0

    def fixed(names: Any, width: int = width) -> Any:
        """Maps that are not trained, in the order of names."""
        maps = {k: np.zeros((outputs[k], width), np.float32) for k in names}
        if examples is not None:
            maps = start_maps({k: examples[k] for k in names}, width)
        return [torch.from_numpy(maps[k]) for k in names]

    def perceptron(n: int) -> Any:
        last = nn.Linear(config.n_hidden, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(nn.Linear(n, config.n_hidden), nn.GELU(), last)

    plain = type(decoder(tower, {head: width}, "none", **options))

    class Joint(plain):
        """See `image_side`."""

        def __init__(self):
            super().__init__()
            for i, start in enumerate(fixed(outputs)):
                self.register_buffer(f"start{i}", start)
            self.maps = nn.ParameterList(start.clone() for start in fixed(outputs))
            hidden = outputs.values() if config.n_hidden else ()
            self.hidden = nn.ModuleList(perceptron(n) for n in hidden)
            for i, start in enumerate(fixed(third, thin) if third else ()):
                self.register_buffer(f"third{i}", start)
            # brain and image side towards the frozen tower, and the frozen tower towards each
            sizes = [width, width, thin, thin] if third else []
            self.turns = nn.ParameterList(torch.eye(n, thin) for n in sizes)

        def forward(self, *batch: Any) -> dict[str, Any]:
            said = super().forward(*batch)
            return said | {head + FROZEN: said[head] @ self.turns[0]} if third else said

        def starting(self, target: dict[str, Any]) -> dict[str, Any]:
            """What stays fixed: components (row, width) of all targets, or of arrays of them."""
            pairs = [(target[k], getattr(self, f"start{i}")) for i, k in enumerate(outputs)]
            return {head: sum(v @ _like(start, v) for v, start in pairs)}

        def gallery(self, target: dict[str, Any], side: int = 0) -> dict[str, Any]:
            """Vectors of images in the common space, from those of all targets."""
            vectors = [target[k].to(self.maps[0].dtype) for k in outputs]
            total = sum(v @ one for v, one in zip(vectors, self.maps))
            for vector, one in zip(vectors, self.hidden):
                total = total + one(vector)
            return {head: total}

        def seen(self, target: dict[str, Any], side: int = 0) -> dict[str, Any]:
            """What is fixed, and beside it what is learned."""
            image = self.gallery(target)[head]
            out = self.starting(target) | {head + PROJECTED: image}
            if third:
                still = sum(target[k] @ getattr(self, f"third{i}") for i, k in enumerate(third))
                out[head + FROZEN] = out[head + IMAGE + FROZEN] = still
                out[head + FROZEN + PROJECTED] = still @ self.turns[2]
                out[head + IMAGE + FROZEN + PROJECTED] = still @ self.turns[3]
                out[head + IMAGE + FROZEN + SAID] = image @ self.turns[1]
            return out

        @torch.no_grad()
        def begin(self, **examples: Any) -> None:
            """Let a tower that has a closed-form start take it."""
            root = torch.from_numpy(self.tower.start(**examples)[head]).to(self.maps[0])
            for i, one in enumerate(self.maps):
                one.copy_(getattr(self, f"start{i}") @ root)

    return Joint()


def _like(weight: Any, vector: Any) -> Any:
    """Weights as an array where the vectors are one."""
    return weight.cpu().numpy() if isinstance(vector, np.ndarray) else weight
