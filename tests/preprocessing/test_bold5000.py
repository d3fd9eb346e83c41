import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
from fakes import bold5000 as fake
from neurovis.preprocessing.bold5000_files import (
    concept_of,
    image_id,
    kind_of,
    names_of,
    read_events,
)

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials

load_datasets()


def dataset(**options):
    return resolve(Dataset, {"name": "bold5000", **options})


@pytest.fixture(scope="module")
def betas(tmp_path_factory):
    return fake.write_betas(tmp_path_factory.mktemp("betas"))


@pytest.fixture
def copy(betas, tmp_path):
    return shutil.copytree(betas, tmp_path / "copy")


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    return fake.write_bids(tmp_path_factory.mktemp("bids"))


def planted(images):
    return np.stack([fake.response(f"{image}.jpg") for image in images])


def wanted(voxels):
    """Flat place of voxels in the fake's volume."""
    return np.ravel_multi_index(tuple(voxels.index.T), fake.SHAPE)


def test_one_id_per_picture_whatever_its_prefix_folder_and_ending():
    assert image_id("rep_n01641577_1229.JPEG") == "n01641577_1229"
    assert image_id(" dining_car.jpg ") == "dining_car"
    assert image_id("Scene\\beach1.jpeg") == image_id("rep_beach1.JPG") == "beach1"
    assert kind_of("COCO_train2014_000000488558") == "coco"
    assert kind_of("n01641577_1229") == "imagenet"
    assert kind_of("library_aisle10") == "scenes"
    assert concept_of("library_aisle10") == "library_aisle"
    assert concept_of("n01641577_1229") == "n01641577"


def test_every_beta_is_its_pictures(betas):
    made = dataset()
    recordings = made.recordings(betas)
    assert [r.session for r in recordings] == [f"{s:02d}" for s in range(1, 10)]
    voxels = made.voxels(betas, "CSI4")
    assert len(voxels) == len(fake.BRAIN)
    truth = fake.trials("CSI4")
    rows = []
    for recording in recordings:
        found = made.responses(betas, recording, voxels)
        session = int(recording.session)
        expected = planted(found.image) * (1 + 0.1 * session) + session
        alive = wanted(voxels) != 39
        np.testing.assert_allclose(
            found.signal[:, alive], expected[:, wanted(voxels)[alive]], rtol=1e-5, atol=1e-5
        )
        rows += [(session, int(run), image) for run, image in zip(found.run, found.image)]
    assert rows == [(s, r, fake.image_id(name)) for s, r, name in truth]


def test_regions_are_of_both_hemispheres_and_slips_in_their_names_are_known(betas, tmp_path):
    voxels = dataset().voxels(betas, "CSI4")
    assert set(voxels.roi) == {*fake.REGIONS, "EarlyVis", "LOC", "OPA", "PPA", "RSC"}
    place = wanted(voxels)
    for region, members in fake.REGIONS.items():
        assert place[voxels.roi[region]].tolist() == list(members)
    assert place[voxels.roi["LOC"]].tolist() == list(range(12, 24))
    root = fake.write_betas(tmp_path, "CSI3")
    assert set(dataset().voxels(root, "CSI3").roi) == set(voxels.roi)


def test_repeated_pictures_test_for_everyone(betas, tmp_path):
    stimuli = dataset().stimuli(betas)
    tests = {fake.image_id(name) for name in fake.REPEATED}
    # CSI4 saw one of them once: without the list nobody can know
    assert set(stimuli.image[stimuli.set == "test"]) == tests - {"dining_car"}
    root = shutil.copytree(betas, tmp_path / "root")
    fake.write_pictures(root)
    stimuli = dataset().stimuli(root)
    assert set(stimuli.image[stimuli.set == "test"]) == tests
    row = int(stimuli.index("beach1")[0])
    assert stimuli.path[row] == (
        "BOLD5000_Stimuli/Scene_Stimuli/Presented_Stimuli/Scene/beach1.jpg",
    )
    assert stimuli.sha256[row]
    assert stimuli.width[row] == 5
    lists = next(root.glob("BOLD5000_Stimuli/*/repeated*.txt"))
    lists.write_text("\n".join(fake.REPEATED[1:]))
    with pytest.raises(
        NeurovisError, match="'COCO_train2014_000000488558' was repeated and is not in"
    ):
        dataset().stimuli(root)


def test_prepared_betas_are_scaled_within_session_by_training_trials(betas, tmp_path):
    folder = prepare(dataset(), betas, tmp_path, quiet=True)
    trials = Trials.open(folder / "sub-CSI4" / "trials.h5")
    truth = fake.trials("CSI4")
    assert trials.image.tolist() == [fake.image_id(name) for _, _, name in truth]
    assert trials.session.tolist() == [f"{s:02d}" for s, _, _ in truth]
    assert trials.run.tolist() == [f"{r:02d}" for _, r, _ in truth]
    members = sorted({v for voxels in fake.REGIONS.values() for v in voxels})
    assert trials.signal.shape == (3108, len(members), 1)
    split = Split.read(folder / "split.json")
    signal = trials.read()[:, :, 0]
    training = np.isin(np.arange(len(trials)), split.rows("train", trials))
    for session in ("01", "09"):
        mine = trials.session == session
        np.testing.assert_allclose(signal[mine & training].mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(signal[mine & training].std(axis=0), 1, atol=1e-3)
    # the same picture gives the same pattern in any session, scaled
    whole = planted(trials.image)[:, members]
    assert np.corrcoef(signal.ravel(), whole.ravel())[0, 1] > 0.98
    trials.close()
    assert len(Stimuli.read(folder / "stimuli.csv")) == len({name for _, _, name in truth})


def test_some_sessions_alone(betas, tmp_path):
    made = dataset(sessions=(2, 9))
    assert [r.session for r in made.recordings(betas)] == ["02", "09"]
    with pytest.raises(UsageError, match="numbers from 1 to 15, found 16"):
        dataset(sessions=(16,)).recordings(betas)


def test_betas_by_region_are_the_same_trials(tmp_path):
    root = fake.write_regions(tmp_path)
    made = dataset()
    voxels = made.voxels(root, "CSI3")
    assert set(voxels.roi) == {*fake.REGIONS, "EarlyVis", "LOC", "OPA", "PPA", "RSC"}
    recording = made.recordings(root)[5]
    some = voxels.take(np.flatnonzero(voxels.roi["LHPPA"] | voxels.roi["LHLOC"])[::-1])
    found = made.responses(root, recording, some)
    truth = [name for s, _, name in fake.trials("CSI3") if s == 6]
    assert found.image.tolist() == [fake.image_id(name) for name in truth]
    order = [*fake.REGIONS["LHLOC"], *fake.REGIONS["LHPPA"]][::-1]
    np.testing.assert_allclose(found.signal, planted(found.image)[:, order], rtol=1e-5)
    file = next(root.glob("*/py/*LHPPA.npy"))
    np.save(file, np.load(file)[:-1])
    with pytest.raises(NeurovisError, match=r"LHPPA.npy: 5253 trials, expected 5254"):
        made.responses(root, recording, some)
    np.save(file, np.array([{"a": 1}], object))
    with pytest.raises(NeurovisError, match=r"LHPPA.npy: no whole plain array"):
        made.responses(root, recording, some)


def test_a_missing_session_another_version_and_missing_names_are_said(copy):
    (copy / "CSI4_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-03.nii.gz").unlink()
    (problem,) = [r.problem for r in dataset().recordings(copy) if r.problem]
    assert "CSI4_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-03.nii.gz is missing; fetch it" in problem
    problem = dataset(version="B").recordings(copy)[0].problem
    assert "CSI4_GLMbetas-TYBEB-FITHRF_ses-01.nii.gz is missing" in problem
    assert "of other versions there are TYPED-FITHRF-GLMDENOISE-RR: set version" in problem
    (copy / "CSI4_imgnames.txt").unlink()
    assert "nothing says which pictures session 1 shows" in dataset().recordings(copy)[0].problem
    with pytest.raises(NeurovisError, match="nothing says which pictures session 1 shows"):
        dataset().stimuli(copy)


def test_a_list_of_another_length_and_events_that_disagree_are_refused(copy):
    fake.write_events(copy, "CSI4", (1,))
    assert names_of(copy, "CSI4")[1, 1][0] == fake.names("CSI4")[0]
    path = next(copy.glob("sub-CSI4/ses-01/func/*run-02_events.tsv"))
    text = path.read_text()
    name = fake.trials("CSI4")[37][2]
    path.write_text(text.replace(name, "other1.jpg"))
    with pytest.raises(
        NeurovisError, match=r"trial 1 of session 1, run 2 is .*the events say 'other1.jpg'"
    ):
        dataset().stimuli(copy)
    path.write_text(text)
    file = copy / "CSI4_imgnames.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    with pytest.raises(NeurovisError, match=r"3107 names, expected 3108 \(84 runs of 37 trials\)"):
        dataset().stimuli(copy)


def test_names_from_the_presentation_lists(copy):
    (copy / "CSI4_imgnames.txt").unlink()
    for session, run, name in fake.trials("CSI4"):
        folder = (
            copy / "BOLD5000_Stimuli/Stimuli_Presentation_Lists/CSI4" / f"CSI4_sess{session:02d}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"CSI_sess{session:02d}_run{run:02d}.txt").open("a") as file:
            file.write(name + "\n")
    shown = [(s, r, name) for (s, r), some in names_of(copy, "CSI4").items() for name in some]
    assert shown == fake.trials("CSI4")


def test_an_image_with_fewer_betas_than_trials_is_refused(copy):
    file = copy / "CSI4_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-02.nii.gz"
    image = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata()[..., :300], image.affine), file)
    made = dataset()
    with pytest.raises(NeurovisError, match=r"ses-02.nii.gz: 300 betas, expected 333"):
        made.responses(copy, made.recordings(copy)[1], made.voxels(copy, "CSI4"))


def test_a_mask_of_another_shape_and_no_masks_at_all(copy):
    fake.write_masks(copy, "CSI4", (4, 4, 4))
    with pytest.raises(NeurovisError, match=r"shape 4 x 4 x 4, expected 4 x 4 x 3 as in .*ses-01"):
        dataset().voxels(copy, "CSI4")
    shutil.rmtree(copy / "derivatives")
    with pytest.raises(NeurovisError, match="no region mask, expected sub-CSI4_mask-LHPPA"):
        dataset().voxels(copy, "CSI4")
    assert len(dataset(fmri={"roi": ()}).voxels(copy, "CSI4")) == 40
    (copy / "CSI4_brainmask.nii.gz").unlink()
    with pytest.raises(NeurovisError, match=r"CSI4_brainmask.nii.gz is missing"):
        dataset(fmri={"roi": ()}).voxels(copy, "CSI4")


def test_a_half_downloaded_session_is_named(copy):
    file = copy / "CSI4_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-05.nii.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    made = dataset()
    with pytest.raises(NeurovisError, match=r"ses-05.nii.gz"):
        made.responses(copy, made.recordings(copy)[4], made.voxels(copy, "CSI4"))


def test_the_first_release_is_told_apart(tmp_path):
    with pytest.raises(NeurovisError, match="found none of them; run neurovis fetch"):
        dataset().recordings(tmp_path)
    (tmp_path / "ROIs").mkdir()
    (tmp_path / "ROIs" / "CSI1_ROIs_TR1.h5").touch()
    with pytest.raises(
        NeurovisError, match=r"found CSI1_ROIs_TR1.h5 of release 1, which is not read"
    ):
        dataset().recordings(tmp_path)


def test_two_names_that_differ_in_case_alone_are_refused(copy):
    file = copy / "CSI4_imgnames.txt"
    lines = file.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("kitchen"))
    lines[row - 1] = lines[row].capitalize()
    file.write_text("\n".join(lines))
    with pytest.raises(NeurovisError, match="differ in upper and lower case alone"):
        dataset().stimuli(copy)


# ---- BIDS --------------------------------------------------------------------------------------


def test_bold_gives_the_planted_responses_and_localisers_are_left_out(bids):
    made = dataset(sessions=(2,), fmri={"confounds": ("X", "Y")})
    recordings = made.recordings(bids)
    assert [r.run for r in recordings] == [f"{r:02d}" for r in range(1, 10)]
    assert not any(r.problem for r in recordings)
    assert all("_bold_space-T1w_preproc" in r.file.name for r in recordings)
    voxels = made.voxels(bids, "CSI4")
    for recording in recordings[:2]:
        found = made.responses(bids, recording, voxels)
        truth = [n for s, r, n in fake.trials("CSI4") if (s, r) == (2, int(recording.run))]
        assert found.image.tolist() == [fake.image_id(name) for name in truth]
        table = pd.read_csv(
            next(bids.glob(f"sub-CSI4/ses-02/func/*run-{recording.run}_events.tsv")), sep="\t"
        )
        np.testing.assert_array_equal(found.onset, table["onset"])
        assert found.sfreq == 0.5
        expected = planted(found.image)[:, wanted(voxels)]
        np.testing.assert_allclose(found.signal, expected, rtol=0.02, atol=0.05)


def test_without_confounds_motion_stays_in(bids):
    made = dataset(sessions=(2,))
    recording = made.recordings(bids)[0]
    voxels = made.voxels(bids, "CSI4")
    found = made.responses(bids, recording, voxels)
    error = found.signal - planted(found.image)[:, wanted(voxels)]
    assert np.abs(error).max() > 0.5


def test_bold_from_files_to_trials(bids, tmp_path):
    root = shutil.copytree(bids, tmp_path / "bids")
    fake.write_list(root, "CSI4")  # says what is repeated in sessions that are not read
    made = dataset(sessions=(2,), fmri={"roi": ("LOC",), "confounds": ("X", "Y")})
    folder = prepare(made, root, tmp_path / "out", quiet=True)
    trials = Trials.open(folder / "sub-CSI4" / "trials.h5")
    truth = [(r, fake.image_id(name)) for s, r, name in fake.trials("CSI4") if s == 2]
    assert [*zip(trials.run.astype(int), trials.image)] == truth
    assert set(trials.session) == {"02"}
    assert trials.signal.shape == (333, 12, 1)
    shown = [name for _, _, name in fake.trials("CSI4")]
    repeated = {fake.image_id(n) for n in fake.REPEATED if shown.count(n) > 1}
    assert repeated & {image for _, image in truth}
    assert set(trials.image[trials.set == "test"]) == repeated & {image for _, image in truth}
    first = np.flatnonzero(trials.run == "01")
    found, expected = trials.read(first)[:, :, 0], planted(trials.image[first])[:, 12:24]
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, expected.T)]
    assert min(alike) > 0.99
    trials.close()


def test_runs_that_are_missing_or_renamed_are_named(bids, tmp_path):
    root = shutil.copytree(bids, tmp_path / "bids")
    made = dataset(sessions=(2,))
    func = root / "sub-CSI4" / "ses-02" / "func"
    stem = "sub-CSI4_ses-02_task-5000scenes_run-"
    shutil.copy(func / f"{stem}02_events.tsv", func / f"{stem}01_events.tsv")
    with pytest.raises(NeurovisError, match=r"session and run \[\(2, 2\)\], expected \(2, 1\)"):
        made.responses(root, made.recordings(root)[0], made.voxels(root, "CSI4"))
    (func / f"{stem}09_events.tsv").unlink()
    problems = [r.problem for r in made.recordings(root) if r.problem]
    assert len(problems) == 1
    assert "run-09_events.tsv: no such file; fetch it" in problems[0]
    everything = [r.problem for r in dataset().recordings(root) if r.problem]
    assert len(everything) == sum(fake.RUNS["CSI4"]) - 8


def test_the_owners_events_hold_what_the_manifest_says(real_data):
    root = real_data / "bids_skeletons" / "ds001499"
    if not root.is_dir():
        pytest.skip("no ds001499")
    facts = read_manifest("bold5000").facts
    shown = names_of(root, "CSI1")
    for session, runs in enumerate(facts["n_runs"]["CSI1"], start=1):
        assert [r for s, r in shown if s == session] == list(range(1, runs + 1))
    assert {len(some) for some in shown.values()} == {facts["trials_per_run"]}
    ids, counts = np.unique(
        [image_id(n) for some in shown.values() for n in some], return_counts=True
    )
    assert counts.sum() == facts["n_trials"]["CSI1"]
    assert len(ids) == facts["n_images"]
    assert sorted(set(counts[counts > 1].tolist())) == facts["test_repeats"]
    assert (counts > 1).sum() == facts["n_test_images"]
    stimuli = dataset().stimuli(root)
    assert (stimuli.set == "test").sum() == facts["n_test_images"]
    assert len(stimuli) == facts["n_images"]
    kinds = {kind: sum(kind_of(i) == kind for i in ids) for kind in ("coco", "imagenet", "scenes")}
    assert kinds == {"coco": 2000, "imagenet": 1916, "scenes": 1000}
    for path in sorted(root.glob("sub-CSI1/ses-0[12]/func/*5000scenes*_events.tsv")):
        assert (np.diff(read_events(path).onset) > 9).all()
    with pytest.raises(NeurovisError, match="is it a localiser's"):
        read_events(next(root.glob("sub-CSI1/*/func/*localizer*_events.tsv")))


def test_recipes_are_the_manifests_protocols():
    manifest = read_manifest("bold5000")
    assert set(manifest.protocols) == set(type(dataset()).recipes)
    assert dataset(recipe="paper").fmri.learn == "all"
    assert dataset(recipe="paper").fmri.standardise == "session"
    assert {s: 37 * sum(runs) for s, runs in manifest.facts["n_runs"].items()} == manifest.facts[
        "n_trials"
    ]
