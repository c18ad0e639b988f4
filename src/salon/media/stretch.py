"""Time stretching: sound gets a little shorter or longer without a change of pitch.

Waveform similarity overlap-add: one piece about a pitch period long is taken out or played twice,
at the distance where the sound is most like itself, and the seam is cross-faded. In silence any
length will do, so it is preferred.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import Samples

OVERLAP: Final = 80
"""5 ms: the length of a seam."""
MIN_PERIOD: Final = 40
"""2.5 ms: a voice of 400 Hz."""
MAX_PERIOD: Final = 240
"""15 ms: a voice of 67 Hz."""
SHORTEST: Final = OVERLAP + MIN_PERIOD
"""Samples a piece must have to be stretched."""

_QUIET_RMS: Final = 100.0  # -50 dBFS: silence in any room
_QUIET_CEILING: Final = 400.0  # -38 dBFS: no background is taken for silence above that
_AS_GOOD: Final = 0.02
_RISE: Final = (np.arange(OVERLAP, dtype=np.float32) + 0.5) / OVERLAP
_FALL: Final = 1.0 - _RISE


def cross_fade(fading: Samples, rising: Samples) -> Samples:
    """`rising` (a copy) whose beginning is blended from `fading`, over the shorter of the two, at
    most `OVERLAP` samples of each."""
    size = min(len(fading), len(rising), OVERLAP)
    if size == 0:
        return rising
    if size == OVERLAP:
        rise, fall = _RISE, _FALL
    else:
        rise = (np.arange(size, dtype=np.float32) + 0.5) / size
        fall = 1.0 - rise
    out = rising.copy()
    out[:size] = np.rint(fading[:size] * fall + rising[:size] * rise)
    return out


def likeness(samples: Samples, longest: int) -> tuple[int, float]:
    """The period in ``MIN_PERIOD..longest`` at which the first `OVERLAP` samples come again most
    alike, and their normalised correlation there (1 = the same); (0, 0.0) if none fits. Among
    those as good the longest: one long cut is heard less than two short ones."""
    longest = min(longest, MAX_PERIOD, len(samples) - OVERLAP)
    if longest < MIN_PERIOD:
        return 0, 0.0
    wide: NDArray[np.float32] = samples[: longest + OVERLAP].astype(np.float32)
    pattern = wide[:OVERLAP]
    across = np.correlate(wide[MIN_PERIOD:], pattern, "valid")
    total = np.concatenate(([0.0], np.cumsum(wide * wide, dtype=np.float64)))
    energy = total[OVERLAP + MIN_PERIOD :] - total[MIN_PERIOD:-OVERLAP]
    own = float(total[OVERLAP])
    score = across / np.sqrt(np.maximum(energy * own, 1.0))
    best = int(np.flatnonzero(score >= score.max() - _AS_GOOD)[-1])
    return best + MIN_PERIOD, float(score[best])


class Stretcher:
    """Shortens and lengthens pieces of one stream. It learns how loud the stream's background is:
    what is hardly louder counts as silence."""

    __slots__ = ("_floor",)

    def __init__(self) -> None:
        self._floor = _QUIET_CEILING / 2

    def quiet(self, samples: Samples) -> bool:
        """Whether this is silence or background, where any cut is inaudible."""
        if not len(samples):
            return True
        wide = samples.astype(np.float32)
        rms = float(np.dot(wide, wide) / len(wide)) ** 0.5
        floor = min(rms, self._floor * 1.02 + 0.1, _QUIET_CEILING / 2)
        self._floor = floor
        return bool(rms <= max(_QUIET_RMS, 2.0 * floor))

    def shorten(self, samples: Samples, most: int, likeness_needed: float) -> Samples | None:
        """A copy of ``int16[n]`` that is up to `most` samples shorter, or None where a cut would
        be heard: neither quiet nor as periodic as `likeness_needed` asks."""
        size = len(samples)
        if size < SHORTEST or most < 1:
            return None
        if self.quiet(samples):
            cut = min(most, size - OVERLAP)
        else:
            cut, score = likeness(samples, most)
            if cut == 0 or score < likeness_needed:
                return None
        return cross_fade(samples, samples[cut:])

    def lengthen(self, samples: Samples, most: int, likeness_needed: float) -> Samples | None:
        """A copy that is longer, by up to `most` samples where quiet and by one period (maybe a
        little more than `most`) elsewhere; None where it would be heard."""
        size = len(samples)
        if size < SHORTEST or most < 1:
            return None
        if self.quiet(samples):
            added = min(most, size - OVERLAP)
        else:
            added, score = likeness(samples, max(most, 2 * MIN_PERIOD))
            if added == 0 or score < likeness_needed:
                return None
        return np.concatenate((samples[:added], cross_fade(samples[added:], samples)))
