"""How NSD's owners lay out their files: the design, the betas, the pictures.

Comes in: paths under the owners' root. Goes out: which image was shown when, one session's betas of chosen
voxels, names of regions, concepts and pictures. An ``.hdf5`` volume holds one voxel's 750 trials side by
side, so that only the wanted voxels' bytes are read, in the file's order, once. Nothing is executed.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.progress import progress
from neurovis.signals.fmri.volumes import blocks, grid, open_image
from neurovis.signals.fmri.voxels import Voxels
from neurovis.store import read_json

TRIALS = 750  # of a session
SLOT = 4.0  # s from one trial's start to the next, blank trials included
STORED = 300  # int16 betas are percent signal change times this
PIXELS = 425
DESIGN = Path("nsddata/experiments/nsd/nsd_expdesign.mat")
INFO = Path("nsddata/experiments/nsd/nsd_stim_info_merged.csv")
BRICKS = Path("nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5")
PICTURES = Path("nsddata_stimuli/stimuli/nsd/png")


@dataclass(frozen=True, eq=False)
class Design:
    """Which image was shown in which trial, counted from 0.

    Parameters
    ----------
    ordering : array of int (trial,)
        The same for all subjects: place among a subject's 10,000 images; below 1000 the shared ones.
    images : array of int (subject, 10000)
        Rows of ``imgBrick``.
    slots : array of bool (session, run, slot)
        Slots of 4 s in which a picture was shown.
    """

    ordering: np.ndarray
    images: np.ndarray
    slots: np.ndarray

    @property
    def shared(self) -> np.ndarray:
        """Images that every subject was to see."""
        return self.images[0, :1000]

    def until(self, subject: str, sessions: int) -> np.ndarray:
        """Images of all trials of a subject's first sessions: array (trial,)."""
        return self.images[int(subject) - 1, self.ordering[: TRIALS * sessions]]

    def session(self, subject: str, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image, run (from 01, rest runs not counted) and onset (s, in its run) of a session's trials."""
        image = self.until(subject, number)[TRIALS * (number - 1) :]
        run, slot = np.nonzero(self.slots[number - 1])
        return image, np.array([f"{r + 1:02d}" for r in run]), SLOT * slot

    @classmethod
    def of(cls, root: Path) -> Design:
        """Read ``nsd_expdesign.mat``.

        Raises
        ------
        NeurovisError
            If it is missing or damaged, or its numbers cannot be the owners'.
        """
        path = root / DESIGN
        if not path.is_file():
            raise NeurovisError(
                f"{path}: no such file, expected the owners' design; fetch it: "
                f"neurovis fetch nsd --root {root} --accept nsd"
            )
        return _design(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _design(path: Path, _changed: int) -> Design:
    from scipy.io import loadmat

    shapes = {
        "masterordering": (1, 30000),
        "subjectim": (8, 10000),
        "sharedix": (1, 1000),
        "stimpattern": (40, 12, 75),
    }
    try:
        # numbers alone are asked for; nothing in a .mat file is executed
        found = loadmat(path, variable_names=list(shapes))
    except Exception as error:  # a damaged file can make the reader raise anything
        raise NeurovisError(
            f"{path}: cannot be read as a MATLAB file of version 5 ({error}); fetch it again."
        ) from error
    for name, shape in shapes.items():
        if name not in found or found[name].shape != shape:
            raise NeurovisError(
                f"{path}: {name}: expected {shape}, found "
                f"{found[name].shape if name in found else 'none'}; fetch the owners' file again."
            )
    ordering, images, shared = (found[n].astype(np.int64) for n in list(shapes)[:3])
    if ordering.min() != 1 or ordering.max() != 10000 or images.min() < 1 or images.max() > 73000:
        raise NeurovisError(
            f"{path}: indices run from {ordering.min()} to {ordering.max()} (masterordering) and from "
            f"{images.min()} to {images.max()} (subjectim), expected 1 to 10000 and within 1 to 73000: "
            "MATLAB counts from 1; fetch the owners' file, unchanged."
        )
    if (images[:, :1000] != shared).any():
        raise NeurovisError(
            f"{path}: the first 1000 images of a subject differ from sharedix, expected the shared "
            "images there; fetch the owners' file again."
        )
    slots = found["stimpattern"] != 0
    wrong = np.flatnonzero(slots.sum(axis=(1, 2)) != TRIALS)
    if len(wrong):
        raise NeurovisError(
            f"{path}: stimpattern: session {wrong[0] + 1} has {int(slots[wrong[0]].sum())} trials, "
            f"expected {TRIALS}; fetch the owners' file again."
        )
    return Design(ordering[0] - 1, images - 1, slots)


class Betas:
    """One session's betas of some voxels: array-like (trial, voxel), percent signal change.

    NaN marks voxels without data in the session: the owners store 0 in all its trials.

    Parameters
    ----------
    file : path
        Of one of both hemispheres, on a surface.
    space : str
    voxels : Voxels
    fetch : str
        Command that gets the file again.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, file: Path, space: str, voxels: Voxels, fetch: str):
        self.file, self.space, self.voxels, self.fetch = file, space, voxels, fetch
        self.shape = (TRIALS, len(voxels))

    @cached_property
    def stored(self) -> np.ndarray:
        """As in the file: array (voxel, trial) int16, or float32 for fsaverage."""
        if self.space == "func1pt8mm":
            with self._reading(self.file):
                read = self._volume if self.file.suffix == ".hdf5" else self._nifti
                return read(self.file)
        kind = np.float32 if self.space == "fsaverage" else np.int16
        out = np.empty(self.shape[::-1], kind)
        side = np.array([name[:2] for name in self.voxels.name])
        vertex = np.array([int(name[2:]) for name in self.voxels.name])
        for name in np.unique(side):
            file = self.file.with_name(name + self.file.name[2:])
            with self._reading(file):
                read = self._fsaverage if self.space == "fsaverage" else self._native
                out[side == name] = read(file, vertex[side == name])
        return out

    @cached_property
    def absent(self) -> np.ndarray:
        """Voxels without data: array of bool (voxel,)."""
        return ~self.stored.any(axis=1) | np.isnan(self.stored).any(axis=1)

    def __getitem__(self, rows: slice) -> np.ndarray:
        block = np.ascontiguousarray(self.stored[:, rows].T).astype(np.float32)
        if self.stored.dtype == np.int16:
            block /= STORED
        block[:, self.absent] = np.nan
        return block

    @contextlib.contextmanager
    def _reading(self, file: Path) -> Iterator[None]:
        try:
            yield
        except NeurovisError:
            raise
        except Exception as error:  # a damaged file can make a reader raise anything
            said = str(error).split("\n")[0][:200] or type(error).__name__
            raise NeurovisError(
                f"{file}: cannot be read, expected the owners' whole file; found: {said}; fetch it "
                f"again: {self.fetch}"
            ) from error

    def _check(self, file: Path, found: tuple[int, ...], kind: Any, shape: tuple[int, ...]) -> None:
        wanted = np.float32 if self.space == "fsaverage" else np.int16
        if tuple(found) != shape or np.dtype(kind).newbyteorder("=") != wanted:
            raise NeurovisError(
                f"{file}: betas are {tuple(found)} {kind}, expected {shape} {np.dtype(wanted)} to fit "
                f"the subject's mask and a session of {TRIALS} trials; is it another subject's or "
                f"preparation's file? Fetch it again: {self.fetch}"
            )

    def _volume(self, file: Path) -> np.ndarray:
        import h5py

        x, y, z = self.voxels.index.T
        with h5py.File(file, "r") as opened:
            betas = opened["betas"]
            # MATLAB writes (x, y, z, trial); HDF5 has the last of these first
            self._check(file, betas.shape, betas.dtype, (TRIALS, *self.voxels.shape[::-1]))
            plain = betas.id.get_create_plist().get_nfilters() == 0
            if betas.chunks != (TRIALS, 1, 1, 1) or not plain:
                return _slabs(betas, (z, y, x))
            out = np.empty((len(x), TRIALS), betas.dtype)
            raw = out.view(np.uint8)
            # a voxel is a chunk, and chunks lie in this order
            for row in np.lexsort((x, y, z)):
                place = (0, int(z[row]), int(y[row]), int(x[row]))
                betas.id.read_direct_chunk(place, out=raw[row])
        return out.astype(np.int16, copy=False)

    def _nifti(self, file: Path) -> np.ndarray:
        image = open_image(file)
        self._check(file, image.shape, image.get_data_dtype(), (*self.voxels.shape, TRIALS))
        out = np.empty(self.shape[::-1], np.int16)
        start = 0
        for block in blocks(file, replace(self.voxels, affine=grid(file).affine)):
            out[:, start : start + len(block)] = np.rint(block.T)
            start += len(block)
        return out

    def _fsaverage(self, file: Path, vertex: np.ndarray) -> np.ndarray:
        image = open_image(file)
        n = image.shape[0]
        self._check(
            file, image.shape, image.get_data_dtype(), (max(n, vertex.max() + 1), 1, 1, TRIALS)
        )
        out = np.empty((len(vertex), TRIALS), np.float32)
        for start in range(0, TRIALS, 50):
            out[:, start : start + 50] = image.dataobj[:, 0, 0, start : start + 50][vertex]
        return out

    def _native(self, file: Path, vertex: np.ndarray) -> np.ndarray:
        import h5py

        with h5py.File(file, "r") as opened:
            betas = opened["betas"]
            n = betas.shape[-1]
            self._check(file, betas.shape, betas.dtype, (TRIALS, max(n, vertex.max() + 1)))
            return _slabs(betas, (vertex,))


def _slabs(betas: Any, place: tuple[np.ndarray, ...], memory: int = 1 << 25) -> np.ndarray:
    """Chosen columns of an HDF5 dataset (trial, ...), read once, along the axis it is chunked by."""
    along = int(betas.chunks is not None and betas.chunks[0] > 1)
    chunk = betas.chunks[along] if betas.chunks else 1
    size = betas.dtype.itemsize * int(np.prod(betas.shape)) // betas.shape[along]
    step = max(1, memory // (size * chunk)) * chunk
    out = np.empty((len(place[0]), betas.shape[0]), betas.dtype.newbyteorder("="))
    for start in range(0, betas.shape[along], step):
        if along == 0:
            out[:, start : start + step] = betas[start : start + step][(slice(None), *place)].T
            continue
        mine = np.flatnonzero((place[0] >= start) & (place[0] < start + step))
        if len(mine):
            block = betas[:, start : start + step]
            inside = (place[0][mine] - start, *(p[mine] for p in place[1:]))
            out[mine] = block[(slice(None), *inside)].T
    return out


def name_of(image: int) -> str:
    return f"nsd{image:05d}"


def is_labels(values: np.ndarray) -> bool:
    """Whether a map holds labels of regions, whole numbers from -1, not a measure."""
    return bool(np.isin(values, np.arange(-1, 1000)).all())


def regions_of(maps: dict[str, np.ndarray], folders: list[Path]) -> dict[str, np.ndarray]:
    """Members of each collection and, as ``<collection>.<label>``, of each of its labels.

    -1 (no cortex) and 0 (in none) are outside. Labels are numbers where no ``.ctab`` of the folders
    names them; maps of measures are no regions.
    """
    out = {}
    for name, values in maps.items():
        if not is_labels(values):
            continue
        out[name] = values > 0
        numbers = np.unique(values[values > 0]).astype(int)
        if len(numbers) < 2:
            continue
        tables = [table for f in folders if (table := f / f"{name}.mgz.ctab").is_file()]
        text = tables[0].read_text(encoding="utf-8") if tables else ""
        named = dict(re.findall(r"^\s*(\d+)\s+(\S+)", text, re.MULTILINE))
        for number in numbers:
            out[f"{name}.{named.get(str(number), number)}"] = values == number
    return out


def information(root: Path, design: Design) -> list[dict[str, str]]:
    """Rows of ``nsd_stim_info_merged.csv``, where it is there; its shared images must be the design's."""
    path = root / INFO
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    shared = [int(row["nsdId"]) for row in rows if row.get("shared1000") == "True"]
    if sorted(shared) != sorted(design.shared.tolist()):
        raise NeurovisError(
            f"{path}: shared1000 marks {len(shared)} images, of which "
            f"{int(np.isin(shared, design.shared).sum())} are shared by {DESIGN.name}, expected the same "
            "1000 (nsdId counts from 0, the design from 1); fetch both files again."
        )
    return rows


def concepts_of(folder: Path, images: np.ndarray, info: list[dict[str, str]]) -> list[str]:
    """The COCO category that covers most of what was shown of each image."""
    files = {part: folder / f"instances_{part}.json" for part in ("train2017", "val2017")}
    if not info or not any(file.is_file() for file in files.values()):
        return ["coco"] * len(images)
    row = {int(r["nsdId"]): r for r in info}
    wanted = {(row[i]["cocoSplit"], int(row[i]["cocoId"])): i for i in images.tolist()}
    area: dict[int, dict[str, float]] = {}
    for part, file in files.items():
        if not file.is_file():
            continue
        data = read_json(file)
        kind = {c["id"]: c["name"] for c in data["categories"]}
        size = {i["id"]: (i["width"], i["height"]) for i in data["images"]}
        for marked in data["annotations"]:
            image = wanted.get((part, marked["image_id"]))
            if image is None:
                continue
            # cut off at the top, bottom, left, right: shares of the height or width
            top, bottom, left, right = map(float, re.findall(r"[\d.]+", row[image]["cropBox"]))
            width, height = size[marked["image_id"]]
            x, y, w, h = marked["bbox"]
            across = min(x + w, width * (1 - right)) - max(x, width * left)
            down = min(y + h, height * (1 - bottom)) - max(y, height * top)
            covered = area.setdefault(image, {})
            name = kind[marked["category_id"]]
            covered[name] = covered.get(name, 0.0) + max(0.0, across) * max(0.0, down)
    best = {i: max(sorted(found), key=found.get) for i, found in area.items()}
    return [best.get(i, "nothing marked") for i in images.tolist()]


def write_pictures(root: Path, images: np.ndarray) -> None:
    """Rows of ``imgBrick`` that are not there yet, as PNG."""
    import h5py
    from PIL import Image

    source = root / BRICKS
    todo = [i for i in images.tolist() if not (root / PICTURES / f"{name_of(i)}.png").is_file()]
    if not todo:
        return
    try:
        with h5py.File(source, "r") as file:
            bricks = file["imgBrick"]
            if bricks.shape != (73000, PIXELS, PIXELS, 3):
                raise NeurovisError(
                    f"{source}: imgBrick is {bricks.shape}, expected (73000, {PIXELS}, {PIXELS}, 3); "
                    "fetch it again."
                )
            (root / PICTURES).mkdir(parents=True, exist_ok=True)
            for number in progress(todo, "pictures", unit="picture"):
                # complete or absent; thousands of small files would wait long for the disk one by one
                path = root / PICTURES / f"{name_of(number)}.png"
                partial = path.with_name(f".{path.name}.partial")
                Image.fromarray(bricks[number]).save(partial, "png", compress_level=1)
                partial.replace(path)
    except (OSError, KeyError) as error:
        raise NeurovisError(
            f"{source}: cannot be read ({error}), expected the owners' pictures; fetch them: neurovis "
            f"fetch nsd --root {root} --source stimuli --accept nsd"
        ) from error
