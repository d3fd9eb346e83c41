"""A miniature of the figures' file: few voxels, every figure with a response of its own.

Trials come as the owners' do: five figures in changing order, repeat after repeat, then five others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_VOXELS, N_REPEATS, SIDE = 12, 4, 4


def figures() -> np.ndarray:
    """Ten figures that are not symmetric: array (figure, y, x) of 0 and 1."""
    made = np.random.default_rng(3).integers(0, 2, (10, SIDE, SIDE))
    made[:, 0, :2] = [[i % 2, i // 5] for i in range(10)]
    return made


def order() -> np.ndarray:
    """Figure of every trial: array of int (trial,)."""
    rng = np.random.default_rng(0)
    blocks = [np.arange(5) if r == 0 else rng.permutation(5) for r in range(N_REPEATS)]
    blocks += [5 + (np.arange(5) if r == 0 else rng.permutation(5)) for r in range(N_REPEATS)]
    return np.concatenate(blocks)


def response(figure: int) -> np.ndarray:
    """What a figure does to each voxel: array (voxel,)."""
    return np.random.default_rng(50 + figure).standard_normal(N_VOXELS)


def arrays() -> dict[str, np.ndarray]:
    """``R2`` (voxel, trial) and ``I2`` (pixel, trial), pixels in MATLAB's order."""
    which = order()
    responses = np.stack([response(i) for i in which], axis=1)
    responses = responses + 0.01 * np.arange(len(which))  # no two trials are the same
    pictures = figures()[which].transpose(0, 2, 1).reshape(len(which), -1).T
    return {"R2": responses, "I2": pictures.astype(np.uint8)}


def write(root: Path, name: str = "V1_mean_figure.mat", **changes: np.ndarray) -> Path:
    """The file in MATLAB's version 5, as ``.npz``, or as two ``.npy``."""
    from scipy.io import savemat

    root.mkdir(parents=True, exist_ok=True)
    data = {**arrays(), **changes}
    if name.endswith(".mat"):
        savemat(root / name, data)
    elif name.endswith(".npz"):
        np.savez(root / name, **data)
    else:
        for key, value in data.items():
            np.save(root / f"{key}.npy", value)
    return root
