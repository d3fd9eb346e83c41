"""The generated table of towers: counts are those of the built towers, shapes those of their passes."""

from __future__ import annotations

import numpy as np
import pytest

from neurovis.brain import table as tables
from neurovis.brain.base import BrainEncoder
from neurovis.brain.layers import size
from neurovis.brain.table import PUBLISHED, passes, published, table
from neurovis.cli import main
from neurovis.config import components
from neurovis.errors import UsageError
from neurovis.listing import listing

SMALL = {
    "meg": published("mag", 9, 90, 120.0, 6, 2),
    "eeg": published("eeg", 8, 100, 128.0, 5),
    "fmri": published("voxel", 30, 1, 1.0, 4),
}


def test_published_shapes_are_those_of_the_papers():
    shapes = {kind: make() for kind, make in PUBLISHED.items()}
    found = {kind: (shape.n_chans, shape.n_times) for kind, shape in shapes.items()}
    assert found == {"meg": (271, 181), "eeg": (63, 250), "fmri": (15724, 1)}
    for shape in shapes.values():
        assert np.isfinite(shape.channel_position).all()
        assert len(np.unique(shape.channel_position, axis=0)) == shape.n_chans
    assert PUBLISHED["fmri"](100).n_chans == 157


def test_every_tower_is_counted_as_it_is_built(monkeypatch):
    monkeypatch.setattr(tables, "PUBLISHED", SMALL)
    towers = components(BrainEncoder)
    rows = table(towers)
    assert [row[0] for row in rows[1:]] == list(towers)
    assert rows[0] == ("name", "meg 9 x 90", "eeg 8 x 100", "fmri 30 x 1")
    for name, *counts in rows[1:]:
        if towers[name].closed_form:
            assert set(counts) == {"closed form"}
            continue
        assert counts[1] == f"{size(towers[name]().build(SMALL['eeg']())):,}"
    found = {row[0]: row[1:] for row in rows}
    assert found["nice"][2] == "does not fit"
    assert found["mlp"][2] != "does not fit"


def test_a_pass_shows_every_weight_once():
    shape = SMALL["eeg"]()
    for name, cls in components(BrainEncoder).items():
        if cls.closed_form:
            continue
        rows = passes(cls(), shape)
        assert rows[0] == ("module", "kind", "gives", "weights")
        counts = [int(row[3].replace(",", "")) for row in rows[1:] if row[3]]
        assert sum(counts[:-1]) == counts[-1] == size(cls().build(shape)), name
        assert ("", "image", "5", "") in rows
    rows = passes(components(BrainEncoder)["nice"](), shape)
    assert ("convolution", "Convolution", "6 x 40") in [row[:3] for row in rows]


def test_the_command_prints_it(monkeypatch, capsys):
    monkeypatch.setattr(tables, "PUBLISHED", SMALL)
    assert main(["list", "brain", "ubp", "--table"]) == 0
    said = capsys.readouterr().out
    assert "eeg: 8 channels x 100 times" in said
    assert "heads.each.0.first" in said
    assert "4,000" not in said
    assert f"{800 * 5 + 5:,}" in said
    said = listing("brain", "*i*", table=True)
    assert "closed form" in said
    assert "nice" in said
    with pytest.raises(UsageError, match="--table: expected the family brain, found 'losses'"):
        listing("losses", table=True)
