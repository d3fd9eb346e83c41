"""From raw recordings to a prepared folder: the command that all datasets share.

Comes in: a `neurovis.datasets.Dataset`. Goes out: ``prepared/<dataset>-<fingerprint>/`` with
``sub-*/trials.h5`` and ``qc.html``, ``stimuli.csv`` and the splits. A subject that fails leaves the rest
going; the same command again does only what is missing. How many work at it changes no byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from neurovis.config import Config, build, fingerprint, load_yaml, override, resolve, to_dict
from neurovis.datasets import Dataset, Recording, load_datasets
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.interrupt import SAID, heard
from neurovis.parallel import Workers
from neurovis.progress import say
from neurovis.records import Split, Stimuli
from neurovis.store import (
    artefact,
    artefact_path,
    is_complete,
    read_json,
    remove,
    says_disk_full,
    working_folder,
    write_json,
)

__all__ = ["main", "prepare"]


def prepare(
    dataset: Dataset,
    root: str | Path,
    out: str | Path,
    subject: Sequence[str] | None = None,
    n_jobs: int = 1,
    quiet: bool = False,
    workers: Workers | None = None,
) -> Path:
    """Preprocess a dataset.

    Parameters
    ----------
    dataset : Dataset
    root : path
        Where the raw recordings are.
    out : path
        The folder is made in ``out/prepared``.
    subject : sequence of str, optional
        Only these; others can be added later by the same command.
    n_jobs : int
        Processes: over subjects, and over the runs of each where there are more than subjects.
    quiet : bool
        No progress bars.
    workers : Workers, optional
        In place of `n_jobs`: a cluster.

    Returns
    -------
    Path
        The prepared folder.

    Raises
    ------
    NeurovisError
        If a subject failed, after the others were done.
    """
    workers = workers or Workers(n_jobs=n_jobs)
    root = Path(root)
    if not root.is_dir():
        raise NeurovisError(
            f"{root}: no such folder, expected the root of the raw recordings; give its path."
        )
    recordings = dataset.recordings(root)
    if not recordings:
        raise NeurovisError(
            f"{root}: found no recording that {dataset.component!r} reads; check root and options, "
            f"or see: neurovis doctor {dataset.component.replace('_', '-')} --root {root}"
        )
    subjects = _select(subject, list(dict.fromkeys(r.subject for r in recordings)))
    stimuli = dataset.stimuli(root)
    splits = dataset.splits(stimuli, recordings)
    if len(splits) > 1 and dataset.learns:
        raise UsageError(
            "scaling, whitening: with left-out recordings the training trials differ from fold to "
            "fold; expected options that learn from none of them, such as scaling=constant or none and "
            "whiten=none (fMRI: standardise=none or learn=recording)."
        )
    # a subject's recordings are its own affair: those of others may arrive later
    files = {
        r: [r.file, *dict.fromkeys(dataset.companions(root, r))]
        for r in recordings
        if r.subject in subjects
    }
    marked = {
        file: _mark(file) for file in dict.fromkeys(f for part in files.values() for f in part)
    }
    marks = {
        who: fingerprint(
            [(r.name, [marked[f] for f in files[r]]) for r in files if r.subject == who]
        )
        for who in subjects
    }
    inputs = {
        "stimuli": fingerprint([stimuli.image, stimuli.sha256, stimuli.concept, stimuli.set]),
    }
    folder = artefact_path(out, "prepared", dataset.component, dataset, inputs)

    def done(place: Path, who: str) -> bool:
        said = place / f"sub-{who}" / "qc.json"
        return said.is_file() and read_json(said, "neurovis-qc").get("inputs") == marks[who]

    if is_complete(folder):
        if all(done(folder, who) for who in subjects):
            return folder
        os.replace(folder, working_folder(folder))
    with artefact(folder, dataset, inputs, dataset.seed) as partial:
        own = dataset.shared(root)
        for name, source in own.items():
            _put(partial / name, source)
        _write_stimuli(stimuli, folder, partial, own)
        for stale in partial.glob("split*.json"):
            stale.unlink()
        for number, split in enumerate(splits, start=1):
            name = "split.json" if len(splits) == 1 else f"split-{number:02d}.json"
            split.write(partial / name)
        todo = [who for who in subjects if not done(partial, who)]
        tasks = [
            (
                dataset, root, [r for r in recordings if r.subject == who], marks[who], stimuli,
                splits[0], partial, workers.inside(len(todo)), quiet or len(todo) > 1 < workers.n_jobs,
            )
            for who in todo
        ]  # fmt: skip
        logs = Path(out) / "jobs"
        alone = workers.n_jobs == 1 or len(todo) < 2
        said = workers.map(_try_subject, tasks, logs, "subjects", quiet or alone)
        failed = [f"sub-{who}: {why}" for who, why in zip(todo, said) if why]
        if failed:
            raise NeurovisError(
                f"{len(failed)} of {len(todo)} subjects failed (the others are kept): "
                + "; ".join(failed)
            )
    return folder


def _select(asked: Sequence[str] | None, known: list[str]) -> list[str]:
    if not asked:
        return known
    chosen = []
    for who in [asked] if isinstance(asked, str) else asked:
        who = str(who).removeprefix("sub-")
        same = [
            k for k in known if k == who or (k.isdigit() and who.isdigit() and int(k) == int(who))
        ]
        if not same:
            raise UsageError(unknown("subject", who, known))
        chosen.append(same[0])
    return list(dict.fromkeys(chosen))


def _mark(file: Path) -> str:
    """Fingerprint of a recording's size, beginning and end (whole checksums would take minutes)."""
    digest = hashlib.sha256()
    if not file.exists():
        return "missing"
    if file.is_dir():
        inside = sorted(p for p in file.rglob("*") if p.is_file())
        parts = [*inside, *_events_beside(file)]
    else:
        parts = [file, *file.parent.glob(f"{file.stem}.*"), *_events_beside(file)]
    for part in dict.fromkeys(parts):
        size = part.stat().st_size
        digest.update(f"{part.name} {size}\n".encode())
        with part.open("rb") as handle:
            digest.update(handle.read(1 << 16))
            handle.seek(max(0, size - (1 << 16)))
            digest.update(handle.read())
    return digest.hexdigest()[:16]


def _events_beside(file: Path) -> Iterator[Path]:
    stem = file.stem.rsplit("_", 1)[0]
    yield from sorted(file.parent.glob(f"{stem}_events.tsv"))
    yield from sorted(file.parent.glob(f"{stem}_channels.tsv"))


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _put(target: Path, source: Path | bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        target.write_bytes(source)
    else:
        shutil.copyfile(source, target)


def _write_stimuli(stimuli: Stimuli, folder: Path, partial: Path, own: Container[str]) -> None:
    """Write the stimuli with paths relative to where the file will stand; `own` pictures are beside it."""
    base = (stimuli.folder or Path()).resolve()
    where = folder.resolve()
    paths = [
        tuple(p if not p or p in own else _relative(base / p, where) for p in group)
        for group in stimuli.path
    ]
    columns = ("image", "sha256", "width", "height", "concept", "set", "caption")
    Stimuli(**{name: getattr(stimuli, name) for name in columns}, path=paths).write(
        partial / "stimuli.csv"
    )


def _try_subject(*arguments: Any) -> str:
    """Prepare one subject; give the sentence of what failed, or nothing."""
    try:
        prepare_subject(*arguments)
    except NeurovisError as error:
        return str(error)
    return ""


def prepare_subject(
    dataset: Dataset,
    root: Path,
    recordings: list[Recording],
    mark: str,
    stimuli: Stimuli,
    split: Split,
    folder: Path,
    workers: Workers,
    quiet: bool = False,
) -> None:
    """Write ``sub-*/trials.h5``, ``qc.html`` and, last, ``qc.json`` of one subject (`mark`: its inputs)."""
    subject = recordings[0].subject
    for recording in recordings:
        if recording.problem:
            raise NeurovisError(recording.problem)
    target = folder / f"sub-{subject}"
    with says_disk_full(target):
        remove(target)
        target.mkdir(parents=True)
        qc = dataset.write_subject(root, recordings, stimuli, split, target, workers, quiet)
        for name, source in dataset.extras(root, subject).items():
            _put(target / name, source)
        write_json(
            target / "qc.json", {"format": "neurovis-qc", "format_version": 1, "inputs": mark, **qc}
        )
    n = sum(run["trials"] for run in qc["runs"])
    say(f"sub-{subject}: {n} trials, {len(qc['dropped'])} dropped of what was recorded", quiet)


def main(name: str, argv: Sequence[str] | None = None) -> int:
    """Run ``python -m preprocessing.<file>``; give the exit code: 0 done, 1 failed, 2 wrong usage.

    Parameters
    ----------
    name : str
        Of the dataset.
    argv : sequence of str, optional
        As for `command`.
    """
    prog = f"python -m preprocessing.{name}"
    try:
        with heard():
            command(name, sys.argv[1:] if argv is None else argv, prog)
    except NeurovisError as error:
        if argv is not None and "--debug" in argv:
            raise
        print(f"{prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print(SAID, file=sys.stderr)
        return 130
    return 0


def _parts(cls: type[Dataset]) -> dict[str, Any]:
    """Fields that are configs themselves, such as the steps, and their fields."""
    fields = cls.model_fields.items()
    return {f: type(v.default).model_fields for f, v in fields if isinstance(v.default, Config)}


def parser(name: str, prog: str) -> argparse.ArgumentParser:
    """Options that all datasets share, and in the help those of one of them."""
    cls = load_datasets()[name]
    fields, inner = cls.model_fields, _parts(cls)
    of_parts = "; ".join(f"of {part}: {', '.join(names)}" for part, names in inner.items())
    made = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description=f"Preprocess {name!r} recordings into OUT/prepared.",
        epilog=f"recipes: {', '.join(cls.recipes)}. Options of the dataset: "
        f"{', '.join(f for f in fields if f not in inner)}; {of_parts}; as --option value or key=value. "
        f"Example: {prog} --root raw --out out --subject 1 --recipe clean",
    )
    made.add_argument("--root", required=True, help="where the raw recordings are")
    made.add_argument("--out", required=True, help="goes to OUT/prepared/...")
    made.add_argument("--subject", action="append", help="only this one; repeatable")
    made.add_argument("--recipe", help=f"named set of options: {', '.join(cls.recipes)}")
    made.add_argument("--config", help="YAML with options")
    made.add_argument(
        "--n-jobs", type=int, default=2, help="processes, over subjects and runs (default 2)"
    )
    made.add_argument("--cluster", default="none", help="slurm: one array job over subjects")
    made.add_argument("--partition", default="", help="of the cluster")
    made.add_argument("--quiet", action="store_true", help="no progress")
    made.add_argument("--print-config", action="store_true", help="print the options and stop")
    made.add_argument("--debug", action="store_true", help="traceback on errors")
    return made


def command(name: str, argv: Sequence[str], prog: str) -> None:
    """Run ``neurovis preprocess DATASET``.

    Parameters
    ----------
    name : str
        Of the dataset.
    argv : sequence of str
        Words after the program's name. Options of the dataset and of its steps are given as
        ``--l-freq 1`` or ``steps.l_freq=1``.
    prog : str
        How the command is called.
    """
    fields = load_datasets()[name].model_fields
    inner = _parts(load_datasets()[name])
    options, rest = parser(name, prog).parse_known_args(argv)
    given = load_yaml(options.config) if options.config else {}
    words = _overrides(rest, fields, inner, [f"--{name}" for name in vars(options)])
    words += [f"recipe={options.recipe}"] if options.recipe else []
    dataset = resolve(Dataset, override({**given, "name": name}, words))
    if options.print_config:
        import yaml

        print(yaml.safe_dump(to_dict(dataset), sort_keys=False, allow_unicode=True), end="")
        return
    names = ("n_jobs", "cluster", "partition")
    workers = build(Workers, {name: getattr(options, name) for name in names})
    folder = prepare(
        dataset, options.root, options.out, options.subject, quiet=options.quiet, workers=workers
    )
    print(f"Prepared: {folder}\nNext: neurovis train EXPERIMENT.yaml data.path={folder}")


def _overrides(words: list[str], fields: Any, inner: dict[str, Any], flags: list[str]) -> list[str]:
    """``--l-freq 1`` and ``l_freq=1`` to ``steps.l_freq=1``."""
    part = {name: f"{part}.{name}" for part, names in inner.items() for name in names}
    out, place = [], 0
    while place < len(words):
        word = words[place]
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            if not equals:
                place += 1
                if place == len(words):
                    raise UsageError(f"option {word}: expected a value after it.")
                value = words[place]
            key = key.replace("-", "_")
        else:
            key, equals, value = word.partition("=")
            if not equals:
                raise UsageError(f"option {word!r}: expected --option value or key=value.")
        root = key.partition(".")[0]
        if root not in fields and root not in part:
            known = [*flags, *(f"--{name.replace('_', '-')}" for name in [*fields, *part])]
            raise UsageError(unknown("option", f"--{root.replace('_', '-')}", known))
        if root not in fields:
            key = part[root] + key.removeprefix(root)
        out.append(f"{key}={value}")
        place += 1
    return out
