"""Pictures per second of the published generators, at full size with random weights.

Random weights cost what trained ones do, and need no download: each pipeline is built with the classes
and sizes of the published one, in the precision that it runs in. A row is one back end under one memory
preset: weights, highest memory and pictures per second of a batch after a first one that is not timed.
Without a GPU only ``--small`` makes sense: the same classes, a few channels wide.

    python -m experiments.benchmarks.generation --n 64 --memory 16gb 80gb
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurovis.config import resolve
from neurovis.errors import NeurovisError
from neurovis.generate.base import Cue, Generator
from neurovis.generate.published import MEMORY
from neurovis.generate.sdxl_ip_adapter import ADAPTER, ENCODER
from neurovis.generate.versatile_diffusion import pipeline_of
from neurovis.images.snapshots import need_packages
from neurovis.store import save_tensors

NAMES = ("sdxl_ip_adapter", "unclip", "kandinsky", "versatile_diffusion")

# sizes as published; those of the small ones keep every kind of block
TEXT = {
    "L": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
          "projection_dim": 768, "hidden_act": "quick_gelu"},
    "H": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
          "projection_dim": 512, "hidden_act": "gelu"},
    "bigG": {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
             "num_attention_heads": 20, "projection_dim": 1280, "hidden_act": "gelu"},
}  # fmt: skip
VISION = {
    "L": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
          "patch_size": 14, "projection_dim": 768, "hidden_act": "quick_gelu"},
    "H": {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
          "patch_size": 14, "projection_dim": 1024, "hidden_act": "gelu"},
    "bigG": {"hidden_size": 1664, "intermediate_size": 8192, "num_hidden_layers": 48,
             "num_attention_heads": 16, "patch_size": 14, "projection_dim": 1280, "hidden_act": "gelu"},
}  # fmt: skip
SMALL_DIM = 8
SMALL_TEXT = {"hidden_size": SMALL_DIM, "intermediate_size": 16, "num_hidden_layers": 2,
              "num_attention_heads": 2, "projection_dim": SMALL_DIM}  # fmt: skip
SMALL_VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "patch_size": 8,
                "num_attention_heads": 2, "projection_dim": SMALL_DIM, "image_size": 16}  # fmt: skip


def text_tower(kind: str, small: bool, projected: bool) -> Any:
    """A CLIP text tower of transformers."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    cls = CLIPTextModelWithProjection if projected else CLIPTextModel
    sizes = SMALL_TEXT | {"vocab_size": 600} if small else TEXT[kind]
    return cls(CLIPTextConfig(**sizes, bos_token_id=0, eos_token_id=1, pad_token_id=1))


def image_tower(kind: str, small: bool) -> Any:
    """A CLIP image tower of transformers."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(**(SMALL_VISION if small else VISION[kind]))
    )


def tokenizer() -> Any:
    """CLIP's tokenizer with a vocabulary of single letters."""
    from transformers import CLIPTokenizer

    letters = [chr(i) for i in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def processor() -> Any:
    """CLIP's transform of pictures."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor()


def autoencoder(small: bool, **options: Any) -> Any:
    """The autoencoder of Stable Diffusion."""
    from diffusers import AutoencoderKL

    width = (8, 8, 8, 8) if small else (128, 256, 512, 512)
    groups = {"norm_num_groups": 4} if small else {}
    return AutoencoderKL(
        block_out_channels=width,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1 if small else 2,
        latent_channels=4,
        sample_size=32 if small else 512,
        **options | groups,
    )


def schedule(kind: str, **options: Any) -> Any:
    """A scheduler with the noise of Stable Diffusion."""
    import diffusers

    with made_as(torch.device("cpu"), torch.float32):
        return getattr(diffusers, kind)(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **options
        )


def unet(small: bool, width: tuple[int, ...], **options: Any) -> Any:
    """A UNet of diffusers."""
    from diffusers import UNet2DConditionModel

    if small:
        options |= {"norm_num_groups": 4}
        width = (8, 16, 16, 16)[: len(width)]
    return UNet2DConditionModel(block_out_channels=width, **options)


def sdxl(small: bool) -> Any:
    """Stable Diffusion XL, without its adapter."""
    from diffusers import StableDiffusionXLPipeline

    dim, ids = (2 * SMALL_DIM, 4) if small else (2048, 256)
    pooled = SMALL_DIM if small else 1280
    net = unet(
        small,
        (320, 640, 1280),
        addition_embed_type="text_time",
        addition_time_embed_dim=ids,
        projection_class_embeddings_input_dim=pooled + 6 * ids,
        attention_head_dim=(1, 2, 2) if small else (5, 10, 20),
        transformer_layers_per_block=(1, 1, 2) if small else (1, 2, 10),
        layers_per_block=1 if small else 2,
        cross_attention_dim=dim,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        use_linear_projection=True,
        sample_size=4 if small else 64,
    )
    return StableDiffusionXLPipeline(
        vae=autoencoder(small, scaling_factor=0.13025, force_upcast=True),
        text_encoder=text_tower("L", small, projected=False),
        text_encoder_2=text_tower("bigG", small, projected=True),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=net,
        scheduler=schedule("EulerAncestralDiscreteScheduler", timestep_spacing="trailing"),
        add_watermarker=False,
    )


def adapter(net: Any, dim: int) -> dict[str, Any]:
    """Random weights of an IP-Adapter for a UNet, named as in h94/IP-Adapter."""
    cross = net.config.cross_attention_dim
    random = lambda *shape: torch.randn(*shape) / shape[-1] ** 0.5  # noqa: E731
    out = {
        "image_proj.proj.weight": random(4 * cross, dim),
        "image_proj.proj.bias": random(4 * cross),
        "image_proj.norm.weight": torch.ones(cross),
        "image_proj.norm.bias": torch.zeros(cross),
    }
    number = 1
    for name, module in net.named_modules():
        if name.endswith("attn2"):
            for part in ("to_k_ip", "to_v_ip"):
                out[f"ip_adapter.{number}.{part}.weight"] = random(module.inner_dim, cross)
            number += 2
    return out


def unclip(small: bool) -> Any:
    """Stable unCLIP 2.1."""
    from diffusers import StableUnCLIPImg2ImgPipeline
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer

    dim, words = (SMALL_DIM, SMALL_DIM) if small else (1024, 1024)
    net = unet(
        small,
        (320, 640, 1280, 1280),
        class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * dim,
        attention_head_dim=(2, 2, 2, 2) if small else (5, 10, 20, 20),
        layers_per_block=1 if small else 2,
        cross_attention_dim=words,
        use_linear_projection=True,
        sample_size=4 if small else 96,
    )
    return StableUnCLIPImg2ImgPipeline(
        feature_extractor=processor(),
        image_encoder=image_tower("H", small),
        image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=dim),
        image_noising_scheduler=schedule("DDPMScheduler"),
        tokenizer=tokenizer(),
        text_encoder=text_tower("H", small, projected=False),
        unet=net,
        scheduler=schedule("DDIMScheduler", prediction_type="v_prediction", clip_sample=False),
        vae=autoencoder(small, scaling_factor=0.18215),
    )


def kandinsky(small: bool) -> Any:
    """Kandinsky 2.2's decoder."""
    from diffusers import KandinskyV22Pipeline, VQModel

    simple = ("SimpleCrossAttnDownBlock2D",) * 3, ("SimpleCrossAttnUpBlock2D",) * 3
    net = unet(
        small,
        (384, 768, 1152, 1536),
        addition_embed_type="image",
        encoder_hid_dim=SMALL_DIM if small else 1280,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=SMALL_DIM if small else 768,
        attention_head_dim=4 if small else 64,
        layers_per_block=1 if small else 3,
        down_block_types=("ResnetDownsampleBlock2D", *simple[0]),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=(*simple[1], "ResnetUpsampleBlock2D"),
        resnet_time_scale_shift="scale_shift",
        in_channels=4,
        out_channels=8,
        sample_size=8 if small else 64,
    )
    movq = VQModel(
        # its norm has 32 groups whatever is asked for
        block_out_channels=(32, 32, 32, 32) if small else (128, 256, 256, 512),
        down_block_types=(*("DownEncoderBlock2D",) * 3, "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", *("UpDecoderBlock2D",) * 3),
        latent_channels=4,
        layers_per_block=1 if small else 2,
        norm_type="spatial",
        num_vq_embeddings=16 if small else 16384,
        vq_embed_dim=4,
    )
    noise = schedule("DDPMScheduler", clip_sample_range=2.0, variance_type="learned_range")
    return KandinskyV22Pipeline(unet=net, scheduler=noise, movq=movq)


def versatile_diffusion(small: bool) -> Any:
    """Versatile Diffusion as its weights are published: an image branch and a text branch."""
    from diffusers import VersatileDiffusionPipeline
    from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import (
        UNetFlatConditionModel,
    )

    width = (8, 16, 16, 16) if small else (320, 640, 1280, 1280)
    shared = {
        "attention_head_dim": 2 if small else 8,
        "layers_per_block": 1 if small else 2,
        "cross_attention_dim": SMALL_DIM if small else 768,
    }
    # the text branch is as wide as its own latents, of which nothing is used here
    flat = (SMALL_DIM, 1, 1) if small else (768, 1, 1)
    groups = {"norm_num_groups": 4} if small else {}
    return VersatileDiffusionPipeline(
        tokenizer=tokenizer(),
        image_feature_extractor=processor(),
        text_encoder=text_tower("L", small, projected=True),
        image_encoder=image_tower("L", small),
        image_unet=unet(small, width, sample_size=4 if small else 64, **shared),
        text_unet=UNetFlatConditionModel(
            block_out_channels=width, in_channels=flat, out_channels=flat, **shared, **groups
        ),
        vae=autoencoder(small, scaling_factor=0.18215),
        scheduler=schedule("DDIMScheduler", clip_sample=False, set_alpha_to_one=False),
    )


MAKE = {"sdxl_ip_adapter": sdxl, "unclip": unclip, "kandinsky": kandinsky,
        "versatile_diffusion": versatile_diffusion}  # fmt: skip


def save_small(name: str, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Write a small back end as its repositories are laid out; give the options that load it.

    Parameters
    ----------
    name : str
        Of the generator.
    folder : path
        New files go here.
    seed : int
        Of the weights.

    Returns
    -------
    dict
        A config of the generator, for `neurovis.config.resolve`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipe = MAKE[name](small=True)
        pipe.save_pretrained(folder / "pipeline")
        made = {"name": name, "source": str(folder / "pipeline"), "device": "cpu", "n_steps": 2}
        made |= {"size": 32} | ({} if name == "unclip" else {"strength": 0.5})
        if name == "sdxl_ip_adapter":
            save_tensors(folder / "beside" / ADAPTER, adapter(pipe.unet, SMALL_DIM))
            image_tower("H", small=True).save_pretrained(folder / "beside" / ENCODER)
            made["adapter"] = str(folder / "beside")
        if name == "kandinsky":
            image_tower("bigG", small=True).save_pretrained(folder / "beside" / "image_encoder")
            made |= {"prior": str(folder / "beside"), "size": 64}
    return made


@contextlib.contextmanager
def made_as(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Modules made inside are in this precision on this device."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def random_pipeline(name: str, config: Any, small: bool, device: torch.device) -> Any:
    """A pipeline with random weights, as a generator has it once loaded."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    with made_as(device, dtype):
        pipe = MAKE[name](small)
        if name == "sdxl_ip_adapter":
            dim = SMALL_DIM if small else 1024
            weights = adapter(pipe.unet, dim)
            parts = {
                kind: {k.partition(".")[2]: v for k, v in weights.items() if k.startswith(kind)}
                for kind in ("image_proj", "ip_adapter")
            }
            pipe.load_ip_adapter(parts, subfolder="", weight_name="", image_encoder_folder=None)
        if name == "kandinsky":
            config.tell_blank(pipe, image_tower("bigG", small))
        if name == "versatile_diffusion":
            pipe = pipeline_of(pipe.components)
    return pipe.to("cpu") if device.type == "cuda" else pipe


def measure(name: str, memory: str, n: int, small: bool, device: torch.device) -> str:
    """A row of the table."""
    options: dict[str, Any] = {"size": 64, "n_steps": 2} if small else {}
    if small and name != "unclip":
        options["strength"] = 0.5
    config = resolve(Generator, {"name": name, "memory": memory, "device": device.type, **options})
    pipe = random_pipeline(name, config, small, device)
    weights = sum(p.numel() for m in pipe.components.values() for p in _parameters(m))
    painter = config.painter(pipe)
    vector = np.random.default_rng(0).standard_normal((n, painter.width)).astype(np.float32)
    first = config.batch_size
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        painter.paint(Cue(vector[:first]), np.arange(min(n, first)))
        _wait(device)
        start = time.perf_counter()
        painter.paint(Cue(vector), np.arange(n))
        _wait(device)
        speed = f"{n / (time.perf_counter() - start):>10.2f}"
    except NeurovisError as error:
        speed = f"  {error}"
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")
    said = f"{name:<21}{memory:<8}{config.size:>6}{config.n_steps:>7}{config.batch_size:>7}"
    peak_text = f"{peak:>9.1f}" if np.isfinite(peak) else f"{'-':>9}"
    return f"{said}{weights / 1e9:>10.3f}{peak_text}{speed}"


def _parameters(module: Any) -> Any:
    return module.parameters() if isinstance(module, torch.nn.Module) else ()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Print a row per back end and memory preset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--memory", nargs="+", default=list(MEMORY), choices=MEMORY)
    parser.add_argument("--n", type=int, default=64, help="pictures")
    parser.add_argument("--small", action="store_true", help="a few channels wide, for a CPU")
    options = parser.parse_args()
    need_packages()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not options.small:
        raise SystemExit("no GPU here, and full size would take hours; use --small.")
    torch.manual_seed(0)
    print(f"{options.n} pictures, {device}, torch {torch.__version__}")
    print(
        f"{'back end':<21}{'memory':<8}{'pixels':>6}{'steps':>7}{'batch':>7}{'weights, G':>10}"
        f"{'peak, GB':>9}{'per second':>10}"
    )
    for name in options.only:
        for memory in options.memory:
            print(measure(name, memory, options.n, options.small, device), flush=True)


if __name__ == "__main__":
    main()
