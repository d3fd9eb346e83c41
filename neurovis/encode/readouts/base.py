"""The family of readouts, and what each is given: features of images and responses to them.

Comes in: a `Problem`. Goes out: a `Fitted`, which predicts responses to any images that its families know.
A readout is a small frozen config; `fit` learns from training rows and chooses by held-out ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from neurovis.config import Family
from neurovis.distributed import ALONE, World

if TYPE_CHECKING:
    from neurovis.encode.features import Source


@dataclass(frozen=True, eq=False)
class Problem:
    """What a readout learns from.

    Parameters
    ----------
    sources : dict of Source
        Families of features, by name.
    image : array of str (row,)
        Of every row: training images first, then those of the validation side.
    y : array (row, target) float32
        Mean response over repeats of each image; targets are channels, or channels and times.
    n_train : int
        Rows before this are training.
    concept : array of str (row,)
    seed : int
    device : torch.device
    folder : Path
        Where checkpoints go.
    name : str
        Of this fit, for checkpoints and progress.
    made_by : str
        Artefact that checkpoints belong to.
    hold : bool
        Whether predictions of validation rows by weights that did not learn from them are asked for.
    quiet : bool
    world : World
    """

    sources: Mapping[str, Source]
    image: np.ndarray
    y: np.ndarray
    n_train: int
    concept: np.ndarray
    seed: int
    device: Any
    folder: Path
    name: str
    made_by: str = ""
    hold: bool = False
    quiet: bool = True
    world: World = ALONE

    @property
    def train(self) -> np.ndarray:
        """Training rows: array of int."""
        return np.arange(self.n_train)

    @property
    def held(self) -> np.ndarray:
        """Validation rows: array of int."""
        return np.arange(self.n_train, len(self.image))


@dataclass(frozen=True, eq=False)
class Fitted:
    """A readout that has learned.

    Parameters
    ----------
    predict : callable
        Image ids -> array (image, target) float32.
    parts : callable, optional
        Image ids -> what each family contributes: dict of array (image, target), without the intercept.
    per_target : dict of array (target, ...)
        What was found for each target: penalty, receptive field, ...
    tensors : dict of tensor
        Weights, for safetensors.
    held : array (row, target), optional
        What is predicted of validation rows by weights that did not learn from them, where `predict`
        did.
    gradient : callable, optional
        For families of vectors: raw vectors (image, dim) tensor of the one family -> responses
        (image, target) tensor, through which gradients flow.
    """

    predict: Callable[[Sequence[str]], np.ndarray]
    parts: Callable[[Sequence[str]], dict[str, np.ndarray]] | None = None
    per_target: dict[str, np.ndarray] = field(default_factory=dict)
    tensors: dict[str, Any] = field(default_factory=dict)
    held: np.ndarray | None = None
    gradient: Callable[[Any], Any] | None = None


class Readout(Family, family="readouts"):
    """Root of the readouts.

    Parameters
    ----------
    families : tuple of str
        Families of features it is used on; empty for all that it can read.
    """

    maps: ClassVar[bool] = False
    """Whether it reads maps (image, channel, y, x); others read vectors."""

    joins: ClassVar[bool] = False
    """Whether it takes several families at once."""

    families: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Families that it takes besides the one it reads."""
        return ()

    def fit(self, problem: Problem) -> Fitted:
        """Learn from the training rows, choose by the validation rows."""
        raise NotImplementedError
