"""Retrieval among a million images: ``python -m experiments.benchmarks.galleries``.

Writes a gallery of float16 vectors to a temporary file (1.5 GB at the defaults), then finds the ten most
similar items and the rank of the shown one for some queries: with one whole float32 matrix in numpy, as
a plain script would, and with ``neurovis.search.search``. Each runs in a process of its own whose peak
memory is measured, after the file was read once, so that both find it in the system's cache. Both answers
are compared. With FAISS installed its flat index is a third row.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

K = 10


def write(folder: Path, n_items: int, dim: int, n_rows: int) -> None:
    """Gallery, queries (a shown item and noise) and which item was shown."""
    rng = np.random.default_rng(0)
    gallery = np.lib.format.open_memmap(folder / "gallery.npy", "w+", np.float16, (n_items, dim))
    step = max(1, 2**24 // dim)
    for start in range(0, n_items, step):
        stop = min(start + step, n_items)
        gallery[start:stop] = rng.standard_normal((stop - start, dim), dtype=np.float32)
    shown = rng.choice(n_items, n_rows)
    noise = 4 * rng.standard_normal((n_rows, dim), dtype=np.float32)
    np.savez(folder / "query.npz", query=gallery[shown] + noise, shown=shown)
    gallery.flush()


def naive(folder: Path, query: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All of the gallery and all similarities in memory."""
    gallery = np.load(folder / "gallery.npy").astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    query = query / np.linalg.norm(query, axis=1, keepdims=True)
    similarity = query @ gallery.T
    first = np.argpartition(-similarity, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(similarity, first, 1), axis=1)
    true = np.take_along_axis(similarity, shown[:, None], 1)
    return np.take_along_axis(first, order, 1), (similarity > true).sum(axis=1)


def blockwise(folder: Path, query: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The library's search."""
    from neurovis.search import open_gallery, search

    with open_gallery(folder / "gallery.npy") as gallery:
        found = search(query, gallery, K, shown)
    return found.item, found.above


def faiss(folder: Path, query: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FAISS's flat index, which is built first; it gives no ranks."""
    from neurovis.search import open_gallery, search_faiss

    with open_gallery(folder / "gallery.npy") as gallery:
        found = search_faiss(query, gallery, K)
    return found.item, np.full(len(shown), -1)


WAYS = {"naive": naive, "blockwise": blockwise, "faiss": faiss}


class Watch:
    """Peak of this process's own memory: pages of a mapped file, which can be dropped, do not count."""

    def __enter__(self):
        self.peak, self.stop = 0.0, threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()
        return self

    def look(self) -> None:
        """Look every 5 ms."""
        path = Path("/proc/self/status")
        while path.is_file() and not self.stop.wait(0.005):
            lines = path.read_text().splitlines()
            own = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
            self.peak = max(self.peak, own[0] / 2**20 if own else 0.0)

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def run(folder: Path, way: str) -> None:
    """Measure one way in this process; prints JSON."""
    import neurovis.search  # noqa: F401 - imports are not what is measured

    with np.load(folder / "query.npz") as data:
        query, shown = data["query"], data["shown"]
    with (folder / "gallery.npy").open("rb") as file:
        while file.read(2**24):
            pass
    with Watch() as watch:
        started = time.perf_counter()
        item, above = WAYS[way](folder, query, shown)
        seconds = time.perf_counter() - started
    np.savez(folder / f"{way}.npz", item=item, above=above)
    print(json.dumps({"seconds": seconds, "peak": watch.peak}))


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--n-rows", type=int, default=200)
    parser.add_argument("--folder", help="of the temporary files; the system's by default")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run(Path(options.folder), options.way)
        return
    ways = ["naive", "blockwise", *(["faiss"] if importlib.util.find_spec("faiss") else [])]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write(folder, options.n_items, options.dim, options.n_rows)
        said = {}
        for way in ways:
            words = [sys.executable, "-m", "experiments.benchmarks.galleries"]
            words += ["--way", way, "--folder", name]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            said[way] = json.loads(done.stdout)
        answer = {way: dict(np.load(folder / f"{way}.npz")) for way in ways}
    size = options.n_items * options.dim * 2 / 2**30
    print(f"{options.n_rows} queries, {options.n_items:,} x {options.dim} float16 ({size:.2f} GiB)")
    print(
        f"{'':<12}{'seconds':>9}{'peak GiB':>10}{'time':>8}{'memory':>8}  same first ten, same rank"
    )
    base = said["naive"]
    for way in ways:
        item, above = answer[way]["item"], answer[way]["above"]
        same = (item == answer["naive"]["item"]).all(axis=1).mean()
        rank = (above == answer["naive"]["above"]).mean() if above[0] >= 0 else float("nan")
        print(
            f"{way:<12}{said[way]['seconds']:>9.1f}{said[way]['peak']:>10.2f}"
            f"{said[way]['seconds'] / base['seconds']:>8.2f}{said[way]['peak'] / (base['peak'] or 1):>8.3f}"
            f"  {100 * same:.1f} %, {100 * rank:.1f} %"
        )


if __name__ == "__main__":
    main()
