"""BOLD in BIDS: which trial shows what, masks, derivatives, left-out runs, and what does not fit."""

import json
import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
from fakes.bids_fmri import (
    AFFINE,
    DEAD,
    IMAGES,
    LOST,
    RUNS,
    TEST,
    TR,
    TRAIN,
    brain,
    events,
    events_file,
    haemodynamic,
    patterns,
    regions,
    run_file,
    save,
    write_bids_fmri,
)

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials
from neurovis.signals.fmri.glm import merge_blocks
from neurovis.signals.fmri.subject import read_voxels
from neurovis.store import read_json

load_datasets()
WHERE = {"trial_type": ["train", "test"]}
OPTIONS = {"name": "bids", "set_column": "trial_type", "where": WHERE}


def made(root, out, subject=None, **options):
    fmri = {"confounds": ["trans_*", "rot_*"], **options.pop("fmri", {})}
    dataset = resolve(Dataset, {**OPTIONS, **options, "fmri": fmri})
    return prepare(dataset, root, out, subject, quiet=True)


def opened(folder, subject="01"):
    return Trials.open(folder / f"sub-{subject}" / "trials.h5")


def named(signal, index, subject="01"):
    """For each trial the image whose planted pattern its response resembles most."""
    pattern = patterns(subject)[:, *index.T]
    return np.array(IMAGES)[np.corrcoef(pattern, signal)[: len(pattern), len(pattern) :].argmax(0)]


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    """Drawing takes longer than all else; tests of its own look at the page."""
    monkeypatch.setattr("neurovis.report.qc_fmri.write_fmri_page", lambda *_: None)


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    return write_bids_fmri(tmp_path_factory.mktemp("bids"), ("01", "02"))


@pytest.fixture
def copy(bids, tmp_path):
    root = shutil.copytree(bids, tmp_path / "bids")
    for path in [root / "sub-02", *root.glob("derivatives/*/sub-02")]:
        shutil.rmtree(path)
    return root


def test_every_trial_shows_its_image(bids, tmp_path):
    folder = made(bids, tmp_path)
    for subject in ("01", "02"):
        trials = opened(folder, subject)
        tables = [events(run).query("trial_type != 'blank'") for run in range(1, RUNS + 1)]
        table = pd.concat(tables)
        assert trials.image.tolist() == table["stim_file"].tolist()
        np.testing.assert_allclose(trials.onset, table["onset"], atol=1e-9)
        assert trials.set.tolist() == table["trial_type"].tolist()
        assert trials.run.tolist() == [
            f"{r:02d}" for r, t in enumerate(tables, 1) for _ in range(len(t))
        ]
        assert (trials.modality, trials.unit, trials.sfreq) == ("fmri", "1", 1 / TR)
        voxels, stated = read_voxels(folder / f"sub-{subject}" / "trials.h5")
        signal = trials.read()[..., 0]
        assert named(signal, voxels.index, subject).tolist() == [
            name.removeprefix("stimuli/") for name in table["stim_file"]
        ]
        assert voxels.name[0].startswith(f"sub-{subject}/v0")
        expected = brain()
        expected[DEAD] = expected[LOST] = False
        np.testing.assert_array_equal(voxels.index, np.argwhere(expected))
        np.testing.assert_allclose(
            voxels.position, nibabel.affines.apply_affine(AFFINE, voxels.index) / 1000, atol=1e-6
        )
        for name, mask in regions().items():
            np.testing.assert_array_equal(voxels.roi[name], mask[tuple(voxels.index.T)])
        assert np.median(stated["noise_ceiling"]) > 0.5
        trials.close()
    stimuli = Stimuli.read(folder / "stimuli.csv")
    assert len(stimuli) == TRAIN + TEST
    assert all(stimuli.files(i)[0].is_file() for i in range(len(stimuli)))
    split = Split.read(folder / "split.json")
    assert len(split.test) == TEST
    qc = read_json(folder / "sub-01" / "qc.json")
    assert qc["dropped"] == ["2 voxels: missing in some trial"]
    assert qc["runs"][1]["notes"] == [
        "TR 2 s by task-see_bold.json, 1 s by the header: the former is used"
    ]


def test_amplitudes_are_percent_of_the_mean_signal(bids, tmp_path):
    folder = made(bids, tmp_path, subject=["01"], fmri={"standardise": "none"})
    trials, (voxels, _) = opened(folder), read_voxels(folder / "sub-01" / "trials.h5")
    assert trials.unit == "%"
    expected = patterns("01")[[IMAGES.index(i.removeprefix("stimuli/")) for i in trials.image]]
    expected, found = expected[:, *voxels.index.T].ravel(), trials.read().ravel()
    assert np.corrcoef(expected, found)[0, 1] > 0.9
    # peak 1 % became the weight of a regressor of one second: nilearn's response has integral 1
    times = np.arange(0, 32, 0.1)
    integral = haemodynamic(times).sum() * 0.1
    assert np.polyfit(expected, found, 1)[0] == pytest.approx(integral, rel=0.1)


def test_wrong_onsets_or_a_wrong_tr_would_show(bids, copy, tmp_path):
    def quality(root, out, **options):
        folder = made(root, out, **options)
        trials, (voxels, _) = opened(folder), read_voxels(folder / "sub-01" / "trials.h5")
        right = [name.removeprefix("stimuli/") for name in trials.image]
        return (named(trials.read()[..., 0], voxels.index) == right).mean()

    assert quality(copy, tmp_path / "a") == 1
    assert quality(copy, tmp_path / "b", tr=1.9) < 0.5
    for run in range(1, RUNS + 1):
        table = pd.read_csv(events_file(copy, run), sep="\t", keep_default_na=False)
        table["onset"] += 8.0
        table.to_csv(events_file(copy, run), sep="\t", index=False)
    assert quality(copy, tmp_path / "c") < 0.5


def test_derivatives_replace_the_raw_volumes(bids, copy, tmp_path):
    folder = made(bids, tmp_path)
    with pytest.raises(UsageError, match=r"spaces \(none: the run's own\), MNI.*set space"):
        made(copy, tmp_path, derivatives="derivatives/fmriprep", rois=None)
    # the raw volumes need not be there; events and the region masks stay where they were
    for path in copy.glob("sub-*/**/*_bold.nii.gz"):
        path.unlink()
    given = {"derivatives": "derivatives/fmriprep", "space": ""}
    clean = made(copy, tmp_path, **given)
    raw, found = opened(folder), opened(clean)
    assert found.image.tolist() == raw.image.tolist()
    np.testing.assert_allclose(found.read(), raw.read(), atol=0.05)
    assert not read_json(clean / "sub-01" / "qc.json")["runs"][1]["notes"]
    given["space"] = "MNI152NLin2009cAsym"
    with pytest.raises(NeurovisError, match=r"label-brain_mask.nii.gz: its corners lie up to 2 mm"):
        made(copy, tmp_path, **given)
    shared = made(copy, tmp_path, **given, rois=None)
    trials = opened(shared)
    assert trials.channel_name[0].startswith("v0")
    assert len(trials.channel_name) == brain().sum() - 2
    with pytest.raises(UsageError, match="no run in space 'T1w'"):
        made(copy, tmp_path, **{**given, "space": "T1w"})
    with pytest.raises(UsageError, match="no such folder"):
        made(copy, tmp_path, derivatives="derivatives/fmripre")
    with pytest.raises(UsageError, match="no \\*_desc-preproc_bold"):
        made(copy, tmp_path, derivatives="derivatives/rois")


def test_masks_by_name_by_derivatives_and_by_intensity(copy, tmp_path):
    by_name = made(
        copy, tmp_path, mask="derivatives/rois/sub-{subject}/*_label-V1_mask.nii.gz", rois=None
    )
    lost = sum(regions()["V1"][place] for place in (DEAD, LOST))
    assert len(opened(by_name).channel_name) == regions()["V1"].sum() - lost
    by_region = made(copy, tmp_path, fmri={"roi": ["V1"]})
    np.testing.assert_array_equal(opened(by_name).read(), opened(by_region).read())
    by_threshold = made(copy, tmp_path, rois=None)
    found = read_voxels(by_threshold / "sub-01" / "trials.h5")[0]
    inside = brain()[tuple(found.index.T)]
    assert inside.all()
    assert len(found) > 0.85 * brain().sum()
    with pytest.raises(NeurovisError, match="did you mean 'faces'"):
        made(copy, tmp_path, fmri={"roi": ["face"]})
    with pytest.raises(NeurovisError, match=r"mask: none/sub-01.nii matches 0 files"):
        made(copy, tmp_path, mask="none/sub-{subject}.nii")


def test_confounds_help_and_must_be_there(bids, copy, tmp_path):
    def spread(folder):
        trials = opened(folder)
        signal = trials.read()[..., 0]
        same = [signal[trials.image == i].std(axis=0).mean() for i in set(trials.image)]
        return np.mean(same) / signal.std(axis=0).mean()

    assert spread(made(bids, tmp_path)) < 0.7 * spread(made(bids, tmp_path, fmri={"confounds": []}))
    with pytest.raises(NeurovisError, match="did you mean 'trans_x'"):
        made(copy, tmp_path, fmri={"confounds": ["trans_z"]})
    path = next(copy.glob("derivatives/fmriprep/**/*run-02_desc-confounds*"))
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(NeurovisError, match=r"run-02_desc-confounds.*109 rows, expected 110"):
        made(copy, tmp_path)
    path.unlink()
    with pytest.raises(NeurovisError, match=r"run-02_bold.nii.gz: 0 tables .*confounds"):
        made(copy, tmp_path)


def test_runs_left_out_in_turn_by_category(bids, copy, tmp_path):
    for run in range(1, RUNS + 1):
        table = events(run)
        kinds = [
            n if n == "n/a" else "even" if int(n[-6:-4]) % 2 else "odd" for n in table["stim_file"]
        ]
        table.assign(trial_type=kinds).drop(columns="stim_file").to_csv(
            events_file(copy, run), sep="\t", index=False
        )
    options = {
        "image_column": "trial_type", "set_column": None, "leave_out": "run",
        "where": {"trial_type": ["even", "odd"]},
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"leave_out: .*standardise=none"):
        made(copy, tmp_path, **options)
    folder = made(copy, tmp_path, **options, fmri={"standardise": "none", "value": "t"})
    stimuli = Stimuli.read(folder / "stimuli.csv")
    assert stimuli.image.tolist() == stimuli.concept.tolist() == ["even", "odd"]
    assert stimuli.path == [(), ()]
    folds = Split.read_folds(folder)
    names = [f"ses-01_run-{r:02d}" for r in range(1, RUNS + 1)]
    assert [fold.test for fold in folds] == [(name,) for name in names]
    assert all(fold.unit == "recording" for fold in folds)
    trials = opened(folder)
    assert trials.unit == "1"
    assert set(trials.image) == {"even", "odd"}
    assert len(trials) == RUNS * (TRAIN + 2 * TEST)


def test_the_rest_goes_on_when_one_subject_fails(bids, tmp_path):
    root = shutil.copytree(bids, tmp_path / "bids")
    whole = run_file(root, 2, "02").read_bytes()
    run_file(root, 2, "02").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        NeurovisError, match=r"1 of 2 subjects failed .*sub-02: .*run-02_bold.nii.gz: c"
    ):
        made(root, tmp_path)
    run_file(root, 2, "02").write_bytes(whole)
    folder = made(root, tmp_path)
    assert sorted(p.name for p in folder.glob("sub-*")) == ["sub-01", "sub-02"]


def test_what_does_not_fit_is_named(copy, tmp_path):
    table = pd.read_csv(events_file(copy, 2), sep="\t", keep_default_na=False)

    def write(**columns):
        table.assign(**columns).to_csv(events_file(copy, 2), sep="\t", index=False)

    write(onset=table["onset"].where(table.index != 4, 900.0))
    with pytest.raises(NeurovisError, match=r"run-02_bold.nii.gz: event .* is at 900.000 s"):
        made(copy, tmp_path)
    write(onset=table["onset"].where(table.index != 4, table["onset"][7]))
    with pytest.raises(NeurovisError, match=r"run-02_bold.nii.gz: events .* both start at"):
        made(copy, tmp_path)
    write(trial_type="train")
    with pytest.raises(NeurovisError, match=r"line .* has no image"):
        made(copy, tmp_path)
    write(duration="long")
    with pytest.raises(NeurovisError, match="duration is 'long', expected a number"):
        made(copy, tmp_path)
    write()
    volumes = np.asarray(nibabel.load(run_file(copy, 3)).dataobj)
    save(run_file(copy, 3), volumes[:, :, :-1], tr=TR)
    with pytest.raises(
        NeurovisError, match=r"run-03_bold.nii.gz: shape 8 x 7 x 5, expected 8 x 7 x 6"
    ):
        made(copy, tmp_path)
    save(run_file(copy, 3), volumes, AFFINE + np.eye(4)[:, [3, 0, 1, 2]], tr=TR)
    with pytest.raises(NeurovisError, match=r"run-03_bold.nii.gz: its corners lie up to"):
        made(copy, tmp_path)
    save(run_file(copy, 3), volumes[..., :16], tr=TR)
    with pytest.raises(NeurovisError, match=r"run-03_bold.nii.gz: event .*16 volumes of 2 s: 32 s"):
        made(copy, tmp_path, fmri={"confounds": []})
    save(run_file(copy, 3), volumes, tr=TR)
    save(copy / "derivatives/rois/sub-01/sub-01_label-V1_mask.nii.gz", np.ones((4, 4, 4), bool))
    with pytest.raises(
        NeurovisError, match=r"label-V1_mask.nii.gz: shape 4 x 4 x 4, expected 8 x 7 x 6"
    ):
        made(copy, tmp_path)
    assert not list((tmp_path / "prepared").glob("[!.]*"))


def test_without_json_the_headers_tr_counts(copy, tmp_path):
    (copy / "task-see_bold.json").unlink()
    save(run_file(copy, 2), np.asarray(nibabel.load(run_file(copy, 2)).dataobj), tr=TR)
    found = opened(made(copy, tmp_path))
    assert found.sfreq == 1 / TR
    save(run_file(copy, 2), np.asarray(nibabel.load(run_file(copy, 2)).dataobj))
    image = nibabel.load(run_file(copy, 2))
    data = np.asarray(image.dataobj)
    image = nibabel.Nifti1Image(data, AFFINE)
    image.header.set_zooms((3, 3, 3, 0))
    nibabel.save(image, run_file(copy, 2))
    with pytest.raises(NeurovisError, match=r"run-02_bold.nii.gz: no TR in its header"):
        made(copy, tmp_path)
    (copy / "sub-01" / "ses-01" / "ses-01_bold.json").write_text(json.dumps({"RepetitionTime": TR}))
    assert len(opened(made(copy, tmp_path))) == len(found)


def test_both_kinds_of_recordings_need_a_choice(copy, tmp_path):
    folder = copy / "sub-01" / "ses-01" / "eeg"
    folder.mkdir()
    (folder / "sub-01_ses-01_task-see_run-01_eeg.edf").write_bytes(b"")
    with pytest.raises(UsageError, match=r"1 recordings of M/EEG and 3 of BOLD.*set datatype"):
        made(copy, tmp_path)
    assert len(opened(made(copy, tmp_path, datatype="func"))) == RUNS * (TRAIN + 2 * TEST)


SKELETONS = {
    # trials per run that their owners state, and how the events are read
    "ds000105": ({"image_column": "trial_type", "leave_out": "run"}, 2.0, {8}),
    "ds001246": (
        {"image_column": "stimulus_name", "task": "perception", "test_repeats": 35,
         "where": {"event_type": ["stimulus"]}}, None, {55},
    ),
    "ds001499": ({"image_column": "stim_file", "task": "5000scenes", "test_repeats": 2}, None, {37}),
    "ds004192": (
        {"image_column": "file_path", "test_repeats": 12, "where": {"trial_type": ["exp", "test"]}},
        None, {82},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SKELETONS)
def test_true_event_files_are_read(real_data, name, tmp_path):
    source = real_data / "bids_skeletons" / name
    if not source.is_dir():
        pytest.skip(f"no {name}")
    options, within, expected = SKELETONS[name]
    # one subject's files where there are hundreds: the datasets' own commands read all
    skip = shutil.ignore_patterns("sub-02", "sub-03")
    root = shutil.copytree(source, tmp_path / name, ignore=skip, copy_function=shutil.copyfile)
    paths = [
        p for p in sorted(root.glob("sub-*/**/func/*_events.tsv"))
        if f"task-{options.get('task', '')}" in p.name
    ]  # fmt: skip
    assert paths
    rng = np.random.default_rng(0)
    last = {}
    for path in paths:
        table = pd.read_csv(path, sep="\t")
        last[path] = float(table["onset"].iloc[-1]) + 30
        if path == paths[0]:
            continue
        path.with_name(path.name.replace("_events.tsv", "_bold.nii.gz")).write_bytes(b"")
    # one run has volumes: noise, as only the events are real
    n_volumes = int(last[paths[0]] / 2)
    noise = rng.normal(1000, 10, (3, 3, 2, n_volumes))
    save(
        paths[0].with_name(paths[0].name.replace("_events", "_bold").replace(".tsv", ".nii.gz")),
        noise,
    )
    dataset = resolve(Dataset, {"name": "bids", "tr": 2.0, **options})
    recordings = dataset.recordings(root)
    assert len(recordings) == len(paths)
    stimuli = dataset.stimuli(root)
    counts = set()
    for (_, path, table), recording in zip(dataset.tables(root), recordings, strict=True):
        assert path.name.split("_events")[0] == recording.file.name.split("_bold")[0]
        table = dataset.selected(table, path)
        shown = table["_image"].to_numpy(str)
        stimuli.index(shown)
        onset, duration = (table[c].astype(float).to_numpy() for c in ("onset", "duration"))
        counts.add(len(merge_blocks(onset, duration, shown, within)[0]))
    assert counts == expected
    fmri = {"merge": within, "value": "raw", "standardise": "none", "drift": "none"}
    mask = np.ones((3, 3, 2), bool)
    save(root / "mask.nii.gz", mask)
    dataset = resolve(
        Dataset, {"name": "bids", "tr": 2.0, "mask": "mask.nii.gz", **options, "fmri": fmri}
    )
    first = next(r for r in recordings if r.file.stat().st_size)
    found = dataset.responses(root, first, dataset.voxels(root, first.subject))
    assert found.signal.shape == (len(found.image), 18)
    assert len(found.image) in expected
