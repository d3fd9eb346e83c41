"""The file of reconstructions: what was seen, what was painted, by which system, from which seeds.

Comes in: painted rows, a few at a time, from one or several processes. Goes out: ``pictures.h5``. Each
batch of rows is one small file under the growing artefact as soon as it is painted, so that a killed run
repaints nothing that it kept; the HDF5 file is made of these at the end, whole or not at all.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, unknown
from neurovis.store import atomic, dataset, new_h5, open_h5

FORMAT = "neurovis-pictures"
FILE = "pictures.h5"
SYSTEMS = ("brain", "nearest", "ceiling", "floor")
"""Painted from decoded vectors; the training picture whose embedding is nearest to the decoded one;
painted from the seen picture's own embedding; painted from what a control says."""
EVERYONE = "all"
"""Subject of rows that do not depend on who looked: those of the ceiling."""
OPTIONAL = ("low", "caption", "word", "probability", "agreement")
ROWS = ("picture", "image", "subject", "n_averaged", "seed", *OPTIONAL)


@dataclass(frozen=True, eq=False)
class Painted:
    """What one system painted.

    Parameters
    ----------
    picture : array (row, sample, height, width, 3) uint8
        In memory, or a dataset of an open file.
    image, subject : array of str (row,)
        The image shown, and to whom.
    n_averaged : array of int (row,)
        Number of trials averaged.
    seed : array (row, sample) int64
    low : array (row, height, width, 3) uint8, optional
        Rough pictures that painting started from.
    caption : array of str (row,), optional
        The caption nearest to what was decoded; generators that read words are told it.
    word : array of str (row, place), optional
        Concepts nearest to it, the likeliest first.
    probability : array (row, place), optional
        Of these, among all concepts.
    agreement : array (row, sample) float32, optional
        Cosine between the painted picture's embedding and the decoded one.
    seconds : dict
        Time by stage, all processes together.

    Raises
    ------
    NeurovisError
        If shapes or types do not fit each other.
    """

    picture: Any
    image: np.ndarray
    subject: np.ndarray
    n_averaged: np.ndarray
    seed: np.ndarray
    low: Any = None
    caption: np.ndarray | None = None
    word: np.ndarray | None = None
    probability: np.ndarray | None = None
    agreement: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        shape = tuple(self.picture.shape)
        if len(shape) != 5 or shape[4] != 3 or self.picture.dtype != np.uint8 or 0 in shape:
            raise NeurovisError(
                f"Painted.picture: expected (row, sample, height, width, 3) uint8, found {shape} "
                f"{self.picture.dtype}; give pictures of that form."
            )
        n, k = shape[:2]
        for name, kind, wanted in (
            ("image", str, (n,)),
            ("subject", str, (n,)),
            ("n_averaged", np.int64, (n,)),
            ("seed", np.int64, (n, k)),
            ("caption", str, (n,)),
            ("word", str, (n, np.shape(self.word)[-1] if self.word is not None else 0)),
            ("probability", np.float32, np.shape(self.word) if self.word is not None else (n, 0)),
            ("agreement", np.float32, (n, k)),
        ):
            if (value := getattr(self, name)) is None:
                continue
            value = np.asarray(value, kind)
            if value.shape != wanted:
                raise NeurovisError(
                    f"Painted.{name}: expected shape {wanted} as pictures have {n} rows and {k} samples, "
                    f"found {value.shape}; give one value for each."
                )
            put(name, value)
        if self.agreement is not None and not np.isfinite(self.agreement).all():
            raise NeurovisError(
                "Painted.agreement: expected finite cosines, found NaN; drop the row or repaint it."
            )
        low = self.low
        if low is not None and not (
            len(low.shape) == 4 and low.shape[::3] == (n, 3) and low.dtype == np.uint8
        ):
            raise NeurovisError(
                f"Painted.low: expected (row={n}, height, width, 3) uint8, found {tuple(low.shape)} "
                f"{low.dtype}; give one rough picture per row."
            )

    def __len__(self) -> int:
        return len(self.image)

    def take(self, rows: Any) -> Painted:
        """The given rows, in memory."""
        rows = np.arange(len(self))[rows]
        columns = {n: v for n in ROWS if (v := getattr(self, n)) is not None}
        # an open file gives rows in ascending order alone
        some = {n: np.stack([v[i] for i in rows]) for n, v in columns.items()}
        return Painted(**some, seconds=self.seconds)


@dataclass(frozen=True, eq=False)
class Seen:
    """The pictures that were shown.

    Parameters
    ----------
    picture : array (image, height, width, 3) uint8
    image : array of str (image,)
        Unique ids.
    """

    picture: Any
    image: np.ndarray

    def __post_init__(self):
        image = np.asarray(self.image, str)
        shape = tuple(self.picture.shape)
        good = len(shape) == 4 and shape[3] == 3 and self.picture.dtype == np.uint8
        if not good or shape[0] != len(image) or len(set(image.tolist())) != len(image):
            raise NeurovisError(
                f"Seen: expected (image, height, width, 3) uint8 and as many ids, each once, found {shape} "
                f"{self.picture.dtype} and {len(image)} ids; give one picture per id."
            )
        object.__setattr__(self, "image", image)

    def at(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Pictures of image ids, in their order: array (id, height, width, 3)."""
        place = {image: i for i, image in enumerate(self.image.tolist())}
        for image in ids:
            if str(image) not in place:
                raise NeurovisError(unknown("seen picture", image, place))
        return np.stack([self.picture[place[str(image)]] for image in ids])


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """Everything in ``pictures.h5``.

    Parameters
    ----------
    systems : dict of Painted
        By name, some of `SYSTEMS`.
    seen : Seen
    about : dict
        Plain data that all systems share: generator, target, how the floor was made, modality gap.

    Raises
    ------
    NeurovisError
        If a system is unknown, or an image was painted whose picture is not among those seen.
    """

    systems: Mapping[str, Painted]
    seen: Seen
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if not self.systems:
            raise NeurovisError("Reconstructions: expected at least one system, found none.")
        shown = set(self.seen.image.tolist())
        for name, painted in self.systems.items():
            if name not in SYSTEMS:
                raise NeurovisError(unknown("system of reconstructions", name, SYSTEMS))
            for image in painted.image.tolist():
                if image not in shown:
                    raise NeurovisError(
                        f"Reconstructions: {name} has pictures of {image!r}, expected that picture among "
                        "those seen, found none; add it to seen."
                    )


def read(path: str | Path) -> Reconstructions:
    """Read ``pictures.h5`` into memory; a folder stands for the file in it.

    Raises
    ------
    NeurovisError
        If the file is absent, truncated, damaged, of another format or of a newer version.
    """
    with opened(path) as found:
        systems = {name: painted.take(slice(None)) for name, painted in found.systems.items()}
        seen = Seen(found.seen.picture[()], found.seen.image)
        return Reconstructions(systems, seen, found.about)


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Reconstructions]:
    """Give ``pictures.h5`` with pictures left on disk: ``painted.picture[row]`` reads one row."""
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    with open_h5(path, FORMAT) as file:
        if "seen" not in file:
            raise NeurovisError(
                f"{path}: expected reconstructions, found other pictures; give the file of a folder in "
                "RUN/reconstructions."
            )
        try:
            systems = {n: _painted(path, file[n]) for n in SYSTEMS if n in file}
            seen = Seen(*(dataset(path, file["seen"], n) for n in ("picture",)), _ids(path, file))
            found = Reconstructions(systems, seen, json.loads(file.attrs.get("about", "{}")))
        except NeurovisError as error:
            raise NeurovisError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
        except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
            raise _damaged(path) from error
        try:
            yield found
        except OSError as error:  # a block that cannot be read shows when it is read
            raise _damaged(path) from error


def _damaged(path: Path) -> NeurovisError:
    return NeurovisError(
        f"{path}: expected whole reconstructions, found a damaged file; delete its folder and run "
        "neurovis generate again."
    )


def _ids(path: Path, file: Any) -> np.ndarray:
    return dataset(path, file["seen"], "image")[()]


def _painted(path: Path, group: Any) -> Painted:
    columns: dict[str, Any] = {}
    for name in ROWS:
        if name in group or name not in OPTIONAL:
            item = dataset(path, group, name)
            columns[name] = item if name in ("picture", "low") else item[()]
    return Painted(**columns, seconds=json.loads(group.attrs.get("seconds", "{}")))


def write(path: str | Path, found: Reconstructions) -> None:
    """Write ``pictures.h5`` atomically."""
    with new_h5(path, FORMAT, about=_json(found.about)) as file:
        for system, painted in found.systems.items():
            group = file.create_group(system)
            group.attrs["seconds"] = _json(painted.seconds)
            for name in ROWS:
                if (value := getattr(painted, name)) is not None:
                    _create(group, name, np.asarray(value))
        group = file.create_group("seen")
        _create(group, "picture", np.asarray(found.seen.picture))
        _create(group, "image", found.seen.image)


def _json(data: Any) -> str:
    try:
        return json.dumps(data, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise NeurovisError(
            "reconstructions: a value of about or seconds is NaN, expected finite numbers; mend the "
            "step that made it."
        ) from error


def _create(group: Any, name: str, value: np.ndarray) -> None:
    """A dataset; pictures in chunks of one row, so that one is one read."""
    if value.dtype.kind in "US":
        import h5py

        group.create_dataset(name, data=value.astype(object), dtype=h5py.string_dtype())
    elif name in ("picture", "low"):
        _pictures(group, name, value.shape)[...] = value
    else:
        group.create_dataset(name, data=value)


def _pictures(group: Any, name: str, shape: tuple[int, ...]) -> Any:
    chunk = (1, *shape[1:])
    return group.create_dataset(
        name, shape, np.uint8, chunks=chunk, compression="gzip", compression_opts=1
    )


# ---- growing -----------------------------------------------------------------------------------


class Journal:
    """Rows of one system as they are painted, each batch in a file of its own.

    Several processes may keep rows at the same time: a file is there whole or not at all, and what is
    in it does not depend on which process made it. A damaged file counts as not painted.

    Parameters
    ----------
    folder : Path
        Of this system alone.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, rows: np.ndarray, seconds: float = 0.0, **columns: np.ndarray) -> None:
        """Keep painted rows.

        Parameters
        ----------
        rows : array of int (row,)
            Their numbers in the system.
        seconds : float
            That painting them took.
        **columns
            ``picture`` and, where there are such, those of `OPTIONAL`, by row.
        """
        data = io.BytesIO()
        columns = {name: value for name, value in columns.items() if value is not None}
        np.savez(data, rows=rows, seconds=np.float64(seconds), **columns)
        with atomic(self.folder / f"{rows[0]:07d}-{len(rows):04d}.npz") as partial:
            partial.write_bytes(data.getvalue())

    def parts(self) -> Iterator[dict[str, np.ndarray]]:
        """What was kept, batch by batch."""
        for path in sorted(self.folder.glob("[0-9]*.npz")):
            try:
                # numpy leaves a damaged file open that it opened itself
                with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
                    part = {name: file[name] for name in file.files}
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
                path.unlink(missing_ok=True)  # its rows are painted again
                continue
            yield part

    def done(self) -> np.ndarray:
        """Numbers of the rows that are kept: array of int, ascending."""
        found: list[np.ndarray] = [part["rows"] for part in self.parts()]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows that a system paints, before they are painted.

    Parameters
    ----------
    image, subject : array of str (row,)
    n_averaged : array of int (row,)
    seed : array (row, sample) int64
    """

    image: np.ndarray
    subject: np.ndarray
    n_averaged: np.ndarray
    seed: np.ndarray

    def __len__(self) -> int:
        return len(self.image)


def gather(
    path: Path,
    systems: Mapping[str, tuple[Table, Journal, dict[str, float]]],
    seen: Seen,
    about: dict[str, Any],
) -> None:
    """Write ``pictures.h5`` from journals, one batch in memory at a time.

    Parameters
    ----------
    path : Path
    systems : dict of (Table, Journal, dict of float)
        By name: rows, what was painted, seconds of stages besides painting.
    seen : Seen
    about : dict

    Raises
    ------
    NeurovisError
        If a row was not painted, or batches differ in size.
    """
    with new_h5(path, FORMAT, about=_json(about)) as file:
        for system, (table, journal, seconds) in systems.items():
            group = file.create_group(system)
            for column in fields(Table):
                _create(group, column.name, getattr(table, column.name))
            _fill(path, group, system, table, journal, seconds)
        group = file.create_group("seen")
        _create(group, "picture", np.asarray(seen.picture))
        _create(group, "image", seen.image)


def _fill(
    path: Path,
    group: Any,
    system: str,
    table: Table,
    journal: Journal,
    seconds: dict[str, float],
) -> None:
    missing, painting = np.ones(len(table), bool), 0.0
    small: dict[str, np.ndarray] = {}
    for part in journal.parts():
        rows = part.pop("rows")
        painting += float(part.pop("seconds"))
        for name, value in part.items():
            if name in ("picture", "low"):
                item = group.get(name)
                if item is None:
                    item = _pictures(group, name, (len(table), *value.shape[1:]))
                if item.shape[1:] != value.shape[1:]:
                    raise NeurovisError(
                        f"{path}: {system} was painted as {item.shape[1:]} and as {value.shape[1:]}, expected "
                        "one size; delete the unfinished folder and run neurovis generate again."
                    )
                for row, picture in zip(rows, value):
                    item[int(row)] = picture
            else:
                blank = np.zeros((len(table), *value.shape[1:]), object)
                small.setdefault(name, blank)[rows] = value
        missing[rows] = False
    if missing.any():
        raise NeurovisError(
            f"{path}: {missing.sum()} of {len(table)} rows of {system} are not painted yet; run the same "
            "command again to go on."
        )
    for name, value in small.items():
        _create(group, name, value.astype(str if name in ("caption", "word") else np.float32))
    group.attrs["seconds"] = _json({**seconds, "paint": round(painting, 3)})
