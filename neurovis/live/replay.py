"""The process that plays a recording as a stream, seen from the one that decodes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

from neurovis.live.player import recording
from neurovis.live.stream import alone


class Replay:
    """A recording that is played.

    Parameters
    ----------
    options : Live
        `replay`, `root`, `subject`, `speed`, `start`, `duration`, `drops`, `gone`.

    Attributes
    ----------
    stream, markers : str
        Names of its streams.
    bads, session
        As the recording says them.
    labels : set of str
    sent : dict of int or None
        Samples and markers sent, when all were.
    error : str
        What ended it early.
    """

    def __init__(self, options: Any):
        played = recording(options.replay, options.root, options.subject)
        self.bads, self.session, self.labels = (
            played.bads,
            played.session,
            set(played.label.tolist()),
        )
        own = f"{os.getpid()}-{time.time_ns() % 10**9}"
        session = alone(own)
        self.stream, self.markers = f"replay-{own}", f"replay-{own}-markers"
        self.speed = options.speed
        words = {
            k: getattr(options, k)
            for k in ("replay", "root", "subject", "speed", "start", "duration", "drops", "gone")
        }
        words |= {"stream": self.stream, "markers": self.markers, "session": session}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "neurovis.live.player"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        self.sent: dict[str, int] | None = None
        self.error = ""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            said = json.loads(line)
            self.error = said.get("error", self.error)
            self.sent = said.get("sent", self.sent)
        if self.sent is None and not self.error:
            self.error = "replay: the process that played it ended early; try again."

    def close(self) -> None:
        """Let its streams go."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join()
        self.process.stdout.close()
