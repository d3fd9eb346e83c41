"""THINGS-EEG1 (ds003825): 50 people, 22,248 pictures in streams of ten per second.

Comes in: the owners' BIDS folder, one BrainVision recording per subject. Goes out: the prepared folder.
``onset`` is in samples in the first releases and in seconds in later ones, and columns differ between
subjects: what is meant is found from the stimulus computer's own clock, which stands in every row.
Windows of neighbouring pictures overlap, so a trial holds the tail of the pictures before it.

Run: ``python -m preprocessing.things_eeg1 --root ds003825 --out OUT --subject 2``
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from neurovis.datasets import Events, Recording, SensorData, split_images
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import main
from neurovis.progress import progress
from neurovis.records import Split, Stimuli
from neurovis.signals.chain import Steps
from neurovis.signals.recording import foreign, open_recording
from neurovis.store import sha256

from .bids import numbers, read_table

MANIFEST = "things-eeg1"
STEM = re.compile(r"(?P<concept>.+)_\d+[a-z]+")
CLOCKS = 0.02  # s; by how much onsets may stray from the stimulus computer's clock
SLOPE = 0.1  # share; tells samples from seconds, and 1000 Hz from other rates


class ThingsEeg1(SensorData, name="things_eeg1"):
    """Grootswagers et al. 2022, doi:10.1038/s41597-021-01102-7.

    Parameters
    ----------
    split : {"zero-shot", "native"}
        The test images' concepts occur among the training images. ``zero-shot`` leaves those concepts
        out of training and validation; ``native`` keeps them, so that test concepts are known.
    reference : {"recorded", "average"}
        Cz as recorded, or the mean of all channels.
    suggested : {"keep", "leave out"}
        Subjects that the owners suggest leaving out (``participants.tsv``, column exclude).
    pictures : str
        Folder of the THINGS pictures, ``<concept>/<picture>.jpg``, relative to the root. The pictures
        are not needed to prepare the signals.
    """

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {
            "reference": "average",
            "steps": {
                "l_freq": 0.1, "h_freq": 100.0, "sfreq": 250.0, "tmin": -0.1, "tmax": 1.0,
                "detect": False, "bads": "keep", "scaling": "none", "clamp": None,
            },
        },
    }  # fmt: skip

    split: Literal["zero-shot", "native"] = "zero-shot"
    reference: Literal["recorded", "average"] = "recorded"
    suggested: Literal["keep", "leave out"] = "keep"
    pictures: str = "stimuli"
    # no baseline: at ten pictures per second it would subtract the response to the picture before
    steps: Steps = Steps(
        picks=("eeg",), l_freq=0.5, h_freq=40.0, sfreq=100.0, tmin=-0.1, tmax=0.6, baseline=None,
        scaling="robust", clamp=20.0,
    )  # fmt: skip

    def recordings(self, root: Path) -> list[Recording]:
        """One per subject; what is half there is named."""
        if not (root / "dataset_description.json").is_file():
            raise NeurovisError(
                f"{root}: no dataset_description.json, expected the root of ds003825; give that folder, "
                "or fetch it."
            )
        people = participants(root)
        out = []
        for folder in sorted(root.glob("sub-*/eeg")):
            subject = folder.parent.name.removeprefix("sub-")
            if self.suggested == "leave out" and people.get(subject, ("", ""))[0] == "1":
                continue
            stem = folder / f"sub-{subject}_task-rsvp"
            needed = [Path(f"{stem}_{end}") for end in PARTS]
            missing = [path for path in needed if not path.is_file()]
            problem = "" if not missing else (
                f"{missing[0]}: missing ({len(missing)} of {len(needed)} files of the recording); "
                "fetch the subject again."
            )  # fmt: skip
            there = [path for path in needed if path not in missing] or [folder]
            out.append(
                Recording(subject, "1", "1", needed[0] if not problem else there[0], problem)
            )
        return out

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures of the subjects that are there, named by their file without its ending."""
        sets: dict[str, str] = {}
        place: dict[str, str] = {}
        files = sorted(root.glob("sub-*/eeg/sub-*_task-rsvp_events.tsv"))
        for file in progress(files, "events", quiet=len(files) < 5, unit="file"):
            shown = read_events(file)
            for image, path, test in zip(shown.image.tolist(), shown.path.tolist(), shown.test):
                side = "test" if test else "train"
                if sets.setdefault(image, side) != side:
                    raise NeurovisError(
                        f"{file}: image {image!r} is a {side} image here and a {sets[image]} image in "
                        "another row or subject; expected it on one side: fetch the events again."
                    )
                place.setdefault(image, path)
        if not sets:
            raise NeurovisError(
                f"{root}: no sub-*/eeg/*_events.tsv; fetch at least one subject of ds003825."
            )
        images = sorted(sets)
        if "test" not in sets.values():
            raise NeurovisError(
                f"{root}: none of the {len(files)} subjects there saw the test images (sub-01 has none); "
                "expected one who did: fetch another subject, such as sub-02."
            )
        paths = [f"{self.pictures}/{place[image]}" for image in images]
        sums, sizes = pictures_of(root, paths)
        width, height = np.array(sizes).T
        return Stimuli(
            np.array(images), paths, np.array(sums), width, height,
            np.array([concept_of(image) for image in images]),
            np.array([sets[image] for image in images]), folder=root,
        )  # fmt: skip

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """Test as the owners marked it; ``zero-shot`` takes its concepts out of the rest."""
        if self.split == "native":
            return [
                split_images(stimuli, self.validation, self.seed, f"{self.recipe}, native split")
            ]
        known = np.isin(stimuli.concept, stimuli.concept[stimuli.set == "test"])
        rows = np.flatnonzero(~(known & (stimuli.set == "train")))
        if not (stimuli.set[rows] == "train").any():
            raise UsageError(
                "split: no training image is left whose concept is not tested; fetch whole subjects, or "
                "set split=native."
            )
        split = split_images(stimuli.take(rows), self.validation, self.seed, self.recipe)
        split.check(stimuli, concepts=True)
        return [split]

    def read(self, root: Path, recording: Recording) -> tuple[Any, Events]:
        """Open the recording; onsets to the sample, from the events file."""
        raw = open_recording(recording.file)
        sfreq = float(raw.info["sfreq"])
        path = recording.file.with_name(recording.file.name.replace("_eeg.vhdr", "_events.tsv"))
        shown = read_events(path, sfreq)
        n_test = int(shown.test.sum())
        notes = [
            f"onsets in {shown.unit}, within {1000 * shown.strays:.2f} ms of the stimulus computer's clock",
            f"{len(shown.image) - n_test} training and {n_test} test presentations",
            f"streams, one picture every {1000 * shown.soa:.0f} ms: windows of neighbouring trials overlap",
            f"in {int(shown.target.sum())} presentations the fixation changed colour; they are kept",
        ]
        if not shown.test.any():
            notes.append("no test presentations of this subject")
        left_out, why = participants(root).get(recording.subject, ("", ""))
        if left_out == "1":
            notes.append(f"the owners suggest leaving this subject out: {why}")
        notes += self._dress(raw)
        return raw, Events(shown.onset, shown.image, tuple(notes))

    def _dress(self, raw: Any) -> list[str]:
        """Keep the connected channels, place them, refer them to each other."""
        notes = []
        n_chans = int(read_manifest(MANIFEST).fact("n_chans"))
        if len(raw.ch_names) > n_chans:
            # the owners: a 128-channel set-up with only 64 connected (49, 50); the first ones are
            spare = raw.ch_names[n_chans:]
            raw.drop_channels(spare)
            notes.append(
                f"{len(spare)} channels after the first {n_chans} were not connected: dropped"
            )
        place(raw)
        if self.reference == "average":
            raw.set_eeg_reference("average", projection=True, verbose="error")
            raw.apply_proj(verbose="error")
            notes.append("average reference")
        return notes


PARTS = ("eeg.vhdr", "eeg.vmrk", "eeg.eeg", "events.tsv")


@dataclass(frozen=True)
class Shown:
    """One subject's presentations.

    Parameters
    ----------
    onset : array (event,), s from the first sample
    image, path : array of str (event,)
        Picture's name and place, ``<concept>/<picture>.jpg``.
    test, target : array of bool (event,)
        Shown in the validation streams at the end; the fixation changed colour.
    unit : str
        Of the file's onset column.
    strays : float, s
        Greatest distance between onsets and the stimulus computer's clock.
    soa : float, s
        Between presentations of a stream.
    """

    onset: np.ndarray
    image: np.ndarray
    path: np.ndarray
    test: np.ndarray
    target: np.ndarray
    unit: str
    strays: float
    soa: float


def read_events(file: Path, sfreq: float = 1000.0) -> Shown:
    """Read one events file of any of the releases.

    Parameters
    ----------
    file : Path
    sfreq : float, Hz
        Of the recording, for onsets in samples.

    Raises
    ------
    NeurovisError
        If a column or a picture's name is wrong, or onsets and the stimulus computer's clock disagree,
        naming the line.
    """
    changed = file.stat().st_mtime_ns if file.is_file() else 0
    return _read_events(file, float(sfreq), changed)


@lru_cache(maxsize=4)
def _read_events(file: Path, sfreq: float, _: int) -> Shown:
    table = read_table(file, ["onset", "stim", "time_stimon"])
    if len(table) < 2:
        raise NeurovisError(
            f"{file}: found {len(table)} events, expected a whole run; fetch it again."
        )
    parts = table["stim"].str.replace("\\", "/").str.split("/")
    concept, name = parts.str[-2], parts.str[-1]
    image = name.str.removesuffix(".jpg")
    for row, (said, known) in enumerate(zip(concept, image)):
        if not (isinstance(said, str) and STEM.fullmatch(known)):
            raise NeurovisError(
                f"{file}: line {row + 2}: stim is {table['stim'][row]!r}, expected "
                "stimuli\\<concept>\\<concept>_<number><letter>.jpg; fetch the events again."
            )
    flag = lambda column: (  # noqa: E731
        numbers(table, column, file) == 1 if column in table else np.zeros(len(table), bool)
    )
    onset, clock = numbers(table, "onset", file), numbers(table, "time_stimon", file)
    if (np.diff(onset) <= 0).any():
        row = int(np.argmax(np.diff(onset) <= 0)) + 1
        raise NeurovisError(
            f"{file}: line {row + 2}: onset {table['onset'][row]} does not follow the one before; "
            "expected increasing onsets: fetch the events again."
        )
    onset, unit, strays = _in_seconds(file, onset, clock, sfreq)
    if "sample" in table:
        apart = np.abs(np.round(onset * sfreq) - numbers(table, "sample", file))
        if (apart > 1).any():
            row = int(apart.argmax())
            raise NeurovisError(
                f"{file}: line {row + 2}: onset and sample differ by {apart[row]:.0f} samples, expected "
                f"the same time at {sfreq:g} Hz; these are another recording's events: fetch them again."
            )
    return Shown(
        onset, image.to_numpy(str), (concept + "/" + name).to_numpy(str), flag("isteststim"),
        flag("istarget"), unit, strays, float(np.median(np.diff(onset))),
    )  # fmt: skip


def _in_seconds(
    file: Path, onset: np.ndarray, clock: np.ndarray, sfreq: float
) -> tuple[np.ndarray, str, float]:
    """Onsets in s; their unit is what makes them run as fast as the stimulus computer's clock."""
    slope = float(np.polyfit(clock - clock.mean(), onset - onset.mean(), 1)[0])
    speeds = {"samples": sfreq, "seconds": 1.0}
    unit = next((u for u, per_second in speeds.items() if abs(slope / per_second - 1) < SLOPE), "")
    if not unit:
        raise NeurovisError(
            f"{file}: onset advances by {slope:.4g} per second of time_stimon, expected {sfreq:g} "
            "(samples) or 1 (seconds); these are another rate's events: fetch recording and events again."
        )
    onset = np.round(onset) / sfreq if unit == "samples" else onset
    fit = np.polyval(np.polyfit(clock, onset, 1), clock)
    strays = np.abs(onset - fit)
    if (strays > CLOCKS).any():
        row = int(np.abs(np.diff(onset) - np.diff(clock)).argmax()) + 1
        raise NeurovisError(
            f"{file}: line {row + 2}: onsets are up to {1000 * strays.max():.0f} ms off the stimulus "
            f"computer's clock (time_stimon) and part from it here, expected at most "
            f"{1000 * CLOCKS:.0f} ms; a marker was lost or doubled: fetch the events again."
        )
    return onset, unit, float(strays.max())


def concept_of(image: str) -> str:
    """``aircraft_carrier_01b`` is a picture of ``aircraft_carrier``."""
    found = STEM.fullmatch(image)
    return found["concept"] if found else image


def participants(root: Path) -> dict[str, tuple[str, str]]:
    """The owners' exclude mark and note of each subject."""
    path = root / "participants.tsv"
    if not path.is_file():
        return {}
    table = read_table(path, ["participant_id", "exclude"])
    notes = table["note_IZ"] if "note_IZ" in table else [""] * len(table)
    names = table["participant_id"].str.removeprefix("sub-")
    return {who: (mark, note) for who, mark, note in zip(names, table["exclude"], notes)}


def place(raw: Any) -> None:
    """Positions of the 10-10 system, where the file gives none."""
    import mne

    known = np.array([channel["loc"][:3] for channel in raw.info["chs"]])
    if np.nan_to_num(known).any():
        return
    montage = mne.channels.make_standard_montage("easycap-M1")
    raw.set_montage(montage, match_case=False, on_missing="ignore", verbose="error")


def pictures_of(root: Path, paths: Sequence[str]) -> tuple[list[str], list[tuple[int, int]]]:
    """Checksums and sizes of pictures; empty and 0 where a picture is not there."""
    from PIL import Image

    sums, sizes = [], []
    many = sum((root / path).is_file() for path in paths[:1]) * len(paths) > 1000
    for path in progress(paths, "pictures", quiet=not many, unit="file"):
        file = root / path
        if not file.is_file():
            sums.append("")
            sizes.append((0, 0))
            continue
        sums.append(sha256(file))
        with foreign(file, lambda file=file: Image.open(file)) as picture:
            sizes.append(picture.size)
    return sums, sizes


if __name__ == "__main__":
    sys.exit(main("things_eeg1"))
