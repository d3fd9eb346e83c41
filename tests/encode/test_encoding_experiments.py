"""Every shipped encoding experiment loads, names encoders that exist, and says what it expects of a paper."""

from __future__ import annotations

import pytest
from conftest import ROOT

from neurovis.config import build, load_yaml, to_dict
from neurovis.encode.experiment import Encode
from neurovis.encode.run import systems
from neurovis.images import encoder

FILES = sorted((ROOT / "experiments" / "encoding").glob("*/*.yaml"))


def test_there_are_experiments():
    assert len(FILES) >= 7


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
