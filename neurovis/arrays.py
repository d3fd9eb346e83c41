"""Arrays and id lists in files that others made, read without executing anything.

Comes in: ``.npy``, ``.npz``, ``.pt``, ``.safetensors``, ``.h5`` or ``.pkl``; ids as text, csv or JSON. Goes
out: everything in it by name, arrays as arrays. A pickle, where there is no way round one, goes through
`neurovis.safe_pickle`; torch reads tensors alone.
"""

from __future__ import annotations

import contextlib
import csv
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, unknown
from neurovis.safe_pickle import read_pickle
from neurovis.store import load_tensors

Ids = str | Path | Sequence[str] | None


def read_ids(ids: Ids, file: Path) -> dict[str, list[str]]:
    """Columns of a list of ids; ``image`` is always there."""
    if ids is None:
        raise NeurovisError(f"{file}: it does not say which row is which image; give ids.")
    if not isinstance(ids, str | Path):
        return {"image": [str(i) for i in ids]}
    path = Path(ids)
    try:
        if path.suffix == ".npy":
            data: Any = np.load(path, allow_pickle=False).tolist()
        else:
            text = path.read_text(encoding="utf-8-sig")
            data = json.loads(text) if path.suffix == ".json" else text
    except FileNotFoundError:
        raise NeurovisError(f"{path}: no such file; give a list of image ids.") from None
    except ValueError:
        raise NeurovisError(
            f"{path}: expected text ids in UTF-8 (txt, csv, JSON list), found something else; save "
            "them as one id per line."
        ) from None
    if isinstance(data, str) and path.suffix in (".csv", ".tsv"):
        lines = csv.DictReader(data.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ",")
        rows = list(lines)
        if "image" not in (lines.fieldnames or []) or any(None in r.values() for r in rows):
            raise NeurovisError(
                f"{path}: expected a table with an 'image' column and whole rows, found columns "
                f"{', '.join(lines.fieldnames or ['none'])}; name the column of ids image."
            )
        return {name: [row[name] for row in rows] for name in lines.fieldnames or []}
    if isinstance(data, str):
        data = [line.strip() for line in data.splitlines() if line.strip()]
    if not isinstance(data, list) or not all(isinstance(i, str | int) for i in data):
        raise NeurovisError(
            f"{path}: expected a list of ids, found {type(data).__name__}; give one."
        )
    return {"image": [str(i) for i in data]}


@contextlib.contextmanager
def open_arrays(file: Path) -> Iterator[Mapping[str, Any]]:
    """Everything in a file by name, arrays as arrays (HDF5 datasets stay on disk)."""
    with contextlib.ExitStack() as stack:
        try:
            yield _flat(_open(file, stack))
        except FileNotFoundError:
            raise NeurovisError(f"{file}: no such file; correct the path.") from None


def _open(file: Path, stack: contextlib.ExitStack) -> Any:
    suffix = file.suffix.lower()
    if not file.is_file():
        raise FileNotFoundError(file)
    if suffix == ".npy":
        try:
            return np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError):
            return read_pickle(file)
    if suffix == ".npz":
        try:
            with file.open("rb") as handle, np.load(handle, allow_pickle=False) as loaded:
                return {name: loaded[name] for name in loaded.files}
        except (
            ValueError,
            OSError,
            EOFError,
            LookupError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise NeurovisError(
                f"{file}: expected plain arrays, found pickled objects or a damaged file "
                f"({' '.join(str(error).split())[:120]}); save arrays of numbers."
            ) from None
    if suffix in (".pkl", ".pickle"):
        return read_pickle(file)
    if suffix == ".safetensors":
        return load_tensors(file)
    if suffix in (".pt", ".pth"):
        return _torch(file)
    if suffix in (".h5", ".hdf5"):
        import h5py

        try:
            handle = stack.enter_context(h5py.File(file, "r"))
        except OSError:
            raise NeurovisError(
                f"{file}: expected an HDF5 file, found a truncated or foreign one; save it again."
            ) from None
        found: dict[str, Any] = {}
        handle.visititems(
            lambda name, item: (
                found.update({name: item}) if isinstance(item, h5py.Dataset) else None
            )
        )
        return {k: v if v.dtype.kind in "fiu" else _text(v) for k, v in found.items()}
    known = (".fif", ".npy", ".npz", ".pt", ".pth", ".safetensors", ".h5", ".hdf5", ".pkl")
    raise NeurovisError(unknown(f"{file}: file type", suffix or "none", known))


def _text(item: Any) -> Any:
    return item.asstr()[()].tolist() if item.dtype.kind == "O" else item[()]


def _torch(file: Path) -> Any:
    import pickle

    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        EOFError,
        OSError,
        LookupError,
    ) as error:
        reason = " ".join(str(error).split())[:120]
        raise NeurovisError(
            f"{file}: expected tensors and plain containers alone, found something else ({reason}); "
            "nothing was run: save tensors only."
        ) from None


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested containers as one dict with names such as ``a/b``; tensors as arrays."""
    if isinstance(value, dict):
        out: dict[str, Any] = {}
        for key, item in value.items():
            out |= _flat(item, f"{name}/{key}" if name else str(key))
        return out
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    return {name: value}


def choose(
    file: Path, arrays: Mapping[str, Any], key: str | None, ndims: tuple[int, ...]
) -> tuple[str, Any]:
    """The array of numbers that is meant."""
    numbers = {
        name: value
        for name, value in arrays.items()
        if hasattr(value, "shape") and value.dtype.kind in "fiu"
    }
    if key is not None and key not in numbers:
        raise NeurovisError(unknown(f"{file}: array", key, numbers))
    fitting = {k: v for k, v in numbers.items() if v.ndim in ndims and key in (None, k)}
    if len(fitting) != 1:
        shown = ", ".join(f"{k or 'array'} {v.shape}" for k, v in numbers.items()) or "no numbers"
        dims = " or ".join(map(str, ndims))
        raise NeurovisError(
            f"{file}: expected one array of {dims} dimensions, found {shown}; "
            + ("name one with key." if len(fitting) > 1 else "reshape and save it again.")
        )
    return next(iter(fitting.items()))
