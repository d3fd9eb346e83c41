"""Retrieve images of any gallery for predictions, for words, or for both together.

Comes in: a run or a prediction, a file of gallery vectors, words. Goes out: ``retrieved.h5`` with the best
images of each row, and scores where the shown images are in the gallery. Words enter as the vector of the
text tower that belongs to the gallery's encoder; a score says so, because they may give the answer away.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.metrics import scoring
from neurovis.records import Embeddings, Prediction, Score, Split
from neurovis.search import Found, Gallery, combine, open_gallery, search, search_faiss
from neurovis.spaces import Space, run_spaces
from neurovis.store import write_h5

ROWS = ("image", "subject", "n_averaged")


@dataclass(frozen=True)
class Query:
    """What to look for.

    Parameters
    ----------
    run : str
        Run folder, whose target space the gallery is brought to.
    prediction : str
        ``prediction.h5`` of anyone, instead of a run, in the space of the gallery.
    system, target : str
        Of the run or prediction; the only target if empty.
    n_averaged : int, optional
        Which rows; those of the most trials averaged if not given.
    text : str
        Words.
    text_vector : str
        ``embeddings.h5`` or ``.npy`` with one vector of the text tower, instead of `text`.
    weight : float
        Of the words, from 0 (brain alone) to 1 (words alone).
    """

    run: str = ""
    prediction: str = ""
    system: str = "tower"
    target: str = ""
    n_averaged: int | None = None
    text: str = ""
    text_vector: str = ""
    weight: float = 0.5


def retrieve(
    query: Query,
    gallery: str | Path,
    ids: str | Path | None = None,
    k: int = 10,
    engine: str = "exact",
    out: str | Path | None = None,
    quiet: bool = False,
) -> tuple[Found, Prediction | None, list[Score]]:
    """Search a gallery.

    Parameters
    ----------
    query : Query
    gallery : path
        ``embeddings.h5`` or ``.npy``, float16 or float32.
    ids : path, optional
        Image ids of a ``.npy``, one per line.
    k : int
    engine : str
        ``exact``, or a kind of FAISS index such as ``Flat`` or ``IVF4096,SQfp16``.
    out : path, optional
        ``retrieved.h5`` to write.
    quiet : bool

    Returns
    -------
    Found
    Prediction or None
        The rows asked for; None for words alone.
    list of Score
        Where shown images are in the gallery and the engine is exact.
    """
    if bool(query.run) + bool(query.prediction) > 1:
        raise UsageError("retrieve: expected RUN or --prediction, found both; give one.")
    words = bool(query.text) + bool(query.text_vector)
    if words > 1:
        raise UsageError("retrieve: expected --text or --text-vector, found both; give one.")
    if not (query.run or query.prediction or words):
        raise UsageError("retrieve: expected RUN, --prediction or --text, found none of them.")
    if not 0 <= query.weight <= 1:
        raise UsageError(f"--weight: expected 0 to 1, found {query.weight:g}.")
    with open_gallery(gallery, ids) as candidates:
        said, target = _prediction(query)
        spaces: list[tuple[Space | None, int | None]] = [(None, None)]
        if query.run:
            spaces = _of_rows(run_spaces(query.run, query.system, target), query, said)
        shown = candidates.index(said.image) if said is not None else None
        parts, start = [], 0
        for space, count in spaces:
            if space is not None:
                space.check(candidates.encoder)
            rows = slice(start, None if count is None else start + count)
            start += count or 0
            vector = said.vector[target][rows] if said is not None else None
            if words:
                text = _words(query, candidates, space)
                weights = [1 - query.weight, query.weight]
                vector = text if vector is None else combine([vector, text], weights)
            known = shown[rows] if shown is not None else np.full(len(vector), -1)
            parts.append(_search(vector, candidates, k, engine, space, known, quiet))
        found = joined(parts)
        known = shown >= 0 if shown is not None else np.zeros(len(found.item), bool)
        scores = _scores(query, said, target, found, known, candidates) if known.any() else []
    if out is not None:
        _write(Path(out), found, said, query)
    return found, said, scores


def _search(
    vector: np.ndarray,
    candidates: Gallery,
    k: int,
    engine: str,
    space: Space | None,
    shown: np.ndarray,
    quiet: bool,
) -> Found:
    """Search with some rows; `shown` is their item in the gallery, -1 where it is none of it."""
    known = shown >= 0
    if engine != "exact":
        return search_faiss(vector, candidates, k, engine, space)
    if known.all() and len(known):
        return search(vector, candidates, k, shown, space, quiet=quiet)
    found = search(vector, candidates, k, None, space, quiet=quiet)
    if known.any():
        some = search(vector[known], candidates, 1, shown[known], space, quiet=quiet)
        above, tied = np.full(len(known), -1), np.full(len(known), -1)
        above[known], tied[known] = some.above, some.tied
        found = replace(found, above=above, tied=tied)
    return found


def joined(parts: list[Found]) -> Found:
    """What several models found, rows below each other; places only where each has them."""
    if len(parts) == 1:
        return parts[0]
    whole = {}
    for one in fields(Found):
        values = [getattr(part, one.name) for part in parts]
        rows = all(isinstance(v, np.ndarray) for v in values)
        whole[one.name] = np.concatenate(values) if rows else None
    return Found(**whole)


def _of_rows(
    spaces: list[tuple[Space, int | None]], query: Query, said: Prediction | None
) -> list[tuple[Space, int | None]]:
    """Spaces with their number of the rows asked for, which are some of the run's."""
    if len(spaces) == 1:
        return [(spaces[0][0], None)]
    if said is None:
        raise UsageError(
            f"retrieve: the run has {len(spaces)} models with a space each, expected rows to search with; "
            "give words together with a RUN's predictions."
        )
    path = Path(query.run) / "systems" / query.system / "prediction.h5"
    every = Prediction.read(path).n_averaged == said.n_averaged[0]
    ends = np.cumsum([0, *(count for _, count in spaces)])
    counts = [int(every[a:b].sum()) for a, b in pairwise(ends)]
    return [(space, count) for (space, _), count in zip(spaces, counts) if count]


def listed(found: Found, said: Prediction | None, n_rows: int = 5) -> str:
    """The best images of the first rows, for the terminal."""
    lines = []
    for row in range(min(n_rows, len(found.item))):
        what = f"shown {said.image[row]}" if said is not None else "words"
        pairs = zip(found.image[row].tolist(), found.similarity[row].tolist())
        lines.append(f"{what}: " + ", ".join(f"{image} {value:.3f}" for image, value in pairs))
    rest = len(found.item) - n_rows
    return "\n".join([*lines, *([f"... and {rest} more rows"] if rest > 0 else [])])


def text_vectors(encoder: str | dict[str, Any], texts: list[str]) -> np.ndarray:
    """What the text tower of an open_clip model says of texts: array (text, dim) float32.

    Parameters
    ----------
    encoder : str or dict
        The image encoder whose text tower is meant, at its own output.
    texts : list of str

    Raises
    ------
    NeurovisError
        If the encoder has no text tower, or is read out at an inner layer, which none belongs to.
    """
    import open_clip
    import torch
    from safetensors import SafetensorError

    from neurovis.images import encoder as encoder_of
    from neurovis.images.networks import OpenClip

    label, config = encoder, None
    if isinstance(encoder, str):
        config = encoder_of(encoder)
    else:
        label = encoder.get("name")
        if label == "open_clip":  # a file's own name of another component is never imported
            fields = {k: v for k, v in encoder.items() if k in OpenClip.model_fields}
            config = build(OpenClip, fields)
    good = isinstance(config, OpenClip) and config.depth == 1 and not config.layer
    if not good or config.pool != "auto":
        raise NeurovisError(
            f"text: expected an open_clip encoder at its own output, found {label!r}; give the text's "
            "vector in that space as --text-vector."
        )
    name, options = config._source(open_clip)
    try:
        model = open_clip.create_model(name, require_pretrained=True, weights_only=True, **options)
        tokens = open_clip.get_tokenizer(name)(texts)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise NeurovisError(
            f"text: the text tower of {label!r} could not be loaded ({' '.join(str(error).split())[:200]}); "
            "run once where there is a network, or give --text-vector."
        ) from error
    with torch.inference_mode():
        return model.eval().encode_text(tokens, normalize=False).float().numpy()


def _prediction(query: Query) -> tuple[Prediction | None, str]:
    """Rows asked for, and the target."""
    path = Path(query.prediction)
    if query.run:
        path = Path(query.run) / "systems" / query.system / "prediction.h5"
    elif not query.prediction:
        return None, query.target
    said = Prediction.read(path)
    target = query.target or next(iter(said.vector))
    if target not in said.vector:
        raise UsageError(unknown("--target: target", target, said.vector))
    if not query.target and len(said.vector) > 1:
        raise UsageError(
            f"--target: expected one of {', '.join(said.vector)}, found none; name it."
        )
    known = np.unique(said.n_averaged).tolist()
    wanted = query.n_averaged or known[-1]
    if wanted not in known:
        raise UsageError(f"--n-averaged: expected one of {known}, found {wanted}.")
    rows = said.n_averaged == wanted
    columns = {name: getattr(said, name)[rows] for name in (*ROWS, "recording")}
    return Prediction({target: said.vector[target][rows]}, **columns, model=said.model), target


def _words(query: Query, gallery: Gallery, space: Space | None) -> np.ndarray:
    if query.text_vector:
        path = Path(query.text_vector)
        if path.suffix == ".npy":
            vector = np.atleast_2d(np.load(path, allow_pickle=False))
        else:
            vector = Embeddings.read(path).vector
        if len(vector) != 1:
            raise NeurovisError(f"{path}: expected one vector, found {len(vector)}; keep one.")
    else:
        encoder = gallery.encoder or (space.encoder if space is not None else {})
        if not encoder:
            raise NeurovisError(
                f"{gallery.source}: does not say its encoder, expected one whose text tower is known; "
                "give the text's vector as --text-vector."
            )
        vector = text_vectors(encoder, [query.text])
    return vector if space is None else space.apply(vector)


def _scores(
    query: Query,
    said: Prediction,
    target: str,
    found: Found,
    known: np.ndarray,
    gallery: Gallery,
) -> list[Score]:
    if found.above is None:
        return []
    protocol = Split.read_folds(query.run)[0].protocol if query.run else "not stated"
    if query.text or query.text_vector:
        protocol += f", words given with weight {query.weight:g}"
    about = {"system": query.system if query.run else "prediction", "target": target}
    about |= {"n_averaged": int(said.n_averaged[0])}
    common = {"gallery": f"{len(gallery):,} images ({Path(gallery.source).name})"}
    scores = []
    for subject in ["all", *np.unique(said.subject[known]).tolist()]:
        rows = known & ((said.subject == subject) | (subject == "all"))
        more = {**about, "subject": subject, "n_rows": int(rows.sum())}
        metrics = tuple(m for m in scoring.RETRIEVAL if m.fits(len(gallery)))
        scores += [
            one.score
            for one in scoring.score_images(
                metrics, said.image[rows], found.above[rows], found.tied[rows], len(gallery),
                {**common, "protocol": protocol, "about": more},
            )
        ]  # fmt: skip
    return scores


def _write(path: Path, found: Found, said: Prediction | None, query: Query) -> None:
    data = {"best": found.image, "similarity": found.similarity}
    if said is not None:
        data |= {name: getattr(said, name) for name in ROWS}
    if found.above is not None:
        data |= {"above": found.above, "tied": found.tied}
    write_h5(path, "neurovis-retrieved", data, text=query.text, weight=query.weight)
