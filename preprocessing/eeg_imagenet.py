"""EEG-ImageNet: 16 people, 4,000 ImageNet pictures of 80 classes, shown class by class.

Comes in: the owners' ``EEG-ImageNet_1.pth`` and ``_2.pth``, epochs of 0.5 s, read without running
anything and a few trials at a time. Goes out: the prepared folder. **Every class was one block of 50
pictures**, so slow changes of the recording tell the class from the time: the protocol's name, the notes
and the command say so. By default whole classes are held out; the owners' split is the recipe ``paper``.

Run: ``python -m preprocessing.eeg_imagenet --root FOLDER --out OUT --subject 0``
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.datasets import Epochs, Recording, SensorData, split_images
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import main
from neurovis.progress import say
from neurovis.records import Split, Stimuli
from neurovis.safe_pickle import read_torch
from neurovis.signals.chain import Steps

from .things_eeg1 import pictures_of

MANIFEST = "eeg-imagenet"
FILES = ("EEG-ImageNet_1.pth", "EEG-ImageNet_2.pth", "EEG-ImageNet.pth")
KEYS = ("eeg_data", "granularity", "subject", "label", "image")
LEAK = (
    "block design: all 50 pictures of a class were shown in one block, so time alone tells the class; "
    "no score of this dataset separates the picture from the block"
)
# the owners' channels in order, without the mastoids that their montage lists (M1, M2)
NAMES = (  # noqa: SIM905
    "Fp1 Fpz Fp2 AF3 AF4 F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 T7 C5 C3 C1 Cz C2 "
    "C4 C6 T8 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO5 PO3 POz PO4 PO6 PO8 "
    "CB1 O1 Oz O2 CB2"
).split()


class EegImagenet(SensorData, name="eeg_imagenet"):
    """Zhu et al. 2024, arXiv:2406.07151.

    Parameters
    ----------
    split : {"classes", "owners"}
        ``classes`` holds out whole classes, `held_out` of them, chosen by their names; ``owners`` tests
        the last 20 of each class's 50 pictures, so that training saw the blocks of all test trials.
    held_out : float
        Share of the classes that are tested.
    granularity : {"all", "coarse", "fine"}
        Which of the owners' two sets of 40 classes.
    pictures : str
        Folder of the ImageNet pictures, ``<wnid>/<file>``, relative to the root. They are not needed to
        prepare the signals.
    """

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {
            "split": "owners",
            "steps": {"sfreq": None, "scaling": "none", "clamp": None},
        },
    }

    split: Literal["classes", "owners"] = "classes"
    held_out: float = pydantic.Field(0.2, gt=0, lt=1)
    granularity: Literal["all", "coarse", "fine"] = "all"
    pictures: str = "imageNet_images"
    # the owners' window, 40 to 440 ms
    steps: Steps = Steps(
        picks=("eeg",), l_freq=None, h_freq=None, sfreq=250.0, tmin=0.04, tmax=0.44, baseline=None,
        scaling="robust", clamp=20.0,
    )  # fmt: skip

    def recordings(self, root: Path) -> list[Recording]:
        """One per subject, numbered from 0 as the owners do."""
        out: dict[str, Recording] = {}
        for file in self._files(root):
            for subject in dict.fromkeys(read_index(file).subject.tolist()):
                name = f"{subject:02d}"
                if name in out:
                    raise NeurovisError(
                        f"{file}: subject {subject} is also in {out[name].file.name}; expected each "
                        "subject in one file: keep the two parts, or the whole, not both."
                    )
                out[name] = Recording(name, "1", "1", file)
        return [out[name] for name in sorted(out)]

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures shown; ``test`` as `split` says."""
        concept: dict[str, str] = {}
        place: dict[str, int] = {}
        for file in self._files(root):
            index = read_index(file)
            rows = self._rows(index)
            places = index.place()
            for row in rows:
                image = str(index.image[row])
                if concept.setdefault(image, str(index.label[row])) != index.label[row]:
                    raise NeurovisError(
                        f"{file}: image {image!r} is of class {index.label[row]} and of "
                        f"{concept[image]}; expected one: fetch the file again."
                    )
                first = place.setdefault(image, int(places[row]))
                if self.split == "owners" and (first < N_TRAIN) != (places[row] < N_TRAIN):
                    raise NeurovisError(
                        f"{file}: image {image!r} is number {first + 1} of its class for one subject and "
                        f"{places[row] + 1} for subject {index.subject[row]}, so that the owners' split "
                        "has it on both sides; expected one order for all: set split=classes, or prepare "
                        "the parts apart."
                    )
        images = sorted(concept)
        if self.split == "owners":
            test = np.array([place[image] >= N_TRAIN for image in images])
        else:
            held = drawn(concept.values(), self.held_out, self.seed)
            test = np.isin([concept[image] for image in images], held)
        paths = [f"{self.pictures}/{concept[image]}/{image}.JPEG" for image in images]
        sums, sizes = pictures_of(root, paths)
        width, height = np.array(sizes).T
        return Stimuli(
            np.array(images), paths, np.array(sums), width, height,
            np.array([concept[image] for image in images]), np.where(test, "test", "train"),
            folder=root,
        )  # fmt: skip

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """One split; its name, and a line on the terminal, say what time leaks."""
        say(f"{self.component}: {LEAK}")
        name = f"{self.recipe}, {self.split} held out" if self.split == "classes" else self.recipe
        split = split_images(
            stimuli, self.validation, self.seed, f"{name}; time leaks class (blocks)"
        )
        if self.split == "classes":
            split.check(stimuli, concepts=True)
        return [split]

    def read(self, root: Path, recording: Recording) -> Epochs:
        """The subject's trials, left on disk."""
        index = read_index(recording.file)
        mine = index.subject == int(recording.subject)
        rows = np.flatnonzero(mine & np.isin(np.arange(len(mine)), self._rows(index)))
        facts = read_manifest(MANIFEST)
        n_classes = len(np.unique(index.label[mine]))
        notes = [LEAK]
        if n_classes < len(index.labels):
            notes.append(
                f"{len(index.labels) - n_classes} of {len(index.labels)} classes are absent: the owners "
                "leave out classes in which the subject failed the attention test"
            )
        block = index.block()[rows]
        return Epochs(
            signal=Stacked(tuple(index.signal[row] for row in rows)),
            image=index.image[rows],
            sfreq=float(facts.fact("sfreq")),
            tmin=0.0,
            names=NAMES,
            types=["eeg"] * len(NAMES),
            position=positions(NAMES, "easycap-M1"),
            run=np.array([f"block{b:02d}" for b in block]),
            notes=tuple(notes),
        )

    def _files(self, root: Path) -> list[Path]:
        files = [root / name for name in FILES if (root / name).is_file()]
        if not files:
            raise NeurovisError(
                f"{root}: no EEG-ImageNet_1.pth or EEG-ImageNet_2.pth, expected at least one of the "
                f"owners' files; fetch them from {read_manifest(MANIFEST).url}."
            )
        return files

    def _rows(self, index: Index) -> np.ndarray:
        """Trials of the granularity asked for."""
        wanted = [self.granularity == "all" or g.startswith(self.granularity) for g in index.kind]
        if not any(wanted):
            raise UsageError(
                f"granularity: no trial is {self.granularity!r}, found {', '.join(sorted(set(index.kind)))};"
                " set granularity=all."
            )
        return np.flatnonzero(wanted)


N_TRAIN = 30  # of a class's 50 pictures, in the owners' split


@dataclass(frozen=True)
class Index:
    """What one of the owners' files says of its trials, and where their signals lie.

    Parameters
    ----------
    signal : list of array (channel, time) (trial,)
        Maps onto the file.
    subject : array of int (trial,)
    label, image : array of str (trial,)
        WordNet id of the class; picture without its ending.
    kind : list of str (trial,)
        Granularity: ``coarse``, ``fine`` or ``fine0`` to ``fine4``.
    labels : tuple of str
        All classes.
    """

    signal: list[np.ndarray]
    subject: np.ndarray
    label: np.ndarray
    image: np.ndarray
    kind: list[str]
    labels: tuple[str, ...]

    def block(self) -> np.ndarray:
        """Number of each trial's block within its subject, from 1: array of int (trial,)."""
        out = np.zeros(len(self.label), int)
        for subject in np.unique(self.subject):
            rows = np.flatnonzero(self.subject == subject)
            out[rows] = 1 + np.r_[0, np.cumsum(self.label[rows][1:] != self.label[rows][:-1])]
        return out

    def place(self) -> np.ndarray:
        """Place of each trial within its class, subject by subject, from 0: array of int (trial,)."""
        out = np.zeros(len(self.label), int)
        seen: dict[tuple[int, str], int] = {}
        for row, key in enumerate(zip(self.subject.tolist(), self.label.tolist())):
            out[row] = seen.get(key, 0)
            seen[key] = out[row] + 1
        return out


def read_index(file: Path) -> Index:
    """Read one of the owners' files; signals stay on disk.

    Raises
    ------
    NeurovisError
        If it holds anything but arrays and plain containers, or a trial lacks a field or has another
        shape, naming it. Nothing of it has run then.
    """
    return _read_index(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read_index(file: Path, _: int) -> Index:
    content = read_torch(file)
    missing = [
        k
        for k in ("dataset", "labels", "images")
        if not isinstance(content, dict) or k not in content
    ]
    if missing:
        found = (
            ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        )
        raise NeurovisError(
            f"{file}: {missing[0]!r} is missing, expected the owners' dict of dataset, labels and images; "
            f"found {found[:100]}: fetch it again."
        )
    n_chans = int(read_manifest(MANIFEST).fact("n_chans"))
    n_times = None
    labels = [str(label) for label in content["labels"]]
    known = set(labels)
    for number, trial in enumerate(content["dataset"]):
        lacking = [k for k in KEYS if k not in trial]
        if lacking:
            raise NeurovisError(
                f"{file}: trial {number} has no {lacking[0]!r}, expected {', '.join(KEYS)}; fetch it again."
            )
        shape = np.shape(trial["eeg_data"])
        n_times = n_times or (shape[1] if len(shape) == 2 else 0)
        if shape != (n_chans, n_times) or not n_times:
            raise NeurovisError(
                f"{file}: trial {number}: eeg_data has shape {shape}, expected (channel={n_chans}, "
                f"time={n_times}); fetch the file again."
            )
        if trial["label"] not in known:
            raise NeurovisError(
                f"{file}: trial {number}: label {trial['label']!r} is not among the {len(known)} labels; "
                "fetch the file again."
            )
    trials = content["dataset"]
    if not trials:
        raise NeurovisError(f"{file}: found no trial, expected 4,000 per subject; fetch it again.")
    return Index(
        [trial["eeg_data"] for trial in trials],
        np.array([int(trial["subject"]) for trial in trials]),
        np.array([str(trial["label"]) for trial in trials]),
        np.array([Path(str(trial["image"])).stem for trial in trials]),
        [str(trial["granularity"]) for trial in trials],
        tuple(labels),
    )


@dataclass(frozen=True)
class Stacked:
    """Trials that lie apart on disk, as one array (trial, channel, time)."""

    trials: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Trials, channels, samples."""
        return (len(self.trials), *np.shape(self.trials[0]))

    def __getitem__(self, which: slice) -> np.ndarray:
        part = self.trials[which]
        out = np.empty((len(part), *self.shape[1:]), np.float32)
        for row, trial in zip(out, part):
            row[:] = trial
        return out


def draw(seed: int, name: str) -> bytes:
    """Order of names at random that does not depend on which of them are there."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def drawn(names: Iterable[str], share: float, seed: int) -> list[str]:
    """A share of the names, at least one and not all, in the order of `draw`."""
    order = sorted(set(names), key=lambda name: draw(seed, name))
    return order[: min(max(1, round(share * len(order))), max(1, len(order) - 1))]


def positions(names: Sequence[str], montage: str) -> np.ndarray:
    """Positions in head coordinates, array (channel, 3) in m; NaN for names that a montage lacks.

    Channels of the 10-5 system that stand halfway between two others (``PO5``) are put there.
    """
    import mne

    info = mne.create_info(list(names), 1000.0, "eeg", verbose="error")
    info.set_montage(
        mne.channels.make_standard_montage(montage), match_case=False, on_missing="ignore",
        verbose="error",
    )  # fmt: skip
    out = np.array([channel["loc"][:3] for channel in info["chs"]], float)
    out[~np.nan_to_num(out).any(axis=1)] = np.nan
    where = {name: i for i, name in enumerate(names)}
    for name, (one, other) in {"PO5": ("PO3", "PO7"), "PO6": ("PO4", "PO8")}.items():
        if name in where and one in where and other in where and np.isnan(out[where[name]]).any():
            pair = out[[where[one], where[other]]]
            middle = pair.mean(axis=0)
            # on the head's surface, not on the chord
            out[where[name]] = middle * np.linalg.norm(pair, axis=1).mean() / np.linalg.norm(middle)
    return out


if __name__ == "__main__":
    sys.exit(main("eeg_imagenet"))
