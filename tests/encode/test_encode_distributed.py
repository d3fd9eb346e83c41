"""Readouts that are trained on several processes become what one process makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT
from fakes.encoding import FAST, write_voxels

from neurovis.config import build
from neurovis.encode.experiment import Encode
from neurovis.encode.run import encode
from neurovis.records import Embeddings
from neurovis.store import open_h5


@pytest.mark.distributed
def test_two_processes_train_as_one(tmp_path):
    folder = write_voxels(tmp_path / "p", n_voxels=8)
    image = Embeddings.read(folder / "edges.h5").image
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((len(image), 16, 2)).astype(np.float32)
    Embeddings(maps, image, {"name": "maps"}).write(folder / "maps.h5")
    experiment = {
        "name": "pair",
        "data": {"path": str(folder)},
        "features": {k: {"embeddings": str(folder / f"{k}.h5")} for k in ("maps", "edges")},
        "readouts": {
            "ridge": {"name": "ridge", "families": ["edges"]},
            # rows that two processes do not divide evenly
            "free": {
                "name": "factorised",
                "families": ["maps"],
                "start": "flat",
                "train": {"epochs": 2, "batch_size": 25},
            },
        },
        "scoring": FAST,
        "device": "cpu",
    }
    one = encode(build(Encode, experiment), tmp_path / "one", quiet=True)
    path = tmp_path / "pair.yaml"
    path.write_text(yaml.safe_dump(experiment))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         "-m", "neurovis", "encode", str(path), "--out", str(tmp_path / "two"), "--quiet"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Encoding: ") == 1  # the first process alone speaks
    two = Path(tmp_path / "two" / "encoding" / one.name)
    for system in ("ridge@edges", "free@maps"):
        said = []
        for run in (one, two):
            with open_h5(
                run / "sub-01" / "systems" / f"{system}.h5", "neurovis-encoding-system"
            ) as file:
                said.append(file["test"][()])
        np.testing.assert_allclose(*said, atol=1e-4)
