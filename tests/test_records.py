"""Records: round trips through their files, refusals that name what is wrong, damaged files, full disks."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurovis.errors import NeurovisError
from neurovis.records import (
    Embeddings,
    Prediction,
    Score,
    Split,
    Stimuli,
    Trials,
    opened,
)
from neurovis.store import read_json, write_json

quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# any text that a file system or a table may hold: commas, quotes, line ends, any script; no NUL
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0|"), max_size=8)
ids = st.lists(words.filter(bool), min_size=1, max_size=6, unique=True)
seeds = st.integers(0, 2**32 - 1)


def make_stimuli(image=("a", "b", "c"), **changes):
    n = len(image)
    fields = {
        "image": list(image),
        "path": [f"{i}.png" for i in range(n)],
        "sha256": [f"{i:064x}" for i in range(n)],
        "width": [16] * n,
        "height": [12] * n,
        "concept": [f"concept {i}" for i in range(n)],
        "set": ["train"] * (n - 1) + ["test"],
    }
    return Stimuli(**{**fields, **changes})


def make_trials(n=7, n_chans=3, n_times=5, seed=0, **changes):
    rng = np.random.default_rng(seed)
    fields = {
        "signal": rng.standard_normal((n, n_chans, n_times)).astype(np.float32),
        "image": [f"image {i % 3}" for i in range(n)],
        "session": ["1"] * n,
        "run": [str(i % 2) for i in range(n)],
        "set": ["train"] * n,
        "onset": np.arange(n) * 0.5,
        "channel_name": [f"Cz{i}" for i in range(n_chans)],
        "channel_type": ["eeg"] * n_chans,
        "channel_position": rng.standard_normal((n_chans, 3)),
        "sfreq": 100.0,
        "tmin": -0.1,
        "modality": "eeg",
        "unit": "V",
        "subject": "01",
        "dataset": "planted",
        "provenance": {"steps": ["notch"]},
    }
    return Trials(**{**fields, **changes})


def make_prediction(n=4, **changes):
    fields = {
        "vector": {"image": np.ones((n, 3)), "text": np.ones((n, 2))},
        "image": [f"image {i}" for i in range(n)],
        "subject": ["01"] * n,
        "n_averaged": [1] * n,
        "recording": ["ses-1_run-1"] * n,
        "model": "abc",
    }
    return Prediction(**{**fields, **changes})


def make_score(**changes):
    fields = {
        "value": 0.4,
        "n": 20,
        "chance": 0.05,
        "low": 0.2,
        "high": 0.6,
        "per_item": np.linspace(0, 1, 20),
        "gallery": "20 test images",
        "protocol": "clean",
        "higher_is_better": True,
        "name": "top1",
        "about": {"system": "tower"},
    }
    return Score(**{**fields, **changes})


# ---- round trips


@quick
@given(st.data(), ids)
def test_stimuli_come_back_as_they_were(data, image):
    n = len(image)
    column = st.lists(words, min_size=n, max_size=n)
    path = st.lists(words.filter(bool), max_size=3).map(tuple)
    pixels = st.lists(st.integers(0, 2**40), min_size=n, max_size=n)
    given_ = Stimuli(
        image=image,
        path=data.draw(st.lists(path, min_size=n, max_size=n)),
        sha256=data.draw(column),
        width=data.draw(pixels),
        height=data.draw(pixels),
        concept=data.draw(column),
        set=data.draw(st.lists(st.sampled_from(["train", "test"]), min_size=n, max_size=n)),
        caption=data.draw(column),
    )
    with tempfile.TemporaryDirectory() as name:
        given_.write(Path(name) / "stimuli.csv")
        found = Stimuli.read(Path(name) / "stimuli.csv")
    assert found.path == given_.path
    for column in ("image", "sha256", "width", "height", "concept", "set", "caption"):
        np.testing.assert_array_equal(getattr(found, column), getattr(given_, column))
    rows = data.draw(st.permutations(range(n)))
    np.testing.assert_array_equal(found.index(found.image[rows]), rows)
    assert found.take(rows).path == [given_.path[i] for i in rows]


def test_stimuli_of_a_category_keep_thousands_of_paths(tmp_path):
    path = [tuple(f"faces/a rather long name of a picture {i:05d}.png" for i in range(5000))]
    make_stimuli(["faces"], path=path, set=["train"]).write(tmp_path / "stimuli.csv")
    found = Stimuli.read(tmp_path / "stimuli.csv")
    assert found.path == path
    assert found.category.tolist() == [True]
    assert found.files(0)[4999] == tmp_path / path[0][4999]


def test_stimuli_saved_by_a_spreadsheet_are_read(tmp_path):
    make_stimuli().write(tmp_path / "stimuli.csv")
    text = (tmp_path / "stimuli.csv").read_text(encoding="utf-8")
    (tmp_path / "stimuli.csv").write_text(text.rstrip("\n"), encoding="utf-8-sig")
    assert Stimuli.read(tmp_path / "stimuli.csv").image.tolist() == ["a", "b", "c"]


@quick
@given(seeds, st.integers(1, 9), st.integers(1, 4), st.integers(1, 6), st.data())
def test_trials_come_back_as_they_were(seed, n, n_chans, n_times, data):
    position = np.full((n_chans, 3), np.nan)
    names = data.draw(st.lists(words, min_size=n, max_size=n))
    given_ = make_trials(n, n_chans, n_times, seed, image=names, channel_position=position)
    with tempfile.TemporaryDirectory() as name:
        given_.write(Path(name) / "trials.h5")
        with opened(Path(name) / "trials.h5") as found:
            np.testing.assert_array_equal(found.read(), given_.signal)
            for field in ("image", "session", "run", "set", "onset", "channel_name"):
                np.testing.assert_array_equal(getattr(found, field), getattr(given_, field))
            np.testing.assert_array_equal(found.channel_position, position)
            for field in ("sfreq", "tmin", "modality", "unit", "subject", "dataset", "provenance"):
                assert getattr(found, field) == getattr(given_, field)
            np.testing.assert_allclose(found.times, -0.1 + np.arange(n_times) / 100)


@quick
@given(ids, st.integers(1, 5), st.integers(0, 3), seeds)
def test_embeddings_come_back_as_they_were(image, dim, tokens, seed):
    shape = (len(image), tokens, dim) if tokens else (len(image), dim)
    vector = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    given_ = Embeddings(vector, image, {"name": "hog", "cell": 8})
    with tempfile.TemporaryDirectory() as name:
        given_.write(Path(name) / "embeddings.h5")
        found = Embeddings.read(Path(name) / "embeddings.h5")
    np.testing.assert_array_equal(found.vector, vector)
    assert found.image.tolist() == image
    assert found.encoder == given_.encoder
    np.testing.assert_array_equal(found.at(image[::-1]), vector[::-1])


@quick
@given(ids.filter(lambda i: len(i) > 1), words, st.sampled_from(["image", "recording"]))
def test_splits_come_back_as_they_were(image, protocol, unit):
    given_ = Split(image[:1], image[2:], image[1:2], protocol, unit)
    with tempfile.TemporaryDirectory() as name:
        given_.write(Path(name) / "split.json")
        found = Split.read(Path(name) / "split.json")
    for field in ("train", "validation", "test", "protocol", "unit"):
        assert getattr(found, field) == getattr(given_, field)


@quick
@given(ids, seeds, st.booleans())
def test_predictions_come_back_as_they_were(image, seed, with_recording):
    n = len(image)
    rng = np.random.default_rng(seed)
    vector = {"image": rng.standard_normal((n, 3)), "été": rng.standard_normal((n, 1))}
    recording = image[::-1] if with_recording else None
    given_ = Prediction(vector, image, image, rng.integers(1, 9, n), recording, "f00")
    with tempfile.TemporaryDirectory() as name:
        given_.write(Path(name) / "prediction.h5")
        found = Prediction.read(Path(name) / "prediction.h5")
    assert found.vector.keys() == vector.keys()
    for target in vector:
        np.testing.assert_array_equal(found.vector[target], vector[target].astype(np.float32))
    for field in ("image", "subject", "n_averaged", "recording"):
        np.testing.assert_array_equal(getattr(found, field), getattr(given_, field))
    assert found.model == "f00"


@quick
@given(st.floats(-1e6, 1e6), st.lists(st.floats(0, 1), max_size=5), words, words)
def test_scores_come_back_as_they_were(value, per_item, gallery, name):
    given_ = make_score(value=value, per_item=per_item, gallery=gallery, name=name)
    with tempfile.TemporaryDirectory() as place:
        write_json(Path(place) / "scores.json", given_.to_dict())
        found = Score.from_dict(read_json(Path(place) / "scores.json"))
    assert (found.value, found.gallery, found.name) == (value, gallery, name)
    np.testing.assert_allclose(found.per_item, per_item, atol=1e-6)
    assert found.about == {"system": "tower"}


# ---- lazy reads


@quick
@given(st.lists(st.integers(-1200, 1199), max_size=40), seeds)
def test_lazy_reads_equal_eager_reads(big, rows, seed):
    given_, path = big
    with opened(path) as found:
        np.testing.assert_array_equal(found.read(rows), given_.signal[rows])
        np.testing.assert_array_equal(given_.read(rows), given_.signal[rows])
        chosen = np.random.default_rng(seed).random(1200) < 0.3
        np.testing.assert_array_equal(found.read(chosen), given_.signal[chosen])
        np.testing.assert_array_equal(found.read(slice(9, 1100, 7)), given_.signal[9:1100:7])


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    given_ = make_trials(1200, 2, 3)
    path = tmp_path_factory.mktemp("big") / "trials.h5"
    given_.write(path)
    return given_, path


def test_reading_beyond_the_end_is_refused(big):
    given_, path = big
    with opened(path) as found, pytest.raises(NeurovisError, match="below 1200, found 3 to 1200"):
        found.read([3, 1200])
    with pytest.raises(NeurovisError, match="below 1200"):
        given_.read([-1201])


def test_one_trial_is_one_chunk(big):
    with opened(big[1]) as found:
        assert found.signal.chunks == (1, 2, 3)


# ---- refusals name what is wrong


@pytest.mark.parametrize(
    ("make", "changes", "said"),
    [
        (make_stimuli, {"width": [1, 2]}, r"Stimuli\.width: expected shape \(image=3,\)"),
        (make_stimuli, {"concept": ["x"]}, r"Stimuli\.concept: expected shape \(image=3,\)"),
        (make_stimuli, {"sha256": [["x"], ["y"], ["z"]]}, r"Stimuli\.sha256.*\(3, 1\)"),
        (make_stimuli, {"caption": ["x"]}, r"Stimuli\.caption"),
        (make_stimuli, {"image": ["a", "b", "a"]}, r"'a' appears 2 times"),
        (make_stimuli, {"set": ["train", "tes", "test"]}, r"Stimuli\.set.*'tes' for image 'b'"),
        (make_stimuli, {"path": ["a", "b|c", "d"]}, r"Stimuli\.path.*'b\|c'"),
        (make_trials, {"signal": np.zeros((7, 3), np.float32)}, r"signal: expected \(trial, chan"),
        (make_trials, {"signal": np.zeros((7, 3, 5))}, r"float32, found \(7, 3, 5\) float64"),
        (make_trials, {"image": ["a"] * 6}, r"Trials\.image: expected shape \(trial=7,\)"),
        (make_trials, {"session": ["a"] * 8}, r"Trials\.session"),
        (make_trials, {"run": ["a"]}, r"Trials\.run"),
        (make_trials, {"set": ["a"]}, r"Trials\.set"),
        (make_trials, {"onset": [0.0]}, r"Trials\.onset"),
        (make_trials, {"channel_name": ["a"]}, r"Trials\.channel_name: .*\(channel=3,\)"),
        (make_trials, {"channel_type": ["a"]}, r"Trials\.channel_type"),
        (make_trials, {"channel_name": ["a", "b", "a"]}, r"channel_name: a name appears twice"),
        (make_trials, {"channel_position": np.zeros((3, 2))}, r"\(channel=3, 3\), found \(3, 2\)"),
        (make_trials, {"sfreq": 0.0}, r"sfreq above 0"),
        (make_trials, {"sfreq": float("nan")}, r"sfreq above 0"),
        (make_trials, {"tmin": float("inf")}, r"from inf s"),
        (make_trials, {"n_times": 0}, r"time=0"),
        (make_trials, {"n_chans": 0}, r"channel=0"),
        (make_trials, {"modality": "ecog"}, r"Trials\.modality: expected one of meg, eeg, fmri"),
        (make_prediction, {"vector": {"image": np.ones((3, 2))}}, r"'image'\]: .*\(row=4, dim\)"),
        (make_prediction, {"vector": {"image": np.ones(4)}}, r"'image'\]"),
        (make_prediction, {"vector": {}}, r"rows and targets"),
        (make_prediction, {"vector": {"a/b": np.ones((4, 2))}}, r"'a/b'"),
        (make_prediction, {"image": [["a"]] * 4}, r"Prediction\.image"),
        (make_prediction, {"subject": ["01"]}, r"Prediction\.subject: .*\(row=4,\)"),
        (make_prediction, {"n_averaged": [1, 1, 1, 0]}, r"n_averaged: expected 1 or more"),
        (make_prediction, {"recording": ["x"]}, r"Prediction\.recording"),
        (make_score, {"value": float("nan")}, r"Score\.value of top1.*nan"),
        (make_score, {"low": float("inf")}, r"Score\.low"),
        (make_score, {"chance": float("nan")}, r"Score\.chance"),
        (make_score, {"per_item": [0.0, float("nan")]}, r"per_item.*row 1"),
        (make_score, {"n": 0}, r"n of 1 or more"),
    ],
)
def test_what_is_wrong_is_named(make, changes, said):
    with pytest.raises(NeurovisError, match=said):
        make(**changes)


def test_no_stimulus_is_refused():
    with pytest.raises(NeurovisError, match="at least one image"):
        make_stimuli([], set=[])


def test_embeddings_refuse_nan_duplicates_and_shapes():
    vector = np.ones((3, 4), np.float32)
    vector[1, 2] = np.nan
    with pytest.raises(NeurovisError, match=r"row 1 \(.*'b'"):
        Embeddings(vector, ["a", "b", "c"])
    with pytest.raises(NeurovisError, match="'b' appears 2 times"):
        Embeddings(np.ones((3, 4)), ["b", "a", "b"])
    with pytest.raises(NeurovisError, match=r"Embeddings.image: expected shape \(image=3,\)"):
        Embeddings(np.ones((3, 4)), ["b", "a"])
    for shape in ((3,), (3, 1, 2, 2), (0, 4)):
        with pytest.raises(NeurovisError, match=r"expected \(image, dim\) or"):
            Embeddings(np.ones(shape), ["b", "a"][: shape[0]])
    with pytest.raises(NeurovisError, match="image 'z' is not in it"):
        Embeddings(np.ones((1, 4)), ["a"]).at(["a", "z"])


def test_prediction_names_the_row_that_is_nan():
    vector = np.ones((4, 2))
    vector[2, 0] = np.inf
    with pytest.raises(NeurovisError, match=r"row 2 \(.*'image 2'"):
        make_prediction(vector={"image": vector})


def test_score_of_unknown_or_missing_fields_is_refused():
    data = make_score().to_dict()
    with pytest.raises(NeurovisError, match="'colour'"):
        Score.from_dict({**data, "colour": 1})
    with pytest.raises(NeurovisError, match="'chance'"):
        Score.from_dict({k: v for k, v in data.items() if k != "chance"})


# ---- splits leak nothing


@pytest.mark.parametrize(
    ("sides", "first", "second"),
    [
        ((["a", "b"], ["c"], ["d", "b"]), "train", "test"),
        ((["a"], ["b"], ["b"]), "validation", "test"),
        ((["a", "b"], ["b"], ["c"]), "train", "validation"),
    ],
)
def test_an_image_on_two_sides_is_named(sides, first, second):
    with pytest.raises(NeurovisError, match=f"image 'b' is in {first} and in {second}"):
        Split(*sides)


def test_an_empty_side_is_refused():
    with pytest.raises(NeurovisError, match=r"Split\.train"):
        Split([], [], ["a"])
    with pytest.raises(NeurovisError, match=r"Split\.test"):
        Split(["a"], [], [])
    with pytest.raises(NeurovisError, match=r"Split\.unit"):
        Split(["a"], [], ["b"], unit="concept")


def test_the_same_picture_under_two_ids_is_found():
    split = Split(["a"], ["b"], ["c"])
    split.check(make_stimuli())
    same = make_stimuli(sha256=["f", "e", "f"])
    with pytest.raises(
        NeurovisError, match="image 'a' in train is the same picture as 'c' in test"
    ):
        split.check(same)
    # pictures without a checksum cannot be compared
    split.check(make_stimuli(sha256=["", "", ""]))


def test_a_shared_concept_is_found_if_asked():
    stimuli = make_stimuli(concept=["cat", "dog", "cat"])
    split = Split(["a"], ["b"], ["c"])
    split.check(stimuli)
    with pytest.raises(NeurovisError, match="concept 'cat' is in train and in test"):
        split.check(stimuli, concepts=True)
    with pytest.raises(NeurovisError, match="concept 'dog'"):
        split.check(make_stimuli(concept=["cat", "dog", "dog"]), concepts=True)


def test_an_id_without_a_picture_is_named():
    with pytest.raises(NeurovisError, match="image 'z' is not in it"):
        Split(["a"], [], ["z"]).check(make_stimuli())


def test_rows_of_a_split_by_image_and_by_recording():
    trials = make_trials()
    by_image = Split(["image 0"], ["image 2"], ["image 1"])
    np.testing.assert_array_equal(by_image.rows("train", trials), [0, 3, 6])
    by_run = Split(["ses-1_run-0"], [], ["ses-1_run-1"], unit="recording")
    np.testing.assert_array_equal(by_run.rows("test", trials), [1, 3, 5])


def test_folds_are_read_in_order(tmp_path):
    for number in (2, 1, 10):
        Split([str(number)], [], ["x"]).write(tmp_path / f"split-{number:02d}.json")
    assert [s.train[0] for s in Split.read_folds(tmp_path)] == ["1", "2", "10"]
    with pytest.raises(NeurovisError, match=r"no split\.json"):
        Split.read_folds(tmp_path / "absent")
