"""What a decoder looks at, and what the brain does: saliency and patterns.

Comes in: a differentiable function and signals, or signals and what a linear decoder says of them. Goes
out: attributions (integrated gradients), whose sum is what they explain; or activation patterns, which
say where the decoded signal is, as filters do not: a filter also cancels noise where no signal is.

References: Sundararajan et al. 2017, arXiv 1703.01365; Haufe et al. 2014,
doi:10.1016/j.neuroimage.2013.10.067.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neurovis.errors import NeurovisError


def integrated_gradients(
    function: Callable[[Any], Any], signal: Any, baseline: Any, n_steps: int = 32
) -> Any:
    """Integrated gradients along the straight line from a baseline (eq. 1 of the paper).

    The integral is taken by Gauss and Legendre's rule, which is exact for polynomials of degree
    ``2 n_steps - 1`` along the line.

    Parameters
    ----------
    function : callable
        From a tensor (row, ...) to a tensor (row,), differentiable, rows apart from each other.
    signal : torch.Tensor (row, ...)
    baseline : torch.Tensor
        Broadcast to `signal`.
    n_steps : int
        Points on the line.

    Returns
    -------
    torch.Tensor (row, ...)
        Their sum over a row is ``function(signal) - function(baseline)`` (completeness), but for
        what the integral is short of.

    Raises
    ------
    NeurovisError
        If a gradient is not finite.
    """
    import torch

    if n_steps < 1:
        raise NeurovisError(f"n_steps: expected one or more, found {n_steps}; take 32.")
    point, weight = np.polynomial.legendre.leggauss(n_steps)
    away = signal - baseline
    total = torch.zeros_like(away)
    for share, part in zip((point + 1) / 2, weight / 2):
        here = (baseline + float(share) * away).detach().requires_grad_(True)
        with torch.enable_grad():
            said = function(here).sum()
            (gradient,) = torch.autograd.grad(said, here)
        total += float(part) * gradient
    if not bool(torch.isfinite(total).all()):
        raise NeurovisError(
            "saliency: a gradient is not finite, expected a smooth decoder; leave saliency out of parts."
        )
    return away * total


def completeness(
    function: Callable[[Any], Any], signal: Any, baseline: Any, found: Any
) -> np.ndarray:
    """What attributions are short of, per row: their sum minus the difference that they explain."""
    import torch

    with torch.no_grad():
        start = function(torch.zeros_like(signal) + baseline)
        wanted = function(signal) - start
    return (found.flatten(1).sum(1) - wanted).cpu().numpy()


def patterns(signal: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Activation patterns of a linear decoder (eq. 6 of the paper).

    ``cov(signal) @ filters @ inv(cov(said))`` is ``cov(signal, said) @ inv(cov(said))``, so that the
    filters need not be known.

    Parameters
    ----------
    signal : array (row, channel, time)
        That the decoder was fitted to.
    said : array (row, component)
        What it says of them.

    Returns
    -------
    array (channel, time, component)
        Signal per unit of each decoded component, the others held fixed.
    """
    x, s = signal.reshape(len(signal), -1), np.asarray(said, np.float64)
    x, s = x - x.mean(0), s - s.mean(0)
    together = (x.T @ s.astype(x.dtype)).astype(np.float64) / (len(s) - 1)
    inverse = np.linalg.pinv(s.T @ s / (len(s) - 1), rcond=1e-6, hermitian=True)
    return (together @ inverse).reshape(*signal.shape[1:], -1)


def explained(signal: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Standard deviation of the signal that the decoded components carry by their patterns.

    It does not depend on how the components are rotated or scaled.

    Parameters
    ----------
    signal : array (row, channel, time)
    said : array (row, component)

    Returns
    -------
    array (channel, time)
    """
    pattern = patterns(signal, said)
    s = said - said.mean(0)
    covariance = s.T.astype(np.float64) @ s / (len(s) - 1)
    power = np.einsum("ctk,kl,ctl->ct", pattern, covariance, pattern, optimize=True)
    return np.sqrt(power.clip(0))
