"""What readouts of maps have in common: how maps are read, where fields start, how weights are trained.

Comes in: one family of maps, or pixels below a network that is learned with the readout. Goes out: a
`Fitted`. Targets are standardised for training, so that each counts the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.encode.descent import NAME, Descent, descend, says
from neurovis.encode.fields import Fields, Reader, candidates, search
from neurovis.encode.readouts.base import Fitted, Problem, Readout
from neurovis.errors import UsageError


class MapReadout(Readout):
    """A readout with a window on the visual field.

    Parameters
    ----------
    channels : int, optional
        Keep so many principal components of the maps' channels; all if None.
    start : {"search", "flat"}
        Windows and weights start from those found in closed form (`neurovis.encode.fields`), or from
        windows over the whole picture and weights of 0. Below a network that is learned they
        start flat.
    n_centres : int
        Places along a side where the search puts windows.
    sizes : tuple of float
        Standard deviations of the windows that the search tries, in half picture widths.
    train : Descent
    """

    maps: ClassVar[bool] = True

    channels: pydantic.PositiveInt | None = 64
    start: Literal["search", "flat"] = "search"
    n_centres: int = pydantic.Field(17, ge=2)
    sizes: tuple[pydantic.PositiveFloat, ...] = (0.1, 0.15, 0.25, 0.4, 0.6, 1.0)
    train: Descent = Descent()

    def module(self, side: int, n_channels: int, n_targets: int, content: int) -> Any:
        """The torch module: maps (and content) to ``{"response": (image, target)}``."""
        raise NotImplementedError

    def begin(self, module: Any, fields: Fields) -> None:
        """Put what the search found into the module."""
        raise NotImplementedError

    def describe(self, module: Any) -> dict[str, np.ndarray]:
        """What the module found of each target."""
        return {}

    def fit(self, problem: Problem) -> Fitted:
        """Search, then descend."""
        import torch

        source = next(s for n, s in problem.sources.items() if n not in self.needs)
        train = problem.image[: problem.n_train]
        core = source.config.core
        reader = Reader.of(source, train, None if core else self.channels)
        contents = [problem.sources[name] for name in self.needs]
        scalings = [one.scaling(train) for one in contents]

        def inputs(images: Sequence[str]) -> list[np.ndarray]:
            # scaled to unit variance in the mean, as hidden layers want it
            more = [
                scale(one.vectors(images)) * np.float32(np.sqrt(len(scale.mean)))
                for one, scale in zip(contents, scalings)
            ]
            return [reader(images), *more]

        mean = problem.y[: problem.n_train].mean(0, dtype=np.float64).astype(np.float32)
        spread = problem.y[: problem.n_train].std(0, dtype=np.float64).astype(np.float32)
        varies = spread > 1e-8
        spread = np.where(varies, spread, 1).astype(np.float32)
        y = (problem.y - mean) / spread
        torch.manual_seed(problem.seed)
        width = sum(len(scale.mean) for scale in scalings)
        n_channels, side = reader.n_channels, source.side
        module, found = None, None
        if core:
            network = core.build(n_channels)
            n_channels, side = core.width(), _side(network, n_channels, side)
        module = self.module(side, n_channels, y.shape[1], width)
        if self.start == "search" and not core:
            windows = candidates(self.n_centres, self.sizes, side)
            # validation images are kept for stopping where there is something to stop
            n = problem.n_train if self.train.epochs else len(problem.image)
            found = search(reader, problem.image[:n], y[:n], *windows, problem.quiet)
            self.begin(module, found)
        if core:
            module = _stacked(network, module)
        module = self.train_module(module, problem, inputs, y, varies)
        step = self.train.batch_size

        def predict(images: Sequence[str]) -> np.ndarray:
            images = np.asarray(images)
            return np.concatenate(list(says(module, images, inputs, step))) * spread + mean

        tensors = dict(module.state_dict()) | {
            "reader.mean": torch.from_numpy(reader.mean),
            "reader.basis": torch.from_numpy(reader.basis),
            "response.mean": torch.from_numpy(mean),
            "response.spread": torch.from_numpy(spread),
        }
        described = self.describe(module.readout if core else module)
        if found is not None and not self.train.epochs:
            described |= {"field_centre": found.mean_centre, "field_size": found.mean_size}
            described["field_spread"] = found.spread
        return Fitted(predict, None, described, tensors)

    def train_module(
        self, module: Any, problem: Problem, inputs: Any, y: np.ndarray, varies: np.ndarray
    ) -> Any:
        """Train the whole module."""
        return descend(module, problem, self.train, inputs, y, varies)


def _side(network: Any, n_channels: int, side: int) -> int:
    """Rows of the network's maps."""
    import torch

    with torch.no_grad():
        network.eval()
        found = network(torch.zeros(1, n_channels, side, side)).shape[-1]
    if found < 2:
        raise UsageError(
            f"features.core: pools maps of {side} x {side} down to one place, expected at least 2 x 2; use "
            "fewer blocks, a smaller stride or a finer grid."
        )
    return found


def _stacked(network: Any, readout: Any) -> Any:
    """A network below a readout."""
    from torch import nn

    class Stacked(nn.Module):
        """Maps go through the network; content goes to the readout as it is."""

        def __init__(self):
            super().__init__()
            self.network, self.readout = network, readout

        def forward(self, maps: Any, *content: Any) -> dict[str, Any]:
            return self.readout(self.network(maps), *content)

    return Stacked()


__all__ = ["NAME", "MapReadout"]
