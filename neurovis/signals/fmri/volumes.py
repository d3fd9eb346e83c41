"""Images of the brain: time series of the voxels that are wanted, masks and regions.

Comes in: NIfTI (``.nii``, ``.nii.gz``), MGH and GIFTI files. Goes out: float32 arrays (volume, voxel),
read in blocks of volumes so that a compressed file is streamed once and the whole volume is never held,
and `Voxels` from a mask and region images on the same grid. Nothing is resampled: an image of another
shape or place is refused with both named.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, missing_package
from neurovis.signals.fmri.voxels import Voxels

BLOCK = 1 << 25  # bytes of raw volumes held at a time
TOLERANCE = 0.01  # mm; affines of one grid differ by rounding


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape and place of an image's voxels; `affine` leads from indices to mm."""

    file: Path
    shape: tuple[int, ...]
    affine: np.ndarray

    def check(self, other: Grid) -> None:
        """Refuse another image that is not on this grid, naming both."""
        if other.shape != self.shape:
            raise NeurovisError(
                f"{other.file}: shape {_by(other.shape)}, expected {_by(self.shape)} as in {self.file}; "
                "give an image on the same grid (resample it beforehand)."
            )
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1)
        homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
        apart = float(np.abs((other.affine - self.affine) @ homogeneous).max())
        if not apart <= TOLERANCE:
            raise NeurovisError(
                f"{other.file}: its corners lie up to {apart:.3g} mm from those of {self.file}, expected "
                "the same affine; give an image on the same grid (resample it beforehand)."
            )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever a reader raises on a damaged file becomes one sentence that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except NeurovisError:
        raise
    except Exception as error:  # a damaged file can make a reader raise anything
        said = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise NeurovisError(
            f"{path}: cannot be read as an image, expected a whole NIfTI, MGH or GIFTI file; found: "
            f"{said}; fetch or export the file again."
        ) from error


def open_image(path: str | Path) -> Any:
    """Open an image without loading it.

    Returns
    -------
    nibabel image

    Raises
    ------
    NeurovisError
        If the file is missing, damaged or of no known format.
    """
    try:
        import nibabel
    except ImportError:
        raise missing_package("nibabel", "fmri") from None
    path = Path(path)
    if not path.is_file():
        raise NeurovisError(f"{path}: no such image; check the path or fetch the dataset again.")
    with _reading(path):
        return nibabel.load(path)


def grid(path: str | Path) -> Grid:
    """Shape (of one volume) and affine of an image."""
    image = open_image(path)
    if len(image.shape) < 3:
        raise NeurovisError(
            f"{path}: shape {_by(image.shape)}, expected a volume (x, y, z); give a NIfTI image."
        )
    return Grid(Path(path), tuple(map(int, image.shape[:3])), np.asarray(image.affine, float))


def n_volumes(path: str | Path) -> int:
    """Number of volumes of an image."""
    shape = open_image(path).shape
    return int(shape[3]) if len(shape) > 3 else 1


def repetition_time(path: str | Path) -> float | None:
    """TR in s by the image's header; None where it states none."""
    header = open_image(path).header
    zooms = header.get_zooms() if hasattr(header, "get_zooms") else ()
    if len(zooms) < 4 or not np.isfinite(zooms[3]) or zooms[3] <= 0:
        return None
    unit = header.get_xyzt_units()[1] if hasattr(header, "get_xyzt_units") else "sec"
    return float(zooms[3]) * {"msec": 1e-3, "usec": 1e-6}.get(unit, 1.0)


def read_map(path: str | Path, like: Grid | None = None) -> np.ndarray:
    """One volume of numbers, array (x, y, z) float32; on the grid of `like` where given."""
    image = open_image(path)
    if like is not None:
        like.check(grid(path))
    with _reading(Path(path)):
        values = np.asarray(image.dataobj, np.float32)
    if values.ndim > 3 and int(np.prod(values.shape[3:])) == 1:
        values = values.reshape(values.shape[:3])
    if values.ndim != 3:
        raise NeurovisError(
            f"{path}: shape {_by(values.shape)}, expected one volume (x, y, z); give a mask or a map."
        )
    return values


def voxels_in(
    mask: str | Path | np.ndarray,
    like: Grid,
    rois: Mapping[str, Any] | None = None,
    space: str = "",
) -> Voxels:
    """Voxels of a mask, with the regions each belongs to.

    Parameters
    ----------
    mask : path or array of bool (x, y, z)
        Voxels other than 0 (and NaN) are in.
    like : Grid
        Of the time series; mask and regions must be on it.
    rois : dict
        Region to its image; or to (image, values): the voxels with one of these labels.
    space : str
        As in `Voxels`.

    Raises
    ------
    NeurovisError
        If an image is on another grid, or the mask is empty.
    """
    inside = mask if isinstance(mask, np.ndarray) else np.nan_to_num(read_map(mask, like)) != 0
    if inside.shape != like.shape:
        raise NeurovisError(
            f"mask: shape {_by(inside.shape)}, expected {_by(like.shape)} as in {like.file}; give a "
            "mask on the same grid."
        )
    index = np.argwhere(inside)
    if not len(index):
        named = "mask" if isinstance(mask, np.ndarray) else mask
        raise NeurovisError(f"{named}: no voxel is in it, expected some; choose another mask.")
    roi = {}
    for name, source in (rois or {}).items():
        file, values = source if isinstance(source, tuple) else (source, None)
        labels = read_map(file, like)[tuple(index.T)]
        with np.errstate(invalid="ignore"):
            member = np.nan_to_num(labels) != 0 if values is None else np.isin(labels, values)
        roi[name] = member
    flat = np.ravel_multi_index(tuple(index.T), like.shape)
    return Voxels(
        name=np.array([f"v{i:07d}" for i in flat]),
        position=(index @ like.affine[:3, :3].T + like.affine[:3, 3]) / 1000,
        roi=roi, index=index, shape=like.shape, affine=like.affine, space=space,
    )  # fmt: skip


def blocks(path: str | Path, voxels: Voxels) -> Iterator[np.ndarray]:
    """Time series of the voxels in blocks, arrays (volume, voxel) float32; the file is read once.

    Raises
    ------
    NeurovisError
        If the image is on another grid than the voxels, or is cut short.
    """
    from nibabel.openers import ImageOpener

    path = Path(path)
    image, found = open_image(path), grid(path)
    if voxels.index is None or voxels.affine is None:
        raise NeurovisError(
            f"{path}: the voxels state no place in a volume, expected an index and an affine; take "
            "them from a mask on this grid."
        )
    Grid(Path("the mask"), tuple(voxels.shape), np.asarray(voxels.affine)).check(found)
    proxy = image.dataobj
    # files lie in Fortran order: the voxels of one volume are one stretch
    flat = np.ravel_multi_index(tuple(voxels.index.T), found.shape, order="F")
    size = int(np.prod(found.shape))
    total = n_volumes(path)
    step = max(1, BLOCK // (size * proxy.dtype.itemsize))
    scaled = (proxy.slope, proxy.inter) != (1.0, 0.0)
    with _reading(path), ImageOpener(image.file_map["image"].filename, "rb") as stream:
        stream.seek(proxy.offset)
        for start in range(0, total, step):
            count = min(step, total - start)
            raw = stream.read(count * size * proxy.dtype.itemsize)
            if len(raw) < count * size * proxy.dtype.itemsize:
                raise NeurovisError(
                    f"{path}: cut short in volume {start + len(raw) // (size * proxy.dtype.itemsize)} "
                    f"of {total}, expected the whole file; fetch it again."
                )
            values = np.frombuffer(raw, proxy.dtype).reshape(count, size)[:, flat]
            values = values.astype(np.float32)
            if scaled:
                values *= np.float32(proxy.slope)
                values += np.float32(proxy.inter)
            yield values


def read_series(path: str | Path, voxels: Voxels) -> np.ndarray:
    """Time series of the voxels, array (volume, voxel) float32."""
    out = np.empty((n_volumes(path), len(voxels)), np.float32)
    start = 0
    for block in blocks(path, voxels):
        out[start : start + len(block)] = block
        start += len(block)
    return out


def brain_mask(path: str | Path) -> np.ndarray:
    """Mask of the brain from a run's mean volume, array of bool (x, y, z).

    By nilearn's ``compute_epi_mask``: a threshold between the modes of the intensities, then holes
    filled and specks removed. For recordings that come without a mask.
    """
    try:
        from nilearn.masking import compute_epi_mask
    except ImportError:
        raise missing_package("nilearn", "fmri") from None
    import nibabel

    place = grid(path)
    whole = voxels_in(np.ones(place.shape, bool), place)
    total, count = 0.0, 0
    for block in blocks(path, whole):
        total, count = total + block.sum(axis=0, dtype=np.float64), count + len(block)
    mean = (total / count).reshape(place.shape).astype(np.float32)
    with _reading(Path(path)):
        # specks are removed by eroding twice, which would leave nothing of a few slices
        opening = 2 if min(place.shape) >= 8 else False
        mask = compute_epi_mask(nibabel.Nifti1Image(mean, place.affine), opening=opening)
        return np.asarray(mask.dataobj).astype(bool)


def tsnr(series: np.ndarray) -> np.ndarray:
    """Temporal signal-to-noise ratio: mean over SD in time, after a line through it is removed.

    Parameters
    ----------
    series : array (volume, voxel)

    Returns
    -------
    array (voxel,) float32
        0 where a voxel does not vary.
    """
    n = len(series)
    mean = series.mean(axis=0, dtype=np.float64)
    line = np.arange(n) - (n - 1) / 2
    line /= max(1e-12, np.linalg.norm(line))
    centred = series - mean.astype(series.dtype)
    slope = line.astype(series.dtype) @ centred
    square = np.einsum("tv,tv->v", centred, centred, dtype=np.float64)
    variance = np.maximum(square - slope.astype(np.float64) ** 2, 0) / max(1, n - 2)
    constant = np.ptp(series, axis=0) == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(constant | (variance <= 0), 0.0, mean / np.sqrt(variance))
    return ratio.astype(np.float32)


def fill(voxels: Voxels, values: np.ndarray) -> np.ndarray:
    """Values of the voxels in their volume, array (x, y, z) float32, NaN elsewhere."""
    out = np.full(voxels.shape, np.nan, np.float32)
    out[tuple(voxels.index.T)] = values
    return out
