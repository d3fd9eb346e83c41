"""When signals told what was seen, in the report: curves, latencies, generalisation over time.

Comes in: analyses of the kind ``when``. Goes out: `Markup`. Nothing is computed: curves, thresholds and
latencies are those of the artefact.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from neurovis.report.analyses import Analysed, colours, key, method, per_cent, score_of
from neurovis.report.markup import THIN, Markup, el, percent
from neurovis.report.plots import Axes, Series, tick_labels, ticks
from neurovis.report.sections import table

TITLES = {"sliding": "What is there at a time", "growing": "What is known by a time"}
NAMES = {
    "onset": "Onset",
    "rise": "Half rise",
    "peak": "Peak",
    "middle": "Middle",
    "fall": "Half fall",
    "offset": "Offset",
    "most": f"95{THIN}% of it",
}


def moments(analyses: tuple[Analysed, ...]) -> Markup | None:
    """Every analysis of time, one after the other."""
    shown = [one for one in analyses if one.kind == "when"]
    return Markup("".join(map(_one, shown))) if shown else None


def _one(one: Analysed) -> Markup:
    curves = one.data["curves"]
    width = f"{1000 * one.data['width']:.0f}{THIN}ms"
    parts = [el("p", f"{one.data['model'][0].upper()}{one.data['model'][1:]}; windows of {width}.")]
    for kind in dict.fromkeys(c["kind"] for c in curves):
        some = [c for c in curves if c["kind"] == kind and c["subject"] == "all"]
        title = TITLES.get(kind, kind)
        planted = one.data.get("planted", []) if kind == "sliding" else []
        parts += [el("h3", title), _charts(one, kind, some), _table(one, some, planted)]
        shown_ = [c["subject"] for c in curves if c["kind"] == kind]
        for who in dict.fromkeys(w for w in shown_ if w != "all"):
            mine = [c for c in curves if c["kind"] == kind and c["subject"] == who]
            body = Markup(_charts(one, kind, mine) + _table(one, mine, planted, who))
            parts.append(el("details", el("summary", f"Subject {who}"), body))
    parts += [_general(one), method(one, _scores(one, curves[0])[0])]
    return Markup("".join(filter(None, parts)))


def _scores(one: Analysed, curve: dict[str, Any]) -> list:
    return [score_of(window[0], one.name) for window in curve["scores"]]


def _charts(one: Analysed, kind: str, some: list[dict[str, Any]]) -> Markup:
    """Curves of levels, what each has of its own apart, and the control."""
    levels = list(dict.fromkeys(c["level"] for c in some))
    groups = [[n for n in levels if not n.endswith(" alone")]]
    groups.append([n for n in levels if n.endswith(" alone")])
    groups, colour = [g for g in groups if g], colours(levels)
    figures = []
    for names in groups:
        own = names[0].endswith(" alone")
        words = "what each level has of its own" if own else "two-way retrieval"
        figures.append(
            _figure(one, [c for c in some if c["level"] in names], colour, words, "score")
        )
    if kind == "sliding" and one.data.get("planted"):
        who = some[0]["subject"]
        for names in groups:
            planted = [
                p for p in one.data["planted"] if p["level"] in names and p["subject"] == who
            ]
            if planted:
                figures.append(_planted(planted, colour))
    return Markup(
        key({n: c for n, c in colour.items() if n in groups[0]})
        + el("div", figures, class_="charts")
    )


def _frame(times: list[float], low: float, high: float, unit: str) -> Axes:
    axes = Axes((times[0], times[-1]), (low, high))
    marks, y_ticks = ticks(times[0], times[-1], 7), ticks(low, high)
    labels = [f"{1000 * v:.0f}".replace("-", "−") for v in marks]
    axes.grid(marks, y_ticks, labels, tick_labels(y_ticks, unit))
    if times[0] < 0 < times[-1]:
        axes.upright(0.0)
    axes.titles("time after picture onset (ms)")
    return axes


def _figure(
    one: Analysed, some: list[dict[str, Any]], colour: dict[str, str], words: str, what: str
) -> Markup:
    found = [(c, _scores(one, c)) for c in some]
    values = [v for _, scores in found for s in scores for v in (s.low, s.high)]
    chance, above = found[0][1][0].chance, max(c["threshold"] for c in some)
    values += [chance, above]
    room = 0.05 * (max(values) - min(values) or 1.0)
    axes = _frame(some[0]["times"], min(values) - room, max(values) + room, "%")
    axes.level(chance)
    axes.level(above, "threshold", "threshold")
    for c, scores in sorted(found, key=lambda pair: not pair[0]["control"]):
        system = "s-shuffled" if c["control"] else colour[c["level"]]
        band = (
            {}
            if c["control"]
            else {"low": [s.low for s in scores], "high": [s.high for s in scores]}
        )
        kind = "faint" if c["control"] else ""
        axes.series(
            Series(system, c["times"], [s.value for s in scores], **band, markers=False, kind=kind)
        )
    flat = [c for c in some if c["control"]]
    told = f"{words[0].upper()}{words[1:]}" + ("; grey: shuffled labels" if flat else "")
    best = ", ".join(
        f"{c['level']} at most {percent(max(s.value for s in scores))}"
        for c, scores in found
        if not c["control"]
    )
    return el("figure", el("figcaption", told), axes.svg(f"{told} against time: {best}"))


def _planted(some: list[dict[str, Any]], colour: dict[str, str]) -> Markup:
    axes = _frame(some[0]["times"], 0.0, 1.06, "")
    for p in some:
        axes.series(
            Series(colour[p["level"]], p["times"], p["curve"], markers=False, kind="dashed")
        )
    words = "Planted: power of the noiseless response, share of its largest"
    return el("figure", el("figcaption", words), axes.svg(f"{words}, against time"))


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{1000 * value:.0f}".replace("-", "−")


def _cell(one: dict[str, Any]) -> Markup | str:
    if one["low"] is None:
        return _ms(one["value"])
    return Markup(
        el("span", _ms(one["value"])) + el("small", f"[{_ms(one['low'])}, {_ms(one['high'])}]")
    )


def _table(
    one: Analysed, some: list[dict[str, Any]], planted: list[dict[str, Any]], who: str = "all"
) -> Markup:
    names = [lag["name"] for lag in some[0]["latencies"]]
    rows = []
    for curve in some:
        scores = _scores(one, curve)
        best = max(scores, key=lambda s: s.value)
        if curve["control"]:
            over = sum(s.value > curve["threshold"] for s in scores)
            said = "no window" if not over else f"{over} of {len(scores)} windows"
            cells = ["above the threshold: " + said, *[""] * (len(names) - 1)]
            rows.append([f"{curve['level']}, shuffled labels", per_cent(best), *cells])
            continue
        rows.append([curve["level"], per_cent(best), *map(_cell, curve["latencies"])])
        for p in planted:
            if p["level"] == curve["level"] and p["subject"] == who:
                cells = [_ms(p["latencies"][n]) if n in p["latencies"] else "" for n in names]
                rows.append([f"{curve['level']}, planted", "", *cells])
    rows.sort(key=lambda row: "shuffled labels" in row[0])
    return table(["Level", "Best window", *(f"{NAMES[n]} (ms)" for n in names)], rows)


def _general(one: Analysed) -> Markup | None:
    """Matrices of models trained at one time and tested at another."""
    about, score = one.data.get("general"), one.arrays.get("general/score")
    if not about or score is None:
        return None
    times = one.arrays["general/time"]
    top = float(score.max())
    figures = []
    for level, entry in enumerate(about):
        data = base64.b64encode(_matrix(score[level], times, entry, top)).decode()
        said = f"{entry['level']}: {percent(entry['share_above'], 0)} of all pairs of times above the threshold"
        image = el("img", src=Markup(f"data:image/png;base64,{data}"), alt=said, class_="slices")
        figures.append(el("figure", image, el("figcaption", said)))
    words = "Models trained at one time (up) and tested at another (right): what lasts generalises, what moves "
    words += f"on does not. Colours from chance ({percent(about[0]['chance'], 0)}) to {percent(top)}; the line is the "
    words += "threshold for all pairs at once."
    return Markup(
        el("h3", "From one time to another")
        + el("p", words, class_="small")
        + el("div", figures, class_="charts")
    )


def _matrix(score: np.ndarray, times: np.ndarray, entry: dict[str, Any], top: float) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 3.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    ms = 1000 * times
    half = (ms[1] - ms[0]) / 2 if len(ms) > 1 else 1.0
    span = (ms[0] - half, ms[-1] + half)
    axes.imshow(score, origin="lower", extent=(*span, *span), vmin=entry["chance"], vmax=top, cmap="magma",
                interpolation="nearest")  # fmt: skip
    if (score > entry["threshold"]).any() and not (score > entry["threshold"]).all():
        axes.contour(ms, ms, score, [entry["threshold"]], colors="#8fd3ff", linewidths=0.9)
    for line in (axes.axhline, axes.axvline):
        line(0, color="#8a939d", lw=0.8)
    axes.set_xlabel("tested at (ms)", fontsize=8, color="#7d8791")
    axes.set_ylabel("trained at (ms)", fontsize=8, color="#7d8791")
    axes.tick_params(labelsize=7, colors="#7d8791")
    for spine in axes.spines.values():
        spine.set_color("#8a939d")
    data = io.BytesIO()
    figure.savefig(data, format="png", transparent=True, metadata={"Software": None})
    return data.getvalue()
