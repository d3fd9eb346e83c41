"""Scores as a table for the terminal.

Comes in: scores of a run, its comparisons among them. Goes out: text with systems by metric, chance
and intervals, subjects one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neurovis import flags
from neurovis.metrics import scoring
from neurovis.metrics.coverage import LEVELS
from neurovis.records import Score

PERCENT = ("top", "way")


def _number(name: str, value: float) -> str:
    if name == "median_rank":
        return f"{value:.1f}"
    return f"{100 * value:.1f}" if any(part in name for part in PERCENT) else f"{value:.3f}"


def _cell(score: Score, ratio: bool = False) -> str:
    name = "" if ratio else score.name
    low, high = _number(name, score.low), _number(name, score.high)
    return f"{_number(name, score.value)} [{low}, {high}]"


def table(scores: list[Score], curves: Sequence[dict[str, Any]] = ()) -> str:
    """A table for the terminal: systems by metric, subjects one by one, comparisons, control.

    Parameters
    ----------
    scores : list of Score
        From `evaluate_run`, `evaluate_prediction` or `read_scores`.
    curves : sequence of dict
        From `read_coverage`; those that go with the headline are shown.

    Returns
    -------
    str
    """
    plain = [s for s in scores if "comparison" not in s.about]
    observers = [s for s in plain if not s.about["target"]]
    lines: list[str] = []
    for target in dict.fromkeys(s.about["target"] for s in plain if s.about["target"]) or [""]:
        some = [s for s in plain if s.about["target"] == target]
        first = (some + observers)[0]
        lines.append(f"target {target}: {first.gallery}")
        lines.append(f"protocol {first.protocol}; 95 % intervals; shares in %")
        lines += [text] if (text := flags.warning(first.protocol)) else []
        levels = sorted({s.about["n_averaged"] for s in some}, reverse=True)
        for n_averaged in levels:
            here = [
                s for s in some + observers * bool(target) if s.about["n_averaged"] == n_averaged
            ]
            by_subject = n_averaged in (levels[0], 1)
            lines += [*block_lines(here, n_averaged, by_subject), ""]
    chosen = scoring.headline(plain)
    for score in scores:
        spoken = all(score.about[k] == chosen[k] for k in ("target", "n_averaged", "subject"))
        if "comparison" in score.about and spoken and score.name in ("top1", "top5", "auc"):
            what = score.about["comparison"]
            lines.append(f"{what}, {score.name}: {_cell(score, ratio='/' in what)}")
    lines += confident_lines(curves, chosen)
    control = scoring.check_control(plain)
    if control:
        state = "at chance" if control["at_chance"] else "NOT at chance: look for a leak"
        lines.append(
            f"shuffled-label control {state}: {control['metric']} {control['value']:.3f} "
            f"[{control['low']:.3f}, {control['high']:.3f}], chance {control['chance']:.3f}"
        )
    return "\n".join(lines).rstrip() + "\n"


def block_lines(scores: list[Score], n_averaged: int, by_subject: bool) -> list[str]:
    """Lines for one target and number of averaged trials; intervals of the first two metrics."""
    pooled = [s for s in scores if s.about["subject"] == "all"]
    names = list(dict.fromkeys(s.name for s in pooled))
    unit = {"image": "images", "trial": "trials"}[pooled[0].about["resampled"]]
    kind = "single trials" if n_averaged == 1 else f"mean of {n_averaged} trials"
    chance = {s.name: _number(s.name, s.chance) for s in pooled}
    rows = [["", *names], ["chance", *(chance[name] for name in names)]]
    for system in dict.fromkeys(s.about["system"] for s in pooled):
        own = [s for s in scores if s.about["system"] == system]
        subjects = list(dict.fromkeys(s.about["subject"] for s in own))
        apart = by_subject and system in ("tower", "prediction") and len(subjects) > 2
        for subject in subjects if apart else ["all"]:
            cells = {
                s.name: _cell(s) if s.name in names[:2] else _number(s.name, s.value)
                for s in own
                if s.about["subject"] == subject
            }
            label = system if subject == "all" else f"  subject {subject}"
            rows.append([label, *(cells.get(name, "-") for name in names)])
    return [f"{kind}, n = {pooled[0].n} {unit}", *_columns(rows)]


def confident_lines(curves: Sequence[dict[str, Any]], chosen: dict[str, Any]) -> list[str]:
    """Top-1 of the surest share of the answers, system by system, with what is sure by.

    Parameters
    ----------
    curves : sequence of dict
        As `neurovis.metrics.coverage.coverage` makes them.
    chosen : dict
        The headline: its target (the observers have none) and number of averaged trials.
    """
    shares = [round(100 * level) for level in LEVELS]
    rows = [["", *(f"{share} % kept" for share in shares), "sure by"]]
    for one in curves:
        about = one["about"]
        if (
            about["target"] in (chosen["target"], "")
            and about["n_averaged"] == chosen["n_averaged"]
        ):
            by = {score["name"]: Score.from_dict(score) for score in one["scores"]}
            cells = [_cell(by[f"top1@{share}"]) for share in shares]
            rows.append([about["system"], *cells, about["confidence"]])
    if len(rows) == 1:
        return []
    return ["top1 of the most confident answers", *_columns(rows), ""]


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
