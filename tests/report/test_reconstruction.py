"""Pictures seen and reconstructed: all trials, in order, and only where a target is pictures."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import miniature_run as miniature
import numpy as np
import pytest
from PIL import Image

from neurovis.errors import NeurovisError
from neurovis.evaluate import evaluate_run
from neurovis.records import Prediction
from neurovis.report import report_run
from neurovis.report.account import component
from neurovis.store import write_h5

CONCEPTS = ["car", "cat", "dog", "bus"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    run = miniature.write_run(tmp_path_factory.mktemp("runs") / "mini-0123456789ab", CONCEPTS)
    evaluate_run(run, quiet=True)
    return run


def rows(run: Path) -> dict[str, np.ndarray]:
    made = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    return {n: getattr(made, n) for n in ("image", "subject", "n_averaged", "recording")}


def write(run: Path, picture: np.ndarray, system: str = "tower", **changes: np.ndarray) -> None:
    path = run / "systems" / system / "reconstruction.h5"
    write_h5(path, "neurovis-reconstruction", {**rows(run), **changes, "picture/pixels": picture})


def section_of(run: Path) -> str:
    page = report_run(run, quiet=True).read_text(encoding="utf-8")
    return page.split('id="reconstructions"')[1].split("</section>")[0]


def tiles(section: str) -> list[tuple[int, str]]:
    """Value of the first pixel and words of every tile, in order."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', section)
    opened = [(Image.open(io.BytesIO(base64.b64decode(data))), words) for data, words in found]
    return [(picture.getpixel((0, 0))[0], words) for picture, words in opened]


@pytest.fixture
def run(whole, tmp_path) -> Path:
    import shutil

    return Path(shutil.copytree(whole, tmp_path / whole.name))


def test_a_run_without_pictures_as_targets_has_no_such_section(whole):
    assert "Seen and reconstructed" not in report_run(whole, quiet=True).read_text(encoding="utf-8")


def test_every_picture_stands_with_what_was_made_of_it(run):
    about = rows(run)
    n = len(about["image"])
    value = (np.arange(n) % 251).astype(np.uint8)
    write(run, np.broadcast_to(value[:, None, None, None], (n, 4, 5, 3)).copy())
    most = about["n_averaged"].max()
    found = tiles(section_of(run))
    expected = []
    for image in dict.fromkeys(sorted(about["image"])):
        mine = np.flatnonzero((about["image"] == image) & (about["n_averaged"] == most))
        expected.append(sorted(int(value[row]) for row in mine))
    assert sorted(sorted(v for v, words in found if words.startswith(f"{image} "))
                  for image in set(about["image"])) == sorted(expected)  # fmt: skip


def test_the_control_is_folded_away_beneath(run):
    n = len(rows(run)["image"])
    white, black = (np.full((n, 2, 2, 3), v, np.uint8) for v in (255, 0))
    write(run, white)
    write(run, black, "shuffled")
    first, _, second = section_of(run).partition("<details")
    assert {value for value, _ in tiles(first)} == {255}
    assert {value for value, _ in tiles(second)} == {0}
    assert "shuffled labels" in second


def test_an_encoder_with_options_is_told_with_them():
    encoder = {"name": "pixels", "device": "auto", "side": 10, "color": False}
    told = component({"encoder": encoder, "centre": False, "embeddings": ""})
    assert told == "encoder pixels (side 10, color False), centre False"
    assert component({"name": "mse", "weights": {"a": 1}}) == "mse"


def test_names_are_escaped(run):
    about = rows(run)
    n = len(about["image"])
    recording = np.full(n, '"><script>alert(1)</script>')
    write(run, np.zeros((n, 2, 2, 3), np.uint8), recording=recording)
    assert "<script" not in section_of(run)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((3, 2, 2, 3), np.uint8), np.zeros((4, 2, 2, 3), np.float32)],
)
def test_damaged_files_are_named(run, picture):
    n = len(rows(run)["image"])
    picture = picture if picture.dtype != np.float32 else np.zeros((n, 2, 2, 3), np.float32)
    write(run, picture)
    with pytest.raises(
        NeurovisError, match=rf"reconstruction.h5: expected pictures .* of {n} rows"
    ):
        report_run(run, quiet=True)
