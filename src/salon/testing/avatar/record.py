"""What a session was: for tests to look at, and the meter of A69."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from salon.testing.avatar.wire import Configure

MAX_REQUESTS: Final = 1000


@dataclass(slots=True)
class RequestRecord:
    """One request. Times in seconds of the stand-in's monotonic clock."""

    req_id: str
    started_at: float
    audio_messages: int = 0
    audio_bytes: int = 0
    audio_s: float = 0.0
    """Length of the sound that was worked on."""
    keyframes: int = 0
    """Sent to the client."""
    messages: int = 0
    ended: bool = False
    """The message with `end` went out."""
    interrupted: bool = False
    first_answer_at: float | None = None
    traceparent: str = ""


@dataclass(slots=True)
class SessionRecord:
    """One connection, from the upgrade to its end."""

    connection_id: str
    app_id: str
    avatar_id: str
    connected_at: float
    confirmed_at: float | None = None
    closed_at: float | None = None
    configure: Configure | None = None
    requests: dict[str, RequestRecord] = field(default_factory=dict)
    """By id; the newest 1000."""
    errors: int = 0
    """Instances of `ServerError` sent."""
    largest_message: int = 0
    """Bytes of the longest message sent."""

    def request(self, req_id: str, now: float) -> RequestRecord:
        """The record of a request, made if need be."""
        if (found := self.requests.get(req_id)) is None:
            found = self.requests[req_id] = RequestRecord(req_id, now)
            if len(self.requests) > MAX_REQUESTS:
                del self.requests[next(iter(self.requests))]
        return found
