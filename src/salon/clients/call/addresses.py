"""From what people type to the URL that is opened."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from salon.clients.call.errors import ConnectFailed

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
CALL_PATH = "/ws"


def call_url(url: str, query: Mapping[str, str | None], default_path: str = CALL_PATH) -> str:
    """The URL of a call. Without a path it is `default_path`; http(s) becomes ws(s). None values
    are left out; what `url` has in its own query stays unless `query` names it too."""
    scheme, netloc, path, given = _split(url)
    return _join(scheme, netloc, path if path not in {"", "/"} else default_path, given, query)


def room_url(url: str, room: str, query: Mapping[str, str | None]) -> str:
    """The URL of the text socket of `room`. `url` may be the server's or that of its calls."""
    scheme, netloc, path, given = _split(url)
    for known in ("/ws", "/call"):
        path = path.rstrip("/").removesuffix(known)
    return _join(scheme, netloc, f"{path}/ws/{quote(room, safe='')}", given, query)


def host(url: str) -> str:
    """The host name in `url`, "" if it has none."""
    return urlsplit(url).hostname or ""


def _split(url: str) -> tuple[str, str, str, dict[str, str]]:
    try:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        port = parts.port
    except ValueError as error:
        raise ConnectFailed(f"not a URL: {url!r} ({error})") from None
    scheme = _SCHEMES.get(parts.scheme.lower())
    if scheme is None or not parts.hostname or port == 0:
        raise ConnectFailed(f"not the URL of a server: {url!r}; ws://127.0.0.1:8000 is one")
    return scheme, parts.netloc, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))


def _join(
    scheme: str, netloc: str, path: str, given: dict[str, str], query: Mapping[str, str | None]
) -> str:
    merged = given | {key: value for key, value in query.items() if value is not None}
    return urlunsplit((scheme, netloc, path, urlencode(merged), ""))
