"""The page of encoding models: which features explain which voxels or sensors, and how surely.

Comes in: the folder that ``neurovis encode`` wrote. Goes out: one self-contained page. All numbers come from
``encoding.json`` and ``sub-*/encoding.h5``; nothing is computed here but the place of marks and colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurovis import __version__
from neurovis.progress import progress
from neurovis.records import Score
from neurovis.report import synthesis
from neurovis.report.encoding_maps import maps, topographies
from neurovis.report.headline import metric_name
from neurovis.report.markup import THIN, Markup, count, el, number, percent, plural
from neurovis.report.plots import Mark, Series, curves, dots, marker
from neurovis.report.sections import cell as identified_cell
from neurovis.report.sections import table
from neurovis.report.style import CSS
from neurovis.store import read_json

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CLASSES = ("s-tower", "s-ridge", "s-informed-observer", "s-optimal-observer", "s-other")
MOST_GROUPS = 24
FEW_GROUPS = 6
"""Groups whose table has room for a third digit."""
MEASURE = {
    "pearson": "correlation with measured responses",
    "pearson_normalised": "correlation over that of a perfect model",
    "r2": "share of variance explained",
    "r2_normalised": "share of explainable variance explained",
}


@dataclass(frozen=True)
class Encoded:
    """An encoding artefact, ready to be drawn.

    Parameters
    ----------
    folder : Path
    head : dict
        ``encoding.json``.
    scores, comparisons, identified : list of Score
    """

    folder: Path
    head: dict[str, Any]
    scores: list[Score]
    comparisons: list[Score]
    identified: list[Score]

    @classmethod
    def read(cls, folder: str | Path) -> Encoded:
        """Read what ``neurovis encode`` wrote."""
        folder = Path(folder)
        head = read_json(folder / "encoding.json", "neurovis-encoding")
        some = [[Score.from_dict(one) for one in head[k]] for k in ("scores", "comparisons", "identified")]  # fmt: skip
        return cls(folder, head, *some)

    @property
    def who(self) -> str:
        """Whose scores stand at the top: the mean of all, or the only subject."""
        return "all" if len(self.head["subjects"]) > 1 else self.head["subjects"][0]

    @property
    def measure(self) -> str:
        """What is shown first: normalised where ceilings are known."""
        return "pearson_normalised" if any(s.name == "pearson_normalised" for s in self.scores) else "pearson"  # fmt: skip

    def select(self, measure: str, subject: str) -> dict[tuple[str, str], Score]:
        """Scores by system and group."""
        return {
            (s.about["system"], s.about["group"]): s
            for s in self.scores
            if s.name == measure and s.about["subject"] == subject
        }

    def named(self, system: str) -> str:
        """A system for readers; the readout goes without saying where there is one alone."""
        one = next(s for s in self.head["systems"] if s["name"] == system)
        what = " + ".join(one["families"])
        several = len({s["readout"] for s in self.head["systems"]}) > 1
        what = f"{what} ({one['readout']})" if several else what
        return f"{what}, shuffled images" if one["shuffled"] else what


def page(folder: str | Path, quiet: bool = False) -> str:
    """The page of an encoding artefact."""
    one = Encoded.read(folder)
    sections: Sequence[tuple[str, str, Callable[[Encoded], Markup | None]]] = (
        ("regions", "Which features, where", by_group),
        ("best", "The best family", best),
        ("maps", "Maps", maps),
        ("time", "Over time", over_time),
        ("topographies", "Over the sensors", topographies),
        ("partition", "What families share", partition),
        ("readouts", "Readouts and families compared", compared),
        ("fields", "Receptive fields", fields),
        ("ceilings", "Noise ceilings", ceilings),
        ("identification", "Decoding through encoding", identification),
        ("synthesis", "Pictures that should drive a region", synthesis.synthesis),
        ("expected", "What the paper expects", expected),
        ("notes", "Left out, and why", notes),
        ("reproduce", "How it was made", made),
    )
    parts = []
    for key, title, make in progress(sections, desc="report", quiet=quiet, unit="part"):
        body = make(one)
        if body:
            parts.append((key, title, body))
    links = el("nav", [el("a", t, href=f"#{k}") for k, t, _ in parts], aria_label="Contents")
    top = el("header", el("p", f"neurovis encoding · {one.head['name']}", class_="eyebrow"),
             headline(one), control(one), links)  # fmt: skip
    body = [el("section", el("h2", title), part, id=key) for key, title, part in parts]
    foot = el("footer", el("p", f"Made by neurovis {__version__} from {one.folder.name}. This page loads "
                           "nothing from anywhere."))  # fmt: skip
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"neurovis encoding: {one.head['name']}"),
        el("style", Markup(CSS)),
    )
    return (
        f"<!doctype html>\n{el('html', head, el('body', top, el('main', body), foot), lang='en')}\n"
    )


def value(score: Score, name: str = "value", digits: int = 3) -> str:
    """A score with so many decimals."""
    return decimals(getattr(score, name), digits)


def decimals(shown: float, digits: int = 3) -> str:
    """A number with so many decimals and a true minus sign; none before zero."""
    text = f"{shown:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def span(score: Score, digits: int = 3) -> str:
    """Its interval."""
    return f"[{value(score, 'low', digits)}, {value(score, 'high', digits)}]"


def cell(score: Score | None, digits: int = 3) -> Markup | str:
    """A value over its interval."""
    if score is None:
        return "–"
    return Markup(el("span", value(score, digits=digits)) + el("small", span(score, digits)))


def headline(one: Encoded) -> Markup:
    """What predicts best over all scored targets, with what it rests on."""
    found = one.select(one.measure, one.who)
    real = {s["name"] for s in one.head["systems"] if not s["shuffled"]}
    scores = [s for (name, group), s in found.items() if group == "all" and name in real]
    if not scores:
        return el("h1", "No target was scored: see what was left out, and why.")
    top = max(scores, key=lambda s: s.value)
    words = MEASURE[one.measure]
    sentence = el(
        "h1", f"{one.named(top.about['system'])} predicts responses best: ", el("b", value(top)),
        el("span", f" {words}; 95{THIN}% interval {value(top, 'low')} to {value(top, 'high')}; chance 0",
           class_="aside"),
    )  # fmt: skip
    unit = "voxels" if one.head["modality"] == "fmri" else "sensors at times"
    text = f"The largest of {len(scores)} models, so it is a little flattered. Mean over "
    text += f"{count(top.about['n_targets'])} {unit}, n\u00a0=\u00a0{count(top.n)} test images, "
    shown = top.gallery.removeprefix("no gallery: ")
    text += f"{plural(len(one.head['subjects']), 'subject')}; {shown}. Protocol: {top.protocol}."
    said = [text]
    if one.measure.endswith("normalised"):
        said.append(f" Normalised by the noise ceiling {one.head['ceiling']}.")
    return Markup(sentence + el("p", *said, class_="lede"))


def control(one: Encoded) -> Markup | None:
    """The model of shuffled images."""
    found = one.head["control"]
    if not found:
        return None
    rows = "; ".join(
        f"subject {r['subject']}: {r['value']:.3f} [{r['low']:.3f}, {r['high']:.3f}]" for r in found["subjects"]
    ).replace("-", "−")  # fmt: skip
    if found["at_chance"]:
        return el(
            "p",
            f"Control: a model of shuffled images stays at chance (mean correlation, {rows}).",
            class_="verdict",
        )
    return el("p", f"Control: a model of shuffled images is NOT at chance (mean correlation, {rows}): look for a leak.",
              class_="verdict bad")  # fmt: skip


def _styles(one: Encoded) -> dict[str, str]:
    """A colour and marker for each system."""
    names = [s["name"] for s in one.head["systems"] if not s["shuffled"]]
    styles = {name: CLASSES[i % len(CLASSES)] for i, name in enumerate(names)}
    return styles | {s["name"]: "s-shuffled" for s in one.head["systems"] if s["shuffled"]}


def _legend(one: Encoded, systems: Sequence[str], styles: dict[str, str]) -> Markup:
    parts = [
        el("span", el("svg", marker(7, 7, styles[s], 4.2), viewBox="0 0 14 14", aria_hidden="true"),
           one.named(s))
        for s in systems
    ]  # fmt: skip
    return el("p", parts, class_="legend")


def _alone(one: Encoded) -> list[str]:
    """Systems of one family each, the control left out."""
    return [s["name"] for s in one.head["systems"] if len(s["families"]) == 1 and not s["shuffled"]]


def by_group(one: Encoded) -> Markup | None:
    """Systems by region, in a chart and a table; other subjects folded away."""
    styles, parts = _styles(one), []
    for subject in dict.fromkeys([one.who, *one.head["subjects"]]):
        found = one.select(one.measure, subject)
        groups = list(dict.fromkeys(group for _, group in found))[: MOST_GROUPS + 1]
        if not groups:
            continue
        shown = _alone(one)[: len(CLASSES)]
        lines = [
            (g, [_mark(found[s, g], styles[s]) for s in shown if (s, g) in found]) for g in groups
        ]
        label = f"{MEASURE[one.measure]}, by region and family"
        chart = dots(lines, label, 0.0, "", caption=MEASURE[one.measure].capitalize())
        names = [s["name"] for s in one.head["systems"]]
        digits = 3 if len(groups) <= FEW_GROUPS else 2
        rows = [
            [
                el("span", one.named(s), class_="wrap"),
                *(cell(found.get((s, g)), digits) for g in groups),
            ]
            for s in names
        ]
        body = Markup(
            _legend(one, shown, styles)
            + el("div", chart, class_="charts")
            + table(["Model", *groups], rows)
        )
        if subject == one.who:
            parts.append(body)
        else:
            parts.append(el("details", el("summary", f"Subject {subject}"), body))
    return Markup("".join(parts)) if parts else None


def _mark(score: Score, style: str) -> Mark:
    return Mark(style, score.value, score.low, score.high, f"{value(score)} {span(score)}")


CHOSEN = {
    "evidence": "Share of scored targets that each family explains best: under it their responses to the "
    "images that were learned from are likeliest (marginal likelihood, doi:10.1162/neco.1992.4.3.415). Sure: the median probability of "
    "the winner, if all families are as likely before.",
    "test": "Share of scored targets whose test responses each family alone predicts best. Sure: the median "
    "share of bootstrap draws of test images in which the winner stays the same.",
}


def best(one: Encoded) -> Markup | None:
    """Share of targets that each family predicts best."""
    parts = []
    for subject in one.head["subjects"]:
        for readout, groups in one.head["summary"][subject]["best"].items():
            families = list(next(iter(groups.values()))["share"])
            rows = [
                [g, count(v["n"]), *(percent(v["share"][f], 0) for f in families), percent(v["sure"], 0)]
                for g, v in groups.items()
            ]  # fmt: skip
            by = CHOSEN[next(iter(groups.values())).get("by", "test")]
            parts.append(el("h3", f"Subject {subject}, {readout}"))
            parts.append(table(["Group", "Scored", *families, "Sure"], rows))
            parts.append(el("p", by, class_="small"))
    if not parts:
        return None
    return Markup("".join(parts))


def over_time(one: Encoded) -> Markup | None:
    """Mean correlation over sensors at each time."""
    if one.head["n_times"] < 2:
        return None
    from neurovis.report.encoding_maps import arrays

    styles, parts = _styles(one), []
    shown = [*_alone(one)[: len(CLASSES) - 1]]
    shown += [s["name"] for s in one.head["systems"] if s["shuffled"]]
    for subject in one.head["subjects"]:
        found = arrays(one.folder, subject)
        lines = []
        for system in shown:
            curve = found(f"systems/{system}/time")
            if curve is not None:
                x = (1000 * found("times")).tolist()
                lines.append(Series(styles[system], x, *curve.tolist(), markers=False))
        if lines:
            title = f"Subject {subject}: mean correlation over sensors"
            parts.append(curves(lines, title, "ms after picture onset", title, 0.0, zero=False))
    if not parts:
        return None
    note = el("p", f"Bands: 95{THIN}% intervals over test images. All sensors that vary, not normalised.",
              class_="small")  # fmt: skip
    return Markup(_legend(one, shown, styles) + el("div", parts, class_="charts") + note)


def partition(one: Encoded) -> Markup | None:
    """What each family explains alone, and what they share."""
    parts = []
    for subject in one.head["subjects"]:
        for readout, groups in one.head["summary"][subject]["partition"].items():
            cells = list(next(iter(groups.values())))
            rows = [[g, *(decimals(v[c]) for c in cells)] for g, v in groups.items()]
            parts.append(el("h3", f"Subject {subject}, {readout}"))
            parts.append(table(["Group", *cells], rows))
    if not parts:
        return None
    words = "Mean R² over scored targets, on test images: what a family explains that no other does, and "
    words += "what families joined by & explain alike. Parts may be negative where families tell more together "
    words += "than each alone, or by chance."
    alike = [[pair, f"{v:.3f}"] for pair, v in one.head["alike"].items()]
    body = table(["Families", "Linear CKA"], alike) if alike else None
    return Markup(el("p", words, class_="small") + "".join(parts) + (body or ""))


def compared(one: Encoded) -> Markup | None:
    """Paired differences over all scored targets."""
    rows = []
    for s in one.comparisons:
        if s.about["group"] == "all":
            first, second = s.about["comparison"].split(" - ")
            words = f"{one.named(first)} less {one.named(second)}"
            rows.append([words, s.about["subject"], cell(s)])
    if not rows:
        return None
    note = el("p", f"Differences of the {MEASURE[one.comparisons[0].name]}, paired: the same draws of test "
              "images for both.", class_="small")  # fmt: skip
    return Markup(note + table(["Difference", "Subject", "All targets"], rows))


def fields(one: Encoded) -> Markup | None:
    """Eccentricity and size by region."""
    unit = "°" if one.head["picture_width"] else " half picture widths"
    parts = []
    for subject in one.head["subjects"]:
        for system, groups in one.head["summary"][subject]["fields"].items():
            rows = [
                [g, count(v["n"]), f"{v['eccentricity']:.2f}{unit}", f"{v['size']:.2f}{unit}"]
                for g, v in groups.items()
            ]
            parts.append(el("h3", f"Subject {subject}, {one.named(system)}"))
            parts.append(table(["Group", "Scored", "Eccentricity", "Size"], rows))
    if not parts:
        return None
    note = el("p", "Medians over scored targets: distance of a window's centre from the middle of the "
              "picture, and its standard deviation.", class_="small")  # fmt: skip
    return Markup(note + "".join(parts))


def ceilings(one: Encoded) -> Markup | None:
    """How much of the mean responses is explainable."""
    parts = []
    for subject in one.head["subjects"]:
        groups = one.head["summary"][subject]["ceilings"]
        names = list(next(iter(groups.values()), {}))
        if not names:
            continue
        rows = []
        for group, found in groups.items():
            tally = one.head["counts"][subject][group]
            shown = [f"{percent(found[n][1])} ({percent(found[n][0])} to {percent(found[n][2])})" for n in names]  # fmt: skip
            rows.append([group, count(tally["all"]), count(tally["scored"]), *shown])
        parts.append(
            el(
                "h3",
                f"Subject {subject}: scored are those whose {one.head['chosen_on'][subject]} repeats agree",
            )
        )
        parts.append(table(["Group", "Targets", "Scored", *names], rows))
    if not parts:
        return el(
            "p", "Not known: no image was repeated. Scores are not normalised.", class_="small"
        )
    note = el("p", "Share of the variance of mean test responses that images explain: median and quartiles "
              "over targets that vary. ncsnr: Allen et al. 2022, doi:10.1038/s41593-021-00962-x; split_half: "
              "halves of repeats, Spearman-Brown, Hsu et al. 2004, doi:10.1088/0954-898X_15_2_002.",
              class_="small")  # fmt: skip
    return Markup(note + "".join(parts))


def identification(one: Encoded) -> Markup | None:
    """Which test image was seen, by the encoding model, a decoder and both."""
    if not one.identified:
        return None
    names = list(dict.fromkeys(s.name for s in one.identified))
    known = {s["name"] for s in one.head["systems"]}
    keys = dict.fromkeys(
        (s.about["subject"], s.about["system"], s.about["n_averaged"]) for s in one.identified
    )
    found = {(s.about["subject"], s.about["system"], s.about["n_averaged"], s.name): s for s in one.identified}  # fmt: skip
    rows = [
        [
            f"{one.named(system) if system in known else _beside(one, system)}, subject {who}",
            count(k),
            *(identified_cell(found.get((who, system, k, n))) for n in names),
        ]
        for who, system, k in keys
    ]
    chance = [percent(s.chance) if n.startswith("top") else number(s.chance) for n in names
              for s in [next(x for x in one.identified if x.name == n)]]  # fmt: skip
    rows.append(["chance", "", *chance])
    first = one.identified[0]
    note = el("p", f"Bayes' rule with Gaussian noise, {count(first.about['n_targets'])} targets chosen on "
              f"validation images, all images as likely beforehand. {first.gallery}; rows are judged one at "
              f"a time; n\u00a0=\u00a0{count(first.n)} images.", class_="small")  # fmt: skip
    return Markup(note + table(["System", "Trials averaged", *map(metric_name, names)], rows))


def _beside(one: Encoded, system: str) -> str:
    """A decoder, or the encoding model and a decoder together, for readers."""
    model, plus, decoder = system.rpartition(" + ")
    if plus and model in {s["name"] for s in one.head["systems"]}:
        return f"{one.named(model)}, with decoder {decoder}"
    return system


def expected(one: Encoded) -> Markup | None:
    """What the experiment's file says of the paper."""
    found = one.head["expected"]
    if not found:
        return None
    pairs = [(el("dt", k.replace("_", " ")), el("dd", v if isinstance(v, str) else str(v))) for k, v in found.items()]  # fmt: skip
    return Markup(el("p", "Taken from the experiment's file; no number here was made from it.", class_="small")
                  + el("dl", pairs))  # fmt: skip


def notes(one: Encoded) -> Markup | None:
    """Targets and images left out."""
    rows = []
    for subject, groups in one.head["counts"].items():
        tally = groups["all"]
        rows += [[f"Subject {subject}: {why}", count(n)] for why, n in tally.items()]
    said = [el("p", text) for text in one.head["notes"]]
    return Markup(table(["Targets", "Number"], rows) + Markup("".join(said)))


def made(one: Encoded) -> Markup:
    """Config, versions and the commands."""
    record = read_json(one.folder / "provenance.json")
    text = (one.folder / "config.yaml").read_text(encoding="utf-8")
    lines = "neurovis encode config.yaml --out OUT data.path=PREPARED\n"
    lines += f"neurovis report OUT/encoding/{one.folder.name}"
    pairs = [("Finished", record.get("time")), ("Interval", one.head["interval"])]
    pairs += [(f"Input: {k}", v) for k, v in (record.get("inputs") or {}).items()]
    packages = [[k, v] for k, v in (record.get("versions") or {}).items()]
    return Markup(
        el("pre", el("code", lines))
        + el("dl", [(el("dt", k), el("dd", v)) for k, v in pairs if v])
        + el("details", el("summary", "The full config (config.yaml)"), el("pre", el("code", text)))
        + el("details", el("summary", "Packages"), table(["Package", "Version"], packages))
    )
