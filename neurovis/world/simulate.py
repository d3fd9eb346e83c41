"""A raw BIDS dataset of simulated brains that look at the image world.

Comes in: a design. Goes out: pictures, recordings run by run, and the truth that the observers need.
``dataset_description.json`` is written last, so that an unfinished root is no BIDS dataset; the same
command goes on with what a killed one left and keeps complete runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.config import Config, build, fingerprint, resolve, to_dict
from neurovis.errors import NeurovisError, UsageError
from neurovis.progress import progress
from neurovis.records import Stimuli
from neurovis.store import FORMAT_VERSION, read_json, remove, write_h5, write_json
from neurovis.world.bold import Fmri
from neurovis.world.features import Features, read_pictures, source_features
from neurovis.world.modality import Modality, events_file
from neurovis.world.sensors import Meg

MODALITIES = ("meg", "eeg", Fmri.component)
TRUTH_FORMAT = "neurovis-truth"


class Design(Config):
    """What is simulated: many training images with few repeats, few test images with many.

    `snr` is the root mean square of what differs between images, over that of the noise, on a single
    trial (M/EEG: brain and sensor noise from 1 to 40 Hz; fMRI: peak of the response, over the noise
    of a volume in voxels that respond); by default the modality's, at which an observer who knows the
    source features names a single trial's image 30 % of the time. Other defaults of fMRI, which shows
    pictures slowly: `Fmri.defaults`; `sfreq` (Hz) and `trigger_lag` (s) are of M/EEG alone.
    """

    modality: Modality = Meg()
    n_subjects: int = pydantic.Field(2, ge=1, le=99)
    n_sessions: int = pydantic.Field(2, ge=1, le=99)
    n_runs: int = pydantic.Field(6, ge=1, le=99)
    n_train_concepts: int = pydantic.Field(200, ge=2)
    n_exemplars: int = pydantic.Field(10, ge=1)
    train_repeats: int = pydantic.Field(2, ge=1)
    n_test: int = pydantic.Field(200, ge=2)
    test_repeats: int = pydantic.Field(12, ge=1)
    sfreq: float | None = pydantic.Field(300.0, ge=100)
    soa: float = pydantic.Field(0.6, gt=0.1)
    soa_jitter: float = pydantic.Field(0.02, ge=0)
    duration: float = pydantic.Field(0.3, gt=0)
    trigger_lag: float | None = pydantic.Field(0.025, ge=0)
    snr: float | None = pydantic.Field(None, ge=0)
    size: int = pydantic.Field(128, ge=32)
    seed: int = pydantic.Field(0, ge=0)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _of_the_modality(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        modality = resolve(Modality, value.get("modality", "meg"))
        return {**modality.defaults, **value, "modality": modality}

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Design:
        self.modality.check(self)
        n_trials = self.n_train_concepts * self.n_exemplars * self.train_repeats
        n_trials += self.n_test * self.test_repeats
        if n_trials < self.n_sessions * self.n_runs:
            raise UsageError(
                f"Design.n_runs: {self.n_sessions * self.n_runs} runs for {n_trials} trials; "
                "make fewer runs."
            )
        return self

    @property
    def level(self) -> float:
        """The signal-to-noise ratio in force."""
        return self.modality.default_snr if self.snr is None else self.snr

    @property
    def lag_samples(self) -> int:
        """Samples by which a trigger mark comes after the event it marks."""
        return round(self.trigger_lag * self.sfreq)


def simulate(
    out: str | Path,
    modality: str | dict[str, Any] | Modality = "meg",
    n_jobs: int = 1,
    quiet: bool = False,
    **design: Any,
) -> Path:
    """Simulate a raw BIDS dataset.

    Parameters
    ----------
    out : path
        Root of the dataset; made, or completed if the same command was interrupted.
    modality : str
        ``meg``, ``eeg`` or ``fmri``.
    n_jobs : int
        Processes; the result does not depend on it.
    quiet : bool
        No progress bars.
    **design
        Fields of `Design`.

    Returns
    -------
    Path
        The root.

    Raises
    ------
    NeurovisError
        If the folder holds something else, or another design.

    Examples
    --------
    >>> simulate("bids", modality="meg", n_subjects=1, n_test=20)
    """
    from joblib import Parallel, delayed

    from neurovis.world.scenes import write_pictures

    plan = build(Design, {"modality": resolve(Modality, modality), **design})
    root = Path(out)
    if _is_complete(root, plan):
        return root
    shown = pictures(plan)
    write_json(root / ".simulating" / "design.json", _described(plan))
    stimuli = write_pictures(root / "stimuli", shown, plan.size, n_jobs, quiet, plan.seed)
    write_json(root / "stimuli" / "hierarchy.json", hierarchy(stimuli))
    features = plan.modality.sees(picture_features(stimuli))

    def parallel(tasks: list[Any], desc: str) -> list[Any]:
        # workers come anew for each stage; where there is one job nothing is started at all
        made = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
        return list(progress(made, desc, total=len(tasks), quiet=quiet))

    subjects = parallel(
        [delayed(plan.modality.subject)(n + 1, features, plan) for n in range(plan.n_subjects)],
        "making brains",
    )
    tasks = []
    for subject in subjects:
        write_truth(subject, features, plan, root)
        plan.modality.write_subject(subject, root)
        tasks += _missing_runs(subject, stimuli, features, plan, root)
    parallel([delayed(plan.modality.write_run)(**task) for task in tasks], "recording runs")
    _write_dataset_files(root, plan, subjects)
    remove(root / ".simulating")
    return root


def pictures(plan: Design) -> list[tuple[str, int, str]]:
    """Concept, exemplar and set of every picture; test concepts are held out of training."""
    from neurovis.world import scenes

    test = scenes.held_out(plan.n_test)
    known = [c.name for c in scenes.concepts() if c.name not in set(test)]
    if plan.n_train_concepts > len(known):
        raise UsageError(
            f"Design.n_train_concepts: expected at most {len(known)} beside {plan.n_test} for test, "
            f"found {plan.n_train_concepts}; ask for fewer."
        )
    rng = np.random.default_rng([plan.seed, 29])
    train = [known[i] for i in sorted(rng.permutation(len(known))[: plan.n_train_concepts])]
    shown = [(c, e, "train") for c in train for e in range(plan.n_exemplars)]
    return shown + [(c, 0, "test") for c in test]


def hierarchy(stimuli: Stimuli) -> dict[str, tuple[str, str]]:
    """Superclass and family of every concept shown."""
    from neurovis.world import scenes

    shown = set(stimuli.concept.tolist())
    return {c.name: (c.superclass, c.family) for c in scenes.concepts() if c.name in shown}


def picture_features(stimuli: Stimuli) -> Features:
    """Source features of all pictures of a world, standardised over its training images."""
    from neurovis.world import scenes

    meaning = {concept: scenes.semantics(concept) for concept in np.unique(stimuli.concept)}
    pictures = read_pictures(stimuli.files(i)[0] for i in range(len(stimuli)))
    return source_features(
        pictures,
        np.stack([meaning[concept] for concept in stimuli.concept]),
        stimuli.image,
        stimuli.set == "train",
    )


def schedule(plan: Design, stimuli: Stimuli, subject: int) -> list[dict[str, np.ndarray]]:
    """What one subject sees: one table per run, sessions after each other.

    Repeats of an image are spread over the runs. Samples count from the start of the run, at the
    modality's rate.

    Returns
    -------
    list of dict of array (trial,)
        ``sample, value, duration, trial_type, stim_file, image, repeat`` and ``row`` (of stimuli).
    """
    rng = np.random.default_rng([plan.seed, 31, subject])
    order = []
    for name, repeats in (("train", plan.train_repeats), ("test", plan.test_repeats)):
        rows = np.flatnonzero(stimuli.set == name)
        order += [rng.permutation(rows) for _ in range(repeats)]
    rows = np.concatenate(order)
    n_runs = plan.n_sessions * plan.n_runs
    # neighbours within one pass go to different runs, so that every run gets a share of each pass
    seat = np.concatenate([(np.arange(len(o)) + rng.integers(n_runs)) % n_runs for o in order])
    size = len(rows) / n_runs
    rank = np.argsort(np.argsort(seat, kind="stable"), kind="stable")
    run_of = (rank / size).astype(int)
    seen = np.zeros(len(stimuli), dtype=int)
    runs = []
    for run in range(n_runs):
        shown = rng.permutation(rows[run_of == run])
        repeat = np.empty(len(shown), dtype=int)
        for i, row in enumerate(shown):
            repeat[i] = seen[row]
            seen[row] += 1
        gaps = plan.soa + rng.uniform(-plan.soa_jitter, plan.soa_jitter, len(shown))
        onset = plan.modality.padding[0] + np.concatenate([[0.0], gaps[:-1].cumsum()])
        runs.append(
            {
                "sample": np.round(onset * plan.modality.rate(plan)).astype(int),
                "value": shown + 1,
                "duration": np.full(len(shown), plan.duration),
                "trial_type": stimuli.set[shown],
                "stim_file": np.array([stimuli.path[row][0] for row in shown]),
                "image": stimuli.image[shown],
                "repeat": repeat,
                "row": shown,
            }
        )
    return runs


def write_truth(subject: Any, features: Features, plan: Design, root: Path) -> Path:
    """Store what the observers may know; what that is, the modality says."""
    import json

    path = root / "sourcedata" / "truth" / f"sub-{subject.label}.h5"
    data, attributes = plan.modality.truth(subject, features, plan)
    about = {"modality": plan.modality.component, "unit": plan.modality.unit, "snr": plan.level}
    about |= {"subject": subject.label, "design": json.dumps(to_dict(plan))}
    write_h5(path, TRUTH_FORMAT, data, **about, **attributes)
    return path


def _missing_runs(
    subject: Any, stimuli: Stimuli, features: Features, plan: Design, root: Path
) -> list[dict[str, Any]]:
    """Arguments of `write_run` for every run that is not complete."""
    tasks = []
    for number, events in enumerate(schedule(plan, stimuli, subject.number)):
        session, run = f"{number // plan.n_runs + 1:02d}", f"{number % plan.n_runs + 1:02d}"
        if events_file(plan.modality.recording(root, subject.label, session, run)).is_file():
            continue
        rows = events.pop("row")
        tasks.append(
            {
                "subject": subject,
                "root": root,
                "session": session,
                "run": run,
                "plan": plan,
                "events": events,
                "z": features.z[rows],
                "seed": [plan.seed, 37, subject.number, number],
            }
        )
    return tasks


def _described(plan: Design) -> dict[str, Any]:
    return {
        "format": "neurovis-design",
        "format_version": FORMAT_VERSION,
        "fingerprint": fingerprint(plan),
        "design": to_dict(plan),
    }


def _is_complete(root: Path, plan: Design) -> bool:
    """Whether this very design is there, whole; another one, or foreign files, are refused."""
    done = root / "sourcedata" / "truth" / "design.json"
    begun = root / ".simulating" / "design.json"
    if not root.exists() or not any(root.iterdir()):
        return False
    if not done.is_file() and not begun.is_file():
        raise NeurovisError(
            f"{root}: expected an empty folder or a simulation to go on with, found other files; "
            "give another folder."
        )
    found = read_json(begun if begun.is_file() else done, "neurovis-design")
    if found["fingerprint"] != fingerprint(plan):
        other = {k: v for k, v in found["design"].items() if to_dict(plan).get(k) != v}
        raise NeurovisError(
            f"{root}: holds a simulation with another design ({other}); "
            "give another folder or the same options."
        )
    return not begun.is_file()


def _write_dataset_files(root: Path, plan: Design, subjects: list[Any]) -> None:
    """What describes the dataset as a whole; the description itself comes last."""
    from neurovis import __version__

    lines = ["participant_id\tage\tsex\thand"]
    lines += [f"sub-{subject.label}\tn/a\tn/a\tn/a" for subject in subjects]
    (root / "participants.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(root / "participants.json", {"participant_id": {"Description": "Simulated subject"}})
    for subject in subjects:
        for session in range(1, plan.n_sessions + 1):
            label = f"{session:02d}"
            paths = [
                plan.modality.recording(root, subject.label, label, f"{run:02d}")
                for run in range(1, plan.n_runs + 1)
            ]
            folder = paths[0].parent.parent
            rows = [f"{p.relative_to(folder).as_posix()}\tn/a" for p in paths]
            scans = folder / f"sub-{subject.label}_ses-{label}_scans.tsv"
            scans.write_text("\n".join(["filename\tacq_time", *rows]) + "\n", encoding="utf-8")
    (root / "README").write_text(README.format(version=__version__), encoding="utf-8")
    write_json(root / "sourcedata" / "truth" / "design.json", _described(plan))
    about = {
        "Name": f"Simulated {plan.modality.component.upper()} of an image world",
        "BIDSVersion": "1.9.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["neurovis"],
    }
    write_json(root / "dataset_description.json", about)


README = """Simulated recordings of brains that look at pictures (neurovis {version}).

No person was measured. Pictures are in stimuli/, the events name them. MEG and EEG: marks on the
trigger channel come later than the pictures by TriggerLag (s) of each recording's JSON file; the
onsets in the events files are those of the pictures; some bad channels are marked, some are not.
fMRI: derivatives/fmriprep holds the confounds of each run, derivatives/rois masks of the brain and
of its visual regions; volumes are as after motion correction, what motion does to the signal is
still in them. sourcedata/truth holds what drives the recordings: for judging decoders, never for training them.
"""
