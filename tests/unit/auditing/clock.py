"""A clock that is moved by hand."""

from __future__ import annotations

from salon.base import Clock


class HandClock(Clock):
    def __init__(self) -> None:
        self.at = 1000.0

    def time(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
