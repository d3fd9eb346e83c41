"""What can be read from simulated recordings, against their signal-to-noise ratio.

Simulates, preprocesses in memory (M/EEG: the filters and windows of `preprocessing/synthetic.py`, no
scaling; fMRI: its first-level model, responses centred in each run) and scores three decoders on the same test trials: the optimal observer, the informed
observer and plain ridge onto the source features. The default `snr` of a modality is the one where
the informed observer's single-trial top-1 is about 30 %.

    python -m experiments.benchmarks.limits --modality meg --snr 0.05 0.1 0.2
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from neurovis.config import resolve, to_dict
from neurovis.progress import progress
from neurovis.records import Stimuli, Trials
from neurovis.signals.chain import Steps, process_run
from neurovis.signals.fmri.glm import first_level
from neurovis.signals.fmri.steps import FmriSteps
from neurovis.signals.scaling import noise_covariance, whitener
from neurovis.world import bold
from neurovis.world.features import Features
from neurovis.world.modality import Modality
from neurovis.world.observers import observe
from neurovis.world.recordings import record
from neurovis.world.scenes import write_pictures
from neurovis.world.simulate import (
    MODALITIES,
    Design,
    picture_features,
    pictures,
    schedule,
    write_truth,
)

STEPS = Steps(notch=(50.0, 100.0), scaling="none", clamp=None)


FMRI = FmriSteps(
    confounds=bold.MOTION, drift="polynomial", drift_order=3, high_pass=None, method="lss"
)


def simulated_trials(
    plan: Design, stimuli: Stimuli, features: Features, number: int, folder: Path, quiet: bool
) -> tuple[Trials, Path]:
    """Trials of one subject without a recording on disk, and the file of their truth."""
    subject = plan.modality.subject(number, features, plan)
    cut = betas_of if plan.modality.component == "fmri" else epochs_of
    parts: dict[str, list] = {}
    runs = schedule(plan, stimuli, number)
    for count, events in enumerate(progress(runs, f"sub-{number:02d}", quiet=quiet)):
        seed = [plan.seed, 37, number, count]
        signal, kept, about = cut(subject, plan, events, features.z[events["row"]], seed)
        onset = events["sample"] / plan.modality.rate(plan)
        columns = {
            "signal": signal,
            "image": events["image"][kept],
            "session": np.full(len(kept), f"{count // plan.n_runs + 1:02d}"),
            "run": np.full(len(kept), f"{count % plan.n_runs + 1:02d}"),
            "set": events["trial_type"][kept],
            "onset": onset[kept],
        }
        for name, values in columns.items():
            parts.setdefault(name, []).append(values)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    trials = Trials(**joined, **about, subject=subject.label)
    return trials, write_truth(subject, features, plan, folder)


def epochs_of(subject, plan: Design, events: dict, z: np.ndarray, seed: list) -> tuple:
    """Epochs of a run of M/EEG, the trials kept, and what is the same for all runs."""
    info = plan.modality.info(plan.sfreq)
    about = {
        "channel_name": np.array(info["ch_names"]),
        "channel_type": np.array(info.get_channel_types()),
        "channel_position": np.array([channel["loc"][:3] for channel in info["chs"]]),
    }
    n_times = plan.modality.n_times(plan, events)
    signal = record(subject, z, events["sample"], n_times, plan.sfreq, seed).astype(np.float32)
    marked = [info["ch_names"][subject.marked]]
    onset = events["sample"] / plan.sfreq
    run = process_run(STEPS, signal, plan.sfreq, onset, *about.values(), marked)
    about |= {"sfreq": STEPS.sfreq, "tmin": STEPS.tmin, "modality": plan.modality.datatype}
    return run.signal, run.kept, about | {
        "unit": plan.modality.unit, "provenance": {"steps": to_dict(STEPS)}
    }  # fmt: skip


def betas_of(subject, plan: Design, events: dict, z: np.ndarray, seed: list) -> tuple:
    """Betas of a run of fMRI in the regions that respond, centred, and the rest as `epochs_of`."""
    onset, tr = events["sample"] / 1000, plan.modality.tr
    n_volumes = int(np.ceil((onset[-1] + plan.soa + plan.modality.padding[1]) / tr))
    signal, confounds = bold.record(subject, z, onset, n_volumes, seed)
    keep = np.setdiff1d(subject.cortex.responds, subject.dead)
    moved = np.stack([confounds[name] for name in FMRI.confounds], 1)
    found = first_level(
        signal[keep].T, tr, onset, events["duration"], events["image"], FMRI, moved, FMRI.confounds
    )
    centred = found.signal - found.signal.mean(0)
    about = {
        "channel_name": subject.cortex.name[keep],
        "channel_type": np.full(len(keep), "voxel"),
        "channel_position": subject.cortex.position[keep] / 1000,
        "sfreq": 1 / tr, "tmin": 0.0, "modality": "fmri", "unit": "%",
        "provenance": {"steps": to_dict(FMRI)},
    }  # fmt: skip
    return centred[:, :, None], np.arange(len(onset)), about


def ridge(
    trials: Trials, z: np.ndarray, train: np.ndarray, rows: list, candidates: np.ndarray
) -> np.ndarray:
    """Cosine of ridge predictions of the features with each candidate (row, candidate).

    Channels are whitened on training trials, the repeats of a training image are averaged,
    leave-one-out error chooses the penalty.
    """
    image, which = np.unique(trials.image[train], return_inverse=True)
    first = np.array([np.flatnonzero(which == i)[0] for i in range(len(image))])
    scale = trials.signal[train].std((0, 2))[:, None]
    used = np.flatnonzero(scale > 0)
    scale = scale[used]
    blocks = (trials.signal[train[i : i + 256]][:, used] / scale for i in range(0, len(train), 256))
    matrix = whitener(noise_covariance(blocks)) / scale[:, 0]

    def flat(groups: list) -> np.ndarray:
        return np.stack([(matrix @ trials.signal[g].mean(0)[used]).ravel() for g in groups])

    x = flat([train[which == i] for i in range(len(image))])
    y = z[train[first]]
    centre, target = x.mean(0), y.mean(0)
    x, y = x - centre, y - target
    value, vector = np.linalg.eigh((x @ x.T).astype(np.float64))
    along = vector.T @ y
    best = None
    for penalty in np.geomspace(1e-4, 1e2, 25) * value.mean():
        hat = vector * (value / (value + penalty))
        left_out = (y - hat @ along) / (1 - (hat * vector).sum(1) - 1 / len(y))[:, None]
        error = (left_out**2).sum()
        if best is None or error < best[0]:
            best = error, vector @ (along / (value + penalty)[:, None])
    prediction = (flat(rows) - centre) @ (x.T @ best[1].astype(np.float32))
    candidates = candidates - target
    candidates = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    return prediction @ candidates.T


def top1(similarity: np.ndarray, true: np.ndarray) -> float:
    """Share of rows whose own image scores highest, in %."""
    return 100 * float((similarity.argmax(1) == true).mean())


def main() -> None:
    """Print one row per ratio and subject."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--modality", default="meg", choices=MODALITIES)
    parser.add_argument("--snr", type=float, nargs="+")
    parser.add_argument("--n-subjects", type=int, default=2)
    parser.add_argument("--n-train-concepts", type=int)
    parser.add_argument("--n-test", type=int)
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    modality = resolve(Modality, options.modality)
    words = {"n_train_concepts": options.n_train_concepts, "n_test": options.n_test}
    words = {name: value for name, value in words.items() if value is not None}
    design = Design(modality=modality, n_subjects=options.n_subjects, **words)
    names = ("optimal", "informed", "ridge")
    print("   snr  subject  " + "".join(f"{n:>10} {n + ' avg':>13}" for n in names) + "  top-1, %")
    with tempfile.TemporaryDirectory() as folder:
        stimuli = write_pictures(
            Path(folder) / "stimuli", pictures(design), design.size, quiet=options.quiet
        )
        features = design.modality.sees(picture_features(stimuli))
        gallery = stimuli.image[stimuli.set == "test"]
        candidates = features.z[stimuli.set == "test"]
        for snr in options.snr or [modality.default_snr]:
            plan = design.model_copy(update={"snr": snr})
            for number in range(1, design.n_subjects + 1):
                trials, truth = simulated_trials(
                    plan, stimuli, features, number, Path(folder), options.quiet
                )
                train = np.flatnonzero(trials.set == "train")
                test = np.flatnonzero(trials.set == "test")
                rows = [np.array([i]) for i in test]
                rows += [np.flatnonzero(trials.image == image) for image in gallery]
                true = np.array([np.flatnonzero(gallery == trials.image[r[0]])[0] for r in rows])
                seen = observe(trials, truth, train, rows, gallery)
                z = features.z[stimuli.index(trials.image)]
                scores = [*seen.values(), ridge(trials, z, train, rows, candidates)]
                single, averaged = slice(0, len(test)), slice(len(test), None)
                cells = [
                    f"{top1(s[single], true[single]):10.1f} {top1(s[averaged], true[averaged]):13.1f}"
                    for s in scores
                ]
                print(f"{snr:6.3f}  sub-{number:02d}   {''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
