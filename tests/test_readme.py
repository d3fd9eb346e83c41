"""What is written for people is true: examples run, and every name in them exists."""

from __future__ import annotations

import argparse
import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from fakes.bids import raw_of, write_bids
from PIL import Image

from neurovis import __version__, cli, prepare
from neurovis.config import build, load_yaml, to_dict
from neurovis.demo import EXPERIMENT
from neurovis.experiment import Experiment

TEXTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "experiments/README.md"]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
PARSERS = cli.parser().commands
# what follows the dataset's name is read by a parser of the dataset's own
DATASET = prepare.parser("bids", "neurovis preprocess bids")

# what makes the README's examples small, added to the words of each command
SMALL = {
    "simulate": "--n-jobs 1 n_subjects=1 n_sessions=1 n_runs=2 n_train_concepts=15 n_exemplars=3 "
    "train_repeats=1 n_test=4 test_repeats=2 size=48",
    "preprocess": "--n-jobs 1",
    "preprocess bids": "--n-jobs 1 test_repeats=3",
    "generate": "prior=none --n-jobs 1",
    "analyse": "--n-jobs 1 components=4 step=0.2 growing_step=0.3 n_permutations=20 n_bootstrap=20",
    "encode": "partition=false scoring.n_bootstrap=50 scoring.n_permutations=50 data.tmax=0.2",
    "live": "--duration 8 warm=3",
    "train": "train.epochs=1 targets.picture.components=8 brain.n_hidden=4 device=cpu",
}
BENCHMARKS = {
    "decoding": "--modality eeg --level middle --recipe ubp --epochs 1 --n-subjects 1 --small",
    "encoding": "--n-images 60 --n-features 6 --n-voxels 9 --n-candidates 4 --n-penalties 3",
    "encoding_truth": "--small",
    "galleries": "--n-items 3000 --dim 24 --n-rows 20",
    "generation": "--small --n 2 --memory 16gb --only unclip",
    "limits": "--n-subjects 1 --n-train-concepts 4 --n-test 4 --quiet",
    "live": "--layouts 8x200 --epochs 45 --gallery 100 --generator=",
    "nsd": "--sessions 2 --shape 9 10 8 --n-voxels 60",
    "one_run": "--seconds 10 --n-chans 30",
    "preprocessing": "--small --only one_run --only nsd",
    "rendering": "10",
    "scaling": "--batch-size 16 --micro-batch 8 --n-chans 8 --n-times 20 --n-hidden 8 --steps 1",
    "things_eeg2": "--scale 0.002 --n-jobs 1",
    "things_meg": "--runs 1",
    "training": "--batch 4 --repeats 1 --shrink 40 --threads 1",
}


@dataclass(frozen=True)
class Block:
    """A block of code in a text."""

    place: str
    language: str
    code: str
    skipped: bool


def blocks(name: str) -> list[Block]:
    """All fenced blocks of a text; a comment before one may say why it is not run."""
    text = (ROOT / name).read_text(encoding="utf-8")
    pattern = r"(<!-- not run: [^>]+ -->\n)?^```(\w*)\n(.*?)^```$"
    found = []
    for match in re.finditer(pattern, text, re.S | re.M):
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(f"{name}:{line}", match[2], match[3], match[1] is not None))
    assert len(found) == len(re.findall(r"^```", text, re.M)) / 2, f"{name}: an odd fence"
    return found


def commands(name: str) -> list[tuple[bool, list[str]]]:
    """Words of every ``neurovis`` command in a text, and whether it is whole (stands in a block)."""
    lines = [b.code.replace("\\\n", " ") for b in blocks(name) if b.language == "bash"]
    lines = [(True, part) for code in lines for part in re.split(r"\n|&&", code)]
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    lines += [(False, " ".join(span.split())) for span in re.findall(r"`([^`]+)`", text)]
    out = []
    for whole, line in lines:
        words = shlex.split(re.sub(r"^([A-Z]+=\S* )+", "", line.strip()), comments=True)
        if words[:1] == ["neurovis"] and words[1:] not in ([], ["--help"], ["--version"]):
            out.append((whole, words[1:]))
    return out


@pytest.fixture
def workplace(tmp_path) -> Path:
    """A folder in which the README's reader stands, with recordings and arrays of their own."""
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    write_bids(tmp_path / "my_bids", n_runs=2)

    folder = tmp_path / "my_recordings"
    folder.mkdir()
    raw, table = raw_of("eeg", 1, stim=False)
    raw.save(folder / "one_raw.fif", verbose="error")
    table = table.assign(file="one_raw.fif", image=table["stim_file"], set=table["trial_type"])
    table[["file", "onset", "image", "set"]].to_csv(folder / "events.csv", index=False)

    folder, rng = tmp_path / "my_muse", np.random.default_rng(0)
    for name in ("houses", "faces"):
        (folder / "stimuli" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(folder / "stimuli" / name / "a.jpg")
    (folder / "recordings").mkdir()
    for run in range(3):
        n = 256 * 10
        signal = {c: 5 * rng.standard_normal(n) for c in ("TP9", "AF7", "AF8", "TP10")}
        marker = np.zeros(n, int)
        marker[256:-300:150] = np.arange(len(marker[256:-300:150])) % 2 + 1
        table = {"timestamps": 1000 + np.arange(n) / 256, **signal, "Marker0": marker}
        pd.DataFrame(table).to_csv(folder / "recordings" / f"{run}.csv", index=False)

    ids = [f"picture{i}" for i in range(6)]
    np.save(tmp_path / "epochs.npy", rng.standard_normal((6, 4, 50)).astype(np.float32))
    np.save(tmp_path / "clip.npy", np.eye(6, dtype=np.float32))
    np.save(tmp_path / "decoded.npy", np.eye(6, dtype=np.float32)[:3] + 0.1)
    (tmp_path / "trials.csv").write_text("\n".join(["image", *ids]))
    (tmp_path / "gallery.txt").write_text("\n".join(ids))
    (tmp_path / "shown.txt").write_text("\n".join(ids[:3]))
    return tmp_path


@pytest.fixture
def environment(tmp_path_factory) -> dict[str, str]:
    """The installed commands: `neurovis` as its script is, with small sizes added, and `python`."""
    folder = tmp_path_factory.mktemp("bin")
    script = (
        f"#!{sys.executable}\nimport sys\nsys.path.append({str(ROOT)!r})\n"
        f"small = {json.dumps(SMALL)}\n"
        "words = sys.argv[1:]\n"
        "words += small.get(' '.join(words[:2]), small.get(words[0], '')).split()\n"
        "from neurovis.cli import main\n"
        "if __name__ == '__main__':\n    sys.exit(main(words))\n"
    )
    (folder / "neurovis").write_text(script)
    (folder / "neurovis").chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_the_examples_of_the_readme_run_in_order(workplace, environment):
    ran = []
    for block in blocks("README.md"):
        if block.skipped:
            continue
        code, named = block.code, re.match(r"# (\S+\.py)\n", block.code)
        if block.language == "python" and named:
            (workplace / named[1]).parent.mkdir(parents=True, exist_ok=True)
            (workplace / named[1]).write_text(code)
            continue
        assert block.language in ("bash", "python"), f"{block.place}: say what language it is"
        start = ["bash", "-euo", "pipefail"] if block.language == "bash" else [sys.executable]
        python = {} if block.language == "bash" else {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*start, "-c", code],
            cwd=workplace,
            env={**environment, **python},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block.place}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        ran.append(done.stdout)
    said = "\n".join(ran)
    said_at_the_end = {"Simulated:", "Prepared:", "Embeddings:", "Sweep:", "Run:", "Report:"}
    assert said_at_the_end <= set(said.split())
    assert "top1" in ran[-2]
    assert "brightness" in ran[-1]
    assert len(list((workplace / "out" / "prepared").iterdir())) == 5
    assert next((workplace / "out").glob("runs/demo-*/report.html")).stat().st_size > 10_000


@pytest.mark.parametrize("name", TEXTS)
def test_commands_and_options_in_texts_exist(name):
    for whole, words in commands(name):
        assert words[0] in PARSERS, words
        own = [PARSERS[words[0]], *([DATASET] if words[0] == "preprocess" else [])]
        known = {option for p in own for a in p._actions for option in a.option_strings}
        assert {word for word in words if word.startswith("--")} <= known, words
        if whole:
            _, rest = cli.parser().parse_known_args(words)
            assert all("=" in word for word in rest), words
            if words[0] == "preprocess":
                _, rest = DATASET.parse_known_args(words[2:])
                assert all("=" in word for word in rest), words
    text = (ROOT / name).read_text(encoding="utf-8")
    every = {o for p in [*PARSERS.values(), DATASET] for a in p._actions for o in a.option_strings}
    for option in re.findall(r"`(--[\w-]+)", text):
        assert option in every, option


def test_the_readme_names_every_command():
    named = {words[0] for _, words in commands("README.md")}
    assert named == set(PARSERS)


@pytest.mark.parametrize("command", PARSERS)
def test_every_option_is_explained_in_help(command):
    for action in PARSERS[command]._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        name = action.option_strings[-1] if action.option_strings else action.dest
        # where the choices are words, they are listed and speak for themselves
        said = action.help or action.choices
        assert said, f"neurovis {command}: {name} has no help"


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert ((ROOT / name).parent / target).is_file(), target


def test_the_picture_is_small():
    path = ROOT / "docs" / "report.png"
    assert path.stat().st_size < 300_000
    with Image.open(path) as picture:
        assert picture.width >= 800


# ---- experiments


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_experiments_load(path):
    experiment = build(Experiment, load_yaml(path))
    assert build(Experiment, to_dict(experiment)) == experiment
    assert f"`{path.name}`" in (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")


def test_the_demo_is_an_experiment_of_its_own():
    again = "see CONTRIBUTING.md for the command that writes experiments/demo.yaml anew"
    assert load_yaml(ROOT / "experiments" / "demo.yaml") == EXPERIMENT, again


def test_every_benchmark_is_known():
    scripts = {path.stem for path in (ROOT / "experiments" / "benchmarks").glob("*.py")}
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert scripts == set(BENCHMARKS) == set(re.findall(r"`benchmarks/(\w+)\.py`", text))
    assert scripts == set(re.findall(r"python -m experiments\.benchmarks\.(\w+)", text))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_run(name):
    words = [sys.executable, "-m", f"experiments.benchmarks.{name}", *BENCHMARKS[name].split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d", done.stdout)


# ---- metadata


def test_one_version_everywhere():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert config["metadata"]["version"] == cited["version"] == __version__
    assert config["metadata"]["license"] == cited["license"]
    assert cited["authors"] == [{"name": "The neurovis developers"}]
