"""Voxels: where they are, and how much their responses say.

Comes in: coordinates and regions, or responses to repeated images. Goes out: `Voxels`, and per voxel
the reliability and the noise ceiling. What others do with whole matrices is done from sums over
repeats, so that memory is bounded by one block of voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from neurovis.errors import NeurovisError, UsageError, unknown


@dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels, or surface vertices, of one subject.

    Parameters
    ----------
    name : array of str (voxel,)
        Unique within the subject: ``v`` and the flat (C order) index in the volume, ``lh`` or ``rh``
        and the number of a vertex.
    position : array (voxel, 3), m
        In the image's world coordinates; NaN where unknown.
    roi : dict of array of bool (voxel,)
        Named regions; they may overlap.
    index : array of int (voxel, 3), optional
        Place in the volume.
    shape : tuple of int, optional
        Of the volume.
    affine : array (4, 4), mm, optional
        From `index` to world coordinates.
    space : str
        Name of a space that subjects share; empty for the subject's own, where voxels of two
        subjects are different channels.
    """

    name: np.ndarray
    position: np.ndarray
    roi: dict[str, np.ndarray] = field(default_factory=dict)
    index: np.ndarray | None = None
    shape: tuple[int, ...] | None = None
    affine: np.ndarray | None = None
    space: str = ""

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("name", np.asarray(self.name).astype(str))
        put("position", np.asarray(self.position, np.float32))
        n = len(self.name)
        if n == 0 or len(set(self.name.tolist())) != n:
            raise NeurovisError(
                f"Voxels.name: expected at least one voxel and every name once, found {n} names, "
                f"{len(set(self.name.tolist()))} different; check the mask."
            )
        if self.position.shape != (n, 3):
            raise NeurovisError(
                f"Voxels.position: expected (voxel={n}, 3), found {self.position.shape}; give metres, "
                "NaN where unknown."
            )
        put("roi", {str(k): np.asarray(v, bool) for k, v in self.roi.items()})
        for name, member in self.roi.items():
            if member.shape != (n,):
                raise NeurovisError(
                    f"Voxels.roi: region {name!r}: expected (voxel={n},), found {member.shape}; give "
                    "it on the same voxels."
                )
        if self.index is not None:
            put("index", np.asarray(self.index, np.int64))
            if self.index.shape != (n, 3) or self.shape is None:
                raise NeurovisError(
                    f"Voxels.index: expected (voxel={n}, 3) and a shape, found {self.index.shape} and "
                    f"{self.shape}; give both."
                )

    def __len__(self) -> int:
        return len(self.name)

    def take(self, rows: np.ndarray) -> Voxels:
        """The given voxels, in the order given."""
        rows = np.asarray(rows)
        return replace(
            self,
            name=self.name[rows],
            position=self.position[rows],
            roi={name: member[rows] for name, member in self.roi.items()},
            index=None if self.index is None else self.index[rows],
        )

    def select(self, roi: tuple[str, ...]) -> np.ndarray:
        """Rows of the union of regions, less those named with ``-`` in front; all without any.

        Raises
        ------
        UsageError
            If a region is unknown or no voxel is left.
        """
        inside = [name for name in roi if not name.startswith("-")]
        keep = np.zeros(len(self), bool) if inside else np.ones(len(self), bool)
        for name in roi:
            if name.removeprefix("-") not in self.roi:
                raise UsageError(unknown("roi", name.removeprefix("-"), self.roi))
        for name in inside:
            keep |= self.roi[name]
        for name in roi:
            if name.startswith("-"):
                keep &= ~self.roi[name[1:]]
        if not keep.any():
            raise UsageError(
                f"roi: no voxel is in {', '.join(roi)}; expected at least one: choose other regions."
            )
        return np.flatnonzero(keep)


def reliability(signal: np.ndarray, image: np.ndarray) -> np.ndarray:
    """How alike a voxel's responses to repeats of an image are: one-way intraclass correlation.

    ICC(1,1): the share of the variance of single trials that images explain; 0 is expected where they
    explain nothing (then half of the voxels fall below), 1 where repeats are the same.

    Parameters
    ----------
    signal : array (trial, voxel)
    image : array of str (trial,)
        Images shown once are left out; repeats may differ in number.

    Returns
    -------
    array (voxel,) float32
        0 where a voxel does not vary.

    Raises
    ------
    NeurovisError
        If fewer than two images were shown twice.

    References
    ----------
    Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420
    """
    return intraclass(Repeats(image).components(signal))


def intraclass(found: Components) -> np.ndarray:
    """ICC(1,1) of each voxel, as in `reliability`, array (voxel,) float32."""
    n, between, within = found.n, found.between, found.within
    repeats = (n.sum() - (n**2).sum() / n.sum()) / (len(n) - 1)
    among = between / (len(n) - 1)
    inside = within / (n.sum() - len(n))
    below = among + (repeats - 1) * inside
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, (among - inside) / below, 0.0).astype(np.float32)


def noise_snr(signal: np.ndarray, image: np.ndarray) -> np.ndarray:
    """SD of the signal over SD of the noise of single trials (ncsnr), array (voxel,).

    The noise variance is the variance over repeats, averaged over images; the signal variance is the
    variance over all trials less the noise variance, and not below 0.

    Parameters
    ----------
    signal : array (trial, voxel)
    image : array of str (trial,)
        Images shown once are left out.

    Raises
    ------
    NeurovisError
        If fewer than two images were shown twice.

    References
    ----------
    Allen et al. 2022, doi:10.1038/s41593-021-00962-x (Methods, noise ceiling estimation)
    """
    return snr(Repeats(image).components(signal))


def snr(found: Components) -> np.ndarray:
    """SD of the signal over SD of the noise of each voxel, as in `noise_snr`, array (voxel,) float32."""
    n, between, within = found.n, found.between, found.within
    noise = found.variance / len(n)
    total = (between + within) / (n.sum() - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(np.maximum(total - noise, 0) / noise)
    return np.where(noise > 0, ratio, 0.0).astype(np.float32)


def noise_ceiling(ncsnr: np.ndarray, n: float = 1) -> np.ndarray:
    """Share of the variance of responses averaged over `n` trials that a perfect model explains.

    ``ncsnr**2 / (ncsnr**2 + 1/n)``, from 0 to 1.
    """
    square = np.square(ncsnr, dtype=np.float64)
    return (square / (square + 1 / n)).astype(np.float32)


def repeated(image: np.ndarray) -> np.ndarray:
    """Whether each trial's image has another trial: array of bool (trial,)."""
    _, inverse, count = np.unique(image, return_inverse=True, return_counts=True)
    return count[inverse] > 1


@dataclass(frozen=True, eq=False)
class Components:
    """Sums over repeated images.

    Parameters
    ----------
    n : array of int (image,)
        Repeats of each.
    between, within : array (voxel,)
        Sums of squares between images, and of repeats about their image's mean.
    variance : array (voxel,)
        Sum over images of the variance of their repeats.
    """

    n: np.ndarray
    between: np.ndarray
    within: np.ndarray
    variance: np.ndarray


class Repeats:
    """Which trials show one image; found once, used for every block of voxels.

    Parameters
    ----------
    image : array of str (trial,)
        Images shown once are left out.
    rows : array of int, optional
        Trials to look at; all by default.

    Raises
    ------
    NeurovisError
        If fewer than two images were shown twice.
    """

    def __init__(self, image: np.ndarray, rows: np.ndarray | None = None):
        image = np.asarray(image)
        rows = np.arange(len(image)) if rows is None else np.asarray(rows)
        chosen = rows[repeated(image[rows])] if len(rows) else rows
        order = chosen[np.argsort(image[chosen], kind="stable")]
        _, first, n = np.unique(image[order], return_index=True, return_counts=True)
        if len(n) < 2:
            raise NeurovisError(
                f"reliability: {len(n)} images were shown twice or more, expected at least two; select "
                "voxels by roi, or use more runs."
            )
        self.n = n
        # images of as many repeats together: trials (image, repeat)
        self.groups = [order[first[n == c][:, None] + np.arange(c)] for c in np.unique(n)]

    def components(self, signal: np.ndarray) -> Components:
        """Sums of squares of a block, array (trial, voxel)."""
        total = sum(signal[rows.ravel()].sum(axis=0, dtype=np.float64) for rows in self.groups)
        mean = (total / self.n.sum()).astype(signal.dtype)
        between, within, variance = (np.zeros(signal.shape[1]) for _ in range(3))
        for rows in self.groups:
            count = rows.shape[1]
            parts = [signal[rows[:, k]] - mean for k in range(count)]
            centre = sum(parts[1:], start=parts[0].copy()) / signal.dtype.type(count)
            inside = sum(((part - centre) ** 2).sum(axis=0, dtype=np.float64) for part in parts)
            between += count * (centre**2).sum(axis=0, dtype=np.float64)
            within += inside
            variance += inside / (count - 1)
        return Components(self.n, between, within, variance)
