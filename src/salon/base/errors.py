"""The roots of every exception Salon raises.

    SalonError                    has a stable `code`
    ├── ConfigurationError        a setting is wrong or missing
    │   └── MissingExtraError     an optional part is not installed
    ├── PolicyError               something from outside asks for what it may not have
    ├── ProtocolError
    │   ├── LocalProtocolError    our caller used an interface wrongly ("your bug")
    │   └── RemoteProtocolError   the other side broke the protocol ("their bug")
    └── UnavailableError          a part exists but can't serve now (full, stopped, lost)

Packages derive their own errors from these and keep them in one place each.
"""

from __future__ import annotations

from typing import ClassVar


class SalonError(Exception):
    """Root of all. `code` is stable and safe to send to a client; the message is for people."""

    code: ClassVar[str] = "error"


class ConfigurationError(SalonError):
    """A setting is wrong: the message names it, its value and what would be right."""

    code = "configuration"


class MissingExtraError(ConfigurationError):
    """A capability needs an extra that is not installed.

    `extra` is the name to put in brackets: ``pip install "salon[extra]"``.
    """

    code = "missing_extra"

    def __init__(self, extra: str, what: str) -> None:
        self.extra = extra
        self.what = what
        super().__init__(f'{what} needs the "{extra}" extra: pip install "salon[{extra}]"')


class PolicyError(SalonError):
    """A name, path, URL or origin from outside is refused by policy."""

    code = "policy"


class ProtocolError(SalonError):
    """Root of the protocol errors of the sans-IO cores."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """Our own side used a state machine in a state that does not allow it."""

    code = "local_protocol"


class RemoteProtocolError(ProtocolError):
    """The other side sent what the protocol does not allow."""

    code = "remote_protocol"


class UnavailableError(SalonError):
    """The part exists but cannot serve now: full, stopping, or its process is gone."""

    code = "unavailable"
