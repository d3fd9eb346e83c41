"""One model of all subjects with an image side for each: what it compares, keeps and says."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from fakes.planted import (
    INVERTED,
    pooled,
    run_of,
    setup_of,
    weights,
    write_alike,
)

from neurovis import train, turns
from neurovis.adapt import adapt_run
from neurovis.errors import UsageError
from neurovis.evaluate import evaluate_run
from neurovis.joint import refuse_folds
from neurovis.metrics import adaptation
from neurovis.predict import by_side
from neurovis.records import Embeddings, Prediction
from neurovis.store import read_json

SUBJECTS = ("01", "02", "03")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The order of sums depends on the number of threads; bits are compared here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    return write_alike(tmp_path_factory.mktemp("alike") / "p")


@pytest.fixture(scope="module")
def run(alike, tmp_path_factory):
    out = tmp_path_factory.mktemp("own")
    return run_of(alike, out, projection="own", brain=INVERTED, control="tower")


@pytest.mark.parametrize("batch_size", [20, 1000])
def test_a_batch_is_of_one_subject_and_an_epoch_has_every_item_once(alike, tmp_path, batch_size):
    setup = setup_of(alike, tmp_path, projection="own", train={"batch_size": batch_size})
    items = setup.recordings.items(setup.split, "train")[0]
    model, _ = turns.build(setup)
    sides = [mine for _, mine in by_side(model, items)]
    assert [len(mine) for mine in sides] == [len(items) // 3] * 3
    options = setup.experiment.train
    planned = train.plan(items, options, np.random.default_rng(0), sides)
    assert len(planned) == 3 * max(1, len(items) // 3 // batch_size)
    assert [number for number, *_ in planned] == list(range(len(planned)))
    rows = [rows for _, rows, *_ in planned]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(len(items)))
    assert all(len({items[i][0] for i in some}) == 1 for some in rows)
    # one side, and none said: the batches there always were
    one, none = (
        train.plan(items, options, np.random.default_rng(0), some)
        for some in ([np.arange(len(items))], None)
    )
    for a, b in zip(one, none, strict=True):
        np.testing.assert_array_equal(a[1], b[1])
        assert a[3] == b[3]
    setup.recordings.close()


def test_each_subject_is_compared_with_its_own_gallery(alike, run):
    raw = Embeddings.read(alike / "embeddings.h5")
    model = weights(run / "model.safetensors")
    assert model["projection.0"].shape == (3, 8, 8)
    said = {s: Prediction.read(run / f"systems/{s}/prediction.h5") for s in ("tower", "ridge")}
    tower = said["tower"]
    # rows of a subject stand together, for every system alike
    for name in ("image", "subject", "n_averaged"):
        np.testing.assert_array_equal(getattr(tower, name), getattr(said["ridge"], name))
    assert tower.subject.tolist() == sorted(tower.subject.tolist())
    counts = [int((tower.subject == who).sum()) for who in SUBJECTS]
    assert read_json(run / "systems/tower/galleries.json")["rows"] == counts
    space = Embeddings.read(run / "gallery/image.h5")
    expected, hits = {}, []
    for side, who in enumerate(SUBJECTS):
        kept = Embeddings.read(run / f"systems/tower/galleries/{side:03d}/image.h5")
        vector = space.at(kept.image) @ model["projection.0"][side].numpy()
        np.testing.assert_allclose(kept.vector, vector, rtol=1e-4, atol=1e-5)
        rows = (tower.subject == who) & (tower.n_averaged == 4)
        unit = vector / np.linalg.norm(vector, axis=1, keepdims=True)
        similarity = tower.vector["image"][rows] @ unit.T
        shown = [kept.image.tolist().index(i) for i in tower.image[rows]]
        own = similarity[np.arange(len(shown)), shown]
        hits += ((similarity > own[:, None]).sum(1) < 5).tolist()
        expected[who] = np.mean(hits[-len(shown) :])
    assert len(raw) > len(space)
    for who, value in (*expected.items(), ("all", np.mean(hits))):
        assert pooled(run, subject=who)["tower"].value == pytest.approx(value)
    assert pooled(run)["tower"].low > 0.4
    assert pooled(run)["shuffled"].low < pooled(run)["shuffled"].chance + 0.1
    # what is learned from validation rows is each subject's, too
    names = {f"{kind}-{who}" for kind in ("validation", "norms") for who in SUBJECTS}
    files = {p.name.partition(".")[0] for p in (run / "systems/tower").iterdir()}
    assert names <= files


def cosines(a, b):
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    return a @ b.T


def test_corrections_see_each_subject_with_its_own_gallery(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    evaluate_run(tmp_path / "run", quiet=True)
    scores = adapt_run(tmp_path / "run", transductive="csls,whiten", quiet=True)
    tower = Prediction.read(run / "systems/tower/prediction.h5")
    for side, who in enumerate(SUBJECTS):
        kept = Embeddings.read(run / f"systems/tower/galleries/{side:03d}/image.h5")
        rows = (tower.subject == who) & (tower.n_averaged == 4)
        pair = (tower.vector["image"][rows], kept.vector)
        corrected = {
            "csls": adaptation.csls(cosines(*pair)),
            "whiten": cosines(*adaptation.VECTOR["whiten"](*pair)),
        }
        shown = np.array([kept.image.tolist().index(i) for i in tower.image[rows]])
        for name, similarity in corrected.items():
            own = similarity[np.arange(len(shown)), shown]
            expected = ((similarity > own[:, None]).sum(1) < 5).mean()
            about = {"system": "tower", "subject": who, "n_averaged": 4, "adaptation": name}
            (found,) = [
                s.value
                for s in scores
                if s.about["metric"] == "top5" and about.items() <= s.about.items()
            ]
            assert found == pytest.approx(expected)


def test_a_subject_left_out_gets_the_mean_of_the_others_sides(alike, tmp_path):
    for unseen, n in (("mean", 2), ("shared", 1)):
        subjects = {"name": "leave_one_out", "test": ("01",), "unseen": unseen}
        run = run_of(alike, tmp_path, projection="own", subjects=subjects, train={"epochs": 1})
        sides = weights(run / "model-without-01.safetensors")["projection.0"].numpy()
        assert sides.shape == (n, 8, 8)
        space = Embeddings.read(run / "gallery/image.h5")
        kept = Embeddings.read(run / "systems/tower/gallery/image.h5")
        expected = space.at(kept.image) @ sides.mean(0)
        np.testing.assert_allclose(kept.vector, expected, rtol=1e-4, atol=1e-5)


def test_a_single_subject_has_the_plain_image_side(alike, tmp_path):
    data = {"subjects": ("02",)}
    own, plain = (
        run_of(alike, tmp_path, projection=side, data=data, train={"epochs": 1})
        for side in ("own", "linear")
    )
    a, b = (weights(r / "model.safetensors") for r in (own, plain))
    assert torch.equal(a["projection.0"][0], b["projection.0"])
    assert (own / "systems/tower/gallery/image.h5").is_file()


def test_folds_share_a_gallery_and_refuse_sides_of_subjects():
    with pytest.raises(UsageError, match="projection own: folds share one gallery"):
        refuse_folds("own", 2)
    refuse_folds("own", 1)
    refuse_folds("linear", 2)
