"""A miniature of THINGS-EEG2 in its owners' formats: pickled raw sessions, and what others made of them.

True to the original: 63 channels and ``stim`` at 1000 Hz in volts and double precision, a picture every
0.2 s marked for one sample by its number within the part (from 1), targets as 99999, half of the training
pictures per session twice and every test picture 20 times, some once more, parts joined end to end with
steps of the offset, sessions drifting. Every trial holds a bump `PEAK` s after its onset, with the
pattern of its picture.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

SFREQ, SOA, PEAK = 1000.0, 0.2, 0.15
SESSIONS, TWICE, TWENTY, TARGET = 4, 2, 20, 99999
TRAIN_CONCEPTS = [f"{i + 1:05d}_kind{i:02d}" for i in range(12)]
TEST_CONCEPTS = [f"{i + 1:05d}_novel{i:02d}" for i in range(3)]
N_TRAIN, N_TEST = 12, 3
TRAIN_FILES = [f"{c[6:]}_{i + 1:02d}b.jpg" for i, c in enumerate(TRAIN_CONCEPTS)]
TEST_FILES = [f"{c[6:]}_{i + 1:02d}s.jpg" for i, c in enumerate(TEST_CONCEPTS)]
IMAGES = {
    "training": np.array([f[:-4] for f in TRAIN_FILES]),
    "test": np.array([f[:-4] for f in TEST_FILES]),
}
# the order in which an amplifier names them, not that of any paper; Fz is the reference
NAMES = [
    "Fp1", "F3", "F7", "FT9", "FC5", "FC1", "C3", "T7", "TP9", "CP5", "CP1", "Pz", "P3", "P7",
    "O1", "Oz", "O2", "P4", "P8", "TP10", "CP6", "CP2", "Cz", "C4", "T8", "FT10", "FC6", "FC2",
    "F4", "F8", "Fp2", "AF7", "AF3", "AFz", "F1", "F5", "FT7", "FC3", "FCz", "C1", "C5", "TP7",
    "CP3", "P1", "P5", "PO7", "PO3", "POz", "PO4", "PO8", "P6", "P2", "CPz", "CP4", "TP8", "C6",
    "C2", "FC4", "FT8", "F6", "F2", "AF4", "AF8",
]  # fmt: skip
ORDER_OF_COPIES = [
    "Fp1", "Fp2", "AF7", "AF3", "AFz", "AF4", "AF8", "F7", "F5", "F3", "F1", "F2", "F4", "F6",
    "F8", "FT9", "FT7", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "FT8", "FT10", "T7",
    "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "T8", "TP9", "TP7", "CP5", "CP3", "CP1", "CPz",
    "CP2", "CP4", "CP6", "TP8", "TP10", "P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8",
    "PO7", "PO3", "POz", "PO4", "PO8", "O1", "Oz", "O2",
]  # fmt: skip
SEVENTEEN = [name for name in ORDER_OF_COPIES if name[0] in "OP"]


def pattern(part: str, number: int, names: list[str]) -> np.ndarray:
    """Amplitude of a picture's bump in each channel, V; `number` counts from 0."""
    rng = np.random.default_rng([part == "test", number])
    amplitude = dict(zip(sorted(NAMES), 1e-5 * rng.standard_normal(len(NAMES))))
    return np.array([amplitude[name] for name in names])


def codes(part: str, session: int, seed: int) -> np.ndarray:
    """Event codes of one session's part in order, array (event,)."""
    rng = np.random.default_rng([seed, session, part == "test"])
    if part == "test":
        shown = np.repeat(np.arange(1, N_TEST + 1), TWENTY)
        extra = [2]
    else:
        half = np.arange(N_TRAIN) % 2 == session % 2
        shown = np.repeat(np.flatnonzero(half) + 1, TWICE)
        extra = [shown[0], shown[-1]]
    return rng.permutation(np.r_[shown, extra, np.full(3, TARGET)])


def raw_session(part: str, session: int, seed: int) -> tuple[dict, np.ndarray]:
    """What one raw file holds, and the sample of every event."""
    rng = np.random.default_rng([seed, session, part == "test", 1])
    code = codes(part, session, seed)
    sample = 800 + (SOA * SFREQ * np.arange(len(code))).astype(int) + rng.integers(0, 7, len(code))
    # a break, as between sequences of 20
    sample[len(code) // 2 :] += 900
    n_times = sample[-1] + 1500
    data = np.zeros((len(NAMES) + 1, n_times))
    mixing = rng.standard_normal((len(NAMES), len(NAMES))) / 8 + np.eye(len(NAMES))
    noise = rng.standard_normal((len(NAMES), n_times))
    noise[:, 1:] += noise[:, :-1]
    data[:-1] = 2e-6 * mixing @ noise
    # recorded from 0.01 Hz on: what is left of the offset is small
    data[:-1] += 1e-5 * rng.standard_normal((len(NAMES), 1))
    data[:-1] += 2e-5 * np.sin(2 * np.pi * 0.05 * np.arange(n_times) / SFREQ + session)
    joint = sample[len(code) // 2] - 700
    data[:-1, joint:] += 2e-5 * rng.standard_normal((len(NAMES), 1))
    times = np.arange(-150, 400) / SFREQ
    bump = np.exp(-((times - PEAK) ** 2) / (2 * 0.02**2))
    for start, value in zip(sample, code):
        data[-1, start] = value
        if value != TARGET:
            shape = pattern(part, value - 1, NAMES)[:, None] * bump
            data[:-1, start - 150 : start + 400] += shape
    content = {
        "raw_eeg_data": data,
        "ch_names": [*NAMES, "stim"],
        "ch_types": ["eeg"] * len(NAMES) + ["stim"],
        "sfreq": 1000,
        "highpass": 0.01,
        "lowpass": 100,
    }
    return content, sample


def write_metadata(root: Path, pictures: bool = True) -> None:
    """``images/`` with the list of pictures and, if wanted, the pictures."""
    folder = root / "images"
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "train_img_concepts": TRAIN_CONCEPTS,
        "train_img_concepts_THINGS": TRAIN_CONCEPTS,
        "train_img_files": TRAIN_FILES,
        "test_img_concepts": TEST_CONCEPTS,
        "test_img_concepts_THINGS": TEST_CONCEPTS,
        "test_img_files": TEST_FILES,
    }
    np.save(folder / "image_metadata.npy", content, allow_pickle=True)
    for part, concepts, files in (
        ("training_images", TRAIN_CONCEPTS, TRAIN_FILES),
        ("test_images", TEST_CONCEPTS, TEST_FILES),
    ):
        for number, (concept, name) in enumerate(zip(concepts, files)):
            if pictures:
                path = folder / part / concept / name
                path.parent.mkdir(parents=True, exist_ok=True)
                color = (10 * number, len(part), 0)
                Image.new("RGB", (12, 10), color).save(path, quality=95)


def write_things_eeg2(
    root: Path,
    subjects: tuple[str, ...] = ("01",),
    sessions: int = SESSIONS,
    pictures: bool = True,
) -> Path:
    """Raw sessions as the owners publish them."""
    write_metadata(root, pictures)
    for subject in subjects:
        for session in range(1, sessions + 1):
            folder = root / f"sub-{subject}" / f"ses-{session:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            for part in ("training", "test"):
                content, _ = raw_session(part, session, int(subject))
                np.save(folder / f"raw_eeg_{part}.npy", content, allow_pickle=True)
    return root


def made_trials(part: str, names: list[str], times: np.ndarray, repeats: int) -> np.ndarray:
    """Whitened trials (picture, repeat, channel, time): the picture's bump, and the repeat's number."""
    n = len(IMAGES[part])
    bump = np.exp(-((times - PEAK) ** 2) / (2 * 0.02**2))
    out = np.empty((n, repeats, len(names), len(times)))
    for number in range(n):
        clean = 1e5 * pattern(part, number, names)[:, None] * bump
        for repeat in range(repeats):
            out[number, repeat] = clean + 0.001 * repeat
    return out


def write_preprocessed(root: Path, kind: str = "owners", subject: str = "01") -> Path:
    """What was made of the raw sessions.

    ``owners``: a dict in ``.npy``, 17 channels, 100 Hz, -0.2 to 0.8 s. ``copies``: a bare pickle called
    ``.npy``, 63 channels, 250 Hz, 0 to 1 s, whose ``times`` still begin before the onset. ``torch``: the same
    as ``train.pt``, in half precision, with the pictures' names and sessions.
    """
    write_metadata(root, pictures=False)
    names = SEVENTEEN if kind == "owners" else ORDER_OF_COPIES
    place = {"owners": "preprocessed", "copies": "Preprocessed_data_250Hz"}.get(
        kind, "Preprocessed_data_250Hz_whiten"
    )
    folder = root / place / f"sub-{subject}"
    folder.mkdir(parents=True, exist_ok=True)
    times = np.arange(100) / 100 - 0.2 if kind == "owners" else np.arange(300) / 250 - 0.2
    kept = times if kind == "owners" else times[50:]
    for part, repeats in (("training", 4), ("test", 80)):
        data = made_trials(part, names, kept, repeats)
        content = {"preprocessed_eeg_data": data, "ch_names": names, "times": times}
        path = folder / f"preprocessed_eeg_{part}.npy"
        if kind == "owners":
            np.save(path, content, allow_pickle=True)
        elif kind == "copies":
            path.write_bytes(pickle.dumps(content, 4))
        else:
            write_torch(folder, part, data, names, times, repeats)
    return root


def write_torch(
    folder: Path, part: str, data: np.ndarray, names: list[str], times: np.ndarray, repeats: int
) -> None:
    """``train.pt`` or ``test.pt``."""
    import torch

    short = {"training": "train", "test": "test"}[part]
    concepts, files = {
        "training": (TRAIN_CONCEPTS, TRAIN_FILES),
        "test": (TEST_CONCEPTS, TEST_FILES),
    }[part]
    named = np.array([f"{short}_images/{c}/{f}" for c, f in zip(concepts, files)])
    wide = lambda values: np.tile(np.asarray(values)[:, None], (1, repeats))  # noqa: E731
    content = {
        "eeg": data.astype(np.float16),
        "label": wide(np.arange(len(files))),
        "img": wide(named),
        "text": wide([f.rsplit("_", 1)[0] for f in files]),
        "session": np.tile(np.arange(repeats) % SESSIONS, (len(files), 1)).astype(float),
        "ch_names": names,
        "times": times,
    }
    torch.save(content, folder / f"{short}.pt", pickle_protocol=5)
