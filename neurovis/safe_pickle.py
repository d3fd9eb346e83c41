"""Read pickled numpy arrays and plain containers without executing anything.

Comes in: a ``.npy`` that holds pickled objects (as published sets do: a dict of arrays in a 0-d object
array) or a bare pickle. Goes out: numpy arrays, scalars, dicts, lists, tuples, sets, str, bytes and
numbers. Every name a pickle may ask for is answered by a class of this module that stores what
it is given; arrays are then built from plain bytes. Any other name is refused before it is looked up.
"""

from __future__ import annotations

import codecs
import io
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError

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
    right = list if kind.hasobject else bytes | bytearray | str | pickle.PickleBuffer
    if min(shape, default=0) < 0 or not isinstance(content, right):
        raise pickle.UnpicklingError("an array whose content does not fit its type")
    if kind.hasobject:
        if len(content) != n:
            raise pickle.UnpicklingError("an array whose content does not fit its shape")
        value = np.empty(n, object)
        value[:] = [None] * n
        for i, item in enumerate(content):
            value[i] = item
    else:
        content = content.encode("latin1") if isinstance(content, str) else bytes(content)
        if len(content) != n * kind.itemsize or not kind.itemsize:
            raise pickle.UnpicklingError("an array whose content does not fit its shape")
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


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _Call(_KNOWN[module, name])
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name}") from None

    def persistent_load(self, name: Any) -> Any:
        raise pickle.UnpicklingError("a reference to something outside it")


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """Replace the stand-ins by arrays, everywhere; what is shared stays shared."""
    if id(value) in seen:
        return seen[id(value)][1]
    if isinstance(value, _Array | _Dtype):
        out = value.value if isinstance(value, _Array) else value.dtype
        if out is None:
            raise pickle.UnpicklingError("an array without content")
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


def read_pickle(path: str | Path) -> Any:
    """Read a ``.npy`` with pickled objects, or a bare pickle, of arrays and plain containers.

    Parameters
    ----------
    path : path

    Returns
    -------
    object
        Arrays, scalars, dict, list, tuple, set, str, bytes, numbers, bool, None. A 0-d object array
        comes back as what it holds.

    Raises
    ------
    NeurovisError
        If the file asks for anything else, naming it, or is damaged. Nothing of it has run then.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        start = 0
        if data[:6] == b"\x93NUMPY":
            start = 8 + (2 if data[6] == 1 else 4)
            start += int.from_bytes(data[8:start], "little")
        value = _plain(_Unpickler(io.BytesIO(data[start:])).load(), {})
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
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise NeurovisError(
            f"{path}: expected a whole pickle of arrays, found a damaged one ({type(error).__name__}); "
            "fetch or save it again."
        ) from None
    return value.item() if isinstance(value, np.ndarray) and value.shape == () else value
