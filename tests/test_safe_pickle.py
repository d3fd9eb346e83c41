"""Pickled arrays are read; everything else is refused before it runs."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import pickletools
import zipfile

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from neurovis.errors import NeurovisError
from neurovis.safe_pickle import LARGE, read_pickle, read_torch

SET = {
    "preprocessed_eeg_data": np.random.default_rng(0).random((3, 2, 4, 5)).astype(np.float32),
    "ch_names": ["Oz", "O1"],
    "times": np.arange(5.0),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "text": np.array(["a", "bc"]),
    "bytes": np.array([b"q", b"zz"]),
    "empty": np.zeros((0, 3)),
    "objects": np.array([1, "a", np.arange(2)], dtype=object),
    "scalars": (np.float32(3), np.bool_(True), 1.5, None, True, b"abc", b""),
    "ordered": collections.OrderedDict(a=[1, {2, 3}, frozenset({4})]),
}


BIG = np.arange(3 * (LARGE // 10), dtype=np.float64).reshape(-1, 3)


def same(found, expected):
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        for one, other in zip(found.ravel(), expected.ravel()):
            same(one, other)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            same(one, other)
    else:
        assert type(found) is type(expected)
        assert found == expected or found != found


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol(tmp_path, protocol):
    (tmp_path / "set.npy").write_bytes(pickle.dumps(SET, protocol))
    same(read_pickle(tmp_path / "set.npy"), SET)


def test_a_dict_in_npy_as_published_sets_have_it(tmp_path):
    np.save(tmp_path / "set.npy", SET, allow_pickle=True)
    same(read_pickle(tmp_path / "set.npy"), SET)
    np.save(tmp_path / "rows.npy", SET["objects"], allow_pickle=True)
    same(read_pickle(tmp_path / "rows.npy"), SET["objects"])


def test_names_of_older_numpy(tmp_path):
    data = pickle.dumps(SET["times"], 2).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray" in data
    (tmp_path / "old.pkl").write_bytes(data)
    same(read_pickle(tmp_path / "old.pkl"), SET["times"])


def test_shared_and_circular_containers(tmp_path):
    row = [np.arange(3)]
    deep = [row, row]
    for _ in range(60):  # 2**60 places, 60 objects
        deep = [deep, deep]
    row.append(row)
    (tmp_path / "deep.pkl").write_bytes(pickle.dumps(deep))
    found = read_pickle(tmp_path / "deep.pkl")
    while isinstance(found[0], list):
        assert found[0] is found[1]
        found = found[0]
        if isinstance(found[0], np.ndarray):
            break
    assert found[1] is found
    same(found[0], np.arange(3))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    array=hnp.arrays(
        st.one_of(
            hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.unicode_string_dtypes(max_len=4)
        ),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
    ),
    protocol=st.integers(0, 5),
)
def test_any_array(tmp_path, array, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([array], protocol))
    same(read_pickle(tmp_path / "a.pkl")[0], array)


class Reduce:
    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


def attacks(canary):
    yield "system", pickle.dumps(Reduce(os.system, f"touch {canary}"))
    yield "open", pickle.dumps(Reduce(open, str(canary), "w"))
    yield "eval", pickle.dumps({"a": Reduce(eval, f"open({str(canary)!r}, 'w')")}, 2)
    yield "import", pickle.dumps(Reduce(__import__, "os"))
    yield "getattr", pickle.dumps(Reduce(getattr, "", "join"))
    yield "load", pickle.dumps(Reduce(np.load, str(canary)))
    yield "in an object array", pickle.dumps(np.array([Reduce(open, str(canary), "w")], object))
    yield "memmap", pickle.dumps(Reduce(np.memmap, str(canary), "f4", "w+", 0, (1,)))
    yield "bytes bomb", pickle.dumps(Reduce(bytes, 10**12))
    yield "array bomb", b"\x80\x02cnumpy\nndarray\n((J\xff\xff\xff\x7fJ\xff\xff\xff\x7fttR."
    yield "dotted name", b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.tofile.x\x93."
    yield "inner module", b"\x80\x04\x8c\x05numpy\x8c\x11lib.format.open_m\x93."
    # a function of this module, then an attempt to change it
    yield "change a function", b"\x80\x02c_codecs\nencode\n}U\x04nameK\x01sb."
    yield "change slots", b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__)s\x86b."
    yield "change a class", b"\x80\x02cnumpy\nndarray\nN}U\x05valueK\x01s\x86b."
    yield "zip codec", b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R."
    yield "persistent id", b"\x80\x02X\x01\x00\x00\x00aQ."
    yield "extension", b"\x80\x02\x82\x01."


@pytest.mark.parametrize("name", [name for name, _ in attacks("")])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("lazy", [False, True])
def test_nothing_runs(tmp_path, name, wrapped, lazy):
    canary = tmp_path / "canary"
    data = dict(attacks(canary))[name]
    path = tmp_path / "bad.npy"
    if wrapped:
        np.save(path, np.array(None, object), allow_pickle=True)
        whole = path.read_bytes()
        data = whole[: 10 + int.from_bytes(whole[8:10], "little")] + data
    path.write_bytes(data)
    with pytest.raises(NeurovisError, match=r"bad\.npy: expected") as error:
        read_pickle(path, lazy)
    assert "\n" not in str(error.value)
    assert not canary.exists()


def test_the_refused_name_is_said(tmp_path):
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Reduce(os.getcwd)))
    with pytest.raises(NeurovisError, match=r"found posix\.getcwd; nothing was run"):
        read_pickle(tmp_path / "bad.pkl")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: (*state[:4], b"1234567"),
        lambda state: (*state[:1], (3,), *state[2:]),
        lambda state: (*state[:1], (-1,), *state[2:]),
        lambda state: (*state[:1], (2**62, 4), *state[2:]),
        lambda state: (*state[:4], ["a"]),
        lambda state: state[:3],
        lambda state: (*state[:2], np.dtype("O"), *state[3:]),
    ],
)
def test_arrays_that_lie_are_refused(tmp_path, spoil):
    class Liar:
        def __reduce__(self):
            make, arguments, state = np.arange(2).__reduce__()
            return make, arguments, spoil(state)

    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Liar()))
    with pytest.raises(NeurovisError, match=r"bad\.pkl: expected"):
        read_pickle(tmp_path / "bad.pkl")


def test_types_with_fields_are_refused(tmp_path):
    for kind in ([("a", "f4")], "M8[s]", "V3"):
        (tmp_path / "bad.pkl").write_bytes(pickle.dumps(np.zeros(2, kind)))
        with pytest.raises(NeurovisError, match=r"bad\.pkl: expected"):
            read_pickle(tmp_path / "bad.pkl")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_damage_is_read_or_refused_in_one_sentence(tmp_path, place, byte, cut):
    data = bytearray(pickle.dumps({"a": np.arange(4), "b": ["x", np.float64(1)]}, 4))
    place %= len(data)
    if cut:
        del data[place:]
    else:
        data[place] = byte
    (tmp_path / "d.pkl").write_bytes(data)
    # any other error fails this test
    with contextlib.suppress(NeurovisError):
        read_pickle(tmp_path / "d.pkl")


def test_the_attacks_are_whole_pickles():
    """A refusal means something only where a plain reader would have gone on."""
    for name, data in attacks("x"):
        assert list(pickletools.genops(data))[-1][0].name == "STOP", name


def test_missing_file(tmp_path):
    with pytest.raises(NeurovisError, match="no such file"):
        read_pickle(tmp_path / "none.npy")


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("numpy_header", [False, True])
def test_large_arrays_are_maps_onto_the_file(tmp_path, protocol, numpy_header):
    content = {
        "preprocessed_eeg_data": BIG,
        "swapped": np.asfortranarray(BIG).astype(">f4"),
        "text": np.full(LARGE // 8, "ab"),
        "small": np.arange(4),
        "large bytes": b"x" * (LARGE + 1),
        "ch_names": ["Oz"],
    }
    path = tmp_path / "set.npy"
    data = pickle.dumps(np.array(content, object) if numpy_header else content, protocol)
    if numpy_header:
        np.save(path, np.array(None, object), allow_pickle=True)
        head = path.read_bytes()
        data = head[: 10 + int.from_bytes(head[8:10], "little")] + data
    path.write_bytes(data)
    found = read_pickle(path, lazy=True)
    same(found, content)
    for name in ("preprocessed_eeg_data", "swapped", "text"):
        assert isinstance(found[name], np.memmap), name
        assert not found[name].flags.writeable
    assert found["swapped"].flags.f_contiguous
    assert not isinstance(found["small"], np.memmap)
    whole = read_pickle(path)
    same(whole, content)
    assert type(whole["preprocessed_eeg_data"]) is np.ndarray
    whole["preprocessed_eeg_data"][:] = 0
    same(read_pickle(path), content)


def test_a_file_larger_than_memory_is_opened_at_once(tmp_path):
    """Twenty gigabytes of zeros that take no place on the disk."""
    shape = (20, 1 << 27)
    kind = np.dtype(np.float64)
    lie = b"SHORT"
    data = pickle.dumps({"raw_eeg_data": np.frombuffer(lie * 8, np.float64), "sfreq": 1000}, 3)
    # the 40 bytes of content become 20 GB: BINBYTES8, a hole, and the shape that fits
    opcode = pickle.SHORT_BINBYTES + bytes([40]) + lie * 8
    assert data.count(opcode) == 1
    before, after = data.split(opcode)
    size = kind.itemsize * shape[0] * shape[1]
    five = b"K\x05\x85"
    assert before.count(five) == 1
    before = before.replace(five, b"K\x14J" + shape[1].to_bytes(4, "little") + b"\x86")
    path = tmp_path / "raw_eeg_training.npy"
    with path.open("wb") as handle:
        handle.write(before + pickle.BINBYTES8 + size.to_bytes(8, "little"))
        handle.seek(size, 1)
        handle.write(after)
    found = read_pickle(path, lazy=True)
    assert found["sfreq"] == 1000
    assert found["raw_eeg_data"].shape == shape
    assert found["raw_eeg_data"][19, -1] == 0
    with path.open("r+b") as handle:
        handle.truncate(size // 2)
    with pytest.raises(NeurovisError, match=r"training\.npy: expected a whole .* truncated one"):
        read_pickle(path, lazy=True)


@pytest.mark.parametrize("at", [0, 3, 11, 60, LARGE, -40, -1])
def test_truncated_files_say_so_in_one_sentence(tmp_path, at):
    np.save(tmp_path / "whole.npy", {"a": BIG, "b": ["x"]}, allow_pickle=True)
    data = (tmp_path / "whole.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(data[:at])
    for lazy in (False, True):
        with pytest.raises(NeurovisError, match=r"cut\.npy: expected") as error:
            read_pickle(tmp_path / "cut.npy", lazy)
        assert "\n" not in str(error.value)


def test_mapped_contents_cannot_be_anything_but_an_array(tmp_path):
    blob = b"a" * LARGE
    for name, item in {
        "set": Reduce(set, blob),
        "encode": Reduce(__import__("_codecs").encode, blob, "latin1"),
        "shape": Reduce(np.ndarray, blob),
    }.items():
        data = pickle.dumps(item, 4)
        (tmp_path / "bad.pkl").write_bytes(data)
        with pytest.raises(NeurovisError, match=r"bad\.pkl: expected"):
            read_pickle(tmp_path / "bad.pkl", lazy=True)
        assert name
    state = (1, (LARGE // 8 + 1,), np.dtype("f8"), False, blob)
    liar = Reduce(*np.arange(2).__reduce__()[:1], np.ndarray, (0,), b"b")
    liar.parts = (*liar.parts, state)
    (tmp_path / "liar.pkl").write_bytes(pickle.dumps(liar, 4))
    with pytest.raises(NeurovisError, match="does not fit its shape"):
        read_pickle(tmp_path / "liar.pkl", lazy=True)
    # a mapped content that something tries to change
    data = pickle.dumps(blob, 4)[:-1] + b"}X\x04\x00\x00\x00pathX\x01\x00\x00\x00xsb."
    (tmp_path / "built.pkl").write_bytes(data)
    with pytest.raises(NeurovisError, match="an attempt to change a reader"):
        read_pickle(tmp_path / "built.pkl", lazy=True)


@pytest.mark.parametrize("pickle_protocol", [2, 5])
def test_what_torch_saved(tmp_path, pickle_protocol):
    import torch

    tensors = {
        "weight": torch.arange(12.0).reshape(3, 4),
        "turned": torch.arange(12.0).reshape(3, 4).T[1:, ::2],
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        "half": torch.arange(5).to(torch.float16),
        "brain": torch.arange(5).to(torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "flag": torch.tensor([True, False]),
    }
    # the layout of a published set: numpy arrays inside what torch saved
    arrays = {
        "eeg": BIG.astype(np.float32),
        "img": np.array([["a/b.jpg"]]),
        "times": BIG[0],
    }
    whole = {**tensors, **arrays, "ch_names": ["Oz"], "order": collections.OrderedDict(a=1)}
    torch.save(whole, tmp_path / "train.pt", pickle_protocol=pickle_protocol)
    found = read_torch(tmp_path / "train.pt")
    assert list(found) == list(whole)
    for name, tensor in tensors.items():
        expected = tensor.detach()
        expected = expected.float() if name == "brain" else expected
        same(np.asarray(found[name]), expected.numpy())
    for name, array in arrays.items():
        same(found[name], array)
    if pickle_protocol == 5:
        assert isinstance(found["eeg"], np.memmap)
    assert isinstance(found["weight"], np.memmap)
    whole = read_torch(tmp_path / "train.pt", lazy=False)
    for name in ("eeg", "weight", "turned"):
        same(whole[name], np.asarray(found[name]))
        assert not isinstance(whole[name], np.memmap)


def test_state_dict_of_a_model(tmp_path):
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    torch.save({"model": model.state_dict()}, tmp_path / "model.pt")
    found = read_torch(tmp_path / "model.pt")["model"]
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def rezipped(source, target, change):
    """A zip with one part changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))


@pytest.mark.parametrize("name", [name for name, _ in attacks("")])
def test_nothing_runs_in_what_torch_saved(tmp_path, name):
    import torch

    canary = tmp_path / "canary"
    data = dict(attacks(canary))[name]
    torch.save({"a": torch.ones(2)}, tmp_path / "good.pt")
    bad = tmp_path / "bad.pt"
    rezipped(tmp_path / "good.pt", bad, lambda n, old: data if n.endswith("data.pkl") else old)
    with pytest.raises(NeurovisError, match=r"bad\.pt: expected") as error:
        read_torch(bad)
    assert "\n" not in str(error.value)
    assert not canary.exists()


def test_torch_files_with_code_or_of_the_older_format_are_refused(tmp_path):
    import torch

    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(NeurovisError, match="found the older format"):
        read_torch(tmp_path / "old.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "good.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as old,
        zipfile.ZipFile(tmp_path / "script.pt", "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr(f"{old.namelist()[0].split('/')[0]}/code/__torch__.py", "print(1)")
    with pytest.raises(NeurovisError, match=r"a program .TorchScript."):
        read_torch(tmp_path / "script.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(NeurovisError, match=r"found torch\.nn\.modules\.linear\.Linear; nothing"):
        read_torch(tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as other:
        other.writestr("a/b.txt", "x")
    with pytest.raises(NeurovisError, match="a zip of something else"):
        read_torch(tmp_path / "other.pt")


def test_tensors_that_lie_are_refused(tmp_path):
    import torch

    torch.save({"a": torch.arange(4.0)}, tmp_path / "good.pt")
    rezipped(
        tmp_path / "good.pt",
        tmp_path / "short.pt",
        lambda name, old: old[:8] if "/data/" in name else old,
    )
    with pytest.raises(NeurovisError, match="does not fit its size"):
        read_torch(tmp_path / "short.pt")

    def longer(name, old):
        # size (4,) and stride (1,) of the tensor: the stride becomes 9
        return old.replace(b"K\x04\x85", b"K\x09\x85") if name.endswith("data.pkl") else old

    rezipped(tmp_path / "good.pt", tmp_path / "long.pt", longer)
    with pytest.raises(NeurovisError, match="a tensor larger than its storage"):
        read_torch(tmp_path / "long.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in parts.items():
            new.writestr(name, content)
    with pytest.raises(NeurovisError, match="compressed"):
        read_torch(tmp_path / "packed.pt")
    whole = (tmp_path / "good.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NeurovisError, match=r"cut\.pt: expected a whole .* truncated"):
        read_torch(tmp_path / "cut.pt")
