"""A simulated brain: sources that respond to image features, and everything that hides them.

Comes in: source features and a modality. Goes out: a `Brain`, whose expected response to an image
is a sum over sources of weight x time course x topography, so that the truth stays small and exact;
and a `Background`, Gaussian noise with a known spectrum and as many spatial modes as sensors,
because with fewer of them whitening would make decoding trivial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurovis.world.features import CENTRES, Features
from neurovis.world.sensors import BRAIN_RADIUS, CENTRE, Sensors

LATENCY_JITTER = 0.008
AMPLITUDE_JITTER = 0.2
SHARED = 0.7
STEP = 0.0005
SHIFTS = np.arange(-0.02, 0.02 + STEP / 2, STEP)
"""Latencies a trial may have relative to the subject's mean, s."""

# stage: sources, peak latencies (s), widths (s), share of what differs between images, and how
# large the response to any image is relative to that
STAGES = {
    "early": (27, (0.070, 0.110), (0.010, 0.016), 1.0, 2.0),
    "intermediate": (24, (0.115, 0.190), (0.016, 0.026), 0.9, 1.4),
    "late": (40, (0.170, 0.420), (0.030, 0.060), 0.9, 0.8),
    "offset": (9, (0.080, 0.120), (0.012, 0.020), 0.5, 1.0),
}
SPOTS = {  # directions from the centre of the head, one hemisphere; the other is its mirror image
    "intermediate": [(0.45, -0.85, -0.2), (0.65, -0.7, -0.1), (0.6, -0.6, -0.35), (0.4, -0.8, 0.3)],
    "late": [(0.8, -0.3, -0.35), (0.9, -0.1, -0.1), (0.55, -0.5, 0.65), (0.7, 0.3, -0.3)],
}


@dataclass(frozen=True)
class Brain:
    """One subject: how every source responds and reaches the sensors.

    Parameters
    ----------
    weight : array (source, feature)
        Response to each feature, relative to the source's unit.
    constant : array (source,)
        Response to any picture at all.
    course : array (source, shift, time)
        Time course from picture onset for every shift of `SHIFTS`, unit 1.
    topography : array (channel, source), V or T
    stage : array (source,) of str
    latency : array (source,), s
        Peak of the unshifted time course.
    position, orientation : array (source, 3), m and unit vectors, head coordinates
    """

    weight: np.ndarray
    constant: np.ndarray
    course: np.ndarray
    topography: np.ndarray
    stage: np.ndarray
    latency: np.ndarray
    position: np.ndarray
    orientation: np.ndarray

    @property
    def shift_probability(self) -> np.ndarray:
        """Probability of every shift (shift,)."""
        density = np.exp(-0.5 * (SHIFTS / LATENCY_JITTER) ** 2)
        return density / density.sum()

    @property
    def expected_course(self) -> np.ndarray:
        """Time course averaged over the trials' latencies (source, time)."""
        return np.einsum("skt,k->st", self.course, self.shift_probability).astype(np.float32)

    def response(self, z: np.ndarray) -> np.ndarray:
        """Expected noiseless response.

        Parameters
        ----------
        z : array (image, feature)

        Returns
        -------
        array (image, channel, time), V or T
        """
        drive = z @ self.weight.T + self.constant
        return np.einsum(
            "cs,is,st->ict", self.topography, drive, self.expected_course, optimize=True
        )

    def activity(
        self, z: np.ndarray, onset: np.ndarray, n_times: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Activity of the sources in one run, every trial with its own latency and amplitude.

        Parameters
        ----------
        z : array (trial, feature)
        onset : array (trial,), samples
        n_times : int
        rng : numpy.random.Generator

        Returns
        -------
        array (source, time), float32, unit 1
        """
        length = self.course.shape[-1]
        total = np.zeros((len(self.stage), n_times + length), dtype=np.float32)
        shift = rng.choice(len(SHIFTS), size=len(z), p=self.shift_probability)
        amplitude = np.clip(1 + AMPLITUDE_JITTER * rng.standard_normal(len(z)), 0.2, 1.8)
        drive = ((z @ self.weight.T + self.constant) * amplitude[:, None]).astype(np.float32)
        for start, k, strength in zip(onset, shift, drive, strict=True):
            total[:, start : start + length] += strength[:, None] * self.course[:, k]
        return total[:, :n_times]


def make_brain(
    features: Features,
    modality: Sensors,
    sfreq: float,
    duration: float,
    level: float,
    seed: int,
    subject: int,
    head_position: np.ndarray,
) -> Brain:
    """Build one subject's brain.

    Parameters
    ----------
    features : Features
    modality : Sensors
    sfreq : float, Hz
        Rate of the recording.
    duration : float, s
        How long a picture is shown; its offset evokes a response too.
    level : float, V or T
        Root mean square over images, sensors and the first 0.6 s of what differs between images, in
        a subject of average gain.
    seed : int
        Of the study: what all subjects share depends on it alone.
    subject : int
        Number of the subject.
    head_position : array (4, 4)

    Returns
    -------
    Brain
    """
    common = np.random.default_rng([seed, 11])
    own = np.random.default_rng([seed, 13, subject])
    parts = []
    for stage in STAGES:
        parts.append(_stage(stage, features, duration, common, own))
    weight, constant, position, orientation, latency, width = (
        np.concatenate(x) for x in zip(*parts, strict=True)
    )
    stage = np.repeat(list(STAGES), [STAGES[s][0] for s in STAGES])
    gain = modality.gain(position, head_position)
    topography = np.einsum("csd,sd->cs", gain, orientation)
    topography /= np.sqrt((topography**2).mean(0))
    share = np.array([STAGES[s][3] / np.sqrt(STAGES[s][0]) for s in stage])
    topography = topography * share
    length = int(np.ceil((latency + 4 * width).max() * sfreq + SHIFTS[-1] * sfreq)) + 1
    course = _course(np.arange(length) / sfreq, latency, width)
    brain = Brain(weight, constant, course, topography, stage, latency, position, orientation)
    gain = np.exp(0.15 * own.standard_normal())
    scale = level * gain / _image_driven(brain, features, round(0.6 * sfreq))
    return replace(brain, topography=topography * scale)


def _image_driven(brain: Brain, features: Features, n_times: int) -> float:
    """Root mean square over images, sensors and time of the response minus its mean over images."""
    drive = brain.weight @ np.corrcoef(features.z.T) @ brain.weight.T
    course = brain.expected_course[:, :n_times]
    power = drive * (brain.topography.T @ brain.topography) * (course @ course.T)
    return float(np.sqrt(power.sum() / (len(brain.topography) * n_times)))


def _stage(
    stage: str,
    features: Features,
    duration: float,
    common: np.random.Generator,
    own: np.random.Generator,
) -> tuple[np.ndarray, ...]:
    """Weights, positions and times of one stage's sources; what is shared comes from `common`."""
    n_sources, latencies, widths, _, always = STAGES[stage]
    content = "early" if stage == "offset" else stage
    mine = features.stage == content

    def mixed(*shape: int) -> np.ndarray:
        shared, apart = common.standard_normal(shape), own.standard_normal(shape)
        return np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * apart

    weight = np.zeros((n_sources, len(features.stage)))
    weight[:, mine] = mixed(n_sources, mine.sum())
    if content == "early":
        centre = np.arange(n_sources) % len(CENTRES)
        apart = np.linalg.norm(CENTRES[centre][:, None] - CENTRES[features.field[mine]], axis=-1)
        weight[:, mine] *= np.exp(-0.5 * (apart / 0.25) ** 2)
        direction, normal = _visual_cortex(centre)
        normal = normal + 0.5 * common.standard_normal((n_sources, 3))
    else:
        spots = np.array(SPOTS[content])[np.arange(n_sources) // 2 % len(SPOTS[content])]
        side = np.where(np.arange(n_sources) % 2, -1.0, 1.0)
        direction = spots * np.stack([side, np.ones(n_sources), np.ones(n_sources)], 1)
        direction = direction + 0.18 * common.standard_normal((n_sources, 3))
        normal = common.standard_normal((n_sources, 3))
    # each source's drive has unit variance over training-like images, whose features are standard
    spread = np.sqrt(np.einsum("sf,fg,sg->s", weight, np.corrcoef(features.z.T), weight))
    weight /= np.maximum(spread, 1e-6)[:, None]

    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    depth = BRAIN_RADIUS * common.uniform(0.78, 0.9, (n_sources, 1))
    position = CENTRE + direction * depth + 0.003 * own.standard_normal((n_sources, 3))
    normal = normal - 0.7 * (normal * direction).sum(1, keepdims=True) * direction
    normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    normal = normal + 0.25 * own.standard_normal((n_sources, 3))
    orientation = normal / np.linalg.norm(normal, axis=1, keepdims=True)

    latency = np.linspace(*latencies, n_sources)[common.permutation(n_sources)]
    latency = latency + 0.005 * own.standard_normal()
    if stage == "offset":
        latency = latency + duration
    width = common.uniform(*widths, n_sources)
    return weight, always * mixed(n_sources), position, orientation, latency, width


def _visual_cortex(centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a part of the visual field lands: mirrored, upside down, the fovea at the pole."""
    x, y = CENTRES[centre].T
    direction = np.stack([-0.15 * np.sign(x) - 0.25 * x, np.full(len(x), -1.0), 0.1 - 0.4 * y], 1)
    direction[:, 1] += 0.35 * np.hypot(x, y)
    normal = np.stack([np.where(x > 0, 0.8, -0.8), 0.2 * np.ones(len(x)), 0.3 - y], 1)
    return direction, normal


def _course(times: np.ndarray, latency: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Peak followed by a weaker undershoot (source, shift, time); largest at the latency."""
    since = times[None, None, :] - latency[:, None, None] - SHIFTS[None, :, None]
    width = width[:, None, None]
    peak = np.exp(-0.5 * (since / width) ** 2)
    dip = np.exp(-0.5 * ((since - 2.2 * width) / (1.3 * width)) ** 2)
    return (peak - 0.4 * dip).astype(np.float32)


@dataclass(frozen=True)
class Background:
    """Gaussian noise of brain and sensors, diagonal in a fixed basis of sensor patterns.

    Parameters
    ----------
    pattern : array (channel, mode)
        Orthonormal sensor patterns.
    power : array (mode,), unit squared per Hz
        Brain noise at 10 Hz along each pattern.
    white : float, unit per root Hz
        Sensor noise.
    rhythm : array (channel, generator), V or T
        Patterns of the alpha generators, each with unit variance over time.
    """

    pattern: np.ndarray
    power: np.ndarray
    white: float
    rhythm: np.ndarray

    def strength(self, low: float = 1.0, high: float = 40.0) -> float:
        """Root mean square over sensors between two frequencies (Hz): what `snr` is relative to."""
        frequency = np.linspace(low, high, 400)
        density = (_pink(frequency)[:, None] * self.power + self.white**2).sum(1)
        return float(np.sqrt(density.mean() * (high - low) / len(self.pattern)))

    def draw(
        self, n_times: int, sfreq: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Time courses whose product with the patterns is the noise.

        Returns
        -------
        modes : array (mode, time), float32
        rhythm : array (generator, time), float32
        """
        from scipy import fft

        n_fft = fft.next_fast_len(n_times, real=True)
        frequency = np.fft.rfftfreq(n_fft, 1 / sfreq)
        # irfft divides by n_fft; a bin of variance 2 * n_fft * sfreq / 4 per part gives density 1
        unit = np.sqrt(n_fft * sfreq / 4)
        pink = _pink(frequency)

        def coloured(amplitude: np.ndarray) -> np.ndarray:
            rows = np.empty((len(amplitude), n_times), dtype=np.float32)
            for row, shape in zip(rows, amplitude, strict=True):
                parts = rng.standard_normal(2 * len(frequency), dtype=np.float32)
                parts *= np.repeat(shape.astype(np.float32), 2)
                row[:] = fft.irfft(parts.view(np.complex64), n_fft)[:n_times]
            return rows

        modes = coloured(unit * np.sqrt(pink[None] * self.power[:, None].clip(0) + self.white**2))
        bump = np.exp(-0.5 * ((frequency - 10) / 0.8) ** 2)
        bump *= unit / np.sqrt((bump**2).sum() * sfreq / n_fft)
        return modes, coloured(np.broadcast_to(bump, (self.rhythm.shape[1], len(bump))))


def _pink(frequency: np.ndarray) -> np.ndarray:
    """Power relative to 10 Hz: 1/f^1.2, flat below 0.3 Hz."""
    return (np.maximum(frequency, 0.3) / 10) ** -1.2


def make_background(
    modality: Sensors, seed: int, subject: int, head_position: np.ndarray
) -> Background:
    """Background of one subject: many more dipoles all over the brain than there are sensors."""
    rng = np.random.default_rng([seed, 17, subject])
    direction = rng.standard_normal((700, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    direction[:, 2] = np.maximum(direction[:, 2], -0.5 + 0.2 * rng.random(700))
    position = CENTRE + direction * BRAIN_RADIUS * rng.uniform(0.5, 0.92, (700, 1))
    gain = modality.gain(position, head_position)
    strength = np.exp(0.5 * rng.standard_normal(700))
    field = (gain * strength[None, :, None]).reshape(len(gain), -1)
    power, pattern = np.linalg.eigh(field @ field.T)
    power *= modality.background**2 * len(gain) / power.sum()
    behind = np.flatnonzero(direction[:, 1] < -0.5)[:24]
    turn = rng.standard_normal((len(behind), 3))
    rhythm = np.einsum("cgd,gd->cg", gain[:, behind], turn)
    rhythm *= modality.alpha / np.sqrt((rhythm**2).sum(1)).max()
    return Background(pattern, power.clip(0), modality.sensor_noise, rhythm)
