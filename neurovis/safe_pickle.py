"""Read pickled numpy arrays, tensors and plain containers without executing anything.

Comes in: a ``.npy`` that holds pickled objects (as published sets do: a dict of arrays in a 0-d object
array), a bare pickle, or what ``torch.save`` writes. Goes out: numpy arrays, scalars, dicts, lists,
tuples, sets, str, bytes and numbers. Every name a pickle may ask for is answered by a class of this
module that stores what it is given; any other is refused before it is looked up. Large contents are
not read but mapped: the pickle says where in the file they lie.
"""

from __future__ import annotations

import codecs
import math
import pickle
import re
import struct
import weakref
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from neurovis.errors import NeurovisError

LARGE = 1 << 20  # bytes from which on contents are mapped instead of read
_STORAGE = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "ComplexFloatStorage": "<c8",
    "ComplexDoubleStorage": "<c16",
}
_DTYPE = re.compile(r"[|<>=]?(?:[biufcSU?V]\d*|O\d*|[mM]\d*)")


class _Call:
    """A stand-in that can be called and in no way be changed."""

    __slots__ = ("function",)

    def __init__(self, function: Any):
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("an attempt to change a function")


class _Stretch:
    """Bytes that stay in their file until they are asked for."""

    __slots__ = ("lazy", "path", "size", "start")

    def __init__(self, path: Path, start: int, size: int, lazy: bool):
        self.path, self.start, self.size, self.lazy = path, start, size, lazy

    def __len__(self) -> int:
        return self.size

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("an attempt to change a reader")

    def read(self) -> bytes:
        with self.path.open("rb") as handle:
            handle.seek(self.start)
            return handle.read(self.size)

    def array(self, kind: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
        content = _whole(self.path)[self.start : self.start + self.size]
        mapped = content.view(kind).reshape(shape, order=order)
        return mapped if self.lazy else np.array(mapped)


_WHOLE: weakref.WeakValueDictionary[tuple, np.memmap] = weakref.WeakValueDictionary()


def _whole(path: Path) -> np.memmap:
    """One map of a file for all of its arrays: every map of its own would cost a file descriptor."""
    state = path.stat()
    key = path, state.st_ino, state.st_size, state.st_mtime_ns
    found = _WHOLE.get(key)
    if found is None:
        found = _WHOLE[key] = np.memmap(path, np.uint8, "r")
    return found


class _Dtype:
    def __init__(self, code: Any, align: Any = False, copy: Any = False):
        if (
            not (isinstance(code, str) and _DTYPE.fullmatch(code))
            or code.lstrip("|<>=")[0] in "VmM"
        ):
            raise pickle.UnpicklingError(f"an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array with fields")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    def __init__(self, *_: Any):
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        self.value = _build(dtype, shape, "F" if fortran else "C", content)


def _build(dtype: Any, shape: Any, order: str, content: Any) -> np.ndarray:
    """Array from its parts; `content` is bytes, or a list where the type is object."""
    if not (isinstance(dtype, _Dtype) and isinstance(shape, tuple)):
        raise pickle.UnpicklingError("an array without type or shape")
    shape = tuple(int(n) for n in shape)
    n = math.prod(shape)
    kind = dtype.dtype
    plain = bytes | bytearray | str | pickle.PickleBuffer | _Stretch
    if min(shape, default=0) < 0 or not isinstance(content, list if kind.hasobject else plain):
        raise pickle.UnpicklingError("an array whose content does not fit its type")
    if isinstance(content, str):
        content = content.encode("latin1")
    elif isinstance(content, pickle.PickleBuffer):
        content = bytes(content)
    if len(content) != (n if kind.hasobject else n * kind.itemsize) or not kind.itemsize:
        raise pickle.UnpicklingError("an array whose content does not fit its shape")
    if isinstance(content, _Stretch):
        return content.array(kind, shape, order)
    if kind.hasobject:
        value = np.empty(n, object)
        value[:] = [None] * n
        for i, item in enumerate(content):
            value[i] = item
    else:
        value = np.frombuffer(content, kind) if n else np.empty(0, kind)
    return value.reshape(shape, order=order).copy()


def _scalar(dtype: Any, content: Any) -> Any:
    return _build(dtype, (1,), "C", content)[0]


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.value = _build(dtype, shape, "F" if order == "F" else "C", content)
    return array


def _encode(text: str, encoding: str) -> bytes:
    if codecs.lookup(encoding).name not in ("iso8859-1", "ascii", "utf-8"):
        raise pickle.UnpicklingError(f"text in {encoding}")
    return text.encode(encoding)


def _container(kind: type) -> Any:
    def make(items: Any = ()) -> Any:
        # a number would reserve that many bytes
        if not isinstance(items, list | tuple):
            raise pickle.UnpicklingError(f"{kind.__name__} of {type(items).__name__}")
        return kind(items)

    return make


_KNOWN = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _container(dict),
}
for _module in ("builtins", "__builtin__"):
    for _kind in (bytes, set, frozenset):
        _KNOWN[_module, _kind.__name__] = _container(_kind)
for _module in ("numpy.core", "numpy._core"):
    _KNOWN[f"{_module}.multiarray", "_reconstruct"] = _Array
    _KNOWN[f"{_module}.multiarray", "scalar"] = _scalar
    _KNOWN[f"{_module}.numeric", "_frombuffer"] = _frombuffer


class _Unpickler(pickle._Unpickler):
    """Python's own pickle machine, with other names and with contents left where they are.

    It is the one written in Python since that alone can be told to step over contents. Frames are
    mere packaging: they are read through, so that the place of all contents in the file is known.
    """

    dispatch: ClassVar[dict] = dict(pickle._Unpickler.dispatch)

    def __init__(
        self, handle: BinaryIO, path: Path, stop: int, known: dict, lazy: bool, outside: Any = None
    ):
        super().__init__(self)
        self.handle, self.path, self.stop, self.known = handle, path, stop, known
        self.lazy, self.outside = lazy, outside

    # of a file, as the machine asks for it
    def read(self, n: int) -> bytes:
        if not 0 <= n <= self.stop - self.handle.tell():
            raise EOFError
        return self.handle.read(n)

    def readline(self) -> bytes:
        return self.handle.readline(self.stop - self.handle.tell())

    def contents(self, n: int, kind: type = bytes) -> Any:
        if n < LARGE:
            return kind(self.read(n))
        start = self.handle.tell()
        if n > self.stop - start:
            raise EOFError
        self.handle.seek(n, 1)
        return _Stretch(self.path, start, n, self.lazy)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _Call(self.known[module, name])
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name}") from None

    def persistent_load(self, name: Any) -> Any:
        if self.outside is None:
            raise pickle.UnpicklingError("a reference to something outside it")
        return self.outside(name)

    def load_frame(self) -> None:
        self.read(8)

    dispatch[pickle.FRAME[0]] = load_frame

    def load_binbytes(self) -> None:
        self.append(self.contents(*struct.unpack("<I", self.read(4))))

    dispatch[pickle.BINBYTES[0]] = load_binbytes

    def load_binbytes8(self) -> None:
        self.append(self.contents(*struct.unpack("<Q", self.read(8))))

    dispatch[pickle.BINBYTES8[0]] = load_binbytes8

    def load_bytearray8(self) -> None:
        self.append(self.contents(*struct.unpack("<Q", self.read(8)), bytearray))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """Replace the stand-ins by arrays, everywhere; what is shared stays shared."""
    if id(value) in seen:
        return seen[id(value)][1]
    if isinstance(value, _Array | _Dtype):
        out = value.value if isinstance(value, _Array) else value.dtype
        if out is None:
            raise pickle.UnpicklingError("an array without content")
    elif isinstance(value, _Stretch):
        out = value.read()
    elif isinstance(value, _Ordered):
        out = dict(value)
    elif isinstance(value, _Call):
        raise pickle.UnpicklingError("a function")
    else:
        out = value
    # the original is kept beside the result so that its id is not given away
    seen[id(value)] = (value, out)
    if isinstance(out, dict):
        items = [(_plain(k, seen), _plain(v, seen)) for k, v in out.items()]
        out.clear()
        out.update(items)
    elif isinstance(out, list):
        out[:] = [_plain(item, seen) for item in out]
    elif isinstance(out, tuple | set | frozenset):
        out = type(out)(_plain(item, seen) for item in out)
        seen[id(value)] = (value, out)
    elif isinstance(out, np.ndarray) and out.dtype.hasobject:
        for i in np.ndindex(out.shape):
            out[i] = _plain(out[i], seen)
    return out


def _refusals(path: Path, read: Callable[[], Any]) -> Any:
    """Whatever goes wrong in a foreign file becomes one sentence."""
    try:
        return read()
    except NeurovisError:
        raise
    except FileNotFoundError:
        raise NeurovisError(f"{path}: no such file; correct the path.") from None
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())[:160]
        raise NeurovisError(
            f"{path}: expected pickled arrays and plain containers alone, found {reason}; nothing was "
            "run: save the arrays as .npz or .h5."
        ) from None
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        raise NeurovisError(
            f"{path}: expected a whole pickle of arrays, found a damaged or truncated one "
            f"({type(error).__name__}); fetch or save it again."
        ) from None


def read_pickle(path: str | Path, lazy: bool = False) -> Any:
    """Read a ``.npy`` with pickled objects, or a bare pickle, of arrays and plain containers.

    Parameters
    ----------
    path : path
    lazy : bool
        Arrays of a megabyte and more are read-only maps onto the file (np.memmap), whatever their
        size; the file must then stay where it is. Protocol 2 and older store text that cannot be
        mapped. False copies them into memory.

    Returns
    -------
    object
        Arrays, scalars, dict, list, tuple, set, str, bytes, numbers, bool, None. A 0-d object array
        comes back as what it holds.

    Raises
    ------
    NeurovisError
        If the file asks for anything else, naming it, or is damaged or truncated. Nothing of it has
        run then.
    """
    path = Path(path)

    def read() -> Any:
        with path.open("rb") as handle:
            head = handle.read(12)
            start = 0
            if head[:6] == b"\x93NUMPY":
                start = 8 + (2 if head[6] == 1 else 4)
                start += int.from_bytes(head[8:start], "little")
            handle.seek(start)
            machine = _Unpickler(handle, path, path.stat().st_size, _KNOWN, lazy)
            return _plain(machine.load(), {})

    value = _refusals(path, read)
    return value.item() if isinstance(value, np.ndarray) and value.shape == () else value


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Array:
    """What ``torch._utils._rebuild_tensor_v2`` says, as an array."""
    if not (
        isinstance(storage, np.ndarray)
        and isinstance(size, tuple)
        and isinstance(stride, tuple)
        and len(size) == len(stride)
        and all(isinstance(n, int) and n >= 0 for n in (offset, *size, *stride))
    ):
        raise pickle.UnpicklingError("a tensor without storage, size or stride")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    array = _Array()
    if 0 in size:
        array.value = np.empty(size, storage.dtype)
    elif last >= len(storage):
        raise pickle.UnpicklingError("a tensor larger than its storage")
    else:
        steps = tuple(step * storage.itemsize for step in stride)
        array.value = np.lib.stride_tricks.as_strided(storage[offset:], size, steps, subok=True)
    return array


def _parameter(data: Any, *_: Any) -> Any:
    return data


class _Ordered(dict):
    """What holds a model's weights; notes that torch attaches to it are left out."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


_TORCH = {
    **_KNOWN,
    ("collections", "OrderedDict"): _Ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    # the machine hands it over as it is; nothing ever calls it
    **{("torch", name): name for name in _STORAGE},
}


def read_torch(path: str | Path, lazy: bool = True) -> Any:
    """Read what ``torch.save`` wrote: tensors, numpy arrays and plain containers.

    Parameters
    ----------
    path : path
        A zip as torch writes it since 1.6.
    lazy : bool
        Tensors, and arrays of a megabyte and more, are read-only maps onto the file.

    Returns
    -------
    object
        As `read_pickle`; tensors are arrays (bfloat16 as float32).

    Raises
    ------
    NeurovisError
        If the file holds code (TorchScript), is of the older format, which is a pickle of several
        parts, asks for any other name, or is damaged. Nothing of it has run then.
    """
    path = Path(path)

    def read() -> Any:
        with path.open("rb") as handle:
            if handle.read(4) != b"PK\x03\x04":
                raise NeurovisError(
                    f"{path}: expected a zip as torch.save writes it, found the older format or a "
                    "damaged file; nothing was run: load it where it was made and save it again."
                )
            with zipfile.ZipFile(handle) as parts:
                names = parts.namelist()
                (main,) = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")] or [
                    ""
                ]
                folder = main.rpartition("/")[0]
                code = [
                    n for n in names if n.startswith((f"{folder}/code/", f"{folder}/constants."))
                ]
                if not main or code:
                    raise NeurovisError(
                        f"{path}: expected tensors and plain containers alone, found "
                        f"{'a program (TorchScript)' if code else 'a zip of something else'}; nothing "
                        "was run: save the tensors with torch.save."
                    )
                order = f"{folder}/byteorder"
                if order in names and parts.read(order) != b"little":
                    raise NeurovisError(
                        f"{path}: its bytes are in big-endian order, expected little-endian; save it "
                        "again on another machine."
                    )
                where = {n: _place(handle, path, parts.getinfo(n), lazy) for n in names}

            def storage(name: Any) -> np.ndarray:
                tag, kind, key, _, count = name
                kind = kind.function if isinstance(kind, _Call) else None
                stretch = where.get(f"{folder}/data/{key}")
                if tag != "storage" or kind not in _STORAGE or stretch is None:
                    raise pickle.UnpicklingError("a reference to something outside it")
                dtype = np.dtype(_STORAGE[kind])
                if not isinstance(count, int) or count * dtype.itemsize != len(stretch):
                    raise pickle.UnpicklingError("a tensor whose content does not fit its size")
                if not count:
                    return np.empty(0, dtype)
                array = stretch.array(dtype, (count,), "C")
                if kind == "BFloat16Storage":
                    return (array.astype("<u4") << 16).view("<f4")
                return array

            pickled = where[main]
            handle.seek(pickled.start)
            stop = pickled.start + pickled.size
            return _plain(_Unpickler(handle, path, stop, _TORCH, lazy, storage).load(), {})

    return _refusals(path, read)


def _place(handle: BinaryIO, path: Path, part: zipfile.ZipInfo, lazy: bool) -> _Stretch:
    """Where the content of one file of a zip lies."""
    if part.compress_type != zipfile.ZIP_STORED or part.flag_bits & 1:
        raise pickle.UnpicklingError(f"{part.filename} compressed or encrypted")
    handle.seek(part.header_offset)
    head = handle.read(30)
    if head[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile
    start = part.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
    if start + part.file_size > path.stat().st_size:
        raise EOFError
    return _Stretch(path, start, part.file_size, lazy)
