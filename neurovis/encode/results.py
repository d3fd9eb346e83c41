"""What all subjects say together: the control, means over subjects, the table of the terminal.

Comes in: scores of each subject. Goes out: scores, plain data and text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurovis.records import Score
from neurovis.store import read_json


def control(scores: list[Score]) -> dict[str, Any] | None:
    """Whether the model of shuffled images stays at chance: its interval over all targets holds 0."""
    found = [
        s
        for s in scores
        if s.about["shuffled"] and s.name == "pearson" and s.about["group"] == "all"
    ]
    if not found:
        return None
    rows = [
        {"subject": s.about["subject"], "value": s.value, "low": s.low, "high": s.high, "n": s.n}
        for s in found
    ]
    return {"at_chance": all(r["low"] <= 0 <= r["high"] for r in rows), "subjects": rows}


def pooled(parts: list[dict[str, Any]]) -> list[Score]:
    """Means over subjects; images move together where all saw the same ones."""
    same = all(np.array_equal(part["images"], parts[0]["images"]) for part in parts)
    out = []
    by_key: dict[tuple, list[tuple[Score, np.ndarray]]] = {}
    for part in parts:
        for one in part["scores"]:
            key = (one.about["system"], one.about["group"], one.name)
            by_key.setdefault(key, []).append((one, part["draws"][key]))
    for (_, _, name), several in by_key.items():
        if len(several) < len(parts):
            continue
        draws = np.stack([d for _, d in several])
        if not same:
            rng = np.random.default_rng(0)
            draws = np.stack([rng.permutation(d) for d in draws])
        low, high = np.quantile(draws.mean(0), [0.025, 0.975])
        first = several[0][0]
        value = float(np.mean([one.value for one, _ in several]))
        about = {**first.about, "subject": "all", "n_subjects": len(several)}
        about["n_targets"] = sum(one.about["n_targets"] for one, _ in several)
        if "n_significant" in about:
            about["n_significant"] = sum(one.about["n_significant"] for one, _ in several)
        out.append(
            Score(value, first.n, 0.0, min(float(low), value), max(float(high), value), np.zeros(0),
                  first.gallery, first.protocol, True, name, about)
        )  # fmt: skip
    return out


def table(folder: str | Path) -> str:
    """Families and readouts by group, for the terminal."""
    data = read_json(Path(folder) / "encoding.json", "neurovis-encoding")
    scores = [Score.from_dict(one) for one in data["scores"]]
    who = "all" if len(data["subjects"]) > 1 else data["subjects"][0]
    mine = [s for s in scores if s.about["subject"] == who]
    names = {s.name for s in mine}
    measure = "pearson_normalised" if "pearson_normalised" in names else "pearson"
    mine = [s for s in mine if s.name == measure]
    groups = list(dict.fromkeys(s.about["group"] for s in mine))
    rows = [["", *groups]]
    for system in dict.fromkeys(s.about["system"] for s in mine):
        cells = {s.about["group"]: s for s in mine if s.about["system"] == system}
        first = [
            f"{cells[g].value:.3f} [{cells[g].low:.3f}, {cells[g].high:.3f}]" if g == "all" else
            f"{cells[g].value:.3f}" if g in cells else "-"
            for g in groups
        ]  # fmt: skip
        rows.append([system, *first])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [f"{measure}, {mine[0].gallery}" if mine else "no target was scored"]
    if mine:
        lines.append(f"{mine[0].protocol}; 95 % intervals; chance 0; {who} subject(s)")
    lines += ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
    if data["control"]:
        state = "at chance" if data["control"]["at_chance"] else "NOT at chance: look for a leak"
        lines.append(f"shuffled images: {state}")
    for one in map(Score.from_dict, data["identified"]):
        if one.name == "top1":
            lines.append(f"identification, {one.about['system']}: {one}")
    return "\n".join([*lines, *data["notes"]]) + "\n"
