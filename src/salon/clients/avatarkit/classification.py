"""Which error code a failure gets (chapter 9): tables, first match wins."""

from __future__ import annotations

from typing import Final

from salon.clients.avatarkit.errors import (
    PHASE_CONNECT,
    PHASE_HANDSHAKE,
    PHASE_RUNTIME,
    AvatarSDKErrorCode,
)

HANDSHAKE_FAILED: Final = "Failed during websocket handshake"
EXPECTED_BINARY: Final = f"{HANDSHAKE_FAILED}: expected binary protobuf message"
"""What a text message in the handshake is called (A39)."""
INVALID_PAYLOAD: Final = f"{HANDSHAKE_FAILED}: invalid protobuf payload"
"""What undecodable bytes in the handshake are called (A39)."""

_Code = AvatarSDKErrorCode

_INVALID_ARGUMENT: Final = frozenset({"3", "INVALID_ARGUMENT"})
_EGRESS_WORDS: Final = ("livekit", "agora", "egress")

# A82: what the server's own code says.
_BY_SERVER_CODE: Final[dict[str, AvatarSDKErrorCode]] = {
    "16": _Code.invalidEgressConfig,
    "UNAUTHENTICATED": _Code.invalidEgressConfig,
    "14": _Code.egressUnavailable,
    "UNAVAILABLE": _Code.egressUnavailable,
    "4001": _Code.creditsExhausted,
    "4002": _Code.sessionDurationExceeded,
}

# A82: what its text says. HTTP 402 counts as the last of these.
_BY_TEXT_BEFORE_402: Final[tuple[tuple[AvatarSDKErrorCode, tuple[str, ...]], ...]] = (
    (_Code.creditsExhausted, ("credits exhausted",)),
    (_Code.sessionDurationExceeded, ("session time limit reached", "maximum session duration")),
    (_Code.billingRequired, ("session denied",)),
)

# A82 and A83.
_BY_TEXT: Final[tuple[tuple[AvatarSDKErrorCode, tuple[str, ...]], ...]] = (
    (_Code.sessionTokenInvalid, ("invalid session token", "empty token")),
    (_Code.sessionTokenExpired, ("token is expired", "session token expired")),
    (_Code.appIDMismatch, ("app id mismatch",)),
    (_Code.appIDUnrecognized, ("appidunrecognized", "app id unrecognized")),
    (_Code.avatarNotFound, ("avatar not found",)),
    (_Code.unsupportedSampleRate, ("unsupported sample rate",)),
    (_Code.idleTimeout, ("livekit silence timeout", "no audio input for")),
    (_Code.invalidEgressConfig, ("livekit_egress", "agora_egress")),
    (
        _Code.invalidEgressConfig,
        (
            "missing livekit credentials",
            "provide api_token or both api_key and api_secret",
            "unauthorized",
        ),
    ),
    (
        _Code.egressUnavailable,
        ("egress client is not configured on server", "failed to create egress connection"),
    ),
    (
        _Code.upstreamError,
        ("driven server returned non-200 status code", "driven server request failed"),
    ),
    (
        _Code.protocolError,
        (
            "expected clientconfiguresession message",
            "clientconfiguresession message is nil",
            "unexpected message type",
            "failed to unmarshal initial message",
            EXPECTED_BINARY.lower(),
            INVALID_PAYLOAD.lower(),
        ),
    ),
)

# A84.
_BY_STATUS: Final[dict[int, AvatarSDKErrorCode]] = {
    401: _Code.sessionTokenExpired,
    402: _Code.billingRequired,
    404: _Code.appIDUnrecognized,
}


def classify(
    phase: str,
    *,
    http_status: int | None = None,
    server_code: str | None = None,
    title: str | None = None,
    detail: str | None = None,
) -> AvatarSDKErrorCode:
    """The code of a failure that the server reported (A80 to A86).

    `server_code` is its code as a decimal number or a name, `title` and `detail` are its words.
    """
    text = " | ".join(part for part in (server_code, title, detail) if part).lower()
    if server_code in _INVALID_ARGUMENT:
        about_egress = any(word in text for word in _EGRESS_WORDS)
        return _Code.invalidEgressConfig if about_egress else _Code.invalidRequest
    if server_code in _BY_SERVER_CODE:
        return _BY_SERVER_CODE[server_code]
    for code, phrases in _BY_TEXT_BEFORE_402:
        if any(phrase in text for phrase in phrases):
            return code
    if http_status == 402:
        return _Code.billingRequired
    for code, phrases in _BY_TEXT:
        if any(phrase in text for phrase in phrases):
            return code
    return _by_status(phase, http_status) or _by_phase(phase)


def _by_status(phase: str, status: int | None) -> AvatarSDKErrorCode | None:
    if status is None or status < 400:
        return None
    if status >= 500:
        return _Code.serverError
    if status == 400 and phase == PHASE_CONNECT:
        return _Code.sessionTokenInvalid
    return _BY_STATUS.get(status, _Code.invalidRequest)


def _by_phase(phase: str) -> AvatarSDKErrorCode:
    started = phase in (PHASE_HANDSHAKE, PHASE_RUNTIME)
    return _Code.serverError if started else _Code.unknown
