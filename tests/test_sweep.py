"""Ranking layers: finds what was planted, looks at no test trial, and runs every picture once."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import write_prepared
from PIL import Image
from scipy.stats import pearsonr

from neurovis import cli
from neurovis.brain.ridge import Ridge
from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError
from neurovis.images import embed, extract, open_picture
from neurovis.records import Embeddings, Score, Split, Stimuli, Trials, opened
from neurovis.store import read_json
from neurovis.sweep import Sweep, correlate, sweep, table

PLANTED = {"name": "pixels", "side": 3}
OTHER = {"name": "hog", "size": 48, "cell": 24, "block": 1}


def plant(folder, vector: Embeddings, seed=0, noise=1.0):
    """Rewrite the signals: a linear map of these vectors plus noise."""
    rng = np.random.default_rng(seed)
    for path in sorted(folder.glob("sub-*/trials.h5")):
        with opened(path) as trials:
            fields = {f.name: getattr(trials, f.name) for f in dataclasses.fields(trials)}
            shape = trials.signal.shape
        seen = vector.at(fields["image"])
        seen = (seen - seen.mean(0)) / seen.std()
        weight = rng.standard_normal((seen.shape[1], shape[1] * shape[2])) / seen.shape[1] ** 0.5
        signal = (seen @ weight).reshape(shape) + noise * rng.standard_normal(shape)
        fields["signal"] = signal.astype(np.float32)
        path.unlink()
        Trials(**fields).write(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Signals of two people that say what is in nine pixels."""
    folder = write_prepared(tmp_path_factory.mktemp("sweep") / "p", n_train=90, n_test=12)
    found = embed(PLANTED, folder / "stimuli.csv", folder / "known", quiet=True)
    plant(folder, Embeddings.read(found / "embeddings.h5"))
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A miniature network with random weights."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    return f"timm:test_vit/{path}"


def config(folder, encoders, **options):
    return build(Sweep, {"data": {"path": str(folder)}, "encoders": encoders, **options})


@pytest.fixture(scope="module")
def swept(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return sweep(config(folder, [OTHER, PLANTED]), out, quiet=True)


def test_what_was_planted_comes_first(swept):
    with (swept / "sweep.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["rank"] for row in rows] == ["1", "2"]
    best, other = rows
    assert best["encoder"].startswith("pixels")
    assert float(best["correlation_low"]) > 0.5 > float(other["correlation_high"])
    assert float(best["top5_low"]) > float(best["top5_chance"])
    assert float(best["top5"]) > 0.8
    assert int(best["n_images"]) == 15
    assert float(best["top5_chance"]) == pytest.approx(5 / 15)
    assert sorted(p.name for p in swept.iterdir()) == [
        "config.yaml", "provenance.json", "sweep.csv", "sweep.json", "sweep.png",
    ]  # fmt: skip
    with Image.open(swept / "sweep.png") as picture:
        assert picture.width > 500
    said = table(swept)
    assert "15 validation images" in said
    assert "chance" in said
    assert "ranked by correlation" in said


def test_scores_are_those_of_ridge_fitted_here(swept, folder):
    """From the records alone: ridge to all dims, correlation by SciPy, ranks counted."""
    entry = read_json(swept / "sweep.json", "neurovis-sweep")["readouts"][0]
    correlation, top5 = (Score.from_dict(score) for score in entry["scores"])
    split = Split.read(folder / "split.json")
    vector = Embeddings.read(next((folder / "known").rglob("embeddings.h5")))
    values, credit = [], []
    for path in sorted(folder.glob("sub-*/trials.h5")):
        with opened(path) as trials:
            signal, image = trials.read(), trials.image
        mean = {i: signal[image == i].mean(0) for i in {*split.train, *split.validation}}
        x = np.stack([mean[i] for i in split.train])
        middle = vector.at(list(split.train)).mean(0)
        y = vector.at(list(split.train)) - middle
        _, _, axes = np.linalg.svd(y, full_matrices=False)
        model = Ridge().build().fit(x, y @ axes.T)
        said = model.predict(np.stack([mean[i] for i in split.validation])) @ axes
        seen = vector.at(list(split.validation)) - middle
        values.append(np.mean([pearsonr(a, b)[0] for a, b in zip(said.T, seen.T)]))
        cosine = said @ seen.T / np.outer(*[np.linalg.norm(v, axis=1) for v in (said, seen)])
        credit += ((cosine > np.diag(cosine)[:, None]).sum(1) < 5).tolist()
    assert correlation.value == pytest.approx(np.mean(values), abs=2e-3)
    assert correlation.about["subjects"] == pytest.approx(values, abs=2e-3)
    assert top5.value == pytest.approx(np.mean(credit))
    assert correlation.low < correlation.value < correlation.high


def test_nothing_of_the_test_side_is_looked_at(folder, swept, tmp_path):
    import shutil

    other = shutil.copytree(folder, tmp_path / "p")
    split = Split.read(other / "split.json")
    for image in split.test:
        (other / "pictures" / f"{image}.png").unlink()
    for path in other.glob("sub-*/trials.h5"):
        import h5py

        with h5py.File(path, "r+") as file:
            test = np.isin(file["image"].asstr()[()], split.test)
            signal = file["signal"][()]
            signal[test] = 1e3
            file["signal"][()] = signal
    again = sweep(config(other, [OTHER, PLANTED]), tmp_path / "out", quiet=True)
    assert (again / "sweep.csv").read_text() == (swept / "sweep.csv").read_text()


def test_all_layers_take_one_pass_and_are_kept_for_training(folder, vit, tmp_path, monkeypatch):
    opened_ = []
    monkeypatch.setattr(
        extract, "open_picture", lambda data, name: opened_.append(name) or open_picture(data, name)
    )
    monkeypatch.setattr(extract, "FLUSH_SECONDS", 0)
    options = {"pools": ["mean", "cls"], "components": 8, "batch_size": 20}
    found = sweep(config(folder, [vit], **options), tmp_path, quiet=True)
    assert len(opened_) == len(set(opened_)) == 90
    rows = pd.read_csv(found / "sweep.csv")
    assert len(rows) == 13
    assert set(rows["place"]) == {f"layer{i}" for i in range(1, 7)} | {"1"}
    assert set(rows["pool"]) == {"mean", "cls", "auto"}
    assert rows["correlation"].is_monotonic_decreasing
    # the same vectors as one by one, and no picture is opened for them again
    stimuli = Stimuli.read(folder / "stimuli.csv")
    split = Split.read(folder / "split.json")
    used = sorted([*split.train, *split.validation])
    stimuli = stimuli.take(stimuli.index(used))
    del opened_[:]
    paths = [
        embed(f"{vit}@layer3+{pool}", stimuli, tmp_path, quiet=True) for pool in ("mean", "cls")
    ]
    assert not opened_
    for path, pool in zip(paths, ("mean", "cls")):
        fresh = embed(f"{vit}@layer3+{pool}", stimuli, tmp_path / pool, quiet=True)
        vectors = [Embeddings.read(p / "embeddings.h5").vector for p in (path, fresh)]
        np.testing.assert_allclose(*vectors, atol=1e-5)
    assert not list((tmp_path / "embeddings").glob(".*partial*"))


def test_a_sweep_that_was_stopped_goes_on(folder, vit, tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "FLUSH_SECONDS", 0)
    seen = []

    def stops(data, name):
        seen.append(name)
        if len(seen) == 50:
            raise NeurovisError("stopped")
        return open_picture(data, name)

    monkeypatch.setattr(extract, "open_picture", stops)
    one = config(folder, [vit], layers=[2, 0.9], batch_size=10, components=4)
    with pytest.raises(NeurovisError, match="stopped"):
        sweep(one, tmp_path, quiet=True)
    before = len(seen)
    found = sweep(one, tmp_path, quiet=True)
    assert len(seen) - before < 90
    assert len(pd.read_csv(found / "sweep.csv")) == 3
    assert sweep(one, tmp_path, quiet=True) == found


def test_correlation_is_scipy_s_mean_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    seen = rng.standard_normal((40, 7))
    said = seen + rng.standard_normal((40, 7))
    seen = np.concatenate([seen, np.ones((40, 1))], axis=1)  # a dim that says nothing
    said = np.concatenate([said, rng.standard_normal((40, 1))], axis=1)
    images = np.array([f"i{i % 20}" for i in range(40)])
    common = {"gallery": "g", "protocol": "p", "about": {"target": "t"}}
    subject = np.arange(40) // 20
    found = correlate(said, seen, images, subject, common)
    parts = [
        np.mean([pearsonr(said[s, d], seen[s, d])[0] for d in range(7)])
        for s in (slice(0, 20), slice(20, 40))
    ]
    assert found.value == pytest.approx(np.mean(parts), abs=1e-10)
    assert found.low < found.value < found.high
    # scale and offset do not matter, and neither does the order of rows
    order = rng.permutation(40)
    other = correlate(3 * said[order] + 1, seen[order], images[order], subject[order], common)
    assert other.value == pytest.approx(found.value, abs=1e-10)
    constant = correlate(np.zeros((40, 8)), seen, images, subject, common)
    assert constant.value == constant.low == constant.high == 0


def test_the_command_prints_the_table(folder, tmp_path, capsys):
    words = ["sweep", str(folder), "--encoder", "pixels", "--subject", "01", "--out", str(tmp_path)]
    assert cli.main([*words, "--quiet", "rank_by=top5"]) == 0
    said = capsys.readouterr().out
    assert "ranked by top5" in said
    assert "pixels" in said
    assert cli.main([*words, "--print-config", "--layers", "0.2,3"]) == 0
    assert "- 0.2\n- 3\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--encoder", "pixles"], "did you mean 'pixels'"),
        (["--layers", "0.2,x"], "layers"),
        (["--pools", "tokens"], "pools"),
        (["rank_by=top1"], "rank_by"),
    ],
)
def test_wrong_words_are_refused(folder, tmp_path, capsys, words, says):
    assert cli.main(["sweep", str(folder), "--out", str(tmp_path), "--quiet", *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_what_cannot_be_compared_is_said(folder, vit, tmp_path):
    few = write_prepared(tmp_path / "few", n_train=36, n_test=6)
    split = Split.read(few / "split.json")
    kept = split.validation[:5]
    Split(split.train + split.validation[5:], kept, split.test).write(few / "split.json")
    with pytest.raises(NeurovisError, match="more than 5 validation images"):
        sweep(config(few, ["pixels"]), tmp_path, quiet=True)
    by_run = Split(("ses-1_run-1",), (), ("ses-1_run-2",), unit="recording")
    by_run.write(few / "split.json")
    with pytest.raises(UsageError, match="one split by images"):
        sweep(config(few, ["pixels"]), tmp_path, quiet=True)
    with pytest.raises(UsageError, match="from 1 to 6, found 9"):
        sweep(config(folder, [vit], layers=[9]), tmp_path, quiet=True)
    with pytest.raises(UsageError, match=r"found 1\.5"):
        sweep(config(folder, [vit], layers=[1.5]), tmp_path, quiet=True)
    with pytest.raises(UsageError, match="encoders"):
        config(folder, [])
