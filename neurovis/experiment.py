"""What an experiment's YAML may say: everything that decides the numbers of a run.

Comes in: a mapping read from YAML. Goes out: one frozen, checked `Experiment`; an option that does not
exist is refused with the nearest right one. How it is run (paths, device) stays out of its fingerprint.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from neurovis.augment import Augmentation
from neurovis.batches import Data
from neurovis.brain.base import BrainEncoder
from neurovis.config import Config, added, how
from neurovis.errors import UsageError
from neurovis.joint import ALL, Projection, projection_of
from neurovis.losses.base import Loss
from neurovis.protocols import Protocol, Subjects
from neurovis.targets import Target, named

VERSION = 1


class Train(Config):
    """How the tower is trained.

    Parameters
    ----------
    epochs : int
        At most; early stopping on validation usually ends before.
    patience : int
        Epochs without a better validation loss before stopping.
    batch_size : int
        Rows that are compared with each other, over all processes together.
    micro_batch : int
        Rows that pass the tower at a time, over all processes together, where a batch is larger than
        memory; 0 for all of them. Gradients are those of the whole batch (see `neurovis.step`). It changes numbers where
        a tower normalises over the batch or draws at random, as it then does so per part.
    lr, weight_decay : float
        Of AdamW.
    momentum : float
        Of AdamW: decay of its mean of gradients, the first of its betas.
    schedule : {"one_cycle", "constant"}
        Whether the rate rises and falls, or stays.
    warmup : float
        Share of the steps in which the rate rises, in one cycle.
    clip_norm : float
    average : {"random", "all", "none"} or int
        Repeats of an image in training: a random part of them averaged anew in every epoch, all of
        them averaged, single trials, or the mean of so many random repeats (of all where there are
        fewer).
    noise : float
        Standard deviation of noise added to training signals, relative to theirs.
    shift : float, s
        Largest random shift in time of training signals.
    average_weights : float
        Decay of the moving average of the weights that validation and prediction use; 0 for none.
    average_epochs : int
        The weights used are the mean of those at the end of so many epochs.
    average_epochs_of : {"best", "last"}
        Which epochs: the best on validation, or the last.
    augment : tuple of Augmentation
        Further changes of training signals, in order, after `shift` and `noise`.
    subject_mix : float
        Probability with which another subject's response to the same image is mixed in; see
        `SubjectMix`.
    """

    epochs: pydantic.PositiveInt = 40
    patience: pydantic.PositiveInt = 10
    batch_size: pydantic.PositiveInt = 128
    micro_batch: pydantic.NonNegativeInt = added(0)
    lr: pydantic.PositiveFloat = 3e-4
    weight_decay: pydantic.NonNegativeFloat = 0.05
    momentum: float = added(0.9, ge=0, lt=1)
    schedule: Literal["one_cycle", "constant"] = added("one_cycle")
    warmup: float = pydantic.Field(0.1, gt=0, lt=1)
    clip_norm: pydantic.PositiveFloat = 1.0
    average: Literal["random", "all", "none"] | pydantic.PositiveInt = "random"
    noise: pydantic.NonNegativeFloat = 0.0
    shift: pydantic.NonNegativeFloat = 0.0
    average_weights: float = pydantic.Field(0.0, ge=0, lt=1)
    average_epochs: pydantic.PositiveInt = added(1)
    average_epochs_of: Literal["best", "last"] = added("best")
    augment: tuple[Augmentation, ...] = added(())
    subject_mix: float = added(0.0, ge=0, le=1)


class Predict(Config):
    """Which test rows are predicted.

    Parameters
    ----------
    repeats : tuple of int
        Numbers of repeats to average; powers of two up to all if empty.
    draws : int
        Random choices of repeats per image, where fewer than all are averaged.
    average : {"signal", "prediction"}
        What is averaged over repeats.
    """

    repeats: tuple[pydantic.PositiveInt, ...] = ()
    draws: pydantic.PositiveInt = 4
    average: Literal["signal", "prediction"] = "signal"


class Experiment(Config):
    """An experiment: everything that decides its numbers.

    Parameters
    ----------
    version : int
        Of this file's format.
    name : str
    data : Data
    targets : dict of Target
        By name; a plain string is an encoder.
    brain : BrainEncoder
    projection : {"linear", "scale", "none", "own"} or Projection
        What is learned on the image side, on top of the frozen embeddings: a map of each target,
        whose similarities are summed where there are several, such a map per subject (``own``: batches
        are of one subject each), or one common space of all (``adapter``, ``three_towers``; see
        `neurovis.joint`).
    loss : Loss
    train : Train
    predict : Predict
    subjects : Subjects
        Who trains and who is tested.
    protocol : Protocol
        What decides which weights are reported.
    baseline : BrainEncoder
        Closed-form model trained on the same trials.
    control : {"tower", "baseline", "none"}
        What is trained on shuffled labels.
    seed : int
    device : str
        ``auto``, ``cpu``, ``cuda``.
    precision : {"auto", "float32", "bfloat16"}
        Of the tower in training; ``auto`` is bfloat16 on GPUs that compute in it, else float32.
    compile : bool
        Compile the tower with ``torch.compile``: half a minute, for steps that are shorter after it.
    tensorboard : bool
        Also write the log's numbers to ``tensorboard/`` in the run.
    """

    version: int = VERSION
    name: str = "run"
    data: Data = Data()
    targets: dict[str, Target] = pydantic.Field(default_factory=lambda: {"image": Target()})
    brain: BrainEncoder = pydantic.Field("conv", validate_default=True)
    projection: Literal["linear", "scale", "none", "own"] | Projection = "linear"
    loss: Loss = pydantic.Field("clip_mse", validate_default=True)
    train: Train = Train()
    predict: Predict = Predict()
    subjects: Subjects = added("joint", validate_default=True)
    protocol: Protocol = added("clean", validate_default=True)
    baseline: BrainEncoder = pydantic.Field("ridge", validate_default=True)
    control: Literal["tower", "baseline", "none"] = "tower"
    seed: int = 0
    device: str = how("auto")
    precision: Literal["auto", "float32", "bfloat16"] = how("auto")
    compile: bool = how(False)
    tensorboard: bool = how(False)

    _read_projection = pydantic.field_validator("projection", mode="before")(projection_of)

    @pydantic.model_validator(mode="after")
    def _check_targets(self) -> Experiment:
        if ALL in self.targets and len(self.targets) > 1:
            raise UsageError(
                "targets: the name 'all' stands for all of them together; give that one another name."
            )
        if not isinstance(self.projection, str) and self.brain.closed_form:
            raise UsageError(
                f"projection {self.projection.component}: is trained with the tower, expected one that is "
                f"trained, found {self.brain.component}; set projection=none or choose another tower."
            )
        return self

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read_targets(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if int(value.get("version", VERSION)) > VERSION:
                raise UsageError(
                    f"experiment: version {value['version']}, this neurovis reads up to {VERSION}; "
                    "update neurovis."
                )
            if isinstance(value.get("targets"), dict):
                value = {**value, "targets": named(value["targets"])}
        return value

    @pydantic.model_validator(mode="after")
    def _enough_epochs(self) -> Experiment:
        if self.protocol.n_models > self.train.epochs:
            raise UsageError(
                f"protocol.n_epochs: expected at most train.epochs={self.train.epochs}, found "
                f"{self.protocol.n_models}; train longer."
            )
        return self
