"""From samples and markers to decisions, without any stream, file or page.

Comes in: samples with time stamps and markers, in any portions and in the order of arrival. Goes out:
decisions, each as soon as its last sample is there, notes on what was odd, and the samples that every step
works on. Given the same samples and events it makes the same decisions, however they were portioned: what
is recorded is decided again exactly (`neurovis.live.session`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.live.clock import Clock, Gap
from neurovis.live.decode import Decision, Decoder, Repeats
from neurovis.live.items import Block, Note, Options, Shown, Taken
from neurovis.live.markers import Marker, Markers
from neurovis.live.recipe import Epocher, Facts, Recipe
from neurovis.live.ring import Ring

LONG = 5.0  # s; after longer gaps filters start anew
LATE = 50.0  # ms after a window from which a marker is said to be late


@dataclass
class _Pending:
    marker: Marker
    onset: float
    start: int
    stop: int
    todo: list[tuple[int, float | None]]


class Engine:
    """Decodes one stream.

    Parameters
    ----------
    recipe : Recipe
    decoder : Decoder
    facts : Facts
        Of the stream.
    markers : Markers
    options : Options
    out : callable
        Takes each `Shown`, `Note` and `Block` as it is made.
    bads : sequence of str
        Channels known to be bad.
    absent : sequence of str
        Channels that hold nothing, as in a recording of a stream that lacked them.

    Raises
    ------
    NeurovisError
        If the stream's channels or rate do not fit the run.
    """

    def __init__(
        self,
        recipe: Recipe,
        decoder: Decoder,
        facts: Facts,
        markers: Markers,
        options: Options | None = None,
        out: Callable[[Any], None] = lambda item: None,
        bads: Sequence[str] = (),
        absent: Sequence[str] = (),
    ):
        self.recipe, self.decoder, self.markers = recipe, decoder, markers
        self.options, self.out = options or Options(), out
        self.facts, self.clock = facts, Clock(facts.sfreq)
        absent = tuple(dict.fromkeys((*absent, *self._match(facts))))
        self.epocher = Epocher(recipe, facts.sfreq, absent, tuple(bads))
        rate = self.epocher.chain.filtered_sfreq
        room = self.options.warm + self.options.back + 2 * self.epocher.span / rate
        self.ring = Ring(len(recipe.names), int(np.ceil(room * rate)))
        self.repeats = Repeats()
        self.n_events = self.n_decided = 0
        self._stream: Any = None
        self._last: np.ndarray | None = None
        self._held: dict[int | None, list[tuple[int, int]]] = {}
        self._pending: list[_Pending] = []
        self._early: list[Marker] = []
        self._ready = False
        self._warm_from = 0
        self._gather: tuple[int, Callable, Callable] | None = None
        self._gathered = 0

    # ---- the stream

    def _match(self, facts: Facts) -> tuple[str, ...]:
        """Where the run's channels stand in a stream; the names of those that do not."""
        if len(set(facts.names)) < len(facts.names):
            twice = next(n for n in facts.names if facts.names.count(n) > 1)
            raise NeurovisError(
                f"{facts.source}: channel {twice!r} stands in it twice, expected names that differ; "
                "correct the stream's channels."
            )
        place = {name: i for i, name in enumerate(facts.names)}
        wanted = self.recipe.names
        absent = tuple(name for name in wanted if name not in place)
        if 2 * len(absent) > len(wanted):
            raise NeurovisError(
                f"{facts.source}: has {len(wanted) - len(absent)} of the run's {len(wanted)} channels "
                f"(no {', '.join(absent[:3])}; it has {', '.join(facts.names[:3])}), expected at least half; "
                "give the stream of this montage, or its channels' names."
            )
        factor, odd = facts.factors()
        self._picks = np.array([place.get(name, -1) for name in wanted])
        self._factor = np.where(self._picks < 0, 0, factor[self._picks]).astype(np.float32)
        if absent:
            self._note(
                f"channels: {len(absent)} of the run's are not in the stream ({absent[0]}, ...)",
                "stream",
            )
        if odd:
            self._note(
                f"units: {odd[0]!r} is not known and taken for SI; say V, uV, T or fT", "stream"
            )
        return absent

    def restream(self, facts: Facts) -> None:
        """The stream is another one from now on, such as after it was lost.

        Raises
        ------
        NeurovisError
            If its rate differs, or it lacks channels that it had.
        """
        if abs(facts.sfreq - self.facts.sfreq) > 1e-6 * self.facts.sfreq:
            raise NeurovisError(
                f"{facts.source}: came back at {facts.sfreq:g} Hz, expected {self.facts.sfreq:g} Hz as before; "
                "start the amplifier as it was."
            )
        moved = facts.names != self.facts.names
        if not set(self._match(facts)) <= set(self.epocher.absent):
            raise NeurovisError(
                f"{facts.source}: came back with other channels, expected those it had; start it as it was."
            )
        if moved:
            self._note("channels: came back in another order; they are found by name", "stream")
        self.facts = facts

    def feed(self, samples: np.ndarray, stamps: np.ndarray) -> None:
        """Take samples in.

        Parameters
        ----------
        samples : array (time, channel)
            As the stream gives them.
        stamps : array (time,), s

        Raises
        ------
        NeurovisError
            If they have another number of channels, or time stamps of another rate.
        """
        samples = np.asarray(samples)
        if samples.ndim != 2 or samples.shape[1] != len(self.facts.names):
            raise NeurovisError(
                f"{self.facts.source}: gave samples of {samples.shape[1:]} channels, expected "
                f"{len(self.facts.names)} as it declared; start it again."
            )
        most = max(1, int(self.facts.sfreq))
        if len(samples) > most:  # no window may leave the ring before it is decided
            for a in range(0, len(samples), most):
                self.feed(samples[a : a + most], stamps[a : a + most])
            return
        if not len(samples):
            return
        first = self.clock.n
        gaps = self.clock.tick(stamps)
        signal = np.where(self._picks < 0, 0, samples[:, self._picks]).astype(np.float32)
        signal = np.ascontiguousarray((signal * self._factor).T)
        begin = 0
        for gap in gaps:
            # samples before this gap, of those in hand
            count = gap.start - first
            if count:
                self._take(signal[:, begin : begin + count])
            self._bridge(gap, signal[:, begin + count])
            begin, first = begin + count, gap.start + max(gap.count, 0)
        if begin < signal.shape[1]:
            self._take(signal[:, begin:])
        self._decide()

    def _bridge(self, gap: Gap, after: np.ndarray) -> None:
        sfreq = self.facts.sfreq
        if gap.count <= 0:
            back = -gap.count / sfreq
            self._note(f"clock: went back by {1000 * back:.0f} ms; no sample is missing", "samples")
            return
        missing = gap.count / sfreq
        self._note(f"samples: {gap.count} are missing ({missing:.3f} s)", "samples")
        if self._last is None or missing > LONG:
            self._decide()  # what was whole before the silence
            self._stream = None
            self._hold(gap.start, gap.start + gap.count, None)
            self._start = gap.start + gap.count
            return
        after = np.where(np.isfinite(after), after, self._last)
        step = (np.arange(1, gap.count + 1) / (gap.count + 1)).astype(np.float32)
        bridge = self._last[:, None] + step * (after - self._last)[:, None]
        span = (gap.start, gap.start + gap.count, None)
        self._hold(*span)
        self._put(gap.start, np.ascontiguousarray(bridge), (span,))

    def _take(self, signal: np.ndarray) -> None:
        """Measured samples (channel, time); the number of the first is known by the filter."""
        start = self._start if self._stream is None else self._stream.n_in
        spans: list[tuple[int, int, int | None]] = []
        if not np.isfinite(signal.sum(dtype=np.float64)):
            signal = signal.copy()
            for channel, row in enumerate(signal):
                hole = ~np.isfinite(row)
                if not hole.any():
                    continue
                edges = np.flatnonzero(np.diff(hole.astype(np.int8), prepend=0, append=0))
                for a, b in zip(edges[::2].tolist(), edges[1::2].tolist()):
                    held = row[a - 1] if a else 0.0 if self._last is None else self._last[channel]
                    row[a:b] = held
                    spans.append((start + a, start + b, channel))
            for span in spans:
                self._hold(*span)
        self._put(start, signal, tuple(spans))

    _start = 0

    def _put(self, start: int, signal: np.ndarray, missing: tuple = ()) -> None:
        chain = self.epocher.chain
        if self._stream is None:
            self._stream = chain.stream(len(signal), first=start)
            self.ring.jump(self._stream.n_out)
            if not self._ready:
                self._warm_from = self.ring.n  # learned from one piece
        self.ring.put(self._stream(signal))
        self._last = signal[:, -1].copy()
        self.out(Block(start, signal, missing))
        if not self._ready:
            stop = self._warm_from + int(np.ceil(self.options.warm * chain.filtered_sfreq))
            if self.ring.n >= stop:
                self.epocher.learn(self.ring.get(self._warm_from, stop))
                self._ready = True
                for text in self.epocher.said:
                    self._note(text, "start")
                for name, reason in self.epocher.bad.items():
                    self._note(f"channel {name}: {reason}", "start")

    def _hold(self, start: int, stop: int, channel: int | None) -> None:
        """Remember that samples are missing, as long as a window may want them."""
        oldest = self.ring.first * self.facts.sfreq / self.epocher.chain.filtered_sfreq
        spans = [span for span in self._held.get(channel, []) if span[1] >= oldest]
        if spans and spans[-1][1] == start:
            start, _ = spans.pop()
        self._held[channel] = [*spans, (start, stop)]

    def _missing(self, begin: float, end: float) -> list[int | None]:
        """Channels of which samples between two numbers are missing; None for all of them."""
        spans = self._held.items()
        return [c for c, some in spans if any(a <= end and b > begin for a, b in some)]

    def _note(self, text: str, kind: str) -> None:
        self.out(Note(text, kind, self.clock.n / self.facts.sfreq))

    def gather(
        self,
        until: float,
        take: Callable[[str, np.ndarray, np.ndarray], None],
        done: Callable[[], Decoder],
    ) -> None:
        """Hand over the events of the first seconds instead of deciding them.

        Parameters
        ----------
        until : float, s
            Events whose windows end by then are handed over, whenever their markers come.
        take : callable
            Image, epoch (channel, time), channels present.
        done : callable
            Called before the first later event is decided; gives the decoder from then on.
        """
        self._gathered = round(until * self.epocher.chain.filtered_sfreq)
        self._gather = (self._gathered, take, done)

    # ---- events

    def mark(self, label: str, stamp: float) -> None:
        """Take a marker in: its label and its time (s) by the stream's clock."""
        marker, said = self.markers.take(label, stamp)
        for text in said:
            self._note(text, "marker")
        if marker is None:
            return
        try:
            place = self.clock.place(marker.stamp)
        except NeurovisError:
            self._early.append(marker)
            return
        self._add(marker, round(place, 3) / self.facts.sfreq)
        self._decide()

    def event(self, marker: Marker, onset: float) -> None:
        """Take an event in whose onset (s from the first sample) is known."""
        self._add(marker, onset)
        self._decide()

    def again(self, block: Block) -> None:
        """Take in what another engine gave out, with the run's channels in SI units."""
        if self._stream is None or block.start != self._stream.n_in:
            if self._stream is not None:
                self._hold(self._stream.n_in, block.start, None)
            self._stream, self._start = None, block.start
        for span in block.missing:
            self._hold(*span)
        self._put(block.start, block.signal, block.missing)
        self.clock.n = block.start + block.signal.shape[1]
        self._decide()

    def _add(self, marker: Marker, onset: float) -> None:
        epocher = self.epocher
        start = epocher.window(onset)
        stop = start + epocher.span
        self.n_events += 1
        self.out(Taken(marker, onset, self.clock.n))
        if self._stream is not None and start < self.ring.first:
            ratio = self.facts.sfreq / epocher.chain.filtered_sfreq
            late = (self.ring.n - stop) / epocher.chain.filtered_sfreq
            why = "it began before the stream"
            if start >= 0 and None in self._missing(start * ratio, (stop - 1) * ratio):
                why = "samples missing"
            elif start >= 0:
                why = f"its marker came {late:.1f} s after its window, its samples are gone"
            self._lost(marker, why)
            return
        if self._stream is not None and stop < self.ring.n:
            late = 1000 * (self.ring.n - stop) / epocher.chain.filtered_sfreq
            if late > LATE:
                text = f"its marker came {late:.0f} ms after its window; decided now"
                self._note(f"event {marker.number} ({marker.label}): {text}", "marker")
        # the crop decides which samples a growing window has
        first = start + epocher._crop.start * epocher.chain.every
        todo: list[tuple[int, float | None]] = []
        for until in self.options.early:
            n = epocher.until(until)
            if 0 < n < epocher.n_times:
                todo.append((first + (n - 1) * epocher.chain.every + 1, until))
        todo.append((stop, None))
        self._pending.append(_Pending(marker, onset, start, stop, todo))

    def _decide(self) -> None:
        """Decide whatever can be, in the order in which it could."""
        if self._early and self._stream is not None:
            early, self._early = self._early, []
            for marker in early:
                self._add(marker, round(self.clock.place(marker.stamp), 3) / self.facts.sfreq)
        if not self._ready:
            return
        while True:
            due = [(p.todo[0][0], p.marker.number, p) for p in self._pending]
            due = [d for d in due if d[0] <= self.ring.n]
            if not due:
                return
            pending = min(due, key=lambda d: d[:2])[2]
            if self._gather is not None and pending.stop > self._gathered:
                done, self._gather = self._gather[2], None
                self.decoder = done()
            stop, until = pending.todo.pop(0)
            if until is None:
                self._pending.remove(pending)
            if pending.stop <= self._gathered and until is not None:
                continue
            if pending.start < self.ring.first:
                if until is None:
                    self._lost(pending.marker, "samples missing")
                continue
            self._one(pending, stop, until)

    def _lost(self, marker: Marker, why: str) -> None:
        self._note(f"event {marker.number} ({marker.label}): not decoded: {why}", "epoch")

    def _one(self, pending: _Pending, stop: int, until: float | None) -> None:
        """One decision, or why there is none."""
        epocher, chain, marker = self.epocher, self.epocher.chain, pending.marker
        done = {"filter": time.perf_counter()}
        ratio = self.facts.sfreq / chain.filtered_sfreq
        lost = self._missing(pending.start * ratio, (stop - 1) * ratio)
        if None in lost:
            if until is None:
                self._lost(marker, "samples missing")
            return
        if 2 * len(lost) > len(epocher.names):
            if until is None:
                self._lost(marker, "samples missing in half of the channels")
            return
        stretch, n_kept = (
            self.ring.get(pending.start, min(pending.start + epocher.span, self.ring.n)),
            None,
        )
        if until is not None:
            n_kept = epocher.until(until)
            full = np.zeros((len(stretch), epocher.span), np.float32)
            keep = stop - pending.start
            full[:, :keep], stretch = stretch[:, :keep], full
        signal, why = epocher(stretch, lost, n_kept)
        if why:
            self._lost(marker, why)
            return
        present = epocher.present(lost)
        if pending.stop <= self._gathered:
            if self._gather is not None and marker.image:
                self._gather[1](marker.image, signal, present)
            return
        kind = "single" if until is None else "early"
        end_at = until if until is not None else epocher.tmin + epocher.n_times / epocher.rate
        self._say(kind, marker, pending.onset, end_at, 1, signal, present, done)
        if until is None:
            self.n_decided += 1
        if until is None and self.options.average and marker.image:
            n, mean = self.repeats.add(marker.image, signal)
            if n > 1:
                done = {"filter": time.perf_counter()}
                self._say("average", marker, pending.onset, end_at, n, mean, present, done)

    def _say(
        self,
        kind: str,
        marker: Marker,
        onset: float,
        until: float,
        n_averaged: int,
        signal: np.ndarray,
        present: np.ndarray,
        done: dict[str, float],
    ) -> None:
        decoder = self.decoder
        vector = decoder.predict(signal, self.epocher.names, present, self.epocher.tmin)
        done["tower"] = time.perf_counter()
        best = decoder.rank(vector, n_averaged, calibrated=kind != "early")
        similarity = best.pop("all")
        truth = marker.image
        rank = decoder.place(truth, similarity) if truth else None
        done["retrieval"] = time.perf_counter()
        counted = rank is not None and truth not in decoder.seen
        decision = Decision(
            marker.number, kind, marker.label, truth, onset, round(until, 6), n_averaged, **best,
            rank=rank, counted=counted, vector=vector,
        )  # fmt: skip
        self.out(Shown(decision, signal, done))

    def end(self) -> None:
        """The stream is over: say what was never decided."""
        for pending in self._pending:
            self._lost(pending.marker, "window beyond the recording")
        self._pending = []
        for marker in self._early:
            self._lost(marker, "no sample came")
        self._early = []
