"""The grammar of encoder names, and errors that say the nearest right one."""

from __future__ import annotations

import subprocess
import sys

import hypothesis.strategies as st
import pytest
from hypothesis import given

from neurovis.config import components, fingerprint
from neurovis.errors import NeurovisError
from neurovis.images import ImageEncoder, encoder
from neurovis.images.reading import block_at
from neurovis.images.weights import OFFLINE


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("open_clip:ViT-H-14/laion2b_s32b_b79k@0.35", {"model": "ViT-H-14", "depth": 0.35}),
        ("open_clip:ViT-H-14/laion2b_s32b_b79k", {"weights": "laion2b_s32b_b79k", "depth": 1.0}),
        ("open_clip:ViT-B-32//a/b+c/w.safetensors@layer12", {"weights": "/a/b+c/w.safetensors"}),
        ("open_clip:ViT-B-32/rel/w.pt+224px", {"weights": "rel/w.pt", "image_size": 224}),
        ("open_clip:local-dir:/a/b@0.5", {"model": "local-dir:/a/b", "weights": "", "depth": 0.5}),
        ("timm:vit_base_patch14_dinov2.lvd142m@0.66+tokens", {"pool": "tokens", "depth": 0.66}),
        ("timm:resnet50.a1_in1k@layer3+mean", {"layer": 3, "pool": "mean", "depth": 1.0}),
        ("timm:hf-hub:org/repo+cls", {"model": "hf-hub:org/repo", "pool": "cls"}),
        ("timm:resnet50.a1_in1k@module=layer3.5+mean", {"module": "layer3.5", "pool": "mean"}),
        ("open_clip_text:ViT-B-32/openai", {"template": "This picture is {concept}"}),
        ("open_clip_text:ViT-B-32/openai+caption", {"template": "{caption}", "weights": "openai"}),
    ],
)
def test_networks(name, expected):
    config = encoder(name)
    assert {key: getattr(config, key) for key in expected} == expected


def test_features_and_sums():
    assert encoder("hog").component == "hog"
    assert [p.component for p in encoder("hog+gabor+color").parts] == ["hog", "gabor", "color"]
    assert encoder(encoder("hog")) == encoder({"name": "hog"})
    assert encoder("color+gabor") != encoder("gabor+color")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hgo", "did you mean 'hog'"),
        ("hog+bog", "did you mean 'hog'"),
        ("opne_clip:x/y", "did you mean 'open_clip'"),
        ("timm", "timm:MODEL"),
        ("timm:", "no model"),
        ("open_clip:ViT-B-32", "no weights"),
        ("timm:x@2", r"relative depth in \(0, 1\]"),
        ("timm:x@0", r"relative depth in \(0, 1\]"),
        ("timm:x@layer0", r"relative depth in \(0, 1\]"),
        ("timm:x@", r"relative depth in \(0, 1\]"),
        ("timm:x+token", "did you mean 'tokens'"),
        ("timm:x+tokens+mean", "contradicts"),
        ("hog+hog", "different features"),
        ("classical+hog", "different features"),
        ("hog+timm:x", "only features without weights"),
        ("", "unknown"),
        ("timm:x@module=", "module=layer3.5"),
        ("open_clip_text:ViT-B-32", "no weights"),
        ("open_clip_text:ViT-B-32/openai@0.5", "nothing behind a text tower"),
        ("{name: viewed, encoder: hgo}", "did you mean 'hog'"),
        ("{name: viewed, encoder: hog, view: blurr}", "did you mean 'blur'"),
        ("{name: viewed, encoder: category}", "looks at no picture"),
        ("{name: viewed", "expected a mapping in YAML"),
    ],
)
def test_errors(name, says):
    with pytest.raises(NeurovisError, match=says) as error:
        encoder(name)
    assert "\n" not in str(error.value)


def test_what_works_offline_for_any_picture_needs_no_weights():
    for name in OFFLINE:
        encoder(name).build()
    world = {
        "world_clip",
        "world_clip_kinds",
        "world_clip_text",
        "world_dino",
        "world_vae",
    }
    networks = {"open_clip", "open_clip_text", "timm", "torchvision", "clip_vision", "sentence"}
    assert set(OFFLINE) == set(components(ImageEncoder)) - world - networks - {
        "category", "viewed", "beside"
    }  # fmt: skip


@given(st.floats(0.01, 1), st.integers(1, 60))
def test_depth_is_monotone_and_reaches_the_ends(depth, n_layers):
    assert 1 <= block_at(depth, n_layers) <= n_layers
    assert block_at(1, n_layers) == n_layers
    assert block_at(depth / 2, n_layers) <= block_at(depth, n_layers)


def test_depth_of_the_paper():
    assert block_at(0.355, 32) == 12


def test_device_is_no_part_of_the_identity():
    here, there = encoder("timm:x"), encoder({"name": "timm", "model": "x", "device": "cuda"})
    assert fingerprint(here) == fingerprint(there)
    assert here.identity("w") == there.identity("w")
    assert here.identity("w") != here.identity("v")


def test_paths_of_weights_do_not_enter_the_identity():
    one, two = (encoder(f"timm:x//{folder}/w.safetensors") for folder in ("a", "b"))
    assert one.identity("w") == two.identity("w")
    assert "/" not in str(one.identity("w"))


def test_import_is_light():
    code = (
        "import sys, neurovis.images as i; i.encoder('classical'); "
        "print({'torch', 'scipy', 'skimage', 'timm', 'open_clip', 'PIL', 'h5py'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
