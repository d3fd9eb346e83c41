"""A trained model that was saved, ready to predict embeddings from signals.

Comes in: a folder of safetensors weights, YAML and JSON. Goes out: vectors per target for signals of the
subjects it was trained on, channels found by name. Nothing in the folder is executed: its tower is found
by name in this installation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.config import load_yaml, resolve
from neurovis.decoder import decoder
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.experiment import VERSION
from neurovis.records import Trials
from neurovis.spaces import Space
from neurovis.store import load_tensors, read_json

BLOCK, BLOCK_CLOSED = 256, 512
"""Rows at a time, as in training's own predictions: sums then round alike."""


def read_config(folder: Path) -> dict[str, Any]:
    """The experiment of a saved model, as plain data; a newer version is refused."""
    config = load_yaml(folder / "config.yaml")
    version = config.get("version", VERSION)
    if not isinstance(version, int) or version > VERSION:
        raise UsageError(
            f"{folder / 'config.yaml'}: version {version}, this neurovis reads up to {VERSION}; "
            "update neurovis."
        )
    return config


def read_brain(config: dict[str, Any], folder: Path) -> BrainEncoder:
    """The tower that a saved model names; one from outside neurovis is refused."""
    said = config.get("brain")
    name = said.get("name") if isinstance(said, dict) else said
    if not isinstance(name, str):
        raise NeurovisError(f"{folder / 'config.yaml'}: brain is missing; the file is damaged.")
    if ":" in name:
        raise NeurovisError(
            f"{folder}: its tower {name!r} is no part of neurovis, and code that a folder names is not "
            "imported; import it yourself and give its config as brain=."
        )
    return resolve(BrainEncoder, said)


class Pretrained:
    """A trained model, ready to predict.

    Parameters
    ----------
    folder : path
        From `save_pretrained`.
    fold, brain, device, subject
        As in `from_pretrained`.

    Attributes
    ----------
    channel_name : tuple of str (channel,)
    subjects : tuple of str
    targets : tuple of str
    sfreq : float, Hz
    tmin : float, s
    n_times : int
    unit, modality : str
    """

    def __init__(
        self,
        folder: Path,
        fold: int | None = None,
        brain: BrainEncoder | None = None,
        device: str = "cpu",
        subject: str | None = None,
    ):
        config = read_config(folder)
        self.brain = brain if brain is not None else read_brain(config, folder)
        part = _part(folder, subject)
        data = read_json(folder / f"shape{part}.json")
        try:
            self.shape = Shape.from_dict(data)
        except (KeyError, TypeError, ValueError) as error:
            raise NeurovisError(
                f"{folder / f'shape{part}.json'}: damaged ({error}); save the model anew."
            ) from error
        signals = read_json(folder / "signals.json", "neurovis-signals")
        self.unit, self.modality = str(signals["unit"]), str(signals["modality"])
        self.dataset = str(signals.get("dataset", ""))
        self.channel_name, self.subjects = self.shape.channel_name, self.shape.subjects
        self.sfreq, self.tmin, self.n_times = self.shape.sfreq, self.shape.tmin, self.shape.n_times
        self.targets = tuple(self.shape.outputs)
        self.device = device
        has = [signals["channels"][who] for who in self.subjects]
        self._has = np.array([np.isin(self.channel_name, names) for names in has])
        path, self._folds = _weights(folder, fold, part)
        tensors = load_tensors(path)
        self.spaces = {
            name: Space.read(folder / "spaces" / f"{name}.safetensors") for name in self.targets
        }
        if self.brain.closed_form:
            self._models = [self._closed(number, tensors, path) for number in range(len(has))]
            return
        import torch

        projection = config.get("projection", "linear")
        if projection not in ("linear", "scale", "none", "own"):
            raise NeurovisError(
                f"{folder / 'config.yaml'}: projection {projection!r} joins the targets, expected linear, "
                "scale, own or none; a model with one map per target can be loaded."
            )
        tower = self.brain.build(self.shape)
        spread = any(name.startswith("spread.") for name in tensors)
        n_subjects = len(self.subjects)
        self._model = decoder(tower, self.shape.outputs, projection, spread, n_subjects)
        try:
            self._model.load_state_dict(tensors)
        except RuntimeError as error:
            raise NeurovisError(
                f"{path}: its weights do not fit the tower {self.brain.component!r} "
                f"({' '.join(str(error).split())[:200]}); save the model anew with this version."
            ) from error
        self._model.to(torch.device(device)).eval()
        if not self._folds:
            for name, space in self.spaces.items():
                weight = tensors.get(f"projection.{self.targets.index(name)}")
                if weight is not None:
                    weight = weight.float().numpy()
                    weight = weight[0] if weight.ndim == 3 and n_subjects == 1 else weight
                    self.spaces[name] = replace(space, projection=weight)

    def _closed(self, number: int, tensors: dict[str, Any], path: Path) -> Any:
        who, keep = self.subjects[number], np.flatnonzero(self._has[number])
        shape = replace(
            self.shape,
            channel_name=tuple(self.channel_name[i] for i in keep),
            channel_type=tuple(self.shape.channel_type[i] for i in keep),
            channel_position=self.shape.channel_position[keep],
            subjects=(who,),
            **({"present": None} if "present" in {f.name for f in fields(Shape)} else {}),
        )
        own = {k.split("/", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{who}/")}
        if not own:
            raise NeurovisError(f"{path}: no weights of subject {who!r}; save the model anew.")
        model = self.brain.build(shape)
        for name, value in own.items():
            setattr(model, f"{name}_", value.numpy())
        return model

    def predict(
        self,
        signal: np.ndarray,
        channel_name: Sequence[str],
        sfreq: float,
        tmin: float,
        subject: str | Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Predict embeddings.

        Parameters
        ----------
        signal : array (trial, channel, time)
            In the model's `unit`, scaled as in training. A longer window is cut to the model's.
        channel_name : sequence of str (channel,)
            In any order. Channels that the model does not know are left out; those that it misses are
            marked absent.
        sfreq : float, Hz
        tmin : float, s
            Time of the first sample after the picture appeared.
        subject : str or sequence of str (trial,), optional
            One of `subjects`; may be left out where the model has one.

        Returns
        -------
        dict of array (trial, dim) float32
            By target, in the space of `gallery`.

        Raises
        ------
        NeurovisError
            If rate, window or channels do not fit, or a signal is not finite.
        """
        signal, present = self._aligned(signal, channel_name, sfreq, tmin)
        number = self._numbers(subject, len(signal))
        present = present & self._has[number]
        if not present.any(axis=1).all():
            who = self.subjects[number[(~present.any(axis=1)).argmax()]]
            raise NeurovisError(
                f"channel_name: none is one that the model knows of subject {who!r}; expected names such "
                f"as {', '.join(self.channel_name[:4])}."
            )
        signal = np.where(present[:, :, None], signal, np.float32(0))
        if self.brain.closed_form:
            return self._predict_closed(signal, number)
        import torch

        parts: dict[str, list] = {name: [] for name in self.targets}
        with torch.inference_mode():
            for start in range(0, len(signal), BLOCK):
                rows = slice(start, start + BLOCK)
                batch = (signal[rows], number[rows], present[rows])
                said = self._model(*(torch.from_numpy(part).to(self.device) for part in batch))
                for name, value in parts.items():
                    value.append(said[name].float().cpu())
            vectors = {name: torch.cat(value) for name, value in parts.items()}
            if self._folds:
                model = self._model
                vectors = {k: model.back(k, v.to(self.device)).cpu() for k, v in vectors.items()}
        return {name: value.numpy() for name, value in vectors.items()}

    def forward(self, signal: Any, subject: str) -> dict[str, Any]:
        """What the tower says of a tensor, with gradients to it.

        Parameters
        ----------
        signal : torch.Tensor (trial, channel, time)
            In the channels of `channel_name`; those that the subject lacks are not looked at.
        subject : str
            One of `subjects`.

        Returns
        -------
        dict of torch.Tensor (trial, dim)
            By target.
        """
        import torch

        if self.brain.closed_form:
            raise UsageError(
                f"{self.brain.component}: expected a trained tower, found a closed form; use its weights."
            )
        number = torch.from_numpy(self._numbers(subject, len(signal))).to(signal.device)
        present = torch.from_numpy(self._has).to(signal.device)[number]
        said = self._model(torch.where(present[:, :, None], signal, 0.0), number, present)
        return {name: said[name] for name in self.targets}

    def predict_trials(self, trials: Trials, rows: Any = slice(None)) -> dict[str, np.ndarray]:
        """Predict embeddings of trials of a subject that the model knows; see `predict`.

        Raises
        ------
        NeurovisError
            If modality or unit differ, too.
        """
        for name in ("modality", "unit"):
            if getattr(trials, name) != getattr(self, name):
                raise NeurovisError(
                    f"Trials.{name}: expected {getattr(self, name)!r} as in training, found "
                    f"{getattr(trials, name)!r}; preprocess them as the model card says."
                )
        names = trials.channel_name.tolist()
        return self.predict(trials.read(rows), names, trials.sfreq, trials.tmin, trials.subject)

    def gallery(
        self,
        target: str,
        vector: np.ndarray,
        encoder: dict[str, Any] | None = None,
        subject: str | None = None,
    ) -> np.ndarray:
        """Bring an encoder's vectors to the space of the predictions.

        Parameters
        ----------
        target : str
        vector : array (image, dim)
            Of the target's encoder.
        encoder : dict, optional
            Its config, as `Embeddings` keep it; another encoder than the target's is refused.
        subject : str, optional
            Whose predictions they are compared with, where each subject has an image side of its own.

        Returns
        -------
        array (image, dim) float32
            To be compared with predictions by cosine.
        """
        if target not in self.spaces:
            raise UsageError(unknown("target", target, self.targets))
        space = self.spaces[target]
        space.check(encoder or {})
        if np.ndim(space.projection) == 3:
            number = int(self._numbers(subject, 1)[0])
            space = replace(space, projection=space.projection[number])
        return space.apply(vector)

    def _aligned(
        self, signal: np.ndarray, channel_name: Sequence[str], sfreq: float, tmin: float
    ) -> tuple[np.ndarray, np.ndarray]:
        signal, names = np.asarray(signal, np.float32), [str(name) for name in channel_name]
        if signal.ndim != 3 or signal.shape[1] != len(names) or len(signal) == 0:
            raise NeurovisError(
                f"signal: expected (trial, channel={len(names)}, time) with at least one trial, found "
                f"{signal.shape}; give one name per channel."
            )
        if len(set(names)) < len(names):
            raise NeurovisError("channel_name: a name appears twice; rename the channels.")
        if not np.isfinite(signal).all():
            row = int((~np.isfinite(signal).all((1, 2))).argmax())
            raise NeurovisError(
                f"signal: expected finite numbers, found NaN or infinity in trial {row}; leave it out."
            )
        if abs(sfreq - self.sfreq) > 1e-6 * self.sfreq:
            raise NeurovisError(
                f"sfreq: expected {self.sfreq:g} Hz as in training, found {sfreq:g} Hz; resample the "
                "signals."
            )
        first = (self.tmin - tmin) * self.sfreq
        start = round(first)
        if abs(first - start) > 0.01 or start < 0 or start + self.n_times > signal.shape[2]:
            stop = self.tmin + (self.n_times - 1) / self.sfreq
            raise NeurovisError(
                f"tmin, time: expected {self.n_times} samples from {self.tmin:g} to {stop:g} s, found "
                f"{signal.shape[2]} from {tmin:g} s; cut the epochs to that window."
            )
        place = {name: i for i, name in enumerate(names)}
        out = np.zeros((len(signal), len(self.channel_name), self.n_times), np.float32)
        present = np.array([name in place for name in self.channel_name])
        columns = [place[name] for name in self.channel_name if name in place]
        out[:, present] = signal[:, columns, start : start + self.n_times]
        return out, present

    def _numbers(self, subject: str | Sequence[str] | None, n: int) -> np.ndarray:
        if subject is None:
            if len(self.subjects) > 1:
                raise UsageError(
                    f"subject: expected one of {', '.join(self.subjects)}, found none; say whose signals "
                    "these are."
                )
            subject = self.subjects[0]
        asked = [subject] * n if isinstance(subject, str) else [str(who) for who in subject]
        for who in dict.fromkeys(asked):
            if who not in self.subjects:
                raise UsageError(unknown("subject", who, self.subjects))
        if len(asked) != n:
            raise NeurovisError(
                f"subject: expected one, or one per trial ({n}), found {len(asked)}."
            )
        return np.array([self.subjects.index(who) for who in asked])

    def _predict_closed(self, signal: np.ndarray, number: np.ndarray) -> dict[str, np.ndarray]:
        out = np.empty((len(signal), sum(self.shape.outputs.values())), np.float32)
        for who in np.unique(number):
            mine = np.flatnonzero(number == who)
            for start in range(0, len(mine), BLOCK_CLOSED):
                rows = mine[start : start + BLOCK_CLOSED]
                out[rows] = self._models[who].predict(signal[rows][:, self._has[who]])
        parts = np.split(out, np.cumsum(list(self.shape.outputs.values()))[:-1], axis=1)
        return dict(zip(self.targets, parts))


def _part(folder: Path, subject: str | None) -> str:
    """End of the names of one subject's files, where each subject has a model."""
    known = [path.stem.removeprefix("shape-") for path in sorted(folder.glob("shape-*.json"))]
    if not known:
        if subject is not None:
            raise UsageError(f"subject: expected none, as there is one model, found {subject!r}.")
        return ""
    if subject not in known:
        raise UsageError(
            f"subject: expected one of {', '.join(known)}, as each has a model of its own, found "
            f"{subject!r}; say whose to load."
        )
    return f"-{subject}"


def _weights(folder: Path, fold: int | None, part: str = "") -> tuple[Path, int]:
    """File of the weights, and how many folds there are (0 where there is one model)."""
    if part:
        if fold is not None:
            raise UsageError(f"fold: expected none, as models are told by subject, found {fold}.")
        return folder / f"model{part}.safetensors", 0
    paths = sorted(folder.glob("model*.safetensors"))
    if not paths:
        raise NeurovisError(f"{folder}: no model.safetensors in it; save the model anew.")
    if [path.name for path in paths] == ["model.safetensors"]:
        if fold is not None:
            raise UsageError(f"fold: expected none, as there is one model, found {fold}.")
        return paths[0], 0
    if fold is None or not 1 <= fold <= len(paths):
        raise UsageError(
            f"fold: expected a number from 1 to {len(paths)}, as each part of the recordings was left out "
            f"in turn, found {fold}; say which model."
        )
    return paths[fold - 1], len(paths)
