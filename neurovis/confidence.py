"""How sure a tower is of each test row, calibrated on validation data alone.

Comes in: what the tower says of validation and test rows, with its spreads where it was trained to
give them (`neurovis.losses.hedged`; else all are 1). Goes out: one temperature per test row, kept in
``prediction.h5`` as ``spread/<target>``: softmax(cosine / spread) over a gallery is the probability of
each image. Single trials and means have factors of their own; test rows of more repeats than any
validation row take that of the most.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurovis.metrics.coverage import fit_temperature
from neurovis.metrics.retrieval import cosine_blocks
from neurovis.records import Prediction

FEWEST = 10
"""Validation images below which nothing is calibrated."""
MOST_ROWS = 4096


def calibrated(
    held: Prediction,
    gallery: Callable[[str, np.ndarray], np.ndarray],
    spread: dict[str, np.ndarray],
    n_averaged: np.ndarray,
) -> dict[str, np.ndarray] | None:
    """Temperature of each test row, per target and for the sum over targets.

    Parameters
    ----------
    held : Prediction
        What the tower says of validation rows, single trials and means; its spreads are not yet
        calibrated.
    gallery : callable
        Target and images -> their vectors, as they are compared with predictions.
    spread : dict of array (row,)
        What the tower says of the test rows.
    n_averaged : array of int (row,)
        Trials averaged in each test row.

    Returns
    -------
    dict of array (row,) or None
        None where validation has too few images.
    """
    vector, said = held.vector, held.spread
    images = np.unique(held.image)
    if len(images) < FEWEST:
        return None
    shown = np.searchsorted(images, held.image)
    pairs = {k: [(v, gallery(k, images))] for k, v in vector.items()}
    ways = {k: (k,) for k in vector}
    if len(vector) > 1:
        pairs["all"] = [pair for some in pairs.values() for pair in some]
        ways["all"] = tuple(vector)
    single = held.n_averaged == 1
    sets = [rows for rows in (single, ~single) if rows.any()]
    least = [int(held.n_averaged[rows].min()) for rows in sets]
    # each test row's set: the means where it has as many repeats, else single trials
    use = np.where(n_averaged >= least[-1], len(sets) - 1, 0)
    out = {}
    for name, targets in ways.items():
        own, theirs = _product(said, targets), _product(spread, targets)
        factors = []
        for rows in sets:
            some = np.flatnonzero(rows)
            some = some[np.linspace(0, len(some) - 1, min(len(some), MOST_ROWS)).astype(int)]
            blocks = cosine_blocks([(v[some], g) for v, g in pairs[name]])
            similarity = np.concatenate([block for _, block in blocks])
            factors.append(fit_temperature(similarity, shown[some], own[some]))
        out[name] = (theirs * np.array(factors)[use]).astype(np.float32)
    return out


def _product(spread: dict[str, np.ndarray], targets: tuple[str, ...]) -> np.ndarray:
    """Geometric mean of spreads over targets: array (row,)."""
    return np.exp(np.mean([np.log(spread[name]) for name in targets], axis=0))
