"""What a `SessionCore` asks its driver to do, in the order given.

The driver carries out every action before it feeds the next event. None of them waits, but
`Negotiate`, whose end the driver reports; messages of the signaling socket are held back meanwhile
(O42).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Prepare:
    """Obtain a session (API key: from the broker), then report `prepared` or `prepare_failed`."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Fetch ICE servers and token and open the socket; then `socket_opened` or `dial_failed`."""

    attempt: int
    """From 0."""


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Send JSON text on the signaling socket."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SendStream:
    """Send JSON text on the channel `clientToStreamer`."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Negotiate:
    """Close the link there is, answer this offer with a new one (O37)."""

    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AddCandidate:
    """A candidate of the streamer for the link there is."""

    candidate: str
    mid: str | None
    index: int | None


@dataclass(frozen=True, slots=True)
class Resolve:
    """The call with this ticket ends well."""

    ticket: int
    value: str | None


@dataclass(frozen=True, slots=True)
class Reject:
    """The call with this ticket ends with an exception."""

    ticket: int
    error: Exception


@dataclass(frozen=True, slots=True)
class Connected:
    """The waiting `connect()` ends well."""


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """The waiting `connect()` ends with an exception."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the callback `on_<name>` (a field of `OdysseyEventHandlers`)."""

    name: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class HangUp:
    """End whatever stands: attempts, link and socket. With `farewell` the server is told first
    (O32)."""

    farewell: bool


Action = (
    Prepare
    | Dial
    | SendSignal
    | SendStream
    | Negotiate
    | AddCandidate
    | Resolve
    | Reject
    | Connected
    | ConnectFailed
    | Notify
    | HangUp
)
