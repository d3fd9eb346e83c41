"""Artefact folders, atomic writes, checksums, HDF5 and safetensors.

Comes in: data to keep. Goes out: files and folders that are either complete or absent, whatever
happens meanwhile (a kill, a full disk): everything is written under a temporary name beside its
destination and renamed into place. Nothing read here is executed.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import io
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import fingerprint, to_dict, write_yaml
from neurovis.errors import NeurovisError

FORMAT_VERSION = 1
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PACKAGES = ("neurovis", "mne", "torch", "braindecode", "open_clip_torch", "timm", "diffusers")
PACKAGES += ("numpy", "scipy", "h5py", "mne-bids", "scikit-image")


class DiskFull(NeurovisError):
    """The disk filled up while writing; nothing complete was lost."""


@contextlib.contextmanager
def says_disk_full(path: Path) -> Iterator[None]:
    """Turn a full disk into one sentence that names the destination."""
    try:
        yield
    except OSError as error:
        full = error.errno in FULL or any(os.strerror(number) in str(error) for number in FULL)
        if not full:
            raise
        raise DiskFull(
            f"{path}: the disk (or this account's share of it) is full; nothing complete was lost: "
            "free some space and run the same command again."
        ) from error


def temporary(path: Path) -> Path:
    """Name beside `path` for unfinished content, unique to this process."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def remove(path: Path) -> None:
    """Delete a file or a folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without an error.

    Examples
    --------
    >>> with atomic(folder / "scores.json") as temporary:
    ...     temporary.write_text("{}")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    partial = temporary(path)
    try:
        with says_disk_full(path):
            yield partial
            if partial.is_file():
                with partial.open("rb+") as handle:
                    os.fsync(handle.fileno())
            os.replace(partial, path)
    finally:
        remove(partial)


def keep_first(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file that becomes `path`, unless another process was there first.

    Of several processes that make the same file all then read the same one.

    Parameters
    ----------
    path : path
    write : callable
        Makes the file at the path it is given.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = temporary(path)
    try:
        write(made)
        try:
            os.link(made, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            os.replace(made, path)
    finally:
        remove(made)


class _Enduring:
    """A new file whose writes never fail; the first error is kept for the end.

    Libraries that write through it stay in order on a full disk: HDF5 can neither close nor exit once
    a write has failed, and torch reports a failed write as damaged memory.
    """

    def __init__(self, raw: io.FileIO):
        self.raw = raw
        self.error: OSError | None = None
        self.read, self.seek, self.tell = raw.read, raw.seek, raw.tell

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            done = 0
            while done < len(view):
                done += self.raw.write(view[done:])
        except OSError as error:
            self.error = self.error or error
        return len(view)

    def readinto(self, buffer: Any) -> int:
        n = self.raw.readinto(buffer)
        memoryview(buffer)[n:] = bytes(len(buffer) - n)
        return len(buffer)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def flush(self) -> None:
        """Nothing is buffered here."""

    def check(self) -> None:
        """Raise the error that was kept."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def existing_h5(path: str | Path) -> Iterator[Any]:
    """Give a whole HDF5 file to be changed in place; a kill half-way leaves it useless."""
    import h5py

    with enduring(path, "r+b") as stream, h5py.File(stream, "r+") as file:
        yield file


@contextlib.contextmanager
def enduring(path: str | Path, mode: str = "w+b") -> Iterator[Any]:
    """Give a file for a library that does not survive a failed write; an error comes at the end."""
    with open(path, mode, buffering=0) as raw:
        file = _Enduring(raw)
        try:
            yield file
        finally:
            file.check()


@contextlib.contextmanager
def new_h5(path: str | Path, format: str, **attributes: Any) -> Iterator[Any]:
    """Give a new HDF5 file of this format, which appears when the block ends without an error."""
    import h5py

    with atomic(path) as partial, enduring(partial) as stream, h5py.File(stream, "w") as file:
        file.attrs.update({"format": format, "format_version": FORMAT_VERSION, **attributes})
        yield file


def sweep(path: Path) -> None:
    """Delete what killed processes left of `path`; those of living processes stay."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        number = leftover.name.removesuffix(".partial").rsplit(".", 1)[-1]
        if number.isdigit() and int(number) != os.getpid() and not _alive(int(number)):
            remove(leftover)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, read in blocks."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        raise NeurovisError(f"{path}: no such file; correct the path.") from None


def write_json(path: str | Path, data: Any) -> None:
    """Write JSON atomically; NaN is refused."""
    try:
        text = json.dumps(to_dict(data), indent=1, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise NeurovisError(
            f"{path}: a value is NaN or infinite, expected finite numbers; "
            "find the step that made it and correct its input."
        ) from error
    with atomic(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path, format: str | None = None) -> Any:
    """Read JSON; check its ``format`` and ``format_version`` where `format` is given."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NeurovisError(f"{path}: no such file; run the command that writes it.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise NeurovisError(f"{path}: not valid JSON; the file is damaged, make it anew.") from None
    if format is not None:
        found = data.get("format") if isinstance(data, dict) else None
        check_format(path, format, found, data.get("format_version", 0) if found else 0)
    return data


def check_format(path: Path, expected: str, found: Any, version: Any) -> None:
    """Refuse a file of another format or of a newer version."""
    if found != expected:
        raise NeurovisError(
            f"{path}: expected format {expected!r}, found {found!r}; give such a file."
        )
    try:
        newer = int(version) > FORMAT_VERSION
    except (TypeError, ValueError):
        raise NeurovisError(
            f"{path}: expected a whole number as format_version, found {version!r}; make it anew."
        ) from None
    if newer:
        raise NeurovisError(
            f"{path}: format version {int(version)}, this neurovis reads up to {FORMAT_VERSION}; "
            "update neurovis."
        )


def open_h5(path: str | Path, format: str) -> Any:
    """Open an HDF5 file for reading after checking its format.

    Returns
    -------
    h5py.File

    Raises
    ------
    NeurovisError
        If the file is absent, truncated, damaged, of another format or of a newer version.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise NeurovisError(f"{path}: no such file; run the command that writes it.")
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise NeurovisError(
            f"{path}: expected an HDF5 file, found a truncated or foreign one; make it anew."
        ) from None
    try:
        check_format(path, format, file.attrs.get("format"), file.attrs.get("format_version", 0))
    except NeurovisError:
        file.close()
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        file.close()
        raise NeurovisError(f"{path}: its attributes are damaged; make the file anew.") from error
    return file


def read_h5(path: str | Path, format: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read whole datasets of an HDF5 file; strings come back as ``str`` arrays."""
    with open_h5(path, format) as file:
        return {name: dataset(path, file, name)[()] for name in names}


def dataset(path: str | Path, file: Any, name: str) -> Any:
    """One dataset of an open file (strings as ``str``), or a sentence that names what is missing."""
    if name not in file:
        raise NeurovisError(
            f"{path}: dataset {name!r} is missing; the file is incomplete, make it anew."
        )
    try:
        item = file[name]
    except (KeyError, RuntimeError) as error:
        raise NeurovisError(f"{path}: dataset {name!r} is damaged; make the file anew.") from error
    return _Strings(item) if getattr(item, "dtype", np.dtype("f4")).kind in "OS" else item


class _Strings:
    def __init__(self, item: Any):
        self.item = item

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.asarray(self.item.asstr()[key]).astype(str)


def write_h5(path: str | Path, format: str, data: dict[str, Any], **attributes: Any) -> None:
    """Write arrays (``a/b`` makes groups) and attributes to an HDF5 file, atomically."""
    import h5py

    with new_h5(path, format, **attributes) as file:
        for name, value in data.items():
            value = np.asarray(value)
            if value.dtype.kind in "US":
                file.create_dataset(name, data=value.astype(object), dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=value)


def provenance(inputs: dict[str, str] | None = None, seed: int | None = None) -> dict[str, Any]:
    """What made an artefact: versions, inputs' fingerprints, seed, machine, time (no paths)."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "python": platform.python_version(),
        "versions": versions,
        "inputs": inputs or {},
        "seed": seed,
        "host": {
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        },
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def artefact_path(root: str | Path, kind: str, name: str, *identity: Any) -> Path:
    """Folder ``<root>/<kind>/<name>-<fingerprint>`` of an artefact with this identity."""
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-.")
    return Path(root) / kind / f"{safe}-{fingerprint(*identity)}"


def is_complete(folder: str | Path) -> bool:
    """Whether an artefact folder is there, whole."""
    return (Path(folder) / "provenance.json").is_file()


def working_folder(folder: Path) -> Path:
    """Where an artefact grows until it is complete; stays after a kill, so that work resumes."""
    return folder.with_name(f".{folder.name}.partial")


@contextlib.contextmanager
def artefact(
    folder: str | Path,
    config: Any,
    inputs: dict[str, str] | None = None,
    seed: int | None = None,
) -> Iterator[Path]:
    """Grow an artefact folder under a temporary name and rename it into place when complete.

    What an interrupted run left in the temporary folder is kept for the next run to go on from; the
    caller decides file by file what of it is whole (files written with `atomic` are).

    Parameters
    ----------
    folder : path
        Final folder, from `artefact_path`.
    config : Config or plain data
        Written as ``config.yaml``, absolute paths by their last part.
    inputs : dict of str
        Fingerprints of what went in.
    seed : int, optional

    Yields
    ------
    Path
        The temporary folder.
    """
    folder = Path(folder)
    partial = working_folder(folder)
    started = time.perf_counter()
    with says_disk_full(folder):
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        write_yaml(partial / "config.yaml", _without_folders(to_dict(config)))
        record = provenance(inputs, seed)
        record["seconds"] = round(time.perf_counter() - started, 2)
        write_json(partial / "provenance.json", record)
        if folder.exists():
            remove(folder)
        os.replace(partial, folder)


def _without_folders(data: Any) -> Any:
    """Plain data whose absolute paths say their last part alone: an artefact names no person's folder."""
    if isinstance(data, dict):
        return {key: _without_folders(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_without_folders(value) for value in data]
    return Path(data).name if isinstance(data, str) and Path(data).is_absolute() else data


def save_tensors(path: str | Path, tensors: dict[str, Any], **attributes: str) -> None:
    """Write torch tensors as safetensors, atomically; attributes are strings."""
    from safetensors.torch import save

    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with atomic(path) as partial:
        partial.write_bytes(save(tensors, metadata={k: str(v) for k, v in attributes.items()}))


def load_tensors(path: str | Path) -> dict[str, Any]:
    """Read safetensors; a damaged file is named."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise NeurovisError(f"{path}: no such file; run the command that writes it.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise NeurovisError(f"{path}: damaged weights ({error}); make the file anew.") from None
