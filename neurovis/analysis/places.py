"""Parts of the head or brain: regions by name, position or mask, and neighbours.

Comes in: recordings and a layout. Goes out: channels of each region per subject, and the channels
around each channel. A channel may be in several regions (masks overlap) or in none.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from neurovis.analysis.base import Layout
from neurovis.batches import Recordings
from neurovis.errors import NeurovisError, UsageError

TOP = 0.8
"""Height on the sphere of the head above which a sensor is at the top."""
FEWEST = 8
"""Sensors with known positions from which the head is divided by position."""


def regions(
    recordings: Recordings, layout: Layout, named: dict[str, tuple[str, ...]]
) -> dict[str, dict[str, np.ndarray]]:
    """Channels of each region.

    Parameters
    ----------
    recordings : Recordings
    layout : Layout
    named : dict of tuple of str
        Patterns of channel names by region, such as ``{occipital: ["O*", "PO*"]}``; if empty, the
        regions that preprocessing stored with voxels, else parts of the head by the positions of
        the sensors.

    Returns
    -------
    dict of dict of array of int
        By subject, then region: places in the subject's channels. Only regions that are not empty in
        any subject.

    Raises
    ------
    UsageError
        If a pattern matches no channel, or nothing is known to divide channels by.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for number, subject in enumerate(layout.subjects):
        channels = layout.channels[subject]
        names = [recordings.channel_name[i] for i in channels]
        masks = _stored(recordings, number, names)
        if named:
            found[subject] = _by_name(named, names)
        elif masks:
            found[subject] = masks
        else:
            found[subject] = _by_position(layout.position[channels])
    known = [
        name
        for name in found[layout.subjects[0]]
        if all(len(found[s].get(name, ())) for s in layout.subjects)
    ]
    if not known:
        raise UsageError(
            "regions: expected one or more that every subject has channels of, found none; name them by "
            "patterns, regions={back: [O*, PO*]}."
        )
    return {s: {name: found[s][name] for name in known} for s in layout.subjects}


def _by_name(named: dict[str, tuple[str, ...]], names: list[str]) -> dict[str, np.ndarray]:
    found = {}
    for region, patterns in named.items():
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UsageError(
                    f"regions.{region}: {pattern!r} matches no channel, expected names such as "
                    f"{', '.join(names[:3])}; correct it."
                )
        inside = [any(fnmatchcase(name, p) for p in patterns) for name in names]
        found[region] = np.flatnonzero(inside)
    return found


def _stored(recordings: Recordings, number: int, names: list[str]) -> dict[str, np.ndarray]:
    """Regions of voxels as preprocessing stored them."""
    trials = recordings.trials[number]
    file = getattr(trials.signal, "file", None)
    if file is None or "voxels" not in file or "roi" not in file["voxels"]:
        return {}
    place = {str(name): i for i, name in enumerate(trials.channel_name)}
    order = np.array([place[name] for name in names])
    masks = {name: member[()][order] for name, member in file["voxels"]["roi"].items()}
    return {name: np.flatnonzero(mask) for name, mask in masks.items() if mask.any()}


def _by_position(position: np.ndarray) -> dict[str, np.ndarray]:
    """Six parts of a head whose nose points along y: back and sides by left and right, front, top."""
    known = np.isfinite(position).all(1)
    if known.sum() < FEWEST:
        raise UsageError(
            f"regions: expected {FEWEST} channels with known positions or more, found {int(known.sum())}; "
            "name them by patterns, regions={back: [O*, PO*]}."
        )
    direction = np.zeros_like(position, dtype=np.float64)
    direction[known] = on_sphere(position[known])
    x, y, z = direction.T
    side, around = np.where(x < 0, "left", "right"), np.degrees(np.arctan2(y, np.abs(x)))
    name = np.where(around < -35, "back ", np.where(around < 40, "side ", "front")).astype("U16")
    name = np.where(name == "front", "front", np.char.add(name, side))
    name[z > TOP] = "top"
    name[~known] = ""
    order = ("back left", "back right", "side left", "side right", "front", "top")
    return {one: np.flatnonzero(name == one) for one in order if (name == one).any()}


def on_sphere(position: np.ndarray) -> np.ndarray:
    """Directions (channel, 3) from the centre of the sphere that fits the positions best."""
    design = np.column_stack([2 * position, np.ones(len(position))])
    centre = np.linalg.lstsq(design, (position**2).sum(1), rcond=None)[0][:3]
    away = position - centre
    return away / np.linalg.norm(away, axis=1, keepdims=True)


def around(position: np.ndarray, radius: float) -> list[np.ndarray]:
    """Channels within a radius of each channel, itself included.

    Parameters
    ----------
    position : array (channel, 3), m
    radius : float, m

    Raises
    ------
    NeurovisError
        If a position is not known.
    """
    from scipy.spatial import cKDTree

    unknown = ~np.isfinite(position).all(1)
    if unknown.any():
        raise NeurovisError(
            f"searchlight: expected channels with known positions, found {int(unknown.sum())} without, "
            f"the first is number {int(unknown.argmax())}; leave searchlight out of parts."
        )
    return [np.sort(found) for found in cKDTree(position).query_ball_point(position, radius)]
