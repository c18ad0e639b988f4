"""What can go wrong between a client and its server.

ClientError
├── ConnectFailed       no connection: nobody there, no WebSocket there, too slow
├── Refused             an HTTP answer instead of a WebSocket: `status`, `retry_after`
│   ├── Unauthorized    401: an API key is needed, or this one is wrong
│   ├── Forbidden       403
│   └── ServerBusy      503: full; try again after `retry_after` seconds
├── CallFailed          the call was not answered: `event` says why
└── CallClosed          the connection is gone: `close_code` and `reason`
"""

from __future__ import annotations

from typing import ClassVar

from salon.base import SalonError
from salon.clients.call.events import CallEvent


class ClientError(SalonError):
    """Root of the errors of the clients."""

    code = "client"


class ConnectFailed(ClientError):
    """There is no connection."""

    code = "connect_failed"


class Refused(ClientError):
    """The server answered with plain HTTP. `retry_after` in seconds, if it said so."""

    code = "refused"
    hint: ClassVar[str] = ""

    def __init__(self, status: int, message: str = "", retry_after: float | None = None) -> None:
        self.status = status
        self.message = message
        self.retry_after = retry_after
        text = f"the server refused the connection: HTTP {status}"
        if message:
            text += f", {message}"
        if retry_after is not None:
            text += f" (try again in {retry_after:g} s)"
        elif self.hint:
            text += f" ({self.hint})"
        super().__init__(text)


class Unauthorized(Refused):
    """401."""

    code = "unauthorized"
    hint = "give the server's API key"


class Forbidden(Refused):
    """403."""

    code = "forbidden"
    hint = "this host name or origin is not allowed there"


class ServerBusy(Refused):
    """503."""

    code = "server_busy"


_BY_STATUS: dict[int, type[Refused]] = {401: Unauthorized, 403: Forbidden, 503: ServerBusy}


def refused(status: int, message: str, retry_after: float | None) -> Refused:
    """The error for this HTTP answer."""
    return _BY_STATUS.get(status, Refused)(status, message, retry_after)


class CallFailed(ClientError):
    """The call was not answered. `event` is what the server sent instead, None if it was silent."""

    code = "call_failed"

    def __init__(self, message: str, event: CallEvent | None = None) -> None:
        self.event = event
        super().__init__(message)


class CallClosed(ClientError):
    """The connection ended. `close_code` is that of the Close frame, 1006 without one."""

    code = "call_closed"

    def __init__(self, close_code: int, reason: str = "") -> None:
        self.close_code = close_code
        self.reason = reason
        text = f"the connection is closed (code {close_code}"
        super().__init__(f"{text}: {reason})" if reason else f"{text})")
