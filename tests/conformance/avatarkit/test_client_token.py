"""The token: A1, A2, A9 to A13."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from tests.conformance.avatarkit.scripted_server import (
    LIMIT,
    ScriptedServer,
    make_session,
    scripted_server,
)

from salon.clients.avatarkit import AvatarSDKError, SessionTokenError, new_avatar_session

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
PREFIX = "Failed to create session token"


def says(status: int, body: Any) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type="application/json")

    return answer


async def refused(status: int, body: Any) -> SessionTokenError:
    async with scripted_server() as server:
        server.token = says(status, body)
        with pytest.raises(SessionTokenError) as caught:
            await make_session(server).init()
    assert isinstance(caught.value, AvatarSDKError)
    assert caught.value.phase == "session_token"
    return caught.value


@pytest.mark.parametrize("slash", ["", "/", "//"])
async def test_A1_T2_method_path_headers_and_body(slash: str) -> None:
    async with scripted_server() as server:
        session = make_session(
            server,
            console_endpoint_url=server.console_url + slash,
            expire_at=datetime(2030, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC),
        )
        await session.init()
    [(method, path, headers, body)] = server.token_requests
    assert (method, path) == ("POST", "/v1/console/session-tokens")
    assert headers["X-Api-Key"] == "key-1"
    assert headers["Content-Type"] == "application/json"
    assert body == {"expireAt": int(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp())}


async def test_A2_the_token_goes_into_the_upgrade() -> None:
    async with scripted_server() as server:
        server.token = says(200, {"sessionToken": "opaque +/=", "more": 1})
        session = make_session(server)
        await session.init()
        await session.start()
        await session.close()
    assert server.upgrades[0].headers["X-Session-Key"] == "opaque +/="


async def test_A2_another_status_than_200_is_a_failure() -> None:
    error = await refused(201, {"sessionToken": "tok"})
    assert (error.http_status, error.code) == (201, "unknown")
    assert error.message == f"{PREFIX} (HTTP 201)"


async def test_A2_a_redirect_is_a_failure_and_the_key_stays() -> None:
    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("/v1/console/elsewhere")

    async with scripted_server() as server:
        server.token = elsewhere
        with pytest.raises(SessionTokenError, match=r"\(HTTP 307\)"):
            await make_session(server).init()
    assert len(server.token_requests) == 1


async def test_A9_what_is_missing_in_this_order() -> None:
    settings: dict[str, Any] = {}
    for message, missing in (
        ("Missing API key", {"api_key": "k"}),
        ("Missing console endpoint URL", {"console_endpoint_url": "http://127.0.0.1:1"}),
        ("Missing expireAt", {"expire_at": datetime.now(UTC)}),
    ):
        with pytest.raises(ValueError, match=rf"^{message}$"):
            await new_avatar_session(**settings).init()
        settings |= missing


async def test_A10_A11_a_console_that_does_not_answer() -> None:
    released = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    async with scripted_server() as server, asyncio.timeout(LIMIT):
        server.token = silent
        with pytest.raises(SessionTokenError) as caught:
            await make_session(server, token_timeout=0.05).init()
        released.set()
    assert caught.value.code == "connectionFailed"
    assert caught.value.message == "Timed out while creating session token"
    assert caught.value.phase == "session_token"


async def test_A11_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    session = make_session(
        ScriptedServer(), console_endpoint_url=f"http://127.0.0.1:{port}/v1/console"
    )
    with pytest.raises(SessionTokenError) as caught:
        await session.init()
    assert caught.value.code == "connectionFailed"
    assert caught.value.message.startswith(f"{PREFIX}: ")
    assert caught.value.http_status is None


async def test_A11_a_console_that_hangs_up() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with scripted_server() as server:
        server.token = hang_up
        with pytest.raises(SessionTokenError) as caught:
            await make_session(server).init()
    assert caught.value.code == "connectionFailed"


async def test_A11_A13_the_errors_of_the_body() -> None:
    body = {
        "errors": [
            {
                "id": "e-1",
                "status": 400,
                "code": "INVALID_ARGUMENT",
                "title": "Invalid Argument",
                "detail": "expire_at must be in the future",
            },
            {"code": "UNAUTHENTICATED", "detail": "not read"},
        ]
    }
    error = await refused(400, body)
    assert error.code == "invalidRequest"
    assert error.message == (
        f"{PREFIX} (HTTP 400): Invalid Argument - expire_at must be in the future"
    )
    assert error.http_status == 400
    assert error.server_code == "INVALID_ARGUMENT"
    assert error.server_title == "Invalid Argument"
    assert error.server_detail == "expire_at must be in the future"
    assert error.raw_body == json.dumps(body)
    assert str(error) == f"invalidRequest: {error.message}"


@pytest.mark.parametrize(
    ("inside", "status", "code"),
    [
        ({"status": 401, "code": "X"}, 401, "sessionTokenExpired"),
        ({"status": "402"}, 402, "billingRequired"),
        ({"status": "later"}, 200, "unknown"),
        ({}, 200, "unknown"),
    ],
)
async def test_A11_errors_inside_a_200(inside: Any, status: int, code: str) -> None:
    error = await refused(200, {"errors": [inside], "sessionToken": "tok"})
    assert (error.http_status, error.code) == (status, code)
    assert error.message.startswith(f"{PREFIX} (HTTP {status})")


async def test_A11_no_errors_is_no_failure() -> None:
    async with scripted_server() as server:
        server.token = says(200, {"errors": [], "sessionToken": "tok"})
        await make_session(server).init()


@pytest.mark.parametrize("body", ["", "no json", "[]", '"tok"', "null", "[" * 100_000, "\ufeff{"])
async def test_A11_a_200_that_is_no_object(body: str) -> None:
    error = await refused(200, body)
    assert error.code == "protocolError"
    assert error.message == "Failed to decode session token response"
    assert error.raw_body == body


@pytest.mark.parametrize("body", [{}, {"sessionToken": ""}, {"sessionToken": None}])
async def test_A11_a_200_without_a_token(body: Any) -> None:
    error = await refused(200, body)
    assert (error.code, error.message) == ("protocolError", "Empty session token in response")


async def test_A11_bytes_that_are_no_text() -> None:
    async def bytes_of_nothing(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\xff\xfe\xfd", content_type="application/json", charset="utf-8")

    async with scripted_server() as server:
        server.token = bytes_of_nothing
        with pytest.raises(SessionTokenError, match="Failed to decode session token response"):
            await make_session(server).init()


@pytest.mark.parametrize(
    ("body", "suffix", "detail"),
    [
        ({"title": "T", "detail": "D"}, ": T - D", "D"),
        ({"title": "T", "detail": "D", "message": "M"}, ": T - D", "D"),
        ({"title": "T", "message": "M"}, ": T - M", "M"),
        ({"title": "T"}, ": T", None),
        ({"detail": "D"}, ": D", "D"),
        ({"message": "M", "detail": ""}, ": M", "M"),
        ({"code": "C"}, ": C", None),
        ({"code": 7}, ": 7", None),
        ({"error": "E"}, ": E", None),
        ({"code": "C", "error": "E"}, ": C", None),
        ({"errors": [{"id": "I"}]}, ": I", None),
        ({"errors": [{"code": "C", "id": "I"}]}, ": C", None),
        ({"errors": [], "message": "M"}, ": M", "M"),
        ({}, "", None),
        ([1], "", None),
        ("plain text", "", None),
    ],
)
async def test_A12_A13_the_suffix(body: Any, suffix: str, detail: str | None) -> None:
    error = await refused(418, body)
    assert error.message == f"{PREFIX} (HTTP 418){suffix}"
    assert error.server_detail == detail
    assert error.raw_body == (body if isinstance(body, str) else json.dumps(body))


async def test_A11_a_failed_init_leaves_nothing_to_start_with() -> None:
    async with scripted_server() as server:
        server.token = says(500, {})
        session = make_session(server)
        with pytest.raises(SessionTokenError):
            await session.init()
        with pytest.raises(ValueError, match=r"^Session not initialized$"):
            await session.start()
    assert not server.upgrades


@pytest.mark.parametrize(("status", "code"), [(200, "protocolError"), (401, "sessionTokenExpired")])
async def test_A11_an_answer_without_end_is_not_read_to_its_end(status: int, code: str) -> None:
    broken = asyncio.Event()

    async def pour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(64 << 10))
        except ConnectionError:
            broken.set()
        return response

    async with scripted_server() as server, asyncio.timeout(LIMIT):
        server.token = pour
        with pytest.raises(SessionTokenError) as caught:
            await make_session(server).init()
        await broken.wait()
    assert (caught.value.code, caught.value.http_status) == (code, status)
    assert not caught.value.raw_body


@pytest.mark.parametrize("charset", [None, "utf-8", "utf-16"])
async def test_A2_a_token_in_any_content_type(charset: str | None) -> None:
    async def give(_: web.Request) -> web.StreamResponse:
        body = '{"sessionToken": "tok-2"}'.encode(charset or "utf-8")
        return web.Response(body=body, content_type="text/plain", charset=charset)

    async with scripted_server() as server:
        server.token = give
        session = make_session(server)
        await session.init()
        await session.start()
        await session.close()
    assert server.upgrades[0].headers["X-Session-Key"] == "tok-2"
