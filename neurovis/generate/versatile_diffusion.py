"""Versatile Diffusion: told CLIP's image tokens and text tokens at once, started from a rough picture.

Comes in: 257 tokens of 768 dims per row as one vector (as `clip_vision` with ``pool: tokens`` makes
them), behind them 77 text tokens where these are decoded too, optionally words and rough pictures. Goes
out: pictures of 512 pixels. The pipeline of diffusers takes no tokens, is deprecated and no longer runs;
the denoising is written out here around its parts.

References: Xu et al. 2022, arXiv 2211.08332; its use on fMRI, arXiv 2303.05334 and 2305.18274, and on
MEG, arXiv 2310.19812.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pydantic

from neurovis.generate.base import Painter
from neurovis.generate.published import Started, Weights
from neurovis.images.base import ImageEncoder
from neurovis.images.clip_vision import ClipVision, encoder_of, read
from neurovis.images.snapshots import hash_files, load

SOURCE = "shi-labs/versatile-diffusion"
PARTS = ("image_unet", "text_unet", "text_encoder", "image_encoder", "vae")


class VersatileDiffusion(Started, name="versatile_diffusion"):
    """Versatile Diffusion: CLIP ViT-L/14 image tokens and text tokens in.

    Presets: ``brain_diffuser`` is Ozcelik & VanRullen's (DDIM, 50 steps, guidance 7.5, strength .75,
    text share .4), ``benchetrit2024`` takes the same, ``mindeye1`` is Scotti et al.'s (UniPC, 20 steps,
    guidance 3.5). Its weights lie on the hub as pickles alone: download them into a folder and write
    their tensors as safetensors with `neurovis.images.snapshots.to_safetensors`.

    Parameters
    ----------
    text_share : float
        Share of the words in the mixture of both; without words and text tokens it is 0.
    text_tokens : bool
        The vector holds text tokens behind the image tokens, and words are not asked for.
    scheduler : {"ddim", "unipc"}
    eta : float
        Noise added by DDIM's steps (arXiv 2010.02502).
    """

    takes: ClassVar[str] = f"{{name: clip_vision, source: {SOURCE}, pool: tokens}}"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "brain_diffuser": {
            "source": SOURCE, "n_steps": 50, "guidance": 7.5, "strength": 0.75, "size": 512,
            "text_share": 0.4, "scheduler": "ddim", "eta": 0.0,
        },
        "benchetrit2024": {
            "source": SOURCE, "n_steps": 50, "guidance": 7.5, "strength": 0.75, "size": 512,
            "text_share": 0.4, "scheduler": "ddim", "eta": 0.0,
        },
        "mindeye1": {
            "source": SOURCE, "n_steps": 20, "guidance": 3.5, "strength": 0.85, "size": 512,
            "text_share": 0.0, "scheduler": "unipc", "eta": 0.0,
        },
    }  # fmt: skip
    unverified: ClassVar[dict[str, str]] = {
        "brain_diffuser": "that its mixing of .4 is the share of the words",
        "benchetrit2024": "all of it: the sampler is said to be Brain-Diffuser's",
        "mindeye1": "strength .85, and that no words are told",
    }
    parts: ClassVar[tuple[str, ...]] = PARTS

    text_share: float = pydantic.Field(0.0, ge=0, le=1)
    text_tokens: bool = False
    scheduler: Literal["ddim", "unipc"] = "ddim"
    eta: float = pydantic.Field(0.0, ge=0, le=1)

    def needs(self) -> tuple[Weights, ...]:
        # of the text branch, its attention alone stays
        parts = {"image_unet": 1127, "text_encoder": 124, "image_encoder": 304, "vae": 84}
        note = "pickles on the hub, to be written as safetensors"
        return (Weights(self.presets[self.preset]["source"], parts, "MIT", 12.3, (), note),)

    def image_encoder(self) -> ImageEncoder:
        return ClipVision(source=self.source, pool="tokens", device=self.device)

    def load(self) -> tuple[Any, str]:
        (main,) = self.needs()
        folder = self.folder(main, self.source)
        options, used = self.look(folder, main)
        # diffusers no longer finds its own class of the text branch: part by part, then
        made = {}
        for part, cls in classes().items():
            made[part] = load(self.component, cls, folder / part, **options.get(part, {}))
        return pipeline_of(made), hash_files(used)

    def painter(self, pipe: Any, weights: str = "") -> Painter:
        import diffusers

        # the chain of diffusers names parts of other models
        pipe.model_cpu_offload_seq = "text_encoder->image_encoder->image_unet->vae"
        kind = {"ddim": "DDIMScheduler", "unipc": "UniPCMultistepScheduler"}[self.scheduler]
        pipe.scheduler = getattr(diffusers, kind).from_config(pipe.scheduler.config)
        return super().painter(pipe, weights)

    def n_tokens(self, pipe: Any) -> tuple[int, int, int]:
        """Image tokens, text tokens, and their dims."""
        vision = pipe.image_encoder.config
        n_image = 1 + (vision.image_size // vision.patch_size) ** 2
        return n_image, pipe.text_encoder.config.max_position_embeddings, vision.projection_dim

    def width(self, pipe: Any) -> int:
        n_image, n_text, dim = self.n_tokens(pipe)
        return dim * (n_image + n_text * self.text_tokens)

    def run(
        self, pipe: Any, vector: Any, low: Sequence[Any] | None, text: list[str], noise: list[Any]
    ) -> Any:
        import torch

        guided = self.guidance > 1
        token, share = self._conditions(pipe, vector, text, guided)
        shares = torch.tensor(share * (2 if guided else 1)).to(token)
        pipe.mixture.share, pipe.mixture.n_text = shares, self.n_tokens(pipe)[1]
        pipe.mixture.asked = (max(share) > 0, min(share) < 1)
        latent, times = self._start(pipe, token, low, noise)
        extra = pipe.prepare_extra_step_kwargs(noise, self.eta)
        for time in times:
            given = torch.cat([latent, latent]) if guided else latent
            given = pipe.scheduler.scale_model_input(given, time)
            said = pipe.image_unet(given, time, encoder_hidden_states=token).sample
            if guided:
                without, told = said.chunk(2)
                said = without + self.guidance * (told - without)
            latent = pipe.scheduler.step(said, time, latent, **extra).prev_sample
        picture = pipe.vae.decode(latent / pipe.vae.config.scaling_factor).sample
        pipe.maybe_free_model_hooks()
        return pipe.image_processor.postprocess(picture, output_type="np")

    def _conditions(
        self, pipe: Any, vector: Any, text: list[str], guided: bool
    ) -> tuple[Any, float]:
        """Text tokens before image tokens, those of nothing before those of the rows; share of the text."""
        import torch
        from PIL import Image

        n_image, n_text, dim = self.n_tokens(pipe)
        image = vector[:, : n_image * dim].reshape(-1, n_image, dim)
        device = vector.device
        words = pipe._encode_text_prompt(text, device, 1, guided)
        # a row that is told no words is painted from its picture alone
        share = [self.text_share if self.text_tokens or words_of else 0.0 for words_of in text]
        if self.text_tokens:
            said = vector[:, n_image * dim :].reshape(-1, n_text, dim)
            words = torch.cat([words[: len(image)], said]) if guided else said
        if guided:
            # without a picture: a black one, as diffusers does it
            black = encoder_of(pipe.image_encoder, "tokens", "").prepare(Image.new("RGB", (8, 8)))
            black = torch.from_numpy(black)[None].to(vector)
            blank = read(pipe.image_encoder, black, "tokens")
            image = torch.cat([blank.expand_as(image), image])
        return torch.cat([words.to(image), image], dim=1), share

    def _start(self, pipe: Any, token: Any, low: Any, noise: list[Any]) -> tuple[Any, Any]:
        """Latents at the first step that is taken, and the steps' times."""
        import torch
        from diffusers.utils.torch_utils import randn_tensor

        pipe.scheduler.set_timesteps(self.n_steps, device=token.device)
        times = pipe.scheduler.timesteps
        n_chans, side = pipe.image_unet.config.in_channels, self.size // pipe.vae_scale_factor
        shape = (len(noise), n_chans, side, side)
        if low is None:
            drawn = randn_tensor(shape, generator=noise, device=token.device, dtype=token.dtype)
            return drawn * pipe.scheduler.init_noise_sigma, times
        skip = self.n_steps - int(self.n_steps * self.strength)
        pixels = pipe.image_processor.preprocess(low).to(token)
        latent = torch.cat(
            [
                pipe.vae.encode(one[None]).latent_dist.sample(generator)
                for one, generator in zip(pixels, noise)
            ]
        )
        drawn = randn_tensor(shape, generator=noise, device=token.device, dtype=token.dtype)
        latent = latent * pipe.vae.config.scaling_factor
        if hasattr(pipe.scheduler, "set_begin_index"):
            pipe.scheduler.set_begin_index(skip)
        times = times[skip:]
        return pipe.scheduler.add_noise(latent, drawn, times[:1].expand(len(noise))), times


def classes() -> dict[str, Any]:
    """Class of each part, by the folder that it lies in."""
    import diffusers
    import transformers
    from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import (
        UNetFlatConditionModel,
    )

    return {
        "tokenizer": transformers.CLIPTokenizer,
        "image_feature_extractor": transformers.CLIPImageProcessor,
        "text_encoder": transformers.CLIPTextModelWithProjection,
        "image_encoder": transformers.CLIPVisionModelWithProjection,
        "image_unet": diffusers.UNet2DConditionModel,
        "text_unet": UNetFlatConditionModel,
        "vae": diffusers.AutoencoderKL,
        "scheduler": diffusers.DDIMScheduler,
    }


def pipeline_of(parts: dict[str, Any]) -> Any:
    """The two branches joined: the text branch lends its attention and is dropped.

    Its own pipeline in diffusers (0.42) can neither load the text branch nor run the two as one, as its
    joined attention refuses an argument that the blocks around it give; the arithmetic here is the same.

    Parameters
    ----------
    parts : dict
        By the names of `classes`.
    """
    from diffusers import Transformer2DModel, VersatileDiffusionDualGuidedPipeline

    image, text = parts["image_unet"], parts["text_unet"]
    mixture = Mixture()
    for name, module in list(image.named_modules()):
        if isinstance(module, Transformer2DModel):
            parent, _, last = name.rpartition(".")
            both = joined(module, text.get_submodule(name), mixture)
            setattr(image.get_submodule(parent), last, both)
    pipe = VersatileDiffusionDualGuidedPipeline(**{**parts, "text_unet": None})
    pipe.mixture = mixture
    return pipe


@dataclass
class Mixture:
    """What all attention of a pipeline is told.

    Parameters
    ----------
    share : tensor (row,)
        Of the text in each row.
    n_text : int
        Tokens of the text, which stand first.
    asked : tuple of bool
        Whether the text, and the image, have a share in any row.
    """

    share: Any = None
    n_text: int = 0
    asked: tuple[bool, bool] = (True, True)


def joined(image: Any, text: Any, mixture: Mixture) -> Any:
    """A module that adds what two transformers say of their own conditions, weighted by their shares.

    Parameters
    ----------
    image, text : Transformer2DModel
    mixture : Mixture
    """
    import torch

    class Joined(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image, self.text = image, text

        def forward(self, x: Any, encoder_hidden_states: Any, **others: Any) -> tuple[Any]:
            n, share = mixture.n_text, mixture.share.to(x).view(-1, 1, 1, 1)
            text, image = encoder_hidden_states[:, :n], encoder_hidden_states[:, n:]
            out = x
            for branch, token, weight, asked in (
                (self.text, text, share, mixture.asked[0]),
                (self.image, image, 1 - share, mixture.asked[1]),
            ):
                if asked:
                    (said,) = branch(x, encoder_hidden_states=token, return_dict=False)
                    out = out + weight * (said - x)
            return (out,)

    return Joined()
