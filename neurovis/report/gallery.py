"""The gallery: seen, retrieved, reconstructed, and what each must be held against.

Comes in: a `Material` whose run has reconstructions. Goes out: best, median and worst by a stated rule,
then every test image of every subject, folded into pairs that open, with chips that filter and sort by
style sheet alone. Nothing is computed here but an order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurovis.report import quality
from neurovis.report.frames import Frames, fitting_side
from neurovis.report.markup import Markup, count, el, percent, plural
from neurovis.report.material import Material
from neurovis.report.painted import Fetch, Painted
from neurovis.report.pictures import Pictures
from neurovis.report.ranking import Ranking, ranking
from neurovis.report.sections import groups

EXAMPLES = 3
LARGE = 4
SAMPLES = 4
PAIRS = 2000
MOST_CHIPS = 16
BUDGET = 8_500_000
"""Bytes that all pictures of reconstructions may take in the page; a third of it for the examples."""
OTHERS = {
    "nearest": ("nearest", "training picture whose embedding is nearest to the decoded one"),
    "ceiling": ("ceiling", "painted from the true embedding of the seen picture"),
    "floor": ("floor", "painted from a control that knows nothing of the picture"),
    "low": ("rough", "low-level picture that painting started from"),
}


@dataclass(frozen=True, eq=False)
class Wall:
    """What hangs a row of pictures: where they come from and how large they are."""

    material: Material
    painted: Painted
    ranking: Ranking
    pictures: Pictures
    frames: Frames
    fetch: Fetch
    side: int

    def hang(self, words: str, *where: object) -> Markup:
        """One picture of the file."""
        return self.frames(self.fetch(*where), self.side, words)

    def seen(self, row: int) -> Markup:
        """The seen picture of a row."""
        image = str(self.painted.brain.image[row])
        return self.hang(
            f"seen: {self.material.label(image)}", "seen", self.painted.seen[image]
        )  # fmt: skip

    def sample(self, row: int, place: int = 0) -> Markup:
        """A reconstruction of a row: the one in this place by agreement."""
        sample = self.painted.brain.samples(row)[place]
        return self.hang("reconstructed", "brain", row, sample)


def gallery(material: Material, pictures: Pictures, frames: Frames) -> Markup | None:
    """The section, or None where a run has no reconstructions.

    Parameters
    ----------
    material : Material
    pictures : Pictures
        Those of the run, for what was retrieved.
    frames : Frames
        Keeps the pictures that are shown.
    """
    if not material.painted:
        return None
    painted = material.painted[0]
    ranked = ranking(painted, material)
    with painted.pictures() as fetch:
        wall = lambda side: Wall(material, painted, ranked, pictures, frames, fetch, side)  # noqa: E731
        parts = [quality.sentence(painted), _intro(material, painted, ranked)]
        chosen = ranked.examples(EXAMPLES)
        per_row = 2 + sum(n for _, n in _columns(painted, ranked))
        n = per_row * sum(map(len, chosen.values()))
        rows = [row for some in chosen.values() for row in some]
        large = wall(fitting_side(_samples(painted, fetch, rows), n, BUDGET // 3))
        for name, some in chosen.items():
            parts += [el("h3", name), el("div", [_row(large, r) for r in some], class_="paints")]
        n = per_row * min(PAIRS, len(ranked.rows))
        left = BUDGET - frames.size
        small = wall(fitting_side(_samples(painted, fetch, ranked.rows), n, left))
        parts.append(_sheets(small))
    return Markup("".join(filter(None, parts)))


def _samples(painted: Painted, fetch: Fetch, rows: Iterable[int], n: int = 12) -> list[np.ndarray]:
    """Some of the pictures, to judge how many bytes they take."""
    rows = list(rows)
    some = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, n).astype(int))]
    return [fetch("brain", row, 0) for row in some]


def _columns(painted: Painted, ranked: Ranking) -> list[tuple[str, int]]:
    """What a row shows beside the seen picture: system and number of pictures."""
    found = [("brain", min(SAMPLES, painted.brain.shape[1]))]
    found += [(name, 1) for name in ("nearest", "ceiling", "floor") if name in painted.systems]
    return found + ([("low", 1)] if painted.brain.rough else [])


# ---- one row -----------------------------------------------------------------------------------


def _row(wall: Wall, row: int, plain: bool = False) -> Markup:
    """Seen and reconstructed large, what was retrieved and the baselines beside them.

    Parameters
    ----------
    wall : Wall
    row : int
        Of the brain's.
    plain : bool
        The label stands elsewhere.
    """
    brain = wall.painted.brain
    image, subject = str(brain.image[row]), str(brain.subject[row])
    label = wall.material.label(image)
    who = f"subject\u00a0{subject}" if len(set(brain.subject.tolist())) > 1 else ""
    said = None if plain else el("b", label)
    seen = _figure(wall.seen(row), said, who if not plain else "seen", "seen")
    samples = brain.samples(row)[:SAMPLES]
    made = []
    for place, sample in enumerate(samples):
        words = ["reconstructed" if place == 0 else f"sample {place + 1}"]
        if brain.agreement is not None:
            value = f"{brain.agreement[row, sample]:.2f}".replace("-", "−")
            words.append(el("small", f"agreement {value}"))
        made.append(_figure(wall.sample(row, place), None, words))
    main = el("div", seen, made[:LARGE], class_="main", style=f"--n:{1 + min(LARGE, len(made))}")
    rest = made[LARGE:] + _beside(wall, row)
    rest_ = el("div", rest, class_="rest", style=f"--n:{len(rest)}") if rest else None
    return el("div", main, rest_, _note(wall, row), class_="paint")


def _figure(picture: Markup, title: Markup | None, words: Any, class_: str | None = None) -> Markup:
    return el("figure", picture, el("figcaption", title, words), class_=class_)


def _beside(wall: Wall, row: int) -> list[Markup]:
    """What was retrieved, then the baselines and the rough picture."""
    painted, brain = wall.painted, wall.painted.brain
    key = str(brain.image[row]), str(brain.subject[row])
    tiles = []
    best = wall.ranking.retrieved.get(key)
    if best is not None:
        hit = "hit" if best == key[0] else None
        words = Markup("retrieved: " + el("b", wall.material.label(best)))
        tiles.append(_figure(wall.pictures(best), None, words, hit))
    for name in ("nearest", "ceiling", "floor"):
        if name in painted.systems:
            place = painted.systems[name].find(*key, int(brain.n_averaged[row]))
            if place is not None:
                tiles.append(
                    _figure(wall.hang(OTHERS[name][1], name, place, 0), None, OTHERS[name][0])
                )
    if brain.rough:
        tiles.append(_figure(wall.hang(OTHERS["low"][1], "brain", row, "low"), None, "rough"))
    return tiles


def _note(wall: Wall, row: int) -> Markup | None:
    """The score that sorts, words with probabilities, the caption."""
    brain, parts = wall.painted.brain, []
    if wall.ranking.value is not None:
        parts.append(el("span", f"{wall.ranking.short} ", el("b", wall.ranking.say(row))))
    if brain.word is not None and brain.probability is not None:
        pairs = zip(brain.word[row].tolist(), brain.probability[row].tolist())
        words = [
            el("span", f"{word.replace('_', ' ')} ", el("small", percent(p, 0)), class_="word",
               style=f"--p:{100 * min(max(p, 0), 1):.0f}%")
            for word, p in pairs
            if word
        ]  # fmt: skip
        parts.append(el("span", words, class_="words"))
    if brain.caption is not None and brain.caption[row]:
        parts.append(el("q", brain.caption[row]))
    return el("p", parts, class_="note") if parts else None


# ---- words above -------------------------------------------------------------------------------


def _intro(material: Material, painted: Painted, ranked: Ranking) -> Markup:
    brain = painted.brain
    k = int(brain.n_averaged[ranked.rows[0]])
    rest = "a single trial" if k == 1 else f"the mean of {k} trials"
    words = (
        f"Beside the picture that was seen stands what the generator {painted.generator} paints of the embedding "
        f"that was decoded from {rest} of one person"
    )
    if brain.shape[1] > 1:
        words += f", {brain.shape[1]} samples each"
        if brain.shape[1] > SAMPLES:
            words += f" of which {SAMPLES} are shown"
        if brain.agreement is not None:
            words += ", in the order of their agreement with the decoded embedding, which knows nothing of "
            words += "the seen picture"
    terms = {"retrieved": "what the decoder ranks first among the test pictures"}
    terms = terms if ranked.retrieved else {}
    floor = painted.about.get("floor")
    for name, _ in _columns(painted, ranked):
        if name in OTHERS:
            short, what = OTHERS[name]
            terms[short] = floor if name == "floor" and floor and isinstance(floor, str) else what
    legend = el("dl", [(el("dt", t), el("dd", what)) for t, what in terms.items()], class_="terms")
    return Markup(
        el("p", words, ".", class_="small")
        + (legend if terms else "")
        + el("p", ranked.rule, class_="small")
    )


# ---- every test image --------------------------------------------------------------------------


def _sheets(wall: Wall) -> Markup:
    brain, ranked, material = wall.painted.brain, wall.ranking, wall.material
    rows = ranked.rows[:PAIRS]
    subjects = sorted(set(brain.subject[rows].tolist()))
    group, names, kind = groups(material, brain.image[rows].tolist(), MOST_CHIPS)
    by_name = sorted(rows, key=lambda r: (material.label(str(brain.image[r])), r))
    order = {row: i for i, row in enumerate(by_name)}
    inside = 0
    sheets: dict[str, list[Markup]] = {subject: [] for subject in subjects}
    for row in rows:
        image = str(brain.image[row])
        kind_ = f"kind-{names.index(group[image])}" if image in group else ""
        opened = None
        if wall.frames.size < BUDGET:
            opened, inside = _row(wall, row, plain=True), inside + 1
        sheets[str(brain.subject[row])].append(_pair(wall, row, kind_, order[row], opened))
    chips, rules = [], []
    if len(subjects) > 1:
        chips.append(_chips("who", "Subject", subjects))
        rules += [
            f"#gallery:has(#who-{i}:checked) .who:not(.who-{i}){{display:none}}"
            for i in range(len(subjects))
        ]
    if names:
        chips.append(
            _chips("kind", kind.capitalize(), ["all", *(n.replace("_", " ") for n in names)])
        )
        rules += [
            f"#gallery:has(#kind-{i + 1}:checked) .pair:not(.kind-{i}){{display:none}}"
            for i in range(len(names))
        ]
    chips.append(_chips("by", "Sort", [ranked.best_first, "by name"]))
    rules.append("#gallery:has(#by-1:checked) .pair{order:var(--o)}")
    title = f"Every test image ({plural(len(set(brain.image[rows].tolist())), 'image')}, "
    title += f"{plural(len(subjects), 'subject')}): seen left, reconstructed right"
    walls = [
        el("div", el("h4", f"Subject {subject}") if len(subjects) > 1 else None,
           el("div", some, class_="sheet"), class_=f"who who-{i}")
        for i, (subject, some) in enumerate(sheets.items())
    ]  # fmt: skip
    notes = []
    if len(ranked.rows) > len(rows):
        notes.append(f"{plural(len(ranked.rows) - len(rows), 'more row')} not shown.")
    if inside < len(rows):
        notes.append(
            f"Pairs after the first {count(inside)} show no more, to keep this page small: pictures.h5 in "
            f"{wall.painted.name} has all."
        )
    # no name stands in a rule, only whole numbers; browsers without :has show everything
    wall.frames.rules += rules
    return el(
        "details", el("summary", title), el("div", chips, class_="chips"), walls,
        el("p", " ".join(notes), class_="small") if notes else None, class_="browse",
    )  # fmt: skip


def _pair(wall: Wall, row: int, kind: str, order: int, opened: Markup | None) -> Markup:
    label = wall.material.label(str(wall.painted.brain.image[row]))
    value = wall.ranking.say(row) if wall.ranking.value is not None else None
    two = el("span", wall.seen(row), wall.sample(row), class_="two")
    said = el("span", el("b", label), el("small", value), class_="said")
    class_ = f"pair {kind}".rstrip()
    if opened is None:
        return el("div", two, said, class_=class_, style=f"--o:{order}")
    return el("details", el("summary", two, said), opened, class_=class_, style=f"--o:{order}")


def _chips(name: str, title: str, words: list[str]) -> Markup:
    """Radio buttons, the first of which is on."""
    made: list[Markup] = []
    for i, word in enumerate(words):
        key = f"{name}-{i}"
        made.append(el("input", type="radio", name=name, id=key, checked=i == 0))
        made.append(el("label", word, for_=key))
    return el("fieldset", el("legend", title), made)
