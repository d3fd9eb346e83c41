"""``world:kinds``: shipped weights that say what kind of thing is in a drawing, also of things never seen."""

import numpy as np
import pytest
import torch
from PIL import Image

from neurovis.errors import NeurovisError, UsageError
from neurovis.images import encoder, kinds
from neurovis.images.kinds import SIZE, WEIGHTS, Kinds, read_out, read_weights
from neurovis.world import scenes


@pytest.fixture(scope="module")
def built():
    return encoder("world:kinds").build()


def pictures(names: list[str], exemplar: int = 0, size: int = 128) -> list[Image.Image]:
    """Drawings as studies show them."""
    return [Image.fromarray(scenes.render(scenes.sample_scene(n, exemplar), size)) for n in names]


def answers(built, names: list[str], **how) -> np.ndarray:
    return built.embed(np.stack([built.prepare(p) for p in pictures(names, **how)]))


def test_things_never_seen_are_told_apart_by_their_kind(built):
    """The 200 concepts of studies were never drawn for training; chance is 1 in 28 and 1 in 10."""
    test = list(scenes.held_out(200))
    known = {c.name: c for c in scenes.concepts()}
    families = sorted({c.family for c in scenes.concepts()})
    superclasses = sorted({c.superclass for c in scenes.concepts()})
    said = answers(built, test)
    assert said.shape == (200, len(families) + len(superclasses))
    family = [families[i] for i in said[:, : len(families)].argmax(1)]
    superclass = [superclasses[i] for i in said[:, len(families) :].argmax(1)]
    assert np.mean([f == known[n].family for f, n in zip(family, test)]) > 0.5
    assert np.mean([s == known[n].superclass for s, n in zip(superclass, test)]) > 0.65


def test_answers_are_probabilities(built):
    n = len({c.family for c in scenes.concepts()})
    said = answers(built, ["sofa", "tarantula"])
    assert said.dtype == np.float32
    assert (said >= 0).all()
    np.testing.assert_allclose(said[:, :n].sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(said[:, n:].sum(1), 1, rtol=1e-5)


def test_one_is_the_same_as_many(built):
    names = ["sofa", "tarantula", "cello"]
    together = answers(built, names)
    alone = np.concatenate([answers(built, [name]) for name in names])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_perceptron_is_that_of_torch():
    weights = read_weights()
    x = np.random.default_rng(0).standard_normal((5, len(weights["mean"]))).astype(np.float32)
    hidden = torch.from_numpy((x - weights["mean"]) / weights["spread"])
    for layer in ("first", "second"):
        w, b = (torch.from_numpy(weights[f"{layer}.{k}"]) for k in ("weight", "bias"))
        hidden = torch.nn.functional.gelu(torch.nn.functional.linear(hidden, w, b))
    said = []
    for head in kinds.HEADS:
        w, b = (torch.from_numpy(weights[f"{head}.{k}"]) for k in ("weight", "bias"))
        said.append(torch.nn.functional.linear(hidden, w, b).softmax(1))
    np.testing.assert_allclose(read_out(weights, x), torch.cat(said, 1), rtol=1e-3, atol=1e-5)


def test_the_features_are_those_that_the_weights_were_trained_on():
    images = np.zeros((1, 3, SIZE, SIZE), np.float32)
    assert Kinds().plain(images).shape == (1, len(read_weights()["mean"]))


def test_weights_are_small_and_the_card_says_what_they_are():
    assert WEIGHTS.stat().st_size < 3_000_000
    card = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    assert "experiments.world.kinds" in card
    assert "never trained on" in card


def test_the_weights_are_part_of_what_embeddings_are_known_by(built):
    assert len(built.weights) == 64
    assert Kinds().identity(built.weights)["weights_sha256"] == built.weights


def test_absent_and_unknown_weights(tmp_path, monkeypatch):
    read_weights.cache_clear()
    monkeypatch.setattr(kinds, "WEIGHTS", tmp_path / "kinds.safetensors")
    with pytest.raises(NeurovisError, match="install neurovis again"):
        read_weights()
    (tmp_path / "kinds.safetensors").write_bytes(b"no weights")
    with pytest.raises(NeurovisError, match="damaged"):
        read_weights()
    with pytest.raises(UsageError, match="did you mean 'world:kinds'"):
        encoder("world:kind")
