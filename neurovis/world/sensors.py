"""What carries a simulated brain to the outside: a measuring device and its forward solution.

Comes in: dipole positions in the head (m). Goes out: an mne ``Info`` and the gain of each dipole at
each sensor. Spheres stand for the head, so nothing has to be downloaded; mne computes the fields. A
modality is a component, so that another kind of device is another class.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from neurovis.config import Family

CENTRE = np.array([0.0, 0.0, 0.04])
"""Centre of the head's spheres in head coordinates, m."""
HEAD_RADIUS = 0.09
BRAIN_RADIUS = 0.076


class Modality(Family, family="modalities"):
    """A measuring device; subclass with a name to add one.

    Levels are amplitude densities or amplitudes in the device's unit; they fix how large the
    background is, not how well images can be told apart, which `snr` alone does. Its default is
    where the informed observer names a single trial's image among 200 in about 30 % of trials
    (mean of the default design's two subjects: MEG 31 %, EEG 31 %; averaged over 12 repeats 97 %
    and 96 %), as ``python -m experiments.benchmarks.limits --modality meg`` (or ``eeg``) prints.
    """

    datatype: ClassVar[str]
    unit: ClassVar[str]
    trigger: ClassVar[str]
    default_snr: ClassVar[float]
    background: ClassVar[float]
    """Brain background at 10 Hz, unit per root Hz, mean over sensors."""
    sensor_noise: ClassVar[float]
    """White noise of a sensor, unit per root Hz."""
    alpha: ClassVar[float]
    """Root mean square of the alpha rhythm at the sensors that see it best."""
    line: ClassVar[float]
    """Amplitude of the 50 Hz line."""
    blink: ClassVar[float]
    """Peak of a blink at the sensor that sees it best."""
    drift: ClassVar[float]
    """Root mean square of slow drift."""

    def info(self, sfreq: float, head_position: np.ndarray | None = None) -> Any:
        """Describe the sensors.

        Parameters
        ----------
        sfreq : float, Hz
        head_position : array (4, 4), optional
            Rigid transform from device to head coordinates.

        Returns
        -------
        mne.Info
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what its sensors are")

    def gain(self, positions: np.ndarray, head_position: np.ndarray | None = None) -> np.ndarray:
        """Field of unit dipoles along x, y and z of the head.

        Parameters
        ----------
        positions : array (dipole, 3), m, head coordinates
        head_position : array (4, 4), optional

        Returns
        -------
        array (channel, dipole, 3), unit per A m
        """
        return _sphere_gain(self.info(1000.0, head_position), positions)


class Meg(Modality, name="meg"):
    """A CTF-like helmet: first-order axial gradiometers with a baseline of 5 cm."""

    datatype = "meg"
    unit = "T"
    trigger = "UPPT001"
    default_snr = 0.092
    background = 22e-15
    sensor_noise = 4e-15
    alpha = 250e-15
    line = 400e-15
    blink = 1.5e-12
    drift = 600e-15

    n_chans: int = 270

    def info(self, sfreq: float, head_position: np.ndarray | None = None) -> Any:
        import mne
        from mne.io.constants import FIFF

        outward = helmet(self.n_chans)
        info = mne.create_info([f"MEG{i:04d}" for i in range(1, self.n_chans + 1)], sfreq, "mag")
        for channel, normal in zip(info["chs"], outward, strict=True):
            side = np.cross(normal, [0.0, 1.0, 0.0] if abs(normal[1]) < 0.9 else [1.0, 0.0, 0.0])
            side /= np.linalg.norm(side)
            place = CENTRE + normal * (HEAD_RADIUS + 0.018)
            channel["coil_type"] = FIFF.FIFFV_COIL_CTF_GRAD
            channel["coord_frame"] = FIFF.FIFFV_COORD_DEVICE
            channel["loc"] = np.concatenate([place, side, np.cross(normal, side), normal])
        transform = np.eye(4) if head_position is None else head_position
        with info._unlock():
            info["dev_head_t"] = mne.transforms.Transform("meg", "head", transform)
        info.set_montage(_fiducials(), on_missing="ignore")
        return info


class Eeg(Modality, name="eeg"):
    """A standard montage of 64 electrodes against one on the nose that is not recorded."""

    datatype = "eeg"
    unit = "V"
    trigger = "STI 014"
    default_snr = 0.092
    background = 1.6e-6
    sensor_noise = 0.12e-6
    alpha = 8e-6
    line = 4e-6
    blink = 120e-6
    drift = 20e-6

    montage: str = "biosemi64"

    def info(self, sfreq: float, head_position: np.ndarray | None = None) -> Any:
        import mne

        montage = mne.channels.make_standard_montage(self.montage)
        info = mne.create_info(montage.ch_names, sfreq, "eeg")
        info.set_montage(montage)
        return info

    def gain(self, positions: np.ndarray, head_position: np.ndarray | None = None) -> np.ndarray:
        import mne

        montage = mne.channels.make_standard_montage(self.montage)
        places = montage.get_positions()
        nose = places["nasion"] + np.array([0.0, 0.0, -0.02])
        with_nose = mne.channels.make_dig_montage(
            {**places["ch_pos"], "nose": nose},
            **{key: places[key] for key in ("nasion", "lpa", "rpa")},
        )
        info = mne.create_info([*montage.ch_names, "nose"], 1000.0, "eeg")
        info.set_montage(with_nose)
        gain = _sphere_gain(info, positions)
        return gain[:-1] - gain[-1:]


def helmet(n_chans: int) -> np.ndarray:
    """Outward directions of sensors spread evenly over a helmet that leaves the face free.

    Returns
    -------
    array (channel, 3)
    """
    low, high = n_chans, 3 * n_chans
    while low < high:  # the number of points on the whole sphere that leaves n_chans covered
        middle = (low + high) // 2
        if len(_covered(middle)) < n_chans:
            low = middle + 1
        else:
            high = middle
    return _covered(low)[:n_chans]


def _covered(n_points: int) -> np.ndarray:
    index = np.arange(n_points) + 0.5
    z = 1 - 2 * index / n_points
    angle = np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - z**2)
    points = np.stack([flat * np.cos(angle), flat * np.sin(angle), z], 1)
    rim = np.where(points[:, 1] > 0, -0.35 + 0.55 * points[:, 1], -0.35)
    return points[points[:, 2] > rim]


def _fiducials() -> Any:
    import mne

    return mne.channels.make_dig_montage(
        nasion=(0.0, 0.095, 0.0), lpa=(-0.078, 0.0, 0.0), rpa=(0.078, 0.0, 0.0), coord_frame="head"
    )


def _sphere_gain(info: Any, positions: np.ndarray) -> np.ndarray:
    import mne

    positions = np.asarray(positions, dtype=float)
    ahead = np.tile([0.0, 0.0, 1.0], (len(positions), 1))
    sphere = mne.make_sphere_model(CENTRE, HEAD_RADIUS, verbose="error")
    place = {"rr": positions, "nn": ahead}
    source = mne.setup_volume_source_space(
        pos=place, sphere=sphere, sphere_units="m", mindist=0.0, verbose="error"
    )
    forward = mne.make_forward_solution(
        info, trans=None, src=source, bem=sphere, mindist=0.0, verbose="error"
    )
    gain = forward["sol"]["data"]
    return gain.reshape(len(gain), -1, 3)
