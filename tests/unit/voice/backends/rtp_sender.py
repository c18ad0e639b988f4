"""The other side of an RTP session, packet by packet."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import numpy as np

from salon.media.frame import AudioFrame, Samples
from salon.media.g711 import encode_ulaw
from salon.media.telephone_event import telephone_event_packets
from salon.testing import VirtualClock, tone
from salon.transport.packets import MediaPacket
from salon.transport.rtp import build_rtp, is_rtcp, parse_rtp
from salon.voice.backends import RTPVoiceBackend, VoiceSession

Address = tuple[str, int]
SSRC = 0x1234
TONE: Samples = tone(4000)[::2]
"""4 s at 8 kHz, of 880 Hz."""


class Sender:
    """A UDP socket on loopback that says 20 ms of a tone at a time."""

    def __init__(self, to: Address, *, ssrc: int = SSRC, host: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.to = to
        self.ssrc = ssrc

    @property
    def address(self) -> Address:
        host, port = self.socket.getsockname()
        return host, port

    def raw(self, data: bytes) -> None:
        self.socket.sendto(data, self.to)

    def sound(self, number: int, *, at: int | None = None, payload_type: int = 0) -> None:
        """Packet `number`, with the sound of frame `at`."""
        at = number if at is None else at
        frame = TONE[at % 190 * 160 : at % 190 * 160 + 160]
        self.raw(build_rtp(payload_type, number, at * 160, self.ssrc, encode_ulaw(frame)))

    def key(self, number: int, at: int, digit: str) -> int:
        """A key press from packet `number` on; how many packets it took."""
        packets = list(telephone_event_packets(digit, 60))
        for index, (payload, marker, _end) in enumerate(packets):
            self.raw(build_rtp(101, number + index, at * 160, self.ssrc, payload, marker))
        return len(packets)

    def received(self) -> list[MediaPacket]:
        """What has come, without RTCP."""
        found: list[MediaPacket] = []
        while True:
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return found
            if not is_rtcp(data):
                found.append(parse_rtp(data, 0.0))

    def close(self) -> None:
        self.socket.close()


class Hearing:
    """A session of a backend in virtual time, and what it hears."""

    def __init__(self, **settings: Any) -> None:
        self.backend = RTPVoiceBackend(clock=VirtualClock(), rtcp="off", **settings)
        self.frames: list[AudioFrame] = []
        self.keys: list[str] = []
        self.backend.on_audio_received(lambda _session, frame: self.frames.append(frame))
        self.backend.on_dtmf_received(lambda _session, event: self.keys.append(event.digit))
        self.session: VoiceSession
        self.sender: Sender

    async def open(self, metadata: dict[str, Any] | None = None) -> Hearing:
        self.session = await self.backend.connect("room", "ann", "voice", metadata=metadata)
        self.sender = Sender(self.session.metadata["local_addr"])
        return self

    async def say(self, *numbers: int) -> None:
        """Packets 20 ms apart; a negative number is one that gets lost."""
        for number in numbers:
            if number >= 0:
                self.sender.sound(number)
            await asyncio.sleep(0.02)

    @property
    def levels(self) -> list[int]:
        """The loudest sample of each frame."""
        return [int(np.abs(frame.samples.astype(np.int32)).max()) for frame in self.frames]

    @property
    def concealed(self) -> list[int]:
        """Numbers of the frames that say they were made up."""
        return [i for i, frame in enumerate(self.frames) if frame.metadata.get("concealed")]

    async def close(self) -> None:
        await self.backend.close()
        self.sender.close()
