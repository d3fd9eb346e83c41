"""Which paths a pattern means, and whose recording a path belongs to.

Comes in: patterns of a manifest (``*`` within a folder, ``**`` across folders, ``{subject}``) and the
paths of a listing. Goes out: which of them are meant; a folder means all that is in it (a CTF recording is
one). `fnmatch` and `pathlib` disagree on what ``*`` crosses, and listings are not on this disk: hence one
rule of our own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

from neurovis.errors import UsageError, unknown

EVERYTHING = "**"


def is_name(pattern: str) -> bool:
    """Whether a pattern is that of a file's name in any folder, such as ``*.npy``."""
    return "/" not in pattern and any(sign in pattern for sign in "*?")


@functools.cache
def _regex(pattern: str) -> re.Pattern[str]:
    pattern = pattern.rstrip("/")
    anywhere = r"(?:.*/)?" if is_name(pattern) else ""
    words = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    body = "".join(words.get(part, re.escape(part)) for part in parts)
    return re.compile(rf"{anywhere}{body}(?:/.*)?")


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path, or a folder that it is in, is meant by one of the patterns.

    Examples
    --------
    >>> matches("sub-01/ses-01/raw.npy", ["sub-01/*/raw.npy"])
    True
    >>> matches("sub-01/ses-01/raw.npy", ["*.npy"])
    True
    >>> matches("sub-01/ses-01/raw.npy", ["sub-01/*.npy"])
    False
    >>> matches("sub-01/meg/run.ds/run.meg4", ["sub-01/meg/*.ds"])
    True
    """
    return any(_regex(pattern).fullmatch(path) for pattern in patterns)


def fill(patterns: Sequence[str], subjects: Sequence[str]) -> list[str]:
    """Patterns with each subject's label in place of ``{subject}``; none means everything."""
    filled = []
    for pattern in patterns or [EVERYTHING]:
        if "{subject}" not in pattern:
            filled.append(pattern)
        elif subjects:
            filled += [pattern.replace("{subject}", who) for who in subjects]
        else:
            filled.append(pattern.replace("{subject}", "*"))
    return list(dict.fromkeys(filled))


def head(pattern: str) -> str:
    """What all paths of a pattern begin with, as text."""
    return "" if is_name(pattern) else re.split(r"[*?]", pattern, maxsplit=1)[0]


def heads(patterns: Iterable[str]) -> list[str]:
    """The fewest beginnings that hold all paths of these patterns."""
    found: list[str] = []
    for text in sorted({head(pattern) for pattern in patterns}):
        if not any(text.startswith(shorter) for shorter in found):
            found.append(text)
    return found


def reaches(pattern: str, folder: str) -> bool:
    """Whether something inside a folder, or deeper, can be meant by a pattern."""
    if is_name(pattern) or matches(folder, [pattern]):
        return True
    asked, there = pattern.split("/"), folder.split("/")
    for mine, theirs in zip(asked, there):
        if "**" in mine:
            return True
        if not _regex("./" + mine).fullmatch("./" + theirs):
            return False
    return len(asked) > len(there)


class People:
    """Tell from a path whose recording it is.

    Parameters
    ----------
    expects : sequence of str
        Patterns with ``{subject}``: the letters before it are how files name a subject.
    subjects : sequence of str
        All labels; where there are none, any label counts as one.
    """

    def __init__(self, expects: Sequence[str], subjects: Sequence[str]):
        self.subjects = list(subjects)
        found = [m for p in expects for m in re.findall(r"([A-Za-z0-9-]*)\{subject\}", p)]
        before = sorted(set(found) or {"sub-"}, key=len, reverse=True)
        labels = sorted(map(re.escape, subjects), key=len, reverse=True) or ["[A-Za-z0-9]+"]
        # a bare label is a name's beginning, or it would be found everywhere
        begins = [rf"(?<![A-Za-z0-9]){re.escape(b)}" if b else r"(?:^|(?<=/))" for b in before]
        self._token = re.compile(rf"(?:{'|'.join(begins)})({'|'.join(labels)})(?![A-Za-z0-9])")

    def of(self, path: str) -> set[str]:
        """Labels that a path names; empty for what all subjects share."""
        return set(self._token.findall(path))

    def keep(self, path: str, chosen: Sequence[str]) -> bool:
        """Whether the chosen subjects need a path: it names one of them, or none."""
        named = self.of(path)
        return not named or bool(named & set(chosen))

    def choose(self, asked: Sequence[str]) -> list[str]:
        """Labels as they are written, from how a user types them (``1``, ``sub-01``).

        Raises
        ------
        UsageError
            If there is no such subject; the nearest is named.
        """
        if not self.subjects:
            return [who.removeprefix("sub-") for who in asked]
        found = []
        for who in asked:
            bare = who.removeprefix("sub-")
            number = int(bare) if bare.isdigit() else None
            same = [
                known
                for known in self.subjects
                if known in (who, bare) or (known.isdigit() and int(known) == number)
            ]
            if not same:
                raise UsageError(unknown("subject", who, self.subjects))
            found.append(same[0])
        return list(dict.fromkeys(found))
