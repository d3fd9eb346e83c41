"""The page of a live session: a small server of this machine, and what it tells browsers.

Comes in: facts, notes, decisions and painted pictures. Goes out: a page that anybody may open who was
given its address. The server listens on loopback unless told otherwise; every address begins with a token
that cannot be guessed; a browser may load nothing from elsewhere (a strict content security policy), and
everything shown is put in as text. New facts come as server-sent events.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from neurovis.errors import NeurovisError

FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
BEHIND = 256  # messages that a browser may be behind before it is let go
NOTES = 50  # notes that a new browser is told
ALIVE = 15.0  # s between signs of life
TRACES = 32  # channels drawn of an epoch


class Page:
    """Serves one session.

    Parameters
    ----------
    facts : dict
        What stays the same: run, subject, gallery, chance.
    pictures : mapping of str to bytes
        JPEG of an image id, where there is one.
    host : str
        Other than loopback it lets other machines in.
    port : int
        0 takes any that is free.

    Attributes
    ----------
    url : str
    """

    def __init__(
        self,
        facts: dict[str, Any],
        pictures: Mapping[str, bytes] | Callable[[str], bytes | None],
        host: str = "127.0.0.1",
        port: int = 0,
    ):
        self.token = secrets.token_urlsafe(18)
        self._facts, self._find = facts, getattr(pictures, "get", pictures)
        self._painted: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._clients: list[queue.Queue] = []
        self._latest: dict[str, bytes] = {}
        self._notes: deque[bytes] = deque(maxlen=NOTES)
        self.written: Callable[[str, float], None] = lambda name, at: None
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(self))
        except (OSError, OverflowError) as error:
            raise NeurovisError(
                f"--port: {host}:{port} cannot be listened on ({error}); choose another port, or 0 for any."
            ) from None
        self._server.daemon_threads = True
        self._host, self.port = host, self._server.server_address[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/{self.token}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    def publish(self, kind: str, data: dict[str, Any], name: str = "") -> None:
        """Tell all browsers; returns at once.

        Parameters
        ----------
        kind : str
            Of the event; the last one of each is told to browsers that come later, of ``note`` some.
        data : dict
        name : str
            Told to `written` when it was written to a browser.
        """
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
        message = f"event: {kind}\ndata: {text}\n\n".encode()
        with self._lock:
            if kind == "note":
                self._notes.append(message)
            else:
                self._latest[kind] = message
            for client in list(self._clients):
                try:
                    client.put_nowait((message, name))
                except queue.Full:
                    # it can come again and is told how things stand
                    self._clients.remove(client)

    def paint(self, name: str, jpeg: bytes) -> None:
        """Keep a painted picture, the latest few, under a name."""
        with self._lock:
            self._painted[name] = jpeg
            while len(self._painted) > 16:
                self._painted.pop(next(iter(self._painted)))

    def picture(self, name: str) -> bytes | None:
        """JPEG of an image, or None."""
        with self._lock:
            painted = self._painted.get(name)
        return painted if painted is not None else self._find(name)

    def join(self) -> queue.Queue:
        """A browser comes: what it is to be told, beginning with how things stand."""
        client: queue.Queue = queue.Queue(BEHIND)
        hello = f"event: hello\ndata: {json.dumps(self._facts)}\n\n".encode()
        with self._lock:
            client.put((hello, ""))
            for message in (*self._notes, *self._latest.values()):
                client.put((message, ""))
            self._clients.append(client)
        return client

    def leave(self, client: queue.Queue) -> None:
        """A browser is gone."""
        with self._lock:
            if client in self._clients:
                self._clients.remove(client)

    def here(self, client: queue.Queue) -> bool:
        """Whether a browser is still told."""
        with self._lock:
            return client in self._clients

    @property
    def n_clients(self) -> int:
        """Browsers that listen."""
        with self._lock:
            return len(self._clients)

    def close(self) -> None:
        """The end: browsers are told what they were not yet, and the port is free again."""
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(queue.Full):
                    client.put_nowait((b"", "end"))
            self._clients = []
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(page: Page) -> type[BaseHTTPRequestHandler]:
    content = {}
    for path, (file, kind) in FILES.items():
        data = resources.files("neurovis.live").joinpath("page_files", file).read_bytes()
        content[path] = (data, kind)

    class Handler(BaseHTTPRequestHandler):
        """Answers GET under the token, and nothing else."""

        protocol_version = "HTTP/1.1"
        server_version, sys_version = "neurovis", ""
        disable_nagle_algorithm = True

        def log_message(self, *words: Any) -> None:
            """Addresses hold the token: they are not logged."""

        def _head(self, status: int, kind: str, length: int | None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.send_header("Cache-Control", "no-store")
            if length is None:
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(length))
            self.end_headers()

        def _answer(self, status: int, kind: str, data: bytes) -> None:
            self._head(status, kind, len(data))
            self.wfile.write(data)

        def do_GET(self) -> None:
            """See `Handler`."""
            self.close_connection = False
            path = urlsplit(self.path).path
            token, _, rest = path.removeprefix("/").partition("/")
            if not secrets.compare_digest(token.encode(), page.token.encode()):
                self._answer(404, "text/plain; charset=utf-8", b"not found\n")
            elif rest in content:
                data, kind = content[rest]
                self._answer(200, kind, data)
            elif rest == "events":
                self._events()
            elif rest.startswith("picture/"):
                data = page.picture(unquote(rest.removeprefix("picture/")))
                if data is None:
                    self._answer(404, "text/plain; charset=utf-8", b"no such picture\n")
                else:
                    self._answer(200, "image/jpeg", data)
            else:
                self._answer(404, "text/plain; charset=utf-8", b"not found\n")

        def _events(self) -> None:
            client = page.join()
            self.close_connection = True
            try:
                self._head(200, "text/event-stream; charset=utf-8", None)
                while True:
                    try:
                        message, name = client.get(timeout=ALIVE)
                    except queue.Empty:
                        if not page.here(client):
                            return
                        message, name = b": alive\n\n", ""
                    if name == "end":
                        return
                    self.wfile.write(message)
                    if name:
                        page.written(name, time.perf_counter())
            except (ConnectionError, TimeoutError):
                return  # the browser is gone
            finally:
                page.leave(client)

    return Handler


def drawn(epoch: np.ndarray) -> dict[str, Any]:
    """An epoch (channel, time) for the page: some channels in eight bits, and the power of all."""
    rows = np.unique(np.linspace(0, len(epoch) - 1, min(TRACES, len(epoch))).astype(int))
    traces, top = epoch[rows], float(np.abs(epoch).max()) or 1.0
    eight = np.round(traces * (127 / top)).astype(np.int8)
    power = np.sqrt((epoch.astype(np.float64) ** 2).mean(axis=0))
    return {
        "channels": len(rows),
        "times": epoch.shape[1],
        "top": top,
        "data": base64.b64encode(eight.tobytes()).decode(),
        "power": [round(float(v), 4) for v in power],
    }
