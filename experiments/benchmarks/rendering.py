"""Pictures per second of the image world on one core, by size; prints one table.

Usage: OMP_NUM_THREADS=1 python experiments/benchmarks/rendering.py [pictures]

Time is processor time, so that a busy machine does not change the answer.
"""

import sys
import time

from neurovis.world.scenes import concepts, render, sample_scene


def measure(scenes, size):
    """Pictures per second of processor time, best of three passes."""
    for scene in scenes[:20]:
        render(scene, size)
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        for scene in scenes:
            render(scene, size)
        best = min(best, time.process_time() - start)
    return len(scenes) / best


def main(n=400):
    names = [c.name for c in concepts()]
    scenes = [sample_scene(names[i * 7 % len(names)], i) for i in range(n)]
    print(f"{len(names)} concepts, {n} pictures")
    print(f"{'size':>6} {'pictures/s':>12} {'ms each':>9}")
    for size in (64, 96, 128, 224):
        rate = measure(scenes, size)
        print(f"{size:>6} {rate:>12.0f} {1000 / rate:>9.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
