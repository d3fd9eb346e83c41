"""When signals tell what was seen: scores in windows of time, their latencies, their generalisation.

Comes in: prepared trials and levels of the image. Goes out: an artefact with a curve per level over
sliding windows (what is there at a time) and growing ones (what is known by a time), latencies with
intervals, the matrix of models trained at one time and tested at another, and, where the truth is
known, the same latencies of the planted responses. Thresholds hold for all windows at once.

References: temporal generalisation: King & Dehaene 2014, doi:10.1016/j.tics.2014.01.002; others are
named in `neurovis.analysis.latency`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.analysis import latency, windows
from neurovis.analysis.artefacts import kept, parallel
from neurovis.analysis.base import (
    METRICS,
    PART,
    Analysis,
    Layout,
    chosen,
    described,
    scores,
    two_way,
)
from neurovis.batches import Recordings
from neurovis.errors import UsageError
from neurovis.parallel import Workers
from neurovis.store import read_h5

GROWN = ("onset", "rise", "most", "peak")
SLID = ("onset", "rise", "peak", "middle", "fall", "offset")


class When(Analysis):
    """Which windows, and what reads them.

    Parameters
    ----------
    width : float, s
        Of sliding windows.
    step : float, s
        From one sliding window to the next.
    growing_step : float, s
        From one growing window to the next.
    kinds : tuple of {"sliding", "growing"}
    model : {"per_window", "masked", "tower"}
        A ridge regression per window; or one of the whole epoch, tested with all but the window at the
        mean of the fitted rows; or the run's trained tower, tested in the same way. The first says
        what a window holds, the others what one decoder takes from it.
    generalise : bool
        Also test every sliding window's model in all the others (``per_window`` alone).
    level : float
        Probability that permuted labels pass the threshold in any window.
    n_bootstrap : int
        Draws of the test images, for intervals of latencies.
    """

    kind: ClassVar[str] = "when"
    width: pydantic.PositiveFloat = 0.03
    step: pydantic.PositiveFloat = 0.01
    growing_step: pydantic.PositiveFloat = 0.05
    kinds: tuple[Literal["sliding", "growing"], ...] = pydantic.Field(
        ("sliding", "growing"), min_length=1
    )
    model: Literal["per_window", "masked", "tower"] = "per_window"
    generalise: bool = True
    level: float = pydantic.Field(0.05, gt=0, lt=0.5)
    n_bootstrap: int = pydantic.Field(2000, ge=20)


MODELS = {
    "per_window": "one ridge regression per window",
    "masked": "one ridge regression of the whole epoch, all but the window masked with the training mean",
    "tower": "the trained tower, all but the window masked with the training mean",
}


def when(
    config: When,
    out: str | Path,
    run: str | Path | None = None,
    workers: Workers | None = None,
    quiet: bool = False,
) -> Path:
    """Decode in windows of time.

    Parameters
    ----------
    config : When
    out : path
        The artefact is ``<out>/analyses/when-<fingerprint>``; one that is complete is reused.
    run : path, optional
        The run whose tower is read, for ``model=tower``; the artefact then goes into it.
    workers : Workers, optional
    quiet : bool

    Returns
    -------
    Path
        Of the artefact.

    Raises
    ------
    UsageError
        If there is one sample alone, or the windows do not fit into the epochs.
    """
    workers = workers or Workers()
    if config.model == "tower" and run is None:
        raise UsageError(
            "model=tower: expected a run whose tower is read, found an experiment; give the run's folder."
        )

    def work(recordings: Recordings, layout: Layout, place: Path) -> tuple[dict, dict]:
        some = _windows(config, layout)
        layouts = _towers(config, recordings, layout, run, place)
        _fit(config, recordings, layouts, some, run, workers, quiet)
        return _summary(config, recordings, layouts, some, quiet)

    return kept(config, out, run, quiet, work, _over_time)


def _over_time(recordings: Recordings) -> None:
    if recordings.n_times < 2:
        raise UsageError(
            f"{recordings.folder}: expected signals over time, found one sample per trial; ask where "
            "and amount of them."
        )


def _windows(config: When, layout: Layout) -> dict[str, list[tuple[int, int]]]:
    """Windows of each kind, in samples."""
    n, step = len(layout.times), layout.step
    width = round(config.width / step)
    if not 1 <= width <= n:
        raise UsageError(
            f"width: expected {step:g} to {n * step:g} s (one sample to the whole epoch), found "
            f"{config.width:g}; choose another."
        )
    for name in ("step", "growing_step"):
        if round(getattr(config, name) / step) < 1:
            raise UsageError(
                f"{name}: expected at least {step:g} s, the time between samples, found "
                f"{getattr(config, name):g}; choose a longer one."
            )
    found = {
        "sliding": windows.sliding(n, width, round(config.step / step)),
        "growing": windows.growing(n, round(config.growing_step / step), width),
    }
    return {kind: found[kind] for kind in dict.fromkeys(config.kinds)}


def _towers(
    config: When, recordings: Recordings, layout: Layout, run: Any, out: Path
) -> dict[str, Layout]:
    """A layout per subject: their towers may compare images in spaces of their own."""
    if config.model != "tower":
        return dict.fromkeys(layout.subjects, layout)
    from neurovis.analysis.towers import tower_layouts

    return tower_layouts(config, recordings, layout, Path(run), out)


def _fit(
    config: When,
    recordings: Recordings,
    layouts: dict[str, Layout],
    asked: dict[str, list[tuple[int, int]]],
    run: Any,
    workers: Workers,
    quiet: bool,
) -> None:
    tasks: list[tuple] = []
    n_null = config.n_permutations
    for subject, layout in layouts.items():
        folder = layout.folder
        if config.model == "tower":
            from neurovis.analysis.towers import channel_names, model_of

            own = model_of(Path(run), subject)
            about = (Path(run), own, channel_names(recordings, layout), subject)
            tasks.append((windows.fit_tower, layout, *about, asked, n_null, folder))
            continue
        if config.model == "masked":
            tasks.append((windows.fit_masked, layout, config.ridge, subject, asked, n_null, folder))
            continue
        some = asked.get("growing")
        if some:
            tasks.append((windows.fit_growing, layout, config.ridge, subject, some, n_null, folder))
        others = asked.get("sliding", []) if config.generalise else []
        for window in asked.get("sliding", ()):
            path = windows.part(folder, subject, "sliding", window)
            if not path.is_file():
                task = (windows.fit_window, layout, config.ridge, subject, window, others)
                tasks.append((*task, n_null, path))
    parallel(workers, tasks, layouts[next(iter(layouts))].folder, "fitting windows", quiet)


# ---- what is written ---------------------------------------------------------------------------


def _summary(
    config: When,
    recordings: Recordings,
    layouts: dict[str, Layout],
    asked: dict[str, list[tuple[int, int]]],
    quiet: bool,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the artefact says: scores, latencies, thresholds; and its arrays."""
    layout = next(iter(layouts.values()))
    common = described(recordings, layout)
    if config.model == "tower":
        common["protocol"] = common["protocol"].replace(
            "ridge fitted to", "the run's tower trained on"
        )
    common["protocol"] += f"; {MODELS[config.model]}"
    curves: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for kind, some in asked.items():
        found = {s: _read(layouts[s], s, kind, some) for s in layout.subjects}
        times = _times(layout, kind, some)
        n_sets = found[layout.subjects[0]][0]["above"].shape[1]
        for level, name in enumerate(layout.levels):
            for control in (False, True)[: 1 + (n_sets > 1)]:
                about = {"kind": kind, "level": name, "control": control}
                curves += _curves(config, layouts, found, times, level, control, about, common)
    general = []
    if config.model == "per_window" and config.generalise and "sliding" in asked:
        general, arrays = _general(config, layout, asked["sliding"])
    about = {
        "model": MODELS[config.model],
        "width": config.width,
        "curves": curves,
        "general": general,
        "planted": _planted(config, recordings, layout, asked.get("sliding"), quiet),
        "method": f"threshold: maximum over windows of {config.n_permutations} permutations of the test "
        f"images' labels, {100 * config.level:g} % per level (Nichols & Holmes 2002, "
        "doi:10.1002/hbm.1058); rise and fall: half of the largest d' squared (Kiesel et al. 2008, "
        "doi:10.1111/j.1469-8986.2007.00618.x), which follows the power of responses; intervals: 95 %, bootstrap over images; control: "
        f"mean of {config.n_shuffles} ridge regressions fitted to shuffled images",
    }
    return about, arrays


def _read(layout: Layout, subject: str, kind: str, some: list) -> list[dict[str, np.ndarray]]:
    names = ("above", "tied", "null")
    return [
        read_h5(windows.part(layout.folder, subject, kind, window), PART, names) for window in some
    ]


def _times(layout: Layout, kind: str, some: list[tuple[int, int]]) -> np.ndarray:
    """Middle of sliding windows; last sample of growing ones."""
    if kind == "growing":
        return np.array([layout.times[stop - 1] for _, stop in some])
    return np.array([layout.times[start:stop].mean() for start, stop in some])


def _curves(
    config: When,
    layouts: dict[str, Layout],
    found: dict[str, list[dict[str, np.ndarray]]],
    times: np.ndarray,
    level: int,
    control: bool,
    about: dict[str, Any],
    common: dict[str, str],
) -> list[dict[str, Any]]:
    """Curve, threshold and latencies of one level, of all subjects together and of each."""
    layout = next(iter(layouts.values()))
    n = len(layout.gallery)
    by_window = []
    for i, time in enumerate(times):
        here = {s: chosen(found[s][i], level, control) for s in layout.subjects}
        said = {**about, "time": round(float(time), 6)}
        by_window.append(scores(layout, here, {**common, "about": said}))
    groups = [("all", list(layout.subjects))]
    groups += [(s, [s]) for s in layout.subjects] if len(layout.subjects) > 1 else []
    out = []
    for who, members in groups:
        credit = np.concatenate([_credit(found[s], level, control, n) for s in members])
        size = [len(layout.rows[s, "test"]) for s in members]
        null = np.average(
            [
                np.stack([chosen(w, level, control)["null"] for w in found[s]], axis=1)
                for s in members
            ],
            axis=0,
            weights=size,
        )
        rows = np.concatenate([layout.rows[s, "test"] for s in members])
        item = np.unique(rows, return_inverse=True)[1]
        above = latency.threshold(null, config.level)
        names = GROWN if about["kind"] == "growing" else SLID
        lags = latency.latencies(credit, item, times, above, names, config.n_bootstrap)
        p = latency.corrected(credit.mean(0), null)
        out.append(
            {
                **about,
                "subject": who,
                "times": [round(float(t), 6) for t in times],
                "threshold": above,
                "p": [float(v) for v in p],
                "latencies": [one.to_dict() for one in lags],
                "scores": [
                    [s.to_dict() for s in window if s.about["subject"] == who]
                    for window in by_window
                ],
            }
        )
    return out


def _credit(
    found: list[dict[str, np.ndarray]], level: int, control: bool, n_gallery: int
) -> np.ndarray:
    """Two-way credit (row, window); of the control the mean over its shuffles."""
    sets = slice(1, None) if control else slice(0, 1)
    one = [two_way(w["above"][level, sets], w["tied"][level, sets], n_gallery) for w in found]
    return np.stack([credit.mean(0) for credit in one], axis=1)


def _general(
    config: When, layout: Layout, some: list[tuple[int, int]]
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Scores (trained, tested) of each level over all subjects, and their thresholds."""
    names = tuple(f"general/{k}" for k in ("above", "tied", "null"))
    n, size = len(layout.gallery), [len(layout.rows[s, "test"]) for s in layout.subjects]
    value, null = [], []
    for window in some:
        each = [
            read_h5(windows.part(layout.folder, s, "sliding", window), PART, names)
            for s in layout.subjects
        ]
        mean = [two_way(one[names[0]], one[names[1]], n).mean(2) for one in each]
        value.append(np.average(mean, axis=0, weights=size))
        draws = np.average([one[names[2]] for one in each], axis=0, weights=size)
        null.append(draws.max(1))  # over test windows: (level, draw)
    matrix = np.stack(value, axis=1)  # (level, trained, tested)
    most = np.max(null, axis=0)
    arrays = {"general/score": matrix.astype(np.float32)}
    times = _times(layout, "sliding", some)
    arrays["general/time"] = times
    about = []
    for level, name in enumerate(layout.levels):
        above = latency.threshold(most[level][:, None], config.level)
        over = matrix[level] > above
        apart = np.abs(times[:, None] - times[None])
        furthest = float(apart[over].max()) if over.any() else None
        about.append(
            {
                "level": name,
                "threshold": above,
                "n": n,
                "chance": METRICS[0].chance(n),
                "share_above": float(over.mean()),
                "furthest": furthest,
            }
        )
    return about, arrays


def _planted(
    config: When, recordings: Recordings, layout: Layout, some: list | None, quiet: bool
) -> list[dict[str, Any]]:
    """Latencies of the planted responses to each level in the same windows; empty without a truth."""
    from neurovis.analysis.truth import planted

    found = planted(recordings, layout, quiet) if some else {}
    if not found:
        return []
    times = _times(layout, "sliding", some)
    out = []
    for level, name in enumerate(layout.levels):
        power = {s: (response[level] ** 2).mean(0) for s, response in found.items()}
        power["all"] = np.mean(list(power.values()), axis=0)
        for who, one in power.items():
            curve = np.array([one[start:stop].mean() for start, stop in some])
            # the share of the largest, so that numbers stay readable in any unit
            curve = curve / (curve.max() or 1.0)
            lags = latency.times_of(curve, curve, times, 0.0)
            out.append(
                {
                    "level": name,
                    "subject": who,
                    "times": [round(float(t), 6) for t in times],
                    "curve": [float(v) for v in curve],
                    "latencies": {k: lags[k] for k in ("rise", "peak", "middle", "fall")},
                }
            )
    return out
