"""Networks of torchvision: AlexNet, Inception, EfficientNet, ResNet-50 with SwAV's weights.

Comes in: pictures. Goes out: what stands before the classifier, or a part of the network named by its
path. They are what published tables of reconstructions look through. Weights come from a file or torch's
cache of downloads; where a network is at hand they are fetched once, checked by the hash in their name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.images.networks import SUFFIXES, Loaded, Network
from neurovis.images.weights import load_errors, read_weights

ELSEWHERE = {
    ("resnet50", "swav"): "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar"
}
"""Weights that torchvision does not know. SwAV (arXiv 2006.09882), 800 epochs: its repository, from whose
``torch.hub`` entry the field's code takes them, is under CC BY-NC 4.0."""
HEADS = ("fc", "classifier", "heads", "head")
EXTRA = ("projection_head.", "prototypes.")


class Torchvision(Network, name="torchvision"):
    """A torchvision model without its classifier; its own output is flat.

    It gives no blocks: read a part as ``@module=features.4``.

    Parameters
    ----------
    model : str
        Such as ``alexnet``.
    weights : str
        A tag such as ``IMAGENET1K_V1`` (``swav`` for resnet50), or a file.
    """

    @property
    def weights_file(self) -> bool:
        return self.weights.endswith((*SUFFIXES, ".pth.tar"))

    def load(self) -> Loaded:
        import torch
        from torchvision import models

        if self.model not in models.list_models(module=models):
            known = models.list_models(module=models)
            raise UsageError(unknown("torchvision model", self.model, known))
        about = self._about(models)
        file = self._file() if self.weights_file else self._fetched(about)
        try:
            state = plain_names(read_weights(file))
            model = models.get_model(self.model, weights=None, **self._options(state))
            # a classifier may be absent, as it is taken away below
            unfit = [name for names in model.load_state_dict(state, strict=False) for name in names]
            if unfit := [name for name in unfit if not name.startswith(HEADS)]:
                raise KeyError(unfit[0])
        except load_errors() as error:
            raise self._unfit(file, error) from error
        head = next((name for name in HEADS if hasattr(model, name)), None)
        if head is not None:
            setattr(model, head, torch.nn.Identity())
        transform, settings = self._transform(about)
        return Loaded(model, transform, settings, lambda x: model(x).flatten(1))

    def _options(self, state: dict[str, Any]) -> dict[str, Any]:
        """What a model with published weights is built with."""
        options: dict[str, Any] = {}
        if self.model in ("inception_v3", "googlenet"):
            # their published weights expect pictures scaled as by those who trained them
            options |= {"transform_input": True, "init_weights": False}
            options["aux_logits"] = any(name.startswith(("AuxLogits", "aux")) for name in state)
        return options

    def _about(self, models: Any) -> Any:
        """The published weights of a tag; for a file or foreign weights, those of the architecture."""
        known = models.get_model_weights(self.model)
        if self.weights_file or (self.model, self.weights) in ELSEWHERE:
            return known["DEFAULT"]
        if self.weights not in known.__members__:
            foreign = [tag for model, tag in ELSEWHERE if model == self.model]
            tags = [*known.__members__, *foreign]
            raise UsageError(unknown(f"weights of torchvision:{self.model}", self.weights, tags))
        return known[self.weights]

    def _fetched(self, about: Any) -> Path:
        import torch

        url = ELSEWHERE.get((self.model, self.weights), about.url)
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
        if path.is_file():
            return path
        stem = path.name.split(".")[0].rsplit("-", 1)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # torchvision's files end in the first digits of their hash; others have none to check
            prefix = stem[1] if len(stem) == 2 else None
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise NeurovisError(
                f"torchvision:{self.model}/{self.weights}: expected {path.name} in torch's cache "
                f"({path.parent.name} of torch.hub's folder), found none, and it could not be fetched "
                f"({reason}); where there is a network fetch {url} into it, or write "
                f"torchvision:{self.model}//path/to/{path.name}."
            ) from None
        return path

    def _transform(self, about: Any) -> tuple[Any, dict[str, Any]]:
        preset = about.transforms()
        crop, short = preset.crop_size[0], preset.resize_size[0]
        if self.image_size:
            short, crop = round(short / crop * self.image_size), self.image_size
        options = {"crop_size": crop, "resize_size": short, "mean": preset.mean, "std": preset.std}
        transform = type(preset)(
            **options, interpolation=preset.interpolation, antialias=preset.antialias
        )
        return transform, {**options, "interpolation": preset.interpolation.value}

    def class_token(self, tower: Any) -> bool:
        return False

    def n_prefix(self, tower: Any) -> int:
        return 0


def plain_names(state: dict[str, Any]) -> dict[str, Any]:
    """Weights under the network's own names: no ``module.`` of parallel training, no heads of SwAV's."""
    names = {name: name.removeprefix("module.") for name in state}
    return {new: state[old] for old, new in names.items() if not new.startswith(EXTRA)}
