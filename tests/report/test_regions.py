"""What the report says of voxels: medians by region, slices that hold every voxel, nothing where nothing is known."""

from __future__ import annotations

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from neurovis.report.evoked import evoked
from neurovis.report.material import Evoked, VoxelFacts
from neurovis.report.regions import regions


def material(**changes) -> SimpleNamespace:
    """A material with one subject of 24 voxels in two slices."""
    index = np.argwhere(np.ones((3, 4, 2), bool))
    ceiling = np.linspace(0, 0.46, 24).astype(np.float32)
    facts = {
        "roi": {"V1": np.arange(24) < 8, "places": np.arange(24) >= 20},
        "stated": {"noise_ceiling": ceiling, "tsnr": np.full(24, 80.0)},
        "ceiling": "share <explained>",
        "index": index,
        "shape": (3, 4, 2),
        "affine": np.diag([4.0, 4, 4, 1]),
    }
    one = Evoked(
        "01", np.zeros((24, 1)), np.full(24, "voxel"), np.zeros((24, 3)), np.zeros(1), "1", 9,
        VoxelFacts(**{**facts, **changes}),
    )  # fmt: skip
    return SimpleNamespace(evoked=(one,))


def test_medians_by_region_and_every_voxel_in_the_slices():
    page = regions(material())
    assert "share &lt;explained&gt;" in page
    for name, member in {"all": slice(None), "V1": slice(8), "places": slice(20, 24)}.items():
        values = np.linspace(0, 46, 24)[member]
        low, middle, high = np.percentile(values, [25, 50, 75])
        expected = (
            f"{name}: median {middle:.1f}\u202f%, quartiles {low:.1f}\u202f% and {high:.1f}\u202f%"
        )
        assert expected in page
    assert re.search(r"V1</th><td>8</td><td>0\.07</td><td>80</td>", page)
    data = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", page)[1])
    picture = np.asarray(Image.open(io.BytesIO(data)))
    zoom = picture.shape[1] // 6 if picture.shape[1] >= 6 else 1
    drawn = (picture[..., 3] > 0).sum() / zoom**2
    assert drawn == pytest.approx(24, rel=0.2)
    assert evoked(material()) is None


def test_what_is_not_known_is_said():
    assert "no place in a volume" in regions(material(index=None))
    empty = {"noise_ceiling": np.full(24, np.nan)}
    assert "Nothing is stated" in regions(material(stated=empty))
    assert "ICC" in regions(material(stated={**empty, "reliability": np.ones(24)}))
    assert regions(SimpleNamespace(evoked=())) is None
