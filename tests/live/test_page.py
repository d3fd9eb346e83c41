"""The page: who may see it, what it may load, that text stays text, and that it looks as it should."""

from __future__ import annotations

import http.client
import json
import queue
import socket
import subprocess
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from live_browser import CHROMIUM, WORDS

from neurovis.errors import NeurovisError
from neurovis.live.page import BEHIND, Page, drawn

EVIL = "<img src=x onerror=alert(1)>"
FACTS = {"title": EVIL, "gallery": "8 images", "footer": "f"}


@pytest.fixture
def page():
    made = Page(FACTS, {"cat": b"jpeg", "a/b c": b"other"})
    yield made
    made.close()


def get(page: Page, path: str, method: str = "GET") -> tuple[int, dict, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    out = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return out


class Browser:
    """Reads server-sent events."""

    def __init__(self, page: Page):
        self.connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
        self.connection.request("GET", f"/{page.token}/events")
        self.answer = self.connection.getresponse()

    def event(self) -> tuple[str, dict]:
        lines = []
        while (line := self.answer.fp.readline().decode().rstrip("\n")) or not lines:
            lines += [line] if line else []
        return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def test_only_who_has_the_token_sees_anything(page):
    for path in ("/", "/page.js", f"/{page.token[:-1]}/", "/x/events", "//", "/%00/"):
        assert get(page, path)[0] == 404
    status, headers, body = get(page, f"/{page.token}/")
    assert status == 200
    assert b"neurovis live" in body
    assert page.token.encode() not in body
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert urlsplit(page.url).hostname == "127.0.0.1"
    assert len(page.token) >= 24


def test_nothing_else_is_served(page):
    token = page.token
    for path in ("../page.py", "page.py", "picture/../../etc/passwd", "picture/dog", "picture/"):
        assert get(page, f"/{token}/{path}")[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert get(page, f"/{token}/", method)[0] == 501


def test_no_external_resource_and_nothing_inline(page):
    for name in ("", "page.css", "page.js", "icon.svg"):
        _, _, body = get(page, f"/{page.token}/{name}")
        text = body.decode()
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text
        assert "innerHTML" not in text
        assert " style=" not in text
        assert "onclick" not in text


def test_pictures_come_by_name(page):
    assert get(page, f"/{page.token}/picture/cat")[2] == b"jpeg"
    assert get(page, f"/{page.token}/picture/a%2Fb%20c")[2] == b"other"
    for number in range(20):
        page.paint(f"painted-{number}", b"%d" % number)
    assert get(page, f"/{page.token}/picture/painted-19")[2] == b"19"
    assert get(page, f"/{page.token}/picture/painted-0")[0] == 404


def test_browsers_are_told_what_happens_and_what_happened(page):
    first = Browser(page)
    assert first.event() == ("hello", FACTS)
    page.publish("note", {"text": EVIL, "at": 1.0})
    page.publish("stream", {"state": "live"})
    page.publish("stream", {"state": "lost"})
    told = [first.event() for _ in range(3)]
    assert told[0] == ("note", {"text": EVIL, "at": 1.0})
    late = Browser(page)
    assert [late.event()[0] for _ in range(3)] == ["hello", "note", "stream"]
    assert page.n_clients == 2


def test_when_a_message_was_written_is_told(page):
    written: queue.Queue = queue.Queue()
    page.written = lambda name, at: written.put((name, at))
    browser = Browser(page)
    browser.event()
    before = time.perf_counter()
    page.publish("decision", {}, "one")
    name, at = written.get(timeout=30)
    assert name == "one"
    assert before < at <= time.perf_counter()


def test_a_browser_that_does_not_read_holds_nobody_up(page):
    stuck = socket.create_connection(("127.0.0.1", page.port))
    stuck.sendall(f"GET /{page.token}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    deadline = time.monotonic() + 30
    while not page.n_clients and time.monotonic() < deadline:
        time.sleep(0.01)
    large = {"data": "x" * 1_000_000}
    for _ in range(BEHIND + 40):
        page.publish("decision", large)
        if not page.n_clients:
            break
    assert page.n_clients == 0
    stuck.close()
    assert get(page, f"/{page.token}/")[0] == 200


def test_numbers_that_are_none_are_not_sent(page):
    with pytest.raises(ValueError, match="not JSON compliant"):
        page.publish("decision", {"value": float("nan")})


def test_a_port_that_is_taken_is_refused(page):
    with pytest.raises(NeurovisError, match="--port"):
        Page(FACTS, {}, port=page.port)
    with pytest.raises(NeurovisError, match="--port"):
        Page(FACTS, {}, host="no.such.host.invalid")


def test_closing_frees_the_port():
    made = Page(FACTS, {})
    browser = Browser(made)
    browser.event()
    made.close()
    assert browser.answer.fp.read() == b""
    Page(FACTS, {}, port=made.port).close()


def test_epochs_are_drawn_in_eight_bits():
    epoch = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)
    data = drawn(epoch)
    import base64

    values = np.frombuffer(base64.b64decode(data["data"]), np.int8).reshape(32, 50)
    rows = np.unique(np.linspace(0, 39, 32).astype(int))
    assert np.allclose(values * data["top"] / 127, epoch[rows], atol=data["top"] / 250)
    assert np.allclose(data["power"], np.sqrt((epoch**2).mean(0)), atol=1e-3)
    assert drawn(np.zeros((2, 3), np.float32))["top"] == 1.0


# ---- in a browser


def chromium(url: str, folder, *words: str) -> str:
    command = [CHROMIUM, *WORDS, f"--user-data-dir={folder}", *words, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


def decision(**changes) -> dict:
    """What a loop would publish."""
    made = {
        "event": 3, "kind": "single", "label": EVIL, "truth": "cat", "onset": 1.0, "until": 0.6,
        "n_averaged": 1, "image": ["cat", EVIL], "similarity": [0.9, 0.1], "probability": [0.7, 0.2],
        "concept": [EVIL, "cat"], "concept_probability": [0.7, 0.3], "rank": 1, "counted": True,
    } | changes  # fmt: skip
    return {
        "decision": made, "names": [EVIL, "second"], "truth_name": "cat", "tmin": -0.1, "sfreq": 100.0,
        "epoch": drawn(np.random.default_rng(0).standard_normal((12, 70)).astype(np.float32)),
    }  # fmt: skip


TALLY = {
    "latency": {
        "n": 9, "median": 9.5, "p99": 20.0, "edges": list(range(0, 50, 2)), "counts": [1] * 25,
        "stages": [["tower", 3.0]],
    },
    "accuracy": [
        {"name": "top-1, one trial", "value": 0.5, "low": 0.2, "high": 0.8, "chance": 0.125, "n": 8, "images": 4}
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_it_and_text_stays_text(tmp_path):
    page = Page(FACTS, {})
    page.publish("stream", {"state": "live", "text": "live", "rows": [["rate", "200 Hz"]]})
    page.publish("note", {"text": EVIL, "at": 2.0})
    page.publish("decision", decision())
    page.publish("tally", TALLY)
    # a browser without a window gives the page when it has loaded, which may be before it was told
    for _ in range(30):
        dom = chromium(page.url, tmp_path, "--dump-dom", "--timeout=5000")
        if "rank 1" in dom and "median" in dom:
            break
    page.close()
    assert "<img src=x" not in dom
    assert dom.count("&lt;img src=x onerror=alert(1)&gt;") >= 4
    assert "rank 1" in dom
    assert "70.0 %" in dom
    assert "median 9.5 ms" in dom
    assert "20 % to 80 %, chance 12.5 %, 8 trials of 4 pictures" in dom
    assert "200 Hz" in dom
