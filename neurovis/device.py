"""What a tower is computed on: device, precision, compilation.

Comes in: what the experiment asks for. Goes out: what there is, chosen by what the device is good at,
or one sentence that says why it cannot be.
"""

from __future__ import annotations

import os
from typing import Any

from neurovis.distributed import here
from neurovis.errors import UsageError
from neurovis.progress import say


def choose_device(name: str) -> Any:
    """The torch device asked for, or the best there is; one GPU for each process of a machine."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device: expected auto, cpu or cuda, found {name!r}.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("device: cuda was asked for, but torch finds no GPU; use device=cpu.")
    if device.type == "cuda" and here().size > 1:
        number, there = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if number >= there:
            raise UsageError(
                f"device: expected a GPU for each process, found {there} for process {number + 1} of "
                f"this machine; use torchrun --nproc-per-node {there}."
            )
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: Any) -> Any:
    """The torch type that a tower computes in.

    Parameters
    ----------
    name : {"auto", "float32", "bfloat16"}
    device : torch.device

    Returns
    -------
    torch.dtype
        ``auto`` is float32 on every CPU, so that its numbers do not depend on which CPU it is.

    Raises
    ------
    UsageError
        If bfloat16 is asked of a device that computes in it by way of something else: a CPU without
        it takes twenty times longer than in float32.
    """
    import torch

    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        found = getattr(torch.cpu, "get_capabilities", dict)()
        native = any(found.get(unit) for unit in ("avx512_bf16", "amx_bf16", "bf16"))
    if name == "bfloat16" and not native:
        raise UsageError(
            f"precision: bfloat16 was asked for, but this {device.type} has none of its own and would "
            "be many times slower; use precision=auto."
        )
    wanted = name == "bfloat16" or (name == "auto" and device.type == "cuda" and native)
    return torch.bfloat16 if wanted else torch.float32


def compile_tower(model: Any, quiet: bool = False) -> None:
    """Compile a decoder's tower in place; where that fails, say so once and go on without.

    A compiled tower draws other numbers in dropout.

    Parameters
    ----------
    model : torch.nn.Module
        From `neurovis.decoder.decoder`; the names of its weights stay.
    quiet : bool
    """
    import logging

    import torch
    from torch._dynamo.exc import TorchDynamoException

    # where a tower asks for a value, its graph is cut in two: no news to its user
    torch._logging.set_logs(dynamo=logging.ERROR)
    plain = model.tower.forward
    fast = torch.compile(plain)

    def forward(*inputs: Any) -> Any:
        nonlocal fast
        try:
            return fast(*inputs)
        except TorchDynamoException as error:
            reason = " ".join(str(error).split())[:150]
            say(f"torch.compile failed, going on without it: {reason}", quiet)
            fast = plain
            return plain(*inputs)

    model.tower.forward = forward
