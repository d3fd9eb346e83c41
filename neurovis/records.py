"""The six records that data flows through, and their files.

Stimuli -> Trials -> (Embeddings, Split) -> Prediction -> Score. Each checks its own shapes when it is
made and says which dimension is wrong; each reads and writes its own file format. Signals stay on
disk until asked for: one trial is one read, so that a dataset larger than memory trains.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.store import (
    FORMAT_VERSION,
    atomic,
    dataset,
    enduring,
    open_h5,
    read_json,
    write_h5,
    write_json,
)

MODALITIES = ("meg", "eeg", "fmri")
SETS = ("train", "test")


def _strings(record: str, name: str, values: Any, n: int | None, dim: str) -> np.ndarray:
    values = np.asarray(values)
    values = values.astype(str) if values.dtype.kind != "U" else values
    return _sized(record, name, values, n, dim)


def _sized(record: str, name: str, values: np.ndarray, n: int | None, dim: str) -> np.ndarray:
    if values.ndim != 1 or (n is not None and len(values) != n):
        raise NeurovisError(
            f"{record}.{name}: expected shape ({dim}={'n' if n is None else n},), found {values.shape}; "
            f"give one value per {dim}."
        )
    return values


def _finite(record: str, name: str, values: np.ndarray, rows: Any = None) -> None:
    good = np.isfinite(values)
    if not good.all():
        row = int(np.argwhere(~good)[0][0])
        label = f" ({str(rows[row])!r})" if rows is not None else ""
        raise NeurovisError(
            f"{record}.{name}: expected finite numbers, found NaN or infinity in row {row}{label}; "
            "drop that row or mend its source."
        )


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Name the file in what is said of its content; damage that HDF5 finds is said in one sentence."""
    try:
        yield
    except NeurovisError as error:
        if str(error).startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error}") from None
    except (OSError, RuntimeError, TypeError, KeyError, ValueError, MemoryError) as error:
        raise NeurovisError(f"{path}: damaged ({error}); make the file anew.") from error


def _index(record: str, known: np.ndarray, ids: Any) -> np.ndarray:
    place = {image: row for row, image in enumerate(known.tolist())}
    try:
        return np.array([place[str(image)] for image in np.atleast_1d(ids)], dtype=np.int64)
    except KeyError as error:
        raise NeurovisError(
            f"{record}: image {error.args[0]!r} is not in it (it has {len(place)} images); "
            "use the stimuli of the same dataset."
        ) from None


@dataclass(frozen=True, eq=False)
class Stimuli:
    """The pictures that were shown: one row per image id.

    Parameters
    ----------
    image : array of str (image,)
        Unique ids.
    path : list of tuple of str (image,)
        Files, relative to `folder`; several, or none, only where a stimulus is a category.
    sha256 : array of str (image,)
        Checksum of the file (of the joined checksums for a category); may be empty.
    width, height : array of int (image,)
        Pixels; of the first file for a category.
    concept : array of str (image,)
    set : array of str (image,)
        ``train`` or ``test``.
    caption : array of str (image,), optional
    folder : Path, optional
        Where the paths start: the folder of ``stimuli.csv``.

    Raises
    ------
    NeurovisError
        If a length differs or an image id appears twice.
    """

    image: np.ndarray
    path: list[tuple[str, ...]]
    sha256: np.ndarray
    width: np.ndarray
    height: np.ndarray
    concept: np.ndarray
    set: np.ndarray
    caption: np.ndarray | None = None
    folder: Path | None = None

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        n = len(self.path)
        path = [(p,) if isinstance(p, str) else tuple(map(str, p)) for p in self.path]
        put("path", [tuple(filter(None, p)) for p in path])
        for name in {p for several in self.path for p in several if "|" in p}:
            raise NeurovisError(
                f"Stimuli.path: expected no '|' in a path (it joins them in the file), found {name!r}; "
                "rename the file."
            )
        caption = [""] * n if self.caption is None else self.caption
        put("caption", np.asarray(caption))
        for name in ("image", "sha256", "concept", "set", "caption"):
            put(name, _strings("Stimuli", name, getattr(self, name), n, "image"))
        for name in ("width", "height"):
            values = np.asarray(getattr(self, name), dtype=np.int64)
            put(name, _sized("Stimuli", name, values, n, "image"))
        if n == 0:
            raise NeurovisError(
                "Stimuli: expected at least one image, found none; check the source."
            )
        for row in np.flatnonzero(~np.isin(self.set, SETS))[:1]:
            raise NeurovisError(
                f"Stimuli.set: expected train or test, found {str(self.set[row])!r} for image "
                f"{str(self.image[row])!r}; correct its row."
            )
        values, counts = np.unique(self.image, return_counts=True)
        if counts.max() > 1:
            raise NeurovisError(
                f"Stimuli.image: {str(values[counts.argmax()])!r} appears {counts.max()} times, expected "
                "once; give every picture its own id."
            )

    def __len__(self) -> int:
        return len(self.image)

    @property
    def category(self) -> np.ndarray:
        """Whether each stimulus is known by category alone: array of bool (image,).

        It has several pictures, or none: a picture that is merely not there keeps its path.
        """
        return np.array([len(p) != 1 for p in self.path])

    def index(self, ids: Any) -> np.ndarray:
        """Rows of image ids; an unknown id is named."""
        return _index("Stimuli", self.image, ids)

    def take(self, rows: Any) -> Stimuli:
        """The given rows as a record of their own."""
        rows = np.asarray(rows)
        columns = {
            f.name: getattr(self, f.name)[rows]
            for f in fields(self)
            if isinstance(getattr(self, f.name), np.ndarray)
        }
        return replace(self, path=[self.path[i] for i in np.arange(len(self))[rows]], **columns)

    def files(self, row: int) -> tuple[Path, ...]:
        """Files of one stimulus."""
        return tuple((self.folder or Path()) / p for p in self.path[row])

    @classmethod
    def read(cls, path: str | Path) -> Stimuli:
        """Read ``stimuli.csv``."""
        path = Path(path)
        if not path.is_file():
            raise NeurovisError(f"{path}: no such file; run neurovis preprocess or simulate first.")
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise NeurovisError(
                f"{path}: expected a table in UTF-8, found other bytes; save it as CSV in UTF-8."
            ) from None
        # a category may join thousands of paths in one field
        csv.field_size_limit(max(csv.field_size_limit(), len(text)))
        reader = csv.DictReader(io.StringIO(text, newline=""))
        needed = ["image", "path", "sha256", "width", "height", "concept", "set"]
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise NeurovisError(
                f"{path}: column {missing[0]!r} is missing, expected {', '.join(needed)}; "
                "write the file with Stimuli.write."
            )
        rows = list(reader)
        for number, row in enumerate(rows):
            whole = None not in row.values() and None not in row
            if not (whole and row["width"].isdecimal() and row["height"].isdecimal()):
                raise NeurovisError(
                    f"{path}: row {number + 1} is cut short, has too many fields, or its width or "
                    "height is no whole number; make the file anew."
                )
        columns = {name: [row[name] for row in rows] for name in needed}
        columns["path"] = [tuple(p.split("|")) for p in columns["path"]]
        columns["width"], columns["height"] = (
            list(map(int, columns["width"])),
            list(map(int, columns["height"])),
        )
        caption = [row.get("caption") or "" for row in rows]
        with _naming(path):
            return cls(**columns, caption=caption, folder=path.parent)

    def write(self, path: str | Path) -> None:
        """Write ``stimuli.csv`` atomically; paths are kept as they are (relative to its folder)."""
        with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(
                ["image", "path", "sha256", "width", "height", "concept", "set", "caption"]
            )
            columns = [self.sha256, self.width, self.height, self.concept, self.set, self.caption]
            for row in zip(self.image, map("|".join, self.path), *columns, strict=True):
                writer.writerow(row)


_PER_TRIAL = ("image", "session", "run", "set", "onset")
_ATTRIBUTES = ("modality", "dataset", "subject", "sfreq", "tmin", "unit")


@dataclass(frozen=True, eq=False)
class Trials:
    """Epochs of one subject: one row per trial.

    Parameters
    ----------
    signal : array or HDF5 dataset (trial, channel, time) float32
    image, session, run, set : array of str (trial,)
    onset : array (trial,), s
        Time of the event in its run.
    channel_name, channel_type : array of str (channel,)
    channel_position : array (channel, 3), m
        Head coordinates; NaN where unknown.
    sfreq : float, Hz
    tmin : float, s
        Time of the first sample relative to the event.
    modality : {"meg", "eeg", "fmri"}
    unit : str
        Of the signal: ``V``, ``T``, or ``1`` after scaling.
    subject, dataset : str
    provenance : dict
        How the signals were made, scaling included.

    Raises
    ------
    NeurovisError
        If a dimension disagrees, naming it.
    """

    signal: Any
    image: np.ndarray
    session: np.ndarray
    run: np.ndarray
    set: np.ndarray
    onset: np.ndarray
    channel_name: np.ndarray
    channel_type: np.ndarray
    channel_position: np.ndarray
    sfreq: float
    tmin: float
    modality: str
    unit: str
    subject: str
    dataset: str = ""
    provenance: dict = field(default_factory=dict)

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        shape = tuple(self.signal.shape)
        if len(shape) != 3 or self.signal.dtype != np.float32:
            raise NeurovisError(
                f"Trials.signal: expected (trial, channel, time) float32, found {shape} "
                f"{self.signal.dtype}; reshape or convert it."
            )
        n_trials, n_chans, n_times = shape
        for name in ("image", "session", "run", "set"):
            put(name, _strings("Trials", name, getattr(self, name), n_trials, "trial"))
        onset = np.asarray(self.onset, dtype=np.float64)
        put("onset", _sized("Trials", "onset", onset, n_trials, "trial"))
        for name in ("channel_name", "channel_type"):
            put(name, _strings("Trials", name, getattr(self, name), n_chans, "channel"))
        if len(set(self.channel_name.tolist())) != n_chans:
            raise NeurovisError("Trials.channel_name: a name appears twice; rename the channels.")
        position = np.asarray(self.channel_position, dtype=np.float32)
        put("channel_position", position)
        if position.shape != (n_chans, 3):
            raise NeurovisError(
                f"Trials.channel_position: expected (channel={n_chans}, 3), found {position.shape}; "
                "give metres in head coordinates, NaN where unknown."
            )
        good = math.isfinite(self.sfreq) and self.sfreq > 0 and math.isfinite(self.tmin)
        if n_chans == 0 or n_times == 0 or not good:
            raise NeurovisError(
                "Trials: expected at least one channel, one time sample, and sfreq above 0 Hz, found "
                f"channel={n_chans}, time={n_times} at {self.sfreq} Hz from {self.tmin} s; check picks "
                "and epoching window."
            )
        if self.modality not in MODALITIES:
            raise NeurovisError(
                f"Trials.modality: expected one of {', '.join(MODALITIES)}, found {self.modality!r}."
            )

    def __len__(self) -> int:
        return self.signal.shape[0]

    @property
    def times(self) -> np.ndarray:
        """Time of each sample relative to the event: array (time,), s."""
        return self.tmin + np.arange(self.signal.shape[2]) / self.sfreq

    @property
    def recording(self) -> np.ndarray:
        """Name of each trial's recording, ``ses-<session>_run-<run>``: array of str (trial,)."""
        return np.array([f"ses-{s}_run-{r}" for s, r in zip(self.session, self.run)], dtype=str)

    def read(self, rows: Any = slice(None)) -> np.ndarray:
        """Signals of some trials: array (row, channel, time) float32, in the order asked for."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        rows = np.where(rows < 0, rows + len(self), rows)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise NeurovisError(
                f"Trials.read: expected rows below {len(self)}, found {rows.min()} to {rows.max()}."
            )
        if isinstance(self.signal, np.ndarray):
            return self.signal[rows]
        out = np.empty((len(rows), *self.signal.shape[1:]), np.float32)
        order = np.argsort(rows, kind="stable")
        for start, stop in _stretches(rows[order]):
            first, last = rows[order[start]], rows[order[stop - 1]]
            block = self.signal[first : last + 1]
            out[order[start:stop]] = block[rows[order[start:stop]] - first]
        return out

    @classmethod
    def open(cls, path: str | Path) -> Trials:
        """Open ``trials.h5``; its signal stays on disk."""
        file = open_h5(path, "neurovis-trials")
        try:
            with _naming(path):
                return cls._of(path, file)
        except NeurovisError:
            file.close()
            raise

    @classmethod
    def _of(cls, path: str | Path, file: Any) -> Trials:
        data = {name: dataset(path, file, name)[()] for name in _PER_TRIAL}
        for name in ("channel_name", "channel_type", "channel_position"):
            data[name] = dataset(path, file, name)[()]
        missing = [name for name in _ATTRIBUTES if name not in file.attrs]
        if missing:
            raise NeurovisError(f"{path}: attribute {missing[0]!r} is missing; make the file anew.")
        attributes = {name: file.attrs[name] for name in _ATTRIBUTES}
        attributes["sfreq"], attributes["tmin"] = (
            float(attributes["sfreq"]),
            float(attributes["tmin"]),
        )
        try:
            record = json.loads(file.attrs.get("provenance", "{}"))
        except json.JSONDecodeError:
            raise NeurovisError(f"{path}: its provenance is damaged; make the file anew.") from None
        return cls(signal=dataset(path, file, "signal"), **data, **attributes, provenance=record)

    def write(self, path: str | Path) -> None:
        """Write ``trials.h5`` atomically."""
        about = {name: getattr(self, name) for name in _ATTRIBUTES}
        channels = {
            name: getattr(self, name)
            for name in ("channel_name", "channel_type", "channel_position")
        }
        with TrialsWriter(path, **about, **channels, provenance=self.provenance) as writer:
            for start in range(0, len(self), 256):
                rows = np.arange(start, min(start + 256, len(self)))
                per_trial = {name: getattr(self, name)[rows] for name in _PER_TRIAL}
                writer.append(self.read(rows), **per_trial)

    def close(self) -> None:
        """Close the file behind a lazy signal."""
        if not isinstance(self.signal, np.ndarray):
            self.signal.file.close()


def _stretches(rows: np.ndarray, gap: int = 4) -> Iterator[tuple[int, int]]:
    """Bounds of runs of sorted rows that are worth one read (at most 512 trials)."""
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] - rows[i - 1] > gap or rows[i] - rows[start] >= 512:
            yield start, i
            start = i


class TrialsWriter:
    """Write ``trials.h5`` run by run; the file appears, whole, when the block ends.

    Parameters
    ----------
    path : path
    channel_name, channel_type, channel_position
        As in `Trials`.
    sfreq, tmin, modality, unit, subject, dataset, provenance
        As in `Trials`; `provenance` may be replaced before the end through ``writer.provenance``.

    Examples
    --------
    >>> with TrialsWriter(path, **about) as writer:
    ...     writer.append(signal, image=image, session=session, run=run, set=set, onset=onset)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        channel_name: Sequence[str],
        channel_type: Sequence[str],
        channel_position: np.ndarray,
        sfreq: float,
        tmin: float,
        modality: str,
        unit: str,
        subject: str,
        dataset: str = "",
        provenance: dict | None = None,
    ):
        self.path = Path(path)
        self.channels = {
            "channel_name": np.asarray(channel_name).astype(str),
            "channel_type": np.asarray(channel_type).astype(str),
            "channel_position": np.asarray(channel_position, np.float32),
        }
        self.attributes = {
            "modality": modality,
            "dataset": dataset,
            "subject": subject,
            "sfreq": float(sfreq),
            "tmin": float(tmin),
            "unit": unit,
        }
        self.provenance = dict(provenance or {})
        self.file: Any = None
        self._n_times = 0
        self._rows: dict[str, list] = {name: [] for name in _PER_TRIAL}

    def __enter__(self) -> TrialsWriter:
        import h5py

        with ExitStack() as stack:
            self._disk = stack.enter_context(enduring(stack.enter_context(atomic(self.path))))
            self.file = stack.enter_context(h5py.File(self._disk, "w"))
            self._open = stack.pop_all()
        return self

    def append(
        self, signal: np.ndarray, *, image: Any, session: Any, run: Any, set: Any, onset: Any
    ) -> None:
        """Add trials (trial, channel, time); `session`, `run` and `set` may be one value for all."""
        given = {"image": image, "session": session, "run": run, "set": set, "onset": onset}
        n = len(signal)
        per_trial = {
            k: np.full(n, v) if np.ndim(v) == 0 else np.asarray(v) for k, v in given.items()
        }
        signal = np.asarray(signal, np.float32)
        block = Trials(signal, **per_trial, **self.channels, **self.attributes)
        _finite("Trials", "signal", signal, block.image)
        if n == 0:
            return
        if self._n_times == 0:
            self._n_times = signal.shape[2]
            self.file.create_dataset(
                "signal",
                shape=(0, *signal.shape[1:]),
                maxshape=(None, *signal.shape[1:]),
                chunks=(1, *signal.shape[1:]),
                dtype=np.float32,
            )
        if signal.shape[2] != self._n_times:
            raise NeurovisError(
                f"{self.path}: Trials.signal: expected time={self._n_times} as in the runs before, "
                f"found {signal.shape[2]}; use one sampling rate and window for all runs."
            )
        stored = self.file["signal"]
        stored.resize(len(stored) + n, axis=0)
        stored[-n:] = signal
        self._disk.check()
        for name in _PER_TRIAL:
            self._rows[name].extend(getattr(block, name).tolist())

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        if kind is not None:
            return self._open.__exit__(kind, error, trace)
        with self._open:
            self._finish()
        return None

    def _finish(self) -> None:
        import h5py

        if self._n_times == 0:
            raise NeurovisError(
                f"{self.path}: no trial to write, expected at least one; check events and rejection."
            )
        text = h5py.string_dtype()
        for name, value in {**self._rows, **self.channels}.items():
            value = np.asarray(value)
            if value.dtype.kind in "US":
                self.file.create_dataset(name, data=value.astype(object), dtype=text)
            else:
                self.file.create_dataset(name, data=value)
        self.file.attrs.update(
            {"format": "neurovis-trials", "format_version": FORMAT_VERSION, **self.attributes}
        )
        self.file.attrs["provenance"] = json.dumps(self.provenance)


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What a frozen encoder says of each image.

    Parameters
    ----------
    vector : array (image, dim) or (image, token, dim) float32
    image : array of str (image,)
        Unique ids.
    encoder : dict
        The encoder's config.
    """

    vector: np.ndarray
    image: np.ndarray
    encoder: dict = field(default_factory=dict)

    def __post_init__(self):
        vector = np.asarray(self.vector, np.float32)
        if vector.ndim not in (2, 3) or len(vector) == 0:
            raise NeurovisError(
                f"Embeddings.vector: expected (image, dim) or (image, token, dim) with at least one "
                f"image, found {vector.shape}; reshape it."
            )
        image = _strings("Embeddings", "image", self.image, len(vector), "image")
        _finite("Embeddings", "vector", vector, image)
        if len(set(image.tolist())) != len(image):
            values, counts = np.unique(image, return_counts=True)
            raise NeurovisError(
                f"Embeddings.image: {str(values[counts.argmax()])!r} appears {counts.max()} times, expected "
                "once; merge its rows."
            )
        object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "image", image)

    def __len__(self) -> int:
        return len(self.image)

    def at(self, ids: Any) -> np.ndarray:
        """Vectors of image ids, in their order; an unknown id is named."""
        return self.vector[_index("Embeddings", self.image, ids)]

    @classmethod
    def read(cls, path: str | Path) -> Embeddings:
        """Read ``embeddings.h5``."""
        with open_h5(path, "neurovis-embeddings") as file, _naming(path):
            name = "token" if "token" in file else "vector"
            try:
                encoder = json.loads(file.attrs.get("encoder", "{}"))
            except json.JSONDecodeError:
                raise NeurovisError(
                    f"{path}: its encoder is damaged; make the file anew."
                ) from None
            return cls(dataset(path, file, name)[()], dataset(path, file, "image")[()], encoder)

    def write(self, path: str | Path) -> None:
        """Write ``embeddings.h5`` atomically."""
        name = "vector" if self.vector.ndim == 2 else "token"
        data = {name: self.vector, "image": self.image}
        write_h5(path, "neurovis-embeddings", data, encoder=json.dumps(self.encoder))


@dataclass(frozen=True, eq=False)
class Split:
    """Which images train, validate and test; made once, stored, never redrawn.

    Parameters
    ----------
    train, validation, test : tuple of str
        Image ids, or recordings ``ses-<session>_run-<run>`` where `unit` is ``recording``.
    protocol : str
        Its name, printed with every score: ``clean`` means nothing is selected on test data.
    unit : {"image", "recording"}
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    protocol: str = "clean"
    unit: str = "image"

    def __post_init__(self):
        for side in ("train", "validation", "test"):
            object.__setattr__(self, side, tuple(map(str, getattr(self, side))))
        if self.unit not in ("image", "recording"):
            raise NeurovisError(f"Split.unit: expected image or recording, found {self.unit!r}.")
        for side in ("train", "test"):
            if not getattr(self, side):
                raise NeurovisError(
                    f"Split.{side}: expected at least one {self.unit}, found none; "
                    "give the split both sides."
                )
        self._refuse_shared({side: {i: i for i in getattr(self, side)} for side in self.sides})

    @property
    def sides(self) -> tuple[str, str, str]:
        """Names of the three sides."""
        return ("train", "validation", "test")

    def _refuse_shared(self, sides: dict[str, dict[str, str]], what: str | None = None) -> None:
        for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
            shared = sorted(sides[first].keys() & sides[second].keys())
            if shared:
                raise NeurovisError(
                    f"Split: {what or self.unit} {shared[0]!r} is in {first} and in {second} "
                    f"({len(shared)} such in all); rebuild the split with one side per "
                    f"{what or self.unit}."
                )

    def check(self, stimuli: Stimuli, concepts: bool = False) -> None:
        """Refuse pictures (and, if asked, concepts) that stand on two sides under different ids.

        Raises
        ------
        NeurovisError
            If the same picture (by checksum) or concept is on two sides, or an id is unknown.
        """
        if self.unit != "image":
            return
        sides: dict[str, dict[str, str]] = {side: {} for side in self.sides}
        kinds: dict[str, dict[str, str]] = {side: {} for side in self.sides}
        for side in self.sides:
            for row in stimuli.index(list(getattr(self, side))) if getattr(self, side) else ():
                image = str(stimuli.image[row])
                if stimuli.sha256[row]:
                    sides[side][str(stimuli.sha256[row])] = image
                kinds[side][str(stimuli.concept[row])] = image
        for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
            for key in sides[first].keys() & sides[second].keys():
                raise NeurovisError(
                    f"Split: image {sides[first][key]!r} in {first} is the same picture as "
                    f"{sides[second][key]!r} in {second}; rebuild the split with one side per picture."
                )
        if concepts:
            kinds_of_test = {"train": kinds["train"] | kinds["validation"], "test": kinds["test"]}
            kinds_of_test["validation"] = {}
            self._refuse_shared(kinds_of_test, "concept")

    def rows(self, side: str, trials: Trials) -> np.ndarray:
        """Trials on one side: array of int (row,)."""
        ids = trials.image if self.unit == "image" else trials.recording
        return np.flatnonzero(np.isin(ids, np.array(getattr(self, side), dtype=str)))

    @classmethod
    def read(cls, path: str | Path) -> Split:
        """Read ``split.json``."""
        data = read_json(path, "neurovis-split")
        missing = [f.name for f in fields(cls) if f.name not in data]
        if missing:
            raise NeurovisError(f"{path}: {missing[0]!r} is missing; make the split anew.")
        with _naming(path):
            return cls(**{f.name: data[f.name] for f in fields(cls)})

    @classmethod
    def read_folds(cls, folder: str | Path) -> tuple[Split, ...]:
        """Read ``split.json``, or ``split-01.json``, ``split-02.json``, ... of a folder."""
        paths = sorted(Path(folder).glob("split*.json"))
        if not paths:
            raise NeurovisError(f"{folder}: no split.json in it; run neurovis preprocess.")
        return tuple(cls.read(path) for path in paths)

    def write(self, path: str | Path) -> None:
        """Write ``split.json`` atomically."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        write_json(path, {"format": "neurovis-split", "format_version": FORMAT_VERSION, **data})


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a decoder says of test trials, or of averages of them.

    Parameters
    ----------
    vector : dict of array (row, dim)
        Per target.
    image, subject : array of str (row,)
        The image shown, and to whom.
    n_averaged : array of int (row,)
        Number of trials averaged.
    recording : array of str (row,), optional
        ``ses-<session>_run-<run>`` where all trials of a row come from one recording.
    model : str
        Fingerprint of the model.
    spread : dict of array (row,), optional
        Per target, and ``all`` for their sum: the temperature, fitted on validation data, at which
        softmax(cosine / spread) over a gallery is the probability of each image.
    rows : str
        Fingerprint of the trials behind each row; empty where it is not known.
    """

    vector: dict[str, np.ndarray]
    image: np.ndarray
    subject: np.ndarray
    n_averaged: np.ndarray
    recording: np.ndarray | None = None
    model: str = ""
    spread: dict[str, np.ndarray] | None = None
    rows: str = ""

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("image", _strings("Prediction", "image", self.image, None, "row"))
        n = len(self.image)
        if n == 0 or not self.vector:
            raise NeurovisError(
                "Prediction: expected rows and targets, found none; check the split."
            )
        put("subject", _strings("Prediction", "subject", self.subject, n, "row"))
        recording = [""] * n if self.recording is None else self.recording
        put("recording", _strings("Prediction", "recording", recording, n, "row"))
        n_averaged = np.asarray(self.n_averaged, dtype=np.int64)
        put("n_averaged", _sized("Prediction", "n_averaged", n_averaged, n, "row"))
        if n_averaged.min() < 1:
            raise NeurovisError("Prediction.n_averaged: expected 1 or more in every row.")
        vectors = {}
        for target, value in self.vector.items():
            if not str(target) or set(str(target)) & set("/@."):
                raise NeurovisError(
                    f"Prediction.vector: expected names of targets without '/', '@' and '.', found "
                    f"{target!r}; rename it."
                )
            value = np.asarray(value, np.float32)
            if value.ndim != 2 or len(value) != n:
                raise NeurovisError(
                    f"Prediction.vector[{target!r}]: expected (row={n}, dim), found {value.shape}."
                )
            _finite("Prediction", f"vector[{target!r}]", value, self.image)
            vectors[str(target)] = value
        put("vector", vectors)
        spreads = {}
        for target, value in (self.spread or {}).items():
            value = _sized(
                "Prediction", f"spread[{target!r}]", np.asarray(value, np.float32), n, "row"
            )
            known = target in vectors or target == "all"
            if not known or not (np.isfinite(value) & (value > 0)).all():
                raise NeurovisError(
                    f"Prediction.spread[{target!r}]: expected a number above 0 in every row of a target "
                    f"that is predicted, found {'others' if known else sorted(vectors)}; make it anew."
                )
            spreads[target] = value
        put("spread", spreads or None)

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def read(cls, path: str | Path) -> Prediction:
        """Read ``prediction.h5``."""
        with open_h5(path, "neurovis-prediction") as file, _naming(path):
            names = ("image", "subject", "n_averaged", "recording")
            data = {name: dataset(path, file, name)[()] for name in names if name in file}
            targets = dataset(path, file, "vector")
            vector = {target: dataset(path, targets, target)[()] for target in targets}
            missing = [name for name in names[:3] if name not in data]
            if missing:
                raise NeurovisError(
                    f"{path}: dataset {missing[0]!r} is missing; make the file anew."
                )
            spread = {k: dataset(path, file["spread"], k)[()] for k in file.get("spread", ())}
            about = {name: str(file.attrs.get(name, "")) for name in ("model", "rows")}
            return cls(vector, **data, **about, spread=spread)

    def write(self, path: str | Path) -> None:
        """Write ``prediction.h5`` atomically."""
        data: dict[str, Any] = {f"vector/{k}": v for k, v in self.vector.items()}
        data |= {f"spread/{k}": v for k, v in (self.spread or {}).items()}
        for name in ("image", "subject", "n_averaged", "recording"):
            data[name] = getattr(self, name)
        rows = {"rows": self.rows} if self.rows else {}
        write_h5(path, "neurovis-prediction", data, model=self.model, **rows)


@dataclass(frozen=True, eq=False)
class Score:
    """One number with everything needed to read it.

    Parameters
    ----------
    value : float
    n : int
        Items behind it (images or trials, as `name` says).
    chance : float
    low, high : float
        95 % interval.
    per_item : array (item,)
        May be empty.
    gallery, protocol : str
        Retrieved among what, under which protocol.
    higher_is_better : bool
    name : str
        The metric, such as ``top5``.
    about : dict
        System, target, subject, number of trials averaged.
    """

    value: float
    n: int
    chance: float
    low: float
    high: float
    per_item: np.ndarray
    gallery: str
    protocol: str
    higher_is_better: bool
    name: str = ""
    about: dict = field(default_factory=dict)

    def __post_init__(self):
        for name in ("value", "chance", "low", "high"):
            number = float(getattr(self, name))
            if not math.isfinite(number):
                raise NeurovisError(
                    f"Score.{name} of {self.name or 'a metric'}: expected a finite number, found "
                    f"{number}; drop the rows without a valid prediction before scoring."
                )
            object.__setattr__(self, name, number)
        if self.n < 1:
            raise NeurovisError(f"Score {self.name}: expected n of 1 or more, found {self.n}.")
        object.__setattr__(self, "per_item", np.asarray(self.per_item, np.float64))
        _finite(f"Score {self.name}", "per_item", self.per_item)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``scores.json``."""
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "per_item"}
        return {**data, "n": int(self.n), "per_item": [round(float(v), 6) for v in self.per_item]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Score:
        """Read what `to_dict` wrote; an unknown or missing field is named."""
        names = {f.name for f in fields(cls)}
        wrong = sorted(set(data) ^ (names & set(data)) | (names - {"name", "about"}) - set(data))
        if wrong:
            raise NeurovisError(f"Score: field {wrong[0]!r} is missing or unknown; evaluate anew.")
        return cls(**data)

    def __str__(self) -> str:
        return (
            f"{self.name} {self.value:.3f} [{self.low:.3f}, {self.high:.3f}] "
            f"(chance {self.chance:.3f}, n = {self.n}, {self.gallery}, {self.protocol})"
        )


@contextmanager
def opened(path: str | Path) -> Iterator[Trials]:
    """Open ``trials.h5`` for the length of a block."""
    trials = Trials.open(path)
    try:
        yield trials
    finally:
        trials.close()


__all__ = [
    "Embeddings",
    "Prediction",
    "Score",
    "Split",
    "Stimuli",
    "Trials",
    "TrialsWriter",
    "opened",
]
