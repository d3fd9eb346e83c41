"""A miniature of Alljoined1 in its three published forms: BDF with events, FIF with marks, parquet."""

from __future__ import annotations

import json
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from scipy.io import savemat

SFREQ = 512.0
PEAK = 0.17  # s
N_IMAGES = 12  # shown; marks name pictures 1 to 960
NAMES = (  # noqa: SIM905
    "Fp1 AF7 AF3 F1 F3 F5 F7 FT7 FC5 FC3 FC1 C1 C3 C5 T7 TP7 CP5 CP3 CP1 P1 P3 P5 P7 P9 PO7 "
    "PO3 O1 Iz Oz POz Pz CPz Fpz Fp2 AF8 AF4 AFz Fz F2 F4 F6 F8 FT8 FC6 FC4 FC2 FCz Cz C2 C4 "
    "C6 T8 TP8 CP6 CP4 CP2 P2 P4 P6 P8 P10 PO8 PO4 O2"
).split()
# NSD's shared pictures, counted from 1, ascending as in the true list
SHARED = np.sort(np.random.default_rng(7).choice(np.arange(2951, 69841), 1000, replace=False))


def number_of(mark: int) -> int:
    """NSD's number, from 0, of the picture that a mark names."""
    return int(SHARED[mark - 1]) - 1


def pattern() -> np.ndarray:
    """Topography of each picture's response, average reference: array (channel, picture)."""
    found = np.random.default_rng(99).standard_normal((len(NAMES), N_IMAGES))
    return found - found.mean(axis=0)


def marks_of(subject: int, session: int) -> list[tuple[int, int]]:
    """Sample and mark (1 to 12) of each presentation: every picture four times."""
    rng = np.random.default_rng([subject, session])
    out, sample = [], 1000 + 7 * subject
    for mark in rng.permutation(np.tile(np.arange(1, N_IMAGES + 1), 4)).tolist():
        out.append((sample, mark))
        sample += int(rng.integers(400, 412))
        if rng.random() < 0.1:  # an oddball, which is not marked
            sample += 405
    return out


def recording(subject: int, session: int) -> mne.io.BaseRaw:
    """Electrodes and the Status channel with marks of one sample, as the owners rewrote it."""
    marks = marks_of(subject, session)
    rng = np.random.default_rng([subject, session, 1])
    n_times = int(np.ceil((marks[-1][0] + SFREQ) / SFREQ) * SFREQ)
    signal = 1e-6 * rng.standard_normal((len(NAMES), n_times))
    # what the recorder's reference leaves on all electrodes
    signal += 5e-6 * rng.standard_normal(n_times)
    times = np.arange(-60, 61) / SFREQ
    bump = np.exp(-(times**2) / (2 * 0.02**2))
    status = np.zeros((1, n_times))
    for sample, mark in marks:
        middle = sample + round(PEAK * SFREQ)
        signal[:, middle - 60 : middle + 61] += 2e-5 * pattern()[:, [mark - 1]] * bump
        status[0, sample] = mark
    info = mne.create_info([*NAMES, "Status"], SFREQ, ["eeg"] * len(NAMES) + ["stim"])
    return mne.io.RawArray(np.r_[signal, status], info, verbose="error")


def write_design(folder: Path) -> None:
    """NSD's experiment design, of which one table is used."""
    folder.mkdir(parents=True, exist_ok=True)
    savemat(
        folder / "nsd_expdesign.mat", {"sharedix": SHARED[None], "masterordering": np.arange(4)}
    )


def write_osf(root: Path, sessions: tuple[tuple[int, int], ...] = ((1, 1), (1, 2), (2, 1))) -> Path:
    """The owners' FIF recordings and, as a reader must add it, the design."""
    root.mkdir(parents=True, exist_ok=True)
    for subject, session in sessions:
        file = root / f"subj{subject:02d}_session{session}_eeg.fif"
        recording(subject, session).save(file, verbose="error")
    write_design(root)
    return root


def write_bids(
    root: Path, sessions: tuple[tuple[int, int], ...] = ((1, 1), (1, 2), (2, 1)), coco: bool = False
) -> Path:
    """The copy at NEMAR; older versions of its events name COCO's pictures, not NSD's."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "Alljoined1"}))
    for subject, session in sessions:
        folder = root / f"sub-{subject:02d}" / f"ses-{session:02d}" / "eeg"
        folder.mkdir(parents=True)
        stem = f"sub-{subject:02d}_ses-{session:02d}_task-images"
        raw = recording(subject, session).drop_channels(["Status"])
        raw.export(folder / f"{stem}_eeg.bdf", verbose="error", physical_range=(-5e-4, 5e-4))
        marks = marks_of(subject, session)
        names = [f"train2017/{k:012d}.jpg" if coco else f"nsd/{number_of(k)}.png" for _, k in marks]
        pd.DataFrame(
            {
                "onset": [s / SFREQ for s, _ in marks], "duration": 0.0,
                "trial_type": [f"image/{k}" for _, k in marks], "value": [k for _, k in marks],
                "sample": [s for s, _ in marks], "stim_file": names,
            }
        ).to_csv(folder / f"{stem}_events.tsv", sep="\t", index=False)  # fmt: skip
    return root


def epoch(subject: int, session: int, trial: int) -> np.ndarray:
    """One of the owners' epochs: array (channel, time), V, 334 samples from -26."""
    mark = marks_of(subject, session)[trial - 1][1]
    times = (np.arange(334) - 26) / SFREQ
    bump = np.exp(-((times - PEAK) ** 2) / (2 * 0.02**2))
    noise = np.random.default_rng([subject, session, trial]).standard_normal((len(NAMES), 334))
    return 2e-5 * pattern()[:, [mark - 1]] * bump + 1e-7 * noise


def rows_of(subject: int, session: int) -> list[dict]:
    """The owners' rows; one in nine was rejected and is not there."""
    out = []
    for trial, (sample, mark) in enumerate(marks_of(subject, session), start=1):
        if trial % 9 == 4:
            continue
        out.append(
            {
                "EEG": epoch(subject, session, trial).tolist(), "subject_id": subject,
                "session": session, "block": 1, "trial": trial, "73k_id": number_of(mark),
                "coco_id": 500000 + mark, "curr_time": sample / SFREQ,
            }
        )  # fmt: skip
    return out


TEST_MARKS = (3,)


def write_parquet(
    root: Path,
    sessions: tuple[tuple[int, int], ...] = ((6, 2), (1, 1), (3, 2)),
    n_chans: int | None = None,
) -> Path:
    """Shards in no particular order, a test part of very few trials, small row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for subject, session in sessions for row in rows_of(subject, session)]
    for row in rows:
        row["EEG"] = row["EEG"][:n_chans]
    tested = {number_of(mark) for mark in TEST_MARKS}
    train = [row for row in rows if row["73k_id"] not in tested]
    test = [row for row in rows if row["73k_id"] in tested]
    half = len(train) // 2
    schema = pa.schema(
        [("EEG", pa.list_(pa.list_(pa.float64())))]
        + [
            (n, pa.int32())
            for n in ("subject_id", "session", "block", "trial", "73k_id", "coco_id")
        ]
        + [("curr_time", pa.float32())]
    )
    (root / "data").mkdir(parents=True, exist_ok=True)
    for name, part in (
        ("train-00000-of-00002", train[:half]),
        ("train-00001-of-00002", train[half:]),
        ("test-00000-of-00001", test),
    ):
        table = pa.Table.from_pylist(part, schema=schema)
        pq.write_table(table, root / "data" / f"{name}.parquet", row_group_size=10)
    return root
