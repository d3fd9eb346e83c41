"""Stable Diffusion XL, or its turbo, told what to paint by an image embedding through IP-Adapter.

Comes in: CLIP ViT-H/14 embeddings (1,024 dims), optionally words and rough pictures. Goes out: pictures.
The way of Li et al. 2024: the decoded embedding goes where a picture's would.

References: SDXL, arXiv 2307.01952; turbo, arXiv 2311.17042; IP-Adapter, arXiv 2308.06721; its use on
EEG, arXiv 2403.07721.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pydantic

from neurovis.errors import UsageError
from neurovis.generate.published import Started, Weights
from neurovis.images.base import ImageEncoder
from neurovis.images.clip_vision import ClipVision
from neurovis.images.snapshots import check, download, hash_files, quiet, unfit
from neurovis.images.weights import load_errors

ADAPTER = "sdxl_models/ip-adapter_sdxl_vit-h.safetensors"
ENCODER = "models/image_encoder"
PIPELINE = {"unet": 2567, "text_encoder": 123, "text_encoder_2": 695, "vae": 84}


class SdxlIpAdapter(Started, name="sdxl_ip_adapter"):
    """Stable Diffusion XL or its turbo with IP-Adapter: a CLIP ViT-H/14 embedding in.

    Presets: ``atm2024`` is Li et al.'s (turbo, 4 steps, no guidance, adapter at full strength, and from
    a rough picture half of the steps); ``sdxl`` is the base model at its own size, with the settings
    that diffusers has for it.

    Parameters
    ----------
    scale : float
        Of the adapter: 0 paints from words alone.
    adapter : str
        A folder, or ``ORG/REPO``, with the files of h94/IP-Adapter that belong to ViT-H.
    """

    takes: ClassVar[str] = "open_clip:ViT-H-14/laion2b_s32b_b79k"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "atm2024": {
            "source": "stabilityai/sdxl-turbo", "n_steps": 4, "guidance": 0.0, "strength": 0.5,
            "size": 512, "scale": 1.0, "adapter": "h94/IP-Adapter",
        },
        "sdxl": {
            "source": "stabilityai/stable-diffusion-xl-base-1.0", "n_steps": 50, "guidance": 5.0,
            "strength": 0.5, "size": 1024, "scale": 1.0, "adapter": "h94/IP-Adapter",
        },
    }  # fmt: skip
    unverified: ClassVar[dict[str, str]] = {
        "atm2024": "512 pixels, and no words beside the embedding",
        "sdxl": "no paper's: 50 steps and guidance 5 are those of diffusers",
    }
    parts: ClassVar[tuple[str, ...]] = tuple(PIPELINE)

    scale: float = pydantic.Field(1.0, ge=0, le=2)
    adapter: str = pydantic.Field("", min_length=1)

    @pydantic.model_validator(mode="after")
    def _keep_adapter(self) -> SdxlIpAdapter:
        if self.attention_slicing:
            raise UsageError(
                "sdxl_ip_adapter.attention_slicing: would put the adapter's attention out of work; use "
                "offload=model or a smaller batch_size."
            )
        return self

    def needs(self) -> tuple[Weights, ...]:
        turbo = self.preset == "atm2024"
        half = ("*.fp16.safetensors", "*.json", "*.txt")
        ours = tuple(self.presets[self.preset][key] for key in ("source", "adapter"))
        return (
            Weights(
                ours[0],
                PIPELINE,
                "sai-nc-community (Stability AI, non-commercial)"
                if turbo
                else "CreativeML Open RAIL++-M",
                6.9,
                half,
            ),
            Weights(
                ours[1],
                {"unet": 349},
                "Apache-2.0",
                3.2,
                (ADAPTER, f"{ENCODER}/config.json", f"{ENCODER}/model.safetensors"),
                "the image encoder (2.5 GB) only chooses among candidates",
            ),
        )

    def lower(self) -> list[str]:
        return [text for text in super().lower() if "attention" not in text]

    def image_encoder(self) -> ImageEncoder:
        return ClipVision(source=self.adapter, folder=ENCODER, device=self.device)

    def load(self) -> tuple[Any, str]:
        from diffusers import StableDiffusionXLPipeline

        main, beside = self.needs()
        folder = self.folder(main, self.source)
        extra = self.folder(beside, self.adapter)
        get = "" if Path(self.adapter).expanduser().is_dir() else download(self.adapter, [ADAPTER])
        (file,) = check(self.component, extra, ADAPTER, get)
        pipe, used = self.pipeline(StableDiffusionXLPipeline, folder, main)
        self.adapt(pipe, extra)
        return pipe, hash_files([*used, ("adapter", file)])

    def adapt(self, pipe: Any, folder: Path) -> None:
        """Put the adapter into a pipeline."""
        root, _, name = ADAPTER.rpartition("/")
        try:
            with quiet():
                pipe.load_ip_adapter(
                    str(folder), root, name, image_encoder_folder=None, local_files_only=True
                )
        except load_errors() as error:
            raise unfit(self.component, folder / ADAPTER, error) from error

    def width(self, pipe: Any) -> int:
        (layer,) = pipe.unet.encoder_hid_proj.image_projection_layers
        return layer.image_embeds.in_features

    def run(
        self, pipe: Any, vector: Any, low: Sequence[Any] | None, text: list[str], noise: list[Any]
    ) -> Any:
        import torch

        pipe.set_ip_adapter_scale(self.scale)
        embedding = vector[:, None]
        if self.guidance > 1:  # without a picture: zeros, as IP-Adapter was trained
            embedding = torch.cat([torch.zeros_like(embedding), embedding])
        start = {"height": self.size, "width": self.size}
        if low is not None:
            start = {"image": low, "strength": self.strength}
        return rowwise(pipe, low is not None)(
            prompt=text,
            ip_adapter_image_embeds=[embedding],
            num_inference_steps=self.n_steps,
            guidance_scale=self.guidance,
            generator=noise,
            output_type="np",
            **start,
        ).images


def rowwise(pipe: Any, from_pictures: bool) -> Any:
    """The parts of a pipeline as one that takes an embedding per row.

    Those of diffusers repeat all embeddings for every prompt, as they are meant for one embedding; a
    batch of different ones is refused somewhere inside.

    Parameters
    ----------
    pipe : StableDiffusionXLPipeline
    from_pictures : bool
        Start from pictures instead of noise.
    """
    import diffusers

    kind = diffusers.StableDiffusionXLPipeline
    if from_pictures:
        kind = diffusers.StableDiffusionXLImg2ImgPipeline

    class Rowwise(kind):
        def prepare_ip_adapter_image_embeds(self, image, embeds, device, n, guided):
            return super().prepare_ip_adapter_image_embeds(image, embeds, device, 1, guided)

    blank = pipe.config.force_zeros_for_empty_prompt
    made = Rowwise(**pipe.components, force_zeros_for_empty_prompt=blank, add_watermarker=False)
    made.set_progress_bar_config(disable=True)
    return made
