"""Networks with random weights, loaded through the same path as published ones."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from neurovis.errors import NeurovisError
from neurovis.images import encoder
from neurovis.images.weights import OFFLINE

CLIP = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8
        },
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.25, 0.25, 0.25]},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of tiny networks: CLIP with its config, a transformer, a convolutional network."""
    import open_clip
    import timm
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    (folder / "clip").mkdir()
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps(CLIP))
    model = open_clip.CLIP(**json.loads(json.dumps(CLIP["model_cfg"])))
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(weights, folder / "clip" / "open_clip_model.safetensors")
    vit = timm.create_model("test_vit").state_dict()
    save_file(vit, folder / "vit.safetensors")
    headless = {k: v for k, v in vit.items() if not k.startswith("head")}
    save_file(headless, folder / "headless.safetensors")
    save_file({k: v for k, v in vit.items() if "qkv" not in k}, folder / "short.safetensors")
    resnet = timm.create_model("test_resnet").state_dict()
    torch.save(resnet, folder / "resnet.pt")
    return folder


@pytest.fixture(scope="module")
def picture():
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((180, 140))


@pytest.fixture(scope="module")
def clip(folder):
    """The tiny CLIP as open_clip itself makes it, and its evaluation transform."""
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder / 'clip'}")
    return model.eval(), transform


def run(name, picture):
    built = encoder(name).build()
    return built.embed(np.stack([built.prepare(picture)]))[0]


def numpy(tensor):
    return tensor.detach().numpy()[0]


def test_clip_output_is_encode_image(folder, clip, picture):
    import torch

    model, transform = clip
    with torch.inference_mode():
        expected = numpy(model.encode_image(transform(picture)[None]))
    for name in ("", "@1", "@1.0"):
        np.testing.assert_array_equal(
            run(f"open_clip:local-dir:{folder / 'clip'}{name}", picture), expected
        )


def test_clip_block_is_what_the_next_block_gets(folder, clip, picture):
    model, transform = clip
    seen = []
    handle = model.visual.transformer.resblocks[1].register_forward_hook(
        lambda module, given, out: seen.append(out)
    )
    model.encode_image(transform(picture)[None])
    handle.remove()
    block = numpy(seen[0])
    name = f"open_clip:local-dir:{folder / 'clip'}@layer2"
    np.testing.assert_allclose(run(name + "+tokens", picture), block[1:], atol=1e-6)
    np.testing.assert_allclose(run(name, picture), block[1:].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(run(name + "+cls", picture), block[0], atol=1e-6)
    np.testing.assert_array_equal(
        run(f"open_clip:local-dir:{folder / 'clip'}@0.3", picture), run(name, picture)
    )


def test_clip_class_token_after_the_norm_leads_to_the_output(folder, clip, picture):
    model, _ = clip
    cls = run(f"open_clip:local-dir:{folder / 'clip'}+cls", picture)
    output = run(f"open_clip:local-dir:{folder / 'clip'}", picture)
    np.testing.assert_allclose(cls @ model.visual.proj.detach().numpy(), output, atol=1e-5)


@pytest.mark.parametrize("weights", ["vit.safetensors", "headless.safetensors"])
def test_timm_output_is_the_model_without_classifier(folder, picture, weights):
    import timm
    from safetensors.torch import load_file
    from timm.data import create_transform, resolve_model_data_config

    model = timm.create_model("test_vit", num_classes=0).eval()
    model.load_state_dict(load_file(folder / "headless.safetensors"))
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    image = transform(picture)[None]
    name = f"timm:test_vit/{folder / weights}"
    np.testing.assert_array_equal(run(name, picture), numpy(model(image)))
    tokens = numpy(model.forward_features(image))
    np.testing.assert_allclose(run(name + "+cls", picture), tokens[0], atol=1e-6)
    np.testing.assert_allclose(
        run(name + "+tokens", picture), tokens[model.num_prefix_tokens :], atol=1e-6
    )
    blocks = model.forward_intermediates(image, indices=[2], intermediates_only=True)
    expected = numpy(blocks[0]).mean(axis=(1, 2))
    np.testing.assert_allclose(run(name + "@layer3", picture), expected, atol=1e-6)
    assert run(name + "+tokens+96px", picture).shape == (36, 64)


def test_convolutional_network(folder, picture):
    import timm
    import torch

    name = f"timm:test_resnet/{folder / 'resnet.pt'}"
    model = timm.create_model("test_resnet", num_classes=0).eval()
    state = torch.load(folder / "resnet.pt", weights_only=True)
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc")})
    image = torch.from_numpy(encoder(name).build().prepare(picture))[None]
    np.testing.assert_array_equal(run(name, picture), numpy(model(image)))
    last = numpy(model.forward_features(image))
    np.testing.assert_allclose(run(name + "+tokens", picture), last.reshape(96, -1).T, atol=1e-6)
    np.testing.assert_allclose(run(name + "+mean", picture), last.mean(axis=(1, 2)), atol=1e-6)
    with pytest.raises(NeurovisError, match="no class token"):
        run(name + "+cls", picture)


def test_transform_is_the_one_for_evaluation(folder, clip, picture):
    """The training transform crops at random; this one gives the same twice, and the official one."""
    import open_clip

    built = encoder(f"open_clip:local-dir:{folder / 'clip'}").build()
    first = built.prepare(picture)
    np.testing.assert_array_equal(first, built.prepare(picture))
    np.testing.assert_array_equal(first, clip[1](picture).numpy())
    _, train, _ = open_clip.create_model_and_transforms(f"local-dir:{folder / 'clip'}")
    assert any((train(picture).numpy() != first).any() for _ in range(5))


@pytest.mark.parametrize("name", ["clip", "vit"])
def test_one_is_as_many_in_any_order(folder, name):
    from PIL import Image

    rng = np.random.default_rng(1)
    pictures = [
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)) for _ in range(5)
    ]
    text = {"clip": f"open_clip:local-dir:{folder / 'clip'}@0.5"}
    text["vit"] = f"timm:test_vit/{folder / 'vit.safetensors'}"
    built = encoder(text[name]).build()
    images = np.stack([built.prepare(p) for p in pictures])
    many = built.embed(images)
    one = np.concatenate([built.embed(image[None]) for image in images])
    assert many.dtype == np.float32
    np.testing.assert_allclose(one, many, atol=1e-5)
    np.testing.assert_allclose(built.embed(images[::-1].copy()), many[::-1], atol=1e-5)


def test_hash_follows_weights_and_not_files(folder):
    import torch
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "headless.safetensors")
    torch.save(state, folder / "same.pt")
    state["cls_token"][0, 0, 0] += 1e-3
    save_file(state, folder / "other.safetensors")
    names = ("vit.safetensors", "headless.safetensors", "same.pt", "other.safetensors")
    hashes = [encoder(f"timm:test_vit/{folder / name}").build().weights for name in names]
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
    smaller = encoder(f"timm:test_vit/{folder / 'vit.safetensors'}+96px").build().weights
    assert smaller != hashes[0]


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["timm:test_vit/{}", "open_clip:RN50-quickgelu/{}"])
def test_pickled_weights_do_not_run(tmp_path, name):
    import torch

    bad, plain, canary = tmp_path / "bad.pt", tmp_path / "bad.bin", tmp_path / "canary"
    torch.save({"state_dict": Canary(canary)}, bad)
    plain.write_bytes(pickle.dumps({"state_dict": Canary(canary)}, protocol=2))
    for file in (bad, plain):
        with pytest.raises(NeurovisError, match="expected plain weights") as error:
            encoder(name.format(file)).build()
        assert str(file) in str(error.value)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timm:test_vit/{}/short.safetensors", "does not load"),
        ("timm:test_vit/{}/resnet.pt", "does not load"),
        ("timm:test_vit/{}/none.safetensors", "no such weights file"),
        ("timm:test_vitt/{}/vit.safetensors", "did you mean 'test_vit'"),
        ("timm:test_vit.r160_in2k", "did you mean 'test_vit.r160_in1k'"),
        ("timm:test_vit/tag", "a tag is written with a dot"),
        ("timm:test_vit/{}/vit.safetensors@layer7", "from 1 to 6"),
        ("open_clip:ViT-B-33/openai", "did you mean 'ViT-B-32'"),
        ("open_clip:ViT-B-32/openay", "did you mean 'openai'"),
        ("open_clip:local-dir:{}/nowhere", "does not load"),
        ("open_clip:local-dir:{}/empty", "does not load"),
    ],
)
def test_errors_are_one_sentence(folder, name, says):
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "empty" / "open_clip_config.json").write_text(json.dumps(CLIP))
    with pytest.raises(NeurovisError, match=says) as error:
        encoder(name.format(folder)).build()
    assert "\n" not in str(error.value)


def test_truncated_weights_are_named(folder, tmp_path):
    data = (folder / "vit.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(NeurovisError, match=r"cut\.safetensors"):
        encoder(f"timm:test_vit/{tmp_path / 'cut.safetensors'}").build()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("open_clip:ViT-H-14/laion2b_s32b_b79k@0.35", "hf download laion/CLIP-ViT-H-14-laion2B"),
        ("timm:vit_base_patch14_dinov2.lvd142m@0.66", "hf download timm/vit_base_patch14_dinov2"),
        ("timm:hf-hub:org/repository", "hf download org/repository config.json"),
    ],
)
def test_without_network_and_cache_the_command_is_said(name, command, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NeurovisError) as error:
        encoder(name).build()
    assert command in str(error.value)
    assert ", ".join(OFFLINE) in str(error.value)


def test_weights_from_the_cache_need_no_network(folder, picture, monkeypatch, tmp_path):
    from huggingface_hub import constants

    commit = "0" * 40
    place = tmp_path / "models--timm--test_vit.r160_in1k"
    (place / "snapshots" / commit).mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    data = (folder / "vit.safetensors").read_bytes()
    (place / "snapshots" / commit / "model.safetensors").write_bytes(data)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    np.testing.assert_array_equal(
        run("timm:test_vit.r160_in1k@0.5", picture),
        run(f"timm:test_vit/{folder / 'vit.safetensors'}@0.5", picture),
    )
