"""Statistics: bootstrap intervals, paired comparisons, permutation.

Comes in: one value per row, and the item (image) that each row is of. Goes out: bootstrap draws and
their interval. Items are resampled, not rows: all repeats of an image and all subjects who saw it
move together, as they would if other images had been chosen. Draws are a matrix of counts (draw,
item), so that a statistic over all draws is one matrix product, and the same seed gives the same
draws to every system, which pairs their comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from neurovis.errors import NeurovisError

N_DRAWS = 2000
LEVEL = 0.95
# two-sided 95 % quantile of the normal distribution
Z = 1.959963984540054
FEW = 5


@lru_cache(maxsize=4)
def resample_counts(n_items: int, n_draws: int = N_DRAWS, seed: int = 0) -> np.ndarray:
    """How often each item enters each bootstrap draw: array (draw, item) float32, read-only.

    Every row sums to `n_items`.
    """
    if n_items < 1:
        raise NeurovisError("bootstrap: expected at least one item, found none; check the rows.")
    rng = np.random.default_rng([seed, n_items])
    counts = np.empty((n_draws, n_items), np.float32)
    step = max(1, 2**20 // n_items)
    for start in range(0, n_draws, step):
        n = min(step, n_draws - start)
        drawn = rng.integers(n_items, size=(n, n_items)) + np.arange(n)[:, None] * n_items
        counts[start : start + n] = np.bincount(drawn.ravel(), minlength=n * n_items).reshape(n, -1)
    counts.flags.writeable = False
    return counts


def stratified_counts(stratum: np.ndarray, n_draws: int = N_DRAWS, seed: int = 0) -> np.ndarray:
    """As `resample_counts`, drawing within each stratum so that its size never changes.

    Parameters
    ----------
    stratum : array (item,)
        Label of each item's stratum.
    n_draws : int
    seed : int

    Returns
    -------
    array (draw, item) float32
    """
    _, code = np.unique(stratum, return_inverse=True)
    counts = np.zeros((n_draws, len(code)), np.float32)
    for i in range(code.max() + 1):
        inside = np.flatnonzero(code == i)
        counts[:, inside] = resample_counts(len(inside), n_draws, seed + 1000 * (i + 1))
    return counts


def bootstrap_mean(value: np.ndarray, item: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over rows in every bootstrap draw of items.

    Parameters
    ----------
    value : array (row,) or (row, metric)
    item : array of int (row,)
        Item of each row, 0 to n_items - 1, each at least once.
    counts : array (draw, item)

    Returns
    -------
    array (draw,) or (draw, metric)
    """
    value = np.asarray(value, np.float64)
    columns = value.reshape(len(value), -1).T
    n_items = counts.shape[1]
    sums = np.stack([np.bincount(item, column, minlength=n_items) for column in columns], axis=1)
    rows = np.bincount(item, minlength=n_items).astype(np.float64)
    draws = (counts @ sums) / (counts @ rows)[:, None]
    return draws.reshape(-1, *value.shape[1:])


def bootstrap_median(value: np.ndarray, item: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Median over rows in every bootstrap draw of items.

    Parameters
    ----------
    value : array (row,)
    item : array of int (row,)
    counts : array (draw, item)

    Returns
    -------
    array (draw,)
    """
    from scipy import sparse

    levels, level = np.unique(value, return_inverse=True)
    shape = (len(levels), counts.shape[1])
    rows_at = sparse.csr_array((np.ones(len(level), np.float32), (level, item)), shape=shape)
    draws = np.empty(len(counts))
    step = max(1, 2**24 // len(levels))
    for start in range(0, len(counts), step):
        reached = np.cumsum(rows_at @ counts[start : start + step].T, axis=0, dtype=np.float64)
        half = reached[-1] / 2
        lower = levels[(reached < half).sum(axis=0)]
        upper = levels[(reached <= half).sum(axis=0)]
        draws[start : start + step] = (lower + upper) / 2
    return draws


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of bootstrap draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson(value: float, n: int) -> tuple[float, float]:
    """Interval of a proportion among n items (95 %).

    References
    ----------
    Wilson 1927, doi:10.1080/01621459.1927.10502953
    """
    centre = (value + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(max(value * (1 - value), 0) / n + Z**2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def rare_interval(departure: np.ndarray, step: float = 1.0) -> tuple[float, float]:
    """Interval of the mean of a quantity that is 0 for nearly all items.

    Wilson's interval of the share of items above 0, times their mean; where none is above 0, times
    the smallest they could be.

    Parameters
    ----------
    departure : array (item,)
        0 or above.
    step : float
        Smallest value above 0.

    Returns
    -------
    low, high : float
    """
    above = departure[departure > 0]
    low, high = wilson(len(above) / len(departure), len(departure))
    size = above.mean() if len(above) else step
    return float(low * size), float(high * size)


def widen_mean(
    limits: tuple[float, float], per_item: np.ndarray, step: float = 1.0
) -> tuple[float, float]:
    """Widen the bootstrap interval of a mean credit where few items inform it.

    Where fewer than five items differ from 0 (or from 1), the bootstrap cannot see what it has not
    drawn: 0 of 200 would get [0, 0]. There the interval is at least that of `rare_interval`.

    Parameters
    ----------
    limits : low, high
    per_item : array (item,)
        Mean credit of each item, between 0 and 1.
    step : float
        Smallest departure of an item from 0 or 1.

    Returns
    -------
    low, high : float
    """
    low, high = limits
    if np.count_nonzero(per_item > 0) < FEW:
        least, most = rare_interval(per_item, step)
        return min(low, least), max(high, most)
    if np.count_nonzero(per_item < 1) < FEW:
        least, most = rare_interval(1 - per_item, step)
        return min(low, 1 - most), max(high, 1 - least)
    return limits


def widen_difference(
    limits: tuple[float, float], per_item: np.ndarray, step: float = 1.0
) -> tuple[float, float]:
    """As `widen_mean`, for a paired difference in which few items differ.

    Gains and losses are rare quantities each; their intervals are combined as Newcombe does.

    Parameters
    ----------
    limits : low, high
    per_item : array (item,)
        Difference of each item.
    step : float

    References
    ----------
    Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I
    """
    if np.count_nonzero(per_item) >= FEW:
        return limits
    gain, loss = np.clip(per_item, 0, None), np.clip(-per_item, 0, None)
    (gain_low, gain_high), (loss_low, loss_high) = (
        rare_interval(part, step) for part in (gain, loss)
    )
    low = np.hypot(gain.mean() - gain_low, loss_high - loss.mean())
    high = np.hypot(gain_high - gain.mean(), loss.mean() - loss_low)
    middle = per_item.mean()
    return min(limits[0], float(middle - low)), max(limits[1], float(middle + high))


def compare(first: np.ndarray, second: np.ndarray, how: str = "difference") -> tuple[float, float]:
    """Interval of a paired comparison, from the draws of both systems with the same counts.

    Parameters
    ----------
    first, second : array (draw,)
    how : {"difference", "ratio"}

    Returns
    -------
    low, high : float

    Raises
    ------
    NeurovisError
        If a ratio would divide by zero in some draw.
    """
    if how == "difference":
        return interval(first - second)
    if not (second > 0).all():
        raise NeurovisError(
            "ratio: expected a second system above 0 in every draw, found 0; compare by difference."
        )
    return interval(first / second)


def t_interval(value: np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of the mean of a few recordings or subjects.

    With six values a percentile bootstrap is too narrow (Hesterberg 2015,
    doi:10.1080/00031305.2015.1089789).

    Parameters
    ----------
    value : array (recording,)
        At least two.
    """
    n = len(value)
    half = t_quantile(n - 1) * np.std(value, ddof=1) / np.sqrt(n)
    return float(np.mean(value) - half), float(np.mean(value) + half)


def t_quantile(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def permutation_null(
    statistic: Callable[[np.ndarray], float],
    label: np.ndarray,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    stratum: np.ndarray | None = None,
) -> np.ndarray:
    """Values of a statistic when labels are shuffled.

    Parameters
    ----------
    statistic : callable
        Takes labels (row,), gives a number.
    label : array (row,)
    n_draws : int
    seed : int
    stratum : array (row,), optional
        Labels are shuffled within each stratum only (a recording).

    Returns
    -------
    array (draw,)
        With the true value v, ``(1 + sum(null >= v)) / (1 + n_draws)`` is a valid p-value.
    """
    rng = np.random.default_rng(seed)
    label = np.asarray(label)
    stratum = np.zeros(len(label), int) if stratum is None else np.asarray(stratum)
    home = np.argsort(stratum, kind="stable")
    null = np.empty(n_draws)
    for draw in range(n_draws):
        order = np.lexsort((rng.random(len(label)), stratum))
        shuffled = np.empty_like(label)
        shuffled[home] = label[order]
        null[draw] = statistic(shuffled)
    return null


def interval_text(category: bool) -> str:
    """How the intervals of a run were made, in words."""
    over = (
        "the wider of a bootstrap over trials (within recording and category) and Student's "
        "interval over recordings"
        if category
        else "bootstrap over images (repeats and subjects of an image move together), at least "
        "Wilson's where fewer than five images inform it"
    )
    return f"95 %, {over}; {N_DRAWS} draws, seed 0"
