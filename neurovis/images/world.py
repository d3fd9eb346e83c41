"""Networks of the image world: small, trained on its drawings, shipped with the package.

Comes in: pictures, or words. Goes out: what the large networks give, through the same calls. They know
drawings of this world alone and are of no use for photographs; ``experiments/world/`` trained them, and the
cards beside the weights say on what and how well.

    world:clip         open_clip: image and text tower, trained on pictures and captions
    world:clip_kinds   what kind of thing it takes a picture for, by the names of kinds
    world:clip_text    its text tower, of concepts; ``world:clip_text+caption`` of captions
    world:dino         timm: a vision transformer that saw neither labels nor captions
    world:vae          diffusers: latents of an autoencoder, from which pictures are drawn again
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pydantic

from neurovis.device import choose_device
from neurovis.errors import NeurovisError
from neurovis.images.base import GRAY, Encoder, ImageEncoder
from neurovis.images.networks import OpenClip, Timm
from neurovis.images.text import OpenClipText
from neurovis.images.weights import load_errors

if TYPE_CHECKING:
    from PIL.Image import Image

SHIPPED = Path(__file__).resolve().parents[1] / "world" / "weights"
TRUNK = "neurovis_resnet"
"""Name of the image tower of ``world:clip`` among timm's models."""


def shipped(name: str, file: str) -> Path:
    """Folder of shipped weights.

    Raises
    ------
    NeurovisError
        If they are absent.
    """
    folder = SHIPPED / name
    if not (folder / file).is_file():
        raise NeurovisError(
            f"world:{name}: expected {file} beside the package, found none; install neurovis again, "
            f"or train it with python -m experiments.world.{name}."
        )
    return folder


@lru_cache(maxsize=1)
def register_trunk() -> str:
    """Make timm know the residual network that ``world:clip`` is built on; gives its name."""
    from timm.models import build_model_with_cfg, register_model
    from timm.models.resnet import BasicBlock, ResNet

    def neurovis_resnet(pretrained: bool = False, **kwargs: Any) -> Any:
        shape = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (40, 80, 160, 320)}
        stem = {"stem_width": 24, "stem_type": "deep"}
        about = {"input_size": (3, 64, 64), "pool_size": (2, 2), "classifier": "fc"}
        about |= {"first_conv": "conv1.0", "num_classes": 0, "url": ""}
        kwargs["pretrained_cfg"] = kwargs.get("pretrained_cfg") or about
        return build_model_with_cfg(ResNet, TRUNK, pretrained, **(shape | stem | kwargs))

    neurovis_resnet.__module__ = __name__
    register_model(neurovis_resnet)
    return TRUNK


class WorldClip(OpenClip, name="world_clip"):
    """The image tower of ``world:clip``, read out at any place like one of ``open_clip``."""

    model: str = "world"

    @property
    def label(self) -> str:
        return super().label.replace("world_clip-world", "world-clip")

    def _source(self, open_clip: Any) -> tuple[str, dict[str, Any]]:
        register_trunk()
        return f"local-dir:{shipped('clip', 'open_clip_model.safetensors')}", {}

    def tokenizer(self, name: str) -> Any:
        """CLIP's tokenizer with the first of its merges alone, so that few tokens have weights."""
        import open_clip

        merges = shipped("clip", "merges.txt.gz") / "merges.txt.gz"
        return open_clip.get_tokenizer(name, bpe_path=str(merges))


class WorldClipText(OpenClipText, name="world_clip_text"):
    """The text tower of ``world:clip``."""

    model: str = "world"
    template: str = "a {concept}"

    def clip(self) -> OpenClip:
        return WorldClip()

    @property
    def label(self) -> str:
        fields = [field for field in ("concept", "caption") if f"{{{field}}}" in self.template]
        return "-".join(["world-clip_text", *fields])


class WorldClipKinds(ImageEncoder, name="world_clip_kinds"):
    """What kind of thing ``world:clip`` takes a picture for: probabilities of families and superclasses by their names.

    Parameters
    ----------
    sharpness : float
        Cosines are multiplied by it before they become probabilities; the model's own would call a thing
        that it never saw one kind alone.
    """

    sharpness: pydantic.PositiveFloat = 15.0

    @property
    def label(self) -> str:
        return "world-clip_kinds"

    def build(self) -> Encoder:
        """Load both towers; the words are read once."""
        from scipy.special import softmax

        seen = WorldClip(device=self.device).build()
        read = WorldClipText(device=self.device).build()
        folder = shipped("clip", "kinds.json")
        kinds = json.loads((folder / "kinds.json").read_text(encoding="utf-8"))
        unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
        named = [
            unit(read.embed(np.stack([read.prepare(text) for text in texts])))
            for texts in kinds.values()
        ]

        def embed(images: np.ndarray) -> np.ndarray:
            vectors = unit(seen.embed(images))
            said = [softmax(self.sharpness * vectors @ words.T, axis=1) for words in named]
            return np.concatenate(said, axis=1).astype(np.float32)

        return Encoder(prepare=seen.prepare, embed=embed, weights=seen.weights)


class WorldDino(Timm, name="world_dino"):
    """The vision transformer of ``world:dino``, read out at any place like one of ``timm``."""

    model: str = "world"

    @property
    def label(self) -> str:
        return super().label.replace("world_dino-world", "world-dino")

    def _source(self, timm: Any) -> tuple[str, Path | None]:
        return f"local-dir:{shipped('dino', 'model.safetensors')}", None


class WorldVae(ImageEncoder, name="world_vae"):
    """Latents of ``world:vae``, an autoencoder; pictures are drawn from them again.

    Latents have mean 0 and standard deviation 1 per channel over drawings of the world.
    """

    invertible: ClassVar[bool] = True

    @property
    def label(self) -> str:
        return "world-vae"

    def build(self) -> Encoder:
        """Load the autoencoder."""
        model = read_vae(self.device)
        digest = hashlib.sha256((SHIPPED / "vae" / VAE_FILE).read_bytes())
        return Encoder(prepare=model.prepare, embed=model.latents, weights=digest.hexdigest())

    def pictures(self, vectors: np.ndarray) -> np.ndarray:
        return read_vae(self.device).pictures(vectors)


VAE_FILE = "diffusion_pytorch_model.safetensors"


class Vae:
    """An autoencoder of diffusers between pictures and vectors.

    Parameters
    ----------
    model : diffusers.AutoencoderDC
    mean, std : array (channel,)
        Of its latents.
    size : int
        Pixels along a side of its pictures.
    device : torch.device
    """

    def __init__(self, model: Any, mean: np.ndarray, std: np.ndarray, size: int, device: Any):
        self.model, self.size, self.device = model, size, device
        self.mean, self.std = (np.float32(x)[:, None, None] for x in (mean, std))
        side = size // model.spatial_compression_ratio
        self.shape = (len(mean), side, side)

    def prepare(self, picture: Image) -> np.ndarray:
        """Fit a picture into the screen: array (3, size, size) float32 in -1..1."""
        from PIL import Image, ImageOps

        if picture.size != (self.size, self.size):
            # as the pictures it was trained on: drawn larger and averaged
            picture = ImageOps.pad(
                picture, (self.size, self.size), Image.Resampling.BOX, (GRAY, GRAY, GRAY)
            )
        return np.asarray(picture, np.float32).transpose(2, 0, 1) / np.float32(127.5) - 1

    def latents(self, images: np.ndarray) -> np.ndarray:
        """Vectors (image, dim) of screens (image, 3, size, size)."""
        import torch

        with torch.inference_mode():
            found = self.model.encode(torch.from_numpy(images).to(self.device)).latent
        found = (found.float().cpu().numpy() - self.mean) / self.std
        return found.reshape(len(found), -1)

    def pictures(self, vectors: np.ndarray) -> np.ndarray:
        """Pictures (image, size, size, 3) uint8 of vectors (image, dim).

        Raises
        ------
        NeurovisError
            If the vectors are of another width.
        """
        import torch

        width = int(np.prod(self.shape))
        if vectors.ndim != 2 or vectors.shape[1] != width:
            raise NeurovisError(
                f"world:vae: expected vectors (image, {width}), found {vectors.shape}; give its latents."
            )
        parts = []
        with torch.inference_mode():
            for block in np.array_split(vectors.astype(np.float32), max(1, len(vectors) // 64)):
                block = block.reshape(-1, *self.shape) * self.std + self.mean
                said = self.model.decode(torch.from_numpy(block).to(self.device)).sample
                parts.append(as_pictures(said.float().cpu().numpy()))
        return np.concatenate(parts)


def as_pictures(images: np.ndarray) -> np.ndarray:
    """Pictures (image, y, x, 3) uint8 of arrays (image, 3, y, x) in -1..1."""
    images = np.clip(np.rint((images.transpose(0, 2, 3, 1) + 1) * 127.5), 0, 255)
    return np.ascontiguousarray(images.astype(np.uint8))


@lru_cache(maxsize=2)
def read_vae(device: str = "auto") -> Vae:
    """The shipped autoencoder.

    Raises
    ------
    NeurovisError
        If its weights are absent or damaged.
    """
    import torch
    from diffusers import AutoencoderDC

    folder = shipped("vae", VAE_FILE)
    try:
        model = AutoencoderDC.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,  # which would ask for accelerate
        )
        about = json.loads((folder / "latents.json").read_text(encoding="utf-8"))
    except load_errors() as error:
        raise NeurovisError(
            f"world:vae: expected whole weights, found damaged ones ({error}); install neurovis again."
        ) from error
    where = choose_device(device)
    model.eval().requires_grad_(False).to(where)
    return Vae(model, about["mean"], about["std"], about["size"], where)
