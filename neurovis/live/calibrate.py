"""The first minutes of a stream teach the decoder of this person, this session.

Comes in: labelled epochs as the tower sees them. Goes out: a decoder, and how well it may be expected to
do. Three ways are compared by cross-validation within the earlier pictures: the run's tower as it is, a
ridge regression of these epochs alone, and the sum of both directions. The last quarter of the pictures is
held out from that choice and says what to expect; the decoder that goes live is fitted to all of them. A tower
knows the pictures that it was trained on: where there are enough others, these alone choose and say.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.brain.ridge import Ridge, RidgeModel
from neurovis.errors import NeurovisError
from neurovis.live.decode import Decoder, Temperatures
from neurovis.metrics.coverage import fit_temperature
from neurovis.metrics.retrieval import unit_rows
from neurovis.metrics.statistics import wilson
from neurovis.store import load_tensors, read_json, save_tensors, write_json

WAYS = ("run", "both", "ridge")
FEWEST = 24
"""Pictures below which nothing is learned."""
HELD = 0.25
FOLDS = 4


class Adapted:
    """A run's model with what a stream taught: predicts as `Pretrained` does.

    Parameters
    ----------
    model : Pretrained
    way : {"run", "both", "ridge"}
    ridge : RidgeModel
        From epochs (channel x time) to unit vectors of all targets, side by side.
    names : tuple of str (channel,)
        In the order that the ridge knows.
    widths : dict of int
        Of the targets.
    """

    def __init__(
        self, model: Any, way: str, ridge: RidgeModel, names: Sequence[str], widths: dict[str, int]
    ):
        self.model, self.way, self.ridge = model, way, ridge
        self.names, self.widths, self.sfreq = tuple(names), dict(widths), model.sfreq

    def predict(
        self,
        signal: np.ndarray,
        channel_name: Sequence[str],
        sfreq: float,
        tmin: float,
        subject: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Vectors per target: arrays (trial, dim); see `Pretrained.predict`."""
        base = None
        if self.way != "ridge":
            base = self.model.predict(signal, channel_name, sfreq, tmin, subject)
            if self.way == "run":
                return base
        place = {name: i for i, name in enumerate(self.names)}
        whole = np.zeros((len(signal), len(self.names), signal.shape[2]), np.float32)
        whole[:, [place[name] for name in channel_name]] = signal
        said = self.ridge.predict(whole)
        parts = np.split(said, np.cumsum(list(self.widths.values()))[:-1], axis=1)
        out = dict(zip(self.widths, parts))
        return out if base is None else {k: _both(base[k], v) for k, v in out.items()}


def _both(run: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    return unit_rows(run, "decoded") + unit_rows(ridge, "decoded")


@dataclass(frozen=True)
class Expected:
    """What a calibration came to.

    Parameters
    ----------
    way : str
        One of `WAYS`.
    n_trials, n_images : int
        That taught it.
    held_trials, held_images : int
    top1, top5 : (value, low, high)
        Of held-out single trials in the whole gallery; intervals count pictures, not trials.
    chance1, chance5 : float
    seconds : float
        It took.
    known : bool
        Whether held-out pictures are among those that the run was trained on, as there were too few others.
    """

    way: str
    n_trials: int
    n_images: int
    held_trials: int
    held_images: int
    top1: tuple[float, float, float]
    top5: tuple[float, float, float]
    chance1: float
    chance5: float
    seconds: float
    known: bool = False

    def __str__(self) -> str:
        names = {"run": "the run's tower as it is", "ridge": "a ridge regression of this stream",
                 "both": "the run's tower and a ridge regression of this stream"}  # fmt: skip
        one, low, high = (100 * v for v in self.top1)
        five, low5, high5 = (100 * v for v in self.top5)
        return (
            f"calibrated in {self.seconds:.1f} s on {self.n_trials} trials of {self.n_images} pictures: "
            f"{names[self.way]}; expect top-1 of single trials {one:.0f} % [{low:.0f}, {high:.0f}], chance "
            f"{100 * self.chance1:.2g} %, top-5 {five:.0f} % [{low5:.0f}, {high5:.0f}], chance "
            f"{100 * self.chance5:.2g} % ({self.held_trials} held-out trials of {self.held_images} pictures)"
            + (
                "; the run was trained on some of these, of new pictures expect less"
                if self.known
                else ""
            )
        )


class Calibration:
    """Gathers labelled epochs and fits.

    Parameters
    ----------
    decoder : Decoder
        Of the run; its gallery must hold the pictures that are shown.
    names : sequence of str (channel,)
        Of the epochs.
    tmin : float, s
        Of their first sample.
    """

    def __init__(self, decoder: Decoder, names: Sequence[str], tmin: float):
        self.decoder, self.names, self.tmin = decoder, tuple(names), tmin
        self._signal: list[np.ndarray] = []
        self._run: list[np.ndarray] = []
        self._image: list[int] = []
        self.widths: dict[str, int] = {}

    @property
    def n_images(self) -> int:
        """Pictures so far that the gallery holds."""
        return len(set(self._image))

    def take(self, image: str, signal: np.ndarray, present: np.ndarray) -> None:
        """Take an epoch (channel, time) of an image in; images that the gallery lacks teach nothing."""
        row = self.decoder.candidates.row(image)
        if row is None:
            return
        said = self.decoder.predict(signal, self.names, present, self.tmin)
        self.widths = {name: len(vector) for name, vector in said.items()}
        self._run.append(np.concatenate([unit_rows(v[None], "decoded")[0] for v in said.values()]))
        self._signal.append(signal.ravel())
        self._image.append(row)

    def fit(self) -> tuple[Decoder, Expected]:
        """The decoder of this stream, and what to expect of it.

        Raises
        ------
        NeurovisError
            If too few pictures of the gallery were shown.
        """
        began = time.perf_counter()
        order = list(dict.fromkeys(self._image))
        if len(order) < FEWEST:
            raise NeurovisError(
                f"--calibrate: saw {len(order)} pictures of the gallery ({len(self._image)} trials), expected "
                f"{FEWEST} or more; calibrate longer, or give a --gallery that holds the pictures shown."
            )
        x, run, row = np.stack(self._signal), np.stack(self._run), np.array(self._image)
        images, seen = self.decoder.candidates.image, self.decoder.seen
        new = [one for one in order if str(images[one]) not in seen]
        judges = new if len(new) >= FEWEST else order
        held = np.isin(row, judges[-round(HELD * len(judges)) :])
        vector = self.decoder.candidates.vector
        judge = np.isin(row, judges)[~held]
        way, similarity = self._choose(x[~held], run[~held], row[~held], judge)
        temperature = fit_temperature(similarity[judge], row[~held][judge])
        ridge = self._ridge(x[~held], row[~held])
        said = self._combine(way, run[held], ridge.predict(x[held]))
        ranks = _ranks(said @ vector.T, row[held])
        n_held, n_gallery = len(np.unique(row[held])), len(vector)
        rates = [float((ranks <= place).mean()) for place in (1, 5)]
        whole = self._ridge(x, row)
        model = Adapted(self.decoder.model, way, whole, self.names, self.widths)
        seen = self.decoder.seen | {str(self.decoder.candidates.image[r]) for r in order}
        made = Decoder(
            model, self.decoder.candidates, self.decoder.subject, Temperatures({1: temperature}),
            self.decoder.k, seen,
        )  # fmt: skip
        return made, Expected(
            way, len(row), len(order), int(held.sum()), n_held, (rates[0], *wilson(rates[0], n_held)),
            (rates[1], *wilson(rates[1], n_held)), 1 / n_gallery, min(1.0, 5 / n_gallery),
            time.perf_counter() - began, len(new) < len(judges),
        )  # fmt: skip

    def _ridge(self, x: np.ndarray, row: np.ndarray) -> RidgeModel:
        return Ridge().build().fit(x, self.decoder.candidates.vector[row])

    def _combine(self, way: str, run: np.ndarray, ridge: np.ndarray) -> np.ndarray:
        """Unit vectors of each target, side by side, as the decoder will compare them."""
        cuts = np.cumsum(list(self.widths.values()))[:-1]
        parts = []
        for a, b in zip(np.split(run, cuts, axis=1), np.split(ridge, cuts, axis=1)):
            one = a if way == "run" else b if way == "ridge" else _both(a, b)
            parts.append(unit_rows(one, "decoded"))
        return np.concatenate(parts, axis=1)

    def _choose(
        self, x: np.ndarray, run: np.ndarray, row: np.ndarray, judge: np.ndarray
    ) -> tuple[str, np.ndarray]:
        """The best way on pictures left out in turn, and its similarities to the gallery (row, image)."""
        order = list(dict.fromkeys(row.tolist()))
        fold = {image: i % FOLDS for i, image in enumerate(order)}
        part = np.array([fold[image] for image in row.tolist()])
        vector, said = self.decoder.candidates.vector, np.empty_like(run)
        for number in range(FOLDS):
            mine = part == number
            said[mine] = self._ridge(x[~mine], row[~mine]).predict(x[mine])
        found = {way: self._combine(way, run, said) @ vector.T for way in WAYS}
        worth = {way: float(np.log(_ranks(s, row)[judge]).mean()) for way, s in found.items()}
        best = min(WAYS, key=worth.__getitem__)
        return best, found[best]


def _ranks(similarity: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Place of each row's item, from 1."""
    true = np.take_along_axis(similarity, row[:, None], axis=1)
    return (similarity > true).sum(axis=1) + 1


def write(folder: Path, decoder: Decoder, until: float, expected: Expected) -> None:
    """Keep a calibration beside its session: ``calibration.json`` and ``calibration.safetensors``."""
    from dataclasses import asdict

    model: Adapted = decoder.model
    tensors = model.ridge.tensors()
    save_tensors(folder / "calibration.safetensors", tensors, format="neurovis-calibration")
    about = {
        "until": until, "way": model.way, "names": list(model.names), "widths": model.widths,
        "temperature": decoder.temperatures(1), "seen": sorted(decoder.seen), "expected": asdict(expected),
    }  # fmt: skip
    data = {"format": "neurovis-calibration", "format_version": 1, **about}
    write_json(folder / "calibration.json", data)


def read(folder: str | Path, decoder: Decoder) -> tuple[Decoder, float]:
    """The decoder of a session that was calibrated, and until when it was (s), from the run's.

    Raises
    ------
    NeurovisError
        If its files are damaged.
    """
    folder = Path(folder)
    about = read_json(folder / "calibration.json", "neurovis-calibration")
    tensors = load_tensors(folder / "calibration.safetensors")
    missing = [k for k in ("coef", "intercept") if k not in tensors]
    missing += [
        k for k in ("until", "way", "names", "widths", "temperature", "seen") if k not in about
    ]
    if missing:
        raise NeurovisError(f"{folder}: the calibration has no {missing[0]!r}; it is damaged.")
    ridge = Ridge().build()
    for name, value in tensors.items():
        setattr(ridge, f"{name}_", value.numpy())
    model = Adapted(decoder.model, about["way"], ridge, about["names"], about["widths"])
    made = Decoder(
        model, decoder.candidates, decoder.subject, Temperatures({1: about["temperature"]}), decoder.k,
        frozenset(about["seen"]),
    )  # fmt: skip
    return made, float(about["until"])
