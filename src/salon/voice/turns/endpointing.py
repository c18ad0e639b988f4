"""How much silence ends a turn, learned from the speaker."""

from __future__ import annotations

from salon.voice.turns.config import TurnConfig

MARGIN_MS = 100
"""A pause the speaker is known to make is survived with this much to spare."""

STEADY_ENDS = 3
"""Clean ends in a row after which the silence goes below where it started."""

STEP_MS = 10


class EndSilence:
    """The silence, in ms, that ends this speaker's turns. One per call.

    It starts at `end_silence_ms` and stays within ``min_end_silence_ms..max_end_silence_ms``:

    * A pause *p* inside a turn that leaves less than 100 ms to spare was nearly an end: go half the
      way to ``p + 100``.
    * An end that was wrong, because the speaker went on after a gap *g* that `max_end_silence_ms`
      could have bridged: go to ``g + 100`` at once.
    * A clean end, nothing said for `max_end_silence_ms` after the speech: go a quarter of the way
      back to `end_silence_ms`; there, from the third clean end in a row on, 10 ms below per turn.
      Either of the above ends the row.

    With ``adaptive=False`` it never changes.
    """

    def __init__(self, config: TurnConfig) -> None:
        self.ms = config.end_silence_ms
        self._config = config
        self._row = 0

    def paused(self, pause_ms: int) -> None:
        """The speaker paused inside a turn and went on."""
        wanted = pause_ms + MARGIN_MS
        if wanted > self.ms:
            self._longer(self.ms + (wanted - self.ms + 1) // 2)

    def resumed(self, gap_ms: int) -> None:
        """The speaker went on `gap_ms` after the speech that was taken for a whole turn."""
        self._longer(gap_ms + MARGIN_MS)

    def ended_cleanly(self) -> None:
        """The turn was over indeed."""
        if not self._config.adaptive:
            return
        self._row += 1
        usual = self._config.end_silence_ms
        if self.ms > usual:
            self.ms -= (self.ms - usual + 3) // 4
        elif self._row >= STEADY_ENDS:
            self.ms = max(self.ms - STEP_MS, self._config.min_end_silence_ms)

    def _longer(self, wanted_ms: int) -> None:
        if self._config.adaptive:
            self._row = 0
            self.ms = min(max(self.ms, wanted_ms), self._config.max_end_silence_ms)
