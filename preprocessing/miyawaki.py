"""Responses and the pictures shown, as two arrays in one file: geometric figures seen by one person.

Comes in: a ``.mat`` or ``.npz`` (or two ``.npy``) with responses (voxel, trial) and pictures (pixel,
trial). Goes out: the prepared folder, with the pictures as files. Each figure's first showing is
repeat 1, its second repeat 2, and so on; repeats are left out in turn, alone or two together, or
figures, so that what is reconstructed was never in training.

Run: ``python -m preprocessing.miyawaki --root DIR --out OUT``

References: Miyawaki et al. 2008, doi:10.1016/j.neuron.2008.11.004 (data); Fujiwara et al. 2013,
doi:10.1162/NECO_a_00423 (the sample of it)
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.arrays import read_mat
from neurovis.datasets import (
    FmriSteps,
    Recording,
    Responses,
    VoxelData,
    Voxels,
    split_recordings,
)
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.prepare import main
from neurovis.records import Split, Stimuli

FIGURES = (
    "small-square", "small-frame", "plus", "cross", "large-frame",
    "letter-n", "letter-e", "letter-u", "letter-r", "letter-o",
)  # fmt: skip
"""The owners' figures in the order in which their file shows them first."""


class Miyawaki(VoxelData, name="miyawaki"):
    """Visual cortex and contrast patterns of few pixels (Miyawaki et al. 2008).

    Parameters
    ----------
    file : str
        Under the root; arrays named ``*.npy`` are files of their own.
    arrays : (str, str)
        Names in it of the responses (voxel, trial) and of the pictures (pixel, trial), 0 to 1.
    region : str
        What the voxels are of.
    order : {"F", "C"}
        How pixels lie in a picture's column: MATLAB's order, columns first, or rows first.
    names : tuple of str
        Of the figures, in the order of their first showing; numbers where they are not as many.
    leave_out : {"repeat", "figure"}
    together : int
        Repeats that are one recording: what is close in time is left out together.
    enlarge : int
        Pixels of the written picture per pixel of the figure.
    """

    fmri: FmriSteps = FmriSteps(standardise="none")
    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "two-repeats": {"together": 2},
        "new-figure": {"leave_out": "figure"},
    }
    file: str = "V1_mean_figure.mat"
    arrays: tuple[str, str] = ("R2", "I2")
    region: str = "V1"
    order: Literal["F", "C"] = "F"
    names: tuple[str, ...] = FIGURES
    leave_out: Literal["repeat", "figure"] = "repeat"
    together: int = pydantic.Field(1, ge=1)
    enlarge: int = pydantic.Field(16, ge=1, le=256)

    def recordings(self, root: Path) -> list[Recording]:
        """One per repeat, or per so many repeats as go together."""
        most = int(self.shown(root).repeat.max())
        last = [min(i + self.together, most) for i in range(0, most, self.together)]
        first = [1, *(i + 1 for i in last[:-1])]
        runs = [f"{a:02d}" if a == b else f"{a:02d}to{b:02d}" for a, b in zip(first, last)]
        return [Recording("01", "01", run, root / self.file) for run in runs]

    def shown(self, root: Path) -> Shown:
        """Responses, figures and repeats of all trials.

        Raises
        ------
        NeurovisError
            If the arrays are not of the same trials, or pictures are not square or beyond 0 to 1.
        """
        response, picture = (self._array(root, name) for name in self.arrays)
        file = root / self.file
        if response.ndim != 2 or picture.ndim != 2 or response.shape[1] != picture.shape[1]:
            raise NeurovisError(
                f"{file}: {self.arrays[0]} has shape {response.shape} and {self.arrays[1]} {picture.shape}, expected "
                "(voxel, trial) and (pixel, trial) with the same trials; name the right arrays, or transpose them."
            )
        side = round(np.sqrt(len(picture)))
        if side**2 != len(picture) or side < 2:
            raise NeurovisError(
                f"{file}: {self.arrays[1]} has {len(picture)} pixels, expected a square such as 100; name the "
                "array of the pictures."
            )
        if not (np.isfinite(picture).all() and picture.min() >= 0 and picture.max() <= 1):
            raise NeurovisError(
                f"{file}: {self.arrays[1]} holds {picture.min():g} to {picture.max():g}, expected 0 (dark) to 1 "
                "(bright); scale it."
            )
        figures, first, which = np.unique(picture.T, axis=0, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        which = rank[which.ravel()]
        figures = figures[np.argsort(first)].reshape(-1, side, side)
        if self.order == "F":
            figures = figures.transpose(0, 2, 1)
        n = len(figures)
        given = self.names if len(self.names) == n and len(set(self.names)) == n else ()
        names = np.array(given or [f"figure{i:03d}" for i in range(1, n + 1)])
        repeat = np.array([int((which[:i] == one).sum()) + 1 for i, one in enumerate(which)])
        return Shown(response, figures, names, which, repeat)

    def _array(self, root: Path, name: str) -> np.ndarray:
        path = root / (name if name.endswith(".npy") else self.file)
        if path.suffix not in (".mat", ".npz", ".npy"):
            raise UsageError(f"file: expected .mat, .npz or two .npy, found {self.file!r}.")
        if path.suffix == ".mat":
            return np.asarray(read_mat(path, [name])[name], float)
        try:
            loaded = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise NeurovisError(f"{path}: no such file; correct root, file or arrays.") from None
        except (ValueError, OSError, EOFError) as error:
            raise NeurovisError(
                f"{path}: no whole plain array ({str(error).splitlines()[0]}); save it without objects."
            ) from None
        if path.suffix == ".npy":
            return np.asarray(loaded, float)
        with loaded:
            if name not in loaded:
                raise NeurovisError(f"{path}: {unknown('array', name, loaded.files)}")
            return np.asarray(loaded[name], float)

    # ---- stimuli and splits --------------------------------------------------------------------

    def stimuli(self, root: Path) -> Stimuli:
        """One per figure; its file is written into the prepared folder."""
        shown, files = self.shown(root), self.shared(root)
        sums = [hashlib.sha256(content).hexdigest() for content in files.values()]
        side = np.full(len(files), shown.figures.shape[1] * self.enlarge)
        train = np.full(len(files), "train")
        return Stimuli(shown.names, list(files), np.array(sums), side, side, shown.names, train)

    def shared(self, root: Path) -> dict[str, bytes]:
        """The figures as PNG, so enlarged that encoders of photographs can see them."""
        from PIL import Image

        shown, files = self.shown(root), {}
        for name, figure in zip(shown.names.tolist(), shown.figures):
            pixels = np.kron(np.round(255 * figure), np.ones((self.enlarge, self.enlarge)))
            content = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(content, "PNG")
            files[f"pictures/{name}.png"] = content.getvalue()
        return files

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """Repeats, or figures, left out in turn; the next one validates."""
        if self.leave_out == "repeat":
            return split_recordings([r.name for r in recordings], self.validation > 0, self.recipe)
        names = stimuli.image.tolist()
        if len(names) < 3:
            raise NeurovisError(
                f"leave_out: expected at least three figures to leave one out, found {len(names)}; set "
                "leave_out=repeat."
            )
        folds = []
        for i, test in enumerate(names):
            held = [names[(i + 1) % len(names)]] if self.validation else []
            train = [name for name in names if name not in (test, *held)]
            folds.append(Split(train, held, [test], self.recipe))
        return folds

    # ---- responses -----------------------------------------------------------------------------

    def voxels(self, root: Path, subject: str) -> Voxels:
        """Voxels without places: none are published."""
        n = len(self._array(root, self.arrays[0]))
        names = np.array([f"v{i:07d}" for i in range(n)])
        return Voxels(names, np.full((n, 3), np.nan), {self.region: np.ones(n, bool)})

    def responses(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        """Responses of a recording's repeats of each figure, in the file's order."""
        shown = self.shown(root)
        first, _, last = recording.run.partition("to")
        inside = (shown.repeat >= int(first)) & (shown.repeat <= int(last or first))
        rows = np.flatnonzero(inside)
        columns = [int(name[1:]) for name in voxels.name.tolist()]
        signal = shown.response[columns][:, rows].T.astype(np.float32)
        notes = ("onsets are not published: the place in the file instead",)
        return Responses(signal, shown.names[shown.which[rows]], rows, notes=notes)


@dataclass(frozen=True, eq=False)
class Shown:
    """What the file holds.

    Parameters
    ----------
    response : array (voxel, trial)
    figures : array (figure, y, x), 0..1
        In the order of their first showing.
    names : array of str (figure,)
    which, repeat : array of int (trial,)
        Figure from 0, repeat from 1.
    """

    response: np.ndarray
    figures: np.ndarray
    names: np.ndarray
    which: np.ndarray
    repeat: np.ndarray


if __name__ == "__main__":
    sys.exit(main("miyawaki"))
