"""Encoders side by side: the vectors of each, in order, whatever size of picture they look at."""

import numpy as np
import pytest
from PIL import Image

from neurovis.config import resolve, to_dict
from neurovis.errors import UsageError
from neurovis.images import embed, encoder
from neurovis.images.base import ImageEncoder
from neurovis.records import Embeddings, Stimuli

PARTS = [{"name": "pixels", "side": 3}, "gabor+color", "world:clip_kinds"]


def pictures(n: int = 4) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (40 + 7 * i, 60, 3), dtype=np.uint8)) for i in range(n)
    ]


def vectors(built, shown) -> np.ndarray:
    return built.embed(np.stack([built.prepare(picture) for picture in shown]))


def test_vectors_are_those_of_the_parts_in_their_order():
    shown = pictures()
    found = vectors(encoder({"name": "beside", "parts": PARTS}).build(), shown)
    alone = [vectors(encoder(part).build(), shown) for part in PARTS]
    np.testing.assert_allclose(found, np.concatenate(alone, axis=1), rtol=1e-6)


def test_scales_multiply_each_part():
    shown, parts = pictures(), PARTS[:2]
    scaled = encoder({"name": "beside", "parts": parts, "scales": [1, 0.5]})
    alone = [vectors(encoder(part).build(), shown) for part in parts]
    expected = np.concatenate([alone[0], 0.5 * alone[1]], axis=1)
    np.testing.assert_allclose(vectors(scaled.build(), shown), expected, rtol=1e-6)
    with pytest.raises(UsageError, match=r"scales: expected one for each of 2 parts, found 1"):
        encoder({"name": "beside", "parts": parts, "scales": [2]})


def test_what_they_are_known_by_is_that_of_every_part():
    config = encoder({"name": "beside", "parts": PARTS})
    weights = config.build().weights
    known = config.identity(weights)
    assert [part["name"] for part in known["parts"]] == ["pixels", "classical", "world_clip_kinds"]
    assert [bool(part.get("weights_sha256")) for part in known["parts"]] == [False, False, True]
    assert resolve(ImageEncoder, to_dict(config)) == config
    assert config.label == "pixels+gabor+color+world-clip_kinds"


def test_the_cache_holds_them(tmp_path):
    files = []
    for number, picture in enumerate(pictures()):
        files.append(f"{number}.png")
        picture.save(tmp_path / files[-1])
    names = [str(i) for i in range(4)]
    sizes = [picture.size for picture in pictures()]
    width, height = zip(*sizes)
    stimuli = Stimuli(names, files, [""] * 4, width, height, names, ["train"] * 4, folder=tmp_path)
    parts = {"name": "beside", "parts": PARTS[:2]}
    folder = embed(parts, stimuli, tmp_path, quiet=True)
    assert embed(parts, stimuli, tmp_path, quiet=True) == folder
    found = Embeddings.read(folder / "embeddings.h5")
    np.testing.assert_allclose(
        found.at(names), vectors(encoder(parts).build(), pictures()), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (["gabor"], "two encoders or more"),
        (["gabor", "category"], "looks at no picture"),
        (["gabor", "hgo"], "did you mean 'hog'"),
    ],
)
def test_what_cannot_stand_side_by_side(parts, says):
    with pytest.raises(UsageError, match=says):
        encoder({"name": "beside", "parts": parts})
