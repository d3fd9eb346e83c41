"""Small charts as inline SVG: crisp at any size, coloured by the page's CSS, a few kilobytes each.

Comes in: series of numbers with the system that they belong to. Goes out: `Markup` of an ``<svg>``.
Own code rather than matplotlib's SVG, because colours, dark mode, print and fonts then follow the
page, and text stays text. Charts are about as wide as a phone, so that lettering keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurovis.report.markup import Markup, el

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 40
FEW = 16  # lines that may be drawn thick


@dataclass(frozen=True)
class Series:
    """A line with its interval.

    Parameters
    ----------
    system : str
        CSS class that gives colour and marker, from `css`.
    x, y : sequence of float
    low, high : sequence of float, optional
        Band around the line.
    markers : bool
    kind : {"", "faint", "dashed"}
        Faint: one of many; dashed: not the line of interest.
    """

    system: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    markers: bool = True
    kind: str = ""


KNOWN = ("tower", "ridge", "shuffled", "informed_observer", "optimal_observer")


def css(system: str) -> str:
    """CSS class of a system; those without a colour of their own share one."""
    return "s-" + (system if system in KNOWN else "other").replace("_", "-")


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Round numbers that cover a range: at most about `n` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _fixed(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def tick_labels(values: Sequence[float], unit: str = "") -> list[str]:
    """Labels with as many decimals as the steps need, and true minus signs.

    `unit` is ``%`` (of shares), ``points`` (the same without the sign) or empty (values as they are).
    """
    shown = [100 * v if unit else v for v in values]
    digits = 0
    while digits < 6 and any(abs(round(v, digits) - v) > 1e-9 for v in shown):
        digits += 1
    mark = "\u202f%" if unit == "%" else ""
    return [f"{v:.{digits}f}{mark}".replace("-", "−") for v in shown]


class Axes:
    """A frame with scales; each method returns or gathers marks, `svg` puts them together.

    Parameters
    ----------
    x, y : tuple of float
        Ranges.
    log_x : bool
    width, height : float
        Of the whole chart, in units of its view box.
    left, right : float
        Room beside the frame.
    """

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        log_x: bool = False,
        width: float = WIDTH,
        height: float = HEIGHT,
        left: float = LEFT,
        right: float = RIGHT,
    ):
        self.width, self.height, self.left, self.log = width, height, left, log_x
        self.edge = width - right
        self.x_range = tuple(map(math.log, x)) if log_x else x
        self.y_range = y
        self.marks: list[Markup] = []

    def x(self, value: float) -> float:
        """Horizontal place of a value."""
        low, high = self.x_range
        value = math.log(value) if self.log else value
        room = self.edge - self.left
        return self.left + room * ((value - low) / (high - low) if high > low else 0.5)

    def y(self, value: float) -> float:
        """Vertical place of a value."""
        low, high = self.y_range
        room = self.height - TOP - BOTTOM
        return TOP + room * (1 - ((value - low) / (high - low) if high > low else 0.5))

    def add(self, *marks: Markup) -> None:
        """Put marks on top."""
        self.marks.extend(marks)

    def grid(
        self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_labels=None, y_labels=None
    ) -> None:
        """Hairlines and labels."""
        bottom, right = self.height - BOTTOM, self.edge
        for value, label in zip(y_ticks, y_labels or tick_labels(y_ticks), strict=True):
            y = _fixed(self.y(value))
            self.add(el("line", class_="grid", x1=self.left, x2=right, y1=y, y2=y))
            self.add(el("text", label, class_="tick", x=self.left - 7, y=y, dy="0.32em"))
        last = -math.inf
        for value, label in zip(x_ticks, x_labels or tick_labels(x_ticks), strict=True):
            x = self.x(value)
            self.add(
                el("line", class_="axis", x1=_fixed(x), x2=_fixed(x), y1=bottom, y2=bottom + 4)
            )
            if x - last > 5.5 * len(label) + 8:
                self.add(el("text", label, class_="tick mid", x=_fixed(x), y=bottom + 16))
                last = x
        self.add(el("line", class_="axis", x1=self.left, x2=right, y1=bottom, y2=bottom))

    def titles(self, x: str, y: str = "") -> None:
        """Names of the axes; that of y stands above it, to be read without turning the head."""
        self.add(el("text", x, class_="title mid", x=_fixed((self.left + self.edge) / 2),
                    y=self.height - 6))  # fmt: skip
        if y:
            self.add(el("text", y, class_="title", x=self.left + 2, y=TOP + 2))

    def level(self, value: float, label: str = "", class_: str = "chance") -> None:
        """A dashed level across the chart."""
        y, right = _fixed(self.y(value)), self.edge
        self.add(el("line", class_=class_, x1=self.left, x2=right, y1=y, y2=y))
        if label:
            self.add(el("text", label, class_="note end", x=right, y=y, dy="-0.4em"))

    def upright(self, value: float) -> None:
        """A thin vertical line, such as the onset of a picture."""
        x = _fixed(self.x(value))
        self.add(el("line", class_="upright", x1=x, x2=x, y1=TOP, y2=self.height - BOTTOM))

    def series(self, one: Series) -> None:
        """Band, line and markers of a series."""
        if one.low is not None and one.high is not None and len(one.x) > 1:
            up = [self._point(*p) for p in zip(one.x, one.high)]
            down = [self._point(*p) for p in zip(one.x, one.low)][::-1]
            self.add(el("polygon", class_=f"band {one.system}", points=" ".join(up + down)))
        elif one.low is not None and one.high is not None:
            for x, low, high in zip(one.x, one.low, one.high):
                self.whisker(x, low, high, one.system)
        points = [self._point(*p) for p in zip(one.x, one.y)]
        if len(points) > 1:
            self.add(
                el(
                    "path",
                    class_=f"line {one.system} {one.kind}".rstrip(),
                    d="M" + " ".join(points),
                )
            )
        if one.markers:
            self.add(*(marker(self.x(x), self.y(y), one.system) for x, y in zip(one.x, one.y)))

    def whisker(self, x: float, low: float, high: float, system: str) -> None:
        """A vertical interval."""
        at = _fixed(self.x(x))
        ends = {"y1": _fixed(self.y(low)), "y2": _fixed(self.y(high))}
        self.add(el("line", class_=f"whisker {system}", x1=at, x2=at, **ends))

    def bundle(self, x: np.ndarray, lines: np.ndarray, classes: Sequence[str]) -> None:
        """Many lines over the same x: array (line, x), with relative whole numbers to stay small."""
        across = np.round([10 * self.x(v) for v in x]).astype(int)
        low, high = self.y_range
        room = self.height - TOP - BOTTOM
        down = np.round(10 * (TOP + room * (1 - (lines - low) / (high - low)))).astype(int)
        steps = np.diff(across)
        paths = []
        for row, class_ in zip(down, classes, strict=True):
            moves = "".join(f"{dx}{dy:+d} " for dx, dy in zip(steps, np.diff(row)))
            paths.append(el("path", class_=class_, d=f"M{across[0]} {row[0]}l{moves}".rstrip()))
        self.add(
            el(
                "g",
                paths,
                class_="bundle few" if len(paths) <= FEW else "bundle",
                transform="scale(.1)",
            )
        )

    def _point(self, x: float, y: float) -> str:
        return f"{_fixed(self.x(x))},{_fixed(self.y(y))}"

    def svg(self, label: str) -> Markup:
        """The chart; `label` says in words what it shows."""
        box = f"0 0 {_fixed(self.width)} {_fixed(self.height)}"
        return el("svg", self.marks, viewBox=box, class_="chart", role="img", aria_label=label)


def marker(x: float, y: float, system: str, size: float = 3.6) -> Markup:
    """A system's own marker: shapes differ as well as colours, for print and for all eyes."""
    class_ = f"mark {system}"
    if system in ("s-tower", "s-other"):
        return el("circle", class_=class_, cx=_fixed(x), cy=_fixed(y), r=size)
    turns = {"s-ridge": (4, 45), "s-informed-observer": (4, 0), "s-optimal-observer": (3, -90)}
    corners, first = turns.get(system, (3, 90))
    angles = np.deg2rad(first + 360 / corners * np.arange(corners))
    around = zip(x + 1.25 * size * np.cos(angles), y + 1.25 * size * np.sin(angles))
    return el(
        "polygon", class_=class_, points=" ".join(f"{_fixed(a)},{_fixed(b)}" for a, b in around)
    )


def legend(systems: Sequence[tuple[str, str]], chance: bool = True) -> Markup:
    """Markers with names, as a line of HTML above a group of charts."""
    parts = [
        el(
            "span",
            el("svg", marker(7, 7, css(s), 4.2), viewBox="0 0 14 14", aria_hidden="true"),
            name,
        )
        for s, name in systems
    ]
    if chance:
        dash = el("line", class_="chance", x1=0, x2=18, y1=7, y2=7)
        box = el("svg", dash, viewBox="0 0 18 14", style="width:18px", aria_hidden="true")
        parts.append(el("span", box, "chance"))
    return el("p", parts, class_="legend")


def curves(
    series: Sequence[Series],
    label: str,
    x_title: str,
    y_title: str,
    chance: float | None = None,
    unit: str = "",
    log_x: bool = False,
    x_ticks: Sequence[float] | None = None,
    zero: bool = True,
) -> Markup:
    """Lines over a common x.

    Parameters
    ----------
    series : sequence of Series
    label : str
        What the chart shows, in words.
    chance : float, optional
    unit : {"", "%"}
        Of y.
    log_x : bool
    x_ticks : sequence of float, optional
    zero : bool
        The y axis starts at zero.
    """
    xs = [v for s in series for v in s.x]
    limits = [v for s in series for part in (s.y, s.low, s.high) if part is not None for v in part]
    limits += [chance] if chance is not None else []
    low, high = (0.0 if zero else min(limits)), max(limits)
    room = (high - low or 1.0) * 0.06
    high = 1.0 if unit == "%" and high > 0.8 else high + room
    axes = Axes((min(xs), max(xs)), (low if zero else low - room, high), log_x)
    y_ticks = ticks(*axes.y_range)
    x_ticks = ticks(min(xs), max(xs), 6) if x_ticks is None else x_ticks
    axes.grid(x_ticks, y_ticks, tick_labels(x_ticks), tick_labels(y_ticks, unit))
    if chance is not None:
        axes.level(chance)
    for one in series:
        axes.series(one)
    axes.titles(x_title)
    return el("figure", el("figcaption", y_title), axes.svg(label))


@dataclass(frozen=True)
class Mark:
    """A value with its interval, and both in words."""

    system: str
    value: float
    low: float
    high: float
    words: str


def dots(
    lines: Sequence[tuple[str, Sequence[Mark]]],
    label: str,
    level: float,
    unit: str = "%",
    zero: bool = False,
    words: bool = False,
    caption: str = "",
) -> Markup:
    """Values with intervals, line by line, against a level (chance, or no difference).

    Parameters
    ----------
    lines : sequence of (name, marks)
        Marks of one line lie a little apart; a line without marks is a heading.
    label : str
        What the chart shows, in words.
    level : float
    unit : {"%", "points", ""}
    zero : bool
        The axis starts at zero.
    words : bool
        Write the words of each line's last mark beside it.
    caption : str
    """
    marks = [mark for _, some in lines for mark in some]
    low = min([m.low for m in marks] + [level])
    high = max([m.high for m in marks] + [level])
    room = 0.04 * (high - low or 1.0)
    apart, step = 5.5, 21
    heights = [step + apart * max(0, len(some) - 1) for _, some in lines]
    longest = max([len(name) for name, some in lines if some], default=0)
    axes = Axes(
        (min(0.0, low) if zero else low - room, high + room), (0, 1), height=TOP + BOTTOM + sum(heights) + 4,
        left=min(190, 20 + 6.1 * longest), right=112 if words else RIGHT,
    )  # fmt: skip
    x_ticks = ticks(*axes.x_range, 4 if words else 5)
    axes.grid(x_ticks, (), tick_labels(x_ticks, unit))
    at = _fixed(axes.x(level))
    axes.add(el("line", class_="chance", x1=at, x2=at, y1=TOP, y2=axes.height - BOTTOM))
    top = TOP + 2.0
    for (name, some), height in zip(lines, heights, strict=True):
        middle = _fixed(top + height / 2)
        place = (
            {"x": axes.left - 9, "class_": "tick"}
            if some
            else {"x": 2, "class_": "tick start strong"}
        )
        axes.add(el("text", name, y=middle, dy="0.32em", **place))
        for i, one in enumerate(some):
            y = top + height / 2 + apart * (i - (len(some) - 1) / 2)
            ends = {"x1": _fixed(axes.x(one.low)), "x2": _fixed(axes.x(one.high))}
            axes.add(el("line", class_=f"whisker {one.system}", y1=_fixed(y), y2=_fixed(y), **ends))
            title = el("title", f"{name}: {one.words}")
            axes.add(el("g", title, marker(axes.x(one.value), y, one.system, 4.2)))
        if words and some:
            axes.add(
                el(
                    "text",
                    some[-1].words,
                    class_="note start",
                    x=axes.edge + 8,
                    y=middle,
                    dy="0.32em",
                )
            )
        top += height
    return el("figure", el("figcaption", caption) if caption else None, axes.svg(label))


def matrix(values: np.ndarray, names: Sequence[str], label: str) -> Markup:
    """A square of shares (row, column), darker for more, with names on both sides.

    Parameters
    ----------
    values : array (row, column)
        Each row sums to 1.
    names : sequence of str
    label : str
    """
    n = len(names)
    cell = max(9.0, min(26.0, 420 / n))
    size = min(12.0, cell * 0.86)
    margin = 12 + 0.56 * size * max(map(len, names))
    slant = 12 + 0.45 * size * max(map(len, names))
    parts: list[Markup] = []
    for i, name in enumerate(names):
        middle = (i + 0.5) * cell
        font = f"font-size:{size:.1f}px"
        parts.append(el("text", name, class_="tick", x=_fixed(margin - 6), dy="0.32em",
                        y=_fixed(slant + middle), style=font))  # fmt: skip
        x = margin + middle
        turn = f"translate({_fixed(x)} {_fixed(slant - 6)}) rotate(-50)"
        parts.append(el("text", name, class_="tick start", transform=turn, style=font))
        for j in np.flatnonzero(values[i] > 0):
            words = f"{name} seen, {names[j]} retrieved: {100 * values[i, j]:.0f} %"
            place = {"x": _fixed(margin + j * cell), "y": _fixed(slant + i * cell)}
            place |= {"width": _fixed(cell - 1), "height": _fixed(cell - 1)}
            strength = f"fill-opacity:{0.08 + 0.92 * values[i, j] ** 0.8:.2f}"
            class_ = "cell same" if i == j else "cell"
            parts.append(el("rect", el("title", words), class_=class_, style=strength, **place))
        parts.append(el("rect", x=_fixed(margin + i * cell), y=_fixed(slant + i * cell), class_="outline",
                        width=_fixed(cell - 1), height=_fixed(cell - 1)))  # fmt: skip
    edge = cell * n
    frame = el("rect", class_="frame", x=margin - 0.5, y=slant - 0.5, width=edge, height=edge)
    width, height = margin + edge + 0.65 * slant, slant + edge + 4
    return el(
        "svg", frame, parts, viewBox=f"0 0 {_fixed(width)} {_fixed(height)}", role="img",
        class_="chart matrix", aria_label=label, style=f"min-width:{min(width, 560):.0f}px;max-width:{1.25 * width:.0f}px",
    )  # fmt: skip
