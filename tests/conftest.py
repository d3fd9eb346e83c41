"""Shared fixtures: a tiny prepared folder with a planted linear response, and the real data's folder."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# examples are drawn anew on every run at a desk, and are the same in every run of CI
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real recordings; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("NEUROVIS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set NEUROVIS_TEST_DATA")
    return folder


def write_prepared(
    folder: Path,
    n_train: int = 60,
    n_test: int = 12,
    repeats: tuple[int, int] = (2, 4),
    subjects: tuple[str, ...] = ("01", "02"),
    noise: float = 1.0,
    n_chans: int = 12,
    n_times: int = 20,
    seed: int = 0,
) -> Path:
    """A prepared folder, with pictures, whose signals are a linear map of known embeddings plus noise.

    Returns the folder; ``embeddings.h5`` in it holds the embeddings.
    """
    from PIL import Image

    from neurovis.config import write_yaml
    from neurovis.records import Embeddings, Split, Stimuli, Trials
    from neurovis.store import sha256, write_json

    rng = np.random.default_rng(seed)
    n = n_train + n_test
    images = [f"concept{i // 3:02d}_{i:03d}" for i in range(n)]
    sets = ["train"] * n_train + ["test"] * n_test
    (folder / "pictures").mkdir(parents=True)
    for image in images:
        pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{image}.png")
    paths = [f"pictures/{image}.png" for image in images]
    digests = [sha256(folder / path) for path in paths]
    concepts = [image.split("_")[0] for image in images]
    Stimuli(images, paths, digests, [16] * n, [16] * n, concepts, sets).write(
        folder / "stimuli.csv"
    )
    vector = rng.standard_normal((n, 8)).astype(np.float32)
    Embeddings(vector, images, {"name": "planted"}).write(folder / "embeddings.h5")
    held = max(6, n_train // 6)
    Split(images[: n_train - held], images[n_train - held : n_train], images[n_train:]).write(
        folder / "split.json"
    )
    angle = np.linspace(0, 2 * np.pi, n_chans, endpoint=False)
    position = 0.1 * np.stack([np.cos(angle), np.sin(angle), np.full(n_chans, 0.5)], 1)
    for subject in subjects:
        weight = rng.standard_normal((8, n_chans, 1)) * rng.random((8, 1, n_times))
        shown = np.concatenate(
            [
                np.repeat(np.arange(n_train), repeats[0]),
                n_train + np.tile(np.arange(n_test), repeats[1]),
            ]
        )
        clean = np.tensordot(vector[shown], weight, axes=1)
        signal = clean + noise * rng.standard_normal(clean.shape)
        run = np.where(np.arange(len(shown)) % 2, "1", "2")
        Trials(
            signal.astype(np.float32),
            np.array(images)[shown],
            ["1"] * len(shown),
            run,
            np.array(sets)[shown],
            np.arange(len(shown)) * 0.5,
            [f"MEG{i:03d}" for i in range(n_chans)],
            ["mag"] * n_chans,
            position,
            sfreq=100.0,
            tmin=0.0,
            modality="meg",
            unit="1",
            subject=subject,
            dataset="planted",
        ).write(folder / f"sub-{subject}" / "trials.h5")
    write_yaml(folder / "config.yaml", {"name": "planted", "seed": seed, "noise": noise})
    write_json(folder / "provenance.json", {"inputs": {}, "seed": seed})
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A tiny prepared folder."""
    return write_prepared(tmp_path_factory.mktemp("prepared"))
