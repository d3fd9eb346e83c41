"""Power laws of scores against amounts of data, and what they would say of more.

Comes in: scores at some amounts, with bootstrap draws. Goes out: a fit with intervals, and a score
expected at more data. It is an extrapolation of a curve through a few points, and says so: no fit is
given where the points are too few, do not rise, or leave the exponent open.

Reference: error falls as a power of the amount of data, down to a floor: Hestness et al. 2017,
arXiv 1712.00409.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurovis.metrics import statistics

FEWEST = 4
"""Points that a fit of three numbers needs."""
MOST_EXPONENT = 4.0
FURTHER = (2.0, 4.0)
"""Times the largest amount."""
FEWEST_DRAWS = 0.8
"""Share of the draws that must have a fit, for intervals."""
OPEN = 3.0
"""Ratio of the exponent's limits above which it is not determined."""


@dataclass(frozen=True)
class Fit:
    """``score = best - drop * (n / n_largest) ** -exponent``.

    Parameters
    ----------
    best : float
        Where the curve goes; at most `ceiling`.
    drop : float
        What the largest amount is short of it.
    exponent : float
    """

    best: float
    drop: float
    exponent: float

    def at(self, ratio: float) -> float:
        """Score at an amount, relative to the largest."""
        return self.best - self.drop * ratio**-self.exponent


def power_law(
    amount: np.ndarray,
    score: np.ndarray,
    error: np.ndarray,
    ceiling: float = 1.0,
    exponents: tuple[float, ...] = (0.2, 0.5, 1.5),
) -> Fit | None:
    """Fit a power law by weighted least squares.

    Parameters
    ----------
    amount : array (point,)
        Different, above 0.
    score : array (point,)
    error : array (point,)
        Standard error of each score.
    ceiling : float
        No score can be higher.
    exponents : tuple of float
        To start from; the best end is taken.

    Returns
    -------
    Fit or None
        None where no fit is found.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    x = np.asarray(amount, np.float64) / np.max(amount)
    y = np.asarray(score, np.float64)
    sigma = np.maximum(error, 1e-4 * max(np.ptp(y), 1e-6) + 1e-9)

    def law(x: np.ndarray, best: float, drop: float, exponent: float) -> np.ndarray:
        return best - drop * x**-exponent

    def slope(x: np.ndarray, best: float, drop: float, exponent: float) -> np.ndarray:
        power = x**-exponent
        return np.column_stack([np.ones_like(x), -power, drop * power * np.log(x)])

    limits = ([float(y.min()), 0.0, 1e-3], [ceiling + 1e-9, 10.0 * ceiling, MOST_EXPONENT])
    found: tuple[float, np.ndarray] | None = None
    for exponent in exponents:
        # given the exponent the rest is linear: a start close to the answer
        design = np.column_stack([np.ones_like(x), -(x**-exponent)]) / sigma[:, None]
        best, drop = np.linalg.lstsq(design, y / sigma, rcond=None)[0]
        start = np.clip(
            [best, drop, exponent], np.add(limits[0], 1e-6), np.subtract(limits[1], 1e-6)
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OptimizeWarning)
                values, _ = curve_fit(
                    law, x, y, start, sigma, bounds=limits, jac=slope, max_nfev=200
                )
        except RuntimeError:  # no convergence from this start
            continue
        cost = float((((law(x, *values) - y) / sigma) ** 2).sum())
        if found is None or cost < found[0]:
            found = cost, values
    return None if found is None else Fit(*map(float, found[1]))


def fitted(
    amount: np.ndarray,
    score: np.ndarray,
    draws: np.ndarray,
    chance: float,
    ceiling: float = 1.0,
    whole: float | None = None,
) -> dict[str, Any]:
    """A fit with intervals, in words and numbers.

    Parameters
    ----------
    amount, score : array (point,)
    draws : array (draw, point)
        Bootstrap draws of all points together: the same images in each.
    chance : float
    ceiling : float
    whole : float, optional
        An amount that there cannot be more of (all sensors of the device).

    Returns
    -------
    dict
        ``said`` always; ``exponent``, ``best`` (value, low, high), ``line`` (at the points), ``further``
        (score expected at more) where there is a fit.
    """
    if len(amount) < FEWEST:
        return {"said": f"No fit: {len(amount)} points, {FEWEST} are needed."}
    error = draws.std(0)
    slope = draws[:, -1] - draws[:, 0]
    if score[-1] <= score[0] or statistics.interval(slope)[0] <= 0:
        return {"said": "No fit: the scores do not rise with the amount by more than chance would."}
    one = power_law(amount, score, error, ceiling)
    near = (one.exponent,) if one else ()
    some = [power_law(amount, draw, error, ceiling, near) for draw in draws]
    known = [fit for fit in some if fit is not None]
    if one is None or len(known) < FEWEST_DRAWS * len(draws):
        return {"said": "No fit: no power law goes through the points."}

    def limits(values: list[float]) -> list[float]:
        return [*statistics.interval(np.array(values))]

    out: dict[str, Any] = {
        "exponent": [one.exponent, *limits([f.exponent for f in known])],
        "best": [one.best, *limits([f.best for f in known])],
        "line": [one.at(a / max(amount)) for a in amount],
        "further": [],
    }
    low, high = out["exponent"][1:]
    if high >= OPEN * max(low, 1e-3):
        out["said"] = (
            "The points leave the exponent open: what more data would bring cannot be said from them."
        )
        return out
    for ratio in FURTHER:
        if whole is not None and ratio * max(amount) > whole:
            continue
        # a score may be no better than perfect, and no draw makes it so
        value = [fit.at(ratio) for fit in known]
        low, high = limits(value)
        out["further"].append(
            {"n": float(ratio * max(amount)), "ratio": ratio, "value": one.at(ratio), "low": low,
             "high": high, "chance": chance}
        )  # fmt: skip
    out["said"] = (
        f"If the curve went on as the power law through these {len(amount)} points does. It is an "
        "extrapolation and no measurement; its interval holds the choice of test images, not that the law "
        "may be another."
    )
    return out
