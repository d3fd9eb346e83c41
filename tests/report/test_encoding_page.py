"""The page of encoding models: draws what was written, in every kind of recording, and escapes it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import write_prepared
from fakes.encoding import config, write_voxels

from neurovis import cli
from neurovis.encode.run import encode
from neurovis.report import encoding_maps, report_run
from neurovis.report.encoding import page


@pytest.fixture(scope="module")
def voxels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return encode(config(write_voxels(folder / "p")), folder, quiet=True)


def test_voxels(voxels, capsys):
    assert cli.main(["report", str(voxels), "--quiet"]) == 0
    text = (voxels / "report.html").read_text()
    for words in ("edges", "words", "front", "Noise ceilings", "Decoding through encoding", "Maps",
                  "1 of 24 targets do not vary", "stays at chance", "neurovis encode config.yaml"):  # fmt: skip
        assert words in text, words
    assert text.count("data:image/png;base64,") == 4  # two families, the best, the ceiling
    assert "http" not in text.replace("http-equiv", "").replace("http_equiv", "")
    assert str(voxels.parent) not in text
    assert report_run(voxels, quiet=True).read_text() == text  # the same numbers, the same page


def test_what_is_written_is_escaped(voxels):
    path = voxels / "encoding.json"
    kept = path.read_text()
    data = json.loads(kept)
    data["notes"].append("<script>alert(1)</script>")
    data["name"] = "<b>x</b>"
    path.write_text(json.dumps(data))
    try:
        text = page(voxels, quiet=True)
    finally:
        path.write_text(kept)
    assert "<script>" not in text
    assert "<b>x</b>" not in text


def test_sensors(tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=60, n_test=12)
    families = {"planted": {"embeddings": str(folder / "embeddings.h5")}}
    made = encode(config(folder, features=families), tmp_path, quiet=True)
    text = page(made, quiet=True)
    assert "Over time" in text
    assert "ms after picture onset" in text
    assert "Over the sensors" in text
    assert text.count("data:image/png;base64,") >= 4
    assert "Receptive fields" not in text


def test_flat_hemispheres_hold_the_values():
    sides = np.repeat(["lh", "rh"], 3000)
    vertex = np.tile(np.arange(3000), 2)
    draw = encoding_maps._drawer(
        lambda name: np.array([f"{s}{v}" for s, v in zip(sides, vertex)]) if name == "channel_name" else None,
        {},
    )  # fmt: skip
    figure = draw(np.linspace(0, 1, 6000), "words", 1.0)
    assert "fsaverage5" in figure
    assert "data:image/png" in figure
    other = encoding_maps._drawer(
        lambda name: np.array(["v1", "v2"]) if name == "channel_name" else None, {}
    )
    assert other is None


def test_peaks_lie_apart():
    curve = np.zeros(60)
    curve[[10, 11, 40]] = 3, 2.9, 2
    found = encoding_maps._peaks(curve, 2)
    assert found == [10, 40]
