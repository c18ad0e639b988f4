"""The console's part of a session, without the network: what to post, what the answer means
(chapter 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from salon.clients.avatarkit.errors import AvatarSDKErrorCode, SessionTokenError
from salon.clients.avatarkit.failures import parse_json, token_refused
from salon.clients.avatarkit.session_config import SessionConfig

SESSION_TOKEN_PATH: Final = "/session-tokens"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One POST (A1)."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, int]


def token_request(config: SessionConfig) -> TokenRequest:
    """The request for a token; `ValueError` for what is missing (A9)."""
    if not config.api_key:
        raise ValueError("Missing API key")
    if not config.console_endpoint_url:
        raise ValueError("Missing console endpoint URL")
    if config.expire_at is None:
        raise ValueError("Missing expireAt")
    return TokenRequest(
        url=config.console_endpoint_url.rstrip("/") + SESSION_TOKEN_PATH,
        headers={"X-Api-Key": config.api_key, "Content-Type": "application/json"},
        body={"expireAt": int(config.expire_at.timestamp())},
    )


def token_from(status: int, body: str) -> str:
    """The token in the console's answer, or `SessionTokenError` (A2, A11)."""
    payload = parse_json(body)
    if status != 200:
        raise token_refused(status, payload, body)
    if not isinstance(payload, dict):
        raise _unusable("Failed to decode session token response", body)
    if payload.get("errors"):
        raise token_refused(status, payload, body)
    token = payload.get("sessionToken")
    if not isinstance(token, str) or not token:
        raise _unusable("Empty session token in response", body)
    return token


def _unusable(message: str, body: str) -> SessionTokenError:
    return SessionTokenError(
        message, code=AvatarSDKErrorCode.protocolError, http_status=200, raw_body=body
    )
