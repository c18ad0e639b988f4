"""Sound of a call as packets: G87, G138, G139, G151, G160."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from salon.media import Samples
from salon.media.frame import FRAME_SAMPLES
from salon.media.packet_codec import PacketEncoder
from salon.media.packet_codecs import L16PacketEncoder, make_packet_decoder, make_packet_encoder
from salon.media.telephone_event import telephone_event_packets
from salon.testing import VirtualClock, scripted_engine, silence, tone, virtual_time
from salon.transport.packets import MediaPacket, PacketTrack, PayloadFormat
from salon.transport.ticker import Ticker
from salon.voice import packet_leg
from salon.voice.events import Dtmf, MediaEvent
from salon.voice.packet_leg import LOSS_PERIOD, TAIL_FRAMES, PacketLeg
from salon.voice.playback import Playback
from salon.voice.session import MediaSession
from salon.voice.speaking import Mix, Speech, SpeechTrack

L16 = PayloadFormat(96, "L16", 16_000)
PCMU = PayloadFormat(0, "PCMU", 8_000)
G722 = PayloadFormat(9, "G722", 8_000)
OPUS = PayloadFormat(111, "opus", 48_000, 2, {"useinbandfec": "1"})
KEYS = PayloadFormat(126, "telephone-event", 8_000)


class Track(PacketTrack):
    """Keeps what is sent and says how much of it is missed."""

    kind = "audio"

    def __init__(self, *formats: PayloadFormat) -> None:
        self.formats = formats or (L16, KEYS)
        self.sending = True
        self.on_packet: Callable[[MediaPacket], None] = lambda _packet: None
        self.missed = 0.0
        self.payloads: list[bytes] = []
        self.types: list[int] = []
        self.timestamps: list[int] = []
        self.markers: list[bool] = []

    @property
    def remote_lost(self) -> float:
        return self.missed

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        self.payloads.append(payload)
        self.types.append(payload_type)
        self.timestamps.append(timestamp)
        self.markers.append(marker)


class Hand(Ticker):
    """A ticker that the test turns."""

    def turn(self, ticks: int = 1) -> None:
        for number in range(ticks):
            self._run_one(number)


@dataclass
class Line:
    """An open leg on a track, and what comes out of it; the test turns time."""

    leg: PacketLeg
    track: Track
    clock: VirtualClock
    pull: Callable[[], None]
    heard: list[Samples] = field(default_factory=list)
    events: list[MediaEvent] = field(default_factory=list)
    sequence: int = 0

    def packet(
        self,
        payload: bytes,
        payload_type: int = 96,
        *,
        timestamp: int | None = None,
        ssrc: int = 5,
        marker: bool = False,
    ) -> None:
        at = self.sequence * FRAME_SAMPLES if timestamp is None else timestamp
        now = self.clock.monotonic()
        self.track.on_packet(
            MediaPacket(payload, payload_type, self.sequence, at, marker, now, ssrc)
        )
        self.sequence += 1

    def tick(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            self.clock.advance(0.02)
            self.pull()

    def say(self, ms: int, *, level: float = 0.3, ssrc: int = 5) -> None:
        for frame in tone(ms, level=level).reshape(-1, FRAME_SAMPLES):
            self.packet(frame.tobytes(), ssrc=ssrc)
            self.tick()

    @property
    def sound(self) -> Samples:
        return np.concatenate(self.heard) if self.heard else np.zeros(0, np.int16)


def opened(*formats: PayloadFormat) -> Line:
    clock = VirtualClock()
    ticker = Ticker()
    pulls: list[Any] = []
    handle_of = ticker.add

    def add(tick: Any, **options: Any) -> Any:
        pulls.append(tick)
        return handle_of(tick, **options)

    ticker.add = add  # type: ignore[method-assign]
    leg = PacketLeg(ticker, clock)
    track = Track(*formats)
    line = Line(leg, track, clock, lambda: pulls[0](0))
    leg.attach(track)
    leg.open(line.heard.append, line.events.append)
    return line


def loudness(samples: Samples) -> float:
    return float(np.abs(samples.astype(float)).mean()) if len(samples) else 0.0
