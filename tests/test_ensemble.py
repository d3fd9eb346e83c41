"""Ensembles: the average of runs on the same rows, as an artefact of its own."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from conftest import write_prepared
from scipy import stats
from test_evaluate import KEPT, category_run, find, image_run
from test_train import experiment

from neurovis import cli, train
from neurovis.ensemble import RULE, ensemble, standardise
from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import evaluate_run, read_answers
from neurovis.records import Embeddings, Prediction, Split
from neurovis.report import report_run
from neurovis.store import read_json, write_json


def planted(folder, seed, targets=("clip",)):
    """A run of `image_run` that says which trials its rows average; noise differs by seed."""
    run = image_run(folder, targets, seed=0)
    rng = np.random.default_rng(seed)
    for path in run.glob("systems/*/prediction.h5"):
        old = Prediction.read(path)
        noise = 1.5 * rng.standard_normal((len(old), 24)) / np.sqrt(old.n_averaged)[:, None]
        vector = {k: v + noise for k, v in old.vector.items()}
        columns = {name: getattr(old, name) for name in KEPT}
        Prediction(vector, **columns, rows="same").write(path)
    write_json(run / "provenance.json", {"inputs": {"prepared": "abc"}})
    return run


def test_standardised_rows_equal_scipy_and_look_at_one_row():
    similarity = np.random.default_rng(0).standard_normal((7, 9)).astype(np.float32)
    found = standardise(similarity)
    np.testing.assert_allclose(found, stats.zscore(similarity.astype(float), axis=1), atol=1e-12)
    np.testing.assert_array_equal(found[3:4], standardise(similarity[3:4]))
    assert (standardise(np.ones((2, 5))) == 0).all()


def test_it_is_the_mean_of_standardised_similarities_and_better_than_its_members(tmp_path):
    runs = [planted(tmp_path / "runs" / f"r{seed}", seed) for seed in range(3)]
    order = np.random.default_rng(0).permutation(40)
    path = runs[1] / "gallery" / "clip.h5"
    old = Embeddings.read(path)
    Embeddings(old.vector[order], old.image[order]).write(path)
    folder = ensemble(runs, quiet=True)
    assert folder.parent == runs[0].parent
    total = 0
    for run in runs:
        said = Prediction.read(run / "systems/tower/prediction.h5").vector["clip"].astype(float)
        gallery = old.vector.astype(float)
        cosine = said @ gallery.T / np.linalg.norm(said, axis=1)[:, None]
        total = total + stats.zscore(cosine / np.linalg.norm(gallery, axis=1), axis=1) / 3
    (tower,) = [one for one in read_answers(folder)[0] if one.system == "tower"]
    block = np.concatenate([b for _, b in tower.blocks()])
    np.testing.assert_array_equal(tower.gallery, old.image)
    np.testing.assert_allclose(block, total, atol=1e-5)
    scores = evaluate_run(folder, quiet=True)
    about = {
        "system": "tower",
        "subject": "all",
        "n_averaged": 1,
        "metric": "top1",
        "comparison": None,
    }
    both = find(scores, **about)
    own = [find(evaluate_run(run, quiet=True), **about).value for run in runs]
    assert both.value > max(own)
    assert both.protocol == "clean, ensemble of 3 runs"
    assert find(scores, **{**about, "system": "shuffled"}).low <= 1 / 40
    # limits are the same in every run and are taken as they are
    limit = {**about, "system": "informed_observer"}
    assert find(scores, **limit).value == find(evaluate_run(runs[0], quiet=True), **limit).value
    data = json.loads((folder / "scores.json").read_text())
    assert data["headline"]["system"] == "tower"
    assert {s.about["comparison"] for s in scores if "comparison" in s.about} == {
        "tower - ridge",
        "tower / informed_observer",
    }
    assert RULE in (folder / "config.yaml").read_text().replace("\n  ", " ")
    assert set(read_json(folder / "provenance.json")["inputs"]) >= {"1/tower", "3/ridge"}


def test_members_may_differ_in_targets(tmp_path):
    runs = [planted(tmp_path / "a", 1), planted(tmp_path / "b", 2, ("clip", "dino"))]
    folder = ensemble(runs, quiet=True)
    assert ensemble(runs, quiet=True) == folder
    assert ensemble(runs[::-1], quiet=True) != folder
    scores = evaluate_run(folder, quiet=True)
    assert {s.about["target"] for s in scores} == {""}


def test_categories_are_averaged_as_they_are(tmp_path):
    runs = [tmp_path / "a", tmp_path / "b"]
    for run in runs:
        category_run(run)
        for path in run.glob("systems/*/prediction.h5"):
            old = Prediction.read(path)
            columns = {name: getattr(old, name) for name in KEPT}
            Prediction(old.vector, **columns, rows="same").write(path)
    folder = ensemble(runs, quiet=True)
    about = {"system": "tower", "subject": "all", "metric": "auc"}
    alone = find(evaluate_run(runs[0], quiet=True), **about).value
    assert find(evaluate_run(folder, quiet=True), **about).value == pytest.approx(alone, abs=1e-6)


def test_what_does_not_fit_is_refused(tmp_path):
    first = planted(tmp_path / "first", 1)
    with pytest.raises(UsageError, match="two different runs or more"):
        ensemble([first, first])

    def other(name, change):
        run = planted(tmp_path / name, 2)
        change(run)
        with pytest.raises(NeurovisError) as error:
            ensemble([first, run], quiet=True)
        assert not list(tmp_path.glob("ensemble-*"))
        return str(error.value)

    def rewrite(run, rows="same", keep=None, **columns):
        path = run / "systems/tower/prediction.h5"
        old = Prediction.read(path)
        keep = np.arange(len(old)) if keep is None else keep
        kept = {name: getattr(old, name)[keep] for name in KEPT}
        Prediction({"clip": old.vector["clip"][keep]}, **kept, rows=rows).write(path)

    def split(run):
        old = Split.read(run / "split.json")
        Split(("other",), (), old.test).write(run / "split.json")

    def gallery(run):
        old = Embeddings.read(run / "gallery/clip.h5")
        Embeddings(np.r_[old.vector, old.vector[:1] + 1], [*old.image, "seen"]).write(
            run / "gallery/clip.h5"
        )

    assert "its split is not that of first" in other("split", split)
    assert "do not average the trials" in other("trials", lambda run: rewrite(run, "others"))
    assert "do not say which" in other("unknown", lambda run: rewrite(run, ""))
    backwards = lambda run: rewrite(run, keep=np.arange(len(Prediction.read(  # noqa: E731
        run / "systems/tower/prediction.h5")))[::-1])  # fmt: skip
    assert "tower has other test rows (image)" in other("order", backwards)
    assert "another gallery (41 items) than in first (40)" in other("gallery", gallery)
    prepared = lambda run: write_json(  # noqa: E731
        run / "provenance.json", {"inputs": {"prepared": "xyz"}}
    )
    assert "another prepared folder (xyz)" in other("prepared", prepared)


def test_two_seeds_of_one_experiment_from_training_to_report(tmp_path, capsys):
    prepared = write_prepared(tmp_path / "p", n_train=40, n_test=10, repeats=(1, 4))
    runs = [
        train.main(experiment(prepared, seed=seed, train={"epochs": 2}), tmp_path, quiet=True)
        for seed in (0, 1)
    ]
    one, two = (Prediction.read(run / "systems/tower/prediction.h5") for run in runs)
    assert one.rows == two.rows != ""
    assert (one.vector["image"] != two.vector["image"]).any()
    assert cli.main(["evaluate", *map(str, runs), "--quiet", "--transductive", "csls,whiten"]) == 0
    printed = capsys.readouterr().out
    assert "protocol clean, ensemble of 2 runs" in printed
    assert "TRANSDUCTIVE" in printed
    (folder,) = (tmp_path / "runs").glob("ensemble-*")
    page = report_run(folder, quiet=True).read_text()
    assert "ensemble of 2 runs" in page
    assert str(tmp_path) not in page
    shutil.rmtree(folder)
