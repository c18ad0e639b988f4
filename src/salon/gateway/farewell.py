"""The last thing a client is told. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from salon.gateway.commands import HangupReason, initiator_of
from salon.gateway.events import HangupEvent, Party, rfc3339
from salon.gateway.options import CallOption
from salon.gateway.passwords import hide_password

if TYPE_CHECKING:
    from salon.gateway.session import Session


def party(uri: str) -> Party:
    """One end of a call from its URI or number; `source` is what was given, less a password."""
    source = hide_password(uri, "")
    address = source.strip()
    if "<" in address:  # "Ann" <sip:ann@example.org>;tag=1
        address = address.partition("<")[2].partition(">")[0]
    scheme, colon, rest = address.partition(":")
    scheme = scheme.lower() if colon else ""
    if scheme in ("sip", "sips", "tel"):
        address = rest
    address = re.split(r"[;?]", address, maxsplit=1)[0]
    user, at, realm = address.rpartition("@")
    if not at and scheme not in ("sip", "sips"):
        user, realm = address, ""
    return Party(username=user or None, realm=realm or None, source=source)


def parties(option: CallOption | None) -> tuple[Party | None, Party | None]:
    """Who calls and who is called, as far as it was said."""
    if option is None:
        return None, None
    caller, callee = option.caller, option.callee
    return party(caller) if caller else None, party(callee) if callee else None


def farewell(session: Session, reason: HangupReason | str) -> HangupEvent:
    """The last text frame of a session that has ended (G112)."""
    answered, rang = session.answered_at, session.ringing_at
    from_, to = session.parties
    return HangupEvent(
        track_id=session.id,
        timestamp=session.now_ms(),
        reason=str(reason),
        initiator=initiator_of(reason),
        start_time=rfc3339(session.started_at),
        hangup_time=rfc3339(session.ended_at or session.started_at),
        answer_time=rfc3339(answered) if answered else None,
        ringing_time=rfc3339(rang) if rang else None,
        from_=from_,
        to=to,
        extra=session.variables,
    )


def close_code(session: Session, reason: HangupReason | str) -> int:
    """The code of the Close frame after it (G21)."""
    if session.outcome == "failed":
        return 1011
    return 1001 if reason is HangupReason.SERVER_UNAVAILABLE and session.stopping else 1000
