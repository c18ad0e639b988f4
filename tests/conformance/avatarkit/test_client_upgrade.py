"""Opening the WebSocket: A14 to A18, A20, A22 to A24."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest
from aiohttp import web
from tests.conformance.avatarkit.scripted_server import (
    ScriptedServer,
    Told,
    make_session,
    scripted_server,
    soon,
    until_closed,
)

from salon.clients.avatarkit import (
    AgoraEgressConfig,
    AvatarSDKError,
    AvatarSession,
    LiveKitEgressConfig,
    new_avatar_session,
)
from salon.clients.avatarkit.endpoint import opening
from salon.clients.avatarkit.session_socket import open_socket

REJECTED = "WebSocket connection rejected"


async def initialized(server: ScriptedServer, **settings: Any) -> AvatarSession:
    session = make_session(server, **settings)
    await session.init()
    return session


async def rejection(status: int, body: str, **headers: str) -> AvatarSDKError:
    told = Told()
    async with scripted_server() as server:
        server.refusal = lambda: web.Response(
            status=status, text=body, content_type="application/json", headers=headers
        )
        session = await initialized(server, **told.settings())
        with pytest.raises(AvatarSDKError) as caught:
            await session.start()
        assert not session.connected
        # and again: a refused session is not a started one
        with pytest.raises(AvatarSDKError):
            await session.start()
        await session.close()
    assert told.order == []
    error = caught.value
    assert (error.phase, error.http_status) == ("websocket_connect", status)
    return error


@pytest.mark.parametrize("slash", ["", "/", "//"])
async def test_A14_A15_T3_headers(slash: str) -> None:
    async with scripted_server() as server:
        session = await initialized(
            server, ingress_endpoint_url=server.ingress_url + slash, avatar_id="a b&c/é"
        )
        await session.start()
        await session.close()
    [request] = server.upgrades
    assert request.path == "/v2/driveningress/websocket"
    assert dict(request.query) == {"id": "a b&c/é"}
    assert request.headers["X-App-ID"] == "app-1"
    assert request.headers["X-Session-Key"] == "tok-1"
    assert "Sec-WebSocket-Protocol" not in request.headers


async def test_A15_query_auth() -> None:
    async with scripted_server() as server:

        async def token(_: web.Request) -> web.StreamResponse:
            return web.json_response({"sessionToken": "t+/= &?"})

        server.token = token
        session = await initialized(server, use_query_auth=True, app_id="app 1")
        await session.start()
        await session.close()
    [request] = server.upgrades
    assert dict(request.query) == {"id": "avatar-1", "appId": "app 1", "sessionKey": "t+/= &?"}
    assert "X-App-ID" not in request.headers
    assert "X-Session-Key" not in request.headers


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h/a", "ws://h/a/websocket?id=x"),
        ("https://h/a/", "wss://h/a/websocket?id=x"),
        ("ws://h", "ws://h/websocket?id=x"),
        ("wss://h:8443/a", "wss://h:8443/a/websocket?id=x"),
        ("HTTPS://h/a", "wss://h/a/websocket?id=x"),
        ("wss://h/a?tenant=1", "wss://h/a/websocket?tenant=1&id=x"),
    ],
)
def test_A14_A17_the_url(base: str, url: str) -> None:
    session = new_avatar_session(ingress_endpoint_url=base, avatar_id="x", app_id="p")
    assert opening(session.config, "tok").url == url


async def test_A16_A34_what_is_missing_in_this_order() -> None:
    session = new_avatar_session()
    config = session.config
    both = "Cannot configure both livekit_egress and agora_egress at the same time"
    steps: list[tuple[str, str, Any]] = [
        ("Session not initialized", "", None),
        ("Missing ingress endpoint URL", "ingress_endpoint_url", "h/x"),
        ("Missing avatar ID", "avatar_id", "x"),
        ("Missing app ID", "app_id", "p"),
        ("Ingress endpoint scheme missing", "ingress_endpoint_url", "ftp://h/x"),
        ("Unsupported scheme: ftp", "ingress_endpoint_url", "ws://h/x"),
    ]
    config.livekit_egress, config.agora_egress = LiveKitEgressConfig(), AgoraEgressConfig()
    for message, name, value in [*steps, (both, "", None)]:
        with pytest.raises(ValueError, match=rf"^{message}$"):
            await session.start()
        session._session_token = "tok"
        if name:
            setattr(config, name, value)


async def test_A16_a_started_session() -> None:
    async with scripted_server() as server:
        session = await initialized(server)
        await session.start()
        with pytest.raises(ValueError, match=r"^Session already started$"):
            await session.start()
        await session.close()
    assert len(server.upgrades) == 1


ROWS = [
    (400, '{"message":"Invalid session token"}\n', "sessionTokenInvalid"),
    (404, '{"message":"Avatar not found: avatar-1"}\n', "avatarNotFound"),
    (402, '{"message":"session denied: credits exhausted"}\n', "creditsExhausted"),
    (400, '{"message":"app id mismatch"}\n', "appIDMismatch"),
    (401, '{"message":"session token expired"}\n', "sessionTokenExpired"),
]


@pytest.mark.parametrize(("status", "body", "code"), ROWS)
async def test_A22_A23_T3_refusals_that_servers_give(status: int, body: str, code: str) -> None:
    error = await rejection(status, body)
    detail = body.split('"')[3]
    assert error.code == code
    assert error.message == f"{REJECTED} (HTTP {status}): {detail}"
    assert error.server_detail == detail
    assert error.raw_body == body


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, "{}", "sessionTokenInvalid"),
        (400, '{"message":"App ID mismatch"}', "appIDMismatch"),
        (401, "{}", "sessionTokenExpired"),
        (401, '{"message":"Unauthorized"}', "invalidEgressConfig"),
        (402, "{}", "billingRequired"),
        (402, '{"message":"Credits exhausted"}', "creditsExhausted"),
        (403, "{}", "invalidRequest"),
        (408, "{}", "invalidRequest"),
        (409, "{}", "invalidRequest"),
        (429, "{}", "invalidRequest"),
        (418, "{}", "invalidRequest"),
        (404, "{}", "appIDUnrecognized"),
        (404, '{"message":"Avatar not found: x"}', "avatarNotFound"),
        (500, "{}", "serverError"),
        (503, "{}", "serverError"),
        (503, '{"code":14}', "egressUnavailable"),
        (503, '{"code":"UNAVAILABLE"}', "egressUnavailable"),
        (200, "{}", "unknown"),
        (302, "{}", "unknown"),
    ],
)
async def test_A24_the_code_of_each_status(status: int, body: str, code: str) -> None:
    assert (await rejection(status, body)).code == code


async def test_A24_a_redirect_is_not_followed_with_the_token() -> None:
    error = await rejection(302, "", Location="/v2/driveningress/websocket?id=other")
    assert error.code == "unknown"
    assert error.message == f"{REJECTED} (HTTP 302)"


@pytest.mark.parametrize(
    ("body", "suffix", "detail"),
    [
        ("  plain words \n", ": plain words", "plain words"),
        ("", "", None),
        ('{"errors":[{"title":"T","detail":"D","code":"C"}]}', ": T - D", "D"),
        ('{"code":"C"}', ": C", None),
        ("[]", "", None),
    ],
)
async def test_A12_A13_A23_the_suffix(body: str, suffix: str, detail: str | None) -> None:
    error = await rejection(418, body)
    assert error.message == f"{REJECTED} (HTTP 418){suffix}"
    assert error.server_detail == detail


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(lambda _: f"ws://127.0.0.1:{unused_port()}", id="refused"),
        pytest.param(lambda _: "ws://name.invalid", id="no such name"),
        pytest.param(lambda server: server.url.replace("http", "wss"), id="no TLS there"),
    ],
)
async def test_A23_T3_no_answer_at_all(url: Any) -> None:
    told = Told()
    async with scripted_server() as server:
        session = await initialized(server, ingress_endpoint_url=url(server), **told.settings())
        with pytest.raises(AvatarSDKError) as caught:
            await session.start()
    error = caught.value
    assert (error.code, error.phase) == ("connectionFailed", "websocket_connect")
    assert error.message.startswith("Failed to connect to websocket: ")
    assert error.http_status is None
    assert told.order == []


async def test_A23_the_token_is_not_in_the_error() -> None:
    session = new_avatar_session(
        ingress_endpoint_url="ws://", avatar_id="x", app_id="p", use_query_auth=True
    )
    session._session_token = "very-secret"
    with pytest.raises(AvatarSDKError) as caught:
        await session.start()
    assert caught.value.code == "connectionFailed"
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["additional_headers", "extra_headers"])
async def test_A20_the_argument_for_headers_of_each_release(name: str) -> None:
    given: dict[str, Any] = {}

    async def now(uri: str, *, additional_headers: Any = None) -> None:
        given["additional_headers"] = additional_headers

    async def old(uri: str, *, extra_headers: Any = None) -> None:
        given["extra_headers"] = extra_headers

    session = new_avatar_session(ingress_endpoint_url="ws://h", avatar_id="x", app_id="p")
    connector = now if name == "additional_headers" else old
    await open_socket(connector, opening(session.config, "tok"))
    assert given == {name: {"X-App-ID": "p", "X-Session-Key": "tok"}}


async def test_A18_a_message_above_one_mebibyte_closes_with_1009() -> None:
    told = Told()
    async with scripted_server() as server:

        async def script(ws: web.WebSocketResponse) -> None:
            await ws.send_bytes(bytes(1_048_577))
            await until_closed(ws)

        server.script = script
        session = await initialized(server, **told.settings())
        await session.start()
        await soon(lambda: told.closes)
        await session.close()
        await soon(lambda: server.close_codes)
    assert server.close_codes == [1009]
    assert told.order == ["error", "close"]


async def test_A23_a_token_that_is_no_header_is_not_in_the_error() -> None:
    async with scripted_server() as server:
        session = make_session(server)
        session._session_token = "very-secret\r\nX-More: 1"
        with pytest.raises(AvatarSDKError) as caught:
            await session.start()
    assert caught.value.code == "connectionFailed"
    assert "very-secret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("use_query_auth", [False, True])
async def test_A15_secrets_are_not_logged(
    caplog: pytest.LogCaptureFixture, use_query_auth: bool
) -> None:
    async with scripted_server() as server:
        with caplog.at_level(logging.DEBUG):
            session = await initialized(server, use_query_auth=use_query_auth)
            await session.start()
            await session.close()
    said = [one.getMessage() for one in caplog.records if one.name != "aiohttp.access"]
    assert not [line for line in said if "tok-1" in line or "key-1" in line]
