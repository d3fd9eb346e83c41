"""Corrections of a run at test time: apart from its scores, and equal to direct computations."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import write_prepared
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax
from test_evaluate import category_run, image_run
from test_train import experiment

from neurovis import adapt, cli, train
from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import evaluate_run, read_scores
from neurovis.metrics import adaptation
from neurovis.records import Embeddings, Prediction
from neurovis.report import report_run

ALL = "moments,whiten,csls,one_to_one,whiten+csls+one_to_one"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained run with a control, evaluated; its files before any correction."""
    folder = tmp_path_factory.mktemp("adapt")
    prepared = write_prepared(folder / "p", n_train=60, n_test=14, repeats=(3, 4))
    config = experiment(prepared, train={"epochs": 4}, control="tower")
    run = train.main(config, folder, quiet=True)
    evaluate_run(run, quiet=True)
    return run


@pytest.fixture(scope="module")
def adapted(trained):
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    scores = adapt.adapt_run(trained, ",".join(adapt.INDUCTIVE), ALL, quiet=True)
    return before, scores


def test_nothing_of_the_run_changes(trained, adapted):
    before, _ = adapted
    after = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    assert {p.name for p in after.keys() - before.keys()} == {"adapted.json"}
    assert all(after[p] == content for p, content in before.items())
    evaluate_run(trained, quiet=True)
    for name in ("scores.json", "per_item.h5"):
        assert (trained / name).read_bytes() == before[trained / name]


def test_transductive_scores_say_so_and_stand_apart(trained, adapted):
    _, scores = adapted
    assert {s.about["adaptation"] for s in scores} == {*adapt.INDUCTIVE, *ALL.split(",")}
    for score in scores:
        kind = "transductive" if score.about["transductive"] else "calibrated"
        assert f"({kind} {score.about['adaptation']})" in score.name
        assert score.protocol == f"clean, {kind}: {score.about['adaptation']}"
    named = [
        s for s in scores if s.about["adaptation"] in ALL.split(",") and s.about["transductive"]
    ]
    assert {s.about["adaptation"] for s in named} == set(ALL.split(","))
    own = (trained / "scores.json").read_text()
    assert "transductive" not in own
    assert not any("adaptation" in s.about for s in read_scores(trained))
    assert [s.value for s in adapt.read_adapted(trained)] == [s.value for s in scores]
    assert {s.about["metric"] for s in scores if "one_to_one" in s.name} == {"top1"}
    data = json.loads((trained / "adapted.json").read_text())
    assert set(data["transductive"]) == {"moments", "whiten", "csls", "one_to_one"}
    assert data["notes"] == [adapt.adapt_run(trained, "csls", quiet=True) and data["notes"][0]]
    assert "ridge was not calibrated" in data["notes"][0]
    adapt.adapt_run(trained, ",".join(adapt.INDUCTIVE), ALL, quiet=True)


def value(scores, name, k, metric="top1", system="tower", transductive=None, subject="all"):
    found = [
        s
        for s in scores
        if (s.about["adaptation"], s.about["n_averaged"], s.about["metric"]) == (name, k, metric)
        and (s.about["system"], s.about["subject"]) == (system, subject)
        and transductive in (None, s.about["transductive"])
    ]
    assert len(found) == 1, f"{len(found)} scores"
    return found[0]


def unit(vector):
    return vector / np.linalg.norm(vector, axis=1, keepdims=True)


def data_of(run, system="tower"):
    said = Prediction.read(run / "systems" / system / "prediction.h5")
    own = run / "systems" / system / "gallery" / "image.h5"
    gallery = Embeddings.read(own if own.is_file() else run / "gallery" / "image.h5")
    shown = np.searchsorted(gallery.image, said.image)
    return said, gallery, shown


@pytest.mark.parametrize("system", ["tower", "ridge"])
def test_csls_and_assignment_equal_direct_computations(trained, adapted, system):
    said, gallery, shown = data_of(trained, system)
    cosine = unit(said.vector["image"].astype(float)) @ unit(gallery.vector.astype(float)).T
    first, given = [], []
    for subject in ("01", "02"):
        rows = np.flatnonzero((said.n_averaged == 4) & (said.subject == subject))
        block = cosine[rows]
        near = np.sort(block, axis=1)[:, -10:].mean(1)[:, None] + np.sort(block, axis=0)[-10:].mean(
            0
        )
        first.append((2 * block - near).argmax(1) == shown[rows])
        _, column = linear_sum_assignment(-block)
        given.append(column == shown[rows])
    assert len(np.concatenate(first)) == 28
    found = value(adapted[1], "csls", 4, system=system, transductive=True)
    assert found.value == pytest.approx(np.mean(first))
    assert found.about["rows_per_set"] == [14, 14]
    found = value(adapted[1], "one_to_one", 4, system=system)
    assert found.value == pytest.approx(np.mean(given))


def test_calibration_equals_a_direct_computation(trained, adapted):
    said, gallery, shown = data_of(trained)
    held = Prediction.read(trained / "systems/tower/validation.h5")
    seen = Embeddings.read(trained / "systems/tower/validation/image.h5")
    assert sorted(held.n_averaged.tolist()) == [1] * 60 + [3] * 20
    for k, rows_of in ((4, held.n_averaged == 3), (1, held.n_averaged == 1)):
        rows = said.n_averaged == k
        cosine = unit(said.vector["image"][rows]) @ unit(gallery.vector).T
        past = unit(held.vector["image"][rows_of]) @ unit(gallery.vector).T
        near = np.sort(past, axis=0)[-10:].mean(0)
        hit = (2 * cosine - near).argmax(1) == shown[rows]
        score = value(adapted[1], "csls", k, transductive=False)
        assert score.value == pytest.approx(hit.mean())
        assert score.about["n_validation"] == rows_of.sum()
        hit = (cosine - past.mean(0)).argmax(1) == shown[rows]
        assert value(adapted[1], "mean", k).value == pytest.approx(hit.mean())
        likelihood = value(adapted[1], "temperature", k, metric="nll")
        t = likelihood.about["temperature"]
        loss = -log_softmax(cosine.astype(float) / t, axis=1)[np.arange(len(cosine)), shown[rows]]
        assert likelihood.value == pytest.approx(loss.mean(), abs=1e-5)
        assert likelihood.chance == pytest.approx(np.log(14))
        own = unit(held.vector["image"][rows_of]) @ unit(seen.vector).T
        true = np.searchsorted(seen.image, held.image[rows_of])
        grid = np.geomspace(t / 2, t * 2, 201)
        losses = [-log_softmax(own / g, axis=1)[np.arange(len(own)), true].mean() for g in grid]
        assert grid[np.argmin(losses)] == pytest.approx(t, rel=0.02)


def test_a_model_per_subject_is_corrected_by_what_it_says_itself(tmp_path):
    """Each subject's rows by its own validation rows, in its own gallery, computed here one by one."""
    prepared = write_prepared(tmp_path / "p", n_train=60, n_test=14, repeats=(3, 4))
    config = experiment(prepared, train={"epochs": 3}, subjects="single", projection="linear")
    run = train.main(config, tmp_path, quiet=True)
    scores = adapt.adapt_run(run, "csls,temperature", "whiten+csls", quiet=True)
    said = Prediction.read(run / "systems/tower/prediction.h5")
    together, whiten = [], adaptation.VECTOR["whiten"]
    hits, losses, temperatures = [], [], value(scores, "temperature", 4, metric="nll").about
    for number, who in enumerate(("01", "02")):
        rows = (said.subject == who) & (said.n_averaged == 4)
        gallery = Embeddings.read(run / f"systems/tower/galleries/{number:03d}/image.h5")
        held = Prediction.read(run / f"systems/tower/validation-{who}.h5")
        cosine = unit(said.vector["image"][rows]) @ unit(gallery.vector).T
        past = unit(held.vector["image"][held.n_averaged == 3]) @ unit(gallery.vector).T
        near = np.sort(past, axis=0)[-10:].mean(0)
        shown = np.searchsorted(gallery.image, said.image[rows])
        hits.append(((2 * cosine - near).argmax(1) == shown).mean())
        t = temperatures["temperature"][number]
        log = log_softmax(cosine.astype(float) / t, axis=1)
        losses.append(-log[np.arange(len(log)), shown].mean())
        said_white, gallery_white = map(unit, whiten(said.vector["image"][rows], gallery.vector))
        block = adaptation.csls(said_white @ gallery_white.T)
        together.append((block.argmax(1) == shown).mean())
        mine = value(scores, "csls", 4, transductive=False, subject=who)
        assert mine.value == pytest.approx(hits[-1])
    assert value(scores, "csls", 4).value == pytest.approx(np.mean(hits))
    assert value(scores, "csls", 4).about["n_validation"] == 20
    assert value(scores, "whiten+csls", 4).value == pytest.approx(np.mean(together))
    assert len(set(temperatures["temperature"])) == 2
    loss = value(scores, "temperature", 4, metric="nll").value
    assert loss == pytest.approx(np.mean(losses), abs=1e-5)


def test_validation_rows_are_not_of_the_test(trained):
    test = set(Prediction.read(trained / "systems/tower/prediction.h5").image)
    for system in ("tower", "shuffled"):
        held = Prediction.read(trained / "systems" / system / "validation.h5")
        assert not set(held.image) & test
        assert held.rows
    assert not (trained / "systems/ridge/validation.h5").exists()


def test_the_shuffled_control_stays_at_chance_when_transductive(tmp_path):
    run = image_run(tmp_path)
    scores = adapt.adapt_run(run, "", ALL, quiet=True)
    for name in ALL.split(","):
        score = value(scores, name, 6, system="shuffled")
        assert score.low <= score.chance == 1 / 40 <= score.high
        assert value(scores, name, 6).value > 0.2
    assert "informed_observer" not in {s.about["system"] for s in scores}


def test_the_report_shows_them_in_tables_of_their_own(trained, adapted, tmp_path):
    page = report_run(trained, tmp_path / "with.html", quiet=True).read_text()
    before, _, after = page.partition("<h3>Transductive</h3>")
    assert "These scores are transductive" in after
    assert "transductive" not in before.lower()
    assert "Calibrated on validation" in before
    assert "whiten+csls+one_to_one: Top-1" in after
    kept = (trained / "adapted.json").read_bytes()
    (trained / "adapted.json").unlink()
    page = report_run(trained, tmp_path / "without.html", quiet=True).read_text()
    assert "ransductive" not in page
    (trained / "adapted.json").write_bytes(kept)


def test_the_command_prints_them_under_their_own_title(trained, capsys):
    assert cli.main(["evaluate", str(trained), "--quiet", "--transductive", "csls"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("shuffled-label control") < printed.index("TRANSDUCTIVE: other test rows")
    assert cli.main(["evaluate", str(trained), "--quiet"]) == 0
    assert "TRANSDUCTIVE" not in capsys.readouterr().out


def test_one_to_one_needs_each_item_once(tmp_path):
    run = image_run(tmp_path)
    path = run / "systems/tower/prediction.h5"
    old = Prediction.read(path)
    keep = np.arange(len(old)) > 0
    columns = {n: getattr(old, n)[keep] for n in ("image", "subject", "n_averaged", "recording")}
    Prediction({"clip": old.vector["clip"][keep]}, **columns).write(path)
    scores = adapt.adapt_run(run, "", "csls,one_to_one", quiet=True)
    assert {s.about["system"] for s in scores if "one_to_one" in s.name} == {"ridge", "shuffled"}
    assert value(scores, "csls", 1).about["n_sets"] == 1 + 6 + 2


def test_bad_input_is_one_sentence(tmp_path):
    run = image_run(tmp_path / "images")
    with pytest.raises(UsageError, match="did you mean 'csls'"):
        adapt.adapt_run(run, "", "clss")
    with pytest.raises(UsageError, match=r"in the order moments\+whiten\+csls\+one_to_one"):
        adapt.adapt_run(run, "", "csls+whiten")
    with pytest.raises(UsageError, match="correction 'whiten' is unknown"):
        adapt.adapt_run(run, "whiten")
    with pytest.raises(NeurovisError, match="no predictions of held-out validation images"):
        adapt.adapt_run(run, "csls", quiet=True)
    category_run(tmp_path / "categories")
    with pytest.raises(NeurovisError, match="gallery is categories"):
        adapt.adapt_run(tmp_path / "categories", "", "csls")
    (run / "adapted.json").write_text('{"format": "neurovis-adapted", "format_version": 1}')
    with pytest.raises(NeurovisError, match="expected scores, found none"):
        adapt.read_adapted(run)
