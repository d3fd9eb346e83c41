"""The family of brain towers: what they are built from and what they return.

Comes in: a frozen `Shape` (channels, times, subjects, target widths). Goes out: a torch module with
``forward(signal (batch, channel, time), subject (batch,), present (batch, channel))
-> {target: (batch, dim)}``. A head used for regression alone is returned as ``<target>@regression``.
Closed-form towers (``closed_form = True``) are fitted per subject instead of trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neurovis.config import Family
from neurovis.errors import NeurovisError

REGRESSION = "@regression"


@dataclass(frozen=True, eq=False)
class Shape:
    """What a tower must know to be built.

    Parameters
    ----------
    n_times : int
    sfreq : float, Hz
    channel_name : tuple of str (channel,)
        Union of the channels of all subjects.
    channel_type : tuple of str (channel,)
    channel_position : array (channel, 3), m
        NaN where unknown.
    subjects : tuple of str
    outputs : dict of int
        Width of each target.
    tmin : float, s
    present : array of bool (subject, channel), optional
        Which channels each subject has; all where it is not said.
    """

    n_times: int
    sfreq: float
    channel_name: tuple[str, ...]
    channel_type: tuple[str, ...]
    channel_position: np.ndarray
    subjects: tuple[str, ...]
    outputs: dict[str, int]
    tmin: float = 0.0
    present: np.ndarray | None = None

    def channels_of(self, subject: int) -> np.ndarray:
        """Numbers of the channels that a subject has: array of int (channel,)."""
        if self.present is None:
            return np.arange(self.n_chans)
        return np.flatnonzero(self.present[subject])

    @property
    def n_chans(self) -> int:
        """Number of channels."""
        return len(self.channel_name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for ``shape.json`` beside the weights."""
        position = np.where(np.isfinite(self.channel_position), self.channel_position, -1e9)
        has = self.present
        montages = None if has is None else ["".join(map(str, row.astype(int))) for row in has]
        return {
            "present": montages,
            "n_times": self.n_times,
            "sfreq": self.sfreq,
            "tmin": self.tmin,
            "channel_name": list(self.channel_name),
            "channel_type": list(self.channel_type),
            # every digit: towers are built from positions again, and must be the same
            "channel_position": position.astype(float).tolist(),
            "subjects": list(self.subjects),
            "outputs": self.outputs,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Shape:
        """Read what `to_dict` wrote."""
        position = np.array(data["channel_position"], np.float32)
        position[position < -1e8] = np.nan
        names = ("channel_name", "channel_type", "subjects")
        data = {**data, **{k: tuple(data[k]) for k in names}}
        if data.get("present") is not None:
            data["present"] = np.array([[mark == "1" for mark in row] for row in data["present"]])
        return cls(**{**data, "channel_position": position})


class BrainEncoder(Family, family="brain"):
    """A brain tower: signals in, one vector per target out."""

    closed_form: ClassVar[bool] = False

    def build(self, shape: Shape) -> Any:
        """Build the tower for this shape.

        Parameters
        ----------
        shape : Shape

        Returns
        -------
        torch.nn.Module, or a closed-form model with ``fit``, ``predict`` and ``tensors``; the latter
        names what was fitted: ``coef`` for the attribute ``coef_``
        """
        raise NotImplementedError


def layout(position: np.ndarray) -> np.ndarray:
    """Flatten sensor positions to the unit square, keeping neighbours together.

    Parameters
    ----------
    position : array (channel, 3), m
        Head coordinates (x right, y front, z up); NaN where unknown.

    Returns
    -------
    array (channel, 2) in [0, 1]
        Azimuthal equidistant projection seen from above, channels without a position at NaN.

    Raises
    ------
    NeurovisError
        If no channel has a position.
    """
    known = np.isfinite(position).all(1) & (np.abs(position).sum(1) > 0)
    if not known.any():
        raise NeurovisError(
            "channel_position: expected at least one known sensor position, found none; "
            "set a montage, or use spatial='learned' in the tower."
        )
    centre = position[known].mean(0)
    centre[2] = position[known][:, 2].min()
    x, y, z = (position - centre).T
    radius = np.arctan2(np.hypot(x, y), np.maximum(z, 1e-6))
    angle = np.arctan2(y, x)
    flat = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    low, high = np.nanmin(flat[known], 0), np.nanmax(flat[known], 0)
    flat = (flat - low) / np.maximum((high - low).max(), 1e-9)
    flat[~known] = np.nan
    return flat.astype(np.float32)
