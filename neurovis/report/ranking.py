"""In which order reconstructions are shown: by a score that was made elsewhere.

Comes in: `Painted`, and what the run retrieved. Goes out: `Ranking`. The rule is the metric that speaks
for the reconstructions (two-way identification) where it was scored, else the agreement of the picture
with the decoded embedding, else the order of the images; whichever it is, the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from neurovis.report.markup import percent
from neurovis.report.material import Material
from neurovis.report.painted import Painted


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows of the brain's pictures in the order in which they are shown.

    Parameters
    ----------
    rows : list of int
    image : array of str (row,)
        Of all rows.
    value : array (row,) or None
        What sorts, of all rows.
    rule : str
        In a sentence.
    short : str
        Name of the value.
    share : bool
        The value is a share.
    retrieved : dict of str
        Image that the decoder ranks first, by image and subject.
    """

    rows: list[int]
    image: np.ndarray
    value: np.ndarray | None
    rule: str
    short: str = ""
    share: bool = False
    retrieved: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def best_first(self) -> str:
        """Name of the order."""
        return "as listed" if self.value is None else "best first"

    def say(self, row: int) -> str:
        """The value of a row as it is read."""
        value = float(self.value[row])
        return percent(value, 0) if self.share else f"{value:.2f}".replace("-", "−")

    def examples(self, n: int) -> dict[str, list[int]]:
        """Rows of the best, median and worst; each image at most once in a group.

        Without a value there is no best: rows evenly apart.
        """
        if self.value is None:
            some = np.unique(np.linspace(0, len(self.rows) - 1, 2 * n).astype(int))
            return {"Examples, evenly apart": self._once([self.rows[i] for i in some], n)}
        middle = len(self.rows) // 2
        near = [self.rows[i] for i in sorted(range(len(self.rows)), key=lambda i: abs(i - middle))]
        groups = {"Best": self.rows, "Median": near, "Worst": self.rows[::-1]}
        return {name: self._once(some, n) for name, some in groups.items()}

    def _once(self, rows: list[int], n: int) -> list[int]:
        first: dict[str, int] = {}
        for row in rows:
            first.setdefault(str(self.image[row]), row)
        return list(first.values())[:n]


def ranking(painted: Painted, material: Material) -> Ranking:
    """The order of the rows of the headline's number of averaged trials."""
    brain = painted.brain
    k = material.headline.about["n_averaged"]
    n_averaged = brain.n_averaged
    k = k if (n_averaged == k).any() else int(n_averaged.max())
    rows = np.flatnonzero(n_averaged == k)
    found = material.retrieved
    retrieved = {}
    if found is not None:
        keys = zip(found.image.tolist(), found.subject.tolist())
        retrieved = dict(zip(keys, found.best[:, 0].tolist()))
    about = {"image": brain.image, "retrieved": retrieved}
    first = np.array([brain.samples(row)[0] for row in range(len(brain.image))])
    agreement = brain.agreement.max(axis=1) if brain.agreement is not None else np.zeros(len(first))
    sign = 1
    if painted.chief is not None:
        name = str(painted.head["headline"]["metric"])
        better = [s.higher_is_better for s in painted.scores if s.name == name]
        sign = -1 if better and not better[0] else 1
        value = np.take_along_axis(painted.chief, first[:, None], axis=1)[:, 0]
        rule = f"Sorted by {name} of the first reconstruction"
        if brain.agreement is not None:
            rule += ", then by its agreement with the decoded embedding"
        about |= {
            "short": "better than others" if "2-way" in name else name,
            "share": is_share(name),
        }
    elif brain.agreement is not None:
        value = agreement
        rule = (
            "Sorted by agreement, the cosine between the embedding of the reconstruction and the decoded "
            "one, which was computed without the seen picture"
        )
        about["short"] = "agreement"
    else:
        rule = "No score sorts them: the examples are evenly apart in the order of the test images."
        return Ranking(rows.tolist(), value=None, rule=rule, **about)
    rule += (
        "; the groups are the two ends and the middle of that order, each picture at most once in a group: "
        "nothing is picked by hand."
    )
    order = rows[np.lexsort((rows, -agreement[rows], -sign * value[rows]))].tolist()
    return Ranking(order, value=value, rule=rule, **about)


def is_share(name: str) -> bool:
    """Whether values of a metric are shares, read in per cent."""
    return "-way" in name or name.startswith("top")
