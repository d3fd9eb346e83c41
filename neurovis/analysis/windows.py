"""Fits in windows of time: one model per window, or one model that sees the rest of time masked.

Comes in: a `Layout` and windows. Goes out: one file per subject and window with the places of the shown
images and what permuted labels score. Files that are there are kept, so that an interrupted analysis
goes on; each is written by a function of this module alone, so that other processes can do it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.analysis.base import PART, Layout, assess, own_scores
from neurovis.brain.ridge import Ridge, left_out, penalty_scale
from neurovis.store import write_h5

MOST_ROWS = 6000
"""Rows up to which growing windows share one running kernel of rows."""


def sliding(n_times: int, width: int, step: int) -> list[tuple[int, int]]:
    """First and last-but-one sample of windows that slide over all samples."""
    return [(start, start + width) for start in range(0, n_times - width + 1, step)]


def growing(n_times: int, step: int, first: int) -> list[tuple[int, int]]:
    """Windows from the first sample on, each longer by `step`; they start to end at `first`."""
    stops = list(range(max(first, step), n_times + 1, step))
    return [(0, stop) for stop in (stops if stops and stops[-1] == n_times else [*stops, n_times])]


def part(folder: Path, subject: str, kind: str, window: tuple[int, int]) -> Path:
    """File of one subject and window."""
    return folder / f"{subject}-{kind}-{window[0]:05d}-{window[1]:05d}.h5"


def fit_window(
    layout: Layout,
    ridge: Ridge,
    subject: str,
    window: tuple[int, int],
    others: list[tuple[int, int]],
    n_null: int,
    path: Path,
) -> None:
    """Fit one sliding window; score it there, and in the windows it is to generalise to.

    Parameters
    ----------
    layout : Layout
    ridge : Ridge
    subject : str
    window : tuple of int
        Samples to fit.
    others : list of tuple of int
        Windows of the same length to test in; none for the own one alone.
    n_null : int
    path : Path
    """
    if path.is_file():
        return
    model = layout.model(ridge, layout.channels[subject])
    model.fit(
        layout.signal(subject, "fit", slice(*window)),
        layout.aims(subject),
        control=layout.shuffled(subject),
    )
    said = model.predict(layout.signal(subject, "test", slice(*window)))
    found = own_scores(layout, subject, said, n_null)
    if others:
        size = len(model.coef_), sum(layout.widths)
        coef, constant = model.coef_[:, : size[1]], model.intercept_[: size[1]]
        rows = {name: [] for name in ("above", "tied", "null")}
        for other in others:
            signal = layout.signal(subject, "test", slice(*other))
            said = signal.reshape(len(signal), -1) @ coef + constant
            some = [
                assess(layout, subject, level, one, n_null)
                for level, one in enumerate(layout.parts(said))
            ]
            for name, values in rows.items():
                values.append([one[name] for one in some])
        found |= {f"general/{k}": np.array(v).swapaxes(0, 1) for k, v in rows.items()}
    write_h5(path, PART, found)


def fit_growing(
    layout: Layout,
    ridge: Ridge,
    subject: str,
    windows: list[tuple[int, int]],
    n_null: int,
    folder: Path,
) -> None:
    """Fit all growing windows of a subject; the kernel of a window is that of the one before, and more.

    Parameters
    ----------
    layout : Layout
    ridge : Ridge
    subject : str
    windows : list of tuple of int
        All from sample 0, in order.
    n_null : int
    folder : Path
    """
    aims, control = layout.aims(subject), layout.shuffled(subject)
    channels = layout.channels[subject]
    shared = not ridge.smoothness and len(aims) <= MOST_ROWS
    kernel: Any = 0.0
    cross: Any = 0.0
    done = 0
    for window in windows:
        path, more = part(folder, subject, "growing", window), slice(done, window[1])
        if shared:
            x, new = layout.signal(subject, "fit", more), layout.signal(subject, "test", more)
            x, new = x.reshape(len(x), -1), new.reshape(len(new), -1)
            # about one mean for both, so that float32 products are exact enough
            middle = x.mean(0)
            x, new = x - middle, new - middle
            kernel = kernel + (x @ x.T).astype(np.float64)
            cross = cross + (new @ x.T).astype(np.float64)
            done = window[1]
        if path.is_file():
            continue
        if shared:
            penalties = np.logspace(ridge.log10_low, ridge.log10_high, ridge.n_penalties)
            said = from_kernel(kernel, aims, cross, penalties, control)
        else:
            model = layout.model(ridge, channels)
            model.fit(layout.signal(subject, "fit", slice(*window)), aims, control=control)
            said = model.predict(layout.signal(subject, "test", slice(*window)))
        write_h5(path, PART, own_scores(layout, subject, said, n_null))


def from_kernel(
    kernel: np.ndarray,
    target: np.ndarray,
    cross: np.ndarray,
    penalties: np.ndarray,
    control: np.ndarray | None = None,
) -> np.ndarray:
    """Ridge regression from inner products: the same as `RidgeModel`, without its weights.

    Parameters
    ----------
    kernel : array (row, row)
        Inner products of the fitted rows, about any point.
    target : array (row, dim)
    cross : array (new, row)
        Inner products of new rows with the fitted ones, about the same point.
    penalties : array (penalty,)
        Relative to the mean eigenvalue of the centred kernel; chosen per dim, leaving rows out.
    control : array (row, k * dim), optional
        Shuffled targets, fitted with the penalties that the true ones choose.

    Returns
    -------
    array (new, dim) float32
        Those of the control after those of the targets.
    """
    along = kernel.mean(0)
    middle = target.mean(0, dtype=np.float64)
    y = target - middle
    value, vector = np.linalg.eigh(kernel - along - along[:, None] + along.mean())
    value = value.clip(0)
    scale, rotated = penalty_scale(value, y), vector.T @ y
    chosen = penalties[left_out(value, vector, rotated, y, penalties * scale).argmin(0)]
    if control is not None:
        middle = np.concatenate([middle, control.mean(0, dtype=np.float64)])
        rotated = np.concatenate([rotated, vector.T @ (control - control.mean(0))], axis=1)
        chosen = np.tile(chosen, 1 + control.shape[1] // len(chosen))
    dual = vector @ (rotated / (value[:, None] + chosen * scale))
    # the dual sums to zero over rows, so that what new rows share with all of them drops out
    return ((cross - along) @ (dual - dual.mean(0)) + middle).astype(np.float32)


def fit_masked(
    layout: Layout,
    ridge: Ridge,
    subject: str,
    windows: dict[str, list[tuple[int, int]]],
    n_null: int,
    folder: Path,
) -> None:
    """Fit one model to all of time; test it with all but a window at the mean of the fitted rows."""
    if all(part(folder, subject, k, w).is_file() for k, some in windows.items() for w in some):
        return
    signal = layout.signal(subject, "fit")
    middle = signal.mean(0)
    model = layout.model(ridge, layout.channels[subject])
    model.fit(signal, layout.aims(subject), control=layout.shuffled(subject))
    _test_masked(layout, subject, model.predict, middle, windows, n_null, folder)


def fit_tower(
    layout: Layout,
    run: Path,
    model_of: str | None,
    names: dict[str, tuple[str, ...]],
    subject: str,
    windows: dict[str, list[tuple[int, int]]],
    n_null: int,
    folder: Path,
) -> None:
    """Test a run's trained tower with all but a window at the mean of the fitted rows.

    It is not trained again, so there is no shuffled control.

    Parameters
    ----------
    layout : Layout
        Its vectors are those that the tower's predictions are compared with.
    run : Path
    model_of : str or None
        Whose model, where each subject has one.
    names : dict of tuple of str
        Channels of each subject.
    """
    from neurovis.pretrained import Pretrained

    model = Pretrained(run, subject=model_of)
    tmin = float(layout.times[0])

    def say(signal: np.ndarray) -> np.ndarray:
        said = model.predict(signal, names[subject], 1 / layout.step, tmin, subject)
        return np.concatenate([said[level] for level in layout.levels], axis=1)

    middle = layout.signal(subject, "fit").mean(0)
    _test_masked(layout, subject, say, middle, windows, n_null, folder)


def _test_masked(
    layout: Layout,
    subject: str,
    predict: Callable[[np.ndarray], np.ndarray],
    middle: np.ndarray,
    windows: dict[str, list[tuple[int, int]]],
    n_null: int,
    folder: Path,
) -> None:
    whole = layout.signal(subject, "test")
    for kind, some in windows.items():
        for window in some:
            path = part(folder, subject, kind, window)
            if path.is_file():
                continue
            signal = np.repeat(middle[None], len(whole), axis=0)
            signal[:, :, slice(*window)] = whole[:, :, slice(*window)]
            write_h5(path, PART, own_scores(layout, subject, predict(signal), n_null))
