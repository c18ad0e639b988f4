"""The event stream format (WHATWG HTML, 9.2.6): bytes in, events out. No I/O."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final

from salon.base import RemoteProtocolError

MAX_EVENT: Final = 1_048_576
"""Characters of one event, or of one line, that are kept."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; `id` is the last one the stream has set, "" if none."""

    event: str
    data: str
    id: str = ""


class EventStreamParser:
    """Feed it chunks as they come. `retry` is the server's wish, in seconds, for the wait before a
    new connection; `last_event_id` is what to ask for then."""

    def __init__(self, last_event_id: str = "", *, max_event: int = MAX_EVENT) -> None:
        self.last_event_id = last_event_id
        self.retry: float | None = None
        self._max = max_event
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest: list[str] = []
        self._rest_size = 0
        self._at_start = True
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._id = last_event_id

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes. `RemoteProtocolError` for one that is too long."""
        text = self._decoder.decode(chunk)
        if self._at_start and text:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        if not text:
            return []
        self._after_cr = text.endswith("\r")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        events = []
        for line in lines[:-1]:
            if self._rest:
                line = "".join((*self._rest, line))
                self._rest.clear()
                self._rest_size = 0
            if (event := self._line(line)) is not None:
                events.append(event)
        if lines[-1]:
            self._rest.append(lines[-1])
            self._rest_size += len(lines[-1])
            self._check(self._rest_size)
        return events

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._size += len(value) + 1
            self._check(self._size)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit() and len(value) < 12:
            self.retry = int(value) / 1000
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        self.last_event_id = self._id
        name, data = self._name or "message", self._data
        self._name, self._data, self._size = "", [], 0
        return ServerSentEvent(name, "\n".join(data), self._id) if data else None

    def _check(self, size: int) -> None:
        if size > self._max:
            raise RemoteProtocolError(f"an event is longer than {self._max} characters")
