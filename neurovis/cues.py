"""What generators are told of every row: embeddings as their encoder would make them, rough pictures.

Comes in: what a run decoded, and what may be learned from. Goes out: ``cues.h5``, which holds for brain,
ceiling and floor a vector per row and sample, and how far decoded embeddings lie from true ones. What is
learned on the way there is kept as soon as it is, once per model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import to_dict
from neurovis.decoded import Decoded, Part, Run, others
from neurovis.generate.artefact import Table
from neurovis.generate.captions import reader, words
from neurovis.generate.low_level import fit_low, invertible, rough
from neurovis.generate.posterior import Tensors, estimator
from neurovis.generate.prior import Prior, gap
from neurovis.images import embed
from neurovis.progress import say
from neurovis.records import Embeddings, Prediction
from neurovis.store import keep_first, load_tensors, save_tensors


@dataclass(frozen=True, eq=False)
class Telling:
    """From what a run decoded to cues.

    Parameters
    ----------
    run : Run
    decoded : Decoded
    own : Embeddings
        Of all images, as the generator takes them.
    prior : Prior
    low : str or dict, optional
        Target of the run, or encoder, of the rough pictures.
    words : sequence of str or dict
        Text towers that say what was decoded.
    seed : int
    folder : Path
        Where fitted priors are kept.
    quiet : bool
    seconds : dict
        Filled by stage.
    """

    run: Run
    decoded: Decoded
    own: Embeddings
    prior: Prior
    low: str | dict[str, Any] | None
    words: Sequence[str | dict[str, Any]]
    seed: int
    folder: Path
    quiet: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def _clock(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 3)

    def cues(self, tables: dict[str, Table]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Cues of all systems, and what is to be said of them.

        Parameters
        ----------
        tables : dict of Table
            Rows of each system.

        Returns
        -------
        dict of array
            ``<system>/vector`` (row, sample, dim), one sample where all are told the same;
            ``<system>/low`` (row, height, width, 3) where there is a low-level stage; ``caption``,
            ``word`` and ``probability`` where there are words.
        dict
            Plain data.
        """
        aimed = self.run.aimed(self.decoded.target, self.own, self.quiet)
        with self._clock("prior"):
            fits = [self.fitted(self.decoded, part, aimed) for part in self.decoded.parts]
            vector = self._applied(self.decoded, fits, tables["brain"].seed)
        data, floor, low, swapped = {"brain/vector": vector}, "", None, None
        if "floor" in tables:
            with self._clock("floor"):
                table = tables["floor"]
                swapped = others(table.image, table.subject, self.seed)
                floor, made = self._floor(table, aimed, fits)
                data["floor/vector"] = vector[swapped] if made is None else made
        if "nearest" in tables:
            data["nearest/vector"] = vector[:, :1]
        if "ceiling" in tables:
            data["ceiling/vector"] = self.own.at(tables["ceiling"].image)[:, None]
        if self.low is not None:
            with self._clock("low"):
                low = low_encoder(self.run, self.low)
                data |= self._lows(low, tables, swapped)
        if self.words:
            with self._clock("words"):
                data |= self._words({name: data[f"{name}/vector"][:, 0] for name in tables})
        return data, {
            "prior": {
                **to_dict(self.prior, how_too=False),
                "fits": [_fit(part, *fit) for part, fit in zip(self.decoded.parts, fits)],
            },
            "gap": self._gaps(vector[:, 0]),
            "floor": floor,
            "low": None if low is None else to_dict(low, how_too=False),
            "words": [reader(name).label for name in self.words],
        }

    # ---- the prior -----------------------------------------------------------------------------

    def fitted(
        self, decoded: Decoded, part: Part, aimed: Embeddings | None, shuffle: int | None = None
    ) -> tuple[Tensors, int]:
        """The prior of one model: fitted once, then read; and how many images taught it.

        Parameters
        ----------
        decoded : Decoded
        part : Part
        aimed : Embeddings, optional
            Of the target's encoder.
        shuffle : int, optional
            Seed to deal validation images anew with, for a control.
        """
        name = f"{decoded.system}{part.name}{'' if shuffle is None else '-dealt'}"
        path = self.folder / "priors" / f"{name}.safetensors"
        if not path.is_file():
            needs = self.prior.component != "none" or self.prior.norms == "moments"
            held = self.run.held(decoded, part, self.quiet) if needs else None
            known = self.run.known(decoded, part, self.own, held, aimed, shuffle)
            say(f"prior {self.prior.component} of {name}", self.quiet)
            checkpoint = path.with_suffix(".checkpoint")
            tensors = self.prior.fit(known, self.seed, checkpoint)
            n = 0 if known.said is None else len(np.unique(known.image))
            keep_first(path, lambda p: _save(p, {**tensors, "n_images": np.array(n)}))
            checkpoint.unlink(missing_ok=True)
        found = {k: v.numpy() for k, v in load_tensors(path).items()}
        return found, int(found.pop("n_images"))

    def _applied(
        self, decoded: Decoded, fits: Sequence[tuple[Tensors, int]], seed: np.ndarray
    ) -> np.ndarray:
        """Embeddings of all rows: array (row, sample, dim); one sample where the prior draws nothing."""
        k = seed.shape[1] if self.prior.draws else 1
        out = np.empty((len(decoded.rows), k, self.own.vector.shape[1]), np.float32)
        for part, (tensors, _) in zip(decoded.parts, fits):
            ready, place = self.prior.ready(tensors), np.searchsorted(decoded.rows, part.rows)
            vector = decoded.prediction.vector[decoded.target][part.rows]
            for sample in range(k):
                out[place, sample] = ready(vector, seed[place, sample])
        return out

    # ---- the floor -----------------------------------------------------------------------------

    def _floor(
        self, table: Table, aimed: Embeddings | None, fits: Sequence[tuple[Tensors, int]]
    ) -> tuple[str, np.ndarray | None]:
        """What the floor is made of, and its embeddings (row, sample, dim) where a control says them."""
        control = self._control()
        if control is not None:
            words = "decoded by the control, whose labels were shuffled"
            own = all(part.held is not None for part in control.parts)
            if self.prior.component == "none" or own:
                dealt = [self.fitted(control, p, aimed, self.seed + 1) for p in control.parts]
                return words, self._applied(control, dealt, table.seed)
            alike = [p.space is not None and p.space.projection is None for p in control.parts]
            if all(alike) and len(alike) == len(self.decoded.parts) == 1:
                return f"{words}, through the decoder's prior", self._applied(
                    control, fits, table.seed
                )
        return "decoded embeddings of other images of the same subject", None

    def _control(self) -> Decoded | None:
        """The run's control, where it speaks of the same rows."""
        path, mine = self.run.folder / "systems" / "shuffled" / "prediction.h5", self.decoded
        if not path.is_file() or mine.system == "shuffled":
            return None
        said = Prediction.read(path)
        n_averaged = int(mine.prediction.n_averaged[mine.rows[0]])
        if mine.target not in said.vector or n_averaged not in said.n_averaged:
            return None
        control = self.run.decoded("shuffled", mine.target, n_averaged)
        same = all(
            np.array_equal(
                getattr(control.prediction, n)[control.rows],
                getattr(mine.prediction, n)[mine.rows],
            )
            for n in ("image", "subject")
        )
        return control if same else None

    # ---- the gap -------------------------------------------------------------------------------

    def _gaps(self, vector: np.ndarray) -> dict[str, Any]:
        """How far decoded embeddings of test rows lie from true ones, before and after the prior."""
        rows, target = self.decoded.rows, self.decoded.target
        said, image = self.decoded.prediction.vector[target][rows], self.decoded.prediction.image
        true = np.empty_like(said)
        for part in self.decoded.parts:
            gallery = Embeddings.read(part.gallery / f"{target}.h5")
            true[np.searchsorted(rows, part.rows)] = gallery.at(image[part.rows])
        own, image = self.own.at(image[rows]), image[rows]
        origin = self.own.at(self.run.split.train).mean(0, dtype=np.float64)
        return {
            "before": asdict(gap(said, true, image)),
            "after": asdict(gap(vector, own, image)),
            "after_about_mean": asdict(gap(vector, own, image, origin)),
            "spaces": "before: where the run retrieves; after: that of the generator's encoder; "
            "after_about_mean: the same, with directions from the training images' mean",
        }

    # ---- words --------------------------------------------------------------------------------

    def _words(self, vectors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What text towers say of each system's embeddings: the nearest caption, the nearest concepts."""
        out, together = {}, np.concatenate(list(vectors.values()))
        ends = np.cumsum([len(vector) for vector in vectors.values()])[:-1]
        for name in self.words:
            # all systems at once: texts are read once
            said = words(together, reader(name), self.run.stimuli, self.run.split.train)
            for column, value in said.items():
                out |= {f"{s}/{column}": part for s, part in zip(vectors, np.split(value, ends))}
        return out

    # ---- the low-level stage -------------------------------------------------------------------

    def _lows(
        self, low: Any, tables: dict[str, Table], swapped: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Rough pictures (row, height, width, 3) of each system that is painted from a cue."""
        run, decoded = self.run, self.decoded
        if isinstance(self.low, str) and self.low in run.experiment.targets:
            n_averaged = int(decoded.prediction.n_averaged[decoded.rows[0]])
            decoded = run.decoded(decoded.system, self.low, n_averaged)
        path = embed(low, run.stimuli, run.out, quiet=self.quiet) / "embeddings.h5"
        found = Embeddings.read(path)
        flat = Embeddings(found.vector.reshape(len(found), -1), found.image, found.encoder)
        aimed, out = run.aimed(decoded.target, flat, self.quiet), {}
        made: np.ndarray | None = None
        for part in decoded.parts:
            path = self.folder / "priors" / f"low-{decoded.system}{part.name}.safetensors"
            if not path.is_file():
                known = run.known(decoded, part, flat, run.held(decoded, part, self.quiet), aimed)
                keep_first(path, lambda p, known=known: _save(p, fit_low(known)))
            said = estimator({k: v.numpy() for k, v in load_tensors(path).items()})
            block = rough(low, said, decoded.prediction.vector[decoded.target][part.rows])
            if made is None:
                made = np.empty((len(decoded.rows), *block.shape[1:]), np.uint8)
            made[np.searchsorted(decoded.rows, part.rows)] = block
        out["brain/low"] = made
        if swapped is not None:
            out["floor/low"] = made[swapped]
        if "ceiling" in tables:
            out["ceiling/low"] = low.pictures(flat.at(tables["ceiling"].image))
        return out


def low_encoder(run: Run, low: str | dict[str, Any]) -> Any:
    """The invertible encoder of the low-level stage: that of a target of the run, or the one named.

    Raises
    ------
    UsageError
        If its vectors are no pictures.
    """
    target = run.experiment.targets.get(low) if isinstance(low, str) else None
    return invertible(low if target is None else target.encoder)


def _fit(part: Part, tensors: Tensors, n: int) -> dict[str, Any]:
    """What one fit of a prior reached on validation images that it left out."""
    said: dict[str, Any] = {"part": part.name, "n_validation_images": n}
    if "error" in tensors:
        said["explained"] = round(float(1 - tensors["error"] / tensors["error_of_mean"]), 4)
    if "width" in tensors:
        said["width"] = round(float(tensors["width"]), 4)
    return said


def _save(path: Path, tensors: Tensors) -> None:
    import torch

    kept = {k: torch.from_numpy(np.array(v, np.float32)) for k, v in tensors.items()}
    save_tensors(path, kept, format="neurovis-prior")
