"""Lab Streaming Layer: finding a stream and its markers, and finding them again.

Comes in: names. Goes out: samples and markers in the order of arrival, and a sentence whenever a stream
comes, goes, or comes back. Samples are awaited, not polled, so that they are there as soon as liblsl has
them; markers are read in a thread of their own.

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
SILENT = 3.0  # s without a sample after which the stream is looked for anew


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
    """One sentence on what happened to a stream."""

    text: str


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
        lsl().set_config_content(text + f"SessionID = {session}\n[log]\nlevel = -2\n")
        _SESSION.append(session)
    return _SESSION[0]


class _Inlet:
    """One stream that is found by name, opened, lost and found again."""

    def __init__(self, name: str, kind: str, option: str):
        self.name, self.kind, self.option = name, kind, option
        self.inlet: Any = None
        self.info: Any = None
        self.correction = 0.0

    def find(self, timeout: float = LOOK) -> bool:
        """Look for it once, and open it; False where it is not there."""
        module = lsl()
        by_name = {"name": self.name} if self.name else {"stype": self.kind}
        found = module.resolve_streams(timeout=timeout, **by_name)
        if not self.name and len(found) > 1:
            raise UsageError(
                f"{self.option}: expected one stream of type {self.kind}, found {len(found)}: "
                f"{', '.join(sorted(one.name for one in found))}; name one."
            )
        if len(found) > 1:
            # one that was just lost may still answer
            found = sorted(found, key=lambda one: -one.created_at)
        for one in found:
            inlet = module.StreamInlet(one, max_buffered=360, recover=False)
            try:
                inlet.open_stream(timeout=2.0)
                self.info = inlet.get_sinfo(timeout=2.0)
            except (RuntimeError, TimeoutError):
                continue
            self.inlet = inlet
            return True
        return False

    def lose(self) -> None:
        """Let it go."""
        inlet, self.inlet = self.inlet, None
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
        timeout: float = 30.0,
        stop: Callable[[], bool] = lambda: False,
    ):
        self.signals = _Inlet(name, "", "--stream")
        self.marks = _Inlet(markers, "Markers", "--markers")
        self.channels, self.timeout, self.stop = channels, timeout, stop
        self.idle = 0.0
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._ended = threading.Event()

    def __iter__(self) -> Iterator[Samples | Mark | Connected | Said]:
        """Whatever comes, until `stop`.

        Raises
        ------
        NeurovisError
            If no such stream is found in time, or its description is of no use.
        """
        deadline = time.monotonic() + self.timeout
        while not self.signals.find():
            if self.stop():
                return
            if time.monotonic() > deadline:
                raise NeurovisError(
                    f"--stream: found no stream {self.signals.name!r} within {self.timeout:g} s, expected one "
                    "on this network; start the amplifier's stream, or correct the name."
                )
        thread = threading.Thread(target=self._markers, name="markers", daemon=True)
        thread.start()
        try:
            yield self._connected()
            yield from self._listen()
        finally:
            self._ended.set()
            thread.join()
            self.signals.lose()

    def _listen(self) -> Iterator[Samples | Mark | Connected | Said]:
        while not self.stop():
            yield from self._marked()
            got = None
            if self.signals.inlet is not None:
                try:
                    got = self._pull()
                except RuntimeError:
                    self.signals.lose()
                    yield Said(f"stream {self.signals.name}: was lost; looking for it")
            if got is not None:
                self.idle = 0.0
                yield got
                continue
            # what is waited, not what the clock says: a machine that is busy is no silent stream
            self.idle += WAIT
            if self.signals.inlet is not None and self.idle > SILENT:
                yield Said(
                    f"stream {self.signals.name}: silent for {SILENT:g} s; looking for it anew"
                )
                self.signals.lose()
            if self.signals.inlet is None and self.signals.find():
                self.idle = 0.0
                yield Said(f"stream {self.signals.name}: is back")
                yield self._connected()
        yield from self._marked()

    def _pull(self) -> Samples | None:
        """What is there; the first sample is awaited."""
        inlet, parts, stamps = self.signals.inlet, [], []
        sample, stamp = inlet.pull_sample(timeout=WAIT)
        if stamp is None:
            return None
        parts.append(np.array(sample)[None])
        stamps.append([stamp])
        # a second of signal at most, so that markers are heard between
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
        if self.marks.info is None or self.signals.info.hostname == self.marks.info.hostname:
            return  # only what lies between samples and markers counts
        for one in (self.signals, self.marks):
            if one.inlet is not None:
                with contextlib.suppress(RuntimeError, TimeoutError):
                    one.correction = one.inlet.time_correction(timeout=2.0)

    def _marked(self) -> Iterator[Mark | Said]:
        while True:
            try:
                yield self._queue.get_nowait()
            except queue.Empty:
                return

    def _markers(self) -> None:
        """Read markers until the end; runs in a thread."""
        missed = False
        while not self._ended.is_set():
            try:
                if self.marks.inlet is None:
                    if not self.marks.find():
                        if not missed:
                            self._queue.put(
                                Said("markers: found no stream of them yet; looking for it")
                            )
                            missed = True
                        continue
                    missed = True
                    self._queue.put(Said(f"markers {self.marks.info.name}: are there"))
                    self._correct()
                sample, stamp = self.marks.inlet.pull_sample(timeout=WAIT)
            except NeurovisError as error:
                self._queue.put(Said(str(error)))
                return
            except RuntimeError:
                self.marks.lose()
                self._queue.put(Said("markers: their stream was lost; looking for it"))
                continue
            if stamp is not None:
                self._queue.put(Mark(str(sample[0]), stamp + self.marks.correction))
        self.marks.lose()
