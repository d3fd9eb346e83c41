"""What a root remembers: the owners' lists of files, and which files were found whole.

Comes in: lists and finished files. Goes out: ``<root>/.neurovis/<dataset>-files.json`` (lists, accepted
terms) and ``<dataset>-whole.jsonl`` (one line per finished or begun file), so that nothing whole is
fetched or read again and `doctor` works offline. The second only grows: a kill costs its last line.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic

from neurovis.config import Config, build, to_dict
from neurovis.errors import NeurovisError
from neurovis.fetch.sources import Remote
from neurovis.manifest import Source
from neurovis.progress import say
from neurovis.store import read_json, write_json

FOLDER = ".neurovis"
Verdict = Literal["whole", "missing", "half", "differs", "unread"]


class Listed(Config):
    """The list of one source, as it was given."""

    kind: str
    where: str
    asked: tuple[str, ...]
    time: str
    files: tuple[Remote, ...]


class Whole(pydantic.BaseModel):
    """What was known of a file when it was whole."""

    size: int
    mtime: int
    sha256: str
    given: str = ""
    members: list[tuple[str, int]] | None = None


def given(remote: Remote) -> str:
    """The checksum that its owners give, the strongest of them; empty if there is none."""
    for name in ("sha256", "md5", "git"):
        if getattr(remote, name):
            return f"{name}:{getattr(remote, name)}"
    return ""


class Digest:
    """The checksums of a file, from its bytes in order; `resumed` of them were there before."""

    def __init__(self, remote: Remote):
        self.remote = remote
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        remote = self.remote
        self.sizes = self.resumed = 0
        self._sha256 = hashlib.sha256()
        # what owners give as md5 or as a git blob guards against accidents, not attackers
        kind = given(remote).partition(":")[0]
        self._other = None
        if kind == "md5":
            self._other = hashlib.md5(usedforsecurity=False)
        elif kind == "git" and remote.size is not None:
            self._other = hashlib.sha1(b"blob %d\0" % remote.size, usedforsecurity=False)

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self.sizes += len(data)
        self._sha256.update(data)
        if self._other is not None:
            self._other.update(data)

    @property
    def sha256(self) -> str:
        """Of all bytes so far."""
        return self._sha256.hexdigest()

    def wrong(self) -> str:
        """What differs from what the owners say, in words; empty if nothing does."""
        size = self.remote.size
        if size is not None and self.sizes != size:
            return f"has {self.sizes} bytes, its owners say {size}"
        kind, _, expected = given(self.remote).partition(":")
        found = self.sha256 if kind == "sha256" else self._other and self._other.hexdigest()
        if expected and found and found != expected:
            return f"differs from its {kind} checksum"
        return ""


class State:
    """The memory of one dataset under one root.

    Parameters
    ----------
    root : Path
    dataset : str
    """

    def __init__(self, root: Path, dataset: str):
        self.root = root
        self.dataset = dataset
        self.file = root / FOLDER / f"{dataset}-files.json"
        self.log = root / FOLDER / f"{dataset}-whole.jsonl"
        self._lock = threading.Lock()
        self.accepted = ""
        self.listed: dict[str, Listed] = {}
        self.whole: dict[str, Whole] = {}
        self.begun: dict[str, str] = {}
        self._read()

    def _read(self) -> None:
        if self.file.is_file():
            data = read_json(self.file, "neurovis-files")
            try:
                self.accepted = str(data["accepted"])
                self.listed = {k: build(Listed, v) for k, v in data["sources"].items()}
            except (KeyError, TypeError, AttributeError, NeurovisError) as error:
                raise NeurovisError(
                    f"{self.file}: damaged ({error}); delete it and fetch again, whole files stay."
                ) from None
        if not self.log.is_file():
            return
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                # a line that a kill cut short says nothing
                entry = json.loads(line)
                path = entry.pop("path")
                if "begun" in entry:
                    self.begun[path] = str(entry["begun"])
                else:
                    self.whole[path] = Whole(**entry)

    def keep(
        self, source: Source, asked: Sequence[str], files: Sequence[Remote], anew: bool = False
    ) -> None:
        """Remember the list of a source, beside what was listed of it before or in place of it."""
        old = self.listed.get(source.name)
        known = {remote.path: remote for remote in files}
        if old is not None and (old.kind, old.where) == (source.kind, source.where) and not anew:
            known = {remote.path: remote for remote in old.files} | known
            asked = (*old.asked, *asked)
        self.listed[source.name] = Listed(
            kind=source.kind,
            where=source.where,
            asked=tuple(dict.fromkeys(asked)),
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            files=tuple(known[path] for path in sorted(known)),
        )
        self.write()

    def lacks(self, source: Source, asked: Sequence[str]) -> list[str]:
        """Patterns that a source has not been asked for yet."""
        old = self.listed.get(source.name)
        if old is None or (old.kind, old.where) != (source.kind, source.where):
            return list(asked)
        return [pattern for pattern in asked if pattern not in old.asked]

    def write(self) -> None:
        """Write lists and accepted terms, atomically."""
        data = {"format": "neurovis-files", "format_version": 1, "dataset": self.dataset}
        data |= {"accepted": self.accepted, "sources": to_dict(self.listed)}
        write_json(self.file, data)

    def _append(self, **entry: Any) -> None:
        with self._lock:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as handle:
                # a line of its own, even after one that a kill cut short
                start = "" if handle.tell() == 0 or self._ends_well() else "\n"
                handle.write(f"{start}{json.dumps(entry)}\n")

    def _ends_well(self) -> bool:
        with self.log.open("rb") as handle:
            handle.seek(-1, 2)
            return handle.read() == b"\n"

    def begin(self, path: str, etag: str) -> None:
        """Remember which version of a file an unfinished one is of."""
        self.begun[path] = etag
        self._append(path=path, begun=etag)

    def finish(
        self, path: str, digest: Digest, members: list[tuple[str, int]] | None = None
    ) -> None:
        """Remember that a file is whole, or what an archive was unpacked to."""
        there = self.root / path
        about = there.stat() if there.is_file() else None
        entry = Whole(
            size=digest.sizes,
            mtime=about.st_mtime_ns if about else 0,
            sha256=digest.sha256,
            given=given(digest.remote),
            members=members,
        )
        self.whole[path] = entry
        self._append(path=path, **entry.model_dump(exclude_none=True))

    def unpacked(self, path: str, members: list[tuple[str, int]]) -> None:
        """Remember what an archive was unpacked to; it may be deleted then."""
        entry = self.whole[path].model_copy(update={"members": members})
        self.whole[path] = entry
        self._append(path=path, **entry.model_dump(exclude_none=True))

    def verdict(self, path: str, remote: Remote) -> Verdict:
        """What is known of a file without reading it.

        ``unread``: its size is right, but its checksum has not been computed since it was written.
        """
        there = self.root / path
        entry = self.whole.get(path)
        if entry is not None and entry.members is not None and entry.given == given(remote):
            inside = [self.root / name for name, _ in entry.members]
            sizes = [size for _, size in entry.members]
            if all(p.is_file() and p.stat().st_size == n for p, n in zip(inside, sizes)):
                return "whole"
        try:
            about = there.stat()
        except (FileNotFoundError, NotADirectoryError):
            return "missing"
        if remote.size is not None and about.st_size != remote.size:
            return "half" if about.st_size < remote.size else "differs"
        known = entry is not None and (entry.size, entry.mtime) == (
            about.st_size,
            about.st_mtime_ns,
        )
        if known and entry is not None and entry.given == given(remote):
            return "whole"
        return "unread" if given(remote) else "whole"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time fetch this dataset here.

        Raises
        ------
        NeurovisError
            If another one does.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with (self.file.parent / f"{self.dataset}.lock").open("w") as handle:
            try:
                import fcntl
            except ImportError:  # no such locks on this system
                yield
                return
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NeurovisError(
                    f"{self.root}: another process fetches {self.dataset!r} here; wait until it is "
                    "done, or stop it."
                ) from None
            except OSError as error:  # a network file system that has no locks
                say(f"{self.root}: cannot be locked ({error.strerror}); fetch in one process only")
            yield
