"""A miniature of EEG-ImageNet: the owners' dict of tensors as torch.save writes it, class by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

N_CHANS, N_TIMES, SFREQ = 62, 501, 1000.0
PEAK = 0.17  # s
PER_CLASS = 50
# five of the owners' classes: coarse ones, then fine ones
COARSE = ["n02106662", "n02124075", "n02281787"]
FINE = ["n02099601", "n02099712"]
LABELS = COARSE + FINE
IMAGES = [f"{label}_{100 * c + k}.JPEG" for c, label in enumerate(LABELS) for k in range(PER_CLASS)]


def pattern() -> np.ndarray:
    """Topography of each image's response, array (channel, image)."""
    return np.random.default_rng(99).standard_normal((N_CHANS, len(IMAGES)))


def trial(subject: int, number: int) -> np.ndarray:
    """One trial in V: noise, a drift that tells the block, the image's response."""
    rng = np.random.default_rng([subject, number])
    times = np.arange(N_TIMES) / SFREQ
    bump = np.exp(-((times - PEAK) ** 2) / (2 * 0.02**2))
    drift = 3e-6 * (number // PER_CLASS) * np.ones(N_TIMES)
    return (
        1e-6 * rng.standard_normal((N_CHANS, N_TIMES))
        + drift
        + 2e-5 * pattern()[:, [number]] * bump
    )


def content(
    subjects: tuple[int, ...], dropped: dict[int, str], n_trials: int | None = None
) -> dict[str, Any]:
    """The owners' dict; `dropped` names a class that a subject failed."""
    import torch

    dataset = []
    for subject in subjects:
        for number, image in enumerate(IMAGES[:n_trials]):
            label = LABELS[number // PER_CLASS]
            if dropped.get(subject) == label:
                continue
            dataset.append(
                {
                    "eeg_data": torch.from_numpy(trial(subject, number)).float(),
                    "granularity": "coarse" if label in COARSE else "fine",
                    "subject": subject,
                    "label": label,
                    "image": image,
                }
            )
    return {"dataset": dataset, "labels": list(LABELS), "images": list(IMAGES)}


def write_eeg_imagenet(
    root: Path, subjects: tuple[int, ...] = (0, 2), dropped: dict[int, str] | None = None
) -> Path:
    """The first part; the third subject failed a class."""
    import torch

    root.mkdir(parents=True, exist_ok=True)
    dropped = {2: LABELS[3]} if dropped is None else dropped
    part = 1 if max(subjects) < 8 else 2
    torch.save(content(subjects, dropped), root / f"EEG-ImageNet_{part}.pth")
    return root
