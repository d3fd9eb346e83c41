"""The slower lane: pictures painted from what was decoded, in a process of its own.

Comes in: decisions, as fast as they come. Goes out: painted pictures, as fast as they can be. Only the
latest decision waits; the others are passed over, so that painting is never behind and never holds up what
decides. Where a generator can be quick, it is first; with all its steps it paints again while no other decision
waits. As repeats of a picture are averaged, it is painted anew from better embeddings.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.generate.base import Cue, Generator
from neurovis.live.cueing import Learned, Way
from neurovis.live.decode import Decision

SEED = 0
"""Of every picture, so that it changes with what was decided alone."""


def _work(connection: Any, generator: Generator, way: Way | Learned, target: str) -> None:
    """Paint what comes through a pipe, until it is closed; runs in a process of its own."""
    if hasattr(os, "nice"):
        os.nice(10)  # deciding comes first
    try:
        quick = generator.quick()
        painters = [one.build_for_one() for one in (quick, generator) if one is not None]
        for painter in painters:  # the first of all takes longest
            painter.paint(Cue(np.ones((1, painter.width), np.float32)), np.array([SEED]))
        connection.send(("ready", len(painters)))
        cue = Cue(np.zeros((1, 0), np.float32))
        while True:
            told, turn = connection.recv()
            if told is not None:
                cue = way.cue(*told, SEED)
            if cue.vector.shape[1] != painters[turn].width:
                raise NeurovisError(
                    f"generator: takes embeddings of {painters[turn].width} dims, target {target!r} has "
                    f"{cue.vector.shape[1]}; choose the generator of the target's encoder."
                )
            (picture,) = painters[turn](cue, np.array([SEED], np.int64))
            connection.send(("painted", picture))
    except EOFError:
        return
    except NeurovisError as error:
        connection.send(("failed", str(error)))
    except Exception as error:  # said by the other side, in one sentence
        connection.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"))


class Lane:
    """Paints the latest decision.

    Parameters
    ----------
    generator : Generator
    target : str
        Whose vectors are painted.
    way : Way or Learned
    show : callable
        Told a decision, its picture (height, width, 3) uint8, the seconds since it was decided, and
        whether the picture is painted once more with all steps if nothing else comes.
    say : callable
        Told a sentence when painting begins, or fails; deciding goes on without it.
    """

    def __init__(
        self,
        generator: Generator,
        target: str,
        way: Way | Learned,
        show: Callable[[Decision, np.ndarray, float, bool], None],
        say: Callable[[str], None],
    ):
        self.target, self.show, self.say = target, show, say
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(
            target=_work, args=(there, generator, way, target), daemon=True
        )
        self._process.start()
        there.close()
        self._next: tuple[Decision, float] | None = None
        self._more = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="painting", daemon=True)
        self._thread.start()

    def offer(self, decision: Decision) -> None:
        """Take a decision in place of the one that waits; returns at once."""
        with self._more:
            self._next = (decision, time.perf_counter())
            self._more.notify()

    def _run(self) -> None:
        try:
            _, turns = self._receive()
            self.say("painting: the generator is ready")
            while (got := self._wait()) is not None:
                decision, at = got
                told = (decision.vector[self.target], decision.n_averaged)
                for turn in range(turns):
                    self._here.send((told if turn == 0 else None, turn))
                    _, picture = self._receive()
                    self.show(decision, picture, time.perf_counter() - at, turn + 1 < turns)
                    if self._next is not None:
                        break  # the latest comes first
        except (NeurovisError, EOFError, OSError) as error:
            if not self._over:
                why = str(error) or "its process ended"
                self.say(f"painting: stopped ({why}); deciding goes on")

    def _wait(self) -> tuple[Decision, float] | None:
        """The latest decision and when it was made; None at the end."""
        with self._more:
            while self._next is None and not self._over:
                self._more.wait()
            got, self._next = self._next, None
            return None if self._over else got

    def _receive(self) -> tuple:
        got = self._here.recv()
        if got[0] == "failed":
            raise NeurovisError(got[1])
        return got

    def close(self) -> None:
        """End the process."""
        with self._more:
            self._over = True
            self._more.notify()
        self._process.terminate()
        self._process.join()
        self._thread.join()
        self._here.close()
