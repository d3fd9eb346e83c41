"""How much data, in the report: curves with their power laws, and a careful word on more.

Comes in: analyses of the kind ``amount``. Goes out: `Markup`. Points, fits and what they would say of
more are those of the artefact.
"""

from __future__ import annotations

from typing import Any

from neurovis.report.analyses import Analysed, colours, key, method, per_cent, score_of
from neurovis.report.markup import THIN, Markup, count, el, number, percent
from neurovis.report.plots import Axes, Series, tick_labels, ticks
from neurovis.report.sections import table


def amounts(analyses: tuple[Analysed, ...]) -> Markup | None:
    """Every analysis of amounts, one after the other."""
    shown = [one for one in analyses if one.kind == "amount"]
    return Markup("".join(map(_one, shown))) if shown else None


def _one(one: Analysed) -> Markup:
    curves = one.data["curves"]
    levels = list(dict.fromkeys(c["level"] for c in curves))
    colour = colours(levels)
    figures, rows = [], []
    for of in dict.fromkeys(c["of"] for c in curves):
        some = [c for c in curves if c["of"] == of]
        figures.append(_figure(one, some, colour))
        rows += [_row(one, curve) for curve in some]
    words = (
        "Bands: 95\u202f% intervals over test images. Dashed: a power law through the points, and where it would "
        "go with more. An extrapolation is no measurement: its interval holds the choice of test images, not that "
        "the law may be another."
    )
    head = ["Level", "Of", "Most", "Two-way", "Exponent", "Twice as much would give"]
    first = score_of(curves[0]["points"][0]["scores"][0], one.name)
    parts = [key(colour), el("div", figures, class_="charts"), el("p", words, class_="small")]
    parts += [table(head, rows), method(one, first)]
    return Markup("".join(parts))


def _figure(one: Analysed, some: list[dict[str, Any]], colour: dict[str, str]) -> Markup:
    found = [(c, [score_of(p["scores"][0], one.name) for p in c["points"]]) for c in some]
    further = [f for c in some for f in c["fit"].get("further", ())]
    xs = [p["n"] for c in some for p in c["points"]] + [f["n"] for f in further]
    values = [v for _, scores in found for s in scores for v in (s.low, s.high)]
    values += [v for f in further for v in (f["low"], f["high"])]
    chance = found[0][1][0].chance
    room = 0.05 * (max(values) - min(values) or 1.0)
    axes = Axes((min(xs), max(xs)), (min(*values, chance) - room, max(values) + room), log_x=True)
    marks = sorted({p["n"] for p in some[0]["points"]} | {f["n"] for f in further})
    y_ticks = ticks(*axes.y_range)
    axes.grid(marks, y_ticks, [count(round(v)) for v in marks], tick_labels(y_ticks, "%"))
    axes.level(chance)
    for c, scores in found:
        system, x = colour[c["level"]], [p["n"] for p in c["points"]]
        axes.series(Series(system, x, [s.value for s in scores], [s.low for s in scores],
                           [s.high for s in scores]))  # fmt: skip
        fit = c["fit"]
        if fit.get("line"):
            more = fit.get("further", ())
            axes.series(Series(system, [*x, *(f["n"] for f in more)],
                               [*fit["line"], *(f["value"] for f in more)], markers=False,
                               kind="dashed"))  # fmt: skip
            for f in more:
                axes.whisker(f["n"], f["low"], f["high"], system)
    axes.titles(some[0]["words"])
    last = ", ".join(f"{c['level']} {percent(scores[-1].value)}" for c, scores in found)
    words = some[0]["words"]
    return el(
        "figure",
        el("figcaption", f"Two-way retrieval against {words}"),
        axes.svg(f"Two-way retrieval against {words}; with all of it: {last}"),
    )


def _row(one: Analysed, curve: dict[str, Any]) -> list:
    last, fit = curve["points"][-1], curve["fit"]
    exponent: Any = "–"
    if fit.get("exponent"):
        value, low, high = fit["exponent"]
        exponent = Markup(
            el("span", number(value, 2)) + el("small", f"[{number(low, 2)}, {number(high, 2)}]")
        )
    twice = next((f for f in fit.get("further", ()) if f["ratio"] == 2), None)
    # the reason stands where the number would
    said = per_cent(twice) if twice else el("small", _short(fit["said"]))
    score = score_of(last["scores"][0], one.name)
    return [
        curve["level"],
        curve["words"],
        count(round(last["n"])),
        per_cent(score),
        exponent,
        said,
    ]


def _short(said: str) -> str:
    if said.startswith("If "):
        return f"there is no more than 100{THIN}%"
    return said.removeprefix("No fit: ").rstrip(".")
