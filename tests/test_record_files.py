"""Files of records that are damaged, foreign or newer; writing run by run; full disks."""

# ruff: noqa: PT012, SIM117 - a run is written in a block, and it is the block that must fail

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from test_records import make_prediction, make_stimuli, make_trials

from neurovis.errors import NeurovisError
from neurovis.records import (
    Embeddings,
    Prediction,
    Split,
    Stimuli,
    Trials,
    TrialsWriter,
    opened,
)
from neurovis.store import DiskFull, open_h5, read_json, write_json

# ---- files that are not what they should be

RECORDS = {
    "trials.h5": (make_trials, Trials.open),
    "embeddings.h5": (lambda: Embeddings(np.ones((3, 4)), ["a", "b", "c"]), Embeddings.read),
    "prediction.h5": (make_prediction, Prediction.read),
    "split.json": (lambda: Split(["a"], ["b"], ["c"]), Split.read),
    "stimuli.csv": (make_stimuli, Stimuli.read),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_truncated_file_is_refused_wherever_it_is_cut(name, tmp_path):
    make, read = RECORDS[name]
    path = tmp_path / name
    make().write(path)
    whole = path.read_bytes()
    step = max(1, len(whole) // 150)
    # a table cut exactly between two rows is a table; the split and the trials notice what it lacks
    cuts = range(0, len(whole.rstrip()), step)
    refusals = []
    for cut in cuts:
        path.write_bytes(whole[:cut])
        try:
            found = read(path)
        except NeurovisError as error:
            refusals.append(str(error))
            continue
        assert name == "stimuli.csv"
        assert whole[:cut].rstrip(b"\r").endswith((b"train,", b"test,", b"train", b"test", b"\n"))
        n = len(found)
        assert found.image.tolist() == ["a", "b", "c"][:n]
        assert found.concept.tolist() == ["concept 0", "concept 1", "concept 2"][:n]
    assert refusals
    assert all(name in said and "\n" not in said for said in refusals)
    path.write_bytes(whole)
    read(path)


@pytest.mark.parametrize("name", ["trials.h5", "embeddings.h5", "prediction.h5"])
def test_a_damaged_file_is_refused(name, tmp_path):
    import h5py

    make, read = RECORDS[name]
    path = tmp_path / name
    make().write(path)
    whole = path.read_bytes()
    with h5py.File(path) as file:
        headers = {"/": h5py.h5o.get_info(file.id).addr}
        file.visititems(lambda k, v: headers.setdefault(k, h5py.h5o.get_info(v.id).addr) and None)
    assert len(headers) > 2
    for place in headers.values():
        path.write_bytes(whole[:place] + bytes(16) + whole[place + 16 :])
        with pytest.raises(NeurovisError, match=name):
            read(path)


@pytest.mark.parametrize("name", ["trials.h5", "embeddings.h5", "prediction.h5"])
def test_newer_and_foreign_hdf5_files_are_refused(name, tmp_path):
    import h5py

    make, read = RECORDS[name]
    make().write(tmp_path / name)
    with h5py.File(tmp_path / name, "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(NeurovisError, match=r"version 99.*update neurovis"):
        read(tmp_path / name)
    with h5py.File(tmp_path / name, "a") as file:
        file.attrs["format_version"] = "new"
    with pytest.raises(NeurovisError, match="whole number"):
        read(tmp_path / name)
    with h5py.File(tmp_path / name, "w") as file:
        file["x"] = 1
    with pytest.raises(NeurovisError, match="expected format 'neurovis-"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(b"\x89PNG and so on")
    with pytest.raises(NeurovisError, match="expected an HDF5 file"):
        read(tmp_path / name)
    (tmp_path / name).unlink()
    with pytest.raises(NeurovisError, match="no such file"):
        read(tmp_path / name)


def test_newer_and_foreign_splits_are_refused(tmp_path):
    path = tmp_path / "split.json"
    Split(["a"], [], ["b"]).write(path)
    data = read_json(path)
    write_json(path, {**data, "format_version": 2})
    with pytest.raises(NeurovisError, match="version 2"):
        Split.read(path)
    write_json(path, {"train": ["a"]})
    with pytest.raises(NeurovisError, match="expected format 'neurovis-split', found None"):
        Split.read(path)
    write_json(path, {k: v for k, v in data.items() if k != "test"})
    with pytest.raises(NeurovisError, match="'test' is missing"):
        Split.read(path)
    write_json(path, {**data, "test": ["a"]})
    with pytest.raises(
        NeurovisError, match=r"split\.json: Split: image 'a' is in train and in test"
    ):
        Split.read(path)


def test_bad_tables_of_stimuli_are_refused(tmp_path):
    path = tmp_path / "stimuli.csv"
    with pytest.raises(NeurovisError, match="no such file"):
        Stimuli.read(path)
    path.write_text("image,path,sha256,width,height,set\n", encoding="utf-8")
    with pytest.raises(NeurovisError, match="column 'concept' is missing"):
        Stimuli.read(path)
    make_stimuli().write(path)
    text = path.read_text(encoding="utf-8")
    for old, new, said in [
        (",16,", ",sixteen,", "row 1"),
        (",16,", ",²,", "row 1"),
        ("concept 1,", "concept 1,train,too,many,", "row 2"),
        (",test,", ",exam,", "found 'exam' for image 'c'"),
    ]:
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(NeurovisError, match=said):
            Stimuli.read(path)
    path.write_bytes(text.replace("concept", "fönster").encode("latin-1"))
    with pytest.raises(NeurovisError, match="UTF-8"):
        Stimuli.read(path)


# ---- writing run by run


def writer(path, **changes):
    trials = make_trials()
    names = ("channel_name", "channel_type", "channel_position", "sfreq", "tmin", "modality")
    about = {name: getattr(trials, name) for name in (*names, "unit", "subject")}
    return TrialsWriter(path, **{**about, **changes})


def run_of(n, n_times=5, n_chans=3):
    signal = np.full((n, n_chans, n_times), n, np.float32)
    each = {"image": [f"i{k}" for k in range(n)], "onset": np.arange(n) * 1.0}
    return signal, {**each, "session": "1", "run": str(n), "set": "train"}


def append(to, n, **shape):
    signal, about = run_of(n, **shape)
    to.append(signal, **about)


def test_runs_are_put_one_after_the_other(tmp_path):
    with writer(tmp_path / "trials.h5") as out:
        for n in (0, 2, 0, 300, 1):  # a run may have lost all of its trials
            append(out, n)
        assert not (tmp_path / "trials.h5").exists()
        out.provenance = {"steps": 3}
    with opened(tmp_path / "trials.h5") as found:
        assert found.run.tolist() == ["2"] * 2 + ["300"] * 300 + ["1"]
        np.testing.assert_array_equal(found.read()[:, 0, 0], [2] * 2 + [300] * 300 + [1])
        assert found.provenance == {"steps": 3}


def test_a_crash_in_the_middle_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), writer(tmp_path / "trials.h5") as out:
        append(out, 3)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_crash_keeps_the_file_before(tmp_path):
    make_trials().write(tmp_path / "trials.h5")
    before = (tmp_path / "trials.h5").read_bytes()
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "trials.h5") as out:
        append(out, 3)
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["trials.h5"]
    assert (tmp_path / "trials.h5").read_bytes() == before


def test_runs_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "trials.h5"
    with pytest.raises(NeurovisError, match="no trial to write"), writer(path):
        pass
    with pytest.raises(NeurovisError, match="no trial to write"), writer(path) as out:
        append(out, 0)
    with pytest.raises(NeurovisError, match="time=5 as in the runs before, found 6"):
        with writer(path) as out:
            append(out, 2)
            append(out, 2, n_times=6)
    with pytest.raises(NeurovisError, match=r"Trials.channel_name: .*\(channel=4,\)"):
        with writer(path) as out:
            append(out, 2, n_chans=4)
    with pytest.raises(NeurovisError, match=r"Trials\.signal: .* row 1 \(.*'i1'"):
        with writer(path) as out:
            signal, about = run_of(2)
            signal[1, 2, 3] = np.nan
            out.append(signal, **about)
    assert list(tmp_path.iterdir()) == []


# ---- a full disk, made with a limit on the size of files in a process of its own

FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
import torch
from test_records import make_stimuli, make_trials, make_prediction
from neurovis.records import Embeddings
from neurovis.store import DiskFull, atomic, enduring, save_tensors, write_json

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
folder = Path({folder!r})
many = [str(i) for i in range(900)]

def checkpoint():
    with atomic(folder / "checkpoint.pt") as partial, enduring(partial) as stream:
        torch.save({{"a": torch.zeros(90_000)}}, stream)

for name, write in {{
    "trials.h5": lambda p: make_trials(300, 10, 50).write(p),
    "embeddings.h5": lambda p: Embeddings(np.ones((900, 40)), many).write(p),
    "prediction.h5": lambda p: make_prediction(900).write(p),
    "stimuli.csv": lambda p: make_stimuli(many).write(p),
    "scores.json": lambda p: write_json(p, many * 9),
    "model.safetensors": lambda p: save_tensors(p, {{"a": torch.zeros(90_000)}}),
    "checkpoint.pt": lambda p: checkpoint(),
}}.items():
    (folder / name).write_text("old")
    try:
        write(folder / name)
    except DiskFull as error:
        print(error)
"""


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    code = FULL.format(tests=str(ROOT / "tests"), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said = done.stdout.splitlines()
    names = ["trials.h5", "embeddings.h5", "prediction.h5", "stimuli.csv", "scores.json"]
    names += ["model.safetensors", "checkpoint.pt"]
    # HDF5 reports to stderr, or crashes, if it sees the failure
    assert (done.returncode, done.stderr) == (0, "")
    assert [Path(line.split(": ")[0]).name for line in said] == names
    assert all("full" in line and "run the same command again" in line for line in said)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    assert {p.read_text() for p in tmp_path.iterdir()} == {"old"}


def test_a_full_disk_stops_at_the_run_that_fills_it(tmp_path, monkeypatch):
    import errno
    import os

    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    runs = []
    with (
        pytest.raises(DiskFull, match=r"trials\.h5: the disk"),
        writer(tmp_path / "trials.h5") as out,
    ):
        append(out, 2, n_times=500)
        runs.append(1)
        monkeypatch.setattr(out._disk, "raw", FullFile(out._disk.raw, no_space))
        append(out, 3000, n_times=500)
        runs.append(2)
    assert runs == [1]
    assert list(tmp_path.iterdir()) == []


class FullFile:
    """A file on which nothing more can be written."""

    def __init__(self, raw, write):
        self.raw, self.write, self.truncate = raw, write, write

    def __getattr__(self, name):
        return getattr(self.raw, name)


def test_a_record_that_is_lazy_closes_its_file(tmp_path):
    make_trials().write(tmp_path / "trials.h5")
    with opened(tmp_path / "trials.h5") as found:
        signal = found.signal
    assert not signal
    with open_h5(tmp_path / "trials.h5", "neurovis-trials") as file:
        assert file["signal"].shape == (7, 3, 5)
