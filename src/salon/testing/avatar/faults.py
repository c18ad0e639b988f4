"""What a stand-in does wrong when told to. Everything can be switched while it runs.

    stand_in.faults.console = console_error(503, "UNAVAILABLE", "Unavailable", "try later")
    stand_in.faults.upgrade = upgrade_error(429, "too many requests")
    stand_in.faults.handshake = HandshakeFault((SendText("hello"),))
    stand_in.faults.animation = AnimationFault(batch_frames=2200)
    stand_in.faults.runtime.append(RuntimeFault(after_audio=3, steps=(Fail(4001, "…"),)))

A fault stays until it is taken out or, with `times`, until it has happened so often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from salon.testing.avatar import wire
from salon.testing.avatar.actions import Action, Close, Drop, Send, SendText
from salon.testing.avatar.http import (
    APP_MISMATCH,
    INVALID_TOKEN,
    JSON,
    NO_CREDITS,
    TOKEN_EXPIRED,
    HttpAnswer,
    error_body,
    rejection,
)

GARBAGE: Final = b"\xff\xff\xff\xff"
"""No protobuf message: a field of a wire type that does not exist."""
UNKNOWN_TYPE: Final = 99


@dataclass(frozen=True, slots=True)
class Fail:
    """A `ServerError` with the session's ids. `req_id` None: the newest request's."""

    code: int
    text: str = ""
    req_id: str | None = None


Step = Action | Fail


@dataclass(slots=True)
class HttpFault:
    """Another answer to an HTTP request, after `delay_s`; `drop` cuts the connection instead. With
    neither answer nor `drop` the right answer comes, late."""

    answer: HttpAnswer | None = None
    delay_s: float = 0.0
    drop: bool = False
    times: int | None = None


@dataclass(slots=True)
class HandshakeFault:
    """Other `steps` than the confirmation; none: silence. `confirm`: the confirmation follows, so
    that with `delay_s` alone it is late."""

    steps: tuple[Step, ...] = ()
    delay_s: float = 0.0
    confirm: bool = False
    times: int | None = None


@dataclass(slots=True)
class AnimationFault:
    """Wrong animation. `batch_frames`: so many keyframes in one message, waited for (2,200
    break the limit of 1 MiB, A53); `delay_s`: keyframes are late; `without_end`: no message with
    `end`; `ends`: how often it comes; `req_id`: an id instead of the request's own."""

    batch_frames: int | None = None
    delay_s: float = 0.0
    without_end: bool = False
    ends: int = 1
    req_id: str | None = None


@dataclass(slots=True)
class RuntimeFault:
    """`steps` when the session's audio message number `after_audio` (from 1) has come."""

    after_audio: int
    steps: tuple[Step, ...]
    times: int | None = None


@dataclass(slots=True)
class Faults:
    """All faults of a stand-in; none at first."""

    console: HttpFault | None = None
    upgrade: HttpFault | None = None
    handshake: HandshakeFault | None = None
    animation: AnimationFault | None = None
    runtime: list[RuntimeFault] = field(default_factory=list)

    def clear(self) -> None:
        """Behave again."""
        self.console = self.upgrade = None
        self.handshake = self.animation = None
        self.runtime.clear()

    def take_console(self) -> HttpFault | None:
        """The console's fault, counted."""
        return _counted(self.console)

    def take_upgrade(self) -> HttpFault | None:
        """The upgrade's fault, counted."""
        return _counted(self.upgrade)

    def take_handshake(self) -> HandshakeFault | None:
        """The handshake's fault, counted."""
        return _counted(self.handshake)

    def take_runtime(self, audio_messages: int) -> list[Step]:
        """The steps due after so many audio messages, counted."""
        due = [one for one in self.runtime if one.after_audio == audio_messages]
        return [step for one in due if _counted(one) is not None for step in one.steps]


_Fault = TypeVar("_Fault", HttpFault, HandshakeFault, RuntimeFault)


def _counted(fault: _Fault | None) -> _Fault | None:
    if fault is None or fault.times is None:
        return fault
    if fault.times <= 0:
        return None
    fault.times -= 1
    return fault


def console_error(status: int, code: str, title: str, detail: str) -> HttpFault:
    """An error body of the console (A8)."""
    return HttpFault(HttpAnswer(status, error_body("fault", status, code, title, detail)))


def console_body(body: str, status: int = 200, content_type: str = JSON) -> HttpFault:
    """Any answer of the console: no JSON, an empty token, 201 (A2, A11)."""
    return HttpFault(HttpAnswer(status, body, content_type))


def upgrade_error(
    status: int, message: str = "", headers: Mapping[str, str] | None = None
) -> HttpFault:
    """A refused upgrade (A22, A24)."""
    plain = rejection(status, message)
    return HttpFault(HttpAnswer(status, plain.body, plain.content_type, headers or {}))


def upgrade_rows(avatar_id: str = "nobody") -> dict[str, HttpFault]:
    """The rows of A22 by name."""
    return {
        "invalid token": upgrade_error(400, INVALID_TOKEN),
        "unknown avatar": upgrade_error(404, f"Avatar not found: {avatar_id}"),
        "no credits": upgrade_error(402, NO_CREDITS),
        "app mismatch": upgrade_error(400, APP_MISMATCH),
        "token expired": upgrade_error(401, TOKEN_EXPIRED),
    }


def handshake_rows() -> dict[str, HandshakeFault]:
    """The rows of A39 by name, and silence."""
    return {
        "text": HandshakeFault((SendText("hello"),)),
        "undecodable": HandshakeFault((Send(GARBAGE),)),
        "empty id": HandshakeFault((Send(wire.confirm("")),)),
        "other type": HandshakeFault((Send(wire.bare(UNKNOWN_TYPE)),)),
        "error": HandshakeFault((Fail(4001, "credits exhausted"), Close(4001, "credits"))),
        "closed": HandshakeFault((Close(1000),)),
        "dropped": HandshakeFault((Drop(),)),
        "silence": HandshakeFault(),
    }


def ending(code: int, text: str) -> tuple[Step, ...]:
    """`ServerError`, then a Close with the same code: the order that clients need (A62)."""
    return (Fail(code, text), Close(code, text))


def nonsense() -> tuple[Step, ...]:
    """What a client has to survive in a running session (A66): broken bytes, a text message, an
    unknown type, a second confirmation."""
    return (
        Send(GARBAGE),
        SendText("hello"),
        Send(wire.bare(UNKNOWN_TYPE)),
        Send(wire.confirm("another")),
    )
