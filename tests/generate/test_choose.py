"""Best of k: by agreement with the decoded embedding, and by nothing that knows the answer."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest
from fakes.pipelines import small

from neurovis.config import resolve
from neurovis.errors import NeurovisError
from neurovis.generate import choose as module
from neurovis.generate.base import Cue, Generator
from neurovis.generate.choose import choose, embedded
from neurovis.images import encoder
from neurovis.images.base import Encoder


@pytest.fixture(scope="module")
def pixels() -> Encoder:
    return encoder({"name": "pixels", "side": 4}).build()


def candidates(n_rows: int = 3, n_samples: int = 5) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (n_rows, n_samples, 8, 8, 3), dtype=np.uint8)


def test_agreement_is_the_cosine_and_orders_the_candidates(pixels):
    painted = candidates()
    decoded = np.random.default_rng(1).standard_normal((3, 48)).astype(np.float32)
    order, agreement = choose(painted, decoded, pixels)
    for row in range(3):
        said = embedded(painted[row], pixels).astype(np.float64)
        vector = decoded[row].astype(np.float64)
        cosine = [v @ vector / np.sqrt((v @ v) * (vector @ vector)) for v in said]
        np.testing.assert_allclose(agreement[row], cosine, rtol=1e-5, atol=1e-6)
        assert order[row].tolist() == sorted(range(5), key=lambda i: -agreement[row, i])
    assert agreement.dtype == np.float32


def test_the_candidate_that_was_decoded_comes_first(pixels):
    painted = candidates()
    decoded = np.stack([embedded(painted[row, 2:3], pixels)[0] for row in range(3)])
    order, agreement = choose(painted, 7 * decoded, pixels)
    assert order[:, 0].tolist() == [2, 2, 2]
    np.testing.assert_allclose(agreement[:, 2], 1, rtol=1e-5)


def test_candidates_that_agree_alike_stay_in_their_order(pixels):
    painted = candidates()
    painted[:] = painted[:, :1]
    order, _ = choose(painted, np.ones((3, 48)), pixels)
    assert order.tolist() == [[0, 1, 2, 3, 4]] * 3


def test_rows_are_chosen_by_themselves(pixels):
    painted = candidates()
    decoded = np.random.default_rng(1).standard_normal((3, 48))
    _, together = choose(painted, decoded, pixels)
    _, alone = choose(painted[1:2], decoded[1:2], pixels)
    np.testing.assert_allclose(alone[0], together[1], rtol=1e-6)


def test_the_seen_picture_cannot_enter():
    """Neither function has a place for it, and what an encoder is made of knows no stimuli."""
    assert list(inspect.signature(choose).parameters) == ["painted", "decoded", "encoder"]
    assert list(inspect.signature(embedded).parameters) == ["pictures", "encoder"]
    assert {f.name for f in fields(Encoder)} == {"prepare", "embed", "weights", "temperature"}
    source = inspect.getsource(module)
    for word in ("import records", "Stimuli", "Seen", "open_picture", "read("):
        assert word not in source, word


@pytest.mark.parametrize("name", ["sdxl_ip_adapter", "unclip", "kandinsky", "versatile_diffusion"])
def test_a_generator_is_judged_by_its_own_encoder(name, tmp_path):
    """Embeddings of painted pictures have the width that the generator takes."""
    config = resolve(Generator, small(name, tmp_path))
    painter, own = config.build(), config.image_encoder().build()
    vector = np.random.default_rng(0).standard_normal((2, painter.width)).astype(np.float32)
    painted = np.stack(
        [painter.paint(Cue(vector[[row, row]]), np.array([0, 1])) for row in range(2)]
    )
    order, agreement = choose(painted, vector, own)
    assert agreement.shape == order.shape == (2, 2)
    assert own.weights
    assert (np.abs(agreement) <= 1).all()


def test_what_does_not_fit_is_refused(pixels):
    painted, decoded = candidates(), np.ones((3, 48), np.float32)
    with pytest.raises(NeurovisError, match="expected candidates"):
        choose(painted[0], decoded, pixels)
    with pytest.raises(NeurovisError, match="expected candidates"):
        choose(painted.astype(np.float32), decoded, pixels)
    with pytest.raises(NeurovisError, match=r"expected decoded embeddings \(3, dim\)"):
        choose(painted, decoded[:2], pixels)
    with pytest.raises(NeurovisError, match="of 48 dims"):
        choose(painted, decoded[:, :7], pixels)
    for bad in (0, np.nan):
        wrong = decoded.copy()
        wrong[1] = bad
        with pytest.raises(NeurovisError, match="expected embeddings with a direction"):
            choose(painted, wrong, pixels)
