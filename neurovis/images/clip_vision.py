"""The CLIP image tower that a diffusion pipeline carries with it, in the form of transformers.

Comes in: pictures. Goes out: the embedding that the pipeline is told of a picture, or the tokens that
Versatile Diffusion is told. The same weights under another name (``open_clip:ViT-H-14/...``) give the
same embeddings; this one needs no second copy of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.device import choose_device
from neurovis.images.base import Encoder, ImageEncoder
from neurovis.images.snapshots import check, download, find, hash_files, load, need_packages


class ClipVision(ImageEncoder, name="clip_vision"):
    """A CLIP image tower from a folder of transformers; nothing is downloaded.

    Parameters
    ----------
    source : str
        A folder, or ``ORG/REPO`` in the Hugging Face cache.
    folder : str
        The tower's folder in it.
    pool : {"embedding", "tokens"}
        The projected class token; or all tokens, projected after the final norm and divided by the
        length of the class token, as Versatile Diffusion takes them (arXiv 2211.08332).
    """

    source: str = pydantic.Field(min_length=1)
    folder: str = "image_encoder"
    pool: Literal["embedding", "tokens"] = "embedding"

    @property
    def label(self) -> str:
        return "-".join([self.component, Path(self.source).name, self.pool])

    def identity(self, weights: str) -> dict[str, Any]:
        identity = super().identity(weights)
        # the hash says which weights; where they lie is nobody's business
        return {k: v for k, v in identity.items() if k not in ("source", "folder")}

    def model(self, dtype: Any = None) -> tuple[Any, str]:
        """The tower on the CPU, and the SHA-256 of its weights."""
        need_packages()
        from transformers import CLIPVisionModelWithProjection

        what = f"clip_vision:{self.source}"
        get = "" if Path(self.source).expanduser().is_dir() else download(self.source)
        root = find(what, self.source, [f"{self.folder}/*"])
        files = check(what, root, self.folder, get)
        model = load(what, CLIPVisionModelWithProjection, root / self.folder, dtype=dtype)
        return model.eval().requires_grad_(False), hash_files((p.name, p) for p in files)

    def build(self) -> Encoder:
        """Load the tower onto its device; ``prepare`` is CLIP's own evaluation transform."""
        import torch

        device = choose_device(self.device)
        model, weights = self.model(torch.float32)
        return encoder_of(model.to(device), self.pool, weights)


def encoder_of(model: Any, pool: str, weights: str) -> Encoder:
    """An encoder around a tower of transformers.

    Parameters
    ----------
    model : transformers.CLIPVisionModelWithProjection
        On its device.
    pool : {"embedding", "tokens"}
    weights : str
        SHA-256.
    """
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2

    size = model.config.image_size
    transform = image_transform_v2(PreprocessCfg(size=size), is_train=False)

    def prepare(picture: Any) -> np.ndarray:
        return transform(picture).numpy()

    def embed(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.from_numpy(images).to(model.device, model.dtype)
            return read(model, pixels, pool).float().cpu().numpy()

    return Encoder(prepare, embed, weights)


def read(model: Any, pixels: Any, pool: str) -> Any:
    """Embeddings (image, dim) or tokens (image, token, dim) of prepared pictures.

    Parameters
    ----------
    model : transformers.CLIPVisionModelWithProjection
    pixels : tensor (image, channel, height, width)
    pool : {"embedding", "tokens"}
    """
    said = model(pixel_values=pixels)
    if pool == "embedding":
        return said.image_embeds
    token = model.visual_projection(model.vision_model.post_layernorm(said.last_hidden_state))
    return token / token[:, :1].norm(dim=-1, keepdim=True)
