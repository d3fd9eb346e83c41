"""Training: learns what is planted and nothing else, resumes as if undisturbed, never looks at test trials."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, write_prepared

from neurovis import keep, predict, train, turns
from neurovis.batches import Data, Recordings, seed_of, shuffled
from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import evaluate_run
from neurovis.experiment import Experiment
from neurovis.experiment import Train as Options
from neurovis.records import Embeddings, Prediction, Split, Trials, opened
from neurovis.store import is_complete, load_tensors

TOWER = {"name": "conv", "n_virtual": 8, "n_harmonics": 4, "n_hidden": 16, "n_blocks": 1}
TOWER |= {"n_features": 32}


def experiment(folder: Path, **changes) -> Experiment:
    fields = {
        "name": "tiny",
        "data": {"path": str(folder)},
        "targets": {"image": {"encoder": "planted", "embeddings": str(folder / "embeddings.h5")}},
        "brain": TOWER,
        "train": {"epochs": 5, "batch_size": 50, "lr": 3e-3},
        "control": "none",
        "device": "cpu",
    }
    train_ = {**fields["train"], **changes.pop("train", {})}
    data = {**fields["data"], **changes.pop("data", {})}
    return build(Experiment, {**fields, "train": train_, "data": data, **changes})


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The order of sums depends on the number of threads; bits are compared here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A prepared folder that a tiny tower decodes in seconds."""
    return write_prepared(tmp_path_factory.mktemp("planted") / "p", n_train=120, n_test=30)


@pytest.fixture(scope="module")
def undisturbed(planted, tmp_path_factory):
    """A short run that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed")
    return train.main(experiment(planted), out, quiet=True)


def same_run(first: Path, second: Path) -> None:
    """Weights and predictions are the same, bit by bit."""
    a, b = (load_tensors(run / "model.safetensors") for run in (first, second))
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name
    for system in ("tower", "ridge"):
        a, b = (Prediction.read(r / "systems" / system / "prediction.h5") for r in (first, second))
        np.testing.assert_array_equal(a.vector["image"], b.vector["image"])
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.n_averaged, b.n_averaged)


# ---- it learns what is there, and the control does not


def test_the_tower_finds_what_is_planted_and_the_control_finds_nothing(planted, tmp_path):
    config = experiment(planted, train={"epochs": 25}, control="tower")
    run = train.main(config, tmp_path, quiet=True)
    scores = evaluate_run(run, quiet=True)
    best = {}
    for score in scores:
        about = score.about
        if about["subject"] == "all" and about["n_averaged"] == 4 and "comparison" not in about:
            best[about["system"], score.name] = score
    assert best["tower", "top5"].chance == pytest.approx(5 / 30)
    assert best["tower", "top5"].low > 0.5
    assert best["ridge", "top5"].low > 0.7
    assert best["shuffled", "top5"].low <= 5 / 30
    assert best["shuffled", "top5"].value < 0.35
    assert 0.3 < best["shuffled", "2-way"].value < 0.7
    with (run / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    losses = [float(row["loss"]) for row in rows if row["stage"] == "tower"]
    assert losses[-1] < 0.7 * losses[0]
    assert {row["stage"] for row in rows} == {"tower", "shuffled"}


def test_a_run_stands_alone(undisturbed, planted):
    names = {p.relative_to(undisturbed).as_posix() for p in undisturbed.rglob("*") if p.is_file()}
    for name in ["config.yaml", "provenance.json", "split.json", "stimuli.csv", "log.csv"]:
        assert name in names
    for name in ["model.safetensors", "gallery/image.h5", "pictures.h5", "evoked.h5"]:
        assert name in names
    assert not any("checkpoint" in name or "partial" in name for name in names)
    for name in ("config.yaml", "provenance.json"):
        found = (undisturbed / name).read_text()
        assert str(planted.parent) not in found
    said = Prediction.read(undisturbed / "systems" / "tower" / "prediction.h5")
    test = set(Split.read(planted / "split.json").test)
    assert set(said.image) == test
    single = said.n_averaged == 1
    assert single.sum() == 2 * 30 * 4
    assert (said.n_averaged == 2).sum() == 2 * 30 * 4  # four draws
    assert (said.n_averaged == 4).sum() == 2 * 30  # all that there are
    assert set(said.subject) == {"01", "02"}
    assert Embeddings.read(undisturbed / "gallery" / "image.h5").image.tolist() == sorted(test)


# ---- the same result whatever happens meanwhile

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from neurovis import keep, log, train
from neurovis.config import build, load_yaml
from neurovis.experiment import Experiment

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

where = sys.argv[3]
if where == "finish":
    keep._pictures = die
else:
    write = log.Log.write
    def then(self, row):
        write(self, row)
        if row["epoch"] == int(where):
            die()
    log.Log.write = then
train.main(build(Experiment, load_yaml(sys.argv[1])), Path(sys.argv[2]), quiet=True)
"""


def test_a_killed_run_goes_on_to_the_same_result(planted, undisturbed, tmp_path):
    from neurovis.config import write_yaml

    write_yaml(tmp_path / "e.yaml", experiment(planted))
    # killed between the log and the checkpoint of epoch 3, then while the last files are written
    for where in ("3", "finish"):
        words = [sys.executable, "-c", KILLED, str(tmp_path / "e.yaml"), str(tmp_path), where]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        (left,) = (tmp_path / "runs").iterdir()
        assert left.name.endswith(".partial")
        if where == "3":
            assert (left / "checkpoint-tower.pt").is_file()
            assert not list(left.glob("systems/*/prediction.h5"))
    run = train.main(experiment(planted), tmp_path, quiet=True)
    same_run(run, undisturbed)
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [undisturbed.name]
    with (run / "log.csv").open() as handle:
        epochs = [int(row["epoch"]) for row in csv.DictReader(handle)]
    assert epochs == [1, 2, 3, 4, 5]


WITHIN = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from neurovis import train
from neurovis.config import build, load_yaml
from neurovis.experiment import Experiment

train.Checkpoint.due = lambda *_: True
step, calls = train.backward, []

def counted(*arguments):
    calls.append(1)
    if len(calls) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)

train.backward = counted
train.main(build(Experiment, load_yaml(sys.argv[1])), Path(sys.argv[2]), quiet=True)
"""


def test_a_run_killed_within_an_epoch_goes_on_with_the_next_step(planted, undisturbed, tmp_path):
    from neurovis.config import write_yaml

    write_yaml(tmp_path / "e.yaml", experiment(planted))
    words = [sys.executable, "-c", WITHIN, str(tmp_path / "e.yaml"), str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = (tmp_path / "runs").iterdir()
    state = torch.load(left / "checkpoint-tower.pt", weights_only=True)["state"]
    assert (state["epoch"], state["within"], state["step"]) == (1, 1, 5)  # four steps an epoch
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        plain = train.backward
        patch.setattr(train, "backward", lambda *a: steps.append(1) or plain(*a))
        run = train.main(experiment(planted), tmp_path, quiet=True)
    assert len(steps) == 5 * 4 - 5
    same_run(run, undisturbed)
    logs = [(r / "log.csv").read_text().splitlines() for r in (run, undisturbed)]
    # all but the seconds, and the share of them that data were waited for
    one, two = ([line.rsplit(",", 2)[0] for line in log] for log in logs)
    assert one == two


def test_the_log_says_how_long_data_were_waited_for(undisturbed):
    with (undisturbed / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 5
    assert all(0 <= float(row["waited"]) < 1 for row in rows)


@pytest.mark.parametrize("good", [8, 1])
def test_a_loss_that_is_nan_stops_and_the_run_goes_on(
    good, planted, undisturbed, tmp_path, monkeypatch
):
    augmented, calls = train.augmented, []

    def broken(signal, *rest):
        calls.append(1)
        signal = augmented(signal, *rest)
        if len(calls) > good:
            signal[3] = np.nan
        return signal

    with monkeypatch.context() as patch:
        patch.setattr(train, "augmented", broken)
        with pytest.raises(NeurovisError, match=r"lower train\.lr") as error:
            train.main(experiment(planted), tmp_path, quiet=True)
    epoch, batch = 1 + good // 4, 1 + good % 4
    words = (
        rf"the loss is nan at epoch {epoch}, batch {batch} of 4, where \d+ of \d+ predictions are "
    )
    assert re.search(words + "no numbers, the first of image 'concept", str(error.value))
    (left,) = (tmp_path / "runs").iterdir()
    kept = left / "checkpoint-tower.pt"
    assert kept.is_file() == ("last good checkpoint is kept" in str(error.value)) == (epoch > 1)
    if kept.is_file():
        saved = torch.load(kept, weights_only=True)
        assert 1 <= saved["state"]["epoch"] < epoch
        assert all(bool(torch.isfinite(v).all()) for v in saved["model"].values())
    same_run(train.main(experiment(planted), tmp_path, quiet=True), undisturbed)


def test_weights_that_diverge_in_the_last_batch_of_an_epoch_are_not_kept(
    planted, tmp_path, monkeypatch
):
    """Only the validation loss sees them."""
    steps, step = [], torch.optim.AdamW.step

    def diverge(self, *rest):
        step(self, *rest)
        steps.append(1)
        if len(steps) == 8:
            self.param_groups[0]["params"][0].data.fill_(torch.nan)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", diverge)
        with pytest.raises(NeurovisError, match=r"the validation loss is nan at epoch 2; the last"):
            train.main(experiment(planted), tmp_path, quiet=True)
    (left,) = (tmp_path / "runs").iterdir()
    saved = torch.load(left / "checkpoint-tower.pt", weights_only=True)
    assert saved["state"]["epoch"] == 1
    assert all(bool(torch.isfinite(v).all()) for v in saved["model"].values())


@pytest.mark.parametrize("loss", ["schedule", "hedged"])
def test_losses_that_change_the_loop_train_and_resume(loss, planted, tmp_path, monkeypatch):
    """Mixed signals, soft targets, a head of spreads: killed or not, the same weights."""
    config = experiment(planted, loss=loss, train={"epochs": 3})
    whole = train.main(config, tmp_path / "whole", quiet=True)
    write, rows = train.Log.write, []

    def killed(self, row):
        write(self, row)
        rows.append(row)
        if len(rows) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.Log, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            train.main(config, tmp_path / "parts", quiet=True)
    same_run(train.main(config, tmp_path / "parts", quiet=True), whole)
    names = load_tensors(whole / "model.safetensors")
    assert any(name.startswith("spread.") for name in names) == (loss == "hedged")


def test_signals_are_mixed_within_subjects_and_their_images_told(planted, tmp_path, monkeypatch):
    from neurovis.losses.mixco import Mixco

    batches, made = [], []
    averages, mix = Recordings.averages, Mixco.mix

    def reading(self, items):
        block = averages(self, items)
        made.append((np.array([s for s, _ in items]), block.copy()))
        return block

    def mixing(self, generator, group, done):
        found = mix(self, generator, group, done)
        batches.append((group, done, *found))
        return found

    seen = []
    monkeypatch.setattr(Mixco, "mix", mixing)
    monkeypatch.setattr(Recordings, "averages", reading)
    forward = turns.image_side

    def watched(*args, **options):
        model = forward(*args, **options)
        inner = model.forward

        def told(signal, *rest):
            if model.training:
                seen.append(signal.clone().numpy())
            return inner(signal, *rest)

        model.forward = told
        return model

    monkeypatch.setattr(turns, "image_side", watched)
    config = experiment(planted, loss="mixco", train={"epochs": 1}, control="none")
    train.main(config, tmp_path, quiet=True)
    assert [done for _, done, *_ in batches] == [0, 0.25, 0.5, 0.75]
    for (group, _, partner, weight), (subject, block), given in zip(batches, made, seen):
        assert (subject[partner] == subject).all()
        assert len(np.unique(group)) == len(np.unique(subject)) == 2
        w = weight[:, None, None]
        np.testing.assert_allclose(given, w * block + (1 - w) * block[partner], atol=1e-5)
        assert (weight < 1).any()


def test_signals_from_disk_give_the_same_weights(planted, undisturbed, tmp_path):
    run = train.main(experiment(planted, data={"memory": 0}), tmp_path, quiet=True)
    same_run(run, undisturbed)


def test_a_complete_run_is_reused(planted, undisturbed, monkeypatch):
    out = undisturbed.parents[1]
    monkeypatch.setattr(train, "fit", None)
    for how in ({}, {"device": "auto"}, {"data": {"memory": 1.0}}):
        assert train.main(experiment(planted, **how), out, quiet=True) == undisturbed


def test_what_changes_the_numbers_changes_the_folder(planted, tmp_path):
    recordings = Recordings(Data(path=str(planted)))
    recordings.close()
    write_embeddings = Embeddings.read(planted / "embeddings.h5")
    other = tmp_path / "other.h5"
    Embeddings(-write_embeddings.vector, write_embeddings.image).write(other)
    folders = set()
    for changes in (
        {},
        {"seed": 1},
        {"train": {"lr": 1e-3}},
        {"brain": {**TOWER, "n_blocks": 2}},
        {"data": {"subjects": ("01",)}},
        {"targets": {"image": {"encoder": "planted", "embeddings": str(other)}}},
    ):
        folders.add(folder_of(experiment(planted, **changes), tmp_path))
    assert len(folders) == 6


def folder_of(config, out):
    """The folder a run would go to, found by stopping at its door."""

    class Door(Exception):
        pass

    def stop(folder):
        raise Door(str(folder))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            train, "is_complete", lambda f: stop(f) if "runs" in str(f) else is_complete(f)
        )
        with pytest.raises(Door) as found:
            train.main(config, out, quiet=True)
    return str(found.value)


def test_never_resuming_starts_over(planted, tmp_path, monkeypatch):
    config = experiment(planted, train={"epochs": 1}, brain="ridge")
    with monkeypatch.context() as patch:
        patch.setattr(keep, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train.main(config, tmp_path, quiet=True)
    (left,) = (tmp_path / "runs").iterdir()
    (left / "stale").mkdir()
    (left / "stale" / "old.txt").write_text("left by the run before")
    run = train.main(config, tmp_path, resume=False, quiet=True)
    assert not (run / "stale").exists()


# ---- honesty


def test_nothing_of_the_test_set_changes_what_is_learned(planted, undisturbed, tmp_path):
    import shutil

    other = tmp_path / "p"
    shutil.copytree(planted, other)
    test = Split.read(other / "split.json").test
    rng = np.random.default_rng(9)
    for path in other.glob("sub-*/trials.h5"):
        with opened(path) as old:
            fields = {k: v for k, v in vars(old).items() if k != "signal"}
            block = old.read()
        rows = np.isin(fields["image"], test)
        assert rows.any()
        block[rows] = 30 + 5 * rng.standard_normal(block[rows].shape)
        Trials(block, **fields).write(path)
    found = Embeddings.read(other / "embeddings.h5")
    vector = found.vector.copy()
    vector[np.isin(found.image, test)] *= -7
    Embeddings(vector, found.image, found.encoder).write(other / "embeddings.h5")
    run = train.main(experiment(other), tmp_path, quiet=True)
    for name in ("model.safetensors", "systems/ridge/model.safetensors"):
        a, b = load_tensors(run / name), load_tensors(undisturbed / name)
        for key, value in a.items():
            assert torch.equal(value, b[key]), key


def test_fitting_reads_training_and_validation_trials_alone(planted, tmp_path, monkeypatch):
    config = experiment(planted, train={"epochs": 2}, control="tower")
    seen, inside = [], []
    read, fit, ridge = Recordings.read, train.fit, predict.closed_form
    allowed = {}

    def reading(self, subject, rows):
        if inside:
            seen.append((subject, np.arange(len(self.trials[subject]))[rows]))
            split = self.folds[0]
            sides = [split.rows(side, self.trials[subject]) for side in ("train", "validation")]
            allowed[subject] = set(np.concatenate(sides).tolist())
        return read(self, subject, rows)

    def fitting(*args, **kwargs):
        inside.append(1)
        try:
            return fit(*args, **kwargs)
        finally:
            inside.pop()

    monkeypatch.setattr(Recordings, "read", reading)
    monkeypatch.setattr(train, "fit", fitting)
    train.main(config, tmp_path, quiet=True)
    assert ridge is predict.closed_form
    assert {subject for subject, _ in seen} == {0, 1}
    for subject, rows in seen:
        assert set(rows.tolist()) <= allowed[subject]


def test_the_control_keeps_repeats_together(planted):
    recordings = Recordings(Data(path=str(planted)))
    split = recordings.folds[0]
    for single in (False, True):
        items, images = recordings.items(split, "train", single=single)
        other = shuffled(images, items, recordings, split, seed=3)
        assert sorted(set(other)) == sorted(set(images))
        assert (other != images).mean() > 0.9
        assert len(set(zip(images, other))) == len(set(images))
        again = shuffled(images, items, recordings, split, seed=3)
        np.testing.assert_array_equal(other, again)
    recordings.close()


# ---- refusals


def test_an_empty_validation_side_is_refused(tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=12, n_test=3)
    split = Split.read(folder / "split.json")
    Split(split.train, [], split.test).write(folder / "split.json")
    with pytest.raises(NeurovisError, match=r"split\.json: validation is empty"):
        train.main(experiment(folder), tmp_path, quiet=True)


@pytest.mark.parametrize("loss", ["clip", "sigmoid", "clip_mse"])
def test_batches_without_negatives_are_refused(loss, planted, tmp_path):
    alone = experiment(planted, loss=loss, train={"batch_size": 1, "epochs": 1})
    with pytest.raises(NeurovisError, match=f"batch_size, loss {loss}: .* found batches of 1"):
        train.main(alone, tmp_path, quiet=True)


def test_regression_learns_from_single_rows(planted, tmp_path):
    alone = experiment(planted, loss="mse", train={"batch_size": 1, "epochs": 5})
    run = train.main(alone, tmp_path, quiet=True)
    with open(run / "log.csv", encoding="utf-8", newline="") as file:
        judged = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    # what is planted is found: what says nothing has the variance as its error
    truth = Embeddings.read(planted / "embeddings.h5").vector
    assert min(judged) < 0.8 * truth.var(0).mean()


def test_a_folder_that_is_not_finished_is_refused(tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=12, n_test=3)
    (folder / "provenance.json").unlink()
    with pytest.raises(NeurovisError, match="did not finish; run it again"):
        train.main(experiment(folder), tmp_path, quiet=True)


def test_embeddings_that_are_missing_or_lack_an_image_are_refused(planted, tmp_path):
    def target(path):
        return {"image": {"encoder": "planted", "embeddings": str(path)}}

    with pytest.raises(NeurovisError, match=r"absent\.h5: no such file"):
        train.main(experiment(planted, targets=target("absent.h5")), tmp_path, quiet=True)
    found = Embeddings.read(planted / "embeddings.h5")
    Embeddings(found.vector[1:], found.image[1:]).write(tmp_path / "few.h5")
    with pytest.raises(
        NeurovisError, match=f"1 of 150 images have no vector, the first is '{found.image[0]}'"
    ):
        train.main(experiment(planted, targets=target(tmp_path / "few.h5")), tmp_path, quiet=True)


def test_more_repeats_than_there_are_is_refused(planted, tmp_path):
    config = experiment(planted, predict={"repeats": (5,)}, brain="ridge")
    with pytest.raises(NeurovisError, match=r"predict\.repeats: expected at most 4.*found 5"):
        train.main(config, tmp_path, quiet=True)


def test_devices_that_are_not_there_are_refused(monkeypatch):
    with pytest.raises(UsageError, match="expected auto, cpu or cuda, found 'gpu'"):
        train.choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train.choose_device("auto").type == "cpu"
    with pytest.raises(UsageError, match="torch finds no GPU"):
        train.choose_device("cuda")


# ---- small parts


def test_augmentation_shifts_and_adds_noise(planted):
    recordings = Recordings(Data(path=str(planted)))
    block = recordings.read(0, np.arange(50))
    plain = train.augmented(block, Options(), recordings, 1)
    np.testing.assert_array_equal(plain, block)
    shifted = train.augmented(block, Options(shift=0.03), recordings, 1)
    np.testing.assert_array_equal(
        shifted, train.augmented(block, Options(shift=0.03), recordings, 1)
    )
    found = set()
    for before, after in zip(block, shifted):
        columns = np.arange(20)
        fits = [
            s for s in range(-3, 4) if np.array_equal(after, before[:, np.clip(columns - s, 0, 19)])
        ]
        assert len(fits) == 1
        found |= set(fits)
    assert found == set(range(-3, 4))
    noisy = train.augmented(block, Options(noise=0.5), recordings, 1)
    assert (noisy - block).std() == pytest.approx(0.5 * block.std(), rel=0.05)
    recordings.close()


def test_random_averages_use_a_part_of_the_repeats():
    rng = np.random.default_rng(0)
    item = (1, np.arange(4))
    assert train.pick(item, "all", rng)[1] is item[1]
    sizes = set()
    for _ in range(100):
        subject, rows = train.pick(item, "random", rng)
        assert subject == 1
        assert len(set(rows.tolist())) == len(rows)
        sizes.add(len(rows))
    assert sizes == {1, 2, 3, 4}


def test_the_rate_rises_and_falls():
    rate = [train.one_cycle(x, 0.1) for x in np.linspace(0, 1, 101)]
    assert max(rate) == pytest.approx(1, abs=1e-3)
    assert np.argmax(rate) == 10
    assert (np.diff(rate[:10]) > 0).all()
    assert (np.diff(rate[11:]) < 0).all()
    assert 0 < rate[-1] < 1e-3


def test_averaged_weights_are_used_and_taken_back():
    model = torch.nn.BatchNorm1d(3)
    shadow = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        model.weight += 1
    train.average_into(shadow, model, 0.9, 1000)
    torch.testing.assert_close(shadow["weight"], torch.full((3,), 1.1))
    train.use(model, shadow, 0.9)
    torch.testing.assert_close(model.weight.detach(), torch.full((3,), 1.1))
    train.restore(model, 0.9)
    torch.testing.assert_close(model.weight.detach(), torch.full((3,), 2.0))
    train.average_into(shadow, model, 0.0, 1)
    assert torch.equal(shadow["weight"], model.weight)


def test_seeds_differ_by_name_and_stay():
    assert seed_of(0, "tower") != seed_of(0, "shuffled")
    assert seed_of(0, "tower") == seed_of(0, "tower")
    assert seed_of(0, "tower") != seed_of(1, "tower")
