"""Notch, band-pass, anti-alias and resampling in one pass.

All four are linear and time-invariant, so their zero-phase frequency responses multiply: one float32
FFT per channel and segment, one product, one inverse FFT; segments overlap by what filters reach. The FIR designs are MNE's (`mne.filter.create_filter`),
so that the result equals MNE's chain of steps. The inverse FFT goes to a multiple of the wanted rate
that is not below the recorded rate: epochs then start within half a recorded sample of their event.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from neurovis.errors import UsageError

BLOCK = 16  # channels at a time
BLOCK_SAMPLES = 1 << 24  # and no more samples, so that long runs need no more memory
SEGMENT = (
    1 << 17
)  # samples per FFT: overlapping segments that fit the cache, not one of the whole run
FEW = 4  # channels per FFT


@dataclass(frozen=True)
class Chain:
    """The linear steps for recordings of one sampling rate.

    Parameters
    ----------
    sfreq : float, Hz
        Rate of the recording.
    l_freq, h_freq : float or None, Hz
        Pass band; MNE's automatic transition bands (l: max(0.25 l, 2) capped by l; h: max(0.25 h, 2)).
    notch : tuple of float, Hz
        Line frequency and harmonics; MNE's widths (f / 200, transition 1 Hz).
    new_sfreq : float or None, Hz
        Rate wanted. Without `h_freq` the anti-alias filter passes up to 0.4 of it.

    Raises
    ------
    UsageError
        If a frequency does not fit under the Nyquist frequency it must respect.
    """

    sfreq: float
    l_freq: float | None = None
    h_freq: float | None = None
    notch: tuple[float, ...] = ()
    new_sfreq: float | None = None

    def __post_init__(self) -> None:
        wanted = self.new_sfreq or self.sfreq
        limit = min(wanted, self.sfreq) / 2
        if wanted > self.sfreq * (1 + 1e-6):
            raise UsageError(
                f"sfreq: {wanted:g} Hz is above the recording's {self.sfreq:g} Hz; expected at most "
                "that, as resampling up adds nothing."
            )
        if self.h_freq is not None and self.h_freq >= limit:
            raise UsageError(
                f"h_freq: {self.h_freq:g} Hz, expected below {limit:g} Hz (half the sampling rate); "
                "lower h_freq or raise sfreq."
            )
        if self.l_freq is not None and self.l_freq >= (self.h_freq or limit):
            raise UsageError(
                f"l_freq: {self.l_freq:g} Hz, expected below h_freq or half the sampling rate, "
                f"{self.h_freq or limit:g} Hz."
            )
        for frequency in self.notch:
            if not 2 < frequency < self.sfreq / 2 - 1:
                raise UsageError(
                    f"notch: {frequency:g} Hz, expected between 2 Hz and "
                    f"{self.sfreq / 2 - 1:g} Hz (half the sampling rate less one)."
                )

    @cached_property
    def every(self) -> int:
        """Samples of the filtered signal per sample of the output."""
        wanted = self.new_sfreq or self.sfreq
        return max(1, int(np.ceil(self.sfreq / wanted - 1e-6)))

    @cached_property
    def ratio(self) -> Fraction:
        """Rate of the filtered signal over the recorded rate."""
        wanted = self.new_sfreq or self.sfreq
        return Fraction(self.every * wanted / self.sfreq).limit_denominator(1000)

    @property
    def filtered_sfreq(self) -> float:
        """Rate of the filtered signal, Hz: `every` times the output's."""
        return self.sfreq * self.ratio.numerator / self.ratio.denominator

    @cached_property
    def kernels(self) -> list[np.ndarray]:
        """Symmetric FIR kernels to apply, odd in length."""
        from mne.filter import create_filter

        wanted = self.new_sfreq or self.sfreq
        h_freq, width = self.h_freq, "auto"
        if wanted < self.sfreq * (1 - 1e-6):
            h_freq = h_freq or 0.4 * wanted
            width = min(max(0.25 * h_freq, 2.0), wanted / 2 - h_freq)
        kernels = []
        if self.l_freq is not None or h_freq is not None:
            kernels.append(
                create_filter(
                    None, self.sfreq, self.l_freq, h_freq, h_trans_bandwidth=width, verbose="error"
                )
            )
        if self.notch:
            notch = np.sort(np.asarray(self.notch, float))
            low, high = notch - notch / 400 - 0.5, notch + notch / 400 + 0.5
            options = {"l_trans_bandwidth": 0.5, "h_trans_bandwidth": 0.5, "verbose": "error"}
            kernels.append(create_filter(None, self.sfreq, high, low, **options))
        return kernels

    @cached_property
    def reach(self) -> int:
        """Samples on either side that influence one output sample."""
        return sum(len(kernel) // 2 for kernel in self.kernels)

    def response(self, n_fft: int) -> np.ndarray:
        """Zero-phase gain of all steps at the frequencies of a real FFT, array (n_fft // 2 + 1,)."""
        from scipy import fft

        gain = np.ones(n_fft // 2 + 1)
        for kernel in self.kernels:
            half = len(kernel) // 2
            wrapped = np.zeros(n_fft)
            wrapped[: half + 1] = kernel[half:]
            wrapped[n_fft - half :] = kernel[:half]
            gain *= fft.rfft(wrapped).real
        return gain.astype(np.float32)

    def blocks(
        self,
        signal: np.ndarray,
        pad: str = "reflect",
        power: bool = False,
        mend: Callable[[np.ndarray, int], None] | None = None,
        threads: int = 1,
    ) -> Iterator[tuple[slice, np.ndarray, tuple[np.ndarray, np.ndarray] | None]]:
        """Filter a run, some channels at a time.

        Parameters
        ----------
        signal : array or array-like (channel, time) float32
            Sliced some channels at a time; finite, or made so by `mend`.
        pad : "reflect" or "zero"
            What lies beyond the ends: the signal mirrored at its end points, as in MNE, or nothing
            (right for response kernels).
        power : bool
            Also give the power before and after in bins of 1 Hz.
        mend : callable, optional
            Called with each slice, array (channel, time), and the number of its first channel, before it
            is filtered; changes it in place. Never called twice at a time.
        threads : int
            Blocks worked on at a time; what comes out does not depend on it.

        Yields
        ------
        slice
            Channels of this block.
        array (channel, time) float32
            Filtered at `filtered_sfreq`; sample 0 is the recording's sample 0. Used again for the next.
        (array (channel, frequency), array (channel, frequency)) or None
            Power spectral density before and after, unit squared per Hz.
        """
        n_times = signal.shape[1]
        up, down = self.ratio.numerator, self.ratio.denominator
        margin = -(-self.reach // down) * down
        n_fft = self._segment(n_times, margin)
        hop = n_fft - 2 * margin
        gain = self.response(n_fft)
        edges = _one_hertz_edges(self.sfreq, n_fft) if power else None
        # long runs some channels at a time, so that memory does not grow with them
        size = int(np.clip(BLOCK_SAMPLES // n_times, FEW, BLOCK)) // FEW * FEW
        one_at_a_time = threading.Lock()

        into = getattr(signal, "into", None)

        def work(
            first: int, room: tuple[np.ndarray, np.ndarray]
        ) -> tuple[slice, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
            rows = slice(first, min(first + size, len(signal)))
            n = rows.stop - first
            block = signal[rows] if into is None else into(room[0][:n], rows)
            if mend is not None:
                with one_at_a_time:
                    mend(block, first)
            # an offset far above the signal would cost float32 its digits
            offset = np.zeros((len(block), 1), np.float32)
            if pad == "reflect":
                offset = block.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
            out = room[1][:n]
            density: list[np.ndarray] = []
            for begin in range(0, n_times, hop):
                piece = _cut(block, offset, begin - margin, n_fft, self.reach, pad == "reflect")
                where = slice(begin * up // down, min((begin + hop) * up // down, out.shape[1]))
                self._filter(piece, gain, edges, out[:, where], margin * up // down, density)
                out[:, where] += offset * gain[0]
            said = None
            if power:
                count = len(range(0, n_times, hop))
                said = tuple(sum(density[i::2]) / count for i in (0, 1))
            return slice(first, first + len(block)), out, said

        # arrays are used again: the kernel would clear the pages of new ones each time
        free = [
            (
                np.empty((size if into else 0, n_times), np.float32),
                np.empty((min(size, len(signal)), -(-n_times * up // down)), np.float32),
            )
            for _ in range(threads + 1 if threads > 1 else 1)
        ]
        firsts = range(0, len(signal), size)
        if threads == 1:
            for first in firsts:
                yield work(first, free[0])
            return
        with ThreadPoolExecutor(threads) as pool:
            ahead: deque = deque()
            for first in firsts:
                if not free:
                    task, room = ahead.popleft()
                    yield task.result()
                    free.append(room)
                room = free.pop()
                ahead.append((pool.submit(work, first, room), room))
            while ahead:
                yield ahead.popleft()[0].result()

    def _segment(self, n_times: int, margin: int) -> int:
        """Samples of one FFT: the run and its margins, or a part of it that fits the cache."""
        from scipy import fft

        down = self.ratio.denominator
        length = min(n_times + 2 * margin, max(SEGMENT, 8 * margin))
        return down * fft.next_fast_len(-(-length // down), real=True)

    def _filter(
        self,
        piece: np.ndarray,
        gain: np.ndarray,
        edges: np.ndarray | None,
        out: np.ndarray,
        start: int,
        density: list[np.ndarray],
    ) -> None:
        """One segment, a few channels per FFT so that they stay in the cache."""
        from scipy import fft

        n_fft = piece.shape[1]
        n_out = n_fft * self.ratio.numerator // self.ratio.denominator
        spectra = []
        for first in range(0, len(piece), FEW):
            rows = slice(first, first + FEW)
            spectrum = fft.rfft(piece[rows], axis=1, overwrite_x=True)
            if edges is not None:
                spectra.append(spectrum.real**2 + spectrum.imag**2)
            spectrum *= gain
            made = fft.irfft(spectrum, n_out, axis=1, overwrite_x=True)
            np.multiply(
                made[:, start : start + out.shape[1]], np.float32(n_out / n_fft), out=out[rows]
            )
        if edges is not None:
            width = self.sfreq * n_fft * np.diff([*edges, n_fft // 2 + 1])
            raw = np.concatenate(spectra)
            for bins in (raw, raw * gain**2):
                density.append(2 * np.add.reduceat(bins, edges, axis=1) / width)

    def __call__(self, signal: np.ndarray, pad: str = "reflect") -> np.ndarray:
        """Filter and resample, array (channel, time) float32 at the wanted rate."""
        signal = np.asarray(signal, np.float32)
        parts = [out[:, :: self.every].copy() for _, out, _ in self.blocks(signal, pad)]
        return np.concatenate(parts)


def _one_hertz_edges(sfreq: float, n_fft: int) -> np.ndarray:
    """First FFT bin of every 1 Hz step up to half the sampling rate."""
    steps = np.arange(0, sfreq / 2)
    return np.unique(np.minimum(np.round(steps * n_fft / sfreq), n_fft // 2).astype(int))


def _cut(
    block: np.ndarray, offset: np.ndarray, begin: int, length: int, reach: int, mirror: bool
) -> np.ndarray:
    """A segment of a run less its offset, with what lies beyond the run's ends: (channel, length).

    With `mirror` that is the signal rotated about its end points as far as filters reach, and zeros
    beyond one length of it; without, zeros.
    """
    n_times = block.shape[1]
    piece = np.zeros((len(block), length), np.float32)
    low, high = max(begin, 0), min(begin + length, n_times)
    np.subtract(block[:, low:high], offset, out=piece[:, low - begin : high - begin])
    count = min(-begin, reach, n_times - 1) if mirror else 0
    if count > 0:
        twice = 2 * block[:, :1] - offset
        np.subtract(twice, block[:, count:0:-1], out=piece[:, -begin - count : -begin])
    stop = n_times - begin
    count = min(length - stop, reach, n_times - 1) if mirror else 0
    if count > 0:
        twice = 2 * block[:, -1:] - offset
        np.subtract(twice, block[:, -2 : -2 - count : -1], out=piece[:, stop : stop + count])
    return piece
