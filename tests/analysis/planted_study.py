"""A study with two planted levels: when and where signals carry each of them is known.

Comes in: sizes. Goes out: a prepared folder, embeddings of both levels, and an experiment's YAML.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from conftest import write_prepared

from neurovis.records import Embeddings, Split, Trials

SFREQ, TMIN, N_TIMES = 100.0, -0.1, 50
PEAK = {"low": 0.08, "high": 0.27}
WIDTH = {"low": 0.02, "high": 0.035}
PLACE = {"low": np.array([0.0, -1.0, 0.1]), "high": np.array([-1.0, 0.0, 0.1])}
"""Direction in which the sensors of a level lie: back, and left."""
N_CHANS = 24
DIM = 5


def positions() -> np.ndarray:
    """Sensors spread over half a sphere: array (channel, 3), m."""
    height = 0.95 - np.arange(N_CHANS) / N_CHANS
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(N_CHANS)
    ring = np.sqrt(1 - height**2)
    return 0.11 * np.column_stack([ring * np.cos(turn), ring * np.sin(turn), height])


def topography(level: str) -> np.ndarray:
    """How strongly each sensor carries a level: array (channel,)."""
    away = positions() / 0.11 - PLACE[level] / np.linalg.norm(PLACE[level])
    return np.exp(-0.5 * (np.linalg.norm(away, axis=1) / 0.45) ** 2)


def strongest_of(level: str, n: int) -> np.ndarray:
    """The sensors that carry most of a level: array of int (n,)."""
    return np.argsort(-topography(level))[:n]


def course(level: str) -> np.ndarray:
    """Time course of a level: array (time,)."""
    times = TMIN + np.arange(N_TIMES) / SFREQ
    return np.exp(-0.5 * ((times - PEAK[level]) / WIDTH[level]) ** 2)


def write_study(
    folder: Path,
    n_train: int = 150,
    n_test: int = 40,
    repeats: tuple[int, int] = (2, 4),
    noise: float = 1.0,
    subjects: tuple[str, ...] = ("01", "02"),
    seed: int = 0,
) -> Path:
    """Write the study; returns the YAML of an experiment on it."""
    prepared = write_prepared(
        folder / "prepared", n_train, n_test, repeats, subjects, n_chans=2, n_times=2
    )
    split = Split.read(prepared / "split.json")
    images = [*split.train, *split.validation, *split.test]
    rng = np.random.default_rng(seed)
    vector = {level: rng.standard_normal((len(images), DIM)) for level in PEAK}
    for level, found in vector.items():
        Embeddings(found.astype(np.float32), images, {"name": level}).write(folder / f"{level}.h5")
    shown = np.concatenate(
        [
            np.repeat(np.arange(n_train), repeats[0]),
            n_train + np.tile(np.arange(n_test), repeats[1]),
        ]
    )
    for subject in subjects:
        signal = noise * rng.standard_normal((len(shown), N_CHANS, N_TIMES))
        for level, found in vector.items():
            weight = rng.standard_normal((DIM, N_CHANS)) * topography(level)
            signal += np.einsum("id,dc,t->ict", found[shown], weight, course(level))
        path = prepared / f"sub-{subject}" / "trials.h5"
        path.unlink()
        Trials(
            signal.astype(np.float32),
            np.array(images)[shown],
            ["1"] * len(shown),
            ["1"] * len(shown),
            np.where(shown < n_train, "train", "test"),
            np.arange(len(shown)) * 0.5,
            [f"MEG{i:03d}" for i in range(N_CHANS)],
            ["mag"] * N_CHANS,
            positions(),
            sfreq=SFREQ,
            tmin=TMIN,
            modality="meg",
            unit="1",
            subject=subject,
            dataset="planted",
        ).write(path)
    targets = {
        level: {"encoder": level, "embeddings": str(folder / f"{level}.h5")} for level in PEAK
    }
    experiment = {"name": "study", "data": {"path": str(prepared)}, "targets": targets}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(experiment, sort_keys=False))
    return path
