"""From raw recordings to a prepared folder: the Dataset family and the shared command.

Comes in: a dataset that lists its recordings, reads one at a time and declares its stimuli. Goes out:
``prepared/<dataset>-<fingerprint>/`` with ``sub-*/trials.h5`` and ``qc.html``, ``stimuli.csv`` and the
splits. Runs are read one after the other, so that memory is bounded by one of them; what needs the
training trials of all runs (scaling, whitening) is done in a second pass over the trials on disk. A
subject that fails leaves the rest going; the same command again does only what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import pkgutil
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.config import Family, fingerprint, load_yaml, override, resolve, to_dict
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.progress import progress, say
from neurovis.records import Split, Stimuli
from neurovis.signals.chain import Steps
from neurovis.signals.subject import Events, Recording, learns, write_epochs, write_trials
from neurovis.store import (
    artefact,
    artefact_path,
    is_complete,
    remove,
    says_disk_full,
    working_folder,
    write_json,
)

__all__ = ["Dataset", "Events", "Recording", "Steps", "load_datasets", "main", "prepare"]


class Dataset(Family, family="datasets"):
    """A dataset of raw recordings: subclass it in one file of ``preprocessing/``.

    Parameters
    ----------
    steps : Steps
        Options given by name change the dataset's own defaults one by one.
    validation : float
        Share of the training concepts (of the training images, below ten concepts) whose images
        validate; with left-out recordings, the one after the test recording validates.
    seed : int
        Of the validation part.
    """

    steps: Steps = Steps()
    validation: float = pydantic.Field(0.1, ge=0, lt=1)
    seed: int = 0

    @pydantic.model_validator(mode="before")
    @classmethod
    def _keep_own_steps(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("steps"), dict):
            own = cls.model_fields["steps"].default
            return {**value, "steps": Steps(**{**dict(own), **value["steps"]})}
        return value

    def recordings(self, root: Path) -> list[Recording]:
        """All recordings under `root`, in order."""
        raise NotImplementedError

    def read(self, root: Path, recording: Recording) -> tuple[Any, Events]:
        """Open one recording (mne.io.BaseRaw, not loaded) and its events."""
        raise NotImplementedError

    def stimuli(self, root: Path) -> Stimuli:
        """The stimuli of all recordings, with their folder; `set` says what is test."""
        raise NotImplementedError

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """One split, or one per fold."""
        return [split_images(stimuli, self.validation, self.seed)]

    def extras(self, root: Path, subject: str) -> dict[str, Path]:
        """Files to copy beside a subject's trials: name there to source."""
        return {}

    def shared(self, root: Path) -> dict[str, Path]:
        """Files to copy beside ``stimuli.csv``: name there to source."""
        return {}


def load_datasets() -> dict[str, type[Dataset]]:
    """Import every module of ``preprocessing/``; give all datasets by name."""
    from importlib.util import find_spec

    # an installed neurovis holds it; a bare clone on the path has it beside the library
    package = "neurovis.preprocessing" if find_spec("neurovis.preprocessing") else "preprocessing"
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    return dict(sorted(Dataset.members.items()))


def split_images(stimuli: Stimuli, validation: float, seed: int) -> Split:
    """Split by image id: test as declared, validation from whole training concepts.

    Validation concepts are not in training, so that early stopping sees what the test asks:
    concepts never seen. Below ten training concepts single images are drawn instead.

    Raises
    ------
    NeurovisError
        If a side is empty or one picture is on two sides.
    """
    train = stimuli.image[stimuli.set == "train"]
    concept = stimuli.concept[stimuli.set == "train"]
    unit = concept if len(np.unique(concept)) >= 10 else train
    groups = np.unique(unit)
    count = min(max(1, round(validation * len(groups))), len(groups) - 1) if validation else 0
    chosen = np.random.default_rng(seed).permutation(groups)[:count]
    held = np.isin(unit, chosen)
    split = Split(train[~held], train[held], stimuli.image[stimuli.set == "test"])
    split.check(stimuli)
    return split


def split_recordings(names: Sequence[str], validate: bool = True) -> list[Split]:
    """Leave each recording out in turn; the next one validates where three or more are there.

    Raises
    ------
    NeurovisError
        If there are fewer than two recordings.
    """
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise NeurovisError(
            f"split: found {len(names)} recording, expected at least two to leave one out; "
            "add recordings."
        )
    folds = []
    for number, test in enumerate(names):
        held = [names[(number + 1) % len(names)]] if validate and len(names) > 2 else []
        train = [name for name in names if name not in (test, *held)]
        folds.append(Split(train, held, (test,), unit="recording"))
    return folds


def prepare(
    dataset: Dataset,
    root: str | Path,
    out: str | Path,
    subject: Sequence[str] | None = None,
    n_jobs: int = 1,
    quiet: bool = False,
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
        Subjects at a time.
    quiet : bool
        No progress bars.

    Returns
    -------
    Path
        The prepared folder.

    Raises
    ------
    NeurovisError
        If a subject failed, after the others were done.
    """
    from joblib import Parallel, delayed

    root = Path(root)
    if not root.is_dir():
        raise NeurovisError(
            f"{root}: no such folder, expected the root of the raw recordings; give its path."
        )
    recordings = dataset.recordings(root)
    if not recordings:
        raise NeurovisError(
            f"{root}: found no recording that {dataset.component!r} reads; check root and options."
        )
    subjects = _select(subject, list(dict.fromkeys(r.subject for r in recordings)))
    stimuli = dataset.stimuli(root)
    splits = dataset.splits(stimuli, recordings)
    if len(splits) > 1 and learns(dataset.steps):
        raise UsageError(
            "steps.scaling, steps.whiten: with left-out recordings the training trials differ from "
            "fold to fold; expected scaling=constant or none and whiten=none."
        )
    inputs = {
        "recordings": fingerprint([(r.subject, r.name, _mark(r.file)) for r in recordings]),
        "stimuli": fingerprint([stimuli.image, stimuli.sha256, stimuli.concept, stimuli.set]),
    }
    folder = artefact_path(out, "prepared", dataset.component, dataset, inputs)
    done = lambda place, who: (place / f"sub-{who}" / "qc.json").is_file()  # noqa: E731
    if is_complete(folder):
        if all(done(folder, who) for who in subjects):
            return folder
        os.replace(folder, working_folder(folder))
    with artefact(folder, dataset, inputs, dataset.seed) as partial:
        _write_stimuli(stimuli, folder, partial)
        for name, source in dataset.shared(root).items():
            shutil.copyfile(source, partial / name)
        for stale in partial.glob("split*.json"):
            stale.unlink()
        for number, split in enumerate(splits, start=1):
            name = "split.json" if len(splits) == 1 else f"split-{number:02d}.json"
            split.write(partial / name)
        todo = [who for who in subjects if not done(partial, who)]
        alone = n_jobs == 1 or len(todo) < 2
        tasks = (
            delayed(_try_subject)(
                dataset, root, [r for r in recordings if r.subject == who], stimuli, splits,
                partial, quiet or not alone,
            )
            for who in todo
        )  # fmt: skip
        made = Parallel(n_jobs=1 if alone else n_jobs, return_as="generator")(tasks)
        failed = [
            f"sub-{who}: {said}"
            for who, said in zip(
                todo, progress(made, "subjects", total=len(todo), quiet=quiet or alone)
            )
            if said
        ]
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
    if file.is_dir():
        parts = sorted(p for p in file.rglob("*") if p.is_file())
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


def _write_stimuli(stimuli: Stimuli, folder: Path, partial: Path) -> None:
    """Write the stimuli with paths relative to where the file will stand."""
    base = (stimuli.folder or Path()).resolve()
    where = folder.resolve()
    paths = [
        tuple(Path(os.path.relpath(base / p, where)).as_posix() if p else "" for p in group)
        for group in stimuli.path
    ]
    columns = ("image", "sha256", "width", "height", "concept", "set", "caption")
    Stimuli(**{name: getattr(stimuli, name) for name in columns}, path=paths).write(
        partial / "stimuli.csv"
    )


def _try_subject(dataset: Dataset, root: Path, recordings: list[Recording], *rest: Any) -> str:
    """Prepare one subject; give the sentence of what failed, or nothing."""
    try:
        prepare_subject(dataset, root, recordings, *rest)
    except NeurovisError as error:
        return str(error)
    return ""


def prepare_subject(
    dataset: Dataset,
    root: Path,
    recordings: list[Recording],
    stimuli: Stimuli,
    splits: Sequence[Split],
    folder: Path,
    quiet: bool = False,
) -> None:
    """Write ``sub-*/trials.h5``, ``qc.html`` and, last, ``qc.json`` of one subject."""
    from neurovis.report.qc import write_page

    subject = recordings[0].subject
    target = folder / f"sub-{subject}"
    with says_disk_full(target):
        remove(target)
        target.mkdir(parents=True)
        epochs = target / "epochs.h5"
        log = write_epochs(
            epochs, dataset.steps, recordings, lambda recording: dataset.read(root, recording),
            stimuli, dataset.component, quiet,
        )  # fmt: skip
        write_trials(target / "trials.h5", dataset.steps, splits[0], epochs, log)
        epochs.unlink()
        for name, source in dataset.extras(root, subject).items():
            shutil.copyfile(source, target / name)
        write_page(target / "qc.html", log, to_dict(dataset.steps))
        write_json(
            target / "qc.json", {"format": "neurovis-qc", "format_version": 1, **log.summary()}
        )
    n = sum(run["trials"] for run in log.runs)
    say(f"sub-{subject}: {n} trials, {len(log.dropped)} channels dropped", quiet)


def main(name: str, argv: Sequence[str] | None = None) -> int:
    """Run ``python -m preprocessing.<file>``; give the exit code: 0 done, 1 failed, 2 wrong usage.

    Parameters
    ----------
    name : str
        Of the dataset.
    argv : sequence of str, optional
        Words after the program's name. Options of the dataset and of its steps are given as
        ``--l-freq 1`` or ``steps.l_freq=1``.
    """
    fields = load_datasets()[name].model_fields
    steps = Steps.model_fields
    module = f"preprocessing.{name}"
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=f"Preprocess {name!r} recordings into OUT/prepared.",
        epilog=f"options of the dataset: {', '.join(f for f in fields if f != 'steps')}; of its steps: "
        f"{', '.join(steps)}; as --option value or key=value. Example: python -m {module} "
        "--root raw --out out --subject 1 --l-freq 0.5 steps.whiten=none",
    )
    parser.add_argument("--root", required=True, help="where the raw recordings are")
    parser.add_argument("--out", required=True, help="goes to OUT/prepared/...")
    parser.add_argument("--subject", action="append", help="only this one; repeatable")
    parser.add_argument("--config", help="YAML with options")
    parser.add_argument("--n-jobs", type=int, default=1, help="subjects at a time")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--print-config", action="store_true", help="print the options and stop")
    parser.add_argument("--debug", action="store_true", help="traceback on errors")
    options, rest = parser.parse_known_args(argv)
    try:
        given = load_yaml(options.config) if options.config else {}
        words = _overrides(rest, fields, steps)
        dataset = resolve(Dataset, override({**given, "name": name}, words))
        if options.print_config:
            import yaml

            print(yaml.safe_dump(to_dict(dataset), sort_keys=False, allow_unicode=True), end="")
            return 0
        folder = prepare(
            dataset, options.root, options.out, options.subject, options.n_jobs, options.quiet
        )
    except NeurovisError as error:
        if options.debug:
            raise
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 1
    print(f"Prepared: {folder}")
    return 0


def _overrides(words: list[str], fields: Any, steps: Any) -> list[str]:
    """``--l-freq 1`` and ``l_freq=1`` to ``steps.l_freq=1``."""
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
        if root not in fields and root not in steps:
            raise UsageError(unknown("option", root, [*fields, *steps]))
        out.append(f"{key if root in fields else f'steps.{key}'}={value}")
        place += 1
    return out
