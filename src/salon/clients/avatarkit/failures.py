"""From what a server or the network said to the error the caller sees (A11 to A13, A23, A39, A64,
A65). No I/O, and nothing of the libraries that do it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from salon.clients.avatarkit.classification import classify
from salon.clients.avatarkit.errors import (
    PHASE_CONNECT,
    PHASE_HANDSHAKE,
    PHASE_RUNTIME,
    PHASE_TOKEN,
    AvatarSDKError,
    AvatarSDKErrorCode,
    SessionTokenError,
)

NOT_JSON: Final = object()
"""Stands for a body that is no JSON."""


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """What an error body says (A13); None for what it doesn't say."""

    status: str | None = None
    code: str | None = None
    title: str | None = None
    detail: str | None = None
    message: str | None = None

    @property
    def server_detail(self) -> str | None:
        """The detail, else the message."""
        return self.detail or self.message

    @property
    def suffix(self) -> str:
        """What follows "(HTTP n)" in the error's message (A12)."""
        said = [part for part in (self.title, self.server_detail) if part]
        if said:
            return f": {' - '.join(said)}"
        return f": {self.code}" if self.code else ""


def parse_json(body: str) -> Any:
    """The body's value, or `NOT_JSON`."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return NOT_JSON


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def details_of(payload: Any) -> ErrorDetails:
    """Reads a decoded body: the first of its `errors`, else its top level; a bare string is a
    message (A13)."""
    if isinstance(payload, str):
        return ErrorDetails(message=payload)
    if not isinstance(payload, Mapping):
        return ErrorDetails()
    source, code_else = payload, "error"
    errors = payload.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
        source, code_else = errors[0], "id"
    return ErrorDetails(
        status=_text(source.get("status")),
        code=_text(source.get("code") or source.get(code_else)),
        title=_text(source.get("title")),
        detail=_text(source.get("detail")),
        message=_text(source.get("message")),
    )


def token_refused(status: int, payload: Any, raw_body: str) -> SessionTokenError:
    """The console's answer is an error: not 200, or 200 with `errors` inside (A11)."""
    details = details_of(payload)
    if status == 200:
        status = _status_in(details, status)
    return SessionTokenError(
        f"Failed to create session token (HTTP {status}){details.suffix}",
        code=classify(
            PHASE_TOKEN,
            http_status=status,
            server_code=details.code,
            title=details.title,
            detail=details.server_detail,
        ),
        http_status=status,
        server_code=details.code,
        server_title=details.title,
        server_detail=details.server_detail,
        raw_body=raw_body,
    )


def _status_in(details: ErrorDetails, otherwise: int) -> int:
    try:
        return int(details.status or "")
    except ValueError:
        return otherwise


def connect_refused(status: int, body: str | None) -> AvatarSDKError:
    """The server answered the upgrade with plain HTTP (A23, A24)."""
    payload = parse_json(body) if body else NOT_JSON
    if payload is NOT_JSON and body:
        payload = body.strip()
    details = details_of(payload)
    return AvatarSDKError(
        classify(
            PHASE_CONNECT,
            http_status=status,
            server_code=details.code,
            title=details.title,
            detail=details.server_detail,
        ),
        f"WebSocket connection rejected (HTTP {status}){details.suffix}",
        phase=PHASE_CONNECT,
        http_status=status,
        server_code=details.code,
        server_title=details.title,
        server_detail=details.server_detail,
        raw_body=body,
    )


def server_failure(
    phase: str, code: int, message: str, connection_id: str, req_id: str
) -> AvatarSDKError:
    """A `ServerError` message, in the handshake (A39) or later (A64)."""
    code_text = str(code)
    prefix = (
        "WebSocket handshake rejected by server"
        if phase == PHASE_HANDSHAKE
        else "Avatar session error"
    )
    said = f"{message} (server code {code_text})" if message else f"server code {code_text}"
    return AvatarSDKError(
        classify(phase, server_code=code_text, detail=message or None),
        f"{prefix}: {said}",
        phase=phase,
        server_code=code_text,
        server_detail=message or None,
        connection_id=connection_id or None,
        req_id=req_id or None,
    )


def connection_closed(
    close_code: int | None,
    close_reason: str | None,
    *,
    phase: str = PHASE_RUNTIME,
    req_id: str | None = None,
) -> AvatarSDKError:
    """The socket is gone (A65); None for a code that no Close frame brought."""
    message = "WebSocket connection closed unexpectedly"
    if close_code is not None:
        message += (
            f" (code {close_code}: {close_reason})" if close_reason else f" (code {close_code})"
        )
    return AvatarSDKError(
        AvatarSDKErrorCode.connectionClosed,
        message,
        phase=phase,
        req_id=req_id,
        close_code=close_code,
        close_reason=close_reason,
    )


def session_closed() -> AvatarSDKError:
    """The caller closed the session before it was confirmed."""
    return AvatarSDKError(
        AvatarSDKErrorCode.connectionClosed,
        "The session was closed while it was starting",
        phase=PHASE_HANDSHAKE,
    )


def connection_failed(message: str, phase: str, *, req_id: str | None = None) -> AvatarSDKError:
    """The network failed without a word from the server."""
    return AvatarSDKError(AvatarSDKErrorCode.connectionFailed, message, phase=phase, req_id=req_id)


def protocol_error(message: str, phase: str) -> AvatarSDKError:
    """The server sent what the protocol does not have."""
    return AvatarSDKError(AvatarSDKErrorCode.protocolError, message, phase=phase)
