"""What a voxel is worth, against other formulas and against what was planted."""

import numpy as np
import pytest

from neurovis.errors import NeurovisError
from neurovis.signals.fmri.voxels import (
    Voxels,
    noise_ceiling,
    noise_snr,
    reliability,
    repeated,
)


def simulated(n_images=400, repeats=3, signal=1.0, noise=2.0, n_voxels=30, seed=0):
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(n_images), repeats)
    true = signal * rng.standard_normal((n_images, n_voxels))
    return true, true[image] + noise * rng.standard_normal((len(image), n_voxels)), image


def test_reliability_is_the_share_of_variance_that_images_explain():
    _, values, image = simulated()
    found = reliability(values + 100, image.astype(str))
    assert found.mean() == pytest.approx(1 / 5, abs=0.01)
    # another formula: the mean correlation of pairs of repeats, each image counted both ways
    wide = values.reshape(400, 3, 30)
    centred = wide - wide.mean(axis=(0, 1))
    pairs = [centred[:, i] * centred[:, j] for i in range(3) for j in range(3) if i != j]
    fisher = np.mean(pairs, axis=(0, 1)) / (centred**2).mean(axis=(0, 1))
    np.testing.assert_allclose(found, fisher, atol=0.005)
    assert abs(reliability(*simulated(signal=0.0)[1:]).mean()) < 0.02
    np.testing.assert_allclose(reliability(*simulated(noise=0.0)[1:]), 1)


def test_reliability_of_uneven_repeats_equals_anova_by_hand():
    rng = np.random.default_rng(1)
    image = rng.permutation(np.repeat(["a", "b", "c", "once"], [2, 5, 3, 1]))
    values = rng.standard_normal((11, 4)) + (image == "b")[:, None]
    groups = [values[image == name] for name in "abc"]
    everything = np.concatenate(groups)
    between = sum(len(g) * (g.mean(0) - everything.mean(0)) ** 2 for g in groups) / 2
    within = sum(((g - g.mean(0)) ** 2).sum(0) for g in groups) / 7
    repeats = (10 - (4 + 25 + 9) / 10) / 2
    expected = (between - within) / (between + (repeats - 1) * within)
    np.testing.assert_allclose(reliability(values, image), expected, rtol=1e-5)
    assert repeated(image).tolist() == (image != "once").tolist()


@pytest.mark.parametrize("repeats", [2, 3, 12])
def test_the_ceiling_is_what_the_planted_signal_explains(repeats):
    n_images = 1200 if repeats < 12 else 400
    true, values, image = simulated(n_images, repeats, signal=1.0, noise=1.5)
    found = noise_snr(values, image)
    assert found.mean() == pytest.approx(1 / 1.5, abs=0.02)
    for n in (1, repeats):
        averaged = values.reshape(n_images, repeats, -1)[:, :n].mean(axis=1)
        explained = [np.corrcoef(t, a)[0, 1] ** 2 for t, a in zip(true.T, averaged.T)]
        assert noise_ceiling(found, n).mean() == pytest.approx(np.mean(explained), abs=0.02)
    nothing = noise_snr(*simulated(1000, repeats, signal=0.0)[1:])
    assert noise_ceiling(nothing).mean() < 0.03


def test_the_ceiling_follows_the_owners_steps():
    # NSD: noise variance = mean over images of the variance over repeats; total of z-scores = 1
    _, values, image = simulated(300, 3)
    values = (values - values.mean(0)) / values.std(0, ddof=1)
    noise = values.reshape(300, 3, -1).var(axis=1, ddof=1).mean(axis=0)
    expected = np.sqrt(np.maximum(1 - noise, 0)) / np.sqrt(noise)
    np.testing.assert_allclose(noise_snr(values, image), expected, rtol=1e-4)
    assert noise_ceiling(np.array([0.0, 1.0]), 3).tolist() == [0, 0.75]


def test_voxels_that_do_not_vary_or_images_shown_once():
    _, values, image = simulated(10, 2, n_voxels=3)
    values[:, 1] = 4.0
    assert reliability(values, image)[1] == 0 == noise_snr(values, image)[1]
    with pytest.raises(NeurovisError, match="reliability: 0 images were shown twice"):
        reliability(values, np.arange(20))
    with pytest.raises(NeurovisError, match="1 images were shown twice"):
        noise_snr(values[:3], np.array([0, 0, 1]))


def test_voxels_refuse_what_does_not_fit():
    with pytest.raises(NeurovisError, match="every name once, found 2 names, 1 different"):
        Voxels(["v1", "v1"], np.zeros((2, 3)))
    with pytest.raises(NeurovisError, match=r"position: expected \(voxel=2, 3\)"):
        Voxels(["v1", "v2"], np.zeros((2, 2)))
    with pytest.raises(NeurovisError, match="region 'V1'"):
        Voxels(["v1", "v2"], np.zeros((2, 3)), {"V1": [True]})
    with pytest.raises(NeurovisError, match="index"):
        Voxels(["v1", "v2"], np.zeros((2, 3)), index=np.zeros((2, 3)))
