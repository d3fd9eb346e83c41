"""From an epoch's last sample entering a stream to ranked pictures on a browser's socket.

Three processes that read one clock: one plays a simulated recording through a real Lab Streaming Layer outlet
at real speed; one decodes it as ``neurovis live`` does, with a run that was trained on it and a generator
beside; one reads the page's events as a browser does. Prints the whole way and its parts, ms. ``--hour``
plays an hour at 20 times real speed instead and counts what was lost; ``--drops N`` takes the streams away N
times at random and compares what was decided with what could be.

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.live --epochs 1000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import build, resolve
from neurovis.live.items import Shown
from neurovis.live.player import Outlets, Play, play, recording
from neurovis.live.run import Live, live
from neurovis.live.stream import alone

REPLAY = "synthetic/ses-01_run-01"
SLOW = 3.0  # s from epoch to epoch in an hour
PARTS = ("transport", "filter", "tower", "retrieval", "page", "all")


def make_run(out: Path, n_chans: int, sfreq: float, epochs: int, soa: float) -> Path:
    """Simulate one recording of so many epochs, prepare it with causal filters, train on it."""
    from neurovis.datasets import Dataset, load_datasets
    from neurovis.experiment import Experiment
    from neurovis.prepare import prepare
    from neurovis.train import main as train
    from neurovis.world.simulate import simulate

    n_test, exemplars = 10, 4 if epochs < 2000 else 12
    repeats = max(1, epochs // (5 * n_test))
    concepts = max(4, round((epochs - n_test * repeats) / exemplars))
    simulate(
        out / "world", {"name": "meg", "n_chans": n_chans}, quiet=True, n_subjects=1, n_sessions=1, n_runs=1, n_test=n_test,
        test_repeats=repeats, n_train_concepts=concepts, n_exemplars=exemplars, train_repeats=1,
        sfreq=sfreq, soa=soa, size=64,
    )  # fmt: skip
    load_datasets()
    steps = {"phase": "minimum", "notch": [50.0]}
    dataset = resolve(Dataset, {"name": "synthetic", "steps": steps})
    prepared = prepare(dataset, out / "world", out, quiet=True)
    content = {
        "name": "live", "data": {"path": str(prepared)}, "targets": {"picture": {"encoder": "world:clip"}},
        "brain": {"name": "inverted"}, "control": "none", "device": "cpu",
        "train": {"epochs": 1, "batch_size": 64},
    }  # fmt: skip
    return train(build(Experiment, content), out, quiet=True)


def make_gallery(out: Path, n_images: int) -> Path:
    """The recording's own pictures, and vectors like theirs up to so many."""
    from neurovis.records import Embeddings

    found = Embeddings.read(next(out.glob("embeddings/*/embeddings.h5")))
    n = max(0, n_images - len(found))
    rng, vector = np.random.default_rng(0), found.vector
    more = vector.mean(0) + vector.std(0) * rng.standard_normal((n, vector.shape[1]))
    ids = np.concatenate([found.image, [f"other{i:06d}" for i in range(n)]])
    path = out / "gallery.h5"
    Embeddings(np.concatenate([vector, more.astype(np.float32)]), ids, found.encoder).write(path)
    return path


class Timed(Outlets):
    """Outlets that keep when each portion was given to them."""

    def __init__(self, played: Any, options: Play):
        super().__init__(played, options)
        self.times: list[float] = []
        self.n: list[int] = []

    def send(self, signal: np.ndarray, stamps: np.ndarray) -> int:
        """See `Outlets.send`."""
        self.times.append(time.perf_counter())
        self.n.append(len(signal))
        return super().send(signal, stamps)


def outlet(words: dict[str, Any]) -> dict[str, Any]:
    """Play a recording; give when the portions were sent that end with which sample."""
    options = build(Play, words)
    played = recording(options.replay, options.root, options.subject)
    alone(options.session)
    streams = Timed(played, options)
    if not streams.wait(60.0):
        raise SystemExit("nobody listened")
    play(played, options, streams)
    time.sleep(1.0)  # all of it arrives before the streams end
    return {"last": np.cumsum(streams.n).tolist(), "time": streams.times}


def browser(words: dict[str, Any]) -> dict[str, Any]:
    """Read the page's events as a browser does; give when each decision and painting was there."""
    import urllib.request

    seen: dict[str, float] = {}
    kind = b""
    with urllib.request.urlopen(words["url"] + "events") as answer:
        for line in answer:
            now = time.perf_counter()
            if line.startswith(b"event: "):
                kind = line[7:].strip()
            elif line.startswith(b"data: ") and kind == b"decision":
                made = json.loads(line[6:])["decision"]
                seen[f"{made['event']}-{made['n_averaged']}"] = now
            elif line.startswith(b"data: ") and kind == b"painted":
                seen[json.loads(line[6:])["image"]] = now
    return seen


def child(role: str, words: dict[str, Any]) -> tuple[subprocess.Popen, dict[str, Any]]:
    """Another role in a process of its own; what it says is there when it has ended."""
    made = subprocess.Popen(
        [sys.executable, "-m", "experiments.benchmarks.live", "--role", role],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    made.stdin.write(json.dumps(words))
    made.stdin.close()
    said: dict[str, Any] = {}

    def read() -> None:
        text = made.stdout.read()
        said.update(json.loads(text) if text else {})

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    made.reader = thread
    return made, said


def finish(made: subprocess.Popen) -> None:
    """Until it has said everything and ended."""
    made.reader.join(60)
    made.wait(60)
    made.stdout.close()


def latency(run: Path, out: Path, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Seconds of each part, for every epoch: arrays (epoch,)."""
    from neurovis.live.decode import load
    from neurovis.live.recipe import Epocher, Recipe

    session, arrived, opened = alone(f"bench-{os.getpid()}"), {}, []
    own = f"{session}-{time.time_ns() % 10**9}"  # of this layout alone
    words = {
        "replay": REPLAY, "root": str(out / "world"), "subject": "01", "stream": own,
        "markers": f"{own}-m", "session": session,
    }  # fmt: skip
    player, sent = child("outlet", words)
    played = recording(REPLAY, str(out / "world"), "01")

    def watch(item: Shown, at: float) -> None:
        if item.decision.kind == "single":
            arrived[item.decision.event] = (item, at)

    how = {
        "run": str(run), "stream": own, "markers": f"{own}-m", "bads": played.bads, "out": str(out),
        "gallery": [str(make_gallery(out, options.gallery))], "wait": 2.0, "generator": options.generator or None,
    }  # fmt: skip
    # its stream ends with the recording, and the session with its stream
    live(
        build(Live, how),
        quiet=True,
        watch=watch,
        opened=lambda url: opened.append(child("browser", {"url": url})),
    )
    finish(player)
    finish(opened[0][0])
    seen = opened[0][1]
    decoder = load(run)
    epocher = Epocher(Recipe.of(run, decoder.model, decoder.subject), played.sfreq)
    ratio = played.sfreq / epocher.chain.filtered_sfreq
    last, moment = np.array(sent["last"]), np.array(sent["time"])
    rows, painted = [], []
    for event, (item, at) in arrived.items():
        stop = epocher.window(item.decision.onset) + epocher.span
        if item.decision.onset < how.get("warm", 10.0) or f"{event}-1" not in seen:
            continue  # decided when the first seconds were learned from
        pushed = moment[np.searchsorted(last, int((stop - 1) * ratio) + 1)]
        done, there = item.done, seen[f"{event}-1"]
        rows.append(
            (
                at - pushed, done["filter"] - at, done["tower"] - done["filter"],
                done["retrieval"] - done["tower"], there - done["retrieval"], there - pushed,
            )
        )  # fmt: skip
    for name, moment_of in seen.items():
        if name.startswith("painted-") and name.endswith("-quick"):
            painted.append(moment_of - seen[name.removeprefix("painted-").removesuffix("-quick")])
    found = dict(zip(PARTS, np.array(rows).T))
    return found | ({"painting": np.array(painted)} if painted else {})


def report_latency(options: argparse.Namespace, out: Path) -> None:
    """One table per layout."""
    for layout in options.layouts:
        n_chans, sfreq = map(int, layout.split("x"))
        folder = out / f"{layout}-{options.epochs}"
        run = make_run(folder, n_chans, sfreq, options.epochs, options.soa)
        found = latency(run, folder, options)
        print(
            f"{n_chans} channels at {sfreq} Hz, gallery of {options.gallery:,}, {len(found['all'])} of "
            f"{options.epochs} epochs (those of the first 10 s are learned from), load {os.getloadavg()[0]:.1f}"
        )
        print(f"{'ms':>10} {'median':>8} {'mean':>8} {'99 %':>8} {'most':>8} {'n':>6}")
        for name, seconds in found.items():
            ms = 1000 * seconds
            numbers = (np.median(ms), ms.mean(), np.percentile(ms, 99), ms.max())
            print(f"{name:>10} " + " ".join(f"{v:8.2f}" for v in numbers) + f" {len(ms):6d}")


def memory() -> float:
    """Resident memory of this process, MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def report_hour(options: argparse.Namespace, out: Path) -> None:
    """Play an hour faster than real time; what was lost, and the memory meanwhile."""
    n_chans, sfreq = map(int, options.layouts[-1].split("x"))
    n = round(60 * options.minutes / SLOW)
    folder = out / f"hour-{options.layouts[-1]}-{n}"
    run = make_run(folder, n_chans, sfreq, n, SLOW)
    measured, over = [], threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            measured.append(memory())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    began = time.perf_counter()
    how = {
        "run": str(run), "replay": REPLAY, "root": str(folder / "world"), "speed": 20.0, "out": str(folder),
        "gallery": [str(make_gallery(folder, options.gallery))],
    }  # fmt: skip
    made = live(build(Live, how), quiet=True)
    took = time.perf_counter() - began
    over.set()
    thread.join()
    sent, quarter = made["sent"], np.array_split(np.array(measured), 4)
    seconds = sent["samples"] / sfreq
    print(
        f"{seconds / 60:.1f} minutes of {n_chans} channels at {sfreq} Hz in {took:.0f} s "
        f"({seconds / took:.1f} x), load {os.getloadavg()[0]:.1f}"
    )
    print(f"samples lost: {sent['samples'] - made['samples']} of {sent['samples']}")
    print(f"markers lost: {sent['markers'] - made['markers']} of {sent['markers']}")
    print(f"events decided: {made['decided']} of {made['events']}")
    said = ", ".join(f"{part.mean():.0f}" for part in quarter)
    print(f"memory by quarters of the time, MB: {said}; most {max(measured):.0f}")


def report_drops(options: argparse.Namespace, out: Path) -> None:
    """Take the streams away at random; what was decided, and what could be."""
    from neurovis.live.decode import load
    from neurovis.live.recipe import Epocher, Recipe
    from neurovis.live.session import Session

    n_chans, sfreq = map(int, options.layouts[-1].split("x"))
    n = max(200, 10 * options.drops)
    folder = out / f"drops-{options.layouts[-1]}-{n}"
    run = make_run(folder, n_chans, sfreq, n, 0.6)
    played = recording(REPLAY, str(folder / "world"), "01")
    rng, gone = np.random.default_rng(options.seed), 0.5
    end = played.n_times / sfreq
    drops = np.sort(rng.uniform(2, end - 5, options.drops))
    how = {
        "run": str(run), "replay": REPLAY, "root": str(folder / "world"), "speed": options.speed,
        "out": str(folder), "drops": drops.tolist(), "gone": gone,
    }  # fmt: skip
    began = time.perf_counter()
    made = live(build(Live, how), quiet=True)
    took = time.perf_counter() - began
    session = Session(made["folder"])
    decided = [d["onset"] for d in session.decisions() if d["kind"] == "single"]
    log = (session.folder / "log.jsonl").read_text().splitlines()
    back = sum(json.loads(line)["text"].endswith("is back") for line in log)
    decoder = load(run)
    epocher = Epocher(Recipe.of(run, decoder.model, decoder.subject), sfreq)
    ratio = sfreq / epocher.chain.filtered_sfreq
    missing = [(a, b) for a, b, channel in session.missing() if channel is None]
    could = [
        onset
        for onset in played.onset.tolist()
        if (span := _raw(epocher, onset, ratio))[0] >= 0
        and span[1] < played.n_times
        and not any(a <= span[1] and b > span[0] for a, b in missing)
    ]
    lost = [onset for onset in could if not any(abs(onset - d) < 0.01 for d in decided)]
    sent = made["sent"]
    print(
        f"{options.drops} drops of {gone} s in {end / 60:.1f} minutes of {n_chans} channels at {sfreq} Hz, "
        f"{took:.0f} s, load {os.getloadavg()[0]:.1f}"
    )
    print(f"came back: {back}; missing stretches: {len(missing)}")
    print(f"samples lost of those sent: {sent['samples'] - made['samples']} of {sent['samples']}")
    print(f"markers lost of those sent: {sent['markers'] - made['markers']} of {sent['markers']}")
    print(
        f"events: {len(played.onset)}; whole in what was sent: {len(could)}; decided: {len(decided)}"
    )
    print(f"not decided though they could be: {len(lost)}")


def _raw(epocher: Any, onset: float, ratio: float) -> tuple[float, float]:
    """First and last sample of an event's window."""
    start = epocher.window(onset)
    return start * ratio, (start + epocher.span - 1) * ratio


def main() -> None:
    """Print one table per layout, or what `--hour` and `--drops` found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layouts", nargs="+", default=["270x1200", "63x1000"])
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--soa", type=float, default=0.3, help="s from epoch to epoch")
    parser.add_argument("--gallery", type=int, default=20_000, help="images")
    parser.add_argument("--generator", default="world", help="painting beside it; empty for none")
    parser.add_argument("--hour", action="store_true", help="replay an hour at 20 x")
    parser.add_argument("--minutes", type=float, default=60.0, help="of --hour")
    parser.add_argument("--drops", type=int, default=0, help="take the streams away so often")
    parser.add_argument("--speed", type=float, default=4.0, help="of --drops, times real speed")
    parser.add_argument("--seed", type=int, default=0, help="of --drops")
    parser.add_argument("--out", help="keep recordings and runs here for another time")
    parser.add_argument("--role", choices=("outlet", "browser"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        words = json.loads(sys.stdin.read())
        print(json.dumps({"outlet": outlet, "browser": browser}[options.role](words)))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = report_hour if options.hour else report_drops if options.drops else report_latency
        work(options, Path(options.out or folder))


if __name__ == "__main__":
    main()
