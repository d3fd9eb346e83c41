"""Reconstructions of a run as ``neurovis generate`` left them: pictures, scores, settings.

Comes in: the folders in ``RUN/reconstructions/``. Goes out: `Painted`, one per folder. Columns are read
and checked at once; pictures stay on disk and are read one by one, because those of a published generator
do not fit into memory together.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Score
from neurovis.store import dataset, is_complete, open_h5, read_json

FORMAT = "neurovis-pictures"
SYSTEMS = ("brain", "nearest", "ceiling", "floor")
EVERYONE = "all"
"""Subject of rows that hold for whoever looked."""

Fetch = Callable[..., np.ndarray]


@dataclass(frozen=True, eq=False)
class Painting:
    """What one system painted, without the pictures.

    Parameters
    ----------
    image, subject : array of str (row,)
    n_averaged : array of int (row,)
    shape : tuple of int
        (row, sample, height, width, 3).
    agreement : array (row, sample), optional
        Cosine between the picture's embedding and the decoded one.
    caption : array of str (row,), optional
    word : array of str (row, place), optional
        Concepts, the likeliest first.
    probability : array (row, place), optional
        Of these words.
    rough : bool
        There is a rough picture of each row.
    seconds : dict of float
        By stage.
    """

    image: np.ndarray
    subject: np.ndarray
    n_averaged: np.ndarray
    shape: tuple[int, ...]
    agreement: np.ndarray | None = None
    caption: np.ndarray | None = None
    word: np.ndarray | None = None
    probability: np.ndarray | None = None
    rough: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def _places(self) -> dict[tuple, int]:
        places: dict[tuple, int] = {}
        columns = (self.image.tolist(), self.subject.tolist(), self.n_averaged.tolist())
        for row, (image, subject, n) in enumerate(zip(*columns)):
            for key in ((image, subject, n), (image, subject)):
                places.setdefault(key, row)
        return places

    def find(self, image: str, subject: str, n_averaged: int) -> int | None:
        """Row that goes with a row of another system, or None.

        Where there is none of so many trials, of any number; of a picture that is the same for all
        subjects, theirs.
        """
        keys = ((image, subject, n_averaged), (image, subject), (image, EVERYONE))
        return next((self._places[key] for key in keys if key in self._places), None)

    def samples(self, row: int) -> list[int]:
        """Samples of a row, those that agree most with the decoded vector first."""
        if self.agreement is None:
            return list(range(self.shape[1]))
        return np.argsort(-self.agreement[row], kind="stable").tolist()


@dataclass(frozen=True, eq=False)
class Painted:
    """One folder of reconstructions.

    Parameters
    ----------
    name : str
        Of the folder.
    path : Path
        Its ``pictures.h5``.
    systems : dict of Painting
        The brain's first.
    seen : dict of int
        Place of each image id among the pictures seen.
    about : dict
        What all systems share, as generation wrote it.
    head : dict
        ``scores.json`` without its scores.
    scores : tuple of Score
    comparisons : tuple of Score
    chief : array (row, sample), optional
        The brain's values by the metric that speaks for reconstructions.
    config : dict
    config_text : str
    provenance : dict
    """

    name: str
    path: Path
    systems: Mapping[str, Painting]
    seen: Mapping[str, int]
    about: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    comparisons: tuple[Score, ...] = ()
    chief: np.ndarray | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    config_text: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def brain(self) -> Painting:
        """What was painted from signals."""
        return self.systems["brain"]

    @property
    def generator(self) -> str:
        """Name of the generator that painted."""
        for config in (self.config.get("generator"), self.about.get("generator")):
            name = config.get("name") if isinstance(config, dict) else config
            if name:
                return str(name)
        return self.name

    @contextlib.contextmanager
    def pictures(self) -> Iterator[Fetch]:
        """Give ``fetch(system, row, sample)``; ``fetch("seen", image)``; sample "low" is the rough one.

        Raises
        ------
        NeurovisError
            If a picture cannot be read.
        """
        with open_h5(self.path, FORMAT) as file:

            def fetch(system: str, row: int, sample: int | str = 0) -> np.ndarray:
                name = "low" if sample == "low" else "picture"
                try:
                    found = file[system][name][row]
                except (OSError, KeyError, RuntimeError) as error:
                    raise _damaged(self.path, f"{system}/{name} cannot be read") from error
                return found if system == "seen" or sample == "low" else found[sample]

            yield fetch


def read_painted(run: Path) -> tuple[Painted, ...]:
    """Complete folders of reconstructions, the newest first; nothing where a run has none.

    Raises
    ------
    NeurovisError
        If a file of a complete folder is damaged or its columns do not fit each other.
    """
    folders = [p for p in sorted((run / "reconstructions").glob("*")) if not p.name.startswith(".")]
    found = [_read(folder) for folder in folders if is_complete(folder)]
    return tuple(sorted(found, key=lambda one: str(one.provenance.get("time")), reverse=True))


def _damaged(path: Path, what: str) -> NeurovisError:
    return NeurovisError(f"{path}: {what}; delete its folder and run neurovis generate again.")


def _read(folder: Path) -> Painted:
    from neurovis.report.material import read_config  # which reads what stands here

    path = folder / "pictures.h5"
    with open_h5(path, FORMAT) as file:
        try:
            systems = {name: _painting(path, name, file) for name in SYSTEMS if name in file}
            seen = _seen(path, file)
            about = _json(path, "about", file.attrs.get("about", "{}"))
        except NeurovisError:
            raise
        except (OSError, RuntimeError, KeyError, AttributeError, TypeError, ValueError) as error:
            raise _damaged(path, "expected whole reconstructions, found a damaged file") from error
    if "brain" not in systems:
        raise _damaged(path, "expected pictures of system 'brain', found none")
    missing = sorted({i for one in systems.values() for i in one.image.tolist()} - seen.keys())
    if missing:
        raise _damaged(path, f"image {missing[0]!r} was painted and is not among those seen")
    head, scores, comparisons = _scores(folder / "scores.json")
    chief = _chief(folder / "per_item.h5", head, systems["brain"])
    config, text = read_config(folder / "config.yaml")
    provenance = read_json(folder / "provenance.json")
    provenance = provenance if isinstance(provenance, dict) else {}
    found = (head, scores, comparisons, chief, config, text, provenance)
    return Painted(folder.name, path, systems, seen, about, *found)


def _json(path: Path, name: str, text: Any) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, TypeError):
        data = None
    if not isinstance(data, dict):
        raise _damaged(path, f"attribute {name!r} is no JSON object")
    return data


def _painting(path: Path, system: str, file: Any) -> Painting:
    group = file[system]
    rows = {n: dataset(path, file, f"{system}/{n}")[()] for n in ("image", "subject", "n_averaged")}
    item = dataset(path, file, f"{system}/picture")
    n = len(rows["image"])
    shape = tuple(item.shape)
    good = len(shape) == 5 and shape[0] == n and shape[4] == 3 and 0 not in shape
    if not good or item.dtype != np.uint8 or any(value.shape != (n,) for value in rows.values()):
        raise _damaged(
            path,
            f"{system}: expected pictures (row={n}, sample, height, width, 3) uint8, found {shape} "
            f"{item.dtype}",
        )
    more: dict[str, np.ndarray] = {}
    for name in ("agreement", "caption", "word", "probability"):
        if name in group:
            more[name] = dataset(path, file, f"{system}/{name}")[()]
    places = more["word"].shape[1:] if "word" in more else ()
    expected = {"agreement": shape[:2], "caption": (n,)}
    expected |= {"word": (n, *places), "probability": (n, *places)}
    for name, value in more.items():
        finite = value.dtype.kind not in "fiu" or np.isfinite(value).all()
        if value.shape != expected[name] or not finite:
            raise _damaged(
                path, f"{system}/{name}: expected finite {expected[name]}, found {value.shape}"
            )
    low = group.get("low")
    if low is not None and (low.ndim != 4 or low.shape[::3] != (n, 3) or low.dtype != np.uint8):
        raise _damaged(
            path, f"{system}/low: expected (row={n}, height, width, 3), found {low.shape}"
        )
    seconds = _json(path, "seconds", group.attrs.get("seconds", "{}"))
    seconds = {k: float(v) for k, v in seconds.items() if isinstance(v, int | float)}
    return Painting(**rows, shape=shape, **more, rough=low is not None, seconds=seconds)


def _seen(path: Path, file: Any) -> dict[str, int]:
    images = dataset(path, file, "seen/image")[()].tolist()
    item = dataset(path, file, "seen/picture")
    good = item.ndim == 4 and item.shape[::3] == (len(images), 3) and item.dtype == np.uint8
    if not good or len(set(images)) != len(images):
        raise _damaged(
            path, f"seen: expected one picture of each of {len(images)} images, found {item.shape}"
        )
    return {image: i for i, image in enumerate(images)}


def _scores(path: Path) -> tuple[dict[str, Any], tuple[Score, ...], tuple[Score, ...]]:
    if not path.is_file():
        return {}, (), ()
    head = read_json(path, "neurovis-scores")
    try:
        scores, comparisons = (
            tuple(map(Score.from_dict, head.pop(name))) for name in ("scores", "comparisons")
        )
        named = {score.about["system"] for score in scores} | {head["headline"]["metric"]}
        if not all(isinstance(name, str) for name in named):
            raise TypeError("a name")
    except (KeyError, TypeError) as error:
        raise NeurovisError(
            f"{path}: {error} is missing or of a wrong kind; run neurovis evaluate on its folder again."
        ) from None
    return head, scores, comparisons


def _chief(path: Path, head: dict[str, Any], brain: Painting) -> np.ndarray | None:
    """Values of each of the brain's pictures by the headline's metric, where scoring kept them."""
    if not head or not path.is_file():
        return None
    name = f"brain/value/{head['headline']['metric']}"
    with open_h5(path, "neurovis-per-picture") as file:
        if name not in file:
            return None
        value = dataset(path, file, name)[()]
        image = dataset(path, file, "brain/image")[()]
    finite = value.dtype.kind == "f" and np.isfinite(value).all()
    if value.shape != brain.shape[:2] or not finite or not np.array_equal(image, brain.image):
        raise NeurovisError(
            f"{path}: expected a finite value of each of the {brain.shape[0]} rows of pictures.h5, found "
            f"{value.shape}; run neurovis evaluate on its folder again."
        )
    return value
