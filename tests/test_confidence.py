"""From a tower's spreads to the report: planted noise is told, temperatures come from validation alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import write_prepared
from scipy.special import log_softmax, softmax

from neurovis import train
from neurovis.confidence import FEWEST, calibrated
from neurovis.config import build, resolve
from neurovis.decoder import SPREAD, decoder
from neurovis.errors import NeurovisError
from neurovis.evaluate import evaluate_run
from neurovis.experiment import Experiment
from neurovis.losses.base import Loss
from neurovis.metrics.coverage import fit_temperature, posterior, risk_coverage_area
from neurovis.norms import read_norms
from neurovis.records import Embeddings, Prediction, Split, Trials, opened
from neurovis.report import report_run


def experiment(folder: Path, **changes) -> Experiment:
    fields = {
        "name": "tiny",
        "data": {"path": str(folder)},
        "targets": {"image": {"encoder": "planted", "embeddings": str(folder / "embeddings.h5")}},
        "brain": "inverted",
        "loss": "hedged",
        "train": {"epochs": 6, "batch_size": 50, "lr": 3e-3},
        "control": "none",
        "device": "cpu",
    }
    return build(Experiment, {**fields, **changes})


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A prepared folder in which every second trial is nearly all noise."""
    folder = write_prepared(tmp_path_factory.mktemp("noisy") / "p", n_train=180, n_test=40)
    rng = np.random.default_rng(5)
    for path in sorted(folder.glob("sub-*/trials.h5")):
        with opened(path) as old:
            fields = {k: v for k, v in vars(old).items() if k != "signal"}
            block = old.read()
        block[::2] += 6 * rng.standard_normal(block[::2].shape).astype(np.float32)
        Trials(block, **fields).write(path)
    return folder


@pytest.fixture(scope="module")
def run(noisy, tmp_path_factory):
    """A hedged run, scored."""
    torch.manual_seed(0)
    run = train.main(experiment(noisy), tmp_path_factory.mktemp("runs"), quiet=True)
    evaluate_run(run, quiet=True)
    return run


def chosen(run: Path, system: str = "tower", n_averaged: int = 1) -> dict:
    found = json.loads((run / "scores.json").read_text())["coverage"]
    (one,) = [
        c
        for c in found
        if c["about"]["system"] == system and c["about"]["n_averaged"] == n_averaged
    ]
    return {"curve": one, **{s["name"]: s for s in one["scores"]}}


def learned(loss: str, n_steps: int = 200):
    """A decoder of signals that are vectors plus noise, little or much, and what it says of new ones.

    The tower normalises what it says, as many do: its lengths tell nothing.
    """
    torch.manual_seed(0)

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.map = torch.nn.Linear(8, 8)

        def forward(self, signal, *_):
            return {"image": torch.nn.functional.layer_norm(self.map(signal[:, :, 0]), (8,))}

    def draw(n):
        vector, bad = torch.randn(n, 8), torch.rand(n, 1) < 0.5
        return vector, bad[:, 0], vector + torch.where(bad, 3.0, 0.5) * torch.randn(n, 8)

    config = resolve(Loss, loss)
    model, loss_of = decoder(Tower(), {"image": 8}, "none", config.spread), config.build()
    optimiser = torch.optim.AdamW([*model.parameters(), *loss_of.parameters()], lr=1e-2)
    for _ in range(n_steps):
        vector, _, signal = draw(64)
        optimiser.zero_grad()
        loss_of(model(signal[..., None]), {"image": vector}, torch.arange(64))["loss"].backward()
        optimiser.step()
    vector, bad, signal = draw(4000)
    with torch.no_grad():
        said = model(signal[..., None])
    # a hundred galleries of forty
    unit, truth = (
        torch.nn.functional.normalize(v, dim=1).reshape(100, 40, 8) for v in (said["image"], vector)
    )
    similarity = (unit @ truth.transpose(1, 2)).reshape(4000, 40).numpy()
    return similarity, bad.numpy(), said.get("image" + SPREAD, torch.zeros(4000, 1))[:, 0].numpy()


def test_a_hedged_tower_says_which_rows_are_noise():
    """Its probabilities are better than those of one temperature for all."""
    surprise, area = {}, {}
    for loss in ("clip", "hedged"):
        similarity, bad, log_spread = learned(loss)
        if loss == "hedged":
            assert np.median(log_spread[bad]) > np.median(log_spread[~bad]) + 0.5
            assert np.mean(log_spread[bad][:, None] > log_spread[~bad]) > 0.9
        shown, spread = np.tile(np.arange(40), 100), np.exp(log_spread)
        fit, ask = slice(0, 2000), slice(2000, 4000)
        temperature = spread[ask] * fit_temperature(similarity[fit], shown[fit], spread[fit])
        logit = similarity[ask] / temperature[:, None]
        true = np.take_along_axis(log_softmax(logit, axis=1), shown[ask][:, None], axis=1)
        surprise[loss] = -true.mean()
        right = similarity[ask].argmax(1) == shown[ask]
        area[loss] = risk_coverage_area(posterior(similarity[ask], temperature), right)
    assert surprise["hedged"] < surprise["clip"] - 0.03
    assert area["hedged"] < area["clip"]


def test_confident_answers_are_better_and_the_probabilities_hold(run):
    found = chosen(run)
    assert found["curve"]["about"]["confidence"] == "posterior"
    assert found["aurc"]["high"] < found["aurc"]["chance"]
    assert found["top1@20"]["value"] > found["top1@100"]["value"]
    assert found["ece"]["value"] < 3 * found["ece"]["chance"]
    # the baseline has seen the validation images: no probabilities, a margin
    ridge = chosen(run, "ridge")
    assert ridge["curve"]["about"]["confidence"] == "margin"
    assert "ece" not in ridge


def test_the_report_shows_them(run):
    page = report_run(run, quiet=True).read_text(encoding="utf-8")
    head = json.loads((run / "scores.json").read_text())["headline"]
    found = chosen(run, n_averaged=head["n_averaged"])
    assert "Accuracy against confidence" in page
    for share in (100, 80, 50, 20):
        one = found[f"top1@{share}"]
        low, high = (f"{100 * one[k]:.1f}" for k in ("low", "high"))
        n = round(one["about"]["n_rows"])
        words = f"{100 * one['value']:.1f}\u202f%</span><small>[{low}, {high}] n\u00a0=\u00a0{n}"
        assert words in page
    assert f"{found['aurc']['value']:.3f}</span>" in page
    assert f"{found['ece']['value']:.3f}</span>" in page


def test_a_run_without_the_head_has_probabilities_too(noisy, tmp_path):
    config = experiment(noisy, loss="clip", train={"epochs": 2, "batch_size": 50, "lr": 3e-3})
    run = train.main(config, tmp_path, quiet=True)
    said = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    # one temperature for single trials, one for the means
    for several in (False, True):
        rows = (said.n_averaged > 1) == several
        assert len(np.unique(said.spread["image"][rows])) == 1
    evaluate_run(run, quiet=True)
    assert chosen(run)["curve"]["about"]["confidence"] == "posterior"


def test_several_targets_folds_and_averaged_predictions(noisy, tmp_path):
    folder = Path(shutil.copytree(noisy, tmp_path / "p"))
    split = Split.read(folder / "split.json")
    (folder / "split.json").unlink()
    half = len(split.test) // 2
    for number, test in enumerate((split.test[:half], split.test[half:]), 1):
        Split(split.train, split.validation, test).write(folder / f"split-{number:02d}.json")
    path = str(folder / "embeddings.h5")
    targets = {
        k: {"encoder": "planted", "embeddings": path, "components": n} for k, n in zip("ab", (8, 3))
    }
    options = {"epochs": 1, "batch_size": 50}
    config = experiment(
        folder,
        targets=targets,
        predict={"average": "prediction"},
        train=options,
        projection="scale",
    )
    run = train.main(config, tmp_path, quiet=True)
    said = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    assert set(said.spread) == {"a", "b", "all"}
    for value in said.spread.values():
        single = np.median(value[said.n_averaged == 1])
        assert np.median(value[said.n_averaged == 4]) < single
    evaluate_run(run, quiet=True)
    found = json.loads((run / "scores.json").read_text())["coverage"]
    about = {(c["about"]["system"], c["about"]["target"]) for c in found}
    assert about == {(s, t) for s in ("tower", "ridge") for t in ("a", "b", "all")}
    assert len(read_norms(run / "systems" / "tower" / "norms-02.safetensors")) == 4


def test_validation_is_judged_through_filters_learned_without_it(run):
    """Else probabilities would be those of images that the tower knows."""
    held = Prediction.read(run / "systems" / "tower" / "validation.h5")
    said = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    assert set(held.image) == set(Split.read(run / "split.json").validation)
    lengths = [np.linalg.norm(p.vector["image"][p.n_averaged == 1], axis=1) for p in (held, said)]
    assert np.median(lengths[0]) == pytest.approx(np.median(lengths[1]), rel=0.3)
    assert sorted(set(held.n_averaged)) == [1, 2]


def test_nothing_of_the_test_set_enters_the_temperatures(noisy, run, tmp_path):
    other = Path(shutil.copytree(noisy, tmp_path / "p"))
    test = Split.read(other / "split.json").test
    rng = np.random.default_rng(9)
    for path in other.glob("sub-*/trials.h5"):
        with opened(path) as old:
            fields = {k: v for k, v in vars(old).items() if k != "signal"}
            block = old.read()
        rows = np.isin(fields["image"], test[1:])
        block[rows] = rng.standard_normal(block[rows].shape)
        Trials(block, **fields).write(path)
    found = Embeddings.read(other / "embeddings.h5")
    vector = found.vector.copy()
    vector[np.isin(found.image, test)] *= -7
    Embeddings(vector, found.image, found.encoder).write(other / "embeddings.h5")
    again = train.main(experiment(other), tmp_path, quiet=True)
    a, b = (Prediction.read(r / "systems" / "tower" / "prediction.h5") for r in (run, again))
    same = (a.image == test[0]) & (a.n_averaged == 1)
    assert same.sum() == 8
    np.testing.assert_allclose(a.spread["image"][same], b.spread["image"][same], rtol=1e-5)
    first, second = (read_norms(r / "systems/tower/norms.safetensors") for r in (run, again))
    for name in ("image", "image@regression"):
        for key, value in vars(first[name]).items():
            np.testing.assert_allclose(value, vars(second[name])[key], rtol=1e-4, atol=1e-5)


def test_norms_are_those_of_training_images(run, noisy):
    norms = read_norms(run / "systems" / "tower" / "norms.safetensors")
    split = Split.read(noisy / "split.json")
    vector = Embeddings.read(noisy / "embeddings.h5")
    true = vector.at(split.train).astype(float)
    true = true - true.mean(0)
    true /= np.sqrt((true**2).sum(1).mean() / true.shape[1])
    for name in ("image", "image@regression"):
        np.testing.assert_allclose(norms[name].std, true.std(0), rtol=1e-4)
        assert norms[name].norm[0] == pytest.approx(np.linalg.norm(true, axis=1).mean(), rel=1e-4)
    said = Prediction.read(run / "systems" / "tower" / "prediction.h5").vector["image"]
    out = norms["image"].restore(said)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), norms["image"].norm[0], rtol=1e-4)


# ---- the temperatures themselves


def held_rows(n_images=40, n_trials=5, temperature=0.2, seed=0, targets=("a", "b")):
    """Validation rows of a world with a known temperature; means of all trials have half of it."""
    rng = np.random.default_rng(seed)
    names = np.array([f"i{i:02d}" for i in range(n_images)])
    gallery = {t: rng.standard_normal((n_images, 8)).astype(np.float32) for t in targets}
    unit = {t: g / np.linalg.norm(g, axis=1, keepdims=True) for t, g in gallery.items()}
    n = 200 * n_trials
    counts = np.repeat([1, n_trials], [n, n])
    vector = {t: rng.standard_normal((2 * n, 8)) for t in targets}
    spread = {t: np.exp(0.5 * rng.standard_normal(2 * n)) for t in targets}
    cosine = sum(
        v / np.linalg.norm(v, axis=1, keepdims=True) @ unit[t].T for t, v in vector.items()
    )
    scale = np.exp(np.mean([np.log(s) for s in spread.values()], 0))
    p = softmax(cosine / (scale * np.where(counts == 1, 1, 0.5) * temperature)[:, None], axis=1)
    shown = (rng.random((2 * n, 1)) > np.cumsum(p, 1)).sum(1).clip(max=n_images - 1)
    held = Prediction(vector, names[shown], ["1"] * 2 * n, counts, spread=spread)
    return held, gallery, names


def test_single_trials_means_and_sums_of_targets_have_temperatures_of_their_own():
    held, gallery, names = held_rows()

    def at(name, images):
        return gallery[name][np.searchsorted(names, images)]

    ask = np.array([1, 2, 5, 80])
    test = {"a": np.array([1.0, 1, 1, 2]), "b": np.array([1.0, 1, 1, 0.5])}
    found = calibrated(held, at, test, ask)
    assert set(found) == {"a", "b", "all"}
    np.testing.assert_allclose(found["all"], [0.2, 0.2, 0.1, 0.1], rtol=0.15)
    assert found["a"][3] == pytest.approx(2 * found["a"][2])
    assert found["b"][3] == pytest.approx(0.5 * found["b"][2])
    few = {k: v[: FEWEST - 1] for k, v in held.vector.items()}
    few = Prediction(few, names[: FEWEST - 1], ["1"] * (FEWEST - 1), np.ones(FEWEST - 1))
    assert calibrated(few, at, test, ask) is None


def test_a_prediction_keeps_its_spreads(tmp_path):
    about = {"image": ["x", "y"], "subject": ["1", "1"], "n_averaged": [1, 1]}
    vector = {"image": np.ones((2, 3))}
    path = tmp_path / "prediction.h5"
    Prediction(vector, **about, spread={"image": [0.5, 2], "all": [1, 1]}).write(path)
    again = Prediction.read(path)
    assert again.spread["image"].tolist() == [0.5, 2]
    # without spreads the file is what it was
    Prediction(vector, **about).write(path)
    with h5py.File(path) as file:
        assert "spread" not in file
    assert Prediction.read(path).spread is None
    for spread in ({"image": [0.5, 0]}, {"image": [0.5, np.nan]}, {"other": [1, 1]}):
        with pytest.raises(NeurovisError, match=r"Prediction\.spread.*expected a number above 0"):
            Prediction(vector, **about, spread=spread)
    with pytest.raises(NeurovisError, match="give one value per row"):
        Prediction(vector, **about, spread={"image": [1.0]})
