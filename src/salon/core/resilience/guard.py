"""One delivery to the outside, made safe: breaker, rate limit, retries (step 3e of chapter 12)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from salon.base import SYSTEM_CLOCK, Clock, within
from salon.core.errors import ProviderDeliveryError, RoomKitError
from salon.core.resilience.breaker import BreakerEdge, CallOutcome, CircuitBreaker
from salon.core.resilience.limit import RateLimiter
from salon.core.resilience.retry import call_with_retry
from salon.models import NoRecipientError, RateLimit, RetryPolicy

T = TypeVar("T")

OnEdge = Callable[[str, BreakerEdge, int], None]
"""``(channel id, edge, failures in a row)``: becomes a framework event (R189)."""


class CircuitOpenError(RoomKitError):
    """The channel failed too often and rests. `retryable`: later it may work again."""

    code = "circuit_breaker_open"
    retryable = True

    def __init__(self, channel_id: str) -> None:
        super().__init__(f"channel {channel_id!r} failed too often and is not asked for a while")


class DeliveryGuard:
    """A breaker per channel (R188) and a bucket per limit key, driven by one clock."""

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        on_edge: OnEdge = lambda *_: None,
        failure_threshold: int = 5,
        cooldown_seconds: float = 60.0,
        max_limits: int = 1024,
    ) -> None:
        self._clock = clock
        self._on_edge = on_edge
        self._threshold = failure_threshold
        self._cooldown = cooldown_seconds
        self._breakers: dict[str, CircuitBreaker] = {}
        self._limiter = RateLimiter(max_limits)

    def breaker(self, channel_id: str) -> CircuitBreaker:
        """The breaker of a channel."""
        found = self._breakers.get(channel_id)
        if found is None:
            found = CircuitBreaker(self._threshold, self._cooldown)
            self._breakers[channel_id] = found
        return found

    def forget(self, channel_id: str) -> None:
        """The channel is gone."""
        self._breakers.pop(channel_id, None)

    def admit(self, key: str, limit: RateLimit | None) -> bool:
        """Whether an inbound message may pass; False drops it as `rate_limited` (R194). Keys are
        the caller's: they must differ from those of outbound limits."""
        return self._limiter.try_take(key, limit, self._clock.monotonic())

    async def run(
        self,
        channel_id: str,
        operation: Callable[[], Awaitable[T]],
        *,
        timeout: float,
        limit: RateLimit | None = None,
        limit_key: str | None = None,
        retry: RetryPolicy | None = None,
    ) -> T:
        """The result of `operation`, one attempt of which may take `timeout` seconds; waiting for
        the rate limit or for the next attempt does not count (R193).

        The breaker is asked before the limiter, so that an open one spends no token, and again
        after the wait. All attempts together are one success or one failure (R190). Raises
        `CircuitOpenError`, or what the last attempt raised. Cancellation counts as neither.
        """
        breaker = self.breaker(channel_id)
        permit = breaker.acquire(self._clock.monotonic())
        if permit is None:
            raise CircuitOpenError(channel_id)

        async def attempt() -> T:
            return await within(timeout, operation())

        outcome = CallOutcome.ABANDONED
        try:
            await self._wait_in_line(breaker, permit, channel_id, limit_key, limit)
            try:
                result = await call_with_retry(retry, attempt, clock=self._clock)
            except Exception as error:
                if not _is_about_the_message(error):
                    outcome = CallOutcome.FAILURE
                raise
            outcome = CallOutcome.SUCCESS
            return result
        finally:
            edge = breaker.report(permit, outcome, self._clock.monotonic())
            if edge is not None:
                self._on_edge(channel_id, edge, breaker.failure_count)

    async def _wait_in_line(
        self,
        breaker: CircuitBreaker,
        permit: int,
        channel_id: str,
        limit_key: str | None,
        limit: RateLimit | None,
    ) -> None:
        key = limit_key or channel_id
        place = self._limiter.reserve(key, limit, self._clock.monotonic())
        if place.delay <= 0:
            return
        try:
            await self._clock.sleep(place.delay)
            if not breaker.is_current(permit):
                raise CircuitOpenError(channel_id)
        except BaseException:
            self._limiter.give_back(place)
            raise


def _is_about_the_message(error: Exception) -> bool:
    """Whether the other side works, but will not take this message to this recipient: no reason to
    keep others from their messages."""
    if isinstance(error, NoRecipientError):
        return True
    if not isinstance(error, ProviderDeliveryError) or error.retryable or error.result is None:
        return False
    return error.result.status_code not in (401, 402, 403, 407)
