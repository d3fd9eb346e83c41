"""Scores of reconstructions as a table for the terminal, low-level metrics apart from high-level ones.

Comes in: scores of ``neurovis evaluate`` of reconstructions, comparisons among them. Goes out: text with
metrics by system, chance, intervals of what the brain painted, and its paired lead over the baselines.
"""

from __future__ import annotations

from collections.abc import Iterator

from neurovis import flags
from neurovis.records import Score

COLUMNS = ("brain", "nearest", "floor", "ceiling", "low")
LEVELS = {
    "low": "low-level: what is where",
    "high": "high-level: what it is",
    "set": "sets: all pictures together (chance: what a perfect set would get)",
}


def _number(score: Score, value: float, signed: bool = False) -> str:
    share = score.name.startswith(("top", "2-way"))
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f}" if share else f"{value:{sign}.3f}"


def _cell(score: Score, interval: bool, signed: bool = False) -> str:
    value = _number(score, score.value, signed)
    if not interval:
        return value
    return f"{value} [{_number(score, score.low, signed)}, {_number(score, score.high, signed)}]"


def picture_table(scores: list[Score]) -> str:
    """A table for the terminal.

    Parameters
    ----------
    scores : list of Score
        Scores and comparisons.

    Returns
    -------
    str
    """
    plain = [s for s in scores if "comparison" not in s.about]
    led = [s for s in scores if "comparison" in s.about]
    first = plain[0]
    protocol = first.protocol.partition("; looked at through ")[0]
    lines = [f"{first.gallery}; protocol {protocol}; 95 % intervals; 2-way and top in %"]
    lines += [text] if (text := flags.warning(protocol)) else []
    brain = [s for s in plain if s.about["system"] == "brain"] or plain
    for n_averaged in sorted({s.about["n_averaged"] for s in brain}, reverse=True):
        here = [s for s in brain if s.about["n_averaged"] == n_averaged]
        lines += [*_level_lines(here, plain, led, n_averaged), ""]
    return "\n".join(lines).rstrip() + "\n"


def _level_lines(
    here: list[Score], plain: list[Score], led: list[Score], n_averaged: int
) -> Iterator[str]:
    pooled = [s for s in here if s.about["subject"] == "all"]
    trials = "single trials" if n_averaged == 1 else f"mean of {n_averaged} trials"
    yield f"{trials}, n = {pooled[0].n} images, {pooled[0].about['n_rows']} rows"
    choices = list(dict.fromkeys(s.about["choice"] for s in pooled))
    for choice in choices:
        mine = [s for s in pooled if s.about["choice"] == choice]
        if len(choices) > 1:
            yield f" {choice}, {mine[0].about['samples']} per row"
        columns = {name: _column(plain, name, n_averaged, choice) for name in COLUMNS}
        own = mine[0].about["system"]
        columns = {own: {s.name: s for s in mine}} | {
            k: v for k, v in columns.items() if v and k != own
        }
        for level, title in LEVELS.items():
            some = [s for s in mine if s.about["level"] == level]
            if not some:
                continue
            rows = [["metric", "chance", *columns]]
            for score in some:
                cells = [
                    _cell(column[score.name], name == own) if score.name in column else "-"
                    for name, column in columns.items()
                ]
                rows.append([score.name, _number(score, score.chance), *cells])
            yield f"  {title}"
            yield from _aligned(rows)
        yield from _leads(led, mine, n_averaged, choice)
    yield from _subjects(here, choices[0])


def _column(plain: list[Score], system: str, n_averaged: int, choice: str) -> dict[str, Score]:
    """Scores of one system for the same rows; the ceiling's are of no number of trials."""
    own = [s for s in plain if s.about["system"] == system and s.about["subject"] == "all"]
    if system == "ceiling":
        own.sort(key=lambda s: s.about["n_averaged"] == n_averaged)
    else:
        own = [s for s in own if s.about["n_averaged"] == n_averaged]
    chosen = {s.name: s for s in own if s.about["choice"] == choice}
    return chosen if chosen else {s.name: s for s in own}


def _leads(led: list[Score], mine: list[Score], n_averaged: int, choice: str) -> Iterator[str]:
    wanted = {"n_averaged": n_averaged, "choice": choice, "subject": "all"}
    some = [s for s in led if all(s.about[k] == v for k, v in wanted.items())]
    leads = list(dict.fromkeys(s.about["comparison"] for s in some))
    if not leads:
        return
    yield "  paired differences"
    rows = [["metric", *leads]]
    for score in mine:
        found = {s.about["comparison"]: s for s in some if s.name == score.name}
        if found:
            cells = [_cell(found[w], True, True) if w in found else "-" for w in leads]
            rows.append([score.name, *cells])
    yield from _aligned(rows)


def _subjects(here: list[Score], choice: str) -> Iterator[str]:
    """Each subject by itself, where there are several."""
    names = list(dict.fromkeys(s.about["subject"] for s in here))
    if len(names) < 3:
        return
    some = [s for s in here if s.about["choice"] == choice]
    titles = list(dict.fromkeys(s.name for s in some if s.about["level"] != "set"))
    rows = [["metric", *(f"subject {name}" for name in names if name != "all")]]
    for title in titles:
        known = {s.about["subject"]: s for s in some if s.name == title}
        cells = [_cell(known[n], False) if n in known else "-" for n in names if n != "all"]
        rows.append([title, *cells])
    yield f"  subjects, {some[0].about['system']}"
    yield from _aligned(rows)


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "    " + "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip()
