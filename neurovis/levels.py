"""What training items are to reach, where that may change while a tower learns.

Comes in: vectors of the training images, for some targets at several levels (of blur). Goes out: the
vectors of a batch. Each level was embedded beforehand; an item moves between them by how well it has been
matched of late, so that a pair that is matched too well or too badly sees less or more blur.

Reference: arXiv 2503.04207 (UBP): a pair whose similarity lies above or below mean +- 1.96 standard
deviations of its batch's smoothed similarities gets less or more blur in the next epoch. The rule is
that of the authors' code, with cosines in place of scaled products; the sign in equation 10 is the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurovis.decoder import PROJECTED
from neurovis.errors import NeurovisError
from neurovis.records import Embeddings
from neurovis.targets import Target


class Truth:
    """Vectors of training items.

    Parameters
    ----------
    targets : dict of Target
    vectors : dict of Embeddings
        What is trained on where a target has no levels.
    levels : dict of tuple of Embeddings
        For targets that are trained on something else: one level, or several from sharp to blurred
        between which items move; they start in the middle.
    images : array of str (item,)
    """

    def __init__(
        self,
        targets: dict[str, Target],
        vectors: dict[str, Embeddings],
        levels: dict[str, tuple[Embeddings, ...]],
        images: np.ndarray,
    ):
        import torch

        moving = {name: targets[name].adaptive for name in levels}
        self.adaptive = {name: options for name, options in moving.items() if options}
        stacks = {name: levels.get(name, (found,)) for name, found in vectors.items()}
        # (level, item, dim)
        self.vectors = {
            name: torch.stack([torch.from_numpy(one.at(images)) for one in some])
            for name, some in stacks.items()
        }
        n = len(images)
        self.level = {name: torch.full((n,), len(levels[name]) // 2) for name in self.adaptive}
        self.next = {name: level.clone() for name, level in self.level.items()}
        self.similarity = {name: torch.full((n,), torch.nan) for name in self.adaptive}

    def at(self, rows: Any) -> dict[str, Any]:
        """Vectors of items: tensors (row, dim) per target."""
        out = {}
        for name, vectors in self.vectors.items():
            level = self.level[name][rows] if name in self.level else 0
            out[name] = vectors[level, rows]
        return out

    def learn(
        self, rows: Any, said: dict[str, Any], target: dict[str, Any], model: Any, side: int = 0
    ) -> None:
        """Keep how similar predictions of a batch are to what they were to reach, and its next levels.

        Parameters
        ----------
        rows : array of int (row,)
        said, target : dict of tensor (row, dim)
            Of the tower, and what `at` gave for it.
        model : torch.nn.Module
            Whose image side projects the targets.
        side : int
            Which of its image sides.
        """
        import torch
        from torch.nn import functional

        if not self.adaptive:
            return
        device = next(iter(said.values())).device
        with torch.no_grad():
            seen = model.seen({name: vector.to(device) for name, vector in target.items()}, side)
        for name, options in self.adaptive.items():
            head = name if name in said else next(iter(said))
            truth = seen.get(head + PROJECTED, seen[head])
            pair = said[head].detach().float(), truth.detach().float()
            now = functional.cosine_similarity(*pair, dim=1).cpu()
            before = self.similarity[name][rows]
            mixed = (before + options.rate * (now - before)).where(before.isfinite(), now)
            self.similarity[name][rows] = mixed
            if len(mixed) < 2:
                continue
            unit = (options.deviations * mixed.std()).clamp(min=1e-6)
            steps = ((now - mixed.mean()) / unit).trunc()
            n = len(self.vectors[name])
            self.next[name][rows] = (n // 2 - steps).clamp(0, n - 1).long()

    def choose(self) -> None:
        """Give every item its level for the next epoch."""
        self.level = {name: level.clone() for name, level in self.next.items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"level": self.level, "next": self.next, "similarity": self.similarity}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        if set(state["level"]) != set(self.level):
            raise NeurovisError(
                f"checkpoint: expected levels of {sorted(self.level)}, found {sorted(state['level'])}; "
                "delete the unfinished run and start again."
            )
        here = {key: {k: v.cpu() for k, v in part.items()} for key, part in state.items()}
        self.level, self.next, self.similarity = here["level"], here["next"], here["similarity"]
