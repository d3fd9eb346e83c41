"""Retrieval among millions of images: exact, block by block, from files that stay on disk.

Comes in: query vectors and a file of gallery vectors (``.npy`` or ``embeddings.h5``, float16 or float32).
Goes out: the k most similar items of each query, and the rank of the shown one. Products are made in
float32; what is near enough to the border to be decided by rounding is computed again in float64, so
that the answer does not depend on block sizes or on the library that multiplies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, UsageError, missing_package
from neurovis.metrics.retrieval import rank, unit_rows
from neurovis.progress import progress
from neurovis.spaces import Space
from neurovis.store import dataset, open_h5

BLOCK_BYTES = 32 * 2**20
UNIT = 2.0**-24
"""Largest relative error of one rounding in float32."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Vectors of many images, on disk or in memory.

    Parameters
    ----------
    vector : array or HDF5 dataset (image, dim) or (image, token, dim)
        float16 or float32; sliced block by block.
    image : array of str (image,)
    encoder : dict
        The encoder's config, where the file says it.
    source : str
        How errors name it.
    """

    vector: Any
    image: np.ndarray
    encoder: dict[str, Any] = field(default_factory=dict)
    source: str = "gallery"

    def __post_init__(self):
        shape, kind = tuple(self.vector.shape), np.dtype(self.vector.dtype)
        if len(shape) not in (2, 3) or 0 in shape or kind not in (np.float16, np.float32):
            raise NeurovisError(
                f"{self.source}: expected (image, dim) in float16 or float32 with at least one image, "
                f"found {shape} {kind}; convert the array."
            )
        if len(self.image) != shape[0]:
            raise NeurovisError(
                f"{self.source}: expected one id per vector, found {len(self.image)} ids and {shape[0]} "
                "vectors; give the ids of this file."
            )

    def __len__(self) -> int:
        return len(self.image)

    def read(self, start: int, stop: int, space: Space | None = None) -> np.ndarray:
        """Vectors of some items, in a space where one is given: array (item, dim) float32."""
        block = np.asarray(self.vector[start:stop]).reshape(stop - start, -1).astype(np.float32)
        return block if space is None else np.ascontiguousarray(space.apply(block, double=True))

    def index(self, images: Any) -> np.ndarray:
        """Item of each image id, -1 where it is not in the gallery: array of int (row,)."""
        wanted = {str(image): -1 for image in images}
        for item in np.flatnonzero(np.isin(self.image, np.array(list(wanted)))):
            name = str(self.image[item])
            if wanted[name] >= 0:
                raise NeurovisError(
                    f"{self.source}: image {name!r} stands in it twice, expected once; merge its rows."
                )
            wanted[name] = int(item)
        return np.array([wanted[str(image)] for image in images], np.int64)


@contextmanager
def open_gallery(path: str | Path, ids: str | Path | None = None) -> Iterator[Gallery]:
    """Open gallery vectors without reading them.

    Parameters
    ----------
    path : path
        ``.npy`` (mapped), or an ``embeddings.h5``.
    ids : path, optional
        Text file with one image id per line, for ``.npy``; the row's number is the id without it.
    """
    path = Path(path)
    if path.suffix == ".npy":
        if not path.is_file():
            raise NeurovisError(f"{path}: no such file; correct the path.")
        try:
            vector = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise NeurovisError(f"{path}: no plain .npy array ({error}); save it anew.") from None
        image = np.arange(len(vector) if vector.ndim else 0).astype(str)
        if ids is not None:
            image = np.array(Path(ids).read_text(encoding="utf-8").splitlines(), dtype=str)
        yield Gallery(vector, image, source=str(path))
        return
    if ids is not None:
        raise UsageError(f"ids: {path.name} has ids of its own; leave --ids out.")
    with open_h5(path, "neurovis-embeddings") as file:
        vector = dataset(path, file, "token" if "token" in file else "vector")
        encoder = json.loads(file.attrs.get("encoder", "{}"))
        yield Gallery(vector, dataset(path, file, "image")[()], encoder, str(path))


@dataclass(frozen=True, eq=False)
class Found:
    """What was retrieved.

    Parameters
    ----------
    item : array of int (row, k)
        Best first; equal similarities in the order of the gallery.
    image : array of str (row, k)
    similarity : array (row, k) float64
        Cosine.
    above, tied : array of int (row,), optional
        Items above and tied with the shown one, where it was asked for.
    """

    item: np.ndarray
    image: np.ndarray
    similarity: np.ndarray
    above: np.ndarray | None = None
    tied: np.ndarray | None = None

    @property
    def rank(self) -> np.ndarray | None:
        """Zero-based rank of the shown item: array (row,)."""
        return None if self.above is None else rank(self.above, self.tied)


def search(
    query: np.ndarray,
    gallery: Gallery,
    k: int = 10,
    shown: np.ndarray | None = None,
    space: Space | None = None,
    block_bytes: int = BLOCK_BYTES,
    quiet: bool = True,
) -> Found:
    """Find the most similar items of each query, by cosine.

    Parameters
    ----------
    query : array (row, dim)
    gallery : Gallery
    k : int
        At most the size of the gallery.
    shown : array of int (row,), optional
        Item whose rank is wanted.
    space : Space, optional
        Where gallery vectors are brought to before they are compared.
    block_bytes : int
        About how much memory a block of vectors, and one of similarities, takes; the answer does not
        depend on it.
    quiet : bool

    Returns
    -------
    Found

    Raises
    ------
    NeurovisError
        If dims differ, or a vector is zero or not finite.
    """
    query = np.reshape(query, (len(query), -1))
    unit_rows(query, "query")  # refuses what has no direction
    exact = np.asarray(query, np.float64)
    exact = exact / np.abs(exact).max(axis=1, keepdims=True)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    unit = exact.astype(np.float32)
    n_rows, dim = unit.shape
    if not 1 <= k <= len(gallery):
        raise UsageError(f"k: expected 1 to {len(gallery)}, the gallery's size, found {k}.")
    first = gallery.read(0, 1, space)
    if first.shape[1] != dim:
        raise NeurovisError(
            f"{gallery.source}: has {first.shape[1]} dims, the queries have {dim}; embed the gallery with "
            "the encoder that the model was trained on."
        )
    # what a sum of `dim` products and a sum of `dim` squares can be wrong by, in any order
    error = (1.5 * dim + 32) * UNIT
    state = _State(n_rows, k, exact, error)
    if shown is not None:
        state.aim(np.asarray(shown), gallery, space)
    step = max(k, block_bytes // (4 * dim), 1)
    rows_at_once = max(1, block_bytes // (4 * step))
    out = np.empty((min(rows_at_once, n_rows), step), np.float32)
    starts = range(0, len(gallery), step)
    for start in progress(starts, desc="searching", quiet=quiet, unit="block"):
        block = gallery.read(start, min(start + step, len(gallery)), space)
        length = _lengths(block, gallery.source, start)
        inverse = (1 / length).astype(np.float32)
        for low in range(0, n_rows, rows_at_once):
            rows = slice(low, min(low + rows_at_once, n_rows))
            similarity = out[: rows.stop - low, : len(block)]
            np.matmul(unit[rows], block.T, out=similarity)
            similarity *= inverse
            state.take(rows, similarity, block, length, start)
    image = gallery.image[state.item]
    return Found(state.item, image, state.value, state.above, state.tied)


def _lengths(block: np.ndarray, source: str, first: int) -> np.ndarray:
    """Length of each vector: array (item,) float64."""
    square = np.einsum("ij,ij->i", block, block)
    odd = ~((square > 1e-20) & (square < 1e20))
    length = np.sqrt(square, dtype=np.float64)
    if odd.any():
        for row in np.flatnonzero(odd):
            unit_rows(
                block[row : row + 1], source, first + int(row)
            )  # refuses what has no direction
        length[odd] = np.linalg.norm(block[odd].astype(np.float64), axis=1)
    return length


class _State:
    """The best items so far, and how many stand above the shown ones."""

    def __init__(self, n_rows: int, k: int, query: np.ndarray, error: float):
        self.query, self.error, self.k = query, error, k
        self.item = np.full((n_rows, k), -1, np.int64)
        self.value = np.full((n_rows, k), -np.inf)
        self.above = self.tied = self.true = None

    def aim(self, shown: np.ndarray, gallery: Gallery, space: Space | None) -> None:
        """Learn how similar the shown items are."""
        if len(shown) != len(self.item) or shown.min() < 0 or shown.max() >= len(gallery):
            raise NeurovisError(
                f"shown: expected one item of the gallery per query ({len(self.item)}), found "
                f"{len(shown)} from {shown.min()} to {shown.max()}; leave out rows without one."
            )
        self.true, self.shown = np.empty(len(shown)), shown
        self.above, self.tied = np.zeros(len(shown), int), np.zeros(len(shown), int)
        for item in np.unique(shown):
            vector = gallery.read(item, item + 1, space)
            _lengths(vector, gallery.source, item)
            rows = np.flatnonzero(shown == item)
            self.true[rows] = self.exactly(rows, vector, np.zeros(len(rows), int))

    def exactly(self, rows: np.ndarray, block: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Cosines of pairs in float64: each is the same number wherever its vector stands."""
        out = np.empty(len(rows))
        step = max(1, 2**21 // block.shape[1])
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            vector = block[columns[part]].astype(np.float64)
            dot = (self.query[rows[part]] * vector).sum(axis=1)
            out[part] = dot / np.sqrt((vector * vector).sum(axis=1))
        return out

    def take(
        self,
        rows: slice,
        similarity: np.ndarray,
        block: np.ndarray,
        length: np.ndarray,
        start: int,
    ) -> None:
        """Take in the similarities of some queries to a block of items."""
        least = self.value[rows, -1] - self.error
        if not np.isfinite(least).all():
            # k items of this block are surely at least as similar as this
            n = similarity.shape[1]
            k = min(self.k, n)
            sure = np.partition(similarity, n - k, axis=1)[:, n - k] - 2 * self.error
            least = np.maximum(least, sure if k == self.k else -np.inf)
        row, column = np.nonzero(similarity >= _below(least)[:, None])
        if len(row):
            self._keep(
                rows.start, row, start + column, self.exactly(rows.start + row, block, column)
            )
        if self.true is None:
            return
        low, high = self.true[rows] - self.error, self.true[rows] + self.error
        clear = similarity > _above(high)[:, None]
        near = similarity >= _below(low)[:, None]
        near ^= clear
        self.above[rows] += np.count_nonzero(clear, axis=1)
        row, column = np.nonzero(near)
        value, row = self.exactly(rows.start + row, block, column), rows.start + row
        n = len(self.item)
        self.above += np.bincount(row[value > self.true[row]], minlength=n)
        same = (value == self.true[row]) & (start + column != self.shown[row])
        self.tied += np.bincount(row[same], minlength=n)

    def _keep(self, first: int, row: np.ndarray, item: np.ndarray, value: np.ndarray) -> None:
        """Merge new items into the best k of their rows."""
        some = np.unique(row)
        k = self.k
        rows = np.concatenate([np.repeat(some, k), row])
        items = np.concatenate([self.item[first + some].ravel(), item])
        values = np.concatenate([self.value[first + some].ravel(), value])
        # items that are not there yet (-1) are -inf and go last
        order = np.lexsort((items, -values, rows))
        begin = np.searchsorted(rows[order], some)
        best = order[begin[:, None] + np.arange(k)]
        self.item[first + some], self.value[first + some] = items[best], values[best]


def _below(value: np.ndarray) -> np.ndarray:
    """The float32 at or below."""
    near = value.astype(np.float32)
    return np.where(near > value, np.nextafter(near, np.float32(-np.inf)), near)


def _above(value: np.ndarray) -> np.ndarray:
    """The float32 at or above."""
    near = value.astype(np.float32)
    return np.where(near < value, np.nextafter(near, np.float32(np.inf)), near)


def search_faiss(
    query: np.ndarray,
    gallery: Gallery,
    k: int = 10,
    factory: str = "Flat",
    space: Space | None = None,
    n_train: int = 100_000,
) -> Found:
    """As `search`, with an index of FAISS in memory; without ranks of shown items.

    Parameters
    ----------
    query : array (row, dim)
    gallery : Gallery
    k : int
    factory : str
        Kind of index, such as ``Flat`` (all items, exact to rounding) or ``IVF4096,SQfp16``
        (approximate, faster for many queries).
    space : Space, optional
    n_train : int
        Gallery items, evenly spaced, that such an index is trained on.

    References
    ----------
    Douze et al. 2024, arXiv 2401.08281
    """
    try:
        import faiss
    except ImportError:
        raise missing_package("faiss", "faiss") from None
    unit = unit_rows(np.reshape(query, (len(query), -1)), "query")
    try:
        index = faiss.index_factory(unit.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UsageError(
            f"engine: FAISS knows no index {factory!r} ({str(error)[-80:]}); try Flat."
        ) from None
    step = max(1, BLOCK_BYTES // (4 * unit.shape[1]))

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(gallery), step):
            block = gallery.read(start, min(start + step, len(gallery)), space)
            yield start, unit_rows(block, gallery.source, start)

    if not index.is_trained:
        every = -(-len(gallery) // n_train)
        index.train(np.concatenate([block[-start % every :: every] for start, block in blocks()]))
    for _, block in blocks():
        index.add(block)
    value, item = index.search(unit, k)
    if (item < 0).any():
        raise NeurovisError(
            f"engine: the index {factory!r} gave fewer than {k} items; use a smaller k, or Flat."
        )
    return Found(item, gallery.image[item], value.astype(np.float64))


def combine(parts: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Queries of several sources, such as brain and text: weighted sum of unit vectors.

    Parameters
    ----------
    parts : sequence of array (row, dim)
        One row counts for all.
    weights : sequence of float

    Returns
    -------
    array (row, dim) float32
    """
    if len({np.shape(part)[1] for part in parts}) > 1:
        dims = " and ".join(str(np.shape(part)[1]) for part in parts)
        raise NeurovisError(
            f"query: expected parts of one width, found {dims} dims; take text from the tower that "
            "belongs to the target's encoder."
        )
    unit = [weight * unit_rows(part, "query") for part, weight in zip(parts, weights, strict=True)]
    return np.sum(np.broadcast_arrays(*unit), axis=0, dtype=np.float32)
