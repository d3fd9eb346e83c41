"""Maps of encoding models: slices or surfaces of voxels, topographies of sensors.

Comes in: ``sub-*/encoding.h5``. Goes out: pictures as `Markup`. Voxels with a place in a volume become axial
slices; vertices of fsaverage5 are drawn flat by nilearn, whose package holds that mesh; sensors are drawn
by MNE at the times at which the models predict best.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurovis.report.markup import Markup, el, number
from neurovis.report.qc_fmri import mosaic
from neurovis.report.scalp import flat, topography
from neurovis.store import dataset, open_h5

if TYPE_CHECKING:
    from neurovis.report.encoding import Encoded

MESH = 10242
"""Vertices of one hemisphere of fsaverage5."""
COLOURS = ("#0067b0", "#cc5500", "#00805c", "#a3478a", "#8a6d00", "#717a84")
MOST = 4
"""Models that are drawn per subject."""
FEWEST = 8
"""Sensors that a topography needs."""


def arrays(folder: Path, subject: str) -> Callable[[str], np.ndarray | None]:
    """A reader of one subject's arrays; None for what is not there."""
    path = folder / f"sub-{subject}" / "encoding.h5"

    def read(name: str) -> np.ndarray | None:
        with open_h5(path, "neurovis-encoding") as file:
            return dataset(path, file, name)[()] if name in file else None

    return read


def _attributes(folder: Path, subject: str) -> dict[str, Any]:
    with open_h5(folder / f"sub-{subject}" / "encoding.h5", "neurovis-encoding") as file:
        return dict(file.attrs)


class _Place:
    """Where a subject's voxels are, as `mosaic` asks for it."""

    def __init__(self, index: np.ndarray, about: dict[str, Any]):
        self.index, self.affine = index.astype(int), about.get("affine")
        self.shape = tuple(map(int, about["shape"]))


def maps(one: Encoded) -> Markup | None:
    """Voxels of every subject; the first open."""
    if one.head["modality"] != "fmri":
        return None
    parts = []
    for place, subject in enumerate(one.head["subjects"]):
        read, about = arrays(one.folder, subject), _attributes(one.folder, subject)
        draw = _drawer(read, about)
        if draw is None:
            parts.append(el("p", f"Subject {subject}: voxels have no place in a volume and are no vertices of "
                            "fsaverage5; there is no map.", class_="small"))  # fmt: skip
            continue
        body = _subject(one, read, draw)
        title = f"Subject {subject}"
        parts.append(Markup(el("h3", title) + body) if place == 0 else el("details", el("summary", title), body))  # fmt: skip
    return Markup("".join(parts))


def _subject(one: Encoded, read: Callable, draw: Callable) -> Markup:
    keep = read("chosen").astype(bool)
    figures = []
    measure = one.measure
    real = [s for s in one.head["systems"] if not s["shuffled"]]
    alone = [s["name"] for s in real if len(s["families"]) == 1][:MOST]
    shown = [(s, read(f"systems/{s}/{measure}")) for s in alone]
    top = max([float(np.percentile(v[keep], 99)) for _, v in shown if v is not None and keep.any()] + [1e-6])  # fmt: skip
    for system, values in shown:
        if values is not None:
            words = f"{one.named(system)}: dark 0 and less, bright {number(top, 2)} and more"
            figures.append(draw(np.where(keep, values, np.nan), words, top))
    for readout in dict.fromkeys(s["readout"] for s in real):
        winner = read(f"best/{readout}/family")
        if winner is not None:
            names = [s["families"][0] for s in real if s["readout"] == readout and len(s["families"]) == 1]  # fmt: skip
            figures.append(_winners(draw, np.where(keep, winner, np.nan), names, readout))
    ceiling = read(f"ceiling/{one.head['ceiling']}")
    if ceiling is not None:
        most = max(float(np.percentile(ceiling, 99)), 1e-6)
        words = f"Noise ceiling ({one.head['ceiling']}) of mean test responses: dark 0, bright {number(most, 2)}"  # fmt: skip
        figures.append(draw(ceiling, words, most))
    note = el("p", "Only scored voxels are coloured, but for the ceiling. In slices right is the subject's "
              "right and up is the front.", class_="small")  # fmt: skip
    return Markup(note + "".join(figures))


def _winners(draw: Callable, winner: np.ndarray, names: list[str], readout: str) -> Markup:
    keys = [
        Markup(f'<span><span class="key" style="outline:none;background:{COLOURS[i % len(COLOURS)]}"></span> ')
        + el("span", name) + Markup("</span>")
        for i, name in enumerate(names)
    ]  # fmt: skip
    figure = draw(winner, f"The family that predicts best ({readout})", len(names), COLOURS)
    return Markup(el("p", [Markup(k) for k in keys], class_="legend") + figure)


def _drawer(read: Callable, about: dict[str, Any]) -> Callable[..., Markup] | None:
    """What draws values of voxels: slices, or flat hemispheres."""
    index = read("index")
    if index is not None and "shape" in about:
        facts = _Place(index, about)
        return lambda values, words, top, colours=None: _slices(facts, values, words, top, colours)
    names = read("channel_name")
    short = [str(n).rsplit("/", 1)[-1] for n in names.tolist()]
    sides = np.array([n[:2] for n in short])
    if not np.isin(sides, ["lh", "rh"]).all() or not all(n[2:].isdecimal() for n in short):
        return None
    vertex = np.array([int(n[2:]) for n in short])
    if vertex.max() >= MESH:
        return None
    return lambda values, words, top, colours=None: _flat(
        sides, vertex, values, words, top, colours
    )


def _coloured(picture: np.ndarray, top: float, colours: Any) -> np.ndarray:
    import matplotlib
    from matplotlib.colors import to_rgba

    known = np.isfinite(picture)
    if colours is None:
        rgba = matplotlib.colormaps["magma"](np.clip(np.nan_to_num(picture) / top, 0, 1))
    else:
        wheel = np.array([to_rgba(c) for c in colours])
        rgba = wheel[np.nan_to_num(picture).astype(int) % len(wheel)]
    rgba[~known, 3] = 0
    return rgba


def _slices(facts: Any, values: np.ndarray, words: str, top: float, colours: Any) -> Markup:
    from PIL import Image

    picture, aspect = mosaic(facts, np.asarray(values, np.float32))
    inside, _ = mosaic(facts, np.zeros(len(values), np.float32))
    rgba = _coloured(picture, top, colours)
    # voxels that are not coloured are there, too
    rest = np.isfinite(inside) & ~np.isfinite(picture)
    rgba[rest] = (0.6, 0.62, 0.65, 0.35)
    pixels = (255 * rgba[::-1]).round().astype(np.uint8)
    zoom = max(1, round(1400 / picture.shape[1]))
    size = (picture.shape[1] * zoom, round(picture.shape[0] * zoom * aspect))
    data = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(data, "PNG", optimize=True)
    return _figure(data.getvalue(), words, "slices")


def _flat(
    sides: np.ndarray, vertex: np.ndarray, values: np.ndarray, words: str, top: float, colours: Any
) -> Markup:
    """Both hemispheres flattened, by nilearn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from nilearn.datasets import fetch_surf_fsaverage
    from nilearn.surface import load_surf_mesh

    mesh = fetch_surf_fsaverage("fsaverage5")
    figure = Figure(figsize=(9, 4), dpi=110)
    FigureCanvasAgg(figure)
    for number_, (side, name) in enumerate((("lh", "left"), ("rh", "right"))):
        axes = figure.add_axes((0.5 * number_, 0, 0.5, 1))
        found = load_surf_mesh(mesh[f"flat_{name}"])
        whole = np.full(MESH, np.nan)
        whole[vertex[sides == side]] = values[sides == side]
        # faces that the flattening cut are long: they are left out
        corners = found.coordinates[found.faces][:, :, :2]
        sizes = np.ptp(corners, axis=1).max(1)
        faces = found.faces[sizes < 10 * np.median(sizes)]
        x, y = found.coordinates[:, 0], found.coordinates[:, 1]
        axes.tripcolor(
            x, y, faces, np.zeros(MESH), cmap=ListedColormap(["#dcdfe3"]), shading="flat"
        )
        mean = whole[faces].max(1) if colours is not None else whole[faces].mean(1)
        use = np.isfinite(mean)
        if use.any():
            rgba = _coloured(mean[use], top, colours)
            drawn = axes.tripcolor(x, y, faces[use], facecolors=np.arange(use.sum()))
            drawn.set(array=None, facecolors=rgba)
        axes.set(aspect="equal")
        axes.axis("off")
    data = io.BytesIO()
    figure.savefig(data, format="png", transparent=True, metadata={"Software": None})
    return _figure(data.getvalue(), f"{words}. fsaverage5, flat, left and right", "slices")


def _figure(data: bytes, words: str, class_: str) -> Markup:
    url = Markup(f"data:image/png;base64,{base64.b64encode(data).decode()}")
    return el("figure", el("figcaption", words), el("img", src=url, alt=words, class_=class_))


def topographies(one: Encoded) -> Markup | None:
    """Sensors coloured by correlation, at the times at which models predict best."""
    if one.head["modality"] == "fmri":
        return None
    real = [s for s in one.head["systems"] if not s["shuffled"] and len(s["families"]) == 1][:MOST]
    parts = []
    for subject in one.head["subjects"]:
        read = arrays(one.folder, subject)
        position, times, kind = read("channel_position"), read("times"), read("channel_type")
        known = np.isfinite(position).all(1) & (kind != "grad")
        n = len(np.unique(np.round(position[known], 5), axis=0))
        if n < FEWEST or n < known.sum():
            parts.append(el("p", f"Subject {subject}: no maps of the scalp, as {n} sensors have a place of "
                            f"their own; {FEWEST} are needed.", class_="small"))  # fmt: skip
            continue
        curves = [read(f"systems/{s['name']}/time") for s in real]
        peaks = [0]
        if curves[0] is not None:
            highest = np.max([c[0] for c in curves if c is not None], axis=0)
            # before the picture there is nothing to predict
            after = times >= 0 if (times >= 0).any() else np.ones(len(times), bool)
            peaks = [int(np.flatnonzero(after)[p]) for p in _peaks(highest[after])]
        spot, edge = flat(position[known].astype(float))
        edge = max(edge, 1.02 * float(np.linalg.norm(spot, axis=1).max()))
        for system in real:
            values = read(f"systems/{system['name']}/pearson").reshape(len(position), len(times))
            limit = max(float(np.abs(values[known][:, peaks]).max()), 1e-6)
            shown = [
                el("figure", el("img", src=_png(values[known, p], spot, edge, limit), width="150", height="150",
                                alt=f"{one.named(system['name'])} at {1000 * times[p]:.0f} ms"),
                   el("figcaption", f"{1000 * times[p]:.0f} ms"))
                for p in peaks
            ]  # fmt: skip
            parts.append(el("h3", f"Subject {subject}, {one.named(system['name'])}"))
            parts.append(el("div", shown, class_="maps"))
            parts.append(el("p", f"Correlation: red up to {number(limit, 2)}, blue below 0. Seen from above, "
                            "nose up.", class_="small"))  # fmt: skip
    return Markup("".join(parts))


def _peaks(curve: np.ndarray, most: int = 5) -> list[int]:
    """The highest times, apart from each other, in order."""
    if len(curve) < 3:
        return list(range(len(curve)))
    apart, left, found = max(1, len(curve) // 12), curve.copy(), []
    for _ in range(most):
        place = int(np.argmax(left))
        if not np.isfinite(left[place]):
            break
        found.append(place)
        left[max(0, place - apart) : place + apart + 1] = -np.inf
    return sorted(found)


def _png(values: np.ndarray, spot: np.ndarray, edge: float, limit: float) -> Markup:
    data = base64.b64encode(topography(values, spot, edge, -limit, limit)).decode()
    return Markup(f"data:image/png;base64,{data}")
