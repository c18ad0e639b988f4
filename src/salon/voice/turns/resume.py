"""After a cut that brought no words, the agent goes on.

    state    signal       next     what happens
    -------  -----------  -------  ---------------------------------------------------------
    WHOLE    INTERRUPTED  CUT
    CUT      ENDED        WAITING  the speech that cut is over; the wait begins
    WAITING  STARTED      CUT      more speech
    WAITING  EXPIRED      WHOLE    Resume
    CUT,     WORDS        WHOLE    it was meant
    WAITING
    any      CANCEL       WHOLE

A backchannel counts as no words: whoever classifies does not report it as words.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resume:
    """Let the agent go on where it was cut, `lost_ms` ago."""

    lost_ms: int


class FalseInterruption:
    """Tells cuts that were none. One per session; instants in ms. Never resumes with
    ``after_ms=None``, nor twice for one cut."""

    def __init__(self, after_ms: int | None) -> None:
        self._after_ms = after_ms
        self._cut_ms: int | None = None
        self._due: int | None = None

    @property
    def waiting(self) -> bool:
        """Whether a cut has not been decided on: keep what was cut."""
        return self._cut_ms is not None

    @property
    def due_ms(self) -> int | None:
        """When to call `tick` at the latest."""
        return self._due

    def interrupted(self, t_ms: int) -> None:
        """The agent was cut."""
        if self._after_ms is not None:
            self._cut_ms, self._due = t_ms, None

    def speech_started(self, t_ms: int) -> None:
        self._due = None

    def speech_ended(self, t_ms: int) -> None:
        """The speech is over, as a turn or as a false start."""
        if self._cut_ms is not None and self._after_ms is not None:
            self._due = t_ms + self._after_ms

    def words(self, text: str) -> None:
        """The speech brought words, interim or final."""
        if text.strip():
            self.cancel()

    def tick(self, t_ms: int) -> tuple[Resume, ...]:
        """Nothing else happened until `t_ms`."""
        if self._cut_ms is None or self._due is None or t_ms < self._due:
            return ()
        resume = Resume(t_ms - self._cut_ms)
        self.cancel()
        return (resume,)

    def cancel(self) -> None:
        """Leave it at the cut."""
        self._cut_ms = self._due = None
