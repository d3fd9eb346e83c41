"""Kandinsky 2.2's decoder: a diffusion model that is told an image embedding and nothing else.

Comes in: CLIP ViT-bigG/14 embeddings (1,280 dims), optionally rough pictures. Goes out: pictures of
512 pixels. The opposite that guidance pushes away from is the embedding of a blank picture, as the
image encoder of its prior makes it.

Reference: Razzhigaev et al. 2023, arXiv 2310.03502.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pydantic

from neurovis.device import choose_device
from neurovis.errors import NeurovisError
from neurovis.generate.base import Painter
from neurovis.generate.published import Started, Weights
from neurovis.images.base import ImageEncoder
from neurovis.images.clip_vision import ClipVision
from neurovis.images.snapshots import hash_files


class Kandinsky(Started, name="kandinsky"):
    """Kandinsky 2.2 decoder: a CLIP ViT-bigG/14 embedding in, no words.

    Preset ``kandinsky22`` has the settings that diffusers has for it.

    Parameters
    ----------
    prior : str
        A folder, or ``ORG/REPO``, with the image encoder of the prior.
    """

    takes: ClassVar[str] = "open_clip:ViT-bigG-14/laion2b_s39b_b160k"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "kandinsky22": {
            "source": "kandinsky-community/kandinsky-2-2-decoder", "n_steps": 100, "guidance": 4.0,
            "strength": 0.3, "size": 512, "prior": "kandinsky-community/kandinsky-2-2-prior",
        },
    }  # fmt: skip
    unverified: ClassVar[dict[str, str]] = {
        "kandinsky22": "no paper's: 100 steps, guidance 4 and strength .3 are those of diffusers"
    }
    parts: ClassVar[tuple[str, ...]] = ("unet", "movq")
    autoencoder: ClassVar[str] = "movq"
    reads_text: ClassVar[bool] = False

    prior: str = pydantic.Field("", min_length=1)

    def needs(self) -> tuple[Weights, ...]:
        ours = tuple(self.presets[self.preset][key] for key in ("source", "prior"))
        return (
            Weights(
                ours[0], {"unet": 1253, "movq": 68}, "Apache-2.0", 5.3, ("*.safetensors", "*.json")
            ),
            Weights(
                ours[1],
                {},
                "Apache-2.0",
                3.7,
                ("image_encoder/*.json", "image_encoder/*.safetensors"),
                "the image encoder embeds the blank picture, and chooses among candidates",
            ),
        )

    def image_encoder(self) -> ImageEncoder:
        return ClipVision(source=self.prior, device=self.device)

    def load(self) -> tuple[Any, str]:
        from diffusers import KandinskyV22Pipeline

        main, beside = self.needs()
        folder = self.folder(main, self.source)
        self.folder(beside, self.prior)
        pipe, used = self.pipeline(KandinskyV22Pipeline, folder, main)
        tower, weights = ClipVision(source=self.prior).model(
            self._dtype(choose_device(self.device))
        )
        self.tell_blank(pipe, tower.to(choose_device(self.device)))
        # the files of the pipeline, and those of the tower that made the opposite
        return pipe, hash_files(used)[:32] + weights[:32]

    def tell_blank(self, pipe: Any, tower: Any) -> None:
        """Keep with a pipeline what an image tower says of a blank picture."""
        import torch

        size = tower.config.image_size
        pixels = torch.zeros(1, 3, size, size, dtype=tower.dtype, device=tower.device)
        with torch.inference_mode():
            pipe.blank = tower(pixel_values=pixels).image_embeds.float().cpu()

    def painter(self, pipe: Any, weights: str = "") -> Painter:
        width, blank = self.width(pipe), pipe.blank.shape[1]
        if width != blank:
            raise NeurovisError(
                f"kandinsky.prior: expected an image encoder of {width} dims, as the decoder takes, found "
                f"{blank}; give the prior that belongs to the decoder."
            )
        return super().painter(pipe, weights)

    def width(self, pipe: Any) -> int:
        return pipe.unet.config.encoder_hid_dim

    def run(
        self, pipe: Any, vector: Any, low: Sequence[Any] | None, text: list[str], noise: list[Any]
    ) -> Any:
        from diffusers import KandinskyV22Img2ImgPipeline

        start: dict[str, Any] = {}
        if low is not None:
            pipe, blank = KandinskyV22Img2ImgPipeline(**pipe.components), pipe.blank
            pipe.set_progress_bar_config(disable=True)
            start = {"image": low, "strength": self.strength}
        else:
            blank = pipe.blank
        return pipe(
            image_embeds=vector,
            negative_image_embeds=blank.to(vector).expand_as(vector),
            num_inference_steps=self.n_steps,
            guidance_scale=self.guidance,
            height=self.size,
            width=self.size,
            generator=noise,
            output_type="np",
            **start,
        ).images
