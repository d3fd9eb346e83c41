"""Where a training run stands, on disk: at the end of an epoch, or within one.

Comes in: what changes while a tower is trained. Goes out: a file from which the same command goes on,
on any number of processes: all of them hold the same weights, and what is drawn at random follows
from seed, epoch and step. The first process writes; a kill or a full disk leaves the file before.
"""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

from neurovis.distributed import World
from neurovis.errors import NeurovisError
from neurovis.store import atomic, enduring


class Checkpoint:
    """The checkpoint of one tower.

    Parameters
    ----------
    path : Path
    made_by : str
        Whose it is; that of another run is refused.
    world : World
    parts : dict
        Objects with ``state_dict`` and ``load_state_dict``, by name.
    """

    def __init__(self, path: Path, made_by: str, world: World, parts: dict[str, Any]):
        self.path, self.made_by, self.world, self.parts = path, made_by, world, parts
        self.at, self.took = time.perf_counter(), 0.0

    def load(self, device: Any) -> dict[str, Any] | None:
        """Put the parts where they stood; give the rest of what was saved, or None.

        Raises
        ------
        NeurovisError
            If the file is damaged, or of another experiment.
        """
        import torch

        there = self.world.first and self.path.is_file()
        content = self.world.same(self.path.read_bytes() if there else None)
        if content is None:
            return None
        again = "remove the file, or train with --resume never, to start over"
        try:
            saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        except Exception as error:  # torch raises what its unpickler happens to trip over
            raise NeurovisError(
                f"{self.path}: expected a checkpoint, found a damaged or foreign file "
                f"({type(error).__name__}); {again}."
            ) from error
        found = saved.pop("made_by", None) if isinstance(saved, dict) else None
        if found != self.made_by:
            raise NeurovisError(
                f"{self.path}: expected a checkpoint of {self.made_by}, found one of "
                f"{found or 'another version of neurovis'}; {again}."
            )
        try:
            for name, part in self.parts.items():
                part.load_state_dict(saved.pop(name))
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:150]
            raise NeurovisError(
                f"{self.path}: its weights do not fit the tower of this version of neurovis "
                f"({reason}); {again}."
            ) from error
        return saved

    def due(self, seconds: float) -> bool:
        """Whether the last one is older than so many seconds, or than twenty times what it took."""
        return time.perf_counter() - self.at > max(seconds, 20 * self.took)

    def save(self, **more: Any) -> None:
        """Write the parts, and whatever else is given."""
        import torch

        started = time.perf_counter()
        if self.world.first:
            content = {name: part.state_dict() for name, part in self.parts.items()}
            with atomic(self.path) as partial, enduring(partial) as stream:
                torch.save({"made_by": self.made_by, **content, **more}, stream)
        self.at = time.perf_counter()
        self.took = self.at - started

    def remove(self) -> None:
        """Delete the file."""
        if self.world.first:
            self.path.unlink(missing_ok=True)
