"""What an encoding experiment's YAML may say: everything that decides its numbers.

Comes in: a mapping read from YAML. Goes out: one frozen, checked `Encode`. Where things lie, and on what
they are computed, stays out of its fingerprint.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from neurovis.batches import Data
from neurovis.config import Config, added, how
from neurovis.encode.features import Features
from neurovis.encode.readouts.base import Readout
from neurovis.encode.synthesis import Synthesis
from neurovis.errors import UsageError, unknown

VERSION = 1
MOST_FAMILIES = 6


class Scoring(Config):
    """How models are scored on test images.

    Parameters
    ----------
    ceiling : {"ncsnr", "split_half"}
        Definition that scores are normalised by; both are stored where repeats allow them. See
        `neurovis.encode.ceilings`.
    min_ceiling : float
        Targets at or below this share of explainable variance are left out of means and tables, and
        counted. It is told from repeats of training images where there are such.
    n_bootstrap : int
        Draws of test images for intervals.
    n_permutations : int
        Draws of shuffled test images; 0 for no test.
    correction : {"fdr_bh", "fdr_by", "max", "none"}
    alpha : float
        Level at which targets are counted as predicted.
    """

    ceiling: Literal["ncsnr", "split_half"] = "ncsnr"
    min_ceiling: float = pydantic.Field(0.1, ge=0, lt=1)
    n_bootstrap: int = pydantic.Field(500, ge=50)
    n_permutations: int = pydantic.Field(500, ge=0)
    correction: Literal["fdr_bh", "fdr_by", "max", "none"] = "fdr_bh"
    alpha: float = pydantic.Field(0.05, gt=0, lt=1)


class Identify(Config):
    """Decoding through encoding: which test image was seen, by Bayes' rule.

    Parameters
    ----------
    readout : str
        Whose predictions; of all its families together. The first readout if empty.
    n_targets : int
        So many targets, those predicted best on validation images.
    shrinkage : float, optional
        Of the residual covariance towards its diagonal; by Ledoit and Wolf's formula if None.
    decoder : str
        Run folder of ``neurovis train`` on the same prepared data, to stand beside and to combine with.
    system : str
        Of that run.
    """

    readout: str = ""
    n_targets: pydantic.PositiveInt = 500
    shrinkage: float | None = pydantic.Field(None, ge=0, le=1)
    decoder: str = how("")
    system: str = "tower"


class Encode(Config):
    """An encoding experiment.

    Parameters
    ----------
    version : int
        Of this file's format.
    name : str
    data : Data
        Prepared trials; betas have one sample, M/EEG one target per channel and time.
    features : dict of Features
        Families by name; a plain string is an encoder.
    readouts : dict of Readout
        By name.
    partition : bool
        Fit readouts that take several families to all combinations that the partition of variance
        needs, not only to each family and all together.
    control : bool
        Fit the first of these readouts to shuffled images, too.
    regions : tuple of str
        Regions of interest in tables; all that the prepared data name if empty.
    picture_width : float, optional, degrees of visual angle
        So that receptive fields come out in degrees.
    scoring : Scoring
    identify : Identify or None
    synthesis : Synthesis, optional
    expected : dict
        What the paper of this row says; shown beside the results, never used.
    seed : int
    device : str
    weights : bool
        Keep the weights of all models.
    """

    version: int = VERSION
    name: str = "encode"
    data: Data = Data()
    features: dict[str, Features] = pydantic.Field(default_factory=lambda: {"image": Features()})
    readouts: dict[str, Readout] = pydantic.Field(
        default_factory=lambda: {"ridge": "banded_ridge"}, validate_default=True
    )
    partition: bool = True
    control: bool = True
    regions: tuple[str, ...] = ()
    picture_width: pydantic.PositiveFloat | None = None
    scoring: Scoring = Scoring()
    identify: Identify | None = Identify()
    synthesis: Synthesis | None = added(None)
    expected: dict[str, Any] = how({})
    seed: int = 0
    device: str = how("auto")
    weights: bool = how(True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _features(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if int(value.get("version", VERSION)) > VERSION:
                raise UsageError(
                    f"experiment: version {value['version']}, this neurovis reads up to {VERSION}; "
                    "update neurovis."
                )
            if isinstance(value.get("features"), dict):
                value = {**value, "features": {k: _named(v) for k, v in value["features"].items()}}
        return value

    @pydantic.model_validator(mode="after")
    def _check(self) -> Encode:
        if not self.features or not self.readouts:
            raise UsageError("encode: expected features and readouts, found none; name some.")
        for name in [*self.features, *self.readouts]:
            if not name or set(name) & set("/+@:,&"):
                raise UsageError(
                    f"encode: expected names without / + @ : , &, found {name!r}; rename it."
                )
        for name, readout in self.readouts.items():
            for family in (*readout.families, *readout.needs):
                if family not in self.features:
                    raise UsageError(f"readouts.{name}: {unknown('family', family, self.features)}")
            joined = len(self.families_of(name))
            if readout.joins and self.partition and joined > MOST_FAMILIES:
                raise UsageError(
                    f"readouts.{name}: expected at most {MOST_FAMILIES} families to divide variance "
                    f"between, found {joined}; name fewer in its families, or set partition=false."
                )
        if self.identify and self.identify.readout not in ("", *self.readouts):
            raise UsageError(
                f"identify: {unknown('readout', self.identify.readout, self.readouts)}"
            )
        if self.synthesis:
            if self.synthesis.family not in self.features:
                raise UsageError(
                    f"synthesis: {unknown('family', self.synthesis.family, self.features)}"
                )
            if self.synthesizer is None:
                raise UsageError(
                    f"synthesis: expected a readout that joins families on {self.synthesis.family!r}, found "
                    "none; add one, such as banded_ridge."
                )
        return self

    @property
    def synthesizer(self) -> str | None:
        """Name of the readout whose model of one family stimuli are synthesised by."""
        if self.synthesis is None:
            return None
        names = [self.synthesis.readout] if self.synthesis.readout else list(self.readouts)
        fit = (n for n in names if n in self.readouts and self.readouts[n].joins)
        return next((n for n in fit if self.synthesis.family in self.families_of(n)), None)

    def families_of(self, readout: str) -> tuple[str, ...]:
        """Families that a readout is used on."""
        one = self.readouts[readout]
        if one.families:
            return one.families
        free = (k for k, v in self.features.items() if one.maps or v.core is None)
        return tuple(k for k in free if k not in one.needs)


def _named(family: Any) -> Any:
    """A family whose encoder is a plain string, also where the command line says more of it."""
    if isinstance(family, str):
        return {"encoder": family}
    if isinstance(family, dict) and isinstance(family.get("name"), str):
        rest = {k: v for k, v in family.items() if k != "name"}
        return {"encoder": family["name"], **rest}
    return family
