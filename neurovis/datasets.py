"""The Dataset family: what one file of ``preprocessing/`` says about one dataset.

Comes in: a root folder with recordings as their owners publish them. Goes out, on request: the list of
recordings, one of them opened, the stimuli, the splits, and one subject written as ``trials.h5`` with its
QC page. `SensorData` is MEG and EEG, `VoxelData` fMRI; how many subjects, in what order and by whom is
`neurovis.prepare`'s business.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic

from neurovis.config import Config, Family, to_dict
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.parallel import Workers
from neurovis.records import Split, Stimuli
from neurovis.signals.chain import Steps
from neurovis.signals.fmri.steps import FmriSteps
from neurovis.signals.fmri.subject import Responses
from neurovis.signals.fmri.voxels import Voxels
from neurovis.signals.sources import Continuous, Epochs, Events, Recording
from neurovis.signals.standardise import learns, write_trials
from neurovis.signals.subject import write_epochs

__all__ = [
    "Continuous", "Dataset", "Epochs", "Events", "FmriSteps", "Recording", "Responses", "SensorData",
    "Steps", "VoxelData", "Voxels", "load_datasets", "split_images", "split_recordings",
]  # fmt: skip


class Dataset(Family, family="datasets"):
    """A dataset of recordings: subclass `SensorData` or `VoxelData` in one file of ``preprocessing/``.

    Parameters
    ----------
    validation : float
        Share of the training concepts (of the training images, below ten concepts) whose images
        validate; with left-out recordings, the one after the test recording validates.
    seed : int
        Of the validation part.
    recipe : str
        Named set of options, one of `recipes`; options given by name change it one by one. It is
        the protocol's name in every score.
    """

    recipes: ClassVar[dict[str, dict[str, Any]]] = {"clean": {}}
    """Options of each recipe: what it changes in the dataset's own defaults."""

    validation: float = pydantic.Field(0.1, ge=0, lt=1)
    seed: int = 0
    recipe: str = "clean"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _follow_the_recipe(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        recipe = value.get("recipe", cls.model_fields["recipe"].default)
        if recipe not in cls.recipes:
            raise UsageError(unknown("recipe", recipe, cls.recipes))
        merged = {**cls.recipes[recipe], **value}
        for name, field in cls.model_fields.items():
            own = field.default
            if isinstance(own, Config) and isinstance(merged.get(name), dict):
                asked = value.get(name, {})
                if isinstance(asked, dict):
                    parts = {**dict(own), **cls.recipes[recipe].get(name, {}), **asked}
                    merged[name] = type(own)(**parts)
        return merged

    @property
    def learns(self) -> bool:
        """Whether preprocessing learns from training trials, so that it depends on the split."""
        return False

    def recordings(self, root: Path) -> list[Recording]:
        """All recordings under `root`, in order."""
        raise NotImplementedError

    def companions(self, root: Path, recording: Recording) -> Sequence[Path]:
        """Other files that a recording's trials depend on, such as confounds, masks and events.

        A subject is prepared again where its recordings, the events beside them, or these change.
        """
        return ()

    def stimuli(self, root: Path) -> Stimuli:
        """The stimuli of all recordings, with their folder; `set` says what is test."""
        raise NotImplementedError

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """One split, or one per fold."""
        return [split_images(stimuli, self.validation, self.seed, self.recipe)]

    def extras(self, root: Path, subject: str) -> dict[str, Path | bytes]:
        """Files to put beside a subject's trials: name there to source, or content."""
        return {}

    def shared(self, root: Path) -> dict[str, Path | bytes]:
        """Files to put beside ``stimuli.csv``: name there to source, or content.

        Pictures that exist only inside an array go here: a path of `stimuli` that is one of these names
        stays as it is.
        """
        return {}

    def write_subject(
        self,
        root: Path,
        recordings: list[Recording],
        stimuli: Stimuli,
        split: Split,
        folder: Path,
        workers: Workers,
        quiet: bool = False,
    ) -> dict[str, Any]:
        """Write ``trials.h5`` and ``qc.html`` of one subject.

        Parameters
        ----------
        root : Path
        recordings : list of Recording
            Of this subject.
        stimuli : Stimuli
        split : Split
            Its training side is what scaling and whitening learn from.
        folder : Path
            Empty.
        workers : Workers
            For the subject's runs; the files do not depend on it.
        quiet : bool

        Returns
        -------
        dict
            What ``qc.json`` keeps: plain data with `runs` (each with `trials`) and `dropped`.
        """
        raise NotImplementedError


class SensorData(Dataset):
    """MEG or EEG: continuous recordings, or epochs that the owners cut.

    Parameters
    ----------
    steps : Steps
        Options given by name change the recipe's one by one.
    """

    steps: Steps = Steps()

    @property
    def learns(self) -> bool:
        return learns(self.steps)

    def read(
        self, root: Path, recording: Recording
    ) -> tuple[Any, Events] | tuple[Continuous, Events] | Epochs:
        """Open one recording.

        Returns
        -------
        (mne.io.BaseRaw, Events)
            Not loaded, where MNE reads it.
        (Continuous, Events)
            Where a file holds whole channels, so that only wanted ones are read, a few at a time.
        Epochs
            Where the owners cut it already.
        """
        raise NotImplementedError

    def write_subject(
        self,
        root: Path,
        recordings: list[Recording],
        stimuli: Stimuli,
        split: Split,
        folder: Path,
        workers: Workers,
        quiet: bool = False,
    ) -> dict[str, Any]:
        from neurovis.report.qc import write_page

        epochs = folder / "epochs.h5"
        log = write_epochs(
            epochs, self.steps, recordings, self.read, root, stimuli, self.component, workers, quiet
        )
        write_trials(folder / "trials.h5", self.steps, split, epochs, log, workers.n_jobs)
        epochs.unlink(missing_ok=True)
        write_page(folder / "qc.html", log, to_dict(self.steps))
        return log.summary()


class VoxelData(Dataset):
    """fMRI: BOLD runs through a first-level model, or responses that the owners estimated.

    Parameters
    ----------
    fmri : FmriSteps
        Options given by name change the recipe's one by one.
    """

    fmri: FmriSteps = FmriSteps()

    @property
    def learns(self) -> bool:
        return self.fmri.learns

    def voxels(self, root: Path, subject: str) -> Voxels:
        """The voxels of one subject that its recordings give responses of, with regions."""
        raise NotImplementedError

    def responses(self, root: Path, recording: Recording, voxels: Voxels) -> Responses:
        """Responses of one recording; columns follow `voxels`."""
        raise NotImplementedError

    def write_subject(
        self,
        root: Path,
        recordings: list[Recording],
        stimuli: Stimuli,
        split: Split,
        folder: Path,
        workers: Workers,
        quiet: bool = False,
    ) -> dict[str, Any]:
        from neurovis.report.qc_fmri import write_fmri_page
        from neurovis.signals.fmri.subject import write_fmri_subject

        log = write_fmri_subject(
            folder,
            steps=self.fmri,
            recordings=recordings,
            voxels=self.voxels(root, recordings[0].subject),
            read=self.responses,
            root=root,
            stimuli=stimuli,
            split=split,
            name=self.component,
            workers=workers,
            quiet=quiet,
        )
        write_fmri_page(folder / "qc.html", log, to_dict(self.fmri))
        return log.summary()


def load_datasets() -> dict[str, type[Dataset]]:
    """Import every module of ``preprocessing/``; give all datasets by name."""
    from importlib.util import find_spec

    # an installed neurovis holds it; a bare clone on the path has it beside the library
    package = "neurovis.preprocessing" if find_spec("neurovis.preprocessing") else "preprocessing"
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    return dict(sorted(Dataset.members.items()))


def split_images(stimuli: Stimuli, validation: float, seed: int, protocol: str = "clean") -> Split:
    """Split by image id: test as declared, validation from whole training concepts.

    Validation concepts are not in training, so that early stopping sees what the test asks:
    concepts never seen. Below ten training concepts single images are drawn instead.

    Raises
    ------
    NeurovisError
        If a side is empty or one picture is on two sides.
    """
    train = stimuli.image[stimuli.set == "train"]
    concept = stimuli.concept[stimuli.set == "train"]
    unit = concept if len(np.unique(concept)) >= 10 else train
    groups = np.unique(unit)
    count = min(max(1, round(validation * len(groups))), len(groups) - 1) if validation else 0
    chosen = np.random.default_rng(seed).permutation(groups)[:count]
    held = np.isin(unit, chosen)
    split = Split(train[~held], train[held], stimuli.image[stimuli.set == "test"], protocol)
    split.check(stimuli)
    return split


def split_recordings(
    names: Sequence[str], validate: bool = True, protocol: str = "clean"
) -> list[Split]:
    """Leave each recording out in turn; the next one validates where three or more are there.

    Raises
    ------
    NeurovisError
        If there are fewer than two recordings.
    """
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise NeurovisError(
            f"split: found {len(names)} recording, expected at least two to leave one out; "
            "add recordings."
        )
    folds = []
    for number, test in enumerate(names):
        held = [names[(number + 1) % len(names)]] if validate and len(names) > 2 else []
        train = [name for name in names if name not in (test, *held)]
        folds.append(Split(train, held, (test,), protocol, unit="recording"))
    return folds
