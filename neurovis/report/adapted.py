"""Scores after a correction at test time, in tables of their own.

Comes in: a `Material`. Goes out: `Markup`, or None where nothing was corrected. The transductive scores
have their own title and warning: they are no match for the scores above them.
"""

from __future__ import annotations

from dataclasses import replace

from neurovis.records import Score
from neurovis.report.headline import metric_name, shown
from neurovis.report.markup import Markup, count, el
from neurovis.report.material import Material, named
from neurovis.report.sections import cell, table

WARNING = (
    "These scores are transductive: other test trials entered each answer, which a decoder in use does "
    "not have. They must not be compared with scores that look at one trial at a time, and they are no "
    "part of the headline, the comparisons or the control."
)
WORDS = (
    "Corrected by what was learned from validation predictions alone, one test trial at a time. They "
    "are no part of the headline either."
)


def adapted(material: Material) -> Markup | None:
    """Calibrated and transductive scores, each kind under its title."""
    parts = []
    for apart, title, words in (
        (False, "Calibrated on validation", WORDS),
        (True, "Transductive", WARNING),
    ):
        some = [s for s in material.adapted if s.about["transductive"] == apart]
        some = [s for s in some if s.about["subject"] == "all"]
        if some:
            style = "verdict bad" if apart else "small"
            parts += [el("h3", title), el("p", words, class_=style), *_tables(material, some)]
    return Markup("".join(parts)) if parts else None


def _tables(material: Material, scores: list[Score]) -> list[Markup]:
    """One table per target and number of trials: corrections and metrics by system."""
    made = []
    for target, k in dict.fromkeys((s.about["target"], s.about["n_averaged"]) for s in scores):
        here = [s for s in scores if (s.about["target"], s.about["n_averaged"]) == (target, k)]
        systems = list(dict.fromkeys(s.about["system"] for s in here))
        by = {(s.about["adaptation"], s.about["metric"], s.about["system"]): s for s in here}
        rows = []
        for name, metric in dict.fromkeys(key[:2] for key in by):
            found = [by.get((name, metric, system)) for system in systems]
            found = [s and replace(s, name=metric) for s in found]
            first = next(s for s in found if s)
            words = "Negative log-likelihood" if metric == "nll" else metric_name(metric)
            level = shown(first, first.chance)
            rows.append([f"{name}: {words}", level, *map(cell, found)])
        trials = "Single trials" if k == 1 else f"Means of {k} trials"
        title = f"{trials}, n\u00a0=\u00a0{count(here[0].n)} images"
        title += f", target {target}" if target else ""
        body = table(["Correction and metric", "Chance", *map(named, systems)], rows)
        open_ = k == material.headline.about["n_averaged"]
        made.append(el("details", el("summary", title), body, open=open_))
    protocols = dict.fromkeys(s.protocol for s in scores)
    return [*made, el("p", f"Protocols: {'; '.join(protocols)}.", class_="small")]
