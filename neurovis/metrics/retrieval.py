"""Retrieval: where the shown image stands among a gallery ordered by similarity.

Comes in: predictions (row, dim) and gallery vectors (item, dim), or similarities (row, item), and the
item shown in each row. Goes out: for each row the number of items strictly above the shown one and
the number tied with it; every retrieval metric is a function of these two. Ties share their places,
so that a predictor that says the same of every item scores exactly chance. Similarities are made
block by block: 20,000 rows against 20,000 items need no more memory than a few hundred of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

import numpy as np
import pydantic

from neurovis.errors import NeurovisError
from neurovis.metrics.base import Metric

BLOCK_BYTES = 64 * 2**20


def unit_rows(vector: np.ndarray, what: str, first: int = 0) -> np.ndarray:
    """Scale rows to length 1.

    Parameters
    ----------
    vector : array (row, dim) or (row, token, dim)
        Tokens are laid side by side.
    what : str
        How an error names these rows.
    first : int
        Number of the first of these rows, for the error.

    Returns
    -------
    array (row, dim) float32

    Raises
    ------
    NeurovisError
        If a row holds NaN or infinity, or only zeros (no direction, so no cosine).
    """
    vector = np.asarray(vector, np.float32)
    if vector.ndim not in (2, 3) or 0 in vector.shape:
        raise NeurovisError(
            f"{what}: expected (row, dim) or (row, token, dim) with at least one row, found "
            f"{vector.shape}; give one vector per row."
        )
    vector = vector.reshape(len(vector), -1)
    # the largest entry is taken out first, so that squares neither overflow nor vanish
    largest = np.abs(vector).max(axis=1, keepdims=True)
    wrong = ~(np.isfinite(largest) & (largest > 0))[:, 0]
    if wrong.any():
        row = int(wrong.argmax())
        found = "only zeros" if largest[row, 0] == 0 else "NaN or infinity"
        raise NeurovisError(
            f"{what}: expected finite vectors with a direction, found {found} in row {first + row}; "
            "drop that row or mend the model that made it."
        )
    scaled = vector / largest
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


def merge_gallery(image: Sequence[str], vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep one item per image id, in the order of first appearance.

    Parameters
    ----------
    image : array of str (item,)
    vector : array (item, dim) or (item, token, dim)

    Returns
    -------
    image : array of str (item,)
    vector : array (item, ...)

    Raises
    ------
    NeurovisError
        If two items of one id differ, or there is none.
    """
    image, vector = np.asarray(image).astype(str), np.asarray(vector)
    if len(image) == 0 or len(image) != len(vector):
        raise NeurovisError(
            f"gallery: expected one vector per image id and at least one, found {len(image)} ids and "
            f"{len(vector)} vectors; give both for the same images."
        )
    _, first, inverse = np.unique(image, return_index=True, return_inverse=True)
    same = (vector == vector[first[inverse]]).reshape(len(image), -1).all(axis=1)
    if not same.all():
        raise NeurovisError(
            f"gallery: image {str(image[same.argmin()])!r} has two different vectors, expected one; "
            "embed every image once."
        )
    kept = np.sort(first)
    return image[kept], vector[kept]


def cosine_blocks(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], block: int | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Cosine between predictions and gallery, summed over targets, some rows at a time.

    Parameters
    ----------
    pairs : iterable of (array (row, dim), array (item, dim))
        One pair per target: predictions and gallery.
    block : int, optional
        Rows at a time; chosen so that a block takes 64 MiB.

    Yields
    ------
    rows : slice
    similarity : array (row, item) float32

    Raises
    ------
    NeurovisError
        If the dims of a pair differ, or a row has no cosine.
    """
    parts = []
    for prediction, gallery in pairs:
        prediction, gallery = np.asarray(prediction), np.asarray(gallery)
        if len(prediction) == 0 or len(gallery) == 0:
            raise NeurovisError(
                f"retrieval: expected at least one prediction and one gallery item, found "
                f"{len(prediction)} and {len(gallery)}; check the split."
            )
        dims = prediction[0].size, gallery[0].size
        if dims[0] != dims[1]:
            raise NeurovisError(
                f"prediction: has {dims[0]} dims, the gallery has {dims[1]}; "
                "embed the gallery with the encoder that the model was trained on."
            )
        # equal vectors are multiplied once: matrix products may round equal columns differently
        gallery = unit_rows(gallery, "gallery")
        number: dict[bytes, int] = {}
        same = [number.setdefault(vector.tobytes(), i) for i, vector in enumerate(gallery)]
        kept, column = np.unique(same, return_inverse=True)
        parts.append((prediction, gallery[kept].T, column))
    n_rows, n_items = len(parts[0][0]), len(parts[0][2])
    if any(len(p) != n_rows or len(i) != n_items for p, _, i in parts):
        raise NeurovisError(
            "prediction: targets differ in their number of rows or gallery items; "
            "give every target the same rows and the same gallery."
        )
    block = block or max(1, BLOCK_BYTES // (4 * n_items))
    for start in range(0, n_rows, block):
        rows = slice(start, min(start + block, n_rows))
        similarity = np.zeros((rows.stop - start, n_items), np.float32)
        for prediction, gallery, column in parts:
            unit = unit_rows(prediction[rows], "prediction", start)
            product = unit @ gallery
            similarity += product if product.shape[1] == n_items else product[:, column]
        yield rows, similarity


def place(
    similarity: np.ndarray, shown: np.ndarray, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Count the items above and tied with the shown one.

    Parameters
    ----------
    similarity : array (row, item)
    shown : array of int (row,)
        Item shown in each row.
    first : int
        Number of the first of these rows, for the error.

    Returns
    -------
    above : array of int (row,)
        Items strictly more similar than the shown one.
    tied : array of int (row,)
        Other items exactly as similar.

    Raises
    ------
    NeurovisError
        If a similarity is NaN (naming the row), or there is no row.
    """
    similarity, shown = np.asarray(similarity), np.asarray(shown)
    if similarity.ndim != 2 or 0 in similarity.shape or len(shown) != len(similarity):
        raise NeurovisError(
            f"similarity: expected (row={len(shown)}, item) with at least one row and item, found "
            f"{similarity.shape}; give one row per prediction."
        )
    wrong = np.isnan(similarity).any(axis=1)
    if wrong.any():
        raise NeurovisError(
            f"similarity: expected numbers, found NaN in row {first + int(wrong.argmax())}; "
            "drop that row or mend the model that made it."
        )
    true = np.take_along_axis(similarity, shown[:, None], axis=1)
    above = np.count_nonzero(similarity > true, axis=1)
    tied = np.count_nonzero(similarity == true, axis=1) - 1
    return above, tied


def best(similarity: np.ndarray, n: int) -> np.ndarray:
    """The n most similar items of each row, best first: array of int (row, n)."""
    n = min(n, similarity.shape[1])
    items = np.sort(np.argpartition(-similarity, n - 1, axis=1)[:, :n], axis=1)
    order = np.argsort(-np.take_along_axis(similarity, items, axis=1), axis=1, kind="stable")
    return np.take_along_axis(items, order, axis=1)


def rank(above: np.ndarray, tied: np.ndarray) -> np.ndarray:
    """Zero-based rank of the shown item; tied items share the mean of their ranks.

    Parameters
    ----------
    above, tied : array of int (row,)
        From `place`.

    Returns
    -------
    array (row,)
        0 is best, N - 1 worst; (N - 1) / 2 on average by chance.
    """
    return above + np.asarray(tied) / 2


def top_credit(above: np.ndarray, tied: np.ndarray, k: int) -> np.ndarray:
    """Credit for the shown item being among the first k; tied items share it evenly.

    Parameters
    ----------
    above, tied : array of int (row,)
        From `place`.
    k : int

    Returns
    -------
    array (row,)
        Between 0 and 1; k / N on average by chance, and for a predictor that ties all items.
    """
    return np.clip((k - np.asarray(above)) / (np.asarray(tied) + 1), 0, 1)


def k_way(above: np.ndarray, tied: np.ndarray, n_gallery: int, k: int) -> np.ndarray:
    """Probability of choosing the shown item among itself and k - 1 random other items.

    The exact mean over all draws of distractors without replacement, ties shared evenly: with g items
    above, t tied and N in all, ``(C(N-g, k) - C(N-g-t-1, k)) / ((t+1) C(N-1, k-1))``. No draw is made,
    so no seed enters. For k = 2 this is the share of other items below the shown one, ties half.

    Parameters
    ----------
    above, tied : array of int (row,)
        From `place`.
    n_gallery : int
        Items in the gallery, N.
    k : int
        Items to choose among, the shown one included; at most N.

    Returns
    -------
    array (row,)
        1 / k on average by chance.
    """
    if not 2 <= k <= n_gallery:
        raise NeurovisError(
            f"k-way: expected k between 2 and the gallery's {n_gallery} items, found {k}; "
            "choose a smaller k."
        )
    above, tied = np.asarray(above, np.float64), np.asarray(tied, np.float64)

    def share(n: np.ndarray, m: int) -> np.ndarray:
        """C(n, m) / C(N - 1, m)."""
        i = np.arange(m)
        return (np.clip(n[..., None] - i, 0, None) / (n_gallery - 1 - i)).prod(axis=-1)

    def choose(n: np.ndarray) -> np.ndarray:
        """C(n, k) / C(N - 1, k - 1)."""
        return share(n, k - 1) * np.clip(n - k + 1, 0, None) / k

    below = n_gallery - above - tied - 1
    shared = (choose(below + tied + 1) - choose(below)) / (tied + 1)
    # without ties the difference is one exact ratio; a perfect row must score exactly 1
    return np.where(tied == 0, share(below, k - 1), shared)


class RankMetric(Metric):
    """A metric that follows from `place`: `credit` per row, then their mean or median."""

    statistic: ClassVar[str] = "mean"

    def fits(self, n_gallery: int) -> bool:
        """Whether the metric says anything for a gallery of this size."""
        return n_gallery > 1

    def credit(self, above: np.ndarray, tied: np.ndarray, n_gallery: int) -> np.ndarray:
        """Credit of each row: array (row,)."""
        raise NotImplementedError

    def step(self, n_gallery: int) -> float:
        """Smallest change of a row's credit when it stops being perfect (or worst)."""
        return 1.0


class Top(RankMetric, name="top"):
    """Share of rows whose shown image is among the k most similar (higher is better, chance k/N)."""

    k: int = pydantic.Field(5, ge=1)

    @property
    def label(self) -> str:
        return f"top{self.k}"

    def fits(self, n_gallery: int) -> bool:
        return n_gallery > self.k

    def chance(self, n_gallery: int) -> float:
        return min(self.k / n_gallery, 1.0)

    def credit(self, above, tied, n_gallery):
        return top_credit(above, tied, self.k)


class MedianRank(RankMetric, name="median_rank"):
    """Median zero-based rank of the shown image (lower is better, chance (N-1)/2)."""

    higher_is_better: ClassVar[bool] = False
    statistic: ClassVar[str] = "median"

    def chance(self, n_gallery: int) -> float:
        return (n_gallery - 1) / 2

    def credit(self, above, tied, n_gallery):
        return rank(above, tied)


class RelativeRank(RankMetric, name="relative_rank"):
    """Mean zero-based rank of the shown image over N (lower is better, chance (N-1)/2N)."""

    higher_is_better: ClassVar[bool] = False

    def chance(self, n_gallery: int) -> float:
        return (n_gallery - 1) / (2 * n_gallery)

    def credit(self, above, tied, n_gallery):
        return rank(above, tied) / n_gallery

    def step(self, n_gallery: int) -> float:
        return 1 / n_gallery


class KWay(RankMetric, name="k_way"):
    """Share of choices of the shown image among k random ones (higher is better, chance 1/k)."""

    k: int = pydantic.Field(2, ge=2)

    @property
    def label(self) -> str:
        return f"{self.k}-way"

    def fits(self, n_gallery: int) -> bool:
        return n_gallery >= self.k

    def chance(self, n_gallery: int) -> float:
        return 1 / self.k

    def credit(self, above, tied, n_gallery):
        return k_way(above, tied, n_gallery, self.k)

    def step(self, n_gallery: int) -> float:
        return (self.k - 1) / (n_gallery - 1)
