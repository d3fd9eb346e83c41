"""From decoded vectors to the embeddings that a generator takes: by regression, by diffusion, or not at all.

Comes in: what a decoder says of held-out validation images, the true embeddings of these and of the
training images, and linear maps between both spaces that training images teach. Goes out: tensors, and a
function of decoded rows and seeds. No test row takes part, and no row that the decoder was trained on.

References: priors: Ramesh et al. 2022, arXiv 2204.06125; for decoding: Scotti et al. 2023, arXiv
2305.18274, Li et al. 2024, arXiv 2403.07721; modality gap: Liang et al. 2022, arXiv 2203.02053.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.config import Family, how
from neurovis.errors import NeurovisError, UsageError
from neurovis.norms import Norms

Tensors = dict[str, np.ndarray]
N_FOLDS = 5
PENALTIES = 10.0 ** np.arange(-2, 5)
"""Relative to the mean eigenvalue of the decoded vectors' covariance."""
BASES = 10.0 ** np.arange(-4, 2)
"""Penalties of maps learned from training images, relative in the same way."""
LEAST = 0.02
"""Variance that is left of any direction where noise is taken off, relative to the mean of all."""
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
    excess : array (dim, dim), optional
        Covariance that `said` has beyond that of the rows to be painted, which are means of more trials.
    """

    train: np.ndarray
    said: np.ndarray | None = None
    true: np.ndarray | None = None
    image: np.ndarray | None = None
    plain: tuple[np.ndarray, np.ndarray] | None = None
    aimed: np.ndarray | None = None
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


class Prior(Family, family="priors"):
    """Root of the priors.

    Parameters
    ----------
    norms : {"norm", "moments", "none"}
        How lengths are restored after it, from training statistics (`neurovis.norms`): every row to the
        mean length, every dim to the training images' mean and deviation, or not.
    """

    draws: ClassVar[bool] = False
    """Whether what it says of a row depends on a seed."""

    norms: Literal["norm", "moments", "none"] = "norm"

    def fit(self, known: Known, seed: int = 0, checkpoint: Path | None = None) -> Tensors:
        """Learn what `ready` needs.

        Parameters
        ----------
        known : Known
        seed : int
        checkpoint : Path, optional
            File to go on from; it is left where it is.

        Raises
        ------
        NeurovisError
            If what it learns from is missing.
        """
        raise NotImplementedError

    def saying(self, tensors: Tensors) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """As `ready`, before lengths are restored, in float64."""
        raise NotImplementedError

    def ready(self, tensors: Tensors) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """A function of decoded vectors (row, dim) and seeds (row,): embeddings (row, out) float32.

        Each row depends on its own vector and seed alone.
        """
        names = ("norm", "mean", "std", "said_mean", "said_std")
        norms = Norms(*(np.asarray(tensors[f"norms/{name}"], np.float32) for name in names))
        origin, say = tensors["origin"], self.saying(tensors)

        def apply(vector: np.ndarray, seeds: np.ndarray) -> np.ndarray:
            width = tensors["weight"].shape[0]
            if vector.ndim != 2 or vector.shape[1] != width:
                raise NeurovisError(
                    f"prior: expected decoded vectors (row, dim={width}), found {vector.shape}; give those "
                    "of the model that it was fitted to."
                )
            made = say(np.asarray(vector, np.float64), np.asarray(seeds)) - origin
            if self.norms != "none":
                made = norms.restore(made, self.norms)
            return (made + origin).astype(np.float32)

        return apply

    def _finished(self, tensors: Tensors, known: Known, held: np.ndarray | None) -> Tensors:
        """Tensors with statistics of lengths: of training images, and of what is said of held-out rows."""
        origin = tensors["origin"]
        train = known.train - origin
        if held is None or len(held) < 2:
            if self.norms == "moments":
                raise NeurovisError(
                    "prior.norms: moments need what the decoder says of validation images, found none; use "
                    "prior.norms=norm."
                )
            held = known.train
        norms = Norms.of(train, held - origin)
        kept = {f"norms/{k}": v for k, v in vars(norms).items()}
        return {k: np.asarray(v, np.float32) for k, v in {**tensors, **kept}.items()}


class NoPrior(Prior, name="none"):
    """No prior: decoded vectors taken back to the embeddings that they were trained towards.

    What was learned on the image side is moved to the brain's side, so that inner products stay; only
    directions are known then, and lengths are restored.
    """

    def fit(self, known: Known, seed: int = 0, checkpoint: Path | None = None) -> Tensors:
        """See `Prior.fit`."""
        if known.plain is None:
            raise NeurovisError(
                "prior: none takes decoded vectors as embeddings of the generator's encoder, which this "
                "target's are not; use prior=regression or a target of that encoder."
            )
        weight, origin = known.plain
        tensors = {"weight": weight, "origin": origin}
        held = None if known.said is None else known.said @ weight + origin
        return self._finished(tensors, known, held)

    def saying(self, tensors: Tensors) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """See `Prior.saying`."""
        weight, origin = tensors["weight"].astype(np.float64), tensors["origin"]
        return lambda vector, seeds: vector @ weight + origin


class Regression(Prior, name="regression"):
    """Ridge regression on validation images, towards maps that training images teach.

    A map from the decoder's space to embeddings is learned from the true vectors of training images in
    both, then scaled and corrected by ridge regression on decoded validation rows. The penalties of both
    are chosen by cross-validation over validation images, none of which is on two sides.
    """

    def fit(self, known: Known, seed: int = 0, checkpoint: Path | None = None) -> Tensors:
        """See `Prior.fit`."""
        tensors, held = regress(known)
        return self._finished(tensors, known, held)

    def saying(self, tensors: Tensors) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """See `Prior.saying`."""
        weight, bias = tensors["weight"].astype(np.float64), tensors["bias"]
        return lambda vector, seeds: vector @ weight + bias


class Diffusion(Prior, name="diffusion"):
    """A small diffusion model of embeddings, told what regression says.

    It is trained on the true embeddings of training images, each beside what regression would say of
    it: the linear response and the errors that regression shows on held-out validation images, drawn
    anew in every step. It is a residual perceptron that predicts the embedding from a noisy one.
    Guidance moves away from what is said without the brain and keeps the length.

    Parameters
    ----------
    n_hidden, n_blocks : int
        Of the perceptron.
    n_train_steps : int
        Batches that it is trained on.
    batch_size : int
    lr : float
        Of AdamW, falling to zero by a cosine; arXiv 2403.07721 trains with 1e-3.
    drop : float
        Share of rows in training that are told nothing, for guidance; arXiv 2403.07721 has 0.1.
    num_inference_steps : int
    guidance_scale : float
        1 for none; arXiv 2403.07721 has 5 (second-hand values of its code, for another network).
    device : str
    """

    draws: ClassVar[bool] = True

    n_hidden: pydantic.PositiveInt = 512
    n_blocks: pydantic.PositiveInt = 3
    n_train_steps: pydantic.PositiveInt = 1500
    batch_size: pydantic.PositiveInt = 256
    lr: pydantic.PositiveFloat = 1e-3
    drop: float = pydantic.Field(0.1, ge=0, lt=1)
    num_inference_steps: pydantic.PositiveInt = 20
    guidance_scale: float = pydantic.Field(2.0, ge=0)
    device: str = how("cpu")

    @pydantic.model_validator(mode="after")
    def _guided(self) -> Diffusion:
        if self.guidance_scale != 1 and self.drop == 0:
            raise UsageError(
                f"prior.guidance_scale: is {self.guidance_scale:g}, which needs rows that are told nothing in "
                "training, but prior.drop is 0; set one of both otherwise."
            )
        return self

    def fit(self, known: Known, seed: int = 0, checkpoint: Path | None = None) -> Tensors:
        """See `Prior.fit`."""
        from neurovis.generate.denoiser import train

        tensors, held = regress(known)
        tensors |= channel(held, known.true, known.image, known.train)
        tensors["scale"] = np.sqrt(known.train.var(0, dtype=np.float64).mean())
        rows = (known.train - tensors["origin"]) / tensors["scale"]
        tensors |= train(self, rows, tensors, seed, checkpoint)
        held = self._drawing(tensors)(held, np.arange(len(held)) + seed)
        return self._finished(tensors, known, held)

    def saying(self, tensors: Tensors) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """See `Prior.saying`."""
        weight, bias = tensors["weight"].astype(np.float64), tensors["bias"]
        draw = self._drawing(tensors)
        return lambda vector, seeds: draw(vector @ weight + bias, seeds)

    def _drawing(self, tensors: Tensors) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """A function of what regression says and seeds."""
        from neurovis.generate.denoiser import sampler

        origin, scale = tensors["origin"], tensors["scale"]
        draw = sampler(self, tensors, len(origin))
        return lambda told, seeds: draw((told - origin) / scale, seeds) * scale + origin


# ---- regression --------------------------------------------------------------------------------


def map_of(x: np.ndarray, y: np.ndarray, penalties: np.ndarray = BASES) -> list[np.ndarray]:
    """Ridge maps between centred vectors of the same images, one per penalty: arrays (dim, out).

    Parameters
    ----------
    x : array (image, dim)
    y : array (image, out)
    penalties : array (penalty,)
        Relative to the mean eigenvalue of the covariance of `x`.
    """
    x, y = (a - a.mean(0, dtype=np.float64) for a in (x, y))
    n, dim = x.shape
    # the kernel of dims or that of images, whichever is smaller
    value, vector = np.linalg.eigh(x.T @ x if dim <= n else x @ x.T)
    value = np.clip(value, 0, None)
    product = vector.T @ (x.T @ y if dim <= n else y)
    scale = value.sum() / dim or 1.0
    solved = (vector @ (product / (value + p * scale)[:, None]) for p in penalties)
    return [one if dim <= n else x.T @ one for one in solved]


def regress(known: Known) -> tuple[Tensors, np.ndarray]:
    """Fit embeddings to decoded vectors.

    Parameters
    ----------
    known : Known

    Returns
    -------
    dict of array
        ``weight`` (dim, out), ``bias`` (out,), ``origin`` (out,), the training images' mean; ``error``
        and ``error_of_mean``, mean squared errors of held-out validation images.
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
    x, y = (np.asarray(a, np.float64) for a in (known.said, known.true))
    bases: list[np.ndarray | None] = [None]
    if known.plain is not None:
        bases.append(np.asarray(known.plain[0], np.float64))
    if known.aimed is not None:
        bases += map_of(known.aimed, known.train)
    # images, not rows, are on one side: rows of one image are alike
    fold_of = np.random.default_rng(0).permutation(len(images)) % N_FOLDS
    fold = fold_of[np.searchsorted(images, known.image)]
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
    tensors = {
        "weight": weight,
        "bias": solved.y_mean - solved.x_mean @ weight,
        "origin": known.train.mean(0, dtype=np.float64),
        "error": errors[i, j] / y.size,
        "error_of_mean": error_of_mean / y.size,
    }
    return tensors, held


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


def channel(
    said: np.ndarray, true: np.ndarray, image: np.ndarray, train: np.ndarray
) -> dict[str, np.ndarray]:
    """How regression answers to true embeddings, from rows that it was not fitted to.

    Parameters
    ----------
    said, true : array (row, out)
    image : array of str (row,)
    train : array (image, out)

    Returns
    -------
    dict of array
        ``response`` (out,): per dim, how far it follows the truth, from 0 to 1; ``errors`` (row, out),
        the rest, in the units of embeddings.
    """
    mean_said, mean_true = said.mean(0), true.mean(0)
    x, y = true - mean_true, said - mean_said
    # few images tell little of one dim alone: a common slope, moved by as many images as there are
    common = (x * y).sum() / ((x**2).sum() or 1.0)
    n, square = len(np.unique(image)), (x**2).mean(0)
    weight = square.mean() * 30 / n
    slope = ((x * y).mean(0) + weight * common) / np.maximum(square + weight, 1e-12)
    slope = np.clip(slope, 0, 1)
    return {"response": slope, "errors": y - x * slope}


# ---- the gap -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gap:
    """How far decoded embeddings lie from true ones, as directions.

    Parameters
    ----------
    distance : float
        Between the mean of the decoded and the mean of the true ones, all of length 1; 0 to 2.
    cosine : float
        Mean cosine between decoded and true embedding of the same image.
    cosine_others : float
        Mean cosine between decoded and true embeddings of different images.
    n : int
        Rows.
    """

    distance: float
    cosine: float
    cosine_others: float
    n: int


def gap(decoded: np.ndarray, true: np.ndarray, image: np.ndarray, origin: Any = 0.0) -> Gap:
    """Measure the modality gap; it selects nothing.

    Parameters
    ----------
    decoded, true : array (row, dim)
    image : array of str (row,)
    origin : array (dim,), optional
        Where directions start.

    Returns
    -------
    Gap
    """
    images, first, row = np.unique(image, return_index=True, return_inverse=True)
    a, b = (_directions(x - origin) for x in (decoded, true))
    each = b[first]
    same = (a * b).sum(1)
    total = a @ each.sum(0) - same
    others = total.mean() / max(1, len(images) - 1)
    count = np.bincount(row)
    # every image counts once, however often it was shown
    mean = (a / count[row][:, None]).sum(0) / len(images)
    distance = np.linalg.norm(mean - each.mean(0))
    values = (float(v) for v in (distance, same.mean(), others))
    return Gap(*values, n=len(row))


def _directions(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)
