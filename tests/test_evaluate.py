"""evaluate: a run folder with planted skill comes back as the scores it was made with."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neurovis.errors import NeurovisError
from neurovis.evaluate import (
    evaluate_prediction,
    evaluate_run,
    read_coverage,
    read_scores,
    table,
)
from neurovis.records import Embeddings, Prediction, Split, Stimuli
from neurovis.store import write_h5, write_json

KEPT = {"image", "subject", "n_averaged", "recording"}
N_IMAGES, N_REPEATS, DIM = 40, 6, 24


def stimuli_of(ids, paths=1):
    n = len(ids)
    path = [tuple(f"{i}_{j}.png" for j in range(paths)) for i in ids]
    return Stimuli(ids, path, [""] * n, [8] * n, [8] * n, ids, ["test"] * n)


def rows_of(images, subjects=("01", "02")):
    """All single trials, then one mean of all repeats per image and subject."""
    rows = [(i, s, 1) for s in subjects for i in images for _ in range(N_REPEATS)]
    rows += [(i, s, N_REPEATS) for s in subjects for i in images]
    image, subject, n = (np.array(column) for column in zip(*rows))
    return image, subject, n.astype(int)


def image_run(folder, targets=("clip",), seed=0):
    """A run whose tower has more skill than ridge and whose control has none."""
    rng = np.random.default_rng(seed)
    images = np.array([f"image_{i:03d}" for i in range(N_IMAGES)])
    image, subject, n = rows_of(images)
    truth = {t: rng.standard_normal((N_IMAGES, DIM)).astype(np.float32) for t in targets}
    shown = np.searchsorted(images, image)
    Split(("seen",), (), tuple(images)).write(folder / "split.json")
    stimuli_of([*images, "seen"]).write(folder / "stimuli.csv")
    for target in targets:
        Embeddings(truth[target], images).write(folder / "gallery" / f"{target}.h5")
    noise = rng.standard_normal((len(image), DIM)) / np.sqrt(n)[:, None]
    for system, skill in (("tower", 0.9), ("ridge", 0.4), ("shuffled", 0.0)):
        vector = {t: skill * truth[t][shown] + noise for t in targets}
        Prediction(vector, image, subject, n).write(folder / "systems" / system / "prediction.h5")
    for system, skill in (("informed_observer", 1.3), ("optimal_observer", 9.0)):
        similarity = (skill * truth[targets[0]][shown] + noise) @ truth[targets[0]].T
        write_h5(
            folder / "systems" / system / "similarity.h5",
            "neurovis-similarity",
            {
                "similarity": similarity.astype(np.float32),
                "image": image,
                "subject": subject,
                "n_averaged": n,
                "recording": np.full(len(image), ""),
                "gallery": images,
            },
        )
    return folder


def category_run(folder, n_recordings=5, effect=1.0, seed=0):
    """Two categories, recordings left out in turn; cats are rare."""
    rng = np.random.default_rng(seed)
    names = [f"ses-01_run-{i + 1:02d}" for i in range(n_recordings)]
    for i, name in enumerate(names):
        rest = tuple(n for n in names if n != name)
        split = Split(rest[1:], rest[:1], (name,), "clean", "recording")
        split.write(folder / f"split-{i + 1:02d}.json")
    stimuli_of(["cat", "dog"], paths=3).write(folder / "stimuli.csv")
    gallery = np.eye(2, 6, dtype=np.float32)
    Embeddings(gallery, ["cat", "dog"]).write(folder / "gallery" / "clip.h5")
    recording = np.repeat(names, 60)
    shown = (rng.random(len(recording)) > 0.2).astype(int)
    vector = effect * gallery[shown] + rng.standard_normal((len(shown), 6))
    image = np.array(["cat", "dog"])[shown]
    ones = np.ones(len(shown), int)
    for system, value in (("tower", vector), ("shuffled", rng.permutation(vector))):
        prediction = Prediction({"clip": value}, image, ones.astype(str), ones, recording)
        prediction.write(folder / "systems" / system / "prediction.h5")
    return vector, shown, recording


def find(scores, **about):
    found = [
        s
        for s in scores
        if all((s.name if k == "metric" else s.about.get(k)) == v for k, v in about.items())
    ]
    assert len(found) == 1, f"{len(found)} scores for {about}"
    return found[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = image_run(tmp_path_factory.mktemp("run"))
    return folder, evaluate_run(folder, quiet=True)


def test_systems_come_out_in_the_planted_order(run):
    _, scores = run
    top1 = {
        system: find(
            scores,
            system=system,
            subject="all",
            n_averaged=N_REPEATS,
            metric="top1",
            comparison=None,
        )
        for system in ("tower", "ridge", "shuffled", "informed_observer", "optimal_observer")
    }
    order = ["shuffled", "ridge", "tower", "informed_observer", "optimal_observer"]
    assert [top1[s].value for s in order] == sorted(top1[s].value for s in order)
    assert top1["tower"].low > 2 * top1["tower"].chance == 2 / N_IMAGES
    assert top1["shuffled"].low <= top1["shuffled"].chance <= top1["shuffled"].high
    assert top1["tower"].gallery == "40 test images (shown image)"
    assert top1["tower"].protocol == "clean"
    assert top1["tower"].n == N_IMAGES


def test_averaging_helps_and_every_group_is_scored(run):
    _, scores = run
    for subject in ("all", "01", "02"):
        about = {"system": "tower", "subject": subject, "comparison": None}
        single = find(scores, n_averaged=1, metric="2-way", **about)
        mean = find(scores, n_averaged=N_REPEATS, metric="2-way", **about)
        assert 0.5 < single.value < mean.value
        assert single.about["n_rows"] == N_IMAGES * N_REPEATS * (2 if subject == "all" else 1)
    tower = [s for s in scores if s.about["system"] == "tower" and "comparison" not in s.about]
    assert len(tower) == 2 * 3 * 7


def test_scores_equal_a_direct_computation(run):
    folder, scores = run
    prediction = Prediction.read(folder / "systems/tower/prediction.h5")
    gallery = Embeddings.read(folder / "gallery/clip.h5")
    similarity = np.array(
        [
            [p @ g / np.linalg.norm(p) / np.linalg.norm(g) for g in gallery.vector]
            for p in prediction.vector["clip"]
        ]
    )
    order = gallery.image[np.argsort(-similarity, axis=1)]
    rank = (order == prediction.image[:, None]).argmax(axis=1)
    rows = (prediction.n_averaged == 1) & (prediction.subject == "02")
    about = {"system": "tower", "subject": "02", "n_averaged": 1, "comparison": None}
    for name, value in (
        ("top1", np.mean(rank[rows] < 1)),
        ("top5", np.mean(rank[rows] < 5)),
        ("median_rank", np.median(rank[rows])),
        ("relative_rank", np.mean(rank[rows]) / N_IMAGES),
        ("2-way", 1 - np.mean(rank[rows]) / (N_IMAGES - 1)),
    ):
        assert find(scores, metric=name, **about).value == pytest.approx(value)


def test_comparisons_are_paired(run):
    _, scores = run
    about = {"subject": "all", "n_averaged": 1, "metric": "top5"}
    tower = find(scores, system="tower", comparison=None, **about)
    ridge = find(scores, system="ridge", comparison=None, **about)
    observer = find(scores, system="informed_observer", comparison=None, **about)
    difference = find(scores, comparison="tower - ridge", **about)
    ratio = find(scores, comparison="tower / informed_observer", **about)
    assert difference.value == pytest.approx(tower.value - ridge.value)
    assert ratio.value == pytest.approx(tower.value / observer.value)
    assert difference.low < difference.value < difference.high
    # the systems share their noise, so the paired interval beats that of independent ones
    independent = np.hypot(tower.high - tower.low, ridge.high - ridge.low)
    assert difference.high - difference.low < independent
    assert difference.low > difference.chance == 0


def test_files_are_complete_and_compact(run):
    import h5py

    folder, scores = run
    data = json.loads((folder / "scores.json").read_text())
    assert data["control_at_chance"] is True
    assert data["control"]["metric"] == "top5"
    assert data["headline"] == {
        "system": "tower",
        "target": "clip",
        "subject": "all",
        "n_averaged": N_REPEATS,
        "metric": "top1",
    }
    assert all(entry["per_item"] == [] for entry in data["scores"])
    again = read_scores(folder)
    assert [s.value for s in again] == [s.value for s in scores]
    with h5py.File(folder / "per_item.h5") as file:
        assert file.attrs["target"] == "clip"
        tower = file["tower"]
        assert set(tower) == KEPT - {"recording"} | {
            "rank",
            "best",
            "similarity",
            "top1",
            "top5",
            "single",
        }
        assert tower["best"].shape == tower["similarity"].shape == (2 * N_IMAGES, 10)
        assert (np.diff(tower["similarity"][()], axis=1) <= 0).all()
        hit = tower["best"].asstr()[:, 0] == tower["image"].asstr()[()]
        np.testing.assert_array_equal(hit, tower["rank"][()] == 0)
        assert tower["single/n"][()].tolist() == [N_REPEATS] * 2 * N_IMAGES


def test_damaged_scores_are_refused(tmp_path):
    with pytest.raises(NeurovisError, match=r"scores.json: no such file"):
        read_scores(tmp_path)
    write_json(tmp_path / "scores.json", {"format": "neurovis-scores", "format_version": 1})
    with pytest.raises(NeurovisError, match="expected scores and comparisons, found format"):
        read_scores(tmp_path)


def test_second_evaluation_gives_the_same_bytes(run):
    folder, _ = run
    before = (folder / "scores.json").read_bytes()
    evaluate_run(folder, quiet=True)
    assert (folder / "scores.json").read_bytes() == before


def test_table_is_readable(run):
    text = table(run[1])
    assert "tower" in text
    assert "chance" in text
    assert "subject 01" in text
    assert "shuffled-label control at chance" in text
    assert "tower - ridge, top1" in text
    assert "tower / informed_observer, top1" in text
    assert max(map(len, text.splitlines())) <= 120


def test_table_says_how_right_the_surest_answers_are(run):
    folder, scores = run
    text = table(scores, read_coverage(folder))
    lines = text[text.index("top1 of the most confident answers") :].splitlines()
    heads = lines[1].split()
    assert heads == [
        "100",
        "%",
        "kept",
        "80",
        "%",
        "kept",
        "50",
        "%",
        "kept",
        "20",
        "%",
        "kept",
        "sure",
        "by",
    ]
    top1 = find(
        scores, system="tower", metric="top1", n_averaged=N_REPEATS, subject="all", comparison=None
    )
    row = next(line for line in lines if line.split()[:1] == ["tower"])
    # all answers kept is plain top-1, and half of them is what scores.json says
    assert float(row.split()[1]) == pytest.approx(100 * top1.value, abs=0.051)
    curve = next(c for c in read_coverage(folder)
                 if (c["about"]["system"], c["about"]["n_averaged"]) == ("tower", N_REPEATS))  # fmt: skip
    half = next(s for s in curve["scores"] if s["name"] == "top1@50")
    assert f"{100 * half['value']:.1f} [{100 * half['low']:.1f}, {100 * half['high']:.1f}]" in row
    assert row.endswith(curve["about"]["confidence"])
    assert max(map(len, text.splitlines())) <= 120
    assert "most confident" not in table(scores)


def test_several_targets_are_scored_apart_and_together(tmp_path):
    folder = image_run(tmp_path, targets=("clip", "dino"))
    scores = evaluate_run(folder, quiet=True)
    about = {"system": "tower", "subject": "all", "n_averaged": 1, "metric": "2-way"}
    values = {t: find(scores, target=t, comparison=None, **about).value for t in ("clip", "dino")}
    both = find(scores, target="all", comparison=None, **about).value
    assert both > max(values.values())
    assert json.loads((folder / "scores.json").read_text())["headline"]["target"] == "all"


def test_gallery_order_of_targets_does_not_matter(tmp_path):
    folder = image_run(tmp_path, targets=("clip", "dino"))
    before = [s.value for s in evaluate_run(folder, quiet=True)]
    gallery = Embeddings.read(folder / "gallery/dino.h5")
    order = np.random.default_rng(0).permutation(N_IMAGES)
    Embeddings(gallery.vector[order], gallery.image[order]).write(folder / "gallery/dino.h5")
    assert [s.value for s in evaluate_run(folder, quiet=True)] == pytest.approx(before, abs=1e-6)


def test_a_leak_raises_the_flag(tmp_path):
    folder = image_run(tmp_path)
    tower = (folder / "systems/tower/prediction.h5").read_bytes()
    (folder / "systems/shuffled/prediction.h5").write_bytes(tower)
    scores = evaluate_run(folder, quiet=True)
    assert json.loads((folder / "scores.json").read_text())["control_at_chance"] is False
    assert "NOT at chance" in table(scores)


def test_categories_give_area_under_the_curve_by_recording(tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    vector, shown, recording = category_run(tmp_path)
    scores = evaluate_run(tmp_path, quiet=True)
    decision = vector[:, 1] - vector[:, 0]
    expected_auc, expected_way = [], []
    for name in np.unique(recording):
        rows = recording == name
        expected_auc.append(metrics.roc_auc_score(shown[rows], decision[rows]))
        expected_way.append(
            metrics.balanced_accuracy_score(shown[rows], (decision[rows] > 0).astype(int))
        )
    about = {"system": "tower", "subject": "all", "comparison": None}
    auc, way = (find(scores, metric=name, **about) for name in ("auc", "2-way"))
    assert auc.value == pytest.approx(np.mean(expected_auc))
    assert way.value == pytest.approx(np.mean(expected_way))
    np.testing.assert_allclose(auc.per_item, expected_auc)
    assert auc.chance == way.chance == 0.5 < auc.low < auc.value < auc.high
    assert auc.gallery == "2 categories (mean of the pictures of each)"
    assert auc.protocol == "clean, 5 folds (recordings left out)"
    assert auc.n == 300
    assert auc.about["n_recordings"] == 5
    assert auc.about["recordings"] == [f"1/{name}" for name in np.unique(recording)]
    (kept,) = [s for s in read_scores(tmp_path) if s.about == auc.about and s.name == "auc"]
    np.testing.assert_allclose(kept.per_item, expected_auc, atol=1e-5)
    data = json.loads((tmp_path / "scores.json").read_text())
    assert data["control_at_chance"] is True
    assert data["headline"]["metric"] == "auc"
    assert "auc" in table(scores)


def test_a_regression_between_two_categories_keeps_how_sure_it_is(tmp_path):
    """Centred vectors of two categories are opposite: all cosines of a regression are 1 or -1."""
    metrics = pytest.importorskip("sklearn.metrics")
    _, shown, recording = category_run(tmp_path)
    rng = np.random.default_rng(1)
    line = rng.standard_normal(6)
    Embeddings(np.stack([line, -line]), ["cat", "dog"]).write(tmp_path / "gallery" / "clip.h5")
    evidence = 2 * shown - 1 + 1.5 * rng.standard_normal(len(shown))
    image = np.array(["cat", "dog"])[shown]
    ones = np.ones(len(shown), int)
    for system in ("tower", "shuffled"):
        Prediction(
            {"clip": -evidence[:, None] * line}, image, ones.astype(str), ones, recording
        ).write(tmp_path / "systems" / system / "prediction.h5")
    auc = find(evaluate_run(tmp_path, quiet=True), system="tower", subject="all", metric="auc")
    rows = [recording == name for name in np.unique(recording)]
    expected = [metrics.roc_auc_score(shown[r], evidence[r]) for r in rows]
    assert auc.value == pytest.approx(np.mean(expected))
    by_sign = [metrics.roc_auc_score(shown[r], evidence[r] > 0) for r in rows]
    assert auc.value > np.mean(by_sign) + 0.05


def test_recording_without_a_category_is_left_out_and_said(tmp_path):
    category_run(tmp_path)
    for system in ("tower", "shuffled"):
        path = tmp_path / "systems" / system / "prediction.h5"
        old = Prediction.read(path)
        keep = (old.recording != "ses-01_run-01") | (old.image == "dog")
        columns = {name: getattr(old, name)[keep] for name in KEPT}
        Prediction({"clip": old.vector["clip"][keep]}, **columns).write(path)
    scores = evaluate_run(tmp_path, quiet=True)
    auc = find(scores, system="tower", subject="all", metric="auc")
    assert auc.about["n_recordings"] == 4
    notes = json.loads((tmp_path / "scores.json").read_text())["notes"]
    assert any("ses-01_run-01" in note for note in notes)


def test_training_image_is_refused(tmp_path):
    folder = image_run(tmp_path)
    images = [f"image_{i:03d}" for i in range(N_IMAGES)]
    Split(tuple(images[:1]), (), tuple(images[1:])).write(folder / "split.json")
    with pytest.raises(NeurovisError, match=r"prediction.h5: image 'image_000' is scored"):
        evaluate_run(folder, quiet=True)


@pytest.mark.parametrize("missing", ["systems", "gallery", "stimuli.csv", "split.json"])
def test_incomplete_run_is_named(tmp_path, missing):
    import shutil

    folder = image_run(tmp_path / "run")
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(NeurovisError, match=missing.split(".")[0]):
        evaluate_run(folder, quiet=True)
    assert not (folder / "scores.json").exists()


def test_nan_similarity_is_an_error_that_names_the_row(tmp_path):
    import h5py

    folder = image_run(tmp_path)
    with h5py.File(folder / "systems/informed_observer/similarity.h5", "a") as file:
        file["similarity"][7, 3] = np.nan
    with pytest.raises(NeurovisError, match=r"informed_observer.*NaN in row 7"):
        evaluate_run(folder, quiet=True)
    assert not (folder / "scores.json").exists()


def prediction_and_gallery(n=30, dim=8):
    rng = np.random.default_rng(0)
    ids = np.array([f"i{i}" for i in range(n)])
    gallery = Embeddings(rng.standard_normal((n, dim)), ids)
    ones = np.ones(n, int)
    return Prediction({"clip": gallery.vector}, ids, ones.astype(str), ones), gallery


def test_arrays_of_others_are_scored():
    prediction, gallery = prediction_and_gallery()
    scores = evaluate_prediction(prediction, gallery, protocol="of the paper")
    top1 = find(scores, subject="all", metric="top1")
    assert top1.value == top1.high == 1
    assert 0.8 < top1.low < 1
    assert (top1.protocol, top1.chance) == ("of the paper", pytest.approx(1 / 30))
    assert top1.gallery == "30 images (all embeddings given)"
    assert "prediction" in table(scores)


def test_too_small_galleries_leave_metrics_out_and_say_so(capsys):
    prediction, gallery = prediction_and_gallery(n=8)
    names = {s.name for s in evaluate_prediction(prediction, gallery)}
    said = capsys.readouterr().err
    assert "top10 left out: the gallery has 8 items" in said
    assert "10-way left out" in said
    assert "300-way" not in said
    assert names == {"top1", "top5", "median_rank", "relative_rank", "2-way"}


def test_large_galleries_have_the_choice_among_300():
    prediction, gallery = prediction_and_gallery(n=320)
    scores = evaluate_prediction(prediction, gallery)
    found = find(scores, subject="all", metric="300-way")
    assert found.chance == pytest.approx(1 / 300)
    assert find(scores, subject="all", metric="top1").value <= found.value <= 1


def test_wrong_predictions_are_refused_with_one_sentence():
    prediction, gallery = prediction_and_gallery()
    short = Embeddings(gallery.vector[:, :5], gallery.image)
    with pytest.raises(NeurovisError, match="has 8 dims, the gallery has 5"):
        evaluate_prediction(prediction, short)
    fewer = Embeddings(gallery.vector[1:], gallery.image[1:])
    with pytest.raises(NeurovisError, match="image 'i0' was shown and is not in the gallery of 29"):
        evaluate_prediction(prediction, fewer)
    with pytest.raises(NeurovisError, match="target 'clip' has no embeddings"):
        evaluate_prediction(prediction, {"dino": gallery})
    vector = prediction.vector["clip"].copy()
    vector[4] = 0
    columns = {name: getattr(prediction, name) for name in KEPT}
    with pytest.raises(NeurovisError, match="only zeros in row 4"):
        evaluate_prediction(Prediction({"clip": vector}, **columns), gallery)


def test_more_than_two_categories_are_identified(tmp_path):
    rng = np.random.default_rng(0)
    names = np.array(["bottle", "cat", "chair", "face"])
    stimuli_of(names, paths=2).write(tmp_path / "stimuli.csv")
    Split(("ses-1_run-1",), (), ("ses-1_run-2",), unit="recording").write(tmp_path / "split.json")
    gallery = np.eye(4, dtype=np.float32)
    Embeddings(gallery, names).write(tmp_path / "gallery" / "clip.h5")
    shown = rng.integers(4, size=80)
    vector = gallery[shown] + 0.5 * rng.standard_normal((80, 4))
    ones = np.ones(80, int)
    recording = np.full(80, "ses-1_run-2")
    Prediction({"clip": vector}, names[shown], ones.astype(str), ones, recording).write(
        tmp_path / "systems/tower/prediction.h5"
    )
    scores = evaluate_run(tmp_path, quiet=True)
    assert {s.name for s in scores} == {"4-way"}
    unit = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    hit = unit.argmax(axis=1) == shown
    expected = np.mean([hit[shown == c].mean() for c in range(4)])
    assert scores[0].value == pytest.approx(expected)
    assert scores[0].chance == 0.25
    data = json.loads((tmp_path / "scores.json").read_text())
    assert data["notes"] == ["auc left out: the gallery has 4 items."]
    assert data["control_at_chance"] is None
