"""What a stand-in does wrong on purpose. Everything here may change while it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

ROUTES: Final = (
    "auth.token",
    "regions",
    "ping",
    "config",
    "sessions.request",
    "sessions.token",
    "recordings.get",
    "recordings.list",
    "jobs.submit",
    "jobs.list",
    "jobs.get",
    "jobs.cancel",
    "telemetry",
    "files.get",
    "whep.post",
    "whep.delete",
    "signaling",
)
"""The names of what can be asked over HTTP; ``signaling`` is the request that opens the socket."""

MESSAGES: Final = (
    "stream_started",
    "update_acknowledged",
    "stream_ended",
    "broadcast_ready",
    "interactive_stream_error",
)
"""What a streamer says on ``streamerToClient``."""


@dataclass(frozen=True, slots=True)
class HttpFault:
    """One way to answer wrongly.

    With `status` the request is not handled: `body` is sent, as JSON or, if bytes, as it is.
    Without, the usual reply is sent, `without` some fields of its body and with `fields` instead.
    `delay_s` is waited first; `drop` cuts the connection then. It holds for `times` requests; None:
    until it is cleared.
    """

    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: bool = False
    times: int | None = None


@dataclass(frozen=True, slots=True)
class MessageFault:
    """One way to say a message of a stream wrongly: not at all, late, twice, `without` fields,
    with other `fields`, or `instead` of it any text."""

    drop: bool = False
    delay_s: float = 0.0
    twice: bool = False
    without: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    instead: str | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class StartRefusal:
    """A start that is answered with `interactive_stream_error` (O77)."""

    reason: str
    message: str


@dataclass(slots=True)
class SignalingFaults:
    """What goes wrong on a socket; each holds for every new socket until it is changed."""

    error_reason: str | None = None
    """Sent instead of the offer (O30)."""
    close: tuple[int, str] | None = None
    """The socket is closed so instead of the offer (O33)."""
    offer: bool = True
    offer_delay_s: float = 0.0
    offer_sdp: str | None = None
    """Sent instead of the real one."""
    offers: int = 1
    """More than one breaks O37."""
    before_offer: tuple[str, ...] = ()
    """Texts sent as they are, before the offer."""
    after_offer: tuple[str, ...] = ()
    video: bool = True
    """Whether the offer has a video section (O74)."""
    channels: tuple[str, ...] = ("streamerToClient", "clientToStreamer")
    """The labels in their order (O39, O40)."""
    read_nothing: bool = False
    """The answer and all else of the client stay unread."""


F = TypeVar("F", HttpFault, MessageFault)


class Faults:
    """All switches of one stand-in."""

    def __init__(self) -> None:
        self.signaling = SignalingFaults()
        self.start: StartRefusal | None = None
        self.frozen_picture = False
        """No new frame is sent."""
        self.hold_jobs = False
        """Jobs stay pending."""
        self.hold_dispatched = False
        """Jobs stay dispatched."""
        self.hold_processing = False
        """Jobs stay in processing."""
        self.job_failure: str | None = None
        """Jobs fail with this message."""
        self.relative_location = True
        """WHEP answers with a relative ``Location``; else an absolute one (O81)."""
        self._http: dict[str, deque[HttpFault]] = {}
        self._messages: dict[str, deque[MessageFault]] = {}

    def http(self, route: str, *faults: HttpFault) -> None:
        """The next requests of `route` meet these, each for its times, one after the other.
        `ValueError` for a route that is not in `ROUTES`."""
        if route not in ROUTES:
            raise ValueError(f"no route {route!r}; there are {', '.join(ROUTES)}")
        self._http[route] = deque(faults)

    def message(self, kind: str, *faults: MessageFault) -> None:
        """The same for the messages of a stream. `ValueError` for a type not in `MESSAGES`."""
        if kind not in MESSAGES:
            raise ValueError(f"no message {kind!r}; there are {', '.join(MESSAGES)}")
        self._messages[kind] = deque(faults)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.__init__()  # type: ignore[misc]

    def take_http(self, route: str) -> HttpFault | None:
        """The fault for one request; it counts."""
        return _take(self._http.get(route))

    def take_message(self, kind: str) -> MessageFault | None:
        """The fault for one message; it counts."""
        return _take(self._messages.get(kind))


def _take(waiting: deque[F] | None) -> F | None:
    if not waiting:
        return None
    fault = waiting[0]
    if fault.times is None:
        return fault
    waiting.popleft()
    if fault.times > 1:
        waiting.appendleft(replace(fault, times=fault.times - 1))
    return fault if fault.times > 0 else _take(waiting)
