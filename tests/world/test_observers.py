"""The limits against dense references, and their behaviour end to end."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from neurovis.config import to_dict
from neurovis.errors import NeurovisError
from neurovis.records import Stimuli, Trials, TrialsWriter
from neurovis.signals import encoding
from neurovis.signals.chain import Steps, process_run
from neurovis.signals.encoding import Moments, estimate_noise, regress
from neurovis.store import FORMAT_VERSION
from neurovis.world import observers
from neurovis.world.features import SIZE, source_features
from neurovis.world.observers import Truth, identify, observe
from neurovis.world.recordings import make_subject, record
from neurovis.world.sensors import Meg
from neurovis.world.simulate import Design, schedule, write_truth

STEPS = Steps(notch=(50.0,), scaling="none", clamp=None)
N_TRAIN, N_TEST = 300, 12


def regression(seed: int, n: int = 50, n_features: int = 6, shape=(4, 5)):
    """Features and signals of unit noise with a linear response that is smooth in time."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, n_features)) @ rng.standard_normal((n_features, n_features))
    course = np.hanning(shape[1] + 2)[1:-1]
    weight = 0.5 * rng.standard_normal((n_features, shape[0], 1)) * course
    signal = np.tensordot(z, weight, 1) + rng.standard_normal((n, *shape)) + 3
    return z, signal


@pytest.mark.parametrize("seed", range(3))
def test_regression_is_a_gaussian_process(seed):
    """Mean and variance equal those of the dense dual form, a flat prior on the mean included."""
    z, signal = regression(seed)
    model = regress(Moments.of(z, [signal[:20], signal[20:]]))
    new = np.random.default_rng(9).standard_normal((7, z.shape[1]))
    mean, variance = model.predict(new)
    y = model.rotate(signal)
    np.testing.assert_allclose(model.modes.T @ model.modes, np.eye(5), atol=1e-9)
    centre = z.mean(0)
    for j, scale in enumerate(model.scale):
        flat = 1e6
        kernel = lambda a, b: scale * (a - centre) @ (b - centre).T + flat  # noqa: B023, E731
        inside = kernel(z, z) + np.eye(len(z))
        across = kernel(new, z)
        np.testing.assert_allclose(mean[:, j], across @ np.linalg.solve(inside, y[:, j]), rtol=1e-3)
        dense = np.diag(kernel(new, new) - across @ np.linalg.solve(inside, across.T))
        np.testing.assert_allclose(variance[:, j], dense, rtol=1e-2, atol=1e-6)


def test_prior_has_the_largest_evidence(monkeypatch):
    """Without pooling, each dimension's variance maximises the dense marginal likelihood."""
    monkeypatch.setattr(encoding, "POOLED", (0.0, 0.0))
    z, signal = regression(4)
    model = regress(Moments.of(z, [signal]))
    y = model.rotate(signal) - model.rotate(signal).mean(0)
    scatter = (z - z.mean(0)) @ (z - z.mean(0)).T
    for j in range(y.shape[1]):
        evidence = [
            stats.multivariate_normal.logpdf(y[:, j], cov=np.eye(len(z)) + scale * scatter)
            for scale in encoding.SCALES
        ]
        assert model.scale[j] == encoding.SCALES[np.argmax(evidence)]


def test_regression_agrees_with_sklearn():
    from sklearn.linear_model import Ridge

    z, signal = regression(5)
    model = regress(Moments.of(z, [signal]))
    y = model.rotate(signal)
    for j in (0, 7, 19):
        theirs = Ridge(alpha=1 / model.scale[j]).fit(z, y[:, j])
        np.testing.assert_allclose(model.predict(z)[0][:, j], theirs.predict(z), rtol=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n_averaged=st.integers(1, 20),
    n_images=st.integers(2, 6),
    n_dims=st.integers(1, 30),
    unsure=st.booleans(),
)
def test_identify_is_bayes_rule(seed, n_averaged, n_images, n_dims, unsure):
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((n_images, n_dims))
    variance = rng.uniform(0.01, 2, mean.shape) if unsure else 0.0
    signal = rng.standard_normal((4, n_dims)).astype(np.float32)
    found = identify(signal, mean, variance, n_averaged)
    spread = np.sqrt(1 / n_averaged + variance) * np.ones(mean.shape)
    dense = stats.norm.logpdf(signal[:, None], mean, spread).sum(2)
    dense -= logsumexp(dense, axis=1, keepdims=True)
    np.testing.assert_allclose(found, dense, atol=1e-3, rtol=1e-4)


def test_noise_comes_out_white():
    """Noise of known spatial patterns and spectra; a channel that copies another adds nothing."""
    rng = np.random.default_rng(0)
    n, n_chans, n_times = 3000, 6, 12
    mixing = np.linalg.qr(rng.standard_normal((n_chans, n_chans)))[0] * np.geomspace(1, 30, n_chans)
    courses = rng.standard_normal((n, n_chans, n_times + 1))
    courses = courses[..., 1:] + np.linspace(0, 0.9, n_chans)[:, None] * courses[..., :-1]
    noise = np.matmul(mixing, courses).astype(np.float32)
    noise = np.concatenate([noise, noise[:, :1]], 1) + np.float32(5)
    model = estimate_noise(lambda: iter([noise[:1000], noise[1000:]]))
    white = model.whiten(noise).reshape(n, -1)
    assert white.shape[1] == n_chans * n_times
    np.testing.assert_allclose(np.cov(white.T), np.eye(white.shape[1]), atol=0.12)
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-2)


def world(folder, snr: float, seed: int = 0):
    """Trials of one subject in memory, and the file of their truth."""
    rng = np.random.default_rng(seed)
    n = N_TRAIN + N_TEST
    sets = np.repeat(["train", "test"], [N_TRAIN, N_TEST])
    names = [f"{s}-{i}" for i, s in enumerate(sets)]
    coarse = rng.integers(0, 255, (n, 8, 8, 3), dtype=np.uint8)
    pictures = coarse.repeat(SIZE // 8, 1).repeat(SIZE // 8, 2)
    features = source_features(pictures, rng.standard_normal((n, 32)), names, sets == "train")
    blank = np.zeros(n, int)
    stimuli = Stimuli(names, [f"{i}.png" for i in names], [""] * n, blank, blank, names, sets)
    plan = Design(
        modality=Meg(n_chans=36), n_subjects=1, n_sessions=2, n_runs=1, snr=snr, seed=seed,
        n_train_concepts=N_TRAIN, n_exemplars=1, train_repeats=2, n_test=N_TEST, test_repeats=6,
        sfreq=200.0,
    )  # fmt: skip
    subject = make_subject(1, plan.modality, features, plan.sfreq, plan.duration, snr, seed)
    info = plan.modality.info(plan.sfreq)
    channels = (
        np.array(info["ch_names"]),
        np.array(info.get_channel_types()),
        np.array([channel["loc"][:3] for channel in info["chs"]]),
    )
    parts = []
    for number, events in enumerate(schedule(plan, stimuli, 1)):
        z = features.z[events["row"]]
        size = plan.modality.n_times(plan, events)
        signal = record(subject, z, events["sample"], size, plan.sfreq, [seed, number])
        onset = events["sample"] / plan.sfreq
        run = process_run(STEPS, signal.astype(np.float32), plan.sfreq, onset, *channels)
        label = np.full(len(run.kept), f"{number + 1:02d}")
        chosen = (events["image"][run.kept], events["trial_type"][run.kept], onset[run.kept])
        parts.append((run.signal, label, *chosen))
    signal, label, image, kind, onset = (np.concatenate(x) for x in zip(*parts, strict=True))
    trials = Trials(
        signal, image, label, label, kind, onset, *channels, sfreq=STEPS.sfreq, tmin=STEPS.tmin,
        modality="meg", unit="T", subject="01", provenance={"steps": to_dict(STEPS)},
    )  # fmt: skip
    return trials, write_truth(subject, features, plan, folder)


def scored(trials: Trials, truth, n_averaged: int) -> dict[str, tuple[float, float]]:
    """Top-1 and mean log posterior of the image shown, per observer."""
    train = np.flatnonzero(trials.set == "train")
    gallery = np.unique(trials.image[trials.set == "test"])
    rows = []
    for image in gallery:
        mine = np.flatnonzero(trials.image == image)
        rows += [mine[i : i + n_averaged] for i in range(0, len(mine) - n_averaged + 1, n_averaged)]
    true = np.array([np.flatnonzero(gallery == trials.image[row[0]])[0] for row in rows])
    found = observe(trials, truth, train, rows, gallery)
    for value in found.values():
        np.testing.assert_allclose(np.exp(value.astype(float)).sum(1), 1, atol=1e-4)
    return {
        name: (float((v.argmax(1) == true).mean()), float(v[np.arange(len(v)), true].mean()))
        for name, v in found.items()
    }


def test_the_planted_response_to_a_level_is_a_regression_of_the_true_one(tmp_path):
    from sklearn.linear_model import LinearRegression

    trials, truth = world(tmp_path, 0.3)
    model = observers.sensor_model(trials, truth)
    n = len(model.image)
    whole = model.response(np.arange(n)).reshape(n, -1)
    known = Truth.read(truth)
    keep = np.flatnonzero(~np.isin(trials.channel_name, known.bad))
    # one feature twice: what is not independent counts once
    levels = [model.z[:, :5], np.concatenate([model.z[:, 40:44], model.z[:, 40:41]], 1)]
    found = observers.linear_response(trials, truth, model.image, levels)
    for vector, response in zip(levels, found):
        assert response.shape == trials.signal.shape[1:]
        said = LinearRegression().fit(vector, whole).predict(vector).std(0)
        np.testing.assert_allclose(response[keep].ravel(), said, rtol=1e-3, atol=1e-3 * said.max())
        assert (np.delete(response, keep, axis=0) == 0).all()
    everything = observers.linear_response(trials, truth, model.image, [model.z])[0]
    np.testing.assert_allclose(
        everything[keep].ravel(), whole.std(0), rtol=1e-3, atol=1e-3 * said.max()
    )


def test_without_signal_both_are_at_chance(tmp_path):
    trials, truth = world(tmp_path, 0.0)
    for top1, log_posterior in scored(trials, truth, 1).values():
        low, high = stats.binom.interval(0.999, N_TEST * 6, 1 / N_TEST)
        assert low / (N_TEST * 6) <= top1 <= high / (N_TEST * 6)
        assert log_posterior < 0.5 - np.log(N_TEST)


def test_with_much_signal_both_are_right(tmp_path):
    trials, truth = world(tmp_path, 1.5)
    for top1, _ in scored(trials, truth, 6).values():
        assert top1 == 1


def test_between_informed_stays_below_optimal_and_averaging_helps(tmp_path):
    trials, truth = world(tmp_path, 0.16)
    single, averaged = scored(trials, truth, 1), scored(trials, truth, 6)
    for found in (single, averaged):
        for value in (0, 1):
            assert found["informed_observer"][value] <= found["optimal_observer"][value]
    for name in single:
        assert averaged[name][0] > single[name][0]
    assert averaged["informed_observer"][0] > 2.5 / N_TEST
    assert single["optimal_observer"][0] > 0.4


def test_truth_is_what_recordings_contain(tmp_path):
    """Kernels pushed through the preprocessing equal the average of many preprocessed trials."""
    trials, truth = world(tmp_path, 3.0)
    known = Truth.read(truth)
    keep, topography = observers._channels(trials, known)
    course = observers._through_preprocessing(trials, known)
    drive = known.z @ known.weight.T + known.constant
    shown = observers.rows_of(known.image, trials.image)
    response = np.einsum("cs,is,st->ict", topography, drive[shown], course)
    response -= response.mean(0)
    signal = trials.signal[:, keep].astype(float)
    signal -= signal.mean(0)
    slope = (signal * response).sum() / (response**2).sum()
    assert abs(slope - 1) < 0.08
    assert len(keep) == len(trials.channel_name) - 3


def test_scaling_and_whitening_of_the_file_are_undone(tmp_path):
    trials, truth = world(tmp_path, 0.3)
    rng = np.random.default_rng(0)
    n_chans = len(trials.channel_name)
    center = 1e-14 * rng.standard_normal((2, n_chans)).astype(np.float32)
    spread = trials.signal.std((0, 2)) + np.float32(1e-16)
    scale = spread * rng.uniform(0.5, 2, (2, n_chans)).astype(np.float32)
    root = rng.standard_normal((2, n_chans, n_chans))
    whitener = (np.matmul(root, root.transpose(0, 2, 1)) / n_chans + np.eye(n_chans)).astype("f4")
    about = {
        name: getattr(trials, name)
        for name in ("channel_name", "channel_type", "channel_position", "sfreq", "tmin")
    }
    about |= {"modality": "meg", "unit": "1", "subject": "01", "provenance": trials.provenance}
    path = tmp_path / "trials.h5"
    with TrialsWriter(path, **about) as writer:
        for number, label in enumerate(("01", "02")):
            mine = np.flatnonzero(trials.session == label)
            signal = (trials.signal[mine] - center[number][:, None]) / scale[number][:, None]
            columns = {
                name: getattr(trials, name)[mine]
                for name in ("image", "session", "run", "set", "onset")
            }
            writer.append(np.matmul(whitener[number], signal), **columns)
        stored = writer.file.create_group("scaling")
        names = np.array(["01", "02"], dtype=object)
        stored.create_dataset("group", data=names, dtype=h5py.string_dtype())
        stored["center"], stored["scale"], stored["whitener"] = center, scale, whitener
    scaled = Trials.open(path)
    read = observers.physical(scaled, np.arange(n_chans))(np.arange(len(trials)))
    error = np.abs(read - trials.signal).max((0, 2)) / spread
    assert error.max() < 1e-2
    plain, undone = scored(trials, truth, 1), scored(scaled, truth, 1)
    scaled.close()
    for name, (top1, log_posterior) in plain.items():
        assert abs(undone[name][0] - top1) < 0.03
        assert abs(undone[name][1] - log_posterior) < 0.05


def test_bad_input_is_named(tmp_path):
    trials, truth = world(tmp_path, 0.1)
    train = np.flatnonzero(trials.set == "train")
    row = [np.array([0])]
    with pytest.raises(NeurovisError, match="'nowhere' is not among"):
        observe(trials, truth, train, row, ["nowhere"])
    with pytest.raises(NeurovisError, match="train holds no trials"):
        observe(trials, truth, train[:0], row, trials.image[:2])
    with pytest.raises(NeurovisError, match="rows holds no trials"):
        observe(trials, truth, train, [np.array([], int)], trials.image[:2])
    with pytest.raises(NeurovisError, match="no such file"):
        observe(trials, tmp_path / "none.h5", train, row, trials.image[:2])
    with h5py.File(truth, "a") as file:
        names = file["channel_name"][()]
        names[0] = b"other"
        file["channel_name"][...] = names
    with pytest.raises(NeurovisError, match="is not in the truth"):
        observe(trials, truth, train, row, trials.image[:2])
    with h5py.File(truth, "a") as file:
        file.attrs["format_version"] = FORMAT_VERSION + 1
    with pytest.raises(NeurovisError, match="update neurovis"):
        observe(trials, truth, train, row, trials.image[:2])
