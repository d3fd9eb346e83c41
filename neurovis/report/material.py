"""Everything that a report shows, read from a run folder; what a run may lack is None.

Comes in: a run folder after ``neurovis evaluate``. Goes out: a `Material`. Only what is drawn is
read, no number is made here, and files of a wrong format are refused by name before any page is
written.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Score, Split, Stimuli
from neurovis.report.analyses import Analysed, read_analyses
from neurovis.report.painted import Painted, read_painted
from neurovis.report.reconstruction import Reconstructed, read_reconstructions
from neurovis.store import dataset, open_h5, read_json

NAMES = {
    "tower": "Tower",
    "ridge": "Ridge",
    "shuffled": "Shuffled labels",
    "informed_observer": "Informed observer",
    "optimal_observer": "Optimal observer",
}
ROLES = {
    "tower": "the decoder of this run",
    "ridge": "closed-form linear baseline",
    "shuffled": "control: must sit at chance",
    "informed_observer": "knows features and noise, learns weights",
    "optimal_observer": "knows every response and the noise",
}
ORDER = ("optimal_observer", "informed_observer", "tower", "ridge", "shuffled")


def named(system: str) -> str:
    """Name of a system for readers."""
    return NAMES.get(system, system)


@dataclass(frozen=True)
class VoxelFacts:
    """What is known of one subject's voxels.

    Parameters
    ----------
    roi : dict of array of bool (voxel,)
    stated : dict of array (voxel,)
        ``noise_ceiling``, ``reliability``, ``tsnr``, where they are known.
    ceiling : str
        What the noise ceiling is.
    index : array of int (voxel, 3) or None
        Place in the volume; None on surfaces.
    shape : tuple of int or None
        Of the volume.
    affine : array (4, 4) or None, mm
    """

    roi: dict[str, np.ndarray]
    stated: dict[str, np.ndarray]
    ceiling: str
    index: np.ndarray | None
    shape: tuple[int, ...] | None
    affine: np.ndarray | None


@dataclass(frozen=True)
class Evoked:
    """Mean response of one subject to the test images.

    Parameters
    ----------
    subject : str
    evoked : array (channel, time)
    channel_type : array of str (channel,)
    channel_position : array (channel, 3), m
    times : array (time,), s
    unit : str
    n : int
        Trials averaged.
    voxels : VoxelFacts, optional
        Of fMRI.
    """

    subject: str
    evoked: np.ndarray
    channel_type: np.ndarray
    channel_position: np.ndarray
    times: np.ndarray
    unit: str
    n: int
    voxels: VoxelFacts | None = None


@dataclass(frozen=True)
class Retrieved:
    """What one system retrieved for each image and subject, best first.

    Parameters
    ----------
    image, subject : array of str (row,)
    n_averaged : array of int (row,)
    rank : array (row,)
        Zero-based place of the shown image.
    best : array of str (row, place)
    similarity : array (row, place)
    """

    image: np.ndarray
    subject: np.ndarray
    n_averaged: np.ndarray
    rank: np.ndarray
    best: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class Material:
    """A run, ready to be drawn.

    Parameters
    ----------
    name : str
        Of the run folder.
    head : dict
        ``scores.json`` without its scores.
    scores, comparisons : list of Score
    analyses : tuple of Analysed
        When, where and how much data.
    stimuli : Stimuli
    folds : tuple of Split
    retrieved : Retrieved or None
        Of the headline's system.
    pictures : dict of bytes
        JPEG by image id.
    reconstructed : dict of Reconstructed
        By system; empty where the targets are no pictures.
    evoked : tuple of Evoked
    log : list of dict
        Rows of ``log.csv``.
    hierarchy : dict
        Concept -> (superclass, family).
    config : dict
    config_text : str
    provenance : dict
    adapted : tuple of Score
        After corrections at test time; never part of the headline.
    painted : tuple of Painted
        Reconstructions by generators, the newest first.
    """

    name: str
    head: dict[str, Any]
    scores: list[Score]
    comparisons: list[Score]
    stimuli: Stimuli
    folds: tuple[Split, ...]
    retrieved: Retrieved | None
    pictures: dict[str, bytes]
    reconstructed: dict[str, Reconstructed]
    evoked: tuple[Evoked, ...]
    log: list[dict[str, str]]
    hierarchy: dict[str, tuple[str, str]]
    config: dict[str, Any]
    config_text: str
    provenance: dict[str, Any]
    adapted: tuple[Score, ...] = ()
    painted: tuple[Painted, ...] = ()
    analyses: tuple[Analysed, ...] = ()

    @property
    def category(self) -> bool:
        """Whether stimuli are known by category alone: scores are areas under the curve."""
        return self.headline.about.get("resampled") == "trial"

    @property
    def headline(self) -> Score:
        """The score that speaks for the run, as evaluation chose it by rule."""
        chosen = self.head["headline"]
        for score in self.scores:
            if score.name == chosen["metric"] and all(
                score.about.get(key) == chosen[key]
                for key in ("system", "target", "subject", "n_averaged")
            ):
                return score
        raise NeurovisError(
            f"{self.name}/scores.json: its headline names a score that is not in it; run neurovis "
            "evaluate again."
        )

    @property
    def systems(self) -> list[str]:
        """Systems that were scored, the limits first."""
        found = dict.fromkeys(s.about["system"] for s in self.scores)
        known = [name for name in ORDER if name in found]
        return known + [name for name in found if name not in ORDER]

    @property
    def subjects(self) -> list[str]:
        """Subjects that were scored."""
        return [s for s in dict.fromkeys(s.about["subject"] for s in self.scores) if s != "all"]

    @property
    def n_gallery(self) -> int:
        """Size of the gallery of a retrieval."""
        return round(1 / self.headline.chance)

    def select(
        self,
        metric: str,
        system: str | None = None,
        n_averaged: int | None = None,
        subject: str = "all",
    ) -> list[Score]:
        """Scores of the headline's target (the observers have none), by number of trials."""
        target = self.head["headline"]["target"]
        found = [
            s
            for s in self.scores
            if s.name == metric
            and s.about["target"] in (target, "")
            and s.about["subject"] == subject
            and system in (None, s.about["system"])
            and n_averaged in (None, s.about["n_averaged"])
        ]
        return sorted(found, key=lambda s: s.about["n_averaged"])

    @cached_property
    def concept(self) -> dict[str, str]:
        """Concept by image id."""
        return dict(zip(self.stimuli.image.tolist(), self.stimuli.concept.tolist()))

    def label(self, image: str) -> str:
        """Concept of an image id for readers, or the id where there is none."""
        return (self.concept.get(image) or image).replace("_", " ")


def read(run: Path) -> Material:
    """Read what a report shows.

    Raises
    ------
    NeurovisError
        If the run is not evaluated yet, or a file of it is damaged.
    """
    if not run.is_dir():
        raise NeurovisError(f"{run}: no such folder; give the run that neurovis train printed.")
    if not (run / "scores.json").is_file():
        raise NeurovisError(f"{run}: no scores.json in it; run neurovis evaluate {run} first.")
    head = read_json(run / "scores.json", "neurovis-scores")
    try:
        scores = [Score.from_dict(entry) for entry in head.pop("scores")]
        comparisons = [Score.from_dict(entry) for entry in head.pop("comparisons")]
        system = head["headline"]["system"]
    except (KeyError, TypeError) as error:
        raise NeurovisError(
            f"{run}/scores.json: {error} is missing or of a wrong kind; run neurovis evaluate again."
        ) from None
    config, text = read_config(run / "config.yaml")
    hierarchy, provenance = run / "hierarchy.json", run / "provenance.json"
    return Material(
        name=run.resolve().name,
        head=head,
        scores=scores,
        comparisons=comparisons,
        stimuli=Stimuli.read(run / "stimuli.csv"),
        folds=Split.read_folds(run),
        retrieved=_retrieved(run / "per_item.h5", system),
        pictures=_pictures(run / "pictures.h5"),
        reconstructed=read_reconstructions(run),
        evoked=_evoked(run / "evoked.h5"),
        log=_log(run / "log.csv"),
        hierarchy=_hierarchy(hierarchy) if hierarchy.is_file() else {},
        config=config,
        config_text=text,
        provenance=read_json(provenance) if provenance.is_file() else {},
        adapted=_adapted(run / "adapted.json"),
        painted=read_painted(run),
        analyses=read_analyses(run),
    )


def _hierarchy(path: Path) -> dict[str, tuple[str, str]]:
    data = read_json(path)
    good = isinstance(data, dict) and all(
        isinstance(v, list) and len(v) == 2 and all(isinstance(w, str) for w in v)
        for v in data.values()
    )
    if not good:
        raise NeurovisError(
            f"{path}: expected {{concept: [superclass, family]}}, found something else; make it anew."
        )
    return {concept: tuple(place) for concept, place in data.items()}


def _adapted(path: Path) -> tuple[Score, ...]:
    if not path.is_file():
        return ()
    entries = read_json(path, "neurovis-adapted").get("scores")
    scores = tuple(map(Score.from_dict, entries)) if isinstance(entries, list) else ()
    needed = {"adaptation", "transductive", "metric", "system", "target", "n_averaged", "subject"}
    if not scores or not all(needed <= score.about.keys() for score in scores):
        raise NeurovisError(f"{path}: expected corrected scores; run neurovis evaluate again.")
    return scores


def read_config(path: Path) -> tuple[dict[str, Any], str]:
    """A ``config.yaml`` as data and as it is written; empty where there is none."""
    import yaml

    if not path.is_file():
        return {}, ""
    text = path.read_text(encoding="utf-8")
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        raise NeurovisError(f"{path}: not valid YAML; the file is damaged, train anew.") from None
    return (data if isinstance(data, dict) else {}), text


def _retrieved(path: Path, system: str) -> Retrieved | None:
    if not path.is_file():
        return None
    with open_h5(path, "neurovis-per-item") as file:
        if system not in file:
            return None
        names = ("image", "subject", "n_averaged", "rank", "best", "similarity")
        data = {name: dataset(path, file, f"{system}/{name}")[()] for name in names}
    lengths = {name: len(value) for name, value in data.items()}
    if len(set(lengths.values())) != 1 or data["best"].ndim != 2:
        raise NeurovisError(f"{path}: {system} has columns of unlike lengths; evaluate again.")
    return Retrieved(**data)


def _pictures(path: Path) -> dict[str, bytes]:
    if not path.is_file():
        return {}
    with open_h5(path, "neurovis-pictures") as file:
        images = dataset(path, file, "image")[()].tolist()
        if "jpeg" not in file or len(file["jpeg"]) != len(images):
            raise NeurovisError(f"{path}: expected one jpeg per image; make the file anew.")
        jpeg = [value.tobytes() for value in file["jpeg"][()]]
    for image, data in zip(images, jpeg, strict=True):
        if not data.startswith(b"\xff\xd8\xff"):
            raise NeurovisError(f"{path}: picture {image!r} is no JPEG; make the file anew.")
    return dict(zip(images, jpeg))


def _evoked(path: Path) -> tuple[Evoked, ...]:
    if not path.is_file():
        return ()
    found = []
    with open_h5(path, "neurovis-evoked") as file:
        for subject in file:
            names = ("evoked", "channel_type", "channel_position")
            data = {name: dataset(path, file, f"{subject}/{name}")[()] for name in names}
            about = file[subject].attrs
            missing = [name for name in ("sfreq", "tmin", "unit", "n") if name not in about]
            if missing or data["evoked"].ndim != 2 or not np.isfinite(data["evoked"]).all():
                what = missing[0] if missing else "a finite evoked (channel, time)"
                raise NeurovisError(f"{path}: {subject} lacks {what}; train anew to write it.")
            times = about["tmin"] + np.arange(data["evoked"].shape[1]) / about["sfreq"]
            voxels = _voxels(file[subject]["voxels"]) if "voxels" in file[subject] else None
            about = {"unit": str(about["unit"]), "n": int(about["n"]), "voxels": voxels}
            found.append(Evoked(subject, times=times, **about, **data))
    return tuple(found)


def _voxels(group: Any) -> VoxelFacts:
    """Voxels as preprocessing described them."""
    shape = group.attrs.get("shape")
    return VoxelFacts(
        roi={name: member[()] for name, member in group["roi"].items()} if "roi" in group else {},
        stated={n: group[n][()] for n in ("noise_ceiling", "reliability", "tsnr") if n in group},
        ceiling=str(group.attrs.get("ceiling", "")),
        index=group["index"][()] if "index" in group else None,
        shape=None if shape is None else tuple(map(int, shape)),
        affine=group.attrs.get("affine"),
    )


def _log(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
