"""Requests: A41 to A48, A57, A58."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from tests.conformance.avatarkit.scripted_server import (
    ScriptedServer,
    make_session,
    scripted_server,
    soon,
    started,
)
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from salon.clients.avatarkit import AvatarSDKError, generate_log_id, new_avatar_session
from salon.clients.avatarkit.proto.generated import message_pb2 as pb

LOG_ID = re.compile(r"^\d{14}_[A-Za-z0-9_-]{12}$")


def audio_of(server: ScriptedServer) -> list[tuple[str, bytes, bool]]:
    return [
        (
            message.client_audio_input.req_id,
            message.client_audio_input.audio,
            message.client_audio_input.end,
        )
        for message in server.received
        if message.type == pb.MESSAGE_CLIENT_AUDIO_INPUT
    ]


async def test_A41_A42_T5_an_id_holds_until_the_end_and_the_sound_goes_as_it_is() -> None:
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server) as session:
            first = await session.send_audio(b"\x01\x00\x02")
            assert await session.send_audio(bytearray(b"\x03")) == first
            assert await session.send_audio(memoryview(b"\x04\x00"), end=True) == first
            second = await session.send_audio(b"\x05\x00", True)
            assert second != first
        await soon(lambda: not server.open)
    assert audio_of(server) == [
        (first, b"\x01\x00\x02", False),
        (first, b"\x03", False),
        (first, b"\x04\x00", True),
        (second, b"\x05\x00", True),
    ]


async def test_A42_several_mebibytes_in_one_message() -> None:
    clip = bytes(3 * 1024 * 1024)
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server) as session:
            req_id = await session.send_audio(clip, end=True)
            await soon(lambda: audio_of(server))
    assert audio_of(server) == [(req_id, clip, True)]


async def test_A43_A57_A58_interrupt_goes_to_the_newest_request_also_after_its_end() -> None:
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server) as session:
            ended = await session.send_audio(b"\x01\x00", end=True)
            assert await session.interrupt() == ended
            assert await session.interrupt() == ended
            running = await session.send_audio(b"\x01\x00")
            assert await session.interrupt() == running
            after = await session.send_audio(b"\x01\x00")
        await soon(lambda: not server.open)
    assert len({ended, running, after}) == 3
    interrupts = [
        message.client_interrupt.req_id
        for message in server.received
        if message.type == pb.MESSAGE_CLIENT_INTERRUPT
    ]
    assert interrupts == [ended, ended, running]


def test_A44_a_log_id() -> None:
    made = [generate_log_id() for _ in range(200)]
    assert all(LOG_ID.match(one) for one in made)
    assert len(set(made)) == 200
    far_east = datetime(2025, 1, 1, 8, 30, 59, tzinfo=timezone(timedelta(hours=9)))
    assert generate_log_id(lambda: far_east, lambda letters: letters[-1]) == (
        "20241231233059_------------"
    )
    stamp = datetime.strptime(made[0][:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - stamp) < timedelta(minutes=1)


def test_A44_every_letter_occurs() -> None:
    letters = {letter for _ in range(400) for letter in generate_log_id()[15:]}
    assert len(letters) == 64


async def test_A45_empty_sound_is_sent() -> None:
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server) as session:
            first = await session.send_audio(b"")
            assert await session.send_audio(b"", end=True) == first
            second = await session.send_audio(b"", end=True)
        await soon(lambda: not server.open)
    assert audio_of(server) == [(first, b"", False), (first, b"", True), (second, b"", True)]


async def test_A47_A57_without_a_connection() -> None:
    async with scripted_server() as server:
        session = make_session(server)
        for _ in range(2):
            with pytest.raises(ValueError, match=r"^WebSocket connection is not established$"):
                await session.send_audio(b"\x01\x00")
            with pytest.raises(
                ValueError, match=r"^interrupt: websocket connection is not established$"
            ):
                await session.interrupt()
            await session.init()
            await session.start()
            with pytest.raises(ValueError, match=r"^interrupt: no request to interrupt$"):
                await session.interrupt()
            await session.close()


async def test_A47_a_string_is_no_sound() -> None:
    async with scripted_server() as server, started(server) as session:
        with pytest.raises(TypeError):
            await session.send_audio("sound")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await session.send_audio(5)  # type: ignore[arg-type]


class Broken:
    """A socket that fails to write, in a moment no network can be brought into on purpose."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def send(self, data: bytes) -> None:
        raise self.error

    async def close(self) -> None:
        pass


CLOSED = ConnectionClosedError(Close(4001, "no more"), None, None)


@pytest.mark.parametrize(
    ("error", "code", "message", "close_code"),
    [
        (
            CLOSED,
            "connectionClosed",
            "WebSocket connection closed unexpectedly (code 4001: no more)",
            4001,
        ),
        (OSError("no route"), "connectionFailed", "Failed to send {}: no route", None),
        (RuntimeError("odd"), "connectionFailed", "Failed to send {}: odd", None),
    ],
)
async def test_A47_A57_a_send_that_fails(
    error: Exception, code: str, message: str, close_code: int | None
) -> None:
    session = new_avatar_session()
    session._connection = Broken(error)  # type: ignore[assignment]
    for what, call in (
        ("audio", lambda: session.send_audio(b"\x01\x00")),
        ("interrupt", session.interrupt),
    ):
        with pytest.raises(AvatarSDKError) as caught:
            await call()
        assert (caught.value.code, caught.value.phase) == (code, "websocket_send")
        assert caught.value.message == message.format(what)
        assert caught.value.close_code == close_code
        assert caught.value.req_id == session.last_req_id
    await session.close()


async def test_A48_one_session_after_another_and_several_at_once() -> None:
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server) as one, started(server) as two:
            ids = await asyncio.gather(
                one.send_audio(b"\x01\x00", end=True), two.send_audio(b"\x02\x00", end=True)
            )
            assert len(set(ids)) == 2
        await soon(lambda: not server.open)
    assert sorted(audio for _, audio, _ in audio_of(server)) == [b"\x01\x00", b"\x02\x00"]
