"""The handshake: A33, A34, A38 to A40, A92."""

from __future__ import annotations

import asyncio

import pytest
from tests.conformance.avatarkit.scripted_server import (
    CONNECTION,
    LIMIT,
    Script,
    ScriptedServer,
    Socket,
    Told,
    animation,
    confirm,
    make_session,
    scripted_server,
    server_error,
    soon,
    started,
    until_closed,
)

from salon.clients.avatarkit import AvatarSDKError, AvatarSession, LiveKitEgressConfig
from salon.clients.avatarkit.proto.generated import message_pb2 as pb


def answers(data: bytes | str) -> Script:
    async def first(socket: Socket) -> None:
        await socket.receive_bytes()
        await (socket.send_str(data) if isinstance(data, str) else socket.send_bytes(data))
        await until_closed(socket)

    return first


def closes(code: int, reason: bytes = b"") -> Script:
    async def first(socket: Socket) -> None:
        await socket.receive_bytes()
        await socket.close(code=code, message=reason)

    return first


async def fails(
    server: ScriptedServer, first: Script, *, told: Told, timeout: float = LIMIT
) -> tuple[AvatarSDKError, AvatarSession]:
    server.first = first
    session = make_session(server, handshake_timeout=timeout, **told.settings())
    await session.init()
    async with asyncio.timeout(LIMIT):
        with pytest.raises(AvatarSDKError) as caught:
            await session.start()
    return caught.value, session


async def test_A33_A39_the_first_message_and_the_id() -> None:
    async with scripted_server() as server:
        session = make_session(server, sample_rate=24_000, bitrate=32_000)
        await session.init()
        assert await session.start() == CONNECTION
        await session.close()
    [message] = server.received
    assert message.type == pb.MESSAGE_CLIENT_CONFIGURE_SESSION
    configure = message.client_configure_session
    assert (configure.sample_rate, configure.bitrate) == (24_000, 32_000)
    assert configure.egress_type == pb.EGRESS_TYPE_UNSPECIFIED
    assert not configure.HasField("livekit_egress")
    assert not configure.HasField("agora_egress")


async def test_A33_an_egress_block() -> None:
    async with scripted_server() as server:
        settings = LiveKitEgressConfig(url="ws://lk", api_token="t", idle_timeout=120)
        async with started(server, livekit_egress=settings):
            pass
    configure = server.received[0].client_configure_session
    assert configure.egress_type == pb.EGRESS_TYPE_LIVEKIT
    assert configure.livekit_egress.api_token == "t"
    assert configure.livekit_egress.idle_timeout == 120


HANDSHAKE = "Failed during websocket handshake: "
PROTOCOL_ROWS = [
    ("a text", f"{HANDSHAKE}expected binary protobuf message"),
    (b"\xff\xff\xff", f"{HANDSHAKE}invalid protobuf payload ("),
    (b"\x22\x05ab", f"{HANDSHAKE}invalid protobuf payload ("),
    (confirm(""), "Handshake succeeded but server_confirm_session.connection_id is empty"),
    (b"\x08\x02", "Handshake succeeded but server_confirm_session.connection_id is empty"),
    (animation(), "Unexpected message during handshake: type=5"),
    (b"\x08\x0a", "Unexpected message during handshake: type=10"),
    (b"\x08\xe7\x07", "Unexpected message during handshake: type=999"),
    (b"", "Unexpected message during handshake: type=0"),
]


@pytest.mark.parametrize(("data", "message"), PROTOCOL_ROWS)
async def test_A39_A40_T4_what_is_no_confirmation(data: bytes | str, message: str) -> None:
    told = Told()
    async with scripted_server() as server:
        error, session = await fails(server, answers(data), told=told)
        await soon(lambda: not server.open)
        assert error.code == "protocolError"
        assert error.phase == "websocket_handshake"
        assert error.message.startswith(message)
        assert message.endswith("(") or error.message == message
        server.first = None
        assert await session.start() == CONNECTION
        assert told.order == []
        await session.close()
    assert told.order == ["close"]


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (3, "livekit url is empty", "invalidEgressConfig"),
        (3, "expected ClientConfigureSession message", "invalidRequest"),
        (13, "expected ClientConfigureSession message", "protocolError"),
        (0, "unsupported sample rate: 12345", "unsupportedSampleRate"),
        (16, "failed to connect to room: unauthorized: invalid token", "invalidEgressConfig"),
        (400, "bad params", "serverError"),
    ],
)
async def test_A39_a_server_error(code: int, text: str, expected: str) -> None:
    told = Told()
    async with scripted_server() as server:
        error, session = await fails(
            server, answers(server_error(code, text, req_id="r-1")), told=told
        )
        assert not session.connected
    assert error.code == expected
    assert error.phase == "websocket_handshake"
    assert error.message == (f"WebSocket handshake rejected by server: {text} (server code {code})")
    assert (error.server_code, error.server_detail) == (str(code), text)
    assert (error.connection_id, error.req_id) == (CONNECTION, "r-1")
    assert told.order == []


async def test_A39_ids_that_the_server_left_empty() -> None:
    async with scripted_server() as server:
        error, _ = await fails(
            server, answers(server_error(13, "x", connection_id="")), told=Told()
        )
    assert (error.connection_id, error.req_id) == (None, None)


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "away"), (1011, "broken"), (4001, ""), (4010, "no")]
)
async def test_A39_a_socket_that_is_closed(code: int, reason: str) -> None:
    told = Told()
    async with scripted_server() as server:
        error, session = await fails(server, closes(code, reason.encode()), told=told)
        assert error.code == "connectionClosed"
        assert error.phase == "websocket_handshake"
        assert (error.close_code, error.close_reason) == (code, reason)
        server.first = None
        await session.start()
        await session.close()
    assert told.order == ["close"]


async def test_A39_a_connection_that_breaks() -> None:
    told = Told()

    async def first(socket: Socket) -> None:
        request = server.upgrades[-1]
        assert request.transport is not None
        request.transport.abort()

    async with scripted_server() as server:
        error, _ = await fails(server, first, told=told)
    assert (error.code, error.close_code) == ("connectionClosed", None)
    assert told.order == []


async def test_A38_A40_a_server_that_says_nothing() -> None:
    told = Told()
    async with scripted_server() as server:
        error, session = await fails(server, until_closed, told=told, timeout=0.05)
        await soon(lambda: not server.open)
        assert (error.code, error.phase) == ("connectionFailed", "websocket_handshake")
        server.first = None
        await session.start()
        await session.close()
    assert told.order == ["close"]


async def test_A38_a_server_that_says_nothing_and_does_not_close_either() -> None:
    released = asyncio.Event()

    async def deaf(_: Socket) -> None:
        await released.wait()

    async with scripted_server() as server:
        error, _ = await fails(server, deaf, told=Told(), timeout=0.05)
        released.set()
    assert error.code == "connectionFailed"


async def test_A40_a_start_that_is_cancelled_leaves_no_socket() -> None:
    told = Told()
    async with scripted_server() as server:
        server.first = until_closed
        session = make_session(server, **told.settings())
        await session.init()
        starting = asyncio.ensure_future(session.start())
        await soon(lambda: server.open)
        with pytest.raises(ValueError, match=r"^Session already started$"):
            await session.start()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await soon(lambda: not server.open)
        server.first = None
        await session.start()
        await session.close()
    assert told.order == ["close"]


async def test_A92_a_closed_session_starts_again_with_the_same_token() -> None:
    told = Told()
    async with scripted_server() as server:
        session = make_session(server, **told.settings())
        await session.init()
        for _ in range(3):
            await session.start()
            await session.close()
    assert len(server.token_requests) == 1
    assert [one.headers["X-Session-Key"] for one in server.upgrades] == ["tok-1"] * 3
    assert told.order == ["close"] * 3


async def test_A92_an_unfinished_request_does_not_go_on_after_a_new_start() -> None:
    async with scripted_server() as server:
        server.script = server.collect
        session = make_session(server)
        await session.init()
        await session.start()
        before = await session.send_audio(b"\x01\x00")
        await session.close()
        await session.start()
        with pytest.raises(ValueError, match=r"^interrupt: no request to interrupt$"):
            await session.interrupt()
        after = await session.send_audio(b"\x01\x00", end=True)
        await session.close()
    assert before != after


@pytest.mark.parametrize("answered", [False, True])
async def test_A40_A92_close_ends_a_start_that_is_under_way(answered: bool) -> None:
    told = Told()
    async with scripted_server() as server, asyncio.timeout(LIMIT):
        server.first = until_closed
        session = make_session(server, **told.settings())
        await session.init()
        starting = asyncio.ensure_future(session.start())
        if answered:
            await soon(lambda: server.open)
        else:
            await asyncio.sleep(0)
        await asyncio.gather(session.close(), session.close())
        assert starting.done()
        with pytest.raises(AvatarSDKError) as caught:
            await starting
        assert (caught.value.code, caught.value.phase) == (
            "connectionClosed",
            "websocket_handshake",
        )
        assert not session.connected
        await soon(lambda: not server.open)
        assert told.order == []
        server.first = None
        await session.start()
        await session.close()
    assert told.order == ["close"]


async def test_A92_a_slow_close_spares_the_session_that_was_started_meanwhile() -> None:
    told = Told()
    released = asyncio.Event()

    async def deaf(_: Socket) -> None:
        await released.wait()

    async with scripted_server() as server, asyncio.timeout(LIMIT):
        server.script = deaf
        session = make_session(server, **told.settings())
        await session.init()
        await session.start()
        closing = asyncio.ensure_future(session.close())
        await soon(lambda: not session.connected)
        server.script = server.collect
        await session.start()
        first = await session.send_audio(b"\x01\x00")
        released.set()
        await closing
        assert told.order == ["close"]
        assert await session.send_audio(b"\x01\x00", end=True) == first
        await session.close()
    assert told.order == ["close", "close"]


async def test_A89_numbers_may_be_of_any_kind() -> None:
    async with scripted_server() as server:
        session = make_session(server, sample_rate="24000", bitrate=32000.0)
        await session.init()
        await session.start()
        await session.close()
    configure = server.received[0].client_configure_session
    assert (configure.sample_rate, configure.bitrate) == (24_000, 32_000)
