"""Bad input through the command line: one sentence, an exit code, and nothing complete is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from conftest import ROOT, write_prepared
from fakes.bids import edit_events, events_of, write_bids
from test_pipeline import DESIGN, EXPERIMENT

from neurovis.cli import main
from neurovis.records import Prediction, Trials
from neurovis.store import load_tensors

PREPROCESS = ["set_column=trial_type", "concept_column=concept", "steps.sfreq=125"]
PREPROCESS += ["steps.tmax=0.4", "steps.l_freq=0.5", "steps.h_freq=40"]


@pytest.fixture
def refused(capsys):
    """Run a command that must fail; give its exit code and its one sentence."""

    def call(*words):
        capsys.readouterr()
        code = main([*map(str, words), "--quiet"])
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert line.startswith(f"neurovis {words[0]}: ")
        assert "Traceback" not in line
        assert "Error:" not in line  # an error that nobody foresaw names its class
        assert line.rstrip().endswith((".", "again", ")"))
        return code, line

    return call


# ---- raw recordings


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def recording(root: Path) -> Path:
    return next(root.glob("sub-02/**/*run-01_meg.fif"))


def dead(root: Path) -> None:
    import mne

    raw = mne.io.read_raw_fif(recording(root), preload=True, verbose="error")
    raw._data[:8], raw._data[8:12] = 0, np.nan
    raw.save(recording(root), overwrite=True, verbose="error")


def other_rate(root: Path) -> None:
    """The second subject's only run at another rate is no error of its own, but its pair is."""
    other = write_bids(root.parent / "other", subjects=("02",), n_runs=2, sfreq=500.0)
    for path in other.glob("sub-02/ses-01/meg/*run-02*"):
        shutil.copy(path, recording(root).parent / path.name)


def beyond_the_end(root: Path) -> None:
    table = events_of(root, subject="02")
    table.write_text(
        table.read_text() + "999\t0\ttest\t1\t1\tstimuli/thing15.png\tkind15\n", encoding="utf-8"
    )


ONE_SUBJECT = {
    "truncated": (lambda root: half(recording(root)), r"run-01_meg.fif"),
    "no recording": (lambda root: recording(root).write_bytes(b"hello"), "cannot be read"),
    "flat and NaN": (dead, "12 of 16 are bad"),
    "rate between runs": (other_rate, "sampling rate 500 Hz, expected 250 Hz"),
    "shorter than its events": (beyond_the_end, "event 24 is at 999"),
}


@pytest.fixture(scope="module")
def two_subjects(tmp_path_factory) -> Path:
    return write_bids(tmp_path_factory.mktemp("bids"), subjects=("01", "02"), n_runs=1)


@pytest.mark.parametrize("how", ONE_SUBJECT)
def test_a_bad_subject_is_named_and_the_good_one_is_kept(two_subjects, tmp_path, refused, how):
    spoil, says = ONE_SUBJECT[how]
    root = shutil.copytree(two_subjects, tmp_path / "bids")
    spoil(root)
    words = ["preprocess", "bids", "--root", root, "--out", tmp_path, "--n-jobs", 1, *PREPROCESS]
    code, said = refused(*words)
    assert code == 1
    assert "1 of 2 subjects failed (the others are kept): sub-02: " in said
    assert says in said
    assert not [p for p in (tmp_path / "prepared").iterdir() if not p.name.startswith(".")]
    (kept,) = tmp_path.glob("prepared/.*/sub-01/trials.h5")
    assert len(Trials.open(kept)) > 0


def no_image(root: Path) -> None:
    edit_events(root, lambda t: t.assign(stim_file=t["stim_file"].where(t.index != 4, "n/a")))


def on_both_sides(root: Path) -> None:
    def change(table):
        sets = np.where(table["value"] == "3", "test", table["trial_type"])
        return table.assign(trial_type=sets)

    edit_events(root, change)


WHOLE = {
    "event without image": (no_image, [], "line 6 has no image"),
    "training and test": (on_both_sides, [], "thing02.png' is in"),
    "empty split": (lambda root: None, ["where={trial_type: [train]}"], "Split.test"),
    "no events": (lambda root: events_of(root).unlink(), [], "events.tsv: no such events table"),
}


@pytest.mark.parametrize("how", WHOLE)
def test_a_bad_dataset_is_refused_before_work_starts(two_subjects, tmp_path, refused, how):
    spoil, words, says = WHOLE[how]
    root = shutil.copytree(two_subjects, tmp_path / "bids")
    spoil(root)
    code, said = refused(
        "preprocess", "bids", "--root", root, "--out", tmp_path, *PREPROCESS, *words
    )
    assert code == 1
    assert says in said
    assert not list(tmp_path.glob("prepared/*/sub-*"))


def test_an_unknown_channel_is_answered_with_the_nearest(two_subjects, tmp_path, refused):
    words = ["--root", two_subjects, "--out", tmp_path, *PREPROCESS, "steps.picks=[MEG0003]"]
    _, said = refused("preprocess", "bids", *words, "--n-jobs", 1)
    assert "did you mean 'MEG003'" in said


# ---- prepared folders


def experiment(path: Path, folder: Path, **changes) -> Path:
    """A tiny experiment on the planted recordings."""
    content = {
        "name": "tiny",
        "data": {"path": str(folder)},
        "targets": {"image": {"encoder": "planted", "embeddings": f"{folder}/embeddings.h5"}},
        "brain": {"name": "inverted", "n_hidden": 8},
        "train": {"epochs": 2, "batch_size": 50},
        "control": "none",
        "device": "cpu",
        **changes,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def with_nan(folder: Path) -> None:
    with h5py.File(folder / "sub-02" / "trials.h5", "r+") as file:
        file["signal"][3, 2, 1] = np.nan


def with_stranger(folder: Path) -> None:
    with h5py.File(folder / "sub-02" / "trials.h5", "r+") as file:
        file["image"][0] = "stranger"


def leaking(folder: Path) -> None:
    data = json.loads((folder / "split.json").read_text())
    data["train"].append(data["test"][0])
    (folder / "split.json").write_text(json.dumps(data))


def without_test(folder: Path) -> None:
    data = json.loads((folder / "split.json").read_text())
    (folder / "split.json").write_text(json.dumps({**data, "test": []}))


PREPARED = {
    "truncated trials": (lambda f: half(f / "sub-02" / "trials.h5"), "sub-02/trials.h5"),
    "missing trials": (lambda f: [p.unlink() for p in f.glob("sub-*/trials.h5")], "trials.h5"),
    "missing split": (lambda f: (f / "split.json").unlink(), "split"),
    "missing embeddings": (lambda f: (f / "embeddings.h5").unlink(), "embeddings.h5"),
    "NaN in a trial": (with_nan, "sub-02/trials.h5: expected finite signals, found NaN"),
    "image nobody knows": (with_stranger, "'stranger'"),
    "image on two sides": (leaking, "is in"),
    "empty split": (without_test, "Split.test"),
}


@pytest.mark.parametrize("how", PREPARED)
def test_training_refuses_a_damaged_prepared_folder(tmp_path, refused, how):
    spoil, says = PREPARED[how]
    folder = write_prepared(tmp_path / "p", n_train=30, n_test=6)
    spoil(folder)
    code, said = refused("train", experiment(tmp_path / "e.yaml", folder), "--out", tmp_path)
    assert code == 1
    assert says in said
    assert not [p for p in tmp_path.glob("runs/*") if not p.name.startswith(".")]


def test_montages_that_differ_between_subjects_are_joined(tmp_path):
    """Subjects with other channels are no error: what one lacks does not speak for it."""
    folder = write_prepared(tmp_path / "p", n_train=60, n_test=12, noise=0.3)
    path = folder / "sub-02" / "trials.h5"
    trials = Trials.open(path)
    keep = [0, 2, 3, 5, 6, 8, 9, 11]
    fields = {name: getattr(trials, name) for name in ("image", "session", "run", "set", "onset")}
    about = {name: getattr(trials, name) for name in ("sfreq", "tmin", "modality", "unit")}
    names = [f"OTHER{i}" if i == 5 else trials.channel_name[i] for i in keep]
    part = Trials(
        trials.read()[:, keep], **fields, **about, channel_name=names, subject="02",
        channel_type=["mag"] * len(keep), channel_position=trials.channel_position[keep],
    )  # fmt: skip
    trials.close()
    part.write(path)
    words = ["train", experiment(tmp_path / "e.yaml", folder), "--out", tmp_path, "--quiet"]
    assert main([*map(str, words)]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    said = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    assert set(said.subject) == {"01", "02"}
    scores = json.loads((run / "scores.json").read_text())["scores"]
    for subject in ("01", "02"):
        (one,) = (
            s
            for s in scores
            if s["name"] == "top1"
            and s["about"]["system"] == "tower"
            and s["about"]["subject"] == subject
            and s["about"]["n_averaged"] == 4
        )
        assert one["value"] > 3 * one["chance"]


# ---- a full disk


@pytest.fixture
def disk():
    """Files may grow no larger than so many bytes, as on a disk that is full."""
    plain = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        soft = plain[0] if size is None else size
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, plain[1]))

    yield limit
    limit(None)


def test_a_full_disk_while_training_and_reporting_costs_nothing_complete(tmp_path, refused, disk):
    folder = write_prepared(tmp_path / "p", n_train=60, n_test=12)
    path = experiment(tmp_path / "e.yaml", folder, train={"epochs": 6, "batch_size": 50})
    train = ["train", path, "--out", tmp_path / "full"]
    kept = {}
    # each try gets further: the checkpoint, the weights, the pictures do not fit
    for size in (500, 8_000, 30_000):
        disk(size)
        code, said = refused(*train)
        disk(None)
        assert code == 1
        assert "the disk (or this account's share of it) is full" in said
        assert not [p for p in tmp_path.glob("full/runs/*") if not p.name.startswith(".")]
        now = {p: p.stat().st_mtime_ns for p in tmp_path.glob("full/runs/.*/systems/*/model*")}
        assert now.items() >= kept.items()
        kept = now
    for out in ("full", "free"):
        words = ["train", path, "--out", tmp_path / out, "--quiet"]
        assert main([*map(str, words)]) == 0
    (full,), (free,) = ((tmp_path / out / "runs").iterdir() for out in ("full", "free"))
    first, second = (load_tensors(run / "model.safetensors") for run in (full, free))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])

    scores = (full / "scores.json").read_bytes()
    assert main(["report", str(full), "--quiet"]) == 0
    page = (full / "report.html").read_bytes()
    for command, size in (("evaluate", 1000), ("report", 10_000)):
        disk(size)
        code, said = refused(command, full)
        disk(None)
        assert code == 1
        assert "is full" in said
        assert (full / "scores.json").read_bytes() == scores
        assert (full / "report.html").read_bytes() == page
    assert not [p for p in full.rglob("*") if "partial" in p.name]


# ---- Ctrl-C and kill -9


WAIT = 90
STAGES = (
    ("world/sub-01/**/*run-01_events.tsv", signal.SIGINT),
    ("prepared/.*/sub-01/epochs.h5", signal.SIGKILL),
    ("prepared/.*/sub-01/.trials*", signal.SIGINT),
    ("embeddings/.*", signal.SIGKILL),
    ("runs/.*/checkpoint-tower.pt", signal.SIGINT),
    ("runs/.*/checkpoint-shuffled.pt", signal.SIGKILL),
    ("runs/tiny*/provenance.json", signal.SIGINT),
    ("runs/tiny*/scores.json", signal.SIGKILL),
)
"""What is there when a process is stopped, and how."""


def whole_job(out: Path) -> list[str]:
    """All long commands one after the other, in a process of its own."""
    words = [f"{key}={value}" for key, value in {**DESIGN, "n_runs": 3}.items()]
    content = {**EXPERIMENT, "train": {"epochs": 12, "batch_size": 32}}
    (out / "tiny.yaml").write_text(yaml.safe_dump(content))
    program = f"""
import sys
from pathlib import Path
from neurovis.cli import main
out = Path({str(out)!r})
def do(*words):
    code = main([*map(str, words), "--quiet"])
    if code:
        sys.exit(code)
do("simulate", "--out", out / "world", "--n-jobs", 1, "modality.n_chans=24", *{words!r})
do("preprocess", "synthetic", "--root", out / "world", "--out", out, "--n-jobs", 1)
(prepared,) = [p for p in (out / "prepared").iterdir() if p.name[0] != "."]
do("train", out / "tiny.yaml", "--out", out, f"data.path={{prepared}}")
(run,) = [p for p in (out / "runs").iterdir() if p.name[0] != "."]
do("evaluate", run)
do("report", run)
"""
    return [sys.executable, "-c", program]


@pytest.fixture
def start():
    """Start processes that do not outlive the test."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = []

    def begin(words: list[str]) -> subprocess.Popen:
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(words, env=environment, cwd=ROOT, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_stopped_anywhere_the_same_commands_finish_with_the_same_result(tmp_path, start):
    stopped, free = tmp_path / "stopped", tmp_path / "free"
    stopped.mkdir(), free.mkdir()
    undisturbed = start(whole_job(free))
    for pattern, how in STAGES:
        assert not any(stopped.glob(pattern)), pattern
        process = start(whole_job(stopped))
        deadline = time.monotonic() + WAIT
        while process.poll() is None and not any(stopped.glob(pattern)):
            assert time.monotonic() < deadline, pattern
            time.sleep(0.002)
        process.send_signal(how)
        said = process.communicate(timeout=WAIT)[1]
        assert process.returncode == (130 if how == signal.SIGINT else -9), (pattern, said)
        if how == signal.SIGINT:
            assert said == "interrupted; the same command goes on from here\n"
    last = start(whole_job(stopped))
    for process in (last, undisturbed):
        assert process.communicate(timeout=WAIT)[1] == ""
        assert process.returncode == 0
    runs = [next((out / "runs").iterdir()) for out in (stopped, free)]
    assert runs[0].name == runs[1].name
    for name in ("model.safetensors", "scores.json", "split.json", "stimuli.csv"):
        one, two = ((run / name).read_bytes() for run in runs)
        assert one == two, name
    one, two = ((run / "log.csv").read_text().splitlines() for run in runs)
    # all but the seconds, and the share of them that data were waited for
    assert [r.rsplit(",", 2)[0] for r in one] == [r.rsplit(",", 2)[0] for r in two]
    assert (runs[0] / "report.html").is_file()
    assert not [p for p in stopped.rglob("*") if ".partial" in p.name or "checkpoint" in p.name]
