"""Timestamps of an outgoing track (G139)."""

from __future__ import annotations

_GAP = 0.05


class OutgoingClock:
    """Counts RTP time for packets sent by a ticker, and turns pauses into time.

    Packets in step count by their length, not by the moment they are sent, so the ticker's own
    unevenness never shows at the receiver. After more than 50 ms without a packet the clock is set
    to the time since the first one and the marker begins a new stretch of sound, as it does on the
    first packet (RFC 3551, 4.1): a stretch whose first packet left before its tick is ahead by less
    than a packet, and the next one is not.
    """

    __slots__ = ("_began", "_clock_rate", "_last", "_next", "_start")

    def __init__(self, clock_rate: int, *, start: int = 0) -> None:
        self._clock_rate = clock_rate
        self._start = start
        self._next = 0
        self._began = 0.0
        self._last: float | None = None

    def next(self, clock_units: int, now: float) -> tuple[int, bool]:
        """Timestamp and marker of a packet of `clock_units` sent at monotonic `now` (seconds)."""
        last, self._last = self._last, now
        if last is None:
            self._began = now
        marker = last is None or now - last > _GAP
        units = self._next
        if marker:  # a packet longer than the pause still takes its own time
            units = max(units, round((now - self._began) * self._clock_rate))
        self._next = units + clock_units
        return (self._start + units) & 0xFFFFFFFF, marker
