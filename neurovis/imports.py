"""Bring your own arrays: what others saved, with a list of image ids, becomes a record file.

Comes in: MNE ``-epo.fif``, ``.npy``, ``.npz``, ``.pt``, ``.safetensors``, ``.h5`` or ``.pkl``, and ids
(text with one id per line, a csv with an ``image`` column, a JSON list). Goes out: ``trials.h5``,
``embeddings.h5`` or ``prediction.h5``. Nothing in these files is executed, shapes and values are checked,
and which row is which image is said once, here.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.arrays import Ids, choose, open_arrays, read_ids
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.progress import progress
from neurovis.records import Embeddings, Prediction, TrialsWriter
from neurovis.store import sha256

BLOCK = 256
UNITS = {"mag": "T", "grad": "T/m", "eeg": "V"}
KINDS = {"meg": "mag", "eeg": "eeg", "fmri": "voxel"}


def import_trials(
    file: str | Path,
    ids: Ids,
    out: str | Path,
    *,
    sfreq: float | None = None,
    tmin: float | None = None,
    modality: str | None = None,
    unit: str | None = None,
    subject: str = "01",
    session: str = "01",
    run: str = "01",
    set: str = "train",
    dataset: str = "",
    channel_names: Sequence[str] | None = None,
    picks: str = "data",
    key: str | None = None,
    quiet: bool = False,
) -> Path:
    """Write ``trials.h5`` from epochs.

    Parameters
    ----------
    file : path
        ``-epo.fif``, or an array (trial, channel, time), or (image, repeat, channel, time) with one id
        per image.
    ids : path or list of str, optional
        Image of each trial. A csv may also have the columns session, run, set and onset. For FIF the
        default is the ``image`` column of the metadata, else the names of the events.
    out : path
        Folder of ``trials.h5``.
    sfreq, tmin, modality : float Hz, float s, {"meg", "eeg", "fmri"}
        Needed unless the file says them (FIF, or ``times`` and ``sfreq`` beside the array).
    unit : str
        Of the signal; from FIF, else ``1``.
    subject, session, run, set, dataset : str
        Where the ids do not say.
    channel_names : list of str, optional
    picks : str
        Channels of FIF: ``data`` or a type such as ``mag``.
    key : str, optional
        Which array, where a file holds several.
    quiet : bool

    Returns
    -------
    Path
        Of ``trials.h5``; unknown onsets are NaN.

    Raises
    ------
    NeurovisError
        If the file is unsafe or damaged, rows and ids differ in number, a value is NaN (naming the
        row), or something needed is not said.
    """
    file, path = Path(file), Path(out) / "trials.h5"
    given = {"sfreq": sfreq, "tmin": tmin, "modality": modality, "unit": unit}
    with contextlib.ExitStack() as stack:
        if file.name.endswith((".fif", ".fif.gz")):
            read, shape, about, image = _epochs(file, picks)
        else:
            arrays = stack.enter_context(open_arrays(file))
            read, shape, about = _signals(file, arrays, key, channel_names)
            image = None
        about |= {name: value for name, value in given.items() if value is not None}
        for name, example in {"sfreq": "120", "tmin": "-0.2", "modality": "meg"}.items():
            if name not in about:
                raise NeurovisError(
                    f"{file}: it does not say {name}; give {name}, such as {example}."
                )
        if channel_names is not None:
            about["channel_name"] = list(channel_names)
        if len(about["channel_name"]) != shape[-2]:
            raise NeurovisError(
                f"{file}: expected {shape[-2]} channel names, found {len(about['channel_name'])}; "
                "give one per channel."
            )
        kind = KINDS.get(about["modality"], "misc")
        about.setdefault("channel_type", [kind] * shape[-2])
        about.setdefault("channel_position", np.full((shape[-2], 3), np.nan))
        about.setdefault("unit", "1")
        columns = read_ids(ids, file) if ids is not None else {"image": image}
        if columns["image"] is None:
            raise NeurovisError(f"{file}: it does not say which trial is which image; give ids.")
        rows = _columns(file, columns, shape)
        n = len(rows["image"])
        rows = {"session": session, "run": run, "set": set, "onset": np.nan} | rows
        record = {"imported": file.name, "sha256": sha256(file), "key": key or ""}
        with TrialsWriter(
            path, subject=subject, dataset=dataset, provenance=record, **about
        ) as writer:
            starts = range(0, n, BLOCK)
            for start in progress(starts, f"import {file.name}", len(starts), quiet, unit="block"):
                part = slice(start, min(start + BLOCK, n))
                signal = _checked(file, read(part), rows["image"][part], start)
                given = {k: v if np.ndim(v) == 0 else v[part] for k, v in rows.items()}
                writer.append(signal, **given)
    return path


def import_embeddings(
    file: str | Path,
    ids: Ids,
    out: str | Path,
    *,
    encoder: str = "imported",
    key: str | None = None,
) -> Path:
    """Write ``embeddings.h5`` from vectors.

    Parameters
    ----------
    file : path
        An array (image, dim) or (image, token, dim), or one vector per id in a dict of tensors.
    ids : path or list of str, optional
        Image of each row; for a dict of vectors its keys by default. An id may come twice with the
        same vector.
    out : path
        Folder of ``embeddings.h5``.
    encoder : str
        What made them.
    key : str, optional
        Which array, where a file holds several.

    Returns
    -------
    Path
        Of ``embeddings.h5``.

    Raises
    ------
    NeurovisError
        As for `import_trials`; or if an id has two different vectors.
    """
    file, path = Path(file), Path(out) / "embeddings.h5"
    with open_arrays(file) as arrays:
        image = read_ids(ids, file)["image"] if ids is not None else None
        if key is None and _is_by_id(arrays):
            image = list(arrays) if image is None else image
            lost = next((i for i in image if i not in arrays), None)
            if lost is not None:
                raise NeurovisError(unknown(f"{file}: image", lost, arrays))
            vector = np.stack([arrays[i] for i in image])
        else:
            vector = np.asarray(choose(file, arrays, key, (2, 3))[1])
        if image is None:
            raise NeurovisError(f"{file}: it does not say which row is which image; give ids.")
        if vector.ndim == 3 and vector.shape[1] == 1:
            vector = vector[:, 0]
        _same_number(file, len(vector), len(image))
        vector = _checked(file, vector, image)
    _, first, which = np.unique(np.array(image), return_index=True, return_inverse=True)
    differs = np.flatnonzero((vector[first[which]] != vector).reshape(len(vector), -1).any(axis=1))
    if len(differs):
        row = int(differs[0])
        raise NeurovisError(
            f"{file}: image {image[row]!r} has different vectors in rows {first[which[row]]} and "
            f"{row}, expected one vector per image; average them or correct the ids."
        )
    keep = np.sort(first)
    about = {"name": encoder, "imported": file.name, "sha256": sha256(file)}
    Embeddings(vector[keep], np.array(image)[keep], about).write(path)
    return path


def import_prediction(
    file: str | Path,
    ids: Ids,
    out: str | Path,
    *,
    target: str = "image",
    subject: str = "01",
    n_averaged: int = 1,
    model: str = "",
    key: str | None = None,
) -> Path:
    """Write ``prediction.h5`` from what a decoder predicted for test trials.

    Parameters
    ----------
    file : path
        An array (row, dim), or several of them, one per target.
    ids : path or list of str
        Image shown in each row. A csv may also have the columns subject, n_averaged and recording.
    out : path
        Folder of ``prediction.h5``.
    target : str
        Name of what was predicted, where the file holds one array.
    subject, n_averaged : str, int
        Where the ids do not say: who, and how many trials are averaged in a row.
    model : str
        What predicted.
    key : str, optional
        Which array, where a file holds several and only one is wanted.

    Returns
    -------
    Path
        Of ``prediction.h5``.

    Raises
    ------
    NeurovisError
        As for `import_trials`.
    """
    file, path = Path(file), Path(out) / "prediction.h5"
    columns = read_ids(ids, file)
    image = columns["image"]
    with open_arrays(file) as arrays:
        found = {k: v for k, v in arrays.items() if getattr(v, "ndim", 0) == 2}
        if key is not None or len(found) < 2:
            found = {target: choose(file, arrays, key, (2,))[1]}
        vector = {}
        for name, value in found.items():
            _same_number(file, len(value), len(image))
            vector[name] = _checked(file, np.asarray(value), image)
    averaged = columns.get("n_averaged", [n_averaged] * len(image))
    if not all(str(n).strip().isdigit() for n in averaged):
        raise NeurovisError(f"{file}: n_averaged: expected whole numbers in the ids; correct them.")
    Prediction(
        vector,
        np.array(image),
        np.array(columns.get("subject", [subject] * len(image))),
        np.array([int(n) for n in averaged]),
        np.array(columns["recording"]) if "recording" in columns else None,
        model or sha256(file)[:12],
    ).write(path)
    return path


def read_options(make: Callable, words: Sequence[str], **defaults: Any) -> dict[str, Any]:
    """Options ``key=value`` of one of the functions above, each as its annotation says.

    Parameters
    ----------
    make : callable
        ``import_trials``, ``import_embeddings`` or ``import_prediction``.
    words : sequence of str
        ``key=value``; ids stay as typed, so that subject=01 is ``01`` and not 1.
    **defaults
        Taken where the function has such an option.

    Raises
    ------
    UsageError
        If there is no such option, or its value is of another kind.
    """
    import inspect
    import typing

    import pydantic
    import yaml

    kinds = typing.get_type_hints(make)
    named = inspect.signature(make).parameters.values()
    known = [p.name for p in named if p.kind is p.KEYWORD_ONLY]
    options = {name: value for name, value in defaults.items() if name in known}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"option {word!r}: expected key=value, such as subject=01.")
        if key not in known:
            raise UsageError(unknown("option", key, known))
        try:
            # the base loader leaves every value as text; the annotation says what it is
            value = yaml.load(text, Loader=yaml.BaseLoader)
            options[key] = pydantic.TypeAdapter(kinds[key]).validate_python(value)
        except (yaml.YAMLError, pydantic.ValidationError):
            kind = str(getattr(kinds[key], "__name__", kinds[key])).removesuffix(" | None")
            raise UsageError(f"option {key}: expected {kind}, found {text!r}.") from None
    return options


def _is_by_id(arrays: Mapping[str, Any]) -> bool:
    shapes = {getattr(value, "shape", None) for value in arrays.values()}
    return len(arrays) > 1 and len(shapes) == 1 and len(next(iter(shapes)) or ()) == 1


def _signals(
    file: Path, arrays: Mapping[str, Any], key: str | None, names: Sequence[str] | None
) -> tuple[Callable[[slice], np.ndarray], tuple[int, ...], dict[str, Any]]:
    """Reader of trials, shape of the stored array, and what the file says of itself."""
    _, signal = choose(file, arrays, key, (3, 4))
    n_chans, n_times = signal.shape[-2:]
    about: dict[str, Any] = {"channel_name": [f"ch{i + 1:03d}" for i in range(n_chans)]}
    stored = arrays.get("ch_names", arrays.get("channel_name"))
    if stored is not None and len(stored) == n_chans:
        about["channel_name"] = [str(name) for name in stored]
    times = arrays.get("times")
    # published copies cut samples from the data and not from the times: then they say nothing
    if times is not None and len(times) == n_times > 1:
        times = np.asarray(times, np.float64)
        about |= {"tmin": float(times[0]), "sfreq": (n_times - 1) / float(times[-1] - times[0])}
    if np.ndim(arrays.get("sfreq", [])) == 0:
        about["sfreq"] = float(arrays["sfreq"])
    if signal.ndim == 3:
        return (lambda part: signal[part]), signal.shape, about

    def read(part: slice) -> np.ndarray:
        first, last = part.start // signal.shape[1], -(-part.stop // signal.shape[1])
        block = signal[first:last].reshape(-1, n_chans, n_times)
        return block[part.start - first * signal.shape[1] :][: part.stop - part.start]

    return read, signal.shape, about


def _epochs(
    file: Path, picks: str
) -> tuple[Callable[[slice], np.ndarray], tuple[int, ...], dict[str, Any], list[str]]:
    """As `_signals` from MNE epochs, and the image of each."""
    import mne

    try:
        with warnings.catch_warnings():
            # a name that does not end in -epo.fif is no fault of the content
            warnings.filterwarnings("ignore", category=RuntimeWarning, message="This filename")
            epochs = mne.read_epochs(file, preload=False, verbose="error")
        # channels are chosen on an empty copy, as that of the epochs would load them
        empty = np.zeros((len(epochs.ch_names), 1))
        info = mne.EvokedArray(empty, epochs.info, verbose="error").pick(picks).info
    except FileNotFoundError:
        raise NeurovisError(f"{file}: no such file; correct the path.") from None
    except _UNREADABLE as error:
        raise _no_epochs(file, picks, error) from None
    kinds = info.get_channel_types()
    if len({UNITS.get(kind, kind) for kind in kinds}) > 1:
        raise NeurovisError(
            f"{file}: expected channels of one unit, found {', '.join(sorted(set(kinds)))}; "
            "choose with picks, such as picks=mag."
        )
    position = np.array([channel["loc"][:3] for channel in info["chs"]])
    position[~position.any(axis=1)] = np.nan
    if kinds[0] in ("mag", "grad") and info["dev_head_t"] is not None:
        position = mne.transforms.apply_trans(info["dev_head_t"], position)
    about = {
        "sfreq": float(info["sfreq"]),
        "tmin": float(epochs.times[0]),
        "modality": "meg" if kinds[0] in ("mag", "grad") else "eeg",
        "unit": UNITS.get(kinds[0], "1"),
        "channel_name": info["ch_names"],
        "channel_type": kinds,
        "channel_position": position,
    }
    names = {number: name for name, number in epochs.event_id.items()}
    image = [names[number] for number in epochs.events[:, 2]]
    if epochs.metadata is not None and "image" in epochs.metadata:
        image = epochs.metadata["image"].astype(str).tolist()
    shape = (len(epochs), len(kinds), len(epochs.times))

    def read(part: slice) -> np.ndarray:
        try:
            return epochs[part].get_data(picks=info["ch_names"], copy=False, verbose="error")
        except _UNREADABLE as error:
            raise _no_epochs(file, picks, error) from None

    return read, shape, about, image


_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError)


def _no_epochs(file: Path, picks: str, error: Exception) -> NeurovisError:
    return NeurovisError(
        f"{file}: expected MNE epochs with {picks!r} channels, found a file that does not read "
        f"({' '.join(str(error).split())[:160]}); save it again with epochs.save."
    )


def _columns(file: Path, columns: dict[str, Any], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Per-trial columns, repeated where the array has repeats of each image."""
    _same_number(file, shape[0], len(columns["image"]))
    repeats = shape[1] if len(shape) == 4 else 1
    rows = {
        name: np.repeat(np.array(columns[name], str), repeats)
        for name in ("image", "session", "run", "set", "onset")
        if name in columns
    }
    if "onset" in rows:
        try:
            rows["onset"] = rows["onset"].astype(np.float64)
        except ValueError:
            raise NeurovisError(
                f"{file}: onset: expected seconds in the ids, found text; correct them."
            ) from None
    return rows


def _same_number(file: Path, n_rows: int, n_ids: int) -> None:
    if n_rows != n_ids:
        raise NeurovisError(
            f"{file}: expected one id per row, found {n_rows} rows and {n_ids} ids; give the ids of "
            "exactly these rows, in their order."
        )


def _checked(file: Path, values: np.ndarray, image: Sequence[str], start: int = 0) -> np.ndarray:
    """Values as finite float32; a row that is not is named."""
    with np.errstate(over="ignore"):
        values = np.asarray(values, np.float32)
    good = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise NeurovisError(
            f"{file}: expected finite numbers, found NaN or infinity in row {start + row} (image "
            f"{str(image[row])!r}); drop that row and its id, or mend its source."
        )
    return values
