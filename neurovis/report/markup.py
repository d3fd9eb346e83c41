"""HTML that cannot be injected: elements are made by a function that escapes whatever is not markup.

Comes in: text from anywhere and numbers. Goes out: `Markup`. There is no template language: a section
of the report is a Python expression, and the only way to get an unescaped ``<`` is to call `el`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

VOID = frozenset({"meta", "br", "hr", "img", "input"})
SHAPES = frozenset({"circle", "line", "path", "rect", "polygon"})
THIN = "\u202f"  # narrow no-break space: between a number and its unit
# a path starts at "/" or "C:\" after nothing that belongs to a word; its last part says enough
PATH = re.compile(
    r"(?<![\w.:/\\~)\]-])(?:/|[A-Za-z]:[/\\])(?:[\w.+@~ -]*[\w.+@~-][/\\])+(?=[\w.+@~-])"
)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Escape a value; folders of an absolute path are left out of it."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(PATH.sub("…/", str(value)), quote=True))


def join(children: Any) -> Markup:
    """Markup of nested iterables of children; None is left out."""
    if children is None:
        return Markup("")
    if isinstance(children, Iterable) and not isinstance(children, str):
        return Markup("".join(map(join, children)))
    return text(children)


def el(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element; children and attribute values are escaped unless they are `Markup`.

    ``class_`` becomes ``class`` and ``aria_label`` becomes ``aria-label``; an attribute that is None or
    False is left out, one that is True stands alone.

    Examples
    --------
    >>> el("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{text(value)}"')
    opening = " ".join(words)
    if name in SHAPES and not children:
        return Markup(f"<{opening}/>")
    return Markup(f"<{opening}>" if name in VOID else f"<{opening}>{join(children)}</{name}>")


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits and a true minus sign."""
    shown = f"{value:.{digits}g}"
    if "e" in shown:
        base, power = shown.split("e")
        return f"{base} × 10^{int(power)}".replace("-", "−")
    return shown.replace("-", "−")


def percent(value: float, digits: int = 1) -> str:
    """A share in per cent."""
    return f"{100 * value:.{digits}f}{THIN}%".replace("-", "−")


def share(value: float) -> str:
    """A share in per cent for running text: no more digits than are worth reading."""
    digits = 0 if value >= 0.0995 or value == 0 else 1 if value >= 0.00095 else 2
    return percent(value, digits)


def count(n: int) -> str:
    """A whole number, thousands apart."""
    return f"{n:,}".replace(",", THIN)


def plural(n: int, word: str, many: str | None = None) -> str:
    """``1 subject``, ``2 subjects``."""
    return f"{count(n)} {word if n == 1 else many or word + 's'}"
