"""Drawings that the image world's networks learn from.

Comes in: a folder. Goes out: pictures of 64 pixels and captions of the 423 concepts that no study tests on; the 200
others are never drawn. Drawn larger and averaged, as studies' pictures reach encoders. What is drawn is kept and not
drawn again. Studies show the first exemplars; these begin at `FIRST`, and the last of each concept are held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurovis.parallel import Workers
from neurovis.store import atomic
from neurovis.world import scenes
from neurovis.world.scenes import Concept

SIZE = 64
FIRST, N_TRAIN, N_HELD = 1000, 254, 6
N_KIN = 1500
"""Pictures of each family's things without a name."""


@dataclass(frozen=True)
class Drawings:
    """Pictures by concept and exemplar, on disk, and what they are called.

    Parameters
    ----------
    concept : tuple of Concept
    picture : list of array (exemplar, 64, 64, 3) uint8
    caption : list of tuple of str
    """

    concept: tuple[Concept, ...]
    picture: list[np.ndarray]
    caption: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.concept)

    @property
    def n_train(self) -> int:
        """Exemplars of each concept that networks are trained on; those behind them are held out."""
        return len(self.picture[0]) - N_HELD

    @property
    def held(self) -> range:
        """Numbers of the exemplars that nothing was trained on."""
        return range(self.n_train, len(self.picture[0]))

    def some(
        self, rng: np.random.Generator, n: int, use: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Random training pictures: numbers of their concepts and exemplars; concepts differ while they last."""
        use = np.arange(len(self)) if use is None else use
        concept = rng.permutation(np.resize(rng.permutation(use), n))
        return concept, rng.integers(self.n_train, size=n)

    def at(self, concept: np.ndarray, exemplar: np.ndarray) -> np.ndarray:
        """Pictures (image, 3, 64, 64) float32 in 0..1."""
        return _at(self.picture, concept, exemplar)


@dataclass(frozen=True)
class Kin:
    """Pictures of things without a name: each parameter is that of one of two known concepts of a family.

    Parameters
    ----------
    family : tuple of str
    picture : list of array (number, 64, 64, 3) uint8
        By family.
    caption : list of tuple of str
    """

    family: tuple[str, ...]
    picture: list[np.ndarray]
    caption: list[tuple[str, ...]]

    def some(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Random pictures: numbers of their families and of the pictures."""
        family = rng.integers(len(self.family), size=n)
        return family, rng.integers(len(self.picture[0]), size=n)

    def at(self, family: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Pictures (image, 3, 64, 64) float32 in 0..1."""
        return _at(self.picture, family, number)


def _at(picture: list[np.ndarray], which: np.ndarray, number: np.ndarray) -> np.ndarray:
    stack = np.stack([picture[w][n] for w, n in zip(which, number)])
    return stack.transpose(0, 3, 1, 2) / np.float32(255)


def draw_kin(folder: Path, n_jobs: int = 2) -> Kin:
    """Draw what is not drawn yet; open everything."""
    folder.mkdir(parents=True, exist_ok=True)
    families: dict[str, tuple[str, ...]] = {}
    for concept in known():
        families[concept.family] = (*families.get(concept.family, ()), concept.name)
    files = [folder / f"{name.replace(' ', '_')}.npz" for name in families]
    missing = [(*item, file) for item, file in zip(families.items(), files) if not file.is_file()]
    list(Workers(n_jobs=n_jobs).map(_family, missing, folder, "drawing kin"))
    picture, caption = [], []
    for file in files:
        with np.load(file) as stored:
            picture.append(stored["picture"])
            caption.append(tuple(stored["caption"].tolist()))
    return Kin(tuple(families), picture, caption)


def _family(name: str, members: tuple[str, ...], file: Path) -> None:
    picture, caption, number = [], [], 0
    while len(picture) < N_KIN:
        scene = scenes.sample_kin(name, members, number)
        number += 1
        try:
            picture.append(_small(scene))
        except ValueError:  # what goes with one parent's parts may be missing in the other
            continue
        caption.append(scene.caption)
    with atomic(file) as partial, partial.open("wb") as stream:
        np.savez(stream, picture=np.stack(picture), caption=np.array(caption))


def _small(scene: scenes.Scene) -> np.ndarray:
    large = scenes.render(scene, 2 * SIZE)
    small = large.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    return np.rint(small).astype(np.uint8)


def known() -> tuple[Concept, ...]:
    """Concepts that no study tests on."""
    test = set(scenes.held_out(200))
    return tuple(concept for concept in scenes.concepts() if concept.name not in test)


def draw(folder: Path, n_jobs: int = 2) -> Drawings:
    """Draw what is not drawn yet; open everything."""
    folder.mkdir(parents=True, exist_ok=True)
    concepts = known()
    files = [folder / f"{concept.name.replace(' ', '_')}.npy" for concept in concepts]
    missing = [(c.name, f) for c, f in zip(concepts, files) if not f.is_file()]
    list(Workers(n_jobs=n_jobs).map(_one, missing, folder, "drawing"))
    captions = [
        tuple(scenes.sample_scene(c.name, FIRST + e).caption for e in range(N_TRAIN + N_HELD))
        for c in concepts
    ]
    return Drawings(concepts, [np.load(file, mmap_mode="r") for file in files], captions)


def _one(name: str, file: Path) -> None:
    pictures = []
    for e in range(FIRST, FIRST + N_TRAIN + N_HELD):
        pictures.append(_small(scenes.sample_scene(name, e)))
    with atomic(file) as partial, partial.open("wb") as stream:
        np.save(stream, np.stack(pictures))
