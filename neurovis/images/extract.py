"""Run a frozen encoder over the pictures of a ``stimuli.csv``, once.

Comes in: an encoder and `Stimuli`. Goes out: the folder of an ``embeddings.h5``. Pictures are decoded
in threads while the encoder runs. Vectors are kept block by block as they are made, so that a killed
run goes on where it stopped, and a picture that any earlier run embedded with the same encoder and
weights (found by its checksum) is not run again. A category's embedding is the mean over its files.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from neurovis.config import fingerprint
from neurovis.errors import NeurovisError
from neurovis.images.base import Encoder, ImageEncoder, open_picture
from neurovis.images.category import Category
from neurovis.images.names import encoder as encoder_of
from neurovis.images.networks import Network, build_places
from neurovis.progress import progress, say
from neurovis.records import Embeddings, Stimuli
from neurovis.store import (
    artefact,
    artefact_path,
    dataset,
    is_complete,
    open_h5,
    remove,
    working_folder,
    write_h5,
)

FLUSH_SECONDS = 10.0
FLUSH_BYTES = 2**28
T = TypeVar("T")
R = TypeVar("R")


def embed(
    encoder: str | dict[str, Any] | ImageEncoder,
    stimuli: Stimuli | str | Path,
    out: str | Path,
    batch_size: int = 32,
    device: str = "auto",
    quiet: bool = False,
) -> Path:
    """Embed all pictures of a set of stimuli, or what is said of them.

    Parameters
    ----------
    encoder : str, dict or ImageEncoder
        See `neurovis.images.encoder`.
    stimuli : Stimuli or path of a ``stimuli.csv``
    out : path
        The artefact is ``out/embeddings/<encoder>-<fingerprint>``; one that is complete is reused.
    batch_size : int
        Pictures at a time.
    device : str
        Where a network runs.
    quiet : bool

    Returns
    -------
    Path
        Folder with ``embeddings.h5``, ``config.yaml`` and ``provenance.json``.

    Raises
    ------
    NeurovisError
        If a picture is missing, damaged or not the one that ``stimuli.csv`` describes, or the weights
        are not there.
    """
    config = encoder_of(encoder)
    if device != config.device and device != "auto":
        config = config.model_copy(update={"device": device})
    if not isinstance(stimuli, Stimuli):
        stimuli = Stimuli.read(stimuli)
    if batch_size < 1:
        raise NeurovisError(f"batch_size: expected 1 or more, found {batch_size}; give another.")
    if isinstance(config, Category):
        return _categories(config, stimuli, Path(out), quiet)
    if config.of_pictures:
        rows, places = _rows(stimuli)
    else:
        rows, places = _words(config.texts(stimuli))
    built = config.build()
    identity = config.identity(built.weights)
    keys = np.array([_key(row) for row in rows])
    root = Path(out)
    folder = artefact_path(
        root, "embeddings", config.label, identity, stimuli.image.tolist(), keys.tolist()
    )
    if is_complete(folder):
        say(f"{folder.name}: complete, nothing to do", quiet)
        return folder
    inputs = {"stimuli": fingerprint(stimuli.image.tolist(), keys.tolist())}
    if built.weights:
        inputs["weights"] = built.weights
    # whatever is embedded already: whole rows of complete artefacts, files of this one's blocks
    done = _finished(folder.parent, identity, set(keys.tolist()))
    with artefact(folder, identity, inputs) as partial:
        blocks = partial / "blocks"
        done |= _blocks(blocks, quiet)
        wanted = [sha for row, key in zip(rows, keys) if key not in done for sha in row]
        wanted = [sha for sha in dict.fromkeys(wanted) if sha not in done]
        _refuse_missing([places[sha] for sha in wanted])
        desc = f"embed {config.label}"
        for found in _run(built, wanted, places, blocks, batch_size, desc, quiet):
            done.update(found)
        vector = _assemble(rows, keys, done, config.label)
        _write(partial, vector, stimuli, keys, identity)
        for path in blocks.glob("*.h5"):
            path.unlink()
        if blocks.is_dir():
            blocks.rmdir()
    return folder


def _write(
    folder: Path, vector: np.ndarray, stimuli: Stimuli, keys: np.ndarray, identity: dict[str, Any]
) -> None:
    Embeddings(vector, stimuli.image, identity)  # refuses NaN before anything is kept
    name = "vector" if vector.ndim == 2 else "token"
    data = {name: vector, "image": stimuli.image, "sha256": keys}
    path = folder / "embeddings.h5"
    write_h5(path, "neurovis-embeddings", data, encoder=json.dumps(identity))


def embed_places(
    networks: Sequence[Network],
    stimuli: Stimuli,
    out: str | Path,
    batch_size: int = 32,
    quiet: bool = False,
) -> list[Path]:
    """Embed pictures with one network read at several places; every picture goes through it once.

    Parameters
    ----------
    networks : sequence of Network
        Alike but for the place, none with tokens.
    stimuli : Stimuli
    out : path
    batch_size : int
    quiet : bool

    Returns
    -------
    list of Path
        One folder per place, each as `embed` makes it. Vectors of all places wait on disk meanwhile,
        so that memory holds those of one place alone.
    """
    built, read = build_places(networks)
    rows, places = _rows(stimuli)
    keys = np.array([_key(row) for row in rows])
    images = stimuli.image.tolist()
    identities = [one.identity(built.weights) for one in networks]
    folders = [
        artefact_path(out, "embeddings", one.label, identity, images, keys.tolist())
        for one, identity in zip(networks, identities)
    ]
    if all(map(is_complete, folders)):
        return folders
    waiting = artefact_path(
        out, "embeddings", f"{networks[0].label}-places", identities, keys.tolist()
    )
    blocks = working_folder(waiting) / "blocks"
    done = set(_blocks(blocks, quiet))
    wanted = [sha for sha in dict.fromkeys(sha for row in rows for sha in row) if sha not in done]
    _refuse_missing([places[sha] for sha in wanted])
    desc = f"embed {networks[0].component}:{networks[0].model} at {len(networks)} places"
    for found in _run(built, wanted, places, blocks, batch_size, desc, quiet):
        _save(blocks, found)
    cuts = np.concatenate([[0], np.cumsum(read.widths)])
    inputs = {"stimuli": fingerprint(images, keys.tolist()), "weights": built.weights}
    for i, (folder, identity) in enumerate(zip(folders, identities)):
        if is_complete(folder):
            continue
        columns = slice(cuts[i], cuts[i + 1])
        vector = _assemble(rows, keys, _blocks(blocks, quiet, columns), networks[i].label)
        with artefact(folder, identity, inputs) as partial:
            _write(partial, vector, stimuli, keys, identity)
    remove(working_folder(waiting))
    return folders


def _categories(config: Category, stimuli: Stimuli, out: Path, quiet: bool) -> Path:
    """Vectors that need no picture."""
    identity, concepts = config.identity(""), stimuli.concept.tolist()
    folder = artefact_path(
        out, "embeddings", config.label, identity, stimuli.image.tolist(), concepts
    )
    if is_complete(folder):
        say(f"{folder.name}: complete, nothing to do", quiet)
        return folder
    inputs = {"stimuli": fingerprint(stimuli.image.tolist(), concepts)}
    with artefact(folder, identity, inputs) as partial:
        data = {"vector": config.of_stimuli(stimuli), "image": stimuli.image}
        path = partial / "embeddings.h5"
        write_h5(path, "neurovis-embeddings", data, encoder=json.dumps(identity))
    return folder


def _rows(stimuli: Stimuli) -> tuple[list[tuple[str, ...]], dict[str, Path]]:
    """Checksums of each stimulus' files, and where a file of each checksum lies."""
    known = {
        path: stimuli.sha256[row]
        for row in range(len(stimuli))
        if len(stimuli.path[row]) == 1 and stimuli.sha256[row]
        for path in stimuli.files(row)
    }
    files = dict.fromkeys(path for row in range(len(stimuli)) for path in stimuli.files(row))
    unknown = [path for path in files if path not in known]
    _refuse_missing(unknown)
    with ThreadPoolExecutor(_threads()) as pool:
        known |= dict(zip(unknown, pool.map(_checksum, unknown)))
    places = {known[path]: path for path in reversed(files)}
    return [tuple(known[p] for p in stimuli.files(i)) for i in range(len(stimuli))], places


def _words(texts: list[str]) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """Checksum of each stimulus' text, and the text of each checksum."""
    sums = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    return [(one,) for one in sums], dict(zip(sums, texts))


def _refuse_missing(places: list[Path | str]) -> None:
    """Say before anything is embedded which pictures are not there, and how many."""
    missing = [p for p in places if isinstance(p, Path) and not p.is_file()]
    if missing:
        raise NeurovisError(
            f"{missing[0]}: no such picture, and {len(missing)} of {len(places)} pictures to embed are "
            "not there; put them there, or correct the paths in stimuli.csv."
        )


def _checksum(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise NeurovisError(
            f"{path}: no such picture; put it there, or correct the path in stimuli.csv."
        ) from None


def _key(row: tuple[str, ...]) -> str:
    """Name of a stimulus' content: its file's checksum, or the checksum of several."""
    return row[0] if len(row) == 1 else hashlib.sha256("".join(row).encode()).hexdigest()


def _threads() -> int:
    return min(8, os.cpu_count() or 1)


def _finished(root: Path, identity: dict[str, Any], keys: set[str]) -> dict[str, np.ndarray]:
    """Vectors of wanted pictures in complete artefacts of the same encoder and weights."""
    done: dict[str, np.ndarray] = {}
    for path in sorted(root.glob("*/embeddings.h5")):
        if not is_complete(path.parent):
            continue
        with open_h5(path, "neurovis-embeddings") as file:
            if "sha256" not in file or json.loads(file.attrs.get("encoder", "{}")) != identity:
                continue
            found = file["sha256"].asstr()[()]
            hit = [i for i, key in enumerate(found) if key in keys and key not in done]
            if hit:
                vector = file["vector" if "vector" in file else "token"][()]
                done.update((found[i], vector[i]) for i in hit)
    return done


def _blocks(folder: Path, quiet: bool, columns: slice = slice(None)) -> dict[str, np.ndarray]:
    """Vectors that a run before this one left."""
    done: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.h5")):
        try:
            with open_h5(path, "neurovis-embedded") as file:
                vectors = dataset(path, file, "vector")
                vectors = vectors[:, columns] if vectors.ndim == 2 else vectors[()]
                names = dataset(path, file, "sha256")[()].tolist()
        except NeurovisError as error:
            say(f"{error} Its pictures are embedded again.", quiet)
            path.unlink()
            continue
        done.update(zip(names, vectors))
    return done


def _run(
    built: Encoder,
    wanted: list[str],
    places: dict[str, Path] | dict[str, str],
    blocks: Path,
    batch_size: int,
    desc: str,
    quiet: bool,
) -> Iterator[dict[str, np.ndarray]]:
    """Embed files; what is done is on disk every few seconds and when anything goes wrong."""
    if not wanted:
        return

    def prepare(sha: str) -> np.ndarray:
        if isinstance(places[sha], str):
            return built.prepare(places[sha])
        try:
            data = places[sha].read_bytes()
        except OSError:
            _checksum(places[sha])  # raises with the sentence
            raise
        if hashlib.sha256(data).hexdigest() != sha:
            raise NeurovisError(
                f"{places[sha]}: expected the picture of sha256 {sha[:12]}... named in stimuli.csv, "
                "found another content; restore the picture or make stimuli.csv anew."
            )
        return built.prepare(open_picture(data, places[sha]))

    batches = [wanted[i : i + batch_size] for i in range(0, len(wanted), batch_size)]
    pending: dict[str, np.ndarray] = {}
    saved = time.monotonic()

    with ThreadPoolExecutor(_threads()) as pool:
        ahead = _ahead(pool, prepare, wanted, 3 * batch_size)
        try:
            for batch in progress(batches, desc, len(batches), quiet, unit="batch"):
                images = np.stack(list(itertools.islice(ahead, len(batch))))
                pending.update(zip(batch, built.embed(images)))
                size = sum(v.nbytes for v in pending.values())
                if time.monotonic() - saved > FLUSH_SECONDS or size > FLUSH_BYTES:
                    _save(blocks, pending)
                    yield pending
                    pending, saved = {}, time.monotonic()
        except BaseException:
            _save(blocks, pending)
            raise
        finally:
            ahead.close()
    yield pending


def _save(blocks: Path, pending: dict[str, np.ndarray]) -> None:
    if pending:
        name = hashlib.sha256("".join(pending).encode()).hexdigest()[:16]
        data = {"sha256": np.array(list(pending)), "vector": np.stack(list(pending.values()))}
        write_h5(blocks / f"{name}.h5", "neurovis-embedded", data)


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: list[T], n: int
) -> Iterator[R]:
    """Map in threads, in order, at most `n` results ahead: memory stays bounded."""
    rest = iter(items)
    queue = deque(pool.submit(function, item) for item in itertools.islice(rest, n))
    try:
        while queue:
            result = queue.popleft().result()
            queue.extend(pool.submit(function, item) for item in itertools.islice(rest, 1))
            yield result
    finally:
        for future in queue:
            future.cancel()


def _assemble(
    rows: list[tuple[str, ...]], keys: np.ndarray, done: dict[str, np.ndarray], label: str
) -> np.ndarray:
    """One embedding per stimulus: array (image, dim) or (image, token, dim) float32."""
    shapes = {vector.shape for vector in done.values()}
    if len(shapes) > 1:
        raise NeurovisError(
            f"{label}: expected embeddings of one shape, found {sorted(shapes)}; the pictures need a "
            "transform to one size, give +224px."
        )
    out = np.empty((len(rows), *next(iter(shapes))), np.float32)
    for i, (row, key) in enumerate(zip(rows, keys)):
        out[i] = done[key] if key in done else np.mean([done[s] for s in row], 0, np.float64)
    return out
