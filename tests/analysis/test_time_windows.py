"""Fits in windows against references: one kernel for all, masks, and the shuffled control beside."""

from __future__ import annotations

import numpy as np
import pytest
from planted_study import N_TIMES, write_study
from sklearn.kernel_ridge import KernelRidge

from neurovis.analysis import windows
from neurovis.analysis.base import PART, assess, lay_out, own_scores, two_way
from neurovis.analysis.command import configured
from neurovis.batches import Recordings
from neurovis.brain.ridge import Ridge, RidgeModel
from neurovis.errors import NeurovisError, UsageError
from neurovis.records import Embeddings
from neurovis.store import read_h5

RIDGE = Ridge()
PENALTIES = np.logspace(-3, 4, 15)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("windows"), n_train=60, n_test=16)


@pytest.fixture(scope="module")
def layout(study, tmp_path_factory):
    config, _ = configured(str(study), "when", ["n_permutations=30"])
    recordings = Recordings(config.data)
    found = lay_out(config, recordings, tmp_path_factory.mktemp("parts"), study.parent, quiet=True)
    recordings.close()
    return found


@pytest.mark.parametrize("shape", [(40, 90), (40, 12)])
def test_ridge_from_inner_products_is_ridge(shape):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(shape) + 2, rng.standard_normal((40, 3)) + 1
    y += x[:, :3]
    new = rng.standard_normal((9, shape[1])) + 2
    about = x.mean(0) + 0.1
    a, b = x - about, new - about
    found = windows.from_kernel(a @ a.T, y, b @ a.T, PENALTIES)
    model = RIDGE.build().fit(x, y)
    np.testing.assert_allclose(found, model.predict(new), rtol=1e-3, atol=1e-3)
    # one penalty alone, against another's implementation
    middle = x.mean(0)
    scale = ((x - middle) ** 2).sum() / len(x)
    other = KernelRidge(alpha=0.7 * scale).fit(x - middle, y - y.mean(0))
    found = windows.from_kernel(a @ a.T, y, b @ a.T, np.array([0.7]))
    np.testing.assert_allclose(found, other.predict(new - middle) + y.mean(0), rtol=1e-4, atol=1e-4)


def test_windows_cover_the_epoch():
    assert windows.sliding(10, 3, 2) == [(0, 3), (2, 5), (4, 7), (6, 9)]
    assert windows.sliding(5, 5, 1) == [(0, 5)]
    assert windows.growing(10, 3, 3) == [(0, 3), (0, 6), (0, 9), (0, 10)]
    assert windows.growing(9, 3, 3)[-1] == (0, 9)
    assert windows.growing(4, 10, 2) == [(0, 4)]


def test_signals_on_disk_are_the_means_of_the_trials(study, layout):
    config, _ = configured(str(study), "when", [])
    recordings = Recordings(config.data)
    items, images = recordings.items(recordings.folds[0], "test")
    mine = [i for i, (s, _) in enumerate(items) if s == 1]
    wanted = recordings.averages([items[i] for i in mine])
    np.testing.assert_array_equal(layout.signal("02", "test"), wanted)
    np.testing.assert_array_equal(layout.image[layout.shown("02", "test")], images[mine])
    assert layout.signal("02", "fit", slice(3, 7)).shape[2] == 4
    assert len(layout.signal("02", "fit")) == len(layout.shown("02", "fit")) == 60
    recordings.close()


def test_bins_are_means_over_time(study, tmp_path):
    config = configured(str(study), "when", ["bin=0.04"])[0]
    recordings = Recordings(config.data)
    found = lay_out(config, recordings, tmp_path, study.parent, quiet=True)
    items, _ = recordings.items(recordings.folds[0], "test")
    whole = recordings.averages([i for i in items if i[0] == 0])[:, :, :48]
    wanted = whole.reshape(*whole.shape[:2], 12, 4).mean(3)
    np.testing.assert_allclose(found.signal("01", "test"), wanted, atol=1e-6)
    np.testing.assert_allclose(found.times, recordings.times[:48].reshape(12, 4).mean(1))
    assert found.step == pytest.approx(0.04)
    recordings.close()


def test_a_window_is_a_ridge_of_its_samples(layout, tmp_path):
    path = tmp_path / "one.h5"
    others = [(10, 15), (16, 21), (30, 35)]
    windows.fit_window(layout, RIDGE, "01", (16, 21), others, 25, path)
    found = read_h5(path, PART, ("above", "tied", "null", "general/above", "general/null"))
    x = layout.signal("01", "fit")[:, :, 16:21]
    model = RIDGE.build().fit(x, layout.vector[layout.shown("01", "fit")])
    for level in range(2):
        columns = slice(5 * level, 5 * level + 5)
        for place, (start, stop) in enumerate(others):
            said = model.predict(layout.signal("01", "test")[:, :, start:stop])[:, columns]
            gallery = layout.vector[layout.gallery][:, columns]
            cosine = said @ gallery.T / np.linalg.norm(said, axis=1)[:, None]
            cosine = cosine / np.linalg.norm(gallery, axis=1)
            item = layout.item("01")
            above = (cosine > cosine[np.arange(len(item)), item][:, None]).sum(1)
            np.testing.assert_array_equal(found["general/above"][level, place], above)
        np.testing.assert_array_equal(found["above"][level, 0], found["general/above"][level, 1])
        np.testing.assert_array_equal(found["null"][level, 0], found["general/null"][level, 1])
    assert found["above"].shape == (2, 5, 16)


def test_the_control_is_fitted_to_shuffled_images(layout, tmp_path):
    path = tmp_path / "one.h5"
    windows.fit_window(layout, RIDGE, "02", (15, 20), [], 25, path)
    found = read_h5(path, PART, ("above", "tied"))
    x = layout.signal("02", "fit")[:, :, 15:20]
    new = layout.signal("02", "test")[:, :, 15:20]
    penalty = RIDGE.build().fit(x, layout.aims("02")).penalty_
    for shuffle, images in enumerate(layout.control["02"]):
        # the same penalties as for the truth, dim by dim
        each = [
            RidgeModel([p]).fit(x, layout.vector[images][:, i : i + 1]).predict(new)
            for i, p in enumerate(penalty)
        ]
        said = np.concatenate(each, axis=1)[:, :5]
        wanted = assess(layout, "02", 0, said, 0)
        assert np.abs(found["above"][0, 1 + shuffle] - wanted["above"]).max() <= 1
    # repeats and people share one permutation, so that what is paired stays paired
    true = {s: layout.shown(s, "fit") for s in layout.subjects}
    for k in range(4):
        pairs = {(a, b) for s in layout.subjects for a, b in zip(true[s], layout.control[s][k])}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert len({tuple(rows) for rows in layout.control["01"]}) == 4


def test_the_null_is_the_score_of_permuted_labels(layout):
    rng = np.random.default_rng(3)
    said = rng.standard_normal((16, 5)).astype(np.float32)
    found = assess(layout, "01", 1, said, 25)
    similarity, item = layout.similarity(1, said), layout.item("01")
    for order, value in zip(layout.permutations(16, 25), found["null"]):
        shown = item[order]
        true = similarity[np.arange(16), shown][:, None]
        above, tied = (similarity > true).sum(1), (similarity == true).sum(1) - 1
        assert two_way(above, tied, 16).mean() == pytest.approx(value, abs=1e-6)
    assert found["null"].mean() == pytest.approx(0.5, abs=0.03)


def test_growing_windows_share_a_kernel_and_are_fits_of_their_own(layout, tmp_path):
    some = [(0, 5), (0, 20), (0, N_TIMES)]
    windows.fit_growing(layout, RIDGE, "01", some, 25, tmp_path)
    for window in some:
        found = read_h5(windows.part(tmp_path, "01", "growing", window), PART, ("above",))
        x = layout.signal("01", "fit")[:, :, : window[1]]
        model = RIDGE.build().fit(x, layout.aims("01"), control=layout.shuffled("01"))
        said = model.predict(layout.signal("01", "test")[:, :, : window[1]])
        wanted = own_scores(layout, "01", said, 0)["above"][1]
        # sums are in another order: a place may move by one between equals
        assert np.abs(found["above"][1] - wanted).max() <= 1


def test_growing_goes_on_after_a_stop(layout, tmp_path):
    some = [(0, 5), (0, 20), (0, 30)]
    windows.fit_growing(layout, RIDGE, "01", some, 25, tmp_path / "whole")
    windows.fit_growing(layout, RIDGE, "01", some[:2], 25, tmp_path / "part")
    windows.fit_growing(layout, RIDGE, "01", some, 25, tmp_path / "part")
    last = [windows.part(tmp_path / name, "01", "growing", some[2]) for name in ("whole", "part")]
    first, second = (read_h5(path, PART, ("above", "null")) for path in last)
    np.testing.assert_array_equal(first["above"], second["above"])


def test_masked_time_is_one_model_with_the_mean_elsewhere(layout, tmp_path):
    some = {"sliding": [(0, 5), (15, 20)]}
    windows.fit_masked(layout, RIDGE, "01", some, 25, tmp_path)
    fit, test = layout.signal("01", "fit"), layout.signal("01", "test")
    model = RIDGE.build().fit(fit, layout.aims("01"))
    for window in some["sliding"]:
        signal = np.tile(fit.mean(0), (len(test), 1, 1))
        signal[:, :, window[0] : window[1]] = test[:, :, window[0] : window[1]]
        wanted = assess(layout, "01", 0, layout.parts(model.predict(signal))[0], 0)
        found = read_h5(windows.part(tmp_path, "01", "sliding", window), PART, ("above",))
        np.testing.assert_array_equal(found["above"][0, 0], wanted["above"])


def test_what_a_level_has_of_its_own_is_not_in_the_others(study, tmp_path):
    """A level that is mostly another one loses what it shares, and keeps what it does not."""
    low = Embeddings.read(study.parent / "low.h5")
    own = np.random.default_rng(7).standard_normal(low.vector.shape).astype(np.float32)
    Embeddings(2 * low.vector[:, ::-1] + own, low.image, {"name": "mix"}).write(tmp_path / "m.h5")
    words = [f"targets.mix={{encoder: mix, embeddings: {tmp_path / 'm.h5'}}}", "apart=true"]
    config, _ = configured(str(study), "when", words)
    recordings = Recordings(config.data)
    found = lay_out(config, recordings, tmp_path / "parts", study.parent, quiet=True)
    recordings.close()
    assert found.levels == ("low", "high", "mix", "low alone", "high alone", "mix alone")
    parts = dict(zip(found.levels, found.parts(found.vector)))
    own = own[low_index(low, found.image)]

    def alike(a, b):
        return np.abs(np.corrcoef(a.T, b.T)[: a.shape[1], a.shape[1] :])

    assert alike(parts["mix"], parts["low"]).max() > 0.8
    assert alike(parts["mix alone"], parts["low"]).max() < 0.4
    assert np.diagonal(alike(parts["mix alone"], own)).min() > 0.8


def low_index(low, images):
    """Rows of images in an embeddings file."""
    place = {image: i for i, image in enumerate(low.image.tolist())}
    return [place[image] for image in images.tolist()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bin=9"], "length of the signals"),
        (["data.subjects=[03]"], "subject"),
        (["targets.low.components=500"], "components"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(study, tmp_path, words, said):
    def laid_out():
        config, _ = configured(str(study), "when", words)
        lay_out(config, Recordings(config.data), tmp_path, study.parent, quiet=True)

    with pytest.raises((NeurovisError, UsageError), match=said):
        laid_out()
