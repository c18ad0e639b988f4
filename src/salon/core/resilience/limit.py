"""Rate limits (R193, R194): token buckets that know no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from salon.models import RateLimit

_SLACK: Final = 1e-9
"""Tokens: what rounding may take from a bucket that has waited exactly long enough."""


def rate_of(limit: RateLimit | None) -> float | None:
    """Messages per second: the first given of second, minute and hour; None is no limit."""
    if limit is None:
        return None
    per_time = ((limit.max_per_second, 1), (limit.max_per_minute, 60), (limit.max_per_hour, 3600))
    return next((most / seconds for most, seconds in per_time if most is not None), None)


class Reservation(NamedTuple):
    """A place in line: usable `delay` seconds from now. `bucket` None is no limit."""

    delay: float
    ticket: int = 0
    bucket: TokenBucket | None = None


@dataclass(slots=True, eq=False)
class TokenBucket:
    """`rate` tokens per second, kept up to `capacity`; it begins full.

    `reserve` lets the level go below zero: whoever comes next waits behind all who came before, and
    nothing is lost. `now` is always seconds on one monotonic clock.
    """

    rate: float
    capacity: float
    level: float
    updated_at: float
    last_ticket: int = 0
    abandoned: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, rate: float, now: float) -> TokenBucket:
        """A full bucket that holds one second of its rate, but one token at least (R193)."""
        capacity = max(1.0, rate)
        return cls(rate, capacity, capacity, now)

    def reserve(self, now: float) -> Reservation:
        """Take a token; it may be used after the reservation's delay."""
        self._fill(now)
        self.level -= 1
        self.last_ticket += 1
        return Reservation(max(0.0, -self.level / self.rate), self.last_ticket, self)

    def give_back(self, ticket: int) -> None:
        """A reserved token is not used. It is free again once nobody stands behind it in line:
        the others keep their times, so giving it away earlier would let two go at once."""
        self.abandoned.add(ticket)
        while self.last_ticket in self.abandoned:
            self.abandoned.remove(self.last_ticket)
            self.last_ticket -= 1
            self.level = min(self.capacity, self.level + 1)

    def try_take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._fill(now)
        if self.level < 1 - _SLACK:
            return False
        self.level = max(0.0, self.level - 1)
        return True

    def is_full(self, now: float) -> bool:
        """Whether forgetting the bucket would change nothing."""
        self._fill(now)
        return self.level >= self.capacity

    def change_rate(self, rate: float, now: float) -> None:
        """Go on with another rate; what is owed stays owed."""
        self._fill(now)
        self.rate, self.capacity = rate, max(1.0, rate)
        self.level = min(self.level, self.capacity)

    def _fill(self, now: float) -> None:
        if now > self.updated_at:
            passed = now - self.updated_at
            self.level = min(self.capacity, self.level + passed * self.rate)
            self.updated_at = now
        if self.level >= 0:
            self.abandoned.clear()  # their times have passed


class RateLimiter:
    """Buckets by key. Those that are full again are forgotten once there are `max_keys`, which
    changes nothing for their keys; all others are owed time and stay."""

    def __init__(self, max_keys: int = 1024) -> None:
        self._buckets: dict[str, TokenBucket] = {}
        self._max_keys = max_keys
        self._sweep_at = max_keys

    def __len__(self) -> int:
        return len(self._buckets)

    def reserve(self, key: str, limit: RateLimit | None, now: float) -> Reservation:
        """The place in line of an outbound message of `key`; it waits, never drops (R193)."""
        bucket = self._bucket(key, limit, now)
        return Reservation(0.0) if bucket is None else bucket.reserve(now)

    def give_back(self, reservation: Reservation) -> None:
        """The message was not sent."""
        if reservation.bucket is not None:
            reservation.bucket.give_back(reservation.ticket)

    def try_take(self, key: str, limit: RateLimit | None, now: float) -> bool:
        """Whether an inbound message of `key` may pass; False drops it as `rate_limited` (R194)."""
        bucket = self._bucket(key, limit, now)
        return bucket is None or bucket.try_take(now)

    def _bucket(self, key: str, limit: RateLimit | None, now: float) -> TokenBucket | None:
        rate = rate_of(limit)
        if rate is None:
            return None
        bucket = self._buckets.get(key)
        if bucket is None:
            self._sweep(now)
            bucket = self._buckets[key] = TokenBucket.of(rate, now)
        elif bucket.rate != rate:
            bucket.change_rate(rate, now)
        return bucket

    def _sweep(self, now: float) -> None:
        """Forget what is full, at most once per doubling of what could not be forgotten."""
        if len(self._buckets) < self._sweep_at:
            return
        self._buckets = {key: item for key, item in self._buckets.items() if not item.is_full(now)}
        self._sweep_at = max(self._max_keys, 2 * len(self._buckets))
