"""Painted pictures compared with those that were seen: one value per painted picture and metric.

Comes in: systems of ``pictures.h5``, pictures still on disk, and `Measures`. Goes out: `Values`, before
anything is averaged. Pictures pass some at a time: the pixels of one seen image with all that was painted of
it, the features of one encoder at a time (in a file where they are large).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.generate.artefact import EVERYONE, Painted, Seen
from neurovis.generate.measures import Feature
from neurovis.images.networks import Network
from neurovis.metrics.base import Metric
from neurovis.metrics.pairs import Pairs
from neurovis.metrics.picture import FeatureMetric, PixelMetric, SetMetric
from neurovis.progress import progress

BATCH = 32
LARGE_BYTES = 2**30
"""Features beyond this wait in a temporary file."""
N_CHANCE = 100
"""Images, drawn at random, whose painted pictures are compared with wrong ones, pixel by pixel."""
N_GROUPS = 20
"""Of images, left out in turn to see how certain a score of a whole set is."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Painted rows of one system.

    Parameters
    ----------
    picture : array or HDF5 dataset (row, sample, height, width, 3), or (row, height, width, 3)
    image, subject : array of str (row,)
    n_averaged : array of int (row,)
    shown : array of int (row,)
        Place of each image among the seen pictures.
    agreement : array (row, sample), optional
    """

    picture: Any
    image: np.ndarray
    subject: np.ndarray
    n_averaged: np.ndarray
    shown: np.ndarray
    agreement: np.ndarray | None = None

    @property
    def n_samples(self) -> int:
        """Pictures painted per row."""
        return self.picture.shape[1] if len(self.picture.shape) == 5 else 1

    def read(self, row: int) -> np.ndarray:
        """Pictures of one row: array (sample, height, width, 3) uint8."""
        return np.asarray(self.picture[int(row)]).reshape(-1, *self.picture.shape[-3:])

    @property
    def group(self) -> np.ndarray:
        """Code of subject and number of averaged trials: array of int (row,)."""
        keys = np.stack([self.subject, self.n_averaged.astype(str)], axis=1)
        return np.unique(keys, axis=0, return_inverse=True)[1].ravel()

    def groups(self) -> Iterator[tuple[int, str, np.ndarray]]:
        """Number of averaged trials (most first), subject (all of them first) and their rows."""
        for n_averaged in np.unique(self.n_averaged)[::-1].tolist():
            rows = self.n_averaged == n_averaged
            yield n_averaged, EVERYONE, np.flatnonzero(rows)
            for subject in np.unique(self.subject[rows]).tolist():
                if subject != EVERYONE:
                    yield n_averaged, subject, np.flatnonzero(rows & (self.subject == subject))


def rows_of(systems: Mapping[str, Painted], seen: Seen) -> dict[str, Rows]:
    """Rows by system; rough pictures that painting started from are a system of their own, ``low``."""
    place = {image: i for i, image in enumerate(seen.image.tolist())}
    out = {}
    for name, painted in systems.items():
        shown = np.array([place[image] for image in painted.image.tolist()])
        about = {n: getattr(painted, n) for n in ("image", "subject", "n_averaged")}
        out[name] = Rows(painted.picture, **about, shown=shown, agreement=painted.agreement)
        if name == "brain" and painted.low is not None:
            out["low"] = Rows(painted.low, **about, shown=shown)
    return out


@dataclass(frozen=True, eq=False)
class Values:
    """What one metric says of one system's pictures.

    Parameters
    ----------
    metric : Metric
    name : str
        Of its scores.
    value : array (row, sample)
    chance : float, or array (row, sample)
        The latter is what wrong pairs got, NaN where none were looked at.
    about : dict
        ``level``, ``feature`` and ``encoder`` where there is one.
    step : float
        Smallest departure from perfect; 0 where values are no credits.
    """

    metric: Metric
    name: str
    value: np.ndarray
    chance: Any
    about: dict[str, Any] = field(default_factory=dict)
    step: float = 0.0


@dataclass(frozen=True, eq=False)
class SetValue:
    """What a metric of sets says of one group of rows: its value and what each jackknife group leaves."""

    metric: Metric
    name: str
    value: float
    left_out: np.ndarray
    expected: float
    group: tuple[int, str]
    rows: np.ndarray
    n_pictures: int
    about: dict[str, Any] = field(default_factory=dict)


def pixel_values(
    metrics: Sequence[PixelMetric], seen: Seen, systems: Mapping[str, Rows], quiet: bool = False
) -> dict[str, list[Values]]:
    """Metrics of pixels, by system.

    Parameters
    ----------
    metrics : sequence of PixelMetric
    seen : Seen
        Two pictures or more.
    systems : dict of Rows
    quiet : bool

    Returns
    -------
    dict of list of Values
    """
    blank = {n: np.zeros((len(r.image), r.n_samples)) for n, r in systems.items()}
    found = {n: [(v.copy(), v + np.nan) for _ in metrics] for n, v in blank.items()}
    n_images = len(seen.image)
    order = np.random.default_rng(0).permutation(n_images)
    turn = np.argsort(order)

    def one(i: int) -> None:
        others = order[(turn[i] + np.arange(n_images)) % n_images]
        # the seen picture first, then the wrong ones
        known = [
            [metric.prepare(seen.picture[int(o)]) for o in others[: 1 + metric.n_wrong]]
            for metric in metrics
        ]
        for n, rows in systems.items():
            for j in np.flatnonzero(rows.shown == i).tolist():
                for s, picture in enumerate(rows.read(j)):
                    for metric, (right, *wrong), (value, chance) in zip(metrics, known, found[n]):
                        painted = metric.prepare(picture)
                        value[j, s] = metric.compare(right, painted)
                        if s == 0 and turn[i] < N_CHANCE:
                            chance[j, s] = np.mean([metric.compare(w, painted) for w in wrong])

    with ThreadPoolExecutor(threads()) as pool:
        done = pool.map(one, range(n_images))
        try:
            for _ in progress(done, "pixels", n_images, quiet, unit="image"):
                pass
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for what is begun alone
    about = {"level": "low"}
    return {
        n: [Values(m, m.label, *pair, about) for m, pair in zip(metrics, values)]
        for n, values in found.items()
    }


def batched(items: Iterable[Any], n: int) -> Iterator[tuple[Any, ...]]:
    """Items, n at a time, the last ones fewer; none is taken before it is needed."""
    rest = iter(items)
    while some := tuple(islice(rest, n)):
        yield some


def threads() -> int:
    """Threads for work on pictures."""
    return min(8, cpu_count() or 1)


def feature_values(
    name: str,
    feature: Feature,
    seen: Seen,
    systems: Mapping[str, Rows],
    notes: list[str],
    quiet: bool = False,
) -> tuple[dict[str, list[Values]], dict[str, list[SetValue]], dict[str, Any]]:
    """Metrics of one encoder's features, by system.

    Parameters
    ----------
    name : str
        That scores carry.
    feature : Feature
    seen : Seen
    systems : dict of Rows
    notes : list of str
        What was left out is said here.
    quiet : bool

    Returns
    -------
    values : dict of list of Values
    sets : dict of list of SetValue
    encoder : dict
        Its identity, with the checksum of its weights.
    """
    built = feature.encoder.build()
    identity = feature.encoder.identity(built.weights)
    about = {"level": feature.level, "feature": name, "encoder": feature.encoder.label}
    n_images = len(seen.image)
    values: dict[str, list[Values]] = {}
    sets: dict[str, list[SetValue]] = {}
    with tempfile.TemporaryDirectory(prefix="neurovis-") as folder:
        keep = _Kept(Path(folder), built, isinstance(feature.encoder, Network))
        shown = (seen.picture[i][None] for i in range(n_images))
        bar = lambda it, n, what: progress(it, f"{name}: {what}", n, quiet, unit="row")  # noqa: E731
        gallery = keep.embed(bar(shown, n_images, "seen"), n_images)
        for system, rows in systems.items():
            n = len(rows.image)
            pictures = bar(map(rows.read, range(n)), n, system)
            painted = keep.embed(pictures, n * rows.n_samples)
            sample = np.tile(np.arange(rows.n_samples), n)
            group = np.repeat(rows.group, rows.n_samples) * rows.n_samples + sample
            try:
                pairs = Pairs(
                    gallery, painted, np.repeat(rows.shown, rows.n_samples), seen.image, group
                )
            except NeurovisError as error:
                raise NeurovisError(f"{name} of {system}: {error}") from None
            if pairs.flat.any():
                notes.append(
                    f"{name}: {int(pairs.flat.sum())} pictures of {system} have features without variation; "
                    "they correlate with nothing and lose every comparison."
                )
            alone = min(len(np.unique(rows.shown[rows.group == g])) for g in np.unique(rows.group))
            values[system] = [
                _of_pairs(metric, name, pairs, rows, about)
                for metric in feature.metrics
                if isinstance(metric, FeatureMetric)
                and _fits(metric, name, n_images, alone, system, notes)
            ]
            sets[system] = [
                one
                for metric in feature.metrics
                if isinstance(metric, SetMetric)
                for one in _of_sets(metric, name, gallery, painted, rows, about, notes)
            ]
            del pairs, painted
    return values, sets, identity


def _fits(
    metric: FeatureMetric, name: str, n_images: int, alone: int, system: str, notes: list[str]
) -> bool:
    if not metric.fits(n_images):
        notes.append(f"{metric.label} [{name}] left out: {n_images} pictures were seen.")
        return False
    if getattr(metric, "direction", "") == "seen" and alone < 2:
        notes.append(
            f"{metric.label} [{name}] of {system} left out: some subject has pictures of one image alone."
        )
        return False
    return True


def _of_pairs(
    metric: FeatureMetric, name: str, pairs: Pairs, rows: Rows, about: dict[str, Any]
) -> Values:
    n_images, shape = len(pairs.seen), (len(rows.image), rows.n_samples)
    if metric.measured_chance:
        chance: Any = metric.mismatched(pairs).reshape(shape)
    else:
        chance = metric.chance(n_images)
    step = metric.step(n_images) if metric.bounded else 0.0
    value = metric.values(pairs).reshape(shape)
    return Values(metric, f"{metric.title(n_images)} [{name}]", value, chance, about, step)


def _of_sets(
    metric: SetMetric,
    name: str,
    gallery: np.ndarray,
    painted: np.ndarray,
    rows: Rows,
    about: dict[str, Any],
    notes: list[str],
) -> Iterator[SetValue]:
    """A set is what was painted of one group's rows, one sample of each; samples are averaged."""
    title, least = f"{metric.label} [{name}]", metric.least(gallery.shape[1])
    for n_averaged, subject, mine in rows.groups():
        n, images = len(mine), np.unique(rows.shown[mine])
        if min(n, len(images)) < least:
            notes.append(
                f"{title} left out where fewer than {least} images were painted: expected as many for "
                f"features of {gallery.shape[1]} dims, found {len(images)}."
            )
            continue
        seen = gallery[images]
        sets = [painted[mine * rows.n_samples + s] for s in range(rows.n_samples)]
        value = float(np.mean([metric.of_sets(seen, one) for one in sets]))
        fold = np.random.default_rng(0).permutation(len(images)) % N_GROUPS
        of = fold[np.searchsorted(images, rows.shown[mine])]
        left = [
            np.mean([metric.of_sets(seen[fold != g], one[of != g]) for one in sets])
            for g in range(N_GROUPS)
        ]
        expected = metric.expected(seen, n)
        group = n_averaged, subject
        yield SetValue(metric, title, value, np.array(left), expected, group, mine, n, about)


class _Kept:
    """Features of pictures, in memory or in a file where they are large."""

    def __init__(self, folder: Path, built: Any, network: bool):
        self.folder, self.built = folder, built
        # a network spreads one batch over the processors by itself
        self.workers = 1 if network else threads()

    def embed(self, pictures: Iterator[np.ndarray], n: int) -> np.ndarray:
        """Features of stacks of pictures: array (picture, dim) float32."""
        from PIL import Image

        def features(some: tuple[np.ndarray, ...]) -> np.ndarray:
            ready = [self.built.prepare(Image.fromarray(one)) for one in some]
            return self.built.embed(np.stack(ready)).reshape(len(some), -1)

        out, done = None, 0
        each = (picture for stack in pictures for picture in stack)
        with ThreadPoolExecutor(self.workers) as pool:
            for several in batched(batched(each, BATCH), 2 * self.workers):
                for block in pool.map(features, several):
                    if out is None:
                        out = self._room((n, block.shape[1]))
                    out[done : done + len(block)] = block
                    done += len(block)
        return out

    def _room(self, shape: tuple[int, int]) -> np.ndarray:
        if 4 * shape[0] * shape[1] <= LARGE_BYTES:
            return np.empty(shape, np.float32)
        path = self.folder / f"{len(list(self.folder.iterdir()))}.f32"
        return np.memmap(path, np.float32, "w+", shape=shape)
