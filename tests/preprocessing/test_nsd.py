"""NSD: counts, order, image identity, voxels and onsets against a miniature in the owners' formats."""

from __future__ import annotations

import csv
import json
import shutil

import h5py
import numpy as np
import pytest
from fakes import nsd as fake

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import main, prepare
from neurovis.records import Split, Trials

DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"


def dataset(**options):
    load_datasets()
    return resolve(Dataset, {"name": "nsd", **options})


@pytest.fixture(scope="module")
def owners(tmp_path_factory):
    """Two sessions of subject 1, with pictures."""
    root = tmp_path_factory.mktemp("nsd")
    return root, fake.write_nsd(root, pictures=True)


@pytest.fixture
def copy(owners, tmp_path):
    shutil.copytree(owners[0], tmp_path / "nsd")
    return tmp_path / "nsd"


def betas_of(root, session=1, subject=1, end="hdf5"):
    folder = root / f"nsddata_betas/ppdata/subj{subject:02d}/func1pt8mm/{fake.FOLDERS['b3']}"
    return folder / f"betas_session{session:02d}.{end}"


def read(ds, root, session=0, roi=None):
    """One session's responses for the selected voxels, and these."""
    recording = ds.recordings(root)[session]
    voxels = ds.voxels(root, recording.subject)
    voxels = voxels.take(voxels.select(ds.fmri.roi if roi is None else roi))
    return ds.responses(root, recording, voxels), voxels


@pytest.mark.parametrize("kind", ["hdf5", "contiguous", "slabs", "whole", "nii.gz"])
def test_every_trial_and_voxel_is_where_the_owners_put_it(tmp_path, kind):
    chunks = {"hdf5": (750, 1, 1, 1), "slabs": (750, 1, 8, 7), "whole": (50, 6, 8, 7)}.get(kind)
    mat = fake.write_nsd(tmp_path, suffix=".nii.gz" if kind == "nii.gz" else ".hdf5", chunks=chunks)
    ds = dataset(sessions=2)
    for session in (1, 2):
        found, voxels = read(ds, tmp_path, session - 1)
        image = fake.shown(mat, 1, session)
        assert found.image.tolist() == [f"nsd{i:05d}" for i in image]
        flat = np.ravel_multi_index(tuple(voxels.index.T), fake.SHAPE)
        truth = fake.response(image, int(np.prod(fake.SHAPE)), 1)[:, flat]
        inside = np.isfinite(found.signal[0:750]).all(axis=0)
        np.testing.assert_allclose(found.signal[0:750][:, inside], truth[:, inside], atol=1e-6)
        np.testing.assert_array_equal(
            found.signal[100:103][:, inside], found.signal[0:750][100:103][:, inside]
        )
        assert (~inside).sum() == (session == 2)
        assert found.notes == (() if session == 1 else ("1 voxels without data in this session",))
        # 1.8 mm betas come from series with a TR of 4/3 s; twelve runs of 63 and 62 pictures
        assert found.sfreq == pytest.approx(0.75)
        assert np.unique(found.run, return_counts=True)[1].tolist() == [63, 62] * 6
        pattern = mat["stimpattern"][session - 1]
        np.testing.assert_array_equal(
            found.onset, np.concatenate([4.0 * np.flatnonzero(run) for run in pattern])
        )


def test_from_files_to_trials(owners, tmp_path):
    root, mat = owners
    folder = prepare(dataset(sessions=2), root, tmp_path, quiet=True)
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    image = np.concatenate([fake.shown(mat, 1, s) for s in (1, 2)])
    shared = image[:, None] == (mat["sharedix"].astype(int) - 1)
    assert trials.image.tolist() == [f"nsd{i:05d}" for i in image]
    assert (trials.set == "test").tolist() == shared.any(axis=1).tolist()
    assert trials.session.tolist() == ["01"] * 750 + ["02"] * 750
    assert set(trials.run[:63]) == {"01"}
    assert trials.modality == "fmri"
    assert trials.signal.shape[2] == 1
    # nsdgeneral without the voxel that has no data in session 2
    regions = fake.regions(fake.SHAPE)
    flat = np.flatnonzero((regions["nsdgeneral"] > 0) & regions["brainmask"])
    flat = np.delete(flat, 3)
    assert trials.channel_name.tolist() == [f"sub-01/v{i:07d}" for i in flat]
    # z-scored per session with the training trials' mean and SD
    truth = fake.response(image, int(np.prod(fake.SHAPE)), 1)[:, flat]
    for session in ("01", "02"):
        mine = trials.session == session
        rows = Split.read(folder / "split.json").rows("train", trials)
        training = np.zeros(1500, bool)
        training[rows] = True
        part = truth[mine & training]
        expected = (truth[mine] - part.mean(axis=0)) / part.std(axis=0)
        np.testing.assert_allclose(trials.read(mine)[:, :, 0], expected, atol=2e-3)
    with h5py.File(folder / "sub-01" / "trials.h5") as file:
        members = file["voxels/roi/prf-visualrois.V1v"][()]
        labels = regions["prf-visualrois"].ravel()[flat]
        assert members.tolist() == (labels == 1).tolist()
    said = json.loads((folder / "sub-01" / "qc.json").read_text())
    assert "1 voxels: missing in some trial" in said["dropped"]
    assert not any("constant" in reason for reason in said["dropped"])
    trials.close()


def test_pictures_and_categories(copy, tmp_path, owners):
    mat = owners[1]
    seen = np.unique(np.concatenate([fake.shown(mat, 1, s) for s in (1, 2)]))[:40]
    ds = dataset(sessions=1, pictures=True)
    first = np.unique(fake.shown(mat, 1, 1))
    stimuli = ds.stimuli(copy)
    assert stimuli.image.tolist() == [f"nsd{i:05d}" for i in first]
    assert set(stimuli.concept) == {"coco"}
    assert set(stimuli.width) == {425}
    from PIL import Image

    image = int(np.intersect1d(seen, first)[0])
    row = stimuli.index([f"nsd{image:05d}"])[0]
    with Image.open(stimuli.files(row)[0]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), fake.picture(image))
    # the upper left corner of 0.125 of the height and none of the width's sides are cut off
    marks = [
        {"image_id": 100000 + image, "category_id": 1, "bbox": [0, 0, 100, 12]},
        {"image_id": 100000 + image, "category_id": 2, "bbox": [0, 12, 50, 10]},
    ]
    part = "val2017" if image % 20 == 0 else "train2017"
    (copy / "annotations").mkdir()
    (copy / "annotations" / f"instances_{part}.json").write_text(
        json.dumps(
            {
                "images": [{"id": 100000 + image, "width": 100, "height": 100}],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "zebra"}],
                "annotations": marks,
            }
        )
    )
    info = copy / "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
    info.write_text(info.read_text().replace("(0.0, 0.0, 0.125, 0.125)", "(0.12, 0.0, 0.0, 0.0)"))
    again = ds.stimuli(copy)
    assert again.concept[row] == "zebra"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """All sessions of subjects 1, 3 and 4, a few voxels each."""
    root = tmp_path_factory.mktemp("full")
    return root, fake.write_nsd(root, subjects=(1, 3, 4), sessions=None, shape=(3, 4, 2))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"01": (40, 1000, 3000), "03": (32, 930, 2371), "04": (30, 907, 2188)}),
        ({"held_back": 3}, {"01": (37, 982, 2770), "03": (29, None, 2113), "04": (27, None, 1985)}),
        ({"sessions": 37}, {"01": (37, 982, 2770), "03": (32, 930, 2371), "04": (30, 907, 2188)}),
    ],
)
def test_sessions_and_test_images_are_those_that_are_reported(full, options, expected):
    root = full[0]
    ds = dataset(**options)
    stimuli = ds.stimuli(root)
    assert (stimuli.set == "test").sum() == expected["01"][1]
    recordings = ds.recordings(root)
    test = set(ds.splits(stimuli, recordings)[0].test)
    for who, (sessions, images, n) in expected.items():
        mine = [r for r in recordings if r.subject == who]
        assert [r.session for r in mine] == [f"{s:02d}" for s in range(1, sessions + 1)]
        voxels = ds.voxels(root, who)
        shown = np.concatenate([ds.responses(root, r, voxels).image for r in mine])
        shared = shown[np.isin(shown, list(test))]
        assert len(shared) == n
        assert images is None or len(set(shared)) == images
    facts = read_manifest("nsd").facts
    assert facts["shared_trials"]["full"][0] == 3000
    assert facts["shared_trials"]["first release"][2] == 2113


def test_test_images_that_everyone_saw_three_times(full):
    root, mat = full
    counts = []
    for who in (1, 3, 4):
        image = np.concatenate(
            [fake.shown(mat, who, s) for s in range(1, fake.SESSIONS[who - 1] + 1)]
        )
        counts.append({i: int((image == i).sum()) for i in mat["sharedix"][0].astype(int) - 1})
    often = {f"nsd{i:05d}" for i in counts[0] if all(c[i] == 3 for c in counts)}
    ds = dataset(test_repeats=3)
    split = ds.splits(ds.stimuli(root), ds.recordings(root))[0]
    assert set(split.test) == often
    # what is shared but not test is not training either
    shared = {f"nsd{i - 1:05d}" for i in mat["sharedix"][0].astype(int)}
    assert not shared & {*split.train, *split.validation}


@pytest.mark.parametrize("space", ["fsaverage", "nativesurface"])
def test_surfaces(tmp_path, space):
    mat = fake.write_nsd(tmp_path, space=space)
    ds = dataset(space=space, sessions=2)
    found, voxels = read(ds, tmp_path, 1)
    image = fake.shown(mat, 1, 2)
    assert voxels.name.tolist() == [f"{h}{i:06d}" for h in ("lh", "rh") for i in range(24)]
    assert {"nsdgeneral", "streams.early", "floc-faces.FFA-1"} <= set(voxels.roi)
    assert "prfangle" not in voxels.roi
    assert voxels.space == ("fsaverage" if space == "fsaverage" else "")
    left, right = fake.response(image, 40, 1)[:, :24], fake.response(image, 36, 11)[:, :24]
    np.testing.assert_allclose(found.signal[0:750], np.hstack([left, right]), atol=1e-6)
    betas = tmp_path / f"nsddata_betas/ppdata/subj01/{space}/{fake.FOLDERS['b3']}"
    for path in betas.glob("rh.*session02*"):
        path.unlink()
    assert "rh.betas_session02" in ds.recordings(tmp_path)[1].problem


def test_voxels_of_named_regions(owners):
    root = owners[0]
    ds = dataset()
    everything = ds.voxels(root, "01")
    regions = fake.regions(fake.SHAPE)
    assert len(everything) == regions["brainmask"].sum()
    early = everything.take(everything.select(("prf-visualrois.V1v", "prf-visualrois.V1d")))
    inside = np.isin(regions["prf-visualrois"], [1, 2]) & regions["brainmask"]
    assert early.name.tolist() == [f"v{i:07d}" for i in np.flatnonzero(inside)]
    # a voxel's place: 1.8 mm apart, metres
    np.testing.assert_allclose(
        early.position, (early.index * 1.8 + [-72.0, -93.0, -74.0]) / 1000, atol=1e-6
    )
    assert "lh.nsdgeneral" not in everything.roi
    with pytest.raises(UsageError, match="did you mean 'nsdgeneral'"):
        everything.select(("nsdgenral",))


def test_what_a_session_depends_on_is_named(owners, tmp_path):
    root = owners[0]
    ds = dataset()
    names = {path.name for path in ds.companions(root, ds.recordings(root)[0])}
    assert {"nsd_expdesign.mat", "brainmask.nii.gz", "nsdgeneral.nii.gz"} <= names
    fake.write_nsd(tmp_path, sessions=1, space="nativesurface")
    ds = dataset(space="nativesurface")
    names = {path.name for path in ds.companions(tmp_path, ds.recordings(tmp_path)[0])}
    assert {"nsd_expdesign.mat", "rh.betas_session01.hdf5", "lh.nsdgeneral.mgz"} <= names


def test_recipes_say_what_they_change():
    clean, paper = dataset(), dataset(recipe="paper")
    assert (clean.fmri.learn, clean.fmri.standardise) == ("training", "session")
    assert (paper.fmri.learn, paper.fmri.roi) == ("all", ("nsdgeneral",))
    assert dataset(recipe="mindeye1").held_back == 3
    assert dataset(recipe="brain-diffuser").fmri.standardise == "subject"
    assert dataset(recipe="paper", fmri={"roi": ["streams"]}).fmri.learn == "all"
    assert set(type(clean).recipes) == set(read_manifest("nsd").protocols)


def test_a_missing_session_stops_its_subject_alone(full, tmp_path, capsys):
    root = tmp_path / "nsd"
    shutil.copytree(full[0], root)
    betas_of(root, 2, 3).unlink()
    words = ["--root", str(root), "--out", str(tmp_path), "--sessions", "3", "--quiet"]
    assert main("nsd", words) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "1 of 3 subjects failed (the others are kept): sub-03" in said
    assert "betas_session02.hdf5: no such file, expected the session's betas of version b3" in said
    assert f"neurovis fetch nsd --root {root} --subject 03 --accept nsd" in said
    kept = [p.parent.name for p in (tmp_path / "prepared").rglob("trials.h5")]
    assert sorted(kept) == ["sub-01", "sub-04"]


def test_betas_of_another_version_are_named(copy):
    betas_of(copy).parent.rename(betas_of(copy).parent.with_name("betas_assumehrf"))
    problem = dataset(sessions=1).recordings(copy)[0].problem
    assert "found it in betas_assumehrf (b1)" in problem
    with pytest.raises(UsageError, match=r"betas_assumehrf, the first version.*expected b3"):
        dataset(version="b1")


def damage_truncate(root):
    path = betas_of(root)
    path.write_bytes(path.read_bytes()[:-3000])


def damage_transpose(root):
    with h5py.File(betas_of(root), "w") as file:
        file["betas"] = np.zeros((6, 8, 7, 750), np.int16)


def damage_float(root):
    with h5py.File(betas_of(root), "w") as file:
        file["betas"] = np.zeros((750, 6, 8, 7), np.float32)


def damage_trials(root):
    with h5py.File(betas_of(root), "w") as file:
        file["betas"] = np.zeros((749, 6, 8, 7), np.int16)


def damage_name(root):
    with h5py.File(betas_of(root), "w") as file:
        file["voxels"] = np.zeros((750, 6, 8, 7), np.int16)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_truncate, "truncated"),
        (damage_transpose, r"betas are \(6, 8, 7, 750\) int16, expected \(750, 6, 8, 7\) int16"),
        (damage_float, r"float32, expected \(750, 6, 8, 7\) int16"),
        (damage_trials, r"\(749, 6, 8, 7\) int16, expected"),
        (damage_name, "object 'betas' doesn't exist"),
    ],
)
def test_a_damaged_session_is_one_sentence(copy, damage, said):
    damage(copy)
    with pytest.raises(NeurovisError, match=said) as error:
        read(dataset(), copy)
    assert str(betas_of(copy)) in str(error.value)
    assert "neurovis fetch nsd" in str(error.value)


def test_half_a_compressed_volume(tmp_path):
    fake.write_nsd(tmp_path, sessions=1, suffix=".nii.gz")
    path = betas_of(tmp_path, end="nii.gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(NeurovisError, match=r"betas_session01\.nii\.gz: c"):
        read(dataset(), tmp_path)


def test_a_mask_of_another_shape_names_both(copy):
    import nibabel

    region = copy / "nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((7, 8, 5), np.int16), fake.affine()), region)
    with pytest.raises(NeurovisError, match=r"7 x 8 x 5, expected 7 x 8 x 6.*brainmask\.nii\.gz"):
        dataset().voxels(copy, "01")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("masterordering", lambda a: a - 1, "MATLAB counts from 1"),
        ("subjectim", lambda a: a[:, ::-1], "differ from sharedix"),
        ("stimpattern", lambda a: 0 * a, "session 1 has 0 trials, expected 750"),
        ("masterordering", lambda a: a[:, :29999], r"expected \(1, 30000\), found \(1, 29999\)"),
    ],
)
def test_a_design_that_cannot_be_the_owners_is_refused(copy, name, change, said):
    from scipy.io import savemat

    mat = fake.design()
    savemat(copy / DESIGN, {**mat, name: change(mat[name].astype(float))})
    with pytest.raises(NeurovisError, match=said):
        dataset(sessions=1).stimuli(copy)


def test_information_that_counts_from_one_is_refused(copy):
    info = copy / "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
    with info.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    with info.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(row | {"nsdId": int(row["nsdId"]) + 1} for row in rows)
    with pytest.raises(NeurovisError, match="nsdId counts from 0"):
        dataset(sessions=1).stimuli(copy)


def test_a_folder_without_betas(tmp_path):
    with pytest.raises(NeurovisError, match=r"no folder subj01 to subj08.*neurovis fetch nsd"):
        dataset().recordings(tmp_path)
    with pytest.raises(UsageError, match="no time course"):
        dataset(fmri={"window": [0, 8]})
