"""What a live session leaves on disk, and the same decisions from it.

Comes in: what an engine gives out. Goes out: a folder with ``signal-*_raw.fif`` (the run's channels, V or T,
missing stretches bridged and annotated), ``events.csv``, ``missing.csv``, ``decisions.jsonl``, ``log.jsonl``
and ``session.json``. Samples wait in ``tail-*.f32`` until a FIF file is full; rows are flushed one by one:
whatever ends a session, what came before is there and can be read.
"""

from __future__ import annotations

import csv
import json
import queue
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.live import calibrate
from neurovis.live.decode import Decision, Decoder
from neurovis.live.engine import Engine
from neurovis.live.items import Block, Note, Options, Shown, Taken
from neurovis.live.markers import Marker, Markers
from neurovis.live.recipe import Facts, Recipe
from neurovis.store import read_json, write_json

PART = 16 * 2**20
"""Bytes of samples in one FIF file."""
EVENTS = ("event", "label", "image", "onset", "at")
MISSING = ("start", "stop", "channel")


class Recorder:
    """Writes a session; everything slow happens in a thread of its own.

    Parameters
    ----------
    folder : path
        Made; must not hold a session yet.
    recipe : Recipe
    about : dict
        Plain data for ``session.json``: run, subject, options.
    sfreq : float, Hz
    part : int
        Bytes of samples in one FIF file.
    """

    def __init__(
        self,
        folder: str | Path,
        recipe: Recipe,
        about: dict[str, Any],
        sfreq: float,
        part: int = PART,
    ):
        self.folder, self.recipe, self.sfreq = Path(folder), recipe, sfreq
        if (self.folder / "session.json").exists():
            raise NeurovisError(f"{folder}: holds a session already; choose another folder.")
        self.folder.mkdir(parents=True, exist_ok=True)
        names, types = list(recipe.names), list(recipe.types)
        position = np.nan_to_num(recipe.position.astype(float)).tolist()
        about = {**about, "sfreq": sfreq, "names": names, "types": types, "position": position}
        about = {"format": "neurovis-live", "format_version": 1, **about}
        write_json(self.folder / "session.json", {**about, "time": time.strftime("%FT%T%z")})
        self._room = max(1, part // (4 * len(names)))
        self._events = self._table("events.csv", EVENTS)
        self._missing = self._table("missing.csv", MISSING)
        self._lines = {n: (self.folder / n).open("a") for n in ("decisions.jsonl", "log.jsonl")}
        self._tail: Any = None
        self._first = self._held = self._number = 0
        self._spans: list[tuple[int, int, int | None]] = []
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def _table(self, name: str, columns: tuple[str, ...]) -> Any:
        handle = (self.folder / name).open("a", newline="", encoding="utf-8")
        csv.writer(handle).writerow(columns)
        handle.flush()
        return handle

    def __call__(self, item: Any) -> None:
        """Take what an engine gives out; returns at once.

        Raises
        ------
        NeurovisError
            If writing failed since the last call.
        """
        if self.failure is not None:
            raise NeurovisError(
                f"{self.folder}: the recording cannot be written on ({self.failure}); free space and start anew."
            ) from self.failure
        self._queue.put(item)

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            try:
                self._write(item)
            except Exception as error:  # the caller's thread says it
                self.failure = error
                return

    def _write(self, item: Any) -> None:
        if isinstance(item, Block):
            self._samples(item)
        elif isinstance(item, Taken):
            marker = item.marker
            row = (marker.number, marker.label, marker.image, repr(item.onset), item.at)
            csv.writer(self._events).writerow(row)
            self._events.flush()
        elif isinstance(item, Shown):
            self._line("decisions.jsonl", item.decision.to_dict())
        elif isinstance(item, Note):
            self._line("log.jsonl", asdict(item))

    def _line(self, name: str, data: dict[str, Any]) -> None:
        handle = self._lines[name]
        handle.write(json.dumps(data, ensure_ascii=True) + "\n")
        handle.flush()

    def _samples(self, block: Block) -> None:
        for start, stop, channel in block.missing:
            name = "" if channel is None else self.recipe.names[channel]
            csv.writer(self._missing).writerow((start, stop, name))
            self._missing.flush()
        self._spans += block.missing
        if self._tail is not None and block.start != self._first + self._held:
            self._fif()
        signal, start = block.signal, block.start
        while signal.shape[1]:
            if self._tail is None:
                self._first, self._held = start, 0
                self._tail = (self.folder / f"tail-{start}.f32").open("wb", buffering=0)
            count = min(signal.shape[1], self._room - self._held)
            self._tail.write(np.ascontiguousarray(signal[:, :count].T).tobytes())
            self._held += count
            signal, start = signal[:, count:], start + count
            if self._held >= self._room:
                self._fif()

    def _fif(self) -> None:
        """What waits becomes a FIF file."""
        path = Path(self._tail.name)
        self._tail.close()
        self._tail = None
        signal = _tail_of(path, len(self.recipe.names))
        stop = self._first + signal.shape[1]
        spans = [s for s in self._spans if s[1] > self._first and s[0] < stop]
        self._spans = [s for s in self._spans if s[1] > stop]
        self._number += 1
        out = self.folder / f"signal-{self._number:04d}_raw.fif"
        write_fif(out, self.recipe, self.sfreq, self._first, signal, spans)
        path.unlink()

    def close(self) -> None:
        """Write what waits, and end.

        Raises
        ------
        NeurovisError
            If something could not be written.
        """
        self._queue.put(None)
        self._thread.join()
        if self.failure is None and self._tail is not None:
            self._fif()
        for handle in (self._events, self._missing, *self._lines.values()):
            handle.close()
        if self.failure is not None:
            raise NeurovisError(f"{self.folder}: the recording is not whole ({self.failure}).")


def write_fif(
    path: Path,
    recipe: Recipe,
    sfreq: float,
    first: int,
    signal: np.ndarray,
    spans: list[tuple[int, int, int | None]],
) -> None:
    """One FIF file of samples (channel, time), SI, that begin with number `first`; atomically."""
    import mne

    info = mne.create_info(list(recipe.names), sfreq, list(recipe.types))
    for channel, place in zip(info["chs"], np.nan_to_num(recipe.position.astype(float))):
        channel["loc"][:3] = place
    raw = mne.io.RawArray(signal, info, first_samp=first, verbose="error")
    notes = [
        (max(a, first) - first, min(b, first + signal.shape[1]) - max(a, first), c)
        for a, b, c in spans
    ]
    if notes:
        onset = [a / sfreq for a, _, _ in notes]
        text = ["BAD_missing" if c is None else "missing" for _, _, c in notes]
        channels = [() if c is None else (recipe.names[c],) for _, _, c in notes]
        length = [n / sfreq for _, n, _ in notes]
        raw.set_annotations(mne.Annotations(onset, length, text, ch_names=channels))
    partial = path.with_name(f"partial-{path.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the name is one until it is renamed
        raw.save(partial, overwrite=True, verbose="error")
    partial.replace(path)


def _tail_of(path: Path, n_chans: int) -> np.ndarray:
    """Samples (channel, time) of a tail; half a sample at its end is left out."""
    flat = np.fromfile(path, np.float32)
    return np.ascontiguousarray(flat[: len(flat) // n_chans * n_chans].reshape(-1, n_chans).T)


class Session:
    """A recorded session.

    Parameters
    ----------
    folder : path

    Raises
    ------
    NeurovisError
        If there is none in it, or its description is damaged.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "session.json").is_file():
            raise NeurovisError(
                f"{folder}: no session.json in it, expected what neurovis live recorded."
            )
        self.about = read_json(self.folder / "session.json", "neurovis-live")
        missing = [n for n in ("sfreq", "names", "types", "position") if n not in self.about]
        if missing:
            raise NeurovisError(f"{folder}: session.json has no {missing[0]!r}; it is damaged.")
        self.sfreq, self.names = float(self.about["sfreq"]), tuple(self.about["names"])

    def _rows(self, name: str) -> list[dict[str, str]]:
        """Rows of a table; one that was cut short is left out."""
        with (self.folder / name).open(newline="", encoding="utf-8") as handle:
            return [r for r in csv.DictReader(handle) if None not in (*r, *r.values())]

    def events(self) -> list[Taken]:
        """Events in the order in which they came."""
        out = []
        for row in self._rows("events.csv"):
            marker = Marker(int(row["event"]), row["label"], row["image"], 0.0)
            out.append(Taken(marker, float(row["onset"]), int(row["at"])))
        return out

    def missing(self) -> list[tuple[int, int, int | None]]:
        """Stretches that were not measured: start, stop, channel or None for all."""
        out = []
        for row in self._rows("missing.csv"):
            channel = self.names.index(row["channel"]) if row["channel"] else None
            out.append((int(row["start"]), int(row["stop"]), channel))
        return out

    def decisions(self) -> list[dict[str, Any]]:
        """What was decided, in order; a line that was cut short is left out."""
        out = []
        for line in (self.folder / "decisions.jsonl").read_text(encoding="utf-8").splitlines():
            try:
                out.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return out

    def blocks(self, seconds: float = 1.0) -> Iterator[Block]:
        """Samples in order, some at a time, with what is missing in them."""
        missing = self.missing()
        size = max(1, int(seconds * self.sfreq))
        for first, signal in self._parts():
            for a in range(0, signal.shape[1], size):
                start, part = first + a, signal[:, a : a + size]
                stop = start + part.shape[1]
                spans = [
                    (max(x, start), min(y, stop), c)
                    for x, y, c in missing
                    if x < stop and y > start
                ]
                yield Block(start, np.ascontiguousarray(part), tuple(spans))

    def _parts(self) -> Iterator[tuple[int, np.ndarray]]:
        import mne

        stop = 0
        for path in sorted(self.folder.glob("signal-*_raw.fif")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                raw = mne.io.read_raw_fif(path, verbose="error")
                signal = raw.get_data(verbose="error").astype(np.float32)
            stop = raw.first_samp + signal.shape[1]
            yield raw.first_samp, signal
        for path in sorted(self.folder.glob("tail-*.f32"), key=lambda p: int(p.stem[5:])):
            first = int(path.stem[5:])
            if first >= stop:  # else its FIF file was just made
                signal = _tail_of(path, len(self.names))
                if signal.shape[1]:
                    yield first, signal


def decide_again(
    folder: str | Path, recipe: Recipe, decoder: Decoder, seconds: float = 1.0
) -> list[Decision]:
    """Decide a recorded session again, offline.

    Parameters
    ----------
    folder : path
    recipe : Recipe
    decoder : Decoder
        Of the run that decided it.
    seconds : float
        Samples are read so many at a time; no decision depends on it.

    Returns
    -------
    list of Decision
        The same, in the same order.
    """
    session, made = Session(folder), []
    about = session.about
    options = Options(**{k: tuple(v) if k == "early" else v for k, v in about["options"].items()})

    def keep(item: Any) -> None:
        if isinstance(item, Shown):
            made.append(item.decision)

    if tuple(recipe.names) != session.names:
        raise NeurovisError(
            f"{folder}: was recorded for other channels than this run's; give its run."
        )
    facts = Facts(session.names, session.sfreq, source=str(folder))
    engine = Engine(
        recipe, decoder, facts, Markers({}), options, keep, about.get("bads", ()),
        absent=about.get("absent", ()),
    )  # fmt: skip
    if (session.folder / "calibration.json").is_file():
        calibrated, until = calibrate.read(session.folder, decoder)
        engine.gather(until, lambda *epoch: None, lambda: calibrated)
    events = session.events()
    for block in session.blocks(seconds):
        # an event meets the samples that had come before it
        while events and events[0].at < block.start + block.signal.shape[1]:
            taken = events.pop(0)
            cut = max(0, taken.at - block.start)
            if cut:
                engine.again(Block(block.start, block.signal[:, :cut], block.missing))
                block = Block(block.start + cut, block.signal[:, cut:], block.missing)
            engine.event(taken.marker, taken.onset)
        engine.again(block)
    for taken in events:
        engine.event(taken.marker, taken.onset)
    engine.end()
    return made
