"""Similarities corrected for how a decoder speaks: hubs, shifted means, one answer per picture.

Comes in: predictions and a gallery, or their similarities. Goes out: similarities to rank by. The first
half is inductive: it learns from validation predictions and looks at one test row at a time. The second
half is transductive: it looks at all rows of a set at once, which a decoder in use cannot, so its
scores stand apart from all others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurovis.errors import NeurovisError

NEIGHBOURS = 10
"""Of CSLS; the paper's value."""


def nearest_mean(similarity: np.ndarray, k: int = NEIGHBOURS, axis: int = 1) -> np.ndarray:
    """Mean of the k largest similarities along an axis (of all, where there are fewer)."""
    n = similarity.shape[axis]
    k = min(k, n)
    part = np.partition(similarity, n - k, axis=axis)
    return np.take(part, range(n - k, n), axis=axis).mean(axis=axis, dtype=np.float64)


# ---- inductive: learned from validation predictions, one test row at a time --------------------


def mean_bias(validation: np.ndarray) -> np.ndarray:
    """How similar each gallery item is to predictions in general: array (item,).

    Subtracted from every test row's similarities, so that an item that all predictions resemble
    gains nothing by it.

    Parameters
    ----------
    validation : array (row, item)
        Similarities of validation predictions to the test gallery.
    """
    return validation.mean(axis=0, dtype=np.float64)


def csls_bias(validation: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Half the mean similarity of each gallery item to its k nearest validation predictions.

    ``similarity - csls_bias`` orders a row as cross-domain similarity local scaling does, with
    validation predictions in place of the test ones: ``2 s - r(row) - r(item)``, of which the row's
    own term moves all its items alike.

    References
    ----------
    Conneau et al. 2018, arXiv 1710.04087, equation 5
    """
    return nearest_mean(validation, k, axis=0) / 2


BIASES = {"mean": mean_bias, "csls": csls_bias}


def log_probability(similarity: np.ndarray, temperature: float) -> np.ndarray:
    """Logarithm of the softmax over gallery items: array (row, item) float64."""
    scaled = np.asarray(similarity, np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def fit_temperature(similarity: np.ndarray, shown: np.ndarray) -> float:
    """Temperature at which the softmax gives the shown items the largest likelihood.

    Parameters
    ----------
    similarity : array (row, item)
        Of validation predictions to the validation gallery.
    shown : array of int (row,)

    Returns
    -------
    float
        Between 1e-4 and 1e4; the upper end says that similarities tell nothing.

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        said = log_probability(similarity, np.exp(log_temperature))
        return -np.take_along_axis(said, shown[:, None], axis=1).mean()

    limit = np.log(1e4)
    # the loss has one minimum in 1/temperature, so in its logarithm, too
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def calibration_error(confidence: np.ndarray, correct: np.ndarray, n_bins: int = 15) -> float:
    """Expected calibration error: mean gap between how sure and how right, over bins of confidence.

    Parameters
    ----------
    confidence : array (row,)
        Probability of the first choice.
    correct : array (row,)
        Credit of the first choice, between 0 and 1.
    n_bins : int
        Of equal width.

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599, equation 3
    """
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gap = np.bincount(bins, np.asarray(correct, np.float64) - confidence, minlength=n_bins)
    return float(np.abs(gap).sum() / len(confidence))


# ---- transductive: all rows of a set at once ---------------------------------------------------


def row_sets(
    image: np.ndarray, subject: np.ndarray, n_averaged: np.ndarray
) -> tuple[list[np.ndarray], bool]:
    """Rows that a transductive method may see together.

    Within a subject and a number of averaged trials, the first rows of all images are a set, the
    second rows the next. Where images have unlike numbers of rows, all rows of that subject and
    number are one set.

    Returns
    -------
    list of array of int (row,)
    bool
        Whether every set has each of its images once.
    """
    sets, once = [], True
    keys = np.stack([subject, n_averaged.astype(str)], axis=1)
    _, code = np.unique(keys, axis=0, return_inverse=True)
    for number in range(code.max() + 1):
        rows = np.flatnonzero(code.ravel() == number)
        rows = rows[np.argsort(image[rows], kind="stable")]
        _, counts = np.unique(image[rows], return_counts=True)
        if counts.min() == counts.max():
            sets += list(rows.reshape(len(counts), -1).T)
        else:
            sets, once = [*sets, rows], False
    return sets, once


def csls(similarity: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Cross-domain similarity local scaling: array (row, item).

    Twice the similarity, less the mean over the k nearest items of the row and over the k nearest
    rows of the item: an item near to all rows (a hub) loses what it gains from that.

    References
    ----------
    Conneau et al. 2018, arXiv 1710.04087, equation 5
    """
    similarity = np.asarray(similarity, np.float64)
    rows, items = nearest_mean(similarity, k, 1), nearest_mean(similarity, k, 0)
    return 2 * similarity - rows[:, None] - items


def moments(prediction: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give each dimension of the predictions the gallery's mean and standard deviation.

    Returns
    -------
    prediction : array (row, dim)
    gallery : array (item, dim)
        Unchanged.

    References
    ----------
    Ozcelik and VanRullen 2023, doi:10.1038/s41598-023-42891-8 (z-scored over the test set)
    """
    _several(prediction)
    spread = prediction.std(axis=0)
    spread[spread == 0] = 1
    z = (prediction - prediction.mean(axis=0)) / spread
    return z * gallery.std(axis=0) + gallery.mean(axis=0), gallery


def whiten(prediction: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and whiten predictions and gallery, each by its own mean and covariance.

    Covariances are shrunk (Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4), as there may be
    more dims than rows.

    Returns
    -------
    prediction : array (row, dim)
    gallery : array (item, dim)
    """
    _several(prediction)
    return _whitened(prediction), _whitened(gallery)


def _whitened(vector: np.ndarray) -> np.ndarray:
    from sklearn.covariance import ledoit_wolf

    centred = vector.astype(np.float64) - vector.mean(axis=0, dtype=np.float64)
    if not centred.any():
        raise NeurovisError(
            "whiten: expected vectors that differ from each other, found all alike; leave whiten out."
        )
    value, basis = np.linalg.eigh(ledoit_wolf(centred, assume_centered=True)[0])
    return centred @ (basis / np.sqrt(np.maximum(value, 1e-12 * value[-1]))) @ basis.T


def _several(prediction: np.ndarray) -> None:
    if len(prediction) < 3:
        raise NeurovisError(
            f"transductive: expected a set of 3 test rows or more, found {len(prediction)}; moments of "
            "so few say nothing."
        )


def one_to_one(similarity: np.ndarray, seed: int = 0) -> np.ndarray:
    """Give every row an item of its own so that the sum of similarities is largest.

    Only meaningful where each item was shown once. Items are shuffled first: equal similarities must
    not be matched by the order in which rows and items happen to stand.

    Returns
    -------
    array of int (row,)
    """
    from scipy.optimize import linear_sum_assignment

    if similarity.shape[0] > similarity.shape[1]:
        raise NeurovisError(
            f"one_to_one: expected at most as many rows as the {similarity.shape[1]} gallery items, "
            f"found {similarity.shape[0]}; each item can be given once."
        )
    order = np.random.default_rng(seed).permutation(similarity.shape[1])
    rows, column = linear_sum_assignment(similarity[:, order], maximize=True)
    return order[column[np.argsort(rows)]]


VECTOR = {"moments": moments, "whiten": whiten}
KNOWN: Sequence[str] = (*VECTOR, "csls", "one_to_one")
"""Transductive methods, in the order in which they may be chained."""
