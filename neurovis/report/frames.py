"""Pictures of reconstructions, small enough for a page: each one once, as WebP in the style sheet.

Comes in: pictures as arrays. Goes out: elements that show them, and the rules that hold their bytes. What
looks the same is stored once, and bytes are counted, so that a page stays below its budget.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any

import numpy as np

from neurovis.report.markup import Markup, el

SIDES = (256, 192, 160, 128, 112, 96, 80, 64, 48)
QUALITY = 82
OVERHEAD = 90
"""Bytes of a rule and an element beside the picture's own."""


def webp(picture: np.ndarray, side: int) -> bytes:
    """A picture, at most so many pixels along its longer side; never enlarged.

    Parameters
    ----------
    picture : array (height, width, 3) uint8
    side : int
    """
    data = io.BytesIO()
    shrunk(picture, side).save(data, "WEBP", quality=QUALITY, method=4)
    return data.getvalue()


def shrunk(picture: np.ndarray, side: int) -> Any:
    """A picture as a PIL image, at most so many pixels along its longer side; never enlarged."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def fitting_side(samples: Iterable[np.ndarray], n: int, budget: int) -> int:
    """Largest of the known sides at which so many pictures fit into so many bytes.

    Parameters
    ----------
    samples : iterable of array (height, width, 3) uint8
        Some of the pictures.
    n : int
    budget : int
        Bytes in the page.
    """
    samples = list(samples)
    native = max(max(picture.shape[:2]) for picture in samples)
    # the first side that enlarges nothing is as good as any larger one
    sides = [side for side in SIDES if side < native]
    sides = [min(native, SIDES[0]), *sides]
    for side in sides:
        size = np.mean([len(webp(picture, side)) for picture in samples])
        if n * (size * 4 / 3 + OVERHEAD) <= budget:
            return side
    return sides[-1]


class Frames:
    """Shows pictures and remembers their bytes."""

    def __init__(self):
        self._class: dict[bytes, str] = {}
        self.size = 0
        """Bytes in the page."""
        self.rules: list[str] = []
        """Rules that go with the pictures, such as which a filter hides."""

    def __call__(self, picture: np.ndarray, side: int, words: str) -> Markup:
        """One picture, with what it shows in words."""
        data = webp(picture, side)
        if data not in self._class:
            self._class[data] = f"g{len(self._class)}"
            self.size += 4 * len(data) // 3 + OVERHEAD
        class_ = self._class[data]
        return el("span", class_=f"pic {class_}", role="img", aria_label=words)

    def css(self) -> str:
        """Rules that hold the pictures."""
        held = [
            f".{class_}{{background-image:url(data:image/webp;base64,{base64.b64encode(data).decode()})}}"
            for data, class_ in self._class.items()
        ]
        return "\n".join([*self.rules, *held])
