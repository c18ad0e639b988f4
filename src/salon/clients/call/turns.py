"""Where in a recording someone speaks, by energy alone: the reference for measured latency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from salon.media import Samples

_WINDOW: Final = 160
_BELOW_PEAK_DB: Final = 35.0
_FLOOR_DBFS: Final = -60.0


def speech_bounds(samples: Samples) -> tuple[int, int] | None:
    """First and last + 1 sample of speech in ``int16[n]`` (16 kHz mono); None if all is silence.

    Speech is every stretch of 10 ms that is louder than -60 dBFS and at most 35 dB quieter than
    the loudest one: meant for clean recordings.
    """
    import numpy as np

    count = len(samples) // _WINDOW
    if not count:
        return None
    windows = samples[: count * _WINDOW].astype(np.float32).reshape(count, _WINDOW)
    power = np.mean(windows * windows, axis=1) / 32768.0**2
    least = max(float(power.max()) * 10 ** (-_BELOW_PEAK_DB / 10), 10 ** (_FLOOR_DBFS / 10))
    loud = np.flatnonzero(power >= least)
    if not len(loud):
        return None
    return int(loud[0]) * _WINDOW, (int(loud[-1]) + 1) * _WINDOW
