"""Alljoined1: 8 people, 960 pictures of NSD shown four times per session, 64 electrodes.

Comes in: recordings, as the BIDS copy at NEMAR (BDF with events) or the owners' ``subj01_session1_eeg.fif``
(OSF), or the owners' epochs (parquet, Hugging Face ``05_125``; recipe ``epochs``). Goes out: the prepared
folder. Ids are NSD's (``nsd08631``, from 0), so that responses of both datasets join. Sessions that the
owners lost are named; everyone saw the same pictures, so test images are drawn by their names.

Run: ``python -m preprocessing.alljoined --root ALLJOINED1 --out OUT --subject 1``
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.arrays import read_mat
from neurovis.datasets import Epochs, Events, Recording, SensorData, split_images
from neurovis.errors import NeurovisError, UsageError, missing_package
from neurovis.manifest import read_manifest
from neurovis.prepare import main
from neurovis.progress import say
from neurovis.records import Split, Stimuli
from neurovis.signals.chain import Steps
from neurovis.signals.epochs import read_triggers
from neurovis.signals.recording import foreign, open_recording

from .bids import numbers, read_table
from .eeg_imagenet import draw, positions
from .things_eeg1 import pictures_of, place

MANIFEST = "alljoined"
BDF = re.compile(r"sub-(\d+)_ses-(\d+)_task-images_eeg\.bdf")
FIF = re.compile(r"subj(\d+)_session(\d+)_eeg\.fif")
SHARD = re.compile(r"(train|test)-\d+-of-\d+\.parquet")
COLUMNS = ("subject_id", "session", "trial", "73k_id", "curr_time")
FIRST = -26  # sample of the owners' epochs, -0.05 s at 512 Hz to the nearest sample
# as the recorder orders them
NAMES = (  # noqa: SIM905
    "Fp1 AF7 AF3 F1 F3 F5 F7 FT7 FC5 FC3 FC1 C1 C3 C5 T7 TP7 CP5 CP3 CP1 P1 P3 P5 P7 P9 PO7 "
    "PO3 O1 Iz Oz POz Pz CPz Fpz Fp2 AF8 AF4 AFz Fz F2 F4 F6 F8 FT8 FC6 FC4 FC2 FCz Cz C2 C4 "
    "C6 T8 TP8 CP6 CP4 CP2 P2 P4 P6 P8 P10 PO8 PO4 O2"
).split()


class Alljoined(SensorData, name="alljoined"):
    """Xu et al. 2024, arXiv:2404.05553.

    Parameters
    ----------
    source : {"recordings", "epochs"}
        Continuous recordings, or the owners' cleaned epochs.
    split : {"drawn", "owners"}
        ``drawn`` tests the images that `held_out` and `seed` choose by name, the same for every
        subject and whatever is there; ``owners`` is the published test part of the epochs, 90 of
        43,070 trials, too few to tell models apart.
    held_out : float
        Share of the images that are tested.
    reference : {"average", "recorded"}
        The recorder's own reference leaves the noise that all electrodes share.
    pictures : str
        Folder of NSD's pictures, ``nsd/<number>.png``, relative to the root. They are not needed to
        prepare the signals.
    """

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {
            "steps": {
                "l_freq": 0.5, "h_freq": 125.0, "notch": (60.0,), "sfreq": None, "tmin": -0.05,
                "tmax": 0.6, "scaling": "none", "clamp": None,
            }
        },
        "epochs": {
            "source": "epochs",
            "steps": {
                "l_freq": None, "h_freq": None, "sfreq": 128.0, "tmin": 0.0, "tmax": 0.6,
                "baseline": None,
            },
        },
    }  # fmt: skip

    source: Literal["recordings", "epochs"] = "recordings"
    split: Literal["drawn", "owners"] = "drawn"
    held_out: float = pydantic.Field(0.2, gt=0, lt=1)
    reference: Literal["average", "recorded"] = "average"
    pictures: str = "stimuli"
    # a picture every 0.6 to 0.65 s: the baseline lies after the picture before has gone
    steps: Steps = Steps(
        picks=("eeg",), l_freq=0.5, h_freq=40.0, sfreq=128.0, tmin=-0.1, tmax=0.6,
        baseline=(None, 0.0), scaling="robust", clamp=20.0,
    )  # fmt: skip

    def recordings(self, root: Path) -> list[Recording]:
        """One per session; sessions that should be there and are not are named."""
        found: dict[tuple[str, str], Path] = {}
        if self.source == "epochs":
            for subject, session, file in trials_in(root).sessions():
                found[f"{subject:02d}", f"{session:02d}"] = file
        else:
            for file in sorted([*root.glob("sub-*/ses-*/eeg/*.bdf"), *root.rglob("subj*_eeg.fif")]):
                named = BDF.fullmatch(file.name) or FIF.fullmatch(file.name)
                if named:
                    found.setdefault((named[1].zfill(2), named[2].zfill(2)), file)
        if not found:
            layout = {
                "recordings": "sub-01/ses-01/eeg/*.bdf and no subj01_session1_eeg.fif",
                "epochs": "data/train-00000-of-*.parquet",
            }[self.source]
            raise NeurovisError(
                f"{root}: no {layout}, expected the root of Alljoined1; fetch it, or set source to what is "
                "there."
            )
        facts = read_manifest(MANIFEST)
        out = []
        for subject in sorted({who for who, _ in found}):
            told = facts.fact("lost").get(subject)
            if told:
                say(f"sub-{subject}: {told}")
            mine = {session for who, session in found if who == subject}
            home = found[subject, min(mine)]
            if self.source == "recordings":
                # a broken file of a session that the owners lost leaves the subject's others
                published = set(facts.fact("sessions").get(subject, mine))
                mine, wanted = mine & published, published
            else:
                wanted = mine
            for session in sorted(wanted):
                problem = ""
                if session not in mine:
                    problem = (
                        f"sub-{subject}: session {session} is missing beside {home.name}; fetch the subject "
                        "again."
                    )
                out.append(
                    Recording(subject, session, "01", found.get((subject, session), home), problem)
                )
        return out

    def companions(self, root: Path, recording: Recording) -> list[Path]:
        """All files of a session's epochs; what says which picture a mark means."""
        if self.source == "recordings":
            return sorted(root.rglob("nsd_expdesign.mat"))[:1]
        return trials_in(root).files_of(int(recording.subject), int(recording.session))

    def stimuli(self, root: Path) -> Stimuli:
        """The pictures under NSD's numbers."""
        if self.source == "epochs":
            index = trials_in(root)
            known = np.unique(index.image)
        else:
            known = np.unique(list(shared_images(root).values()))
        if self.split == "owners":
            if self.source != "epochs":
                raise UsageError(
                    "split: the owners' test part belongs to their epochs; set recipe=epochs, or split=drawn."
                )
            test = np.isin(known, index.image[index.test])
        else:
            test = np.array([share(self.seed, image_of(n)) < self.held_out for n in known])
        paths = [f"{self.pictures}/nsd/{n}.png" for n in known]
        sums, sizes = pictures_of(root, paths)
        width, height = np.array(sizes).T
        names = np.array([image_of(n) for n in known])
        return Stimuli(
            names, paths, np.array(sums), width, height, names, np.where(test, "test", "train"),
            folder=root,
        )  # fmt: skip

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """Images held out of all subjects."""
        name = self.recipe if self.split == "drawn" else f"{self.recipe}, owners' test part"
        return [split_images(stimuli, self.validation, self.seed, name)]

    def read(self, root: Path, recording: Recording) -> tuple[Any, Events] | Epochs:
        """Open a session."""
        lost = read_manifest(MANIFEST).fact("lost").get(recording.subject)
        notes = [lost] if lost else []
        if self.source == "epochs":
            return trials_in(root).epochs(int(recording.subject), int(recording.session), notes)
        file = recording.file
        raw = open_recording(file)
        images = shared_images(root)
        if BDF.fullmatch(file.name):
            table_file = file.with_name(file.name.replace("_eeg.bdf", "_events.tsv"))
            onset, number = shown_in_table(table_file, float(raw.info["sfreq"]), images)
        else:
            if "Status" not in raw.ch_names:
                raise NeurovisError(
                    f"{file}: no channel 'Status', expected the owners' recording with its marks; fetch it "
                    "again."
                )
            marks = foreign(file, lambda: raw.get_data(["Status"], verbose="error"))[0]
            onset, number = read_triggers(marks, float(raw.info["sfreq"]))
        strange = sorted(set(number.tolist()) - set(images))
        if strange:
            raise NeurovisError(
                f"{file}: mark {strange[0]} names no picture ({len(strange)} such), expected 1 to "
                f"{len(images)}; fetch the session again."
            )
        lacking = [name for name in NAMES if name not in raw.ch_names]
        if lacking:
            raise NeurovisError(
                f"{file}: electrode {lacking[0]!r} is missing ({len(lacking)} of {len(NAMES)}); fetch the "
                "session again."
            )
        raw.pick(NAMES)
        place(raw)
        if self.reference == "average":
            raw.set_eeg_reference("average", projection=True, verbose="error")
            raw.apply_proj(verbose="error")
            notes.append("average reference")
        counts = np.unique(np.unique(number, return_counts=True)[1], return_counts=True)
        told = ", ".join(f"{n} images {k} times" for k, n in zip(*counts))
        notes.append(f"{len(number)} presentations ({told}); oddballs are not among them")
        return raw, Events(
            onset, np.array([image_of(images[n]) for n in number.tolist()]), tuple(notes)
        )


def image_of(number: int) -> str:
    """NSD's name of a picture, numbers from 0."""
    return f"nsd{int(number):05d}"


def share(seed: int, name: str) -> float:
    """A number in [0, 1) that belongs to a name."""
    return int.from_bytes(draw(seed, name)[:8], "big") / 2**64


def shared_images(root: Path) -> dict[int, int]:
    """NSD's number of each of the pictures 1 to 960 that marks name.

    From ``nsd_expdesign.mat`` (sharedix, from 1), which the owners publish beside their code, or from
    events that name NSD's pictures; where both are there they must agree.

    Raises
    ------
    NeurovisError
        If neither is there, or they disagree, naming the mark.
    """
    tables = sorted(root.glob("sub-*/ses-*/eeg/*_events.tsv"))
    design = next(iter(sorted(root.rglob("nsd_expdesign.mat"))), None)
    stamp = tuple(path.stat().st_mtime_ns for path in [*tables, *([design] if design else [])])
    return _shared_images(root, tuple(tables), design, stamp)


@lru_cache(maxsize=2)
def _shared_images(
    root: Path, tables: tuple[Path, ...], design: Path | None, _: tuple[int, ...]
) -> dict[int, int]:
    n_images = int(read_manifest(MANIFEST).fact("n_images"))
    out: dict[int, int] = {}
    if design is not None:
        listed = np.asarray(read_mat(design, ["sharedix"])["sharedix"]).ravel()
        out = {n: int(k) - 1 for n, k in enumerate(listed[:n_images], start=1)}
    for file in tables:
        table = read_table(file, ["value"])
        if "stim_file" not in table:
            continue
        pairs = table[["value", "stim_file"]].drop_duplicates()
        for row, value, path in zip(pairs.index, pairs["value"], pairs["stim_file"]):
            named = re.fullmatch(r"nsd/(\d+)\.png", path)
            if not named:
                continue  # an older copy names COCO's pictures
            said = out.setdefault(int(value), int(named[1]))
            if said != int(named[1]):
                raise NeurovisError(
                    f"{file}: line {row + 2}: picture {value} is {path}, elsewhere it is nsd/{said}.png; "
                    "expected one picture per number: a release with shifted numbers, fetch it again."
                )
    if not out:
        raise NeurovisError(
            f"{root}: nothing says which picture of NSD a mark means; expected nsd_expdesign.mat under it "
            "(NSD's nsddata/experiments/nsd), or events with stim_file nsd/<number>.png."
        )
    return out


def shown_in_table(
    file: Path, sfreq: float, images: dict[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Onsets in s and numbers of the pictures of one session, checked against each other."""
    table = read_table(file, ["onset", "trial_type", "value"])
    onset, value = numbers(table, "onset", file), numbers(table, "value", file).astype(int)
    said = np.array([f"image/{v}" for v in value])
    if (said != table["trial_type"].to_numpy(str)).any():
        row = int(np.argmax(said != table["trial_type"].to_numpy(str)))
        raise NeurovisError(
            f"{file}: line {row + 2}: trial_type is {table['trial_type'][row]!r} and value {value[row]}, "
            "expected image/<value>; fetch the events again."
        )
    if "sample" in table:
        apart = np.abs(np.round(onset * sfreq) - numbers(table, "sample", file))
        if (apart > 1).any():
            row = int(apart.argmax())
            raise NeurovisError(
                f"{file}: line {row + 2}: onset and sample differ by {apart[row]:.0f} samples, expected the "
                f"same time at {sfreq:g} Hz; these are another recording's events: fetch them again."
            )
    return onset, value


@dataclass(frozen=True)
class Shards:
    """The owners' epochs: where each trial lies, and what it is.

    Parameters
    ----------
    files : tuple of Path
    file, group, row : array of int (trial,)
        File, row group in it and row in that.
    subject, session, trial, image : array of int (trial,)
        Trials are counted within a session from 1; images from 0, as NSD's.
    onset : array (trial,), s
    test : array of bool (trial,)
        In the published test part.
    n_times : int
    """

    files: tuple[Path, ...]
    file: np.ndarray
    group: np.ndarray
    row: np.ndarray
    subject: np.ndarray
    session: np.ndarray
    trial: np.ndarray
    image: np.ndarray
    onset: np.ndarray
    test: np.ndarray
    n_times: int

    def sessions(self) -> list[tuple[int, int, Path]]:
        """Subject, session and first file of all sessions, in order."""
        out: dict[tuple[int, int], Path] = {}
        for who, when, file in zip(
            self.subject.tolist(), self.session.tolist(), self.file.tolist()
        ):
            out.setdefault((who, when), self.files[file])
        return [(*key, out[key]) for key in sorted(out)]

    def files_of(self, subject: int, session: int) -> list[Path]:
        """Files with trials of one session."""
        mine = (self.subject == subject) & (self.session == session)
        return [self.files[k] for k in np.unique(self.file[mine])]

    def epochs(self, subject: int, session: int, notes: list[str]) -> Epochs:
        """Trials of one session in the order of presentation, left on disk."""
        rows = np.flatnonzero((self.subject == subject) & (self.session == session))
        rows = rows[np.argsort(self.trial[rows], kind="stable")]
        twice = np.flatnonzero(np.diff(self.trial[rows]) == 0)
        if len(twice):
            raise NeurovisError(
                f"{self.files[self.file[rows[twice[0]]]]}: trial {self.trial[rows[twice[0]]]} of subject "
                f"{subject}, session {session} is there twice; expected each once: fetch the files again, "
                "of one release only."
            )
        sfreq = float(read_manifest(MANIFEST).fact("sfreq"))
        return Epochs(
            signal=Lists(self, rows),
            image=np.array([image_of(n) for n in self.image[rows]]),
            sfreq=sfreq,
            tmin=FIRST / sfreq,
            names=NAMES,
            types=["eeg"] * len(NAMES),
            position=positions(NAMES, "biosemi64"),
            onset=self.onset[rows],
            notes=(
                *notes,
                "the owners' epochs: 0.5-125 Hz, 60 Hz notch, one component removed, average reference",
                f"{len(rows)} trials; the owners' artifact rejection left out others",
            ),
        )


@dataclass(frozen=True)
class Lists:
    """Trials stored as nested lists in parquet, as one array (trial, channel, time)."""

    shards: Shards
    rows: np.ndarray
    kept: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Trials, channels, samples."""
        return len(self.rows), len(NAMES), self.shards.n_times

    def __getitem__(self, which: slice) -> np.ndarray:
        rows = self.rows[which]
        out = np.empty((len(rows), *self.shape[1:]), np.float32)
        place_of = self.shards.file[rows], self.shards.group[rows]
        for file, group in dict.fromkeys(zip(*(p.tolist() for p in place_of))):
            mine = np.flatnonzero((place_of[0] == file) & (place_of[1] == group))
            out[mine] = self._group(file, group)[self.shards.row[rows[mine]]]
        return out

    def _group(self, file: int, group: int) -> np.ndarray:
        """One row group; the last two stay, as the published parts alternate."""
        key = file, group
        if key not in self.kept:
            while len(self.kept) > 1:
                self.kept.pop(next(iter(self.kept)))
            path = self.shards.files[file]
            column = foreign(path, lambda: _parquet(path).read_row_group(group, columns=["EEG"]))
            values = column.column(0).combine_chunks().flatten().flatten().to_numpy()
            n = column.num_rows
            if values.size != n * len(NAMES) * self.shards.n_times:
                raise NeurovisError(
                    f"{path}: row group {group}: trials differ in length, expected {len(NAMES)} x "
                    f"{self.shards.n_times}; fetch the file again."
                )
            self.kept[key] = values.astype(np.float32).reshape(n, len(NAMES), -1)
        return self.kept[key]


def trials_in(root: Path) -> Shards:
    """The owners' epochs under a root; only the small columns are read."""
    files = sorted(
        f
        for f in [*root.glob("*.parquet"), *root.glob("data/*.parquet")]
        if SHARD.fullmatch(f.name)
    )
    if not files:
        raise NeurovisError(
            f"{root}: no data/train-00000-of-*.parquet, expected the owners' epochs (Hugging Face "
            "Alljoined/05_125); fetch them, or set source=recordings."
        )
    return _trials_in(tuple(files), tuple(f.stat().st_mtime_ns for f in files))


@lru_cache(maxsize=2)
def _trials_in(files: tuple[Path, ...], _: tuple[int, ...]) -> Shards:
    parts: dict[str, list[np.ndarray]] = {n: [] for n in (*COLUMNS, "file", "group", "row", "test")}
    n_times = 0
    for number, path in enumerate(files):
        file = foreign(path, lambda path=path: _parquet(path))
        lacking = [c for c in ("EEG", *COLUMNS) if c not in file.schema_arrow.names]
        if lacking:
            raise NeurovisError(
                f"{path}: column {lacking[0]!r} is missing, found {', '.join(file.schema_arrow.names)}; fetch "
                "Alljoined/05_125."
            )
        first = next(foreign(path, lambda file=file: file.iter_batches(1, columns=["EEG"])), None)
        trial = first.column(0)[0].as_py() if first is not None else []
        if first is not None:
            if len(trial) == 63:
                raise NeurovisError(
                    f"{path}: 63 channels, expected {len(NAMES)}; in the older releases of 63 channels (5_95, "
                    "55_95) every trial carries the number of the next picture: fetch Alljoined/05_125."
                )
            n_times = n_times or len(trial[0])
            if len(trial) != len(NAMES) or len(trial[0]) != n_times:
                raise NeurovisError(
                    f"{path}: EEG is {len(trial)} x {len(trial[0])}, expected {len(NAMES)} x {n_times}; fetch "
                    "the file again."
                )
        table = foreign(path, lambda file=file: file.read(columns=list(COLUMNS)))
        for name in COLUMNS:
            parts[name].append(table.column(name).to_numpy())
        counts = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        parts["file"].append(np.full(table.num_rows, number))
        parts["group"].append(np.repeat(np.arange(len(counts)), counts))
        parts["row"].append(np.concatenate([np.arange(n) for n in counts] or [np.zeros(0, int)]))
        parts["test"].append(np.full(table.num_rows, path.name.startswith("test")))
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    return Shards(
        files, whole["file"], whole["group"], whole["row"], whole["subject_id"], whole["session"],
        whole["trial"], whole["73k_id"], whole["curr_time"].astype(float), whole["test"], n_times,
    )  # fmt: skip


def _parquet(path: Path) -> Any:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise missing_package("pyarrow", "parquet") from error
    return ParquetFile(path)


if __name__ == "__main__":
    sys.exit(main("alljoined"))
