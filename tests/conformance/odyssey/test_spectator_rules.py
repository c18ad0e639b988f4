"""Broadcasts and who watches them: O79-O85."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from tests.conformance.odyssey.scripted_signaling import within
from tests.conformance.odyssey.witness import LIMIT_S, Witness, connected

from salon.clients.odyssey import (
    BroadcastInfo,
    SpectatorConnection,
    VideoFrame,
    connect_to_stream,
)
from salon.clients.odyssey import spectator as spectator_module
from salon.testing.odyssey import HttpFault, OdysseyStandIn, read_stamp


@contextlib.asynccontextmanager
async def broadcasting(server: OdysseyStandIn) -> AsyncIterator[tuple[str, BroadcastInfo, Witness]]:
    """A stream that is broadcast: its id, where to watch it, and who runs it."""
    witness = Witness()
    async with connected(server, witness) as (client, _):
        stream_id = await client.start_stream("a dog", broadcast=True)
        [(info,)] = await witness.until("broadcast_ready")
        yield stream_id, info, witness


async def test_O79_a_broadcast_is_announced_once_after_the_start() -> None:
    async with OdysseyStandIn() as server, broadcasting(server) as (stream_id, info, witness):
        assert witness.names.index("stream_started") < witness.names.index("broadcast_ready")
        assert info.webrtc_url.endswith(stream_id)
        assert info.spectator_token
        assert info.spectator_token not in repr(info)
        assert len(witness.of("broadcast_ready")) == 1


async def test_O80_O81_a_spectator_sees_the_stream_without_a_key() -> None:
    shown: list[VideoFrame] = []
    gone: list[str] = []
    async with OdysseyStandIn() as server, broadcasting(server) as (stream_id, info, _):
        before = len(server.asked)
        connection = await connect_to_stream(
            info.webrtc_url, info.spectator_token, shown.append, lambda: gone.append("gone")
        )
        assert isinstance(connection, SpectatorConnection)
        assert connection.is_connected
        assert connection.peer_connection.state == "connected"
        assert server.asked[before:] == ["config", "whep.post"]
        frame = await within(anext(connection.frames()))
        stamp = read_stamp(frame.data)
        assert stamp is not None
        assert stamp.live
        assert shown
        assert server.spectators(stream_id) == 1
        await connection.disconnect()
        assert gone == ["gone"]
        assert server.asked[before:] == ["config", "whep.post", "whep.delete"]
        assert server.spectators(stream_id) == 0


@pytest.mark.parametrize("relative", [True, False])
async def test_O81_O84_the_location_may_be_relative(relative: bool) -> None:
    async with OdysseyStandIn() as server, broadcasting(server) as (stream_id, info, _):
        server.faults.relative_location = relative
        async with await connect_to_stream(info.webrtc_url, info.spectator_token):
            assert server.spectators(stream_id) == 1
        assert server.spectators(stream_id) == 0


async def test_O84_on_disconnected_fires_once() -> None:
    gone: list[str] = []
    async with OdysseyStandIn() as server, broadcasting(server) as (_, info, _):
        before = asyncio.all_tasks()

        async def say() -> None:
            gone.append("gone")

        connection = await connect_to_stream(
            info.webrtc_url, info.spectator_token, on_disconnected=say
        )
        await asyncio.gather(connection.disconnect(), connection.disconnect())
        await connection.disconnect()
        assert gone == ["gone"]
        assert not connection.is_connected
        names = {task.get_name() for task in asyncio.all_tasks() - before}
        assert not any("viewer" in name or "spectator:" in name[:18] for name in names), names


async def test_O84_the_end_of_the_broadcast_ends_watching() -> None:
    gone = asyncio.Event()
    async with OdysseyStandIn() as server:
        async with broadcasting(server) as (_, info, _):
            connection = await connect_to_stream(
                info.webrtc_url, info.spectator_token, on_disconnected=gone.set
            )
            frames = connection.frames()
            await within(anext(frames))
        async with asyncio.timeout(LIMIT_S):
            await gone.wait()
            async for _ in frames:
                pass
        assert not connection.is_connected
        asked = len(server.asked)
        await connection.disconnect()
        assert "whep.delete" not in server.asked[asked:]  # only while connected


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, ValueError, "Invalid spectator token"),
        (404, ConnectionError, "Stream not found"),
        (500, ConnectionError, "WHEP connection failed: 500"),
        (503, ConnectionError, "WHEP connection failed: 503"),
    ],
)
async def test_O83_refusals(status: int, kind: type[Exception], text: str) -> None:
    gone: list[str] = []
    async with OdysseyStandIn() as server, broadcasting(server) as (_, info, _):
        server.faults.http("whep.post", HttpFault(status=status, body="no"))
        with pytest.raises(kind) as raised:
            await connect_to_stream(
                info.webrtc_url, info.spectator_token, on_disconnected=lambda: gone.append("gone")
            )
        assert raised.value.args[0] == text
        assert gone == []


async def test_O83_a_wrong_token_and_an_unknown_stream() -> None:
    async with OdysseyStandIn() as server, broadcasting(server) as (_, info, _):
        with pytest.raises(ValueError, match="Invalid spectator token"):
            await connect_to_stream(info.webrtc_url, "wrong & token")
        with pytest.raises(ConnectionError, match="Stream not found"):
            await connect_to_stream(f"{server.url}/live/nothing", info.spectator_token)
        with pytest.raises(ValueError, match="not an http"):
            await connect_to_stream("file:///etc/passwd", "token")


@contextlib.asynccontextmanager
async def answering(
    post: Callable[[web.Request], Awaitable[web.Response]],
) -> AsyncIterator[str]:
    """A WHEP endpoint that answers as a test says; its address without ``/whep``."""
    application = web.Application()
    application.router.add_post("/live/a/whep", post)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/live/a"
    finally:
        await runner.cleanup()


async def test_O81_O82_O85_the_request_on_the_wire() -> None:
    asked: list[tuple[str, str, str]] = []

    async def post(request: web.Request) -> web.Response:
        asked.append((request.path_qs, request.content_type, await request.text()))
        return web.Response(status=404)

    async with answering(post) as url:
        with pytest.raises(ConnectionError, match="Stream not found"):
            await connect_to_stream(url, "a b&c")
    [(path, kind, offer)] = asked
    assert path == "/live/a/whep?token=a%20b%26c"
    assert kind == "application/sdp"
    sections = [line.split()[0] for line in offer.splitlines() if line.startswith("m=")]
    assert sections == ["m=video", "m=audio"]
    assert offer.count("a=recvonly") == 2
    assert "a=candidate:" in offer


async def test_O83_an_answer_that_is_none() -> None:
    async def post(request: web.Request) -> web.Response:
        return web.Response(status=201, text="hello")

    async with answering(post) as url:
        with pytest.raises(ValueError, match="WHEP answer can't be used"):
            await connect_to_stream(url, "t")


async def test_O83_no_ice_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiortc import RTCPeerConnection, RTCSessionDescription

    monkeypatch.setattr(spectator_module, "CONNECTED_S", 0.3)
    peers: list[RTCPeerConnection] = []

    async def post(request: web.Request) -> web.Response:
        peer = RTCPeerConnection()
        peers.append(peer)
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        await peer.close()  # nobody is there
        return web.Response(status=201, text=peer.localDescription.sdp)

    async with answering(post) as url:
        with pytest.raises(ConnectionError) as raised:
            await connect_to_stream(url, "t")
    assert raised.value.args[0] == "WebRTC connection timed out waiting for ICE"


async def test_a_throwing_frame_callback_of_a_spectator_is_told() -> None:
    errors: list[tuple[Exception, bool]] = []
    told = asyncio.Event()

    def throw(frame: VideoFrame) -> None:
        raise LookupError("mine")

    def on_error(error: Exception, fatal: bool) -> None:
        errors.append((error, fatal))
        told.set()

    async with OdysseyStandIn() as server, broadcasting(server) as (_, info, _):
        connection = await connect_to_stream(
            info.webrtc_url, info.spectator_token, throw, on_error=on_error
        )
        async with asyncio.timeout(LIMIT_S):
            await told.wait()
        await connection.disconnect()
    assert type(errors[0][0]) is LookupError
    assert errors[0][1] is False
