"""Which metrics reconstructions are scored by: pixels, and networks that look at both pictures.

Comes in: a preset's name, a YAML file, or a mapping. Goes out: `Measures`. ``published`` is the field's set,
each network at the layer, size and weights of the code behind the tables of arXiv 2403.11207; it needs these
weights. ``offline`` computes the same metrics through encoders that ship with the package; its numbers
carry the names of those encoders and compare with no published table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pydantic

from neurovis.config import Config, build, load_yaml
from neurovis.errors import UsageError, unknown
from neurovis.images.base import ImageEncoder
from neurovis.metrics.base import Metric
from neurovis.metrics.picture import FeatureMetric, PixelMetric, SetMetric

LEVELS = ("low", "high")


class Feature(Config):
    """What one image encoder says of the pictures, and what is made of it.

    Parameters
    ----------
    encoder : str, dict or ImageEncoder
    level : {"low", "high"}
        Whether it tells where things are (edges, colours) or what they are.
    metrics : tuple of Metric
        Of features and of sets of them.
    """

    encoder: ImageEncoder
    level: Literal["low", "high"] = "high"
    metrics: tuple[Metric, ...] = ("two_way",)

    @pydantic.field_validator("encoder", mode="before")
    @classmethod
    def _named(cls, value: Any) -> ImageEncoder:
        from neurovis.images.names import encoder

        return encoder(value)

    @pydantic.model_validator(mode="after")
    def _fit(self) -> Feature:
        if not self.encoder.of_pictures:
            raise UsageError(
                f"measures: {self.encoder.label} looks at no picture, expected an encoder of pictures."
            )
        _refuse("features", self.metrics, (FeatureMetric, SetMetric))
        return self


class Measures(Config):
    """The metrics of reconstructions.

    Parameters
    ----------
    pixels : tuple of Metric
        Of pixels; all of them low-level.
    features : dict of Feature
        By the name that scores carry.
    """

    pixels: tuple[Metric, ...] = ("pixcorr", "ssim")
    features: dict[str, Feature] = pydantic.Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _fit(self) -> Measures:
        _refuse("pixels", self.pixels, (PixelMetric,))
        if not self.pixels and not self.features:
            raise UsageError("measures: expected at least one metric, found none; name some.")
        return self


def _refuse(where: str, metrics: tuple[Metric, ...], kinds: tuple[type, ...]) -> None:
    for metric in metrics:
        if not isinstance(metric, kinds):
            raise UsageError(
                f"measures.{where}: expected metrics of {where}, found {metric.component}, which is of "
                "another kind; see neurovis list metrics."
            )


TWO_WAY = ["two_way", {"name": "two_way", "direction": "seen"}]
NAMED = ["identify", {"name": "identify", "k": 5}]
SETS = ["frechet", "kernel_distance", "set_coverage", "diversity"]


def _through(network: str, size: int, level: str, metrics: list[Any]) -> dict[str, Any]:
    encoder = f"torchvision:{network}+{size}px+bilinear"
    return {"encoder": encoder, "level": level, "metrics": metrics}


PRESETS: dict[str, dict[str, Any]] = {
    "offline": {
        "features": {
            "gabor+color": {"encoder": "gabor+color", "level": "low", "metrics": TWO_WAY},
            "world-clip": {
                "encoder": "world:clip",
                "metrics": [*TWO_WAY, *NAMED, "correlation_distance", *SETS],
            },
        }
    },
    "published": {
        "pixels": ["pixcorr", "ssim", {"name": "ssim", "variant": "columns"}],
        "features": {
            "alexnet2": _through(
                "alexnet/IMAGENET1K_V1@module=features.4+tokens", 256, "low", TWO_WAY
            ),
            "alexnet5": _through(
                "alexnet/IMAGENET1K_V1@module=features.11+tokens", 256, "low", TWO_WAY
            ),
            "inception": _through(
                "inception_v3/IMAGENET1K_V1@module=avgpool", 342, "high", [*TWO_WAY, *SETS]
            ),
            "clip": {
                "encoder": "open_clip:ViT-L-14/openai+bilinear",
                "metrics": [*TWO_WAY, *NAMED, *SETS],
            },
            "efficientnet": _through(
                "efficientnet_b1/IMAGENET1K_V2@module=avgpool",
                255,
                "high",
                ["correlation_distance"],
            ),
            "swav": _through("resnet50/swav@module=avgpool", 224, "high", ["correlation_distance"]),
        },
    },
}


def measures(name: str | dict[str, Any] | Measures) -> Measures:
    """Make `Measures` from the name of a preset, a YAML file, or a mapping.

    Raises
    ------
    UsageError
        If there is no such preset or file, or a part of it is wrong.
    """
    if isinstance(name, Measures):
        return name
    if isinstance(name, dict):
        return build(Measures, name)
    if name in PRESETS:
        return build(Measures, PRESETS[name])
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return build(Measures, load_yaml(name))
    raise UsageError(unknown("set of metrics", name, PRESETS) + " Or give a YAML file.")
