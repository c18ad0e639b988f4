"""Many voices in one room: everyone hears everyone but themself (V139, V140)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import FRAME_SAMPLES, Samples

Key = TypeVar("Key", bound=Hashable)

_KNEE: Final = 24576.0
_ROOM: Final = 32767.0 - _KNEE


def soft_limit(total: NDArray[np.int32]) -> Samples:
    """Narrow sums of samples to int16, any shape.

    Magnitudes up to 3/4 of full scale (-2.5 dBFS) pass unchanged; above, a tanh curve bends them
    smoothly towards full scale, never past it.
    """
    magnitude = np.abs(total)
    if magnitude.max(initial=0) <= _KNEE:
        return total.astype(np.int16)
    bent = _KNEE + _ROOM * np.tanh((magnitude - _KNEE) / _ROOM)
    limited = np.where(magnitude <= _KNEE, magnitude, bent)
    return np.copysign(np.rint(limited), total).astype(np.int16)


def both(one: Samples, other: Samples) -> Samples:
    """Two voices at once, ``int16[n]`` each."""
    return soft_limit(one.astype(np.int32) + other)


class Mixer(Generic[Key]):
    """Mixes one window at a time: one total, then each listener's own part taken out of it, so the
    work grows with the number of people, not with its square.

    No state but the frame length.
    """

    __slots__ = ("_size",)

    def __init__(self, frame_samples: int = FRAME_SAMPLES) -> None:
        self._size = frame_samples

    def mix(
        self,
        sources: Mapping[Key, Samples | None],
        listeners: Iterable[Key] | None = None,
    ) -> dict[Key, Samples | None]:
        """One window: what each listener hears.

        `sources` maps each speaker to ``int16[frame_samples]``, or None for one that has no frame
        in this window and counts as silence (V140). `listeners` are the keys of `sources` by
        default; a listener need not be a source, nor a source a listener. The result has one entry
        per listener: the sum of all *other* sources, or None if none of them has a frame. A single
        other voice passes unchanged (the same array, not a copy); sums are limited softly.
        `ValueError` if a frame has another length.
        """
        speaking = {key: frame for key, frame in sources.items() if frame is not None}
        for key, frame in speaking.items():
            if len(frame) != self._size:
                raise ValueError(f"frame of {key!r} has {len(frame)} samples, not {self._size}")
        hearers = list(sources if listeners is None else listeners)
        if len(speaking) <= 2:
            return {key: self._few(key, speaking) for key in hearers}
        stack = np.stack(list(speaking.values())).astype(np.int32)
        total = stack.sum(axis=0, dtype=np.int32)
        rows = {key: row for row, key in enumerate(speaking)}
        shared: Samples | None = None
        mixed: dict[Key, Samples | None] = {}
        for key in hearers:
            row = rows.get(key)
            if row is not None:
                mixed[key] = soft_limit(total - stack[row])
                continue
            if shared is None:
                shared = soft_limit(total)
            mixed[key] = shared
        return mixed

    def _few(self, listener: Key, speaking: Mapping[Key, Samples]) -> Samples | None:
        """The common cases of at most two voices, without a stack."""
        others = [frame for key, frame in speaking.items() if key != listener]
        if not others:
            return None
        if len(others) == 1:
            return others[0]
        return both(others[0], others[1])
