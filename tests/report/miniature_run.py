"""A miniature run folder, written with the records' own writers: what train and evaluate leave behind.

Comes in: sizes and how strong each system is. Goes out: a folder that evaluation and report read as
they read a real one. Predictions are true vectors plus noise that falls with the repeats averaged.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from neurovis.records import Embeddings, Prediction, Split, Stimuli
from neurovis.store import provenance, write_h5, write_json

STRENGTH = {"tower": 0.9, "ridge": 0.55, "shuffled": 0.0}
LIMITS = {"informed_observer": 1.2, "optimal_observer": 3.0}
DIM = 24


def picture(image: str, size: int = 48) -> np.ndarray:
    """JPEG bytes of a picture of the world, or of two colours for names that it does not know."""
    import zlib

    from PIL import Image

    from neurovis.world import scenes

    concept, _, exemplar = image.rpartition("_")
    known = {c.name for c in scenes.concepts()}
    if concept.replace("_", " ") in known:
        pixels = scenes.render(scenes.sample_scene(concept.replace("_", " "), int(exemplar)), size)
    else:
        pixels = np.zeros((size, size, 3), np.uint8)
        pixels[:, : size // 2] = zlib.crc32(image.encode()) % 200
        pixels[:, size // 2 :] = 255 - zlib.crc32(image.encode()) % 180
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=85)
    return np.frombuffer(data.getvalue(), np.uint8)


def write_pictures(run: Path, images: list[str], size: int = 48) -> None:
    """``pictures.h5`` as train writes it."""
    import h5py

    with h5py.File(run / "pictures.h5", "w") as file:
        file.attrs.update({"format": "neurovis-pictures", "format_version": 1})
        file.create_dataset("image", data=images, dtype=h5py.string_dtype())
        jpeg = file.create_dataset("jpeg", len(images), dtype=h5py.vlen_dtype(np.uint8))
        for i, image in enumerate(images):
            jpeg[i] = picture(image, size)


def write_evoked(
    run: Path, subjects: tuple[str, ...], n_chans: int = 40, positions: bool = True
) -> None:
    """``evoked.h5`` as train writes it: two components on a helmet."""
    import h5py

    generator = np.random.default_rng(3)
    times = np.arange(-0.1, 0.6, 1 / 120)
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(n_chans)
    height = 0.95 - 1.15 * np.arange(n_chans) / n_chans
    ring = np.sqrt(1 - height**2)
    place = 0.11 * np.column_stack([ring * np.cos(turn), ring * np.sin(turn), height])
    with h5py.File(run / "evoked.h5", "w") as file:
        file.attrs.update({"format": "neurovis-evoked", "format_version": 1})
        for number, subject in enumerate(subjects):
            signal = 0.05 * generator.standard_normal((n_chans, len(times)))
            for peak, width, spot in (
                (0.1, 0.02, (0.3, -1, 0)),
                (0.17, 0.03, (-0.8, -0.6, 0)),
                (0.33, 0.06, (0.2, 0.1, 1)),
            ):
                course = np.exp(-0.5 * ((times - peak - 0.01 * number) / width) ** 2)
                signal += (place @ np.array(spot) / 0.11)[:, None] * course
            group = file.create_group(subject)
            group["evoked"] = signal.astype(np.float32)
            group["sem"] = np.full(signal.shape, 0.05, np.float32)
            group.create_dataset(
                "channel_name", data=[f"M{i}" for i in range(n_chans)], dtype=h5py.string_dtype()
            )
            group.create_dataset("channel_type", data=["mag"] * n_chans, dtype=h5py.string_dtype())
            group["channel_position"] = (
                place if positions else np.full_like(place, np.nan)
            ).astype(np.float32)
            group.attrs.update(
                {"sfreq": 120.0, "tmin": -0.1, "unit": "1", "n": 480, "modality": "meg"}
            )


def write_log(
    run: Path, stages: tuple[str, ...] = ("tower", "shuffled"), n_epochs: int = 12
) -> None:
    """``log.csv`` as train writes it."""
    columns = [
        "stage",
        "step",
        "epoch",
        "loss",
        "contrastive",
        "mse",
        "validation_loss",
        "validation_top5",
        "seconds",
    ]
    with (run / "log.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        for stage in stages:
            learns = not stage.startswith("shuffled")
            for epoch in range(1, n_epochs + 1):
                fall = np.exp(-epoch / 4)
                writer.writerow({
                    "stage": stage, "step": 10 * epoch, "epoch": epoch, "loss": round(2 + 3 * fall, 4),
                    "validation_loss": round(3.2 + 1.8 * fall if learns else 5 + 0.03 * epoch, 4),
                    "validation_top5": round(0.5 * (1 - fall), 4) if learns else 0.03, "seconds": 1.5,
                })  # fmt: skip


def write_run(
    run: Path,
    concepts: list[str],
    subjects: tuple[str, ...] = ("01", "02"),
    n_repeats: int = 4,
    strength: dict[str, float] = STRENGTH,
    limits: dict[str, float] = LIMITS,
    size: int = 48,
    caption: str = "a picture",
) -> Path:
    """A run in which every image of a gallery was shown to every subject.

    Parameters
    ----------
    run : Path
    concepts : list of str
        One test image each; as many training images are named after them.
    subjects : tuple of str
    n_repeats : int
    strength, limits : dict of float
        Signal relative to the noise of a single trial; no observers if `limits` is empty.
    size : int
        Pixels of the pictures.
    caption : str
    """
    run.mkdir(parents=True)
    images = [f"{name.replace(' ', '_')}_000" for name in concepts]
    train = [f"{name.replace(' ', '_')}_001" for name in concepts]
    n = len(images)
    Stimuli(
        image=images + train, path=[(f"{i}.png",) for i in images + train], sha256=[""] * 2 * n,
        width=[size] * 2 * n, height=[size] * 2 * n, concept=concepts * 2,
        set=["test"] * n + ["train"] * n, caption=[caption] * 2 * n,
    ).write(run / "stimuli.csv")  # fmt: skip
    Split(train[2:], train[:2], images).write(run / "split.json")
    generator = np.random.default_rng(0)
    vector = generator.standard_normal((n, DIM)).astype(np.float32)
    Embeddings(vector, images, {"name": "pixels"}).write(run / "gallery" / "clip.h5")
    ks = [1] * n_repeats + [k for k in (2, 4, 8) if k < n_repeats] + [n_repeats]
    row = [(i, s, k) for k in ks for s in range(len(subjects)) for i in range(n)]
    item, subject, k = np.array(row).T
    about = {
        "image": np.array(images)[item],
        "subject": np.array(subjects)[subject],
        "n_averaged": k,
    }
    noise = generator.standard_normal((len(row), DIM)) / np.sqrt(k)[:, None]
    for system, gain in strength.items():
        said = {"clip": (gain * vector[item] + noise).astype(np.float32)}
        Prediction(said, **about, model="0123456789ab").write(
            run / "systems" / system / "prediction.h5"
        )
    for system, gain in limits.items():
        similarity = (
            (gain * vector[item] + noise) @ vector.T - 0.5 * gain * (vector**2).sum(1)
        ).astype(np.float32)
        data = {**about, "similarity": similarity, "recording": [""] * len(row), "gallery": images}
        write_h5(run / "systems" / system / "similarity.h5", "neurovis-similarity", data)
    _account(run, "clip")
    return run


def write_category_run(
    run: Path, categories: tuple[str, ...] = ("house", "face"), strength: float = 0.25
) -> Path:
    """A run of recordings left out in turn, stimuli known by category."""
    run.mkdir(parents=True)
    names = [f"ses-1_run-{i}" for i in range(1, 7)]
    n = len(categories)
    Stimuli(
        image=list(categories), path=[(f"{c}1.jpg", f"{c}2.jpg", f"{c}3.jpg") for c in categories], sha256=[""] * n,
        width=[64] * n, height=[64] * n, concept=list(categories), set=["test"] * n,
    ).write(run / "stimuli.csv")  # fmt: skip
    for i, name in enumerate(names):
        rest = [other for other in names if other != name]
        Split(rest[1:], rest[:1], [name], unit="recording").write(run / f"split-{i + 1:02d}.json")
    generator = np.random.default_rng(1)
    vector = generator.standard_normal((n, DIM)).astype(np.float32)
    Embeddings(vector, categories, {"name": "pixels"}).write(run / "gallery" / "pixels.h5")
    item, place = np.tile(np.arange(n), 60 * len(names)), np.repeat(np.arange(len(names)), 60 * n)
    for system, gain in {"tower": strength, "ridge": 0.8 * strength, "shuffled": 0.0}.items():
        said = gain * vector[item] + generator.standard_normal((len(item), DIM))
        Prediction(
            {"pixels": said.astype(np.float32)}, np.array(categories)[item], ["1"] * len(item),
            np.ones(len(item), int), np.array(names)[place],
        ).write(run / "systems" / system / "prediction.h5")  # fmt: skip
    _account(run, "pixels")
    return run


def _account(run: Path, target: str) -> None:
    (run / "config.yaml").write_text(
        "version: 1\nname: miniature\ndata:\n  path: /home/somebody/out/prepared/synthetic-0123456789ab\n"
        f"targets:\n  {target}:\n    encoder: {target}\n    components: 24\nbrain:\n  name: conv\n  n_hidden: 96\n"
        "loss:\n  name: clip_mse\n  weight: 0.75\ntrain:\n  epochs: 12\n  lr: 0.001\nbaseline: ridge\n"
        "control: tower\nseed: 0\n",
        encoding="utf-8",
    )
    write_json(
        run / "provenance.json", {**provenance({"prepared": "0123456789ab"}, 0), "seconds": 61.2}
    )
