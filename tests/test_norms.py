"""Norms and moments of predictions restored: against numpy, row by row, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from neurovis.errors import NeurovisError
from neurovis.norms import Norms, read_norms, write_norms
from neurovis.store import load_tensors, save_tensors


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    train = 3 + rng.standard_normal((500, 6)) * np.arange(1, 7)
    said = 0.2 * (train[:200] - 3) + 0.1 * rng.standard_normal((200, 6)) - 1
    return train, said


def test_lengths_become_those_of_true_vectors(vectors):
    train, said = vectors
    out = Norms.of(train, said).restore(said)
    expected = np.linalg.norm(train, axis=1).mean()
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), expected, rtol=1e-5)
    cosine = (out * said).sum(1) / np.linalg.norm(out, axis=1) / np.linalg.norm(said, axis=1)
    np.testing.assert_allclose(cosine, 1, rtol=1e-5)


def test_moments_become_those_of_true_vectors(vectors):
    train, said = vectors
    norms = Norms.of(train, said)
    out = norms.restore(said, "moments")
    np.testing.assert_allclose(out.mean(0), train.mean(0), rtol=1e-4)
    np.testing.assert_allclose(out.std(0), train.std(0), rtol=1e-4)
    # a row gets what it gets whatever other rows there are
    for how in ("norm", "moments"):
        np.testing.assert_array_equal(norms.restore(said[7:9], how), norms.restore(said, how)[7:9])


def test_a_dim_that_is_never_said_becomes_the_true_mean(vectors):
    train, said = vectors
    said[:, 2] = 0.5
    out = Norms.of(train, said).restore(said, "moments")
    np.testing.assert_allclose(out[:, 2], train[:, 2].mean(), rtol=1e-5)


def test_they_are_kept(vectors, tmp_path):
    norms = Norms.of(*vectors)
    write_norms(tmp_path / "norms.safetensors", {"image": norms, "image@regression": norms})
    again = read_norms(tmp_path / "norms.safetensors")
    assert set(again) == {"image", "image@regression"}
    said = vectors[1]
    for how in ("norm", "moments"):
        np.testing.assert_array_equal(again["image"].restore(said, how), norms.restore(said, how))
    tensors = load_tensors(tmp_path / "norms.safetensors")
    tensors.pop("image/std")
    save_tensors(tmp_path / "less.safetensors", tensors)
    with pytest.raises(NeurovisError, match=r"less\.safetensors: image/std is missing"):
        read_norms(tmp_path / "less.safetensors")


def test_what_does_not_fit_is_refused(vectors):
    train, said = vectors
    norms = Norms.of(train, said)
    with pytest.raises(NeurovisError, match=r"expected \(row, dim=6\), found \(200, 5\)"):
        norms.restore(said[:, :5])
    with pytest.raises(NeurovisError, match="only zeros in row 3"):
        norms.restore(np.arange(5)[:, None] * np.ones(6) - 3)
    with pytest.raises(NeurovisError, match="give vectors of one target"):
        Norms.of(train, said[:, :5])
    with pytest.raises(NeurovisError, match="at least two training images"):
        Norms.of(train, said[:1])
