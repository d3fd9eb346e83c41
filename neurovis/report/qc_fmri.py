"""The quality page of one subject's fMRI: one self-contained HTML file made with mne.Report.

Comes in: the log of a subject's preprocessing. Goes out: ``qc.html`` with maps of the voxels (temporal
signal-to-noise ratio, regions, reliability), a histogram of noise ceilings, the first run's design and
what was dropped and why. It shows what was gathered on the way and reads no image again.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.report.markup import count, el, number
from neurovis.store import atomic

SLICES = 24  # at most so many in a mosaic
MARGIN = 1  # voxels around those that are shown


def write_fmri_page(path: str | Path, log: Any, steps: dict[str, Any]) -> None:
    """Write the page.

    Parameters
    ----------
    path : path
    log : neurovis.signals.fmri.storage.FmriLog
    steps : dict
        Options of preprocessing, printed on the page.
    """
    import mne

    figures = [
        ("Temporal signal-to-noise ratio", _value_map(log, "tsnr", "viridis", "mean / SD in time")),
        ("Regions", _regions(log)),
        ("Reliability", _value_map(log, "reliability", "magma", "ICC(1,1)")),
        ("Noise ceiling", _ceilings(log)),
        ("Design of the first run", _design(log)),
    ]
    with warnings.catch_warnings():
        # matplotlib and mne warn about fonts and layouts; the page is checked by eye and by test
        warnings.simplefilter("ignore")
        report = mne.Report(title=f"{log.dataset}: sub-{log.subject}", verbose="error")
        report.add_html(_summary(log), title="Summary")
        for title, figure in figures:
            if isinstance(figure, str):
                report.add_html(el("p", figure), title=title)
            else:
                report.add_figure(figure, title=title, image_format="png")
        report.add_html(_runs(log), title="Runs")
        report.add_html(_table(["option", "value"], [[k, v] for k, v in steps.items()]), "Steps")
        with atomic(path) as partial:
            page = partial.with_suffix(".html")
            try:
                report.save(page, open_browser=False, overwrite=True, verbose="error")
                page.replace(partial)
            finally:
                page.unlink(missing_ok=True)


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [el("tr", [el("th", h) for h in head])] if any(head) else []
    lines += [el("tr", [el("td", str(value)) for value in row]) for row in rows]
    return el("table", lines, class_="table table-sm", style="width:auto")


def _summary(log: Any) -> str:
    trials = sum(run["trials"] for run in log.runs)
    rows = [
        ["runs", count(len(log.runs))],
        ["trials", count(trials)],
        ["voxels", f"{count(len(log.voxels))} of {count(log.asked)} given"],
    ]
    rows += [["voxels dropped", f"{count(n)}: {why}"] for why, n in log.dropped.items() if n]
    for name, counts in log.repeats.items():
        shown = ", ".join(f"{n} images x {k}" for k, n in sorted(counts.items()))
        rows.append([f"repeats in {name}", shown])
    for name, values in log.stated.items():
        low, middle, high = np.percentile(values, [5, 50, 95])
        spread = f"median {number(middle)}, 5 to 95 % of voxels {number(low)} to {number(high)}"
        rows.append([name.replace("_", " "), spread])
    if log.measured_on:
        rows.append(["reliability and ceiling from", f"repeats of {log.measured_on} images"])
    rows.append(["unit", log.unit])
    rows += [["note", note] for note in log.notes]
    return _table(["", ""], rows)


def _runs(log: Any) -> str:
    rows = [[run["name"], run["trials"], "; ".join(run["notes"])] for run in log.runs]
    return _table(["run", "trials", "notes"], rows)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=80)


def mosaic(voxels: Any, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Axial slices side by side, from the lowest to the highest.

    Parameters
    ----------
    voxels : neurovis.signals.fmri.voxels.Voxels
        With a place in a volume.
    values : array (voxel,)

    Returns
    -------
    picture : array (y, x) float32
        First row at the bottom: to the right is the subject's right, up is the front. NaN outside.
    aspect : float
        Height of a voxel over its width.
    """
    from nibabel.orientations import apply_orientation, io_orientation

    affine = np.eye(4) if voxels.affine is None else np.asarray(voxels.affine)
    low = np.maximum(voxels.index.min(axis=0) - MARGIN, 0)
    high = np.minimum(voxels.index.max(axis=0) + MARGIN + 1, voxels.shape)
    box = np.full(high - low, np.nan, np.float32)
    box[tuple((voxels.index - low).T)] = values
    turn = io_orientation(affine)
    box = apply_orientation(box, turn)
    size = np.empty(3)
    size[turn[:, 0].astype(int)] = np.linalg.norm(affine[:3, :3], axis=0)
    used = np.flatnonzero(np.isfinite(box).any(axis=(0, 1)))
    if len(used) > SLICES:
        used = used[np.linspace(0, len(used) - 1, SLICES).round().astype(int)]
    width, height = box.shape[0] * size[0], box.shape[1] * size[1]
    columns = int(np.clip(round(np.sqrt(len(used) * 2.2 * height / width)), 1, len(used)))
    rows = -(-len(used) // columns)
    picture = np.full((rows * box.shape[1], columns * box.shape[0]), np.nan, np.float32)
    for number_, k in enumerate(used):
        row, column = rows - 1 - number_ // columns, number_ % columns
        picture[
            row * box.shape[1] : (row + 1) * box.shape[1],
            column * box.shape[0] : (column + 1) * box.shape[0],
        ] = box[:, :, k].T
    return picture, float(size[1] / size[0])


def _canvas(picture: np.ndarray, aspect: float) -> tuple[Any, Any]:
    height = 9.0 * picture.shape[0] * aspect / picture.shape[1]
    figure = _figure(10.0, float(np.clip(height, 1.8, 9.0)) + 0.6)
    axis = figure.subplots()
    axis.set_facecolor("0.93")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    return figure, axis


def _value_map(log: Any, name: str, colours: str, label: str) -> Any:
    if name not in log.stated:
        why = {
            "tsnr": "The responses came without time series.",
            "reliability": "No two images were repeated, so that it cannot be told.",
        }
        return why[name]
    values = log.stated[name]
    top = max(float(np.percentile(values, 99)), 1e-6)
    low, middle, high = np.percentile(values, [5, 50, 95])
    title = f"median {number(middle)}, 5 to 95 % of voxels: {number(low)} to {number(high)}"
    if log.voxels.index is None:
        figure = _figure(7.0, 3.0)
        axis = figure.subplots()
        axis.hist(values, 60, color="tab:blue")
        axis.set(xlabel=label, ylabel="vertices", title=title)
        axis.spines[["top", "right"]].set_visible(False)
        return figure
    picture, aspect = mosaic(log.voxels, values)
    figure, axis = _canvas(picture, aspect)
    drawn = axis.imshow(
        picture, cmap=colours, vmin=0, vmax=top, origin="lower", aspect=aspect,
        interpolation="nearest",
    )  # fmt: skip
    axis.set_title(title)
    axis.set_xlabel("axial slices from the lowest; right is right, up is the front")
    figure.colorbar(drawn, ax=axis, label=label, shrink=0.8, extend="both")
    return figure


def _regions(log: Any) -> Any:
    regions = {name: member for name, member in log.voxels.roi.items() if member.any()}
    if not regions:
        return "The dataset states no region."
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    # small regions are drawn over large ones, which would hide them
    names = sorted(regions, key=lambda name: -int(regions[name].sum()))
    shown = names[:20]
    colours = [colormaps["tab20"](i) for i in range(len(shown))]
    if log.voxels.index is None:
        figure = _figure(7.0, 0.6 + 0.3 * len(shown))
        axis = figure.subplots()
        axis.barh(shown[::-1], [int(regions[n].sum()) for n in shown[::-1]], color=colours[::-1])
        axis.set_xlabel("vertices")
        axis.spines[["top", "right"]].set_visible(False)
        return figure
    number_of = np.zeros(len(log.voxels), np.float32)
    for i, name in enumerate(shown, start=1):
        number_of[regions[name]] = i
    picture, aspect = mosaic(log.voxels, number_of)
    figure, axis = _canvas(picture, aspect)
    axis.imshow(
        picture, cmap=ListedColormap([(0.75, 0.75, 0.75, 1), *colours]), vmin=-0.5,
        vmax=len(shown) + 0.5, origin="lower", aspect=aspect, interpolation="nearest",
    )  # fmt: skip
    handles = [
        Patch(color=colour, label=f"{name} ({int(regions[name].sum())})")
        for name, colour in zip(shown, colours)
    ]
    if (number_of == 0).any():
        handles.append(
            Patch(color="0.75", label=f"in none of them ({int((number_of == 0).sum())})")
        )
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9)
    hidden = f"; {len(names) - len(shown)} more not drawn" if len(names) > len(shown) else ""
    axis.set_title(f"{len(names)} regions, small ones over large ones{hidden}")
    return figure


def _ceilings(log: Any) -> Any:
    if "noise_ceiling" not in log.stated:
        return "No two images were repeated, so that it cannot be told."
    values = log.stated["noise_ceiling"]
    figure = _figure(8.0, 3.2)
    axis = figure.subplots()
    edges = np.linspace(0, max(0.05, float(values.max())), 51)
    axis.hist(100 * values, 100 * edges, color="0.8", label=f"all {count(len(values))} voxels")
    regions = {n: m for n, m in log.voxels.roi.items() if 0 < m.sum() < len(values)}
    for name in sorted(regions, key=lambda n: -float(np.median(values[regions[n]])))[:6]:
        axis.hist(
            100 * values[regions[name]], 100 * edges, histtype="step", linewidth=1.5, label=name
        )
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylim(bottom=0)
    axis.set(
        xlabel="noise ceiling of single trials (% of variance explained)", ylabel="voxels",
        title=f"median {number(100 * float(np.median(values)))} %, from repeats of "
        f"{log.measured_on} images",
    )  # fmt: skip
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    return figure


def _design(log: Any) -> Any:
    if log.design is None:
        return "The responses came without a first-level model."
    matrix, names = log.design
    matrix = np.asarray(matrix, float)
    shown = matrix / np.maximum(np.abs(matrix).max(axis=0), 1e-12)
    trials = sum(name.startswith("trial") for name in names)
    figure = _figure(9.0, 4.5)
    axis = figure.subplots()
    drawn = axis.imshow(
        shown, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest"
    )
    axis.axvline(trials - 0.5, color="k", linewidth=1)
    if len(names) - trials <= 40:
        axis.set_xticks(range(trials, len(names)), names[trials:], rotation=90, fontsize=7)
    axis.set(
        xlabel=f"{trials} regressors of trials, then {len(names) - trials} of no trial",
        ylabel=f"volume (every {1 / log.sfreq:.3g} s)",
    )
    figure.colorbar(drawn, ax=axis, label="over the regressor's maximum", shrink=0.8)
    return figure
