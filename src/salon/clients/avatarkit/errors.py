"""What can go wrong with an avatar session.

AvatarSDKError            `code` says what, `phase` says when
└── SessionTokenError     no session token

A wrong call (no API key, a session not started) is a `ValueError`.
"""

# ruff: noqa: N815 - the names are part of the surface (A93)

from __future__ import annotations

from enum import Enum
from typing import Final

from salon.base.errors import SalonError

PHASE_TOKEN: Final = "session_token"
PHASE_CONNECT: Final = "websocket_connect"
PHASE_HANDSHAKE: Final = "websocket_handshake"
PHASE_RUNTIME: Final = "websocket_runtime"
PHASE_SEND: Final = "websocket_send"


class AvatarSDKErrorCode(str, Enum):  # noqa: UP042 - str() as published
    """What went wrong; value and name are the same (A93)."""

    sessionTokenExpired = "sessionTokenExpired"
    sessionTokenInvalid = "sessionTokenInvalid"
    appIDUnrecognized = "appIDUnrecognized"
    appIDMismatch = "appIDMismatch"
    avatarNotFound = "avatarNotFound"
    billingRequired = "billingRequired"
    creditsExhausted = "creditsExhausted"
    sessionDurationExceeded = "sessionDurationExceeded"
    unsupportedSampleRate = "unsupportedSampleRate"
    invalidEgressConfig = "invalidEgressConfig"
    egressUnavailable = "egressUnavailable"
    idleTimeout = "idleTimeout"
    upstreamError = "upstreamError"
    invalidRequest = "invalidRequest"
    connectionFailed = "connectionFailed"
    connectionClosed = "connectionClosed"
    protocolError = "protocolError"
    serverError = "serverError"
    unknown = "unknown"


class AvatarSDKError(SalonError):
    """A failure of the service, of the connection or of the protocol (A94).

    `phase`: ``session_token``, ``websocket_connect``, ``websocket_handshake``,
    ``websocket_runtime`` or ``websocket_send``. `http_status` is there when the server answered
    with plain HTTP, `server_code`, `server_title` and `server_detail` when it said them,
    `raw_body` is its answer untouched. `connection_id` and `req_id` say what the failure belongs
    to; `close_code` and `close_reason` come from the Close frame.
    """

    code: AvatarSDKErrorCode  # type: ignore[misc]  # of the failure, not of the class

    def __init__(
        self,
        code: AvatarSDKErrorCode,
        message: str,
        *,
        phase: str = "unknown",
        http_status: int | None = None,
        server_code: str | None = None,
        server_title: str | None = None,
        server_detail: str | None = None,
        connection_id: str | None = None,
        req_id: str | None = None,
        raw_body: str | None = None,
        close_code: int | None = None,
        close_reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.phase = phase
        self.http_status = http_status
        self.server_code = server_code
        self.server_title = server_title
        self.server_detail = server_detail
        self.connection_id = connection_id
        self.req_id = req_id
        self.raw_body = raw_body
        self.close_code = close_code
        self.close_reason = close_reason

    def __str__(self) -> str:
        return f"{self.code.value}: {self.message}"


class SessionTokenError(AvatarSDKError):
    """The console gave no session token."""

    def __init__(
        self,
        message: str,
        *,
        code: AvatarSDKErrorCode = AvatarSDKErrorCode.invalidRequest,
        phase: str = PHASE_TOKEN,
        http_status: int | None = None,
        server_code: str | None = None,
        server_title: str | None = None,
        server_detail: str | None = None,
        connection_id: str | None = None,
        req_id: str | None = None,
        raw_body: str | None = None,
        close_code: int | None = None,
        close_reason: str | None = None,
    ) -> None:
        super().__init__(
            code,
            message,
            phase=phase,
            http_status=http_status,
            server_code=server_code,
            server_title=server_title,
            server_detail=server_detail,
            connection_id=connection_id,
            req_id=req_id,
            raw_body=raw_body,
            close_code=close_code,
            close_reason=close_reason,
        )
