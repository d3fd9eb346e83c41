"""Analyses of a run as a report reads them: when, where, how much data.

Comes in: the folders in ``analyses/``. Goes out: `Analysed`, whose numbers are drawn as they are. A folder
that is not complete is not there; a file of another kind, or one that lacks something, is refused by
name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Score
from neurovis.report.markup import THIN, Markup, el
from neurovis.store import is_complete, open_h5, read_json

FORMAT = "neurovis-analysis"
KINDS = {"when": ("curves",), "where": ("ablation", "subjects"), "amount": ("curves",)}
COLOURS = ("s-tower", "s-ridge", "s-informed-observer", "s-optimal-observer", "s-other")


@dataclass(frozen=True, eq=False)
class Analysed:
    """One analysis.

    Parameters
    ----------
    kind : {"when", "where", "amount"}
    name : str
        Of the folder.
    data : dict
        ``analysis.json``.
    arrays : dict of array
        ``analysis.h5``, by path.
    """

    kind: str
    name: str
    data: dict[str, Any]
    arrays: dict[str, np.ndarray]


def read_analysis(folder: Path) -> Analysed:
    """Read one analysis.

    Raises
    ------
    NeurovisError
        If a file is missing, damaged or of another kind.
    """
    path = folder / "analysis.json"
    data = read_json(path, FORMAT)
    kind = data.get("kind")
    missing = [name for name in (*KINDS.get(str(kind), ()), "method") if name not in data]
    if kind not in KINDS or missing:
        what = missing[0] if missing else "a kind"
        raise NeurovisError(f"{path}: {what} is missing; run neurovis analyse again.")
    arrays: dict[str, np.ndarray] = {}
    if (folder / "analysis.h5").is_file():
        with open_h5(folder / "analysis.h5", FORMAT) as file:

            def take(name: str, item: Any) -> None:
                if hasattr(item, "dtype"):
                    text = item.dtype.kind in "OS"
                    arrays[name] = item.asstr()[()].astype(str) if text else item[()]

            file.visititems(take)
    return Analysed(kind, folder.name, data, arrays)


def read_analyses(run: Path) -> tuple[Analysed, ...]:
    """Every complete analysis of a run, by name."""
    folders = sorted((run / "analyses").glob("*")) if (run / "analyses").is_dir() else []
    folders = [f for f in folders if not f.name.startswith(".") and is_complete(f)]
    return tuple(read_analysis(folder) for folder in folders)


def score_of(entry: Any, where: str) -> Score:
    """A score of an analysis, or a sentence that names the analysis."""
    try:
        return Score.from_dict(entry)
    except (TypeError, AttributeError, NeurovisError):
        raise NeurovisError(
            f"{where}/analysis.json: a score is damaged; run neurovis analyse again."
        ) from None


def colours(names: list[str]) -> dict[str, str]:
    """A colour for every level; what a level has of its own looks like the level."""
    base = list(dict.fromkeys(name.removesuffix(" alone") for name in names))
    return {n: COLOURS[base.index(n.removesuffix(" alone")) % len(COLOURS)] for n in names}


def key(names: dict[str, str], chance: bool = True) -> Markup:
    """Markers and names of levels above their charts."""
    from neurovis.report.plots import marker

    parts = [
        el(
            "span",
            el("svg", marker(7, 7, colour, 4.2), viewBox="0 0 14 14", aria_hidden="true"),
            name,
        )
        for name, colour in names.items()
    ]
    if chance:
        dash = el("line", class_="chance", x1=0, x2=18, y1=7, y2=7)
        box = el("svg", dash, viewBox="0 0 18 14", style="width:18px", aria_hidden="true")
        parts.append(el("span", box, "chance"))
    return el("p", parts, class_="legend")


def per_cent(score: Score | dict[str, Any]) -> Markup:
    """A value over its interval, in per cent."""
    value, low, high = (
        (score.value, score.low, score.high)
        if isinstance(score, Score)
        else (score["value"], score["low"], score["high"])
    )
    shown = f"{100 * value:.1f}{THIN}%".replace("-", "−")
    span = f"[{100 * low:.1f}, {100 * high:.1f}]".replace("-", "−")
    return Markup(el("span", shown) + el("small", span))


def method(one: Analysed, about: Score) -> Markup:
    """How the numbers were made, in small letters."""
    n = about.n
    words = f"n\u00a0=\u00a0{n} images; {about.gallery}; {about.protocol}. {one.data['method']}."
    return el("p", words, class_="small")
