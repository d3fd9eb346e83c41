"""THINGS-fMRI: counts, order, image identity and timing against a miniature in the owners' formats."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from fakes import things_fmri as fake
from PIL import Image

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import main, prepare
from neurovis.records import Split, Stimuli, Trials

N = int(np.prod(fake.SHAPE))
WRONG = ("coat_rack_13s", "mosquito_net_13s", "ferris_wheel_20s", "sim_card_13s", "hula_hoop_16s")


def dataset(**options):
    load_datasets()
    return resolve(Dataset, {"name": "things_fmri", **options})


def shown(subject, session, run=None, catch=False):
    """Rows of a session's (or run's) trials."""
    rows = fake.events(subject)
    runs = range(1, 11) if run is None else [run]
    kinds = ("exp", "test", "catch") if catch else ("exp", "test")
    return [row for r in runs for row in rows[session, r] if row["trial_type"] in kinds]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The owners' responses of subjects 1 and 2; voxel 7 has no data."""
    root = tmp_path_factory.mktemp("tables")
    fake.write_betas(root, (1, 2), missing=(7,))
    return root


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    """Two runs of one session as BIDS and by fMRIPrep."""
    root = tmp_path_factory.mktemp("bids")
    fake.write_bids(root)
    return root


@pytest.fixture
def copy(tables, tmp_path):
    shutil.copytree(tables, tmp_path / "things")
    return tmp_path / "things"


def test_every_response_of_the_tables_is_where_the_owners_put_it(tables):
    ds = dataset()
    recordings = ds.recordings(tables)
    assert [(r.subject, r.session) for r in recordings] == [
        (who, f"{s:02d}") for who in ("01", "02") for s in range(1, 13)
    ]
    voxels = ds.voxels(tables, "02")
    chosen = voxels.take(voxels.select(("V1", "LO1 (prf)")))
    for recording in (recordings[12], recordings[23]):
        found = ds.responses(tables, recording, chosen)
        rows = shown(2, int(recording.session))
        assert found.image.tolist() == [fake.stem_of(row) for row in rows]
        assert found.run.tolist() == [f"{run:02d}" for run in range(1, 11) for _ in range(82)]
        columns = [voxels.name.tolist().index(name) for name in chosen.name]
        truth = np.array([fake.response(image, N, 2) for image in found.image])[:, columns]
        np.testing.assert_allclose(found.signal[0:820], truth, atol=1e-6)
        np.testing.assert_allclose(found.signal[100:164], truth[100:164], atol=1e-6)
        assert np.isnan(found.onset).all()
        assert "onsets" in found.notes[0]


def test_from_tables_to_trials(tables, tmp_path):
    folder = prepare(dataset(), tables, tmp_path, subject=["1"], quiet=True)
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    rows = [row for session in range(1, 13) for row in shown(1, session)]
    assert trials.image.tolist() == [fake.stem_of(row) for row in rows]
    sets = {"exp": "train", "test": "test"}
    assert trials.set.tolist() == [sets[row["trial_type"]] for row in rows]
    assert trials.session[::820].tolist() == [f"{s:02d}" for s in range(1, 13)]
    counts = np.unique(trials.image[trials.set == "test"], return_counts=True)[1]
    assert counts.tolist() == [12] * 100
    counts = np.unique(trials.image[trials.set == "train"], return_counts=True)[1]
    assert counts.tolist() == [1] * 8640
    # the voxel without data is gone
    voxels = dataset().voxels(tables, "01")
    names = [name.removeprefix("sub-01/") for name in trials.channel_name]
    assert names == np.delete(voxels.name, 7).tolist()
    split = Split.read(folder / "split.json")
    training = np.isin(np.arange(len(trials)), split.rows("train", trials))
    run = (trials.session == "03") & (trials.run == "04")
    truth = np.array([fake.response(image, N, 1) for image in trials.image])
    truth = np.delete(truth, 7, axis=1)
    mean, spread = truth[run & training].mean(axis=0), truth[run & training].std(axis=0)
    np.testing.assert_allclose(trials.read(run)[..., 0], (truth[run] - mean) / spread, atol=1e-4)
    trials.close()
    # names of columns are a pickle that would have left a file behind
    assert not list(tables.rglob("*.executed"))


def test_splits_say_what_becomes_of_the_test_concepts(tables):
    native, zero = dataset(), dataset(split="zero-shot")
    stimuli = native.stimuli(tables)
    assert (stimuli.set == "train").sum() == 8640
    assert (stimuli.set == "test").sum() == 100
    tested = set(stimuli.concept[stimuli.set == "test"])
    assert tested <= set(stimuli.concept[stimuli.set == "train"])
    split = native.splits(stimuli, [])[0]
    assert split.protocol == "clean"
    assert len(split.train) + len(split.validation) == 8640
    stimuli = zero.stimuli(tables)
    assert (stimuli.set == "train").sum() == 7440
    assert not tested & set(stimuli.concept[stimuli.set == "train"])
    assert zero.splits(stimuli, [])[0].protocol == "clean, zero-shot"
    found = zero.responses(tables, zero.recordings(tables)[0], zero.voxels(tables, "01"))
    rows = [
        row
        for row in shown(1, 1)
        if row["trial_type"] == "test" or fake.stem_of(row).rsplit("_", 1)[0] not in tested
    ]
    assert found.image.tolist() == [fake.stem_of(row) for row in rows]
    truth = np.array([fake.response(image, N, 1) for image in found.image])
    np.testing.assert_allclose(found.signal[0:64][:, :7], truth[:64, :7], atol=1e-6)


def test_concepts_come_from_the_stem_and_pictures_are_found(bids, tmp_path):
    root = tmp_path / "things"
    fake.write_bids(root, runs=range(1, 11), derivatives=False)
    (root / "images" / "coat_rack").mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(root / "images" / "coat_rack" / "coat_rack_13s.jpg")
    stimuli = dataset(derivatives=None).stimuli(root)
    rows = stimuli.index(WRONG)
    assert stimuli.concept[rows].tolist() == [w.rsplit("_", 1)[0] for w in WRONG]
    assert [stimuli.width[rows[0]], stimuli.height[rows[0]]] == [30, 20]
    assert stimuli.sha256[rows[0]]
    assert not stimuli.path[rows[1]]
    assert not any(image.startswith("catch") for image in stimuli.image)


def test_bold_to_responses(bids):
    ds = dataset()
    recordings = ds.recordings(bids)
    assert [r.name for r in recordings] == ["ses-things01_run-01", "ses-things01_run-02"]
    voxels = ds.voxels(bids, "01")
    # fMRIPrep's mask leaves the first slice out
    assert voxels.name.tolist() == [f"v{i:07d}" for i in range(12, N)]
    for number, recording in enumerate(recordings, 1):
        found = ds.responses(bids, recording, voxels)
        rows = shown(1, 1, number)
        assert found.image.tolist() == [fake.stem_of(row) for row in rows]
        assert found.onset.tolist() == [float(row["onset"]) for row in rows]
        assert found.sfreq == pytest.approx(1 / 1.5)
        truth = np.array([fake.response(image, N, 1) for image in found.image])[:, 12:]
        r = [np.corrcoef(truth[:, v], found.signal[:, v])[0, 1] for v in range(len(voxels))]
        assert min(r) > 0.93
        # other trials' responses are no explanation
        wrong = np.roll(truth, 1, axis=0)
        w = [np.corrcoef(wrong[:, v], found.signal[:, v])[0, 1] for v in range(len(voxels))]
        assert np.median(w) < 0.4


def test_catch_trials_are_in_the_model(bids):
    ds = dataset()
    found = ds.responses(bids, ds.recordings(bids)[0], ds.voxels(bids, "01"))
    matrix, names = found.design
    assert sum(name.startswith("trial") for name in names) == 92
    assert len(found.image) == 82
    assert matrix.shape[0] == fake.VOLUMES


def test_confounds_and_regions(bids, tmp_path):
    import nibabel

    root = tmp_path / "bids"
    shutil.copytree(bids, root)
    values = np.zeros(fake.SHAPE, np.int16)
    values[2] = 1
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = -10.0, -20.0, 5.0
    nibabel.save(nibabel.Nifti1Image(values, matrix), root / "sub-01_V1.nii")
    ds = dataset(
        rois={"V1": "sub-{subject}_V1.nii"},
        fmri={"roi": ["V1"], "confounds": ["trans_*", "framewise_displacement"]},
    )
    voxels = ds.voxels(root, "01")
    voxels = voxels.take(voxels.select(ds.fmri.roi))
    assert len(voxels) == 12
    found = ds.responses(root, ds.recordings(root)[0], voxels)
    assert {"trans_x", "framewise_displacement"} & set(found.design[1])
    raw = dataset(derivatives=None)
    recording = raw.recordings(root)[0]
    assert recording.file.name == "sub-01_ses-things01_task-things_run-01_bold.nii.gz"
    notes = raw.responses(root, recording, raw.voxels(root, "01")).notes
    assert "no motion correction" in notes[0]


def test_the_run_without_bold_is_tolerated_and_told(tmp_path):
    fake.write_bids(tmp_path, (2,), (3,), (6, 7, 8))
    ds = dataset()
    recordings = ds.recordings(tmp_path)
    assert [r.run for r in recordings] == ["06", "08"]
    assert not any(r.problem for r in recordings)
    found = ds.responses(tmp_path, recordings[0], ds.voxels(tmp_path, "02"))
    assert found.notes == (
        "sub-02_ses-things03_task-things_run-07 has events but the owners publish no BOLD of it: left out",
    )
    # pictures of the run are known all the same, so that the split is the owners'
    assert {fake.stem_of(row) for row in shown(2, 3, 7)} <= set(ds.stimuli(tmp_path).image)


def test_another_missing_run_stops_its_subject_alone(tmp_path, capsys):
    root = tmp_path / "bids"
    fake.write_bids(root, (1, 2), (1,), (1, 2))
    for path in root.rglob("sub-01*run-2_space-T1w_desc-preproc_bold.nii.gz"):
        path.unlink()
    words = ["--root", str(root), "--out", str(tmp_path), "--quiet", "--standardise", "subject"]
    assert main("things_fmri", words) == 1
    said = capsys.readouterr().err
    assert "1 of 2 subjects failed (the others are kept): sub-01" in said
    assert "there are events but neither BOLD nor an image in derivatives/fmriprep" in said
    assert f"neurovis fetch things-fmri --root {root} --subject 01" in said
    assert [p.parent.name for p in (tmp_path / "prepared").rglob("trials.h5")] == ["sub-02"]


def test_onsets_of_tables_come_from_the_events_where_these_are_there(copy):
    fake.write_bids(copy, (1,), (1,), tuple(range(1, 11)), derivatives=False)
    # BIDS calls the session things01, the tables 1
    ds = dataset()
    found = ds.responses(copy, ds.recordings(copy)[0], ds.voxels(copy, "01"))
    assert found.onset.tolist() == [float(row["onset"]) for row in shown(1, 1)]
    assert found.notes == ()
    one, two = (
        copy / f"sub-01/ses-things01/func/sub-01_ses-things01_task-things_run-{run:02d}_events.tsv"
        for run in (1, 2)
    )
    one.write_text(two.read_text())
    with pytest.raises(NeurovisError, match="other pictures than the owners' table of sub-01"):
        ds.responses(copy, ds.recordings(copy)[0], ds.voxels(copy, "01"))


def test_a_brain_mask_says_where_voxels_are(copy):
    before = dataset().voxels(copy, "01")
    assert np.isnan(before.position).all()
    (copy / "brainmasks").mkdir()
    mask = copy / "brainmasks/sub-01_space-T1w_brainmask.nii.gz"
    fake._save(np.ones((9, 9, 9), np.uint8), mask)
    voxels = dataset().voxels(copy, "01")
    assert voxels.shape == (9, 9, 9)
    np.testing.assert_allclose(
        voxels.position, (2 * voxels.index + [-10.0, -20.0, 5.0]) / 1000, atol=1e-6
    )
    fake._save(np.ones((3, 9, 9), np.uint8), mask)
    with pytest.raises(NeurovisError, match=r"expected within the volume 3 x 9 x 9"):
        dataset().voxels(copy, "01")


def first_two(ds, root):
    return ds.responses(root, ds.recordings(root)[0], ds.voxels(root, "01")).signal[0:2]


def half(root):
    path = root / "betas_csv/sub-01_ResponseData.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swapped(root):
    with h5py.File(root / "betas_csv/sub-01_ResponseData.h5", "a") as file:
        values = file["ResponseData/block0_values"][:-1]
        del file["ResponseData/block0_values"]
        file["ResponseData/block0_values"] = values


def moved(root):
    with h5py.File(root / "betas_csv/sub-01_ResponseData.h5", "a") as file:
        file["ResponseData/block1_values"][:, 0] = np.arange(N)[::-1]


def renamed(root):
    path = root / "betas_csv/sub-01_VoxelMetadata.csv"
    path.write_text(path.read_text().replace("voxel_x", "x"))


def cut(root):
    path = root / "betas_csv/sub-01_VoxelMetadata.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:20]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (half, r"ResponseData\.h5: cannot be read \(.*truncated"),
        (swapped, r"expected 60 voxels x 9840 trials as its tables say, found \(59, 9840\)"),
        (moved, "voxel_id is not 0, 1, 2"),
        (renamed, "voxel_x: expected whole numbers, found no such column"),
        (cut, "expected 19 voxels x 9840 trials as its tables say"),
    ],
)
def test_damaged_tables_are_one_sentence(copy, damage, said):
    damage(copy)
    with pytest.raises(NeurovisError, match=said):
        first_two(dataset(), copy)


def test_a_missing_table_stops_its_subject_alone(copy, tmp_path, capsys):
    (copy / "betas_csv/sub-02_VoxelMetadata.csv").unlink()
    assert (
        main(
            "things_fmri", ["--root", str(copy), "--out", str(tmp_path), "--quiet", "--roi", "[V1]"]
        )
        == 1
    )
    said = capsys.readouterr().err
    assert "sub-02_VoxelMetadata.csv: no such file, expected the three tables of sub-02" in said
    assert [p.parent.name for p in (tmp_path / "prepared").rglob("trials.h5")] == ["sub-01"]


def edit(root: Path, change):
    path = root / "betas_csv/sub-01_StimulusMetadata.csv"
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    change(rows)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_picture_on_two_sides_and_an_odd_kind_are_refused(copy):
    edit(copy, lambda rows: rows[5].update(trial_type="val"))
    with pytest.raises(NeurovisError, match="line 7: trial_type 'val', expected one of exp"):
        dataset().stimuli(copy)
    first = next(i for i, row in enumerate(shown(1, 1)) if row["trial_type"] == "exp")
    edit(copy, lambda rows: rows[5].update(trial_type="train"))
    test = fake.TESTS[8] + ".jpg"
    edit(copy, lambda rows: rows[first].update(stimulus=test, trial_type="train"))
    with pytest.raises(
        NeurovisError, match=rf"picture '{fake.TESTS[8]}' is in training and in test"
    ):
        dataset().stimuli(copy)


def test_wrong_folders_and_options(tmp_path):
    with pytest.raises(NeurovisError, match=r"expected betas_csv/sub-01_ResponseData\.h5"):
        dataset().recordings(tmp_path)
    with pytest.raises(NeurovisError, match=r"no sub-01_ResponseData\.h5 in betas_csv"):
        dataset(source="betas").recordings(tmp_path)
    with pytest.raises(UsageError, match="no time course"):
        dataset(source="betas", fmri={"window": [0, 6]}).recordings(tmp_path)


def test_changed_events_are_prepared_again(bids, tmp_path):
    root = tmp_path / "bids"
    shutil.copytree(bids, root)
    ds = dataset(fmri={"standardise": "subject"})
    first = prepare(ds, root, tmp_path, quiet=True)
    trials = Trials.open(first / "sub-01" / "trials.h5")
    assert trials.onset[0] == float(shown(1, 1, 1)[0]["onset"])
    trials.close()
    path = next(root.glob("sub-01/*/func/*run-01_events.tsv"))
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    for row in rows:
        row["onset"] = str(float(row["onset"]) + 0.75)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    again = prepare(ds, root, tmp_path, quiet=True)
    trials = Trials.open(again / "sub-01" / "trials.h5")
    assert trials.onset[0] == float(shown(1, 1, 1)[0]["onset"]) + 0.75
    trials.close()


def test_recipes_and_manifest_agree():
    manifest = read_manifest("things-fmri")
    assert set(type(dataset()).recipes) == set(manifest.protocols)
    assert dataset(recipe="paper").fmri.standardise == "none"
    counts = manifest.facts["trials_per_run"]
    assert manifest.facts["n_trials"] == 3 * 12 * 10 * (counts["exp"] + counts["test"])


def test_the_owners_events(real_data):
    """All 360 event files of ds004192: true counts, true stems, the five wrong folders."""
    root = real_data / "bids_skeletons" / "ds004192"
    if not root.is_dir():
        pytest.skip("no THINGS-fMRI events")
    ds = dataset()
    stimuli: Stimuli = ds.stimuli(root)
    facts = read_manifest("things-fmri").facts
    assert (stimuli.set == "train").sum() == facts["train_images"]
    assert (stimuli.set == "test").sum() == facts["test_images"]
    assert len(set(stimuli.concept[stimuli.set == "train"])) == facts["concepts"]
    assert set(stimuli.concept[stimuli.set == "test"]) <= set(
        stimuli.concept[stimuli.set == "train"]
    )
    stems = [Path(path).name for path in facts["wrong_folder"]]
    assert sorted(stems) == sorted(WRONG)
    assert stimuli.concept[stimuli.index(WRONG)].tolist() == [w.rsplit("_", 1)[0] for w in WRONG]
    recordings = ds.recordings(root)
    # text alone: every run but the known one lacks its BOLD, and is told so
    assert len(recordings) == 359
    assert all("neither BOLD nor an image" in r.problem for r in recordings)
    zero = dataset(split="zero-shot").stimuli(root)
    assert (zero.set == "train").sum() == 7440
