"""Receptive fields in closed form: the Gaussian window through which maps explain each target best.

Comes in: maps of images, and responses to them. Goes out: per target a window and a weight
per channel. Every window of a grid is tried with ridge regression on the channels seen through it, as Bayesian
regression with as many priors as penalties: what each makes of the responses weighs windows. The heaviest is
used; where a window lies, and how large it is, is the mean over all of them, which noise does not throw about.

References: St-Yves & Naselaris 2018, doi:10.1016/j.neuroimage.2017.06.035 (feature-weighted receptive fields);
MacKay 1992, doi:10.1162/neco.1992.4.3.415 (evidence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurovis.encode.features import Source
from neurovis.errors import UsageError
from neurovis.progress import progress

PENALTIES = np.logspace(-2, 3, 6)
"""Relative to the mean eigenvalue of the channels' scatter."""
CHUNK = 512
"""Images at a time."""


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads maps with comparable channels: centred, of unit variance, as principal components if asked.

    Parameters
    ----------
    source : Source
    mean : array (channel,)
    basis : array (kept, channel)
    """

    source: Source
    mean: np.ndarray
    basis: np.ndarray

    @classmethod
    def of(cls, source: Source, images: Sequence[str], channels: int | None) -> Reader:
        """Learn means and scales over images and places of training images."""
        total, square, count = 0.0, 0.0, 0
        for start in range(0, len(images), CHUNK):
            maps = source.maps(images[start : start + CHUNK])
            flat = np.moveaxis(maps, 1, -1).reshape(-1, maps.shape[1]).astype(np.float64)
            total, count = total + flat.sum(0), count + len(flat)
            square = square + flat.T @ flat
        mean = total / count
        covariance = square / count - np.outer(mean, mean)
        n = len(mean)
        if channels is None or channels >= n:
            spread = np.sqrt(np.diag(covariance).clip(0))
            return cls(source, mean, np.diag(np.where(spread > 1e-8, 1 / spread.clip(1e-8), 0)))
        value, axes = np.linalg.eigh(covariance)
        axes, value = axes[:, ::-1][:, :channels], value[::-1][:channels]
        # components keep their relative sizes: small ones are not blown up
        return cls(source, mean, axes.T / np.sqrt(value.mean().clip(1e-16)))

    @property
    def n_channels(self) -> int:
        """Channels that come out."""
        return len(self.basis)

    def __call__(self, images: Sequence[str]) -> np.ndarray:
        """Maps of images: array (image, channel, y, x) float32."""
        maps = self.source.maps(images)
        n, side = len(maps), self.source.side
        flat = maps.reshape(n, maps.shape[1], -1) - self.mean[:, None].astype(np.float32)
        out = self.basis.astype(np.float32) @ flat
        return out.reshape(n, -1, side, side)


def places(side: int) -> np.ndarray:
    """Centres of map places, row by row: array (place, xy), -1 to 1, x to the right and y up."""
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    y, x = np.meshgrid(-axis, axis, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], 1)


def windows(centre: np.ndarray, size: np.ndarray, side: int) -> np.ndarray:
    """Gaussian windows that sum to 1: array (window, place).

    Parameters
    ----------
    centre : array (window, xy)
        In half picture widths, y up.
    size : array (window,)
        Standard deviation, in half picture widths.
    side : int
    """
    apart = ((centre[:, None] - places(side)) ** 2).sum(2)
    log = -apart / (2 * np.asarray(size)[:, None] ** 2)
    weight = np.exp(log - log.max(1, keepdims=True))
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Fields:
    """A window and channel weights for each target.

    Parameters
    ----------
    centre : array (target, xy)
        Of the window with the largest evidence, and so is all but what is called mean or spread.
    size : array (target,)
    weight : array (target, channel)
    bias : array (target,)
    error : array (target,)
        Mean squared error that is expected on other images, by generalised cross-validation.
    mean_centre : array (target, xy)
        Mean over all windows, weighed by their evidence.
    mean_size : array (target,)
    spread : array (target,)
        How far centres lie from that mean: root mean square, weighed alike.
    """

    centre: np.ndarray
    size: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    error: np.ndarray
    mean_centre: np.ndarray
    mean_size: np.ndarray
    spread: np.ndarray


def candidates(n_centres: int, sizes: Sequence[float], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres (window, xy) and sizes (window,) to try; windows narrower than a place are left out."""
    axis = np.linspace(-1, 1, n_centres)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    sizes = [s for s in sizes if s >= 1 / side]
    if not sizes:
        raise UsageError(
            f"sizes: expected one of at least {1 / side:.3f} half picture widths (half a place of a map "
            f"of {side} x {side}), found smaller ones alone; add larger ones."
        )
    return np.tile(grid, (len(sizes), 1)), np.repeat(sizes, len(grid))


def search(
    reader: Any,
    image: np.ndarray,
    y: np.ndarray,
    centre: np.ndarray,
    size: np.ndarray,
    quiet: bool = True,
) -> Fields:
    """Weigh windows, and find each target's, from the images given.

    Parameters
    ----------
    reader : callable
        Images -> maps (image, channel, y, x).
    image : array of str (row,)
    y : array (row, target)
    centre, size : array
        From `candidates`.
    quiet : bool

    Returns
    -------
    Fields

    Notes
    -----
    Maps of all images are in memory: keep few channels where maps are large.

    References
    ----------
    Golub, Heath & Wahba 1979, doi:10.1080/00401706.1979.10489751 (the error that is expected)
    """
    import torch

    maps = np.concatenate([reader(image[i : i + CHUNK]) for i in range(0, len(image), CHUNK)])
    n, n_channels, side = maps.shape[:3]
    maps = torch.from_numpy(maps.reshape(n * n_channels, -1))
    truth = torch.from_numpy(np.ascontiguousarray(y, np.float32))
    middle = truth.mean(0)
    truth = truth - middle
    power = truth.square().sum(0)
    best = torch.full((y.shape[1],), -float("inf"))
    error = torch.zeros(y.shape[1])
    # evidence is summed relative to the largest so far: of 1, x, y, x^2 + y^2 and size
    total = torch.zeros(5, y.shape[1], dtype=torch.float64)
    what = np.stack([np.ones(len(size)), *centre.T, (centre**2).sum(1), size])
    chosen = torch.zeros(y.shape[1], dtype=torch.long)
    weight = torch.zeros(y.shape[1], n_channels)
    offset = torch.zeros(y.shape[1])
    masks = torch.from_numpy(windows(centre, size, side))
    step = 32
    for start in progress(range(0, len(masks), step), "receptive fields", quiet=quiet):
        seen = (maps @ masks[start : start + step].T).reshape(n, n_channels, -1)
        for number in range(seen.shape[2]):
            x = seen[:, :, number]
            mean = x.mean(0)
            x = x - mean
            value, axes = torch.linalg.eigh((x.T @ x).double())
            value, axes = value.clamp(min=0).float(), axes.float()
            along = axes.T @ (x.T @ truth)
            for penalty in PENALTIES * (float(value.mean()) or 1.0):
                # all in the eigenvectors' basis: no prediction has to be made
                square = along.square()
                unexplained = power - (1 / (value + penalty)) @ square
                log = -0.5 * (n - 1) * unexplained.clamp(min=1e-30).log()
                log -= 0.5 * torch.log1p(value / penalty).sum()
                better = log > best
                if bool(better.any()):
                    total[:, better] *= (best[better] - log[better]).exp()
                    best[better] = log[better]
                    left = power[better]
                    left = (
                        left - ((value + 2 * penalty) / (value + penalty) ** 2) @ square[:, better]
                    )
                    freedom = n - 1 - float((value / (value + penalty)).sum())
                    error[better] = n * left / freedom**2
                    chosen[better] = start + number
                    found = axes @ (along[:, better] / (value + penalty)[:, None])
                    weight[better], offset[better] = found.T, -(mean @ found)
                total += (log - best).exp() * torch.from_numpy(what[:, start + number, None])
    rows = chosen.numpy()
    bias = (offset + middle).numpy()
    mean = (total[1:] / total[0]).numpy()
    spread = np.sqrt((mean[2] - mean[0] ** 2 - mean[1] ** 2).clip(0))
    return Fields(
        centre[rows], size[rows], weight.numpy(), bias, error.numpy(), mean[:2].T, mean[3], spread
    )
