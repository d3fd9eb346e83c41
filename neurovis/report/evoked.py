"""Evoked responses: all channels, global field power, and maps of the scalp at its peaks.

Comes in: the mean response of each subject to the test images. Goes out: `Markup`. Lines are coloured
from the back of the head to the front; maps are drawn by MNE on positions flattened around the
centre of the sensors, and left out where positions are unknown or too few.
"""

from __future__ import annotations

import base64

import numpy as np

from neurovis.report.markup import Markup, el, number, plural
from neurovis.report.material import Evoked, Material
from neurovis.report.plots import Axes, tick_labels, ticks
from neurovis.report.scalp import flat, topography

N_PEAKS = 3
N_LINES = 300
N_TIMES = 220
FEWEST_FOR_MAP = 12
SHADES = 5
KINDS = {"mag": "MEG", "grad": "MEG, planar", "eeg": "EEG"}


def evoked(material: Material) -> Markup | None:
    """Responses of every subject; the first two open."""
    shown = [one for one in material.evoked if (one.channel_type != "voxel").any()]
    if not shown:
        return None
    parts = []
    for number_, one in enumerate(shown):
        body = _subject(one)
        title = f"Subject {one.subject}: mean of {plural(one.n, 'test trial')}"
        if number_ < 2:
            parts += [el("h3", title), body]
        else:
            parts.append(el("details", el("summary", title), body))
    note = el("p", "Each line is a channel, coloured from the back", el("span", class_="ramp"),
              "to the front of the head; below, the global field power (the spread over channels). Zero is "
              "picture onset. Responses are as the decoder sees them, after preprocessing.",
              class_="small")  # fmt: skip
    return Markup(note + Markup("".join(parts)))


def _subject(one: Evoked) -> Markup:
    kinds = [
        k for k in dict.fromkeys(one.channel_type.tolist()) if (one.channel_type == k).sum() > 0
    ]
    main = max(kinds, key=lambda k: int((one.channel_type == k).sum()))
    rows = one.channel_type == main
    signal, position = one.evoked[rows].astype(np.float64), one.channel_position[rows]
    power = signal.std(axis=0) if len(signal) > 1 else np.abs(signal[0])
    peaks = _peaks(power, one.times)
    name = KINDS.get(main, main)
    figure = el("figure", el("figcaption", f"{len(signal)} channels ({name}), {_unit(one.unit)}"),
                _butterfly(one, signal, position, peaks), _power(one, power, peaks))  # fmt: skip
    rest = [
        f"{plural(int((one.channel_type == k).sum()), 'channel')} of type {k}"
        for k in kinds
        if k != main
    ]
    note = el("p", f"Not drawn: {', '.join(rest)}.", class_="small") if rest else None
    maps = _maps(one, signal, position, peaks)
    return Markup(el("div", figure, el("div", maps, note), class_="charts"))


def _unit(unit: str) -> str:
    return "scaled units" if unit in ("", "1") else _readable(unit, 0.0)[1] or unit


def _peaks(power: np.ndarray, times: np.ndarray) -> list[int]:
    """Samples of the highest peaks of the global field power after onset, in order of time."""
    from scipy.signal import find_peaks

    step = float(times[1] - times[0]) if len(times) > 1 else 1.0
    found, about = find_peaks(power, distance=max(1, round(0.04 / step)), prominence=0.0)
    after = times[found] > 0.02
    found, prominence = found[after], about["prominences"][after]
    best = found[np.argsort(-prominence, kind="stable")[:N_PEAKS]]
    return sorted(best.tolist())


def _axes(one: Evoked, low: float, high: float, height: float) -> Axes:
    axes = Axes((float(one.times[0]), float(one.times[-1])), (low, high), height=height)
    marks = ticks(*axes.x_range, 8)
    y_ticks = ticks(low, high, 4 if height > 150 else 2)
    power = max(abs(low), abs(high))
    labels = tick_labels(y_ticks) if 1e-3 < power < 1e5 else [number(v, 2) for v in y_ticks]
    axes.grid(marks, y_ticks, [f"{1000 * v:.0f}".replace("-", "−") for v in marks], labels)
    if low < 0 < high or one.times[0] < 0:
        axes.upright(0.0)
    return axes


def _butterfly(one: Evoked, signal: np.ndarray, position: np.ndarray, peaks: list[int]) -> Markup:
    top = float(np.abs(signal).max()) * 1.05 or 1.0
    scale, mark = _readable(one.unit, top)
    axes = _axes(one, -top * scale, top * scale, 250)
    some = np.unique(np.linspace(0, len(signal) - 1, min(len(signal), N_LINES)).astype(int))
    step = max(1, len(one.times) // N_TIMES)
    axes.bundle(one.times[::step], scale * signal[some][:, ::step], _shades(position)[some])
    for peak in peaks:
        axes.upright(float(one.times[peak]))
    axes.titles("", mark)
    words = ", ".join(f"{1000 * one.times[p]:.0f} ms" for p in peaks) or "none"
    return axes.svg(f"Response of every channel of subject {one.subject}; peaks at {words}")


def _readable(unit: str, top: float) -> tuple[float, str]:
    """Factor and name of a unit in which values are easy to read."""
    for base, factor, name in (("V", 1e6, "µV"), ("T", 1e15, "fT"), ("T/m", 1e13, "fT/cm")):
        if unit == base and top < 1e-2:
            return factor, name
    return 1.0, ""


def _power(one: Evoked, power: np.ndarray, peaks: list[int]) -> Markup:
    scale, _ = _readable(one.unit, float(power.max()))
    power = power * scale
    axes = _axes(one, 0.0, float(power.max()) * 1.15 or 1.0, 120)
    axes.bundle(one.times, power[None], ["gfp"])
    for peak in peaks:
        x, y = axes.x(float(one.times[peak])), axes.y(float(power[peak]))
        axes.add(el("circle", class_="peak", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3))
    axes.titles("time after picture onset (ms)", "global field power")
    return axes.svg(f"Global field power of subject {one.subject}")


def _shades(position: np.ndarray) -> np.ndarray:
    """Class of each channel's line: from the back of the head (q0) to the front (q4)."""
    forward = position[:, 1]
    known = np.isfinite(forward)
    shade = np.full(len(forward), SHADES - 1)
    if known.sum() > 1 and np.ptp(forward[known]) > 0:
        rank = (forward[known] - forward[known].min()) / np.ptp(forward[known])
        shade[known] = np.minimum((rank * SHADES).astype(int), SHADES - 1)
    return np.array([f"q{s}" for s in shade])


def _maps(one: Evoked, signal: np.ndarray, position: np.ndarray, peaks: list[int]) -> Markup:
    known = np.isfinite(position).all(axis=1)
    places = len(np.unique(np.round(position[known], 5), axis=0))
    reason = None
    if known.sum() < FEWEST_FOR_MAP:
        n = int(known.sum())
        reason = f"No maps of the scalp: {plural(n, 'channel')} with a known position, {FEWEST_FOR_MAP} are needed."  # fmt: skip
    elif places < known.sum():
        reason = "No maps of the scalp: several channels share a position."
    elif not peaks:
        reason = "No maps of the scalp: the global field power has no peak after picture onset."
    if reason:
        return el("p", reason, class_="small")
    spot, edge = flat(position[known].astype(np.float64))
    # sensors of a helmet reach below the equator: the disc holds them all
    edge = max(edge, 1.02 * float(np.linalg.norm(spot, axis=1).max()))
    limit = float(np.abs(signal[known][:, peaks]).max()) or 1.0
    scale, unit = _readable(one.unit, limit)
    figures = []
    for peak in peaks:
        data = base64.b64encode(topography(signal[known, peak], spot, edge, -limit, limit)).decode()
        when = f"{1000 * one.times[peak]:.0f} ms"
        image = el("img", src=Markup(f"data:image/png;base64,{data}"), width="150", height="150",
                   alt=f"Map of the scalp of subject {one.subject} at {when}")  # fmt: skip
        figures.append(el("figure", image, el("figcaption", when)))
    most = f"{number(limit * scale, 2)} {unit}".rstrip()
    span = "Seen from above, nose up, at the peaks of the global field power. "
    span += f"Red: up to +{most}, blue: down to −{most}."
    return Markup(el("div", figures, class_="maps") + el("p", span, class_="small"))
