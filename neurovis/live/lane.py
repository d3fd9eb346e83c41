"""The slower lane: pictures painted from what was decoded, in a process of its own.

Comes in: decisions, as fast as they come. Goes out: painted pictures, as fast as they can be. Only the
latest decision waits; the others are passed over, so that painting is never behind and never holds up what
decides. As repeats of a picture are averaged, it is painted again from better embeddings.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.generate.base import Cue, Generator
from neurovis.live.decode import Decision
from neurovis.norms import Norms, read_norms
from neurovis.spaces import Space

SEED = 0
"""Of every picture, so that it changes with what was decided alone."""


@dataclass(frozen=True, eq=False)
class Way:
    """From a decoded vector to what the target's encoder would have made.

    Parameters
    ----------
    space : Space
        Of the target; its learned projection is undone by least squares.
    norms : Norms or None
        Restores the length of unprojected vectors.
    """

    space: Space
    norms: Norms | None = None

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """A decoded vector (dim,) in the encoder's space: array (dim,) float32."""
        space, out = self.space, np.asarray(vector, np.float64)
        if space.projection is not None:
            weight = space.projection.astype(np.float64)
            out = (
                out / weight if weight.ndim == 1 else np.linalg.lstsq(weight.T, out, rcond=None)[0]
            )
        if self.norms is not None:
            out = self.norms.restore(out[None].astype(np.float32))[0].astype(np.float64)
        if space.centre is not None:
            out = out * space.scale
            if space.basis is not None:
                out = (out * space.deviation) @ space.basis
            out = out + space.centre
        return out.astype(np.float32)

    @classmethod
    def of(cls, run: str | Path, spaces: dict[str, Space], target: str) -> Way:
        """Read it from a run.

        Raises
        ------
        UsageError
            If there is no such target.
        """
        if target not in spaces:
            raise UsageError(unknown("generator: target", target, spaces))
        path = Path(run) / "systems" / "tower" / "norms.safetensors"
        norms = read_norms(path).get(target) if path.is_file() else None
        return cls(spaces[target], norms)


def _work(connection: Any, generator: Generator) -> None:
    """Paint what comes through a pipe, until it is closed; runs in a process of its own."""
    if hasattr(os, "nice"):
        os.nice(10)  # deciding comes first
    try:
        painter = generator.build()
        connection.send(("ready", painter.width))
        while True:
            vector = connection.recv()
            began = time.perf_counter()
            (picture,) = painter.paint(Cue(vector[None]), np.array([SEED], np.int64))
            connection.send(("painted", picture, time.perf_counter() - began))
    except EOFError:
        return
    except Exception as error:  # said by the other side, in one sentence
        connection.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"))


class Lane:
    """Paints the latest decision.

    Parameters
    ----------
    generator : Generator
    target : str
        Whose vectors are painted.
    way : Way
    show : callable
        Told a decision, its picture (height, width, 3) uint8 and the seconds since it was decided.
    say : callable
        Told a sentence when painting begins, or fails; deciding goes on without it.
    """

    def __init__(
        self,
        generator: Generator,
        target: str,
        way: Way,
        show: Callable[[Decision, np.ndarray, float], None],
        say: Callable[[str], None],
    ):
        self.target, self.way, self.show, self.say = target, way, show, say
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_work, args=(there, generator), daemon=True)
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
            kind, width = self._receive()
            self.say("painting: the generator is ready")
            while True:
                with self._more:
                    while self._next is None and not self._over:
                        self._more.wait()
                    if self._over:
                        return
                    (decision, at), self._next = self._next, None
                vector = self.way(decision.vector[self.target])
                if len(vector) != width:
                    raise NeurovisError(
                        f"generator: takes embeddings of {width} dims, target {self.target!r} has "
                        f"{len(vector)}; choose the generator of the target's encoder."
                    )
                self._here.send(vector)
                kind, picture, _ = self._receive()
                if kind == "painted":
                    self.show(decision, picture, time.perf_counter() - at)
        except (NeurovisError, EOFError, OSError) as error:
            if not self._over:
                why = str(error) or "its process ended"
                self.say(f"painting: stopped ({why}); deciding goes on")

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
