"""What is kept of the raw payloads of providers (R8, R268)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

from pydantic_core import to_json

from salon.base.redaction import redact
from salon.core.fitness import check_payload
from salon.models import RoomEvent

_log = logging.getLogger("salon.core.payloads")

Payload = dict[str, Any]
RawPayload = Literal["keep", "redact", "drop"] | Callable[[Payload], Payload]
"""``keep``: as received. ``redact``: what its key or its shape tells to be a secret is masked.
``drop``: nothing. A function is given a copy and returns what is kept; it runs under the lock of
the room, so it does no I/O and is no coroutine function. Where it fails, or returns what no store
can hold, nothing is kept."""

Trim = Callable[[RoomEvent], RoomEvent]


def payload_filter(setting: RawPayload) -> Trim | None:
    """What makes of an event the one that is committed; None: it stays as it is. `ValueError` for
    a setting that is none, and for an async function."""
    if setting == "keep":
        return None
    make: Callable[[Payload], Payload]
    if setting == "redact":
        make = redact
    elif setting == "drop":
        make = _nothing
    elif callable(setting):
        if any(map(inspect.iscoroutinefunction, (setting, type(setting).__call__))):
            raise ValueError(f"raw_payload must be a plain function, not an async one: {setting!r}")
        given = setting
        make = lambda payload: given(deepcopy(payload))  # noqa: E731 - it may change what it gets
    else:
        raise ValueError(
            f"raw_payload must be 'keep', 'redact', 'drop' or a function, not {setting!r}"
        )
    return lambda event: _with_payload(event, make)


def _with_payload(event: RoomEvent, make: Callable[[Payload], Payload]) -> RoomEvent:
    payload = event.source.raw_payload
    if not payload:
        return event
    try:
        kept = make(payload)
        if not isinstance(kept, dict):
            raise TypeError(f"it returned {type(kept).__name__}, not a dict")
        _check(kept)
    except Exception:  # noqa: BLE001 - the message comes in, and nothing leaks
        _log.exception("the raw payload of event %s could not be redacted: dropped", event.id)
        kept = {}
    return event.model_copy(
        update={"source": event.source.model_copy(update={"raw_payload": kept})}
    )


def _check(kept: Payload) -> None:
    """Raises for what a store can't hold, or not give back as it was."""
    if not all(isinstance(key, str) for key in kept):
        raise TypeError("it returned a dict with keys that are no text")
    to_json(kept)
    check_payload(kept)


def _nothing(payload: Payload) -> Payload:
    del payload
    return {}
