"""A looped sound behind what is said: softer while somebody speaks (G135). Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import FRAME_SAMPLES, Samples
from salon.media.mixer import soft_limit

MAX_LEVEL = 4.0


class Background:
    """Mixes `sound`, ``int16[n]``, from its beginning and over again, into one stream of frames.

    Its level goes towards `duck` in frames that hold something and towards `normal` in those that
    do not, by at most `speed` per frame; it begins at `normal`. Levels are factors of 0 to
    `MAX_LEVEL`. `ValueError` for others, a negative speed, or an empty sound.
    """

    __slots__ = ("_at", "_duck", "_level", "_loop", "_normal", "_size", "_speed")

    def __init__(
        self, sound: Samples, *, duck: float = 0.1, normal: float = 0.3, speed: float = 0.01
    ) -> None:
        for name, level in (("duckLevel", duck), ("normalLevel", normal)):
            if not 0.0 <= level <= MAX_LEVEL:
                raise ValueError(f"{name} is {level:g}, not within 0 to {MAX_LEVEL:g}")
        if not speed >= 0.0:
            raise ValueError(f"transitionSpeed is {speed:g}, not 0 or more")
        if not len(sound):
            raise ValueError("the sound is empty")
        self._size = len(sound)
        self._loop = sound
        self._at = 0
        self._duck, self._normal, self._speed = duck, normal, speed
        self._level = normal

    @property
    def level(self) -> float:
        """The level reached."""
        return self._level

    def mix(self, frame: Samples | None) -> Samples | None:
        """``int16[320]`` or None where nothing plays; the same with the background in it. None, or
        the same array, while the background is at level 0."""
        before = self._level
        goal = self._normal if frame is None else self._duck
        step = min(self._speed, abs(goal - before))
        after = self._level = (
            goal
            if step == abs(goal - before)
            else (before + step if goal > before else before - step)
        )
        piece = self._next()
        if not before and not after:
            return frame
        gain = np.linspace(before, after, FRAME_SAMPLES, dtype=np.float32)
        sound = piece * (np.float32(after) if before == after else gain)
        total: NDArray[np.int32] = sound.astype(np.int32)
        return soft_limit(total if frame is None else total + frame)

    def _next(self) -> Samples:
        """The next 20 ms of the loop."""
        at, size = self._at, self._size
        self._at = (at + FRAME_SAMPLES) % size
        if at + FRAME_SAMPLES <= size:
            return self._loop[at : at + FRAME_SAMPLES]
        return np.take(self._loop, np.arange(at, at + FRAME_SAMPLES), mode="wrap")
