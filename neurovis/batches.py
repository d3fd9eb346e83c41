"""From prepared trials to batches: channels aligned across subjects, repeats averaged, blocks read ahead.

Comes in: a prepared folder (``sub-*/trials.h5``, ``stimuli.csv``, ``split*.json``). Goes out: float32
blocks (row, channel, time) over the union of the subjects' channels, absent channels at 0 and marked
in `present`. Small recordings are kept in memory, larger ones are read batch by batch from disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.brain.base import Shape
from neurovis.config import Config, added, fingerprint, how
from neurovis.distributed import n_beside
from neurovis.errors import NeurovisError, unknown
from neurovis.records import Split, Stimuli, Trials
from neurovis.signals.scaling import noise_covariance, standard_scale, whiten, whitener
from neurovis.store import is_complete
from neurovis.subsets import Limit, standardisation

Item = tuple[int, np.ndarray]
"""A row of a batch: number of the subject, and the trials to average."""


class Data(Config):
    """Which prepared trials, and which part of them.

    Parameters
    ----------
    path : str
        Prepared folder, the output of ``neurovis preprocess``.
    subjects : tuple of str
        All if empty.
    tmin, tmax : float, s
        Part of the epochs to use; all if None.
    memory : float, GiB
        Keep the signals in memory where they take less, all processes of a machine together.
    sessions : int, optional
        Train and validate on the first so many sessions of each subject, in chronological order.
    n_train_images : int, optional
        Train on so many images, and validate on the same share of theirs; see `Limit`.
    scale : {"stored", "used", "whitened", "aligned"}
        Signals as preprocessing standardised them, or each channel standardised anew with mean and SD
        of the training trials that are used, or channels whitened anew with their mean and covariance
        there. The second undoes one scale per channel and subject that unused trials taught
        preprocessing, the third one matrix; what was clamped stays so. The third makes subjects alike
        before a model of some is used on others (Euclidean alignment,
        doi:10.1109/TBME.2019.2913914), and so does the fourth, which takes away the subject's mean
        response to all training pictures first: what a person answers to any picture says nothing of
        the one shown. Both take trials of the new subject, not their labels.
    """

    path: str = how("")
    subjects: tuple[str, ...] = ()
    tmin: float | None = None
    tmax: float | None = None
    memory: float = how(6.0)
    sessions: pydantic.PositiveInt | None = added(None)
    n_train_images: pydantic.PositiveInt | None = added(None)
    scale: Literal["stored", "used", "whitened", "aligned"] = added("stored")


class Recordings:
    """Trials of several subjects with their channels aligned.

    Parameters
    ----------
    data : Data

    Attributes
    ----------
    subjects : tuple of str
    trials : list of Trials
    stimuli : Stimuli
    folds : tuple of Split
    present : array of bool (subject, channel)

    Raises
    ------
    NeurovisError
        If files are missing, sampling differs between subjects, or the window is outside the epochs.
    """

    def __init__(self, data: Data):
        folder = Path(data.path)
        if not (folder / "stimuli.csv").is_file():
            raise NeurovisError(
                f"data.path: expected a prepared folder with stimuli.csv, found {data.path!r}; "
                "run neurovis preprocess and give the folder it names."
            )
        self.folder = folder
        self.stimuli = Stimuli.read(folder / "stimuli.csv")
        self.folds = Split.read_folds(folder)
        files = {p.parent.name.removeprefix("sub-"): p for p in folder.glob("sub-*/trials.h5")}
        for subject in data.subjects:
            if subject not in files:
                raise NeurovisError(unknown("subject", subject, files))
        self.subjects = tuple(data.subjects) or tuple(sorted(files))
        if not self.subjects:
            raise NeurovisError(f"{folder}: no sub-*/trials.h5 in it; run neurovis preprocess.")
        self.trials = [Trials.open(files[subject]) for subject in self.subjects]
        self._align(data)
        for split in self.folds:
            split.check(self.stimuli)
        size = sum(len(t) for t in self.trials) * self.n_chans * self.n_times * 4
        self._kept: list[np.ndarray] | None = None
        if size <= data.memory * 2**30 / n_beside():
            self._kept = [self._load(s, slice(None)) for s in range(len(self.subjects))]
        self.limits = [Limit(data.sessions, data.n_train_images)] * len(self.subjects)
        self.scale = data.scale
        self._standard = [] if self.scale == "stored" else self._statistics()

    def _align(self, data: Data) -> None:
        first = self.trials[0]
        for trials, subject in zip(self.trials, self.subjects):
            same = (trials.sfreq, trials.signal.shape[2]) == (first.sfreq, first.signal.shape[2])
            if not same or abs(trials.tmin - first.tmin) > 1e-6:
                raise NeurovisError(
                    f"sub-{subject}/trials.h5: expected {first.signal.shape[2]} samples from "
                    f"{first.tmin:g} s at {first.sfreq:g} Hz as in sub-{self.subjects[0]}, found "
                    f"{trials.signal.shape[2]} from {trials.tmin:g} s at {trials.sfreq:g} Hz; "
                    "preprocess all subjects with one config."
                )
            self.stimuli.index(np.unique(trials.image))
        low = -np.inf if data.tmin is None else data.tmin - 1e-6
        high = np.inf if data.tmax is None else data.tmax + 1e-6
        keep = np.flatnonzero((first.times >= low) & (first.times <= high))
        if len(keep) == 0:
            raise NeurovisError(
                f"data.tmin, data.tmax: expected a window inside {first.times[0]:g} to "
                f"{first.times[-1]:g} s, found {data.tmin} to {data.tmax}."
            )
        self._window = slice(keep[0], keep[-1] + 1)
        self.times = first.times[self._window]
        self.n_times = len(self.times)
        self._unite(self.trials)

    def _unite(self, layout: Sequence[Trials]) -> None:
        """Set the channels: all that these trials have."""
        names: dict[str, tuple[str, np.ndarray]] = {}
        for trials in layout:
            for name, kind, place in zip(
                trials.channel_name, trials.channel_type, trials.channel_position
            ):
                names.setdefault(str(name), (str(kind), place))
        # channels that every subject has keep their order; the others come after it
        self.channel_name = tuple(names)
        self.channel_type = tuple(kind for kind, _ in names.values())
        self.channel_position = np.array([place for _, place in names.values()], np.float32)
        self.n_chans = len(names)
        where = {name: i for i, name in enumerate(self.channel_name)}
        self._columns = [
            np.array([where.get(str(n), -1) for n in t.channel_name]) for t in self.trials
        ]
        self.present = np.zeros((len(self.trials), self.n_chans), bool)
        for row, columns in zip(self.present, self._columns):
            row[columns[columns >= 0]] = True

    def shape(self, outputs: dict[str, int]) -> Shape:
        """What a tower is built from."""
        return Shape(
            n_times=self.n_times,
            sfreq=self.trials[0].sfreq,
            channel_name=self.channel_name,
            channel_type=self.channel_type,
            channel_position=self.channel_position,
            subjects=self.subjects,
            outputs=outputs,
            tmin=float(self.times[0]),
            present=self.present,
        )

    def shape_of(self, subject: int, outputs: dict[str, int]) -> Shape:
        """What a model of one subject alone is built from: its own channels."""
        keep = np.flatnonzero(self.present[subject])
        return replace(
            self.shape(outputs),
            channel_name=tuple(self.channel_name[i] for i in keep),
            channel_type=tuple(self.channel_type[i] for i in keep),
            channel_position=self.channel_position[keep],
            subjects=(self.subjects[subject],),
            present=None,
        )

    def _load(self, subject: int, rows: Any) -> np.ndarray:
        block = self.trials[subject].read(rows)[:, :, self._window]
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = not np.isfinite(block.sum())  # cheaper than looking at every sample
        if suspect and not np.isfinite(block).all():
            self._refuse(subject, rows, block)
        columns = self._columns[subject]
        if len(columns) == self.n_chans and (np.diff(columns) == 1).all():
            return np.ascontiguousarray(block)
        out = np.zeros((len(block), self.n_chans, self.n_times), np.float32)
        out[:, columns] = block
        return out

    def _refuse(self, subject: int, rows: Any, block: np.ndarray) -> None:
        bad = ~np.isfinite(block).all((1, 2))
        trial = np.arange(len(self.trials[subject]))[rows][bad][0]
        raise NeurovisError(
            f"sub-{self.subjects[subject]}/trials.h5: expected finite signals, found NaN or infinity "
            f"in trial {trial} (image {str(self.trials[subject].image[trial])!r}); preprocess or "
            "import it again without that trial."
        )

    def read(self, subject: int, rows: Any) -> np.ndarray:
        """Signals of trials of one subject: array (row, channel, time) float32."""
        block = self._stored(subject, rows)
        if not self._standard:
            return block
        center, scale = self._standard[subject]
        block = block - center
        return whiten(block, scale) if scale.ndim == 2 else block / scale[:, None]

    def _stored(self, subject: int, rows: Any) -> np.ndarray:
        return self._load(subject, rows) if self._kept is None else self._kept[subject][rows]

    def _statistics(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Mean (channel, 1 or time) of the training trials that are used, and SD or whitening matrix."""
        if len(self.folds) > 1:
            raise NeurovisError(
                f"data.scale: expected stored, found {self.scale}: with left-out recordings the training trials "
                "differ from fold to fold; preprocess with scaling=constant."
            )
        return [self._statistics_of(number) for number in range(len(self.subjects))]

    def _statistics_of(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rows, keep = self.rows(self.folds[0], "train", number), self.present[number]
        scale = np.ones(self.n_chans, np.float32)
        center = np.zeros(
            (self.n_chans, self.n_times if self.scale == "aligned" else 1), np.float32
        )
        if not len(rows):
            return center, scale

        def blocks() -> Iterator[np.ndarray]:
            for start in range(0, len(rows), 256):
                yield self._stored(number, rows[start : start + 256])[:, keep]

        middle, scale[keep] = standard_scale(blocks())
        center[keep] = middle[:, None]
        if self.scale == "aligned":
            center[keep] = sum(block.sum(0, dtype=np.float64) for block in blocks()) / len(rows)
        if self.scale in ("whitened", "aligned"):
            scale = np.eye(self.n_chans, dtype=np.float32)
            found = noise_covariance(block - center[keep] for block in blocks())
            scale[np.ix_(keep, keep)] = whitener(found)
        return center, scale

    def rows(self, split: Split, side: str, number: int) -> np.ndarray:
        """Trials of one subject on one side that are used: array of int (row,)."""
        return self.limits[number].rows(split, side, self.trials[number])

    @property
    def about(self) -> str:
        """What part of the training data is used, and what its standardisation saw; often empty."""
        found = []
        for limit, trials in zip(self.limits, self.trials):
            said = standardisation(trials, limit, self.scale)
            found.append(str(limit) + (f" ({said})" if said else ""))
        return "; ".join(dict.fromkeys(text for text in found if text))

    def averages(self, items: Sequence[Item]) -> np.ndarray:
        """One mean over trials per item: array (item, channel, time) float32."""
        out = np.empty((len(items), self.n_chans, self.n_times), np.float32)
        for number in sorted({subject for subject, _ in items}):
            mine = [i for i, (subject, _) in enumerate(items) if subject == number]
            counts = np.array([len(items[i][1]) for i in mine])
            for start in range(0, len(mine), 256):
                part, n = mine[start : start + 256], counts[start : start + 256]
                block = self.read(number, np.concatenate([items[i][1] for i in part]))
                if (n == 1).all():
                    out[part] = block
                else:
                    begin = np.concatenate([[0], np.cumsum(n)[:-1]])
                    out[part] = np.add.reduceat(block, begin, axis=0) / n[:, None, None]
        return out

    def items(self, split: Split, side: str, single: bool = False) -> tuple[list[Item], np.ndarray]:
        """Items of one side: one per subject and image, or one per trial.

        Returns
        -------
        list of Item
        array of str (item,)
            Image of each.
        """
        items: list[Item] = []
        images: list[str] = []
        for number, trials in enumerate(self.trials):
            rows = self.rows(split, side, number)
            if len(rows) == 0:
                continue
            if single or split.unit == "recording":
                items += [(number, np.array([row])) for row in rows]
                images += trials.image[rows].tolist()
            else:
                order = rows[np.argsort(trials.image[rows], kind="stable")]
                names, starts = np.unique(trials.image[order], return_index=True)
                items += [(number, group) for group in np.split(order, starts[1:])]
                images += names.tolist()
        return items, np.array(images, dtype=str)

    @property
    def identity(self) -> str:
        """Fingerprint of the prepared folder with these subjects."""
        return prepared_identity(self.folder, self.subjects)

    def close(self) -> None:
        """Close the files."""
        for trials in self.trials:
            trials.close()


class View(Recordings):
    """Some subjects of recordings, with channels of their own or those of other subjects.

    Parameters
    ----------
    base : Recordings
        Stays open; closing the view does nothing.
    subjects : sequence of int
        Numbers in `base`; they are counted anew in the view.
    layout : sequence of int, optional
        Subjects whose channels are taken, `subjects` if not given. What others have beside these is
        left out.
    limit : Limit, optional
        Of the view's training data, in place of that of `base`.

    Raises
    ------
    NeurovisError
        If a subject has no channel of the layout.
    """

    def __init__(
        self,
        base: Recordings,
        subjects: Sequence[int],
        layout: Sequence[int] | None = None,
        limit: Limit | None = None,
    ):
        self.base, self._number = base, tuple(subjects)
        self.folder, self.stimuli, self.folds = base.folder, base.stimuli, base.folds
        self.times, self.n_times, self._window = base.times, base.n_times, base._window
        self.subjects = tuple(base.subjects[i] for i in subjects)
        self.trials = [base.trials[i] for i in subjects]
        self._unite([base.trials[i] for i in (subjects if layout is None else layout)])
        for subject, row in zip(self.subjects, self.present):
            if not row.any():
                others = ", ".join(base.subjects[i] for i in layout or ())
                raise NeurovisError(
                    f"sub-{subject}/trials.h5: expected channels named as those of sub-{others}, found "
                    "none of them; only subjects recorded with the same channels can stand in for each "
                    "other: rename channels, or use subjects=joint or single."
                )
        where = {name: i for i, name in enumerate(base.channel_name)}
        self._pick = np.array([where[name] for name in self.channel_name])
        self._same = np.array_equal(self._pick, np.arange(base.n_chans))
        self.limits = (
            [base.limits[i] for i in subjects] if limit is None else [limit] * len(subjects)
        )
        self.scale = base.scale
        self._standard = [] if self.scale == "stored" else self._statistics()

    def _stored(self, subject: int, rows: Any) -> np.ndarray:
        block = self.base._stored(self._number[subject], rows)
        return block if self._same else np.ascontiguousarray(block[:, self._pick])

    def close(self) -> None:
        """Nothing: the files belong to `base`."""


class Examples:
    """Single training trials, for towers that start from a closed form.

    Parameters
    ----------
    recordings : Recordings
    items : list of Item
    images : array of str (item,)
        What each item is taken to show.
    n_folds : int
        Parts that the images are divided into.
    """

    def __init__(self, recordings: Recordings, items: list[Item], images: np.ndarray, n_folds: int):
        self.recordings = recordings
        subjects = range(len(recordings.subjects))
        self.item = [
            [i for i, (s, rows) in enumerate(items) if s == n for _ in rows] for n in subjects
        ]
        self.row = [[r for s, rows in items if s == n for r in rows] for n in subjects]
        names, place = np.unique(images, return_inverse=True)
        # with few stimuli (categories) parts are of trials, else of images
        few = len(names) < 4 * n_folds
        self.fold = (np.arange(len(items)) if few else place) % n_folds

    def trials(self, number: int) -> Iterator[np.ndarray]:
        """Signals of one subject, block by block: (trial, channel, time), absent channels at 0."""
        rows = np.array(self.row[number])
        for start in range(0, len(rows), 256):
            yield self.recordings.read(number, rows[start : start + 256])

    def folds(self, number: int) -> np.ndarray:
        """Part of each trial of one subject: array of int (trial,)."""
        return self.fold[self.item[number]]


def shuffled(
    images: np.ndarray, items: list[Item], recordings: Recordings, split: Split, seed: int
) -> np.ndarray:
    """Images permuted: among images per subject, or among trials within each recording."""
    # folds get shuffles of their own: one for all would be right or wrong by luck in all of them alike
    name = "shuffled" if split.unit == "image" else f"shuffled/{'/'.join(split.test)}"
    generator = np.random.default_rng(seed_of(seed, name))
    images = images.copy()
    subjects = np.array([subject for subject, _ in items])
    if split.unit == "image":
        # one permutation of the images for all subjects: repeats stay together
        names = np.unique(images)
        other = dict(zip(names, generator.permutation(names)))
        return np.array([other[image] for image in images], dtype=str)
    names = [trials.recording for trials in recordings.trials]
    place = np.array([names[s][rows[0]] for s, rows in items])
    for subject in np.unique(subjects):
        for recording in np.unique(place[subjects == subject]):
            rows = np.flatnonzero((subjects == subject) & (place == recording))
            images[rows] = generator.permutation(images[rows])
    return images


def seed_of(seed: int, name: str) -> int:
    """A seed of its own for each named use of one seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")


def prepared_identity(folder: Path, subjects: Sequence[str]) -> str:
    """Fingerprint of a prepared folder: of its config, its stimuli and the subjects' recordings."""
    import yaml

    from neurovis.store import read_json

    if not is_complete(folder):
        raise NeurovisError(
            f"{folder}: no provenance.json in it, the preprocessing did not finish; run it again."
        )
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    record = read_json(folder / "provenance.json")
    marks = [folder / f"sub-{who}" / "qc.json" for who in subjects]
    inputs = [read_json(mark).get("inputs") for mark in marks if mark.is_file()]
    return fingerprint(config, record.get("inputs"), record.get("seed"), inputs)
