"""A miniature fMRI study in which each of two regions is driven by a family of features of its own."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
from conftest import write_prepared

from neurovis.config import build
from neurovis.encode.experiment import Encode
from neurovis.records import Embeddings, Trials, opened

FAST = {"n_bootstrap": 60, "n_permutations": 60}
REGIONS = ("front", "back")


def write_voxels(folder, seed=0, noise=1.0, repeats=(2, 6), n_voxels=24):
    """A prepared fMRI study of one subject: two regions, each driven by a family of its own."""
    write_prepared(folder, n_train=90, n_test=24, repeats=repeats, subjects=("01",), seed=seed)
    image = Embeddings.read(folder / "embeddings.h5").image
    rng = np.random.default_rng(seed)
    z = {
        name: rng.standard_normal((len(image), 6)).astype(np.float32) for name in ("edges", "words")
    }
    for name, values in z.items():
        Embeddings(values, image, {"name": name}).write(folder / f"{name}.h5")
    front = np.arange(n_voxels) < n_voxels // 2
    weight = {name: rng.standard_normal((6, n_voxels)) for name in z}
    path = folder / "sub-01" / "trials.h5"
    with opened(path) as trials:
        fields = {f.name: getattr(trials, f.name) for f in dataclasses.fields(trials)}
    rows = np.array([image.tolist().index(i) for i in fields["image"]])
    clean = np.where(front, z["edges"][rows] @ weight["edges"], z["words"][rows] @ weight["words"])
    signal = clean / clean.std(0) + noise * rng.standard_normal(clean.shape)
    signal[:, 5] = 3.0  # a voxel that never changes
    # one that says the opposite at every second repeat: images explain nothing
    turn = np.zeros(len(signal), int)
    for name in np.unique(fields["image"]):
        mine = fields["image"] == name
        turn[mine] = np.arange(mine.sum()) % 2
    signal[:, 6] = (-1.0) ** turn + 0.01 * rng.standard_normal(len(signal))
    fields |= {
        "signal": signal[:, :, None].astype(np.float32),
        "channel_name": [f"v{i:04d}" for i in range(n_voxels)],
        "channel_type": ["voxel"] * n_voxels,
        "channel_position": np.zeros((n_voxels, 3)),
        "modality": "fmri",
        "sfreq": 1.0,
    }
    path.unlink()
    Trials(**fields).write(path)
    index = np.stack(np.unravel_index(np.arange(n_voxels), (4, 3, 2)), 1)
    with h5py.File(path, "r+") as file:
        group = file.create_group("voxels")
        group.attrs.update({"space": "", "shape": (4, 3, 2), "affine": np.diag([4.0, 4, 4, 1])})
        group["index"] = index
        for name, member in zip(REGIONS, (front, ~front)):
            group[f"roi/{name}"] = member
    return folder


def config(folder, **options):
    families = {k: {"embeddings": str(folder / f"{k}.h5")} for k in ("edges", "words")}
    known = {"data": {"path": str(folder)}, "features": families, "scoring": FAST}
    return build(Encode, {**known, **options})
