"""The sound of a call over WebRTC at the client: one packet every 20 ms out, a jitter buffer in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from salon.base import Clock
from salon.clients.call.errors import ClientError
from salon.clients.call.pace import Beat
from salon.media.errors import MediaError
from salon.media.frame import FRAME_BYTES, FRAME_SAMPLES, SAMPLE_RATE, Samples
from salon.media.packet_codecs import make_packet_decoder, make_packet_encoder
from salon.media.playout import Playout, PlayoutStatistics
from salon.media.telephone_event import telephone_event_packets
from salon.transport.packets import MediaPacket, PayloadFormat
from salon.transport.rtp_clock import OutgoingClock

_log = logging.getLogger("salon.clients.call")

PRESS_MS: Final = 100
PAUSE_MS: Final = 80
"""Between two keys."""
AUDIBLE: Final = 33
"""Peak of a frame above which it is sound: -60 dBFS."""
TAIL_FRAMES: Final = 10
"""Silence kept behind sound, 200 ms: shorter pauses stay as they are, longer ones count as none."""


class SendPacket(Protocol):
    """Sends one payload at once; `timestamp` counts from any start."""

    def __call__(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None: ...


class PacketSound:
    """Encodes what is said, sends keys, and gives out what is heard, 20 ms at a time.

    `heard` gets little-endian ``int16[320]`` as bytes (16 kHz, mono), for as long as there is sound
    and 200 ms longer; servers that send silence all the time make no difference.
    """

    def __init__(
        self,
        codec: PayloadFormat,
        keys: PayloadFormat | None,
        send: SendPacket,
        heard: Callable[[bytes], None],
        *,
        clock: Clock,
    ) -> None:
        """`MissingExtraError` if the codec's library is not installed."""
        self.codec = codec
        self.keys = keys
        self._send = send
        self._heard = heard
        self._clock = clock
        self._encoder = make_packet_encoder(codec.encoding, codec.parameters)
        self._timing = OutgoingClock(codec.clock_rate)
        self._units = FRAME_SAMPLES * codec.clock_rate // SAMPLE_RATE
        self._playout = Playout(make_packet_decoder(codec.encoding, codec.clock_rate))
        self._ssrc: int | None = None
        self._pressing = False
        self._keyboard = asyncio.Lock()
        self._tail = 0
        self.unsent = 0
        """Frames that gave way to a key."""

    # -- out --------------------------------------------------------------------------------------

    def speak(self, frame: bytes) -> None:
        """Send 20 ms: little-endian ``int16[320]`` as bytes. While a key is pressed it stays out,
        and its time passes."""
        if len(frame) != FRAME_BYTES:
            raise ValueError(f"a frame has {FRAME_BYTES} bytes, not {len(frame)}")
        timestamp, marker = self._timing.next(self._units, self._clock.monotonic())
        if self._pressing:
            self.unsent += 1
            return
        payload = self._encoder.encode(np.frombuffer(frame, "<i2").astype(np.int16, copy=False))
        if payload:
            self._send(payload, self.codec.payload_type, timestamp, marker=marker)

    async def press(self, keys: str) -> None:
        """Press these keys one after another (RFC 4733), 100 ms each; returns when the last is
        released. `ClientError` if no telephone events were agreed on, `ValueError` for what is no
        key, before anything is sent."""
        events = self.keys
        if events is None:
            raise ClientError("the server takes no key presses (telephone-event) in this call")
        presses = [
            tuple(telephone_event_packets(key, PRESS_MS, clock_rate=events.clock_rate))
            for key in keys
        ]
        async with self._keyboard:
            beat = Beat(self._clock)
            for packets in presses:
                self._pressing = True
                try:
                    await self._press(events, packets, beat)
                finally:
                    self._pressing = False
                for _ in range(PAUSE_MS // 20):
                    await beat.next()

    async def _press(
        self, events: PayloadFormat, packets: tuple[tuple[bytes, bool, bool], ...], beat: Beat
    ) -> None:
        timestamp: int | None = None
        ended = False
        for payload, marker, end in packets:
            if not ended:  # the repeats of the end follow it at once
                await beat.next()
            ended = end
            if timestamp is None:
                now, _ = self._timing.next(0, self._clock.monotonic())
                timestamp = now * events.clock_rate // self.codec.clock_rate
            self._send(payload, events.payload_type, timestamp, marker=marker)

    # -- in ---------------------------------------------------------------------------------------

    def take(self, packet: MediaPacket) -> None:
        """A packet as it came."""
        if packet.payload_type != self.codec.payload_type:
            self._playout.skip(packet.sequence, packet.arrival)
            return
        if packet.ssrc != self._ssrc:
            if self._ssrc is not None:
                self._playout.reset()
            self._ssrc = packet.ssrc
        self._playout.insert(packet.payload, packet.sequence, packet.timestamp, packet.arrival)

    async def listen(self) -> None:
        """Give out 20 ms every 20 ms, until cancelled."""
        beat = Beat(self._clock)
        while True:
            await beat.next()
            await asyncio.sleep(0)  # who catches up after a stall reads first what came meanwhile
            self.pull()

    def pull(self) -> None:
        """What is to be heard now."""
        try:
            samples = self._playout.pull(self._clock.monotonic())
        except MediaError as error:
            _log.warning("received sound can't be decoded: %s", error)
            return
        if samples is None:
            self._tail = 0
            return
        self._tail = TAIL_FRAMES if _audible(samples) else max(-1, self._tail - 1)
        if self._tail >= 0:
            self._heard(samples.astype("<i2", copy=False).tobytes())

    def statistics(self) -> PlayoutStatistics:
        """Figures of the jitter buffer."""
        return self._playout.statistics()


def _audible(samples: Samples) -> bool:
    return int(samples.max()) > AUDIBLE or int(samples.min()) < -AUDIBLE
