"""Scores of a run: retrieval of the shown image, with chance, interval, gallery and protocol.

Comes in: a run folder (predictions of each system, gallery, split), or one prediction and embeddings.
Goes out: ``scores.json``, ``per_item.h5`` and a table. Every system is scored on the same rows with
the same bootstrap draws, so that differences between systems are paired; nothing is chosen here, all
that was asked is reported, and what cannot be computed is said in the notes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis import flags, galleries
from neurovis.errors import NeurovisError
from neurovis.images.views import altered
from neurovis.metrics import scoring, statistics
from neurovis.metrics.coverage import confidence, coverage
from neurovis.metrics.identification import projection_blocks
from neurovis.metrics.retrieval import best, cosine_blocks, merge_gallery, place, rank, top_credit
from neurovis.metrics.table import table
from neurovis.progress import progress, say
from neurovis.records import Embeddings, Prediction, Score, Split, Stimuli
from neurovis.store import FORMAT_VERSION, dataset, open_h5, read_json, write_h5, write_json

__all__ = [
    "About",
    "Answers",
    "evaluate_prediction",
    "evaluate_run",
    "read_answers",
    "read_coverage",
]
__all__ += ["read_scores", "table"]

SYSTEMS = ("tower", "ridge", "shuffled", "informed_observer", "optimal_observer")
BEST = 10


@dataclass(frozen=True, eq=False)
class Answers:
    """What one system says about one target: similarities of rows to a gallery, made when asked.

    Several models with a gallery each are ``parts``, whose rows stand below each other.
    """

    system: str
    target: str
    source: Any
    image: np.ndarray
    subject: np.ndarray
    n_averaged: np.ndarray
    recording: np.ndarray
    gallery: np.ndarray
    blocks: Callable[[], Iterable[tuple[slice, np.ndarray]]]
    spread: np.ndarray | None = None
    altered: str = ""
    pairs: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    parts: tuple[Answers, ...] = ()

    @property
    def shown(self) -> np.ndarray:
        """Gallery item of each row: array of int (row,)."""
        item = {image: i for i, image in enumerate(self.gallery.tolist())}
        missing = [image for image in self.image.tolist() if image not in item]
        if missing:
            raise NeurovisError(
                f"{self.source}: image {missing[0]!r} was shown and is not in the gallery of "
                f"{len(item)}; embed every test image."
            )
        return np.array([item[image] for image in self.image.tolist()])


def evaluate_run(run: str | Path, quiet: bool = False) -> list[Score]:
    """Score every system of a run; write ``scores.json`` and ``per_item.h5`` into it.

    Parameters
    ----------
    run : path
        Folder made by ``neurovis train``.
    quiet : bool

    Returns
    -------
    list of Score
        Scores of all systems, then the comparisons (``about["comparison"]``).

    Raises
    ------
    NeurovisError
        If a file is missing or damaged, a row shows a training image or one outside the gallery, or
        a similarity is NaN.
    """
    run = Path(run)
    answers, about = read_answers(run)
    category = about.category
    notes: list[str] = list(filter(None, [flags.warning(about.protocol)]))
    scored: dict[tuple[str, str], list[scoring.Scored]] = {}
    covered: list[dict[str, Any]] = []
    per_item: dict[str, np.ndarray] = {}
    wanted = {one.target for one in answers}
    wanted = "all" if "all" in wanted else min(wanted - {""}, default="")
    for one in progress(answers, desc="scoring", quiet=quiet, unit="system"):
        try:
            gallery = about.gallery(one)
            results, items, curves = _score(one, category, gallery, about.protocol, notes)
        except NeurovisError as error:
            raise NeurovisError(f"{one.source}: {error}") from error
        scored[one.system, one.target] = results
        covered += curves
        if one.target in (wanted, ""):
            per_item |= {f"{one.system}/{name}": value for name, value in items.items()}
    scores = [s.score for results in scored.values() for s in results]
    comparisons = scoring.comparisons(scored, notes)
    control = scoring.check_control(scores)
    notes = list(dict.fromkeys(notes))
    say("\n".join(notes), quiet or not notes)
    write_h5(run / "per_item.h5", "neurovis-per-item", per_item, target=wanted)
    write_json(
        run / "scores.json",
        {
            "format": "neurovis-scores",
            "format_version": FORMAT_VERSION,
            "headline": scoring.headline(scores),
            "control_at_chance": control["at_chance"] if control else None,
            "control": control,
            "interval": statistics.interval_text(category),
            "notes": notes,
            "scores": [_entry(score) for score in scores],
            "comparisons": [_entry(score) for score in comparisons],
            "coverage": covered,
        },
    )
    return scores + comparisons


def evaluate_prediction(
    prediction: Prediction,
    embeddings: Embeddings | dict[str, Embeddings],
    protocol: str = "not stated",
    gallery: str = "",
    quiet: bool = False,
) -> list[Score]:
    """Score a prediction, whoever made it, against embeddings of a gallery.

    Parameters
    ----------
    prediction : Prediction
    embeddings : Embeddings, or dict of them by target
        The whole of it is the gallery: give the images to retrieve among and no others.
    protocol : str
    gallery : str
        How scores describe the gallery.
    quiet : bool
        Do not say which metrics were left out and why.

    Returns
    -------
    list of Score

    Raises
    ------
    NeurovisError
        If dims differ, a shown image has no embedding, or a prediction is zero or NaN.
    """
    if isinstance(embeddings, Embeddings):
        embeddings = dict.fromkeys(prediction.vector, embeddings)
    missing = [target for target in prediction.vector if target not in embeddings]
    if missing:
        raise NeurovisError(
            f"prediction: target {missing[0]!r} has no embeddings, found {sorted(embeddings)}; "
            "give the embeddings of every target."
        )
    scores: list[Score] = []
    notes: list[str] = []
    category = all(len(np.unique(found.image)) <= 2 for found in embeddings.values())
    protocol = flags.carried(protocol, prediction.model, notes)
    for one in _answers("prediction", "prediction", prediction, embeddings, category):
        text = gallery or f"{len(one.gallery)} images (all embeddings given)"
        scores += [s.score for s in _score(one, category, text + one.altered, protocol, notes)[0]]
    say("\n".join(dict.fromkeys(notes)), quiet or not notes)
    return scores


def read_scores(run: str | Path) -> list[Score]:
    """Scores and comparisons of a run that was evaluated."""
    path = Path(run) / "scores.json"
    data = read_json(path, "neurovis-scores")
    if not {"scores", "comparisons"} <= data.keys():
        raise NeurovisError(
            f"{path}: expected scores and comparisons, found {', '.join(data)}; "
            "run neurovis evaluate again."
        )
    return [Score.from_dict(entry) for entry in data["scores"] + data["comparisons"]]


def read_coverage(run: str | Path) -> list[dict[str, Any]]:
    """Accuracy against coverage of a run that was evaluated; nothing where stimuli are categories."""
    return read_json(Path(run) / "scores.json", "neurovis-scores").get("coverage") or []


def _entry(score: Score) -> dict[str, Any]:
    """A score for ``scores.json``; one value per image would be long, per recording it is short."""
    return (score if "recordings" in score.about else replace(score, per_item=[])).to_dict()


# ---- reading a run -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class About:
    """What all scores of a run share: its folds, its stimuli, whether the gallery is categories."""

    folds: tuple[Split, ...]
    stimuli: Stimuli
    category: bool

    @property
    def protocol(self) -> str:
        """The splits' protocol in words."""
        return _protocol(self.folds)

    def gallery(self, one: Answers) -> str:
        """The gallery of one system in words."""
        text = _gallery_text(one.gallery, self.stimuli, self.folds, self.category)
        return text + one.altered


def read_answers(run: Path) -> tuple[list[Answers], About]:
    """What every system of a run says of the test rows; rows that no fold tests are refused."""
    folds, stimuli = Split.read_folds(run), Stimuli.read(run / "stimuli.csv")
    about = About(folds, stimuli, _by_category(run, stimuli))
    systems = _systems(run)
    answers = [one for folder in systems for one in _read_system(run, folder, about.category)]
    for one in answers:
        _refuse_training(one, folds)
    return answers, about


def _systems(run: Path) -> list[Path]:
    folders = [p for p in (run / "systems").glob("*") if p.is_dir() and not p.name.startswith(".")]
    if not folders:
        raise NeurovisError(f"{run}: no predictions in systems/; run neurovis train to its end.")
    known = {name: i for i, name in enumerate(SYSTEMS)}
    return sorted(folders, key=lambda p: (known.get(p.name, len(known)), p.name))


def _by_category(run: Path, stimuli: Stimuli) -> bool:
    """Whether the gallery is categories: stimuli with several pictures, or only two items."""
    galleries = [Embeddings.read(path).image for path in sorted((run / "gallery").glob("*.h5"))]
    if not galleries:
        raise NeurovisError(f"{run}: no gallery/<target>.h5 in it; run neurovis train to its end.")
    several = stimuli.category[stimuli.index(galleries[0])]
    if several.any() and not several.all():
        raise NeurovisError(
            f"{run}: the gallery mixes {several.sum()} categories with {(~several).sum()} single "
            "images; use stimuli of one kind."
        )
    return bool(several.all()) or len(galleries[0]) <= 2


def _read_system(run: Path, folder: Path, category: bool) -> Iterator[Answers]:
    path = folder / "prediction.h5"
    if path.is_file():
        prediction = Prediction.read(path)
        if (folder / "galleries.json").is_file():
            each = [
                _answers(folder.name, path, part, found, category)
                for part, found in galleries.read(folder, prediction)
            ]
            yield from (galleries.merged(same) for same in zip(*each, strict=True))
            return
        own = folder / "gallery"
        place = own if own.is_dir() else run / "gallery"
        own = {t: Embeddings.read(place / f"{t}.h5") for t in prediction.vector}
        yield from _answers(folder.name, path, prediction, own, category)
        return
    path = folder / "similarity.h5"
    with open_h5(path, "neurovis-similarity") as file:
        names = ("image", "subject", "n_averaged", "recording", "gallery")
        rows = {name: dataset(path, file, name)[()] for name in names}
        shape = dataset(path, file, "similarity").shape
    if shape != (len(rows["image"]), len(rows["gallery"])):
        raise NeurovisError(
            f"{path}: similarity has shape {shape}, expected (row={len(rows['image'])}, "
            f"gallery={len(rows['gallery'])}); make the file anew."
        )

    def blocks(step: int = 1024) -> Iterator[tuple[slice, np.ndarray]]:
        with open_h5(path, "neurovis-similarity") as file:
            for start in range(0, shape[0], step):
                rows = slice(start, min(start + step, shape[0]))
                yield rows, file["similarity"][rows]

    yield Answers(folder.name, "", path, blocks=blocks, **rows)


def _answers(
    system: str,
    source: Any,
    prediction: Prediction,
    galleries: dict[str, Embeddings],
    category: bool,
) -> Iterator[Answers]:
    """One `Answers` per target, and one for the sum of similarities where there are several."""
    blocks_of = projection_blocks if category else cosine_blocks
    pairs, ids = {}, None
    for target, vector in prediction.vector.items():
        found, gallery = merge_gallery(galleries[target].image, galleries[target].vector)
        ids = found if ids is None else ids
        if set(found) != set(ids):
            raise NeurovisError(
                f"{source}: the gallery of target {target!r} holds other images than that of "
                f"{next(iter(pairs))!r}; embed the same images for every target."
            )
        order = np.argsort(found)[np.argsort(np.argsort(ids))]
        pairs[target] = (vector, gallery[order])
    about = {name: getattr(prediction, name) for name in ("image", "subject", "n_averaged")}
    about |= {"recording": prediction.recording, "gallery": ids, "source": source}
    chosen = {target: [pair] for target, pair in pairs.items()}
    if len(pairs) > 1:
        chosen["all"] = list(pairs.values())
    said = {target: altered(galleries[target].encoder) for target in pairs}
    said.setdefault("all", "".join(f"{text} [{name}]" for name, text in said.items() if text))
    for target, some in chosen.items():
        about["spread"] = (prediction.spread or {}).get(target)
        about["altered"] = said[target]
        blocks = lambda some=some: blocks_of(some)  # noqa: E731
        yield Answers(system, target, blocks=blocks, pairs=tuple(some), **about)


def _refuse_training(one: Answers, folds: tuple[Split, ...]) -> None:
    """Refuse rows that no fold tests."""
    unit = folds[0].unit
    found = set((one.image if unit == "image" else one.recording).tolist())
    wrong = sorted(found - {i for fold in folds for i in fold.test})
    if wrong:
        raise NeurovisError(
            f"{one.source}: {unit} {wrong[0]!r} is scored and no split tests it; predict the test side "
            "alone."
        )


def _protocol(folds: tuple[Split, ...]) -> str:
    name = folds[0].protocol
    return name if len(folds) == 1 else f"{name}, {len(folds)} folds ({folds[0].unit}s left out)"


def _gallery_text(
    gallery: np.ndarray, stimuli: Stimuli, folds: tuple[Split, ...], category: bool
) -> str:
    if category and stimuli.category[stimuli.index(gallery)].any():
        known = any(stimuli.path[row] for row in stimuli.index(gallery))
        return f"{len(gallery)} categories" + (" (mean of the pictures of each)" if known else "")
    tested = {i for fold in folds if fold.unit == "image" for i in fold.test}
    kind = "test images" if tested.issuperset(gallery.tolist()) else "images"
    return f"{len(gallery)} {kind} (shown image)"


# ---- scoring -----------------------------------------------------------------------------------


def _groups(one: Answers) -> Iterator[tuple[int, str, np.ndarray]]:
    """Rows of each number of averaged trials and subject, all subjects first."""
    for n_averaged in np.unique(one.n_averaged)[::-1].tolist():
        rows = one.n_averaged == n_averaged
        for subject in ["all", *np.unique(one.subject[rows]).tolist()]:
            yield n_averaged, subject, rows & ((one.subject == subject) | (subject == "all"))


def _score(
    one: Answers, category: bool, gallery: str, protocol: str, notes: list[str]
) -> tuple[list[scoring.Scored], dict[str, np.ndarray], list[dict[str, Any]]]:
    """Scores of one system and target, what `per_item.h5` keeps of it, accuracy against coverage."""
    shown, n_gallery = one.shown, len(one.gallery)
    metrics = scoring.CATEGORY if category else scoring.RETRIEVAL
    for metric in metrics:
        if not metric.fits(n_gallery):
            notes.append(f"{metric.label} left out: the gallery has {n_gallery} items.")
    more = () if category else scoring.LARGE
    metrics = tuple(metric for metric in (*metrics, *more) if metric.fits(n_gallery))
    if not metrics:
        raise NeurovisError("gallery: expected two items or more, found one; add images to it.")
    above, tied, sure, items, similarity = _rank_rows(one, shown, category)
    results, curves = [], []
    recording = np.array([f"{s}/{r}" for s, r in zip(one.subject, one.recording)])
    for n_averaged, subject, rows in _groups(one):
        about = {"system": one.system, "target": one.target, "subject": subject}
        common = {"gallery": gallery, "protocol": protocol}
        common |= {"about": {**about, "n_averaged": n_averaged, "n_rows": int(rows.sum())}}
        if category:
            rows &= _complete(shown, recording, rows, n_gallery, notes)
            results += scoring.score_categories(
                metrics, similarity[rows], shown[rows], recording[rows], common
            )
        else:
            image, known = one.image[rows], one.spread is not None
            places = above[rows], tied[rows], n_gallery
            results += scoring.score_images(metrics, image, *places, common)
            if subject == "all":
                credit = top_credit(*places[:2], 1)
                curves.append(coverage(sure[rows], credit, image, n_gallery, known, common))
    return results, items, curves


def _complete(
    shown: np.ndarray, recording: np.ndarray, rows: np.ndarray, n_gallery: int, notes: list[str]
) -> np.ndarray:
    """Rows of recordings that hold all categories: array of bool (row,)."""
    complete = np.zeros(len(rows), bool)
    for name in np.unique(recording[rows]).tolist():
        inside = rows & (recording == name)
        if len(np.unique(shown[inside])) == n_gallery:
            complete |= inside
        else:
            notes.append(f"recording {name!r} left out: it lacks trials of a category.")
    if not complete.any():
        raise NeurovisError(
            f"prediction: expected recordings with trials of all {n_gallery} categories, found none; "
            "leave out longer recordings."
        )
    return complete


def _rank_rows(
    one: Answers, shown: np.ndarray, category: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray | None]:
    """Walk the similarities once: places and confidence of all rows, the best of those to show."""
    above, tied = np.empty(len(shown), int), np.empty(len(shown), int)
    sure = np.empty(len(shown))
    chosen = one.n_averaged == (one.n_averaged.min() if category else one.n_averaged.max())
    n_best = min(BEST, len(one.gallery))
    first = np.empty((chosen.sum(), n_best), int)
    values = np.empty(first.shape, np.float32)
    kept, done = [], 0
    for rows, similarity in one.blocks():
        above[rows], tied[rows] = place(similarity, shown[rows], rows.start)
        sure[rows] = confidence(similarity, one.spread, rows)
        some = similarity[chosen[rows]]
        if len(some):
            stop = done + len(some)
            first[done:stop] = best(some, n_best)
            values[done:stop] = np.take_along_axis(some, first[done:stop], axis=1)
            done = stop
        if category:
            kept.append(similarity)
    items = {name: getattr(one, name)[chosen] for name in ("image", "subject", "n_averaged")}
    items |= {"rank": rank(above, tied)[chosen], "best": one.gallery[first], "similarity": values}
    items |= {f"top{k}": top_credit(above, tied, k)[chosen] for k in (1, 5)}
    items |= {f"single/{k}": v for k, v in _single_trials(one, above, tied).items()}
    return above, tied, sure, items, np.concatenate(kept) if category else None


def _single_trials(one: Answers, above: np.ndarray, tied: np.ndarray) -> dict[str, np.ndarray]:
    """Mean rank and credit over the single trials of each image and subject."""
    rows = one.n_averaged == 1
    pair = np.stack([one.image[rows], one.subject[rows]], axis=1)
    if not rows.any():
        return {}
    pair, code, n = np.unique(pair, axis=0, return_inverse=True, return_counts=True)
    values = {"rank": rank(above, tied)[rows]}
    values |= {f"top{k}": top_credit(above, tied, k)[rows] for k in (1, 5)}
    mean = {name: np.bincount(code.ravel(), value) / n for name, value in values.items()}
    return {"image": pair[:, 0], "subject": pair[:, 1], "n": n, **mean}
