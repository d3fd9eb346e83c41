"""``neurovis encode`` from a YAML to an artefact: planted families are found, bad input is counted, kills resume."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import yaml
from conftest import write_prepared
from fakes.encoding import FAST, config, write_voxels

from neurovis import cli
from neurovis.config import build
from neurovis.encode import run as module
from neurovis.encode.identify import covariance, likelihood, weights
from neurovis.encode.run import encode
from neurovis.errors import NeurovisError, UsageError
from neurovis.records import Embeddings, Score
from neurovis.store import open_h5, read_json


@pytest.fixture(scope="module")
def voxels(tmp_path_factory):
    return write_voxels(tmp_path_factory.mktemp("voxels") / "p")


@pytest.fixture(scope="module")
def made(voxels, tmp_path_factory):
    return encode(config(voxels), tmp_path_factory.mktemp("out"), quiet=True)


def scores_of(folder, measure="pearson_normalised"):
    found = map(Score.from_dict, read_json(folder / "encoding.json")["scores"])
    return {(s.about["system"], s.about["group"]): s for s in found if s.name == measure}


def test_the_planted_family_wins_in_its_region(made):
    found = scores_of(made)
    assert found["ridge@edges", "front"].low > 0.5 > found["ridge@words", "front"].high
    assert found["ridge@words", "back"].low > 0.5 > found["ridge@edges", "back"].high
    joint = found["ridge@edges+words", "all"]
    assert 0.7 < joint.value < 1.1
    assert joint.n == 24
    best = read_json(made / "encoding.json")["summary"]["01"]["best"]["ridge"]
    assert best["front"]["share"]["edges"] > 0.9
    assert best["back"]["share"]["words"] > 0.9


def test_the_control_is_at_chance(made):
    data = read_json(made / "encoding.json")
    assert data["control"]["at_chance"]
    assert abs(scores_of(made)["ridge@edges+words@shuffled", "all"].value) < 0.3


def test_what_cannot_be_scored_is_counted(made):
    data = read_json(made / "encoding.json")
    tally = data["counts"]["01"]["all"]
    assert tally["constant"] == 1
    assert tally["all"] == 24
    low = sum(n for why, n in tally.items() if why.startswith("ceiling"))
    assert low == 1
    assert tally["scored"] == 22
    assert any("1 of 24 targets do not vary" in note for note in data["notes"])
    assert data["chosen_on"]["01"] == "training"
    with open_h5(made / "sub-01" / "encoding.h5", "neurovis-encoding") as file:
        kept = file["chosen"][()].astype(bool)
        assert not kept[5]
        assert np.isfinite(file["systems/ridge@edges/pearson_normalised"][()]).all()
        p = file["systems/ridge@edges/p_corrected"][()]
        assert p[5] == 1
        assert (p[:5] < 0.05).all()


def test_ceilings_that_are_too_rough_are_said_to_be(made):
    # 75 images shown twice cannot tell a ceiling of 0.1 from one of 0
    notes = read_json(made / "encoding.json")["notes"]
    assert any(
        "one in twenty targets that do not respond has a ceiling above 0." in n for n in notes
    )


def test_variance_is_divided_between_families(made):
    parts = read_json(made / "encoding.json")["summary"]["01"]["partition"]["ridge"]
    assert parts["front"]["edges"] > 5 * abs(parts["front"]["words"])
    assert parts["back"]["words"] > 5 * abs(parts["back"]["edges"])
    whole = scores_of(made, "r2")["ridge@edges+words", "front"].value
    assert sum(parts["front"].values()) == pytest.approx(whole, abs=1e-4)
    with open_h5(made / "sub-01" / "encoding.h5", "neurovis-encoding") as file:
        split = [file[f"systems/ridge@edges+words/split/{k}"][()] for k in ("edges", "words")]
        r2 = file["systems/ridge@edges+words/r2"][()]
    apart = (sum(split) - r2)[r2 > 0.2]  # means of test images that are not predicted
    assert (apart > -1e-4).all()
    assert apart.max() < 0.1


def test_pictures_are_identified(made):
    found = [Score.from_dict(s) for s in read_json(made / "encoding.json")["identified"]]
    top = {s.about["n_averaged"]: s for s in found if s.name == "top1"}
    assert top[6].value > 0.8
    assert top[6].low > top[6].chance
    assert top[1].value > top[1].chance
    assert top[1].value < top[6].value


def test_comparisons_are_paired(made):
    found = [Score.from_dict(s) for s in read_json(made / "encoding.json")["comparisons"]]
    front = next(s for s in found if s.about["group"] == "front")
    assert front.about["comparison"] == "ridge@edges - ridge@words"
    assert front.low > 0


def test_the_same_command_does_nothing_twice(voxels, made, monkeypatch):
    monkeypatch.setattr(module, "_subject", None)
    assert encode(config(voxels), made.parents[1], quiet=True) == made


def test_a_killed_run_keeps_what_it_fitted(voxels, made, tmp_path, monkeypatch):
    real, fitted = module.save_tensors, []

    def counted(path, *args, **kwargs):
        fitted.append(path.stem)
        if len(fitted) == 2 and kill:
            raise KeyboardInterrupt
        real(path, *args, **kwargs)

    monkeypatch.setattr(module, "save_tensors", counted)
    kill = True
    with pytest.raises(KeyboardInterrupt):
        encode(config(voxels), tmp_path, quiet=True)
    kill, before = False, fitted.copy()
    again = encode(config(voxels), tmp_path, quiet=True)
    assert before == ["ridge@edges", "ridge@words"]
    assert fitted[2:] == ["ridge@words", "ridge@edges+words"]
    assert again.name == made.name
    first, second = (scores_of(f) for f in (made, again))
    assert {k: s.value for k, s in first.items()} == {k: s.value for k, s in second.items()}


def test_sensors_and_times(tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=120, n_test=24, repeats=(2, 6), noise=2.0)
    made = encode(
        config(folder, features={"planted": {"embeddings": str(folder / "embeddings.h5")}}),
        tmp_path, quiet=True,
    )  # fmt: skip
    data = read_json(made / "encoding.json")
    assert data["n_times"] == 20
    assert data["subjects"] == ["01", "02"]
    found = {
        (s.about["subject"], s.about["system"]): s
        for s in map(Score.from_dict, data["scores"])
        if s.name == "pearson"
    }
    assert found["all", "ridge@planted"].low > 0.5
    assert found["all", "ridge@planted"].value == pytest.approx(
        np.mean([found[w, "ridge@planted"].value for w in ("01", "02")])
    )
    with open_h5(made / "sub-01" / "encoding.h5", "neurovis-encoding") as file:
        curve = file["systems/ridge@planted/time"][()]
        r = file["systems/ridge@planted/pearson"][()].reshape(12, 20)
    assert curve.shape == (3, 20)
    assert (curve[1] <= curve[0]).all()
    assert (curve[0] <= curve[2]).all()
    np.testing.assert_allclose(curve[0], r.mean(0), atol=1e-5)


def test_images_without_features_are_counted(voxels, tmp_path):
    found = Embeddings.read(voxels / "words.h5")
    short = tmp_path / "short.h5"
    Embeddings(found.vector[5:], found.image[5:], {}).write(short)
    families = {
        "edges": {"embeddings": str(voxels / "edges.h5")},
        "words": {"embeddings": str(short)},
    }
    made = encode(config(voxels, features=families, identify=None), tmp_path, quiet=True)
    notes = read_json(made / "encoding.json")["notes"]
    assert any("features 'words': 5 of 114 images have none, the first is" in n for n in notes)
    Embeddings(found.vector[:3], np.array(["x", "y", "z"]), {}).write(short)
    with pytest.raises(NeurovisError, match="no image is known to every family"):
        encode(config(voxels, features=families, identify=None), tmp_path, quiet=True)


def test_families_that_are_the_same_are_named(voxels, tmp_path):
    found = Embeddings.read(voxels / "words.h5")
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0].astype(np.float32)
    Embeddings(3 * found.vector @ turn + 1, found.image, {}).write(tmp_path / "turned.h5")
    families = {"words": {"embeddings": str(voxels / "words.h5")},
                "turned": {"embeddings": str(tmp_path / "turned.h5")}}  # fmt: skip
    made = encode(config(voxels, features=families, identify=None), tmp_path, quiet=True)
    data = read_json(made / "encoding.json")
    assert any("'words' and 'turned' are nearly collinear" in note for note in data["notes"])
    assert data["alike"]["words, turned"] == pytest.approx(1, abs=1e-5)


def test_without_repeats_nothing_is_normalised(tmp_path):
    folder = write_voxels(tmp_path / "p", repeats=(1, 1), noise=0.3)
    made = encode(config(folder), tmp_path, quiet=True)
    data = read_json(made / "encoding.json")
    assert any("no image was repeated" in note for note in data["notes"])
    assert {s["name"] for s in data["scores"]} == {"pearson", "r2"}
    assert data["chosen_on"]["01"] == "none"
    assert data["identified"]


def test_a_region_that_does_not_fit_is_refused(voxels, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'front'"):
        encode(config(voxels, regions=["frnt"]), tmp_path, quiet=True)
    folder = write_voxels(tmp_path / "p")
    with h5py.File(folder / "sub-01" / "trials.h5", "r+") as file:
        file["voxels/roi/odd"] = np.ones(7, bool)
    with pytest.raises(NeurovisError, match="region 'odd': expected"):
        encode(config(folder), tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"readouts": {"a": {"name": "banded_ridge", "families": ["wrds"]}}},
            "did you mean 'words'",
        ),
        ({"readouts": {"a": {"name": "semantic", "content": "wrds"}}}, "did you mean 'words'"),
        ({"readouts": {}}, "found none"),
        ({"features": {"a/b": "gabor"}}, "rename it"),
        ({"identify": {"readout": "rdge"}}, "did you mean 'ridge'"),
        ({"version": 99}, "update neurovis"),
        ({"feature": {}}, "did you mean 'features'"),
    ],
)
def test_wrong_experiments_are_refused(voxels, options, match):
    with pytest.raises(UsageError, match=match):
        config(voxels, **options)


def test_a_split_by_recording_is_refused(voxels, tmp_path):
    from neurovis.records import Split

    folder = write_voxels(tmp_path / "p")
    Split(["ses-1_run-1"], [], ["ses-1_run-2"], unit="recording").write(folder / "split.json")
    with pytest.raises(UsageError, match="one split by images"):
        encode(config(folder), tmp_path, quiet=True)


def test_penalties_need_validation_images_or_folds(tmp_path):
    from neurovis.records import Split

    folder = write_voxels(tmp_path / "p")
    split = Split.read(folder / "split.json")
    Split((*split.train, *split.validation), (), split.test).write(folder / "split.json")
    with pytest.raises(NeurovisError, match="or choose by folds"):
        encode(config(folder), tmp_path, quiet=True)
    folds = {"ridge": {"name": "banded_ridge", "choose": 3}}
    made = encode(config(folder, readouts=folds, partition=False), tmp_path, quiet=True)
    assert scores_of(made)["ridge@edges", "front"].low > 0.5
    assert any(
        "fewer than 10 validation images" in n for n in read_json(made / "encoding.json")["notes"]
    )


def test_the_command(voxels, tmp_path, capsys):
    path = tmp_path / "e.yaml"
    families = {k: {"embeddings": str(voxels / f"{k}.h5")} for k in ("edges", "words")}
    path.write_text(yaml.safe_dump({"name": "mine", "features": families, "scoring": FAST}))
    words = ["encode", str(path), "--out", str(tmp_path), f"data.path={voxels}", "partition=false"]
    assert cli.main([*words, "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["readouts"]["ridge"]["name"] == "banded_ridge"
    assert not printed["partition"]
    assert cli.main([*words, "--quiet"]) == 0
    out = capsys.readouterr()
    assert out.out.startswith("Encoding: ")
    assert not out.err
    assert cli.main(words) == 0
    out = capsys.readouterr()
    assert "ridge@edges+words" in out.out
    assert "at chance" in out.out
    assert "complete already" in out.err
    assert cli.main(["encode", str(path), "data.path=nowhere"]) == 1
    assert "prepared folder" in capsys.readouterr().err


# ---- identification


def test_covariance_knows_what_repeats_average_out():
    rng = np.random.default_rng(0)
    model, noise = np.diag([1.0, 0.5]), np.array([[2.0, 0.8], [0.8, 1.0]])
    misfit = rng.multivariate_normal([0, 0], model, 4000)
    trials = rng.multivariate_normal([0, 0], noise, (4000, 4))
    residual = misfit + trials.mean(1)
    deviation = (trials - trials.mean(1, keepdims=True)).reshape(-1, 2) * np.sqrt(4 / 3)
    for n in (1, 12):
        found = covariance(residual, deviation, np.full(4000, 4), n, shrinkage=0.0)
        np.testing.assert_allclose(found, model + noise / n, atol=0.12)
    plain = covariance(residual, None, np.full(4000, 4), 4, shrinkage=0.0)
    np.testing.assert_allclose(plain, np.cov(residual.T), atol=0.05)
    diagonal = covariance(residual, None, np.full(4000, 4), 4, shrinkage=1.0)
    assert diagonal[0, 1] == 0


def test_likelihood_is_the_normal_distributions():
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(1)
    y, predicted = rng.standard_normal((3, 4)), rng.standard_normal((5, 4))
    root = rng.standard_normal((4, 4))
    sigma = root @ root.T + np.eye(4)
    found = likelihood(y, predicted, sigma)
    known = np.array([[multivariate_normal(m, sigma).logpdf(row) for m in predicted] for row in y])
    np.testing.assert_allclose(found - found[0, 0], known - known[0, 0], atol=1e-9)


def test_weights_prefer_the_view_that_knows():
    rng = np.random.default_rng(2)
    shown = np.arange(60)
    good = 3 * np.eye(60) + rng.standard_normal((60, 60))
    bad = rng.standard_normal((60, 60))
    first, second = weights([good, bad], shown)
    assert first > 5 * second


def test_beside_a_decoder_and_with_it(tmp_path):
    from neurovis import train
    from neurovis.experiment import Experiment

    folder = write_prepared(
        tmp_path / "p", n_train=90, n_test=24, repeats=(2, 3), noise=8.0, subjects=("01",)
    )
    planted = str(folder / "embeddings.h5")
    tower = {
        "data": {"path": str(folder)},
        "targets": {"image": {"encoder": "planted", "embeddings": planted}},
        "brain": {"name": "mlp", "n_hidden": 32, "n_blocks": 1},
        "train": {"epochs": 8, "batch_size": 32, "lr": 3e-3},
        "control": "none",
        "device": "cpu",
    }
    run = train.main(build(Experiment, tower), tmp_path, quiet=True)
    families = {"planted": {"embeddings": planted}}
    options = {"features": families, "partition": False, "control": False}
    made = encode(
        config(folder, **options, identify={"decoder": str(run), "n_targets": 60}),
        tmp_path,
        quiet=True,
    )
    data = read_json(made / "encoding.json")
    top = {
        s.about["system"]: s
        for s in map(Score.from_dict, data["identified"])
        if s.name == "top5" and s.about["n_averaged"] == 3
    }
    assert list(top) == ["ridge@planted", "decoder tower", "ridge@planted + tower"]
    alone = max(top["ridge@planted"].value, top["decoder tower"].value)
    assert top["decoder tower"].value > top["decoder tower"].chance
    assert top["ridge@planted + tower"].value > alone - 0.1
    # a model for each subject keeps files of its own
    joint = run / "systems" / "tower" / "validation.h5"
    own = joint.with_name("validation-01.h5")
    joint.with_suffix("").rename(own.with_suffix(""))
    joint.rename(own)
    again = config(folder, **options, identify={"decoder": str(run), "n_targets": 61})
    data = read_json(encode(again, tmp_path, quiet=True) / "encoding.json")
    assert any(s["about"]["system"] == "ridge@planted + tower" for s in data["identified"])
    # a system that keeps no validation predictions stands beside, and is not combined
    closed = config(folder, **options, identify={"decoder": str(run), "system": "ridge"}, seed=1)
    data = read_json(encode(closed, tmp_path, quiet=True) / "encoding.json")
    assert any("keeps no validation predictions" in note for note in data["notes"])
    assert not any("+ ridge" in s["about"]["system"] for s in data["identified"])
    wrong = config(folder, **options, identify={"decoder": str(run), "system": "twr"}, seed=2)
    data = read_json(encode(wrong, tmp_path, quiet=True) / "encoding.json")
    assert any("has no system 'twr'" in note for note in data["notes"])


def test_an_encoding_model_of_noise_does_not_drown_a_decoder():
    """Targets that seem to tell something by chance must not have weight beside a decoder that does."""
    from types import SimpleNamespace

    from neurovis.encode.experiment import Identify
    from neurovis.encode.identify import _of_others

    rng = np.random.default_rng(0)
    n, n_targets = 40, 400
    image = np.array([f"i{i:02d}" for i in range(n)])
    responses = SimpleNamespace(
        y=rng.standard_normal((n, n_targets)).astype(np.float32), n_train=0, image=image,
        constant=np.zeros(n_targets, bool), trial_image=image,
        rows={"validation": np.arange(n), "train": np.zeros(0, int)},
    )  # fmt: skip
    noise = rng.standard_normal((n, n_targets)).astype(np.float32)
    said = _of_others(Identify(), responses, noise, 40)
    decoder = np.eye(n) + 0.5 * rng.standard_normal((n, n))
    first, second = weights([said, decoder], np.arange(n))
    spread = [np.abs(v - v.mean(1, keepdims=True)).mean() for v in (said, decoder)]
    assert first * spread[0] < 0.3 * second * spread[1]
    # which is what happens where the rows that are judged choose the targets themselves
    quality = [np.corrcoef(noise[:, t], responses.y[:, t])[0, 1] for t in range(n_targets)]
    use = np.argsort(quality)[-40:]
    biased = likelihood(responses.y[:, use], noise[:, use], np.eye(40))
    first, second = weights([biased, decoder], np.arange(n))
    assert first * np.abs(biased - biased.mean(1, keepdims=True)).mean() > 0.5 * second * spread[1]
