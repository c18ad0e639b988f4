"""Every fault of the stand-in ends for the client in the exception that is documented for it, in
bounded time, with no task or connection left, and the next attempt works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conformance.avatarkit.scripted_server import LIMIT, Told, soon

from salon.clients.avatarkit import (
    AnimationCollector,
    AvatarSDKError,
    AvatarSession,
    SessionTokenError,
    new_avatar_session,
)
from salon.testing.avatar import (
    API_KEY,
    APP_ID,
    AVATAR_ID,
    AnimationFault,
    AvatarStandIn,
    Close,
    Drop,
    Fail,
    HandshakeFault,
    HttpFault,
    RuntimeFault,
    console_body,
    console_error,
    ending,
    handshake_rows,
    nonsense,
    upgrade_error,
    upgrade_rows,
)

SHORT = 0.2
"""Seconds that the console and the handshake may take."""
LATE = 30.0
SECOND = bytes(2 * 16_000)

CONSOLE = {
    "an error body": (console_error(503, "BUSY", "Busy", "later"), "serverError"),
    "201": (console_body('{"sessionToken": "t"}', 201), "unknown"),
    "no JSON": (console_body("<html>"), "protocolError"),
    "too deep": (console_body("[" * 50_000), "protocolError"),
    "no token": (console_body('{"sessionToken": ""}'), "protocolError"),
    "dropped": (HttpFault(drop=True), "connectionFailed"),
    "late": (HttpFault(delay_s=LATE), "connectionFailed"),
}
UPGRADE = {
    "invalid token": "sessionTokenInvalid",
    "unknown avatar": "avatarNotFound",
    "no credits": "creditsExhausted",
    "app mismatch": "appIDMismatch",
    "token expired": "sessionTokenExpired",
    "429": "invalidRequest",
    "503": "serverError",
    "dropped": "connectionFailed",
}
HANDSHAKE = {
    "text": "protocolError",
    "undecodable": "protocolError",
    "empty id": "protocolError",
    "other type": "protocolError",
    "error": "creditsExhausted",
    "closed": "connectionClosed",
    "dropped": "connectionClosed",
    "silence": "connectionFailed",
    "late": "connectionFailed",
}
RUNNING = {
    "credits": (ending(4001, "credits exhausted"), ["creditsExhausted", "connectionClosed"]),
    "time": (ending(4002, "too long"), ["sessionDurationExceeded", "connectionClosed"]),
    "upstream": ((Close(4503, "away"),), ["connectionClosed"]),
    "dropped": ((Drop(),), ["connectionClosed"]),
    "normal end": ((Close(1000),), []),
    "going away": ((Close(1001),), []),
}
ANIMATION = {
    "late": (AnimationFault(delay_s=LATE), TimeoutError),
    "without end": (AnimationFault(without_end=True), TimeoutError),
    "of another request": (AnimationFault(req_id="another"), TimeoutError),
    "too long a message": (AnimationFault(batch_frames=2_200), AvatarSDKError),
}


def session_of(stand_in: AvatarStandIn, **more: Any) -> AvatarSession:
    return new_avatar_session(
        api_key=API_KEY,
        app_id=APP_ID,
        avatar_id=AVATAR_ID,
        console_endpoint_url=stand_in.console_url,
        ingress_endpoint_url=stand_in.ingress_url,
        expire_at=datetime.now(UTC) + timedelta(minutes=5),
        token_timeout=SHORT,
        handshake_timeout=SHORT,
        **more,
    )


@asynccontextmanager
async def stage() -> AsyncIterator[AvatarStandIn]:
    """A stand-in; afterwards nobody is connected, and no task is left."""
    before = asyncio.all_tasks()
    async with asyncio.timeout(LIMIT):
        async with AvatarStandIn() as stand_in:
            yield stand_in
            await soon(lambda: not stand_in.live)
        await soon(lambda: asyncio.all_tasks() <= before)


@pytest.mark.parametrize("name", CONSOLE)
async def test_A11_every_fault_of_the_console(name: str) -> None:
    fault, code = CONSOLE[name]
    async with stage() as stand_in:
        session = session_of(stand_in)
        stand_in.faults.console = fault
        with pytest.raises(SessionTokenError) as caught:
            await session.init()
        assert (caught.value.code, caught.value.phase) == (code, "session_token")
        stand_in.faults.clear()
        await session.init()


@pytest.mark.parametrize("name", UPGRADE)
async def test_A23_A24_every_fault_of_the_upgrade(name: str) -> None:
    more = {
        "429": upgrade_error(429, "slower"),
        "503": upgrade_error(503, "away"),
        "dropped": HttpFault(drop=True),
    }
    rows = upgrade_rows() | more
    assert set(rows) == set(UPGRADE)
    await fails_to_start("upgrade", rows[name], UPGRADE[name], "websocket_connect")


@pytest.mark.parametrize("name", HANDSHAKE)
async def test_A39_A40_every_fault_of_the_handshake(name: str) -> None:
    rows = handshake_rows() | {"late": HandshakeFault(delay_s=LATE, confirm=True)}
    assert set(rows) == set(HANDSHAKE)
    await fails_to_start("handshake", rows[name], HANDSHAKE[name], "websocket_handshake")


async def fails_to_start(place: str, fault: Any, code: str, phase: str) -> None:
    told = Told()
    async with stage() as stand_in:
        session = session_of(stand_in, **told.settings())
        await session.init()
        setattr(stand_in.faults, place, fault)
        with pytest.raises(AvatarSDKError) as caught:
            await session.start()
        assert (caught.value.code, caught.value.phase) == (code, phase)
        assert told.order == []
        stand_in.faults.clear()
        await session.start()
        await session.close()
    assert told.order == ["close"]


@pytest.mark.parametrize("name", RUNNING)
async def test_A64_A65_every_end_of_a_running_session(name: str) -> None:
    steps, codes = RUNNING[name]
    told = Told()
    async with stage() as stand_in:
        stand_in.faults.runtime.append(RuntimeFault(1, steps))
        session = session_of(stand_in, **told.settings())
        await session.init()
        await session.start()
        await session.send_audio(SECOND)
        await soon(lambda: told.closes)
        assert [error.code for error in told.errors if isinstance(error, AvatarSDKError)] == codes
        with pytest.raises(ValueError, match="not established"):
            await session.send_audio(SECOND)
        stand_in.faults.clear()
        await session.start()
        await session.close()
    assert told.closes == 2


async def test_A64_A66_faults_that_a_session_survives() -> None:
    told = Told()
    async with stage() as stand_in:
        stand_in.faults.runtime.append(RuntimeFault(1, (*nonsense(), Fail(13, "odd"))))
        session = session_of(stand_in, **told.settings())
        await session.init()
        await session.start()
        await session.send_audio(SECOND, end=True)
        await soon(lambda: any(last for _, last in told.frames))
        await session.close()
    codes = [error.code for error in told.errors if isinstance(error, AvatarSDKError)]
    assert codes == ["protocolError", "serverError"]
    assert told.closes == 1


@pytest.mark.parametrize("name", ANIMATION)
async def test_A54_A60_A109_every_fault_of_the_animation(name: str) -> None:
    fault, error = ANIMATION[name]
    collector = AnimationCollector()
    async with stage() as stand_in:
        stand_in.faults.animation = fault
        session = session_of(
            stand_in,
            transport_frames=collector.transport_frame,
            on_error=collector.on_error,
            on_close=collector.on_close,
        )
        await session.init()
        await session.start()
        seconds = 90 if fault.batch_frames else 1
        collector.expect(await session.send_audio(SECOND * seconds, end=True))
        with pytest.raises(error):
            await collector.wait(LIMIT if error is AvatarSDKError else SHORT)
        await session.close()
