"""A run as reconstruction sees it: what was decoded, what was seen, what may be learned from.

Comes in: a run, and the prepared folder that it was trained on. Goes out: the rows asked for with the model
that said each, embeddings of all images in the space of a generator, and what the models say of images
that they were not trained on. No test row is handed out to learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.batches import Recordings, prepared_identity
from neurovis.config import build, load_yaml
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.experiment import Experiment
from neurovis.galleries import held_out
from neurovis.generate.regression import Known
from neurovis.generate.repeats import between_repeats
from neurovis.images import embed
from neurovis.images import encoder as encoder_of
from neurovis.images.base import ImageEncoder, weights_of
from neurovis.progress import progress
from neurovis.records import Embeddings, Prediction, Split, Stimuli
from neurovis.spaces import Space, run_spaces
from neurovis.store import read_json
from neurovis.targets import Target

Encoders = tuple[ImageEncoder, ...]
"""Names for what a generator takes; several may make the same embeddings, the last is its own."""
N_CROSS_FITS = 5


@dataclass(frozen=True, eq=False)
class Part:
    """One model of a system, and what is known of it.

    Parameters
    ----------
    name : str
        End of the names of its files.
    rows : array of int (row,)
        Its rows of the prediction.
    space : Space, optional
        From embeddings of the target's encoder to what its predictions are compared with.
    gallery : Path
        Vectors of test images, as its predictions are compared with them.
    held : Path, optional
        What it says of validation images.
    """

    name: str
    rows: np.ndarray
    space: Space | None
    gallery: Path
    held: Path | None


@dataclass(frozen=True, eq=False)
class Decoded:
    """What one system says of one target.

    Parameters
    ----------
    system, target : str
    prediction : Prediction
        Of all test rows.
    parts : tuple of Part
        With the rows asked for alone.
    """

    system: str
    target: str
    prediction: Prediction
    parts: tuple[Part, ...]

    @property
    def rows(self) -> np.ndarray:
        """Numbers of the rows asked for, ascending."""
        return np.sort(np.concatenate([part.rows for part in self.parts]))


class Run:
    """A run and the pictures that it was trained on.

    Parameters
    ----------
    folder : Path
        Of the run.
    prepared : str
        Prepared folder; looked for where training found it, and beside the run, if empty.
    embeddings : str
        Path of an ``embeddings.h5`` that stands for an encoder that is not run.

    Raises
    ------
    NeurovisError
        If it is no run, has folds or categories, or its prepared folder is not found or another one.
    """

    def __init__(self, folder: Path, prepared: str = "", embeddings: str = ""):
        if not (folder / "config.yaml").is_file() or not (folder / "systems").is_dir():
            raise NeurovisError(
                f"{folder}: expected a run with config.yaml and systems/, found none; give a folder that "
                "neurovis train made."
            )
        self.folder, self.out = folder, folder.resolve().parent.parent
        self.given = embeddings
        self.experiment = build(Experiment, load_yaml(folder / "config.yaml"))
        folds = Split.read_folds(folder)
        self.split = folds[0]
        if len(folds) > 1 or self.split.unit != "image":
            raise NeurovisError(
                f"{folder}: expected one split by images, found {len(folds)} by {self.split.unit}; "
                "pictures are painted of test images that no fold trained on."
            )
        self.prepared = self._prepared(prepared)
        self.stimuli = Stimuli.read(self.prepared / "stimuli.csv")
        wanted = [*self.split.train, *self.split.validation, *self.split.test]
        rows = self.stimuli.index(wanted)
        if self.stimuli.category[rows].any():
            raise NeurovisError(
                f"{folder}: expected stimuli that are single pictures, found categories; which picture was "
                "seen is not known, so that there is none to reconstruct."
            )
        missing = [f for row in rows for f in self.stimuli.files(int(row)) if not f.is_file()]
        if missing:
            raise NeurovisError(
                f"{missing[0]}: no such picture, and {len(missing)} of {len(rows)} are not there; put them "
                "there, or give the prepared folder that has them as prepared=DIR."
            )

    def _prepared(self, given: str) -> Path:
        stated = self.experiment.data.path
        places = [Path(given)] if given else []
        if stated and not given:
            places = [Path(stated), self.out / stated, self.out / "prepared" / Path(stated).name]
        record = read_json(self.folder / "provenance.json").get("inputs", {})
        for place in places:
            if not (place / "stimuli.csv").is_file():
                continue
            files = sorted(
                p.parent.name.removeprefix("sub-") for p in place.glob("sub-*/trials.h5")
            )
            subjects = self.experiment.data.subjects or files
            if prepared_identity(place, subjects) == record.get("prepared"):
                return place
            if given:
                raise NeurovisError(
                    f"{place}: is another prepared folder than the one that {self.folder.name} was trained "
                    "on; give that one."
                )
        raise NeurovisError(
            f"{self.folder}: the prepared folder that it was trained on ({Path(stated).name or 'not named'}) "
            f"was not found{f' in {given}' if given else ''}, expected it for its pictures; give "
            "prepared=DIR."
        )

    def files(self, images: Sequence[str] | np.ndarray) -> list[Path]:
        """The picture of each image."""
        return [self.stimuli.files(int(row))[0] for row in self.stimuli.index(images)]

    # ---- what was decoded ----------------------------------------------------------------------

    def decoded(self, system: str, target: str, n_averaged: int | None) -> Decoded:
        """What a system says of a target, for rows of so many averaged trials (the most if None)."""
        folder = self.folder / "systems" / system
        known = sorted(p.parent.name for p in folder.parent.glob("*/prediction.h5"))
        if system not in known:
            raise UsageError(unknown("system", system, known))
        prediction = Prediction.read(folder / "prediction.h5")
        if target not in prediction.vector:
            raise UsageError(unknown("target", target, prediction.vector))
        counts = sorted(set(prediction.n_averaged.tolist()))
        chosen = counts[-1] if n_averaged is None else n_averaged
        if chosen not in counts:
            raise UsageError(
                f"n_averaged: expected one of {', '.join(map(str, counts))}, which the run has, found "
                f"{chosen}; choose one."
            )
        parts = [
            replace(part, rows=rows)
            for part in self._parts(folder, target, prediction)
            if len(rows := part.rows[prediction.n_averaged[part.rows] == chosen])
        ]
        return Decoded(system, target, prediction, tuple(parts))

    def _parts(self, folder: Path, target: str, prediction: Prediction) -> list[Part]:
        spaces: list[tuple[Space | None, int | None]] = [(None, None)]
        if (self.folder / "spaces" / f"{target}.safetensors").is_file():
            spaces = list(run_spaces(self.folder, folder.name, target))
        elif (folder / "galleries.json").is_file():
            counts = read_json(folder / "galleries.json", "neurovis-galleries")["rows"]
            spaces = [(None, count) for count in counts]
        several = (folder / "galleries.json").is_file()
        n_models, start, parts = self.experiment.protocol.n_models, 0, []
        for number, (space, count) in enumerate(spaces):
            rows = np.arange(start, len(prediction) if count is None else start + count)
            start += len(rows)
            if several and number % n_models != n_models - 1:
                continue  # of several epochs' models the last one paints
            place = folder / "galleries" / f"{number:03d}" if several else folder / "gallery"
            gallery = place if place.is_dir() else self.folder / "gallery"
            subject = prediction.subject[rows]
            for held, mine in held_out(folder, subject):
                name = held.stem.removeprefix("validation") if held else ""
                parts.append(Part(name, rows[mine], space, gallery, held))
        return parts

    # ---- what was seen -------------------------------------------------------------------------

    def own(self, takes: Encoders, target: str, quiet: bool) -> Embeddings:
        """Embeddings of all images, tokens side by side, of the encoder that a generator takes.

        Parameters
        ----------
        takes : tuple of ImageEncoder
            That of the target if empty. It is run, unless the run was given a file.
        target : str
        quiet : bool
        """
        own, given = self.experiment.targets.get(target), self.given
        if given:
            found = Embeddings.read(given)
            self._refuse_other(found, takes, given)
        elif takes:
            path = embed(self.encoder(takes, target), self.stimuli, self.out, quiet=quiet)
            found = Embeddings.read(path / "embeddings.h5")
        elif own is None:
            raise UsageError(
                f"target: {target!r} is a common space of several, expected a generator that names the "
                "encoder it takes; choose such a generator."
            )
        elif own.embeddings:
            raise UsageError(
                f"embeddings: the target {target!r} was trained on vectors from {Path(own.embeddings).name}, "
                "expected that file for its training images; give embeddings=PATH."
            )
        else:
            path = embed(own.encoder, self.stimuli, self.out, quiet=quiet)
            found = Embeddings.read(path / "embeddings.h5")
        wanted = [*self.split.train, *self.split.validation, *self.split.test]
        vector = found.at(wanted)
        return Embeddings(vector.reshape(len(vector), -1), wanted, found.encoder)

    @staticmethod
    def _refuse_other(found: Embeddings, takes: Encoders, given: str) -> None:
        if not takes or "name" not in found.encoder:
            return
        wanted = [one.identity("") for one in takes]
        stated = {k: v for k, v in found.encoder.items() if k != "weights_sha256"}
        if stated not in wanted:
            raise NeurovisError(
                f"{given}: holds vectors of {found.encoder['name']}, the generator takes those of {takes[-1].label}; "
                "give a file of that encoder, or leave embeddings out."
            )

    def encoder(self, takes: Encoders, target: str) -> ImageEncoder | None:
        """The encoder of `own`: the target's where it is one of these, else the last of these.

        None where only the file of its embeddings is known.
        """
        if self.given:
            return None
        made = next((one for one in takes if made_by(self, target, one)), None)
        if takes:
            return made or takes[-1]
        own = self.experiment.targets.get(target)
        if own is None or own.embeddings:
            return None
        return encoder_of(own.encoder)

    def aimed(self, target: str, own: Embeddings, quiet: bool) -> Embeddings | None:
        """Embeddings of all images by the target's encoder, its weights as trained; None where they cannot be made."""
        config = self.experiment.targets.get(target)
        if config is None:
            return None
        if self.same_encoder(target, own):
            return own
        if config.embeddings:
            return None
        path = embed(config.encoder, self.stimuli, self.out, quiet=quiet)
        found = Embeddings.read(path / "embeddings.h5")
        space = self.folder / "spaces" / f"{target}.safetensors"
        learned = weights_of(Space.read(space).encoder) if space.is_file() else set()
        if learned and learned != weights_of(found.encoder):
            raise NeurovisError(
                f"{self.folder.name}: its target {target!r} was learned with other weights than the encoder has "
                "now, expected the same; remove the run and train it again."
            )
        return found

    def same_encoder(self, target: str, own: Embeddings) -> bool:
        """Whether a target was made of the embeddings that the generator takes."""
        path = self.folder / "spaces" / f"{target}.safetensors"
        if not path.is_file():
            return False
        encoder = {k: v for k, v in Space.read(path).encoder.items() if k != "target"}
        return encoder == own.encoder

    # ---- what may be learned from --------------------------------------------------------------

    def known(
        self,
        decoded: Decoded,
        part: Part,
        own: Embeddings,
        held: Prediction | None,
        aimed: Embeddings | None,
        shuffle: int | None = None,
    ) -> Known:
        """What a prior or a low-level map may learn from, for one model.

        Parameters
        ----------
        decoded : Decoded
        part : Part
        own : Embeddings
            In the space to be reached.
        held : Prediction, optional
            What the model says of images that it was not trained on.
        aimed : Embeddings, optional
            Of the target's encoder.
        shuffle : int, optional
            Seed with which validation images are dealt to decoded rows anew: a control has to learn
            nothing here either.
        """
        train = own.at(self.split.train)
        known = Known(train)
        width = decoded.prediction.vector[decoded.target].shape[1]
        if part.space is not None:
            if self.same_encoder(decoded.target, own):
                known = replace(known, plain=part.space.back(width))
            if aimed is not None:
                known = replace(known, aimed=part.space.apply(aimed.at(self.split.train)))
        if held is None:
            return known
        vector, image, excess = self._like(held, decoded, part)
        if shuffle is not None:
            names = np.unique(image)
            dealt = np.random.default_rng(shuffle).permutation(names)
            image = dealt[np.searchsorted(names, image)]
        known = replace(known, said=vector, true=own.at(image), image=image, excess=excess)
        if aimed is not None and part.space is not None:
            known = replace(known, meant=part.space.apply(aimed.at(image)))
        return known

    @staticmethod
    def _like(
        held: Prediction, decoded: Decoded, part: Part
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Validation rows like those that are painted: single trials, or means of all repeats.

        Where those are means of more trials, also the covariance that these have in excess.
        """
        single, asked = held.n_averaged == 1, decoded.prediction.n_averaged
        use = single
        if asked[part.rows[0]] > 1 or not single.any():
            pair = np.stack([held.image, held.subject], axis=1)
            _, code = np.unique(pair, axis=0, return_inverse=True)
            most = np.zeros(code.max() + 1, int)
            np.maximum.at(most, code.ravel(), held.n_averaged)
            use = held.n_averaged == most[code.ravel()]
        vector = held.vector[decoded.target]
        noise = between_repeats(vector[single], held.image[single], held.subject[single])
        here, there = (1 / np.mean(n) for n in (held.n_averaged[use], asked[part.rows]))
        excess = None if noise is None or here <= there else (here - there) * noise
        return vector[use], held.image[use], excess

    def held(self, decoded: Decoded, part: Part, quiet: bool) -> Prediction | None:
        """What a model says of images that it was not trained on; None where there is nothing.

        A closed form is fitted to all images, so it is fitted again without some of them in turn.
        """
        if part.held is not None:
            return Prediction.read(part.held)
        experiment = self.experiment
        brain = experiment.brain if decoded.system == "tower" else experiment.baseline
        plain = decoded.system in ("tower", "ridge") and experiment.subjects.component in (
            "joint",
            "single",
        )
        target = experiment.targets.get(decoded.target)
        if target is not None and target.embeddings:
            # the file that it was trained on is known by its content alone
            target = target.model_copy(update={"embeddings": self.given}) if self.given else None
        if not (brain.closed_form and plain) or target is None:
            return None
        data = experiment.data.model_copy(update={"path": str(self.prepared)})
        recordings = Recordings(data)
        try:
            return self._cross_fitted(recordings, brain, decoded.target, target, quiet)
        finally:
            recordings.close()

    def _cross_fitted(
        self, recordings: Recordings, brain: Any, name: str, target: Target, quiet: bool
    ) -> Prediction:
        vectors = target.vectors(recordings.stimuli, self.split, self.out, quiet)
        items, images = recordings.items(self.split, "train")
        more, more_images = recordings.items(self.split, "validation")
        items, images = items + more, np.concatenate([images, more_images])
        names = np.unique(images)
        fold_of = np.random.default_rng(0).permutation(len(names)) % N_CROSS_FITS
        fold = fold_of[np.searchsorted(names, images)]
        truth, widths = vectors.at(images), {name: vectors.vector.shape[1]}
        said = np.empty_like(truth)
        subjects = np.array([number for number, _ in items])
        turns = [(s, k) for s in np.unique(subjects).tolist() for k in range(N_CROSS_FITS)]
        for number, k in progress(turns, f"cross-fitting {brain.component}", quiet=quiet):
            keep = recordings.present[number]
            inside = np.flatnonzero((subjects == number) & (fold != k))
            asked = np.flatnonzero((subjects == number) & (fold == k))
            signal = recordings.averages([items[i] for i in inside])[:, keep]
            model = brain.build(recordings.shape_of(number, widths)).fit(signal, truth[inside])
            for start in range(0, len(asked), 512):
                rows = asked[start : start + 512]
                block = recordings.averages([items[i] for i in rows])[:, keep]
                said[rows] = model.predict(block)
        who = np.array(recordings.subjects)[subjects]
        return Prediction({name: said}, images, who, [len(rows) for _, rows in items])


def choose_target(run: Run, system: str, target: str, takes: Encoders) -> str:
    """The target that is painted from: the one named, the only one, or the one that the generator takes.

    Raises
    ------
    UsageError
        If several could be meant; they are named.
    """
    folder = run.folder / "systems"
    known = sorted(path.parent.name for path in folder.glob("*/prediction.h5"))
    if system not in known:
        raise UsageError(unknown("system", system, known))
    names = list(Prediction.read(folder / system / "prediction.h5").vector)
    if target and target not in names:
        raise UsageError(unknown("target", target, names))
    if target or len(names) == 1:
        return target or names[0]
    fitting = [name for name in names if any(made_by(run, name, one) for one in takes)]
    if len(fitting) == 1:
        return fitting[0]
    what = f"takes those of {takes[-1].label}" if takes else "takes any encoder's embeddings"
    raise UsageError(
        f"target: the run has {', '.join(names)}, and the generator {what}; say which to paint from: "
        f"target={names[0]}."
    )


def made_by(run: Run, target: str, takes: ImageEncoder) -> bool:
    """Whether a target was made with an encoder."""
    config = run.experiment.targets.get(target)
    if config is None or config.embeddings:
        return False
    return encoder_of(config.encoder).identity("") == takes.identity("")


def others(image: np.ndarray, subject: np.ndarray, seed: int) -> np.ndarray:
    """For each row the number of a row that shows another image to the same subject.

    Every row is used once within a subject where each image has as many rows.
    """
    out = np.empty(len(image), int)
    for who in np.unique(subject).tolist():
        mine = np.flatnonzero(subject == who)
        names = np.unique(image[mine])
        if len(names) < 2:
            raise NeurovisError(
                f"baselines: the floor needs two test images or more, found one for subject {who}; leave "
                "floor out of baselines."
            )
        order = np.random.default_rng(seed).permutation(names)
        following = dict(zip(order.tolist(), np.roll(order, -1).tolist()))
        rows: dict[str, list[int]] = {name: mine[image[mine] == name].tolist() for name in names}
        for name in names.tolist():
            given = rows[following[name]]
            for i, row in enumerate(rows[name]):
                out[row] = given[i % len(given)]
    return out
