"""Reading ahead: the next batches are made in a thread while the caller works on the ones before.

Comes in: what makes a batch, and of what. Goes out: batches in order, and the time spent waiting for them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class Timed:
    """The same items, and how long their maker was waited for.

    Attributes
    ----------
    seconds : float, s
    """

    def __init__(self, items: Iterator[Any]):
        self.items, self.seconds = items, 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        started = time.perf_counter()
        try:
            return next(self.items)
        finally:
            self.seconds += time.perf_counter() - started


def ahead(make: Callable[[Any], Any], over: Sequence[Any], depth: int = 2) -> Iterator[Any]:
    """Make items in a thread while the caller works on the ones before; order kept.

    An error in the thread is raised in the caller.
    """
    waiting: queue.Queue = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(entry: Any) -> None:
        while not stop.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in over:
                if stop.is_set():
                    return
                put((make(item), None))
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            value, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield value
    finally:
        stop.set()
        thread.join()
