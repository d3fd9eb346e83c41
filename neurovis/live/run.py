"""``neurovis live``: a stream is decoded while it arrives, shown on a page and recorded.

Comes in: a run and the name of a stream, or a recording to play as one. Goes out: a page, a session on
disk, and a summary. One loop awaits samples, decides, and hands results on; page, recorder and painting
work in threads of their own and never hold it up.
"""

from __future__ import annotations

import csv
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.config import Config
from neurovis.errors import NeurovisError, UsageError
from neurovis.generate.base import Generator
from neurovis.live.calibrate import Calibration, write
from neurovis.live.cueing import cueing
from neurovis.live.decode import Decision, Decoder, load
from neurovis.live.engine import Engine
from neurovis.live.items import Note, Options, Shown
from neurovis.live.lane import Lane
from neurovis.live.markers import Markers
from neurovis.live.page import Page, drawn
from neurovis.live.pictures import Pictures, jpeg
from neurovis.live.recipe import Facts, Recipe
from neurovis.live.replay import Replay
from neurovis.live.session import Recorder
from neurovis.live.stream import FIND, GONE, Connected, Listener, Mark, Said, Samples, lsl
from neurovis.live.tally import Latencies, Tally
from neurovis.progress import say

SWITCH = 5e-4  # s that page and recorder may hold up the thread that decides
TOLD = 0.5  # s between words on the stream's state
SAID = {"lost": "stream lost"}
IDLE = 3.0  # s without a sample after which a replay that was sent is over


class Live(Config):
    """How a stream is decoded.

    Parameters
    ----------
    run : str
        Folder of a run.
    stream : str
        Name of the Lab Streaming Layer's stream of signals.
    markers : str
        Of the stream of markers; the only one of type ``Markers`` if empty.
    events : tuple of str
        Patterns of the markers that are events; everything if empty.
    labels : str
        CSV with columns ``marker`` and ``image``, where markers are not image ids.
    lag : float, s
        By how much markers follow the pictures.
    channels : tuple of str
        Names of the stream's channels, where it says none.
    bads : tuple of str
        Channels known to be bad.
    subject, session : str
        Whose model, and whose scale where each session has its own.
    gallery : tuple of str
        ``embeddings.h5`` or ``TARGET=embeddings.h5``; the run's test images if empty.
    stimuli : str
        ``stimuli.csv`` with concepts and pictures of the gallery.
    k : int
        Pictures and concepts per decision.
    early : tuple of float, s
        Ends of growing windows.
    average : bool
        Also decide on the mean of all repeats so far.
    wait : float, s
        How long a stream that is gone is waited for; then the session ends.
    warm : float, s
        Signal from which bad channels are learned before anything is decided.
    generator : Generator, optional
        Paints what is decoded, in a process of its own.
    calibrate : float, min
        Learn from the first minutes of the stream before going live.
    align : bool
        Where the run's filters were zero-phase: shift windows by the delay of causal ones.
    replay, root : str
        Play ``DATASET/RECORDING``, or a recorded session, as a stream.
    speed : float
        Of the replay, times real speed.
    start, duration : float, s
        Part of the replay; with a stream, `duration` ends it.
    drops : tuple of float, s
        When the replay's streams go away, to see what happens.
    gone : float, s
        How much of the recording is lost each time.
    host : str
    port : int
    out : str
        The session goes to ``OUT/live/...``.
    device : str
    fold : int, optional
    """

    run: str
    stream: str = ""
    markers: str = ""
    events: tuple[str, ...] = ()
    labels: str = ""
    lag: float = 0.0
    channels: tuple[str, ...] = ()
    bads: tuple[str, ...] = ()
    subject: str = ""
    session: str = ""
    gallery: tuple[str, ...] = ()
    stimuli: str = ""
    k: pydantic.PositiveInt = 5
    early: tuple[pydantic.PositiveFloat, ...] = ()
    average: bool = True
    wait: pydantic.NonNegativeFloat = GONE
    warm: pydantic.PositiveFloat = 10.0
    generator: Generator | None = None
    calibrate: pydantic.NonNegativeFloat = 0.0
    align: bool = True
    replay: str = ""
    root: str = ""
    speed: pydantic.PositiveFloat = 1.0
    start: pydantic.NonNegativeFloat = 0.0
    duration: pydantic.NonNegativeFloat = 0.0
    drops: tuple[pydantic.NonNegativeFloat, ...] = ()
    gone: pydantic.PositiveFloat = 1.0
    host: str = "127.0.0.1"
    port: int = pydantic.Field(0, ge=0, le=65535)
    out: str = "."
    device: str = "cpu"
    fold: int | None = None


def live(
    options: Live,
    quiet: bool = False,
    opened: Callable[[str], None] | None = None,
    watch: Callable[[Shown, float], None] | None = None,
) -> dict[str, Any]:
    """Decode a stream until it is stopped, or a replay ends.

    Parameters
    ----------
    options : Live
    quiet : bool
    opened : callable, optional
        Told the page's address.
    watch : callable, optional
        Told each decision, and when its last sample arrived (s, by `time.perf_counter`).

    Returns
    -------
    dict
        The summary: counts, accuracy, latency, the session's folder.

    Raises
    ------
    NeurovisError
        If the run, the stream or the recording are of no use; what was recorded until then is kept.
    """
    if bool(options.stream) == bool(options.replay):
        raise UsageError(
            "live: expected --stream NAME or --replay DATASET/RECORDING, found "
            + ("both; give one." if options.stream else "none; give one.")
        )
    lsl()
    decoder = load(
        options.run, options.subject, options.gallery, options.stimuli, options.k, options.fold,
        options.device,
    )  # fmt: skip
    replay = Replay(options) if options.replay else None
    patience = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        recipe = Recipe.of(
            options.run, decoder.model, decoder.subject,
            options.session or (replay.session if replay else ""), options.align,
        )  # fmt: skip
        return _Loop(options, decoder, recipe, replay, quiet, watch).work(opened)
    finally:
        sys.setswitchinterval(patience)
        if replay is not None:
            replay.close()


class _Loop:
    """One session."""

    def __init__(
        self,
        options: Live,
        decoder: Decoder,
        recipe: Recipe,
        replay: Replay | None,
        quiet: bool,
        watch: Callable[[Shown, float], None] | None,
    ):
        self.options, self.decoder, self.recipe = options, decoder, recipe
        self.replay, self.quiet, self.watch = replay, quiet, watch
        self.engine: Engine | None = None
        self.recorder: Recorder | None = None
        self.page: Page | None = None
        self.tally = Tally(len(decoder.candidates))
        self.latencies = Latencies()
        self.n_samples = self.n_markers = 0
        self._counts: dict[str, int] = {}
        self._arrived = time.perf_counter()
        self._told = 0.0
        self._transport: float | None = None
        self._waiting: dict[str, tuple[float, dict[str, float]]] = {}
        self._early: list[Any] | None = None
        self.lane: Lane | None = None
        self.calibration: Calibration | None = None
        self.expected = ""
        self._state = ("waiting", "waiting for the stream")
        self._truths = _labels(options, decoder, replay)

    def work(self, opened: Callable[[str], None] | None) -> dict[str, Any]:
        """Listen, decide, tell, record."""
        options, replay = self.options, self.replay
        self.page = Page(
            self._hello(), Pictures(options.run, options.stimuli), options.host, options.port
        )
        self.page.written = self._written
        try:
            say(f"Page: {self.page.url}", self.quiet)
            if opened is not None:
                opened(self.page.url)
            if options.generator is not None:
                spaces, subject = self.decoder.model.spaces, self.decoder.subject
                target, way, how = cueing(options.run, spaces, subject, options.generator)
                self._painting(how)
                self.lane = Lane(options.generator, target, way, self._painted, self._painting)
            name, markers = options.stream, options.markers
            if replay is not None:
                name, markers = replay.stream, replay.markers
            # a replay's process takes its time to begin, and says so where it cannot
            timeout = FIND if replay is None else math.inf
            self.listener = Listener(
                name, markers, options.channels, timeout, options.wait, stop=self._over
            )
            self._tell(force=True)
            try:
                for item in self.listener:
                    self._take(item)
                    self._tell()
            except KeyboardInterrupt:
                if replay is None and self.engine is None:
                    raise  # nothing was decided yet
            if replay is not None and replay.error:
                raise NeurovisError(replay.error)
            if self.engine is not None:
                self.engine.end()
            self._state = ("ended", "ended")
            self._tell(force=True)
            return self._summary()
        finally:
            if self.lane is not None:
                self.lane.close()
            if self.recorder is not None:
                self.recorder.close()
            self.page.close()

    def _take(self, item: Any) -> None:
        if isinstance(item, Samples):
            self._arrived = item.arrived
            late = item.arrived - float(item.stamps[-1])
            # stamps of another machine's clock, or of a replay at another speed, say nothing of it
            real = self.replay is None or (self.replay.speed == 1 and not self.options.drops)
            self._transport = late if real and 0 <= late < 5 else None
            self.n_samples += len(item.stamps)
            self.engine.feed(item.signal, item.stamps)
        elif isinstance(item, Mark):
            self.n_markers += 1
            self._arrived, self._transport = time.perf_counter(), None
            if self.engine is not None:
                self.engine.mark(item.label, item.stamp)
        elif isinstance(item, Connected):
            self._connect(item.facts)
        elif isinstance(item, Said):
            if item.state:
                self._state = (item.state, SAID.get(item.state, item.state))
            self._out(Note(item.text, "stream", self._seconds))

    @property
    def _seconds(self) -> float:
        """Signal so far, s."""
        return self.engine.clock.n / self.engine.facts.sfreq if self.engine else 0.0

    def _connect(self, facts: Facts) -> None:
        if self.engine is not None:
            self.engine.restream(facts)
            return
        options, replay = self.options, self.replay
        bads = tuple(dict.fromkeys((*options.bads, *(replay.bads if replay else ()))))
        how = Options(options.warm, tuple(sorted(set(options.early))), options.average)
        markers = Markers(self._truths, options.events, options.lag)
        self._early = early = []
        self.engine = Engine(self.recipe, self.decoder, facts, markers, how, self._out, bads)
        about = {
            "run": Path(options.run).name, "subject": self.decoder.subject, "bads": list(bads),
            "session": self.recipe.session, "absent": list(self.engine.epocher.absent),
            "gallery": self.decoder.candidates.source, "source": facts.source,
            "align": options.align, "shift": self.recipe.shift,
            "options": {"warm": how.warm, "early": list(how.early), "average": how.average, "back": how.back},
        }  # fmt: skip
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = Path(options.out) / "live" / f"{Path(options.run).name}-{stamp}-{os.getpid()}"
        self.recorder = Recorder(folder, self.recipe, about, facts.sfreq)
        for item in early:
            self.recorder(item)
        self._state = ("learning", "learning the first seconds")
        if options.calibrate:
            epocher = self.engine.epocher
            self.calibration = Calibration(self.decoder, epocher.names, epocher.tmin)
            self.engine.gather(60 * options.calibrate, self.calibration.take, self._calibrated)

    def _calibrated(self) -> Decoder:
        """The decoder that the first minutes taught."""
        self.decoder, expected = self.calibration.fit()
        write(self.recorder.folder, self.decoder, 60 * self.options.calibrate, expected)
        self.expected = str(expected)
        self._out(Note(self.expected, "start", self._seconds))
        return self.decoder

    def _over(self) -> bool:
        """Whether to stop listening."""
        options, replay = self.options, self.replay
        if replay is None:
            return bool(options.duration) and self._seconds >= options.duration
        if replay.error:
            return True
        if replay.sent is None:
            return False
        done = self.n_samples >= replay.sent["samples"] and self.n_markers >= replay.sent["markers"]
        return done or self.listener.idle > IDLE

    def _out(self, item: Any) -> None:
        """What the engine gives out goes to everybody."""
        if isinstance(item, Shown):
            self._show(item)
        elif isinstance(item, Note):
            self.page.publish("note", {"text": item.text, "at": item.at})
            say(f"{item.at:7.1f} s  {item.text}", self.quiet)
        if self.recorder is not None:
            self.recorder(item)
        elif self._early is not None:
            self._early.append(item)

    def _show(self, item: Shown) -> None:
        decision, done, page = item.decision, item.done, self.page
        if self.watch is not None:
            self.watch(item, self._arrived)
        self._state = ("live", "live")
        self.tally.add(decision)
        self._counts[decision.kind] = self._counts.get(decision.kind, 0) + 1
        stages = {
            "filter": done["filter"] - self._arrived,
            "tower": done["tower"] - done["filter"],
            "retrieval": done["retrieval"] - done["tower"],
        }
        if decision.kind == "average":
            del stages["filter"]
        elif self._transport is not None:
            stages = {"transport": self._transport, **stages}
        name = f"{decision.event}-{decision.kind}-{decision.until:g}"
        seen = page.n_clients > 0
        if seen:
            self._waiting[name] = (done["retrieval"], stages)
        else:
            self.latencies.add(sum(stages.values()), stages)
        data = {
            "decision": decision.to_dict(),
            "names": [self._label(image) for image in decision.image],
            "truth_name": self._label(decision.truth) if decision.truth else "",
            "epoch": drawn(item.epoch),
            "tmin": self.engine.epocher.tmin,
            "sfreq": self.engine.epocher.rate,
        }
        page.publish("decision", data, name if seen else "")
        if self.lane is not None and decision.kind != "early":
            self.lane.offer(decision)

    def _painted(
        self, decision: Decision, picture: np.ndarray, seconds: float, again: bool
    ) -> None:
        """A picture was painted; told by the lane's thread."""
        from PIL import Image

        name = f"painted-{decision.event}-{decision.n_averaged}{'-quick' if again else ''}"
        self.page.paint(name, jpeg(Image.fromarray(picture)))
        n = decision.n_averaged
        kind = "from one trial" if n == 1 else f"from the mean of {n} trials"
        said = f"event {decision.event + 1}, {seconds:.1f} s after it was decoded"
        said += ", few steps" if again else ""
        self.page.publish("painted", {"image": name, "kind": kind, "text": said})

    def _painting(self, text: str) -> None:
        """A word of the lane's thread."""
        self.page.publish("note", {"text": text, "at": self._seconds})
        say(f"{self._seconds:7.1f} s  {text}", self.quiet)

    def _written(self, name: str, at: float) -> None:
        """A decision stands on a browser's socket; the first one counts."""
        known = self._waiting.pop(name, None)
        if known is not None:
            retrieved, stages = known
            stages = {**stages, "page": at - retrieved}
            self.latencies.add(sum(stages.values()), stages)

    def _label(self, image: str) -> str:
        row = self.decoder.candidates.row(image)
        concept = "" if row is None else str(self.decoder.candidates.concept[row])
        return (concept or image).replace("_", " ")

    def _hello(self) -> dict[str, Any]:
        """What stays the same, for the page."""
        gallery = self.decoder.candidates
        said = f"sub-{self.decoder.subject}, {Path(self.options.run).name}"
        what = self.options.replay or self.options.stream
        shift = 1000 * self.recipe.shift
        filters = "Filters are causal (minimum phase)"
        if shift:
            filters += f"; windows follow the picture by {shift:.0f} ms, as those of training were zero-phase"
        return {
            "title": f"{what} · {said}",
            "gallery": gallery.source,
            "footer": f"Gallery: {gallery.source}, chance of top-1 {100 / len(gallery):.2g} %. {filters}. "
            "Accuracy counts pictures that neither trained nor validated the model.",
        }

    def _tell(self, force: bool = False) -> None:
        """The stream's state, now and then."""
        now = time.perf_counter()
        if not force and now - self._told < TOLD:
            return
        self._told = now
        state, text = self._state
        rows = []
        if self.calibration is not None and not self.expected and state == "learning":
            text = f"calibrating, {self.calibration.n_images} pictures so far"
        if self.engine is not None:
            engine = self.engine
            facts, there = engine.facts, engine.clock.n / engine.facts.sfreq
            rows = [
                ["source", facts.source],
                ["channels", f"{len(engine.epocher.names)} of {len(facts.names)}"],
                ["rate", f"{facts.sfreq:g} Hz"],
                ["signal so far", f"{there / 60:.1f} min"],
                ["events", f"{engine.n_events}, decided {engine.n_decided}"],
                ["bad channels", ", ".join(engine.epocher.bad) or "none"],
            ]
        self.page.publish("stream", {"state": state, "text": text, "rows": rows})
        told = {"accuracy": self.tally.rows(), "latency": self.latencies.summary()}
        self.page.publish("tally", told)

    def _summary(self) -> dict[str, Any]:
        """What a session came to, as plain data."""
        engine = self.engine
        return {
            "folder": str(self.recorder.folder) if self.recorder else "",
            "samples": self.n_samples,
            "markers": self.n_markers,
            "sent": self.replay.sent if self.replay else None,
            "events": engine.n_events if engine else 0,
            "decided": engine.n_decided if engine else 0,
            "decisions": dict(self._counts),
            "accuracy": self.tally.rows(),
            "latency": self.latencies.summary(),
            "expected": self.expected,
        }


def _labels(options: Live, decoder: Decoder, replay: Replay | None) -> dict[str, str]:
    """Image of each marker: itself where it is an image id, or as a table says."""
    known = {str(image): str(image) for image in decoder.candidates.image}
    # trained images are no part of the gallery; their repeats are averaged all the same
    known |= {image: image for image in (*decoder.seen, *(replay.labels if replay else ()))}
    if options.labels:
        with Path(options.labels).open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        if not rows or not {"marker", "image"} <= set(rows[0]):
            raise UsageError(
                f"--labels: expected a table with columns marker and image, found {options.labels}."
            )
        known |= {row["marker"]: row["image"] for row in rows}
    return known
