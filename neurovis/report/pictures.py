"""The pictures: what was seen beside what was retrieved.

Comes in: a `Material`. Goes out: grids of best, median and worst retrievals by a stated rule, all test
images folded away, and the style sheet that holds each picture once, however often it is shown.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

import numpy as np

from neurovis.report.markup import Markup, el, plural
from neurovis.report.material import Material, Retrieved

EXAMPLES = 4
STRIP = 8
BROWSED = 800


class Pictures:
    """Gives pictures as elements and remembers which were used.

    A picture is the background of a class, so that its bytes stand in the page once.
    """

    def __init__(self, material: Material):
        self.material = material
        self.used: dict[str, str] = {}

    def __call__(self, image: str) -> Markup:
        """One picture, or its name where the run does not hold it."""
        label = self.material.label(image)
        if image not in self.material.pictures:
            return el("span", label, class_="pic none")
        class_ = self.used.setdefault(image, f"p{len(self.used)}")
        return el("span", class_=f"pic {class_}", role="img", aria_label=label)

    def css(self) -> str:
        """Rules that hold the pictures used."""
        rules = []
        for image, class_ in self.used.items():
            data = base64.b64encode(self.material.pictures[image]).decode()
            rules.append(f".{class_}{{background-image:url(data:image/jpeg;base64,{data})}}")
        return "\n".join(rules)


def order(found: Retrieved) -> np.ndarray:
    """Rows from the best to the worst retrieval: by rank, then by the lead over the runner-up."""
    lead = np.zeros(len(found.rank))
    if found.similarity.shape[1] > 1:
        lead = found.similarity[:, 0] - found.similarity[:, 1]
    # where the shown image is not first, a smaller lead of the wrong one is better
    lead = np.where(found.rank < 1, lead, -lead)
    return np.lexsort((np.arange(len(lead)), -lead, found.rank))


def examples(found: Retrieved, n: int = EXAMPLES) -> dict[str, list[int]]:
    """Rows of the best, median and worst retrievals; each picture at most once in a group."""
    rows = order(found).tolist()
    middle = len(rows) // 2
    near = [rows[i] for i in sorted(range(len(rows)), key=lambda i: abs(i - middle))]
    groups = {"Best": rows, "Median": near, "Worst": rows[::-1]}
    return {name: _once(some, found.image, n) for name, some in groups.items()}


def _once(rows: Iterable[int], image: np.ndarray, n: int) -> list[int]:
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(str(image[row]), row)
    return list(first.values())[:n]


def _place(rank: float) -> str:
    return f"{rank + 1:.1f}".removesuffix(".0")


def _strip(found: Retrieved, row: int, pictures: Pictures, n: int, names: bool) -> Markup:
    tiles = []
    for image in found.best[row, :n].tolist():
        hit = image == found.image[row]
        caption = el("figcaption", pictures.material.label(image)) if names else None
        tiles.append(el("figure", pictures(image), caption, class_="hit" if hit else None))
    return el("div", tiles, class_="top")


def _find(found: Retrieved, row: int, pictures: Pictures, among: int, names: bool = True) -> Markup:
    seen = str(found.image[row])
    where = f"place {_place(found.rank[row])} of\u00a0{among}"
    if names and len(pictures.material.subjects) > 1:
        where += f", subject\u00a0{found.subject[row]}"
    caption = el("figcaption", el("b", pictures.material.label(seen)), where)
    figure = el("figure", pictures(seen), caption, class_="seen")
    strip = _strip(found, row, pictures, STRIP if names else found.best.shape[1], names)
    return el("div", figure, strip, class_="find")


def retrievals(material: Material, pictures: Pictures) -> Markup | None:
    """Best, median and worst retrievals, then every test image."""
    found = material.retrieved
    if found is None:
        return el("p", "per_item.h5 is not in the run, so no retrieval can be shown; run neurovis "
                  "evaluate again.")  # fmt: skip
    among, groups = material.n_gallery, examples(found)
    n_best = min(STRIP, found.best.shape[1])
    k = int(found.n_averaged.max())
    rest = "single trials" if k == 1 else f"means of {k} trials"
    intro = el(
        "p",
        f"Left, the picture that was seen; beside it the {n_best} that the tower ranks first among {among}, from "
        f"{rest} of one person. The seen one is ringed ",
        el("span", class_="key"),
        " where it is among them. Sorted by the place of the seen picture, then by the lead in "
        "similarity; the groups are the two ends and the middle of that order, each picture at most "
        "once in a group: nothing is picked by hand.",
        class_="small",
    )
    parts = [intro]
    for name, rows in groups.items():
        finds = [_find(found, row, pictures, among) for row in rows]
        parts += [el("h3", name), el("div", finds, class_="finds")]
    return Markup("".join(parts + _browse(found, pictures, among)))


def _browse(found: Retrieved, pictures: Pictures, among: int) -> list[Markup]:
    rows, parts, left = order(found), [], BROWSED
    for subject in np.unique(found.subject).tolist():
        mine = rows[found.subject[rows] == subject][:left]
        left -= len(mine)
        finds = [_find(found, row, pictures, among, names=False) for row in mine]
        title = f"All test images, best to worst: subject {subject} ({plural(len(mine), 'image')})"
        body = el("div", finds, class_="finds")
        parts.append(
            el("details", el("summary", title), body, class_="browse") if finds else Markup()
        )
    if len(rows) > BROWSED:
        note = (
            f"{plural(len(rows) - BROWSED, 'more row')} not shown; per_item.h5 in the run has all."
        )
        parts.append(el("p", note, class_="small"))
    return parts


def categories(material: Material, pictures: Pictures) -> Markup:
    """The pictures of each category."""
    found = material.retrieved
    ids = found.image if found is not None else material.stimuli.image
    tiles = []
    for image in sorted(set(ids.tolist())):
        files = len(material.stimuli.path[int(material.stimuli.index(image)[0])])
        n = (
            f", {plural(int((found.image == image).sum()), 'test trial')}"
            if found is not None
            else ""
        )
        caption = el("figcaption", f"{material.label(image)}: {plural(files, 'picture')}{n}")
        tiles.append(el("figure", pictures(image), caption))
    note = el("p", "A sample of each category. Trials say which category was shown, not which picture.",
              class_="small")  # fmt: skip
    return Markup(note + el("div", tiles, class_="categories category"))
