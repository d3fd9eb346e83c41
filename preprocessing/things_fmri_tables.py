"""The owners' single-trial responses of THINGS-fMRI in table form: what lies where in the three files.

Comes in: ``sub-*_ResponseData.h5`` (a pandas frame: voxels x trials, float64, 17 GB), ``_VoxelMetadata.csv``.
Goes out: `Voxels` with every region, and responses of chosen voxels, of which alone the bytes are read.
The noise ceilings in the table come from the test images, so that nothing is chosen by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.signals.fmri.volumes import grid
from neurovis.signals.fmri.voxels import Voxels

INDEX = ("voxel_x", "voxel_y", "voxel_z")
NO_REGION = ("voxel_id", "subject_id", *INDEX)
MASKS = ("brainmasks", "derivatives/brainmasks", "../brainmasks")


def mask_of(root: Path, subject: str) -> Path | None:
    """The owners' brain mask of a subject, where it is there."""
    names = [f"{place}/sub-{subject}_space-T1w_brainmask.nii.gz" for place in MASKS]
    return next((root / name for name in names if (root / name).is_file()), None)


def table_voxels(root: Path, file: Path) -> Voxels:
    """Voxels of the owners' table, in its order; columns of 0 and 1 are regions.

    Where the owners' brain mask is there, too (``brainmasks/sub-01_space-T1w_brainmask.nii.gz``), the
    place of voxels in the volume is known to the millimetre, else only their index.

    Raises
    ------
    NeurovisError
        If the table is damaged or a voxel lies outside the mask's volume.
    """
    mask = mask_of(root, file.name.split("_")[0].removeprefix("sub-"))
    stamps = tuple(path.stat().st_mtime_ns for path in (file, mask) if path is not None)
    return _table_voxels(file, mask, stamps)


@lru_cache(maxsize=2)
def _table_voxels(file: Path, mask: Path | None, _stamps: tuple[int, ...]) -> Voxels:
    table = _numbers(file)
    if (table["voxel_id"] != np.arange(len(table))).any():
        raise NeurovisError(
            f"{file}: voxel_id is not 0, 1, 2, ..., expected the rows of ResponseData.h5; fetch both again."
        )
    index = table[list(INDEX)].to_numpy(np.int64)
    position = np.full(index.shape, np.nan, np.float32)
    shape, affine = tuple(int(n) for n in index.max(axis=0) + 1), None
    if mask is not None:
        place = grid(mask)
        if (index >= place.shape).any():
            row = int((index >= place.shape).any(axis=1).argmax())
            raise NeurovisError(
                f"{file}: voxel {row} is at {tuple(index[row].tolist())}, expected within the volume "
                f"{' x '.join(map(str, place.shape))} of {mask}; is it another subject's?"
            )
        shape, affine = place.shape, place.affine
        position = (index @ affine[:3, :3].T + affine[:3, 3]) / 1000
    flat = np.ravel_multi_index(tuple(index.T), shape)
    flags = [name for name in table if name not in NO_REGION and table[name].dtype.kind in "iub"]
    roi = {name: table[name].to_numpy() == 1 for name in flags if table[name].isin([0, 1]).all()}
    return Voxels(np.array([f"v{i:07d}" for i in flat]), position, roi, index, shape, affine)


def _numbers(file: Path) -> Any:
    """The table, whose columns of places must be whole numbers: pandas.DataFrame."""
    import pandas as pd

    try:
        table = pd.read_csv(file)
    except (ValueError, OSError) as error:
        raise NeurovisError(
            f"{file}: cannot be read as a table ({str(error)[:200]}), expected the owners' voxels; fetch "
            "it again."
        ) from error
    for name in ("voxel_id", *INDEX):
        if name not in table or table[name].dtype.kind not in "iu" or not len(table):
            found = f"column of {table[name].dtype}" if name in table else "no such column"
            raise NeurovisError(
                f"{file}: {name}: expected whole numbers, found {found}; fetch the owners' file again."
            )
    return table


class Table:
    """A session's responses in ``ResponseData.h5``: array-like (trial, voxel), read once.

    pandas stores a frame's numbers as plain arrays, ``block<i>_values`` (voxel, trial), and the names
    of its columns as a pickled object, which is left alone.

    Parameters
    ----------
    file : path
    whole : (int, int)
        Voxels and trials that the owners' tables list.
    row : array of int (voxel,)
    column : array of int (trial,)
    """

    dtype = np.dtype(np.float32)

    def __init__(self, file: Path, whole: tuple[int, int], row: np.ndarray, column: np.ndarray):
        self.file, self.whole, self.row, self.column = file, whole, row, column
        self.shape = (len(column), len(row))

    @cached_property
    def stored(self) -> np.ndarray:
        """Array (voxel, trial) float32."""
        import h5py

        out = np.empty(self.shape[::-1], np.float32)
        first, last = int(self.column.min()), int(self.column.max())
        order = np.argsort(self.row, kind="stable")
        try:
            with h5py.File(self.file, "r") as file:
                values = self._values(file)
                for start, stop in _stretches(self.row[order]):
                    low, high = int(self.row[order[start]]), int(self.row[order[stop - 1]])
                    block = values[low : high + 1, first : last + 1]
                    mine = order[start:stop]
                    out[mine] = block[self.row[mine] - low][:, self.column - first]
        except (OSError, KeyError, RuntimeError) as error:
            raise NeurovisError(
                f"{self.file}: cannot be read ({str(error)[:200]}), expected the owners' whole file; fetch "
                "it again: neurovis fetch things-fmri --source betas"
            ) from error
        return out

    def _values(self, file: Any) -> Any:
        """The block of responses, the rows of which must be the voxels of the table beside it."""
        import h5py

        found = []
        for name, group in file.items():
            parts = group.items() if isinstance(group, h5py.Group) else [(name, group)]
            found += [d for n, d in parts if re.fullmatch(r"block\d+_values", n)]
        for values in found:
            if values.shape == self.whole and values.dtype.kind == "f":
                break
        else:
            shapes = ", ".join(str(v.shape) for v in found) or "no block of values"
            raise NeurovisError(
                f"{self.file}: expected {self.whole[0]} voxels x {self.whole[1]} trials as its tables say, "
                f"found {shapes}; are the three files of one subject? Fetch them again."
            )
        for ids in found:
            if ids.shape == (self.whole[0], 1) and (ids[:, 0] != np.arange(self.whole[0])).any():
                raise NeurovisError(
                    f"{self.file}: its voxel_id is not 0, 1, 2, ... as in VoxelMetadata.csv; fetch both again."
                )
        return values

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.ascontiguousarray(self.stored[:, rows].T)


def _stretches(rows: np.ndarray, gap: int = 8, most: int = 2048) -> Iterator[tuple[int, int]]:
    """Bounds of runs of sorted rows that are worth one read."""
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] - rows[i - 1] > gap or rows[i] - rows[start] >= most:
            yield start, i
            start = i
