"""The linear steps without look-ahead, for a stream that is decoded while it arrives.

Comes in: samples, a few or many at a time. Goes out: the filtered signal so far; the numbers do not
depend on how samples are grouped, bit for bit, as filters are recursions that keep their state. Pass
band, transition and notches are those of the zero-phase `Chain`; the filters are minimum-phase:
Chebyshev II of 40 dB below the upper edge, Butterworth of second order above the lower, resonators as
notches. What differs: frequencies in the pass band come late (`delay`), by 12 ms below 10 Hz for 40 Hz;
the ends of the pass band are not linear in phase; rates that are no divisor are reached by linear
interpolation between recorded samples instead of in the frequency domain.

References: Widmann, Schroeger & Maess 2015, doi:10.1016/j.jneumeth.2014.08.002 (causal filters in M/EEG).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurovis.signals.filters import BLOCK, Chain

STOP = 40.0  # dB
PASS = 1.0  # dB, at the edge of the pass band
PART = 1 << 15  # samples at a time, offline


@dataclass(frozen=True)
class Causal(Chain):
    """`Chain` with minimum-phase filters; takes the same options."""

    @cached_property
    def sections(self) -> np.ndarray:
        """Second-order sections of all filters: array (section, 6)."""
        from scipy import signal

        wanted, parts = self.new_sfreq or self.sfreq, []
        h_freq = self.h_freq
        if wanted < self.sfreq * (1 - 1e-6):
            h_freq = h_freq or 0.4 * wanted
        if self.l_freq is not None:
            # half amplitude where the zero-phase filter has it: the middle of its transition
            width = min(max(0.25 * self.l_freq, 2.0), self.l_freq)
            middle = (self.l_freq - width / 2) * 3**0.25
            parts.append(signal.butter(2, middle, "highpass", fs=self.sfreq, output="sos"))
        if h_freq is not None:
            width = min(max(0.25 * h_freq, 2.0), min(wanted, self.sfreq) / 2 - h_freq)
            order, edge = signal.cheb2ord(h_freq, h_freq + width, PASS, STOP, fs=self.sfreq)
            parts.append(signal.cheby2(order, STOP, edge, fs=self.sfreq, output="sos"))
        for frequency in self.notch:
            width = frequency / 200 + 0.5
            b, a = signal.iirnotch(frequency, frequency / width, fs=self.sfreq)
            parts.append(np.concatenate([b, a])[None])
        return np.concatenate(parts) if parts else np.zeros((0, 6))

    def delay(self, frequency: float) -> float:
        """By how much a slow modulation of this frequency (Hz) comes late, s."""
        from scipy import signal

        if not len(self.sections):
            return 0.0
        near = [frequency * 0.999, frequency * 1.001]
        _, gain = signal.sosfreqz(self.sections, near, fs=self.sfreq)
        return float(-np.angle(gain[1] / gain[0]) / (2 * np.pi * (near[1] - near[0])))

    def stream(self, n_chans: int, pad: str = "reflect", first: int = 0) -> CausalStream:
        """A filter with its state; `pad` as in `blocks`: what came before the sample `first`."""
        return CausalStream(self, n_chans, pad, first)

    def blocks(
        self,
        signal: np.ndarray,
        pad: str = "reflect",
        power: bool = False,
        mend: Callable[[np.ndarray, int], None] | None = None,
        threads: int = 1,
    ) -> Iterator[tuple[slice, np.ndarray, tuple[np.ndarray, np.ndarray] | None]]:
        """As `Chain.blocks`; ``reflect`` is the first sample held for ever before it.

        Samples at the end that no recorded sample follows are held, too. Channels are filtered in
        turn, whatever `threads`.
        """
        n_times = signal.shape[1]
        up, down = self.ratio.numerator, self.ratio.denominator
        n_out = -(-n_times * up // down)
        into = getattr(signal, "into", None)
        for first in range(0, len(signal), BLOCK):
            rows = slice(first, min(first + BLOCK, len(signal)))
            room = np.empty((rows.stop - first, n_times), np.float32)
            block = signal[rows] if into is None else into(room, rows)
            if mend is not None:
                mend(block, first)
            stream = self.stream(len(block), pad)
            out = np.empty((len(block), n_out), np.float32)
            done = 0
            for begin in range(0, n_times, PART):
                made = stream(block[:, begin : begin + PART])
                out[:, done : done + made.shape[1]] = made
                done += made.shape[1]
            out[:, done:] = out[:, done - 1 : done]
            said = (_power(block, self.sfreq), self._gained(block)) if power else None
            yield rows, out, said

    def _gained(self, block: np.ndarray) -> np.ndarray:
        """Power after the filters, at the recorded rate."""
        from scipy import signal

        before = _power(block, self.sfreq)
        if not len(self.sections):
            return before
        middle = (np.arange(before.shape[1]) + 0.5).clip(max=0.499 * self.sfreq)
        _, gain = signal.sosfreqz(self.sections, middle, fs=self.sfreq)
        return before * np.abs(gain) ** 2


def _power(block: np.ndarray, sfreq: float) -> np.ndarray:
    """Power spectral density in steps of 1 Hz up to half the rate: array (channel, frequency)."""
    from scipy import signal

    length = min(round(sfreq), block.shape[1])
    frequency, density = signal.welch(block, sfreq, nperseg=length)
    steps = np.arange(0, sfreq / 2)
    return density[:, np.minimum(np.searchsorted(frequency, steps), len(frequency) - 1)]


class CausalStream:
    """A causal chain that remembers.

    Parameters
    ----------
    chain : Causal
    n_chans : int
    pad : "reflect" or "zero"
        Before the first sample there was that sample for ever, or nothing.
    first : int
        Number of the first sample on a grid that began earlier.

    Attributes
    ----------
    n_in, n_out : int
        Numbers of the next sample to be taken and given.
    """

    def __init__(self, chain: Causal, n_chans: int, pad: str = "reflect", first: int = 0):
        self.chain, self.n_chans, self.pad = chain, n_chans, pad
        up, down = chain.ratio.numerator, chain.ratio.denominator
        self.n_in, self.n_out = first, -(-first * up // down)
        self._state: np.ndarray | None = None
        self._last = np.zeros((n_chans, 1))

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Take samples (channel, time); give those that are ready: array (channel, time) float32.

        Sample m of the output is of time m / `Chain.filtered_sfreq`, counted from sample 0.
        """
        from scipy import signal

        samples = np.asarray(samples, np.float64)
        if samples.shape[1] == 0:
            return np.zeros((self.n_chans, 0), np.float32)
        sections = self.chain.sections
        if len(sections):
            if self._state is None:
                start = samples[:, 0] if self.pad == "reflect" else np.zeros(self.n_chans)
                self._state = signal.sosfilt_zi(sections)[:, None] * start[None, :, None]
            samples, self._state = signal.sosfilt(sections, samples, axis=1, zi=self._state)
        up, down = self.chain.ratio.numerator, self.chain.ratio.denominator
        before, self.n_in = self.n_in, self.n_in + samples.shape[1]
        if up == down:
            self.n_out = self.n_in
            return samples.astype(np.float32)
        known = np.concatenate([self._last, samples], axis=1)  # column 0 is sample before - 1
        self._last = samples[:, -1:].copy()
        stop = (self.n_in - 1) * up // down + 1
        place = np.arange(self.n_out, stop) * down
        self.n_out = stop
        whole, part = place // up - before + 1, (place % up) / up
        after = np.minimum(whole + 1, known.shape[1] - 1)
        out = known[:, whole]
        return (out + part * (known[:, after] - out)).astype(np.float32)
