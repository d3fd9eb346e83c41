"""The slower lane holds nobody up; the first minutes teach what is there to be taught, and say so honestly."""

from __future__ import annotations

import pickle
import queue
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from live_generator import Grey
from live_run import Tiny, decisions
from live_run import tiny as make

from neurovis.brain.ridge import Ridge
from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError
from neurovis.generate.artefact import read
from neurovis.generate.linear import Linear
from neurovis.generate.world import World
from neurovis.live.calibrate import Adapted, Calibration, write
from neurovis.live.calibrate import read as read_calibration
from neurovis.live.cueing import Way, cueing
from neurovis.live.decode import Candidates, Decision, Decoder
from neurovis.live.items import Options
from neurovis.live.lane import Lane
from neurovis.live.session import Recorder, decide_again
from neurovis.norms import Norms
from neurovis.reconstruct import Reconstruct, reconstruct
from neurovis.records import Prediction
from neurovis.spaces import Space
from neurovis.store import open_h5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Tiny:
    return make(tmp_path_factory)


# ---- painting


def decided(number: int, dim: int = 6) -> Decision:
    vector = {"image": np.full(dim, number / 1000, np.float32)}
    return Decision(
        number,
        "single",
        "a",
        "",
        0.0,
        0.6,
        1,
        ("a",),
        (1.0,),
        None,
        ("a",),
        None,
        None,
        False,
        vector,
    )


class Told:
    """What a lane says and shows."""

    def __init__(self):
        self.said: queue.Queue = queue.Queue()
        self.shown: queue.Queue = queue.Queue()

    def lane(self, generator: Grey) -> Lane:
        show = lambda d, picture, *more: self.shown.put((d.event, picture, *more))  # noqa: E731
        return Lane(generator, "image", Way(Space()), show, self.said.put)


def test_the_latest_decision_is_painted_and_offering_returns_at_once():
    told = Told()
    lane = told.lane(Grey(seconds=0.3))
    try:
        assert "ready" in told.said.get(timeout=120)
        before = time.perf_counter()
        for number in range(200):
            lane.offer(decided(number))
        # two hundred paintings would take a minute
        assert time.perf_counter() - before < 10
        painted = []
        while not painted or painted[-1] != 199:
            event, picture, *_ = told.shown.get(timeout=60)
            assert (picture == event).all()
            painted.append(event)
        assert len(painted) <= 5
    finally:
        lane.close()


@pytest.mark.parametrize(
    ("generator", "dim", "text"),
    [(Grey(fails=True), 6, "no weights"), (Grey(width=9), 6, "9 dims, target 'image' has 6")],
)
def test_a_generator_that_fails_is_said_and_ends_nothing_else(generator, dim, text):
    told = Told()
    lane = told.lane(generator)
    try:
        lane.offer(decided(1, dim))
        said = told.said.get(timeout=120)
        if "ready" in said:
            said = told.said.get(timeout=60)
        assert text in said
        assert said.endswith("deciding goes on")
        lane.offer(decided(2, dim))
    finally:
        lane.close()


def test_a_quick_picture_comes_first_and_all_steps_when_nothing_else_waits():
    told = Told()
    lane = told.lane(Grey(steps=3))
    try:
        lane.offer(decided(7))
        for again, steps in ((True, 1), (False, 3)):
            event, picture, _, more = told.shown.get(timeout=120)
            assert (event, more) == (7, again)
            assert (picture[..., 0] == 7).all()
            assert (picture[..., 1] == steps).all()
    finally:
        lane.close()


def test_cues_are_those_that_painting_the_run_was_told(tiny, tmp_path):
    run = tmp_path / "runs" / tiny.run.name
    shutil.copytree(tiny.run, run)
    spaces = tiny.decoder.model.spaces
    assert cueing(run, spaces, "01", Linear())[2].endswith("least squares")
    low = {"name": "pixels", "side": 8}
    options = {"generator": "linear", "low": low, "baselines": [], "prepared": str(tiny.prepared)}
    for n_averaged in (1, 4):
        reconstruct(run, build(Reconstruct, {**options, "n_averaged": n_averaged}), quiet=True)
    target, way, text = cueing(run, spaces, "01", Linear())
    assert (target, text) == (
        "picture", "painting: with the regression prior, and rough pictures of the run, for means of 1 and 4",
    )  # fmt: skip
    prediction = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    assert [fit.n_averaged for fit in way.fits] == [1, 4]
    way = pickle.loads(pickle.dumps(way))  # it goes to a process of its own
    for folder in run.glob("reconstructions/*"):
        found = read(folder)
        n_averaged = int(found.systems["brain"].n_averaged[0])
        rows = np.flatnonzero(prediction.n_averaged == n_averaged)
        with open_h5(folder / "cues.h5", "neurovis-cues") as file:
            wanted, rough = file["brain/vector"][:, 0], file["brain/low"][()]
        # means of 7 trials are told by what was learned for 4
        for n in {1: (1, 2), 4: (4, 7)}[n_averaged]:
            for i, row in enumerate(rows[:5]):
                cue = way.cue(prediction.vector["picture"][row], n, 0)
                assert np.allclose(cue.vector[0], wanted[i], rtol=1e-4, atol=1e-5)
                assert np.abs(cue.low[0].astype(int) - rough[i]).max() <= 1
    # of a generator that takes what the run does not aim at, and that did not paint it, nothing is known
    with pytest.raises(UsageError, match="paint the run first"):
        cueing(run, spaces, "01", World())


def test_the_way_back_is_the_way_there_undone():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((12, 5)))[0].T
    space = Space(
        rng.standard_normal(12), basis, rng.random(5) + 0.5, 1.7, rng.standard_normal((5, 5))
    )
    x = basis.T @ rng.standard_normal(5) + space.centre  # a vector that the components hold
    assert np.allclose(Way(space)(space.apply(x[None])[0]), x, atol=1e-4)
    plain = Way(Space(projection=np.array([2.0, 4.0], np.float32)))
    assert np.allclose(plain(np.array([2.0, 2.0])), [1, 0.5])
    norms = Norms(*(np.array(v, np.float32) for v in ([3.0], [0, 0], [1, 1], [0, 0], [1, 1])))
    assert np.linalg.norm(Way(Space(), norms)(np.array([4.0, 3.0]))) == pytest.approx(3, rel=1e-5)
    with pytest.raises(UsageError, match="target 'imag'"):
        Way.of(".", {"image": Space()}, "imag")


# ---- calibrating


N_CHANS, N_TIMES, DIM = 4, 10, 6
NAMES = ("a", "b", "c", "d")


def planted(tiny, run_knows: bool, n_images: int = 60, noise: float = 0.3, shuffle: bool = False):
    """A decoder, and epochs that a linear map makes of its gallery's vectors."""
    rng = np.random.default_rng(0)
    vector = rng.standard_normal((n_images, DIM)).astype(np.float32)
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    images = np.array([f"i{i:02d}" for i in range(n_images)])
    weight = rng.standard_normal((DIM, N_CHANS * N_TIMES)).astype(np.float32)
    ridge = Ridge().build()
    ridge.coef_ = np.linalg.pinv(weight).astype(np.float32)
    if not run_knows:
        ridge.coef_ = rng.standard_normal(ridge.coef_.shape).astype(np.float32)
    ridge.intercept_ = np.zeros(DIM, np.float32)
    model = Adapted(tiny.decoder.model, "ridge", ridge, NAMES, {"image": DIM})
    decoder = Decoder(model, Candidates(images, vector, images), "01")
    calibration = Calibration(decoder, NAMES, 0.0)
    label = rng.permutation(n_images) if shuffle else np.arange(n_images)
    for row in np.tile(np.arange(n_images), 3):
        x = vector[row] @ weight + noise * rng.standard_normal(N_CHANS * N_TIMES)
        epoch = x.reshape(N_CHANS, N_TIMES).astype(np.float32)
        calibration.take(str(images[label[row]]), epoch, np.arange(N_CHANS))
    return calibration, vector, weight


def test_a_stream_teaches_what_the_run_does_not_know(tiny):
    calibration, vector, weight = planted(tiny, run_knows=False)
    decoder, expected = calibration.fit()
    assert expected.way == "ridge"
    assert (expected.n_trials, expected.n_images) == (180, 60)
    assert (expected.held_trials, expected.held_images) == (45, 15)
    assert expected.top1[0] > 0.8
    assert expected.top1[1] < expected.top1[0] <= expected.top1[2]
    assert expected.chance1 == pytest.approx(1 / 60)
    said = decoder.predict((vector[7] @ weight).reshape(N_CHANS, N_TIMES), NAMES, np.arange(4), 0.0)
    best = decoder.rank(said, 1)
    assert best["image"][0] == "i07"
    assert best["probability"][0] > 0.2
    assert set(decoder.seen) == {f"i{i:02d}" for i in range(60)}
    assert "expect top-1 of single trials" in str(expected)


def test_pictures_that_trained_the_run_neither_choose_nor_promise_where_there_are_others(tiny):
    calibration, _, _ = planted(tiny, run_knows=False)
    images = [f"i{i:02d}" for i in range(60)]
    rng = np.random.default_rng(2)
    # the run recites its training pictures, and knows nothing of the others
    for turn, row in enumerate(calibration._image):
        if row < 30:
            calibration._run[turn] = calibration.decoder.candidates.vector[row]
        else:
            calibration._run[turn] = rng.standard_normal(DIM).astype(np.float32)
    calibration.decoder.seen = frozenset(images[:30])
    _, expected = calibration.fit()
    assert (expected.way, expected.known) == ("ridge", False)
    assert (expected.held_images, expected.n_images) == (8, 60)
    assert "expect less" not in str(expected)
    # with ten others there are too few to judge by
    calibration.decoder.seen = frozenset(images[:50])
    _, expected = calibration.fit()
    assert expected.known
    assert expected.held_images == 15
    assert str(expected).endswith("of new pictures expect less")


def test_what_the_run_knows_better_is_kept(tiny):
    calibration, _, _ = planted(tiny, run_knows=True, n_images=24, noise=3.0)
    assert calibration.fit()[1].way in ("run", "both")


def test_shuffled_labels_promise_chance(tiny):
    _, expected = planted(tiny, run_knows=False, shuffle=True)[0].fit()
    assert expected.top5[0] < 0.25
    assert expected.top5[1] < 5 / 60 + 0.1


def test_too_few_pictures_teach_nothing(tiny):
    calibration, _, _ = planted(tiny, run_knows=True, n_images=10)
    with pytest.raises(NeurovisError, match="saw 10 pictures"):
        calibration.fit()
    calibration.take("unknown", np.zeros((N_CHANS, N_TIMES), np.float32), np.arange(4))
    assert calibration.n_images == 10


def test_a_calibrated_session_is_decided_again_to_the_same(tiny, tmp_path):
    gallery = tiny.decoder.candidates
    # one picture per concept is gallery enough for the test: all that are shown
    rng = np.random.default_rng(1)
    images = np.unique(tiny.played.label)
    vector = rng.standard_normal((len(images), gallery.vector.shape[1])).astype(np.float32)
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    decoder = Decoder(tiny.decoder.model, Candidates(images, vector, images), "01")
    options, made = Options(warm=5.0), []
    plain = {"warm": 5.0, "early": [], "average": True, "back": options.back}
    recorder = Recorder(
        tmp_path / "one", tiny.recipe, {"options": plain, "bads": list(tiny.played.bads)}, 200.0
    )
    engine = replace(tiny, decoder=decoder).engine(
        lambda item: (made.append(item), recorder(item)), options
    )
    calibration = Calibration(decoder, engine.epocher.names, engine.epocher.tmin)

    def done() -> Decoder:
        adapted, expected = calibration.fit()
        write(tmp_path / "one", adapted, 30.0, expected)
        return adapted

    engine.gather(30.0, calibration.take, done)
    events = tiny.events(50.0)
    for a in range(0, 10_000, 37):
        engine.feed(tiny.signal[a : a + 37], tiny.stamps[a : a + 37])
        while events and events[0][1] * 200 < a + 37:
            label, onset = events.pop(0)
            engine.mark(label, 100 + onset)
    engine.end()
    recorder.close()
    assert len(calibration._image) == sum(onset + 0.59 < 30.0 for _, onset in tiny.events())
    assert min(d.onset for d in decisions(made)) > 29.3
    assert len(decisions(made)) > 20
    assert decide_again(tmp_path / "one", tiny.recipe, decoder) == decisions(made)
    (tmp_path / "one" / "calibration.json").write_text(
        '{"format": "neurovis-calibration", "format_version": 1}'
    )
    with pytest.raises(NeurovisError, match="the calibration has no 'until'"):
        read_calibration(tmp_path / "one", decoder)
