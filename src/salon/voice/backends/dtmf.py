"""Telephone keys beside the sound (RFC 4733)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from salon.base import Clock
from salon.media.frame import FRAME_MS
from salon.media.telephone_event import telephone_event_packets
from salon.transport.packets import MediaPacket, PacketTrack, PayloadFormat
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.dtmf.base import DTMFEvent

__all__ = ["EVENT", "MAX_WAITING", "DTMFEvent", "DTMFReceivedCallback", "KeyTrack"]

EVENT: Final = "telephone-event"
MAX_WAITING: Final = 64
"""Keys that may wait for their turn."""
_PAUSE_TICKS: Final = 4  # 80 ms between two keys

DTMFReceivedCallback = Callable[[VoiceSession, DTMFEvent], Any]


class KeyTrack(PacketTrack):
    """A track that knows when sound was sent last, so that keys fit into its time line.

    What `send` passes on belongs to one clock, that of `audio`. Keys take the place of sound: while
    `tick` says True nothing else may be sent.
    """

    def __init__(self, track: PacketTrack, clock: Clock) -> None:
        self.kind = track.kind
        self.formats = track.formats
        self.sending = track.sending
        self.on_packet: Callable[[MediaPacket], None] = _ignore
        self._track = track
        self._clock = clock
        self._audio = next(item for item in track.formats if item.encoding != EVENT)
        self._event = _event_format(track.formats, self._audio)
        self._last: tuple[int, float] | None = None
        self._waiting: deque[tuple[str, int]] = deque()
        self._packets: Iterator[tuple[bytes, bool, bool]] | None = None
        self._timestamp = 0
        self._pause = 0
        track.on_packet = self._packet

    def _packet(self, packet: MediaPacket) -> None:
        self.on_packet(packet)

    @property
    def remote_lost(self) -> float:
        return self._track.remote_lost

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        self._last = timestamp, self._clock.monotonic()
        self._track.send(payload, payload_type, timestamp, marker=marker)

    def press(self, digit: str, duration_ms: int) -> None:
        """Press a key once those that wait have been. `NotImplementedError` if the peer takes no
        telephone events, `ValueError` for what can't be pressed or too many at once."""
        event = self._event
        if event is None:
            raise NotImplementedError("the other side agreed to no telephone events")
        telephone_event_packets(digit, duration_ms, clock_rate=event.clock_rate)  # is it valid?
        if len(self._waiting) >= MAX_WAITING:
            raise ValueError(f"{MAX_WAITING} keys wait already")
        self._waiting.append((digit, duration_ms))

    @property
    def pressing(self) -> bool:
        """Keys are being sent, or wait for it."""
        return self._packets is not None or bool(self._waiting)

    def tick(self) -> bool:
        """Once per 20 ms: send what is due of a key; whether it took the place of sound."""
        event = self._event
        if event is None:
            return False
        if self._packets is None:
            if self._pause:
                self._pause -= 1
                return False
            if not self._waiting:
                return False
            digit, duration_ms = self._waiting.popleft()
            self._packets = telephone_event_packets(digit, duration_ms, clock_rate=event.clock_rate)
            self._timestamp = self._now() * event.clock_rate // self._audio.clock_rate
        for payload, marker, end in self._packets:
            self._track.send(payload, event.payload_type, self._timestamp, marker=marker)
            if not end:
                return True
        self._packets = None  # the repeats of the end went with it
        self._pause = _PAUSE_TICKS
        return True

    def _now(self) -> int:
        """RTP time of the sound that would be sent now."""
        if self._last is None:
            return 0
        timestamp, at = self._last
        rate = self._audio.clock_rate
        passed = round((self._clock.monotonic() - at) * rate)
        return (timestamp + max(passed, rate * FRAME_MS // 1000)) & 0xFFFFFFFF


def _event_format(formats: tuple[PayloadFormat, ...], audio: PayloadFormat) -> PayloadFormat | None:
    """Telephone events, on the clock of the sound if there are such."""
    events = [item for item in formats if item.encoding == EVENT]
    fitting = [item for item in events if item.clock_rate == audio.clock_rate]
    return next(iter(fitting or events), None)


def _ignore(_packet: MediaPacket) -> None:
    """Nobody listens yet."""
