"""Features of seen and painted pictures, and how alike they are, block by block.

Comes in: what one image encoder says of the seen pictures and of the painted ones, and which picture each
painted row is of. Goes out: correlations or cosines of painted rows with all seen pictures. Equal features
get exactly equal similarities, so that a painter who always paints the same ties with itself, and large
features (whole maps of a network) never stand in memory twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from neurovis.errors import NeurovisError

BLOCK_BYTES = 64 * 2**20
KEEP_BYTES = 256 * 2**20
FLAT = 1e-6
"""Range relative to size below which features are all alike: what float32 rounds."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Features of painted rows and of the pictures that were seen.

    Parameters
    ----------
    seen : array (image, dim)
    painted : array (row, dim)
    shown : array of int (row,)
        Seen picture of each row.
    image : array of str (image,)
        Ids, for what is said of them.
    group : array of int (row,), optional
        Rows that may be compared with each other: one subject, one number of averaged trials.

    Raises
    ------
    NeurovisError
        If shapes disagree, or a feature is NaN or infinite (naming the picture).
    """

    seen: np.ndarray
    painted: np.ndarray
    shown: np.ndarray
    image: np.ndarray
    group: np.ndarray | None = None
    _kept: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        shown = np.asarray(self.shown, int)
        group = np.zeros(len(shown), int) if self.group is None else np.asarray(self.group)
        object.__setattr__(self, "shown", shown)
        object.__setattr__(self, "group", group)
        object.__setattr__(self, "image", np.asarray(self.image).astype(str))
        shapes = self.seen.shape, self.painted.shape
        fits = all(len(shape) == 2 and 0 not in shape for shape in shapes)
        fits = fits and shapes[0][1] == shapes[1][1] and len(shown) == shapes[1][0]
        if not fits or len(self.image) != shapes[0][0] or len(group) != len(shown):
            raise NeurovisError(
                f"features: expected (image, dim) and (row, dim) of one dim with an id per image and the "
                f"shown image per row, found {shapes[0]}, {shapes[1]}, {len(self.image)} ids and "
                f"{len(shown)} rows; embed both with the same encoder."
            )
        if not 0 <= shown.min() <= shown.max() < len(self.image):
            raise NeurovisError(
                f"features: expected shown pictures 0 to {len(self.image) - 1}, found {shown.min()} to "
                f"{shown.max()}; give places in the seen pictures."
            )
        for what, features, of in (("seen", self.seen, None), ("painted", self.painted, shown)):
            for start, block in _blocks(features):
                wrong = ~np.isfinite(block).all(axis=1)
                if wrong.any():
                    row = start + int(wrong.argmax())
                    image = self.image[row if of is None else of[row]]
                    raise NeurovisError(
                        f"features: expected finite numbers, found NaN or infinity for the {what} picture of "
                        f"{str(image)!r}; look at that picture, or mend the encoder."
                    )

    @property
    def flat(self) -> np.ndarray:
        """Painted rows whose features are all alike and correlate with nothing: array of bool (row,)."""
        return self._scale("painted", True)[1] == 0

    def similarities(self, centre: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Similarity of painted rows to every seen picture, some rows at a time.

        Features without variation (without length for cosines) have similarity 0 to all.

        Parameters
        ----------
        centre : bool
            Pearson's correlation over dims; else cosines.

        Yields
        ------
        rows : array of int
        similarity : array (row, image) float32
        """
        if centre not in self._kept:
            blocks = self._made(centre)
            if 4 * len(self.painted) * len(self.seen) > KEEP_BYTES:
                yield from blocks
                return
            self._kept[centre] = list(blocks)
        yield from self._kept[centre]

    def _made(self, centre: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        # equal features are multiplied once: matrix products may round equal rows differently
        first, image = np.unique(_same(self.seen), return_inverse=True)
        one, row = np.unique(_same(self.painted), return_inverse=True)
        order = np.argsort(row, kind="stable")
        starts = np.concatenate([np.searchsorted(row[order], np.arange(len(one))), [len(row)]])
        width = max(len(self.seen), self.seen.shape[1])
        step = max(1, BLOCK_BYTES // (4 * width))
        whole = 4 * self.seen.shape[1] * len(first) <= KEEP_BYTES
        gallery = [self._unit("seen", first, centre).astype(np.float32)] if whole else None
        for start in range(0, len(one), step):
            stop = min(start + step, len(one))
            unit = self._unit("painted", one[start:stop], centre).astype(np.float32)
            parts = gallery or (
                self._unit("seen", first[i : i + step], centre).astype(np.float32)
                for i in range(0, len(first), step)
            )
            found = np.concatenate([unit @ part.T for part in parts], axis=1)
            rows = order[starts[start] : starts[stop]]
            yield rows, found[row[rows] - start][:, image]

    def matched(self) -> np.ndarray:
        """Correlation of each painted row with its own seen picture: array (row,) float64."""
        return self._against(lambda rows: self._unit("seen", self.shown[rows], True))

    def mismatched(self) -> np.ndarray:
        """Mean correlation of each painted row with all other seen pictures: array (row,) float64."""
        total = np.zeros((1, self.seen.shape[1]))
        for start, block in _blocks(self.seen):
            total += self._unit("seen", np.arange(start, start + len(block)), True).sum(axis=0)
        every = self._against(lambda rows: total)
        return (every - self.matched()) / max(len(self.seen) - 1, 1)

    def _against(self, other: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        out = np.empty(len(self.painted))
        for start, block in _blocks(self.painted):
            rows = np.arange(start, start + len(block))
            out[rows] = (self._unit("painted", rows, True) * other(rows)).sum(axis=1)
        return out

    def _unit(self, which: str, rows: np.ndarray, centre: bool) -> np.ndarray:
        """Rows of length 1, of mean 0 where `centre`; zeros where nothing varies: float64."""
        mean, length = (value[rows, None] for value in self._scale(which, centre))
        block = getattr(self, which)[rows].astype(np.float64) - mean
        return np.divide(block, length, out=np.zeros_like(block), where=length > 0)

    def _scale(self, which: str, centre: bool) -> tuple[np.ndarray, np.ndarray]:
        """Mean (0 for cosines) and length of each row; length 0 where nothing varies."""
        key = which, centre
        if key not in self._kept:
            features = getattr(self, which)
            mean, length = np.zeros(len(features)), np.zeros(len(features))
            for start, block in _blocks(features):
                rows = slice(start, start + len(block))
                block = block.astype(np.float64)
                if centre:
                    mean[rows] = block.mean(axis=1)
                length[rows] = np.linalg.norm(block - mean[rows, None], axis=1)
                # what is left of a constant when its mean is taken away is rounding
                flat = np.ptp(block, axis=1) <= FLAT * np.abs(block).max(axis=1)
                length[rows][flat] *= not centre
            self._kept[key] = mean, length
        return self._kept[key]


def _blocks(features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    step = max(1, BLOCK_BYTES // (8 * features.shape[1]))
    for start in range(0, len(features), step):
        yield start, features[start : start + step]


def _same(features: np.ndarray) -> np.ndarray:
    """For each row the first row that equals it: array of int (row,)."""
    number: dict[bytes, int] = {}
    digests = (hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()
               for row in features)  # fmt: skip
    return np.array([number.setdefault(digest, i) for i, digest in enumerate(digests)])
