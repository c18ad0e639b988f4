"""The query of a call connection (G13-G15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from salon.gateway.errors import QueryError

SERVER_TRACK = "server-side-track"
"""Id of the server track unless the connection names another (G6)."""
DEFAULT_PING = 20
HANDLERS = frozenset({"controller", "room", "webhook"})
"""Who may drive a call."""

INTERRUPTIONS = frozenset({"immediate", "confirmed", "semantic", "disabled"})
"""How the caller may interrupt the agent of a room."""

_T = TypeVar("_T")
_MAX_TEXT = 256
_MAX_PING = 86_400


@dataclass(frozen=True, slots=True)
class CallQuery:
    """What the client asked for when it connected.

    `id` is None if the server has to make one (G12). `ping` is the keepalive period in seconds,
    0 = off (G18). `handler` is ``controller`` (the client itself drives the call) unless given;
    `room`, `participant` and `name` go to a handler that is a room. `forward` is the search marker
    between nodes (G240). `interruption` chooses how a room's caller may interrupt the agent:
    ``immediate``, ``confirmed``, ``semantic`` or ``disabled``.
    """

    id: str | None = None
    dump: bool = True
    ping: int = DEFAULT_PING
    server_side_track: str = SERVER_TRACK
    handler: str = "controller"
    room: str | None = None
    participant: str | None = None
    name: str | None = None
    forward: bool | None = None
    interruption: str | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> CallQuery:
        """Parse both spellings (G14); unknown parameters are ignored.

        Raises `QueryError` (HTTP 400) for a value that does not parse as its type, also when the
        other spelling wins. An empty text counts as absent.
        """
        dump = _pair(_boolean(query, "dump"), _boolean(query, "dump_events"))
        ping = _pair(_seconds(query, "ping"), _seconds(query, "ping_interval"))
        track = _pair(_text(query, "serverSideTrack"), _text(query, "server_side_track"))
        handler = _text(query, "handler") or "controller"
        if handler not in HANDLERS:
            raise QueryError("handler", f"one of {', '.join(sorted(HANDLERS))} is expected")
        interruption = _text(query, "interruption")
        if interruption is not None and interruption not in INTERRUPTIONS:
            raise QueryError(
                "interruption", f"one of {', '.join(sorted(INTERRUPTIONS))} is expected"
            )
        return cls(
            id=_text(query, "id"),
            dump=True if dump is None else dump,
            ping=DEFAULT_PING if ping is None else ping,
            server_side_track=track or SERVER_TRACK,
            handler=handler,
            room=_text(query, "room"),
            participant=_text(query, "participant"),
            name=_text(query, "name"),
            forward=_boolean(query, "forward"),
            interruption=interruption,
        )


def _pair(first: _T | None, second: _T | None) -> _T | None:
    return second if first is None else first


def _text(query: Mapping[str, str], key: str) -> str | None:
    value = query.get(key)
    if not value:
        return None
    if len(value) > _MAX_TEXT:
        raise QueryError(key, f"longer than {_MAX_TEXT} characters")
    if not value.isprintable():
        raise QueryError(key, "contains control characters")
    return value


def _boolean(query: Mapping[str, str], key: str) -> bool | None:
    value = query.get(key)
    if value is None:
        return None
    if value not in {"true", "false"}:
        raise QueryError(key, "true or false is expected (G15)")
    return value == "true"


def _seconds(query: Mapping[str, str], key: str) -> int | None:
    value = query.get(key)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 9 and int(value) <= _MAX_PING):
        raise QueryError(key, "a number of seconds is expected")
    return int(value)
