"""Words for decoded embeddings, against scipy; a captioner, complete and small."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import softmax

from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError
from neurovis.generate.captions import Captioner, nearest, text_vectors
from neurovis.images import encoder

WORDS = ["cat", "dog", "tea pot", "bat"]


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """A text tower of open_clip with the real tokenizer and random weights."""
    import open_clip
    from safetensors.torch import save_file

    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 12,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 2,
        },
    }
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    about = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    model = open_clip.CLIP(**json.loads(json.dumps(config)))
    torch.nn.init.constant_(model.logit_scale, np.log(20))
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return encoder(f"open_clip_text:local-dir:{folder}").build()


def test_probabilities_are_the_softmax_of_the_cosine(tower):
    texts = [f"This picture is {word}" for word in WORDS]
    vectors = text_vectors(texts, tower)
    decoded = np.random.default_rng(0).standard_normal((6, 16))
    assert tower.temperature == pytest.approx(1 / 20)
    found = nearest(decoded, vectors, texts, tower.temperature, k=3)
    expected = softmax((1 - cdist(decoded, vectors, "cosine")) * 20, axis=1)
    for row in range(6):
        best = np.argsort(-expected[row])[:3]
        assert found.text[row] == [texts[i] for i in best]
        np.testing.assert_allclose(found.probability[row], expected[row, best], rtol=1e-6)


def test_a_texts_own_vector_names_it(tower):
    vectors = text_vectors(WORDS, tower)
    found = nearest(5 * vectors, vectors, WORDS, tower.temperature, k=9)
    assert [row[0] for row in found.text] == WORDS
    np.testing.assert_allclose(found.probability.sum(1), 1)
    alone = text_vectors(["dog"], tower)
    np.testing.assert_allclose(alone[0], vectors[1], rtol=1e-4, atol=1e-5)


def test_each_row_may_have_a_temperature_of_its_own():
    rng = np.random.default_rng(0)
    decoded, vectors = rng.standard_normal((3, 8)), rng.standard_normal((4, 8))
    spread = np.array([0.01, 0.1, 10.0])
    found = nearest(decoded, vectors, WORDS, spread)
    for row in range(3):
        one = nearest(decoded[row : row + 1], vectors, WORDS, spread[row])
        np.testing.assert_allclose(found.probability[row], one.probability[0])
        # the order does not depend on it
        assert one.text[0] == nearest(decoded[row : row + 1], vectors, WORDS, 1.0).text[0]
    assert found.probability[2, 0] < 0.3


def test_what_does_not_fit_is_refused():
    rng = np.random.default_rng(0)
    decoded, vectors = rng.standard_normal((3, 8)), rng.standard_normal((4, 8))
    with pytest.raises(NeurovisError, match=r"expected \(row, dim\) and \(text, dim\)"):
        nearest(decoded[:, :5], vectors, WORDS, 0.1)
    with pytest.raises(NeurovisError, match="give each text once"):
        nearest(decoded, vectors, ["cat", "cat", "dog", "bat"], 0.1)
    with pytest.raises(NeurovisError, match="give each text once"):
        nearest(decoded, vectors, WORDS[:3], 0.1)
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(NeurovisError, match="expected temperatures above 0"):
            nearest(decoded, vectors, WORDS, bad)
    decoded[1] = np.nan
    with pytest.raises(NeurovisError, match="decoded embedding 1 to be zero or no number"):
        nearest(decoded, vectors, WORDS, 0.1)


# ---- a captioner


@pytest.fixture(scope="module")
def git(tmp_path_factory):
    """A GIT of two layers, with random weights."""
    from transformers import (
        BertTokenizer,
        CLIPImageProcessor,
        GitConfig,
        GitForCausalLM,
        GitProcessor,
    )

    folder = tmp_path_factory.mktemp("git")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "patch_size": 8,
              "num_attention_heads": 1, "image_size": 16}  # fmt: skip
    config = GitConfig(
        vision_config=vision, vocab_size=len(words), hidden_size=8, num_hidden_layers=2,
        num_attention_heads=1, intermediate_size=8, bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = GitForCausalLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    model.save_pretrained(folder)
    sizes = {"height": 16, "width": 16}
    processor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=sizes)
    GitProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def test_a_captioner_says_what_its_own_model_says(git):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    pictures = np.random.default_rng(0).integers(0, 255, (3, 20, 20, 3), dtype=np.uint8)
    caption = Captioner(folder=str(git), n_tokens=6, device="cpu").build()
    found = caption(pictures)
    assert found == caption(pictures)
    assert len(found) == 3
    model, processor = (
        AutoModelForImageTextToText.from_pretrained(git),
        AutoProcessor.from_pretrained(git),
    )
    for row, said in enumerate(found):
        pixels = processor(images=[pictures[row]], return_tensors="pt")["pixel_values"]
        tokens = model.generate(pixel_values=pixels, max_new_tokens=6, do_sample=False)
        expected = processor.batch_decode(tokens, skip_special_tokens=True)[0]
        assert said == " ".join(expected.split())
    assert any(found)


def test_a_captioner_that_is_not_there_or_pickled_is_refused(git, tmp_path):
    with pytest.raises(NeurovisError, match="no such folder"):
        Captioner(folder=str(tmp_path / "nowhere")).build()
    with pytest.raises(NeurovisError, match="weights are missing"):
        Captioner(folder=str(tmp_path)).build()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(NeurovisError, match="found pickles alone"):
        Captioner(folder=str(tmp_path)).build()
    (tmp_path / "model.safetensors").write_bytes((git / "model.safetensors").read_bytes())
    with pytest.raises(NeurovisError, match="does not load"):
        Captioner(folder=str(tmp_path)).build()
    with pytest.raises(UsageError, match="unknown"):
        build(Captioner, {"folder": "x", "n_token": 3})
