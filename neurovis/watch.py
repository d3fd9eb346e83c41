"""Notice that a process of a job failed or was killed, say so once, and end the others.

Comes in: the store that all processes of a job reach. Goes out: one sentence from the whole job. A
thread looks after the others, because a process that waits for a dead one may wait in the depths of
a library: processes of the same machine by their numbers, those of others by a sign of life.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from neurovis.errors import NeurovisError

LOOK_SECONDS = 0.5
LOST_SECONDS = 120.0
"""Without a sign of life for so long, a process of another machine counts as dead."""
START_SECONDS = 600.0
"""The same for its first sign: importing may take a while."""

AGAIN = "the last good checkpoint is kept: run the same command again to go on from it"


class Watch:
    """Look after the other processes of a job.

    Parameters
    ----------
    store : torch.distributed.Store
        That all of them reach.
    rank, size : int
        Number of this process, and how many there are.
    """

    def __init__(self, store: Any, rank: int, size: int):
        # a connection of its own: the main thread may hold the other one while it waits
        self.store, self.rank, self.size = store.clone(), rank, size
        self.stop, self.finished = threading.Event(), False
        self.store.set(f"watch/place/{rank}", f"{_place()}:{os.getpid()}")
        self.local: dict[int, int] | None = None
        self.seen = {other: ("", time.monotonic()) for other in self._signs()}
        self._listen()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, GeneratorExit):
            return
        self.stop.set()
        if isinstance(error, SystemExit | KeyboardInterrupt):
            # Ctrl-C reaches all of them
            if not self._may_speak():
                raise SystemExit(130) from None
            return
        lost = None if isinstance(error, NeurovisError) else self._after_another()
        if lost is not None:
            raise NeurovisError(lost) from error
        if not self._may_speak():
            raise SystemExit(1) from None
        said = f"rank {self.rank} of {self.size}: {_sentence(error)}"
        kind = type(error) if isinstance(error, NeurovisError) else NeurovisError
        raise kind(said) from error

    def done(self) -> None:
        """This process has done its part; that it ends is no failure. It goes on to watch the others."""
        self.store.set(f"watch/done/{self.rank}", "1")
        self.finished = True

    def close(self) -> None:
        """End the thread."""
        self.stop.set()
        self.thread.join()
        if self.pipe is not None:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, self.before)
            for end in self.pipe:
                os.close(end)

    def _listen(self) -> None:
        """Hear of the end that torchrun sends at once, also while the main thread waits elsewhere."""
        self.pipe: tuple[int, int] | None = None
        self.interrupted = 0.0
        if threading.current_thread() is threading.main_thread():
            self.pipe = os.pipe()
            for end in self.pipe:
                os.set_blocking(end, False)
            signal.set_wakeup_fd(self.pipe[1], warn_on_full_buffer=False)
            self.before = signal.signal(signal.SIGTERM, lambda *_: None)

    def _signs(self) -> list[int]:
        """Whose signs of life this process looks for: the first all others', they the first's."""
        return list(range(1, self.size)) if self.rank == 0 else [0]

    def _work(self) -> None:
        beat = 0
        while not self.stop.is_set():
            ended = self._ended(LOOK_SECONDS)
            if self.stop.is_set():
                return
            try:
                beat += 1
                self.store.set(f"watch/beat/{self.rank}", str(beat))
                lost = self._lost()
                over = self.store.check(["watch/spoken"])
            except (RuntimeError, ConnectionError) as error:
                if self.finished:
                    return  # the store may go with the first to end
                self._leave(f"torchrun, through which processes meet, is gone ({_sentence(error)})")
                return
            if over:
                time.sleep(0 if ended else 2)  # an error of its own may be on its way
                self._leave(None)
            elif lost is not None:
                self._leave(lost)
            elif ended:
                self._leave("the job was told to end")

    def _ended(self, seconds: float) -> bool:
        """Wait; whether this process was told to end meanwhile."""
        if self.pipe is None:
            self.stop.wait(seconds)
            return False
        ready, _, _ = select.select([self.pipe[0]], [], [], seconds)
        came = os.read(self.pipe[0], 100) if ready else b""
        if signal.SIGINT in came:
            self.interrupted = time.monotonic()
        # a main thread that waits for others in a library does not hear Ctrl-C
        stuck = self.interrupted and time.monotonic() - self.interrupted > 5
        return bool(stuck) or signal.SIGTERM in came

    def _lost(self) -> str | None:
        """What to say of a process that is no more."""
        for other, process in self._neighbours().items():
            if not _alive(process) and not self._is_done(other):
                return f"rank {other} of {self.size} was killed (process {process} is gone)"
        now = time.monotonic()
        for other, (before, since) in self.seen.items():
            key = f"watch/beat/{other}"
            beat = self.store.get(key).decode() if self.store.check([key]) else ""
            if beat != before:
                self.seen[other] = (beat, now)
                continue
            most = LOST_SECONDS if beat else START_SECONDS
            if now - since > most and not self._is_done(other):
                return f"rank {other} of {self.size} gave no sign of life for {most:.0f} s"
        return None

    def _neighbours(self) -> dict[int, int]:
        """Process numbers of the others on this machine, once all have told theirs."""
        if self.local is None:
            keys = [f"watch/place/{rank}" for rank in range(self.size)]
            if not self.store.check(keys):
                return {}
            places = [self.store.get(key).decode().rpartition(":") for key in keys]
            self.local = {
                rank: int(process)
                for rank, (place, _, process) in enumerate(places)
                if place == _place() and rank != self.rank and Path("/proc/self").exists()
            }
        return self.local

    def _is_done(self, rank: int) -> bool:
        return self.store.check([f"watch/done/{rank}"])

    def _may_speak(self) -> bool:
        """Whether nobody has said yet why the job ends."""
        try:
            return self.store.add("watch/spoken", 1) == 1
        except (RuntimeError, ConnectionError):
            # nothing can be agreed on any more: one of each machine
            return os.environ.get("LOCAL_RANK", "0") == "0"

    def _after_another(self) -> str | None:
        """An unforeseen error may be what another's end looks like from here: say whose."""
        deadline = time.monotonic() + 4 * LOOK_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.store.check(["watch/spoken"]):
                    raise SystemExit(1)
                lost = self._lost()
            except (RuntimeError, ConnectionError):
                return None
            if lost is not None:
                if not self._may_speak():
                    raise SystemExit(1)
                return f"{lost}; {AGAIN}."
            time.sleep(LOOK_SECONDS / 5)
        return None

    def _leave(self, why: str | None) -> None:
        """End this process from the thread; the first to do so says why."""
        if self.stop.is_set():
            return
        if why is not None and self._may_speak():
            print(f"neurovis train: {why}; {AGAIN}.", file=sys.stderr, flush=True)
        os._exit(1)


def _place() -> str:
    """What processes that see each other's numbers have in common."""
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        name += f"/{os.stat('/proc/self/ns/pid').st_ino}"
        name += Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return name


def _alive(process: int) -> bool:
    """Whether a process runs; one that ended but was not collected yet does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return state not in ("Z", "X")


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, NeurovisError) else f"{type(error).__name__}: {text}"
