"""The report: numbers of the run and no others, nothing injected, nothing loaded, nothing about where."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import h5py
import miniature_run as miniature
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.errors import NeurovisError
from neurovis.evaluate import evaluate_run
from neurovis.records import Score, Stimuli
from neurovis.report import report_run
from neurovis.report.headline import sentence
from neurovis.report.markup import el, share, text
from neurovis.report.material import Retrieved, read
from neurovis.report.pictures import examples, order
from neurovis.report.plots import tick_labels, ticks
from neurovis.report.scalp import flat
from neurovis.store import write_json

CONCEPTS = ["red fox", "tabby cat", "oak", "tulip", "tractor", "ferry", "hammer", "saw"]
CONCEPTS += ["pear", "plum", "kettle", "pan"]
FAMILIES = ["animal", "plant", "vehicle", "tool", "food", "kitchen"]
NASTY = "<script>alert(1)</script>"
ATTRIBUTE = '"><img src=x onerror=alert(1)>'
STYLE = "</style><style>*{display:none}</style>"
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "footer",
        "section",
        "nav",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "p",
        "b",
        "small",
        "span",
        "a",
        "br",
        "div",
        "figure",
        "figcaption",
        "details",
    ),
    *(
        "summary",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "dl",
        "dt",
        "dd",
        "pre",
        "code",
        "img",
    ),
    *("svg", "g", "line", "path", "polygon", "circle", "rect", "text"),
}


class Page(HTMLParser):
    """A page taken apart; fails on a tag that is not closed where it should be."""

    def __init__(self, source: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def make(folder: Path, **options) -> Path:
    """A run with everything that a run can hold."""
    subjects = options.get("subjects", ("01", "02"))
    concepts = options.pop("concepts", CONCEPTS)
    run = miniature.write_run(folder / "mini-0123456789ab", concepts, **options)
    ids = [f"{name.replace(' ', '_')}_000" for name in concepts]
    miniature.write_pictures(run, ids)
    miniature.write_evoked(run, subjects)
    miniature.write_log(run)
    place = {name: ["thing", FAMILIES[i // 2 % 6]] for i, name in enumerate(concepts)}
    write_json(run / "hierarchy.json", place)
    evaluate_run(run, quiet=True)
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def source(whole) -> str:
    return report_run(whole, quiet=True).read_text(encoding="utf-8")


@pytest.fixture
def run(whole, tmp_path) -> Path:
    """A copy of the run that a test may break."""
    return Path(
        shutil.copytree(whole, tmp_path / whole.name, ignore=shutil.ignore_patterns("*.html"))
    )


def page_of(run: Path) -> Page:
    return Page(report_run(run, quiet=True).read_text(encoding="utf-8"))


def test_well_formed_and_links_lead_somewhere(source):
    page = Page(source)
    assert set(page.tags) <= TAGS
    assert len(page.ids) == len(set(page.ids)) == 12
    links = [value for tag, name, value in page.attributes if tag == "a" and name == "href"]
    assert sorted(links) == sorted(f"#{i}" for i in page.ids)


def test_shows_every_score(whole, source):
    words = Page(source).text
    scores = json.loads((whole / "scores.json").read_text())
    for one in scores["scores"]:
        if one["about"]["subject"] != "all":
            continue
        percent = one["name"] not in ("median_rank", "relative_rank")
        digits, factor = (1, 100) if percent else (1 if one["name"] == "median_rank" else 3, 1)
        value, low, high, chance = (
            f"{factor * one[name]:.{digits}f}" for name in ("value", "low", "high", "chance")
        )
        unit = "\u202f%" if percent else ""
        assert f"{value}{unit}[{low}, {high}]" in words
        assert chance in words
    for one in scores["comparisons"]:
        if one["about"]["subject"] == "all" and one["name"] == "top1":
            low, high = (f"{100 * one[k]:.1f}".replace("-", "−") for k in ("low", "high"))
            assert f"[{low}, {high}]" in words


def test_headline_says_value_interval_chance_n_gallery_protocol(whole, source):
    words = " ".join(Page(source).text.split())
    head = json.loads((whole / "scores.json").read_text())["headline"]
    assert head == {
        "system": "tower", "target": "clip", "subject": "all", "n_averaged": 4, "metric": "top1"
    }  # fmt: skip
    assert re.search(r"The seen picture was found first among 12 in \d+ % of cases \(95 % interval \d+ to \d+ %; chance 8\.3 %\)", words)  # fmt: skip
    assert "mean of 4 trials of one person; n = 12 test images, 2 subjects" in words
    assert "Gallery: 12 test images (shown image). Protocol: clean." in words


def test_loads_nothing_and_tells_nothing_about_where(whole, source, tmp_path):
    rest = re.sub(r"base64,[A-Za-z0-9+/=]+", "base64", source)
    assert not re.search(r"//|@import|javascript:", rest)
    assert set(re.findall(r"url\((\w+:\w+/\w+)", source)) == {"data:image/jpeg"}
    assert source.count("url(") == source.count("url(data:image/jpeg;base64,")
    page = Page(source)
    assert "script" not in page.tags
    sources = [value for _, name, value in page.attributes if name in ("src", "href")]
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in sources)
    policy = next(v for t, n, v in page.attributes if n == "content" and "default-src" in v)
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert str(whole.parent) not in source
    assert "somebody" not in source
    assert "…/synthetic-0123456789ab" in page.text


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("path: /home/me/data/x-01", "path: …/x-01"),
        ("C:\\Users\\me\\x.h5 is damaged", "…/x.h5 is damaged"),
        ("['/a/b', '/c/d/e f/g']", "[&#x27;…/b&#x27;, &#x27;…/g&#x27;]"),
        ("1/f noise, and/or, 3 / 4, face/house_1", "1/f noise, and/or, 3 / 4, face/house_1"),
        ("OUT/prepared/x", "OUT/prepared/x"),
    ],
)
def test_folders_of_absolute_paths_are_left_out(given_, expected):
    assert text(given_) == expected


def test_nothing_is_injected(tmp_path):
    concepts = [NASTY, ATTRIBUTE, STYLE, "a&b", "plain", "{{7*7}}"]
    run = miniature.write_run(tmp_path / "r", concepts, ("01", NASTY), caption=NASTY)
    images = [f"{name.replace(' ', '_')}_000" for name in concepts]
    miniature.write_pictures(run, images[:3])
    miniature.write_evoked(run, ("01", "<b>02"))
    miniature.write_log(run, (f"tower{NASTY}",))
    write_json(
        run / "hierarchy.json", {name: [NASTY, f"{i}{NASTY}"] for i, name in enumerate(concepts)}
    )
    evaluate_run(run, quiet=True)
    config = f"name: '{NASTY}'\ndata:\n  path: 'x/{NASTY}-1'\nbrain:\n  name: '{ATTRIBUTE}'\n"
    (run / "config.yaml").write_text(config, encoding="utf-8")
    record = {
        "python": NASTY,
        "versions": {ATTRIBUTE: STYLE},
        "inputs": {NASTY: NASTY},
        "time": STYLE,
    }
    write_json(run / "provenance.json", record)
    scores = json.loads((run / "scores.json").read_text())
    scores["notes"] = [NASTY, STYLE]
    scores["interval"] = ATTRIBUTE
    write_json(run / "scores.json", scores)
    page = page_of(run)
    assert set(page.tags) <= TAGS
    assert page.tags.count("style") == 1
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert all(
        v.startswith("data:image/png") for t, n, v in page.attributes if t == "img" and n == "src"
    )
    assert NASTY in page.text
    assert STYLE in page.text


@given(st.text(alphabet=st.characters(exclude_characters="/\\\r\0", exclude_categories=["Cs"])))
def test_escaping_can_be_undone(words):
    page = Page(el("p", words, title=words))
    assert page.text == words
    assert page.attributes == [("p", "title", words)]
    assert page.tags == ["p"]


REMOVED = {
    "hierarchy.json": "confusion",
    "evoked.h5": "evoked",
    "log.csv": "training",
    "provenance.json": "versions",
}


@pytest.mark.parametrize("name", [*REMOVED, "pictures.h5", "per_item.h5", "config.yaml"])
def test_a_missing_part_is_left_out(run, name):
    (run / name).unlink()
    page = page_of(run)
    if name in REMOVED:
        # twelve concepts are few enough to be shown by themselves
        assert (REMOVED[name] in page.ids) == (name == "hierarchy.json")
    else:
        assert "pictures" in page.ids
        assert "The seen picture was found" in page.text


def test_without_limits_baseline_and_control(tmp_path):
    run = miniature.write_run(
        tmp_path / "r", CONCEPTS, ("01",), 1, strength={"tower": 2.0}, limits={}
    )
    evaluate_run(run, quiet=True)
    page = page_of(run)
    assert {"repeats", "subjects", "evoked", "training"}.isdisjoint(page.ids)
    assert "No limits are drawn" in page.text
    assert "no shuffled-label control" in page.text
    assert "no baseline or limit to compare with" in page.text
    assert "Informed observer" not in page.text


def test_chance_is_called_chance(tmp_path):
    run = miniature.write_run(tmp_path / "r", CONCEPTS, strength={"tower": 0.0, "shuffled": 0.0})
    evaluate_run(run, quiet=True)
    assert "The seen picture was not found beyond chance: found first" in page_of(run).text


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted),
    st.sampled_from(["top1", "auc", "2-way"]),
)
def test_headline_follows_the_interval(whole_material, numbers, metric):
    low, value, high = numbers
    chance = 0.5 if metric in ("auc", "2-way") else 1 / 12
    about = {"system": "tower", "target": "clip", "subject": "all", "n_averaged": 4}
    score = Score(value, 12, chance, low, high, [], "12", "clean", True, metric, about)
    head = {**whole_material.head, "headline": {**about, "metric": metric}}
    words = Page(sentence(replace(whole_material, scores=[score], head=head))).text
    says = any(w in words for w in ("not found beyond", "not told apart", "not beyond"))
    assert says == (low <= chance <= high)
    below = any(w in words for w in ("less often", "wrong way", "below chance"))
    assert below == (high < chance)
    assert ("small effect" in words) <= (low > chance)


@pytest.fixture(scope="module")
def whole_material(whole):
    return read(whole)


def test_a_failed_control_is_an_alarm(run):
    scores = json.loads((run / "scores.json").read_text())
    scores["control"]["at_chance"] = False
    write_json(run / "scores.json", scores)
    assert "control is not at chance" in page_of(run).text


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.floats(-1, 1), st.integers(0, 9)), min_size=1, max_size=40
    )
)
def test_order_and_examples(rows):
    rank = np.array([r for r, _, _ in rows], float)
    lead = np.array([x for _, x, _ in rows])
    image = np.array([f"i{i}" for _, _, i in rows])
    similarity = np.column_stack([lead, np.zeros(len(rows))])
    subject = np.full(len(rows), "01")
    found = Retrieved(image, subject, np.ones(len(rows), int), rank, image[:, None], similarity)
    rows_ = order(found)
    assert sorted(rows_.tolist()) == list(range(len(rows)))
    assert (np.diff(rank[rows_]) >= 0).all()
    first = lead[rows_][rank[rows_] == 0]
    assert (np.diff(first) <= 0).all()
    groups = examples(found, 3)
    assert rank[groups["Best"][0]] == rank.min()
    assert rank[groups["Worst"][0]] == rank.max()
    for some in groups.values():
        assert len(some) == min(3, len(set(image.tolist())))
        assert len({image[i] for i in some}) == len(some)


def test_seen_comes_first_and_the_right_one_is_ringed(whole, source):
    with h5py.File(whole / "per_item.h5") as file:
        best = file["tower/best"].asstr()[()]
        image = file["tower/image"].asstr()[()]
    shown = (best[:, :10] == image[:, None]).any(axis=1).sum()
    parts = re.findall(r'<details class="browse">.*?</details>', source, re.S)
    assert sum(part.count('class="hit"') for part in parts) == shown
    assert sum(part.count('class="seen"') for part in parts) == len(image)


def test_confusion_counts(whole, source):
    hierarchy = json.loads((whole / "hierarchy.json").read_text())
    with h5py.File(whole / "per_item.h5") as file:
        first = file["tower/best"].asstr()[:, 0]
        image = file["tower/image"].asstr()[()]
    family = lambda i: hierarchy[i.removesuffix("_000").replace("_", " ")][1]  # noqa: E731
    right = sum(family(a) == family(b) for a, b in zip(image, first))
    assert f"The right family in {right} of {len(image)} cases" in Page(source).text


def test_without_a_hierarchy_pictures_are_grouped_by_folder(run):
    (run / "hierarchy.json").unlink()
    stimuli = Stimuli.read(run / "stimuli.csv")
    paths = [(f"../{'ab'[i % 2]}/{path[0]}",) for i, path in enumerate(stimuli.path)]
    replace(stimuli, path=paths).write(run / "stimuli.csv")
    folder = {image: "ab"[i % 2] for i, image in enumerate(stimuli.image.tolist())}
    with h5py.File(run / "per_item.h5") as file:
        pairs = list(zip(file["tower/image"].asstr()[()], file["tower/best"].asstr()[:, 0]))
    right = sum(folder[seen] == folder[first] for seen, first in pairs)
    assert f"The right folder in {right} of {len(pairs)} cases" in page_of(run).text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0 %"), (0.0004, "0.04 %"), (0.005, "0.5 %"), (0.413, "41 %"), (1.0, "100 %")],
)
def test_share(value, shown):
    assert share(value) == shown.replace(" ", "\u202f")


def test_every_picture_once_and_small(whole, source):
    with h5py.File(whole / "pictures.h5") as file:
        total = sum(len(data) for data in file["jpeg"])
    assert source.count("url(data:") == len(CONCEPTS)
    assert len(source.encode()) < 1.4 * total + 400_000


def test_same_run_same_page(whole, source, tmp_path):
    again = report_run(whole, tmp_path / "sub" / "again.html", quiet=True)
    assert again.read_text(encoding="utf-8") == source


def test_categories(tmp_path):
    run = miniature.write_category_run(tmp_path / "faces")
    miniature.write_pictures(run, ["house", "face"])
    miniature.write_evoked(run, ("1",), n_chans=4)
    stages = tuple(f"{s}-0{i}" for s in ("tower", "shuffled") for i in range(1, 7))
    miniature.write_log(run, stages)
    evaluate_run(run, quiet=True)
    page = page_of(run)
    words = " ".join(page.text.split())
    assert "Single trials told face and house apart with an area under the curve of 0." in words
    assert "n = 720 test trials, 1 subject, 6 recordings" in words
    assert "Which picture of a category was shown is not known" in words
    assert "4 channels with a known position, 12 are needed" in words
    assert {"repeats", "subjects", "confusion"}.isdisjoint(page.ids)
    assert "hit" not in [value for _, name, value in page.attributes if name == "class"]


def test_values_of_recordings_are_shown_where_kept(tmp_path):
    run = miniature.write_category_run(tmp_path / "faces")
    evaluate_run(run, quiet=True)
    scores = json.loads((run / "scores.json").read_text())
    for i, one in enumerate(scores["scores"]):
        one["about"]["recordings"] = [f"1/ses-1_run-{k}" for k in range(1, 7)]
        one["per_item"] = [round(0.6 + 0.01 * i + 0.001 * k, 3) for k in range(6)]
    write_json(run / "scores.json", scores)
    words = page_of(run).text
    assert all(f"{value:.3f}" in words for value in scores["scores"][0]["per_item"])
    assert "ses-1_run-6" in words
    assert "1/ses-1_run-6" not in words


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("scores.json", None, "run neurovis evaluate"),
        ("scores.json", b'{"format": "neurovis-scores", "format_version": 1}', "scores"),
        ("scores.json", b"{", "not valid JSON"),
        ("pictures.h5", b"no", "HDF5"),
        ("config.yaml", b"a: [", "not valid YAML"),
        ("hierarchy.json", b'{"a": 3}', "superclass"),
    ],
)
def test_damaged_runs_are_refused_by_name(run, name, content, says):
    (run / name).unlink()
    if content is not None:
        (run / name).write_bytes(content)
    with pytest.raises(NeurovisError, match=says) as error:
        report_run(run, quiet=True)
    assert name in str(error.value)
    assert not (run / "report.html").exists()


def test_a_picture_that_is_no_jpeg_is_refused(run):
    with h5py.File(run / "pictures.h5", "r+") as file:
        file["jpeg"][0] = np.frombuffer(b"<svg onload=alert(1)>", np.uint8)
    with pytest.raises(NeurovisError, match="no JPEG"):
        report_run(run, quiet=True)


def test_no_folder(tmp_path):
    with pytest.raises(NeurovisError, match="no such folder"):
        report_run(tmp_path / "nowhere", quiet=True)


@given(st.floats(-1e4, 1e4), st.floats(1e-4, 1e4), st.integers(2, 9))
def test_ticks_are_even_inside_and_few(low, width, n):
    high = low + width
    found = ticks(low, high, n)
    step = np.diff(found)
    assert len(found) <= n + 1
    assert np.allclose(step, step[0] if len(step) else 0, rtol=1e-6)
    assert all(low - 1e-6 * width <= v <= high + 1e-6 * width for v in found)
    assert len(set(tick_labels(found))) == len(found)


def test_flat_keeps_distances_from_the_top():
    centre, radius = np.array([0.01, -0.02, 0.04]), 0.1
    angle = np.linspace(0, np.pi / 2, 5)
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    polar, azimuth = (a.ravel() for a in np.meshgrid(angle, turn))
    place = np.column_stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    )
    spot, edge = flat(centre + radius * place)
    assert edge == pytest.approx(radius * np.pi / 2)
    direction = np.column_stack([np.cos(azimuth), np.sin(azimuth)])
    assert np.allclose(spot, radius * polar[:, None] * direction, atol=1e-9)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_opens_in_a_browser_without_a_complaint(whole, source, tmp_path):
    page = report_run(whole, tmp_path / "page.html", quiet=True)
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "The seen picture was found first among 12" in done.stdout
    assert "CONSOLE" not in done.stderr
