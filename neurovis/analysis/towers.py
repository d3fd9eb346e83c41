"""A run's trained towers in an analysis: whose model, which channels, which space of images.

Comes in: a run folder and a `Layout`. Goes out: one layout per subject, whose vectors are those that the
subject's tower is compared with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurovis.analysis.base import Analysis, Layout
from neurovis.batches import Recordings
from neurovis.errors import UsageError

if TYPE_CHECKING:
    from neurovis.pretrained import Pretrained


def model_of(run: Path, subject: str) -> str | None:
    """The subject to load a model of, where each has one; None where all share one."""
    return subject if (run / f"shape-{subject}.json").is_file() else None


def loaded(run: Path, subject: str) -> Pretrained:
    """The tower that decodes a subject."""
    from neurovis.pretrained import Pretrained

    if not any(run.glob("model*.safetensors")):
        raise UsageError(
            f"{run}: expected a trained tower, found no model.safetensors; choose another model."
        )
    return Pretrained(run, subject=model_of(run, subject))


def channel_names(recordings: Recordings, layout: Layout) -> dict[str, tuple[str, ...]]:
    """Names of the channels of each subject, in the order of the layout's signals."""
    return {
        subject: tuple(recordings.channel_name[i] for i in channels)
        for subject, channels in layout.channels.items()
    }


def tower_layouts(
    config: Analysis, recordings: Recordings, layout: Layout, run: Path, out: Path
) -> dict[str, Layout]:
    """A layout per subject, with the vectors that its tower is compared with.

    Parameters
    ----------
    config : Analysis
    recordings : Recordings
    layout : Layout
        With the levels of the run.
    run : Path
    out : Path
        Where embeddings are kept.

    Raises
    ------
    UsageError
        If the run has no tower, or other targets; or if time was binned or levels taken apart.
    """
    if config.bin or config.apart:
        raise UsageError(
            "bin, apart: expected neither with the run's tower, which was trained without; leave them out."
        )
    split, stimuli = recordings.folds[0], recordings.stimuli
    found = {}
    for subject in layout.subjects:
        model = loaded(run, subject)
        if set(model.targets) != set(config.targets):
            raise UsageError(
                f"targets: expected those of the run ({', '.join(model.targets)}), found "
                f"{', '.join(config.targets)}; the tower says no other."
            )
        parts = []
        for name in config.targets:
            vector = config.targets[name].vectors(stimuli, split, out, quiet=True).at(layout.image)
            weight = model.spaces[name].projection
            if weight is not None:
                vector = vector * weight if weight.ndim == 1 else vector @ weight
            parts.append(vector)
        found[subject] = replace(
            layout,
            levels=tuple(config.targets),
            widths=tuple(part.shape[1] for part in parts),
            vector=np.concatenate(parts, axis=1).astype(np.float32),
        )
    return found
