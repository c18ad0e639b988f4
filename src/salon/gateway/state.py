"""States of a call session (G285), as a table. No I/O, no clock."""

from __future__ import annotations

from enum import StrEnum

from salon.base import LocalProtocolError


class SessionState(StrEnum):
    """Where a session stands."""

    CREATED = "created"
    INVITED = "invited"
    ACCEPTED = "accepted"
    RINGING = "ringing"
    HUNGUP = "hungup"


class Signal(StrEnum):
    """What moves it."""

    INVITE = "invite"
    RINGING = "ringing"
    ANSWERED = "answered"
    HANGUP = "hangup"


TRANSITIONS: dict[SessionState, dict[Signal, SessionState]] = {
    SessionState.CREATED: {
        Signal.INVITE: SessionState.INVITED,
        Signal.RINGING: SessionState.RINGING,
        Signal.HANGUP: SessionState.HUNGUP,
    },
    SessionState.RINGING: {
        Signal.INVITE: SessionState.INVITED,
        Signal.RINGING: SessionState.RINGING,
        Signal.HANGUP: SessionState.HUNGUP,
    },
    SessionState.INVITED: {
        Signal.ANSWERED: SessionState.ACCEPTED,
        Signal.HANGUP: SessionState.HUNGUP,
    },
    SessionState.ACCEPTED: {Signal.HANGUP: SessionState.HUNGUP},
    SessionState.HUNGUP: {},
}


def advance(state: SessionState, signal: Signal) -> SessionState:
    """The next state; `LocalProtocolError` if `signal` is not possible now."""
    try:
        return TRANSITIONS[state][signal]
    except KeyError:
        raise LocalProtocolError(f"{signal} is not possible on a call that is {state}") from None
