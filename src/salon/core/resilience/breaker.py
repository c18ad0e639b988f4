"""The circuit breaker (R188-R190): a state machine that knows neither clock nor channel.

CLOSED     calls pass       --- threshold failures in a row ---> OPEN
OPEN       calls fail       --- asked after the cooldown ------> HALF_OPEN
HALF_OPEN  one probe passes --- it succeeds -------------------> CLOSED
                            --- it fails ----------------------> OPEN
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Final


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


class CallOutcome(StrEnum):
    """How a call that passed ended. ABANDONED (cancelled) says nothing about the other side."""

    SUCCESS = auto()
    FAILURE = auto()
    ABANDONED = auto()


class BreakerEdge(StrEnum):
    """What a report changed, by the name of the framework event it must become (R189)."""

    OPENED = "circuit_breaker_opened"
    CLOSED = "circuit_breaker_closed"


class _Step(StrEnum):
    STAY = auto()
    RESET = auto()
    COUNT = auto()
    TRIP = auto()
    RECOVER = auto()
    FREE_PROBE = auto()


_STEPS: Final = {
    (BreakerState.CLOSED, CallOutcome.SUCCESS): _Step.RESET,
    (BreakerState.CLOSED, CallOutcome.FAILURE): _Step.COUNT,
    (BreakerState.CLOSED, CallOutcome.ABANDONED): _Step.STAY,
    (BreakerState.HALF_OPEN, CallOutcome.SUCCESS): _Step.RECOVER,
    (BreakerState.HALF_OPEN, CallOutcome.FAILURE): _Step.TRIP,
    (BreakerState.HALF_OPEN, CallOutcome.ABANDONED): _Step.FREE_PROBE,
}


class CircuitBreaker:
    """One channel's breaker. `now` is always seconds on one monotonic clock.

    A call asks `acquire` for a permit and reports with it. A permit belongs to the state it was
    given in: reports that come after the state has changed count for nothing, so that stragglers
    from before an outage neither end nor prolong it.
    """

    def __init__(self, failure_threshold: int = 5, cooldown_seconds: float = 60.0) -> None:
        if failure_threshold < 1:
            raise ValueError(f"failure_threshold must be at least 1, not {failure_threshold}")
        if cooldown_seconds < 0:
            raise ValueError(f"cooldown_seconds must not be negative, not {cooldown_seconds}")
        self.failure_threshold = failure_threshold
        self.cooldown_seconds = cooldown_seconds
        self.state = BreakerState.CLOSED
        self.failure_count = 0
        self._opened_at = 0.0
        self._era = 0
        self._probing = False

    def acquire(self, now: float) -> int | None:
        """A permit for one call, or None: fail at once."""
        if self.state is BreakerState.OPEN and now >= self._opened_at + self.cooldown_seconds:
            self._enter(BreakerState.HALF_OPEN)
        if self.state is BreakerState.OPEN or self._probing:
            return None
        self._probing = self.state is BreakerState.HALF_OPEN
        return self._era

    def is_current(self, permit: int) -> bool:
        """Whether the state is still the one that `permit` was given in."""
        return permit == self._era

    def report(self, permit: int, outcome: CallOutcome, now: float) -> BreakerEdge | None:
        """How the call with `permit` ended; the edge it caused, if any."""
        if permit != self._era:
            return None
        step = _STEPS[self.state, outcome]
        if step is _Step.RESET:
            self.failure_count = 0
        elif step is _Step.FREE_PROBE:
            self._probing = False
        elif step is _Step.RECOVER:
            self.failure_count = 0
            self._enter(BreakerState.CLOSED)
            return BreakerEdge.CLOSED
        elif step in (_Step.COUNT, _Step.TRIP):
            self.failure_count += 1
            if step is _Step.TRIP or self.failure_count >= self.failure_threshold:
                self._enter(BreakerState.OPEN)
                self._opened_at = now
                return BreakerEdge.OPENED
        return None

    def _enter(self, state: BreakerState) -> None:
        self.state = state
        self._era += 1
        self._probing = False
