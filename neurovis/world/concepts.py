"""What the world contains: superclass > family > concept, and what each concept means.

A `Family` is a drawing function plus a table: every concept is a named region of the function's
parameters. `semantics` gives each concept a fixed vector built from the hierarchy, graded
attributes and the concept's own parameters; simulated late responses follow it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from neurovis.errors import NeurovisError, unknown

# Graded attributes in the order of the table rows of `Family.traits`; `metres` is a length.
TRAITS = (
    "animate", "natural", "edible", "moves", "tool", "flies", "aquatic", "wheels", "round", "soft",
    "indoor", "metres",
)  # fmt: skip
SEMANTIC_DIM = 32


@dataclass(frozen=True)
class Family:
    """Concepts that share one drawing function.

    Attributes
    ----------
    name, superclass : str
    draw : callable(sketch, p)
        Draws with the parameters `p` of one exemplar.
    defaults : dict
        Parameters of a concept that says nothing; those ending in `_c` are colours, several
        believable ones separated by spaces.
    table : dict
        Concept name -> the parameters that differ.
    traits : dict
        Graded attributes of the family, `TRAITS`; a concept may override them.
    faces : bool
        Has a front that points right, or left in a mirrored scene.
    floats : bool
        Drawn in mid-air rather than standing on the ground.
    free : bool
        Colour is a matter of taste, so captions name it.
    """

    name: str
    superclass: str
    draw: Callable
    defaults: Mapping
    table: Mapping
    traits: Mapping = field(default_factory=dict)
    floats: bool = False
    faces: bool = False
    free: bool = False


@dataclass(frozen=True)
class Concept:
    """A named region of a family's parameters."""

    name: str
    family: str
    superclass: str
    parameters: Mapping


@lru_cache(maxsize=1)
def families():
    """All families by name, in a stable order."""
    from . import families as package

    return {family.name: family for family in package.FAMILIES}


@lru_cache(maxsize=1)
def _world():
    found = {}
    for family in families().values():
        for name, own in family.table.items():
            if name in found:
                raise ValueError(f"concept {name!r} is in {found[name].family} and {family.name}")
            parameters = {**family.defaults, **own}
            found[name] = Concept(name, family.name, family.superclass, parameters)
    return found


def concepts():
    """Every concept, family by family.

    Returns
    -------
    tuple of Concept
    """
    return tuple(_world().values())


def concept(name):
    """The concept of a name.

    Raises
    ------
    NeurovisError
        With the nearest name there is.
    """
    if name not in _world():
        raise NeurovisError(unknown("concept", name, _world()))
    return _world()[name]


def held_out(n=200, seed=0):
    """Names of `n` test concepts, spread over the families in proportion to their size.

    Parameters
    ----------
    n : int
        At least 1; at least as many concepts must remain for training as there are families.
    seed : int

    Returns
    -------
    tuple of str

    Raises
    ------
    NeurovisError
        If n leaves too few concepts for training.
    """
    everything = concepts()
    most = len(everything) - len(families())
    if not 1 <= n <= most:
        raise NeurovisError(
            f"held_out: n must be between 1 and {most}, found {n}; choose a smaller n."
        )
    groups = {name: [c.name for c in everything if c.family == name] for name in families()}
    exact = {name: n * len(g) / len(everything) for name, g in groups.items()}
    quota = {name: int(share) for name, share in exact.items()}
    rest = sorted(groups, key=lambda name: quota[name] - exact[name])
    for name in rest[: n - sum(quota.values())]:
        quota[name] += 1
    chosen = set()
    for name, group in groups.items():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        chosen.update(group[i] for i in rng.permutation(len(group))[: quota[name]])
    return tuple(c.name for c in everything if c.name in chosen)


def _own(members, dim=48):
    """What tells the concepts of one family apart, unit vectors (concept, dim)."""
    code = np.zeros((len(members), dim))

    def direction(text):
        return np.random.default_rng(zlib.crc32(text.encode())).standard_normal(dim)

    for key in members[0].parameters:
        if key in TRAITS or key == "shows":
            continue
        values = [c.parameters[key] for c in members]
        if isinstance(values[0], float):
            graded = np.array(values) - np.mean(values)
            code += np.outer(graded / (graded.std() + 1e-9), direction(key))
        else:
            code += [direction(f"{key}={value}") for value in values]
    code -= code.mean(0)
    return code / (np.linalg.norm(code, axis=1, keepdims=True) + 1e-9)


@lru_cache(maxsize=1)
def _semantics():
    everything = concepts()

    def block(matrix, weight):
        """Centre a block and give it a mean squared norm of weight ** 2."""
        matrix = matrix - matrix.mean(0)
        return weight * matrix / np.sqrt((matrix**2).sum(1).mean())

    def one_hot(labels):
        names = sorted(set(labels))
        return np.eye(len(names))[[names.index(label) for label in labels]]

    traits = np.zeros((len(everything), len(TRAITS)))
    own = np.zeros((len(everything), 48))
    for i, c in enumerate(everything):
        graded = {**families()[c.family].traits, **c.parameters}
        traits[i] = [graded.get(name, 0.0) for name in TRAITS[:-1]] + [
            0.5 * np.log(graded.get("metres", 0.3))
        ]
    for name in families():
        members = [i for i, c in enumerate(everything) if c.family == name]
        own[members] = _own([everything[i] for i in members])
    features = np.concatenate([
        block(one_hot([c.superclass for c in everything]), 0.8),
        block(one_hot([c.family for c in everything]), 1.0),
        block(traits, 1.0),
        block(own, 1.0),
    ], 1)  # fmt: skip
    mixing = np.random.default_rng(20).standard_normal((features.shape[1], SEMANTIC_DIM))
    code = features @ mixing
    code = (code - code.mean(0)) / code.std(0)
    return {c.name: row for c, row in zip(everything, code.astype(np.float32))}


def semantics(name):
    """What a concept means, as a vector: close for concepts of one family or superclass.

    Parameters
    ----------
    name : str

    Returns
    -------
    array (dim,) float32
        32 values, each with mean 0 and standard deviation 1 over all concepts.
    """
    return _semantics()[concept(name).name].copy()
