"""What a paper needs of a run: figures as PDF, tables as LaTeX and CSV.

Comes in: a run folder after ``neurovis evaluate``, with reconstructions or without. Goes out: a folder of
files. CSV holds every score in full; LaTeX holds what a table in print can (booktabs), each number with
interval and chance. The same run gives the same bytes: no dates, no paths.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neurovis.progress import progress
from neurovis.records import Score
from neurovis.report import quality
from neurovis.report.frames import shrunk
from neurovis.report.headline import metric_name, shown
from neurovis.report.markup import PATH, THIN
from neurovis.report.material import Material, named, read
from neurovis.report.painted import Painted
from neurovis.report.ranking import ranking
from neurovis.store import atomic

COLUMNS = ["system", "target", "metric", "subject", "n_averaged", "value", "low", "high", "chance", "n", "higher_is_better", "gallery", "protocol", "comparison", "generator", "level", "choice"]  # fmt: skip
SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"}
SPECIAL |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"}
SPECIAL |= {"−": "$-$", "↓": r"$\downarrow$", THIN: r"\,", "\u00a0": "~", "…": r"\dots{}"}
PER_GROUP = 4
WIDTH = 7.0
"""Of figures, in inches: the text width of two columns."""
COLOURS = {
    "tower": "#0067b0", "ridge": "#cc5500", "informed_observer": "#00805c",
    "optimal_observer": "#a3478a", "shuffled": "#717a84",
}  # fmt: skip
MARKERS = {"tower": "o", "ridge": "s", "informed_observer": "D", "optimal_observer": "^"}


def paper(run: str | Path, folder: str | Path, quiet: bool = False) -> list[Path]:
    """Write the figures and tables of a run.

    Parameters
    ----------
    run : path
        Folder made by ``neurovis train`` and scored by ``neurovis evaluate``.
    folder : path
        Where the files go; what it holds under other names stays.
    quiet : bool

    Returns
    -------
    list of Path
        ``retrieval.csv`` and ``.tex``, ``repeats.pdf``; of reconstructions ``reconstruction.csv`` and
        ``.tex``, ``gallery.pdf``. What a run lacks is left out.

    Raises
    ------
    NeurovisError
        If the run is not there, not evaluated, or a file of it is damaged.
    """
    material, folder = read(Path(run)), Path(folder)
    jobs: list[tuple[str, Callable[[], bytes | None]]] = [
        ("retrieval.csv", lambda: rows(retrieval_rows(material))),
        ("retrieval.tex", lambda: retrieval_table(material).encode()),
        ("repeats.pdf", lambda: repeats(material)),
    ]
    if any(painted.scores for painted in material.painted):
        jobs.append(("reconstruction.csv", lambda: rows(reconstruction_rows(material))))
    if material.painted:
        jobs.append(("gallery.pdf", lambda: gallery(material)))
        if material.painted[0].scores:
            jobs.append(("reconstruction.tex", lambda: reconstruction_table(material).encode()))
    written = []
    for name, make in progress(jobs, desc="paper", quiet=quiet, unit="file"):
        data = make()
        if data is not None:
            with atomic(folder / name) as partial:
                partial.write_bytes(data)
            written.append(folder / name)
    return written


# ---- CSV ---------------------------------------------------------------------------------------


def rows(entries: Sequence[dict[str, Any]]) -> bytes:
    """A CSV of entries, numbers as they are."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue().encode("utf-8")


def _entry(score: Score) -> dict[str, Any]:
    about = {k: score.about[k] for k in COLUMNS if k in score.about}
    numbers = {k: getattr(score, k) for k in ("value", "low", "high", "chance", "n")}
    more = {"higher_is_better": score.higher_is_better, "metric": score.name}
    words = {k: PATH.sub("…/", getattr(score, k)) for k in ("gallery", "protocol")}
    return {**about, **numbers, **more, **words}


def retrieval_rows(material: Material) -> list[dict[str, Any]]:
    """Every retrieval score and comparison."""
    return [_entry(score) for score in [*material.scores, *material.comparisons]]


def reconstruction_rows(material: Material) -> list[dict[str, Any]]:
    """Every score of every folder of reconstructions."""
    return [
        {**_entry(score), "generator": painted.name, "level": quality.level(score)}
        for painted in material.painted
        for score in [*painted.scores, *painted.comparisons]
    ]


# ---- LaTeX -------------------------------------------------------------------------------------


def tex(value: Any) -> str:
    """Text for LaTeX: special characters escaped, folders of an absolute path left out."""
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", PATH.sub("…/", str(value)))
    # what follows the end of a row would be taken for its option
    guard = "{}" if text[:1] in ("[", "*") else ""
    return guard + "".join(SPECIAL.get(c, c) for c in text)


def _table(
    header: list[str], parts: list[tuple[str, list[list[str]]]], caption: str, label: str
) -> str:
    """A table in booktabs' style; cells are LaTeX already."""
    lines = ["% needs \\usepackage{booktabs}", "\\begin{table}", "\\centering", "\\small"]
    lines += [f"\\caption{{{caption}}}", f"\\label{{tab:{label}}}"]
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", "\\toprule"]
    lines.append(" & ".join(header) + r" \\")
    for title, body in parts:
        lines.append("\\midrule")
        if title:
            lines.append(f"\\multicolumn{{{len(header)}}}{{l}}{{\\emph{{{title}}}}} \\\\")
        lines += [" & ".join(row) + r" \\" for row in body]
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


def _cell(score: Score | None, say: Callable[[Score, float], str]) -> str:
    if score is None:
        return "--"
    bare = lambda value: say(score, value).removesuffix(f"{THIN}%")  # noqa: E731
    return f"{tex(bare(score.value))} {{\\scriptsize[{tex(bare(score.low))}, {tex(bare(score.high))}]}}"


def retrieval_table(material: Material) -> str:
    """Systems by metric at the headline's target and number of trials, all subjects together."""
    head, target = material.headline, material.head["headline"]["target"]
    k = head.about["n_averaged"]
    some = [
        s
        for s in material.scores
        if s.about["subject"] == "all"
        and s.about["target"] in (target, "")
        and s.about["n_averaged"] == k
    ]
    systems = [name for name in material.systems if any(s.about["system"] == name for s in some)]
    by = {(s.name, s.about["system"]): s for s in some}
    body = []
    for name in dict.fromkeys(s.name for s in some):
        first = next(s for s in some if s.name == name)
        chance = shown(first, first.chance)
        unit = " (\\%)" if chance.endswith("%") else ""
        cells = [_cell(by.get((name, system)), shown) for system in systems]
        body.append([tex(metric_name(name)) + unit, tex(chance.removesuffix(f"{THIN}%")), *cells])
    trials = "single trials" if k == 1 else f"means of {k} trials of one person"
    caption = f"Retrieval from {trials}; n = {head.n}. Gallery: {head.gallery}. Protocol: {head.protocol}. "
    caption += f"In brackets: {material.head.get('interval') or '95 % intervals'}."
    header = ["Metric", "Chance", *(tex(named(system)) for system in systems)]
    return _table(header, [("", body)], tex(caption), "retrieval")


def reconstruction_table(material: Material) -> str:
    """Systems by metric of the newest reconstructions, low-level and high-level apart."""
    painted = material.painted[0]
    some = quality.chosen(painted.scores)
    systems = [s for s in quality.NAMES if any(one.about["system"] == s for one in some)]
    by = {(s.name, s.about["system"]): s for s in some}
    parts = []
    for level, title in quality.LEVELS.items():
        body = []
        for name in dict.fromkeys(s.name for s in some if quality.level(s) == level):
            first = next(s for s in some if s.name == name)
            chance = quality.say(first, first.chance)
            unit = " (\\%)" if chance.endswith("%") else ""
            cells = [_cell(by.get((name, system)), quality.say) for system in systems]
            body.append(
                [tex(quality.title(first)) + unit, tex(chance.removesuffix(f"{THIN}%")), *cells]
            )
        parts += [(tex(title), body)] if body else []
    first = quality.headline(painted)
    caption = f"Reconstructions by {painted.generator}; n = {first.n}. Gallery: {first.gallery}. "
    caption += f"Protocol: {first.protocol.partition('; looked at')[0]}. "
    caption += f"In brackets: {painted.head.get('interval') or '95 % intervals'}."
    header = ["Metric", "Chance", *(tex(quality.NAMES[system]) for system in systems)]
    return _table(header, parts, tex(caption), "reconstruction")


# ---- figures -----------------------------------------------------------------------------------


def _pdf(figure: Any) -> bytes:
    """A figure as PDF, without dates and versions in it."""
    data = io.BytesIO()
    figure.savefig(
        data, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": "neurovis"}
    )
    return data.getvalue()


def _style() -> Any:
    import matplotlib

    return matplotlib.rc_context({
        "pdf.fonttype": 42, "pdf.compression": 6, "font.size": 8, "font.family": "DejaVu Sans",
        "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False,
        "text.parse_math": False, "text.usetex": False, "image.composite_image": False,
    })  # fmt: skip


def repeats(material: Material) -> bytes | None:
    """Top-1 and top-5 of every system against the number of repeats averaged."""
    from matplotlib.figure import Figure

    numbers = sorted({s.about["n_averaged"] for s in material.scores})
    if material.category or len(numbers) < 2:
        return None
    with _style():
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        for axes, metric in zip(figure.subplots(1, 2), ("top1", "top5")):
            for system in material.systems:
                scores = material.select(metric, system)
                if not scores:
                    continue
                x = [s.about["n_averaged"] for s in scores]
                value, low, high = (
                    [100 * getattr(s, n) for s in scores] for n in ("value", "low", "high")
                )
                colour = COLOURS.get(system, "#8a6d00")
                axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
                axes.plot(x, value, color=colour, marker=MARKERS.get(system, "v"), markersize=3.5,
                          linewidth=1.2, label=named(system))  # fmt: skip
                chance = 100 * scores[0].chance
            axes.axhline(chance, color="#5b6570", linewidth=0.8, linestyle="--", label="chance")
            axes.set_xscale("log", base=2)
            axes.set_xticks(numbers, [str(n) for n in numbers])
            axes.minorticks_off()
            axes.set_ylim(0, None)
            axes.set_xlabel("repeats averaged")
            axes.set_ylabel(f"{metric_name(metric)} (%)")
        axes.legend(frameon=False, fontsize=7)
        return _pdf(figure)


def gallery(material: Material) -> bytes:
    """Seen above reconstructed: best, median and worst of the newest reconstructions."""
    from matplotlib.figure import Figure

    painted: Painted = material.painted[0]
    ranked = ranking(painted, material)
    groups = ranked.examples(PER_GROUP)
    columns = [(name, row) for name, some in groups.items() for row in some]
    lines = ["seen", "reconstructed", *(n for n in ("nearest", "ceiling") if n in painted.systems)]
    with _style(), painted.pictures() as fetch:
        gap, left = 0.25, 0.8
        n = len(columns) + gap * (len(groups) - 1)
        side = (WIDTH - left) / n
        height = side * len(lines) + 0.42
        figure = Figure(figsize=(WIDTH, height))
        last, at = "", left
        for name, row in columns:
            at += gap * side if last and name != last else 0
            if name != last:
                figure.text(at / WIDTH, 1 - 0.11 / height, name, fontsize=8, weight="bold")
            last = name
            for line, picture in enumerate(_column(painted, fetch, row, lines)):
                bottom = height - 0.17 - (line + 1) * side
                place = (at / WIDTH, bottom / height, 0.95 * side / WIDTH, 0.95 * side / height)
                axes = figure.add_axes(place)
                axes.set_axis_off()
                if picture is not None:
                    axes.imshow(shrunk(picture, 256), interpolation="none")
            label = material.label(str(painted.brain.image[row]))
            figure.text(
                (at + 0.475 * side) / WIDTH, 0.13 / height, label[:16], fontsize=5.5, ha="center"
            )
            at += side
        for line, words in enumerate(lines):
            middle = height - 0.17 - (line + 0.5) * side
            figure.text(0.02, middle / height, words, va="center", fontsize=7)
        return _pdf(figure)


def _column(painted: Painted, fetch: Any, row: int, lines: Sequence[str]) -> list[Any]:
    brain = painted.brain
    key = str(brain.image[row]), str(brain.subject[row]), int(brain.n_averaged[row])
    made = [fetch("seen", painted.seen[key[0]]), fetch("brain", row, brain.samples(row)[0])]
    for name in lines[2:]:
        place = painted.systems[name].find(*key)
        made.append(None if place is None else fetch(name, place, 0))
    return made
