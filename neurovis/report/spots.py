"""Where signals told what was seen, in the report: regions, maps, chosen sensors.

Comes in: analyses of the kind ``where``. Goes out: `Markup`. Maps of sensors are drawn by MNE on
positions flattened around the centre of the head, maps of voxels as axial slices. Nothing is computed.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from neurovis.report.analyses import Analysed, colours, key, method, per_cent, score_of
from neurovis.report.evoked import FEWEST_FOR_MAP
from neurovis.report.markup import THIN, Markup, el, number, percent, plural
from neurovis.report.material import VoxelFacts
from neurovis.report.plots import Axes, Mark, Series, dots, tick_labels, ticks
from neurovis.report.qc_fmri import mosaic
from neurovis.report.scalp import flat, topography
from neurovis.report.sections import table

MAPS = {
    "searchlight": "Searchlight",
    "pattern": "Activation pattern",
    "saliency": "Integrated gradients",
    "planted": "Planted",
}


def spots(analyses: tuple[Analysed, ...]) -> Markup | None:
    """Every analysis of places, one after the other."""
    shown = [one for one in analyses if one.kind == "where"]
    return Markup("".join(map(_one, shown))) if shown else None


def _one(one: Analysed) -> Markup:
    parts = [_ablation(one), _maps(one), _greedy(one)]
    first = one.data["ablation"] or one.data.get("greedy") or []
    if one.data["ablation"]:
        parts.append(method(one, score_of(first[0]["keep"][0], one.name)))
    elif first:
        parts.append(method(one, score_of(first[0]["points"][0]["chosen"], one.name)))
    else:
        parts.append(el("p", f"{one.data['method']}.", class_="small"))
    return Markup("".join(filter(None, parts)))


# ---- regions -----------------------------------------------------------------------------------


def _ablation(one: Analysed) -> Markup | None:
    entries = one.data["ablation"]
    if not entries:
        return None
    levels = list(dict.fromkeys(e["level"] for e in entries))
    colour = colours(levels)
    pooled = [e for e in entries if e["subject"] == "all"]
    charts = []
    for own in (False, True):
        some = [n for n in levels if n.endswith(" alone") == own]
        if not some:
            continue
        told = ": what each level has of its own" if own else ""
        charts.append(_dots(one, pooled, some, colour, "keep", f"One region alone{told}"))
        charts.append(_dots(one, pooled, some, colour, "loses", f"What is lost without it{told}"))
    parts = [
        el("h3", "Regions"),
        key({n: c for n, c in colour.items() if not n.endswith(" alone")}),
    ]
    parts += [el("div", charts, class_="charts"), _region_table(one, pooled, levels)]
    for who in dict.fromkeys(e["subject"] for e in entries if e["subject"] != "all"):
        mine = [e for e in entries if e["subject"] == who]
        body = _region_table(one, mine, levels, who)
        parts.append(el("details", el("summary", f"Subject {who}"), body))
    return Markup("".join(parts))


def _dots(
    one: Analysed,
    entries: list[dict[str, Any]],
    levels: list[str],
    colour: dict[str, str],
    what: str,
    caption: str,
) -> Markup:
    lines, level = [], 0.0
    for region in dict.fromkeys(e["region"] for e in entries):
        marks = []
        for e in entries:
            entry = e.get(what)
            if e["region"] != region or e["level"] not in levels or not entry:
                continue
            score = score_of(entry[0] if what == "keep" else entry, one.name)
            level = score.chance
            words = f"{percent(score.value)} [{percent(score.low)}, {percent(score.high)}]"
            marks.append(Mark(colour[e["level"]], score.value, score.low, score.high, words))
        if marks:
            lines.append((region, marks))
    unit = "%" if what == "keep" else "points"
    label = f"{caption}, two-way retrieval by region and level"
    return dots(
        lines,
        label,
        level,
        unit,
        caption=caption + (" (percentage points)" if what != "keep" else ""),
    )


def _region_table(
    one: Analysed, entries: list[dict[str, Any]], levels: list[str], who: str = "all"
) -> Markup:
    planted = [p for p in one.data.get("planted", ()) if "regions" in p]
    head = ["Region", "Channels", "Alone", "All without it", "Loses", "Shuffled labels"]
    head += ["Planted power"] if planted else []
    parts = []
    for place, level in enumerate(levels):
        rows = []
        for e in (e for e in entries if e["level"] == level):
            n = e["n_chans"]
            size = str(n[0]) if min(n) == max(n) else f"{min(n)} to {max(n)}"
            cells = [per_cent(score_of(e["keep"][0], one.name))]
            cells.append(per_cent(score_of(e["leave"][0], one.name)) if e["leave"] else "–")
            cells.append(per_cent(score_of(e["loses"], one.name)) if e.get("loses") else "–")
            cells.append(per_cent(score_of(e["control"][0], one.name)))
            if planted:
                found = [
                    p["regions"].get(e["region"])
                    for p in planted
                    if p["level"] == level and who in ("all", p["subject"])
                ]
                known = [percent(v, 0) for v in found if v is not None]
                cells.append(" / ".join(known) if known else "–")
            rows.append([e["region"], size, *cells])
        body = table(head, rows)
        parts.append(el("details", el("summary", level), body, open=place == 0))
    note = "Planted power: mean over a region's channels of the power of the noiseless response to the level, as a "
    note += "share of the sum over regions" + (", subject by subject." if who == "all" else ".")
    small = el("p", note, class_="small") if planted else ""
    return Markup("".join(parts) + small)


# ---- maps --------------------------------------------------------------------------------------


def _maps(one: Analysed) -> Markup | None:
    """Maps of every subject; the first two open."""
    drawn = [k for k in MAPS if any(name.endswith(f"/{k}") for name in one.arrays)]
    if not drawn:
        return None
    parts: list[Markup] = [el("h3", "Maps"), el("p", _legend(one, drawn), class_="small")]
    for place, subject in enumerate(one.data["subjects"]):
        title = f"Subject {subject}"
        body = _subject(one, subject, drawn)
        if place < 2:
            parts += [el("p", title), body]
        else:
            parts.append(el("details", el("summary", title), body))
    alike = [p for p in one.data.get("planted", ()) if p["alike"]]
    if alike:
        kinds = [k for k in MAPS if any(k in p["alike"] for p in alike)]
        rows = [
            [f"{p['level']}, subject {p['subject']}"]
            + [number(p["alike"][k], 2) if k in p["alike"] else "–" for k in kinds]
            for p in alike
        ]
        words = "Rank correlation over channels between each map and the planted one."
        parts += [table(["Level", *(MAPS[k] for k in kinds)], rows), el("p", words, class_="small")]
    return Markup("".join(parts))


def _legend(one: Analysed, drawn: list[str]) -> str:
    words = []
    if "searchlight" in drawn:
        some = one.data["searchlight"]
        n, reach = some[0]["n_chans"], some[0]["radius"]
        size = f"{n[0]} to {n[1]}" if n[0] != n[1] else str(n[0])
        found = "; ".join(
            f"{e['level']} {e['n_above']} of {e['n_places']} above {percent(e['threshold'])}"
            + ("" if e["subject"] == "all" else f" (subject {e['subject']})")
            for e in some
            if e["subject"] == ("all" if any(x["subject"] == "all" for x in some) else e["subject"])
        )
        words.append(
            f"Searchlight: two-way retrieval from the {size} channels within {1000 * reach:.0f}{THIN}mm of "
            f"each, from chance to the best ({found})."
        )
    if "pattern" in drawn:
        words.append(
            "Activation pattern: the signal that the decoded components carry (Haufe et al. 2014) beyond what "
            "decoders of shuffled images carry by chance, root mean square over time."
        )
    if "saliency" in drawn:
        some = one.data["saliency"]
        worst = max(e["short"] for e in some)
        words.append(
            f"Integrated gradients of the {some[0]['decoder']} decoder's way towards the shown image, mean over "
            f"test images, sum over time (red: for it, blue: against it; their sum is short of what they "
            f"explain by at most {number(worst, 1)})."
        )
    if "planted" in drawn:
        words.append("Planted: the noiseless response to the level, root mean square over time.")
    return " ".join(words)


def _subject(one: Analysed, subject: str, drawn: list[str]) -> Markup:
    kinds = [k for k in drawn if f"{subject}/{k}" in one.arrays]
    facts = _voxels(one, subject)
    position = one.arrays[f"{subject}/channel_position"].astype(np.float64)
    known = np.isfinite(position).all(1)
    if facts is None and known.sum() < FEWEST_FOR_MAP:
        n = int(known.sum())
        return el("p", f"No maps: {plural(n, 'channel')} with a known position, {FEWEST_FOR_MAP} are "
                  "needed.", class_="small")  # fmt: skip
    rows = []
    for level, name in enumerate(one.data["levels"]):
        figures = []
        for kind in kinds:
            found = one.arrays[f"{subject}/{kind}"]
            if level >= len(found):
                continue
            values, low, high = _values(kind, found[level])
            if kind == "searchlight":
                low = next(e["chance"] for e in one.data["searchlight"])
            words = f"{MAPS[kind]}, {name}, subject {subject}"
            if facts is None:
                data = _head(values[known], position[known], low, high)
            else:
                picture, aspect = mosaic(facts, values.astype(np.float32))
                data = _slices(picture, aspect, low, high)
            source = Markup(f"data:image/png;base64,{base64.b64encode(data).decode()}")
            image = el("img", src=source, alt=words, class_="slices" if facts else None)
            figures.append(el("figure", image, el("figcaption", MAPS[kind])))
        style = "charts" if facts else "maps"
        rows += [el("p", el("b", name)), el("div", figures, class_=style)]
    return Markup("".join(rows))


def _values(kind: str, found: np.ndarray) -> tuple[np.ndarray, float, float]:
    """One number per channel, and the ends of its colours."""
    if kind == "saliency":
        values = found.sum(1)
        top = float(np.abs(values).max()) or 1.0
        return values, -top, top
    values = np.sqrt((found.astype(np.float64) ** 2).mean(1)) if found.ndim == 2 else found
    # a few strong channels would leave the others dark
    return values, 0.0, float(np.percentile(values, 99)) or 1.0


def _voxels(one: Analysed, subject: str) -> VoxelFacts | None:
    names = [f"{subject}/{k}" for k in ("index", "shape", "affine")]
    if not all(name in one.arrays for name in names):
        return None
    index, shape, affine = (one.arrays[name] for name in names)
    return VoxelFacts({}, {}, "", index, tuple(map(int, shape)), affine)


def _head(values: np.ndarray, position: np.ndarray, low: float, high: float) -> bytes:
    """A map of the head as a PNG with nothing behind it."""
    spot, edge = flat(position)
    edge = max(edge, 1.02 * float(np.linalg.norm(spot, axis=1).max()))
    return topography(values, spot, edge, low, high)


def _slices(picture: np.ndarray, aspect: float, low: float, high: float) -> bytes:
    """A mosaic of slices as a PNG with nothing behind the voxels."""
    import matplotlib
    from PIL import Image

    share = (np.nan_to_num(picture) - low) / max(high - low, 1e-12)
    colours_ = matplotlib.colormaps["RdBu_r" if low < 0 else "viridis"](np.clip(share, 0, 1))
    colours_[~np.isfinite(picture), 3] = 0
    pixels = (255 * colours_[::-1]).round().astype(np.uint8)
    zoom = max(1, round(1000 / picture.shape[1]))
    size = (picture.shape[1] * zoom, round(picture.shape[0] * zoom * aspect))
    data = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(data, "PNG", optimize=True)
    return data.getvalue()


# ---- chosen sensors ----------------------------------------------------------------------------


def _greedy(one: Analysed) -> Markup | None:
    if not one.data.get("greedy"):
        return None
    found = one.data["greedy"][0]
    levels = list(dict.fromkeys(p["level"] for p in found["points"]))
    colour, series = colours(levels), []
    values: list[float] = []
    chance = 0.0
    for level in levels:
        points = [p for p in found["points"] if p["level"] == level]
        x = [p["n_sensors"] for p in points]
        chosen = [score_of(p["chosen"], one.name) for p in points]
        random = [[score_of(r, one.name).value for r in p["random"]] for p in points]
        chance = chosen[0].chance
        low, high = [s.low for s in chosen], [s.high for s in chosen]
        series.append(Series(colour[level], x, [s.value for s in chosen], low, high))
        middle = [sum(r) / len(r) for r in random]
        series.append(Series(colour[level], x, middle, markers=False, kind="dashed"))
        values += [*low, *high, *middle]
    xs = [v for s in series for v in s.x]
    room = 0.05 * (max(values) - min(values) or 1.0)
    axes = Axes((min(xs), max(xs)), (min(*values, chance) - room, max(values) + room), log_x=True)
    marks, y_ticks = sorted(set(xs)), ticks(*axes.y_range)
    axes.grid(marks, y_ticks, tick_labels(marks), tick_labels(y_ticks, "%"))
    axes.level(chance)
    for s in series:
        axes.series(s)
    axes.titles("sensors")
    words = "Two-way retrieval of test images from sensors chosen on validation images; dashed: as many "
    words += f"at random, mean of {plural(len(found['points'][0]['random']), 'draw')}"
    order = ", ".join(found["order"])
    note = f"In order of choice: {order}. {found['note'][0].upper()}{found['note'][1:]}."
    return Markup(
        el("h3", "Few sensors")
        + el("div", el("figure", el("figcaption", words), axes.svg(words)), class_="charts")
        + el("p", note, class_="small")
    )
