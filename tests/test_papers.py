"""Published rows: each YAML loads, has its figure and its line, and takes a step under the paper's protocol."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from conftest import ROOT, write_prepared
from fakes.planted import rewrite, run_of

from experiments import papers
from neurovis import cli, train
from neurovis.config import build, load_yaml, to_dict
from neurovis.experiment import Experiment
from neurovis.flags import FLAG, PUBLISHED
from neurovis.images import encoder
from neurovis.store import read_json

FOLDER = ROOT / "experiments"
ROWS = sorted(FOLDER.glob("*/*.yaml"))
NAMES = [f"{p.parent.name}/{p.stem}" for p in ROWS]
EXPECTED = papers.papers()
STATUS = {"verified", "second-hand", "unverified", "not published", "not in our notes"}
FIELDS = {"dataset", "of", "gallery", "averaged", "chance", "value", "spread", "source", "status"}
FIELDS |= {"hardware", "time"}
MODALITY = {"EEG2": "eeg", "-MEG": "meg", "NSD": "fmri"}
# towers of the published sizes would take the whole time
SMALL = {
    "mlp": {"n_hidden": 8, "n_blocks": 1},
    "conv": {"n_virtual": 8, "n_harmonics": 4, "n_hidden": 8, "n_blocks": 1, "n_features": 8},
    "atm": {"n_features": 16, "n_ff": 8},
}


def about(path: Path) -> dict:
    return EXPECTED[path.parent.name]["rows"][path.stem]


@pytest.fixture(scope="session")
def miniature(tmp_path_factory) -> dict[str, Path]:
    """A prepared folder of two subjects per modality."""
    out = {}
    for modality, kind, n_chans, n_times in (
        ("meg", "mag", 6, 110),
        ("eeg", "eeg", 6, 110),
        ("fmri", "voxel", 20, 1),
    ):
        folder = tmp_path_factory.mktemp("mini") / modality
        write_prepared(
            folder, n_train=24, n_test=6, repeats=(1, 2), n_chans=n_chans, n_times=n_times
        )
        for file in folder.glob("sub-*/trials.h5"):
            rewrite(file, modality=modality, channel_type=np.array([kind] * n_chans))
        out[modality] = folder
    return out


@pytest.fixture(scope="session")
def out(tmp_path_factory) -> Path:
    """Where all runs go, so that pictures are embedded once."""
    return tmp_path_factory.mktemp("out")


# ---- what is written


def test_every_row_has_a_figure_and_every_figure_a_row():
    assert {(p.parent.name, p.stem) for p in ROWS} == {
        (folder, row) for folder, paper in EXPECTED.items() for row in paper["rows"]
    }


@pytest.mark.parametrize("path", ROWS, ids=NAMES)
def test_rows_load_and_say_where_their_figure_stands(path):
    experiment = build(Experiment, load_yaml(path))
    assert build(Experiment, to_dict(experiment)) == experiment
    assert all(encoder(target.encoder) for target in experiment.targets.values())
    said = about(path)
    assert set(said) - {"per_subject"} == FIELDS
    assert said["status"] in STATUS
    # a figure has a source, and a row without a figure says why
    assert (said["value"] is None) == said["status"].startswith("not ")
    assert said["source"] or said["value"] is None
    assert set(said["spread"] or {}) <= set(said["value"] or {}) <= set(said["chance"])
    for values in said.get("per_subject", {}).values():
        count = {"THINGS-EEG2": 10, "THINGS-MEG": 4, "NSD": 4}[said["dataset"]]
        assert len(values) == count
        # rounded to a tenth each
        assert np.mean(values) == pytest.approx(next(iter(said["value"].values())), abs=0.11)
    words = shlex.split(papers.command(path, "train"))
    assert words[2] == path.relative_to(ROOT).as_posix()


def test_the_readme_holds_the_table_as_it_is_now():
    text = papers.README.read_text(encoding="utf-8")
    inside = text.partition(papers.BEGIN)[2].partition(papers.END)[0]
    assert inside == f"\n{papers.table()}\n", "run python -m experiments.papers"


def test_the_command_that_makes_the_data_is_one(tmp_path, capsys):
    made = {papers.command(path, "preprocess").replace("\\\n", " ") for path in ROWS}
    for text in sorted(made):
        words = shlex.split(text.replace("RAW", str(tmp_path)).replace("OUT", str(tmp_path)))
        assert cli.main([*words[1:], "--print-config"]) == 0, capsys.readouterr().err
        assert "recipe" in capsys.readouterr().out


def test_a_paper_that_selects_on_test_has_a_clean_row():
    for folder, paper in EXPECTED.items():
        kinds = {
            row: build(Experiment, load_yaml(FOLDER / folder / f"{row}.yaml")).protocol
            for row in paper["rows"]
        }
        if any(kind.about.startswith(FLAG) for kind in kinds.values()):
            assert kinds["clean"].component == "clean", folder
        assert not any(kind.about for row, kind in kinds.items() if row == "clean"), folder


# ---- one step each


def small(path: Path, folder: Path) -> list[str]:
    """Overrides that make a row small; what it asks for stays."""
    experiment = build(Experiment, load_yaml(path))
    words = [f"data.path={folder}", "train.epochs=1", "train.batch_size=64", "baseline=ridge"]
    words += ["control=none", "predict.draws=1", "predict.repeats=[2]", "device=cpu"]
    pixels = "{name: pixels, side: 4}"
    words += [f"targets.{name}.encoder={pixels}" for name in experiment.targets]
    tower = to_dict(experiment.brain) | SMALL.get(experiment.brain.component, {})
    words.append(f"brain={json.dumps(tower)}")
    if not isinstance(experiment.projection, str):
        words.append("projection.width=8")
    kind = experiment.subjects.component
    if kind == "new":
        words += ['subjects.test=["01"]', "subjects.epochs=1"]
    elif kind != "joint":
        words.append(f'subjects={{name: {kind}, test: ["01"]}}')
    if experiment.protocol.n_models > 1:
        words.append("protocol.n_epochs=1")
    return words


@pytest.mark.parametrize("path", ROWS, ids=NAMES)
def test_each_row_takes_a_step_under_its_papers_protocol(path, miniature, out):
    dataset = about(path)["dataset"]
    folder = next(miniature[kind] for end, kind in MODALITY.items() if dataset.endswith(end))
    overrides = small(path, folder)
    run = train.train(path, overrides, out, quiet=True)
    experiment = build(Experiment, load_yaml(path, overrides))
    published = build(Experiment, load_yaml(path)).protocol
    protocol = read_json(run / "split.json")["protocol"]
    assert experiment.protocol.about in protocol
    assert experiment.subjects.about in protocol
    assert type(experiment.protocol) is type(published)
    assert protocol.startswith(FLAG) == published.component.startswith("best_on")
    assert (PUBLISHED in protocol) == (published.component != "clean")
    if not experiment.brain.closed_form:
        log = (run / "log.csv").read_text().splitlines()
        assert {line.split(",")[1] for line in log[1:]} == {"1"}, log  # one step per training
    assert (run / "systems/tower/prediction.h5").is_file()
    assert (run / "systems/ridge/prediction.h5").is_file()


# ---- what rows needed of the code


class Watched(torch.optim.AdamW):
    """Keeps what each step was taken with."""

    steps: ClassVar[list[tuple]] = []

    def step(self, *args, **kwargs):
        group = self.param_groups[0]
        self.steps.append((group["lr"], tuple(group["betas"])))
        return super().step(*args, **kwargs)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_the_rate_may_stay_and_adam_has_its_betas(miniature, tmp_path, monkeypatch, schedule):
    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    monkeypatch.setattr(Watched, "steps", [])
    options = {"epochs": 3, "lr": 0.01, "schedule": schedule, "momentum": 0.5}
    run_of(miniature["meg"], tmp_path, train=options, protocol="last")
    rates, betas = zip(*Watched.steps)
    assert set(betas) == {(0.5, 0.999)}
    assert len(rates) == 3
    assert (set(rates) == {0.01}) == (schedule == "constant")
