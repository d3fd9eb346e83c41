"""The quality page of one subject: one self-contained HTML file made with mne.Report.

Comes in: the log of a subject's preprocessing. Goes out: ``qc.html`` with evoked responses, what was
rejected and why, power before and after, the channel map. It shows what was gathered on the way and
reads no signal again.
"""

from __future__ import annotations

import html
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.store import atomic

UNITS = {"mag": ("fT", 1e15), "grad": ("fT/cm", 1e13), "eeg": ("µV", 1e6)}


def write_page(path: str | Path, log: Any, steps: dict[str, Any]) -> None:
    """Write the page.

    Parameters
    ----------
    path : path
    log : neurovis.signals.subject.SubjectLog
    steps : dict
        Options of preprocessing, printed on the page.
    """
    import mne

    with warnings.catch_warnings():
        # matplotlib and mne warn about fonts and layouts; the page is checked by eye and by test
        warnings.simplefilter("ignore")
        report = mne.Report(title=f"{log.dataset}: sub-{log.subject}", verbose="error")
        report.add_html(_summary(log), title="Summary")
        report.add_figure(_evoked(log), title="Evoked responses", image_format="png")
        report.add_html(_rejected(log), title="Rejected trials and bad channels")
        if len(log.frequency):  # epochs that the owners cut have no spectrum worth showing
            report.add_figure(_spectra(log), title="Power before and after", image_format="png")
        report.add_figure(_map(log), title="Channel map", image_format="png")
        report.add_html(
            _table(["option", "value"], [[k, v] for k, v in steps.items()]), title="Steps"
        )
        with atomic(path) as partial:
            page = partial.with_suffix(".html")
            try:
                report.save(page, open_browser=False, overwrite=True, verbose="error")
                page.replace(partial)
            finally:
                page.unlink(missing_ok=True)


def _table(head: list[str], rows: list[list[Any]]) -> str:
    cell = lambda tag, value: f"<{tag}>{html.escape(str(value))}</{tag}>"  # noqa: E731
    lines = ["".join(cell("th", h) for h in head)]
    lines += ["".join(cell("td", value) for value in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table class="table table-sm" style="width:auto">{body}</table>'


def _summary(log: Any) -> str:
    kept = sum(run["trials"] for run in log.runs)
    lost = sum(sum(run["rejected"].values()) for run in log.runs)
    rows = [
        ["runs", len(log.runs)],
        ["trials kept", kept],
        ["trials rejected", lost],
        ["channels", f"{len(log.names) - len(log.dropped)} ({len(log.dropped)} dropped)"],
        ["sampling rate", f"{log.recorded_sfreq:g} Hz recorded, {log.sfreq:g} Hz kept"],
    ]
    for name, counts in log.repeats.items():
        shown = ", ".join(f"{n} images x {k}" for k, n in sorted(counts.items()))
        rows.append([f"repeats in {name}", shown])
    return _table(["", ""], rows)


def _rejected(log: Any) -> str:
    rows = []
    for run in log.runs:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in sorted(run["rejected"].items()))
        bad = "; ".join(f"{name}: {reason}" for name, reason in run["bad"].items())
        rows.append([run["name"], run["trials"], reasons, bad, "; ".join(run["notes"])])
    return _table(["run", "kept", "rejected", "bad channels", "notes"], rows)


def _axes(count: int, width: float = 8.0, height: float = 3.0) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * count), layout="constrained", dpi=80)
    axes = figure.subplots(count, 1, squeeze=False)[:, 0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def _bundle(axis: Any, x: np.ndarray, lines: np.ndarray, width: float) -> None:
    """One thin grey line per channel, drawn as one object: hundreds of them cost seconds otherwise."""
    from matplotlib.collections import LineCollection

    points = np.stack([np.broadcast_to(x, lines.shape), lines], axis=-1)
    axis.add_collection(LineCollection(points, colors="0.6", linewidths=width))
    axis.set_xlim(x[0], x[-1])
    axis.set_ylim(lines.min(), lines.max())


def _evoked(log: Any) -> Any:
    kind = max(set(log.types), key=log.types.count)
    chosen = np.flatnonzero(np.array(log.types) == kind)
    unit, factor = UNITS[kind] if not log.unit else ("scaled", 1.0)
    figure, axes = _axes(max(1, len(log.evoked)))
    for axis, (name, total) in zip(axes, sorted(log.evoked.items())):
        mean = factor * total[chosen] / max(1, log.n_evoked[name])
        times = 1000 * (log.tmin + np.arange(mean.shape[1]) / log.sfreq)
        _bundle(axis, times, mean, 0.5)
        axis.plot(times, mean.std(axis=0), color="tab:red", linewidth=2, label="SD over channels")
        axis.axvline(0, color="k", linewidth=0.8)
        axis.set(
            title=f"{name}: mean of {log.n_evoked[name]} trials, {len(chosen)} {kind} channels"
        )
        axis.set(xlabel="time (ms)", ylabel=unit)
        axis.legend(loc="upper right", frameon=False)
    return figure


def _spectra(log: Any) -> Any:
    figure, axes = _axes(2)
    limit = min(len(log.frequency), int(1.5 * log.sfreq) + 50)
    kind = max(set(log.types), key=log.types.count)
    chosen = np.flatnonzero(np.array(log.types) == kind)
    unit, factor = UNITS[kind]
    for axis, power, title in zip(axes, (log.before, log.after), ("as recorded", "filtered")):
        density = np.sqrt(np.maximum(power[chosen, :limit] / max(1, len(log.runs)), 1e-60)) * factor
        _bundle(axis, log.frequency[:limit], density, 0.4)
        median = np.median(density, axis=0)
        axis.semilogy(log.frequency[:limit], median, color="tab:blue", linewidth=2, label="median")
        axis.set(title=title, xlabel="frequency (Hz)", ylabel=f"{unit}/√Hz")
        axis.set_ylim(max(1e-4 * median.max(), 1e-12), 2 * density.max())
        axis.legend(loc="upper right", frameon=False)
    return figure


def _map(log: Any) -> Any:
    figure, (axis,) = _axes(1, 6.0, 6.0)
    known = np.isfinite(log.position).all(axis=1)
    bad = {name for run in log.runs for name in run["bad"]}
    if not known.any():
        axis.text(0.5, 0.5, "the recording states no sensor positions", ha="center")
        axis.set_axis_off()
        return figure
    place = log.position[known] - np.nanmean(log.position, axis=0)
    # azimuthal: the angle from the top becomes the distance from the middle
    angle = np.arctan2(np.hypot(place[:, 0], place[:, 1]), place[:, 2])
    direction = place[:, :2] / np.maximum(np.hypot(place[:, 0], place[:, 1]), 1e-9)[:, None]
    x, y = (angle[:, None] * direction).T
    names = np.array(log.names)[known]
    is_bad = np.isin(names, list(bad))
    axis.scatter(x[~is_bad], y[~is_bad], s=18, color="0.4")
    axis.scatter(x[is_bad], y[is_bad], s=40, color="tab:red", label="bad in some run")
    for name, a, b, wrong in zip(names, x, y, is_bad):
        if wrong or len(names) <= 80:
            axis.annotate(name, (a, b), fontsize=7, xytext=(2, 2), textcoords="offset points")
    axis.set(aspect="equal", title=f"{known.sum()} of {len(known)} channels, front is up")
    axis.set_axis_off()
    if is_bad.any():
        axis.legend(loc="lower right", frameon=False)
    return figure
