"""One subject: responses of its runs to ``trials.h5`` in two passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses to the trials of one recording (a run, or a session of several runs).

    Parameters
    ----------
    signal : array-like (trial, voxel) or (trial, voxel, time)
        Sliced in blocks of trials: an array, a memmap, or anything with ``shape`` and
        ``__getitem__(slice)``; columns follow the subject's `Voxels`. NaN marks what is missing.
    image : array of str (trial,)
    onset : array (trial,), s
    run, session : array of str (trial,), optional
        Where they differ from the recording's.
    tsnr : array (voxel,), optional
        Mean over SD of the voxel's signal in time.
    design : (array (volume, regressor), list of str), optional
        First-level model, for the QC page.
    sfreq : float, Hz
        1 / TR; 1 where the owners of betas state none.
    tmin : float, s
        Of the first sample after the event, for TR windows.
    unit : str
        Of the signal: ``%`` of the mean, ``1``, ...
    notes : tuple of str
    """

    signal: Any
    image: np.ndarray
    onset: np.ndarray
    run: np.ndarray | None = None
    session: np.ndarray | None = None
    tsnr: np.ndarray | None = None
    design: tuple[np.ndarray, list[str]] | None = None
    sfreq: float = 1.0
    tmin: float = 0.0
    unit: str = "1"
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("image", np.asarray(self.image).astype(str))
        put("onset", np.asarray(self.onset, np.float64))
        n = int(self.signal.shape[0])
        if len(self.signal.shape) not in (2, 3):
            raise NeurovisError(
                f"Responses.signal: expected (trial, voxel) or (trial, voxel, time), found "
                f"{tuple(self.signal.shape)}; reshape it."
            )
        for name in ("image", "onset", "run", "session"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise NeurovisError(
                    f"Responses.{name}: expected one value for each of {n} trials, found {len(value)}; "
                    "check what the recording's events name."
                )
        for name in ("run", "session"):
            if getattr(self, name) is not None:
                put(name, np.asarray(getattr(self, name)).astype(str))
