"""Any place of any kind of network: blocks, parts and tokens are what plain hooks on it see."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from neurovis.errors import NeurovisError, UsageError
from neurovis.images import encoder
from neurovis.images.reading import Reader

TEXT = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8}
PROJECTED = {"timm_model_pretrained": False, "timm_proj": "linear", "image_size": 160}
CLIPS = {
    "vit": VIT,
    "pooled-by-attention": VIT | {"attentional_pool": True, "attn_pooler_heads": 2},
    "resnet": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 16},
    "timm-vit": PROJECTED | {"timm_model_name": "test_vit", "timm_pool": ""},
    "timm-resnet": PROJECTED | {"timm_model_name": "test_resnet", "timm_pool": "avg"},
}
TIMMS = {
    "registers": (
        "vit_small_patch14_reg4_dinov2",
        {"embed_dim": 16, "depth": 3, "num_heads": 2, "img_size": 56},
    ),
    "registers-alone": ("test_vit2", {}),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4]},
    ),
    "late-class-token": ("cait_xxs24_224", {"embed_dim": 16, "depth": 2, "num_heads": 2}),
    "no-norm-of-patches": ("hiera_tiny_224", {"embed_dim": 16, "stages": (1, 1, 1, 1)}),
    "resnet": ("test_resnet", {}),
}
NO_CLASS = ["clip-resnet", "clip-timm-resnet", "timm-registers-alone", "timm-swin", "timm-resnet"]
NO_CLASS += ["timm-late-class-token"]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Names of miniature networks with random weights."""
    import open_clip
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    root, names = tmp_path_factory.mktemp("networks"), {}
    for name, vision in CLIPS.items():
        folder = root / f"clip-{name}"
        folder.mkdir()
        model = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT}
        config = {"model_cfg": model, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        state = open_clip.CLIP(**json.loads(json.dumps(model))).state_dict()
        save_file(
            {k: v.contiguous() for k, v in state.items()}, folder / "open_clip_model.safetensors"
        )
        names[f"clip-{name}"] = f"open_clip:local-dir:{folder}"
    for name, (architecture, options) in TIMMS.items():
        folder = root / f"timm-{name}"
        folder.mkdir()
        model = timm.create_model(architecture, **options)
        keys = (
            "input_size",
            "mean",
            "std",
            "interpolation",
            "crop_pct",
            "classifier",
            "first_conv",
        )
        about = {k: model.pretrained_cfg[k] for k in keys if k in model.pretrained_cfg}
        about["input_size"] = (
            [3, *[options["img_size"]] * 2] if "img_size" in options else about["input_size"]
        )
        config = {"architecture": architecture, "num_classes": model.num_classes}
        config |= {"model_args": options, "pretrained_cfg": about}
        (folder / "config.json").write_text(json.dumps(config))
        state = {k: v.contiguous() for k, v in model.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        names[f"timm-{name}"] = f"timm:local-dir:{folder}"
    return names


@pytest.fixture(scope="module")
def pictures():
    from PIL import Image

    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)) for _ in range(2)]


def run(name, pictures):
    built = encoder(name).build()
    return built.embed(np.stack([built.prepare(p) for p in pictures]))


def hooked(name, part, pictures):
    """What a part of the network says, seen by a hook of our own; the network."""
    loaded = encoder(name).load()
    loaded.tower.eval()
    said = []
    loaded.tower.get_submodule(part).register_forward_hook(lambda _, __, out: said.append(out))
    with torch.inference_mode():
        loaded.output(torch.stack([loaded.transform(p) for p in pictures]))
    return said[0].numpy(), loaded.tower


# network, block, its part, how many tokens stand before patches
BLOCKS = [
    ("clip-vit", 2, "transformer.resblocks.1", 1),
    ("clip-pooled-by-attention", 3, "transformer.resblocks.2", 1),
    ("clip-resnet", 3, "layer2", None),
    ("clip-timm-vit", 4, "trunk.blocks.3", 1),
    ("clip-timm-resnet", 2, "trunk.layer1", None),
    ("timm-registers", 1, "blocks.0", 5),
    ("timm-registers-alone", 5, "blocks.4", 1),
    ("timm-late-class-token", 2, "blocks.1", 0),
    ("timm-resnet", 4, "layer3", None),
    ("timm-swin", 2, "layers.1", "last"),
]


@pytest.mark.parametrize(("name", "block", "part", "before"), BLOCKS)
def test_blocks_and_parts_are_what_a_hook_sees(names, pictures, name, block, part, before):
    said, _ = hooked(names[name], part, pictures)
    if before is None:
        tokens = said.reshape(*said.shape[:2], -1).transpose(0, 2, 1)
    elif before == "last":
        tokens = said.reshape(len(said), -1, said.shape[-1])
    else:
        tokens = said[:, before:]
    for place in (f"@layer{block}", f"@module={part}"):
        found = run(f"{names[name]}{place}+tokens", pictures)
        np.testing.assert_allclose(found, tokens, atol=1e-5)
        found = run(f"{names[name]}{place}", pictures)
        np.testing.assert_allclose(found, tokens.mean(1), atol=1e-5)


@pytest.mark.parametrize("name", ["clip-vit", "clip-timm-vit", "timm-registers"])
def test_the_class_token_is_the_first(names, pictures, name):
    part = {"clip-vit": "transformer.resblocks.1", "clip-timm-vit": "trunk.blocks.1"}
    said, _ = hooked(names[name], part.get(name, "blocks.1"), pictures)
    for place in ("@layer2", f"@module={part.get(name, 'blocks.1')}"):
        found = run(f"{names[name]}{place}+cls", pictures)
        np.testing.assert_allclose(found, said[:, 0], atol=1e-5)


@pytest.mark.parametrize("name", NO_CLASS)
@pytest.mark.parametrize("place", ["", "@layer1"])
def test_registers_and_maps_are_no_class_token(names, name, place):
    with pytest.raises(UsageError, match="no class token"):
        encoder(f"{names[name]}{place}+cls").build()


def test_the_end_without_a_norm_of_patches_is_the_last_block(names, pictures):
    """Pooling by attention comes before the norm, and one kind of network refuses to norm patches."""
    for name, n in [("clip-pooled-by-attention", 3), ("timm-no-norm-of-patches", 4)]:
        end, block = (run(f"{names[name]}{place}", pictures) for place in ("+mean", f"@layer{n}"))
        np.testing.assert_array_equal(end, block)
    end, block = (run(f"{names['clip-vit']}{p}+tokens", pictures) for p in ("", "@layer3"))
    _, tower = hooked(names["clip-vit"], "ln_post", pictures)
    with torch.inference_mode():
        np.testing.assert_allclose(tower.ln_post(torch.from_numpy(block)), end, atol=1e-5)


def test_relative_depth_counts_from_the_first_block_to_the_last(names, pictures):
    for depth, layer in [(0.01, 1), (0.5, 2), (0.99, 3)]:
        found = run(f"{names['clip-vit']}@{depth}", pictures)
        np.testing.assert_array_equal(found, run(f"{names['clip-vit']}@layer{layer}", pictures))


@pytest.mark.parametrize("name", ["clip-vit", "clip-resnet", "timm-registers", "timm-swin"])
def test_several_places_in_one_go_are_each_one(names, pictures, name):
    kinds = ["", "+mean", "@layer1", "@layer2+tokens", "@layer2", "@layer3", "@0.5"]
    kinds += ["+cls", "@layer2+cls"] if name in ("clip-vit", "timm-registers") else []
    kinds += {"clip-vit": ["@module=transformer.resblocks.0.mlp"]}.get(name, [])
    configs = [encoder(names[name] + kind) for kind in kinds]
    loaded = configs[0].load()
    loaded.tower.eval()
    images = torch.stack([loaded.transform(p) for p in pictures])
    with torch.inference_mode():
        found = Reader(configs, loaded)(images)
    for kind, one in zip(kinds, found, strict=True):
        np.testing.assert_allclose(one, run(names[name] + kind, pictures), atol=1e-5, err_msg=kind)


@pytest.mark.parametrize(
    ("name", "place", "says"),
    [
        ("vit", "@module=transformer.resblocks.1.mpl", "mean 'transformer.resblocks.1.mlp'"),
        ("resnet", "@module=attnpool+tokens", "one vector per picture"),
        ("vit", "@layer4", "from 1 to 3"),
    ],
)
def test_places_that_are_not_there(names, name, place, says):
    with pytest.raises(NeurovisError, match=says) as error:
        encoder(names[f"clip-{name}"] + place).build()
    assert "\n" not in str(error.value)


def test_a_part_that_gives_a_vector_is_the_vector(names, pictures):
    said, _ = hooked(names["clip-resnet"], "attnpool", pictures)
    np.testing.assert_array_equal(run(f"{names['clip-resnet']}@module=attnpool", pictures), said)


def test_the_place_is_part_of_the_identity_and_older_ones_stay(names):
    plain, part = encoder(names["clip-vit"]), encoder(names["clip-vit"] + "@module=ln_pre")
    assert "module" not in plain.identity("w")
    assert part.identity("w") == plain.identity("w") | {"module": "ln_pre"}
    assert "ln_pre" in part.label
    with pytest.raises(UsageError, match="depth and module"):
        encoder({"name": "timm", "model": "x", "depth": 0.5, "module": "y"})
