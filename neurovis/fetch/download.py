"""One file from its owners to its place: resumed, verified, whole or not there at all.

Comes in: where the same file may be had, best first. Goes out: the file, renamed into place once its
size and checksum are right. It grows as ``<file>.part``; a lost connection, a kill or Ctrl-C leaves that,
and the next attempt asks for the rest of the same version (``Range`` with ``If-Range``). A server that
ignores this, or has another version by now, sends the whole file, which starts anew.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neurovis.errors import NeurovisError
from neurovis.fetch.sources import Remote
from neurovis.fetch.state import Digest, State, given
from neurovis.fetch.web import Busy, Dead, Offline, Web, shown
from neurovis.store import says_disk_full

Tick = Callable[[int], None]


class Wrong(NeurovisError):
    """Other bytes than the owners' list promises."""


def part_of(target: Path) -> Path:
    """Where a file grows until it is whole."""
    return target.with_name(target.name + ".part")


def download(path: str, remotes: Sequence[Remote], state: State, web: Web, tick: Tick) -> str:
    """Fetch one file.

    Parameters
    ----------
    path : str
        Under the root of `state`.
    remotes : sequence of Remote
        The same file at several places; the next is tried where one fails.
    state : State
    web : Web
    tick : callable
        Told how many bytes came (negative where they were of no use).

    Returns
    -------
    str
        What is worth saying; empty if nothing is.

    Raises
    ------
    NeurovisError
        If no place gives the file, with the reason of each.
    """
    reasons: list[NeurovisError] = []
    for remote in remotes:
        try:
            note = _from(path, remote, state, web, tick)
        except (Dead, Offline, Wrong) as error:
            reasons.append(error)
            continue
        if reasons and not note:
            return f"{path} came from {shown(remote.url)}, as {reasons[0]}"
        return note
    if len(reasons) == 1:
        raise reasons[0]
    kind = Offline if all(isinstance(r, Offline) for r in reasons) else Dead
    raise kind(" Also tried: ".join(str(reason) for reason in reasons))


def _from(path: str, remote: Remote, state: State, web: Web, tick: Tick) -> str:
    target = state.root / path
    part = part_of(target)
    problem = ""
    with says_disk_full(target):
        _make_room(target, path)
        for _ in range(2):
            digest = Digest(remote)
            try:
                _stream(path, part, remote, state, web, tick, digest)
                problem = digest.wrong()
            except _Other as other:
                problem = str(other)
            if not problem:
                return _publish(path, part, target, digest, state)
            tick(digest.resumed - digest.sizes)
            part.unlink(missing_ok=True)
    raise Wrong(
        f"{path}: what {shown(remote.url)} sends {problem}, twice; none of it is kept: its owners "
        "changed the file (ask for their list anew with --relist) or something stands between."
    )


def _make_room(target: Path, path: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NeurovisError(
            f"{target.parent}: expected a folder for {path!r}, found a file; move it away."
        ) from None
    if target.is_dir():
        raise NeurovisError(f"{target}: expected a file, found a folder; move it away.")


class _Other(Exception):
    """The server offers another file than the one that was listed."""


def _stream(
    path: str, part: Path, remote: Remote, state: State, web: Web, tick: Tick, digest: Digest
) -> None:
    """Make the unfinished file as long as it gets; `digest` follows its bytes."""
    if _resumable(path, part, remote, state):
        with part.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
        digest.resumed = digest.sizes
    tries = 0
    while remote.size is None or digest.sizes < remote.size:
        before = digest.sizes
        try:
            return _attempt(path, part, remote, state, web, tick, digest)
        except Busy as busy:
            tries = 1 if digest.sizes > before else tries + 1
            web.wait(remote.url, tries, busy)


def _resumable(path: str, part: Path, remote: Remote, state: State) -> bool:
    """Whether an unfinished file counts; one that nothing can vouch for is deleted."""
    size = part.stat().st_size if part.is_file() else 0
    vouched = bool(state.begun.get(path) or given(remote))
    if size and (not vouched or (remote.size is not None and size > remote.size)):
        part.unlink()
        return False
    return size > 0


def _attempt(
    path: str, part: Path, remote: Remote, state: State, web: Web, tick: Tick, digest: Digest
) -> None:
    etag = state.begun.get(path, "")
    headers = {}
    if digest.sizes:
        headers["Range"] = f"bytes={digest.sizes}-"
        headers |= {"If-Range": etag} if etag else {}
    with contextlib.closing(web.once(remote.url, headers)) as answer:
        start, whole = _place(answer)
        if answer.status_code == 416 and whole == digest.sizes > 0:
            return
        new = _version(answer)
        goes_on = start == digest.sizes and (not (etag and new) or etag == new)
        if not goes_on:
            tick(digest.resumed - digest.sizes)
            digest.reset()
            part.unlink(missing_ok=True)
            if start != 0:
                # the rest of another version, or another part: ask for all of it
                state.begin(path, "")
                raise Busy("does not send what it is asked for")
        _refuse_another(path, remote, answer, whole)
        if start == 0:
            state.begin(path, new)
        with part.open("ab", buffering=0) as handle:
            for chunk in web.chunks(answer, remote.url):
                handle.write(chunk)
                digest.update(chunk)
                tick(len(chunk))
                if remote.size is not None and digest.sizes > remote.size:
                    raise _Other(f"has more than the {remote.size} bytes that its owners say")
    if whole is not None and digest.sizes < whole:
        raise Busy("the connection was lost")


def _place(answer: Any) -> tuple[int | None, int | None]:
    """Where in the file an answer begins, and the size of the whole."""
    length = answer.headers.get("Content-Length", "")
    if answer.status_code == 200:
        return 0, int(length) if length.isdigit() else None
    span = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
    )
    if span is None:
        return None, None
    start, whole = span.groups()
    return int(start) if start else None, int(whole) if whole != "*" else None


def _version(answer: Any) -> str:
    """What tells versions of a file apart: a strong ETag, or when it was changed."""
    etag = answer.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    return answer.headers.get("Last-Modified", "")


def _refuse_another(path: str, remote: Remote, answer: Any, total: int | None) -> None:
    """Refuse a web page in place of a file, or a file of another size, before its bytes come."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    page = kind == "text/html" and not path.lower().endswith((".html", ".htm"))
    if page and (remote.size is None or total != remote.size):
        raise Dead(
            f"{path}: {shown(remote.url)} sends a web page in place of the file; its link is dead "
            "or asks to log in."
        )
    if None not in (total, remote.size) and total != remote.size:
        raise _Other(f"has {total} bytes, its owners say {remote.size}")


def _publish(path: str, part: Path, target: Path, digest: Digest, state: State) -> str:
    """Rename a whole file into place; another one that stood there is kept aside."""
    note = ""
    with part.open("ab") as handle:
        os.fsync(handle.fileno())
    # a shorter one was half of this; anything else may be somebody's own
    if target.is_file() and target.stat().st_size >= max(1, digest.sizes):
        number = 1
        while (aside := target.with_name(f"{target.name}.old{number}")).exists():
            number += 1
        os.replace(target, aside)
        note = f"{path}: another file stood there, it is kept as {aside.name}"
    os.replace(part, target)
    state.finish(path, digest)
    return note
