"""MEG and EEG: what carries a simulated brain to the outside, a measuring device and its forward solution.

Comes in: dipole positions in the head (m). Goes out: an mne ``Info`` and the gain of each dipole at
each sensor. Spheres stand for the head, so nothing has to be downloaded; mne computes the fields. A
modality is a component, so that another kind of device is another class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from neurovis.errors import UsageError
from neurovis.world.modality import Modality

CENTRE = np.array([0.0, 0.0, 0.04])
"""Centre of the head's spheres in head coordinates, m."""
HEAD_RADIUS = 0.09
BRAIN_RADIUS = 0.076


class Sensors(Modality):
    """Sensors around the head; subclass with a name to add a device.

    Levels are amplitude densities or amplitudes in the device's unit; they fix how large the
    background is, not how well images can be told apart, which `snr` alone does.
    """

    padding = (2.0, 2.0)
    trigger: ClassVar[str]
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

    def check(self, plan: Any) -> None:
        if plan.sfreq is None or plan.trigger_lag is None:
            raise UsageError(
                f"Design.sfreq, Design.trigger_lag: expected numbers for {self.component}, found none; "
                "leave them out for their defaults."
            )
        if plan.soa - plan.soa_jitter <= plan.trigger_lag + 0.03:
            raise UsageError(
                f"Design.soa: expected more than soa_jitter + trigger_lag + 0.03 s, found {plan.soa}; "
                "present pictures more slowly."
            )

    def rate(self, plan: Any) -> float:
        return plan.sfreq

    def subject(self, number: int, features: Any, plan: Any) -> Any:
        from neurovis.world.recordings import make_subject

        return make_subject(
            number, self, features, plan.sfreq, plan.duration, plan.level, plan.seed
        )

    def truth(self, subject: Any, features: Any, plan: Any) -> tuple[dict, dict]:
        from neurovis.world.recordings import truth_of

        return truth_of(subject, features, plan)

    def write_run(
        self, subject: Any, root: Path, session: str, run: str, plan: Any, events: dict,
        z: np.ndarray, seed: Any,
    ) -> None:  # fmt: skip
        from neurovis.world.recordings import write_run

        n_times = self.n_times(plan, events)
        write_run(
            subject, root, session, run, plan.sfreq, plan.lag_samples, events, z, n_times, seed
        )

    def n_times(self, plan: Any, events: dict) -> int:
        """Length of a run in samples."""
        return int(events["sample"][-1] + (plan.soa + self.padding[1]) * plan.sfreq)


class Meg(Sensors, name="meg"):
    """A CTF-like helmet: first-order axial gradiometers with a baseline of 5 cm."""

    datatype = "meg"
    ending = "meg.fif"
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


class Eeg(Sensors, name="eeg"):
    """A standard montage of 64 electrodes against one on the nose that is not recorded."""

    datatype = "eeg"
    ending = "eeg.vhdr"
    unit = "V"
    trigger = "STI 014"
    default_snr = 0.095
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
