"""Identification of categories: area under the curve and balanced accuracy, recording by recording.

Comes in: similarities of trials to a few categories, the category shown and the recording of each
trial. Goes out: one value per recording and bootstrap draws of their mean. For recordings that tell
which category was shown but not which picture. Scores are made within a recording and then averaged,
because models of different folds do not share a scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.metrics.base import Metric
from neurovis.metrics.retrieval import BLOCK_BYTES, cosine_blocks, place, top_credit
from neurovis.metrics.statistics import N_DRAWS, interval, stratified_counts, t_interval


def projection_blocks(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Iterator[tuple[slice, np.ndarray]]:
    """Length of each prediction along every category's vector, summed over targets.

    A trial's nearest category is the one that cosines name, but its prediction keeps its length, which
    says how sure the decoder is. Cosines alone would forget it: vectors of two categories, centred, are
    opposite to each other, a regression's predictions lie on the line through them, and all their
    cosines are 1 or -1.

    Parameters
    ----------
    pairs : sequence of (array (row, dim), array (category, dim))
        One pair per target: predictions and categories.

    Yields
    ------
    rows : slice
    similarity : array (row, category) float32
        In units of the categories' mean length.

    Raises
    ------
    NeurovisError
        If the dims of a pair differ, or a vector is zero or not finite.
    """
    n_categories = max(len(gallery) for _, gallery in pairs)
    step = max(1, BLOCK_BYTES // (4 * n_categories))
    for blocks in zip(*(cosine_blocks([pair], step) for pair in pairs), strict=True):
        rows, total = blocks[0][0], 0.0
        for (prediction, gallery), (_, cosine) in zip(pairs, blocks, strict=True):
            total = total + cosine * (_length(prediction[rows]) / _length(gallery).mean())[:, None]
        yield rows, np.asarray(total, np.float32)


def _length(vector: np.ndarray) -> np.ndarray:
    flat = np.reshape(vector, (len(vector), -1))
    return np.linalg.norm(flat.astype(np.float64), axis=1)


def auc(
    decision: np.ndarray, positive: np.ndarray, counts: np.ndarray | None = None
) -> float | np.ndarray:
    """Probability that a positive trial's decision value exceeds a negative one's, ties half.

    Parameters
    ----------
    decision : array (row,)
    positive : array of bool (row,)
    counts : array (draw, row), optional
        Bootstrap counts, drawn within positives and negatives.

    Returns
    -------
    float, or array (draw,)
        0.5 by chance.

    Raises
    ------
    NeurovisError
        If a decision value is NaN, or positives or negatives are missing.
    """
    decision, positive = np.asarray(decision, np.float64), np.asarray(positive, bool)
    if np.isnan(decision).any():
        raise NeurovisError(
            f"auc: expected numbers, found NaN in row {int(np.isnan(decision).argmax())}; "
            "drop that row or mend the model that made it."
        )
    n_positive = int(positive.sum())
    if n_positive in (0, len(positive)):
        raise NeurovisError(
            f"auc: expected trials of both categories, found {n_positive} of one and "
            f"{len(positive) - n_positive} of the other; leave out longer recordings."
        )
    ahead = decision[positive][:, None] - decision[~positive]
    wins = np.where(ahead > 0, 1.0, np.where(ahead == 0, 0.5, 0.0)).astype(np.float32)
    if counts is None:
        return float(wins.mean(dtype=np.float64))
    pairs = (counts[:, positive] @ wins * counts[:, ~positive]).sum(axis=1, dtype=np.float64)
    return pairs / (n_positive * (len(positive) - n_positive))


def balanced(
    credit: np.ndarray, category: np.ndarray, counts: np.ndarray | None = None
) -> float | np.ndarray:
    """Mean over categories of the mean credit of their trials.

    Parameters
    ----------
    credit : array (row,)
        Between 0 and 1.
    category : array (row,)
    counts : array (draw, row), optional
        Bootstrap counts, drawn within categories.

    Returns
    -------
    float, or array (draw,)
        1 / (number of categories) by chance.
    """
    _, code, size = np.unique(category, return_inverse=True, return_counts=True)
    weight = np.asarray(credit, np.float64) / size[code] / len(size)
    return float(weight.sum()) if counts is None else counts @ weight


class CategoryMetric(Metric):
    """A metric of one recording whose trials are known by category alone."""

    def fits(self, n_gallery: int) -> bool:
        """Whether the metric is defined for so many categories."""
        return n_gallery > 1

    def of_recording(
        self, similarity: np.ndarray, shown: np.ndarray, counts: np.ndarray | None = None
    ) -> float | np.ndarray:
        """Value for one recording, or one per draw of `counts`.

        Parameters
        ----------
        similarity : array (row, category)
        shown : array of int (row,)
        counts : array (draw, row), optional
        """
        raise NotImplementedError


class Auc(CategoryMetric, name="auc"):
    """Area under the curve between two categories, by recording (higher is better, chance 1/2)."""

    def fits(self, n_gallery: int) -> bool:
        return n_gallery == 2

    def chance(self, n_gallery: int) -> float:
        return 0.5

    def of_recording(self, similarity, shown, counts=None):
        return auc(similarity[:, 1] - similarity[:, 0], shown == 1, counts)


class Identification(CategoryMetric, name="identification"):
    """Share of trials nearest to their category, balanced (higher is better, chance 1/N)."""

    def chance(self, n_gallery: int) -> float:
        return 1 / n_gallery

    def of_recording(self, similarity, shown, counts=None):
        return balanced(top_credit(*place(similarity, shown), 1), shown, counts)


def by_recording(
    metrics: Sequence[CategoryMetric],
    similarity: np.ndarray,
    shown: np.ndarray,
    recording: np.ndarray,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Score every recording by itself.

    Parameters
    ----------
    metrics : sequence of CategoryMetric
    similarity : array (row, category)
    shown : array of int (row,)
        Category of each row.
    recording : array of str (row,)
        Each with trials of all categories.
    n_draws : int
    seed : int

    Returns
    -------
    value : array (metric, recording)
        Recordings in sorted order.
    draws : array (metric, draw)
        The mean over recordings when trials are resampled within recording and category.
    """
    names, code = np.unique(recording, return_inverse=True)
    values, draws = np.empty((len(metrics), len(names))), np.zeros((len(metrics), n_draws))
    for i in range(len(names)):
        rows = np.flatnonzero(code == i)
        some, category = similarity[rows], shown[rows]
        counts = stratified_counts(category, n_draws, seed + i)
        for j, metric in enumerate(metrics):
            values[j, i] = metric.of_recording(some, category)
            draws[j] += metric.of_recording(some, category, counts) / len(names)
    return values, draws


def wider_interval(value: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    """The wider of two intervals: over trials (bootstrap) and over recordings (Student).

    Parameters
    ----------
    value : array (recording,)
    draws : array (draw,)

    Returns
    -------
    low, high : float
    """
    choices = [interval(draws)]
    if len(value) > 1:
        choices.append(t_interval(value))
    return max(choices, key=lambda pair: pair[1] - pair[0])
