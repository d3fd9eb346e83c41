"""Lab Streaming Layer: finding a stream and its markers, and finding them again.

Comes in: names. Goes out: samples and markers in the order of arrival, and a sentence whenever a stream
comes, goes, or comes back. Each stream is read in a thread of its own, which awaits samples, not polls them:
liblsl throws away what it holds of a stream when its sender goes, so nothing may wait there.

Reference: Kothe et al. 2025, doi:10.1162/IMAG.a.136 (the Lab Streaming Layer).
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, UsageError, missing_package
from neurovis.live.recipe import Facts

WAIT = 0.1  # s that a sample is awaited before anything else is looked at
LOOK = 1.5  # s; liblsl asks other ports of this machine after half a second
SILENT = 1.5  # s without a sample after which the stream is looked for anew
QUIET = 2.0  # s without a marker, which may be no more than a pause
FIND = 30.0  # s that a stream is looked for at the start
CONNECT = 5.0  # s for a stream that answers to be opened
OPEN = 15.0  # s for an open stream to describe itself
GONE = 120.0  # s that a stream that is gone is waited for


@dataclass(frozen=True)
class Samples:
    """New samples.

    Parameters
    ----------
    signal : array (time, channel)
    stamps : array (time,), s
    arrived : float, s
        By `time.perf_counter`.
    """

    signal: np.ndarray
    stamps: np.ndarray
    arrived: float


@dataclass(frozen=True)
class Mark:
    """A new marker, with its time (s)."""

    label: str
    stamp: float


@dataclass(frozen=True)
class Connected:
    """A stream is there: what it says of itself."""

    facts: Facts


@dataclass(frozen=True)
class Said:
    """One sentence on what happened to a stream.

    Parameters
    ----------
    text : str
    state : {"", "live", "lost", "ended"}
        Of the signals from now on; empty where it is of something else.
    """

    text: str
    state: str = ""


def lsl() -> Any:
    """The module ``mne_lsl.lsl``, or the line that installs it."""
    try:
        from mne_lsl import lsl as module
    except ImportError:
        raise missing_package("mne-lsl", "live") from None
    return module


_SESSION: list[str] = []


def alone(session: str) -> str:
    """Keep the streams of this process on this machine, under a session of their own.

    Must be called before anything else of liblsl, which reads its configuration once per process.

    Returns
    -------
    str
        The session: that of the first call.
    """
    if not _SESSION:
        text = "[multicast]\nResolveScope = machine\n[lab]\nKnownPeers = {127.0.0.1}\n"
        lsl().set_config_content(text + f"SessionID = {session}\n[log]\nlevel = -3\n")
        _SESSION.append(session)
    return _SESSION[0]


class _Inlet:
    """One stream that is found by name, opened, lost and found again.

    Attributes
    ----------
    quiet : float, s
        How long nothing came.
    answered : float, s
        Of this time until a stream of the name last answered.
    other : stream or None
        The one that did: the next of the same sender, or the same.
    """

    def __init__(self, name: str, kind: str, option: str):
        self.name, self.kind, self.option = name, kind, option
        self.inlet: Any = None
        self.info: Any = None
        self.other: Any = None
        self.correction = self.quiet = self.answered = 0.0

    def search(self, minimum: int = 1) -> list[Any]:
        """Streams of this name that answer, the newest first; of this type as long as it has no name."""
        by_name = {"name": self.name} if self.name else {"stype": self.kind}
        found = lsl().resolve_streams(timeout=LOOK, minimum=minimum, **by_name)
        return sorted(found, key=lambda one: -one.created_at)

    def find(self) -> bool:
        """Look for it once, and open it; False where it is not there."""
        found = self.search()
        names = sorted({one.name for one in found})
        if len(names) > 1:
            raise UsageError(
                f"{self.option}: expected one stream of type {self.kind}, found {len(names)}: "
                f"{', '.join(names)}; name one."
            )
        # one that was just lost may still answer: the newest comes first
        return any(self.open(one) for one in found)

    def open(self, found: Any) -> bool:
        """Open a stream in place of what was open; False where it is gone."""
        inlet = lsl().StreamInlet(found, max_buffered=360, recover=False)
        try:
            inlet.open_stream(timeout=CONNECT)
            # long, as its sender takes it for one that listens; markers say what they are, and those that
            # came meanwhile would be lost if their sender went again
            info = found if self.kind == "Markers" else inlet.get_sinfo(timeout=OPEN)
        except (RuntimeError, TimeoutError):
            close(inlet)
            return False
        before, self.inlet, self.info, self.name = self.inlet, inlet, info, info.name
        self.came()
        if before is not None:
            # takes long where the sender has not said that it is gone; the next sample does not wait for it
            threading.Thread(target=close, args=(before,), name="closing", daemon=True).start()
        return True

    def came(self) -> None:
        """Something came."""
        self.quiet, self.answered, self.other = 0.0, 0.0, None

    def look(self) -> None:
        """Whether another one answers; an outlet that ends may leave its connections open (liblsl 1.16)."""
        found = self.search(minimum=2)
        if found:
            self.answered, self.other = self.quiet, found[0]

    def lose(self) -> None:
        """Let it go."""
        inlet, self.inlet, self.other = self.inlet, None, None
        close(inlet)

    @property
    def successor(self) -> Any:
        """A later stream of the name that answers while nothing comes, or None; asked once."""
        other, self.other = self.other, None
        return other if other is not None and other.created_at > self.info.created_at else None


def close(inlet: Any) -> None:
    """Let an inlet go, if there is one."""
    if inlet is not None:
        with contextlib.suppress(RuntimeError):
            inlet.close_stream()


class Listener:
    """A stream of signals and one of markers.

    Parameters
    ----------
    name : str
        Of the signals' stream.
    markers : str
        Of the markers' stream; the only one of type ``Markers`` if empty.
    channels : tuple of str
        Names of the channels, for streams that say none.
    timeout : float, s
        For the first finding of the streams.
    wait : float, s
        For every later one. LSL does not say whether a sender that is gone has finished or failed: one
        that is not back by then has ended its stream.
    stop : callable
        Ends the listening when it says so.

    Attributes
    ----------
    idle : float, s
        How long a sample has been awaited.
    """

    def __init__(
        self,
        name: str,
        markers: str = "",
        channels: tuple[str, ...] = (),
        timeout: float = FIND,
        wait: float = GONE,
        stop: Callable[[], bool] = lambda: False,
    ):
        self.signals = _Inlet(name, "", "--stream")
        self.marks = _Inlet(markers, "Markers", "--markers")
        self.channels, self.timeout, self.wait, self.stop = channels, timeout, wait, stop
        self.idle = 0.0
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._ended = threading.Event()

    def __iter__(self) -> Iterator[Samples | Mark | Connected | Said]:
        """Whatever comes, until `stop`, or until the stream of signals has ended.

        Raises
        ------
        NeurovisError
            If no such stream is found in time, or its description is of no use.
        """
        threads = [
            threading.Thread(target=self._safely, args=(read,), name=name, daemon=True)
            for name, read in (
                ("signals", self._signals),
                ("markers", self._markers),
                ("watch", self._watch),
            )
        ]
        for thread in threads:
            thread.start()
        try:
            yield from self._heard()
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _heard(self) -> Iterator[Samples | Mark | Connected | Said]:
        early: list[Mark] | None = []  # markers that came before it is known what they mark
        while not self.stop():
            try:
                item = self._queue.get(timeout=WAIT)
            except queue.Empty:
                # what is waited, not what the clock says: a machine that is busy is no silent stream
                self.idle += WAIT
                continue
            if item is None:
                break
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Mark) and early is not None:
                early.append(item)
                continue
            if isinstance(item, Samples | Connected):
                self.idle = 0.0
            yield item
            if isinstance(item, Connected) and early is not None:
                yield from early
                early = None
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, Mark | Said):
                    yield item

    def _safely(self, read: Callable[[], None]) -> None:
        """Read until the end; whatever goes wrong is raised where the items are taken."""
        try:
            read()
        except Exception as error:
            self._queue.put(error)

    def _watch(self) -> None:
        """Look for successors of streams from which nothing comes, beside those who await samples."""
        while not self._ended.wait(WAIT):
            for one, patience in ((self.signals, SILENT), (self.marks, QUIET)):
                if one.inlet is not None and one.other is None and one.quiet > patience:
                    one.look()

    # ---- signals

    def _signals(self) -> None:
        one, deadline = self.signals, time.monotonic() + self.timeout
        while not one.find():
            if self._ended.is_set():
                return
            if time.monotonic() > deadline:
                raise NeurovisError(
                    f"--stream: found no stream {one.name!r} within {self.timeout:g} s, expected one "
                    "on this network; start the amplifier's stream, or correct the name."
                )
        name = f"stream {one.name}"
        self._queue.put(self._connected())
        while (why := self._while_it_comes(name)) is not None:
            text = f"{name}: {why}; waiting {self.wait:g} s for it to come back"
            self._queue.put(Said(text, "lost"))
            deadline = time.monotonic() + self.wait
            while not one.find():
                if self._ended.is_set():
                    return
                if time.monotonic() > deadline:
                    text = f"{name}: did not come back within {self.wait:g} s; the session ends"
                    self._queue.put(Said(text, "ended"))
                    self._queue.put(None)
                    return
            self._queue.put(Said(f"{name}: is back", "live"))
            self._queue.put(self._connected())
        one.lose()

    def _while_it_comes(self, name: str) -> str | None:
        """Read one inlet until its stream is gone; why it is, or None where listening ends."""
        one = self.signals
        while not self._ended.is_set():
            try:
                got = self._pull(one.inlet)
            except RuntimeError:
                one.lose()
                return "was closed by its sender, or lost"
            if got is not None:
                if one.quiet > SILENT:
                    self._queue.put(Said(f"{name}: is back", "live"))
                one.came()
                self._queue.put(got)
                continue
            before, one.quiet = one.quiet, one.quiet + WAIT
            if before <= SILENT < one.quiet:
                self._queue.put(Said(f"{name}: silent for {SILENT:g} s", "lost"))
            if one.successor is not None:
                one.lose()
                return "was closed by its sender, as another one of its name is there"
            if one.quiet - max(one.answered, SILENT) > self.wait:
                one.lose()
                return f"silent for {one.quiet:.0f} s and nowhere to be found"
        return None

    def _pull(self, inlet: Any) -> Samples | None:
        """What is there; the first sample is awaited."""
        sample, stamp = inlet.pull_sample(timeout=WAIT)
        if stamp is None:
            return None
        parts, stamps = [np.array(sample)[None]], [np.array([stamp])]
        # a second of signal at most, so that markers are heard between
        with contextlib.suppress(RuntimeError):  # said at the next pull
            more, times = inlet.pull_chunk(timeout=0.0, max_samples=max(1, int(inlet.sfreq)))
            if len(times):
                parts.append(np.array(more))
                stamps.append(times)
        arrived = time.perf_counter()
        return Samples(
            np.concatenate(parts), np.concatenate(stamps) + self.signals.correction, arrived
        )

    def _connected(self) -> Connected:
        info, wanted = self.signals.info, self.signals.name
        if info.sfreq <= 0:
            raise NeurovisError(
                f"stream {wanted}: has no regular rate, expected samples at one; give the signals' stream."
            )
        if info.dtype == "string" or np.dtype(info.dtype).kind not in "fiu":
            raise NeurovisError(f"stream {wanted}: holds no numbers; give the signals' stream.")
        names = tuple(info.get_channel_names() or self.channels)
        if not names or any(name is None for name in names):
            raise NeurovisError(
                f"stream {wanted}: names no channels, expected names to find the run's by; list them in "
                "--channels."
            )
        if len(names) != info.n_channels:
            raise NeurovisError(
                f"stream {wanted}: has {info.n_channels} channels, expected {len(names)} as they are named; "
                "correct --channels."
            )
        self._correct()
        units = tuple(str(unit) for unit in info.get_channel_units() or ())
        return Connected(Facts(names, float(info.sfreq), units, f"stream {wanted}"))

    def _correct(self) -> None:
        """Bring both streams to one clock, where they come from two machines."""
        known = [one.info for one in (self.signals, self.marks) if one.info is not None]
        if len(known) < 2 or known[0].hostname == known[1].hostname:
            return  # only what lies between samples and markers counts
        for one in (self.signals, self.marks):
            inlet = one.inlet  # another thread may lose it
            if inlet is not None:
                with contextlib.suppress(RuntimeError, TimeoutError):
                    one.correction = inlet.time_correction(timeout=2.0)

    # ---- markers

    def _markers(self) -> None:
        one, missed = self.marks, False
        while not self._ended.is_set():
            if one.inlet is None:
                if not one.find():
                    if not missed:
                        self._queue.put(
                            Said("markers: found no stream of them yet; looking for it")
                        )
                        missed = True
                    continue
                missed = True
                self._queue.put(Said(f"markers {one.name}: are there"))
                self._correct()
            try:
                sample, stamp = one.inlet.pull_sample(timeout=WAIT)
            except RuntimeError:
                one.lose()
                self._queue.put(Said("markers: their stream was lost; looking for it"))
                continue
            if stamp is not None:
                one.came()
                self._queue.put(Mark(str(sample[0]), stamp + one.correction))
                continue
            one.quiet += WAIT
            successor = one.successor
            if successor is not None and one.open(successor):
                self._queue.put(Said(f"markers {one.name}: are those of a new stream of this name"))
                self._correct()
        one.lose()
