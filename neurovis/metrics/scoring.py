"""From rows to scores: values with chance and interval, comparisons between systems, the control.

Comes in: places of the shown images (or similarities to categories) of one system's rows. Goes out:
`Score` records with their bootstrap draws. All systems get the same draws, so that a comparison is
the interval of a difference, not the difference of intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.metrics import identification, retrieval, statistics
from neurovis.metrics.base import Metric
from neurovis.records import Score

RETRIEVAL: tuple[retrieval.RankMetric, ...] = (
    *(retrieval.Top(k=k) for k in (1, 5, 10)),
    retrieval.MedianRank(),
    retrieval.RelativeRank(),
    retrieval.KWay(k=2),
    retrieval.KWay(k=10),
)
# what work on fMRI reports, by drawing; nobody misses it where a gallery is smaller
LARGE: tuple[retrieval.RankMetric, ...] = (retrieval.KWay(k=300),)
CATEGORY: tuple[identification.CategoryMetric, ...] = (
    identification.Auc(),
    identification.Identification(),
)


@dataclass(frozen=True, eq=False)
class Scored:
    """A score with what comparisons need: its bootstrap draws and the items resampled.

    Parameters
    ----------
    score : Score
        Its ``per_item`` has one value per item.
    draws : array (draw,)
    item : array of str (item,)
        Images, or recordings where the stimuli are categories.
    step : float
        Smallest departure of an item's credit from perfect.
    """

    score: Score
    draws: np.ndarray
    item: np.ndarray
    step: float = 1.0

    @property
    def key(self) -> tuple[int, str, str]:
        """What must agree for two systems to be compared, besides the target."""
        about = self.score.about
        return about["n_averaged"], about["subject"], self.score.name


def score_images(
    metrics: tuple[retrieval.RankMetric, ...],
    image: np.ndarray,
    above: np.ndarray,
    tied: np.ndarray,
    n_gallery: int,
    common: dict[str, Any],
) -> list[Scored]:
    """Retrieval scores of some rows; images are resampled, with all their rows.

    Parameters
    ----------
    metrics : tuple of RankMetric
    image : array of str (row,)
    above, tied : array of int (row,)
        From `neurovis.metrics.retrieval.place`.
    n_gallery : int
    common : dict
        ``gallery``, ``protocol`` and ``about`` of the scores.

    Returns
    -------
    list of Scored
        One per metric.
    """
    images, item = np.unique(image, return_inverse=True)
    counts, size = statistics.resample_counts(len(images)), np.bincount(item)
    credits = [metric.credit(above, tied, n_gallery) for metric in metrics]
    means = statistics.bootstrap_mean(np.stack(credits, axis=1), item, counts)
    results = []
    for metric, credit, draws in zip(metrics, credits, means.T, strict=True):
        per_item = np.bincount(item, credit) / size
        if metric.statistic == "median":
            value, draws = np.median(credit), statistics.bootstrap_median(credit, item, counts)
            limits = statistics.interval(draws)
        else:
            value = credit.mean()
            limits = statistics.widen_mean(
                statistics.interval(draws), per_item, metric.step(n_gallery)
            )
        score = _make(metric, n_gallery, value, len(images), limits, per_item, "image", common)
        results.append(Scored(score, draws, images, metric.step(n_gallery)))
    return results


def score_categories(
    metrics: tuple[identification.CategoryMetric, ...],
    similarity: np.ndarray,
    shown: np.ndarray,
    recording: np.ndarray,
    common: dict[str, Any],
) -> list[Scored]:
    """Category scores of some rows: within each recording, then their mean.

    Parameters
    ----------
    metrics : tuple of CategoryMetric
    similarity : array (row, category)
    shown : array of int (row,)
    recording : array of str (row,)
        Each with trials of all categories.
    common : dict
        As in `score_images`.

    Returns
    -------
    list of Scored
        One per metric; the interval is the wider of those over trials and over recordings.
    """
    values, draws = identification.by_recording(metrics, similarity, shown, recording)
    names = np.unique(recording)
    about = {**common["about"], "n_rows": len(shown), "n_recordings": len(names)}
    about["recordings"] = names.tolist()
    common, results = {**common, "about": about}, []
    for metric, value, drawn in zip(metrics, values, draws, strict=True):
        low, high = identification.wider_interval(value, drawn)
        limits = max(low, 0.0), min(high, 1.0)
        n_gallery = similarity.shape[1]
        score = _make(metric, n_gallery, value.mean(), len(shown), limits, value, "trial", common)
        results.append(Scored(score, drawn, names))
    return results


def _make(
    metric: Metric,
    n_gallery: int,
    value: float,
    n: int,
    limits: tuple[float, float],
    per_item: np.ndarray,
    resampled: str,
    common: dict[str, Any],
) -> Score:
    return Score(
        value=value,
        n=n,
        chance=metric.chance(n_gallery),
        low=limits[0],
        high=limits[1],
        per_item=per_item,
        gallery=common["gallery"],
        protocol=common["protocol"],
        higher_is_better=metric.higher_is_better,
        name=f"{n_gallery}-way" if metric.component == "identification" else metric.label,
        about={**common["about"], "resampled": resampled},
    )


def comparisons(scored: dict[tuple[str, str], list[Scored]], notes: list[str]) -> list[Score]:
    """Tower minus ridge, and tower as a share of the informed observer, with paired intervals.

    Parameters
    ----------
    scored : dict of list of Scored
        By (system, target); the observers' target is empty.
    notes : list of str
        What could not be compared is said here.

    Returns
    -------
    list of Score
        ``about["comparison"]`` is ``tower - ridge`` (chance 0) or ``tower / informed_observer``
        (top-k alone; chance is the metric's over the observer's value).
    """
    results = []
    for (system, target), towers in scored.items():
        if system != "tower":
            continue
        for other, sign, where in (("ridge", "-", target), ("informed_observer", "/", "")):
            known = {s.key: s for s in scored.get((other, where), [])}
            for tower in towers:
                reference = known.get(tower.key)
                if reference is None or (sign == "/" and not tower.score.name.startswith("top")):
                    continue
                what = f"{system} {sign} {other}"
                if not np.array_equal(tower.item, reference.item):
                    notes.append(f"{what} left out: the two were not tested on the same images.")
                elif sign == "/" and not (reference.draws > 0).all():
                    notes.append(f"{what} left out for some scores: the observer's may be 0.")
                else:
                    results.append(_compare(tower, reference, what, sign))
    return results


def _compare(first: Scored, second: Scored, what: str, sign: str) -> Score:
    one, two = first.score, second.score
    per_item = np.zeros(0)
    if sign == "/":
        value, chance = one.value / two.value, one.chance / two.value
        low, high = statistics.compare(first.draws, second.draws, "ratio")
    else:
        value, chance, per_item = one.value - two.value, 0.0, one.per_item - two.per_item
        low, high = statistics.compare(first.draws, second.draws)
        if one.about["resampled"] == "trial":
            draws = first.draws - second.draws
            low, high = identification.wider_interval(per_item, draws)
        elif one.name != "median_rank":
            low, high = statistics.widen_difference((low, high), per_item, first.step)
    return Score(
        value=value,
        n=one.n,
        chance=chance,
        low=low,
        high=high,
        per_item=per_item,
        gallery=one.gallery,
        protocol=one.protocol,
        higher_is_better=one.higher_is_better,
        name=one.name,
        about={**one.about, "comparison": what},
    )


def headline(scores: list[Score]) -> dict[str, Any]:
    """Which score speaks for the run; fixed by rule, never by its value.

    The tower (or the only system), all subjects, all targets where there are several; images: top-1 at
    the most trials averaged; categories: area under the curve (or identification) of single trials.

    Returns
    -------
    dict
        ``system``, ``target``, ``subject``, ``n_averaged`` and ``metric``.
    """
    systems = list(dict.fromkeys(s.about["system"] for s in scores if s.about["target"]))
    systems = systems or list(dict.fromkeys(s.about["system"] for s in scores))
    system = "tower" if "tower" in systems else systems[0]
    some = [s for s in scores if s.about["system"] == system and s.about["subject"] == "all"]
    targets = {s.about["target"] for s in some}
    target = "all" if "all" in targets else min(targets)
    some = [s for s in some if s.about["target"] == target]
    single = some[0].about["resampled"] == "trial"
    n_averaged = (min if single else max)(s.about["n_averaged"] for s in some)
    metric = next(s.name for s in some if s.about["n_averaged"] == n_averaged)
    about = {"system": system, "target": target, "subject": "all", "n_averaged": n_averaged}
    return {**about, "metric": metric}


def check_control(scores: list[Score]) -> dict[str, Any] | None:
    """Whether the shuffled-label control's interval holds chance.

    Looked at on the headline's rows, by top-5 (else the headline's metric): a single shuffle can give
    a decoder a direction that is right or wrong by luck, which moves mean ranks and the area under the
    curve more than it moves top-5.

    Returns
    -------
    dict or None
        ``at_chance`` (bool) with ``metric``, ``value``, ``low``, ``high``, ``chance``, ``n``; None
        where no system is named ``shuffled``.

    Raises
    ------
    NeurovisError
        If the shuffled system lacks the headline's rows.
    """
    if not any(s.about["system"] == "shuffled" for s in scores):
        return None
    chosen = headline(scores)
    some = {
        s.name: s
        for s in scores
        if s.about["system"] == "shuffled"
        and all(s.about[name] == chosen[name] for name in ("target", "subject", "n_averaged"))
    }
    score = some.get("top5") or some.get(chosen["metric"])
    if score is None:
        raise NeurovisError(
            f"shuffled: expected rows of {chosen['n_averaged']} averaged trials and target "
            f"{chosen['target']!r} as the tower has, found none; predict the same rows with every system."
        )
    numbers = {name: getattr(score, name) for name in ("value", "low", "high", "chance", "n")}
    return {"at_chance": score.low <= score.chance <= score.high, "metric": score.name, **numbers}
