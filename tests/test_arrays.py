"""MATLAB files of all versions read alike; nothing in any file runs."""

from __future__ import annotations

import os
import pickle

import h5py
import numpy as np
import pytest
import scipy.io

from neurovis.arrays import open_arrays, read_mat
from neurovis.errors import NeurovisError

NUMBERS = np.arange(12.0).reshape(3, 4)
EXPECTED = {
    "numbers": NUMBERS,
    "cube": np.arange(24.0).reshape(2, 3, 4),
    "row": np.arange(5.0),
    "one": 7.0,
    "text": "aardvark_01b",
    "rows": ["abc", "xyz"],
    "flags": np.array([True, False, True]),
    "flag": True,
    "cells": ["a.jpg", np.arange(3.0), ["deep"]],
    "grid": [["a", "b"], ["c", "d"], ["e", "f"]],
    "struct": {"n": 3.0, "name": "sub", "inner": {"x": np.arange(2.0)}},
    "structs": [{"n": 1.0, "name": "a"}, {"n": 2.0, "name": "b"}],
    "complex": np.array([1 + 2j, 3 - 1j]),
    "empty": np.zeros(0),
    "number": np.arange(3, dtype=np.int16),
}


def same(found, expected):
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert sorted(found) == sorted(expected)
        for key, value in expected.items():
            same(found[key], value)
    elif isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            same(one, other)
    else:
        assert type(found) is type(expected)
        assert found == expected


def cell(items, shape=None):
    out = np.empty(len(items), object)
    out[:] = items
    return out.reshape(shape or (1, -1))


def write_version_5(path):
    content = dict(EXPECTED)
    content["cells"] = cell(["a.jpg", np.arange(3.0), cell(["deep"])])
    content["grid"] = np.array(EXPECTED["grid"], object)
    content["rows"] = np.array(["abc", "xyz"])
    content["structs"] = np.array(
        [(1.0, "a"), (2.0, "b")], dtype=[("n", object), ("name", object)]
    ).reshape(1, 2)
    content["empty"] = np.zeros((0, 0))
    scipy.io.savemat(path, content, do_compression=True)


class Version73:
    """A miniature of what MATLAB 7.3 writes: HDF5 with dimensions reversed and classes as attributes."""

    def __init__(self, path):
        self.file = h5py.File(path, "w", userblock_size=512)
        self.count = 0

    def put(self, parent, name, value, shape=None):
        if isinstance(value, dict):
            group = parent.create_group(name)
            group.attrs["MATLAB_class"] = np.bytes_("struct")
            for key, item in value.items():
                self.put(group, key, item)
            return group
        if isinstance(value, list) and isinstance(value[0], dict):
            group = parent.create_group(name)
            group.attrs["MATLAB_class"] = np.bytes_("struct")
            for key in value[0]:
                group[key] = self.references([row[key] for row in value], (1, len(value)))
            return group
        if isinstance(value, list):
            flat = value
            shape = (1, len(value))
            if isinstance(value[0], list) and name == "grid":
                shape = (len(value), len(value[0]))
                flat = [value[i][j] for j in range(shape[1]) for i in range(shape[0])]
            item = parent.create_dataset(name, data=self.references(flat, shape))
            item.attrs["MATLAB_class"] = np.bytes_("cell")
            return item
        kind, data = "double", np.asarray(value)
        if isinstance(value, str):
            kind, data = "char", np.array([[ord(c) for c in value]], np.uint16)
        elif data.dtype.kind == "U":
            kind, data = "char", np.array([[ord(c) for c in row] for row in value], np.uint16)
        elif data.dtype == bool:
            kind, data = "logical", data.astype(np.uint8)
        elif data.dtype.kind == "c":
            pairs = np.empty(data.shape, [("real", "f8"), ("imag", "f8")])
            pairs["real"], pairs["imag"] = data.real, data.imag
            data = pairs
        elif data.dtype.kind == "i":
            kind = "int16"
        if data.size == 0:
            data = np.zeros(2, np.uint64)
        elif data.ndim < 2:
            data = data.reshape(1, -1)
        item = parent.create_dataset(name, data=data.T)
        item.attrs["MATLAB_class"] = np.bytes_(kind)
        if np.size(value) == 0:
            item.attrs["MATLAB_empty"] = np.uint8(1)
        return item

    def references(self, values, shape):
        store = self.file.require_group("#refs#")
        made = []
        for value in values:
            self.count += 1
            made.append(self.put(store, f"r{self.count}", value).ref)
        out = np.empty(len(made), h5py.ref_dtype)
        out[:] = made
        # MATLAB counts columns first, HDF5 has dimensions reversed
        return out.reshape(shape[::-1])

    def close(self, path):
        self.file.close()
        with path.open("r+b") as handle:
            handle.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def write_version_73(path, content=None):
    writer = Version73(path)
    for name, value in (content or EXPECTED).items():
        value = np.array(value) if name == "rows" else value
        writer.put(writer.file, name, value)
    writer.close(path)


@pytest.mark.parametrize("write", [write_version_5, write_version_73])
def test_both_versions_give_the_same(tmp_path, write):
    write(tmp_path / "v.mat")
    same(read_mat(tmp_path / "v.mat"), EXPECTED)
    same(read_mat(tmp_path / "v.mat", ["text", "cube"]), {k: EXPECTED[k] for k in ("text", "cube")})
    with pytest.raises(
        NeurovisError, match=r"v\.mat: variable 'txt' is unknown; did you mean 'text'"
    ):
        read_mat(tmp_path / "v.mat", ["txt"])


@pytest.mark.parametrize("write", [write_version_5, write_version_73])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files(tmp_path, write, share):
    write(tmp_path / "v.mat")
    data = (tmp_path / "v.mat").read_bytes()
    (tmp_path / "v.mat").write_bytes(data[: int(share * len(data))])
    with pytest.raises(NeurovisError, match=r"v\.mat: expected a whole MATLAB file") as error:
        read_mat(tmp_path / "v.mat")
    assert "\n" not in str(error.value)
    with pytest.raises(NeurovisError, match="no such file"):
        read_mat(tmp_path / "none.mat")


def test_functions_and_objects_are_refused(tmp_path):
    write_version_73(tmp_path / "v.mat", {"numbers": NUMBERS})
    for kind in ("function_handle", "table", "string"):
        with h5py.File(tmp_path / "v.mat", "r+") as file:
            file["numbers"].attrs["MATLAB_class"] = np.bytes_(kind)
        with pytest.raises(NeurovisError, match=f"numbers is a {kind}, expected numbers, text"):
            read_mat(tmp_path / "v.mat")
    # scipy writes no function handles: the class byte of an array is turned into that of one
    scipy.io.savemat(tmp_path / "w.mat", {"f": np.arange(3.0)}, do_compression=False)
    data = bytearray((tmp_path / "w.mat").read_bytes())
    flags = data.index(b"\x06\x00\x00\x00\x08\x00\x00\x00", 128)
    assert data[flags + 8] == 6  # double
    data[flags + 8] = 16  # function handle
    (tmp_path / "w.mat").write_bytes(data)
    with pytest.raises(NeurovisError, match=r"w\.mat: (f is a function|expected a whole MATLAB)"):
        read_mat(tmp_path / "w.mat")


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["v.npy", "v.npz", "v.pkl", "v.pt"])
def test_pickles_that_run_something_are_refused_in_every_format(tmp_path, name):
    import torch

    canary, path = tmp_path / "canary", tmp_path / name
    bad = np.array([Runs(canary)], object)
    if name == "v.npy":
        np.save(path, bad, allow_pickle=True)
    elif name == "v.npz":
        np.savez(path, good=NUMBERS, bad=bad)
    elif name == "v.pt":
        torch.save({"a": Runs(canary)}, path)
    else:
        path.write_bytes(pickle.dumps(bad))
    with pytest.raises(NeurovisError, match=f"{name}: expected"), open_arrays(path):
        pass
    assert not canary.exists()
    # the same file does run something where it is trusted
    if name != "v.pt":
        loaded = pickle.loads if name == "v.pkl" else None
        if loaded:
            loaded(path.read_bytes())
        else:
            with np.load(path, allow_pickle=True) if name == "v.npz" else open(path, "rb") as file:
                file["bad"] if name == "v.npz" else np.load(file, allow_pickle=True)
        assert canary.exists()


def test_large_arrays_stay_on_disk(tmp_path):
    content = {"preprocessed_eeg_data": np.zeros((300, 1000)), "ch_names": ["Oz"]}
    np.save(tmp_path / "set.npy", content, allow_pickle=True)
    with open_arrays(tmp_path / "set.npy") as arrays:
        assert isinstance(arrays["preprocessed_eeg_data"], np.memmap)
