"""Pauses within speech, judged by loudness alone.

A detector that only tells where speech starts and where it ended says nothing about pauses within.
What is far quieter than the speech before is one, in any room; where the background is louder than
that, there are none, and nothing is lost but the guesses made in them.
"""

from __future__ import annotations

from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples
from salon.voice.tail import SILENT_DB, level_db
from salon.voice.turns import Action, SegmentMachine, SegmentPhase

DROP_DB = 20.0
"""This far below the loudest recent speech is quiet."""
BACK_DB = 14.0
"""Within this of it the speech goes on; between the two it is what it was."""
DECAY_DB_PER_S = 6.0
"""A loud word is forgotten within seconds."""
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE


class Lull:
    """Follows one stretch of speech after the other."""

    def __init__(self) -> None:
        self._peak = SILENT_DB
        self._quiet = 0

    @property
    def ms(self) -> int:
        """How long it has been quiet; 0 while there is speech."""
        return self._quiet * 1000 // SAMPLE_RATE

    def begin(self) -> None:
        """Another stretch."""
        self._peak, self._quiet = SILENT_DB, 0

    def push(self, samples: Samples) -> int:
        """More of it, ``int16[n]`` 16 kHz, any length; `ms` after it."""
        for start in range(0, len(samples), FRAME_SAMPLES):
            self._frame(samples[start : start + FRAME_SAMPLES])
        return self.ms

    def _frame(self, frame: Samples) -> None:
        level = level_db(frame)
        self._peak = max(level, self._peak - DECAY_DB_PER_S * FRAME_S)
        below = self._peak - level
        if below >= DROP_DB or (self._quiet and below > BACK_DB):
            self._quiet += len(frame)
        else:
            self._quiet = 0


class Pauses:
    """Tells a `SegmentMachine` of pauses within speech: those that its detector tells of, if it
    does, and those that are heard. Every method returns the actions to carry out."""

    def __init__(self, machine: SegmentMachine, after_ms: int) -> None:
        self._machine = machine
        self._after_ms = after_ms
        self._lull = Lull()

    def started(self, t_ms: int) -> tuple[Action, ...]:
        """The detector says that there is speech, perhaps again."""
        if self._machine.phase is SegmentPhase.SPEAKING:
            return self._machine.resumed(t_ms)
        self._lull.begin()
        return ()

    def told(self, silence_ms: int, t_ms: int) -> tuple[Action, ...]:
        """The detector says how long it has been silent."""
        return self._machine.paused(t_ms, silence_ms)

    def heard(self, samples: Samples, t_ms: int) -> tuple[Action, ...]:
        """More sound, up to `t_ms`."""
        if self._machine.phase is not SegmentPhase.SPEAKING:
            return ()
        before, quiet = self._lull.ms, self._lull.push(samples)
        if quiet >= self._after_ms:
            return self._machine.paused(t_ms, quiet)
        return self._machine.resumed(t_ms) if quiet < before >= self._after_ms else ()
