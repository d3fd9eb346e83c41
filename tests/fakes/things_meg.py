"""A miniature of THINGS-MEG (ds004212) in its owners' layout, tables and units, wrong bits included.

Every session shows each concept once (another exemplar each time) and each test picture once, spread over
its runs, with catch trials between; as in the original, only smaller. The response to a picture is planted
at the written onset (the optical sensor's), the pulses of ``UPPT001`` come `EARLY` s before it, and one
last pulse of 32 ends the run. `MRO11` is broken; two stretches of two runs are lost.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from fakes.ctf import GRADIOMETER, TRIGGER, Channel, channels, position_of, write_ds

SFREQ = 1200.0
EARLY, PEAK, WIDTH = 0.150, 0.15, 0.03  # s
COLUMNS = [
    "trial_type",
    "image_nr",
    "category_nr",
    "exemplar_nr",
    "test_image_nr",
    "things_category_nr",
    "things_image_nr",
    "things_exemplar_nr",
    "image_path",
    "onset",
    "image_on",
    "image_off",
    "responded",
    "key_id",
    "key_time",
    "RT",
    "session_nr",
    "run_nr",
]  # as used by those who read it: pictures' paths are column 8 of 18
SENSORS = [
    "MLC13",
    "MLF11",
    "MLF34",
    "MLO11",
    "MLO22",
    "MLO43",
    "MLP21",
    "MLP44",
    "MLT12",
    "MLT45",
    "MRC13",
    "MRF11",
    "MRO11",
    "MRO22",
    "MRO43",
    "MRP21",
    "MRP44",
    "MRT12",
    "MZC02",
    "MZO01",
]
DROPOUTS = {("1", 11, 5): 13.4, ("2", 10, 3): 59.8}
PER_CONCEPT = 14  # pictures of a concept in THINGS; some are never shown
_NAMES = (
    "aardvark",
    "bat1",
    "bat2",
    "coat_rack",
    "ferris_wheel",
    "mosquito_net",
    "sim_card",
    "zipper",
)


def concept_name(number: int) -> str:
    """Of a concept counted from 1: names with digits and underscores among them."""
    return _NAMES[number - 1] if number <= len(_NAMES) else f"object{number:04d}"


@dataclass(frozen=True)
class Picture:
    """One picture of THINGS."""

    concept: int
    exemplar: int

    @property
    def number(self) -> int:
        """Counted from 1 over all pictures of THINGS."""
        return PER_CONCEPT * (self.concept - 1) + self.exemplar

    @property
    def name(self) -> str:
        """Stem of its file."""
        return (
            f"{concept_name(self.concept)}_{self.exemplar:02d}{'b' if self.exemplar == 1 else 's'}"
        )


@dataclass(frozen=True)
class Design:
    """How much of everything; the defaults are a miniature, `FULL` one session of the original."""

    concepts: int = 16
    tested: int = 4
    sessions: tuple[int, ...] = (1, 2)
    runs: tuple[int, ...] = (1, 2)
    catch: int = 2
    sensors: tuple[str, ...] | None = tuple(SENSORS)
    references: int = 4
    inputs: int = 2
    block: float | None = 1.0  # s of the blocks a file is cut into; None: one block
    soa: tuple[float, float] = (1.3, 1.7)  # s

    def trials(self, subject: str) -> pd.DataFrame:
        """What one person sees: rows of the attributes, in order."""
        rng = np.random.default_rng(ord(subject[-1]))
        tested = [c for c in range(1, self.concepts + 1) if c % (self.concepts // self.tested) == 1]
        rows = []
        for session in self.sessions:
            exp = rng.permutation(np.arange(1, self.concepts + 1))
            test = rng.permutation(np.arange(len(tested)))
            for run, mine, repeated in zip(
                self.runs, np.array_split(exp, len(self.runs)), np.array_split(test, len(self.runs))
            ):
                shown = [("exp", Picture(int(c), session)) for c in mine]
                shown += [("test", Picture(tested[i], PER_CONCEPT - 1)) for i in repeated]
                shown += [("catch", None)] * self.catch
                for place in rng.permutation(len(shown)):
                    kind, picture = shown[place]
                    row = dict.fromkeys(COLUMNS, np.nan)
                    row |= {
                        "trial_type": kind,
                        "session_nr": session,
                        "run_nr": run,
                        "responded": 0,
                    }
                    row |= self._picture(kind, picture, tested, int(rng.integers(1, 300)))
                    rows.append(row)
        return pd.DataFrame(rows, columns=COLUMNS)

    @staticmethod
    def _picture(kind: str, picture: Picture | None, tested: list[int], number: int) -> dict:
        if picture is None:
            nr = 99999
            return {
                "image_nr": nr, "category_nr": nr, "exemplar_nr": nr,
                "image_path": f"images_catch_meg/catch{number:03d}.jpg", "responded": 1,
            }  # fmt: skip
        folder = (
            "images_test_meg/" if kind == "test" else f"images_meg/{concept_name(picture.concept)}/"
        )
        return {
            "image_nr": picture.number, "category_nr": picture.concept,
            "exemplar_nr": picture.exemplar, "things_category_nr": float(picture.concept),
            "things_image_nr": float(picture.number), "things_exemplar_nr": float(picture.exemplar),
            "test_image_nr": tested.index(picture.concept) + 1.0 if kind == "test" else np.nan,
            "image_path": f"{folder}{picture.name}.jpg",
        }  # fmt: skip


# 1,854 concepts in 10 runs are 186, 186, 186, 186, 185, ... as in the original
FULL = Design(1854, 200, (1,), tuple(range(1, 11)), 20, None, 28, 8)


def onsets(design: Design, subject: str, session: int, run: int, count: int) -> np.ndarray:
    """Samples at which the pictures of a run appear."""
    rng = np.random.default_rng([ord(subject[-1]), session, run])
    return np.cumsum(np.r_[3425, rng.uniform(*np.array(design.soa) * SFREQ, count - 1)]).astype(int)


def response(numbers: Sequence[int], names: Sequence[str]) -> np.ndarray:
    """Pattern of each picture over sensors, array (picture, sensor), T: smooth over the helmet."""
    place = np.array([position_of(name.split("-")[0]) for name in names])
    near = np.exp(-((place[:, None] - place[None]) ** 2).sum(-1) / (2 * 0.02**2))
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    raw = np.array([np.random.default_rng(n).standard_normal(len(names)) for n in numbers])
    return 1e-12 * raw @ near


def signals(
    design: Design,
    chs: Sequence[Channel],
    table: pd.DataFrame,
    sample: np.ndarray,
    seed: Sequence[int],
) -> tuple[np.ndarray, int]:
    """Signals of one run in SI units, array (channel, time), and its length."""
    n_times = int(np.ceil(sample[-1] / SFREQ + 7.4) * SFREQ)
    rng = np.random.default_rng(seed)
    out = np.zeros((len(chs), n_times), np.float32)
    where = [i for i, c in enumerate(chs) if c.kind == GRADIOMETER]
    names = [chs[i].name for i in where]
    out[where] = 5e-14 * rng.standard_normal((len(where), n_times), np.float32)
    out[where] += np.float32(5e-14) * rng.standard_normal(n_times, np.float32)
    real = table["trial_type"].to_numpy() != "catch"
    numbers = table["things_image_nr"].to_numpy()
    patterns = response(numbers[real].astype(int), names).astype(np.float32)
    reach = int(0.4 * SFREQ)
    shape = np.exp(-((np.arange(reach) / SFREQ - PEAK) ** 2) / (2 * WIDTH**2)).astype(np.float32)
    for start, pattern in zip(sample[real], patterns):
        out[where, start : start + reach] += pattern[:, None] * shape
    broken = [i for i in where if chs[i].name.startswith("MRO11")]
    out[broken] *= 300
    # sensors stand at some level of their own, from which lost signal falls to nothing
    out[where] += 1e-11 * rng.uniform(0.5, 1, (len(where), 1)).astype(np.float32)
    pulse = next(i for i, c in enumerate(chs) if c.kind == TRIGGER)
    early = round(EARLY * SFREQ) + rng.integers(
        -2, 3, len(sample)
    )  # a screen's frames are not the pulse's
    for start in sample - early:
        out[pulse, start : start + 12] = 64
    light = [i for i, c in enumerate(chs) if c.name.startswith("UADC016")]
    out[light] = 0.01 * rng.standard_normal(n_times, np.float32)
    for start in sample:
        out[light, start : start + round(0.5 * SFREQ)] += (
            1.0  # V, while the picture is on the screen
        )
    out[pulse, sample[-1] + 3600 : sample[-1] + 3612] = 32
    return out, n_times


def write_things_meg(
    root: Path,
    subjects: Sequence[str] = ("1", "2"),
    design: Design | None = None,
    derivative: bool = False,
) -> Path:
    """Write the dataset.

    Parameters
    ----------
    root : Path
    subjects : sequence of str
        ``1`` to ``4``.
    design : Design
    derivative : bool
        Also the owners' epochs, made from these recordings as their script does.
    """
    design = design or Design()
    chs = channels(design.sensors, design.references, design.inputs)
    root.mkdir(parents=True, exist_ok=True)
    (root / "sourcedata").mkdir(exist_ok=True)
    description = {"Name": "THINGS-MEG", "BIDSVersion": "1.21", "License": "CC0"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    people = [f"sub-BIGMEG{who}" for who in subjects] + ["sub-emptyroom"]
    pd.DataFrame({"participant_id": people, "sex": "O"}).to_csv(
        root / "participants.tsv", sep="\t", index=False
    )
    empty = root / "sub-emptyroom" / "ses-20190501" / "meg"
    (empty / "sub-emptyroom_ses-20190501_run-01.ds").mkdir(parents=True, exist_ok=True)
    for who in subjects:
        table = design.trials(who)
        table.to_csv(root / "sourcedata" / f"sample_attributes_P{who}.csv", index=False)
        for (session, run), mine in table.groupby(["session_nr", "run_nr"], sort=False):
            _write_run(root, who, session, run, mine, design, chs)
        if derivative:
            write_epochs(root, who)
    return root


def _write_run(
    root: Path,
    who: str,
    session: int,
    run: int,
    table: pd.DataFrame,
    design: Design,
    chs: list[Channel],
) -> None:
    folder = root / f"sub-BIGMEG{who}" / f"ses-{session:02d}" / "meg"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"sub-BIGMEG{who}_ses-{session:02d}_task-main_run-{run:02d}"
    sample = onsets(design, who, session, run, len(table))
    signal, n_times = signals(design, chs, table, sample, [ord(who[-1]), session, run, 1])
    lost = DROPOUTS.get((who, session, run))
    if lost is not None and round((lost + 0.2) * SFREQ) < n_times:
        signal[:, round(lost * SFREQ) : round(lost * SFREQ) + 240] *= chs_keep(chs)[:, None]
    ds = write_ds(
        folder / f"{stem}_meg.ds", chs, signal, n_times, SFREQ,
        None if design.block is None else int(design.block * SFREQ), stem=f"{stem}_",
    )  # fmt: skip
    # head positions before and after the run: recordings inside the recording
    for name in ("hz", "hz2"):
        inner = ds / f"{stem}_{name}.ds"
        inner.mkdir(exist_ok=True)
        (inner / f"{stem}_{name}.meg4").write_bytes(b"MEG41CP\0" + bytes(400))
    (ds / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    catch = (table["trial_type"] == "catch").to_numpy()
    text = lambda column: np.where(catch, "N/A", table[column].astype(str))  # noqa: E731
    pd.DataFrame(
        {
            "onset": sample / SFREQ, "duration": 0.5, "trial_type": table["trial_type"].to_numpy(),
            "things_category_nr": text("things_category_nr"), "value": text("things_image_nr"),
            "sample": sample,
        }
    ).to_csv(folder / f"{stem}_events.tsv", sep="\t", index=False)  # fmt: skip
    # what the Finder leaves on other people's disks
    (folder / f"._{stem}_events.tsv").write_bytes(
        b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(200)
    )
    kinds = {GRADIOMETER: ("OTHER", "T"), 0: ("MEGREFMAG", "T"), 1: ("MEGREFGRADAXIAL", "T")}
    rows = [(c.name, *kinds.get(c.kind, ("MISC", "V"))) for c in chs]
    listed = pd.DataFrame(rows, columns=["name", "type", "units"])
    listed = listed.assign(
        low_cutoff=0.0, high_cutoff=600.0, sampling_frequency=SFREQ, status="good"
    )
    listed.to_csv(folder / f"{stem}_channels.tsv", sep="\t", index=False)
    facts = {
        "TaskName": "main",
        "SamplingFrequency": SFREQ,
        "RecordingDuration": (n_times - 1) / SFREQ,
    }
    (folder / f"{stem}_meg.json").write_text(json.dumps(facts))
    place = {"MEGCoordinateSystem": "CTF", "MEGCoordinateUnits": "cm"}
    (folder / f"{stem}_coordsystem.json").write_text(json.dumps(place))


def chs_keep(chs: Sequence[Channel]) -> np.ndarray:
    """1 for the trigger port, 0 for what a drop-out loses."""
    return np.array([float(c.kind == TRIGGER) for c in chs], np.float32)


def runs_of(root: Path, who: str) -> list[Path]:
    """The recordings of one person, in order."""
    return sorted((root / f"sub-BIGMEG{who}").glob("ses-*/meg/sub-*_meg.ds"))


def events_of(root: Path, who: str = "1", session: int = 1, run: int = 1) -> Path:
    """Events file of one run."""
    stem = f"sub-BIGMEG{who}_ses-{session:02d}_task-main_run-{run:02d}"
    return root / f"sub-BIGMEG{who}" / f"ses-{session:02d}" / "meg" / f"{stem}_events.tsv"


def edit(path: Path, change) -> None:
    """Apply `change` to a table of text."""
    separator = "\t" if path.suffix == ".tsv" else ","
    table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    change(table).to_csv(path, sep=separator, index=False)


def write_epochs(root: Path, who: str, split_size: str = "2MB") -> Path:
    """The owners' derivative, by the steps of their script (THINGS-data, ``step1_preprocessing.py``, CC0).

    Without the broken sensor, 0.1-40 Hz, -0.1 to 1.3 s around the written onsets, each epoch in SDs of
    its baseline, every sixth sample; catch trials have the event id 999999.
    """
    import mne

    sessions: dict[str, list] = {}
    with warnings.catch_warnings(), mne.utils.use_log_level("error"):
        warnings.simplefilter("ignore")
        for ds in runs_of(root, who):
            raw = mne.io.read_raw_ctf(ds, preload=True).drop_channels("MRO11-1609")
            table = pd.read_csv(ds.with_name(ds.name.replace("_meg.ds", "_events.tsv")), sep="\t")
            events = np.c_[
                table["sample"], 0 * table["sample"], table["value"].fillna(999999)
            ].astype(int)
            raw.filter(0.1, 40)
            epochs = mne.Epochs(
                raw, events, tmin=-0.1, tmax=1.3, picks="mag", baseline=None, preload=True
            )
            done = sessions.setdefault(ds.parts[-3], [])
            if done:
                epochs.info["dev_head_t"] = done[0].info["dev_head_t"]
            done.append(epochs)
        parts = []
        for several in sessions.values():
            epochs = mne.concatenate_epochs(several)
            data = mne.baseline.rescale(
                epochs.get_data(copy=True), epochs.times, (None, 0), "zscore", copy=False
            )
            parts.append(
                mne.EpochsArray(
                    data, epochs.info, epochs.events, epochs.tmin, event_id=epochs.event_id
                )
            )
        whole = mne.concatenate_epochs(parts, add_offset=True)
        whole.metadata = pd.read_csv(root / "sourcedata" / f"sample_attributes_P{who}.csv")
        whole.decimate(6)
        folder = root / "derivatives" / "preprocessed"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"preprocessed_P{who}-epo.fif"
        whole.save(path, split_size=split_size, overwrite=True)
    return path
