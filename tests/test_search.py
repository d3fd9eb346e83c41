"""Large galleries: the blockwise search equals one float64 matrix, whatever the blocks."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from conftest import write_prepared
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from test_train import experiment

from neurovis import cli, train
from neurovis.errors import NeurovisError, UsageError
from neurovis.metrics.retrieval import unit_rows
from neurovis.records import Embeddings, Prediction, Split
from neurovis.retrieve import Query, retrieve, text_vectors
from neurovis.search import Gallery, combine, open_gallery, search, search_faiss
from neurovis.spaces import Space, run_spaces
from neurovis.store import read_h5, write_h5


def gallery_of(vector, names=None):
    names = [f"g{i}" for i in range(len(vector))] if names is None else names
    return Gallery(vector, np.array(names))


def whole(query, vector):
    """Cosines in one float64 matrix."""
    query, vector = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (query, vector))
    query = query / np.linalg.norm(query, axis=1, keepdims=True)
    return query @ (vector / np.linalg.norm(vector, axis=1, keepdims=True)).T


def data(n_items=500, n_rows=23, dim=17, kind=np.float16, seed=0):
    rng = np.random.default_rng(seed)
    vector = rng.standard_normal((n_items, dim)).astype(kind)
    shown = rng.integers(n_items, size=n_rows)
    query = vector[shown].astype(np.float32) + rng.standard_normal((n_rows, dim)).astype(np.float32)
    return query, vector, shown


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("block_bytes", [4 * 17, 4 * 17 * 40, 2**20])
@pytest.mark.parametrize("k", [1, 10, 500])
def test_it_equals_one_whole_matrix(kind, block_bytes, k):
    query, vector, shown = data(kind=kind)
    found = search(query, gallery_of(vector), k, shown, block_bytes=block_bytes)
    expected = whole(query, vector)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.item, order)
    np.testing.assert_allclose(found.similarity, np.take_along_axis(expected, order, 1), atol=1e-12)
    rank = rankdata(-expected, axis=1)[np.arange(len(shown)), shown] - 1
    np.testing.assert_array_equal(found.rank, rank)
    assert (found.image == np.char.add("g", order.astype(str))).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 9))
def test_ties_do_not_depend_on_blocks(n_rows, n_items, seed):
    rng = np.random.default_rng(seed)
    distinct = rng.standard_normal((4, 33)).astype(np.float32)
    # equal directions of unlike lengths, all over the gallery
    number = rng.integers(4, size=n_items)
    vector = distinct[number] * np.exp2(rng.integers(-3, 4, n_items))[:, None].astype(np.float32)
    query, shown = rng.standard_normal((n_rows, 33)), rng.integers(n_items, size=n_rows)
    k = int(rng.integers(1, n_items + 1))
    one = search(query, gallery_of(vector), k, shown)
    for block_bytes in (4 * 33, 4 * 33 * 7):
        other = search(query, gallery_of(vector), k, shown, block_bytes=block_bytes)
        np.testing.assert_array_equal(one.item, other.item)
        np.testing.assert_array_equal(one.similarity, other.similarity)
        np.testing.assert_array_equal((one.above, one.tied), (other.above, other.tied))
    np.testing.assert_array_equal(one.tied, (number == number[shown][:, None]).sum(1) - 1)


def test_what_rounding_would_decide_is_decided_in_double_precision():
    """Items whose cosines differ by less than float32 can tell."""
    rng = np.random.default_rng(0)
    query = rng.standard_normal((3, 768)).astype(np.float32)
    base = query[0] / np.linalg.norm(query[0])
    vector = np.tile(base, (400, 1))
    vector += (1e-4 * rng.standard_normal(vector.shape)).astype(np.float32)
    shown = np.array([7, 8, 9])
    found = search(query, gallery_of(vector), 20, shown)
    expected = whole(query, vector)
    assert np.ptp(expected[0]) < 1e-5
    np.testing.assert_array_equal(found.item, np.argsort(-expected, axis=1)[:, :20])
    np.testing.assert_array_equal(found.rank, rankdata(-expected, axis=1)[np.arange(3), shown] - 1)


def test_scales_that_overflow_are_no_matter():
    query, vector, shown = data(kind=np.float32)
    scaled = (
        vector * np.exp(np.random.default_rng(1).uniform(-80, 80, 500)).astype(np.float32)[:, None]
    )
    one, two = (
        search(query * s, gallery_of(v), 5, shown) for s, v in ((1, vector), (1e30, scaled))
    )
    np.testing.assert_array_equal(one.item, two.item)
    np.testing.assert_array_equal(one.rank, two.rank)


def test_files_are_read_from_disk_and_ids_are_theirs(tmp_path):
    query, vector, shown = data()
    np.save(tmp_path / "g.npy", vector)
    write_h5(
        tmp_path / "g.h5",
        "neurovis-embeddings",
        {"vector": vector, "image": [f"g{i}" for i in range(500)]},
        encoder=json.dumps({"name": "planted"}),
    )
    (tmp_path / "ids.txt").write_text("\n".join(f"g{i}" for i in range(500)))
    expected = search(query, gallery_of(vector), 5, shown)
    for path, ids in (("g.npy", "ids.txt"), ("g.h5", None)):
        with open_gallery(tmp_path / path, ids and tmp_path / ids) as gallery:
            assert not isinstance(gallery.vector, np.ndarray) or isinstance(
                gallery.vector, np.memmap
            )
            found = search(query, gallery, 5, gallery.index([f"g{i}" for i in shown]))
            assert gallery.index(["g3", "absent"]).tolist() == [3, -1]
        np.testing.assert_array_equal(found.image, expected.image)
        np.testing.assert_array_equal(found.rank, expected.rank)
    with open_gallery(tmp_path / "g.npy") as gallery:
        assert search(query, gallery, 1).image[0, 0] == str(expected.item[0, 0])


def test_a_space_is_applied_on_the_way():
    query, vector, _ = data(dim=17)
    rng = np.random.default_rng(3)
    basis, centre = rng.standard_normal((6, 17)), rng.standard_normal(17)
    weight = rng.standard_normal((6, 6)).astype(np.float32)
    space = Space(centre, basis, 1 + rng.random(6), 2.0, weight)
    found = search(query[:, :6], gallery_of(vector), 9, space=space, block_bytes=999)
    mapped = (vector.astype(float) - centre) @ basis.T / space.deviation / 2 @ weight
    order = np.argsort(-whole(query[:, :6], mapped), axis=1)[:, :9]
    np.testing.assert_array_equal(found.item, order)


def test_bad_input_is_one_sentence(tmp_path):
    query, vector, shown = data()
    with pytest.raises(NeurovisError, match="has 17 dims, the queries have 16"):
        search(query[:, :16], gallery_of(vector))
    with pytest.raises(UsageError, match="expected 1 to 500, the gallery's size, found 501"):
        search(query, gallery_of(vector), 501)
    with pytest.raises(NeurovisError, match="one item of the gallery per query"):
        search(query, gallery_of(vector), 5, shown[:3])
    with pytest.raises(NeurovisError, match=r"found \(5, 2\) float64"):
        gallery_of(np.ones((5, 2)))
    with pytest.raises(NeurovisError, match="found 3 ids and 500 vectors"):
        Gallery(vector, np.array(["a", "b", "c"]))
    for value, said in ((0, "only zeros in row 321"), (np.inf, "NaN or infinity in row 321")):
        wrong = vector.copy()
        wrong[321] = value
        with pytest.raises(NeurovisError, match=said):
            search(query, gallery_of(wrong), block_bytes=4 * 17 * 100)
    with pytest.raises(NeurovisError, match="'a' stands in it twice"):
        gallery_of(vector[:2], ["a", "a"]).index(["a"])
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with (
        pytest.raises(NeurovisError, match=r"no plain .npy array"),
        open_gallery(tmp_path / "objects.npy"),
    ):
        pass
    with pytest.raises(NeurovisError, match="no such file"), open_gallery(tmp_path / "absent.npy"):
        pass


def test_faiss_finds_the_same():
    pytest.importorskip("faiss")
    query, vector, _ = data(n_items=3000, dim=32)
    exact = search(query, gallery_of(vector), 10)
    flat = search_faiss(query, gallery_of(vector), 10)
    np.testing.assert_array_equal(flat.item, exact.item)
    np.testing.assert_allclose(flat.similarity, exact.similarity, atol=1e-5)
    near = search_faiss(query, gallery_of(vector), 10, "IVF8,Flat")
    assert (near.item[:, 0] == exact.item[:, 0]).mean() > 0.2
    with pytest.raises(UsageError, match="FAISS knows no index 'Nothing'"):
        search_faiss(query, gallery_of(vector), 10, "Nothing")


def test_without_faiss_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    query, vector, _ = data()
    with pytest.raises(NeurovisError, match=r'pip install "neurovis\[faiss\]"'):
        search_faiss(query, gallery_of(vector))


def test_brain_and_words_are_added_as_unit_vectors():
    rng = np.random.default_rng(0)
    brain, words = rng.standard_normal((4, 6)), 50 * rng.standard_normal((1, 6))
    expected = 0.3 * unit_rows(brain, "") + 0.7 * unit_rows(words, "")
    np.testing.assert_allclose(combine([brain, words], [0.3, 0.7]), expected, rtol=1e-6)
    with pytest.raises(NeurovisError, match="found 6 and 5 dims"):
        combine([brain, words[:, :5]], [0.5, 0.5])


# ---- the command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run, and a gallery of its encoder in which the shown images are a few among many."""
    folder = tmp_path_factory.mktemp("retrieve")
    prepared = write_prepared(folder / "p", n_train=40, n_test=10, repeats=(1, 3))
    targets = {"image": {"encoder": "planted", "components": 5, "whiten": 0.5}}
    targets["image"]["embeddings"] = str(prepared / "embeddings.h5")
    config = experiment(prepared, targets=targets, train={"epochs": 3})
    made = train.main(config, folder, quiet=True)
    own = Embeddings.read(prepared / "embeddings.h5")
    more = np.random.default_rng(5).standard_normal((3000, 8))
    names = [f"other{i}" for i in range(3000)]
    vector = np.concatenate([more[:1500], own.vector, more[1500:]]).astype(np.float16)
    image = [*names[:1500], *own.image, *names[1500:]]
    data = {"vector": vector, "image": image}
    write_h5(folder / "many.h5", "neurovis-embeddings", data, encoder='{"name": "planted"}')
    return made, folder / "many.h5", vector, np.array(image)


@pytest.mark.parametrize("system", ["tower", "ridge"])
def test_a_run_searches_a_gallery_of_its_encoder(run, system, tmp_path):
    made, path, vector, image = run
    query = Query(run=str(made), system=system)
    found, said, scores = retrieve(query, path, k=7, out=tmp_path / "found.h5", quiet=True)
    assert (said.n_averaged == 3).all()
    assert found.item.shape == (20, 7)
    space = run_spaces(made, system, "image")[0][0]
    similarity = whole(said.vector["image"], space.apply(vector.astype(np.float32)))
    np.testing.assert_allclose(found.similarity, -np.sort(-similarity, axis=1)[:, :7], atol=1e-5)
    shown = np.array([image.tolist().index(i) for i in said.image])
    rank = rankdata(-similarity, axis=1)[np.arange(20), shown] - 1
    np.testing.assert_allclose(found.rank, rank, atol=1)
    top10 = next(s for s in scores if (s.name, s.about["subject"]) == ("top10", "all"))
    assert top10.value == pytest.approx((found.rank < 10).mean())
    assert top10.gallery == "3,050 images (many.h5)"
    assert top10.chance == 10 / 3050
    assert top10.protocol == "clean"
    kept = read_h5(tmp_path / "found.h5", "neurovis-retrieved", ("best", "image", "above"))
    np.testing.assert_array_equal(kept["best"], found.image)
    # what stands in the run's own gallery is what its space makes of the raw vectors
    own = made / "systems" / system / "gallery" / "image.h5"
    gallery = Embeddings.read(own if own.is_file() else made / "gallery" / "image.h5")
    raw = Embeddings.read(path.parent / "p" / "embeddings.h5")
    np.testing.assert_allclose(space.apply(raw.at(gallery.image)), gallery.vector, atol=1e-5)


@pytest.mark.parametrize(("subjects", "side"), [("single", "linear"), ("joint", "own")])
def test_each_model_of_a_run_searches_in_its_own_space(run, tmp_path, subjects, side):
    """Where each subject has a space, what is found in the run's gallery is what evaluation finds."""
    from neurovis.evaluate import evaluate_run

    _, path, _, _ = run
    prepared = path.parent / "p"
    targets = {"image": {"encoder": "planted", "components": 5, "whiten": 0.5}}
    targets["image"]["embeddings"] = str(prepared / "embeddings.h5")
    options = {"targets": targets, "subjects": subjects, "projection": side}
    config = experiment(prepared, train={"epochs": 2}, **options)
    made = train.main(config, tmp_path, quiet=True)
    assert len(run_spaces(made, "tower", "image")) == 2
    own = Embeddings.read(prepared / "embeddings.h5")
    tested = Split.read(made / "split.json").test
    few = tmp_path / "few.h5"
    data = {"vector": own.at(list(tested)), "image": np.array(tested)}
    write_h5(few, "neurovis-embeddings", data, encoder='{"name": "planted"}')
    _, _, found = retrieve(Query(run=str(made)), few, k=3, quiet=True)
    known = {
        (s.name, s.about["subject"]): s.value
        for s in evaluate_run(made, quiet=True)
        if "comparison" not in s.about and s.about["n_averaged"] == 3
        and (s.about["system"], s.about["target"]) == ("tower", "image")
    }  # fmt: skip
    assert {s.about["subject"] for s in found} == {"all", "01", "02"}
    for score in found:
        assert score.value == pytest.approx(known[score.name, score.about["subject"]])


def test_words_move_the_answer_and_are_said(run, tmp_path):
    made, path, vector, image = run
    np.save(tmp_path / "word.npy", vector[2000].astype(np.float32))
    word = str(tmp_path / "word.npy")
    alone, said, scores = retrieve(Query(text_vector=word), path, k=3, quiet=True)
    assert (alone.image[0, 0], said, scores) == (image[2000], None, [])
    plain = retrieve(Query(run=str(made)), path, k=3, quiet=True)[0]
    for weight, same in ((0.0, plain.image), (1.0, None)):
        query = Query(run=str(made), text_vector=word, weight=weight)
        found, _, scores = retrieve(query, path, k=3, quiet=True)
        if same is not None:
            np.testing.assert_array_equal(found.image, same)
        else:
            assert (found.image[:, 0] == image[2000]).all()
        assert scores[0].protocol == f"clean, words given with weight {weight:g}"


def test_rows_without_their_image_are_retrieved_but_not_scored(run, tmp_path):
    made, _, vector, image = run
    said = Prediction.read(made / "systems/ridge/prediction.h5")
    keep = image != said.image[0]
    data = {"vector": vector[keep], "image": image[keep]}
    write_h5(tmp_path / "fewer.h5", "neurovis-embeddings", data)
    query = Query(run=str(made), system="ridge")
    found, said, scores = retrieve(query, tmp_path / "fewer.h5", k=4, quiet=True)
    gone = said.image == Prediction.read(made / "systems/ridge/prediction.h5").image[0]
    assert gone.any()
    assert (found.above[gone] == -1).all()
    assert (found.above[~gone] >= 0).all()
    assert found.item.shape == (20, 4)
    assert scores[0].n == 9


def test_the_command_prints_images_and_scores(run, tmp_path, capsys):
    made, path, _, _ = run
    words = ["retrieve", str(made), "--gallery", str(path), "--k", "2", "--quiet"]
    assert cli.main([*words, "--out", str(tmp_path / "found.h5")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("shown ")
    assert "... and 15 more rows" in printed
    assert "3,050 images (many.h5)" in printed
    assert "top10" in printed
    for wrong, said in (
        (["--prediction", "p.h5"], "found both"),
        (["--target", "clip"], "target 'clip' is unknown"),
        (["--n-averaged", "5"], r"expected one of [1, 2, 3], found 5"),
        (["--weight", "2"], "expected 0 to 1, found 2"),
        (["--text", "a dog"], "expected an open_clip encoder"),
    ):
        assert cli.main([*words, *wrong]) in (1, 2)
        assert said in capsys.readouterr().err
    assert cli.main(["retrieve", "--gallery", str(path)]) == 2
    write_h5(
        tmp_path / "foreign.h5",
        "neurovis-embeddings",
        {"vector": np.ones((3, 8), np.float32), "image": ["a", "b", "c"]},
        encoder='{"name": "other"}',
    )
    assert cli.main(["retrieve", str(made), "--gallery", str(tmp_path / "foreign.h5")]) == 1
    assert "name is 'other', expected 'planted'" in capsys.readouterr().err


def test_text_vectors_are_encode_text(tmp_path):
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {
                "image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8
            },
            "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2,
                         "layers": 1},
        },
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }  # fmt: skip
    folder = tmp_path / "clip"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = open_clip.CLIP(**json.loads(json.dumps(config["model_cfg"])))
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    tokens = open_clip.SimpleTokenizer(context_length=8)(["a dog", "two cats"])
    with torch.inference_mode():
        expected = model.eval().encode_text(tokens).numpy()
    found = text_vectors(f"open_clip:local-dir:{folder}", ["a dog", "two cats"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    name = {"name": "open_clip", "model": f"local-dir:{folder}", "transform": "as it was"}
    np.testing.assert_array_equal(text_vectors(name, ["a dog"]), found[:1])
    for wrong in (f"open_clip:local-dir:{folder}@0.5", {"name": "antigravity:Encoder"}, "gabor"):
        with pytest.raises(NeurovisError, match="expected an open_clip encoder at its own output"):
            text_vectors(wrong, ["a dog"])
    assert "antigravity" not in sys.modules
    (folder / "open_clip_model.safetensors").write_bytes(b"cut short")
    with pytest.raises(NeurovisError, match=r"could not be loaded .*give --text-vector"):
        text_vectors(f"open_clip:local-dir:{folder}", ["a dog"])
