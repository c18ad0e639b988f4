"""From the addresses a service hands out to the URLs that are opened (O26, O27, O81, D11, D14)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import aiohttp

from salon.base import redact_text
from salon.clients.odyssey.errors import InvalidReplyError
from salon.clients.odyssey.replies import read_body
from salon.transport.packets import IceServer

if TYPE_CHECKING:
    from aiohttp import ClientSession

_log = logging.getLogger("odyssey._internal.signaling")

FALLBACK_ICE_SERVERS: Final = (IceServer(("stun:stun.l.google.com:19302",)),)
"""What is used when nobody says which servers there are (O27)."""
_SOCKET: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_PLAIN: Final = {"ws": "http", "wss": "https"}
_ICE_SCHEMES: Final = ("stun:", "stuns:", "turn:", "turns:")
_MAX_CONFIG: Final = 64 * 1024
"""Longest answer of `/config`, bytes."""
_MAX_SERVERS: Final = 16
"""Servers and URLs of a server that are used of it."""


def signaling_base(base: str) -> str:
    """`base` as a WebSocket address without slashes at its end (O26). ``http(s)`` becomes
    ``ws(s)``; without a scheme it is ``ws``; any other scheme is an `InvalidReplyError`."""
    scheme, separator, rest = base.strip().partition("://")
    if not separator:
        scheme, rest = "ws", scheme
    rest = rest.rstrip("/")
    known = _SOCKET.get(scheme.lower())
    if known is None or not _has_host(f"{known}://{rest}"):
        raise InvalidReplyError(f"not the address of a signaling server: {base!r}")
    return f"{known}://{rest}"


def signaling_url(base: str, session_id: str, token: str | None) -> str:
    """The address of the socket of a session (O26); None leaves the token out (O9)."""
    url = f"{signaling_base(base)}/client/{quote(session_id, safe='')}"
    return url if token is None else f"{url}?token={quote(token, safe='')}"


def config_url(base: str) -> str:
    """Where a signaling or playback server says which ICE servers to use (O27)."""
    scheme, _, rest = signaling_base(base).partition("://")
    return f"{_PLAIN[scheme]}://{rest}/config"


def origin_of(url: str) -> str:
    """Scheme, host and port of an ``http(s)`` URL; `InvalidReplyError` for anything else (O81)."""
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme.lower() in {"http", "https"} and _has_host(url)
    except ValueError:
        known = False
    if not known:
        raise InvalidReplyError(f"not an http(s) URL: {url!r}")
    return f"{parts.scheme.lower()}://{parts.netloc}"


def whep_url(webrtc_url: str, spectator_token: str) -> str:
    """Where a spectator posts its offer (O81); the URL's own query, if any, stays out of the way.
    `InvalidReplyError` if `webrtc_url` is no ``http(s)`` URL."""
    origin = origin_of(webrtc_url)
    path = urlsplit(webrtc_url.strip()).path.rstrip("/")
    return f"{origin}{path}/whep?token={quote(spectator_token, safe='')}"


async def ice_servers(
    http: ClientSession, base: str, *, timeout_s: float = 5.0
) -> tuple[IceServer, ...]:
    """The ICE servers that the server at `base` advertises, credentials included (O27, O43, D11).

    An empty list is an answer: no servers (D14). Anything else that is no answer, or none within
    `timeout_s` seconds, gives `FALLBACK_ICE_SERVERS`. `InvalidReplyError` only for a `base` that is
    no address.
    """
    url = config_url(base)
    try:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with http.get(url, timeout=timeout, headers={"Cache-Control": "no-store"}) as reply:
            if not 200 <= reply.status < 300:
                raise InvalidReplyError(f"status {reply.status}", status=reply.status)
            found = parse_ice_servers(json.loads(await read_body(reply, _MAX_CONFIG)))
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
        text = "[Signaling] no ICE servers from %s, using public STUN: %s"
        _log.warning(text, redact_text(url), error)
        return FALLBACK_ICE_SERVERS
    return found


def parse_ice_servers(payload: object) -> tuple[IceServer, ...]:
    """The servers in the answer of `/config`: `urls` is text or a list, and may be called `url`
    (O81). Entries that can't be used are left out; `InvalidReplyError` without a list."""
    listed = payload.get("iceServers") if isinstance(payload, Mapping) else None
    if not isinstance(listed, list):
        raise InvalidReplyError("no list of iceServers in the answer")
    servers = [_server(entry) for entry in listed[:_MAX_SERVERS] if isinstance(entry, Mapping)]
    return tuple(server for server in servers if server.urls)


def _server(entry: Mapping[str, Any]) -> IceServer:
    given = entry.get("urls") or entry.get("url") or []
    urls = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    usable = tuple(
        url for url in urls if isinstance(url, str) and url.lower().startswith(_ICE_SCHEMES)
    )
    return IceServer(
        usable[:_MAX_SERVERS], _text(entry.get("username")), _text(entry.get("credential"))
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url.strip())
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
