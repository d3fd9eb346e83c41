"""The gallery: the right picture in the right place, an order by rule, nothing injected, nothing too large."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import h5py
import miniature_pictures as painted_
import miniature_run as miniature
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniature_pictures import METRIC, colour, write_reconstructions
from PIL import Image
from test_report import ATTRIBUTE, NASTY, STYLE, TAGS, Page, page_of

from neurovis.config import load_yaml, override
from neurovis.errors import NeurovisError
from neurovis.evaluate import evaluate_run
from neurovis.records import Stimuli
from neurovis.report import gallery as gallery_module
from neurovis.report import report_run
from neurovis.report.frames import SIDES, Frames, fitting_side, webp
from neurovis.report.material import read
from neurovis.report.painted import Painted, Painting, read_painted
from neurovis.report.ranking import ranking
from neurovis.store import read_json, write_json

CONCEPTS = ["red fox", "tabby cat", "oak", "tulip", "tractor", "ferry", "hammer", "saw"]
CONCEPTS += ["pear", "plum", "kettle", "pan"]
MORE = {"input", "label", "fieldset", "legend", "q", "h4"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A run without reconstructions."""
    run = miniature.write_run(tmp_path_factory.mktemp("gallery") / "mini-0123456789ab", CONCEPTS)
    place = {name: ["thing", "ab"[i % 2]] for i, name in enumerate(CONCEPTS)}
    write_json(run / "hierarchy.json", place)
    evaluate_run(run, quiet=True)
    return run


@pytest.fixture(scope="module")
def whole(bare, tmp_path_factory) -> Path:
    run = Path(shutil.copytree(bare, tmp_path_factory.mktemp("whole") / bare.name))
    write_reconstructions(run)
    return run


@pytest.fixture
def run(bare, tmp_path) -> Path:
    """A copy without reconstructions, which a test may add to and break."""
    return Path(shutil.copytree(bare, tmp_path / bare.name))


@pytest.fixture(scope="module")
def source(whole) -> str:
    return report_run(whole, quiet=True).read_text(encoding="utf-8")


def section(source: str) -> str:
    return source.split('<section id="gallery">')[1].split("</section>")[0]


def colours(source: str) -> dict[str, np.ndarray]:
    """Mean colour of every picture by its class."""
    found = {}
    for name, data in re.findall(
        r"\.(g\d+)\{background-image:url\(data:image/webp;base64,([^)]+)\)\}", source
    ):
        found[name] = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).mean((0, 1))
    return found


def is_like(seen: np.ndarray, wanted: np.ndarray) -> bool:
    # rows are 9 apart in green; what WebP loses is less
    return bool((np.abs(seen - wanted) < [15, 4.5, 25]).all())


# ---- structure ---------------------------------------------------------------------------------


def test_well_formed_first_and_without_a_script(source):
    page = Page(source.replace("<input ", "<br "))
    assert set(page.tags) <= TAGS | MORE
    assert len(page.ids) == len(set(page.ids))
    sections = re.findall(r'<section id="([\w-]+)"', source)
    assert sections[:3] == ["gallery", "painted-scores", "painting"]
    assert sections[3] == "pictures"
    links = re.findall(r'<a href="#([\w-]+)"', source)
    assert links == sections
    assert "<script" not in source
    assert page.tags.count("style") == 1
    policy = re.search(r'content="(default-src[^"]+)"', source).group(1)
    assert policy.startswith("default-src &#x27;none&#x27;; img-src data:;")
    assert "script-src" not in policy
    labelled = re.findall(r'<label for="([\w-]+)"', source)
    assert labelled == re.findall(r'<input type="radio" name="\w+" id="([\w-]+)"', source)
    assert len(re.findall(r"<input [^>]*checked", source)) == 3


def test_loads_nothing_and_tells_nothing_about_where(whole, source):
    rest = re.sub(r"base64,[A-Za-z0-9+/=]+", "base64", source)
    assert not re.search(r"//|@import|javascript:", rest)
    assert source.count("url(") == source.count("url(data:image/webp;base64,")
    assert str(whole.parent) not in source


def test_a_run_without_reconstructions_keeps_its_page(bare, source):
    page = report_run(bare, bare / "page.html", quiet=True).read_text(encoding="utf-8")
    assert "reconstruct" not in page
    assert ".paint{" not in page
    # what stands below the gallery is the same with and without it, but for the commands that paint
    cut = lambda text: text.split('<section id="pictures">')[1].split('id="reproduce"')[0]  # noqa: E731
    assert cut(page) == cut(source)


def test_same_run_same_page(whole, source, tmp_path):
    again = report_run(whole, tmp_path / "again.html", quiet=True)
    assert again.read_text(encoding="utf-8") == source


# ---- the right picture -------------------------------------------------------------------------


def test_every_test_image_of_every_subject_stands_with_its_pictures(whole, source):
    with h5py.File(whole / "reconstructions/world-89abcdef0123/pictures.h5") as file:
        agreement = file["brain/agreement"][()]
    stimuli = Stimuli.read(whole / "stimuli.csv")
    images = stimuli.image[stimuli.set == "test"].tolist()
    shade = colours(source)
    body = section(source).split('class="browse"')[1]
    for number in range(2):
        wall = body.split(f'class="who who-{number}"')[1].split('class="who ')[0]
        pairs = re.findall(r'<details class="pair.*?</details>', wall, re.S)
        assert len(pairs) == len(images)
        shown = []
        for pair in pairs:
            label = re.search(r'<span class="said"><b>([^<]+)', pair).group(1)
            place = images.index(label.replace(" ", "_") + "_000")
            row = number * len(images) + place
            shown.append(place)
            order = np.argsort(-agreement[row], kind="stable")
            names = re.findall(r'class="pic (g\d+)" role="img" aria-label="([^"]+)"', pair)
            wanted = [("seen", place, 0), ("brain", row, order[0])]  # of the pair
            wanted += [("seen", place, 0), *(("brain", row, s) for s in order)]
            wanted += [
                ("nearest", row, 0),
                ("ceiling", place, 0),
                ("floor", row, 0),
                ("low", row, 0),
            ]
            assert len(names) == len(wanted)
            for (class_, _), what in zip(names, wanted):
                assert is_like(shade[class_], colour(*what)), what
        assert sorted(shown) == list(range(len(images)))


def test_what_was_retrieved_is_named(whole, source):
    found = read(whole).retrieved
    body = section(source).split("<h3>Best</h3>")[1].split('class="browse"')[0]
    said = re.findall(
        r'class="seen">.*?<b>([^<]+)</b>subject\u00a0(\d+).*?retrieved: <b>([^<]+)</b>', body, re.S
    )
    assert len(said) == 9
    best = {
        (image.removesuffix("_000").replace("_", " "), subject): first.removesuffix("_000")
        for image, subject, first in zip(found.image, found.subject, found.best[:, 0])
    }
    for label, subject, first in said:
        assert best[label, subject].replace("_", " ") == first


def test_words_with_probabilities_and_captions(source):
    words = Page(section(source).replace("<input ", "<br ")).text
    assert "fox 62\u202f%saw 25\u202f%fox" in words
    assert 'style="--p:62%"' in source
    assert "<q>fox</q>" in source
    assert "painted from the shuffled control" in words


# ---- order -------------------------------------------------------------------------------------


def painted_of(value, agreement, n_images=6):
    n = len(value)
    image = np.array([f"i{k % n_images}" for k in range(n)])
    brain = Painting(
        image, np.full(n, "01"), np.full(n, 4), (n, 2, 4, 4, 3),
        agreement=None if agreement is None else np.array(agreement, float),
    )  # fmt: skip
    head = {"headline": {"metric": METRIC}}
    chief = None if value[0] is None else np.array(value, float)
    return Painted("x", Path("x"), {"brain": brain}, {}, head=head, chief=chief)


pairs = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(pairs, pairs), min_size=1, max_size=30))
def test_sorted_by_the_score_of_what_is_shown_first(whole_material, rows):
    value, agreement = [r[0] for r in rows], [r[1] for r in rows]
    painted = painted_of(value, agreement)
    ranked = ranking(painted, whole_material)
    assert sorted(ranked.rows) == list(range(len(rows)))
    first = [int(np.argmax(a)) for a in agreement]
    keys = [(-value[r][first[r]], -max(agreement[r]), r) for r in ranked.rows]
    assert keys == sorted(keys)
    groups = ranked.examples(3)
    assert groups["Best"][0] == ranked.rows[0]
    assert groups["Worst"][0] == ranked.rows[-1]
    for some in groups.values():
        images = [painted.brain.image[r] for r in some]
        assert len(set(images)) == len(images) == min(3, len(set(painted.brain.image.tolist())))
    assert METRIC in ranked.rule


@pytest.fixture(scope="module")
def whole_material(whole):
    return read(whole)


def test_without_scores_agreement_sorts_and_without_that_nothing(whole_material):
    agreement = [(0.1, 0.2), (0.9, 0.0), (0.3, 0.5)]
    ranked = ranking(painted_of([None] * 3, agreement), whole_material)
    assert ranked.rows == [1, 2, 0]
    assert "agreement" in ranked.rule
    ranked = ranking(painted_of([None] * 3, None), whole_material)
    assert ranked.rows == [0, 1, 2]
    assert ranked.value is None
    assert list(ranked.examples(3)) == ["Examples, evenly apart"]


def test_lower_is_better_turns_the_order(whole_material):
    painted = painted_of([(1, 1), (3, 3), (2, 2)], None)
    assert ranking(painted, whole_material).rows == [1, 2, 0]
    scores = [replace(s, higher_is_better=False) for s in whole_material.painted[0].scores]
    painted = replace(painted, scores=tuple(s for s in scores if s.name == METRIC))
    assert ranking(painted, whole_material).rows == [0, 2, 1]


def test_the_page_shows_that_order(whole, source):
    ranked = ranking(read_painted(whole)[0], read(whole))
    body = section(source).split("<h3>Best</h3>")[1].split('class="browse"')[0]
    said = re.findall(r'class="seen">.*?<b>([^<]+)</b>subject\u00a0(\d+)', body, re.S)
    brain = read_painted(whole)[0].brain
    rows = [r for some in ranked.examples(3).values() for r in some]
    label = lambda r: str(brain.image[r]).removesuffix("_000").replace("_", " ")  # noqa: E731
    assert said == [(label(r), str(brain.subject[r])) for r in rows]
    assert ranked.rule in Page(section(source).replace("<input ", "<br ")).text


def test_rows_of_the_most_trials_alone(run):
    write_reconstructions(run, n_averaged=(1, 4))
    brain = read_painted(run)[0].brain
    ranked = ranking(read_painted(run)[0], read(run))
    assert {int(brain.n_averaged[r]) for r in ranked.rows} == {4}
    assert len(ranked.rows) == len(brain.image) // 2


def test_a_row_is_found_for_its_subject_for_all_and_for_other_numbers():
    n = np.array([1, 4, 1])
    one = Painting(np.array(["a", "a", "b"]), np.array(["01", "01", "all"]), n, (3, 1, 4, 4, 3))
    assert one.find("a", "01", 4) == 1
    assert one.find("a", "01", 9) == 0
    assert one.find("b", "02", 4) == 2
    assert one.find("a", "02", 4) is None


# ---- scores and settings -----------------------------------------------------------------------


def test_shows_every_score_with_interval_and_chance(whole, source):
    scores = json.loads((whole / "reconstructions/world-89abcdef0123/scores.json").read_text())
    words = Page(source.replace("<input ", "<br ")).text
    for one in scores["scores"] + scores["comparisons"]:
        share = "-way" in one["name"]
        factor, digits, unit = (100, 1, "\u202f%") if share else (1, 3, "")
        say = lambda v: f"{factor * v:.{digits}f}".replace("-", "−")  # noqa: B023, E731
        sign = "+" if "comparison" in one["about"] else ""
        text = f"{sign}{say(one['value'])}{unit}[{say(one['low'])}, {say(one['high'])}]"
        if one["about"]["subject"] == "all" or one["about"]["system"] == "brain":
            if one["about"]["subject"] != "all" and "best" in one["about"]["choice"]:
                continue
            assert text in words, one
        assert say(one["chance"]) in words or "comparison" in one["about"]
    head = scores["headline"]
    chief = next(
        s for s in scores["scores"] if s["name"] == METRIC and s["about"]["system"] == "brain"
    )
    assert head["metric"] == METRIC
    assert f"better than another one in {100 * chief['value']:.0f}\u202f%" in words
    assert "The floor sits at chance." in words
    assert "one metric left out" in words


def test_levels_stand_apart(source):
    part = source.split('id="painted-scores"')[1].split("</section>")[0]
    summaries = re.findall(r"<summary>([^<]+)</summary>(.*?)</details>", part, re.S)
    tables = {title.partition(":")[0]: body for title, body in summaries}
    assert "pixcorr" in tables["Low-level"]
    assert "2-way" not in tables["Low-level"]
    assert METRIC in tables["High-level"]
    assert "correlation distance [world-kinds] ↓" in tables["High-level"]
    assert "frechet" in tables["Sets"]
    assert "Subject by subject" in tables


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.6, 0.7, "better than another one in"), (0.4, 0.7, "not beyond chance"), (0.3, 0.4, "below chance")],
)  # fmt: skip
def test_the_sentence_follows_the_interval(run, low, high, says):
    path = write_reconstructions(run) / "scores.json"
    data = json.loads(path.read_text())
    for one in data["scores"]:
        if one["name"] == METRIC:
            one |= {"value": (low + high) / 2, "low": low, "high": high}
    write_json(path, data)
    told = re.search(
        r'<p class="lede told">(.*?)</p>', report_run(run, quiet=True).read_text()
    ).group(1)
    assert says in told
    assert ("beyond" in told) == (low <= 0.5 <= high)


def test_a_floor_that_is_not_at_chance_is_an_alarm(run):
    path = write_reconstructions(run) / "scores.json"
    data = json.loads(path.read_text())
    data["control"]["at_chance"] = False
    write_json(path, data)
    assert "The floor is not at chance." in report_run(run, quiet=True).read_text()


def test_settings_gap_and_time(source):
    part = source.split('id="painting"')[1].split("</section>")[0]
    words = Page(part.removeprefix(">")).text
    assert "world (steps 20)" in words
    assert "Priordiffusion" in words
    assert "cosine0.310.78" in words
    # 24 rows of two samples, one of which each is painted in 12 s
    assert "Reconstructed: paint12.0 s250 ms4" in words
    assert "Ceiling: paint12.0 s1.00 s1" in words
    # the prior is the same for 48 + 24 + 12 + 24 pictures, and stands there once
    assert words.count("All: prior1.5 s13.9 ms72") == words.count("prior1.5") == 1
    assert "one picture alone: prior 2 ms, paint 1.20 s." in words
    assert "in two spaces" in words
    assert "Prior on validationpart sub-01, n_validation_images 165, explained 0.42" in words
    assert "LicenceBSD-3-Clause" in words
    assert "Baselinesnearest, floor" in words
    assert "61 s in all" in words


def test_the_commands_that_painted_are_told_and_mean_the_same(whole, source):
    code = source.split('id="reproduce"')[1].split("<code>")[1].split("</code>")[0]
    lines = [shlex.split(line) for line in html.unescape(code).split("\n")]
    painted = next(line for line in lines if line[1] == "generate")
    known = load_yaml((whole / "reconstructions" / read_painted(whole)[0].name) / "config.yaml")
    told = override({}, painted[3:])
    assert told == {k: v for k, v in known.items() if k in told}
    assert set(known) - set(told) <= {k for k, v in known.items() if v in (None, "", [])} | {
        "prepared",
        "embeddings",
    }
    assert ["neurovis", "evaluate"] in [line[:2] for line in lines]


def test_several_folders_the_newest_is_shown_and_all_are_scored(run):
    write_reconstructions(run, "first-000000000000")
    second = write_reconstructions(run, "second-111111111111", n_samples=1, seed=1)
    for name, when in (("first-000000000000", "2026-01-02"), ("second-111111111111", "2026-01-01")):
        path = run / "reconstructions" / name / "provenance.json"
        write_json(path, {**read_json(path), "time": f"{when}T00:00:00Z"})
    assert [one.name for one in read_painted(run)] == ["first-000000000000", "second-111111111111"]
    source = report_run(run, quiet=True).read_text(encoding="utf-8")
    assert "2 samples each" in section(source)
    part = source.split('id="painted-scores"')[1].split("</section>")[0]
    assert re.findall(r"<h3>([^<]+)</h3>", part) == ["first-000000000000", "second-111111111111"]
    # unfinished ones are not there
    (second / "provenance.json").unlink()
    shutil.copytree(second, run / "reconstructions" / ".third-222222222222.partial")
    assert [one.name for one in read_painted(run)] == ["first-000000000000"]


# ---- missing, hostile, damaged -----------------------------------------------------------------


def test_the_least_that_there_can_be(run):
    write_reconstructions(
        run, systems=("brain",), n_samples=1, extras=False, scores=False, subjects=("01",)
    )
    for name in ("per_item.h5", "hierarchy.json"):
        (run / name).unlink()
    source = report_run(run, quiet=True).read_text(encoding="utf-8")
    body = section(source)
    assert "No score sorts them" in body
    assert "as listed" in body
    assert 'class="rest"' not in body
    assert 'class="note"' not in body
    assert 'id="who-0"' not in body
    assert "were not scored" in source
    assert body.count('<details class="pair') == len(CONCEPTS)


@pytest.mark.parametrize("name", ["nearest", "ceiling", "floor"])
def test_a_missing_baseline_is_left_out(run, name):
    write_reconstructions(run, systems=tuple(s for s in painted_.SYSTEMS if s != name))
    source = report_run(run, quiet=True).read_text(encoding="utf-8")
    assert f"<dt>{name}</dt>" not in source
    assert all(f"<dt>{s}</dt>" in source for s in painted_.SYSTEMS[1:] if s != name)


def test_nothing_is_injected(tmp_path):
    concepts = [NASTY, ATTRIBUTE, STYLE, "a&b", "plain", "{{7*7}}"]
    run = miniature.write_run(tmp_path / "r", concepts, ("01", NASTY), caption=NASTY)
    write_json(
        run / "hierarchy.json", {c: [NASTY, STYLE * (i % 2)] for i, c in enumerate(concepts)}
    )
    evaluate_run(run, quiet=True)
    folder = write_reconstructions(run, NASTY.replace("/", ""), ("01", NASTY), words=ATTRIBUTE)
    config = f"generator:\n  name: '{NASTY}'\n  '{NASTY}': '{STYLE}'\n'{ATTRIBUTE}': '{NASTY}'\n"
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    data = json.loads((folder / "scores.json").read_text())
    data |= {"notes": [NASTY, STYLE], "interval": ATTRIBUTE, "versions": {NASTY: STYLE}}
    for one in data["scores"]:
        one |= {"name": one["name"] + NASTY, "gallery": STYLE, "protocol": ATTRIBUTE}
        one["about"] |= {
            "subject": {"02": NASTY}.get(one["about"]["subject"], one["about"]["subject"])
        }
    for key in ("headline", "control"):
        data[key]["metric"] += NASTY
    write_json(folder / "scores.json", data)
    with h5py.File(folder / "per_item.h5", "r+") as file:
        del file["brain/value"]
    with h5py.File(folder / "pictures.h5", "r+") as file:
        about = {"floor": NASTY, NASTY: STYLE, "gap": {NASTY: {ATTRIBUTE: 1.0}}}
        file.attrs["about"] = json.dumps(about)
        file["brain"].attrs["seconds"] = json.dumps({NASTY: 1.0, STYLE: "x"})
    source = report_run(run, quiet=True).read_text(encoding="utf-8")
    page = Page(source.replace("<input ", "<br "))
    assert set(page.tags) <= TAGS | MORE
    assert page.tags.count("style") == 1
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not [v for t, n, v in page.attributes if t == "img" and n == "src" and v[:5] != "data:"]
    style = source.split("<style>")[1].split("</style>")[0]
    assert "alert" not in style
    assert "<" not in style
    assert ATTRIBUTE in page.text
    assert NASTY in page.text


def break_dataset(name, change):
    def do(folder):
        with h5py.File(folder / "pictures.h5", "r+") as file:
            value = file[name][()]
            del file[name]
            if (value := change(value)) is not None:
                file[name] = value

    return do


def cut(name):
    def do(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 3])

    return do


def write(name, text):
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def attribute(name, value, group="/"):
    def do(folder):
        with h5py.File(folder / "pictures.h5", "r+") as file:
            file[group].attrs[name] = value

    return do


def headline_elsewhere(folder):
    data = json.loads((folder / "scores.json").read_text())
    data["headline"]["subject"] = "somebody"
    write_json(folder / "scores.json", data)


def other_rows(folder):
    with h5py.File(folder / "per_item.h5", "r+") as file:
        image = file["brain/image"][()][::-1]
        file["brain/image"][()] = image


DAMAGE = {
    "truncated": (cut("pictures.h5"), r"pictures.h5: expected an HDF5 file"),
    "no picture": (break_dataset("brain/picture", lambda v: None), "'brain/picture' is missing"),
    "float": (break_dataset("brain/picture", lambda v: v.astype("f4")), "uint8, found .* float32"),
    "fewer": (break_dataset("nearest/picture", lambda v: v[:3]), r"nearest: expected pictures \(row=24"),
    "no sample": (break_dataset("brain/picture", lambda v: v[:, 0]), "brain: expected pictures"),
    "text": (break_dataset("brain/picture", lambda v: "hello"), "damaged file"),
    "columns": (break_dataset("floor/n_averaged", lambda v: v[:2]), "floor: expected pictures"),
    "nan": (break_dataset("brain/agreement", lambda v: v * np.nan), "brain/agreement: expected finite"),
    "words": (break_dataset("brain/probability", lambda v: v[:, :1]), "probability: expected finite"),
    "low": (break_dataset("brain/low", lambda v: v[:, :, :, :1]), "brain/low: expected"),
    "not seen": (break_dataset("seen/picture", lambda v: v[:2]), "seen: expected one picture"),
    "about": (attribute("about", "[1"), "'about' is no JSON object"),
    "seconds": (attribute("seconds", "3", "brain"), "'seconds' is no JSON object"),
    "scores": (write("scores.json", "{"), "not valid JSON"),
    "no scores": (write("scores.json", '{"format": "neurovis-scores", "format_version": 1}'), "'scores'"),
    "headline": (headline_elsewhere, "headline names a score that is not in it"),
    "items": (other_rows, "per_item.h5: expected a finite value"),
    "config": (write("config.yaml", "a: ["), "config.yaml: not valid YAML"),
    "provenance": (write("provenance.json", "{"), "provenance.json: not valid JSON"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_folders_are_refused_by_name(run, kind):
    spoil, says = DAMAGE[kind]
    spoil(write_reconstructions(run))
    with pytest.raises(NeurovisError, match=says) as error:
        report_run(run, quiet=True)
    assert "world-89abcdef0123" in str(error.value)
    assert not (run / "report.html").exists()


def test_without_the_brain_there_is_nothing_to_show(run):
    write_reconstructions(run, systems=("nearest",), scores=False)
    with pytest.raises(NeurovisError, match="expected pictures of system 'brain', found none"):
        report_run(run, quiet=True)


def test_an_image_that_nobody_saw_is_named(run):
    folder = write_reconstructions(run)
    with h5py.File(folder / "pictures.h5", "r+") as file:
        file["brain/image"][0] = "unicorn_000"
    with pytest.raises(
        NeurovisError, match="'unicorn_000' was painted and is not among those seen"
    ):
        report_run(run, quiet=True)


def test_a_picture_that_cannot_be_read_is_named(run):
    folder = write_reconstructions(run)
    with h5py.File(folder / "pictures.h5", "r+") as file:
        value = file["floor/picture"][()]
        del file["floor/picture"]
        item = file["floor"].create_dataset(
            "picture", data=value, chunks=(1, *value.shape[1:]), compression="gzip"
        )
        item.id.write_direct_chunk((0, 0, 0, 0, 0), b"no gzip")  # fmt: skip
    with pytest.raises(NeurovisError, match="floor/picture cannot be read"):
        report_run(run, quiet=True)


# ---- size --------------------------------------------------------------------------------------


def test_pictures_are_shrunk_and_never_enlarged():
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 255, (40, 100, 3), np.uint8)
    assert Image.open(io.BytesIO(webp(wide, 50))).size == (50, 20)
    assert Image.open(io.BytesIO(webp(wide, 500))).size == (100, 40)


def test_the_side_fits_the_budget():
    rng = np.random.default_rng(0)
    samples = [rng.integers(0, 255, (512, 512, 3), np.uint8) for _ in range(3)]
    sizes = {s: np.mean([len(webp(p, s)) for p in samples]) * 4 / 3 + 90 for s in SIDES}
    for budget in (1e9, 100 * sizes[128], 100 * sizes[96] - 1, 0):
        side = fitting_side(samples, 100, budget)
        larger = [s for s in SIDES if s > side]
        assert all(100 * sizes[s] > budget for s in larger)
        assert 100 * sizes[side] <= budget or side == SIDES[-1]
    small = [p[:20, :24] for p in samples]
    assert fitting_side(small, 10, 10**9) == 24


def test_what_looks_the_same_is_stored_once():
    frames = Frames()
    grey = np.full((4, 4, 3), 100, np.uint8)
    one, two = frames(grey, 64, "a"), frames(grey.copy(), 64, "b")
    assert re.findall(r"g\d+", one) == re.findall(r"g\d+", two)
    assert frames.css().count("url(") == 1
    assert abs(frames.size - len(frames.css()) - len(one)) < 120


def test_beyond_the_budget_pairs_stay_and_the_page_says_so(run, monkeypatch):
    folder = write_reconstructions(run)
    rng = np.random.default_rng(0)
    with h5py.File(folder / "pictures.h5", "r+") as file:
        for name in ("brain", "nearest", "floor", "ceiling"):
            shape = (*file[name]["picture"].shape[:2], 200, 200, 3)
            del file[name]["picture"]
            file[name]["picture"] = rng.integers(0, 255, shape, np.uint8)
    monkeypatch.setattr(gallery_module, "BUDGET", 100_000)
    source = report_run(run, quiet=True).read_text(encoding="utf-8")
    body = section(source)
    assert body.count('class="two"') == 24
    left = int(re.search(r"Pairs after the first (\d+) show no more", body).group(1))
    assert 0 < body.count('<details class="pair') == left < 24
    assert sum(map(len, re.findall(r"base64,([^)]+)\)", source))) < 450_000


def test_more_rows_than_pairs_are_counted(run, monkeypatch):
    write_reconstructions(run)
    monkeypatch.setattr(gallery_module, "PAIRS", 10)
    body = section(report_run(run, quiet=True).read_text(encoding="utf-8"))
    assert body.count('class="two"') == 10
    assert "14 more rows not shown" in body


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_opens_in_a_browser_without_a_complaint(whole, tmp_path):
    page = report_run(whole, tmp_path / "page.html", quiet=True)
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "Seen, retrieved, reconstructed" in done.stdout
    assert "CONSOLE" not in done.stderr


def test_categories_have_reasons_instead_of_coverage(tmp_path):
    run = miniature.write_category_run(tmp_path / "faces")
    evaluate_run(run, quiet=True)
    page = page_of(run)
    assert "coverage" in page.ids
    assert "There is no one answer per trial" in page.text
