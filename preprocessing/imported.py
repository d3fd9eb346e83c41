"""Epochs that others preprocessed, taken over by ``neurovis import trials``.

Comes in: ``trials.h5`` files, any number per subject, and where there are such the pictures. Goes out: the prepared
folder, as of raw recordings: scaled, with a split by image, a page per subject. What the owners did to the epochs is theirs:
nothing is filtered again, and nothing can be undone.

Run: ``python -m preprocessing.imported --root DIR --out OUT``
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.datasets import Epochs, Recording, SensorData, split_images
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import main
from neurovis.progress import say
from neurovis.records import Split, Stimuli, Trials, opened
from neurovis.signals.chain import Steps
from neurovis.signals.scaling import UNITS

from .eeg_imagenet import drawn
from .things_eeg1 import pictures_of

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class Imported(SensorData, name="imported"):
    """Epochs of MEG or EEG in ``trials.h5``.

    Parameters
    ----------
    files : str
        Glob of the files, relative to the root.
    pictures : str
        Folder, relative to the root; a picture belongs to the image that is named like the file, with or without
        ending and folders. Pictures are needed by encoders, not to prepare the signals.
    concept : str
        Regular expression whose first group, in an image's name, is its concept, such as ``(.+)_\\d+``. If empty, the folder of its
        picture, else each image is one.
    held_out : float
        Share of the concepts whose images are tested, where no trial says ``test`` in its column ``set``.
    window : (start, end) or None, s
        Half-open part of the epochs to keep; None keeps all. It stands for ``steps.tmin`` and ``steps.tmax``.
    """

    files: str = "**/trials.h5"
    pictures: str = "stimuli"
    concept: str = ""
    held_out: float = pydantic.Field(0.1, gt=0, lt=1)
    window: tuple[float, float] | None = None
    steps: Steps = Steps(
        l_freq=None, h_freq=None, sfreq=None, baseline=None, detect=False, bads="keep",
        scaling="robust", clamp=20.0,
    )  # fmt: skip

    @pydantic.field_validator("concept")
    @classmethod
    def _has_a_group(cls, value: str) -> str:
        try:
            good = not value or re.compile(value).groups > 0
        except re.error:
            good = False
        if not good:
            raise UsageError(
                f"concept: expected a regular expression with a group, such as (.+)_\\d+, found {value!r}; "
                "correct it."
            )
        return value

    @pydantic.model_validator(mode="after")
    def _one_window(self) -> Imported:
        plain = type(self).model_fields["steps"].default
        if (self.steps.tmin, self.steps.tmax) != (plain.tmin, plain.tmax):
            raise UsageError(
                "steps.tmin, steps.tmax: imported epochs have their own window, expected these left out; set "
                "window for a part of it."
            )
        return self

    def recordings(self, root: Path) -> list[Recording]:
        """One per file; a recording that two files hold is refused."""
        out, place = [], {}
        for file, trials in self._trials(root):
            if not len(trials):
                raise NeurovisError(f"{file}: holds no trial, expected at least one; remove it.")
            for name in dict.fromkeys(trials.recording.tolist()):
                other = place.setdefault((trials.subject, name), file)
                if other != file:
                    raise NeurovisError(
                        f"{file}: subject {trials.subject}'s {name} is in {other}, too; expected each recording "
                        "once: remove one, or import them with the sessions and runs that they are."
                    )
            out.append(Recording(trials.subject, str(trials.session[0]), str(trials.run[0]), file))
        return sorted(out, key=lambda r: (r.subject, r.session, r.run))

    def stimuli(self, root: Path) -> Stimuli:
        """All images of all files, with their pictures where these are there."""
        side: dict[str, str] = {}
        for file, trials in self._trials(root):
            for image, part in dict.fromkeys(zip(trials.image.tolist(), trials.set.tolist())):
                if part not in ("train", "test"):
                    raise NeurovisError(
                        f"{file}: image {image!r} is in the set {part!r}, expected train or test; import the file "
                        "with other ids."
                    )
                if side.setdefault(image, part) != part:
                    raise NeurovisError(
                        f"{file}: image {image!r} is in train and in test; expected every image on one side: "
                        "import the file with corrected sets."
                    )
        images = sorted(side)
        found = _pictures(root / self.pictures, images)
        lacking = [image for image in images if image not in found]
        if lacking:
            say(
                f"imported: {len(lacking)} of {len(images)} images, such as {lacking[0]!r}, have no picture under "
                f"{self.pictures}; targets need vectors of them from a file then"
            )
        paths = [f"{self.pictures}/{found.get(image, image)}" for image in images]
        concept = [self._concept(image, found.get(image, "")) for image in images]
        sums, sizes = pictures_of(root, paths)
        width, height = np.array(sizes).T
        sets = np.array([side[image] for image in images])
        if not (sets == "test").any():
            held = drawn(concept, self.held_out, self.seed)
            sets = np.where(np.isin(concept, held), "test", "train")
        return Stimuli(
            np.array(images), paths, np.array(sums), width, height, np.array(concept), sets,
            folder=root,
        )  # fmt: skip

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """One, by image; its name says where the test was drawn here."""
        stated = False
        for recording in recordings:
            with opened(recording.file) as trials:
                stated |= bool((trials.set == "test").any())
        name = self.recipe if stated else f"{self.recipe}, {self.held_out:g} of concepts held out"
        return [split_images(stimuli, self.validation, self.seed, name)]

    def read(self, root: Path, recording: Recording) -> Epochs:
        """The trials of one file, left on disk."""
        trials = Trials.open(recording.file)
        if trials.modality not in ("meg", "eeg"):
            raise NeurovisError(
                f"{recording.file}: holds {trials.modality}, expected meg or eeg; volumes and responses of fMRI are "
                "read by other datasets: neurovis list datasets."
            )
        scaled, unit = trials.unit == "1", trials.unit.strip().lower()
        if not scaled and unit not in UNITS:
            raise NeurovisError(
                f"{recording.file}: its unit is {trials.unit!r}, expected 1 (scaled) or one of {', '.join(UNITS)}; import "
                "the file with its unit."
            )
        known = trials.provenance.get("imported")
        return Epochs(
            signal=trials.signal,
            image=trials.image,
            sfreq=trials.sfreq,
            tmin=trials.tmin,
            names=trials.channel_name.tolist(),
            types=trials.channel_type.tolist(),
            position=trials.channel_position,
            factor=1.0 if scaled else UNITS[unit],
            unit="1" if scaled else "",
            onset=trials.onset,
            session=trials.session,
            run=trials.run,
            notes=(f"epochs as they were imported{f' from {known}' if known else ''}",),
        )

    def write_subject(
        self, root: Path, recordings: list[Recording], *rest: Any, **more: Any
    ) -> dict[str, Any]:
        """As of other sensor data, in the window of the subject's first file."""
        with opened(recordings[0].file) as trials:
            whole = (trials.tmin, trials.tmin + len(trials.times) / trials.sfreq)
        start, end = self.window or whole
        steps = self.steps.model_copy(update={"tmin": start, "tmax": end})
        own = self.model_copy(update={"steps": steps})
        return SensorData.write_subject(own, root, recordings, *rest, **more)

    def _trials(self, root: Path) -> Iterator[tuple[Path, Trials]]:
        """Every file, open."""
        for file in sorted(root.glob(self.files)):
            with opened(file) as trials:
                yield file, trials

    def _concept(self, image: str, path: str) -> str:
        if self.concept:
            named = re.match(self.concept, image)
            if named is None:
                raise UsageError(
                    f"concept: {self.concept!r} does not fit the image {image!r}; expected it to fit all, correct it."
                )
            return named[1]
        return Path(path).parent.name or image


def _pictures(folder: Path, images: Sequence[str]) -> dict[str, str]:
    """File of each image's picture, relative to `folder`, for those that have one."""
    named: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if file.suffix.lower() in PICTURES:
            path = file.relative_to(folder)
            for name in {path.with_suffix("").as_posix(), path.name, path.stem}:
                named.setdefault(name, []).append(path.as_posix())
    whole = {path for paths in named.values() for path in paths}
    found = {}
    for image in images:
        paths = [image] if image in whole else named.get(image, [])
        if len(paths) > 1:
            raise NeurovisError(
                f"{folder}: the picture of image {image!r} may be {paths[0]} or {paths[1]}, expected one; name images by "
                "their paths under that folder, or remove one."
            )
        if paths:
            found[image] = paths[0]
    return found


if __name__ == "__main__":
    sys.exit(main("imported"))
