"""Maps of the scalp: sensors seen from above, coloured by a value each.

Comes in: positions and values of sensors. Goes out: places on a disc, and a PNG drawn by MNE.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np


def flat(position: np.ndarray) -> tuple[np.ndarray, float]:
    """Positions seen from above, distances kept along meridians, and the radius of the head's edge.

    Parameters
    ----------
    position : array (channel, 3), m

    Returns
    -------
    array (channel, 2), m
    float, m
        Where the equator of the sphere fitted to the positions comes to lie.
    """
    design = np.column_stack([2 * position, np.ones(len(position))])
    solved = np.linalg.lstsq(design, (position**2).sum(1), rcond=None)[0]
    centre = solved[:3]
    radius = float(np.sqrt(solved[3] + centre @ centre))
    away = position - centre
    distance = np.linalg.norm(away, axis=1)
    angle = np.arccos(np.clip(away[:, 2] / distance, -1, 1))
    azimuth = np.arctan2(away[:, 1], away[:, 0])
    return radius * angle[:, None] * np.column_stack(
        [np.cos(azimuth), np.sin(azimuth)]
    ), radius * np.pi / 2


def topography(values: np.ndarray, spot: np.ndarray, edge: float, low: float, high: float) -> bytes:
    """A map of the scalp as a PNG with nothing behind it; red above 0 and blue below where there are both.

    Parameters
    ----------
    values : array (channel,)
    spot : array (channel, 2), m
        From `flat`.
    edge : float, m
        Radius of the disc.
    low, high : float
        Values of the ends of the colours.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from mne.viz import plot_topomap

    figure = Figure(figsize=(2.2, 2.2), dpi=110)
    FigureCanvasAgg(figure)
    axes: Any = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    plot_topomap(
        values, spot, axes=axes, sphere=(0, 0, 0, edge), vlim=(low, max(high, low + 1e-9)),
        cmap="RdBu_r" if low < 0 else "viridis", show=False, contours=0, sensors=False,
        extrapolate="head", res=96,
    )  # fmt: skip
    for line in axes.lines:
        line.set(color="#8a939d", linewidth=1.1)
    data = io.BytesIO()
    figure.savefig(data, format="png", transparent=True, metadata={"Software": None})
    return data.getvalue()
