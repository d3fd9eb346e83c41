"""fMRI in the report: how much of the voxels' responses images explain, by region and in the volume.

Comes in: what preprocessing stated of each voxel. Goes out: `Markup`: quartiles per region, a table, and
axial slices of the volume coloured by noise ceiling. One sample per trial has no time course to draw.
"""

from __future__ import annotations

import base64
import io

import numpy as np

from neurovis.report.markup import Markup, count, el, number, percent, plural
from neurovis.report.material import Evoked, Material, VoxelFacts
from neurovis.report.plots import Mark, dots
from neurovis.report.qc_fmri import mosaic
from neurovis.report.sections import table

MOST_REGIONS = 24
NAMES = {
    "noise_ceiling": "noise ceiling",
    "reliability": "reliability (ICC)",
    "tsnr": "temporal SNR",
}


def regions(material: Material) -> Markup | None:
    """Voxels of every subject; the first two open."""
    shown = [one for one in material.evoked if one.voxels is not None]
    if not shown:
        return None
    parts = []
    for place, one in enumerate(shown):
        title = f"Subject {one.subject}: {plural(len(one.evoked), 'voxel')}"
        body = _subject(one, one.voxels)
        if place < 2:
            parts += [el("h3", title), body]
        else:
            parts.append(el("details", el("summary", title), body))
    what = shown[0].voxels.ceiling
    note = el("p", "The noise ceiling is the share of the variance of single trials that the images "
              "explain, told from repeats in training alone.",
              f" Here: {what}." if what else "", class_="small")  # fmt: skip
    return Markup(note + Markup("".join(parts)))


def _known(facts: VoxelFacts) -> dict[str, np.ndarray]:
    """What is stated of at least one voxel."""
    known = {name: facts.stated[name] for name in NAMES if name in facts.stated}
    return {name: values for name, values in known.items() if np.isfinite(values).any()}


def _subject(one: Evoked, facts: VoxelFacts) -> Markup:
    known = _known(facts)
    if not known:
        return el("p", "Nothing is stated of these voxels: no image was repeated in training and no "
                  "time series was there.", class_="small")  # fmt: skip
    main = next(iter(known))
    groups = {"all": np.ones(len(one.evoked), bool)}
    groups |= {name: member for name, member in facts.roi.items() if member.any()}
    groups = dict(list(groups.items())[: MOST_REGIONS + 1])
    lines, rows = [], []
    say = percent if main == "noise_ceiling" else number
    for name, member in groups.items():
        values = known[main][member]
        values = values[np.isfinite(values)]
        if len(values):
            low, middle, high = np.percentile(values, [25, 50, 75])
            words = f"median {say(middle)}, quartiles {say(low)} and {say(high)}"
            lines.append((name, [Mark("s-tower", middle, low, high, words)]))
        cells = [number(float(np.nanmedian(v[member]))) if np.isfinite(v[member]).any() else "–"
                 for v in known.values()]  # fmt: skip
        rows.append([name, count(int(member.sum())), *cells])
    label = f"{NAMES[main][0].upper()}{NAMES[main][1:]} of voxels: median and quartiles"
    chart = dots(lines, f"{label}, by region", 0.0, "%" if main == "noise_ceiling" else "", zero=True,
                 caption=label)  # fmt: skip
    short = {"noise_ceiling": "Ceiling", "reliability": "ICC", "tsnr": "tSNR"}
    body = table(["Region", "Voxels", *(short[n] for n in known)], rows)
    body = Markup(body + el("p", "Medians over voxels.", class_="small"))
    slices = _slices(one, facts, main, known[main])
    return Markup(el("div", chart, el("div", body), class_="charts") + slices)


def _slices(one: Evoked, facts: VoxelFacts, name: str, values: np.ndarray) -> Markup:
    """Axial slices coloured by what is stated of each voxel."""
    if facts.index is None or facts.shape is None:
        return el("p", "No slices: the voxels have no place in a volume.", class_="small")
    picture, aspect = mosaic(facts, np.asarray(values, np.float32))
    top = max(float(np.nanpercentile(values, 99)), 1e-6)
    data = base64.b64encode(_png(picture, aspect, top)).decode()
    words = f"{NAMES[name]} of the voxels of subject {one.subject} in axial slices"
    image = el("img", src=Markup(f"data:image/png;base64,{data}"), alt=words, class_="slices")
    most = percent(top) if name == "noise_ceiling" else number(top)
    note = (
        f"{NAMES[name][0].upper()}{NAMES[name][1:]}: dark 0, bright {most} and more. Axial slices "
    )
    note += "from the lowest to the highest; right is the subject's right, up is the front."
    return el("figure", image, el("figcaption", note))


def _png(picture: np.ndarray, aspect: float, top: float) -> bytes:
    """A mosaic as a PNG with nothing behind the voxels."""
    import matplotlib
    from PIL import Image

    colours = matplotlib.colormaps["magma"](np.clip(np.nan_to_num(picture) / top, 0, 1))
    colours[~np.isfinite(picture), 3] = 0
    pixels = (255 * colours[::-1]).round().astype(np.uint8)
    zoom = max(1, round(1600 / picture.shape[1]))
    size = (picture.shape[1] * zoom, round(picture.shape[0] * zoom * aspect))
    data = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(data, "PNG", optimize=True)
    return data.getvalue()
