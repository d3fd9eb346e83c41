"""Limits of single-trial betas: noise against a dense estimate, order of the observers, scaling undone."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from neurovis.errors import NeurovisError
from neurovis.records import Trials, TrialsWriter
from neurovis.store import write_h5
from neurovis.world.betas import structured_noise, voxel_model
from neurovis.world.observers import TRUTH_FORMAT, observe

N_TRAIN, N_TEST, N_FEATURES, N_RUNS = 240, 12, 8, 4
SHAPE = (6, 6, 4)


def planted(folder, snr: float, seed: int = 0, gain: float = 1.7):
    """Betas of a linear response with smooth weights, shared noise and an offset of each run; the truth."""
    rng = np.random.default_rng(seed)
    index = np.argwhere(np.ones(SHAPE, bool))
    position = 0.004 * index.astype(float)
    n_voxels = len(index)
    apart = np.linalg.norm(position[:, None] - position, axis=2)
    root = np.linalg.cholesky(np.exp(-((apart / 0.009) ** 2) / 2) + 1e-6 * np.eye(n_voxels))
    weight = snr * root @ rng.standard_normal((n_voxels, N_FEATURES)) / np.sqrt(N_FEATURES)
    constant = snr * (1 + 0.2 * rng.standard_normal(n_voxels))
    pattern = root @ rng.standard_normal((n_voxels, 3))
    names = np.array([f"i{i:03d}" for i in range(N_TRAIN + N_TEST)])
    z = rng.standard_normal((len(names), N_FEATURES))
    shown = np.concatenate(
        [np.repeat(np.arange(N_TRAIN), 2), N_TRAIN + np.tile(np.arange(N_TEST), 8)]
    )
    shown = rng.permutation(shown)
    run = np.arange(len(shown)) % N_RUNS
    noise = rng.standard_normal((len(shown), n_voxels)) * rng.uniform(0.7, 1.3, n_voxels)
    noise += rng.standard_normal((len(shown), 3)) @ pattern.T
    signal = gain * (z[shown] @ weight.T + constant) + noise
    signal += 5 * rng.standard_normal((N_RUNS, n_voxels))[run]
    label = [f"v{i:07d}" for i in range(n_voxels)]
    truth = folder / f"truth-{snr}.h5"
    data = {
        "image": names, "z": z, "channel_name": np.array(label), "base": np.full(n_voxels, 1000.0),
        "responds": np.arange(n_voxels - 4), "weight": weight[:-4], "constant": constant[:-4],
        "noise_pattern": pattern, "position": position,
    }  # fmt: skip
    write_h5(truth, TRUTH_FORMAT, data, modality="fmri", smoothness=0.009)
    sets = np.where(shown < N_TRAIN, "train", "test")
    center = np.stack([signal[(run == r) & (sets == "train")].mean(0) for r in range(N_RUNS)])
    scale = np.stack([signal[(run == r) & (sets == "train")].std(0) for r in range(N_RUNS)])
    path = folder / f"trials-{snr}.h5"
    about = {
        "channel_name": [f"sub-01/{name}" for name in label], "channel_type": ["voxel"] * n_voxels,
        "channel_position": position, "sfreq": 1.0, "tmin": 0.0, "modality": "fmri", "unit": "1",
        "subject": "01", "dataset": "planted", "provenance": {"steps": {"value": "percent"}},
    }  # fmt: skip
    with TrialsWriter(path, **about) as writer:
        z_scored = ((signal - center[run]) / scale[run])[:, :, None].astype(np.float32)
        columns = {
            "image": names[shown], "session": np.full(len(shown), "1"), "set": sets,
            "run": np.array([str(r + 1) for r in run]), "onset": np.arange(len(shown)) * 4.0,
        }  # fmt: skip
        writer.append(z_scored, **columns)
        stored = writer.file.create_group("scaling")
        stored.attrs.update({"by": "recording", "clamp": np.inf})
        groups = np.array([f"ses-1_run-{r + 1}" for r in range(N_RUNS)], object)
        stored.create_dataset("group", data=groups, dtype=h5py.string_dtype())
        stored["center"], stored["scale"] = center, scale
    return Trials.open(path), truth, (signal - center[run], z[shown] @ weight.T, noise)


def scored(trials: Trials, truth, n_averaged: int) -> dict[str, float]:
    """Top-1 of both observers for averages of so many trials."""
    gallery = np.unique(trials.image[trials.set == "test"])
    rows = []
    for image in gallery:
        mine = np.flatnonzero(trials.image == image)
        rows += [mine[i : i + n_averaged] for i in range(0, len(mine) - n_averaged + 1, n_averaged)]
    true = np.array([np.flatnonzero(gallery == trials.image[row[0]])[0] for row in rows])
    seen = observe(trials, truth, np.flatnonzero(trials.set == "train"), rows, gallery)
    for value in seen.values():
        np.testing.assert_allclose(np.exp(value.astype(float)).sum(1), 1, atol=1e-4)
    return {name: float((value.argmax(1) == true).mean()) for name, value in seen.items()}


def test_scaling_and_gain_are_undone(tmp_path):
    trials, truth, (signal, response, _) = planted(tmp_path, 1.0)
    train = np.flatnonzero(trials.set == "train")
    model = voxel_model(trials, truth, train)
    read = model.signals(np.arange(len(trials)))[:, :, 0]
    keep = slice(0, signal.shape[1] - 4)
    centred = read - read.mean(0)
    own = signal[:, keep] - signal[:, keep].mean(0)
    # what is put back differs from what was there by the mean response of a run alone
    assert np.corrcoef(centred.ravel(), own.ravel())[0, 1] > 0.97
    shown = [int(name[1:]) for name in trials.image]
    expected = model.response(np.array(shown))[:, :, 0]
    expected, response = (x - x.mean(0) for x in (expected, response[:, keep]))
    slope = (expected * response).sum() / (response**2).sum()
    assert slope == pytest.approx(1.7, rel=0.05)
    trials.close()


def test_noise_is_white_and_its_patterns_are_found():
    rng = np.random.default_rng(0)
    pattern = rng.standard_normal((60, 3))
    spread = rng.uniform(0.5, 2, 60)
    covariance = np.diag(spread**2) + pattern @ np.diag([4.0, 1.0, 0.25]) @ pattern.T
    draw = lambda n: rng.multivariate_normal(np.full(60, 2.0), covariance, n)  # noqa: E731
    noise = structured_noise(draw(2000), pattern)
    white = noise.whiten(draw(6000)[:, :, None].astype(np.float32))[:, :, 0]
    np.testing.assert_allclose(np.cov(white.T), np.eye(60), atol=0.12)
    # fewer trials than voxels, where a dense covariance has no inverse
    few = structured_noise(draw(40), pattern)
    distance = (few.whiten(draw(4000)[:, :, None].astype(np.float32)) ** 2).sum(1).mean()
    assert 45 < distance < 90


def test_without_signal_at_chance_with_much_right_in_between_ordered(tmp_path):
    none = scored(*planted(tmp_path, 1e-6)[:2], 1)
    assert max(none.values()) < 3.5 / N_TEST
    much = scored(*planted(tmp_path, 3.0)[:2], 8)
    assert min(much.values()) == 1
    trials, truth, _ = planted(tmp_path, 0.25)
    single, averaged = scored(trials, truth, 1), scored(trials, truth, 8)
    for found in (single, averaged):
        assert found["informed_observer"] <= found["optimal_observer"] + 0.03
    assert single["informed_observer"] > 2 / N_TEST
    assert averaged["informed_observer"] > single["informed_observer"]


def test_bad_input_is_named(tmp_path):
    trials, truth, _ = planted(tmp_path, 0.5)
    train = np.flatnonzero(trials.set == "train")
    first = np.flatnonzero((trials.set == "train") & (trials.run == "1"))
    with pytest.raises(NeurovisError, match="a run has no training trial"):
        voxel_model(trials, truth, first)
    with pytest.raises(NeurovisError, match="'nowhere' is not among"):
        observe(trials, truth, train, [train[:1]], ["nowhere"])
    with h5py.File(truth, "a") as file:
        names = file["channel_name"][()]
        names[0] = b"v9999999"
        file["channel_name"][...] = names
    with pytest.raises(NeurovisError, match="voxel 'v0000000' is not in the truth"):
        voxel_model(trials, truth, train)
