"""Several processes train as one does: same gradients, same run, one sentence when one of them fails."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, write_prepared

from neurovis import train, watch
from neurovis.config import build, write_yaml
from neurovis.distributed import ALONE, World
from neurovis.experiment import Experiment
from neurovis.records import Prediction

pytestmark = pytest.mark.distributed

# batch normalisation is in it; what is drawn at random depends on the number of processes, and is not
TOWER = {"name": "conv", "n_virtual": 8, "n_harmonics": 4, "n_hidden": 16, "n_blocks": 1}
TOWER |= {"n_features": 32, "dropout": 0.0, "spatial_dropout": 0.0}
BOUND = 60
"""Seconds in which a job must end once one of its processes has."""


def experiment(folder: Path, **changes) -> Experiment:
    """Batches of 51 rows, two an epoch; 20 validation rows: three processes divide neither well."""
    train_ = {"epochs": 4, "batch_size": 50, "lr": 1e-3, "noise": 0.1, **changes.pop("train", {})}
    fields = {
        "name": "tiny",
        "data": {"path": str(folder), "memory": 0},
        "targets": {"image": {"encoder": "planted", "embeddings": str(folder / "embeddings.h5")}},
        "brain": TOWER,
        "train": train_,
        "control": "none",
        "device": "cpu",
    }
    return build(Experiment, {**fields, **changes})


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planted") / "p"
    return write_prepared(folder, n_train=61, n_test=13, repeats=(2, 3))


@pytest.fixture(scope="module")
def undisturbed(planted, tmp_path_factory) -> Path:
    """What one process makes of it."""
    return train.main(experiment(planted), tmp_path_factory.mktemp("one"), quiet=True)


def together(*words, n: int = 2) -> subprocess.CompletedProcess:
    """Run so many processes of a program, or of ``-m neurovis``, as a user would."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, f"--nproc-per-node={n}", *map(str, words)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def sentences(done: subprocess.CompletedProcess) -> list[str]:
    """What neurovis itself said of a failure; torchrun says more."""
    return re.findall(r"^neurovis train: .*$", done.stderr, re.M)


def similar(first: Path, second: Path) -> None:
    """Two runs are the same up to the order of sums."""
    logs = []
    for run in (first, second):
        with (run / "log.csv").open() as handle:
            logs.append(list(csv.DictReader(handle)))
    assert [row["epoch"] for row in logs[0]] == [row["epoch"] for row in logs[1]]
    for name in ("loss", "contrastive", "mse", "validation_loss", "validation_top5"):
        a, b = (np.array([float(row[name]) for row in rows]) for rows in logs)
        np.testing.assert_allclose(a, b, rtol=2e-3, err_msg=name)
    for system in ("tower", "ridge"):
        a, b = (Prediction.read(r / "systems" / system / "prediction.h5") for r in (first, second))
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.n_averaged, b.n_averaged)
        scale = np.abs(a.vector["image"]).mean()
        np.testing.assert_allclose(a.vector["image"], b.vector["image"], atol=0.01 * scale)


# ---- parts


def test_shares_are_whole_and_their_parts_do_not_depend_on_the_number_of_processes():
    for n_rows in (3, 7, 50, 129):
        for most in (0, 3, 16, 200):
            wholes = []
            for size in (1, 2, 3):
                shares = World(0, size).shares(n_rows, most)
                parts = [np.concatenate(part) for part in shares]
                np.testing.assert_array_equal(np.concatenate(parts), np.arange(n_rows))
                assert all(len(rows) for part in shares for rows in part)
                if not most or most >= 2 * size:
                    assert not most or max(map(len, parts)) <= most
                    wholes.append([part.tolist() for part in parts])
            assert all(whole == wholes[0] for whole in wholes)


def test_alone_nothing_is_exchanged():
    value = torch.ones(3, requires_grad=True)
    assert ALONE.gather(value, ALONE.shares(3)) is value
    assert ALONE.same({"a": 1}) == {"a": 1}
    assert ALONE.joined({"a": value}, np.arange(3), 3)["a"] is value
    ALONE.average([value])
    assert value.grad is None
    assert ALONE.first


PARTS = """
import copy
import numpy as np
import torch
from torch import nn
from neurovis.distributed import job, normalise_together
from neurovis.losses.contrastive import Clip
from neurovis.losses.combine import ClipMse
from neurovis.decoder import decoder
from neurovis.step import Batch, backward
from contextlib import nullcontext

class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(3, 5, 3)
        self.norm = nn.BatchNorm1d(5)
        self.second = nn.Linear(5, 4)
        self.flat = nn.BatchNorm1d(4, affine=False, momentum=None)
        self.rare = nn.Parameter(torch.ones(4))      # used by one process alone
        self.never = nn.Parameter(torch.ones(4))

    def forward(self, signal, subject, present):
        x = torch.tanh(self.norm(self.first(signal))).mean(2)
        x = self.flat(self.second(x))
        if (subject == 1).any():
            x = torch.where((subject == 1)[:, None], x * self.rare, x)
        return {"image": x, "image@regression": 2 * x}

torch.set_default_dtype(torch.float64)
with job() as world:
    assert world.size == 2
    generator = torch.Generator().manual_seed(0)
    n = 7
    signal = 3 + torch.randn(n, 3, 9, generator=generator)
    target = torch.randn(n, 4, generator=generator)
    subject = torch.zeros(n, dtype=torch.long)
    subject[-1] = 1                                  # a row of the second process
    image = torch.tensor([0, 1, 2, 0, 3, 4, 5])
    present = torch.ones(n, 3, dtype=bool)
    torch.manual_seed(world.rank)                    # other weights, until they are made alike
    model = decoder(Tower(), {"image": 4}, "linear")
    loss_of = ClipMse().build()
    world.alike(model, loss_of)
    for most in (0, 4):
        found, wanted = copy.deepcopy((model, loss_of)), copy.deepcopy((model, loss_of))
        normalise_together(found[0], world)
        shares = world.shares(n, most)
        mine = np.concatenate([part[world.rank] for part in shares])
        assert 0 < len(mine) < n
        rows = [t[torch.from_numpy(mine)] for t in (signal, subject, present)]
        batch = Batch(rows, {"image": target}, image, shares, 5)
        for _ in range(2):
            said, _ = backward(*found, batch, world, nullcontext())
        world.average(p for module in found for p in module.parameters())
        alone = type(world)()
        whole = Batch([signal, subject, present], {"image": target}, image, alone.shares(n, most), 5)
        for _ in range(2):
            expected, _ = backward(*wanted, whole, alone, nullcontext())
        for name, value in expected.items():
            torch.testing.assert_close(said[name], value, rtol=1e-12, atol=1e-12)
        for one, two in zip(found, wanted):
            for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters()):
                assert (a.grad is None) == (b.grad is None), name
                if a.grad is not None:
                    torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12, msg=name)
            for (name, a), (_, b) in zip(one.named_buffers(), two.named_buffers()):
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, msg=name)
        assert found[0].tower.never.grad is None
        assert found[0].tower.rare.grad is not None
    # rows of one process each, one of them without any; what the first says; who goes first
    for n in (1, 5):
        rows = np.array_split(np.arange(n), 2)[world.rank]
        part = {"a": torch.from_numpy(rows)[:, None] * torch.ones(2)} if len(rows) else {}
        whole = world.joined(part, rows, n)["a"]
        torch.testing.assert_close(whole, torch.arange(n)[:, None] * torch.ones(2))
    assert world.same({"rank": world.rank}) == {"rank": 0}
    from pathlib import Path
    import sys, time
    note = Path(sys.argv[1])
    with world.first_goes_first():
        if world.first:
            time.sleep(0.3)
            note.write_text("here")
        assert note.read_text() == "here"
print("good", world.rank, flush=True)
"""


@pytest.mark.slow
def test_two_processes_make_the_gradients_and_statistics_of_one(tmp_path):
    (tmp_path / "parts.py").write_text(PARTS)
    done = together(tmp_path / "parts.py", tmp_path / "note")
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.split("\n")[:2]) == ["good 0", "good 1"]


# ---- whole runs


@pytest.mark.slow
def test_two_processes_make_the_run_of_one(planted, undisturbed, tmp_path):
    write_yaml(tmp_path / "e.yaml", experiment(planted))
    done = together("-m", "neurovis", "train", tmp_path / "e.yaml", "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Run: ") == 1
    assert done.stderr.count("training tower:   0%") == 1  # one bar
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name == undisturbed.name
    files = [
        {p.relative_to(r).as_posix() for p in r.rglob("*") if p.is_file()}
        for r in (run, undisturbed)
    ]
    assert files[0] - {"scores.json", "per_item.h5"} == files[1]
    similar(run, undisturbed)


@pytest.mark.slow
def test_a_normalisation_inside_of_filters_sees_all_processes(planted, tmp_path):
    brain = {"name": "nice", "kernel": 3, "pool": 5, "stride": 2, "dropout": 0, "head_dropout": 0}
    tiny = experiment(planted, brain=brain)
    write_yaml(tmp_path / "e.yaml", tiny)
    done = together("-m", "neurovis", "train", tmp_path / "e.yaml", "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (tmp_path / "runs").iterdir()
    similar(run, train.main(tiny, tmp_path / "one", quiet=True))
    # complete already: all processes see it
    again = together("-m", "neurovis", "train", tmp_path / "e.yaml", "--out", tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stderr.count("complete already") == 1


@pytest.mark.slow
def test_two_processes_mix_signals_as_one_does(planted, tmp_path):
    """Partners of a row may be on the other process; spreads are fitted by the first."""
    mixco = {"name": "mixco", "temperature": 0.1}
    loss = {"name": "sum", "parts": [mixco, "mse"], "weights": [1, 1]}
    config = experiment(planted, loss=loss)
    write_yaml(tmp_path / "e.yaml", config)
    one = train.main(config, tmp_path / "one", quiet=True)
    done = together("-m", "neurovis", "train", tmp_path / "e.yaml", "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    (two,) = (tmp_path / "two" / "runs").iterdir()
    assert two.name == one.name
    similar(one, two)
    a, b = (Prediction.read(r / "systems" / "tower" / "prediction.h5") for r in (one, two))
    np.testing.assert_allclose(a.spread["image"], b.spread["image"], rtol=0.02)


@pytest.mark.slow
def test_two_processes_mix_subjects_as_one_does(planted, tmp_path):
    """What is mixed in is drawn for all rows; a batch is of one subject where each has an image side."""
    config = experiment(planted, train={"subject_mix": 0.5, "average": 1}, projection="own")
    write_yaml(tmp_path / "e.yaml", config)
    one = train.main(config, tmp_path / "one", quiet=True)
    done = together("-m", "neurovis", "train", tmp_path / "e.yaml", "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    (two,) = (tmp_path / "two" / "runs").iterdir()
    assert two.name == one.name
    similar(one, two)


KILLED = """
import os, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from neurovis import cli, train
train.Checkpoint.due = lambda *_: True
step, calls = train.backward, []

def kept():
    files = list(Path(sys.argv[2]).glob("runs/*/checkpoint-tower.pt"))
    return bool(files) and torch.load(files[0], weights_only=True)["state"]["step"] == 3

def counted(*arguments):
    calls.append(1)
    if len(calls) == 4 and os.environ["RANK"] == "1":
        end = time.monotonic() + 60
        while not kept() and time.monotonic() < end:  # the other one may write its third step yet
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)

train.backward = counted
sys.exit(cli.main(["train", sys.argv[1], "--out", sys.argv[2], "--quiet"]))
"""


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_one_process_goes_on(planted, undisturbed, tmp_path):
    write_yaml(tmp_path / "e.yaml", experiment(planted))
    (tmp_path / "killed.py").write_text(KILLED)
    started = time.monotonic()
    done = together(tmp_path / "killed.py", tmp_path / "e.yaml", tmp_path)
    assert time.monotonic() - started < BOUND
    assert done.returncode != 0
    (said,) = sentences(done)
    assert re.search(r"rank 1 of 2 was killed .*run the same command again", said), said
    (left,) = (tmp_path / "runs").iterdir()
    saved = torch.load(left / "checkpoint-tower.pt", weights_only=True)
    # two steps an epoch: the second epoch's first step was the last whole one
    assert saved["state"]["epoch"] == 1
    assert saved["state"]["within"] == 1
    assert saved["state"]["step"] == 3
    assert not list(left.rglob(".*partial"))
    similar(train.main(experiment(planted), tmp_path, quiet=True), undisturbed)


@pytest.mark.slow
def test_what_one_process_finds_wrong_ends_all_with_its_sentence(planted, tmp_path):
    import h5py

    folder = write_prepared(tmp_path / "p", n_train=61, n_test=13)
    with h5py.File(folder / "sub-02" / "trials.h5", "r+") as file:
        file["signal"][3, 2, 1] = np.nan
    write_yaml(tmp_path / "e.yaml", experiment(folder))
    started = time.monotonic()
    done = together("-m", "neurovis", "train", tmp_path / "e.yaml", "--out", tmp_path, "--quiet")
    assert time.monotonic() - started < BOUND
    assert done.returncode == 1
    (said,) = sentences(done)
    assert re.search(r"train: rank [01] of 2: sub-02/trials\.h5: expected finite signals", said)


@pytest.mark.slow
def test_more_processes_than_rows_are_refused_once(planted, tmp_path):
    write_yaml(tmp_path / "e.yaml", experiment(planted, train={"batch_size": 1}))
    done = together("-m", "neurovis", "train", tmp_path / "e.yaml", "--out", tmp_path, "--quiet")
    (said,) = sentences(done)
    assert "expected a row for each of 2 processes, found 1" in said


SILENT = """
import sys, time
from datetime import timedelta
from torch.distributed import TCPStore
from neurovis import watch
watch.LOST_SECONDS = 1.5
store = TCPStore("127.0.0.1", 0, 2, True, timedelta(seconds=5), False)
store.set("watch/beat/1", "7")                 # one sign of life, from another machine
store.set("watch/place/1", "elsewhere:1")
with watch.Watch(store, 0, 2):
    time.sleep(30)                             # as a thread that waits for the other one
"""


@pytest.mark.slow
def test_a_process_of_another_machine_that_falls_silent_is_noticed():
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SILENT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert time.monotonic() - started < 25
    assert done.returncode == 1
    (said,) = sentences(done)
    assert "rank 1 of 2 gave no sign of life for 2 s; the last good checkpoint is kept" in said


def test_a_process_that_was_killed_is_not_alive_before_it_is_collected():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert watch._alive(child.pid)
    child.kill()
    deadline = time.monotonic() + 10
    while watch._alive(child.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not watch._alive(child.pid)  # a zombie
    child.communicate()
    assert not watch._alive(child.pid)


LATE = """
import os, signal, sys
from neurovis import cli, keep

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

keep._pictures = die                           # by the first process alone, while the other waits
sys.exit(cli.main(["train", sys.argv[1], "--out", sys.argv[2], "--quiet"]))
"""


@pytest.mark.slow
def test_the_first_process_killed_while_the_others_wait_for_it(planted, undisturbed, tmp_path):
    write_yaml(tmp_path / "e.yaml", experiment(planted))
    (tmp_path / "late.py").write_text(LATE)
    started = time.monotonic()
    done = together(tmp_path / "late.py", tmp_path / "e.yaml", tmp_path)
    assert time.monotonic() - started < BOUND
    (said,) = sentences(done)
    assert "rank 0 of 2 was killed" in said
    # two processes go on with what is left
    done = together("-m", "neurovis", "train", tmp_path / "e.yaml", "--out", tmp_path, "--quiet")
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (tmp_path / "runs").iterdir()
    similar(run, undisturbed)
