"""EEG recordings as CSV, as muse-lsl and eeg-notebooks write them.

Comes in: files with ``timestamps`` (s), channels in microvolts and a marker column; which picture of a
category was shown is not in them. Goes out: the prepared folder, where the stimulus is the category
and recordings are left out in turn. Timestamps arrive in jittering chunks: sample times are their fit
to the device's constant rate, and lost samples are left as gaps whose trials are rejected.

Run: ``python -m preprocessing.lsl_csv --root DIR --out OUT --markers "{1: house, 2: face}"
--pictures "{house: stimuli/houses/*.jpg, face: stimuli/faces/*.jpg}"``
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.datasets import Events, Recording, SensorData, split_recordings
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import main
from neurovis.records import Split, Stimuli
from neurovis.signals.chain import Steps
from neurovis.signals.recording import foreign
from neurovis.store import sha256

GAP = 0.1  # s; chunks arrive later than this only where samples were lost
NEIGHBOURS = 64  # samples on either side that tell a lost sample from a late chunk


class LslCsv(SensorData, name="lsl_csv"):
    """Recordings of muse-lsl or eeg-notebooks.

    Parameters
    ----------
    markers : dict of str
        Marker value to category.
    pictures : dict of str
        Category to a glob of its pictures, relative to the root.
    files : str
        Glob of the recordings, relative to the root; the folder of a file is its session.
    sfreq : float, Hz
        Of the device.
    subject : str
    """

    markers: dict[int, str] = pydantic.Field(default_factory=dict)
    pictures: dict[str, str] = pydantic.Field(default_factory=dict)
    files: str = "recordings/**/*.csv"
    sfreq: float = 256.0
    subject: str = "01"
    steps: Steps = Steps(
        picks=("eeg",), l_freq=1.0, h_freq=30.0, sfreq=128.0, tmin=-0.1, tmax=0.8,
        baseline=(None, 0.0), detect=False, bads="keep", reject={"eeg": 1e-4},
        scaling="constant", clamp=20.0, whiten="none",
    )  # fmt: skip

    def recordings(self, root: Path) -> list[Recording]:
        """All files; runs are counted in the order of file names."""
        out: list[Recording] = []
        for file in sorted(root.glob(self.files)):
            digits = re.findall(r"\d+", file.parent.name)
            session = digits[-1] if digits else "1"
            run = 1 + sum(r.session == session for r in out)
            out.append(Recording(self.subject, session, f"{run:02d}", file))
        return out

    def stimuli(self, root: Path) -> Stimuli:
        """One stimulus per category: all of its pictures."""
        from PIL import Image

        if len(set(self.markers.values())) < 2:
            raise UsageError(
                f"markers: expected at least two categories such as {{1: house, 2: face}}, found "
                f"{dict(self.markers)}; set markers."
            )
        names = sorted(set(self.markers.values()))
        paths, sums, sizes = [], [], []
        for name in names:
            pattern = self.pictures.get(name)
            files = sorted(root.glob(pattern)) if pattern else []
            if not files:
                raise UsageError(
                    f"pictures: no picture of {name!r} ({pattern or 'no glob given'}); expected a glob "
                    "relative to the root for every category in markers."
                )
            paths.append(tuple(f.relative_to(root).as_posix() for f in files))
            digests = [sha256(f) for f in files]
            joined = hashlib.sha256("".join(digests).encode()).hexdigest()
            sums.append(digests[0] if len(files) == 1 else joined)
            with foreign(files[0], lambda file=files[0]: Image.open(file)) as picture:
                sizes.append(picture.size)
        width, height = np.array(sizes).T
        concept = np.array(names)
        return Stimuli(
            concept, paths, np.array(sums), width, height, concept,
            np.full(len(names), "train"), folder=root,
        )  # fmt: skip

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """Recordings left out in turn."""
        return split_recordings([r.name for r in recordings], self.validation > 0)

    def read(self, root: Path, recording: Recording) -> tuple[Any, Events]:
        """Put the samples on the device's clock; events where the marker column says so."""
        import mne

        names, stamps, signal, marker = read_csv(recording.file)
        sample, late = regular(stamps, self.sfreq, recording.file)
        n_times = int(sample[-1]) + 1
        data = np.full((len(names), n_times), np.nan)
        data[:, sample] = signal * 1e-6
        kinds = ["misc" if "aux" in name.lower() else "eeg" for name in names]
        info = mne.create_info(names, self.sfreq, kinds, verbose="error")
        raw = mne.io.RawArray(data, info, verbose="error")
        montage = mne.channels.make_standard_montage("easycap-M1")
        raw.set_montage(montage, on_missing="ignore", verbose="error")
        unknown = sorted(set(marker[marker != 0].tolist()) - set(self.markers))
        if unknown:
            raise NeurovisError(
                f"{recording.file}: marker {unknown[0]} has no category (event without image); "
                f"expected one of {sorted(self.markers)}: add it to markers."
            )
        rows = np.flatnonzero(marker)
        # a marker was put on the row whose stamp was nearest, so the stamp is the event's time
        onset = np.clip((sample - late)[rows] / self.sfreq, 0, None)
        backwards = int((np.diff(stamps) <= 0).sum())
        spread = 1000 * np.abs(late).max() / self.sfreq
        notes = (
            (
                f"timestamps: {backwards} of {len(stamps)} not increasing, up to {spread:.1f} ms off the "
                f"device's clock; {n_times - len(sample)} samples lost"
            ),
        )
        return raw, Events(onset, np.array([self.markers[int(m)] for m in marker[rows]]), notes)


def read_csv(file: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Channel names, timestamps (time,) in s, signal (channel, time) in uV, marker (time,) of int.

    Raises
    ------
    NeurovisError
        If a column is missing or a line is cut short, naming it.
    """
    import pandas as pd

    if not file.is_file():
        raise NeurovisError(f"{file}: no such recording; check the path.")
    table = foreign(file, lambda: pd.read_csv(file))
    marked = [c for c in table.columns if c.lower().startswith("marker")]
    if "timestamps" not in table or len(marked) != 1 or len(table.columns) < 3 or len(table) < 2:
        raise NeurovisError(
            f"{file}: expected the columns timestamps, channels and one Marker, and samples; found "
            f"{', '.join(table.columns)} and {len(table)} lines; record it again or export it so."
        )
    numeric = table.apply(pd.to_numeric, errors="coerce")
    stamped = numeric[["timestamps", marked[0]]].isna().any(axis=1)
    if stamped.any():
        line = int(stamped.to_numpy().argmax()) + 2
        raise NeurovisError(
            f"{file}: line {line} is cut short or holds no numbers; expected a whole recording: remove "
            "that line if it is the last, or copy the file again."
        )
    names = [c for c in table.columns if c not in ("timestamps", marked[0])]
    marker = numeric[marked[0]].to_numpy(int)
    return names, numeric["timestamps"].to_numpy(float), numeric[names].to_numpy(float).T, marker


def regular(
    stamps: np.ndarray, sfreq: float, file: str | Path = "timestamps"
) -> tuple[np.ndarray, np.ndarray]:
    """Place every row on the clock of a device that samples at a constant rate.

    Parameters
    ----------
    stamps : array (time,), s
        When rows arrived: in chunks, sometimes out of order.
    sfreq : float, Hz
        Of the device; the stamps' own rate may differ by a percent.

    Returns
    -------
    sample : array (time,) of int
        Sample number of each row; numbers left out were lost.
    late : array (time,)
        Samples by which the row's number exceeds its stamp, about 0 on the whole.

    Raises
    ------
    NeurovisError
        If the rate is another.
    """
    row = np.arange(len(stamps))
    stretch = min(len(stamps) - 1, round(sfreq))
    found = stretch / np.median(stamps[stretch:] - stamps[:-stretch])
    if not abs(found / sfreq - 1) < 0.01:
        raise NeurovisError(
            f"{file}: timestamps advance at {found:.2f} Hz, expected {sfreq:g} Hz; set sfreq to the "
            "device's rate."
        )
    lost = np.zeros(len(stamps), np.int64)
    for place in np.flatnonzero(np.diff(stamps) > GAP):
        # a late chunk catches up afterwards; after a loss the stamps stay behind
        ahead = (stamps - row / found)[place + 1 : place + 1 + NEIGHBOURS]
        behind = (stamps - row / found)[max(0, place + 1 - NEIGHBOURS) : place + 1]
        count = round((np.median(ahead) - np.median(behind)) * found)
        if count > GAP * found / 2:
            lost[place + 1 :] += count
    sample = row + lost
    # the device's clock is steadier than any stretch of stamps: one line through all of them
    period, start = np.polyfit(sample, stamps - stamps[0], 1)
    return sample, sample - (stamps - stamps[0] - start) / period


if __name__ == "__main__":
    sys.exit(main("lsl_csv"))
