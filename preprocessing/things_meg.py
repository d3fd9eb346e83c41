"""THINGS-MEG: 4 people, 22,448 pictures of 1,854 concepts, 272 sensors (OpenNeuro ds004212).

Comes in: the BIDS dataset (CTF runs) or the owners' epochs (``source=epochs``), with the pictures' names in
``sourcedata/sample_attributes_P*.csv``. Goes out: the prepared folder; catch trials are left out, and
trials whose picture the two tables name differently. Sensor types come from the recording, as
``channels.tsv`` calls them OTHER; channels are read a few at a time whatever blocks a file is cut into.

Run: ``python -m preprocessing.things_meg --root ds004212 --out OUT --subject 1 --split zero-shot``
Hebart et al. 2023, doi:10.7554/eLife.82580.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.datasets import Continuous, Epochs, Events, Recording, SensorData, Steps, split_images
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.manifest import read_manifest
from neurovis.prepare import main
from neurovis.progress import progress
from neurovis.records import Split, Stimuli
from neurovis.signals.epochs import read_triggers
from neurovis.signals.ondisk import Meg4, OnDisk
from neurovis.signals.recording import bad_spans, channel_facts, foreign, open_recording
from neurovis.store import sha256

from .tables import ABSENT, numbers, read_table
from .things_meg_attributes import Shown, catalogue, read_shown

OPTICAL = "UADC016"  # by those who read it; which way it turns with the light is not known
TRIGGER, PULSE = "UPPT001", 64  # one pulse per trial; a last one of 32 ends the run
CATCH = 999999  # event id of catch trials in the owners' epochs
JITTER = 0.1  # s; pulses and written onsets that drift further apart are not the same trials
# Signal lost for 0.2 s, by the owners' script, which counts runs from 0: subject, session, run, start in s.
DROPOUTS = {("1", "11", "05"): 13.4, ("2", "10", "03"): 59.8}
DROPOUT = 0.2
RUN = r"sub-BIGMEG(\d+)_ses-(\d+)_task-main_run-(\d+)_meg"
# Epochs come filtered, baselined and in units of their baseline's SD: nothing of that is done twice.
OF_EPOCHS = {
    "picks": ("meg",), "l_freq": None, "h_freq": None, "sfreq": None, "tmin": -0.1, "tmax": 1.0,
    "baseline": None, "detect": False, "scaling": "none", "clamp": None,
}  # fmt: skip


class ThingsMeg(SensorData, name="things_meg"):
    """0.1-40 Hz, 120 Hz, -0.2 to 1 s, robust scaling per session, without the broken MRO11.

    Parameters
    ----------
    source : {"bids", "epochs"}
        CTF recordings, or ``derivatives/preprocessed/preprocessed_P*-epo.fif``.
    split : {"zero-shot", "small", "native", "large"}
        ``zero-shot`` and ``small`` are one: the 200 repeated pictures are test, and their concepts are
        not in training. ``large``: the same training, test are the 12 once-shown pictures of each of
        those concepts. ``native``: the owners', where test concepts occur in training.
    onsets : {"owners", "trigger"}
        Those of ``events.tsv``, from the optical sensor by the owners' account, or the trigger pulses.
        Both are read and their difference noted, whichever is used.
    sessions : tuple of int, optional
        Only these; by default all that the attributes name must be there.
    tolerance : int, optional
        Trials of a run whose picture the two tables may name differently; None takes the documented
        number of the manifest. They are left out and reported; more are refused.
    dropouts : {"reject", "median", "keep"}
        The two stretches of lost signal: reject trials over them and bridge them before filtering, fill
        them with each channel's median (the owners' way), or leave them.
    stimuli_folder : str
        Where pictures are (``concept/concept_01b.jpg``), relative to the root; they may be absent.
    """

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        # Benchetrit et al., arXiv 2310.19812: 120 Hz, 181 samples and 272 sensors are theirs; baseline,
        # scaling, clamp and the share for validation are second-hand and unverified
        "paper": {
            "validation": 0.2,
            "steps": {
                "picks": ("meg",), "l_freq": None, "h_freq": None, "sfreq": 120.0, "tmin": -0.5,
                "tmax": 1.0 + 1 / 120, "baseline": (None, 0.0), "detect": False, "bads": "keep",
                "scaling": "robust", "clamp": 5.0,
            },
        },
        # THINGS-data, MEG/step1_preprocessing.py; there the baseline's SD divides as well
        "owners": {
            "split": "native", "dropouts": "median",
            "steps": {
                "picks": ("meg", "-MRO11-1609"), "l_freq": 0.1, "h_freq": 40.0, "sfreq": 200.0,
                "tmin": -0.1, "tmax": 1.305, "baseline": (None, 0.0), "detect": False,
                "bads": "keep", "scaling": "none", "clamp": None,
            },
        },
        # facebookresearch/neuroai; without its low pass of 75 Hz, which 120 Hz cannot hold
        "neuralbench": {
            "onsets": "trigger", "validation": 0.2,
            "steps": {
                "picks": ("meg",), "l_freq": 0.1, "h_freq": None, "notch": (60.0,), "sfreq": 120.0,
                "tmin": -0.2, "tmax": 0.8, "baseline": (None, 0.0), "detect": False, "bads": "keep",
                "scaling": "robust", "clamp": 20.0,
            },
        },
        # NeuroBridge's and ATM's scripts
        "neurobridge": {
            "source": "epochs", "validation": 0.0,
            "steps": {**OF_EPOCHS, "tmin": 0.0, "tmax": 1.0},
        },
    }  # fmt: skip

    source: Literal["bids", "epochs"] = "bids"
    split: Literal["zero-shot", "small", "native", "large"] = "zero-shot"
    onsets: Literal["owners", "trigger"] = "owners"
    sessions: tuple[int, ...] | None = None
    tolerance: int | None = pydantic.Field(None, ge=0)
    dropouts: Literal["reject", "median", "keep"] = "reject"
    stimuli_folder: str = "stimuli"
    steps: Steps = Steps(
        picks=("meg", "-MRO11-1609"), l_freq=0.1, h_freq=40.0, sfreq=120.0, tmin=-0.2, tmax=1.0,
        baseline=(None, 0.0), scaling="robust", scope="session", clamp=20.0,
    )  # fmt: skip

    @pydantic.model_validator(mode="before")
    @classmethod
    def _start_from_what_epochs_are(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        recipe = cls.recipes.get(value.get("recipe", "clean"), {})
        asked = value.get("steps", {})
        if value.get("source", recipe.get("source")) != "epochs" or not isinstance(asked, dict):
            return value
        return {**value, "steps": {**OF_EPOCHS, **recipe.get("steps", {}), **asked}}

    @pydantic.field_validator("sessions", mode="before")
    @classmethod
    def _take_numbers(cls, value: Any) -> Any:
        """``1``, ``1,2`` and ``[1, 2]`` are what people write."""
        if isinstance(value, str) and re.fullmatch(r"\d+( *, *\d+)*", value):
            return tuple(map(int, value.split(",")))
        return (value,) if isinstance(value, int) else value

    @pydantic.model_validator(mode="after")
    def _refuse_what_epochs_settled(self) -> ThingsMeg:
        if self.source == "epochs" and self.onsets != "owners":
            raise UsageError(
                f"onsets: {self.onsets!r} with source=epochs, expected owners, as the epochs were cut at "
                "theirs; start from source=bids."
            )
        return self

    def recordings(self, root: Path) -> list[Recording]:
        """Runs of the main task, or one file of epochs per person; what is missing is named."""
        if self.source == "epochs":
            files = sorted(root.glob("derivatives/preprocessed/preprocessed_P*-epo.fif"))
            people = [re.fullmatch(r"preprocessed_P(\d+)-epo", file.stem)[1] for file in files]
            return [
                Recording(who, "all", "all", file, self._absent(root, who, None))
                for who, file in zip(people, files)
            ]
        found: dict[str, dict[tuple[str, str], Path]] = {}
        for file in sorted(root.glob("sub-BIGMEG*/ses-*/meg/sub-BIGMEG*_meg.ds")):
            if match := re.fullmatch(RUN, file.stem):
                found.setdefault(match[1], {})[match[2], match[3]] = file
        out = []
        for who, runs in found.items():
            problem = self._absent(root, who, runs)
            for (session, run), file in runs.items():
                if self.sessions is None or int(session) in self.sessions:
                    out.append(Recording(who, session, run, file, problem))
        return out

    def _absent(self, root: Path, who: str, runs: dict | None) -> str:
        """A sentence on what a subject lacks, or nothing."""
        path = _attributes_file(root, who)
        if not path.is_file():
            return (
                f"{path}: no such file, expected the names of the pictures that subject {who} saw; "
                "fetch it with neurovis fetch things-meg."
            )
        try:
            shown = read_shown(path, self.sessions)
        except UsageError:
            raise
        except NeurovisError as error:
            return str(error)
        if runs is None:
            return ""
        wanted = list(dict.fromkeys(zip(shown.session.tolist(), shown.run.tolist())))
        missing = [key for key in wanted if key not in runs]
        if not missing:
            return ""
        session, run = missing[0]
        return (
            f"sub-BIGMEG{who}: {len(missing)} of {len(wanted)} runs are missing, first ses-{session} "
            f"run-{run}, expected all that {path.name} names; fetch them, or name the sessions that are "
            "there: sessions=1,2."
        )

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures of the split; those that it leaves out are not in the table."""
        from PIL import Image

        chosen = self._chosen(root)
        folder = root / self.stimuli_folder
        rows = sorted(chosen)
        paths = [f"{chosen[image][0]}/{image}.jpg" for image in rows]
        sums, sizes = [], []
        for file in progress([folder / p for p in paths], "pictures", quiet=not folder.is_dir()):
            sums.append(sha256(file) if file.is_file() else "")
            sizes.append((0, 0))
            if sums[-1]:
                with foreign(file, lambda file=file: Image.open(file)) as picture:
                    sizes[-1] = picture.size
        width, height = np.array(sizes).T
        concepts, sets = zip(*(chosen[image] for image in rows))
        return Stimuli(
            np.array(rows), paths, np.array(sums), width, height, np.array(concepts),
            np.array(sets), folder=folder,
        )  # fmt: skip

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """One split; concepts on two sides are refused except in the owners' own."""
        protocol = self.recipe if self.split == "zero-shot" else f"{self.recipe}, {self.split}"
        split = split_images(stimuli, self.validation, self.seed, protocol)
        split.check(stimuli, concepts=self.split != "native")
        return [split]

    def _chosen(self, root: Path) -> dict[str, tuple[str, str]]:
        """Concept and set of each picture that the split uses."""
        recordings = self.recordings(root)
        people = dict.fromkeys(r.subject for r in recordings if not r.problem)
        if not people:
            none = f"{root}: found no recording; give the dataset's folder or fetch it."
            raise NeurovisError(recordings[0].problem if recordings else none)
        files = tuple(_attributes_file(root, who) for who in people)
        kinds = catalogue(files, self.sessions)
        tested = {concept for concept, kind in kinds.values() if kind == "test"}
        chosen = {}
        for image, (concept, kind) in kinds.items():
            if kind == "test" and self.split != "large":
                chosen[image] = (concept, "test")
            elif kind == "exp" and (self.split == "native" or concept not in tested):
                chosen[image] = (concept, "train")
            elif kind == "exp" and self.split == "large":
                chosen[image] = (concept, "test")
        return chosen

    def read(self, root: Path, recording: Recording) -> tuple[Continuous, Events] | Epochs:
        """Open one run, or one person's epochs."""
        shown = read_shown(_attributes_file(root, recording.subject), self.sessions)
        if self.source == "epochs":
            return self._read_epochs(root, recording, shown)
        raw = open_recording(recording.file)
        sfreq = float(raw.info["sfreq"])
        names, types, position = channel_facts(raw)
        signal = Meg4(raw)
        events = self._events(root, recording, shown, signal, names, sfreq)
        start = DROPOUTS.get((recording.subject, recording.session, recording.run))
        if start is not None and self.dropouts != "keep":
            signal.blank(round(start * sfreq), int(DROPOUT * sfreq + 1e-6), self.dropouts)
            note = f"{DROPOUT:g} s of lost signal at {start:g} s: {self.dropouts}"
            events = Events(events.onset, events.image, (*events.notes, note))
        bads = list(raw.info["bads"])
        listed = _beside(recording.file, "channels.tsv")
        if listed.is_file():
            table = read_table(listed, ["name"])
            if "status" in table:
                bads += [n for n in table["name"][table["status"] == "bad"] if n in names]
        source = Continuous(
            signal, sfreq, names, types, position, bads=tuple(dict.fromkeys(bads)),
            spans=tuple(bad_spans(raw)),
        )  # fmt: skip
        return source, events

    def _events(
        self, root: Path, recording: Recording, shown: Shown, signal: Meg4, names: list[str],
        sfreq: float,
    ) -> Events:  # fmt: skip
        """Onsets and pictures of one run, with what was left out."""
        path = _beside(recording.file, "events.tsv")
        table = read_table(path, ["onset", "trial_type", "value", "sample"])
        written = numbers(table, "onset", path)
        apart = np.abs(written * sfreq - numbers(table, "sample", path))
        if (apart > 1).any():
            row = int(apart.argmax())
            raise NeurovisError(
                f"{path}: line {row + 2}: onset and sample are {apart[row]:.0f} samples apart at "
                f"{sfreq:g} Hz, expected the same time; fetch the file again."
            )
        mine = shown.take((shown.session == recording.session) & (shown.run == recording.run))
        attributes = _attributes_file(root, recording.subject)
        if len(mine.number) != len(table):
            raise NeurovisError(
                f"{path}: has {len(table)} trials, {attributes.name} names {len(mine.number)} of session "
                f"{recording.session} run {recording.run}; expected as many: fetch both again."
            )
        onset, notes = self._timed(written, signal, names, sfreq, recording.file)
        code = np.zeros(len(table), int)
        catch = (table["trial_type"] == "catch").to_numpy() | table["value"].isin(ABSENT).to_numpy()
        code[~catch] = np.rint(numbers(table[~catch], "value", path)).astype(int)
        keep, left = self._kept(root, code, mine, path, attributes)
        return Events(onset[keep], mine.image[keep], (*notes, *left))

    def _timed(
        self, written: np.ndarray, signal: Meg4, names: list[str], sfreq: float, file: Path
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Onsets by the table or by the pulses, and how far these are apart."""
        if TRIGGER not in names:
            if self.onsets == "trigger":
                raise UsageError(f"{file}: {unknown('onsets=trigger: channel', TRIGGER, names)}")
            return written, (f"onsets of events.tsv; without {TRIGGER} nothing checks them",)
        onset, value = read_triggers(signal[names.index(TRIGGER)], sfreq)
        pulses = onset[value == PULSE]
        if len(pulses) != len(written):
            raise NeurovisError(
                f"{file}: {TRIGGER} has {len(pulses)} pulses of {PULSE}, events.tsv has {len(written)} "
                "trials; expected one pulse per trial: the file is cut short, or these are another run's "
                "events; fetch both again."
            )
        apart = written - pulses
        typical = float(np.median(apart)) if len(apart) else 0.0
        spread = np.abs(apart - typical)
        if (spread > JITTER).any():
            worst = int(spread.argmax())
            raise NeurovisError(
                f"{file}: trial {worst} is at {pulses[worst]:.3f} s by {TRIGGER} and at "
                f"{written[worst]:.3f} s by events.tsv, the others are {1000 * typical:.0f} ms apart; "
                "expected one difference throughout: these are not the same trials, fetch both again."
            )
        lag = self.steps.lag or 0.0
        used = "events.tsv (the owners', from the optical sensor)"
        if self.onsets == "trigger":
            used = f"the pulses of {TRIGGER}, less {1000 * lag:g} ms"
        early = f"{abs(1000 * typical):.1f} ms {'before' if typical >= 0 else 'after'}"
        note = (
            f"onsets: {used}; pulses come {early} those of events.tsv "
            f"(at most {1000 * spread.max(initial=0):.1f} ms more or less)"
        )
        light = _said_by_the_light(signal, names, written, sfreq)
        return (pulses - lag if self.onsets == "trigger" else written), (note, *light)

    def _kept(
        self, root: Path, code: np.ndarray, mine: Shown, path: Path, attributes: Path
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Trials to use, and notes on the others. `code` (trial,) is the picture's number, 0 for catch."""
        wrong = code != mine.number
        allowed = self.tolerance
        if allowed is None:
            allowed = read_manifest("things-meg").fact("image_numbers_that_may_disagree")
        run = np.char.add(mine.session, mine.run)
        names, counts = np.unique(run[wrong], return_counts=True)
        if counts.max(initial=0) > allowed:
            here = wrong & (run == names[counts.argmax()])
            row = int(here.argmax())
            raise NeurovisError(
                f"{path}: {int(here.sum())} of {int((run == run[row]).sum())} image numbers of session "
                f"{mine.session[row]} run {mine.run[row]} disagree with "
                f"{attributes.name} (trial {row}: {code[row] or 'catch'} against "
                f"{mine.number[row] or 'catch'}), expected at most {allowed}; these are not the same "
                "trials, fetch both again."
            )
        chosen = self._chosen(root)
        catch = (code == 0) & ~wrong
        unused = ~catch & ~wrong & ~np.isin(mine.image, list(chosen))
        notes = [f"{int(catch.sum())} catch trials left out"]
        if unused.any():
            notes.append(f"{int(unused.sum())} trials of pictures outside split {self.split!r}")
        if wrong.any():
            rows = ", ".join(map(str, np.flatnonzero(wrong)))
            notes.append(
                f"{int(wrong.sum())} trials left out whose picture the two tables name differently: {rows}"
            )
        return np.flatnonzero(~catch & ~unused & ~wrong), tuple(notes)

    def _read_epochs(self, root: Path, recording: Recording, shown: Shown) -> Epochs:
        """The owners' epochs of one person, read when they are asked for."""
        import mne

        file = recording.file
        everything = read_shown(_attributes_file(root, recording.subject), None)
        epochs = foreign(file, lambda: mne.read_epochs(file, preload=False, verbose="error"))
        code = np.where(epochs.events[:, 2] == CATCH, 0, epochs.events[:, 2])
        attributes = _attributes_file(root, recording.subject)
        if len(code) != len(everything.number):
            raise NeurovisError(
                f"{file}: has {len(code)} epochs, {attributes.name} names {len(everything.number)} trials; "
                "expected as many: fetch all parts of the file (-epo.fif, -epo-1.fif, ...)."
            )
        keep, notes = self._kept(root, code, everything, file, attributes)
        if self.sessions is not None:
            keep = keep[np.isin(everything.session[keep], np.unique(shown.session))]
        names, types, position = channel_facts(epochs)
        return Epochs(
            OnDisk(epochs, keep), everything.image[keep], float(epochs.info["sfreq"]),
            float(epochs.tmin), names, types, position, unit="1",
            session=everything.session[keep], run=everything.run[keep],
            notes=("onsets: the owners', whose epochs these are", *notes),
        )  # fmt: skip


def _said_by_the_light(
    signal: Meg4, names: list[str], written: np.ndarray, sfreq: float
) -> tuple[str, ...]:
    """When the optical sensor changes, beside the written onsets; tells which clock follows the screen."""
    name = next((name for name in names if name.startswith(OPTICAL)), None)
    if name is None or not len(written):
        return ()
    values = signal[names.index(name)]
    lit = values > np.percentile(values, [5, 95]).mean()
    changes = np.flatnonzero(np.diff(lit.astype(np.int8))) + 1
    if len(changes) < len(written):
        return (
            f"optical sensor {name}: changes {len(changes)} times, too seldom to follow the trials",
        )
    after = np.searchsorted(changes, np.rint(written * sfreq)).clip(1, len(changes) - 1)
    near = changes[after[:, None] + np.array([-1, 0])] / sfreq - written[:, None]
    apart = near[np.arange(len(near)), np.abs(near).argmin(axis=1)]
    typical = float(np.median(apart))
    spread = np.percentile(np.abs(apart - typical), 90)
    note = (
        f"optical sensor {name}: changes {1000 * typical:+.1f} ms from the onsets of events.tsv "
        f"(nine in ten within {1000 * spread:.1f} ms of that)"
    )
    return (note,)


def _attributes_file(root: Path, subject: str) -> Path:
    return root / "sourcedata" / f"sample_attributes_P{subject}.csv"


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(f"{file.stem.rsplit('_', 1)[0]}_{suffix}")


if __name__ == "__main__":
    sys.exit(main("things_meg"))
