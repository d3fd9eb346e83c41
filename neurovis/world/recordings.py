"""Raw MEG and EEG of a simulated subject, written as BIDS files run by run.

Comes in: a subject, and which picture appears when. Goes out: responses, brain noise, alpha, line,
drift, blinks, saccades, bad channels and a trigger channel in physical units. All of it is one
matrix product of sensor patterns and time courses, in blocks of time; memory is one run.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.store import remove, says_disk_full, write_json
from neurovis.world.brains import (
    AMPLITUDE_JITTER,
    LATENCY_JITTER,
    Background,
    Brain,
    make_background,
    make_brain,
)
from neurovis.world.features import Features
from neurovis.world.modality import EVENT_COLUMNS, TASK, events_file
from neurovis.world.sensors import BRAIN_RADIUS, CENTRE, Sensors

PULSE = 0.02
LINE = 50.0
BLINKS = 0.2
SACCADES = 0.4
"""Blinks and saccades per second."""


@dataclass(frozen=True)
class Subject:
    """One simulated subject under one device.

    Parameters
    ----------
    number : int
    modality : Sensors
    brain : Brain
    background : Background
    nuisance : array (channel, component), V or T
        Patterns of line, harmonic, blinks, saccades and drift, in the order of `nuisance_courses`.
    head_position : array (4, 4)
    flat, noisy, marked : int
        Bad channels: constant; noisy but left to be detected; noisy and marked as bad.
    """

    number: int
    modality: Sensors
    brain: Brain
    background: Background
    nuisance: np.ndarray
    head_position: np.ndarray
    flat: int
    noisy: int
    marked: int

    @property
    def label(self) -> str:
        """Number of the subject with two digits."""
        return f"{self.number:02d}"


def make_subject(
    number: int,
    modality: Sensors,
    features: Features,
    sfreq: float,
    duration: float,
    snr: float,
    seed: int,
) -> Subject:
    """Build one subject; equal arguments give an equal subject.

    Parameters
    ----------
    number : int
        From 1.
    modality : Sensors
    features : Features
    sfreq : float, Hz
    duration : float, s
        How long pictures are shown.
    snr : float
        Root mean square of what differs between images (over images, sensors and 0.6 s) relative to
        that of brain and sensor noise between 1 and 40 Hz, on a single trial.
    seed : int
        Of the study.
    """
    rng = np.random.default_rng([seed, 23, number])
    head_position = _head_position(rng)
    background = make_background(modality, seed, number, head_position)
    level = snr * background.strength()
    brain = make_brain(features, modality, sfreq, duration, level, seed, number, head_position)
    places = np.array([channel["loc"][:3] for channel in modality.info(sfreq)["chs"]])
    bad = rng.choice(len(places), 3, replace=False)
    nuisance = _nuisance_patterns(modality, places, head_position, rng)
    return Subject(number, modality, brain, background, nuisance, head_position, *map(int, bad))


def record(
    subject: Subject,
    z: np.ndarray,
    onset: np.ndarray,
    n_times: int,
    sfreq: float,
    seed: Any,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Signals of one run.

    Parameters
    ----------
    subject : Subject
    z : array (trial, feature)
    onset : array (trial,), samples
    n_times : int
    sfreq : float, Hz
    seed : int or sequence of int
    out : array (channel, time), float64, optional
        Where to put the signals.

    Returns
    -------
    array (channel, time), float64, V or T
    """
    rng = np.random.default_rng(seed)
    background, brain = subject.background, subject.brain
    modes, rhythm = background.draw(n_times, sfreq, rng)
    sources = brain.activity(z, onset, n_times, rng)
    nuisance = nuisance_courses(n_times, sfreq, rng)
    patterns = np.concatenate(
        [background.pattern, background.rhythm, brain.topography, subject.nuisance], axis=1
    )
    patterns = patterns.astype(np.float32)
    courses = (modes, rhythm, sources, nuisance)
    signal = np.empty((len(patterns), n_times)) if out is None else out
    for start in range(0, n_times, 8192):
        block = slice(start, start + 8192)
        signal[:, block] = patterns @ np.concatenate([course[:, block] for course in courses])
    level = background.strength(1.0, sfreq / 2)
    for bad in (subject.noisy, subject.marked):
        signal[bad] += 12 * level * rng.standard_normal(n_times)
    signal[subject.flat] = 0
    return signal


def nuisance_courses(n_times: int, sfreq: float, rng: np.random.Generator) -> np.ndarray:
    """Line, its harmonic (two phases each), blinks, saccades and six slow drifts.

    Returns
    -------
    array (component, time), float32, unit 1
    """
    times = np.arange(n_times) / sfreq
    seconds = n_times / sfreq
    knots = np.arange(0, seconds + 8, 4.0)
    size = np.interp(times, knots, 1 + 0.15 * rng.standard_normal(len(knots)))
    phase = 2 * np.pi * (LINE * times + rng.uniform())
    line = [size * np.cos(phase), size * np.sin(phase)]
    line += [0.3 * np.cos(2 * phase), 0.3 * np.sin(2 * phase)]
    blinks = np.zeros(n_times)
    lid = np.hanning(max(3, round(0.35 * sfreq))) ** 2
    for start in rng.integers(0, max(1, n_times - len(lid)), rng.poisson(BLINKS * seconds)):
        room = blinks[start : start + len(lid)]
        room += rng.uniform(0.6, 1.2) * lid[: len(room)]
    jumps = np.zeros(n_times)
    where = rng.integers(0, n_times, rng.poisson(SACCADES * seconds))
    target = rng.normal(0, 0.15, len(where))
    where.sort()
    jumps[where] = np.diff(target, prepend=0.0)
    drift = rng.standard_normal((6, len(knots))).cumsum(1)
    drift = (drift - drift.mean(1, keepdims=True)) / (drift.std(1, keepdims=True) + 1e-12)
    slow = [np.interp(times, knots, row) / np.sqrt(6) for row in drift]
    return np.array([*line, blinks, jumps.cumsum(), *slow], dtype=np.float32)


def write_run(
    subject: Subject,
    root: Path,
    session: str,
    run: str,
    sfreq: float,
    trigger_lag: int,
    events: dict[str, np.ndarray],
    z: np.ndarray,
    n_times: int,
    seed: Any,
) -> None:
    """Simulate one run and put its BIDS files into a root; the events file comes last.

    Parameters
    ----------
    subject : Subject
    root : Path
        The BIDS dataset; the run grows in its folder ``.simulating``.
    session, run : str
    sfreq : float, Hz
    trigger_lag : int, samples
        How much later than the picture its mark on the trigger channel is.
    events : dict of array (trial,)
        ``sample`` and ``value``, and what else belongs into ``events.tsv``.
    z : array (trial, feature)
    n_times : int
    seed : int or sequence of int
    """
    import mne
    import mne_bids
    import pandas as pd

    modality = subject.modality
    final = modality.recording(root, subject.label, session, run)
    staging = root / ".simulating" / final.stem
    remove(staging)
    kind = modality.datatype
    place = mne_bids.BIDSPath(
        root=staging, subject=subject.label, session=session, run=run, task=TASK, datatype=kind,
        suffix=kind, extension=final.suffix,
    )  # fmt: skip
    n_chans = len(subject.brain.topography)
    signal = np.zeros((n_chans + 1, n_times))
    record(subject, z, events["sample"], n_times, sfreq, seed, out=signal[:-1])
    for sample, value in zip(events["sample"] + trigger_lag, events["value"], strict=True):
        signal[-1, sample : sample + max(2, round(PULSE * sfreq))] = value
    with quiet_mne():
        sensors = modality.info(sfreq, subject.head_position)
        types = [*sensors.get_channel_types(), "stim"]
        info = mne.create_info([*sensors["ch_names"], modality.trigger], sfreq, types)
        for channel, sensor in zip(info["chs"], sensors["chs"]):
            channel.update(sensor)
        info["bads"] = [sensors["ch_names"][subject.marked]]
        with info._unlock():
            info["line_freq"] = LINE
            info["dev_head_t"], info["dig"] = sensors["dev_head_t"], sensors["dig"]
        raw = mne.io.RawArray(signal, info, copy=None)
        days, minutes = int(session) + 30 * subject.number, 10 * int(run)
        start = datetime.datetime(2026, 1, 1, 9, tzinfo=datetime.UTC)
        raw.set_meas_date(start + datetime.timedelta(days=days, minutes=minutes))
        raw.orig_format = "single"
        raw.copy = lambda: raw  # mne_bids copies what it writes: a second run in memory
        columns = list(EVENT_COLUMNS)
        with says_disk_full(root):
            mne_bids.write_raw_bids(
                raw,
                place,
                events=np.stack([events["sample"], 0 * events["sample"], events["value"]], 1),
                event_metadata=pd.DataFrame({name: events[name] for name in columns}),
                extra_columns_descriptions={k: EVENT_COLUMNS[k] for k in columns},
                format="FIF" if modality.datatype == "meg" else "BrainVision",
                allow_preload=True,
                readme=False,
                verbose="error",
            )
    destination = final.parent
    folder = staging / destination.relative_to(root)
    table = pd.DataFrame({"onset": events["sample"] / sfreq, **events})
    table = table[["onset", "duration", "trial_type", "value", "sample", *columns[1:]]]
    table.to_csv(folder / events_file(final).name, sep="\t", index=False)
    sidecar = (folder / final.name).with_suffix(".json")
    content = json.loads(sidecar.read_text(encoding="utf-8"))
    content["TriggerLag"] = trigger_lag / sfreq
    content["Manufacturer"] = "simulated"
    write_json(sidecar, content)
    destination.mkdir(parents=True, exist_ok=True)
    for file in sorted(folder.iterdir(), key=lambda f: f.name.endswith("events.tsv")):
        os.replace(file, destination / file.name)
    remove(staging)


def truth_of(subject: Subject, features: Features, plan: Any) -> tuple[dict, dict]:
    """What the observers may know: features, weights, time courses, topographies.

    The expected response of channel c at time t to an image is the sum over sources s of
    ``topography[c, s] * (weight[s] @ z[image] + constant[s]) * course[s, t]``.
    """
    brain = subject.brain
    names = subject.modality.info(plan.sfreq)["ch_names"]
    data = {
        "image": features.image,
        "z": features.z,
        "feature_stage": features.stage,
        "weight": brain.weight,
        "constant": brain.constant,
        "course": brain.expected_course,
        "topography": brain.topography,
        "stage": brain.stage,
        "latency": brain.latency,
        "position": brain.position,
        "orientation": brain.orientation,
        "channel_name": np.array(names),
        "bad": np.array([names[subject.flat], names[subject.noisy], names[subject.marked]]),
        "noise_pattern": subject.background.pattern,
        "noise_power": subject.background.power,
    }
    attributes = {
        "sfreq": plan.sfreq,
        "trigger_lag": plan.lag_samples / plan.sfreq,
        "noise_white": subject.background.white,
        "latency_jitter": LATENCY_JITTER,
        "amplitude_jitter": AMPLITUDE_JITTER,
    }
    return data, attributes


@contextlib.contextmanager
def quiet_mne():
    """Silence mne where it speaks of what is meant to be so."""
    import mne

    with mne.use_log_level("error"):
        yield


def _head_position(rng: np.random.Generator) -> np.ndarray:
    """Device to head: a few millimetres and degrees away from the helmet's middle."""
    from scipy.spatial.transform import Rotation

    position = np.eye(4)
    position[:3, :3] = Rotation.from_rotvec(np.deg2rad(3) * rng.standard_normal(3)).as_matrix()
    position[:3, 3] = CENTRE - position[:3, :3] @ CENTRE + 0.003 * rng.standard_normal(3)
    return position


def _nuisance_patterns(
    modality: Sensors, places: np.ndarray, head_position: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    eyes = np.array([[0.35, 0.95, -0.15], [-0.35, 0.95, -0.15]])
    eyes = CENTRE + 1.0 * BRAIN_RADIUS * eyes / np.linalg.norm(eyes, axis=1, keepdims=True)
    gain = modality.gain(eyes, head_position).sum(1)
    blink = gain @ np.array([0.0, 0.3, 1.0])
    saccade = gain @ np.array([1.0, 0.2, 0.0])
    eye_patterns = [modality.blink * x / np.abs(x).max() for x in (blink, saccade)]
    x, y, z = ((places - CENTRE) / 0.1).T
    shapes = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x**2 - y**2], 1)

    def smooth(count: int, level: float) -> list[np.ndarray]:
        patterns = shapes @ rng.standard_normal((shapes.shape[1], count))
        return list(level * (patterns / np.sqrt((patterns**2).mean(0))).T)

    line = smooth(2, modality.line)
    return np.stack([*line, *line, *eye_patterns, *smooth(6, modality.drift)], 1)
