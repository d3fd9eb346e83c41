"""Weights of frozen networks: found in a cache or fetched, read without running them, named by content.

Comes in: a file, or a repository of the Hugging Face hub. Goes out: tensors, and a checksum that does
not depend on the file that they came in.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from neurovis.errors import NeurovisError

OFFLINE = ("classical", "color", "gabor", "hog", "maps", "pixels")


def hash_weights(module: Any, settings: dict[str, Any]) -> str:
    """SHA-256 of parameters, buffers and transform settings, whatever file they came in."""
    import torch

    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_errors() -> tuple[type[Exception], ...]:
    """What a foreign or unfit file makes the loaders raise."""
    import pickle

    from safetensors import SafetensorError

    wrong = (ValueError, TypeError, KeyError, AttributeError, RuntimeError)
    return (*wrong, OSError, EOFError, pickle.UnpicklingError, SafetensorError)


def read_weights(path: Path) -> dict[str, Any]:
    """Tensors by name from a safetensors file or a torch file of plain tensors."""
    import torch

    from neurovis.store import load_tensors

    if path.suffix == ".safetensors":
        return load_tensors(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), dict):
            return state[key]
    return state


def fetch(what: str, repository: str, names: tuple[str, ...]) -> Path:
    """Path of the first of some files of a Hugging Face repository: from the cache, or fetched.

    Raises
    ------
    NeurovisError
        If it is neither cached nor reachable, with the command that fetches it.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names:
        cached = huggingface_hub.try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    reason: Any = "there is no network"
    if _hub_is_there():
        for name in names:
            try:
                return Path(huggingface_hub.hf_hub_download(repository, name))
            except LocalEntryNotFoundError as error:
                reason = type(error).__name__
                break
            except EntryNotFoundError as error:
                reason = f"{name} is not there"
                del error
            except (OSError, ValueError) as error:
                reason = type(error).__name__
                break
    raise NeurovisError(
        f"{what}: {' or '.join(names)} of {repository} is not in the Hugging Face cache and could "
        f"not be fetched ({reason}); where there is a network run `hf download {repository} "
        f"{names[0]}`, or use an encoder that works offline: {', '.join(OFFLINE)}."
    )


def _hub_is_there() -> bool:
    """Whether asking the hub can succeed; without this check its client retries for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if any(
        os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    ):
        return True
    try:
        socket.getaddrinfo(constants.ENDPOINT.split("//")[-1].split("/")[0].split(":")[0], 443)
    except OSError:
        return False
    return True
