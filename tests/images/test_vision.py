"""torchvision's networks with random weights, read as published metrics read them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import Normalize, Resize

from neurovis.errors import NeurovisError
from neurovis.generate.measures import PRESETS, measures
from neurovis.images import encoder
from neurovis.resize import bilinear

SWAV = "swav_800ep_pretrain.pth.tar"


def small(state: dict) -> dict:
    """A state whose large classifiers take no room: one number, repeated."""
    return {
        k: torch.zeros(1, dtype=v.dtype).expand(v.shape) if v.numel() > 2**22 else v
        for k, v in state.items()
    }


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """torch's cache of downloads with random weights under the published names."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "checkpoints").mkdir()
    torch.manual_seed(0)
    options = {"inception_v3": {"init_weights": False}}
    for name, file in (
        ("alexnet", "alexnet-owt-7be5be79.pth"),
        ("inception_v3", "inception_v3_google-0cc3c7bd.pth"),
        ("efficientnet_b1", "efficientnet_b1-c27df63c.pth"),
        ("resnet50", SWAV),
    ):
        state = models.get_model(name, weights=None, **options.get(name, {})).state_dict()
        if file == SWAV:
            state = {f"module.{k}": v for k, v in state.items() if not k.startswith("fc.")}
            state["module.prototypes.weight"] = torch.zeros(3, 3)
        torch.save(small(state), folder / "checkpoints" / file)
    return folder


@pytest.fixture
def cached(hub, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(hub))
    return hub / "checkpoints"


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 90, 90, 3), dtype=np.uint8)


# where the code behind arXiv 2403.11207 reads each network, and at which size
PUBLISHED = {
    "alexnet2": ("alexnet", "features.4", 256, 192 * 31 * 31),
    "alexnet5": ("alexnet", "features.11", 256, 256 * 15 * 15),
    "inception": ("inception_v3", "avgpool", 342, 2048),
    "efficientnet": ("efficientnet_b1", "avgpool", 255, 1280),
    "swav": ("resnet50", "avgpool", 224, 2048),
}


def test_the_published_set_names_these_networks():
    chosen = measures("published")
    assert set(chosen.features) == {*PUBLISHED, "clip"} == set(PRESETS["published"]["features"])
    clip = chosen.features["clip"].encoder
    assert (clip.model, clip.weights, clip.resize, clip.last) == (
        "ViT-L-14", "openai", "bilinear", True
    )  # fmt: skip
    named = {n: [m.component for m in f.metrics] for n, f in chosen.features.items()}
    assert {n for n, m in named.items() if m == ["correlation_distance"]} == {
        "efficientnet", "swav"
    }  # fmt: skip
    assert all("two_way" in named[n] for n in ("alexnet2", "alexnet5", "inception", "clip"))
    levels = {n: f.level for n, f in chosen.features.items()}
    assert {n for n, level in levels.items() if level == "low"} == {"alexnet2", "alexnet5"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_features_equal_those_that_torchvision_extracts(name, cached, pictures):
    model, node, size, width = PUBLISHED[name]
    found = measures("published").features[name].encoder.build()
    ours = found.embed(np.stack([found.prepare(Image.fromarray(p)) for p in pictures]))
    ours = ours.reshape(2, -1)
    assert ours.shape == (2, width)

    options = {"inception_v3": {"init_weights": False, "transform_input": True}}
    network = models.get_model(model, weights=None, **options.get(model, {}))
    file = next(cached.glob("swav*" if name == "swav" else f"{model.split('_v3')[0]}*"))
    state = torch.load(file, weights_only=True)
    state = {k.removeprefix("module."): v for k, v in state.items()}
    network.load_state_dict(state, strict=False)
    extractor = create_feature_extractor(
        network.eval(), return_nodes=[node], suppress_diff_warning=True
    )
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    for side in dict.fromkeys((256, size)):
        x = Resize((side, side), antialias=False)(x)
    x = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])(x)
    with torch.inference_mode():
        theirs = extractor(x)[node].flatten(1).numpy()
    if name.startswith("alexnet"):
        assert (theirs >= 0).all()  # after the ReLU
        side = {"alexnet2": 31, "alexnet5": 15}[name]  # tokens: places first, then channels
        theirs = theirs.reshape(2, -1, side * side).transpose(0, 2, 1).reshape(2, -1)
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())
    assert found.weights


def test_own_transform_and_output_are_those_of_the_published_weights(cached, pictures):
    built = encoder("torchvision:alexnet/IMAGENET1K_V1").build()
    one = built.prepare(Image.fromarray(pictures[0]))
    expected = models.AlexNet_Weights.IMAGENET1K_V1.transforms()(Image.fromarray(pictures[0]))
    np.testing.assert_array_equal(one, expected.numpy())
    assert built.embed(one[None]).shape == (1, 256 * 6 * 6)
    small = encoder("torchvision:alexnet/IMAGENET1K_V1+112px").build()
    assert small.prepare(Image.fromarray(pictures[0])).shape == (3, 112, 112)


def test_bilinear_squeezes_for_every_kind_of_network(tmp_path, pictures):
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    name = f"timm:test_vit/{tmp_path / 'vit.safetensors'}"
    plain, squeezed = encoder(name), encoder(f"{name}+bilinear")
    assert squeezed.label == f"{plain.label}-bilinear"
    assert squeezed.identity("x") == {**plain.identity("x"), "resize": "bilinear"}
    built = squeezed.build()
    wide = Image.fromarray(pictures[0]).resize((120, 60))
    one = built.prepare(wide)
    assert one.shape == plain.build().prepare(wide).shape  # and no side was cut off
    about = timm.data.resolve_model_data_config(timm.create_model("test_vit"))
    expected = bilinear(np.asarray(wide)[None], 256, about["input_size"][-1])[0]
    expected = (expected - about["mean"]) / about["std"]
    np.testing.assert_allclose(one, expected.transpose(2, 0, 1), atol=1e-6)
    assert np.isfinite(built.embed(one[None])).all()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("torchvision:alexnt/IMAGENET1K_V1", "did you mean 'alexnet'"),
        ("torchvision:alexnet/IMAGENET1K_V3", "did you mean 'IMAGENET1K_V1'"),
        ("torchvision:resnet50/swaw", "did you mean 'swav'"),
        ("torchvision:alexnet", "found no weights"),
        ("torchvision:alexnet/IMAGENET1K_V1@0.5", "expected a network that gives its blocks"),
        ("torchvision:alexnet/IMAGENET1K_V1@module=features.44", "did you mean 'features.4'"),
        ("torchvision:alexnet/nowhere.safetensors", "no such weights file"),
        ("torchvision:alexnet/IMAGENET1K_V1+bilinea", "did you mean 'bilinear'"),
    ],
)
def test_errors_are_one_sentence(cached, name, says):
    with pytest.raises(NeurovisError, match=says) as error:
        encoder(name).build()
    assert "\n" not in str(error.value)


def test_weights_that_are_not_there_are_named_with_their_address(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(NeurovisError, match=f"expected {SWAV}.*no route.*fetch https://.*{SWAV}"):
        encoder("torchvision:resnet50/swav").build()
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "part.pt")
    with pytest.raises(NeurovisError, match="expected plain weights of resnet50"):
        encoder(f"torchvision:resnet50/{tmp_path / 'part.pt'}").build()
