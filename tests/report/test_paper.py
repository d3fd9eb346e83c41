"""Figures and tables for a paper: numbers that come back, LaTeX that parses, the same bytes every time."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import time
from pathlib import Path

import h5py
import miniature_run as miniature
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniature_pictures import METRIC, write_reconstructions
from test_report import ATTRIBUTE, NASTY

from neurovis.cli import main
from neurovis.errors import NeurovisError
from neurovis.evaluate import evaluate_run
from neurovis.report.paper import SPECIAL, paper, tex
from neurovis.store import write_json

CONCEPTS = ["red fox", "tabby cat", "oak", "tulip", "tractor", "ferry"]
BACK = {v: k for k, v in SPECIAL.items()}
TOKEN = re.compile(r"\\[a-zA-Z]+(?:\{\})?|\$[^$]*\$|\\.|''|.", re.S)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    run = miniature.write_run(tmp_path_factory.mktemp("paper") / "mini-0123456789ab", CONCEPTS)
    evaluate_run(run, quiet=True)
    write_reconstructions(run)
    return run


@pytest.fixture(scope="module")
def written(whole, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "figures"
    paper(whole, folder, quiet=True)
    return folder


@pytest.fixture
def run(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def rows_of(tabular: str) -> list[list[str]]:
    """Cells of a tabular; fails on braces, dollars or environments that do not close."""
    depth, rows, cells, cell = 0, [], [], ""
    for token in TOKEN.findall(re.sub(r"(?<!\\)%.*", "", tabular)):
        if token == r"\\" and depth == 0:
            rows.append([*cells, cell])
            cells, cell = [], ""
            continue
        if token == "&" and depth == 0:
            cells.append(cell)
            cell = ""
            continue
        depth += (token == "{") - (token == "}")
        assert depth >= 0
        assert token not in ("$", "#"), tabular
        assert token not in ("^", "_"), tabular
        cell += token
    assert depth == 0
    assert re.fullmatch(r"\s*(\\bottomrule)?\s*", cell), cell
    return [[re.sub(r"\\(top|mid|bottom)rule", "", c).strip() for c in row] for row in rows]


def tabular_of(path: Path) -> tuple[str, list[list[str]]]:
    text = path.read_text(encoding="utf-8")
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert opened == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", text) == opened[::-1]
    found = re.search(r"\\begin\{tabular\}\{(lr*)\}(.*)\\end\{tabular\}", text, re.S)
    rows = rows_of(found.group(2))
    for row in rows:
        spans = [int(n) for cell in row for n in re.findall(r"^\\multicolumn\{(\d+)\}", cell)]
        assert len(row) - len(spans) + sum(spans) == len(found.group(1)), row
    return re.search(r"\\caption\{(.*)\}\n\\label", text, re.S).group(1), rows


def plain(text: str) -> str:
    """Words of LaTeX that `tex` made."""
    return "".join(BACK.get(token, token) for token in TOKEN.findall(text))


def test_writes_what_there_is(whole, written):
    names = sorted(path.name for path in written.iterdir())
    assert names == ["gallery.pdf", "reconstruction.csv", "reconstruction.tex", "repeats.pdf",
                     "retrieval.csv", "retrieval.tex"]  # fmt: skip


def test_without_reconstructions_and_repeats(tmp_path):
    run = miniature.write_category_run(tmp_path / "faces")
    evaluate_run(run, quiet=True)
    files = paper(run, tmp_path / "out", quiet=True)
    assert [path.name for path in files] == ["retrieval.csv", "retrieval.tex"]
    caption, rows = tabular_of(tmp_path / "out" / "retrieval.tex")
    assert "single trials" in caption
    assert rows[1][0] == "Area under the curve"


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


@pytest.mark.parametrize("kind", ["retrieval", "reconstruction"])
def test_csv_comes_back_exactly(whole, written, kind):
    path = whole if kind == "retrieval" else whole / "reconstructions/world-89abcdef0123"
    data = json.loads((path / "scores.json").read_text())
    scores = data["scores"] + data["comparisons"]
    found = read_csv(written / f"{kind}.csv")
    assert len(found) == len(scores)
    for row, one in zip(found, scores):
        for name in ("value", "low", "high", "chance"):
            assert float(row[name]) == one[name]
        assert int(row["n"]) == one["n"]
        assert row["metric"] == one["name"]
        assert (row["higher_is_better"] == "True") == one["higher_is_better"]
        for name in ("system", "subject", "comparison", "choice"):
            assert row[name] == str(one["about"].get(name, ""))
        assert row["gallery"] == one["gallery"]
        assert row["protocol"] == one["protocol"]


def test_the_retrieval_table_holds_the_headline(whole, written):
    head = json.loads((whole / "scores.json").read_text())
    caption, rows = tabular_of(written / "retrieval.tex")
    assert "means of 4 trials of one person; n = 6." in caption
    assert "Protocol: clean." in caption
    systems = rows[0][2:]
    assert systems == ["Optimal observer", "Informed observer", "Tower", "Ridge", "Shuffled labels"]
    one = next(s for s in head["scores"] if s["name"] == "top1" and s["about"]["system"] == "tower"
               and s["about"]["subject"] == "all" and s["about"]["n_averaged"] == 4)  # fmt: skip
    row = next(row for row in rows if row[0] == r"Top-1 (\%)")
    assert row[1] == f"{100 * one['chance']:.1f}"
    low, high = (f"{100 * one[k]:.1f}" for k in ("low", "high"))
    assert row[4] == f"{100 * one['value']:.1f} {{\\scriptsize[{low}, {high}]}}"


def test_the_reconstruction_table_keeps_levels_apart(whole, written):
    caption, rows = tabular_of(written / "reconstruction.tex")
    assert "Reconstructions by world; n = 6." in caption
    assert rows[0][2:] == [
        "Reconstructed", "Nearest training picture", "Ceiling", "Floor", "Rough picture"
    ]  # fmt: skip
    titles = [i for i, row in enumerate(rows) if "multicolumn" in row[0]]
    assert [rows[i][0].partition("{\\emph{")[2][:4] for i in titles] == ["Low-", "High", "Sets"]
    names = [plain(row[0]) for row in rows]
    assert titles[0] < names.index("pixcorr") < titles[1] < names.index(f"{METRIC} (%)")
    assert titles[2] < names.index("frechet [world-kinds] ↓")


words = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/:'"), max_size=30
)


@settings(max_examples=150, deadline=None)
@given(words)
def test_text_for_latex_comes_back(text):
    assert plain(tex(text).removeprefix("{}") if text[:1] in ("[", "*") else tex(text)) == text
    assert rows_of(f"a & {tex(text)} \\\\")[0][0] == "a"


def test_control_characters_and_paths_do_not_reach_latex():
    assert tex("a\n\x00b") == "a b"
    assert tex("in /home/me/data/x_1") == r"in \dots{}/x\_1"
    assert tex("[2] & 3") == r"{}[2] \& 3"


def test_hostile_names(run, tmp_path):
    evil = r"\input{/etc/passwd}$x_1^2$ & 50% #1 ~ {"
    folder = run / "reconstructions/world-89abcdef0123"
    data = json.loads((folder / "scores.json").read_text())
    for one in data["scores"]:
        one |= {"name": one["name"] + evil, "gallery": evil + NASTY, "protocol": evil}
    data["interval"] = evil
    data["headline"]["metric"] += evil
    write_json(folder / "scores.json", data)
    with h5py.File(folder / "per_item.h5", "r+") as file:
        del file["brain/value"]
    (folder / "config.yaml").write_text(f"generator: '{ATTRIBUTE}{evil}'\n", encoding="utf-8")
    paper(run, tmp_path / "out", quiet=True)
    caption, rows = tabular_of(tmp_path / "out" / "reconstruction.tex")
    assert r"\input" not in (tmp_path / "out" / "reconstruction.tex").read_text()
    assert "$x_1^2$ & 50% #1 ~ {" in plain(caption)
    assert all(len(row) == 7 for row in rows if "multicolumn" not in row[0])
    assert read_csv(tmp_path / "out" / "reconstruction.csv")[0]["metric"] == "pixcorr" + evil


def test_concepts_of_signs_are_drawn_as_they_are(tmp_path):
    run = miniature.write_run(tmp_path / "r", ["$x$", "a_b^c", "{", "\\frac", "50%", "a$b"])
    evaluate_run(run, quiet=True)
    write_reconstructions(run, scores=False)
    files = [path.name for path in paper(run, tmp_path / "out", quiet=True)]
    assert "gallery.pdf" in files
    assert "reconstruction.tex" not in files


def test_the_same_bytes_whenever_they_are_made(whole, written, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    paper(whole, tmp_path / "again", quiet=True)
    for path in written.iterdir():
        data = path.read_bytes()
        assert (tmp_path / "again" / path.name).read_bytes() == data, path.name
        assert str(whole.parent).encode() not in data
        if path.suffix == ".pdf":
            assert data.startswith(b"%PDF-1")
            assert b"Date" not in data


def test_the_gallery_has_every_picture(written):
    data = (written / "gallery.pdf").read_bytes()
    # best, median and worst, four each: seen, reconstructed, nearest and ceiling
    assert data.count(b"/Subtype /Image") == 12 * 4


def test_the_command_writes_both(run, tmp_path, capsys):
    folder = tmp_path / "figures"
    assert main(["report", str(run), "--paper", str(folder), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "report.html" in said
    assert "retrieval.tex" in said
    assert (folder / "gallery.pdf").is_file()


def test_nothing_is_written_of_a_damaged_run(run, tmp_path):
    (run / "reconstructions/world-89abcdef0123/pictures.h5").write_bytes(b"no")
    with pytest.raises(NeurovisError, match=r"pictures\.h5"):
        paper(run, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_pictures_of_many_pixels_are_shrunk(run, tmp_path):
    path = run / "reconstructions/world-89abcdef0123/pictures.h5"
    with h5py.File(path, "r+") as file:
        shape = (*file["brain/picture"].shape[:2], 600, 600, 3)
        del file["brain/picture"]
        file["brain"].create_dataset("picture", shape=shape, dtype=np.uint8, fillvalue=9)
    paper(run, tmp_path / "out", quiet=True)
    data = (tmp_path / "out" / "gallery.pdf").read_bytes()
    assert data.count(b"/Width 256") == 12
    assert b"/Width 600" not in data
