"""How probable responses are if a family of features drives them: what compares families of any size.

Comes in: features and responses of the images that a readout learns from. Goes out: log evidence, and of several
families the likeliest. Few test images leave much to chance, and predictions favour families with few features;
the evidence uses all images that were learned from, and allows for the number of features.

Reference: MacKay 1992, doi:10.1162/neco.1992.4.3.415.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurovis.encode.scores import blocks


def log_evidence(
    x: np.ndarray, y: np.ndarray, penalties: np.ndarray, device: Any = "cpu"
) -> np.ndarray:
    """Log marginal likelihood of linear models with Gaussian weights, at the penalty where it is largest.

    Parameters
    ----------
    x : array (row, feature) float32
    y : array (row, target) float32
    penalties : array (penalty,)
        Variance of the noise over that of the weights, as in ridge regression.
    device : torch.device or str

    Returns
    -------
    array (target,)
        Up to a constant that no family changes: mean and log variance of the noise have flat priors and
        are integrated over. 0 where responses do not vary.
    """
    import torch

    n = len(y) - 1  # the mean takes one
    wide = torch.from_numpy(np.ascontiguousarray(x)).to(device).double()
    wide -= wide.mean(0)
    tall = wide.shape[1] <= len(wide)
    value, vector = torch.linalg.eigh(wide.T @ wide if tall else wide @ wide.T)
    there = value > 1e-10 * value[-1].clamp(min=1e-300)
    value, vector = value[there], vector[:, there]
    # directions of the rows in which features vary: array (row, component), orthonormal
    rows = wide @ (vector / value.sqrt()) if tall else vector
    load = value[:, None] / torch.from_numpy(np.asarray(penalties, float)).to(value)
    size, kept = torch.log1p(load).sum(0), 1 / (1 + load)
    out = np.zeros(y.shape[1])
    for some in blocks(y.shape[1]):
        part = torch.from_numpy(np.ascontiguousarray(y[:, some])).to(device).double()
        part -= part.mean(0)
        total = part.square().sum(0)
        along = (rows.T @ part).square()
        left = kept.T @ along + (total - along.sum(0)).clamp(min=0)
        found = -0.5 * (n * left.clamp(min=1e-300).log() + size[:, None])
        found = torch.where(total > 1e-20, found.amax(0), 0.0)
        out[some] = found.cpu().numpy()
    return out


def likeliest(evidence: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which family is the likeliest for each target, and its probability if all are as likely before.

    Parameters
    ----------
    evidence : sequence of array (target,)
        Of each family.

    Returns
    -------
    winner : array of int (target,)
    probability : array (target,)
    """
    from scipy.special import softmax

    stacked = np.stack(evidence).astype(np.float64)
    winner = stacked.argmax(0)
    return winner, np.take_along_axis(softmax(stacked, 0), winner[None], 0)[0]
