"""A bounded histogram of how late something came."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS_MS: Final = (
    0.5,
    1.0,
    2.0,
    3.0,
    5.0,
    7.5,
    10.0,
    15.0,
    20.0,
    30.0,
    50.0,
    100.0,
    250.0,
    1000.0,
)
"""Upper bounds of the buckets in milliseconds; one more bucket has none."""


class LatenessHistogram:
    """Counts per bucket of `BOUNDS_MS`; takes the same memory for ever."""

    __slots__ = ("counts", "max_ms", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.total = 0
        self.max_ms = 0.0

    def add(self, lateness_ms: float) -> None:
        """Count one; negative means early and counts as in time."""
        self.counts[bisect_left(BOUNDS_MS, lateness_ms)] += 1
        self.total += 1
        if lateness_ms > self.max_ms:
            self.max_ms = lateness_ms

    def quantile(self, q: float) -> float:
        """Upper bound of the bucket that holds the q-quantile, never above the maximum; 0.0 while
        empty."""
        if not 0 < q <= 1:
            raise ValueError(f"a quantile lies within (0, 1], not {q}")
        rank, seen = q * self.total, 0
        for bound, count in zip(BOUNDS_MS, self.counts, strict=False):
            seen += count
            if seen >= rank:
                return min(bound, self.max_ms)
        return self.max_ms
