"""The gate before the ASGI application, as plain ASGI: nothing is buffered or parsed twice."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi.exceptions import WebSocketRequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from salon.app.bodies import Bodies, Body
from salon.app.problems import problem, wrong_form
from salon.app.security import WEBHOOKS, Asked, Gate
from salon.base import Principal
from salon.transport.sockets import Refusal

_log = logging.getLogger("salon.app")

PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self' blob:; "
        "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
"""Sent with every answer. `unsafe-inline` is for style attributes only; scripts are files."""


class LastResort:
    """Answers 500 as JSON for whatever the application raises; innermost, so that the answer gets
    the headers of all others. Sockets are left to the server."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def counted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, counted)
        except ClientDisconnect:
            _log.debug("%s %s: gone before its end", scope["method"], scope["path"])
        except Exception:  # the outer edge of a request
            if started:
                raise
            _log.exception("%s %s failed", scope["method"], scope["path"])
            await problem(500, "the server failed", "internal")(scope, receive, send)


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers with lower-case names; repeated ones are joined, so that none hides another."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def asked_of(scope: Scope, headers: Mapping[str, str]) -> Asked:
    client = scope.get("client")
    method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
    return Asked(method, scope["path"], headers, client[0] if client else None, token_of(scope))


def token_of(scope: Scope) -> str:
    """The room token in the query; of several the first."""
    query: bytes = scope.get("query_string", b"")
    if b"token=" not in query:
        return ""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return next((value for name, value in pairs if name == "token"), "")


class SecurityMiddleware:
    """Host, origin, credential, bodies, and the number of WebSockets; adds security headers.

    The `Principal` stands in ``scope["state"]["principal"]`` for whoever is let in.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate, bodies: Bodies, max_sockets: int) -> None:
        self.app = app
        self._gate = gate
        self._bodies = bodies
        self._max_sockets = max_sockets
        self.sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = headers_of(scope)
        asked = asked_of(scope, headers)
        refusal = self._gate.refuse(asked)
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, asked, refusal)
            return
        send = _with_page_headers(send, secure=scope.get("scheme") == "https")
        refusal = refusal or self._refuse_length(headers)
        if refusal is not None:
            await _answer(refusal)(scope, receive, send)
            return
        principal = self._gate.principal(asked)
        scope.setdefault("state", {})["principal"] = principal
        body = Body(self._bodies, receive, send, _stranger(asked, principal))
        try:
            await self.app(scope, body.receive, body.send)
        finally:
            body.close()

    def _refuse_length(self, headers: Mapping[str, str]) -> Refusal | None:
        length = headers.get("content-length", "0")
        if not length.isdigit():
            return Refusal(400, "Content-Length is not a number")
        limit = self._bodies.limits.size
        if int(length) > limit:
            return Refusal(413, f"the body may hold at most {limit} bytes")
        return None

    async def _websocket(
        self, scope: Scope, receive: Receive, send: Send, asked: Asked, refusal: Refusal | None
    ) -> None:
        if refusal is None and self.sockets >= self._max_sockets:
            refusal = Refusal(503, "too many connections", {"Retry-After": "5"})
        if refusal is not None:
            await refuse_socket(refusal, scope, receive, send)
            return
        scope.setdefault("state", {})["principal"] = self._gate.principal(asked)
        self.sockets += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.sockets -= 1


async def refuse_socket(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an upgrade with plain HTTP; servers without that extension answer 403."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await _answer(refusal)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.message[:120]})


async def refuse_query(socket: WebSocket, error: Exception) -> None:
    """Answer an upgrade whose query has the wrong form."""
    assert isinstance(error, WebSocketRequestValidationError)
    refusal = Refusal(422, wrong_form(error))
    await refuse_socket(refusal, socket.scope, socket.receive, socket.send)


def _stranger(asked: Asked, principal: Principal | None) -> str | None:
    """The address of whoever has shown no key; what is posted by providers proves itself later."""
    keyed = principal is not None and principal.grant is None
    return None if keyed and not asked.path.startswith(WEBHOOKS) else asked.client or ""


def _answer(refusal: Refusal) -> JSONResponse:
    return problem(refusal.status, refusal.message, headers=refusal.headers)


def _with_page_headers(send: Send, *, secure: bool) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in PAGE_HEADERS.items():
                headers.setdefault(name, value)
            if secure:
                headers.setdefault("Strict-Transport-Security", "max-age=86400")
        await send(message)

    return wrapped
