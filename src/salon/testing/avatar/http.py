"""Answers of the console and of a refused upgrade (chapters 1 and 2), without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from salon.base.ids import IdFactory
from salon.testing.avatar.settings import App, AvatarSettings
from salon.testing.avatar.tokens import LONGEST_S, TokenDesk

JSON: Final = "application/json"
CONSOLE_PATH: Final = "/v1/console"
INGRESS_PATH: Final = "/v2/driveningress"
TOKEN_PATHS: Final = (f"{CONSOLE_PATH}/session-tokens", "/v1/auth/session-token")
"""Where a token is asked for: as most clients do and as one relative does (A3)."""
WEBSOCKET_PATH: Final = f"{INGRESS_PATH}/websocket"

INVALID_TOKEN: Final = "Invalid session token"
APP_MISMATCH: Final = "app id mismatch"
TOKEN_EXPIRED: Final = "session token expired"
NO_CREDITS: Final = "session denied: credits exhausted"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status, body and headers of an answer."""

    status: int
    body: str
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Admission:
    """An upgrade that may go on."""

    app: App
    avatar_id: str


def error_body(id_: str, status: int, code: str, title: str, detail: str) -> str:
    """The console's error body (A8)."""
    one = {"id": id_, "status": status, "code": code, "title": title, "detail": detail}
    return json.dumps({"errors": [one]}, separators=(",", ":"))


def rejection(status: int, message: str) -> HttpAnswer:
    """A refused upgrade: one JSON object and a final newline (A22)."""
    body = json.dumps({"message": message}, ensure_ascii=False, separators=(",", ":"))
    return HttpAnswer(status, body + "\n")


class Console:
    """Turns API keys into tokens (A1 to A8)."""

    def __init__(self, settings: AvatarSettings, tokens: TokenDesk, new_id: IdFactory) -> None:
        self._settings = settings
        self._tokens = tokens
        self._new_id = new_id

    def answer(self, api_key: str, body: bytes, now: float) -> HttpAnswer:
        """The answer to a request for a token; `now` in seconds since the Unix epoch."""
        app = self._settings.apps.get(api_key)
        if app is None:
            # No word of "unauthorized": clients take that for an egress fault (A87).
            return self._refused(401, "INVALID_API_KEY", "Invalid API key", "API key is unknown")
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            return self._invalid("body must be a JSON object")
        expires = said.get("expireAt")
        if not isinstance(expires, int) or isinstance(expires, bool):
            return self._invalid("expire_at must be integer seconds since the epoch")
        if expires <= now:
            return self._invalid("expire_at must be in the future")
        if expires >= now + LONGEST_S:
            return self._invalid("expire_at must be within 24 hours")
        token = self._tokens.issue(app, expires)
        return HttpAnswer(200, json.dumps({"sessionToken": token, "session_token": token}))

    def _invalid(self, detail: str) -> HttpAnswer:
        return self._refused(400, "INVALID_ARGUMENT", "Invalid Argument", detail)

    def _refused(self, status: int, code: str, title: str, detail: str) -> HttpAnswer:
        return HttpAnswer(status, error_body(self._new_id(), status, code, title, detail))


def admit(
    settings: AvatarSettings,
    tokens: TokenDesk,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    now: float,
) -> Admission | HttpAnswer:
    """Check an upgrade: token, app, avatar, credits (A15, A22). `now` in seconds since the epoch.

    Credentials come in the headers ``X-App-ID`` and ``X-Session-Key`` (`headers` looks names up as
    it likes) or in the parameters ``appId`` and ``sessionKey``.
    """
    token = headers.get("X-Session-Key") or query.get("sessionKey") or ""
    app_id = headers.get("X-App-ID") or query.get("appId") or ""
    avatar_id = query.get("id", "")
    grant = tokens.find(token)
    if grant is None:
        return rejection(400, INVALID_TOKEN)
    if grant.expires <= now:
        return rejection(401, TOKEN_EXPIRED)
    if app_id != grant.app.app_id:
        return rejection(400, APP_MISMATCH)
    if avatar_id not in settings.avatars:
        return rejection(404, f"Avatar not found: {avatar_id}")
    if not grant.app.credits:
        return rejection(402, NO_CREDITS)
    return Admission(grant.app, avatar_id)
