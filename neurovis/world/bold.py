"""Raw fMRI of a simulated subject: BOLD volumes, confounds and masks as BIDS files, run by run.

Comes in: a `Cortex`, and which picture appears when. Goes out: int16 NIfTI. Each trial evokes its
voxels' responses with the subject's own haemodynamics and an amplitude of its own; on top come thermal
noise (white and autoregressive), physiological noise with spatial patterns, slow drift and what
motion leaves. Volumes are taken at the middle of their TR. Memory is one run.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic

from neurovis.config import added
from neurovis.errors import UsageError, unknown
from neurovis.store import remove, says_disk_full, write_json
from neurovis.world.cortex import (
    MAPS,
    NATURAL,
    PATCHES,
    PICTURE,
    SMOOTHNESS,
    Cortex,
    make_cortex,
    prototype,
    smooth,
)
from neurovis.world.features import Features, modulated
from neurovis.world.modality import EVENT_COLUMNS, TASK, Modality, events_file

AMPLITUDE_JITTER = 0.2
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
"""Columns of the confounds table, mm and rad, as fMRIPrep names them."""
N_PHYSIOLOGICAL = 10
N_DEAD = 8
SLOPE = 0.25
"""Signal per step of the int16 on disk."""
STEP = 0.05
"""Of the haemodynamic response, s."""
LEVELS = {"thermal": 0.8, "physiological": 0.6, "drift": 0.8, "motion": 0.5}
"""Standard deviation in time, % of the mean signal, root mean square over grey matter."""


class Fmri(Modality, name="fmri"):
    """BOLD of the occipital, temporal and parietal lobes.

    Parameters
    ----------
    tr : float, s
        Time between volumes.
    voxel_size : float, mm
    modulated : tuple of str
        Maps (V1 to V4) whose response to a picture's look depends on what it shows: a nonlinearity
        for encoding models to find.
    """

    datatype = "func"
    ending = "bold.nii.gz"
    unit = "%"
    default_snr = 0.055
    padding = (6.0, 15.0)
    defaults: ClassVar = {
        "n_runs": 14, "n_exemplars": 5, "n_test": 100, "test_repeats": 8, "soa": 4.5, "soa_jitter": 1.0,
        "duration": 1.0, "sfreq": None, "trigger_lag": None,
    }  # fmt: skip

    tr: float = pydantic.Field(1.5, ge=0.2, le=5)
    voxel_size: float = pydantic.Field(4.0, ge=1.5, le=12)
    modulated: tuple[str, ...] = added(())

    def check(self, plan: Any) -> None:
        for name in self.modulated:
            if name not in MAPS:
                raise UsageError(f"fmri.modulated: {unknown('map', name, MAPS)}")
        for name in ("sfreq", "trigger_lag"):
            if getattr(plan, name) is not None:
                raise UsageError(
                    f"Design.{name}: expected none with fmri, found {getattr(plan, name)}; leave it "
                    "out (modality.tr is the time between volumes)."
                )
        least = max(plan.duration + plan.soa_jitter, 1.5 * self.tr)
        if plan.soa < least:
            raise UsageError(
                f"Design.soa: expected at least {least:g} s (duration and soa_jitter, or 1.5 TR), found "
                f"{plan.soa}; present pictures more slowly."
            )

    def rate(self, plan: Any) -> float:
        return 1000.0

    def sees(self, features: Features) -> Features:
        if not self.modulated:
            return features
        return modulated(features, prototype(NATURAL, int((features.stage == "late").sum())))

    def subject(self, number: int, features: Features, plan: Any) -> Subject:
        return make_subject(number, self, features, plan.duration, plan.level, plan.seed)

    def truth(self, subject: Subject, features: Features, plan: Any) -> tuple[dict, dict]:
        return truth_of(subject, features)

    def write_subject(self, subject: Subject, root: Path) -> None:
        write_masks(subject, root)

    def write_run(
        self, subject: Subject, root: Path, session: str, run: str, plan: Any, events: dict,
        z: np.ndarray, seed: Any,
    ) -> None:  # fmt: skip
        write_run(subject, root, session, run, plan.soa, events, z, seed)


@dataclass(frozen=True)
class Subject:
    """One simulated subject in the scanner.

    Parameters
    ----------
    number : int
    modality : Fmri
    cortex : Cortex
    base : array (voxel,)
        Mean signal, in the scanner's units.
    thermal : array (voxel,), %
        Standard deviation of thermal noise, half of its variance autoregressive.
    autoregression : float
        Correlation of that half with the volume before.
    physiological : array (voxel, component), %
        Patterns whose time courses have unit variance.
    drift : array (voxel, component), %
    leak : array (voxel, 6), % per mm and per rad
        What motion leaves in the signal.
    dead : array of int
        Voxels that never change.
    response : array (time,)
        Response to one picture in steps of `STEP`, peak 1.
    delay : float, s
        Of the peak of the response to an impulse.
    """

    number: int
    modality: Fmri
    cortex: Cortex
    base: np.ndarray
    thermal: np.ndarray
    autoregression: float
    physiological: np.ndarray
    drift: np.ndarray
    leak: np.ndarray
    dead: np.ndarray
    response: np.ndarray
    delay: float

    @property
    def label(self) -> str:
        """Number of the subject with two digits."""
        return f"{self.number:02d}"

    @property
    def strength(self) -> float:
        """Noise of a volume, %: root mean square over voxels that respond; what `snr` is relative to."""
        rows = self.cortex.responds
        power = self.thermal[rows] ** 2 + (self.physiological[rows] ** 2).sum(1)
        return float(np.sqrt(power.mean()))


def make_subject(
    number: int, modality: Fmri, features: Features, duration: float, snr: float, seed: int
) -> Subject:
    """Build one subject; equal arguments give an equal subject.

    Parameters
    ----------
    number : int
        From 1.
    modality : Fmri
    features : Features
    duration : float, s
        How long pictures are shown.
    snr : float
        Root mean square over images and responding voxels of what differs between images at the
        response's peak, relative to thermal and physiological noise of a volume.
    seed : int
        Of the study.
    """
    rng = np.random.default_rng([seed, 47, number])
    cortex = make_cortex(features, modality.voxel_size, seed, number, modality.modulated)
    place = cortex.position
    bias = 1 + 0.12 * smooth(place, 1, 50.0, rng)[:, 0]
    base = 1000 * np.where(cortex.grey, 1.0, 0.85) * np.clip(bias, 0.5, 1.5)
    thermal = np.exp(0.2 * rng.standard_normal(len(place)))
    edge = np.where(cortex.grey, 1.0, 0.6)[:, None]
    patterns = {
        "thermal": thermal[:, None],
        "physiological": edge * smooth(place, N_PHYSIOLOGICAL, 18.0, rng),
        "drift": smooth(place, 4, 25.0, rng),
        # a motion of the six kinds that is usual, in mm and rad
        "motion": edge * smooth(place, len(MOTION), 15.0, rng),
    }
    for name, pattern in patterns.items():
        power = (pattern[cortex.grey] ** 2).sum(1).mean()
        patterns[name] = (pattern * LEVELS[name] / np.sqrt(power)).astype(np.float32)
    usual = np.array([0.1, 0.1, 0.1, 0.002, 0.002, 0.002])
    dead = np.sort(rng.choice(cortex.responds, N_DEAD, replace=False))
    delay, undershoot = 5.4 + 0.4 * np.clip(rng.standard_normal(), -2, 2), rng.uniform(0.1, 0.25)
    response = haemodynamic(duration, delay, undershoot)
    subject = Subject(
        number, modality, cortex, base, patterns["thermal"][:, 0], 0.4, patterns["physiological"],
        patterns["drift"], patterns["motion"] / usual, dead, response, delay,
    )  # fmt: skip
    gain = np.exp(0.15 * rng.standard_normal())
    rows = cortex.responds
    weight = cortex.weight[rows].astype(float)
    drive = np.einsum("vf,fg,vg->v", weight, np.corrcoef(features.z.T), weight)
    level = snr * subject.strength * gain / np.sqrt(drive.mean())
    weight = (level * cortex.weight).astype(np.float32)
    cortex = replace(cortex, weight=weight, constant=level * cortex.constant)
    return replace(subject, cortex=cortex)


def haemodynamic(duration: float, delay: float, undershoot: float) -> np.ndarray:
    """Response to a picture shown for a while, in steps of `STEP`, peak 1.

    The difference of two gamma densities, as SPM has it: the second, 10 s later, is weaker.

    Parameters
    ----------
    duration : float, s
    delay : float, s
        Of the first peak after an impulse.
    undershoot : float
        Height of the second relative to the first.
    """
    from scipy import stats

    times = np.arange(0, 36, STEP)
    first = stats.gamma.pdf(times, delay + 1)
    second = stats.gamma.pdf(times, delay + 11)
    impulse = first / first.max() - undershoot * second / second.max()
    course = np.convolve(np.ones(max(1, round(duration / STEP))), impulse)
    return course / course.max()


def record(
    subject: Subject, z: np.ndarray, onset: np.ndarray, n_volumes: int, seed: Any
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Signals of one run.

    Parameters
    ----------
    subject : Subject
    z : array (trial, feature)
    onset : array (trial,), s
    n_volumes : int
    seed : int or sequence of int

    Returns
    -------
    signal : array (voxel, volume) float32
    confounds : dict of array (volume,)
        Motion in mm and rad, means of the signal in the ventricles and in the brain.
    """
    rng = np.random.default_rng(seed)
    cortex, rows = subject.cortex, subject.cortex.responds
    times = (np.arange(n_volumes) + 0.5) * subject.modality.tr
    amplitude = np.clip(1 + AMPLITUDE_JITTER * rng.standard_normal(len(z)), 0.2, 1.8)
    drive = (z @ cortex.weight[rows].T + cortex.constant[rows]) * amplitude[:, None]
    since = times[None] - np.asarray(onset)[:, None]
    steps = np.arange(len(subject.response)) * STEP
    course = np.interp(since, steps, subject.response, left=0.0, right=0.0)
    motion = _motion(times, rng)
    slow = np.stack([np.cos(np.pi * k * times / times[-1]) for k in range(1, 4)], 1)
    slow = np.column_stack([times / times[-1] - 0.5, slow @ rng.standard_normal((3, 3))])
    slow = (slow - slow.mean(0)) / slow.std(0)
    noise = _thermal(subject, n_volumes, rng)
    noise += subject.physiological @ _physiological(times, rng).T
    noise += subject.drift @ slow.T.astype(np.float32)
    noise += (subject.leak @ motion.T).astype(np.float32)
    noise[rows] += (drive.T @ course).astype(np.float32)
    noise[subject.dead] = 0
    noise *= np.float32(0.01)
    noise += 1
    noise *= subject.base.astype(np.float32)[:, None]
    deep = np.linalg.norm((cortex.position - cortex.position.mean(0)) / 40, axis=1) < 0.35
    table = dict(zip(MOTION, motion.T))
    return noise, table | {"csf": noise[deep].mean(0), "global_signal": noise.mean(0)}


def _thermal(subject: Subject, n_volumes: int, rng: np.random.Generator) -> np.ndarray:
    """White noise plus as much that is autoregressive: (voxel, volume) float32, %."""
    from scipy.signal import lfilter

    shape, rho = (len(subject.base), n_volumes), subject.autoregression
    white = rng.standard_normal(shape, dtype=np.float32)
    own = rng.standard_normal(shape, dtype=np.float32)
    own[:, 0] /= np.float32(np.sqrt(1 - rho**2))  # as if it had always run
    b, a = np.float32([np.sqrt(1 - rho**2)]), np.float32([1, -rho])
    white += lfilter(b, a, own, axis=1)
    white *= (subject.thermal / np.sqrt(2)).astype(np.float32)[:, None]
    return white


def _physiological(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Time courses (volume, component) float32 of unit variance: slow ones, breath and pulse."""
    from scipy.signal import lfilter

    own = rng.standard_normal((len(times) + 50, N_PHYSIOLOGICAL))
    courses = lfilter([1.0], [1.0, -0.75], own, axis=0)[50:]
    for column, (frequency, wander) in enumerate([(0.27, 0.02), (1.1, 0.05)]):
        phase = 2 * np.pi * frequency * times + (wander * rng.standard_normal(len(times))).cumsum()
        courses[:, column] = np.cos(phase + rng.uniform(0, 2 * np.pi))
    return ((courses - courses.mean(0)) / courses.std(0)).astype(np.float32)


def _motion(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Six parameters (volume, 6), mm and rad: slow wander and a few sudden moves."""
    usual = np.array([0.1, 0.1, 0.1, 0.002, 0.002, 0.002])
    knots = np.arange(0, times[-1] + 60, 20.0)
    walk = rng.standard_normal((len(knots), 6)).cumsum(0)
    courses = np.stack([np.interp(times, knots, column) for column in walk.T], 1)
    for when in rng.uniform(0, times[-1], rng.poisson(times[-1] / 150)):
        courses[times > when] += rng.standard_normal(6)
    courses = (courses - courses[0]) / (courses.std(0) + 1e-12)
    return np.round(courses * usual, 6)  # as the table has them, so that they explain all of it


def write_masks(subject: Subject, root: Path) -> None:
    """Masks of the brain and of its regions, as ``derivatives/rois``."""
    import nibabel

    cortex = subject.cortex
    folder = root / "derivatives" / "rois" / f"sub-{subject.label}"
    staging = root / ".simulating" / f"rois-{subject.label}"
    remove(staging)
    for place in (folder, staging):
        place.mkdir(parents=True, exist_ok=True)
    masks = {"brain": np.ones(len(cortex.index), bool)}
    masks |= {name: cortex.region == name for name in (*MAPS, *PATCHES)}
    for name, member in masks.items():
        image = nibabel.Nifti1Image(cortex.image(member.astype(np.uint8)), cortex.affine)
        image.header.set_xyzt_units("mm")
        file = staging / f"sub-{subject.label}_label-{name}_mask.nii.gz"
        with says_disk_full(root):
            nibabel.save(image, file)
        os.replace(file, folder / file.name)
    remove(staging)
    for name, what in (("rois", "Masks of regions"), ("fmriprep", "Confounds")):
        about = {
            "Name": f"{what} of simulated subjects",
            "BIDSVersion": "1.9.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "neurovis simulate"}],
        }
        write_json(root / "derivatives" / name / "dataset_description.json", about)


def write_run(
    subject: Subject, root: Path, session: str, run: str, soa: float,
    events: dict[str, np.ndarray], z: np.ndarray, seed: Any,
) -> None:  # fmt: skip
    """Simulate one run and put its BIDS files into a root; the events file comes last.

    Parameters
    ----------
    subject : Subject
    root : Path
        The BIDS dataset; the run grows in its folder ``.simulating``.
    session, run : str
    soa : float, s
        Slot of a trial.
    events : dict of array (trial,)
        ``sample`` (ms), ``duration``, and what `EVENT_COLUMNS` names.
    z : array (trial, feature)
    seed : int or sequence of int
    """
    import pandas as pd

    modality = subject.modality
    final = modality.recording(root, subject.label, session, run)
    staging = root / ".simulating" / final.name.removesuffix(".nii.gz")
    remove(staging)
    staging.mkdir(parents=True)
    onset = events["sample"] / 1000
    n_volumes = int(np.ceil((onset[-1] + soa + modality.padding[1]) / modality.tr))
    signal, confounds = record(subject, z, onset, n_volumes, seed)
    with says_disk_full(root):
        _write_volumes(subject, signal, staging / final.name, [*np.ravel(seed), 1])
        sidecar = {
            "RepetitionTime": modality.tr,
            "TaskName": TASK,
            "Manufacturer": "simulated",
            "SliceTimingCorrected": True,
            "StartTime": modality.tr / 2,
        }
        write_json(staging / final.name.replace(".nii.gz", ".json"), sidecar)
        moved = pd.DataFrame(confounds)
        steps = np.abs(np.diff(moved[list(MOTION)], axis=0) * [1, 1, 1, 50, 50, 50]).sum(1)
        moved["framewise_displacement"] = np.concatenate([[np.nan], steps])
        table = final.name.replace("_bold.nii.gz", "_desc-confounds_timeseries.tsv")
        moved.to_csv(staging / table, sep="\t", index=False, na_rep="n/a", float_format="%.6f")
        shown = pd.DataFrame({"onset": onset, "duration": events["duration"]})
        shown = shown.assign(**{name: events[name] for name in EVENT_COLUMNS})
        name = events_file(final).name
        shown.to_csv(staging / name, sep="\t", index=False, float_format="%.3f")
    described = {name: {"Description": what} for name, what in EVENT_COLUMNS.items()}
    write_json(staging / name.replace(".tsv", ".json"), described)
    beside = root / "derivatives" / "fmriprep" / final.parent.relative_to(root)
    for place in (final.parent, beside):
        place.mkdir(parents=True, exist_ok=True)
    os.replace(staging / table, beside / table)
    for file in sorted(staging.iterdir(), key=lambda f: f.name.endswith("events.tsv")):
        os.replace(file, final.parent / file.name)
    remove(staging)


def _write_volumes(subject: Subject, signal: np.ndarray, file: Path, seed: Any) -> None:
    """Volumes as int16 with a slope; outside the brain there is faint noise."""
    import nibabel

    cortex = subject.cortex
    shape, n_volumes = cortex.shape, signal.shape[1]
    rng = np.random.default_rng(seed)
    volumes = np.empty((n_volumes, int(np.prod(shape))), np.int16)
    inside = np.ravel_multi_index(tuple(cortex.index.T), shape, order="F")
    for row in volumes:  # x runs fastest on disk
        row[:] = np.abs(rng.standard_normal(len(row), dtype=np.float32)) * (8 / SLOPE)
    volumes[:, inside] = np.rint(np.clip(signal.T / SLOPE, -32000, 32000))
    image = nibabel.Nifti1Image(volumes.reshape(n_volumes, *shape[::-1]).T, cortex.affine)
    image.header.set_zooms((*[subject.modality.voxel_size] * 3, subject.modality.tr))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(SLOPE, 0)
    nibabel.save(image, file)


def truth_of(subject: Subject, features: Features) -> tuple[dict, dict]:
    """What the observers may know of all voxels of the brain.

    The expected response of voxel v to an image is ``weight[v] @ z[image] + constant[v]`` in % of its
    mean signal, at the peak of the response; 0 for voxels that are not among `responds`.
    """
    cortex = subject.cortex
    rows = cortex.responds
    data = {
        "image": features.image,
        "z": features.z,
        "feature_stage": features.stage,
        "channel_name": cortex.name,
        "index": cortex.index.astype(np.int16),
        "position": (cortex.position / 1000).astype(np.float32),
        "region": cortex.region,
        "base": subject.base.astype(np.float32),
        "responds": rows.astype(np.int32),
        "weight": cortex.weight[rows],
        "constant": cortex.constant[rows].astype(np.float32),
        "field_centre": cortex.centre[rows].astype(np.float32),
        "field_size": cortex.size[rows].astype(np.float32),
        "bad": cortex.name[subject.dead],
        "noise_pattern": np.concatenate(
            [subject.physiological, subject.drift, subject.leak.astype(np.float32)], axis=1
        ),
        "noise_white": subject.thermal,
        "response": subject.response,
    }
    attributes = {
        "tr": subject.modality.tr,
        "shape": cortex.shape,
        "response_step": STEP,
        "response_delay": subject.delay,
        "picture_width": PICTURE,
        "smoothness": SMOOTHNESS / 1000,
        "amplitude_jitter": AMPLITUDE_JITTER,
    }
    return data, attributes
