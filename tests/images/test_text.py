"""Text targets: the real tokenizer and a miniature model with random weights, through the same cache."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from neurovis.errors import NeurovisError, UsageError
from neurovis.images import embed, encoder, extract
from neurovis.records import Embeddings, Stimuli

CLIP = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8
    },
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}  # fmt: skip
CONCEPTS = ["baseball_bat", "aardvark", "aardvark", "teapot"]
CAPTIONS = ["a bat on grass", "an animal", "another animal", "a blue pot"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Folder of the miniature model, and the model as open_clip itself makes it."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    about = {"model_cfg": CLIP, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    model = open_clip.CLIP(**json.loads(json.dumps(CLIP)))
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder, model.eval()


def stimuli(captions=CAPTIONS, concepts=CONCEPTS) -> Stimuli:
    """Pictures of which there is no file: none is opened."""
    ids, n = [f"i{i}" for i in range(len(concepts))], [0] * len(concepts)
    paths = [f"{i}.png" for i in ids]
    return Stimuli(ids, paths, [""] * len(n), n, n, concepts, ["train"] * len(n), captions)


def said(model, texts):
    import open_clip

    tokens = open_clip.tokenizer.SimpleTokenizer(context_length=12)(texts)
    with torch.inference_mode():
        return model.encode_text(tokens).numpy()


def test_vectors_are_those_of_the_text_tower(clip, tmp_path):
    folder, model = clip
    found = embed(f"open_clip_text:local-dir:{folder}", stimuli(), tmp_path, quiet=True)
    found = Embeddings.read(found / "embeddings.h5")
    texts = ["baseball bat", "aardvark", "aardvark", "teapot"]
    expected = said(model, [f"This picture is {text}" for text in texts])
    np.testing.assert_allclose(found.vector, expected, atol=1e-5)
    np.testing.assert_array_equal(found.vector[1], found.vector[2])
    assert found.encoder["template"] == "This picture is {concept}"
    assert str(folder) not in json.dumps(found.encoder)


def test_captions_and_templates(clip, tmp_path):
    folder, model = clip
    name = f"open_clip_text:local-dir:{folder}"
    found = embed(name + "+caption", stimuli(), tmp_path, quiet=True)
    vector = Embeddings.read(found / "embeddings.h5").vector
    np.testing.assert_allclose(vector, said(model, CAPTIONS), atol=1e-5)
    both = {"name": "open_clip_text", "model": f"local-dir:{folder}"}
    both["template"] = "{caption}, that is: {concept}"
    found = Embeddings.read(embed(both, stimuli(), tmp_path, quiet=True) / "embeddings.h5")
    texts = [f"{a}, that is: {b.replace('_', ' ')}" for a, b in zip(CAPTIONS, CONCEPTS)]
    np.testing.assert_allclose(found.vector, said(model, texts), atol=1e-5)


def test_each_text_is_run_once(clip, tmp_path, monkeypatch):
    folder, _ = clip
    seen = []
    run = extract._run
    monkeypatch.setattr(
        extract,
        "_run",
        lambda built, wanted, *rest: seen.append(len(wanted)) or run(built, wanted, *rest),
    )
    name = f"open_clip_text:local-dir:{folder}"
    embed(name, stimuli().take([0, 1, 2]), tmp_path, quiet=True)
    embed(name, stimuli(), tmp_path, quiet=True)
    assert seen == [2, 1]


def test_the_text_tower_has_weights_of_its_own(clip):
    folder, _ = clip
    names = [f"{kind}:local-dir:{folder}" for kind in ("open_clip", "open_clip_text")]
    picture, text = (encoder(name).build().weights for name in names)
    assert len({picture, text}) == 2
    assert text == encoder(names[1] + "+caption").build().weights


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"captions": ["a", "", " ", "b"]}, "2 of 4 images have no caption, the first is 'i1'"),
        ({"concepts": ["a", "b", "", "d"]}, "1 of 4 images have no concept, the first is 'i2'"),
    ],
)
def test_missing_words_are_counted(clip, tmp_path, changed, says):
    folder, _ = clip
    name = f"open_clip_text:local-dir:{folder}" + ("+caption" if "captions" in changed else "")
    with pytest.raises(NeurovisError, match=says) as error:
        embed(name, stimuli(**changed), tmp_path, quiet=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "template", ["a picture", "{concepts}", "{concept!r}", "{concept:>9}", "{", "{}", "{concept.x}"]
)
def test_templates_say_what_they_stand_for(template):
    with pytest.raises(UsageError, match=r"expected a text with .concept. or .caption."):
        encoder(
            {"name": "open_clip_text", "model": "ViT-B-32", "weights": "x", "template": template}
        )


def test_unknown_models_are_named():
    with pytest.raises(NeurovisError, match="did you mean 'ViT-B-32'"):
        encoder("open_clip_text:ViT-B-33/openai").build()
    assert (
        encoder("open_clip_text:ViT-B-32/openai").label == "open_clip_text-ViT-B-32-openai-concept"
    )
