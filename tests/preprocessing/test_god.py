import shutil

import h5py
import numpy as np
import pytest
from fakes import god as fake
from neurovis.preprocessing.god import read_events, stem_of

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError
from neurovis.manifest import read_manifest
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials

load_datasets()


def dataset(**options):
    return resolve(Dataset, {"name": "god", **options})


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    root = tmp_path_factory.mktemp("tables")
    fake.write_table(root / "Subject1.h5", 1)
    fake.write_table(root / "Subject2.h5", 2)
    return root


@pytest.fixture
def copy(tables, tmp_path):
    return shutil.copytree(tables, tmp_path / "copy")


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    return fake.write_bids(tmp_path_factory.mktemp("bids"))


@pytest.fixture
def bids_copy(bids, tmp_path):
    return shutil.copytree(bids, tmp_path / "bids")


def alike(signal, images):
    """Correlation of each trial with what was planted for its picture, over good voxels."""
    good = [i for i in range(fake.N_VOXELS) if i not in (4, 9)]
    planted = np.stack([fake.response(image)[good] for image in images])
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(signal, planted)])


def test_numbers_of_pictures_lose_no_zero():
    for stem in (*fake.TRAIN, *fake.TEST):
        assert stem_of(fake.number_of(stem), "file") == stem
    with pytest.raises(NeurovisError, match="six digits after the point"):
        stem_of(2766534.0, "file")


@pytest.mark.parametrize("old", [False, True])
def test_every_sample_of_the_table_is_its_picture(tmp_path, old):
    fake.write_table(tmp_path / "data" / "Subject1.h5", old=old)
    made = dataset()
    recordings = made.recordings(tmp_path)
    counts = {"perceptionTraining": 2, "perceptionTest": fake.TEST_RUNS}
    found = [r.session for r in recordings]
    assert {s: found.count(s) for s in counts} == counts
    assert len(found) == sum(counts.values())
    voxels = made.voxels(tmp_path, "01")
    truth = [row for row in fake.trials(1) if row[0] < 3]
    shown, order = [], []
    for recording in recordings:
        responses = made.responses(tmp_path, recording, voxels)
        shown += responses.image.tolist()
        good = [i for i in range(fake.N_VOXELS) if i not in (4, 9)]
        assert (alike(responses.signal[:, good], responses.image) > 0.999).all()
        order += [recording.session] * len(responses.image)
    assert shown == [row[2] for row in truth]
    assert [fake.TYPES[s] for s in order] == [row[0] for row in truth]


def test_voxels_have_their_regions_and_places(tables):
    voxels = dataset().voxels(tables, "02")
    assert set(voxels.roi) == set(fake.ROIS)
    assert np.flatnonzero(voxels.roi["V2"]).tolist() == list(range(10, 20))
    assert voxels.roi["VC"].all()
    np.testing.assert_allclose(voxels.position[4], [-0.009, -0.087, 0.0], atol=1e-6)
    assert voxels.shape == (3, 5, 2)
    place = voxels.index @ voxels.affine[:3, :3].T + voxels.affine[:3, 3]
    np.testing.assert_allclose(place / 1000, voxels.position, atol=1e-6)


def test_some_voxels_are_read_in_the_order_asked_for(tables):
    made = dataset()
    voxels = made.voxels(tables, "01")
    recording = made.recordings(tables)[0]
    whole = made.responses(tables, recording, voxels).signal
    rows = np.array([21, 3, 17])
    some = made.responses(tables, recording, voxels.take(rows)).signal
    np.testing.assert_array_equal(some, whole[:, rows])


def test_stimuli_are_imagenet_stems_with_files_only_where_someone_has_them(tables, copy):
    stimuli = dataset().stimuli(tables)
    assert stimuli.image.tolist() == sorted([*fake.TRAIN, *fake.TEST])
    assert set(stimuli.image[stimuli.set == "test"]) == set(fake.TEST)
    assert (stimuli.sha256 == "").all()
    assert stimuli.concept[stimuli.index(fake.TEST[0])[0]] == "n04252077"
    fake.write_images(copy)
    found = dataset().stimuli(copy)
    assert (found.sha256 != "").all()
    assert set(found.width) == {8}
    assert set(found.height) == {6}
    row = int(found.index(fake.TEST[2])[0])
    assert found.path[row] == (f"images/test/{fake.TEST[2]}.JPEG",)


def test_imagined_categories_test_in_place_of_pictures_never_beside_them(tables):
    made = dataset(recipe="imagery")
    sessions = {r.session for r in made.recordings(tables)}
    assert sessions == {"perceptionTraining", "imageryTest"}
    (one, _) = [
        r for r in made.recordings(tables) if r.session == "imageryTest" and r.subject == "01"
    ]
    responses = made.responses(tables, one, made.voxels(tables, "01"))
    assert sorted(responses.image) == sorted(fake.TEST)
    good = [i for i in range(fake.N_VOXELS) if i not in (4, 9)]
    assert (alike(responses.signal[:, good], responses.image) > 0.999).all()


def test_prepared_trials_are_scaled_by_training_samples(tables, tmp_path):
    folder = prepare(dataset(), tables, tmp_path, quiet=True)
    split = Split.read(folder / "split.json")
    assert set(split.test) == set(fake.TEST)
    assert split.protocol == "clean"
    for subject in ("01", "02"):
        trials = Trials.open(folder / f"sub-{subject}" / "trials.h5")
        truth = [row for row in fake.trials(int(subject)) if row[0] < 3]
        assert trials.image.tolist() == [row[2] for row in truth]
        assert trials.modality == "fmri"
        assert trials.signal.shape == (
            len(truth),
            fake.N_VOXELS - 2,
            1,
        )
        signal = trials.read()[:, :, 0]
        training = split.rows("train", trials)
        np.testing.assert_allclose(signal[training].mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(signal[training].std(axis=0), 1, atol=1e-4)
        assert abs(signal[trials.set == "test"].mean(axis=0)).max() > 0.01
        with h5py.File(folder / f"sub-{subject}" / "trials.h5") as file:
            assert set(file["voxels/roi"]) == set(fake.ROIS)
        trials.close()
    assert Stimuli.read(folder / "stimuli.csv").image.tolist() == sorted([*fake.TRAIN, *fake.TEST])


def test_later_papers_way_looks_at_all_samples_of_a_run(tables, tmp_path):
    folder = prepare(dataset(recipe="run-z"), tables, tmp_path, ["1"], quiet=True)
    assert Split.read(folder / "split.json").protocol == "run-z"
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    for run in np.unique(trials.recording):
        mine = trials.read(np.flatnonzero(trials.recording == run))[:, :, 0]
        np.testing.assert_allclose(mine.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(mine.std(axis=0), 1, atol=1e-4)
    trials.close()


def test_a_region_is_chosen_by_name_and_the_nearest_is_named(tables, tmp_path):
    folder = prepare(dataset(fmri={"roi": ("V2", "LOC")}), tables, tmp_path, ["1"], quiet=True)
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    assert trials.signal.shape[1] == 20
    trials.close()
    with pytest.raises(NeurovisError, match="did you mean 'LOC'"):
        prepare(dataset(fmri={"roi": ("LOCC",)}), tables, tmp_path, ["1"], quiet=True)


def test_a_damaged_subject_is_named_and_the_others_go_on(copy, tmp_path):
    whole = (copy / "Subject1.h5").read_bytes()
    (copy / "Subject1.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        NeurovisError, match=r"1 of 2 subjects failed.*Subject1.h5: damaged or half"
    ):
        prepare(dataset(), copy, tmp_path / "out", quiet=True)
    (partial,) = (tmp_path / "out" / "prepared").glob("*/sub-02/trials.h5")
    assert partial.is_file()


def test_a_table_in_single_precision_lost_its_pictures(copy):
    fake.write_table(copy / "Subject1.h5", dtype=np.float32)
    with pytest.raises(NeurovisError, match=r"Subject1.h5: stimulus_id is stored in 6 digits"):
        dataset().stimuli(copy)


def test_indices_that_disagree_with_the_pictures_are_refused(copy):
    with h5py.File(copy / "Subject2.h5", "r+") as file:
        keys = [k.decode() for k in file["metadata/key"][()]]
        column = int(np.flatnonzero(file["metadata/value"][keys.index("image_index")] == 1)[0])
        file["dataset"][0, column] = file["dataset"][1, column]
    with pytest.raises(NeurovisError, match="image_index and stimulus_id disagree"):
        dataset().stimuli(copy)


def test_image_features_are_not_responses(copy):
    with h5py.File(copy / "Subject1.h5", "w") as file:
        file["cnn1"] = np.zeros(3)
    with pytest.raises(NeurovisError, match="expected dataset and metadata, found cnn1"):
        dataset().voxels(copy, "01")


def test_nothing_of_the_owners_under_the_root(tmp_path):
    with pytest.raises(
        NeurovisError, match=r"expected Subject1.h5 ... Subject5.h5 .* found neither"
    ):
        dataset().recordings(tmp_path)
    (tmp_path / "Subject2.mat").touch()
    with pytest.raises(NeurovisError, match=r"found Subject2.mat \(MATLAB\), of which the .h5"):
        dataset().recordings(tmp_path)


# ---- BIDS --------------------------------------------------------------------------------------


def test_bids_runs_give_the_planted_responses_without_one_back_repeats(bids):
    made = dataset()
    voxels = made.voxels(bids, "01")
    assert set(voxels.roi) == {"V1d", "V1v", "V1", "LOC"}
    assert len(voxels) == fake.N_VOXELS
    assert voxels.roi["V1"].sum() == 20
    sessions = fake.sessions(1)
    recordings = made.recordings(bids)
    assert len(recordings) == len(sessions) - 1  # imagery is another protocol
    for recording in recordings:
        responses = made.responses(bids, recording, voxels)
        expected = list(dict.fromkeys(sessions[recording.session, int(recording.run)]))
        assert responses.image.tolist() == expected
        shown = sessions[recording.session, int(recording.run)]
        np.testing.assert_array_equal(responses.onset, [33 + 9 * shown.index(i) for i in expected])
        assert responses.sfreq == pytest.approx(1 / 3)
        planted = np.stack([fake.response(image) for image in responses.image])
        np.testing.assert_allclose(responses.signal, planted, rtol=0.02, atol=0.02)
        assert "1 one-back repeats are modelled and left out" in responses.notes


def test_repeats_may_be_merged_to_one_long_showing(bids):
    made = dataset(fmri={"merge": 0.0})
    (first, *_) = made.recordings(bids)
    shown = fake.sessions(1)[first.session, int(first.run)]
    responses = made.responses(bids, first, made.voxels(bids, "01"))
    assert responses.image.tolist() == list(dict.fromkeys(shown))
    planted = np.stack([fake.response(image) for image in responses.image])
    np.testing.assert_allclose(responses.signal, planted, rtol=0.02, atol=0.02)


def test_bids_from_files_to_trials(bids, tmp_path):
    folder = prepare(dataset(fmri={"roi": ("V1",)}), bids, tmp_path, quiet=True)
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    sessions = {k: v for k, v in fake.sessions(1).items() if k[0].startswith("perception")}
    expected = [
        (session, f"{run:02d}", stem)
        for (session, run), shown in sorted(sessions.items())
        for stem in dict.fromkeys(shown)
    ]
    assert [*zip(trials.session, trials.run, trials.image)] == expected
    assert trials.signal.shape == (24 + 4 * 3, 20, 1)
    assert trials.sfreq == pytest.approx(1 / 3)
    test = trials.set == "test"
    means = [
        trials.read(np.flatnonzero(test & (trials.image == i))).mean(axis=0)[:, 0]
        for i in fake.TEST
    ]
    planted = [fake.response(i)[:20] for i in fake.TEST]
    train = np.stack([fake.response(i)[:20] for i in fake.TRAIN])
    scaled = [(p - train.mean(axis=0)) / train.std(axis=0) for p in planted]
    assert np.corrcoef(np.ravel(means), np.ravel(scaled))[0, 1] > 0.95
    trials.close()


def test_bids_imagery_goes_by_the_picture_of_its_category(bids):
    made = dataset(recipe="imagery")
    (one,) = [r for r in made.recordings(bids) if r.session == "imageryTest01"]
    responses = made.responses(bids, one, made.voxels(bids, "01"))
    assert responses.image.tolist() == fake.sessions(1)["imageryTest01", 1]
    np.testing.assert_array_equal(responses.onset, [36, 60, 84])
    planted = 0.5 * np.stack([fake.response(image) for image in responses.image])
    np.testing.assert_allclose(responses.signal, planted, atol=0.05)


def test_without_the_owners_derivatives_the_raw_bold_is_used_and_said(bids_copy):
    shutil.rmtree(bids_copy / "derivatives")
    made = dataset()
    recording = made.recordings(bids_copy)[0]
    responses = made.responses(bids_copy, recording, made.voxels(bids_copy, "01"))
    assert any("no motion correction" in note for note in responses.notes)
    made = dataset(derivatives="derivatives/mine")
    with pytest.raises(NeurovisError, match="no preprocessed image of sub-01_ses-perceptionTest01"):
        made.responses(bids_copy, recording, dataset().voxels(bids_copy, "01"))


def test_missing_runs_and_files_are_named(bids_copy):
    func = bids_copy / "sub-01" / "ses-perceptionTest01" / "func"
    for path in func.glob("*run-02*"):
        path.unlink()
    next(func.glob("*run-03_bold.nii.gz")).unlink()
    problems = [r.problem for r in dataset().recordings(bids_copy) if r.problem]
    assert len(problems) == 2
    assert "run-02 is missing between others" in problems[0]
    assert "run-03_bold.nii.gz: no such file; fetch it" in problems[1]


def test_a_picture_on_both_sides_is_refused(bids_copy):
    (path,) = bids_copy.glob("sub-01/ses-perceptionTest02/func/*_events.tsv")
    (other,) = bids_copy.glob("sub-01/ses-perceptionTraining01/func/*run-01_events.tsv")
    shutil.copy(other, path)
    with pytest.raises(NeurovisError, match="is in training and in test"):
        dataset().stimuli(bids_copy)


def test_name_and_number_of_a_picture_must_agree(bids_copy):
    path = next(bids_copy.glob("sub-01/ses-perceptionTest01/func/*run-01_events.tsv"))
    path.write_text(path.read_text().replace("_15121\t", "_15122\t"))
    with pytest.raises(
        NeurovisError, match="stimulus_name n02190790_15122 and stimulus_id of n02190790_15121"
    ):
        dataset().stimuli(bids_copy)


def test_the_owners_events_hold_what_the_manifest_says(real_data):
    root = real_data / "bids_skeletons" / "ds001246"
    if not root.is_dir():
        pytest.skip("no ds001246")
    facts = read_manifest("god").facts
    shown = {"perceptionTraining": [], "perceptionTest": [], "imageryTest": []}
    runs = dict.fromkeys(shown, 0)
    for path in sorted(root.glob("sub-01/*/func/*_events.tsv")):
        session = path.parent.parent.name.removeprefix("ses-")[:-2]
        events = read_events(path)
        shown[session] += events.image[events.first].tolist()
        runs[session] += 1
        assert (np.diff(events.onset) > 0).all()
    counts = {k: np.unique(np.unique(v, return_counts=True)[1]).tolist() for k, v in shown.items()}
    assert counts["perceptionTraining"] == [facts["train_repeats"]]
    assert counts["perceptionTest"] == [facts["test_repeats"]]
    assert counts["imageryTest"] == [facts["imagery_repeats"]]
    assert len(shown["perceptionTraining"]) == facts["n_train_images"]
    assert len(set(shown["perceptionTest"])) == facts["n_test_images"]
    assert len(shown["perceptionTraining"]) + len(shown["perceptionTest"]) == facts["n_trials"]
    names = ("train_runs", "test_runs", "imagery_runs")
    assert list(runs.values()) == [facts[name] for name in names]
    # the text alone: every run says that its images are not there
    problems = [r.problem for r in dataset().recordings(root)]
    assert len(problems) == 59
    assert all("bold.nii.gz: no such file" in p for p in problems)


def test_recipes_are_the_manifests_protocols():
    manifest = read_manifest("god")
    assert set(manifest.protocols) == set(type(dataset()).recipes)
    assert dataset(recipe="run-z").fmri.learn == "all"
    assert dataset(recipe="paper").validation == 0
