"""Who does the work changes nothing: one process, several, or a cluster's jobs."""

import operator

import numpy as np
import pytest
from fakes.bids import write_bids

from neurovis.config import build, resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.parallel import Workers
from neurovis.prepare import main, prepare
from neurovis.store import sha256

load_datasets()
OPTIONS = {
    "name": "bids",
    "set_column": "trial_type",
    "concept_column": "concept",
    "steps": {"sfreq": 125.0, "tmax": 0.4, "l_freq": 0.5, "h_freq": 40.0},
}


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    return write_bids(tmp_path_factory.mktemp("bids"), subjects=("01", "02"), n_runs=3)


@pytest.fixture(scope="module")
def alone(bids, tmp_path_factory):
    return digests(
        prepare(resolve(Dataset, OPTIONS), bids, tmp_path_factory.mktemp("one"), quiet=True)
    )


def digests(folder):
    names = [p for p in sorted(folder.rglob("*")) if p.suffix in (".h5", ".json", ".csv")]
    kept = [p for p in names if p.name not in ("provenance.json", "complete.json")]
    return {str(p.relative_to(folder)): sha256(p) for p in kept}


@pytest.mark.parametrize(
    "workers",
    [Workers(), Workers(n_jobs=2), pytest.param(Workers(cluster="local"), marks=pytest.mark.slow)],
)
def test_results_come_in_order_from_wherever(tmp_path, workers):
    tasks = [(3, 10), (1, 10), (2, 10)]
    made = workers.map(operator.mul, tasks, tmp_path / "jobs", quiet=True)
    assert list(made) == [30, 10, 20]
    assert (tmp_path / "jobs").is_dir() == (workers.cluster == "local")


def test_no_task_is_no_work(tmp_path):
    for workers in (Workers(), Workers(n_jobs=2), Workers(cluster="local")):
        assert list(workers.map(operator.mul, [], tmp_path, quiet=True)) == []


@pytest.mark.slow
def test_a_cluster_job_that_dies_is_named_with_its_log(tmp_path):
    with pytest.raises(
        NeurovisError, match=r"local job \d+.* failed: .*ZeroDivisionError.*its log is .*jobs"
    ):
        list(
            Workers(cluster="local").map(operator.truediv, [(1, 0)], tmp_path / "jobs", quiet=True)
        )


def test_what_one_machine_has_left_goes_to_runs():
    assert Workers(n_jobs=8).inside(3) == Workers(n_jobs=2)
    assert Workers(n_jobs=2).inside(5) == Workers()
    assert Workers(n_jobs=4, cluster="slurm").inside(99) == Workers(n_jobs=4)


@pytest.mark.parametrize(
    ("workers", "subject"),
    [
        (Workers(n_jobs=2), None),
        (Workers(n_jobs=3), ["01"]),
        pytest.param(Workers(cluster="local", n_jobs=2), None, marks=pytest.mark.slow),
    ],
)
def test_prepared_files_are_the_same_bytes(bids, alone, tmp_path, workers, subject):
    folder = prepare(
        resolve(Dataset, OPTIONS), bids, tmp_path, subject, quiet=True, workers=workers
    )
    found = digests(folder)
    assert any(name.endswith("trials.h5") for name in found)
    assert {name: alone[name] for name in found} == found
    assert not list(tmp_path.rglob("*.npy"))


def test_an_unknown_cluster_is_wrong_usage(bids, tmp_path, capsys):
    words = ["--root", str(bids), "--out", str(tmp_path), "--cluster", "sge"]
    assert main("bids", words) == 2
    assert "cluster" in capsys.readouterr().err
    with pytest.raises(UsageError, match="n_jobs"):
        build(Workers, {"n_jobs": 0})


def test_a_missing_submitit_says_how_to_get_it(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(NeurovisError, match=r'pip install "neurovis\[slurm\]"'):
        list(Workers(cluster="slurm").map(operator.mul, [(1, 1)], tmp_path, quiet=True))
    assert np.size(list(tmp_path.iterdir())) == 0
