"""The command line: quick, exact about mistakes, one sentence per error, safe to interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, write_prepared

from neurovis import cli, listing
from neurovis.cli import COMMANDS, main
from neurovis.config import components
from neurovis.records import Embeddings, Prediction

NEUROVIS = [sys.executable, "-m", "neurovis.cli"]
HEAVY = {"torch", "mne", "pandas", "scipy", "sklearn", "skimage", "matplotlib", "h5py", "numpy"}
HEAVY |= {"braindecode", "open_clip", "timm", "diffusers", "pydantic", "yaml", "PIL"}


def run(*words, **options):
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def write_experiment(path: Path, folder: Path, **train) -> Path:
    """A tiny experiment on the planted recordings, as YAML."""
    tower = {"name": "conv", "n_virtual": 4, "n_harmonics": 3, "n_hidden": 8, "n_blocks": 1}
    content = {
        "name": "tiny",
        "data": {"path": str(folder)},
        "targets": {"image": {"encoder": "planted", "embeddings": f"{folder}/embeddings.h5"}},
        "brain": {**tower, "n_features": 16},
        "train": {"epochs": 2, "batch_size": 50, "lr": 0.003, **train},
        "control": "none",
        "device": "cpu",
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def refused(capsys):
    """Run a command that must fail; return its exit code and what it says on stderr."""

    def call(*words):
        try:
            code = main(list(words))
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        return code, said.err

    return call


# ---- quick


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom neurovis.cli import main\n"
        "for words in (['--help'], ['train', '--help'], ['--version']):\n"
        "    try:\n        main(words)\n    except SystemExit as stop:\n"
        "        assert stop.code == 0\n"
        "print('loaded:', *{name.split('.')[0] for name in sys.modules})"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split("loaded:")[1].split())
    assert "neurovis" in loaded
    assert not loaded & HEAVY


def test_help_takes_no_time():
    def seconds(*words):
        found = []
        for _ in range(5):
            started = time.perf_counter()
            assert run(*words).returncode == 0
            found.append(time.perf_counter() - started)
        return min(found)

    nothing = seconds(sys.executable, "-c", "pass")
    # 0.3 s on an idle machine; where Python itself is slow, so are we
    assert seconds(*NEUROVIS, "--help") < max(0.3, 6 * nothing)


def test_importing_the_package_loads_nothing_heavy():
    done = run(sys.executable, "-c", "import neurovis, sys; print(*sys.modules)")
    assert not {name.split(".")[0] for name in done.stdout.split()} & HEAVY


# ---- help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"Example: neurovis {command}" in text.replace("\n", " ")
    for option in ("--quiet", "--debug", "--print-config"):
        assert option in text


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_every_command_is_one(command):
    import shlex

    options, rest = cli.parser().parse_known_args(shlex.split(COMMANDS[command][2]))
    assert options.command == command
    assert all("=" in word for word in rest)


# ---- mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["traain"], "did you mean train?"),
        (["reporrt", "run"], "did you mean report?"),
        (["train", "e.yaml", "--quite"], "unrecognized arguments: --quite; did you mean --quiet?"),
        (["preprocess", "bids", "--root", "r", "--out", "o", "--sbject", "1"], "mean '--subject'?"),
        (["list", "brian"], "did you mean brain?"),
        (["simulate", "--out", "o", "--modality", "mge"], "did you mean meg?"),
        ([], "required: COMMAND"),
        (["report"], "required: run"),
        (["list", "brain", "conv", "more"], "unrecognized arguments: more"),
        (["evaluate"], "expected RUN, or --prediction"),
        (["train", "absent.yaml"], "absent.yaml: no such file"),
    ],
)
def test_wrong_usage_exits_with_2(words, said, refused):
    code, text = refused(*words)
    assert code == 2
    assert said in text
    assert len(text.splitlines()) <= 2


def test_wrong_options_suggest_the_nearest(tmp_path, prepared, refused):
    path = write_experiment(tmp_path / "e.yaml", prepared)
    for word, said in [
        ("train.epoch=3", "Train option 'epoch' is unknown; did you mean 'epochs'?"),
        ("traain.epochs=3", "did you mean 'train'?"),
        ("brain=cnov", "did you mean 'conv'?"),
        ("brain.n_block=3", "did you mean 'n_blocks'?"),
        ("train.lr=-1", "Experiment.train.lr: input should be greater than 0, found -1"),
        ("train.epochs", "expected key=value"),
        ("data.path=nowhere", "expected a prepared folder"),
        ("data.subjects=[9]", "subjects"),
    ]:
        code, text = refused("train", str(path), "--out", str(tmp_path), word)
        assert code == (1 if word.startswith("data.path") else 2)
        assert said in text
        assert len(text.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["report", "nowhere"],
        ["evaluate", "nowhere"],
        ["evaluate", "--prediction", "p.h5", "--embeddings", "e.h5"],
        ["embed", "--stimuli", "nowhere.csv", "--out", "out"],
        ["import", "embeddings", "nowhere.npy", "--ids", "ids.txt", "--out", "out"],
        ["preprocess", "bids", "--root", "nowhere", "--out", "out"],
        ["list", "brain", "*nothing*"],
        ["generate", "nowhere"],
        ["doctor", "no-such-dataset"],
        ["doctor", "things-eeg2", "--root", "nowhere"],
        ["fetch", "no-such-dataset", "--root", "root"],
        ["fetch", "things-eeg2", "--root", "root", "--source", "rwa"],
        ["fetch", "things-eeg2", "--root", "root", "--subject", "99"],
        ["fetch", "nsd", "--root", "root"],
        ["fetch", "bids", "--root", "nowhere"],
    ],
)
def test_what_is_missing_is_said_in_one_sentence(words, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = refused(*words)
    assert code in (1, 2)
    assert text.startswith(f"neurovis {words[0]}: ")
    assert len(text.splitlines()) == 1
    assert "Error:" not in text
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_run_is_said_in_one_sentence(refused, tmp_path):
    (tmp_path / "split.json").write_text("{")
    (tmp_path / "config.yaml").write_text("name: x")
    for command in ("evaluate", "report"):
        code, text = refused(command, str(tmp_path))
        assert code == 1
        assert len(text.splitlines()) == 1


def test_debug_shows_the_traceback(tmp_path):
    done = run(*NEUROVIS, "evaluate", str(tmp_path), "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "NeurovisError" in done.stderr


def test_unexpected_errors_name_their_kind(refused, monkeypatch):
    monkeypatch.setattr(listing, "listing", lambda *_: 1 / 0)
    code, text = refused("list", "brain")
    assert code == 1
    assert "ZeroDivisionError: division by zero (run with --debug for the traceback)" in text


# ---- what is printed


@pytest.mark.parametrize(
    "words",
    [
        ["simulate", "--out", "o", "n_subjects=3"],
        ["preprocess", "bids", "--root", "r", "--out", "o"],
        ["preprocess", "synthetic", "--root", "r", "--out", "o"],
        ["preprocess", "lsl-csv", "--root", "r", "--out", "o"],
        ["embed", "--stimuli", "s.csv", "--encoder", "hog", "--out", "o"],
        ["demo"],
        ["report", "run"],
    ],
)
def test_configs_are_printed_and_nothing_is_done(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--print-config"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found
    if words[0] == "simulate":
        assert found["n_subjects"] == 3
        assert found["modality"]["name"] == "meg"
    assert list(tmp_path.iterdir()) == []


def test_the_printed_config_of_an_experiment_is_that_experiment(capsys, tmp_path, prepared):
    path = write_experiment(tmp_path / "e.yaml", prepared)
    assert main(["train", str(path), "train.epochs=7", "--print-config"]) == 0
    first = capsys.readouterr().out
    assert yaml.safe_load(first)["train"]["epochs"] == 7
    (tmp_path / "full.yaml").write_text(first)
    assert main(["train", str(tmp_path / "full.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize("family", listing.HOME)
def test_components_are_listed(family, capsys):
    assert main(["list", family]) == 0
    text = capsys.readouterr().out
    for name in components(listing.family(family)):
        assert name in text
    assert main(["list", family, f"{name[:2]}*"]) == 0
    assert name in capsys.readouterr().out


def test_the_doctor_knows_what_is_installed(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for package in ("torch", "mne", "numpy"):
        assert package in text


# ---- the real thing


def test_train_evaluate_and_doctor_of_a_run(tmp_path, prepared, capsys):
    path = write_experiment(tmp_path / "e.yaml", prepared)
    words = ["train", str(path), "--out", str(tmp_path), "--quiet", "train.epochs=1"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"Run: {folder}" in said.out
    assert (folder / "scores.json").is_file()
    assert main(words) == 0  # complete: reused
    assert f"Run: {folder}" in capsys.readouterr().out
    assert main(["evaluate", str(folder), "--quiet"]) == 0
    assert "top1" in capsys.readouterr().out
    prediction, gallery = folder / "systems/ridge/prediction.h5", folder / "gallery/image.h5"
    words = ["evaluate", "--prediction", str(prediction), "--embeddings", str(gallery), "--quiet"]
    assert main(words) == 0
    assert "top1" in capsys.readouterr().out
    assert main(["doctor", str(folder)]) == 1
    assert "missing: neurovis report" in capsys.readouterr().out


def test_a_prediction_of_images_without_embeddings_is_refused(tmp_path, refused):
    import numpy as np

    Prediction({"image": np.ones((2, 3))}, ["a", "b"], ["1", "1"], [1, 1]).write(tmp_path / "p.h5")
    Embeddings(np.eye(3)[:2], ["a", "c"]).write(tmp_path / "e.h5")
    words = ["--prediction", str(tmp_path / "p.h5"), "--embeddings", str(tmp_path / "e.h5")]
    code, text = refused("evaluate", *words, "--quiet")
    assert code == 1
    assert "'b'" in text


def test_ctrl_c_leaves_nothing_half_written_and_the_same_command_goes_on(tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=30, n_test=6)
    path = write_experiment(tmp_path / "e.yaml", folder, epochs=150, patience=150)
    words = [*NEUROVIS, "train", str(path), "--out", str(tmp_path), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runs/.*/checkpoint-tower.pt")):
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    out, said = started.communicate(timeout=60)
    assert started.returncode == 130
    assert said == "interrupted; the same command goes on from here\n"
    assert out == ""
    left = {p.relative_to(tmp_path / "runs").parts[-1] for p in (tmp_path / "runs").rglob("*")}
    assert not {name for name in left if name.startswith(".") and "tiny" not in name}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (run_folder,) = (tmp_path / "runs").iterdir()
    rows = (run_folder / "log.csv").read_text().splitlines()
    assert len(rows) == 151
    assert not list(run_folder.rglob("*.pt"))
