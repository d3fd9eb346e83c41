"""Analyses in the report: their numbers and no others, nothing injected, damage is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neurovis.errors import NeurovisError
from neurovis.report import report_run
from neurovis.report.analyses import read_analyses, read_analysis
from neurovis.store import provenance, write_h5, write_json

NASTY = "<script>alert(1)</script>"
TIMES = [-0.05, 0.0, 0.05, 0.1, 0.15]


def score(value, n=40):
    about = {"subject": "all"}
    return {
        "value": value, "n": n, "chance": 0.5, "low": value - 0.02, "high": value + 0.02, "per_item": [],
        "gallery": "40 test images", "protocol": "clean", "higher_is_better": True, "name": "2-way",
        "about": about,
    }  # fmt: skip


def lag(name, value):
    if value is None:
        return {"name": name, "value": None, "low": None, "high": None, "found": 0.0}
    return {"name": name, "value": value, "low": value - 0.01, "high": value + 0.01, "found": 1.0}


def curve(level, values, control=False, kind="sliding", subject="all"):
    names = ("onset", "peak")
    lags = [lag(n, None if control else 0.05 + 0.0123 * i) for i, n in enumerate(names)]
    return {
        "kind": kind, "level": level, "control": control, "subject": subject, "times": TIMES,
        "threshold": 0.56, "p": [1.0] * 5, "latencies": lags, "scores": [[score(v)] for v in values],
    }  # fmt: skip


def write(folder, kind, data, arrays=None):
    folder.mkdir(parents=True)
    head = {"format": "neurovis-analysis", "format_version": 1, "kind": kind, "method": "by hand"}
    write_json(folder / "analysis.json", {**head, **data})
    if arrays:
        write_h5(folder / "analysis.h5", "neurovis-analysis", arrays)
    write_json(folder / "provenance.json", provenance())
    return folder


def when_data(level="low"):
    values = [0.5, 0.51, 0.7, 0.81234, 0.6]
    planted = [
        {"level": level, "subject": "all", "times": TIMES, "curve": [0, 0.1, 0.5, 1.0, 0.2],
         "latencies": {"rise": 0.05, "peak": 0.1, "middle": 0.1, "fall": 0.14}}
    ]  # fmt: skip
    general = [
        {
            "level": level,
            "threshold": 0.6,
            "n": 40,
            "chance": 0.5,
            "share_above": 0.37,
            "furthest": 0.1,
        }
    ]
    curves = [curve(level, values), curve(level, [0.5] * 5, control=True)]
    curves.append(curve(level, values, subject="01"))
    return {
        "model": "one ridge",
        "width": 0.03,
        "curves": curves,
        "planted": planted,
        "general": general,
    }


def test_curves_latencies_and_matrices_are_drawn(tmp_path):
    matrix = np.random.default_rng(0).uniform(0.5, 0.8, (1, 5, 5)).astype(np.float32)
    arrays = {"general/score": matrix, "general/time": np.array(TIMES)}
    folder = write(tmp_path / "when-1", "when", when_data(), arrays)
    page = report_run(folder, quiet=True).read_text()
    for said in ("81.2\u202f%", "[79.2, 83.2]", "One ridge", "low, planted", "above the threshold: no window",
                 "37\u202f% of all pairs", "Subject 01", "by hand", "n\u00a0=\u00a040 images"):  # fmt: skip
        assert said in page, said
    assert page.count("data:image/png") == 1
    assert "<script" not in page


def test_names_are_escaped(tmp_path):
    folder = write(tmp_path / "when-1", "when", when_data(NASTY))
    page = report_run(folder, quiet=True).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def where_data():
    entry = {
        "level": "low", "subject": "all", "threshold": 0.55, "control": [score(0.501)],
    }  # fmt: skip
    ablation = [
        {**entry, "region": "all", "n_chans": [16], "keep": [score(0.9)], "leave": None},
        {**entry, "region": "back", "n_chans": [3, 5], "keep": [score(0.87654)], "leave": [score(0.6)],
         "loses": {**score(0.3), "chance": 0.0}},
    ]  # fmt: skip
    points = [
        {
            "level": "low",
            "n_sensors": k,
            "chosen": score(0.6 + 0.05 * k),
            "random": [score(0.55)] * 3,
        }
        for k in (1, 2, 4)
    ]
    greedy = [{"order": ["A1", "A2", "A3", "A4"], "validation": [0.1, 0.2, 0.3, 0.35], "points": points,
               "note": "chosen on validation images"}]  # fmt: skip
    light = {"level": "low", "subject": "01", "radius": 0.03, "n_chans": [3, 6], "threshold": 0.6,
             "n_above": 4, "n_places": 16, "n": 40, "chance": 0.5}  # fmt: skip
    sal = {
        "level": "low",
        "subject": "01",
        "decoder": "ridge",
        "n": 40,
        "explained": 0.3,
        "short": 1e-6,
    }
    planted = [
        {"level": "low", "subject": "01", "regions": {"back": 0.75}, "alike": {"pattern": 0.93}}
    ]
    return {"levels": ["low"], "subjects": ["01"], "ablation": ablation, "searchlight": [light],
            "greedy": greedy, "saliency": [sal], "planted": planted}  # fmt: skip


def where_arrays(n=16):
    rng = np.random.default_rng(1)
    turn, height = np.pi * (3 - np.sqrt(5)) * np.arange(n), 0.95 - np.arange(n) / n
    ring = np.sqrt(1 - height**2)
    spot = 0.1 * np.column_stack([ring * np.cos(turn), ring * np.sin(turn), height])
    maps = {"searchlight": (1, n), "planted": (1, n), "pattern": (1, n, 5), "saliency": (1, n, 5)}
    arrays = {f"01/{k}": rng.uniform(0, 1, shape).astype(np.float32) for k, shape in maps.items()}
    return arrays | {"01/channel_position": spot.astype(np.float32), "times": np.array(TIMES)}


def test_regions_maps_and_sensors_are_drawn(tmp_path):
    folder = write(tmp_path / "where-1", "where", where_data(), where_arrays())
    page = report_run(folder, quiet=True).read_text()
    for said in ("87.7\u202f%", "3 to 5", "75\u202f%", "A1, A2, A3, A4", "0.93", "low 4 of 16 above",
                 "Integrated gradients of the ridge decoder"):  # fmt: skip
        assert said in page, said
    assert page.count("data:image/png") == 4


def test_voxels_are_drawn_as_slices(tmp_path):
    arrays = where_arrays(27)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    arrays |= {"01/index": grid + 1, "01/shape": np.array([5, 5, 5]), "01/affine": np.eye(4)}
    folder = write(tmp_path / "where-1", "where", where_data(), arrays)
    page = report_run(folder, quiet=True).read_text()
    assert page.count('class="slices"') == 4


def test_few_known_positions_give_no_map(tmp_path):
    arrays = where_arrays()
    arrays["01/channel_position"][6:] = np.nan
    folder = write(tmp_path / "where-1", "where", where_data(), arrays)
    page = report_run(folder, quiet=True).read_text()
    assert "6 channels with a known position" in page
    assert "data:image/png" not in page


def amount_data():
    points = [
        {"n": n, "draws": 2, "scores": [score(0.6 + 0.01 * i)]}
        for i, n in enumerate((50, 100, 200, 400))
    ]
    fit = {"said": "If the curve went on.", "exponent": [0.512, 0.3, 0.7], "best": [0.8, 0.75, 0.9],
           "line": [0.6, 0.61, 0.62, 0.63],
           "further": [{"n": 800.0, "ratio": 2.0, "value": 0.6411, "low": 0.63, "high": 0.65, "chance": 0.5}]}  # fmt: skip
    flat = {"said": "No fit: the scores do not rise with the amount by more than chance would."}
    return {"curves": [
        {"level": "low", "of": "images", "words": "training images", "points": points, "fit": fit},
        {"level": "low", "of": "channels", "words": "channels", "points": points[:2], "fit": flat},
    ]}  # fmt: skip


def test_amounts_are_drawn_with_what_more_would_bring(tmp_path):
    folder = write(tmp_path / "amount-1", "amount", amount_data())
    page = report_run(folder, quiet=True).read_text()
    for said in ("0.51", "64.1\u202f%", "do not rise", "An extrapolation is no measurement"):
        assert said in page, said


def test_what_is_not_complete_is_not_there(tmp_path):
    write(tmp_path / "analyses" / "when-1", "when", when_data())
    write(tmp_path / "analyses" / ".where-1.partial", "where", where_data())
    (
        write(tmp_path / "analyses" / "amount-1", "amount", amount_data()) / "provenance.json"
    ).unlink()
    assert [one.kind for one in read_analyses(tmp_path)] == ["when"]


@pytest.mark.parametrize("damage", ["kind", "curves", "score", "json"])
def test_a_damaged_analysis_is_named(tmp_path, damage):
    folder = write(tmp_path / "when-1", "when", when_data())
    path = folder / "analysis.json"
    data = json.loads(path.read_text())
    if damage == "kind":
        data["kind"] = "why"
    elif damage == "curves":
        del data["curves"]
    elif damage == "score":
        data["curves"][0]["scores"][1][0]["value"] = None
    path.write_text("{" if damage == "json" else json.dumps(data))
    with pytest.raises(NeurovisError, match=r"analysis\.json"):
        report_run(folder, quiet=True)


def test_an_analysis_of_a_later_version_is_refused(tmp_path):
    folder = write(tmp_path / "when-1", "when", when_data())
    data = json.loads((folder / "analysis.json").read_text())
    (folder / "analysis.json").write_text(json.dumps({**data, "format_version": 99}))
    with pytest.raises(NeurovisError, match="update neurovis"):
        read_analysis(folder)
