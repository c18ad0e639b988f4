"""Keyframes out of sound: the jaw opens with loudness, the head sways, the eyes blink.

Each keyframe depends on its own 40 ms, on the keyframe before and on its number: the same sound
gives the same keyframes however it was cut (A52).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from salon.media.frame import Samples

FPS: Final = 25
"""Keyframes per second of sound (A52)."""
FRAME_MS: Final = 1000 // FPS

# fmt: off
ARKIT_52: Final = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft",
    "eyeSquintLeft", "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight",
    "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight", "jawForward",
    "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft",
    "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
)
# fmt: on
"""Names of the weights, in their order (A129)."""

MAX_JAW_RAD: Final = 0.074
"""The widest opening seen in recordings (chapter 13)."""

_AT: Final = {name: number for number, name in enumerate(ARKIT_52)}
_QUIET_DB: Final = -50.0
_LOUD_DB: Final = -15.0
_OPENS: Final = 0.7
_CLOSES: Final = 0.45
_WIDE_CROSSINGS: Final = 0.25
"""Changes of sign per sample of a hiss."""
_BLINK: Final = (0.6, 1.0, 1.0, 0.5)
_BLINK_EVERY: Final = 110
_BLINK_AT: Final = 60


@dataclass(frozen=True, slots=True)
class Keyframe:
    """One moment: sound time is ``index * 40`` ms. Angles in radians, weights 0 to 1."""

    index: int
    opening: float
    neck: tuple[float, float, float]
    """Pitch, yaw, roll."""
    lid: float
    """0 open to 1 shut."""
    weights: tuple[float, ...]
    """52, named by `ARKIT_52`."""

    @property
    def jaw(self) -> float:
        """Opening of the jaw in radians."""
        return self.opening * MAX_JAW_RAD


class Animator:
    """Makes the keyframes of one request at `sample_rate`, which must be a multiple of 25."""

    def __init__(self, sample_rate: int) -> None:
        if sample_rate <= 0 or sample_rate % FPS:
            raise ValueError(f"no whole number of samples per keyframe at {sample_rate} Hz")
        self.samples = 0
        """Samples taken so far."""
        self._hop = sample_rate // FPS
        self._rest: Samples = np.zeros(0, dtype=np.int16)
        self._index = 0
        self._opening = 0.0

    def feed(self, samples: Samples) -> list[Keyframe]:
        """The keyframes whose 40 ms are complete with ``int16[n]``."""
        self.samples += len(samples)
        held = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        count = len(held) // self._hop
        self._rest = held[count * self._hop :].copy()
        if not count:
            return []
        rows = held[: count * self._hop].reshape(count, self._hop).astype(np.int64)
        powers = (rows * rows).sum(axis=1)
        crossings = np.count_nonzero((rows[:, 1:] < 0) != (rows[:, :-1] < 0), axis=1)
        return [
            self._keyframe(power, crossed)
            for power, crossed in zip(powers.tolist(), crossings.tolist(), strict=True)
        ]

    def _keyframe(self, power: int, crossed: int) -> Keyframe:
        mean = power / self._hop / 32768.0**2
        level = 10.0 * math.log10(mean) if mean > 0 else _QUIET_DB
        target = min(1.0, max(0.0, (level - _QUIET_DB) / (_LOUD_DB - _QUIET_DB)))
        step = _OPENS if target > self._opening else _CLOSES
        self._opening += (target - self._opening) * step
        index, opening = self._index, self._opening
        self._index += 1
        wide = min(1.0, crossed / self._hop / _WIDE_CROSSINGS)
        blink = self._blink(index)
        return Keyframe(
            index=index,
            opening=opening,
            neck=(
                0.04 * math.sin(2 * math.pi * index / 97),
                0.05 * math.sin(2 * math.pi * index / 151),
                0.0,
            ),
            lid=blink,
            weights=_weights(opening, wide, blink),
        )

    @staticmethod
    def _blink(index: int) -> float:
        at = index % _BLINK_EVERY - _BLINK_AT
        return _BLINK[at] if 0 <= at < len(_BLINK) else 0.0


def _weights(opening: float, wide: float, blink: float) -> tuple[float, ...]:
    weights = [0.0] * len(ARKIT_52)
    weights[_AT["jawOpen"]] = 0.6 * opening
    weights[_AT["mouthFunnel"]] = 0.3 * opening * (1.0 - wide)
    for side in ("Left", "Right"):
        weights[_AT[f"mouthStretch{side}"]] = 0.3 * opening * wide
        weights[_AT[f"mouthLowerDown{side}"]] = 0.3 * opening
        weights[_AT[f"mouthUpperUp{side}"]] = 0.2 * opening
        weights[_AT[f"eyeBlink{side}"]] = blink
    return tuple(weights)
