"""Stimuli that a model predicts to drive a region, or two regions apart.

Comes in: a fitted model of one family of vectors, and goals. Goes out: the embedding that the model predicts to
respond most within the range of embeddings of real pictures, the real pictures that come closest to it,
and, with a generator of that embedding space, pictures painted from it. Nobody has seen these: what a model
predicts is a hypothesis.

References: Bashivan, Kar & DiCarlo 2019, doi:10.1126/science.aav9436; Gu et al. 2022,
doi:10.1016/j.neuroimage.2021.118812 (pictures made to drive regions of human visual cortex).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.config import Config
from neurovis.encode.features import Source, components
from neurovis.encode.readouts.base import Fitted
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.generate.base import Cue, Generator
from neurovis.records import Stimuli
from neurovis.store import write_h5

FORMAT = "neurovis-synthesis"
SMALL = 96
"""Pixels along a side of the copies of real pictures."""


class Synthesis(Config):
    """What is synthesised.

    Parameters
    ----------
    family : str
        Of vectors; the generator takes its encoder's embeddings.
    readout : str
        The first that joins families if empty.
    goals : tuple of str
        Regions whose mean predicted response is to be largest, or ``A - B`` for two to be driven apart;
        every region if empty.
    components : int
        Principal components of real pictures' embeddings in which is searched.
    range : float
        Quantile of real pictures' distances from their mean beyond which is not searched.
    n_starts, n_steps : int
        Starts from the real pictures with the best predictions, and steps of gradient ascent.
    generator : Generator, optional
        Paints the embeddings; without one the nearest real pictures stand for them.
    n_pictures : int
        Per goal.
    """

    family: str = pydantic.Field(min_length=1)
    readout: str = ""
    goals: tuple[str, ...] = ()
    components: pydantic.PositiveInt = 64
    range: float = pydantic.Field(0.9, gt=0, le=1)
    n_starts: pydantic.PositiveInt = 8
    n_steps: pydantic.PositiveInt = 200
    generator: Generator | None = None
    n_pictures: pydantic.PositiveInt = 4


@dataclass(frozen=True, eq=False)
class Found:
    """What was found for one goal.

    Parameters
    ----------
    goal : str
    vector : array (dim,)
        The embedding, as the encoder would give it.
    predicted : float
        Mean response predicted of it, in standard deviations of measured mean responses.
    natural : array of str (picture,)
        Real pictures with the best predictions.
    natural_predicted : array (picture,)
    nearest : array of str (picture,)
        Real pictures nearest to the embedding, by cosine.
    """

    goal: str
    vector: np.ndarray
    predicted: float
    natural: np.ndarray
    natural_predicted: np.ndarray
    nearest: np.ndarray


def goals_of(
    options: Synthesis, groups: dict[str, np.ndarray], keep: np.ndarray, spread: np.ndarray
) -> dict[str, np.ndarray]:
    """What each goal sums of predicted responses: weights (target,) by goal.

    Parameters
    ----------
    options : Synthesis
    groups : dict of array of bool (target,)
    keep : array of bool (target,)
        Targets that are scored.
    spread : array (target,)
        Standard deviation of measured responses.
    """
    regions = [name for name in groups if name != "all"] or ["all"]
    out = {}
    for goal in options.goals or regions:
        weight = np.zeros(len(keep))
        for sign, name in zip((1, -1), [part.strip() for part in goal.split(" - ")]):
            if name not in groups:
                raise UsageError(f"synthesis.goals: {unknown('region', name, groups)}")
            member = groups[name] & keep & (spread > 0)
            if not member.any():
                break
            weight[member] += sign / (member.sum() * spread[member])
        else:
            out[goal] = weight
    return out


def optimise(
    fitted: Fitted, source: Source, images: Sequence[str], weight: np.ndarray, goal: str,
    options: Synthesis, offset: float = 0.0,
) -> Found:  # fmt: skip
    """The embedding within the range of real ones that is predicted to reach the goal best.

    Parameters
    ----------
    fitted : Fitted
        With a `gradient`.
    source : Source
    images : sequence of str
        Training pictures: they say where real embeddings lie.
    weight : array (target,)
        From `goals_of`.
    goal : str
    options : Synthesis
    offset : float
        Subtracted from predictions: the goal's mean measured response.
    """
    import torch

    if fitted.gradient is None:
        raise NeurovisError(
            f"synthesis: the model of {source.name} gives no gradients, expected one of a single family of "
            "vectors; name a family of its own, or another readout."
        )
    images = np.asarray(images)
    vector = source.vectors(images).astype(np.float64)
    mean = vector.mean(0)
    n = min(options.components, len(vector) - 1, vector.shape[1])
    basis = components(vector - mean, n)
    place = (vector - mean) @ basis.T
    size = place.std(0).clip(1e-9)
    place = place / size
    limit = float(np.quantile(np.linalg.norm(place, axis=1), options.range))
    sums = torch.from_numpy(weight.astype(np.float32))
    turn = torch.from_numpy((size[:, None] * basis).astype(np.float32))
    middle = torch.from_numpy(mean.astype(np.float32))

    def value(z: torch.Tensor) -> torch.Tensor:
        return fitted.gradient(middle + z @ turn) @ sums - offset

    with torch.no_grad():
        real = (
            fitted.gradient(torch.from_numpy(vector.astype(np.float32))) @ sums - offset
        ).numpy()
    order = np.argsort(-real, kind="stable")
    z = torch.from_numpy(place[order[: options.n_starts]].astype(np.float32)).requires_grad_()
    for step in range(options.n_steps):
        (slope,) = torch.autograd.grad(value(z).sum(), z)
        with torch.no_grad():
            # steps of one length, ever shorter: at the rim they end where the slope points outwards
            far = 0.2 * limit * (1 - step / options.n_steps)
            z += far * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
            z *= (limit / z.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    with torch.no_grad():
        reached = value(z)
        best = int(reached.argmax())
        found = (middle + z[best] @ turn).numpy()
    alike = (vector @ found) / (np.linalg.norm(vector, axis=1) * np.linalg.norm(found)).clip(1e-12)
    first = order[: options.n_pictures]
    return Found(
        goal, found, float(reached[best]), images[first], real[first],
        images[np.argsort(-alike, kind="stable")[: options.n_pictures]],
    )  # fmt: skip


def write(path: Path, found: list[Found], options: Synthesis, stimuli: Stimuli, seed: int) -> None:
    """Write ``synthesis.h5``: embeddings, predictions, small copies of real pictures, painted ones.

    Parameters
    ----------
    path : Path
    found : list of Found
    options : Synthesis
    stimuli : Stimuli
        Where the real pictures lie.
    seed : int
        Of the first painted picture of each goal.

    Raises
    ------
    NeurovisError
        If the generator takes embeddings of another width.
    """
    data: dict[str, Any] = {
        "goal": np.array([one.goal for one in found]),
        "vector": np.stack([one.vector for one in found]).astype(np.float32),
        "predicted": np.array([one.predicted for one in found], np.float32),
        "natural": np.stack([one.natural for one in found]),
        "natural_predicted": np.stack([one.natural_predicted for one in found]).astype(np.float32),
        "nearest": np.stack([one.nearest for one in found]),
    }
    for name in ("natural", "nearest"):
        shown = [_small(stimuli, image) for image in data[name].ravel().tolist()]
        if all(one is not None for one in shown):
            data[f"{name}_picture"] = np.stack(shown).reshape(*data[name].shape, SMALL, SMALL, 3)
    about: dict[str, Any] = {"family": options.family}
    if options.generator is not None:
        painter = options.generator.build()
        if painter.width != data["vector"].shape[1]:
            raise NeurovisError(
                f"synthesis.generator: takes embeddings of {painter.width} dims, family {options.family!r} has "
                f"{data['vector'].shape[1]}; name the family whose encoder it takes "
                f"({options.generator.takes or 'any'})."
            )
        rows = np.repeat(np.arange(len(found)), options.n_pictures)
        seeds = seed + np.tile(np.arange(options.n_pictures), len(found))
        painted = painter.paint(Cue(data["vector"][rows]), seeds.astype(np.int64))
        data["picture"] = painted.reshape(len(found), options.n_pictures, *painted.shape[1:])
        about["generator"] = options.generator.component or type(options.generator).__name__
    write_h5(path, FORMAT, data, **about)


def _small(stimuli: Stimuli, image: str) -> np.ndarray | None:
    """A small copy of a picture; None where the stimulus has no picture of its own."""
    from neurovis.images import open_picture

    row = int(stimuli.index([image])[0])
    files = stimuli.files(row)
    if len(files) != 1 or not files[0].is_file():
        return None
    return np.asarray(open_picture(files[0]).resize((SMALL, SMALL)), np.uint8)
