"""Simulated fMRI: files that read back as BIDS, planted weights that nilearn's GLM recovers, maps as they should lie."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from neurovis.config import build, fingerprint
from neurovis.errors import NeurovisError, UsageError
from neurovis.records import Stimuli
from neurovis.store import read_h5, read_json
from neurovis.world import bold
from neurovis.world.cortex import MAPS, MODULATED, PATCHES, PICTURE, SMOOTHNESS, make_cortex, smooth
from neurovis.world.features import CENTRES, Features
from neurovis.world.simulate import Design, simulate

SMALL = {
    "n_subjects": 1, "n_sessions": 1, "n_runs": 2, "n_train_concepts": 10, "n_exemplars": 2,
    "train_repeats": 1, "n_test": 4, "test_repeats": 5, "size": 64, "seed": 3,
}  # fmt: skip
FMRI = {"name": "fmri", "voxel_size": 9.0}
FUNC = "sub-01/ses-01/func/sub-01_ses-01_task-images_run-0{}_{}"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return simulate(tmp_path_factory.mktemp("fmri") / "bids", FMRI, quiet=True, snr=2.0, **SMALL)


def run_of(root: Path, number: int):
    """Volumes, events and confounds of a run."""
    image = nibabel.load(root / FUNC.format(number, "bold.nii.gz"))
    events = pd.read_csv(root / FUNC.format(number, "events.tsv"), sep="\t")
    beside = root / "derivatives/fmriprep" / FUNC.format(number, "desc-confounds_timeseries.tsv")
    return image, events, pd.read_csv(beside, sep="\t", na_values="n/a")


def mask(root: Path, name: str) -> np.ndarray:
    file = root / f"derivatives/rois/sub-01/sub-01_label-{name}_mask.nii.gz"
    return nibabel.load(file).get_fdata() > 0


def random_features(n: int = 80, seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    stage = np.repeat(["early", "intermediate", "late"], [8 * len(CENTRES), 20, 36])
    field = np.full(len(stage), -1)
    field[: 8 * len(CENTRES)] = np.tile(np.arange(len(CENTRES)), 8)
    z = rng.standard_normal((n, len(stage))).astype(np.float32)
    return Features(z, np.array([f"i{i}" for i in range(n)]), stage, field)


def test_files_are_bids_and_say_what_was_shown_when(root):
    assert read_json(root / "dataset_description.json")["DatasetType"] == "raw"
    assert not (root / ".simulating").exists()
    stimuli = Stimuli.read(root / "stimuli" / "stimuli.csv")
    shown = []
    for number in (1, 2):
        image, events, confounds = run_of(root, number)
        assert image.get_data_dtype() == np.int16
        assert image.header.get_zooms()[3] == 1.5
        assert image.shape[3] == len(confounds)
        assert image.shape[3] * 1.5 >= events["onset"].iloc[-1] + 4.5 + 15
        sidecar = read_json(root / FUNC.format(number, "bold.json"))
        assert (sidecar["RepetitionTime"], sidecar["TaskName"]) == (1.5, "images")
        gaps = np.diff(events["onset"])
        assert gaps.min() > 3.49
        assert gaps.max() < 5.51
        assert (root / "stimuli" / events["stim_file"][0]).is_file()
        shown.append(events)
    events = pd.concat(shown)
    rows = stimuli.index(events["image"])
    np.testing.assert_array_equal(stimuli.set[rows], events["trial_type"])
    counts = events.groupby("image").size()
    assert (counts[stimuli.image[stimuli.set == "test"]] == 5).all()
    for _, group in events.groupby("image"):
        assert group["repeat"].tolist() == list(range(len(group)))


def test_masks_hold_the_voxels_of_the_truth(root):
    names = ("channel_name", "region", "index", "responds", "bad", "position")
    truth = read_h5(root / "sourcedata/truth/sub-01.h5", "neurovis-truth", names)
    brain = mask(root, "brain")
    np.testing.assert_array_equal(np.argwhere(brain), truth["index"])
    flat = [f"v{i:07d}" for i in np.flatnonzero(brain.ravel())]
    assert truth["channel_name"].tolist() == flat
    regions = np.zeros(brain.shape, int)
    for name in (*MAPS, *PATCHES):
        regions += mask(root, name)
    assert regions.max() == 1
    assert regions.sum() == len(truth["responds"])
    image, _, _ = run_of(root, 1)
    data = image.get_fdata()
    dead = np.isin(truth["channel_name"], truth["bad"])
    assert np.ptp(data[brain], axis=1)[dead].max() == 0
    assert np.ptp(data[brain], axis=1)[~dead].min() > 0
    place = nibabel.affines.apply_affine(image.affine, truth["index"])
    np.testing.assert_allclose(place / 1000, truth["position"], atol=1e-6)
    assert data[~brain].mean() < 0.05 * data[brain].mean()


def test_motion_explains_what_motion_left(root):
    """Outside the regions that respond, the six parameters take variance away; random ones do not."""
    image, _, confounds = run_of(root, 1)
    silent = mask(root, "brain") & ~np.any([mask(root, n) for n in (*MAPS, *PATCHES)], 0)
    series = image.get_fdata()[silent].T
    n = len(series)
    base = np.stack([np.linspace(-1, 1, n) ** k for k in range(4)], 1)

    def left(extra):
        design = np.column_stack([base, extra])
        fitted = design @ np.linalg.lstsq(design, series, rcond=None)[0]
        return ((series - fitted) ** 2).sum() / (n - design.shape[1])

    nothing, motion = left(np.zeros((n, 0))), left(confounds[list(bold.MOTION)])
    assert motion < 0.97 * nothing
    assert left(np.random.default_rng(0).standard_normal((n, 6))) > 0.985 * nothing


def test_weights_come_back_through_the_glm_of_nilearn(root):
    """Betas of nilearn on the written volumes follow ``weight @ z + constant``, voxel by voxel."""
    from nilearn.glm.first_level import make_first_level_design_matrix, run_glm

    names = ("image", "z", "index", "responds", "weight", "constant", "bad", "channel_name")
    truth = read_h5(root / "sourcedata/truth/sub-01.h5", "neurovis-truth", names)
    rows = truth["responds"]
    alive = ~np.isin(truth["channel_name"][rows], truth["bad"])
    found, expected = [], []
    for number in (1, 2):
        image, events, confounds = run_of(root, number)
        series = image.get_fdata()[tuple(truth["index"][rows].T)][alive].T
        series = 100 * (series / series.mean(0) - 1)
        trials = [f"t{i:03d}" for i in range(len(events))]
        table = events[["onset", "duration"]].assign(trial_type=trials)
        design = make_first_level_design_matrix(
            (np.arange(len(series)) + 0.5) * 1.5, table, hrf_model="glover",
            drift_model="polynomial", drift_order=3,
            add_regs=confounds[list(bold.MOTION)].to_numpy(), add_reg_names=list(bold.MOTION),
        )  # fmt: skip
        labels, results = run_glm(series, design.to_numpy(), noise_model="ols")
        (result,) = results.values()
        assert len(labels) == alive.sum()
        columns = [design.columns.get_loc(name) for name in trials]
        found.append(result.theta[columns])
        order = {image: i for i, image in enumerate(truth["image"])}
        z = truth["z"][[order[name] for name in events["image"]]]
        expected.append((z @ truth["weight"].T + truth["constant"])[:, alive])
    found, expected = np.concatenate(found), np.concatenate(expected)
    centred = [part - part.mean(0) for part in (found, expected)]
    apart = [np.corrcoef(a, b)[0, 1] for a, b in zip(centred[0].T, centred[1].T)]
    assert np.median(apart) > 0.5
    shuffled = np.random.default_rng(0).permutation(len(expected))
    wrong = [np.corrcoef(a, b[shuffled])[0, 1] for a, b in zip(centred[0].T, centred[1].T)]
    assert abs(np.median(wrong)) < 0.2
    # one number for all voxels: what the model's response is beside the subject's
    slope = (centred[0] * centred[1]).sum(0) / (centred[1] ** 2).sum(0)
    strong = expected.std(0) > np.median(expected.std(0))
    assert np.std(slope[strong]) < 0.35 * np.mean(slope[strong])


def test_the_response_peaks_when_it_should():
    course = bold.haemodynamic(0.05, 5.4, 0.2)
    assert course.max() == 1
    assert abs(course.argmax() * bold.STEP - 5.4) < 0.2
    assert 0.08 < -course.min() < 0.25
    longer = bold.haemodynamic(4.0, 5.4, 0.2)
    assert longer.argmax() > course.argmax()


def test_retinotopy_is_mirrored_and_grows_outwards():
    cortex = make_cortex(random_features(), 5.0, 0, 1)
    rows, place = cortex.responds, cortex.position
    assert set(cortex.region[rows]) == {*MAPS, *PATCHES}
    mapped = rows[np.isfinite(cortex.size[rows])]
    away = np.abs(place[mapped, 0]) > 6
    assert (
        np.sign(cortex.centre[mapped, 0])[away] == -np.sign(place[mapped, 0])[away]
    ).mean() > 0.9
    one = mapped[cortex.region[mapped] == "V1"]
    far = np.linalg.norm(cortex.centre[one], axis=1)
    assert np.corrcoef(far, place[one, 1])[0, 1] > 0.8
    assert np.corrcoef(far, cortex.size[one])[0, 1] > 0.99
    assert far.max() < 0.65 * PICTURE
    # the lower field lies above
    assert np.corrcoef(cortex.centre[one, 1], place[one, 2])[0, 1] < -0.5
    # early voxels follow features near their receptive field
    features = random_features()
    near = np.linalg.norm(cortex.centre[one][:, None] / (PICTURE / 2) - CENTRES, axis=2)
    power = cortex.weight[one] ** 2
    by_field = np.stack([power[:, features.field == f].sum(1) for f in range(len(CENTRES))], 1)
    best = by_field.argmax(1)
    assert np.median(near[np.arange(len(one)), best] - near.min(1)) < 0.1
    assert (power[:, features.field < 0] == 0).all()


def test_neighbours_are_alike_and_subjects_share_most():
    features = random_features()
    one, two = (make_cortex(features, 5.0, 0, subject) for subject in (1, 2))
    again = make_cortex(features, 5.0, 0, 1)
    np.testing.assert_array_equal(one.weight, again.weight)
    rng = np.random.default_rng(0)
    line = np.zeros((2, 3))
    line[1, 0] = SMOOTHNESS
    fields = smooth(line, 4000, SMOOTHNESS, rng)
    assert abs(np.corrcoef(fields)[0, 1] - np.exp(-0.5)) < 0.1
    assert abs(fields.std() - 1) < 0.1
    both = np.intersect1d(
        one.responds[one.region[one.responds] == "V4"],
        two.responds[two.region[two.responds] == "V4"],
    )
    alike = [np.corrcoef(one.weight[v], two.weight[v])[0, 1] for v in both]
    assert 0.3 < np.median(alike) < 0.95


def test_same_seed_same_bytes_whatever_the_jobs_and_a_lost_run_comes_back(root, tmp_path):
    again = simulate(tmp_path / "again", FMRI, n_jobs=2, quiet=True, snr=2.0, **SMALL)
    files = sorted(p.relative_to(root) for p in root.rglob("*.nii.gz"))
    assert len(files) == 2 + 1 + len(MAPS) + len(PATCHES)
    for file in files:
        assert (root / file).read_bytes() == (again / file).read_bytes()
    # as a killed one leaves it: begun, one run without its events
    design = root / "sourcedata/truth/design.json"
    (again / ".simulating").mkdir()
    (again / ".simulating/design.json").write_bytes(design.read_bytes())
    (again / FUNC.format(2, "events.tsv")).unlink()
    kept = (again / FUNC.format(1, "bold.nii.gz")).stat().st_mtime_ns
    simulate(again, FMRI, quiet=True, snr=2.0, **SMALL)
    assert (again / FUNC.format(1, "bold.nii.gz")).stat().st_mtime_ns == kept
    for name in ("bold.nii.gz", "events.tsv"):
        file = FUNC.format(2, name)
        assert (root / file).read_bytes() == (again / file).read_bytes()
    with pytest.raises(NeurovisError, match="another design"):
        simulate(again, FMRI, quiet=True, snr=1.0, **SMALL)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sfreq": 300.0}, "Design.sfreq: expected none with fmri"),
        ({"trigger_lag": 0.02}, "Design.trigger_lag: expected none with fmri"),
        ({"soa": 2.0}, "present pictures more slowly"),
        ({"modality": {"name": "fmri", "tr": 0}}, "tr"),
        ({"modality": {"name": "fmri", "t": 2}}, "did you mean 'tr'"),
    ],
)
def test_wrong_designs_are_refused_before_anything_is_written(options, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        simulate(tmp_path / "x", quiet=True, **{"modality": "fmri", **SMALL, **options})
    assert not (tmp_path / "x").exists()
    assert Design(modality="meg").sfreq == 300
    assert Design(modality="fmri").sfreq is None


def test_modulated_maps_answer_to_looks_by_what_is_shown():
    features = random_features(400)
    modality = bold.Fmri(voxel_size=9.0, modulated=("V2",))
    seen = modality.sees(features)
    early, late = features.stage == "early", features.stage == "late"
    product = seen.z[:, seen.stage == "modulated"]
    assert product.shape == (400, early.sum())
    # the sign is one of two for a whole picture, whatever the feature
    sign = np.sign(features.z[:, late] @ bold.prototype(bold.NATURAL, late.sum()))
    expected = features.z[:, early] * sign[:, None]
    expected = (expected - expected.mean(0)) / expected.std(0)
    np.testing.assert_allclose(product, expected, atol=1e-4)
    plain = make_cortex(features, 9.0, seed=0, subject=1)
    cortex = make_cortex(seen, 9.0, seed=0, subject=1, modulated=modality.modulated)
    mine = cortex.region == "V2"
    inside = cortex.weight[:, seen.stage == "modulated"]
    assert inside[mine].any(1).all()
    assert not inside[~mine].any()
    # all other voxels are as they were
    n = len(features.stage)
    np.testing.assert_allclose(cortex.weight[~mine][:, :n], plain.weight[~mine], atol=1e-6)
    # and a linear model of the plain features explains the planted share alone
    drive = seen.z @ cortex.weight[mine].T
    drive = drive - drive.mean(0)
    basis = features.z - features.z.mean(0)
    fit = basis @ np.linalg.lstsq(basis, drive, rcond=None)[0]
    share = 1 - ((drive - fit) ** 2).sum(0) / (drive**2).sum(0)
    free = 1 - MODULATED * (1 - basis.shape[1] / 400)  # chance correlations of 400 pictures
    assert abs(share.mean() - free) < 0.05


def test_what_is_not_modulated_is_what_it_was():
    made = [Design(modality={"name": "fmri", **some}) for some in ({}, {"modulated": []}, {"modulated": ["V2"]})]  # fmt: skip
    assert fingerprint(made[0]) == fingerprint(made[1]) != fingerprint(made[2])
    features = random_features()
    assert bold.Fmri().sees(features) is features
    with pytest.raises(UsageError, match="did you mean 'V3'"):
        build(Design, {"modality": {"name": "fmri", "modulated": ["V33"]}})
