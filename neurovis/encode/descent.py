"""Train a readout by gradient descent: in batches from disk, resumable, on one process or several.

Comes in: a torch module that takes maps (and what else it asks for) and says responses, and a `Problem`.
Goes out: the module with the weights that were best on validation images. A kill costs the steps since the
last checkpoint; the same command goes on, on any number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.ahead import ahead
from neurovis.batches import seed_of
from neurovis.checkpoint import Checkpoint
from neurovis.config import Config
from neurovis.distributed import normalise_together
from neurovis.encode.readouts.base import Problem
from neurovis.errors import NeurovisError
from neurovis.log import Bar
from neurovis.step import Batch, backward
from neurovis.store import load_tensors, save_tensors

CHECKPOINT_SECONDS = 15.0
NAME = "response"


class Descent(Config):
    """How a readout is trained.

    Parameters
    ----------
    epochs : int
        At most; 0 leaves it as it starts.
    patience : int
        Validations without a better loss before stopping.
    validate_every : int
        Steps between validations; 0 for once per epoch.
    batch_size : int
        Images, over all processes together.
    lr, weight_decay : float
        Of AdamW.
    loss : {"mse", "mse_ccc"}
        Mean squared error of standardised responses, or that plus one minus the concordance correlation
        over the batch (Lin 1989, doi:10.2307/2532051), as the third core paper has it.
    """

    epochs: pydantic.NonNegativeInt = 30
    patience: pydantic.PositiveInt = 5
    validate_every: pydantic.NonNegativeInt = 0
    batch_size: int = pydantic.Field(64, ge=2)
    lr: pydantic.PositiveFloat = 1e-3
    weight_decay: pydantic.NonNegativeFloat = 1e-4
    loss: Literal["mse", "mse_ccc"] = "mse"


Inputs = Callable[[np.ndarray], list[np.ndarray]]
"""Images -> what the module is called with: arrays whose first dim is the image."""


def concordance(said: Any, truth: Any) -> Any:
    """Concordance correlation of each target over the batch: tensor (target,)."""
    mean_a, mean_b = said.mean(0), truth.mean(0)
    a, b = said - mean_a, truth - mean_b
    below = a.square().mean(0) + b.square().mean(0) + (mean_a - mean_b).square()
    return 2 * (a * b).mean(0) / below.clamp(min=1e-8)


def loss_of(kind: str, varies: np.ndarray) -> Any:
    """The loss as a module of (prediction, target, image); targets that do not vary are masked."""
    import torch
    from torch import nn

    mask = torch.from_numpy(np.asarray(varies, np.float32))

    class Loss(nn.Module):
        """Masked mean squared error, with one minus the concordance correlation if asked."""

        def __init__(self):
            super().__init__()
            self.register_buffer("mask", mask, persistent=False)

        def forward(self, said: dict, truth: dict, image: Any) -> dict[str, Any]:
            a, b = said[NAME], truth[NAME]
            count = self.mask.sum().clamp(min=1)
            mse = ((a - b).square().mean(0) * self.mask).sum() / count
            found = {"loss": mse, "mse": mse}
            if kind == "mse_ccc":
                apart = ((1 - concordance(a, b)) * self.mask).sum() / count
                found["loss"] = mse + apart
            return found

    return Loss()


def descend(
    module: Any,
    problem: Problem,
    options: Descent,
    inputs: Inputs,
    y: np.ndarray,
    varies: np.ndarray,
) -> Any:
    """Train a module in place and give it back with its best weights.

    Parameters
    ----------
    module : torch.nn.Module
        Called with what `inputs` gives, as tensors; returns ``{"response": (image, target)}``.
    problem : Problem
    options : Descent
    inputs : callable
    y : array (row, target) float32
        Standardised responses of all rows.
    varies : array of bool (target,)

    Raises
    ------
    NeurovisError
        If the loss is no number, or there are no validation images to stop by.
    """
    import torch

    train, held = problem.train, problem.held
    if options.epochs and not len(held):
        raise NeurovisError(
            "split.json: validation is empty, expected at least one image; preprocess with a validation "
            "part, early stopping needs it."
        )
    module = module.to(problem.device)
    module.seen = lambda target, side=0: target
    done = problem.folder / f"{problem.name}.trained.safetensors"
    if problem.world.same(done.is_file()):
        module.load_state_dict(load_tensors(done))
        return module
    if not options.epochs:
        return module
    loss = loss_of(options.loss, varies).to(problem.device)
    world = problem.world
    world.alike(module)
    normalise_together(module, world)
    weights = [p for p in module.parameters() if p.ndim > 1]
    rest = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": options.weight_decay}]
    groups.append({"params": rest, "weight_decay": 0.0})
    optimiser = torch.optim.AdamW(groups, lr=options.lr)
    n_batches = max(1, len(train) // options.batch_size)
    state: dict[str, Any] = {"epoch": 0, "within": 0, "since": 0, "best": math.inf}
    best = {k: v.detach().clone() for k, v in module.state_dict().items()}
    checkpoint = Checkpoint(
        problem.folder / f"checkpoint-{problem.name}.pt",
        f"{problem.made_by}, {problem.name}",
        world,
        {"model": module, "optimiser": optimiser},
    )
    saved = checkpoint.load(problem.device)
    if saved:
        state, best = saved["state"], saved["best"]
    else:
        state["best"] = _validate(module, problem, options, inputs, y, varies, loss)
    every = options.validate_every or n_batches

    def make(planned: tuple[int, np.ndarray]) -> Batch:
        number, rows = planned
        shares = world.shares(len(rows))
        mine = rows[np.concatenate([part[world.rank] for part in shares])]
        given = [torch.from_numpy(one) for one in inputs(problem.image[mine])]
        truth = {NAME: torch.from_numpy(y[rows])}
        seed = seed_of(problem.seed, f"{problem.name}/{state['epoch']}/{number}")
        return Batch(given, truth, torch.from_numpy(rows), shares, seed)

    bar = Bar(options.epochs, state["epoch"], f"training {problem.name}", problem.quiet)
    while state["epoch"] < options.epochs and state["since"] < options.patience:
        epoch, value = state["epoch"], math.nan
        order = np.random.default_rng([seed_of(problem.seed, problem.name), epoch]).permutation(
            train
        )
        planned = [(i, np.sort(order[i::n_batches])) for i in range(n_batches)][state["within"] :]
        module.train()
        with closing(ahead(make, planned)) as batches:
            for batch in batches:
                parts, _ = backward(module, loss, batch, world, nullcontext())
                value = float(parts["loss"])
                if not math.isfinite(value):
                    raise NeurovisError(
                        f"{problem.name}: the loss is {value} in epoch {epoch + 1}, expected a "
                        "number; lower the rate (train.lr)."
                    )
                world.average(module.parameters())
                torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                state["within"] += 1
                if (epoch * n_batches + state["within"]) % every == 0:
                    judged = _validate(module, problem, options, inputs, y, varies, loss)
                    state["since"] += 1
                    if judged < state["best"]:
                        state |= {"best": judged, "since": 0}
                        best = {k: v.detach().clone() for k, v in module.state_dict().items()}
                    module.train()
                    if state["since"] >= options.patience:
                        break
                if checkpoint.due(CHECKPOINT_SECONDS):
                    checkpoint.save(state=state, best=best)
        state |= {"epoch": epoch + 1, "within": 0}
        bar.step(f"loss {value:.3f}, validation {state['best']:.3f}")
    bar.close()
    module.load_state_dict(best)
    module.eval()
    if world.first:
        save_tensors(done, best)
        checkpoint.remove()
    world.barrier()
    return module


def _validate(
    module: Any, problem: Problem, options: Descent, inputs: Inputs, y: Any, varies: Any, loss: Any
) -> float:
    """Loss on validation images; the same on all processes."""
    import torch

    rows = problem.held
    said = np.concatenate(list(says(module, problem.image[rows], inputs, options.batch_size)))
    truth = {NAME: torch.from_numpy(y[rows])}
    found = loss.cpu()({NAME: torch.from_numpy(said)}, truth, None)["loss"]
    loss.to(problem.device)
    return float(problem.world.same(float(found)))


def says(module: Any, images: np.ndarray, inputs: Inputs, step: int) -> Iterator[np.ndarray]:
    """Responses of images, some at a time: arrays (image, target)."""
    import torch

    device = next(module.parameters()).device
    module.eval()
    with torch.inference_mode():
        for start in range(0, len(images), step):
            given = inputs(images[start : start + step])
            yield module(*(torch.from_numpy(one).to(device) for one in given))[NAME].cpu().numpy()
