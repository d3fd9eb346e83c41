"""Sentence encoders: a miniature model from a folder, long texts whole, missing words counted."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import write_prepared

from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError
from neurovis.images import embed, encoder
from neurovis.images.sentence import Sentence
from neurovis.records import Embeddings, Stimuli

WORDS = ["a", "red", "dog", "runs", "over", "the", "green", "hill", "house", "blue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of two small layers with random weights, saved as the hub saves it."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    path = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(vocabulary), intermediate_size=32, max_position_embeddings=24, **sizes
    )
    BertModel(config).save_pretrained(path)
    return path


def said(folder, *texts, **options):
    built = Sentence(model=f"local-dir:{folder}", **options).build()
    return built.embed(np.stack([built.prepare(text) for text in texts]))


def test_the_mean_over_tokens(folder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    text = "a red dog runs over the hill"
    words, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        known = model(**words(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
    (found,) = said(folder, text)
    np.testing.assert_allclose(found, known, atol=1e-5)


def test_the_end_of_a_long_description_counts(folder):
    start = " ".join(WORDS * 6)
    first, second, empty = said(folder, f"{start} dog", f"{start} house house house", "")
    assert np.abs(first - second).max() > 1e-3
    assert np.isfinite(empty).all()


def test_captions_of_stimuli(folder, tmp_path):
    prepared = write_prepared(tmp_path / "p", n_train=9, n_test=3)
    stimuli = Stimuli.read(prepared / "stimuli.csv")
    config = {"name": "sentence", "model": f"local-dir:{folder}"}
    with pytest.raises(NeurovisError, match="12 of 12 images have no caption"):
        embed(config, stimuli, tmp_path, quiet=True)
    found = embed({**config, "template": "the {concept}"}, stimuli, tmp_path, quiet=True)
    vectors = Embeddings.read(found / "embeddings.h5")
    assert vectors.vector.shape == (12, 16)
    assert str(folder) not in (found / "config.yaml").read_text()


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(NeurovisError, match="hf download"):
        Sentence(model=f"local-dir:{tmp_path}").build()
    with pytest.raises(UsageError, match="template"):
        build(Sentence, {"model": "x", "template": "nothing"})
    assert encoder({"name": "sentence", "model": "a/all-mpnet"}).label == "sentence-all-mpnet"
