"""Pickled arrays are read; everything else is refused before it runs."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import pickletools

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from neurovis.errors import NeurovisError
from neurovis.safe_pickle import read_pickle

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
def test_nothing_runs(tmp_path, name, wrapped):
    canary = tmp_path / "canary"
    data = dict(attacks(canary))[name]
    path = tmp_path / "bad.npy"
    if wrapped:
        np.save(path, np.array(None, object), allow_pickle=True)
        whole = path.read_bytes()
        data = whole[: 10 + int.from_bytes(whole[8:10], "little")] + data
    path.write_bytes(data)
    with pytest.raises(NeurovisError, match=r"bad\.npy: expected") as error:
        read_pickle(path)
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
