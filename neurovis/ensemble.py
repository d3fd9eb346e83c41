"""Several runs as one decoder: their similarities averaged on the same test rows.

Comes in: runs that differ by seed, targets, tower or loss, and were tested on the same trials. Goes
out: a run folder of its own that ``neurovis evaluate`` and ``neurovis report`` read as any other. Each
test row is combined by itself, with weights that are all equal: nothing is learned from test rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np

from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import About, Answers, read_answers
from neurovis.progress import progress, say
from neurovis.records import Prediction
from neurovis.store import artefact, artefact_path, is_complete, new_h5, read_json, sha256

RULE = (
    "each run's similarities of a test row are brought to mean 0 and standard deviation 1 over the "
    "gallery, then averaged over runs with equal weights"
)
RULE_CATEGORY = "each run's similarities of a test row are averaged over runs with equal weights"
ROWS = ("image", "subject", "n_averaged", "recording")
COPIED = ("stimuli.csv", "pictures.h5", "evoked.h5", "hierarchy.json")


def standardise(similarity: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1 over the gallery, row by row: array (row, item) float64.

    A row that says the same of every item says nothing: it becomes 0.
    """
    similarity = np.asarray(similarity, np.float64)
    flat = similarity.max(axis=1) == similarity.min(axis=1)
    centred = similarity - similarity.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    spread[flat], centred[flat] = 1, 0
    return centred / spread


def ensemble(runs: Sequence[str | Path], quiet: bool = False) -> Path:
    """Average runs into one.

    Parameters
    ----------
    runs : sequence of path
        Two run folders or more.
    quiet : bool

    Returns
    -------
    Path
        ``ensemble-<fingerprint>`` beside the first run; a complete one is returned as it is.

    Raises
    ------
    NeurovisError
        If the runs' splits, galleries or test rows differ, or which trials a row averages.
    """
    import yaml

    runs = [Path(run) for run in runs]
    if len(runs) < 2 or len({run.resolve() for run in runs}) < len(runs):
        raise UsageError(
            f"ensemble: expected two different runs or more, found {', '.join(map(str, runs))}."
        )
    read = [read_answers(run) for run in runs]
    members = [_by_system(answers) for answers, _ in read]
    about = read[0][1]
    for run, (_, other) in zip(runs[1:], read[1:]):
        _same_folds(runs[0], run, about, other)
    shared = [name for name in members[0] if all(name in own for own in members)]
    if "tower" not in shared:
        raise NeurovisError("ensemble: expected systems/tower in every run, found runs without it.")
    _same_trials(runs)
    for name in shared:
        for run, own in zip(runs[1:], members[1:]):
            _same_rows(runs[0], run, members[0][name], own[name])
    files = {
        f"{place}/{name}": sha256(source)
        for place, own in enumerate(members, start=1)
        for name, one in own.items()
        if (source := Path(one.source)).is_file()
    }
    said = [yaml.safe_load((r / "config.yaml").read_text("utf-8")) if (r / "config.yaml").is_file() else {}
            for r in runs]  # fmt: skip
    config = {
        "name": "ensemble",
        "rule": RULE_CATEGORY if about.category else RULE,
        "members": [{"run": run.resolve().name, "config": c} for run, c in zip(runs, said)],
    }
    home = runs[0].resolve().parent
    folder = artefact_path(home.parent, home.name, "ensemble", config, files)
    if is_complete(folder):
        say(f"{folder.name}: complete already", quiet)
        return folder
    with artefact(folder, config, files) as partial:
        for number, split in enumerate(about.folds, start=1):
            name = "split.json" if len(about.folds) == 1 else f"split-{number:02d}.json"
            protocol = f"{split.protocol}, ensemble of {len(runs)} runs"
            replace(split, protocol=protocol).write(partial / name)
        for name in COPIED:
            if (runs[0] / name).is_file():
                shutil.copyfile(runs[0] / name, partial / name)
        shutil.copytree(runs[0] / "gallery", partial / "gallery", dirs_exist_ok=True)
        for name in progress(shared, desc="averaging", quiet=quiet, unit="system"):
            some = [own[name] for own in members]
            # limits stand in similarity.h5 and are the same in every run
            alone = not (some[0].pairs or some[0].parts) and name != "tower"
            _write(partial / "systems" / name / "similarity.h5", some[:1] if alone else some,
                   standard=not (alone or about.category))  # fmt: skip
    return folder


def _by_system(answers: list[Answers]) -> dict[str, Answers]:
    """One answer per system: of all targets together where a run has several."""
    found: dict[str, Answers] = {}
    for one in answers:
        if one.system not in found or one.target == "all":
            found[one.system] = one
    return found


def _same_folds(first: Path, run: Path, about: About, other: About) -> None:
    if [*map(astuple, about.folds)] != [*map(astuple, other.folds)]:
        raise NeurovisError(
            f"{run}: its split is not that of {first.name}, expected the same images on the same sides "
            "under one protocol; train the runs from one prepared folder."
        )
    if about.category != other.category:
        raise NeurovisError(f"{run}: its gallery is of another kind than that of {first.name}.")


def _same_trials(runs: list[Path]) -> None:
    """Refuse runs whose rows may average different trials of an image: an unfair gain."""
    marks = []
    for run in runs:
        record = run / "provenance.json"
        prepared = read_json(record).get("inputs", {}).get("prepared") if record.is_file() else None
        path = run / "systems" / "tower" / "prediction.h5"
        rows = Prediction.read(path).rows if path.is_file() else ""
        marks.append((prepared, rows))
    for run, (prepared, rows) in zip(runs, marks):
        if prepared != marks[0][0]:
            raise NeurovisError(
                f"{run}: was trained from another prepared folder ({prepared}) than {runs[0].name} "
                f"({marks[0][0]}); train the runs from one."
            )
        if rows != marks[0][1] or not rows:
            raise NeurovisError(
                f"{run}: its test rows do not average the trials that those of {runs[0].name} do, or do "
                "not say which; give the runs one predict section and train them with this version."
            )


def _same_rows(first: Path, run: Path, one: Answers, other: Answers) -> None:
    for name in ROWS:
        if not np.array_equal(getattr(one, name), getattr(other, name)):
            raise NeurovisError(
                f"{run}: {one.system} has other test rows ({name}) than in {first.name}, expected the "
                "same in the same order; give the runs one predict section."
            )
    if set(one.gallery.tolist()) != set(other.gallery.tolist()):
        raise NeurovisError(
            f"{run}: {one.system} has another gallery ({len(other.gallery)} items) than in {first.name} "
            f"({len(one.gallery)}); embed the same images for every run."
        )


def _blocks(some: list[Answers], standard: bool) -> Iterator[tuple[slice, np.ndarray]]:
    gallery = some[0].gallery
    orders = []
    for one in some:
        place = {image: i for i, image in enumerate(one.gallery.tolist())}
        orders.append(np.array([place[image] for image in gallery.tolist()]))
    for parts in zip(*(one.blocks() for one in some), strict=True):
        rows, total = parts[0][0], 0.0
        for order, (_, similarity) in zip(orders, parts, strict=True):
            own = standardise(similarity) if standard else similarity.astype(np.float64)
            total = total + own[:, order]
        yield rows, (total / len(some)).astype(np.float32)


def _write(path: Path, some: list[Answers], standard: bool) -> None:
    import h5py

    one = some[0]
    with new_h5(path, "neurovis-similarity") as file:
        shape = (len(one.image), len(one.gallery))
        stored = file.create_dataset("similarity", shape, np.float32)
        for rows, block in _blocks(some, standard):
            stored[rows] = block
        for name in (*ROWS, "gallery"):
            value = getattr(one, name)
            text = value.dtype.kind == "U"
            data = value.astype(object) if text else value
            file.create_dataset(name, data=data, dtype=h5py.string_dtype() if text else None)
