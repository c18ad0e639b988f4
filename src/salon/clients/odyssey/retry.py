"""How long to wait between attempts, and the time limits of a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from salon.clients.odyssey.config import AdvancedConfig


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """O74a: after failure number n (from 0) wait ``min(initial * multiplier**n, longest)``, all in
    seconds; after `retries` of them give up."""

    retries: int = 5
    initial_s: float = 1.0
    longest_s: float = 2.0
    multiplier: float = 2.0

    @classmethod
    def of(cls, config: AdvancedConfig) -> Self:
        """As configured."""
        return cls(
            config.max_retries,
            config.initial_retry_delay_ms / 1000,
            config.max_retry_delay_ms / 1000,
            config.retry_backoff_multiplier,
        )

    def delay_s(self, failures: int) -> float | None:
        """How long to wait after this many earlier failures and one more; None to give up."""
        if failures >= self.retries:
            return None
        try:
            wanted = self.initial_s * self.multiplier**failures
        except OverflowError:
            wanted = self.longest_s
        return max(0.0, min(wanted, self.longest_s))


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Times of one connection, in seconds."""

    ready_s: float = 30.0
    """From the open socket to video and channel (O74)."""
    keepalive_s: float = 10.0
    """Between keepalives, and before the first (section 4)."""
    settle_s: float = 0.25
    """A picture or link that ended waits this long for the socket to say why: a server that leaves
    in order closes both, and which of them is noticed first is chance."""
    disconnected_s: float = 15.0
    """How long a link may be without contact before it counts as lost (D5)."""
    steady_s: float = 10.0
    """A connection that lasted this long is followed by a reconnect at once, with all retries."""
