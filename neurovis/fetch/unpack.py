"""Archives unpacked without trusting them.

Comes in: a zip, tar or tar.gz file that is whole. Goes out: its files under a folder, each renamed into
place when complete, and their sizes. A member that would leave the folder, a link, a device or an
encrypted member is refused before anything is written.
"""

from __future__ import annotations

import lzma
import stat
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from neurovis.errors import NeurovisError, UsageError
from neurovis.fetch.web import Stopped
from neurovis.manifest import inside
from neurovis.progress import progress
from neurovis.store import atomic

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
_DAMAGED += (NotImplementedError,)


def is_archive(path: str) -> bool:
    """Whether a file is called as an archive that can be unpacked."""
    return path.lower().endswith(ENDINGS)


def destination(path: str, how: str) -> str:
    """Folder under the root that an archive is unpacked to."""
    parent = PurePosixPath(path).parent
    if how == "beside":
        return "" if str(parent) == "." else str(parent)
    name = PurePosixPath(path).name
    ending = next(e for e in sorted(ENDINGS, key=len)[::-1] if name.lower().endswith(e))
    return str(parent / name[: -len(ending)])


def unpack(
    root: Path, path: str, how: str, stop: threading.Event, quiet: bool = False
) -> list[tuple[str, int]]:
    """Unpack an archive.

    Parameters
    ----------
    root : Path
    path : str
        Of the archive, under the root.
    how : {"beside", "folder"}
    stop : threading.Event
        Set when the user stops; what is unpacked by then is not unpacked again.
    quiet : bool

    Returns
    -------
    list of (str, int)
        Path under the root and size of each file in it.

    Raises
    ------
    NeurovisError
        If the archive is damaged, encrypted, or has a member that is no plain file inside it.
    """
    base = destination(path, how)
    with _opened(root / path) as (members, read):
        plan = [
            (f"{base}/{name}" if base else name, size, member) for name, size, member in members
        ]
        for name, size, member in progress(plan, f"unpack {path}", quiet=quiet, unit="file"):
            target = root / name
            if target.is_file() and target.stat().st_size == size:
                continue
            with read(member) as source, atomic(target) as partial, partial.open("wb") as sink:
                left = size
                while block := source.read(1 << 20):
                    if stop.is_set():
                        raise Stopped
                    left -= len(block)
                    if left < 0:
                        raise NeurovisError(
                            f"{path}: its member {name!r} is larger than the {size} bytes it declares; "
                            "the archive is refused, report it."
                        )
                    sink.write(block)
                if left:
                    raise NeurovisError(
                        f"{path}: its member {name!r} ends {left} bytes early; the archive is "
                        "damaged, delete it and fetch it again."
                    )
    return [(name, size) for name, size, _ in plan]


@contextmanager
def _opened(file: Path) -> Iterator[tuple[list[tuple[str, int, Any]], Any]]:
    """Members (path, size, handle) of an archive, and how to read one."""
    name = file.name
    try:
        if name.lower().endswith(".zip"):
            with zipfile.ZipFile(file) as archive:
                yield _zip_members(archive, name), archive.open
        else:
            with tarfile.open(file) as archive:
                yield _tar_members(archive, name), archive.extractfile
    except _DAMAGED as error:
        raise NeurovisError(
            f"{file}: a damaged archive ({error}); delete it and fetch it again."
        ) from None


def _zip_members(archive: zipfile.ZipFile, name: str) -> list[tuple[str, int, Any]]:
    found = []
    for member in archive.infolist():
        if member.is_dir():
            continue
        if member.flag_bits & 1:
            raise NeurovisError(
                f"{name}: encrypted; its owners give the password to those who accept their terms: "
                "unpack it by hand beside where it lies."
            )
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise NeurovisError(f"{name}: {member.filename!r} is a link; the archive is refused.")
        found.append((_safe(member.filename, name), member.file_size, member))
    return found


def _tar_members(archive: tarfile.TarFile, name: str) -> list[tuple[str, int, Any]]:
    found = []
    for member in archive:
        if member.isdir():
            continue
        if not member.isreg():
            raise NeurovisError(
                f"{name}: {member.name!r} is a link or a device; the archive is refused."
            )
        found.append((_safe(member.name.removeprefix("./"), name), member.size, member))
    return found


def _safe(path: str, name: str) -> str:
    try:
        return inside(path, name)
    except UsageError as error:
        raise NeurovisError(f"{error} The archive is refused.") from None
