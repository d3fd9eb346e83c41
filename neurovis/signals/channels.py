"""Channels: picking by name, type or region; finding bad ones; repairing them.

Comes in: names, types, positions (m) and signals of one run. Goes out: indices, reasons, repaired
signals. Bad channels are judged on robust statistics within their own type, so that a blink or one
burst condemns nobody; every verdict carries its reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from neurovis.errors import NeurovisError, UsageError, unknown

THINNED = 10_000  # samples that judge a channel
TYPES = {"meg": ("mag", "grad"), "mag": ("mag",), "grad": ("grad",), "eeg": ("eeg",)}
TYPES["data"] = ("mag", "grad", "eeg")
_PREFIXES = {
    "frontal": ("Fp", "AF", "F", "AFF", "FF"),
    "central": ("FC", "C", "FCC", "CCP"),
    "temporal": ("FT", "T", "TP", "FTT", "TTP"),
    "parietal": ("CP", "P", "CPP"),
    "occipital": ("PO", "O", "I", "POO", "PPO", "OI"),
}
REGIONS = tuple(_PREFIXES)
_BY_PREFIX = {prefix.lower(): region for region, all_ in _PREFIXES.items() for prefix in all_}
_BY_LETTER = {"F": "frontal", "C": "central", "T": "temporal", "P": "parietal", "O": "occipital"}


def region(name: str) -> str:
    """Region of the head that a channel's name tells (CTF and 10-05 names), or ``""``.

    Examples
    --------
    >>> region("MLO11-1609"), region("POz"), region("MEG 0111")
    ('occipital', 'occipital', '')
    """
    if match := re.match(r"M[LRZ]([FCTPO])\d\d", name):
        return _BY_LETTER[match[1]]
    match = re.fullmatch(r"([A-Za-z]+?)(z|\d{1,2}h?)", name, flags=re.IGNORECASE)
    return _BY_PREFIX.get(match[1].lower(), "") if match else ""


def pick_channels(names: Sequence[str], types: Sequence[str], picks: Sequence[str]) -> np.ndarray:
    """Indices of the wanted channels, in the recording's order.

    Parameters
    ----------
    names, types : sequence of str (channel,)
        Types as in MNE: ``mag``, ``grad``, ``eeg``, ...
    picks : sequence of str
        Channel types (``meg``, ``mag``, ``grad``, ``eeg``, ``data``), regions (``occipital``, ... of
        any data type) or names; a leading ``-`` leaves out what follows.

    Returns
    -------
    array (pick,) of int

    Raises
    ------
    UsageError
        If a pick matches nothing, with the nearest name.
    """
    types = np.asarray(types)
    regions = np.array([region(name) for name in names])
    is_data = np.isin(types, TYPES["data"])
    wanted, unwanted = np.zeros(len(names), bool), np.zeros(len(names), bool)
    for pick in picks:
        bare = pick.removeprefix("-") if pick not in names else pick
        if bare in TYPES:
            mask = np.isin(types, TYPES[bare])
        elif bare in REGIONS:
            mask = (regions == bare) & is_data
        else:
            mask = np.asarray(names) == bare
            if not mask.any():
                raise UsageError(unknown("channel", bare, names))
        if not mask.any():
            raise UsageError(
                f"picks: no channel is {bare!r}; the recording has types "
                f"{', '.join(sorted(set(types)))}, and regions are known for CTF and 10-05 names."
            )
        if bare != pick:
            unwanted |= mask
        else:
            wanted |= mask
    chosen = np.flatnonzero(wanted & ~unwanted)
    if not len(chosen):
        raise UsageError(f"picks: {list(picks)} leaves no channel; widen it.")
    return chosen


def find_bad_channels(
    signal: np.ndarray, types: Sequence[str], deviation: float = 5.0, factor: float = 3.0
) -> dict[int, str]:
    """Channels that are flat, not finite, deviant in amplitude, or unlike all others.

    Parameters
    ----------
    signal : array (channel, time) or (trial, channel, time)
        Filtered signal in SI units; thinned to about 10,000 samples for speed.
    types : sequence of str (channel,)
        Channels are compared within their type, where it has at least eight.
    deviation : float
        Robust z of log amplitude beyond which a channel is deviant, if it also differs by `factor`.
    factor : float
        Least ratio to the median amplitude of its type, either way.

    Returns
    -------
    dict of int to str
        Index of each bad channel and the reason.

    References
    ----------
    Bigdely-Shamlo et al. 2015, doi:10.3389/fninf.2015.00016 (criteria; limits are ours): a channel
    whose 98th percentile of absolute correlations with the others stays under 0.4.
    """
    if signal.ndim == 3:
        signal = signal[:: max(1, len(signal) * signal.shape[2] // THINNED)]
        signal = signal.transpose(1, 0, 2).reshape(signal.shape[1], -1)
    else:
        signal = signal[:, :: max(1, signal.shape[1] // THINNED)]
    bad: dict[int, str] = {}
    types = np.asarray(types)
    finite = np.isfinite(signal).all(axis=1)
    for index in np.flatnonzero(~finite):
        bad[int(index)] = "not finite"
    amplitude = np.zeros(len(signal))
    low, high = np.percentile(signal[finite], [25, 75], axis=1) if finite.any() else (0, 0)
    amplitude[finite] = (high - low) / 1.349
    for kind in np.unique(types):
        group = np.flatnonzero((types == kind) & finite)
        middle = np.median(amplitude[group]) if len(group) else 0.0
        for index in group[amplitude[group] <= 1e-4 * middle]:
            bad[int(index)] = "flat"
        group = np.array([i for i in group if int(i) not in bad], int)
        if len(group) < 8:
            continue
        log = np.log(amplitude[group])
        ratio = np.exp(log - np.median(log))
        spread = 1.4826 * np.median(np.abs(log - np.median(log))) + 1e-12
        z = (log - np.median(log)) / spread
        deviant = (np.abs(z) > deviation) & (np.abs(np.log(ratio)) > np.log(factor))
        for index, times in zip(group[deviant], ratio[deviant]):
            bad[int(index)] = f"amplitude {times:.2g} times the median"
        middle = np.median(signal[group], axis=1, keepdims=True)
        limit = 4 * amplitude[group, None]
        # bursts are clipped, or two of them would make strangers of all others
        correlation = np.abs(np.corrcoef(np.clip(signal[group], middle - limit, middle + limit)))
        np.fill_diagonal(correlation, 0)
        likeness = np.percentile(correlation, 98, axis=1)
        alone = (likeness < 0.4) & (likeness < 0.5 * np.median(likeness)) & ~deviant
        for index, value in zip(group[alone], likeness[alone]):
            bad[int(index)] = f"correlation {value:.2f} with the others"
    return dict(sorted(bad.items()))


def interpolation(position: np.ndarray, bad: Sequence[int], smoothing: float = 1e-5) -> np.ndarray:
    """Matrix that replaces bad channels by spherical splines over the good ones.

    Parameters
    ----------
    position : array (channel, 3), m
        Sensor positions; projected on the sphere that fits them best.
    bad : sequence of int
    smoothing : float
        Added to the diagonal of the spline matrix.

    Returns
    -------
    array (bad, good)
        Weights of the good channels, in their order.

    Raises
    ------
    NeurovisError
        If a position is unknown or there are fewer than four good channels.

    References
    ----------
    Perrin et al. 1989, doi:10.1016/0013-4694(89)90180-6, with m = 4 and 50 Legendre terms.
    """
    good = np.setdiff1d(np.arange(len(position)), bad)
    if len(good) < 4 or not np.isfinite(position).all():
        raise NeurovisError(
            f"bad channels: interpolating {len(bad)} needs positions of all and four good channels, "
            f"found {int(np.isfinite(position).all(axis=1).sum())} positions and {len(good)} good; "
            "set bads=drop or bads=keep."
        )
    # |p|^2 = 2 p.c + (r^2 - |c|^2) is linear in the centre c
    design = np.c_[2 * position, np.ones(len(position))]
    centre = np.linalg.lstsq(design, (position**2).sum(1), rcond=None)[0][:3]
    unit = position - centre
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    order = np.arange(1, 51)
    terms = np.r_[0, (2 * order + 1) / (order * (order + 1.0)) ** 4] / (4 * np.pi)

    def spline(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.polynomial.legendre.legval(np.clip(a @ b.T, -1, 1), terms)

    n = len(good)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = spline(unit[good], unit[good]) + smoothing * np.eye(n)
    system[n, n] = 0
    target = np.c_[spline(unit[list(bad)], unit[good]), np.ones(len(bad))]
    return np.linalg.solve(system, target.T).T[:, :n]


def repair(
    signal: np.ndarray, types: Sequence[str], position: np.ndarray, bad: Sequence[int]
) -> None:
    """Replace bad channels by interpolation within their type, in place.

    Parameters
    ----------
    signal : array (trial, channel, time)
    types : sequence of str (channel,)
    position : array (channel, 3), m
    bad : sequence of int

    Raises
    ------
    NeurovisError
        If a planar gradiometer is among them (splines over a scalar field do not describe it), or
        positions are unknown.
    """
    types = np.asarray(types)
    for kind in np.unique(types[list(bad)]):
        if kind == "grad":
            raise NeurovisError(
                "bad channels: planar gradiometers are not interpolated by splines; set bads=drop."
            )
        group = np.flatnonzero(types == kind)
        within = np.flatnonzero(np.isin(group, bad))
        weights = interpolation(position[group], within).astype(np.float32)
        good = np.delete(group, within)
        signal[:, group[within]] = np.matmul(weights, signal[:, good])
