"""Trying again (R191, R192): which errors, how often, after how long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from salon.base import SYSTEM_CLOCK, Clock
from salon.models import RetryPolicy

T = TypeVar("T")


def retry_delay(policy: RetryPolicy, retry: int) -> float:
    """Seconds before retry number `retry`, the first being 0 (R191)."""
    try:
        delay = policy.base_delay_seconds * policy.exponential_base**retry
    except OverflowError:
        return policy.max_delay_seconds
    return min(delay, policy.max_delay_seconds)


def is_retryable(error: BaseException, policy: RetryPolicy) -> bool:
    """Whether trying again may help (R192).

    The error's own boolean `retryable` decides. One without it is retried, unless the policy names
    the retryable errors and neither its class nor a base class is among them. What is not an
    `Exception` (cancellation, exit) never is.
    """
    if not isinstance(error, Exception):
        return False
    own = getattr(error, "retryable", None)
    if isinstance(own, bool):
        return own
    names = policy.retryable_errors
    return names is None or any(kind.__name__ in names for kind in type(error).__mro__)


@dataclass(slots=True)
class RetrySchedule:
    """One operation under a policy, None meaning no retry. No clock: it says how long to wait."""

    policy: RetryPolicy | None
    retries: int = 0

    def failed(self, error: BaseException) -> float | None:
        """An attempt failed: seconds until the next one, or None to give up."""
        policy = self.policy
        if policy is None or self.retries >= policy.max_retries or not is_retryable(error, policy):
            return None
        delay = retry_delay(policy, self.retries)
        self.retries += 1
        return delay


async def call_with_retry(
    policy: RetryPolicy | None,
    operation: Callable[[], Awaitable[T]],
    *,
    clock: Clock = SYSTEM_CLOCK,
    on_retry: Callable[[Exception, int, float], None] = lambda *_: None,
) -> T:
    """The result of `operation`, tried up to ``1 + max_retries`` times.

    Raises what the last attempt raised. `on_retry` hears ``(error, number of the retry from 1,
    delay in seconds)`` before each wait. Each attempt's timeout is `operation`'s own affair.
    """
    schedule = RetrySchedule(policy)
    while True:
        try:
            return await operation()
        except Exception as error:
            delay = schedule.failed(error)
            if delay is None:
                raise
            on_retry(error, schedule.retries, delay)
        await clock.sleep(delay)
