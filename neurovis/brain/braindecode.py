"""Any braindecode model by name, as a brain tower.

Comes in: ``{name: braindecode, model: EEGNet, options: {...}}``. Goes out: that model with one output
per target dimension. Three of braindecode's models are CC BY-NC inside a BSD package: they are refused
unless ``accept_noncommercial`` is set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pydantic

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.errors import NeurovisError, unknown

NONCOMMERCIAL = ("BrainModule", "EEGMiner", "MetaNeuromotorHandwriting", "MetaNeuromotor")


class Braindecode(BrainEncoder, name="braindecode"):
    """A model of braindecode.models, by its class name.

    Parameters
    ----------
    model : str
        Such as ``EEGNet``, ``ShallowFBCSPNet``, ``ATCNet``.
    options : dict
        Further arguments of its constructor.
    accept_noncommercial : bool
        Allow models under CC BY-NC 4.0.
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
                f"braindecode model {self.model!r} is CC BY-NC 4.0, not free for commercial use; "
                "set brain.accept_noncommercial=true, or use the tower 'conv'."
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
        except (TypeError, ValueError, AssertionError) as error:
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
                parts = self.inner(signal).split(list(shape.outputs.values()), dim=1)
                return dict(zip(shape.outputs, parts))

        return Tower()


def _channels(shape: Shape) -> list[dict]:
    places = np.where(np.isfinite(shape.channel_position), shape.channel_position, 0.0)
    return [
        {"ch_name": name, "kind": kind, "loc": np.concatenate([place, np.zeros(9)])}
        for name, kind, place in zip(shape.channel_name, shape.channel_type, places)
    ]
