"""What every kind of simulated recording shares: its name, its files, its design.

Comes in: nothing. Goes out: `Modality`, the family's root. `simulate` asks a modality for a subject, for
what is true of it, and for one run after another, and knows nothing else about devices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from neurovis.config import Family

TASK = "images"

EVENT_COLUMNS = {
    "trial_type": "train: many images with few repeats; test: few images with many repeats",
    "stim_file": "Picture that was shown, relative to stimuli/",
    "image": "Name of the image",
    "repeat": "How many times this subject had seen the image before, from 0",
}


class Modality(Family, family="modalities"):
    """A way of recording a brain; subclass with a name to add one.

    Its default `snr` is where the informed observer names a single trial's image among those of the
    test in about 30 % of trials, as ``python -m experiments.benchmarks.limits --modality NAME`` prints.
    """

    datatype: ClassVar[str]
    """Folder of BIDS."""
    ending: ClassVar[str]
    """How a recording's file ends: BIDS suffix and extension."""
    unit: ClassVar[str]
    default_snr: ClassVar[float]
    padding: ClassVar[tuple[float, float]]
    """Recording before the first trial, and after the last trial's slot, s."""
    defaults: ClassVar[dict[str, Any]] = {}
    """Fields of the design whose defaults are others."""

    def check(self, plan: Any) -> None:
        """Refuse a design that this modality cannot record."""

    def rate(self, plan: Any) -> float:
        """Steps per second in which onsets are placed, Hz."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it counts time")

    def subject(self, number: int, features: Any, plan: Any) -> Any:
        """Build subject `number` (from 1): an object with a `label`."""
        raise NotImplementedError(f"{type(self).__name__} does not make subjects")

    def sees(self, features: Any) -> Any:
        """Features that drive this modality's sources, made from those of the pictures."""
        return features

    def truth(self, subject: Any, features: Any, plan: Any) -> tuple[dict, dict]:
        """What observers may know of a subject: arrays, attributes."""
        raise NotImplementedError(f"{type(self).__name__} does not say what is true")

    def write_subject(self, subject: Any, root: Path) -> None:
        """Write what a subject has beside its runs."""

    def write_run(
        self, subject: Any, root: Path, session: str, run: str, plan: Any, events: dict,
        z: np.ndarray, seed: Any,
    ) -> None:  # fmt: skip
        """Simulate one run and write its files, the events file last."""
        raise NotImplementedError(f"{type(self).__name__} does not record")

    def recording(self, root: Path, subject: str, session: str, run: str) -> Path:
        """File of a run."""
        name = f"sub-{subject}_ses-{session}_task-{TASK}_run-{run}_{self.ending}"
        return root / f"sub-{subject}" / f"ses-{session}" / self.datatype / name


def events_file(recording: Path) -> Path:
    """The events of a recording; it is written last, so that it completes a run."""
    return recording.with_name(recording.name.rsplit("_", 1)[0] + "_events.tsv")
