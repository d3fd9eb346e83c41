"""What a dataset is: identity, licence, terms, citation, where its files are, facts, splits, protocols.

Comes in: ``data_manifests/<name>.json``. Goes out: a checked `Manifest`. Plain JSON, so that a changed
fact is seen in a diff; every wrong field is refused with the nearest right one, and what nobody checked
against its source stands in `unverified`. `neurovis.fetch` downloads what it names.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import pydantic

from neurovis.config import Config, build
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.store import read_json

__all__ = [
    "FOLDER",
    "File",
    "Manifest",
    "Source",
    "Terms",
    "inside",
    "manifests",
    "read_manifest",
]

_PLACES = [folder / "data_manifests" for folder in Path(__file__).resolve().parents[:2]]
FOLDER = next(filter(Path.is_dir, _PLACES), _PLACES[0])
"""Inside an installed package, beside it in a clone."""

COUNTS = ("n_subjects", "n_sessions", "n_runs", "n_chans", "n_trials", "n_images")
COUNTS += ("train_repeats", "test_repeats")
KNOWN = ("modality", "sfreq", "tr", "unit", *COUNTS)
"""Facts that all datasets share; a name that nearly is one of them is a slip."""

WHERE = {
    "osf": (r"[a-z0-9]{5}", "the five characters of a project, such as 3jk45"),
    "s3": (r"[a-z0-9.-]{3,63}(/[\w.@=+-]+)*/?", "bucket/prefix, such as openneuro.org/ds004212"),
    "figshare": (r"\d+(/versions/\d+)?", "the number of an article, such as 18470912"),
    "huggingface": (r"[\w.-]+/[\w.-]+(@[\w./-]+)?", "owner/name, with @revision to pin one"),
    "http": (r"(https://[^\s?#]+|http://(127\.0\.0\.1|localhost)(:\d+)?[^\s?#]*)/", "https://.../"),
}
"""What `Source.where` looks like for each kind, as a pattern and in words."""


def inside(path: str, field: str) -> str:
    """Refuse a path that could leave the folder it is meant for.

    Raises
    ------
    UsageError
        If the path is absolute, has ``..``, a drive, a backslash, a control character or an empty part.
    """
    parts = path.split("/")
    wrong = not path or path.startswith(("/", "~")) or re.search(r"[\\\x00-\x1f\x7f]", path)
    if (
        wrong
        or re.match(r"[A-Za-z]:", path)
        or any(part in ("", ".", "..", ".neurovis") for part in parts)
    ):
        raise UsageError(f"{field}: {path!r} leaves the root; expected a path under it, a/b/c.")
    return path


def _pattern(value: str, field: str) -> str:
    rest = value.replace("{subject}", "")
    if "{" in rest or "}" in rest:
        raise UsageError(f"{field}: {value!r}; the only placeholder is {{subject}}.")
    inside(value.rstrip("/"), field)
    return value


Digest256 = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]
DigestMd5 = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{32}$")]
Size = Annotated[int, pydantic.Field(ge=0)]


class File(Config):
    """A file whose facts the owners publish.

    Parameters
    ----------
    path : str
        Under the root, with forward slashes.
    size : int, optional
        Bytes.
    sha256, md5 : str, optional
        Checksums in lower-case hexadecimal digits.
    source : str
        Name of the source that has it; a source of kind ``http`` holds the files that name it.
    """

    path: str
    size: Size | None = None
    sha256: Digest256 | None = None
    md5: DigestMd5 | None = None
    source: str = ""

    @pydantic.field_validator("path")
    @classmethod
    def _stay_under_root(cls, value: str) -> str:
        return inside(value, "Manifest.files")


class Source(Config):
    """A place that files are fetched from.

    Parameters
    ----------
    name : str
        For ``--source``.
    kind : {"osf", "s3", "figshare", "huggingface", "http"}
        Whose list of files is asked; an ``http`` source has the files that `Manifest.files` names.
    where : str
        Project, bucket/prefix, article, repository or address.
    include, exclude : tuple of str
        Patterns of paths there: ``*`` stays within a folder, ``**`` crosses folders, a folder means all
        that is in it, ``*.npy`` (a wildcard and no slash) is a name in any folder; ``{subject}`` is each
        subject. Nothing to include means everything.
    into : str
        Folder under the root; empty for the root itself.
    unpack : {"", "beside", "folder"}
        Archives (zip, tar, tar.gz) are unpacked where they lie, or in a folder called as they are.
    size : int, optional
        Bytes in all, where the owners say so.
    optional : bool
        Fetched only where ``--source`` names it.
    note : str
    """

    name: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    kind: Literal["osf", "s3", "figshare", "huggingface", "http"]
    where: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    into: str = ""
    unpack: Literal["", "beside", "folder"] = ""
    size: Size | None = None
    optional: bool = False
    note: str = ""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Source:
        pattern, words = WHERE[self.kind]
        if not re.fullmatch(pattern, self.where):
            raise UsageError(
                f"Source.where: {self.where!r} of {self.name!r}; expected for {self.kind}: {words}."
            )
        for field in ("include", "exclude"):
            for value in getattr(self, field):
                _pattern(value, f"Source.{field}")
        if self.into:
            inside(self.into, "Source.into")
        return self


class Terms(Config):
    """What the owners ask every user to accept before a download.

    Parameters
    ----------
    flag : str
        For ``--accept``.
    url : str
        Where the terms stand.
    text : str
        What is accepted, in one sentence.
    """

    flag: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    url: str = pydantic.Field(pattern=r"^https://\S+$")
    text: str = pydantic.Field(min_length=1)


class Manifest(Config):
    """Identity and facts of one dataset.

    Parameters
    ----------
    name, title, version, licence : str
        The name is the file's; the version is the owners'.
    reader : str
        Dataset of ``preprocessing/`` that reads it.
    citation : tuple of str
        What to cite wherever results are shown.
    url : str
        Where its owners keep it; empty where anyone's recordings are meant.
    terms : Terms, optional
    sources : tuple of Source
        Tried in order where several have the same file.
    files : tuple of File
        Only those whose facts the owners publish; their checksums count beside the listing's.
    expects : tuple of str
        Patterns of what the reader needs under the root; ``{subject}`` is each subject.
    subjects : tuple of str
        Their labels as they stand in the files' names.
    facts : dict
        What readers rely on: modality, channels, rates, counts. None where it is not known.
    unverified : tuple of str
        Fields that nobody has checked against their source, such as ``facts.n_trials``.
    splits, protocols : dict of str
        In words; the protocols are the reader's recipes.
    """

    name: str = pydantic.Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    title: str = pydantic.Field(min_length=1)
    version: str = ""
    licence: str = pydantic.Field(min_length=1)
    reader: str
    citation: tuple[str, ...] = ()
    url: str = pydantic.Field("", pattern=r"^(https?://\S+)?$")
    terms: Terms | None = None
    sources: tuple[Source, ...] = ()
    files: tuple[File, ...] = ()
    expects: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    facts: dict[str, pydantic.JsonValue] = pydantic.Field(default_factory=dict)
    unverified: tuple[str, ...] = ()
    splits: dict[str, str] = pydantic.Field(default_factory=dict)
    protocols: dict[str, str] = pydantic.Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _check(self) -> Manifest:
        for value in self.expects:
            _pattern(value, "Manifest.expects")
        for field, values in (
            ("sources", [source.name for source in self.sources]),
            ("subjects", self.subjects),
            ("files", [(file.source, file.path) for file in self.files]),
        ):
            twice = [value for value in values if list(values).count(value) > 1] if values else []
            if twice:
                raise UsageError(f"Manifest.{field}: {twice[0]!r} stands twice; leave one.")
        names = [source.name for source in self.sources]
        for file in self.files:
            if file.source and file.source not in names:
                raise UsageError(f"Manifest.files: {unknown('source', file.source, names)}")
        self._check_facts()
        for name in self.unverified:
            self._check_name(name)
        return self

    def _check_facts(self) -> None:
        for key, value in self.facts.items():
            near = difflib.get_close_matches(key, KNOWN, 1, 0.9)
            if near and key not in KNOWN:
                raise UsageError(f"Manifest.facts: {key!r} is unknown; did you mean {near[0]!r}?")
            if key in COUNTS and not _is_count(value):
                raise UsageError(
                    f"Manifest.facts.{key}: expected a whole number, several of them or null, "
                    f"found {value!r}."
                )
            if key in ("sfreq", "tr") and not (value is None or (_is_number(value) and value > 0)):
                raise UsageError(
                    f"Manifest.facts.{key}: expected a number above 0 or null, found {value!r}."
                )
        count = self.facts.get("n_subjects")
        if self.subjects and count is not None and count != len(self.subjects):
            raise UsageError(
                f"Manifest.subjects: names {len(self.subjects)}, facts.n_subjects says {count}; "
                "correct one of them."
            )

    def _check_name(self, name: str) -> None:
        """Refuse an unverified field that is not there."""
        field, _, rest = name.partition(".")
        if field not in type(self).model_fields:
            raise UsageError(unknown("Manifest.unverified: field", field, type(self).model_fields))
        if not rest:
            return
        if field == "sources":
            key, _, part = rest.partition(".")
            known = [source.name for source in self.sources]
            if part and part not in Source.model_fields:
                raise UsageError(
                    unknown("Manifest.unverified: field of a source", part, Source.model_fields)
                )
        elif field == "files":
            key, known = rest, [file.path for file in self.files]
        elif field == "terms":
            key, known = rest, list(Terms.model_fields)
        else:
            key, known = rest, getattr(self, field)
        if key not in known and rest not in known:
            raise UsageError(unknown(f"Manifest.unverified: {field}", key, known))

    def fact(self, name: str) -> Any:
        """One fact.

        Raises
        ------
        NeurovisError
            If it is not in the manifest or not known.
        """
        if self.facts.get(name) is None:
            if name in self.facts:
                raise NeurovisError(f"{self.name}: its manifest does not know facts.{name}.")
            raise NeurovisError(f"{self.name}: {unknown('fact', name, self.facts)}")
        return self.facts[name]

    def source(self, name: str) -> Source:
        """One source by its name; a wrong one is refused with the nearest."""
        for source in self.sources:
            if source.name == name:
                return source
        raise UsageError(unknown(f"{self.name}: source", name, [s.name for s in self.sources]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_count(v) for v in value)
    if isinstance(value, dict):
        return all(_is_count(v) for v in value.values())
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def manifests(folder: str | Path | None = None) -> dict[str, Path]:
    """Manifest files by the name of their dataset; `FOLDER` has those of this project."""
    return {path.stem: path for path in sorted(Path(folder or FOLDER).glob("*.json"))}


def read_manifest(name: str, folder: str | Path | None = None) -> Manifest:
    """Read and check one manifest; underscores in the name count as dashes.

    Raises
    ------
    UsageError
        If there is no such manifest, or a field is wrong; the nearest right name is given.
    """
    known = manifests(folder)
    name = name.replace("_", "-")
    if name not in known:
        raise UsageError(unknown("dataset", name, known))
    path = known[name]
    data = read_json(path, "neurovis-manifest")
    fields = {k: v for k, v in data.items() if k not in ("format", "format_version")}
    try:
        manifest = build(Manifest, fields)
    except UsageError as error:
        raise UsageError(f"{PurePosixPath(*path.parts[-2:])}: {error}") from None
    if manifest.name != name:
        raise NeurovisError(
            f"{path}: Manifest.name is {manifest.name!r}, expected {name!r} as the file is "
            "called; correct one of them."
        )
    return manifest
