"""From what was decoded to what a generator is told.

Comes in: a run, a generator, and decoded vectors. Goes out: cues. Where ``neurovis generate`` painted the run
with that generator, the prior and the rough pictures that it learned are used; else the way from the
target's encoder is gone back, which only knows what the decoder was compared with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import resolve
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.generate.artefact import FILE, FORMAT
from neurovis.generate.base import Cue, Generator
from neurovis.generate.low_level import invertible, rough
from neurovis.generate.posterior import Tensors, estimator
from neurovis.generate.prior import Prior
from neurovis.images import encoder
from neurovis.norms import Norms, read_norms
from neurovis.spaces import Space
from neurovis.store import dataset, is_complete, load_tensors, open_h5


@dataclass(frozen=True, eq=False)
class Way:
    """From a decoded vector to what the target's encoder would have made.

    Parameters
    ----------
    space : Space
        Of the target; its learned projection is undone by least squares.
    norms : Norms or None
        Restores the length of unprojected vectors.
    """

    space: Space
    norms: Norms | None = None

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """A decoded vector (dim,) in the encoder's space: array (dim,) float32."""
        space, out = self.space, np.asarray(vector, np.float64)
        if space.projection is not None:
            weight = space.projection.astype(np.float64)
            out = (
                out / weight if weight.ndim == 1 else np.linalg.lstsq(weight.T, out, rcond=None)[0]
            )
        if self.norms is not None:
            out = self.norms.restore(out[None].astype(np.float32))[0].astype(np.float64)
        if space.centre is not None:
            out = out * space.scale
            if space.basis is not None:
                out = (out * space.deviation) @ space.basis
            out = out + space.centre
        return out.astype(np.float32)

    def cue(self, vector: np.ndarray, n_averaged: int, seed: int) -> Cue:
        """What the generator is told of a decoded vector (dim,)."""
        return Cue(self(vector)[None])

    @classmethod
    def of(cls, run: str | Path, spaces: dict[str, Space], target: str) -> Way:
        """Read it from a run.

        Raises
        ------
        UsageError
            If there is no such target.
        """
        if target not in spaces:
            raise UsageError(unknown("generator: target", target, spaces))
        path = Path(run) / "systems" / "tower" / "norms.safetensors"
        norms = read_norms(path).get(target) if path.is_file() else None
        return cls(spaces[target], norms)


@dataclass(frozen=True, eq=False)
class Fit:
    """What one reconstruction of the run learned of one subject's model.

    Parameters
    ----------
    n_averaged : int
        Trials averaged in the rows that it painted.
    prior : Prior
    tensors : dict of array
    low : ImageEncoder, optional
        Of the rough pictures.
    low_tensors : dict of array
    """

    n_averaged: int
    prior: Prior
    tensors: Tensors
    low: Any = None
    low_tensors: Tensors = field(default_factory=dict)

    @cached_property
    def ready(self) -> Any:
        """The prior as a function of vectors (row, dim) and seeds (row,)."""
        return self.prior.ready(self.tensors)

    @cached_property
    def rough(self) -> Any:
        """Rough pictures of vectors (row, dim); None where there is no low-level stage."""
        if self.low is None:
            return None
        return partial(rough, self.low, estimator(self.low_tensors))


@dataclass(frozen=True, eq=False)
class Learned:
    """From a decoded vector to a cue, by what ``neurovis generate`` learned.

    Parameters
    ----------
    fits : tuple of Fit
        By ascending `n_averaged`, which differ.
    """

    fits: tuple[Fit, ...]

    def cue(self, vector: np.ndarray, n_averaged: int, seed: int) -> Cue:
        """What the generator is told of a decoded vector (dim,), the mean of so many trials."""
        known = [fit for fit in self.fits if fit.n_averaged <= n_averaged]
        fit, row = known[-1] if known else self.fits[0], np.float32(vector)[None]
        low = fit.rough(row) if fit.rough else None
        return Cue(fit.ready(row, np.array([seed], np.int64)), low)


def cueing(
    run: str | Path, spaces: dict[str, Space], subject: str, generator: Generator
) -> tuple[str, Way | Learned, str]:
    """How a generator is told what a run's tower decodes.

    Parameters
    ----------
    run : path
    spaces : dict of Space
        Of the run's targets.
    subject : str
    generator : Generator

    Returns
    -------
    str
        Name of the target that is painted from.
    Way or Learned
    str
        One sentence on it.
    """
    run, found = Path(run), {}
    for folder in sorted(run.glob("reconstructions/*")):
        if is_complete(folder) and (fit := _fit(folder, subject, generator)) is not None:
            target, made = fit
            found.setdefault(target, {})[made.n_averaged] = made
    for target in spaces:
        if target in found:
            fits = tuple(fit for _, fit in sorted(found[target].items()))
            words = " and ".join(str(fit.n_averaged) for fit in fits)
            low = ", and rough pictures" if fits[0].low is not None else ""
            text = f"painting: with the {fits[0].prior.component} prior{low} of the run, for means of {words}"
            return target, Learned(fits), text
    own = [name for name, space in spaces.items() if _made_by(space, generator)]
    target = own[0] if own else next(iter(spaces))
    if generator.takes and not own:
        raise UsageError(
            f"generator: takes embeddings of {generator.takes}, the run's targets are of "
            f"{', '.join(space.name for space in spaces.values())}; paint the run first, whose prior is then "
            f"used: neurovis generate {run} generator={generator.component}."
        )
    text = "painting: no prior of the run, the target's space is gone back by least squares"
    return target, Way.of(run, spaces, target), text


def _made_by(space: Space, generator: Generator) -> bool:
    """Whether a target is of the embeddings that a generator takes."""
    if not generator.takes:
        return True
    stated = {k: v for k, v in space.encoder.items() if k not in ("weights_sha256", "target")}
    return stated in [
        one.identity("") for one in (encoder(generator.takes), generator.image_encoder())
    ]


def _fit(folder: Path, subject: str, generator: Generator) -> tuple[str, Fit] | None:
    """What a reconstruction learned, and of which target; None where it is of another generator."""
    path = folder / FILE
    with open_h5(path, FORMAT) as file:
        about = json.loads(file.attrs.get("about", "{}"))
        if "brain" not in file or about.get("generator", {}).get("name") != generator.component:
            return None
        n_averaged = int(dataset(path, file["brain"], "n_averaged")[0])
    if about.get("system") != "tower":
        return None
    names = [f"tower-{subject}", "tower"]
    kept = [folder / "priors" / f"{name}.safetensors" for name in names]
    kept = [one for one in kept if one.is_file()]
    if not kept:
        return None
    stated = {k: v for k, v in about["prior"].items() if k != "fits"}
    tensors = _tensors(kept[0])
    tensors.pop("n_images", None)
    low, low_tensors = about.get("low"), {}
    if low is not None:
        low = invertible(low)
        place = kept[0].with_name(f"low-{kept[0].name}")
        if not place.is_file():
            raise NeurovisError(
                f"{place}: not there, expected what the rough pictures were made with; delete {folder} and "
                "run neurovis generate again."
            )
        low_tensors = {k: v.astype(np.float64) for k, v in _tensors(place).items()}
    return about["target"], Fit(n_averaged, resolve(Prior, stated), tensors, low, low_tensors)


def _tensors(path: Path) -> Tensors:
    return {k: v.numpy() for k, v in load_tensors(path).items()}
