"""The windows of many rooms at once: everyone hears everyone else, never themself (V139).

Pure functions on numpy arrays. All sums of a tick are one batch, whatever rooms they belong to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import FRAME_SAMPLES, AudioFrame, Samples
from salon.media.mixer import soft_limit

if TYPE_CHECKING:
    from salon.voice.pipeline.mixer.base import MixerProvider

_UNTOUCHED: Final = 24576
"""`soft_limit` leaves magnitudes up to this alone."""


class Voice(NamedTuple):
    """One source's ``int16[320]`` of this window. `audience` says who hears it; None is all."""

    key: str
    samples: Samples
    audience: frozenset[str] | None = None


@dataclass(slots=True)
class Window:
    """20 ms of one room. After `mix_windows`, `heard` has the sound of every listener who hears
    anything; arrays may be shared and are not to be written to."""

    voices: list[Voice]
    listeners: list[str]
    heard: dict[str, Samples]


class _Batch:
    """The sums that are still to be made."""

    __slots__ = ("_own", "_rows", "_shared", "_starts")

    def __init__(self) -> None:
        self._rows: list[Samples] = []
        self._starts: list[int] = []
        self._shared: list[tuple[Window, list[str], int]] = []
        self._own: list[tuple[Window, str, int, int]] = []

    def add(self, window: Window) -> None:
        """At least two voices, all for everybody."""
        room, first = len(self._starts), len(self._rows)
        rows = {voice.key: first + at for at, voice in enumerate(window.voices)}
        silent: list[str] = []
        for key in window.listeners:
            row = rows.get(key)
            if row is None:
                silent.append(key)
            elif len(rows) > 2:
                self._own.append((window, key, room, row))
            else:
                one, other = window.voices
                window.heard[key] = (other if one.key == key else one).samples
        if silent:
            self._shared.append((window, silent, room))
        if silent or len(rows) > 2:
            self._starts.append(first)
            self._rows += [voice.samples for voice in window.voices]

    def run(self) -> None:
        """Make the sums and hand them out."""
        if not self._starts:
            return
        wide = np.concatenate(self._rows).reshape(-1, FRAME_SAMPLES).astype(np.int32)
        totals = np.add.reduceat(wide, self._starts, axis=0, dtype=np.int32)
        rooms = [room for _, _, room in self._shared]
        count = len(rooms)
        sums = totals[rooms + [room for _, _, room, _ in self._own]]
        if self._own:
            sums[count:] -= wide[[row for _, _, _, row in self._own]]
        limited = _limit(sums)
        for at, (window, keys, _) in enumerate(self._shared):
            for key in keys:
                window.heard[key] = limited[at]
        for at, (window, key, _, _) in enumerate(self._own, count):
            window.heard[key] = limited[at]


def mix_windows(windows: Sequence[Window]) -> None:
    """Fill `heard` of every window. One voice alone passes unchanged."""
    batch = _Batch()
    for window in windows:
        voices = window.voices
        if any(voice.audience is not None for voice in voices):
            _mix_private(window)
        elif len(voices) == 1:
            only = voices[0]
            window.heard.update((key, only.samples) for key in window.listeners if key != only.key)
        elif voices:
            batch.add(window)
    batch.run()


def mix_with(mixer: MixerProvider, window: Window) -> None:
    """The same by another's sum, at one call per listener of two or more voices."""
    for key in window.listeners:
        frames = [AudioFrame.of(window.voices[at].samples) for at in _others(window, key)]
        if frames:
            window.heard[key] = mixer.mix(frames).samples


def _others(window: Window, key: str) -> tuple[int, ...]:
    """Places of the voices that a listener hears."""
    return tuple(
        at
        for at, voice in enumerate(window.voices)
        if voice.key != key and (voice.audience is None or key in voice.audience)
    )


def _mix_private(window: Window) -> None:
    """A room in which somebody speaks to a few: listeners who hear the same share one sum."""
    sums: dict[tuple[int, ...], list[str]] = {}
    for key in window.listeners:
        heard = _others(window, key)
        if len(heard) > 1:
            sums.setdefault(heard, []).append(key)
        elif heard:
            window.heard[key] = window.voices[heard[0]].samples
    if not sums:
        return
    # Whole numbers below 2**24 are exact in float32: room for 512 voices.
    voices = np.stack([voice.samples for voice in window.voices]).astype(np.float32)
    weights = np.zeros((len(sums), len(voices)), dtype=np.float32)
    for at, heard in enumerate(sums):
        weights[at, list(heard)] = 1.0
    limited = _limit((weights @ voices).astype(np.int32))
    for at, keys in enumerate(sums.values()):
        for key in keys:
            window.heard[key] = limited[at]


def _limit(sums: NDArray[np.int32]) -> Samples:
    """Narrow ``int32[n, 320]``; only samples that need bending pay for it."""
    narrow = sums.astype(np.int16)
    loud = (sums.max(axis=1) > _UNTOUCHED) | (sums.min(axis=1) < -_UNTOUCHED)
    if loud.any():
        high = loud[:, None] & (np.abs(sums) > _UNTOUCHED)
        narrow[high] = soft_limit(sums[high])
    return narrow
