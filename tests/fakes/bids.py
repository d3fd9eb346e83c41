"""Miniature BIDS datasets in real formats, with a planted response and a trigger channel that lags."""

from __future__ import annotations

import json
from pathlib import Path

import mne
import mne_bids
import numpy as np
import pandas as pd
from PIL import Image

PEAK = 0.15  # s after the onset, where the planted response is greatest
TRAIN, TEST = 12, 4
IMAGES = [f"thing{i:02d}.png" for i in range(TRAIN + TEST)]
CONCEPTS = [f"kind{i:02d}" for i in range(TRAIN + TEST)]


def sensors(n_chans: int) -> np.ndarray:
    """Positions on a half sphere, array (channel, 3), m."""
    turn = np.arange(n_chans) * 2.4
    z = np.linspace(0.95, 0.05, n_chans)
    radius = np.sqrt(1 - z**2)
    return 0.1 * np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


def signal_of(
    onset: np.ndarray, image: np.ndarray, n_chans: int, n_times: int, sfreq: float, seed: int
) -> np.ndarray:
    """Smooth noise of SD 0.5 plus a bump of height 3 that depends on the image."""
    rng = np.random.default_rng(seed)
    where = sensors(n_chans)
    mixing = np.exp(-((where[:, None] - where[None]) ** 2).sum(-1) / (2 * 0.06**2))
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    signal = 0.5 * mixing @ rng.standard_normal((n_chans, n_times))
    patterns = mixing @ np.random.default_rng(99).standard_normal((n_chans, TRAIN + TEST))
    times = np.arange(n_times) / sfreq
    for start, number in zip(onset, image):
        signal += 3 * patterns[:, [number]] * np.exp(-((times - start - PEAK) ** 2) / (2 * 0.02**2))
    return signal


def raw_of(
    kind: str,
    run_seed: int,
    sfreq: float = 250.0,
    lag: float = 0.04,
    n_chans: int = 16,
    stim: bool = True,
) -> tuple[mne.io.BaseRaw, pd.DataFrame]:
    """One run: every training image once and every test image three times."""
    rng = np.random.default_rng(run_seed)
    image = rng.permutation(np.r_[np.arange(TRAIN), np.tile(np.arange(TRAIN, TRAIN + TEST), 3)])
    sample = np.round(
        (2.0 + 0.5 * np.arange(len(image)) + rng.uniform(0, 0.05, len(image))) * sfreq
    )
    sample = sample.astype(int)
    n_times = int(sample[-1] + 2 * sfreq)
    unit = {"mag": 1e-12, "eeg": 1e-5}[kind]
    signal = unit * signal_of(sample / sfreq, image, n_chans, n_times, sfreq, run_seed)
    names = [f"{'MEG' if kind == 'mag' else 'E'}{i:03d}" for i in range(n_chans)]
    info = mne.create_info(names, sfreq, kind)
    if kind == "eeg":
        montage = mne.channels.make_dig_montage(
            dict(zip(names, sensors(n_chans))), coord_frame="head"
        )
        info.set_montage(montage)
    else:
        for channel, place in zip(info["chs"], sensors(n_chans)):
            channel["loc"][:3] = place
    raw = mne.io.RawArray(signal, info, verbose="error")
    if stim:
        marks = np.zeros((1, n_times))
        for start, number in zip(sample + round(lag * sfreq), image):
            marks[0, start : start + 5] = number + 1
        extra = mne.io.RawArray(marks, mne.create_info(["STI 014"], sfreq, "stim"), verbose="error")
        raw.add_channels([extra], force_update_info=True)
    raw.info["line_freq"] = 50
    table = pd.DataFrame(
        {
            "onset": sample / sfreq,
            "duration": 0.2,
            "trial_type": np.where(image < TRAIN, "train", "test"),
            "value": image + 1,
            "sample": sample,
            "stim_file": [f"stimuli/{IMAGES[i]}" for i in image],
            "concept": [CONCEPTS[i] for i in image],
        }
    )
    return raw, table


def write_bids(
    root: Path,
    format: str = "FIF",
    subjects: tuple[str, ...] = ("01",),
    n_runs: int = 2,
    lag: float = 0.04,
    state_lag: bool = True,
    **options: float,
) -> Path:
    """A BIDS dataset: ``FIF`` is MEG with a trigger channel, ``BrainVision`` EEG with one, ``EDF`` without."""
    datatype = "meg" if format == "FIF" else "eeg"
    for number, subject in enumerate(subjects):
        for run in range(1, n_runs + 1):
            raw, table = raw_of(
                "mag" if datatype == "meg" else "eeg", 10 * number + run, lag=lag,
                stim=format != "EDF", **options,
            )  # fmt: skip
            place = mne_bids.BIDSPath(
                root=root, subject=subject, session="01", run=f"{run:02d}", task="see",
                datatype=datatype,
            )  # fmt: skip
            mne_bids.write_raw_bids(
                raw, place, format=format, allow_preload=True, overwrite=True, verbose="error"
            )
            stem = place.copy().update(suffix=datatype).basename
            folder = root / f"sub-{subject}" / "ses-01" / datatype
            table.to_csv(folder / f"{stem.rsplit('_', 1)[0]}_events.tsv", sep="\t", index=False)
            if state_lag and format != "EDF":
                sidecar = folder / f"{stem}.json"
                content = json.loads(sidecar.read_text())
                sidecar.write_text(json.dumps({**content, "TriggerLag": lag}))
    (root / "stimuli").mkdir(exist_ok=True)
    for number, name in enumerate(IMAGES):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / "stimuli" / name)
    return root


def events_of(root: Path, run: int = 1, subject: str = "01") -> Path:
    """The events file of one run."""
    (path,) = root.glob(f"sub-{subject}/ses-01/*/*run-{run:02d}_events.tsv")
    return path


def edit_events(root: Path, change, run: int = 1) -> None:
    """Apply `change` to one events table."""
    path = events_of(root, run)
    table = pd.read_csv(path, sep="\t", dtype=str)
    change(table).to_csv(path, sep="\t", index=False)
