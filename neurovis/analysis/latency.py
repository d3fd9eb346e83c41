"""Latencies of a curve of scores: significant, half-maximal and peak times, with bootstrap intervals.

Comes in: the two-way credit of every test row in every window, and what permuted labels score. Goes out: a
threshold that holds for all windows at once, and times with intervals. Images are resampled, so that
an interval says how the latency would vary with other images, not with other people.

Fractions of the peak are those of d' squared, not of the score: the former follows the power of what signals
carry, the latter is bent (and saturates), so that its half is reached earlier the better the decoder is.

References: maximum statistic: Nichols & Holmes 2002, doi:10.1002/hbm.1058; fractional peaks instead of
thresholds, which move with the noise: Kiesel et al. 2008, doi:10.1111/j.1469-8986.2007.00618.x; d' of a
choice between two: Green & Swets 1966, Signal Detection Theory and Psychophysics.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.metrics import statistics

HALF = 0.5
MOST = 0.95
FEWEST_FOUND = 0.5
"""An interval is given where at least this share of the draws has the latency."""


@dataclass(frozen=True)
class Latency:
    """One latency.

    Parameters
    ----------
    name : str
        ``onset``, ``offset``: first and last window above the threshold; ``rise``, ``fall``: where
        d' squared reaches half of its largest value, before and after the peak; ``middle``: halfway
        between these; ``peak``; ``most``: where 95 % of that value are reached.
    value, low, high : float or None, s
        95 % interval; None where there is none.
    found : float
        Share of bootstrap draws that have it.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    found: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def threshold(null: np.ndarray, level: float = 0.05) -> float:
    """Score that permuted labels exceed in any window with this probability.

    Parameters
    ----------
    null : array (draw, window)
        The same permutation of labels in each draw's windows.
    level : float

    Returns
    -------
    float
        Of the maximum over windows; the true labels count as one of the permutations.
    """
    null = np.asarray(null, np.float64)
    if null.ndim != 2 or not null.size or not np.isfinite(null).all():
        raise NeurovisError(
            f"threshold: expected finite scores (draw, window), found {null.shape}; permute the labels "
            "at least once."
        )
    most = np.sort(null.max(1))[::-1]
    # p = (1 + number as large) / (1 + draws) must stay at or below the level
    allowed = int(np.floor(level * (len(most) + 1))) - 1
    if allowed < 0:
        raise NeurovisError(
            f"threshold: expected at least {int(np.ceil(1 / level)) - 1} permutations for level {level:g}, "
            f"found {len(most)}; draw more."
        )
    return float(most[allowed])


def corrected(value: np.ndarray, null: np.ndarray) -> np.ndarray:
    """P values (window,) by the maximum over windows of permuted labels (draw, window)."""
    most = np.asarray(null).max(1)
    return (1 + (most[:, None] >= np.asarray(value)[None]).sum(0)) / (1 + len(most))


def power(score: np.ndarray) -> np.ndarray:
    """d' squared of two-way scores: proportional to the power of a response in noise.

    Parameters
    ----------
    score : array
        Share of comparisons won; 1/2 is chance.

    Returns
    -------
    array
        ``2 Phi^-1(score)^2``; 0 at chance and below. Scores above 0.999 count as that.
    """
    from scipy.stats import norm

    return 2 * norm.ppf(np.clip(score, 0.5, 0.999)) ** 2


def times_of(
    curve: np.ndarray, strength: np.ndarray, times: np.ndarray, above: float
) -> dict[str, float | None]:
    """Latencies of one curve.

    Parameters
    ----------
    curve : array (window,)
        Higher is better.
    strength : array (window,)
        Rises with `curve`, 0 where there is nothing: what fractions are of.
    times : array (window,), s
    above : float
        Threshold of `onset` and `offset`.

    Returns
    -------
    dict of float or None, s
        By the names of `Latency`. All are None where no window is above the threshold.
    """
    names = ("onset", "rise", "peak", "middle", "fall", "offset", "most")
    over = np.flatnonzero(curve > above)
    if not len(over):
        return dict.fromkeys(names)
    peak = int(curve.argmax())
    found: dict[str, float | None] = {
        "onset": float(times[over[0]]),
        "offset": float(times[over[-1]]),
        "peak": float(times[peak]),
        "rise": _crossing(strength, times, peak, HALF, -1),
        "fall": _crossing(strength, times, peak, HALF, 1),
        "most": _crossing(strength, times, peak, MOST, -1),
    }
    both = found["rise"] is not None and found["fall"] is not None
    found["middle"] = (found["rise"] + found["fall"]) / 2 if both else None
    return {name: found[name] for name in names}


def _crossing(
    strength: np.ndarray, times: np.ndarray, peak: int, share: float, way: int
) -> float | None:
    """Where a share of the peak is crossed, walking from it; between windows by a straight line."""
    wanted, i = share * strength[peak], peak
    while 0 <= i + way < len(strength):
        here, there = strength[i], strength[i + way]
        if there < wanted:
            part = (here - wanted) / (here - there)
            return float(times[i] + part * (times[i + way] - times[i]))
        i += way
    return None


def latencies(
    credit: np.ndarray,
    item: np.ndarray,
    times: np.ndarray,
    above: float,
    names: tuple[str, ...] = ("onset", "rise", "peak", "middle", "fall", "offset"),
    n_draws: int = statistics.N_DRAWS,
) -> list[Latency]:
    """Latencies of the mean over rows, with intervals.

    Parameters
    ----------
    credit : array (row, window)
        Two-way.
    item : array of int (row,)
        Image of each row, 0 to n_items - 1.
    times : array (window,), s
    above : float
    names : tuple of str
    n_draws : int

    Returns
    -------
    list of Latency
    """
    counts = statistics.resample_counts(int(item.max()) + 1, n_draws)
    draws = statistics.bootstrap_mean(credit, item, counts)
    mean = credit.mean(0)
    whole = times_of(mean, power(mean), times, above)
    drawn = [times_of(*pair, times, above) for pair in zip(draws, power(draws))]
    out = []
    for name in names:
        known = np.array([d[name] for d in drawn if d[name] is not None], float)
        share = len(known) / len(drawn)
        low, high = None, None
        if whole[name] is not None and share >= FEWEST_FOUND:
            low, high = statistics.interval(known)
        out.append(Latency(name, whole[name], low, high, share))
    return out
