"""Reconstructions of a miniature run, written by hand in the format that ``neurovis generate`` writes.

Comes in: a run made by `miniature_run`. Goes out: a folder in ``RUN/reconstructions``. Every picture is of
one colour that says which it is, so that a test can see which picture stands where.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from neurovis.records import Score, Stimuli
from neurovis.store import new_h5, provenance, write_h5, write_json

SYSTEMS = ("brain", "nearest", "ceiling", "floor")
METRIC = "2-way per reconstruction of 12 [world-kinds]"
CHOICES = ("mean of samples", "best sample by agreement")
STRINGS = h5py.string_dtype()


def colour(system: str, row: int, sample: int = 0) -> np.ndarray:
    """The colour of a picture: three numbers, far apart for different pictures."""
    place = (*SYSTEMS, "seen", "low").index(system)
    return np.array([30 + 38 * place, 10 + 9 * row % 240, 40 + 60 * sample], np.uint8)


def paint(system: str, n: int, samples: int = 1, side: int = 8) -> np.ndarray:
    """Pictures (row, sample, height, width, 3) of one colour each."""
    out = np.empty((n, samples, side, side, 3), np.uint8)
    for row in range(n):
        for sample in range(samples):
            out[row, sample] = colour(system, row, sample)
    return out


def write_reconstructions(
    run: Path,
    name: str = "world-89abcdef0123",
    subjects: tuple[str, ...] = ("01", "02"),
    systems: tuple[str, ...] = SYSTEMS,
    n_samples: int = 2,
    n_averaged: tuple[int, ...] = (4,),
    extras: bool = True,
    scores: bool = True,
    side: int = 8,
    seed: int = 0,
    words: str = "fox",
) -> Path:
    """A folder of reconstructions of all test images.

    Parameters
    ----------
    run : Path
    name : str
    subjects, systems : tuple of str
    n_samples : int
    n_averaged : tuple of int
        One row of each image and subject for each.
    extras : bool
        Agreement, captions, words, rough pictures.
    scores : bool
    side : int
        Pixels.
    seed : int
    words : str
        Caption, and the concept that is named.
    """
    stimuli = Stimuli.read(run / "stimuli.csv")
    images = stimuli.image[stimuli.set == "test"].tolist()
    rows = [(i, s, k) for k in n_averaged for s in subjects for i in images]
    once = [(i, "all", 1) for i in images]
    rng = np.random.default_rng(seed)
    folder = run / "reconstructions" / name
    folder.mkdir(parents=True)
    agreement = rng.uniform(0.1, 0.9, (len(rows), n_samples)).astype(np.float32)
    about = {"generator": "world", "target": "clip", "floor": "painted from the shuffled control"}
    about["gap"] = {"before": {"cosine": 0.31, "n": 24}, "after": {"cosine": 0.78, "n": 24}}
    about["gap"]["spaces"] = "in two spaces"
    fits = [{"part": "sub-01", "n_validation_images": 165, "explained": 0.42}]
    about |= {"prior": {"name": "diffusion", "fits": fits}, "details": {"licence": "BSD-3-Clause"}}
    about |= {"takes": {"name": "planted"}, "latency": {"prior": 0.002, "paint": 1.2}}
    with new_h5(folder / "pictures.h5", "neurovis-pictures", about=json.dumps(about)) as file:
        for system in systems:
            mine = once if system == "ceiling" else rows
            samples = n_samples if system == "brain" else 1
            group = file.create_group(system)
            group["picture"] = paint(system, len(mine), samples, side)
            for column, values in zip(("image", "subject"), zip(*mine)):
                group.create_dataset(column, data=list(values), dtype=STRINGS)
            group["n_averaged"] = [k for _, _, k in mine]
            group["seed"] = np.zeros((len(mine), samples), np.int64)
            group.attrs["seconds"] = json.dumps({"prior": 1.5, "paint": 12.0})
            if system == "brain" and extras:
                group["agreement"] = agreement
                group["low"] = paint("low", len(mine), 1, side)[:, 0]
                group.create_dataset("caption", data=[words] * len(mine), dtype=STRINGS)
                group.create_dataset("word", data=[[words, "saw"]] * len(mine), dtype=STRINGS)
                group["probability"] = np.tile(np.float32([0.625, 0.25]), (len(mine), 1))
        file["seen/picture"] = paint("seen", len(images), 1, side)[:, 0]
        file.create_dataset("seen/image", data=images, dtype=STRINGS)
    config = "version: 1\ngenerator:\n  name: world\n  steps: 20\nprior:\n  name: diffusion\nsamples: 2\n"
    config += "baselines: [nearest, floor]\nlow: null\n"
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    write_json(folder / "provenance.json", {**provenance({"run": "0123"}, seed), "seconds": 61.0})
    if scores:
        write_scores(folder, rows, agreement, systems, rng)
    return folder


def write_scores(
    folder: Path,
    rows: list[tuple[str, str, int]],
    agreement: np.ndarray,
    systems: tuple[str, ...],
    rng: np.random.Generator,
) -> None:
    """``scores.json`` and ``per_item.h5`` as scoring writes them."""
    n = len({image for image, _, _ in rows})
    known = {
        "pixcorr": ("low", True, 0.02), "ssim": ("low", True, 0.3), METRIC: ("high", True, 0.5),
        "correlation_distance [world-kinds]": ("high", False, 0.95), "frechet [world-kinds]": ("set", False, 1.5),
    }  # fmt: skip
    most = max(k for _, _, k in rows)
    found, lead = [], []
    for name, (level, up, chance) in known.items():
        for system in (*systems, *(["low"] if "brain" in systems else [])):
            ways = CHOICES if system == "brain" and level != "set" else CHOICES[:1]
            for subject in ("all", *dict.fromkeys(s for _, s, _ in rows if system != "ceiling")):
                for way in ways:
                    value = round(float(rng.uniform(0.1, 0.9)), 4)
                    about = {"system": system, "target": "clip", "subject": subject, "level": level}
                    about |= {"n_averaged": 1 if system == "ceiling" else most, "choice": way}
                    about |= {"metric": "two_way", "resampled": "image", "chance_is": "known"}
                    common = (
                        value,
                        n,
                        chance,
                        value - 0.03,
                        value + 0.02,
                        [],
                        f"{n} seen pictures",
                    )
                    found.append(Score(*common, "clean; looked at through x", up, name, about))
        about = {
            **about,
            "system": "brain",
            "subject": "all",
            "choice": CHOICES[0],
            "n_averaged": most,
        }
        about["comparison"] = "brain - nearest"
        lead.append(
            Score(0.125, n, 0.0, 0.05, 0.2, [], f"{n} seen pictures", "clean", up, name, about)
        )
    head = {"system": "brain", "subject": "all", "n_averaged": most, "choice": CHOICES[0]}
    data = {
        "format": "neurovis-scores", "format_version": 1, "interval": "95 %, bootstrap over images",
        "headline": {**head, "target": "clip", "metric": METRIC}, "notes": ["one metric left out"],
        "control": {"at_chance": True, "metric": METRIC, "value": 0.49, "low": 0.45, "high": 0.53, "chance": 0.5, "n": n},
        "scores": [s.to_dict() for s in found], "comparisons": [s.to_dict() for s in lead],
        "versions": {"neurovis": "9.9"},
    }  # fmt: skip
    write_json(folder / "scores.json", data)
    # of eleven other pictures, so that many tie
    value = (rng.integers(6, 12, agreement.shape) / 11).astype(np.float32)
    columns = {"brain/image": [i for i, _, _ in rows], "brain/subject": [s for _, s, _ in rows]}
    columns |= {"brain/n_averaged": [k for _, _, k in rows], f"brain/value/{METRIC}": value}
    write_h5(folder / "per_item.h5", "neurovis-per-picture", columns)
