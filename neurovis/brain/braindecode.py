"""Any braindecode model by name, as a brain tower.

Comes in: ``{name: braindecode, model: EEGNet, options: {...}}``. Goes out: that model with one output
per target dimension. Five of braindecode's models are under Creative Commons licences that exclude
commercial use, inside a BSD package (its NOTICE): they are refused unless ``accept_noncommercial`` is
set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.errors import NeurovisError, unknown

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
    """

    model: str = "EEGNet"
    options: dict[str, Any] = pydantic.Field(default_factory=dict)
    accept_noncommercial: bool = False

    def build(self, shape: Shape) -> Any:
        """Build the torch module; see `BrainEncoder.build`."""
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
            inner = cls(
                n_chans=shape.n_chans,
                n_times=shape.n_times,
                sfreq=shape.sfreq,
                n_outputs=width,
                chs_info=_channels(shape),
                **self.options,
            )
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise NeurovisError(
                f"braindecode model {self.model!r} does not fit {shape.n_chans} channels x "
                f"{shape.n_times} times at {shape.sfreq:g} Hz ({error}); change brain.options."
            ) from error

        class Tower(torch.nn.Module):
            """The model, its outputs cut into targets."""

            def __init__(self):
                super().__init__()
                self.inner = inner

            def forward(self, signal: Any, subject: Any, present: Any) -> dict[str, Any]:
                if not bool(present.all()):
                    signal = signal * present[:, :, None]
                parts = self.inner(signal).split(list(shape.outputs.values()), dim=1)
                return dict(zip(shape.outputs, parts))

        return Tower()


def _channels(shape: Shape) -> list[dict]:
    places = np.where(np.isfinite(shape.channel_position), shape.channel_position, 0.0)
    return [
        {"ch_name": name, "kind": kind, "loc": np.concatenate([place, np.zeros(9)])}
        for name, kind, place in zip(shape.channel_name, shape.channel_type, places)
    ]
