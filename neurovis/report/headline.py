"""The top of the report: one sentence that says what was decoded and how sure one can be.

Comes in: a `Material`. Goes out: headline, one bar per system, comparisons and the control's verdict.
The sentence is chosen by the interval: where it holds chance, the first words say so.
"""

from __future__ import annotations

from neurovis.flags import warning
from neurovis.records import Score
from neurovis.report.markup import THIN, Markup, count, el, number, percent, plural, share
from neurovis.report.material import ROLES, Material, named
from neurovis.report.plots import css

PLAIN = ("median_rank", "relative_rank", "auc", "nll")
METRICS = {
    "median_rank": "Median rank (0 is best)",
    "relative_rank": "Relative rank (0 is best)",
    "auc": "Area under the curve",
}
SMALL_GAIN = 0.2  # of the way from chance to perfect: an area under the curve of 0.6
SMALL_TIMES = 3  # chance, for retrieval among many


def metric_name(name: str) -> str:
    """Name of a metric for readers."""
    if name.startswith("top"):
        return f"Top-{name[3:]}"
    return METRICS.get(name, f"{name} identification" if name.endswith("-way") else name)


def shown(score: Score, value: float, signed: bool = False) -> str:
    """A value of a score as it is read: shares in per cent, ranks and areas plain."""
    sign = "+" if signed and value > 0 else ""
    if "/" in score.about.get("comparison", ""):
        return percent(value)
    if score.name == "median_rank":
        return sign + f"{value:.1f}".replace("-", "−")
    if score.name in PLAIN:
        return sign + f"{value:.3f}".replace("-", "−")
    if "comparison" in score.about:
        return sign + f"{100 * value:.1f}".replace("-", "−")
    return percent(value)


def interval(score: Score) -> str:
    """The 95 % interval in brackets."""
    low, high = (shown(score, v).removesuffix(f"{THIN}%") for v in (score.low, score.high))
    return f"[{low}, {high}]"


def spoken(score: Score, value: float) -> str:
    """A value in running text, rounded to what is worth reading."""
    return f"{value:.2f}" if score.name == "auc" else share(value)


def found(score: Score) -> str:
    """Whether the interval is above chance, holds it, or is below it."""
    if score.low <= score.chance <= score.high:
        return "chance"
    return "above" if (score.value > score.chance) == score.higher_is_better else "below"


def sentence(material: Material) -> Markup:
    """The headline, honest by rule."""
    score = material.headline
    value = el("b", spoken(score, score.value))
    if score.name == "auc":
        labels = list(dict.fromkeys(material.label(i) for i in _shown(material)))
        what = " and ".join(labels) if len(labels) == 2 else f"{len(labels)} categories"
        area = "an area under the curve of "
        words = {
            "above": (f"Single trials told {what} apart with {area}", value),
            "chance": (f"{what[0].upper()}{what[1:]} were not told apart beyond chance: ", area, value),
            "below": (f"{what[0].upper()}{what[1:]} were told apart the wrong way round: ", area, value),
        }  # fmt: skip
        small = _gain(score) < SMALL_GAIN
    elif score.name.endswith("-way"):
        among = score.name.removesuffix("-way")
        clause = (f"The seen category was identified among {among} in ", value, " of trials")
        words = {
            "above": clause,
            "chance": (*clause, ", which is not beyond chance"),
            "below": (*clause, ", which is below chance"),
        }
        small = _gain(score) < SMALL_GAIN
    else:
        k = score.name.removeprefix("top")
        place = "first" if k == "1" else f"among the first {k}"
        clause = (f"found {place} among {material.n_gallery} in ", value, " of cases")
        words = {
            "above": ("The seen picture was ", clause),
            "chance": ("The seen picture was not found beyond chance: ", clause),
            "below": ("The seen picture was found less often than by chance: ", clause),
        }
        small = score.value < SMALL_TIMES * score.chance
    low = spoken(score, score.low).removesuffix(f"{THIN}%")
    about = (
        f" (95{THIN}% interval {low} to {spoken(score, score.high)}; "
        f"chance {spoken(score, score.chance)})"
    )
    verdict = found(score)
    end = ": a small effect" if verdict == "above" and small else ""
    return el("h1", words[verdict], end, el("span", about, class_="aside"))


def _gain(score: Score) -> float:
    return (score.value - score.chance) / (1 - score.chance)


def _shown(material: Material) -> list[str]:
    ids = material.retrieved.image if material.retrieved is not None else material.stimuli.image
    return sorted(set(ids.tolist()))


def warned(material: Material) -> Markup | None:
    """What must be known of the protocol before any number is read: selection on test, above all."""
    flags = dict.fromkeys(warning(s.protocol) for s in material.scores if warning(s.protocol))
    return el("p", el("b", " ".join(flags)), class_="verdict bad", role="note") if flags else None


def context(material: Material) -> Markup:
    """What the headline rests on: n, subjects, repeats, gallery, protocol."""
    score = material.headline
    k = score.about["n_averaged"]
    trials = "a single trial" if k == 1 else f"the mean of {k} trials of one person"
    unit = "test images" if score.about.get("resampled") == "image" else "test trials"
    parts = [f"Each answer rests on {trials}; n\u00a0=\u00a0{count(score.n)} {unit}"]
    parts.append(f", {plural(len(material.subjects), 'subject')}")
    if "n_recordings" in score.about:
        parts.append(f", {plural(score.about['n_recordings'], 'recording')}")
    parts.append(f". Gallery: {score.gallery}. Protocol: {score.protocol}.")
    if material.category and (material.stimuli.category).any():
        parts.append(
            " Which picture of a category was shown is not known: pictures count by category."
        )
    if material.category and len(material.subjects) == 1:
        parts.append(" The interval is over trials and recordings of one person, not over people.")
    return el("p", *parts, class_="lede")


def bars(material: Material) -> Markup:
    """One bar per system at the headline's metric and number of trials, with interval and chance."""
    head = material.headline
    scores = [
        score
        for system in material.systems
        for score in material.select(head.name, system, head.about["n_averaged"])
    ]
    names = {s: (named(s), ROLES.get(s), css(s)) for s in material.systems}
    rows = stripes([(score, *names[score.about["system"]]) for score in scores], material.category)
    kind = metric_name(head.name)
    missing = [] if any("observer" in s for s in material.systems) else [
        " No limits are drawn: the truth behind these recordings is not known."
    ]  # fmt: skip
    note = el("p", f"{kind}, 95{THIN}% interval in brackets; dashed line: chance "
              f"{shown(head, head.chance)}.", *missing, class_="small")  # fmt: skip
    return Markup(rows + note)


def stripes(named_scores: list[tuple[Score, str, str | None, str]], from_chance: bool) -> Markup:
    """One bar per score, with interval and chance.

    Parameters
    ----------
    named_scores : list of (Score, name, role, CSS class)
    from_chance : bool
        Bars start at chance rather than at zero: what counts is the way from there.
    """
    scores = [one[0] for one in named_scores]
    top = max(s.high for s in scores)
    scale = next((limit for limit in (0.05, 0.1, 0.2, 0.5, 1.0) if top <= limit), top)
    at = lambda value: 100 * min(max(value / scale, 0), 1)  # noqa: E731
    rows = []
    for score, name, role, class_ in named_scores:
        words = f"{spoken(score, score.value)}, chance {spoken(score, score.chance)}"
        start = score.chance if from_chance else 0.0
        track = el(
            "div",
            _stretch("fill", at(min(start, score.value)), at(max(start, score.value))),
            _stretch("span", at(score.low), at(score.high)),
            el("div", class_="chance", style=f"left:{at(score.chance):.2f}%"),
            class_=f"track {class_}",
            role="img",
            aria_label=f"{name}: {words}",
        )
        label = el("div", name, el("small", role), class_="name")
        value = el(
            "div", el("b", shown(score, score.value)), el("small", interval(score)), class_="value"
        )
        rows.append((label, track, value))
    return el("div", rows, class_="bars")


def _stretch(class_: str, low: float, high: float) -> Markup:
    return el("div", class_=class_, style=f"left:{low:.2f}%;width:{high - low:.2f}%")


def control(material: Material) -> Markup:
    """Whether the shuffled-label control sits at chance."""
    data = material.head.get("control")
    if not data:
        return el("p", "This run has no shuffled-label control: nothing shows that the path from "
                  "signals to scores is free of leaks.", class_="verdict bad")  # fmt: skip
    ranks = data["metric"] in PLAIN
    say = (lambda v: number(v)) if ranks else percent
    low = say(data["low"]).removesuffix(f"{THIN}%")
    numbers = (
        f"{metric_name(data['metric'])} {say(data['value'])}, 95{THIN}% interval "
        f"{low} to {say(data['high'])}, chance {say(data['chance'])}, n\u00a0=\u00a0{count(data['n'])}"
    )
    if data["at_chance"]:
        return el("p", el("b", "The shuffled-label control sits at chance. "), numbers, ": trained on "
                  "wrong labels, the same code finds nothing, so the scores above come from the labels.",
                  class_="verdict")  # fmt: skip
    return el("p", el("b", "The shuffled-label control is not at chance. "), numbers, ": look for a "
              "leak before trusting any number on this page.", class_="verdict bad")  # fmt: skip
