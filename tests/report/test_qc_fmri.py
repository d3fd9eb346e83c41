import re

import numpy as np
import pytest

from neurovis.report.qc_fmri import mosaic, write_fmri_page
from neurovis.signals.fmri.storage import FmriLog
from neurovis.signals.fmri.voxels import Voxels

SHAPE = (5, 6, 4)
TITLES = [
    "Temporal signal-to-noise ratio", "Regions", "Reliability", "Noise ceiling",
    "Design of the first run",
]  # fmt: skip
AFFINE = np.array([[-3.0, 0, 0, 6], [0, 0, 2, -9], [0, 4, 0, -10], [0, 0, 0, 1]])


def log_of(index=True, regions=True, stated=("tsnr", "reliability", "ncsnr", "noise_ceiling")):
    rng = np.random.default_rng(0)
    place = np.argwhere(rng.random(SHAPE) < 0.7)
    n = len(place)
    voxels = Voxels(
        [f"v{i}" for i in range(n)], place / 100,
        {"V1<script>": place[:, 0] < 2, "faces": place[:, 1] > 3} if regions else {},
        place if index else None, SHAPE if index else None, AFFINE if index else None,
    )  # fmt: skip
    log = FmriLog("01", "planted<script>", voxels, asked=n + 7)
    log.runs = [{"name": "ses-1_run-01", "trials": 12, "notes": ["3 < 4 & more"]}]
    log.dropped = {"constant": 7, "missing in some trial": 0}
    log.repeats = {"train": {3: 4}}
    log.notes = ["a note <b>"]
    log.stated = {name: rng.random(n).astype(np.float32) for name in stated}
    log.measured_on = "training" if stated else ""
    if stated:
        log.design = rng.standard_normal((40, 9)), [f"trial{i:05d}" for i in range(6)] + list("xyz")
    return log


def figures(page):
    """Pictures of the page's sections (the frame around them has some, too)."""
    return re.findall(r'class="figure-img[^>]*alt="([^"]*)"', page)


def page_of(tmp_path, log):
    write_fmri_page(tmp_path / "qc.html", log, {"roi": "<b>"})
    assert [p.name for p in tmp_path.iterdir()] == ["qc.html"]
    return (tmp_path / "qc.html").read_text(encoding="utf-8")


def test_the_page_stands_alone_shows_all_and_escapes(tmp_path):
    page = page_of(tmp_path, log_of())
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', page)
    assert figures(page) == TITLES
    assert "3 &lt; 4 &amp; more" in page
    assert "planted<script>" not in page
    assert "V1<script>" not in page
    assert "&lt;b&gt;" in page
    assert "7: constant" in page
    assert "missing in some" not in page
    assert "repeats of training images" in page


@pytest.mark.parametrize("index", [True, False])
def test_what_is_not_known_is_said(tmp_path, index):
    page = page_of(tmp_path, log_of(index, regions=False, stated=()))
    assert "came without time series" in page
    assert "states no region" in page
    assert page.count("No two images were repeated") == 2
    assert "without a first-level model" in page


def test_surfaces_have_histograms(tmp_path):
    assert figures(page_of(tmp_path, log_of(index=False))) == TITLES


def test_the_mosaic_lies_as_the_head_does():
    # two slices; one voxel in front on the subject's right of the upper slice
    affine = np.array([[-3.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    place = np.argwhere(np.ones((4, 5, 2), bool))
    value = np.zeros(len(place))
    value[(place == (0, 4, 1)).all(axis=1)] = 9
    voxels = Voxels([f"v{i}" for i in range(len(place))], place, {}, place, (4, 5, 2), affine)
    picture, aspect = mosaic(voxels, value)
    assert aspect == pytest.approx(2 / 3)
    assert picture.shape == (5, 8)
    # x runs to the left in the file: index 0 is the subject's right, drawn at the right
    assert np.argwhere(picture == 9).tolist() == [[4, 7]]
    turned = AFFINE
    place = np.argwhere(np.ones(SHAPE, bool))
    height = (place @ turned[:3, :3].T)[:, 2]
    voxels = Voxels([f"v{i}" for i in range(len(place))], place, {}, place, SHAPE, turned)
    picture, aspect = mosaic(voxels, height)
    assert aspect == pytest.approx(2 / 3)
    # every slice has one height, rising from slice to slice
    assert len(np.unique(picture[np.isfinite(picture)])) == SHAPE[1]
    rows = picture.reshape(-1, SHAPE[2], picture.shape[1])[::-1]
    first = [np.nanmax(tile) for row in rows for tile in np.split(row, row.shape[1] // SHAPE[0], axis=1)
             if np.isfinite(tile).any()]  # fmt: skip
    assert first == sorted(first)
