"""How good reconstructions are and how they were made: scores, settings, time.

Comes in: a `Material` whose run has reconstructions. Goes out: `Markup`, None for what a run lacks. Low-
level metrics (what is where) and high-level ones (what it is) stand apart, because a blurred picture can
be good at one and a wrong cat good at the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neurovis.errors import NeurovisError
from neurovis.records import Score
from neurovis.report.account import component, listed
from neurovis.report.headline import found, stripes
from neurovis.report.markup import THIN, Markup, count, el, number, percent, share
from neurovis.report.material import Material
from neurovis.report.painted import Painted
from neurovis.report.plots import css
from neurovis.report.ranking import is_share
from neurovis.report.sections import table

NAMES = {
    "brain": "Reconstructed",
    "nearest": "Nearest training picture",
    "ceiling": "Ceiling",
    "floor": "Floor",
    "low": "Rough picture",
}
ROLES = {
    "brain": "painted from what was decoded",
    "nearest": "no generator: nearest to the decoded embedding",
    "ceiling": "painted from the true embedding",
    "floor": "control: must sit at chance",
    "low": "what painting started from",
}
COLOURS = {"brain": "tower", "nearest": "ridge", "ceiling": "optimal_observer", "floor": "shuffled"}
LEVELS = {
    "low": "Low-level: what is where",
    "high": "High-level: what it is",
    "set": "Sets: all pictures together (chance: what a perfect set would get)",
}
MEAN = "mean of samples"


def named(system: str) -> str:
    """Name of a system of reconstructions for readers."""
    return NAMES.get(system, system)


def level(score: Score) -> str:
    """Whether a metric is a low-level or a high-level one, or one of sets."""
    said = score.about.get("level")
    return said if said in LEVELS else "high"


def say(score: Score, value: float) -> str:
    """A value of a score as it is read."""
    if is_share(score.name):
        return percent(value)
    return f"{value:.3f}".replace("-", "−")


def span(score: Score) -> str:
    """The 95 % interval in brackets."""
    low, high = (say(score, v).removesuffix(f"{THIN}%") for v in (score.low, score.high))
    return f"[{low}, {high}]"


def title(score: Score) -> str:
    """Name of a metric for readers, with an arrow where lower is better."""
    return score.name.replace("_", " ") + ("" if score.higher_is_better else " ↓")


def chosen(scores: Iterable[Score], **about: Any) -> list[Score]:
    """Scores of each system at its largest number of averaged trials, of all subjects and samples.

    Parameters
    ----------
    scores : iterable of Score
    **about
        What they are of, instead of that: ``subject``, ``choice``.
    """
    wanted = {"subject": "all", "choice": MEAN, **about}
    some = [s for s in scores if all(s.about.get(k, v) == v for k, v in wanted.items())]
    most: dict[str, int] = {}
    for s in some:
        k = s.about.get("n_averaged", 1)
        most[s.about["system"]] = max(k, most.get(s.about["system"], k))
    return [s for s in some if s.about.get("n_averaged", 1) == most[s.about["system"]]]


def headline(painted: Painted) -> Score | None:
    """The score that speaks for reconstructions, as scoring chose it."""
    if not painted.head:
        return None
    head = painted.head["headline"]
    keys = ("system", "subject", "n_averaged", "choice", "target")
    for score in painted.scores:
        if score.name == head["metric"] and all(
            score.about.get(k) == head[k] for k in keys if k in head
        ):
            return score
    raise NeurovisError(
        f"{painted.name}/scores.json: its headline names a score that is not in it; run neurovis evaluate "
        "on its folder again."
    )


# ---- sections ----------------------------------------------------------------------------------


def sentence(painted: Painted) -> Markup | None:
    """How well reconstructions fit what was seen; None where nothing of the kind was scored."""
    score = headline(painted)
    if score is None or not is_share(score.name):
        return None
    value = el("b", percent(score.value, 0))
    if "2-way" in score.name:
        what, of = "fitted the seen picture better than another one", " of comparisons"
    else:
        what, of = "led back to the seen picture", " of cases"
    words = {
        "above": (f"The reconstruction {what} in ", value, of),
        "chance": (f"The reconstruction {what} in ", value, of, ", which is not beyond chance"),
        "below": (f"The reconstruction {what} in ", value, of, ", which is below chance"),
    }[found(score)]
    low = percent(score.low, 0).removesuffix(f"{THIN}%")
    aside = (
        f" (95{THIN}% interval {low} to {percent(score.high, 0)}; chance {share(score.chance)})."
    )
    return el("p", *words, aside, class_="lede told")


def bars(painted: Painted) -> Markup | None:
    """One bar per system at the metric of the sentence."""
    score = headline(painted)
    if score is None or not is_share(score.name):
        return None
    some = {s.about["system"]: s for s in chosen(painted.scores) if s.name == score.name}
    rows = [
        (some[name], named(name), ROLES[name], css(COLOURS.get(name, "other")))
        for name in NAMES
        if name in some
    ]
    note = f"{title(score)}, 95{THIN}% interval in brackets; dashed line: chance {share(score.chance)}."
    return Markup(stripes(rows, "2-way" in score.name) + el("p", note, class_="small"))


def scores(material: Material) -> Markup | None:
    """All metrics of all systems, low-level and high-level apart; one block per folder."""
    if not material.painted:
        return None
    parts = []
    for i, painted in enumerate(material.painted):
        if len(material.painted) > 1:
            parts.append(el("h3", painted.name))
        if not painted.scores:
            text = (
                "These reconstructions were not scored: there is no scores.json beside pictures.h5."
            )
            parts.append(el("p", text, class_="small"))
            continue
        parts += [_control(painted), bars(painted) if i == 0 else None]
        parts += [
            *_blocks(painted, open_=i == 0),
            _best(painted),
            _lead(painted),
            _subjects(painted),
        ]
        parts += [el("p", note, class_="small") for note in painted.head.get("notes") or []]
    return Markup("".join(filter(None, parts)))


def _control(painted: Painted) -> Markup | None:
    """Whether the floor sits at chance, as scoring found."""
    data = painted.head.get("control")
    if not data:
        return None
    first = next((s for s in painted.scores if s.name == data["metric"]), None)
    if first is None:
        return None
    low, high = (say(first, data[k]).removesuffix(f"{THIN}%") for k in ("low", "high"))
    numbers = f"{data['metric']} {say(first, data['value'])}, 95{THIN}% interval {low} to {high}, "
    numbers += f"chance {say(first, data['chance'])}, n\u00a0=\u00a0{count(data['n'])}"
    if data["at_chance"]:
        return el("p", el("b", "The floor sits at chance. "), numbers, ".", class_="verdict")
    text = el("b", "The floor is not at chance. ")
    return el("p", text, numbers, ": pictures painted without knowledge of what was seen should fit no "
              "better than by chance.", class_="verdict bad")  # fmt: skip


def _rows(scores: list[Score], columns: list[str], by: str, signed: bool = False) -> list[list]:
    """Lines of a table: metrics by what tells the columns apart."""
    found_ = {(s.name, s.about[by]): s for s in scores}
    rows = []
    for name in dict.fromkeys(s.name for s in scores):
        first = next(s for s in scores if s.name == name)
        level_ = [] if signed else [say(first, first.chance)]
        cells = [_cell(found_.get((name, column)), signed) for column in columns]
        rows.append([title(first), *level_, *cells])
    return rows


def _cell(score: Score | None, signed: bool = False) -> Markup | str:
    if score is None:
        return "–"
    sign = "+" if signed and score.value > 0 else ""
    return Markup(el("span", sign + say(score, score.value)) + el("small", span(score)))


def _blocks(painted: Painted, open_: bool) -> list[Markup]:
    """One table per level: every system."""
    some, made = chosen(painted.scores), []
    systems = [name for name in NAMES if any(s.about["system"] == name for s in some)]
    for name, words in LEVELS.items():
        rows = _rows([s for s in some if level(s) == name], systems, "system")
        if rows:
            body = table(["Metric", "Chance", *map(named, systems)], rows)
            made.append(el("details", el("summary", words), body, open=open_))
    plain = dict.fromkeys((s.n, s.gallery, s.protocol.partition("; looked at")[0]) for s in some)
    words = "; ".join(f"n\u00a0=\u00a0{count(n)}, gallery: {g}, protocol: {p}" for n, g, p in plain)
    note = f"{words}. In brackets: {painted.head.get('interval') or '95 % intervals'}. ↓: lower is better. "
    note += "In square brackets after a metric: the network that looked."
    return [*made, el("p", note, class_="small")]


def _best(painted: Painted) -> Markup | None:
    """The sample that agrees best with the decoded embedding, beside the mean of samples."""
    others = dict.fromkeys(s.about["choice"] for s in painted.scores if "choice" in s.about)
    some = [s for way in others for s in chosen(painted.scores, choice=way, system="brain")]
    if len(others) < 2:
        return None
    rows = _rows(some, list(others), "choice")
    heads = [way.capitalize() for way in others]
    return el(
        "details", el("summary", "By choice of sample"), table(["Metric", "Chance", *heads], rows)
    )


def _lead(painted: Painted) -> Markup | None:
    """Paired differences between the brain's pictures and the baselines."""
    some = chosen(painted.comparisons)
    what = list(dict.fromkeys(s.about["comparison"] for s in some))
    if not what:
        return None
    heads = [" minus ".join(named(part).lower() for part in one.split(" - ")) for one in what]
    rows = _rows(some, what, "comparison", signed=True)
    note = el("p", "Paired by image; 0 is no difference.", class_="small")
    title_ = el("summary", "Lead over the baselines")
    return el("details", title_, table(["Metric", *(h.capitalize() for h in heads)], rows), note)


def _subjects(painted: Painted) -> Markup | None:
    """The brain's pictures, subject by subject."""
    mine = [s for s in painted.scores if s.about["system"] == "brain"]
    subjects = list(dict.fromkeys(s.about.get("subject", "all") for s in mine))
    if len(subjects) < 3:
        return None
    some = [s for subject in subjects for s in chosen(mine, subject=subject)]
    rows = _rows(some, subjects, "subject")
    body = table(["Metric", "Chance", *subjects], rows)
    return el("details", el("summary", "Subject by subject"), body)


def settings(material: Material) -> Markup | None:
    """Generator, prior, low-level stage, gap of modalities, time: of every folder."""
    if not material.painted:
        return None
    parts = []
    for painted in material.painted:
        if len(material.painted) > 1:
            parts.append(el("h3", painted.name))
        parts += [_settings(painted), _gap(painted), _time(painted), _versions(painted)]
        if painted.config_text:
            full = el("pre", el("code", painted.config_text))
            parts.append(el("details", el("summary", "The full config (config.yaml)"), full))
    return Markup("".join(filter(None, parts)))


def _settings(painted: Painted) -> Markup:
    brain, about = painted.brain, painted.about
    height, width = brain.shape[2:4]
    words = {k: v for k, v in painted.config.items() if k not in ("version", "name")}
    plain = {k: v for k, v in about.items() if isinstance(v, str | int | float)}
    details = about.get("details")
    plain |= {"takes": about.get("takes")} | (details if isinstance(details, dict) else {})
    prior = about.get("prior")
    fits = prior.get("fits") if isinstance(prior, dict) else None
    pairs = [(k, _said(v)) for k, v in {**plain, **words}.items()]
    pairs = [(str(k).replace("_", " ").capitalize(), v) for k, v in pairs]
    if isinstance(fits, list):
        pairs.append(("Prior on validation", "; ".join(map(_said, fits))))
    pairs.append(
        ("Pictures", f"{brain.shape[0]} rows, {brain.shape[1]} each, {width} x {height} pixels")
    )
    return listed([*pairs, ("Folder", painted.name)])


def _said(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return component(value) if isinstance(value, dict) else "" if value is None else str(value)


def _gap(painted: Painted) -> Markup | None:
    """What lies between decoded and true embeddings, before the prior and after."""
    gap = painted.about.get("gap")
    sides = {k: v for k, v in gap.items() if isinstance(v, dict)} if isinstance(gap, dict) else {}
    if not sides:
        return None
    names = list(dict.fromkeys(name for side in sides.values() for name in side))
    rows = [
        [name.replace("_", " "), *(_number(side.get(name)) for side in sides.values())]
        for name in names
    ]
    words = (
        "Between decoded and true embeddings of the test pictures, before the prior and after it"
    )
    words += f" ({gap['spaces']})." if isinstance(gap.get("spaces"), str) else "."
    heads = [side.replace("_", " ").capitalize() for side in sides]
    note = el("p", words, class_="small")
    return Markup(el("h3", "Modality gap") + note + table(["", *heads], rows))


def _number(value: Any) -> str:
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else "–"


def _time(painted: Painted) -> Markup | None:
    """Seconds by stage, per picture, and pictures per second; the latency of one picture alone."""
    every = list(painted.systems.items())
    number_of = {name: one.shape[0] * one.shape[1] for name, one in every}
    # what all systems share is measured once
    first = every[0][1].seconds
    shared = [
        k
        for k, v in first.items()
        if len(every) > 1 and all(s.seconds.get(k) == v for _, s in every)
    ]
    lines = [("All", k, first[k], sum(number_of.values())) for k in shared if k != "paint"]
    for name, one in every:
        kept = {k: v for k, v in one.seconds.items() if k not in shared or k == "paint"}
        lines += [(named(name), k, v, number_of[name]) for k, v in kept.items()]
    rows = []
    for name, stage, seconds, n in lines:
        rate = n / seconds if seconds > 0 else 0.0
        fast = "–" if not rate else count(round(rate)) if rate >= 100 else f"{rate:.2g}"
        took = f"{seconds:.1f} s"
        rows.append([f"{name}: {stage.replace('_', ' ')}", took, _short(seconds / n), fast])
    latency = painted.about.get("latency")
    latency = latency if isinstance(latency, dict) else {}
    alone = [
        f"{str(k).replace('_', ' ')} {_short(v)}"
        for k, v in latency.items()
        if isinstance(v, int | float)
    ]
    if not rows and not alone:
        return None
    all_ = painted.provenance.get("seconds")
    words = "Seconds of all processes together"
    words += (
        f"; {all_:.0f} s in all with loading and writing." if isinstance(all_, int | float) else "."
    )
    words += f" From one decoded vector to one picture alone: {', '.join(alone)}." if alone else ""
    header = ["Stage", "Time", "Per picture", "Pictures per second"]
    body = table(header, rows) if rows else ""
    return Markup(el("h3", "Time") + body + el("p", words, class_="small"))


def _short(seconds: float) -> str:
    """A duration in the unit that suits it."""
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.2f} s"


def _versions(painted: Painted) -> Markup | None:
    """Versions that painted, and those that scored."""
    made, judged = painted.provenance.get("versions"), painted.head.get("versions")
    sides = {k: v for k, v in (("Painted", made), ("Scored", judged)) if isinstance(v, dict)}
    if not sides:
        return None
    rows = [
        [name, *(side.get(name, "–") for side in sides.values())]
        for name in dict.fromkeys(name for side in sides.values() for name in side)
    ]
    return el("details", el("summary", "Packages"), table(["Package", *sides], rows))
