import numpy as np
import pytest

from neurovis.errors import UsageError
from neurovis.images import embed, encoder
from neurovis.records import Embeddings, Split, Stimuli
from neurovis.targets import Target


def stimuli(concepts):
    n = len(concepts)
    images = [f"i{i}" for i in range(n)]
    return Stimuli(images, [()] * n, [""] * n, [0] * n, [0] * n, concepts, ["train"] * n)


def test_vectors_tell_concepts_and_nothing_else(tmp_path):
    found = Embeddings.read(
        embed("category", stimuli(["shoe", "cat", "shoe"]), tmp_path, quiet=True) / "embeddings.h5"
    )
    assert found.vector.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert found.encoder["name"] == "category"
    again = embed("category", stimuli(["shoe", "cat", "shoe"]), tmp_path, quiet=True)
    other = embed("category", stimuli(["shoe", "cat", "cat"]), tmp_path, quiet=True)
    assert again != other
    assert Embeddings.read(other / "embeddings.h5").vector.tolist() == [[0, 1], [1, 0], [1, 0]]


def test_as_a_target_every_category_is_as_far_from_every_other(tmp_path):
    some = stimuli(list("abcd"))
    split = Split(("r1",), (), ("r2",), unit="recording")
    for target in (Target(encoder="category"), Target(encoder="category", components=3)):
        vector = target.vectors(some, split, tmp_path, quiet=True).vector
        distance = np.linalg.norm(vector[:, None] - vector, axis=-1)
        np.testing.assert_allclose(distance[~np.eye(4, dtype=bool)], distance[0, 1], rtol=1e-5)
        assert distance[0, 1] > 0.5


def test_what_it_cannot_do(tmp_path):
    with pytest.raises(UsageError, match="all stimuli are 'cat'"):
        embed("category", stimuli(["cat", "cat"]), tmp_path)
    with pytest.raises(UsageError, match="made from the concepts"):
        encoder("category").build()


def test_a_stimulus_without_pictures_is_a_category():
    paths = [("a.png",), ("b.png", "c.png"), ()]
    three = Stimuli(list("xyz"), paths, [""] * 3, [1] * 3, [1] * 3, list("xyz"), ["train"] * 3)
    assert three.category.tolist() == [False, True, True]
