"""Exceptions of the gateway package.

RemoteProtocolError
├── CommandError     a command frame is malformed (G31); the connection goes on
└── QueryError       the query of an upgrade is malformed (G13); answered with 400
"""

from __future__ import annotations

from salon.base.errors import RemoteProtocolError


class CommandError(RemoteProtocolError):
    """A command that cannot be read. `status` is the number for the `error` event (G31) or the HTTP
    answer (G202): 400 bad JSON or unknown command, 422 wrong shape if sent by HTTP. The message
    names the field, never its value."""

    code = "command"

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class QueryError(RemoteProtocolError):
    """A query parameter that does not parse as its type; `parameter` names it."""

    code = "query"
    status = 400

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter = parameter
        super().__init__(f"query parameter {parameter!r}: {message}")
