"""The store: whole or absent whatever happens, resumable folders, JSON without NaN, provenance without paths."""

# ruff: noqa: PT012, SIM117 - a file is written in a block, and it is the block that must fail

from __future__ import annotations

import getpass
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from neurovis.errors import NeurovisError
from neurovis.store import (
    DiskFull,
    artefact,
    artefact_path,
    atomic,
    enduring,
    is_complete,
    load_tensors,
    new_h5,
    open_h5,
    provenance,
    read_h5,
    read_json,
    save_tensors,
    sha256,
    temporary,
    working_folder,
    write_h5,
    write_json,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "scores.json"
    with atomic(path) as partial:
        partial.write_text("new")
        assert not path.exists()
        assert partial.parent == path.parent
    assert path.read_text() == "new"
    for error in (ZeroDivisionError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), atomic(path) as partial:
            partial.write_text("half")
            raise error
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from neurovis.store import artefact, atomic, new_h5, write_json
folder = Path(sys.argv[1])
with artefact(folder / "runs" / "run-1", {"a": 1}) as partial:
    write_json(partial / "whole.json", [1, 2])
    with atomic(folder / "text.txt") as one, new_h5(folder / "data.h5", "x") as file:
        one.write_text("half")
        file["a"] = range(9999)
        print(one.name, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_kill_9_leaves_is_never_mistaken_for_a_result(tmp_path):
    (tmp_path / "text.txt").write_text("before")
    run = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "text.txt").read_text() == "before"
    assert not (tmp_path / "data.h5").exists()
    folder = tmp_path / "runs" / "run-1"
    assert not is_complete(folder)
    assert (tmp_path / done.stdout.strip()).read_text() == "half"
    # the next process sweeps what the dead one left, and goes on from what is whole
    living = tmp_path / f".text.txt.{os.getppid()}.partial"
    living.write_text("of a process that lives")
    with atomic(tmp_path / "text.txt") as partial:
        partial.write_text("after")
    with artefact(folder, {"a": 1}) as partial:
        assert read_json(partial / "whole.json") == [1, 2]
    assert is_complete(folder)
    assert (tmp_path / "text.txt").read_text() == "after"
    assert not (tmp_path / done.stdout.strip()).exists()
    assert living.read_text() == "of a process that lives"
    assert {p.name for p in folder.parent.iterdir()} == {"run-1"}


def test_names_with_brackets_are_swept_too(tmp_path):
    left = tmp_path / ".a[1].h5.999999999.partial"
    left.write_text("left by a dead process")
    other = tmp_path / ".b.h5.999999999.partial"
    other.write_text("of another file")
    with atomic(tmp_path / "a[1].h5") as partial:
        partial.write_text("x")
    assert not left.exists()
    assert other.exists()
    assert temporary(tmp_path / "b.h5").name == f".b.h5.{os.getpid()}.partial"


def test_an_artefact_is_complete_or_resumed(tmp_path):
    folder = artefact_path(tmp_path, "runs", "my run/é", {"a": 1})
    assert folder.parent == tmp_path / "runs"
    assert folder.name.startswith("my-run-é-")
    assert folder == artefact_path(tmp_path, "runs", "my run/é", {"a": 1})
    assert folder != artefact_path(tmp_path, "runs", "my run/é", {"a": 2})
    with pytest.raises(KeyboardInterrupt), artefact(folder, {"a": 1}) as partial:
        (partial / "part.txt").write_text("1")
        raise KeyboardInterrupt
    assert not folder.exists()
    assert working_folder(folder).is_dir()
    with artefact(folder, {"a": 1}, inputs={"x": "f00"}, seed=3) as partial:
        assert (partial / "part.txt").read_text() == "1"
    assert is_complete(folder)
    assert {p.name for p in folder.iterdir()} == {"part.txt", "config.yaml", "provenance.json"}
    record = read_json(folder / "provenance.json")
    assert record["inputs"] == {"x": "f00"}
    assert record["seed"] == 3
    with artefact(folder, {"a": ["x/y", str(tmp_path / "of/someone")], "b": {"c": 1}}):
        pass
    assert {p.name for p in folder.iterdir()} == {"config.yaml", "provenance.json"}
    # no artefact says in whose folders it was made
    assert (folder / "config.yaml").read_text() == "a:\n- x/y\n- someone\nb:\n  c: 1\n"


def test_provenance_tells_versions_and_nothing_private():
    record = provenance({"prepared": "abc"}, 5)
    text = json.dumps(record)
    assert record["versions"]["numpy"] == np.__version__
    private = {str(ROOT), str(Path.home()), socket.gethostname(), getpass.getuser()} - {"root", "/"}
    for word in private:
        assert word not in text
    assert "/" not in text.replace(record["time"], "")


def test_json_refuses_nan_and_comes_back(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"a": np.float32(0.5), "b": np.arange(3), "ü": (1, "x")})
    assert read_json(path) == {"a": 0.5, "b": [0, 1, 2], "ü": [1, "x"]}
    before = path.read_bytes()
    for bad in (float("nan"), float("inf"), np.array([1.0, np.nan])):
        with pytest.raises(NeurovisError, match=r"scores\.json: a value is NaN or infinite"):
            write_json(path, {"a": [bad]})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_json_that_is_none_is_refused(tmp_path):
    path = tmp_path / "scores.json"
    with pytest.raises(NeurovisError, match="no such file"):
        read_json(path)
    for content in (b"", b'{"a": ', b"\xff\xfe", b"[1, 2"):
        path.write_bytes(content)
        with pytest.raises(NeurovisError, match="not valid JSON"):
            read_json(path)
    write_json(path, [1])
    with pytest.raises(NeurovisError, match="expected format 'x', found None"):
        read_json(path, "x")
    for version, said in [(2, "version 2"), ("old", "whole number"), (None, "whole number")]:
        write_json(path, {"format": "x", "format_version": version})
        with pytest.raises(NeurovisError, match=said):
            read_json(path, "x")


def test_hdf5_comes_back_and_names_what_is_missing(tmp_path):
    path = tmp_path / "data.h5"
    write_h5(path, "x", {"a/b": np.arange(3), "names": ["é", ""], "one": 2.5}, about="text")
    found = read_h5(path, "x", ("a/b", "names", "one"))
    np.testing.assert_array_equal(found["a/b"], [0, 1, 2])
    assert found["names"].tolist() == ["é", ""]
    assert found["one"] == 2.5
    with open_h5(path, "x") as file:
        assert file.attrs["about"] == "text"
    with pytest.raises(NeurovisError, match="dataset 'c' is missing"):
        read_h5(path, "x", ("c",))
    with pytest.raises(NeurovisError, match="expected format 'y', found 'x'"):
        open_h5(path, "y")


def test_new_hdf5_appears_when_its_block_ends(tmp_path):
    with pytest.raises(ZeroDivisionError), new_h5(tmp_path / "a.h5", "x") as file:
        file["a"] = 1
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with new_h5(tmp_path / "a.h5", "x", colour="red") as file:
        file["a"] = np.arange(100_000)
    with open_h5(tmp_path / "a.h5", "x") as file:
        assert file["a"][99_999] == 99_999


def test_an_enduring_file_keeps_the_first_error_for_the_end(tmp_path):
    class Full:
        def __init__(self, raw):
            self.raw = raw

        def write(self, data):
            raise OSError(28, "No space left on device")

        truncate = write

    done = []
    with pytest.raises(DiskFull, match=r"a\.bin: the disk"), atomic(tmp_path / "a.bin") as partial:
        with enduring(partial) as file:
            file.write(b"fits")
            file.raw = Full(file.raw)
            assert file.write(b"does not fit") == 12
            assert file.truncate(99) == 99
            done.append(1)
    assert done == [1]
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_the_system_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), atomic(tmp_path / "a"):
        raise PermissionError(13, "Permission denied")


def test_tensors_come_back_and_damage_is_named(tmp_path):
    import torch

    path = tmp_path / "model.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(1)}
    save_tensors(path, tensors, brain="conv")
    found = load_tensors(path)
    for name, value in tensors.items():
        assert torch.equal(found[name], value)
    whole = path.read_bytes()
    for cut in (0, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(NeurovisError, match=r"model\.safetensors: damaged weights"):
            load_tensors(path)
    path.unlink()
    with pytest.raises(NeurovisError, match="no such file"):
        load_tensors(path)


def test_sha256_is_that_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "a") == known
    with pytest.raises(NeurovisError, match="no such file"):
        sha256(tmp_path / "b")
