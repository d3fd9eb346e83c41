"""What `neurovis.analysis.where` writes: scores of regions, maps, chosen sensors, and what was planted.

Comes in: the files of all fits. Goes out: plain data for ``analysis.json`` and arrays for
``analysis.h5``. Sets of sensors that were chosen on validation images are tested from here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurovis.analysis import places, where_fits
from neurovis.analysis.artefacts import parallel
from neurovis.analysis.base import METRICS, PART, Layout, chosen, described, scores, two_way
from neurovis.analysis.latency import threshold
from neurovis.batches import Recordings
from neurovis.errors import UsageError
from neurovis.metrics import statistics
from neurovis.parallel import Workers
from neurovis.records import Score
from neurovis.store import read_h5

if TYPE_CHECKING:
    from neurovis.analysis.where import Where

CHUNK = 24
"""Places of a searchlight that one file holds."""
RADIUS = {"fmri": 0.009}
SENSOR_RADIUS = 0.035
"""Of a searchlight where none is said, m."""


def radius(config: Where, recordings: Recordings) -> float:
    """Of a searchlight, m."""
    return config.radius or RADIUS.get(recordings.trials[0].modality, SENSOR_RADIUS)


def shared(layout: Layout) -> np.ndarray:
    """Channels that every subject has: numbers in the recordings."""
    found = [set(layout.channels[s].tolist()) for s in layout.subjects]
    return np.array(sorted(set.intersection(*found)), int)


def there(task: tuple) -> bool:
    """Whether the file that a task writes (the last path it is told) is there."""
    return next(x for x in reversed(task) if isinstance(x, Path)).is_file()


def summary(
    config: Where, recordings: Recordings, layout: Layout, workers: Workers, quiet: bool
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the artefact says, and its arrays.

    Parameters
    ----------
    config : Where
    recordings : Recordings
    layout : Layout
    workers : Workers
        Who tests the sets of sensors that were chosen.
    quiet : bool

    Returns
    -------
    about : dict
    arrays : dict of array
    """
    common = described(recordings, layout)
    known = None
    arrays: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {
        "levels": list(layout.levels),
        "subjects": list(layout.subjects),
        "ablation": [],
        "searchlight": [],
        "greedy": [],
        "saliency": [],
        "planted": [],
    }
    _describe_channels(recordings, layout, arrays)
    if "ablation" in config.parts:
        known = places.regions(recordings, layout, config.regions)
        about["ablation"] = _ablation(layout, known, common, config.level)
    if "searchlight" in config.parts:
        about["searchlight"] = _searchlight(config, recordings, layout, arrays)
    if "patterns" in config.parts:
        for subject in layout.subjects:
            path = where_fits.part(layout.folder, subject, "keep", "all")
            found = read_h5(path, PART, ("pattern",))["pattern"]
            arrays[f"{subject}/pattern"] = found
    if "greedy" in config.parts:
        about["greedy"] = [_greedy(config, recordings, layout, common, workers, quiet)]
    if "saliency" in config.parts:
        about["saliency"] = _saliency(config, layout, arrays)
    about["planted"] = _planted(recordings, layout, known, arrays, quiet)
    about["method"] = (
        "every score is of a ridge regression fitted anew to the channels it names; intervals: 95 %, "
        "bootstrap over images, paired for differences; thresholds: maximum over regions, or over places "
        f"of a map, of {config.n_permutations} permutations of the test images' labels (Nichols & Holmes "
        "2002, doi:10.1002/hbm.1058)"
    )
    return about, arrays


def _describe_channels(recordings: Recordings, layout: Layout, arrays: dict) -> None:
    for number, subject in enumerate(layout.subjects):
        channels = layout.channels[subject]
        arrays[f"{subject}/channel_name"] = np.array([recordings.channel_name[i] for i in channels])
        arrays[f"{subject}/channel_type"] = np.array([recordings.channel_type[i] for i in channels])
        arrays[f"{subject}/channel_position"] = layout.position[channels]
        trials = recordings.trials[number]
        file = getattr(trials.signal, "file", None)
        if file is not None and "voxels" in file and "index" in file["voxels"]:
            group = file["voxels"]
            if {"shape", "affine"} <= set(group.attrs):
                place = {str(name): i for i, name in enumerate(trials.channel_name)}
                order = [place[recordings.channel_name[i]] for i in channels]
                arrays[f"{subject}/index"] = group["index"][()][order]
                arrays[f"{subject}/shape"] = np.array(group.attrs["shape"])
                arrays[f"{subject}/affine"] = np.array(group.attrs["affine"])
    arrays["times"] = layout.times


def _found(layout: Layout, way: str, region: str) -> dict[str, dict[str, np.ndarray]]:
    names = ("above", "tied", "null")
    return {
        s: read_h5(where_fits.part(layout.folder, s, way, region), PART, names)
        for s in layout.subjects
    }


def _level(found: dict, level: int, control: bool = False) -> dict[str, dict[str, np.ndarray]]:
    return {s: chosen(one, level, control) for s, one in found.items()}


def _ablation(
    layout: Layout,
    known: dict[str, dict[str, np.ndarray]],
    common: dict[str, str],
    alpha: float,
) -> list[dict[str, Any]]:
    """Scores of every region alone and of all without it, with what its loss costs."""
    regions = list(known[layout.subjects[0]])
    whole = _found(layout, "keep", "all")
    n, out = len(layout.gallery), []
    size = [len(layout.rows[s, "test"]) for s in layout.subjects]
    entries = []
    for region in ["all", *regions]:
        keep = _found(layout, "keep", region)
        path = where_fits.part(layout.folder, layout.subjects[0], "leave", region)
        leave = _found(layout, "leave", region) if path.is_file() else None
        entries.append((region, keep, leave))
    for level, name in enumerate(layout.levels):
        null = np.stack(
            [
                np.average([keep[s]["null"][level, 0] for s in layout.subjects], 0, size)
                for _, keep, _ in entries
            ],
            axis=1,
        )
        above = threshold(null, alpha)
        for region, keep, leave in entries:
            said = {"level": name, "region": region}
            parts = {
                "keep": _by_subject(layout, _level(keep, level), common, {**said, "way": "keep"})
            }
            control = _by_subject(
                layout, _level(keep, level, True), common, {**said, "way": "keep", "control": True}
            )
            if leave is not None:
                parts["leave"] = _by_subject(
                    layout, _level(leave, level), common, {**said, "way": "leave"}
                )
            for who in parts["keep"]:
                members = layout.subjects if who == "all" else (who,)
                channels = [
                    len(layout.channels[s]) if region == "all" else len(known[s][region])
                    for s in members
                ]
                entry = {
                    **said,
                    "subject": who,
                    "n_chans": channels,
                    "threshold": above if who == "all" else None,
                    "keep": parts["keep"][who],
                    "leave": parts["leave"][who] if leave is not None else None,
                    "control": control[who],
                }
                if leave is not None:
                    entry["loses"] = _loss(layout, members, whole, leave, level, n, common, said)
                out.append(entry)
    return out


def _by_subject(
    layout: Layout, found: dict, common: dict[str, str], about: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    made = scores(layout, found, {**common, "about": about})
    who = dict.fromkeys(s.about["subject"] for s in made)
    return {w: [s.to_dict() for s in made if s.about["subject"] == w] for w in who}


def _loss(
    layout: Layout,
    members: tuple[str, ...],
    whole: dict,
    leave: dict,
    level: int,
    n: int,
    common: dict[str, str],
    about: dict[str, Any],
) -> dict[str, Any]:
    """Two-way score of all channels minus that without a region, images resampled in pairs."""
    credit = np.concatenate(
        [
            two_way(whole[s]["above"][level, 0], whole[s]["tied"][level, 0], n)
            - two_way(leave[s]["above"][level, 0], leave[s]["tied"][level, 0], n)
            for s in members
        ]
    )
    item = np.unique(
        np.concatenate([layout.rows[s, "test"] for s in members]), return_inverse=True
    )[1]
    counts = statistics.resample_counts(int(item.max()) + 1)
    per_item = np.bincount(item, credit) / np.bincount(item)
    limits = statistics.interval(statistics.bootstrap_mean(credit, item, counts))
    low, high = statistics.widen_difference(limits, per_item, METRICS[0].step(n))
    return Score(
        value=float(credit.mean()),
        n=len(per_item),
        chance=0.0,
        low=low,
        high=high,
        per_item=np.zeros(0),
        gallery=common["gallery"],
        protocol=common["protocol"],
        higher_is_better=True,
        name="2-way lost",
        about={**about, "resampled": "image"},
    ).to_dict()


def _searchlight(
    config: Where, recordings: Recordings, layout: Layout, arrays: dict
) -> list[dict[str, Any]]:
    """Maps (level, channel) of each subject, and of all where they share their channels."""
    n, reach = len(layout.gallery), radius(config, recordings)
    value, null, size = {}, {}, {}
    for subject in layout.subjects:
        total = len(layout.channels[subject])
        parts = [
            read_h5(
                where_fits.part(layout.folder, subject, "light", f"{start:06d}"),
                PART,
                ("score", "null", "n_chans"),
            )
            for start in range(0, total, CHUNK)
        ]
        value[subject] = np.concatenate([p["score"] for p in parts], axis=1)
        null[subject] = np.concatenate([p["null"] for p in parts], axis=1)
        size[subject] = np.concatenate([p["n_chans"] for p in parts])
    alike = all(
        np.array_equal(layout.channels[s], layout.channels[layout.subjects[0]])
        for s in layout.subjects
    )
    if alike and len(layout.subjects) > 1:
        weight = [len(layout.rows[s, "test"]) for s in layout.subjects]
        value["all"] = np.average([value[s] for s in layout.subjects], 0, weight)
        null["all"] = np.average([null[s] for s in layout.subjects], 0, weight)
        size["all"] = size[layout.subjects[0]]
    out = []
    for who, one in value.items():
        arrays[f"{who}/searchlight"] = one.astype(np.float32)
        for level, name in enumerate(layout.levels):
            above = threshold(null[who][level].T, config.level)
            out.append(
                {
                    "level": name,
                    "subject": who,
                    "radius": reach,
                    "n_chans": [int(size[who].min()), int(size[who].max())],
                    "threshold": above,
                    "n_above": int((one[level] > above).sum()),
                    "n_places": one.shape[1],
                    "n": n,
                    "chance": METRICS[0].chance(n),
                }
            )
    return out


def _greedy(
    config: Where,
    recordings: Recordings,
    layout: Layout,
    common: dict[str, str],
    workers: Workers,
    quiet: bool,
) -> dict[str, Any]:
    """Sensors in order of choice, and what sets of several sizes score on test images."""
    path = where_fits.part(layout.folder, "all", "greedy", "order")
    common_ = shared(layout)
    if not len(common_):
        raise UsageError(
            "greedy: expected channels that every subject has, found none; leave greedy out of parts."
        )
    task = (where_fits.choose, layout, common_, config.greedy_bins, config.n_sensors, path)
    if not path.is_file():
        parallel(workers, [task], layout.folder, "choosing sensors", quiet)
    best = read_h5(path, PART, ("order", "score"))
    order = best["order"]
    sizes = sorted({1, 2, 4, 8, 16, 32, 64, len(order)} & set(range(1, len(order) + 1)))
    sets = {f"{k:03d}-chosen": order[:k] for k in sizes}
    rng = np.random.default_rng([config.seed, 43])
    for k in sizes:
        for draw in range(config.n_random):
            sets[f"{k:03d}-random-{draw:02d}"] = rng.choice(len(common_), k, replace=False)
    tasks = []
    for name, some in sets.items():
        for subject in layout.subjects:
            where_ = np.searchsorted(layout.channels[subject], common_[some])
            out = where_fits.part(layout.folder, subject, "set", name)
            task = (where_fits.fit_channels, layout, config.ridge, subject, where_)
            tasks.append((*task, config.n_permutations, out))
    tasks = [task for task in tasks if not there(task)]
    parallel(workers, tasks, layout.folder, "testing sets of sensors", quiet)
    points = []
    for k in sizes:
        for level, name in enumerate(layout.levels):
            about = {"level": name, "n_sensors": k}
            picked = _level(_found(layout, "set", f"{k:03d}-chosen"), level)
            random = [
                _level(_found(layout, "set", f"{k:03d}-random-{d:02d}"), level)
                for d in range(config.n_random)
            ]
            made = [scores(layout, one, {**common, "about": about})[0] for one in random]
            points.append(
                {
                    **about,
                    "chosen": scores(layout, picked, {**common, "about": about})[0].to_dict(),
                    "random": [replace(s, per_item=np.zeros(0)).to_dict() for s in made],
                }
            )
    return {
        "order": [recordings.channel_name[common_[i]] for i in order],
        "validation": [float(v) for v in best["score"]],
        "points": points,
        "note": "chosen on validation images by the mean correlation over all levels' dims; the validation "
        "score is too good by the choice, the scores of test images are not",
    }


def _saliency(config: Where, layout: Layout, arrays: dict) -> list[dict[str, Any]]:
    out = []
    for subject in layout.subjects:
        path = where_fits.part(layout.folder, subject, "saliency", config.saliency)
        names = ("attribution", "explained", "short")
        found = read_h5(path, PART, names)
        arrays[f"{subject}/saliency"] = found["attribution"]
        levels = list(config.targets) if config.saliency == "tower" else list(layout.levels)
        for level, name in enumerate(levels):
            out.append(
                {
                    "level": name,
                    "subject": subject,
                    "decoder": config.saliency,
                    "n": len(layout.rows[subject, "test"]),
                    "explained": float(found["explained"][level].mean()),
                    "short": float(np.abs(found["short"][level]).max()),
                }
            )
    return out


def _planted(
    recordings: Recordings, layout: Layout, known: Any, arrays: dict, quiet: bool
) -> list[dict[str, Any]]:
    """Planted maps, the share of each region, and how alike they are to the maps that were found."""
    from neurovis.analysis.truth import planted

    found = planted(recordings, layout, quiet)
    out = []
    for subject, levels in found.items():
        maps = np.stack([np.sqrt((one**2).mean(1)) for one in levels])
        arrays[f"{subject}/planted"] = maps.astype(np.float32)
        for level, name in enumerate(layout.levels):
            entry: dict[str, Any] = {"level": name, "subject": subject}
            if known:
                power = {r: float((maps[level][c] ** 2).mean()) for r, c in known[subject].items()}
                whole = sum(power.values()) or 1.0
                entry["regions"] = {r: value / whole for r, value in power.items()}
            entry["alike"] = _alike(subject, level, maps[level], arrays)
            out.append(entry)
    return out


def _alike(subject: str, level: int, planted: np.ndarray, arrays: dict) -> dict[str, float]:
    """Rank correlation over channels between planted and found maps."""
    from scipy.stats import spearmanr

    alive = planted > 0
    out = {}
    for kind in ("searchlight", "pattern", "saliency"):
        found = arrays.get(f"{subject}/{kind}")
        if found is None or level >= len(found) or alive.sum() < 3:
            continue
        one = found[level]
        if kind == "pattern":
            one = np.sqrt((one**2).mean(1))
        elif kind == "saliency":
            one = one.sum(1)
        if np.ptp(one[alive]) > 0 and np.ptp(planted[alive]) > 0:
            out[kind] = float(spearmanr(one[alive], planted[alive]).statistic)
    return out
