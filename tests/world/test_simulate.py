"""The raw dataset: valid BIDS that reads back, exact triggers, determinism, and resuming."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neurovis.errors import NeurovisError, UsageError
from neurovis.records import Stimuli
from neurovis.store import DiskFull, read_h5, read_json
from neurovis.world.sensors import Meg
from neurovis.world.simulate import Design, pictures, schedule, simulate

SMALL = {
    "n_subjects": 1, "n_sessions": 2, "n_runs": 1, "n_train_concepts": 4, "n_exemplars": 2,
    "train_repeats": 1, "n_test": 3, "test_repeats": 4, "sfreq": 200.0, "size": 64, "seed": 3,
}  # fmt: skip
MEG = {"name": "meg", "n_chans": 30}
LAG = 5  # samples: 25 ms at 200 Hz


@pytest.fixture(scope="module")
def meg(tmp_path_factory) -> Path:
    return simulate(tmp_path_factory.mktemp("meg") / "bids", MEG, quiet=True, **SMALL)


@pytest.fixture(scope="module")
def eeg(tmp_path_factory) -> Path:
    return simulate(tmp_path_factory.mktemp("eeg") / "bids", "eeg", quiet=True, **SMALL)


def recordings(root: Path) -> list:
    import mne_bids

    kind = "meg" if list(root.rglob("*_meg.fif")) else "eeg"
    extension = ".fif" if kind == "meg" else ".vhdr"
    return mne_bids.find_matching_paths(root, suffixes=kind, extensions=extension)


def read(path):
    import mne_bids

    return mne_bids.read_raw_bids(path, verbose="error").load_data(verbose="error")


def table(path) -> pd.DataFrame:
    return pd.read_csv(path.copy().update(suffix="events", extension=".tsv").fpath, sep="\t")


@pytest.mark.parametrize("kind", ["meg", "eeg"])
def test_every_run_reads_back_as_bids(kind, request):
    import mne_bids

    root = request.getfixturevalue(kind)
    assert not (root / ".simulating").exists()
    assert mne_bids.get_entity_vals(root, "subject") == ["01"]
    assert mne_bids.get_entity_vals(root, "session") == ["01", "02"]
    assert read_json(root / "dataset_description.json")["DatasetType"] == "raw"
    paths = recordings(root)
    assert len(paths) == 2
    truth = read_h5(root / "sourcedata/truth/sub-01.h5", "neurovis-truth", ("channel_name", "bad"))
    for path in paths:
        raw = read(path)
        events = table(path)
        data = raw.get_data(kind)
        assert data.shape[0] == len(truth["channel_name"])
        assert raw.info["bads"] == [truth["bad"][2]]
        assert (raw.get_data([truth["bad"][0]]) == 0).all()
        assert raw.info["line_freq"] == 50
        typical = np.median(data.std(1))
        assert (1e-13 if kind == "meg" else 5e-6) < typical < (5e-12 if kind == "meg" else 1e-4)
        assert len(raw.annotations) == len(events)
        np.testing.assert_allclose(raw.annotations.onset, events["onset"], atol=1e-3)
        scans = pd.read_csv(next(path.directory.parent.glob("*_scans.tsv")), sep="\t")
        assert (path.directory.parent / scans["filename"][0]).is_file()


@pytest.mark.parametrize("kind", ["meg", "eeg"])
def test_marks_lag_the_events_to_the_sample(kind, request):
    root = request.getfixturevalue(kind)
    for path in recordings(root):
        raw, events = read(path), table(path)
        trigger = np.rint(raw.get_data("stim")[0]).astype(int)
        start = np.flatnonzero((trigger[1:] != 0) & (trigger[:-1] == 0)) + 1
        np.testing.assert_array_equal(start, events["sample"] + LAG)
        np.testing.assert_array_equal(trigger[start], events["value"])
        np.testing.assert_allclose(events["onset"], events["sample"] / 200)
        sidecar = read_json(path.copy().update(extension=".json").fpath)
        assert sidecar["TriggerLag"] == LAG / 200


def test_events_name_pictures_of_the_design(meg):
    stimuli = Stimuli.read(meg / "stimuli" / "stimuli.csv")
    events = pd.concat([table(path) for path in recordings(meg)])
    assert len(events) == 4 * 2 * 1 + 3 * 4
    rows = stimuli.index(events["image"])
    np.testing.assert_array_equal(events["value"], rows + 1)
    np.testing.assert_array_equal(events["trial_type"], stimuli.set[rows])
    for name in events["stim_file"]:
        assert (meg / "stimuli" / name).is_file()
    counts = events.groupby("image").size()
    assert (counts[stimuli.image[stimuli.set == "test"]] == 4).all()
    assert (counts[stimuli.image[stimuli.set == "train"]] == 1).all()
    for _, group in events.groupby("image"):
        assert group["repeat"].tolist() == list(range(len(group)))
    assert not set(stimuli.concept[stimuli.set == "train"]) & set(
        stimuli.concept[stimuli.set == "test"]
    )


def test_every_concept_shown_has_its_place_in_the_hierarchy(meg):
    stimuli = Stimuli.read(meg / "stimuli" / "stimuli.csv")
    found = read_json(meg / "stimuli" / "hierarchy.json")
    assert found.keys() == set(stimuli.concept)
    for concept, path in zip(stimuli.concept, stimuli.path):
        superclass, family = found[concept]
        assert family.replace(" ", "_") == Path(path[0]).parent.name
        assert superclass


def test_repeats_are_spread_over_runs():
    n = 60
    sets = np.repeat(["train", "test"], [40, 20])
    names = [f"i{i}" for i in range(n)]
    blank = np.zeros(n, int)
    stimuli = Stimuli(names, names, [""] * n, blank, blank, names, sets)
    plan = Design(n_sessions=2, n_runs=3, n_exemplars=1, n_train_concepts=40, n_test=20)
    runs = schedule(plan, stimuli, 1)
    assert len(runs) == 6
    sizes = [len(run["row"]) for run in runs]
    assert max(sizes) - min(sizes) <= 1
    for run in runs:
        assert 2 <= (run["trial_type"] == "train").sum() <= 30
        gaps = np.diff(run["sample"]) / plan.sfreq
        assert gaps.min() > plan.soa - plan.soa_jitter - 0.01
        assert gaps.max() < plan.soa + plan.soa_jitter + 0.01
    again = schedule(plan, stimuli, 1)
    other = schedule(plan, stimuli, 2)
    np.testing.assert_array_equal(runs[0]["row"], again[0]["row"])
    assert not np.array_equal(runs[0]["row"], other[0]["row"])


def test_same_seed_same_data_whatever_the_jobs(meg, tmp_path):
    again = simulate(tmp_path / "again", MEG, n_jobs=2, quiet=True, **SMALL)
    other = simulate(tmp_path / "other", MEG, quiet=True, **{**SMALL, "seed": 4})
    for one, two, three in zip(*map(recordings, (meg, again, other)), strict=True):
        np.testing.assert_array_equal(read(one).get_data(), read(two).get_data())
        assert not np.array_equal(read(one).get_data()[:, :900], read(three).get_data()[:, :900])
        pd.testing.assert_frame_equal(table(one), table(two))


def test_a_killed_simulation_goes_on(meg, tmp_path):
    """kill -9 after the first run; the same command keeps that run and makes the rest alike."""
    root = tmp_path / "killed"
    program = f"from neurovis.world.simulate import simulate; simulate({str(root)!r}, {MEG!r}, quiet=True, **{SMALL!r})"
    process = subprocess.Popen([sys.executable, "-c", program])
    for _ in range(3000):
        if list(root.glob("sub-*/ses-*/meg/*_events.tsv")) or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = [path.fpath for path in recordings(root) if table(path).size]
    assert first
    stamp = first[0].stat().st_mtime_ns
    if not (root / "dataset_description.json").exists():
        assert (root / ".simulating" / "design.json").is_file()
    assert simulate(root, MEG, quiet=True, **SMALL) == root
    assert first[0].stat().st_mtime_ns == stamp
    assert not (root / ".simulating").exists()
    for one, two in zip(recordings(meg), recordings(root), strict=True):
        np.testing.assert_array_equal(read(one).get_data(), read(two).get_data())


def test_a_complete_one_is_not_made_again(meg):
    stamps = {f: f.stat().st_mtime_ns for f in meg.rglob("*") if f.is_file()}
    simulate(meg, MEG, quiet=True, **SMALL)
    assert stamps == {f: f.stat().st_mtime_ns for f in meg.rglob("*") if f.is_file()}


def test_another_design_or_foreign_files_are_refused(meg, tmp_path):
    with pytest.raises(NeurovisError, match=r"another design .*'seed': 3"):
        simulate(meg, MEG, quiet=True, **{**SMALL, "seed": 9})
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NeurovisError, match="found other files"):
        simulate(tmp_path, MEG, quiet=True, **SMALL)
    assert [f.name for f in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"modality": "mge"}, "did you mean 'meg'"),
        ({"n_tests": 3}, "did you mean 'n_test'"),
        ({"n_subjects": 0}, "n_subjects"),
        ({"soa": 0.11, "trigger_lag": 0.1}, "more slowly"),
        ({"n_train_concepts": 100_000}, "n_train_concepts: expected at most"),
        ({"n_runs": 50}, "fewer runs"),
    ],
)
def test_wrong_options_are_named_before_anything_is_written(options, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        simulate(tmp_path / "x", quiet=True, **{**SMALL, **options})
    assert not (tmp_path / "x").exists()


def test_a_full_disk_is_said_and_loses_nothing(tmp_path, monkeypatch):
    import mne_bids

    write = mne_bids.write_raw_bids
    calls = []

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*args, **kwargs)

    monkeypatch.setattr(mne_bids, "write_raw_bids", full)
    with pytest.raises(DiskFull, match=r"the disk .* full"):
        simulate(tmp_path / "x", MEG, quiet=True, **SMALL)
    assert not (tmp_path / "x" / "dataset_description.json").exists()
    assert len(recordings(tmp_path / "x")) == 1
    simulate(tmp_path / "x", MEG, quiet=True, **SMALL)
    assert len(calls) == 3
    assert len(recordings(tmp_path / "x")) == 2


def test_pictures_hold_out_test_concepts():
    plan = Design(modality=Meg(n_chans=30), **SMALL)
    shown = pictures(plan)
    train = {c for c, _, kind in shown if kind == "train"}
    test = {c for c, _, kind in shown if kind == "test"}
    assert (len(train), len(test), len(shown)) == (4, 3, 11)
    assert not train & test
