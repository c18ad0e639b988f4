"""What moves a `TurnMachine` on: the detector's windows, and silence that no window tells of.

A turn ends when its silence has lasted, be the tick or the detector's window where it may, and also
when the caller's packets stop coming.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from salon.base import Clock, TaskScope
from salon.media.frame import FRAME_MS, Samples
from salon.voice.history import History
from salon.voice.sample_clock import SampleClock
from salon.voice.tail import SpeechTail
from salon.voice.turns import Action, Phase, TurnMachine

WINDOW_SAMPLES = 512
MISSING_S = 0.3
"""No packet for this long is silence of the caller, not jitter of the network."""
VOICED = 0.5
"""A window at least this probable is told as speech."""
_RISE = 4.0
"""Power by which sound that is not looked at yet has to exceed what is, to be waited for (6 dB)."""
_FAINT = 100.0**2
"""Power below which it does not matter."""


class TurnDriver:
    """Drives `machine` and hands what it decides to `act`, until `close`."""

    def __init__(
        self,
        machine: TurnMachine,
        history: History,
        heard: SampleClock,
        *,
        clock: Clock,
        scope: TaskScope,
        act: Callable[[tuple[Action, ...]], None],
    ) -> None:
        self._machine = machine
        self._history = history
        self._heard = heard
        self._clock = clock
        self._scope = scope
        self._act = act
        self._tail = SpeechTail()
        self.voiced = False
        """Whether the newest window holds speech."""
        self._looked = 0
        """Where the newest window of the detector ended."""
        self._ending = False
        """Somebody waits for the end of the pause."""
        self._closed = False

    def window(self, probability: float, end_sample: int) -> None:
        """One more window of the detector, which ended there."""
        self._looked = end_sample
        newest = self._history.until(end_sample, WINDOW_SAMPLES)
        corrected = self._tail.correct(probability, newest)
        self.voiced = corrected >= VOICED
        self._act(self._machine.window(corrected, self._heard.at_ms(end_sample)))

    def tick(self, *, open_turn: bool) -> None:
        """Every 20 ms."""
        machine, missing = self._machine, self._heard.missing_s()
        if not open_turn:
            if missing >= MISSING_S and machine.phase is Phase.IDLE:  # a clean end is one here too
                self._act(machine.tick(self._heard.now_ms() + int(missing * 1000)))
            return
        if missing >= MISSING_S:
            self._act(machine.tick(self._heard.now_ms() + int(missing * 1000)))
        elif (due := machine.due_ms) is not None and not self._ending:
            wait = (due - self._heard.now_ms()) / 1000 - missing
            if wait < FRAME_MS / 1000:
                self._ending = True
                self._scope.spawn(self._end_at(due, max(wait, 0)), name="end of turn")

    async def _end_at(self, due_ms: int, seconds: float) -> None:
        """The pause has lasted, unless what the detector has not looked at yet grows loud."""
        try:
            if seconds:
                await self._clock.sleep(seconds)
        finally:
            self._ending = False
        machine = self._machine
        if self._closed or machine.due_ms != due_ms:
            return
        late = due_ms - self._heard.now_ms() > 2 * FRAME_MS  # sound that is late is no silence
        if not late and not self._rises():
            self._act(machine.tick(due_ms))

    def _rises(self) -> bool:
        """The sound after the newest window is clearly louder than that window."""
        newest = self._history.since(self._looked)
        if not len(newest):
            return False
        before = self._history.until(self._looked, WINDOW_SAMPLES)
        return _power(newest) > max(_RISE * _power(before), _FAINT)

    def close(self) -> None:
        """No pause ends a turn any more; idempotent."""
        self._closed = True
        self._act = lambda _actions: None  # frees whoever carries them out


def _power(samples: Samples) -> float:
    """Mean square."""
    wide = samples.astype(np.float32)
    return float(np.dot(wide, wide)) / len(wide)
