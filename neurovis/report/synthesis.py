"""Pictures that an encoding model predicts to drive a region: real ones, and painted ones.

Comes in: ``sub-*/synthesis.h5``. Goes out: `Markup`, a row per goal.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

from neurovis.report.markup import Markup, el
from neurovis.store import dataset, open_h5

if TYPE_CHECKING:
    from neurovis.report.encoding import Encoded

FORMAT = "neurovis-synthesis"


def synthesis(one: Encoded) -> Markup | None:
    """Goals of every subject."""
    parts = []
    for subject in one.head["subjects"]:
        path = one.folder / f"sub-{subject}" / "synthesis.h5"
        if not path.is_file():
            continue
        with open_h5(path, FORMAT) as file:
            names = ("goal", "predicted", "natural", "natural_predicted", "nearest")
            data = {name: dataset(path, file, name)[()] for name in names}
            pictures = {
                k: file[k][()]
                for k in ("picture", "natural_picture", "nearest_picture")
                if k in file
            }
            family, generator = file.attrs["family"], file.attrs.get("generator", "")
        parts.append(el("h3", f"Subject {subject}, by {family}"))
        for i, goal in enumerate(data["goal"].tolist()):
            # signs alone become minuses: names of regions hold hyphens
            best, said = (
                f"{value:+.2f}".replace("-", "−")
                for value in (data["natural_predicted"][i].max(), data["predicted"][i])
            )
            words = f": predicted {said} SD for the embedding, {best} SD for the best real picture of training"
            rows = [el("p", el("b", goal), words)]
            for name, title in (
                ("picture", f"Painted from the embedding by {generator}"),
                ("nearest_picture", "Real pictures nearest to the embedding"),
                ("natural_picture", "Real pictures with the best predictions"),
            ):
                if name in pictures:
                    shown = [_picture(p, f"{title}, {goal}") for p in pictures[name][i]]
                    rows.append(el("p", title, class_="small"))
                    rows.append(el("div", shown, class_="maps four"))
            parts.append(el("div", rows))
    if not parts:
        return None
    note = el("p", "What the model predicts is a hypothesis: nobody was shown these to test it. Embeddings are "
              "searched for within the range of real pictures; responses are in standard deviations of "
              "measured mean responses.", class_="small")  # fmt: skip
    return Markup(note + "".join(parts))


def _picture(pixels: np.ndarray, words: str) -> Markup:
    from PIL import Image

    data = io.BytesIO()
    picture = Image.fromarray(pixels)
    if max(picture.size) > 160:
        picture.thumbnail((160, 160))
    picture.save(data, "JPEG", quality=88)
    url = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
    return el("figure", el("img", src=Markup(url), alt=words))
