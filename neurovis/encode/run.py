"""Fit encoding models and score them: ``neurovis encode EXPERIMENT.yaml``.

Comes in: an experiment, which names prepared trials, families of features and readouts. Goes out: an
artefact ``encoding/<name>-<fingerprint>/`` with ``encoding.json`` (scores, notes), ``sub-*/encoding.h5``
(numbers per target) and ``sub-*/systems/`` (predictions, weights). Each model is kept when it is fitted:
the same command goes on after a kill. Nothing is chosen on test images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.batches import Recordings, seed_of
from neurovis.config import fingerprint
from neurovis.device import choose_device
from neurovis.distributed import World, here, job
from neurovis.encode import synthesis
from neurovis.encode.experiment import Encode
from neurovis.encode.features import Source, alike, missing, sources_of
from neurovis.encode.identify import identify
from neurovis.encode.readouts.base import Fitted, Problem
from neurovis.encode.responses import Responses, responses_of
from neurovis.encode.results import control, pooled
from neurovis.encode.scores import subsets
from neurovis.encode.scoring import Said, Scored, System, chosen, compare, pairs, score
from neurovis.encode.summary import summary
from neurovis.encode.synthesis import goals_of, optimise
from neurovis.errors import NeurovisError, UsageError
from neurovis.progress import say
from neurovis.records import Split, Stimuli
from neurovis.store import (
    FORMAT_VERSION,
    artefact,
    artefact_path,
    dataset,
    is_complete,
    open_h5,
    remove,
    save_tensors,
    working_folder,
    write_h5,
    write_json,
)

SYSTEM_FORMAT, SUBJECT_FORMAT = "neurovis-encoding-system", "neurovis-encoding"


@dataclass(frozen=True, eq=False)
class Setup:
    """What all subjects share."""

    experiment: Encode
    split: Split
    sources: dict[str, Source]
    stimuli: Stimuli
    concept: dict[str, str]
    known: np.ndarray
    folder: Path
    device: Any
    world: World
    quiet: bool


@job()
def encode(experiment: Encode, out: str | Path, resume: bool = True, quiet: bool = False) -> Path:
    """Run an encoding experiment; a complete one is returned as it is.

    Parameters
    ----------
    experiment : Encode
    out : path
        The artefact goes to ``<out>/encoding/``.
    resume : bool
        Go on with what an interrupted run left.
    quiet : bool

    Returns
    -------
    Path
        The artefact's folder.

    Raises
    ------
    UsageError
        If the split is by recording, or a family or region does not exist.
    NeurovisError
        If files are missing or damaged, or no image has features of every family.
    """
    world, out = here(), Path(out)
    quiet = quiet or not world.first
    # signals stay on disk here: subjects are read one at a time
    overview = Recordings(experiment.data.model_copy(update={"memory": 0.0}))
    overview.close()
    split = overview.folds[0]
    if split.unit != "image" or len(overview.folds) > 1:
        raise UsageError(
            f"{overview.folder}: expected one split by images, found folds or recordings left out; encoding "
            "models predict responses to images that they did not learn from."
        )
    inputs = {"prepared": overview.identity}
    named = experiment.features.items()
    inputs |= {f"embeddings/{k}": v.identity for k, v in named if v.identity}
    if experiment.identify and experiment.identify.decoder:
        inputs["decoder"] = Path(experiment.identify.decoder).name
    folder = artefact_path(out, "encoding", experiment.name, experiment, inputs, overview.subjects)
    if world.same(is_complete(folder)):
        say(f"{folder.name}: complete already", quiet)
        return folder
    if not resume and world.first:
        remove(working_folder(folder))
    with world.first_goes_first():
        sources = sources_of(experiment.features, overview.stimuli, out, quiet)
    stimuli = overview.stimuli
    known, notes = missing(sources, stimuli.image)
    concept = dict(zip(stimuli.image.tolist(), stimuli.concept.tolist()))
    partial = working_folder(folder)
    if world.first:
        partial.mkdir(parents=True, exist_ok=True)
    world.barrier()
    setup = Setup(
        experiment, split, sources, stimuli, concept, known, partial, choose_device(experiment.device), world, quiet
    )  # fmt: skip
    try:
        vectors = {k: s for k, s in sources.items() if _is_vector(experiment, k)}
        train = known[np.isin(known, split.train)]
        cka, nearly = alike(vectors, train) if len(vectors) > 1 and len(train) > 2 else ({}, [])
        notes += nearly
        parts: list[dict[str, Any]] = []
        for subject in overview.subjects:
            parts.append(_subject(setup, subject))
        if world.first:
            with artefact(folder, experiment, inputs, experiment.seed) as made:
                _finish(setup, made, overview, parts, notes, cka)
        world.barrier()
    finally:
        for source in sources.values():
            source.close()
    return folder


def _is_vector(experiment: Encode, family: str) -> bool:
    """Whether a readout takes the family as vectors."""
    return any(
        family in experiment.families_of(name)
        for name, r in experiment.readouts.items()
        if not r.maps
    )


def systems(experiment: Encode) -> list[System]:
    """Models to fit, in order."""
    found = []
    for name, readout in experiment.readouts.items():
        families = experiment.families_of(name)
        if not families:
            raise UsageError(
                f"readouts.{name}: no family of features is left for it, expected one; name some."
            )
        if not readout.joins:
            found += [System(name, (family,)) for family in families]
            continue
        whole = [families] if len(families) > 1 else []
        some = subsets(families) if experiment.partition else [(f,) for f in families] + whole
        found += [System(name, part) for part in some]
    joint = [s for s in found if experiment.readouts[s.readout].joins]
    if experiment.control and joint:
        widest = max(
            (s for s in joint if s.readout == joint[0].readout), key=lambda s: len(s.families)
        )
        found.append(System(widest.readout, widest.families, shuffled=True))
    return found


def protocol_of(experiment: Encode, split: Split) -> str:
    """How models were learned and scored, in words."""
    return (
        f"{split.protocol}; choices by validation images or folds of training images, scored on test "
        f"images; {experiment.data.scale} scale"
    )


def _subject(setup: Setup, subject: str) -> dict[str, Any]:
    """Fit and score one subject."""
    experiment, world = setup.experiment, setup.world
    data = experiment.data.model_copy(update={"subjects": (subject,)})
    recordings = Recordings(data)
    try:
        say(f"sub-{subject}: reading responses", setup.quiet)
        responses = responses_of(recordings, setup.split, setup.known, experiment.regions)
        responses.notes.extend(_rough(responses, experiment.scoring.min_ceiling))
        folder = setup.folder / f"sub-{subject}"
        said: dict[System, Said] = {}
        for system in systems(experiment):
            found = _fit(setup, responses, system, folder / "systems")
            if world.first:
                said[system] = found
        if not world.first:
            return {}
        say(f"sub-{subject}: scoring {len(said)} models", setup.quiet)
        protocol = protocol_of(experiment, setup.split)
        scored = score(responses, said, experiment.scoring, protocol)
        measure = "pearson_normalised" if responses.ceiling else "pearson"
        if responses.ceiling and experiment.scoring.ceiling not in responses.ceiling:
            measure = "pearson"
        compared = [
            one
            for first, second in pairs(list(said))
            for one in compare(scored, first, second, measure, responses, protocol)
        ]
        identified: dict[str, Any] = {}
        if experiment.identify:
            identified = _identify(setup, responses, folder / "systems", protocol)
        _write(folder / "encoding.h5", responses, scored, identified.pop("arrays", {}))
        return {
            "subject": subject,
            "scores": scored.scores,
            "draws": scored.draws,
            "images": responses.test_image,
            "comparisons": compared,
            "counts": scored.counts,
            "chosen_on": responses.chosen_on,
            "notes": responses.notes + identified.pop("notes", []),
            "identified": identified.get("scores", []),
            "modality": responses.modality,
            "summary": summary(experiment, responses, scored),
            "n_times": responses.shape[1],
        }
    finally:
        recordings.close()


def _rough(responses: Responses, min_ceiling: float) -> list[str]:
    """A sentence where repeats are too few to tell which targets are above the least ceiling."""
    if responses.silent <= min_ceiling:
        return []
    words = (
        f"sub-{responses.subject}: with these repeats, one in twenty targets that do not respond has a ceiling "
        f"above {responses.silent:.2f}; targets scored above {min_ceiling:g} hold more of them "
        f"(scoring.min_ceiling={responses.silent:.2f} keeps all but these out)."
    )
    return [words]


def _fit(setup: Setup, responses: Responses, system: System, folder: Path) -> Said | None:
    """Fit one model, unless an earlier run did; give what it says of test images."""
    experiment, world = setup.experiment, setup.world
    readout = experiment.readouts[system.readout]
    path = folder / f"{system.name}.h5"
    if not world.same(path.is_file()):
        if not (readout.maps or world.first):
            return None
        problem = _problem(setup, responses, system, folder)
        say(f"sub-{responses.subject}: fitting {system.name}", setup.quiet)
        fitted = readout.fit(problem)
        if not world.first:
            return None
        test = fitted.predict(responses.test_image).astype(np.float32)
        if not np.isfinite(test).all():
            raise NeurovisError(
                f"{system.name}, sub-{responses.subject}: predicts NaN or infinity, expected numbers; lower "
                "its rate, or look at its features."
            )
        per_target = dict(fitted.per_target)
        if fitted.parts is not None and len(system.families) > 1:
            from neurovis.encode.scores import split_r2

            split = split_r2(fitted.parts(responses.test_image), responses.test)
            per_target |= {f"split/{k}": v for k, v in split.items()}
        held = responses.image[responses.n_train :]
        data = {"test": test, "test_image": responses.test_image, "held_image": held}
        if problem.hold and len(held):
            data["held"] = (
                fitted.held if fitted.held is not None else fitted.predict(held)
            ).astype(np.float32)
        data |= {f"per_target/{k}": np.asarray(v, np.float32) for k, v in per_target.items()}
        if experiment.weights and not system.shuffled:
            save_tensors(path.with_suffix(".safetensors"), fitted.tensors, system=system.name)
        options = experiment.synthesis
        if options and system == System(experiment.synthesizer, (options.family,)):
            _synthesise(setup, responses, fitted, folder.parent / "synthesis.h5")
        write_h5(path, SYSTEM_FORMAT, data)
        for left in folder.glob(f"{system.name}*.trained.safetensors"):
            left.unlink()
    return _read(path) if world.first else None


def _synthesise(setup: Setup, responses: Responses, fitted: Fitted, path: Path) -> None:
    """Embeddings, and pictures, that the model predicts to drive each goal."""
    options, n = setup.experiment.synthesis, responses.n_train
    keep, _ = chosen(responses, setup.experiment.scoring)
    spread, mean = responses.y[:n].std(0, dtype=np.float64), responses.y[:n].mean(0)
    goals = goals_of(options, responses.groups(), keep, spread)
    source = setup.sources[options.family]
    found = [
        optimise(fitted, source, responses.image[:n], weight, goal, options, float(mean @ weight))
        for goal, weight in goals.items()
    ]
    if found:
        synthesis.write(path, found, options, setup.stimuli, setup.experiment.seed)


def _problem(setup: Setup, responses: Responses, system: System, folder: Path) -> Problem:
    experiment = setup.experiment
    readout = experiment.readouts[system.readout]
    y = responses.y
    if system.shuffled:
        rng = np.random.default_rng(seed_of(experiment.seed, f"shuffled/{responses.subject}"))
        # sides are shuffled apart, so that nothing of validation is learned from
        n = responses.n_train
        order = np.concatenate([rng.permutation(n), n + rng.permutation(len(y) - n)])
        y = y[order]
    names = (*system.families, *readout.needs)
    return Problem(
        sources={name: setup.sources[name] for name in names},
        image=responses.image,
        y=y,
        n_train=responses.n_train,
        concept=np.array([setup.concept[i] for i in responses.image.tolist()]),
        seed=experiment.seed,
        device=setup.device,
        folder=folder,
        name=system.name,
        made_by=f"{setup.folder.name.strip('.').removesuffix('.partial')}, sub-{responses.subject}",
        hold=system == identifier(experiment),
        quiet=setup.quiet,
        world=setup.world,
    )


def identifier(experiment: Encode) -> System | None:
    """The model that identification reads: the chosen readout on all its families."""
    if experiment.identify is None:
        return None
    name = experiment.identify.readout or next(iter(experiment.readouts))
    mine = [s for s in systems(experiment) if s.readout == name and not s.shuffled]
    return max(mine, key=lambda s: len(s.families))


def _read(path: Path) -> Said:
    with open_h5(path, SYSTEM_FORMAT) as file:
        test = dataset(path, file, "test")[()]
        found: dict[str, np.ndarray] = {}
        if "per_target" in file:
            file["per_target"].visititems(
                lambda name, item: (
                    found.update({name: item[()]}) if hasattr(item, "shape") else None
                )
            )
    return Said(test, found)


def _identify(setup: Setup, responses: Responses, folder: Path, protocol: str) -> dict[str, Any]:
    """Decoding through the chosen model."""
    options = setup.experiment.identify
    system = identifier(setup.experiment)
    path = folder / f"{system.name}.h5"
    with open_h5(path, SYSTEM_FORMAT) as file:
        test = dataset(path, file, "test")[()]
        held = file["held"][()] if "held" in file else None
    if held is None or len(held) < 10:
        return {
            "notes": ["identification: the split has fewer than 10 validation images; left out."]
        }
    return identify(options, responses, system.name, test, held, protocol)


def _write(path: Path, responses: Responses, scored: Scored, more: dict[str, np.ndarray]) -> None:
    """``encoding.h5`` of one subject."""
    data: dict[str, Any] = {
        "channel_name": responses.channel_name,
        "channel_type": responses.channel_type,
        "channel_position": responses.channel_position,
        "times": responses.times,
        "test_image": responses.test_image,
        **{f"region/{k}": v for k, v in responses.regions.items()},
        **scored.arrays,
        **more,
    }
    about: dict[str, Any] = {"subject": responses.subject, "modality": responses.modality}
    about["chosen_on"] = responses.chosen_on
    voxels = responses.voxels
    if voxels is not None and voxels.index is not None:
        data["index"] = voxels.index
        about["shape"] = np.asarray(voxels.shape)
        if voxels.affine is not None:
            about["affine"] = np.asarray(voxels.affine, float)
    data = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in data.items()}
    write_h5(path, SUBJECT_FORMAT, data, **about)


def _finish(
    setup: Setup, folder: Path, overview: Recordings, parts: list[dict[str, Any]],
    notes: list[str], cka: dict[str, float],
) -> None:  # fmt: skip
    """``encoding.json``."""
    experiment = setup.experiment
    scores = [one for part in parts for one in part["scores"]]
    if len(parts) > 1:
        scores += pooled(parts)
    notes = notes + [note for part in parts for note in part["notes"]]
    as_dict = lambda some: [one.to_dict() for one in some]  # noqa: E731
    write_json(
        folder / "encoding.json",
        {
            "format": "neurovis-encoding",
            "format_version": FORMAT_VERSION,
            "name": experiment.name,
            "dataset": overview.trials[0].dataset,
            "modality": parts[0]["modality"],
            "n_times": parts[0]["n_times"],
            "subjects": [part["subject"] for part in parts],
            "systems": [
                {
                    "name": s.name,
                    "readout": s.readout,
                    "families": s.families,
                    "shuffled": s.shuffled,
                }
                for s in systems(experiment)
            ],
            "features": {k: s.config.encoder for k, s in setup.sources.items()},
            "ceiling": experiment.scoring.ceiling,
            "picture_width": experiment.picture_width,
            "expected": experiment.expected,
            "interval": "95 %, bootstrap over test images, seed 0",
            "alike": cka,
            "notes": list(dict.fromkeys(notes)),
            "counts": {part["subject"]: part["counts"] for part in parts},
            "chosen_on": {part["subject"]: part["chosen_on"] for part in parts},
            "summary": {part["subject"]: part["summary"] for part in parts},
            "control": control(scores),
            "scores": as_dict(scores),
            "comparisons": as_dict(one for part in parts for one in part["comparisons"]),
            "identified": as_dict(one for part in parts for one in part["identified"]),
            "fingerprint": fingerprint(experiment),
        },
    )
    setup.split.write(folder / "split.json")
