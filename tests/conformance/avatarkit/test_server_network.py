"""Console, upgrade and sessions over sockets of loopback (chapters 1, 2 and 12)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec
from urllib.parse import quote

import aiohttp
import pytest
import websockets
from tests.conformance.avatarkit.server_stage import REQ, audio, configure, pcm

from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.testing.avatar import (
    API_KEY,
    APP_ID,
    AVATAR_ID,
    App,
    AvatarSettings,
    AvatarStandIn,
    Close,
    Drop,
    HttpFault,
    Send,
    SendText,
    console_body,
    upgrade_error,
    upgrade_rows,
)
from salon.testing.avatar import stand_in as driver
from salon.testing.avatar.animation import decode
from salon.testing.clock import EPOCH, VirtualClock

P = ParamSpec("P")


class StillClock(VirtualClock):
    """A wall clock that stands still."""

    def time(self) -> float:
        return EPOCH


def real(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test with sockets: these know no virtual time."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(asyncio.wait_for(test(*args, **kwargs), 60.0))

    return run


async def post(url: str, body: Any, key: str = API_KEY) -> tuple[int, Any]:
    """A request for a token."""
    headers = {"X-Api-Key": key, "Content-Type": "application/json"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as client,
        client.post(url, data=data, headers=headers) as answer,
    ):
        text = await answer.text()
        return answer.status, json.loads(text) if text[:1] == "{" else text


async def token(stand_in: AvatarStandIn, key: str = API_KEY, life_s: int = 300) -> str:
    """A session token."""
    url = f"{stand_in.console_url}/session-tokens"
    status, said = await post(url, {"expireAt": int(time.time()) + life_s}, key)
    assert status == 200
    found: str = said["sessionToken"]
    return found


def address(stand_in: AvatarStandIn, avatar_id: str = AVATAR_ID, **query: str) -> str:
    """The WebSocket's URL."""
    more = "".join(f"&{name}={quote(value)}" for name, value in query.items())
    return f"{stand_in.ingress_url}/websocket?id={quote(avatar_id)}{more}"


async def opened(stand_in: AvatarStandIn) -> websockets.ClientConnection:
    """A connection that nothing was said on."""
    headers = {"X-App-ID": APP_ID, "X-Session-Key": await token(stand_in)}
    return await websockets.connect(address(stand_in), additional_headers=headers)


async def confirmed(stand_in: AvatarStandIn) -> websockets.ClientConnection:
    """A session."""
    connection = await opened(stand_in)
    await connection.send(configure())
    first = pb.Message.FromString(await connection.recv(decode=False))
    assert first.server_confirm_session.connection_id
    return connection


async def rejected(url: str, headers: dict[str, str]) -> tuple[int, bytes, str]:
    """Status, body and type of a refused upgrade."""
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(url, additional_headers=headers)
    answer = refused.value.response
    return answer.status_code, bytes(answer.body or b""), answer.headers["Content-Type"]


async def clip(connection: websockets.ClientConnection, seconds: float, req_id: str = REQ) -> int:
    """Send a clip in one message; the keyframes that came back."""
    await connection.send(audio(pcm(seconds), req_id, end=True))
    count = 0
    while True:
        said = decode(await connection.recv(decode=False))
        count += len(said.animation.keyframes)
        if said.end:
            return count


@real
async def test_A1_A2_A4_a_token() -> None:
    async with AvatarStandIn() as stand_in:
        assert stand_in.console_url.endswith("/v1/console")
        url = f"{stand_in.console_url}/session-tokens"
        body = {"expireAt": int(time.time()) + 60, "modelVersion": "m", "other": [1]}
        status, said = await post(url, body)
        assert status == 200
        assert said["sessionToken"]
        assert json.loads(stand_in.asked[0].body) == body
        assert stand_in.asked[0].content_type == "application/json"


@real
async def test_A3_the_relatives_path_and_member() -> None:
    async with AvatarStandIn() as stand_in:
        root = stand_in.console_url.removesuffix("/v1/console")
        body = {"expireAt": int(time.time()) + 60}
        for url in (f"{root}/v1/auth/session-token", f"{root}/v1/console/session-tokens"):
            status, said = await post(url, body)
            assert status == 200
            assert said["session_token"] == said["sessionToken"]


@real
async def test_A5_A8_expiry_and_the_error_body() -> None:
    clock = StillClock()
    async with AvatarStandIn(clock=clock) as stand_in:
        url = f"{stand_in.console_url}/session-tokens"
        now = int(clock.time())
        for body, detail in (
            ({"expireAt": now}, "expire_at must be in the future"),
            ({"expireAt": now - 1}, "expire_at must be in the future"),
            ({"expireAt": now + 24 * 3600}, "expire_at must be within 24 hours"),
            ({}, "expire_at must be integer seconds since the epoch"),
            ({"expireAt": True}, "expire_at must be integer seconds since the epoch"),
            ({"expireAt": "1"}, "expire_at must be integer seconds since the epoch"),
            (b"no", "body must be a JSON object"),
            ([], "body must be a JSON object"),
        ):
            status, said = await post(url, body)
            (error,) = said["errors"]
            assert (status, error["status"], error["code"]) == (400, 400, "INVALID_ARGUMENT")
            assert (error["title"], error["detail"]) == ("Invalid Argument", detail)
            assert error["id"]
        assert (await post(url, {"expireAt": now + 24 * 3600 - 1}))[0] == 200


@real
async def test_A87_an_unknown_key() -> None:
    async with AvatarStandIn() as stand_in:
        url = f"{stand_in.console_url}/session-tokens"
        status, said = await post(url, {"expireAt": int(time.time()) + 60}, "wrong")
        (error,) = said["errors"]
        assert (status, error["code"], error["title"]) == (
            401,
            "INVALID_API_KEY",
            "Invalid API key",
        )
        assert "unauth" not in json.dumps(said).lower()


@real
async def test_A11_wrong_answers_of_the_console_on_purpose() -> None:
    async with AvatarStandIn() as stand_in:
        url = f"{stand_in.console_url}/session-tokens"
        body = {"expireAt": int(time.time()) + 60}
        for text, status in (("no JSON", 200), ("[]", 200), ("{}", 200), ('{"a":1}', 201)):
            stand_in.faults.console = console_body(text, status)
            found, said = await post(url, body)
            assert found == status
            assert said == (json.loads(text) if text[:1] == "{" else text)
        stand_in.faults.console = HttpFault(drop=True)
        with pytest.raises(aiohttp.ClientError):
            await post(url, body)
        stand_in.faults.console = HttpFault(delay_s=0.05, times=1)
        began = time.monotonic()
        assert (await post(url, body))[0] == 200
        assert time.monotonic() - began >= 0.05
        stand_in.faults.clear()
        assert (await post(url, body))[0] == 200


@real
async def test_A15_A21_credentials_in_headers_or_in_the_query() -> None:
    async with AvatarStandIn() as stand_in:
        key = await token(stand_in)
        by_query = address(stand_in, appId=APP_ID, sessionKey=key)
        async with websockets.connect(by_query) as connection:
            assert connection.subprotocol is None
        headers = {"X-App-ID": APP_ID, "X-Session-Key": key}
        async with websockets.connect(address(stand_in), additional_headers=headers):
            pass


@real
async def test_A22_every_row_of_a_refused_upgrade() -> None:
    clock = StillClock()
    settings = AvatarSettings(apps={API_KEY: App(APP_ID), "poor": App("poor", credits=False)})
    async with AvatarStandIn(settings, clock=clock) as stand_in:
        now = int(clock.time())
        good = stand_in.tokens.issue(App(APP_ID), now + 60)
        old = stand_in.tokens.issue(App(APP_ID), now)
        poor = stand_in.tokens.issue(App("poor", credits=False), now + 60)

        async def row(key: str, app: str = APP_ID, avatar: str = AVATAR_ID) -> tuple[int, bytes]:
            headers = {"X-App-ID": app, "X-Session-Key": key}
            status, body, kind = await rejected(address(stand_in, avatar), headers)
            assert kind == "application/json"
            return status, body

        assert await row("nonsense") == (400, b'{"message":"Invalid session token"}\n')
        assert await row("") == (400, b'{"message":"Invalid session token"}\n')
        assert await row(good, avatar="ü x") == (
            404,
            '{"message":"Avatar not found: ü x"}\n'.encode(),
        )
        denied = (402, b'{"message":"session denied: credits exhausted"}\n')
        assert await row(poor, "poor") == denied
        assert await row(good, "other") == (400, b'{"message":"app id mismatch"}\n')
        assert await row(old) == (401, b'{"message":"session token expired"}\n')
        # token before app before avatar
        assert (await row("nonsense", "other", "nobody"))[1].startswith(b'{"message":"Invalid')
        assert (await row(good, "other", "nobody"))[1] == b'{"message":"app id mismatch"}\n'


@real
async def test_A24_any_status_on_purpose() -> None:
    async with AvatarStandIn() as stand_in:
        headers = {"X-App-ID": APP_ID, "X-Session-Key": await token(stand_in)}
        for status in (200, 403, 408, 409, 429, 500, 503):
            stand_in.faults.upgrade = upgrade_error(status, "why")
            found = await rejected(address(stand_in), headers)
            assert found == (status, b'{"message":"why"}\n', "application/json")
        for name, fault in upgrade_rows().items():
            stand_in.faults.upgrade = fault
            assert fault.answer is not None, name
            assert (await rejected(address(stand_in), headers))[0] == fault.answer.status
        stand_in.faults.upgrade = upgrade_error(302, "", {"Location": "http://127.0.0.1:1/"})
        async with (
            aiohttp.ClientSession() as client,
            client.get(address(stand_in), allow_redirects=False) as answer,
        ):
            assert (answer.status, answer.headers["Location"]) == (302, "http://127.0.0.1:1/")
        stand_in.faults.upgrade = HttpFault(drop=True)
        with pytest.raises((websockets.InvalidMessage, OSError)):
            await websockets.connect(address(stand_in), additional_headers=headers)


@real
async def test_A6_A7_a_token_may_be_used_again_and_expiry_counts_at_the_start() -> None:
    clock = VirtualClock()
    async with AvatarStandIn(clock=clock) as stand_in:
        key = stand_in.tokens.issue(App(APP_ID), int(clock.time()) + 60)
        headers = {"X-App-ID": APP_ID, "X-Session-Key": key}
        async with (
            websockets.connect(address(stand_in), additional_headers=headers) as first,
            websockets.connect(address(stand_in), additional_headers=headers) as second,
        ):
            for connection in (first, second):
                await connection.send(configure())
                await connection.recv()
            clock.advance(60.0)
            assert (await rejected(address(stand_in), headers))[0] == 401
            assert await clip(first, 1.0) == 25


@real
async def test_A19_pings_are_answered_and_sent() -> None:
    async with (
        AvatarStandIn(AvatarSettings(ping_interval_s=0.05)) as stand_in,
        aiohttp.ClientSession() as client,
    ):
        query = {"appId": APP_ID, "sessionKey": await token(stand_in)}
        async with client.ws_connect(address(stand_in, **query), autoping=False) as socket:
            await socket.ping(b"are you there")
            kinds: dict[aiohttp.WSMsgType, bytes] = {}
            while len(kinds) < 2:
                message = await socket.receive(5.0)
                kinds[message.type] = bytes(message.data)
            assert kinds[aiohttp.WSMsgType.PONG] == b"are you there"
            assert aiohttp.WSMsgType.PING in kinds


@real
async def test_A110_T14_a_hundred_connections_and_five_at_once() -> None:
    async with AvatarStandIn() as stand_in:
        connections = await asyncio.gather(*(confirmed(stand_in) for _ in range(100)))
        assert stand_in.live == 100
        for round_ in range(3):
            five = connections[round_ * 5 : round_ * 5 + 5]
            began = time.monotonic()
            counts = await asyncio.gather(*(clip(one, 18.5) for one in five))
            assert counts == [462] * 5
            assert time.monotonic() - began < 45.0
        await asyncio.gather(*(one.close() for one in connections))
        assert all(record.closed_at is not None for record in stand_in.records)


@real
async def test_A63_the_limit_of_sessions() -> None:
    async with AvatarStandIn(AvatarSettings(max_sessions=1)) as stand_in:
        first = await confirmed(stand_in)
        second = await opened(stand_in)
        await second.send(configure())
        said = pb.Message.FromString(await second.recv(decode=False)).server_error
        assert said.code == 4003
        with pytest.raises(websockets.ConnectionClosed):
            await second.recv()
        assert second.close_code == 4003
        assert await clip(first, 0.4) == 10
        await first.close()


@real
async def test_A36_the_first_message_is_waited_for_only_so_long() -> None:
    async with AvatarStandIn(AvatarSettings(handshake_timeout_s=0.05)) as stand_in:
        connection = await opened(stand_in)
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 1008


@real
async def test_A41_messages_of_several_mebibytes_and_not_more() -> None:
    async with AvatarStandIn() as stand_in:
        connection = await confirmed(stand_in)
        assert await clip(connection, 130.0) == 3250
        with pytest.raises(websockets.ConnectionClosed):  # while sending or after it
            await asyncio.gather(connection.send(audio(bytes(9 << 20))), connection.recv())
        assert connection.close_code == 1009


@real
async def test_A65_A66_faults_in_a_running_session() -> None:
    async with AvatarStandIn() as stand_in:
        connection = await confirmed(stand_in)
        await stand_in.inject(SendText("hello"))
        assert await connection.recv() == "hello"
        await stand_in.inject(Close(4001, "credits"))
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert (connection.close_code, connection.close_reason) == (4001, "credits")
        second = await confirmed(stand_in)
        await stand_in.inject(Drop())
        with pytest.raises(websockets.ConnectionClosed):
            await second.recv()
        assert second.close_code == 1006


@real
async def test_A63_going_away() -> None:
    stand_in = AvatarStandIn()
    await stand_in.start()
    connection = await confirmed(stand_in)
    await stand_in.close()
    await stand_in.close()
    with pytest.raises(websockets.ConnectionClosed):
        await connection.recv()
    assert connection.close_code == 1001


@real
async def test_A5_a_body_that_is_too_deep_is_refused() -> None:
    async with AvatarStandIn() as stand_in:
        status, said = await post(f"{stand_in.console_url}/session-tokens", b"[" * 60_000)
        assert (status, said["errors"][0]["code"]) == (400, "INVALID_ARGUMENT")


def test_A63_a_client_that_does_not_read_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "CLOSE_TIMEOUT_S", 0.2)

    @real
    async def run() -> None:
        stand_in = AvatarStandIn()
        await stand_in.start()
        deaf = await confirmed(stand_in)
        reading = await confirmed(stand_in)
        connection_id = stand_in.records[0].connection_id
        pouring = asyncio.ensure_future(
            stand_in.inject(*[Send(bytes(1 << 20))] * 64, connection_id=connection_id)
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(pouring), 0.5)
        async with asyncio.timeout(10):
            await stand_in.close()
            await pouring
            with pytest.raises(websockets.ConnectionClosedOK) as closed:
                await reading.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert stand_in.live == 0
        deaf.transport.abort()

    run()
