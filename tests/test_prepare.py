import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from fakes.bids import TEST, TRAIN, events_of, write_bids
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.config import resolve
from neurovis.datasets import (
    Dataset,
    load_datasets,
    split_images,
    split_recordings,
)
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import main, prepare
from neurovis.records import Split, Stimuli, Trials
from neurovis.signals.standardise import Scaling

load_datasets()
STEPS = {"sfreq": 125.0, "tmax": 0.4, "l_freq": 0.5, "h_freq": 40.0}
OPTIONS = {"name": "bids", "set_column": "trial_type", "concept_column": "concept", "steps": STEPS}


def dataset(**steps):
    return resolve(Dataset, {**OPTIONS, "steps": {**STEPS, **steps}})


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    return write_bids(tmp_path_factory.mktemp("bids"), subjects=("01", "02", "03"), n_runs=1)


def script(root, out, before):
    """The same preparation in a process of its own, with something happening on the way."""
    return [
        sys.executable,
        "-c",
        f"""
import os, signal, sys
from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.prepare import prepare
cls = load_datasets()["bids"]
plain = cls.read
def read(self, root, recording):
    if recording.subject == "02":
        {before}
    return plain(self, root, recording)
cls.read = read
prepare(resolve(Dataset, {OPTIONS!r}), {str(root)!r}, {str(out)!r}, quiet=True)
""",
    ]


def visible(out):
    return [p for p in (out / "prepared").iterdir() if not p.name.startswith(".")]


@pytest.mark.parametrize(
    "before", ["os.kill(os.getpid(), signal.SIGKILL)", "signal.raise_signal(signal.SIGINT)"]
)
def test_killed_midway_the_same_command_finishes_and_keeps_what_was_whole(bids, tmp_path, before):
    done = subprocess.run(script(bids, tmp_path, before), capture_output=True, check=False)
    assert done.returncode != 0
    assert visible(tmp_path) == []
    (kept,) = tmp_path.glob("prepared/.*.partial/sub-01/trials.h5")
    stamp = kept.stat().st_mtime_ns
    folder = prepare(dataset(), bids, tmp_path, quiet=True)
    assert (folder / "sub-01" / "trials.h5").stat().st_mtime_ns == stamp
    assert sorted(p.parent.name for p in folder.glob("sub-*/trials.h5")) == [
        "sub-01",
        "sub-02",
        "sub-03",
    ]
    assert [p for p in folder.rglob("*") if "partial" in p.name or p.name == "epochs.h5"] == []
    undisturbed = prepare(dataset(), bids, tmp_path / "again", quiet=True)
    for subject in ("sub-01", "sub-02", "sub-03"):
        mine, other = (Trials.open(f / subject / "trials.h5") for f in (folder, undisturbed))
        np.testing.assert_array_equal(mine.read(), other.read())


def test_a_full_disk_is_said_and_loses_nothing_complete(bids, tmp_path, monkeypatch):
    prepare(dataset(), bids, tmp_path, subject=["1"], quiet=True)
    before = visible(tmp_path)
    from neurovis.signals import subject

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(subject.TrialsWriter, "append", full)
        with pytest.raises(NeurovisError, match=r"the disk .*is full"):
            prepare(dataset(), bids, tmp_path, quiet=True)
    folder = prepare(dataset(), bids, tmp_path, quiet=True)
    assert [folder] == before
    assert len(list(folder.glob("sub-*/trials.h5"))) == 3


def test_complete_subjects_are_reused_and_others_added(bids, tmp_path):
    folder = prepare(dataset(), bids, tmp_path, subject=["01"], quiet=True)
    stamp = (folder / "sub-01" / "trials.h5").stat().st_mtime_ns
    assert prepare(dataset(), bids, tmp_path, subject=["sub-1"], quiet=True) == folder
    assert prepare(dataset(), bids, tmp_path, quiet=True) == folder
    assert (folder / "sub-01" / "trials.h5").stat().st_mtime_ns == stamp
    assert (folder / "sub-03" / "trials.h5").is_file()
    assert prepare(dataset(h_freq=30.0), bids, tmp_path, subject=["01"], quiet=True) != folder
    with pytest.raises(UsageError, match="did you mean '01'"):
        prepare(dataset(), bids, tmp_path, subject=["011"], quiet=True)


def test_one_failing_subject_leaves_the_rest_going(tmp_path):
    root = write_bids(tmp_path / "bids", subjects=("01", "02", "03"), n_runs=1)
    whole = events_of(root, subject="02").read_text()
    events_of(root, subject="02").write_text(
        whole.replace("\t0.2\t", "\t0.2\t", 1) + "999\t0\ttest\t1\t1\tstimuli/thing15.png\tkind15\n"
    )
    with pytest.raises(
        NeurovisError, match=r"1 of 3 subjects failed .*sub-02: .*event 24 is at 999"
    ):
        prepare(dataset(), root, tmp_path, quiet=True)
    kept = {p.parent.name for p in tmp_path.glob("prepared/.*/sub-*/qc.json")}
    assert kept == {"sub-01", "sub-03"}


def test_two_jobs_give_the_same_trials(bids, tmp_path):
    options = {"subject": ["01", "02"], "quiet": True}
    one = prepare(dataset(whiten="training"), bids, tmp_path / "one", **options)
    two = prepare(dataset(whiten="training"), bids, tmp_path / "two", n_jobs=2, **options)
    for subject in ("sub-01", "sub-02"):
        first, second = (Trials.open(f / subject / "trials.h5") for f in (one, two))
        np.testing.assert_array_equal(first.read(), second.read())


@pytest.mark.parametrize("scaling", ["robust", "session z"])
@pytest.mark.parametrize("whiten", ["none", "training"])
def test_scaling_and_whitening_never_see_test_trials(bids, tmp_path, monkeypatch, scaling, whiten):
    options = {"scaling": scaling, "whiten": whiten, "detect": False}
    plain = prepare(dataset(**options), bids, tmp_path / "a", subject=["01"], quiet=True)
    from neurovis.signals import subject

    real = subject.process_run

    def louder_test(steps, data, sfreq, onset, *rest):
        run = real(steps, data, sfreq, onset, *rest)
        stimuli = Stimuli.read(plain / "stimuli.csv")
        trials = Trials.open(plain / "sub-01" / "trials.h5")
        held = np.isin(trials.image, stimuli.image[stimuli.set == "test"])
        held |= np.isin(trials.image, Split.read(plain / "split.json").validation)
        run.signal[held] *= 50
        return run

    monkeypatch.setattr(subject, "process_run", louder_test)
    loud = prepare(dataset(**options), bids, tmp_path / "b", subject=["01"], quiet=True)
    first, second = (Scaling.read(f / "sub-01" / "trials.h5") for f in (plain, loud))
    np.testing.assert_array_equal(first.center, second.center)
    np.testing.assert_array_equal(first.scale, second.scale)
    if whiten == "training":
        np.testing.assert_array_equal(first.whitener, second.whitener)


def test_scaling_can_be_undone(bids, tmp_path):
    physical = Trials.open(
        prepare(dataset(scaling="none", clamp=None), bids, tmp_path, subject=["01"], quiet=True)
        / "sub-01" / "trials.h5"
    )  # fmt: skip
    assert physical.unit == "T"
    path = (
        prepare(dataset(whiten="training", clamp=None), bids, tmp_path, subject=["01"], quiet=True)
        / "sub-01" / "trials.h5"
    )  # fmt: skip
    trials = Trials.open(path)
    assert trials.unit == "1"
    scaling = Scaling.read(path)
    back = scaling.undo(trials.read(), scaling.member(trials))
    truth = physical.read()
    assert np.abs(back - truth).max() < 2e-3 * truth.std()
    rows = Split.read(path.parents[1] / "split.json").rows("train", trials)

    def spread(signal):
        residual = (signal - signal.mean(axis=0)).transpose(1, 0, 2)
        return np.linalg.cond(np.cov(residual.reshape(len(residual), -1)))

    assert spread(trials.read(rows)) < 0.2 * spread(1e12 * truth[rows])


def test_repeats_are_counted(bids, tmp_path):
    import h5py

    path = prepare(dataset(), bids, tmp_path, subject=["01"], quiet=True) / "sub-01" / "trials.h5"
    with h5py.File(path) as file:
        repeat, image = file["repeat"][()], file["image"].asstr()[()]
    assert len(repeat) == TRAIN + 3 * TEST
    assert repeat.max() == 2
    assert len({*zip(image, repeat)}) == len(repeat)


def stimuli_of(n_train, n_test, per_concept):
    n = n_train + n_test
    concept = [f"c{i // per_concept}" for i in range(n_train)] + [f"t{i}" for i in range(n_test)]
    sets = ["train"] * n_train + ["test"] * n_test
    zero = np.zeros(n, int)
    return Stimuli(
        np.arange(n).astype(str),
        [f"{i}.png" for i in range(n)],
        [""] * n,
        zero,
        zero,
        concept,
        sets,
    )


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.floats(0, 0.5), st.integers(0, 9)
)
def test_image_splits_partition_and_hold_concepts_out(n_train, n_test, per_concept, share, seed):
    stimuli = stimuli_of(n_train, n_test, per_concept)
    split = split_images(stimuli, share, seed)
    assert sorted([*split.train, *split.validation, *split.test]) == sorted(stimuli.image)
    assert split == split_images(stimuli, share, seed) or split.train
    again = split_images(stimuli, share, seed)
    assert (split.train, split.validation) == (again.train, again.validation)
    assert set(split.test) == set(stimuli.image[stimuli.set == "test"])
    concept = dict(zip(stimuli.image, stimuli.concept))
    n_concepts = len({concept[i] for i in (*split.train, *split.validation)})
    if n_concepts >= 10:
        assert not {concept[i] for i in split.train} & {concept[i] for i in split.validation}
    assert (len(split.validation) > 0) == (
        share > 0 and max(n_train if n_concepts < 10 else 2, 1) > 1
    )


def test_an_empty_side_is_refused():
    with pytest.raises(NeurovisError, match=r"Split.test.*found none"):
        split_images(stimuli_of(5, 0, 1), 0.1, 0)
    with pytest.raises(NeurovisError, match="found 1 recording"):
        split_recordings(["ses-1_run-01"])


@given(st.integers(2, 9), st.booleans())
def test_each_recording_is_tested_once(n, validate):
    names = [f"ses-1_run-{i}" for i in range(n)]
    folds = split_recordings(names, validate)
    assert [fold.test for fold in folds] == [(name,) for name in names]
    for fold in folds:
        assert sorted([*fold.train, *fold.validation, *fold.test]) == names
        assert len(fold.validation) == (validate and n > 2)


def test_the_command(bids, tmp_path, capsys):
    words = ["--root", str(bids), "--out", str(tmp_path), "--quiet", "--subject", "2"]
    options = [
        "--set-column",
        "trial_type",
        "concept_column=concept",
        "--sfreq",
        "125",
        "steps.h_freq=40",
    ]
    assert main("bids", [*words, *options]) == 0
    folder = capsys.readouterr().out.split("Prepared: ")[1].splitlines()[0]
    assert os.path.isfile(os.path.join(folder, "sub-02", "trials.h5"))
    assert main("bids", [*words, *options, "--print-config"]) == 0
    assert "sfreq: 125" in capsys.readouterr().out
    assert main("bids", [*words, "--l-frq", "1"]) == 2
    assert "did you mean '--l-freq'" in capsys.readouterr().err
    assert main("bids", ["--root", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert main("bids", ["--root", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "dataset_description.json" in capsys.readouterr().err


def test_steps_given_by_name_change_the_datasets_own_defaults():
    synthetic = resolve(Dataset, {"name": "synthetic", "steps": {"sfreq": 50.0, "h_freq": 20}})
    own = resolve(Dataset, "synthetic").steps
    assert synthetic.steps.sfreq == 50
    assert synthetic.steps.notch == own.notch == (50.0, 100.0)
    with pytest.raises(UsageError, match="did you mean 'l_freq'"):
        resolve(Dataset, {"name": "synthetic", "steps": {"l_frq": 1}})


def test_memory_stays_under_three_times_one_run(tmp_path):
    """In a fresh process, above what imports and constants take."""
    code = """
import sys, numpy as np
from pathlib import Path
from experiments.benchmarks.one_run import write_run, measure
measure(Path(sys.argv[1]))
"""
    from neurovis.prepare import __file__ as here

    repository = os.path.dirname(os.path.dirname(here))
    path = tmp_path / "run_raw.fif"
    sys.path.insert(0, repository)
    try:
        from experiments.benchmarks.one_run import write_run
    finally:
        sys.path.remove(repository)
    write_run(path, 128, 1200.0, 180.0)
    environment = {**os.environ, "PYTHONPATH": repository, "OMP_NUM_THREADS": "1"}
    made = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    ratio = float(made.stdout.split("above these ")[1].split()[0])
    speed = float(made.stdout.split("= ")[1].split()[0])
    assert ratio < 3
    assert speed > 20
