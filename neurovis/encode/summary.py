"""What the report shows of each group of targets, computed once: ceilings, partition, fields, winners.

Comes in: `Responses` and what was scored. Goes out: plain data for ``encoding.json``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurovis.encode.experiment import Encode
from neurovis.encode.responses import Responses
from neurovis.encode.scoring import Scored


def summary(experiment: Encode, responses: Responses, scored: Scored) -> dict[str, Any]:
    """Ceilings, partition of variance, receptive fields and best families of each group.

    Returns
    -------
    dict
        ``ceilings`` (group: definition: quartiles over targets that vary), ``partition`` (readout:
        group: part: mean over scored targets), ``fields`` (system: group: medians over scored
        targets), ``best`` (readout: group: share of scored targets per family, ``by`` the ``evidence`` of
        the images that were learned from or by ``test`` images).
    """
    arrays, groups = scored.arrays, responses.groups()
    keep, varies = arrays["chosen"], ~arrays["constant"]
    out: dict[str, Any] = {"ceilings": {}, "partition": {}, "fields": {}, "best": {}}
    for group, member in groups.items():
        if (member & varies).any():
            out["ceilings"][group] = {
                name: _quartiles(values[member & varies])
                for name, values in responses.ceiling.items()
            }
    inside = {name: member & keep for name, member in groups.items() if (member & keep).any()}
    for name, values in arrays.items():
        kind, _, rest = name.partition("/")
        if kind == "partition":
            readout, part = rest.split("/", 1)
            place = out["partition"].setdefault(readout, {})
            for group, member in inside.items():
                place.setdefault(group, {})[part] = float(values[member].mean())
        if kind == "systems" and rest.endswith("/field_centre"):
            system = rest.removesuffix("/field_centre")
            out["fields"][system] = _fields(experiment, arrays, system, inside)
    for readout in experiment.readouts:
        winner = arrays.get(f"best/{readout}/family")
        if winner is None:
            continue
        families, sure = experiment.families_of(readout), arrays[f"best/{readout}/share"]
        out["best"][readout] = {}
        by = "evidence" if f"systems/{readout}@{families[0]}/log_evidence" in arrays else "test"
        for group, member in inside.items():
            count = np.bincount(winner[member], minlength=len(families)) / member.sum()
            out["best"][readout][group] = {
                "n": int(member.sum()),
                "by": by,
                "sure": float(np.median(sure[member])),
                "share": dict(zip(families, map(float, count))),
            }
    return out


def _quartiles(values: np.ndarray) -> list[float]:
    return [float(v) for v in np.percentile(values, [25, 50, 75])]


def _fields(
    experiment: Encode, arrays: dict[str, np.ndarray], system: str, inside: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Medians of eccentricity and size, in degrees where the pictures' width is known."""
    half = (experiment.picture_width or 2.0) / 2
    centre = arrays[f"systems/{system}/field_centre"] * half
    size = arrays[f"systems/{system}/field_size"] * half
    away = np.hypot(*centre.T)
    return {
        group: {
            "n": int(member.sum()),
            "eccentricity": float(np.median(away[member])),
            "size": float(np.median(size[member])),
        }
        for group, member in inside.items()
    }
