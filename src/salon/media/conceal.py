"""Concealment of lost packets for codecs that have none of their own (G.711, G.722).

The last pitch period before the gap is repeated, as ITU-T G.711 Appendix I does in spirit, but
without its delay: what was already played is not touched.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.pcm import to_int16

Floats = NDArray[np.float64]

HISTORY_MS: Final = 40
"""How far back a period is looked for and taken from."""
FADE_MS: Final = 100
"""From here on a gap is silent."""
_HOLD_MS: Final = 10
"""So long at full level."""
_MERGE_MS: Final = 5
"""Crossfade from the made-up sound to the real one."""
_STEP_MS: Final = 1
"""A step where the gap begins is spread over this time, so that nothing clicks."""
_WINDOW_MS: Final = 10
_MIN_HZ: Final = 62.5
_MAX_HZ: Final = 250.0
_JOIN: Final = 4
"""A period's last part, one over this, fades into what came before the period."""
_EPSILON: Final = 1.0


class Concealer:
    """Fills the gaps of one stream of ``int16[n]`` at `rate` Hz (16000, or 8000 for telephones).

    Hand all real sound through `hear` in order, and call `conceal` for what is missing.
    """

    __slots__ = (
        "_cycle",
        "_fade",
        "_longest",
        "_made",
        "_merge",
        "_past",
        "_shortest",
        "_spread",
        "_window",
        "rate",
    )

    def __init__(self, rate: int = SAMPLE_RATE) -> None:
        if not 8_000 <= rate <= 48_000:
            raise ValueError(f"concealment works at 8000 to 48000 Hz, not {rate}")
        self.rate = rate
        self._longest = int(rate / _MIN_HZ)
        self._shortest = int(rate / _MAX_HZ)
        self._window = rate * _WINDOW_MS // 1000
        self._past: Samples = np.zeros(rate * HISTORY_MS // 1000, dtype=np.int16)
        self._cycle: Floats | None = None
        self._made = 0
        hold, end = rate * _HOLD_MS // 1000, rate * FADE_MS // 1000
        self._fade: Floats = np.concatenate([np.ones(hold), np.linspace(1.0, 0.0, end - hold)])
        self._spread: Floats = np.linspace(1.0, 0.0, rate * _STEP_MS // 1000, endpoint=False)
        self._merge: Floats = np.linspace(0.0, 1.0, rate * _MERGE_MS // 1000 + 2)[1:-1]

    @property
    def concealing(self) -> bool:
        """Whether the last sound was made up."""
        return self._cycle is not None

    def hear(self, samples: Samples) -> Samples:
        """The next real sound. Comes back as it is, or merged into the gap before it."""
        if self._cycle is not None and len(samples):
            samples = self._merged(samples)
            self._cycle = None
        self._remember(samples)
        return samples

    def conceal(self, samples: int) -> Samples:
        """`samples` of made-up sound; silence once a gap is 100 ms old."""
        if samples <= 0:
            return np.zeros(0, dtype=np.int16)
        begins = self._cycle is None
        if begins:
            self._cycle = self._find_cycle()
            self._made = 0
        sound = self._next(samples)
        if begins:
            spread = self._spread[:samples]
            sound[: len(spread)] += (self._past[-1] - sound[0]) * spread
        out = to_int16(sound)
        self._remember(out)
        return out

    def reset(self) -> None:
        """Forget the past."""
        self._past[:] = 0
        self._cycle = None

    def _remember(self, samples: Samples) -> None:
        past, size = self._past, len(samples)
        if size >= len(past):
            past[:] = samples[size - len(past) :]
        elif size:
            past[:-size] = past[size:]
            past[-size:] = samples

    def _merged(self, samples: Samples) -> Samples:
        rise = self._merge[: len(samples)]
        tail = self._next(len(rise))
        out = samples.copy()
        out[: len(rise)] = to_int16(tail * (1.0 - rise) + samples[: len(rise)] * rise)
        return out

    def _next(self, count: int) -> Floats:
        """The next part of the repeated period, faded."""
        out = np.zeros(count)
        gains = self._fade[self._made : self._made + count]
        cycle = self._cycle
        if cycle is not None and len(gains):
            at = np.arange(self._made, self._made + len(gains)) % len(cycle)
            out[: len(gains)] = cycle[at] * gains
        self._made = min(self._made + count, len(self._fade))
        return out

    def _find_cycle(self) -> Floats:
        """The last period, made to join itself."""
        past = self._past.astype(np.float64)
        period = self._period(past)
        cycle = past[-period:].copy()
        join = min(period // _JOIN, len(past) - period)
        rise = np.linspace(0.0, 1.0, join + 2)[1:-1]
        before = past[-period - join : -period]
        cycle[-join:] = cycle[-join:] * (1.0 - rise) + before * rise
        return cycle

    def _period(self, past: Floats) -> int:
        """The lag at which the newest sound is most like what came before."""
        size, window = len(past), self._window
        newest = past[-window:]
        earlier = past[size - window - self._longest : size - self._shortest]
        products = np.correlate(earlier, newest)
        squares = np.concatenate([[0.0], np.cumsum(earlier * earlier)])
        energies = squares[window:] - squares[:-window]
        scores = products / np.sqrt(energies + _EPSILON)
        return self._longest - int(np.argmax(scores))
