"""Every shipped encoding experiment loads, names encoders that exist, says what it expects of a paper, and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, write_prepared
from fakes.encoding import write_voxels

from neurovis.config import build, load_yaml, to_dict
from neurovis.encode.experiment import Encode
from neurovis.encode.run import encode, systems
from neurovis.images import encoder
from neurovis.report.build import report_run
from neurovis.store import read_json

FILES = sorted((ROOT / "experiments" / "encoding").glob("*/*.yaml"))


def test_there_are_experiments():
    assert len(FILES) >= 8


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_experiments_load(path):
    experiment = build(Encode, load_yaml(path))
    assert build(Encode, to_dict(experiment)) == experiment
    assert all(encoder(family.encoder).label for family in experiment.features.values())
    assert systems(experiment)
    text = path.read_text(encoding="utf-8")
    assert f"neurovis encode experiments/encoding/{path.parent.name}/{path.name}" in text
    if path.parent.name != "world":
        assert {"source", "status", "ordering"} <= experiment.expected.keys()


def small(path, folder: Path) -> list[str]:
    """Overrides that make an experiment small; what it asks for stays, but for networks that have to be fetched."""
    experiment = build(Encode, load_yaml(path))
    words = [f"data.path={folder}", "scoring.n_bootstrap=50", "scoring.n_permutations=20", "device=cpu"]  # fmt: skip
    maps = {f for name, r in experiment.readouts.items() if r.maps for f in experiment.families_of(name)}  # fmt: skip
    for name, family in experiment.features.items():
        if name in maps:
            parts = "[rgb]" if family.core else "[energy, color]"
            words.append(
                f"features.{name}.encoder={{name: maps, grid: {40 if family.core else 6}, parts: {parts}}}"
            )
        elif path.parent.name != "world":
            words.append(f"features.{name}.encoder={{name: pixels, side: {3 + len(words) % 3}}}")
        if family.core:
            words.append(f"features.{name}.core.n_features=4")
        if family.components:
            words.append(f"features.{name}.components=12")
    if experiment.synthesis:
        words += ["synthesis.goals=[front, front - back]", "synthesis.generator.steps=1"]
        words += ["synthesis.n_pictures=1", "synthesis.n_steps=5"]
    for name, readout in experiment.readouts.items():
        if readout.maps:
            words += [f"readouts.{name}.n_centres=4", f"readouts.{name}.train.batch_size=16"]
            words.append(f"readouts.{name}.train.epochs={min(1, readout.train.epochs)}")
    return words


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """A prepared folder of voxels, and one of sensors."""
    folder = tmp_path_factory.mktemp("mini")
    return {
        "voxel": write_voxels(folder / "voxel", n_voxels=12),
        "sensor": write_prepared(folder / "sensor", n_train=60, n_test=12, subjects=("01",), n_times=6, n_chans=4),
    }  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_each_experiment_runs(path, miniature, out):
    folder = miniature["sensor" if path.parent.name.endswith("meg") else "voxel"]
    overrides = small(path, folder)
    experiment = build(Encode, load_yaml(path, overrides))
    made = encode(experiment, out, quiet=True)
    data = read_json(made / "encoding.json")
    assert [s["name"] for s in data["systems"]] == [s.name for s in systems(experiment)]
    scored = {s["about"]["system"] for s in data["scores"]}
    assert scored == {s["name"] for s in data["systems"]}
    assert all(np.isfinite([s["value"], s["low"], s["high"]]).all() for s in data["scores"])
    assert bool(data["identified"]) == bool(experiment.identify)
    page = report_run(made, quiet=True)
    text = page.read_text(encoding="utf-8")
    assert ("<b>front - back</b>: predicted" in text) == bool(experiment.synthesis)
    assert ("Painted from the embedding by world" in text) == bool(experiment.synthesis)
    for words in experiment.expected.values():
        assert str(words).split(",")[0] in text


def test_a_family_that_is_a_string_takes_more_options():
    path = ROOT / "experiments" / "encoding" / "world" / "families.yaml"
    family = build(Encode, load_yaml(path, ["features.edges.components=5"])).features["edges"]
    assert (family.encoder, family.components) == ("gabor", 5)
    family = build(Encode, load_yaml(path, ["features.edges.encoder=color"])).features["edges"]
    assert family.encoder == "color"
