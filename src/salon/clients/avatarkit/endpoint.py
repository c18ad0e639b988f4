"""Where a session connects to, and with what (A14 to A17, A34)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from salon.clients.avatarkit.session_config import SessionConfig

INGRESS_WEBSOCKET_PATH: Final = "/websocket"
TOKEN_HEADER: Final = "X-Session-Key"
_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class Opening:
    """A WebSocket to open. Both parts may hold the session token."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def opening(config: SessionConfig, token: str | None) -> Opening:
    """URL and headers of the session's socket.

    `ValueError` for what is missing or contradicts itself, in the order of A16 and A34.
    """
    if not token:
        raise ValueError("Session not initialized")
    for value, name in (
        (config.ingress_endpoint_url, "ingress endpoint URL"),
        (config.avatar_id, "avatar ID"),
        (config.app_id, "app ID"),
    ):
        if not value:
            raise ValueError(f"Missing {name}")
    base = urlsplit(config.ingress_endpoint_url)
    if not base.scheme:
        raise ValueError("Ingress endpoint scheme missing")
    if base.scheme not in _SCHEMES:
        raise ValueError(f"Unsupported scheme: {base.scheme}")
    if config.livekit_egress is not None and config.agora_egress is not None:
        raise ValueError("Cannot configure both livekit_egress and agora_egress at the same time")
    parameters = {"id": config.avatar_id}
    headers: dict[str, str] = {}
    if config.use_query_auth:
        parameters |= {"appId": config.app_id, "sessionKey": token}
    else:
        headers = {"X-App-ID": config.app_id, TOKEN_HEADER: token}
    path = base.path.rstrip("/") + INGRESS_WEBSOCKET_PATH
    query = "&".join(part for part in (base.query, urlencode(parameters)) if part)
    return Opening(urlunsplit((_SCHEMES[base.scheme], base.netloc, path, query, "")), headers)
