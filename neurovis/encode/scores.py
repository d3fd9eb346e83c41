"""Scores of encoding models: correlation, share of variance, intervals, tests, partition of variance.

Comes in: predicted and measured mean responses (image, target). Goes out: numbers per target, and per
group of targets with bootstrap draws. Images are resampled, with the same draws for every system, so that
systems are compared pairwise. Targets that do not vary get 0 and are counted by who asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations

import numpy as np

from neurovis.encode.ceilings import correlate_columns
from neurovis.errors import UsageError, unknown

BLOCK = 2048
"""Targets at a time."""
CORRECTIONS = ("fdr_bh", "fdr_by", "max", "none")


def pearson(said: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's correlation over images of each target: array (target,); 0 where a side is constant."""
    return np.concatenate([correlate_columns(said[:, b], y[:, b]) for b in blocks(y.shape[1])])


def r2(said: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Share of variance explained (coefficient of determination) of each target, at most 1.

    ``1 - sum((y - said)**2) / sum((y - mean(y))**2)``; 0 where `y` is constant.
    """
    y = y.astype(np.float64)
    total = ((y - y.mean(0)) ** 2).sum(0)
    left = ((y - said) ** 2).sum(0)
    return np.where(total > 1e-300, 1 - left / np.where(total > 1e-300, total, 1), 0.0)


def split_r2(parts: Mapping[str, np.ndarray], y: np.ndarray) -> dict[str, np.ndarray]:
    """Share of variance that each family of a joint model accounts for.

    They sum to its R², but for the part that a wrong mean takes away. The product measure ``sum(part * (2 y - said)) / sum(y**2)`` of centred values.

    Parameters
    ----------
    parts : dict of array (image, target)
        What each family contributes to the prediction, without the intercept.
    y : array (image, target)

    References
    ----------
    Dupré la Tour et al. 2022, doi:10.1016/j.neuroimage.2022.119728 (section 2.5)
    """
    y = y - y.mean(0, dtype=np.float64)
    centred = {k: v - v.mean(0, dtype=np.float64) for k, v in parts.items()}
    said, total = sum(centred.values()), (y**2).sum(0)
    safe = np.where(total > 1e-300, total, 1)
    return {
        k: np.where(total > 1e-300, (v * (2 * y - said)).sum(0) / safe, 0.0)
        for k, v in centred.items()
    }


def bootstrap(
    said: np.ndarray, y: np.ndarray, counts: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Correlation and R² in every bootstrap draw of images, block by block of targets.

    Parameters
    ----------
    said, y : array (image, target)
    counts : array (draw, image)
        From `neurovis.metrics.statistics.resample_counts`.

    Yields
    ------
    slice, array (draw, target), array (draw, target)
        0 where the response is constant in a draw (correlation: or the prediction).
    """
    counts = counts.astype(np.float32)
    n = counts.sum(1, keepdims=True)
    for block in blocks(y.shape[1]):
        # centred and scaled first: float32 is then exact enough
        a, b = (_standard(part[:, block]) for part in (said, y))
        mean_a, mean_b = counts @ a / n, counts @ b / n
        both = counts @ (a * b) / n - mean_a * mean_b
        spread_a = (counts @ a**2 / n - mean_a**2).clip(0)
        spread_b = (counts @ b**2 / n - mean_b**2).clip(0)
        size = np.sqrt(spread_a * spread_b)
        r = np.divide(both, size, out=np.zeros_like(both), where=size > 1e-6)
        wide = y[:, block].std(0, dtype=np.float64)
        left = (y[:, block] - said[:, block]) / np.where(wide > 1e-12, wide, 1)
        left = counts @ (left**2).astype(np.float32) / n
        known = spread_b > 1e-6
        explained = np.where(known, 1 - left / np.where(known, spread_b, 1), 0)
        yield block, r, explained


def _standard(values: np.ndarray) -> np.ndarray:
    values = values - values.mean(0, dtype=np.float64)
    spread = values.std(0)
    return np.where(spread > 1e-12, values / np.where(spread > 1e-12, spread, 1), 0).astype("f4")


def permutation(
    said: np.ndarray, y: np.ndarray, n_draws: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Test of each target's correlation against predictions of shuffled images.

    Parameters
    ----------
    said, y : array (image, target)
    n_draws : int
    seed : int

    Returns
    -------
    p : array (target,)
        ``(1 + number of draws at least as high) / (1 + n_draws)``, one-sided.
    p_max : array (target,)
        The same against the largest correlation of all targets in each draw: the probability of one
        such target or more where none responds (Nichols & Holmes 2002, doi:10.1002/hbm.1058).
    """
    rng = np.random.default_rng(seed)
    n, n_targets = y.shape
    orders = [rng.permutation(n) for _ in range(n_draws)]
    above, highest = np.zeros(n_targets, int), np.full(n_draws, -np.inf)
    true = np.empty(n_targets)
    for block in blocks(n_targets):
        a, b = (_standard(part[:, block]) for part in (said, y))
        true[block] = np.einsum("it,it->t", a, b) / n
        # float32 sums of one order and another differ: equal ones must count as equal
        level = true[block] - 1e-6
        for draw, order in enumerate(orders):
            null = np.einsum("it,it->t", a[order], b) / n
            above[block] += null >= level
            highest[draw] = max(highest[draw], float(null.max()))
    p = (1 + above) / (1 + n_draws)
    highest.sort()
    n_above = n_draws - np.searchsorted(highest, true - 1e-6)
    return p, (1 + n_above) / (1 + n_draws)


def corrected(p: np.ndarray, p_max: np.ndarray, correction: str) -> np.ndarray:
    """P-values corrected for the number of targets: array (target,).

    Parameters
    ----------
    p, p_max : array (target,)
        From `permutation`.
    correction : {"fdr_bh", "fdr_by", "max", "none"}
        False discovery rate by Benjamini & Hochberg 1995 (doi:10.1111/j.2517-6161.1995.tb02031.x), or
        under any dependence by Benjamini & Yekutieli 2001 (doi:10.1214/aos/1013699998), or
        family-wise by the maximum.
    """
    from scipy.stats import false_discovery_control

    if correction not in CORRECTIONS:
        raise UsageError(unknown("correction", correction, CORRECTIONS))
    if correction == "max":
        return p_max
    if correction == "none" or not len(p):
        return p
    return false_discovery_control(p, method=correction.removeprefix("fdr_"))


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """All combinations of families that the partition needs.

    All of them up to three families; each alone, all but each and all together where there are more.
    """
    n = len(names)
    sizes = range(1, n + 1) if n <= 3 else (1, n - 1, n)
    return list(chain.from_iterable(combinations(names, k) for k in sizes))


def partition(
    explained: Mapping[tuple[str, ...], np.ndarray], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """What variance each family explains alone, and what families share.

    Parameters
    ----------
    explained : dict of array (target,)
        R² of models of each of `subsets`.
    names : sequence of str

    Returns
    -------
    dict of array (target,)
        ``"a"`` is what no other family explains, ``"a & b"`` what both do and no third; parts of up to
        three families sum to the R² of all. Parts may be negative where families only tell together,
        or by chance.

    References
    ----------
    Lescroart, Stansbury & Gallant 2015, doi:10.3389/fncom.2015.00135
    """
    whole = tuple(names)

    def only(inside: tuple[str, ...]) -> np.ndarray:
        """Variance that no model without `inside` explains."""
        rest = tuple(n for n in whole if n not in inside)
        return explained[whole] - (explained[rest] if rest else 0.0)

    if len(whole) > 3:
        return {name: only((name,)) for name in whole}
    found = {}
    for part in subsets(whole):
        smaller = [s for s in subsets(part) if s]
        value = sum((-1.0) ** (len(part) - len(s)) * only(s) for s in smaller)
        found[" & ".join(part)] = value
    return found


def best(
    correlations: Sequence[np.ndarray], draws: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Which model predicts each target best, and in what share of draws it does.

    Parameters
    ----------
    correlations : sequence of array (target,)
        One per model.
    draws : sequence of array (draw, target)

    Returns
    -------
    winner : array of int (target,)
    share : array (target,)
    """
    winner = np.argmax(np.stack(correlations), 0)
    wins = np.argmax(np.stack(draws), 0) == winner
    return winner, wins.mean(0)


def blocks(n_targets: int) -> list[slice]:
    """Slices of targets."""
    return [slice(i, min(i + BLOCK, n_targets)) for i in range(0, n_targets, BLOCK)]
