"""What several towers are made of: the temporal-spatial convolution, the residual head, heads by target.

Comes in: sizes. Goes out: torch modules. The convolution says what the plain modules of its paper say, to
rounding, in a third of their arithmetic and without their largest arrays.

References: Song et al. 2024, arXiv 2308.13234 (convolution); Li et al. 2024, arXiv 2403.07721 (head).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from neurovis.errors import NeurovisError

CACHE = 2**18
"""Values of an unfolded block of trials that stay in a processor's cache."""


def size(module: Any) -> int:
    """Number of learned weights of a torch module."""
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)


def by_target(outputs: dict[str, int], make: Callable[[int], Any]) -> Any:
    """One head per target: a torch module from features (row, feature) to {target: (row, dim)}.

    Parameters
    ----------
    outputs : dict of int
        Width of each target.
    make : callable
        Width -> torch module.
    """
    from torch import nn

    class Heads(nn.Module):
        """See `by_target`."""

        def __init__(self):
            super().__init__()
            # dots are not allowed in names of submodules
            self.names = tuple(outputs)
            self.each = nn.ModuleList(make(dim) for dim in outputs.values())

        def forward(self, features: Any) -> dict[str, Any]:
            return {name: head(features) for name, head in zip(self.names, self.each)}

    return Heads()


def residual_head(n_in: int, dim: int, dropout: float) -> Any:
    """Linear map, then a residual GELU-linear-dropout, then a normalisation: a torch module.

    Parameters
    ----------
    n_in, dim : int
    dropout : float
    """
    from torch import nn
    from torch.nn import functional

    class Head(nn.Module):
        """See `residual_head`."""

        def __init__(self):
            super().__init__()
            self.first = nn.Linear(n_in, dim)
            self.second = nn.Linear(dim, dim)
            self.drop = cheap_dropout(dropout)
            self.norm = nn.LayerNorm(dim)

        def forward(self, x: Any) -> Any:
            x = self.first(x)
            return self.norm(x + self.drop(self.second(functional.gelu(x))))

    return Head()


def masked(signal: Any, present: Any) -> Any:
    """Signal (row, channel, time) with absent channels at 0, whatever stands in them."""
    if bool(present.all()):
        return signal
    return signal.masked_fill(~present[:, :, None], 0.0)


def drawn(shape: Any, rate: float) -> tuple[Any, float]:
    """Which values a dropout keeps: tensor of bool, and what the kept ones are multiplied by.

    Four are decided by each 64-bit number, by 16 bits each: a processor takes ten times as long to draw
    one number for each of them.
    """
    import torch

    n = math.prod(shape)
    bits = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None)
    threshold = round(rate * 2**16)
    keep = bits.view(torch.int16)[:n].view(shape) >= threshold - 2**15
    return keep, 2**16 / (2**16 - threshold)


def cheap_dropout(rate: float) -> Any:
    """Dropout that draws cheaply on a processor: a torch module.

    Parameters
    ----------
    rate : float
        Share of the values set to 0, rounded to a multiple of 1 / 65536.
    """
    import torch
    from torch import nn

    class Drop(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        def forward(ctx: Any, x: Any, rate: float) -> Any:
            keep, ctx.gain = drawn(x.shape, rate)
            gone = keep.logical_not_()
            ctx.save_for_backward(gone)
            return x.masked_fill(gone, 0.0).mul_(ctx.gain)

        @staticmethod
        @torch.autograd.function.once_differentiable
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, slope: Any) -> Any:
            return slope.masked_fill(*ctx.saved_tensors, 0.0).mul_(ctx.gain), None

    class Dropout(nn.Dropout):
        """See `cheap_dropout`."""

        def forward(self, x: Any) -> Any:
            if not self.training or not self.p or x.device.type != "cpu":
                return super().forward(x)
            return Drop.apply(x, self.p)

    return Dropout(rate)


def attention(n_heads: int, rate: float) -> Any:
    """Scaled dot-product attention of tokens with dropout: a torch module.

    On a processor a few rows are taken at a time, and of the weights between tokens one array is kept.

    Parameters
    ----------
    n_heads : int
    rate : float
        Dropout of the weights.

    Returns
    -------
    torch.nn.Module
        From queries, keys and values side by side (row, token, 3 x head x width), and which tokens may
        be heard (row, token) or None, to (row, token, head x width).
    """
    import torch
    from torch import nn
    from torch.nn import functional

    def parts(qkv: Any) -> Any:
        return qkv.view(*qkv.shape[:2], 3, n_heads, -1).permute(2, 0, 3, 1, 4)

    def spans(qkv: Any) -> Any:
        step = max(1, 8 * CACHE // (n_heads * qkv.shape[1] ** 2))
        return (slice(start, start + step) for start in range(0, len(qkv), step))

    class Attend(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        def forward(ctx: Any, qkv: Any, use: Any, rate: float) -> Any:
            n, n_tokens = qkv.shape[:2]
            q, k, v = parts(qkv)
            kept = qkv.new_empty(n, n_heads, n_tokens, n_tokens)
            out = qkv.new_empty(n, n_tokens, n_heads, v.shape[-1])
            ctx.gain = 1.0
            for span in spans(qkv):
                score = (q[span] @ k[span].transpose(2, 3)).mul_(q.shape[-1] ** -0.5)
                if use is not None:
                    score.masked_fill_(~use[span, None, None], -torch.inf)
                weight = torch.softmax(score, 3, out=kept[span])
                if rate:
                    keep, ctx.gain = drawn(weight.shape, rate)
                    # what is dropped is kept for the backward pass, as a negative number
                    torch.where(keep, weight, -weight, out=weight)
                said = weight.clamp(min=0) @ v[span]
                torch.mul(said.transpose(1, 2), ctx.gain, out=out[span])
            ctx.save_for_backward(qkv, kept)
            return out.flatten(2)

        @staticmethod
        @torch.autograd.function.once_differentiable
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, slope: Any) -> Any:
            qkv, kept = ctx.saved_tensors
            q, k, v = parts(qkv)
            along = torch.empty_like(qkv)
            along_q, along_k, along_v = parts(along)
            slope = slope.view(*qkv.shape[:2], n_heads, -1).transpose(1, 2)
            scale = q.shape[-1] ** -0.5
            for span in spans(qkv):
                heard = kept[span].clamp(min=0)
                back = slope[span] * ctx.gain
                along_v[span] = heard.transpose(2, 3) @ back
                heard *= back @ v[span].transpose(2, 3)
                heard -= kept[span].abs() * heard.sum(3, keepdim=True)
                heard *= scale
                along_q[span] = heard @ k[span]
                along_k[span] = heard.transpose(2, 3) @ q[span]
            return along, None, None

    class Attention(nn.Dropout):
        """See `attention`."""

        def forward(self, qkv: Any, use: Any = None) -> Any:
            rate = self.p if self.training else 0.0
            if qkv.device.type == "cpu":
                return Attend.apply(qkv, use, rate)
            mask = None if use is None else use[:, None, None]
            y = functional.scaled_dot_product_attention(*parts(qkv), mask, rate)
            return y.transpose(1, 2).flatten(2)

    return Attention(rate)


def temporal_spatial(
    n_chans: int,
    n_times: int,
    n_filters: int = 40,
    kernel: int = 25,
    pool: int = 51,
    stride: int = 5,
    dropout: float = 0.5,
    who: str = "temporal_spatial",
) -> Any:
    """Convolution over time, average pooling, ELU, convolution over channels, ELU, 1x1: a torch module.

    Parameters
    ----------
    n_chans, n_times : int
    n_filters : int
        Temporal filters, and as many spatial ones.
    kernel, pool, stride : int, samples
        Of the temporal convolution and of the average pooling.
    dropout : float
    who : str
        Named in errors.

    Returns
    -------
    torch.nn.Module
        From (row, channel, time) to (row, window, filter); `n_windows` says how many windows.

    Raises
    ------
    NeurovisError
        If the epochs are shorter than one window.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    width = kernel + pool - 1
    if n_times < width:
        raise NeurovisError(
            f"{who}: expected epochs of at least kernel + pool - 1 = {width} samples, found {n_times}; "
            "lower brain.pool and brain.kernel."
        )

    def elu_(x: Any) -> Any:
        # exp(x) >= x + 1, so that the larger one is right on both sides; expm1 takes five times as long
        return torch.maximum(x, x.clamp(max=0).exp_().sub_(1), out=x)

    class Filtered(torch.autograd.Function):
        """ELU of windows times temporal filters, times spatial filters; a block of trials at a time.

        Windows overlap and are never kept; what is kept is read once more, in the backward pass.
        """

        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        def forward(ctx: Any, x: Any, temporal: Any, bias: Any, spatial: Any) -> Any:
            n, n_windows = len(x), (x.shape[2] - width) // stride + 1
            y = x.new_empty(n * n_windows, n_chans * n_filters)
            out = x.new_empty(n * n_windows, n_filters)
            for part, windows in blocks(x):
                rows = y[part].view(-1, n_filters)
                torch.addmm(bias, windows, temporal.T, out=rows)
                elu_(rows)
                torch.mm(y[part], spatial.T, out=out[part])
            ctx.save_for_backward(x, temporal, spatial, y)
            return out.view(n, n_windows, n_filters)

        @staticmethod
        @torch.autograd.function.once_differentiable
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, slope: Any) -> Any:
            x, temporal, spatial, y = ctx.saved_tensors
            slope = slope.reshape(-1, n_filters)
            along_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
            along_spatial = torch.zeros_like(spatial)
            along_temporal, along_bias = torch.zeros_like(temporal), x.new_zeros(n_filters)
            n_windows = len(slope) // len(x)
            for part, windows in blocks(x):
                along_spatial.addmm_(slope[part].T, y[part])
                inner = slope[part] @ spatial
                inner.mul_(y[part].clamp(max=0).add_(1))
                inner = inner.view(-1, n_filters)
                along_temporal.addmm_(inner.T, windows)
                along_bias += inner.sum(0)
                if along_x is not None:
                    mine = along_x[part.start // n_windows : part.stop // n_windows]
                    back = (inner @ temporal).view(len(mine), n_windows, n_chans, width)
                    scatter(mine, back.transpose(1, 2))
            return along_x, along_temporal, along_bias, along_spatial

    def blocks(x: Any) -> Any:
        """Rows (trial x window) and their windows (row x channel, sample), block by block."""
        view = x.unfold(2, width, stride).transpose(1, 2)
        n_windows = view.shape[1]
        each = n_windows * n_chans * width
        step = max(1, CACHE * torch.get_num_threads() // each)
        room = x.new_empty(min(step, len(x)) * each)
        for start in range(0, len(x), step):
            block = view[start : start + step]
            windows = room[: len(block) * each].view(block.shape)
            windows.copy_(block)
            stop = start + len(block)
            yield slice(start * n_windows, stop * n_windows), windows.view(-1, width)

    def scatter(into: Any, windows: Any) -> None:
        """Add windows (trial, channel, window, sample) where they were cut from."""
        n_windows = windows.shape[2]
        for begin in range(0, width, stride):
            some = windows[..., begin : begin + stride]
            last = begin + (n_windows - 1) * stride + some.shape[3]
            if some.shape[3] == stride:
                into[..., begin:last].view(*into.shape[:2], n_windows, stride).add_(some)
            else:
                for i in range(some.shape[3]):
                    into[..., begin + i : last : stride].add_(some[..., i])

    class Convolution(nn.Module):
        """See `temporal_spatial`."""

        def __init__(self):
            super().__init__()
            self.temporal = nn.Conv2d(1, n_filters, (1, kernel))
            self.first_norm = nn.BatchNorm2d(n_filters)
            self.spatial = nn.Conv2d(n_filters, n_filters, (n_chans, 1))
            self.second_norm = nn.BatchNorm2d(n_filters)
            self.drop = cheap_dropout(dropout)
            self.mix = nn.Conv2d(n_filters, n_filters, 1)
            self.n_windows = (n_times - width) // stride + 1
            self.by_block = True

        def pooled(self) -> Any:
            """Temporal filters (filter, sample) with the pooling in them."""
            box = self.temporal.weight.new_full((1, 1, pool), 1 / pool)
            return functional.conv1d(self.temporal.weight[:, 0], box, padding=pool - 1)[:, 0]

        def filters(self, x: Any) -> tuple[Any, Any]:
            """Temporal filters (filter, sample) with pooling and normalisation in them, and biases."""
            filters = self.pooled()
            norm = self.first_norm
            if self.training:
                mean, variance, n = self.moments(x, filters)
                mean = mean + self.temporal.bias
                with torch.no_grad():
                    norm.running_mean.lerp_(mean, norm.momentum)
                    norm.running_var.lerp_(variance * (n / max(n - 1, 1)), norm.momentum)
                    norm.num_batches_tracked += 1
            else:
                mean, variance = norm.running_mean, norm.running_var
            gain = norm.weight * (variance + norm.eps).rsqrt()
            return filters * gain[:, None], norm.bias + (self.temporal.bias - mean) * gain

        def moments(self, x: Any, filters: Any) -> tuple[Any, Any, int]:
            """Mean and variance of what filters say of a batch, from the covariance of its samples."""
            flat = x.reshape(-1, x.shape[2])
            mean = flat.mean(0)
            square = flat.T @ flat / len(flat)
            starts = range(0, x.shape[2] - width + 1, stride)
            mean = sum(mean[i : i + width] for i in starts) / len(starts)
            square = sum(square[i : i + width, i : i + width] for i in starts) / len(starts)
            mean_of = filters @ mean
            variance = ((filters @ square) * filters).sum(1) - mean_of**2
            return mean_of, variance.clamp(min=0), len(flat) * len(starts)

        def forward(self, x: Any) -> Any:
            spatial = self.spatial.weight[..., 0].transpose(1, 2).reshape(n_filters, -1)
            # several processes normalise together: their norms bring a forward of their own
            together = "forward" in vars(self.first_norm)
            if not together:
                # a variance of few bits is none
                with torch.autocast(x.device.type, enabled=False):
                    filters, bias = self.filters(x.to(torch.promote_types(x.dtype, torch.float32)))
            if x.device.type == "cpu" and self.by_block and not together:
                y = Filtered.apply(x, filters, bias, spatial)
            else:  # large arrays are what a GPU is good at
                windows = x.unfold(2, width, stride).transpose(1, 2)
                if together:
                    y = functional.linear(windows, self.pooled(), self.temporal.bias)
                    y = self.first_norm(y.transpose(1, 3)).transpose(1, 3)
                else:
                    y = functional.linear(windows, filters, bias)
                y = functional.linear(functional.elu(y).flatten(2), spatial)
            y = (y + self.spatial.bias).transpose(1, 2)[:, :, None]
            y = self.drop(functional.elu(self.second_norm(y)))[:, :, 0].transpose(1, 2)
            return functional.linear(y, self.mix.weight[:, :, 0, 0], self.mix.bias)

    return Convolution()
