"""Any M/EEG dataset in BIDS, and plain recordings in a folder with an events table.

Comes in: ``sub-*/ses-*/meg|eeg/`` files of any format that mne-bids reads (dataset ``bids``), or
EDF, BDF, BrainVision, EEGLAB, FIF, CTF files named by a table (dataset ``table``). Goes out: the
prepared folder. Which column names the picture, what is test and where onsets come from are options.

Run: ``python -m preprocessing.bids --root BIDS --out OUT --image-column stim_file --test-repeats 10``
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.datasets import Events, Recording, SensorData
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.prepare import main
from neurovis.records import Stimuli
from neurovis.signals.epochs import read_triggers
from neurovis.signals.recording import foreign, open_recording
from neurovis.store import read_json, sha256

EXTENSIONS = (".fif", ".ds", ".vhdr", ".edf", ".bdf", ".set", ".con", ".sqd", ".kdf")
ABSENT = ("", "n/a", "N/A", "nan", "NaN")
IMAGE_COLUMNS = ("image", "stim_file", "stim")


class FromTable(SensorData):
    """What datasets with tables of events share.

    Parameters
    ----------
    image_column : str, optional
        Column that names the picture; None takes the first of image, stim_file, stim.
    concept_column, set_column : str, optional
        Columns with the picture's concept, and with ``train`` or ``test``.
    where : dict
        Rows to use: column to allowed values, such as ``{trial_type: [exp, test]}``.
    test_repeats : int, optional
        Pictures that a subject saw at least so often are test.
    test_file : str, optional
        Text file with the test images' ids, one per line.
    stimuli_folder : str
        Where pictures are, relative to the root; a ``stimuli.csv`` in it is used.
    """

    image_column: str | None = None
    concept_column: str | None = None
    set_column: str | None = None
    where: dict[str, tuple[str, ...]] = pydantic.Field(default_factory=dict)
    test_repeats: int | None = pydantic.Field(None, ge=2)
    test_file: str | None = None
    stimuli_folder: str = "stimuli"

    def tables(self, root: Path) -> Iterator[tuple[str, Path, Any]]:
        """Subject, file and events (pandas.DataFrame of text) of every recording."""
        raise NotImplementedError

    def selected(self, table: Any, file: Path) -> Any:
        """The rows to use, with a column ``_image``; an event without image is refused."""
        for column, allowed in self.where.items():
            if column not in table:
                raise UsageError(f"{file}: {unknown('where: column', column, table.columns)}")
            table = table[table[column].isin([str(value) for value in allowed])]
        named = self.image_column or next((c for c in IMAGE_COLUMNS if c in table), None)
        if named is None or named not in table:
            raise UsageError(
                f"{file}: image_column: expected one of the columns {', '.join(table.columns)}, "
                f"found {named or 'none of ' + ', '.join(IMAGE_COLUMNS)}; set image_column."
            )
        absent = table[named].isin(ABSENT)
        if absent.any():
            row = int(table.index[absent.to_numpy().argmax()])
            raise NeurovisError(
                f"{file}: line {row + 2} has no image in column {named!r} ({int(absent.sum())} such "
                "events); expected an image for every event: name it, or leave such rows out with "
                "where."
            )
        return table.assign(_image=table[named])

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures shown, from ``stimuli.csv`` where there is one, else from the events."""
        rows: dict[str, dict[str, str]] = {}
        most: dict[str, int] = {}
        seen: dict[tuple[str, str], int] = {}
        for subject, file, table in self.tables(root):
            table = self.selected(table, file)
            for name, count in table["_image"].value_counts().items():
                seen[subject, name] = seen.get((subject, name), 0) + int(count)
                most[name] = max(most.get(name, 0), seen[subject, name])
            for row in table.drop_duplicates("_image").to_dict("records"):
                rows.setdefault(row["_image"], row)
            if self.set_column is not None:
                self._refuse_two_sets(rows, table, file)
        if not rows:
            raise NeurovisError(
                f"{root}: no event is left of any recording; check where and the events files."
            )
        listed = root / self.stimuli_folder / "stimuli.csv"
        stimuli = Stimuli.read(listed) if listed.is_file() else self._from_events(root, rows)
        stimuli = stimuli.take(np.sort(stimuli.index(list(rows))))
        sets = self._sets(root, stimuli.image, rows, most, listed.is_file())
        object.__setattr__(stimuli, "set", stimuli.set if sets is None else sets)
        return stimuli

    def _refuse_two_sets(self, rows: dict, table: Any, file: Path) -> None:
        if self.set_column not in table:
            raise UsageError(f"{file}: {unknown('set_column', self.set_column, table.columns)}")
        known = table["_image"].map(lambda name: rows[name][self.set_column])
        wrong = (known != table[self.set_column]).to_numpy()
        if wrong.any():
            row = table.iloc[wrong.argmax()]
            raise NeurovisError(
                f"{file}: image {row['_image']!r} is in {known.iloc[wrong.argmax()]} and in "
                f"{row[self.set_column]}; expected every image on one side: correct {self.set_column}."
            )

    def _sets(
        self, root: Path, images: np.ndarray, rows: dict, most: dict[str, int], listed: bool
    ) -> np.ndarray | None:
        if self.test_file is not None:
            path = root / self.test_file
            if not path.is_file():
                raise UsageError(f"{path}: no such file; set test_file to the list of test images.")
            test = np.isin(images, path.read_text(encoding="utf-8").split())
        elif self.test_repeats is not None:
            test = np.array([most[image] >= self.test_repeats for image in images])
        elif self.set_column is not None:
            sets = np.array([rows[image][self.set_column] for image in images])
            odd = ~np.isin(sets, ("train", "test"))
            if odd.any():
                raise NeurovisError(
                    f"events: {self.set_column} of image {images[odd][0]!r} is {sets[odd][0]!r}, "
                    "expected train or test; leave other events out with where."
                )
            return sets
        elif listed:
            return None
        else:
            raise UsageError(
                "which images are test is not stated; expected set_column, test_repeats or test_file "
                f"(or {self.stimuli_folder}/stimuli.csv); a picture was shown at most "
                f"{max(most.values())} times to one subject."
            )
        return np.where(test, "test", "train")

    def _from_events(self, root: Path, rows: dict[str, dict[str, str]]) -> Stimuli:
        from PIL import Image

        folder = root / self.stimuli_folder
        paths, sums, sizes, concepts = [], [], [], []
        for name, row in rows.items():
            path = next((row[c] for c in ("path", "stim_file", "stim") if row.get(c)), name)
            path = path.replace("\\", "/").removeprefix(f"{self.stimuli_folder}/")
            there = (folder / path).is_file()
            paths.append((path,))
            sums.append(sha256(folder / path) if there else "")
            if there:
                with foreign(folder / path, lambda file=folder / path: Image.open(file)) as picture:
                    sizes.append(picture.size)
            else:
                sizes.append((0, 0))
            parent = Path(path).parent.name
            concepts.append(row[self.concept_column] if self.concept_column else parent or name)
        width, height = np.array(sizes).T
        return Stimuli(
            np.array(list(rows)), paths, np.array(sums), width, height, np.array(concepts),
            np.full(len(rows), "train"), folder=folder,
        )  # fmt: skip


class Bids(FromTable, name="bids"):
    """Any BIDS dataset of MEG or EEG.

    Parameters
    ----------
    task : str, optional
        Only this task.
    datatype : {"meg", "eeg"}, optional
        Only this one.
    trigger : str, optional
        Take onsets from this stimulus channel (``auto``: the first there is), less ``steps.lag`` or
        the ``TriggerLag`` (s) of the recording's JSON file; None takes them from ``events.tsv``.
    min_duration : float, s
        Shorter marks on the trigger channel are transients.
    channel_types : {"dataset", "file"}
        Trust ``channels.tsv``, or the recording itself (where the former mislabels sensors).
    """

    task: str | None = None
    datatype: Literal["meg", "eeg"] | None = None
    trigger: str | None = None
    min_duration: float = pydantic.Field(0.0, ge=0)
    channel_types: Literal["dataset", "file"] = "dataset"

    def recordings(self, root: Path) -> list[Recording]:
        """All recordings of the task and datatype."""
        if not (root / "dataset_description.json").is_file():
            raise NeurovisError(
                f"{root}: no dataset_description.json, expected the root of a complete BIDS dataset; "
                "give that folder, or finish the simulation or download."
            )
        found: dict[tuple[str, str, str], list[tuple[str, Path]]] = {}
        for kind in [self.datatype] if self.datatype else ["meg", "eeg"]:
            for file in sorted(root.glob(f"sub-*/**/{kind}/sub-*_{kind}.*")):
                entity = dict(re.findall(r"(?:^|_)([a-z]+)-([^_.]+)", file.name))
                task = entity.get("task", "")
                wanted = file.suffix in EXTENSIONS and self.task in (None, task)
                if wanted and entity.get("split", "1").lstrip("0") == "1":
                    key = (entity["sub"], entity.get("ses", "1"), entity.get("run", "1"))
                    found.setdefault(key, []).append((task, file))
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

    def tables(self, root: Path) -> Iterator[tuple[str, Path, Any]]:
        """Events of every recording."""
        for recording in self.recordings(root):
            path = _beside(recording.file, "events.tsv")
            yield recording.subject, path, read_table(path, ["onset"])

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


class Table(FromTable, name="table"):
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


def read_table(path: Path, needed: list[str]) -> Any:
    """A CSV or TSV as text, column names checked: pandas.DataFrame."""
    import pandas as pd

    if not path.is_file():
        raise NeurovisError(f"{path}: no such events table; expected it beside the recordings.")
    separator = "\t" if path.suffix == ".tsv" else ","
    options = {"sep": separator, "dtype": str, "keep_default_na": False}
    table = foreign(path, lambda: pd.read_csv(path, **options)).fillna("")
    missing = [name for name in needed if name not in table]
    if missing:
        raise NeurovisError(
            f"{path}: column {missing[0]!r} is missing, found {', '.join(table.columns)}; add it."
        )
    return table


def numbers(table: Any, column: str, path: Path) -> np.ndarray:
    """A column as numbers, array (row,); the line that is none is named."""
    import pandas as pd

    if column not in table:
        raise NeurovisError(
            f"{path}: expected a column onset (s) or sample, found neither; add one."
        )
    values = pd.to_numeric(table[column], errors="coerce")
    if values.isna().any():
        row = values.index[values.isna()][0]
        raise NeurovisError(
            f"{path}: line {row + 2}: {column} is {table.loc[row, column]!r}, expected a number; "
            "correct the line or leave it out with where."
        )
    return values.to_numpy(float)


if __name__ == "__main__":
    sys.exit(main("bids"))
