"""Who trains and who is tested: nobody left out is seen, layers of the unseen are what is said."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.planted import (
    INVERTED,
    TOWER,
    decoder_of,
    experiment,
    pooled,
    rewrite,
    run_of,
    same,
    setup_of,
    weights,
    write_alike,
)

from neurovis import train, turns
from neurovis.batches import Recordings, View
from neurovis.brain.base import BrainEncoder
from neurovis.brain.ridge import Ridge
from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import evaluate_run, read_scores
from neurovis.records import Prediction, Split, opened
from neurovis.report import report_run
from neurovis.store import read_json
from neurovis.subsets import Limit


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The order of sums depends on the number of threads; bits are compared here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """Three subjects who answer alike."""
    return write_alike(tmp_path_factory.mktemp("alike") / "p")


@pytest.fixture
def own(alike, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(alike, tmp_path / "p")
    return tmp_path / "p"


def montage_of_03(folder: Path) -> None:
    """Subject 03 lacks two channels, has one that nobody else has, and another order."""
    path = folder / "sub-03" / "trials.h5"
    with opened(path) as old:
        block, names = old.read(), old.channel_name.copy()
        kinds, places = old.channel_type, old.channel_position
    names[5] = "ONLY03"
    order = np.random.default_rng(0).permutation(12)
    order = order[order != 7]
    rewrite(path, signal=block[:, order], channel_name=names[order], channel_type=kinds[order],
            channel_position=places[order])  # fmt: skip


# ---- one model per subject, and one without each


def test_a_subject_of_its_own_gets_the_model_it_gets_alone(alike, tmp_path):
    run = run_of(alike, tmp_path, subjects="single")
    alone = run_of(alike, tmp_path, data={"subjects": ("02",)})
    same(weights(run / "model-02.safetensors"), weights(alone / "model.safetensors"))
    a, b = (Prediction.read(r / "systems/tower/prediction.h5") for r in (run, alone))
    assert set(a.subject) == {"01", "02", "03"}
    for rows, other in (
        ((a.subject == "02") & (a.n_averaged == n), b.n_averaged == n) for n in (1, 4)
    ):
        np.testing.assert_array_equal(a.image[rows], b.image[other])
        np.testing.assert_array_equal(a.vector["image"][rows], b.vector["image"][other])
    # each subject is scored in its own model's gallery
    apart, lone = pooled(run, subject="02"), pooled(alone)
    for system in ("tower", "ridge"):
        assert apart[system].value == lone[system].value
        assert apart[system].protocol == "clean; one model per subject"
    assert lone["tower"].protocol == "clean"


def test_a_subject_left_out_is_tested_with_the_others_joint_model(alike, tmp_path):
    run = run_of(alike, tmp_path, subjects="leave_one_out")
    others = run_of(alike, tmp_path, data={"subjects": ("02", "03")})
    trained = weights(run / "model-without-01.safetensors")
    # started afresh, no trial of 01: bit by bit what the two others give without it
    same(trained, weights(others / "model.safetensors"))
    assert read_json(run / "shape-without-01.json")["subjects"] == ["02", "03"]
    # 01 is decoded through the mean of their layers
    setup = setup_of(alike, others)
    mean = trained["tower.subject.weight"].mean(0, keepdim=True)
    model = decoder_of(setup, ("01",), {**trained, "tower.subject.weight": mean})
    recordings = setup.recordings
    said = Prediction.read(run / "systems/tower/prediction.h5")
    rows = np.flatnonzero((said.subject == "01") & (said.n_averaged == 4))
    with opened(alike / "sub-01" / "trials.h5") as trials:
        block = np.stack([trials.read(trials.image == i).mean(0) for i in said.image[rows]])
    present = torch.ones(len(rows), recordings.n_chans, dtype=torch.bool)
    with torch.inference_mode():
        expected = model(torch.from_numpy(block), torch.zeros(len(rows), dtype=int), present)
    np.testing.assert_allclose(said.vector["image"][rows], expected["image"], atol=1e-5)
    recordings.close()


@pytest.mark.parametrize("kind", ["leave_one_out", {"name": "new", "images": 30}])
def test_training_never_reads_the_subject_left_out(alike, tmp_path, monkeypatch, kind):
    seen, inside = [], []
    stored, fit = Recordings._stored, train.fit

    def reading(self, subject, rows):
        if inside:
            trials = self.trials[subject]
            seen.append((inside[-1], self.subjects[subject], np.arange(len(trials))[rows]))
        return stored(self, subject, rows)

    def fitting(setup, *args, **kwargs):
        inside.append(setup.part)
        try:
            return fit(setup, *args, **kwargs)
        finally:
            inside.pop()

    monkeypatch.setattr(Recordings, "_stored", reading)
    monkeypatch.setattr(train, "fit", fitting)
    run_of(alike, tmp_path, subjects=kind, control="tower", train={"epochs": 1})
    split = Split.read(alike / "split.json")
    with opened(alike / "sub-01" / "trials.h5") as trials:
        test = set(split.rows("test", trials).tolist())
        images = trials.image
    parts = {part for part, _, _ in seen}
    assert {f"-without-0{i}" for i in (1, 2, 3)} <= parts
    for part, subject, rows in seen:
        assert not test & set(rows.tolist())
        _, what, who = part.split("-")
        assert (subject == who) == (what == "new")
    if isinstance(kind, dict):
        used = np.concatenate([rows for part, _, rows in seen if "new" in part])
        assert len(set(images[used]) & set(split.train)) == 30
        assert 0 < len(set(images[used]) & set(split.validation)) < len(split.validation)


def test_what_others_teach_is_found_and_shuffled_labels_teach_nothing(alike, tmp_path):
    kind = {"name": "leave_one_out", "test": ("01", "02")}
    run = run_of(alike, tmp_path, subjects=kind, train={"epochs": 12, "lr": 1e-2}, control="tower")
    found = pooled(run)
    assert found["tower"].chance == 0.25
    assert found["tower"].low > 0.5
    assert found["ridge"].low > 0.5
    assert found["shuffled"].low <= 0.25
    assert "leave one subject out" in found["tower"].protocol
    assert {s.about["subject"] for s in read_scores(run)} == {"all", "01", "02"}
    page = report_run(run, quiet=True).read_text()
    assert "leave one subject out" in page
    assert "2 trainings" in page
    assert "play no part" in page
    assert 'role="note"' not in page  # nothing to warn of


@pytest.mark.parametrize("unseen", ["mean", "shared"])
def test_closed_form_starts_and_closed_forms_serve_the_subject_left_out(alike, tmp_path, unseen):
    kind = {"name": "leave_one_out", "unseen": unseen}
    run = run_of(alike, tmp_path, subjects=kind, brain=INVERTED)
    found = pooled(run)
    assert found["tower"].low > 0.4
    trained = weights(run / "model-without-01.safetensors")
    assert len(trained["tower.filters"]) == (2 if unseen == "mean" else 1)
    assert read_json(run / "shape-without-01.json")["subjects"] == (
        ["02", "03"] if unseen == "mean" else ["all"]
    )
    words = {"mean": "mean of the training subjects'", "shared": "one layer for all subjects"}
    assert words[unseen] in found["tower"].protocol


def test_a_shared_start_is_that_of_one_subject_with_all_trials(alike, tmp_path):
    kind = {"name": "leave_one_out", "unseen": "shared", "test": ("03",)}
    run = run_of(alike, tmp_path, subjects=kind, brain=INVERTED, train={"epochs": 1})
    # the two training subjects as one: their trials below each other
    merged = tmp_path / "merged"
    shutil.copytree(alike, merged)
    for who in ("02", "03"):
        shutil.rmtree(merged / f"sub-{who}")
    with opened(alike / "sub-01" / "trials.h5") as a, opened(alike / "sub-02" / "trials.h5") as b:
        both = np.concatenate([a.read(), b.read()])
        columns = {
            n: np.concatenate([getattr(a, n), getattr(b, n)])
            for n in ("image", "session", "run", "set", "onset")
        }
    rewrite(merged / "sub-01" / "trials.h5", signal=both, **columns)
    alone = run_of(merged, tmp_path, brain=INVERTED, train={"epochs": 1})
    a = weights(run / "model-without-03.safetensors")["tower.filters"]
    b = weights(alone / "model.safetensors")["tower.filters"]
    # signs are fixed, blocks of trials are not: sums differ by rounding
    torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3 * float(b.abs().max()))


def test_ridge_of_the_others_is_fitted_on_their_rows_together(alike, tmp_path):
    run = run_of(alike, tmp_path, subjects="leave_one_out", brain="ridge", baseline="ridge")
    said = Prediction.read(run / "systems/ridge/prediction.h5")
    tower = Prediction.read(run / "systems/tower/prediction.h5")
    np.testing.assert_array_equal(said.vector["image"], tower.vector["image"])
    setup = setup_of(alike, tmp_path)
    recordings, split = setup.recordings, setup.split
    signal, truth, shown = [], [], []
    for number in (0, 2):
        for side in ("train", "validation"):
            items, images = recordings.items(split, side)
            mine = [i for i, (subject, _) in enumerate(items) if subject == number]
            signal.append(recordings.averages([items[i] for i in mine]))
            truth.append(setup.truth(images[mine])["image"])
            shown.append(images[mine])
    parts = (np.concatenate(some) for some in (signal, truth, shown))
    model = Ridge().build().fit(*parts)
    rows = np.flatnonzero((said.subject == "02") & (said.n_averaged == 1))
    with opened(alike / "sub-02" / "trials.h5") as trials:
        expected = model.predict(trials.read(split.rows("test", trials)))
    np.testing.assert_allclose(said.vector["image"][rows], expected, atol=1e-4)
    recordings.close()


# ---- layers of a subject that was not trained


class Twins(BrainEncoder):
    """A linear map per subject in a list of modules, and something shared."""

    odd: bool = False

    def build(self, shape):
        """See `BrainEncoder.build`."""
        config, size = self, shape.n_chans * shape.n_times

        class Tower(torch.nn.Module):
            """A linear map per subject."""

            def __init__(self):
                super().__init__()
                self.layers = torch.nn.ModuleList(torch.nn.Linear(size, 8) for _ in shape.subjects)
                self.token = torch.nn.Embedding(len(shape.subjects), 8)
                self.shared = torch.nn.Linear(8, 8)
                if config.odd:
                    self.pairs = torch.nn.Parameter(torch.ones(len(shape.subjects) ** 2))

            def forward(self, signal, subject, present):
                """Targets of a batch."""
                x = signal.flatten(1)
                said = torch.stack([self.layers[s](one) for s, one in zip(subject.tolist(), x)])
                return {"image": self.shared(said) + self.token(subject)}

        return Tower()


def test_tensors_of_a_subject_are_found_however_a_tower_keeps_them(alike, tmp_path):
    setup = setup_of(alike, tmp_path, brain="test_turns:Twins")
    found = turns.subject_tensors(setup)
    assert found == {
        "tower.layers.0.weight": ("tower.layers.0.weight", "tower.layers.1.weight"),
        "tower.layers.0.bias": ("tower.layers.0.bias", "tower.layers.1.bias"),
        "tower.token.weight": ("tower.token.weight",),
    }
    model, _ = turns.build(setup)
    state = model.state_dict()
    base = setup.recordings
    other = turns.stand_in(setup, model, replace(setup, recordings=View(base, (0,))))
    mean = torch.stack([state[f"tower.layers.{i}.weight"] for i in range(3)]).mean(0)
    torch.testing.assert_close(other.state_dict()["tower.layers.0.weight"], mean)
    torch.testing.assert_close(
        other.state_dict()["tower.token.weight"], state["tower.token.weight"].mean(0, keepdim=True)
    )
    assert torch.equal(other.tower.shared.weight, model.tower.shared.weight)
    before = torch.random.get_rng_state()
    turns.stand_in(setup, model, replace(setup, recordings=View(base, (0,))))
    assert torch.equal(before, torch.random.get_rng_state())
    base.close()


def test_layers_that_have_no_mean_are_refused(alike, tmp_path):
    brain = {"name": "test_turns:Twins", "odd": True}
    with pytest.raises(UsageError, match=r"'tower\.pairs' for each subject in a way .*no mean"):
        run_of(alike, tmp_path, brain=brain, subjects="leave_one_out")


# ---- a new subject


def test_a_subject_layer_alone_is_tuned(alike, tmp_path):
    kind = {"name": "new", "images": 40, "tune": "subject", "test": ("01",), "epochs": 4}
    run = run_of(alike, tmp_path, subjects=kind)
    before, after = (weights(run / f"model-{k}-01.safetensors") for k in ("without", "new"))
    moved = {
        k
        for k, v in after.items()
        if v.dtype.is_floating_point
        and not torch.equal(
            v, before[k].mean(0, keepdim=True) if k.endswith("subject.weight") else before[k]
        )
    }
    running = {k for k in after if "running" in k}
    assert moved == {"tower.subject.weight"} | running
    with (run / "log.csv").open() as handle:
        epochs = [r["stage"] for r in csv.DictReader(handle)]
    assert epochs.count("tower-new-01") == 4
    assert epochs.count("tower-without-01") == 3
    (score,) = {s.protocol for s in evaluate_run(run, quiet=True)}
    assert "the subject layer tuned on 40 training images" in score


def test_all_weights_are_tuned_and_the_baseline_has_the_new_subjects_data_alone(alike, tmp_path):
    kind = {"name": "new", "minutes": 1.55, "test": ("01",), "lr": 3e-3}
    run = run_of(alike, tmp_path, subjects=kind, train={"epochs": 12, "lr": 1e-2})
    before, after = (weights(run / f"model-{k}-01.safetensors") for k in ("without", "new"))
    assert not torch.equal(before["tower.mix.weight"], after["tower.mix.weight"])
    assert pooled(run)["tower"].low > 0.5
    setup = setup_of(alike, tmp_path)
    limit, trials = Limit(minutes=1.55), setup.recordings.trials[0]
    signal, truth = [], []
    for side in ("train", "validation"):
        rows = limit.rows(setup.split, side, trials)
        assert len(rows)
        names = np.unique(trials.image[rows])
        signal += [trials.read(rows[trials.image[rows] == n]).mean(0) for n in names]
        truth.append(setup.truth(names)["image"])
    model = Ridge().build().fit(np.stack(signal), np.concatenate(truth))
    kept = weights(run / "systems/ridge/model-new-01.safetensors")
    np.testing.assert_allclose(kept["01/coef"], model.coef_, atol=1e-5)
    setup.recordings.close()


def test_a_new_subject_needs_a_limit_a_layer_and_enough_trials(alike, tmp_path):
    with pytest.raises(UsageError, match="expected images or minutes"):
        experiment(alike, subjects={"name": "new", "images": None})
    assert experiment(alike, subjects="new").subjects.limit == Limit(images=100)
    kind = {"name": "new", "minutes": 2}
    assert experiment(alike, subjects=kind).subjects.limit == Limit(minutes=2)
    kind = {"name": "new", "images": 40, "tune": "subject"}
    brain = {"name": "braindecode", "model": "ShallowFBCSPNet"}
    brain |= {"options": {"filter_time_length": 3, "pool_time_length": 3, "pool_time_stride": 1}}
    with pytest.raises(UsageError, match="has no subject layer to tune"):
        run_of(alike, tmp_path, subjects=kind, brain=brain, train={"epochs": 1})
    with pytest.raises(NeurovisError, match=r"first 0\.5 min of sub-01 .*validation side"):
        run_of(alike, tmp_path, subjects={"name": "new", "minutes": 0.5})


# ---- channels that differ, subjects that lack something


@pytest.mark.parametrize("kind", ["leave_one_out", {"name": "new", "images": 40, "tune": "all"}])
@pytest.mark.parametrize("brain", [TOWER, INVERTED])
def test_montages_may_differ(own, tmp_path, kind, brain):
    montage_of_03(own)
    run = run_of(own, tmp_path, subjects=kind, brain=brain)
    found = pooled(run)
    assert set(found) == {"tower", "ridge"}
    shape = read_json(run / "shape-without-03.json")
    assert "ONLY03" not in shape["channel_name"]
    assert "ONLY03" in read_json(run / "shape-without-01.json")["channel_name"]
    if kind == "leave_one_out":
        # ridge has the ten channels that all of them have
        coef = weights(run / "systems/ridge/model-without-03.safetensors")["coef"]
        assert len(coef) == 10 * 20
        assert pooled(run, subject="03")["ridge"].low > 0.4


def test_a_subject_without_a_channel_in_common_is_refused(own, tmp_path):
    names = [f"EEG{i:03d}" for i in range(12)]
    rewrite(own / "sub-03" / "trials.h5", channel_name=np.array(names))
    match = r"sub-03/trials\.h5: expected channels named as those of sub-01, 02, found none"
    with pytest.raises(NeurovisError, match=match):
        run_of(own, tmp_path, subjects={"name": "leave_one_out", "test": ("03",)}, brain="ridge")


def test_a_subject_without_test_trials_trains_and_is_not_left_out(own, tmp_path):
    path = own / "sub-02" / "trials.h5"
    with opened(path) as trials:
        keep = trials.set == "train"
    rewrite(path, keep=keep)
    for kind in ("leave_one_out", "single", {"name": "new", "images": 20}):
        with pytest.raises(NeurovisError, match=r"sub-02/trials\.h5: .*test side, found none"):
            run_of(own, tmp_path, subjects=kind)
    assert not (tmp_path / "runs").exists()  # refused before anything is trained
    kind = {"name": "leave_one_out", "test": ("01", "03")}
    run = run_of(own, tmp_path, subjects=kind, brain="ridge")
    assert set(Prediction.read(run / "systems/tower/prediction.h5").subject) == {"01", "03"}
    run = run_of(own, tmp_path, brain="ridge")  # joint: it trains, and is simply not tested
    assert set(Prediction.read(run / "systems/tower/prediction.h5").subject) == {"01", "03"}
    evaluate_run(run, quiet=True)
    report_run(run, quiet=True)


def test_one_subject_cannot_be_left_out_and_names_must_be_known(alike, tmp_path):
    for kind in ("leave_one_out", {"name": "new", "images": 20}):
        with pytest.raises(NeurovisError, match=r"at least two subjects .* found sub-01 alone"):
            run_of(alike, tmp_path, subjects=kind, data={"subjects": ("01",)})
    with pytest.raises(UsageError, match="did you mean '01'"):
        run_of(alike, tmp_path, subjects={"name": "single", "test": ("1",)})
    with pytest.raises(UsageError, match="subjects=joint"):
        run_of(alike, tmp_path, protocol="best_on_others_test")
    kind = {"name": "new", "images": 20}
    with pytest.raises(UsageError, match="cannot judge the tuning"):
        run_of(alike, tmp_path, protocol="best_on_others_test", subjects=kind)
    with pytest.raises(UsageError, match=r"at most train\.epochs=3, found 10"):
        experiment(alike, protocol="mean_of_last")
    with pytest.raises(UsageError, match="two subjects saw, found none"):
        run_of(alike, tmp_path, subjects="single", train={"subject_mix": 0.5})


def test_subjects_without_training_trials_cannot_train(own, tmp_path):
    for who in ("02", "03"):
        path = own / f"sub-{who}" / "trials.h5"
        with opened(path) as trials:
            keep = trials.set == "test"
        rewrite(path, keep=keep)
    with pytest.raises(NeurovisError, match="no training trial is among 02, 03"):
        run_of(own, tmp_path, subjects="leave_one_out")
    with pytest.raises(
        NeurovisError, match=r"sub-02/trials\.h5: expected training trials for tower"
    ):
        run_of(own, tmp_path, brain="ridge")
