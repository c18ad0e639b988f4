"""From windows with tones to presses of keys (ITU-T Q.24: 40 ms of tone, 40 ms of pause).

Sans-IO: knows windows and powers, not sound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from salon.voice.pipeline.dtmf.bank import PARTS, Hit
from salon.voice.pipeline.dtmf.base import DTMFEvent

LEAST_PARTS: Final = 7
"""Pieces of 5 ms that are loud in every tone of 40 ms, however they lie."""
PAUSE_PARTS: Final = 7
"""Pieces that are quiet in every pause of 40 ms."""
_LOUD: Final = 0.25  # of the tone's power
_FADING: Final = 0.5
"""How much weaker the same tone may get from hop to hop: someone's gain control works on it."""
_MISSED_HOPS: Final = 3
_DOUBTED_HITS: Final = 3


class Press:
    """The keys of one stream, one at a time.

    A press that begins out of quiet needs hits for most hops that it fills. One that begins
    out of other sound, which is what speech does, needs `_DOUBTED_HITS` at least.
    """

    __slots__ = (
        "_digit",
        "_hits",
        "_loud",
        "_missed",
        "_part_ms",
        "_power",
        "_quiet",
        "_share",
        "_sudden",
        "_sure",
        "active",
    )

    def __init__(self, part_ms: float) -> None:
        self._part_ms = part_ms
        self._digit = ""
        self._power = self._share = 0.0
        self._hits = self._missed = self._loud = self._quiet = self._sure = 0
        self._sudden = False
        self.active = False
        """A tone sounds, or its pause has not lasted long enough to end it."""

    def feed(self, hit: Hit | None, powers: list[float]) -> DTMFEvent | None:
        """The next window, and the powers of the newest pieces of sound, of which `PARTS` were not
        there last time; a press that is over. Windows without a hit may be left out while nothing
        is `active`."""
        if not self.active:
            if hit is not None:
                self._begin(hit, powers)
            return None
        if hit is not None and hit.digit != self._digit:
            event = self._end()
            self._begin(hit, powers)
            return event
        return self._go_on(hit, powers)

    def _begin(self, hit: Hit, powers: list[float]) -> None:
        self._digit, self._power, self._share = hit.digit, hit.power, hit.share
        self._hits, self._missed = 1, 0
        self.active = True
        least = self._power * _LOUD
        newest_first = powers[::-1]
        self._quiet = _run(newest_first, lambda power: power < least)  # it may be over already
        self._loud = _run(newest_first[self._quiet :], lambda power: power >= least)
        self._sure = self._loud
        self._sudden = self._quiet + self._loud < len(powers)

    def _go_on(self, hit: Hit | None, powers: list[float]) -> DTMFEvent | None:
        if hit is None:
            self._missed += 1
        else:
            self._hits += 1
            self._missed = 0
            self._share = max(self._share, hit.share)
            self._power = max(self._power * _FADING, hit.power)
        if self._lasts(powers[-PARTS:]):
            if hit is not None:
                self._sure = self._loud
            elif self._missed >= _MISSED_HOPS and not self._quiet:
                self._loud = self._sure  # another sound took its place
                return self._end()
            return None
        event = self._end()
        if hit is not None:
            self._begin(hit, powers)  # the same key again
        return event

    def _lasts(self, fresh: list[float]) -> bool:
        """Whether the tone sounds on, for all that its newest pieces tell."""
        least = self._power * _LOUD
        for power in fresh:
            if power < least:
                self._quiet += 1
                if self._quiet >= PAUSE_PARTS:
                    return False
            else:
                self._loud += 1 + self._quiet  # what was too short for a pause belongs to the tone
                self._quiet = 0
        return True

    def _end(self) -> DTMFEvent | None:
        """The press as an event, if it was one."""
        self.active = False
        whole = self._loud // PARTS - 1  # windows that the tone filled: two in three must be hits
        least = 1 if self._sudden else _DOUBTED_HITS
        if self._loud < LEAST_PARTS or self._hits < max(least, whole - whole // 3):
            return None
        return DTMFEvent(self._digit, self._loud * self._part_ms, round(self._share, 3))


def _run(powers: list[float], holds: Callable[[float], bool]) -> int:
    """How many of the first powers it holds for."""
    return next((at for at, power in enumerate(powers) if not holds(power)), len(powers))
