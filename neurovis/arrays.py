"""Arrays and id lists in files that others made, read without executing anything.

Comes in: ``.npy``, ``.npz``, ``.pt``, ``.safetensors``, ``.h5``, ``.pkl`` or ``.mat``; ids as text, csv or
JSON. Goes out: everything in it by name, arrays as arrays. A pickle, where there is no way round one, goes
through `neurovis.safe_pickle`, what torch saved too. Large arrays are maps onto the file where possible.
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
from neurovis.safe_pickle import read_pickle, read_torch
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
            return read_pickle(file, lazy=True)
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
        return read_pickle(file, lazy=True)
    if suffix == ".safetensors":
        return load_tensors(file)
    if suffix in (".pt", ".pth"):
        return read_torch(file)
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


def read_mat(path: str | Path, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Variables of a MATLAB file of version 4, 5 or 7.3, the same for all.

    Parameters
    ----------
    path : path
    names : sequence of str, optional
        Only these variables; others are not read.

    Returns
    -------
    dict of str to object
        Numbers as arrays in MATLAB's order of dimensions without those of size one (a number alone
        as a scalar), text as str (rows of text as a list), cells as lists, structs as dicts (arrays of
        structs as lists of them), logicals as bool (in cells and structs of version 5 as uint8).

    Raises
    ------
    NeurovisError
        If the file is none or truncated, a variable is missing, or one is a function or an object
        of a class (MATLAB's ``string`` and ``table`` are): these are instructions for MATLAB.
    """
    import h5py

    path = Path(path)
    try:
        with path.open("rb") as handle:
            newer = handle.read(10) == b"MATLAB 7.3"
    except FileNotFoundError:
        raise NeurovisError(f"{path}: no such file; correct the path.") from None
    if newer:
        try:
            with h5py.File(path, "r") as file:
                wanted = _known(path, [n for n in file if not n.startswith("#")], names)
                return {name: _from_hdf5(path, name, file[name]) for name in wanted}
        except (OSError, KeyError, RuntimeError) as error:
            raise _damaged(path, error) from None
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    # a damaged file leads its parser astray in many ways
    astray = (MatReadError, OSError, ValueError, TypeError, LookupError, EOFError, ArithmeticError)
    try:
        kinds = {name: kind for name, _, kind in whosmat(path, appendmat=False)}
        wanted = _known(path, list(kinds), names)
        found = loadmat(path, appendmat=False, variable_names=wanted, struct_as_record=False)
        for name in wanted:
            if kinds[name] == "logical":
                found[name] = np.asarray(found[name], bool)
        return {name: _from_scipy(path, name, found[name]) for name in wanted}
    except NeurovisError:
        raise
    except (*astray, MemoryError, zlib.error, NotImplementedError, UnicodeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> NeurovisError:
    said = " ".join(str(error).split())[:100] or type(error).__name__
    return NeurovisError(
        f"{path}: expected a whole MATLAB file, found a damaged or truncated one ({said}); fetch it "
        "again."
    )


def _known(path: Path, there: Sequence[str], names: Sequence[str] | None) -> list[str]:
    for name in names or ():
        if name not in there:
            raise NeurovisError(unknown(f"{path}: variable", name, there))
    return list(there if names is None else names)


def _no_instructions(path: Path, name: str, what: str) -> NeurovisError:
    return NeurovisError(
        f"{path}: {name} is {what}, expected numbers, text, cells or structs; nothing was run: save it "
        "from MATLAB as one of these (cellstr for strings)."
    )


def _from_scipy(path: Path, name: str, value: Any) -> Any:
    from scipy.io import matlab

    if isinstance(value, matlab.MatlabFunction | matlab.MatlabOpaque):
        raise _no_instructions(path, name, "a function or an object of a class")
    if isinstance(value, matlab.mat_struct):
        fields = {field: getattr(value, field) for field in value._fieldnames}
        return {f: _from_scipy(path, f"{name}.{f}", item) for f, item in fields.items()}
    value = value.toarray() if hasattr(value, "toarray") else np.asarray(value)
    if value.dtype.hasobject:
        flat = value.reshape(-1, order="F")
        cells = [_from_scipy(path, f"{name}[{i}]", item) for i, item in enumerate(flat)]
        if len(flat) == 1 and isinstance(flat[0], matlab.mat_struct):
            return cells[0]
        return cells if max(value.shape, default=0) == value.size else _nested(cells, value.shape)
    if value.dtype.kind == "U":
        rows = value.reshape(-1).tolist()
        return rows[0] if len(rows) == 1 else rows or ""
    value = np.squeeze(value) if value.size else np.zeros(0, value.dtype)
    return value.item() if value.ndim == 0 else value


def _nested(cells: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Cells in MATLAB's order as lists of rows."""
    table = np.empty(len(cells), object)
    for i, item in enumerate(cells):
        table[i] = item
    return table.reshape(shape, order="F").tolist()


def _from_hdf5(path: Path, name: str, item: Any) -> Any:
    import h5py

    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    plain = ("", "cell", "struct", "char", "logical", "single", "double", *_INTEGERS)
    if "MATLAB_object_decode" in item.attrs or kind not in plain:
        raise _no_instructions(path, name, f"a {kind or 'foreign object'}")
    if isinstance(item, h5py.Group):
        fields = {field: _from_hdf5(path, f"{name}.{field}", item[field]) for field in item}
        rows = [field for field in item if _lists(item[field])]
        if not rows or len(rows) < len(fields):
            return fields
        return [dict(zip(fields, row)) for row in zip(*(_listed(v) for v in fields.values()))]
    if item.attrs.get("MATLAB_empty", 0):
        return {"char": "", "cell": [], "struct": []}.get(kind, np.zeros(0))
    value = item[()]
    if h5py.check_ref_dtype(item.dtype) is not None:
        cells = [
            _from_hdf5(path, f"{name}[{i}]", item.file[reference])
            for i, reference in enumerate(np.ravel(value))
        ]
        return cells if max(value.shape) == value.size else _nested(cells, value.shape[::-1])
    value = np.asarray(value).T
    if value.dtype.names == ("real", "imag"):
        value = value["real"] + 1j * value["imag"]
    if kind == "char":
        rows = ["".join(map(chr, row)) for row in value.reshape(-1, value.shape[-1])]
        return rows[0] if len(rows) == 1 else rows
    value = np.squeeze(value.astype(bool) if kind == "logical" else value)
    return value.item() if value.ndim == 0 else value


_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


def _lists(item: Any) -> bool:
    """Whether a field is one of an array of structs: references without a class of their own."""
    import h5py

    references = isinstance(item, h5py.Dataset) and h5py.check_ref_dtype(item.dtype) is not None
    return references and "MATLAB_class" not in item.attrs


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


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
