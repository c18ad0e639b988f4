"""The call server of the tests with sound over WebRTC: the answering side is that of the server."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.unit.clients.server import Peer

from salon.media import FRAME_SAMPLES, sine
from salon.media.packet_codecs import make_packet_encoder
from salon.media.telephone_event import TelephoneEventReceiver
from salon.transport.aiortc_peer import AiortcPeer, Certificates
from salon.transport.answer import TELEPHONE_EVENT
from salon.transport.packets import MediaPacket, PayloadFormat, PeerOptions

REPLY_FRAMES = 5


class RtcServer:
    """A script for `serving`: answers each offer, notes packets and keys, replies to `tts` and
    `chat` with 100 ms of a tone."""

    def __init__(
        self, formats: tuple[str, ...] = PeerOptions().formats, *, tells_keys: bool = True
    ) -> None:
        self.options = PeerOptions(formats=formats)
        self.certificates = Certificates()
        self.tells_keys = tells_keys
        self.packets: list[MediaPacket] = []
        self.keys = ""
        self.rtc: AiortcPeer | None = None
        self.options_seen: dict[str, Any] = {}
        self._receiver = TelephoneEventReceiver()
        self._running: set[asyncio.Task[None]] = set()

    def __call__(self, peer: Peer, message: dict[str, Any]) -> None:
        command = message["command"]
        if command == "invite":
            self.options_seen = message["option"]
            self._run(self._answer(peer, message["option"]["offer"]))
        elif command in {"tts", "chat"}:
            peer.event("trackStart", playId="1")
            self.reply()
        elif command == "hangup":
            self._run(self._end(peer))

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, peer: Peer, offer: str) -> None:
        self.rtc = rtc = AiortcPeer(self.options, self.certificates)
        sdp = await rtc.answer(offer)
        formats = {one.payload_type: one for one in rtc.tracks[0].formats}
        rtc.tracks[0].on_packet = lambda packet: self._take(peer, packet, formats)
        peer.event("answer", sdp=sdp)

    def _take(self, peer: Peer, packet: MediaPacket, formats: dict[int, PayloadFormat]) -> None:
        if formats[packet.payload_type].encoding != TELEPHONE_EVENT:
            self.packets.append(packet)
            return
        key = self._receiver.feed(packet.payload, packet.timestamp, packet.marker)
        if key is not None:
            self.keys += key
            if self.tells_keys:
                peer.event("dtmf", digit=key)

    def reply(self) -> None:
        """All at once, as a burst: the jitter buffer has to spread it."""
        assert self.rtc is not None
        track = self.rtc.tracks[0]
        codec = next(one for one in track.formats if one.encoding != TELEPHONE_EVENT)
        encoder = make_packet_encoder(codec.encoding, codec.parameters)
        units = codec.clock_rate // 50
        tone = sine(500, 0.02 * REPLY_FRAMES)
        for number in range(REPLY_FRAMES):
            frame = tone[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES]
            track.send(encoder.encode(frame), codec.payload_type, number * units)

    async def _end(self, peer: Peer) -> None:
        peer.event("hangup", reason="caller", initiator="caller")
        await self.close()
        peer.socket.close(1000)

    async def close(self) -> None:
        """Let go of the connection."""
        if self.rtc is not None:
            await self.rtc.close()
