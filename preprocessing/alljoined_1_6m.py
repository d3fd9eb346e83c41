"""Alljoined-1.6M: 20 people, the 16,740 pictures of THINGS-EEG2, a consumer's 32 electrodes.

Comes in: the owners' EDF blocks (``raw_eeg/sub-01/session_01/block_01/*.edf``, or the BIDS copy at
NEMAR), or their whitened epochs (``preprocessed_eeg/``, recipe ``preprocessed``). Goes out: the prepared
folder. Every mark says the picture's number, so rows need no separate list; marks that the recorder
flushed together onto one instant say nothing of when their pictures came, and are left out.

Run: ``python -m preprocessing.alljoined_1_6m --root ALLJOINED --out OUT --subject 1``
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from neurovis.datasets import Epochs, Events, Recording, SensorData
from neurovis.errors import NeurovisError, UsageError, missing_package
from neurovis.manifest import read_manifest
from neurovis.prepare import main
from neurovis.progress import say
from neurovis.records import Stimuli
from neurovis.safe_pickle import read_pickle
from neurovis.signals.chain import Steps
from neurovis.signals.recording import foreign, open_recording

from .bids import numbers, read_table
from .eeg_imagenet import positions
from .things_eeg1 import pictures_of, place

MANIFEST = "alljoined-1-6m"
PARTITIONS = {"training": "stim_train", "test": "stim_test"}
OTHER = ("oddball", "behav", "debug")
BIDS = re.compile(r"sub-(\d+)_ses-(\w+?)_task-images_run-(\d+)_eeg\.edf")
MONTAGE = "easycap-M1"


class Alljoined16M(SensorData, name="alljoined_1_6m"):
    """Xu et al. 2025, arXiv:2508.18571.

    Parameters
    ----------
    source : {"raw", "preprocessed"}
        The recordings, or the owners' epochs: 0 to 1 s at 250 Hz, whitened per session by what their
        training trials taught.
    sessions : tuple of int
        Which ones; every block of them must be there.
    pictures : str
        Folder of the pictures (``stimuli.zip`` unpacked), relative to the root. They are not needed to
        prepare the signals.
    """

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {
            "steps": {
                "l_freq": None, "h_freq": None, "sfreq": 250.0, "tmin": -0.2, "tmax": 1.0,
                "baseline": (None, 0.0), "detect": False, "bads": "keep", "scaling": "none",
                "clamp": None, "whiten": "mvnn",
            }
        },
        "preprocessed": {
            "source": "preprocessed",
            "steps": {
                "l_freq": None, "h_freq": None, "sfreq": None, "tmin": 0.0, "tmax": 1.0,
                "baseline": None, "scaling": "none", "clamp": None,
            },
        },
    }  # fmt: skip

    source: Literal["raw", "preprocessed"] = "raw"
    sessions: tuple[int, ...] = (1, 2, 3, 4)
    pictures: str = "stimuli"
    # no baseline: at five pictures per second it would hold the response to the picture before
    steps: Steps = Steps(
        picks=("eeg",), l_freq=0.5, h_freq=40.0, sfreq=128.0, tmin=-0.1, tmax=0.8, baseline=None,
        scaling="robust", clamp=20.0,
    )  # fmt: skip

    def recordings(self, root: Path) -> list[Recording]:
        """One per block, or per file of epochs."""
        found = self._epoched(root) if self.source == "preprocessed" else self._blocks(root)
        if not found:
            layout = {
                "raw": "raw_eeg/sub-01/session_01/block_01/*.edf",
                "preprocessed": "preprocessed_eeg/sub-01/preprocessed_eeg_training_flat.npy",
            }[self.source]
            raise NeurovisError(
                f"{root}: no {layout}, expected the root of Alljoined-1.6M; fetch it, or set source to "
                "what is there."
            )
        return found

    def companions(self, root: Path, recording: Recording) -> list[Path]:
        """The table that names the pictures of the owners' epochs."""
        table = root / f"preprocessed_eeg/sub-{recording.subject}/experiment_metadata.parquet"
        return [table] if self.source == "preprocessed" else []

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures of the experiment: numbers tell what is test."""
        facts = read_manifest(MANIFEST)
        n_train, n_images = facts.fact("n_train_images"), facts.fact("n_images")
        number = np.arange(n_images)
        folder = next(
            (f"{self.pictures}{sub}" for sub in ("/images", "") if (root / f"{self.pictures}{sub}/00000.jpg").is_file()),
            f"{self.pictures}/images",
        )  # fmt: skip
        paths = [f"{folder}/{i:05d}.jpg" for i in number]
        sums, sizes = pictures_of(root, paths)
        width, height = np.array(sizes).T
        per_concept = facts.fact("n_images_per_train_concept")
        concept = np.where(number < n_train, number // per_concept, number)
        return Stimuli(
            np.array([image_of(i) for i in number]), paths, np.array(sums), width, height,
            np.array([f"concept{c:05d}" for c in concept]), np.where(number < n_train, "train", "test"),
            folder=root,
        )  # fmt: skip

    def read(self, root: Path, recording: Recording) -> tuple[Any, Events] | Epochs:
        """Open a block, or a file of epochs."""
        if self.source == "preprocessed":
            return self._read_epochs(recording)
        file = recording.file
        raw = open_recording(file)
        n_chans = read_manifest(MANIFEST).fact("n_chans")
        if "Afz" in raw.ch_names:  # EMOTIV's spelling
            raw.rename_channels({"Afz": "AFz"})
        eeg = electrodes(raw.ch_names)
        if len(eeg) != n_chans:
            raise NeurovisError(
                f"{file}: found {len(eeg)} electrodes among {len(raw.ch_names)} channels, expected "
                f"{n_chans}; fetch the block again."
            )
        raw.pick(eeg)
        place(raw)
        onset, marks = self._marks(file, raw)
        return raw, pictures_shown(
            file, onset, marks, float(raw.info["sfreq"]), self._named_so(recording)
        )

    def _marks(self, file: Path, raw: Any) -> tuple[np.ndarray, list[str]]:
        """Onsets in s and texts of all marks, from the BIDS table or from the recording itself."""
        table = file.with_name(file.name.replace("_eeg.edf", "_events.tsv"))
        if BIDS.fullmatch(file.name):
            rows = read_table(table, ["onset", "trial_type"])
            return numbers(rows, "onset", table), rows["trial_type"].tolist()
        return np.array(raw.annotations.onset, float), [str(d) for d in raw.annotations.description]

    def _named_so(self, recording: Recording) -> list[str]:
        """What the file's name gets wrong: folders are right, as the owners say."""
        said = re.match(r"Subject (\d+), Session (\d+), Block (\d+)", recording.file.name)
        where = [int(recording.subject), int(recording.session), int(recording.run)]
        if said and [int(part) for part in said.groups()] != where:
            return [f"the file calls itself {said[0]!r}; its folder's name is used"]
        return []

    def _blocks(self, root: Path) -> list[Recording]:
        """Blocks of every subject that is there; missing ones are named."""
        n_runs = read_manifest(MANIFEST).fact("n_runs")
        files: dict[tuple[str, str], dict[tuple[int, int], list[Path]]] = {}
        odd: Counter[str] = Counter()
        for file in sorted(
            [*root.glob("raw_eeg/sub-*/*/block_*/*.edf"), *root.glob("sub-*/ses-*/eeg/*.edf")]
        ):
            entry = block_of(file)
            if file.name.startswith("._"):
                continue
            if entry is None:
                odd[
                    f"sub-{file.parts[len(root.parts) :][-4].removeprefix('sub-')} {file.parent.parent.name}"
                ] += 1
                continue
            subject, session, run, layout = entry
            files.setdefault((subject, layout), {}).setdefault((session, run), []).append(file)
        for name, count in odd.items():
            say(f"{name}: {count} recordings of a session that the owners replaced are left out")
        out = []
        for (subject, layout), blocks in sorted(files.items()):
            if layout == "bids" and (subject, "owners") in files:
                continue
            home = next(iter(blocks.values()))[0]
            for session in self.sessions:
                for run in range(1, n_runs + 1):
                    there = blocks.get((session, run), [])
                    problem = ""
                    if len(there) != 1:
                        problem = (
                            f"sub-{subject}: session {session}, block {run}: found {len(there)} "
                            "recordings, expected one; fetch the subject again, or set sessions."
                        )
                    out.append(
                        Recording(
                            subject, f"{session:02d}", f"{run:02d}", (there or [home])[0], problem
                        )
                    )
        return out

    def _epoched(self, root: Path) -> list[Recording]:
        out = []
        for folder in sorted(root.glob("preprocessed_eeg/sub-*")):
            subject = folder.name.removeprefix("sub-")
            for part in PARTITIONS:
                file = folder / f"preprocessed_eeg_{part}_flat.npy"
                table = folder / "experiment_metadata.parquet"
                missing = [path for path in (file, table) if not path.is_file()]
                problem = (
                    f"{missing[0]}: missing; fetch the subject's preprocessed files again."
                    if missing
                    else ""
                )
                there = file if file.is_file() else folder
                out.append(Recording(subject, "all", part, there, problem))
        return out

    def _read_epochs(self, recording: Recording) -> Epochs:
        """The owners' epochs, mapped, with the rows of their table that were not dropped."""
        file = recording.file
        content = read_pickle(file, lazy=True)
        needed = ("preprocessed_eeg_data", "ch_names", "times")
        lacking = [k for k in needed if not isinstance(content, dict) or k not in content]
        if lacking:
            raise NeurovisError(
                f"{file}: {lacking[0]!r} is missing, expected the owners' dict of {', '.join(needed)}; "
                "fetch it again."
            )
        data, times = content["preprocessed_eeg_data"], np.asarray(content["times"], float)
        table_file = file.with_name("experiment_metadata.parquet")
        rows = kept_rows(table_file, PARTITIONS[recording.run])
        if self.sessions != (1, 2, 3, 4):
            raise UsageError(
                "sessions: the owners' epochs come in one file for all sessions; leave it out, or set "
                "source=raw."
            )
        if len(rows["image"]) != len(data):
            raise NeurovisError(
                f"{file}: holds {len(data)} trials, {table_file.name} keeps {len(rows['image'])} of "
                f"{PARTITIONS[recording.run]}; expected as many: fetch both of one release."
            )
        names = [{"Afz": "AFz"}.get(str(n), str(n)) for n in content["ch_names"]]
        options = content.get("configs") or {}
        whitened = bool(options.get("mvnn_dim", "epochs"))
        return Epochs(
            signal=data,
            image=rows["image"],
            sfreq=float(np.round(1 / np.diff(times).mean(), 6)),
            tmin=float(times[0]),
            names=names,
            types=["eeg"] * len(names),
            position=positions(names, MONTAGE),
            unit="1" if whitened else "",
            session=rows["session"],
            notes=(
                "the owners' epochs"
                + (", whitened per session by training trials" if whitened else ""),
                f"{rows['dropped']} of {len(data) + rows['dropped']} presentations have no trial",
            ),
        )


def image_of(number: int) -> str:
    """The owners' name of a picture."""
    return f"{number:05d}"


def electrodes(names: list[str]) -> list[str]:
    """Channels that are places on the head; EMOTIV writes its clocks, contacts and motion beside them."""
    return [name for name in names if name.lower() in _places()]


@lru_cache(maxsize=1)
def _places() -> frozenset[str]:
    import mne

    montage = mne.channels.make_standard_montage(MONTAGE)
    return frozenset(name.lower() for name in montage.ch_names)


def block_of(file: Path) -> tuple[str, int, int, str] | None:
    """Subject, session, block and layout from where a recording lies; None for a replaced session."""
    bids = BIDS.fullmatch(file.name)
    if bids:
        subject, session, run = bids.groups()
        return (subject, int(session), int(run), "bids") if session.isdigit() else None
    session = re.fullmatch(r"session_(\d+)", file.parent.parent.name)
    run = re.fullmatch(r"block_(\d+)", file.parent.name)
    if not session or not run:
        return None
    subject = file.parent.parent.parent.name.removeprefix("sub-")
    return subject, int(session[1]), int(run[1]), "owners"


def pictures_shown(
    file: Path, onset: np.ndarray, marks: list[str], sfreq: float, notes: list[str] | None = None
) -> Events:
    """Pictures among the marks of one block.

    Parameters
    ----------
    file : Path
        Named in errors.
    onset : array (mark,), s
    marks : list of str (mark,)
        ``stim_train,<picture>,-1,<index>``, ``stim_test,...``, ``oddball,...``, ``behav,...``.
    sfreq : float, Hz
    notes : list of str, optional

    Raises
    ------
    NeurovisError
        If a mark is of another kind, or a picture's number is not of its partition, naming the mark.
    """
    facts = read_manifest(MANIFEST)
    n_train, n_images = facts.fact("n_train_images"), facts.fact("n_images")
    sides = {"stim_train": range(n_train), "stim_test": range(n_train, n_images)}
    counts: Counter[str] = Counter()
    # the stream of marks stalls now and then and gives several the same time: which picture came when
    # is lost, for all that share it
    at, where = np.unique(np.round(onset * sfreq).astype(np.int64), return_inverse=True)
    shared = np.bincount(where, minlength=len(at))[where] > 1
    keep, image = [], []
    for row, mark in enumerate(marks):
        kind, *rest = mark.split(",")
        if kind in OTHER or kind.upper().startswith(("BAD", "EDGE")):
            counts[kind] += 1
            continue
        number = int(rest[0]) if rest and rest[0].strip().isdigit() else -1
        if kind not in sides or number not in sides[kind]:
            raise NeurovisError(
                f"{file}: mark {row} ({mark!r}) names no picture, expected stim_train,0 to "
                f"{n_train - 1} or stim_test,{n_train} to {n_images - 1}; fetch the block again."
            )
        if shared[row]:
            counts["of pictures on a shared instant"] += 1
            continue
        keep.append(row)
        image.append(image_of(number))
    if not keep:
        raise NeurovisError(
            f"{file}: none of {len(marks)} marks names a picture; expected a block of the experiment: "
            "fetch it again."
        )
    told = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    notes = [*(notes or []), *([f"marks left out: {told}"] if told else [])]
    return Events(onset[np.array(keep)], np.array(image), tuple(notes))


def kept_rows(file: Path, partition: str) -> dict[str, Any]:
    """Picture and session of each trial of a partition, as the owners put them together.

    Their file joins the sessions one after the other, and leaves out what the table calls dropped.
    """
    import pandas as pd

    try:
        table = foreign(file, lambda: pd.read_parquet(file))
    except NeurovisError as error:
        if isinstance(error.__cause__, ImportError):
            raise missing_package("pyarrow", "parquet") from error
        raise
    lacking = [c for c in ("partition", "session", "image_path", "dropped") if c not in table]
    if lacking:
        raise NeurovisError(
            f"{file}: column {lacking[0]!r} is missing, found {', '.join(map(str, table.columns))}; take "
            "experiment_metadata.parquet, not stim_order.parquet."
        )
    table = table[table["partition"] == partition]
    kept = table[~table["dropped"].astype(bool)].sort_values("session", kind="stable")
    number = kept["image_path"].astype(str).str.extract(r"(\d{5})\.jpg$", expand=False)
    if number.isna().any():
        row = int(np.argmax(number.isna()))
        raise NeurovisError(
            f"{file}: image_path is {str(kept['image_path'].iloc[row])!r}, expected .../<five digits>.jpg; "
            "fetch it again."
        )
    return {
        "image": number.to_numpy(str),
        "session": np.array([f"{int(s):02d}" for s in kept["session"]]),
        "dropped": len(table) - len(kept),
    }


if __name__ == "__main__":
    sys.exit(main("alljoined_1_6m"))
