"""The simulated dataset that ``neurovis simulate`` writes.

Comes in: its BIDS root. Goes out: the prepared folder, with the truth beside each subject's trials, so
that the observers can be computed. Onsets of MEG and EEG come from the trigger channel, whose marks lag
by the ``TriggerLag`` of the recording's JSON file; those of fMRI from the events.

Run: ``python -m preprocessing.synthetic --root SIMULATED --out OUT``
"""

from __future__ import annotations

import sys
from pathlib import Path

from neurovis.prepare import main
from neurovis.signals.chain import Steps
from neurovis.signals.fmri.steps import FmriSteps

from .bids import Bids


class Synthetic(Bids, name="synthetic"):
    """Simulated recordings, MEG and EEG: 0.1-40 Hz, 100 Hz, -0.1 to 0.6 s, robust scaling per subject.

    One scale per channel for all sessions: scales that differ between sessions mix the strong noise
    of the brain into directions that sensors alone limit, and cost a decoder most of what it can
    reach. Not whitened by default; ``--whiten training`` does it.

    fMRI: one beta per trial in the voxels of the visual regions, motion in the model, z-scored per run.
    Pictures follow each other every few seconds: with all trials in one model, slow changes of their
    responses could hardly be told from drifts and motion, and such noise would drown them. Hence one
    model per trial (Mumford et al. 2012, doi:10.1016/j.neuroimage.2011.08.076) and slow polynomials.
    """

    image_column: str | None = "image"
    trigger: str | None = "auto"
    steps: Steps = Steps(
        l_freq=0.1, h_freq=40.0, notch=(50.0, 100.0), sfreq=100.0, tmin=-0.1, tmax=0.6,
        baseline=(None, 0.0), scaling="robust", scope="subject", clamp=20.0,
    )  # fmt: skip
    fmri: FmriSteps = FmriSteps(
        roi=("V1", "V2", "V3", "V4", "objects", "animals", "food", "places"), method="lss",
        drift="polynomial", drift_order=3, high_pass=None,
        confounds=("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"),
    )  # fmt: skip

    def extras(self, root: Path, subject: str) -> dict[str, Path]:
        """The truth, where the simulation stored it."""
        truth = root / "sourcedata" / "truth" / f"sub-{subject}.h5"
        return {"truth.h5": truth} if truth.is_file() else {}

    def shared(self, root: Path) -> dict[str, Path]:
        """Superclass and family of each concept, where the simulation stored them."""
        hierarchy = root / "stimuli" / "hierarchy.json"
        return {hierarchy.name: hierarchy} if hierarchy.is_file() else {}


if __name__ == "__main__":
    sys.exit(main("synthetic"))
