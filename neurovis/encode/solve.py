"""Banded ridge regression for many targets, in blocks: one decomposition serves all targets and penalties.

Comes in: features in bands, responses, rows to learn from and rows to choose by. Goes out: weights, with
shares and penalty of each target. What is minimised is |y - sum_k sqrt(share_k) X_k b_k|^2 + penalty |b|^2,
as in himalaya's random search; equal candidates and folds give its choice and its weights. Products of
features are summed in float64, the search runs in float32, the weights that are kept in float64.

References: Nunez-Elizalde, Huth & Gallant 2019, doi:10.1016/j.neuroimage.2019.04.012;
Dupré la Tour et al. 2022, doi:10.1016/j.neuroimage.2022.119728 (random search over the simplex).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.progress import progress

BLOCK = 2048
"""Targets at a time."""
WORK = 2**25
"""Numbers that predictions of held-out rows may take at a time."""
NODES, WIDTH = 6, 0.7
"""Points of interpolation, and how wide a range of log eigenvalues they serve: errors stay below 1e-7."""
Fold = tuple[np.ndarray, np.ndarray]
"""Rows to learn from, rows to choose by."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What was found for every target.

    Parameters
    ----------
    coef : array (feature, target) float32
    intercept : array (target,) float32
    share : array (target, band)
    penalty : array (target,)
    error : array (target,)
        Mean squared error in the rows to choose by, mean over folds.
    variance : array (target,)
        The same of the mean of the rows to learn from: what features that say nothing get.
    """

    coef: np.ndarray
    intercept: np.ndarray
    share: np.ndarray
    penalty: np.ndarray
    error: np.ndarray
    variance: np.ndarray


def learn(
    bands: Sequence[np.ndarray], y: np.ndarray, found: Solution, device: Any = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (feature, target) and intercepts (target,) from other rows, shares and penalties kept.

    Parameters
    ----------
    bands : sequence of array (row, feature) float32
    y : array (row, target) float32
    found : Solution
    device : torch.device or str
    """
    import torch

    band = torch.from_numpy(np.repeat(np.arange(len(bands)), [one.shape[1] for one in bands]))
    x = torch.cat([torch.from_numpy(np.ascontiguousarray(one)) for one in bands], 1).to(device)
    shares, share = np.unique(found.share, axis=0, return_inverse=True)
    penalties, penalty = np.unique(found.penalty, return_inverse=True)
    candidates = torch.from_numpy(shares).to(device)
    chosen = np.stack([share.ravel(), penalty.ravel()])
    coef, middle = _learn(x, y, band.to(device), candidates, penalties, chosen, device)
    mean = x.double().mean(0).cpu().numpy()
    return coef, (middle - mean @ coef).astype(np.float32)


def simplex(n_bands: int, n_draws: int, concentration: float, seed: int) -> np.ndarray:
    """Shares to try: the centre, the corners, and points drawn from a Dirichlet distribution.

    Returns
    -------
    array (candidate, band)
        Rows sum to 1.
    """
    if n_bands == 1:
        return np.ones((1, 1))
    draws = np.random.default_rng(seed).dirichlet([concentration] * n_bands, n_draws)
    return np.concatenate([np.full((1, n_bands), 1 / n_bands), np.eye(n_bands), draws])


class _Side:
    """Rows to learn from, centred, and the spectra of their scaled products."""

    def __init__(self, x: Any, band: Any, tall: bool):
        import torch

        self.mean = x.mean(0, dtype=torch.float64)
        self.band, self.tall = band, tall
        self.x = x - self.mean.to(x.dtype)
        if tall:
            wide = self.x.double()
            self.gram = wide.T @ wide
        else:
            kernels = [self.x[:, band == k].double() for k in range(int(band.max()) + 1)]
            self.kernels = [one @ one.T for one in kernels]

    def spectrum(self, share: Any) -> tuple[Any, Any, Any]:
        """Eigenvalues (component,), and matrices that turn responses and features on the components.

        With y centred, ``left @ y / (value + penalty)`` are weights of the components, and features
        (row, feature) times ``right`` (feature, component) give the components of any row.
        """
        import torch

        matrix, keep, root = self.matrix(share)
        value, vector = torch.linalg.eigh(matrix)
        value = value.clamp(min=0)
        if self.tall:
            right = root[:, None] * vector
            return value, right.T, (keep, right)
        right = (self.x[:, keep].double() * root**2).T @ vector
        return value, vector.T, (keep, right)

    def product(self, y: Any) -> Any:
        """What `left` of `spectrum` is applied to: array (feature or row, target)."""
        return self.x.T @ y if self.tall else y

    def matrix(self, share: Any) -> tuple[Any, Any, Any]:
        """What is inverted, penalty aside, the features it is about, and the root of their shares."""
        import torch

        keep = torch.nonzero(share[self.band] > 0).flatten()
        root = share[self.band][keep].sqrt()
        if self.tall:
            return self.gram[keep][:, keep] * root[:, None] * root, keep, root
        return sum(s * one for s, one in zip(share, self.kernels) if s > 0), keep, root


def interpolation(value: Any, penalties: Any) -> tuple[list[tuple[slice, Any]], Any]:
    """Few weightings of components from which those of all penalties are mixed.

    ``1 / (value + penalty)``, of components (rows) and penalties (columns), is nearly ``weight @ mix``, where
    a weighting belongs to neighbouring components alone. What a penalty leaves of a component,
    ``value / (value + penalty)``, is a smooth function of the logarithm of `value`: interpolated at a
    few points it is right to 1e-7.

    Parameters
    ----------
    value : tensor (component,) float64
        Rising; components of no variance are left out.
    penalties : tensor (penalty,) float64

    Returns
    -------
    parts : list of (slice, tensor (component of the slice, weighting) float32)
    mix : tensor (weighting, penalty) float32

    References
    ----------
    Berrut & Trefethen 2004, doi:10.1137/S0036144502417715 (Lagrange's formula at Chebyshev points)
    """
    import torch

    first = int((value <= 1e-12 * value[-1]).sum())
    if len(penalties) <= NODES:
        whole = (1 / (value[first:, None] + penalties)).float()
        return [(slice(first, len(value)), whole)], torch.eye(len(penalties)).to(whole)
    place = value[first:].log().cpu()
    steps = torch.cos(torch.pi * (torch.arange(NODES, dtype=place.dtype) + 0.5) / NODES)
    parts, nodes, start = [], [], 0
    while start < len(place):
        stop = int(torch.searchsorted(place, place[start] + WIDTH, right=True))
        inside = place[start:stop]
        if stop - start <= NODES:
            weight, at = torch.eye(stop - start, dtype=place.dtype), inside
        else:
            middle, half = (
                (inside[0] + inside[-1]) / 2,
                (inside[-1] - inside[0]).clamp(min=1e-9) / 2,
            )
            at = middle + half * steps
            away = ((inside - middle) / half)[:, None] - steps
            apart = steps[:, None] - steps
            others = [[m for m in range(NODES) if m != k] for k in range(NODES)]
            weight = torch.stack(
                [(away[:, o] / apart[k, o]).prod(1) for k, o in enumerate(others)], 1
            )
        columns = slice(first + start, first + stop)
        parts.append((columns, (weight.to(value) / value[columns, None]).float()))
        nodes.append(at.exp().to(value))
        start = stop
    at = torch.cat(nodes)[:, None] if nodes else value[:0, None]
    return parts, (at / (at + penalties)).float()


def _errors(scores: Any, along: Any, truth: Any, parts: Any, mix: Any) -> Any:
    """Mean squared error of held-out rows under each penalty: tensor (penalty, target)."""
    import torch

    n_rows, n_targets = truth.shape
    # the response stands beside the predictions, so that mixing gives what is left of it
    minus = torch.cat([-mix, torch.ones(1, mix.shape[1]).to(mix)]).T.contiguous()
    step = max(64, WORK // (n_rows * sum(minus.shape)))
    found = torch.empty(mix.shape[1], n_targets).to(truth)
    for start in range(0, n_targets, step):
        some = slice(start, min(start + step, n_targets))
        said = torch.empty(len(mix) + 1, n_rows, some.stop - start).to(truth)
        number = 0
        for columns, weight in parts:
            rows, mine = scores[:, columns], along[columns, some]
            for one in weight.T:
                torch.mm(rows, one[:, None] * mine, out=said[number])
                number += 1
        said[number] = truth[:, some]
        left = (minus @ said.flatten(1)).unflatten(1, said.shape[1:])
        found[:, some] = left.square_().mean(1)
    return found


def solve(
    bands: Sequence[np.ndarray],
    y: np.ndarray,
    folds: Sequence[Fold],
    shares: np.ndarray,
    penalties: np.ndarray,
    device: Any = "cpu",
    quiet: bool = True,
) -> Solution:
    """Choose shares and penalty of every target by the folds, then learn its weights from all rows.

    Parameters
    ----------
    bands : sequence of array (row, feature) float32
        Comparable bands: see `neurovis.encode.features.Family.scaled`.
    y : array (row, target) float32
    folds : sequence of Fold
    shares : array (candidate, band)
    penalties : array (penalty,)
        Above 0.
    device : torch.device or str
    quiet : bool

    Returns
    -------
    Solution

    Raises
    ------
    NeurovisError
        If rows disagree or a fold has fewer than two rows to learn from or none to choose by.

    Notes
    -----
    Memory beside the arguments: features four times, their products in float64, and products of features
    and responses (feature, target) in float64. Where features outnumber rows, kernels of rows take
    the place of products of features.
    """
    import torch

    _check(bands, y, folds, penalties)
    band = torch.from_numpy(np.repeat(np.arange(len(bands)), [one.shape[1] for one in bands]))
    band = band.to(device)
    x = torch.cat([torch.from_numpy(np.ascontiguousarray(one)) for one in bands], 1).to(device)
    n_features, n_targets = x.shape[1], y.shape[1]
    candidates = torch.from_numpy(np.asarray(shares, np.float64)).to(device)
    best = np.full(n_targets, np.inf)
    chosen = np.zeros((2, n_targets), int)
    total = np.zeros((len(shares), len(penalties), n_targets), np.float32)
    blocks = [slice(i, min(i + BLOCK, n_targets)) for i in range(0, n_targets, BLOCK)]
    variance = np.zeros(n_targets)
    bar = iter(progress(range(len(folds) * len(shares)), "banded ridge", quiet=quiet))
    for train, held in folds:
        side = _Side(x[torch.from_numpy(train).to(device)], band, n_features <= len(train))
        inside = x[torch.from_numpy(held).to(device)] - side.mean.float()
        middle = y[train].mean(0, dtype=np.float64).astype(np.float32)
        variance += ((y[held] - middle) ** 2).mean(0, dtype=np.float64) / len(folds)
        products, truths = [], []
        for block in blocks:
            product = side.product(_tensor(y[train, block] - middle[block], device))
            products.append(product)
            truths.append(_tensor(y[held, block] - middle[block], device))
        for number, share in enumerate(candidates):
            next(bar)
            value, left, (keep, right) = side.spectrum(share)
            scores = (inside[:, keep] @ right.float()).contiguous()
            parts, mix = interpolation(value, torch.as_tensor(penalties, device=value.device))
            left, rows = left.float(), keep if side.tall else slice(None)
            for block, product, truth in zip(blocks, products, truths):
                error = _errors(scores, left @ product[rows], truth, parts, mix)
                total[number, :, block] += (error / len(folds)).cpu().numpy()
        del side, products, truths
    list(bar)
    for number in range(len(shares)):
        found = total[number].argmin(0)
        error = np.take_along_axis(total[number], found[None], 0)[0]
        better = error < best
        best = np.where(better, error, best)
        chosen[:, better] = np.stack([np.full(n_targets, number), found])[:, better]
    del total
    coef, middle = _learn(x, y, band, candidates, penalties, chosen, device)
    mean = x.double().mean(0).cpu().numpy()
    return Solution(
        coef=coef,
        intercept=(middle - mean @ coef).astype(np.float32),
        share=np.asarray(shares)[chosen[0]],
        penalty=np.asarray(penalties)[chosen[1]],
        error=best,
        variance=variance,
    )


def _learn(
    x: Any, y: Any, band: Any, candidates: Any, penalties: Any, chosen: Any, device: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (feature, target) from all rows, and the mean of responses (target,)."""
    import torch

    tall = x.shape[1] <= len(x)
    side = _Side(x, band, tall)
    middle = y.mean(0, dtype=np.float64)
    coef = np.zeros((x.shape[1], y.shape[1]), np.float32)
    side.x = side.x.double()
    products = []
    for start in range(0, y.shape[1], BLOCK):
        some = slice(start, start + BLOCK)
        response = _tensor(y[:, some] - middle[some].astype(y.dtype), device).double()
        products.append(side.product(response))
    product = torch.cat(products, 1)
    del products
    for number in np.unique(chosen[0]):
        matrix, keep, root = side.matrix(candidates[number])
        rows = keep.cpu().numpy()
        for place in np.unique(chosen[1, chosen[0] == number]):
            some = np.flatnonzero((chosen[0] == number) & (chosen[1] == place))
            mine = product[:, torch.from_numpy(some).to(device)]
            if tall:
                weight = root[:, None] * _inverse(
                    matrix, penalties[place], root[:, None] * mine[keep]
                )
            else:
                dual = _inverse(matrix, penalties[place], mine)
                weight = root[:, None] ** 2 * (side.x[:, keep].T @ dual)
            coef[np.ix_(rows, some)] = weight.float().cpu().numpy()
    return coef, middle


def _inverse(matrix: Any, penalty: float, right: Any) -> Any:
    """``(matrix + penalty I)^-1 right``."""
    import torch

    penalised = matrix.clone()
    penalised.diagonal().add_(float(penalty))
    root, failed = torch.linalg.cholesky_ex(penalised)
    if not failed:
        return torch.cholesky_solve(right, root)
    # a penalty below what rounding makes of eigenvalues of 0
    value, vector = torch.linalg.eigh(matrix)
    return vector @ ((vector.T @ right) / (value.clamp(min=0) + float(penalty))[:, None])


def _tensor(values: np.ndarray, device: Any) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)


def _check(bands: Any, y: Any, folds: Any, penalties: Any) -> None:
    lengths = {len(one) for one in bands} | {len(y)}
    if len(lengths) != 1 or np.min(penalties) <= 0:
        raise NeurovisError(
            f"banded ridge: expected as many rows in every band as responses and penalties above 0, found "
            f"{sorted(lengths)} rows and a smallest penalty of {np.min(penalties):g}; check the families."
        )
    for train, held in folds:
        if len(train) < 2 or not len(held):
            raise NeurovisError(
                f"banded ridge: expected two rows or more to learn from and one to choose by, found "
                f"{len(train)} and {len(held)}; check the split's validation side, or choose by folds."
            )


def folds_of(group: np.ndarray, n_folds: int, seed: int) -> list[Fold]:
    """Folds that keep groups whole.

    Parameters
    ----------
    group : array (row,)
        Label of each row: its concept.
    n_folds : int
    seed : int
        Of the order of groups.

    Returns
    -------
    list of Fold
    """
    names, place = np.unique(group, return_inverse=True)
    if len(names) < n_folds:
        raise NeurovisError(
            f"folds: expected at least {n_folds} concepts in training, found {len(names)}; ask for "
            "fewer folds."
        )
    part = np.random.default_rng(seed).permutation(len(names))[place] % n_folds
    rows = np.arange(len(group))
    return [(rows[part != k], rows[part == k]) for k in range(n_folds)]
