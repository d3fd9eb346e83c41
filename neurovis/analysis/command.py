"""``neurovis analyse``: from a run or an experiment's YAML to an analysis's config, and its table.

Comes in: words of the command line. Goes out: the artefact, and lines for the terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurovis.analysis.amount import Amount, amount
from neurovis.analysis.base import Analysis
from neurovis.analysis.when import When, when
from neurovis.analysis.where import Where, where
from neurovis.config import build, load_yaml, override
from neurovis.errors import UsageError, unknown
from neurovis.store import is_complete, read_json

KINDS: dict[str, tuple[type[Analysis], Callable[..., Path]]] = {
    "when": (When, when),
    "where": (Where, where),
    "amount": (Amount, amount),
}


def configured(source: str, kind: str, overrides: list[str]) -> tuple[Analysis, Path | None]:
    """The config of an analysis, and the run where one was given.

    Parameters
    ----------
    source : str
        An experiment's YAML, or a run folder. Data and targets come from it.
    kind : {"when", "where", "amount"}
    overrides : list of str
        ``key=value``; ``targets={name: encoder, ...}`` replaces all levels.

    Raises
    ------
    UsageError
        If the source is neither, or an option is unknown.
    """
    if kind not in KINDS:
        raise UsageError(unknown("analysis", kind, KINDS))
    path = Path(source)
    run = path if path.is_dir() else None
    if run is not None and (not is_complete(run) or not (run / "config.yaml").is_file()):
        raise UsageError(
            f"{run}: expected a run that neurovis train finished, or an experiment's YAML, found another "
            "folder; give one of both."
        )
    found = load_yaml(path / "config.yaml" if run is not None else path)
    known = {k: found[k] for k in ("data", "targets", "seed") if k in found}
    if not known.get("targets"):
        known.pop("targets", None)
    return build(KINDS[kind][0], override(known, overrides)), run


def analyse(
    config: Analysis, run: Path | None, out: str | Path, n_jobs: int = 2, quiet: bool = False
) -> Path:
    """Run an analysis; see `when`, `where`, `amount`."""
    from neurovis.parallel import Workers

    return KINDS[config.kind][1](config, out, run, build(Workers, {"n_jobs": n_jobs}), quiet)


def table(folder: str | Path) -> str:
    """What a finished analysis says, for the terminal.

    Parameters
    ----------
    folder : path
        Of the artefact.
    """
    data = read_json(Path(folder) / "analysis.json", "neurovis-analysis")
    rows = {"when": _when, "where": _where, "amount": _amount}[data["kind"]](data)
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


def _ms(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return "-"
    text = f"{1000 * one['value']:.0f}"
    return (
        text
        if one["low"] is None
        else f"{text} [{1000 * one['low']:.0f}, {1000 * one['high']:.0f}]"
    )


def _said(score: dict[str, Any]) -> str:
    return f"{100 * score['value']:.1f} [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"


def _when(data: dict[str, Any]) -> list[list[str]]:
    shown = [c for c in data["curves"] if c["subject"] == "all" and not c["control"]]
    rows = []
    for kind in dict.fromkeys(c["kind"] for c in shown):
        some = [c for c in shown if c["kind"] == kind]
        names = [one["name"] for one in some[0]["latencies"]]
        if rows:
            rows = [row + [""] * (len(names) + 2 - len(row)) for row in rows]
        rows.append([f"{kind}, ms", "best 2-way in %", *names])
        for curve in some:
            best = max((window[0] for window in curve["scores"]), key=lambda s: s["value"])
            rows.append([curve["level"], _said(best), *map(_ms, curve["latencies"])])
    width = max(map(len, rows))
    return [row + [""] * (width - len(row)) for row in rows]


def _where(data: dict[str, Any]) -> list[list[str]]:
    rows = [["level", "region", "alone, 2-way in %", "without it", "loses"]]
    for one in data["ablation"]:
        if one["subject"] == "all":
            lost = one.get("loses")
            rows.append(
                [
                    one["level"],
                    one["region"],
                    _said(one["keep"][0]),
                    _said(one["leave"][0]) if one.get("leave") else "-",
                    _said(lost) if lost else "-",
                ]
            )
    return rows


def _amount(data: dict[str, Any]) -> list[list[str]]:
    rows = [["level", "of", "n", "2-way in %", "fit", "twice as much would give"]]
    for curve in data["curves"]:
        fit = curve.get("fit") or {}
        for i, point in enumerate(curve["points"]):
            last = i == len(curve["points"]) - 1
            said = f"exponent {fit['exponent'][0]:.2f}" if last and fit.get("exponent") else ""
            more = fit["further"][0] if last and fit.get("further") else None
            rows.append(
                [
                    curve["level"] if i == 0 else "",
                    curve["of"] if i == 0 else "",
                    f"{point['n']:g}",
                    _said(point["scores"][0]),
                    said,
                    _said(more) if more else "",
                ]
            )
    return rows
