"""First-level models against nilearn and against refitting every model by plain least squares."""

import numpy as np
import pandas as pd
import pytest
from nilearn.glm import compute_contrast
from nilearn.glm.first_level import make_first_level_design_matrix, run_glm

from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError
from neurovis.signals.fmri.confounds import read_confounds
from neurovis.signals.fmri.glm import (
    BLOCK,
    betas,
    cut_windows,
    design_matrix,
    first_level,
    merge_blocks,
    weights,
)
from neurovis.signals.fmri.steps import FmriSteps

TR, VOLUMES, TRIALS, VOXELS = 1.5, 160, 24, 40


@pytest.fixture(scope="module")
def run():
    """Series with planted trial amplitudes, drift and head motion; onsets off the volumes' grid."""
    rng = np.random.default_rng(0)
    onset = 6.0 + 8.0 * np.arange(TRIALS) + rng.uniform(0, 2, TRIALS)
    duration = np.full(TRIALS, 2.0)
    motion = np.cumsum(rng.standard_normal((VOLUMES, 2)), axis=0)
    design = design_matrix(onset, duration, VOLUMES, TR, FmriSteps(), motion, ["x", "y"])
    amplitude = 10 + 5 * rng.standard_normal((TRIALS, VOXELS))
    rest = 8 * rng.standard_normal((design.matrix.shape[1] - TRIALS, VOXELS))
    series = 800 + 100 * rng.random(VOXELS) + design.matrix @ np.vstack([amplitude, rest])
    series += 2 * rng.standard_normal(series.shape)
    return onset, duration, motion, amplitude, series.astype(np.float32)


def made(run, **options):
    onset, duration, motion, _, series = run
    steps = FmriSteps(**{"value": "raw", **options})
    design = design_matrix(onset, duration, VOLUMES, TR, steps, motion, ["x", "y"])
    return betas(series, design, steps), design


def close(found, expected):
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_design_is_nilearns(run):
    onset, duration, motion, _, _ = run
    for hrf, drift in (("glover", "cosine"), ("spm + derivative", "polynomial")):
        steps = FmriSteps(hrf=hrf, drift=drift, drift_order=2, high_pass=0.008)
        found = design_matrix(onset, duration, VOLUMES, TR, steps, motion, ["x", "y"])
        names = [f"t{i:02d}" for i in range(TRIALS)]
        events = pd.DataFrame({"onset": onset, "duration": duration, "trial_type": names})
        expected = make_first_level_design_matrix(
            TR * (np.arange(VOLUMES) + 0.5), events, hrf_model=hrf, drift_model=drift,
            high_pass=0.008, drift_order=2, add_regs=motion, add_reg_names=["x", "y"],
        )  # fmt: skip
        assert found.matrix.shape == expected.shape
        np.testing.assert_allclose(found.matrix[:, :TRIALS], expected[names], atol=1e-12)
        assert found.name[-1] == "constant"
        rest = [n for n in expected.columns if n not in names]
        np.testing.assert_allclose(found.nuisance, expected[rest], atol=1e-12)


def test_all_trials_at_once_equals_nilearn(run):
    found, design = made(run)
    labels, results = run_glm(run[-1].astype(float), design.matrix, noise_model="ols")
    close(found, results[labels[0]].theta[:TRIALS])
    ratio, _ = made(run, value="t")
    for trial in (0, 7, TRIALS - 1):
        contrast = np.eye(design.matrix.shape[1])[trial]
        expected = compute_contrast(labels, results, contrast, stat_type="t").stat().ravel()
        np.testing.assert_allclose(ratio[trial], expected, rtol=1e-4, atol=1e-3)
    percent, _ = made(run, value="percent")
    close(percent, 100 * results[labels[0]].theta[:TRIALS] / run[-1].mean(axis=0, dtype=float))


def test_one_model_per_trial_equals_refitting_each(run):
    found, design = made(run, method="lss")
    ratio, _ = made(run, method="lss", value="t")
    series = run[-1].astype(float)
    trials = design.matrix[:, :TRIALS]
    for trial in range(TRIALS):
        others = trials.sum(axis=1) - trials[:, trial]
        model = np.column_stack([trials[:, trial], others, design.nuisance])
        labels, results = run_glm(series, model, noise_model="ols")
        close(found[trial], results[labels[0]].theta[0])
        expected, *_ = np.linalg.lstsq(model, series, rcond=None)
        close(found[trial], expected[0])
        contrast = np.eye(model.shape[1])[0]
        expected = compute_contrast(labels, results, contrast, stat_type="t").stat().ravel()
        np.testing.assert_allclose(ratio[trial], expected, rtol=1e-4, atol=1e-3)


def test_a_single_trial_has_no_others(run):
    onset, duration, _, _, _ = run
    steps = FmriSteps()
    design = design_matrix(onset[:1], duration[:1], VOLUMES, TR, steps)
    np.testing.assert_allclose(weights(design, "lss"), weights(design, "lsa"))


def test_planted_amplitudes_come_back(run):
    amplitude = run[3]
    for options in ({}, {"noise": "ar1"}, {"method": "lss"}):
        found, _ = made(run, **options)
        assert np.corrcoef(found.ravel(), amplitude.ravel())[0, 1] > 0.85, options
        assert np.abs(np.median(found - amplitude)) < 0.5, options
    without = design_matrix(run[0], run[1], VOLUMES, TR, FmriSteps())
    spoilt = betas(run[-1], without, FmriSteps(value="raw"))
    assert np.abs(spoilt - amplitude).mean() > 5 * np.abs(made(run)[0] - amplitude).mean()


def test_prewhitening_is_nilearns_and_does_not_depend_on_blocks(run, monkeypatch):
    found, design = made(run, noise="ar1")
    labels, results = run_glm(run[-1].astype(float), design.matrix, noise_model="ar1")
    expected = np.empty_like(found)
    for label, result in results.items():
        expected[:, labels == label] = result.theta[:TRIALS]
    assert len(results) > 1
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-2)
    monkeypatch.setattr("neurovis.signals.fmri.glm.BLOCK", 7)
    np.testing.assert_allclose(made(run, noise="ar1")[0], found, rtol=1e-4, atol=1e-4)
    assert BLOCK > 7
    np.testing.assert_allclose(made(run)[0], made(run)[0])


def test_prewhitening_gives_the_honest_error_where_noise_is_autocorrelated():
    rng = np.random.default_rng(1)
    n_voxels = 400
    noise = np.empty((VOLUMES, n_voxels))
    noise[0] = rng.standard_normal(n_voxels)
    for i in range(1, VOLUMES):
        noise[i] = 0.6 * noise[i - 1] + 0.8 * rng.standard_normal(n_voxels)
    onset, spread = 8.0 * np.arange(5) + 4, []
    for kind in ("ols", "ar1"):
        steps = FmriSteps(noise=kind, drift="none", value="t")
        design = design_matrix(onset, np.full(5, 6.0), VOLUMES, TR, steps)
        found = betas(noise.astype(np.float32), design, steps)
        labels, results = run_glm(noise, design.matrix, noise_model=kind)
        expected = compute_contrast(
            labels, results, np.eye(design.matrix.shape[1])[2], stat_type="t"
        )
        np.testing.assert_allclose(found[2], expected.stat().ravel(), rtol=1e-3, atol=1e-3)
        spread.append(found.std())
    assert abs(spread[1] - 1) < 0.2 < 0.6 < abs(spread[0] - 1)


def test_a_missing_voxel_is_nan_and_a_large_mean_costs_no_digits(run):
    series = run[-1].copy()
    expected, design = made(run)
    series[:, 3] = 7.0
    series[5, 4] = np.nan
    series[:, 5] += 20000
    found = betas(series, design, FmriSteps(value="raw"))
    assert np.isnan(found[:, [3, 4]]).all()
    # float32 resolves 20,000 to 0.001
    np.testing.assert_allclose(found[:, 5], expected[:, 5], atol=0.01)
    good = np.setdiff1d(np.arange(VOXELS), [3, 4, 5])
    np.testing.assert_array_equal(found[:, good], expected[:, good])
    percent = betas(series, design, FmriSteps())
    assert np.isfinite(percent[:, 5]).all()
    with pytest.raises(UsageError, match=r"value: percent needs a mean.*0 of"):
        betas(series - series.mean(axis=0), design, FmriSteps())


def test_events_outside_the_scan_or_together_are_refused(run):
    onset, duration, *_ = run
    late = onset.copy()
    late[5] = 900.0
    with pytest.raises(
        NeurovisError, match=r"event 5 is at 900.000 s.*160 volumes of 1.5 s: 240 s"
    ):
        design_matrix(late, duration, VOLUMES, TR, FmriSteps())
    late[5] = -30.0
    with pytest.raises(NeurovisError, match=r"event 5 is at -30.000 s"):
        design_matrix(late, duration, VOLUMES, TR, FmriSteps())
    late[5] = onset[9]
    with pytest.raises(NeurovisError, match=r"events 5 and 9 both start"):
        design_matrix(late, duration, VOLUMES, TR, FmriSteps())
    late[5] = np.nan
    with pytest.raises(NeurovisError, match=r"event 5: onset nan"):
        design_matrix(late, duration, VOLUMES, TR, FmriSteps())
    last = np.r_[onset[:3], VOLUMES * TR - 0.05]
    with pytest.raises(NeurovisError, match="the response to event 3 is not in the scan"):
        design_matrix(last, duration[:4], VOLUMES, TR, FmriSteps(slice_time_ref=0.0))


def test_a_model_without_unique_solution_is_refused(run):
    onset, duration, motion, *_ = run
    twice = np.column_stack([motion, motion[:, 0] + 2 * motion[:, 1]])
    for method in ("lsa", "lss"):
        with pytest.raises(NeurovisError, match="depend on each other"):
            design_matrix(
                onset, duration, VOLUMES, TR, FmriSteps(method=method), twice, ["x", "y", "z"]
            )
    with pytest.raises(NeurovisError, match=r"regressors \(24 trials\) for 25 volumes"):
        design_matrix(onset / 6, duration, 25, TR, FmriSteps())
    with pytest.raises(UsageError, match="lss goes with noise=ols"):
        build(FmriSteps, {"method": "lss", "noise": "ar1"})
    # more trials than volumes, which one model per trial allows
    many = np.arange(0.0, 40.0, 0.8)
    steps = FmriSteps(method="lss", drift="none")
    assert weights(design_matrix(many, 0 * many, 30, TR, steps), "lss").shape == (50, 30)


def test_events_of_one_stimulus_become_blocks():
    onset = [0, 2, 4, 20, 22, 30, 60]
    onset, duration, image = merge_blocks(onset, [1] * 7, list("aaabbbb"), 1.0)
    assert onset.tolist() == [0, 20, 30, 60]
    assert duration.tolist() == [5, 3, 1, 1]
    assert image.tolist() == ["a", "b", "b", "b"]
    shuffled = merge_blocks([22, 20], [1, 1], ["b", "b"], 1.0)
    assert [part.tolist() for part in shuffled] == [[20], [3], ["b"]]
    assert len(merge_blocks([0, 1], [1, 1], ["a", "a"], None)[0]) == 2
    assert len(merge_blocks([], [], [], 1.0)[0]) == 0


def test_windows_show_the_response_at_its_time():
    rng = np.random.default_rng(2)
    onset = 10 + 20 * np.arange(10) + rng.uniform(0, TR, 10)
    times = TR * (np.arange(VOLUMES) + 0.5)
    lag = times[:, None] - onset
    # a triangle of base 8 s, which lines between volumes reproduce but for its corners
    response = np.clip(1 - np.abs(lag - 5) / 4, 0, None).sum(axis=1)
    series = 500 + np.outer(response, [0, 10.0, 25.0]) + 3 * (times / 100)[:, None]
    series[:, 0] += rng.standard_normal(VOLUMES)
    steps = FmriSteps(window=(-3.0, 9.0), value="raw", high_pass=0.004)
    design = design_matrix(onset, 0 * onset, VOLUMES, TR, steps)
    found, kept = cut_windows(series.astype(np.float32), design, onset, TR, steps)
    assert found.shape == (10, 3, 9)
    assert kept.tolist() == list(range(10))
    mean = found.mean(axis=0)
    peak = -3.0 + TR * mean.argmax(axis=1)
    assert (np.abs(peak[1:] - 5) <= TR / 2).all()
    assert mean[2].max() / mean[1].max() == pytest.approx(2.5, abs=0.1)
    late = first_level(
        series.astype(np.float32), TR, np.r_[onset, 236.0], np.zeros(11), ["a"] * 11, steps
    )
    assert late.signal.shape == (10, 3, 9)
    assert late.tmin == -3.0
    assert "1 trials whose window is not in the scan left out" in late.notes
    short = FmriSteps(window=(0.0, 250.0))
    with pytest.raises(NeurovisError, match="window: none of 10 events"):
        cut_windows(series.astype(np.float32), design, onset, TR, short)


def test_a_run_gives_responses_with_what_the_page_needs(run):
    onset, duration, motion, _, series = run
    image = np.repeat([f"im{i}" for i in range(TRIALS // 2)], 2)
    found = first_level(series, TR, onset, duration, image, FmriSteps(), motion, ["x", "y"])
    assert found.signal.shape == (TRIALS, VOXELS)
    assert found.signal.dtype == np.float32
    assert found.image.tolist() == image.tolist()
    assert found.unit == "%"
    assert found.sfreq == pytest.approx(1 / TR)
    assert found.design[0].shape == (VOLUMES, len(found.design[1]))
    expected = series.mean(axis=0) / np.std(series, axis=0)
    assert (found.tsnr >= expected).all()
    merged = first_level(series, TR, onset, duration, image, FmriSteps(merge=20.0))
    assert len(merged.image) == TRIALS // 2
    assert merged.notes == ("24 events merged to 12 blocks",)


def test_confounds_are_read_by_name(tmp_path):
    path = tmp_path / "confounds.tsv"
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.standard_normal((6, 3)), columns=["trans_x", "trans_y", "csf"])
    table["fd"] = ["n/a", *"12345"]
    table["still"] = 4.0
    table.to_csv(path, sep="\t", index=False)
    values, names = read_confounds(path, ["trans_*", "fd", "still"], 6)
    assert names == ["trans_x", "trans_y", "fd"]
    np.testing.assert_allclose(values.std(axis=0), 1)
    assert values[0, 2] == 0
    np.testing.assert_allclose(np.corrcoef(values[:, 1], table["trans_y"])[0, 1], 1)
    with pytest.raises(UsageError, match=r"did you mean 'trans_[xy]'"):
        read_confounds(path, ["trans_z"], 6)
    with pytest.raises(NeurovisError, match="6 rows, expected 7"):
        read_confounds(path, ["csf"], 7)
    table.assign(csf=["1", "2", "x", "4", "5", "6"]).to_csv(path, sep="\t", index=False)
    with pytest.raises(NeurovisError, match="line 4: csf is 'x'"):
        read_confounds(path, ["csf"], 6)
    with pytest.raises(NeurovisError, match="no such confounds table"):
        read_confounds(tmp_path / "none.tsv", ["csf"], 6)
