"""A miniature of THINGS-EEG1 as OpenNeuro has it: BrainVision, the true columns, each subject's oddities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pybv

SFREQ = 1000.0
PEAK = 0.15  # s after the onset, where the planted response is greatest
CONCEPTS = [
    "aircraft_carrier", "baton1", "candy_bar", "dog", "earring", "fan", "grape", "hawk", "ice_cube",
    "jar", "kite", "lamp", "mango", "t-shirt",
]  # fmt: skip
PER_CONCEPT, TEST, REPEATS = 3, 4, 3
STREAM = 14  # presentations in a stream
# the 64-channel cap without its reference, Cz
NAMES = (  # noqa: SIM905
    "Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 Fz F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz FC2 "
    "FC4 FC6 FT8 FT10 T7 C5 C3 C1 C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 "
    "P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"
).split()
FIRST = [
    "onset", "duration", "eventnumber", "objectnumber", "object", "sequencenumber",
    "presentationnumber", "blocksequencenumber", "withinsequencenumber", "stimnumber", "stim",
    "istarget", "stimname", "response", "rt", "correct", "time_stimon", "time_stimoff", "stimdur",
]  # fmt: skip
LATER = [
    "onset", "duration", "eventnumber", "blocksequencenumber", "isteststim", "object",
    "objectnumber", "presentationnumber", "sequencenumber", "stim", "stimnumber", "teststimnumber",
    "withinsequencenumber", "istarget", "stimname", "response", "rt", "correct", "time_stimon",
    "time_stimoff", "stimdur",
]  # fmt: skip


def train_images() -> list[tuple[str, str]]:
    """Concept and picture of every training image."""
    return [(c, f"{c}_{1 + k:02d}{'bsn'[k]}") for c in CONCEPTS for k in range(PER_CONCEPT)]


def test_images() -> list[tuple[str, str]]:
    """Concept and picture of every test image: pictures of their own, concepts of the others."""
    return [(c, f"{c}_13s") for c in CONCEPTS[:TEST]]


IMAGES = [name for _, name in train_images() + test_images()]


def pattern(n_chans: int) -> np.ndarray:
    """Topography of each image's response, array (channel, image)."""
    return np.random.default_rng(99).standard_normal((n_chans, len(IMAGES)))


def table_of(subject: str, with_test: bool = True) -> pd.DataFrame:
    """Presentations in order, onset in samples."""
    rng = np.random.default_rng(int(subject))
    shown = [(c, i, -1) for c, i in train_images()]
    shown = [shown[i] for i in rng.permutation(len(shown))]
    if with_test:
        for _ in range(REPEATS):
            order = rng.permutation(TEST)
            shown += [(*test_images()[i], int(i)) for i in order]
    rows, sample, start = [], 1800 + int(subject), 26.4932828128221
    first = sample
    for number, (concept, image, test) in enumerate(shown):
        if number and number % STREAM == 0:
            sample += 1500 + 7 * number
        on = start + (sample - first) / SFREQ + rng.uniform(-4e-4, 4e-4)
        is_test = test >= 0
        rows.append(
            {
                "onset": sample, "duration": 50, "eventnumber": number,
                "objectnumber": -1 if is_test else CONCEPTS.index(concept),
                "object": "-1" if is_test else concept,
                "sequencenumber": number // STREAM, "presentationnumber": number % STREAM,
                "blocksequencenumber": -1 if is_test else 0,
                "withinsequencenumber": -1 if is_test else number % STREAM,
                "stimnumber": -1 if is_test else int(image[-3:-1]) - 1,
                "teststimnumber": test, "isteststim": int(is_test),
                "stim": f"stimuli\\{concept}\\{image}.jpg", "istarget": int(number % 11 == 5),
                "stimname": f"{image}.jpg", "response": 0, "rt": 0, "correct": 0,
                "time_stimon": on, "time_stimoff": on + 0.05, "stimdur": 0.05,
            }
        )  # fmt: skip
        # screens refresh at their own pace: presentations are 99 to 116 ms apart
        sample += int(rng.choice([99, 100, 100, 101, 116]))
    return pd.DataFrame(rows)


def write_subject(
    root: Path, subject: str, n_chans: int = 63, with_test: bool = True, seconds: bool = False
) -> pd.DataFrame:
    """One subject's recording and events; the table with onsets in samples comes back."""
    table = table_of(subject, with_test)
    folder = root / f"sub-{subject}" / "eeg"
    folder.mkdir(parents=True)
    stem = f"sub-{subject}_task-rsvp"
    rng = np.random.default_rng(int(subject))
    n_times = int(table["onset"].iloc[-1]) + 1500
    signal = 2e-6 * rng.standard_normal((n_chans, n_times))
    connected = min(n_chans, 63)
    times = np.arange(-60, 61) / SFREQ
    bump = np.exp(-(times**2) / (2 * 0.012**2))
    for onset, name in zip(table["onset"], table["stimname"]):
        image = IMAGES.index(name.removesuffix(".jpg"))
        middle = onset + round(PEAK * SFREQ)
        signal[:connected, middle - 60 : middle + 61] += (
            2e-5 * pattern(connected)[:, [image]] * bump
        )
    if n_chans > connected:
        signal[connected:] = 0
    names = NAMES[:n_chans] + [f"W{i:02d}" for i in range(n_chans - connected)]
    pybv.write_brainvision(
        data=signal, sfreq=SFREQ, ch_names=names, fname_base=f"{stem}_eeg", folder_out=folder,
        events=[
            {"onset": int(o), "duration": 1, "description": 1, "type": "Stimulus"}
            for o in table["onset"]
        ],
        resolution=0.1, unit="µV", fmt="binary_float32",
    )  # fmt: skip
    # EEGLAB and OpenNeuro call it .eeg, and so does pybv
    columns = LATER if with_test else FIRST
    written = table[columns].copy()
    if seconds:
        written["onset"] = table["onset"] / SFREQ
        written["sample"] = table["onset"]
    written.to_csv(folder / f"{stem}_events.tsv", sep="\t", index=False)
    return table


def write_things_eeg1(root: Path, subjects: tuple[str, ...] = ("01", "02", "49")) -> Path:
    """Subject 01 without test images, 49 on a 128-channel set-up with a later release's seconds."""
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "Human EEG recordings", "BIDSVersion": "1.0.2", "License": "CC0"})
    )
    lines = ["participant_id\tage\tgender\texclude\tnote_IZ"]
    for subject in subjects:
        write_subject(
            root, subject, n_chans=127 if subject in ("49", "50") else 63,
            with_test=subject != "01", seconds=subject in ("49", "50"),
        )  # fmt: skip
        mark = "1\tNo data for final test-images part" if subject == "01" else "0\tn/a"
        lines.append(f"sub-{subject}\t20\tF\t{mark}")
    (root / "participants.tsv").write_text("\n".join(lines))
    return root
