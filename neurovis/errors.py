"""One error shape for the whole package: what is wrong, expected, found, what to do.

`NeurovisError` marks errors that a user can act on: the command line prints their sentence alone and
exits with 1; a traceback appears only with ``--debug``. `UsageError` exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeurovisError(ValueError):
    """Something a user can act on, said in one sentence."""


class UsageError(NeurovisError):
    """A command, option or config that does not exist or does not fit."""


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Sentence for a name that is not known, with the nearest right one.

    Examples
    --------
    >>> unknown("loss", "clp", ["clip", "mse"])
    "loss 'clp' is unknown; did you mean 'clip'? Known: clip, mse."
    """
    known = sorted(map(str, known))
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return f"{kind} {str(name)!r} is unknown;{hint} Known: {shown}."


def missing_package(package: str, extra: str) -> NeurovisError:
    """Error for an optional package that is not installed, with the line that installs it."""
    return NeurovisError(f'{package} is not installed: pip install "neurovis[{extra}]"')
