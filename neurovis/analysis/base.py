"""What all analyses share: levels of the image, signals on disk, scores with a permutation null.

Comes in: prepared recordings and targets. Goes out: a `Layout`: mean responses per image on disk, time
first, so that a window is one stretch of a file, and the vectors of all levels side by side, so that
one decomposition of the signals serves every level and the shuffled control. Closed forms have nothing
to stop early: training and validation images fit them, test images score them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic

from neurovis.batches import Data, Recordings, seed_of
from neurovis.brain.ridge import Ridge, RidgeModel, neighbours
from neurovis.config import Config
from neurovis.errors import NeurovisError, UsageError
from neurovis.metrics import scoring
from neurovis.metrics.retrieval import KWay, Top, cosine_blocks, place
from neurovis.records import Score, Split
from neurovis.store import atomic
from neurovis.targets import Target, named

ALONE = " alone"
METRICS = (KWay(k=2), Top(k=1), Top(k=5))
"""The first, the share of other images that are less like the prediction, is what curves show."""
FORMAT = "neurovis-analysis"
PART = "neurovis-analysis-part"


class Analysis(Config):
    """What every analysis is told.

    Parameters
    ----------
    data : Data
    targets : dict of Target
        Levels of the image, by name; a plain string is an encoder.
    components : int, optional
        Principal components that a level is reduced to where it does not say its own; None keeps all.
    apart : bool
        Also decode what each level has of its own: its vectors less what all other levels predict of
        them (ridge regression between images, fitted to training images).
    ridge : Ridge
        The closed form that reads every window, region or subset.
    bin : float, s
        Mean over so much time before anything else; 0 for every sample.
    n_permutations : int
        Of the test images' labels, for thresholds.
    n_shuffles : int
        Models of shuffled images beside each true one: the control, which is their mean. One alone may
        by luck be right or wrong of all images alike.
    seed : int
    """

    kind: ClassVar[str] = ""
    data: Data = Data()
    targets: dict[str, Target] = pydantic.Field(default_factory=lambda: {"image": Target()})
    components: pydantic.PositiveInt | None = 64
    apart: bool = False
    ridge: Ridge = Ridge()
    bin: float = pydantic.Field(0.0, ge=0)
    n_permutations: int = pydantic.Field(1000, ge=20)
    n_shuffles: pydantic.PositiveInt = 4
    seed: int = pydantic.Field(0, ge=0)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read_targets(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("targets"), dict):
            value = {**value, "targets": named(value["targets"])}
        return value

    @pydantic.model_validator(mode="after")
    def _enough_permutations(self) -> Analysis:
        level = getattr(self, "level", 1.0)
        if (self.n_permutations + 1) * level < 1:
            raise UsageError(
                f"n_permutations: expected at least {math.ceil(1 / level) - 1} for level={level:g}, found "
                f"{self.n_permutations}; draw more."
            )
        return self

    @pydantic.model_validator(mode="after")
    def _several_levels(self) -> Analysis:
        if self.apart and len(self.targets) < 2:
            raise UsageError(
                "apart: expected two targets or more, found one; name other levels that it is taken "
                "apart from."
            )
        return self


@dataclass(frozen=True, eq=False)
class Layout:
    """Signals on disk, and what tasks in other processes must know.

    Parameters
    ----------
    folder : Path
        Holds ``<subject>-<side>.npy`` (time, row, channel).
    subjects : tuple of str
    times : array (time,), s
    step : float, s
        Between samples.
    levels : tuple of str
    widths : tuple of int
        Dims of each level.
    image : array of str (image,)
    vector : array (image, dim)
        Of all levels, side by side.
    gallery : array of int (item,)
        Test images, in `image`.
    rows : dict of array of int (row,)
        Image of each row, by (subject, side).
    control : dict of array of int (shuffle, row)
        Images of the fitted rows, shuffled, by subject.
    channels : dict of array of int (channel,)
        Channels that each subject has.
    position : array (channel, 3), m
    seed : int
    """

    folder: Path
    subjects: tuple[str, ...]
    times: np.ndarray
    step: float
    levels: tuple[str, ...]
    widths: tuple[int, ...]
    image: np.ndarray
    vector: np.ndarray
    gallery: np.ndarray
    rows: dict[tuple[str, str], np.ndarray]
    control: dict[str, np.ndarray]
    channels: dict[str, np.ndarray]
    position: np.ndarray
    seed: int

    def signal(self, subject: str, side: str, window: slice = slice(None)) -> np.ndarray:
        """Mean responses of one side (``fit`` is training and validation): (row, channel, time)."""
        sides = ("train", "validation") if side == "fit" else (side,)
        found = [np.load(self.folder / f"{subject}-{s}.npy", mmap_mode="r") for s in sides]
        return np.concatenate([one[window] for one in found], axis=1).transpose(1, 2, 0)

    def shown(self, subject: str, side: str) -> np.ndarray:
        """Image of each row, as in `signal`."""
        sides = ("train", "validation") if side == "fit" else (side,)
        return np.concatenate([self.rows[subject, s] for s in sides])

    def aims(self, subject: str) -> np.ndarray:
        """Vectors of the fitted rows (row, dim)."""
        return self.vector[self.shown(subject, "fit")]

    def shuffled(self, subject: str) -> np.ndarray:
        """Vectors of the fitted rows' shuffled images, one shuffle after the other: (row, k * dim)."""
        return np.concatenate([self.vector[rows] for rows in self.control[subject]], axis=1)

    def parts(self, said: np.ndarray) -> list[np.ndarray]:
        """Predictions of each level, and then of each shuffle's levels where there are such."""
        n = said.shape[1] // sum(self.widths)
        return np.split(said, np.cumsum(self.widths * n)[:-1], axis=1)

    def similarity(self, level: int, said: np.ndarray) -> np.ndarray:
        """Cosine between predictions and the gallery: array (row, item)."""
        known = self.parts(self.vector[self.gallery])[level]
        return np.concatenate([block for _, block in cosine_blocks([(said, known)])])

    def item(self, subject: str, side: str = "test") -> np.ndarray:
        """Place in the gallery of each row's image."""
        return np.searchsorted(self.gallery, self.rows[subject, side])

    def permutations(self, n_rows: int, n: int) -> np.ndarray:
        """Shuffled numbers of the rows (draw, row): the same for every window, level and region."""
        rng = np.random.default_rng([self.seed, 41, n_rows])
        return rng.permuted(np.tile(np.arange(n_rows), (n, 1)), axis=1)

    def model(self, ridge: Ridge, channels: np.ndarray) -> RidgeModel:
        """An unfitted model for some channels, which are smooth in space where `ridge` says so."""
        penalties = np.logspace(ridge.log10_low, ridge.log10_high, ridge.n_penalties)
        if not ridge.smoothness:
            return RidgeModel(penalties)
        position = self.position[channels]
        if not np.isfinite(position).all():
            raise UsageError(
                "ridge.smoothness: expected channels with known positions, found some without; set "
                "smoothness=0."
            )
        return RidgeModel(penalties, neighbours(position, ridge.smoothness))


def split_of(recordings: Recordings) -> Split:
    """The one split by image that analyses need."""
    split = recordings.folds[0]
    if split.unit != "image" or len(recordings.folds) > 1:
        raise UsageError(
            f"{recordings.folder}: expected one split by images, found recordings left out in turn; "
            "analyses need pictures that training did not see."
        )
    return split


def lay_out(
    config: Analysis, recordings: Recordings, folder: Path, out: Path, quiet: bool = False
) -> Layout:
    """Put mean responses on disk and vectors side by side.

    Parameters
    ----------
    config : Analysis
    recordings : Recordings
    folder : Path
        Where the signals go; those that are there are kept.
    out : Path
        Where embeddings are kept.
    quiet : bool

    Raises
    ------
    NeurovisError
        If a side of the split has too few images, or a bin is longer than the window.
    """
    split, step = split_of(recordings), 1 / recordings.trials[0].sfreq
    n_bin = max(1, round(config.bin / step))
    if n_bin > recordings.n_times:
        raise UsageError(
            f"bin: expected at most {recordings.n_times * step:g} s, the length of the signals, found "
            f"{config.bin:g}; choose a shorter one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    sides: dict[tuple[str, str], tuple[list, np.ndarray]] = {}
    for side in ("train", "validation", "test"):
        items, images = recordings.items(split, side)
        for number, subject in enumerate(recordings.subjects):
            mine = [i for i, (s, _) in enumerate(items) if s == number]
            sides[subject, side] = [items[i] for i in mine], images[mine] if mine else images[:0]
    least = {"train": 3, "validation": 0, "test": 2}
    for (subject, side), (items, _) in sides.items():
        if len(items) < least[side]:
            raise NeurovisError(
                f"sub-{subject}: expected {least[side]} {side} images with trials or more, found "
                f"{len(items)}; leave that subject out of data.subjects."
            )
    channels = {
        subject: np.flatnonzero(recordings.present[number])
        for number, subject in enumerate(recordings.subjects)
    }
    for (subject, side), (items, _) in sides.items():
        path = folder / f"{subject}-{side}.npy"
        if not path.is_file():
            _write(path, _binned(recordings, items, channels[subject], n_bin))
    image = np.unique(np.concatenate([images for _, images in sides.values()]))
    names, vectors = _levels(config, recordings, split, image, out, quiet)
    rows = {key: np.searchsorted(image, images) for key, (_, images) in sides.items()}
    tested = np.unique(np.concatenate([rows[s, "test"] for s in recordings.subjects]))
    n = recordings.n_times // n_bin
    return Layout(
        folder=folder,
        subjects=recordings.subjects,
        times=recordings.times[: n * n_bin].reshape(n, n_bin).mean(1),
        step=n_bin * step,
        levels=names,
        widths=tuple(vector.shape[1] for vector in vectors),
        image=image,
        vector=np.concatenate(vectors, axis=1).astype(np.float32),
        gallery=tested,
        rows=rows,
        control=_shuffled(rows, recordings.subjects, config.n_shuffles, config.seed),
        channels=channels,
        position=recordings.channel_position,
        seed=config.seed,
    )


def _binned(
    recordings: Recordings, items: list, channels: np.ndarray, n_bin: int
) -> Iterator[np.ndarray]:
    """Mean responses (time, row, channel), some rows at a time."""
    n = recordings.n_times // n_bin
    yield np.array([n, len(items), len(channels)])
    for start in range(0, len(items), 256):
        block = recordings.averages(items[start : start + 256])[:, channels, : n * n_bin]
        block = block.reshape(*block.shape[:2], n, n_bin).mean(3)
        yield block.transpose(2, 0, 1)


def _write(path: Path, blocks: Iterator[np.ndarray]) -> None:
    from numpy.lib.format import open_memmap

    shape = tuple(int(n) for n in next(blocks))
    with atomic(path) as partial:
        if 0 in shape:  # a side without images
            with partial.open("wb") as handle:
                np.save(handle, np.zeros(shape, np.float32))
            return
        stored, start = open_memmap(partial, "w+", np.float32, shape), 0
        for block in blocks:
            stored[:, start : start + block.shape[1]] = block
            start += block.shape[1]
        stored.flush()


def _shuffled(rows: dict, subjects: Sequence[str], n: int, seed: int) -> dict[str, np.ndarray]:
    """Images of the fitted rows under some permutations of the images, the same for all subjects."""
    fitted = {s: np.concatenate([rows[s, "train"], rows[s, "validation"]]) for s in subjects}
    known = np.unique(np.concatenate(list(fitted.values())))
    rng = np.random.default_rng(seed_of(seed, "shuffled"))
    others = [rng.permutation(known) for _ in range(n)]
    return {
        s: np.stack([other[np.searchsorted(known, mine)] for other in others])
        for s, mine in fitted.items()
    }


def _levels(
    config: Analysis,
    recordings: Recordings,
    split: Split,
    image: np.ndarray,
    out: Path,
    quiet: bool,
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names and vectors (image, dim) of all levels."""
    fitted = np.isin(image, [*split.train, *split.validation])
    vectors = {}
    for name, target in config.targets.items():
        if target.components is None and config.components is not None:
            found = target.vectors(recordings.stimuli, split, out, quiet).at(image)
            found = found.reshape(len(found), -1)
            vectors[name] = _reduced(found, fitted, config.components)
        else:
            found = target.vectors(recordings.stimuli, split, out, quiet).at(image)
            vectors[name] = found.reshape(len(found), -1)
    names, own = list(vectors), list(vectors.values())
    if config.apart:
        for name, vector in vectors.items():
            rest = np.concatenate([v for k, v in vectors.items() if k != name], axis=1)
            known = config.ridge.model_copy(update={"smoothness": 0.0}).build()
            left = vector - known.fit(rest[fitted], vector[fitted]).predict(rest)
            if not (np.ptp(left, axis=0) > 0).any():
                raise NeurovisError(
                    f"apart: nothing is left of {name!r} without the other targets, expected some "
                    "difference between images; leave one of them out."
                )
            names.append(name + ALONE)
            own.append(left)
    return tuple(names), own


def _reduced(vector: np.ndarray, fitted: np.ndarray, components: int) -> np.ndarray:
    """Principal components over the fitted images, their variances kept."""
    middle = vector[fitted].mean(0)
    if components >= min(fitted.sum() - 1, vector.shape[1]):
        return vector - middle
    basis = np.linalg.svd(vector[fitted] - middle, full_matrices=False)[2][:components]
    return (vector - middle) @ basis.T


# ---- scores ------------------------------------------------------------------------------------


def assess(
    layout: Layout, subject: str, level: int, said: np.ndarray, n_null: int, side: str = "test"
) -> dict[str, np.ndarray]:
    """Where the shown images stand, and what shuffled labels would score.

    Parameters
    ----------
    layout : Layout
    subject : str
    level : int
    said : array (row, dim)
        Predictions for the rows of one side, in order.
    n_null : int
        Permutations; 0 for none.
    side : str

    Returns
    -------
    dict of array
        ``above``, ``tied`` (row,), see `neurovis.metrics.retrieval.place`; ``null`` (draw,): mean
        two-way credit with the labels of the rows permuted.
    """
    from scipy.stats import rankdata

    similarity, item = layout.similarity(level, said), layout.item(subject, side)
    above, tied = place(similarity, item)
    found = {"above": above.astype(np.int32), "tied": tied.astype(np.int32)}
    if n_null:
        credit = (rankdata(similarity, axis=1) - 1) / (similarity.shape[1] - 1)
        other = layout.permutations(len(item), n_null)
        rows = np.arange(len(item))
        found["null"] = credit[rows, item[other]].mean(1).astype(np.float32)
    return found


def two_way(above: np.ndarray, tied: np.ndarray, n_gallery: int) -> np.ndarray:
    """Two-way credit of each row; any shape."""
    return 1 - (above + tied / 2) / (n_gallery - 1)


def scores(
    layout: Layout, found: dict[str, dict[str, np.ndarray]], common: dict[str, Any]
) -> list[Score]:
    """Scores of all subjects together and of each, images resampled.

    Parameters
    ----------
    layout : Layout
    found : dict of dict of array
        `assess` by subject; rows of several shuffles after each other count as rows of the images.
    common : dict
        ``gallery``, ``protocol``, ``about``.
    """
    n = len(layout.gallery)
    metrics = tuple(metric for metric in METRICS if metric.fits(n))
    out: list[Score] = []
    groups = [("all", list(found))] + ([(s, [s]) for s in found] if len(found) > 1 else [])
    for who, members in groups:
        image = np.concatenate([_images(layout, s, len(found[s]["above"])) for s in members])
        above = np.concatenate([found[s]["above"] for s in members])
        tied = np.concatenate([found[s]["tied"] for s in members])
        about = {**common["about"], "subject": who, "n_rows": len(image)}
        made = scoring.score_images(metrics, image, above, tied, n, {**common, "about": about})
        out += [replace(s.score, per_item=np.zeros(0)) for s in made]
    return out


def _images(layout: Layout, subject: str, n: int) -> np.ndarray:
    rows = layout.image[layout.rows[subject, "test"]]
    return np.tile(rows, n // len(rows))


def own_scores(
    layout: Layout, subject: str, said: np.ndarray, n_null: int
) -> dict[str, np.ndarray]:
    """`assess` of every level, true and shuffled.

    Parameters
    ----------
    layout : Layout
    subject : str
    said : array (row, dim)
        Predictions of the truth, and of the shuffles where there are such.
    n_null : int

    Returns
    -------
    dict of array (level, set, ...)
        The first set is the truth.
    """
    n, parts = len(layout.levels), layout.parts(said)
    some = [
        [assess(layout, subject, level, one, n_null) for one in parts[level::n]]
        for level in range(n)
    ]
    return {k: np.array([[x[k] for x in sets] for sets in some]) for k in some[0][0]}


def chosen(found: dict[str, np.ndarray], level: int, control: bool) -> dict[str, np.ndarray]:
    """One level of `own_scores`: the truth, or all shuffles, whose null is their mean."""
    if not control:
        return {k: v[level, 0] for k, v in found.items()}
    null = found["null"][level, 1:].mean(0)
    return {k: found[k][level, 1:].ravel() for k in ("above", "tied")} | {"null": null}


def described(recordings: Recordings, layout: Layout) -> dict[str, str]:
    """Gallery and protocol of the scores, in words."""
    split = recordings.folds[0]
    counts = np.array([len(rows) for _, rows in recordings.items(split, "test")[0]])
    low, high = int(counts.min()), int(counts.max())
    trials = f"means of {low if low == high else f'{low} to {high}'} trials"
    part = f"; {recordings.about}" if recordings.about else ""
    return {
        "gallery": f"{len(layout.gallery)} test images (shown image)",
        "protocol": f"{split.protocol}; ridge fitted to training and validation images, {trials} of test "
        f"images{part}",
    }
