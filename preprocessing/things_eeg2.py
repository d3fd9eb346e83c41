"""THINGS-EEG2: 10 people, 16,740 pictures, 82,160 trials of 63-channel EEG (Gifford et al. 2022).

Comes in: the owners' raw sessions ``sub-XX/ses-YY/raw_eeg_{training,test}.npy``, or what was made of them:
``preprocessed_eeg_{training,test}.npy`` (the owners' 17 channels at 100 Hz; copies with 63 at 250 Hz)
and ``train.pt``, ``test.pt``. Goes out: the prepared folder, every row with its picture's name from
``image_metadata.npy``. All are pickles: they are read without running anything, and stay on disk.

Run: ``python -m preprocessing.things_eeg2 --root DIR --out OUT --subject 1 --recipe paper``
"""

from __future__ import annotations

import mmap
import re
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from neurovis.datasets import Continuous, Epochs, Events, Recording, SensorData, Steps, split_images
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import main
from neurovis.records import Split, Stimuli
from neurovis.safe_pickle import read_pickle, read_torch
from neurovis.signals.epochs import read_triggers

from .things_eeg1 import pictures_of

MANIFEST = "things-eeg2"
TARGET = 99999  # code of the trials with a target to count
SEED = 20200220  # of the owners' choice among repeats
OCCIPITO_PARIETAL = (
    "P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8", "PO7", "PO3", "POz", "PO4", "PO8", "O1", "Oz",
    "O2",
)  # fmt: skip
SIDES = {"training": "train", "test": "test"}
MADE = {
    "training": ("preprocessed_eeg_training.npy", "train.pt"),
    "test": ("preprocessed_eeg_test.npy", "test.pt"),
}
# What was whitened already is taken as it is.
AS_IT_IS = {"sfreq": None, "baseline": None, "whiten": "none"}


class ThingsEeg2(SensorData, name="things_eeg2"):
    """63 channels, 250 Hz, -0.2 to 1 s, noise-normalised per session by training trials alone.

    Parameters
    ----------
    source : {"raw", "preprocessed"}, optional
        What is read; None takes raw sessions where there are some.
    repeats : {"all", "balanced"}
        Every presentation, or as the owners do: of each picture and session 2 (test: 20) at random,
        since some were shown more often.
    sessions : tuple of int, optional
        Only these; by default all four must be there.

    References
    ----------
    Gifford et al. 2022, doi:10.1016/j.neuroimage.2022.119754
    """

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {
            "repeats": "balanced",
            "validation": 0.0,
            "steps": {
                "picks": OCCIPITO_PARIETAL, "sfreq": 100.0, "tmax": 0.8, "whiten": "mvnn all",
            },
        },
        "atm": {"repeats": "balanced", "validation": 0.0, "steps": {"crop": (0.0, 1.0)}},
        "paper-files": {
            "source": "preprocessed",
            "validation": 0.0,
            "steps": {"picks": OCCIPITO_PARIETAL, "tmax": 0.8, **AS_IT_IS},
        },
        "atm-files": {
            "source": "preprocessed", "validation": 0.0, "steps": {"tmin": 0.0, **AS_IT_IS},
        },
    }  # fmt: skip

    source: Literal["raw", "preprocessed"] | None = None
    repeats: Literal["all", "balanced"] = "all"
    sessions: tuple[int, ...] | None = None
    # no pass band: recorded with 0.01-100 Hz, and nobody filters these trials further
    steps: Steps = Steps(
        picks=("eeg",), l_freq=None, h_freq=None, sfreq=250.0, tmin=-0.2, tmax=1.0,
        baseline=(None, 0.0), detect=False, bads="keep", scaling="none", clamp=None, whiten="mvnn",
    )  # fmt: skip

    def place(self, root: Path) -> tuple[str, Path]:
        """What is there, raw or preprocessed, and the folder of its ``sub-*``.

        Raises
        ------
        NeurovisError
            If there is neither, or the same in several folders.
        """
        patterns = {
            "raw": ("sub-*/ses-*/raw_eeg_*.npy",),
            "preprocessed": ("sub-*/preprocessed_eeg_*.npy", "sub-*/train.pt", "sub-*/test.pt"),
        }
        for kind in [self.source] if self.source else list(patterns):
            for depth in ("", "*/", "*/*/"):
                found = [f for p in patterns[kind] for f in root.glob(depth + p)]
                up = 3 if kind == "raw" else 2
                folders = sorted({file.parents[up - 1] for file in found})
                if len(folders) > 1:
                    raise UsageError(
                        f"{root}: {kind} recordings are in {folders[0].name} and in "
                        f"{folders[1].name}, expected one place; give one of them as root."
                    )
                if folders:
                    return kind, folders[0]
        wanted = {
            "raw": "sub-01/ses-01/raw_eeg_training.npy",
            "preprocessed": "sub-01/preprocessed_eeg_training.npy or sub-01/train.pt",
        }
        raise NeurovisError(
            f"{root}: expected {wanted.get(self.source or '', ' or '.join(wanted.values()))} under it, "
            f"found none; give the right root, or run neurovis fetch {MANIFEST} --root {root}."
        )

    def recordings(self, root: Path) -> list[Recording]:
        """Per subject and session the training and the test part; what is missing is said of it."""
        kind, folder = self.place(root)
        if kind == "preprocessed" and self.steps.whiten != "none":
            raise UsageError(
                f"steps.whiten: {folder} holds trials that were whitened already, expected none, found "
                f"{self.steps.whiten}; use --recipe paper-files (17 channels, 100 Hz) or atm-files (63 "
                "channels, 250 Hz)."
            )
        people = sorted(p for p in folder.glob("sub-*") if p.is_dir())
        parts = self._sessions if kind == "raw" else self._made
        return [recording for person in people for recording in parts(person)]

    def _sessions(self, person: Path) -> Iterator[Recording]:
        there = {int(f.name[4:]) for f in person.glob("ses-*") if f.name[4:].isdigit()}
        count = int(read_manifest(MANIFEST).fact("n_sessions"))
        wanted = self.sessions or tuple(range(1, count + 1))
        for number in sorted(wanted):
            session = person / f"ses-{number:02d}"
            for run in SIDES:
                file = session / f"raw_eeg_{run}.npy"
                problem = ""
                if not file.is_file():
                    others = sorted(f.name for f in session.glob("*.npy") if f != file)
                    found = ", ".join(others) or (
                        "an empty folder" if session.is_dir() else f"sessions {sorted(there)}"
                    )
                    problem = (
                        f"{file}: no such file, found {found}; run neurovis fetch {MANIFEST}, or name "
                        "the sessions to use with sessions."
                    )
                label = person.name.removeprefix("sub-")
                place = file if file.is_file() else person
                yield Recording(label, f"{number:02d}", run, place, problem)

    def _made(self, person: Path) -> Iterator[Recording]:
        for run, names in MADE.items():
            there = [person / name for name in names if (person / name).is_file()]
            problem = (
                f"{person / names[0]}: no such file (nor {names[1]}), expected one; fetch it again."
                if not there
                else ""
            )
            label = person.name.removeprefix("sub-")
            yield Recording(label, "all", run, there[0] if there else person, problem)

    # ---- pictures ------------------------------------------------------------------------------

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures by the owners' list; the files themselves may be absent."""
        file = metadata_file(root)
        listed = read_metadata(file)
        columns: dict[str, list[str]] = {"image": [], "path": [], "concept": [], "set": []}
        for run, side in SIDES.items():
            concepts, files = listed[run]
            folder = next(
                (n for n in (f"{run}_images", f"{side}_images") if (file.parent / n).is_dir()),
                f"{run}_images",
            )
            columns["image"] += [Path(name).stem for name in files]
            columns["path"] += [f"{folder}/{c}/{n}" for c, n in zip(concepts, files)]
            columns["concept"] += [re.sub(r"^\d+_", "", c) for c in concepts]
            columns["set"] += [side] * len(files)
        names, counts = np.unique(columns["image"], return_counts=True)
        if (counts > 1).any():
            raise NeurovisError(
                f"{file}: picture {str(names[counts > 1][0])!r} is listed {counts.max()} times, expected every "
                "name once; fetch image_metadata.npy again."
            )
        sums, sizes = pictures_of(file.parent, columns["path"])
        width, height = np.array(sizes).T
        return Stimuli(
            np.array(columns["image"]), columns["path"], np.array(sums), width, height,
            np.array(columns["concept"]), np.array(columns["set"]), folder=file.parent,
        )  # fmt: skip

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """Zero-shot as the owners chose it: no test concept is trained or validated on."""
        split = split_images(stimuli, self.validation, self.seed, self.recipe)
        split.check(stimuli, concepts=True)
        return [split]

    # ---- signals -------------------------------------------------------------------------------

    def read(self, root: Path, recording: Recording) -> tuple[Continuous, Events] | Epochs:
        """One session's part, or one file of epochs; nothing of the signal is read."""
        _, files = read_metadata(metadata_file(root))[recording.run]
        image = np.array([Path(name).stem for name in files])
        if recording.file.name.startswith("raw_eeg_"):
            return self._raw(recording, image)
        return self._epochs(recording, image)

    def _raw(self, recording: Recording, image: np.ndarray) -> tuple[Continuous, Events]:
        file = recording.file
        signal, names, content = opened(file, "raw_eeg_data")
        types = [str(kind) for kind in content.get("ch_types", ())]
        if signal.ndim != 2 or not len(names) == len(types) == len(signal) or "stim" not in types:
            raise NeurovisError(
                f"{file}: expected raw_eeg_data (channel, time) with one name and type per channel and a "
                f"stim channel, found {signal.shape}, {len(names)} names and {len(types)} types; fetch "
                "it again."
            )
        sfreq = float(content.get("sfreq") or 0)
        expected = float(read_manifest(MANIFEST).fact("sfreq"))
        if sfreq != expected:
            raise NeurovisError(
                f"{file}: sfreq is {sfreq:g} Hz, expected {expected:g} Hz as the owners recorded; fetch "
                "the raw sessions again."
            )
        onset, code = read_triggers(np.array(signal[types.index("stim")]), sfreq)
        odd = (code != TARGET) & ((code < 1) | (code > len(image)))
        if odd.any():
            raise NeurovisError(
                f"{file}: event code {code[odd][0]} at {onset[odd][0]:.3f} s, expected 1 to {len(image)} "
                f"(pictures of {recording.run}) or {TARGET} (targets); is this another part's file?"
            )
        check_volts(file, signal, types)
        shown = np.flatnonzero(code != TARGET)
        keep, notes = self._chosen(code[shown], recording.run)
        rows = shown[keep]
        if not len(rows):
            raise NeurovisError(f"{file}: its stim channel marks no picture; fetch it again.")
        notes = [f"{len(code) - len(shown)} target trials left out", *notes]
        notes.append("positions are those of the 10-10 system, not measured")
        run = Continuous(signal, sfreq, names, types, positions(tuple(names)))
        return run, Events(onset[rows], image[code[rows] - 1], tuple(notes))

    def _chosen(self, code: np.ndarray, run: str) -> tuple[np.ndarray, list[str]]:
        """Presentations to keep, in their order, and what to say about it."""
        usual = int(read_manifest(MANIFEST).fact(f"{SIDES[run]}_repeats_per_session"))
        order = np.argsort(code, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(code[order])) + 1) if len(code) else []
        more = sum(len(group) > usual for group in groups)
        fewer = sum(len(group) < usual for group in groups)
        notes = [f"{len(groups)} pictures in {len(code)} trials"]
        if more:
            extra = sum(max(0, len(group) - usual) for group in groups)
            what = "kept" if self.repeats == "all" else "left out at random (the owners' seed)"
            notes.append(f"{more} pictures shown more than {usual} times: {extra} trials {what}")
        if fewer:
            notes.append(f"{fewer} pictures shown fewer than {usual} times")
        if self.repeats == "all":
            return np.arange(len(code)), notes
        keep = [group[choice(len(group))[:usual]] for group in groups]
        return np.sort(np.concatenate(keep)) if keep else np.zeros(0, int), notes

    def _epochs(self, recording: Recording, image: np.ndarray) -> Epochs:
        file = recording.file
        torch = file.suffix == ".pt"
        signal, names, content = opened(file, "eeg" if torch else "preprocessed_eeg_data")
        shape = signal.shape
        if signal.ndim != 4 or shape[2] != len(names):
            raise NeurovisError(
                f"{file}: expected trials (picture, repeat, channel={len(names)}, time), found {shape}; "
                "fetch it again."
            )
        if shape[0] != len(image):
            raise NeurovisError(
                f"{file}: holds {shape[0]} pictures, image_metadata.npy lists {len(image)} of "
                f"{recording.run}; expected as many, as rows are known by their place alone."
            )
        times, notes = times_of(file, content, shape[3])
        session = None
        if torch:
            check_names(file, content, image)
            number = np.asarray(content.get("session", ()))
            if number.shape == shape[:2]:
                session = np.array([f"{int(n) + 1:02d}" for n in number.ravel()])
        if session is None:
            notes += (
                "repeats of all sessions are mixed: which session a trial is from is not stated",
            )
        return Epochs(
            Repeats(signal), np.repeat(image, shape[1]),
            1 / float(np.mean(np.diff(times))), float(times[0]), names, ["eeg"] * len(names),
            positions(tuple(names)), unit="1", session=session, notes=notes,
        )  # fmt: skip


class Repeats:
    """Trials in the order picture, repeat; array-like (trial, channel, time), read block by block."""

    def __init__(self, signal: np.ndarray):
        self.signal = signal
        self.shape = (signal.shape[0] * signal.shape[1], *signal.shape[2:])

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, step = rows.indices(self.shape[0])
        signal, repeats = self.signal, self.signal.shape[1]
        mapped = isinstance(getattr(signal, "base", None), mmap.mmap)
        if step != 1 or not (mapped and signal.flags.c_contiguous):
            which = np.arange(start, stop, step)
            return np.asarray(signal[which // repeats, which % repeats])
        # by reading: pages of a map would count as memory in use
        size = int(np.prod(self.shape[1:]))
        offset = signal.offset + start * size * signal.itemsize
        count = max(0, stop - start) * size
        block = np.fromfile(signal.filename, signal.dtype, count, offset=offset)
        return block.reshape(-1, *self.shape[1:])


def opened(file: Path, key: str) -> tuple[np.ndarray, list[str], dict[str, Any]]:
    """The signal of one file, mapped, its channels' names, and everything else in it."""
    content = read_torch(file) if file.suffix == ".pt" else read_pickle(file, lazy=True)
    signal = content.get(key) if isinstance(content, dict) else None
    names = content.get("ch_names") if isinstance(content, dict) else None
    if not isinstance(signal, np.ndarray) or signal.dtype.kind != "f" or names is None:
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise NeurovisError(
            f"{file}: expected a dict with {key} and ch_names, found {keys[:120]}; fetch it again."
        )
    return signal, [str(name) for name in names], content


def metadata_file(root: Path) -> Path:
    """``image_metadata.npy``, which names every picture.

    Raises
    ------
    NeurovisError
        If it is not under the root, or twice.
    """
    for depth in ("", "*/", "*/*/"):
        found = sorted(root.glob(f"{depth}image_metadata.npy"))
        if len(found) > 1:
            raise UsageError(f"{found[0]} and {found[1]}: expected one of them; remove the other.")
        if found:
            return found[0]
    raise NeurovisError(
        f"{root}: no image_metadata.npy, without which no row has a name; expected images/"
        f"image_metadata.npy: run neurovis fetch {MANIFEST} --root {root}."
    )


def read_metadata(file: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Concepts and files of the training and of the test pictures; picture n has event code n + 1."""
    return _metadata(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _metadata(file: Path, _changed: int) -> dict[str, tuple[list[str], list[str]]]:
    """Read once per process: it is asked for by every recording."""
    content = read_pickle(file)
    out = {}
    for run, side in SIDES.items():
        columns = [f"{side}_img_concepts", f"{side}_img_files"]
        lists = [content.get(c) if isinstance(content, dict) else None for c in columns]
        if any(values is None for values in lists):
            raise NeurovisError(
                f"{file}: expected a dict with {' and '.join(columns)}, found "
                f"{', '.join(map(str, content)) if isinstance(content, dict) else 'none'}; fetch it again."
            )
        if len(lists[0]) != len(lists[1]):
            raise NeurovisError(
                f"{file}: {columns[0]} has {len(lists[0])} entries, {columns[1]} {len(lists[1])}; expected "
                "as many: fetch it again."
            )
        out[run] = ([str(v) for v in lists[0]], [str(v) for v in lists[1]])
    return out


def choice(n: int) -> np.ndarray:
    """The owners' random order of `n` presentations: the same for each picture, from one seed."""
    order = np.arange(n)
    np.random.RandomState(SEED).shuffle(order)
    return order


def check_volts(file: Path, signal: np.ndarray, types: Sequence[str]) -> None:
    """Refuse signals that can only be microvolts: the owners' are V, as MNE gives them."""
    row = types.index("eeg") if "eeg" in types else 0
    step = float(np.median(np.abs(np.diff(np.array(signal[row, :10000], float)))))
    if step > 1e-3:
        raise NeurovisError(
            f"{file}: neighbouring samples differ by {step:.3g}, expected less than 0.001 V; these are "
            "not the owners' volts: fetch the file again."
        )


def times_of(file: Path, content: dict, n_times: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Times of the samples in s; copies cut the baseline from the data and left it in ``times``."""
    times = np.asarray(content.get("times", ()), float)
    if times.ndim != 1 or len(times) < n_times or n_times < 2:
        raise NeurovisError(
            f"{file}: times has {times.size} entries for {n_times} samples, expected at least as many; "
            "fetch it again."
        )
    step = np.diff(times)
    if not (step > 0).all() or np.ptp(step) > 0.01 * step.mean():
        raise NeurovisError(f"{file}: times is not evenly spaced; fetch it again.")
    cut = len(times) - n_times
    if not cut:
        return times, ()
    if abs(times[cut]) > 0.5 * step[0]:
        raise NeurovisError(
            f"{file}: times has {len(times)} entries for {n_times} samples, and without the first {cut} "
            f"it begins at {times[cut]:.3f} s; expected 0, as copies without the baseline have it."
        )
    return times[cut:], (f"the {cut} samples before the onset were cut from the data",)


def check_names(file: Path, content: dict, image: np.ndarray) -> None:
    """Compare the pictures' names in a file with the owners' list, place by place."""
    named = content.get("img")
    if named is None or np.ndim(named) != 2:
        return
    found = np.array([Path(str(name)).stem for name in np.asarray(named)[:, 0]])
    odd = np.flatnonzero(found != image)
    if len(odd):
        raise NeurovisError(
            f"{file}: row {odd[0]} is {str(found[odd[0]])!r}, image_metadata.npy lists {str(image[odd[0]])!r} there "
            f"({len(odd)} rows differ); expected one order: fetch both again."
        )


@lru_cache(maxsize=4)
def positions(names: tuple[str, ...]) -> np.ndarray:
    """Template positions of the 10-05 system in head coordinates, array (channel, 3), m."""
    import mne

    # its name from MNE 1.13 on, and before
    names_of_it = ("colin27_1005", "standard_1005")
    name = next(n for n in names_of_it if n in mne.channels.get_builtin_montages())
    montage = mne.channels.make_standard_montage(name)
    known = [name for name in names if name in montage.ch_names]
    info = mne.create_info(known, 1000.0, "eeg")
    info.set_montage(montage)
    place = {channel["ch_name"]: channel["loc"][:3] for channel in info["chs"]}
    return np.array([place.get(name, np.full(3, np.nan)) for name in names])


if __name__ == "__main__":
    sys.exit(main("things_eeg2"))
