"""How well a tower does on what it is not trained on, at the end of an epoch.

Comes in: a `Setup`, a decoder and items with their images. Goes out: loss and retrieval among these images.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from neurovis import predict
from neurovis.batches import Item

if TYPE_CHECKING:
    from neurovis.train import Setup


def validate(
    setup: Setup,
    model: Any,
    loss_of: Any,
    items: list[Item],
    images: np.ndarray,
    number_of: dict[str, int],
    fold: Any = None,
) -> dict[str, float]:
    """Loss and top-5 retrieval among the images that judge, repeats averaged."""
    import torch

    from neurovis.metrics.retrieval import cosine_blocks, place, top_credit

    said = predict.heads(setup, model, items, fold)
    if not setup.world.first:
        return setup.world.same(None)
    truth = {k: torch.from_numpy(v) for k, v in setup.truth(images).items()}
    numbers = torch.tensor([number_of[image] for image in images])
    size = setup.experiment.train.batch_size
    gallery = np.unique(images)
    known = {k: torch.from_numpy(v) for k, v in setup.truth(gallery).items()}
    losses, weights, pairs = [], [], []
    loss_on_cpu, model = loss_of.to("cpu"), model.to("cpu")
    with torch.inference_mode():
        for side, rows in predict.by_side(model, items):
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                batch = {k: v[part] for k, v in said.items()}
                seen = model.seen({k: v[part] for k, v in truth.items()}, side)
                losses.append(float(loss_on_cpu(batch, seen, numbers[part])["loss"]))
                weights.append(len(part))
            target, vectors = next(iter(model.gallery(known, side).items()))
            pairs.append((rows, said[target][rows].numpy(), vectors.numpy()))
        loss = float(np.average(losses, weights=weights))
        if not math.isfinite(loss):
            return setup.world.same({"validation_loss": loss, "validation_top5": 0.0})
    loss_of.to(setup.device), model.to(setup.device)
    shown = np.searchsorted(gallery, images)
    places = [
        place(similarity, shown[rows][block])
        for rows, *pair in pairs
        for block, similarity in cosine_blocks([pair])
    ]
    above, tied = (np.concatenate(part) for part in zip(*places))
    report = {"validation_loss": loss}
    for k in (5, 1) if setup.experiment.protocol.by == "top1" else (5,):
        credit = top_credit(above, tied, min(k, len(gallery)))
        report[f"validation_top{k}"] = float(credit.mean())
    return setup.world.same(report)
