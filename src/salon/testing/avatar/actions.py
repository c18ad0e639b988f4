"""What a session asks its driver to do, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Send:
    """Send a binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SendText:
    """Send a text message: no message of the protocol is one."""

    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection with a Close frame."""

    code: int = 1000
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """Cut the connection without a Close frame."""


Action = Send | SendText | Close | Drop
