"""Any M/EEG or fMRI dataset in BIDS, and plain recordings in a folder with an events table.

Comes in: ``sub-*/ses-*/meg|eeg/`` files of any format that mne-bids reads, or ``func/`` BOLD runs with
fMRIPrep's derivatives where there are such (dataset ``bids``); EDF, BDF, BrainVision, EEGLAB, FIF, CTF
files named by a table (dataset ``table``). Goes out: the prepared folder. Which column names the
picture, what is test and where onsets come from are options.

Run: ``python -m preprocessing.bids --root BIDS --out OUT --image-column stim_file --test-repeats 10``
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.datasets import Events, Recording, SensorData, VoxelData
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.prepare import main
from neurovis.records import Split, Stimuli
from neurovis.signals.epochs import read_triggers
from neurovis.signals.recording import foreign, open_recording
from neurovis.store import read_json

from . import bids_func
from .tables import ABSENT, FromTable, numbers, read_table

EXTENSIONS = (".fif", ".ds", ".vhdr", ".edf", ".bdf", ".set", ".con", ".sqd", ".kdf")


class Bids(FromTable, SensorData, VoxelData, name="bids"):
    """Any BIDS dataset of MEG, EEG or fMRI.

    Parameters
    ----------
    task : str, optional
        Only this task.
    datatype : {"meg", "eeg", "func"}, optional
        Only this one.
    trigger : str, optional
        Take onsets from this stimulus channel (``auto``: the first there is), less ``steps.lag`` or
        the ``TriggerLag`` (s) of the recording's JSON file; None takes them from ``events.tsv``.
    min_duration : float, s
        Shorter marks on the trigger channel are transients.
    channel_types : {"dataset", "file"}
        Trust ``channels.tsv``, or the recording itself (where the former mislabels sensors).
    derivatives : str, optional
        Folder with runs as fMRIPrep writes them, such as ``derivatives/fmriprep``: its
        ``desc-preproc_bold`` are read instead of the raw volumes.
    space : str, optional
        Which of the derivatives' spaces.
    mask : str, optional
        Glob of the subject's brain mask, relative to the root, with ``{subject}`` for the subject;
        None takes the region ``brain``, the derivatives' masks, or what the first run's mean gives.
    rois : str, optional
        Glob of mask images, one per region; its name is ``label-NAME``, or the file's.
    tr : float, optional, s
        Time between volumes; None takes ``RepetitionTime`` of the JSON file, or the header's.
    """

    task: str | None = None
    datatype: Literal["meg", "eeg", "func"] | None = None
    trigger: str | None = None
    min_duration: float = pydantic.Field(0.0, ge=0)
    channel_types: Literal["dataset", "file"] = "dataset"
    derivatives: str | None = None
    space: str | None = None
    mask: str | None = None
    rois: str | None = "derivatives/rois/sub-{subject}/**/*_label-*_mask.nii.gz"
    tr: float | None = pydantic.Field(None, gt=0)

    @property
    def learns(self) -> bool:
        """Whether preprocessing learns from training trials; with recordings left out, `splits` asks."""
        return self.leave_out is None and (SensorData.learns.fget(self) or self.fmri.learns)

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """By image, or runs or sessions left out in turn."""
        if self.leave_out is not None:
            bold = bids_func.is_bold(recordings[0].file)
            if self.fmri.learns if bold else SensorData.learns.fget(self):
                raise UsageError(
                    "leave_out: training trials differ from fold to fold, expected preprocessing that "
                    "learns nothing from them: set "
                    + (
                        "standardise=none (value=t makes voxels comparable) and no n_voxels or "
                        "reliability."
                        if bold
                        else "scaling=constant or none and whiten=none."
                    )
                )
        return super().splits(stimuli, recordings)

    def recordings(self, root: Path) -> list[Recording]:
        """All recordings of the task and datatype."""
        if not (root / "dataset_description.json").is_file():
            raise NeurovisError(
                f"{root}: no dataset_description.json, expected the root of a complete BIDS dataset; "
                "give that folder, or finish the simulation or download."
            )
        sensors = [] if self.datatype == "func" else self._sensor_files(root)
        bold = self._bold_files(root) if self.datatype in (None, "func") else []
        if sensors and bold:
            raise UsageError(
                f"{root}: found {len(sensors)} recordings of M/EEG and {len(bold)} of BOLD, expected one "
                "kind; set datatype."
            )
        found: dict[tuple[str, str, str], list[tuple[str, Path]]] = {}
        for file in sensors or bold:
            entity = bids_func.entities(file)
            key = (entity["sub"], entity.get("ses", "1"), entity.get("run", "1"))
            found.setdefault(key, []).append((entity.get("task", ""), file))
        out = []
        for (subject, session, run), files in sorted(found.items()):
            for task, file in files:
                out.append(
                    Recording(subject, session, run if len(files) == 1 else f"{task}{run}", file)
                )
        if len({(r.subject, r.name) for r in out}) < len(out):
            raise UsageError(
                "several recordings share subject, session and run; set task or datatype."
            )
        return out

    def _sensor_files(self, root: Path) -> list[Path]:
        out = []
        for kind in [self.datatype] if self.datatype else ["meg", "eeg"]:
            for file in sorted(root.glob(f"sub-*/**/{kind}/sub-*_{kind}.*")):
                entity = bids_func.entities(file)
                wanted = file.suffix in EXTENSIONS and self.task in (None, entity.get("task", ""))
                if wanted and entity.get("split", "1").lstrip("0") == "1":
                    out.append(file)
        return out

    def _bold_files(self, root: Path) -> list[Path]:
        files = bids_func.bold_files(root, self._derivatives(root), self.space)
        return [f for f in files if self.task in (None, bids_func.entities(f).get("task", ""))]

    def _derivatives(self, root: Path) -> Path | None:
        if self.derivatives is None:
            return None
        folder = root / self.derivatives
        if not folder.is_dir():
            raise UsageError(f"{folder}: derivatives: no such folder; correct it.")
        return folder

    def events_file(self, root: Path, file: Path) -> Path:
        """Events of a recording; of BOLD by its entities, wherever in the tree they stand."""
        place = _beside(file, "events.tsv")
        if bids_func.is_bold(file) and not place.is_file():
            return bids_func.nearest(file, root, "events.tsv") or place
        return place

    def tables(self, root: Path) -> Iterator[tuple[str, Path, Any]]:
        """Events of every recording."""
        for recording in self.recordings(root):
            path = self.events_file(root, recording.file)
            yield recording.subject, path, read_table(path, ["onset"])

    def companions(self, root: Path, recording: Recording) -> list[Path]:
        """Events elsewhere, masks, regions, TR and confounds of a BOLD run."""
        file = recording.file
        if not bids_func.is_bold(file):
            return []
        out = [self.events_file(root, file)]
        for pattern in (self.mask, self.rois):
            out += bids_func.globbed(root, pattern, recording.subject) if pattern else []
        derivatives = self._derivatives(root)
        for tree in [root] if derivatives is None else [derivatives, root]:
            out.append(bids_func.nearest(file, tree, "bold.json"))
        out.append(bids_func.brain_beside(file))
        if self.fmri.confounds:
            out += bids_func.confounds_tables(file, root, derivatives)
        return [path for path in out if path is not None and path.is_file()]

    def write_subject(self, root: Path, recordings: list[Recording], *rest: Any) -> dict[str, Any]:
        """Write one subject, by what its recordings are."""
        kind = VoxelData if bids_func.is_bold(recordings[0].file) else SensorData
        return kind.write_subject(self, root, recordings, *rest)

    def voxels(self, root: Path, subject: str) -> Any:
        """Voxels of the subject's mask, with its regions."""
        runs = [r for r in self.recordings(root) if r.subject == subject]
        return bids_func.subject_voxels(root, runs, self.mask, self.rois)

    def responses(self, root: Path, recording: Recording, voxels: Any) -> Any:
        """Responses of one run: its first-level model."""
        from neurovis.signals.fmri.confounds import read_confounds
        from neurovis.signals.fmri.glm import first_level
        from neurovis.signals.fmri.volumes import read_series

        file, derivatives = recording.file, self._derivatives(root)
        trees = [root] if derivatives is None else [derivatives, root]
        tr, note = bids_func.run_tr(file, trees, self.tr)
        path = self.events_file(root, file)
        table = self.selected(read_table(path, ["onset"]), path)
        onset = numbers(table, "onset", path)
        duration = np.zeros(len(table))
        if "duration" in table:
            timed = ~table["duration"].isin(ABSENT).to_numpy()
            duration[timed] = numbers(table[timed], "duration", path)
        series = read_series(file, voxels)
        confounds, names = None, []
        if self.fmri.confounds:
            found = bids_func.confounds_of(file, root, derivatives)
            confounds, names = read_confounds(found, self.fmri.confounds, len(series))
        return first_level(
            series, tr, onset, duration, table["_image"].to_numpy(str), self.fmri, confounds, names,
            [note] if note else [],
        )  # fmt: skip

    def read(self, root: Path, recording: Recording) -> tuple[Any, Events]:
        """Open one recording; onsets from the events file or the trigger channel."""
        import mne_bids

        file = recording.file
        if self.channel_types == "file":
            raw = open_recording(file)
            channels = _beside(file, "channels.tsv")
            if channels.is_file():
                table = read_table(channels, ["name"])
                bad = table["name"][table.get("status", "") == "bad"]
                raw.info["bads"] = [name for name in bad if name in raw.ch_names]
        else:
            place = mne_bids.get_bids_path_from_fname(file, verbose="error")
            raw = foreign(file, lambda: mne_bids.read_raw_bids(place, verbose="error"))
        path = _beside(file, "events.tsv")
        table = read_table(path, ["onset"])
        table = table[~table["onset"].isin(ABSENT)]
        onset, notes = numbers(table, "onset", path), ()
        if self.trigger is not None:
            onset, notes = self._from_trigger(raw, table, onset, file)
        chosen = self.selected(table, path)
        keep = table.index.get_indexer(chosen.index)
        return raw, Events(onset[keep], chosen["_image"].to_numpy(str), notes)

    def _from_trigger(
        self, raw: Any, table: Any, written: np.ndarray, file: Path
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        stim = [n for n, t in zip(raw.ch_names, raw.get_channel_types()) if t == "stim"]
        name = self.trigger if self.trigger != "auto" else next(iter(stim), "")
        if name not in raw.ch_names:
            raise UsageError(f"{file}: {unknown('trigger: channel', name, stim or raw.ch_names)}")
        sidecar = file.with_suffix(".json")
        stated = read_json(sidecar).get("TriggerLag") if sidecar.is_file() else None
        lag = self.steps.lag if self.steps.lag is not None else float(stated or 0.0)
        channel = foreign(file, lambda: raw.get_data([name], verbose="error"))[0]
        onset, value = read_triggers(channel, raw.info["sfreq"], lag, self.min_duration)
        if len(onset) != len(table) and "value" in table:
            known = {int(float(v)) for v in table["value"] if v not in ABSENT}
            onset = onset[np.isin(value, list(known))]
        if len(onset) != len(table):
            raise NeurovisError(
                f"{file}: channel {name!r} marks {len(onset)} events, the events file has "
                f"{len(table)}; expected as many: check min_duration, or set trigger=null to use the "
                "events file's onsets."
            )
        apart = onset - written
        spread = np.abs(apart - np.median(apart)).max(initial=0.0)
        if spread > 0.1:
            worst = int(np.abs(apart - np.median(apart)).argmax())
            raise NeurovisError(
                f"{file}: event {worst} is at {onset[worst]:.3f} s by channel {name!r} and at "
                f"{written[worst]:.3f} s by the events file, others differ by {np.median(apart):.3f} s; "
                "expected a constant difference: these are not the same events."
            )
        note = (
            f"onsets from {name}, lag {1000 * lag:g} ms; they differ from events.tsv by "
            f"{1000 * np.median(apart):.1f} ms (at most {1000 * spread:.1f} ms more or less)"
        )
        return onset, (note,)


class Table(FromTable, SensorData, name="table"):
    """Plain recordings with one table of events for all.

    Parameters
    ----------
    table : str
        CSV or TSV under the root, with the columns ``file`` (relative to the root), ``onset`` (s from
        the first sample) or ``sample``, and the image; ``subject``, ``session``, ``run``, ``path``
        (of the picture) where there are such.
    """

    table: str = "events.csv"

    def recordings(self, root: Path) -> list[Recording]:
        """One per file in the table; runs are counted within session where not named."""
        table = self._table(root)
        out, counts = [], {}
        for file, rows in table.groupby("file", sort=False):
            first = rows.iloc[0]
            subject, session = first.get("subject", "1"), first.get("session", "1")
            counts[subject, session] = counts.get((subject, session), 0) + 1
            run = first.get("run", f"{counts[subject, session]:02d}")
            out.append(Recording(subject, session, run, root / file))
        missing = [r.file for r in out if not r.file.exists()]
        if missing:
            raise NeurovisError(
                f"{missing[0]}: no such recording ({len(missing)} of {len(out)} are missing); "
                f"correct {self.table}."
            )
        return out

    def _table(self, root: Path) -> Any:
        return read_table(root / self.table, ["file"])

    def tables(self, root: Path) -> Iterator[tuple[str, Path, Any]]:
        """The table, file by file."""
        for _, rows in self._table(root).groupby("file", sort=False):
            yield rows.iloc[0].get("subject", "1"), root / self.table, rows

    def read(self, root: Path, recording: Recording) -> tuple[Any, Events]:
        """Open one file and its rows of the table."""
        raw = open_recording(recording.file)
        table, path = self._table(root), root / self.table
        rows = self.selected(table[[root / f == recording.file for f in table["file"]]], path)
        if "onset" in rows:
            onset = numbers(rows, "onset", path)
        else:
            onset = numbers(rows, "sample", path) / raw.info["sfreq"]
        return raw, Events(onset, rows["_image"].to_numpy(str))


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(f"{file.stem.rsplit('_', 1)[0]}_{suffix}")


if __name__ == "__main__":
    sys.exit(main("bids"))
