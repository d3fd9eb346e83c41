"""One step of training: a batch through the tower, the loss of all of it, and its gradients.

Comes in: this process's rows of a batch, signals on one side, the whole batch's targets on the other.
Goes out: the gradients of the whole batch's loss. Where the batch is larger than what is worked on at
a time, gradients are cached: each part passes the tower without a graph, the loss is taken of all
rows, and each part passes again to carry back what the loss says of its rows. Every row is compared
with every other, as if the batch had been one.

Reference: Gao et al. 2021, arXiv 2101.06983 (gradient cache).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurovis.batches import seed_of
from neurovis.distributed import World


@dataclass
class Batch:
    """A batch as one process has it, on the CPU.

    Parameters
    ----------
    inputs : list of tensor (row of this process, ...)
        What the tower is called with: signal, subject, present and, for cross-fitted towers, fold.
    target : dict of tensor (row, dim)
        Of all rows of the batch.
    image : tensor of int (row,)
        Of all rows of the batch.
    shares : list of list of array
        Which rows each process takes, from `World.shares`.
    seed : int
        Of this step: a function of the experiment's seed, the epoch and the step.
    about : dict
        Whatever else the loss is called with, by name.
    side : int
        Whose image side the batch is compared with, where each subject has one.
    """

    inputs: list[Any]
    target: dict[str, Any]
    image: Any
    shares: list[list[np.ndarray]]
    seed: int
    about: dict[str, Any] = field(default_factory=dict)
    side: int = 0


def backward(
    model: Any, loss_of: Any, batch: Batch, world: World, mixed: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gradients of the loss of a whole batch, added to those of the parameters.

    Parameters
    ----------
    model, loss_of : torch.nn.Module
    batch : Batch
    world : World
        Gradients are this process's part; `World.average` makes them the batch's.
    mixed : context manager
        Precision of the tower. The loss is computed in float32: similarities of near neighbours are
        closer than bfloat16 tells apart.

    Returns
    -------
    parts : dict of tensor ()
        What the loss returned.
    whole : dict of tensor (row, dim)
        What the tower says of all rows of the batch.

    Notes
    -----
    With parts, dropout draws per part and the same numbers in both passes. Statistics of batch
    normalisation are those of a part (of all processes), and move once per part.
    """
    import torch

    device = next(model.parameters()).device
    target = {name: vector.to(device) for name, vector in batch.target.items()}
    image = batch.image.to(device)
    sizes = [len(part[world.rank]) for part in batch.shares]
    parts = list(zip(*(tensor.split(sizes) for tensor in batch.inputs)))

    def forward(number: int) -> dict[str, Any]:
        torch.manual_seed(seed_of(batch.seed, f"{number}/{world.rank}"))
        with mixed:
            return model(*(tensor.to(device) for tensor in parts[number]))

    def loss(said: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        torch.manual_seed(batch.seed)  # the same in all processes, whatever a loss draws
        whole = {name: world.gather(value, batch.shares) for name, value in said.items()}
        found = loss_of(whole, model.seen(target, batch.side), image, **batch.about)
        found["loss"].backward()
        return tuple({k: v.detach() for k, v in some.items()} for some in (found, whole))

    if len(parts) == 1:
        return loss(forward(0))
    with torch.no_grad(), unmoved_statistics(model):
        cached = [forward(number) for number in range(len(parts))]
    names = cached[0]
    ends = {
        name: torch.cat([said[name] for said in cached]).detach().requires_grad_() for name in names
    }
    result = loss(ends)
    grads = {name: end.grad.split(sizes) for name, end in ends.items() if end.grad is not None}
    for number in range(len(parts)):
        said = forward(number)
        told = [name for name in grads if said[name].requires_grad]
        torch.autograd.backward([said[k] for k in told], [grads[k][number] for k in told])
    return result


@contextmanager
def unmoved_statistics(model: Any) -> Iterator[None]:
    """Take back what running statistics learn in the block: the second pass tells them once."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    before = [{k: v.clone() for k, v in module.named_buffers()} for module in norms]
    yield
    with torch.no_grad():
        for module, kept in zip(norms, before):
            for name, value in module.named_buffers():
                value.copy_(kept[name])
