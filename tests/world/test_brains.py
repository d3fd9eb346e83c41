"""Sources, forward solution and noise against independent computations."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy.signal import welch

from neurovis.errors import NeurovisError
from neurovis.world.brains import (
    AMPLITUDE_JITTER,
    SHIFTS,
    STAGES,
    make_background,
    make_brain,
)
from neurovis.world.features import SIZE, Features, source_features
from neurovis.world.recordings import make_subject, nuisance_courses, record
from neurovis.world.sensors import CENTRE, HEAD_RADIUS, Eeg, Meg, helmet

SFREQ = 250.0
MODALITIES = [Meg(n_chans=40), Eeg()]


def smooth_pictures(n: int, seed: int = 0) -> np.ndarray:
    """Random smooth pictures (image, height, width, colour), uint8."""
    coarse = np.random.default_rng(seed).random((n, 8, 8, 3))
    x = np.linspace(0, 7, SIZE)
    low, part = np.minimum(x.astype(int), 6), x - np.minimum(x.astype(int), 6)
    rows = coarse[:, low] * (1 - part)[:, None, None] + coarse[:, low + 1] * part[:, None, None]
    both = rows[:, :, low] * (1 - part)[:, None] + rows[:, :, low + 1] * part[:, None]
    return (255 * both).astype(np.uint8)


@functools.cache
def some_features(n: int = 60, seed: int = 0) -> Features:
    meaning = np.random.default_rng(seed).standard_normal((n, 32))
    train = np.arange(n) < n - 10
    return source_features(
        smooth_pictures(n, seed), meaning, [f"image-{i}" for i in range(n)], train
    )


def brain_of(modality=MODALITIES[0], level=1e-13, seed=0, subject=1, duration=0.3):
    return make_brain(some_features(), modality, SFREQ, duration, level, seed, subject, np.eye(4))


def test_features_are_standard_over_training_images_and_ordered_by_stage():
    features = some_features()
    train = features.z[:50]
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-4)
    assert 120 <= features.z.shape[1] <= 200
    assert set(features.stage) == {"early", "intermediate", "late"}
    assert ((features.field >= 0) == (features.stage == "early")).all()


def test_early_features_know_where_and_which_way():
    """A grating in one corner drives that corner's field and its own orientation most."""
    axis = np.arange(SIZE)
    pictures = np.full((9, SIZE, SIZE, 3), 128, np.uint8)
    half = SIZE // 2
    for i, (top, left) in enumerate([(0, 0), (0, half), (half, 0), (half, half)]):
        for j in range(2):
            wave = 128 + 100 * np.sin(2 * np.pi * axis[:half] / 6)
            patch = np.tile(wave, (half, 1)) if j == 0 else np.tile(wave[:, None], (1, half))
            pictures[2 * i + j, top : top + half, left : left + half] = patch[..., None]
    features = source_features(pictures, np.zeros((9, 2)), list("abcdefghi"), np.ones(9, bool))
    early = features.z[:, features.stage == "early"].reshape(9, -1, 9)
    contrast = early[:8, 1, 5:]  # the outer four fields: 45, 135, 225, 315 degrees
    np.testing.assert_array_equal(contrast.argmax(1), [1, 1, 0, 0, 2, 2, 3, 3])
    vertical, horizontal = early[::2][:4, 4:].mean(2), early[1::2][:4, 4:].mean(2)
    assert (vertical[:, 0] > vertical[:, 2]).all()
    assert (horizontal[:, 2] > horizontal[:, 0]).all()


def test_features_refuse_wrong_pictures():
    with pytest.raises(NeurovisError, match="resize"):
        source_features(np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 2)), "abc", np.ones(3, bool))
    with pytest.raises(NeurovisError, match="training"):
        source_features(smooth_pictures(3), np.zeros((3, 2)), "abc", np.zeros(3, bool))


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda m: m.component)
def test_gain_is_that_of_a_dipole_in_mne(modality):
    import mne

    position, moment = CENTRE + np.array([0.02, -0.05, 0.03]), np.array([0.3, -0.5, 0.8])
    info = modality.info(SFREQ)
    if modality.component == "eeg":  # mne has no unrecorded nose: compare average references
        pick = modality.gain(position[None])[:, 0] @ moment
        found = pick - pick.mean()
    else:
        found = modality.gain(position[None])[:, 0] @ moment
    size = np.linalg.norm(moment)
    dipole = mne.Dipole([0.0], position[None], [size], moment[None] / size, [100.0])
    sphere = mne.make_sphere_model(CENTRE, HEAD_RADIUS, verbose="error")
    forward, stc = mne.make_forward_dipole(dipole, sphere, info, verbose="error")
    evoked = mne.apply_forward(forward, stc, info, verbose="error").data[:, 0]
    expected = evoked - evoked.mean() if modality.component == "eeg" else evoked
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("n_chans", [30, 270])
def test_helmet_covers_the_head_but_not_the_face(n_chans):
    outward = helmet(n_chans)
    assert outward.shape == (n_chans, 3)
    np.testing.assert_allclose(np.linalg.norm(outward, axis=1), 1)
    assert not ((outward[:, 1] > 0.7) & (outward[:, 2] < 0)).any()
    assert (outward[outward[:, 1] < 0][:, 2] < -0.2).any()
    distance = np.linalg.norm(outward[:, None] - outward, axis=-1) + 9 * np.eye(n_chans)
    assert distance.min() > 0.6 * np.median(distance.min(1))


def test_planted_latencies_come_back_in_a_noise_free_average():
    """Each source peaks where it was planted, in the average of trials that jitter."""
    features, brain = some_features(), brain_of()
    rng = np.random.default_rng(1)
    n = 400
    onset = 50 + 300 * np.arange(n)
    z = np.repeat(features.z[:1], n, axis=0)
    activity = brain.activity(z, onset, 300 * (n + 1), rng)
    average = activity[:, onset[:, None] + np.arange(brain.course.shape[-1])].mean(1)
    peak = np.abs(average).argmax(1) / SFREQ
    np.testing.assert_allclose(peak, brain.latency, atol=2.5 / SFREQ)
    drive = brain.weight @ features.z[0] + brain.constant
    expected = drive[:, None] * brain.expected_course
    error = np.abs(average - expected).max(1) / np.abs(expected).max(1)
    assert error.max() < 6 * (AMPLITUDE_JITTER + 0.3) / np.sqrt(n)
    for stage, (_, (low, high), *_) in STAGES.items():
        late = 0.3 if stage == "offset" else 0.0
        mine = brain.latency[brain.stage == stage] - late
        assert low - 0.02 < mine.min()
        assert mine.max() < high + 0.02


def test_offset_follows_duration():
    short, long = brain_of(duration=0.2), brain_of(duration=0.4)
    change = long.latency - short.latency
    np.testing.assert_allclose(change, np.where(short.stage == "offset", 0.2, 0.0), atol=1e-12)


@pytest.mark.parametrize("level", [0.0, 1e-13])
def test_level_sets_what_differs_between_images(level):
    features = some_features(200)
    brain = make_brain(features, MODALITIES[0], SFREQ, 0.3, level, 0, 1, np.eye(4))
    response = brain.response(features.z)[..., : round(0.6 * SFREQ)]
    found = np.sqrt(response.var(0).mean())
    gain = np.exp(0.15 * 3)
    assert level / gain <= found <= level * gain


def test_subjects_share_part_and_have_their_own():
    one, again, other = brain_of(), brain_of(), brain_of(subject=2)
    np.testing.assert_array_equal(one.weight, again.weight)
    np.testing.assert_array_equal(one.topography, again.topography)
    late = one.stage == "late"
    shared = np.corrcoef(one.weight[late].ravel(), other.weight[late].ravel())[0, 1]
    assert 0.5 < shared < 0.9
    assert np.abs(one.topography - other.topography).max() > 0.1 * np.abs(one.topography).max()
    assert not np.allclose(one.weight, brain_of(seed=1).weight)


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda m: m.component)
def test_noise_has_as_many_modes_as_sensors_and_the_stated_spectrum(modality):
    background = make_background(modality, 0, 1, np.eye(4))
    rng = np.random.default_rng(0)
    modes, rhythm = background.draw(60_000, SFREQ, rng)
    unit = modality.sensor_noise
    noise = background.pattern @ (modes / unit) + background.rhythm / unit @ rhythm
    covariance = np.cov(noise)
    assert np.linalg.matrix_rank(covariance, hermitian=True) == len(noise)
    frequency, density = welch(modes, SFREQ, nperseg=1000)
    for hertz in (1.0, 5.0, 20.0, 100.0):
        at = np.abs(frequency - hertz).argmin()
        expected = (hertz / 10) ** -1.2 * background.power + background.white**2
        np.testing.assert_allclose(density[:, at] / expected, 1, atol=0.6)
        np.testing.assert_allclose((density[:, at] / expected).mean(), 1, atol=0.1)
    np.testing.assert_allclose(rhythm.std(1), 1, atol=0.15)
    inside = (frequency >= 1) & (frequency <= 40)
    power = density[:, inside].sum() * (frequency[1] - frequency[0]) / len(noise)
    np.testing.assert_allclose(np.sqrt(power), background.strength(), rtol=0.1)


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda m: m.component)
def test_record_is_the_sum_of_its_parts_in_physical_units(modality):
    features = some_features()
    subject = make_subject(1, modality, features, SFREQ, 0.3, 0.5, 0)
    onset = np.arange(20) * 150 + 500
    z = features.z[:20]
    signal = record(subject, z, onset, 5000, SFREQ, 3)
    np.testing.assert_array_equal(signal, record(subject, z, onset, 5000, SFREQ, 3))
    rng = np.random.default_rng(3)
    modes, rhythm = subject.background.draw(5000, SFREQ, rng)
    parts = subject.background.pattern @ modes.astype(float) + subject.background.rhythm @ rhythm
    parts += subject.brain.topography @ subject.brain.activity(z, onset, 5000, rng)
    parts += subject.nuisance @ nuisance_courses(5000, SFREQ, rng)
    good = np.setdiff1d(np.arange(len(signal)), [subject.flat, subject.noisy, subject.marked])
    error = np.abs(signal - parts)[good].max() / parts[good].std()
    assert error < 1e-4
    assert (signal[subject.flat] == 0).all()
    for bad in (subject.noisy, subject.marked):
        assert np.diff(signal[bad]).std() > 3 * np.median(np.diff(signal[good]).std(1))


def test_nuisance_holds_line_and_blinks():
    courses = nuisance_courses(30_000, SFREQ, np.random.default_rng(0))
    frequency, density = welch(courses, SFREQ, nperseg=1000)
    assert abs(frequency[density[0].argmax()] - 50) < 0.3
    assert abs(frequency[density[2].argmax()] - 100) < 0.3
    blinks = courses[4]
    assert 0.4 < blinks.max() < 2
    assert (blinks == 0).mean() > 0.7
    assert np.isfinite(courses).all()


def test_shifts_are_centred():
    brain = brain_of()
    np.testing.assert_allclose(brain.shift_probability.sum(), 1)
    assert abs(brain.shift_probability @ SHIFTS) < 1e-9
