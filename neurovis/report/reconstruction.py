"""What was seen beside what the decoder makes of it, where its target is pictures.

Comes in: ``systems/<system>/reconstruction.h5``, the pictures that a run's predictions stand for. Goes
out: one row per picture seen, all trials of it in the order of recordings: none is picked.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.report.markup import Markup, el, plural
from neurovis.store import dataset, open_h5

if TYPE_CHECKING:
    from neurovis.report.material import Material
    from neurovis.report.pictures import Pictures

MOST_IMAGES = 24
MOST_TILES = 16
STYLE = "display:block;width:100%;image-rendering:pixelated;border-radius:4px"


@dataclass(frozen=True)
class Reconstructed:
    """Pictures that one system's predictions stand for.

    Parameters
    ----------
    image, subject, recording : array of str (row,)
    n_averaged : array of int (row,)
    picture : dict of array (row, height, width, 3) uint8
        By target.
    """

    image: np.ndarray
    subject: np.ndarray
    recording: np.ndarray
    n_averaged: np.ndarray
    picture: Mapping[str, np.ndarray]


def read_reconstructions(run: Path) -> dict[str, Reconstructed]:
    """Reconstructions by system; nothing where a run has none.

    Raises
    ------
    NeurovisError
        If a file is damaged, or its columns are of unlike lengths.
    """
    found = {}
    for path in sorted((run / "systems").glob("*/reconstruction.h5")):
        with open_h5(path, "neurovis-reconstruction") as file:
            names = ("image", "subject", "recording", "n_averaged")
            rows = {name: dataset(path, file, name)[()] for name in names}
            targets = dataset(path, file, "picture")
            pictures = {target: dataset(path, targets, target)[()] for target in targets}
        n = len(rows["image"])
        good = all(
            value.dtype == np.uint8 and value.ndim == 4 and value.shape[::3] == (n, 3)
            for value in pictures.values()
        )
        if not good or any(len(value) != n for value in rows.values()):
            raise NeurovisError(
                f"{path}: expected pictures (row, height, width, 3) of {n} rows, found other lengths; train "
                "anew to write it."
            )
        found[path.parent.name] = Reconstructed(**rows, picture=pictures)
    return found


def reconstructions(
    material: Material, found: Mapping[str, Reconstructed], pictures: Pictures
) -> Markup | None:
    """Pictures seen and reconstructed, and the same of the shuffled control.

    Parameters
    ----------
    material : Material
    found : dict of Reconstructed
        By system.
    pictures : Pictures
    """
    from neurovis.report.material import named  # which reads what is drawn here

    chosen = material.head["headline"]["system"]
    # a tower that learned similarities alone makes no pictures; its baseline does
    system = next((name for name in (chosen, "ridge") if name in found), None)
    if system is None:
        return None
    parts = []
    for target in found[system].picture:
        if system != chosen:
            words = f"{named(chosen)} predicts no pictures: these are by {named(system).lower()}."
            parts.append(el("p", words))
        parts.append(_rows(found[system], target, material, pictures))
        if "shuffled" in found and system != "shuffled":
            control = _rows(found["shuffled"], target, material, pictures)
            title = "Control: the same from a decoder trained on shuffled labels"
            parts.append(el("details", el("summary", title), control))
    return Markup("".join(parts))


def _rows(made: Reconstructed, target: str, material: Material, pictures: Pictures) -> Markup:
    most = int(made.n_averaged.max())
    chosen = np.flatnonzero(made.n_averaged == most)
    shown = [i for i in material.stimuli.image.tolist() if i in set(made.image[chosen].tolist())]
    rows = []
    for image in shown[:MOST_IMAGES]:
        mine = chosen[made.image[chosen] == image]
        order = np.lexsort((mine, made.recording[mine], made.subject[mine]))
        tiles = [_tile(made, target, row) for row in mine[order][:MOST_TILES]]
        label = el("b", material.label(image))
        seen = el("figure", pictures(image), el("figcaption", label), class_="seen")
        rows.append(el("div", seen, el("div", tiles, class_="top"), class_="find"))
    trials = "single trials" if most == 1 else f"means of {most} trials"
    words = (
        f"Left, the picture that was seen; beside it what the decoder makes of {trials}, in the order of "
        "recordings, drawn as its numbers say and cut off at black and white alone."
    )
    if len(shown) > MOST_IMAGES:
        words += f" The first {MOST_IMAGES} of {plural(len(shown), 'picture')}."
    return Markup(el("p", words, class_="small") + el("div", rows, class_="finds"))


def _tile(made: Reconstructed, target: str, row: int) -> Markup:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(made.picture[target][row]).save(data, "PNG")
    address = Markup("data:image/png;base64," + base64.b64encode(data.getvalue()).decode())
    words = f"{made.image[row]} reconstructed, {made.recording[row] or 'several recordings'}"
    return el("figure", el("img", src=address, alt=words, title=words, style=STYLE))
