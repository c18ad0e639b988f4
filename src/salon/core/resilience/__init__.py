"""What keeps a failing or limited channel from hurting the rest (chapter 19).

The parts know no clock and do no I/O: `RetrySchedule`, `CircuitBreaker`, `TokenBucket`.
`call_with_retry` and `DeliveryGuard` drive them.
"""

from salon.core.resilience.breaker import BreakerEdge, BreakerState, CallOutcome, CircuitBreaker
from salon.core.resilience.guard import CircuitOpenError, DeliveryGuard
from salon.core.resilience.limit import RateLimiter, Reservation, TokenBucket, rate_of
from salon.core.resilience.retry import (
    RetrySchedule,
    call_with_retry,
    is_retryable,
    retry_delay,
)
from salon.models import RateLimit, RetryPolicy

__all__ = [
    "BreakerEdge",
    "BreakerState",
    "CallOutcome",
    "CircuitBreaker",
    "CircuitOpenError",
    "DeliveryGuard",
    "RateLimit",
    "RateLimiter",
    "Reservation",
    "RetryPolicy",
    "RetrySchedule",
    "TokenBucket",
    "call_with_retry",
    "is_retryable",
    "rate_of",
    "retry_delay",
]
