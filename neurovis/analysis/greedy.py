"""Which few sensors tell most: one after the other, judged by validation images alone.

Comes in: a `Layout`. Goes out: an order of sensors that all subjects share, and the validation score of
each step. Ridge regression of a set is solved from products that are computed once for all sensors; time
is averaged in coarse bins, which makes thousands of trials of sets cheap. Test images play no part; the
validation score of a chosen set is too good by the choice, and is shown as what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurovis.analysis.base import Layout
from neurovis.errors import NeurovisError

PENALTIES = np.logspace(-2, 3, 11)
"""Relative to the mean eigenvalue of a set's row kernel."""


@dataclass
class Products:
    """What one subject's sets are solved from; features are sensors times bins, sensor by sensor.

    Parameters
    ----------
    square : array (feature, feature)
    product : array (feature, dim)
    held : array (row, feature)
        Validation signals.
    wanted : array (row, dim)
        Their vectors.
    count : int
        Training rows.
    """

    square: np.ndarray
    product: np.ndarray
    held: np.ndarray
    wanted: np.ndarray
    count: int

    def score(self, features: np.ndarray, penalty: float) -> float:
        """Mean over dims of the correlation with the validation vectors."""
        square = self.square[np.ix_(features, features)]
        scale = penalty * np.trace(square) / self.count
        weight = np.linalg.solve(
            square + max(scale, 1e-12) * np.eye(len(features)), self.product[features]
        )
        said = self.held[:, features] @ weight
        said = said - said.mean(0)
        size = np.linalg.norm(said, axis=0) * self.size
        both = (said * self.centred).sum(0)
        return float(np.divide(both, size, out=np.zeros_like(both), where=size > 0).mean())

    def __post_init__(self):
        self.centred = self.wanted - self.wanted.mean(0)
        self.size = np.linalg.norm(self.centred, axis=0)


def products(layout: Layout, subject: str, channels: np.ndarray, n_bins: int) -> Products:
    """Sums over the training and validation images of one subject.

    Parameters
    ----------
    layout : Layout
    subject : str
    channels : array of int
        Places among the subject's channels, in the order that all subjects share.
    n_bins : int
        Of time.
    """
    train, held = (
        _binned(layout.signal(subject, side)[:, channels], n_bins)
        for side in ("train", "validation")
    )
    if len(held) < 3:
        raise NeurovisError(
            f"greedy: expected three validation images or more of sub-{subject}, found {len(held)}; "
            "preprocess with a validation part, or leave greedy out of parts."
        )
    target = layout.vector[layout.rows[subject, "train"]].astype(np.float64)
    middle, aim = train.mean(0), target.mean(0)
    x = train - middle
    wanted = layout.vector[layout.rows[subject, "validation"]] - aim
    return Products(x.T @ x, x.T @ (target - aim), held - middle, wanted, len(x))


def _binned(signal: np.ndarray, n_bins: int) -> np.ndarray:
    """Means over bins of time: array (row, sensor * bin)."""
    parts = np.array_split(np.arange(signal.shape[2]), min(n_bins, signal.shape[2]))
    means = np.stack([signal[:, :, part].mean(2) for part in parts], axis=2)
    return means.reshape(len(means), -1).astype(np.float64)


def select(data: list[Products], n_sensors: int, n_chosen: int) -> tuple[list[int], list[float]]:
    """Choose sensors one after the other.

    Parameters
    ----------
    data : list of Products
        One per subject, sensors in one order.
    n_sensors : int
        There are.
    n_chosen : int
        To choose; at most `n_sensors`.

    Returns
    -------
    order : list of int
    score : list of float
        Validation score after each, mean over subjects.
    """
    n_bins = len(data[0].square) // n_sensors
    chosen: list[int] = []
    scores: list[float] = []
    penalty = 1.0
    for _ in range(min(n_chosen, n_sensors)):
        left = [i for i in range(n_sensors) if i not in chosen]
        value = [_mean(data, [*chosen, i], n_bins, penalty) for i in left]
        chosen.append(left[int(np.argmax(value))])
        tried = [_mean(data, chosen, n_bins, p) for p in PENALTIES]
        penalty = float(PENALTIES[int(np.argmax(tried))])
        scores.append(max(tried))
    return chosen, scores


def _mean(data: list[Products], sensors: list[int], n_bins: int, penalty: float) -> float:
    features = (np.array(sensors)[:, None] * n_bins + np.arange(n_bins)).ravel()
    return float(np.mean([one.score(features, penalty) for one in data]))
