"""Augmentations and mixes against direct loops; the same seed gives the same batch."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import write_prepared

from neurovis.augment import SubjectMix, augmented, pick
from neurovis.batches import Data, Recordings
from neurovis.config import build
from neurovis.errors import UsageError
from neurovis.experiment import Train
from neurovis.records import Trials, opened

SFREQ = 100.0


def batch(n: int = 40, n_chans: int = 6, n_times: int = 25, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, n_chans, n_times), dtype=np.float32)


def one(step: dict, signal: np.ndarray, seed: int = 3) -> np.ndarray:
    (made,) = build(Train, {"augment": [step]}).augment
    before = signal.copy()
    out = made.apply(signal, SFREQ, np.random.default_rng(seed))
    np.testing.assert_array_equal(signal, before)  # the batch is not modified
    assert out.dtype == np.float32
    again = made.apply(signal, SFREQ, np.random.default_rng(seed))
    np.testing.assert_array_equal(out, again)
    assert not np.array_equal(out, made.apply(signal, SFREQ, np.random.default_rng(seed + 1)))
    return out


def test_shift_against_a_loop():
    signal = batch()
    out = one({"name": "shift", "seconds": 0.04}, signal)
    drawn = np.random.default_rng(3).integers(-4, 5, len(signal))
    assert set(drawn.tolist()) == set(range(-4, 5))
    for row, by in enumerate(drawn):
        for time in range(25):
            source = min(max(time - by, 0), 24)
            np.testing.assert_array_equal(out[row, :, time], signal[row, :, source])


def test_noise_has_the_level_asked_for():
    signal = 3 * batch(200)
    out = one({"name": "noise", "level": 0.5}, signal)
    extra = np.random.default_rng(3).standard_normal(signal.shape, dtype=np.float32)
    np.testing.assert_allclose(out, signal + 0.5 * signal.std() * extra, rtol=1e-5, atol=1e-5)


def test_dropped_channels_are_zero_and_the_others_untouched():
    signal = batch(300)
    out = one({"name": "drop_channels", "probability": 0.2}, signal)
    dropped = 0
    for row in range(300):
        for channel in range(6):
            if (out[row, channel] == 0).all():
                dropped += 1
            else:
                np.testing.assert_array_equal(out[row, channel], signal[row, channel])
    assert dropped / 1800 == pytest.approx(0.2, abs=0.04)


def test_smoothing_against_a_loop():
    signal = batch()
    out = one({"name": "smooth", "width": 5, "probability": 0.5}, signal)
    smoothed = 0
    for row in range(40):
        for channel in range(6):
            x = signal[row, channel].astype(np.float64)
            window = [[min(max(t + d, 0), 24) for d in range(-2, 3)] for t in range(25)]
            direct = np.array([x[place].mean() for place in window])
            if np.array_equal(out[row, channel], signal[row, channel]):
                continue
            smoothed += 1
            np.testing.assert_allclose(out[row, channel], direct, atol=1e-6)
    assert smoothed / 240 == pytest.approx(0.5, abs=0.1)


def test_amplitude_is_one_factor_a_row():
    signal = batch(200)
    out = one({"name": "amplitude", "spread": 0.3}, signal)
    factors = []
    for before, after in zip(signal, out):
        factor = (after * before).sum() / (before**2).sum()
        np.testing.assert_allclose(after, factor * before, rtol=1e-4, atol=1e-5)
        factors.append(factor)
    assert 0.7 <= min(factors) < 0.75 < 1.25 < max(factors) <= 1.3


def test_options_apply_shift_noise_and_then_the_list_from_one_seed(tmp_path):
    recordings = Recordings(Data(path=str(write_prepared(tmp_path / "p", n_train=12, n_test=3))))
    signal = batch(8, 12, 20)
    options = build(Train, {"shift": 0.02, "noise": 0.1, "augment": ["smooth", "amplitude"]})
    out = augmented(signal, options, recordings, 11)
    steps = build(
        Train, {"augment": [{"name": "shift", "seconds": 0.02}, "noise", *options.augment]}
    )
    generator, direct = np.random.default_rng(11), signal
    for step in steps.augment:
        direct = step.apply(direct, SFREQ, generator)
    np.testing.assert_array_equal(out, direct)
    np.testing.assert_array_equal(out, augmented(signal, options, recordings, 11))
    recordings.close()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"name": "smooth", "width": 4}, "odd number"),
        ({"name": "drop_channels", "probability": 1}, "less than 1"),
        ({"name": "amplitude", "spread": -1}, "greater than or equal to 0"),
        ("smoth", "did you mean 'smooth'"),
        ({"name": "noise", "sd": 1}, "Noise option 'sd' is unknown"),
    ],
)
def test_wrong_augmentations_are_refused(step, words):
    with pytest.raises(UsageError, match=words):
        build(Train, {"augment": [step]})


def test_a_number_of_repeats_is_averaged():
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(60):
        subject, rows = pick((1, np.arange(5)), 2, rng)
        assert subject == 1
        assert len(set(rows.tolist())) == 2
        found |= set(rows.tolist())
    assert found == set(range(5))
    few = np.arange(2)
    assert pick((0, few), 4, rng)[1] is few  # all where there are fewer
    assert build(Train, {"average": 3}).average == 3
    with pytest.raises(UsageError, match="average"):
        build(Train, {"average": 0})


# ---- another subject's response to the same image


@pytest.fixture(scope="module")
def montages(tmp_path_factory):
    """Two subjects of whom each lacks a channel of the other."""
    folder = write_prepared(tmp_path_factory.mktemp("mix") / "p", n_train=30, n_test=3)
    path = folder / "sub-02" / "trials.h5"
    with opened(path) as old:
        fields = {k: v for k, v in vars(old).items() if k != "signal"}
        block = old.read()
    names = fields["channel_name"].copy()
    names[3] = "OTHER"
    order = np.random.default_rng(1).permutation(12)  # and they lie in another order
    for name in ("channel_name", "channel_type", "channel_position"):
        fields[name] = (names if name == "channel_name" else fields[name])[order]
    Trials(block[:, order], **fields).write(path)
    recordings = Recordings(Data(path=str(folder)))
    yield recordings
    recordings.close()


def test_a_mix_against_a_loop(montages):
    split = montages.folds[0]
    items, images = montages.items(split, "train")
    mix = SubjectMix(montages, items, images, "all", 0.7)
    rows = np.random.default_rng(5).permutation(len(items))[:40]
    plain = montages.averages([items[i] for i in rows])
    out = mix.mixed(plain, rows, seed=9)
    np.testing.assert_array_equal(out, mix.mixed(plain, rows, seed=9))
    assert not np.array_equal(out, mix.mixed(plain, rows, seed=10))
    at = {name: i for i, name in enumerate(montages.channel_name)}
    mixed, weights = 0, []
    for place, row in enumerate(rows):
        if np.array_equal(out[place], plain[place]):
            continue
        mixed += 1
        subject = items[row][0]
        (other,) = [
            i for i in range(len(items)) if images[i] == images[row] and items[i][0] != subject
        ]
        theirs = montages.averages([items[other]])[0]
        both = [n for n in at if n not in ("OTHER", "MEG003")]
        use = [at[n] for n in both]
        x, y = plain[place][use].ravel(), theirs[use].ravel()
        weight = float(((out[place][use].ravel() - y) * (x - y)).sum() / ((x - y) ** 2).sum())
        weights.append(weight)
        np.testing.assert_allclose(
            out[place][use].ravel(), weight * x + (1 - weight) * y, atol=1e-5
        )
        # what only one of both has stays: own channels as they are, absent ones at 0
        for name in ("OTHER", "MEG003"):
            np.testing.assert_array_equal(out[place][at[name]], plain[place][at[name]])
    assert mixed / len(rows) == pytest.approx(0.7, abs=0.2)
    assert 0.5 <= min(weights) < 0.65 < 0.85 < max(weights) <= 1


def test_partners_saw_the_same_image_and_are_someone_else(montages):
    split = montages.folds[0]
    items, images = montages.items(split, "train")
    mix = SubjectMix(montages, items, images, "random", 1.0)
    found = mix.partners(np.arange(len(items)), np.random.default_rng(0))
    assert (images[found] == images).all()
    assert all(items[i][0] != items[j][0] for i, j in enumerate(found))
    none = SubjectMix(montages, items, images, "random", 0.0)
    assert (none.partners(np.arange(4), np.random.default_rng(0)) == -1).all()


def test_a_mix_without_partners_is_refused(montages):
    items, images = montages.items(montages.folds[0], "train")
    mine = [i for i, (subject, _) in enumerate(items) if subject == 0]
    with pytest.raises(UsageError, match="two subjects saw, found none"):
        SubjectMix(montages, [items[i] for i in mine], images[mine], "all", 0.5)
