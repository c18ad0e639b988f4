"""Key presses as RTP telephone events (RFC 4733; G151, G160), without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from struct import Struct

DIGITS = "0123456789*#ABCD"
"""By event code."""

_EVENT = Struct("!BBH")
_END = 0x80
_MAX_DURATION = 0xFFFF
_REMEMBERED = 16
_STEP_MS = 20
_END_PACKETS = 3


class TelephoneEventReceiver:
    """Tells each press of a key once, at the first of its packets that arrives.

    A press is known by its event code and RTP timestamp, so lost, repeated and reordered packets
    make no difference. Packets of one key whose times overlap belong to one press as well: a long
    press is cut into events of 65535 units (RFC 4733, 2.5.1.3), and some senders move the
    timestamp with every packet.
    """

    def __init__(self) -> None:
        self.malformed = 0
        """Payloads shorter than 4 bytes."""
        self.ignored = 0
        """Packets of events that are not keys."""
        self._known: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._event = -1
        self._timestamp = 0
        self._duration = 0
        self._ended = False

    def feed(self, payload: bytes, timestamp: int, marker: bool) -> str | None:
        """Take one packet; the key if it begins a press (``0`` to ``9``, ``*``, ``#``, ``A`` to
        ``D``), else None. `timestamp` is that of the RTP packet."""
        if len(payload) < 4:
            self.malformed += 1
            return None
        event, flags, duration = _EVENT.unpack_from(payload)
        if event >= len(DIGITS):
            self.ignored += 1
            return None
        ended = flags >= _END
        press = (event, timestamp)
        if press in self._known:
            if event == self._event and timestamp == self._timestamp:
                self._duration = max(self._duration, duration)
                self._ended = self._ended or ended
            return None
        self._known.append(press)
        continued = not marker and event == self._event and self._continues(timestamp, duration)
        ahead = (timestamp - self._timestamp) & 0xFFFFFFFF < 0x80000000
        if ahead or self._event < 0:
            self._event, self._timestamp = event, timestamp
            self._duration, self._ended = duration, ended
        return None if continued else DIGITS[event]

    def _continues(self, timestamp: int, duration: int) -> bool:
        """Whether an event overlaps the latest press of the same key, or goes on where it was."""
        later = (timestamp - self._timestamp) & 0xFFFFFFFF
        if later < 0x80000000:
            if later < self._duration:
                return True
            return not self._ended and later in (self._duration, _MAX_DURATION)
        return 0x100000000 - later <= duration


def telephone_event_packets(
    digit: str, duration_ms: int, *, clock_rate: int = 8000, volume: int = 10
) -> Iterator[tuple[bytes, bool, bool]]:
    """(payload, marker, end) of each packet of one press, to be sent 20 ms apart.

    All of them carry the RTP timestamp at which the press began. The end comes three times; the
    repeats may follow at once. `volume` is in -dBm0, 0 to 63. `ValueError` for an unknown digit,
    a volume out of range, or a duration that is not above zero or beyond 65535 clock units.
    """
    event = DIGITS.find(digit.upper()) if len(digit) == 1 else -1
    if event < 0:
        raise ValueError(f"{digit!r} is no telephone key; one of {DIGITS} is")
    if not 0 <= volume <= 63:
        raise ValueError(f"volume is {volume}; 0 to 63 (-dBm0) is allowed")
    total = duration_ms * clock_rate // 1000
    if not 0 < total <= _MAX_DURATION:
        raise ValueError(
            f"a press of {duration_ms} ms is {total} units of {clock_rate} Hz;"
            f" 1 to {_MAX_DURATION} are allowed"
        )
    return _packets(event, volume, total, max(1, clock_rate * _STEP_MS // 1000))


def _packets(event: int, volume: int, total: int, step: int) -> Iterator[tuple[bytes, bool, bool]]:
    marker = True
    for duration in range(step, total, step):
        yield _EVENT.pack(event, volume, duration), marker, False
        marker = False
    for _ in range(_END_PACKETS):
        yield _EVENT.pack(event, volume | _END, total), marker, True
        marker = False
