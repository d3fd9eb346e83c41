"""Paint what was seen from what was decoded: ``neurovis generate RUN``.

Comes in: a run and a generator. Goes out: ``RUN/reconstructions/<generator>-<fingerprint>/`` with pictures
painted from decoded embeddings, and beside them the nearest training picture, the ceiling (painted from
true embeddings) and the floor (from a control). Rows are kept as they are painted: the same command goes
on where it was stopped, and every picture depends on seed, image, subject and sample alone.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.config import Config, build, fingerprint, how, override, to_dict
from neurovis.cues import Telling, low_encoder
from neurovis.decoded import Decoded, Encoders, Run, choose_target
from neurovis.device import choose_device
from neurovis.errors import NeurovisError, UsageError
from neurovis.generate.artefact import EVERYONE, FILE, Seen, Table, gather
from neurovis.generate.base import Cue, Generator, Painter
from neurovis.generate.captions import reader
from neurovis.generate.nearest import Nearest
from neurovis.generate.prior import Prior
from neurovis.generate.shards import (
    CUES,
    CUES_FORMAT,
    Batch,
    batches,
    journal,
    one_thread,
    paint,
    painter_of,
    pending,
)
from neurovis.generate.training import pictures_of, write_training
from neurovis.images import encoder as encoder_of
from neurovis.images.base import ImageEncoder
from neurovis.parallel import Workers
from neurovis.progress import say
from neurovis.records import Embeddings
from neurovis.store import (
    artefact,
    artefact_path,
    is_complete,
    keep_first,
    open_h5,
    read_json,
    remove,
    says_disk_full,
    sha256,
    working_folder,
    write_h5,
    write_json,
)

Baseline = Literal["nearest", "ceiling", "floor"]
TRAINING = "training.h5"
ABOUT = "about.json"


class Reconstruct(Config):
    """What is painted, and from what.

    Parameters
    ----------
    generator : Generator
    system : str
        Of the run, whose predictions are painted.
    target : str
        Of the run; if empty the only one, or the one whose embeddings the generator takes.
    samples : int
        Pictures of each row, from one seed each.
    baseline_samples : int
        Pictures of each row of ceiling and floor.
    n_averaged : int, optional
        Rows of so many averaged trials; those of the most if not given.
    prior : Prior
        From decoded vectors to the embeddings that the generator takes.
    low : str or dict, optional
        Rough pictures to start from: a target of the run whose vectors are pictures, or an image
        encoder with an inverse, such as ``{name: pixels, side: 16}``.
    words : tuple of str or dict
        Text towers of the generator's own model, such as ``world:clip_text+caption``: the caption of a training
        picture that lies nearest to what was decoded, or the nearest concepts with probabilities.
        Generators that read words are told the caption.
    baselines : tuple of {"nearest", "ceiling", "floor"}
    seed : int
    embeddings : str
        Path of an ``embeddings.h5`` with all images, instead of running the generator's encoder.
    prepared : str
        Prepared folder that the run was trained on, where it is not found.
    """

    generator: Generator = pydantic.Field("linear", validate_default=True)
    system: str = "tower"
    target: str = ""
    samples: int = pydantic.Field(2, ge=1)
    baseline_samples: int = pydantic.Field(1, ge=1)
    n_averaged: pydantic.PositiveInt | None = None
    prior: Prior = pydantic.Field("regression", validate_default=True)
    low: str | dict[str, Any] | None = None
    words: tuple[str | dict[str, Any], ...] = ()
    baselines: tuple[Baseline, ...] = ("nearest", "ceiling", "floor")
    seed: int = pydantic.Field(0, ge=0)
    embeddings: str = how("")
    prepared: str = how("")

    @property
    def systems(self) -> tuple[str, ...]:
        """Everything that is painted."""
        return ("brain", *dict.fromkeys(self.baselines))


@dataclass(frozen=True, eq=False)
class _Job:
    """One reconstruction of a run, checked and on its way."""

    config: Reconstruct
    run: Run
    decoded: Decoded
    own: Embeddings
    encoder: ImageEncoder | None
    generator: Generator
    painter: Painter
    folder: Path
    quiet: bool

    @property
    def partial(self) -> Path:
        return working_folder(self.folder)

    @property
    def tables(self) -> dict[str, Table]:
        """Rows of every system."""
        said, rows, seed = self.decoded.prediction, self.decoded.rows, self.config.seed
        columns = [getattr(said, name)[rows] for name in ("image", "subject", "n_averaged")]
        images = np.unique(columns[0])
        everyone = [images, np.full(len(images), EVERYONE), np.zeros(len(images), int)]
        found = {}
        for system in self.config.systems:
            image, subject, n_averaged = everyone if system == "ceiling" else columns
            n = {"brain": self.config.samples, "nearest": 1}
            drawn = [
                [seed_of(seed, *row, k) for k in range(n.get(system, self.config.baseline_samples))]
                for row in zip(image.tolist(), subject.tolist())
            ]
            found[system] = Table(image, subject, n_averaged, np.array(drawn, np.int64))
        return found

    @property
    def batches(self) -> list[Batch]:
        """All that is to be painted."""
        near = Nearest(size=self.painter.size, training=str(self.partial / TRAINING))
        paints = {
            name: near if name == "nearest" else self.generator for name in self.config.systems
        }
        return batches(self.partial, self.tables, paints, self.encoder)


def seed_of(seed: int, image: str, subject: str, sample: int) -> int:
    """Seed of one picture: of these four alone, whatever else is painted, where, in which order."""
    return int(fingerprint(seed, image, subject, sample), 16)


def command(
    run: str, words: Sequence[str], shard: str | None = None, n_jobs: int | None = None
) -> tuple[Reconstruct, Callable[..., str]]:
    """What ``neurovis generate`` is told, and what it does then and says.

    Parameters
    ----------
    run : str
    words : sequence of str
        ``key=value``.
    shard : str, optional
        ``I/N``.
    n_jobs : int, optional
    """
    config = build(Reconstruct, override(to_dict(Reconstruct()), words))

    def run_it(quiet: bool) -> str:
        part = None
        if shard is not None:
            found = re.fullmatch(r"(\d+)/(\d+)", shard)
            part = (int(found[1]), int(found[2])) if found else (0, 0)
        on_cpu = choose_device(config.generator.device).type == "cpu"
        own = 2 if on_cpu else 1  # processes on one GPU would share its memory
        workers = build(Workers, {"n_jobs": own if n_jobs is None else n_jobs})
        made = reconstruct(run, config, part, workers, quiet)
        if part is not None:
            return (
                f"Painted: {shard} of {made.name}\nNext: neurovis generate {run} (without --shard)"
            )
        return f"Reconstructions: {made}\nNext: neurovis report {run}"

    return config, run_it


def reconstruct(
    folder: str | Path,
    config: Reconstruct | None = None,
    shard: tuple[int, int] | None = None,
    workers: Workers | None = None,
    quiet: bool = False,
) -> Path:
    """Paint the test images of a run.

    Parameters
    ----------
    folder : path
        Of the run.
    config : Reconstruct, optional
    shard : (int, int), optional
        Paint this part of so many, counted from 1, and stop: several machines share the work, and the
        same command without it collects what they painted.
    workers : Workers, optional
        Processes; one if not given. On a CPU each computes with one thread.
    quiet : bool

    Returns
    -------
    Path
        The artefact; the folder in which it grows where `shard` is given.

    Raises
    ------
    NeurovisError
        If something is missing or does not fit, memory or disk run out: what was painted is kept.
    """
    started = time.perf_counter()
    config, workers = config or Reconstruct(), workers or Workers()
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise UsageError(
            "--shard: expected I/N with I from 1 to N, such as 1/4, found another; correct it."
        )
    folder = Path(folder)
    with says_disk_full(folder / "reconstructions"):
        job, inputs = _begin(folder, config, quiet)
        if is_complete(job.folder):
            say(f"{job.folder.name}: complete already", quiet)
            return job.folder
        found = job.batches
        if not (job.partial / FILE).is_file():
            _tell(job, started)
            paint(found if shard is None else found[shard[0] - 1 :: shard[1]], workers, quiet)
    if shard is not None:
        left = len(pending(found))
        words = (
            f"{left} batches are left to others" if left else "run it without --shard to collect"
        )
        say(f"shard {shard[0]} of {shard[1]} is painted; {words}", quiet)
        return job.partial
    with artefact(job.folder, config, inputs, config.seed) as partial:
        _collect(job, partial)
    return job.folder


def _begin(folder: Path, config: Reconstruct, quiet: bool) -> tuple[_Job, dict[str, str]]:
    """Look at whatever may be wrong before anything is computed."""
    run = Run(folder, config.prepared, config.embeddings)
    generator = config.generator
    if config.low is not None:
        low_encoder(run, config.low)
    for name in config.words:
        reader(name)
    takes: Encoders = ()
    if generator.takes:
        takes = (encoder_of(generator.takes), generator.image_encoder())
    target = choose_target(run, config.system, config.target, takes)
    decoded = run.decoded(config.system, target, config.n_averaged)
    own = run.own(takes, target, quiet)
    inputs = {
        "prediction": sha256(folder / "systems" / config.system / "prediction.h5"),
        "embeddings": hashlib.sha256(np.ascontiguousarray(own.vector)).hexdigest(),
    }
    # what is made of training pictures follows from the run; others say their weights
    painter = None if generator.learns else painter_of(generator)
    if painter is not None and painter.weights:
        inputs["weights"] = painter.weights
    place = artefact_path(folder, "reconstructions", generator.component, config, inputs, target)
    partial = working_folder(place)
    if not is_complete(place) and (generator.learns or "nearest" in config.systems):
        shown = np.array([*run.split.train, *run.split.validation])
        write_training(partial / TRAINING, own.at(shown), shown, run.files(shown))
    if painter is None:
        generator = generator.model_copy(update={"training": str(partial / TRAINING)})
    if painter is None and not is_complete(place):
        painter = painter_of(generator)
    encoder = run.encoder(takes, target)
    job = _Job(config, run, decoded, own, encoder, generator, painter, place, quiet)
    if painter is not None and painter.width != own.vector.shape[1]:
        raise NeurovisError(
            f"generators.{generator.component}: takes embeddings of {painter.width} dims, found "
            f"{own.vector.shape[1]} dims of {own.encoder.get('name', 'the encoder')}; choose a generator and "
            "embeddings that fit each other."
        )
    return job, inputs


def _telling(job: _Job) -> Telling:
    config = job.config
    about = (job.run, job.decoded, job.own, config.prior, config.low, config.words, config.seed)
    return Telling(*about, folder=job.partial, quiet=job.quiet)


def _tell(job: _Job, started: float) -> None:
    """Make cues of all systems, unless they are there."""
    if (job.partial / CUES).is_file() and (job.partial / ABOUT).is_file():
        return
    telling = _telling(job)
    telling.seconds["load"] = round(time.perf_counter() - started, 3)
    with one_thread():
        data, about = telling.cues(job.tables)
    generator = job.generator
    if generator.learns:
        generator = generator.model_copy(update={"training": ""})
    about |= {
        "generator": to_dict(generator, how_too=False),
        "details": job.painter.details,
        "takes": job.own.encoder,
        "system": job.config.system,
        "target": job.decoded.target,
        "protocol": job.run.split.protocol,
        "seconds": telling.seconds,
    }
    keep_first(job.partial / ABOUT, lambda path: write_json(path, about))
    keep_first(job.partial / CUES, lambda path: write_h5(path, CUES_FORMAT, data))


def _collect(job: _Job, partial: Path) -> None:
    """Write ``pictures.h5``; leave nothing behind that only the way there needed."""
    if not (partial / FILE).is_file():
        _gather(job, partial)
    for name in ("rows", "logs", ABOUT, TRAINING):
        remove(partial / name)


def _gather(job: _Job, partial: Path) -> None:
    about = read_json(partial / ABOUT)
    images = np.unique(job.decoded.prediction.image[job.decoded.rows])
    seen = Seen(pictures_of(job.run.files(images), job.painter.size), images)
    with one_thread():
        about["latency"] = _latency(job)
    stages = about.pop("seconds")
    systems = {name: (t, journal(partial, name), stages) for name, t in job.tables.items()}
    gather(partial / FILE, systems, seen, about)


def _latency(job: _Job) -> dict[str, float]:
    """Seconds from one decoded vector to one picture, by stage: the least of three."""
    part = job.decoded.parts[0]
    tensors, _ = _telling(job).fitted(job.decoded, part, None)
    prior, seeds = job.config.prior.ready(tensors), np.zeros(1, np.int64)
    vector = job.decoded.prediction.vector[job.decoded.target][part.rows[:1]]
    with open_h5(job.partial / CUES, CUES_FORMAT) as file:
        low = file["brain/low"][:1] if "brain/low" in file else None
        text = None
        if job.generator.reads_text and "brain/caption" in file:
            text = tuple(file["brain/caption"].asstr()[:1])
    times = []
    for _ in range(3):
        started = time.perf_counter()
        cue = Cue(prior(vector, seeds), low, text)
        told = time.perf_counter()
        job.painter(cue, seeds)
        times.append((told - started, time.perf_counter() - told))
        if sum(map(sum, times)) > 10:
            break
    best = (round(min(column), 5) for column in zip(*times))
    return dict(zip(("prior", "paint"), best))
