"""Fits of `neurovis.analysis.amount`: models of parts of the data, and rows of parts of the test trials.

Comes in: a `Layout` and an amount. Goes out: one file per subject, kind, amount and draw. Files that are
there are kept, so that an interrupted analysis goes on.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np

from neurovis.analysis.base import PART, Layout
from neurovis.batches import Item, Recordings
from neurovis.brain.ridge import Ridge
from neurovis.metrics.retrieval import cosine_blocks, place
from neurovis.store import atomic, read_h5, write_h5

MOST_GROUPS = 20
"""Groups of so many subjects, of those that there are."""


def part(folder: Path, subject: str, of: str, n: int, draw: int) -> Path:
    """File of one fit."""
    return folder / f"{subject}-{of}-{n:06d}-{draw:02d}.h5"


def fewest_repeats(recordings: Recordings, side: str) -> int:
    """Repeats that every image of a side has."""
    split = recordings.folds[0]
    sides = ("train", "validation") if side == "train" else (side,)
    counts = [len(r) for s in sides for _, r in recordings.items(split, s)[0]]
    return min(counts)


def drawn(layout: Layout, of: str, n: int, draw: int, whole: int) -> np.ndarray:
    """A random part: the same for every level, and each draw's parts hold those of fewer."""
    name = {"images": 1, "channels": 2}[of]
    rng = np.random.default_rng([layout.seed, 47, name, draw, whole])
    return np.sort(rng.permutation(whole)[:n])


def _repeats(items: list[Item], n: int, seed: list[int]) -> list[Item]:
    rng = np.random.default_rng(seed)
    return [(s, np.sort(rng.permutation(rows)[:n])) for s, rows in items]


def _save(path: Path, signal: np.ndarray) -> None:
    if not path.is_file():
        with atomic(path) as partial, partial.open("wb") as handle:
            np.save(handle, signal)


def _mine(recordings: Recordings, subject: str, side: str) -> list[Item]:
    number = recordings.subjects.index(subject)
    items, _ = recordings.items(recordings.folds[0], side)
    return [item for item in items if item[0] == number]


def _binned(recordings: Recordings, layout: Layout, subject: str, items: list[Item]) -> np.ndarray:
    """Means over trials (row, channel, time) in the layout's channels and bins."""
    n = len(layout.times)
    n_bin = recordings.n_times // n
    signal = recordings.averages(items)[:, layout.channels[subject], : n * n_bin]
    return signal.reshape(*signal.shape[:2], n, n_bin).mean(3)


def lay_training(recordings: Recordings, layout: Layout, subject: str, n: int, draw: int) -> None:
    """Put means of n random repeats of every fitted image on disk."""
    items = [i for side in ("train", "validation") for i in _mine(recordings, subject, side)]
    some = _repeats(items, n, [layout.seed, 53, draw])
    _save(
        layout.folder / f"{subject}-repeats-{n:06d}-{draw:02d}.npy",
        _binned(recordings, layout, subject, some),
    )


def lay_repeats(
    recordings: Recordings, layout: Layout, subject: str, repeats: list[int], draws: int
) -> None:
    """Put means of n random repeats of every test image on disk."""
    items = _mine(recordings, subject, "test")
    for n in repeats:
        for draw in range(1 if n == repeats[-1] else draws):
            some = _repeats(items, n, [layout.seed, 59, draw])
            path = layout.folder / f"{subject}-test_repeats-{n:06d}-{draw:02d}.npy"
            _save(path, _binned(recordings, layout, subject, some))


def fit_part(
    layout: Layout, ridge: Ridge, subject: str, of: str, n: int, draw: int, path: Path
) -> None:
    """Fit a part of the data; keep what it says of the test images."""
    signal, aims = layout.signal(subject, "fit"), layout.aims(subject)
    test, channels = layout.signal(subject, "test"), layout.channels[subject]
    if of == "images":
        rows = drawn(layout, of, n, draw, len(signal))
        signal, aims = signal[rows], aims[rows]
    elif of == "channels":
        some = drawn(layout, of, n, draw, len(channels))
        signal, test, channels = signal[:, some], test[:, some], channels[some]
    else:
        signal = np.load(layout.folder / f"{subject}-repeats-{n:06d}-{draw:02d}.npy")
    said = layout.model(ridge, channels).fit(signal, aims).predict(test)
    write_h5(path, PART, _places(layout, subject, said))


def fit_whole(
    layout: Layout, ridge: Ridge, subject: str, repeats: list[int], draws: int, path: Path
) -> None:
    """Fit all of the data; keep what it says of all test repeats, and of parts of them."""
    model = layout.model(ridge, layout.channels[subject])
    model.fit(layout.signal(subject, "fit"), layout.aims(subject))
    found = {}
    for n in repeats:
        for draw in range(1 if n == repeats[-1] else draws):
            name = f"test_repeats-{n:06d}-{draw:02d}"
            signal = np.load(layout.folder / f"{subject}-{name}.npy")
            some = _places(layout, subject, model.predict(signal))
            found |= {f"{name}/{k}": v for k, v in some.items()}
    found["said"] = model.predict(layout.signal(subject, "test"))
    write_h5(path, PART, found)


def _places(layout: Layout, subject: str, said: np.ndarray) -> dict[str, np.ndarray]:
    """Places of the shown images: (level, row)."""
    item = layout.item(subject)
    pairs = [
        place(layout.similarity(level, one), item) for level, one in enumerate(layout.parts(said))
    ]
    above, tied = (np.stack(x).astype(np.int32) for x in zip(*pairs))
    return {"above": above, "tied": tied}


def rows_at(
    layout: Layout, of: str, n: int, last: bool, draws: int, level: int
) -> list[dict[str, np.ndarray]]:
    """Rows of all draws and subjects at one amount: item, above, tied (row,)."""
    if of == "subjects":
        return _together(layout, n, level)
    out = []
    for draw in range(1 if last else draws):
        for subject in layout.subjects:
            if of == "test_repeats":
                name = f"test_repeats-{n:06d}-{draw:02d}"
                names = (f"{name}/above", f"{name}/tied")
                found = read_h5(part(layout.folder, subject, "whole", 0, 0), PART, names)
                above, tied = (found[k][level] for k in names)
            else:
                names = ("above", "tied")
                found = read_h5(part(layout.folder, subject, of, n, draw), PART, names)
                above, tied = (found[k][level] for k in names)
            out.append({"item": layout.item(subject), "above": above, "tied": tied})
    return out


def _together(layout: Layout, n: int, level: int) -> list[dict[str, np.ndarray]]:
    """Rows of groups of subjects, whose cosines with every image are summed."""
    said = {
        s: read_h5(part(layout.folder, s, "whole", 0, 0), PART, ("said",))["said"]
        for s in layout.subjects
    }
    groups = list(combinations(layout.subjects, n))
    if len(groups) > MOST_GROUPS:
        rng = np.random.default_rng([layout.seed, 61, n])
        groups = [groups[i] for i in sorted(rng.permutation(len(groups))[:MOST_GROUPS])]
    known = layout.parts(layout.vector[layout.gallery])[level]
    out = []
    for group in groups:
        items = [layout.item(s) for s in group]
        common = sorted(set.intersection(*(set(i.tolist()) for i in items)))
        if not common:
            continue
        total = 0.0
        for subject, item in zip(group, items):
            order = {image: row for row, image in enumerate(item.tolist())}
            rows = layout.parts(said[subject])[level][[order[image] for image in common]]
            total = total + np.concatenate([b for _, b in cosine_blocks([(rows, known)])])
        above, tied = place(total, np.array(common))
        out.append({"item": np.array(common), "above": above, "tied": tied})
    return out
