"""Batches: averages, channels aligned between subjects, reading ahead, refusals."""

from __future__ import annotations

import threading
import time

import h5py
import numpy as np
import pytest
from conftest import write_prepared
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.ahead import Timed, ahead
from neurovis.batches import Data, Recordings
from neurovis.errors import NeurovisError
from neurovis.records import Split, Trials, opened


@pytest.fixture(scope="module")
def both(prepared):
    """The same recordings, in memory and on disk."""
    kept = Recordings(Data(path=str(prepared)))
    lazy = Recordings(Data(path=str(prepared), memory=0))
    assert kept._kept is not None
    assert lazy._kept is None
    yield kept, lazy
    kept.close()
    lazy.close()


def rewrite(path, signal=None, **changes):
    """Write a subject's trials again with some fields changed."""
    with opened(path) as old:
        fields = {k: v for k, v in vars(old).items() if k != "signal"}
        signal = old.read() if signal is None else signal(old.read())
    Trials(signal, **{**fields, **changes}).write(path)


items = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.lists(st.integers(0, 167), min_size=1, max_size=7).map(np.array),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(items)
def test_averages_are_means_from_memory_and_from_disk(both, items):
    kept, lazy = both
    assert len(kept.trials[0]) == 168
    expected = [kept.trials[s].read(rows).mean(0) for s, rows in items]
    for recordings in both:
        found = recordings.averages(items)
        assert found.dtype == np.float32
        assert found.shape == (len(items), 12, 20)
        if items:
            np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(kept.averages(items), lazy.averages(items))


def test_many_items_are_averaged_as_few_are(both):
    rng = np.random.default_rng(0)
    many = [(int(rng.integers(2)), rng.integers(0, 168, rng.integers(1, 4))) for _ in range(700)]
    for recordings in both:
        found = recordings.averages(many)
        for i in range(0, 700, 37):
            np.testing.assert_allclose(found[i], recordings.averages(many[i : i + 1])[0], atol=1e-6)


def test_items_of_a_side_are_that_side(both):
    kept, _ = both
    split = kept.folds[0]
    for side in ("train", "validation", "test"):
        single, images = kept.items(split, side, single=True)
        grouped, names = kept.items(split, side)
        wanted = set(getattr(split, side))
        assert set(images) == set(names) == wanted
        assert len(grouped) == 2 * len(wanted)
        assert all(len(rows) == 1 for _, rows in single)
        trials = lambda found: sorted((s, r) for s, rows in found for r in rows)  # noqa: E731
        assert trials(single) == trials(grouped)
        for found, shown in ((single, images), (grouped, names)):
            for (subject, rows), image in zip(found, shown):
                assert set(kept.trials[subject].image[rows]) == {image}


def test_channels_are_aligned_by_name(tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=12, n_test=3, n_chans=4, n_times=3)
    other = ["MEG003", "extra", "MEG001", "MEG000"]
    rewrite(folder / "sub-02" / "trials.h5", channel_name=other, channel_type=["mag"] * 4)
    for memory in (6.0, 0.0):
        found = Recordings(Data(path=str(folder), memory=memory))
        assert found.channel_name == ("MEG000", "MEG001", "MEG002", "MEG003", "extra")
        np.testing.assert_array_equal(found.present, [[1, 1, 1, 1, 0], [1, 1, 0, 1, 1]])
        shape = found.shape({"image": 3})
        assert [list(shape.channels_of(i)) for i in (0, 1)] == [[0, 1, 2, 3], [0, 1, 3, 4]]
        assert list(found.shape_of(1, {"image": 3}).channels_of(0)) == [0, 1, 2, 3]
        first, second = (found.read(s, [5, 2]) for s in (0, 1))
        raw = [t.read([5, 2]) for t in found.trials]
        np.testing.assert_array_equal(first[:, :4], raw[0])
        assert not first[:, 4].any()
        np.testing.assert_array_equal(second[:, [3, 4, 1, 0]], raw[1])
        assert not second[:, 2].any()
        shape = found.shape({"image": 3})
        assert (shape.n_chans, shape.n_times, shape.subjects) == (5, 3, ("01", "02"))
        np.testing.assert_array_equal(
            shape.channel_position[4], found.trials[1].channel_position[1]
        )
        found.close()


def test_channels_in_another_order_are_put_in_order(tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=12, n_test=3, n_chans=4, n_times=3)
    with opened(folder / "sub-02" / "trials.h5") as old:
        expected = old.read()
        names = old.channel_name[::-1]
    rewrite(folder / "sub-02" / "trials.h5", lambda x: x[:, ::-1].copy(), channel_name=names)
    found = Recordings(Data(path=str(folder)))
    np.testing.assert_array_equal(found.read(1, slice(None)), expected)
    assert found.present.all()
    found.close()


def test_a_window_is_cut_from_the_epochs(prepared):
    found = Recordings(Data(path=str(prepared), tmin=0.05, tmax=0.1))
    np.testing.assert_allclose(found.times, [0.05, 0.06, 0.07, 0.08, 0.09, 0.1])
    np.testing.assert_array_equal(found.read(0, [3]), found.trials[0].read([3])[:, :, 5:11])
    assert found.shape({}).tmin == pytest.approx(0.05)
    found.close()
    with pytest.raises(NeurovisError, match=r"a window inside 0 to 0\.19 s, found 1\.0 to 2\.0"):
        Recordings(Data(path=str(prepared), tmin=1.0, tmax=2.0))


def test_subjects_are_chosen_by_name(prepared):
    found = Recordings(Data(path=str(prepared), subjects=("02",)))
    assert found.subjects == ("02",)
    found.close()
    with pytest.raises(NeurovisError, match=r"subject '03' is unknown.*Known: 01, 02"):
        Recordings(Data(path=str(prepared), subjects=("03",)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sfreq": 200.0}, r"sub-02.*at 100 Hz as in sub-01, found .* at 200 Hz"),
        ({"tmin": -0.1}, r"from 0 s .*found 3 from -0\.1 s"),
        ({"signal": lambda x: x[:, :, :2].copy()}, r"expected 3 samples .*found 2"),
        ({"image": ["unknown"] * 36}, r"image 'unknown' is not in it"),
    ],
)
def test_subjects_that_do_not_fit_are_refused(changes, said, tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=12, n_test=3, n_chans=2, n_times=3)
    rewrite(folder / "sub-02" / "trials.h5", **changes)
    with pytest.raises(NeurovisError, match=said):
        Recordings(Data(path=str(folder)))


def test_folders_that_are_not_prepared_are_refused(tmp_path):
    with pytest.raises(NeurovisError, match=r"expected a prepared folder with stimuli\.csv"):
        Recordings(Data(path=str(tmp_path)))
    folder = write_prepared(tmp_path / "p", n_train=12, n_test=3, subjects=())
    with pytest.raises(NeurovisError, match=r"no sub-\*/trials\.h5"):
        Recordings(Data(path=str(folder)))


def test_a_split_that_leaks_is_refused(tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=12, n_test=3, n_chans=2, n_times=3)
    split = Split.read(folder / "split.json")
    table = (folder / "stimuli.csv").read_text(encoding="utf-8").splitlines()
    digests = [line.split(",")[2] for line in table]
    text = "\n".join(table).replace(digests[-1], digests[1])
    (folder / "stimuli.csv").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(NeurovisError, match=f"{split.train[0]}.* is the same picture as"):
        Recordings(Data(path=str(folder)))


# ---- reading ahead


def threads() -> int:
    return sum(t.is_alive() for t in threading.enumerate())


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_ahead_keeps_the_order(depth):
    before = threads()
    assert list(ahead(lambda x: x * x, range(50), depth)) == [x * x for x in range(50)]
    assert list(ahead(lambda x: x, [], depth)) == []
    assert threads() == before


def test_ahead_reads_a_few_and_no_more():
    made = []
    read = ahead(lambda x: made.append(x) or x, range(100), depth=2)
    assert next(read) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]  # one taken, two waiting, one in hand
    read.close()


def test_reading_overlaps_work_and_what_is_waited_for_is_counted():
    def slowly(seconds):
        time.sleep(seconds)
        return seconds

    for reading, working in ((0.02, 0.05), (0.05, 0.02)):
        started = time.perf_counter()
        items = Timed(ahead(slowly, [reading] * 10))
        for _ in items:
            time.sleep(working)
        took = time.perf_counter() - started
        # one after the other it would be 0.7 s
        assert took < 10 * max(reading, working) + reading + 0.1
        # only the first is waited for where reading is the faster of the two
        waited = reading if reading < working else 10 * (reading - working)
        assert 0.9 * waited < items.seconds < waited + 0.15


def test_an_error_is_raised_where_it_is_used():
    def make(x):
        if x == 3:
            raise NeurovisError("the third is damaged")
        return x

    before, found = threads(), []
    with pytest.raises(NeurovisError, match="third"):
        put_into(found, ahead(make, range(9)))
    assert found == [0, 1, 2]
    assert threads() == before


def put_into(found, read):
    """Keep what came before an error."""
    for value in read:
        found.append(value)


def test_no_thread_stays_when_the_user_stops():
    before = threads()
    read = ahead(lambda x: x, range(1000))
    next(read)
    assert threads() == before + 1
    read.close()
    assert threads() == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("memory", [6.0, 0.0])
def test_signals_that_are_not_finite_are_named_wherever_they_are_read(tmp_path, value, memory):
    folder = write_prepared(tmp_path / "p", n_train=30, n_test=6, subjects=("01",))
    with h5py.File(folder / "sub-01" / "trials.h5", "r+") as file:
        file["signal"][7, 2, 1] = value
        image = file["image"].asstr()[7]
    says = rf"sub-01/trials.h5: .* trial 7 \(image '{image}'"
    options = Data(path=str(folder), memory=memory)
    if memory:
        with pytest.raises(NeurovisError, match=says):
            Recordings(options)
        return
    found = Recordings(options)
    found.read(0, slice(0, 5))
    with pytest.raises(NeurovisError, match=says):
        found.read(0, np.array([2, 7, 9]))
    found.close()
