"""Read a frozen network at one place or at several, in as few passes as there are kinds of places.

Comes in: a loaded network and the configs that say where (`neurovis.images.networks.Network`). Goes out:
a function from images (image, channel, height, width) to one tensor per config, (image, dim) or
(image, token, dim). Blocks come from the network's own ``forward_intermediates``; a part named by its
path in the module tree is read by a hook, so that networks without blocks can be read as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neurovis.errors import NeurovisError, UsageError, unknown

if TYPE_CHECKING:
    from neurovis.images.networks import Loaded, Network


def block_at(depth: float, n_layers: int) -> int:
    """Block, counted from 1, at a relative depth (l - 1) / (L - 1).

    References
    ----------
    Relative depth as in arXiv:2601.21948, where .355 is block 12 of 32 of ViT-H-14.
    """
    return 1 + round(depth * (n_layers - 1))


class Reader:
    """From images to one tensor per config.

    Parameters
    ----------
    networks : sequence of Network
        One network, read at the place that each config says.
    loaded : Loaded
        In evaluation mode, on its device.

    Attributes
    ----------
    widths : list of int
        Dims of what is read at each place.

    Raises
    ------
    UsageError
        If a place is not there: no such block or part, no class token.
    NeurovisError
        If the network does not give its blocks.
    """

    def __init__(self, networks: Sequence[Network], loaded: Loaded):
        self.networks, self.loaded = networks, loaded
        blank = _blank(loaded)
        self.outputs = [i for i, one in enumerate(networks) if one.own_output]
        hooked = [i for i, one in enumerate(networks) if one.module]
        self.blocks = [i for i in range(len(networks)) if i not in self.outputs + hooked]
        self.numbers = {}
        if self.blocks:
            self.numbers = _numbers([networks[i] for i in self.blocks], loaded, blank)
        self.parts = _Parts(networks, hooked, loaded, blank) if hooked else None
        with _inference():
            # what is not there is refused now and not after the first pictures
            self.widths = [one.shape[-1] for one in self(blank)]

    def __call__(self, x: Any) -> list[Any]:
        """Tensors (image, dim) or (image, token, dim), one per config."""
        found: list[Any] = [None] * len(self.networks)
        if self.outputs:
            whole = self.loaded.output(x)
            found = [whole if i in self.outputs else None for i in range(len(found))]
        for last in (False, True):
            mine = [i for i in self.blocks if self.networks[i].last == last]
            if mine:
                where = [self.numbers[self.networks[i]] for i in mine]
                pools = [self.networks[i].pool for i in mine]
                tensors = _pooled(self.networks[0], self.loaded.tower, x, where, pools, last)
                for i, one in zip(mine, tensors):
                    found[i] = one
        for i, one in self.parts.read(x) if self.parts else ():
            found[i] = one
        return found


def n_blocks(network: Network, loaded: Loaded) -> int:
    """Number of blocks that a network gives."""
    tower = loaded.tower
    if not hasattr(tower, "forward_intermediates") or not network.gives_blocks(tower):
        raise NeurovisError(
            f"{network.component}:{network.model}: expected a network that gives its blocks, found "
            f"{type(tower).__name__}; use its own output (no @ and no +), name a part as "
            "@module=..., or use another network."
        )
    with _inference():
        return len(network.block(tower, _blank(loaded), None, False, False))


def _inference() -> Any:
    import torch

    return torch.inference_mode()


def _blank(loaded: Loaded) -> Any:
    """Two gray pictures as the network gets them."""
    import torch
    from PIL import Image

    one = loaded.transform(Image.new("RGB", (64, 64), (128, 128, 128)))
    device = next(iter(loaded.tower.parameters())).device
    return torch.stack([one, one]).to(device)


def _numbers(networks: Sequence[Network], loaded: Loaded, blank: Any) -> dict[Network, int]:
    """Zero-based block of each config."""
    first = networks[0]
    n_layers = n_blocks(first, loaded)
    numbers = {}
    for one in networks:
        number = n_layers if one.last else one.layer or block_at(one.depth, n_layers)
        if number > n_layers:
            raise UsageError(
                f"{one.component}:{one.model}: expected a layer from 1 to {n_layers}, found "
                f"{number}; choose one of these or a relative depth."
            )
        if one.pool == "cls" and not one.class_token(loaded.tower):
            raise _no_class_token(one)
        numbers[one] = number - 1
    return numbers


def _no_class_token(network: Network) -> UsageError:
    return UsageError(
        f"{network.component}:{network.model}: it has no class token in its blocks; use +mean or "
        "+tokens."
    )


def _pooled(
    network: Network, tower: Any, x: Any, where: list[int], pools: list[str], last: bool
) -> list[Any]:
    """One tensor per block and pooling, from one pass."""
    cls = "cls" in pools
    taken = sorted(set(where))
    maps = network.block(tower, x, taken, last and network.norms(tower), cls)
    out = []
    for number, pool in zip(where, pools):
        found = maps[taken.index(number)]
        patches, prefix = found if cls else (found, None)
        out.append(_pool(patches.flatten(2).transpose(1, 2), prefix, pool))
    return out


def _pool(tokens: Any, prefix: Any, pool: str) -> Any:
    if pool == "cls":
        return prefix[:, 0]
    return tokens if pool == "tokens" else tokens.mean(dim=1)


class _Parts:
    """Parts of a network, read by hooks in one pass."""

    def __init__(self, networks: Sequence[Network], which: list[int], loaded: Loaded, blank: Any):
        self.networks, self.which, self.loaded = networks, which, loaded
        self.parts = {}
        known = dict(loaded.tower.named_modules())
        for i in which:
            one = networks[i]
            if one.module not in known:
                what = f"part of {one.component}:{one.model}"
                raise UsageError(unknown(what, one.module, [name for name in known if name]))
            self.parts[one.module] = known[one.module]
        self.n_patches = None
        first, tower = networks[which[0]], loaded.tower
        if first.n_prefix(tower) and hasattr(tower, "forward_intermediates"):
            with _inference():
                grid = first.block(tower, blank, [0], False, False)[0]
            self.n_patches = grid.shape[2] * grid.shape[3]

    def read(self, x: Any) -> list[tuple[int, Any]]:
        """Number of each config with its tensor."""
        said: dict[str, list[Any]] = {name: [] for name in self.parts}
        hooks = [
            part.register_forward_hook(lambda _, __, out, name=name: said[name].append(out))
            for name, part in self.parts.items()
        ]
        try:
            self.loaded.output(x)
        finally:
            for hook in hooks:
                hook.remove()
        return [(i, self._tokens(self.networks[i], said, len(x))) for i in self.which]

    def _tokens(self, network: Network, said: dict[str, list[Any]], n: int) -> Any:
        """Tokens or their mean of what a part said, whatever the order of its dims."""
        outs = said[network.module]
        value = outs[0] if outs else None
        value = value[0] if isinstance(value, tuple | list) and value else value
        shape = tuple(getattr(value, "shape", ()))
        if len(outs) != 1 or len(shape) not in (2, 3, 4) or shape[0] != n:
            raise self._unfit(network, f"{len(outs)} outputs, the first of shape {shape}")
        if len(shape) == 2:
            if network.pool in ("tokens", "cls"):
                raise self._unfit(network, "one vector per picture", f" and no +{network.pool}")
            return value
        if len(shape) == 4:
            if network.pool == "cls":
                raise _no_class_token(network)
            square = shape[2] == shape[3], shape[1] == shape[2]
            if all(square) or not any(square):
                raise self._unfit(network, f"shape {shape}, whose channels cannot be told")
            return _pool(
                value.flatten(2).transpose(1, 2) if square[0] else value.flatten(1, 2),
                None,
                network.pool,
            )
        n_prefix = network.n_prefix(self.loaded.tower)
        if self.n_patches is not None and shape[1] == self.n_patches:
            n_prefix = 0
        elif self.n_patches is not None and shape[1] != self.n_patches + n_prefix:
            raise self._unfit(network, f"{shape[1]} tokens for {self.n_patches} patches")
        if network.pool == "cls" and not (n_prefix and network.class_token(self.loaded.tower)):
            raise _no_class_token(network)
        return _pool(value[:, n_prefix:], value[:, :n_prefix], network.pool)

    def _unfit(self, network: Network, found: str, more: str = "") -> UsageError:
        return UsageError(
            f"{network.component}:{network.model}: expected part {network.module!r} to give one map, "
            f"row of tokens or vector per picture{more}, found {found}; name another part or a block."
        )
