"""What arrives as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One event of a call. `data` is the whole JSON object with its camelCase keys; `at` is when
    it arrived, in seconds of the client's monotonic clock."""

    name: str
    data: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class RoomMessage:
    """One message of a room's text socket. `data` and `at` as with `CallEvent`."""

    type: str
    data: Mapping[str, Any]
    at: float

    @property
    def failure(self) -> str | None:
        """In words for people that an agent could not answer, or not to the end, if this message
        says so (an ``event``, also after a ``stream_error``); None for every other message."""
        event = self.data.get("event") if self.type == "event" else None
        content = event.get("content") if isinstance(event, Mapping) else None
        if not isinstance(content, Mapping) or content.get("code") != "agent_failed":
            return None
        return str(content.get("body") or "the agent failed")


def parse_object(text: str, key: str) -> tuple[str, dict[str, Any]] | None:
    """The JSON object in a text frame and its discriminator, or None if that is not what it is."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(name := data.get(key), str):
        return None
    return name, data
