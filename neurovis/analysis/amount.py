"""How much data: scores against images, repeats, subjects and channels, and what more would bring.

Comes in: prepared trials and levels of the image. Goes out: an artefact with a curve per level and kind
of data, a power law with intervals, and a careful word on more. Parts are drawn at random several
times, the same for all levels; everything else stays whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.analysis import amount_fits, curves
from neurovis.analysis.artefacts import kept, parallel
from neurovis.analysis.base import METRICS, Analysis, Layout, described
from neurovis.batches import Recordings
from neurovis.errors import UsageError
from neurovis.metrics import statistics
from neurovis.parallel import Workers
from neurovis.progress import say
from neurovis.records import Score

OF = ("images", "repeats", "test_repeats", "subjects", "channels")
WORDS = {
    "images": "training images",
    "repeats": "repeats of each training image",
    "test_repeats": "repeats of each test image, averaged",
    "subjects": "people who see the same picture, similarities summed",
    "channels": "channels",
}


class Amount(Analysis):
    """Of what, and how much of it.

    Parameters
    ----------
    of : tuple of {"images", "repeats", "test_repeats", "subjects", "channels"}
        Training images; repeats of each in training; repeats averaged in test; people whose answers
        to one picture are summed; channels.
    n_points : int
        Amounts of images and channels, evenly spaced on a logarithmic scale.
    smallest : float
        Share of the whole that the first of them has.
    draws : int
        Random parts per amount.
    n_bootstrap : int
        Draws of the test images that the power law is fitted to, for its intervals.
    """

    kind: ClassVar[str] = "amount"
    of: tuple[Literal["images", "repeats", "test_repeats", "subjects", "channels"], ...] = (
        pydantic.Field(OF, min_length=1)
    )
    n_points: int = pydantic.Field(6, ge=2)
    smallest: float = pydantic.Field(0.06, gt=0, lt=1)
    draws: pydantic.PositiveInt = 3
    n_bootstrap: int = pydantic.Field(200, ge=20)


def amount(
    config: Amount,
    out: str | Path,
    run: str | Path | None = None,
    workers: Workers | None = None,
    quiet: bool = False,
) -> Path:
    """Decode with parts of the data.

    Parameters
    ----------
    config : Amount
    out : path
        The artefact is ``<out>/analyses/amount-<fingerprint>``; one that is complete is reused.
    run : path, optional
        The artefact goes into it.
    workers : Workers, optional
    quiet : bool

    Returns
    -------
    Path
        Of the artefact.
    """
    workers = workers or Workers()

    def work(recordings: Recordings, layout: Layout, place: Path) -> tuple[dict, dict]:
        plans = _plans(config, recordings, layout, quiet)
        tasks = _tasks(config, recordings, layout, plans)
        parallel(workers, tasks, layout.folder, "fitting amounts", quiet)
        return _summary(config, recordings, layout, plans), {}

    return kept(config, out, run, quiet, work)


def _plans(
    config: Amount, recordings: Recordings, layout: Layout, quiet: bool
) -> dict[str, list[int]]:
    """Amounts of each kind; kinds of which there is one alone are left out, and said to be."""
    found = {}
    for of in config.of:
        if of == "images":
            whole = min(len(layout.shown(s, "fit")) for s in layout.subjects)
            amounts = _spaced(whole, config, 8)
        elif of == "channels":
            whole = min(len(layout.channels[s]) for s in layout.subjects)
            amounts = _spaced(whole, config, 1)
        elif of == "subjects":
            amounts = list(range(1, len(layout.subjects) + 1))
        else:
            side = "test" if of == "test_repeats" else "train"
            most = amount_fits.fewest_repeats(recordings, side)
            amounts = sorted({2**i for i in range(12) if 2**i < most} | {most})
        if len(amounts) < 2:
            say(f"{WORDS[of]}: there is one alone, no curve", quiet)
            continue
        found[of] = amounts
    if not found:
        raise UsageError(
            f"of: expected an amount that can be made smaller, found one alone of {', '.join(config.of)}; "
            "ask for images."
        )
    return found


def _spaced(whole: int, config: Amount, least: int) -> list[int]:
    first = max(least, round(config.smallest * whole))
    if first >= whole:
        return [whole]
    points = np.geomspace(first, whole, config.n_points).round().astype(int)
    return sorted(set(points.tolist()))


def _tasks(
    config: Amount, recordings: Recordings, layout: Layout, plans: dict[str, list[int]]
) -> list[tuple]:
    tasks: list[tuple] = []
    folder = layout.folder
    # the whole is fitted once; test repeats and subjects are read from its weights
    for subject in layout.subjects:
        if {"test_repeats", "subjects"} & set(plans):
            path = amount_fits.part(folder, subject, "whole", 0, 0)
            repeats = plans.get("test_repeats", [])
            about = (config.ridge, subject, repeats, config.draws, path)
            if not path.is_file():
                amount_fits.lay_repeats(recordings, layout, subject, repeats, config.draws)
                tasks.append((amount_fits.fit_whole, layout, *about))
        for of in ("images", "channels", "repeats"):
            for n in plans.get(of, ()):
                last = n == plans[of][-1]
                for draw in range(1 if last else config.draws):
                    path = amount_fits.part(folder, subject, of, n, draw)
                    if path.is_file():
                        continue
                    if of == "repeats":
                        amount_fits.lay_training(recordings, layout, subject, n, draw)
                    task = (amount_fits.fit_part, layout, config.ridge, subject, of, n, draw)
                    tasks.append((*task, path))
    return tasks


# ---- what is written ---------------------------------------------------------------------------


def _summary(
    config: Amount, recordings: Recordings, layout: Layout, plans: dict[str, list[int]]
) -> dict[str, Any]:
    common = described(recordings, layout)
    found = []
    for of, amounts in plans.items():
        for level, name in enumerate(layout.levels):
            found.append(_curve(config, layout, of, amounts, level, name, common))
    return {
        "curves": found,
        "method": f"random parts, {config.draws} draws of each, their scores averaged; power law: weighted "
        f"least squares, refitted to {config.n_bootstrap} bootstrap draws of the test images (95 %)",
    }


def _curve(
    config: Amount,
    layout: Layout,
    of: str,
    amounts: list[int],
    level: int,
    name: str,
    common: dict[str, str],
) -> dict[str, Any]:
    """Points, draws and fit of one kind and level, all subjects together."""
    n_gallery = len(layout.gallery)
    counts = statistics.resample_counts(n_gallery, config.n_bootstrap)
    points, value, drawn = [], [], []
    for n in amounts:
        blocks = amount_fits.rows_at(layout, of, n, n == amounts[-1], config.draws, level)
        image = np.concatenate([b["item"] for b in blocks])
        above = np.concatenate([b["above"] for b in blocks])
        tied = np.concatenate([b["tied"] for b in blocks])
        about = {"level": name, "of": of, "amount": n, "subject": "all", "n_rows": len(image)}
        made = _scores(layout, image, above, tied, {**common, "about": about})
        points.append({"n": n, "draws": len(blocks), "scores": [s.to_dict() for s in made]})
        credit = METRICS[0].credit(above, tied, n_gallery)
        value.append(float(credit.mean()))
        drawn.append(_means(credit, image, counts))
    whole = float(amounts[-1]) if of == "channels" else None
    fit = curves.fitted(
        np.array(amounts, float),
        np.array(value),
        np.stack(drawn, axis=1),
        METRICS[0].chance(n_gallery),
        whole=whole,
    )
    return {"level": name, "of": of, "words": WORDS[of], "points": points, "fit": fit}


def _means(credit: np.ndarray, item: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean credit in each draw of the gallery's images, some of which may have no row."""
    n_items = counts.shape[1]
    total = counts @ np.bincount(item, credit, minlength=n_items)
    return total / (counts @ np.bincount(item, minlength=n_items).astype(np.float64))


def _scores(
    layout: Layout, item: np.ndarray, above: np.ndarray, tied: np.ndarray, common: dict
) -> list[Score]:
    from dataclasses import replace

    from neurovis.metrics import scoring

    n = len(layout.gallery)
    metrics = tuple(metric for metric in METRICS if metric.fits(n))
    image = layout.image[layout.gallery][item]
    made = scoring.score_images(metrics, image, above, tied, n, common)
    return [replace(s.score, per_item=np.zeros(0)) for s in made]
