"""CTF ``.ds`` folders written from scratch: what MNE reads back is what was given, to the last bit.

Comes in: channels (axial gradiometers, references, ADC inputs, a trigger port, the system clock) and their
signals in SI units. Goes out: a folder with ``.res4`` (header, sensors, compensation), ``.meg4`` (trials of
big-endian integers, channel by channel) and the small files that acquisition leaves beside them. Integers
are what the format stores, so a signal is exact where it is a multiple of its channel's `quantum`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# sensor types of the format
REFERENCE_MAG, REFERENCE_GRAD, GRADIOMETER, TRIGGER, CLOCK, ADC = 0, 1, 5, 11, 17, 18
CLOCK_NAME = "SCLK01-177"
# Sensors of the NIH's 275-channel helmet that its recordings have, as region: first digits + second digits.
_LEFT = {
    "C": "1:1-7 2:1-5 3:1-2 4:1-2 5:1-5 6:1-3",
    "F": "1:1-4 2:1-5 3:1-5 4:1-6 5:1-6 6:1-7",
    "O": "1:1-4 2:1-4 3:1-4 4:1-4 5:1-3",
    "P": "1:1-2 2:1-3 3:1-5 4:1-5 5:1-7",
    "T": "1:1-6 2:1-7 3:1-7 4:1-7 5:1-7",
}
_MISSING = ("MLF25", "MRF43", "MRO13")
_MIDDLE = {"C": 4, "F": 3, "O": 3, "P": 1}
REFERENCES = (
    *(f"B{axis}{n}" for axis in "GPR" for n in (1, 2, 3)),
    *("G11", "G12", "G13", "G22", "G23", "P11", "P12", "P22", "P23", "Q11", "Q12", "Q13", "Q22"),
    *("Q23", "R11", "R12", "R13", "R22", "R23"),
)
INPUTS = ("UADC005", "UADC006", "UADC007", "UADC008", "UADC009", "UADC010", "UADC013", "UADC016")

_COIL = np.dtype(
    [
        ("position", ">f8", 3), ("_0", ">f8"), ("normal", ">f8", 3), ("_1", ">f8"),
        ("turns", ">i2"), ("_2", ">i4"), ("_3", ">i2"), ("area", ">f8"),
    ]
)  # fmt: skip
_CHANNEL = np.dtype(
    [
        ("kind", ">i2"), ("original_run", ">i2"), ("shape", ">i4"), ("proper_gain", ">f8"),
        ("q_gain", ">f8"), ("io_gain", ">f8"), ("io_offset", ">f8"), ("n_coils", ">i2"),
        ("grade", ">i2"), ("_0", ">i4"), ("coil", _COIL, 8), ("head_coil", _COIL, 8),
    ]
)  # fmt: skip
_COMPENSATION = np.dtype(
    [
        ("sensor", "S32"), ("order", ">i4"), ("_0", ">i4"), ("n", ">i2"),
        ("references", "S31", 50), ("coefficients", ">f8", 50),
    ]
)  # fmt: skip
# Head coils in head coordinates, and where the head lies in the dewar, m: turned by 45 degrees, 27 cm down.
COILS = {"nasion": (0.1, 0, 0), "left ear": (0.002, 0.078, 0), "right ear": (-0.002, -0.078, 0)}
_TURN = np.sqrt(0.5) * np.array([[1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, np.sqrt(2)]])
_DOWN = np.array([0.0, 0.0, -0.27])


@dataclass(frozen=True)
class Channel:
    """One channel: an integer i stands for ``i * quantum`` in T or V (or as it is, on the trigger port)."""

    name: str
    kind: int
    proper_gain: float
    q_gain: float
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def quantum(self) -> float:
        """Value of one step, SI."""
        return abs(1.0 / (self.proper_gain * self.q_gain))


def sensor_names() -> list[str]:
    """The 272 sensors in the order of the recordings: left, right, middle, region by region."""
    names = []
    for side in "LR":
        for region, rows in _LEFT.items():
            for row in rows.split():
                first, low, high = re.fullmatch(r"(\d):(\d)-(\d)", row).groups()
                numbers = range(int(low), int(high) + 1)
                names += [f"M{side}{region}{first}{second}" for second in numbers]
    names = [name for name in names if name not in _MISSING]
    return names + [f"MZ{r}{n:02d}" for r, count in _MIDDLE.items() for n in range(1, count + 1)]


def position_of(name: str) -> np.ndarray:
    """Where a sensor is on a helmet of 11 cm around the head, m in head coordinates (x to the nose)."""
    side, region, row, column = name[1], name[2], int(name[3]), int(name[4])
    around = {"F": 30, "T": 90, "C": 70, "P": 125, "O": 160}[region]  # degrees from the nose
    down = {
        "F": 75 - 9 * row,
        "T": 72 + 6 * row,
        "C": 12 + 6 * row,
        "P": 60 - 6 * row,
        "O": 58 + 9 * row,
    }
    turn = around + 5.0 * (column - 4) * (1 if region in "TCP" else -1)
    theta, phi = np.deg2rad(down[region] + 1.3 * column), np.deg2rad(turn if side != "R" else -turn)
    if side == "Z":
        row, middle = column, {"F": (40, 0), "C": (4, 180), "P": (40, 180), "O": (60, 180)}[region]
        theta, phi = np.deg2rad(middle[0] + 9.0 * (row - 1)), np.deg2rad(middle[1])
    direction = [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
    return 0.11 * np.array(direction) + np.array([0.01, 0, 0.04])


def channels(
    sensors: Sequence[str] | None = None, references: int = 28, inputs: int = 8
) -> list[Channel]:
    """The channels of a recording: clock, references, sensors, inputs, trigger, as THINGS-MEG has them."""
    out = [Channel(CLOCK_NAME, CLOCK, 1.0, 12000.0)]
    for number, name in enumerate(REFERENCES[:references]):
        place = (0.03 * np.cos(number), 0.03 * np.sin(number), 0.25)
        kind = REFERENCE_MAG if name[0] == "B" else REFERENCE_GRAD
        gain = -1.18e8 if kind == REFERENCE_MAG else -6.54e9
        out.append(Channel(f"{name}-1609", kind, gain, 2.0**20, place))
    for name in sensor_names() if sensors is None else sensors:
        out.append(Channel(f"{name}-1609", GRADIOMETER, 2.86e9, 2.0**20, tuple(position_of(name))))
    out += [
        Channel(f"{name}-2104", ADC, 1.0, 2.0**30 / 10) for name in INPUTS[len(INPUTS) - inputs :]
    ]
    return [*out, Channel("UPPT001", TRIGGER, 1.0, 1.0)]


def write_ds(
    path: Path,
    chs: Sequence[Channel],
    signal: np.ndarray | Callable[[int], np.ndarray],
    n_times: int,
    sfreq: float = 1200.0,
    trial: int | None = None,
    stopped: int | None = None,
    bad: Sequence[str] = (),
    segments: Sequence[tuple[float, float]] = (),
    stem: str = "",
) -> Path:
    """Write one recording.

    Parameters
    ----------
    path : Path
        Ends in ``.ds``.
    chs : sequence of Channel
    signal : array (channel, time), SI, or callable
        The latter gives a channel by its number, so that a run of full size is written in little memory.
        The clock's is made here.
    n_times : int
    sfreq : float, Hz
    trial : int, optional
        Samples of the blocks that the file is cut into; the whole run by default.
    stopped : int, optional
        Acquisition ended after so many samples: the clock stands still at zero from there on.
    bad : sequence of str
        Listed in ``BadChannels``.
    segments : sequence of (start, stop), s
        Listed in ``bad.segments``.
    stem : str
        Before the names of the small files, as in BIDS (where MNE then does not find them).

    Returns
    -------
    Path
        The folder.
    """
    trial = trial or n_times
    if n_times % trial:
        raise ValueError(f"n_times {n_times} is not a multiple of trial {trial}")
    path.mkdir(parents=True, exist_ok=True)
    base = path / path.stem
    _write_header(base.with_suffix(".res4"), chs, trial, n_times // trial, sfreq)
    meg4 = base.with_suffix(".meg4")
    with meg4.open("wb") as handle:
        handle.write(b"MEG41CP\0")
        handle.truncate(8 + 4 * len(chs) * n_times)
    blocks = np.memmap(meg4, ">i4", "r+", 8, (n_times // trial, len(chs), trial))
    for number, channel in enumerate(chs):
        if channel.kind == CLOCK:
            values = np.arange(1, n_times + 1)
            values[n_times if stopped is None else stopped :] = 0
        else:
            row = signal(number) if callable(signal) else signal[number]
            sign = np.sign(channel.proper_gain)
            values = np.rint(np.multiply(row, sign / channel.quantum, dtype=np.float64))
        blocks[:, number] = values.reshape(-1, trial)
    blocks.flush()
    del blocks
    base.with_suffix(".hc").write_text(_head_coils())
    (path / f"{stem}BadChannels").write_text("".join(f"{name}\n" for name in bad))
    lines = [f"BAD {start:.6f} {stop:.6f}\n" for start, stop in segments]
    (path / f"{stem}bad.segments").write_text("".join(lines))
    (path / f"{stem}ClassFile.cls").write_text(
        f"PATH OF DATASET:\n{path.name}\n\n\nNUMBER OF CLASSES:\n0\n"
    )
    (path / f"{stem}processing.cfg").write_text("// Processing configuration.\nprocessing\n{\n}\n")
    base.with_suffix(".newds").write_text("\nNewDatasetFields\n{\n\tsystem:\tDSQ-3500\n}\n")
    base.with_suffix(".infods").write_bytes(b"WS1_\0\0\0\x0d_PATIENT_INFO\0\0\0\0EndOfParameters")
    base.with_suffix(".acq").write_bytes(b"WS1_\0\0\0\x07_ACQ_AA\0\0\0\0EndOfParameters")
    return path


def _write_header(
    path: Path, chs: Sequence[Channel], trial: int, n_trials: int, sfreq: float
) -> None:
    """The ``.res4`` file: fixed header, names, sensors, compensation coefficients."""
    fixed = bytearray(1844)
    fixed[0:8] = b"MEG42RS\0"
    fixed[778:783], fixed[1033:1044] = b"10:30", b"13-Jun-2019"  # time and date of the recording
    struct.pack_into(">ih", fixed, 1288, trial, len(chs))
    struct.pack_into(">ddh", fixed, 1296, sfreq, trial * n_trials / sfreq, n_trials)
    struct.pack_into(">i", fixed, 1836, 1)  # length of the run's description, which follows
    rows = np.zeros(len(chs), _CHANNEL)
    for row, channel in zip(rows, chs):
        row["kind"], row["io_gain"] = channel.kind, 1.0
        row["proper_gain"], row["q_gain"] = channel.proper_gain, channel.q_gain
        if channel.kind in (REFERENCE_MAG, REFERENCE_GRAD, GRADIOMETER):
            inner = np.array(channel.position)
            outward = inner / np.linalg.norm(inner)
            coils = [(inner, -outward), (inner + 0.05 * outward, outward)]
            coils = coils[:1] if channel.kind == REFERENCE_MAG else coils
            row["n_coils"] = len(coils)
            for number, (place, normal) in enumerate(coils):
                for name, centre, facing in (
                    ("coil", _TURN @ place + _DOWN, _TURN @ normal), ("head_coil", place, normal)
                ):  # fmt: skip
                    coil = row[name][number]
                    coil["position"], coil["normal"] = 100 * centre, facing
                    coil["turns"], coil["area"] = 2, 2.54
    references = [c.name for c in chs if c.kind in (REFERENCE_MAG, REFERENCE_GRAD)]
    sensors = [c.name for c in chs if c.kind == GRADIOMETER] if references else []
    third = np.zeros(len(sensors), _COMPENSATION)
    for row, name in zip(third, sensors):
        row["sensor"], row["order"], row["n"] = name, int.from_bytes(b"G3BR"), len(references)
        row["references"][: len(references)] = references
        row["coefficients"][: len(references)] = 0.01
    with path.open("wb") as handle:
        handle.write(bytes(fixed) + b"\0" + struct.pack(">h", 0))
        handle.write(b"".join(c.name.encode().ljust(32, b"\0") for c in chs))
        handle.write(rows.tobytes() + struct.pack(">h", len(third)) + third.tobytes())


def _head_coils() -> str:
    """The ``.hc`` file: the three coils in the dewar and in the head, cm."""
    lines = []
    for frame, shown in (("dewar", lambda p: _TURN @ p + _DOWN), ("head", lambda p: p)):
        for name, place in COILS.items():
            lines.append(f"measured {name} coil position relative to {frame} (cm):")
            values = 100 * shown(np.array(place, float))
            lines += [f"\t{axis} = {value:.8f}" for axis, value in zip("xyz", values)]
    return "\n".join(lines) + "\n"
