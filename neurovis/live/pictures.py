"""Pictures for the page: the run's small copies, and those that a list of stimuli names.

Comes in: a run, optionally a ``stimuli.csv``. Goes out: the JPEG of an image id. Only files that the list
names are ever opened, and what is sent was drawn anew from their pixels.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from neurovis.records import Stimuli
from neurovis.store import dataset, open_h5

SIDE = 256
KEPT = 512


class Pictures:
    """JPEGs by image id.

    Parameters
    ----------
    run : path
        Whose ``pictures.h5`` is used.
    stimuli : path
        A ``stimuli.csv`` beside which there are pictures; empty for none.
    """

    def __init__(self, run: str | Path, stimuli: str | Path = ""):
        self._small: dict[str, bytes] = {}
        self._made: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()
        path = Path(run) / "pictures.h5"
        if path.is_file():
            with open_h5(path, "neurovis-pictures") as file:
                images = dataset(path, file, "image")[()]
                jpegs = file["jpeg"][()]
            self._small = {str(i): j.tobytes() for i, j in zip(images, jpegs)}
        self._stimuli = Stimuli.read(stimuli) if stimuli else None
        known = [] if self._stimuli is None else self._stimuli.image.tolist()
        self._row = {str(image): row for row, image in enumerate(known)}

    def __call__(self, image: str) -> bytes | None:
        """JPEG of an image, or None where there is no picture of it."""
        if image in self._small:
            return self._small[image]
        row = self._row.get(image)
        if row is None:
            return None
        with self._lock:
            if image not in self._made:
                files = [p for p in self._stimuli.files(row) if p.is_file()]
                if not files:
                    return None
                self._made[image] = thumbnail(files[0])
                while len(self._made) > KEPT:
                    self._made.popitem(last=False)
            return self._made[image]


def thumbnail(path: Path) -> bytes:
    """A picture as a small JPEG."""
    from PIL import Image

    with Image.open(path) as picture:
        return jpeg(picture)


def jpeg(picture: object) -> bytes:
    """A PIL picture as a small JPEG."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=88)
    return data.getvalue()
