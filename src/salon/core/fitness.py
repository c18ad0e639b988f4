"""What an event may be made of, so that every store and every client can read it back (R266)."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from salon.core.errors import InvalidEventError
from salon.models import RoomEvent

MAX_DEPTH: Final = 64
"""Maps and lists inside each other, anywhere in an event."""


def check_event(event: RoomEvent) -> None:
    """Raises `InvalidEventError` for text that is no Unicode, and for values nested too deep."""
    _check(event.content, MAX_DEPTH)
    _check(event.source, MAX_DEPTH)
    _check(event.channel_data, MAX_DEPTH)
    if event.metadata:
        _check(event.metadata, MAX_DEPTH)
    for text in (event.id, event.idempotency_key, event.correlation_id, event.parent_event_id):
        if text is not None:
            _check(text, MAX_DEPTH)


def check_payload(payload: dict[str, Any]) -> None:
    """The same of a map that is to be the raw payload of an event's source."""
    _check(payload, MAX_DEPTH - 1)


def _check(value: Any, left: int) -> None:
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value)
        return
    if isinstance(value, BaseModel):
        parts = value.__dict__.values()
    elif isinstance(value, dict):
        for key in value:
            _check(key, left)
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value  # type: ignore[assignment]
    else:
        return
    if left == 0:
        raise InvalidEventError(f"the event is nested deeper than {MAX_DEPTH} levels")
    for part in parts:
        if part is not None:
            _check(part, left - 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        where = text[error.start : error.start + 1]
        raise InvalidEventError(f"the event has text that is no Unicode: {where!a}") from None
