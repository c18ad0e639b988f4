"""Voice backends over real networks: RTP through a bad one, WebSockets behind real servers."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from tests.unit.voice.backends.hearing import chunk, frequency
from websockets.asyncio.client import ClientConnection, connect

from salon.media import AudioFrame
from salon.testing import Impairment, tone
from salon.testing.contracts.voice_backend import until
from salon.testing.network import Address, ImpairedPath
from salon.transport.sockets import SocketHandler, UpgradeRequest
from salon.transport.upgrade import media_protocol
from salon.voice.backends import (
    RTPVoiceBackend,
    VoiceSession,
    VoiceSessionState,
    WebSocketVoiceBackend,
)
from salon.voice.backends.wire import SLOW

# -- RTP -------------------------------------------------------------------------------------------


class Relay(asyncio.DatagramProtocol):
    """One direction of a bad network."""

    def __init__(self, to: Address, how: Impairment) -> None:
        self.path = ImpairedPath(self._send, how, "rtp")
        self._to = to
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> Address:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        host, port = self._transport.get_extra_info("sockname")
        return host, port

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.path.push(data)

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data, self._to)

    def close(self) -> None:
        self.path.close()
        if self._transport is not None:
            self._transport.close()


MOST_TRIES = 4
STALL_S = 0.03
"""What the frames that are held back hide."""


async def carried(how: Impairment, **codec: Any) -> tuple[list[AudioFrame], int, int]:
    """4 s of a tone through a bad network: what was heard, packets lost, frames concealed."""
    one, other = RTPVoiceBackend(rtcp="off", **codec), RTPVoiceBackend(rtcp="off", **codec)
    frames: list[AudioFrame] = []
    one.on_audio_received(lambda _session, frame: frames.append(frame))
    first = await one.connect("room", "ann", "voice")
    relay = Relay(first.metadata["local_addr"], how)
    try:
        second = await other.connect(
            "room", "bob", "voice", metadata={"remote_addr": await relay.open()}
        )
        await other.send_audio(second, chunk(440, 4000).data)
        await until(lambda: other.statistics(second).packets.packets_sent >= 195, 30)
        figures = one.packets_lost(first), one.concealed_frames(first)
        async with asyncio.timeout(30):
            await other.wait_playback(second)
        await asyncio.sleep(0.3)
    finally:
        relay.close()
        await one.close()
        await other.close()
    return frames, *figures


async def carried_steadily(how: Impairment, **codec: Any) -> tuple[list[AudioFrame], int, int]:
    """`carried`, tried again where this machine stalled meanwhile: that is another network."""
    loop = asyncio.get_running_loop()
    late = 0.0

    async def watch() -> None:
        nonlocal late
        while True:
            due = loop.time() + 0.01
            await asyncio.sleep(0.01)
            late = max(late, loop.time() - due)

    for _ in range(MOST_TRIES):
        late = 0.0
        watching = asyncio.create_task(watch())
        try:
            found = await carried(how, **codec)
        finally:
            watching.cancel()
        if late < STALL_S:
            break
        print(f"a stall of {1000 * late:.0f} ms")
    return found


def loud(frames: list[AudioFrame]) -> list[int]:
    return [i for i, frame in enumerate(frames) if np.abs(frame.samples.astype(int)).max() > 500]


@pytest.mark.parametrize(
    "codec", [{}, {"payload_type": 111, "clock_rate": 48_000}], ids=["PCMU", "opus"]
)
async def test_V26_jitter_and_reordering_within_the_window_lose_nothing(codec: Any) -> None:
    how = Impairment(delay_ms=20, jitter_ms=15, reorder=0.02, reorder_ms=25, duplicate=0.02)
    frames, lost, concealed = await carried_steadily(how, **codec)
    assert lost <= 2
    assert concealed <= 12  # until the jitter is known
    heard = np.concatenate([frame.samples for frame in frames[60:120]])
    assert frequency(heard, 16_000) == pytest.approx(440, abs=10)


@pytest.mark.parametrize(
    "codec", [{}, {"payload_type": 111, "clock_rate": 48_000}], ids=["PCMU", "opus"]
)
async def test_V29_V32_V33_loss_is_replaced_counted_and_marked(codec: Any) -> None:
    frames, lost, concealed = await carried_steadily(Impairment(loss=0.1), **codec)
    assert 8 <= lost <= 40  # of 200
    assert concealed >= lost * 0.5
    assert sum("concealed" in frame.metadata for frame in frames) >= lost * 0.5
    spoken = loud(frames)
    assert 185 <= spoken[-1] - spoken[0] + 1 <= 215  # the time line is kept


# -- WebSockets ------------------------------------------------------------------------------------


class Service:
    """An application that takes voice over WebSockets, as users write them."""

    def __init__(self, **settings: Any) -> None:
        self.backend = WebSocketVoiceBackend(**settings)
        self.sessions: list[VoiceSession] = []
        self.frames: list[AudioFrame] = []
        self.gone: list[str] = []
        self.backend.on_audio_received(lambda _session, frame: self.frames.append(frame))
        self.backend.on_client_disconnected(lambda session: self.gone.append(session.id))
        self.app = FastAPI()
        self.url = ""

        @self.app.websocket("/voice")
        async def voice(websocket: WebSocket) -> None:
            await websocket.accept()
            session = await self.backend.connect("room", "ann", "voice")
            self.sessions.append(session)
            await self.backend.serve(websocket, session)


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(service.app, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        service.url = f"ws://127.0.0.1:{listener.getsockname()[1]}/voice"
        try:
            await until(lambda: server.started, 30)
            yield
        finally:
            await service.backend.close()
            server.should_exit = True
            await task


async def converse(service: Any, client: ClientConnection) -> None:
    """Sound and control, both ways."""
    await client.send(json.dumps({"type": "start"}))
    ready = json.loads(await client.recv())
    assert (ready["type"], ready["session_id"]) == ("ready", service.sessions[0].id)
    for _ in range(10):
        await client.send(tone(20).tobytes())
    await until(lambda: len(service.frames) >= 10, 30)
    session = service.sessions[0]
    await service.backend.send_audio(session, chunk(500, 3000).data)
    heard = b""
    while len(heard) < 6400:
        message = await client.recv()
        assert isinstance(message, bytes)
        heard += message
    service.backend.interrupt(session)
    async with asyncio.timeout(30):
        while True:
            message = await client.recv()
            if isinstance(message, str):
                break
    assert json.loads(message) == {"type": "clear"}
    samples = np.frombuffer(heard[1280:], "<i2")
    assert frequency(samples, 16_000) == pytest.approx(500, abs=15)


async def test_a_route_of_fastapi_carries_a_conversation() -> None:
    service = Service()
    async with running(service):
        async with connect(service.url) as client:
            await converse(service, client)
        await until(lambda: service.gone == [service.sessions[0].id], 30)
        await until(lambda: service.sessions[0].state is VoiceSessionState.ENDED, 30)


async def test_our_own_server_carries_the_same_conversation() -> None:
    class Own:
        def __init__(self) -> None:
            self.backend = WebSocketVoiceBackend()
            self.sessions: list[VoiceSession] = []
            self.frames: list[AudioFrame] = []
            self.backend.on_audio_received(lambda _session, frame: self.frames.append(frame))

        def accept(self, request: UpgradeRequest) -> SocketHandler | None:
            return self.backend.handler(self.sessions[0]) if request.path == "/voice" else None

    service = Own()
    service.sessions.append(await service.backend.connect("room", "ann", "voice"))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(media_protocol(service.accept), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with connect(f"ws://127.0.0.1:{port}/voice") as client:
            await converse(service, client)
        await until(lambda: service.sessions[0].state is VoiceSessionState.ENDED, 30)
    finally:
        await service.backend.close()
        server.close()


async def test_a_client_that_stops_reading_is_sent_away() -> None:
    service = Service(send_timeout=1.0, max_waiting=50)
    async with running(service):
        async with connect(
            service.url, max_queue=1, ping_interval=None, compression=None
        ) as client:
            await client.send(json.dumps({"type": "start", "output_sample_rate": 48_000}))
            await until(lambda: bool(service.sessions), 30)
            session = service.sessions[0]
            client.transport.pause_reading()
            sending = asyncio.create_task(flood(service, session))
            await until(lambda: session.state is VoiceSessionState.ENDED, 30)
            sending.cancel()
        assert session.metadata["ended_reason"] == SLOW
        await until(lambda: service.gone == [session.id], 30)


async def flood(service: Service, session: VoiceSession) -> None:
    """Text enough to fill every buffer on the way."""
    while session.state is not VoiceSessionState.ENDED:
        await service.backend.send_transcription(session, "x" * 60_000)
        await asyncio.sleep(0.005)
