"""Checkpoints: what they bring back, whose they are, and what a full disk leaves of them."""

from __future__ import annotations

import resource
import time

import pytest
import torch
from conftest import write_prepared
from test_train import experiment

from neurovis import train
from neurovis.checkpoint import Checkpoint
from neurovis.cli import main
from neurovis.config import write_yaml
from neurovis.distributed import ALONE, World
from neurovis.errors import NeurovisError
from neurovis.store import DiskFull

CPU = torch.device("cpu")


def checkpoint(folder, made_by="mine", world=ALONE, width=3):
    model = torch.nn.Linear(width, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(width)).sum().backward()
    optimiser.step()
    path = folder / "checkpoint-tower.pt"
    return Checkpoint(path, made_by, world, {"model": model, "optimiser": optimiser})


def test_what_was_saved_comes_back(tmp_path):
    first, second = checkpoint(tmp_path), checkpoint(tmp_path)
    assert first.load(CPU) is None
    first.save(state={"epoch": 3, "best": 0.5}, best={"a": torch.ones(2)})
    saved = second.load(CPU)
    assert saved["state"] == {"epoch": 3, "best": 0.5}
    assert torch.equal(saved["best"]["a"], torch.ones(2))
    for name in ("model", "optimiser"):
        one, two = first.parts[name].state_dict(), second.parts[name].state_dict()
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    second.remove()
    assert first.load(CPU) is None


def test_only_the_first_process_writes(tmp_path):
    other = checkpoint(tmp_path, world=World(1, 2))
    other.save(state={})
    assert not list(tmp_path.iterdir())
    checkpoint(tmp_path).save(state={})
    other.remove()
    assert other.path.is_file()


def test_it_is_due_after_a_while_and_never_most_of_the_time(tmp_path):
    one = checkpoint(tmp_path)
    assert one.due(0)
    assert not one.due(10)
    one.at = time.perf_counter() - 11
    assert one.due(10)
    one.took = 1.0
    assert not one.due(10)
    one.save()
    assert not one.due(10)
    assert one.took < 1


def test_a_damaged_or_foreign_checkpoint_is_refused_and_kept(tmp_path):
    one = checkpoint(tmp_path)
    one.save(state={})
    whole = one.path.read_bytes()
    again = "remove the file, or train with --resume never, to start over"
    for content, says in (
        (whole[: len(whole) // 2], "found a damaged or foreign file"),
        (b"hello", "found a damaged or foreign file"),
        (b"", "found a damaged or foreign file"),
    ):
        one.path.write_bytes(content)
        with pytest.raises(NeurovisError, match=f"checkpoint-tower.pt: .*{says}.*{again}"):
            one.load(CPU)
        assert one.path.read_bytes() == content
    torch.save([1, 2], one.path)
    with pytest.raises(NeurovisError, match="found one of another version of neurovis"):
        one.load(CPU)
    one.path.write_bytes(whole)
    with pytest.raises(NeurovisError, match="expected a checkpoint of other, found one of mine"):
        checkpoint(tmp_path, made_by="other").load(CPU)
    with pytest.raises(NeurovisError, match=r"do not fit the tower of this version.*size mismatch"):
        checkpoint(tmp_path, width=5).load(CPU)
    assert checkpoint(tmp_path).load(CPU) == {"state": {}}


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    one = checkpoint(tmp_path)
    one.save(state={"epoch": 1})
    before = one.path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limit[1]))
    try:
        with pytest.raises(DiskFull, match=r"checkpoint-tower\.pt: the disk .* is full"):
            one.save(state={"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert one.path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-tower.pt"]
    assert checkpoint(tmp_path).load(CPU)["state"] == {"epoch": 1}


def test_a_checkpoint_of_another_experiment_is_refused_by_the_command(
    tmp_path, capsys, monkeypatch
):
    """By hand alone: each experiment has a folder of its own."""
    folder = write_prepared(tmp_path / "p", n_train=30, n_test=6)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    left = []
    for n in (1, 2):
        write_yaml(tmp_path / f"{n}.yaml", experiment(folder, train={"epochs": n}))
        with monkeypatch.context() as patch:
            patch.setattr(train, "save_tensors", stopped)
            words = ["train", str(tmp_path / f"{n}.yaml"), "--out", str(tmp_path / f"{n}")]
            assert main([*words, "--quiet"]) == 130
        left += (tmp_path / f"{n}" / "runs").glob(".*/checkpoint-tower.pt")
    left[1].write_bytes(left[0].read_bytes())
    capsys.readouterr()
    assert main([*words, "--quiet"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    names = [path.parent.name.strip(".").removesuffix(".partial") for path in left]
    assert f"expected a checkpoint of {names[1]}, tower, found one of {names[0]}, tower" in said
    assert main([*words, "--quiet", "--resume", "never"]) == 0
