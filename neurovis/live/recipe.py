"""What a run did to its signals, made ready for a stream.

Comes in: a run's folder and what a stream says of itself. Goes out: `Recipe` (steps, channels, scales),
and `Epocher`, which turns a stretch of filtered signal into what the run's tower expects. Every step is
that of preprocessing; only what needs the whole recording is learned from the first seconds instead:
bad channels, and scales where the run knows none of this session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from neurovis.config import build
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.pretrained import Pretrained, read_config
from neurovis.signals.causal import Causal
from neurovis.signals.chain import Steps
from neurovis.signals.channels import find_bad_channels, interpolation
from neurovis.signals.epochs import n_samples, rejections, subtract_baseline
from neurovis.signals.scaling import (
    UNITS,
    apply_scale,
    constant_scale,
    robust_scale,
    standard_scale,
    whiten,
)
from neurovis.signals.standardise import Scaling
from neurovis.store import read_json


@dataclass(frozen=True)
class Facts:
    """What a stream says of itself.

    Parameters
    ----------
    names : tuple of str (channel,)
        In its order.
    sfreq : float, Hz
    units : tuple of str (channel,)
        Such as ``microvolts``, or a power of ten (``-6``) as MNE writes it; SI where it says none.
    source : str
        Its name and source, for texts.
    """

    names: tuple[str, ...]
    sfreq: float
    units: tuple[str, ...] = ()
    source: str = "stream"

    def factors(self) -> tuple[np.ndarray, list[str]]:
        """What brings each channel to SI: array (channel,) float32; and units that are not known."""
        factor, odd = np.ones(len(self.names), np.float32), []
        for number, unit in enumerate(self.units):
            said = str(unit).strip().lower()
            if said.lstrip("-").isdigit():
                factor[number] = 10.0 ** int(said)
            elif said in UNITS:
                factor[number] = UNITS[said]
            elif said and said not in ("none", "na", "n/a"):
                odd.append(str(unit))
        return factor, list(dict.fromkeys(odd))


@dataclass(frozen=True, eq=False)
class Recipe:
    """How signals of one subject are prepared for a run's tower.

    Parameters
    ----------
    steps : Steps
    names, types : tuple of str (channel,)
    position : array (channel, 3), m
    scaling : Scaling or None
        What the run's preprocessing learned, channels in this order; None where nothing is kept.
    session : str
        Whose scale is taken, where there is one per session.
    shift : float, s
        By how much windows follow the event to make up for the delay of causal filters, where the
        run's own were zero-phase.
    """

    steps: Steps
    names: tuple[str, ...]
    types: tuple[str, ...]
    position: np.ndarray
    scaling: Scaling | None = None
    session: str = ""
    shift: float = 0.0

    @classmethod
    def of(
        cls, run: str | Path, model: Pretrained, subject: str, session: str = "", align: bool = True
    ) -> Recipe:
        """Read it from a run.

        Parameters
        ----------
        run : path
        model : Pretrained
            Of the run.
        subject : str
        session : str
        align : bool
            Shift windows by the delay of 10 Hz where the run was trained with zero-phase filters.

        Raises
        ------
        NeurovisError
            If the run does not say how its signals were made from sensors.
        """
        run = Path(run)
        signals = read_json(run / "signals.json", "neurovis-signals")
        made = signals.get("preprocessing", {}).get("steps")
        if not made or signals["modality"] not in ("meg", "eeg"):
            raise NeurovisError(
                f"{run}: signals.json says no steps of preprocessing, expected a run on M/EEG that "
                "neurovis preprocess prepared; train on such a folder."
            )
        scale = read_config(run).get("data", {}).get("scale", "stored")
        if scale != "stored":
            raise NeurovisError(
                f"{run}: data.scale={scale} scales trials by all that are used, expected stored: a stream has "
                "no such trials; train with data.scale=stored."
            )
        if subject not in signals["channels"]:
            raise UsageError(unknown("--subject: subject", subject, signals["channels"]))
        steps, known = build(Steps, made), set(signals["channels"][subject])
        rows = [i for i, name in enumerate(model.channel_name) if name in known]
        names = tuple(model.channel_name[i] for i in rows)
        stored = run / "scaling" / f"{subject}.h5"
        scaling = _in_order(stored, names) if stored.is_file() else None
        shift = 0.0
        if steps.phase == "zero" and align:
            shift = Causal(1000.0, None, steps.h_freq, (), steps.sfreq).delay(10.0)
            shift = round(shift * model.sfreq) / model.sfreq if shift * model.sfreq >= 0.5 else 0.0
        return cls(
            steps.model_copy(update={"phase": "minimum"}), names,
            tuple(model.shape.channel_type[i] for i in rows), model.shape.channel_position[rows],
            scaling, session, shift,
        )  # fmt: skip

    @property
    def group(self) -> int | None:
        """Number of the scale to take; None where it is learned from the stream."""
        if self.scaling is None:
            return None
        if self.scaling.by == "subject" or self.scaling.group.tolist() == ["all"]:
            return 0
        found = np.flatnonzero(self.scaling.group == self.session)
        return int(found[0]) if len(found) else None


def _in_order(path: Path, names: Sequence[str]) -> Scaling:
    """The run's scaling, channels as the model has them."""
    from neurovis.store import open_h5

    scaling = Scaling.read(path, "neurovis-scaling")
    with open_h5(path, "neurovis-scaling") as file:
        own = file["channel_name"].asstr()[()].tolist()
    order = [own.index(name) for name in names]
    white = None if scaling.whitener is None else scaling.whitener[:, order][:, :, order]
    return replace(
        scaling, center=scaling.center[:, order], scale=scaling.scale[:, order], whitener=white
    )


@dataclass
class Epocher:
    """Stretches of one stream to what a tower expects.

    Parameters
    ----------
    recipe : Recipe
    sfreq : float, Hz
        Of the stream.
    absent : tuple of str
        Channels that the stream lacks.
    bads : tuple of str
        Channels known to be bad.
    """

    recipe: Recipe
    sfreq: float
    absent: tuple[str, ...] = ()
    bads: tuple[str, ...] = ()
    bad: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = self.recipe.steps
        self.chain: Causal = steps.chain(self.sfreq)
        self.rate = steps.sfreq or self.sfreq
        self.count = n_samples(steps.tmin, steps.tmax, self.rate)
        self.tmin, self._crop = steps.kept(self.rate)
        self._times = steps.tmin + np.arange(self.count) / self.rate
        self._learned: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None
        self._repair: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._out: np.ndarray = np.zeros(0, int)
        self.said: list[str] = []

    @property
    def span(self) -> int:
        """Filtered samples from the first to the last of a window, both included."""
        return (self.count - 1) * self.chain.every + 1

    def window(self, onset: float) -> int:
        """Number of the first filtered sample of an event's window.

        Parameters
        ----------
        onset : float, s from sample 0
        """
        rate = self.chain.filtered_sfreq
        shift = round(self.recipe.shift * rate)
        return int(np.rint(onset * rate)) + round(self.recipe.steps.tmin * rate) + shift

    def until(self, time: float) -> int:
        """Samples of the tower's window that a growing window ending at `time` (s) holds."""
        return int(np.clip(round((time - self.tmin) * self.rate), 0, self.n_times))

    @property
    def n_times(self) -> int:
        """Samples of the tower's window."""
        return self._crop.stop - self._crop.start

    @property
    def names(self) -> tuple[str, ...]:
        """Channels, in the order of the signals given."""
        return self.recipe.names

    def learn(self, first: np.ndarray) -> None:
        """Find bad channels, and scales where the run knows none, in the first filtered seconds.

        Parameters
        ----------
        first : array (channel, time)
            Filtered; scales are learned from windows laid side by side.
        """
        recipe, steps = self.recipe, self.recipe.steps
        if first.shape[1] < 2 * self.span:
            raise UsageError(
                f"warm: expected two windows or more ({2 * self.span / self.chain.filtered_sfreq:.1f} s) "
                f"to learn from, found {first.shape[1] / self.chain.filtered_sfreq:.1f} s; wait longer."
            )
        bad = dict.fromkeys(self.absent, "not in the stream")
        bad |= dict.fromkeys((n for n in self.bads if n in self.names), "said to be bad")
        if steps.detect:
            here = [i for i, name in enumerate(self.names) if name not in self.absent]
            some = find_bad_channels(
                first[here][:, :: self.chain.every], np.array(recipe.types)[here]
            )
            for number, reason in some.items():
                bad.setdefault(self.names[here[number]], reason)
        if 2 * len(bad) > len(self.names):
            name, reason = next(iter(bad.items()))
            raise NeurovisError(
                f"channels: {len(bad)} of {len(self.names)} are bad ({name}: {reason}), expected fewer "
                "than half; check the cap, or give the run of this montage."
            )
        self.bad = bad
        self._mend([i for i, name in enumerate(self.names) if name in bad])
        if recipe.group is not None:
            stored, g = recipe.scaling, recipe.group
            matrix = None if stored.whitener is None else stored.whitener[g]
            self._learned = (stored.center[g], stored.scale[g], matrix)
            return
        step = self.span
        starts = range(0, first.shape[1] - self.span + 1, step)
        epochs = np.stack([self._cut(first[:, a : a + self.span]) for a in starts])
        self._learned = self._scales(epochs)
        known = recipe.scaling
        if steps.whiten != "none":
            if known is None:
                raise NeurovisError(
                    "whitening: the run keeps no whitening matrix, expected scaling/ in it; train it anew "
                    "with this version."
                )
            self._learned = (*self._learned[:2], known.whitener[-1])
        self.said.append(
            f"scales: learned from the first {first.shape[1] / self.chain.filtered_sfreq:.0f} s of the "
            "stream, as the run knows none of this session"
        )

    def _scales(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray, None]:
        steps, n = self.recipe.steps, len(self.names)
        if steps.scaling == "none":
            return np.zeros(n, np.float32), np.ones(n, np.float32), None
        if steps.scaling == "constant":
            return *constant_scale(self.recipe.types), None
        flat = epochs.std(axis=(0, 2)) <= 0
        epochs = epochs.copy()
        epochs[:, flat, ::2] = 1  # a dead channel is zeroed later and needs no scale of its own
        make = robust_scale if steps.scaling == "robust" else lambda e: standard_scale([e])
        return *make(epochs), None

    def _mend(self, rows: Sequence[int]) -> None:
        """How bad channels are replaced; those without positions are left out."""
        steps, recipe = self.recipe.steps, self.recipe
        self._repair, out = [], []
        types = np.array(recipe.types)
        for kind in np.unique(types[list(rows)]) if len(rows) else ():
            group = np.flatnonzero(types == kind)
            within = np.flatnonzero(np.isin(group, rows))
            able = steps.bads == "interpolate" and kind != "grad"
            able &= len(group) - len(within) >= 4 and np.isfinite(recipe.position[group]).all()
            if not able:
                if steps.bads != "keep":
                    out += group[within].tolist()
                continue
            weights = interpolation(recipe.position[group], within).astype(np.float32)
            self._repair.append((group[within], weights, np.delete(group, within)))
        absent = [i for i, name in enumerate(self.names) if name in self.absent]
        mended = {int(i) for bad, _, _ in self._repair for i in bad}
        out += [i for i in absent if i not in mended]
        self._out = np.unique(np.array(out, int))

    def _cut(self, stretch: np.ndarray) -> np.ndarray:
        """A window with its baseline subtracted and bad channels replaced: (channel, time), SI."""
        signal = np.ascontiguousarray(stretch[:, :: self.chain.every])[None]
        subtract_baseline(signal, self._times, self.recipe.steps.baseline)
        if self._crop != slice(0, self.count):
            signal = np.ascontiguousarray(signal[:, :, self._crop])
        for bad, weights, good in self._repair:
            signal[:, bad] = np.matmul(weights, signal[:, good])
        return signal[0]

    def __call__(
        self, stretch: np.ndarray, lost: Sequence[int] = (), n_kept: int | None = None
    ) -> tuple[np.ndarray, str]:
        """A window as the tower expects it.

        Parameters
        ----------
        stretch : array (channel, time)
            `span` filtered samples from `window` on.
        lost : sequence of int
            Channels with samples missing in it.
        n_kept : int, optional
            Samples of a growing window; what follows is set to zero, the mean.

        Returns
        -------
        array (channel, time) float32
        str
            Why it is rejected; empty where it is not.
        """
        signal = self._cut(stretch)
        drop = np.union1d(self._out, np.asarray(lost, int)).astype(int)
        steps = self.recipe.steps
        if steps.reject and n_kept is None:
            kinds, names = self.recipe.types, self.names
            (reason,) = rejections(signal[None], kinds, names, steps.reject, drop)
            if reason:
                return signal, reason
        center, scale, matrix = self._learned
        clamp = None if steps.scaling == "none" else steps.clamp
        signal = apply_scale(signal[None], center, scale, clamp)
        signal[:, drop] = 0
        signal = whiten(signal, matrix) if matrix is not None else signal
        if n_kept is not None:
            signal[:, :, n_kept:] = 0
        return signal[0], ""

    def present(self, lost: Sequence[int] = ()) -> np.ndarray:
        """Which channels the tower is told of: array of int (channel,)."""
        return np.setdiff1d(
            np.arange(len(self.names)), np.union1d(self._out, np.asarray(lost, int))
        )
