"""A carrier in the test's hands: events on the socket, sound where the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from salon.base import SalonError
from salon.gateway import (
    SOCKET_ENDPOINTS,
    CallOption,
    Command,
    Endpoint,
    EventBus,
    EventTransport,
    Gateway,
    Session,
    SessionServices,
    parse_command,
)
from salon.gateway.sounds import SoundLoader
from salon.media.frame import Samples
from salon.testing import CallPair
from salon.transport.sockets import MediaSocket, Refusal
from salon.voice.engine import VoiceEngine
from salon.voice.leg import AudioLeg, Hear, Post
from salon.voice.session import MediaSession


class NoOfferError(SalonError):
    """What a scripted carrier raises."""

    code = "no_offer"


class ScriptedLeg(AudioLeg):
    """Keeps what is sent; the test talks through `hear`."""

    def __init__(self) -> None:
        self.sent: list[Samples] = []
        self.idled = 0
        self.closed = 0
        self.packets = 0
        self.hear: Hear | None = None
        self.post: Post | None = None

    def open(self, hear: Hear, post: Post) -> None:
        assert self.hear is None
        self.hear, self.post = hear, post

    def send(self, frame: Samples) -> None:
        self.sent.append(frame.copy())

    def idle(self) -> None:
        self.idled += 1

    def close(self) -> None:
        self.closed += 1

    @property
    def packets_in(self) -> int:
        return self.packets


class ScriptedTransport(EventTransport):
    """`log` has what the session asked for, in order. Any of `fail` raises when it is reached;
    `gathering` holds the answer back."""

    call_type = "webrtc"

    def __init__(self, socket: MediaSocket, session: Session) -> None:
        super().__init__(socket, session)
        self.log: list[str] = []
        self.fail: dict[str, BaseException] = {}
        self.leg = ScriptedLeg()
        self.gathering = asyncio.Event()
        self.gathering.set()
        self.reoffers: list[str | None] = []
        self.names: list[str] = []

    def _reach(self, what: str) -> None:
        self.log.append(what)
        if what in self.fail:
            raise self.fail[what]

    def send_event(self, event: str) -> None:
        super().send_event(event)
        self.log.append(event.split('"event":"')[1].split('"')[0])

    async def answer(self, option: CallOption, media: MediaSession) -> str:
        self._reach("answering")
        try:
            await self.gathering.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.log.append("given up")
            raise
        media.use(self.leg)
        return f"answer to {option.offer}"

    def answered(self) -> None:
        self._reach("answered")

    async def reoffer(self, option: CallOption, media: MediaSession) -> str | None:
        self._reach("reoffer")
        return self.reoffers.pop(0) if self.reoffers else await super().reoffer(option, media)

    def add_candidate(self, candidate: str) -> None:
        self._reach(f"candidate {candidate}")

    def preparse(self, data: str) -> Command | None:
        self._reach("preparse")
        return parse_command(data, bare_offer=True) if '"sdp"' in data else None

    async def ended(self) -> None:
        self._reach("ended")
        await self.gathering.wait()


class Carried:
    """A gateway with a scripted carrier, a client, and the transport between them."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.call = CallPair.connect(gateway.acceptor, "/webrtc?id=call-1")
        session = gateway.get("call-1")
        assert session is not None
        assert isinstance(session.transport, ScriptedTransport)
        self.session = session
        self.transport = session.transport


@asynccontextmanager
async def carrying(engine: VoiceEngine, **services: Any) -> AsyncIterator[Carried]:
    made = Gateway(
        SessionServices(engine=engine, bus=EventBus(), sounds=SoundLoader(roots=()), **services),
        max_calls=10,
        endpoints={
            **SOCKET_ENDPOINTS,
            "/webrtc": Endpoint("webrtc", ScriptedTransport),
            "/call/webrtc": Refusal(503, "WebRTC needs the extra webrtc"),
        },
    )
    try:
        yield Carried(made)
    finally:
        await made.close()
