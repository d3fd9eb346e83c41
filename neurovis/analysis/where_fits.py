"""Fits of `neurovis.analysis.where`: channels of a region, searchlights, chosen sensors, attributions.

Comes in: a `Layout` and channels. Goes out: one file per fit. Files that are there are kept, so that an
interrupted analysis goes on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.analysis import attribution, greedy
from neurovis.analysis.base import PART, Layout, assess, own_scores, two_way
from neurovis.brain.ridge import Ridge
from neurovis.store import write_h5

BLOCK = 32
"""Rows whose gradients are integrated at a time."""


def part(folder: Path, subject: str, way: str, name: str) -> Path:
    """File of one fit; a region may be called anything."""
    safe = (
        name if name.replace("-", "").isalnum() else hashlib.sha256(name.encode()).hexdigest()[:16]
    )
    return folder / f"{subject}-{way}-{safe}.h5"


def fit_channels(
    layout: Layout,
    ridge: Ridge,
    subject: str,
    channels: np.ndarray,
    n_null: int,
    path: Path,
    with_pattern: bool = False,
) -> None:
    """Fit some channels of a subject, truth and control together; score the test images.

    Parameters
    ----------
    layout : Layout
    ridge : Ridge
    subject : str
    channels : array of int
        Places among the subject's channels.
    n_null : int
    path : Path
    with_pattern : bool
        Keep the activation patterns of each level: (level, channel, time).
    """
    model = layout.model(ridge, layout.channels[subject][channels])
    signal = layout.signal(subject, "fit")[:, channels]
    model.fit(signal, layout.aims(subject), control=layout.shuffled(subject))
    said = model.predict(layout.signal(subject, "test")[:, channels])
    found = own_scores(layout, subject, said, n_null)
    if with_pattern:
        found["pattern"] = _pattern(layout, signal, model.predict(signal))
    write_h5(path, PART, found)


def _pattern(layout: Layout, signal: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Signal that decoded components carry, less what those of shuffled images carry by chance.

    Any filter's output is a part of the signal, noise included: what a decoder of nothing carries says
    how much of a pattern is that.
    """
    n, parts, out = len(layout.levels), layout.parts(said), []
    for level in range(n):
        power = [attribution.explained(signal, one) ** 2 for one in parts[level::n]]
        out.append(np.sqrt((power[0] - np.mean(power[1:], axis=0)).clip(0)))
    return np.stack(out).astype(np.float32)


def fit_lights(
    layout: Layout,
    ridge: Ridge,
    subject: str,
    near: list[np.ndarray],
    n_null: int,
    path: Path,
) -> None:
    """Fit the channels around each of some places; score the test images.

    Parameters
    ----------
    layout : Layout
    ridge : Ridge
    subject : str
    near : list of array of int
        Places among the subject's channels.
    n_null : int
    path : Path
    """
    fit, test = layout.signal(subject, "fit"), layout.signal(subject, "test")
    aims, n = layout.aims(subject), len(layout.gallery)
    value = np.empty((len(layout.levels), len(near)))
    null = np.empty((len(layout.levels), len(near), n_null), np.float32)
    for i, channels in enumerate(near):
        model = layout.model(ridge, layout.channels[subject][channels])
        said = model.fit(fit[:, channels], aims).predict(test[:, channels])
        for level, one in enumerate(layout.parts(said)):
            found = assess(layout, subject, level, one, n_null)
            value[level, i] = two_way(found["above"], found["tied"], n).mean()
            null[level, i] = found["null"]
    size = np.array([len(channels) for channels in near])
    write_h5(path, PART, {"score": value, "null": null, "n_chans": size})


def choose(layout: Layout, shared: np.ndarray, n_bins: int, n_chosen: int, path: Path) -> None:
    """Choose sensors that all subjects have; see `neurovis.analysis.greedy`."""
    data = [
        greedy.products(layout, s, np.searchsorted(layout.channels[s], shared), n_bins)
        for s in layout.subjects
    ]
    order, score = greedy.select(data, len(shared), n_chosen)
    write_h5(path, PART, {"order": np.array(order), "score": np.array(score)})


def _explained(
    layout: Layout, subject: str, say: Any, n_levels: int, n_steps: int, path: Path
) -> None:
    """Integrate the gradients of how far predictions go towards the shown image's vector.

    That is their product with the unit vector, over the length that the prediction has at the signal
    itself: there it is the cosine. A cosine's own length would change along the line, and at the
    baseline, where a linear decoder says nothing, it has no gradient.
    """
    import torch

    signal = torch.from_numpy(np.ascontiguousarray(layout.signal(subject, "test")))
    middle = layout.signal(subject, "fit").mean(0, dtype=np.float64).astype(np.float32)
    baseline = torch.from_numpy(middle)
    wanted = layout.parts(layout.vector[layout.rows[subject, "test"]])
    total = np.zeros((n_levels, *signal.shape[1:]))
    gain, short = np.empty((n_levels, len(signal))), np.empty((n_levels, len(signal)))
    for level in range(n_levels):
        for start in range(0, len(signal), BLOCK):
            rows = slice(start, start + BLOCK)
            truth = torch.from_numpy(np.ascontiguousarray(wanted[level][rows]))
            truth = torch.nn.functional.normalize(truth, dim=1)
            with torch.no_grad():
                truth = truth / say(signal[rows])[level].norm(dim=1, keepdim=True).clamp(min=1e-12)

            def towards(x: Any, truth: Any = truth, level: int = level) -> Any:
                return (say(x)[level] * truth).sum(1)

            found = attribution.integrated_gradients(towards, signal[rows], baseline, n_steps)
            total[level] += found.sum(0).numpy()
            missing = attribution.completeness(towards, signal[rows], baseline, found)
            short[level, rows] = missing
            gain[level, rows] = found.flatten(1).sum(1).numpy() - missing
    data = {"attribution": (total / len(signal)).astype(np.float32), "explained": gain}
    write_h5(path, PART, {**data, "short": short})


def explain_ridge(layout: Layout, ridge: Ridge, subject: str, n_steps: int, path: Path) -> None:
    """Saliency of the closed form of all channels.

    Parameters
    ----------
    layout : Layout
    ridge : Ridge
    subject : str
    n_steps : int
    path : Path
    """
    import torch

    model = layout.model(ridge, layout.channels[subject])
    model.fit(layout.signal(subject, "fit"), layout.aims(subject))
    coef, constant = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    widths = list(layout.widths)

    def say(x: Any) -> Any:
        return (x.flatten(1) @ coef + constant).split(widths, 1)

    _explained(layout, subject, say, len(widths), n_steps, path)


def explain_tower(
    layout: Layout,
    run: Path,
    names: tuple[str, ...],
    subject: str,
    n_steps: int,
    path: Path,
) -> None:
    """Saliency of a run's trained tower.

    Parameters
    ----------
    layout : Layout
        Its vectors are those that the tower's predictions are compared with.
    run : Path
    names : tuple of str
        Channels of the subject, in the order of its signals.
    subject : str
    n_steps : int
    path : Path
    """
    import torch

    from neurovis.analysis.towers import loaded

    model = loaded(run, subject)
    place = torch.tensor([model.channel_name.index(name) for name in names])

    def say(x: Any) -> list[Any]:
        whole = x.new_zeros(len(x), len(model.channel_name), x.shape[2])
        said = model.forward(whole.index_copy(1, place, x), subject)
        return [said[level] for level in layout.levels]

    _explained(layout, subject, say, len(layout.levels), n_steps, path)
