"""Encoders named by a string.

Comes in: ``open_clip:ViT-H-14/laion2b_s32b_b79k@0.35+tokens``. Goes out: the encoder's config.

    encoder  = feature ("+" feature)* | world | network ["@" place] ("+" option)*
    world    = "world:" ("clip_kinds" | "vae" | "clip_text" ["+caption"] | "clip" or "dino" as a network)
    feature  = "classical" | "gabor" | "color" | "hog" | "pixels"
    network  = ("open_clip:" | "torchvision:") model "/" (tag | file) | "timm:" model ["." tag] ["/" file]
               | "open_clip_text:" model "/" (tag | file), whose one option is "caption" | "sentence:" model
               where model may be "local-dir:" folder or "hf-hub:" org "/" repository
    place    = relative depth in (0, 1] | "layer" number from 1 | "module=" part, such as layer3.5
    option   = "tokens" | "mean" | "cls" | number "px" | "bilinear"
"""

from __future__ import annotations

import re
from typing import Any

from neurovis.config import build, resolve
from neurovis.errors import UsageError, unknown
from neurovis.images.base import ImageEncoder
from neurovis.images.beside import Beside  # noqa: F401 - registers itself
from neurovis.images.classical import Classical, Color, Gabor, Hog, Pixels
from neurovis.images.maps import Maps  # noqa: F401 - registers itself
from neurovis.images.networks import SUFFIXES, OpenClip, Timm
from neurovis.images.sentence import Sentence
from neurovis.images.text import OpenClipText
from neurovis.images.views import Viewed  # noqa: F401 - registers itself
from neurovis.images.vision import Torchvision
from neurovis.images.world import WorldClip, WorldClipKinds, WorldClipText, WorldDino, WorldVae

FEATURES = {cls.component: cls for cls in (Gabor, Color, Hog, Pixels, Classical)}
NETWORKS = {cls.component: cls for cls in (OpenClip, OpenClipText, Timm, Torchvision)}
_TAIL = re.compile(r"(?:@(?P<place>[^@+/]*))?(?P<options>(?:\+[^@+/]*)*)$")


def encoder(name: str | dict[str, Any] | ImageEncoder) -> ImageEncoder:
    """Make the config of an image encoder from its name.

    Parameters
    ----------
    name : str, dict or ImageEncoder
        A string of the grammar above, a mapping with a ``name``, ``package.module:Class``, or a
        config, which is returned as it is.

    Returns
    -------
    ImageEncoder

    Raises
    ------
    UsageError
        If a part of the name is unknown, with the nearest right one.

    Examples
    --------
    >>> encoder("timm:vit_base_patch14_dinov2.lvd142m@0.66").depth
    0.66
    >>> encoder("gabor+color").label
    'gabor+color'
    >>> encoder("{name: viewed, encoder: gabor, view: mosaic}").label
    'gabor-mosaic'
    """
    if isinstance(name, str) and name.startswith("{"):
        name = _mapping(name)
    if not isinstance(name, str):
        return resolve(ImageEncoder, name)
    source, colon, rest = name.partition(":")
    if not colon:
        return _features(name)
    if source == "world":
        return _world(name, rest)
    if source == Sentence.component:
        return build(Sentence, {"model": rest})
    if source in NETWORKS:
        return _network(name, NETWORKS[source], rest)
    if "." in source and "+" not in source:
        return resolve(ImageEncoder, name)
    if "+" in source:
        raise UsageError(
            f"encoder {name!r}: only features without weights can be added up "
            f"({', '.join(sorted(FEATURES))}); embed with each network by itself."
        )
    raise UsageError(unknown("encoder", source, [*FEATURES, *NETWORKS, "sentence", "world"]))


def _world(name: str, rest: str) -> ImageEncoder:
    """One of the encoders whose weights are shipped."""
    plain = {"clip_kinds": WorldClipKinds, "clip_text": WorldClipText, "vae": WorldVae}
    networks = {"clip": WorldClip, "dino": WorldDino}
    tail = _TAIL.search(rest)
    base = rest[: tail.start()]
    if base in networks:
        return build(networks[base], _options(name, tail))
    if rest == "clip_text+caption":
        return WorldClipText(template="{caption}")
    if rest not in plain:
        raise UsageError(
            unknown("encoder", name, [f"world:{known}" for known in (*plain, *networks)])
        )
    return plain[rest]()


def _mapping(name: str) -> dict[str, Any]:
    """What a mapping written as YAML says."""
    import yaml

    try:
        value = yaml.safe_load(name)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict):
        raise UsageError(
            f"encoder {name!r}: expected a mapping in YAML such as {{name: pixels, side: 4}}, found "
            "something else; correct it."
        )
    return value


def _features(name: str) -> ImageEncoder:
    parts = name.split("+")
    for part in parts:
        if part in NETWORKS:
            raise UsageError(f"encoder {name!r}: expected {part}:MODEL, found no model; name one.")
        if part not in FEATURES:
            return resolve(ImageEncoder, name) if len(parts) == 1 else _refuse(part)
    if len(parts) == 1:
        return FEATURES[name]()
    if len(set(parts)) < len(parts) or "classical" in parts:
        raise UsageError(
            f"encoder {name!r}: expected different features, and classical by itself as it holds "
            "them all; write each once."
        )
    return Classical(parts=tuple(FEATURES[part]() for part in parts))


def _refuse(part: str) -> ImageEncoder:
    raise UsageError(unknown("encoder", part, FEATURES))


def _network(name: str, cls: type, rest: str) -> ImageEncoder:
    tail = _TAIL.search(rest)
    if cls is OpenClipText:
        return _text(name, rest[: tail.start()], rest[tail.start() :])
    options = _options(name, tail)
    model = rest[: tail.start()]
    weights = ""
    if not model.startswith(("local-dir:", "hf-hub:")):
        model, _, weights = model.partition("/")
    if not model or (cls is not Timm and not weights and ":" not in model):
        raise UsageError(
            f"encoder {name!r}: expected open_clip:MODEL/TAG, open_clip:MODEL/FILE{SUFFIXES[0]}, "
            f"timm:MODEL.TAG or torchvision:MODEL/TAG, found no {'weights' if model else 'model'}; "
            "name them."
        )
    return build(cls, {"model": model, "weights": weights, **options})


def _options(name: str, tail: re.Match) -> dict[str, Any]:
    """Options of a network from what stands behind its name."""
    options: dict[str, Any] = {}
    if tail["place"] is not None:
        options.update(_place(name, tail["place"]))
    for option in tail["options"].split("+")[1:]:
        if re.fullmatch(r"[1-9]\d*px", option):
            key, value = "image_size", int(option[:-2])
        elif option in ("tokens", "mean", "cls"):
            key, value = "pool", option
        elif option == "bilinear":
            key, value = "resize", option
        else:
            hint = unknown("option", option, ["tokens", "mean", "cls", "224px", "bilinear"])
            raise UsageError(f"encoder {name!r}: {hint}")
        if key in options:
            raise UsageError(f"encoder {name!r}: +{option} contradicts another option; give one.")
        options[key] = value
    return options


def _text(name: str, model: str, options: str) -> ImageEncoder:
    if options not in ("", "+caption"):
        raise UsageError(
            f"encoder {name!r}: expected +caption or nothing behind a text tower, found {options!r}; "
            "write a template as {name: open_clip_text, model: ..., weights: ..., template: ...}."
        )
    weights = ""
    if not model.startswith(("local-dir:", "hf-hub:")):
        model, _, weights = model.partition("/")
    if not model or (not weights and ":" not in model):
        raise UsageError(
            f"encoder {name!r}: expected open_clip_text:MODEL/TAG, found no "
            f"{'weights' if model else 'model'}; name them."
        )
    caption = {"template": "{caption}"} if options else {}
    return build(OpenClipText, {"model": model, "weights": weights, **caption})


def _place(name: str, place: str) -> dict[str, Any]:
    """Depth or layer from what stands behind @."""
    if found := re.fullmatch(r"layer([1-9]\d*)", place):
        return {"layer": int(found[1])}
    if found := re.fullmatch(r"module=([A-Za-z_][\w.]*)", place):
        return {"module": found[1]}
    if re.fullmatch(r"\d*\.?\d+|\d+\.", place) and 0 < float(place) <= 1:
        return {"depth": float(place)}
    raise UsageError(
        f"encoder {name!r}: expected @ and a relative depth in (0, 1], a block such as layer12 "
        f"or a part such as module=layer3.5, found @{place}; correct it."
    )
