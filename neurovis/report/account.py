"""How the numbers came about: protocol, config, versions, and the commands that make them again.

Comes in: a `Material`. Goes out: `Markup`. Folders of absolute paths are left out of everything, so
that a report tells nobody where it was made.
"""

from __future__ import annotations

import json
import shlex
from pathlib import PurePosixPath
from typing import Any

from neurovis.report.markup import Markup, count, el, plural
from neurovis.report.material import Material
from neurovis.report.sections import table

HOW = ("prepared", "embeddings")
"""Options of reconstruction that are places of files, which a report does not tell."""


def listed(pairs: list[tuple[str, Any]]) -> Markup:
    """Names and values; those without a value are left out."""
    return el("dl", [(el("dt", name), el("dd", value)) for name, value in pairs if value])


def component(value: Any) -> str:
    """A component of a config in a few words: its name and options."""
    if not isinstance(value, dict):
        return str(value or "")
    options = [
        f"{k} {component(v)}" if isinstance(v, dict) else f"{k} {v}"
        for k, v in value.items()
        if k not in ("name", "device")
        and v not in (None, "", [], {})
        # a component within, such as a target's encoder; plain options within are in the full config
        and (not isinstance(v, dict) or "name" in v)
    ]
    if "name" not in value:
        return ", ".join(options)
    return f"{value['name']}" + (f" ({', '.join(options)})" if options else "")


def _split(material: Material) -> str:
    folds = material.folds
    unit = folds[0].unit
    sides = ", ".join(
        f"{_span([len(getattr(f, side)) for f in folds])} {words}"
        for side, words in (
            ("train", "for training"),
            ("validation", "for validation"),
            ("test", "for test"),
        )
    )
    turns = "" if len(folds) == 1 else f"{len(folds)} folds, every {unit} left out in turn; "
    return f"{turns}{unit}s: {sides}; no {unit} is on two sides"


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def protocol(material: Material) -> Markup:
    """The exact protocol."""
    config, head = material.config, material.headline
    ks = sorted({s.about["n_averaged"] for s in material.scores})
    targets = config.get("targets") if isinstance(config.get("targets"), dict) else {}
    pairs = [
        ("Protocol", head.protocol),
        ("Split", _split(material)),
        ("Gallery", head.gallery),
        ("Trials averaged", ", ".join(map(str, ks))),
        ("Interval", material.head.get("interval")),
        *[(f"Target {name}", component(value)) for name, value in targets.items()],
        ("Tower", component(config.get("brain"))),
        ("Loss", component(config.get("loss"))),
        ("Training", component(config.get("train"))),
        ("Baseline", component(config.get("baseline"))),
        ("Control", f"shuffled labels ({config['control']})" if config.get("control") else None),
        ("Seed", str(config.get("seed", material.provenance.get("seed", "")))),
    ]
    body = [listed(pairs)]
    if material.config_text:
        full = el("pre", el("code", material.config_text))
        body.append(el("details", el("summary", "The full config (config.yaml)"), full))
    return Markup("".join(body))


def versions(material: Material) -> Markup | None:
    """Versions, host, time, and what went in."""
    record = material.provenance
    if not record:
        return None
    host = record.get("host") or {}
    seconds = record.get("seconds")
    pairs = [
        ("Run", material.name),
        ("Finished", record.get("time")),
        ("Took", f"{float(seconds):.0f} s" if isinstance(seconds, int | float) else None),
        (
            "Machine",
            f"{host.get('system', '')} {host.get('machine', '')}, {plural(int(host.get('cores') or 1), 'core')}",
        ),
        ("Python", record.get("python")),
        *[
            (f"Input: {name}", el("code", value))
            for name, value in (record.get("inputs") or {}).items()
        ],
    ]
    packages = [[name, version] for name, version in (record.get("versions") or {}).items()]
    full = (
        el("details", el("summary", "Packages"), table(["Package", "Version"], packages))
        if packages
        else None
    )
    return Markup(listed(pairs) + (full or ""))


def reproduce(material: Material) -> Markup:
    """The commands that make this page again."""
    data = material.config.get("data")
    path = data.get("path") if isinstance(data, dict) else None
    prepared = PurePosixPath(str(path).replace("\\", "/")).name if path else ""
    lines = []
    if "-" in prepared:
        name = prepared.rsplit("-", 1)[0]
        lines.append(
            f"neurovis preprocess {name} --root RAW --out OUT [OPTIONS]     # gives OUT/prepared/{prepared}"
        )
        lines.append(f"neurovis train config.yaml --out OUT data.path=OUT/prepared/{prepared}")
    else:
        lines.append("neurovis train config.yaml --out OUT")
    run = f"OUT/runs/{material.name}"
    lines.append(f"neurovis evaluate {run}")
    for painted in material.painted:
        told = {k: v for k, v in painted.config.items() if k not in HOW and v not in (None, "", [])}
        words = [shlex.quote(f"{k}={json.dumps(v)}") for k, v in told.items()]
        lines.append(" ".join([f"neurovis generate {run}", *words]))
        lines.append(f"neurovis evaluate {run}/reconstructions/{painted.name}")
    lines.append(f"neurovis report {run}")
    words = "config.yaml is the one in the run folder (printed in full above); OPTIONS are those that were "
    words += "given to preprocessing, kept in config.yaml of the prepared folder. A folder's name ends in the "
    words += "fingerprint of everything that decides its content: another number after preprocessing means "
    words += "other recordings, other steps or another version."
    return Markup(el("pre", el("code", "\n".join(lines))) + el("p", words, class_="small"))
