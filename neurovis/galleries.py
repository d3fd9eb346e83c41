"""Predictions of several models, each with a projected gallery of its own.

Comes in: ``systems/<system>/galleries/<number>/<target>.h5`` and ``galleries.json``, which says how many
rows of ``prediction.h5`` belong to each, in order. Goes out: the rows of each model with its gallery, and with
what it says of validation images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Embeddings, Prediction
from neurovis.store import FORMAT_VERSION, read_json, write_json

COLUMNS = ("image", "subject", "n_averaged", "recording")


def write(folder: Path, rows: Sequence[int]) -> None:
    """Say how many rows belong to each gallery of a system."""
    found = len(list((folder / "galleries").iterdir()))
    if found != len(rows):
        raise NeurovisError(
            f"{folder}/galleries: expected {len(rows)} galleries, found {found}; remove the run's "
            "unfinished folder and run the same command again."
        )
    data = {"format": "neurovis-galleries", "format_version": FORMAT_VERSION, "rows": list(rows)}
    write_json(folder / "galleries.json", data)


def read(
    folder: Path, prediction: Prediction
) -> Iterator[tuple[Prediction, dict[str, Embeddings]]]:
    """Rows of each model of a system, with its gallery per target."""
    path = folder / "galleries.json"
    counts = [int(n) for n in read_json(path, "neurovis-galleries")["rows"]]
    places = sorted((folder / "galleries").iterdir())
    if sum(counts) != len(prediction) or len(places) != len(counts):
        raise NeurovisError(
            f"{path}: speaks of {sum(counts)} rows of {len(counts)} galleries, found "
            f"{len(prediction)} of {len(places)}; run neurovis train again."
        )
    start = 0
    for count, place in zip(counts, places):
        rows = slice(start, start + count)
        start += count
        columns = {name: getattr(prediction, name)[rows] for name in COLUMNS}
        vector = {target: value[rows] for target, value in prediction.vector.items()}
        spread = {k: v[rows] for k, v in (prediction.spread or {}).items()}
        part = Prediction(vector, **columns, model=prediction.model, spread=spread or None)
        yield part, {t: Embeddings.read(place / f"{t}.h5") for t in vector}


def merged(parts: Sequence[Any]) -> Any:
    """One `Answers` of several with the same target: rows below each other."""

    def blocks() -> Iterator[tuple[slice, np.ndarray]]:
        start = 0
        for part in parts:
            for rows, similarity in part.blocks():
                yield slice(start + rows.start, start + rows.stop), similarity
            start += len(part.image)

    columns = {n: np.concatenate([getattr(part, n) for part in parts]) for n in COLUMNS}
    known = all(part.spread is not None for part in parts)
    columns["spread"] = np.concatenate([part.spread for part in parts]) if known else None
    return replace(parts[0], **columns, blocks=blocks, pairs=(), parts=tuple(parts))


def held_out(folder: Path, subject: np.ndarray) -> list[tuple[Path | None, np.ndarray]]:
    """Where the models of a system say of validation images, and which rows of test images are theirs.

    Parameters
    ----------
    folder : Path
        Of the system.
    subject : array of str (row,)
        Of rows of the test.

    Returns
    -------
    list of (Path or None, array of bool (row,))
    """
    if (joint := folder / "validation.h5").is_file():
        return [(joint, np.ones(len(subject), bool))]
    found = []
    for who in np.unique(subject).tolist():
        names = [folder / f"validation-{kind}{who}.h5" for kind in ("new-", "without-", "")]
        held = next((path for path in names if path.is_file()), None)
        found.append((held, subject == who))
    if all(held is None for held, _ in found):
        return [(None, np.ones(len(subject), bool))]
    return found
