"""Completeness: every registered generator builds, seeds, batches, refuses, and keeps its config."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from tiny_generators import DIM, TINY, training

from neurovis.config import components, fingerprint, resolve, to_dict
from neurovis.errors import NeurovisError, UsageError
from neurovis.generate.base import Cue, Generator, Painter
from neurovis.generate.linear import Linear
from neurovis.generate.nearest import Nearest, nearest
from neurovis.generate.published import Published
from neurovis.generate.training import read_training, write_training

NAMES = sorted(components(Generator))
FEW = 5


@pytest.fixture(scope="module", params=NAMES)
def built(request, tmp_path_factory):
    """A generator, made small and ready to paint, with cues of the right width."""
    config = TINY[request.param](tmp_path_factory.mktemp(request.param))
    painter = config.build()
    vector = np.random.default_rng(1).standard_normal((FEW, painter.width)).astype(np.float32)
    return config, painter, Cue(vector)


def part(cue: Cue, rows) -> Cue:
    return Cue(cue.vector[rows], None if cue.low is None else cue.low[rows])


def test_every_generator_has_a_small_version():
    assert set(TINY) == set(NAMES), "add it to tests/generate/tiny_generators.py"


def test_it_paints_what_it_says(built):
    config, painter, cue = built
    made = painter(cue, np.arange(FEW))
    assert made.shape == (FEW, painter.size, painter.size, 3)
    assert made.dtype == np.uint8
    assert isinstance(to_dict(painter.details), dict)
    assert config.__doc__


def test_a_seed_is_a_picture(built):
    config, painter, cue = built
    seeds = np.array([2**40 + i for i in range(FEW)])
    made = painter(cue, seeds)
    np.testing.assert_array_equal(painter(cue, seeds), made)
    same = np.array_equal(painter(cue, seeds + 1), made)
    assert same == config.deterministic


def test_the_rows_beside_a_row_change_nothing(built):
    config, painter, cue = built
    seeds = np.arange(FEW) + 7
    whole = painter(cue, seeds).astype(int)
    alone = [painter(part(cue, [i]), seeds[[i]]) for i in range(FEW)]
    # sums of floats differ in their last digit between batches of another size
    assert np.abs(np.concatenate(alone) - whole).max() <= 1
    order = np.array([3, 0, 4, 1, 2])
    moved = painter(part(cue, order), seeds[order])
    assert np.abs(moved - whole[order]).max() <= 1
    small = config.model_copy(update={"batch_size": 2}).build()
    assert np.abs(small(cue, seeds) - whole).max() <= 1


def test_it_refuses_what_does_not_fit(built):
    _, painter, cue = built
    seeds = np.arange(FEW)
    with pytest.raises(NeurovisError, match=f"dim={painter.width}"):
        painter(Cue(cue.vector[:, 1:]), seeds)
    for wrong in (np.nan, np.inf):
        vector = cue.vector.copy()
        vector[2, 0] = wrong
        with pytest.raises(NeurovisError, match="1 of 5 rows, first in row 2"):
            painter(Cue(vector), seeds)
    with pytest.raises(NeurovisError, match="a seed for each of 5"):
        painter(cue, seeds[1:])
    with pytest.raises(NeurovisError, match="expected embeddings"):
        painter(Cue(cue.vector[:0]), seeds[:0])
    for low in (np.zeros((FEW, 8, 8), np.uint8), np.zeros((FEW, 8, 8, 3), np.float32)):
        with pytest.raises(NeurovisError, match="expected rough pictures"):
            painter(Cue(cue.vector, low), seeds)
    with pytest.raises(NeurovisError, match="expected text for 5 rows, found 1"):
        painter(Cue(cue.vector, text=("one",)), seeds)
    low = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(NeurovisError, match="expected low for 5 rows, found 2"):
        painter(Cue(cue.vector, low), seeds)


def test_its_config_is_saved_and_loaded(built):
    config, *_ = built
    text = yaml.safe_dump(to_dict(config))
    assert resolve(Generator, yaml.safe_load(text)) == config
    # how it is run is no part of what it is
    other = config.model_copy(update={"device": "cuda", "batch_size": 3})
    assert fingerprint(other) == fingerprint(config)


def test_a_rough_picture_is_looked_at(built):
    config, painter, cue = built
    if not hasattr(config, "low_weight") and not hasattr(config, "strength"):
        pytest.skip("it starts from no rough picture")
    dark = np.zeros((FEW, 6, 6, 3), np.uint8)
    seeds = np.arange(FEW)
    light, black = (painter(Cue(cue.vector, low), seeds) for low in (255 - dark, dark))
    if isinstance(config, Published):  # random weights keep no brightness
        assert not np.array_equal(light, black)
    else:
        assert light.mean() > black.mean()


# ---- those that are made of training pictures


def test_the_nearest_picture_is_one_of_the_training_pictures(tmp_path):
    known = read_training(training(tmp_path), "nearest")
    find = nearest(known)
    np.testing.assert_array_equal(find(known.vector), np.arange(20))
    centre = known.vector.mean(0)
    # by direction from the mean: farther along is the same picture
    np.testing.assert_array_equal(find(centre + 5 * (known.vector - centre)), np.arange(20))
    painter = Nearest(size=12, training=str(tmp_path / "training.h5")).build()
    made = painter(Cue(known.vector[[4, 9]]), np.zeros(2, int))
    np.testing.assert_array_equal(made, known.pictures([4, 9], 12))


def test_the_linear_picture_is_a_ridge_regression(tmp_path):
    from sklearn.linear_model import Ridge

    from neurovis.brain.ridge import RidgeModel
    from neurovis.generate.linear import PENALTIES

    path = training(tmp_path, 40)
    known = read_training(path, "linear")
    flat = known.pictures(np.arange(40), 8).reshape(40, -1) / 255
    penalty = RidgeModel(PENALTIES).fit(known.vector, flat).penalty_
    centred = known.vector - known.vector.mean(0)
    alpha = penalty * (centred.astype(float) ** 2).sum() / 40
    vector = np.random.default_rng(2).standard_normal((6, DIM))
    expected = Ridge(alpha=np.maximum(alpha, 1e-9)).fit(known.vector, flat).predict(vector)
    painter = Linear(size=8, training=path).build()
    made = painter(Cue(vector.astype(np.float32)), np.zeros(6, int)).reshape(6, -1)
    assert np.abs(made - np.round(255 * expected.clip(0, 1))).max() <= 1


def test_a_generator_that_paints_something_else_is_named():
    wrong = Painter(lambda cue, seeds: np.zeros((len(cue), 4, 4, 3)), 3, 4)
    with pytest.raises(NeurovisError, match=r"uint8, found .* float64"):
        wrong(Cue(np.zeros((2, 3))), np.arange(2))


def test_training_pictures_that_are_not_there_are_named(tmp_path):
    with pytest.raises(UsageError, match="neurovis generate gives them"):
        Linear().build()
    path = tmp_path / "t.h5"
    write_training(path, np.ones((2, 3)), np.array(["a", "b"]), ["a.png", "b.png"])
    with pytest.raises(NeurovisError, match="three images or more"):
        Nearest(training=str(path)).build()
    write_training(path, np.full((3, 3), np.nan), np.array(list("abc")), ["a.png"] * 3)
    with pytest.raises(NeurovisError, match="found NaN"):
        Nearest(training=str(path)).build()
    write_training(path, np.eye(3), np.array(list("abc")), [tmp_path / "a.png"] * 3)
    with pytest.raises(NeurovisError, match=r"a\.png: no such picture"):
        Linear(training=str(path)).build()
