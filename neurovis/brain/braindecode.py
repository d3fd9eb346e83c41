"""Any braindecode model by name, as a brain tower.

Comes in: ``{name: braindecode, model: EEGNet, options: {...}}``. Goes out: that model with one output
per target dimension; where a model says something else, a linear map of it. Foundation models start from
a local file of weights: nothing is fetched. Five of braindecode's models are under Creative Commons
licences that exclude commercial use, inside a BSD package (its NOTICE): they are refused unless
``accept_noncommercial`` is set.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.layers import masked
from neurovis.config import how
from neurovis.errors import NeurovisError, unknown
from neurovis.store import load_tensors

HEAD = "final_layer"
"""What braindecode's models call the layer that says their output: other tasks need another one."""

NONCOMMERCIAL = {
    "BrainModule": "CC BY-NC 4.0",
    "EEGMiner": "CC BY-NC 4.0",
    "MetaNeuromotorHand": "CC BY-NC 4.0",
    "EMG2QwertyNet": "CC BY-NC-SA 4.0",
    "VEMG2Pose": "CC BY-NC-SA 4.0",
}


class Braindecode(BrainEncoder, name="braindecode"):
    """A model of braindecode.models, by its class name.

    Parameters
    ----------
    model : str
        Such as ``EEGNet``, ``ShallowFBCSPNet``, ``ATCNet``.
    options : dict
        Further arguments of its constructor.
    accept_noncommercial : bool
        Allow models whose licence excludes commercial use.
    weights : str
        File of pretrained weights to start from: ``.safetensors``, or what torch saved. The last layer
        may differ and then starts anew; every other tensor must fit. Its content is part of a run's
        fingerprint, its path is not.
    """

    model: str = "EEGNet"
    options: dict[str, Any] = pydantic.Field(default_factory=dict)
    accept_noncommercial: bool = False
    weights: str = how("")

    def build(self, shape: Shape) -> Any:
        """Build the torch module; see `BrainEncoder.build`."""
        import inspect

        import torch
        from braindecode import models

        cls = getattr(models, self.model, None)
        if cls is None:
            known = [name for name in dir(models) if isinstance(getattr(models, name), type)]
            raise NeurovisError(unknown("braindecode model", self.model, known))
        if self.model in NONCOMMERCIAL and not self.accept_noncommercial:
            raise NeurovisError(
                f"braindecode model {self.model!r} is {NONCOMMERCIAL[self.model]}, not free for "
                "commercial use; set brain.accept_noncommercial=true, or use the tower 'conv'."
            )
        width = sum(shape.outputs.values())
        try:
            with _alone():
                inner = cls(
                    n_chans=shape.n_chans,
                    n_times=shape.n_times,
                    sfreq=shape.sfreq,
                    n_outputs=width,
                    chs_info=_channels(shape),
                    **self.options,
                )
                # such models look up what they learned of each channel
                named = "ch_names" in inspect.signature(inner.forward).parameters
                more = {"ch_names": list(shape.channel_name)} if named else {}
                found = _tried(inner, shape, more)
        except (TypeError, ValueError, AssertionError, RuntimeError, OSError) as error:
            raise NeurovisError(
                f"braindecode model {self.model!r} does not fit {shape.n_chans} channels x "
                f"{shape.n_times} times at {shape.sfreq:g} Hz ({error}); change brain.options."
            ) from error
        if self.weights:
            _start_from(inner, self.weights, self.model)
        # models of sequences and of features alone say something else than a vector per target
        last = None if found == (width,) else torch.nn.Linear(int(np.prod(found)), width)

        class Tower(torch.nn.Module):
            """The model, its outputs cut into targets."""

            def __init__(self):
                super().__init__()
                self.inner = inner
                self.last = last

            def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
                said = self.inner(masked(signal, present), **more)
                if self.last is not None:
                    said = self.last(_tensor(said).flatten(1))
                parts = said.split(list(shape.outputs.values()), dim=1)
                return dict(zip(shape.outputs, parts))

        return Tower()


def _tensor(said: Any) -> Any:
    """The first tensor of what a model says."""
    while not hasattr(said, "shape"):
        said = next(iter(said.values() if isinstance(said, dict) else said))
    return said


def _tried(inner: Any, shape: Shape, more: dict[str, Any]) -> tuple[int, ...]:
    """Shape of what the model says of one row, without its rows."""
    import torch

    inner.eval()
    with torch.no_grad():
        said = _tensor(inner(torch.zeros(2, shape.n_chans, shape.n_times), **more))
    inner.train()
    return tuple(said.shape[1:])


@contextmanager
def _alone() -> Iterator[None]:
    """Quiet, and without a network: some models look for files of their own when they are built."""
    import socket

    import mne

    def refuse(*_: Any) -> None:
        raise OSError("it asks for the network, which is not used to build towers")

    before = socket.socket.connect
    socket.socket.connect = refuse  # type: ignore[method-assign]
    try:
        with mne.use_log_level("error"):
            yield
    finally:
        socket.socket.connect = before  # type: ignore[method-assign]


def _start_from(inner: Any, path: str, model: str) -> None:
    """Put a file's weights into a model; all but the last layer must fit."""
    import torch

    file = Path(path)
    if not file.is_file():
        raise NeurovisError(
            f"brain.weights: {path}: no such file; download the model's weights and give their path."
        )
    if file.suffix == ".safetensors":
        found = load_tensors(file)
    else:
        try:
            found = torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            first = str(error).split("\n")[0]
            raise NeurovisError(
                f"brain.weights: {path}: expected tensors that torch saved, found something else "
                f"({first}); save the state_dict alone, or convert it to .safetensors."
            ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    names = getattr(inner, "mapping", None) or {}
    found = {names.get(k.removeprefix("module."), k.removeprefix("module.")): v
             for k, v in found.items()}  # fmt: skip
    own = inner.state_dict()
    differ = {k for k in found if k in own and found[k].shape != own[k].shape}
    wrong = {
        "missing": [k for k in own if k not in found],
        "unknown": [k for k in found if k not in own],
        "of another shape": [
            f"{k} {tuple(found[k].shape)} instead of {tuple(own[k].shape)}" for k in differ
        ],
    }
    wrong = {
        what: sorted(k for k in keys if not k.startswith(HEAD)) for what, keys in wrong.items()
    }
    if any(wrong.values()):
        parts = [
            f"{what}: {', '.join(keys[:8])}{f' and {len(keys) - 8} more' if len(keys) > 8 else ''}"
            for what, keys in wrong.items()
            if keys
        ]
        raise NeurovisError(
            f"brain.weights: {path}: {sum(map(len, wrong.values()))} of {len(own)} tensors of {model} do "
            f"not fit ({'; '.join(parts)}); give brain.options and channels as they were in pretraining."
        )
    fits = {k: v for k, v in found.items() if k in own and k not in differ}
    inner.load_state_dict(own | fits)


def _channels(shape: Shape) -> list[dict]:
    places = np.where(np.isfinite(shape.channel_position), shape.channel_position, 0.0)
    return [
        {"ch_name": name, "kind": kind, "loc": np.concatenate([place, np.zeros(9)])}
        for name, kind, place in zip(shape.channel_name, shape.channel_type, places)
    ]
