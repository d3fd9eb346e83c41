"""A tower that starts as an inverted encoding model and is then trained.

Predicting signals from embeddings is a well-posed regression (few features, many signals); inverting
it with the covariance of the noise gives space-time filters that no regression from signals to
embeddings finds with so few trials. Filters stay as they start; what is trained on top (a linear core,
a residual perceptron, the projection of the image side) sees training images through filters that
were learned without them, as it will see new images.

References: Brouwer & Heeger 2009, doi:10.1523/JNEUROSCI.3577-09.2009 (inverted encoding);
Naselaris et al. 2009, doi:10.1016/j.neuron.2009.09.006 (identification by encoding).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pydantic

from neurovis.brain.base import REGRESSION, BrainEncoder, Shape
from neurovis.brain.layers import masked
from neurovis.brain.ridge import Ridge
from neurovis.signals.encoding import (
    Moments,
    Noise,
    Regression,
    estimate_noise,
    favour,
    regress,
)


class Inverted(BrainEncoder, name="inverted"):
    """Filters from an inverted encoding model, then a trained core.

    Parameters
    ----------
    n_folds : int
        Parts of the training images; each is seen in training through filters learned from the others.
    n_averaged : int
        Number of repeats for which the filters are best.
    n_steps : int
        Steps that learn which features of the images the brain follows.
    n_hidden : int
        Width of the residual perceptron shared by all subjects; 0 for none.
    dropout : float
        Share of features dropped in training.
    ridge : BrainEncoder
        Closed form that the regression head starts from.
    """

    n_folds: int = pydantic.Field(5, ge=2)
    n_averaged: pydantic.PositiveInt = 4
    n_steps: pydantic.NonNegativeInt = 3
    n_hidden: pydantic.NonNegativeInt = 256
    dropout: float = pydantic.Field(0.2, ge=0, lt=1)
    ridge: Ridge = Ridge()

    def build(self, shape: Shape) -> Any:
        """Build the torch module; see `BrainEncoder.build`."""
        return _tower(self, shape)


def invert(noise: Noise, model: Regression, features: np.ndarray, n_averaged: int) -> tuple:
    """Filters that turn an average of trials into the log likelihood's slope along each feature.

    Parameters
    ----------
    noise : Noise
    model : Regression
        From features to signals whitened by `noise`.
    features : array (image, feature)
        Over which the model's uncertainty is averaged.
    n_averaged : int
        Trials per average.

    Returns
    -------
    filters : array (feature, channel, time) float32
    offset : array (feature,) float32
        What the filters give for a trial without a picture's own response.
    metric : array (feature, feature)
        Inner product of features by the signals they evoke.
    """
    n_modes = model.modes.shape[1]
    precision = 1 / (1 / n_averaged + model.mean_variance(features))
    weight = model.axis @ model.weight
    sharp = weight * precision
    turned = sharp.reshape(len(sharp), -1, n_modes) @ model.modes.T
    turned = np.matmul(turned.transpose(1, 0, 2), noise.root)  # (component, feature, time)
    filters = np.tensordot(noise.pattern.T, turned, 1).transpose(1, 0, 2)
    offset = sharp @ model.signal_mean + np.tensordot(filters, noise.mean, 2)
    return filters.astype(np.float32), offset.astype(np.float32), sharp @ weight.T


def half_power(metric: np.ndarray, floor: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric square root of a metric and its inverse; small directions are held at a floor."""
    value, vector = np.linalg.eigh((metric + metric.T) / 2)
    root = np.sqrt(value.clip(floor * max(value.max(), 1e-12)))
    return (vector * root) @ vector.T, (vector / root) @ vector.T


def _tower(config: Inverted, shape: Shape) -> Any:
    import torch
    from torch import nn

    n_subjects, size = len(shape.subjects), shape.n_chans * shape.n_times
    width = sum(shape.outputs.values())
    cuts = np.cumsum(list(shape.outputs.values()))[:-1]

    class Tower(nn.Module):
        """See `Inverted`."""

        n_folds = config.n_folds

        def __init__(self):
            super().__init__()
            self.register_buffer("filters", torch.randn(n_subjects, size, width) / size**0.5)
            self.register_buffer("offset", torch.zeros(n_subjects, width))
            # one set of filters per subject and part of the training images; kept only in training
            self.register_buffer("crossed", None, persistent=False)
            self.register_buffer("crossed_offset", None, persistent=False)
            eye = torch.eye(width).repeat(n_subjects, 1, 1)
            self.core = nn.Parameter(eye)
            self.core_bias = nn.Parameter(torch.zeros(n_subjects, width))
            self.regression = nn.Parameter(eye.clone())
            self.regression_bias = nn.Parameter(torch.zeros(n_subjects, width))
            self.drop = nn.Dropout(config.dropout)
            self.residual = None
            if config.n_hidden:
                last = nn.Linear(config.n_hidden, width)
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
                first = nn.Linear(width, config.n_hidden)
                self.residual = nn.Sequential(first, nn.GELU(), nn.Dropout(config.dropout), last)

        def features(self, signal: Any, number: int, fold: Any = None) -> Any:
            """Filtered signals of one subject: (row, feature)."""
            flat = signal.flatten(1)
            if fold is None or self.crossed is None:
                return flat @ self.filters[number] - self.offset[number]
            out = flat.new_empty(len(flat), width)
            for part in fold.unique().tolist():
                rows = fold == part
                out[rows] = flat[rows] @ self.crossed[number, part]
                out[rows] -= self.crossed_offset[number, part]
            return out

        def forward(self, signal: Any, subject: Any, present: Any, fold: Any = None) -> dict:
            signal = masked(signal, present)
            contrast = signal.new_empty(len(signal), width)
            regression = signal.new_empty(len(signal), width)
            for number in subject.unique().tolist():
                rows = subject == number
                # filters stay as they are; only who asks for saliency wants their gradient
                with torch.set_grad_enabled(signal.requires_grad):
                    x = self.features(signal[rows], number, None if fold is None else fold[rows])
                x = self.drop(x)
                said = x @ self.core[number] + self.core_bias[number]
                if self.residual is not None:
                    said = said + self.residual(x)
                contrast[rows] = said.to(contrast.dtype)
                said = x @ self.regression[number] + self.regression_bias[number]
                regression[rows] = said.to(regression.dtype)
            sizes = list(shape.outputs.values())
            names = [name + REGRESSION for name in shape.outputs]
            out = dict(zip(shape.outputs, contrast.split(sizes, 1)))
            return out | dict(zip(names, regression.split(sizes, 1)))

        @torch.no_grad()
        def start(
            self,
            trials: Callable[[int], Iterator[np.ndarray]],
            truth: Callable[[int], np.ndarray],
            fold: Callable[[int], np.ndarray],
            apart: bool = False,
        ) -> dict[str, np.ndarray]:
            """Set the filters in closed form.

            Parameters
            ----------
            trials : callable
                Subject -> blocks (trial, channel, time) of single training trials.
            truth : callable
                Subject -> array (trial, dim) of their targets, side by side.
            fold : callable
                Subject -> array of int (trial,), the part each trial's image belongs to.
            apart : bool
                Whether features are put in each subject's own metric, or in the mean of all.

            Returns
            -------
            dict of array (dim, dim) or (subject, dim, dim)
                Per target, the projection that goes with the filters; per subject where `apart`.
            """
            found = [_encode(trials, truth(n), fold(n), n, cuts, config) for n in range(n_subjects)]
            metrics = [subject[-1][2] for subject in found]
            if not apart:
                metrics = [[np.mean(each, 0) for each in zip(*metrics)]]
            roots = [[half_power(one) for one in each] for each in metrics]
            inverses = [_block_diagonal([root[1] for root in each]) for each in roots]
            inverses = inverses if apart else inverses * n_subjects
            sets = [
                [(inverse @ f.reshape(width, -1), inverse @ o) for f, o, _ in subject]
                for inverse, subject in zip(inverses, found)
            ]
            # one scale for all: features of about unit variance keep the perceptron in its range
            place = {"dtype": self.filters.dtype, "device": self.filters.device}
            for number, subject in enumerate(sets):
                filters, offset = subject[-1]
                self.filters[number] = torch.from_numpy(filters.T).to(**place)
                self.offset[number] = torch.from_numpy(offset).to(**place)
            crossed = np.array([[f.T for f, _ in s[:-1]] for s in sets], np.float32)
            self.crossed = torch.from_numpy(crossed).to(**place)
            offsets = np.array([[o for _, o in s[:-1]] for s in sets], np.float32)
            self.crossed_offset = torch.from_numpy(offsets).to(**place)
            self._regression_start(trials, truth, fold)
            powers = [
                np.stack([root[0] for root in each]).astype(np.float32) for each in zip(*roots)
            ]
            return {k: one if apart else one[0] for k, one in zip(shape.outputs, powers)}

        def _regression_start(self, trials: Callable, truth: Callable, fold: Callable) -> None:
            for number in range(n_subjects):
                seen, begin, parts = fold(number), 0, []
                for block in trials(number):
                    part = torch.from_numpy(seen[begin : begin + len(block)])
                    signal = torch.from_numpy(block).to(self.filters)
                    parts.append(self.features(signal, number, part.to(signal.device)).cpu())
                    begin += len(block)
                x = torch.cat(parts).numpy()
                spread = float(x.std()) or 1.0
                for buffer in (self.filters, self.offset, self.crossed, self.crossed_offset):
                    buffer[number] /= spread
                model = config.ridge.build().fit(x / spread, truth(number))
                self.regression[number] = torch.from_numpy(model.coef_)
                self.regression_bias[number] = torch.from_numpy(model.intercept_)

    return Tower()


def _encode(
    trials: Callable, truth: np.ndarray, fold: np.ndarray, number: int, cuts: Any, config: Inverted
) -> list[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    """Filters, offset and metrics per target, without each part and (last) with all of them."""
    total, n = 0.0, 0
    for block in trials(number):
        total, n = total + block.sum(0, dtype=np.float64), n + len(block)
    mean = (total / n).astype(np.float32)
    # single trials are nearly all noise, so that their covariance is the noise's
    noise = estimate_noise(lambda: (block - mean for block in trials(number)))
    noise = Noise(noise.pattern, noise.root, mean)
    parts: list[list[Moments]] = [[] for _ in range(config.n_folds)]
    begin = 0
    for block in trials(number):
        rows = slice(begin, begin + len(block))
        white = noise.whiten(block)
        for part in np.unique(fold[rows]):
            mine = fold[rows] == part
            parts[part].append(Moments.of(truth[rows][mine], [white[mine]]))
        begin += len(block)
    everything = _total([one for some in parts for one in some])
    targets = np.split(np.eye(truth.shape[1]), cuts, axis=1)
    turns = [favour(everything.of_features(one), config.n_steps) for one in targets]
    # a part without trials of this subject takes the filters of all of them
    without = [everything - _total(some) if some else everything for some in parts]
    out = []
    for moments in [*without, everything]:
        filters, offsets, metrics = [], [], []
        for one, turn in zip(targets, turns):
            model = regress(moments.of_features(one @ turn))
            sharp, offset, metric = invert(noise, model, truth @ one @ turn, config.n_averaged)
            # back from the turned features f' = turn' f: slopes along f are turn times those along f'
            filters.append(np.tensordot(turn.astype(np.float32), sharp, 1))
            offsets.append(turn.astype(np.float32) @ offset)
            metrics.append(turn @ metric @ turn.T)
        out.append((np.concatenate(filters), np.concatenate(offsets), metrics))
    return out


def _total(parts: list[Moments]) -> Moments:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    size = sum(len(block) for block in blocks)
    out, begin = np.zeros((size, size), np.float32), 0
    for block in blocks:
        out[begin : begin + len(block), begin : begin + len(block)] = block
        begin += len(block)
    return out
