"""Through a real stream of another process: nothing lost, the same decisions, streams that come back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from live_browser import CHROMIUM, WORDS
from live_run import REPLAY, Tiny
from live_run import tiny as make

from neurovis.errors import NeurovisError, UsageError
from neurovis.live.run import Live, live
from neurovis.live.session import Session, decide_again
from neurovis.live.tally import text

pytestmark = pytest.mark.slow
mne_lsl = pytest.importorskip("mne_lsl", reason="needs the extra live")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Tiny:
    return make(tmp_path_factory)


def run_live(code: str, timeout: float = 240) -> str:
    """Decode in a process of its own, as liblsl is configured once per process."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout,
        check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


LIVE = """
    import json
    from neurovis.live.run import Live, live
    print("SUMMARY", json.dumps(live(Live(**json.loads({options!r})), quiet=True)))
"""


def summary(**options) -> dict:
    said = run_live(LIVE.format(options=json.dumps(options)))
    return json.loads(said[said.index("SUMMARY ") + 8 :])


def test_a_replay_loses_nothing_and_decides_as_offline(tiny, tmp_path):
    made = summary(
        run=str(tiny.run), replay=REPLAY, root=str(tiny.root), subject="01", speed=10,
        out=str(tmp_path), warm=5, early=[0.2],
    )  # fmt: skip
    assert made["samples"] == made["sent"]["samples"] == tiny.played.n_times
    assert made["markers"] == made["sent"]["markers"] == len(tiny.played.onset)
    assert made["events"] == made["markers"]
    session = Session(made["folder"])
    stored = session.decisions()
    again = decide_again(made["folder"], tiny.recipe, tiny.decoder)
    assert stored == [json.loads(json.dumps(d.to_dict())) for d in again]
    signal = np.concatenate([b.signal for b in session.blocks()], axis=1)
    order = [tiny.played.names.index(name) for name in tiny.recipe.names]
    assert np.array_equal(signal, tiny.signal[:, order].T)
    # what was recorded plays as a stream again, to the same
    other = summary(
        run=str(tiny.run), replay=made["folder"], speed=10, out=str(tmp_path), warm=5, early=[0.2]
    )
    assert other["samples"] == made["samples"]
    assert Session(other["folder"]).decisions() == stored
    assert made["latency"]["n"] == len(stored)
    assert "Latency" in text(made)


def test_a_stream_that_drops_and_comes_back_loses_no_decision_that_could_be_made(tiny, tmp_path):
    drops = [8.03, 17.5, 23.98]
    made = summary(
        run=str(tiny.run), replay=REPLAY, root=str(tiny.root), subject="01", speed=10, duration=40.0,
        out=str(tmp_path), warm=5, drops=drops, gone=0.5,
    )  # fmt: skip
    # portions of 20 samples: of each drop 100 are lost, from the next portion on
    away = [(a, a + 100) for a in (1620, 3500, 4800)]
    assert made["samples"] == made["sent"]["samples"] == 8000 - 300
    assert made["markers"] == made["sent"]["markers"]
    session = Session(made["folder"])
    assert [(a, b) for a, b, channel in session.missing() if channel is None] == away
    log = [json.loads(line) for line in (session.folder / "log.jsonl").read_text().splitlines()]
    said = [line["text"] for line in log if line["text"].startswith("stream")]
    assert sum("; waiting" in line for line in said) >= 3
    assert sum(line.endswith("is back") for line in said) >= 3
    # whole: from 0.1 s before the picture to the last sample, 0.59 s after it
    first = {onset: round(onset * 200) - 20 for onset in tiny.played.onset.tolist()}
    whole = [
        onset
        for onset, a in first.items()
        if a + 138 < 8000 and not any(a < stop and a + 138 >= start for start, stop in away)
    ]
    single = [d for d in session.decisions() if d["kind"] == "single"]
    assert [d["onset"] for d in single] == pytest.approx(whole, abs=1e-3)
    assert 20 < len(single) < made["events"]
    again = decide_again(made["folder"], tiny.recipe, tiny.decoder)
    assert session.decisions() == [json.loads(json.dumps(d.to_dict())) for d in again]


HEARD = """
    import threading, time
    import numpy as np
    from mne_lsl.lsl import StreamInfo, StreamOutlet
    from neurovis.live.stream import Connected, Listener, Mark, Said, Samples, alone
    alone("heard-{number}")

    def outlet(names):
        info = StreamInfo("one", "EEG", 2, 100.0, "float32", "one")
        info.set_channel_names(names)
        made = StreamOutlet(info)
        assert made.wait_for_consumers(120)
        return made

    def send():
        one = outlet(["a", "b"])
        one.push_sample(np.zeros(2, np.float32), 1.0)
        time.sleep(4.5)  # silent, and there
        one.push_sample(np.ones(2, np.float32), 2.0)
        time.sleep(1.0)
        del one
        two = outlet(["b", "a"])
        two.push_sample(np.full(2, 2, np.float32), 3.0)
        time.sleep(1.0)
        del two  # for good

    sender = threading.Thread(target=send)
    sender.start()
    for item in Listener("one", "none", timeout=120.0, wait={wait}):
        if isinstance(item, Samples):
            print(*item.stamps)
        elif isinstance(item, Connected):
            print(*item.facts.names)
        elif isinstance(item, Said):
            print(item.state, "|", item.text.removeprefix("stream one: "))
    sender.join()
"""


def test_silent_streams_are_kept_lost_ones_found_again_and_ended_ones_end_the_session():
    lines = run_live(HEARD.format(number=time.time_ns(), wait=6.0)).splitlines()
    silent = "lost | silent for 1.5 s"
    gone = re.compile(
        r"lost \| (was closed by its sender, or lost|was closed by its sender, as another one of its name is there"
        r"|silent for \d+ s and nowhere to be found); waiting 6 s for it to come back"
    )
    said = [line for line in lines if "markers" not in line]
    assert said[2] == silent
    # liblsl does not always close a connection with its sender: that it is gone is then found in another way
    loud = ["gone" if gone.fullmatch(line) else line for line in said if line != silent]
    assert loud == [
        "a b", "1.0", "live | is back", "2.0", "gone", "live | is back", "b a", "3.0",
        "gone", "ended | did not come back within 6 s; the session ends",
    ]  # fmt: skip


def test_a_stream_that_is_not_there_is_said(tiny, tmp_path):
    code = f"""
        from neurovis.errors import NeurovisError
        from neurovis.live.stream import Listener, alone
        alone("nobody-{time.time_ns()}")
        try:
            list(Listener("nothing", timeout=1.0))
        except NeurovisError as error:
            print(error)
    """
    assert "found no stream 'nothing' within 1 s" in run_live(code)


STRANGE = """
    import sys, time
    from mne_lsl.lsl import StreamInfo, StreamOutlet
    from neurovis.errors import NeurovisError
    from neurovis.live.stream import Listener, alone
    alone("strange-{number}")
    info = StreamInfo("odd", "EEG", 2, {rate}, "{kind}", "odd")
    if {names}:
        info.set_channel_names(["a", "b"])
    outlet = StreamOutlet(info)
    try:
        next(iter(Listener("odd", "none", channels={channels}, timeout=60.0)))
    except NeurovisError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("rate", "kind", "names", "channels", "said"),
    [
        (0.0, "float32", True, (), "has no regular rate"),
        (100.0, "string", True, (), "holds no numbers"),
        (100.0, "float32", False, (), "names no channels"),
        (100.0, "float32", False, ("a",), "has 2 channels, expected 1"),
    ],
)
def test_strange_streams_are_refused(rate, kind, names, channels, said):
    options = {"rate": rate, "kind": kind, "names": names, "channels": channels}
    assert said in run_live(STRANGE.format(number=time.time_ns(), **options))


def test_wrong_words_are_refused(tiny, tmp_path):
    for words in ({}, {"stream": "a", "replay": "b"}):
        with pytest.raises(UsageError, match="--stream NAME or --replay"):
            live(Live(run=str(tiny.run), **words))
    with pytest.raises(NeurovisError, match=r"no signals.json"):
        live(Live(run=str(tmp_path), stream="a"))
    table = tmp_path / "labels.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="columns marker and image"):
        live(Live(run=str(tiny.run), stream="a", labels=str(table)))


BROWSER = """
    import _thread, json, subprocess, threading, time
    from neurovis.live.run import Live, live
    command, options = json.loads({words!r})
    seen = []

    def look(url):
        # a browser without a window gives the page when it has loaded, which may be before it was told
        while not seen and time.monotonic() < ends:
            got = subprocess.run([*command, url], capture_output=True, text=True, timeout=120).stdout
            if 'class="pill"' in got and "one trial" in got and "median" in got and "painted-" in got:
                seen.append(got)
        _thread.interrupt_main()  # as Ctrl-C does

    ends = time.monotonic() + 150
    thread = []
    def opened(url):
        thread.append(threading.Thread(target=look, args=(url,)))
        thread[0].start()
    made = live(Live(**options), quiet=True, opened=opened)
    thread[0].join()
    print("SUMMARY", json.dumps([made, seen]))
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_real_browser_shows_what_was_decided(tiny, tmp_path):
    command = [
        CHROMIUM,
        *WORDS,
        f"--user-data-dir={tmp_path}/browser",
        "--dump-dom",
        "--timeout=4000",
    ]
    options = {
        "run": str(tiny.run), "replay": REPLAY, "root": str(tiny.root), "subject": "01", "average": False,
        "out": str(tmp_path), "warm": 5, "generator": {"name": "live_generator:Grey", "width": tiny.decoder.model.spaces["picture"].centre.size},
    }  # fmt: skip
    said = run_live(BROWSER.format(words=json.dumps([command, options])))
    made, (dom,) = json.loads(said[said.index("SUMMARY ") + 8 :])
    assert made["decided"] > 0  # it was stopped, and ended in order
    session = Session(made["folder"])
    number = int(re.search(r"event (\d+), one trial", dom)[1]) - 1
    (shown,) = (d for d in session.decisions() if d["event"] == number)
    names = re.findall(r'<p class="name">([^<]*)</p><div class="meter"', dom)
    concept = dict(
        zip(tiny.decoder.candidates.image.tolist(), tiny.decoder.candidates.concept.tolist())
    )
    assert names == [concept[image].replace("_", " ") for image in shown["image"]]
    # pictures came: one that does not is replaced by its name
    pictures = re.findall(r'<img alt="[^"]*" src="picture/([^"]+)"', dom)
    assert pictures[: len(names)] == shown["image"]
    assert any(name.startswith("painted-") for name in pictures)
    rank = "not in the gallery" if shown["rank"] is None else f"rank {shown['rank']}"
    assert f">{rank}</p>" in dom
    assert "200 Hz" in dom
    assert f"{len(tiny.recipe.names)} of {len(tiny.played.names)}" in dom
    assert "channel MEG0020: said to be bad" in dom


def test_a_browser_sees_the_replay(tiny, tmp_path):
    code = f"""
        import threading, time, urllib.request
        from neurovis.live.run import Live, live
        seen = []
        def read(url):
            with urllib.request.urlopen(url + "events") as answer:
                for line in answer:
                    if line.startswith(b"event: "):
                        seen.append(line[7:].strip().decode())
        threads = []
        def opened(url):
            threads.append(threading.Thread(target=read, args=(url,)))
            threads[0].start()
        made = live(Live(run={str(tiny.run)!r}, replay={REPLAY!r}, root={str(tiny.root)!r}, speed=10.0,
                         duration=20.0, out={str(tmp_path)!r}, warm=5), quiet=True, opened=opened)
        threads[0].join(60)
        stages = [name for name, _ in made["latency"]["stages"]]
        print(seen.count("decision") == sum(made["decisions"].values()), "hello" in seen, stages)
    """
    assert run_live(code).startswith("True True ['filter', 'tower', 'retrieval', 'page']")
