"""Time comes in through a `Clock`, so that tests own it."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime


class Clock(ABC):
    """Wall clock for stamps, monotonic clock for timers, and a sleep that follows the latter."""

    @abstractmethod
    def time(self) -> float:
        """Seconds since the Unix epoch, UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait; cancellation wakes it at once."""

    def now(self) -> datetime:
        """The wall clock as an aware UTC datetime."""
        return datetime.fromtimestamp(self.time(), UTC)

    def now_ms(self) -> int:
        """The wall clock as integer milliseconds since the epoch (G4)."""
        return int(self.time() * 1000)


class SystemClock(Clock):
    """The machine's clocks."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
