"""What a tower is trained to say: frozen embeddings, centred and reduced by training statistics.

Comes in: an encoder's name and the images of a split. Goes out: one float32 vector per image. Centre,
components and scales are estimated on training images alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.config import Config, added, how, to_dict
from neurovis.errors import NeurovisError, UsageError
from neurovis.images.views import Fovea, View, Viewed
from neurovis.records import Embeddings, Split, Stimuli
from neurovis.spaces import Aimed, Space


class Adaptive(Config):
    """Levels of blur between which a training item moves, by how well it is matched (`neurovis.levels`).

    Parameters
    ----------
    views : tuple of View
        From sharp to blurred, an odd number; items start in the middle. The default are the kernels
        of arXiv 2503.04207.
    rate : float
        Weight of the newest similarity in the moving average of an item's.
    deviations : float
        Distance from the mean of a batch's smoothed similarities, in their standard deviations, that
        is one level.
    """

    views: tuple[View, ...] = (Fovea(kernel=45), Fovea(kernel=51), Fovea(kernel=57))
    rate: float = pydantic.Field(0.3, gt=0, le=1)
    deviations: pydantic.PositiveFloat = 1.96

    @pydantic.field_validator("views")
    @classmethod
    def _odd(cls, value: tuple[View, ...]) -> tuple[View, ...]:
        if len(value) < 3 or len(value) % 2 == 0:
            raise UsageError(
                f"targets.adaptive.views: expected an odd number of views, three or more, found {len(value)}; "
                "the middle one is where items start."
            )
        return value


class Target(Config):
    """One target of a tower.

    Parameters
    ----------
    encoder : str or dict
        Name of a frozen encoder, such as ``classical`` or ``timm:...@0.66``, or a mapping with its
        name and options.
    centre : bool
        Subtract the mean over training images.
    components : int, optional
        Keep so many principal components of the training images.
    whiten : float
        0 keeps the components' variances, 1 makes them equal, between is a power of them.
    embeddings : str
        Path of an ``embeddings.h5`` to use instead of running the encoder.
    views : tuple of View
        Training pictures are embedded through each of these, and the embeddings averaged.
    adaptive : Adaptive, optional
        Training pictures are blurred more or less as the tower learns, instead of `views`.
    gallery : {"plain", "views"}
        How the pictures are embedded that predictions are compared with, in validation and test:
        as they are, or as in training (through the middle view of `adaptive`). Every score says which.
    """

    encoder: str | dict[str, Any] = "classical"
    centre: bool = True
    components: pydantic.PositiveInt | None = None
    whiten: float = pydantic.Field(0.0, ge=0, le=1)
    embeddings: str = how("")
    views: tuple[View, ...] = added(())
    adaptive: Adaptive | None = added(None)
    gallery: Literal["plain", "views"] = added("plain")

    @pydantic.model_validator(mode="after")
    def _check(self) -> Target:
        if self.views and self.adaptive:
            raise UsageError("targets: views and adaptive are both given; give one.")
        if (self.views or self.adaptive) and self.embeddings:
            raise UsageError(
                "targets.views: expected an encoder that is run, found embeddings from a file; leave one "
                "of both out."
            )
        if self.gallery == "views" and not (self.views or self.adaptive):
            raise UsageError("targets.gallery: is views, but no views are given; name some.")
        return self

    @property
    def trained(self) -> tuple[View, ...]:
        """Views whose mean is trained on at first; none where pictures are taken as they are."""
        adaptive = self.adaptive.views if self.adaptive else ()
        return adaptive[len(adaptive) // 2 :][:1] or self.views

    def vectors(
        self,
        stimuli: Stimuli,
        split: Split,
        out: Path,
        quiet: bool = False,
        shown: np.ndarray | None = None,
    ) -> Embeddings:
        """Vectors of all images as predictions are compared with them: `Embeddings` (image, dim).

        Parameters
        ----------
        stimuli : Stimuli
        split : Split
            Its training images give centre, components and scales.
        out : Path
            Where embeddings are kept (``<out>/embeddings/``).
        shown : array of str (trial,), optional
            Category of each training trial, where stimuli are categories: the centre is their mean, so
            that a regression tells categories apart by evidence alone, not by how frequent they are.

        Raises
        ------
        NeurovisError
            If images have no vector: how many, and the first.
        """
        trained = self._found(self.trained, stimuli, out, quiet)
        plain = self.gallery == "plain" and self.trained
        found = self._found((), stimuli, out, quiet) if plain else trained
        return self._vectors(found, trained, stimuli, split, shown)

    def training(
        self,
        stimuli: Stimuli,
        split: Split,
        out: Path,
        quiet: bool = False,
        shown: np.ndarray | None = None,
    ) -> tuple[Embeddings, ...]:
        """Vectors of all images as the tower is trained on them, one per level.

        Parameters are those of `vectors`. Each level is centred by its own mean over training images
        and shares components and scales with the others.
        """
        levels = [(view,) for view in self.adaptive.views] if self.adaptive else [self.trained]
        found = [self._found(views, stimuli, out, quiet) for views in levels]
        trained = found[len(found) // 2]
        return tuple(self._vectors(one, trained, stimuli, split, shown) for one in found)

    def _vectors(
        self,
        found: Embeddings,
        trained: Embeddings,
        stimuli: Stimuli,
        split: Split,
        shown: np.ndarray | None,
    ) -> Embeddings:
        """Vectors centred by their own mean; components and scales are those of what is trained on."""
        vector = _flat(found.at(stimuli.image))
        train = list(split.train if split.unit == "image" else stimuli.image)
        reference = _flat(found.at(train))
        centre = None
        if found is not trained:
            centre = reference.mean(0, dtype=np.float64)
            reference = _flat(trained.at(train))
        if shown is not None:
            centre = _flat(found.at(shown)).mean(0, dtype=np.float64)
        about: dict[str, Any] = {"centre": self.centre, "whiten": self.whiten}
        about["components"] = self.components
        if self.trained:
            views = self.adaptive.views if self.adaptive else self.views
            about |= {"trained": [view.label for view in views], "gallery": self.gallery}
        encoder = {**found.encoder, "target": about}
        space = replace(self.space(reference, centre), encoder=encoder)
        return Aimed(space.apply(vector), stimuli.image, encoder, space)

    def _found(
        self, views: tuple[View, ...], stimuli: Stimuli, out: Path, quiet: bool
    ) -> Embeddings:
        """Embeddings of the encoder, or their mean over views."""
        if self.embeddings:
            found = Embeddings.read(self.embeddings)
            missing = stimuli.image[~np.isin(stimuli.image, found.image)]
            if len(missing):
                raise NeurovisError(
                    f"{self.embeddings}: {len(missing)} of {len(stimuli)} images have no vector, the first "
                    f"is {str(missing[0])!r}; embed every image of stimuli.csv."
                )
            return found
        from neurovis.images import embed, encoder

        plain = encoder(self.encoder)
        configs = [Viewed(encoder=plain, view=view) for view in views] or [plain]
        paths = [embed(one, stimuli, out, quiet=quiet) / "embeddings.h5" for one in configs]
        first = Embeddings.read(paths[0])
        if len(paths) == 1:
            return first
        total = first.vector.astype(np.float64)
        for path in paths[1:]:
            total += Embeddings.read(path).vector
        about = {"name": "views", "views": [to_dict(view) for view in views]}
        about["encoder"] = first.encoder["encoder"]
        return Embeddings(total / len(paths), first.image, about)

    def pictures(self, vectors: np.ndarray) -> np.ndarray | None:
        """Pictures that vectors of this target stand for: array (row, height, width, 3) uint8.

        None where they stand for none: the encoder has no inverse, or its vectors were changed.
        """
        from neurovis.images import encoder

        if self.centre or self.components is not None or self.embeddings or self.trained:
            return None
        config = encoder(self.encoder)
        return config.pictures(vectors) if config.invertible else None

    def space(self, reference: np.ndarray, centre: np.ndarray | None = None) -> Space:
        """What is learned from training images.

        Parameters
        ----------
        reference : array (image, dim)
            Vectors of the training images.
        centre : array (dim,), optional
            Instead of their mean.
        """
        if not self.centre and self.components is None:
            return Space()
        middle = reference.mean(0, dtype=np.float64)
        reference = reference - middle
        centre = middle if centre is None else centre
        if self.components is None:
            scale = np.sqrt((reference**2).sum(1).mean() / reference.shape[1]) or 1.0
            return Space(centre, scale=scale)
        if self.components > min(len(reference) - 1, reference.shape[1]):
            raise NeurovisError(
                f"targets.components: expected at most {min(len(reference) - 1, reference.shape[1])} "
                f"(training images less one, or the embedding's width), found {self.components}."
            )
        _, size, basis = np.linalg.svd(reference, full_matrices=False)
        size, basis = size[: self.components], basis[: self.components]
        deviation = size / np.sqrt(len(reference) - 1)
        # unit mean variance, so that regression losses weigh the same for every encoder
        spread = np.sqrt(((deviation ** (1 - self.whiten)) ** 2).mean())
        return Space(centre, basis, deviation**self.whiten, spread)


def _flat(vector: np.ndarray) -> np.ndarray:
    """Tokens side by side: array (image, dim)."""
    return vector.reshape(len(vector), -1) if vector.ndim == 3 else vector


def named(targets: dict[str, Any]) -> dict[str, Any]:
    """Targets written as ``name: encoder`` or ``name: {encoder: ..., ...}`` as mappings."""
    return {k: {"encoder": v} if isinstance(v, str) else v for k, v in targets.items()}
