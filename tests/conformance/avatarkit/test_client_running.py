"""A running session and its end: A51, A56, A62, A64 to A67."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance.avatarkit.scripted_server import (
    CONNECTION,
    Script,
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

from salon.clients.avatarkit import AvatarSDKError, new_avatar_session


def sends(*data: bytes | str) -> Script:
    async def script(socket: Socket) -> None:
        for one in data:
            await (socket.send_str(one) if isinstance(one, str) else socket.send_bytes(one))
        await until_closed(socket)

    return script


def then_closes(code: int, *data: bytes, reason: bytes = b"") -> Script:
    async def script(socket: Socket) -> None:
        for one in data:
            await socket.send_bytes(one)
        await socket.close(code=code, message=reason)

    return script


async def run(script: Script, until: str, **more: Any) -> Told:
    """What a session is told until it was told this, and after it was closed."""
    told = Told()
    async with scripted_server() as server:
        server.script = script
        async with started(server, **(told.settings() | more)):
            await soon(lambda: until in told.order)
    return told


async def test_A51_every_message_in_order_with_its_end() -> None:
    messages = [animation("a"), animation("a", end=True), animation("b", end=True)]
    told = Told()
    async with scripted_server() as server:
        server.script = sends(*messages)
        async with started(server, **told.settings()):
            await soon(lambda: len(told.frames) == 3)
    assert told.frames == list(zip(messages, [False, True, True], strict=True))


async def test_A56_what_callbacks_raise_goes_no_further() -> None:
    told = Told()

    def settings() -> dict[str, Any]:
        def failing(inner: Any) -> Any:
            def callback(*args: Any) -> None:
                inner(*args)
                raise asyncio.CancelledError if inner == told._error else KeyError("x")

            return callback

        return {name: failing(inner) for name, inner in told.settings().items()}

    async with scripted_server() as server:
        server.script = sends(server_error(13, "x"), animation(), animation(end=True))
        async with started(server, **settings()):
            await soon(lambda: len(told.frames) == 2)
    assert told.order == ["error", "frames", "frames", "close"]


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (4001, "", "creditsExhausted"),
        (4002, "", "sessionDurationExceeded"),
        (4003, "", "serverError"),
        (4010, "", "serverError"),
        (4503, "", "serverError"),
        (3, "x", "invalidRequest"),
        (13, "x", "serverError"),
        (14, "x", "egressUnavailable"),
        (16, "x", "invalidEgressConfig"),
        (0, "no audio input for 60s", "idleTimeout"),
    ],
)
async def test_A62_A63_A64_T10_a_server_error_and_then_animation(
    code: int, text: str, expected: str
) -> None:
    told = Told()
    async with scripted_server() as server:
        server.script = sends(server_error(code, text, req_id="r-1"), animation(end=True))
        async with started(server, **told.settings()):
            await soon(lambda: told.frames)
    assert told.order == ["error", "frames", "close"]
    [error] = told.errors
    assert isinstance(error, AvatarSDKError)
    assert (error.code, error.phase) == (expected, "websocket_runtime")
    said = f"{text} (server code {code})" if text else f"server code {code}"
    assert error.message == f"Avatar session error: {said}"
    assert (error.server_code, error.server_detail) == (str(code), text or None)
    assert (error.connection_id, error.req_id) == (CONNECTION, "r-1")


@pytest.mark.parametrize("code", [4001, 4002, 4003, 4010, 4503, 1011, 1008])
async def test_A62_A65_T10_a_close_code_alone_gives_no_business_code(code: int) -> None:
    told = await run(then_closes(code), "close")
    assert told.order == ["error", "close"]
    [error] = told.errors
    assert isinstance(error, AvatarSDKError)
    assert (error.code, error.phase) == ("connectionClosed", "websocket_runtime")
    assert (error.close_code, error.close_reason) == (code, "")
    assert error.message == f"WebSocket connection closed unexpectedly (code {code})"


async def test_A62_T10_a_server_error_before_the_close() -> None:
    told = await run(then_closes(4001, server_error(4001), reason=b"no more"), "close")
    assert told.order == ["error", "error", "close"]
    codes = [error.code for error in told.errors if isinstance(error, AvatarSDKError)]
    assert codes == ["creditsExhausted", "connectionClosed"]
    assert "closed unexpectedly (code 4001: no more)" in str(told.errors[1])


@pytest.mark.parametrize("code", [1000, 1001])
async def test_A65_a_normal_end_is_no_error(code: int) -> None:
    told = await run(then_closes(code, animation(end=True)), "close")
    assert told.order == ["frames", "close"]


async def test_A65_a_connection_that_breaks() -> None:
    told = Told()
    async with scripted_server() as server:

        async def script(socket: Socket) -> None:
            transport = server.upgrades[-1].transport
            assert transport is not None
            transport.abort()

        server.script = script
        async with started(server, **told.settings()):
            await soon(lambda: told.closes)
    [error] = told.errors
    assert isinstance(error, AvatarSDKError)
    assert (error.code, error.close_code) == ("connectionClosed", None)
    assert error.message == "WebSocket connection closed unexpectedly"
    assert told.order == ["error", "close"]


async def test_A66_T11_broken_bytes_text_unknown_types_and_a_second_confirmation() -> None:
    told = Told()
    async with scripted_server() as server:
        server.script = sends(
            b"\xff\xff", "text", b"\x08\xe7\x07", b"\x08\x0a", b"", confirm("other"), animation()
        )
        async with started(server, **told.settings()):
            await soon(lambda: told.frames)
    assert told.order == ["error", "frames", "close"]
    [error] = told.errors
    assert isinstance(error, AvatarSDKError)
    assert (error.code, error.phase) == ("protocolError", "websocket_runtime")
    assert error.message.startswith("Failed to decode message: ")


async def test_A67_close_is_1000_and_tells_once() -> None:
    told = Told()
    async with scripted_server() as server:
        async with started(server, **told.settings()) as session:
            await session.close()
            assert told.order == ["close"]
            await session.close()
        await soon(lambda: server.close_codes)
    assert server.close_codes == [1000]
    assert told.order == ["close"]


async def test_A67_close_of_a_session_that_never_ran_is_harmless() -> None:
    told = Told()
    async with scripted_server() as server:
        session = make_session(server, **told.settings())
        await session.close()
        await session.init()
        await session.close()
    assert told.order == []


async def test_A67_A92_after_a_drop_close_tells_nothing_more_and_start_works() -> None:
    told = Told()
    async with scripted_server() as server:
        server.script = then_closes(1011)
        async with started(server, **told.settings()) as session:
            await soon(lambda: told.closes)
            with pytest.raises(ValueError, match=r"^WebSocket connection is not established$"):
                await session.send_audio(b"\x01\x00")
            await session.close()
            assert told.closes == 1
            server.script = until_closed
            await session.start()
            await session.send_audio(b"\x01\x00", end=True)
    assert told.closes == 2


async def test_A67_close_in_the_middle_of_a_flood() -> None:
    told = Told()

    async def flood(socket: Socket) -> None:
        data = animation("r" * 2000)

        async def pour() -> None:
            while not socket.closed:
                await socket.send_bytes(data)
                await asyncio.sleep(0)

        pouring = asyncio.ensure_future(pour())
        await until_closed(socket)
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)

    async with scripted_server() as server:
        server.script = flood
        async with started(server, **told.settings()) as session:
            await soon(lambda: len(told.frames) > 50)
            async with asyncio.timeout(5):
                await session.close()
            count = len(told.frames)
            await asyncio.sleep(0)
            assert len(told.frames) == count
    assert told.order[-1] == "close"
    assert told.errors == []


async def test_A67_a_close_that_is_cancelled_has_told() -> None:
    told = Told()
    released = asyncio.Event()

    async def deaf(_: Socket) -> None:
        await released.wait()

    async with scripted_server() as server:
        server.script = deaf
        async with started(server, **told.settings()) as session:
            closing = asyncio.ensure_future(session.close())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert told.order == ["close"]
            assert not session.connected
        released.set()
    assert told.order == ["close"]


async def test_A67_close_in_a_task_that_was_cancelled_lets_it_clean_up_to_the_end() -> None:
    class Endless:
        """A socket whose reader does not notice the end."""

        async def close(self) -> None:
            pass

        async def __aiter__(self) -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

    told = Told()
    session = new_avatar_session(**told.settings())
    session._connection = Endless()  # type: ignore[assignment]
    session._read_task = asyncio.create_task(session._read_loop())
    began = asyncio.Event()

    async def use() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await session.close()
            told.order.append("cleaned up")

    using = asyncio.create_task(use())
    await began.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert told.order == ["close", "cleaned up"]
