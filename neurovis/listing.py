"""What there is to use (``neurovis list``) and what is missing (``neurovis doctor``).

Comes in: a family's name and a pattern, or a dataset or run. Goes out: text for the terminal, made from
the registries, the manifests, the files that are there, and the machine itself.
"""

from __future__ import annotations

import fnmatch
import importlib
import shlex
import shutil
import textwrap
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurovis.config import FAMILIES, Family, components
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import Manifest, manifests, read_manifest

if TYPE_CHECKING:
    from neurovis.fetch import Look

HOME = {
    "datasets": "neurovis.prepare",
    "images": "neurovis.images.base",
    "brain": "neurovis.brain.base",
    "losses": "neurovis.losses.base",
    "metrics": "neurovis.metrics.base",
    "subjects": "neurovis.protocols",
    "protocols": "neurovis.protocols",
    "augmentations": "neurovis.augment",
    "generators": "neurovis.generate.base",
    "priors": "neurovis.generate.prior",
    "readouts": "neurovis.encode.readouts.base",
}
REQUIRED = [
    "mne",
    "torch",
    "braindecode",
    "open_clip_torch",
    "diffusers",
    "numpy",
    "scipy",
    "h5py",
    "mne-bids",
    "timm",
    "einops",
    "pydantic",
    "pandas",
    "scikit-learn",
    "scikit-image",
    "joblib",
    "safetensors",
    "pillow",
    "pyyaml",
    "tqdm",
    "matplotlib",
    "pooch",
    "requests",
]
OPTIONAL = {
    "nilearn": "fmri",
    "nibabel": "fmri",
    "submitit": "slurm",
    "pyarrow": "parquet",
    "edfio": "formats",
    "pybv": "formats",
    "eeglabio": "formats",
    "tensorboard": "log",
    "transformers": "generate",
    "accelerate": "generate",
    "torchmetrics": "metrics",
    "faiss-cpu": "faiss",
}


def family(name: str) -> type[Family]:
    """Root of a family by its name, its module imported."""
    if name not in HOME:
        raise NeurovisError(f"family {name!r} has no component yet; known: {', '.join(HOME)}.")
    importlib.import_module(HOME[name])
    if name == "datasets":
        from neurovis.datasets import load_datasets

        load_datasets()
    return FAMILIES[name]


def listing(name: str, pattern: str = "*", out: str | Path = ".", table: bool = False) -> str:
    """Components of a family that match a pattern, a line each.

    Parameters
    ----------
    name : str
        Of the family.
    pattern : str
        As in a shell, such as ``*conv*``.
    out : path
        For datasets: where prepared ones are looked for.
    table : bool
        For towers: build them at published shapes and count; one tower is shown module by module.
    """
    if table and name != "brain":
        raise UsageError(f"--table: expected the family brain, found {name!r}; leave it out.")
    if name == "datasets":
        return _datasets(pattern, Path(out))
    found = {k: v for k, v in components(family(name)).items() if fnmatch.fnmatch(k, pattern)}
    if not found:
        raise NeurovisError(f"{name}: nothing matches {pattern!r}; try: neurovis list {name}")
    if table:
        return _towers(found)
    width = max(map(len, found))
    lines = []
    for key, cls in found.items():
        first = (cls.__doc__ or "").strip().split("\n")[0]
        options = ", ".join(cls.model_fields)
        lines.append(
            f"{key:<{width}}  {first}" + (f"\n{'':<{width}}  options: {options}" if options else "")
        )
        if hasattr(cls, "statement"):  # what its weights cost; of one alone, all of it
            said = cls().statement() if len(found) == 1 else cls.about()
            lines.append(textwrap.indent(said, f"{'':<{width}}  "))
    return "\n".join(lines)


def _towers(found: dict[str, Any]) -> str:
    """Towers built and counted, or one of them module by module."""
    from neurovis.brain.table import PUBLISHED, passes
    from neurovis.brain.table import table as counted

    if len(found) > 1 or next(iter(found.values())).closed_form:
        return _table(counted(found))
    parts = []
    for kind, make in PUBLISHED.items():
        shape = make()
        head = f"{kind}: {shape.n_chans} channels x {shape.n_times} times"
        try:
            parts.append(f"{head}\n{_table(passes(next(iter(found.values()))(), shape))}")
        except NeurovisError as error:
            parts.append(f"{head}\n{error}")
    return "\n\n".join(parts)


def _datasets(pattern: str, out: Path) -> str:
    """Datasets as a table, from their manifests."""
    from neurovis.store import is_complete

    rows = []
    readers = dict(components(family("datasets")))
    for name in manifests():
        manifest = read_manifest(name)
        reader = manifest.reader
        readers.pop(reader, None)
        if not any(fnmatch.fnmatch(word, pattern) for word in (name, reader)):
            continue
        prepared = [p for p in sorted(out.glob(f"prepared/{reader}-*")) if is_complete(p)]
        rows.append(
            (
                name,
                _fact(manifest, "modality"),
                _fact(manifest, "n_subjects") if manifest.facts.get("n_subjects") else "any",
                _fact(manifest, "n_images"),
                textwrap.shorten(manifest.licence, 30, placeholder=" ..."),
                f"--accept {manifest.terms.flag}" if manifest.terms else "none",
                reader,
                f"{len(prepared)} here" if prepared else "no",
                manifest.title,
            )
        )
    for name, cls in readers.items():  # readers of any recordings, which have no manifest
        if fnmatch.fnmatch(name, pattern):
            first = (cls.__doc__ or "").strip().split("\n")[0]
            prepared = [p for p in sorted(out.glob(f"prepared/{name}-*")) if is_complete(p)]
            about = ("any", "any", "?", "the recordings' own", "none", name)
            rows.append((name, *about, f"{len(prepared)} here" if prepared else "no", first))
    if not rows:
        raise NeurovisError(f"datasets: nothing matches {pattern!r}; try: neurovis list datasets")
    titles = ("name", "modality", "subjects", "images", "licence", "terms", "reader", "prepared")
    return _table([(*titles, "what it is"), *sorted(rows)])


def _fact(manifest: Manifest, name: str) -> str:
    value: Any = manifest.facts.get(name)
    if isinstance(value, dict | list):
        values = list(value.values()) if isinstance(value, dict) else value
        return " ".join(map(str, dict.fromkeys(values)))
    return "?" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(f"{w:<{n}}" for w, n in zip(row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def fetch(
    dataset: str,
    root: str,
    source: Sequence[str] = (),
    subject: Sequence[str] = (),
    include: Sequence[str] = (),
    accept: Sequence[str] = (),
    dry_run: bool = False,
    relist: bool = False,
    n_jobs: int = 4,
    quiet: bool = False,
) -> str:
    """Download what a manifest names, as `neurovis.fetch.fetch` does; say what came.

    A dataset without sources, which reads anyone's recordings, is only looked at.
    """
    from neurovis.fetch import fetch as download
    from neurovis.fetch import look, tokens

    manifest = read_manifest(dataset)
    if not manifest.sources:
        return doctor(dataset, root, subject)[0]
    outcome = download(
        dataset, root, source, subject, include, accept, dry_run, relist, n_jobs, quiet,
        where=tokens(),
    )  # fmt: skip
    if dry_run:
        return str(outcome)
    # what was chosen may be less than what a reader needs
    good = look(manifest, Path(root), subject).good
    return f"{outcome}\nNext: {_preprocess(manifest, root) if good else _doctor(manifest, root)}"


def doctor(
    what: str | None = None, root: str | None = None, subject: Sequence[str] = ()
) -> tuple[str, bool]:
    """Say what is installed and what is missing, with the command that gets it.

    Parameters
    ----------
    what : str, optional
        A dataset's name or a run folder.
    root : str, optional
        Where the dataset is.
    subject : sequence of str
        Only these of the dataset.

    Returns
    -------
    str
    bool
        Whether nothing needed is missing.
    """
    if what and root is None and Path(what).is_dir():
        return _doctor_run(Path(what))
    if what:
        return _doctor_dataset(read_manifest(what), root, subject)
    lines, good = [], True
    for package in REQUIRED:
        try:
            lines.append(f"{package:<18}{metadata.version(package)}")
        except metadata.PackageNotFoundError:
            good = False
            lines.append(f"{package:<18}missing: pip install {package}")
    for package, extra in OPTIONAL.items():
        try:
            lines.append(f"{package:<18}{metadata.version(package)} (optional)")
        except metadata.PackageNotFoundError:
            lines.append(f'{package:<18}not installed (optional): pip install "neurovis[{extra}]"')
    import torch

    if torch.cuda.is_available():
        lines += [f"GPU               {torch.cuda.get_device_name(0)}"]
    else:
        lines += [f"GPU               none; the CPU is used with {torch.get_num_threads()} threads"]
    return "\n".join(lines), good


def _doctor_run(run: Path) -> tuple[str, bool]:
    expected = {
        "provenance.json": "neurovis train EXPERIMENT.yaml",
        "model*.safetensors": "neurovis train EXPERIMENT.yaml",
        "systems/*/prediction.h5": "neurovis train EXPERIMENT.yaml",
        "scores.json": f"neurovis evaluate {run.name}",
        "report.html": f"neurovis report {run.name}",
    }
    lines, good = [], True
    for pattern, command in expected.items():
        there = sorted(run.glob(pattern))
        good &= bool(there)
        lines.append(f"{pattern:<26}{f'{len(there)} found' if there else f'missing: {command}'}")
    return "\n".join(lines), good


def _doctor_dataset(
    manifest: Manifest, root: str | None, subject: Sequence[str]
) -> tuple[str, bool]:
    """What a dataset is, and what of it is under a root."""
    version = f" ({manifest.version})" if manifest.version else ""
    lines = [f"{manifest.name}: {manifest.title}{version}", f"licence   {manifest.licence}"]
    lines += [f"cite      {line}" for line in manifest.citation]
    lines += [f"owners    {manifest.url}"] if manifest.url else []
    if manifest.unverified:
        lines += _few("unchecked", manifest.unverified)
    if root is None:
        lines += [_terms(manifest, accepted=False)] if manifest.terms else []
        lines += [
            f"source    {s.name}: {s.kind} {s.where}{', only if asked for' if s.optional else ''}"
            + (f" ({s.note})" if s.note else "")
            for s in manifest.sources
        ]
        lines += [f"expects   {pattern}" for pattern in manifest.expects]
        verb = "fetch" if manifest.sources else "doctor"
        return "\n".join([*lines, f"Next: neurovis {verb} {manifest.name} --root DIR"]), True
    if not manifest.expects and not manifest.sources:
        return "\n".join([*lines, _count(manifest, Path(root))]), True
    from neurovis.fetch import look

    found = look(manifest, Path(root), subject)
    lines += [_terms(manifest, found.accepted)] if manifest.terms else []
    lines.append(f"root      {root}")
    return "\n".join([*lines, *_shares(manifest, found, root)]), found.good


def _count(manifest: Manifest, root: Path) -> str:
    """What a reader of anyone's recordings finds."""
    from neurovis.datasets import load_datasets

    if not root.is_dir():
        raise NeurovisError(
            f"{root}: no such folder, expected the root of {manifest.name!r}; give its path."
        )
    found = load_datasets()[manifest.reader]().recordings(root)
    people = len({recording.subject for recording in found})
    return (
        f"it reads anyone's recordings, none are fetched; found {len(found)} of {people} subjects "
        f"under {root}."
    )


def _terms(manifest: Manifest, accepted: bool) -> str:
    terms = manifest.terms
    if terms is None:
        return "terms     none"
    if accepted:
        return f"terms     accepted here ({terms.url})"
    return f"terms     {terms.text} ({terms.url}) Accept: --accept {terms.flag}"


def _shares(manifest: Manifest, found: Look, root: str) -> list[str]:
    """A line per subject, those of whom nothing is there together; the command that gets the rest."""
    from neurovis.fetch import amount

    lines = []
    absent = [s.subject for s in found.shares if s.subject and s.absent]
    for share in found.shares:
        if share.subject in absent:
            continue
        said = [f"{share.there} there"] if share.there else []
        for path, have, size in share.half[:3]:
            of = (
                f"{amount(have)} of {amount(size)}"
                if size is not None
                else f"{amount(have)} so far"
            )
            said.append(f"half there: {path} ({of})")
        said += _few("missing", share.missing) + _few("of another size", share.differs)
        if share.links:
            said.append(
                f"{_few('a link to nothing', share.links)[0]} (a clone whose files were not fetched: "
                "datalad get, or fetch into another folder)"
            )
        said += [share.hint] if share.hint else []
        who = f"subject {share.subject}" if share.subject else "shared"
        lines.append(f"{who:<12}{'; '.join(said)}")
    if absent:
        hints = [s.hint for s in found.shares if s.subject in absent and s.hint][:1]
        more = f" and {len(absent) - 8} more" if len(absent) > 8 else ""
        lines.append(
            f"nothing of  {', '.join(absent[:8])}{more}" + "".join(f"; {h}" for h in hints)
        )
    if found.hint:
        lines.append(f"did you mean --root {shlex.quote(found.hint)}?")
    if found.good:
        return [*lines, f"Next: {_preprocess(manifest, root)}"]
    people = [s.subject for s in found.shares if s.subject and not s.good]
    some = 0 < len(people) < len(manifest.subjects)
    words = [f"--subject {who}" for who in people] if some else []
    words += [f"--accept {manifest.terms.flag}"] if manifest.terms and not found.accepted else []
    free = amount(shutil.disk_usage(root).free)
    need = f"{amount(found.need)} to fetch, " if found.need else ""
    if manifest.sources:
        given = " ".join(["--root", shlex.quote(root), *words])
        lines.append(f"Get it: neurovis fetch {manifest.name} {given} ({need}{free} free)")
    elif manifest.url:
        lines.append(f"Get it: {manifest.url}")
    return lines


def _preprocess(manifest: Manifest, root: str) -> str:
    reader = manifest.reader.replace("_", "-")
    return f"neurovis preprocess {reader} --root {shlex.quote(root)} --out OUT"


def _doctor(manifest: Manifest, root: str) -> str:
    return f"neurovis doctor {manifest.name} --root {shlex.quote(root)}"


def _few(what: str, paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return [f"{what}: {', '.join(paths[:3])}{more}"]
