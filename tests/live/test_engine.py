"""Live equals offline: the same epochs and decisions, in any portions, and every fault said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_run import Tiny, decisions
from live_run import tiny as make

from neurovis.errors import NeurovisError, UsageError
from neurovis.live.decode import Candidates, Repeats, Temperatures, candidates, load
from neurovis.live.items import Note, Options, Shown, Taken
from neurovis.live.recipe import Epocher, Facts, Recipe
from neurovis.records import Embeddings, opened

STOP = 24.0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Tiny:
    return make(tmp_path_factory)


@pytest.fixture(scope="module")
def plain(tiny) -> list:
    """What an engine says of the beginning of the recording, all in one piece per event."""
    return tiny.decide(STOP, early=(0.2,))


def notes(made: list) -> list[str]:
    return [item.text for item in made if isinstance(item, Note)]


# ---- live and offline


def test_epochs_are_those_of_preprocessing(tiny):
    made = tiny.decide(tiny.played.n_times / 200)
    found = np.stack(
        [m.epoch for m in made if isinstance(m, Shown) and m.decision.kind == "single"]
    )
    with opened(tiny.prepared / "sub-01" / "trials.h5") as trials:
        stored, names = trials.read(slice(None)), trials.channel_name.tolist()
    assert found.shape == stored.shape
    mended = [names.index(t.split()[1][:-1]) for t in notes(made) if t.startswith("channel ")]
    others = np.setdiff1d(np.arange(len(names)), mended)
    assert np.array_equal(found[:, others], stored[:, others])
    # splines of positions that were kept in single precision
    assert np.allclose(found[:, mended], stored[:, mended], atol=1e-4)


def test_decisions_are_those_of_the_saved_model(tiny):
    made = decisions(tiny.decide(tiny.played.n_times / 200, average=False))
    with opened(tiny.prepared / "sub-01" / "trials.h5") as trials:
        said = tiny.decoder.model.predict_trials(trials)["picture"]
    gallery = Embeddings.read(tiny.run / "systems" / "tower" / "gallery" / "picture.h5")
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    similarity = unit(said) @ unit(gallery.vector).T
    best = gallery.image[similarity.argsort(axis=1)[:, ::-1][:, :5]]
    assert [d.image for d in made] == [tuple(row) for row in best.tolist()]
    assert np.allclose([d.similarity[0] for d in made], similarity.max(1), atol=1e-5)
    shown = {name: i for i, name in enumerate(gallery.image.tolist())}
    for row, decision in enumerate(made):
        place = shown.get(decision.truth)
        rank = None if place is None else int((similarity[row] > similarity[row, place]).sum()) + 1
        assert decision.rank == rank
        assert decision.counted == (rank is not None)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 4800), max_size=80))
def test_portions_do_not_matter(tiny, plain, cuts):
    # markers come with the portion that they lie in; whole windows follow later in any case
    made = tiny.decide(STOP, cuts=[*cuts, *range(150, 4800, 150)], early=(0.2,))
    assert decisions(made) == decisions(plain)
    assert len(decisions(made)) > 50


def test_a_recording_says_more_than_chance(tiny):
    made = [d for d in decisions(tiny.decide(tiny.played.n_times / 200)) if d.counted]
    ranks = np.array([d.rank for d in made if d.kind == "single"])
    assert len(ranks) == 32
    # eight pictures: chance is 4.5
    assert ranks.mean() < 3.7


def test_probabilities_are_of_the_whole_gallery(tiny, plain):
    decoder = tiny.decoder
    for item in plain:
        if isinstance(item, Shown) and item.decision.kind == "single":
            d = item.decision
            assert decoder.temperatures(1) is not None
            full = decoder.rank(d.vector, 1)["all"] / decoder.temperatures(1)
            expected = np.exp(full - full.max()) / np.exp(full - full.max()).sum()
            assert np.allclose(d.probability, np.sort(expected)[::-1][:5], atol=1e-5)
            assert sum(d.concept_probability) <= 1 + 1e-5


def test_growing_windows_see_no_later_sample_and_state_no_probability(tiny, plain):
    early = [m for m in plain if isinstance(m, Shown) and m.decision.kind == "early"]
    assert len(early) > 20
    for item in early:
        assert item.decision.probability is None
        assert item.decision.until == 0.2
        n = round((0.2 + 0.1) * 100)
        assert np.abs(item.epoch[:, :n]).max() > 0
        assert not item.epoch[:, n:].any()
    # they are decided before the window is there
    order = [(m.decision.event, m.decision.kind) for m in plain if isinstance(m, Shown)]
    assert order.index((5, "early")) < order.index((5, "single"))


def test_repeats_are_averaged_as_they_come(tiny):
    made = tiny.decide(tiny.played.n_times / 200)
    seen: dict[str, list] = {}
    for item in made:
        if not isinstance(item, Shown):
            continue
        d = item.decision
        if d.kind == "single":
            seen.setdefault(d.truth, []).append(item.epoch)
        elif d.kind == "average":
            assert d.n_averaged == len(seen[d.truth])
            assert np.allclose(item.epoch, np.mean(seen[d.truth], axis=0), atol=1e-5)
    counts = [d.n_averaged for d in decisions(made) if d.kind == "average"]
    assert max(counts) == 4


# ---- faults


def test_lost_samples_cost_the_windows_over_them_alone(tiny, plain):
    keep = np.r_[0:3000, 3010:4800]
    made = tiny.decide(STOP, keep=keep, early=(0.2,))
    assert "samples: 10 are missing (0.050 s)" in notes(made)
    rows = {(d.event, d.kind, d.n_averaged): d for d in decisions(made)}
    before = {(d.event, d.kind, d.n_averaged): d for d in decisions(plain)}
    gone = {k[0] for k in before.keys() - rows.keys() if k[1] == "single"}
    onsets = dict(enumerate(onset for _, onset in tiny.events(STOP)))
    expected = {e for e, t in onsets.items() if t - 0.1 < 15.05 and t + 0.59 >= 15.0}
    assert gone == expected
    said = [t for t in notes(made) if "samples missing" in t]
    assert len(said) == len(expected)
    early = [k for k in rows if k[0] < min(expected)]
    assert all(rows[k] == before[k] for k in early)


@pytest.mark.parametrize(("lost", "step"), [(1100, 40), (2400, 40), (2400, 170)])
def test_after_a_long_silence_it_goes_on(tiny, lost, step):
    keep = np.r_[0:2000, 2000 + lost : 4800]
    made = tiny.decide(STOP, keep=keep, cuts=range(step, 4800, step), back=0.5)
    assert any(t.startswith(f"samples: {lost} are missing") for t in notes(made))
    events = [d.event for d in decisions(made) if d.kind == "single"]
    onset = np.array([t for _, t in tiny.events(STOP)])
    whole = (onset + 0.6 < 10.0) | ((onset - 0.1 >= (2000 + lost) / 200) & (onset + 0.6 < STOP))
    assert events == np.flatnonzero(whole).tolist()


def test_a_channel_without_numbers_is_left_out_while_it_is(tiny, plain):
    signal = tiny.signal.copy()
    signal[3000:3050, 4] = np.nan
    made = tiny.decide(STOP, signal=signal)
    epochs = {
        m.decision.event: m for m in made if isinstance(m, Shown) and m.decision.kind == "single"
    }
    onset = np.array([t for _, t in tiny.events(STOP)])
    over = (onset - 0.1 < 15.25) & (onset + 0.59 >= 15.0)
    row = tiny.recipe.names.index(tiny.played.names[4])
    for event, item in epochs.items():
        assert (not item.epoch[row].any()) == bool(over[event])
    assert over.sum() == sum(not m.epoch[row].any() for m in epochs.values())


def test_all_channels_without_numbers_decide_nothing(tiny):
    signal = tiny.signal.copy()
    signal[3000:3050] = np.nan
    made = tiny.decide(STOP, signal=signal)
    assert any("missing in half of the channels" in t for t in notes(made))


def test_a_late_marker_is_decided_when_it_comes(tiny, plain):
    made: list = []
    engine = tiny.engine(made.append, Options(warm=5.0, average=False))
    label, onset = tiny.events()[10]
    n = round((onset + 4) * 200)
    for a in range(0, n, 50):
        engine.feed(tiny.signal[a : a + 50], tiny.stamps[a : a + 50])
    assert not decisions(made)
    engine.mark(label, 100 + onset)
    (decision,) = decisions(made)
    (same,) = [d for d in decisions(plain) if (d.event, d.kind) == (10, "single")]
    assert replace(decision, event=10) == same
    assert any("ms after its window; decided now" in text for text in notes(made))


def test_a_marker_that_comes_too_late_or_too_early_is_said(tiny):
    made: list = []
    engine = tiny.engine(made.append, Options(warm=5.0, back=1.0))
    engine.mark("before", 99.0)
    for a in range(0, 6000, 50):
        engine.feed(tiny.signal[a : a + 50], tiny.stamps[a : a + 50])
    engine.mark("late", 102.0)
    engine.mark("ahead", 100 + 6000 / 200)
    engine.end()
    text = " | ".join(notes(made))
    assert "event 0 (before): not decoded: it began before the stream" in text
    assert "event 1 (late): not decoded: its marker came" in text
    assert "event 2 (ahead): not decoded: window beyond the recording" in text
    assert not decisions(made)


def test_copies_of_markers_are_no_events(tiny, plain):
    made: list = []
    engine, events = tiny.engine(made.append, Options(warm=5.0)), tiny.events(STOP)
    for a in range(0, 4800, 50):
        engine.feed(tiny.signal[a : a + 50], tiny.stamps[a : a + 50])
        while events and events[0][1] * 200 < a + 50:
            label, onset = events.pop(0)
            engine.mark(label, 100 + onset)
            engine.mark(label, 100 + onset + 0.002)
    engine.end()
    assert decisions(made) == [d for d in decisions(plain) if d.kind != "early"]
    assert sum("came twice" in text for text in notes(made)) == len(tiny.events(STOP))


def test_channels_are_found_by_name_in_any_order(tiny, plain):
    order = np.random.default_rng(0).permutation(len(tiny.played.names))
    names = tuple(tiny.played.names[i] for i in order)
    made: list = []
    engine = tiny.engine(made.append, Options(warm=5.0, early=(0.2,)))
    half = 2400
    events = tiny.events(STOP)
    for a in range(0, 4800, 40):
        if a == half:
            engine.restream(tiny.facts(names=names))
        signal = tiny.signal[a : a + 40]
        engine.feed(signal if a < half else signal[:, order], tiny.stamps[a : a + 40])
        while events and events[0][1] * 200 <= a + 39:
            label, onset = events.pop(0)
            engine.mark(label, 100 + onset)
    engine.end()
    assert decisions(made) == decisions(plain)
    assert "channels: came back in another order; they are found by name" in notes(made)


def test_units_are_brought_to_si(tiny):
    facts = Facts(("a", "b", "c", "d", "e"), 100.0, ("fT", "microvolts", "-6", "none", "parsec"))
    factor, odd = facts.factors()
    assert np.allclose(factor, [1e-15, 1e-6, 1e-6, 1, 1])
    assert odd == ["parsec"]
    made: list = []
    facts = tiny.facts(units=("fT",) * len(tiny.played.names))
    engine = tiny.engine(made.append, Options(warm=5.0, average=False), facts=facts)
    engine.mark("x", 106.0)
    for a in range(0, 1500, 100):
        engine.feed(tiny.signal[a : a + 100].astype(np.float64) * 1e15, tiny.stamps[a : a + 100])
    (d,) = decisions(made)
    plain: list = []
    engine = tiny.engine(plain.append, Options(warm=5.0, average=False))
    engine.mark("x", 106.0)
    engine.feed(tiny.signal[:1500], tiny.stamps[:1500])
    assert d.image == decisions(plain)[0].image
    assert np.allclose(d.similarity, decisions(plain)[0].similarity, atol=1e-4)


def test_channels_that_are_not_there_are_mended_and_said(tiny):
    facts = tiny.facts(names=tiny.played.names[:-3])
    made: list = []
    engine = tiny.engine(made.append, Options(warm=5.0), facts=facts)
    engine.mark("x", 106.0)
    engine.feed(tiny.signal[:1500, :-3], tiny.stamps[:1500])
    assert "channels: 3 of the run's are not in the stream" in notes(made)[0]
    assert len(decisions(made)) == 1
    assert set(tiny.played.names[-3:]) <= set(engine.epocher.bad)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"names": ("a", "b")}, "has 0 of the run's"),
        ({"names": ("a", "b", "a")}, "channel 'a' stands in it twice"),
        ({"sfreq": 60.0}, "sfreq"),
        ({"sfreq": 90.0}, "sfreq"),
    ],
)
def test_streams_that_do_not_fit_are_refused(tiny, changes, text):
    with pytest.raises(NeurovisError, match=text):
        tiny.engine(lambda item: None, facts=tiny.facts(**changes))


def test_a_stream_that_comes_back_as_another_is_refused(tiny):
    engine = tiny.engine(lambda item: None)
    with pytest.raises(NeurovisError, match="came back at 250 Hz"):
        engine.restream(tiny.facts(sfreq=250.0))
    with pytest.raises(NeurovisError, match="came back with other channels"):
        engine.restream(tiny.facts(names=tiny.played.names[1:]))
    with pytest.raises(NeurovisError, match="samples of"):
        engine.feed(np.zeros((5, 3)), np.arange(5.0))
    with pytest.raises(NeurovisError, match="declares 200 Hz"):
        engine.feed(tiny.signal[:3000], np.arange(3000) / 150)


def test_trials_of_the_model_count_for_nothing(tiny, plain):
    trained = [d for d in decisions(plain) if d.truth in tiny.decoder.seen]
    assert trained
    assert not any(d.counted for d in trained)


def test_taken_events_are_given_out(plain):
    taken = [item for item in plain if isinstance(item, Taken)]
    assert [t.marker.number for t in taken] == list(range(len(taken)))


# ---- parts


def test_scales_are_learned_where_the_run_knows_none(tiny):
    recipe = replace(tiny.recipe, scaling=None)
    epocher = Epocher(recipe, 200.0)
    signal = epocher.chain.stream(len(recipe.names))(tiny.signal[:4000].T)
    epocher.learn(signal)
    assert "learned from the first 20 s" in epocher.said[0]
    good = [i for i, name in enumerate(recipe.names) if name not in epocher.bad]
    ratio = epocher._learned[1][good] / tiny.recipe.scaling.scale[0][good]
    assert 0.5 < np.median(ratio) < 2
    with pytest.raises(UsageError, match="two windows"):
        Epocher(recipe, 200.0).learn(signal[:, :100])


def test_windows_of_zero_phase_runs_follow_by_the_delay(tiny):
    assert tiny.recipe.shift == 0
    epocher = Epocher(replace(tiny.recipe, shift=0.02), 200.0)
    assert epocher.window(3.0) - Epocher(tiny.recipe, 200.0).window(3.0) == 4


def test_temperatures_are_of_the_next_smaller_number_of_repeats():
    temperatures = Temperatures({1: 0.1, 4: 0.05})
    assert [temperatures(n) for n in (1, 3, 4, 9)] == [0.1, 0.1, 0.05, 0.05]
    assert Temperatures()(1) is None


def test_sums_of_repeats_keep_to_their_room():
    repeats, epoch = Repeats(room=3 * 40), np.ones((2, 5), np.float32)
    for image in "abcd":
        assert repeats.add(image, epoch)[0] == 1
    assert repeats.add("d", 3 * epoch)[0] == 2
    assert repeats.add("a", epoch)[0] == 1  # it had to go
    assert np.array_equal(repeats.add("d", 5 * epoch)[1], 3 * epoch)


def test_galleries_with_one_image_twice_are_refused():
    with pytest.raises(NeurovisError, match="twice"):
        Candidates(np.array(["a", "a"]), np.ones((2, 2), np.float32), np.array(["x", "y"]))


def test_a_gallery_of_ones_own(tiny, tmp_path):
    encoder = tiny.decoder.model.spaces["picture"].encoder
    wide = len(tiny.decoder.model.spaces["picture"].centre)
    vector = np.random.default_rng(0).random((30, wide)).astype(np.float32)
    ids = [f"new{i}" for i in range(30)]
    Embeddings(vector, ids, {k: v for k, v in encoder.items() if k != "target"}).write(
        tmp_path / "e.h5"
    )
    found = candidates(tiny.run, tiny.decoder.model, [str(tmp_path / "e.h5")])
    assert found.image.tolist() == ids
    assert np.allclose(np.linalg.norm(found.vector, axis=1), 1, atol=1e-5)
    with pytest.raises(UsageError, match="target 'pictur'"):
        candidates(tiny.run, tiny.decoder.model, [f"pictur={tmp_path / 'e.h5'}"])
    Embeddings(vector, ids, {"name": "gabor"}).write(tmp_path / "f.h5")
    with pytest.raises(NeurovisError, match="another encoder"):
        candidates(tiny.run, tiny.decoder.model, [str(tmp_path / "f.h5")])


def test_runs_that_do_not_fit_are_refused(tiny, prepared, tmp_path):
    with pytest.raises(NeurovisError, match=r"no signals.json"):
        load(tmp_path)
    with pytest.raises(UsageError, match="subject '02'"):
        load(tiny.run, "02")
    with pytest.raises(UsageError, match="subject '02'"):
        Recipe.of(tiny.run, tiny.decoder.model, "02")
