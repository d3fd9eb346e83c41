"""Every required package is there and fits the others: one pass forward through each that has models."""

from __future__ import annotations

import configparser
import importlib
import re

import pytest
import torch
from conftest import ROOT

from neurovis import listing

MODULE = {
    "open_clip_torch": "open_clip",
    "mne-bids": "mne_bids",
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "pillow": "PIL",
    "pyyaml": "yaml",
}


def required() -> list[str]:
    """Names of the packages that setup.cfg asks for."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    return [re.split(r"[<>=!~\[;]", line)[0].strip() for line in lines]


@pytest.mark.parametrize("package", required())
def test_what_is_required_imports(package):
    assert importlib.import_module(MODULE.get(package, package)).__name__


def test_the_doctor_checks_what_is_required():
    assert set(listing.REQUIRED) == set(required())


def test_braindecode_runs():
    from braindecode.models import ShallowFBCSPNet

    model = ShallowFBCSPNet(n_chans=4, n_outputs=3, n_times=200, sfreq=100)
    assert model.eval()(torch.randn(2, 4, 200)).shape == (2, 3)


def test_open_clip_runs():
    from open_clip.model import CLIP

    model = CLIP(
        embed_dim=8,
        vision_cfg={"layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 16},
        text_cfg={"context_length": 5, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1},
    ).eval()
    with torch.inference_mode():
        assert model.encode_image(torch.randn(2, 3, 16, 16)).shape == (2, 8)
        assert model.encode_text(torch.randint(0, 20, (2, 5))).shape == (2, 8)


def test_timm_runs():
    import timm

    options = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, **options)
    with torch.inference_mode():
        assert model.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 16)


def test_diffusers_runs():
    from diffusers import AutoencoderKL, UNet2DModel

    unet = UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ).eval()
    codec = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=2).eval()
    with torch.inference_mode():
        assert unet(torch.randn(1, 3, 8, 8), 5).sample.shape == (1, 3, 8, 8)
        latent = codec.encode(torch.randn(1, 3, 8, 8)).latent_dist.mode()
        assert codec.decode(latent).sample.shape == (1, 3, 8, 8)
