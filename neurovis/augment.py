"""Changes of training signals that leave what was seen as it is.

Comes in: a batch (row, channel, time) and a seed. Goes out: a changed copy. Every change is drawn from
the batch's own seed, a function of seed, epoch and step, so that a resumed run is the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pydantic

from neurovis.config import Family
from neurovis.errors import UsageError

if TYPE_CHECKING:
    from neurovis.batches import Item, Recordings
    from neurovis.experiment import Train


class Augmentation(Family, family="augmentations"):
    """A random change of training signals."""

    def apply(self, signal: np.ndarray, sfreq: float, generator: np.random.Generator) -> np.ndarray:
        """Change signals.

        Parameters
        ----------
        signal : array (row, channel, time) float32
            Not modified.
        sfreq : float, Hz
        generator : numpy Generator

        Returns
        -------
        array (row, channel, time) float32
        """
        raise NotImplementedError


class Shift(Augmentation, name="shift"):
    """Each row moves in time by a random number of samples; its ends are repeated.

    Parameters
    ----------
    seconds : float, s
        At most, to either side.
    """

    seconds: pydantic.NonNegativeFloat = 0.02

    def apply(self, signal: np.ndarray, sfreq: float, generator: np.random.Generator) -> np.ndarray:
        """See `Augmentation.apply`."""
        most = round(self.seconds * sfreq)
        if not most:
            return signal
        shifts = generator.integers(-most, most + 1, len(signal))
        columns = np.clip(np.arange(signal.shape[2]) - shifts[:, None], 0, signal.shape[2] - 1)
        return np.take_along_axis(signal, columns[:, None], axis=2)


class Noise(Augmentation, name="noise"):
    """White noise is added.

    Parameters
    ----------
    level : float
        Its standard deviation relative to that of the batch.
    """

    level: pydantic.NonNegativeFloat = 0.1

    def apply(self, signal: np.ndarray, sfreq: float, generator: np.random.Generator) -> np.ndarray:
        """See `Augmentation.apply`."""
        if not self.level:
            return signal
        extra = generator.standard_normal(signal.shape, dtype=np.float32)
        return signal + np.float32(self.level * signal.std()) * extra


class DropChannels(Augmentation, name="drop_channels"):
    """Each channel of each row is set to 0, which scaling made its middle, with some probability.

    Parameters
    ----------
    probability : float
    """

    probability: float = pydantic.Field(0.1, ge=0, lt=1)

    def apply(self, signal: np.ndarray, sfreq: float, generator: np.random.Generator) -> np.ndarray:
        """See `Augmentation.apply`."""
        kept = generator.random(signal.shape[:2]) >= self.probability
        return signal * kept[:, :, None]


class Smooth(Augmentation, name="smooth"):
    """Each channel of each row is replaced by its centred moving average with some probability.

    Parameters
    ----------
    width : int, samples
        Odd; arXiv 2511.06836 takes 5.
    probability : float
        Per channel; 0.5 there.
    """

    width: pydantic.PositiveInt = 5
    probability: float = pydantic.Field(0.5, ge=0, le=1)

    @pydantic.field_validator("width")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("expected an odd number of samples, so that nothing moves in time")
        return value

    def apply(self, signal: np.ndarray, sfreq: float, generator: np.random.Generator) -> np.ndarray:
        """See `Augmentation.apply`."""
        chosen = generator.random(signal.shape[:2]) < self.probability
        half, n_times = self.width // 2, signal.shape[2]
        some = signal[chosen]
        padded = np.pad(some, ((0, 0), (half, half)), mode="edge")
        total = sum(padded[:, start : start + n_times] for start in range(self.width))
        out = signal.copy()
        out[chosen] = total / np.float32(self.width)
        return out


class Amplitude(Augmentation, name="amplitude"):
    """Each row is multiplied by one factor for all channels.

    Parameters
    ----------
    spread : float
        Factors are uniform from 1 - spread to 1 + spread.
    """

    spread: float = pydantic.Field(0.2, ge=0, lt=1)

    def apply(self, signal: np.ndarray, sfreq: float, generator: np.random.Generator) -> np.ndarray:
        """See `Augmentation.apply`."""
        factor = generator.uniform(1 - self.spread, 1 + self.spread, len(signal))
        return signal * factor.astype(np.float32)[:, None, None]


def changes(options: Train) -> bool:
    """Whether anything is drawn at random for training signals."""
    return bool(options.shift or options.noise or options.augment or options.subject_mix)


def augmented(signal: np.ndarray, options: Train, recordings: Recordings, seed: int) -> np.ndarray:
    """Training signals changed as the options say: shift, noise, then ``train.augment`` in order."""
    generator = np.random.default_rng(int(seed))
    steps = (Shift(seconds=options.shift), Noise(level=options.noise), *options.augment)
    for step in steps:
        signal = step.apply(signal, recordings.trials[0].sfreq, generator)
    return signal


def pick(item: Item, average: str | int, generator: np.random.Generator) -> Item:
    """The trials of an item to average this time."""
    subject, rows = item
    if average == "random" and len(rows) > 1:
        rows = generator.choice(rows, generator.integers(1, len(rows) + 1), replace=False)
    elif isinstance(average, int) and len(rows) > average:
        rows = generator.choice(rows, average, replace=False)
    return subject, rows


class SubjectMix:
    """Responses of another subject to the same image are mixed in.

    With some probability a row x of one subject becomes ``w x + (1 - w) y`` where y is what another
    subject, chosen at random, answered to the same image, and w is uniform from 0.5 to 1: the subject
    token stays that of the larger share. Channels are those of one name; what the other subject does
    not have stays x, and what x does not have stays absent. After SubjectMix as other papers quote it
    (PRIOR_WORK 6; its own values are unverified).

    Parameters
    ----------
    recordings : Recordings
    items : list of Item
        All training items.
    images : array of str (item,)
        What each is taken to show.
    average : str or int
        ``train.average``: which repeats of the other subject are averaged.
    probability : float
    """

    def __init__(
        self,
        recordings: Recordings,
        items: Sequence[Item],
        images: np.ndarray,
        average: str | int,
        probability: float,
    ):
        self.recordings, self.items = recordings, items
        self.average, self.probability = average, probability
        self.subject = np.array([subject for subject, _ in items])
        _, code = np.unique(images, return_inverse=True)
        # items of one image lie side by side: begin and end of its stretch, per item
        self.order = np.argsort(code, kind="stable")
        stops = np.cumsum(np.bincount(code))
        self.begin, self.end = (stops - np.bincount(code))[code], stops[code]
        if len({*zip(code.tolist(), self.subject.tolist())}) == len(stops):
            raise UsageError(
                "train.subject_mix: expected training images that two subjects saw, found none; set "
                "train.subject_mix=0, or train several subjects together."
            )

    def partners(self, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Item that is mixed into each row, -1 for none: array of int (row,)."""
        wanted = generator.random(len(rows)) < self.probability
        draw = generator.random(len(rows))
        out = np.full(len(rows), -1)
        for i in np.flatnonzero(wanted):
            same = self.order[self.begin[rows[i]] : self.end[rows[i]]]
            others = same[self.subject[same] != self.subject[rows[i]]]
            if len(others):
                out[i] = others[int(draw[i] * len(others))]
        return out

    def mixed(self, signal: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
        """Mix a batch.

        Parameters
        ----------
        signal : array (row, channel, time) float32
        rows : array of int (row,)
            Items the rows come from.
        seed : int

        Returns
        -------
        array (row, channel, time) float32
        """
        # a stream of its own: augmentation draws from the same seed
        generator = np.random.default_rng([int(seed), 1])
        partner = self.partners(rows, generator)
        weight = generator.uniform(0.5, 1, len(rows)).astype(np.float32)
        chosen = np.flatnonzero(partner >= 0)
        if not len(chosen):
            return signal
        items = [pick(self.items[i], self.average, generator) for i in partner[chosen]]
        other = self.recordings.averages(items)
        present = self.recordings.present
        both = present[self.subject[rows[chosen]]] & present[self.subject[partner[chosen]]]
        w = weight[chosen, None, None]
        out = signal.copy()
        out[chosen] = np.where(
            both[:, :, None], w * signal[chosen] + (1 - w) * other, signal[chosen]
        )
        return out
