"""Accuracy against confidence: how right each system is where it says that it is sure.

Comes in: a `Material` whose ``scores.json`` holds curves of coverage. Goes out: one chart and one
table, for the headline's target and number of trials; a sentence where stimuli are categories, which
have no such curve; None where the curves are missing.
"""

from __future__ import annotations

from typing import Any

from neurovis.records import Score
from neurovis.report.markup import THIN, Markup, count, el, percent
from neurovis.report.material import Material, named
from neurovis.report.plots import Series, css, curves, legend
from neurovis.report.sections import table

SHARES = (100, 80, 50, 20)
WORDS = {
    "posterior": "probability of the first picture, its temperature fitted on validation pictures",
    "margin": "lead of the first picture over the second",
}

CATEGORIES = (
    "Not drawn for this run: its stimuli are known by category, and its scores (area under the curve, 2-way "
    "identification) compare trials or categories pair by pair within each recording. There is no one answer "
    "per trial that could be kept or withheld by its confidence."
)


def coverage(material: Material) -> Markup | None:
    """Accuracy among the most confident part of the answers, system by system."""
    if material.category:
        return el("p", CATEGORIES, class_="small")
    found = _chosen(material)
    if not found:
        return None
    series = [
        Series(
            css(system), *(one[k] for k in ("coverage", "accuracy", "low", "high")), markers=False
        )
        for system, one in found.items()
    ]
    chart = curves(
        series, "Top-1 of each system against the share of answers kept, the most confident first",
        "share of answers kept", "Top-1 retrieval", material.headline.chance, unit="%",
        x_ticks=[0.2, 0.4, 0.6, 0.8, 1.0],
    )  # fmt: skip
    rows = [_row(system, one) for system, one in found.items()]
    header = ["System", *(f"Top-1 at {share}{THIN}%" for share in SHARES)]
    header += ["Area under risk", "Calibration error"]
    ways = dict.fromkeys(one["about"]["confidence"] for one in found.values())
    words = "; ".join(
        f"{', '.join(named(s) for s, one in found.items() if one['about']['confidence'] == way)}: "
        f"{WORDS.get(way, way)}"
        for way in ways
    )
    note = el("p", f"Answers are kept in the order of their confidence ({words}). Every confidence reads one answer "
              f"and the gallery alone. Bands and brackets: 95{THIN}% intervals. The area under risk against "
              "coverage is the mean error over all shares kept: below the error of all answers (in "
              "parentheses) where confidence means something. Calibration error: mean distance between "
              "confidence and accuracy; in parentheses what a calibrated confidence has with as many answers. "
              "Means of more repeats than validation pictures have are less sure than they could be.",
              class_="small")  # fmt: skip
    names = legend([(system, named(system)) for system in found])
    return Markup(names + el("div", chart, class_="charts") + table(header, rows) + note)


def _chosen(material: Material) -> dict[str, dict[str, Any]]:
    """Curves at the headline's target (the observers have none) and number of trials, by system."""
    head = material.head["headline"]
    found = {}
    for one in material.head.get("coverage") or []:
        about = one["about"]
        if about["target"] in (head["target"], "") and about["n_averaged"] == head["n_averaged"]:
            found[about["system"]] = one
    return {system: found[system] for system in material.systems if system in found}


def _row(system: str, one: dict[str, Any]) -> list:
    scores = {score.name: score for score in map(Score.from_dict, one["scores"])}
    cells = [named(system)]
    for share in SHARES:
        score = scores[f"top1@{share}"]
        n = f"n\u00a0=\u00a0{count(round(score.about['n_rows']))}"
        low, high = (percent(v).removesuffix(f"{THIN}%") for v in (score.low, score.high))
        cells.append(Markup(el("span", percent(score.value)) + el("small", f"[{low}, {high}] {n}")))
    cells.append(_plain(scores["aurc"]))
    cells.append(_plain(scores["ece"]) if "ece" in scores else "–")
    return cells


def _plain(score: Score) -> Markup:
    low, high = f"{score.low:.3f}", f"{score.high:.3f}"
    small = el("small", f"[{low}, {high}] ({score.chance:.3f})")
    return Markup(el("span", f"{score.value:.3f}") + small)
