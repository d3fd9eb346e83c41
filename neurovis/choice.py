"""Which epochs' weights a training ends with, and means of weights over epochs.

Comes in: weights and judgement of every epoch. Goes out: the weights to report. Means of weights are
taken over the best epochs or the last ones; running statistics of batch normalisation, which do not
average, are then measured anew on training batches (arXiv 1803.05407, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neurovis.protocols import Protocol


class Choice:
    """Keeps the weights that may be wanted at the end.

    Parameters
    ----------
    protocol : Protocol
    n_average : int
        Epochs whose weights are averaged.
    of : {"best", "last"}
        Which epochs these are, where something judges them.
    """

    def __init__(self, protocol: Protocol, n_average: int = 1, of: str = "best"):
        self.protocol = protocol
        self.n_average = n_average
        self.last = of == "last" or protocol.judged == "nothing"
        self.room = n_average + protocol.n_models - 1
        self.kept: list[dict[str, Any]] = []

    def value(self, report: dict[str, float]) -> float:
        """What an epoch is judged by, less is better; 0 where nothing judges."""
        if not report:
            return 0.0
        found = report[f"validation_{self.protocol.by}"]
        return found if self.protocol.by == "loss" else -found

    def offer(self, value: float, weights: dict[str, Any]) -> None:
        """Take a copy of an epoch's weights if they may be wanted."""
        if self.last:
            self.kept = self.kept[-(self.room - 1) :] if self.room > 1 else []
        elif len(self.kept) == self.room:
            # sorting keeps the order of equals: of two as good the earlier stays
            if value >= self.kept[-1]["value"]:
                return
            self.kept.pop()
        copy = {k: v.detach().clone() for k, v in weights.items()}
        self.kept.append({"value": value, "weights": copy})
        if not self.last:
            self.kept.sort(key=lambda one: one["value"])

    def weights(self) -> list[dict[str, Any]]:
        """Weights of every model to report, each a mean where that was asked for."""
        found = [one["weights"] for one in self.kept]
        if self.protocol.n_models == 1:
            return [mean(found)]
        # each model is the mean of its own epoch and those before it
        n = max(1, len(found) - self.n_average + 1)
        return [mean(found[i : i + self.n_average]) for i in range(n)]


def mean(weights: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean of several states; what is no floating-point number is taken from the first."""
    import torch

    first = weights[0]
    if len(weights) == 1:
        return first
    return {
        k: torch.stack([one[k].double() for one in weights]).mean(0).to(v.dtype)
        if v.dtype.is_floating_point
        else v
        for k, v in first.items()
    }


def norms(model: Any) -> list:
    """Batch normalisations that keep running statistics."""
    import torch

    kind = torch.nn.modules.batchnorm._BatchNorm
    return [m for m in model.modules() if isinstance(m, kind) and m.track_running_stats]


def measure_norms(model: Any, batches: Iterable[tuple]) -> None:
    """Measure the running statistics of batch normalisation anew: their mean over batches.

    Parameters
    ----------
    model : torch.nn.Module
        Everything but its normalisations works as in prediction.
    batches : iterable of tuple
        What the model is called with.
    """
    import torch

    found = norms(model)
    before = [norm.momentum for norm in found]
    model.eval()
    for norm in found:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    with torch.no_grad():
        for batch in batches:
            model(*batch)
    for norm, momentum in zip(found, before):
        norm.momentum = momentum
    model.eval()


def average_into(shadow: dict, model: Any, decay: float, step: int) -> None:
    """Move the average of the weights towards the weights; early steps count more."""
    import torch

    rate = 1 - min(decay, (1 + step) / (10 + step)) if decay else 1.0
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point and rate < 1:
                shadow[name].lerp_(value, rate)
            else:
                shadow[name].copy_(value)


def use(model: Any, shadow: dict, decay: float) -> None:
    """Put the averaged weights into the model, keeping its own."""
    if decay:
        model._own = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model.load_state_dict(shadow)


def restore(model: Any, decay: float) -> None:
    """Undo `use`."""
    if decay:
        model.load_state_dict(model._own)
        del model._own
