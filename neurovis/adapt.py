"""Scores after a correction at test time, apart from the scores of the run.

Comes in: a run and names of corrections. Goes out: ``adapted.json`` and a table. ``scores.json``, its
headline and its comparisons never change. Inductive corrections learn from validation predictions alone
and look at one test row at a time; transductive ones see other test rows, and say so in the name and the
protocol of every score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis import galleries
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.evaluate import About, Answers, read_answers
from neurovis.metrics import adaptation, retrieval, scoring, statistics
from neurovis.metrics.retrieval import cosine_blocks, merge_gallery, place
from neurovis.metrics.table import block_lines
from neurovis.progress import progress, say
from neurovis.records import Embeddings, Prediction, Score
from neurovis.store import FORMAT_VERSION, read_json, write_json

INDUCTIVE = (*adaptation.BIASES, "temperature")
TEXT = {
    "mean": "less each gallery item's mean similarity to validation predictions",
    "csls": "CSLS (arXiv 1710.04087), its neighbours among validation predictions",
    "temperature": "softmax whose temperature was fitted on validation (arXiv 1706.04599)",
}
TRANSDUCTIVE_TEXT = {
    "moments": "mean and deviation of each dimension matched to the gallery's over test rows",
    "whiten": "test predictions and gallery each whitened by their own covariance",
    "csls": "CSLS (arXiv 1710.04087), its neighbours among test rows",
    "one_to_one": "each gallery item given to one test row (linear assignment)",
}
HITS = (retrieval.Top(k=1),)
LIMITS = ("informed_observer", "optimal_observer")


def adapt_run(
    run: str | Path, calibrate: str = "", transductive: str = "", quiet: bool = False
) -> list[Score]:
    """Score a run after corrections; write ``adapted.json`` into it.

    Parameters
    ----------
    run : path
        Folder made by ``neurovis train``.
    calibrate : str
        Inductive corrections, separated by commas: ``mean``, ``csls``, ``temperature``.
    transductive : str
        Transductive ones: ``moments``, ``whiten``, ``csls``, ``one_to_one``; those joined by ``+``
        follow each other, as in ``whiten+csls``.
    quiet : bool

    Returns
    -------
    list of Score
        ``about["adaptation"]`` names the correction, ``about["transductive"]`` says whether it saw
        several test rows.

    Raises
    ------
    UsageError
        If a correction is unknown or the order of a chain is wrong.
    NeurovisError
        If no system can be corrected so, such as where the gallery is categories.
    """
    run, notes = Path(run), []
    inductive, chains = _names(calibrate, INDUCTIVE), _chains(transductive)
    answers, about = read_answers(run)
    if about.category:
        raise NeurovisError(
            f"{run}: the gallery is categories, expected images; corrections at test time are for "
            "retrieval among images."
        )
    answers = [one for one in answers if one.system not in LIMITS]
    scores: list[Score] = []
    for one in progress(answers, desc="correcting", quiet=quiet, unit="system"):
        models = _validation(run, one, notes) if inductive else []
        for name in inductive if models else ():
            scores += _inductive(one, models, name, about)
        for chain in chains:
            scores += _transductive(one, chain, about, notes)
    if not scores:
        raise NeurovisError(f"{run}: nothing to score: " + " ".join(dict.fromkeys(notes)))
    say("\n".join(dict.fromkeys(notes)), quiet or not notes)
    _write(run, scores, inductive, chains, notes)
    return scores


def read_adapted(run: str | Path) -> list[Score]:
    """Corrected scores of a run; none where there are none."""
    path = Path(run) / "adapted.json"
    if not path.is_file():
        return []
    data = read_json(path, "neurovis-adapted")
    if not isinstance(data.get("scores"), list):
        raise NeurovisError(f"{path}: expected scores, found none; run neurovis evaluate again.")
    return [Score.from_dict(entry) for entry in data["scores"]]


def adapted_table(scores: list[Score]) -> str:
    """A table for the terminal: corrected scores, the transductive ones under their own title."""
    lines: list[str] = []
    for apart, title in (
        (False, "CALIBRATED on validation predictions, one test row at a time"),
        (True, "TRANSDUCTIVE: other test rows were used; not comparable with the scores above"),
    ):
        some = [s for s in scores if s.about["transductive"] == apart]
        lines += ["", title] if some else []
        keys = [(s.about["adaptation"], s.about["target"], s.about["n_averaged"]) for s in some]
        for key in dict.fromkeys(keys):
            here = [s for s, k in zip(some, keys) if k == key]
            name, target, _ = key
            short = [replace(s, name=s.about["metric"]) for s in here]
            lines.append(f"{name}, target {target}")
            lines += block_lines(short, key[2], by_subject=False)
    return "\n".join(lines).lstrip("\n") + "\n"


def _names(text: str, known: Sequence[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UsageError(unknown("--calibrate: correction", name, known))
    return list(dict.fromkeys(names))


def _chains(text: str) -> list[tuple[str, ...]]:
    known, chains = list(adaptation.KNOWN), []
    for part in filter(None, (part.strip() for part in text.split(","))):
        chain = tuple(name.strip() for name in part.split("+"))
        for name in chain:
            if name not in known:
                raise UsageError(unknown("--transductive: method", name, known))
        order = [known.index(name) for name in chain]
        if order != sorted(set(order)):
            raise UsageError(
                f"--transductive: {part!r}; expected each method once and in the order "
                f"{'+'.join(known)}."
            )
        chains.append(chain)
    return list(dict.fromkeys(chains))


# ---- inductive ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Learned:
    """Rows of one model, and what it says of validation images in one target, or in all of them."""

    place: np.ndarray
    """Of its rows among all: array of int (row,)."""
    pairs: list[tuple[np.ndarray, np.ndarray]]
    """Vectors of these rows, and the gallery."""
    past: list[tuple[np.ndarray, np.ndarray]]
    """Vectors of validation rows, and those of validation images."""
    gallery: np.ndarray
    """Validation images: array of str (image,)."""
    image: np.ndarray
    mean: np.ndarray
    """Whether a validation row is the mean of all repeats of its image: array of bool (row,)."""
    single: np.ndarray

    def used(self, n_averaged: int) -> np.ndarray:
        """Single validation trials for single test trials, means for means."""
        return self.single if n_averaged == 1 and self.single.any() else self.mean

    def corrected(self, name: str, mine: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, Any]:
        """Similarities of some of its rows (row, item), and the temperature where that is the correction."""
        similarity = _similarity([(said[mine], gallery) for said, gallery in self.pairs])
        if name == "temperature":
            own = _similarity([(said[used], gallery) for said, gallery in self.past])
            place_of = {image: i for i, image in enumerate(self.gallery.tolist())}
            true = np.array([place_of[image] for image in self.image[used].tolist()])
            temperature = adaptation.fit_temperature(own, true)
            return adaptation.log_probability(similarity, temperature), temperature
        past = [(said[used], gallery) for (said, _), (_, gallery) in zip(self.past, self.pairs)]
        # equal columns keep equal values: ties stay ties
        return similarity.astype(np.float64) - adaptation.BIASES[name](_similarity(past)), None


def _validation(run: Path, one: Answers, notes: list[str]) -> list[_Learned]:
    """Every model of a system with its validation rows; nothing where one has none."""
    folder, found, start = run / "systems" / one.system, [], 0
    for part in one.parts or (one,):
        for path, mine in galleries.held_out(folder, part.subject):
            if path is None:
                notes.append(
                    f"{one.system} was not calibrated: it has no predictions of held-out validation images "
                    "(closed-form models are fitted to them, and folds have none in common)."
                )
                return []
            pairs = [(said[mine], gallery) for said, gallery in part.pairs]
            found.append(_read(path, one.target, start + np.flatnonzero(mine), pairs))
        start += len(part.image)
    return found


def _read(path: Path, target: str, place: np.ndarray, pairs: list[Any]) -> _Learned:
    said = Prediction.read(path)
    past, gallery = [], np.zeros(0)
    for name in list(said.vector) if target == "all" else [target]:
        found = Embeddings.read(path.with_suffix("") / f"{name}.h5")
        gallery, vector = merge_gallery(found.image, found.vector)
        past.append((said.vector[name], vector))
    key = np.stack([said.image, said.subject], axis=1)
    _, code = np.unique(key, axis=0, return_inverse=True)
    most = np.zeros(code.max() + 1, int)
    np.maximum.at(most, code.ravel(), said.n_averaged)
    mean = said.n_averaged == most[code.ravel()]
    return _Learned(place, pairs, past, gallery, said.image, mean, said.n_averaged == 1)


def _similarity(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.concatenate([block for _, block in cosine_blocks(pairs)]) / len(pairs)


def _inductive(one: Answers, models: list[_Learned], name: str, about: About) -> list[Score]:
    shown, scores = one.shown, []
    for n_averaged in np.unique(one.n_averaged)[::-1].tolist():
        rows = one.n_averaged == n_averaged
        similarity, order = np.empty((rows.sum(), len(one.gallery))), np.cumsum(rows) - 1
        n_validation, temperatures = 0, []
        for model in models:
            mine, used = rows[model.place], model.used(n_averaged)
            if not mine.any():
                continue
            block, temperature = model.corrected(name, mine, used)
            similarity[order[model.place[mine]]] = block
            n_validation += int(used.sum())
            temperatures.append(temperature)
        extra: dict[str, Any] = {"n_validation": n_validation}
        if name == "temperature":
            # one of each model
            extra[name] = temperatures[0] if len(temperatures) == 1 else temperatures
        said = _Said(one, rows, name, False, extra)
        if name == "temperature":
            scores += _likelihoods(said, about, similarity, shown[rows])
        else:
            above, tied = place(similarity, shown[rows])
            scores += _scored(said, about, above, tied, scoring.RETRIEVAL)
    return scores


# ---- transductive ------------------------------------------------------------------------------


def _transductive(
    one: Answers, chain: tuple[str, ...], about: About, notes: list[str]
) -> list[Score]:
    sets, once = adaptation.row_sets(one.image, one.subject, one.n_averaged)
    shown, n_items, scores = one.shown, len(one.gallery), []
    matched = chain[-1] == "one_to_one"
    if matched and not (once and all(len(rows) == n_items for rows in sets)):
        notes.append(
            f"one_to_one left out for {one.system}: it needs sets of test rows in which each gallery "
            "item was shown once."
        )
        return []
    parts = one.parts or (one,)
    whole = None if parts[0].pairs else np.concatenate([block for _, block in one.blocks()])
    if whole is not None and chain[0] in adaptation.VECTOR:
        notes.append(f"{chain[0]} left out for {one.system}: it needs vectors, not similarities.")
        return []
    # several models have a gallery each: what is seen together is of one of them
    starts = np.cumsum([0, *(len(part.image) for part in parts)])
    model = np.searchsorted(starts, np.arange(len(shown)), side="right") - 1
    sets = [rows[model[rows] == m] for rows in sets for m in np.unique(model[rows])]
    above, tied = np.empty(len(shown), int), np.empty(len(shown), int)
    for rows in sets:
        mine = model[rows[0]]
        pairs = [(said[rows - starts[mine]], gallery) for said, gallery in parts[mine].pairs]
        for name in chain:
            if name in adaptation.VECTOR:
                pairs = [adaptation.VECTOR[name](*pair) for pair in pairs]
        block = _similarity(pairs) if whole is None else whole[rows]
        block = adaptation.csls(block) if "csls" in chain else block
        if matched:
            given = adaptation.one_to_one(block)
            block = (np.arange(n_items) == given[:, None]).astype(float)
        above[rows], tied[rows] = place(block, shown[rows])
    extra = {"n_sets": len(sets), "rows_per_set": [min(map(len, sets)), max(map(len, sets))]}
    for n_averaged in np.unique(one.n_averaged)[::-1].tolist():
        rows = one.n_averaged == n_averaged
        said = _Said(one, rows, "+".join(chain), True, extra)
        metrics = HITS if matched else scoring.RETRIEVAL
        scores += _scored(said, about, above[rows], tied[rows], metrics)
    return scores


# ---- scores ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Said:
    """Some rows of one system after a correction."""

    one: Answers
    rows: np.ndarray
    name: str
    transductive: bool
    extra: dict[str, Any]

    @property
    def kind(self) -> str:
        return "transductive" if self.transductive else "calibrated"

    def groups(self, about: About) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """All subjects, then each: which of the rows, and what their scores share."""
        one, subject = self.one, self.one.subject[self.rows]
        common = {"gallery": about.gallery(one)}
        common |= {"protocol": f"{about.protocol}, {self.kind}: {self.name}"}
        for who in ["all", *np.unique(subject).tolist()]:
            mine = (subject == who) | (who == "all")
            said = {"system": one.system, "target": one.target, "subject": who}
            said |= {"n_averaged": int(one.n_averaged[self.rows][0]), "n_rows": int(mine.sum())}
            said |= {"adaptation": self.name, "transductive": self.transductive, **self.extra}
            yield mine, {**common, "about": said}


def _scored(
    said: _Said,
    about: About,
    above: np.ndarray,
    tied: np.ndarray,
    metrics: Sequence[retrieval.RankMetric],
) -> list[Score]:
    """Retrieval scores of some rows, the correction in their names and protocol."""
    n_items, image, scores = len(said.one.gallery), said.one.image[said.rows], []
    metrics = tuple(metric for metric in metrics if metric.fits(n_items))
    for mine, common in said.groups(about):
        found = scoring.score_images(metrics, image[mine], above[mine], tied[mine], n_items, common)
        for score in (s.score for s in found):
            name = f"{score.name} ({said.kind} {said.name})"
            scores.append(replace(score, name=name, about={**score.about, "metric": score.name}))
    return scores


def _likelihoods(
    said: _Said, about: About, log_probability: np.ndarray, shown: np.ndarray
) -> list[Score]:
    """Mean negative log-probability of the shown item; chance is that of equal probabilities."""
    loss = -np.take_along_axis(log_probability, shown[:, None], axis=1)[:, 0]
    hit = retrieval.top_credit(*place(log_probability, shown), 1)
    sure, image, scores = np.exp(log_probability.max(axis=1)), said.one.image[said.rows], []
    for mine, common in said.groups(about):
        images, item = np.unique(image[mine], return_inverse=True)
        counts = statistics.resample_counts(len(images))
        low, high = statistics.interval(statistics.bootstrap_mean(loss[mine], item, counts))
        error = adaptation.calibration_error(sure[mine], hit[mine])
        more = {"metric": "nll", "expected_calibration_error": error, "resampled": "image"}
        per_item = np.bincount(item, loss[mine]) / np.bincount(item)
        scores.append(
            Score(
                value=loss[mine].mean(),
                n=len(images),
                chance=np.log(log_probability.shape[1]),
                low=low,
                high=high,
                per_item=per_item,
                gallery=common["gallery"],
                protocol=common["protocol"],
                higher_is_better=False,
                name="nll (calibrated temperature)",
                about={**common["about"], **more},
            )
        )
    return scores


def _write(
    run: Path,
    scores: list[Score],
    inductive: list[str],
    chains: list[tuple[str, ...]],
    notes: list[str],
) -> None:
    methods = dict.fromkeys(name for chain in chains for name in chain)
    write_json(
        run / "adapted.json",
        {
            "format": "neurovis-adapted",
            "format_version": FORMAT_VERSION,
            "calibrated": {name: TEXT[name] for name in inductive},
            "transductive": {name: TRANSDUCTIVE_TEXT[name] for name in methods},
            "notes": list(dict.fromkeys(notes)),
            "scores": [replace(score, per_item=[]).to_dict() for score in scores],
        },
    )
