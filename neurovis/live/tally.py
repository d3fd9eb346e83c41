"""How well it goes: accuracy where the truth is known, and how long decisions take.

Comes in: decisions and times. Goes out: plain data for the page and the summary at the end. Trials of one
picture are not independent of each other: intervals are Wilson's with as many items as pictures were seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurovis.live.decode import Decision
from neurovis.metrics.statistics import wilson

KINDS = {"early": "first {until:.0f} ms", "single": "one trial", "average": "mean of 2 or more"}
EDGES = tuple(range(0, 54, 2))
"""ms; what took 50 or more stands in the last bin."""
KEPT = 10_000  # latest times


class Tally:
    """Counts decisions whose truth is known and did not train the model.

    Parameters
    ----------
    n_gallery : int
    """

    def __init__(self, n_gallery: int):
        self.n_gallery = n_gallery
        self._hits: dict[tuple[str, float], list[tuple[str, int]]] = {}

    def add(self, decision: Decision) -> None:
        """Take a decision in."""
        if decision.counted:
            until = decision.until if decision.kind == "early" else 0.0
            self._hits.setdefault((decision.kind, until), []).append(
                (decision.truth, decision.rank)
            )

    def rows(self, places: tuple[int, ...] = (1, 5)) -> list[dict[str, Any]]:
        """Top-1 and top-5 of each kind of decision, with chance, interval, trials and pictures."""
        out = []
        order = {"single": 0, "average": 1, "early": 2}
        for kind, until in sorted(self._hits, key=lambda key: (order[key[0]], key[1])):
            hits = self._hits[kind, until]
            images = len({truth for truth, _ in hits})
            said = KINDS[kind].format(until=1000 * until)
            for place in places:
                if place >= self.n_gallery:
                    continue
                value = float(np.mean([rank <= place for _, rank in hits]))
                low, high = wilson(value, images)
                out.append(
                    {
                        "name": f"top-{place}, {said}", "kind": kind, "place": place, "value": value,
                        "low": low, "high": high, "chance": place / self.n_gallery, "n": len(hits),
                        "images": images,
                    }
                )  # fmt: skip
        return out


class Latencies:
    """How long steps take, s in, ms out."""

    def __init__(self) -> None:
        self._all: list[float] = []
        self._stages: dict[str, list[float]] = {}

    def add(self, total: float, stages: dict[str, float]) -> None:
        """Take the times (s) of one decision in."""
        for values, value in [
            (self._all, total),
            *((self._stages.setdefault(k, []), v) for k, v in stages.items()),
        ]:
            values.append(1000 * value)
            if len(values) > KEPT:
                del values[: KEPT // 2]

    def stage(self, name: str, seconds: float) -> None:
        """Take the time of a step that was not known with the others."""
        values = self._stages.setdefault(name, [])
        values.append(1000 * seconds)
        if len(values) > KEPT:
            del values[: KEPT // 2]

    def summary(self) -> dict[str, Any] | None:
        """Median, 99th percentile, histogram, and the median of each step; None without any."""
        if not self._all:
            return None
        values = np.array(self._all)
        counts, _ = np.histogram(np.minimum(values, EDGES[-1] - 1e-9), EDGES)
        return {
            "n": len(values),
            "median": float(np.median(values)),
            "p99": float(np.percentile(values, 99)),
            "edges": list(EDGES[:-1]),
            "counts": counts.tolist(),
            "stages": [[k, float(np.median(v))] for k, v in self._stages.items()],
        }


def text(summary: dict[str, Any]) -> str:
    """The summary for the terminal."""
    lines = []
    sent = summary["sent"]
    if sent is not None:
        lines.append(
            f"Received: {summary['samples']} of {sent['samples']} samples, {summary['markers']} of "
            f"{sent['markers']} markers"
        )
    lines.append(f"Events: {summary['events']}, decided {summary['decided']}")
    expected = summary["expected"]
    lines += [expected[0].upper() + expected[1:]] if expected else []
    for row in summary["accuracy"]:
        lines.append(
            f"{row['name']}: {100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}], "
            f"chance {100 * row['chance']:.2g} %, {row['n']} trials of {row['images']} pictures"
        )
    took = summary["latency"]
    if took is not None:
        parts = ", ".join(f"{name} {ms:.1f}" for name, ms in took["stages"])
        lines.append(
            f"Latency: median {took['median']:.1f} ms, 99 % under {took['p99']:.1f} ms ({parts})"
        )
    return "\n".join([*lines, f"Session: {summary['folder']}"])
