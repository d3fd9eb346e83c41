"""Noise ceilings: how much of a target's mean responses any model could explain, told from repeats.

Comes in: trials of repeated images. Goes out: per target the share of the variance of mean responses that
images explain, by one of two definitions:

ncsnr       ncsnr**2 / (ncsnr**2 + mean(1 / repeats)); Allen et al. 2022, doi:10.1038/s41593-021-00962-x
split_half  correlation between means of random halves of the repeats, stepped up to all of them by
            Spearman and Brown's formula; Hsu, Borst & Theunissen 2004, doi:10.1088/0954-898X_15_2_002

R² is divided by this share, Pearson's correlation by its square root.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.signals.fmri.voxels import Components, repeated, snr

DEFINITIONS = ("ncsnr", "split_half")
N_HALVES = 30


def streamed(
    read: Callable[[np.ndarray], np.ndarray], image: np.ndarray, rows: np.ndarray, step: int = 512
) -> Components | None:
    """Sums over repeats of images, read some images at a time.

    Parameters
    ----------
    read : callable
        Trials -> array (trial, target).
    image : array of str (trial,)
        Of all trials.
    rows : array of int
        Trials to look at; images shown once are left out.
    step : int
        Trials at a time, at least.

    Returns
    -------
    Components or None
        None where fewer than two images were repeated.
    """
    rows = rows[repeated(image[rows])] if len(rows) else rows
    rows = rows[np.argsort(image[rows], kind="stable")]
    _, first, n = np.unique(image[rows], return_index=True, return_counts=True)
    if len(n) < 2:
        return None
    within, variance, total, square = 0.0, 0.0, 0.0, 0.0
    start = 0
    while start < len(n):
        stop = max(start + 1, int(np.searchsorted(first, first[start] + step)))
        block = read(rows[first[start] : first[stop - 1] + n[stop - 1]]).astype(np.float64)
        begin = first[start:stop] - first[start]
        count = n[start:stop, None]
        mean = np.add.reduceat(block, begin) / count
        inside = np.add.reduceat((block - np.repeat(mean, n[start:stop], 0)) ** 2, begin)
        within = within + inside.sum(0)
        variance = variance + (inside / (count - 1)).sum(0)
        total = total + (count * mean).sum(0)
        square = square + (count * mean**2).sum(0)
        start = stop
    between = np.maximum(square - total**2 / n.sum(), 0)
    return Components(n, between, within, variance)


def ncsnr_ceiling(found: Components, repeats: np.ndarray) -> np.ndarray:
    """Share of the variance of means over `repeats` (image,) trials that images explain (target,)."""
    square = snr(found).astype(np.float64) ** 2
    return square / (square + np.mean(1 / np.asarray(repeats, float)))


def silent_ceiling(n: np.ndarray, repeats: np.ndarray, level: float = 0.05) -> float:
    """The `ncsnr_ceiling` that a share `level` of targets exceeds although images explain nothing.

    Parameters
    ----------
    n : array of int (image,)
        Repeats of the images that ceilings are told from.
    repeats : array (image,)
        Of the means whose ceilings they are.
    level : float

    Notes
    -----
    Noise is taken to be normal and alike for all images: sums of squares are then drawn from chi-squared
    distributions, 20,000 times, and go through the formula of `neurovis.signals.fmri.voxels.snr`.
    """
    rng, n_draws = np.random.default_rng(0), 20000
    within, variance = np.zeros(n_draws), np.zeros(n_draws)
    for size, count in zip(*np.unique(n, return_counts=True)):
        drawn = rng.chisquare(count * (size - 1), n_draws)
        within, variance = within + drawn, variance + drawn / (size - 1)
    between = rng.chisquare(len(n) - 1, n_draws)
    total = (between + within) / (np.sum(n) - 1)
    square = max(float(np.quantile(total / (variance / len(n)) - 1, 1 - level)), 0.0)
    return float(square / (square + np.mean(1 / np.asarray(repeats, float))))


def split_half_ceiling(
    trials: np.ndarray, image: np.ndarray, n_halves: int = N_HALVES, seed: int = 0
) -> np.ndarray:
    """Reliability of mean responses by random halves of the repeats.

    Parameters
    ----------
    trials : array (trial, target)
    image : array of str (trial,)
        Images shown once are left out.
    n_halves : int
        Random divisions, whose correlations are averaged.
    seed : int

    Returns
    -------
    array (target,)
        0 or below where halves do not agree; 0 where a target does not vary.

    Raises
    ------
    NeurovisError
        If fewer than three images were shown twice.
    """
    keep = repeated(image)
    trials, image = trials[keep], image[keep]
    _, item, n = np.unique(image, return_inverse=True, return_counts=True)
    if len(n) < 3:
        raise NeurovisError(
            f"split_half: expected three images shown twice or more, found {len(n)}; use ncsnr."
        )
    rng = np.random.default_rng(seed)
    total = np.zeros(trials.shape[1])
    for _ in range(n_halves):
        order = np.lexsort((rng.random(len(item)), item))
        place = np.arange(len(item)) - np.repeat(np.cumsum(n) - n, n)
        size = n // 2
        means = []
        for low in (0, 1):
            inside = (place >= low * np.repeat(size, n)) & (place < (1 + low) * np.repeat(size, n))
            begin = np.cumsum(size) - size
            means.append(np.add.reduceat(trials[order[inside]], begin, 0) / size[:, None])
        total += correlate_columns(*means)
    half = total / n_halves
    # from halves of n // 2 repeats to all n of them
    times = 1 / np.mean(1 / n) * np.mean(1 / (n // 2))
    below = 1 + (times - 1) * half
    return np.divide(times * half, below, out=np.zeros_like(half), where=np.abs(below) > 1e-12)


def correlate_columns(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each column: array (target,); 0 where a side is constant."""
    x = x - x.mean(0, dtype=np.float64)
    y = y - y.mean(0, dtype=np.float64)
    size = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return np.divide((x * y).sum(0), size, out=np.zeros(x.shape[1]), where=size > 1e-300)
