"""What is said when a loss is no number any more: where it happened, what is kept, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurovis.errors import NeurovisError


def diverged(
    stage: str,
    what: str,
    value: float,
    where: str,
    checkpoint: Path,
    said: Any = None,
    images: Any = (),
) -> NeurovisError:
    """The error to raise.

    Parameters
    ----------
    stage, what : str
        Such as ``tower`` and ``validation loss``.
    value : float
    where : str
        Epoch and batch.
    checkpoint : Path
        Written after good epochs alone.
    said : dict of tensor (row, dim), optional
        Predictions of the batch.
    images : array of str (row,)
        What each row of the batch shows.
    """
    import torch

    rows = [~torch.isfinite(v).all(1).cpu() for v in (said or {}).values()]
    wrong = torch.stack(rows).any(0).nonzero().flatten().tolist() if rows else []
    if wrong:
        where += f", where {len(wrong)} of {len(images)} predictions are no numbers, the first of "
        where += f"image {str(images[wrong[0]])!r}"
    kept = (
        "the last good checkpoint is kept" if checkpoint.is_file() else "no epoch was complete yet"
    )
    return NeurovisError(
        f"training {stage}: the {what} is {value} at {where}; {kept}: lower train.lr or check the "
        "signals' scale, then run the same command again."
    )
