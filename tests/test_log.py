"""What training leaves to look at: one row per epoch, TensorBoard where asked for."""

from __future__ import annotations

import csv
import importlib.util

import pytest
from test_train import experiment

from neurovis import log as module
from neurovis import train
from neurovis.errors import NeurovisError
from neurovis.log import Log


def row(epoch: int) -> dict:
    return {"step": 10 * epoch, "epoch": epoch, "loss": 1 / epoch, "seconds": 0.5}


def test_rows_after_the_epoch_of_a_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "log.csv"
    for stage in ("tower", "shuffled"):
        log = Log(path, stage, 0)
        for epoch in (1, 2, 3):
            log.write(row(epoch))
    with path.open("a") as handle:
        handle.write("tower,40")  # a kill in the middle of a row
    log = Log(path, "tower", 2)
    log.write(row(3))
    log.close()
    with path.open(newline="") as handle:
        found = [(r["stage"], int(r["epoch"])) for r in csv.DictReader(handle)]
    assert sorted(found) == sorted((s, e) for s in ("tower", "shuffled") for e in (1, 2, 3))
    assert found[-1] == ("tower", 3)


def test_tensorboard_that_is_missing_is_said_before_anything_is_read(prepared, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NeurovisError, match=r'tensorboard .*pip install "neurovis\[log\]"'):
        train.main(experiment(prepared, tensorboard=True), prepared.parent / "nothing")
    assert not (prepared.parent / "nothing").exists()


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="no tensorboard")
def test_tensorboard_shows_the_numbers_of_the_log(prepared, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = experiment(prepared, tensorboard=True, train={"epochs": 3})
    run = train.main(config, tmp_path, quiet=True)
    assert run == train.main(experiment(prepared, train={"epochs": 3}), tmp_path, quiet=True)
    shown = EventAccumulator(str(run / "tensorboard" / "tower")).Reload()
    with (run / "log.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for name in ("loss", "validation_loss", "validation_top5"):
        scalars = shown.Scalars(name)
        assert [s.step for s in scalars] == [1, 2, 3]
        expected = [float(r[name]) for r in rows]
        assert [s.value for s in scalars] == pytest.approx(expected, abs=1e-5)
