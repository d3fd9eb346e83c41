"""Which layer of which image encoder a brain's signals tell most about: a table made before training.

Comes in: a prepared folder and encoders, networks at several layers. Goes out: ``sweeps/<name>/`` with
``sweep.csv``, ``sweep.json`` and ``sweep.png``. Ridge regression is fitted to training images and scored
on validation images; no test trial and no test picture is used, so that a target may be chosen by it.

Reference: retrieval rises and falls with the layer: arXiv 2601.21948.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.batches import Data, Recordings
from neurovis.brain.ridge import Ridge
from neurovis.config import Config, how
from neurovis.errors import NeurovisError, UsageError
from neurovis.images import ImageEncoder, embed, encoder
from neurovis.images.extract import embed_places
from neurovis.images.networks import Network
from neurovis.images.reading import n_blocks
from neurovis.metrics import statistics
from neurovis.metrics.retrieval import Top, cosine_blocks, place
from neurovis.metrics.scoring import score_images
from neurovis.progress import progress, say
from neurovis.records import Embeddings, Score
from neurovis.store import (
    FORMAT_VERSION,
    artefact,
    artefact_path,
    atomic,
    is_complete,
    read_json,
    write_json,
)

TOP = Top(k=5)
DRAWS = 500


class Sweep(Config):
    """What is compared, and how.

    Parameters
    ----------
    data : Data
    encoders : tuple of str or dict
        As in `neurovis.images.encoder`.
    layers : {"all"} or tuple of float or int
        Places of networks that name none themselves: every block, relative depths, or numbers of
        blocks; the network's own output (1.0) is always there.
    pools : tuple of {"mean", "cls"}
        How blocks are made into vectors.
    components : int
        Principal components of the training images that are predicted; scored are all dims.
    ridge : Ridge
    rank_by : {"correlation", "top5"}
    batch_size : int
        Pictures at a time.
    """

    data: Data = Data()
    encoders: tuple[str | dict[str, Any], ...] = pydantic.Field(("classical",), min_length=1)
    layers: Literal["all"] | tuple[int | float, ...] = "all"
    pools: tuple[Literal["mean", "cls"], ...] = ("mean",)
    components: pydantic.PositiveInt = 128
    ridge: Ridge = Ridge()
    rank_by: Literal["correlation", "top5"] = "correlation"
    batch_size: pydantic.PositiveInt = how(32)


@dataclass(frozen=True, eq=False)
class Readout:
    """One encoder at one place, and its score.

    Parameters
    ----------
    encoder : ImageEncoder
    recorded : dict
        Its config as its embeddings record it, with the checksum of its weights.
    dim : int
    correlation, top5 : Score
    """

    encoder: ImageEncoder
    recorded: dict[str, Any]
    dim: int
    correlation: Score
    top5: Score


def sweep(config: Sweep, out: str | Path, quiet: bool = False) -> Path:
    """Score encoders and layers on validation images.

    Parameters
    ----------
    config : Sweep
    out : path
        The artefact is ``<out>/sweeps/<name>-<fingerprint>``; one that is complete is reused.
    quiet : bool

    Returns
    -------
    Path
        Of the artefact.

    Raises
    ------
    NeurovisError
        If fewer than six validation images have trials, or targets are missing.
    UsageError
        If the split is by recording: then there are no images that training did not see.
    """
    recordings = Recordings(config.data)
    try:
        split = recordings.folds[0]
        if split.unit != "image" or len(recordings.folds) > 1:
            raise UsageError(
                f"{recordings.folder}: expected one split by images, found folds or recordings left out; "
                "layers are compared on images that training did not see."
            )
        inputs = {"prepared": recordings.identity}
        name = "-".join(dict.fromkeys(encoder(one).component for one in config.encoders))
        folder = artefact_path(out, "sweeps", name, config, inputs, recordings.subjects)
        if is_complete(folder):
            say(f"{folder.name}: complete, nothing to do", quiet)
            return folder
        with artefact(folder, config, inputs) as partial:
            readouts = score(config, recordings, Path(out), quiet)
            _write(partial, config, readouts)
    finally:
        recordings.close()
    return folder


def places(config: Sweep) -> list[list[ImageEncoder]]:
    """Encoders to compare; places of one network together, so that pictures go through it once."""
    groups: list[list[ImageEncoder]] = []
    for name in config.encoders:
        one = encoder(name)
        if not isinstance(one, Network) or not one.own_output:
            groups.append([one])
            continue
        found = _layers(one, config.layers)
        blocks = [
            one.model_copy(update={key: value, "pool": pool})
            for pool in config.pools
            for key, value in found
        ]
        groups.append([*dict.fromkeys(blocks), one])
    return groups


def _layers(network: Network, layers: Any) -> list[tuple[str, int | float]]:
    """Places as options of a network."""
    if layers == "all":
        loaded = network.load()
        loaded.tower.eval()
        return [("layer", i + 1) for i in range(n_blocks(network, loaded))]
    for one in layers:
        if not (one >= 1 if isinstance(one, int) else 0 < one <= 1):
            raise UsageError(
                f"layers: expected relative depths in (0, 1] or numbers of blocks from 1, found {one!r}; "
                "correct it."
            )
    depths = [one for one in layers if isinstance(one, float) and one < 1]
    return [("layer", n) for n in layers if isinstance(n, int)] + [("depth", d) for d in depths]


def score(config: Sweep, recordings: Recordings, out: Path, quiet: bool = False) -> list[Readout]:
    """Fit and score everything, in the order asked for.

    Parameters
    ----------
    config : Sweep
    recordings : Recordings
    out : Path
        Where embeddings are kept.
    quiet : bool

    Returns
    -------
    list of Readout
    """
    split = recordings.folds[0]
    items, images = recordings.items(split, "train")
    held, held_images = recordings.items(split, "validation")
    if len(np.unique(held_images)) <= TOP.k or len(np.unique(images)) < 3:
        raise NeurovisError(
            f"split.json: expected more than {TOP.k} validation images and three training images with "
            f"trials, found {len(np.unique(held_images))} and {len(np.unique(images))}; preprocess with a "
            "larger validation part."
        )
    # test pictures are not even embedded
    used = np.unique(np.concatenate([images, held_images]))
    stimuli = recordings.stimuli.take(recordings.stimuli.index(used))
    encoders, vectors = [], []
    for group in places(config):
        if len(group) > 1:
            folders = embed_places(group, stimuli, out, config.batch_size, quiet)
        else:
            folders = [embed(group[0], stimuli, out, config.batch_size, quiet=quiet)]
        encoders += group
        vectors += [Embeddings.read(path / "embeddings.h5") for path in folders]
    bases = [_basis(found, images, config.components) for found in vectors]
    known = [
        (found.at(images).reshape(len(images), -1) - middle) @ basis.T
        for found, (middle, basis) in zip(vectors, bases)
    ]
    truth = np.concatenate(known, axis=1)
    del known
    said = np.empty((len(held), truth.shape[1]), np.float32)
    subjects = range(len(recordings.subjects))
    for number in progress(subjects, "fitting ridge", quiet=quiet):
        mine = [i for i, (subject, _) in enumerate(items) if subject == number]
        asked = [i for i, (subject, _) in enumerate(held) if subject == number]
        if not asked:
            continue
        if len(mine) < 3:
            raise NeurovisError(
                f"sub-{recordings.subjects[number]}: expected three training images with trials or more, found "
                f"{len(mine)}; leave that subject out."
            )
        keep = recordings.present[number]
        model = config.ridge.build(recordings.shape_of(number, {}))
        # one decomposition of the signals serves every layer
        model.fit(recordings.averages([items[i] for i in mine])[:, keep], truth[mine])
        said[asked] = model.predict(recordings.averages([held[i] for i in asked])[:, keep])
    subject = np.array([number for number, _ in held])
    cuts = np.cumsum([len(basis) for _, basis in bases])[:-1]
    about = {
        "gallery": f"{len(np.unique(held_images))} validation images (shown image)",
        "protocol": f"{split.protocol}; fitted to training, scored on validation images",
    }
    readouts = []
    for one, found, (middle, basis), part in zip(
        encoders, vectors, bases, np.split(said, cuts, axis=1)
    ):
        predicted = part @ basis
        seen = found.at(held_images).reshape(len(held), -1) - middle
        common = {**about, "about": {"system": "ridge", "target": one.label, "subject": "all"}}
        correlation = correlate(predicted, seen, held_images, subject, common)
        gallery = np.unique(held_images)
        vector = found.at(gallery).reshape(len(gallery), -1) - middle
        shown = np.searchsorted(gallery, held_images)
        pairs = [
            place(similarity, shown[rows], rows.start)
            for rows, similarity in cosine_blocks([(predicted, vector)])
        ]
        above, tied = (np.concatenate(column) for column in zip(*pairs))
        (top,) = score_images((TOP,), held_images, above, tied, len(gallery), common)
        readouts.append(Readout(one, found.encoder, vector.shape[1], correlation, top.score))
    return readouts


def _basis(found: Embeddings, images: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (dim,) and principal components (component, dim) of the training images."""
    vector = found.at(np.unique(images)).astype(np.float64)
    vector = vector.reshape(len(vector), -1)
    middle = vector.mean(0)
    vector -= middle
    tall = len(vector) > vector.shape[1]
    value, axes = np.linalg.eigh(vector.T @ vector if tall else vector @ vector.T)
    keep = np.flatnonzero(value > 1e-10 * max(value[-1], 1e-300))[::-1][:components]
    if len(keep) == 0:
        raise NeurovisError(
            "sweep: an encoder gives all training images the same vector, expected some difference; "
            "leave that encoder out."
        )
    basis = axes[:, keep].T if tall else axes[:, keep].T @ vector / np.sqrt(value[keep, None])
    return middle.astype(np.float32), basis.astype(np.float32)


def correlate(
    said: np.ndarray,
    seen: np.ndarray,
    image: np.ndarray,
    subject: np.ndarray,
    common: dict[str, Any],
) -> Score:
    """Pearson correlation over images, averaged over dims and then over subjects.

    Parameters
    ----------
    said, seen : array (row, dim)
        Predictions and true vectors; dims that do not differ between images are left out.
    image : array of str (row,)
    subject : array of int (row,)
    common : dict
        ``gallery``, ``protocol`` and ``about`` of the score.

    Returns
    -------
    Score
        Its interval is a bootstrap over images, in which all subjects' rows of an image move together.
    """
    images, item = np.unique(image, return_inverse=True)
    counts = statistics.resample_counts(len(images), DRAWS).astype(np.float64)
    values, draws = [], []
    for number in np.unique(subject):
        rows = subject == number
        x, y = said[rows].astype(np.float64), seen[rows].astype(np.float64)
        varies = np.ptp(y, axis=0) > 0
        x, y = x[:, varies] - x[:, varies].mean(0), y[:, varies] - y[:, varies].mean(0)
        if not varies.any():
            raise NeurovisError(
                f"{common['about']['target']}: all validation images have the same vector, expected some "
                "difference; leave that encoder out."
            )
        values.append(_pearson(np.ones((1, rows.sum())), x, y)[0])
        draws.append(_pearson(counts[:, item[rows]], x, y))
    low, high = statistics.interval(np.mean(draws, axis=0))
    about = {**common["about"], "resampled": "image", "subjects": [float(v) for v in values]}
    return Score(
        value=float(np.mean(values)),
        n=len(images),
        chance=0.0,
        low=low,
        high=high,
        per_item=np.zeros(0),
        gallery=common["gallery"],
        protocol=common["protocol"],
        higher_is_better=True,
        name="correlation",
        about=about,
    )


def _pearson(counts: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean over dims of the correlation of weighted rows: array (draw,); 0 where a side is constant."""
    out = np.zeros(len(counts))
    total = counts.sum(1, keepdims=True)
    for columns in np.array_split(np.arange(x.shape[1]), max(1, x.shape[1] // 512)):
        a, b = x[:, columns], y[:, columns]
        mean_a, mean_b = counts @ a / total, counts @ b / total
        both = counts @ (a * b) / total - mean_a * mean_b
        var_a = counts @ a**2 / total - mean_a**2
        var_b = counts @ b**2 / total - mean_b**2
        size = np.sqrt(var_a.clip(0) * var_b.clip(0))
        known = size > 1e-12 * max(float(size.max()), 1e-300)
        out += np.divide(both, size, out=np.zeros_like(both), where=known).sum(1)
    return out / x.shape[1]


# ---- what is written ---------------------------------------------------------------------------


def _ranked(readouts: list[Readout], rank_by: str) -> list[Readout]:
    return sorted(readouts, key=lambda one: -getattr(one, rank_by).value)


def _write(folder: Path, config: Sweep, readouts: list[Readout]) -> None:
    ranked = _ranked(readouts, config.rank_by)
    header = ["rank", "encoder", "place", "pool", "dim", "n_images"]
    for name in ("correlation", "top5"):
        header += [name, f"{name}_low", f"{name}_high", f"{name}_chance"]
    with atomic(folder / "sweep.csv") as partial, partial.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        for rank, one in enumerate(ranked, 1):
            row = [rank, one.encoder.label, _place(one.encoder), getattr(one.encoder, "pool", "")]
            row += [one.dim, one.top5.n]
            for found in (one.correlation, one.top5):
                row += [f"{v:.6f}" for v in (found.value, found.low, found.high, found.chance)]
            writer.writerow(row)
    entries = [
        {
            "rank": rank,
            "encoder": one.recorded,
            "label": one.encoder.label,
            "dim": one.dim,
            "scores": [one.correlation.to_dict(), {**one.top5.to_dict(), "per_item": []}],
        }
        for rank, one in enumerate(ranked, 1)
    ]
    about = {"format": "neurovis-sweep", "format_version": FORMAT_VERSION}
    about |= {"rank_by": config.rank_by, "interval": "95 %, bootstrap over images, seed 0"}
    write_json(folder / "sweep.json", {**about, "readouts": entries})
    _plot(folder / "sweep.png", readouts)


def _place(one: ImageEncoder) -> str:
    if not isinstance(one, Network):
        return ""
    return one.module or (f"layer{one.layer}" if one.layer else f"{one.depth:g}")


def _plot(path: Path, readouts: list[Readout]) -> None:
    """Both scores of every readout, in the order asked for, first on top."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.4 + 0.28 * len(readouts)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    row = np.arange(len(readouts))[::-1]
    for axis, name, label in zip(
        axes, ("correlation", "top5"), ("mean correlation over dims", "validation top-5")
    ):
        scores = [getattr(one, name) for one in readouts]
        value = np.array([one.value for one in scores])
        apart = np.array([[one.value - one.low, one.high - one.value] for one in scores]).T
        axis.errorbar(value, row, xerr=apart.clip(0), fmt="o", color="#1f5f8b", ms=4, lw=1.2)
        axis.axvline(scores[0].chance, color="0.5", ls="--", lw=1)
        axis.set_xlabel(f"{label} (95 % interval; dashed: chance)", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_ylim(-0.7, len(readouts) - 0.3)
    axes[0].set_yticks(row, [one.encoder.label for one in readouts])
    with atomic(path) as partial:
        figure.savefig(partial, format="png", dpi=120, metadata={"Software": None})


def table(folder: str | Path) -> str:
    """The table of a finished sweep, best first, for the terminal.

    Parameters
    ----------
    folder : path
        Made by `sweep`.
    """
    data = read_json(Path(folder) / "sweep.json", "neurovis-sweep")
    rows = [["", "encoder", "dim", "correlation", "top5 in %"]]
    for one in data["readouts"]:
        first, second = (Score.from_dict(score) for score in one["scores"])
        cells = [f"{first.value:.3f} [{first.low:.3f}, {first.high:.3f}]"]
        cells += [f"{100 * second.value:.1f} [{100 * second.low:.1f}, {100 * second.high:.1f}]"]
        rows.append([str(one["rank"]), one["label"], str(one["dim"]), *cells])
    rows.insert(1, ["", "chance", "", f"{first.chance:.3f}", f"{100 * second.chance:.1f}"])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [f"{second.gallery}; {second.protocol}; 95 % intervals; ranked by {data['rank_by']}"]
    lines += ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"
