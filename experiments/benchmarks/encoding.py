"""Banded ridge at the size of NSD: ``python -m experiments.benchmarks.encoding``.

Draws two families of features and responses, part of which each family explains, and solves for all voxels:
time, peak memory, and the largest difference of weights from himalaya's own on some of the voxels, with the
same candidates and the same choice. Work is proportional to voxels but for the decompositions, which do not
depend on them where every candidate is chosen by some voxel: fewer voxels (``--n-voxels``) measure a fraction,
solve half of them, too, and both parts are printed apart. The load of the machine before the start is printed:
seconds of processors are those of this process, seconds on the clock wait for others.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

from experiments.benchmarks.galleries import Watch
from neurovis.encode.solve import simplex, solve

NSD = 15000
"""Voxels of the visual cortex of one subject, about."""


def draw(n: int, n_features: int, n_voxels: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Two families (image, feature) and responses (image, voxel)."""
    rng = np.random.default_rng(0)
    # spectra fall as those of networks do
    size = (np.arange(1, n_features + 1) ** -0.5).astype(np.float32)
    bands = [rng.standard_normal((n, n_features), dtype=np.float32) * size for _ in range(2)]
    bands = [band / np.sqrt((band**2).sum(1).mean()) for band in bands]
    y = np.empty((n, n_voxels), np.float32)
    for start in range(0, n_voxels, 1000):
        block = slice(start, min(start + 1000, n_voxels))
        width = block.stop - block.start
        share = rng.random((2, width), dtype=np.float32)
        y[:, block] = 3 * rng.standard_normal((n, width), dtype=np.float32)
        for band, part in zip(bands, share):
            weight = rng.standard_normal((n_features, width), dtype=np.float32)
            y[:, block] += part * (band @ weight)
    return bands, y


def against_himalaya(
    bands: list[np.ndarray], y: np.ndarray, part: np.ndarray, shares: np.ndarray, penalties: np.ndarray
) -> float:  # fmt: skip
    """Largest difference of weights, relative to the largest weight."""
    from himalaya.ridge import solve_group_ridge_random_search
    from himalaya.scoring import l2_neg_loss
    from sklearn.model_selection import PredefinedSplit

    _, known, _, _ = solve_group_ridge_random_search(
        bands, y, n_iter=shares, alphas=penalties, cv=PredefinedSplit(part), fit_intercept=True,
        return_weights=True, score_func=l2_neg_loss, progress_bar=False, jitter_alphas=False, warn=False,
    )  # fmt: skip
    folds = [(np.flatnonzero(part < 0), np.flatnonzero(part == 0))]
    found = solve(bands, y, folds, shares, penalties)
    return float(np.abs(found.coef - known).max() / np.abs(known).max())


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-images", type=int, default=9000)
    parser.add_argument("--n-features", type=int, default=1024, help="of each of two families")
    parser.add_argument("--n-voxels", type=int, default=NSD)
    parser.add_argument("--n-candidates", type=int, default=20, help="points of the simplex")
    parser.add_argument("--n-penalties", type=int, default=15)
    parser.add_argument("--compare", type=int, default=50, help="voxels compared with himalaya")
    options = parser.parse_args()
    n = options.n_images
    bands, y = draw(n, options.n_features, options.n_voxels)
    part = np.where(np.arange(n) < 0.9 * n, -1, 0)  # one fold: the last tenth chooses
    folds = [(np.flatnonzero(part < 0), np.flatnonzero(part == 0))]
    # draws without corners: himalaya divides by shares
    shares = simplex(2, options.n_candidates - 1, 1.0, 0)[[0, *range(3, options.n_candidates + 2)]]
    penalties = np.logspace(-3, 4, options.n_penalties)
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    widths = [options.n_voxels]
    if options.n_voxels < NSD:
        widths.insert(0, options.n_voxels // 2)
    seconds, work, peak = [], [], 0.0
    for width in widths:
        with Watch() as watch:
            started, worked = time.perf_counter(), time.process_time()
            solve(bands, y[:, :width], folds, shares, penalties)
            seconds.append(time.perf_counter() - started)
            work.append(time.process_time() - worked)
        peak = max(peak, watch.peak)
    print(
        f"{n} images, {options.n_voxels} voxels, 2 x {options.n_features} features, {len(shares)} candidates x "
        f"{len(penalties)} penalties; {peak:.2f} GiB at most; {cores} cores, load {load:.1f} before the start"
    )
    for what, found in (("seconds", seconds), ("seconds of processors", work)):
        if len(found) == 1:
            print(f"{what}: {found[0]:.1f}")
            continue
        per = max(found[1] - found[0], 0.0) / (widths[1] - widths[0])
        rest = max(found[1] - options.n_voxels * per, 0.0)
        print(
            f"{what}: {found[1]:.1f}, of which {rest:.1f} whatever the voxels and {1000 * per:.2f} ms for "
            f"each (from half of them and all); {rest + NSD * per:.0f} at {NSD:,}"
        )
    if options.compare:
        some = np.linspace(0, options.n_voxels - 1, min(options.compare, options.n_voxels)).astype(
            int
        )
        apart = against_himalaya(bands, y[:, some], part, shares, penalties)
        print(
            f"largest difference from himalaya's weights on {len(some)} voxels: {apart:.1e} of the largest weight"
        )


if __name__ == "__main__":
    main()
