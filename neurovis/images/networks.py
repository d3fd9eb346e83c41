"""Frozen networks of open_clip and timm, read out at any layer.

Comes in: pictures through the network's evaluation transform. Goes out: its own output, or the
patches of one block, averaged or as tokens. Weights come from a local file or the Hugging Face cache
(fetched once where there is a network), safetensors first; no pickle is ever executed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pydantic

from neurovis.config import added
from neurovis.device import choose_device
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.images.base import Encoder, ImageEncoder
from neurovis.images.reading import Reader
from neurovis.images.weights import fetch, hash_weights, load_errors, read_weights

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Loaded:
    """A network with its weights: vision tower, evaluation transform, its settings, own output."""

    tower: Any
    transform: Callable[[Any], Any]
    settings: dict[str, Any]
    output: Callable[[Any], Any]


class Network(ImageEncoder):
    """A frozen network and the place where it is read out.

    Parameters
    ----------
    model : str
        Its name there; ``local-dir:FOLDER`` or ``hf-hub:ORG/REPO`` for one with its own config.
    weights : str
        Path of a weights file, or a tag.
    depth : float
        Relative depth in (0, 1]; 1 is the network's own output, less is a block (`block_at`).
    layer : int, optional
        Block counted from 1, instead of `depth`. Blocks of a transformer are its layers, those of a
        convolutional network its stages, the stem first.
    module : str
        Name of a part such as ``layer3.5`` or ``blocks.7.mlp``, read out instead of a block: for
        layers within a stage, and for networks that do not give their blocks.
    pool : {"auto", "mean", "cls", "tokens"}
        ``auto``: the network's own output at depth 1, ``mean`` elsewhere. ``mean``: mean of the patch
        tokens (of all positions of a convolutional map). ``cls``: the class token. ``tokens``: all
        patch tokens. At depth 1 these three come after the final norm (where the network has one for
        patches), before any projection; at a block or part they are its plain output.
    image_size : int, optional
        Pixels along one side; the network's own by default.
    resize : {"own", "bilinear"}
        ``own``: the network's evaluation transform. ``bilinear``: the whole picture squeezed into a
        square without crop, first to 256 pixels, as code for reconstruction metrics does
        (`neurovis.resize.bilinear`).
    """

    model: str = pydantic.Field(min_length=1)
    weights: str = ""
    depth: float = pydantic.Field(1.0, gt=0, le=1)
    layer: int | None = pydantic.Field(None, ge=1)
    module: str = added("")
    pool: Literal["auto", "mean", "cls", "tokens"] = "auto"
    image_size: int | None = pydantic.Field(None, ge=16)
    resize: Literal["own", "bilinear"] = added("own")

    @pydantic.model_validator(mode="after")
    def _check(self) -> Network:
        places = {"depth": self.depth != 1, "layer": self.layer is not None}
        places["module"] = bool(self.module)
        if sum(places.values()) > 1:
            raise UsageError(
                f"{self.component}: expected one place to read out, found "
                f"{' and '.join(name for name, there in places.items() if there)}; give one."
            )
        return self

    @property
    def own_config(self) -> bool:
        """Whether the model comes with a config of its own instead of a name."""
        return self.model.startswith(("local-dir:", "hf-hub:"))

    @property
    def weights_file(self) -> bool:
        """Whether `weights` is a path."""
        return self.weights.endswith(SUFFIXES)

    @property
    def label(self) -> str:
        model = Path(self.model).name if self.own_config else self.model
        weights = Path(self.weights).stem if self.weights_file else self.weights
        where = f"layer{self.layer}" if self.layer else f"{self.depth:g}" if self.depth < 1 else ""
        where = self.module or where
        pool = "" if self.pool == "auto" else self.pool
        size = f"{self.image_size}px" if self.image_size else ""
        resize = "" if self.resize == "own" else self.resize
        return "-".join(filter(None, [self.component, model, weights, where, pool, size, resize]))

    def identity(self, weights: str) -> dict[str, Any]:
        identity = super().identity(weights)
        # the hash says which weights; where they lie is nobody's business
        if self.weights_file:
            identity["weights"] = "file"
        if self.model.startswith("local-dir:"):
            identity["model"] = "local-dir"
        return identity

    def load(self) -> Loaded:
        """Make the model and load its weights."""
        raise NotImplementedError

    def block(self, tower: Any, x: Any, index: list[int] | None, norm: bool, cls: bool) -> list:
        """Maps (image, channel, y, x) of some blocks, or (map, prefix tokens) where `cls`."""
        raise NotImplementedError

    def gives_blocks(self, tower: Any) -> bool:
        """Whether a tower that has the method for it does give its blocks."""
        return True

    def norms(self, tower: Any) -> bool:
        """Whether the final norm is one for the patches of the last block."""
        return True

    def class_token(self, tower: Any) -> bool:
        """Whether a class token goes through the blocks."""
        raise NotImplementedError

    def n_prefix(self, tower: Any) -> int:
        """Tokens before those of patches: class token and registers."""
        raise NotImplementedError

    @property
    def last(self) -> bool:
        """Whether the place is the end of the network."""
        return self.layer is None and self.depth == 1 and not self.module

    @property
    def own_output(self) -> bool:
        """Whether the place is the network's own output."""
        return self.last and self.pool == "auto"

    def build(self) -> Encoder:
        """Load the network onto its device and make the encoder."""
        return build_places([self])[0]

    def _file(self) -> Path:
        path = Path(self.weights).expanduser()
        if not path.is_file():
            raise NeurovisError(
                f"{path}: no such weights file; correct the path, or name a tag of {self.model}."
            )
        return path

    def _unfit(self, path: Any, error: Exception) -> NeurovisError:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return NeurovisError(
            f"{path}: expected plain weights of {self.model}, found a file that does not load "
            f"({reason}); give safetensors of that very model."
        )


def build_places(networks: Sequence[Network]) -> tuple[Encoder, Reader]:
    """Load one network and read it at the place that each config says, vectors side by side.

    Parameters
    ----------
    networks : sequence of Network
        Alike but for the place; tokens only where there is one alone.

    Returns
    -------
    Encoder
    Reader
        Its ``widths`` are those of the places.
    """
    import torch

    first = networks[0]
    device = choose_device(first.device)
    loaded = first.load()
    if first.resize == "bilinear":
        loaded = replace(loaded, transform=squeezed(loaded.settings, first.image_size))
    loaded.tower.eval().requires_grad_(False).to(device)
    read = Reader(networks, loaded)

    def prepare(picture):
        return loaded.transform(picture).numpy()

    def embed(images):
        with torch.inference_mode():
            found = read(torch.from_numpy(images).to(device))
            whole = found[0] if len(found) == 1 else torch.cat(found, dim=1)
            return whole.float().cpu().numpy()

    return Encoder(prepare, embed, hash_weights(loaded.tower, loaded.settings)), read


def squeezed(settings: dict[str, Any], image_size: int | None) -> Callable[[Any], Any]:
    """Transform of an opened picture that squeezes it whole into the network's square.

    Parameters
    ----------
    settings : dict
        Of the network: ``mean`` and ``std`` by colour, and its size in pixels as one of ``size``,
        ``input_size``, ``crop_size``.
    image_size : int, optional
        Instead of that size.
    """
    import numpy as np
    import torch

    from neurovis.resize import FIRST, bilinear

    own = next(settings[key] for key in ("size", "input_size", "crop_size") if key in settings)
    side = image_size or (own[-1] if isinstance(own, tuple | list) else own)
    mean, std = (np.asarray(settings[key]) for key in ("mean", "std"))
    sizes = (FIRST,) if side == FIRST else (FIRST, side)

    def transform(picture: Any) -> Any:
        pixels = (bilinear(np.asarray(picture)[None], *sizes)[0] - mean) / std
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32))

    return transform


class OpenClip(Network, name="open_clip"):
    """The image tower of an open_clip model; its own output is ``encode_image``, not normalised.

    Parameters
    ----------
    model : str
        Such as ``ViT-H-14``.
    weights : str
        A tag such as ``laion2b_s32b_b79k``, or a file.
    """

    def load(self) -> Loaded:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        model, _ = self.create()
        settings = model.visual.preprocess_cfg
        transform = image_transform_v2(PreprocessCfg(**settings), is_train=False)
        output = lambda x: model.encode_image(x, normalize=False)  # noqa: E731
        return Loaded(model.visual, transform, settings, output)

    def create(self) -> tuple[Any, str]:
        """The whole model with its weights, and the name that open_clip knows it by."""
        import open_clip

        name, options = self._source(open_clip)
        if self.image_size:
            options["force_image_size"] = self.image_size
        try:
            # pretrained_text: weights of its own for the text tower are in those of the whole
            model = open_clip.create_model(
                name, pretrained_text=False, require_pretrained=True, weights_only=True, **options
            )
        except load_errors() as error:
            raise self._unfit(options.get("pretrained", name), error) from error
        return model, name

    def tokenizer(self, name: str) -> Any:
        """The tokenizer of the text tower of a model that `create` named."""
        import open_clip

        try:
            return open_clip.get_tokenizer(name)
        except load_errors() as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise NeurovisError(
                f"open_clip:{self.model}: its tokenizer is neither here nor could be fetched "
                f"({reason}); run once where there is a network, or use a model with CLIP's tokenizer."
            ) from error

    def _source(self, open_clip: Any) -> tuple[str, dict[str, Any]]:
        """Name and options for ``open_clip.create_model`` that need no network."""
        from open_clip.constants import HF_CONFIG_NAME, HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

        usual = (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
        if self.model.startswith("hf-hub:"):
            repository = self.model.removeprefix("hf-hub:")
            self._fetch(repository, (HF_CONFIG_NAME,))
            return f"local-dir:{self._fetch(repository, usual).parent}", {}
        if self.own_config:
            return self.model, {}
        if self.model not in open_clip.list_models():
            raise UsageError(unknown("open_clip model", self.model, open_clip.list_models()))
        if self.weights_file:
            return self.model, {"pretrained": str(self._file())}
        tags = open_clip.list_pretrained_tags_by_model(self.model)
        if self.weights not in tags:
            raise UsageError(unknown(f"weights of open_clip:{self.model}", self.weights, tags))
        about = open_clip.get_pretrained_cfg(self.model, self.weights)
        if not about.get("hf_hub"):
            raise NeurovisError(
                f"open_clip:{self.model}/{self.weights}: these weights are not on the Hugging Face "
                f"hub; fetch {about.get('url')} and write open_clip:{self.model}//path/to/file."
            )
        repository, _, file = about["hf_hub"].rpartition("/")
        names = (str(Path(file).with_suffix(".safetensors")), file) if file else usual
        keys = ("mean", "std", "interpolation", "resize_mode")
        return self.model, {
            "pretrained": str(self._fetch(repository, names)),
            "force_quick_gelu": bool(about.get("quick_gelu")),
            "force_preprocess_cfg": {k: about[k] for k in keys if about.get(k)},
        }

    def _fetch(self, repository: str, names: tuple[str, ...]) -> Path:
        return fetch(f"open_clip:{self.model}", repository, names)

    def block(self, tower: Any, x: Any, index: list[int] | None, norm: bool, cls: bool) -> list:
        found = tower.forward_intermediates(
            x,
            indices=index,
            stop_early=True,
            normalize_intermediates=norm,
            intermediates_only=True,
            output_extra_tokens=cls,
        )
        maps = found["image_intermediates"]
        return list(zip(maps, found["image_intermediates_prefix"])) if cls else maps

    def gives_blocks(self, tower: Any) -> bool:
        trunk = getattr(tower, "trunk", None)
        return trunk is None or hasattr(trunk, "forward_intermediates")

    def norms(self, tower: Any) -> bool:
        trunk = getattr(tower, "trunk", None)
        # a pooling by attention comes before the norm, which then is one of pooled vectors
        return _norms(trunk) if trunk is not None else getattr(tower, "attn_pool", None) is None

    def class_token(self, tower: Any) -> bool:
        trunk = getattr(tower, "trunk", None)
        return _class_token(trunk) if trunk is not None else hasattr(tower, "class_embedding")

    def n_prefix(self, tower: Any) -> int:
        trunk = getattr(tower, "trunk", None)
        if trunk is not None:
            return getattr(trunk, "num_prefix_tokens", 0)
        return int(hasattr(tower, "class_embedding"))


class Timm(Network, name="timm"):
    """A timm model without its classifier; its own output is ``model(images)``.

    Parameters
    ----------
    model : str
        With its tag, such as ``vit_base_patch14_dinov2.lvd142m``.
    weights : str
        A file, instead of the published weights.
    """

    def load(self) -> Loaded:
        import timm
        from timm.data import create_transform, resolve_model_data_config

        name, file = self._source(timm)
        try:
            # loaded whole, classifier included, as timm is strict about missing weights only then
            options = _classifier(timm, name, read_weights(file)) if file else {}
            model = timm.create_model(name, pretrained=True, **options)
            model.reset_classifier(0)
            if self.image_size and hasattr(model, "set_input_size"):
                model.set_input_size((self.image_size, self.image_size))
        except load_errors() as error:
            raise self._unfit(file or name, error) from error
        about = resolve_model_data_config(model)
        if self.image_size:
            about["input_size"] = (3, self.image_size, self.image_size)
        return Loaded(model, create_transform(**about, is_training=False), about, model)

    def _source(self, timm: Any) -> tuple[str, Path | None]:
        """Name and weights file (None where a folder holds both)."""
        if self.model.startswith("hf-hub:"):
            repository = self.model.removeprefix("hf-hub:")
            self._fetch(repository, ("config.json",))
            folder = self._fetch(repository, ("model.safetensors", "pytorch_model.bin")).parent
            return f"local-dir:{folder}", None
        if self.own_config:
            return self.model, None
        if self.weights and not self.weights_file:
            raise UsageError(
                f"timm:{self.model}/{self.weights}: expected a weights file ({', '.join(SUFFIXES)}), "
                "found none; a tag is written with a dot, timm:MODEL.TAG."
            )
        if not timm.is_model(self.model):
            raise UsageError(unknown("timm model", self.model, timm.list_models()))
        tags = timm.list_pretrained(f"{self.model.split('.')[0]}*")
        if "." in self.model and self.model not in tags:
            raise UsageError(unknown("timm weights", self.model, tags))
        if self.weights:
            return self.model, self._file()
        about = timm.get_pretrained_cfg(self.model)
        if not about or not about.hf_hub_id:
            raise NeurovisError(
                f"timm:{self.model}: it has no weights on the Hugging Face hub; write "
                f"timm:{self.model}//path/to/weights.safetensors."
            )
        file = about.hf_hub_filename or "pytorch_model.bin"
        safe = (
            "model.safetensors" if file == "pytorch_model.bin" else f"{Path(file).stem}.safetensors"
        )
        return self.model, self._fetch(about.hf_hub_id, (safe, file))

    def _fetch(self, repository: str, names: tuple[str, ...]) -> Path:
        return fetch(f"timm:{self.model}", repository, names)

    def block(self, tower: Any, x: Any, index: list[int] | None, norm: bool, cls: bool) -> list:
        return tower.forward_intermediates(
            x,
            indices=index,
            norm=norm,
            stop_early=True,
            intermediates_only=True,
            **({"return_prefix_tokens": True} if cls else {}),
        )

    def norms(self, tower: Any) -> bool:
        return _norms(tower)

    def class_token(self, tower: Any) -> bool:
        return _class_token(tower)

    def n_prefix(self, tower: Any) -> int:
        return getattr(tower, "num_prefix_tokens", 0)


def _class_token(tower: Any) -> bool:
    """Whether a timm network has a class token and gives it: convolutional networks have none, and
    in some transformers it joins after the blocks; registers alone are none either."""
    import inspect

    known = inspect.signature(tower.forward_intermediates).parameters
    tokens = getattr(tower, "num_prefix_tokens", 0)
    there = getattr(tower, "cls_token", None) is not None
    return there and tokens > 0 and "return_prefix_tokens" in known


def _norms(tower: Any) -> bool:
    """Whether a timm network has a final norm for patches; the hierarchical ones with global pooling
    refuse to apply theirs."""
    return type(tower).__name__ not in ("Hiera", "HieraDet")


def _classifier(timm: Any, name: str, state: dict[str, Any]) -> dict[str, Any]:
    """Options of ``timm.create_model`` for weights with a classifier of any size, or without one."""
    about = timm.get_pretrained_cfg(name)
    heads = (about.classifier if about else None) or ()
    heads = (heads,) if isinstance(heads, str) else heads
    sizes = [len(state[f"{head}.weight"]) for head in heads if f"{head}.weight" in state]
    n = sizes[0] if sizes else 0
    return {
        "num_classes": n,
        "pretrained_cfg_overlay": {"state_dict": state, "num_classes": n},
    }
