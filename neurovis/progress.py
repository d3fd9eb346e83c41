"""Progress bars: one function, quiet when asked and when nobody is watching a log file grow.

Comes in: an iterable. Goes out: the same items, with a bar on the terminal (stderr), or a line every
ten seconds where stderr is a file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(
    iterable: Iterable[T],
    desc: str = "",
    total: int | None = None,
    quiet: bool = False,
    unit: str = "it",
) -> Iterator[T]:
    """Iterate with a progress bar.

    Parameters
    ----------
    iterable : iterable
    desc : str
        What is being done, in a few words.
    total : int, optional
        Number of items; taken from ``len(iterable)`` where it has one.
    quiet : bool
        Show nothing.
    unit : str
        Name of one item.
    """
    if quiet:
        yield from iterable
        return
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    yield from tqdm(
        iterable,
        desc=desc,
        total=total,
        unit=unit,
        mininterval=0.2 if terminal else 10.0,
        dynamic_ncols=terminal,
        leave=True,
    )


def say(text: str, quiet: bool = False) -> None:
    """Print one line of progress to stderr, unless quiet."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)
