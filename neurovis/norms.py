"""Lengths and spreads of predictions restored from training statistics, for generators.

A decoder that is trained on cosines, or shrunk by noise, says vectors that are too short or too long
for a generator that was trained on true ones. Statistics come from the targets of training images and
from predictions of validation images, never from test rows: unlike Brain-Diffuser, whose predictions
are standardised over the test set, nothing here is transductive.

Reference: Ozcelik & VanRullen 2023, arXiv 2303.05334 (standardised predictions, training moments).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.store import load_tensors, save_tensors


@dataclass(frozen=True, eq=False)
class Norms:
    """What is known of a target's vectors before any test row is seen.

    Parameters
    ----------
    norm : array (1,)
        Mean length of the training images' vectors.
    mean, std : array (dim,)
        Of the training images' vectors.
    said_mean, said_std : array (dim,)
        Of predictions of validation images.
    """

    norm: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    said_mean: np.ndarray
    said_std: np.ndarray

    @classmethod
    def of(cls, train: np.ndarray, validation: np.ndarray) -> Norms:
        """Statistics of true vectors (image, dim) and of predictions (row, dim).

        Raises
        ------
        NeurovisError
            If dims differ, or there are fewer than two of either.
        """
        if train.ndim != 2 or train.shape[1:] != validation.shape[1:]:
            raise NeurovisError(
                f"norms: expected (image, dim) and (row, dim) of one dim, found {train.shape} and "
                f"{validation.shape}; give vectors of one target."
            )
        if min(len(train), len(validation)) < 2:
            raise NeurovisError(
                f"norms: expected at least two training images and two validation rows, found "
                f"{len(train)} and {len(validation)}; preprocess with a validation part."
            )
        train, validation = train.astype(np.float64), validation.astype(np.float64)
        parts = [np.linalg.norm(train, axis=1).mean(keepdims=True)]
        parts += [f(x) for x in (train, validation) for f in (_mean, _std)]
        return cls(*(part.astype(np.float32) for part in parts))

    def restore(self, vector: np.ndarray, how: Literal["norm", "moments"] = "norm") -> np.ndarray:
        """Predictions (row, dim) as a generator expects them, each row by itself.

        Parameters
        ----------
        vector : array (row, dim)
        how : {"norm", "moments"}
            Scale each row to the mean length of true vectors; or move every dim from the mean and
            standard deviation of validation predictions to those of true vectors. A dim that
            predictions do not vary in becomes the true mean.

        Returns
        -------
        array (row, dim) float32

        Raises
        ------
        NeurovisError
            If the dims differ, or a row to scale is zero.
        """
        vector = np.asarray(vector, np.float32)
        if vector.ndim != 2 or vector.shape[1] != len(self.mean):
            raise NeurovisError(
                f"norms: expected (row, dim={len(self.mean)}), found {vector.shape}; give predictions "
                "of the target that the statistics are of."
            )
        if how == "moments":
            varies = self.said_std > 0
            gain = np.divide(self.std, self.said_std, out=np.zeros_like(self.std), where=varies)
            return (vector - self.said_mean) * gain + self.mean
        length = np.linalg.norm(vector, axis=1, keepdims=True)
        if not (length > 0).all():
            raise NeurovisError(
                f"norms: expected vectors with a direction, found only zeros in row "
                f"{int((length[:, 0] == 0).argmax())}; drop that row or mend the model that made it."
            )
        return vector * (self.norm / length)


def _mean(x: np.ndarray) -> np.ndarray:
    return x.mean(0)


def _std(x: np.ndarray) -> np.ndarray:
    return x.std(0)


def write_norms(path: Path, norms: dict[str, Norms]) -> None:
    """Write ``norms.safetensors``: ``<head>/<statistic>``."""
    import torch

    tensors = {
        f"{k}/{f.name}": torch.from_numpy(getattr(v, f.name))
        for k, v in norms.items()
        for f in fields(v)
    }
    save_tensors(path, tensors, format="neurovis-norms")


def read_norms(path: Path) -> dict[str, Norms]:
    """Read what `write_norms` wrote, by head: ``<target>``, ``<target>@regression``."""
    tensors = {k: v.numpy() for k, v in load_tensors(path).items()}
    targets = dict.fromkeys(k.rpartition("/")[0] for k in tensors)
    names = [f.name for f in fields(Norms)]
    missing = [f"{t}/{n}" for t in targets for n in names if f"{t}/{n}" not in tensors]
    if missing or not targets:
        raise NeurovisError(
            f"{path}: {missing[0] if missing else 'every statistic'} is missing; train the run anew."
        )
    return {t: Norms(*(tensors[f"{t}/{n}"] for n in names)) for t in targets}
