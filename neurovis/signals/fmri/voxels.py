"""Voxels: where they are, and how much their responses say.

Comes in: coordinates and regions, or responses to repeated images. Goes out: `Voxels`, and per voxel
the reliability and the noise ceiling. What others do with whole matrices is done from sums over
repeats, so that memory is bounded by one block of voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from neurovis.errors import NeurovisError, UsageError, unknown


@dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels, or surface vertices, of one subject.

    Parameters
    ----------
    name : array of str (voxel,)
        Unique within the subject: ``v`` and the flat (C order) index in the volume, ``lh`` or ``rh``
        and the number of a vertex.
    position : array (voxel, 3), m
        In the image's world coordinates; NaN where unknown.
    roi : dict of array of bool (voxel,)
        Named regions; they may overlap.
    index : array of int (voxel, 3), optional
        Place in the volume.
    shape : tuple of int, optional
        Of the volume.
    affine : array (4, 4), mm, optional
        From `index` to world coordinates.
    space : str
        Name of a space that subjects share; empty for the subject's own, where voxels of two
        subjects are different channels.
    """

    name: np.ndarray
    position: np.ndarray
    roi: dict[str, np.ndarray] = field(default_factory=dict)
    index: np.ndarray | None = None
    shape: tuple[int, ...] | None = None
    affine: np.ndarray | None = None
    space: str = ""

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("name", np.asarray(self.name).astype(str))
        put("position", np.asarray(self.position, np.float32))
        n = len(self.name)
        if n == 0 or len(set(self.name.tolist())) != n:
            raise NeurovisError(
                f"Voxels.name: expected at least one voxel and every name once, found {n} names, "
                f"{len(set(self.name.tolist()))} different; check the mask."
            )
        if self.position.shape != (n, 3):
            raise NeurovisError(
                f"Voxels.position: expected (voxel={n}, 3), found {self.position.shape}; give metres, "
                "NaN where unknown."
            )
        put("roi", {str(k): np.asarray(v, bool) for k, v in self.roi.items()})
        for name, member in self.roi.items():
            if member.shape != (n,):
                raise NeurovisError(
                    f"Voxels.roi: region {name!r}: expected (voxel={n},), found {member.shape}; give "
                    "it on the same voxels."
                )
        if self.index is not None:
            put("index", np.asarray(self.index, np.int64))
            if self.index.shape != (n, 3) or self.shape is None:
                raise NeurovisError(
                    f"Voxels.index: expected (voxel={n}, 3) and a shape, found {self.index.shape} and "
                    f"{self.shape}; give both."
                )

    def __len__(self) -> int:
        return len(self.name)

    def take(self, rows: np.ndarray) -> Voxels:
        """The given voxels, in the order given."""
        rows = np.asarray(rows)
        return replace(
            self,
            name=self.name[rows],
            position=self.position[rows],
            roi={name: member[rows] for name, member in self.roi.items()},
            index=None if self.index is None else self.index[rows],
        )

    def select(self, roi: tuple[str, ...]) -> np.ndarray:
        """Rows of the union of regions, less those named with ``-`` in front; all without any.

        Raises
        ------
        UsageError
            If a region is unknown or no voxel is left.
        """
        inside = [name for name in roi if not name.startswith("-")]
        keep = np.zeros(len(self), bool) if inside else np.ones(len(self), bool)
        for name in roi:
            if name.removeprefix("-") not in self.roi:
                raise UsageError(unknown("roi", name.removeprefix("-"), self.roi))
        for name in inside:
            keep |= self.roi[name]
        for name in roi:
            if name.startswith("-"):
                keep &= ~self.roi[name[1:]]
        if not keep.any():
            raise UsageError(
                f"roi: no voxel is in {', '.join(roi)}; expected at least one: choose other regions."
            )
        return np.flatnonzero(keep)
