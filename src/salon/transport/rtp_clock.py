"""Timestamps of an outgoing track (G139)."""

from __future__ import annotations

_GAP = 0.05


class OutgoingClock:
    """Counts RTP time for packets sent by a ticker, and turns pauses into time.

    Packets in step count by their length, not by the moment they are sent, so the ticker's own
    unevenness never shows at the receiver. After more than 50 ms without a packet the clock jumps
    by the time that passed and the marker begins a new stretch of sound, as it does on the first
    packet (RFC 3551, 4.1).
    """

    __slots__ = ("_clock_rate", "_last", "_next", "_timestamp")

    def __init__(self, clock_rate: int, *, start: int = 0) -> None:
        self._clock_rate = clock_rate
        self._timestamp = start & 0xFFFFFFFF
        self._next = self._timestamp
        self._last: float | None = None

    def next(self, clock_units: int, now: float) -> tuple[int, bool]:
        """Timestamp and marker of a packet of `clock_units` sent at monotonic `now` (seconds)."""
        last = self._last
        marker = last is None
        timestamp = self._next
        if last is not None and now - last > _GAP:
            marker = True
            passed = self._timestamp + round((now - last) * self._clock_rate)
            # a packet longer than the pause still takes its own time
            length = (timestamp - self._timestamp) & 0xFFFFFFFF
            timestamp = max(passed, self._timestamp + length) & 0xFFFFFFFF
        self._last = now
        self._timestamp = timestamp
        self._next = (timestamp + clock_units) & 0xFFFFFFFF
        return timestamp, marker
