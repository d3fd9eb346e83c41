"""Responses as one table, as the Brain Decoder Toolbox (bdpy) writes it.

Comes in: an ``.h5`` with ``dataset`` (sample, column) and ``metadata``: keys, and for each key one value
per column (1 where the column belongs to it, a coordinate, or NaN); ``dataSet`` and ``metaData`` in old
files. Goes out: labels per sample, `Voxels` with regions and places, and the responses of some samples.
The voxels' part, which is nearly all of the file, is read for the rows asked for alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.signals.fmri.voxels import Voxels

VOXELS = "VoxelData"


@dataclass(frozen=True, eq=False)
class SampleTable:
    """What a file's columns are.

    Parameters
    ----------
    file : Path
    meta : dict of array (column,)
        By key: 1 in the columns that belong to it, or a number per voxel; NaN elsewhere.
    digits : int
        Decimal digits that numbers are stored with.
    """

    file: Path
    meta: dict[str, np.ndarray]
    digits: int
    _labels: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def read(cls, file: str | Path, needed: Sequence[str] = (VOXELS,)) -> SampleTable:
        """Read what the columns are.

        Raises
        ------
        NeurovisError
            If the file is damaged, no such table, or lacks a key.
        """
        file = Path(file)
        with _opened(file) as (stored, data):
            group = stored["metadata" if "metadata" in stored else "metaData"]
            keys = [
                k.decode() if isinstance(k, bytes) else str(k) for k in group["key"][()].ravel()
            ]
            value = np.asarray(group["value"][()], float)
            if value.shape != (len(keys), data.shape[1]):
                raise NeurovisError(
                    f"{file}: metadata has shape {value.shape}, expected (key={len(keys)}, "
                    f"column={data.shape[1]}); fetch the file again."
                )
            digits = np.finfo(data.dtype).precision if data.dtype.kind == "f" else 18
            table = cls(file, dict(zip(keys, value)), int(digits))
        missing = [key for key in needed if key not in table.meta]
        if missing:
            raise NeurovisError(
                f"{file}: no column {missing[0]!r}, expected {', '.join(needed)}; found {', '.join(keys)}: use "
                "the owners' release."
            )
        return table

    def columns(self, key: str) -> np.ndarray:
        """Columns that belong to a key: array of int."""
        return np.flatnonzero(self.meta[key] == 1)

    def label(self, key: str) -> np.ndarray:
        """One number per sample: array (sample,) float64; read once."""
        if key in self._labels:
            return self._labels[key]
        columns = self.columns(key)
        if len(columns) != 1:
            raise NeurovisError(
                f"{self.file}: {key!r} has {len(columns)} columns, expected one; fetch the file again."
            )
        with _opened(self.file) as (_, data):
            self._labels[key] = np.asarray(data[:, columns[0]], float)
        return self._labels[key]

    def signal(self, rows: np.ndarray, voxels: Voxels) -> np.ndarray:
        """Responses of some samples: array (row, voxel) float32, in the order asked for.

        `voxels` are those of this table, or some of them.
        """
        rows, columns = np.asarray(rows), self.columns(VOXELS)
        known = {name: i for i, name in enumerate(self._names(len(columns)))}
        wanted = columns[[known[name] for name in voxels.name.tolist()]] - columns[0]
        first, last = int(rows.min()), int(rows.max())
        with _opened(self.file) as (_, data):
            block = data[first : last + 1, columns[0] : columns[-1] + 1]
        return block[rows - first][:, wanted].astype(np.float32)

    def voxels(self) -> Voxels:
        """Voxels in the order of their columns, with regions (``ROI_...``) and places (mm in the file)."""
        columns = self.columns(VOXELS)
        absent = np.full(len(self.meta[VOXELS]), np.nan)
        place = np.stack([self.meta.get(f"voxel_{a}", absent)[columns] for a in "xyz"], axis=1)
        regions = [key for key in self.meta if key.startswith("ROI_")]
        return Voxels(
            name=np.array(self._names(len(columns))),
            position=place / 1000,
            roi={key.removeprefix("ROI_"): self.meta[key][columns] == 1 for key in regions},
            **_on_grid(place),
        )

    def _names(self, n: int) -> list[str]:
        return [f"v{i:07d}" for i in range(n)]


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, Any]]:
    """The file and its samples; what is wrong with it in one sentence."""
    import h5py

    try:
        with h5py.File(file, "r") as stored:
            name = "dataset" if "dataset" in stored else "dataSet"
            if name not in stored or not {"metadata", "metaData"} & stored.keys():
                raise NeurovisError(
                    f"{file}: expected dataset and metadata, found {', '.join(stored) or 'nothing'}; give the "
                    "table of one subject's responses."
                )
            yield stored, stored[name]
    except NeurovisError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        said = str(error).split("\n")[0]
        raise NeurovisError(
            f"{file}: damaged or half downloaded ({said}); fetch the file again."
        ) from error


def _on_grid(place: np.ndarray) -> dict[str, Any]:
    """Index, shape and affine of voxels whose places (mm) lie on a grid; nothing where they do not."""
    if not np.isfinite(place).all():
        return {}
    low, steps = place.min(axis=0), []
    for axis in place.T:
        apart = np.diff(np.unique(np.round(axis, 3)))
        steps.append(float(apart.min()) if len(apart) else 1.0)
    index = np.round((place - low) / steps).astype(int)
    off = np.abs(index * steps + low - place).max()
    if off > 0.01 * min(steps) or len(np.unique(index, axis=0)) < len(index):
        return {}
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = low
    return {"index": index, "shape": tuple(int(n) + 1 for n in index.max(axis=0)), "affine": affine}
