"""Stimulus synthesis: the optimum of a known model, goals, and pictures painted from it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import write_prepared

from neurovis.config import build
from neurovis.encode.experiment import Encode
from neurovis.encode.features import Features, Source
from neurovis.encode.readouts.base import Fitted
from neurovis.encode.run import encode
from neurovis.encode.synthesis import Synthesis, goals_of, optimise
from neurovis.errors import NeurovisError, UsageError
from neurovis.generate.base import Generator, Painter
from neurovis.images import encoder
from neurovis.records import Embeddings, Trials, opened
from neurovis.report.encoding import page
from neurovis.store import open_h5


class Unpixel(Generator):
    """Paints embeddings of the pixel encoder by its inverse; the seed changes the brightness."""

    takes = "pixels"
    width: int = 12

    def build(self) -> Painter:
        """Ready at once."""

        def paint(cue, seeds):
            shift = (seeds % 3).astype(np.uint8)[:, None, None, None]
            return encoder("{name: pixels, side: 2, size: 32}").pictures(cue.vector) // 2 + shift

        return Painter(paint, self.width, 32)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "v.h5"
    rng = np.random.default_rng(0)
    Embeddings(rng.standard_normal((300, 5)) + 3, [f"i{i}" for i in range(300)], {}).write(path)
    return Source("v", Features(), path)


def linear(weight):
    import torch

    coef = torch.from_numpy(weight.astype(np.float32))
    return Fitted(lambda images: None, gradient=lambda vector: vector @ coef)


def test_the_optimum_of_a_linear_model(source):
    weight = np.array([[1.0, 0.5, 0.0, 0.0, -1.0], [0, 0, 0, 0, 0]]).T
    options = Synthesis(family="v", components=5, n_steps=400)
    found = optimise(linear(weight), source, source.image, np.array([1.0, 0.0]), "g", options)
    vector = source.vectors(source.image).astype(float)
    mean, spread = vector.mean(0), np.cov(vector.T, bias=True)
    # within an ellipsoid of the covariance the best direction is the covariance times the weights
    expected = spread @ weight[:, 0]
    away = found.vector - mean
    assert away @ expected > 0.999 * np.linalg.norm(away) * np.linalg.norm(expected)
    length = np.sqrt(np.einsum("ij,jk,ik->i", vector - mean, np.linalg.inv(spread), vector - mean))
    reach = np.sqrt(away @ np.linalg.inv(spread) @ away)
    assert reach == pytest.approx(np.quantile(length, 0.9), rel=1e-3)
    real = vector @ weight[:, 0]
    assert found.predicted > np.quantile(real, 0.99)
    assert found.natural.tolist() == [f"i{i}" for i in np.argsort(-real)[:4]]
    assert found.predicted == pytest.approx(found.vector @ weight[:, 0], rel=1e-4)


def test_goals():
    groups = {
        "all": np.ones(4, bool),
        "a": np.array([1, 1, 0, 0], bool),
        "b": np.array([0, 0, 1, 0], bool),
    }
    keep, spread = np.array([1, 1, 1, 0], bool), np.array([2.0, 1, 4, 1])
    found = goals_of(Synthesis(family="v"), groups, keep, spread)
    assert {k: v.tolist() for k, v in found.items()} == {
        "a": [0.25, 0.5, 0, 0],
        "b": [0, 0, 0.25, 0],
    }
    apart = goals_of(Synthesis(family="v", goals=["a - b"]), groups, keep, spread)
    assert apart["a - b"].tolist() == [0.25, 0.5, -0.25, 0]
    assert goals_of(Synthesis(family="v", goals=["b"]), groups, keep & False, spread) == {}
    with pytest.raises(UsageError, match="region 'c' is unknown"):
        goals_of(Synthesis(family="v", goals=["a - c"]), groups, keep, spread)


def test_a_model_without_gradients_is_refused(source):
    with pytest.raises(NeurovisError, match="no gradients"):
        optimise(
            Fitted(lambda i: None), source, source.image, np.ones(1), "g", Synthesis(family="v")
        )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Signals that say how bright the upper left of a picture is."""
    folder = write_prepared(tmp_path_factory.mktemp("syn") / "p", n_train=90, subjects=("01",))
    found = encoder("{name: pixels, side: 2, size: 32}").build()
    from PIL import Image

    stacks = {p.stem: found.embed(found.prepare(Image.open(p))[None])[0] for p in (folder / "pictures").glob("*")}  # fmt: skip
    path = folder / "sub-01" / "trials.h5"
    with opened(path) as trials:
        fields = {f.name: getattr(trials, f.name) for f in dataclasses.fields(trials)}
        shape = trials.signal.shape
    seen = np.array([stacks[i][[0, 4, 8]].sum() for i in fields["image"]])
    noise = np.random.default_rng(0).standard_normal(shape)
    fields["signal"] = (20 * (seen - seen.mean())[:, None, None] + noise).astype(np.float32)
    path.unlink()
    Trials(**fields).write(path)
    return folder


def experiment(study, **options):
    features = {"pixels": {"encoder": {"name": "pixels", "side": 2, "size": 32}}}
    synthesis = {"family": "pixels", "goals": ["all"], "n_pictures": 2, **options}
    return build(Encode, {"data": {"path": str(study), "tmax": 0.02}, "features": features,
                          "synthesis": synthesis, "identify": None, "control": False,
                          "scoring": {"n_bootstrap": 50, "n_permutations": 0}})  # fmt: skip


def test_from_responses_to_pictures(study, tmp_path):
    made = encode(experiment(study, generator=f"{__name__}:Unpixel"), tmp_path, quiet=True)
    with open_h5(made / "sub-01" / "synthesis.h5", "neurovis-synthesis") as file:
        picture, predicted = file["picture"][()], file["predicted"][()]
        assert file["natural_picture"].shape == (1, 2, 96, 96, 3)
        assert file.attrs["generator"] == "Unpixel"
    assert picture.shape == (1, 2, 2, 2, 3)
    assert predicted[0] > 1
    upper, lower = picture[0, 0, 0, 0].mean(), picture[0, 0, 1, 1].mean()
    assert upper > lower + 5
    assert (picture[0, 0] != picture[0, 1]).any()
    text = page(made, quiet=True)
    assert "Pictures that should drive a region" in text
    assert "Painted from the embedding" in text


def test_another_width_is_refused(study, tmp_path):
    with pytest.raises(NeurovisError, match="takes embeddings of 7 dims"):
        encode(
            experiment(study, generator={"name": f"{__name__}:Unpixel", "width": 7}),
            tmp_path,
            quiet=True,
        )
    with pytest.raises(UsageError, match="did you mean 'pixels'"):
        experiment(study, family="pixel")
