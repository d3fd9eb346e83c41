"""The way from an encoder's vectors to the space in which a decoder is compared with images.

Comes in: statistics of training images, and what was learned on the image side. Goes out: an affine map
that is kept beside a model, so that any other picture, or a caption, can be a candidate, too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Embeddings
from neurovis.store import load_tensors, read_json, save_tensors

PARTS = ("centre", "basis", "deviation", "scale")


@dataclass(frozen=True, eq=False)
class Space:
    """An affine map ``(vector - centre) @ basis.T / deviation / scale``, then a learned projection.

    Parameters
    ----------
    centre : array (dim,), optional
        None leaves vectors as they are.
    basis : array (component, dim), optional
        Principal components of the training images.
    deviation : array (component,), optional
    scale : float
    projection : array (component, out) or (component,), optional
        Learned with a tower; float32.
    encoder : dict
        Config of the encoder whose vectors it takes.
    """

    centre: np.ndarray | None = None
    basis: np.ndarray | None = None
    deviation: np.ndarray | None = None
    scale: float = 1.0
    projection: np.ndarray | None = None
    encoder: dict[str, Any] = field(default_factory=dict)

    def apply(self, vector: np.ndarray, double: bool = False) -> np.ndarray:
        """Map vectors: array (image, dim) or (image, token, dim) to (image, out) float32.

        With `double` the projection is computed in float64, too, so that equal vectors stay equal in
        whichever block they stand.
        """
        vector = np.reshape(vector, (len(vector), -1))
        if self.centre is not None:
            if vector.shape[1] != len(self.centre):
                raise NeurovisError(
                    f"space: expected vectors with {len(self.centre)} dims, as {self.name} gives, found "
                    f"{vector.shape[1]}; embed the images with that encoder."
                )
            vector = vector - self.centre
            if self.basis is not None:
                vector = vector @ self.basis.T / self.deviation
            vector = vector / self.scale
        vector = vector.astype(np.float32, copy=False)
        if self.projection is None:
            return vector
        weight = self.projection
        if double:
            vector, weight = vector.astype(np.float64), weight.astype(np.float64)
        out = vector * weight if weight.ndim == 1 else vector @ weight
        return out.astype(np.float32, copy=False)

    def back(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The way back from decoded vectors: a map (out, dim) and the point (dim,) that it starts from.

        A learned projection is transposed, not inverted: inner products with images stay as they are,
        and what the brain does not carry is not blown up. Lengths mean nothing after it.

        Parameters
        ----------
        width : int
            Dims of decoded vectors.
        """
        way = np.eye(width) if self.projection is None else self.projection.astype(np.float64)
        way = np.diag(way) if way.ndim == 1 else way.T
        if self.basis is not None:
            way = (way * self.deviation) @ self.basis
        origin = np.zeros(way.shape[1]) if self.centre is None else self.centre
        return way * self.scale, origin.astype(np.float64)

    @property
    def name(self) -> str:
        """The encoder in a few words."""
        return str(self.encoder.get("name") or "the model's encoder")

    def check(self, encoder: dict[str, Any]) -> None:
        """Refuse vectors of another encoder; those that do not say their encoder are taken."""
        mine = {k: v for k, v in self.encoder.items() if k != "target"}
        if encoder and mine and encoder != mine:
            wrong = [k for k in {**mine, **encoder} if mine.get(k) != encoder.get(k)]
            raise NeurovisError(
                f"gallery: was embedded with another encoder ({wrong[0]} is {encoder.get(wrong[0])!r}, "
                f"expected {mine.get(wrong[0])!r}); embed it with the encoder of the model."
            )

    def write(self, path: str | Path) -> None:
        """Write a ``.safetensors`` file."""
        import torch

        parts = {k: getattr(self, k) for k in (*PARTS, "projection")}
        tensors = {k: torch.from_numpy(np.array(v)) for k, v in parts.items() if v is not None}
        save_tensors(path, tensors, format="neurovis-space", encoder=json.dumps(self.encoder))

    @classmethod
    def read(cls, path: str | Path) -> Space:
        """Read what `write` wrote."""
        from safetensors import safe_open

        found = {k: v.numpy() for k, v in load_tensors(path).items()}
        if "scale" not in found or found.keys() - {*PARTS, "projection"}:
            raise NeurovisError(f"{path}: expected a space, found {sorted(found)}; train anew.")
        with safe_open(path, "np") as file:
            encoder = json.loads((file.metadata() or {}).get("encoder", "{}"))
        return cls(**{**found, "scale": float(found["scale"])}, encoder=encoder)


@dataclass(frozen=True, eq=False)
class Aimed(Embeddings):
    """Embeddings in a target's space, and the way there.

    Parameters
    ----------
    space : Space
    """

    space: Space = field(default_factory=Space)


def run_spaces(run: str | Path, system: str, target: str) -> list[tuple[Space, int | None]]:
    """The way from an encoder's vectors to what one system of a run is compared with.

    Returns
    -------
    list of (Space, int or None)
        One per model, with its number of rows of ``prediction.h5``, in order; None stands for all rows.

    Raises
    ------
    NeurovisError
        If the run keeps none, or has not one model for each of its galleries.
    """
    run, folder = Path(run), Path(run) / "systems" / system
    space = Space.read(run / "spaces" / f"{target}.safetensors")
    counts: list[int | None] = [None]
    if (folder / "galleries.json").is_file():
        counts = read_json(folder / "galleries.json", "neurovis-galleries")["rows"]
    elif not (folder / "gallery").is_dir():
        return [(space, None)]
    weights = sorted((run if system == "tower" else folder).glob("model*.safetensors"))
    number = list(read_json(run / "shape.json")["outputs"]).index(target)
    sides: list[Any] = []
    for path in weights:
        learned = load_tensors(path).get(f"projection.{number}")
        own = None if learned is None else learned.float().numpy()
        # one per subject where each has an image side of its own
        sides += list(own) if own is not None and own.ndim == 3 else [own]
    if len(sides) != len(counts):
        raise NeurovisError(
            f"{run}: expected a model for each of {len(counts)} galleries of {system}, found "
            f"{len(sides)}; search with --prediction in a gallery of the run."
        )
    spaces = [space if own is None else replace(space, projection=own) for own in sides]
    return list(zip(spaces, counts))
