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
from neurovis.generate.posterior import Tensors, estimator
from neurovis.generate.regression import Known, regress
from neurovis.norms import Norms


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
        said = estimator({"weight": tensors["weight"], "bias": tensors["origin"]})
        return lambda vector, seeds: said(vector)


class Regression(Prior, name="regression"):
    """The mean of the embeddings that a decoded vector allows.

    Training images, each widened into a Gaussian, say what embeddings there are and how they go with vectors of
    the decoder's space (`neurovis.generate.posterior`); what a decoded vector says of its image, its noise, and
    how wide images are taken are learned from decoded validation rows. Where training images have no vectors in
    that space, ridge regression on decoded validation rows, its penalty chosen by cross-validation over
    images, none of which is on two sides.
    """

    def fit(self, known: Known, seed: int = 0, checkpoint: Path | None = None) -> Tensors:
        """See `Prior.fit`."""
        tensors, held = regress(known)
        return self._finished(tensors, known, held)

    def saying(self, tensors: Tensors) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """See `Prior.saying`."""
        said = estimator(tensors)
        return lambda vector, seeds: said(vector)


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
        draw, told = self._drawing(tensors), estimator(tensors)
        return lambda vector, seeds: draw(told(vector), seeds)

    def _drawing(self, tensors: Tensors) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """A function of what regression says and seeds."""
        from neurovis.generate.denoiser import sampler

        origin, scale = tensors["origin"], tensors["scale"]
        draw = sampler(self, tensors, len(origin))
        return lambda told, seeds: draw((told - origin) / scale, seeds) * scale + origin


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
