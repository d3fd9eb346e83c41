"""One epoch to ranked pictures: tower, gallery, confidence.

Comes in: an epoch as the tower expects it. Goes out: a `Decision`: the most similar pictures of the
gallery and the concepts that they are of, with probabilities where the run was calibrated. The gallery is
one matrix: similarities are cosines, summed over targets, by one product.
"""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.metrics.retrieval import unit_rows
from neurovis.pretrained import Pretrained, read_config
from neurovis.records import Embeddings, Prediction, Split
from neurovis.spaces import Space
from neurovis.store import read_json

SUMS = 256 * 2**20
"""Bytes that sums of repeats may take; the picture that was not shown for longest goes first."""


@dataclass(frozen=True)
class Decision:
    """What was decided of one event.

    Parameters
    ----------
    event : int
        Its number.
    kind : {"early", "single", "average"}
        Of a window that still grows, of the whole window, or of the mean of all repeats so far.
    label, truth : str
        The marker, and the image it names.
    onset : float, s from the stream's first sample
    until : float, s after onset
        End of the signal used.
    n_averaged : int
    image, concept : tuple of str
        Best first.
    similarity : tuple of float
        Sum of cosines over targets.
    probability, concept_probability : tuple of float or None
        Over the gallery, at the temperature that the run fitted on validation trials; None where there
        is none, and for growing windows, for which none was fitted.
    rank : int or None
        Place of the true image, from 1; None where it is not in the gallery or not known.
    counted : bool
        Whether `rank` may count as accuracy: the image neither trained nor validated the model.
    """

    event: int
    kind: str
    label: str
    truth: str
    onset: float
    until: float
    n_averaged: int
    image: tuple[str, ...]
    similarity: tuple[float, ...]
    probability: tuple[float, ...] | None
    concept: tuple[str, ...]
    concept_probability: tuple[float, ...] | None
    rank: int | None
    counted: bool
    vector: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the decoded vectors."""
        data = asdict(replace(self, vector={}))
        del data["vector"]
        return data


@dataclass(frozen=True, eq=False)
class Candidates:
    """The gallery as one matrix.

    Parameters
    ----------
    image : array of str (image,)
    vector : array (image, dim) float32
        Unit vectors of all targets, side by side.
    concept : array of str (image,)
        Empty where it is not known.
    source : str
        For texts: how many of what.
    """

    image: np.ndarray
    vector: np.ndarray
    concept: np.ndarray
    source: str = "gallery"

    def __post_init__(self) -> None:
        names, number = np.unique(self.concept, return_inverse=True)
        object.__setattr__(self, "concepts", names)
        object.__setattr__(self, "_concept_of", number)
        object.__setattr__(self, "_row", {str(name): i for i, name in enumerate(self.image)})
        if len(self._row) < len(self.image):
            raise NeurovisError("gallery: an image stands in it twice; merge its rows.")

    def __len__(self) -> int:
        return len(self.image)

    def row(self, image: str) -> int | None:
        """Row of an image, or None."""
        return self._row.get(image)

    def by_concept(self, probability: np.ndarray) -> np.ndarray:
        """Probabilities (image,) summed over the images of each concept: array (concept,)."""
        return np.bincount(self._concept_of, probability, len(self.concepts))


def candidates(
    run: str | Path, model: Pretrained, galleries: Sequence[str] = (), stimuli: str = ""
) -> Candidates:
    """The gallery of a run, or another one.

    Parameters
    ----------
    run : path
    model : Pretrained
        Of the run.
    galleries : sequence of str
        ``embeddings.h5`` of the target's encoder, or ``TARGET=embeddings.h5`` for each target; the
        test images of the run if empty.
    stimuli : str
        A ``stimuli.csv`` that names concepts; the run's own if empty.

    Raises
    ------
    NeurovisError
        If targets have different images, or vectors of another encoder.
    """
    run, found = Path(run), {}
    for word in galleries:
        target, equals, path = word.partition("=")
        if not equals:
            if len(model.targets) > 1:
                raise UsageError(
                    f"--gallery: expected TARGET=FILE for each of {', '.join(model.targets)}, found {word}."
                )
            target, path = model.targets[0], word
        if target not in model.targets:
            raise UsageError(unknown("--gallery: target", target, model.targets))
        said = Embeddings.read(path)
        found[target] = (said.image, model.gallery(target, said.vector, said.encoder))
    for target in model.targets:
        if galleries and target not in found:
            raise UsageError(f"--gallery: expected one of target {target!r} too, found none.")
        if not galleries:
            said = Embeddings.read(run / "gallery" / f"{target}.h5")
            seen = Space(projection=model.spaces[target].projection)
            found[target] = (said.image, seen.apply(said.vector))
    first = found[model.targets[0]][0]
    parts = []
    for target in model.targets:
        image, vector = found[target]
        if set(image.tolist()) != set(first.tolist()):
            raise NeurovisError(
                f"gallery: target {target!r} has other images than {model.targets[0]!r}, expected the "
                "same; embed the same stimuli for all."
            )
        place = {name: i for i, name in enumerate(image.tolist())}
        parts.append(unit_rows(vector, "gallery")[[place[name] for name in first.tolist()]])
    concept = _concepts(Path(stimuli) if stimuli else run / "stimuli.csv", first)
    vector = np.ascontiguousarray(np.concatenate(parts, axis=1))
    source = f"{len(first):,} images" if galleries else f"the run's {len(first):,} test images"
    return Candidates(first, vector, concept, source)


def _concepts(path: Path, image: np.ndarray) -> np.ndarray:
    """Concept of each image, as a ``stimuli.csv`` tells; the image itself where it does not."""
    known: dict[str, str] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                known[row.get("image", "")] = row.get("concept", "")
    return np.array([known.get(name) or name for name in image.tolist()])


@dataclass(frozen=True)
class Temperatures:
    """At which temperature a sum of cosines is a probability, by the number of repeats averaged.

    Parameters
    ----------
    by_repeats : dict of float
        From the run's test rows: those of ``n`` repeats were given this by validation trials.
    """

    by_repeats: dict[int, float] = field(default_factory=dict)

    def __call__(self, n_averaged: int) -> float | None:
        """Of a mean of so many; of the next smaller number the run knows. None where it knows none."""
        known = [n for n in self.by_repeats if n <= n_averaged]
        return self.by_repeats[max(known)] if known else None

    @classmethod
    def of(cls, run: str | Path, model: Pretrained, subject: str) -> Temperatures:
        """Read them from what the run keeps of its tower."""
        path = Path(run) / "systems" / "tower" / "prediction.h5"
        said = Prediction.read(path) if path.is_file() else None
        if said is None or not said.spread:
            return cls()
        name = "all" if len(model.targets) > 1 else model.targets[0]
        spread = said.spread.get(name)
        mine = said.subject == subject
        if spread is None or not mine.any():
            return cls()
        counts = np.unique(said.n_averaged[mine]).tolist()
        return cls({n: float(np.median(spread[mine & (said.n_averaged == n)])) for n in counts})


class Repeats:
    """Means of the epochs of each image so far."""

    def __init__(self, room: int = SUMS):
        self.room = room
        self._sums: OrderedDict[str, tuple[int, np.ndarray]] = OrderedDict()

    def add(self, image: str, signal: np.ndarray) -> tuple[int, np.ndarray]:
        """Take an epoch (channel, time) in; give how many there are, and their mean."""
        n, total = self._sums.pop(image, (0, np.zeros(signal.shape, np.float32)))
        n, total = n + 1, total + signal
        self._sums[image] = n, total
        while len(self._sums) > 1 and len(self._sums) * total.nbytes > self.room:
            self._sums.popitem(last=False)
        return n, total / np.float32(n)


class Decoder:
    """A run's tower with a gallery.

    Parameters
    ----------
    model : Pretrained
    candidates : Candidates
    subject : str
    temperatures : Temperatures
    k : int
        Pictures and concepts per decision.
    seen : frozenset of str
        Images that trained or validated the model.
    """

    def __init__(
        self,
        model: Any,
        candidates: Candidates,
        subject: str,
        temperatures: Temperatures | None = None,
        k: int = 5,
        seen: frozenset[str] = frozenset(),
    ):
        self.model, self.candidates, self.subject, self.seen = model, candidates, subject, seen
        self.temperatures = temperatures or Temperatures()
        self.k = min(k, len(candidates))

    def predict(
        self, signal: np.ndarray, names: Sequence[str], present: np.ndarray, tmin: float
    ) -> dict[str, np.ndarray]:
        """Vectors of one epoch (channel, time) from `tmin` (s) on, per target: arrays (dim,)."""
        model = self.model
        if len(present) < len(names):
            signal, names = signal[present], [names[i] for i in present]
        said = model.predict(signal[None], names, model.sfreq, tmin, self.subject)
        return {name: vector[0] for name, vector in said.items()}

    def rank(self, vector: dict[str, np.ndarray], n_averaged: int, calibrated: bool = True) -> dict:
        """The best pictures for decoded vectors: fields of `Decision`, and similarities of all."""
        query = np.concatenate([unit_rows(v[None], "decoded")[0] for v in vector.values()])
        similarity = self.candidates.vector @ query
        top = _largest(similarity, self.k)
        out: dict[str, Any] = {
            "image": tuple(self.candidates.image[top].tolist()),
            "similarity": tuple(round(float(s), 6) for s in similarity[top]),
        }
        temperature = self.temperatures(n_averaged) if calibrated else None
        # without a temperature concepts stand in the order of their best picture
        sharp = (similarity - similarity[top[0]]).astype(np.float64) / (temperature or 0.05)
        likely = np.exp(sharp)
        likely /= likely.sum()
        by_concept = self.candidates.by_concept(likely)
        best = _largest(by_concept, self.k)
        out["concept"] = tuple(self.candidates.concepts[best].tolist())
        known = temperature is not None
        out["probability"] = tuple(round(float(p), 6) for p in likely[top]) if known else None
        out["concept_probability"] = (
            tuple(round(float(p), 6) for p in by_concept[best]) if known else None
        )
        return {**out, "all": similarity}

    def place(self, truth: str, similarity: np.ndarray) -> int | None:
        """Place of the true image, from 1; ties share theirs, rounded up."""
        row = self.candidates.row(truth)
        if row is None:
            return None
        above, same = (similarity > similarity[row]).sum(), (similarity == similarity[row]).sum()
        return int(above + (same + 1) // 2)


def _largest(value: np.ndarray, k: int) -> np.ndarray:
    """Places of the `k` largest values, largest first, without sorting the others."""
    top = np.argpartition(value, -min(k, len(value)))[-k:]
    return top[np.lexsort((top, -value[top]))]


def load(
    run: str | Path,
    subject: str = "",
    galleries: Sequence[str] = (),
    stimuli: str = "",
    k: int = 5,
    fold: int | None = None,
    device: str = "cpu",
) -> Decoder:
    """A run made ready to decode one subject.

    Parameters
    ----------
    run : path
    subject : str
        May be left out where the run has one.
    galleries, stimuli
        See `candidates`.
    k : int
    fold : int, optional
    device : str

    Raises
    ------
    NeurovisError
        If the run is not whole or has no such subject.
    """
    run = Path(run)
    if not (run / "signals.json").is_file():
        raise NeurovisError(
            f"{run}: no signals.json in it, expected a trained run; give its folder."
        )
    subjects = sorted(read_json(run / "signals.json", "neurovis-signals")["channels"])
    models = sorted(path.stem.removeprefix("shape-") for path in run.glob("shape-*.json"))
    whose = [one for one in models if one in subjects] if models else subjects
    if not whose:
        raise UsageError(
            f"{run}: has models of people left out ({', '.join(models)}), expected those of the people it was "
            "trained on; train with subjects=joint or subjects=single."
        )
    subject = whose[0] if not subject and len(whose) == 1 else subject
    if not subject:
        raise UsageError(
            f"--subject: expected one of {', '.join(whose)}, found none; say whose model decodes, or of a new "
            "person with --calibrate, whose it begins with."
        )
    if subject not in whose:
        raise UsageError(unknown("--subject: subject", subject, whose))
    model = Pretrained(run, fold, device=device, subject=subject if models else None)
    found = candidates(run, model, galleries, stimuli)
    seen: set[str] = set()
    for split in Split.read_folds(run):
        if split.unit == "image":
            seen |= {*split.train, *split.validation}
    temperatures = Temperatures.of(run, model, subject)
    if "hedged" in str(read_config(run).get("loss", {})):
        temperatures = Temperatures()  # a spread per row, by a head that is not restored
    return Decoder(model, found, subject, temperatures, k, frozenset(seen))
