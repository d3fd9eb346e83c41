"""A miniature of Alljoined-1.6M: EMOTIV's EDF blocks with their marks, and the owners' whitened epochs."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import mne
import numpy as np
import pandas as pd

SFREQ = 256.0
PEAK = 0.15  # s
N_TRAIN, N_IMAGES = 16540, 16740
NAMES = (  # noqa: SIM905
    "Cz FCz Afz Fp1 F5 F1 CP5 CP3 CP1 P1 P3 P5 P7 PO7 PO3 O1 Pz POz Oz O2 PO4 PO8 P8 P6 P4 "
    "P2 CP2 CP4 CP6 F2 F6 Fp2"
).split()
BESIDE = ["TimestampS", "Counter", "Battery", "CQ_Cz", "EQ_OVERALL", "MOT_AccX"]
TRAIN = [0, 1, 9, 10, 11, 5000, 16530, 16539]
TEST = [16540, 16541, 16641, 16739]
SHOWN = TRAIN + TEST


def pattern() -> np.ndarray:
    """Topography of each shown image's response, array (channel, image)."""
    return np.random.default_rng(99).standard_normal((len(NAMES), len(SHOWN)))


def marks_of(subject: int, session: int, run: int) -> list[tuple[int, str]]:
    """Sample and text of each mark of a block: blocks 1 to 4 show test images."""
    rng = np.random.default_rng([subject, session, run])
    images = rng.permutation(np.tile(TEST, 3) if run <= 4 else np.array(TRAIN))
    label = "stim_test" if run <= 4 else "stim_train"
    marks, sample = [], 116
    for number, image in enumerate(images.tolist()):
        marks.append((sample, f"{label},{image},-1,{number + 1}"))
        sample += int(rng.choice([51, 52, 55, 56]))
        if number == 5:
            marks.append((sample, "oddball,16748,-1,7"))
            sample += 55
            marks.append((sample + 150, "behav,2,-1,8"))
            sample += 240
    marks.append((sample + 100, "behav,3,-1,99"))
    return marks


def edf_of(marks: list[tuple[int, str]], seed: int) -> mne.io.BaseRaw:
    """One block: electrodes first, then the clocks and contacts that EMOTIV writes beside them."""
    rng = np.random.default_rng(seed)
    n_times = int(SFREQ * np.ceil((marks[-1][0] + 2 * SFREQ) / SFREQ))
    signal = 1e-6 * rng.standard_normal((len(NAMES), n_times))
    times = np.arange(n_times)
    for sample, text in marks:
        kind, image, *_ = text.split(",")
        if kind.startswith("stim"):
            bump = np.exp(-((times - sample - PEAK * SFREQ) ** 2) / (2 * (0.02 * SFREQ) ** 2))
            signal += 2e-5 * pattern()[:, [SHOWN.index(int(image))]] * bump
    extra = 1e-6 * np.tile(np.arange(n_times) % 128, (len(BESIDE), 1))
    info = mne.create_info(NAMES + BESIDE, SFREQ, "eeg")
    raw = mne.io.RawArray(np.r_[signal, extra], info, verbose="error")
    raw.set_annotations(
        mne.Annotations([s / SFREQ for s, _ in marks], 0.0, [text for _, text in marks])
    )
    return raw


def write_block(
    root: Path, subject: int, session: int, run: int, called: int | None = None
) -> Path:
    """One block in the owners' layout; `called` is the subject that the file's name claims."""
    folder = root / "raw_eeg" / f"sub-{subject:02d}" / f"session_{session:02d}" / f"block_{run:02d}"
    folder.mkdir(parents=True)
    stem = (
        f"Subject {called or subject}, Session {session}, Block {run} "
        "Recording_FLEX2_213075_2025.02.16T16.51.47.08.00"
    )
    marks = marks_of(subject, session, run)
    file = folder / f"{stem}.md.edf"
    edf_of(marks, 100 * subject + run).export(file, verbose="error", physical_range=(-3e-4, 3e-4))
    content = {"Markers": [{"label": t.split(",")[0], "value": t.split(",")[1]} for _, t in marks]}
    (folder / f"{stem}.json").write_text(json.dumps(content))
    return file


def write_alljoined_1_6m(
    root: Path, subjects: tuple[int, ...] = (1, 8), sessions: tuple[int, ...] = (1,)
) -> Path:
    """Whole sessions of 19 blocks; sub-08's files claim to be subject 19's, and a session was replaced."""
    for subject in subjects:
        for session in sessions:
            for run in range(1, 20):
                write_block(
                    root, subject, session, run, called=19 if subject == 8 and run > 1 else None
                )
    if 8 in subjects:
        old = root / "raw_eeg" / "sub-08" / "session_02 old" / "block_01"
        old.mkdir(parents=True)
        (old / "Subject 8, Session 2, Block 1 Recording.md.edf").write_bytes(b"not read")
    return root


def write_bids_copy(root: Path, subject: int = 3) -> Path:
    """The copy at NEMAR: electrodes alone, marks in a table."""
    folder = root / f"sub-{subject:02d}" / "ses-01" / "eeg"
    folder.mkdir(parents=True)
    for run in range(1, 20):
        stem = f"sub-{subject:02d}_ses-01_task-images_run-{run:02d}"
        marks = marks_of(subject, 1, run)
        raw = edf_of(marks, 100 * subject + run).pick(NAMES)
        raw.set_annotations(None)
        raw.rename_channels({"Afz": "AFz"})
        raw.export(folder / f"{stem}_eeg.edf", verbose="error", physical_range=(-3e-4, 3e-4))
        pd.DataFrame(
            {
                "onset": [s / SFREQ for s, _ in marks], "duration": 0.0,
                "trial_type": [t for _, t in marks], "value": np.arange(len(marks)) + 1,
                "sample": [s for s, _ in marks],
            }
        ).to_csv(folder / f"{stem}_events.tsv", sep="\t", index=False)  # fmt: skip
    return root


def order_of(subject: int) -> pd.DataFrame:
    """The owners' table: sessions 1 to 4, test blocks before training blocks, some rows dropped."""
    rows = []
    for session in range(1, 5):
        for partition, images in (("stim_test", np.tile(TEST, 2)), ("stim_train", TRAIN)):
            rng = np.random.default_rng([subject, session, len(images)])
            for image in rng.permutation(images).tolist():
                rows.append(
                    {
                        "subject": subject, "session": session, "partition": partition,
                        "image_path": f"/srv/eeg/shared/stimuli/images/{image:05d}.jpg",
                        "dropped": bool(rng.random() < 0.15),
                    }
                )  # fmt: skip
        rows.append({**rows[-1], "partition": "oddball", "dropped": True})
    return pd.DataFrame(rows)


def epoch(image: int) -> np.ndarray:
    """One of the owners' epochs: array (channel, time) at 250 Hz from the onset."""
    times = np.arange(250) / 250.0
    bump = np.exp(-((times - PEAK) ** 2) / (2 * 0.02**2))
    return pattern()[:, [SHOWN.index(image)]] * bump


def write_preprocessed(root: Path, subject: int = 1) -> pd.DataFrame:
    """Bare pickles called .npy, and the table (parquet) that names their rows; the table comes back."""
    folder = root / "preprocessed_eeg" / f"sub-{subject:02d}"
    folder.mkdir(parents=True)
    order = order_of(subject)
    order.to_parquet(folder / "experiment_metadata.parquet")
    order.drop(columns="dropped").to_parquet(folder / "stim_order.parquet")
    for part, partition in (("training", "stim_train"), ("test", "stim_test")):
        kept = order[(order["partition"] == partition) & ~order["dropped"]]
        numbers = [int(path[-9:-4]) for path in kept["image_path"]]
        content = {
            "preprocessed_eeg_data": np.stack([epoch(number) for number in numbers]),
            "configs": {"baseline": (None, 0), "tmin": -0.2, "sfreq": 250, "mvnn_dim": "epochs"},
            "ch_names": list(NAMES),
            "times": np.arange(250) / 250.0,
        }
        with (folder / f"preprocessed_eeg_{part}_flat.npy").open("wb") as handle:
            pickle.dump(content, handle, protocol=pickle.HIGHEST_PROTOCOL)
    return order
