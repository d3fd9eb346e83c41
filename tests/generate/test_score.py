"""Reconstructions scored end to end, from ``pictures.h5`` to ``scores.json``, against known answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from neurovis.cli import main
from neurovis.config import to_dict
from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import read_scores
from neurovis.generate import compared
from neurovis.generate.artefact import Painted, Reconstructions, Seen, write
from neurovis.generate.measures import PRESETS, Measures, measures
from neurovis.generate.score import is_reconstructions, picture_table, score_reconstructions
from neurovis.images.base import Encoder, ImageEncoder
from neurovis.metrics.ssim import ssim
from neurovis.metrics.statistics import bootstrap_mean, interval, resample_counts

N, SIDE = 60, 32
IMAGES = [f"im{i:02d}" for i in range(N)]
RNG = np.random.default_rng(0)
FAST = {
    "pixels": ["pixcorr", "ssim"],
    "features": {
        "color": {
            "encoder": "color",
            "level": "low",
            "metrics": ["two_way", {"name": "two_way", "direction": "seen"}],
        },
        "pixels": {
            "encoder": "pixels",
            "metrics": ["two_way", "identify", "correlation_distance", "set_coverage", "diversity"],
        },
    },
}


def blobs(n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((n, SIDE, SIDE, 3))
    return (128 + 400 * gaussian_filter(noise, (0, 4, 4, 0))).clip(0, 255).astype(np.uint8)


SEEN = blobs(N, 0)


def painted(share: float, samples: int, seed: int, subjects=("01", "02"), trials=(1, 4), **more):
    """Pictures that are in part the seen ones: rows of every number of trials, subject and image."""
    keys = [(t, s, i) for t in trials for s in subjects for i in range(N)]
    share = np.array([share * (1 if t == max(trials) else 0.5) for t, _, _ in keys])
    other = blobs(len(keys) * samples, seed).reshape(len(keys), samples, SIDE, SIDE, 3)
    own = SEEN[[i for _, _, i in keys]][:, None]
    share = share[:, None, None, None, None]
    return Painted(
        np.rint(share * own + (1 - share) * other).astype(np.uint8),
        [IMAGES[i] for _, _, i in keys],
        [s for _, s, _ in keys],
        [t for t, _, _ in keys],
        np.arange(len(keys) * samples).reshape(-1, samples),
        **more,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Reconstructions with all systems; the better of two samples has the higher agreement."""
    folder = tmp_path_factory.mktemp("run") / "reconstructions" / "nearest-0123"
    folder.mkdir(parents=True)
    brain = painted(0.6, 2, 1)
    n = len(brain)
    agreement = np.tile([0.9, 0.1], (n, 1)).astype(np.float32)
    worse = blobs(n, 2)
    pictures = np.stack([brain.picture[:, 0], worse], axis=1)
    about = {"image": brain.image, "subject": brain.subject, "n_averaged": brain.n_averaged}
    brain = Painted(
        pictures, **about, seed=brain.seed, low=gaussian_filter(pictures[:, 0], (0, 2, 2, 0)),
        agreement=agreement,
    )  # fmt: skip
    systems = {
        "brain": brain,
        "nearest": painted(0.08, 1, 3),
        "ceiling": painted(1.0, 1, 4, subjects=("all",), trials=(1,)),
        "floor": painted(0.0, 1, 5),
    }
    about = {"target": "planted", "protocol": "clean", "generator": {"name": "blend"}}
    write(folder / "pictures.h5", Reconstructions(systems, Seen(SEEN, IMAGES), about))
    return folder


@pytest.fixture(scope="module")
def scores(folder):
    return score_reconstructions(folder, FAST, quiet=True)


def find(scores, name, system="brain", n_averaged=4, subject="all", choice="mean", what=None):
    found = [
        s
        for s in scores
        if s.name == name
        and s.about["system"] == system
        and s.about["n_averaged"] == n_averaged
        and s.about["subject"] == subject
        and s.about["choice"].startswith(choice)
        and s.about.get("comparison") == what
    ]
    assert len(found) == 1, (name, system, what, len(found))
    return found[0]


TWO_WAY = f"2-way per reconstruction of {N} [pixels]"


def test_systems_stand_in_their_order_and_the_floor_at_chance(scores):
    ceiling, brain, nearest, floor = (
        find(scores, TWO_WAY, s, 1 if s == "ceiling" else 4).value
        for s in ("ceiling", "brain", "nearest", "floor")
    )
    assert ceiling == 1 > brain > nearest > 0.5
    floor = find(scores, TWO_WAY, "floor")
    assert floor.low <= floor.chance == 0.5 <= floor.high
    assert find(scores, TWO_WAY, n_averaged=1).value < brain
    assert find(scores, "pixcorr", "ceiling", 1).value == pytest.approx(1)
    assert find(scores, "ssim", "ceiling", 1).value == pytest.approx(1)
    assert find(scores, "distance [pixels]", "ceiling", 1).value == pytest.approx(0, abs=1e-6)
    assert find(scores, f"top1 of {N} [pixels]", "ceiling", 1).value == 1


def test_values_are_means_over_rows_and_samples_with_draws_over_images(scores, folder):
    with h5py.File(folder / "per_item.h5") as file:
        rows = {k: file[f"brain/{k}"][()] for k in ("image", "subject", "n_averaged")}
        value = file[f"brain/value/{TWO_WAY}"][()].astype(float)
    assert value.shape == (4 * N, 2)
    some = (rows["n_averaged"] == 4) & (rows["subject"].astype(str) == "02")
    score = find(scores, TWO_WAY, subject="02")
    assert score.value == pytest.approx(value[some].mean(), abs=1e-6)
    assert (score.n, score.about["n_rows"], score.about["samples"]) == (N, N, 2)
    best = find(scores, TWO_WAY, subject="02", choice="best")
    assert best.value == pytest.approx(value[some, 0].mean(), abs=1e-6)
    assert best.value > score.value
    _, item = np.unique(rows["image"][some], return_inverse=True)
    draws = bootstrap_mean(value[some].mean(axis=1), item, resample_counts(N))
    np.testing.assert_allclose([score.low, score.high], interval(draws), atol=1e-4)


def test_pixels_equal_the_plain_functions_and_chance_is_that_of_wrong_pairs(scores, folder):
    with h5py.File(folder / "per_item.h5") as file:
        value = file["brain/value/ssim"][()]
    with h5py.File(folder / "pictures.h5") as file:
        picture = file["brain/picture"]
        for row in (0, 77, 239):
            for sample in (0, 1):
                expected = ssim(SEEN[row % N], picture[row, sample])
                assert value[row, sample] == pytest.approx(expected, abs=1e-6)
    score = find(scores, "pixcorr", "ceiling", 1)
    wrong = [
        np.corrcoef(SEEN[i].ravel(), SEEN[j].ravel())[0, 1] for i in range(N) for j in range(i)
    ]
    assert score.chance == pytest.approx(np.mean(wrong), abs=3 * np.std(wrong) / np.sqrt(5 * N))
    assert "wrong seen pictures, 5 each for" in score.about["chance_is"]


def test_the_lead_over_baselines_is_paired(scores):
    for other in ("nearest", "floor"):
        lead = find(scores, TWO_WAY, what=f"brain - {other}")
        one, two = find(scores, TWO_WAY), find(scores, TWO_WAY, other)
        assert lead.value == pytest.approx(one.value - two.value)
        assert (lead.chance, lead.low > 0) == (0, True)
        assert lead.high - lead.low < (one.high - one.low) + (two.high - two.low)
    best = find(scores, TWO_WAY, choice="best", what="brain - floor")
    assert best.value > find(scores, TWO_WAY, what="brain - floor").value
    # distances: less is better, so the brain's lead is below 0
    assert find(scores, "distance [pixels]", what="brain - floor").high < 0


def test_every_score_says_what_it_needs(scores):
    assert {s.about["level"] for s in scores} == {"low", "high", "set"}
    assert {s.about["system"] for s in scores} == {"brain", "nearest", "ceiling", "floor", "low"}
    for score in scores:
        assert score.low <= score.value <= score.high
        assert score.gallery == f"{N} seen pictures"
        assert score.about["target"] == "planted"
        assert score.protocol == "clean" + (
            f"; looked at through {score.about['encoder']}" if "[" in score.name else ""
        )
        assert score.about["chance_is"]
        way = score.name.startswith("2-way")
        assert not way or f"of {N}" in score.name
    coverage = find(scores, "set_coverage [pixels]", subject="02")
    assert coverage.about["level"] == "set"
    assert coverage.n == N
    assert not [s for s in scores if s.about["level"] == "set" and "comparison" in s.about]


def test_scores_are_read_back_and_hold_versions_and_encoders(scores, folder):
    back = read_scores(folder)
    assert [s.to_dict() for s in back] == [{**s.to_dict(), "per_item": []} for s in scores]
    data = json.loads((folder / "scores.json").read_text())
    assert {"torch", "scikit-image", "torchvision", "numpy", "scipy"} <= set(data["versions"])
    assert data["metrics"]["encoders"]["pixels"]["name"] == "pixels"
    assert data["headline"]["metric"] == TWO_WAY
    assert data["control_at_chance"] is True
    assert data["reconstructions"]["generator"] == {"name": "blend"}


def test_the_table_keeps_levels_apart(scores):
    text = picture_table(scores)
    low, high = text.index("low-level"), text.index("high-level")
    assert low < text.index("pixcorr") < text.index("[color]") < high < text.index("[pixels]")
    for word in ("brain - nearest", "ceiling", "chance", "best sample by agreement", "subject 02"):
        assert word in text
    assert f"n = {N} images, {2 * N} rows" in text


def test_the_command_scores_reconstructions(folder, tmp_path, capsys):
    assert is_reconstructions(folder)
    assert not is_reconstructions(folder.parent)
    folder = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = tmp_path / "mine.yaml"
    path.write_text("pixels: [pixcorr]\n")
    assert main(["evaluate", str(folder), "--metrics", str(path), "--quiet"]) == 0
    assert "pixcorr" in capsys.readouterr().out
    assert main(["evaluate", str(folder), "--metrics", "publish"]) == 2
    assert "did you mean 'published'" in capsys.readouterr().err
    assert main(["evaluate", str(folder.parent), "--metrics", "published"]) == 2
    assert "--metrics goes with RUN/reconstructions/NAME" in capsys.readouterr().err


def written(folder, pictures, seen=SEEN, **systems):
    n = len(seen)
    about = {"image": IMAGES[:n], "subject": ["1"] * n, "n_averaged": [1] * n}
    brain = Painted(pictures, **about, seed=np.zeros(pictures.shape[:2], int))
    folder.mkdir(exist_ok=True)
    found = Reconstructions({"brain": brain, **systems}, Seen(seen, IMAGES[:n]))
    write(folder / "pictures.h5", found)
    return folder


def test_one_colour_is_said_and_scores_nothing(tmp_path, capsys):
    pictures = np.full((N, 1, SIDE, SIDE, 3), 40, np.uint8)
    folder = written(tmp_path / "gray", pictures)
    scores = score_reconstructions(folder, FAST)
    said = capsys.readouterr().err
    assert f"{N} rows of brain hold a picture of one colour, the first of 'im00'" in said
    assert "features without variation" in said
    assert find(scores, "pixcorr", n_averaged=1).value == 0
    assert find(scores, TWO_WAY, n_averaged=1).value == 0
    assert scores[0].protocol == "not stated"
    seen = find(scores, f"2-way per seen of {N} [color]", n_averaged=1)
    assert seen.value == 0


def test_few_pictures_have_no_scores_of_sets(tmp_path, capsys):
    folder = written(tmp_path / "few", SEEN[:20, None], SEEN[:20])
    scores = score_reconstructions(folder, FAST)
    assert not [s for s in scores if s.about["level"] == "set"]
    assert "left out where fewer than 50 images were painted" in capsys.readouterr().err
    with pytest.raises(NeurovisError, match="expected two seen pictures or more, found 1"):
        score_reconstructions(written(tmp_path / "one", SEEN[:1, None], SEEN[:1]), FAST)


class Failing(ImageEncoder):
    """Says NaN of pictures that are bright in the corner."""

    def build(self):
        return Encoder(lambda p: np.asarray(p, np.float32).transpose(2, 0, 1), self.embed)

    def embed(self, images):
        vector = images.reshape(len(images), -1)[:, :50].copy()
        vector[images[:, 0, 0, 0] == 255] = np.nan
        return vector


def test_nan_is_refused_with_the_picture_named(tmp_path):
    pictures = SEEN[:, None].copy()
    pictures[:, :, 0, 0] = 0
    pictures[7, 0, 0, 0] = 255
    seen = SEEN.copy()
    seen[:, 0, 0] = 0
    folder = written(tmp_path / "nan", pictures, seen)
    by = {"pixels": [], "features": {"mine": {"encoder": Failing()}}}
    with pytest.raises(NeurovisError, match=r"mine of brain.*painted picture of 'im07'"):
        score_reconstructions(folder, by, quiet=True)
    assert not (folder / "scores.json").exists()


def test_large_features_wait_in_a_file_and_change_nothing(tmp_path, monkeypatch):
    folder = written(tmp_path / "large", SEEN[::-1][:, None].copy())
    by = {"pixels": [], "features": FAST["features"]}
    before = [s.to_dict() for s in score_reconstructions(folder, by, quiet=True)]
    monkeypatch.setattr(compared, "LARGE_BYTES", 100)
    assert [s.to_dict() for s in score_reconstructions(folder, by, quiet=True)] == before


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_measures_that_come_back_from_plain_data(name):
    chosen = measures(name)
    assert isinstance(chosen, Measures)
    assert measures(to_dict(chosen)) == chosen
    both = ["pixcorr", "ssim", "ssim-columns"]
    assert [m.label for m in chosen.pixels] == (both if name == "published" else both[:2])
    assert {f.level for f in chosen.features.values()} == {"low", "high"}


@pytest.mark.parametrize(
    ("by", "says"),
    [
        ({"pixels": ["two_way"]}, "expected metrics of pixels, found two_way"),
        (
            {"features": {"a": {"encoder": "color", "metrics": ["ssim"]}}},
            "metrics of features, found ssim",
        ),
        ({"features": {"a": {"encoder": "colr"}}}, "did you mean 'color'"),
        ({"features": {"a": {"encoder": "category"}}}, "looks at no picture"),
        ({"pixels": []}, "at least one metric, found none"),
        ({"pixel": []}, "did you mean 'pixels'"),
        ("offlin", "did you mean 'offline'"),
    ],
)
def test_wrong_sets_of_metrics_are_refused(by, says):
    with pytest.raises(UsageError, match=says):
        measures(by)
