"""Stable unCLIP 2.1: Stable Diffusion 2.1 that was tuned to paint what an image embedding says.

Comes in: CLIP ViT-H/14 embeddings (1,024 dims), optionally words. Goes out: pictures of 768 pixels.

References: unCLIP, arXiv 2204.06125; latent diffusion, arXiv 2112.10752.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pydantic

from neurovis.generate.published import Published, Weights
from neurovis.images.snapshots import hash_files

PIPELINE = {"unet": 870, "text_encoder": 340, "image_encoder": 632, "vae": 84}


class UnClip(Published, name="unclip"):
    """Stable unCLIP 2.1: a CLIP ViT-H/14 embedding in.

    Preset ``stable_unclip`` has the settings that diffusers has for it. Its owners took the weights
    from the hub in November 2025; the source is a mirror of others.

    Parameters
    ----------
    noise_level : int
        Noise added to the embedding, in steps of 1,000: higher gives more varied pictures.
    """

    takes: ClassVar[str] = "open_clip:ViT-H-14/laion2b_s32b_b79k"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "stable_unclip": {
            "source": "sd2-community/stable-diffusion-2-1-unclip", "n_steps": 20, "guidance": 10.0,
            "size": 768, "noise_level": 0,
        },
    }  # fmt: skip
    unverified: ClassVar[dict[str, str]] = {
        "stable_unclip": "no paper's: 20 steps, guidance 10 and noise 0 are those of diffusers"
    }
    parts: ClassVar[tuple[str, ...]] = (
        "unet",
        "text_encoder",
        "image_encoder",
        "image_normalizer",
        "vae",
    )

    noise_level: int = pydantic.Field(0, ge=0, lt=1000)

    def needs(self) -> tuple[Weights, ...]:
        source = self.presets[self.preset]["source"]
        patterns = ("*/*.fp16.safetensors", "image_normalizer/*", "*.json", "*.txt")
        return (Weights(source, PIPELINE, "CreativeML Open RAIL++-M", 3.9, patterns, "a mirror"),)

    def load(self) -> tuple[Any, str]:
        from diffusers import StableUnCLIPImg2ImgPipeline

        (main,) = self.needs()
        folder = self.folder(main, self.source)
        pipe, used = self.pipeline(StableUnCLIPImg2ImgPipeline, folder, main)
        return pipe, hash_files(used)

    def width(self, pipe: Any) -> int:
        return pipe.image_normalizer.config.embedding_dim

    def run(
        self, pipe: Any, vector: Any, low: Sequence[Any] | None, text: list[str], noise: list[Any]
    ) -> Any:
        return pipe(
            prompt=text,
            image_embeds=vector,
            noise_level=self.noise_level,
            num_inference_steps=self.n_steps,
            guidance_scale=self.guidance,
            height=self.size,
            width=self.size,
            generator=noise,
            output_type="np",
        ).images
