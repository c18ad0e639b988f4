"""Where each frame lies on the time line of a recording. Knows samples and instants, nothing else.

The user's sound arrives without end but unevenly, by the sender's clock; the bot's comes in
stretches, by ours. Both go onto one line of samples, by these rules:

* Sound is never cut and never moved apart within a stretch; silence is added where time passed.
* The user's sound makes the line: an instant lies where the least delayed of its frames puts it.
  Where its sender is ahead of our clock, the line moves, and both directions with it.
* Late frames (jitter, a stall) say nothing; only if none of two seconds came in time has sound been
  lost, or the sender is slow, and silence takes its place, if possible where it is quiet.
* Frames that come after a pause begin where the line stands now.

So no difference builds up however long the call, and what both sides say at one instant stays
within a frame.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Final

import numpy as np

from salon.media.frame import Samples

TOLERANCE_S: Final = 0.010
"""Lag that is not worth any silence."""
WINDOW_S: Final = 2.0
"""How long every frame must lag before it counts."""
PAUSE_S: Final = 0.060
"""More lag than that may come of a pause; less is left to the window."""
DECIDE_S: Final = 0.200
"""How long it is open whether a late frame of the user's followed a pause or a stall."""
QUIET: Final = 200
"""Amplitude below which added silence is not heard."""
PATIENCE_S: Final = 3.0
"""How long silence that is due waits for a quiet frame."""


class TimeLine:
    """Instants of a monotonic clock as samples of the recording."""

    __slots__ = ("_origin", "_shift", "rate")

    def __init__(self, origin: float, rate: int) -> None:
        self.rate = rate
        self._origin = origin
        self._shift = 0

    def at(self, instant: float) -> int:
        """The sample of an instant."""
        return round((instant - self._origin) * self.rate) + self._shift

    def move(self, samples: int) -> None:
        """From now on every instant lies `samples` later."""
        self._shift += samples


class Lane:
    """One direction: pieces of sound in order, from `taken` on; between them is silence."""

    def __init__(self, line: TimeLine, *, leads: bool) -> None:
        self._line = line
        self._leads = leads
        self._pieces: list[tuple[int, Samples]] = []
        self.end = 0
        """Where the next sample goes."""
        self.taken = 0
        """What lies before has been handed out."""
        self.pending = 0
        """Samples of sound that it holds."""
        self.empty = True
        self._sound_end = 0
        self._pause_piece = 0
        self._pause_lag = 0
        self._pause_until: float | None = None
        self._least: int | None = None
        self._window_end = 0.0
        self._due = 0
        self._due_by = 0.0

    def put(self, samples: Samples, instant: float) -> None:
        """Place ``int16[n]`` that arrived at an instant. The array is kept: don't write to it."""
        lag = self._line.at(instant) - self.end
        if self.empty:
            self.empty = False
            # Two frames of one moment start together, whatever lies between the calls.
            self._skip(lag if lag > TOLERANCE_S * self._line.rate else 0)
            self._open_window(instant)
        elif self._leads:
            self._follow_leader(lag, instant)
        elif self.paused(instant):
            self._skip(lag)
            self._open_window(instant)
        else:
            self._watch(lag, instant)
        if self._due and self._pause_until is None:
            self._pay(samples, instant)
        self.append(samples)

    def paused(self, instant: float) -> bool:
        """Whether sound that arrives now begins a stretch of its own."""
        return not self.empty and self._line.at(instant) - self.end > PAUSE_S * self._line.rate

    @property
    def ends_with_sound(self) -> bool:
        """Whether the next sample goes right behind the last one of the sound."""
        return self.end == self._sound_end

    def open_from(self, instant: float) -> int | None:
        """Where pieces begin that may still move; None if none may."""
        if self._pause_until is None:
            return None
        if instant >= self._pause_until:
            self._decide(instant)
            return None
        start: int = self._pieces[self._pause_piece][0]
        return start

    def append(self, samples: Samples) -> None:
        """Sound that belongs to the last piece, whenever it comes."""
        self._pieces.append((self.end, samples))
        self.end += len(samples)
        self._sound_end = self.end
        self.pending += len(samples)

    def settle(self, instant: float) -> None:
        """Decide now what is open: nothing more will come."""
        if self._pause_until is not None:
            self._decide(instant)

    @property
    def first(self) -> int | None:
        """Where the sound begins that has not been handed out."""
        return self._pieces[0][0] if self._pieces else None

    def take(self, until: int) -> Samples | None:
        """The sound from `taken` to `until`, silence where there is none: ``int16[n]``; None if
        there is none at all."""
        start, self.taken = self.taken, until
        self.end = max(self.end, until)
        pieces = self._pieces
        if not pieces or pieces[0][0] >= until:
            return None
        used = 0
        out = np.zeros(until - start, dtype=np.int16)
        for at, samples in pieces:
            if at >= until:
                break
            size = len(samples)
            if at + size > until:
                out[at - start :] = samples[: until - at]
                pieces[used] = (until, samples[until - at :])
                self.pending -= until - at
                break
            out[at - start : at - start + size] = samples
            self.pending -= size
            used += 1
        del pieces[:used]
        self._pause_piece -= used
        return out

    def stretches(self, until: int) -> list[tuple[int, int]]:
        """Where there is sound before `until`: (start, end), in order."""
        before = takewhile(lambda piece: piece[0] < until, self._pieces)
        return [(at, min(until, at + len(s))) for at, s in before]

    def cut(self, instant: float) -> None:
        """Forget what lies behind an instant (playback was interrupted)."""
        here = max(self._line.at(instant), self.taken)
        if here >= self.end:
            return
        kept = [(at, s[: here - at]) for at, s in self._pieces if at < here]
        self._pieces, self.end = kept, here
        self._sound_end = min(self._sound_end, here)
        self.pending = sum(len(s) for _, s in kept)
        self._open_window(instant)

    def _skip(self, samples: int) -> None:
        self.end += samples

    def _open_window(self, instant: float) -> None:
        self._least = None
        self._window_end = instant + WINDOW_S
        self._due = 0

    def _watch(self, lag: int, instant: float) -> None:
        """Note the least lag of each window; what it lags is due."""
        if self._least is None or lag < self._least:
            self._least = lag
        if instant < self._window_end:
            return
        least = self._least
        self._least = None
        self._window_end = instant + WINDOW_S
        if least <= TOLERANCE_S * self._line.rate:
            self._due = 0
        elif not self._due:
            self._due, self._due_by = least, instant + PATIENCE_S
        else:
            self._due = least

    def _pay(self, samples: Samples, instant: float) -> None:
        """Add the silence that is due, if this frame is quiet or the wait was long enough."""
        if instant >= self._due_by or not np.any(np.abs(samples, dtype=np.int32) > QUIET):
            self._skip(self._due)
            self._open_window(instant)

    def _follow_leader(self, lag: int, instant: float) -> None:
        if lag < 0:
            # A frame that comes too early is the least delayed so far.
            self._line.move(-lag)
            lag = 0
        if self._pause_until is not None:
            self._pause_lag = min(self._pause_lag, lag)
            if instant >= self._pause_until:
                lag -= self._decide(instant)
        elif lag > PAUSE_S * self._line.rate:
            self._pause_piece = len(self._pieces)
            self._pause_lag = lag
            self._pause_until = instant + DECIDE_S
        self._watch(lag, instant)

    def _decide(self, instant: float) -> int:
        """The late frame followed a pause if none since then made up for it: move them there."""
        self._pause_until = None
        moved = self._pause_lag
        if moved <= PAUSE_S * self._line.rate:
            return 0
        self._open_window(instant)
        first = self._pause_piece
        self._pieces[first:] = [(at + moved, s) for at, s in self._pieces[first:]]
        self.end += moved
        self._sound_end += moved
        return moved
