"""The table of published rows in ``experiments/README.md``, from their YAMLs and ``expected.json``.

Run: ``python -m experiments.papers`` writes it anew.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from neurovis.config import build, load_yaml
from neurovis.experiment import Experiment
from neurovis.flags import FLAG

HERE = Path(__file__).parent
README = HERE / "README.md"
BEGIN, END = "<!-- written by python -m experiments.papers -->\n", "<!-- to here -->\n"


def papers() -> dict[str, dict[str, Any]]:
    """What ``expected.json`` says, by folder."""
    files = sorted(HERE.glob("*/expected.json"))
    return {f.parent.name: json.loads(f.read_text(encoding="utf-8")) for f in files}


def command(path: Path, kind: str) -> str:
    """The ``neurovis preprocess`` or ``neurovis train`` command in the comments of a YAML."""
    text = re.sub(r"^# ?", "", path.read_text(encoding="utf-8"), flags=re.M)
    text = re.sub(r"\\\n\s+", "\\\n    ", text)
    found = re.search(rf"^  (neurovis {kind} (?:[^\n]*\\\n)*[^\n]*)$", text, re.M)
    if not found:
        raise SystemExit(
            f"{path}: no 'neurovis {kind}' among its comments; write the command there."
        )
    return found[1]


def protocol(path: Path) -> str:
    """What decides the reported weights, with the flag where test data take part."""
    kind = build(Experiment, load_yaml(path)).protocol
    return f"`{kind.component}`, {FLAG}" if kind.about.startswith(FLAG) else f"`{kind.component}`"


def figure(row: dict[str, Any]) -> str:
    """Published values with their spread and chance, in percent."""
    spread = row["spread"] or {}
    said = [
        f"{metric} {value:g}" + (f" ± {spread[metric]:g}" if metric in spread else "")
        for metric, value in (row["value"] or {}).items()
    ]
    return ", ".join(said) or "none"


def section(folder: str, paper: dict[str, Any]) -> list[str]:
    """Lines of one paper: commands that make its data, then its rows."""
    paths = {row: HERE / folder / f"{row}.yaml" for row in paper["rows"]}
    made = {row: command(path, "preprocess") for row, path in paths.items()}
    letters = {text: chr(ord("A") + i) for i, text in enumerate(dict.fromkeys(made.values()))}
    lines = [f"### {paper['title']} ({paper['reference']})", ""]
    lines += ["<!-- not run: needs the published recordings -->", "```bash"]
    for text, letter in letters.items():
        lines += [f"# {letter}", text]
    lines += [
        "```",
        "",
        "| experiment | data | published, % | of | protocol | figure is | hardware | time |",
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row, about in paper["rows"].items():
        chance = ", ".join(f"{value:g}" for value in about["chance"].values())
        cells = [f"[`{row}`]({folder}/{row}.yaml)", letters[made[row]], figure(about)]
        cells += [
            f"{about['of']}; {about['gallery']} images, chance {chance}",
            protocol(paths[row]),
        ]
        cells += [f"{about['status']} ({about['source']})" if about["source"] else about["status"]]
        cells += [about["hardware"] or "?", about["time"] or "?"]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def table() -> str:
    """The whole table."""
    lines = [line for folder, paper in papers().items() for line in section(folder, paper)]
    return "\n".join(lines)


def main() -> int:
    """Write the table between its two marks."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
