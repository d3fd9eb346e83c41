"""From fitted models to the run's files: predictions for the same test rows by every system.

Comes in: a fitted tower, a closed-form baseline, the truth of a simulated set where there is one. Goes
out: ``systems/<system>/prediction.h5`` or ``similarity.h5``, and what evaluation and report need to
stand alone: gallery, pictures, evoked responses, stimuli.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from neurovis.batches import Item, Recordings, shuffled
from neurovis.brain.base import REGRESSION
from neurovis.confidence import calibrated
from neurovis.config import fingerprint
from neurovis.decoder import SPREAD
from neurovis.errors import NeurovisError
from neurovis.norms import Norms, write_norms
from neurovis.progress import progress, say
from neurovis.records import Embeddings, Prediction, Split
from neurovis.store import save_tensors

if TYPE_CHECKING:
    from neurovis.experiment import Predict
    from neurovis.train import Setup

PICTURE_SIZE = 160
TRAINING_PICTURES = 400


@dataclass
class Rows:
    """Test rows: single trials, and averages of repeats.

    Parameters
    ----------
    items : list of Item
    image, subject, recording : array of str (row,)
    """

    items: list[Item]
    image: np.ndarray
    subject: np.ndarray
    recording: np.ndarray

    def some(self, chosen: np.ndarray) -> Rows:
        """Some rows: array of int (row,)."""
        columns = (getattr(self, name)[chosen] for name in ("image", "subject", "recording"))
        return Rows([self.items[i] for i in chosen], *columns)

    def by_subject(self) -> Rows:
        """Rows of each subject together, where each has a gallery of its own."""
        return self.some(np.argsort([s for s, _ in self.items], kind="stable"))

    @property
    def n_averaged(self) -> np.ndarray:
        """Number of trials of each row."""
        return np.array([len(rows) for _, rows in self.items])

    @property
    def fingerprint(self) -> str:
        """Of the trials behind every row."""
        return fingerprint([[subject, rows] for subject, rows in self.items])


def test_rows(recordings: Recordings, split: Split, options: Predict, seed: int) -> Rows:
    """Choose which test trials are averaged: the same rows for every system.

    All single trials; then, for each number of repeats k, `draws` random choices of k per image and
    subject, and one choice where k is the number that all images have. They do not depend on the seed of
    training, so that several can be compared and averaged.
    """
    items, images = recordings.items(split, "test", single=True)
    if not items:
        raise NeurovisError(
            f"split: no test trial is among {', '.join(recordings.subjects)}, expected some; "
            "check that the split's ids are those of trials.h5."
        )
    images = list(images)
    if split.unit == "image":
        grouped, names = recordings.items(split, "test")
        most = min(len(rows) for _, rows in grouped)
        powers = [2**i for i in range(1, 12) if 2**i < most]
        wanted = sorted(set(options.repeats or (*powers, most)) - {1})
        if wanted and wanted[-1] > most:
            raise NeurovisError(
                f"predict.repeats: expected at most {most} (the repeats that every test image has), "
                f"found {wanted[-1]}."
            )
        generator = np.random.default_rng([seed, 7])
        for k in wanted:
            for _ in range(1 if k == most else options.draws):
                for (subject, rows), image in zip(grouped, names):
                    chosen = np.sort(generator.choice(rows, k, replace=False))
                    items.append((subject, chosen))
                    images.append(str(image))
    subject = np.array([recordings.subjects[s] for s, _ in items], dtype=str)
    names = [trials.recording for trials in recordings.trials]
    found = [np.unique(names[s][rows]) for s, rows in items]
    recording = np.array([f[0] if len(f) == 1 else "" for f in found], dtype=str)
    return Rows(items, np.array(images), subject, recording)


test_rows.__test__ = False  # not a test, whatever pytest thinks of its name


def by_side(model: Any, items: list[Item]) -> list[tuple[int, np.ndarray]]:
    """Image sides of a decoder, with the items compared on each: (side, array of int (item,))."""
    if model.n_sides == 1:
        return [(0, np.arange(len(items)))]
    subject = np.array([s for s, _ in items], dtype=int)
    found = [(side, np.flatnonzero(subject == side)) for side in range(model.n_sides)]
    return [(side, mine) for side, mine in found if len(mine)]


def heads(setup: Setup, model: Any, items: list[Item], fold: Any = None) -> dict[str, Any]:
    """What every head of a tower says of items: tensors (item, dim) on the CPU.

    Several processes share the items, each is computed once, and all processes have all of them.
    `fold` says which part of the training data each item belongs to, for towers that are cross-fitted.
    """
    import torch

    world, parts = setup.world, {}
    mine = np.array_split(np.arange(len(items)), world.size)[world.rank]
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(mine), 256):
            rows = mine[start : start + 256]
            block = [items[i] for i in rows]
            subject = torch.tensor([s for s, _ in block])
            present = torch.from_numpy(setup.recordings.present)[subject]
            signal = torch.from_numpy(setup.recordings.averages(block))
            batch = [signal, subject, present]
            batch += [] if fold is None else [fold[rows]]
            said = model(*(t.to(setup.device) for t in batch))
            for name, value in said.items():
                parts.setdefault(name, []).append(value.float().cpu())
    said = {name: torch.cat(values) for name, values in parts.items()}
    return world.joined(said, mine, len(items))


def tower(setup: Setup, model: Any, rows: Rows, system: str = "tower") -> Prediction:
    """Prediction of a trained tower; its projected gallery is kept beside it.

    Several folds share one gallery, so there the projection moves to the brain's side.
    """
    said, sure = _say(setup, model, rows)
    vector, spread = {k: said[k] for k in model.names}, None
    # written by the first process, and read by it
    if setup.world.first and _held_path(setup, system).is_file():
        held = Prediction.read(_held_path(setup, system))
        gallery = partial(_gallery, setup, model)
        spread = calibrated(held, gallery, sure, rows.n_averaged)
    model.to("cpu")
    shown = np.unique(rows.image)
    if not setup.fold and setup.experiment.projection != "none" and setup.world.first:
        encoders = {name: found.encoder for name, found in setup.vectors.items()}
        place = setup.folder / "systems" / system / (setup.gallery or "gallery")
        for name in model.names:
            about = encoders.get(name, {"name": "joint", "targets": encoders})
            Embeddings(_gallery(setup, model, name, shown), shown, about).write(
                place / f"{name}.h5"
            )
    return _prediction(setup, vector, rows, spread)


def _say(setup: Setup, model: Any, rows: Rows, fold: Any = None) -> tuple[dict, dict]:
    """Vectors (row, dim) of rows per target and regression head, and spreads (row,) per target."""
    import torch

    average, items = setup.experiment.predict.average, rows.items
    if average == "prediction":
        single = np.flatnonzero(rows.n_averaged == 1)
        items, fold = _singles(rows), None if fold is None else fold[single]
    said = heads(setup, model, items, fold)
    vector, spread = {}, {}
    with torch.inference_mode():
        for name in model.names:
            own = model.back(name, said[name].to(setup.device)) if setup.fold else said[name]
            vector[name] = own.cpu().numpy()
            width = said.get(name + SPREAD, torch.zeros(len(own), 1))
            spread[name] = np.exp(width[:, 0].numpy().astype(np.float64))
            if name + REGRESSION in said:
                vector[name + REGRESSION] = said[name + REGRESSION].numpy()
    if average == "prediction":
        vector = {k: _averaged(v, rows) for k, v in vector.items()}
        # independent trials: how sure one is of each adds up
        sure = {k: _averaged(1 / v, rows) * rows.n_averaged for k, v in spread.items()}
        spread = {k: 1 / v for k, v in sure.items()}
    return vector, spread


def _gallery(setup: Setup, model: Any, name: str, images: np.ndarray) -> np.ndarray:
    """Vectors (image, dim) as they are compared with predictions."""
    import torch

    vectors = setup.truth(images)
    if setup.fold:
        return vectors[name]
    with torch.inference_mode():
        place = next(model.parameters()).device
        known = {k: torch.from_numpy(v).to(place) for k, v in vectors.items()}
        return model.gallery(known, setup.side)[name].cpu().numpy()


def hold(setup: Setup, model: Any, system: str, items: list[Item], fold: Any = None) -> None:
    """Keep what a tower says of validation rows, single trials and means: ``validation.h5``.

    It is kept when the tower was fitted, because only then a cross-fitted tower can judge each
    validation image through filters that were learned without it. Norms come from the same rows.
    Subjects with an image side of their own have files of their own.
    """
    if model.n_sides > 1:
        for side, mine in by_side(model, items):
            own, some = of_side(setup, side), [items[i] for i in mine]
            _hold(own, model, system, some, None if fold is None else fold[mine])
    else:
        _hold(setup, model, system, items, fold)


def of_side(setup: Setup, side: int) -> Setup:
    """The setup for one subject's image side, whose files end with the subject's name."""
    return replace(setup, side=side, part=f"{setup.part}-{setup.recordings.subjects[side]}")


def _hold(setup: Setup, model: Any, system: str, items: list[Item], fold: Any) -> None:
    if setup.split.unit != "image":
        return
    several = [i for i, (_, rows) in enumerate(items) if len(rows) > 1]
    whole = [
        (i, (s, rows[k : k + 1])) for i, (s, rows) in enumerate(items) for k in range(len(rows))
    ]
    whole += [(i, items[i]) for i in several]
    place, chosen = [i for i, _ in whole], [item for _, item in whole]
    recordings = setup.recordings
    image = np.array([recordings.trials[s].image[rows[0]] for s, rows in chosen])
    subject = np.array([recordings.subjects[s] for s, _ in chosen])
    rows = Rows(chosen, image, subject, np.zeros(len(chosen), str))
    said, spread = _say(setup, model, rows, None if fold is None else fold[place])
    if not setup.world.first:
        return
    vector = {k: said[k] for k in model.names}
    _prediction(setup, vector, rows, spread).write(_held_path(setup, system))
    encoders = {name: found.encoder for name, found in setup.vectors.items()}
    for name in model.names:
        about = encoders.get(name, {"name": "joint", "targets": encoders})
        seen = Embeddings(_gallery(setup, model, name, np.unique(image)), np.unique(image), about)
        seen.write(_held_path(setup, system).with_suffix("") / f"{name}.h5")
    train = model.starting(setup.truth(np.array(setup.split.train)))
    use = rows.n_averaged > 1 if several else rows.n_averaged == 1
    if min(use.sum(), len(setup.split.train)) > 1:
        norms = {k: Norms.of(train[k.partition("@")[0]], v[use]) for k, v in said.items()}
        write_norms(
            setup.folder / "systems" / system / f"norms{setup.fold}{setup.part}.safetensors", norms
        )


def _held_path(setup: Setup, system: str) -> Any:
    return setup.folder / "systems" / system / f"validation{setup.fold}{setup.part}.h5"


def _singles(rows: Rows) -> list[Item]:
    return [item for item in rows.items if len(item[1]) == 1]


def _averaged(single: np.ndarray, rows: Rows) -> np.ndarray:
    """Mean of single trials' vectors for every row."""
    place = {(s, r[0]): i for i, (s, r) in enumerate(_singles(rows))}
    return np.stack([single[[place[s, r] for r in group]].mean(0) for s, group in rows.items])


def _prediction(
    setup: Setup, vector: dict[str, np.ndarray], rows: Rows, spread: dict | None = None
) -> Prediction:
    # a prediction that was selected on test says so wherever it goes
    model = "; ".join(
        filter(None, [fingerprint(setup.experiment), setup.experiment.protocol.about])
    )
    columns = (rows.image, rows.subject, rows.n_averaged, rows.recording)
    return Prediction(vector, *columns, model, spread, rows.fingerprint)


def closed_form(
    setup: Setup, brain: Any, system: str, rows: Rows, shuffle: bool = False
) -> Prediction:
    """Fit a closed-form model per subject on training and validation images; predict the rows.

    It needs no early stopping, so the validation images train it too: the baseline sees all that
    the tower sees.
    """
    recordings = setup.recordings
    widths = {k: v.vector.shape[1] for k, v in setup.vectors.items()}
    items, truth = examples_of(setup, shuffle)
    out = np.empty((len(rows.items), truth.shape[1]), np.float32)
    weights = {}
    subjects = range(len(recordings.subjects))
    for number in progress(subjects, f"fitting {system}{setup.fold}", quiet=setup.quiet):
        mine = [i for i, (subject, _) in enumerate(items) if subject == number]
        asked = [i for i, (subject, _) in enumerate(rows.items) if subject == number]
        if not asked:
            continue
        if not mine:
            raise NeurovisError(
                f"sub-{recordings.subjects[number]}/trials.h5: expected training trials for {system}, "
                "found none; leave the subject out of data.subjects."
            )
        keep = recordings.present[number]
        signal = recordings.averages([items[i] for i in mine])[:, keep]
        model = brain.build(recordings.shape_of(number, widths)).fit(signal, truth[mine])
        for start in range(0, len(asked), 512):
            block = asked[start : start + 512]
            signal = recordings.averages([rows.items[i] for i in block])[:, keep]
            out[block] = model.predict(signal)
        tensors = model.tensors().items()
        weights |= {f"{recordings.subjects[number]}/{k}": v for k, v in tensors}
    return closed(setup, brain, system, weights, out, rows)


def examples_of(setup: Setup, shuffle: bool) -> tuple[list[Item], np.ndarray]:
    """Items of training and validation images, and targets side by side: (item, dim)."""
    recordings, split = setup.recordings, setup.split
    items, images = recordings.items(split, "train")
    more, more_images = recordings.items(split, "validation")
    items, images = items + more, np.concatenate([images, more_images])
    if shuffle:
        images = shuffled(images, items, recordings, split, setup.experiment.seed)
    return items, np.concatenate(list(setup.aims(images).values()), axis=1)


def closed(
    setup: Setup, brain: Any, system: str, weights: dict, out: np.ndarray, rows: Rows
) -> Prediction:
    """Keep a closed form's weights; its prediction, cut into targets."""
    name = f"model{setup.fold}{setup.part}.safetensors"
    save_tensors(setup.folder / "systems" / system / name, weights, brain=brain.component)
    widths = {k: v.vector.shape[1] for k, v in setup.vectors.items()}
    parts = np.split(out, np.cumsum(list(widths.values()))[:-1], axis=1)
    return _prediction(setup, dict(zip(widths, parts)), rows)


def limits(setup: Setup, rows: Rows) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Similarities of the two ideal observers, where the prepared folder holds the truth."""
    recordings, split = setup.recordings, setup.split
    truths = [recordings.folder / f"sub-{s}" / "truth.h5" for s in recordings.subjects]
    if split.unit != "image" or not all(path.is_file() for path in truths):
        return
    first = recordings.trials[0]
    value = first.provenance.get("steps", {}).get("value")
    if first.modality == "fmri" and (first.signal.shape[2] != 1 or value == "t"):
        say("no limits: they are known for betas in percent or raw alone", setup.quiet)
        return
    from neurovis.world.observers import observe

    gallery = np.unique(rows.image)
    similarity: dict[str, np.ndarray] = {}
    for number, path in enumerate(truths):
        say(f"observers of sub-{recordings.subjects[number]}", setup.quiet)
        trials = recordings.trials[number]
        seen = [recordings.rows(split, side, number) for side in ("train", "validation")]
        mine = [i for i, (subject, _) in enumerate(rows.items) if subject == number]
        asked = [rows.items[i][1] for i in mine]
        for name, block in observe(trials, path, np.concatenate(seen), asked, gallery).items():
            full = similarity.setdefault(
                name, np.zeros((len(rows.items), len(gallery)), np.float32)
            )
            full[mine] = block
    about = {
        "image": rows.image,
        "subject": rows.subject,
        "n_averaged": rows.n_averaged,
        "recording": rows.recording,
        "gallery": gallery,
    }
    for name, block in similarity.items():
        yield name, {"similarity": block, **about}
