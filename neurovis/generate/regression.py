"""Embeddings of decoded vectors by regression, from what training and validation images teach.

Comes in: what a decoder says of held-out validation images, their true embeddings, and the training images'
vectors in both spaces. Goes out: a map, and what it says of validation images that it was
learned without. No test row takes part, and no row that the decoder was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.generate.posterior import LEAST, Images, Posterior, Tensors

N_FOLDS = 5
WIDTHS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Of training images, that are tried."""
PENALTIES = 10.0 ** np.arange(-2, 5)
"""Relative to the mean eigenvalue of the decoded vectors' covariance."""
FEWEST = 10
"""Validation images below which nothing is learned from them."""


@dataclass(frozen=True, eq=False)
class Known:
    """What a prior may learn from.

    Parameters
    ----------
    train : array (image, out)
        True embeddings of training images, as the generator takes them.
    said : array (row, dim), optional
        What the decoder says of validation images that it was not trained on.
    true : array (row, out), optional
        Their true embeddings.
    image : array of str (row,), optional
        Which image each of these rows shows.
    plain : (array (dim, out), array (out,)), optional
        Where the decoder's own target is what the generator takes: the way back from its space, and
        the point about which lengths are free, as a cosine leaves them.
    aimed : array (image, dim), optional
        The training images' own vectors in the decoder's space.
    meant : array (row, dim), optional
        Those of the validation rows' images: what `said` would be without noise. Goes with `aimed`.
    excess : array (dim, dim), optional
        Covariance that `said` has beyond that of the rows to be painted, which are means of more trials.
    """

    train: np.ndarray
    said: np.ndarray | None = None
    true: np.ndarray | None = None
    image: np.ndarray | None = None
    plain: tuple[np.ndarray, np.ndarray] | None = None
    aimed: np.ndarray | None = None
    meant: np.ndarray | None = None
    excess: np.ndarray | None = None

    def __post_init__(self):
        if self.said is None:
            return
        n = len(self.said)
        if self.true is None or self.image is None or {len(self.true), len(self.image)} != {n}:
            raise NeurovisError(
                f"prior: expected a true embedding and an image for each of {n} decoded rows, found "
                "others; give one each."
            )
        if self.true.shape[1] != self.train.shape[1]:
            raise NeurovisError(
                f"prior: expected embeddings of {self.train.shape[1]} dims, found {self.true.shape[1]}; "
                "give those of one encoder."
            )


def regress(known: Known) -> tuple[Tensors, np.ndarray]:
    """Fit embeddings to decoded vectors.

    Parameters
    ----------
    known : Known

    Returns
    -------
    dict of array
        What `estimator` needs; ``origin`` (out,), the training images' mean; ``error`` and ``error_of_mean``, mean
        squared errors of held-out validation images; ``width`` of training images, by `Posterior`.
    array (row, out)
        What is said of each validation row by a fit without its image.

    Raises
    ------
    NeurovisError
        If there are no decoded validation rows, or too few images.
    """
    if known.said is None:
        raise NeurovisError(
            "prior: expected what the decoder says of validation images that it was not trained on, found "
            "none in the run; use prior=none, or train a run with a validation part."
        )
    images = np.unique(known.image)
    if len(images) < FEWEST:
        raise NeurovisError(
            f"prior: expected at least {FEWEST} validation images, found {len(images)}; use prior=none, "
            "or preprocess with a larger validation part."
        )
    # images, not rows, are on one side: rows of one image are alike
    fold_of = np.random.default_rng(0).permutation(len(images)) % N_FOLDS
    fold = fold_of[np.searchsorted(images, known.image)]
    fit = _ridge if known.aimed is None or known.meant is None else _mean
    tensors, held, error, error_of_mean = fit(known, fold)
    tensors["origin"] = known.train.mean(0, dtype=np.float64)
    return {**tensors, "error": error, "error_of_mean": error_of_mean}, held


def _mean(known: Known, fold: np.ndarray) -> tuple:
    """By `Posterior`: its tensors, what is said of rows left out, its error and that of the mean.

    How wide each training image is taken is chosen by the error of images left out: the widest that is no worse than
    the best by more than one standard error (Breiman et al. 1984), as images of other concepts may lie farther away.
    """
    images, inside = Images(known.aimed, known.train), [fold != n for n in range(N_FOLDS)]
    parts = [Posterior(images, known.said[rows], known.meant[rows]) for rows in inside]
    held = np.empty((len(WIDTHS), len(known.said), known.train.shape[1]), np.float32)
    error_of_mean = 0.0
    for rows, part in zip(inside, parts):
        for i, width in enumerate(WIDTHS):
            held[i, ~rows] = part(known.said[~rows], width)
        error_of_mean += ((known.true[~rows] - known.true[rows].mean(0)) ** 2).sum()
    error = np.stack([((said - known.true) ** 2).mean(1) for said in held])
    _, code = np.unique(known.image, return_inverse=True)
    by_image = np.stack([np.bincount(code, row) / np.bincount(code) for row in error])
    beyond = by_image - by_image[by_image.mean(1).argmin()]
    allowed = beyond.std(1, ddof=1) / np.sqrt(beyond.shape[1])
    i = int(np.flatnonzero(beyond.mean(1) <= allowed)[0])
    fitted = Posterior(images, known.said, known.meant, known.excess).tensors(WIDTHS[i])
    fitted["width"] = np.array(WIDTHS[i])
    return fitted, held[i], error[i].mean(), error_of_mean / known.true.size


def _ridge(known: Known, fold: np.ndarray) -> tuple:
    """By ridge regression on decoded rows, as `_mean` gives it."""
    x, y = (np.asarray(a, np.float64) for a in (known.said, known.true))
    base = None if known.plain is None else np.asarray(known.plain[0], np.float64)
    bases = [None] if base is None else [None, base]
    inside = [fold != number for number in range(N_FOLDS)]
    parts = [_Solved(x[rows], y[rows]) for rows in inside]
    errors, error_of_mean = np.zeros((len(bases), len(PENALTIES) + 1)), 0.0
    for rows, part in zip(inside, parts):
        error_of_mean += ((y[~rows] - part.y_mean) ** 2).sum()
        for i, base in enumerate(bases):
            for j, weight in enumerate(part.weights(base)):
                errors[i, j] += ((part.said(weight, x[~rows]) - y[~rows]) ** 2).sum()
    errors[0, -1] = np.inf  # no map and no correction is no answer
    i, j = np.unravel_index(errors.argmin(), errors.shape)
    held = np.empty_like(y)
    for rows, part in zip(inside, parts):
        held[~rows] = part.said(part.weights(bases[i])[j], x[~rows])
    solved = _Solved(x, y, known.excess)
    weight = solved.weights(bases[i])[j]
    bias = solved.y_mean - solved.x_mean @ weight
    fitted = {"weight": weight, "bias": bias}
    return fitted, held, errors[i, j] / y.size, error_of_mean / y.size


class _Solved:
    """Ridge regression on some rows, decomposed once for all penalties and all maps to start from."""

    def __init__(self, x: np.ndarray, y: np.ndarray, excess: np.ndarray | None = None):
        self.x_mean, self.y_mean = x.mean(0), y.mean(0)
        x, y = x - self.x_mean, y - self.y_mean
        square, self.both = x.T @ x, x.T @ y
        least = 0.0
        if excess is not None:
            # what is said of means of more trials varies less, and tells as much of the image
            least = LEAST * np.trace(square) / len(square)
            square = square - len(x) * excess
        value, self.axes = np.linalg.eigh(square)
        self.value = np.maximum(value, least)

    def weights(self, base: np.ndarray | None) -> list[np.ndarray]:
        """One map (dim, out) per penalty, and last the base alone, scaled."""
        start, value = np.zeros_like(self.both), self.value[:, None]
        if base is not None:
            square = (value * (self.axes.T @ base) ** 2).sum()
            # a decoder that answers the wrong way round is not turned
            start = base * max(0.0, (base * self.both).sum() / square if square else 0.0)
        rest = self.axes.T @ self.both - value * (self.axes.T @ start)
        scale = self.value.mean() or 1.0
        found = [start + self.axes @ (rest / (value + p * scale)) for p in PENALTIES]
        return [*found, start]

    def said(self, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (x - self.x_mean) @ weight + self.y_mean
