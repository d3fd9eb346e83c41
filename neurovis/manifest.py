"""What a dataset is: identity, licence, citation, files with checksums, facts, splits.

Comes in: ``data_manifests/<name>.json``. Goes out: a checked `Manifest`, and whether the files that it
names are whole under a root. Plain JSON, so that a wrong checksum is seen in a diff.
"""

from __future__ import annotations

from pathlib import Path

import pydantic

from neurovis.config import Config, build
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.progress import progress
from neurovis.store import read_json, sha256

_PLACES = [folder / "data_manifests" for folder in Path(__file__).resolve().parents[:2]]
FOLDER = next(filter(Path.is_dir, _PLACES), _PLACES[0])
"""Inside an installed package, beside it in a clone."""


class File(Config):
    """One file of a dataset: path under its root, checksum, size in bytes."""

    path: str
    sha256: str = pydantic.Field(pattern="^[0-9a-f]{64}$")
    size: int = pydantic.Field(ge=0)

    @pydantic.field_validator("path")
    @classmethod
    def _stay_under_root(cls, value: str) -> str:
        if Path(value).is_absolute() or ".." in Path(value).parts:
            raise UsageError(
                f"Manifest.files: {value!r} leaves the root; expected a path under it."
            )
        return value


class Manifest(Config):
    """Identity and facts of one dataset.

    Parameters
    ----------
    name, title, licence : str
    reader : str
        Dataset of ``preprocessing/`` that reads it.
    citation : tuple of str
        What to cite wherever results are shown.
    url : str
        Where its owners keep it; empty where anyone's recordings are meant.
    files : tuple of File
        Empty where anyone's recordings are meant.
    facts : dict
        What readers rely on: modality, channels, rates, counts.
    splits : dict of str
        Named protocols in words.
    """

    name: str
    title: str
    licence: str
    reader: str
    citation: tuple[str, ...] = ()
    url: str = ""
    files: tuple[File, ...] = ()
    facts: dict[str, str | int | float | bool] = pydantic.Field(default_factory=dict)
    splits: dict[str, str] = pydantic.Field(default_factory=dict)


def manifests(folder: str | Path = FOLDER) -> dict[str, Path]:
    """Manifest files by the name of their dataset."""
    return {path.stem: path for path in sorted(Path(folder).glob("*.json"))}


def read_manifest(name: str, folder: str | Path = FOLDER) -> Manifest:
    """Read and check one manifest.

    Raises
    ------
    UsageError
        If there is no such manifest, or a field is wrong; the nearest right name is given.
    """
    known = manifests(folder)
    name = name.replace("_", "-")
    if name not in known:
        raise UsageError(unknown("dataset", name, known))
    data = read_json(known[name], "neurovis-manifest")
    fields = {k: v for k, v in data.items() if k not in ("format", "format_version")}
    manifest = build(Manifest, fields)
    if manifest.name != name:
        raise NeurovisError(
            f"{known[name]}: Manifest.name is {manifest.name!r}, expected {name!r} as the file is "
            "called; correct one of them."
        )
    return manifest


def verify(name: str, root: str | Path, folder: str | Path = FOLDER, quiet: bool = False) -> str:
    """Check what a manifest names under a root.

    Returns
    -------
    str
        One line: how many files are whole.

    Raises
    ------
    NeurovisError
        If a file is missing or differs, naming the first.
    """
    manifest = read_manifest(name, folder)
    root = Path(root)
    if not root.is_dir():
        raise NeurovisError(
            f"{root}: no such folder, expected the root of {name!r}; give its path."
        )
    if not manifest.files:
        from neurovis.prepare import load_datasets

        found = load_datasets()[manifest.reader]().recordings(root)
        people = len({r.subject for r in found})
        return (
            f"{name}: its manifest names no files, as it reads anyone's recordings; found "
            f"{len(found)} of {people} subjects under {root}."
        )
    missing, wrong = [], []
    for file in progress(manifest.files, "verify", quiet=quiet, unit="file"):
        path = root / file.path
        if not path.is_file():
            missing.append(file.path)
        elif path.stat().st_size != file.size or sha256(path) != file.sha256:
            wrong.append(file.path)
    if missing or wrong:
        first = missing[0] if missing else wrong[0]
        raise NeurovisError(
            f"{root / first}: {'missing' if missing else 'differs from its checksum'} ({len(missing)} "
            f"of {len(manifest.files)} files missing, {len(wrong)} differ); fetch them again"
            f"{' from ' + manifest.url if manifest.url else ''}."
        )
    return f"{name}: {len(manifest.files)} files are whole."


__all__ = ["File", "Manifest", "manifests", "read_manifest", "verify"]
