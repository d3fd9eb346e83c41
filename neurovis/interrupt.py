"""Ctrl-C that is never lost.

Python ignores errors in a callback that it runs between two steps, such as that of a weak reference, and a
Ctrl-C that falls into one is printed and forgotten: the command would go on as if nobody had pressed it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SAID = "interrupted; the same command goes on from here"
AGAIN = 0.01
"""Seconds after which a Ctrl-C that was ignored comes again."""


@contextmanager
def heard() -> Iterator[None]:
    """Within it, an ignored ``KeyboardInterrupt`` is raised again a moment later."""
    before = sys.unraisablehook

    def ignored(what: sys.UnraisableHookArgs) -> None:
        if what.exc_type is not KeyboardInterrupt:
            before(what)
            return
        import _thread
        import threading

        again = threading.Timer(AGAIN, _thread.interrupt_main)
        again.daemon = True
        again.start()

    sys.unraisablehook = ignored
    try:
        yield
    finally:
        sys.unraisablehook = before
