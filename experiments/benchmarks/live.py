"""From an epoch's last sample entering a stream to ranked pictures on a browser's socket.

Three processes: one sends noise through a real Lab Streaming Layer outlet at real speed, with a marker per
event; one decodes it as ``neurovis live`` does; one reads the page's events from a socket as a browser does.
All read the same clock. The tower is the demo's, with random weights at the published widths, as the time
does not depend on what it learned. Prints the whole way and its parts, in ms.

    OMP_NUM_THREADS=2 python -m experiments.benchmarks.live --layouts 270x1200 63x1000 --epochs 1000
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

from neurovis.live.items import Shown
from neurovis.live.run import Live, live
from neurovis.live.stream import alone, lsl

SOA = 0.2  # s
CHUNK = 0.01  # s of signal that an amplifier sends at a time
WARM = 3.0


def write_run(folder: Path, n_chans: int, rate: float, width: int, n_gallery: int) -> Path:
    """A run as training leaves it, with random weights and a random gallery."""
    from neurovis.brain.base import Shape
    from neurovis.brain.inverted import Inverted
    from neurovis.config import to_dict, write_yaml
    from neurovis.decoder import decoder
    from neurovis.records import Embeddings, Split
    from neurovis.signals.chain import Steps
    from neurovis.spaces import Space
    from neurovis.store import save_tensors, write_json

    rng = np.random.default_rng(0)
    names = tuple(f"MLO{i:03d}" for i in range(n_chans))
    angle = np.arange(n_chans) * 2.4
    height = np.linspace(0.05, 0.95, n_chans)
    circle = np.sqrt(1 - height**2)
    position = 0.1 * np.stack([circle * np.cos(angle), circle * np.sin(angle), height], 1)
    steps = Steps(
        l_freq=0.1, h_freq=40.0, notch=(50.0,), sfreq=rate, tmin=-0.1, tmax=0.6, phase="minimum",
        detect=False, scope="subject",
    )  # fmt: skip
    n_times = round(0.7 * rate)
    shape = Shape(
        n_times, rate, names, ("mag",) * n_chans, position, ("01",), {"image": width}, -0.1
    )
    model = decoder(Inverted().build(shape), shape.outputs, "linear")
    save_tensors(folder / "model.safetensors", dict(model.state_dict()))
    write_yaml(folder / "config.yaml", {"version": 1, "brain": {"name": "inverted"}})
    write_json(folder / "shape.json", shape.to_dict())
    signals = {
        "format": "neurovis-signals", "format_version": 1, "dataset": "noise", "modality": "meg", "unit": "1",
        "preprocessing": {"steps": to_dict(steps)}, "channels": {"01": list(names)},
    }  # fmt: skip
    write_json(folder / "signals.json", signals)
    ids = [f"image{i:05d}" for i in range(n_gallery)]
    vector = rng.standard_normal((n_gallery, width)).astype(np.float32)
    Embeddings(vector, ids).write(folder / "gallery" / "image.h5")
    (folder / "spaces").mkdir(exist_ok=True)
    Space().write(folder / "spaces" / "image.safetensors")
    Split(["a"], ["b"], ids).write(folder / "split.json")
    return folder


def send(options: dict[str, Any]) -> dict[str, float]:
    """Send noise and markers at real speed; give when the last sample of each chunk was sent."""
    n_chans, sfreq, n_epochs = options["n_chans"], options["sfreq"], options["epochs"]
    alone(options["session"])
    module, rng = lsl(), np.random.default_rng(0)
    info = module.StreamInfo("noise", "MEG", n_chans, sfreq, "float32", "noise")
    info.set_channel_names([f"MLO{i:03d}" for i in range(n_chans)])
    signals = module.StreamOutlet(info)
    markers = module.StreamOutlet(module.StreamInfo("marks", "Markers", 1, 0.0, "string", "marks"))
    while not (signals.has_consumers and markers.has_consumers):
        time.sleep(0.01)
    step = round(CHUNK * sfreq)
    stock = (1e-13 * rng.standard_normal((200, step, n_chans))).astype(np.float32)
    onsets = WARM + SOA * (1 + np.arange(n_epochs) + 0.1 * rng.random(n_epochs))
    n_chunks = int(np.ceil((onsets[-1] + 1.0) / CHUNK))
    zero, began, due, sent = module.local_clock(), time.perf_counter(), 0, {}
    for number in range(n_chunks):
        first, last = number * step, (number + 1) * step
        wait = began + last / sfreq - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        stamps = zero + np.arange(first, last) / sfreq
        sent[str(last)] = time.perf_counter()
        signals.push_chunk(stock[number % len(stock)], stamps)
        while due < n_epochs and onsets[due] * sfreq < last:
            markers.push_sample([f"image{due:05d}"], zero + onsets[due])
            due += 1
    time.sleep(2.0)
    return sent


def browse(url: str) -> dict[str, float]:
    """Read the page's events as a browser does; give when each decision was there."""
    import urllib.request

    seen, kind = {}, b""
    with urllib.request.urlopen(url + "events") as answer:
        for line in answer:
            if line.startswith(b"event: "):
                kind = line[7:].strip()
            elif line.startswith(b"data: ") and kind == b"decision":
                now = time.perf_counter()
                seen[str(json.loads(line[6:])["decision"]["event"])] = now
    return seen


def measure(n_chans: int, sfreq: float, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Seconds of each part, for every epoch: arrays (epoch,)."""
    session, rate = alone(f"bench-{os.getpid()}"), 120.0 if sfreq % 120 == 0 else 100.0
    arrived: dict[int, tuple[Shown, float]] = {}
    children: list[subprocess.Popen] = []

    def child(role: str, words: dict[str, Any]) -> subprocess.Popen:
        command = [sys.executable, "-m", "experiments.benchmarks.live", "--role", role]
        made = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        made.stdin.write(json.dumps(words))
        made.stdin.close()
        children.append(made)
        return made

    words = {"n_chans": n_chans, "sfreq": sfreq, "epochs": options.epochs, "session": session}
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder), n_chans, rate, options.dim, options.gallery)
        outlet = child("outlet", words)
        browser: list[subprocess.Popen] = []
        # the last window is over, and signal still comes
        duration = WARM + SOA * options.epochs + 0.8
        how = Live(
            run=str(run), stream="noise", markers="marks", warm=WARM, average=False, out=folder,
            duration=duration,
        )  # fmt: skip
        live(
            how,
            quiet=True,
            opened=lambda url: browser.append(child("browser", {"url": url})),
            watch=lambda item, at: arrived.setdefault(item.decision.event, (item, at)),
        )
        results: list[dict[str, float]] = [{}, {}]
        readers = [
            threading.Thread(target=lambda i=i, c=c: results[i].update(json.loads(c.stdout.read())))
            for i, c in enumerate((outlet, browser[0]))
        ]
        for one in readers:
            one.start()
        for one in readers:
            one.join()
        for one in children:
            one.wait()
            one.stdout.close()
    sent, seen = results
    step = round(CHUNK * sfreq)
    reach = (round(0.7 * rate) - 1) * round(sfreq / rate) + 1
    rows = []
    for event, (item, at) in arrived.items():
        if str(event) not in seen:
            continue
        # the chunk that held the window's last sample
        last = round((item.decision.onset - 0.1) * sfreq) + reach
        pushed = sent[str(-(-last // step) * step)]
        done = item.done
        rows.append(
            (
                at - pushed, done["filter"] - at, done["tower"] - done["filter"],
                done["retrieval"] - done["tower"], seen[str(event)] - done["retrieval"],
                seen[str(event)] - pushed,
            )
        )  # fmt: skip
    return dict(zip(PARTS, np.array(rows).T))


PARTS = ("transport", "filter", "tower", "retrieval", "page", "all")


def main() -> None:
    """Print one table per layout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layouts", nargs="+", default=["270x1200", "63x1000"])
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--gallery", type=int, default=20_000, help="images")
    parser.add_argument("--dim", type=int, default=1024, help="of the embeddings")
    parser.add_argument("--role", choices=("outlet", "browser"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        words = json.loads(sys.stdin.read())
        said = send(words) if options.role == "outlet" else browse(words["url"])
        print(json.dumps(said))
        return
    for layout in options.layouts:
        n_chans, sfreq = map(int, layout.split("x"))
        found = measure(n_chans, float(sfreq), options)
        n = len(found["all"])
        print(
            f"{n_chans} channels at {sfreq} Hz, gallery of {options.gallery:,} x {options.dim}, {n} of "
            f"{options.epochs} epochs, load {os.getloadavg()[0]:.1f}"
        )
        print(f"{'ms':>10} {'median':>8} {'mean':>8} {'99 %':>8} {'most':>8}")
        for name in PARTS:
            ms = 1000 * found[name]
            numbers = (np.median(ms), ms.mean(), np.percentile(ms, 99), ms.max())
            print(f"{name:>10} " + " ".join(f"{value:8.2f}" for value in numbers))


if __name__ == "__main__":
    main()
