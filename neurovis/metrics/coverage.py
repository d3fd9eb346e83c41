"""Accuracy against coverage: how right a decoder is where it says that it is sure.

Comes in: similarities of rows to a gallery, with the temperature of each row where it was calibrated
on validation data. Goes out: a confidence per row, and the accuracy of the most confident part of the
rows. A confidence reads one row and the gallery, never another test row, so nothing is transductive;
only the threshold that keeps 80 % of the rows is read off them.

References: Geifman & El-Yaniv 2017, arXiv 1705.08500, and Geifman et al. 2019, arXiv 1805.08206 (risk,
coverage, area); Guo et al. 2017, arXiv 1706.04599 (temperature, calibration error).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.metrics import statistics
from neurovis.records import Score

LEVELS = (1.0, 0.8, 0.5, 0.2)
CURVE = tuple(round(0.05 * i, 2) for i in range(1, 21))
N_BINS = 10
LEAST, MOST = 1e-3, 1e2
"""Bounds of a temperature, in units of a cosine."""


def posterior(similarity: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Largest probability of each row under softmax(similarity / temperature).

    Parameters
    ----------
    similarity : array (row, item)
    temperature : array (row,)

    Returns
    -------
    array (row,)
        Between 1 / N and 1.
    """
    logit = similarity.astype(np.float64) / np.asarray(temperature, np.float64)[:, None]
    return 1 / np.exp(logit - logit.max(axis=1, keepdims=True)).sum(axis=1)


def margin(similarity: np.ndarray) -> np.ndarray:
    """How far the most similar item is ahead of the second: array (row,), 0 where they tie."""
    if similarity.shape[1] < 2:
        raise NeurovisError(
            "margin: expected two items or more, found one; add images to the gallery."
        )
    second, first = np.partition(similarity, (-2, -1), axis=1)[:, -2:].T
    return (first - second).astype(np.float64)


def confidence(similarity: np.ndarray, spread: np.ndarray | None, rows: slice) -> np.ndarray:
    """Probability of the first item where spreads are known, else its margin: array (row,).

    Parameters
    ----------
    similarity : array (row, item)
        Of some of the rows.
    spread : array (all rows,) or None
    rows : slice
        Which they are.
    """
    return margin(similarity) if spread is None else posterior(similarity, spread[rows])


def fit_temperature(
    similarity: np.ndarray, shown: np.ndarray, spread: np.ndarray | float = 1.0
) -> float:
    """Factor of the spreads under which the shown items are likeliest.

    Parameters
    ----------
    similarity : array (row, item)
        Of validation rows, never of test rows.
    shown : array of int (row,)
    spread : array (row,)
        What the tower says of each row; 1 where it says nothing.

    Returns
    -------
    float
        Between 0.001 and 100.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logit = similarity.astype(np.float64) / np.broadcast_to(spread, len(similarity))[:, None]
    true = np.take_along_axis(logit, shown[:, None], axis=1)[:, 0]

    def surprise(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((logsumexp(scale * logit, axis=1) - scale * true).mean())

    limits = (np.log(LEAST), np.log(MOST))
    return float(np.exp(minimize_scalar(surprise, bounds=limits, method="bounded").x))


def kept(confidence: np.ndarray, coverage: float) -> np.ndarray:
    """Weight of each row where a share of the rows is kept, the most confident first.

    Rows that tie at the threshold are kept in part, each as much.

    Parameters
    ----------
    confidence : array (row,)
    coverage : float
        Above 0, at most 1.

    Returns
    -------
    array (row,)
        Between 0 and 1, with sum coverage x rows.
    """
    wanted = coverage * len(confidence)
    _, level, n = np.unique(confidence, return_inverse=True, return_counts=True)
    above = np.concatenate([np.cumsum(n[::-1])[::-1][1:], [0]])
    return np.clip((wanted - above) / n, 0, 1)[level]


def risk_coverage_area(
    confidence: np.ndarray, credit: np.ndarray, weight: np.ndarray | None = None
) -> float | np.ndarray:
    """Mean over all coverages of the error among the most confident rows.

    Parameters
    ----------
    confidence, credit : array (row,)
        Rows that tie in confidence share their credit.
    weight : array (draw, row), optional
        How often each row counts.

    Returns
    -------
    float, or array (draw,)
        The overall error for a confidence that says nothing, less where it says something.
    """
    _, level, n = np.unique(confidence, return_inverse=True, return_counts=True)
    shared = (np.bincount(level, credit) / n)[level]
    order = np.argsort(-confidence, kind="stable")
    weights = np.ones((1, len(order))) if weight is None else weight[:, order]
    size = np.cumsum(weights, axis=1)
    risk = 1 - np.cumsum(weights * shared[order], axis=1) / np.maximum(size, 1e-12)
    area = (weights * risk).sum(axis=1) / size[:, -1]
    return float(area[0]) if weight is None else area


def bins_of(confidence: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Bins of about equally many rows, ties together: array of int (row,)."""
    edges = np.quantile(confidence, np.arange(1, n_bins) / n_bins)
    return np.searchsorted(edges, confidence, side="left")


def calibration_error(confidence: np.ndarray, credit: np.ndarray, n_bins: int = N_BINS) -> float:
    """Mean over rows of the distance between confidence and accuracy in their bin.

    Parameters
    ----------
    confidence, credit : array (row,)
        Probabilities, and 1 where the first item was the shown one.
    n_bins : int

    Returns
    -------
    float
        0 is best.
    """
    gap = np.bincount(bins_of(confidence, n_bins), credit - confidence)
    return float(np.abs(gap).sum() / len(confidence))


def coverage(
    confidence: np.ndarray,
    credit: np.ndarray,
    image: np.ndarray,
    n_gallery: int,
    calibrated: bool,
    common: dict[str, Any],
) -> dict[str, Any]:
    """Accuracy against coverage of some rows of one system.

    Parameters
    ----------
    confidence, credit : array (row,)
        Credit is that of top-1.
    image : array of str (row,)
        Images are resampled, with all their rows.
    n_gallery : int
    calibrated : bool
        Confidences are probabilities whose temperature comes from validation data.
    common : dict
        ``gallery``, ``protocol`` and ``about`` of the scores.

    Returns
    -------
    dict
        ``about``, ``confidence`` ("posterior" or "margin"), the curve (``coverage``, ``accuracy``,
        ``low``, ``high``) and ``scores``: ``aurc``, ``top1@100`` and so on, ``ece`` where calibrated.
    """
    _, item = np.unique(image, return_inverse=True)
    counts = statistics.resample_counts(item.max() + 1)
    points = [_accuracy(kept(confidence, level), credit, item, counts) for level in CURVE]
    places = [CURVE.index(level) for level in LEVELS]
    scores = [_area(confidence, credit, item, counts)]
    scores += [{"name": f"top1@{round(100 * CURVE[i])}", **points[i]} for i in places]
    scores += [_calibration(confidence, credit, item, counts)] if calibrated else []
    about = {**common["about"], "confidence": "posterior" if calibrated else "margin"}
    made = []
    for one in scores:
        up = one["name"].startswith("top1")
        own = {**about, "resampled": "image", **one.pop("about", {})}
        fields = {"chance": 1 / n_gallery, "per_item": np.zeros(0), "higher_is_better": up, **one}
        made.append(
            Score(**fields, gallery=common["gallery"], protocol=common["protocol"], about=own)
        )
    curve = {k: [round(p[k], 6) for p in points] for k in ("value", "low", "high")}
    curve["accuracy"] = curve.pop("value")
    return {"about": about, "coverage": list(CURVE), **curve, "scores": [s.to_dict() for s in made]}


def _accuracy(
    weight: np.ndarray, credit: np.ndarray, item: np.ndarray, counts: np.ndarray
) -> dict[str, Any]:
    n_items = counts.shape[1]
    right, size = (np.bincount(item, v, minlength=n_items) for v in (weight * credit, weight))
    inside = size > 0
    # a draw without any of the rows that are kept says nothing
    drawn = counts @ size
    draws = (counts @ right)[drawn > 0] / drawn[drawn > 0]
    low, high = statistics.widen_mean(statistics.interval(draws), right[inside] / size[inside])
    about = {"n_rows": float(weight.sum())}
    value = float(right.sum() / size.sum())
    return {"value": value, "low": low, "high": high, "n": int(inside.sum()), "about": about}


def _area(
    confidence: np.ndarray, credit: np.ndarray, item: np.ndarray, counts: np.ndarray
) -> dict[str, Any]:
    value = risk_coverage_area(confidence, credit)
    # every draw walks all rows: fewer of them where there are very many rows
    counts = counts[: max(200, 2**25 // len(item))]
    draws = np.empty(len(counts))
    step = max(1, 2**22 // len(item))
    for start in range(0, len(counts), step):
        block = slice(start, start + step)
        draws[block] = risk_coverage_area(confidence, credit, counts[block][:, item])
    low, high = statistics.interval(draws)
    about = {"n_rows": len(item), "oracle": risk_coverage_area(credit, credit)}
    limits = {"low": min(low, value), "high": max(high, value)}
    chance = float(1 - credit.mean())
    return {
        "name": "aurc",
        "value": value,
        **limits,
        "n": counts.shape[1],
        "chance": chance,
        "about": about,
    }


def _calibration(
    confidence: np.ndarray, credit: np.ndarray, item: np.ndarray, counts: np.ndarray
) -> dict[str, Any]:
    """The error with its interval; its chance is what a calibrated confidence gets with as many rows."""
    value, place = calibration_error(confidence, credit), bins_of(confidence)
    gap = np.zeros((counts.shape[1], N_BINS))
    np.add.at(gap, (item, place), credit - confidence)
    size = np.bincount(item, minlength=counts.shape[1])
    draws = np.abs(counts @ gap).sum(axis=1) / (counts @ size)
    rng, n = np.random.default_rng(0), len(confidence)
    perfect = [
        np.abs(np.bincount(place, (rng.random(n) < confidence) - confidence)).sum() / n
        for _ in range(200)
    ]
    low, high = statistics.interval(draws)
    limits = {"low": min(low, value), "high": max(high, value), "chance": float(np.mean(perfect))}
    about = {"n_rows": len(item), "chance_is": "a calibrated confidence on as many rows"}
    return {"name": "ece", "value": value, **limits, "n": counts.shape[1], "about": about}
