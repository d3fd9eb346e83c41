"""Painting in batches, by one process or many, on one machine or several.

Comes in: cues of all rows in a file, tables of rows with their seeds, a generator per system. Goes out: rows
in journals. Which rows stand in one batch does not depend on who paints it, and on a CPU each process
computes with one thread: sums are then the same everywhere, and so are the pictures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import resolve, to_dict
from neurovis.errors import NeurovisError
from neurovis.generate.artefact import Journal, Table
from neurovis.generate.base import Cue, Generator, Painter
from neurovis.images import encoder as encoder_of
from neurovis.images.base import Encoder, ImageEncoder
from neurovis.parallel import Workers
from neurovis.progress import say
from neurovis.store import dataset, open_h5

CUES = "cues.h5"
CUES_FORMAT = "neurovis-cues"
TOLD = ("low", "caption", "word", "probability")
"""What cues hold of a row beside its vectors."""
CLUSTER_JOBS = 16
ALONE_SECONDS = 30.0
"""Work below which one process paints alone."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one system that are painted together.

    Parameters
    ----------
    folder : Path
        With ``cues.h5``; journals grow in ``rows/<system>/``.
    generator : dict
        Config of the generator.
    system : str
    rows : array of int (row,)
    seed : array of int (row, sample)
    encoder : ImageEncoder, optional
        Says how far painted pictures agree with what was decoded.
    """

    folder: Path
    generator: dict[str, Any]
    system: str
    rows: np.ndarray
    seed: np.ndarray
    encoder: ImageEncoder | None = None


def journal(folder: Path, system: str) -> Journal:
    """Where the rows of a system are kept until all are painted."""
    return Journal(folder / "rows" / system)


def batches(
    folder: Path,
    tables: dict[str, Table],
    generators: dict[str, Generator],
    encoder: ImageEncoder | None = None,
) -> list[Batch]:
    """All batches, the same for whoever asks.

    Parameters
    ----------
    folder : Path
    tables : dict of Table
        By system.
    generators : dict of Generator
        What paints each.
    encoder : ImageEncoder, optional
        Of the embeddings that they are painted from.
    """
    found = []
    for system, table in tables.items():
        generator = generators[system]
        word, n = to_dict(generator), max(1, generator.batch_size // table.seed.shape[1])
        for start in range(0, len(table), n):
            rows = np.arange(start, min(start + n, len(table)))
            found.append(Batch(folder, word, system, rows, table.seed[rows], encoder))
    return found


def pending(found: Sequence[Batch]) -> list[Batch]:
    """What of these is not painted yet."""
    done: dict[str, np.ndarray] = {}
    left = []
    for one in found:
        if one.system not in done:
            done[one.system] = journal(one.folder, one.system).done()
        new = ~np.isin(one.rows, done[one.system])
        if new.any():
            left.append(replace(one, rows=one.rows[new], seed=one.seed[new]))
    return left


def paint(found: Sequence[Batch], workers: Workers, quiet: bool = False) -> None:
    """Paint what of some batches is not painted yet.

    Raises
    ------
    NeurovisError
        If memory runs out, or a generator refuses its cues; what was painted is kept.
    """
    left = pending(found)
    if len(left) < len(found):
        say(f"{len(found) - len(left)} of {len(found)} batches are painted already", quiet)
    if not left:
        return
    if workers.cluster == "none" and workers.n_jobs > 1:
        # another process has to load everything once more: not for a few seconds of work
        started = time.perf_counter()
        paint_batches(left[:1])
        if (time.perf_counter() - started) * len(left) < ALONE_SECONDS:
            workers = Workers()
        left = left[1:]
    groups = [[one] for one in left]
    if workers.cluster != "none":  # a job of a cluster loads the weights once for many batches
        groups = [left[i::CLUSTER_JOBS] for i in range(min(CLUSTER_JOBS, len(left)))]
    logs = left[0].folder / "logs"
    for _ in workers.map(paint_batches, [(group,) for group in groups], logs, "painting", quiet):
        pass


def paint_batches(found: Sequence[Batch]) -> None:
    """Paint batches in this process."""
    with one_thread():
        for one in found:
            _paint(one)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let numpy and torch compute with one thread."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _paint(one: Batch) -> None:
    painter = _built(json.dumps(one.generator, sort_keys=True))
    rows = one.rows.tolist()
    with open_h5(one.folder / CUES, CUES_FORMAT) as file:
        vector = file[f"{one.system}/vector"][rows]
        more = {
            name: dataset(one.folder / CUES, file, f"{one.system}/{name}")[rows]
            for name in TOLD
            if f"{one.system}/{name}" in file
        }
    started = time.perf_counter()
    low = more.get("low")
    text = more.get("caption") if resolve(Generator, one.generator).reads_text else None
    n, k = one.seed.shape
    row, sample = np.divmod(np.arange(n * k), k)
    told = np.minimum(sample, vector.shape[1] - 1)  # one vector may stand for all samples
    size, made, agreed = one.generator["batch_size"], [], []
    for start in range(0, n * k, size):
        some = slice(start, start + size)
        cue = Cue(
            vector[row[some], told[some]],
            None if low is None else low[row[some]],
            None if text is None else tuple(text[row[some]].tolist()),
        )
        made.append(_painted(painter, cue, one.seed[row[some], sample[some]], one))
        if one.encoder is not None:
            agreed.append(_agreement(made[-1], cue.vector, one.encoder))
    picture = np.concatenate(made)
    columns = {"picture": picture.reshape(n, k, *picture.shape[1:]), **more}
    if agreed:
        columns["agreement"] = np.concatenate(agreed).reshape(n, k)
    journal(one.folder, one.system).add(one.rows, time.perf_counter() - started, **columns)


def _agreement(picture: np.ndarray, vector: np.ndarray, encoder: ImageEncoder) -> np.ndarray:
    """Cosine between the embedding of each painted picture and the one that it was painted from.

    The seen picture takes no part, so that the best of several samples may be chosen by it.
    """
    from PIL import Image

    ready = _looking(json.dumps(to_dict(encoder), sort_keys=True))
    prepared = np.stack([ready.prepare(Image.fromarray(one)) for one in picture])
    said = np.asarray(ready.embed(prepared), np.float64).reshape(len(picture), -1)
    length = np.linalg.norm(said, axis=1) * np.linalg.norm(vector, axis=1)
    return np.divide((said * vector).sum(1), length, out=np.zeros(len(said)), where=length > 0)


@lru_cache(maxsize=1)
def _looking(word: str) -> Encoder:
    return encoder_of(json.loads(word)).build()


def _painted(painter: Painter, cue: Cue, seeds: np.ndarray, one: Batch) -> np.ndarray:
    """Paint; where memory runs out say what lowers it."""
    try:
        return painter(cue, seeds)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        kept = sum(len(Journal(path).done()) for path in (one.folder / "rows").glob("*"))
        size = one.generator["batch_size"]
        lower = f"lower generator.batch_size (now {size})"
        if size == 1:
            lower = "choose a smaller generator, size or precision, or another device"
        raise NeurovisError(
            f"generators.{one.generator['name']}: ran out of memory while painting {len(cue)} pictures at a "
            f"time, the {kept} rows painted so far are kept; {lower} and run the same command again."
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a CPU or a GPU."""
    import torch

    said = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(error).lower() for words in said)


def painter_of(generator: Generator) -> Painter:
    """A generator ready to paint; a process keeps the last two.

    Raises
    ------
    NeurovisError
        If its weights are missing, or memory does not hold them.
    """
    return _built(json.dumps(to_dict(generator), sort_keys=True))


@lru_cache(maxsize=2)
def _built(word: str) -> Painter:
    generator = resolve(Generator, json.loads(word))
    try:
        return generator.build()
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise NeurovisError(
            f"generators.{generator.component}: ran out of memory while it was loaded; choose a smaller "
            "generator or precision, or another device."
        ) from error
