"""A recording played as a stream, in a process of its own: ``python -m neurovis.live.player``.

Comes in: one line of JSON on stdin (`Play`). Goes out: a Lab Streaming Layer stream of the recording's
M/EEG channels in V or T, one of its markers (image ids), and on stdout one line of JSON when it has begun
and one when it has ended, with what was sent. Time stamps are those of the recording at real speed,
whatever `speed`; so that what receives them sees the same times.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import Config, build, resolve
from neurovis.errors import NeurovisError, UsageError, unknown

TICK = 0.01  # s of the recording sent at a time, at real speed
AHEAD = 10.0  # s read at a time
SETTLE = 0.5  # s before a drop, in which what was sent arrives


class Play(Config):
    """What to play, and how.

    Parameters
    ----------
    replay : str
        ``DATASET/RECORDING``, such as ``synthetic/ses-01_run-01``, or the folder of a live session.
    root : str
        Of the dataset.
    subject : str
    stream, markers : str
        Names of the streams.
    session : str
        Of the Lab Streaming Layer, which keeps the streams on this machine; empty leaves it to
        liblsl's own configuration.
    speed : float
        Times real speed.
    start, duration : float, s
        Part of the recording; all of it if `duration` is 0.
    drops : tuple of float, s
        When both streams go away, to see what happens.
    gone : float, s
        How much of the recording is lost each time.
    """

    replay: str
    root: str = ""
    subject: str = ""
    stream: str = "neurovis-replay"
    markers: str = "neurovis-replay-markers"
    session: str = ""
    speed: float = 1.0
    start: float = 0.0
    duration: float = 0.0
    drops: tuple[float, ...] = ()
    gone: float = 1.0


class Played:
    """A recording, read in order.

    Parameters
    ----------
    names, types : tuple of str (channel,)
    sfreq : float, Hz
    n_times : int
    onset : array (event,), s from the first sample
    label : array of str (event,)
    read : callable
        First and last sample -> array (channel, time) float32, SI; NaN where nothing was measured.
    bads : tuple of str
        Channels that the recording marks as bad.
    session : str
        Of the recording; empty where it is not known.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        types: tuple[str, ...],
        sfreq: float,
        n_times: int,
        onset: np.ndarray,
        label: np.ndarray,
        read: Any,
        bads: tuple[str, ...] = (),
        session: str = "",
    ):
        order = np.argsort(onset, kind="stable")
        self.names, self.types, self.sfreq, self.n_times = names, types, sfreq, n_times
        self.onset, self.label = np.asarray(onset, float)[order], np.asarray(label)[order]
        self.read, self.bads, self.session = read, bads, session

    def pieces(self, start: int, stop: int, step: int) -> Iterator[tuple[int, np.ndarray]]:
        """Samples of a part, `step` at a time: number of the first, array (time, channel)."""
        ahead = max(step, int(AHEAD * self.sfreq) // step * step)
        for first in range(start, stop, ahead):
            signal = np.ascontiguousarray(self.read(first, min(first + ahead, stop)).T)
            for a in range(0, len(signal), step):
                yield first + a, signal[a : a + step]


def recording(replay: str, root: str = "", subject: str = "") -> Played:
    """Open what is to be played.

    Parameters
    ----------
    replay, root, subject
        As in `Play`.

    Raises
    ------
    NeurovisError
        If there is no such dataset, subject, recording or session.
    """
    if (Path(replay) / "session.json").is_file():
        return _session(Path(replay))
    from neurovis.datasets import Dataset, SensorData, load_datasets
    from neurovis.signals.sources import Continuous

    name, _, run = replay.partition("/")
    known, name = load_datasets(), name.replace("-", "_")
    if name not in known or not run:
        if name not in known and run:
            raise UsageError(unknown("--replay: dataset", name, known))
        raise UsageError(
            f"--replay: expected DATASET/RECORDING, such as synthetic/ses-01_run-01, or the folder of a live "
            f"session, found {replay!r}."
        )
    dataset = resolve(Dataset, name)
    if not root or not Path(root).is_dir():
        raise UsageError(f"--root: expected the folder of {name!r}, found {root!r}; give it.")
    every = dataset.recordings(Path(root))
    some = [one for one in every if one.subject == subject] if subject else every
    if not some:
        raise UsageError(unknown("--subject: subject", subject, {one.subject for one in every}))
    if len({one.subject for one in some}) > 1:
        raise UsageError(
            f"--subject: expected one of {', '.join(sorted({o.subject for o in some}))}."
        )
    fits = [one for one in some if one.name == run]
    if not fits:
        raise UsageError(unknown("--replay: recording", run, [one.name for one in some]))
    if not isinstance(dataset, SensorData):
        raise NeurovisError(f"--replay: {name!r} holds no M/EEG, expected signals of sensors.")
    got = dataset.read(Path(root), fits[0])
    if not isinstance(got, tuple):
        raise NeurovisError(
            f"--replay: the owners of {name!r} cut its recordings into epochs, expected a continuous one."
        )
    source, events = got
    if isinstance(source, Continuous):
        names, types = list(source.names), list(source.types)
    else:
        names, types = list(source.ch_names), source.get_channel_types()
    picks = [i for i, kind in enumerate(types) if kind in ("mag", "grad", "eeg")]
    if isinstance(source, Continuous):
        sfreq, n_times, bads = float(source.sfreq), int(source.signal.shape[1]), source.bads

        def read(a: int, b: int) -> np.ndarray:
            part = np.stack([np.asarray(source.signal[i][a:b], np.float32) for i in picks])
            return part * np.float32(source.factor)
    else:
        sfreq, n_times = float(source.info["sfreq"]), int(source.n_times)
        bads = source.info["bads"]

        def read(a: int, b: int) -> np.ndarray:
            return source.get_data(picks, a, b, verbose="error").astype(np.float32)

    return Played(
        tuple(names[i] for i in picks), tuple(types[i] for i in picks), sfreq, n_times,
        events.onset, events.image, read, tuple(bads), fits[0].session,
    )  # fmt: skip


def _session(folder: Path) -> Played:
    """A live session that was recorded."""
    from neurovis.live.session import Session

    session = Session(folder)
    events = session.events()
    n_times = max((b.start + b.signal.shape[1] for b in session.blocks(AHEAD)), default=0)
    return Played(
        session.names, tuple(session.about["types"]), session.sfreq, n_times,
        np.array([e.onset for e in events]), np.array([e.marker.label for e in events]),
        _Forward(session).read, tuple(session.about.get("bads", ())), session.about.get("session", ""),
    )  # fmt: skip


class _Forward:
    """Blocks of a session, read on from where the last reading ended."""

    def __init__(self, session: Any):
        self.blocks = session.blocks(AHEAD)
        self.held: list = []

    def read(self, a: int, b: int) -> np.ndarray:
        """Samples [a, b), which never go back; NaN where none was measured."""
        out = None
        while not self.held or self.held[-1].start + self.held[-1].signal.shape[1] < b:
            block = next(self.blocks, None)
            if block is None:
                break
            self.held.append(block)
        for block in self.held:
            if out is None:
                out = np.full((len(block.signal), b - a), np.nan, np.float32)
            stop = block.start + block.signal.shape[1]
            low, high = max(a, block.start), min(b, stop)
            if low >= high:
                continue
            part = block.signal.copy()
            for x, y, channel in block.missing:
                part[
                    slice(None) if channel is None else channel, x - block.start : y - block.start
                ] = np.nan
            out[:, low - a : high - a] = part[:, low - block.start : high - block.start]
        self.held = [k for k in self.held if k.start + k.signal.shape[1] > b]
        return out


class Outlets:
    """The two streams of a recording.

    Parameters
    ----------
    played : Played
    play : Play
    """

    def __init__(self, played: Played, play: Play):
        self.played, self.play = played, play
        self.open()

    def open(self) -> None:
        """Offer both streams, anew after `close`."""
        from neurovis.live.stream import lsl

        module, played, play = lsl(), self.played, self.play
        n, self.clock = len(played.names), module.local_clock
        info = module.StreamInfo(play.stream, "signal", n, played.sfreq, "float32", play.stream)
        info.set_channel_names(list(played.names))
        info.set_channel_types(list(played.types))
        self.signals = module.StreamOutlet(info)
        info = module.StreamInfo(play.markers, "Markers", 1, 0.0, "string", play.markers)
        self.markers = module.StreamOutlet(info)

    def wait(self, timeout: float) -> bool:
        """Until both are listened to."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.signals.has_consumers and self.markers.has_consumers:
                return True
            time.sleep(0.02)
        return False

    def send(self, signal: np.ndarray, stamps: np.ndarray) -> int:
        """Send samples (time, channel) that were measured, in some channel at least; how many."""
        there = ~np.isnan(signal).all(axis=1)
        count = int(there.sum())
        if count == 1:
            self.signals.push_sample(np.ascontiguousarray(signal[there][0]), stamps[there][0])
        elif count:
            self.signals.push_chunk(np.ascontiguousarray(signal[there]), stamps[there])
        return count

    def close(self) -> None:
        """Let both streams go."""
        del self.signals, self.markers

    def mark(self, label: str, stamp: float) -> None:
        """Send a marker."""
        self.markers.push_sample([label], stamp)


def play(played: Played, options: Play, outlets: Outlets) -> dict[str, int]:
    """Send a recording at its speed; give how many samples and markers were sent.

    Chunks of `TICK` real seconds are due when their last sample would have been recorded. A marker is
    sent with the samples that it lies among.
    """
    sfreq = played.sfreq
    start = round(options.start * sfreq)
    stop = (
        min(played.n_times, start + round(options.duration * sfreq)) if options.duration else None
    )
    stop = played.n_times if stop is None else stop
    step = max(1, round(TICK * sfreq * max(options.speed, 1.0)))
    began, zero = time.perf_counter(), outlets.clock()
    due = int(np.searchsorted(played.onset, start / sfreq))
    sent, drops, back = {"samples": 0, "markers": 0}, sorted(options.drops), 0
    for first, signal in played.pieces(start, stop, step):
        last = first + len(signal)
        while (wait := began + (last - start) / sfreq / options.speed - time.perf_counter()) > 0:
            time.sleep(wait)
        if drops and first >= drops[0] * sfreq:
            paused, back = time.perf_counter(), first + round(options.gone * sfreq)
            drops = [one for one in drops if one * sfreq >= back]
            time.sleep(SETTLE)
            outlets.close()
            outlets.open()
            if not outlets.wait(60.0):
                raise NeurovisError("replay: nobody came back to its streams within 60 s.")
            began += time.perf_counter() - paused
        if first >= back:
            sent["samples"] += outlets.send(signal, zero + np.arange(first, last) / sfreq)
        while due < len(played.onset) and played.onset[due] * sfreq < last:
            if first >= back:
                outlets.mark(str(played.label[due]), zero + played.onset[due])
                sent["markers"] += 1
            due += 1
    return sent


def main() -> int:
    """Play what stdin describes, until stdin ends."""
    from neurovis.live.stream import alone

    try:
        options = build(Play, json.loads(sys.stdin.readline()))
        if options.speed <= 0:
            raise UsageError(f"--speed: expected above 0, found {options.speed:g}.")
        played = recording(options.replay, options.root, options.subject)
        if options.session:
            alone(options.session)
        outlets = Outlets(played, options)
        if not outlets.wait(60.0):
            raise NeurovisError("replay: nobody listened to its streams within 60 s.")
        print(json.dumps({"begun": True}), flush=True)
        sent = play(played, options, outlets)
        print(json.dumps({"sent": sent}), flush=True)
    except NeurovisError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    sys.stdin.read()  # streams stay until whoever started this lets go
    return 0


if __name__ == "__main__":
    sys.exit(main())
