"""Charts and tables of scores, each a function of the material; a part that a run lacks gives None.

Comes in: a `Material`. Goes out: `Markup`. Every number was made by evaluation and is shown with its
interval and chance; what is counted here (which family was retrieved for which) says its n.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import PurePosixPath

import numpy as np

from neurovis.flags import judged, warning
from neurovis.records import Score
from neurovis.report.headline import control, interval, metric_name, shown
from neurovis.report.markup import THIN, Markup, count, el, percent, plural
from neurovis.report.material import Material, named
from neurovis.report.plots import Mark, Series, css, curves, dots, legend, matrix

MOST_GROUPS = 48
FEW_CONCEPTS = 12


def table(header: list, rows: list[list]) -> Markup:
    """A table that scrolls inside its own box where the page is narrow."""
    head = el("thead", el("tr", [el("th", cell, scope="col") for cell in header]))
    lines = [
        el("tr", el("th", row[0], scope="row"), [el("td", cell) for cell in row[1:]])
        for row in rows
    ]
    return el("div", el("table", head, el("tbody", lines)), class_="scroll", tabindex="0")


def cell(score: Score | None) -> Markup | str:
    """A value over its interval."""
    if score is None:
        return "–"
    signed = " - " in score.about.get("comparison", "")
    return Markup(el("span", shown(score, score.value, signed)) + el("small", interval(score)))


def repeats(material: Material) -> Markup | None:
    """Accuracy against the number of repeats averaged."""
    if material.category:
        return None
    numbers = sorted({s.about["n_averaged"] for s in material.scores})
    if len(numbers) < 2:
        return None
    charts = []
    for metric in ("top1", "top5"):
        series, chance = [], None
        for system in material.systems:
            scores = material.select(metric, system)
            if scores:
                chance = scores[0].chance
                columns = [[s.about["n_averaged"] for s in scores]]
                columns += [[getattr(s, name) for s in scores] for name in ("value", "low", "high")]
                series.append(Series(css(system), *columns))
        if series:
            words = f"{metric_name(metric)} of each system against the number of repeats averaged"
            charts.append(
                curves(series, words, "repeats averaged", f"{metric_name(metric)} retrieval", chance,
                       unit="%", log_x=True, x_ticks=numbers)
            )  # fmt: skip
    note = el("p", f"Bands: 95{THIN}% intervals. {material.headline.gallery}.", class_="small")
    systems = [(s, named(s)) for s in material.systems]
    return Markup(legend(systems) + el("div", charts, class_="charts") + note)


def mark(score: Score, signed: bool = False) -> Mark:
    """A score as a mark of a chart."""
    words = f"{shown(score, score.value, signed)} {interval(score)}"
    return Mark(css(score.about["system"]), score.value, score.low, score.high, words)


def subjects(material: Material) -> Markup | None:
    """Every subject by itself, in a chart and in tables."""
    if len(material.subjects) < 2:
        return None
    head, who = material.headline, ["all", *material.subjects]
    k = head.about["n_averaged"]
    trials = "single trials" if k == 1 else f"means of {k} trials"
    wanted = [head.name, "2-way"] if material.category else [head.name, "top5", "median_rank"]
    charts, tables = [], []
    for metric in dict.fromkeys(name for name in wanted if material.select(name)):
        lines, rows = [], []
        for subject in who:
            found = [material.select(metric, name, k, subject) for name in material.systems]
            rows.append([subject, *(cell(f[0] if f else None) for f in found)])
            lines.append((subject, [mark(f[0]) for f in found if f]))
        chance = material.select(metric)[0]
        title = f"{metric_name(metric)} on {trials}"
        if metric != "median_rank":
            label = f"{title}: every subject and system with intervals"
            unit = "" if metric == "auc" else "%"
            charts.append(dots(lines, label, chance.chance, unit, zero=True, caption=title))
        title += f", chance {shown(chance, chance.chance)}"
        body = table(["Subject", *map(named, material.systems)], rows)
        tables.append(el("details", el("summary", title), body, open=metric == head.name))
    names = [(s, named(s)) for s in material.systems]
    return Markup("".join([legend(names), el("div", charts, class_="charts"), *tables]))


def recordings(material: Material) -> Markup | None:
    """Scores of each recording left out, where evaluation kept them."""
    if not material.category:
        return None
    head = material.headline
    if len(head.about.get("recordings", ())) != len(head.per_item) or not len(head.per_item):
        n = head.about.get("n_recordings", 1)
        return el("p", f"The score is the mean of {plural(n, 'recording')}, each left out in turn; their "
                  "single values are not in scores.json.", class_="small")  # fmt: skip
    names = head.about["recordings"]
    found = [
        s
        for name in material.systems
        for s in material.select(head.name, name, head.about["n_averaged"])
        if s.about.get("recordings") == names
    ]
    # "subject/recording"; a single subject goes without saying
    labels = names if len(material.subjects) > 1 else [name.split("/", 1)[-1] for name in names]
    lines = []
    for i, name in enumerate(labels):
        values = [(s, float(s.per_item[i])) for s in found]
        lines.append(
            (name, [Mark(css(s.about["system"]), v, v, v, shown(s, v)) for s, v in values])
        )
    lines.append(("mean", [mark(s) for s in found]))
    label = f"{metric_name(head.name)} of each recording that was left out"
    chart = dots(lines, label, head.chance, "" if head.name == "auc" else "%")
    rows = [
        [name, *(shown(s, float(s.per_item[i])) for s in found)] for i, name in enumerate(labels)
    ]
    rows.append(["mean", *map(cell, found)])
    systems = [s.about["system"] for s in found]
    note = el("p", f"{metric_name(head.name)} of each recording, decoded by a model that was trained on the "
              f"others; the last line is their mean with its 95{THIN}% interval.", class_="small")  # fmt: skip
    body = el("div", chart, table(["Recording", *map(named, systems)], rows), class_="charts")
    return Markup(note + legend([(s, named(s)) for s in systems]) + body)


def groups(
    material: Material, images: list[str], most: int = MOST_GROUPS
) -> tuple[dict[str, str], list[str], str]:
    """Group of each image id, the groups of some images in order, and what a group is called.

    Families of the hierarchy if there are not too many, else superclasses, else the folders that the
    pictures lie in, else concepts where they are few; no groups if none of these fits.
    """
    stimuli, place = material.stimuli, material.hierarchy
    concept = stimuli.concept.tolist()
    ways: list[tuple[list[tuple[str, ...]], str, int]] = []
    if all(name in place for name in concept):
        ways.append(([place[name] for name in concept], "family", most))
        ways.append(([place[name][:1] for name in concept], "superclass", most))
    folders = [(PurePosixPath(paths[0]).parent.name,) for paths in stimuli.path]
    ways.append((folders, "folder", most))
    ways.append(([(name,) for name in concept], "concept", FEW_CONCEPTS))
    for keys, kind, limit in ways:
        key = dict(zip(stimuli.image.tolist(), keys))
        names = sorted({key[i] for i in images if i in key})
        if 2 <= len(names) <= limit:
            return {i: k[-1] for i, k in key.items()}, [name[-1] for name in names], kind
    return {}, [], ""


def confusion(material: Material) -> Markup | None:
    """Which family was retrieved first for which family seen."""
    found = material.retrieved
    if found is None or material.category:
        return None
    group, names, kind = groups(material, found.image.tolist())
    if not names:
        return None
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    gallery = np.unique(found.image)
    for seen, first in zip(found.image.tolist(), found.best[:, 0].tolist()):
        counts[place[group[seen]], place[group[first]]] += 1
    n, right = int(counts.sum()), int(np.trace(counts))
    size = np.array([sum(group[i] == name for i in gallery.tolist()) for name in names])
    weight = counts.sum(1) / n
    expected = float(weight @ size / len(gallery))
    words = f"Rows: {kind} seen; columns: {kind} of the picture that the tower ranked first."
    share_ = f"The right {kind} in {count(right)} of {count(n)} cases ({percent(right / n)}; {percent(expected)} if the first were drawn at random)."
    label = f"Confusion between {len(names)} groups: {share_}"
    rows = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    note = el(
        "p",
        words,
        " Darker: a larger share of the row; blue: the right one. ",
        share_,
        class_="small",
    )
    return Markup(
        note + el("div", matrix(rows, [n.replace("_", " ") for n in names], label), class_="scroll")
    )


def training(material: Material) -> Markup | None:
    """Loss and validation retrieval against epochs."""
    stages: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in material.log:
        stages[row["stage"]].append(row)
    losses, scores = [], []
    for stage, rows in stages.items():
        system = stage.partition("-")[0]
        several = sum(s.partition("-")[0] == system for s in stages) > 1
        x = [float(row["epoch"]) for row in rows]
        faint = "faint" if several else ""
        for name, into, kind in (
            ("loss", losses, "dashed"),
            ("validation_loss", losses, faint),
            ("validation_top5", scores, faint),
        ):
            values = [(a, float(row[name])) for a, row in zip(x, rows) if row.get(name)]
            if values and np.isfinite([v for _, v in values]).all():
                a, b = zip(*values)
                into.append(Series(css(system), a, b, markers=len(a) == 1, kind=kind))
    if not losses:
        return None
    systems = dict.fromkeys(stage.partition("-")[0] for stage in stages)
    n = max(sum(s.partition("-")[0] == system for s in stages) for system in systems)
    judge = judged(material.headline.protocol)
    title = f"Loss: solid on {judge}, dashed on training" if judge else "Loss on training"
    title += f"; {plural(n, 'fold' if len(material.folds) > 1 else 'training')}" if n > 1 else ""
    label = f"Training and {judge} loss against epochs" if judge else "Training loss against epochs"
    charts = [curves(losses, label, "epoch", title, zero=False)]
    if scores and not material.category:
        title = f"Top-5 among the {judge} images"
        charts.append(
            curves(scores, f"Top-5 retrieval on {judge} against epochs", "epoch", title, unit="%")
        )
    seconds = sum(float(row["seconds"]) for row in material.log if row.get("seconds"))
    words = "Training stops where validation no longer gains; the best epoch on validation is used, test "
    words += f"{material.folds[0].unit}s play no part."
    words = warning(material.headline.protocol) or words
    note = el("p", f"{seconds:.0f} s in all. {words}", class_="small")
    shown_ = legend([(s, named(s)) for s in systems], chance=False)
    return Markup(shown_ + el("div", charts, class_="charts") + note)


def comparisons(material: Material) -> Markup | None:
    """Paired differences, and the control."""
    target = material.head["headline"]["target"]
    pooled = [
        s
        for s in material.comparisons
        if s.about["subject"] == "all"
        and s.about["target"] == target
        and s.name in ("top1", "top5", "auc")
    ]
    charts = []
    for what in dict.fromkeys(s.about["comparison"] for s in pooled):
        some = sorted(
            (s for s in pooled if s.about["comparison"] == what),
            key=lambda s: s.about["n_averaged"],
        )
        lines: list[tuple[str, list[Mark]]] = []
        for metric in dict.fromkeys(s.name for s in some):
            lines.append((metric_name(metric), []))
            for s in (s for s in some if s.name == metric):
                k = s.about["n_averaged"]
                lines.append(("single trials" if k == 1 else f"{k} repeats", [mark(s, True)]))
        first, sign, second = re.split(r" ([-/]) ", what)
        if sign == "-":
            unit = "" if some[0].name == "auc" else "points"
            title, level = f"{named(first)} minus {named(second).lower()}", 0.0
            title += " (percentage points)" if unit else ""
        else:
            unit, level = "%", 1.0
            title = f"{named(first)} as a share of the {named(second).lower()}"
        figure = dots(lines, title, level, unit, words=True)
        charts.append(el("div", el("h3", title), figure))
    note = el("p", "Both systems were tested on the same trials and share bootstrap draws, so the interval is "
              "that of the difference itself. In brackets: 95\u202f% interval. Dashed line: no difference.", class_="small")  # fmt: skip
    body = Markup(note + el("div", charts, class_="charts")) if charts else Markup(
        el("p", "This run has no baseline or limit to compare with.", class_="small")
    )  # fmt: skip
    return Markup(control(material) + body)


def metrics(material: Material) -> Markup:
    """All metrics of all systems, one table per target and number of trials."""
    targets = dict.fromkeys(s.about["target"] for s in material.scores if s.about["target"]) or [""]
    chosen = material.head["headline"]
    parts = []
    for target in targets:
        mine = [
            s
            for s in material.scores
            if s.about["target"] in (target, "") and s.about["subject"] == "all"
        ]
        for k in sorted({s.about["n_averaged"] for s in mine}, reverse=True):
            here = [s for s in mine if s.about["n_averaged"] == k]
            systems = [
                name for name in material.systems if any(s.about["system"] == name for s in here)
            ]
            by = {(s.name, s.about["system"]): s for s in here}
            rows = []
            for name in dict.fromkeys(s.name for s in here):
                first = next(s for s in here if s.name == name)
                cells = [cell(by.get((name, system))) for system in systems]
                rows.append([metric_name(name), shown(first, first.chance), *cells])
            n = here[0].n
            unit = "images" if here[0].about.get("resampled") == "image" else "trials"
            trials = "Single trials" if k == 1 else f"Means of {k} trials"
            about = f"{trials}, n\u00a0=\u00a0{count(n)} {unit}" + (
                f", target {target}" if len(targets) > 1 else ""
            )
            body = table(["Metric", "Chance", *map(named, systems)], rows)
            open_ = k == chosen["n_averaged"] and target == chosen["target"]
            parts.append(el("details", el("summary", about), body, open=open_))
    gallery = el("p", f"Gallery: {material.headline.gallery}. Interval: {material.head.get('interval', '95 %')}.",
                 class_="small")  # fmt: skip
    notes = [el("p", note, class_="small") for note in material.head.get("notes", [])]
    return Markup("".join([gallery, *parts, *notes]))
