"""Several processes train one tower, as ``torchrun`` starts them: one result, whatever their number.

Comes in: what each process computed of its rows of a batch. Goes out: the whole batch on all of them,
exact in gradient, and gradients that are the whole batch's. Every process computes the loss of the
whole batch; only the first one writes. Without ``torchrun`` all of this does nothing.

References: Radford et al. 2021, arXiv 2103.00020 (section 2.5: similarities sharded over devices);
Ioffe & Szegedy 2015, arXiv 1502.03167 (batch normalisation, here over all processes).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MethodType
from typing import Any

import numpy as np

from neurovis.watch import Watch

LONGEST = timedelta(days=1)
"""How long a process waits for another that lives: the first fits closed forms while others wait."""


@dataclass(frozen=True)
class World:
    """The processes of a job, seen from one of them.

    Parameters
    ----------
    rank : int
        Number of this process.
    size : int
        Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def shares(self, n_rows: int, most: int = 0) -> list[list[np.ndarray]]:
        """Who takes which rows of a batch: per part of at most `most` rows (0: all), one array each.

        Parts are the same for any number of processes, and what each process takes is one piece.
        """
        n_parts = -(-n_rows // most) if most else 1
        n_parts = max(1, min(n_parts, n_rows // self.size))  # nobody is left without a row
        parts = np.array_split(np.arange(n_rows), n_parts)
        return [np.array_split(part, self.size) for part in parts]

    def gather(self, mine: Any, shares: list[list[np.ndarray]]) -> Any:
        """All rows of a batch from the rows that each process has.

        Parameters
        ----------
        mine : tensor (row of this process, ...)
        shares : list of list of array
            From `shares`; rows come in the order of the parts.

        Returns
        -------
        tensor (row, ...)
            In the order of the batch. Its gradient is that of the loss with respect to these rows,
            times the number of processes, because `average` divides by it. No process has to tell
            the others: each computes the same loss of the same rows, so that each knows all of its
            gradient.
        """
        if self.size == 1:
            return mine
        owned = [np.concatenate([part[rank] for part in shares]) for rank in range(self.size)]
        return _gather().apply(mine, owned, self.rank)

    def average(self, parameters: Iterable[Any]) -> None:
        """Replace gradients by their mean over processes; what none of them used keeps none."""
        if self.size == 1:
            return
        import torch
        from torch import distributed

        parameters = [p for p in parameters if p.requires_grad]
        used = parameters[0].new_tensor([float(p.grad is not None) for p in parameters])
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        # one message: latency, not size, is what small towers wait for
        flat = torch.cat([used, *(g.flatten() for g in grads)])
        distributed.all_reduce(flat)
        used, *sums = flat.split([len(used), *(g.numel() for g in grads)])
        for parameter, total, n_used in zip(parameters, sums, used.tolist()):
            parameter.grad = (total / self.size).view_as(parameter) if n_used else None

    def alike(self, *modules: Any) -> None:
        """Give all processes the first one's parameters and buffers."""
        if self.size == 1:
            return
        from torch import distributed

        for module in modules:
            for tensor in itertools.chain(module.parameters(), module.buffers()):
                distributed.broadcast(tensor.data, 0)

    def same(self, value: Any) -> Any:
        """The first process's value: plain data."""
        if self.size == 1:
            return value
        from torch import distributed

        box = [value]
        distributed.broadcast_object_list(box, 0)
        return box[0]

    def joined(self, mine: dict[str, Any], rows: np.ndarray, n_rows: int) -> dict[str, Any]:
        """Tensors (row, dim) on the CPU, whose rows were computed by one process each.

        Parameters
        ----------
        mine : dict of tensor (row of this process, dim)
        rows : array of int
            Which rows those are.
        n_rows : int
            Of all processes together.
        """
        if self.size == 1:
            return mine
        import torch
        from torch import distributed

        # the first process always has rows; others may have none and not know the heads
        heads = self.same({k: (tuple(v.shape[1:]), str(v.dtype)) for k, v in mine.items()})
        out = {}
        for name, (shape, dtype) in heads.items():
            whole = torch.zeros(n_rows, *shape, dtype=getattr(torch, dtype.rpartition(".")[2]))
            if len(rows):
                whole[rows] = mine[name]
            distributed.all_reduce(whole)  # one row is one process's, the others add 0
            out[name] = whole
        return out

    @contextlib.contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """The first process does the block before the others, which then find what it wrote."""
        if not self.first:
            self.barrier()
        yield
        if self.first:
            self.barrier()

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            import torch
            from torch import distributed

            distributed.all_reduce(torch.zeros(1))


ALONE = World()
_joined: list[World] = []
_number = itertools.count()


@contextlib.contextmanager
def job() -> Iterator[World]:
    """Join the processes that ``torchrun`` started, until the block ends; alone without it.

    An error in one process ends all of them, and is said once, with the number of the process. One
    that is killed is noticed by the others.

    Yields
    ------
    World
    """
    if _joined or int(os.environ.get("WORLD_SIZE", 1)) == 1 or "RANK" not in os.environ:
        yield here()
        return
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(iter(rendezvous("env://")))
    # a process may take part in one job after the other
    store = distributed.PrefixStore(f"neurovis/{next(_number)}", store)
    watch = Watch(store, rank, size)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(
        backend, store=store, rank=rank, world_size=size, timeout=LONGEST
    )
    _joined.append(World(rank, size))
    try:
        with watch:
            yield _joined[0]
            watch.done()
            _joined[0].barrier()
    finally:
        _joined.clear()
        # the others may be gone: waiting for them here would be for ever
        watch.close()
        distributed.destroy_process_group()


def here() -> World:
    """The job that this process is part of."""
    return _joined[0] if _joined else ALONE


def n_beside() -> int:
    """How many processes of this job are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if _joined else 1


@functools.cache
def _gather() -> Any:
    import torch
    from torch import distributed

    class Gather(torch.autograd.Function):
        """Rows of all processes in the batch's order; see `World.gather`."""

        @staticmethod
        def forward(context: Any, mine: Any, owned: Sequence[np.ndarray], rank: int) -> Any:
            longest = max(map(len, owned))
            padded = mine.new_zeros(longest, *mine.shape[1:])
            padded[: len(mine)] = mine
            found = [torch.empty_like(padded) for _ in owned]
            distributed.all_gather(found, padded)
            whole = mine.new_empty(sum(map(len, owned)), *mine.shape[1:])
            for block, rows in zip(found, owned):
                whole[torch.from_numpy(rows).to(mine.device)] = block[: len(rows)]
            context.rows = torch.from_numpy(owned[rank]).to(mine.device)
            context.size = len(owned)
            return whole

        @staticmethod
        def backward(context: Any, grad: Any) -> tuple:
            return grad[context.rows] * context.size, None, None

    return Gather


# ---- batch normalisation over all processes


@functools.cache
def _norm() -> Any:
    import torch
    from torch import distributed
    from torch.nn import functional

    class Norm(torch.autograd.Function):
        """Normalise by mean and variance over the rows of all processes.

        Written out because a graph of its steps would keep several times the memory.
        """

        @staticmethod
        def forward(
            context: Any, x: Any, weight: Any, bias: Any, eps: float, rank: int, size: int
        ) -> tuple:
            context.over = [0, *range(2, x.ndim)]
            values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
            variance, mean = torch.var_mean(values, context.over, correction=0)
            count = mean.new_full((1,), values.numel() / len(mean))
            mine = torch.cat([mean, variance, count])
            found = [torch.empty_like(mine) for _ in range(size)]
            distributed.all_gather(found, mine)
            mean, variance, count = torch.stack(found).split([len(mean), len(mean), 1], 1)
            total = count.sum()
            middle = (count / total * mean).sum(0)
            # spread within processes and between them
            variance = (count / total * (variance + (mean - middle).square())).sum(0)
            context.save_for_backward(x, weight, middle, (variance + eps).rsqrt(), total)
            context.mark_non_differentiable(middle, variance, total)
            out = functional.batch_norm(values, middle, variance, weight, bias, eps=eps)
            return out.to(x.dtype), middle, variance, total

        @staticmethod
        def backward(context: Any, grad: Any, *_: Any) -> tuple:
            x, weight, middle, scale, total = context.saved_tensors
            shape = [1, -1] + [1] * (x.ndim - 2)
            normal = (x.to(middle.dtype) - middle.view(shape)) * scale.view(shape)
            grad_bias = grad.sum(context.over, dtype=middle.dtype)
            grad_weight = (grad * normal).sum(context.over)
            sums = torch.stack([grad_bias, grad_weight])
            distributed.all_reduce(sums)
            first, second = (part.view(shape) for part in sums / total)
            grad_x = (grad - first - normal * second) * scale.view(shape)
            if weight is not None:
                grad_x = grad_x * weight.view(shape)
                return grad_x.to(x.dtype), grad_weight, grad_bias, None, None, None
            return grad_x.to(x.dtype), None, None, None, None, None

    return Norm


def normalise_together(model: Any, world: World) -> None:
    """Let batch normalisation see the rows of all processes, as if one process had them all."""
    if world.size == 1:
        return
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = MethodType(functools.partial(_normalise, world), module)


def _normalise(world: World, module: Any, x: Any) -> Any:
    import torch
    from torch.nn import functional

    if not module.training and module.running_mean is not None:
        return functional.batch_norm(
            x, module.running_mean, module.running_var, module.weight, module.bias, False, 0.0,
            module.eps,
        )  # fmt: skip
    out, mean, variance, total = _norm().apply(
        x, module.weight, module.bias, module.eps, world.rank, world.size
    )
    if module.track_running_stats:
        with torch.no_grad():
            module.num_batches_tracked += 1
            rate = module.momentum
            rate = 1 / float(module.num_batches_tracked) if rate is None else rate
            module.running_mean.lerp_(mean.to(module.running_mean), rate)
            module.running_var.lerp_((variance * total / (total - 1)).to(module.running_var), rate)
    return out
